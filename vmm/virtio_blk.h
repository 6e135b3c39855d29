/* SPDX-License-Identifier: MIT */
/* A virtio block device over a file or a block device of the host. */
#ifndef VMM_VIRTIO_BLK_H
#define VMM_VIRTIO_BLK_H

#include <viommu/error.h>

struct vmm;

#define VMM_VIRTIO_BLK_ARGUMENTS                                                                   \
    "path=FILE,readonly=on|off,serial=TEXT,num-queues=N,iommu=on|off,segment=N"

/* --device virtio-blk,path=FILE[,...]; see struct vmm_device_kind. */
int vmm_virtio_blk_create(struct vmm *vm, const char *arguments, struct viommu_error *err);
int vmm_virtio_blk_check(const char *arguments, struct viommu_error *err);

#endif
