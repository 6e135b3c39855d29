/* SPDX-License-Identifier: MIT */
/* The simulated host without memory: each allocation of a call fails in turn, and nothing is left.
 */
#include "soft-rig.h"

#define RWMAP (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)

static int fail_after = -1; /* so many allocations succeed; -1: all of them */
static bool failed;

static bool fails(void)
{
    if (fail_after < 0)
        return false;
    if (fail_after-- > 0)
        return false;
    failed = true;
    return true;
}

/* The linker sends the library's allocations here (--wrap). */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

/* One call with its undoing. */
struct step {
    int (*make)(struct rig *rig);
    void (*undo)(struct rig *rig);
};

static int map_make(struct rig *rig)
{
    return viommu_host_ioas_map(rig->host, rig->ioas, UINT64_C(0x3fffe00000), rig->memory,
                                RIG_PAGES * PAGE, RWMAP, &rig->error);
}

static void map_undo(struct rig *rig)
{
    assert_int_equal(viommu_host_ioas_unmap(rig->host, rig->ioas, UINT64_C(0x3fffe00000),
                                            RIG_PAGES * PAGE, NULL, NULL),
                     0);
}

static int paging_make(struct rig *rig)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options), .device_id = rig->device_id, .parent_id = rig->ioas};

    return viommu_host_hwpt_alloc(rig->host, &options, &rig->nested, &rig->error);
}

static int nested_make(struct rig *rig)
{
    struct viommu_host_vtd_s1 data = {.addr_width = 48};

    return rig_nested_alloc(rig, &data, VIOMMU_HOST_HWPT_PASID, &rig->nested);
}

static void hwpt_undo(struct rig *rig)
{
    assert_int_equal(viommu_host_destroy_object(rig->host, rig->nested, NULL), 0);
    rig->nested = 0;
}

static int pasid_make(struct rig *rig)
{
    return viommu_host_attach(rig->host, rig->device_id, 7, rig->parent, &rig->error);
}

static void pasid_undo(struct rig *rig)
{
    assert_int_equal(viommu_host_detach(rig->host, rig->device_id, 7, NULL), 0);
}

static void check(struct rig *rig, const struct step *step)
{
    for (int i = 0;; i++) {
        struct viommu_soft_census before = rig_census(rig), after;
        int ret;

        failed = false;
        fail_after = i;
        ret = step->make(rig);
        fail_after = -1;
        if (!ret)
            step->undo(rig);
        after = rig_census(rig);
        assert_memory_equal(&before, &after, sizeof(after));
        if (!failed)
            return;
        /* What counts nested HWPTs may go without memory; everything else refuses. */
        assert_true(ret == -ENOMEM || (ret == 0 && step->make == nested_make));
    }
}

static void test_calls(void **state)
{
    const struct step steps[] = {
        {map_make, map_undo},
        {paging_make, hwpt_undo},
        {nested_make, hwpt_undo},
        {pasid_make, pasid_undo},
    };
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID);
    for (size_t i = 0; i < COUNT(steps); i++)
        check(&rig, &steps[i]);
    rig_destroy(&rig);
}

static void test_create(void **state)
{
    struct viommu_soft_device *device;
    struct viommu_host *host;
    int ret;

    (void)state;
    for (int i = 0;; i++) {
        failed = false;
        fail_after = i;
        ret = viommu_soft_create(&host, NULL, NULL);
        if (!ret) {
            ret = viommu_soft_device_add(host, "d", 0, &device, NULL);
            fail_after = -1;
            viommu_host_destroy(host);
        }
        fail_after = -1;
        if (!failed)
            break;
        assert_int_equal(ret, -ENOMEM);
    }
    assert_int_equal(ret, 0);
}

/* A translation that cannot be remembered is used all the same. */
static void test_cache(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, 0);
    for (int i = 0; i < 2; i++) {
        fail_after = i;
        assert_int_equal(rig_read(&rig, DATA, &value), VIOMMU_DMA_OK);
        fail_after = -1;
        assert_int_equal(rig_census(&rig).cache_entries, 0);
    }
    assert_int_equal(rig_read(&rig, DATA, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_census(&rig).cache_entries, 1);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
