/* SPDX-License-Identifier: MIT */
/* The iommufd backend's fault queues on a fake kernel: requests kept, polled for, and dropped. */
#include "host/host.h"
#include "iommufd-rig.h"

static void test_page_requests(void **state)
{
    struct viommu_host_page_request got[8];
    struct viommu_host_page_response response = {.cookie = 2};
    struct iommufd_rig rig;
    size_t count = 8, total = 0;
    uint32_t queue, other;
    int descriptor;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    rig_parent(&rig);
    assert_int_equal(viommu_host_fault_queue_alloc(rig.host, &queue, &descriptor, &rig.error), 0);
    assert_int_equal(rig_nest(&rig, VIOMMU_HOST_HWPT_FAULT_QUEUE, queue, &rig.nested), 0);
    assert_int_equal(rig_nest(&rig, VIOMMU_HOST_HWPT_FAULT_QUEUE, queue + 50, &other), -ENOENT);
    assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, got, &count, &rig.error), 0);
    assert_int_equal(count, 0);
    fake_page_request(&rig.kernel, queue, 1, 2);
    fake_page_request(&rig.kernel, queue, 2, 3);
    count = 8;
    assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, got, &count, &rig.error), 0);
    assert_int_equal(count, 5);
    assert_int_equal(got[4].flags, VIOMMU_HOST_PAGE_LAST);
    assert_int_equal(got[4].cookie, 2);
    assert_int_equal(viommu_host_fault_queue_respond(rig.host, queue, &response, &rig.error), 0);
    assert_int_equal(rig.kernel.answers[0][0], 2);
    assert_int_equal(viommu_host_fault_queue_respond(rig.host, queue, &response, &rig.error),
                     -EINVAL);

    /* A group that is larger than the room is handed out in pieces, each request once. */
    fake_page_request(&rig.kernel, queue, 3, 7);
    fake_page_request(&rig.kernel, queue, 4, 1);
    for (count = 3; count; count = 3) {
        assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, got, &count, &rig.error), 0);
        for (size_t i = 0; i < count; i++, total++)
            assert_int_equal(got[i].cookie, total < 7 ? 3 : 4);
        if (!count)
            break;
    }
    assert_int_equal(total, 8);

    assert_int_equal(viommu_host_destroy_object(rig.host, queue, &rig.error), -EBUSY);
    assert_says(&rig, "destroy the HWPTs that deliver to it");
    count = 1;
    assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, got, &count, &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.nested, &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, queue, &rig.error), 0);
    assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, got, &count, &rig.error),
                     -ENOENT);
    assert_int_equal(viommu_host_fault_queue_respond(rig.host, rig.parent, &response, &rig.error),
                     -ENOENT);
    rig_end(&rig);
}

/* While part of a group is kept, the descriptor to poll for is readable by the eventfd. */
static void test_kept_requests_are_polled(void **state)
{
    struct viommu_host_page_request got[8];
    const struct fake_file *event;
    struct iommufd_rig rig;
    uint32_t queue;
    int descriptor;
    size_t count = 2;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    assert_int_equal(viommu_host_fault_queue_alloc(rig.host, &queue, &descriptor, &rig.error), 0);
    event = &rig.kernel.files[rig.kernel.files[descriptor - FAKE_FIRST].index - FAKE_FIRST];
    assert_int_equal(event->type, FAKE_FILE_EVENT);
    fake_page_request(&rig.kernel, queue, 1, 5);
    assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, got, &count, &rig.error), 0);
    assert_int_equal(event->event, 1);
    count = 2;
    assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, got, &count, &rig.error), 0);
    assert_int_equal(event->event, 1);
    count = 2;
    assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, got, &count, &rig.error), 0);
    assert_int_equal(count, 1);
    assert_int_equal(event->event, 0);
    rig_end(&rig);
}

static void rig_begin(struct iommufd_rig *rig)
{
    rig_host(rig, LINUX_7_3);
    rig_bind(rig);
    rig_parent(rig);
}

/* A queue of which one request was read and four more are kept: one of three attachments each. */
static const struct fake_file *keep_requests(struct iommufd_rig *rig, uint32_t *queue)
{
    static const struct {
        uint32_t other_device, flags, pasid, cookie;
    } kept[] = {
        {0, VIOMMU_HOST_PAGE_LAST, 0, 1},
        {0, VIOMMU_HOST_PAGE_LAST, 0, 2},
        {0, VIOMMU_HOST_PAGE_LAST | VIOMMU_HOST_PAGE_PASID, 5, 3},
        {1, VIOMMU_HOST_PAGE_LAST, 0, 4},
    };
    struct viommu_host_page_request got;
    struct fake_kernel *kernel = &rig->kernel;
    size_t count = 1;
    int descriptor;

    assert_int_equal(viommu_host_fault_queue_alloc(rig->host, queue, &descriptor, &rig->error), 0);
    /* A first group of two is too large for room for one: so all that wait are kept. */
    fake_page_request(kernel, *queue, 1, 1);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        fake_page_request(kernel, *queue, kept[i].cookie, 1);
    for (size_t i = 0; i < kernel->fault_count; i++)
        kernel->faults[i].dev_id = rig->device;
    kernel->faults[0].flags = 0;
    for (size_t i = 1; i < kernel->fault_count; i++) {
        kernel->faults[i].dev_id += kept[i - 1].other_device;
        kernel->faults[i].flags = kept[i - 1].flags;
        kernel->faults[i].pasid = kept[i - 1].pasid;
    }
    assert_int_equal(viommu_host_fault_queue_read(rig->host, *queue, &got, &count, &rig->error), 0);
    assert_int_equal(count, 1);
    return &kernel->files[kernel->files[descriptor - FAKE_FIRST].index - FAKE_FIRST];
}

static void assert_kept(struct iommufd_rig *rig, uint32_t queue, const uint32_t *cookies,
                        size_t expected)
{
    struct viommu_host_page_request got[8];
    size_t count = 8;

    assert_int_equal(viommu_host_fault_queue_read(rig->host, queue, got, &count, &rig->error), 0);
    assert_int_equal(count, expected);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(got[i].cookie, cookies[i]);
}

/* What an attachment left behind reaches nobody; what is not answered by the kernel is by us. */
static void test_detach_drops_kept(void **state)
{
    const struct fake_file *event;
    struct iommufd_rig rig;
    uint32_t queue;

    (void)state;
    rig_begin(&rig);
    event = keep_requests(&rig, &queue);
    assert_int_equal(viommu_host_detach(rig.host, rig.device, VIOMMU_PASID_NONE, &rig.error), 0);
    assert_int_equal(event->event, 1);
    assert_int_equal(rig.kernel.answer_count, 2);
    assert_int_equal(rig.kernel.answers[0][0], 1);
    assert_int_equal(rig.kernel.answers[0][1], 1);
    assert_int_equal(rig.kernel.answers[1][0], 2);
    assert_kept(&rig, queue, (uint32_t[]){3, 4}, 2);
    assert_int_equal(event->event, 0);
    rig_end(&rig);
}

static void test_replace_drops_kept(void **state)
{
    struct iommufd_rig rig;
    uint32_t queue;

    (void)state;
    rig_begin(&rig);
    assert_int_equal(
        viommu_host_attach(rig.host, rig.device, VIOMMU_PASID_NONE, rig.parent, &rig.error), 0);
    keep_requests(&rig, &queue);
    /* One that fails changes nothing. */
    rig.kernel.fail_call = rig.kernel.calls + 1;
    assert_true(
        viommu_host_attach(rig.host, rig.device, VIOMMU_PASID_NONE, rig.parent, &rig.error) < 0);
    rig.kernel.fail_call = 0;
    assert_int_equal(rig.kernel.answer_count, 0);
    assert_int_equal(
        viommu_host_attach(rig.host, rig.device, VIOMMU_PASID_NONE, rig.parent, &rig.error), 0);
    assert_kept(&rig, queue, (uint32_t[]){3, 4}, 2);
    rig_end(&rig);
}

static void test_unbind_drops_kept(void **state)
{
    const struct fake_file *event;
    struct iommufd_rig rig;
    uint32_t queue;

    (void)state;
    rig_begin(&rig);
    event = keep_requests(&rig, &queue);
    viommu_host_unbind(rig.host, rig.device);
    assert_kept(&rig, queue, (uint32_t[]){3, 4}, 2); /* PASID 5 never was attached */
    assert_int_equal(event->event, 0);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_requests),     cmocka_unit_test(test_kept_requests_are_polled),
        cmocka_unit_test(test_detach_drops_kept), cmocka_unit_test(test_replace_drops_kept),
        cmocka_unit_test(test_unbind_drops_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
