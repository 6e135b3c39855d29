/* SPDX-License-Identifier: MIT */
/* Host objects as the rooms assign and model use them. */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include <pthread.h>
#include <viommu/host.h>

struct viommu_host {
    const struct viommu_host_ops *ops; /* own_ops below */
    struct viommu_host_ops own_ops;    /* a copy, padded when an older embedder's was shorter */
    void *opaque;
    struct viommu_log log;
    viommu_host_observer_fn *observer;
    void *observer_opaque;
    struct viommu_host_stats stats; /* counted with relaxed atomics */
    pthread_mutex_t nested_lock;
    void *nested; /* tsearch() tree of the IDs of nested HWPTs, to count their end */
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

/*
 * The last resort when a device cannot be detached: unbind it, which blocks it for certain. Its ID
 * may be another's from then on, so every later call on the object is -ENODEV, and whoever bound it
 * asks before unbinding. Any thread.
 */
void host_device_unbind(struct viommu_host_device *device);
bool host_device_is_unbound(const struct viommu_host_device *device);

/*
 * Around each call to a backend. Begin counts it and asks the observer, which may refuse; `own` is
 * an error of the caller's for the backend to fill. End counts a failure, makes sure that there is
 * a sentence, and hands it to the embedder's error, which may be NULL.
 */
int host_call_begin(struct viommu_host *host, enum viommu_host_call call, struct viommu_error *own);
int host_call_end(struct viommu_host *host, enum viommu_host_call call, int ret,
                  struct viommu_error *own, struct viommu_error *error);

#endif
