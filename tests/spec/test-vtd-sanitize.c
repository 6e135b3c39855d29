/* SPDX-License-Identifier: MIT */
/*
 * The guest sanitizer, shown on a small IOMMU driver: as it should be, it is never reported. And
 * what the sanitizer is itself. What is reported when it makes mistakes:
 * test-vtd-sanitize-mistakes.c. The sections are those of the rules that a driver breaks (VT-d 5.0,
 * 6.5).
 */
#include <string.h>

#include "sanitized.h"

/* ---- the driver as it should be ---- */

static void strict_driver(void **state)
{
    struct driver driver;

    (void)state;
    legacy_begin(&driver, STRICT);
    for (unsigned int i = 0; i < 64; i++) {
        uint64_t iova = IOVA + (i % 8) * 0x1000;
        uint64_t entry = map(&driver, iova, i & 1 ? GUEST_DATA : OTHER);

        guest_writes(&driver.guest, iova, i & 1 ? GUEST_DATA : OTHER);
        set(&driver, entry, 0);
        invalidate_pages(&driver, iova | (i & 2 ? 1 << 6 : 0), 0);
        wait_done(&driver);
    }
    silent(&driver);
    end(&driver);
}

/* A batching driver: unmapped addresses are not used again before the domain is invalidated. */
static void lazy_driver(void **state)
{
    struct driver driver;

    (void)state;
    legacy_begin(&driver, LAZY);
    for (unsigned int round = 0; round < 8; round++) {
        for (unsigned int i = 0; i < 16; i++) {
            uint64_t iova = IOVA + i * 0x1000;
            uint64_t entry = map(&driver, iova, GUEST_DATA + (i ^ round) * 0x1000);

            guest_reads(&driver.guest, iova, GUEST_DATA + (i ^ round) * 0x1000);
            set(&driver, entry, 0);
            wait_done(&driver); /* another vCPU's */
        }
        invalidate_domain(&driver);
        wait_done(&driver);
    }
    silent(&driver);
    end(&driver);
}

/* A table of 2 MiB is unlinked, invalidated, and then used for something else. */
static void freed_table_driver(void **state)
{
    struct driver driver;
    uint64_t entry, table;

    (void)state;
    legacy_begin(&driver, STRICT);
    map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    entry = guest_entry(&driver.guest, driver.root, 4, IOVA, 2);
    table = load64(machine_of(&driver), entry) & ~UINT64_C(0xfff);
    set(&driver, entry, 0);
    invalidate_pages(&driver, IOVA & ~UINT64_C(0x1fffff), 9);
    wait_done(&driver);
    for (unsigned int i = 0; i < 512; i++)
        set(&driver, table + i * 8, UINT64_C(0x5a5a5a5a5a5a5a5a));
    map(&driver, IOVA, OTHER);
    guest_reads(&driver.guest, IOVA, OTHER);
    wait_done(&driver);
    silent(&driver);
    end(&driver);
}

/* A context entry changes hands: not present, context cache, IOTLB, new fields. */
static void context_driver(void **state)
{
    struct driver driver;
    uint64_t other;

    (void)state;
    legacy_begin(&driver, STRICT);
    map(&driver, IOVA, GUEST_DATA);
    other = guest_page(&driver.guest);
    guest_map(&driver.guest, other, 4, IOVA, 1, OTHER | SS_RW, SS_RW);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    guest_change(&driver.guest, driver.context, 1, 0);
    invalidate_context(&driver);
    invalidate_domain(&driver);
    wait_done(&driver);
    set(&driver, driver.context + 8, 2 | (GUEST_DOMAIN + 1) << 8);
    set(&driver, driver.context, other | 1);
    guest_reads(&driver.guest, IOVA, OTHER);
    wait_done(&driver);
    silent(&driver);
    end(&driver);
}

static void pasid_driver(void **state)
{
    struct driver driver;
    uint64_t other;

    (void)state;
    first_begin(&driver, LAZY ",pasid-bits=6");
    map_first(&driver, IOVA, GUEST_DATA);
    other = guest_page(&driver.guest);
    guest_map(&driver.guest, other, 4, IOVA, 1, OTHER | FS_ALL, FS_ALL);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    guest_change(&driver.guest, driver.pasid, 1, 0);
    invalidate_pasid_cache(&driver);
    invalidate_pasid(&driver);
    wait_done(&driver);
    set(&driver, driver.pasid + 16, other);
    guest_change(&driver.guest, driver.pasid, 0, 1);
    guest_reads(&driver.guest, IOVA, OTHER);
    wait_done(&driver);
    silent(&driver);
    end(&driver);
}

/* Accessed and dirty bits, a permission more, another table with the same page. */
static void harmless_changes(void **state)
{
    struct driver driver;
    uint64_t entry, table, copy;

    (void)state;
    first_begin(&driver, LAZY ",pasid-bits=6");
    entry = map_first(&driver, IOVA, GUEST_DATA);
    guest_change(&driver.guest, entry, FS_W, 0);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    guest_change(&driver.guest, entry, 0, FS_W | FS_D | FS_EA);
    wait_done(&driver);
    table = guest_entry(&driver.guest, driver.root, 4, IOVA, 2);
    copy = guest_page(&driver.guest);
    memcpy(machine_of(&driver)->ram + copy, machine_of(&driver)->ram + (entry & ~UINT64_C(0xfff)),
           4096);
    set(&driver, table, copy | FS_ALL);
    wait_done(&driver);
    silent(&driver);
    end(&driver);
}

static void invalidate_page(struct driver *driver, uint64_t iova)
{
    invalidate_pages(driver, iova, 0);
}

static void driver_under_traffic(void **state)
{
    struct driver driver;

    (void)state;
    legacy_begin(&driver, STRICT);
    guest_legacy(&driver.guest, 1, 0, 2, driver.root);
    work_under_traffic(&driver, VIOMMU_DMA_UNTRANSLATED, invalidate_page);
    silent(&driver);
    end(&driver);
}

/* One drain before the wait is enough; so is one that nothing needs. */
static void drain_before_the_wait(void **state)
{
    struct driver driver;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, LAZY);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    machine_submit(machine_of(&driver), 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), IOVA);
    wait_done(&driver);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, 0);
    machine_submit(machine_of(&driver), 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), IOVA);
    invalidate_pages(&driver, 0, 0);
    wait_done(&driver);
    silent(&driver);
    end(&driver);
    legacy_begin(&driver, LAZY ",drain=off");
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, 0);
    machine_submit(machine_of(&driver), 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), IOVA);
    wait_done(&driver);
    silent(&driver);
    end(&driver);
}

/* ---- by registers ---- */

static void by_register(struct driver *driver, uint64_t bits)
{
    write64(machine_of(driver), VTD_IVA, IOVA);
    write64(machine_of(driver), VTD_IOTLB,
            VTD_IOTLB_IVT | bits | field_prep(VTD_IOTLB_DID, GUEST_DOMAIN));
}

static void register_without_drain(void **state)
{
    struct driver driver;
    uint64_t entry, pages = field_prep(VTD_IOTLB_IIRG, 3);

    (void)state;
    legacy_begin(&driver, LAZY);
    write32(machine_of(&driver), VTD_GCMD, (uint32_t)VTD_GCMD_TE);
    for (unsigned int i = 0; i < 2; i++) {
        entry = map(&driver, IOVA, GUEST_DATA);
        guest_reads(&driver.guest, IOVA, GUEST_DATA);
        set(&driver, entry, 0);
        silent(&driver);
        by_register(&driver, pages | (i ? 0 : VTD_IOTLB_DW));
    }
    assert_int_equal(machine_of(&driver)->report_count, 1);
    assert_int_equal(machine_of(&driver)->report[0].kind, VIOMMU_SANITIZE_DRAIN);
    end(&driver);
}

static void register_of_other_pages(void **state)
{
    struct driver driver;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, LAZY);
    write32(machine_of(&driver), VTD_GCMD, (uint32_t)VTD_GCMD_TE);
    entry = map(&driver, IOVA + 0x1000, GUEST_DATA);
    guest_reads(&driver.guest, IOVA + 0x1000, GUEST_DATA);
    set(&driver, entry, OTHER | SS_RW);
    by_register(&driver, field_prep(VTD_IOTLB_IIRG, 3) | VTD_IOTLB_DW);
    assert_int_equal(machine_of(&driver)->report_count, 1);
    assert_int_equal(machine_of(&driver)->report[0].kind, VIOMMU_SANITIZE_NARROW);
    assert_int_equal(machine_of(&driver)->report[0].entry_address, entry);
    end(&driver);
}

/* ---- the sanitizer itself ---- */

/* Other vCPUs' waits count only when there are too many of them. */
static void patience(void **state)
{
    struct driver driver;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, "sanitize=on,sanitize-patience=3");
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    for (unsigned int i = 0; i < 2; i++) {
        set(&driver, entry, i & 1 ? GUEST_DATA | SS_RW : OTHER | SS_RW);
        for (unsigned int waits = 0; waits < 3; waits++)
            wait_done(&driver);
        invalidate_pages(&driver, IOVA, 0);
        wait_done(&driver);
        silent(&driver);
        guest_reads(&driver.guest, IOVA, i & 1 ? GUEST_DATA : OTHER);
    }
    set(&driver, entry, OTHER | SS_RW);
    for (unsigned int waits = 0; waits < 3; waits++)
        wait_done(&driver);
    silent(&driver);
    wait_done(&driver);
    assert_int_equal(machine_of(&driver)->report_count, 1);
    end(&driver);
}

/* A guest that maps without end makes it forget, not grow; and it says so. */
static void bounded(void **state)
{
    struct driver driver;
    uint64_t first = 0;

    (void)state;
    legacy_begin(&driver, LAZY);
    for (unsigned int i = 0; i < 4096; i++) {
        uint64_t entry = map(&driver, IOVA + i * 0x1000, GUEST_DATA);

        first = i ? first : entry;
        guest_reads(&driver.guest, IOVA + i * 0x1000, GUEST_DATA);
    }
    set(&driver, first, OTHER | SS_RW);
    wait_done(&driver);
    assert_non_null(strstr(machine_of(&driver)->log, "has forgotten"));
    silent(&driver);
    end(&driver);
}

/* Reports beyond a burst are counted and handed over, but not all are said. */
static void rate_limited(void **state)
{
    struct driver driver;
    unsigned int said;

    (void)state;
    legacy_begin(&driver, LAZY);
    for (unsigned int i = 0; i < 100; i++) {
        uint64_t entry = map(&driver, IOVA + i * 0x1000, GUEST_DATA);

        guest_reads(&driver.guest, IOVA + i * 0x1000, GUEST_DATA);
        set(&driver, entry, OTHER | SS_RW);
    }
    said = machine_of(&driver)->log_count;
    wait_done(&driver);
    assert_int_equal(machine_of(&driver)->report_count, 100);
    said = machine_of(&driver)->log_count - said;
    assert_in_range(said, 16, 20);
    assert_non_null(strstr(machine_of(&driver)->log, "were held back"));
    end(&driver);
}

static void off_says_nothing(void **state)
{
    struct driver driver;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, "");
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, OTHER | SS_RW);
    wait_done(&driver);
    silent(&driver);
    end(&driver);
}

/* A new root table, and a reset, leave no cache with anything (CAP.ESRTPS). */
static void root_table_takes_all(void **state)
{
    struct driver driver;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, STRICT);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, OTHER | SS_RW);
    set(&driver, driver.context, 0);
    guest_flush(&driver.guest);
    wait_done(&driver);
    silent(&driver);
    end(&driver);
}

static const struct spec_rule rules[] = {
    {"VTD-6.5.3.3-1", "6.5.3.3",
     "Sanitizer: a driver that unmaps, invalidates and waits is not reported.", strict_driver},
    {"VTD-6.5.3.3-2", "6.5.3.3",
     "Sanitizer: a driver that uses addresses again after a later domain invalidation is not "
     "reported.",
     lazy_driver},
    {"VTD-6.5.3.3-3", "6.5.3.3",
     "Sanitizer: a table that is used for something else after its invalidation is not reported.",
     freed_table_driver},
    {"VTD-6.5.3.3-4", "6.5.3.3",
     "Sanitizer: a context entry that is replaced in the order of the guidance is not reported.",
     context_driver},
    {"VTD-6.5.3.3-5", "6.5.3.3",
     "Sanitizer: a PASID entry that is replaced in the order of the guidance is not reported.",
     pasid_driver},
    {"VTD-6.5.3.3-6", "6.5.3.3",
     "Sanitizer: accessed bits, permissions that are added, and another way to the same page are "
     "not reported.",
     harmless_changes},
    {"VTD-6.5.3.3-15", "6.5.3.3",
     "Sanitizer: a driver is not reported for requests that are under way while it unmaps.",
     driver_under_traffic},
    {"VTD-6.5.4-21", "6.5.4",
     "Sanitizer: a drain before the wait is enough, and none is needed without CAP.DWD and DRD.",
     drain_before_the_wait},
    {"VTD-11.4.6.3-20", "11.4.6.3",
     "Sanitizer: a register invalidation without DW is reported when it is done.",
     register_without_drain},
    {"VTD-11.4.6.3-21", "11.4.6.3",
     "Sanitizer: a register invalidation of too few pages is reported when it is done.",
     register_of_other_pages},
    {"VTD-6.5.3.3-13", "6.5.3.3",
     "Sanitizer: a change may outlive sanitize-patience waits before it is reported.", patience},
    {"VTD-6.2-20", "6.2", "Sanitizer: what it remembers is bounded, and it says what it forgot.",
     bounded},
    {"VTD-6.2-21", "6.2",
     "Sanitizer: its log messages are limited, and say how many were held back.", rate_limited},
    {"VTD-6.2-22", "6.2", "Sanitizer: nothing is reported when it is off.", off_says_nothing},
    {"VTD-6.6-20", "6.6", "Sanitizer: a new root table leaves nothing cached.",
     root_table_takes_all},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
