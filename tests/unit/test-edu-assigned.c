/* SPDX-License-Identifier: MIT */
/*
 * The copy engine of an assigned edu: which capabilities it shows, and its device TLB and page
 * requests, which go through the simulated host.
 */
#include "edu-engine.h"
#include "library.h"
#include "pci_host.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <viommu/host.h>
#include <viommu/soft.h>
#include <viommu/viommu.h>

#include <cmocka.h>

#define UNIT     "vtd,pasid-bits=20,device-iotlb=on,page-requests=on"
#define GRANITE  "soft,profile=granite-rapids"
#define ASSIGNED "edu,assign=soft,pasid=on,ats=on,pri=on"

#define INVALIDATE_DEVICE_TLB (UINT64_C(8) | (uint64_t)PASID << 32 | (uint64_t)SLOT << 3 << 16)

/* What the device has, the vIOMMU promises and the host has is shown; nothing else. */
static void test_capabilities(void **state)
{
    static const struct {
        const char *viommu, *host, *device;
        unsigned int bits;
        bool ats, pri;
    } rows[] = {
        {UNIT, GRANITE, ASSIGNED, 20, true, true},
        {UNIT, GRANITE, "edu,assign=soft,pasid=on,ats=on", 20, true, false},
        {UNIT, GRANITE, "edu,assign=soft,ats=on,pri=on", 0, true, true},
        {UNIT, GRANITE, "edu,assign=soft", 0, false, false},
        {"vtd,pasid-bits=8,device-iotlb=on", GRANITE, ASSIGNED, 20, true, false},
        {"vtd,pasid-bits=20", GRANITE, ASSIGNED, 20, false, false},
        {"vtd,pasid-bits=0", GRANITE, ASSIGNED, 0, false, false},
        {"vtd,pasid-bits=0", "soft,profile=no-pasid", ASSIGNED, 0, false, false},
        {"vtd,pasid-bits=8", "soft,profile=narrow-pasid", ASSIGNED, 8, false, false},
        {"vtd,first-stage=off,second-stage=on,device-iotlb=on", "soft,profile=amd-zen4", ASSIGNED,
         0, false, false},
        {NULL, GRANITE, ASSIGNED, 0, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct machine *machine = engine_plug(rows[i].viommu, rows[i].host, rows[i].device);
        unsigned int pasid = engine_extended(machine, ID_PASID);

        assert_int_equal(pasid ? engine_config(machine, pasid + 4) >> 8 : 0, rows[i].bits);
        assert_int_equal(engine_extended(machine, ID_ATS) != 0, rows[i].ats);
        assert_int_equal(engine_extended(machine, ID_PRI) != 0, rows[i].pri);
        assert_int_equal(engine_get(machine, VMM_COPIER_STATUS),
                         rows[i].bits || rows[i].ats ? 0 : UINT32_MAX);
        machine_destroy(machine);
    }
}

static uint64_t attachments(struct machine *machine)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    viommu_soft_get_census(machine->vm.host, &census);
    return census.attachments;
}

/* Requests with a PASID go through the host's own PASID table, on the guest's first stage. */
static void test_pasid(void **state)
{
    struct machine *machine = engine_plug("vtd,pasid-bits=20", "soft", "edu,assign=soft,pasid=on");
    uint64_t *table = machine_ram(machine, TABLES_1 + 3 * PAGE);

    (void)state;
    table[0] = DATA | 7;
    table[1] = (DATA + 4 * PAGE) | 7;
    memset(machine_ram(machine, DATA), 0x42, PAGE);
    engine_program_pasid(machine, false);
    engine_invalidate_pasid(machine);
    assert_int_equal(attachments(machine), 1);
    engine_configure(machine, engine_extended(machine, ID_PASID) + 6, 1);
    machine_write(machine, engine_address(machine) + VMM_COPIER_PASID, 4,
                  VMM_COPIER_PASID_VALID | PASID);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, PAGE), VMM_COPIER_OK);
    assert_memory_equal(machine_ram(machine, DATA), machine_ram(machine, DATA + 4 * PAGE), PAGE);
    table[1] = 0;
    engine_invalidate_pasid(machine);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, PAGE), VMM_COPIER_REFUSED);
    machine_write(machine, engine_address(machine) + VMM_COPIER_PASID, 4,
                  VMM_COPIER_PASID_VALID | 2);
    assert_int_equal(engine_copy(machine, IOVA, IOVA, PAGE), VMM_COPIER_REFUSED);
    machine_destroy(machine);
}

static void enable(struct machine *machine)
{
    engine_program_pasid(machine, true);
    engine_invalidate_pasid(machine);
    engine_enable_all(machine);
}

static struct machine *start(void)
{
    struct machine *machine = engine_plug(UNIT, GRANITE, ASSIGNED);

    enable(machine);
    return machine;
}

static struct viommu_stats stats(struct machine *machine)
{
    struct viommu_stats stats = {.size = sizeof(stats)};

    viommu_get_stats(machine->vm.units[0].viommu, &stats);
    return stats;
}

/* The table's last level maps the first `count` pages to those from DATA on. */
static void map_pages(struct machine *machine, unsigned int first, unsigned int count)
{
    uint64_t *table = machine_ram(machine, TABLES_1 + 3 * PAGE);

    for (unsigned int i = first; i < first + count; i++)
        table[i] = (DATA + i * PAGE) | 7;
}

/* The device asks the host, the loop asks the guest, the answer goes back the same way. */
static void test_page_requests(void **state)
{
    struct machine *machine = start();
    const uint64_t *request;

    (void)state;
    memset(machine_ram(machine, DATA), 0x77, 2 * PAGE);
    engine_begin(machine, IOVA, IOVA + 2 * PAGE, 2 * PAGE);
    request = engine_await_requests(machine, 2);
    assert_true(request[0] == ((uint64_t)PASID << 32 | SLOT << 3 << 16 | 1 << 8 | 1));
    assert_true(request[1] == ((IOVA + PAGE) | 1 << 3 | 4 | 1)); /* group 1, last, read */
    assert_true(request[-3] == (IOVA | 1 << 3 | 1));
    assert_int_equal(engine_get(machine, VMM_COPIER_STATUS), VMM_COPIER_BUSY | VMM_COPIER_WAITING);
    map_pages(machine, 0, 2);
    engine_respond(machine, request, 0);
    request = engine_await_requests(machine, 2);
    assert_true(request[1] == ((IOVA + 3 * PAGE) | 2 << 3 | 4 | 2)); /* group 2, last, write */
    map_pages(machine, 2, 2);
    engine_respond(machine, request, 0);
    assert_int_equal(engine_end(machine), VMM_COPIER_OK);
    assert_memory_equal(machine_ram(machine, DATA), machine_ram(machine, DATA + 2 * PAGE),
                        2 * PAGE);
    assert_int_equal(engine_get(machine, VMM_COPIER_RESPONSES), 2);
    assert_int_equal(stats(machine).assigned_emulated, 0);
    assert_int_equal(stats(machine).page_requests, 4);
    assert_int_equal(stats(machine).page_responses, 2);
    machine_destroy(machine);
}

/* It holds what it was told, until the guest's invalidation reaches it through the host. */
static void test_device_tlb(void **state)
{
    struct machine *machine = start();
    uint64_t *table = machine_ram(machine, TABLES_1 + 3 * PAGE);
    uint32_t translations, invalidations;

    (void)state;
    map_pages(machine, 0, 2);
    memset(machine_ram(machine, DATA), 0x11, PAGE);
    memset(machine_ram(machine, DATA + 8 * PAGE), 0x88, PAGE);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 64), VMM_COPIER_OK);
    translations = engine_get(machine, VMM_COPIER_TRANSLATIONS);
    invalidations = engine_get(machine, VMM_COPIER_INVALIDATIONS);
    table[0] = (DATA + 8 * PAGE) | 7;
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 64), VMM_COPIER_OK);
    assert_int_equal(*(uint8_t *)machine_ram(machine, DATA + PAGE), 0x11);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), translations);
    assert_int_equal(engine_get(machine, VMM_COPIER_HITS), 4);
    engine_submit(machine, 6 | 3 << 4 | 5 << 16 | (uint64_t)PASID << 32, IOVA); /* one page */
    engine_submit(machine, INVALIDATE_DEVICE_TLB, IOVA);
    assert_int_equal(engine_get(machine, VMM_COPIER_INVALIDATIONS), invalidations + 1);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 64), VMM_COPIER_OK);
    assert_int_equal(*(uint8_t *)machine_ram(machine, DATA + PAGE), 0x88);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), translations + 1);
    machine_destroy(machine);
}

/* Registers that the guest writes are the device's: ATS, page requests, bus mastering. */
static void test_control_registers(void **state)
{
    struct machine *machine = start();
    unsigned int ats = engine_extended(machine, ID_ATS), pri = engine_extended(machine, ID_PRI);

    (void)state;
    map_pages(machine, 0, 2);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_OK);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 2);
    engine_configure(machine, ats + 6, 0);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_OK);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 2);
    engine_enable_ats(machine);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_OK);
    assert_int_equal(engine_get(machine, VMM_COPIER_TRANSLATIONS), 4);
    engine_configure(machine, pri + 4, 0);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 4 * PAGE, 8), VMM_COPIER_NOT_GRANTED);
    engine_configure(machine, 4, 2);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + 5 * PAGE, 8), VMM_COPIER_REFUSED);
    engine_configure(machine, 4, 6);
    engine_configure(machine, engine_extended(machine, ID_PASID) + 6, 0);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_NO_PASID);
    machine_destroy(machine);
}

/* A host knows two answers: whatever is no success is invalid. A PASID without a table is blocked.
 */
static void test_in_vain(void **state)
{
    static const uint64_t codes[] = {1, 0xf};
    struct machine *machine = start();
    unsigned int pri = engine_extended(machine, ID_PRI);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        engine_begin(machine, IOVA, IOVA + PAGE, 8);
        engine_respond(machine, engine_await_requests(machine, 1), codes[i]);
        assert_int_equal(engine_end(machine), VMM_COPIER_INVALID);
    }
    assert_int_equal(engine_config(machine, pri + 6), 0x8000);
    machine_write(machine, engine_address(machine) + VMM_COPIER_PASID, 4,
                  VMM_COPIER_PASID_VALID | 2);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_REFUSED);
    assert_true(stats(machine).faults_recorded > 0);
    machine_destroy(machine);
}

/* The guest takes the PASID away, or the host loses the device: nobody else will answer. */
static void test_attachment_ends(void **state)
{
    struct machine *machine = start();
    unsigned int pri = engine_extended(machine, ID_PRI);
    const uint64_t *request;

    (void)state;
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    request = engine_await_requests(machine, 1);
    *((uint64_t *)machine_ram(machine, PASIDS) + 8 * PASID) = 0;
    engine_invalidate_pasid(machine);
    assert_int_equal(engine_end(machine), VMM_COPIER_INVALID);
    engine_respond(machine, request, 0);
    assert_int_equal(engine_config(machine, pri + 6), 0x8000);
    *((uint64_t *)machine_ram(machine, PASIDS) + 8 * PASID) = 1 << 6 | 1;
    engine_invalidate_pasid(machine);
    map_pages(machine, 0, 2);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_OK);
    machine_destroy(machine);
}

static void function_level_reset(struct machine *machine)
{
    unsigned int express = machine_capability(machine, SLOT, 0x10, 0);
    uint32_t bar = machine_config_read(machine, SLOT, 0x10, 4);

    engine_configure(machine, express + 8, 0x8000);
    machine_config_write(machine, SLOT, 0x10, 4, bar);
    engine_configure(machine, 4, 6);
}

/* The function forgets what it has asked for; an answer that comes then goes nowhere. */
static void test_function_level_reset(void **state)
{
    struct machine *machine = start();
    unsigned int pri = engine_extended(machine, ID_PRI);
    const uint64_t *request;

    (void)state;
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    request = engine_await_requests(machine, 1);
    function_level_reset(machine);
    assert_int_equal(engine_get(machine, VMM_COPIER_STATUS), 0);
    engine_respond(machine, request, 0);
    assert_int_equal(engine_config(machine, pri + 6), 0x8100);
    engine_enable_all(machine);
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    request = engine_await_requests(machine, 1);
    map_pages(machine, 0, 2);
    engine_respond(machine, request, 0);
    assert_int_equal(engine_end(machine), VMM_COPIER_OK);
    machine_destroy(machine);
}

/* The guest resets the interface alone: late answers, or none, harm nothing. */
static void test_page_request_reset(void **state)
{
    struct machine *machine = start();
    unsigned int pri = engine_extended(machine, ID_PRI);

    (void)state;
    for (unsigned int i = 0; i < 60; i++) {
        const uint64_t *request;

        engine_configure(machine, pri + 4, 1);
        engine_begin(machine, IOVA, IOVA + PAGE, 8);
        request = engine_await_requests(machine, 1);
        engine_configure(machine, pri + 4, 0);
        engine_configure(machine, pri + 4, 2);
        assert_int_equal(engine_end(machine), VMM_COPIER_STOPPED);
        if (i % 2)
            engine_respond(machine, request, 0);
        assert_int_equal(engine_config(machine, pri + 6), 0x8100);
    }
    machine_destroy(machine);
}

/* As the machine's: devices first, then the unit. And the end of a machine that waits. */
static void test_machine_reset(void **state)
{
    struct machine *machine = start();
    unsigned int pri = engine_extended(machine, ID_PRI);
    struct viommu_error error;

    (void)state;
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    engine_await_requests(machine, 1);
    vmm_pci_host_reset(&machine->vm);
    vmm_library_reset(&machine->vm);
    assert_int_equal(vmm_pci_host_start(&machine->vm, &error), 0);
    assert_int_equal(attachments(machine), 1);
    assert_int_equal(engine_config(machine, pri + 6), 0x8100);
    engine_configure(machine, 4, 6);
    engine_unit_write(machine, 0x88, 8, 0);
    enable(machine);
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    engine_await_requests(machine, 1);
    machine_destroy(machine);
}

/* A host that fails to hand requests over, or answers: nothing hangs, and it works afterwards. */
struct failing {
    enum viommu_host_call call;
    unsigned int times;
};

static int fail_call(void *opaque, enum viommu_host_call call)
{
    struct failing *failing = opaque;

    if (call != __atomic_load_n(&failing->call, __ATOMIC_RELAXED) ||
        !__atomic_load_n(&failing->times, __ATOMIC_RELAXED))
        return 0;
    __atomic_fetch_sub(&failing->times, 1, __ATOMIC_RELAXED);
    return -EIO;
}

static void test_failing_host(void **state)
{
    struct failing failing = {VIOMMU_HOST_CALL_FAULT_QUEUE_READ, 3};
    struct machine *machine = engine_plug(UNIT, GRANITE, ASSIGNED);
    const uint64_t *request;

    (void)state;
    viommu_host_set_observer(machine->vm.host, fail_call, &failing);
    enable(machine); /* from here on the loop may use the host */
    engine_begin(machine, IOVA, IOVA + PAGE, 8);
    request = engine_await_requests(machine, 1);
    assert_int_equal(__atomic_load_n(&failing.times, __ATOMIC_RELAXED), 0);
    __atomic_store_n(&failing.call, VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND, __ATOMIC_RELAXED);
    __atomic_store_n(&failing.times, 1, __ATOMIC_RELAXED);
    engine_respond(machine, request, 0);
    assert_int_equal(engine_get(machine, VMM_COPIER_STATUS), VMM_COPIER_BUSY | VMM_COPIER_WAITING);
    machine_write(machine, engine_address(machine) + VMM_COPIER_STOP, 4, 1);
    engine_configure(machine, engine_extended(machine, ID_PRI) + 4, 0);
    engine_configure(machine, engine_extended(machine, ID_PRI) + 4, 2);
    assert_int_equal(engine_end(machine), VMM_COPIER_STOPPED);
    engine_enable_all(machine);
    map_pages(machine, 0, 2);
    assert_int_equal(engine_copy(machine, IOVA, IOVA + PAGE, 8), VMM_COPIER_OK);
    machine_destroy(machine);
}

/* Accesses that began later than now: the engine's thread is at work meanwhile. */
static void await_accesses(struct machine *machine, uint32_t count)
{
    uint32_t begin = engine_get(machine, VMM_COPIER_HITS);

    while (engine_get(machine, VMM_COPIER_HITS) - begin < count)
        assert_true(engine_get(machine, VMM_COPIER_STATUS) & VMM_COPIER_BUSY);
}

static void move_page(struct machine *machine, unsigned int page, uint64_t entry)
{
    uint64_t *table = machine_ram(machine, TABLES_1 + 3 * PAGE);

    __atomic_store_n(&table[page], entry, __ATOMIC_RELEASE);
    engine_submit(machine, 6 | 3 << 4 | 5 << 16 | (uint64_t)PASID << 32, IOVA + page * PAGE);
    engine_submit(machine, INVALIDATE_DEVICE_TLB, IOVA + page * PAGE);
}

/* The guest took the page away; the engine asks for it. */
static void give_page(struct machine *machine, unsigned int page, uint64_t entry)
{
    uint64_t *table = machine_ram(machine, TABLES_1 + 3 * PAGE);
    const uint64_t *request = engine_await_requests(machine, 1);

    __atomic_store_n(&table[page], entry, __ATOMIC_RELEASE);
    engine_respond(machine, request, 0);
}

/*
 * The engine copies the same page again and again, while the guest moves the destination, or takes
 * it away until it is asked for: what it had before is never written once the invalidation is done.
 */
static void test_pages_move_under_dma(void **state)
{
    struct machine *machine = start();
    uint64_t *source = machine_ram(machine, DATA);

    (void)state;
    map_pages(machine, 0, 2);
    memset(source, 0xff, 64);
    engine_begin_with(machine, IOVA, IOVA + PAGE, 64, VMM_COPIER_REPEAT);
    await_accesses(machine, 4);
    for (unsigned int round = 0; round < 150; round++) {
        uint64_t *old = machine_ram(machine, DATA + (1 + round % 2) * PAGE);
        uint64_t next = (DATA + (2 - round % 2) * PAGE) | 7;

        move_page(machine, 1, round % 3 ? next : 0);
        memset(old, 0, 64);
        if (round % 3 == 0)
            give_page(machine, 1, next);
        await_accesses(machine, 4);
        for (unsigned int i = 0; i < 8; i++)
            assert_true(old[i] == 0);
    }
    machine_write(machine, engine_address(machine) + VMM_COPIER_STOP, 4, 1);
    assert_int_equal(engine_end(machine), VMM_COPIER_STOPPED);
    machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capabilities),       cmocka_unit_test(test_pasid),
        cmocka_unit_test(test_page_requests),      cmocka_unit_test(test_device_tlb),
        cmocka_unit_test(test_control_registers),  cmocka_unit_test(test_in_vain),
        cmocka_unit_test(test_attachment_ends),    cmocka_unit_test(test_function_level_reset),
        cmocka_unit_test(test_page_request_reset), cmocka_unit_test(test_machine_reset),
        cmocka_unit_test(test_failing_host),       cmocka_unit_test(test_pages_move_under_dma),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
