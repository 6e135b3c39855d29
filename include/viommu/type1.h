/* SPDX-License-Identifier: MIT */
/**
 * @file type1.h
 * @brief The host's real IOMMU by way of VFIO containers and groups, for kernels without iommufd.
 *
 * Any Linux from 6.2 on with CONFIG_VFIO_GROUP and CONFIG_VFIO_IOMMU_TYPE1, such as Debian's. What
 * a guest's IOMMU does for an assigned device is mirrored (shadowed): there are no nested tables,
 * no PASIDs, no page requests, and a call for them is -EOPNOTSUPP.
 *
 * viommu_host_bind() takes a PCI address ("0000:01:00.0", "01:00.0"). Each IOMMU group is in a
 * container of its own, so that memory that two groups map counts twice against the limit on locked
 * memory. To attach a device is to replace what its container maps: it is blocked meanwhile, all
 * devices of its group go along, and when the new mappings are refused the old ones are made again.
 */
#ifndef VIOMMU_TYPE1_H
#define VIOMMU_TYPE1_H

#include <viommu/host.h>
#include <viommu/vfio.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Options. Begin with VIOMMU_TYPE1_OPTIONS_INIT. */
struct viommu_type1_options {
    size_t size;
    struct viommu_log log;
    struct viommu_vfio_files files; /**< zeros: nobody is told of them */
};
#define VIOMMU_TYPE1_OPTIONS_INIT                                                                  \
    {                                                                                              \
        sizeof(struct viommu_type1_options), {0, 0, VIOMMU_LOG_NONE},                              \
        {                                                                                          \
            0, 0, 0                                                                                \
        }                                                                                          \
    }

/**
 * Create a host on VFIO containers. End it with viommu_host_destroy().
 * @param options  NULL: the defaults; copied
 * @return 0, -ENOENT (this kernel has no VFIO containers), -EACCES, -EOPNOTSUPP (they are not of
 *         type 1), -EINVAL (no size), -E2BIG (export.h), -ENOMEM, or another errno of open(2)
 */
VIOMMU_EXPORT int viommu_type1_create(struct viommu_host **out,
                                      const struct viommu_type1_options *options,
                                      struct viommu_error *error);

/**
 * The descriptor of a bound device: for its regions, interrupts and reset (linux/vfio.h). Borrowed,
 * valid until the device is unbound. Any thread.
 * @return a descriptor; -ENOENT (no such device), -EINVAL (the host is another backend's)
 */
VIOMMU_EXPORT int viommu_type1_device_descriptor(struct viommu_host *host, uint32_t device_id,
                                                 struct viommu_error *error);

/**
 * The descriptor of an IOMMU group: for what VFIO asks one for, such as VFIO_DEVICE_PCI_HOT_RESET.
 * The host's, borrowed: it is valid until the last device of the group is unbound, and nobody else
 * closes it. Any thread, but not from struct viommu_vfio_files.
 * @param group  its number, as in /dev/vfio/N and in struct vfio_pci_dependent_device
 * @return a descriptor; -ENOENT (no device of this group is bound here), -EINVAL (the host is
 *         another backend's)
 */
VIOMMU_EXPORT int viommu_type1_group_descriptor(struct viommu_host *host, uint32_t group,
                                                struct viommu_error *error);

#ifdef __cplusplus
}
#endif
#endif
