/* SPDX-License-Identifier: MIT */
/*
 * The guest sanitizer, and a driver with a mistake planted: exactly that is reported, once, with
 * the entry before and after.
 */
#include <string.h>

#include "sanitized.h"

enum unit {
    UNIT_LAZY, /* legacy mode */
    UNIT_STRICT,
    UNIT_FIRST,
    UNIT_SECOND,
};

enum what {
    LEAF,
    CONTEXT,
    PASID_DOMAIN,
    PASID_POINTER,
};

/* A page is mapped and used, an entry changes, the driver does too little, and waits. */
struct mistake {
    enum unit unit;
    uint64_t iova;
    bool written; /* by the device; else read */
    enum what what;
    bool unmapped_first; /* with a wait before it changes to this: */
    uint64_t after;
    bool other_table; /* the address of another table is added to `after` */
    void (*then[2])(struct driver *driver);
    enum viommu_sanitize_kind kind; /* that is reported, at: */
    uint64_t address;
};

static void begin(struct driver *driver, enum unit unit)
{
    switch (unit) {
    case UNIT_LAZY:
        legacy_begin(driver, LAZY);
        break;
    case UNIT_STRICT:
        legacy_begin(driver, STRICT);
        break;
    case UNIT_FIRST:
        first_begin(driver, LAZY ",pasid-bits=6");
        break;
    case UNIT_SECOND:
        second_begin(driver, LAZY ",second-stage=on");
        break;
    }
}

/* The entry that changes, as the report has to name it. */
static struct expected changing(struct driver *driver, const struct mistake *mistake, uint64_t leaf)
{
    struct expected expected = {.kind = mistake->kind, .address = mistake->address};

    switch (mistake->what) {
    case LEAF:
        expected.entry = VIOMMU_SANITIZE_ENTRY_SECOND_STAGE;
        expected.level = 1;
        expected.entry_address = leaf;
        expected.before = GUEST_DATA | SS_RW;
        break;
    case CONTEXT:
        expected.entry = VIOMMU_SANITIZE_ENTRY_CONTEXT;
        expected.entry_address = driver->context;
        expected.before = driver->root | 1;
        break;
    case PASID_DOMAIN:
        expected.entry = VIOMMU_SANITIZE_ENTRY_PASID;
        expected.entry_address = driver->pasid + 8;
        expected.before = PASID_PWSNP | GUEST_DOMAIN;
        break;
    case PASID_POINTER:
        expected.entry = VIOMMU_SANITIZE_ENTRY_PASID;
        expected.entry_address = driver->pasid + 16;
        expected.before = driver->root;
        break;
    }
    return expected;
}

static void makes_mistake(void **state)
{
    const struct mistake *mistake = *state;
    bool first = mistake->unit == UNIT_FIRST;
    struct expected expected;
    struct driver driver;
    uint64_t leaf, other;

    begin(&driver, mistake->unit);
    leaf = (first ? map_first : map)(&driver, mistake->iova, GUEST_DATA);
    other = guest_page(&driver.guest);
    (mistake->written ? guest_writes : guest_reads)(&driver.guest, mistake->iova, GUEST_DATA);
    expected = changing(&driver, mistake, leaf);
    expected.after = mistake->after + (mistake->other_table ? other : 0);
    if (mistake->unmapped_first) {
        set(&driver, expected.entry_address, 0);
        wait_done(&driver);
        silent(&driver);
    }
    set(&driver, expected.entry_address, expected.after);
    silent(&driver);
    for (unsigned int i = 0; i < 2 && mistake->then[i]; i++)
        mistake->then[i](&driver);
    if (mistake->kind != VIOMMU_SANITIZE_ORDER) /* which is seen as it happens */
        silent(&driver);
    wait_done(&driver);
    reported(&driver, &expected);
    if (first)
        assert_int_equal(machine_of(&driver)->report[0].pasid, 0);
    end(&driver);
}

/* Four pages that are aligned as such. */
#define FOUR_PAGES (IOVA & ~UINT64_C(0x3fff))

static void of_another_domain(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x2 | G(2) | DRAINED | DOMAIN(GUEST_DOMAIN + 1), 0);
}

static void of_two_pages(struct driver *driver)
{
    invalidate_pages(driver, FOUR_PAGES, 1);
}

/* Two pages from an odd one on, with a mask of two: the lower two are invalidated. */
static void of_two_odd_pages(struct driver *driver)
{
    invalidate_pages(driver, FOUR_PAGES + 0x1000, 1);
}

static void without_drain(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), IOVA);
}

#define MISTAKE(...)                                                                               \
    makes_mistake, &(const struct mistake)                                                         \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* ---- mistakes with a way of their own ---- */

static void hint_although_table_changed(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry, table, other;

    (void)state;
    legacy_begin(&driver, LAZY);
    map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    entry = guest_entry(&driver.guest, driver.root, 4, IOVA, 2);
    table = load64(machine_of(&driver), entry);
    other = guest_page(&driver.guest) | SS_RW;
    set(&driver, entry, 0);
    set(&driver, entry, other);
    map(&driver, IOVA, OTHER);
    invalidate_pages(&driver, IOVA | 1 << 6, 0);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_NARROW,
                                 VIOMMU_SANITIZE_ENTRY_SECOND_STAGE,
                                 2,
                                 IOVA & ~UINT64_C(0x1fffff),
                                 entry,
                                 table,
                                 other};
    reported(&driver, &expected);
    end(&driver);
}

/* The table is unlinked, not invalidated, and already holds something else. */
static void table_reused_too_early(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry, leaf;

    (void)state;
    legacy_begin(&driver, LAZY);
    leaf = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    entry = guest_entry(&driver.guest, driver.root, 4, IOVA, 2);
    set(&driver, entry, 0);
    wait_done(&driver);
    silent(&driver);
    set(&driver, leaf, UINT64_C(0x77777777));
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_TABLE,
                                 VIOMMU_SANITIZE_ENTRY_SECOND_STAGE,
                                 1,
                                 IOVA,
                                 leaf,
                                 GUEST_DATA | SS_RW,
                                 UINT64_C(0x77777777)};
    reported(&driver, &expected);
    end(&driver);
}

static void first_stage_page_of_pasid(void **state)
{
    struct driver driver;
    struct guest_dma dma = DMA_AT(IOVA);
    struct expected expected;
    uint64_t entry;

    (void)state;
    first_begin(&driver, LAZY ",pasid-bits=6");
    guest_pasid(&driver.guest, 5, PASID_PGTT(1), PASID_PWSNP | GUEST_DOMAIN, driver.root);
    entry = map_first(&driver, IOVA, GUEST_DATA);
    dma.pasid = 5;
    guest_arrives(&driver.guest, &dma, GUEST_DATA);
    set(&driver, entry, OTHER | FS_ALL | FS_A);
    invalidate_pasid(&driver); /* that of PASID 0 */
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_MISSING,
                                 VIOMMU_SANITIZE_ENTRY_FIRST_STAGE,
                                 1,
                                 IOVA,
                                 entry,
                                 GUEST_DATA | FS_ALL | FS_A,
                                 OTHER | FS_ALL | FS_A};
    reported(&driver, &expected);
    assert_int_equal(machine_of(&driver)->report[0].pasid, 5);
    assert_non_null(strstr(machine_of(&driver)->report[0].needed, "PASID-based"));
    end(&driver);
}

static void mask_beyond_mamv(void **state)
{
    struct driver driver;

    (void)state;
    legacy_begin(&driver, LAZY);
    invalidate_pages(&driver, 0, VTD_MAMV + 1);
    assert_true(queue_stopped(machine_of(&driver)));
    assert_int_equal(machine_of(&driver)->report_count, 1);
    assert_int_equal(machine_of(&driver)->report[0].kind, VIOMMU_SANITIZE_MASK);
    assert_int_equal(machine_of(&driver)->report[0].entry, VIOMMU_SANITIZE_ENTRY_NONE);
    assert_int_equal(machine_of(&driver)->report[0].domain, GUEST_DOMAIN);
    assert_int_equal(machine_of(&driver)->report[0].address_log2, 12 + VTD_MAMV + 1);
    end(&driver);
}

static const struct spec_rule rules[] = {
    {"VTD-6.5.3.3-7", "6.5.3.3",
     "Sanitizer: a page that moved without invalidation is reported at the wait.",
     MISTAKE(UNIT_LAZY, IOVA, .after = OTHER | SS_RW, .kind = VIOMMU_SANITIZE_MISSING,
             .address = IOVA)},
    {"VTD-6.5.3.3-8", "6.5.3.3",
     "Sanitizer: an address that is mapped again without invalidation is reported.",
     MISTAKE(UNIT_LAZY, IOVA, .unmapped_first = true, .after = OTHER | SS_RW,
             .kind = VIOMMU_SANITIZE_MISSING, .address = IOVA)},
    {"VTD-6.5.3.3-9", "6.5.3.3",
     "Sanitizer, strict: a page that was unmapped without invalidation is reported.",
     MISTAKE(UNIT_STRICT, IOVA, .kind = VIOMMU_SANITIZE_MISSING, .address = IOVA)},
    {"VTD-6.5.3.3-10", "6.5.3.3",
     "Sanitizer, strict: a permission that was taken without invalidation is reported.",
     MISTAKE(UNIT_STRICT, IOVA, .written = true, .after = GUEST_DATA | SS_R,
             .kind = VIOMMU_SANITIZE_MISSING, .address = IOVA)},
    {"VTD-6.5.2.3-20", "6.5.2.3", "Sanitizer: an invalidation of another domain is none.",
     MISTAKE(UNIT_LAZY, IOVA, .after = OTHER | SS_RW, .then = {of_another_domain},
             .kind = VIOMMU_SANITIZE_MISSING, .address = IOVA)},
    {"VTD-6.5.2.3-21", "6.5.2.3", "Sanitizer: a mask that leaves out a changed page is reported.",
     MISTAKE(UNIT_LAZY, FOUR_PAGES + 0x3000, .after = OTHER | SS_RW, .then = {of_two_pages},
             .kind = VIOMMU_SANITIZE_NARROW, .address = FOUR_PAGES + 0x3000)},
    {"VTD-6.5.2.3-22", "6.5.2.3",
     "Sanitizer: an address whose low bits the mask hides is reported when a changed page is left "
     "out by it.",
     MISTAKE(UNIT_LAZY, FOUR_PAGES + 0x2000, .after = OTHER | SS_RW, .then = {of_two_odd_pages},
             .kind = VIOMMU_SANITIZE_MASK, .address = FOUR_PAGES + 0x2000)},
    {"VTD-6.5.2.3-23", "6.5.2.3",
     "Sanitizer: the hint IH is reported when a table changed, with the entry that leads to it.",
     hint_although_table_changed},
    {"VTD-6.2.5-20", "6.2.5",
     "Sanitizer: a table that is written anew while caches may lead to it is reported.",
     table_reused_too_early},
    {"VTD-6.5.2.1-20", "6.5.2.1",
     "Sanitizer: a context entry that changed without context-cache invalidation is reported.",
     MISTAKE(UNIT_STRICT, IOVA, .what = CONTEXT, .then = {invalidate_domain},
             .kind = VIOMMU_SANITIZE_MISSING, .address = 0)},
    {"VTD-6.5.2.1-21", "6.5.2.1",
     "Sanitizer: a context-cache invalidation does not replace that of the IOTLB.",
     MISTAKE(UNIT_STRICT, IOVA, .what = CONTEXT, .then = {invalidate_context},
             .kind = VIOMMU_SANITIZE_MISSING, .address = IOVA)},
    /* The IOTLB first: it is filled again from the context cache. */
    {"VTD-6.5.2.1-22", "6.5.2.1",
     "Sanitizer: an IOTLB invalidation before that of the context cache is reported.",
     MISTAKE(UNIT_STRICT, IOVA, .what = CONTEXT, .then = {invalidate_domain, invalidate_context},
             .kind = VIOMMU_SANITIZE_ORDER, .address = IOVA)},
    /* All is invalidated, but the entry was never not present. */
    {"VTD-6.5.3.3-11", "6.5.3.3",
     "Sanitizer: a present context entry that is rewritten is reported, invalidated or not.",
     MISTAKE(UNIT_LAZY, IOVA, .what = CONTEXT, .after = 1, .other_table = true,
             .then = {invalidate_context, invalidate_domain}, .kind = VIOMMU_SANITIZE_ORDER)},
    {"VTD-6.5.3.3-12", "6.5.3.3",
     "Sanitizer: another domain-ID in a present PASID entry is reported, invalidated or not.",
     MISTAKE(UNIT_FIRST, IOVA, .what = PASID_DOMAIN, .after = PASID_PWSNP | (GUEST_DOMAIN + 1),
             .then = {invalidate_pasid_cache, invalidate_pasid}, .kind = VIOMMU_SANITIZE_ORDER)},
    {"VTD-6.5.2.2-20", "6.5.2.2",
     "Sanitizer: a PASID entry that changed without PASID-cache invalidation is reported.",
     MISTAKE(UNIT_FIRST, IOVA, .what = PASID_POINTER, .other_table = true,
             .then = {invalidate_pasid}, .kind = VIOMMU_SANITIZE_MISSING)},
    {"VTD-6.5.2.4-20", "6.5.2.4",
     "Sanitizer: a first-stage page is not invalidated by another PASID's, and is reported with "
     "its PASID.",
     first_stage_page_of_pasid},
    {"VTD-6.5.2.4-21", "6.5.2.4",
     "Sanitizer: a PASID-based invalidation for second-stage pages is reported.",
     MISTAKE(UNIT_SECOND, IOVA, .after = OTHER | SS_RW, .then = {invalidate_pasid},
             .kind = VIOMMU_SANITIZE_NARROW, .address = IOVA)},
    {"VTD-6.5.2.3-24", "6.5.2.3", "Sanitizer: a mask beyond CAP.MAMV is reported.",
     mask_beyond_mamv},
    {"VTD-6.5.4-20", "6.5.4",
     "Sanitizer: a wait after an invalidation that did not drain is reported.",
     MISTAKE(UNIT_LAZY, IOVA, .then = {without_drain}, .kind = VIOMMU_SANITIZE_DRAIN,
             .address = IOVA)},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
