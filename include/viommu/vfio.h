/* SPDX-License-Identifier: MIT */
/**
 * @file vfio.h
 * @brief What the hosts on VFIO (iommufd.h, type1.h) have in common.
 */
#ifndef VIOMMU_VFIO_H
#define VIOMMU_VFIO_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * News of the files by which VFIO gives devices, for who must tell others of them: of iommufd the
 * character device of each device, of type1 each IOMMU group. KVM is one (KVM_DEV_VFIO_FILE_ADD,
 * KVM_DEV_VFIO_FILE_DEL), and wants to know before a device is opened, for some drivers need its
 * virtual machine then; and it holds the file, so that what is not told of the end keeps the
 * device.
 *
 * Both are called in the thread of a viommu_host_bind(), _unbind() or _destroy(), one at a time,
 * and make no calls on this host. A file that is opened is closed once, before its descriptor is.
 */
struct viommu_vfio_files {
    void *opaque;
    /** NULL: nobody is told. The descriptor is borrowed, and open until `closing` returns. */
    void (*opened)(void *opaque, int descriptor);
    void (*closing)(void *opaque, int descriptor); /**< NULL, too */
};

#ifdef __cplusplus
}
#endif
#endif
