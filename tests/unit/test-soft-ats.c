/* SPDX-License-Identifier: MIT */
/* Device TLBs of simulated devices: translation requests, translated ones, what is forgotten when.
 */
#include "soft-rig.h"

#include <pthread.h>
#include <viommu/ats.h>

#define NONE VIOMMU_PASID_NONE
#define R    VIOMMU_DMA_READ
#define W    VIOMMU_DMA_WRITE
#define X    VIOMMU_DMA_EXECUTE
#define PRIV VIOMMU_DMA_PRIVILEGED
#define MAP  (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)
#define BASE (IOVA & ~(PAGE - 1))

/* What the device was told. */
struct tlb {
    unsigned int told, answered, warnings;
    struct viommu_pci_tlb_invalidation what[64];
    struct viommu_pci_page_response answer;
    int result;
};

static int forget(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    struct tlb *tlb = opaque;

    tlb->what[tlb->told++ % 64] = *what;
    return tlb->result;
}

static void take_answer(void *opaque, const struct viommu_pci_page_response *response)
{
    struct tlb *tlb = opaque;

    tlb->answered++;
    tlb->answer = *response;
}

static const struct viommu_pci_ats_ops tlb_ops = {sizeof(tlb_ops), forget, take_answer};

static void count_warning(void *opaque, enum viommu_log_level level, const char *message)
{
    struct tlb *tlb = opaque;

    (void)message;
    tlb->warnings += level == VIOMMU_LOG_WARNING;
}

/* A device with a TLB, attached to the guest's table. */
static void start(struct rig *rig, struct tlb *tlb)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;

    *tlb = (struct tlb){0};
    options.log = (struct viommu_log){count_warning, tlb, VIOMMU_LOG_WARNING};
    rig_create_with(rig, &options);
    assert_int_equal(viommu_soft_device_set_ats(rig->device, &tlb_ops, tlb, &rig->error), 0);
    rig_map(rig, MAP);
    rig_parent(rig, VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_PASID);
    rig_table(rig);
    assert_int_equal(rig_nest(rig, VIOMMU_HOST_VTD_S1_SRE, PML4, 48), 0);
    assert_int_equal(viommu_host_attach(rig->host, rig->device_id, 5, rig->nested, NULL), 0);
    tlb->told = 0;
}

static void stop(struct rig *rig)
{
    viommu_soft_device_unset_ats(rig->device);
    rig_destroy(rig);
}

static int ask(struct rig *rig, uint64_t iova, uint32_t pasid, uint8_t access,
               struct viommu_dma_result *result)
{
    const struct viommu_dma_request request = {iova, PAGE,   pasid,
                                               0,    access, VIOMMU_DMA_TRANSLATION_REQUEST};

    return viommu_soft_device_translate(rig->device, &request, result);
}

static uint8_t granted(struct rig *rig, uint64_t iova, uint32_t pasid, uint8_t access)
{
    struct viommu_dma_result result;

    assert_int_equal(ask(rig, iova, pasid, access, &result), 0);
    assert_int_equal(result.status, VIOMMU_DMA_OK);
    return result.permissions;
}

static enum viommu_dma_status move(struct rig *rig, uint64_t hpa, uint32_t pasid, bool write,
                                   uint64_t length, void *buffer)
{
    const struct viommu_dma_request request = {hpa, length, pasid, 0, 0, VIOMMU_DMA_TRANSLATED};
    struct viommu_dma_result result;
    int ret = write ? viommu_soft_device_write(rig->device, &request, buffer, &result)
                    : viommu_soft_device_read(rig->device, &request, buffer, &result);

    assert_int_equal(ret == 0, result.status == VIOMMU_DMA_OK);
    assert_int_equal(result.length, ret ? 0 : length);
    return result.status;
}

static void test_translation_requests(void **state)
{
    struct viommu_dma_result result;
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    assert_int_equal(ask(&rig, IOVA, 5, W, &result), 0);
    assert_int_equal(result.permissions, R | W);
    assert_true(result.gpa == (uintptr_t)rig_at(&rig, DATA + IOVA % PAGE));
    assert_int_equal(result.length, PAGE - IOVA % PAGE);
    assert_int_equal(result.granule_log2, 12);
    assert_int_equal(rig_entry_read(&rig, PT, 4) & (ACC | DRT), ACC | DRT);
    assert_int_equal(granted(&rig, IOVA, NONE, R), R | W);
    assert_int_equal(granted(&rig, IOVA, 5, R | X), R | W); /* ECAP.ERS is 0 */
    assert_int_equal(granted(&rig, IOVA, 5, R | PRIV), R | W | PRIV);
    assert_int_equal(rig_census(&rig).translation_requests, 4);
    assert_int_equal(rig_census(&rig).dma_requests, 0);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    stop(&rig);
}

static void test_execution(void **state)
{
    struct viommu_host_hw_info info = {
        .size = sizeof(info),
        .type = VIOMMU_HOST_IOMMU_VTD,
        .registers = {0xf9ed008cee780c66, 0x3fef9ea6f0efdf | UINT64_C(1) << 30},
        .max_pasid_log2 = 20};
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct tlb tlb = {0};
    struct rig rig;

    (void)state;
    options.custom = &info;
    rig_create_with(&rig, &options);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &tlb_ops, &tlb, NULL), 0);
    rig_map(&rig, MAP);
    rig_parent(&rig, VIOMMU_HOST_HWPT_PASID);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 5, rig.parent, NULL), 0);
    assert_int_equal(granted(&rig, DATA, 5, R | X), R | W | X);
    assert_int_equal(granted(&rig, DATA, 5, R), R | W);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    stop(&rig);
}

/* Fewer permissions than were asked for, or none, are an answer; the dirty bit is not touched. */
static void test_what_is_not_granted(void **state)
{
    struct viommu_dma_result result;
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, NONE, rig.nested, &rig.error), 0);
    assert_int_equal(granted(&rig, IOVA, 5, R), R); /* not dirty yet: written another time */
    assert_int_equal(rig_entry_read(&rig, PT, 4) & (ACC | DRT), ACC);
    rig_entry(&rig, PT, 4, DATA | P | US | XD);
    assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
    assert_int_equal(granted(&rig, IOVA, 5, R | W), R);
    assert_int_equal(granted(&rig, IOVA, 5, R | W | X), R);
    assert_int_equal(granted(&rig, IOVA, 5, W), 0);
    assert_int_equal(rig_entry_read(&rig, PT, 4) & DRT, 0);
    rig_entry(&rig, PT, 4, 0);
    assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
    assert_int_equal(ask(&rig, IOVA, 5, R, &result), 0);
    assert_int_equal(result.permissions, 0);
    assert_true(result.gpa == BASE);
    rig_entry(&rig, PT, 4, (RIG_PAGES * PAGE) | ALL); /* where there is no memory */
    assert_int_equal(granted(&rig, IOVA, 5, R), 0);
    assert_int_equal(rig_census(&rig).dma_faults, 0);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    stop(&rig);
}

/* A paging table without a first stage: read-only memory gives no right to write. */
static void test_second_stage_alone(void **state)
{
    struct rig rig;
    struct tlb tlb = {0};
    char byte = 1;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_HOARD);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &tlb_ops, &tlb, NULL), 0);
    rig_map(&rig, VIOMMU_HOST_MAP_READ);
    rig_parent(&rig, 0);
    assert_int_equal(granted(&rig, DATA, NONE, R | W), R);
    assert_int_equal(granted(&rig, DATA, NONE, W), 0);
    assert_int_equal(granted(&rig, RIG_PAGES * PAGE, NONE, R), 0);
    assert_int_equal(move(&rig, (uintptr_t)rig_at(&rig, DATA), NONE, false, 1, &byte),
                     VIOMMU_DMA_OK);
    assert_int_equal(byte, 0);
    assert_int_equal(move(&rig, (uintptr_t)rig_at(&rig, DATA), NONE, true, 1, &byte),
                     VIOMMU_DMA_READONLY);
    stop(&rig);
}

/* What the tables do not allow at all, and what is no translation request. */
static void test_refused(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    assert_int_equal(ask(&rig, IOVA, 5, R, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_BLOCKED);
    assert_int_equal(ask(&rig, 0xfee00000, NONE, R, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_INTERRUPT_RANGE);
    assert_int_equal(ask(&rig, UINT64_C(1) << 50, NONE, R, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_ADDRESS_WIDTH);
    assert_int_equal(rig_census(&rig).dma_faults, 3);
    request.address = IOVA;
    request.length = 8;
    request.access = R;
    assert_int_equal(viommu_soft_device_translate(rig.device, &request, &result), -EINVAL);
    request.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    assert_int_equal(viommu_soft_device_read(rig.device, &request, &request, &result), -EACCES);
    assert_int_equal(ask(&rig, IOVA, NONE, 0, &result), -EINVAL);
    stop(&rig);
}

/* The address that a translation gave is the host's own; others are not believed. */
static void test_translated_requests(void **state)
{
    struct viommu_dma_result result;
    uint64_t value = 0x1122334455667788, hpa;
    char page[2 * PAGE] = {0};
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    assert_int_equal(ask(&rig, IOVA, 5, W, &result), 0);
    hpa = result.gpa;
    assert_int_equal(move(&rig, hpa, 5, true, 8, &value), VIOMMU_DMA_OK);
    assert_memory_equal(rig_at(&rig, DATA + IOVA % PAGE), &value, 8);
    value = 0;
    assert_int_equal(move(&rig, hpa, NONE, false, 8, &value), VIOMMU_DMA_OK);
    assert_true(value == 0x1122334455667788);
    assert_int_equal(move(&rig, (uintptr_t)page, 5, false, 8, &value), VIOMMU_DMA_NO_MEMORY);
    assert_int_equal(move(&rig, hpa, 5, false, 2 * PAGE, page), VIOMMU_DMA_NO_MEMORY);
    assert_int_equal(move(&rig, UINT64_MAX - 7, 5, false, 8, &value), VIOMMU_DMA_NO_MEMORY);
    assert_int_equal(move(&rig, hpa, 6, false, 8, &value), VIOMMU_DMA_BLOCKED);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    assert_int_equal(move(&rig, hpa, 5, false, 8, &value), VIOMMU_DMA_BLOCKED);
    viommu_soft_device_unset_ats(rig.device);
    assert_int_equal(move(&rig, hpa, NONE, false, 8, &value), VIOMMU_DMA_UNSUPPORTED);
    assert_int_equal(ask(&rig, IOVA, NONE, R, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_UNSUPPORTED);
    stop(&rig);
}

static void expect_told(const struct tlb *tlb, unsigned int index, uint32_t pasid, uint64_t address,
                        uint64_t length)
{
    assert_true(index < tlb->told);
    assert_int_equal(tlb->what[index].pasid, pasid);
    assert_true(tlb->what[index].address == address);
    assert_true(tlb->what[index].length == length);
    assert_false(tlb->what[index].global);
}

/* Each table's invalidation, for each PASID that is attached to it, as a power of two. */
static void test_told_of_invalidations(void **state)
{
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    assert_int_equal(rig_invalidate(&rig, BASE, 1, 0), 0);
    assert_int_equal(tlb.told, 3);
    expect_told(&tlb, 0, NONE, BASE, PAGE);
    expect_told(&tlb, 1, 0, BASE, PAGE);
    expect_told(&tlb, 2, 5, BASE, PAGE);
    assert_int_equal(rig_invalidate(&rig, 0x7000, 2, 0), 0);
    expect_told(&tlb, 3, NONE, 0, 0x10000);
    assert_int_equal(rig_invalidate(&rig, 0x8000, 4, 0), 0);
    expect_told(&tlb, 6, NONE, 0x8000, 0x4000);
    assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
    expect_told(&tlb, 9, NONE, 0, 0);
    assert_int_equal(rig_invalidate(&rig, 0x1000, 0, 0), 0);
    assert_int_equal(rig_invalidate(&rig, 0x1001, 1, 0), -EINVAL);
    assert_int_equal(tlb.told, 12);
    assert_int_equal(rig_census(&rig).device_tlb_invalidations, 13); /* 1 by start() */
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    stop(&rig);
}

/* One call with more than a device remembers: everything, once; then single ones again. */
static void test_too_much_to_tell(void **state)
{
    struct viommu_host_vtd_s1_invalidate entries[40] = {{0}};
    uint32_t count = 40;
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    for (unsigned int i = 0; i < count; i++)
        entries[i] = (struct viommu_host_vtd_s1_invalidate){.addr = i * PAGE, .npages = 1};
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_VTD_S1, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     0);
    assert_int_equal(tlb.told, 1);
    assert_true(tlb.what[0].global && !tlb.what[0].length);
    for (unsigned int i = 0; i < count; i++)
        entries[i].addr = 0x5000;
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_VTD_S1, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     0);
    assert_int_equal(tlb.told, 4);
    expect_told(&tlb, 3, 5, 0x5000, PAGE);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    stop(&rig);
}

/* An attachment that ends or is replaced; memory that goes. What does not answer is logged. */
static void test_told_of_ends(void **state)
{
    uint64_t unmapped;
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 5, rig.nested, NULL), 0);
    assert_int_equal(tlb.told, 0); /* the same table */
    assert_int_equal(viommu_host_attach(rig.host, rig.device_id, 5, rig.parent, NULL), 0);
    assert_int_equal(tlb.told, 1);
    expect_told(&tlb, 0, 5, 0, 0);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, DATA, PAGE, &unmapped, NULL), 0);
    assert_int_equal(tlb.told, 4);
    expect_told(&tlb, 1, 5, DATA, PAGE);
    expect_told(&tlb, 2, NONE, 0, 0);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    expect_told(&tlb, 4, 5, 0, 0);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    assert_int_equal(tlb.told, 5);
    assert_int_equal(tlb.warnings, 0);
    tlb.result = -ETIMEDOUT;
    viommu_host_unbind(rig.host, rig.device_id);
    assert_int_equal(tlb.told, 6);
    expect_told(&tlb, 5, NONE, 0, 0);
    assert_int_equal(tlb.warnings, 1);
    stop(&rig);
}

/* A nested table with a fault queue, for page requests. */
static uint32_t deliver(struct rig *rig, uint32_t *queue)
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
    };
    int descriptor;
    uint32_t hwpt;

    assert_int_equal(viommu_host_fault_queue_alloc(rig->host, queue, &descriptor, NULL), 0);
    options.fault_queue_id = *queue;
    assert_int_equal(viommu_host_hwpt_alloc(rig->host, &options, &hwpt, &rig->error), 0);
    assert_int_equal(viommu_host_attach(rig->host, rig->device_id, 5, hwpt, &rig->error), 0);
    return hwpt;
}

static uint32_t request_page(struct rig *rig, uint32_t queue, uint16_t group)
{
    const struct viommu_pci_page_request request = {BASE, 5, group, R, true};
    struct viommu_host_page_request taken;
    size_t count = 1;

    assert_int_equal(viommu_soft_device_page_request(rig->device, &request), 0);
    assert_int_equal(viommu_host_fault_queue_read(rig->host, queue, &taken, &count, NULL), 0);
    assert_int_equal(count, 1);
    return taken.cookie;
}

static int respond(struct rig *rig, uint32_t queue, uint32_t cookie)
{
    const struct viommu_host_page_response response = {cookie, 0};

    return viommu_host_fault_queue_respond(rig->host, queue, &response, NULL);
}

/* After its end a device hears nothing; also when it is pulled out while it is bound and waits for
 * an answer. */
static void test_not_told_after_the_end(void **state)
{
    struct tlb tlb, other = {0};
    uint32_t queue, cookie;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    viommu_soft_device_unset_ats(rig.device);
    viommu_soft_device_unset_ats(rig.device);
    assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
    assert_int_equal(tlb.told, 0);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &tlb_ops, &other, NULL), 0);
    assert_int_equal(rig_invalidate(&rig, 0, UINT64_MAX, 0), 0);
    assert_int_equal(other.told, 3);
    deliver(&rig, &queue);
    other.told = 0;
    cookie = request_page(&rig, queue, 1);
    viommu_soft_device_remove(rig.device);
    assert_int_equal(respond(&rig, queue, cookie), -EINVAL);
    viommu_host_destroy(rig.host);
    free(rig.memory);
    assert_int_equal(other.told, 0);
    assert_int_equal(other.answered, 0);
    assert_int_equal(tlb.told, 0);
}

static void test_registration(void **state)
{
    const struct viommu_pci_ats_ops nothing = {.size = sizeof(nothing)};
    struct viommu_host_hw_info told = {.size = sizeof(told)};
    struct {
        struct viommu_pci_ats_ops ops;
        uint64_t more;
    } newer = {{sizeof(newer), forget, NULL}, 1};
    struct tlb tlb = {0};
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device_id, &told, NULL), 0);
    assert_true(told.ats);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &nothing, &tlb, &rig.error), -EINVAL);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &newer.ops, &tlb, &rig.error), -E2BIG);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &tlb_ops, &tlb, &rig.error), 0);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &tlb_ops, &tlb, &rig.error), -EBUSY);
    stop(&rig);
    rig_create(&rig, "alder-lake-system", VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device_id, &told, NULL), 0);
    assert_false(told.ats);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &tlb_ops, &tlb, &rig.error),
                     -EOPNOTSUPP);
    assert_non_null(strstr(rig.error.message, "ECAP.DT"));
    stop(&rig);
}

/* Answers come by themselves; all of them, when an attachment ends; none after a reset. */
static void test_answers(void **state)
{
    struct viommu_pci_page_response response;
    uint32_t hwpt, queue, cookie;
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    hwpt = deliver(&rig, &queue);
    cookie = request_page(&rig, queue, 3);
    assert_int_equal(tlb.answered, 0);
    assert_int_equal(respond(&rig, queue, cookie), 0);
    assert_int_equal(tlb.answered, 1);
    assert_int_equal(tlb.answer.group, 3);
    assert_int_equal(tlb.answer.pasid, 5);
    assert_int_equal(tlb.answer.code, VIOMMU_PCI_PAGE_SUCCESS);
    assert_false(viommu_soft_device_page_response(rig.device, &response));
    cookie = request_page(&rig, queue, 4);
    viommu_soft_device_reset(rig.device);
    assert_int_equal(respond(&rig, queue, cookie), -EINVAL);
    assert_int_equal(tlb.answered, 1);
    for (uint16_t group = 0; group < 512; group++)
        request_page(&rig, queue, group);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    assert_int_equal(tlb.answered, 513);
    assert_int_equal(tlb.answer.code, VIOMMU_PCI_PAGE_INVALID);
    assert_int_equal(viommu_host_destroy_object(rig.host, hwpt, NULL), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, queue, NULL), 0);
    stop(&rig);
}

/* A reset forgets what is in the queue, and what was answered and not asked for. */
static void test_reset_without_listener(void **state)
{
    const struct viommu_pci_page_request request = {BASE, 5, 9, R, true};
    struct viommu_host_page_request taken;
    struct viommu_pci_page_response response;
    uint32_t hwpt, queue;
    size_t count = 1;
    struct tlb tlb;
    struct rig rig;

    (void)state;
    start(&rig, &tlb);
    viommu_soft_device_unset_ats(rig.device);
    hwpt = deliver(&rig, &queue);
    assert_int_equal(respond(&rig, queue, request_page(&rig, queue, 1)), 0);
    assert_int_equal(viommu_soft_device_page_request(rig.device, &request), 0);
    viommu_soft_device_reset(rig.device);
    assert_false(viommu_soft_device_page_response(rig.device, &response));
    assert_int_equal(viommu_host_fault_queue_read(rig.host, queue, &taken, &count, NULL), 0);
    assert_int_equal(count, 0);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, hwpt, NULL), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, queue, NULL), 0);
    stop(&rig);
}

/*
 * A device that caches one translation and uses it in its own thread, while the table goes to and
 * fro between two pages: a page is not written any more once its invalidation has returned.
 */
struct worker {
    struct rig *rig;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    uint64_t generation, hpa;
    bool using, end;
    uint64_t writes;
};

static int worker_forget(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    struct worker *worker = opaque;

    (void)what;
    pthread_mutex_lock(&worker->lock);
    worker->generation++;
    worker->hpa = 0;
    while (worker->using)
        pthread_cond_wait(&worker->idle, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
    return 0;
}

static void worker_translate(struct worker *worker)
{
    struct viommu_dma_result result;
    uint64_t generation;

    pthread_mutex_lock(&worker->lock);
    generation = worker->generation;
    pthread_mutex_unlock(&worker->lock);
    ask(worker->rig, IOVA, NONE, W, &result);
    pthread_mutex_lock(&worker->lock);
    if (generation == worker->generation && result.permissions & W)
        worker->hpa = result.gpa;
    pthread_mutex_unlock(&worker->lock);
}

static bool worker_write(struct worker *worker)
{
    struct viommu_dma_request request = {0, 8, NONE, 0, W, VIOMMU_DMA_TRANSLATED};
    uint64_t value = ~UINT64_C(0);
    struct viommu_dma_result result;

    pthread_mutex_lock(&worker->lock);
    request.address = worker->hpa;
    worker->using = request.address;
    pthread_mutex_unlock(&worker->lock);
    if (!request.address)
        return false;
    viommu_soft_device_write(worker->rig->device, &request, &value, &result);
    pthread_mutex_lock(&worker->lock);
    worker->using = false;
    worker->writes += result.status == VIOMMU_DMA_OK;
    pthread_cond_broadcast(&worker->idle);
    pthread_mutex_unlock(&worker->lock);
    return true;
}

static void *work(void *opaque)
{
    struct worker *worker = opaque;

    while (!__atomic_load_n(&worker->end, __ATOMIC_RELAXED)) {
        if (!worker_write(worker))
            worker_translate(worker);
    }
    return NULL;
}

/* So many that began later. */
static void await_writes(struct worker *worker, uint64_t count)
{
    pthread_mutex_lock(&worker->lock);
    count += worker->writes + worker->using;
    while (worker->writes < count)
        pthread_cond_wait(&worker->idle, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
}

static void test_concurrent(void **state)
{
    static const struct viommu_pci_ats_ops ops = {sizeof(ops), worker_forget, NULL};
    static const uint64_t pages[2] = {DATA, DATA + PAGE};
    struct worker worker = {0};
    static const char zeros[8];
    char *words[2]; /* at no multiple of 8 */
    struct rig rig;
    struct tlb tlb;

    (void)state;
    start(&rig, &tlb);
    viommu_soft_device_unset_ats(rig.device);
    assert_int_equal(viommu_host_detach(rig.host, rig.device_id, 5, NULL), 0);
    worker.rig = &rig;
    pthread_mutex_init(&worker.lock, NULL);
    pthread_cond_init(&worker.idle, NULL);
    assert_int_equal(viommu_soft_device_set_ats(rig.device, &ops, &worker, NULL), 0);
    for (int i = 0; i < 2; i++)
        words[i] = rig_at(&rig, pages[i]) + IOVA % PAGE;
    assert_int_equal(pthread_create(&worker.thread, NULL, work, &worker), 0);
    for (unsigned int round = 0; round < 500; round++) {
        char *old = words[round % 2];

        __atomic_store_n((uint64_t *)rig_at(&rig, PT + 4 * 8), pages[!(round % 2)] | ALL,
                         __ATOMIC_RELEASE);
        assert_int_equal(rig_invalidate(&rig, BASE, 1, 0), 0);
        memset(old, 0, sizeof(zeros));
        await_writes(&worker, 2);
        assert_memory_equal(old, zeros, sizeof(zeros));
    }
    __atomic_store_n(&worker.end, true, __ATOMIC_RELAXED);
    pthread_join(worker.thread, NULL);
    stop(&rig);
    pthread_cond_destroy(&worker.idle);
    pthread_mutex_destroy(&worker.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_translation_requests),
        cmocka_unit_test(test_execution),
        cmocka_unit_test(test_what_is_not_granted),
        cmocka_unit_test(test_second_stage_alone),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_translated_requests),
        cmocka_unit_test(test_told_of_invalidations),
        cmocka_unit_test(test_too_much_to_tell),
        cmocka_unit_test(test_told_of_ends),
        cmocka_unit_test(test_not_told_after_the_end),
        cmocka_unit_test(test_registration),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_reset_without_listener),
        cmocka_unit_test(test_concurrent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
