/* SPDX-License-Identifier: MIT */
/*
 * Guest first-stage tables on the host: an assigned device follows the guest's table entries and
 * invalidations, and is blocked when the host cannot follow.
 */
#include <errno.h>
#include <string.h>

#include "assigned.h"

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
    assigned_start_nested(&assigned, "");
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
    assigned_start_nested(&assigned, "");
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
    assigned_start_nested(&assigned, "");
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
    assigned_start_nested(&assigned, "");
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
    root = assigned_start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_set_page(&assigned, root, 4, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assigned_faults(&assigned, 0, GUEST_IOVA, FS_NOT_PRESENT);
    assigned_set_page(&assigned, root, 4, PAGE_B | FS_ALL);
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
        uint64_t root = assigned_start_nested(&assigned, "");

        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        assigned_set_page(&assigned, root, 4, PAGE_B | FS_ALL);
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

/* The pages of an IOTLB invalidation are of a second stage: of a first stage everything goes. */
static void second_stage_pages_drop_the_first_stage(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_set_page(&assigned, root, 4, PAGE_B | FS_ALL);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN + 1, 0x1000, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, 0x1000, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assert_string_equal(assigned.trace, "invalidate");
    assigned_destroy(&assigned);
}

static void one_host_call_for_a_batch(void **state)
{
    struct viommu_host_stats stats = {.size = sizeof(stats)};
    struct assigned assigned;

    (void)state;
    assigned_start_nested(&assigned, "");
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
    root = assigned_start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_set_page(&assigned, root, 4, 0);
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
    assigned_start_nested(&assigned, "");
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
        uint64_t old_root = assigned_start_nested(&assigned, ""), root;

        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
        assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN + 1);
        assigned_pasid_cache(&assigned, PASID_ONE, announced[i], 0);
        assigned_piotlb(&assigned, PIOTLB_PASID, announced[i], 0, 0, 0);
        assigned_wait(&assigned);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
        /* from now on the new one counts */
        assigned_set_page(&assigned, root, 4, PAGE_A | FS_ALL);
        assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN + 1, 0, 0, 0);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        /* the ID alone, with the table the same */
        assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN + 2);
        assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN + 1, 0);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
        assigned_set_page(&assigned, root, 4, PAGE_B | FS_ALL);
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

        assigned_start_nested(&assigned, "");
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
    assigned_start_nested(&assigned, "");
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
    root = assigned_start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_set_page(&assigned, root, 4, PAGE_B | FS_ALL);
    assigned.countdown = 0;
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assert_true(assigned.failed);
    assert_string_equal(assigned.trace, "invalidate invalidate");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    /* and when that fails, too, the old mapping does not live on */
    assigned_set_page(&assigned, root, 4, PAGE_A | FS_ALL);
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
    assigned_start_nested(&assigned, "");
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

static void reset_brings_the_parent_back(void **state)
{
    struct assigned assigned;

    (void)state;
    assigned_start_nested(&assigned, "");
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
    assigned_start_nested(&assigned, "");
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

/* Traffic of an assigned function that went by emulation is counted: there should be none. */
static void emulation_is_noticed(void **state)
{
    struct assigned assigned;

    (void)state;
    assigned_start_nested(&assigned, "");
    guest_reads(&assigned.guest, GUEST_IOVA, PAGE_A);
    assert_int_equal(assigned_stats(&assigned).assigned_emulated, 1);
    assigned_detach(&assigned, 0);
    guest_flush(&assigned.guest);
    guest_reads(&assigned.guest, GUEST_IOVA, PAGE_A);
    assert_int_equal(assigned_stats(&assigned).assigned_emulated, 1);
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
    {"VTD-NEST-INV-6", "6.5.2.3",
     "Second-stage pages of a domain drop all that a first stage made of it.",
     second_stage_pages_drop_the_first_stage},
    {"VTD-NEST-BLOCK-1", "6.5.2", "A device that cannot be detached is taken away from the host.",
     blocking_cannot_fail},
    {"VTD-NEST-RESET-1", "11.4.4", "Reset leaves assigned devices with guest physical addresses.",
     reset_brings_the_parent_back},
    {"VTD-NEST-TE-1", "11.4.4.1", "Translation enable and root table pointer bind devices anew.",
     enable_and_disable},
    {"VTD-NEST-ALIAS-1", "3.4.1",
     "Tables and faults of a device go by the ID that its DMA carries.", an_alias_is_what_counts},
    {"VTD-NEST-ALIAS-2", "3.4.1", "Devices whose DMA carries the same ID are translated alike.",
     an_alias_may_be_shared},
    {"VTD-NEST-FAULT-1", "7.1", "A host that cannot tell faults blocks all the same.",
     faults_are_optional},
    {"VTD-NEST-REMOVE-1", "3.4", "Surprise removal leaves no object of the host behind.",
     surprise_removal_leaves_nothing},
    {"VTD-NEST-FS-3", "3.6", "Emulated translation for an assigned function is counted.",
     emulation_is_noticed},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
