/* SPDX-License-Identifier: MIT */
/* Page requests: the queue, its events, overflow, answers and drain (VT-d 5.0, 7.4 to 7.11). */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "ats_device.h"
#include "descriptors.h"
#include "model/vtd/queue_descriptors.h"

#define R VIOMMU_DMA_READ
#define W VIOMMU_DMA_WRITE
#define X VIOMMU_DMA_EXECUTE
#define P VIOMMU_DMA_PRIVILEGED

#define DTE    (UINT64_C(1) << 2)
#define PASIDE (UINT64_C(1) << 3)
#define PRE    (UINT64_C(1) << 4)
#define PDTS   (UINT64_C(7) << 9) /* PASIDs of 20 bits */
#define ENABLE (DTE | PASIDE | PRE | PDTS)

#define PRQ      UINT64_C(0x30000) /* one page: 128 descriptors, of which 127 fit */
#define PRQ_FITS 127
#define UNIT     "device-iotlb=on,page-requests=on,pasid-bits=20,supervisor=on,execute=on"

#define RESPONSE       UINT64_C(9)
#define RESPONSE_PP    (UINT64_C(1) << 4)
#define RESPONSE_RC(n) ((uint64_t)(n) << 12)
#define RID(n)         ((uint64_t)(n) << 16)
#define PRGI(n)        ((uint64_t)(n) << 3)
#define WAIT_PD        (UINT64_C(1) << 7)
#define PLAIN          VIOMMU_PASID_NONE

struct fixture {
    struct guest guest;
    struct ats_device device[2];
};

static void start(struct fixture *fixture)
{
    struct machine *machine = &fixture->guest.machine;

    guest_create(&fixture->guest, UNIT);
    for (unsigned int i = 0; i < 2; i++) {
        ats_device_create(&fixture->device[i], &fixture->guest, i);
        guest_scalable(&fixture->guest, i, ENABLE);
    }
    guest_on(&fixture->guest, TTM_SCALABLE);
    machine_queue_start(machine, QUEUE, true);
    write64(machine, VTD_PQH, 0);
    write64(machine, VTD_PQT, 0);
    write64(machine, VTD_PQA, PRQ);
}

static void stop(struct fixture *fixture)
{
    for (unsigned int i = 0; i < 2; i++)
        ats_device_destroy(&fixture->device[i]);
    guest_destroy(&fixture->guest);
}

static int ask(struct fixture *fixture, unsigned int device, uint64_t address, uint32_t pasid,
               uint16_t group, uint8_t access, bool last)
{
    const struct viommu_pci_page_request request = {address, pasid, group, access, last};

    return viommu_pci_device_page_request(fixture->device[device].function, &request);
}

/* A last request that is sent. */
static void asks(struct fixture *fixture, uint16_t group)
{
    assert_int_equal(ask(fixture, 0, 0x5000, 3, group, R, true), 0);
}

static uint32_t prs(struct fixture *fixture)
{
    return read32(&fixture->guest.machine, VTD_PRS);
}

static uint64_t tail(struct fixture *fixture)
{
    return read64(&fixture->guest.machine, VTD_PQT);
}

/* The device has one new response, and it is this. */
static void answered(struct fixture *fixture, unsigned int device, uint32_t pasid, uint16_t group,
                     uint8_t code)
{
    struct ats_device *to = &fixture->device[device];

    assert_int_equal(to->response_count, 1);
    assert_int_equal(to->responses[0].pasid, pasid);
    assert_int_equal(to->responses[0].group, group);
    assert_int_equal(to->responses[0].code, code);
    to->response_count = 0;
}

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

static void responses(void **state)
{
    static const uint8_t codes[] = {0, 1, 2, 0xe, 0xf};
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;
    struct viommu_stats stats = {.size = sizeof(stats)};

    (void)state;
    start(&fixture);
    for (size_t i = 0; i < SPEC_COUNT(codes); i++) {
        machine_submit(machine,
                       RESPONSE | RESPONSE_PP | RESPONSE_RC(codes[i]) | RID(8) | PASID(0x12345),
                       PRGI(0x1ab));
        answered(&fixture, 1, 0x12345, 0x1ab, codes[i]);
        assert_int_equal(fixture.device[0].response_count, 0);
    }
    /* Without PP the PASID means nothing; LPIG of older revisions is ignored. */
    machine_submit(machine, RESPONSE | RID(0) | PASID(0x12345), PRGI(1) | 4);
    answered(&fixture, 0, PLAIN, 1, 0);
    /* To a function that is not there. */
    machine_submit(machine, RESPONSE | RID(0x5555), PRGI(1));
    assert_int_equal(fixture.device[0].response_count + fixture.device[1].response_count, 0);
    wait_for(machine, 1);
    assert_int_equal(load32(machine, STATUS), 1);
    viommu_get_stats(machine->viommu, &stats);
    assert_int_equal(stats.page_responses, SPEC_COUNT(codes) + 2);
    stop(&fixture);
}

static void response_reserved(void **state)
{
    const uint64_t defined = VTD_DESC_TYPE | VTD_DESC_TYPE_HIGH | VTD_DESC_RESPONSE_PP |
                             VTD_DESC_RESPONSE_RC | VTD_DESC_RESPONSE_RID | VTD_DESC_PASID_FIELD;

    (void)state;
    for (unsigned int bit = 0; bit < 128; bit++) {
        uint64_t qw0 = bit < 64 ? UINT64_C(1) << bit & ~defined : 0;
        uint64_t qw1 = bit < 64 ? 0
                                : UINT64_C(1) << (bit - 64) &
                                      ~(VTD_DESC_RESPONSE_PRGI | VTD_DESC_RESPONSE_LPIG);
        struct fixture fixture;

        if (!qw0 && !qw1)
            continue;
        start(&fixture);
        machine_submit(&fixture.guest.machine, RESPONSE | qw0, qw1);
        assert_true(queue_stopped(&fixture.guest.machine));
        assert_int_equal(read64(&fixture.guest.machine, VTD_IQERCD), 4);
        stop(&fixture);
    }
}

/* As Linux takes a PASID away from a device. */
static void drain(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    asks(&fixture, 1);
    machine_submit(machine, WAIT | WAIT_FN | WAIT_DATA(1), 0);
    machine_submit(machine, 6 | G(2) | DOMAIN(GUEST_DOMAIN) | PASID(3), 0);
    machine_submit(machine, 8 | PASID(3), UINT64_C(0x7ffffffffffff000) | UINT64_C(1) << 11);
    machine_submit(machine, WAIT | WAIT_SW | WAIT_FN | WAIT_PD | WAIT_DATA(2), STATUS);
    assert_int_equal(load32(machine, STATUS), 2);
    assert_int_equal(fixture.device[0].told_count, 1);
    assert_int_equal(fixture.device[0].told[0].length, 0);
    assert_int_equal(tail(&fixture), 32);
    assert_int_equal(read32(machine, VTD_FSTS), 0);
    stop(&fixture);
}

/* A device asks again from within the answer. */
static void ask_again(void *opaque, const struct viommu_pci_page_response *response)
{
    struct fixture *fixture = opaque;

    fixture->device[0].responses[fixture->device[0].response_count++] = *response;
    if (fixture->device[0].response_count == 1)
        asks(fixture, 2);
}

static int nothing_cached(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    (void)opaque;
    (void)what;
    return 0;
}

static void within_the_answer(void **state)
{
    static const struct viommu_pci_ats_ops ops = {
        .size = sizeof(ops), .invalidate = nothing_cached, .page_response = ask_again};
    static const struct viommu_pci_ats_ops mute = {.size = sizeof(mute),
                                                   .invalidate = nothing_cached};
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    ats_device_destroy(&fixture.device[0]);
    assert_int_equal(viommu_pci_device_set_ats(fixture.device[0].function, &ops, &fixture, NULL),
                     0);
    asks(&fixture, 1);
    machine_submit(machine, RESPONSE | RESPONSE_PP | PASID(3), PRGI(1));
    assert_int_equal(fixture.device[0].response_count, 1);
    assert_int_equal(tail(&fixture), 64);
    /* And when the unit itself answers. */
    fixture.device[0].response_count = 0;
    guest_scalable(&fixture.guest, 0, DTE | PASIDE);
    asks(&fixture, 1);
    assert_int_equal(fixture.device[0].response_count, 2);
    ats_device_destroy(&fixture.device[0]);
    /* One that has no ear cannot ask, and is not told. */
    assert_int_equal(viommu_pci_device_set_ats(fixture.device[0].function, &mute, NULL, NULL), 0);
    assert_int_equal(ask(&fixture, 0, 0x5000, 3, 1, R, true), -EOPNOTSUPP);
    machine_submit(machine, RESPONSE | RESPONSE_PP | PASID(3), PRGI(1));
    stop(&fixture);
}

/* Threads: devices ask while the guest takes requests out, answers, and clears overflows. */

#define ASKS 4000

struct asker {
    struct fixture *fixture;
    unsigned int index;
    unsigned int answers; /* atomic */
};

static void count_answer(void *opaque, const struct viommu_pci_page_response *response)
{
    struct asker *asker = opaque;

    (void)response;
    __atomic_fetch_add(&asker->answers, 1, __ATOMIC_RELAXED);
}

static void *ask_often(void *opaque)
{
    struct asker *asker = opaque;

    for (unsigned int i = 0; i < ASKS; i++)
        if (ask(asker->fixture, asker->index, i << 12, 3, i % 512, R, true))
            return asker;
    return NULL;
}

/* Takes out what is there, and answers it. Returns how many. */
static unsigned int serve(struct machine *machine)
{
    uint64_t from, to;
    unsigned int count = 0;

    write32(machine, VTD_PRS, VTD_PRS_PPR);
    to = read64(machine, VTD_PQT);
    for (from = read64(machine, VTD_PQH); from != to; from = (from + 32) % 4096, count++) {
        uint64_t qw0 = load64(machine, PRQ + from), qw1 = load64(machine, PRQ + from + 8);

        assert_int_equal(qw0 & 0xffff, 0x101);
        machine_submit(machine, RESPONSE | RESPONSE_PP | (qw0 & RID(0xffff)) | PASID(3),
                       qw1 & PRGI(511));
    }
    write64(machine, VTD_PQH, to);
    if (read32(machine, VTD_PRS) & VTD_PRS_PRO)
        write32(machine, VTD_PRS, VTD_PRS_PRO);
    return count;
}

static void in_threads(void **state)
{
    static const struct viommu_pci_ats_ops ops = {
        .size = sizeof(ops), .invalidate = nothing_cached, .page_response = count_answer};
    struct viommu_stats stats = {.size = sizeof(stats)};
    struct asker askers[2];
    struct fixture fixture;
    pthread_t threads[2];
    unsigned int served = 0, answers;
    void *failed;

    (void)state;
    start(&fixture);
    for (unsigned int i = 0; i < 2; i++) {
        askers[i] = (struct asker){&fixture, i, 0};
        ats_device_destroy(&fixture.device[i]);
        assert_int_equal(
            viommu_pci_device_set_ats(fixture.device[i].function, &ops, &askers[i], NULL), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &askers[i]), 0);
    }
    do {
        served += serve(&fixture.guest.machine);
        answers = __atomic_load_n(&askers[0].answers, __ATOMIC_RELAXED) +
                  __atomic_load_n(&askers[1].answers, __ATOMIC_RELAXED);
    } while (answers < 2 * ASKS);
    for (unsigned int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
        assert_int_equal(askers[i].answers, ASKS);
    }
    viommu_get_stats(fixture.guest.machine.viommu, &stats);
    assert_int_equal(stats.page_requests, served);
    assert_int_equal(stats.page_requests + stats.page_requests_refused, 2 * ASKS);
    stop(&fixture);
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
    {"VTD-6.5.2.7-92", "6.5.2.7",
     "A page group response reaches the device with group, code, and PASID when PP is set.",
     responses},
    {"VTD-6.5.2.7-93", "6.5.2.7", "Reserved fields of a response stop the queue.",
     response_reserved},
    {"VTD-7.10-91", "7.10",
     "A wait with PD behind invalidations drains the page requests of a device.", drain},
    {"VTD-7.6-91", "7.6", "A device may ask again while it is answered.", within_the_answer},
    {"VTD-7.4-96", "7.4.1",
     "Requests of several devices at once are each in the queue once, or answered.", in_threads},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
