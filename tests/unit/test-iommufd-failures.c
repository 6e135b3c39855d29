/* SPDX-License-Identifier: MIT */
/*
 * Every system call of the iommufd backend made to fail in turn, with every errno of note: the call
 * on the host fails, or does without; the state is as it was; and the same call works afterwards.
 */
#include "iommufd-rig.h"
#include "no-memory.h"

#include <viommu/assign.h>

static const int errnos[] = {ENOMEM, EINVAL, EBUSY, ENOENT, EOPNOTSUPP, ENOTTY, EIO, EFAULT};

static char *memory;
static uint32_t made;

/* A call with its undoing, in a state in which it works. */
struct step {
    const char *name;
    int (*make)(struct iommufd_rig *rig);
    void (*undo)(struct iommufd_rig *rig);
};

static int bind_make(struct iommufd_rig *rig)
{
    return viommu_host_bind(rig->host, "0000:02:00.0", &made, &rig->error);
}

static int bind_path_make(struct iommufd_rig *rig)
{
    return viommu_host_bind(rig->host, "/dev/vfio/devices/vfio2", &made, &rig->error);
}

static void bind_undo(struct iommufd_rig *rig)
{
    viommu_host_unbind(rig->host, made);
}

static int ioas_make(struct iommufd_rig *rig)
{
    return viommu_host_ioas_alloc(rig->host, &made, &rig->error);
}

static void object_undo(struct iommufd_rig *rig)
{
    assert_int_equal(viommu_host_destroy_object(rig->host, made, &rig->error), 0);
}

static int map_make(struct iommufd_rig *rig)
{
    return viommu_host_ioas_map(rig->host, rig->ioas, 0x100000, memory, PAGE, RWMAP, &rig->error);
}

static void map_undo(struct iommufd_rig *rig)
{
    assert_int_equal(
        viommu_host_ioas_unmap(rig->host, rig->ioas, 0x100000, PAGE, NULL, &rig->error), 0);
}

static int unmap_make(struct iommufd_rig *rig)
{
    return viommu_host_ioas_unmap(rig->host, rig->ioas, 0x200000, PAGE, NULL, &rig->error);
}

static void unmap_undo(struct iommufd_rig *rig)
{
    assert_int_equal(viommu_host_ioas_map(rig->host, rig->ioas, 0x200000, memory + PAGE, PAGE,
                                          RWMAP, &rig->error),
                     0);
}

static int ranges_make(struct iommufd_rig *rig)
{
    struct viommu_host_iova_range ranges[4];
    size_t count = 4;

    return viommu_host_ioas_iova_ranges(rig->host, rig->ioas, ranges, &count, &rig->error);
}

static int paging_make(struct iommufd_rig *rig)
{
    return rig_hwpt(rig, rig->ioas, 0, &made);
}

static int nested_make(struct iommufd_rig *rig)
{
    return rig_nest(rig, VIOMMU_HOST_HWPT_PASID, 0, &made);
}

static int queue_make(struct iommufd_rig *rig)
{
    int descriptor;

    return viommu_host_fault_queue_alloc(rig->host, &made, &descriptor, &rig->error);
}

static int attach_make(struct iommufd_rig *rig)
{
    return viommu_host_attach(rig->host, rig->device, VIOMMU_PASID_NONE, rig->nested, &rig->error);
}

static void attach_undo(struct iommufd_rig *rig)
{
    assert_int_equal(
        viommu_host_attach(rig->host, rig->device, VIOMMU_PASID_NONE, rig->parent, &rig->error), 0);
}

static int pasid_make(struct iommufd_rig *rig)
{
    return viommu_host_attach(rig->host, rig->device, 9, rig->nested, &rig->error);
}

static void pasid_undo(struct iommufd_rig *rig)
{
    assert_int_equal(viommu_host_detach(rig->host, rig->device, 9, &rig->error), 0);
}

static int detach_make(struct iommufd_rig *rig)
{
    return viommu_host_detach(rig->host, rig->device, VIOMMU_PASID_NONE, &rig->error);
}

static int invalidate_make(struct iommufd_rig *rig)
{
    struct viommu_host_vtd_s1_invalidate entries[3] = {{.npages = 1}};
    uint32_t count = 3;
    int ret = viommu_host_invalidate(rig->host, rig->nested, VIOMMU_HOST_DATA_VTD_S1, entries,
                                     sizeof(entries[0]), &count, &rig->error);

    assert_int_equal(count, ret ? 0 : 3);
    return ret;
}

static int destroy_make(struct iommufd_rig *rig)
{
    return viommu_host_destroy_object(rig->host, rig->nested, &rig->error);
}

static void destroy_undo(struct iommufd_rig *rig)
{
    assert_int_equal(rig_nest(rig, VIOMMU_HOST_HWPT_PASID, 0, &rig->nested), 0);
}

static int dirty_make(struct iommufd_rig *rig)
{
    return viommu_iommufd_set_dirty_tracking(rig->host, rig->parent, true, &rig->error);
}

static int dirty_get_make(struct iommufd_rig *rig)
{
    uint64_t bitmap = 0;

    return viommu_iommufd_get_dirty(rig->host, rig->parent, 0, PAGE, PAGE, &bitmap, true,
                                    &rig->error);
}

static int info_make(struct iommufd_rig *rig)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};

    return viommu_host_hw_info(rig->host, rig->device, &info, &rig->error);
}

static const struct step steps[] = {
    {"bind", bind_make, bind_undo},
    {"bind by path", bind_path_make, bind_undo},
    {"ioas_alloc", ioas_make, object_undo},
    {"map", map_make, map_undo},
    {"unmap", unmap_make, unmap_undo},
    {"iova_ranges", ranges_make, NULL},
    {"paging", paging_make, object_undo},
    {"nested", nested_make, object_undo},
    {"queue", queue_make, object_undo},
    {"attach", attach_make, attach_undo},
    {"pasid", pasid_make, pasid_undo},
    {"detach", detach_make, attach_undo},
    {"invalidate", invalidate_make, NULL},
    {"destroy", destroy_make, destroy_undo},
    {"dirty", dirty_make, NULL},
    {"get_dirty", dirty_get_make, NULL},
    {"hw_info", info_make, NULL},
};

static void stage(struct iommufd_rig *rig)
{
    rig_host(rig, LINUX_7_3);
    rig_bind(rig);
    assert_int_equal(rig_hwpt(rig, rig->ioas,
                              VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID |
                                  VIOMMU_HOST_HWPT_DIRTY_TRACKING,
                              &rig->parent),
                     0);
    attach_undo(rig);
    unmap_undo(rig);
    destroy_undo(rig);
    assert_int_equal(dirty_make(rig), 0);
    assert_int_equal(viommu_iommufd_add_file(rig->host, memory, PAGE, 7, 0, &rig->error), 0);
}

/* False: the step makes less than n calls. */
static bool fail_nth(struct iommufd_rig *rig, const struct step *step, unsigned long n, int code)
{
    struct fake_census before = fake_census(&rig->kernel);
    int ret;

    rig->kernel.failed = false;
    rig->kernel.fail_call = rig->kernel.calls + n;
    rig->kernel.fail_errno = code;
    rig->error.message[0] = '\0';
    ret = step->make(rig);
    rig->kernel.fail_call = 0;
    if (ret) {
        assert_true(rig->kernel.failed);
        assert_true(rig->error.message[0]);
        assert_census(&rig->kernel, &before);
        assert_int_equal(step->make(rig), 0);
    }
    if (step->undo)
        step->undo(rig);
    assert_census(&rig->kernel, &before);
    return rig->kernel.failed;
}

static void test_each_call_fails(void **state)
{
    unsigned long tried = 0;

    (void)state;
    memory = unit_pages(2);
    for (size_t i = 0; i < COUNT(steps); i++) {
        for (size_t j = 0; j < COUNT(errnos); j++) {
            struct iommufd_rig rig;

            stage(&rig);
            for (unsigned long n = 1; fail_nth(&rig, &steps[i], n, errnos[j]); n++)
                tried++;
            rig_end(&rig);
        }
    }
    print_message("%lu failures\n", tried);
    assert_true(tried > 250);
    free(memory);
}

/* False: the step makes less than n allocations. */
static bool starve_nth(struct iommufd_rig *rig, const struct step *step, int n)
{
    struct fake_census before = fake_census(&rig->kernel);
    bool starved;
    int ret;

    no_memory_after(n);
    ret = step->make(rig);
    starved = no_memory_failed();
    if (ret) {
        assert_true(starved);
        assert_int_equal(ret, -ENOMEM);
        assert_non_null(strstr(rig->error.message, "No memory"));
        assert_census(&rig->kernel, &before);
        assert_int_equal(step->make(rig), 0);
    }
    if (step->undo)
        step->undo(rig);
    assert_census(&rig->kernel, &before);
    return starved;
}

static void test_no_memory(void **state)
{
    struct viommu_host *host;
    struct iommufd_rig rig;
    int tried = 0, ret = -1;

    (void)state;
    memory = unit_pages(2);
    stage(&rig);
    for (size_t i = 0; i < COUNT(steps); i++) {
        for (int n = 0; starve_nth(&rig, &steps[i], n); n++)
            tried++;
    }
    assert_true(tried > 8);
    for (int n = 0; ret; n++) {
        struct fake_census before = fake_census(&rig.kernel);

        no_memory_after(n);
        ret = iommufd_create(&host, &rig.kernel.sys, rig.kernel.root, NULL, &rig.error);
        assert_int_equal(ret, no_memory_failed() ? -ENOMEM : 0);
        if (!ret)
            viommu_host_destroy(host);
        assert_census(&rig.kernel, &before);
    }
    no_memory_after(0);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "nic", 5, &rig.error), -ENOMEM);
    no_memory_after(0);
    assert_int_equal(viommu_iommufd_add_file(rig.host, memory + PAGE, PAGE, 7, 0, &rig.error),
                     -ENOMEM);
    assert_true(no_memory_failed());
    rig_end(&rig);
    free(memory);
}

/* Page requests whose reading fails are still there. */
static void test_reading_fails(void **state)
{
    struct viommu_host_page_response response = {.cookie = 1};
    struct viommu_host_page_request got[4];
    struct iommufd_rig rig;
    size_t count = 2;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    rig_parent(&rig);
    assert_int_equal(queue_make(&rig), 0);
    fake_page_request(&rig.kernel, made, 1, 4);
    for (unsigned long n = 1; n <= 3; n++) { /* poll, read, read of the large group */
        count = 2;
        rig.kernel.fail_call = rig.kernel.calls + n;
        rig.kernel.fail_errno = EIO;
        assert_int_equal(viommu_host_fault_queue_read(rig.host, made, got, &count, &rig.error),
                         -EIO);
        assert_int_equal(count, 0);
        assert_says(&rig, "cannot be read");
    }
    /* That what is kept is not polled for is no failure. */
    count = 2;
    rig.kernel.fail_call = rig.kernel.calls + 4;
    assert_int_equal(viommu_host_fault_queue_read(rig.host, made, got, &count, &rig.error), 0);
    assert_int_equal(count, 2);
    rig.kernel.fail_call = rig.kernel.calls + 1;
    assert_int_equal(viommu_host_fault_queue_respond(rig.host, made, &response, &rig.error), -EIO);
    assert_says(&rig, "takes no answer");
    assert_int_equal(viommu_host_fault_queue_respond(rig.host, made, &response, &rig.error), 0);

    /* A HWPT that is not made does not use the queue. */
    rig.kernel.fail_call = rig.kernel.calls + 1;
    rig.kernel.fail_errno = EADDRINUSE;
    assert_int_equal(rig_nest(&rig, VIOMMU_HOST_HWPT_FAULT_QUEUE, made, &rig.nested), -EADDRINUSE);
    assert_says(&rig, "memory end lower");
    object_undo(&rig);
    rig_end(&rig);
}

/* A fault queue whose end fails half-way can be ended again, and takes nothing with it. */
static void test_queue_end_fails(void **state)
{
    struct viommu_host_page_request request;
    struct iommufd_rig rig;
    size_t count = 1;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    assert_int_equal(queue_make(&rig), 0);
    rig.kernel.fail_call = rig.kernel.calls + 1;
    rig.kernel.fail_errno = EBUSY;
    assert_int_equal(viommu_host_destroy_object(rig.host, made, &rig.error), -EBUSY);
    assert_int_equal(viommu_host_fault_queue_read(rig.host, made, &request, &count, &rig.error),
                     -ENOENT);
    object_undo(&rig);
    rig_end(&rig);
}

/* A passed descriptor whose hw_info fails stays bound, attached to nothing, and can be tried again.
 */
static void test_passed_in_and_not_described(void **state)
{
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    assert_int_equal(
        viommu_iommufd_add_device(rig.host, "nic", fake_open_vfio(&rig.kernel, 1), &rig.error), 0);
    for (unsigned long n = 1; n < 30 && !rig.kernel.devices[1].bound; n++) {
        rig.kernel.fail_call = rig.kernel.calls + n;
        rig.kernel.fail_errno = EFAULT;
        assert_int_not_equal(viommu_host_bind(rig.host, "nic", &rig.device, &rig.error), 1);
        if (!rig.kernel.devices[1].bound)
            continue;
        rig.kernel.fail_call = 0;
        break;
    }
    assert_true(rig.kernel.devices[1].bound);
    viommu_host_unbind(rig.host, rig.kernel.devices[1].id);
    rig_end(&rig);
}

/* The host's end, with everything in use, and every destroy failing. */
static void test_end_of_everything(void **state)
{
    struct iommufd_rig rig;
    int descriptor;

    (void)state;
    memory = unit_pages(2);
    stage(&rig);
    assert_int_equal(viommu_host_fault_queue_alloc(rig.host, &made, &descriptor, &rig.error), 0);
    assert_int_equal(
        rig_nest(&rig, VIOMMU_HOST_HWPT_FAULT_QUEUE | VIOMMU_HOST_HWPT_PASID, made, &made), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 1, made, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 2, rig.nested, &rig.error), 0);
    rig_end(&rig);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call_fails),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_reading_fails),
        cmocka_unit_test(test_queue_end_fails),
        cmocka_unit_test(test_passed_in_and_not_described),
        cmocka_unit_test(test_end_of_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
