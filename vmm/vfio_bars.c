/* SPDX-License-Identifier: MIT */
/* Regions of a VFIO device, and the BARs that they become. */
#include "pci_internal.h"
#include "vfio.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE               4096ull
#define BAR_IO             0x1u
#define BAR_TYPE_64        0x4u
#define BAR_PREFETCHABLE   0x8u
#define PORTS_OF_A_BAR_MAX 256u
#define AREAS_MAX          16u

/* ---- Regions */

int vmm_vfio_regions_find(struct vmm_vfio *vfio, struct viommu_error *err)
{
    struct vfio_region_info *region;
    unsigned int i;

    for (i = 0; i <= VFIO_PCI_CONFIG_REGION_INDEX; i++) {
        region = &vfio->regions[i];
        region->argsz = sizeof(*region);
        region->index = i;
        if (vfio->kernel->ioctl(vfio->fd, VFIO_DEVICE_GET_REGION_INFO, region) < 0)
            return vmm_fail(err, errno, "%s: VFIO does not tell its region %u: %s", vfio->name, i,
                            strerror(errno));
    }
    return 0;
}

/* The region's information with its capabilities; NULL without any. Freed by the caller. */
static struct vfio_region_info *read_with_capabilities(struct vmm_vfio *vfio, unsigned int index)
{
    const struct vfio_region_info *known = &vfio->regions[index];
    struct vfio_region_info *info;

    if (!(known->flags & VFIO_REGION_INFO_FLAG_CAPS) || known->argsz <= sizeof(*known))
        return NULL;
    info = calloc(1, known->argsz);
    if (!info)
        return NULL;
    info->argsz = known->argsz;
    info->index = index;
    if (!vfio->kernel->ioctl(vfio->fd, VFIO_DEVICE_GET_REGION_INFO, info) && info->cap_offset)
        return info;
    free(info);
    return NULL;
}

struct area {
    uint64_t start;
    uint64_t end;
};

struct areas {
    struct area list[AREAS_MAX];
    unsigned int count;
};

static void add_area(struct areas *areas, uint64_t start, uint64_t end)
{
    if (start < end && areas->count < AREAS_MAX)
        areas->list[areas->count++] = (struct area){start, end};
}

/* The areas that VFIO_REGION_INFO_CAP_SPARSE_MMAP lists; false when the region has no such list. */
static bool find_sparse(const struct vfio_region_info *info, struct areas *areas)
{
    const struct vfio_region_info_cap_sparse_mmap *sparse;
    const struct vfio_info_cap_header *header;
    uint32_t at;

    for (at = info ? info->cap_offset : 0; at && at + sizeof(*header) <= info->argsz;
         at = header->next) {
        header = (const void *)((const char *)info + at);
        if (header->id != VFIO_REGION_INFO_CAP_SPARSE_MMAP)
            continue;
        sparse = (const void *)header;
        for (uint32_t i = 0; i < sparse->nr_areas; i++)
            add_area(areas, sparse->areas[i].offset,
                     sparse->areas[i].offset + sparse->areas[i].size);
        return true;
    }
    return false;
}

/* Cut the pages of [start, end) out of all areas. */
static void cut(struct areas *areas, uint64_t start, uint64_t end)
{
    struct areas left = {.count = 0};
    const struct area *area;
    unsigned int i;

    start &= ~(PAGE - 1);
    end = (end + PAGE - 1) & ~(PAGE - 1);
    for (i = 0; i < areas->count; i++) {
        area = &areas->list[i];
        if (end <= area->start || start >= area->end) {
            add_area(&left, area->start, area->end);
            continue;
        }
        add_area(&left, area->start, start);
        add_area(&left, end, area->end);
    }
    *areas = left;
}

/* What vCPUs may reach by themselves: not the MSI-X table, and not its pending bits. */
static struct areas find_areas(struct vmm_vfio *vfio, unsigned int index)
{
    const struct vfio_region_info *region = &vfio->regions[index];
    const struct vmm_pci_msix *msix = &vfio->fn.msix;
    struct vfio_region_info *info = read_with_capabilities(vfio, index);
    struct areas areas = {.count = 0};

    if ((region->flags & VFIO_REGION_INFO_FLAG_MMAP) && !find_sparse(info, &areas))
        add_area(&areas, 0, region->size);
    free(info);
    if (msix->offset && msix->bar == index)
        cut(&areas, msix->table_offset, msix->table_offset + 16ull * msix->count);
    if (msix->offset && msix->pba_bar == index)
        cut(&areas, msix->pba_offset, msix->pba_offset + (msix->count + 63) / 64 * 8ull);
    return areas;
}

/* ---- BARs */

static void map_area(struct vmm_vfio *vfio, unsigned int index, const struct area *area)
{
    const struct vfio_region_info *region = &vfio->regions[index];
    bool writable = region->flags & VFIO_REGION_INFO_FLAG_WRITE;
    uint64_t size = (area->end - area->start + PAGE - 1) & ~(PAGE - 1);
    void *host;

    /* A page that is not all the BAR's may have another one in it, where the guest wants that. */
    if (area->start % PAGE || region->size < PAGE ||
        vfio->area_count == VMM_PCI_BARS * VMM_PCI_DIRECT_MAX)
        return;
    host = vfio->kernel->map(vfio->fd, size, PROT_READ | (writable ? PROT_WRITE : 0),
                             (off_t)(region->offset + area->start));
    if (host == MAP_FAILED)
        return; /* each access exits, then */
    if (!writable || vmm_pci_bar_add_direct(&vfio->fn, index, area->start, size, host)) {
        vfio->kernel->unmap(host, size);
        return;
    }
    vfio->areas[vfio->area_count++] = (struct vmm_vfio_area){host, size};
}

static int create_bar(struct vmm_vfio *vfio, unsigned int index, uint32_t value,
                      struct viommu_error *err)
{
    uint64_t size = vfio->regions[index].size;
    struct areas areas;
    unsigned int i;

    if (size & (size - 1))
        return vmm_fail(err, EINVAL, "%s: its BAR %u has %llu bytes, which is no power of two",
                        vfio->name, index, (unsigned long long)size);
    if (value & BAR_IO) {
        if (size > PORTS_OF_A_BAR_MAX)
            return vmm_fail(err, EINVAL, "%s: its BAR %u has %llu I/O ports, more than %u",
                            vfio->name, index, (unsigned long long)size, PORTS_OF_A_BAR_MAX);
        vmm_pci_add_bar(&vfio->fn, index, VMM_PCI_BAR_IO, size);
        return 0;
    }
    vmm_pci_add_bar(&vfio->fn, index, value & BAR_TYPE_64 ? VMM_PCI_BAR_MEM64 : VMM_PCI_BAR_MEM32,
                    size);
    if (value & BAR_PREFETCHABLE)
        vmm_pci_bar_set_prefetchable(&vfio->fn, index);
    areas = find_areas(vfio, index);
    for (i = 0; i < areas.count; i++)
        map_area(vfio, index, &areas.list[i]);
    return 0;
}

int vmm_vfio_bars_create(struct vmm_vfio *vfio, struct viommu_error *err)
{
    const struct vfio_region_info *config = &vfio->regions[VFIO_PCI_CONFIG_REGION_INDEX];
    unsigned int i;
    uint32_t value;
    int ret = 0;

    for (i = 0; i < VMM_PCI_BARS && !ret; i++) {
        if (!vfio->regions[i].size)
            continue;
        if (vfio->kernel->read(vfio->fd, &value, sizeof(value),
                               (off_t)(config->offset + PCI_REG_BAR0 + 4 * i)) != sizeof(value))
            return vmm_fail(err, EIO, "%s: its BAR %u cannot be read", vfio->name, i);
        ret = create_bar(vfio, i, value, err);
    }
    return ret;
}

void vmm_vfio_bars_destroy(struct vmm_vfio *vfio)
{
    while (vfio->area_count) {
        struct vmm_vfio_area *area = &vfio->areas[--vfio->area_count];

        vfio->kernel->unmap(area->host, area->size);
    }
}

/* ---- What exits */

bool vmm_vfio_region_read(struct vmm_vfio *vfio, unsigned int region, uint64_t offset, void *buffer,
                          size_t size)
{
    ssize_t got = -1;

    pthread_rwlock_rdlock(&vfio->access);
    if (vfio->fd >= 0)
        got = vfio->kernel->read(vfio->fd, buffer, size,
                                 (off_t)(vfio->regions[region].offset + offset));
    pthread_rwlock_unlock(&vfio->access);
    return got == (ssize_t)size;
}

bool vmm_vfio_region_write(struct vmm_vfio *vfio, unsigned int region, uint64_t offset,
                           const void *buffer, size_t size)
{
    ssize_t done = -1;

    pthread_rwlock_rdlock(&vfio->access);
    if (vfio->fd >= 0)
        done = vfio->kernel->write(vfio->fd, buffer, size,
                                   (off_t)(vfio->regions[region].offset + offset));
    pthread_rwlock_unlock(&vfio->access);
    return done == (ssize_t)size;
}

uint64_t vmm_vfio_bar_read(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                           unsigned int size)
{
    uint64_t value = 0;

    if (bar == VMM_PCI_ROM)
        return vmm_vfio_rom_read(vmm_vfio_of(fn), offset, size);
    return vmm_vfio_region_read(vmm_vfio_of(fn), bar, offset, &value, size) ? value : UINT64_MAX;
}

/* What a device does not take is lost, as on a bus. */
void vmm_vfio_bar_write(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                        unsigned int size, uint64_t value)
{
    vmm_vfio_region_write(vmm_vfio_of(fn), bar, offset, &value, size);
}
