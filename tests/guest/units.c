/* SPDX-License-Identifier: MIT */
/* Several remapping units and PCI segments: who is behind whom, and memory that is reserved for a
 * device. */
#include "edu.h"
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNITS_MAX 8

static unsigned count_units(void)
{
    DIR *dir = opendir("/sys/class/iommu");
    const struct dirent *entry;
    unsigned count = 0;

    while (dir && (entry = readdir(dir)) != NULL)
        count += !strncmp(entry->d_name, "dmar", 4);
    if (dir)
        closedir(dir);
    return count;
}

/* "ADDRESS@REGISTERS": what sysfs says of the function's unit. */
static void check_behind(const char *addr, uint64_t want)
{
    uint64_t base = 0;
    char what[96];
    int err = read_hex(&base, "/sys/bus/pci/devices/%s/iommu/intel-iommu/address", addr);

    snprintf(what, sizeof(what), "%s is behind the unit at 0x%llx", addr, (unsigned long long)want);
    expect(!err && base == want, what, "it is behind that at 0x%llx (%s)", (unsigned long long)base,
           strerror(-err));
}

/* Each unit that is named is on, in the mode that the others have. */
static void check_mode_at(const struct job *job, struct unit *unit, const char *addr)
{
    char what[96];
    int stage = unit_stage(unit, addr);

    snprintf(what, sizeof(what), "the unit of %s translates in %s mode", addr,
             job->scalable ? "scalable" : "legacy");
    expect(stage >= 0 && unit->translating && unit->scalable == job->scalable, what,
           "GSTS.TES is %d, RTADDR 0x%llx, the tables: %d", unit->translating,
           (unsigned long long)unit->rtaddr, stage);
}

static void check_list(const struct job *job, struct unit *unit, const char *list)
{
    char text[512], *item, *at, *rest = text;
    uint64_t bases[UNITS_MAX], base;
    unsigned known = 0, i;

    snprintf(text, sizeof(text), "%s", list);
    while ((item = strsep(&rest, "+"))) {
        at = strchr(item, '@');
        if (!at)
            continue;
        *at = '\0';
        base = strtoull(at + 1, NULL, 16);
        check_behind(item, base);
        for (i = 0; i < known && bases[i] != base; i++)
            ;
        if (i < known || known == UNITS_MAX)
            continue;
        bases[known++] = base;
        check_mode_at(job, unit, item);
    }
    expect(known > 0 && count_units() == known, "the kernel found each unit, and no other",
           "it has %u, named are %u", count_units(), known);
}

/* The region that the kernel keeps mapped one to one; 0 without any. */
static uint64_t direct_region(const char *addr, uint64_t *size)
{
    char path[128], line[128];
    unsigned long long first = 0, last = 0;
    bool found = false;
    FILE *file;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group/reserved_regions", addr);
    file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file))
        found = strstr(line, " direct") && sscanf(line, "%llx %llx", &first, &last) == 2;
    if (file)
        fclose(file);
    *size = last - first + 1;
    return found ? first : 0;
}

/* As a driver that never maps anything: registers by sysfs, bus mastering as firmware left it. */
static bool open_plain(struct vfio_function *fn, const char *addr)
{
    char path[128];
    int fd;

    if (write_text("1", "/sys/bus/pci/devices/%s/enable", addr))
        return false;
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", addr);
    fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
    if (fd < 0)
        return false;
    fn->bar_size = 1 << 20;
    fn->bar = mmap(NULL, fn->bar_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return fn->bar != MAP_FAILED;
}

/* The device writes there, and back, while nobody has mapped anything for it. */
static void check_device_reaches(const char *addr, uint64_t base, struct unit *unit)
{
    struct vfio_function fn = {.group = -1};
    uint8_t *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, unit->mem, (off_t)base);

    if (!need(memory != MAP_FAILED, "maps the reserved memory", strerror(errno)) ||
        !need(open_plain(&fn, addr), "opens the function", strerror(errno)))
        return;
    pattern_fill(memory, EDU_CHUNK, 90, 0);
    memset(memory + 4096, 0, 4096);
    edu_from_memory(&fn, base, 0, EDU_CHUNK);
    edu_to_memory(&fn, base + 4096, 0, EDU_CHUNK);
    expect(pattern_matches(memory + 4096, EDU_CHUNK, 90, 0),
           "the device reads and writes its reserved memory, which no driver mapped",
           "what it read did not come back");
    munmap((void *)fn.bar, fn.bar_size);
    munmap(memory, 8192);
}

static void check_reserved(const char *addr, struct unit *unit)
{
    struct unit own = *unit;
    uint64_t base, size;

    subject("edu with reserved memory %s", addr);
    base = direct_region(addr, &size);
    if (!expect(base && size >= 8192, "the kernel keeps its RMRR mapped one to one",
                "reserved_regions has no direct region"))
        return;
    own.mem = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
    if (need(own.mem >= 0, "opens /dev/mem", strerror(errno)))
        check_device_reaches(addr, base, &own);
    close(own.mem);
}

void check_units(const struct job *job, struct unit *unit)
{
    const char *behind = getenv("behind"), *reserved = getenv("edu_reserved");
    struct job far = *job;

    if (!behind)
        return;
    subject("units");
    check_list(job, unit, behind);
    if (reserved)
        check_reserved(reserved, unit);
    far.emulated_edu = getenv("far_emulated");
    far.assigned_edu = getenv("far_assigned");
    check_edus(&far, unit);
}
