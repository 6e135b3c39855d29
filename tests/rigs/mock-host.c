/* SPDX-License-Identifier: MIT */
#include "mock-host.h"

#include <sys/mman.h>

/* ---- What there is */

struct census rig_census(struct rig *rig)
{
    return (struct census){mock_next_id(&rig->mock), rig_open_files(), rig_pinned_kib()};
}

bool rig_same_census(struct rig *rig, const struct census *before)
{
    struct census now = rig_census(rig);

    if (now.next_id == before->next_id && now.files == before->files &&
        now.pinned == before->pinned)
        return true;
    rig_say("%s: next ID %u, was %u; %u descriptors, were %u; %lu KiB pinned, were %lu",
            rig_get_subject(), now.next_id, before->next_id, now.files, before->files, now.pinned,
            before->pinned);
    return false;
}

/* ---- Calls */

int rig_hwpt(struct rig *rig, uint32_t parent, uint32_t flags, uint32_t *id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options), .device_id = rig->device, .parent_id = parent, .flags = flags};

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

int rig_nest(struct rig *rig, uint32_t flags, uint32_t queue, uint32_t *id)
{
    const struct mock_hwpt_data data = {.iotlb = 0x1234};
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = rig->device,
        .parent_id = rig->parent,
        .flags = flags,
        .data_type = (enum viommu_host_data)MOCK_HWPT_DATA,
        .data = &data,
        .data_length = rig->mock.has_pasids ? sizeof(data) : sizeof(data.iotlb), /* before 6.15 */
        .fault_queue_id = queue,
    };

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

int rig_map(struct rig *rig, uint64_t iova, uint64_t pages, uint32_t flags)
{
    return viommu_host_ioas_map(rig->host, rig->ioas, iova, rig->memory, pages * PAGE, flags,
                                &rig->error);
}

int rig_unmap(struct rig *rig, uint64_t iova, uint64_t pages)
{
    return viommu_host_ioas_unmap(rig->host, rig->ioas, iova, pages * PAGE, NULL, &rig->error);
}

char *rig_map_shared(struct rig *rig)
{
    char *shared = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, rig->memfd, (off_t)PAGE);

    CHECK(shared != MAP_FAILED);
    WORKS(rig, viommu_iommufd_add_file(rig->host, shared, SHARED, rig->memfd, PAGE, &rig->error));
    return shared;
}

int rig_attach(struct rig *rig, uint32_t pasid, uint32_t id)
{
    return viommu_host_attach(rig->host, rig->device, pasid, id, &rig->error);
}

uint32_t rig_pasid_flag(const struct rig *rig)
{
    return rig->mock.has_pasids ? VIOMMU_HOST_HWPT_PASID : 0;
}

int rig_invalidate(struct rig *rig, uint32_t type, const struct mock_invalidate *entries,
                   uint32_t *count)
{
    return iommufd_invalidate_entries(iommufd_host_of(rig->host), rig->nested, type, entries,
                                      sizeof(entries[0]), count, &rig->error);
}

/* ---- From one subject to the next */

void rig_begin(struct rig *rig)
{
    WORKS(rig, iommufd_create(&rig->host, &rig->mock.sys, "/sys", NULL, &rig->error));
    WORKS(rig, viommu_host_bind(rig->host, "/dev/vfio/devices/vfio0", &rig->device, &rig->error));
    WORKS(rig, viommu_host_ioas_alloc(rig->host, &rig->ioas, &rig->error));
    WORKS(rig, rig_hwpt(rig, rig->ioas,
                        VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_DIRTY_TRACKING |
                            rig_pasid_flag(rig),
                        &rig->parent));
    WORKS(rig, rig_attach(rig, NONE, rig->parent));
    WORKS(rig, rig_nest(rig, rig_pasid_flag(rig), 0, &rig->nested));
}

void rig_end(struct rig *rig)
{
    viommu_host_destroy(rig->host);
}

/* ---- A guest that is given a device */

void rig_begin_guest(struct rig *rig)
{
    WORKS(rig, guest_begin(&rig->guest, rig->host, rig->memory, IOVA, PAGES * PAGE,
                           VIOMMU_CAP_HW_NESTED, &rig->error));
}

int rig_assign(struct rig *rig)
{
    return guest_attach(&rig->guest, "/dev/vfio/devices/vfio3", &rig->error);
}

void rig_unassign(struct rig *rig)
{
    guest_detach(&rig->guest);
}
