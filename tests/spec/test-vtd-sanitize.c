/* SPDX-License-Identifier: MIT */
/*
 * The guest sanitizer, shown on a small IOMMU driver: as it should be, it is never reported; with
 * each mistake planted, exactly that mistake is, once, with the entry before and after. The
 * sections are those of the rules that a driver breaks (VT-d 5.0, 6.5).
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "descriptors.h"

#define IOVA    GUEST_IOVA
#define OTHER   (GUEST_DATA + 0x1000)
#define DRAINED (UINT64_C(3) << 6) /* DW and DR of an IOTLB invalidation */

/* What the driver has of one domain. */
struct driver {
    struct guest guest;
    uint64_t root;
    uint64_t context; /* entry of device 0 */
    uint64_t pasid;   /* entry of PASID 0 */
};

#define LEGACY "sanitize=on,sanitize-patience=0"
#define STRICT "sanitize=on,sanitize-strict=on,sanitize-patience=0"

static struct machine *machine_of(struct driver *driver)
{
    return &driver->guest.machine;
}

static void legacy_begin(struct driver *driver, const char *properties)
{
    struct guest *guest = &driver->guest;

    guest_create(guest, properties);
    driver->root = guest_page(guest);
    driver->context = guest_legacy(guest, 0, 0, 2, driver->root);
    guest_on(guest, TTM_LEGACY);
    machine_queue_start(&guest->machine, QUEUE, false);
}

static void first_begin(struct driver *driver)
{
    struct guest *guest = &driver->guest;

    guest_create(guest, LEGACY ",pasid-bits=6");
    driver->root = guest_page(guest);
    driver->context = guest_scalable(guest, 0, 1 << 3);
    driver->pasid = guest_pasid(guest, 0, PASID_PGTT(1), PASID_PWSNP | GUEST_DOMAIN, driver->root);
    guest_on(guest, TTM_SCALABLE);
    machine_queue_start(&guest->machine, QUEUE, true);
}

static void end(struct driver *driver)
{
    guest_destroy(&driver->guest);
}

/* The driver's verbs. A mapping is one page, of the second stage in legacy mode. */
static uint64_t map(struct driver *driver, uint64_t iova, uint64_t page)
{
    return guest_map(&driver->guest, driver->root, 4, iova, 1, page | SS_RW, SS_RW);
}

static uint64_t map_first(struct driver *driver, uint64_t iova, uint64_t page)
{
    return guest_map(&driver->guest, driver->root, 4, iova, 1, page | FS_ALL, FS_ALL);
}

static void set(struct driver *driver, uint64_t entry, uint64_t value)
{
    store64(machine_of(driver), entry, value);
}

static void invalidate_pages(struct driver *driver, uint64_t iova, unsigned int mask)
{
    machine_submit(machine_of(driver), 0x2 | G(3) | DRAINED | DOMAIN(GUEST_DOMAIN), iova | mask);
}

static void invalidate_domain(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x2 | G(2) | DRAINED | DOMAIN(GUEST_DOMAIN), 0);
}

static void invalidate_context(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x1 | G(3) | DOMAIN(GUEST_DOMAIN), 0);
}

static void invalidate_pasid_cache(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x7 | G(1) | DOMAIN(GUEST_DOMAIN), 0);
}

static void invalidate_pasid(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x6 | G(2) | DOMAIN(GUEST_DOMAIN), 0);
}

static void wait_done(struct driver *driver)
{
    wait_for(machine_of(driver), 1);
    assert_false(queue_stopped(machine_of(driver)));
}

static void silent(struct driver *driver)
{
    struct viommu_stats stats = {.size = sizeof(stats)};

    if (machine_of(driver)->report_count)
        fail_msg("reported: %s", machine_of(driver)->log);
    viommu_get_stats(machine_of(driver)->viommu, &stats);
    assert_int_equal(stats.sanitizer_reports, 0);
}

/* What a report must say. */
struct expected {
    enum viommu_sanitize_kind kind;
    enum viommu_sanitize_entry entry;
    uint8_t level;
    uint64_t address, entry_address, before, after;
};

static void reported(struct driver *driver, const struct expected *expected)
{
    const struct viommu_sanitize_report *report = &machine_of(driver)->report[0];
    struct viommu_stats stats = {.size = sizeof(stats)};

    assert_int_equal(machine_of(driver)->report_count, 1);
    assert_int_equal(report->size, sizeof(*report));
    assert_string_equal(viommu_sanitize_kind_name(report->kind),
                        viommu_sanitize_kind_name(expected->kind));
    assert_string_equal(viommu_sanitize_entry_name(report->entry),
                        viommu_sanitize_entry_name(expected->entry));
    assert_int_equal(report->level, expected->level);
    assert_int_equal(report->address, expected->address);
    assert_int_equal(report->entry_address, expected->entry_address);
    assert_int_equal(report->before, expected->before);
    assert_int_equal(report->after, expected->after);
    assert_int_equal(report->domain, GUEST_DOMAIN);
    assert_int_equal(report->requester_id, 0);
    assert_non_null(report->needed);
    viommu_get_stats(machine_of(driver)->viommu, &stats);
    assert_int_equal(stats.sanitizer_reports, 1);
    /* It is said once, and nothing of it comes up again. */
    wait_done(driver);
    invalidate_domain(driver);
    wait_done(driver);
    assert_int_equal(machine_of(driver)->report_count, 1);
}

/* A page of the second stage moved from GUEST_DATA to OTHER. */
static struct expected moved(enum viommu_sanitize_kind kind, uint64_t iova, uint64_t entry)
{
    return (struct expected){
        kind,         VIOMMU_SANITIZE_ENTRY_SECOND_STAGE, 1, iova, entry, GUEST_DATA | SS_RW,
        OTHER | SS_RW};
}

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
    legacy_begin(&driver, LEGACY);
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
    first_begin(&driver);
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
    first_begin(&driver);
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

/* Devices that do not stop while the driver works: walks are under way when tables change. */
struct traffic {
    struct driver *driver;
    unsigned int device;
    bool stop; /* atomic */
};

static void *do_traffic(void *opaque)
{
    struct traffic *traffic = opaque;
    struct guest_dma dma = DMA_AT(IOVA);
    struct viommu_dma_result result;

    dma.device = traffic->device;
    for (unsigned int i = 0; !__atomic_load_n(&traffic->stop, __ATOMIC_RELAXED); i++) {
        dma.address = IOVA + i % 4 * 0x1000;
        guest_dma(&traffic->driver->guest, &dma, &result);
    }
    return NULL;
}

static void driver_under_traffic(void **state)
{
    struct driver driver;
    struct traffic traffic[2];
    pthread_t threads[2];

    (void)state;
    legacy_begin(&driver, STRICT);
    guest_legacy(&driver.guest, 1, 0, 2, driver.root);
    /* the tables themselves are there before anybody walks them */
    for (unsigned int i = 0; i < 4; i++)
        set(&driver, map(&driver, IOVA + i * 0x1000, GUEST_DATA), 0);
    for (unsigned int i = 0; i < 2; i++) {
        traffic[i] = (struct traffic){&driver, i, false};
        assert_int_equal(pthread_create(&threads[i], NULL, do_traffic, &traffic[i]), 0);
    }
    for (unsigned int i = 0; i < 2000; i++) {
        uint64_t iova = IOVA + i % 4 * 0x1000;
        uint64_t entry = map(&driver, iova, i & 4 ? GUEST_DATA : OTHER);

        sched_yield();
        set(&driver, entry, 0);
        invalidate_pages(&driver, iova, 0);
        wait_done(&driver);
    }
    for (unsigned int i = 0; i < 2; i++) {
        __atomic_store_n(&traffic[i].stop, true, __ATOMIC_RELAXED);
        pthread_join(threads[i], NULL);
    }
    silent(&driver);
    end(&driver);
}

/* ---- planted mistakes ---- */

static void forgets_to_invalidate(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, LEGACY);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, OTHER | SS_RW);
    silent(&driver);
    wait_done(&driver);
    expected = moved(VIOMMU_SANITIZE_MISSING, IOVA, entry);
    reported(&driver, &expected);
    end(&driver);
}

static void maps_again_without_invalidation(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, LEGACY);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, 0);
    wait_done(&driver);
    silent(&driver);
    set(&driver, entry, OTHER | SS_RW);
    wait_done(&driver);
    expected = moved(VIOMMU_SANITIZE_MISSING, IOVA, entry);
    reported(&driver, &expected);
    end(&driver);
}

static void unmaps_without_invalidation(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, STRICT);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, 0);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_MISSING,
                                 VIOMMU_SANITIZE_ENTRY_SECOND_STAGE,
                                 1,
                                 IOVA,
                                 entry,
                                 GUEST_DATA | SS_RW,
                                 0};
    reported(&driver, &expected);
    end(&driver);
}

static void takes_permission_without_invalidation(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, STRICT);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_writes(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, GUEST_DATA | SS_R);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_MISSING,
                                 VIOMMU_SANITIZE_ENTRY_SECOND_STAGE,
                                 1,
                                 IOVA,
                                 entry,
                                 GUEST_DATA | SS_RW,
                                 GUEST_DATA | SS_R};
    reported(&driver, &expected);
    end(&driver);
}

static void invalidates_another_domain(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, LEGACY);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, OTHER | SS_RW);
    machine_submit(machine_of(&driver), 0x2 | G(2) | DRAINED | DOMAIN(GUEST_DOMAIN + 1), 0);
    wait_done(&driver);
    expected = moved(VIOMMU_SANITIZE_MISSING, IOVA, entry);
    reported(&driver, &expected);
    end(&driver);
}

/* Four pages changed, two are invalidated. */
static void mask_too_small(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t base = IOVA & ~UINT64_C(0x3fff), entry;

    (void)state;
    legacy_begin(&driver, LEGACY);
    entry = map(&driver, base + 0x3000, GUEST_DATA);
    guest_reads(&driver.guest, base + 0x3000, GUEST_DATA);
    set(&driver, entry, OTHER | SS_RW);
    invalidate_pages(&driver, base, 1);
    wait_done(&driver);
    expected = moved(VIOMMU_SANITIZE_NARROW, base + 0x3000, entry);
    reported(&driver, &expected);
    end(&driver);
}

/* Two pages from an odd one on, with a mask of two: the lower two are invalidated. */
static void address_not_aligned_to_mask(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t base = IOVA & ~UINT64_C(0x3fff), entry;

    (void)state;
    legacy_begin(&driver, LEGACY);
    entry = map(&driver, base + 0x2000, GUEST_DATA);
    guest_reads(&driver.guest, base + 0x2000, GUEST_DATA);
    set(&driver, entry, OTHER | SS_RW);
    invalidate_pages(&driver, base + 0x1000, 1);
    wait_done(&driver);
    expected = moved(VIOMMU_SANITIZE_MASK, base + 0x2000, entry);
    reported(&driver, &expected);
    end(&driver);
}

static void hint_although_table_changed(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry, table, other;

    (void)state;
    legacy_begin(&driver, LEGACY);
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
    legacy_begin(&driver, LEGACY);
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

static void context_without_context_cache(void **state)
{
    struct driver driver;
    struct expected expected;

    (void)state;
    legacy_begin(&driver, STRICT);
    map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, driver.context, 0);
    invalidate_domain(&driver);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_MISSING,
                                 VIOMMU_SANITIZE_ENTRY_CONTEXT,
                                 0,
                                 0,
                                 driver.context,
                                 driver.root | 1,
                                 0};
    reported(&driver, &expected);
    end(&driver);
}

static void context_without_iotlb(void **state)
{
    struct driver driver;
    struct expected expected;

    (void)state;
    legacy_begin(&driver, STRICT);
    map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, driver.context, 0);
    invalidate_context(&driver);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_MISSING,
                                 VIOMMU_SANITIZE_ENTRY_CONTEXT,
                                 0,
                                 IOVA,
                                 driver.context,
                                 driver.root | 1,
                                 0};
    reported(&driver, &expected);
    end(&driver);
}

/* The IOTLB first: it is filled again from the context cache. */
static void iotlb_before_context(void **state)
{
    struct driver driver;
    struct expected expected;

    (void)state;
    legacy_begin(&driver, STRICT);
    map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, driver.context, 0);
    invalidate_domain(&driver);
    invalidate_context(&driver);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_ORDER,
                                 VIOMMU_SANITIZE_ENTRY_CONTEXT,
                                 0,
                                 IOVA,
                                 driver.context,
                                 driver.root | 1,
                                 0};
    reported(&driver, &expected);
    end(&driver);
}

/* All is invalidated, but the entry was never not present. */
static void present_context_rewritten(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t other;

    (void)state;
    legacy_begin(&driver, LEGACY);
    map(&driver, IOVA, GUEST_DATA);
    other = guest_page(&driver.guest);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, driver.context, other | 1);
    invalidate_context(&driver);
    invalidate_domain(&driver);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_ORDER,
                                 VIOMMU_SANITIZE_ENTRY_CONTEXT,
                                 0,
                                 0,
                                 driver.context,
                                 driver.root | 1,
                                 other | 1};
    reported(&driver, &expected);
    end(&driver);
}

static void domain_of_live_pasid_changed(void **state)
{
    struct driver driver;
    struct expected expected;

    (void)state;
    first_begin(&driver);
    map_first(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, driver.pasid + 8, PASID_PWSNP | (GUEST_DOMAIN + 1));
    invalidate_pasid_cache(&driver);
    invalidate_pasid(&driver);
    wait_done(&driver);
    expected = (struct expected){
        VIOMMU_SANITIZE_ORDER,      VIOMMU_SANITIZE_ENTRY_PASID,     0, 0, driver.pasid + 8,
        PASID_PWSNP | GUEST_DOMAIN, PASID_PWSNP | (GUEST_DOMAIN + 1)};
    reported(&driver, &expected);
    assert_int_equal(machine_of(&driver)->report[0].pasid, 0);
    end(&driver);
}

static void pasid_without_pasid_cache(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t other;

    (void)state;
    first_begin(&driver);
    map_first(&driver, IOVA, GUEST_DATA);
    other = guest_page(&driver.guest);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, driver.pasid + 16, other);
    invalidate_pasid(&driver);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_MISSING,
                                 VIOMMU_SANITIZE_ENTRY_PASID,
                                 0,
                                 0,
                                 driver.pasid + 16,
                                 driver.root,
                                 other};
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
    first_begin(&driver);
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

static void pasid_based_for_second_stage(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry;

    (void)state;
    guest_create(&driver.guest, LEGACY ",second-stage=on");
    driver.root = guest_page(&driver.guest);
    guest_scalable(&driver.guest, 0, 0);
    guest_pasid(&driver.guest, 0, PASID_PGTT(2) | PASID_AW(2) | driver.root, GUEST_DOMAIN, 0);
    guest_on(&driver.guest, TTM_SCALABLE);
    machine_queue_start(machine_of(&driver), QUEUE, true);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, OTHER | SS_RW);
    invalidate_pasid(&driver);
    wait_done(&driver);
    expected = moved(VIOMMU_SANITIZE_NARROW, IOVA, entry);
    reported(&driver, &expected);
    end(&driver);
}

static void mask_beyond_mamv(void **state)
{
    struct driver driver;

    (void)state;
    legacy_begin(&driver, LEGACY);
    invalidate_pages(&driver, 0, VTD_MAMV + 1);
    assert_true(queue_stopped(machine_of(&driver)));
    assert_int_equal(machine_of(&driver)->report_count, 1);
    assert_int_equal(machine_of(&driver)->report[0].kind, VIOMMU_SANITIZE_MASK);
    assert_int_equal(machine_of(&driver)->report[0].entry, VIOMMU_SANITIZE_ENTRY_NONE);
    assert_int_equal(machine_of(&driver)->report[0].domain, GUEST_DOMAIN);
    assert_int_equal(machine_of(&driver)->report[0].address_log2, 12 + VTD_MAMV + 1);
    end(&driver);
}

static void wait_without_drain(void **state)
{
    struct driver driver;
    struct expected expected;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, LEGACY);
    entry = map(&driver, IOVA, GUEST_DATA);
    guest_reads(&driver.guest, IOVA, GUEST_DATA);
    set(&driver, entry, 0);
    machine_submit(machine_of(&driver), 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), IOVA);
    silent(&driver);
    wait_done(&driver);
    expected = (struct expected){VIOMMU_SANITIZE_DRAIN,
                                 VIOMMU_SANITIZE_ENTRY_SECOND_STAGE,
                                 1,
                                 IOVA,
                                 entry,
                                 GUEST_DATA | SS_RW,
                                 0};
    reported(&driver, &expected);
    end(&driver);
}

/* One drain before the wait is enough; so is one that nothing needs. */
static void drain_before_the_wait(void **state)
{
    struct driver driver;
    uint64_t entry;

    (void)state;
    legacy_begin(&driver, LEGACY);
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
    legacy_begin(&driver, LEGACY ",drain=off");
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
    legacy_begin(&driver, LEGACY);
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
    legacy_begin(&driver, LEGACY);
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
    legacy_begin(&driver, LEGACY);
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
    legacy_begin(&driver, LEGACY);
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
    {"VTD-6.5.3.3-7", "6.5.3.3",
     "Sanitizer: a page that moved without invalidation is reported at the wait.",
     forgets_to_invalidate},
    {"VTD-6.5.3.3-8", "6.5.3.3",
     "Sanitizer: an address that is mapped again without invalidation is reported.",
     maps_again_without_invalidation},
    {"VTD-6.5.3.3-9", "6.5.3.3",
     "Sanitizer, strict: a page that was unmapped without invalidation is reported.",
     unmaps_without_invalidation},
    {"VTD-6.5.3.3-10", "6.5.3.3",
     "Sanitizer, strict: a permission that was taken without invalidation is reported.",
     takes_permission_without_invalidation},
    {"VTD-6.5.2.3-20", "6.5.2.3", "Sanitizer: an invalidation of another domain is none.",
     invalidates_another_domain},
    {"VTD-6.5.2.3-21", "6.5.2.3", "Sanitizer: a mask that leaves out a changed page is reported.",
     mask_too_small},
    {"VTD-6.5.2.3-22", "6.5.2.3",
     "Sanitizer: an address whose low bits the mask hides is reported when a changed page is left "
     "out by it.",
     address_not_aligned_to_mask},
    {"VTD-6.5.2.3-23", "6.5.2.3",
     "Sanitizer: the hint IH is reported when a table changed, with the entry that leads to it.",
     hint_although_table_changed},
    {"VTD-6.2.5-20", "6.2.5",
     "Sanitizer: a table that is written anew while caches may lead to it is reported.",
     table_reused_too_early},
    {"VTD-6.5.2.1-20", "6.5.2.1",
     "Sanitizer: a context entry that changed without context-cache invalidation is reported.",
     context_without_context_cache},
    {"VTD-6.5.2.1-21", "6.5.2.1",
     "Sanitizer: a context-cache invalidation does not replace that of the IOTLB.",
     context_without_iotlb},
    {"VTD-6.5.2.1-22", "6.5.2.1",
     "Sanitizer: an IOTLB invalidation before that of the context cache is reported.",
     iotlb_before_context},
    {"VTD-6.5.3.3-11", "6.5.3.3",
     "Sanitizer: a present context entry that is rewritten is reported, invalidated or not.",
     present_context_rewritten},
    {"VTD-6.5.3.3-12", "6.5.3.3",
     "Sanitizer: another domain-ID in a present PASID entry is reported, invalidated or not.",
     domain_of_live_pasid_changed},
    {"VTD-6.5.2.2-20", "6.5.2.2",
     "Sanitizer: a PASID entry that changed without PASID-cache invalidation is reported.",
     pasid_without_pasid_cache},
    {"VTD-6.5.2.4-20", "6.5.2.4",
     "Sanitizer: a first-stage page is not invalidated by another PASID's, and is reported with "
     "its PASID.",
     first_stage_page_of_pasid},
    {"VTD-6.5.2.4-21", "6.5.2.4",
     "Sanitizer: a PASID-based invalidation for second-stage pages is reported.",
     pasid_based_for_second_stage},
    {"VTD-6.5.2.3-24", "6.5.2.3", "Sanitizer: a mask beyond CAP.MAMV is reported.",
     mask_beyond_mamv},
    {"VTD-6.5.4-20", "6.5.4",
     "Sanitizer: a wait after an invalidation that did not drain is reported.", wait_without_drain},
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
