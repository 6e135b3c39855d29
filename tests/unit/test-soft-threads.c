/* SPDX-License-Identifier: MIT */
/*
 * DMA from several threads while the host takes translations away. When a call has returned, no DMA
 * uses what it took: the memory is then written without a lock, and ThreadSanitizer is the judge.
 */
#include "soft-rig.h"

#include "host/host.h"
#include <pthread.h>
#include <sched.h>

#define RWMAP   (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)
#define NONE    VIOMMU_PASID_NONE
#define THREADS 3
#define ROUNDS  40

struct worker {
    pthread_t thread;
    struct rig *rig;
    uint64_t iova;
    uint8_t access;
    const int *stop;
    uint64_t served;
};

/* A page at a time, so that a DMA is mostly under way. */
static void *read_for_ever(void *opaque)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct worker *worker = opaque;
    char page[4096];

    request.address = worker->iova;
    request.length = sizeof(page);
    while (!__atomic_load_n(worker->stop, __ATOMIC_RELAXED)) {
        struct viommu_dma_result result;

        if (!viommu_soft_device_read(worker->rig->device, &request, page, &result))
            __atomic_fetch_add(&worker->served, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void start(struct worker *workers, struct rig *rig, uint64_t iova, const int *stop)
{
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.rig = rig, .iova = iova, .stop = stop};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, read_for_ever, &workers[i]), 0);
    }
}

static uint64_t stop_all(struct worker *workers, int *stop)
{
    uint64_t served = 0;

    __atomic_store_n(stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        served += workers[i].served;
    }
    return served;
}

/* Until a thread was served once more, so that a DMA is likely to be under way. */
static void wait_for_dma(struct worker *workers)
{
    uint64_t before = __atomic_load_n(&workers[0].served, __ATOMIC_RELAXED);

    while (__atomic_load_n(&workers[0].served, __ATOMIC_RELAXED) == before)
        sched_yield();
}

static void begin(struct rig *rig)
{
    rig_create(rig, "granite-rapids", VIOMMU_SOFT_CACHE_HOARD);
    rig_map(rig, RWMAP);
    rig_parent(rig, VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID);
    rig_table(rig);
    assert_int_equal(rig_nest(rig, 0, PML4, 48), 0);
}

static void test_unmap(void **state)
{
    struct worker workers[THREADS];
    struct rig rig;
    int stop = 0;

    (void)state;
    begin(&rig);
    start(workers, &rig, IOVA - 0x567, &stop);
    for (int i = 0; i < ROUNDS; i++) {
        wait_for_dma(workers);
        assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, DATA, PAGE, NULL, NULL), 0);
        memset(rig_at(&rig, DATA), i, PAGE); /* a race, if a DMA still reads it */
        assert_int_equal(
            viommu_host_ioas_map(rig.host, rig.ioas, DATA, rig_at(&rig, DATA), PAGE, RWMAP, NULL),
            0);
    }
    assert_true(stop_all(workers, &stop) > 0);
    rig_destroy(&rig);
}

static void test_detach(void **state)
{
    struct worker workers[THREADS];
    struct rig rig;
    int stop = 0;

    (void)state;
    begin(&rig);
    start(workers, &rig, IOVA - 0x567, &stop);
    for (int i = 0; i < ROUNDS; i++) {
        wait_for_dma(workers);
        assert_int_equal(viommu_host_detach(rig.host, rig.device_id, NONE, NULL), 0);
        memset(rig_at(&rig, DATA), i, PAGE);
        assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, rig.nested, &rig.error),
                         0);
    }
    assert_true(stop_all(workers, &stop) > 0);
    rig_destroy(&rig);
}

static void test_unbind(void **state)
{
    struct worker workers[THREADS];
    struct rig rig;
    int stop = 0;

    (void)state;
    begin(&rig);
    start(workers, &rig, IOVA - 0x567, &stop);
    for (int i = 0; i < ROUNDS; i++) {
        wait_for_dma(workers);
        viommu_host_unbind(rig.host, rig.device_id);
        memset(rig_at(&rig, DATA), i, PAGE);
        assert_int_equal(viommu_host_bind(rig.host, "0000:3a:00.0", &rig.device_id, NULL), 0);
        assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, rig.nested, &rig.error),
                         0);
    }
    assert_true(stop_all(workers, &stop) > 0);
    rig_destroy(&rig);
}

/* The guest's table moves its page to and fro, as a driver does: entry, invalidation, reuse. */
static void test_invalidate(void **state)
{
    const uint64_t pages[2] = {DATA, 0x66000};
    struct worker workers[THREADS];
    struct rig rig;
    int stop = 0;

    (void)state;
    begin(&rig);
    start(workers, &rig, IOVA - 0x567, &stop);
    for (int i = 0; i < ROUNDS; i++) {
        wait_for_dma(workers);
        __atomic_store_n((uint64_t *)rig_at(&rig, PT + 32), pages[!(i & 1)] | ALL,
                         __ATOMIC_RELEASE);
        assert_int_equal(rig_invalidate(&rig, IOVA - 0x567, 1, VIOMMU_HOST_VTD_INV_LEAF), 0);
        memset(rig_at(&rig, pages[i & 1]), i, PAGE);
    }
    assert_true(stop_all(workers, &stop) > 0);
    rig_destroy(&rig);
}

static void *touch_all_pages(void *opaque)
{
    struct worker *worker = opaque;
    struct viommu_dma_result result;

    for (int i = 0; i < 512; i++) {
        if (rig_access(worker->rig, worker->iova + i * PAGE, NONE, worker->access, &result) ==
            VIOMMU_DMA_OK)
            worker->served++;
    }
    return NULL;
}

/* One thread sets dirty bits while others set accessed bits of the same entries: none is lost. */
static void test_dirty_bits(void **state)
{
    const uint64_t base = UINT64_C(0x8080600000);
    struct worker workers[THREADS];
    struct rig rig;

    (void)state;
    begin(&rig);
    for (int round = 0; round < 10; round++) {
        for (unsigned int i = 0; i < 512; i++)
            rig_entry(&rig, PT, i, (0x100000 + i * PAGE) | ALL);
        assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
        for (int i = 0; i < THREADS; i++) {
            workers[i] = (struct worker){.rig = &rig, .iova = base + i * 8};
            workers[i].access = i ? VIOMMU_DMA_READ : VIOMMU_DMA_WRITE;
            assert_int_equal(pthread_create(&workers[i].thread, NULL, touch_all_pages, &workers[i]),
                             0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(workers[i].thread, NULL);
            assert_int_equal(workers[i].served, 512);
        }
        for (unsigned int i = 0; i < 512; i++)
            assert_int_equal(rig_entry_read(&rig, PT, i), (0x100000 + i * PAGE) | ALL | ACC | DRT);
    }
    rig_destroy(&rig);
}

struct listener {
    int calls;
    int running;
};

static void slow_handler(void *opaque, const struct viommu_host_fault *fault)
{
    struct listener *listener = opaque;

    (void)fault;
    __atomic_fetch_add(&listener->running, 1, __ATOMIC_SEQ_CST);
    sched_yield();
    __atomic_fetch_add(&listener->calls, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_sub(&listener->running, 1, __ATOMIC_SEQ_CST);
}

/* When the handler was taken away, nobody is in it any more: what it uses may be freed. */
static void test_fault_handler(void **state)
{
    struct viommu_host_device *device;
    struct worker workers[THREADS];
    struct rig rig;
    int stop = 0;

    (void)state;
    begin(&rig);
    assert_int_equal(
        host_device_create(&device, rig.host, rig.device_id, rig.ioas, rig.parent, true, NULL), 0);
    start(workers, &rig, IOVA + PAGE, &stop);
    for (int i = 0; i < ROUNDS; i++) {
        struct listener *listener = calloc(1, sizeof(*listener));

        assert_non_null(listener);
        assert_int_equal(viommu_host_device_set_fault_handler(device, slow_handler, listener, NULL),
                         0);
        while (!__atomic_load_n(&listener->calls, __ATOMIC_SEQ_CST))
            sched_yield();
        /* Detach waits too, for those that began before it. */
        assert_int_equal(viommu_host_detach(rig.host, rig.device_id, NONE, NULL), 0);
        assert_int_equal(viommu_host_device_set_fault_handler(device, NULL, NULL, NULL), 0);
        assert_int_equal(__atomic_load_n(&listener->running, __ATOMIC_SEQ_CST), 0);
        free(listener);
        assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, rig.nested, NULL), 0);
    }
    assert_int_equal(stop_all(workers, &stop), 0); /* all were refused */
    host_device_destroy(device);
    rig_destroy(&rig);
}

static void *one_long_read(void *opaque)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct worker *worker = opaque;
    size_t length = 256 * PAGE;
    char *buffer = malloc(length);
    struct viommu_dma_result result;

    request.address = worker->iova;
    request.length = length;
    viommu_soft_device_read(worker->rig->device, &request, buffer, &result);
    free(buffer);
    return NULL;
}

/* Pulling a device waits for a DMA that it has begun. */
static void test_remove(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct worker worker;
        struct rig rig;

        rig_create(&rig, "granite-rapids", VIOMMU_SOFT_CACHE_HOARD);
        rig_map(&rig, RWMAP);
        rig_parent(&rig, 0);
        worker = (struct worker){.rig = &rig, .iova = 0x100000};
        assert_int_equal(pthread_create(&worker.thread, NULL, one_long_read, &worker), 0);
        while (!rig_census(&rig).cache_entries && !rig_census(&rig).dma_requests)
            sched_yield();
        viommu_soft_device_remove(rig.device);
        memset(rig.memory, i, RIG_PAGES * PAGE);
        pthread_join(worker.thread, NULL);
        assert_int_equal(viommu_soft_device_add(rig.host, "new", 0, &rig.device, NULL), 0);
        rig_destroy(&rig);
    }
}

/* Each thread inserts and makes room at the same time as the others. */
static void test_cache_limit(void **state)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct worker workers[THREADS];
    struct rig rig;
    int stop = 0;

    (void)state;
    options.cache_limit = 2;
    rig_create_with(&rig, &options);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, 0);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.rig = &rig, .iova = DATA + i * PAGE, .stop = &stop};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, read_for_ever, &workers[i]), 0);
    }
    for (int i = 0; i < ROUNDS || rig_census(&rig).cache_clears < 2; i++) {
        wait_for_dma(workers);
        assert_in_range(rig_census(&rig).cache_entries, 0, 2 + THREADS);
    }
    stop_all(workers, &stop);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unmap),      cmocka_unit_test(test_detach),
        cmocka_unit_test(test_unbind),     cmocka_unit_test(test_invalidate),
        cmocka_unit_test(test_dirty_bits), cmocka_unit_test(test_fault_handler),
        cmocka_unit_test(test_remove),     cmocka_unit_test(test_cache_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
