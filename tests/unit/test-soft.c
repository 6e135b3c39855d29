/* SPDX-License-Identifier: MIT */
/* Objects of the simulated host: what is refused with which errno, what is busy, what is given
 * back.
 */
#include "host/host.h"
#include "soft-rig.h"

#define RWMAP (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)
#define NONE  VIOMMU_PASID_NONE

static int hwpt_alloc(struct rig *rig, uint32_t device, uint32_t parent, uint32_t flags,
                      uint32_t *id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options), .device_id = device, .parent_id = parent, .flags = flags};

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

static void test_create_errors(void **state)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_host_hw_info custom = {.size = sizeof(custom), .type = VIOMMU_HOST_IOMMU_VTD};
    struct viommu_error error;
    struct viommu_host *host;

    (void)state;
    options.profile = "pentium";
    assert_int_equal(viommu_soft_create(&host, &options, &error), -ENOENT);
    assert_non_null(strstr(error.message, "'pentium'"));
    for (size_t i = 0; i < viommu_soft_profile_count(); i++)
        assert_non_null(strstr(error.message, viommu_soft_profile_name(i)));
    options.profile = NULL;
    options.cache = (enum viommu_soft_cache)7;
    assert_int_equal(viommu_soft_create(&host, &options, &error), -EINVAL);
    options.cache = VIOMMU_SOFT_CACHE_NONE;
    options.custom = &custom;
    assert_int_equal(viommu_soft_create(&host, &options, &error), -EINVAL);
    custom.registers[0] = 0x400; /* 48 bits, but MGAW says 1 */
    assert_int_equal(viommu_soft_create(&host, &options, &error), -EINVAL);
    custom.registers[0] = 0x400 | 38 << 16;
    custom.max_pasid_log2 = 21;
    assert_int_equal(viommu_soft_create(&host, &options, &error), -EINVAL);
    custom.max_pasid_log2 = 0;
    assert_int_equal(viommu_soft_create(&host, &options, &error), 0);
    viommu_host_destroy(host);
    assert_int_equal(viommu_soft_create(&host, NULL, &error), 0);
    viommu_host_destroy(host);
}

static void test_devices(void **state)
{
    struct viommu_soft_device *second;
    struct rig rig;
    uint32_t id;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(viommu_soft_device_add(rig.host, "0000:3a:00.0", 1, &second, &rig.error),
                     -EEXIST);
    assert_int_equal(viommu_soft_device_add(rig.host, "", 1, &second, &rig.error), -EINVAL);
    assert_int_equal(viommu_soft_device_add(NULL, "x", 1, &second, &rig.error), -EINVAL);
    assert_int_equal(viommu_host_bind(rig.host, "0000:3a:00.0", &id, &rig.error), -EBUSY);
    assert_int_equal(viommu_host_bind(rig.host, "0000:3b:00.0", &id, &rig.error), -ENODEV);
    assert_non_null(strstr(rig.error.message, "0000:3b:00.0"));
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.device_id, &rig.error), -EBUSY);
    viommu_host_unbind(rig.host, 4711);
    rig_destroy(&rig);
}

/* The device is pulled while it is attached; what is left of it is given back by unbind. */
static void test_surprise_removal(void **state)
{
    struct viommu_soft_device *again;
    struct rig rig;
    uint32_t id;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, 0);
    viommu_soft_device_remove(rig.device);
    assert_int_equal(rig_census(&rig).attachments, 0);
    assert_int_equal(rig_census(&rig).bound_devices, 1);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, rig.parent, &rig.error),
                     -ENODEV);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, NONE, &rig.error), 0);
    /* The same slot gets another device. */
    assert_int_equal(viommu_soft_device_add(rig.host, "0000:3a:00.0", 0, &again, &rig.error), 0);
    assert_int_equal(viommu_host_bind(rig.host, "0000:3a:00.0", &id, &rig.error), 0);
    assert_int_not_equal(id, rig.device_id);
    viommu_host_unbind(rig.host, rig.device_id);
    rig.device_id = id;
    rig.device = again;
    rig_destroy(&rig);
}

static void test_hwpt_errors(void **state)
{
    struct viommu_host_vtd_s1 data = {.pgtbl_addr = 0x1000, .addr_width = 48};
    struct viommu_host_hwpt_options options = {.size = sizeof(options)};
    struct rig rig;
    uint32_t id;

    (void)state;
    rig_create(&rig, "no-nesting", VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(hwpt_alloc(&rig, 4711, rig.ioas, 0, &id), -ENOENT);
    assert_int_equal(hwpt_alloc(&rig, rig.device_id, 4711, 0, &id), -EINVAL);
    assert_int_equal(hwpt_alloc(&rig, rig.device_id, rig.ioas, 0x80, &id), -EOPNOTSUPP);
    assert_int_equal(hwpt_alloc(&rig, rig.device_id, rig.ioas, VIOMMU_HOST_HWPT_NEST_PARENT, &id),
                     -EOPNOTSUPP);
    rig_parent(&rig, VIOMMU_HOST_HWPT_PASID | VIOMMU_HOST_HWPT_DIRTY_TRACKING);
    assert_int_equal(rig_nested_alloc(&rig, &data, 0, &id), -EINVAL); /* not a nesting parent */
    rig_destroy(&rig);

    rig_create(&rig, "broadwell-ep", VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(
        hwpt_alloc(&rig, rig.device_id, rig.ioas, VIOMMU_HOST_HWPT_DIRTY_TRACKING, &id),
        -EOPNOTSUPP);
    rig_destroy(&rig);

    rig_create(&rig, "amd-zen4", VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT);
    assert_int_equal(rig_nested_alloc(&rig, &data, 0, &id), -EOPNOTSUPP);
    rig_destroy(&rig);

    rig_create(&rig, "granite-rapids", VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT);
    assert_int_equal(rig_nested_alloc(&rig, &data, VIOMMU_HOST_HWPT_NEST_PARENT, &id), -EOPNOTSUPP);
    assert_int_equal(hwpt_alloc(&rig, rig.device_id, rig.parent, 0, &id),
                     -EOPNOTSUPP); /* no data */
    options.device_id = rig.device_id;
    options.parent_id = rig.ioas;
    options.data_type = VIOMMU_HOST_DATA_VTD_S1;
    options.data = &data;
    options.data_length = sizeof(data);
    assert_int_equal(viommu_host_hwpt_alloc(rig.host, &options, &id, NULL), -EINVAL);
    options.parent_id = rig.parent;
    options.data_type = (enum viommu_host_data)9;
    assert_int_equal(viommu_host_hwpt_alloc(rig.host, &options, &id, NULL), -EOPNOTSUPP);
    options.data_type = VIOMMU_HOST_DATA_VTD_S1;
    options.data_length = 20;
    assert_int_equal(viommu_host_hwpt_alloc(rig.host, &options, &id, NULL), -EINVAL);
    /* A nested one is nobody's parent. */
    assert_int_equal(rig_nest(&rig, 0, 0x1000, 48), 0);
    options.parent_id = rig.nested;
    options.data_length = sizeof(data);
    assert_int_equal(viommu_host_hwpt_alloc(rig.host, &options, &id, NULL), -EINVAL);
    rig_destroy(&rig);
}

/* A longer struct of a newer caller: fine while nothing in it is unknown. */
static void test_longer_data(void **state)
{
    struct {
        struct viommu_host_vtd_s1 known;
        uint64_t more;
    } data = {{.addr_width = 48}, 0};
    struct viommu_host_hwpt_options options = {.size = sizeof(options),
                                               .data_type = VIOMMU_HOST_DATA_VTD_S1,
                                               .data = &data,
                                               .data_length = sizeof(data)};
    struct rig rig;
    uint32_t id;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT);
    options.device_id = rig.device_id;
    options.parent_id = rig.parent;
    assert_int_equal(viommu_host_hwpt_alloc(rig.host, &options, &rig.nested, NULL), 0);
    data.more = 1;
    assert_int_equal(viommu_host_hwpt_alloc(rig.host, &options, &id, NULL), -E2BIG);
    rig_destroy(&rig);
}

static void test_first_stage_is_checked_at_attach(void **state)
{
    const struct {
        const char *profile;
        uint64_t flags;
        uint64_t top;
        uint32_t width;
        int ret;
    } cases[] = {
        {"granite-rapids", 0, 0x1000, 48, 0},
        {"granite-rapids", 0, 0x1000, 57, 0},
        {"no-5-level", 0, 0x1000, 57, -EINVAL},
        {"granite-rapids", 0, 0x1000, 39, -EINVAL},
        {"granite-rapids", 0, 0x1001, 48, -EINVAL},
        {"granite-rapids", 0, UINT64_C(1) << 52, 48, -EINVAL},
        {"granite-rapids", VIOMMU_HOST_VTD_S1_SRE, 0x1000, 48, 0},
        {"granite-rapids", VIOMMU_HOST_VTD_S1_EAFE, 0x1000, 48, 0},
        {"sapphire-rapids", VIOMMU_HOST_VTD_S1_SRE, 0x1000, 48, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_create(&rig, cases[i].profile, VIOMMU_SOFT_CACHE_HOARD);
        rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT);
        assert_int_equal(rig_nest(&rig, cases[i].flags, cases[i].top, cases[i].width),
                         cases[i].ret);
        rig_destroy(&rig);
    }
}

/* SRE and EAFE on a host without them; the refused attach leaves the old one in place. */
static void test_first_stage_flags_missing(void **state)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct rig rig;

    (void)state;
    rig_create(&rig, "granite-rapids", VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device_id, &info, NULL), 0);
    rig_destroy(&rig);
    info.registers[1] &= ~(UINT64_C(1) << 31 | UINT64_C(1) << 34);
    options.custom = &info;
    memset(&rig, 0, sizeof(rig));
    assert_int_equal(viommu_soft_create(&rig.host, &options, NULL), 0);
    assert_int_equal(viommu_soft_device_add(rig.host, "d", 0, &rig.device, NULL), 0);
    assert_int_equal(viommu_host_bind(rig.host, "d", &rig.device_id, NULL), 0);
    assert_int_equal(viommu_host_ioas_alloc(rig.host, &rig.ioas, NULL), 0);
    rig.memory = unit_pages(RIG_PAGES);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT);
    assert_int_equal(rig_nest(&rig, VIOMMU_HOST_VTD_S1_SRE, 0x1000, 48), -EINVAL);
    assert_int_equal(rig_nest(&rig, VIOMMU_HOST_VTD_S1_EAFE, 0x1000, 48), -EINVAL);
    assert_int_equal(rig_census(&rig).attachments, 1);
    assert_int_equal(rig_write(&rig, 0x1000, 1), VIOMMU_DMA_OK);
    rig_destroy(&rig);
}

static void test_busy(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.ioas, &rig.error), -EBUSY);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.parent, &rig.error), -EBUSY);
    assert_int_equal(rig_nest(&rig, 0, 0x1000, 48), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.nested, &rig.error), -EBUSY);
    /* Nobody is attached to the parent now, but the nested one stands on it. */
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.parent, &rig.error), -EBUSY);
    assert_non_null(strstr(rig.error.message, "nested"));
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 3, rig.nested, &rig.error), 0);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, NONE, &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.nested, &rig.error), -EBUSY);
    assert_int_equal(viommu_host_destroy_object(rig.host, 4711, &rig.error), -ENOENT);
    rig_destroy(&rig);
}

static void test_attach_errors(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, "narrow-pasid", VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, VIOMMU_HOST_HWPT_PASID);
    const struct {
        uint32_t device;
        uint32_t pasid;
        uint32_t hwpt;
        int ret;
    } cases[] = {
        {4711, NONE, rig.parent, -ENOENT},         {rig.device_id, NONE, 4711, -ENOENT},
        {rig.device_id, NONE, rig.ioas, -ENOENT},  {rig.device_id, 1 << 20, rig.parent, -EINVAL},
        {rig.device_id, 256, rig.parent, -EINVAL}, /* 8 bits */
        {rig.device_id, 0, rig.parent, -EINVAL},   {rig.device_id, 255, rig.parent, 0},
        {rig.device_id, 255, rig.parent, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(viommu_host_attach(rig.host, cases[i].device, cases[i].pasid,
                                            cases[i].hwpt, &rig.error),
                         cases[i].ret);
    assert_int_equal(rig_census(&rig).attachments, 2);
    assert_int_equal(viommu_host_detach(rig.host, 4711, NONE, &rig.error), -ENOENT);
    rig_destroy(&rig);
}

/* Once PASIDs are in use, every page table of the device is of that kind. */
static void test_pasid_flag(void **state)
{
    struct rig rig;
    uint32_t plain, with;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, 0);
    plain = rig.parent;
    assert_int_equal(hwpt_alloc(&rig, rig.device_id, rig.ioas, VIOMMU_HOST_HWPT_PASID, &with), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 1, plain, &rig.error), -EINVAL);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 1, with, &rig.error), -EINVAL);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, with, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 1, with, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, plain, &rig.error), -EINVAL);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 1, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, plain, &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, with, &rig.error), 0);
    rig_destroy(&rig);

    rig_create(&rig, "no-pasid", VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, VIOMMU_HOST_HWPT_PASID);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 1, rig.parent, &rig.error),
                     -EINVAL);
    rig_destroy(&rig);
}

/* Two devices behind one IOMMU share a page table; one behind another IOMMU cannot. */
static void test_two_iommus(void **state)
{
    struct viommu_host_vtd_s1 data = {.addr_width = 48};
    struct viommu_soft_device *same, *other;
    uint32_t same_id, other_id, hwpt;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT);
    assert_int_equal(viommu_soft_device_add(rig.host, "same", 0, &same, NULL), 0);
    assert_int_equal(viommu_soft_device_add(rig.host, "other", 1, &other, NULL), 0);
    assert_int_equal(viommu_host_bind(rig.host, "same", &same_id, NULL), 0);
    assert_int_equal(viommu_host_bind(rig.host, "other", &other_id, NULL), 0);
    assert_int_equal(viommu_host_attach(rig.host, same_id, NONE, rig.parent, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, other_id, NONE, rig.parent, &rig.error), -EINVAL);
    assert_non_null(strstr(rig.error.message, "IOMMU 1"));
    assert_int_equal(hwpt_alloc(&rig, other_id, rig.ioas, VIOMMU_HOST_HWPT_NEST_PARENT, &hwpt), 0);
    assert_int_equal(viommu_host_attach(rig.host, other_id, NONE, hwpt, &rig.error), 0);
    assert_int_equal(rig_census(&rig).attachments, 3);
    uint32_t mine = rig.device_id;

    rig.device_id = other_id;
    assert_int_equal(rig_nested_alloc(&rig, &data, 0, &rig.nested), -EINVAL);
    rig.device_id = mine;
    /* Mapped later, it is in both. */
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 1 << 30, rig.memory, PAGE, RWMAP, NULL), 0);
    struct rig view = {.device = other};
    uint64_t value;

    assert_int_equal(rig_read(&view, 1 << 30, &value), VIOMMU_DMA_OK);
    viommu_host_unbind(rig.host, same_id);
    viommu_host_unbind(rig.host, other_id);
    assert_int_equal(viommu_host_destroy_object(rig.host, hwpt, NULL), 0);
    viommu_soft_device_remove(same);
    viommu_soft_device_remove(other);
    rig_destroy(&rig);
}

struct heard {
    struct viommu_host_fault fault;
    int count;
};

static void hear(void *opaque, const struct viommu_host_fault *fault)
{
    struct heard *heard = opaque;

    heard->fault = *fault;
    heard->count++;
}

static void test_fault_handler(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    struct viommu_host_device *device, *unknown;
    struct heard heard = {0};
    char buffer[4096] = {0};
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_parent(&rig, 0);
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 0x1000, rig.memory, PAGE, RWMAP, NULL), 0);
    assert_int_equal(
        host_device_create(&device, rig.host, rig.device_id, rig.ioas, rig.parent, false, NULL), 0);
    assert_int_equal(host_device_create(&unknown, rig.host, 4711, 0, 0, false, NULL), 0);
    assert_int_equal(viommu_host_device_set_fault_handler(unknown, hear, &heard, &rig.error),
                     -ENOENT);
    assert_int_equal(viommu_host_device_set_fault_handler(device, hear, &heard, &rig.error), 0);
    request.address = 0x1800;
    request.length = 4096;
    assert_int_equal(viommu_soft_device_write(rig.device, &request, buffer, &result), -EACCES);
    assert_int_equal(result.length, 0x800);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.fault.address, 0x2000);
    assert_int_equal(heard.fault.pasid, NONE);
    assert_int_equal(heard.fault.access, VIOMMU_DMA_WRITE);
    assert_int_equal(heard.fault.status, VIOMMU_DMA_NOT_PRESENT);
    assert_int_equal(rig_write(&rig, 0x1000, 1), VIOMMU_DMA_OK);
    assert_int_equal(heard.count, 1);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, NONE, NULL), 0);
    assert_int_equal(rig_write(&rig, 0x1000, 1), VIOMMU_DMA_BLOCKED);
    assert_int_equal(heard.count, 2);
    assert_int_equal(viommu_host_device_set_fault_handler(device, NULL, NULL, &rig.error), 0);
    assert_int_equal(rig_write(&rig, 0x1000, 1), VIOMMU_DMA_BLOCKED);
    assert_int_equal(heard.count, 2);
    assert_int_equal(rig_census(&rig).dma_requests, 1);
    assert_int_equal(rig_census(&rig).dma_faults, 3);
    host_device_destroy(device);
    host_device_destroy(unknown);
    rig_destroy(&rig);
}

/* A host is destroyed with everything in use: LeakSanitizer says whether all of it was freed. */
static void test_destroy_in_use(void **state)
{
    struct viommu_soft_device *pulled;
    uint64_t value;
    struct rig rig;
    uint32_t id;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_map(&rig, RWMAP);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID);
    rig_table(&rig);
    assert_int_equal(rig_nest(&rig, 0, PML4, 48), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 7, rig.nested, NULL), 0);
    assert_int_equal(rig_read(&rig, IOVA, &value), VIOMMU_DMA_OK);
    assert_int_equal(viommu_soft_device_add(rig.host, "pulled", 0, &pulled, NULL), 0);
    assert_int_equal(viommu_host_bind(rig.host, "pulled", &id, NULL), 0);
    viommu_soft_device_remove(pulled);
    viommu_host_destroy(rig.host);
    free(rig.memory);
}

/* A census of an older, shorter struct, and of a host that is not simulated. */
static void test_census_size(void **state)
{
    struct viommu_soft_census census;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    memset(&census, 0xff, sizeof(census));
    census.size = offsetof(struct viommu_soft_census, attachments);
    viommu_soft_get_census(rig.host, &census);
    assert_int_equal(census.bound_devices, 1);
    assert_int_equal(census.attachments, UINT64_MAX);
    viommu_soft_get_census(NULL, &census);
    assert_int_equal(census.bound_devices, 0);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_errors),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_surprise_removal),
        cmocka_unit_test(test_hwpt_errors),
        cmocka_unit_test(test_longer_data),
        cmocka_unit_test(test_first_stage_is_checked_at_attach),
        cmocka_unit_test(test_first_stage_flags_missing),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_attach_errors),
        cmocka_unit_test(test_pasid_flag),
        cmocka_unit_test(test_two_iommus),
        cmocka_unit_test(test_fault_handler),
        cmocka_unit_test(test_destroy_in_use),
        cmocka_unit_test(test_census_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
