/* SPDX-License-Identifier: MIT */
/* Guest second-stage tables of assigned devices, which are mirrored into an IOAS. */
#include <string.h>
#include <sys/mman.h>

#include "assigned.h"

static void second_stage_is_shadowed(void **state)
{
    struct assigned assigned;
    struct viommu_stats stats;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    stats = assigned_stats(&assigned);
    assert_int_equal(stats.shadow_maps, 1);
    assert_int_equal(stats.assigned_emulated, 0);
    assigned_set_page(&assigned, root, 4, 0);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "ioas_unmap");
    assigned_faults(&assigned, 0, GUEST_IOVA, LEGACY_READ);
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_RW);
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
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_R);
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
    root = assigned_start_shadowed(&assigned, "");
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
    assigned_start_shadowed(&assigned, "");
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
    root = assigned_start_shadowed(&assigned, "");
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
    root = assigned_start_shadowed(&assigned, "");
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

/* Memory that is removed from the guest leaves its shadows first, and returns with it. */
static void memory_leaves_shadows(void **state)
{
    struct viommu_memory_range range = {.gpa = UINT64_C(1) << 32, .size = 0x200000};
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
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

static const struct spec_rule rules[] = {
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
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
