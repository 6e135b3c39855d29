/* SPDX-License-Identifier: MIT */
/*
 * The iommufd backend on a real kernel with the mock IOMMU. Prints "rig: mock: pass (N checks)", or
 * what was not so; exit code 77: this kernel has no mock. To be run as root, where nothing else
 * uses /dev/iommu (scripts/rig-mock starts such a kernel).
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mock-host.h"

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

    WORKS(rig, rig_map(rig, IOVA, 4, RW));
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, 4 * PAGE));
    CHECK(rig_pinned_kib() == before + 16);
    FAILS(rig, -EEXIST, rig_map(rig, IOVA + 3 * PAGE, 2, RW));
    FAILS(rig, -ENOENT, rig_unmap(rig, IOVA, 2));
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, 4 * PAGE));
    FAILS(rig, -EFAULT,
          viommu_host_ioas_map(rig->host, rig->ioas, IOVA + 64 * PAGE, (void *)(uintptr_t)PAGE,
                               PAGE, RW, &rig->error));
    FAILS(rig, -ENOENT,
          viommu_host_ioas_map(rig->host, rig->parent, IOVA, rig->memory, PAGE, RW, &rig->error));
    WORKS(rig, rig_map(rig, IOVA + 8 * PAGE, 1, VIOMMU_HOST_MAP_READ));
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
    FAILS(rig, -EINVAL, rig_map(rig, MOCK_FIRST_IOVA - PAGE, 2, RW));
    SAYS(rig, "into 0x1000000-0x7fffffff");
    CHECK(!mock_reserve(&rig->mock, rig->ioas, 0x2000000, 0x100000));
    FAILS(rig, -EINVAL, rig_map(rig, 0x20ff000, 1, RW));
    SAYS(rig, "0x1000000-0x1ffffff, 0x2100000-0x7fffffff");
    count = 4;
    WORKS(rig, viommu_host_ioas_iova_ranges(rig->host, rig->ioas, ranges, &count, &rig->error));
    CHECK(count == 2);
}

/* Linux looks at a file when it pins it: with the first page table, long after the call to map. */
static void test_file_first(struct rig *rig)
{
    uint32_t ioas = rig->ioas, hwpt;

    WORKS(rig, viommu_host_ioas_alloc(rig->host, &rig->ioas, &rig->error));
    WORKS(rig, rig_map(rig, IOVA, 1, RW));
    WORKS(rig, rig_hwpt(rig, rig->ioas, 0, &hwpt));
    CHECK(!mock_check_map(&rig->mock, hwpt, IOVA, rig->memory, PAGE));
    rig->ioas = ioas;
}

static void test_file(struct rig *rig)
{
    char *shared = rig_map_shared(rig);
    unsigned long before = rig->mock.map_files;

    WORKS(rig, viommu_host_ioas_map(rig->host, rig->ioas, IOVA, shared + PAGE, 2 * PAGE, RW,
                                    &rig->error));
    before += rig->mock.has_files;
    CHECK(rig->mock.map_files == before);
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, shared + PAGE, 2 * PAGE));
    WORKS(rig, rig_map(rig, IOVA + 16 * PAGE, 1, RW)); /* elsewhere in memory: by address */
    CHECK(rig->mock.map_files == before);
    /* The mapping of the file goes, the file is still pinned. */
    munmap(shared, SHARED);
    WORKS(rig, rig_unmap(rig, IOVA, 2));
    /* A descriptor that is no memfd: by address. */
    WORKS(rig, viommu_iommufd_add_file(rig->host, rig->memory, PAGE, 0, 0, &rig->error));
    WORKS(rig, rig_map(rig, IOVA, 1, RW));
    CHECK(rig->mock.map_files == before);
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, PAGE));
    test_file_first(rig);
}

static void check_iotlbs(struct rig *rig, const uint32_t values[MOCK_IOTLBS])
{
    for (uint32_t i = 0; i < MOCK_IOTLBS; i++)
        CHECK(!mock_check_iotlb(&rig->mock, rig->nested, i, values[i]));
}

static void test_invalidate(struct rig *rig)
{
    struct mock_invalidate entries[MOCK_IOTLBS] = {{0, 0}, {0, 2}, {0, 99}, {0, 1}};
    uint32_t count = MOCK_IOTLBS;

    check_iotlbs(rig, (uint32_t[]){0x1234, 0x1234, 0x1234, 0x1234});
    /* The third is refused: two were done, and the rest was not begun. */
    FAILS(rig, -EINVAL, rig_invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    CHECK(count == 2);
    SAYS(rig, "handled 2 of 4");
    check_iotlbs(rig, (uint32_t[]){0, 0x1234, 0, 0x1234});
    /* On from behind the one that was refused. */
    count = 1;
    WORKS(rig, rig_invalidate(rig, MOCK_INVALIDATE_DATA, entries + 3, &count));
    CHECK(count == 1);
    check_iotlbs(rig, (uint32_t[]){0, 0, 0, 0x1234});
    entries[0].flags = 0x10;
    count = 4;
    FAILS(rig, -EOPNOTSUPP, rig_invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    CHECK(count == 0);
    count = 1;
    FAILS(rig, -EINVAL, rig_invalidate(rig, MOCK_INVALIDATE_DATA + 1, entries, &count));
    CHECK(count == 0);
    entries[0].flags = MOCK_INVALIDATE_ALL;
    count = 1;
    WORKS(rig, rig_invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
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
    WORKS(rig, rig_invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    CHECK(count == many);
    check_iotlbs(rig, (uint32_t[]){0, 0x1234, 0x1234, 0});
    entries[many - 3].iotlb = 99;
    count = many;
    FAILS(rig, -EINVAL, rig_invalidate(rig, MOCK_INVALIDATE_DATA, entries, &count));
    CHECK(count == many - 3);
    free(entries);
}

static void test_nesting(struct rig *rig)
{
    uint32_t plain, other, id;

    WORKS(rig, rig_hwpt(rig, rig->ioas, 0, &plain));
    other = rig->parent;
    rig->parent = plain;
    FAILS(rig, -EINVAL, rig_nest(rig, 0, 0, &id)); /* no nesting parent */
    rig->parent = other;
    FAILS(rig, -EOPNOTSUPP, rig_nest(rig, VIOMMU_HOST_HWPT_NEST_PARENT, 0, &id));
    FAILS(rig, -EOPNOTSUPP, rig_hwpt(rig, rig->parent, 0, &id)); /* no data */
    FAILS(rig, -EINVAL, rig_hwpt(rig, 4000, 0, &id));
    WORKS(rig, rig_attach(rig, NONE, rig->nested));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, rig->nested, &rig->error));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, rig->parent, &rig->error));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, rig->ioas, &rig->error));
    FAILS(rig, -ENOENT, rig_attach(rig, NONE, 4000));
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

    FAILS(rig, -EOPNOTSUPP, rig_hwpt(rig, rig->ioas, VIOMMU_HOST_HWPT_PASID, &id));
    SAYS(rig, "6.15");
    FAILS(rig, -EINVAL, rig_attach(rig, 7, rig->nested));
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
    WORKS(rig, rig_hwpt(rig, rig->ioas, 0, &plain));
    WORKS(rig, rig_nest(rig, rig_pasid_flag(rig), 0, &other));
    WORKS(rig, rig_attach(rig, 7, rig->nested));
    CHECK(!mock_check_pasid(&rig->mock, rig->device, 7, rig->nested));
    WORKS(rig, rig_attach(rig, 7, other)); /* replaced */
    CHECK(!mock_check_pasid(&rig->mock, rig->device, 7, other));
    FAILS(rig, -EINVAL, rig_attach(rig, 7, plain)); /* refused: the old one stays */
    CHECK(!mock_check_pasid(&rig->mock, rig->device, 7, other));
    FAILS(rig, -EINVAL, rig_attach(rig, 8, plain));
    FAILS(rig, -EINVAL, rig_attach(rig, NONE, plain)); /* while a PASID is attached */
    FAILS(rig, -EINVAL, rig_attach(rig, 0, other));
    WORKS(rig, rig_attach(rig, (1u << MOCK_PASID_BITS) - 1, rig->parent));
    WORKS(rig, viommu_host_detach(rig->host, rig->device, 7, &rig->error));
    CHECK(!mock_check_pasid(&rig->mock, rig->device, 7, 0));
    WORKS(rig, viommu_host_detach(rig->host, rig->device, 7, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, other, &rig->error));
    viommu_host_unbind(rig->host, rig->device);
    FAILS(rig, -ENOENT, rig_attach(rig, 7, rig->nested));
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
    WORKS(rig, rig_nest(rig, VIOMMU_HOST_HWPT_FAULT_QUEUE | rig_pasid_flag(rig), queue, &id));
    if (viommu_host_attach(rig->host, rig->device, NONE, id, &rig->error) == -ENODEV) {
        SAYS(rig, "makes no page requests"); /* a kernel without CONFIG_IOMMU_IOPF */
        return;
    }
    if (pasids)
        WORKS(rig, rig_attach(rig, second, id));
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
    WORKS(rig, rig_attach(rig, NONE, rig->parent));
    WORKS(rig, viommu_host_destroy_object(rig->host, id, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, queue, &rig->error));
}

static void test_dirty(struct rig *rig)
{
    uint64_t bitmap = 0;
    uint32_t plain;

    WORKS(rig, rig_hwpt(rig, rig->ioas, 0, &plain));
    FAILS(rig, -EOPNOTSUPP, viommu_iommufd_set_dirty_tracking(rig->host, plain, true, &rig->error));
    /* Each on its own: what is mapped at once may be one large entry, which is dirty as a whole. */
    for (uint64_t i = 0; i < PAGES; i++)
        WORKS(rig, rig_map(rig, IOVA + i * PAGE, 1, RW));
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
    WORKS(rig, rig_map(rig, IOVA, 2, RW));
    rig->device = third;
    WORKS(rig, rig_hwpt(rig, rig->ioas, 0, &own));
    WORKS(rig, rig_attach(rig, NONE, own));
    rig->device = first;
    WORKS(rig, rig_map(rig, IOVA + 2 * PAGE, 2, RW));
    CHECK(!mock_check_map(&rig->mock, own, IOVA, rig->memory, 2 * PAGE));
    CHECK(!mock_check_map(&rig->mock, own, IOVA + 2 * PAGE, rig->memory, 2 * PAGE));
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA + 2 * PAGE, rig->memory, 2 * PAGE));
    viommu_host_unbind(rig->host, first);
    CHECK(!mock_check_map(&rig->mock, rig->parent, IOVA, rig->memory, 2 * PAGE));
}

static void test_assign(struct rig *rig)
{
    struct census before;
    uint32_t parent;

    rig_begin_guest(rig);
    before = rig_census(rig);
    WORKS(rig, rig_assign(rig));
    parent =
        viommu_host_device_parent_hwpt(viommu_assigned_device_host_device(rig->guest.assigned));
    CHECK(!mock_check_map(&rig->mock, parent, IOVA, rig->memory, PAGES * PAGE));
    rig_unassign(rig);
    CHECK(rig_same_census(rig, &before));
    guest_end(&rig->guest);
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
        struct census before = rig_census(&rig);

        rig_subject(subjects[i].name);
        rig_begin(&rig);
        subjects[i].test(&rig);
        rig_subject(subjects[i].name);
        rig_end(&rig);
        CHECK(rig_same_census(&rig, &before));
    }
    rig_check_kernel_log();
    mock_close(&rig.mock);
    return rig_verdict();
}
