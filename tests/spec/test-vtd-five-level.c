/* SPDX-License-Identifier: MIT */
/*
 * Tables of five levels: the first stage (57 bits, canonical), the second stage (AW 3), both
 * together, and on the host.
 */
#include <errno.h>
#include <string.h>

#include "assigned.h"
#include "model/vtd/register_map.h"

#define BIT(n) (UINT64_C(1) << (n))
/* An index of its own at each level. */
#define WIDE  (UINT64_C(0xab) << 48 | GUEST_IOVA)
#define PASID 5

#define FSPM(n) ((uint64_t)(n) << 2)

/* Reasons of the two modes for the second stage. */
static const struct mode {
    uint64_t ttm;
    uint8_t invalid, width, absent;
} modes[] = {{TTM_LEGACY, 0x03, 0x04, 0x06}, {TTM_SCALABLE, 0x5b, 0x84, 0x79}};

struct five {
    struct guest guest;
    uint64_t root, leaf, page;
};

static void point(struct five *five, uint64_t qw2)
{
    guest_pasid(&five->guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, five->root | qw2);
    guest_pasid(&five->guest, PASID, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, five->root | qw2);
    guest_flush(&five->guest);
}

static void start(struct five *five, const char *properties)
{
    guest_create(&five->guest, properties);
    five->root = guest_page(&five->guest);
    five->page = guest_page(&five->guest);
    five->leaf = guest_map(&five->guest, five->root, 5, WIDE, 1, five->page | FS_ALL, FS_ALL);
    guest_scalable(&five->guest, 0, UINT64_C(1) << 3);
    guest_on(&five->guest, TTM_SCALABLE);
    point(five, FSPM(1));
}

static void end(struct five *five)
{
    guest_destroy(&five->guest);
}

static uint64_t entry_at(struct five *five, unsigned int level)
{
    return guest_entry(&five->guest, five->root, 5, WIDE, level);
}

static void pages(void **state)
{
    struct five five;

    (void)state;
    start(&five, "5-level=on,pasid-bits=20");
    assert_int_equal(guest_reads(&five.guest, WIDE | 0x123, five.page | 0x123).granule_log2, 12);
    guest_writes(&five.guest, WIDE, five.page);
    guest_flush(&five.guest);
    store64(&five.guest.machine, entry_at(&five, 2), 0x400000 | FS_PS | FS_ALL);
    assert_int_equal(guest_reads(&five.guest, WIDE, 0x400000 | (WIDE & 0x1fffff)).granule_log2, 21);
    guest_flush(&five.guest);
    store64(&five.guest.machine, entry_at(&five, 3), FS_PS | FS_ALL);
    assert_int_equal(
        guest_reads(&five.guest, (WIDE & ~(BIT(30) - 1)) + 0x5000, 0x5000).granule_log2, 30);
    end(&five);
}

/* FSPM 1 needs CAP.FS5LP; 2 and 3 do not exist. The other PASID of the function may have 4. */
static void paging_modes(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);
    struct five five;
    uint64_t root;

    (void)state;
    start(&five, "pasid-bits=20");
    guest_read_faults(&five.guest, WIDE, 0x5b);
    end(&five);
    start(&five, "5-level=on,pasid-bits=20");
    for (unsigned int fspm = 2; fspm < 4; fspm++) {
        point(&five, FSPM(fspm));
        guest_read_faults(&five.guest, WIDE, 0x5b);
    }
    point(&five, FSPM(1));
    root = guest_page(&five.guest);
    guest_map(&five.guest, root, 4, GUEST_IOVA, 1, GUEST_DATA | FS_ALL, FS_ALL);
    guest_pasid(&five.guest, PASID, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root);
    dma.pasid = PASID;
    guest_arrives(&five.guest, &dma, GUEST_DATA);
    guest_reads(&five.guest, WIDE, five.page);
    dma.address = WIDE;
    guest_faults(&five.guest, &dma, 0x80);
    end(&five);
}

static void canonical(void **state)
{
    const uint64_t high = ~UINT64_C(0) << 56;
    struct five five;

    (void)state;
    start(&five, "5-level=on,pasid-bits=20");
    guest_read_faults(&five.guest, BIT(56), 0x80);
    guest_read_faults(&five.guest, BIT(63) | WIDE, 0x80);
    guest_read_faults(&five.guest, high - 4096, 0x80);
    guest_read_faults(&five.guest, BIT(56) - 4096, 0x71);
    guest_read_faults(&five.guest, BIT(47), 0x71);
    guest_read_faults(&five.guest, ~UINT64_C(0) << 47, 0x71);
    guest_map(&five.guest, five.root, 5, high, 1, five.page | FS_ALL, FS_ALL);
    guest_reads(&five.guest, high, five.page);
    end(&five);
}

/* guest_faults() reads the whole address in the record. */
static void record_address(void **state)
{
    struct five five;
    uint64_t record;

    (void)state;
    start(&five, "5-level=on,pasid-bits=20");
    guest_write_faults(&five.guest, WIDE + 0x1000, 0x71);
    record = machine_fault_record(&five.guest.machine, 0);
    assert_int_equal(read64(&five.guest.machine, record), WIDE + 0x1000);
    end(&five);
}

static void top_level_faults(void **state)
{
    struct five five;
    uint64_t top, value;

    (void)state;
    start(&five, "5-level=on,pasid-bits=20,haw=40");
    top = entry_at(&five, 5);
    value = load64(&five.guest.machine, top);
    guest_change(&five.guest, top, FS_P, 0);
    guest_read_faults(&five.guest, WIDE, 0x71);
    store64(&five.guest.machine, top, value | FS_PS);
    guest_read_faults(&five.guest, WIDE, 0x72);
    store64(&five.guest.machine, top, value | BIT(40));
    guest_read_faults(&five.guest, WIDE, 0x72);
    store64(&five.guest.machine, top, GUEST_NOWHERE | FS_ALL);
    guest_read_faults(&five.guest, WIDE, 0x70);
    store64(&five.guest.machine, top, value & ~FS_U);
    guest_read_faults(&five.guest, WIDE, 0x81);
    store64(&five.guest.machine, top, value & ~FS_W);
    guest_write_faults(&five.guest, WIDE, 0x85);
    store64(&five.guest.machine, top, value);
    guest_reads(&five.guest, WIDE, five.page);
    guest_change(&five.guest, entry_at(&five, 4), 0, FS_PS);
    guest_flush(&five.guest);
    guest_read_faults(&five.guest, WIDE, 0x72);
    five.root = GUEST_NOWHERE;
    point(&five, FSPM(1));
    guest_read_faults(&five.guest, WIDE, 0x73);
    end(&five);
}

static void accessed_and_dirty(void **state)
{
    struct five five;

    (void)state;
    start(&five, "5-level=on,pasid-bits=20,extended-accessed=on");
    point(&five, FSPM(1) | PASID_EAFE);
    guest_writes(&five.guest, WIDE, five.page);
    for (unsigned int level = 1; level <= 5; level++)
        assert_int_equal(load64(&five.guest.machine, entry_at(&five, level)) &
                             (FS_A | FS_D | FS_EA),
                         level == 1 ? FS_A | FS_D | FS_EA : FS_A | FS_EA);
    end(&five);
}

/* A page-selective descriptor carries all of the address. */
static void invalidation(void **state)
{
    struct five five;
    struct machine *machine = &five.guest.machine;

    (void)state;
    start(&five, "5-level=on,pasid-bits=20");
    machine_queue_start(machine, 0x20000, true);
    guest_reads(&five.guest, WIDE, five.page);
    store64(machine, five.leaf, GUEST_DATA | FS_ALL);
    guest_reads(&five.guest, WIDE, five.page);
    /* The same page but for the bits above 47. */
    machine_submit(machine, 6 | 3 << 4 | GUEST_DOMAIN << 16, GUEST_IOVA);
    guest_reads(&five.guest, WIDE, five.page);
    machine_submit(machine, 6 | 3 << 4 | GUEST_DOMAIN << 16, WIDE);
    guest_reads(&five.guest, WIDE, GUEST_DATA);
    end(&five);
}

/* Tables of `second` levels below a first stage of five, all of whose pages they map to themselves.
 */
static void nested_over(unsigned int second)
{
    struct five five;
    struct guest *guest = &five.guest;
    uint64_t root;

    start(&five, "aw=57,5-level=on,second-stage=on,nested=on,pasid-bits=20");
    root = guest_page(guest);
    for (uint64_t gpa = 0; gpa < MACHINE_MEMORY; gpa += BIT(21))
        guest_map(guest, root, second, gpa, 2, gpa | SS_PS | SS_RW, SS_RW);
    guest_pasid(guest, 0, PASID_PGTT(3) | PASID_AW(second - 2) | root, GUEST_DOMAIN | PASID_PWSNP,
                five.root | FSPM(1));
    guest_flush(guest);
    guest_writes(guest, WIDE, five.page);
    assert_int_equal(load64(&guest->machine, five.leaf), five.page | FS_ALL | FS_A | FS_D);
    guest_read_faults(guest, BIT(56), 0x80);
    store64(&guest->machine, entry_at(&five, 5), BIT(45) | FS_ALL);
    guest_flush(guest);
    guest_read_faults(guest, WIDE, second == 3 ? 0x74 : 0x79);
    end(&five);
}

static void nested(void **state)
{
    (void)state;
    for (unsigned int second = 3; second <= 5; second++)
        nested_over(second);
}

/* Second stage */

static void second_point(struct guest *guest, const struct mode *mode, unsigned int aw,
                         uint64_t root)
{
    if (mode->ttm == TTM_LEGACY) {
        guest_legacy(guest, 0, 0, aw, root);
    } else {
        guest_scalable(guest, 0, 0);
        guest_pasid(guest, 0, PASID_PGTT(2) | PASID_AW(aw) | root, GUEST_DOMAIN, 0);
    }
    guest_on(guest, mode->ttm);
}

static void second_stage(void **state)
{
    const uint64_t top = BIT(56) | WIDE;

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(modes); i++) {
        struct guest guest;
        uint64_t root;

        guest_create(&guest, "aw=57,first-stage=off,second-stage=on");
        root = guest_page(&guest);
        guest_map(&guest, root, 5, top, 1, GUEST_DATA | SS_RW, SS_RW);
        second_point(&guest, &modes[i], 3, root);
        guest_writes(&guest, top | 8, GUEST_DATA | 8);
        guest_read_faults(&guest, WIDE, modes[i].absent);
        guest_read_faults(&guest, BIT(57), modes[i].width);
        guest_read_faults(&guest, BIT(57) - 4096, modes[i].absent);
        /* Tables of fewer levels translate fewer bits. */
        second_point(&guest, &modes[i], 2, root);
        guest_read_faults(&guest, BIT(48), modes[i].width);
        /* AW 4 does not exist. */
        second_point(&guest, &modes[i], 4, root);
        guest_read_faults(&guest, top, modes[i].invalid);
        guest_destroy(&guest);
        guest_create(&guest, "first-stage=off,second-stage=on");
        second_point(&guest, &modes[i], 3, root);
        guest_read_faults(&guest, WIDE, modes[i].invalid);
        guest_destroy(&guest);
    }
}

/* By queue and by registers; an address without the bits above 47 names another page. */
static void second_stage_invalidation(void **state)
{
    const uint64_t top = BIT(56) | WIDE;

    (void)state;
    for (unsigned int by_queue = 0; by_queue < 2; by_queue++) {
        struct guest guest;
        struct machine *machine = &guest.machine;
        uint64_t root, leaf;

        guest_create(&guest, "aw=57,scalable=off");
        root = guest_page(&guest);
        leaf = guest_map(&guest, root, 5, top, 1, GUEST_DATA | SS_RW, SS_RW);
        second_point(&guest, &modes[0], 3, root);
        if (by_queue)
            machine_queue_start(machine, 0x20000, false);
        guest_reads(&guest, top, GUEST_DATA);
        store64(machine, leaf, (GUEST_DATA + 0x1000) | SS_RW);
        for (unsigned int i = 0; i < 2; i++) {
            uint64_t address = i ? top : GUEST_IOVA;

            if (by_queue) {
                machine_submit(machine, 2 | 3 << 4 | GUEST_DOMAIN << 16, address);
            } else {
                write64(machine, VTD_IVA, address);
                write64(machine, VTD_IOTLB,
                        VTD_IOTLB_IVT | field_prep(VTD_IOTLB_IIRG, 3) |
                            field_prep(VTD_IOTLB_DID, GUEST_DOMAIN));
            }
            guest_reads(&guest, top, GUEST_DATA + i * 0x1000);
        }
        guest_destroy(&guest);
    }
}

/* haw=52: all address bits of an entry count, and memory may lie that high. */
static void wide_memory(void **state)
{
    struct viommu_memory_range range = {.gpa = BIT(51) | BIT(40), .size = 4096};
    struct five five;

    (void)state;
    start(&five, "aw=57,haw=52,5-level=on,pasid-bits=20");
    range.host = five.guest.machine.ram + GUEST_DATA;
    assert_int_equal(viommu_memory_add(five.guest.machine.memory, &range, NULL), 0);
    store64(&five.guest.machine, five.leaf, range.gpa | FS_ALL);
    guest_reads(&five.guest, WIDE, range.gpa);
    assert_int_equal(viommu_memory_remove(five.guest.machine.memory, range.gpa, NULL), 0);
    end(&five);
}

/* On the host */

static uint64_t host_table(struct assigned *assigned, unsigned int levels, uint64_t gpa)
{
    uint64_t root = guest_page(&assigned->guest);

    guest_map(&assigned->guest, root, levels, levels == 5 ? WIDE : GUEST_IOVA, 1, gpa | FS_ALL,
              FS_ALL);
    return root;
}

static void start_on_host(struct assigned *assigned, uint64_t *root)
{
    assigned_create(assigned, NULL, "5-level=on,aw=57");
    assigned_attach(assigned, 0);
    *root = host_table(assigned, 5, PAGE_A);
    guest_scalable(&assigned->guest, 0, 0);
    guest_pasid(&assigned->guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, *root | FSPM(1));
    guest_on(&assigned->guest, TTM_SCALABLE);
    assigned_calm(assigned);
}

static void nested_on_host(void **state)
{
    struct assigned assigned;
    uint64_t root, leaf;

    (void)state;
    start_on_host(&assigned, &root);
    assigned_arrives(&assigned, 0, WIDE, PAGE_A);
    leaf = guest_entry(&assigned.guest, root, 5, WIDE, 1);
    store64(&assigned.guest.machine, leaf, PAGE_B | FS_ALL);
    assigned_arrives(&assigned, 0, WIDE, PAGE_A); /* cached */
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, WIDE, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, WIDE, PAGE_B);
    store64(&assigned.guest.machine, leaf, 0);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, WIDE, 0);
    assigned_wait(&assigned);
    assigned_faults(&assigned, 0, WIDE, FS_NOT_PRESENT);
    assigned_faults(&assigned, 0, BIT(56), 0x80);
    assigned_destroy(&assigned);
}

/* The same root with other levels is another table. */
static void levels_change_on_host(void **state)
{
    struct assigned assigned;
    uint64_t root, four;

    (void)state;
    start_on_host(&assigned, &root);
    four = host_table(&assigned, 4, PAGE_B);
    guest_pasid(&assigned.guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, four);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assigned_faults(&assigned, 0, WIDE, 0x80);
    guest_pasid(&assigned.guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, four | FSPM(1));
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_clear_faults(&assigned);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1);
    assigned_destroy(&assigned);
}

static void host_without(void **state)
{
    struct viommu_error error = {0};
    struct assigned assigned;

    (void)state;
    assigned_create(&assigned, "no-5-level", "5-level=on");
    assert_int_equal(assigned_try_attach(&assigned, 0, &error), -EOPNOTSUPP);
    assert_non_null(strstr(error.message, "host CAP.FS5LP=0 (5-level=off,aw=48)"));
    assigned_destroy(&assigned);
}

static void shadowed(void **state)
{
    const uint64_t top = BIT(56) | WIDE;
    struct assigned assigned;
    uint64_t root, leaf;

    (void)state;
    assigned_create(&assigned, NULL, "5-level=on,aw=57");
    assigned_attach(&assigned, 0);
    root = guest_page(&assigned.guest);
    leaf = guest_map(&assigned.guest, root, 5, top, 1, PAGE_A | SS_RW, SS_RW);
    guest_map(&assigned.guest, root, 5, WIDE, 1, PAGE_B | SS_RW, SS_RW);
    guest_legacy(&assigned.guest, 0, 0, 3, root);
    write32(&assigned.guest.machine, VTD_GCMD, 0); /* legacy mode has narrow descriptors */
    machine_queue_start(&assigned.guest.machine, ASSIGNED_QUEUE | 1, false);
    guest_on(&assigned.guest, TTM_LEGACY);
    assigned_arrives(&assigned, 0, top, PAGE_A);
    assigned_arrives(&assigned, 0, WIDE, PAGE_B);
    store64(&assigned.guest.machine, leaf, 0);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, top, 0);
    assigned_faults(&assigned, 0, top, LEGACY_READ);
    assigned_arrives(&assigned, 0, WIDE, PAGE_B);
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-3.6-5L", "3.6", "Five levels map pages of 4 KiB, 2 MiB and 1 GiB by 57 address bits.",
     pages},
    {"VTD-7.1.3-SPT.4.3", "9.6",
     "FSPM 1 is five levels with CAP.FS5LP, else fault 5Bh, as are 2 and 3; PASIDs may differ.",
     paging_modes},
    {"VTD-7.1.3-SGN.1-5L", "3.6", "With five levels, bits 63:56 that differ are fault 80h.",
     canonical},
    {"VTD-11.4.7.6-FI-5L", "11.4.7.6", "A fault record has all 57 bits of the address.",
     record_address},
    {"VTD-3.6-5L-faults", "3.6", "The fifth level has the faults and rights of every level.",
     top_level_faults},
    {"VTD-3.6.2-5L", "3.6.2", "Accessed and extended-accessed bits are set in five entries.",
     accessed_and_dirty},
    {"VTD-6.5.2.4-5L", "6.5.2.4", "A page-selective invalidation names all 57 bits.", invalidation},
    {"VTD-3.8-5L", "3.8", "A first stage of five levels nests over a second of three to five.",
     nested},
    {"VTD-3.7-5L", "3.7",
     "AW 3 is a second stage of five levels and 57 bits, when SAGAW says so; else 03h, 5Bh.",
     second_stage},
    {"VTD-6.5.1-5L", "6.5.1", "A second-stage page is invalidated by all 57 bits.",
     second_stage_invalidation},
    {"VTD-9.7-haw", "9.7", "With haw=52, all 52 address bits of an entry count.", wide_memory},
    {"VTD-3.8-host-5L", "3.8", "A five-level table of an assigned device nests on the host.",
     nested_on_host},
    {"VTD-9.6-host-5L", "9.6", "A change of FSPM binds the device anew.", levels_change_on_host},
    {"VTD-11.4.2-FS5LP", "11.4.2", "A host without FS5LP cannot keep the promise of five levels.",
     host_without},
    {"VTD-3.7-shadow-5L", "3.7", "A five-level second stage is mirrored, IOVA bit 56 included.",
     shadowed},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
