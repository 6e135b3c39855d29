/* SPDX-License-Identifier: MIT */
/* Address spaces, and memory mapped into them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/iommufd/iommufd.h"
#include "host/map_errors.h"

#define PAGE_SIZE    4096
#define SHOWN_RANGES 16

int iommufd_ioas_alloc(void *opaque, uint32_t *ioas_id, struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct uapi_ioas_alloc alloc = {.size = sizeof(alloc)};
    struct iommufd_object *object = iommufd_object_new(IOMMUFD_IOAS, error);
    int ret;

    if (!object)
        return -ENOMEM;
    ret = iommufd_call(host, UAPI_IOAS_ALLOC, &alloc);
    if (ret < 0) {
        free(object);
        return error_set(error, ret, "The kernel allocates no IOAS: %s", strerror(-ret));
    }
    iommufd_object_add(host, object, alloc.out_ioas_id);
    *ioas_id = alloc.out_ioas_id;
    return 0;
}

static int read_ranges(struct iommufd_host *host, uint32_t ioas_id,
                       struct viommu_host_iova_range *ranges, uint32_t room, uint32_t *count)
{
    struct uapi_ioas_iova_ranges cmd = {
        .size = sizeof(cmd),
        .ioas_id = ioas_id,
        .num_iovas = room,
        .allowed_iovas = (uintptr_t)ranges,
    };
    int ret = iommufd_call(host, UAPI_IOAS_IOVA_RANGES, &cmd);

    *count = cmd.num_iovas;
    return ret < 0 ? ret : 0;
}

_Static_assert(sizeof(struct viommu_host_iova_range) == sizeof(struct uapi_iova_range),
               "the kernel writes ranges where the caller wants them");

int iommufd_ioas_iova_ranges(void *opaque, uint32_t ioas_id, struct viommu_host_iova_range *ranges,
                             size_t *count, struct viommu_error *error)
{
    size_t room = *count;
    uint32_t there = 0;
    int ret = read_ranges(opaque, ioas_id, ranges, room > UINT32_MAX ? UINT32_MAX : (uint32_t)room,
                          &there);

    if (ret == -EMSGSIZE) {
        *count = there;
        return error_set(error, ret, "IOAS %u has %u ranges of IOVAs, there is room for %zu",
                         ioas_id, there, room);
    }
    if (ret)
        return error_set(error, ret, "The IOVA ranges of IOAS %u cannot be read: %s", ioas_id,
                         strerror(-ret));
    *count = there;
    return 0;
}

/* Why a map failed; where one can map only matters when it is a question of that. */
static int map_failed(struct iommufd_host *host, const struct host_map *map, int ret,
                      struct viommu_error *error)
{
    struct viommu_host_iova_range ranges[SHOWN_RANGES];
    uint32_t count = 0;

    if (ret == -EINVAL && read_ranges(host, map->ioas_id, ranges, SHOWN_RANGES, &count))
        count = 0;
    return host_map_failed(&host->sys, map, ranges, count, ret, error);
}

/* Mapping */

static uint32_t kernel_flags(uint32_t flags)
{
    return UAPI_MAP_FIXED_IOVA | (flags & VIOMMU_HOST_MAP_READ ? UAPI_MAP_READABLE : 0) |
           (flags & VIOMMU_HOST_MAP_WRITE ? UAPI_MAP_WRITEABLE : 0);
}

static int map_address(struct iommufd_host *host, const struct host_map *map)
{
    struct uapi_ioas_map cmd = {
        .size = sizeof(cmd),
        .flags = kernel_flags(map->flags),
        .ioas_id = map->ioas_id,
        .user_va = (uintptr_t)map->address,
        .length = map->length,
        .iova = map->iova,
    };

    return iommufd_call(host, UAPI_IOAS_MAP, &cmd);
}

/* The file to map all of [address, address + length) by; false: none. */
static bool find_file(struct iommufd_host *host, const struct host_map *map,
                      struct iommufd_file *out)
{
    uintptr_t address = (uintptr_t)map->address;
    struct iommufd_file *file;

    pthread_mutex_lock(&host->lock);
    LIST_FOREACH(file, &host->files, link)
    {
        if (address >= file->address && address - file->address <= file->length &&
            map->length <= file->length - (address - file->address))
            break;
    }
    if (file)
        *out = *file;
    pthread_mutex_unlock(&host->lock);
    return file && out->pinnable;
}

/* > 0: not by file, try by address. */
static int map_file(struct iommufd_host *host, const struct host_map *map)
{
    struct uapi_ioas_map_file cmd = {
        .size = sizeof(cmd),
        .flags = kernel_flags(map->flags),
        .ioas_id = map->ioas_id,
        .length = map->length,
        .iova = map->iova,
    };
    struct iommufd_file file;
    int ret;

    if (__atomic_load_n(&host->maps_no_files, __ATOMIC_RELAXED) || !find_file(host, map, &file))
        return 1;
    cmd.fd = file.descriptor;
    cmd.start = file.offset + ((uintptr_t)map->address - file.address);
    ret = iommufd_call(host, UAPI_IOAS_MAP_FILE, &cmd);
    if (ret == -ENOTTY)
        __atomic_store_n(&host->maps_no_files, true, __ATOMIC_RELAXED);
    if (ret == -ENOTTY || ret == -EINVAL || ret == -EOPNOTSUPP || ret == -EBADF)
        return 1;
    return ret;
}

int iommufd_ioas_map(void *opaque, uint32_t ioas_id, uint64_t iova, void *address, uint64_t length,
                     uint32_t flags, struct viommu_error *error)
{
    struct host_map map = {ioas_id, iova, length, address, flags};
    int ret = map_file(opaque, &map);

    if (ret > 0)
        ret = map_address(opaque, &map);
    return ret < 0 ? map_failed(opaque, &map, ret, error) : 0;
}

int iommufd_ioas_unmap(void *opaque, uint32_t ioas_id, uint64_t iova, uint64_t length,
                       uint64_t *unmapped, struct viommu_error *error)
{
    struct uapi_ioas_unmap cmd = {
        .size = sizeof(cmd),
        .ioas_id = ioas_id,
        .iova = iova,
        .length = length,
    };
    unsigned long long start = iova, last = length == UINT64_MAX ? length : iova + length - 1;
    int ret = iommufd_call(opaque, UAPI_IOAS_UNMAP, &cmd);

    if (ret == -ENOENT)
        return error_set(error, ret,
                         "IOVAs 0x%llx-0x%llx of IOAS %u: nothing is mapped there, a mapping would "
                         "be cut (unmap whole ones), or there is no such IOAS",
                         start, last, ioas_id);
    if (ret < 0)
        return error_set(error, ret, "IOVAs 0x%llx-0x%llx of IOAS %u cannot be unmapped: %s", start,
                         last, ioas_id, strerror(-ret));
    *unmapped = cmd.length;
    return 0;
}

/* Files */

static int check_file(const struct iommufd_host *host, const void *address, uint64_t length,
                      int descriptor, uint64_t offset, struct viommu_error *error)
{
    if (!host)
        return error_set(error, -EINVAL, "A file needs a host of viommu_iommufd_create()");
    if (descriptor < 0 || !address || !length ||
        !is_aligned((uintptr_t)address | length | offset, PAGE_SIZE) ||
        range_overflows((uintptr_t)address, length) || range_overflows(offset, length))
        return error_set(error, -EINVAL,
                         "File %d from 0x%llx on for 0x%llx bytes at %p: the three must be "
                         "multiples of 4096, the length not 0, the descriptor not negative",
                         descriptor, (unsigned long long)offset, (unsigned long long)length,
                         address);
    return 0;
}

static bool overlaps(const struct iommufd_file *a, const struct iommufd_file *b)
{
    return a->address <= b->address + (b->length - 1) && b->address <= a->address + (a->length - 1);
}

int viommu_iommufd_add_file(struct viommu_host *handle, void *address, uint64_t length,
                            int descriptor, uint64_t offset, struct viommu_error *error)
{
    struct iommufd_host *host = iommufd_host_of(handle);
    int ret = check_file(host, address, length, descriptor, offset, error);
    struct iommufd_file *file, *other;

    if (ret)
        return ret;
    file = malloc(sizeof(*file));
    if (!file)
        return error_set(error, -ENOMEM, "No memory for a file");
    *file = (struct iommufd_file){
        .address = (uintptr_t)address,
        .length = length,
        .descriptor = descriptor,
        .offset = offset,
        .pinnable = host->sys.is_memory_file(host->sys.opaque, descriptor),
    };
    pthread_mutex_lock(&host->lock);
    LIST_FOREACH(other, &host->files, link)
    {
        if (overlaps(file, other))
            break;
    }
    if (!other)
        LIST_INSERT_HEAD(&host->files, file, link);
    pthread_mutex_unlock(&host->lock);
    if (!other)
        return 0;
    free(file);
    return error_set(error, -EEXIST,
                     "Memory at %p overlaps that of another file; remove the other first", address);
}

void viommu_iommufd_remove_file(struct viommu_host *handle, void *address)
{
    struct iommufd_host *host = iommufd_host_of(handle);
    struct iommufd_file *file;

    if (!host)
        return;
    pthread_mutex_lock(&host->lock);
    LIST_FOREACH(file, &host->files, link)
    {
        if (file->address == (uintptr_t)address)
            break;
    }
    if (file)
        LIST_REMOVE(file, link);
    pthread_mutex_unlock(&host->lock);
    free(file);
}

void iommufd_files_forget(struct iommufd_host *host)
{
    struct iommufd_file *file;

    while ((file = LIST_FIRST(&host->files))) {
        LIST_REMOVE(file, link);
        free(file); /* NOLINT(clang-analyzer-unix.Malloc): it left the list */
    }
}
