/* SPDX-License-Identifier: MIT */
/* A host on the fake kernel, with a device bound and an IOAS. */
#ifndef IOMMUFD_RIG_H
#define IOMMUFD_RIG_H

#include "fake-kernel.h"

#define PAGE  UINT64_C(4096)
#define RWMAP (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)

struct iommufd_rig {
    struct fake_kernel kernel;
    struct viommu_host *host;
    struct viommu_error error;
    uint32_t device;
    uint32_t ioas;
    uint32_t parent; /* nesting, PASIDs */
    uint32_t nested;
};

/* Inline, so that a test that needs only some of it has only that. */

static inline void rig_host(struct iommufd_rig *rig, enum fake_age age)
{
    *rig = (struct iommufd_rig){.device = 0};
    fake_boot(&rig->kernel, age);
    assert_int_equal(
        iommufd_create(&rig->host, &rig->kernel.sys, rig->kernel.root, NULL, &rig->error), 0);
}

static inline int rig_hwpt(struct iommufd_rig *rig, uint32_t parent, uint32_t flags, uint32_t *id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options), .device_id = rig->device, .parent_id = parent, .flags = flags};

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

static inline int rig_nest(struct iommufd_rig *rig, uint32_t flags, uint32_t queue, uint32_t *id)
{
    const struct viommu_host_vtd_s1 data = {.pgtbl_addr = 0x1000, .addr_width = 48};
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = rig->device,
        .parent_id = rig->parent,
        .flags = flags,
        .data_type = VIOMMU_HOST_DATA_VTD_S1,
        .data = &data,
        .data_length = sizeof(data),
        .fault_queue_id = queue,
    };

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

static inline void rig_bind(struct iommufd_rig *rig)
{
    assert_int_equal(viommu_host_bind(rig->host, "0000:01:00.0", &rig->device, &rig->error), 0);
    assert_int_equal(viommu_host_ioas_alloc(rig->host, &rig->ioas, &rig->error), 0);
}

static inline void rig_parent(struct iommufd_rig *rig)
{
    assert_int_equal(rig_hwpt(rig, rig->ioas, VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID,
                              &rig->parent),
                     0);
    assert_int_equal(
        viommu_host_attach(rig->host, rig->device, VIOMMU_PASID_NONE, rig->parent, &rig->error), 0);
}

/* The end of the host takes everything with it. */
static inline void rig_end(struct iommufd_rig *rig)
{
    static const struct fake_census nothing;

    viommu_host_destroy(rig->host);
    assert_census(&rig->kernel, &nothing);
    fake_shutdown(&rig->kernel);
}

#define assert_says(rig, words) assert_non_null(strstr((rig)->error.message, words))

#endif
