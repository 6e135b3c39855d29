/* SPDX-License-Identifier: MIT */
/*
 * The copy engine of an edu function in a machine: its PCI capabilities, and its device TLB behind
 * a remapping unit that the test programs as a guest would.
 */
#include "edu-engine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Each is there when it was asked for, in a list that ends; without any there is no engine. */
#define PAGE_REQUESTS "vtd,device-iotlb=on,page-requests=on"

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
        struct machine *machine = engine_plug(PAGE_REQUESTS, NULL, rows[i].device);

        assert_int_equal(engine_extended(machine, ID_PASID) != 0, rows[i].pasid);
        assert_int_equal(engine_extended(machine, ID_ATS) != 0, rows[i].ats);
        assert_int_equal(engine_extended(machine, ID_PRI) != 0, rows[i].pri);
        assert_int_equal(engine_get(machine, VMM_COPIER_STATUS),
                         rows[i].pasid || rows[i].ats ? 0 : UINT32_MAX);
        machine_destroy(machine);
    }
}

/* What Linux wants to see before it enables them (pci_enable_pasid() and its like). */
static void test_capability_registers(void **state)
{
    struct machine *machine = engine_plug(PAGE_REQUESTS, NULL, "edu,pasid=on,ats=on,pri=on");
    unsigned int express = machine_capability(machine, SLOT, 0x10, 0);
    unsigned int pasid = engine_extended(machine, ID_PASID), ats = engine_extended(machine, ID_ATS);
    unsigned int pri = engine_extended(machine, ID_PRI);

    (void)state;
    assert_true(machine_config_read(machine, SLOT, express + 0x24, 4) & 1u << 21);
    assert_int_equal(engine_config(machine, pasid + 4), 20 << 8);
    engine_configure(machine, pasid + 6, 0xffff);
    assert_int_equal(engine_config(machine, pasid + 6), 1);
    assert_int_equal(engine_config(machine, ats + 4), 0x60);
    engine_configure(machine, ats + 6, 0xffff);
    assert_int_equal(engine_config(machine, ats + 6), 0x801f);
    assert_int_equal(engine_config(machine, pri + 6), 0x8100);
    assert_int_equal(machine_config_read(machine, SLOT, pri + 8, 4), 32);
    machine_config_write(machine, SLOT, pri + 12, 4, 7);
    assert_int_equal(machine_config_read(machine, SLOT, pri + 12, 4), 7);
    engine_configure(machine, pri + 4, 1);
    assert_int_equal(engine_config(machine, pri + 4), 1);
    assert_int_equal(engine_config(machine, pri + 6), 0x8000);
    engine_configure(machine, pri + 4, 0);
    assert_int_equal(engine_config(machine, pri + 6), 0x8100);
    engine_configure(machine, pri + 4, 2);
    assert_int_equal(engine_config(machine, pri + 4), 0);
    machine_destroy(machine);
}

/* Legacy mode: pages from IOVA on lie at DATA; the context entry allows a device TLB, or not. */
static void program(struct machine *machine, bool device_tlb)
{
    uint64_t *context = (uint64_t *)machine_ram(machine, CONTEXT) + 2 * 8 * SLOT;

    *(uint64_t *)machine_ram(machine, ROOT) = CONTEXT | 1;
    context[0] = TABLES | (device_tlb ? 4 : 0) | 1;
    context[1] = 3 << 8 | 2; /* four levels */
    *(uint64_t *)machine_ram(machine, TABLES) = (TABLES + PAGE) | 3;
    *((uint64_t *)machine_ram(machine, TABLES + PAGE) + 1) = (TABLES + 2 * PAGE) | 3;
    *(uint64_t *)machine_ram(machine, TABLES + 2 * PAGE) = (TABLES + 3 * PAGE) | 3;
    for (uint64_t i = 0; i < 8; i++)
        *((uint64_t *)machine_ram(machine, TABLES + 3 * PAGE) + i) = (DATA + i * PAGE) | 3;
    for (unsigned int i = 0; i < 16 * PAGE; i++)
        *(uint8_t *)machine_ram(machine, DATA + i) = (uint8_t)(i * 3 + i / PAGE);
    engine_unit_write(machine, 0x20, 8, ROOT);
    engine_unit_write(machine, 0x18, 4, GCMD_SRTP);
    engine_unit_write(machine, 0x90, 8, QUEUE);
    engine_unit_write(machine, 0x18, 4, GCMD_QIE);
    engine_unit_write(machine, 0x18, 4, GCMD_QIE | GCMD_TE);
}

/* One descriptor after the other, from the start of the queue. */
static void invalidate(struct machine *machine, uint64_t low, uint64_t high)
{
    uint64_t tail = machine_read(machine, VMM_VIOMMU_BASE + 0x88, 8);
    uint64_t *descriptor = machine_ram(machine, QUEUE + tail);

    descriptor[0] = low;
    descriptor[1] = high;
    engine_unit_write(machine, 0x88, 8, tail + 16);
}

static void map(struct machine *machine, unsigned int page, uint64_t entry)
{
    *((uint64_t *)machine_ram(machine, TABLES + 3 * PAGE) + page) = entry;
    invalidate(machine, 0x12, 0); /* the IOTLB, all of it */
}

/* The device TLB holds what it has, until the guest's invalidation reaches it. */
static void test_device_tlb(void **state)
{
    struct machine *machine = engine_plug("vtd,scalable=off,device-iotlb=on", NULL, "edu,ats=on");
    uint64_t sid = SLOT << 3;

    (void)state;
    program(machine, true);
    engine_enable_ats(machine);
    assert_int_equal(engine_copy(machine, IOVA + 100, IOVA + 4 * PAGE + 5, 2 * PAGE),
                     VMM_COPIER_OK);
    assert_memory_equal(machine_ram(machine, DATA + 100), machine_ram(machine, DATA + 4 * PAGE + 5),
                        2 * PAGE);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 6);
    map(machine, 0, (DATA + 8 * PAGE) | 3);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 64), VMM_COPIER_OK);
    assert_memory_equal(machine_ram(machine, DATA), machine_ram(machine, DATA + 4 * PAGE), 64);
    invalidate(machine, sid << 32 | 3, IOVA);
    assert_int_equal(engine_get(machine, VMM_COPIER_INVALIDATIONS), 1);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 64), VMM_COPIER_OK);
    assert_memory_equal(machine_ram(machine, DATA + 8 * PAGE),
                        machine_ram(machine, DATA + 4 * PAGE), 64);
    map(machine, 4, 0);
    invalidate(machine, sid << 32 | 3, IOVA | 0x7000 | 1); /* 16 pages */
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 64), VMM_COPIER_NOT_GRANTED);
    machine_destroy(machine);
}

/* The guest forbids it in the table, or has not enabled it in the function. */
static void test_refused_translation_requests(void **state)
{
    struct machine *machine = engine_plug("vtd,scalable=off,device-iotlb=on", NULL, "edu,ats=on");

    (void)state;
    program(machine, false);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, PAGE), VMM_COPIER_OK);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 0);
    engine_enable_ats(machine);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, PAGE), VMM_COPIER_REFUSED);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 1);
    machine_destroy(machine);
}

/* Switching ATS off empties the device TLB; so does a function-level reset. */
static void test_device_tlb_is_emptied(void **state)
{
    struct machine *machine = engine_plug("vtd,scalable=off,device-iotlb=on", NULL, "edu,ats=on");
    unsigned int express = machine_capability(machine, SLOT, 0x10, 0);
    uint64_t bar = machine_config_read(machine, SLOT, 0x10, 4);

    (void)state;
    program(machine, true);
    engine_enable_ats(machine);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_OK);
    engine_configure(machine, engine_extended(machine, ID_ATS) + 6, 0);
    engine_enable_ats(machine);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_OK);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 4);
    engine_configure(machine, express + 8, 0x8000);
    assert_int_equal(engine_config(machine, engine_extended(machine, ID_ATS) + 6), 0);
    machine_config_write(machine, SLOT, 0x10, 4, (uint32_t)bar);
    engine_configure(machine, 4, 6);
    engine_enable_ats(machine);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 0);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_OK);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 2);
    machine_destroy(machine);
}

/* Without bus mastering nothing is asked and nothing moves. */
static void test_bus_mastering(void **state)
{
    struct machine *machine = engine_plug("vtd,scalable=off,device-iotlb=on", NULL, "edu,ats=on");

    (void)state;
    program(machine, true);
    engine_configure(machine, 4, 2);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_REFUSED);
    engine_enable_ats(machine);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_REFUSED);
    engine_configure(machine, 4, 6);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_OK);
    machine_destroy(machine);
}

/* Requests with a PASID, and no device TLB. */
static void test_pasid_must_be_enabled(void **state)
{
    struct machine *machine = engine_plug(NULL, NULL, "edu,pasid=on");

    (void)state;
    machine_write(machine, engine_address(machine) + VMM_COPIER_PASID, 4,
                  VMM_COPIER_PASID_VALID | 9);
    assert_int_equal(engine_copy(machine, DATA, DATA + PAGE, 8), VMM_COPIER_NO_PASID);
    machine_write(machine, engine_address(machine) + VMM_COPIER_PASID, 4, 0);
    memset(machine_ram(machine, DATA), 0x3c, 8);
    assert_int_equal(engine_copy(machine, DATA, DATA + PAGE, 8), VMM_COPIER_OK);
    assert_memory_equal(machine_ram(machine, DATA), machine_ram(machine, DATA + PAGE), 8);
    machine_destroy(machine);
}

/* Both sides of the copy are asked for, with their access, and the copy goes on when they are
 * there. */
static void test_page_requests(void **state)
{
    struct machine *machine = engine_plug("vtd,pasid-bits=20,device-iotlb=on,page-requests=on",
                                          NULL, "edu,pasid=on,ats=on,pri=on");
    uint64_t *table = machine_ram(machine, TABLES_1 + 3 * PAGE);
    const uint64_t *request;

    (void)state;
    engine_program_pasid(machine, true);
    engine_enable_all(machine);
    memset(machine_ram(machine, DATA), 0x77, 2 * PAGE);
    engine_begin(machine, IOVA, IOVA + 2 * PAGE, 2 * PAGE);
    request = engine_await_requests(machine, 2);
    assert_true(request[0] == ((uint64_t)PASID << 32 | SLOT << 3 << 16 | 1 << 8 | 1));
    assert_true(request[1] == ((IOVA + PAGE) | 1 << 3 | 4 | 1)); /* group 1, last, read */
    assert_true(request[-3] == (IOVA | 1 << 3 | 1));
    assert_int_equal(engine_get(machine, VMM_COPIER_STATUS), VMM_COPIER_BUSY | VMM_COPIER_WAITING);
    for (unsigned int i = 0; i < 2; i++)
        table[i] = (DATA + i * PAGE) | 5; /* user, read-only */
    engine_respond(machine, request, 0);
    request = engine_await_requests(machine, 2);
    assert_true(request[1] == ((IOVA + 3 * PAGE) | 2 << 3 | 4 | 2)); /* group 2, last, write */
    for (unsigned int i = 2; i < 4; i++)
        table[i] = (DATA + i * PAGE) | 7;
    engine_respond(machine, request, 0);
    assert_int_equal(engine_end(machine), VMM_COPIER_OK);
    assert_memory_equal(machine_ram(machine, DATA), machine_ram(machine, DATA + 2 * PAGE),
                        2 * PAGE);
    assert_int_equal(engine_get(machine, VMM_COPIER_RESPONSES), 2);
    machine_destroy(machine);
}

/* What the guest will not give; and what becomes of the interface after a failure. */
static void test_page_requests_in_vain(void **state)
{
    struct machine *machine = engine_plug("vtd,pasid-bits=20,device-iotlb=on,page-requests=on",
                                          NULL, "edu,pasid=on,ats=on,pri=on");
    unsigned int pri = engine_extended(machine, ID_PRI);

    (void)state;
    engine_program_pasid(machine, true);
    engine_enable_all(machine);
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    engine_respond(machine, engine_await_requests(machine, 1), 1);
    assert_int_equal(engine_end(machine), VMM_COPIER_INVALID);
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    engine_respond(machine, engine_await_requests(machine, 1), 0xf);
    assert_int_equal(engine_end(machine), VMM_COPIER_FAILURE);
    assert_int_equal(engine_config(machine, pri + 6), 0x8001);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_NOT_GRANTED);
    engine_respond(machine, (const uint64_t[2]){0, 0x7f8}, 0);
    assert_int_equal(engine_config(machine, pri + 6), 0x8003);
    engine_configure(machine, pri + 4, 0);
    assert_int_equal(engine_config(machine, pri + 6), 0x8103);
    engine_configure(machine, pri + 6, 2);
    assert_int_equal(engine_config(machine, pri + 6), 0x8101);
    engine_configure(machine, pri + 4, 2);
    assert_int_equal(engine_config(machine, pri + 6), 0x8100);
    engine_configure(machine, pri + 4, 1);
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    engine_await_requests(machine, 1);
    machine_destroy(machine); /* with a request outstanding */
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
