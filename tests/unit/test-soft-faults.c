/* SPDX-License-Identifier: MIT */
/* Page requests of simulated devices: fault queues, groups, answers, and who answers at the end. */
#include "soft-rig.h"

#include <poll.h>

#define NONE VIOMMU_PASID_NONE
#define R    VIOMMU_DMA_READ
#define W    VIOMMU_DMA_WRITE

struct queue {
    uint32_t id;
    int descriptor;
};

static int nest(struct rig *rig, const struct queue *queue, uint32_t *hwpt)
{
    struct viommu_host_vtd_s1 data = {.pgtbl_addr = PML4, .addr_width = 48};
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = rig->device_id,
        .parent_id = rig->parent,
        .flags = VIOMMU_HOST_HWPT_PASID | VIOMMU_HOST_HWPT_FAULT_QUEUE,
        .data_type = VIOMMU_HOST_DATA_VTD_S1,
        .data = &data,
        .data_length = sizeof(data),
        .fault_queue_id = queue->id,
    };

    return viommu_host_hwpt_alloc(rig->host, &options, hwpt, &rig->error);
}

/* A device attached to a nested table that delivers to the queue. */
static void start(struct rig *rig, struct queue *queue)
{
    rig_create(rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    rig_map(rig, VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE);
    rig_parent(rig, VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID);
    rig_table(rig);
    assert_int_equal(
        viommu_host_fault_queue_alloc(rig->host, &queue->id, &queue->descriptor, &rig->error), 0);
    assert_int_equal(nest(rig, queue, &rig->nested), 0);
    assert_int_equal(viommu_host_attach(rig->host, rig->device_id, NONE, rig->nested, &rig->error),
                     0);
}

static void stop(struct rig *rig, const struct queue *queue)
{
    assert_int_equal(viommu_host_attach(rig->host, rig->device_id, NONE, rig->parent, NULL), 0);
    assert_int_equal(viommu_host_destroy_object(rig->host, rig->nested, NULL), 0);
    rig->nested = 0;
    assert_int_equal(viommu_host_destroy_object(rig->host, queue->id, NULL), 0);
    rig_destroy(rig);
}

static int ask(struct rig *rig, uint16_t group, bool last)
{
    const struct viommu_pci_page_request request = {DATA + 5, NONE, group, R | W, last};

    return viommu_soft_device_page_request(rig->device, &request);
}

static size_t take(struct rig *rig, const struct queue *queue,
                   struct viommu_host_page_request *requests, size_t room)
{
    assert_int_equal(
        viommu_host_fault_queue_read(rig->host, queue->id, requests, &room, &rig->error), 0);
    return room;
}

static int respond(struct rig *rig, const struct queue *queue, uint32_t cookie, uint32_t code)
{
    const struct viommu_host_page_response response = {cookie, code};

    return viommu_host_fault_queue_respond(rig->host, queue->id, &response, &rig->error);
}

static bool readable(const struct queue *queue)
{
    struct pollfd one = {.fd = queue->descriptor, .events = POLLIN};

    return poll(&one, 1, 0) == 1;
}

static void answered(struct rig *rig, uint16_t group, uint8_t code)
{
    struct viommu_pci_page_response response;

    assert_true(viommu_soft_device_page_response(rig->device, &response));
    assert_int_equal(response.group, group);
    assert_int_equal(response.code, code);
    assert_int_equal(response.pasid, NONE);
}

static void test_groups(void **state)
{
    struct viommu_host_page_request requests[4];
    struct queue queue;
    struct rig rig;

    (void)state;
    start(&rig, &queue);
    assert_int_equal(take(&rig, &queue, requests, 4), 0);
    assert_int_equal(ask(&rig, 1, false), 0);
    assert_int_equal(ask(&rig, 2, true), 0);
    assert_int_equal(ask(&rig, 1, false), 0);
    assert_true(readable(&queue));
    assert_int_equal(take(&rig, &queue, requests, 4), 1);
    assert_false(readable(&queue));
    assert_int_equal(requests[0].group, 2);
    assert_int_equal(requests[0].flags, VIOMMU_HOST_PAGE_LAST);
    assert_int_equal(requests[0].address, DATA);
    assert_int_equal(requests[0].device_id, rig.device_id);
    assert_int_equal(requests[0].access, R | W);
    assert_int_equal(requests[0].length, PAGE);
    assert_int_equal(ask(&rig, 1, true), 0);
    /* In parts; an answer before the whole group was read is none. */
    assert_int_equal(take(&rig, &queue, requests + 1, 2), 2);
    assert_true(readable(&queue));
    assert_int_equal(requests[1].flags, 0);
    assert_int_equal(respond(&rig, &queue, requests[1].cookie, 0), -EINVAL);
    assert_int_equal(take(&rig, &queue, requests + 3, 1), 1);
    assert_int_equal(requests[3].flags, VIOMMU_HOST_PAGE_LAST);
    assert_int_equal(requests[1].cookie, requests[3].cookie);
    assert_int_not_equal(requests[1].cookie, requests[0].cookie);
    assert_int_equal(respond(&rig, &queue, requests[1].cookie, 2), -EINVAL);
    assert_int_equal(respond(&rig, &queue, requests[1].cookie, 1), 0);
    answered(&rig, 1, VIOMMU_PCI_PAGE_INVALID);
    assert_int_equal(respond(&rig, &queue, requests[0].cookie, 0), 0);
    answered(&rig, 2, VIOMMU_PCI_PAGE_SUCCESS);
    assert_int_equal(respond(&rig, &queue, requests[0].cookie, 0), -EINVAL);
    stop(&rig, &queue);
}

static void test_limits(void **state)
{
    struct queue queue;
    struct rig rig;

    (void)state;
    start(&rig, &queue);
    for (unsigned int i = 0; i < 32; i++)
        assert_int_equal(ask(&rig, 7, false), 0);
    assert_int_equal(ask(&rig, 7, true), -ENOSPC);
    for (unsigned int i = 0; i < 511; i++)
        assert_int_equal(ask(&rig, 8, true), 0);
    assert_int_equal(ask(&rig, 9, true), -ENOSPC);
    stop(&rig, &queue);
}

static void test_end(void **state)
{
    struct viommu_host_page_request requests[4];
    struct queue queue;
    struct rig rig;

    (void)state;
    start(&rig, &queue);
    assert_int_equal(ask(&rig, 1, true), 0);
    assert_int_equal(take(&rig, &queue, requests, 4), 1);
    assert_int_equal(ask(&rig, 2, true), 0);
    assert_int_equal(ask(&rig, 3, false), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, queue.id, &rig.error), -EBUSY);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, NONE, &rig.error), 0);
    answered(&rig, 1, VIOMMU_PCI_PAGE_INVALID);
    answered(&rig, 2, VIOMMU_PCI_PAGE_INVALID);
    assert_false(readable(&queue));
    assert_int_equal(take(&rig, &queue, requests + 1, 3), 0);
    assert_int_equal(respond(&rig, &queue, requests[0].cookie, 0), -EINVAL);
    assert_int_equal(ask(&rig, 1, true), -EOPNOTSUPP);
    stop(&rig, &queue);
}

static void test_refusals(void **state)
{
    struct viommu_host_page_request request;
    struct queue nothing = {.id = 4711}, queue;
    size_t one = 1;
    struct rig rig;
    uint32_t id;

    (void)state;
    rig_create(&rig, "no-nesting", VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(ask(&rig, 1, true), -EOPNOTSUPP);
    rig_destroy(&rig);
    start(&rig, &queue);
    assert_int_equal(nest(&rig, &nothing, &id), -ENOENT);
    assert_int_equal(viommu_host_fault_queue_read(rig.host, 4711, &request, &one, NULL), -ENOENT);
    assert_int_equal(one, 0);
    assert_int_equal(respond(&rig, &nothing, 1, 0), -ENOENT);
    stop(&rig, &queue);
}

/* IOMMUs without page requests take no table that wants them. */
static void test_no_prs(void **state)
{
    struct viommu_host_hw_info info = {
        .size = sizeof(info),
        .type = VIOMMU_HOST_IOMMU_VTD,
        .registers = {0xf9ed008cee780c66, 0x3fef9ea6f0efdf & ~(UINT64_C(1) << 29)},
        .max_pasid_log2 = 20};
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_host_hw_info told = {.size = sizeof(told)};
    struct queue queue;
    struct rig rig;
    uint32_t id;

    (void)state;
    options.custom = &info;
    rig_create_with(&rig, &options);
    rig_map(&rig, VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE);
    rig_parent(&rig, VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device_id, &told, NULL), 0);
    assert_false(told.page_requests);
    assert_int_equal(viommu_host_fault_queue_alloc(rig.host, &queue.id, &queue.descriptor, NULL),
                     0);
    assert_int_equal(nest(&rig, &queue, &id), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, id, &rig.error), -ENODEV);
    assert_int_equal(viommu_host_destroy_object(rig.host, id, NULL), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, queue.id, NULL), 0);
    rig_destroy(&rig);
}

/* A host that is destroyed with everything in use leaks nothing. */
static void test_destroy(void **state)
{
    struct viommu_host_page_request request;
    struct queue queue;
    struct rig rig;

    (void)state;
    start(&rig, &queue);
    assert_int_equal(ask(&rig, 1, true), 0);
    assert_int_equal(ask(&rig, 2, false), 0);
    assert_int_equal(take(&rig, &queue, &request, 1), 1);
    viommu_soft_device_remove(rig.device);
    viommu_host_destroy(rig.host);
    free(rig.memory);
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_NONE);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_end),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_prs), cmocka_unit_test(test_destroy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
