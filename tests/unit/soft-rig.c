/* SPDX-License-Identifier: MIT */
#include "soft-rig.h"

void rig_create(struct rig *rig, const char *profile, enum viommu_soft_cache cache)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;

    options.profile = profile;
    options.cache = cache;
    rig_create_with(rig, &options);
}

void rig_create_with(struct rig *rig, const struct viommu_soft_options *options)
{
    *rig = (struct rig){0};
    assert_int_equal(viommu_soft_create(&rig->host, options, &rig->error), 0);
    assert_int_equal(
        viommu_soft_device_add(rig->host, "0000:3a:00.0", 0, &rig->device, &rig->error), 0);
    assert_int_equal(viommu_host_bind(rig->host, "0000:3a:00.0", &rig->device_id, &rig->error), 0);
    assert_int_equal(viommu_host_ioas_alloc(rig->host, &rig->ioas, &rig->error), 0);
    rig->memory = unit_pages(RIG_PAGES);
}

struct viommu_soft_census rig_census(struct rig *rig)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    viommu_soft_get_census(rig->host, &census);
    return census;
}

void rig_destroy(struct rig *rig)
{
    struct viommu_soft_census census;

    viommu_host_unbind(rig->host, rig->device_id);
    if (rig->nested)
        assert_int_equal(viommu_host_destroy_object(rig->host, rig->nested, &rig->error), 0);
    if (rig->parent)
        assert_int_equal(viommu_host_destroy_object(rig->host, rig->parent, &rig->error), 0);
    assert_int_equal(viommu_host_destroy_object(rig->host, rig->ioas, &rig->error), 0);
    census = rig_census(rig);
    assert_int_equal(census.bound_devices, 0);
    assert_int_equal(census.attachments, 0);
    assert_int_equal(census.ioas, 0);
    assert_int_equal(census.paging_hwpts, 0);
    assert_int_equal(census.nested_hwpts, 0);
    assert_int_equal(census.mapped_bytes, 0);
    assert_int_equal(census.table_pages, 0);
    assert_int_equal(census.cache_entries, 0);
    viommu_soft_device_remove(rig->device);
    viommu_host_destroy(rig->host);
    free(rig->memory);
}

char *rig_at(struct rig *rig, uint64_t gpa)
{
    return rig->memory + (gpa / PAGE * 7 % RIG_PAGES) * PAGE + gpa % PAGE;
}

void rig_map(struct rig *rig, uint32_t flags)
{
    for (uint64_t gpa = 0; gpa < RIG_PAGES * PAGE; gpa += PAGE)
        assert_int_equal(viommu_host_ioas_map(rig->host, rig->ioas, gpa, rig_at(rig, gpa), PAGE,
                                              flags, &rig->error),
                         0);
}

void rig_parent(struct rig *rig, uint32_t flags)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = rig->device_id,
        .parent_id = rig->ioas,
        .flags = flags,
    };

    assert_int_equal(viommu_host_hwpt_alloc(rig->host, &options, &rig->parent, &rig->error), 0);
    assert_int_equal(
        viommu_host_attach(rig->host, rig->device_id, VIOMMU_PASID_NONE, rig->parent, &rig->error),
        0);
}

void rig_entry(struct rig *rig, uint64_t table, unsigned int index, uint64_t value)
{
    *(uint64_t *)rig_at(rig, table + index * 8) = value;
}

uint64_t rig_entry_read(struct rig *rig, uint64_t table, unsigned int index)
{
    return *(uint64_t *)rig_at(rig, table + index * 8);
}

void rig_table(struct rig *rig)
{
    rig_entry(rig, PML5, 0, PML4 | ALL);
    rig_entry(rig, PML4, 1, PDPT | ALL);
    rig_entry(rig, PDPT, 2, PD | ALL);
    rig_entry(rig, PD, 3, PT | ALL);
    rig_entry(rig, PT, 4, DATA | ALL);
}

int rig_nested_alloc(struct rig *rig, const struct viommu_host_vtd_s1 *data, uint32_t flags,
                     uint32_t *id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = rig->device_id,
        .parent_id = rig->parent,
        .flags = flags,
        .data_type = VIOMMU_HOST_DATA_VTD_S1,
        .data = data,
        .data_length = sizeof(*data),
    };

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

int rig_nest(struct rig *rig, uint64_t flags, uint64_t top, uint32_t width)
{
    struct viommu_host_vtd_s1 data = {.flags = flags, .pgtbl_addr = top, .addr_width = width};
    uint32_t old = rig->nested;
    int ret;

    assert_int_equal(rig_nested_alloc(rig, &data, VIOMMU_HOST_HWPT_PASID, &rig->nested), 0);
    ret =
        viommu_host_attach(rig->host, rig->device_id, VIOMMU_PASID_NONE, rig->nested, &rig->error);
    if (old)
        assert_int_equal(viommu_host_destroy_object(rig->host, old, &rig->error), 0);
    return ret;
}

enum viommu_dma_status rig_read(struct rig *rig, uint64_t iova, uint64_t *value)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    int ret;

    request.address = iova;
    request.length = sizeof(*value);
    ret = viommu_soft_device_read(rig->device, &request, value, &result);
    assert_int_equal(ret == 0, result.status == VIOMMU_DMA_OK);
    return result.status;
}

enum viommu_dma_status rig_write(struct rig *rig, uint64_t iova, uint64_t value)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    int ret;

    request.address = iova;
    request.length = sizeof(value);
    ret = viommu_soft_device_write(rig->device, &request, &value, &result);
    assert_int_equal(ret == 0, result.status == VIOMMU_DMA_OK);
    return result.status;
}

enum viommu_dma_status rig_access(struct rig *rig, uint64_t iova, uint32_t pasid, uint8_t access,
                                  struct viommu_dma_result *result)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    uint64_t value = 0x1122334455667788;

    request.address = iova;
    request.length = sizeof(value);
    request.pasid = pasid;
    request.access = access;
    if (access & VIOMMU_DMA_WRITE)
        viommu_soft_device_write(rig->device, &request, &value, result);
    else
        viommu_soft_device_read(rig->device, &request, &value, result);
    return result->status;
}

int rig_invalidate(struct rig *rig, uint64_t addr, uint64_t npages, uint32_t flags)
{
    struct viommu_host_vtd_s1_invalidate entry = {.addr = addr, .npages = npages, .flags = flags};
    uint32_t count = 1;

    return viommu_host_invalidate(rig->host, rig->nested, VIOMMU_HOST_DATA_VTD_S1, &entry,
                                  sizeof(entry), &count, &rig->error);
}
