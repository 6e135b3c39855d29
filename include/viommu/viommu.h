/* SPDX-License-Identifier: MIT */
/**
 * @file viommu.h
 * @brief What every model has: its end, reset, MMIO, the buses it protects, statistics.
 *
 * A vIOMMU is created by its model's function (viommu_vtd_create()). MMIO may come from several
 * vCPU threads at once. The library owns no threads: an invalidation queue is drained, host calls
 * included, in the thread whose register write started it, and at most one queue's worth for one
 * write.
 */
#ifndef VIOMMU_VIOMMU_H
#define VIOMMU_VIOMMU_H

#include <viommu/error.h>
#include <viommu/log.h>
#include <viommu/pci.h>
#include <viommu/stats.h>
#include <viommu/version.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One virtual IOMMU, of any model. Opaque. */
struct viommu;

/**
 * Destroy it. Its buses and functions must have been released (viommu_pci_bus_set_iommu() and
 * viommu_pci_device_set_iommu() with ops NULL), its devices be quiet and their mappings ended, and
 * no other thread be in a call on it or on its address spaces. NULL is allowed.
 */
VIOMMU_EXPORT void viommu_destroy(struct viommu *viommu);

/**
 * As at power-on. Translation is off afterwards; assigned devices are attached to the GPA table, as
 * a machine whose firmware leaves the IOMMU off. Waits for DMA under way and for mappings that are
 * held, whose callbacks run here. Any thread, but not from within a callback of this library; calls
 * that change the unit are serialized.
 */
VIOMMU_EXPORT void viommu_reset(struct viommu *viommu);

/** Bytes of MMIO that the model decodes, from its base. Any thread; never changes. */
VIOMMU_EXPORT uint64_t viommu_mmio_size(const struct viommu *viommu);

/**
 * A guest's access to the registers. size is 1, 2, 4 or 8. What the specification does not allow is
 * ignored, and reads as 0. Any thread.
 */
VIOMMU_EXPORT uint64_t viommu_mmio_read(struct viommu *viommu, uint64_t offset, unsigned int size);
VIOMMU_EXPORT void viommu_mmio_write(struct viommu *viommu, uint64_t offset, unsigned int size,
                                     uint64_t value);

/**
 * Protect a bus and all below it: viommu_pci_bus_set_iommu() with the model's own ops. Released by
 * that call with ops NULL.
 * @return 0, -EINVAL (the bus is on another segment than the unit), -EBUSY (it has an IOMMU
 * already, or a function below has a host device). Any thread.
 */
VIOMMU_EXPORT int viommu_protect_bus(struct viommu *viommu, struct viommu_pci_bus *bus,
                                     struct viommu_error *error);

/**
 * Protect one function, or a bridge with all behind it, of a bus that belongs to another unit or
 * to none: viommu_pci_device_set_iommu() with the model's own ops, and released by that.
 * @return 0, -EINVAL (the function is on another segment than the unit, or on a conventional bus),
 * -EBUSY (it has an IOMMU of its own already, or it or a function behind it has a host device). Any
 * thread.
 */
VIOMMU_EXPORT int viommu_protect_device(struct viommu *viommu, struct viommu_pci_device *device,
                                        struct viommu_error *error);

/**
 * A descriptor that poll() finds readable while assigned devices have page requests for the guest:
 * call viommu_forward_page_requests() then. -1: there will be none, as the unit takes no page
 * requests. Borrowed; it stays the same until the unit is destroyed. Any thread.
 */
VIOMMU_EXPORT int viommu_page_request_descriptor(const struct viommu *viommu);

/**
 * Put page requests of assigned devices into the guest's queue; its answers go back as it gives
 * them. Does not wait for requests. Any thread, but not from within a callback of this library.
 * @param limit  at most so many
 * @return how many there were
 */
VIOMMU_EXPORT unsigned int viommu_forward_page_requests(struct viommu *viommu, unsigned int limit);

/** The VIOMMU_CAP_* bits that the user configured. Any thread; never changes. */
VIOMMU_EXPORT uint64_t viommu_get_cap(const struct viommu *viommu);

/**
 * Read the counters. Any thread; each is exact, but they are not of one moment.
 * @param stats  size set by the caller; nothing is written beyond it, and counters that this
 *               library does not have become 0
 */
VIOMMU_EXPORT void viommu_get_stats(const struct viommu *viommu, struct viommu_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
