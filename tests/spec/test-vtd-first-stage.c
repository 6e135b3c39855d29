/* SPDX-License-Identifier: MIT */
/* First-stage translation: page sizes, rights, accessed and dirty bits, and each fault. */
#include <errno.h>
#include <sys/mman.h>

#include "guest_tables.h"
#include "model/vtd/register_map.h"

#define BIT(n) (UINT64_C(1) << (n))
#define ALL    "pasid-bits=20,supervisor=on,execute=on,extended-accessed=on"
#define PASID  5

/* Requests with PASID_ and without share one table; `page` is what GUEST_IOVA maps to. */
struct first {
    struct guest guest;
    uint64_t root, leaf, page;
};

static void entry_bits(struct first *first, uint64_t qw1, uint64_t qw2)
{
    guest_pasid(&first->guest, 0, PASID_PGTT(1), GUEST_DOMAIN | qw1, first->root | qw2);
    guest_pasid(&first->guest, PASID, PASID_PGTT(1), GUEST_DOMAIN | qw1, first->root | qw2);
    guest_flush(&first->guest);
}

static void start(struct first *first, const char *properties, bool with_pasid)
{
    guest_create(&first->guest, properties);
    first->root = guest_page(&first->guest);
    first->page = guest_page(&first->guest);
    first->leaf =
        guest_map(&first->guest, first->root, 4, GUEST_IOVA, 1, first->page | FS_ALL, FS_ALL);
    guest_scalable(&first->guest, 0, with_pasid ? 8 : 0);
    guest_on(&first->guest, TTM_SCALABLE);
    entry_bits(first, PASID_PWSNP, 0);
}

static void end(struct first *first)
{
    guest_destroy(&first->guest);
}

static uint64_t entry_at(struct first *first, unsigned int level)
{
    return guest_entry(&first->guest, first->root, 4, GUEST_IOVA, level);
}

static void small_page(void **state)
{
    struct viommu_dma_result result;
    struct first first;

    (void)state;
    start(&first, "", false);
    result = guest_reads(&first.guest, GUEST_IOVA + 0x123, first.page + 0x123);
    assert_int_equal(result.granule_log2, 12);
    guest_writes(&first.guest, GUEST_IOVA + 0xff8, first.page + 0xff8);
    guest_read_faults(&first.guest, GUEST_IOVA + 0x1000, 0x71);
    end(&first);
}

static void large_pages(void **state)
{
    struct viommu_dma_result result;
    struct first first;

    (void)state;
    start(&first, "", false);
    store64(&first.guest.machine, entry_at(&first, 2), 0x400000 | BIT(12) | FS_PS | FS_ALL);
    result = guest_reads(&first.guest, GUEST_IOVA, 0x400000 | (GUEST_IOVA & 0x1fffff));
    assert_int_equal(result.granule_log2, 21);
    guest_flush(&first.guest);
    store64(&first.guest.machine, entry_at(&first, 3), BIT(12) | FS_PS | FS_ALL);
    result = guest_reads(&first.guest, (GUEST_IOVA & ~(BIT(30) - 1)) + 0x5000, 0x5000);
    assert_int_equal(result.granule_log2, 30);
    end(&first);
}

static void large_page_limits(void **state)
{
    struct first first;

    (void)state;
    start(&first, "1g=off", false);
    store64(&first.guest.machine, entry_at(&first, 3), FS_PS | FS_ALL);
    guest_read_faults(&first.guest, GUEST_IOVA, 0x72);
    end(&first);
    start(&first, "2m=off,1g=off", false); /* about the second stage; 2 MiB are mandatory here */
    store64(&first.guest.machine, entry_at(&first, 2), 0x400000 | FS_PS | FS_ALL);
    guest_reads(&first.guest, GUEST_IOVA, 0x400000 | (GUEST_IOVA & 0x1fffff));
    end(&first);
    start(&first, "", false);
    guest_change(&first.guest, entry_at(&first, 4), 0, FS_PS);
    guest_read_faults(&first.guest, GUEST_IOVA, 0x72);
    end(&first);
}

static void large_page_reserved(void **state)
{
    struct first first;

    (void)state;
    start(&first, "", false);
    for (unsigned int bit = 13; bit < 30; bit++) {
        store64(&first.guest.machine, entry_at(&first, 3), BIT(bit) | FS_PS | FS_ALL);
        guest_read_faults(&first.guest, GUEST_IOVA, 0x72);
    }
    end(&first);
    start(&first, "", false);
    for (unsigned int bit = 13; bit < 21; bit++) {
        store64(&first.guest.machine, entry_at(&first, 2), BIT(bit) | FS_PS | FS_ALL);
        guest_read_faults(&first.guest, GUEST_IOVA, 0x72);
    }
    end(&first);
}

static void not_present(void **state)
{
    struct first first;

    (void)state;
    start(&first, "", false);
    for (unsigned int level = 1; level <= 4; level++) {
        uint64_t entry = entry_at(&first, level);
        uint64_t value = load64(&first.guest.machine, entry);

        store64(&first.guest.machine, entry, value & ~FS_P);
        guest_read_faults(&first.guest, GUEST_IOVA, 0x71);
        guest_write_faults(&first.guest, GUEST_IOVA, 0x71);
        store64(&first.guest.machine, entry, value);
    }
    guest_reads(&first.guest, GUEST_IOVA, first.page);
    end(&first);
}

static void reserved_bits(void **state)
{
    struct first first;

    (void)state;
    start(&first, "haw=40", false);
    for (unsigned int level = 1; level <= 4; level++) {
        for (unsigned int bit = 40; bit < 52; bit++) {
            guest_change(&first.guest, entry_at(&first, level), 0, BIT(bit));
            guest_read_faults(&first.guest, GUEST_IOVA, 0x72);
            guest_change(&first.guest, entry_at(&first, level), BIT(bit), 0);
        }
    }
    for (unsigned int level = 1; level <= 4; level++)
        guest_change(&first.guest, entry_at(&first, level), 0, 0xfff0000000000b18);
    guest_reads(&first.guest, GUEST_IOVA, first.page);
    end(&first);
}

static void tables_without_memory(void **state)
{
    struct first first;

    (void)state;
    start(&first, "", false);
    for (unsigned int level = 2; level <= 4; level++) {
        uint64_t entry = entry_at(&first, level);
        uint64_t value = load64(&first.guest.machine, entry);

        store64(&first.guest.machine, entry, GUEST_NOWHERE | FS_ALL);
        guest_read_faults(&first.guest, GUEST_IOVA, 0x70);
        store64(&first.guest.machine, entry, value);
    }
    first.root = GUEST_NOWHERE;
    entry_bits(&first, PASID_PWSNP, 0);
    guest_read_faults(&first.guest, GUEST_IOVA, 0x73);
    end(&first);
}

static void canonical_addresses(void **state)
{
    const uint64_t high = 0xffff800000000000;
    struct first first;

    (void)state;
    start(&first, "", false);
    guest_read_faults(&first.guest, BIT(47), 0x80);
    guest_read_faults(&first.guest, BIT(63) | GUEST_IOVA, 0x80);
    guest_read_faults(&first.guest, high - 4096, 0x80);
    guest_read_faults(&first.guest, BIT(47) - 4096, 0x71);
    guest_map(&first.guest, first.root, 4, high, 1, first.page | FS_ALL, FS_ALL);
    guest_reads(&first.guest, high, first.page);
    end(&first);
}

static void user_rights(void **state)
{
    struct first first;

    (void)state;
    start(&first, "", false);
    for (unsigned int level = 1; level <= 4; level++) {
        guest_change(&first.guest, entry_at(&first, level), FS_W, 0);
        guest_write_faults(&first.guest, GUEST_IOVA, 0x85);
        guest_reads(&first.guest, GUEST_IOVA, first.page);
        guest_write_faults(&first.guest, GUEST_IOVA, 0x85);
        guest_change(&first.guest, entry_at(&first, level), FS_U, FS_W);
        guest_flush(&first.guest);
        guest_read_faults(&first.guest, GUEST_IOVA, 0x81);
        guest_write_faults(&first.guest, GUEST_IOVA, 0x81);
        guest_change(&first.guest, entry_at(&first, level), 0, FS_U);
    }
    end(&first);
}

static void atomics_need_write(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);
    struct first first;

    (void)state;
    start(&first, "", false);
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    guest_arrives(&first.guest, &dma, first.page);
    guest_flush(&first.guest);
    guest_change(&first.guest, first.leaf, FS_W, 0);
    guest_faults(&first.guest, &dma, 0x85);
    end(&first);
}

static void supervisor_requests(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);
    struct first first;

    (void)state;
    start(&first, ALL, true);
    dma.pasid = PASID;
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_PRIVILEGED;
    guest_faults(&first.guest, &dma, 0x5d);
    entry_bits(&first, PASID_PWSNP, PASID_SRE);
    guest_arrives(&first.guest, &dma, first.page);
    /* A supervisor page: not for users, whatever is cached. */
    guest_change(&first.guest, first.leaf, FS_U | FS_W, 0);
    guest_flush(&first.guest);
    guest_arrives(&first.guest, &dma, first.page);
    dma.access = VIOMMU_DMA_READ;
    guest_faults(&first.guest, &dma, 0x81);
    dma.access = VIOMMU_DMA_WRITE | VIOMMU_DMA_PRIVILEGED;
    guest_arrives(&first.guest, &dma, first.page);
    entry_bits(&first, PASID_PWSNP, PASID_SRE | PASID_WPE);
    guest_faults(&first.guest, &dma, 0x85);
    end(&first);
}

static void execute_requests(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);
    struct viommu_dma_result result;
    struct first first;

    (void)state;
    start(&first, ALL, true);
    dma.pasid = PASID;
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE;
    guest_faults(&first.guest, &dma, 0x5c);
    /* Nor does a read hear that it might execute. */
    dma.access = VIOMMU_DMA_READ;
    result = guest_arrives(&first.guest, &dma, first.page);
    assert_false(result.permissions & VIOMMU_DMA_EXECUTE);
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE;
    entry_bits(&first, PASID_PWSNP, PASID_ERE);
    guest_change(&first.guest, entry_at(&first, 3), 0, FS_XD);
    result = guest_arrives(&first.guest, &dma, first.page);
    assert_true(result.permissions & VIOMMU_DMA_EXECUTE);
    entry_bits(&first, PASID_PWSNP, PASID_ERE | PASID_NXE);
    guest_faults(&first.guest, &dma, 0x82);
    dma.access = VIOMMU_DMA_READ;
    result = guest_arrives(&first.guest, &dma, first.page);
    assert_false(result.permissions & VIOMMU_DMA_EXECUTE);
    end(&first);
    start(&first, "pasid-bits=20", true);
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE;
    guest_faults(&first.guest, &dma, 0x5c);
    end(&first);
}

static void accessed_and_dirty(void **state)
{
    struct first first;

    (void)state;
    start(&first, "", false);
    guest_reads(&first.guest, GUEST_IOVA, first.page);
    for (unsigned int level = 1; level <= 4; level++)
        assert_int_equal(
            load64(&first.guest.machine, entry_at(&first, level)) & (FS_A | FS_D | FS_EA), FS_A);
    /* The translation is cached now; the first write must set the dirty bit all the same. */
    guest_writes(&first.guest, GUEST_IOVA, first.page);
    assert_int_equal(load64(&first.guest.machine, first.leaf), first.page | FS_ALL | FS_A | FS_D);
    assert_int_equal(load64(&first.guest.machine, entry_at(&first, 2)) & FS_D, 0);
    end(&first);
}

static void dirty_not_set_when_refused(void **state)
{
    struct first first;

    (void)state;
    start(&first, "", false);
    guest_change(&first.guest, first.leaf, FS_W, 0);
    guest_write_faults(&first.guest, GUEST_IOVA, 0x85);
    assert_int_equal(load64(&first.guest.machine, first.leaf) & FS_D, 0);
    end(&first);
}

static void extended_accessed(void **state)
{
    struct first first;

    (void)state;
    start(&first, "extended-accessed=on", false);
    entry_bits(&first, PASID_PWSNP, PASID_EAFE);
    guest_reads(&first.guest, GUEST_IOVA, first.page);
    for (unsigned int level = 1; level <= 4; level++)
        assert_int_equal(load64(&first.guest.machine, entry_at(&first, level)) & (FS_A | FS_EA),
                         FS_A | FS_EA);
    end(&first);
}

static void update_without_snoop(void **state)
{
    struct first first;

    (void)state;
    start(&first, "", false);
    entry_bits(&first, 0, 0);
    guest_read_faults(&first.guest, GUEST_IOVA, 0x90);
    for (unsigned int level = 1; level <= 4; level++)
        guest_change(&first.guest, entry_at(&first, level), 0, FS_A);
    guest_reads(&first.guest, GUEST_IOVA, first.page);
    guest_write_faults(&first.guest, GUEST_IOVA, 0x90);
    guest_change(&first.guest, first.leaf, 0, FS_D);
    guest_writes(&first.guest, GUEST_IOVA, first.page);
    end(&first);
}

static void update_fails(void **state)
{
    struct viommu_memory_range rom = {
        .gpa = BIT(32), .size = 4096, .flags = VIOMMU_MEMORY_READONLY};
    uint64_t *table;
    struct first first;

    (void)state;
    start(&first, "", false);
    rom.host = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(rom.host, MAP_FAILED);
    assert_int_equal(viommu_memory_add(first.guest.machine.memory, &rom, NULL), 0);
    table = rom.host;
    table[GUEST_IOVA >> 12 & 511] = first.page | FS_ALL;
    store64(&first.guest.machine, entry_at(&first, 2), rom.gpa | FS_ALL);
    guest_read_faults(&first.guest, GUEST_IOVA, 0x91);
    table[GUEST_IOVA >> 12 & 511] = first.page | FS_ALL | FS_A;
    guest_reads(&first.guest, GUEST_IOVA, first.page);
    assert_int_equal(viommu_memory_remove(first.guest.machine.memory, rom.gpa, NULL), 0);
    munmap(rom.host, 4096);
    end(&first);
}

static void output_in_interrupt_range(void **state)
{
    struct first first;

    (void)state;
    start(&first, "", false);
    store64(&first.guest.machine, first.leaf, 0xfee00000 | FS_ALL);
    guest_read_faults(&first.guest, GUEST_IOVA, 0x87);
    store64(&first.guest.machine, first.leaf, 0xfeeff000 | FS_ALL);
    guest_write_faults(&first.guest, GUEST_IOVA, 0x87);
    end(&first);
}

/* A large page that reaches into the interrupt range translates, but for that part of it. */
static void large_page_around_interrupts(void **state)
{
    const uint64_t iova = UINT64_C(0x80000000);
    struct guest_dma dma = DMA_AT(iova);
    struct viommu_dma_result result;
    struct first first;

    (void)state;
    start(&first, "", false);
    guest_map(&first.guest, first.root, 4, iova, 3, 0xc0000000 | FS_PS | FS_ALL | FS_A | FS_D,
              FS_ALL);
    /* No memory there: the translation succeeds, the access does not, and that is no fault. */
    assert_int_equal(guest_dma(&first.guest, &dma, &result), -14);
    assert_int_equal(result.status, VIOMMU_DMA_NO_MEMORY);
    assert_int_equal(result.gpa, 0xc0000000);
    guest_read_faults(&first.guest, iova + 0x3ee00000, 0x87);
    dma.address = iova + 0x3ed00000;
    assert_int_equal(guest_dma(&first.guest, &dma, &result), -14);
    assert_int_equal(result.gpa, 0xfed00000);
    guest_read_faults(&first.guest, iova + 0x3ee00000, 0x87);
    dma.address = iova + 0x3ef00000;
    assert_int_equal(guest_dma(&first.guest, &dma, &result), -14);
    assert_int_equal(result.gpa, 0xfef00000);
    end(&first);
}

static void faults_with_pasid(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA + 0x1234);
    struct first first;

    (void)state;
    start(&first, ALL, true);
    entry_bits(&first, PASID_PWSNP, PASID_SRE | PASID_ERE);
    dma.pasid = PASID;
    for (unsigned int access = VIOMMU_DMA_READ; access < 16; access++) {
        dma.access = (uint8_t)access;
        if (access & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE) &&
            !(access & VIOMMU_DMA_WRITE && access & VIOMMU_DMA_EXECUTE))
            guest_faults(&first.guest, &dma, 0x71);
    }
    end(&first);
}

/* EXE says that code was to be fetched: what writes as well is an atomic. */
static void execute_and_write(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA + 0x1234);
    struct viommu_dma_result result;
    struct machine *machine;
    struct first first;

    (void)state;
    start(&first, ALL, true);
    machine = &first.guest.machine;
    entry_bits(&first, PASID_PWSNP, PASID_ERE);
    dma.pasid = PASID;
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE | VIOMMU_DMA_EXECUTE;
    assert_int_equal(guest_dma(&first.guest, &dma, &result), -EACCES);
    assert_int_equal(result.fault_code, 0x71);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0) + 8) &
                         (VTD_FRCD_F | VTD_FRCD_PP | VTD_FRCD_EXE),
                     VTD_FRCD_F | VTD_FRCD_PP);
    end(&first);
}

static const struct spec_rule rules[] = {
    {"VTD-3.6-4K", "3.6", "Four levels map a 4 KiB page.", small_page},
    {"VTD-3.6-large", "3.6",
     "PS maps 2 MiB at level 2 and 1 GiB at level 3; PAT is no address bit.", large_pages},
    {"VTD-3.6-PS", "3.6",
     "PS is reserved at level 4, and at level 3 without FS1GP; 2 MiB are always there.",
     large_page_limits},
    {"VTD-9.7-reserved-large", "9.7", "Address bits below a large page's size are reserved: 72h.",
     large_page_reserved},
    {"VTD-7.1.3-SFS.2", "7.1.3", "An entry that is not present is fault 71h, at each level.",
     not_present},
    {"VTD-7.1.3-SFS.3", "9.7", "Address bits from HAW on are fault 72h; ignored bits are ignored.",
     reserved_bits},
    {"VTD-7.1.3-SFS.1,SFS.4", "7.1.3", "A table without memory is fault 70h, the first one 73h.",
     tables_without_memory},
    {"VTD-7.1.3-SGN.1", "3.6", "An address that is not canonical is fault 80h.",
     canonical_addresses},
    {"VTD-7.1.3-SGN.2,SGN.6", "3.6.1",
     "User requests need U/S in every entry (81h), and R/W for a write (85h).", user_rights},
    {"VTD-3.6.1-atomics", "3.6.1", "Atomics need the right to write.", atomics_need_write},
    {"VTD-7.1.3-SPT.6", "3.6.1",
     "Supervisor requests need SRE (5Dh); they write read-only pages unless WPE.",
     supervisor_requests},
    {"VTD-7.1.3-SPT.5,SGN.3", "3.6.1",
     "Execute requests need ERE (5Ch), and no XD in any entry when NXE (82h).", execute_requests},
    {"VTD-3.6.2-AD", "3.6.2",
     "A is set in each entry used, D in the leaf by a write, also after a cached read.",
     accessed_and_dirty},
    {"VTD-3.6.2-refused", "3.6.2", "A refused write sets no dirty bit.",
     dirty_not_set_when_refused},
    {"VTD-3.6.2-EA", "3.6.2", "With EAFE the extended-accessed bit is set with A.",
     extended_accessed},
    {"VTD-7.1.3-SFS.9", "3.10", "Without page-walk snoop a bit that must be set is fault 90h.",
     update_without_snoop},
    {"VTD-7.1.3-SFS.10", "7.1.3", "A bit that cannot be set is fault 91h.", update_fails},
    {"VTD-7.1.3-SGN.8-first", "3.15", "An output address in the interrupt range is fault 87h.",
     output_in_interrupt_range},
    {"VTD-3.15-large", "3.15", "Of a large page only the part in the interrupt range is refused.",
     large_page_around_interrupts},
    {"VTD-11.4.7.6-PASID", "11.4.7.6", "A fault record tells PASID, execute and privilege.",
     faults_with_pasid},
    {"VTD-11.4.7.6-EXE", "11.4.7.6", "EXE is clear for what wanted to write.", execute_and_write},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
