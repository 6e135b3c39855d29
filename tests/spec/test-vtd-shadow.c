/* SPDX-License-Identifier: MIT */
/* Guest second-stage tables of assigned devices, which are mirrored into an IOAS. */
#include <string.h>
#include <sys/mman.h>

#include "assigned.h"
#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

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
    assert_non_null(
        strstr(assigned.guest.machine.log, "second-stage tables of assigned devices map more"));
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

/* A range that holds the last table, not the pages. */
static void tables_come_back_with_memory(void **state)
{
    struct viommu_memory_range range = {.gpa = UINT64_C(1) << 32, .size = 0x200000};
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    range.host = mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(uint64_t *)range.host = 0x200000 | SS_RW;
    guest_map(&assigned.guest, root, 4, 0x40000000, 2, range.gpa | SS_RW, SS_RW);
    for (unsigned int i = 0; i < 2; i++) {
        assert_int_equal(viommu_memory_add(assigned.guest.machine.memory, &range, NULL), 0);
        assigned_arrives(&assigned, 0, 0x40000008, 0x200008);
        assert_int_equal(viommu_memory_remove(assigned.guest.machine.memory, range.gpa, NULL), 0);
        assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
        assigned_wait(&assigned);
        assert_false(assigned_reads(&assigned, 0, 0x40000008));
        assigned_clear_faults(&assigned);
    }
    assigned_destroy(&assigned);
    munmap(range.host, range.size);
}

/* `count` context invalidations of device 0, each with a wait when `waits`. */
static void context_batch(struct assigned *assigned, unsigned int count, bool waits)
{
    struct machine *machine = &assigned->guest.machine;
    uint64_t tail = read64(machine, VTD_IQT);

    for (unsigned int i = 0; i < count; i++) {
        assigned_put(assigned, &tail, 1 | CONTEXT_DEVICE << 4, 0);
        if (waits)
            assigned_put(assigned, &tail, 5 | 2 << 4 | UINT64_C(1) << 32, ASSIGNED_STATUS);
    }
    write64(machine, VTD_IQT, tail);
    assert_int_equal(read64(machine, VTD_IQH), tail);
}

static uint64_t work_done(struct assigned *assigned)
{
    return VTD_WORK_MAX - vtd_of(assigned->guest.machine.viommu)->work;
}

/* A table of which all tables of a level are one, whose leaves are `leaf` and `leaf` + step. */
static uint64_t looping_table(struct guest *guest, uint64_t leaf, uint64_t step, unsigned int loops)
{
    uint64_t below = guest_page(guest);

    for (unsigned int i = 0; i < 512; i++)
        store64(&guest->machine, below + i * 8, (leaf + i % 2 * step) | SS_RW);
    for (unsigned int level = 2; level <= 4; level++) {
        uint64_t table = guest_page(guest);

        for (unsigned int i = 0; i < (level <= loops ? 512u : 1u); i++)
            store64(&guest->machine, table + i * 8, below | SS_RW);
        below = table;
    }
    return below;
}

/* However often the guest names its tables that loop, one register write does what one may. */
static void work_of_a_write_is_bounded(void **state)
{
    struct assigned assigned;
    uint64_t good;

    (void)state;
    assigned_start_shadowed(&assigned, "");
    good = load64(&assigned.guest.machine, GUEST_CONTEXT) & ~UINT64_C(0xfff);
    guest_legacy(&assigned.guest, 0, 0, 2,
                 looping_table(&assigned.guest, GUEST_NOWHERE, 0x1000, 4));
    assigned_calm(&assigned);
    context_batch(&assigned, 127, true);
    assert_int_equal(work_done(&assigned), VTD_WORK_MAX);
    assert_string_equal(assigned.trace, "ioas_alloc hwpt_alloc destroy_object ioas_unmap "
                                        "destroy_object detach destroy_object ioas_unmap "
                                        "destroy_object");
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 127);
    assert_non_null(strstr(assigned.guest.machine.log, "0000:00:00.0 is blocked"));
    assert_non_null(strstr(assigned.guest.machine.log, "units of work that one register write"));
    assigned_told(&assigned, 0, CONTEXT_INVALID);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_clear_faults(&assigned);
    /* the next write has all of it again */
    guest_legacy(&assigned.guest, 0, 0, 2, good);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

/* Translation off is the way back to guest physical addresses, even in the write that had done its
 * work before. */
static void a_blocked_device_comes_back(void **state)
{
    struct assigned assigned;
    struct machine *machine = &assigned.guest.machine;
    uint64_t tail = 0;

    (void)state;
    assigned_start_shadowed(&assigned, "");
    guest_legacy(&assigned.guest, 0, 0, 2,
                 looping_table(&assigned.guest, GUEST_NOWHERE, 0x1000, 4));
    write32(machine, VTD_GCMD, (uint32_t)VTD_GCMD_TE); /* the queue is off */
    assigned_put(&assigned, &tail, 1 | CONTEXT_DEVICE << 4, 0);
    write64(machine, VTD_IQT, tail);
    write32(machine, VTD_GCMD, (uint32_t)VTD_GCMD_QIE);
    assert_int_equal(work_done(&assigned), VTD_WORK_MAX);
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 1);
    assigned_clear_faults(&assigned);
    assigned_arrives(&assigned, 0, PAGE_A, PAGE_A);
    assigned_destroy(&assigned);
}

static void a_batch_is_one_rebuild(void **state)
{
    struct assigned assigned;

    (void)state;
    assigned_start_shadowed(&assigned, "");
    guest_legacy(&assigned.guest, 0, 0, 2, assigned_second_stage(&assigned, GUEST_IOVA, PAGE_B));
    assigned_calm(&assigned);
    context_batch(&assigned, 100, false);
    assert_int_equal(assigned_calls(&assigned, "ioas_alloc"), 1);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assigned_destroy(&assigned);
}

/* 16 GiB by pages of 4 KiB, all in one go. */
static void sixteen_gib_of_small_pages(void **state)
{
    struct assigned assigned;
    uint64_t root, table, directory;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    table = guest_page(&assigned.guest);
    for (unsigned int i = 0; i < 512; i++)
        store64(&assigned.guest.machine, table + i * 8, (0x200000 + i * 0x1000) | SS_RW);
    directory = guest_page(&assigned.guest);
    for (unsigned int i = 0; i < 512; i++)
        store64(&assigned.guest.machine, directory + i * 8, table | SS_RW);
    for (unsigned int i = 0; i < 16; i++)
        guest_map(&assigned.guest, root, 4, UINT64_C(0x4000000000) + i * UINT64_C(0x40000000), 3,
                  directory | SS_RW, SS_RW);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assert_true(work_done(&assigned) >= 1u << 22);
    assert_true(work_done(&assigned) < VTD_WORK_MAX / 2);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, UINT64_C(0x43fffff000), 0x3ff000);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

/* The pieces that a guest can have mapped are those of all its devices together. */
static void areas_are_of_all_devices(void **state)
{
    struct assigned assigned;
    uint64_t full;

    (void)state;
    assigned_start_shadowed(&assigned, "");
    viommu_host_set_observer(assigned.host, NULL, NULL);
    full = looping_table(&assigned.guest, PAGE_A, 0x2000, 2); /* 2^18 pieces */
    guest_legacy(&assigned.guest, 0, 0, 2, full);
    machine_enable(&assigned.guest.machine, false); /* what was is not counted besides */
    machine_enable(&assigned.guest.machine, true);
    assert_true(assigned_reads(&assigned, 0, 0));
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
    guest_legacy(&assigned.guest, 1, 0, 2, assigned_second_stage(&assigned, GUEST_IOVA, PAGE_B));
    assigned_attach(&assigned, 1);
    assigned_told(&assigned, 1, CONTEXT_INVALID);
    assert_non_null(strstr(assigned.guest.machine.log, "map more than 262144 pieces"));
    assert_true(assigned_reads(&assigned, 0, 0));
    /* one leaves, the other has room */
    assigned_detach(&assigned, 0);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 8, 0);
    assigned_arrives(&assigned, 1, GUEST_IOVA, PAGE_B);
    assigned_destroy(&assigned);
}

static void add_range(struct assigned *assigned, struct viommu_memory_range *range)
{
    range->host =
        mmap(NULL, range->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(viommu_memory_add(assigned->guest.machine.memory, range, NULL), 0);
}

static void remove_range(struct assigned *assigned, const struct viommu_memory_range *range)
{
    assert_int_equal(viommu_memory_remove(assigned->guest.machine.memory, range->gpa, NULL), 0);
    munmap(range->host, range->size);
}

/* An invalidation may name less than the page that it is about: all of that follows. */
static void part_of_a_page_is_all_of_it(void **state)
{
    /* does not adjoin the first range in this process, but does in the guest */
    struct viommu_memory_range range = {.gpa = MACHINE_MEMORY, .size = 16u << 20};
    const uint64_t page = 0x40000000;
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    add_range(&assigned, &range);
    assigned_calm(&assigned);
    guest_map(&assigned.guest, root, 4, page, 3, SS_RW | SS_PS, SS_RW);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "ioas_map ioas_map");
    assigned_calm(&assigned);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, page + 0x1000, 0);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, page + range.gpa, 0);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, page + 0x30000000, 0); /* no memory */
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "");
    assigned_arrives(&assigned, 0, page + PAGE_A, PAGE_A);
    assert_true(assigned_reads(&assigned, 0, page + range.gpa));
    /* smaller pages replace it, one of which is missing */
    guest_map(&assigned.guest, root, 4, page, 3, 0, SS_RW);
    guest_map(&assigned.guest, root, 4, page, 2, SS_RW | SS_PS, SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, page + range.gpa, 0);
    assigned_wait(&assigned);
    assert_false(assigned_reads(&assigned, 0, page + range.gpa));
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, page + 0x1000, 0);
    assigned_wait(&assigned);
    assert_false(assigned_reads(&assigned, 0, page + 0x200000));
    assigned_clear_faults(&assigned);
    assigned_arrives(&assigned, 0, page + PAGE_B, PAGE_B);
    /* and the large page again, named by its second half */
    guest_map(&assigned.guest, root, 4, page, 3, SS_RW | SS_PS, SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, page + range.gpa, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, page + 0x200000, 0x200000);
    assert_true(assigned_reads(&assigned, 0, page + range.gpa));
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
    remove_range(&assigned, &range);
    assert_false(assigned_reads(&assigned, 0, page + range.gpa));
    assigned_arrives(&assigned, 0, page + PAGE_A, PAGE_A);
    assigned_destroy(&assigned);
}

/* Of a page whose output reaches into the interrupt range, all but that is mirrored. */
static void output_around_interrupts(void **state)
{
    struct viommu_memory_range ranges[] = {{.gpa = 0xfed00000, .size = 0x100000},
                                           {.gpa = 0xfef00000, .size = 0x100000},
                                           {.gpa = 0xfff00000, .size = 0x100000}};
    const uint64_t page = 0x40000000, offset = UINT64_C(0x40000000) - 0xc0000000;
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    for (unsigned int i = 0; i < SPEC_COUNT(ranges); i++)
        add_range(&assigned, &ranges[i]);
    guest_map(&assigned.guest, root, 4, page, 3, 0xc0000000 | SS_RW | SS_PS, SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, page + 0x5000, 0);
    assigned_wait(&assigned);
    assert_true(assigned_reads(&assigned, 0, offset + 0xfedff000));
    assert_true(assigned_reads(&assigned, 0, offset + 0xfef00000));
    assert_true(assigned_reads(&assigned, 0, offset + 0xfffff000));
    assert_false(assigned_reads(&assigned, 0, offset + 0xfee00000));
    assert_false(assigned_reads(&assigned, 0, offset + 0xfeeff000));
    for (unsigned int i = 0; i < SPEC_COUNT(ranges); i++)
        remove_range(&assigned, &ranges[i]);
    assigned_clear_faults(&assigned);
    assigned_destroy(&assigned);
}

/* A table that the host did not destroy maps nothing, and memory that leaves is in none. */
static void leftovers_are_empty(void **state)
{
    struct viommu_memory_range range = {.gpa = UINT64_C(1) << 32, .size = 0x200000};
    struct assigned assigned;

    (void)state;
    for (unsigned int i = 0; i < 3; i++) {
        uint64_t root = assigned_start_shadowed(&assigned, ""), before, extra;

        add_range(&assigned, &range);
        before = assigned_census(&assigned).mapped_bytes;
        guest_map(&assigned.guest, root, 4, 0x40000000, 2, range.gpa | SS_RW | SS_PS, SS_RW);
        assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
        assert_int_equal(assigned_census(&assigned).mapped_bytes, before + range.size);
        guest_legacy(&assigned.guest, 0, 0, 2,
                     assigned_second_stage(&assigned, GUEST_IOVA, PAGE_B));
        assigned.fail_calls = 1u << VIOMMU_HOST_CALL_DESTROY_OBJECT;
        if (i)
            assigned.fail_calls |= 1u << VIOMMU_HOST_CALL_IOAS_UNMAP;
        assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
        extra = assigned_census(&assigned).mapped_bytes - before;
        assert_int_equal(extra, i ? range.size + 0x1000 : 0);
        if (i == 1)
            assigned.fail_calls = 1u << VIOMMU_HOST_CALL_DESTROY_OBJECT;
        remove_range(&assigned, &range);
        /* where it could not be emptied even then, nothing can reach it */
        assert_int_equal(assigned_reads(&assigned, 0, GUEST_IOVA), i < 2);
        if (i < 2)
            assert_int_equal(assigned_census(&assigned).mapped_bytes, before - range.size);
        else
            assert_int_equal(assigned_census(&assigned).bound_devices, 0);
        assigned_calm(&assigned);
        assigned_destroy(&assigned);
    }
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
    {"VTD-NEST-SS-13", "3.7", "Tables that come back with their memory are in force again.",
     tables_come_back_with_memory},
    {"VTD-NEST-SS-7", "3.7", "Read-only memory is mirrored without write permission.",
     shadow_of_read_only_memory},
    {"VTD-NEST-SS-8", "6.5.2.3", "An invalidation of a part of a page is one of all of it.",
     part_of_a_page_is_all_of_it},
    {"VTD-NEST-SS-9", "3.15",
     "A page whose output reaches the interrupt range is mirrored but for "
     "that.",
     output_around_interrupts},
    {"VTD-NEST-SS-10", "3.7", "The pieces mirrored for all devices of a unit are bounded.",
     areas_are_of_all_devices},
    {"VTD-NEST-SS-11", "3.7", "A mirror that the host does not destroy is empty.",
     leftovers_are_empty},
    {"VTD-NEST-WORK-1", "6.5.2",
     "The work of one register write is bounded; what is beyond it is "
     "blocked.",
     work_of_a_write_is_bounded},
    {"VTD-NEST-WORK-2", "11.4.4",
     "A device that was blocked for it comes back with translation off.",
     a_blocked_device_comes_back},
    {"VTD-NEST-WORK-3", "6.5.2.8", "However often a batch names a table, it is read once.",
     a_batch_is_one_rebuild},
    {"VTD-NEST-WORK-4", "3.7", "16 GiB by small pages are mirrored in one go.",
     sixteen_gib_of_small_pages},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
