/* SPDX-License-Identifier: MIT */
/*
 * A BAR of 64 bits, of a function that bar= names: memory of the host, which looks at it afterwards
 * (QEMU's ivshmem behind VFIO).
 */
#include "guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BAR        2
#define SEED       200
#define BUFFER     (64u << 10)
#define ABOVE_4GIB (UINT64_C(1) << 32)

struct bar {
    uint64_t first, last;
    uint8_t *bytes;
};

static bool find(const char *addr, struct bar *bar)
{
    char path[128];
    bool found = false;
    FILE *file;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", addr);
    file = fopen(path, "re");
    if (!file)
        return false;
    for (int i = 0; i <= BAR; i++)
        found = fscanf(file, "%lx %lx %*x", &bar->first, &bar->last) == 2;
    fclose(file);
    return found && bar->last > bar->first;
}

static bool map(const char *addr, struct bar *bar)
{
    char path[128];
    int fd;

    write_text("1", "/sys/bus/pci/devices/%s/enable", addr);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%d", addr, BAR);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    bar->bytes = mmap(NULL, bar->last - bar->first + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return bar->bytes != MAP_FAILED;
}

static bool reads_back(uint8_t *at, uint64_t seed)
{
    static uint8_t buffer[BUFFER];

    pattern_fill(buffer, BUFFER, seed, 0);
    memcpy(at, buffer, BUFFER);
    memcpy(buffer, at, BUFFER);
    return pattern_matches(buffer, BUFFER, seed, 0);
}

void check_big_bar(void)
{
    const char *addr = getenv("bar");
    struct bar bar = {0};
    uint64_t size;

    if (!addr)
        return;
    subject("BAR %d of %s", BAR, addr);
    if (!expect(find(addr, &bar), "is there", "sysfs does not have it"))
        return;
    size = bar.last - bar.first + 1;
    note("%llu MiB at 0x%llx", (unsigned long long)size >> 20, (unsigned long long)bar.first);
    expect(bar.first >= ABOVE_4GIB, "lies above 4 GiB", "it is at 0x%llx",
           (unsigned long long)bar.first);
    if (!expect(map(addr, &bar), "is mapped", "its resource file cannot be mapped"))
        return;
    expect(reads_back(bar.bytes, SEED), "its first bytes read back", "others came back");
    expect(reads_back(bar.bytes + size - BUFFER, SEED + 1), "its last bytes read back",
           "others came back");
    munmap(bar.bytes, size);
}
