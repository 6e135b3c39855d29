/* SPDX-License-Identifier: MIT */
/* Host objects as the rooms assign and model use them. */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include <viommu/host.h>

struct viommu_host {
    const struct viommu_host_ops *ops;
    void *opaque;
    struct viommu_log log;
    viommu_host_observer_fn *observer;
    void *observer_opaque;
    struct viommu_host_stats stats; /* counted with relaxed atomics */
};

/*
 * The host IOMMU device object. Create describes a device that is bound and attached; realize reads
 * hw_info. Nothing is attached or detached by create and destroy.
 */
int host_device_create(struct viommu_host_device **out, struct viommu_host *host,
                       uint32_t device_id, uint32_t ioas_id, uint32_t hwpt_id, bool nest_parent,
                       struct viommu_error *error);
int host_device_realize(struct viommu_host_device *device, struct viommu_error *error);
void host_device_destroy(struct viommu_host_device *device);

#endif
