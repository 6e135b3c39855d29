/* SPDX-License-Identifier: MIT */
/* PASIDs of an assigned device: each has a first-stage table of its own on the host. */
#include "assigned.h"

#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

/* PASIDs of the device, each with a table of its own. */
static void pasids_are_bound(void **state)
{
    struct assigned assigned;
    uint64_t root;
    uint64_t value;

    (void)state;
    assigned_start_nested(&assigned, "pasid-bits=16");
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    assigned_bind(&assigned, 0, 5, root, GUEST_DOMAIN + 1);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN + 1, 5);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_arrives_pasid(&assigned, 0, 5, GUEST_IOVA, PAGE_B);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 2);
    assigned_set_page(&assigned, root, 4, 0);
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
    assigned_start_nested(&assigned, "pasid-bits=20");
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

/* PASID cache invalidations of two PASIDs by one write of the tail. */
static void swap_pasids(struct assigned *assigned, uint32_t gone, uint32_t come)
{
    struct machine *machine = &assigned->guest.machine;
    const uint32_t pasids[] = {gone, come};
    uint64_t tail = read64(machine, VTD_IQT);

    for (unsigned int i = 0; i < 2; i++) {
        store64(machine, ASSIGNED_QUEUE + tail,
                7 | PASID_ONE << 4 | GUEST_DOMAIN << 16 | (uint64_t)pasids[i] << 32);
        for (unsigned int j = 8; j < 32; j += 8)
            store64(machine, ASSIGNED_QUEUE + tail + j, 0);
        tail = (tail + 32) % 8192;
    }
    write64(machine, VTD_IQT, tail);
}

/* More PASIDs than are kept: those are bound, the rest blocked, the host and memory bounded. */
static void pasids_are_bounded(void **state)
{
    struct assigned assigned;
    uint64_t root, table = 0, value;

    (void)state;
    assigned_start_nested(&assigned, "pasid-bits=20");
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
    /* one leaves, another one comes, in one batch */
    store64(&assigned.guest.machine, GUEST_PASIDS + 5 * 64, 0);
    swap_pasids(&assigned, 5, 1025);
    assigned_arrives_pasid(&assigned, 0, 1025, GUEST_IOVA, PAGE_B);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1025);
    machine_enable(&assigned.guest.machine, false);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
    assert_int_equal(assigned_census(&assigned).attachments, 1);
    assigned_destroy(&assigned);
}

/* Invalidations of everything, each with a wait: neither scans nor host calls add up. */
static void pasid_work_is_bounded(void **state)
{
    struct assigned assigned;
    struct machine *machine = &assigned.guest.machine;
    struct viommu_stats stats;
    uint64_t root;

    (void)state;
    assigned_start_nested(&assigned, "pasid-bits=20");
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    guest_scalable(&assigned.guest, 0, (UINT64_C(1) << 3) | (UINT64_C(7) << 9)); /* PASIDE, PDTS */
    for (uint32_t pasid = 1; pasid < 64; pasid++)
        guest_pasid(&assigned.guest, pasid, PASID_PGTT(1), GUEST_DOMAIN, root);
    for (unsigned int i = 0; i < 512; i++)
        store64(machine, GUEST_DIRECTORY + i * 8, GUEST_PASIDS | 1);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1025);
    assert_true(vtd_of(machine->viommu)->work > VTD_WORK_MAX / 2);
    for (unsigned int i = 0; i < 254; i++) {
        uint64_t at = (read64(machine, VTD_IQT) + i * 32) % 8192;

        store64(machine, ASSIGNED_QUEUE + at, i % 2 ? 5 | 2 << 4 : 7 | PASID_GLOBAL << 4);
        store64(machine, ASSIGNED_QUEUE + at + 8, i % 2 ? ASSIGNED_STATUS : 0);
        store64(machine, ASSIGNED_QUEUE + at + 16, 0);
        store64(machine, ASSIGNED_QUEUE + at + 24, 0);
    }
    write64(machine, VTD_IQT, (read64(machine, VTD_IQT) + 254 * 32) % 8192);
    stats = assigned_stats(&assigned);
    assert_int_equal(vtd_of(machine->viommu)->work, 0);
    assert_true(stats.nested_invalidations < VTD_WORK_MAX / 32);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_clear_faults(&assigned);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1025);
    assigned_arrives_pasid(&assigned, 0, 1023, GUEST_IOVA, PAGE_B);
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

        assigned_start_nested(&assigned, "pasid-bits=8,supervisor=on,extended-accessed=on");
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

static const struct spec_rule rules[] = {
    {"VTD-NEST-PASID-1", "9.6", "Each PASID of an assigned device has its own table.",
     pasids_are_bound},
    {"VTD-NEST-PASID-2", "6.5.2.2", "An invalidation without PASID finds new ones.",
     pasids_are_found},
    {"VTD-NEST-ENTRY-8", "9.6", "SRE, WPE and EAFE of an entry hold on the host.",
     entry_flags_reach_the_host},
    {"VTD-NEST-PASID-3", "9.6", "PASIDs bound at a time are bounded; the others are blocked.",
     pasids_are_bounded},
    {"VTD-NEST-PASID-4", "6.5.2.2",
     "The work of one register write for PASIDs is bounded; what is beyond it is blocked.",
     pasid_work_is_bounded},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
