/* SPDX-License-Identifier: MIT */
#include "sanitized.h"

#include <pthread.h>
#include <sched.h>

struct machine *machine_of(struct driver *driver)
{
    return &driver->guest.machine;
}

void legacy_begin(struct driver *driver, const char *properties)
{
    struct guest *guest = &driver->guest;

    guest_create(guest, properties);
    driver->root = guest_page(guest);
    driver->context = guest_legacy(guest, 0, 0, 2, driver->root);
    guest_on(guest, TTM_LEGACY);
    machine_queue_start(&guest->machine, QUEUE, false);
}

void first_begin(struct driver *driver, const char *properties)
{
    struct guest *guest = &driver->guest;

    guest_create(guest, properties);
    driver->root = guest_page(guest);
    driver->context = guest_scalable(guest, 0, 1 << 3);
    driver->pasid = guest_pasid(guest, 0, PASID_PGTT(1), PASID_PWSNP | GUEST_DOMAIN, driver->root);
    guest_on(guest, TTM_SCALABLE);
    machine_queue_start(&guest->machine, QUEUE, true);
}

void second_begin(struct driver *driver, const char *properties)
{
    struct guest *guest = &driver->guest;

    guest_create(guest, properties);
    driver->root = guest_page(guest);
    driver->context = guest_scalable(guest, 0, 0);
    driver->pasid =
        guest_pasid(guest, 0, PASID_PGTT(2) | PASID_AW(2) | driver->root, GUEST_DOMAIN, 0);
    guest_on(guest, TTM_SCALABLE);
    machine_queue_start(&guest->machine, QUEUE, true);
}

void end(struct driver *driver)
{
    guest_destroy(&driver->guest);
}

uint64_t map(struct driver *driver, uint64_t iova, uint64_t page)
{
    return guest_map(&driver->guest, driver->root, 4, iova, 1, page | SS_RW, SS_RW);
}

uint64_t map_first(struct driver *driver, uint64_t iova, uint64_t page)
{
    return guest_map(&driver->guest, driver->root, 4, iova, 1, page | FS_ALL, FS_ALL);
}

void set(struct driver *driver, uint64_t entry, uint64_t value)
{
    store64(machine_of(driver), entry, value);
}

void invalidate_pages(struct driver *driver, uint64_t iova, unsigned int mask)
{
    machine_submit(machine_of(driver), 0x2 | G(3) | DRAINED | DOMAIN(GUEST_DOMAIN), iova | mask);
}

void invalidate_domain(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x2 | G(2) | DRAINED | DOMAIN(GUEST_DOMAIN), 0);
}

void invalidate_context(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x1 | G(3) | DOMAIN(GUEST_DOMAIN), 0);
}

void invalidate_pasid_cache(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x7 | G(1) | DOMAIN(GUEST_DOMAIN), 0);
}

void invalidate_pasid(struct driver *driver)
{
    machine_submit(machine_of(driver), 0x6 | G(2) | DOMAIN(GUEST_DOMAIN), 0);
}

void wait_done(struct driver *driver)
{
    wait_for(machine_of(driver), 1);
    assert_false(queue_stopped(machine_of(driver)));
}

struct requests {
    struct driver *driver;
    unsigned int device;
    uint8_t type;
    bool stop; /* atomic */
};

static void *make_requests(void *opaque)
{
    struct requests *requests = opaque;
    struct guest_dma dma = DMA_AT(IOVA);
    struct viommu_dma_result result;

    dma.device = requests->device;
    dma.type = requests->type;
    for (unsigned int i = 0; !__atomic_load_n(&requests->stop, __ATOMIC_RELAXED); i++) {
        dma.address = IOVA + i % 4 * 0x1000;
        guest_dma(&requests->driver->guest, &dma, &result);
    }
    return NULL;
}

static void map_and_unmap(struct driver *driver,
                          void (*invalidate)(struct driver *driver, uint64_t iova))
{
    for (unsigned int i = 0; i < 2000; i++) {
        uint64_t iova = IOVA + i % 4 * 0x1000;
        uint64_t entry = map(driver, iova, i & 4 ? GUEST_DATA : OTHER);

        sched_yield();
        set(driver, entry, 0);
        invalidate(driver, iova);
        wait_done(driver);
    }
}

void work_under_traffic(struct driver *driver, uint8_t type,
                        void (*invalidate)(struct driver *driver, uint64_t iova))
{
    struct requests requests[2];
    pthread_t threads[2];

    /* the tables themselves are there before anybody walks them */
    for (unsigned int i = 0; i < 4; i++)
        set(driver, map(driver, IOVA + i * 0x1000, GUEST_DATA), 0);
    for (unsigned int i = 0; i < 2; i++) {
        requests[i] = (struct requests){driver, i, type, false};
        assert_int_equal(pthread_create(&threads[i], NULL, make_requests, &requests[i]), 0);
    }
    map_and_unmap(driver, invalidate);
    for (unsigned int i = 0; i < 2; i++) {
        __atomic_store_n(&requests[i].stop, true, __ATOMIC_RELAXED);
        pthread_join(threads[i], NULL);
    }
}

void silent(struct driver *driver)
{
    struct viommu_stats stats = {.size = sizeof(stats)};

    if (machine_of(driver)->report_count)
        fail_msg("reported: %s", machine_of(driver)->log);
    viommu_get_stats(machine_of(driver)->viommu, &stats);
    assert_int_equal(stats.sanitizer_reports, 0);
}

void reported(struct driver *driver, const struct expected *expected)
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
