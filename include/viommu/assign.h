/* SPDX-License-Identifier: MIT */
/**
 * @file assign.h
 * @brief Giving a host device to a guest: the attach sequence, and its exact undoing.
 *
 * One struct viommu_assign stands for what one guest uses of one host. Devices that can share an
 * IOAS and a HWPT do. Guest memory, also what is hot-plugged later, is mapped for them at its GPA.
 * Attach and detach are called by one thread at a time; DMA and the guest go on meanwhile.
 */
#ifndef VIOMMU_ASSIGN_H
#define VIOMMU_ASSIGN_H

#include <viommu/host.h>
#include <viommu/memory.h>
#include <viommu/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_assign;          /**< the assigned devices of one guest on one host */
struct viommu_assigned_device; /**< one of them */

/**
 * @param host, memory  borrowed; must outlive the object
 * @return 0, -EINVAL, -ENOMEM
 */
VIOMMU_EXPORT int viommu_assign_create(struct viommu_assign **out, struct viommu_host *host,
                                       struct viommu_memory *memory, const struct viommu_log *log,
                                       struct viommu_error *error);

/** Detaches what is still attached. NULL is allowed. */
VIOMMU_EXPORT void viommu_assign_destroy(struct viommu_assign *assign);

/**
 * Attach host device `name` as function `device` of the guest, in this order: bind; ask
 * viommu_pci_device_get_viommu_cap(); find or allocate IOAS and HWPT (a nesting parent with
 * VIOMMU_CAP_HW_NESTED); attach; create and realize the host IOMMU device;
 * viommu_pci_device_set_iommu_device(). When a step fails, those before it are undone in reverse
 * and everything is as it was.
 * @param device  borrowed; must stay until the detach
 * @return 0, the refusal of the host or of the vIOMMU, -ENOMEM
 */
VIOMMU_EXPORT int viommu_assign_attach(struct viommu_assign *assign,
                                       struct viommu_pci_device *device, const char *name,
                                       struct viommu_assigned_device **out,
                                       struct viommu_error *error);

/**
 * The exact reverse. Cannot fail: a host call that does is logged, and the device is left blocked.
 * When it returns, the device does no DMA to the guest's memory.
 */
VIOMMU_EXPORT void viommu_assign_detach(struct viommu_assigned_device *device);

/** The host IOMMU device, for inspection. Borrowed, valid until the detach. */
VIOMMU_EXPORT struct viommu_host_device *
viommu_assigned_device_host_device(const struct viommu_assigned_device *device);

#ifdef __cplusplus
}
#endif
#endif
