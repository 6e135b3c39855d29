/* SPDX-License-Identifier: MIT */
/* DMA of the simulated host: both stages against addresses worked out by hand, rights, bits, cache.
 */
#include "soft-rig.h"

#define PARENT (VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID)
#define RWMAP  (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)

static void begin(struct rig *rig, enum viommu_soft_cache cache)
{
    rig_create(rig, "granite-rapids", cache);
    rig_map(rig, RWMAP);
    rig_parent(rig, PARENT);
    rig_table(rig);
}

static void begin_nested(struct rig *rig, enum viommu_soft_cache cache)
{
    begin(rig, cache);
    assert_int_equal(rig_nest(rig, 0, PML4, 48), 0);
}

static void test_dma_through_parent(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    char buffer[3 * 4096], back[3 * 4096];
    struct rig rig;

    (void)state;
    begin(&rig, VIOMMU_SOFT_CACHE_HOARD);
    for (size_t i = 0; i < sizeof(buffer); i++)
        buffer[i] = (char)(i * 31 + 7);
    request.address = 0x200000 + 100;
    request.length = sizeof(buffer);
    assert_int_equal(viommu_soft_device_write(rig.device, &request, buffer, &result), 0);
    assert_int_equal(result.length, sizeof(buffer));
    assert_ptr_equal((char *)(uintptr_t)result.gpa, rig_at(&rig, 0x200064));
    assert_memory_equal(rig_at(&rig, 0x200064), buffer, 4096 - 100);
    assert_memory_equal(rig_at(&rig, 0x201000), buffer + 4096 - 100, 4096);
    assert_int_equal(viommu_soft_device_read(rig.device, &request, back, &result), 0);
    assert_memory_equal(buffer, back, sizeof(buffer));

    /* The last page is there, the one behind it is not: what came before is counted. */
    request.address = (RIG_PAGES - 1) * PAGE;
    assert_int_equal(viommu_soft_device_read(rig.device, &request, back, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_NOT_PRESENT);
    assert_int_equal(result.length, PAGE);
    rig_destroy(&rig);
}

static void test_bad_requests(void **state)
{
    const struct {
        struct viommu_dma_request request;
        enum viommu_dma_status status;
        int ret;
    } cases[] = {
        {{0x1000, 0, VIOMMU_PASID_NONE, 0, 0, 0}, VIOMMU_DMA_BAD_REQUEST, -EINVAL},
        {{UINT64_MAX, 2, VIOMMU_PASID_NONE, 0, 0, 0}, VIOMMU_DMA_BAD_REQUEST, -EINVAL},
        {{0x1000, 8, 1 << 20, 0, 0, 0}, VIOMMU_DMA_BAD_REQUEST, -EINVAL},
        {{0x1000, 8, VIOMMU_PASID_NONE, 0, 0x80, 0}, VIOMMU_DMA_BAD_REQUEST, -EINVAL},
        {{0x1000, 8, VIOMMU_PASID_NONE, 0, VIOMMU_DMA_EXECUTE, 0}, VIOMMU_DMA_BAD_REQUEST, -EINVAL},
        {{0x1000, 8, VIOMMU_PASID_NONE, 0, 0, 3}, VIOMMU_DMA_BAD_REQUEST, -EINVAL},
        {{0x1000, 8, VIOMMU_PASID_NONE, 0, 0, VIOMMU_DMA_TRANSLATED},
         VIOMMU_DMA_UNSUPPORTED,
         -EACCES},
        {{0xfee00000, 8, VIOMMU_PASID_NONE, 0, 0, 0}, VIOMMU_DMA_INTERRUPT_RANGE, -EACCES},
        {{0xfeefffff, 1, VIOMMU_PASID_NONE, 0, 0, 0}, VIOMMU_DMA_INTERRUPT_RANGE, -EACCES},
        {{0xfef00000, 8, VIOMMU_PASID_NONE, 0, 0, 0}, VIOMMU_DMA_NOT_PRESENT, -EACCES},
        {{UINT64_C(1) << 57, 8, VIOMMU_PASID_NONE, 0, 0, 0}, VIOMMU_DMA_ADDRESS_WIDTH, -EACCES},
        {{0x1000, 8, 5, 0, 0, 0}, VIOMMU_DMA_BLOCKED, -EACCES},
    };
    struct viommu_dma_result result;
    uint64_t buffer[2] = {0};
    struct rig rig;

    (void)state;
    begin(&rig, VIOMMU_SOFT_CACHE_HOARD);
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(viommu_soft_device_read(rig.device, &cases[i].request, buffer, &result),
                         cases[i].ret);
        assert_int_equal(result.status, cases[i].status);
        assert_int_equal(viommu_soft_device_write(rig.device, &cases[i].request, buffer, &result),
                         cases[i].ret);
        assert_int_equal(result.status, cases[i].status);
    }
    rig_destroy(&rig);
}

static void test_nested_4k(void **state)
{
    struct viommu_dma_result result;
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    memcpy(rig_at(&rig, DATA + 0x567), "01234567", 8);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_memory_equal(&value, "01234567", 8);
    rig_access(&rig, IOVA, VIOMMU_PASID_NONE, VIOMMU_DMA_READ, &result);
    assert_ptr_equal((char *)(uintptr_t)result.gpa, rig_at(&rig, DATA + 0x567));
    assert_int_equal(result.granule_log2, 12);
    assert_int_equal(rig_write(&rig, IOVA, 42), VIOMMU_DMA_OK);
    memcpy(&value, rig_at(&rig, DATA + 0x567), 8);
    assert_int_equal(value, 42);
    rig_destroy(&rig);
}

static void test_nested_large_pages(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    char buffer[2 * 4096];
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    /* 2 MiB at GPA 0x200000; IOVA offset 0x4567 in it, two 4 KiB pages of the second stage. */
    rig_entry(&rig, PD, 3, UINT64_C(0x200000) | PS | ALL);
    memset(rig_at(&rig, 0x204567), 'a', 4096 - 0x567);
    memset(rig_at(&rig, 0x205000), 'b', 4096);
    memset(rig_at(&rig, 0x206000), 'c', 0x567);
    request.address = IOVA;
    request.length = sizeof(buffer);
    assert_int_equal(viommu_soft_device_read(rig.device, &request, buffer, &result), 0);
    assert_int_equal(buffer[0], 'a');
    assert_int_equal(buffer[4096 - 0x567], 'b');
    assert_int_equal(buffer[sizeof(buffer) - 1], 'c');
    assert_int_equal(result.granule_log2, 12);

    /* 1 GiB at GPA 0: IOVA offset 3 << 21 | 4 << 12 is beyond the memory, 0x300123 is not. */
    rig_entry(&rig, PDPT, 2, PS | ALL);
    assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
    memset(rig_at(&rig, 0x300123), 'z', 8);
    assert_int_equal(rig_read(&rig, UINT64_C(0x8080000000) + 0x300123, (uint64_t *)buffer),
                     VIOMMU_DMA_OK);
    assert_int_equal(buffer[7], 'z');
    assert_int_equal(rig_read(&rig, IOVA, (uint64_t *)buffer), VIOMMU_DMA_NO_MEMORY);
    rig_destroy(&rig);
}

static void test_nested_5_level(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin(&rig, VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(rig_nest(&rig, 0, PML5, 57), 0);
    *(uint64_t *)rig_at(&rig, DATA) = 77;
    assert_int_equal(rig_read(&rig, IOVA & ~UINT64_C(0xfff), &value), VIOMMU_DMA_OK);
    assert_int_equal(value, 77);
    assert_int_equal(rig_read(&rig, UINT64_C(1) << 56, &value), VIOMMU_DMA_ADDRESS_WIDTH);
    assert_int_equal(rig_read(&rig, UINT64_C(1) << 55, &value), VIOMMU_DMA_NOT_PRESENT);
    rig_destroy(&rig);
}

static void test_not_canonical(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(rig_read(&rig, UINT64_C(1) << 47, &value), VIOMMU_DMA_ADDRESS_WIDTH);
    assert_int_equal(rig_read(&rig, UINT64_C(1) << 63, &value), VIOMMU_DMA_ADDRESS_WIDTH);
    assert_int_equal(rig_read(&rig, ~UINT64_C(0) << 47, &value), VIOMMU_DMA_NOT_PRESENT);
    rig_destroy(&rig);
}

/* What is taken from one entry at a time takes effect at each level. */
static void test_rights_at_each_level(void **state)
{
    const struct {
        uint64_t table;
        unsigned int index;
    } levels[] = {{PML4, 1}, {PDPT, 2}, {PD, 3}, {PT, 4}};
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_NONE);
    for (size_t i = 0; i < COUNT(levels); i++) {
        uint64_t good = rig_entry_read(&rig, levels[i].table, levels[i].index);

        rig_entry(&rig, levels[i].table, levels[i].index, good & ~RW);
        assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
        assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_PERMISSION);
        rig_entry(&rig, levels[i].table, levels[i].index, good & ~US);
        assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_PERMISSION);
        rig_entry(&rig, levels[i].table, levels[i].index, good & ~P);
        assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_NOT_PRESENT);
        rig_entry(&rig, levels[i].table, levels[i].index, good);
    }
    rig_destroy(&rig);
}

static void test_reserved_bits(void **state)
{
    const struct {
        uint64_t table;
        unsigned int index;
        uint64_t bits;
        enum viommu_dma_status status;
    } cases[] = {
        {PML4, 1, PS, VIOMMU_DMA_RESERVED},
        {PDPT, 2, PS | 1 << 12, VIOMMU_DMA_NO_MEMORY}, /* PAT; beyond the memory at this offset */
        {PDPT, 2, PS | 1 << 13, VIOMMU_DMA_RESERVED},
        {PDPT, 2, PS | 1 << 29, VIOMMU_DMA_RESERVED},
        {PD, 3, PS | 1 << 12, VIOMMU_DMA_OK},
        {PD, 3, PS | 1 << 13, VIOMMU_DMA_RESERVED},
        {PD, 3, PS | 1 << 20, VIOMMU_DMA_RESERVED},
        {PT, 4, PS, VIOMMU_DMA_OK}, /* PAT there */
        {PT, 4, UINT64_C(0x7ff) << 52, VIOMMU_DMA_OK},
    };
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_NONE);
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t good = rig_entry_read(&rig, cases[i].table, cases[i].index);

        /* A large page at GPA 0, so that no address bit is among the reserved ones. */
        rig_entry(&rig, cases[i].table, cases[i].index,
                  (cases[i].table == PT || cases[i].table == PML4 ? good : ALL) | cases[i].bits);
        assert_int_equal(rig_read(&rig, IOVA, &value), cases[i].status);
        rig_entry(&rig, cases[i].table, cases[i].index, good);
    }
    rig_destroy(&rig);
}

static void test_1g_without_ability(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    rig_create(&rig, "no-1g", VIOMMU_SOFT_CACHE_NONE);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, PARENT);
    rig_table(&rig);
    assert_int_equal(rig_nest(&rig, 0, PML4, 48), 0);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    rig_entry(&rig, PDPT, 2, PS | ALL);
    assert_int_equal(rig_read(&rig, UINT64_C(0x8080000000), &value), VIOMMU_DMA_RESERVED);
    rig_destroy(&rig);
}

/* Supervisor and execute requests come with a PASID. */
static void test_privilege_and_execute(void **state)
{
    const uint8_t user = VIOMMU_DMA_READ, write = VIOMMU_DMA_WRITE;
    const uint8_t super = VIOMMU_DMA_PRIVILEGED, execute = VIOMMU_DMA_EXECUTE;
    const struct {
        uint64_t leaf;
        uint64_t flags;
        uint8_t access;
        enum viommu_dma_status status;
    } cases[] = {
        {P | RW, 0, user, VIOMMU_DMA_PERMISSION},
        {P | RW, VIOMMU_HOST_VTD_S1_SRE, super, VIOMMU_DMA_OK},
        {P | RW | US, VIOMMU_HOST_VTD_S1_SRE, super, VIOMMU_DMA_OK},
        {P | RW, 0, super, VIOMMU_DMA_PERMISSION},
        {P | US, 0, write, VIOMMU_DMA_PERMISSION},
        {P | US, VIOMMU_HOST_VTD_S1_SRE, super | write, VIOMMU_DMA_OK},
        {P | US, VIOMMU_HOST_VTD_S1_SRE | VIOMMU_HOST_VTD_S1_WPE, super | write,
         VIOMMU_DMA_PERMISSION},
        {P | US, VIOMMU_HOST_VTD_S1_SRE | VIOMMU_HOST_VTD_S1_WPE, super, VIOMMU_DMA_OK},
        {P | RW | US, 0, user | execute, VIOMMU_DMA_OK},
        {P | RW | US | XD, 0, user | execute, VIOMMU_DMA_PERMISSION},
        {P | RW | US | XD, 0, user, VIOMMU_DMA_OK},
        {P | RW | US | XD, 0, write, VIOMMU_DMA_OK},
    };
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_dma_result result;
    struct rig rig;

    (void)state;
    /* A granite-rapids that has execute requests (ECAP.ERS). */
    rig_create(&rig, "granite-rapids", VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device_id, &info, NULL), 0);
    rig_destroy(&rig);
    info.registers[1] |= UINT64_C(1) << 30;
    options.custom = &info;
    memset(&rig, 0, sizeof(rig));
    assert_int_equal(viommu_soft_create(&rig.host, &options, NULL), 0);
    assert_int_equal(viommu_soft_device_add(rig.host, "d", 0, &rig.device, NULL), 0);
    assert_int_equal(viommu_host_bind(rig.host, "d", &rig.device_id, NULL), 0);
    assert_int_equal(viommu_host_ioas_alloc(rig.host, &rig.ioas, NULL), 0);
    rig.memory = unit_pages(RIG_PAGES);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, PARENT);
    rig_table(&rig);
    for (size_t i = 0; i < COUNT(cases); i++) {
        rig_entry(&rig, PT, 4, DATA | cases[i].leaf);
        assert_int_equal(rig_nest(&rig, cases[i].flags, PML4, 48), 0);
        assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 9, rig.nested, NULL), 0);
        assert_int_equal(rig_access(&rig, IOVA, 9, cases[i].access, &result), cases[i].status);
        /* From the cache the same. */
        assert_int_equal(rig_access(&rig, IOVA, 9, cases[i].access, &result), cases[i].status);
        assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 9, NULL), 0);
    }
    rig_destroy(&rig);
}

/* VT-d 5.0, 9.6, SRE: Linux sets it for nested tables only. */
static void test_privilege_without_first_stage(void **state)
{
    struct viommu_dma_result result;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, PARENT);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 9, rig.parent, NULL), 0);
    assert_int_equal(rig_access(&rig, DATA, 9, VIOMMU_DMA_READ, &result), VIOMMU_DMA_OK);
    assert_int_equal(rig_access(&rig, DATA, 9, VIOMMU_DMA_READ | VIOMMU_DMA_PRIVILEGED, &result),
                     VIOMMU_DMA_PERMISSION);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 9, NULL), 0);
    rig_destroy(&rig);
}

static void test_accessed_and_dirty(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_entry_read(&rig, PML4, 1), PDPT | ALL | ACC);
    assert_int_equal(rig_entry_read(&rig, PDPT, 2), PD | ALL | ACC);
    assert_int_equal(rig_entry_read(&rig, PD, 3), PT | ALL | ACC);
    assert_int_equal(rig_entry_read(&rig, PT, 4), DATA | ALL | ACC);
    /* The cached translation was made by a read: a write still sets the dirty bit. */
    assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_OK);
    assert_int_equal(rig_entry_read(&rig, PT, 4), DATA | ALL | ACC | DRT);
    assert_int_equal(rig_entry_read(&rig, PD, 3), PT | ALL | ACC);

    rig_table(&rig);
    assert_int_equal(rig_nest(&rig, VIOMMU_HOST_VTD_S1_EAFE, PML4, 48), 0);
    assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_OK);
    assert_int_equal(rig_entry_read(&rig, PT, 4), DATA | ALL | ACC | DRT | EA);
    assert_int_equal(rig_entry_read(&rig, PML4, 1), PDPT | ALL | ACC | EA);

    /* A refused access leaves no dirty bit. */
    rig_table(&rig);
    rig_entry(&rig, PT, 4, DATA | P | US);
    assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
    assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_PERMISSION);
    assert_int_equal(rig_entry_read(&rig, PT, 4) & DRT, 0);
    rig_destroy(&rig);
}

static void test_tables_without_memory(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_NONE);
    rig_entry(&rig, PD, 3, RIG_PAGES * PAGE | ALL);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_TABLE_ACCESS);
    rig_entry(&rig, PD, 3, UINT64_C(0xffffffffff000) | ALL);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_TABLE_ACCESS);
    rig_entry(&rig, PD, 3, PT | ALL);
    rig_entry(&rig, PT, 4, UINT64_C(0xffffffffff000) | ALL);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_NO_MEMORY);
    rig_destroy(&rig);
}

/* Read-only guest memory: for data READONLY, for a table that must be marked TABLE_ACCESS. */
static void test_readonly_memory(void **state)
{
    uint64_t value;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, DATA, PAGE, NULL, NULL), 0);
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, DATA, rig_at(&rig, DATA), PAGE,
                                          VIOMMU_HOST_MAP_READ, NULL),
                     0);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_int_equal(rig_write(&rig, IOVA, 1), VIOMMU_DMA_READONLY);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, PT, PAGE, NULL, NULL), 0);
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, PT, rig_at(&rig, PT), PAGE,
                                          VIOMMU_HOST_MAP_READ, NULL),
                     0);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK); /* marked already */
    rig_entry(&rig, PT, 4, DATA | ALL);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_TABLE_ACCESS);
    rig_destroy(&rig);
}

static void test_pasid_attachments(void **state)
{
    struct viommu_dma_result result;
    struct rig rig;

    (void)state;
    begin(&rig, VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(rig_nest(&rig, 0, PML4, 48), 0);
    assert_int_equal(
        viommu_host_attach(rig.host, rig.device_id, VIOMMU_PASID_NONE, rig.parent, NULL), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 5, rig.nested, NULL), 0);
    assert_int_equal(rig_census(&rig).attachments, 2);
    assert_int_equal(rig_access(&rig, IOVA, 5, VIOMMU_DMA_READ, &result), VIOMMU_DMA_OK);
    assert_int_equal(rig_access(&rig, IOVA, 6, VIOMMU_DMA_READ, &result), VIOMMU_DMA_BLOCKED);
    assert_int_equal(rig_access(&rig, IOVA, VIOMMU_PASID_NONE, VIOMMU_DMA_READ, &result),
                     VIOMMU_DMA_NOT_PRESENT);
    assert_int_equal(rig_access(&rig, DATA, VIOMMU_PASID_NONE, VIOMMU_DMA_READ, &result),
                     VIOMMU_DMA_OK);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    assert_int_equal(rig_access(&rig, IOVA, 5, VIOMMU_DMA_READ, &result), VIOMMU_DMA_BLOCKED);
    rig_destroy(&rig);
}

/* VT-d 5.0, 3.14: with a PASID, addresses in the interrupt range are translated as any others. */
static void test_interrupt_range(void **state)
{
    const uint64_t iova = 0xfee01000; /* indices 0, 3, 0x1f7, 1 */
    struct viommu_dma_result result;
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    rig_entry(&rig, PML4, 0, PDPT | ALL);
    rig_entry(&rig, PDPT, 3, PD | ALL);
    rig_entry(&rig, PD, 0x1f7, PT | ALL);
    rig_entry(&rig, PT, 1, DATA | ALL);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 5, rig.nested, NULL), 0);
    assert_int_equal(rig_access(&rig, iova, VIOMMU_PASID_NONE, VIOMMU_DMA_WRITE, &result),
                     VIOMMU_DMA_INTERRUPT_RANGE);
    assert_int_equal(rig_access(&rig, iova, 5, VIOMMU_DMA_WRITE, &result), VIOMMU_DMA_OK);
    assert_ptr_equal((char *)(uintptr_t)result.gpa, rig_at(&rig, DATA));
    rig_destroy(&rig);
}

static void test_dirty_tracking_in_second_stage(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_soft_step steps[8];
    struct viommu_dma_result result;
    uint64_t value;
    size_t count = COUNT(steps);
    struct rig rig;

    (void)state;
    rig_create(&rig, "granite-rapids", VIOMMU_SOFT_CACHE_HOARD);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, VIOMMU_HOST_HWPT_DIRTY_TRACKING);
    request.address = DATA;
    request.length = 8;
    request.access = VIOMMU_DMA_READ;
    assert_int_equal(rig_read(&rig, DATA, &value), VIOMMU_DMA_OK);
    viommu_soft_device_explain(rig.device, &request, steps, &count, &result);
    assert_int_equal(steps[4].entry & 0x300, 0x100);
    assert_int_equal(rig_write(&rig, DATA, 1), VIOMMU_DMA_OK);
    count = COUNT(steps);
    viommu_soft_device_explain(rig.device, &request, steps, &count, &result);
    assert_int_equal(steps[4].entry & 0x300, 0x300);
    rig_destroy(&rig);
}

static void check_step(const struct viommu_soft_step *step, uint8_t stage, uint8_t level,
                       uint64_t input, uint64_t entry_address, uint64_t entry)
{
    assert_int_equal(step->stage, stage);
    assert_int_equal(step->level, level);
    assert_int_equal(step->input, input);
    if (entry_address)
        assert_int_equal(step->entry_address, entry_address);
    if (entry)
        assert_int_equal(step->entry, entry);
}

/* Five times a second-stage walk of 5 entries and its answer, 4 guest entries and their answer. */
static void test_explain(void **state)
{
    const uint64_t entries[] = {PML4 + 8, PDPT + 16, PD + 24, PT + 32};
    const uint64_t values[] = {PDPT | ALL, PD | ALL, PT | ALL, DATA | ALL};
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_soft_step steps[40];
    struct viommu_dma_result result;
    size_t count = COUNT(steps);
    struct rig rig;

    (void)state;
    begin_nested(&rig, VIOMMU_SOFT_CACHE_HOARD);
    request.address = IOVA;
    request.length = 8;
    request.access = VIOMMU_DMA_WRITE;
    assert_int_equal(viommu_soft_device_explain(rig.device, &request, steps, &count, &result), 0);
    assert_int_equal(count, 4 * 7 + 1 + 6);
    for (int i = 0; i < 4; i++) {
        for (int level = 5; level >= 1; level--)
            check_step(&steps[i * 7 + 5 - level], 2, level, entries[i], 0, 0);
        check_step(&steps[i * 7 + 5], 2, 0, entries[i], 0, (uintptr_t)rig_at(&rig, entries[i]));
        check_step(&steps[i * 7 + 6], 1, 4 - i, IOVA, entries[i], values[i]);
    }
    check_step(&steps[28], 1, 0, IOVA, 0, DATA + 0x567);
    check_step(&steps[34], 2, 0, DATA + 0x567, 0, (uintptr_t)rig_at(&rig, DATA + 0x567));
    /* It only looked: no bit is set, nothing is cached. */
    assert_int_equal(rig_entry_read(&rig, PT, 4), DATA | ALL);
    assert_int_equal(rig_census(&rig).cache_entries, 0);

    /* Refused: up to the step that refuses; and the count is right without room for steps. */
    rig_entry(&rig, PD, 3, 0);
    count = 3;
    assert_int_equal(viommu_soft_device_explain(rig.device, &request, steps, &count, &result),
                     -EACCES);
    assert_int_equal(count, 21);
    assert_int_equal(result.status, VIOMMU_DMA_NOT_PRESENT);
    count = 0;
    viommu_host_detach(rig.host, rig.device_id, VIOMMU_PASID_NONE, NULL);
    assert_int_equal(viommu_soft_device_explain(rig.device, &request, NULL, &count, &result),
                     -EACCES);
    assert_int_equal(count, 0);
    assert_int_equal(result.status, VIOMMU_DMA_BLOCKED);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dma_through_parent),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_nested_4k),
        cmocka_unit_test(test_nested_large_pages),
        cmocka_unit_test(test_nested_5_level),
        cmocka_unit_test(test_not_canonical),
        cmocka_unit_test(test_rights_at_each_level),
        cmocka_unit_test(test_reserved_bits),
        cmocka_unit_test(test_1g_without_ability),
        cmocka_unit_test(test_privilege_and_execute),
        cmocka_unit_test(test_privilege_without_first_stage),
        cmocka_unit_test(test_accessed_and_dirty),
        cmocka_unit_test(test_tables_without_memory),
        cmocka_unit_test(test_readonly_memory),
        cmocka_unit_test(test_pasid_attachments),
        cmocka_unit_test(test_interrupt_range),
        cmocka_unit_test(test_dirty_tracking_in_second_stage),
        cmocka_unit_test(test_explain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
