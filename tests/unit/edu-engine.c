/* SPDX-License-Identifier: MIT */
#include "edu-engine.h"
#include "device.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct machine *engine_plug(const char *viommu, const char *host, const char *device)
{
    struct machine *machine = machine_create(viommu, host);
    struct viommu_error error;

    if (vmm_device_create(&machine->vm, device, &error))
        fail_msg("%s: %s", device, error.message);
    return machine;
}

unsigned int engine_extended(struct machine *machine, uint16_t id)
{
    unsigned int at = 0x100;

    while (at) {
        uint32_t header = machine_config_read(machine, SLOT, at, 4);

        if ((header & 0xffff) == id)
            return at;
        at = header >> 20;
    }
    return 0;
}

uint16_t engine_config(struct machine *machine, unsigned int offset)
{
    return (uint16_t)machine_config_read(machine, SLOT, offset, 2);
}

void engine_configure(struct machine *machine, unsigned int offset, uint16_t value)
{
    machine_config_write(machine, SLOT, offset, 2, value);
}

uint64_t engine_address(struct machine *machine)
{
    return (machine_config_read(machine, SLOT, 0x10, 4) & ~0xfu) + VMM_EDU_COPIER_ADDRESS;
}

uint32_t engine_get(struct machine *machine, unsigned int offset)
{
    return (uint32_t)machine_read(machine, engine_address(machine) + offset, 4);
}

void engine_begin(struct machine *machine, uint64_t from, uint64_t to, uint64_t length)
{
    engine_begin_with(machine, from, to, length, 0);
}

void engine_begin_with(struct machine *machine, uint64_t from, uint64_t to, uint64_t length,
                       uint32_t flags)
{
    machine_write(machine, engine_address(machine) + VMM_COPIER_SOURCE, 8, from);
    machine_write(machine, engine_address(machine) + VMM_COPIER_DESTINATION, 8, to);
    machine_write(machine, engine_address(machine) + VMM_COPIER_LENGTH, 8, length);
    machine_write(machine, engine_address(machine) + VMM_COPIER_COMMAND, 4,
                  VMM_COPIER_START | flags);
}

unsigned int engine_end(struct machine *machine)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (unsigned int i = 0; engine_get(machine, VMM_COPIER_STATUS) & VMM_COPIER_BUSY; i++) {
        assert_true(i < 10000);
        nanosleep(&moment, NULL);
    }
    return engine_get(machine, VMM_COPIER_STATUS) >> VMM_COPIER_RESULT_SHIFT;
}

unsigned int engine_copy(struct machine *machine, uint64_t from, uint64_t to, uint64_t length)
{
    engine_begin(machine, from, to, length);
    return engine_end(machine);
}

void engine_unit_write(struct machine *machine, unsigned int offset, unsigned int size,
                       uint64_t value)
{
    machine_write(machine, VMM_VIOMMU_BASE + offset, size, value);
}

void engine_enable_ats(struct machine *machine)
{
    engine_configure(machine, engine_extended(machine, ID_ATS) + 6, 0x8000);
}

/* VT-d 5.0, 9.1 to 9.6. */
void engine_program_pasid(struct machine *machine, bool device_tlb)
{
    uint64_t *context = (uint64_t *)machine_ram(machine, CONTEXT) + 4 * 8 * SLOT;
    uint64_t *pasid = (uint64_t *)machine_ram(machine, PASIDS) + 8 * PASID;

    *(uint64_t *)machine_ram(machine, ROOT) = CONTEXT | 1;
    context[0] = TABLES | 1 << 3 | 1; /* PASIDs */
    if (device_tlb)
        context[0] |= 1 << 4 | 1 << 2; /* page requests, device TLB */
    *(uint64_t *)machine_ram(machine, TABLES) = PASIDS | 1;
    pasid[0] = 1 << 6 | 1;  /* first stage */
    pasid[1] = 1 << 23 | 5; /* the walk snoops; domain 5 */
    pasid[2] = TABLES_1;
    *(uint64_t *)machine_ram(machine, TABLES_1) = (TABLES_1 + PAGE) | 7;
    *((uint64_t *)machine_ram(machine, TABLES_1 + PAGE) + 1) = (TABLES_1 + 2 * PAGE) | 7;
    *(uint64_t *)machine_ram(machine, TABLES_1 + 2 * PAGE) = (TABLES_1 + 3 * PAGE) | 7;
    engine_unit_write(machine, 0x20, 8, ROOT | 1 << 10);
    engine_unit_write(machine, 0x18, 4, GCMD_SRTP);
    engine_unit_write(machine, 0xd0, 8, REQUESTS);
    engine_unit_write(machine, 0x90, 8, QUEUE | 1 << 11);
    engine_unit_write(machine, 0x18, 4, GCMD_QIE);
    engine_unit_write(machine, 0x18, 4, GCMD_QIE | GCMD_TE);
}

void engine_enable_all(struct machine *machine)
{
    unsigned int pri = engine_extended(machine, ID_PRI);

    engine_configure(machine, engine_extended(machine, ID_PASID) + 6, 1);
    engine_enable_ats(machine);
    machine_config_write(machine, SLOT, pri + 12, 4, 32);
    engine_configure(machine, pri + 4, 1);
    machine_write(machine, engine_address(machine) + VMM_COPIER_PASID, 4,
                  VMM_COPIER_PASID_VALID | PASID);
}

const uint64_t *engine_await_requests(struct machine *machine, unsigned int count)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    uint64_t head = machine_read(machine, VMM_VIOMMU_BASE + 0xc0, 8), tail = head;

    for (unsigned int i = 0; i < 10000 && (tail - head) % PAGE < 32u * count; i++) {
        nanosleep(&moment, NULL);
        tail = machine_read(machine, VMM_VIOMMU_BASE + 0xc8, 8);
    }
    assert_int_equal((tail - head) % PAGE, 32u * count);
    engine_unit_write(machine, 0xc0, 8, tail);
    return machine_ram(machine, REQUESTS + (tail - 32) % PAGE);
}

void engine_submit(struct machine *machine, uint64_t low, uint64_t high)
{
    uint64_t tail = machine_read(machine, VMM_VIOMMU_BASE + 0x88, 8);
    uint64_t *descriptor = machine_ram(machine, QUEUE + tail);

    descriptor[0] = low;
    descriptor[1] = high;
    descriptor[2] = descriptor[3] = 0;
    engine_unit_write(machine, 0x88, 8, (tail + 32) % PAGE);
}

void engine_respond(struct machine *machine, const uint64_t *request, uint64_t code)
{
    engine_submit(machine,
                  (uint64_t)PASID << 32 | (uint64_t)SLOT << 3 << 16 | code << 12 | 1 << 4 | 9,
                  (request[1] & 0xff8) | 4);
}

/* The PASID cache, all of it; the PASID's translations, in domain 5. */
void engine_invalidate_pasid(struct machine *machine)
{
    engine_submit(machine, 7 | 3 << 4, 0);
    engine_submit(machine, 6 | 2 << 4 | 5 << 16 | (uint64_t)PASID << 32, 0);
}
