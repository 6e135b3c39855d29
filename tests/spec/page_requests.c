/* SPDX-License-Identifier: MIT */
#include "page_requests.h"

void start(struct fixture *fixture)
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

void stop(struct fixture *fixture)
{
    for (unsigned int i = 0; i < 2; i++)
        ats_device_destroy(&fixture->device[i]);
    guest_destroy(&fixture->guest);
}

int ask(struct fixture *fixture, unsigned int device, uint64_t address, uint32_t pasid,
        uint16_t group, uint8_t access, bool last)
{
    const struct viommu_pci_page_request request = {address, pasid, group, access, last};

    return viommu_pci_device_page_request(fixture->device[device].function, &request);
}

void asks(struct fixture *fixture, uint16_t group)
{
    assert_int_equal(ask(fixture, 0, 0x5000, 3, group, R, true), 0);
}

uint32_t prs(struct fixture *fixture)
{
    return read32(&fixture->guest.machine, VTD_PRS);
}

uint64_t tail(struct fixture *fixture)
{
    return read64(&fixture->guest.machine, VTD_PQT);
}

void answered(struct fixture *fixture, unsigned int device, uint32_t pasid, uint16_t group,
              uint8_t code)
{
    struct ats_device *to = &fixture->device[device];

    assert_int_equal(to->response_count, 1);
    assert_int_equal(to->responses[0].pasid, pasid);
    assert_int_equal(to->responses[0].group, group);
    assert_int_equal(to->responses[0].code, code);
    to->response_count = 0;
}
