/* SPDX-License-Identifier: MIT */
/*
 * The copy engine of an edu function in a machine: its PCI capabilities, and its device TLB behind
 * a remapping unit that the test programs as a guest would.
 */
#include "copier.h"
#include "device.h"
#include "edu_copier.h"
#include "machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <viommu/soft.h>

#include <cmocka.h>

#define SLOT 1u
#define PAGE 4096u

#define ID_ATS   0x0fu
#define ID_PRI   0x13u
#define ID_PASID 0x1bu

/* Where the guest keeps what. */
#define ROOT     0x10000u
#define CONTEXT  0x11000u
#define TABLES   0x12000u /* levels 4 to 1 */
#define QUEUE    0x16000u
#define DATA     0x20000u
#define IOVA     0x40000000ull
#define PASIDS   0x17000u
#define REQUESTS 0x18000u
#define TABLES_1 0x19000u /* first stage, levels 4 to 1 */
#define PASID    1u

#define GCMD_SRTP (1u << 30)
#define GCMD_TE   (1u << 31)
#define GCMD_QIE  (1u << 26)

static struct machine *plug(const char *viommu, const char *host, const char *device)
{
    struct machine *machine = machine_create(viommu, host);
    struct viommu_error error;

    if (vmm_device_create(&machine->vm, device, &error))
        fail_msg("%s: %s", device, error.message);
    return machine;
}

/* Offset of an extended capability; 0 without it. */
static unsigned int extended(struct machine *machine, uint16_t id)
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

static uint16_t config(struct machine *machine, unsigned int offset)
{
    return (uint16_t)machine_config_read(machine, SLOT, offset, 2);
}

static void configure(struct machine *machine, unsigned int offset, uint16_t value)
{
    machine_config_write(machine, SLOT, offset, 2, value);
}

static uint64_t engine(struct machine *machine)
{
    return (machine_config_read(machine, SLOT, 0x10, 4) & ~0xfu) + VMM_EDU_COPIER_ADDRESS;
}

static uint32_t get(struct machine *machine, unsigned int offset)
{
    return (uint32_t)machine_read(machine, engine(machine) + offset, 4);
}

static void begin_copy(struct machine *machine, uint64_t from, uint64_t to, uint64_t length)
{
    machine_write(machine, engine(machine) + VMM_COPIER_SOURCE, 8, from);
    machine_write(machine, engine(machine) + VMM_COPIER_DESTINATION, 8, to);
    machine_write(machine, engine(machine) + VMM_COPIER_LENGTH, 8, length);
    machine_write(machine, engine(machine) + VMM_COPIER_COMMAND, 4, VMM_COPIER_START);
}

static unsigned int end_copy(struct machine *machine)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (unsigned int i = 0; get(machine, VMM_COPIER_STATUS) & VMM_COPIER_BUSY; i++) {
        assert_true(i < 10000);
        nanosleep(&moment, NULL);
    }
    return get(machine, VMM_COPIER_STATUS) >> VMM_COPIER_RESULT_SHIFT;
}

static unsigned int copy(struct machine *machine, uint64_t from, uint64_t to, uint64_t length)
{
    begin_copy(machine, from, to, length);
    return end_copy(machine);
}

/* Each is there when it was asked for, in a list that ends; without any there is no engine. */
static void test_capabilities_by_options(void **state)
{
    static const struct {
        const char *device;
        bool pasid, ats, pri;
    } rows[] = {
        {"edu", false, false, false},
        {"edu,pasid=off,ats=off,pri=off", false, false, false},
        {"edu,pasid=on", true, false, false},
        {"edu,ats=on", false, true, false},
        {"edu,pasid=on,ats=on", true, true, false},
        {"edu,pasid=on,ats=on,pri=on", true, true, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct machine *machine = plug("vtd,device-iotlb=on", NULL, rows[i].device);

        assert_int_equal(extended(machine, ID_PASID) != 0, rows[i].pasid);
        assert_int_equal(extended(machine, ID_ATS) != 0, rows[i].ats);
        assert_int_equal(extended(machine, ID_PRI) != 0, rows[i].pri);
        assert_int_equal(get(machine, VMM_COPIER_STATUS),
                         rows[i].pasid || rows[i].ats ? 0 : UINT32_MAX);
        machine_destroy(machine);
    }
}

/* What Linux wants to see before it enables them (pci_enable_pasid() and its like). */
static void test_capability_registers(void **state)
{
    struct machine *machine = plug("vtd,device-iotlb=on", NULL, "edu,pasid=on,ats=on,pri=on");
    unsigned int express = machine_capability(machine, SLOT, 0x10, 0);
    unsigned int pasid = extended(machine, ID_PASID), ats = extended(machine, ID_ATS);
    unsigned int pri = extended(machine, ID_PRI);

    (void)state;
    assert_true(machine_config_read(machine, SLOT, express + 0x24, 4) & 1u << 21);
    assert_int_equal(config(machine, pasid + 4), 20 << 8);
    configure(machine, pasid + 6, 0xffff);
    assert_int_equal(config(machine, pasid + 6), 1);
    assert_int_equal(config(machine, ats + 4), 0x60);
    configure(machine, ats + 6, 0xffff);
    assert_int_equal(config(machine, ats + 6), 0x801f);
    assert_int_equal(config(machine, pri + 6), 0x8100);
    assert_int_equal(machine_config_read(machine, SLOT, pri + 8, 4), 32);
    machine_config_write(machine, SLOT, pri + 12, 4, 7);
    assert_int_equal(machine_config_read(machine, SLOT, pri + 12, 4), 7);
    configure(machine, pri + 4, 1);
    assert_int_equal(config(machine, pri + 4), 1);
    assert_int_equal(config(machine, pri + 6), 0x8000);
    configure(machine, pri + 4, 0);
    assert_int_equal(config(machine, pri + 6), 0x8100);
    configure(machine, pri + 4, 2);
    assert_int_equal(config(machine, pri + 4), 0);
    machine_destroy(machine);
}

static void *at(struct machine *machine, uint64_t address)
{
    return machine_ram(machine, address);
}

static void unit_write(struct machine *machine, unsigned int offset, unsigned int size,
                       uint64_t value)
{
    machine_write(machine, VMM_VIOMMU_BASE + offset, size, value);
}

/* Legacy mode: pages from IOVA on lie at DATA; the context entry allows a device TLB, or not. */
static void program(struct machine *machine, bool device_tlb)
{
    uint64_t *context = (uint64_t *)at(machine, CONTEXT) + 2 * 8 * SLOT;

    *(uint64_t *)at(machine, ROOT) = CONTEXT | 1;
    context[0] = TABLES | (device_tlb ? 4 : 0) | 1;
    context[1] = 3 << 8 | 2; /* four levels */
    *(uint64_t *)at(machine, TABLES) = (TABLES + PAGE) | 3;
    *((uint64_t *)at(machine, TABLES + PAGE) + 1) = (TABLES + 2 * PAGE) | 3;
    *(uint64_t *)at(machine, TABLES + 2 * PAGE) = (TABLES + 3 * PAGE) | 3;
    for (uint64_t i = 0; i < 8; i++)
        *((uint64_t *)at(machine, TABLES + 3 * PAGE) + i) = (DATA + i * PAGE) | 3;
    for (unsigned int i = 0; i < 16 * PAGE; i++)
        *(uint8_t *)at(machine, DATA + i) = (uint8_t)(i * 3 + i / PAGE);
    unit_write(machine, 0x20, 8, ROOT);
    unit_write(machine, 0x18, 4, GCMD_SRTP);
    unit_write(machine, 0x90, 8, QUEUE);
    unit_write(machine, 0x18, 4, GCMD_QIE);
    unit_write(machine, 0x18, 4, GCMD_QIE | GCMD_TE);
}

/* One descriptor after the other, from the start of the queue. */
static void invalidate(struct machine *machine, uint64_t low, uint64_t high)
{
    uint64_t tail = machine_read(machine, VMM_VIOMMU_BASE + 0x88, 8);
    uint64_t *descriptor = at(machine, QUEUE + tail);

    descriptor[0] = low;
    descriptor[1] = high;
    unit_write(machine, 0x88, 8, tail + 16);
}

static void map(struct machine *machine, unsigned int page, uint64_t entry)
{
    *((uint64_t *)at(machine, TABLES + 3 * PAGE) + page) = entry;
    invalidate(machine, 0x12, 0); /* the IOTLB, all of it */
}

static void enable_ats(struct machine *machine)
{
    configure(machine, extended(machine, ID_ATS) + 6, 0x8000);
}

/* The device TLB holds what it has, until the guest's invalidation reaches it. */
static void test_device_tlb(void **state)
{
    struct machine *machine = plug("vtd,scalable=off,device-iotlb=on", NULL, "edu,ats=on");
    uint64_t sid = SLOT << 3;

    (void)state;
    program(machine, true);
    enable_ats(machine);
    assert_int_equal(copy(machine, IOVA + 100, IOVA + 4 * PAGE + 5, 2 * PAGE), VMM_COPIER_OK);
    assert_memory_equal(at(machine, DATA + 100), at(machine, DATA + 4 * PAGE + 5), 2 * PAGE);
    assert_int_equal(get(machine, VMM_COPIER_TRANSLATIONS), 6);
    map(machine, 0, (DATA + 8 * PAGE) | 3);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 64), VMM_COPIER_OK);
    assert_memory_equal(at(machine, DATA), at(machine, DATA + 4 * PAGE), 64);
    invalidate(machine, sid << 32 | 3, IOVA);
    assert_int_equal(get(machine, VMM_COPIER_INVALIDATIONS), 1);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 64), VMM_COPIER_OK);
    assert_memory_equal(at(machine, DATA + 8 * PAGE), at(machine, DATA + 4 * PAGE), 64);
    map(machine, 4, 0);
    invalidate(machine, sid << 32 | 3, IOVA | 0x7000 | 1); /* 16 pages */
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 64), VMM_COPIER_NOT_GRANTED);
    machine_destroy(machine);
}

/* The guest forbids it in the table, or has not enabled it in the function. */
static void test_refused_translation_requests(void **state)
{
    struct machine *machine = plug("vtd,scalable=off,device-iotlb=on", NULL, "edu,ats=on");

    (void)state;
    program(machine, false);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, PAGE), VMM_COPIER_OK);
    assert_int_equal(get(machine, VMM_COPIER_TRANSLATIONS), 0);
    enable_ats(machine);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, PAGE), VMM_COPIER_REFUSED);
    assert_int_equal(get(machine, VMM_COPIER_TRANSLATIONS), 1);
    machine_destroy(machine);
}

/* Switching ATS off empties the device TLB; so does a function-level reset. */
static void test_device_tlb_is_emptied(void **state)
{
    struct machine *machine = plug("vtd,scalable=off,device-iotlb=on", NULL, "edu,ats=on");
    unsigned int express = machine_capability(machine, SLOT, 0x10, 0);
    uint64_t bar = machine_config_read(machine, SLOT, 0x10, 4);

    (void)state;
    program(machine, true);
    enable_ats(machine);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_OK);
    configure(machine, extended(machine, ID_ATS) + 6, 0);
    enable_ats(machine);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_OK);
    assert_int_equal(get(machine, VMM_COPIER_TRANSLATIONS), 4);
    configure(machine, express + 8, 0x8000);
    assert_int_equal(config(machine, extended(machine, ID_ATS) + 6), 0);
    machine_config_write(machine, SLOT, 0x10, 4, (uint32_t)bar);
    configure(machine, 4, 6);
    enable_ats(machine);
    assert_int_equal(get(machine, VMM_COPIER_TRANSLATIONS), 0);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_OK);
    assert_int_equal(get(machine, VMM_COPIER_TRANSLATIONS), 2);
    machine_destroy(machine);
}

/* Without bus mastering nothing is asked and nothing moves. */
static void test_bus_mastering(void **state)
{
    struct machine *machine = plug("vtd,scalable=off,device-iotlb=on", NULL, "edu,ats=on");

    (void)state;
    program(machine, true);
    configure(machine, 4, 2);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_REFUSED);
    enable_ats(machine);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_REFUSED);
    configure(machine, 4, 6);
    assert_int_equal(copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_OK);
    machine_destroy(machine);
}

/* Requests with a PASID, and no device TLB: by emulation, and as an assigned device. */
static void test_pasid_must_be_enabled(void **state)
{
    struct machine *machine = plug(NULL, NULL, "edu,pasid=on");

    (void)state;
    machine_write(machine, engine(machine) + VMM_COPIER_PASID, 4, VMM_COPIER_PASID_VALID | 9);
    assert_int_equal(copy(machine, DATA, DATA + PAGE, 8), VMM_COPIER_NO_PASID);
    machine_write(machine, engine(machine) + VMM_COPIER_PASID, 4, 0);
    memset(at(machine, DATA), 0x3c, 8);
    assert_int_equal(copy(machine, DATA, DATA + PAGE, 8), VMM_COPIER_OK);
    assert_memory_equal(at(machine, DATA), at(machine, DATA + PAGE), 8);
    machine_destroy(machine);
}

/*
 * Scalable mode: PASID 1 has an empty first-stage table. Descriptors are 32 bytes then. See VT-d
 * 5.0, 9.1 to 9.6.
 */
static void program_pasid(struct machine *machine, bool device_tlb)
{
    uint64_t *context = (uint64_t *)at(machine, CONTEXT) + 4 * 8 * SLOT;
    uint64_t *pasid = (uint64_t *)at(machine, PASIDS) + 8 * PASID;

    *(uint64_t *)at(machine, ROOT) = CONTEXT | 1;
    context[0] = TABLES | 1 << 3 | 1; /* PASIDs */
    if (device_tlb)
        context[0] |= 1 << 4 | 1 << 2; /* page requests, device TLB */
    *(uint64_t *)at(machine, TABLES) = PASIDS | 1;
    pasid[0] = 1 << 6 | 1;  /* first stage */
    pasid[1] = 1 << 23 | 5; /* the walk snoops; domain 5 */
    pasid[2] = TABLES_1;
    *(uint64_t *)at(machine, TABLES_1) = (TABLES_1 + PAGE) | 7;
    *((uint64_t *)at(machine, TABLES_1 + PAGE) + 1) = (TABLES_1 + 2 * PAGE) | 7;
    *(uint64_t *)at(machine, TABLES_1 + 2 * PAGE) = (TABLES_1 + 3 * PAGE) | 7;
    unit_write(machine, 0x20, 8, ROOT | 1 << 10);
    unit_write(machine, 0x18, 4, GCMD_SRTP);
    unit_write(machine, 0xd0, 8, REQUESTS);
    unit_write(machine, 0x90, 8, QUEUE | 1 << 11);
    unit_write(machine, 0x18, 4, GCMD_QIE);
    unit_write(machine, 0x18, 4, GCMD_QIE | GCMD_TE);
}

static void enable_all(struct machine *machine)
{
    unsigned int pri = extended(machine, ID_PRI);

    configure(machine, extended(machine, ID_PASID) + 6, 1);
    enable_ats(machine);
    machine_config_write(machine, SLOT, pri + 12, 4, 32);
    configure(machine, pri + 4, 1);
    machine_write(machine, engine(machine) + VMM_COPIER_PASID, 4, VMM_COPIER_PASID_VALID | PASID);
}

/* The guest waits for `count` page requests, and has handled them; returns the last. */
static const uint64_t *await_requests(struct machine *machine, unsigned int count)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    uint64_t head = machine_read(machine, VMM_VIOMMU_BASE + 0xc0, 8), tail = head;

    for (unsigned int i = 0; i < 10000 && tail - head < 32u * count; i++) {
        nanosleep(&moment, NULL);
        tail = machine_read(machine, VMM_VIOMMU_BASE + 0xc8, 8);
    }
    assert_int_equal(tail - head, 32u * count);
    unit_write(machine, 0xc0, 8, tail);
    return at(machine, REQUESTS + tail - 32);
}

/* A page group response to the request, with this code (VT-d 5.0, 7.7). */
static void respond(struct machine *machine, const uint64_t *request, uint64_t code)
{
    uint64_t tail = machine_read(machine, VMM_VIOMMU_BASE + 0x88, 8);
    uint64_t *descriptor = at(machine, QUEUE + tail);

    descriptor[0] = (uint64_t)PASID << 32 | (uint64_t)SLOT << 3 << 16 | code << 12 | 1 << 4 | 9;
    descriptor[1] = (request[1] & 0xff8) | 4;
    descriptor[2] = descriptor[3] = 0;
    unit_write(machine, 0x88, 8, tail + 32);
}

/* Both sides of the copy are asked for, with their access, and the copy goes on when they are
 * there. */
static void test_page_requests(void **state)
{
    struct machine *machine = plug("vtd,pasid-bits=20,device-iotlb=on,page-requests=on", NULL,
                                   "edu,pasid=on,ats=on,pri=on");
    uint64_t *table = at(machine, TABLES_1 + 3 * PAGE);
    const uint64_t *request;

    (void)state;
    program_pasid(machine, true);
    enable_all(machine);
    memset(at(machine, DATA), 0x77, 2 * PAGE);
    begin_copy(machine, IOVA, IOVA + 2 * PAGE, 2 * PAGE);
    request = await_requests(machine, 2);
    assert_true(request[0] == ((uint64_t)PASID << 32 | SLOT << 3 << 16 | 1 << 8 | 1));
    assert_true(request[1] == ((IOVA + PAGE) | 1 << 3 | 4 | 1)); /* group 1, last, read */
    assert_true(request[-3] == (IOVA | 1 << 3 | 1));
    assert_int_equal(get(machine, VMM_COPIER_STATUS), VMM_COPIER_BUSY | VMM_COPIER_WAITING);
    for (unsigned int i = 0; i < 2; i++)
        table[i] = (DATA + i * PAGE) | 5; /* user, read-only */
    respond(machine, request, 0);
    request = await_requests(machine, 2);
    assert_true(request[1] == ((IOVA + 3 * PAGE) | 2 << 3 | 4 | 2)); /* group 2, last, write */
    for (unsigned int i = 2; i < 4; i++)
        table[i] = (DATA + i * PAGE) | 7;
    respond(machine, request, 0);
    assert_int_equal(end_copy(machine), VMM_COPIER_OK);
    assert_memory_equal(at(machine, DATA), at(machine, DATA + 2 * PAGE), 2 * PAGE);
    assert_int_equal(get(machine, VMM_COPIER_RESPONSES), 2);
    machine_destroy(machine);
}

/* What the guest will not give; and what becomes of the interface after a failure. */
static void test_page_requests_in_vain(void **state)
{
    struct machine *machine = plug("vtd,pasid-bits=20,device-iotlb=on,page-requests=on", NULL,
                                   "edu,pasid=on,ats=on,pri=on");
    unsigned int pri = extended(machine, ID_PRI);

    (void)state;
    program_pasid(machine, true);
    enable_all(machine);
    begin_copy(machine, IOVA, IOVA + PAGE, 8);
    respond(machine, await_requests(machine, 1), 1);
    assert_int_equal(end_copy(machine), VMM_COPIER_INVALID);
    begin_copy(machine, IOVA, IOVA + PAGE, 8);
    respond(machine, await_requests(machine, 1), 0xf);
    assert_int_equal(end_copy(machine), VMM_COPIER_FAILURE);
    assert_int_equal(config(machine, pri + 6), 0x8001);
    assert_int_equal(copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_NOT_GRANTED);
    respond(machine, (const uint64_t[2]){0, 0x7f8}, 0);
    assert_int_equal(config(machine, pri + 6), 0x8003);
    configure(machine, pri + 4, 0);
    assert_int_equal(config(machine, pri + 6), 0x8103);
    configure(machine, pri + 6, 2);
    assert_int_equal(config(machine, pri + 6), 0x8101);
    configure(machine, pri + 4, 2);
    assert_int_equal(config(machine, pri + 6), 0x8100);
    configure(machine, pri + 4, 1);
    begin_copy(machine, IOVA, IOVA + PAGE, 8);
    await_requests(machine, 1);
    machine_destroy(machine); /* with a request outstanding */
}

/* An assigned device shows PASIDs when both the vIOMMU and the host have them. */
static void test_assigned_pasid_capability(void **state)
{
    static const struct {
        const char *viommu, *host;
        unsigned int bits;
    } rows[] = {
        {"vtd,pasid-bits=20", "soft,profile=granite-rapids", 20},
        {"vtd,pasid-bits=8", "soft,profile=granite-rapids", 20},
        {"vtd,pasid-bits=0", "soft,profile=granite-rapids", 0},
        {NULL, "soft,profile=granite-rapids", 0},
        {"vtd,pasid-bits=0", "soft,profile=no-pasid", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct machine *machine = plug(rows[i].viommu, rows[i].host, "edu,assign=soft,pasid=on");
        unsigned int pasid = extended(machine, ID_PASID);

        assert_int_equal(pasid ? config(machine, pasid + 4) >> 8 : 0, rows[i].bits);
        assert_int_equal(get(machine, VMM_COPIER_STATUS), rows[i].bits ? 0 : UINT32_MAX);
        machine_destroy(machine);
    }
}

/* What a guest does that has changed a PASID entry or a mapping of it. */
static void invalidate_pasid(struct machine *machine)
{
    static const uint64_t rows[][2] = {
        {7 | 3 << 4 | 0, 0},                               /* PASID cache, global */
        {6 | 2 << 4 | 5 << 16 | (uint64_t)PASID << 32, 0}, /* its translations, domain 5 */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t tail = machine_read(machine, VMM_VIOMMU_BASE + 0x88, 8);
        uint64_t *descriptor = at(machine, QUEUE + tail);

        memset(descriptor, 0, 32);
        memcpy(descriptor, rows[i], sizeof(rows[i]));
        unit_write(machine, 0x88, 8, tail + 32);
    }
}

static uint64_t attachments(struct machine *machine)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    viommu_soft_get_census(machine->vm.host, &census);
    return census.attachments;
}

/* Requests with a PASID go through the host's own PASID table, on the guest's first stage. */
static void test_assigned_pasid(void **state)
{
    struct machine *machine = plug("vtd,pasid-bits=20", "soft", "edu,assign=soft,pasid=on");
    uint64_t *table = at(machine, TABLES_1 + 3 * PAGE);

    (void)state;
    table[0] = DATA | 7;
    table[1] = (DATA + 4 * PAGE) | 7;
    memset(at(machine, DATA), 0x42, PAGE);
    program_pasid(machine, false);
    invalidate_pasid(machine);
    assert_int_equal(attachments(machine), 1);
    configure(machine, extended(machine, ID_PASID) + 6, 1);
    machine_write(machine, engine(machine) + VMM_COPIER_PASID, 4, VMM_COPIER_PASID_VALID | PASID);
    assert_int_equal(copy(machine, IOVA, IOVA + PAGE, PAGE), VMM_COPIER_OK);
    assert_memory_equal(at(machine, DATA), at(machine, DATA + 4 * PAGE), PAGE);
    table[1] = 0;
    invalidate_pasid(machine);
    assert_int_equal(copy(machine, IOVA, IOVA + PAGE, PAGE), VMM_COPIER_REFUSED);
    machine_write(machine, engine(machine) + VMM_COPIER_PASID, 4, VMM_COPIER_PASID_VALID | 2);
    assert_int_equal(copy(machine, IOVA, IOVA, PAGE), VMM_COPIER_REFUSED);
    machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capabilities_by_options),
        cmocka_unit_test(test_capability_registers),
        cmocka_unit_test(test_device_tlb),
        cmocka_unit_test(test_refused_translation_requests),
        cmocka_unit_test(test_device_tlb_is_emptied),
        cmocka_unit_test(test_bus_mastering),
        cmocka_unit_test(test_pasid_must_be_enabled),
        cmocka_unit_test(test_page_requests),
        cmocka_unit_test(test_page_requests_in_vain),
        cmocka_unit_test(test_assigned_pasid_capability),
        cmocka_unit_test(test_assigned_pasid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
