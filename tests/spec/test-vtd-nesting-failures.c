/* SPDX-License-Identifier: MIT */
/*
 * Whatever the host refuses, and whatever happens at the same time: no translation that the guest
 * took away stays in use.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "assigned.h"

/* Failures: every host call of a path in turn */

/* A path of the guest or the VMM, from a state that it starts in. */
struct path {
    const char *name;
    void (*start)(struct assigned *assigned);
    void (*run)(struct assigned *assigned);
    /* what a device without failure sees afterwards; NULL: it is detached */
    void (*works)(struct assigned *assigned);
    /* the guest's way to repair it, after a failure */
    void (*again)(struct assigned *assigned);
};

static void from_off(struct assigned *assigned)
{
    assigned_create(assigned, NULL, "pasid-bits=8");
    assigned_attach(assigned, 0);
    assigned_bind(assigned, 0, 0, assigned_first_stage(assigned, GUEST_IOVA, PAGE_A), GUEST_DOMAIN);
}

static void from_nested(struct assigned *assigned)
{
    assigned_start_nested(assigned, "second-stage=on,nested=on,pasid-bits=8");
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
}

static void from_shadowed(struct assigned *assigned)
{
    assigned_start_shadowed(assigned, "");
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
}

/* GUEST_IOVA in the middle of an area. */
static void from_area(struct assigned *assigned)
{
    uint64_t root = assigned_start_shadowed(assigned, "");

    for (uint64_t i = 1; i < 4; i++) {
        guest_map(&assigned->guest, root, 4, GUEST_IOVA - i * 0x1000, 1,
                  (PAGE_A - i * 0x1000) | SS_RW, SS_RW);
        guest_map(&assigned->guest, root, 4, GUEST_IOVA + i * 0x1000, 1,
                  (PAGE_A + i * 0x1000) | SS_RW, SS_RW);
    }
    assigned_context(assigned, CONTEXT_DEVICE, 0, 0, 0);
    guest_legacy(&assigned->guest, 0, 0, 2, 0);
    assigned_context(assigned, CONTEXT_DEVICE, 0, 0, 0);
    guest_legacy(&assigned->guest, 0, 0, 2, root);
    assigned_context(assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_wait(assigned);
    assigned_clear_faults(assigned);
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
}

static void from_twice_nested(struct assigned *assigned)
{
    uint64_t first, second;

    assigned_start_twice_nested(assigned, "pasid-bits=8", &first, &second);
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
}

static void enable(struct assigned *assigned)
{
    guest_on(&assigned->guest, TTM_SCALABLE);
}

static void flush_tables(struct assigned *assigned)
{
    guest_flush(&assigned->guest);
}

static void rebind(struct assigned *assigned)
{
    assigned_bind(assigned, 0, 0, assigned_first_stage(assigned, GUEST_IOVA, PAGE_B), GUEST_DOMAIN);
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_wait(assigned);
}

static void rebind_legacy(struct assigned *assigned)
{
    guest_legacy(&assigned->guest, 0, 0, 2, assigned_second_stage(assigned, GUEST_IOVA, PAGE_B));
    assigned_context(assigned, CONTEXT_DEVICE, GUEST_DOMAIN, 0, 0);
    assigned_wait(assigned);
}

static void nest_twice(struct assigned *assigned)
{
    uint64_t second = assigned_second_stage_of_tables(assigned);

    guest_map(&assigned->guest, second, 4, PAGE_A, 1, PAGE_B | SS_RW, SS_RW);
    guest_pasid(&assigned->guest, 0, PASID_PGTT(3) | PASID_AW(2) | second,
                GUEST_DOMAIN | PASID_PWSNP, assigned_first_stage(assigned, GUEST_IOVA, PAGE_A));
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_wait(assigned);
}

static void change_page(struct assigned *assigned)
{
    uint64_t root = load64(&assigned->guest.machine, GUEST_PASIDS + 16);

    assigned_set_page(assigned, root, 4, PAGE_B | FS_ALL);
    assigned_piotlb(assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(assigned);
}

static void change_shadowed_page(struct assigned *assigned)
{
    uint64_t root = load64(&assigned->guest.machine, GUEST_CONTEXT) & ~UINT64_C(0xfff);

    assigned_set_page(assigned, root, 4, PAGE_B | SS_RW);
    assigned_iotlb(assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    assigned_wait(assigned);
}

static void change_second_stage_page(struct assigned *assigned)
{
    uint64_t root = load64(&assigned->guest.machine, GUEST_PASIDS) & ~UINT64_C(0xfff);

    guest_map(&assigned->guest, root, 4, PAGE_A, 1, PAGE_B | SS_RW, SS_RW);
    assigned_iotlb(assigned, IOTLB_PAGES, GUEST_DOMAIN, PAGE_A, 0);
    assigned_wait(assigned);
}

/* A page that nothing uses, between the tables of the first stage. */
static void cut_second_stage(struct assigned *assigned)
{
    uint64_t root = load64(&assigned->guest.machine, GUEST_PASIDS) & ~UINT64_C(0xfff);

    guest_map(&assigned->guest, root, 4, GUEST_POOL + 0x2c000, 1, 0, SS_RW);
    assigned_iotlb(assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_POOL + 0x2c000, 0);
    assigned_wait(assigned);
}

static void to_pass_through(struct assigned *assigned)
{
    guest_pasid(&assigned->guest, 0, PASID_PGTT(4), GUEST_DOMAIN, 0);
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 0);
}

static void add_pasid(struct assigned *assigned)
{
    assigned_bind(assigned, 0, 3, assigned_first_stage(assigned, GUEST_IOVA, PAGE_B), GUEST_DOMAIN);
    assigned_context(assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 3);
    assigned_wait(assigned);
}

static void unplug(struct assigned *assigned)
{
    assigned_detach(assigned, 0);
}

static void at_a(struct assigned *assigned)
{
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
}

static void at_b(struct assigned *assigned)
{
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_B);
}

static void at_identity(struct assigned *assigned)
{
    assigned_arrives(assigned, 0, PAGE_B, PAGE_B);
}

static void pasid_at_b(struct assigned *assigned)
{
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_arrives_pasid(assigned, 0, 3, GUEST_IOVA, PAGE_B);
}

static const struct path paths[] = {
    {"translation is switched on", from_off, enable, at_a, flush_tables},
    {"a table is bound", from_nested, rebind, at_b, flush_tables},
    {"a page changes", from_nested, change_page, at_b, flush_tables},
    {"pass-through", from_nested, to_pass_through, at_identity, flush_tables},
    {"a PASID is bound", from_nested, add_pasid, pasid_at_b, flush_tables},
    {"a device is unplugged", from_nested, unplug, NULL, NULL},
    {"tables that nest are bound", from_nested, nest_twice, at_b, flush_tables},
    {"a page of the guest's second stage changes", from_twice_nested, change_second_stage_page,
     at_b, flush_tables},
    {"a page of the first stage on it changes", from_twice_nested, change_page, at_b, flush_tables},
    {"an area of the guest's second stage is cut", from_twice_nested, cut_second_stage, at_a,
     flush_tables},
    {"what is nested twice is bound once", from_twice_nested, rebind, at_b, flush_tables},
    {"a twice nested device is unplugged", from_twice_nested, unplug, NULL, NULL},
    {"a second-stage table is bound", from_shadowed, rebind_legacy, at_b, flush_tables},
    {"a shadowed page changes", from_shadowed, change_shadowed_page, at_b, flush_tables},
    {"a shadowed area is cut", from_area, change_shadowed_page, at_b, flush_tables},
    {"a shadowed device is unplugged", from_shadowed, unplug, NULL, NULL},
};

/* Never what was before: an old mapping to PAGE_A would let this write through. */
static void assert_no_stale(struct assigned *assigned, const struct path *path)
{
    uint64_t value = 0xdead;

    if (path->works == at_a || path->works == pasid_at_b)
        return;
    store64(&assigned->guest.machine, PAGE_A, 0);
    assigned_dma(assigned, 0, VIOMMU_PASID_NONE, GUEST_IOVA, true, &value);
    if (load64(&assigned->guest.machine, PAGE_A) == value)
        fail_msg("%s: the old translation stayed live", path->name);
}

/* One run in which the n-th call fails, or all calls of a kind. Returns whether any did. */
static bool run_path(const struct path *path, int n, unsigned int fail_calls)
{
    struct assigned assigned;
    bool failed;

    path->start(&assigned);
    assigned_calm(&assigned);
    assigned.countdown = n;
    assigned.fail_calls = fail_calls;
    path->run(&assigned);
    failed = assigned.failed;
    assert_no_stale(&assigned, path);
    assigned_calm(&assigned);
    if (path->works && (failed || fail_calls)) {
        assigned_clear_faults(&assigned);
        path->again(&assigned);
        assigned_clear_faults(&assigned);
        if (fail_calls & (1u << VIOMMU_HOST_CALL_DETACH)) /* taken away from the host */
            assert_no_stale(&assigned, path);
        else
            path->works(&assigned);
    } else if (path->works) {
        path->works(&assigned);
    }
    if (path->works)
        assigned_detach(&assigned, 0);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assert_int_equal(assigned_census(&assigned).attachments, 0);
    assert_int_equal(assigned_census(&assigned).bound_devices, 0);
    /* what the failing host kept may stay until the next one; of a quiet host nothing does */
    assigned_attach(&assigned, 1);
    assigned_detach(&assigned, 1);
    if (path->works) {
        assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
        assert_int_equal(assigned_census(&assigned).paging_hwpts, 0);
        assert_int_equal(assigned_census(&assigned).ioas, 0);
        assert_int_equal(assigned_census(&assigned).mapped_bytes, 0);
    }
    assigned_destroy(&assigned);
    return failed;
}

static void every_failure_of_every_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(paths); i++) {
        int n = 0;

        while (run_path(&paths[i], n, 0))
            assert_true(++n < 100);
        assert_true(n > 0);
        for (unsigned int call = 0; call < VIOMMU_HOST_CALL_COUNT; call++)
            run_path(&paths[i], -1, 1u << call);
    }
}

/* Hot-unplug while DMA runs */

struct worker {
    struct assigned *assigned;
    bool stop;
    uint64_t served, refused;
};

static void *work(void *opaque)
{
    struct worker *worker = opaque;

    while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED))
        __atomic_fetch_add(assigned_reads(worker->assigned, 0, GUEST_IOVA) ? &worker->served
                                                                           : &worker->refused,
                           1, __ATOMIC_RELAXED);
    return NULL;
}

static void wait_for(const uint64_t *counter)
{
    uint64_t before = __atomic_load_n(counter, __ATOMIC_RELAXED);

    while (__atomic_load_n(counter, __ATOMIC_RELAXED) == before)
        sched_yield();
}

static void unplug_while_dma_runs(void **state)
{
    struct worker worker = {0};
    struct assigned assigned;
    pthread_t thread;
    uint64_t root;

    (void)state;
    root = assigned_start_nested(&assigned, "");
    worker.assigned = &assigned;
    assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
    for (unsigned int i = 0; i < 20; i++) {
        wait_for(&worker.served);
        assigned_set_page(&assigned, root, 4, 0);
        assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
        assigned_wait(&assigned);
        wait_for(&worker.refused);
        assigned_set_page(&assigned, root, 4, PAGE_A | FS_ALL);
        assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
        wait_for(&worker.served);
        assigned_detach(&assigned, 0);
        wait_for(&worker.refused);
        assigned_attach(&assigned, 0);
        assigned_calm(&assigned);
    }
    __atomic_store_n(&worker.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(assigned_stats(&assigned).assigned_emulated, 0);
    assigned_destroy(&assigned);
}

/* Everything at once: no deadlock, no race, no device left with what it should not have. */

static void *plug_memory(void *opaque)
{
    struct worker *worker = opaque;
    struct viommu_memory_range range = {.gpa = UINT64_C(1) << 32, .size = 0x200000};

    range.host = mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED)) {
        viommu_memory_add(worker->assigned->guest.machine.memory, &range, NULL);
        viommu_memory_remove(worker->assigned->guest.machine.memory, range.gpa, NULL);
    }
    munmap(range.host, range.size);
    return NULL;
}

static void *plug_device(void *opaque)
{
    struct worker *worker = opaque;

    while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED)) {
        assigned_attach(worker->assigned, 1);
        assigned_detach(worker->assigned, 1);
    }
    return NULL;
}

static void all_at_once(void **state)
{
    static void *(*const work_of[])(void *) = {work, plug_memory, plug_device};
    struct worker worker = {0};
    struct assigned assigned;
    pthread_t threads[3];

    (void)state;
    assigned_start_nested(&assigned, "pasid-bits=8");
    viommu_host_set_observer(assigned.host, NULL, NULL);
    worker.assigned = &assigned;
    for (unsigned int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work_of[i], &worker), 0);
    for (unsigned int i = 0; i < 100; i++) {
        if (i % 2) {
            guest_legacy(&assigned.guest, 0, 0, 2,
                         assigned_second_stage(&assigned, GUEST_IOVA, PAGE_A));
            guest_on(&assigned.guest, TTM_LEGACY);
            assigned_iotlb(&assigned, IOTLB_GLOBAL, 0, 0, 0);
        } else {
            assigned_bind(&assigned, 0, 0, assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A),
                          GUEST_DOMAIN);
            guest_on(&assigned.guest, TTM_SCALABLE);
            assigned_pasid_cache(&assigned, PASID_GLOBAL, 0, 0);
        }
        assigned_wait(&assigned);
        wait_for(&worker.served);
    }
    __atomic_store_n(&worker.stop, true, __ATOMIC_RELAXED);
    for (unsigned int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-NEST-FAIL-1", "6.5.2", "Whichever host call fails, no old translation stays live.",
     every_failure_of_every_path},
    {"VTD-NEST-FAIL-2", "6.5.2", "Invalidations and unplug hold while DMA runs.",
     unplug_while_dma_runs},
    {"VTD-NEST-FAIL-3", "6.5.2", "Guest, DMA, memory and devices come and go at the same time.",
     all_at_once},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
