/* SPDX-License-Identifier: MIT */
/* Page requests: the queue, its events, overflow, and refusals (VT-d 5.0, 7.4 to 7.6, 11.4.10). */
#include <errno.h>
#include <string.h>

#include "page_requests.h"

static void descriptors(void **state)
{
    static const struct {
        struct viommu_pci_page_request request;
        unsigned int device;
        uint64_t qw0, qw1;
    } cases[] = {
        {{0x123456789abc, 5, 0x155, R | W, true}, 0, 0x0000000500000101, 0x123456789aaf},
        {{0x1000, 0xfffff, 0, R, false}, 1, 0x000fffff00080101, 0x1001},
        {{0x1000, 7, 511, R | X | P, true}, 0, 0x0030000700000101, 0x1ffd},
        {{0x1000, 7, 1, W, false}, 1, 0x0000000700080101, 0x100a},
        {{0x2000, PLAIN, 2, W, true}, 0, 0x0000000000000001, 0x2016},
        /* A stop marker. */
        {{0, 9, 0, 0, true}, 0, 0x0000000900000101, 0x4},
    };
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    memset(machine->ram + PRQ, 0xff, 4096);
    for (size_t i = 0; i < SPEC_COUNT(cases); i++) {
        assert_int_equal(viommu_pci_device_page_request(fixture.device[cases[i].device].function,
                                                        &cases[i].request),
                         0);
        assert_int_equal(load64(machine, PRQ + i * 32), cases[i].qw0);
        assert_int_equal(load64(machine, PRQ + i * 32 + 8), cases[i].qw1);
        assert_int_equal(load64(machine, PRQ + i * 32 + 16), 0);
        assert_int_equal(load64(machine, PRQ + i * 32 + 24), 0);
        assert_int_equal(tail(&fixture), (i + 1) * 32);
    }
    assert_int_equal(fixture.device[0].response_count, 0);
    assert_int_equal(fixture.device[1].response_count, 0);
    stop(&fixture);
}

static void malformed(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    assert_int_equal(ask(&fixture, 0, 0, 1, 512, R, true), -EINVAL);
    assert_int_equal(ask(&fixture, 0, 0, 1 << 20, 0, R, true), -EINVAL);
    assert_int_equal(ask(&fixture, 0, 0, PLAIN, 0, R | X, true), -EINVAL);
    assert_int_equal(ask(&fixture, 0, 0, PLAIN, 0, R | P, true), -EINVAL);
    assert_int_equal(ask(&fixture, 0, 0, PLAIN, 0, 0, true), -EINVAL);
    assert_int_equal(ask(&fixture, 0, 0, 1, 0, 0, false), -EINVAL);
    assert_int_equal(ask(&fixture, 0, 0, 1, 0, X, true), -EINVAL);
    assert_int_equal(ask(&fixture, 0, 0, 1, 0, R | 0x10, true), -EINVAL);
    assert_int_equal(tail(&fixture), 0);
    assert_int_equal(fixture.device[0].response_count, 0);
    stop(&fixture);
}

static void events(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    write64(machine, VTD_PEADDR, 0x1fee00000);
    write32(machine, VTD_PEDATA, 0x44);
    assert_int_equal(read32(machine, VTD_PECTL), VTD_ECTL_IM);
    asks(&fixture, 0);
    assert_int_equal(prs(&fixture), VTD_PRS_PPR);
    assert_int_equal(read32(machine, VTD_PECTL), VTD_ECTL_IM | VTD_ECTL_IP);
    assert_int_equal(machine->msi_count, 0);
    write32(machine, VTD_PECTL, 0);
    assert_int_equal(machine->msi_count, 1);
    assert_int_equal(machine->msi[0].address, 0x1fee00000);
    assert_int_equal(machine->msi[0].data, 0x44);
    /* As long as the status is set, the guest knows. */
    asks(&fixture, 1);
    assert_int_equal(machine->msi_count, 1);
    write32(machine, VTD_PRS, VTD_PRS_PPR);
    assert_int_equal(prs(&fixture), 0);
    asks(&fixture, 2);
    assert_int_equal(machine->msi_count, 2);
    /* Served before it was sent: dropped. */
    write32(machine, VTD_PRS, VTD_PRS_PPR);
    write32(machine, VTD_PECTL, VTD_ECTL_IM);
    asks(&fixture, 3);
    write32(machine, VTD_PRS, VTD_PRS_PPR);
    write32(machine, VTD_PECTL, 0);
    assert_int_equal(machine->msi_count, 2);
    stop(&fixture);
}

/* All sizes: the ring takes one less than there are places, and goes round. */
static void goes_round(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    for (unsigned int pqs = 0; pqs < 8; pqs++) {
        uint64_t size = UINT64_C(4096) << pqs;

        write64(machine, VTD_PQA, 0x800000 | pqs);
        write64(machine, VTD_PQT, size - 64);
        write64(machine, VTD_PQH, size - 64);
        for (uint64_t i = 0; i < size / 32 - 1; i++)
            asks(&fixture, (uint16_t)(i % 512));
        assert_int_equal(tail(&fixture), size - 96);
        assert_int_equal(prs(&fixture), VTD_PRS_PPR);
        assert_int_equal(load64(machine, 0x800000 + size - 56) & 0xfff, 5);
        assert_int_equal(load64(machine, 0x800000 + 8) & 0xfff, 2 << 3 | 5);
        asks(&fixture, 0);
        assert_int_equal(prs(&fixture), VTD_PRS_PPR | VTD_PRS_PRO);
        assert_int_equal(tail(&fixture), size - 96);
        write32(machine, VTD_PRS, VTD_PRS_PPR | VTD_PRS_PRO);
        fixture.device[0].response_count = 0;
    }
    stop(&fixture);
}

static void fill(struct fixture *fixture)
{
    for (unsigned int i = 0; i < PRQ_FITS; i++)
        asks(fixture, (uint16_t)i);
    assert_int_equal(fixture->device[0].response_count, 0);
}

static void overflow(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;
    uint64_t last;

    (void)state;
    start(&fixture);
    write32(machine, VTD_PECTL, 0);
    fill(&fixture);
    last = load64(machine, PRQ + 127 * 32);
    assert_int_equal(machine->msi_count, 1);
    write32(machine, VTD_PRS, VTD_PRS_PPR);
    /* Not the last of its group: nobody is told but the guest. */
    assert_int_equal(ask(&fixture, 0, 0x5000, 3, 200, R, false), 0);
    assert_int_equal(fixture.device[0].response_count, 0);
    assert_int_equal(prs(&fixture), VTD_PRS_PRO);
    assert_int_equal(machine->msi_count, 2);
    asks(&fixture, 200);
    answered(&fixture, 0, 3, 200, VIOMMU_PCI_PAGE_SUCCESS);
    /* A stop marker has no answer. */
    assert_int_equal(ask(&fixture, 0, 0, 3, 0, 0, true), 0);
    assert_int_equal(fixture.device[0].response_count, 0);
    assert_int_equal(load64(machine, PRQ + 127 * 32), last);
    assert_int_equal(tail(&fixture), 127 * 32);
    /* There is room, but until PRO is cleared it is not used. */
    write64(machine, VTD_PQH, 127 * 32);
    assert_int_equal(ask(&fixture, 1, 0x5000, PLAIN, 201, R, true), 0);
    answered(&fixture, 1, PLAIN, 201, VIOMMU_PCI_PAGE_SUCCESS);
    assert_int_equal(machine->msi_count, 2);
    write32(machine, VTD_PRS, VTD_PRS_PRO);
    asks(&fixture, 202);
    assert_int_equal(tail(&fixture), 0);
    assert_int_equal(fixture.device[0].response_count, 0);
    assert_int_equal(prs(&fixture), VTD_PRS_PPR);
    assert_int_equal(machine->msi_count, 3);
    stop(&fixture);
}

/* One pending record of a page request: neither T1, but T2; then cleared. */
static void faulted(struct fixture *fixture, uint8_t reason, uint32_t pasid)
{
    struct machine *machine = &fixture->guest.machine;
    uint64_t record = machine_fault_record(
        machine, (unsigned int)field_get(VTD_FSTS_FRI, read32(machine, VTD_FSTS)));
    uint64_t expected = VTD_FRCD_F | VTD_FRCD_T2 | (uint64_t)reason << 32;

    if (pasid != PLAIN)
        expected |= VTD_FRCD_PP | (uint64_t)pasid << 40;
    assert_int_equal(read64(machine, record + 8), expected);
    assert_int_equal(read64(machine, record), 0x5000);
    write64(machine, record + 8, VTD_FRCD_F);
    assert_int_equal(read32(machine, VTD_FSTS) & VTD_FSTS_PPF, 0);
}

static void no_fault(struct fixture *fixture)
{
    assert_int_equal(read32(&fixture->guest.machine, VTD_FSTS) & ~VTD_FSTS_FRI, 0);
}

static void blocked(void **state)
{
    struct fixture fixture;
    struct guest *guest = &fixture.guest;
    uint64_t context;

    (void)state;
    start(&fixture);
    guest_scalable(guest, 0, DTE | PASIDE);
    asks(&fixture, 1);
    answered(&fixture, 0, 3, 1, VIOMMU_PCI_PAGE_INVALID);
    faulted(&fixture, 0x47, 3);
    assert_int_equal(ask(&fixture, 0, 0x5000, 3, 1, R, false), 0);
    assert_int_equal(fixture.device[0].response_count, 0);
    faulted(&fixture, 0x47, 3);
    guest_scalable(guest, 0, DTE | PRE);
    asks(&fixture, 2);
    answered(&fixture, 0, 3, 2, VIOMMU_PCI_PAGE_INVALID);
    faulted(&fixture, 0x45, 3);
    assert_int_equal(ask(&fixture, 0, 0x5000, PLAIN, 2, R, true), 0);
    no_fault(&fixture);
    assert_int_equal(tail(&fixture), 32);
    guest_scalable(guest, 0, PASIDE | PRE);
    asks(&fixture, 3);
    answered(&fixture, 0, 3, 3, VIOMMU_PCI_PAGE_FAILURE);
    faulted(&fixture, 0x43, 3);
    context = guest_scalable(guest, 0, ENABLE);
    store64(&guest->machine, context, 0);
    asks(&fixture, 4);
    answered(&fixture, 0, 3, 4, VIOMMU_PCI_PAGE_FAILURE);
    faulted(&fixture, 0x41, 3);
    store64(&guest->machine, context, 2);
    asks(&fixture, 5);
    answered(&fixture, 0, 3, 5, VIOMMU_PCI_PAGE_FAILURE);
    no_fault(&fixture);
    assert_int_equal(tail(&fixture), 32);
    stop(&fixture);
}

static void blocked_by_mode(void **state)
{
    struct fixture fixture;
    struct guest *guest = &fixture.guest;

    (void)state;
    start(&fixture);
    guest_legacy(guest, 0, 1, 2, guest_page(guest));
    guest_on(guest, TTM_LEGACY);
    assert_int_equal(ask(&fixture, 0, 0x5000, PLAIN, 1, W, true), 0);
    answered(&fixture, 0, PLAIN, 1, VIOMMU_PCI_PAGE_INVALID);
    faulted(&fixture, 0x32, PLAIN);
    guest_on(guest, TTM_ABORT);
    asks(&fixture, 2);
    answered(&fixture, 0, 3, 2, VIOMMU_PCI_PAGE_FAILURE);
    faulted(&fixture, 0x33, 3);
    machine_enable(&guest->machine, false);
    asks(&fixture, 3);
    answered(&fixture, 0, 3, 3, VIOMMU_PCI_PAGE_INVALID);
    no_fault(&fixture);
    assert_int_equal(tail(&fixture), 0);
    stop(&fixture);
}

/* The PASID entry is not looked at: the page it lacks may be the reason to ask. */
static void without_pasid_entry(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    store64(&fixture.guest.machine, GUEST_DIRECTORY, 0);
    asks(&fixture, 1);
    assert_int_equal(tail(&fixture), 32);
    no_fault(&fixture);
    stop(&fixture);
}

static void queue_nowhere(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    write32(machine, VTD_PECTL, 0);
    write64(machine, VTD_PQA, GUEST_NOWHERE);
    asks(&fixture, 1);
    answered(&fixture, 0, 3, 1, VIOMMU_PCI_PAGE_FAILURE);
    assert_int_equal(prs(&fixture), VTD_PRS_PRO);
    assert_int_equal(machine->msi_count, 1);
    assert_int_equal(tail(&fixture), 0);
    write64(machine, VTD_PQA, PRQ);
    write32(machine, VTD_PRS, VTD_PRS_PRO);
    asks(&fixture, 2);
    assert_int_equal(tail(&fixture), 32);
    assert_int_equal(fixture.device[0].response_count, 0);
    stop(&fixture);
}

/* Whatever the guest says of head and tail, nothing is written beside the queue. */
static void pointers_beyond(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    memset(machine->ram + PRQ - 4096, 0xa5, 3 * 4096);
    write64(machine, VTD_PQT, UINT64_MAX);
    assert_int_equal(tail(&fixture), 0x7ffe0);
    write64(machine, VTD_PQH, 0x7ff00);
    for (unsigned int i = 0; i < 300; i++)
        asks(&fixture, 0);
    assert_true(fixture.device[0].response_count > 0);
    for (unsigned int i = 0; i < 4096; i += 8) {
        assert_int_equal(load64(machine, PRQ - 4096 + i), UINT64_C(0xa5a5a5a5a5a5a5a5));
        assert_int_equal(load64(machine, PRQ + 4096 + i), UINT64_C(0xa5a5a5a5a5a5a5a5));
    }
    stop(&fixture);
}

static void registers(void **state)
{
    static const struct {
        uint64_t offset;
        unsigned int size;
        uint64_t writable;
    } cases[] = {
        {VTD_PQH, 8, 0x7ffe0},
        {VTD_PQT, 8, 0x7ffe0},
        {VTD_PQA, 8, UINT64_C(0x3ffffffff007)},
        {VTD_PRS, 4, 0},
        {VTD_PECTL, 4, VTD_ECTL_IM},
        {VTD_PEDATA, 4, 0xffff},
        {VTD_PEADDR, 4, 0xfffffffc},
        {VTD_PEUADDR, 4, 0xffffffff},
    };

    (void)state;
    for (unsigned int on = 0; on < 2; on++) {
        struct guest guest;
        struct machine *machine = &guest.machine;

        guest_create(&guest, on ? UNIT : "device-iotlb=on");
        assert_int_equal(read32(machine, VTD_PECTL), on ? VTD_ECTL_IM : 0);
        for (size_t i = 0; i < SPEC_COUNT(cases); i++) {
            if (cases[i].size == 8)
                write64(machine, cases[i].offset, UINT64_MAX);
            else
                write32(machine, cases[i].offset, UINT32_MAX);
            assert_int_equal(cases[i].size == 8 ? read64(machine, cases[i].offset)
                                                : read32(machine, cases[i].offset),
                             on ? cases[i].writable : 0);
        }
        viommu_reset(machine->viommu);
        assert_int_equal(read64(machine, VTD_PQA), 0);
        assert_int_equal(read64(machine, VTD_PQT), 0);
        assert_int_equal(read32(machine, VTD_PECTL), on ? VTD_ECTL_IM : 0);
        guest_destroy(&guest);
    }
}

static void not_configured(void **state)
{
    struct ats_device device;
    struct guest guest;
    const struct viommu_pci_page_request request = {0x1000, PLAIN, 0, R, true};

    (void)state;
    guest_create(&guest, "device-iotlb=on");
    ats_device_create(&device, &guest, 0);
    assert_int_equal(viommu_pci_device_page_request(device.function, &request), -EOPNOTSUPP);
    assert_int_equal(viommu_pci_device_page_request(guest.machine.device[1], &request),
                     -EOPNOTSUPP);
    guest_scalable(&guest, 0, DTE);
    guest_on(&guest, TTM_SCALABLE);
    machine_queue_start(&guest.machine, QUEUE, true);
    machine_submit(&guest.machine, RESPONSE, 0);
    assert_true(queue_stopped(&guest.machine));
    assert_int_equal(read64(&guest.machine, VTD_IQERCD), 3);
    machine_queue_start(&guest.machine, QUEUE, true);
    write32(&guest.machine, VTD_GCMD, VTD_GCMD_TE);
    write32(&guest.machine, VTD_FSTS, VTD_FSTS_IQE);
    machine_queue_start(&guest.machine, QUEUE, true);
    machine_submit(&guest.machine, WAIT | WAIT_SW | WAIT_PD, STATUS);
    assert_true(queue_stopped(&guest.machine));
    assert_int_equal(read64(&guest.machine, VTD_IQERCD), 4);
    ats_device_destroy(&device);
    guest_destroy(&guest);
}

static const struct spec_rule rules[] = {
    {"VTD-7.4-91", "7.4.1.1",
     "A page request becomes a descriptor of 32 bytes: requester, PASID, access, last in group, "
     "group and address; so does a stop marker.",
     descriptors},
    {"VTD-7.4-92", "7.4.1", "What is no page request is not sent.", malformed},
    {"VTD-7.5-91", "7.5",
     "A request makes an event when neither PPR nor PRO was set; masked, it is pending until it is "
     "sent or served.",
     events},
    {"VTD-11.4.10-91", "11.4.10.3", "The queue has 2^(PQS+7) places, of which one stays free.",
     goes_round},
    {"VTD-7.4-93", "7.4.1",
     "A full queue sets PRO; until that is cleared requests are dropped, and the last one of a "
     "group is answered with success.",
     overflow},
    {"VTD-7.1.3-SCT.8,SCT.4.1,SCT.2", "7.1.3",
     "Without PRE or PASIDE a page request is invalid, with bad table entries a failure; each is a "
     "fault, unless FPD suppresses it.",
     blocked},
    {"VTD-7.1.3-RTA.3,RTA.4-page-requests", "7.1.3",
     "In legacy mode page requests are RTA.3, in abort mode RTA.4; while translation is off they "
     "are invalid and no fault.",
     blocked_by_mode},
    {"VTD-7.4-94", "7.4.1", "Page requests do not go by PASID entries.", without_pasid_entry},
    {"VTD-7.4-95", "7.4.1", "A queue without memory is an overflow, and the device fails.",
     queue_nowhere},
    {"VTD-11.4.10-92", "11.4.10.1", "Head and tail beyond the queue lead nowhere else.",
     pointers_beyond},
    {"VTD-11.4.10-93", "11.4.10",
     "The registers of page requests are there with ECAP.PRS only, and come back from reset.",
     registers},
    {"VTD-6.5.2.7-91", "6.5.2.7",
     "Without ECAP.PRS nobody can ask, responses are no type, and PD is reserved.", not_configured},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
