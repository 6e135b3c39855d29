/* SPDX-License-Identifier: MIT */
/*
 * KVM's device of kind VFIO: what KVM knows of the files by which devices of the host are given to
 * the guest. It makes KVM heed the guest's cache flushes and memory types when DMA passes caches
 * by, lets interrupts be posted, and gives drivers the virtual machine that they ask for.
 *
 * Source: Linux, Documentation/virt/kvm/devices/vfio.rst.
 */
#ifndef VMM_KVM_VFIO_H
#define VMM_KVM_VFIO_H

#include <viommu/error.h>

struct vmm;
struct vmm_kvm_vfio;
struct vmm_vfio_kernel;

/* Make vm->kvm_vfio. KVM is asked for its device when there is a file to tell it of. */
int vmm_kvm_vfio_create(struct vmm *vm, const struct vmm_vfio_kernel *kernel,
                        struct viommu_error *err);
void vmm_kvm_vfio_destroy(struct vmm *vm);

/* For struct viommu_vfio_files; `opaque` is vm->kvm_vfio. */
void vmm_kvm_vfio_opened(void *opaque, int descriptor);
void vmm_kvm_vfio_closing(void *opaque, int descriptor);

/*
 * The virtual machine ends, and another one begins, which is told of all that is open. Nothing to
 * do without vm->kvm_vfio.
 */
void vmm_kvm_vfio_leave(struct vmm *vm);
void vmm_kvm_vfio_join(struct vmm *vm);

#endif
