/* SPDX-License-Identifier: MIT */
/* The translation cache of the simulated host: what it keeps, and what makes it forget. */
#include "soft-rig.h"

#define PARENT (VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID)
#define RWMAP  (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)

static void begin_nested(struct rig *rig, enum viommu_soft_cache cache)
{
    rig_create(rig, "granite-rapids", cache);
    rig_map(rig, RWMAP);
    rig_parent(rig, PARENT);
    rig_table(rig);
    assert_int_equal(rig_nest(rig, 0, PML4, 48), 0);
}

static void test_hoard_shows_missing_invalidation(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    *(uint64_t *)rig_at(&rig, DATA) = 1;
    *(uint64_t *)rig_at(&rig, 0x66000) = 2;
    assert_int_equal(rig_read(&rig, IOVA - 0x567, &value), VIOMMU_DMA_OK);
    assert_int_equal(value, 1);
    rig_entry(&rig, PT, 4, UINT64_C(0x66000) | ALL);
    rig_read(&rig, IOVA - 0x567, &value);
    assert_int_equal(value, 1);
    /* Beside it: nothing changes. Over it: the new page. */
    assert_int_equal(rig_invalidate(&rig, IOVA - 0x567 + PAGE, 16, 0), 0);
    rig_read(&rig, IOVA - 0x567, &value);
    assert_int_equal(value, 1);
    assert_int_equal(rig_invalidate(&rig, IOVA - 0x567, 1, VIOMMU_HOST_VTD_INV_LEAF), 0);
    rig_read(&rig, IOVA - 0x567, &value);
    assert_int_equal(value, 2);
    rig_entry(&rig, PT, 4, 0);
    assert_int_equal(rig_read(&rig, IOVA - 0x567, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
    assert_int_equal(rig_read(&rig, IOVA - 0x567, &value), VIOMMU_DMA_NOT_PRESENT);
    /* What is not present is not remembered. */
    rig_entry(&rig, PT, 4, DATA | ALL);
    assert_int_equal(rig_read(&rig, IOVA - 0x567, &value), VIOMMU_DMA_OK);
    rig_destroy(&rig);
}

static void test_no_cache(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_census(&rig).cache_entries, 0);
    rig_entry(&rig, PT, 4, 0);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_NOT_PRESENT);
    rig_destroy(&rig);
}

/* One page of a 2 MiB mapping is invalidated: the mapping goes, not that page alone. */
static void test_invalidate_large_page(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    rig_entry(&rig, PD, 3, UINT64_C(0x200000) | PS | ALL);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_read(&rig, IOVA + 0x10000, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_census(&rig).cache_entries, 2);
    rig_entry(&rig, PD, 3, 0);
    assert_int_equal(rig_invalidate(&rig, UINT64_C(0x8080600000), 1, 0), 0);
    assert_int_equal(rig_census(&rig).cache_entries, 0);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_NOT_PRESENT);
    rig_destroy(&rig);
}

static void test_parent_unmap_drops_nested(void **state)
{
    uint64_t value, bytes;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, DATA, PAGE, &bytes, NULL), 0);
    assert_int_equal(bytes, PAGE);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_NO_MEMORY);
    rig_destroy(&rig);
}

static void test_invalidate_errors(void **state)
{
    struct viommu_host_vtd_s1_invalidate entries[] = {
        {.addr = 0x1000, .npages = 1},
        {.addr = 0x2000, .npages = 1},
        {.addr = 0x3001, .npages = 1},
        {.addr = 0x4000, .npages = 1},
    };
    const enum viommu_host_data type = VIOMMU_HOST_DATA_VTD_S1;
    const size_t length = sizeof(entries[0]);
    char longer[2][sizeof(entries[0]) + 8] = {{0}};
    uint32_t count = 4;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, entries, length, &count, &rig.error),
        -EINVAL);
    assert_int_equal(count, 2);
    entries[2] = (struct viommu_host_vtd_s1_invalidate){.addr = 0x3000, .npages = 1, .reserved = 1};
    count = 4;
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, entries, length, &count, NULL),
        -EOPNOTSUPP);
    assert_int_equal(count, 2);
    entries[2] = (struct viommu_host_vtd_s1_invalidate){.addr = 0x3000, .npages = 1, .flags = 2};
    count = 4;
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, entries, length, &count, NULL),
        -EOPNOTSUPP);
    entries[2] = (struct viommu_host_vtd_s1_invalidate){.addr = 0x3000, .npages = UINT64_MAX};
    count = 4;
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, entries, length, &count, NULL), -EINVAL);
    entries[2].npages = UINT64_MAX / 2; /* up to the end of the address space */
    count = 4;
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, entries, length, &count, NULL), 0);
    assert_int_equal(count, 4);
    count = 2;
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, longer, sizeof(longer[0]), &count, NULL),
        0);
    longer[1][sizeof(longer[1]) - 1] = 1;
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, longer, sizeof(longer[0]), &count, NULL),
        -E2BIG);
    assert_int_equal(count, 1);
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, type, entries, 8, &count, NULL),
                     -EINVAL);
    assert_int_equal(count, 0);
    count = 0; /* asks whether the type is known */
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, entries, length, &count, NULL), 0);
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_NONE, entries,
                                            length, &count, NULL),
                     -EINVAL);
    count = 1;
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.parent, type, entries, length, &count, NULL), -EINVAL);
    assert_int_equal(viommu_host_invalidate(rig.host, 4711, type, entries, length, &count, NULL),
                     -ENOENT);
    count = (1 << 19) + 1;
    assert_int_equal(
        viommu_host_invalidate(rig.host, rig.nested, type, entries, length, &count, NULL), -EINVAL);
    rig_destroy(&rig);
}

static void test_replace_takes_effect(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_int_equal(
        viommu_host_attach(rig.host, rig.device_id, VIOMMU_PASID_NONE, rig.parent, NULL), 0);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_NOT_PRESENT);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, VIOMMU_PASID_NONE, NULL), 0);
    assert_int_equal(rig_read(&rig, DATA, &value), VIOMMU_DMA_BLOCKED);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, VIOMMU_PASID_NONE, NULL), 0);
    assert_int_equal(rig_census(&rig).attachments, 0);
    /* Nothing of before is left in the cache when it is attached again. */
    assert_int_equal(rig_census(&rig).cache_entries, 0);
    rig_entry(&rig, PT, 4, 0);
    assert_int_equal(
        viommu_host_attach(rig.host, rig.device_id, VIOMMU_PASID_NONE, rig.nested, NULL), 0);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_NOT_PRESENT);
    rig_destroy(&rig);
}

/* Nothing is ever evicted: all of the guest's memory is remembered, and forgotten page by page. */
static void test_many_entries(void **state)
{
    const uint64_t base = UINT64_C(0x8080600000);
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    for (unsigned int i = 0; i < 512; i++)
        rig_entry(&rig, PT, i, (0x100000 + i * PAGE) | ALL);
    for (unsigned int i = 0; i < 512; i++)
        assert_int_equal(rig_read(&rig, base + i * PAGE, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_census(&rig).cache_entries, 512);
    for (unsigned int i = 0; i < 512; i++)
        rig_entry(&rig, PT, i, 0);
    assert_int_equal(rig_invalidate(&rig, base + 7 * PAGE, 100, 0), 0);
    assert_int_equal(rig_census(&rig).cache_entries, 412);
    for (unsigned int i = 0; i < 512; i++)
        assert_int_equal(rig_read(&rig, base + i * PAGE, &value),
                         i >= 7 && i < 107 ? VIOMMU_DMA_NOT_PRESENT : VIOMMU_DMA_OK);
    assert_int_equal(rig_invalidate(&rig, base - 1000 * PAGE, 2000, 0), 0);
    assert_int_equal(rig_census(&rig).cache_entries, 0);
    rig_destroy(&rig);
}

/* A guest that grants more needs no invalidation: hardware walks again before it refuses. */
static void test_more_rights_without_invalidation(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    rig_entry(&rig, PT, 4, DATA | P | US);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_PERMISSION);
    rig_entry(&rig, PT, 4, DATA | ALL);
    assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_OK);
    /* Taking it away again does need one. */
    rig_entry(&rig, PT, 4, DATA | P | US);
    assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_OK);
    assert_int_equal(rig_invalidate(&rig, IOVA - 0x567, 1, 0), 0);
    assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_PERMISSION);
    rig_destroy(&rig);
}

/* What the log was told, and how often. */
struct heard {
    unsigned int times;
    char message[512];
};

static void hear(void *opaque, enum viommu_log_level level, const char *message)
{
    struct heard *heard = opaque;

    assert_int_equal(level, VIOMMU_LOG_WARNING);
    heard->times++;
    snprintf(heard->message, sizeof(heard->message), "%s", message);
}

/* A guest that uses ever more addresses: all caches of the host share one limit. */
static void test_limit(void **state)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_dma_result result;
    struct heard heard = {0};
    uint64_t value;
    struct rig rig;

    (void)state;
    options.cache_limit = 8;
    options.log = (struct viommu_log){hear, &heard, VIOMMU_LOG_WARNING};
    rig_create_with(&rig, &options);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, PARENT);
    rig_table(&rig);
    assert_int_equal(rig_nest(&rig, 0, PML4, 48), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 1, rig.parent, NULL), 0);
    for (unsigned int i = 0; i < 3; i++)
        assert_int_equal(rig_access(&rig, i * PAGE, 1, VIOMMU_DMA_READ, &result), VIOMMU_DMA_OK);
    rig_entry(&rig, PD, 3, PS | ALL);
    for (unsigned int i = 0; i < 5; i++)
        assert_int_equal(rig_read(&rig, IOVA + i * PAGE, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_census(&rig).cache_entries, 8);
    assert_int_equal(rig_census(&rig).cache_clears, 0);
    assert_int_equal(heard.times, 0);
    assert_int_equal(rig_read(&rig, IOVA + 5 * PAGE, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_census(&rig).cache_entries, 1);
    assert_int_equal(rig_census(&rig).cache_clears, 1);
    assert_int_equal(heard.times, 1);
    assert_non_null(strstr(heard.message, "its limit of 8 entries"));
    for (unsigned int i = 0; i < 64; i++) {
        assert_int_equal(rig_read(&rig, IOVA + i * PAGE, &value), VIOMMU_DMA_OK);
        assert_in_range(rig_census(&rig).cache_entries, 1, 8);
    }
    assert_int_equal(rig_census(&rig).cache_clears, 8);
    assert_int_equal(heard.times, 1);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hoard_shows_missing_invalidation),
        cmocka_unit_test(test_no_cache),
        cmocka_unit_test(test_invalidate_large_page),
        cmocka_unit_test(test_parent_unmap_drops_nested),
        cmocka_unit_test(test_invalidate_errors),
        cmocka_unit_test(test_replace_takes_effect),
        cmocka_unit_test(test_many_entries),
        cmocka_unit_test(test_more_rights_without_invalidation),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
