/* SPDX-License-Identifier: MIT */
/**
 * @file iommufd.h
 * @brief The host's real IOMMU by way of Linux's iommufd and VFIO character devices.
 *
 * Linux 6.6 and later, with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV. What a kernel or an IOMMU
 * lacks is found out when the program runs: nesting came with 6.7, invalidations with 6.8, page
 * requests with 6.11, files with 6.13, PASIDs with 6.15. A call that needs what is not there
 * answers -EOPNOTSUPP with a sentence that says so.
 *
 * viommu_host_bind() takes a PCI address ("0000:01:00.0", "01:00.0"), the path of a VFIO device
 * ("/dev/vfio/devices/vfio0"), or a name given to viommu_iommufd_add_device().
 *
 * Unrecoverable faults of a device are not told by Linux: there is no fault handler. An unmap that
 * would cut a mapping fails as viommu_host_ioas_unmap() says, but the kernel may have unmapped
 * whole ones before it.
 */
#ifndef VIOMMU_IOMMUFD_H
#define VIOMMU_IOMMUFD_H

#include <viommu/host.h>
#include <viommu/vfio.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Options. Begin with VIOMMU_IOMMUFD_OPTIONS_INIT. */
struct viommu_iommufd_options {
    size_t size;
    const char *path; /**< NULL: "/dev/iommu" */
    int descriptor;   /**< an open /dev/iommu instead of a path, or -1. The host's from a successful
                           create on: it closes it, and destroys what it made there before */
    struct viommu_log log;
    struct viommu_vfio_files files; /**< zeros: nobody is told of them */
};
#define VIOMMU_IOMMUFD_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(struct viommu_iommufd_options), 0, -1, {0, 0, VIOMMU_LOG_NONE},                     \
        {                                                                                          \
            0, 0, 0                                                                                \
        }                                                                                          \
    }

/**
 * Create a host on the kernel's iommufd. End it with viommu_host_destroy().
 * @param options  NULL: the defaults; copied
 * @return 0, -ENOENT (this kernel has no iommufd), -EACCES, -EINVAL (the descriptor or path is no
 *         /dev/iommu; no size), -E2BIG (export.h), -ENOMEM, or another errno of open(2)
 */
VIOMMU_EXPORT int viommu_iommufd_create(struct viommu_host **out,
                                        const struct viommu_iommufd_options *options,
                                        struct viommu_error *error);

/**
 * Pass an open VFIO device in; viommu_host_bind() finds it by `name`, once. For programs that may
 * not open it themselves.
 * @param name        unique among those passed in and bound; copied
 * @param descriptor  of /dev/vfio/devices/vfioN, not bound yet. The host's from a successful call
 *                    on: it is closed when the device is unbound, or with the host
 * @return 0, -EEXIST, -EINVAL (the host is another backend's, no name, no descriptor), -ENOMEM. Any
 *         thread.
 */
VIOMMU_EXPORT int viommu_iommufd_add_device(struct viommu_host *host, const char *name,
                                            int descriptor, struct viommu_error *error);

/**
 * The descriptor of a bound device: for its regions, interrupts and reset (linux/vfio.h). Borrowed,
 * valid until the device is unbound. Any thread.
 * @return a descriptor; -ENOENT (no such device), -EINVAL (the host is another backend's)
 */
VIOMMU_EXPORT int viommu_iommufd_device_descriptor(struct viommu_host *host, uint32_t device_id,
                                                   struct viommu_error *error);

/**
 * Tell that [address, address + length) of this process is a shared mapping of a file (memfd) from
 * `offset` on. What lies wholly within is then mapped for devices by file, not by address, so that
 * pinned memory survives a change of process; where the kernel or the file does not allow it, by
 * address as before.
 * @param address, length, offset  multiples of 4096; length not 0
 * @param descriptor               borrowed; open while memory within is being mapped for devices
 * @return 0, -EINVAL (the host is another backend's, alignment, no descriptor), -EEXIST (overlaps
 *         another file's), -ENOMEM. Any thread.
 */
VIOMMU_EXPORT int viommu_iommufd_add_file(struct viommu_host *host, void *address, uint64_t length,
                                          int descriptor, uint64_t offset,
                                          struct viommu_error *error);

/** Forget it again; what is mapped stays mapped. Not known: nothing happens. Any thread. */
VIOMMU_EXPORT void viommu_iommufd_remove_file(struct viommu_host *host, void *address);

/**
 * Begin or end noting which pages devices write, in a HWPT allocated with
 * VIOMMU_HOST_HWPT_DIRTY_TRACKING. Beginning forgets what was noted before. Any thread.
 * @return 0, -EINVAL (the host is another backend's), -ENOENT (no such HWPT), -EOPNOTSUPP (the
 *         kernel, or this HWPT, does not track)
 */
VIOMMU_EXPORT int viommu_iommufd_set_dirty_tracking(struct viommu_host *host, uint32_t hwpt_id,
                                                    bool enable, struct viommu_error *error);

/**
 * Which pages of [iova, iova + length) were written since tracking began, or since they were asked
 * for with `clear`. Any thread.
 * @param page_size  bytes that a bit stands for: a power of two, at least 4096
 * @param bitmap     bit n of the 64-bit words: iova + n * page_size. Bits are set, never cleared:
 *                   begin with zeros
 * @return 0, -EINVAL (the host is another backend's, alignment), -ENOENT (no such HWPT),
 *         -EOPNOTSUPP, -EOVERFLOW
 */
VIOMMU_EXPORT int viommu_iommufd_get_dirty(struct viommu_host *host, uint32_t hwpt_id,
                                           uint64_t iova, uint64_t length, uint64_t page_size,
                                           uint64_t *bitmap, bool clear,
                                           struct viommu_error *error);

#ifdef __cplusplus
}
#endif
#endif
