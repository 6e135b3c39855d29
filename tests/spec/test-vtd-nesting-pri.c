/* SPDX-License-Identifier: MIT */
/* Page requests of assigned devices: through the host's fault queue to the guest, and back. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "assigned.h"
#include "model/vtd/register_map.h"

#define R VIOMMU_DMA_READ
#define W VIOMMU_DMA_WRITE

#define ENABLE (UINT64_C(7) << 2) /* DTE, PASIDE, PRE */
#define PRQ    UINT64_C(0x30000)
#define UNIT   "device-iotlb=on,page-requests=on,pasid-bits=6"
#define PLAIN  VIOMMU_PASID_NONE

#define RESPONSE    UINT64_C(9)
#define RESPONSE_PP (UINT64_C(1) << 4)

struct fixture {
    struct assigned assigned;
    uint64_t root;
};

static struct machine *machine_of(struct fixture *fixture)
{
    return &fixture->assigned.guest.machine;
}

/* Device 0 by a first-stage table, without PASID and with PASID 5. */
static void start(struct fixture *fixture, const char *profile)
{
    struct assigned *assigned = &fixture->assigned;
    struct machine *machine = machine_of(fixture);

    assigned_create(assigned, profile, UNIT);
    assigned_attach(assigned, 0);
    fixture->root = assigned_first_stage(assigned, GUEST_IOVA, PAGE_A);
    assigned_bind(assigned, 0, 0, fixture->root, GUEST_DOMAIN);
    assigned_bind(assigned, 0, 5, fixture->root, GUEST_DOMAIN);
    guest_scalable(&assigned->guest, 0, ENABLE);
    guest_on(&assigned->guest, TTM_SCALABLE);
    write64(machine, VTD_PQA, PRQ);
    assigned_calm(assigned);
}

static void stop(struct fixture *fixture)
{
    assigned_destroy(&fixture->assigned);
}

static int ask(struct fixture *fixture, uint64_t address, uint32_t pasid, uint16_t group,
               uint8_t access, bool last)
{
    const struct viommu_pci_page_request request = {address, pasid, group, access, last};

    return viommu_soft_device_page_request(fixture->assigned.soft[0], &request);
}

static unsigned int forward(struct fixture *fixture)
{
    return viommu_forward_page_requests(machine_of(fixture)->viommu, 1000);
}

static bool readable(struct fixture *fixture)
{
    struct pollfd poll_for = {.events = POLLIN};

    poll_for.fd = viommu_page_request_descriptor(machine_of(fixture)->viommu);
    assert_true(poll_for.fd >= 0);
    return poll(&poll_for, 1, 0) == 1;
}

static void answered(struct fixture *fixture, uint32_t pasid, uint16_t group, uint8_t code)
{
    struct viommu_pci_page_response response;

    assert_true(viommu_soft_device_page_response(fixture->assigned.soft[0], &response));
    assert_int_equal(response.pasid, pasid);
    assert_int_equal(response.group, group);
    assert_int_equal(response.code, code);
}

static void unanswered(struct fixture *fixture)
{
    struct viommu_pci_page_response response;

    assert_false(viommu_soft_device_page_response(fixture->assigned.soft[0], &response));
}

static void respond(struct fixture *fixture, uint32_t pasid, uint16_t group, uint8_t code)
{
    bool with_pasid = pasid != PLAIN;

    machine_submit(machine_of(fixture),
                   RESPONSE | (with_pasid ? RESPONSE_PP | (uint64_t)pasid << 32 : 0) |
                       (uint64_t)code << 12,
                   (uint64_t)group << 3);
}

static void to_the_guest(void **state)
{
    struct fixture fixture;
    struct machine *machine = machine_of(&fixture);

    (void)state;
    start(&fixture, NULL);
    write32(machine, VTD_PECTL, 0);
    assert_false(readable(&fixture));
    assert_int_equal(ask(&fixture, 0x7000, 5, 3, R, false), 0);
    assert_false(readable(&fixture)); /* the group is not complete */
    assert_int_equal(ask(&fixture, 0x8123, 5, 3, R | W, true), 0);
    assert_true(readable(&fixture));
    assert_int_equal(read64(machine, VTD_PQT), 0);
    assert_int_equal(forward(&fixture), 2);
    assert_false(readable(&fixture));
    assert_int_equal(forward(&fixture), 0);
    assert_int_equal(read64(machine, VTD_PQT), 64);
    assert_int_equal(load64(machine, PRQ), 0x0000000500000101);
    assert_int_equal(load64(machine, PRQ + 8), 0x7000 | 3 << 3 | 1);
    assert_int_equal(load64(machine, PRQ + 40), 0x8000 | 3 << 3 | 7);
    assert_int_equal(machine->msi_count, 1);
    unanswered(&fixture);
    /* The guest makes the page present and says so; what the host cached goes by its invalidation.
     */
    respond(&fixture, 5, 3, 0);
    answered(&fixture, 5, 3, VIOMMU_PCI_PAGE_SUCCESS);
    /* Answered once. */
    respond(&fixture, 5, 3, 0);
    unanswered(&fixture);
    stop(&fixture);
}

static void codes(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture, NULL);
    for (uint16_t group = 0; group < 3; group++)
        assert_int_equal(ask(&fixture, 0x7000, PLAIN, group, W, true), 0);
    assert_int_equal(forward(&fixture), 3);
    respond(&fixture, 5, 1, 0); /* another PASID's */
    unanswered(&fixture);
    respond(&fixture, PLAIN, 1, 1);
    answered(&fixture, PLAIN, 1, VIOMMU_PCI_PAGE_INVALID);
    respond(&fixture, PLAIN, 2, 15);
    answered(&fixture, PLAIN, 2, VIOMMU_PCI_PAGE_INVALID);
    respond(&fixture, PLAIN, 0, 0);
    answered(&fixture, PLAIN, 0, VIOMMU_PCI_PAGE_SUCCESS);
    stop(&fixture);
}

/* A page that was not there: asked for, mapped by the guest, and then the DMA arrives. */
static void a_page_comes(void **state)
{
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;
    uint64_t iova = GUEST_IOVA + 4096, value;

    (void)state;
    start(&fixture, NULL);
    assert_int_equal(assigned_dma(assigned, 0, 5, iova, true, &value), -EACCES);
    assigned_clear_faults(assigned);
    assert_int_equal(ask(&fixture, iova, 5, 1, W, true), 0);
    assert_int_equal(forward(&fixture), 1);
    guest_map(&assigned->guest, fixture.root, 4, iova, 1, PAGE_B | FS_ALL, FS_ALL);
    respond(&fixture, 5, 1, 0);
    answered(&fixture, 5, 1, VIOMMU_PCI_PAGE_SUCCESS);
    assigned_arrives_pasid(assigned, 0, 5, iova, PAGE_B);
    stop(&fixture);
}

static void refused_here(void **state)
{
    struct fixture fixture;
    struct machine *machine = machine_of(&fixture);

    (void)state;
    start(&fixture, NULL);
    write64(machine, VTD_PQH, 32);
    assert_int_equal(ask(&fixture, 0x7000, 5, 1, R, true), 0);
    assert_int_equal(forward(&fixture), 1);
    answered(&fixture, 5, 1, VIOMMU_PCI_PAGE_SUCCESS); /* overflow: try again */
    assert_int_equal(read32(machine, VTD_PRS), VTD_PRS_PRO);
    write32(machine, VTD_PRS, VTD_PRS_PRO);
    write64(machine, VTD_PQH, 0);
    guest_scalable(&fixture.assigned.guest, 0, ENABLE & ~(UINT64_C(1) << 4));
    assert_int_equal(ask(&fixture, 0x7000, 5, 2, R, true), 0);
    assert_int_equal(forward(&fixture), 1);
    answered(&fixture, 5, 2, VIOMMU_PCI_PAGE_INVALID);
    assigned_told(&fixture.assigned, 0, 0x47);
    assert_int_equal(read64(machine, VTD_PQT), 0);
    stop(&fixture);
}

static void limits(void **state)
{
    struct fixture fixture;
    struct machine *machine = machine_of(&fixture);

    (void)state;
    start(&fixture, NULL);
    write64(machine, VTD_PQA, PRQ | 2);
    for (unsigned int i = 0; i < 100; i++)
        assert_int_equal(ask(&fixture, 0x7000, 5, (uint16_t)i, R, true), 0);
    assert_int_equal(viommu_forward_page_requests(machine->viommu, 0), 0);
    assert_int_equal(viommu_forward_page_requests(machine->viommu, 7), 7);
    assert_true(readable(&fixture));
    assert_int_equal(viommu_forward_page_requests(machine->viommu, 50), 50);
    assert_int_equal(forward(&fixture), 43);
    assert_false(readable(&fixture));
    /* More groups than a device may have are refused where they are made. */
    for (unsigned int i = 100; i < 512; i++)
        assert_int_equal(ask(&fixture, 0x7000, 5, (uint16_t)i, R, true), 0);
    assert_int_equal(ask(&fixture, 0x7000, 5, 1, R, true), -ENOSPC);
    stop(&fixture);
}

/* A wait with PD fetches what is at the host. */
static void drain(void **state)
{
    struct fixture fixture;
    struct machine *machine = machine_of(&fixture);

    (void)state;
    start(&fixture, NULL);
    assert_int_equal(ask(&fixture, 0x7000, 5, 1, R, true), 0);
    machine_submit(machine, 5 | 1 << 5 | UINT64_C(1) << 32, ASSIGNED_STATUS);
    assert_int_equal(read64(machine, VTD_PQT), 0);
    machine_submit(machine, 5 | 1 << 5 | 1 << 7 | UINT64_C(2) << 32, ASSIGNED_STATUS);
    assert_int_equal(load32(machine, ASSIGNED_STATUS), 2);
    assert_int_equal(read64(machine, VTD_PQT), 32);
    stop(&fixture);
}

/* The host answers what the attachment leaves behind; late answers of the guest go nowhere. */
static void attachment_ends(void **state)
{
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    start(&fixture, NULL);
    assert_int_equal(ask(&fixture, 0x7000, 5, 1, R, true), 0);
    assert_int_equal(ask(&fixture, 0x7000, PLAIN, 2, R, true), 0);
    assert_int_equal(forward(&fixture), 2);
    assert_int_equal(ask(&fixture, 0x7000, 5, 3, R, true), 0); /* not forwarded yet */
    store64(&assigned->guest.machine, GUEST_PASIDS + 5 * 64, 0);
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 5);
    answered(&fixture, 5, 1, VIOMMU_PCI_PAGE_INVALID);
    answered(&fixture, 5, 3, VIOMMU_PCI_PAGE_INVALID);
    unanswered(&fixture);
    assert_false(readable(&fixture));
    respond(&fixture, 5, 1, 0);
    assert_int_equal(assigned_calls(assigned, "fault_queue_respond"), 0);
    respond(&fixture, PLAIN, 2, 0);
    answered(&fixture, PLAIN, 2, VIOMMU_PCI_PAGE_SUCCESS);
    assert_int_equal(ask(&fixture, 0x7000, 5, 1, R, true), -EOPNOTSUPP);
    stop(&fixture);
}

static void nothing_is_left(void **state)
{
    struct viommu_soft_census before;
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    assigned_create(assigned, NULL, UNIT);
    before = assigned_census(assigned);
    assigned_destroy(assigned);
    start(&fixture, NULL);
    assert_int_equal(assigned_census(assigned).fault_queues, 1);
    assert_int_equal(ask(&fixture, 0x7000, 5, 1, R, true), 0);
    assert_int_equal(ask(&fixture, 0x7000, PLAIN, 1, R, false), 0);
    assert_int_equal(forward(&fixture), 1);
    assigned_detach(assigned, 0);
    answered(&fixture, 5, 1, VIOMMU_PCI_PAGE_INVALID);
    assert_int_equal(assigned_census(assigned).fault_queues, 0);
    assigned_same(assigned, &before);
    respond(&fixture, 5, 1, 0);
    assert_int_equal(forward(&fixture), 0);
    stop(&fixture);
}

/* Without a queue the device works, but for page requests. */
static void host_without_a_queue(void **state)
{
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    assigned_create(assigned, NULL, UNIT);
    assigned->fail_calls = 1u << VIOMMU_HOST_CALL_FAULT_QUEUE_ALLOC;
    assigned->fail_with = -EOPNOTSUPP;
    assigned_attach(assigned, 0);
    assigned_calm(assigned);
    assigned_bind(assigned, 0, 0, assigned_first_stage(assigned, GUEST_IOVA, PAGE_A), GUEST_DOMAIN);
    guest_on(&assigned->guest, TTM_SCALABLE);
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
    assert_int_equal(ask(&fixture, 0x7000, PLAIN, 1, R, true), -EOPNOTSUPP);
    assert_int_equal(forward(&fixture), 0);
    stop(&fixture);
}

/* Attached, and to be bound by one register write. */
static void prepare(struct fixture *fixture)
{
    struct assigned *assigned = &fixture->assigned;

    assigned_create(assigned, NULL, UNIT);
    assigned_attach(assigned, 0);
    assigned_bind(assigned, 0, 0, assigned_first_stage(assigned, GUEST_IOVA, PAGE_A), GUEST_DOMAIN);
    guest_scalable(&assigned->guest, 0, ENABLE);
    assigned_calm(assigned);
}

/* It refuses such a table when it is allocated (the first call) or attached (the second). */
static void host_refuses_the_queue(void **state)
{
    static const struct {
        int countdown, error;
        unsigned int allocs, attaches;
    } rows[] = {{0, -EOPNOTSUPP, 2, 1}, {1, -ENODEV, 2, 2}, {1, -EINVAL, 2, 2}};
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        prepare(&fixture);
        assigned->countdown = rows[i].countdown;
        assigned->fail_with = rows[i].error;
        guest_on(&assigned->guest, TTM_SCALABLE);
        assert_true(assigned->failed);
        assert_int_equal(assigned_calls(assigned, "hwpt_alloc"), rows[i].allocs);
        assert_int_equal(assigned_calls(assigned, "attach"), rows[i].attaches);
        assert_int_equal(assigned_stats(assigned).nested_bind_failures, 0);
        assert_int_equal(assigned_census(assigned).nested_hwpts, 1);
        assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
        assert_int_equal(ask(&fixture, 0x7000, PLAIN, 1, R, true), -EOPNOTSUPP);
        /* Nor is it tried for the next table. */
        assigned_calm(assigned);
        assigned_bind(assigned, 0, 5, assigned_first_stage(assigned, GUEST_IOVA, PAGE_B), 7);
        assigned_pasid_cache(assigned, PASID_ONE, 7, 5);
        assert_int_equal(assigned_calls(assigned, "hwpt_alloc"), 1);
        assigned_arrives_pasid(assigned, 0, 5, GUEST_IOVA, PAGE_B);
        assigned_detach(assigned, 0);
        assert_int_equal(assigned_census(assigned).fault_queues, 0);
        stop(&fixture);
    }
}

/* What fails for another reason fails; when the host is well again, page requests are, too. */
static void host_refuses_everything(void **state)
{
    static const int errors[] = {-EIO, -ENOMEM, -EOPNOTSUPP};
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    for (unsigned int i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        prepare(&fixture);
        assigned->fail_calls = 1u << VIOMMU_HOST_CALL_HWPT_ALLOC;
        assigned->fail_with = errors[i];
        guest_on(&assigned->guest, TTM_SCALABLE);
        assert_int_equal(assigned_calls(assigned, "hwpt_alloc"), errors[i] == -EOPNOTSUPP ? 2 : 1);
        assert_int_equal(assigned_stats(assigned).nested_bind_failures, 1);
        assigned_told(assigned, 0, PASID_INVALID);
        assigned_calm(assigned);
        assigned_pasid_cache(assigned, PASID_GLOBAL, 0, 0);
        assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
        write64(machine_of(&fixture), VTD_PQA, PRQ);
        assert_int_equal(ask(&fixture, 0x7000, PLAIN, 1, R, true), 0);
        assert_int_equal(forward(&fixture), 1);
        stop(&fixture);
    }
}

/* Failing reads and answers leave the guest as it was. */
static void host_fails(void **state)
{
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    start(&fixture, NULL);
    assert_int_equal(ask(&fixture, 0x7000, 5, 1, R, true), 0);
    assigned->fail_calls = 1u << VIOMMU_HOST_CALL_FAULT_QUEUE_READ;
    assigned->fail_with = -EIO;
    assert_int_equal(forward(&fixture), 0);
    assert_int_equal(read64(machine_of(&fixture), VTD_PQT), 0);
    assigned_calm(assigned);
    assert_int_equal(forward(&fixture), 1);
    assigned->fail_calls = 1u << VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND;
    assigned->fail_with = -EIO;
    respond(&fixture, 5, 1, 0);
    unanswered(&fixture);
    assigned_calm(assigned);
    assert_int_equal(read32(machine_of(&fixture), VTD_FSTS), 0);
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
    stop(&fixture);
}

static void not_configured(void **state)
{
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    assigned_create(assigned, NULL, "device-iotlb=on");
    assigned_attach(assigned, 0);
    assert_int_equal(assigned_calls(assigned, "fault_queue_alloc"), 0);
    assert_int_equal(viommu_page_request_descriptor(machine_of(&fixture)->viommu), -1);
    assert_int_equal(forward(&fixture), 0);
    stop(&fixture);
}

/* Device-TLB invalidations of an assigned device are the host's with its own. */
static void device_tlb_is_the_hosts(void **state)
{
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    start(&fixture, NULL);
    machine_submit(machine_of(&fixture), 3, 0x7000);
    machine_submit(machine_of(&fixture), 8 | UINT64_C(5) << 32, 0x7000);
    assigned_wait(assigned);
    assert_int_equal(assigned_calls(assigned, "invalidate"), 0);
    assert_int_equal(read32(machine_of(&fixture), VTD_FSTS), 0);
    stop(&fixture);
}

/* What the device TLB of host device 0 was told, and whether a wait was over then. */
struct listener {
    struct machine *machine;
    unsigned int told;
    bool late;
    struct viommu_pci_tlb_invalidation last;
};

#define NOT_YET 0x0badu /* no wait writes this status */

static int listen_to(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    struct listener *listener = opaque;

    listener->told++;
    listener->last = *what;
    listener->late = load32(listener->machine, ASSIGNED_STATUS) != NOT_YET;
    return 0;
}

static void start_listening(struct listener *listener, struct assigned *assigned)
{
    static const struct viommu_pci_ats_ops ops = {.size = sizeof(ops), .invalidate = listen_to};

    *listener = (struct listener){.machine = &assigned->guest.machine};
    assert_int_equal(viommu_soft_device_set_ats(assigned->soft[0], &ops, listener, NULL), 0);
    store64(listener->machine, ASSIGNED_STATUS, NOT_YET);
}

static void heard(struct listener *listener, uint32_t pasid, uint64_t address, uint64_t length)
{
    assert_true(listener->told > 0);
    assert_false(listener->late);
    assert_int_equal(listener->last.pasid, pasid);
    assert_int_equal(listener->last.address, address);
    assert_int_equal(listener->last.length, length);
    listener->told = 0;
    store64(listener->machine, ASSIGNED_STATUS, NOT_YET);
}

/* The host tells the device before the guest's wait is over: pages, and the end of a PASID. */
static void device_tlb_hears_in_time(void **state)
{
    struct listener listener;
    struct fixture fixture;
    struct assigned *assigned = &fixture.assigned;

    (void)state;
    start(&fixture, NULL);
    start_listening(&listener, assigned);
    assigned_piotlb(assigned, PIOTLB_PAGES, GUEST_DOMAIN, 5, GUEST_IOVA, 0);
    heard(&listener, 5, GUEST_IOVA, 4096);
    assigned_piotlb(assigned, PIOTLB_PAGES, GUEST_DOMAIN, 6, GUEST_IOVA, 0);
    assert_int_equal(listener.told, 0); /* another PASID's */
    store64(&assigned->guest.machine, ASSIGNED_STATUS, NOT_YET);
    store64(&assigned->guest.machine, GUEST_PASIDS + 5 * 64, 0);
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 5);
    heard(&listener, 5, 0, 0);
    viommu_soft_device_unset_ats(assigned->soft[0]);
    stop(&fixture);
}

/* The same where the host mirrors the guest's second stage. */
static void device_tlb_hears_of_a_mirror(void **state)
{
    struct listener listener;
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "device-iotlb=on");
    start_listening(&listener, &assigned);
    assigned_set_page(&assigned, root, 4, 0);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    heard(&listener, 0, GUEST_IOVA, 4096); /* after that of requests without PASID */
    viommu_soft_device_unset_ats(assigned.soft[0]);
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-7.4-810", "7.4.1",
     "Page requests of an assigned device are put into the guest's queue with event, as groups.",
     to_the_guest},
    {"VTD-7.6-810", "7.6.1", "The guest's answers reach the device: success, or invalid.", codes},
    {"VTD-7.6-811", "7.6", "A page that the guest makes present is there for the device.",
     a_page_comes},
    {"VTD-7.4-811", "7.4.1",
     "What overflows the guest's queue, or is not allowed, is answered to the device.",
     refused_here},
    {"VTD-7.4-812", "7.4.1", "One call forwards no more than it is asked to.", limits},
    {"VTD-7.10-810", "7.10", "A wait with PD puts what is at the host into the queue first.",
     drain},
    {"VTD-7.11-810", "7.11",
     "Requests of a PASID that is taken away are answered invalid; late answers are ignored.",
     attachment_ends},
    {"VTD-7.11-811", "7.11", "A detach answers what is outstanding and leaves nothing.",
     nothing_is_left},
    {"VTD-7.4-813", "7.4.1", "A host without fault queues leaves the device as it is without PRI.",
     host_without_a_queue},
    {"VTD-7.4-816", "7.4.1",
     "A host that takes no table with a fault queue gets one without; page requests stay away.",
     host_refuses_the_queue},
    {"VTD-7.4-817", "7.4.1",
     "When it takes none at all the device is blocked, and page requests come once it does.",
     host_refuses_everything},
    {"VTD-7.4-814", "7.4.1", "Failures of the host's fault queue harm nothing else.", host_fails},
    {"VTD-7.4-815", "7.4.1", "Without ECAP.PRS no fault queue is made.", not_configured},
    {"VTD-6.5.2.5-810", "6.5.2.5",
     "Device-TLB invalidations of an assigned device are done: its host invalidates with the "
     "table.",
     device_tlb_is_the_hosts},
    {"VTD-6.5.2.5-811", "6.5.2.5",
     "The device TLB of an assigned device has forgotten what the guest invalidates when its wait "
     "is over.",
     device_tlb_hears_in_time},
    {"VTD-6.5.2.5-812", "6.5.2.5", "So it has where the guest's second stage is mirrored.",
     device_tlb_hears_of_a_mirror},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
