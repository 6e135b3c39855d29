/* SPDX-License-Identifier: MIT */
/*
 * --host: where devices are assigned from.
 */
#ifndef VMM_HOSTS_H
#define VMM_HOSTS_H

#include <stdint.h>
#include <viommu/error.h>

struct viommu_log;
struct vmm;

/* Make vm->host and vm->assign of "KIND,key=value,..."; NULL makes none. */
int vmm_host_create(struct vmm *vm, const char *text, const struct viommu_log *log,
                    struct viommu_error *err);

/* After all devices are gone. */
void vmm_host_destroy(struct vmm *vm);

/* An open VFIO device of the user's, that is bound under this name. */
int vmm_host_pass_device(struct vmm *vm, const char *name, int fd, struct viommu_error *err);

/* The VFIO descriptor of a bound device, borrowed. -EINVAL: the host has simulated ones alone. */
int vmm_host_device_descriptor(struct vmm *vm, uint32_t device_id, struct viommu_error *err);

/* That of an IOMMU group, borrowed. -ENOENT: nothing of it is bound. -EINVAL: the host has none. */
int vmm_host_group_descriptor(struct vmm *vm, uint32_t group, struct viommu_error *err);

/* --stats. */
void vmm_host_print_stats(struct vmm *vm);

#endif
