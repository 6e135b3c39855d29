/* SPDX-License-Identifier: MIT */
/*
 * Reads the remapping unit's registers through /dev/mem (needs iomem=relaxed) and the tables that
 * they point to through /proc/kcore, so that what the driver really chose is known, not guessed
 * from its messages. Layouts: VT-d 4.1, chapters 9 (tables) and 11 (registers).
 */
#include "guest.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REG_GSTS          0x1c
#define REG_RTADDR        0x20
#define GSTS_TES          (1u << 31)
#define GSTS_IRES         (1u << 25)
#define RTADDR_TTM(v)     ((v) >> 10 & 3)
#define TTM_SCALABLE      1
#define TABLE_ADDR        (~0xfffull)
#define ENTRY_PRESENT     1ull
#define CONTEXT_TT(v)     ((v) >> 2 & 3)
#define CONTEXT_RID_PASID 0xfffffull
#define PASID_PGTT(v)     ((v) >> 6 & 7)

static const enum stage stage_of_tt[4] = {
    [0] = STAGE_SECOND,
    [1] = STAGE_SECOND,
    [2] = STAGE_PASSTHROUGH,
};

static const enum stage stage_of_pgtt[8] = {
    [1] = STAGE_FIRST,
    [2] = STAGE_SECOND,
    [3] = STAGE_NESTED,
    [4] = STAGE_PASSTHROUGH,
};

const char *stage_name(enum stage stage)
{
    static const char *const names[] = {
        [STAGE_NONE] = "nothing",
        [STAGE_FIRST] = "first stage",
        [STAGE_SECOND] = "second stage",
        [STAGE_NESTED] = "nested",
        [STAGE_PASSTHROUGH] = "pass-through",
    };

    return names[stage];
}

static int read_registers(struct unit *unit)
{
    volatile uint8_t *regs = mmap(NULL, 4096, PROT_READ, MAP_SHARED, unit->mem, (off_t)unit->base);
    uint32_t gsts;

    if (regs == MAP_FAILED)
        return -errno;
    gsts = *(volatile uint32_t *)(regs + REG_GSTS);
    unit->rtaddr = *(volatile uint64_t *)(regs + REG_RTADDR);
    unit->translating = gsts & GSTS_TES;
    unit->remapping = gsts & GSTS_IRES;
    unit->scalable = RTADDR_TTM(unit->rtaddr) == TTM_SCALABLE;
    munmap((void *)regs, 4096);
    return 0;
}

static bool unit_open_files(struct unit *unit)
{
    unit->mem = open("/dev/mem", O_RDONLY | O_SYNC | O_CLOEXEC);
    if (unit->mem < 0)
        return expect(false, "opens /dev/mem", "%s", strerror(errno));
    unit->kcore = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
    if (unit->kcore < 0)
        return expect(false, "opens /proc/kcore", "%s", strerror(errno));
    return true;
}

bool unit_open(struct unit *unit)
{
    static const char dir[] = "/sys/class/iommu/dmar0/intel-iommu";
    int err;

    unit->mem = unit->kcore = -1;
    if (read_hex(&unit->base, "%s/address", dir) || read_hex(&unit->cap, "%s/cap", dir) ||
        read_hex(&unit->ecap, "%s/ecap", dir))
        return expect(false, "the kernel has a remapping unit", "%s is not there", dir);
    if (!unit_open_files(unit))
        return false;
    err = read_registers(unit);
    return expect(!err, "the kernel has a remapping unit",
                  "registers at 0x%llx cannot be mapped (%s); boot with iomem=relaxed",
                  (unsigned long long)unit->base, strerror(-err));
}

/* The first structure behind the header of 48 bytes is that of a unit: VT-d 4.1, 8.1 and 8.3. */
static int read_dmar(uint64_t *base)
{
    uint8_t table[64];
    int fd = open("/sys/firmware/acpi/tables/DMAR", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, table, sizeof(table));

    if (fd >= 0)
        close(fd);
    if (n != sizeof(table) || table[48] || table[49])
        return -ENOENT;
    memcpy(base, table + 56, sizeof(*base));
    return 0;
}

bool unit_open_unused(struct unit *unit)
{
    int err;

    *unit = (struct unit){.mem = -1, .kcore = -1};
    err = read_dmar(&unit->base);
    if (err)
        return expect(false, "there is a remapping unit", "ACPI's DMAR table names none");
    if (!unit_open_files(unit))
        return false;
    err = read_registers(unit);
    return expect(!err, "there is a remapping unit", "registers at 0x%llx cannot be mapped: %s",
                  (unsigned long long)unit->base, strerror(-err));
}

void unit_close(struct unit *unit)
{
    if (unit->mem >= 0)
        close(unit->mem);
    if (unit->kcore >= 0)
        close(unit->kcore);
}

/* /proc/kcore is an ELF file whose segments for RAM carry their physical addresses. */
static int read_physical(const struct unit *unit, uint64_t addr, void *buf, size_t size)
{
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr;

    if (pread(unit->kcore, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr))
        return -EIO;
    for (int i = 0; i < ehdr.e_phnum; i++) {
        off_t at = (off_t)(ehdr.e_phoff + (uint64_t)i * ehdr.e_phentsize);

        if (pread(unit->kcore, &phdr, sizeof(phdr), at) != sizeof(phdr))
            return -EIO;
        if (phdr.p_type != PT_LOAD || addr < phdr.p_paddr || addr - phdr.p_paddr >= phdr.p_memsz)
            continue;
        at = (off_t)(phdr.p_offset + (addr - phdr.p_paddr));
        return pread(unit->kcore, buf, size, at) == (ssize_t)size ? 0 : -EIO;
    }
    return -ENOENT;
}

/* The entry at index of a table of entries of this size; its first quadwords go to entry. */
static int read_entry(const struct unit *unit, uint64_t table, unsigned index, size_t entry_size,
                      uint64_t entry[2])
{
    return read_physical(unit, (table & TABLE_ADDR) + index * entry_size, entry,
                         entry_size < 16 ? 8 : 16);
}

static int legacy_stage(const struct unit *unit, unsigned bus, unsigned devfn)
{
    uint64_t root[2], context[2];
    int err = read_entry(unit, unit->rtaddr, bus, 16, root);

    if (err || !(root[0] & ENTRY_PRESENT))
        return err ? err : STAGE_NONE;
    err = read_entry(unit, root[0], devfn, 16, context);
    if (err || !(context[0] & ENTRY_PRESENT))
        return err ? err : STAGE_NONE;
    return stage_of_tt[CONTEXT_TT(context[0])];
}

static int pasid_stage(const struct unit *unit, uint64_t directory, unsigned pasid)
{
    uint64_t dir_entry[2], entry[2];
    int err = read_entry(unit, directory, pasid >> 6, 8, dir_entry);

    if (err || !(dir_entry[0] & ENTRY_PRESENT))
        return err ? err : STAGE_NONE;
    err = read_entry(unit, dir_entry[0], pasid & 0x3f, 64, entry);
    if (err || !(entry[0] & ENTRY_PRESENT))
        return err ? err : STAGE_NONE;
    return stage_of_pgtt[PASID_PGTT(entry[0])];
}

/* A scalable-mode root entry has one half for each 128 functions (VT-d 4.1, 9.2). */
static int scalable_stage(const struct unit *unit, unsigned bus, unsigned devfn)
{
    uint64_t root[2], half, context[2];
    int err = read_entry(unit, unit->rtaddr, bus, 16, root);

    half = root[devfn >> 7];
    if (err || !(half & ENTRY_PRESENT))
        return err ? err : STAGE_NONE;
    err = read_entry(unit, half, devfn & 0x7f, 32, context);
    if (err || !(context[0] & ENTRY_PRESENT))
        return err ? err : STAGE_NONE;
    return pasid_stage(unit, context[0], context[1] & CONTEXT_RID_PASID);
}

int unit_stage(struct unit *unit, const char *addr)
{
    unsigned segment, bus, slot, function;
    uint64_t base;
    int err;

    /* The function's own unit; where the kernel has only one, that. */
    if (!read_hex(&base, "/sys/bus/pci/devices/%s/iommu/intel-iommu/address", addr))
        unit->base = base;
    err = read_registers(unit);
    if (err)
        return err;
    if (sscanf(addr, "%x:%x:%x.%x", &segment, &bus, &slot, &function) != 4 || bus > 255 ||
        slot > 31 || function > 7)
        return -EINVAL;
    if (unit->scalable)
        return scalable_stage(unit, bus, slot << 3 | function);
    return legacy_stage(unit, bus, slot << 3 | function);
}
