/* SPDX-License-Identifier: MIT */
/*
 * Guest tables on the host: an assigned device follows the guest's tables and invalidations, and
 * never uses a translation that the guest took away, whatever the host does.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "assigned.h"

#define PAGE_A 0x80000u
#define PAGE_B 0x81000u

#define FS_NOT_PRESENT    0x71
#define PASID_NOT_PRESENT 0x59
#define PASID_INVALID     0x5b
#define CONTEXT_INVALID   0x03
#define LEGACY_READ       0x06
#define CONTEXT_MISSING   0x02

/* Function 0 nested: GUEST_IOVA at PAGE_A. Returns the root of its table. */
static uint64_t start_nested(struct assigned *assigned, const char *properties)
{
    uint64_t root;

    assigned_create(assigned, NULL, properties);
    assigned_attach(assigned, 0);
    root = assigned_first_stage(assigned, GUEST_IOVA, PAGE_A);
    assigned_bind(assigned, 0, 0, root, GUEST_DOMAIN);
    guest_on(&assigned->guest, TTM_SCALABLE);
    assigned_calm(assigned);
    return root;
}

/* The entry of GUEST_IOVA. */
static void set_page(struct assigned *assigned, uint64_t root, unsigned int levels, uint64_t value)
{
    store64(&assigned->guest.machine, guest_entry(&assigned->guest, root, levels, GUEST_IOVA, 1),
            value);
}

static void translation_off(void **state)
{
    struct assigned assigned;

    (void)state;
    assigned_create(&assigned, NULL, "");
    assigned_attach(&assigned, 0);
    assigned_arrives(&assigned, 0, PAGE_A, PAGE_A);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
    assigned_destroy(&assigned);
}

static void first_stage_is_nested(void **state)
{
    struct assigned assigned;
    struct viommu_stats stats;

    (void)state;
    start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assert_false(assigned_reads(&assigned, 0, PAGE_A));
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1);
    stats = assigned_stats(&assigned);
    assert_int_equal(stats.nested_binds, 1);
    assert_int_equal(stats.assigned_emulated, 0);
    assert_int_equal(stats.shadow_maps, 0);
    assigned_destroy(&assigned);
}

/* The guest's table was there before the device: a hot-plug. */
static void binds_when_plugged(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    assigned_create(&assigned, NULL, "");
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A);
    assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assigned_attach(&assigned, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

static void pass_through_is_the_parent(void **state)
{
    struct assigned assigned;

    (void)state;
    start_nested(&assigned, "");
    guest_pasid(&assigned.guest, 0, PASID_PGTT(4), GUEST_DOMAIN, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assert_string_equal(assigned.trace, "attach destroy_object");
    assigned_arrives(&assigned, 0, PAGE_A, PAGE_A);
    assert_int_equal(assigned_stats(&assigned).parent_attaches, 1);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
    assigned_destroy(&assigned);
}

static void missing_entry_blocks(void **state)
{
    struct assigned assigned;

    (void)state;
    start_nested(&assigned, "");
    store64(&assigned.guest.machine, GUEST_PASIDS, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assert_string_equal(assigned.trace, "detach destroy_object");
    assigned_faults(&assigned, 0, GUEST_IOVA, PASID_NOT_PRESENT);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
    assert_int_equal(assigned_stats(&assigned).blocks, 1);
    /* and comes back */
    guest_change(&assigned.guest, GUEST_PASIDS, 0, PASID_P | PASID_PGTT(1));
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

static void other_domain_changes_nothing(void **state)
{
    struct assigned assigned;

    (void)state;
    start_nested(&assigned, "");
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN + 1, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 1);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN + 1, 0, 0, 0);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 1, 0, 0);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN + 1, 0, 0);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0x100, 3);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "");
    assigned_destroy(&assigned);
}

/* The host's cache never evicts: what is not invalidated is used for ever. */
static void unmapped_page_faults(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    set_page(&assigned, root, 4, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assigned_faults(&assigned, 0, GUEST_IOVA, FS_NOT_PRESENT);
    set_page(&assigned, root, 4, PAGE_B | FS_ALL);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assert_int_equal(assigned_calls(&assigned, "invalidate"), 2);
    assigned_destroy(&assigned);
}

/* Every kind of invalidation that names the page does it. */
static void every_invalidation_reaches_the_host(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 10; i++) {
        struct assigned assigned;
        uint64_t root = start_nested(&assigned, "");

        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        set_page(&assigned, root, 4, PAGE_B | FS_ALL);
        if (i == 0)
            assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
        else if (i == 1)
            assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, 0, 63);
        else if (i == 2)
            assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
        else if (i == 3)
            assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
        else if (i == 4)
            assigned_iotlb(&assigned, IOTLB_GLOBAL, 0, 0, 0);
        else if (i == 5)
            assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
        else if (i == 6)
            assigned_pasid_cache(&assigned, PASID_DOMAIN, GUEST_DOMAIN, 0);
        else if (i == 7)
            assigned_pasid_cache(&assigned, PASID_GLOBAL, 0, 0);
        else if (i == 8)
            assigned_context(&assigned, CONTEXT_DEVICE, 0, 0x7, 3); /* function masked */
        else
            assigned_context(&assigned, CONTEXT_GLOBAL, 0, 0, 0);
        assigned_wait(&assigned);
        assert_string_equal(assigned.trace, "invalidate");
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
        assigned_destroy(&assigned);
    }
}

static void one_host_call_for_a_batch(void **state)
{
    struct viommu_host_stats stats = {.size = sizeof(stats)};
    struct assigned assigned;

    (void)state;
    start_nested(&assigned, "");
    assigned_batch(&assigned, 10, GUEST_IOVA);
    assert_string_equal(assigned.trace, "invalidate");
    viommu_host_get_stats(assigned.host, &stats);
    assert_int_equal(stats.invalidate_entries, 10);
    assert_int_equal(assigned_stats(&assigned).nested_invalidations, 10);
    assigned_destroy(&assigned);
}

/* More than can be remembered become one of everything. */
static void a_large_batch_collapses(void **state)
{
    struct viommu_host_stats stats = {.size = sizeof(stats)};
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    set_page(&assigned, root, 4, 0);
    assigned_batch(&assigned, 200, GUEST_IOVA + 0x1000);
    viommu_host_get_stats(assigned.host, &stats);
    assert_int_equal(stats.invalidate_entries, 1);
    assigned_faults(&assigned, 0, GUEST_IOVA, FS_NOT_PRESENT);
    assigned_destroy(&assigned);
}

static void a_new_table_replaces_the_old(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assert_string_equal(assigned.trace, "hwpt_alloc attach destroy_object");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1);
    assert_int_equal(assigned_stats(&assigned).nested_unbinds, 1);
    assigned_destroy(&assigned);
}

/* The domain-ID changes, and the guest announces that under the old one, the new one, or both. */
static void domain_change(void **state)
{
    static const uint16_t announced[] = {GUEST_DOMAIN, GUEST_DOMAIN + 1};

    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        struct assigned assigned;
        uint64_t old_root = start_nested(&assigned, ""), root;

        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
        assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN + 1);
        assigned_pasid_cache(&assigned, PASID_ONE, announced[i], 0);
        assigned_piotlb(&assigned, PIOTLB_PASID, announced[i], 0, 0, 0);
        assigned_wait(&assigned);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
        /* from now on the new one counts */
        set_page(&assigned, root, 4, PAGE_A | FS_ALL);
        assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN + 1, 0, 0, 0);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        /* the ID alone, with the table the same */
        assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN + 2);
        assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN + 1, 0);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        set_page(&assigned, root, 4, PAGE_B | FS_ALL);
        assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN + 2, 0, GUEST_IOVA, 0);
        assigned_wait(&assigned);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
        (void)old_root;
        assigned_destroy(&assigned);
    }
}

/* The defect that others had: an entry cached before the host accepted it. */
static void a_refused_bind_is_tried_again(void **state)
{
    static const enum viommu_host_call calls[] = {VIOMMU_HOST_CALL_HWPT_ALLOC,
                                                  VIOMMU_HOST_CALL_ATTACH};

    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        struct assigned assigned;
        uint64_t root;

        start_nested(&assigned, "");
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
        assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN);
        assigned.fail_calls = 1u << calls[i];
        assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
        assigned_told(&assigned, 0, PASID_INVALID);
        assigned_calm(&assigned);
        assert_non_null(strstr(assigned.guest.machine.log, "0000:00:00.0 is blocked"));
        assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 1);
        /* the old table is not live */
        assigned_faults(&assigned, 0, GUEST_IOVA, PASID_INVALID);
        assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
        assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
        assigned_destroy(&assigned);
    }
}

/* Fault-processing-disable of the entry keeps the guest from being told. */
static void a_refused_bind_respects_fpd(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    start_nested(&assigned, "");
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN);
    guest_change(&assigned.guest, GUEST_PASIDS, 0, PASID_FPD);
    assigned.fail_calls = 1u << VIOMMU_HOST_CALL_HWPT_ALLOC;
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assert_false(assigned_fault_pending(&assigned));
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assert_false(assigned_fault_pending(&assigned));
    assigned_destroy(&assigned);
}

static void a_failed_invalidation_is_tried_once_more(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    set_page(&assigned, root, 4, PAGE_B | FS_ALL);
    assigned.countdown = 0;
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assert_true(assigned.failed);
    assert_string_equal(assigned.trace, "invalidate invalidate");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    /* and when that fails, too, the old mapping does not live on */
    set_page(&assigned, root, 4, PAGE_A | FS_ALL);
    assigned_calm(&assigned);
    assigned.fail_calls = 1u << VIOMMU_HOST_CALL_INVALIDATE;
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "invalidate invalidate detach destroy_object");
    assigned_told(&assigned, 0, PASID_INVALID);
    assigned_faults(&assigned, 0, GUEST_IOVA, PASID_INVALID);
    assigned_calm(&assigned);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

/* The host does not even detach: it loses the device. */
static void blocking_cannot_fail(void **state)
{
    struct assigned assigned;

    (void)state;
    start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    store64(&assigned.guest.machine, GUEST_PASIDS, 0);
    assigned.fail_calls = 1u << VIOMMU_HOST_CALL_DETACH;
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assert_string_equal(assigned.trace, "detach detach unbind destroy_object");
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_calm(&assigned);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    guest_flush(&assigned.guest);
    assert_string_equal(assigned.trace, "");
    /* its ID may be another's by now: it is not used any more */
    assigned_detach(&assigned, 0);
    assert_string_equal(assigned.trace, "destroy_object ioas_unmap destroy_object");
    /* plugged again, it works again */
    guest_change(&assigned.guest, GUEST_PASIDS, 0, PASID_P | PASID_PGTT(1));
    assigned_clear_faults(&assigned);
    assigned_attach(&assigned, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

static void guest_nesting_is_refused(void **state)
{
    struct assigned assigned;
    uint64_t first, second;

    (void)state;
    assigned_create(&assigned, NULL, "nested=on,second-stage=on");
    assigned_attach(&assigned, 0);
    first = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A);
    second = assigned_second_stage(&assigned, PAGE_A, PAGE_A);
    guest_scalable(&assigned.guest, 0, 0);
    guest_pasid(&assigned.guest, 0, PASID_PGTT(3) | PASID_AW(2) | second, GUEST_DOMAIN, first);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assigned_told(&assigned, 0, PASID_INVALID);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 1);
    assigned_destroy(&assigned);
}

static void reset_brings_the_parent_back(void **state)
{
    struct assigned assigned;

    (void)state;
    start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    viommu_reset(assigned.guest.machine.viommu);
    assigned_arrives(&assigned, 0, PAGE_A, PAGE_A);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
    assigned_destroy(&assigned);
}

static void enable_and_disable(void **state)
{
    struct assigned assigned;

    (void)state;
    start_nested(&assigned, "");
    machine_enable(&assigned.guest.machine, false);
    assigned_arrives(&assigned, 0, PAGE_A, PAGE_A);
    machine_enable(&assigned.guest.machine, true);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    guest_flush(&assigned.guest); /* SRTP: the same root again */
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    machine_set_root(&assigned.guest.machine, GUEST_ROOT | TTM_ABORT);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_destroy(&assigned);
}

/* PASIDs of the device, each with a table of its own. */
static void pasids_are_bound(void **state)
{
    struct assigned assigned;
    uint64_t root;
    uint64_t value;

    (void)state;
    start_nested(&assigned, "pasid-bits=16");
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    assigned_bind(&assigned, 0, 5, root, GUEST_DOMAIN + 1);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN + 1, 5);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_arrives_pasid(&assigned, 0, 5, GUEST_IOVA, PAGE_B);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 2);
    set_page(&assigned, root, 4, 0);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN + 1, 5, 0, 0);
    assigned_wait(&assigned);
    assert_int_not_equal(assigned_dma(&assigned, 0, 5, GUEST_IOVA, false, &value), 0);
    assigned_told(&assigned, 0, FS_NOT_PRESENT);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    store64(&assigned.guest.machine, GUEST_PASIDS + 5 * 64, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN + 1, 5);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1);
    assert_int_not_equal(assigned_dma(&assigned, 0, 5, GUEST_IOVA, false, &value), 0);
    assigned_clear_faults(&assigned);
    assigned_destroy(&assigned);
}

/* An invalidation that names no PASID finds those that became present. */
static void pasids_are_found(void **state)
{
    struct assigned assigned;
    struct viommu_soft_census before;
    uint64_t root;

    (void)state;
    start_nested(&assigned, "pasid-bits=20");
    before = assigned_census(&assigned);
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    assigned_bind(&assigned, 0, 9, root, GUEST_DOMAIN + 1);
    assigned_bind(&assigned, 0, 60, root, GUEST_DOMAIN + 1);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_wait(&assigned);
    assigned_arrives_pasid(&assigned, 0, 9, GUEST_IOVA, PAGE_B);
    assigned_arrives_pasid(&assigned, 0, 60, GUEST_IOVA, PAGE_B);
    store64(&assigned.guest.machine, GUEST_PASIDS + 9 * 64, 0);
    store64(&assigned.guest.machine, GUEST_PASIDS + 60 * 64, 0);
    assigned_pasid_cache(&assigned, PASID_DOMAIN, GUEST_DOMAIN + 1, 0);
    assigned_wait(&assigned);
    assigned_same(&assigned, &before);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

/* DMA behind a PCIe-to-PCI bridge carries the bridge's ID: tables and faults go by that. */
static void an_alias_is_what_counts(void **state)
{
    struct assigned assigned;
    struct machine *machine = &assigned.guest.machine;
    struct viommu_pci_bus *below;
    uint64_t root;

    (void)state;
    assigned_create(&assigned, NULL, "");
    assert_int_equal(viommu_pci_bridge_add(machine->bus, VIOMMU_PCI_DEVFN(20, 0),
                                           VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, 0, NULL, &below, NULL),
                     0);
    viommu_pci_bus_set_number(below, 3);
    assert_int_equal(
        viommu_pci_device_add(below, VIOMMU_PCI_DEVFN(4, 0), NULL, &assigned.function[0], NULL), 0);
    assert_int_equal(viommu_pci_device_alias(assigned.function[0]).requester_id, 0x300);
    assigned_attach(&assigned, 0);
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A);
    assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN);
    store64(machine, GUEST_ROOT + 3 * 16, GUEST_CONTEXT | 1);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_faults(&assigned, 0, GUEST_IOVA + 0x1000, FS_NOT_PRESENT);
    store64(machine, GUEST_PASIDS, 0);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0x300, 0);
    assigned_faults(&assigned, 0, GUEST_IOVA, PASID_NOT_PRESENT);
    assigned_destroy(&assigned);
}

/* Two functions behind that bridge carry the same ID, and are translated alike. */
static void an_alias_may_be_shared(void **state)
{
    struct assigned assigned;
    struct machine *machine = &assigned.guest.machine;
    struct viommu_pci_bus *below;

    (void)state;
    assigned_create(&assigned, NULL, "");
    assert_int_equal(viommu_pci_bridge_add(machine->bus, VIOMMU_PCI_DEVFN(20, 0),
                                           VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, 0, NULL, &below, NULL),
                     0);
    viommu_pci_bus_set_number(below, 3);
    for (unsigned int i = 0; i < 2; i++) {
        assert_int_equal(viommu_pci_device_add(below, VIOMMU_PCI_DEVFN(4 + i, 0), NULL,
                                               &assigned.function[i], NULL),
                         0);
        assigned_attach(&assigned, i);
    }
    assigned_bind(&assigned, 0, 0, assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A),
                  GUEST_DOMAIN);
    store64(machine, GUEST_ROOT + 3 * 16, GUEST_CONTEXT | 1);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_arrives(&assigned, 1, GUEST_IOVA, PAGE_A);
    assigned_detach(&assigned, 0);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_arrives(&assigned, 1, GUEST_IOVA, PAGE_A);
    store64(machine, GUEST_PASIDS, 0);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0x300, 0);
    assigned_faults(&assigned, 1, GUEST_IOVA, PASID_NOT_PRESENT);
    assigned_destroy(&assigned);
}

/* SRE, WPE and EAFE of the entry, by what a privileged request may do. */
static bool privileged(struct assigned *assigned, uint8_t access)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    uint64_t value = 0;

    request.address = GUEST_IOVA;
    request.length = sizeof(value);
    request.pasid = 5;
    request.access = access | VIOMMU_DMA_PRIVILEGED;
    return !(access & VIOMMU_DMA_WRITE
                 ? viommu_soft_device_write(assigned->soft[0], &request, &value, &result)
                 : viommu_soft_device_read(assigned->soft[0], &request, &value, &result));
}

static void entry_flags_reach_the_host(void **state)
{
    const uint64_t flags[] = {0, PASID_SRE, PASID_SRE | PASID_WPE, PASID_SRE | PASID_EAFE};

    (void)state;
    for (unsigned int i = 0; i < SPEC_COUNT(flags); i++) {
        struct assigned assigned;
        uint64_t root, entry;

        start_nested(&assigned, "pasid-bits=8,supervisor=on,extended-accessed=on");
        root = guest_page(&assigned.guest);
        entry = guest_map(&assigned.guest, root, 4, GUEST_IOVA, 1, PAGE_B | FS_P, FS_ALL);
        assigned_bind(&assigned, 0, 5, root, GUEST_DOMAIN);
        guest_change(&assigned.guest, GUEST_PASIDS + 5 * 64 + 16, 0, flags[i]);
        assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
        assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 5);
        assert_int_equal(privileged(&assigned, VIOMMU_DMA_READ), i > 0);
        assert_int_equal(privileged(&assigned, VIOMMU_DMA_WRITE), i == 1 || i == 3);
        assert_int_equal(!!(load64(&assigned.guest.machine, entry) & FS_EA), i == 3);
        /* a change of the flags alone is a new table */
        guest_change(&assigned.guest, GUEST_PASIDS + 5 * 64 + 16, flags[i], PASID_SRE);
        assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 5);
        assigned_wait(&assigned);
        assert_true(privileged(&assigned, VIOMMU_DMA_WRITE));
        assigned_destroy(&assigned);
    }
}

/* A backend that cannot tell faults is no reason to refuse. */
static void faults_are_optional(void **state)
{
    struct assigned assigned;

    (void)state;
    assigned_create(&assigned, NULL, "");
    assigned.fail_calls = 1u << VIOMMU_HOST_CALL_SET_FAULT_HANDLER;
    assigned.fail_with = -EOPNOTSUPP;
    assigned_attach(&assigned, 0);
    assigned_arrives(&assigned, 0, PAGE_A, PAGE_A);
    machine_enable(&assigned.guest.machine, true);
    assert_false(assigned_reads(&assigned, 0, PAGE_A));
    assert_false(assigned_fault_pending(&assigned));
    assigned_destroy(&assigned);
}

/* More PASIDs than are kept: those are bound, the rest blocked, the host and memory bounded. */
static void pasids_are_bounded(void **state)
{
    struct assigned assigned;
    uint64_t root, table = 0, value;

    (void)state;
    start_nested(&assigned, "pasid-bits=20");
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    guest_scalable(&assigned.guest, 0, (UINT64_C(1) << 3) | (UINT64_C(7) << 9)); /* PASIDE, PDTS */
    for (uint32_t pasid = 1; pasid < 1100; pasid++) {
        if (pasid % 64 == 0) {
            table = guest_page(&assigned.guest);
            store64(&assigned.guest.machine, GUEST_DIRECTORY + pasid / 64 * 8, table | 1);
        }
        if (pasid < 64) {
            guest_pasid(&assigned.guest, pasid, PASID_PGTT(1), GUEST_DOMAIN, root);
            continue;
        }
        store64(&assigned.guest.machine, table + pasid % 64 * 64 + 8, GUEST_DOMAIN);
        store64(&assigned.guest.machine, table + pasid % 64 * 64 + 16, root);
        store64(&assigned.guest.machine, table + pasid % 64 * 64, PASID_P | PASID_PGTT(1));
    }
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_wait(&assigned);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1025);
    assigned_arrives_pasid(&assigned, 0, 1024, GUEST_IOVA, PAGE_B);
    assert_int_not_equal(assigned_dma(&assigned, 0, 1025, GUEST_IOVA, false, &value), 0);
    assigned_clear_faults(&assigned);
    machine_enable(&assigned.guest.machine, false);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
    assert_int_equal(assigned_census(&assigned).attachments, 1);
    assigned_destroy(&assigned);
}

static void surprise_removal_leaves_nothing(void **state)
{
    struct assigned assigned;
    struct viommu_soft_census before;

    (void)state;
    assigned_create(&assigned, NULL, "");
    before = assigned_census(&assigned);
    assigned_attach(&assigned, 0);
    assigned_bind(&assigned, 0, 0, assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A),
                  GUEST_DOMAIN);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    viommu_soft_device_remove(assigned.soft[0]);
    /* the guest goes on, and then the VMM notices */
    assigned_bind(&assigned, 0, 0, assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B),
                  GUEST_DOMAIN);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_detach(&assigned, 0);
    assigned_same(&assigned, &before);
    assigned_destroy(&assigned);
}

/* Shadows */

static uint64_t start_shadowed(struct assigned *assigned, const char *properties)
{
    uint64_t root;

    assigned_create(assigned, NULL, properties);
    assigned_attach(assigned, 0);
    root = assigned_second_stage(assigned, GUEST_IOVA, PAGE_A);
    guest_legacy(&assigned->guest, 0, 0, 2, root);
    guest_on(&assigned->guest, TTM_LEGACY);
    assigned_calm(assigned);
    return root;
}

static void second_stage_is_shadowed(void **state)
{
    struct assigned assigned;
    struct viommu_stats stats;
    uint64_t root;

    (void)state;
    root = start_shadowed(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    stats = assigned_stats(&assigned);
    assert_int_equal(stats.shadow_maps, 1);
    assert_int_equal(stats.assigned_emulated, 0);
    set_page(&assigned, root, 4, 0);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "ioas_unmap");
    assigned_faults(&assigned, 0, GUEST_IOVA, LEGACY_READ);
    set_page(&assigned, root, 4, PAGE_B | SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "ioas_unmap ioas_map");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    /* in scalable mode, too */
    guest_scalable(&assigned.guest, 0, 0);
    guest_pasid(&assigned.guest, 0, PASID_PGTT(2) | PASID_AW(2) | root, GUEST_DOMAIN, 0);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assigned_clear_faults(&assigned);
    assigned_destroy(&assigned);
}

static void scalable_second_stage_is_shadowed(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    assigned_create(&assigned, NULL, "second-stage=on");
    assigned_attach(&assigned, 0);
    root = assigned_second_stage(&assigned, GUEST_IOVA, PAGE_A);
    guest_scalable(&assigned.guest, 0, 0);
    guest_pasid(&assigned.guest, 0, PASID_PGTT(2) | PASID_AW(2) | root, GUEST_DOMAIN, 0);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    set_page(&assigned, root, 4, PAGE_B | SS_R);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assert_true(assigned_reads(&assigned, 0, GUEST_IOVA));
    {
        uint64_t value = 1;

        assert_int_not_equal(
            assigned_dma(&assigned, 0, VIOMMU_PASID_NONE, GUEST_IOVA, true, &value), 0);
        assigned_told(&assigned, 0, 0x85);
    }
    assigned_destroy(&assigned);
}

/* Adjoining pages are one area; large pages are; what does not change stays untouched. */
static void shadow_areas(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_shadowed(&assigned, "");
    for (unsigned int i = 0; i < 512; i++)
        guest_map(&assigned.guest, root, 4, 0x40000000 + i * 0x1000, 1,
                  (0x200000 + i * 0x1000) | SS_RW, SS_RW);
    guest_map(&assigned.guest, root, 4, 0x40200000, 2, 0x400000 | SS_RW | SS_PS, SS_RW);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "ioas_map");
    assigned_arrives(&assigned, 0, 0x40001008, 0x201008);
    assigned_arrives(&assigned, 0, 0x403ffff8, 0x5ffff8);
    assigned_calm(&assigned);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "");
    /* a hole in the middle: the rest is there again */
    guest_map(&assigned.guest, root, 4, 0x40100000, 1, 0, SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, 0x40100000, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "ioas_unmap ioas_map ioas_map");
    assigned_faults(&assigned, 0, 0x40100000, LEGACY_READ);
    assigned_arrives(&assigned, 0, 0x400ff000, 0x2ff000);
    assigned_arrives(&assigned, 0, 0x40101000, 0x301000);
    assigned_arrives(&assigned, 0, 0x40300000, 0x500000);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

/* Tables that point at themselves describe more than can be mirrored. */
static void looping_tables_are_refused(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    start_shadowed(&assigned, "");
    root = guest_page(&assigned.guest);
    for (unsigned int i = 0; i < 512; i++)
        store64(&assigned.guest.machine, root + i * 8, root | SS_RW);
    guest_legacy(&assigned.guest, 0, 0, 2, root);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_wait(&assigned);
    assigned_told(&assigned, 0, CONTEXT_INVALID);
    assert_non_null(strstr(assigned.guest.machine.log, "second-stage table maps more than"));
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assert_int_equal(assigned_census(&assigned).ioas, 1);
    assigned_destroy(&assigned);
}

/* Shadows of what is not memory, and of the interrupt range, are left out. */
static void shadow_leaves_out(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_shadowed(&assigned, "");
    guest_map(&assigned.guest, root, 4, 0x50000000, 1, GUEST_NOWHERE | SS_RW, SS_RW);
    guest_map(&assigned.guest, root, 4, 0xfee00000, 2, SS_RW | SS_PS, SS_RW);
    guest_map(&assigned.guest, root, 4, 0x60000000, 2, GUEST_NOWHERE | SS_RW, SS_RW);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
    assert_false(assigned_reads(&assigned, 0, 0x50000000));
    assert_false(assigned_reads(&assigned, 0, 0xfee00000));
    assert_false(assigned_reads(&assigned, 0, 0x60000000));
    assigned_clear_faults(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

static void shadow_of_read_only_memory(void **state)
{
    struct viommu_memory_range range = {
        .gpa = UINT64_C(1) << 32, .size = 0x1000, .flags = VIOMMU_MEMORY_READONLY};
    struct assigned assigned;
    uint64_t root, value = 1;

    (void)state;
    root = start_shadowed(&assigned, "");
    range.host = mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(viommu_memory_add(assigned.guest.machine.memory, &range, NULL), 0);
    guest_map(&assigned.guest, root, 4, 0x40000000, 1, range.gpa | SS_RW, SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, 0x40000000, 0);
    assigned_wait(&assigned);
    assert_true(assigned_reads(&assigned, 0, 0x40000000));
    assert_int_not_equal(assigned_dma(&assigned, 0, VIOMMU_PASID_NONE, 0x40000000, true, &value),
                         0);
    assigned_clear_faults(&assigned);
    assert_int_equal(viommu_memory_remove(assigned.guest.machine.memory, range.gpa, NULL), 0);
    munmap(range.host, range.size);
    assigned_destroy(&assigned);
}

/* Traffic of an assigned function that went by emulation is counted: there should be none. */
static void emulation_is_noticed(void **state)
{
    struct assigned assigned;

    (void)state;
    start_nested(&assigned, "");
    guest_reads(&assigned.guest, GUEST_IOVA, PAGE_A);
    assert_int_equal(assigned_stats(&assigned).assigned_emulated, 1);
    assigned_detach(&assigned, 0);
    guest_flush(&assigned.guest);
    guest_reads(&assigned.guest, GUEST_IOVA, PAGE_A);
    assert_int_equal(assigned_stats(&assigned).assigned_emulated, 1);
    assigned_destroy(&assigned);
}

/* Memory that is removed from the guest leaves its shadows first, and returns with it. */
static void memory_leaves_shadows(void **state)
{
    struct viommu_memory_range range = {.gpa = UINT64_C(1) << 32, .size = 0x200000};
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_shadowed(&assigned, "");
    range.host = mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    guest_map(&assigned.guest, root, 4, 0x40000000, 2, range.gpa | SS_RW | SS_PS, SS_RW);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assert_false(assigned_reads(&assigned, 0, 0x40000000));
    for (unsigned int i = 0; i < 2; i++) {
        assert_int_equal(viommu_memory_add(assigned.guest.machine.memory, &range, NULL), 0);
        assert_true(assigned_reads(&assigned, 0, 0x40000000));
        assigned_calm(&assigned);
        if (i) /* the host refuses to let go: the device goes */
            assigned.fail_calls = 1u << VIOMMU_HOST_CALL_IOAS_UNMAP;
        assert_int_equal(viommu_memory_remove(assigned.guest.machine.memory, range.gpa, NULL), 0);
        mprotect(range.host, range.size, PROT_NONE);
        assert_false(assigned_reads(&assigned, 0, 0x40000000));
        assert_int_equal(assigned_reads(&assigned, 0, GUEST_IOVA), i == 0);
        mprotect(range.host, range.size, PROT_READ | PROT_WRITE);
    }
    munmap(range.host, range.size);
    assigned_calm(&assigned);
    assigned_destroy(&assigned);
}

/* Failures: every host call of a path in turn */

/* A path of the guest or the VMM, from a state that it starts in. */
struct path {
    const char *name;
    void (*start)(struct assigned *assigned);
    void (*run)(struct assigned *assigned);
    /* what a device without failure sees afterwards; NULL: it is detached */
    void (*works)(struct assigned *assigned);
    /* the guest's way to repair it, after a failure */
    void (*again)(struct assigned *assigned);
};

static void from_off(struct assigned *assigned)
{
    assigned_create(assigned, NULL, "pasid-bits=8");
    assigned_attach(assigned, 0);
    assigned_bind(assigned, 0, 0, assigned_first_stage(assigned, GUEST_IOVA, PAGE_A), GUEST_DOMAIN);
}

static void from_nested(struct assigned *assigned)
{
    start_nested(assigned, "pasid-bits=8");
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
}

static void from_shadowed(struct assigned *assigned)
{
    start_shadowed(assigned, "");
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
}

static void enable(struct assigned *assigned)
{
    guest_on(&assigned->guest, TTM_SCALABLE);
}

static void flush_tables(struct assigned *assigned)
{
    guest_flush(&assigned->guest);
}

static void rebind(struct assigned *assigned)
{
    assigned_bind(assigned, 0, 0, assigned_first_stage(assigned, GUEST_IOVA, PAGE_B), GUEST_DOMAIN);
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_wait(assigned);
}

static void rebind_legacy(struct assigned *assigned)
{
    guest_legacy(&assigned->guest, 0, 0, 2, assigned_second_stage(assigned, GUEST_IOVA, PAGE_B));
    assigned_context(assigned, CONTEXT_DEVICE, GUEST_DOMAIN, 0, 0);
    assigned_wait(assigned);
}

static void change_page(struct assigned *assigned)
{
    uint64_t root = load64(&assigned->guest.machine, GUEST_PASIDS + 16);

    set_page(assigned, root, 4, PAGE_B | FS_ALL);
    assigned_piotlb(assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(assigned);
}

static void change_shadowed_page(struct assigned *assigned)
{
    uint64_t root = load64(&assigned->guest.machine, GUEST_CONTEXT) & ~UINT64_C(0xfff);

    set_page(assigned, root, 4, PAGE_B | SS_RW);
    assigned_iotlb(assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    assigned_wait(assigned);
}

static void to_pass_through(struct assigned *assigned)
{
    guest_pasid(&assigned->guest, 0, PASID_PGTT(4), GUEST_DOMAIN, 0);
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 0);
}

static void add_pasid(struct assigned *assigned)
{
    assigned_bind(assigned, 0, 3, assigned_first_stage(assigned, GUEST_IOVA, PAGE_B), GUEST_DOMAIN);
    assigned_context(assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 3);
    assigned_wait(assigned);
}

static void unplug(struct assigned *assigned)
{
    assigned_detach(assigned, 0);
}

static void at_a(struct assigned *assigned)
{
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
}

static void at_b(struct assigned *assigned)
{
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_B);
}

static void at_identity(struct assigned *assigned)
{
    assigned_arrives(assigned, 0, PAGE_B, PAGE_B);
}

static void pasid_at_b(struct assigned *assigned)
{
    assigned_arrives(assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_arrives_pasid(assigned, 0, 3, GUEST_IOVA, PAGE_B);
}

static const struct path paths[] = {
    {"translation is switched on", from_off, enable, at_a, flush_tables},
    {"a table is bound", from_nested, rebind, at_b, flush_tables},
    {"a page changes", from_nested, change_page, at_b, flush_tables},
    {"pass-through", from_nested, to_pass_through, at_identity, flush_tables},
    {"a PASID is bound", from_nested, add_pasid, pasid_at_b, flush_tables},
    {"a device is unplugged", from_nested, unplug, NULL, NULL},
    {"a second-stage table is bound", from_shadowed, rebind_legacy, at_b, flush_tables},
    {"a shadowed page changes", from_shadowed, change_shadowed_page, at_b, flush_tables},
    {"a shadowed device is unplugged", from_shadowed, unplug, NULL, NULL},
};

/* Never what was before: an old mapping to PAGE_A would let this write through. */
static void assert_no_stale(struct assigned *assigned, const struct path *path)
{
    uint64_t value = 0xdead;

    if (path->works == at_a || path->works == pasid_at_b)
        return;
    store64(&assigned->guest.machine, PAGE_A, 0);
    assigned_dma(assigned, 0, VIOMMU_PASID_NONE, GUEST_IOVA, true, &value);
    if (load64(&assigned->guest.machine, PAGE_A) == value)
        fail_msg("%s: the old translation stayed live", path->name);
}

/* One run in which the n-th call fails, or all calls of a kind. Returns whether any did. */
static bool run_path(const struct path *path, int n, unsigned int fail_calls)
{
    struct assigned assigned;
    bool failed;

    path->start(&assigned);
    assigned_calm(&assigned);
    assigned.countdown = n;
    assigned.fail_calls = fail_calls;
    path->run(&assigned);
    failed = assigned.failed;
    assert_no_stale(&assigned, path);
    assigned_calm(&assigned);
    if (path->works && (failed || fail_calls)) {
        assigned_clear_faults(&assigned);
        path->again(&assigned);
        assigned_clear_faults(&assigned);
        if (fail_calls & (1u << VIOMMU_HOST_CALL_DETACH)) /* taken away from the host */
            assert_no_stale(&assigned, path);
        else
            path->works(&assigned);
    } else if (path->works) {
        path->works(&assigned);
    }
    if (path->works)
        assigned_detach(&assigned, 0);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assert_int_equal(assigned_census(&assigned).attachments, 0);
    assert_int_equal(assigned_census(&assigned).bound_devices, 0);
    /* what the failing host kept may stay until the next one; of a quiet host nothing does */
    assigned_attach(&assigned, 1);
    assigned_detach(&assigned, 1);
    if (path->works) {
        assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
        assert_int_equal(assigned_census(&assigned).paging_hwpts, 0);
        assert_int_equal(assigned_census(&assigned).ioas, 0);
        assert_int_equal(assigned_census(&assigned).mapped_bytes, 0);
    }
    assigned_destroy(&assigned);
    return failed;
}

static void every_failure_of_every_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(paths); i++) {
        int n = 0;

        while (run_path(&paths[i], n, 0))
            assert_true(++n < 100);
        assert_true(n > 0);
        for (unsigned int call = 0; call < VIOMMU_HOST_CALL_COUNT; call++)
            run_path(&paths[i], -1, 1u << call);
    }
}

/* Hot-unplug while DMA runs */

struct worker {
    struct assigned *assigned;
    bool stop;
    uint64_t served, refused;
};

static void *work(void *opaque)
{
    struct worker *worker = opaque;

    while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED))
        __atomic_fetch_add(assigned_reads(worker->assigned, 0, GUEST_IOVA) ? &worker->served
                                                                           : &worker->refused,
                           1, __ATOMIC_RELAXED);
    return NULL;
}

static void wait_for(const uint64_t *counter)
{
    uint64_t before = __atomic_load_n(counter, __ATOMIC_RELAXED);

    while (__atomic_load_n(counter, __ATOMIC_RELAXED) == before)
        sched_yield();
}

static void unplug_while_dma_runs(void **state)
{
    struct worker worker = {0};
    struct assigned assigned;
    pthread_t thread;
    uint64_t root;

    (void)state;
    root = start_nested(&assigned, "");
    worker.assigned = &assigned;
    assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
    for (unsigned int i = 0; i < 20; i++) {
        wait_for(&worker.served);
        set_page(&assigned, root, 4, 0);
        assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
        assigned_wait(&assigned);
        wait_for(&worker.refused);
        set_page(&assigned, root, 4, PAGE_A | FS_ALL);
        assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
        wait_for(&worker.served);
        assigned_detach(&assigned, 0);
        wait_for(&worker.refused);
        assigned_attach(&assigned, 0);
        assigned_calm(&assigned);
    }
    __atomic_store_n(&worker.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(assigned_stats(&assigned).assigned_emulated, 0);
    assigned_destroy(&assigned);
}

/* Everything at once: no deadlock, no race, no device left with what it should not have. */

static void *plug_memory(void *opaque)
{
    struct worker *worker = opaque;
    struct viommu_memory_range range = {.gpa = UINT64_C(1) << 32, .size = 0x200000};

    range.host = mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED)) {
        viommu_memory_add(worker->assigned->guest.machine.memory, &range, NULL);
        viommu_memory_remove(worker->assigned->guest.machine.memory, range.gpa, NULL);
    }
    munmap(range.host, range.size);
    return NULL;
}

static void *plug_device(void *opaque)
{
    struct worker *worker = opaque;

    while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED)) {
        assigned_attach(worker->assigned, 1);
        assigned_detach(worker->assigned, 1);
    }
    return NULL;
}

static void all_at_once(void **state)
{
    static void *(*const work_of[])(void *) = {work, plug_memory, plug_device};
    struct worker worker = {0};
    struct assigned assigned;
    pthread_t threads[3];

    (void)state;
    start_nested(&assigned, "pasid-bits=8");
    viommu_host_set_observer(assigned.host, NULL, NULL);
    worker.assigned = &assigned;
    for (unsigned int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work_of[i], &worker), 0);
    for (unsigned int i = 0; i < 100; i++) {
        if (i % 2) {
            guest_legacy(&assigned.guest, 0, 0, 2,
                         assigned_second_stage(&assigned, GUEST_IOVA, PAGE_A));
            guest_on(&assigned.guest, TTM_LEGACY);
            assigned_iotlb(&assigned, IOTLB_GLOBAL, 0, 0, 0);
        } else {
            assigned_bind(&assigned, 0, 0, assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A),
                          GUEST_DOMAIN);
            guest_on(&assigned.guest, TTM_SCALABLE);
            assigned_pasid_cache(&assigned, PASID_GLOBAL, 0, 0);
        }
        assigned_wait(&assigned);
        wait_for(&worker.served);
    }
    __atomic_store_n(&worker.stop, true, __ATOMIC_RELAXED);
    for (unsigned int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-NEST-OFF-1", "6.6",
     "With translation off an assigned device uses guest physical addresses.", translation_off},
    {"VTD-NEST-FS-1", "3.6", "A first-stage table of an assigned device is walked by the host.",
     first_stage_is_nested},
    {"VTD-NEST-FS-2", "3.6",
     "A device that is plugged in later is bound to the table that is there.", binds_when_plugged},
    {"VTD-NEST-PT-1", "3.9", "Pass-through attaches the table of guest memory.",
     pass_through_is_the_parent},
    {"VTD-NEST-ENTRY-1", "9.6", "An entry that is not present blocks the device.",
     missing_entry_blocks},
    {"VTD-NEST-ENTRY-2", "6.5.2",
     "An invalidation of another domain, PASID or device changes nothing.",
     other_domain_changes_nothing},
    {"VTD-NEST-ENTRY-3", "6.5.2.2", "A new table replaces the old one, which is freed after.",
     a_new_table_replaces_the_old},
    {"VTD-NEST-ENTRY-4", "6.5.2.2",
     "A change of the domain-ID counts under the old and the new one.", domain_change},
    {"VTD-NEST-ENTRY-5", "6.5.2.2", "A bind that the host refused blocks, and is tried again.",
     a_refused_bind_is_tried_again},
    {"VTD-NEST-ENTRY-6", "7.1.3", "Fault-processing-disable covers a bind that the host refused.",
     a_refused_bind_respects_fpd},
    {"VTD-NEST-ENTRY-7", "9.6", "Tables that the guest itself nests block an assigned device.",
     guest_nesting_is_refused},
    {"VTD-NEST-INV-1", "6.5.2.4", "After unmap, invalidation and wait the host refuses the page.",
     unmapped_page_faults},
    {"VTD-NEST-INV-2", "6.5.2", "Every invalidation that covers the page reaches the host.",
     every_invalidation_reaches_the_host},
    {"VTD-NEST-INV-3", "6.5.2.8", "A batch up to a wait is one call on the host.",
     one_host_call_for_a_batch},
    {"VTD-NEST-INV-4", "6.5.2.8",
     "A batch that is too long becomes one invalidation of everything.", a_large_batch_collapses},
    {"VTD-NEST-INV-5", "6.5.2.8", "An invalidation that the host does not do blocks the device.",
     a_failed_invalidation_is_tried_once_more},
    {"VTD-NEST-BLOCK-1", "6.5.2", "A device that cannot be detached is taken away from the host.",
     blocking_cannot_fail},
    {"VTD-NEST-RESET-1", "11.4.4", "Reset leaves assigned devices with guest physical addresses.",
     reset_brings_the_parent_back},
    {"VTD-NEST-TE-1", "11.4.4.1", "Translation enable and root table pointer bind devices anew.",
     enable_and_disable},
    {"VTD-NEST-PASID-1", "9.6", "Each PASID of an assigned device has its own table.",
     pasids_are_bound},
    {"VTD-NEST-PASID-2", "6.5.2.2", "An invalidation without PASID finds new ones.",
     pasids_are_found},
    {"VTD-NEST-ALIAS-1", "3.4.1",
     "Tables and faults of a device go by the ID that its DMA carries.", an_alias_is_what_counts},
    {"VTD-NEST-ALIAS-2", "3.4.1", "Devices whose DMA carries the same ID are translated alike.",
     an_alias_may_be_shared},
    {"VTD-NEST-ENTRY-8", "9.6", "SRE, WPE and EAFE of an entry hold on the host.",
     entry_flags_reach_the_host},
    {"VTD-NEST-FAULT-1", "7.1", "A host that cannot tell faults blocks all the same.",
     faults_are_optional},
    {"VTD-NEST-PASID-3", "9.6", "PASIDs bound at a time are bounded; the others are blocked.",
     pasids_are_bounded},
    {"VTD-NEST-REMOVE-1", "3.4", "Surprise removal leaves no object of the host behind.",
     surprise_removal_leaves_nothing},
    {"VTD-NEST-SS-1", "3.7", "A legacy second-stage table is mirrored, and follows invalidations.",
     second_stage_is_shadowed},
    {"VTD-NEST-SS-2", "3.7", "So is one of scalable mode, with its permissions.",
     scalable_second_stage_is_shadowed},
    {"VTD-NEST-SS-3", "3.7",
     "Adjoining pages are mapped in one; what did not change is not touched.", shadow_areas},
    {"VTD-NEST-SS-4", "3.7", "Tables that loop are refused, with bounded work.",
     looping_tables_are_refused},
    {"VTD-NEST-SS-5", "3.14", "What is no memory, and the interrupt range, is not mirrored.",
     shadow_leaves_out},
    {"VTD-NEST-SS-6", "3.7", "Memory that leaves the guest leaves the mirror first.",
     memory_leaves_shadows},
    {"VTD-NEST-SS-7", "3.7", "Read-only memory is mirrored without write permission.",
     shadow_of_read_only_memory},
    {"VTD-NEST-FS-3", "3.6", "Emulated translation for an assigned function is counted.",
     emulation_is_noticed},
    {"VTD-NEST-FAIL-1", "6.5.2", "Whichever host call fails, no old translation stays live.",
     every_failure_of_every_path},
    {"VTD-NEST-FAIL-2", "6.5.2", "Invalidations and unplug hold while DMA runs.",
     unplug_while_dma_runs},
    {"VTD-NEST-FAIL-3", "6.5.2", "Guest, DMA, memory and devices come and go at the same time.",
     all_at_once},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
