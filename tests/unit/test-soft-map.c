/* SPDX-License-Identifier: MIT */
/* The IOAS of the simulated host: mapping and unmapping, page sizes, reserved IOVAs, the erratum.
 */
#include "soft-rig.h"

#define RWMAP (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)
#define NONE  VIOMMU_PASID_NONE

static void test_map_errors(void **state)
{
    struct rig rig;
    char *at;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    at = rig.memory;
    const struct {
        uint32_t ioas;
        uint64_t iova;
        void *address;
        uint64_t length;
        uint32_t flags;
        int ret;
    } cases[] = {
        {rig.ioas, 0x1001, at, 0x1000, RWMAP, -EINVAL},
        {rig.ioas, 0x1000, at + 1, 0x1000, RWMAP, -EINVAL},
        {rig.ioas, 0x1000, at, 0x1001, RWMAP, -EINVAL},
        {rig.ioas, 0x1000, at, 0, RWMAP, -EINVAL},
        {rig.ioas, 0x1000, NULL, 0x1000, RWMAP, -EINVAL},
        {rig.ioas, 0x1000, at, 0x1000, 0, -EINVAL},
        {rig.ioas, 0x1000, at, 0x1000, 8, -EINVAL},
        {rig.ioas, 0xfedff000, at, 0x2000, RWMAP, -EINVAL},
        {rig.ioas, 0xfee80000, at, 0x1000, RWMAP, -EINVAL},
        {rig.ioas, 0xfeeff000, at, 0x2000, RWMAP, -EINVAL},
        {rig.ioas, UINT64_C(1) << 57, at, 0x1000, RWMAP, -EINVAL},
        {rig.ioas, -UINT64_C(0x1000), at, 0x2000, RWMAP, -EOVERFLOW},
        {4711, 0x1000, at, 0x1000, RWMAP, -ENOENT},
        {rig.device_id, 0x1000, at, 0x1000, RWMAP, -ENOENT},
        {rig.ioas, 0x10000, at, 0x4000, RWMAP, 0},
        {rig.ioas, 0x13000, at, 0x1000, RWMAP, -EEXIST},
        {rig.ioas, 0xf000, at, 0x2000, RWMAP, -EEXIST},
        {rig.ioas, 0xf000, at, 0x8000, RWMAP, -EEXIST},
        {rig.ioas, 0x14000, at, 0x1000, VIOMMU_HOST_MAP_READ, 0},
        {rig.ioas, 0xfef00000, at, 0x1000, RWMAP, 0},
        {rig.ioas, 0xfedff000, at, 0x1000, RWMAP, 0},
        {rig.ioas, (UINT64_C(1) << 57) - 0x1000, at, 0x1000, RWMAP, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(viommu_host_ioas_map(rig.host, cases[i].ioas, cases[i].iova,
                                              cases[i].address, cases[i].length, cases[i].flags,
                                              &rig.error),
                         cases[i].ret);
    assert_int_equal(rig_census(&rig).mapped_bytes, 8 * PAGE);
    rig_destroy(&rig);
}

/* As wide as SAGAW and MGAW allow: the last page is translated, the next cannot be mapped. */
static void test_widths(void **state)
{
    static const struct {
        const char *profile;
        unsigned int width;
    } rows[] = {{"granite-rapids", 57}, {"sapphire-rapids", 48}, {"alder-lake-system", 39}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t end = UINT64_C(1) << rows[i].width, value = 0;
        struct rig rig;

        rig_create(&rig, rows[i].profile, VIOMMU_SOFT_CACHE_HOARD);
        rig_parent(&rig, 0);
        assert_int_equal(
            viommu_host_ioas_map(rig.host, rig.ioas, end - PAGE, rig.memory, PAGE, RWMAP, NULL), 0);
        assert_int_equal(
            viommu_host_ioas_map(rig.host, rig.ioas, end, rig.memory, PAGE, RWMAP, NULL), -EINVAL);
        assert_int_equal(rig_write(&rig, end - PAGE, 0x5a5a + i), VIOMMU_DMA_OK);
        assert_int_equal(*(uint64_t *)rig.memory, 0x5a5a + i);
        assert_int_equal(rig_read(&rig, end, &value), VIOMMU_DMA_ADDRESS_WIDTH);
        assert_int_equal(rig_read(&rig, (end >> 1) - PAGE, &value), VIOMMU_DMA_NOT_PRESENT);
        assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, end - PAGE, PAGE, NULL, NULL),
                         0);
        assert_int_equal(rig_read(&rig, end - PAGE, &value), VIOMMU_DMA_NOT_PRESENT);
        rig_destroy(&rig);
    }
}

static void test_unmap(void **state)
{
    uint64_t bytes;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, 0);
    for (uint64_t iova = 0x10000; iova < 0x50000; iova += 0x10000)
        assert_int_equal(
            viommu_host_ioas_map(rig.host, rig.ioas, iova, rig.memory, 0x4000, RWMAP, NULL), 0);
    const struct {
        uint64_t iova;
        uint64_t length;
        int ret;
        uint64_t bytes;
    } cases[] = {
        {0x11000, 0x1000, -ENOENT, 0}, {0x10000, 0x3000, -ENOENT, 0},
        {0x11000, 0x3000, -ENOENT, 0}, {0x10000, 0x13000, -ENOENT, 0},
        {0x14000, 0x1000, -ENOENT, 0}, {0x10001, 0x4000, -EINVAL, 0},
        {0x10000, 0, -EINVAL, 0},      {0x10000, UINT64_MAX & ~0xfff, -EOVERFLOW, 0},
        {0x10000, 0x4000, 0, 0x4000},  {0x18000, 0x20000, 0, 0x8000},
        {0, UINT64_MAX, 0, 0x4000},    {0, UINT64_MAX, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, cases[i].iova, cases[i].length,
                                                &bytes, &rig.error),
                         cases[i].ret);
        assert_int_equal(bytes, cases[i].bytes);
    }
    assert_int_equal(viommu_host_ioas_unmap(rig.host, 4711, 0, UINT64_MAX, &bytes, NULL), -ENOENT);
    assert_int_equal(rig_census(&rig).table_pages, 1);
    rig_destroy(&rig);
}

static uint64_t leaf_granule(struct rig *rig, uint64_t iova)
{
    struct viommu_dma_result result;

    assert_int_equal(rig_access(rig, iova, NONE, VIOMMU_DMA_READ, &result), VIOMMU_DMA_OK);
    return result.granule_log2;
}

/* 2 MiB pages where both addresses and the profile permit; tables go when they are empty. */
static void test_large_pages(void **state)
{
    const uint64_t mega = 1 << 20;
    struct rig rig;
    char *memory = aligned_alloc(2 * mega, 6 * mega);

    (void)state;
    memset(memory, 0, 6 * mega);
    rig_create(&rig, "granite-rapids", VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, 0);
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 3 * mega, memory + mega, 4 * mega, RWMAP, NULL),
        0);
    assert_int_equal(leaf_granule(&rig, 3 * mega), 12);
    assert_int_equal(leaf_granule(&rig, 4 * mega), 21);
    assert_int_equal(leaf_granule(&rig, 6 * mega - 8), 21);
    assert_int_equal(leaf_granule(&rig, 6 * mega), 12);
    assert_int_equal(rig_census(&rig).table_pages, 6);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, 0, UINT64_MAX, NULL, NULL), 0);
    assert_int_equal(rig_census(&rig).table_pages, 1);
    /* The host address is not aligned as the IOVA is. */
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 4 * mega, memory + PAGE, 2 * mega, RWMAP, NULL),
        0);
    assert_int_equal(leaf_granule(&rig, 4 * mega), 12);
    rig_destroy(&rig);
    free(memory);
}

/* A gigabyte of address space, of which only one byte is ever touched. */
static void test_1g_pages(void **state)
{
    const struct {
        const char *profile;
        uint64_t granule;
    } cases[] = {{"granite-rapids", 30}, {"no-1g", 21}, {"amd-zen4", 30}};
    const uint64_t giga = 1 << 30;
    char *memory = aligned_alloc(giga, giga);
    struct rig rig;

    (void)state;
    if (!memory)
        skip();
    memory[giga - 8] = 'x';
    for (size_t i = 0; i < COUNT(cases); i++) {
        rig_create(&rig, cases[i].profile, VIOMMU_SOFT_CACHE_HOARD);
        rig_parent(&rig, 0);
        assert_int_equal(
            viommu_host_ioas_map(rig.host, rig.ioas, 4 * giga, memory, giga, RWMAP, NULL), 0);
        assert_int_equal(leaf_granule(&rig, 5 * giga - 8), cases[i].granule);
        rig_destroy(&rig);
    }
    free(memory);
}

static void test_iova_ranges(void **state)
{
    struct viommu_host_iova_range ranges[4];
    size_t count = 1;
    struct rig rig;

    (void)state;
    rig_create(&rig, "alder-lake-graphics", VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(viommu_host_ioas_iova_ranges(rig.host, rig.ioas, ranges, &count, &rig.error),
                     -EMSGSIZE);
    assert_int_equal(count, 2);
    count = 4;
    assert_int_equal(viommu_host_ioas_iova_ranges(rig.host, rig.ioas, ranges, &count, &rig.error),
                     0);
    assert_int_equal(count, 2);
    assert_int_equal(ranges[0].start, 0);
    assert_int_equal(ranges[0].last, 0xfedfffff);
    assert_int_equal(ranges[1].start, 0xfef00000);
    assert_int_equal(ranges[1].last, (UINT64_C(1) << 39) - 1); /* MGAW of this unit */
    assert_int_equal(viommu_host_ioas_iova_ranges(rig.host, 4711, ranges, &count, &rig.error),
                     -ENOENT);
    rig_destroy(&rig);
}

/* Mappings whose entries lie in one table: the others stay when one goes. */
static void test_unmap_spares_neighbours(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_NONE);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, 0);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, 0x3f000, 2 * PAGE, NULL, NULL), 0);
    assert_int_equal(rig_read(&rig, 0x3e000, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_read(&rig, 0x3f000, &value), VIOMMU_DMA_NOT_PRESENT);
    assert_int_equal(rig_read(&rig, 0x40000, &value), VIOMMU_DMA_NOT_PRESENT);
    assert_int_equal(rig_read(&rig, 0x41000, &value), VIOMMU_DMA_OK);
    /* Across the border of two tables. */
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, 0x1ff000, 2 * PAGE, NULL, NULL), 0);
    assert_int_equal(rig_read(&rig, 0x1fe000, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_read(&rig, 0x201000, &value), VIOMMU_DMA_OK);
    rig_destroy(&rig);
}

static int hwpt_alloc(struct rig *rig, uint32_t flags, uint32_t *id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = rig->device_id,
        .parent_id = rig->ioas,
        .flags = flags,
    };

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

static void test_erratum_772415(void **state)
{
    struct rig rig;
    uint32_t id, plain;

    (void)state;
    rig_create(&rig, "sapphire-rapids", VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, 0);
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, 0x1000, rig.memory, PAGE,
                                          VIOMMU_HOST_MAP_READ, &rig.error),
                     0);
    /* The mapping is there before the parent. */
    assert_int_equal(hwpt_alloc(&rig, VIOMMU_HOST_HWPT_NEST_PARENT, &id), -EINVAL);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, 0, UINT64_MAX, NULL, NULL), 0);
    assert_int_equal(hwpt_alloc(&rig, VIOMMU_HOST_HWPT_NEST_PARENT, &id), 0);
    /* And after it: refused, and gone from the others too, whatever their order. */
    assert_int_equal(hwpt_alloc(&rig, 0, &plain), 0);
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, 0x1000, rig.memory, PAGE,
                                          VIOMMU_HOST_MAP_READ, &rig.error),
                     -EINVAL);
    assert_non_null(strstr(rig.error.message, "772415"));
    assert_int_equal(rig_census(&rig).mapped_bytes, 0);
    assert_int_equal(rig_census(&rig).table_pages, 3);
    assert_int_equal(viommu_host_destroy_object(rig.host, id, NULL), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, plain, NULL), 0);
    rig_destroy(&rig);

    rig_create(&rig, "granite-rapids", VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT);
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, 0x1000, rig.memory, PAGE,
                                          VIOMMU_HOST_MAP_READ, &rig.error),
                     0);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_errors),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_unmap_spares_neighbours),
        cmocka_unit_test(test_unmap),
        cmocka_unit_test(test_large_pages),
        cmocka_unit_test(test_1g_pages),
        cmocka_unit_test(test_iova_ranges),
        cmocka_unit_test(test_erratum_772415),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
