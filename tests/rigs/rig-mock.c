/* SPDX-License-Identifier: MIT */
/*
 * The iommufd backend on a real kernel with the mock IOMMU. Prints "rig: mock: pass (N checks)", or
 * what was not so; exit code 77: this kernel has no mock. To be run as root, where nothing else
 * uses /dev/iommu (scripts/rig-mock starts such a kernel).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <viommu.h>

#include "guest.h"
#include "mock.h"
#include "rig.h"

#define PAGE  UINT64_C(4096)
#define PAGES 64
#define IOVA  MOCK_FIRST_IOVA
#define RW    (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)
#define NONE  VIOMMU_PASID_NONE

struct rig {
    struct mock mock;
    struct viommu_host *host;
    struct viommu_error error;
    char *memory;
    char *shared; /* the memfd */
    int memfd;
    uint32_t device;
    uint32_t ioas;
    uint32_t parent;
    uint32_t nested;
};

/* ---- What there is */

struct census {
    uint32_t next_id;
    unsigned int files;
    unsigned long pinned;
};

static struct census take_census(struct rig *rig)
{
    struct census census = {mock_next_id(&rig->mock), rig_open_files(), rig_pinned_kib()};

    return census;
}

static bool same_census(struct rig *rig, const struct census *before)
{
    struct census now = take_census(rig);

    if (now.next_id == before->next_id && now.files == before->files &&
        now.pinned == before->pinned)
        return true;
    rig_say("%s: next ID %u, was %u; %u descriptors, were %u; %lu KiB pinned, were %lu",
            rig_get_subject(), now.next_id, before->next_id, now.files, before->files, now.pinned,
            before->pinned);
    return false;
}

/* ---- A host with a device, in the state that most want */

static int hwpt(struct rig *rig, uint32_t parent, uint32_t flags, uint32_t *id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options), .device_id = rig->device, .parent_id = parent, .flags = flags};

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

static int nest(struct rig *rig, uint32_t flags, uint32_t queue, uint32_t *id)
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

static int map(struct rig *rig, uint64_t iova, uint64_t pages, uint32_t flags)
{
    return viommu_host_ioas_map(rig->host, rig->ioas, iova, rig->memory, pages * PAGE, flags,
                                &rig->error);
}

static int unmap(struct rig *rig, uint64_t iova, uint64_t pages)
{
    return viommu_host_ioas_unmap(rig->host, rig->ioas, iova, pages * PAGE, NULL, &rig->error);
}

static int attach(struct rig *rig, uint32_t pasid, uint32_t id)
{
    return viommu_host_attach(rig->host, rig->device, pasid, id, &rig->error);
}

static uint32_t pasid_flag(const struct rig *rig)
{
    return rig->mock.has_pasids ? VIOMMU_HOST_HWPT_PASID : 0;
}

static void begin(struct rig *rig)
{
    WORKS(rig, iommufd_create(&rig->host, &rig->mock.sys, "/sys", NULL, &rig->error));
    WORKS(rig, viommu_host_bind(rig->host, "/dev/vfio/devices/vfio0", &rig->device, &rig->error));
    WORKS(rig, viommu_host_ioas_alloc(rig->host, &rig->ioas, &rig->error));
    WORKS(rig,
          hwpt(rig, rig->ioas,
               VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_DIRTY_TRACKING | pasid_flag(rig),
               &rig->parent));
    WORKS(rig, attach(rig, NONE, rig->parent));
    WORKS(rig, nest(rig, pasid_flag(rig), 0, &rig->nested));
}

static void end(struct rig *rig)
{
    viommu_host_destroy(rig->host);
}

/* ---- Subjects */

static void test_device(struct rig *rig)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    uint32_t id;

    WORKS(rig, viommu_host_hw_info(rig->host, rig->device, &info, &rig->error));
    CHECK(info.type == VIOMMU_HOST_IOMMU_NONE);
    CHECK(!strcmp(info.name, "IOMMU of unknown type 0xfeedbeef"));
    CHECK(info.max_pasid_log2 == (rig->mock.has_pasids ? MOCK_PASID_BITS : 0));
    CHECK(info.dirty_tracking);
    CHECK(!info.page_requests);
    FAILS(rig, -EBUSY, viommu_host_bind(rig->host, "/dev/vfio/devices/vfio0", &id, &rig->error));
    FAILS(rig, -ENOENT, viommu_host_hw_info(rig->host, rig->ioas, &info, &rig->error));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, rig->device, &rig->error));
}

static void test_map(struct rig *rig)
{
    uint64_t unmapped = 0;
    unsigned long before = rig_pinned_kib();

    WORKS(rig, map(rig, IOVA, 4, RW));
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, 4 * PAGE));
    CHECK(rig_pinned_kib() == before + 16);
    FAILS(rig, -EEXIST, map(rig, IOVA + 3 * PAGE, 2, RW));
    FAILS(rig, -ENOENT, unmap(rig, IOVA, 2));
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, 4 * PAGE));
    FAILS(rig, -EFAULT,
          viommu_host_ioas_map(rig->host, rig->ioas, IOVA + 64 * PAGE, (void *)(uintptr_t)PAGE,
                               PAGE, RW, &rig->error));
    FAILS(rig, -ENOENT,
          viommu_host_ioas_map(rig->host, rig->parent, IOVA, rig->memory, PAGE, RW, &rig->error));
    WORKS(rig, map(rig, IOVA + 8 * PAGE, 1, VIOMMU_HOST_MAP_READ));
    WORKS(rig, viommu_host_ioas_unmap(rig->host, rig->ioas, 0, UINT64_MAX, &unmapped, &rig->error));
    CHECK(unmapped == 5 * PAGE);
    CHECK(rig_pinned_kib() == before);
    CHECK(mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, PAGE) < 0);
}

static void test_ranges(struct rig *rig)
{
    struct viommu_host_iova_range ranges[4];
    size_t count = 0;

    FAILS(rig, -EMSGSIZE,
          viommu_host_ioas_iova_ranges(rig->host, rig->ioas, NULL, &count, &rig->error));
    CHECK(count == 1);
    WORKS(rig, viommu_host_ioas_iova_ranges(rig->host, rig->ioas, ranges, &count, &rig->error));
    CHECK(ranges[0].start == MOCK_FIRST_IOVA && ranges[0].last == MOCK_LAST_IOVA);
    FAILS(rig, -EINVAL, map(rig, MOCK_FIRST_IOVA - PAGE, 2, RW));
    SAYS(rig, "into 0x1000000-0x7fffffff");
    CHECK(!mock_reserve(&rig->mock, rig->ioas, 0x2000000, 0x100000));
    FAILS(rig, -EINVAL, map(rig, 0x20ff000, 1, RW));
    SAYS(rig, "0x1000000-0x1ffffff, 0x2100000-0x7fffffff");
    count = 4;
    WORKS(rig, viommu_host_ioas_iova_ranges(rig->host, rig->ioas, ranges, &count, &rig->error));
    CHECK(count == 2);
}

#define SHARED (8 * PAGE)

static char *map_shared(struct rig *rig)
{
    char *shared = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, rig->memfd, (off_t)PAGE);

    CHECK(shared != MAP_FAILED);
    WORKS(rig, viommu_iommufd_add_file(rig->host, shared, SHARED, rig->memfd, PAGE, &rig->error));
    return shared;
}

static void test_file(struct rig *rig)
{
    char *shared = map_shared(rig);
    unsigned long before = rig->mock.map_files;

    WORKS(rig, viommu_host_ioas_map(rig->host, rig->ioas, IOVA, shared + PAGE, 2 * PAGE, RW,
                                    &rig->error));
    before += rig->mock.has_files;
    CHECK(rig->mock.map_files == before);
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, shared + PAGE, 2 * PAGE));
    WORKS(rig, map(rig, IOVA + 16 * PAGE, 1, RW)); /* elsewhere in memory: by address */
    CHECK(rig->mock.map_files == before);
    /* The mapping of the file goes, the file is still pinned. */
    munmap(shared, SHARED);
    WORKS(rig, unmap(rig, IOVA, 2));
    /* A descriptor that is no memfd: by address. */
    WORKS(rig, viommu_iommufd_add_file(rig->host, rig->memory, PAGE, 0, 0, &rig->error));
    WORKS(rig, map(rig, IOVA, 1, RW));
    CHECK(rig->mock.map_files == before);
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, PAGE));
}

static void check_iotlbs(struct rig *rig, const uint32_t values[MOCK_IOTLBS])
{
    for (uint32_t i = 0; i < MOCK_IOTLBS; i++)
        CHECK(!mock_check_iotlb(&rig->mock, rig->nested, i, values[i]));
}

static int invalidate(struct rig *rig, uint32_t type, const struct mock_invalidate *entries,
                      uint32_t *count)
{
    return iommufd_invalidate_entries(iommufd_host_of(rig->host), rig->nested, type, entries,
                                      sizeof(entries[0]), count, &rig->error);
}

static void test_invalidate(struct rig *rig)
{
    struct mock_invalidate entries[MOCK_IOTLBS] = {{0, 0}, {0, 2}, {0, 99}, {0, 1}};
    uint32_t count = MOCK_IOTLBS;

    check_iotlbs(rig, (uint32_t[]){0x1234, 0x1234, 0x1234, 0x1234});
    /* The third is refused: two were done, and the rest was not begun. */
    FAILS(rig, -EINVAL, invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    CHECK(count == 2);
    SAYS(rig, "handled 2 of 4");
    check_iotlbs(rig, (uint32_t[]){0, 0x1234, 0, 0x1234});
    /* On from behind the one that was refused. */
    count = 1;
    WORKS(rig, invalidate(rig, MOCK_INVALIDATE_DATA, entries + 3, &count));
    CHECK(count == 1);
    check_iotlbs(rig, (uint32_t[]){0, 0, 0, 0x1234});
    entries[0].flags = 0x10;
    count = 4;
    FAILS(rig, -EOPNOTSUPP, invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    CHECK(count == 0);
    count = 1;
    FAILS(rig, -EINVAL, invalidate(rig, MOCK_INVALIDATE_DATA + 1, entries, &count));
    CHECK(count == 0);
    entries[0].flags = MOCK_INVALIDATE_ALL;
    count = 1;
    WORKS(rig, invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    check_iotlbs(rig, (uint32_t[]){0, 0, 0, 0});
    /* Data of VT-d means nothing to the mock, and the model is told so. */
    count = 1;
    FAILS(rig, -EINVAL,
          viommu_host_invalidate(rig->host, rig->nested, VIOMMU_HOST_DATA_VTD_S1, entries,
                                 sizeof(struct viommu_host_vtd_s1_invalidate), &count,
                                 &rig->error));
    CHECK(count == 0);
}

static void test_many_invalidations(struct rig *rig)
{
    const uint32_t many = (1u << 17) + 1;
    struct mock_invalidate *entries = calloc(many, sizeof(*entries));
    uint32_t count = many;

    CHECK(entries);
    entries[many - 1].iotlb = 3;
    WORKS(rig, invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    CHECK(count == many);
    check_iotlbs(rig, (uint32_t[]){0, 0x1234, 0x1234, 0});
    entries[many - 3].iotlb = 99;
    count = many;
    FAILS(rig, -EINVAL, invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    CHECK(count == many - 3);
    free(entries);
}

static void test_nesting(struct rig *rig)
{
    uint32_t plain, other, id;

    WORKS(rig, hwpt(rig, rig->ioas, 0, &plain));
    other = rig->parent;
    rig->parent = plain;
    FAILS(rig, -EINVAL, nest(rig, 0, 0, &id)); /* no nesting parent */
    rig->parent = other;
    FAILS(rig, -EOPNOTSUPP, nest(rig, VIOMMU_HOST_HWPT_NEST_PARENT, 0, &id));
    FAILS(rig, -EOPNOTSUPP, hwpt(rig, rig->parent, 0, &id)); /* no data */
    FAILS(rig, -EINVAL, hwpt(rig, 4000, 0, &id));
    WORKS(rig, attach(rig, NONE, rig->nested));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, rig->nested, &rig->error));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, rig->parent, &rig->error));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, rig->ioas, &rig->error));
    FAILS(rig, -ENOENT, attach(rig, NONE, 4000));
    WORKS(rig, viommu_host_detach(rig->host, rig->device, NONE, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, rig->nested, &rig->error));
    FAILS(rig, -ENOENT, viommu_host_destroy_object(rig->host, rig->nested, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, rig->parent, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, plain, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, rig->ioas, &rig->error));
}

/* A kernel that lacks them says so, and is not asked for what it would do without a word. */
static void test_no_pasids(struct rig *rig)
{
    uint32_t id;

    FAILS(rig, -EOPNOTSUPP, hwpt(rig, rig->ioas, VIOMMU_HOST_HWPT_PASID, &id));
    SAYS(rig, "6.15");
    FAILS(rig, -EINVAL, attach(rig, 7, rig->nested));
    SAYS(rig, "Linux 6.15");
    WORKS(rig, viommu_host_detach(rig->host, rig->device, 7, &rig->error));
}

static void test_pasids(struct rig *rig)
{
    uint32_t plain, other;

    if (!rig->mock.has_pasids) {
        test_no_pasids(rig);
        return;
    }
    WORKS(rig, hwpt(rig, rig->ioas, 0, &plain));
    WORKS(rig, nest(rig, pasid_flag(rig), 0, &other));
    WORKS(rig, attach(rig, 7, rig->nested));
    CHECK(!mock_check_pasid(&rig->mock, rig->device, 7, rig->nested));
    WORKS(rig, attach(rig, 7, other)); /* replaced */
    CHECK(!mock_check_pasid(&rig->mock, rig->device, 7, other));
    FAILS(rig, -EINVAL, attach(rig, 7, plain)); /* refused: the old one stays */
    CHECK(!mock_check_pasid(&rig->mock, rig->device, 7, other));
    FAILS(rig, -EINVAL, attach(rig, 8, plain));
    FAILS(rig, -EINVAL, attach(rig, NONE, plain)); /* while a PASID is attached */
    FAILS(rig, -EINVAL, attach(rig, 0, other));
    WORKS(rig, attach(rig, (1u << MOCK_PASID_BITS) - 1, rig->parent));
    WORKS(rig, viommu_host_detach(rig->host, rig->device, 7, &rig->error));
    CHECK(!mock_check_pasid(&rig->mock, rig->device, 7, 0));
    WORKS(rig, viommu_host_detach(rig->host, rig->device, 7, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, other, &rig->error));
    viommu_host_unbind(rig->host, rig->device);
    FAILS(rig, -ENOENT, attach(rig, 7, rig->nested));
    WORKS(rig, viommu_host_destroy_object(rig->host, rig->nested, &rig->error));
}

static void test_page_requests(struct rig *rig)
{
    struct viommu_host_page_request got[4];
    struct viommu_host_page_response response = {.code = 0};
    const bool pasids = rig->mock.has_pasids;
    const uint32_t second = pasids ? 5 : NONE; /* where the second request comes from */
    uint32_t queue, id;
    size_t count = 4;
    int descriptor;

    WORKS(rig, viommu_host_fault_queue_alloc(rig->host, &queue, &descriptor, &rig->error));
    WORKS(rig, nest(rig, VIOMMU_HOST_HWPT_FAULT_QUEUE | pasid_flag(rig), queue, &id));
    if (viommu_host_attach(rig->host, rig->device, NONE, id, &rig->error) == -ENODEV) {
        SAYS(rig, "makes no page requests"); /* a kernel without CONFIG_IOMMU_IOPF */
        return;
    }
    if (pasids)
        WORKS(rig, attach(rig, second, id));
    CHECK(!host_sys_real.readable(NULL, descriptor));
    WORKS(rig, viommu_host_fault_queue_read(rig->host, queue, got, &count, &rig->error));
    CHECK(!count);
    CHECK(!mock_page_request(&rig->mock, rig->device, 0, 3, IOVA));
    CHECK(!mock_page_request(&rig->mock, rig->device, pasids ? second : 0, 4, IOVA + PAGE));
    CHECK(host_sys_real.readable(NULL, descriptor) == 1);
    count = 4;
    WORKS(rig, viommu_host_fault_queue_read(rig->host, queue, got, &count, &rig->error));
    CHECK(count == 2);
    CHECK(got[0].device_id == rig->device && got[0].group == 3 && got[0].address == IOVA);
    CHECK(got[0].flags == VIOMMU_HOST_PAGE_LAST && got[0].access == VIOMMU_DMA_READ);
    CHECK(got[1].flags == (VIOMMU_HOST_PAGE_LAST | (pasids ? VIOMMU_HOST_PAGE_PASID : 0)));
    CHECK(got[1].group == 4 && (!pasids || got[1].pasid == second));
    CHECK(!host_sys_real.readable(NULL, descriptor));
    response.cookie = got[0].cookie;
    WORKS(rig, viommu_host_fault_queue_respond(rig->host, queue, &response, &rig->error));
    FAILS(rig, -EINVAL, viommu_host_fault_queue_respond(rig->host, queue, &response, &rig->error));
    /* The kernel answers what is outstanding when the attachment ends. */
    WORKS(rig, viommu_host_detach(rig->host, rig->device, second, &rig->error));
    response.cookie = got[1].cookie;
    FAILS(rig, -EINVAL, viommu_host_fault_queue_respond(rig->host, queue, &response, &rig->error));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, queue, &rig->error));
    WORKS(rig, attach(rig, NONE, rig->parent));
    WORKS(rig, viommu_host_destroy_object(rig->host, id, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, queue, &rig->error));
}

static void test_dirty(struct rig *rig)
{
    uint64_t bitmap = 0;
    uint32_t plain;

    WORKS(rig, hwpt(rig, rig->ioas, 0, &plain));
    FAILS(rig, -EOPNOTSUPP, viommu_iommufd_set_dirty_tracking(rig->host, plain, true, &rig->error));
    /* Each on its own: what is mapped at once may be one large entry, which is dirty as a whole. */
    for (uint64_t i = 0; i < PAGES; i++)
        WORKS(rig, map(rig, IOVA + i * PAGE, 1, RW));
    WORKS(rig, viommu_iommufd_set_dirty_tracking(rig->host, rig->parent, true, &rig->error));
    CHECK(!mock_dirty(&rig->mock, rig->parent, IOVA, PAGES * PAGE, 0x8000000000000005));
    WORKS(rig, viommu_iommufd_get_dirty(rig->host, rig->parent, IOVA, PAGES * PAGE, PAGE, &bitmap,
                                        false, &rig->error));
    CHECK(bitmap == 0x8000000000000005);
    bitmap = 0;
    WORKS(rig, viommu_iommufd_get_dirty(rig->host, rig->parent, IOVA, PAGES * PAGE, PAGE, &bitmap,
                                        true, &rig->error));
    CHECK(bitmap == 0x8000000000000005);
    bitmap = 0;
    WORKS(rig, viommu_iommufd_get_dirty(rig->host, rig->parent, IOVA, PAGES * PAGE, PAGE, &bitmap,
                                        true, &rig->error));
    CHECK(bitmap == 0);
    WORKS(rig, viommu_iommufd_set_dirty_tracking(rig->host, rig->parent, false, &rig->error));
}

/* Two devices share a HWPT; a third has its own on the same IOAS, and memory is mapped in both. */
static void test_sharing(struct rig *rig)
{
    uint32_t second, third, own, first = rig->device;

    WORKS(rig, viommu_host_bind(rig->host, "/dev/vfio/devices/vfio1", &second, &rig->error));
    WORKS(rig, viommu_host_bind(rig->host, "/dev/vfio/devices/vfio2", &third, &rig->error));
    WORKS(rig, viommu_host_attach(rig->host, second, NONE, rig->parent, &rig->error));
    WORKS(rig, map(rig, IOVA, 2, RW));
    rig->device = third;
    WORKS(rig, hwpt(rig, rig->ioas, 0, &own));
    WORKS(rig, attach(rig, NONE, own));
    rig->device = first;
    WORKS(rig, map(rig, IOVA + 2 * PAGE, 2, RW));
    CHECK(!mock_check_map(&rig->mock, own, IOVA, rig->memory, 2 * PAGE));
    CHECK(!mock_check_map(&rig->mock, own, IOVA + 2 * PAGE, rig->memory, 2 * PAGE));
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA + 2 * PAGE, rig->memory, 2 * PAGE));
    viommu_host_unbind(rig->host, first);
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, 2 * PAGE));
}

/* ---- The attach sequence */

static struct guest guest;

static void begin_guest(struct rig *rig)
{
    WORKS(rig, guest_begin(&guest, rig->host, rig->memory, IOVA, PAGES * PAGE, VIOMMU_CAP_HW_NESTED,
                           &rig->error));
}

static int assign_make(struct rig *rig)
{
    return guest_attach(&guest, "/dev/vfio/devices/vfio3", &rig->error);
}

static void assign_undo(struct rig *rig)
{
    (void)rig;
    guest_detach(&guest);
}

static void test_assign(struct rig *rig)
{
    struct census before;
    uint32_t parent;

    begin_guest(rig);
    before = take_census(rig);
    WORKS(rig, assign_make(rig));
    parent = viommu_host_device_parent_hwpt(viommu_assigned_device_host_device(guest.assigned));
    CHECK(!mock_check_map(&rig->mock, parent, IOVA, rig->memory, PAGES * PAGE));
    assign_undo(rig);
    CHECK(same_census(rig, &before));
    guest_end(&guest);
}

/* ---- Each point of the kernel's that can fail */

struct step {
    const char *name;
    int (*make)(struct rig *rig);
    void (*undo)(struct rig *rig);
};

static uint32_t made;

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
    return map(rig, IOVA + 256 * PAGE, PAGES, RW);
}

static void map_undo(struct rig *rig)
{
    WORKS(rig, unmap(rig, IOVA + 256 * PAGE, PAGES));
}

static int unmap_make(struct rig *rig)
{
    return unmap(rig, IOVA, PAGES);
}

static void unmap_undo(struct rig *rig)
{
    WORKS(rig, map(rig, IOVA, PAGES, RW));
}

static int file_make(struct rig *rig)
{
    return viommu_host_ioas_map(rig->host, rig->ioas, IOVA + 512 * PAGE, rig->shared, 2 * PAGE, RW,
                                &rig->error);
}

static void file_undo(struct rig *rig)
{
    WORKS(rig, unmap(rig, IOVA + 512 * PAGE, 2));
}

static int ranges_make(struct rig *rig)
{
    struct viommu_host_iova_range ranges[4];
    size_t count = 4;

    return viommu_host_ioas_iova_ranges(rig->host, rig->ioas, ranges, &count, &rig->error);
}

static int paging_make(struct rig *rig)
{
    return hwpt(rig, rig->ioas, pasid_flag(rig), &made);
}

static int nested_make(struct rig *rig)
{
    return nest(rig, pasid_flag(rig), 0, &made);
}

static int queue_make(struct rig *rig)
{
    int descriptor;

    return viommu_host_fault_queue_alloc(rig->host, &made, &descriptor, &rig->error);
}

static int attach_make(struct rig *rig)
{
    return attach(rig, NONE, rig->nested);
}

static void attach_undo(struct rig *rig)
{
    WORKS(rig, attach(rig, NONE, rig->parent));
}

static int pasid_make(struct rig *rig)
{
    return attach(rig, 9, rig->nested);
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

    return invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count);
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
    WORKS(rig, nest(rig, pasid_flag(rig), 0, &rig->nested));
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
    {"assign", assign_make, assign_undo},
};

/* False: the step has less than n such points. */
static bool fail_nth(struct rig *rig, const struct step *step, unsigned int n)
{
    struct census before = take_census(rig);
    bool failed;
    int ret;

    rig->error.message[0] = '\0';
    rig_arm(n);
    ret = step->make(rig);
    failed = rig_disarm();
    if (ret) {
        CHECK(failed);
        CHECK(rig->error.message[0]);
        CHECK(same_census(rig, &before));
        WORKS(rig, step->make(rig));
    }
    if (step->undo)
        step->undo(rig);
    CHECK(same_census(rig, &before));
    return failed;
}

static void test_failures(struct rig *rig)
{
    unsigned int tried = 0;

    CHECK(rig_can_fail()); /* CONFIG_FAULT_INJECTION */
    if (!rig_can_fail())
        return;
    WORKS(rig, map(rig, IOVA, PAGES, RW));
    rig->shared = map_shared(rig);
    begin_guest(rig);
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
    guest_end(&guest);
    munmap(rig->shared, SHARED);
    rig_say("%u points of failure", tried);
    CHECK(tried > 0);
}

/* ---- All of it */

static const struct {
    const char *name;
    void (*test)(struct rig *rig);
} subjects[] = {
    {"device", test_device},
    {"map", test_map},
    {"IOVA ranges", test_ranges},
    {"file", test_file},
    {"invalidate", test_invalidate},
    {"many invalidations", test_many_invalidations},
    {"nesting", test_nesting},
    {"PASIDs", test_pasids},
    {"page requests", test_page_requests},
    {"dirty pages", test_dirty},
    {"sharing", test_sharing},
    {"assign", test_assign},
    {"failures", test_failures},
};

int main(void)
{
    struct rig rig = {.memfd = -1};

    rig_name("mock");
    if (!mock_open(&rig.mock)) {
        rig_say("skipped: this kernel has no mock IOMMU (CONFIG_IOMMUFD_TEST)");
        return 77;
    }
    rig.memory =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    rig.memfd = memfd_create("rig", MFD_CLOEXEC);
    rig_widen_failures();
    rig_can_fail(); /* the descriptor for it stays open */
    rig_subject("memory");
    CHECK(rig.memory != MAP_FAILED && rig.memfd >= 0 && !ftruncate(rig.memfd, 16 * PAGE));
    memset(rig.memory, 1, PAGES * PAGE);
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        struct census before = take_census(&rig);

        rig_subject(subjects[i].name);
        begin(&rig);
        subjects[i].test(&rig);
        rig_subject(subjects[i].name);
        end(&rig);
        CHECK(same_census(&rig, &before));
    }
    rig_check_kernel_log();
    mock_close(&rig.mock);
    return rig_verdict();
}
