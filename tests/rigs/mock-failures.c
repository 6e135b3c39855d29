/* SPDX-License-Identifier: MIT */
/*
 * Each point of the kernel's that can fail, in each call of a host: the call says so, nothing is
 * left of it, and it works when it is made again.
 */
#include <sys/mman.h>

#include "mock-host.h"

struct step {
    const char *name;
    int (*make)(struct rig *rig);
    void (*undo)(struct rig *rig);
};

static uint32_t made;
static char *shared; /* of rig_map_shared() */

static int bind_make(struct rig *rig)
{
    return viommu_host_bind(rig->host, "/dev/vfio/devices/vfio1", &made, &rig->error);
}

static void bind_undo(struct rig *rig)
{
    viommu_host_unbind(rig->host, made);
}

static int ioas_make(struct rig *rig)
{
    return viommu_host_ioas_alloc(rig->host, &made, &rig->error);
}

static void object_undo(struct rig *rig)
{
    WORKS(rig, viommu_host_destroy_object(rig->host, made, &rig->error));
}

static int map_make(struct rig *rig)
{
    return rig_map(rig, IOVA + 256 * PAGE, PAGES, RW);
}

static void map_undo(struct rig *rig)
{
    WORKS(rig, rig_unmap(rig, IOVA + 256 * PAGE, PAGES));
}

static int unmap_make(struct rig *rig)
{
    return rig_unmap(rig, IOVA, PAGES);
}

static void unmap_undo(struct rig *rig)
{
    WORKS(rig, rig_map(rig, IOVA, PAGES, RW));
}

static int file_make(struct rig *rig)
{
    return viommu_host_ioas_map(rig->host, rig->ioas, IOVA + 512 * PAGE, shared, 2 * PAGE, RW,
                                &rig->error);
}

static void file_undo(struct rig *rig)
{
    WORKS(rig, rig_unmap(rig, IOVA + 512 * PAGE, 2));
}

static int ranges_make(struct rig *rig)
{
    struct viommu_host_iova_range ranges[4];
    size_t count = 4;

    return viommu_host_ioas_iova_ranges(rig->host, rig->ioas, ranges, &count, &rig->error);
}

static int paging_make(struct rig *rig)
{
    return rig_hwpt(rig, rig->ioas, rig_pasid_flag(rig), &made);
}

static int nested_make(struct rig *rig)
{
    return rig_nest(rig, rig_pasid_flag(rig), 0, &made);
}

static int queue_make(struct rig *rig)
{
    int descriptor;

    return viommu_host_fault_queue_alloc(rig->host, &made, &descriptor, &rig->error);
}

static int attach_make(struct rig *rig)
{
    return rig_attach(rig, NONE, rig->nested);
}

static void attach_undo(struct rig *rig)
{
    WORKS(rig, rig_attach(rig, NONE, rig->parent));
}

static int pasid_make(struct rig *rig)
{
    return rig_attach(rig, 9, rig->nested);
}

static void pasid_undo(struct rig *rig)
{
    WORKS(rig, viommu_host_detach(rig->host, rig->device, 9, &rig->error));
}

static int detach_make(struct rig *rig)
{
    return viommu_host_detach(rig->host, rig->device, NONE, &rig->error);
}

static int invalidate_make(struct rig *rig)
{
    struct mock_invalidate entries[3] = {{0, 0}, {0, 1}, {0, 2}};
    uint32_t count = 3;

    return rig_invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count);
}

static int info_make(struct rig *rig)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};

    return viommu_host_hw_info(rig->host, rig->device, &info, &rig->error);
}

static int dirty_make(struct rig *rig)
{
    uint64_t bitmap = 0;
    int ret = viommu_iommufd_set_dirty_tracking(rig->host, rig->parent, true, &rig->error);

    return ret ? ret
               : viommu_iommufd_get_dirty(rig->host, rig->parent, IOVA, PAGES * PAGE, PAGE, &bitmap,
                                          true, &rig->error);
}

static int destroy_make(struct rig *rig)
{
    return viommu_host_destroy_object(rig->host, rig->nested, &rig->error);
}

static void destroy_undo(struct rig *rig)
{
    WORKS(rig, rig_nest(rig, rig_pasid_flag(rig), 0, &rig->nested));
}

static const struct step steps[] = {
    {"bind", bind_make, bind_undo},
    {"ioas_alloc", ioas_make, object_undo},
    {"map", map_make, map_undo},
    {"map of a file", file_make, file_undo},
    {"unmap", unmap_make, unmap_undo},
    {"iova_ranges", ranges_make, NULL},
    {"paging HWPT", paging_make, object_undo},
    {"nested HWPT", nested_make, object_undo},
    {"fault queue", queue_make, object_undo},
    {"attach", attach_make, attach_undo},
    {"attach of a PASID", pasid_make, pasid_undo},
    {"detach", detach_make, attach_undo},
    {"invalidate", invalidate_make, NULL},
    {"hw_info", info_make, NULL},
    {"dirty pages", dirty_make, NULL},
    {"destroy", destroy_make, destroy_undo},
    {"assign", rig_assign, rig_unassign},
};

/* False: the step has less than n such points. */
static bool fail_nth(struct rig *rig, const struct step *step, unsigned int n)
{
    struct census before = rig_census(rig);
    bool failed;
    int ret;

    rig->error.message[0] = '\0';
    rig_arm(n);
    ret = step->make(rig);
    failed = rig_disarm();
    if (ret) {
        CHECK(failed);
        CHECK(rig->error.message[0]);
        CHECK(rig_same_census(rig, &before));
        WORKS(rig, step->make(rig));
    }
    if (step->undo)
        step->undo(rig);
    CHECK(rig_same_census(rig, &before));
    return failed;
}

void test_failures(struct rig *rig)
{
    unsigned int tried = 0;

    CHECK(rig_can_fail()); /* CONFIG_FAULT_INJECTION */
    if (!rig_can_fail())
        return;
    WORKS(rig, rig_map(rig, IOVA, PAGES, RW));
    shared = rig_map_shared(rig);
    rig_begin_guest(rig);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        unsigned int n = 1;

        if (steps[i].make == pasid_make && !rig->mock.has_pasids)
            continue;
        rig_subject(steps[i].name);
        while (n < RIG_POINTS_MAX && fail_nth(rig, &steps[i], n))
            n++;
        CHECK(n < RIG_POINTS_MAX);
        tried += n - 1;
    }
    guest_end(&rig->guest);
    munmap(shared, SHARED);
    rig_say("%u points of failure", tried);
    CHECK(tried > 0);
}
