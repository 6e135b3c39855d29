/* SPDX-License-Identifier: MIT */
/* Page tables: allocated, their caches invalidated, their dirty pages asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/iommufd/iommufd.h"

/* Most entries in a call: less than any kernel's limit, more than anybody has at a time. */
#define ENTRIES_MAX (UINT32_C(1) << 16)

static bool is_nested(const struct viommu_host_hwpt_options *options)
{
    return options->data_type != VIOMMU_HOST_DATA_NONE;
}

/* The kernel, the IOMMU's driver or the IOMMU itself cannot. */
static int say_unsupported(const struct viommu_host_hwpt_options *options,
                           struct viommu_error *error)
{
    if (is_nested(options))
        return error_set(error, -EOPNOTSUPP,
                         "A table of the guest (data type %d, flags 0x%x) cannot be nested for "
                         "device %u: that needs Linux 6.7, for page requests 6.11, and an IOMMU "
                         "and driver that nest (VT-d: intel_iommu=on,sm_on, ECAP.NEST)",
                         (int)options->data_type, options->flags, options->device_id);
    if (options->flags & VIOMMU_HOST_HWPT_NEST_PARENT)
        return error_set(error, -EOPNOTSUPP,
                         "The kernel makes no nesting parent for device %u (flags 0x%x): that "
                         "needs Linux 6.7, and an IOMMU in a mode that nests (VT-d: "
                         "intel_iommu=on,sm_on, ECAP.SMTS, NEST and SSTS); use hw-nested=off, or "
                         "another host",
                         options->device_id, options->flags);
    return error_set(error, -EOPNOTSUPP,
                     "The kernel or the IOMMU of device %u has no HWPT with flags 0x%x "
                     "(DIRTY_TRACKING 2 came with Linux 6.7, PASID 8 with 6.15)",
                     options->device_id, options->flags);
}

static int say_invalid(const struct viommu_host_hwpt_options *options, struct viommu_error *error)
{
    if (is_nested(options))
        return error_set(error, -EINVAL,
                         "The kernel nests no table on %u for device %u: that must be a nesting "
                         "parent of the same IOMMU, and the data of type %d its own size",
                         options->parent_id, options->device_id, (int)options->data_type);
    return error_set(error, -EINVAL,
                     "The kernel makes no HWPT on %u for device %u (flags 0x%x): that must be an "
                     "IOAS, without read-only memory for a nesting parent",
                     options->parent_id, options->device_id, options->flags);
}

static int alloc_failed(const struct viommu_host_hwpt_options *options, int ret,
                        struct viommu_error *error)
{
    switch (ret) {
    case -ENOTTY:
        return error_set(error, -EOPNOTSUPP,
                         "This kernel allocates no HWPTs: that needs Linux 6.6; use the host "
                         "type1, or a newer kernel");
    case -E2BIG:
    case -EOPNOTSUPP:
        return say_unsupported(options, error);
    case -EINVAL:
        return say_invalid(options, error);
    case -ENOENT:
        return error_set(error, ret, "There is no bound device %u to allocate a HWPT for",
                         options->device_id);
    case -EADDRINUSE:
        return error_set(error, ret,
                         "IOAS %u maps IOVAs that the IOMMU of device %u does not translate; make "
                         "the guest's memory end lower",
                         options->parent_id, options->device_id);
    default:
        return error_set(error, ret, "HWPT on %u for device %u: %s%s", options->parent_id,
                         options->device_id, strerror(-ret),
                         ret == -ENOMEM ? " (or more than the limit on locked memory, ulimit -l)"
                                        : "");
    }
}

/* The queue that a HWPT shall deliver to, with one more user. */
static int use_queue(struct iommufd_host *host, const struct viommu_host_hwpt_options *options,
                     struct iommufd_object *object, struct viommu_error *error)
{
    struct iommufd_object *queue;

    if (!(options->flags & VIOMMU_HOST_HWPT_FAULT_QUEUE))
        return 0;
    pthread_mutex_lock(&host->lock);
    queue = iommufd_object_find(host, options->fault_queue_id);
    if (queue && queue->type == IOMMUFD_FAULT_QUEUE) {
        object->faults = queue->faults;
        object->faults->users++;
    }
    pthread_mutex_unlock(&host->lock);
    if (object->faults)
        return 0;
    return error_set(error, -ENOENT, "There is no fault queue %u for a HWPT",
                     options->fault_queue_id);
}

static void object_drop(struct iommufd_host *host, struct iommufd_object *object)
{
    pthread_mutex_lock(&host->lock);
    if (object->faults)
        object->faults->users--;
    pthread_mutex_unlock(&host->lock);
    free(object);
}

int iommufd_hwpt_alloc(void *opaque, const struct viommu_host_hwpt_options *options,
                       uint32_t *hwpt_id, struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct uapi_hwpt_alloc alloc = {
        .size = sizeof(alloc),
        .flags = options->flags,
        .dev_id = options->device_id,
        .pt_id = options->parent_id,
        .data_type = (uint32_t)options->data_type,
        .data_len = (uint32_t)options->data_length,
        .data_uptr = (uintptr_t)options->data,
        .fault_id = options->flags & VIOMMU_HOST_HWPT_FAULT_QUEUE ? options->fault_queue_id : 0,
    };
    struct iommufd_object *object = iommufd_object_new(IOMMUFD_HWPT, error);
    int ret;

    if (!object)
        return -ENOMEM;
    ret = use_queue(host, options, object, error);
    if (!ret) {
        ret = iommufd_call(host, UAPI_HWPT_ALLOC, &alloc);
        ret = ret < 0 ? alloc_failed(options, ret, error) : 0;
    }
    if (ret) {
        object_drop(host, object);
        return ret;
    }
    iommufd_object_add(host, object, alloc.out_hwpt_id);
    *hwpt_id = alloc.out_hwpt_id;
    return 0;
}

/* NOLINTBEGIN(misc-redundant-expression) */
_Static_assert(VIOMMU_HOST_HWPT_NEST_PARENT == UAPI_HWPT_NEST_PARENT &&
                   VIOMMU_HOST_HWPT_DIRTY_TRACKING == UAPI_HWPT_DIRTY_TRACKING &&
                   VIOMMU_HOST_HWPT_FAULT_QUEUE == UAPI_HWPT_FAULT_ID_VALID &&
                   VIOMMU_HOST_HWPT_PASID == UAPI_HWPT_PASID &&
                   (int)VIOMMU_HOST_DATA_VTD_S1 == UAPI_HWPT_DATA_VTD_S1,
               "flags and data types go to the kernel as they are");
/* NOLINTEND(misc-redundant-expression) */

/* Invalidation */

static int invalidate_failed(uint32_t hwpt_id, uint32_t done, uint32_t asked, int ret,
                             struct viommu_error *error)
{
    if (ret == -ENOTTY)
        return error_set(error, -EOPNOTSUPP,
                         "This kernel invalidates no nested HWPT: that needs Linux 6.8");
    if (ret == -ENOENT)
        return error_set(error, ret, "There is no HWPT %u to invalidate", hwpt_id);
    return error_set(error, ret,
                     "HWPT %u: the kernel handled %u of %u invalidations, the next it refused: %s",
                     hwpt_id, done, asked, strerror(-ret));
}

/* One call; *count is what it handled, never more than was asked, whatever the kernel says. */
static int invalidate_some(struct iommufd_host *host, uint32_t hwpt_id, uint32_t type,
                           const void *entries, size_t entry_length, uint32_t *count)
{
    struct uapi_hwpt_invalidate cmd = {
        .size = sizeof(cmd),
        .hwpt_id = hwpt_id,
        .data_uptr = (uintptr_t)entries,
        .data_type = type,
        .entry_len = (uint32_t)entry_length,
        .entry_num = *count,
    };
    int ret = iommufd_call(host, UAPI_HWPT_INVALIDATE, &cmd);

    if (ret < 0 && cmd.entry_num >= *count)
        cmd.entry_num = 0; /* as it was given: nothing was said of what was handled */
    if (cmd.entry_num < *count)
        *count = cmd.entry_num;
    return ret < 0 ? ret : 0;
}

int iommufd_invalidate_entries(struct iommufd_host *host, uint32_t hwpt_id, uint32_t type,
                               const void *entries, size_t entry_length, uint32_t *count,
                               struct viommu_error *error)
{
    uint32_t asked = *count, done = 0;
    int ret;

    do {
        uint32_t some = asked - done < ENTRIES_MAX ? asked - done : ENTRIES_MAX;

        ret = invalidate_some(host, hwpt_id, type,
                              (const char *)entries + (size_t)done * entry_length, entry_length,
                              &some);
        if (!ret && !some && asked)
            ret = -EIO; /* a kernel that does nothing and says it went well */
        done += some;
    } while (!ret && done < asked);
    *count = done;
    return ret ? invalidate_failed(hwpt_id, done, asked, ret, error) : 0;
}

int iommufd_invalidate(void *opaque, uint32_t hwpt_id, enum viommu_host_data type,
                       const void *entries, size_t entry_length, uint32_t *count,
                       struct viommu_error *error)
{
    if (type == VIOMMU_HOST_DATA_VTD_S1)
        return iommufd_invalidate_entries(opaque, hwpt_id, UAPI_INVALIDATE_VTD_S1, entries,
                                          entry_length, count, error);
    *count = 0;
    return error_set(error, -EINVAL, "HWPT %u: invalidations of type %d are not known (VTD_S1: 1)",
                     hwpt_id, (int)type);
}

/* Dirty pages */

static int dirty_failed(uint32_t hwpt_id, int ret, struct viommu_error *error)
{
    if (ret == -EINVAL)
        return error_set(error, ret,
                         "Dirty pages of HWPT %u cannot be told: tracking was not begun, or the "
                         "page size is less than the IOMMU's",
                         hwpt_id);
    if (ret == -ENOTTY || ret == -EOPNOTSUPP)
        return error_set(error, -EOPNOTSUPP,
                         "HWPT %u does not note which pages are written: that needs Linux 6.7, and "
                         "the flag DIRTY_TRACKING when it was allocated",
                         hwpt_id);
    if (ret == -ENOENT)
        return error_set(error, ret, "There is no HWPT %u", hwpt_id);
    return error_set(error, ret, "Dirty pages of HWPT %u: %s", hwpt_id, strerror(-ret));
}

static int no_iommufd(struct viommu_error *error)
{
    return error_set(error, -EINVAL, "Dirty pages are those of a host of viommu_iommufd_create()");
}

int viommu_iommufd_set_dirty_tracking(struct viommu_host *handle, uint32_t hwpt_id, bool enable,
                                      struct viommu_error *error)
{
    struct iommufd_host *host = iommufd_host_of(handle);
    struct uapi_hwpt_set_dirty_tracking cmd = {
        .size = sizeof(cmd),
        .flags = enable ? UAPI_DIRTY_TRACKING_ENABLE : 0,
        .hwpt_id = hwpt_id,
    };
    int ret;

    if (!host)
        return no_iommufd(error);
    ret = iommufd_call(host, UAPI_HWPT_SET_DIRTY_TRACKING, &cmd);
    return ret < 0 ? dirty_failed(hwpt_id, ret, error) : 0;
}

int viommu_iommufd_get_dirty(struct viommu_host *handle, uint32_t hwpt_id, uint64_t iova,
                             uint64_t length, uint64_t page_size, uint64_t *bitmap, bool clear,
                             struct viommu_error *error)
{
    struct iommufd_host *host = iommufd_host_of(handle);
    struct uapi_hwpt_get_dirty_bitmap cmd = {
        .size = sizeof(cmd),
        .hwpt_id = hwpt_id,
        .flags = clear ? 0 : UAPI_DIRTY_NO_CLEAR,
        .iova = iova,
        .length = length,
        .page_size = page_size,
        .data = (uintptr_t)bitmap,
    };
    int ret;

    if (!host)
        return no_iommufd(error);
    if (page_size < 4096 || (page_size & (page_size - 1)) || !length ||
        !is_aligned(iova | length, page_size))
        return error_set(error, -EINVAL,
                         "Dirty pages of 0x%llx bytes from IOVA 0x%llx for 0x%llx bytes: a page is "
                         "a power of two from 4096 on, the others are multiples of it, the length "
                         "is not 0",
                         (unsigned long long)page_size, (unsigned long long)iova,
                         (unsigned long long)length);
    if (range_overflows(iova, length))
        return error_set(error, -EOVERFLOW, "Dirty pages from IOVA 0x%llx on go beyond 64 bits",
                         (unsigned long long)iova);
    ret = iommufd_call(host, UAPI_HWPT_GET_DIRTY_BITMAP, &cmd);
    return ret < 0 ? dirty_failed(hwpt_id, ret, error) : 0;
}
