/* SPDX-License-Identifier: MIT */
/*
 * A mirrored second-stage table of which parts of areas change: what stays mapped is never missed,
 * and the host is called for what changed, not for all that is mapped.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "assigned.h"
#include "model/vtd/nest.h"
#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

/* An area of this many pages, which nothing else adjoins. */
#define AREA       UINT64_C(0x40000000)
#define AREA_GPA   0x200000u
#define AREA_PAGES 1024u

static uint64_t iova_of(unsigned int page)
{
    return AREA + page * UINT64_C(0x1000);
}

static uint64_t gpa_of(unsigned int page)
{
    return AREA_GPA + page * UINT64_C(0x1000);
}

static void set_page(struct assigned *assigned, uint64_t root, unsigned int page, uint64_t value)
{
    guest_map(&assigned->guest, root, 4, iova_of(page), 1, value, SS_RW);
}

static void flush_page(struct assigned *assigned, uint64_t iova)
{
    assigned_iotlb(assigned, IOTLB_PAGES, GUEST_DOMAIN, iova, 0);
    assigned_wait(assigned);
}

static void flush_domain(struct assigned *assigned)
{
    assigned_iotlb(assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(assigned);
}

static uint64_t start_with_area(struct assigned *assigned)
{
    uint64_t root = assigned_start_shadowed(assigned, "");

    for (unsigned int i = 0; i < AREA_PAGES; i++)
        set_page(assigned, root, i, gpa_of(i) | SS_RW);
    flush_domain(assigned);
    assert_string_equal(assigned->trace, "ioas_map");
    assigned_calm(assigned);
    return root;
}

static void unmap_page(struct assigned *assigned, uint64_t root, unsigned int page)
{
    set_page(assigned, root, page, 0);
    flush_page(assigned, iova_of(page));
}

/* A cut costs a copy of the few areas that there are, and its neighbours are split off. */
static void a_cut_is_cheap(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_with_area(&assigned);
    unmap_page(&assigned, root, 500);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    /* GUEST_IOVA, four pieces and the rest before, three and the rest behind */
    assert_int_equal(assigned_calls(&assigned, "ioas_map"), 10);
    assigned_calm(&assigned);
    for (unsigned int i = 496; i < 504; i++)
        unmap_page(&assigned, root, i);
    assert_string_equal(assigned.trace, "ioas_unmap ioas_unmap ioas_unmap ioas_unmap "
                                        "ioas_unmap ioas_unmap ioas_unmap");
    for (unsigned int i = 496; i < 504; i++)
        assigned_faults(&assigned, 0, iova_of(i), LEGACY_READ);
    assigned_arrives(&assigned, 0, iova_of(495), gpa_of(495));
    assigned_arrives(&assigned, 0, iova_of(504), gpa_of(504));
    assigned_arrives(&assigned, 0, iova_of(0), gpa_of(0));
    assigned_arrives(&assigned, 0, iova_of(1023), gpa_of(1023));
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

/* One page after the other: the pieces double each time. */
static void cuts_that_keep_coming(void **state)
{
    struct assigned assigned;
    unsigned int attaches = 0, maps = 0;
    uint64_t root;

    (void)state;
    root = start_with_area(&assigned);
    for (unsigned int i = 100; i < 1000; i++) {
        assigned_calm(&assigned);
        unmap_page(&assigned, root, i);
        attaches += assigned_calls(&assigned, "attach");
        maps += assigned_calls(&assigned, "ioas_map");
    }
    assert_in_range(attaches, 2, 9);
    assert_in_range(maps, 900, 2000);
    for (unsigned int i = 0; i < AREA_PAGES; i++)
        assert_int_equal(assigned_reads(&assigned, 0, iova_of(i)), i < 100 || i >= 1000);
    assigned_clear_faults(&assigned);
    /* what is mapped anew is joined as ever */
    assigned_calm(&assigned);
    for (unsigned int i = 100; i < 1000; i++)
        set_page(&assigned, root, i, gpa_of(i) | SS_RW);
    flush_domain(&assigned);
    assert_string_equal(assigned.trace, "ioas_map");
    assigned_arrives(&assigned, 0, iova_of(999), gpa_of(999));
    assigned_destroy(&assigned);
}

/* Far from each other, or of another size, holes are not expected to go on. */
static void cuts_far_apart(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_with_area(&assigned);
    for (unsigned int i = 0; i < 8; i++) {
        assigned_calm(&assigned);
        unmap_page(&assigned, root, 64 + i * 120);
        assert_int_equal(assigned_calls(&assigned, "attach"), 1);
        assert_int_equal(assigned_calls(&assigned, "ioas_map"), 2 + 8 * (i + 1));
    }
    for (unsigned int i = 0; i < 8; i++)
        assigned_faults(&assigned, 0, iova_of(64 + i * 120), LEGACY_READ);
    assigned_destroy(&assigned);
}

/* Where they were near each other for a while it is soon forgotten. */
static void cuts_that_came_to_an_end(void **state)
{
    static const unsigned int apart[] = {50, 150, 250, 350, 450, 700, 800};
    unsigned int maps = 0, before = 0;
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_with_area(&assigned);
    for (unsigned int i = 560; i < 580; i++)
        unmap_page(&assigned, root, i);
    for (size_t i = 0; i < SPEC_COUNT(apart); i++) {
        assigned_calm(&assigned);
        unmap_page(&assigned, root, apart[i]);
        before = maps;
        maps = assigned_calls(&assigned, "ioas_map");
    }
    assert_int_equal(maps - before, 8);
    assigned_destroy(&assigned);
}

/* Buffers that are not of a power of two: the next one begins where a piece does. */
static void holes_of_three_pages(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_with_area(&assigned);
    for (unsigned int i = 0; i < 3; i++) {
        assigned_calm(&assigned);
        for (unsigned int j = 0; j < 3; j++)
            set_page(&assigned, root, 301 + i * 3 + j, 0);
        flush_domain(&assigned);
        assert_int_equal(assigned_calls(&assigned, "attach"), i == 0);
        assert_int_equal(assigned_calls(&assigned, "ioas_unmap"), 1);
    }
    assigned_calm(&assigned);
    for (unsigned int j = 0; j < 3; j++)
        set_page(&assigned, root, 298 + j, 0);
    flush_domain(&assigned);
    assert_string_equal(assigned.trace, "ioas_unmap");
    assigned_arrives(&assigned, 0, iova_of(297), gpa_of(297));
    assigned_faults(&assigned, 0, iova_of(298), LEGACY_READ);
    assigned_faults(&assigned, 0, iova_of(309), LEGACY_READ);
    assigned_arrives(&assigned, 0, iova_of(310), gpa_of(310));
    assigned_destroy(&assigned);
}

struct touch {
    struct assigned *assigned;
    const uint64_t *iovas;
    size_t count;
    unsigned int calls;
    bool missed;
};

/* At each host call, DMA to what stays mapped. */
static int touch(void *opaque, enum viommu_host_call call)
{
    struct touch *touch = opaque;

    (void)call;
    touch->calls++;
    for (size_t i = 0; i < touch->count; i++)
        touch->missed |= !assigned_reads(touch->assigned, 0, touch->iovas[i]);
    return 0;
}

static void neighbours_are_never_missed(void **state)
{
    const uint64_t iovas[] = {iova_of(0), iova_of(99), iova_of(110), iova_of(1023), GUEST_IOVA};
    struct touch touched = {.iovas = iovas, .count = SPEC_COUNT(iovas)};
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = start_with_area(&assigned);
    touched.assigned = &assigned;
    viommu_host_set_observer(assigned.host, touch, &touched);
    for (unsigned int i = 100; i < 110; i++) {
        unmap_page(&assigned, root, i);
        assert_false(assigned_reads(&assigned, 0, iova_of(i)));
    }
    viommu_host_set_observer(assigned.host, NULL, NULL);
    assert_true(touched.calls > 10);
    assert_false(touched.missed);
    assigned_clear_faults(&assigned);
    assigned_destroy(&assigned);
}

/* A page that is mapped before and after is mapped throughout, at the old place or the new one. */
static void what_changes_is_never_missed(void **state)
{
    const uint64_t iovas[] = {iova_of(7), GUEST_IOVA};
    struct touch touched = {.iovas = iovas, .count = SPEC_COUNT(iovas)};
    struct assigned assigned;
    uint64_t root, value = 1;

    (void)state;
    root = start_with_area(&assigned);
    touched.assigned = &assigned;
    viommu_host_set_observer(assigned.host, touch, &touched);
    set_page(&assigned, root, 7, PAGE_B | SS_RW); /* in an area */
    flush_page(&assigned, iova_of(7));
    assigned_arrives(&assigned, 0, iova_of(7), PAGE_B);
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_R); /* an area of its own; read-only now */
    flush_page(&assigned, GUEST_IOVA);
    assert_int_not_equal(assigned_dma(&assigned, 0, VIOMMU_PASID_NONE, GUEST_IOVA, true, &value),
                         0);
    assigned_clear_faults(&assigned);
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_RW);
    flush_page(&assigned, GUEST_IOVA);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    viommu_host_set_observer(assigned.host, NULL, NULL);
    assert_true(touched.calls > 10);
    assert_false(touched.missed);
    assigned_arrives(&assigned, 0, iova_of(6), gpa_of(6));
    assigned_arrives(&assigned, 0, iova_of(8), gpa_of(8));
    assigned_destroy(&assigned);
}

/* Where there is no second mirror, the one that there is follows. */
static void without_a_second_mirror(void **state)
{
    static const enum viommu_host_call calls[] = {
        VIOMMU_HOST_CALL_IOAS_ALLOC, VIOMMU_HOST_CALL_HWPT_ALLOC, VIOMMU_HOST_CALL_ATTACH};

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(calls); i++) {
        struct viommu_soft_census before;
        struct assigned assigned;
        uint64_t root = start_with_area(&assigned);

        before = assigned_census(&assigned);
        assigned.fail_calls = 1u << calls[i];
        set_page(&assigned, root, 8, PAGE_B | SS_RW);
        unmap_page(&assigned, root, 7);
        flush_page(&assigned, iova_of(8));
        assigned_calm(&assigned);
        assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
        assert_int_equal(assigned_census(&assigned).ioas, before.ioas);
        assert_int_equal(assigned_census(&assigned).paging_hwpts, before.paging_hwpts);
        assert_int_equal(assigned_census(&assigned).mapped_bytes, before.mapped_bytes - 0x1000);
        assigned_faults(&assigned, 0, iova_of(7), LEGACY_READ);
        assigned_arrives(&assigned, 0, iova_of(6), gpa_of(6));
        assigned_arrives(&assigned, 0, iova_of(8), PAGE_B);
        assigned_arrives(&assigned, 0, iova_of(9), gpa_of(9));
        /* its neighbours were split off all the same, by two as the hole was */
        assigned_calm(&assigned);
        set_page(&assigned, root, 6, 0);
        unmap_page(&assigned, root, 5);
        assert_string_equal(assigned.trace, "ioas_unmap");
        assigned_destroy(&assigned);
    }
}

static void put_pages(struct assigned *assigned, uint64_t *tail, unsigned int page,
                      unsigned int mask)
{
    assigned_put(assigned, tail, 2 | IOTLB_PAGES << 4 | GUEST_DOMAIN << 16, iova_of(page) | mask);
}

static void run_batch(struct assigned *assigned, uint64_t tail)
{
    struct machine *machine = &assigned->guest.machine;

    assigned_put(assigned, &tail, 5 | 2 << 4 | UINT64_C(1) << 32, ASSIGNED_STATUS);
    write64(machine, VTD_IQT, tail);
    assert_int_equal(read64(machine, VTD_IQH), tail);
}

/* However many areas a batch cuts, there is one move. */
static void a_batch_is_one_move(void **state)
{
    struct assigned assigned;
    uint64_t root, tail;

    (void)state;
    root = start_with_area(&assigned);
    tail = read64(&assigned.guest.machine, VTD_IQT);
    for (unsigned int i = 0; i < 60; i++) {
        set_page(&assigned, root, 5 + i * 16, i % 2 ? 0 : PAGE_B | SS_RW);
        put_pages(&assigned, &tail, 5 + i * 16, 0);
    }
    run_batch(&assigned, tail);
    assert_int_equal(assigned_calls(&assigned, "ioas_alloc"), 1);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assert_int_equal(assigned_calls(&assigned, "ioas_unmap"), 1);
    for (unsigned int i = 0; i < 60; i++) {
        assigned_arrives(&assigned, 0, iova_of(4 + i * 16), gpa_of(4 + i * 16));
        if (i % 2)
            assigned_faults(&assigned, 0, iova_of(5 + i * 16), LEGACY_READ);
        else
            assigned_arrives(&assigned, 0, iova_of(5 + i * 16), PAGE_B);
    }
    assigned_destroy(&assigned);
}

/* What one batch names piece by piece is an area; what two name are two. */
static void ranges_of_a_batch_are_joined(void **state)
{
    struct assigned assigned;
    uint64_t root, tail;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    for (unsigned int batch = 0; batch < 2; batch++) {
        tail = read64(&assigned.guest.machine, VTD_IQT);
        for (unsigned int i = 0; i < 120; i++) {
            set_page(&assigned, root, batch * 120 + i, gpa_of(batch * 120 + i) | SS_RW);
            put_pages(&assigned, &tail, batch * 120 + i, 0);
            put_pages(&assigned, &tail, batch * 120 + i, 0);
        }
        assigned_calm(&assigned);
        run_batch(&assigned, tail);
        assert_string_equal(assigned.trace, "ioas_map");
    }
    assigned_arrives(&assigned, 0, iova_of(239), gpa_of(239));
    /* a page that no batch named is not looked at */
    set_page(&assigned, root, 300, gpa_of(300) | SS_RW);
    tail = read64(&assigned.guest.machine, VTD_IQT);
    for (unsigned int i = 0; i < 120; i++)
        put_pages(&assigned, &tail, i, 0);
    run_batch(&assigned, tail);
    assert_false(assigned_reads(&assigned, 0, iova_of(300)));
    assigned_clear_faults(&assigned);
    assigned_destroy(&assigned);
}

static uint64_t work_done(struct assigned *assigned)
{
    return VTD_WORK_MAX - vtd_of(assigned->guest.machine.viommu)->work;
}

/* All of an area is read when an invalidation names a page of it, but once for those of a batch. */
static void an_area_is_read_once(void **state)
{
    struct assigned assigned;
    uint64_t root, tail, once = 0;

    (void)state;
    root = start_with_area(&assigned);
    for (unsigned int count = 1; count <= 60; count += 59) {
        tail = read64(&assigned.guest.machine, VTD_IQT);
        for (unsigned int i = 0; i < count; i++)
            put_pages(&assigned, &tail, 1000 - i * 16, 0);
        run_batch(&assigned, tail);
        if (count == 1)
            once = work_done(&assigned);
    }
    assert_true(once >= AREA_PAGES);
    assert_true(work_done(&assigned) < once + once / 10);
    assert_string_equal(assigned.trace, "");
    /* twice when it is cut: to see that, and for the copy */
    set_page(&assigned, root, 5, 0);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, iova_of(5), 0);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assert_in_range(work_done(&assigned), 2 * once,
                    2 * once + NEST_WORK_BIND + 30 * NEST_WORK_CALL);
    /* however often */
    assigned_calm(&assigned);
    tail = read64(&assigned.guest.machine, VTD_IQT);
    for (unsigned int i = 0; i < 60; i++) {
        set_page(&assigned, root, 1000 - i * 16, 0);
        put_pages(&assigned, &tail, 1000 - i * 16, 0);
    }
    run_batch(&assigned, tail);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assert_true(work_done(&assigned) < 6 * once + 100 * NEST_WORK_CALL);
    for (unsigned int i = 0; i < 60; i++) {
        assigned_faults(&assigned, 0, iova_of(1000 - i * 16), LEGACY_READ);
        assigned_arrives(&assigned, 0, iova_of(999 - i * 16), gpa_of(999 - i * 16));
    }
    assigned_destroy(&assigned);
}

/* As many pieces as there can be: there is no second mirror, and no piece too many. */
static void cuts_of_a_full_mirror(void **state)
{
    struct assigned assigned;
    uint64_t root, table, leaf;

    (void)state;
    assigned_start_shadowed(&assigned, "");
    viommu_host_set_observer(assigned.host, NULL, NULL);
    table = guest_page(&assigned.guest);
    for (unsigned int i = 0; i < 512; i++) /* none adjoins the next */
        store64(&assigned.guest.machine, table + i * 8, (0x200000 + i % 2 * 0x2000) | SS_RW);
    root = guest_page(&assigned.guest);
    for (uint64_t i = 0; i < 511; i++)
        guest_map(&assigned.guest, root, 4, i * 0x200000, 2, table | SS_RW, SS_RW);
    leaf = guest_map(&assigned.guest, root, 4, AREA + 8 * 0x1000, 1, gpa_of(8) | SS_RW, SS_RW);
    for (unsigned int i = 0; i < 16; i++)
        set_page(&assigned, root, i, gpa_of(i) | SS_RW);
    guest_legacy(&assigned.guest, 0, 0, 2, root);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, iova_of(8), gpa_of(8));
    store64(&assigned.guest.machine, leaf, PAGE_B | SS_RW);
    flush_page(&assigned, iova_of(8));
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
    assigned_arrives(&assigned, 0, iova_of(7), gpa_of(7));
    assigned_arrives(&assigned, 0, iova_of(8), PAGE_B);
    assigned_arrives(&assigned, 0, iova_of(9), gpa_of(9));
    assert_true(assigned_reads(&assigned, 0, 0x1000));
    /* four of them, not two and pieces: 0 to 7, 8, 9 to 15 */
    assert_int_equal(assigned_stats(&assigned).shadow_maps, 1 + 511 * 512 + 1 + 3);
    assigned_destroy(&assigned);
}

/* A page of 2 MiB becomes a table that maps the same, one page of it another place, and back. */
static void large_pages_become_tables(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    for (uint64_t i = 0; i < 4; i++)
        guest_map(&assigned.guest, root, 4, AREA + i * 0x200000, 2,
                  (AREA_GPA + i * 0x200000) | SS_RW | SS_PS, SS_RW);
    flush_domain(&assigned);
    assert_string_equal(assigned.trace, "ioas_map");
    /* the same by small pages */
    assigned_calm(&assigned);
    guest_map(&assigned.guest, root, 4, iova_of(512), 2, 0, SS_RW);
    for (unsigned int i = 512; i < 1024; i++)
        set_page(&assigned, root, i, gpa_of(i) | SS_RW);
    flush_page(&assigned, iova_of(700));
    assert_string_equal(assigned.trace, "");
    assigned_arrives(&assigned, 0, iova_of(700), gpa_of(700));
    /* one of which goes elsewhere, another away */
    set_page(&assigned, root, 600, PAGE_B | SS_RW);
    set_page(&assigned, root, 601, 0);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, iova_of(600), 1);
    assigned_wait(&assigned);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assert_true(assigned_calls(&assigned, "ioas_map") < 16);
    assigned_arrives(&assigned, 0, iova_of(600), PAGE_B);
    assigned_faults(&assigned, 0, iova_of(601), LEGACY_READ);
    assigned_arrives(&assigned, 0, iova_of(599), gpa_of(599));
    assigned_arrives(&assigned, 0, iova_of(602), gpa_of(602));
    assigned_arrives(&assigned, 0, iova_of(0), gpa_of(0));
    assigned_arrives(&assigned, 0, iova_of(2047), gpa_of(2047));
    /* and the large page is back */
    guest_map(&assigned.guest, root, 4, iova_of(512), 2, gpa_of(512) | SS_RW | SS_PS, SS_RW);
    flush_page(&assigned, iova_of(512));
    for (unsigned int i = 598; i < 604; i++)
        assigned_arrives(&assigned, 0, iova_of(i), gpa_of(i));
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
    assigned_destroy(&assigned);
}

/* Pieces never are smaller than pages, whatever the size of the hole. */
static void large_pages_stay_whole(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    for (uint64_t i = 0; i < 6; i++)
        guest_map(&assigned.guest, root, 4, AREA + i * 0x200000, 2,
                  (AREA_GPA + i * 0x200000) | SS_RW | SS_PS, SS_RW);
    flush_domain(&assigned);
    /* the first becomes a table of which a page is missing */
    guest_map(&assigned.guest, root, 4, AREA, 2, 0, SS_RW);
    for (unsigned int i = 0; i < 511; i++)
        set_page(&assigned, root, i, gpa_of(i) | SS_RW);
    assigned_calm(&assigned);
    flush_page(&assigned, AREA);
    assert_int_equal(assigned_calls(&assigned, "ioas_map"), 1 + 1 + 4 + 1);
    /* a large one goes: the next is beside it */
    assigned_calm(&assigned);
    guest_map(&assigned.guest, root, 4, AREA + 2 * 0x200000, 2, 0, SS_RW);
    flush_page(&assigned, AREA + 2 * 0x200000);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assigned_calm(&assigned);
    guest_map(&assigned.guest, root, 4, AREA + 3 * 0x200000, 2, 0, SS_RW);
    flush_page(&assigned, AREA + 3 * 0x200000 + 0x5000);
    assert_string_equal(assigned.trace, "ioas_unmap");
    assigned_arrives(&assigned, 0, AREA + 0x200000, AREA_GPA + 0x200000);
    assigned_arrives(&assigned, 0, AREA + 4 * 0x200000, AREA_GPA + 4 * 0x200000);
    assert_false(assigned_reads(&assigned, 0, AREA + 2 * 0x200000));
    assert_false(assigned_reads(&assigned, 0, AREA + 3 * 0x200000));
    assigned_clear_faults(&assigned);
    assigned_destroy(&assigned);
}

/* Memory that adjoins in this process, too, is one area; a half of it can leave. */
static void half_of_an_area_leaves(void **state)
{
    struct viommu_memory_range ranges[] = {
        {.gpa = UINT64_C(1) << 32, .size = 0x200000},
        {.gpa = (UINT64_C(1) << 32) + 0x200000, .size = 0x200000, .flags = VIOMMU_MEMORY_READONLY}};
    struct assigned assigned;
    uint64_t root, value = 1;
    char *host;

    (void)state;
    host = mmap(NULL, 0x400000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ranges[0].host = host;
    ranges[1].host = host + 0x200000;
    for (unsigned int read_only = 0; read_only < 2; read_only++) {
        ranges[1].flags = read_only ? VIOMMU_MEMORY_READONLY : 0;
        root = assigned_start_shadowed(&assigned, "");
        for (unsigned int i = 0; i < 2; i++)
            assert_int_equal(viommu_memory_add(assigned.guest.machine.memory, &ranges[i], NULL), 0);
        for (unsigned int i = 0; i < 1024; i++)
            set_page(&assigned, root, i, (ranges[0].gpa + i * UINT64_C(0x1000)) | SS_RW);
        assigned_calm(&assigned);
        flush_domain(&assigned);
        assert_string_equal(assigned.trace, read_only ? "ioas_map ioas_map" : "ioas_map");
        assert_int_equal(assigned_dma(&assigned, 0, VIOMMU_PASID_NONE, iova_of(511), true, &value),
                         0);
        assert_int_equal(!assigned_dma(&assigned, 0, VIOMMU_PASID_NONE, iova_of(512), true, &value),
                         !read_only);
        assert_true(assigned_reads(&assigned, 0, iova_of(1023)));
        viommu_memory_remove(assigned.guest.machine.memory, ranges[1].gpa, NULL);
        mprotect(ranges[1].host, ranges[1].size, PROT_NONE);
        assert_true(assigned_reads(&assigned, 0, iova_of(511)));
        assert_false(assigned_reads(&assigned, 0, iova_of(512)));
        mprotect(ranges[1].host, ranges[1].size, PROT_READ | PROT_WRITE);
        viommu_memory_remove(assigned.guest.machine.memory, ranges[0].gpa, NULL);
        assert_false(assigned_reads(&assigned, 0, iova_of(0)));
        assigned_clear_faults(&assigned);
        assigned_destroy(&assigned);
    }
    munmap(host, 0x400000);
}

/* Pages on both sides of the interrupt range, which they would adjoin through. */
static void cuts_beside_the_interrupt_range(void **state)
{
    const uint64_t page = 0xfee00000;
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, "");
    guest_map(&assigned.guest, root, 4, page - 0x200000, 2, 0x200000 | SS_RW | SS_PS, SS_RW);
    guest_map(&assigned.guest, root, 4, page, 2, 0x400000 | SS_RW | SS_PS, SS_RW);
    flush_domain(&assigned);
    assert_string_equal(assigned.trace, "ioas_map ioas_map");
    assigned_arrives(&assigned, 0, page - 0x1000, 0x3ff000);
    assigned_arrives(&assigned, 0, page + 0x100000, 0x500000);
    /* the second page becomes a table without its last entry */
    guest_map(&assigned.guest, root, 4, page, 2, 0, SS_RW);
    for (uint64_t i = 0; i < 511; i++)
        guest_map(&assigned.guest, root, 4, page + i * 0x1000, 1, (0x400000 + i * 0x1000) | SS_RW,
                  SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, page, 9);
    assigned_wait(&assigned);
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
    assigned_arrives(&assigned, 0, page + 0x1fe000, 0x5fe000);
    assigned_arrives(&assigned, 0, page + 0x100000, 0x500000);
    assert_false(assigned_reads(&assigned, 0, page + 0x1ff000));
    assert_false(assigned_reads(&assigned, 0, page));
    assert_false(assigned_reads(&assigned, 0, page + 0xff000));
    assigned_clear_faults(&assigned);
    assigned_arrives(&assigned, 0, page - 0x1000, 0x3ff000);
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-NEST-CUT-1", "6.5.2.3",
     "A page that leaves the middle of an area costs the host some calls.", a_cut_is_cheap},
    {"VTD-NEST-CUT-2", "6.5.2.3",
     "Pages that leave one after the other cost a call each, and few moves.",
     cuts_that_keep_coming},
    {"VTD-NEST-CUT-3", "6.5.2.3", "Pages that leave far apart split off a few neighbours each.",
     cuts_far_apart},
    {"VTD-NEST-CUT-15", "6.5.2.3", "What was expected to go on and did not is split less again.",
     cuts_that_came_to_an_end},
    {"VTD-NEST-CUT-4", "6.5.2.3", "Pieces are as large as what left.", holes_of_three_pages},
    {"VTD-NEST-SS-12", "6.5.2.3", "Pages beside one that is unmapped stay reachable throughout.",
     neighbours_are_never_missed},
    {"VTD-NEST-CUT-5", "6.5.2.3", "A page that is changed stays reachable throughout.",
     what_changes_is_never_missed},
    {"VTD-NEST-CUT-6", "6.5.2.3", "Without a second mirror, the one that there is follows.",
     without_a_second_mirror},
    {"VTD-NEST-CUT-7", "6.5.2.8", "However many areas a batch cuts, it is moved once.",
     a_batch_is_one_move},
    {"VTD-NEST-CUT-8", "6.5.2.8", "Ranges of a batch that adjoin are one.",
     ranges_of_a_batch_are_joined},
    {"VTD-NEST-CUT-13", "6.5.2.8", "However many pages of an area a batch names, it is read once.",
     an_area_is_read_once},
    {"VTD-NEST-CUT-14", "3.7", "A mirror of as many pieces as there can be is cut in place.",
     cuts_of_a_full_mirror},
    {"VTD-NEST-CUT-9", "3.7", "A large page and a table that maps the same are the same.",
     large_pages_become_tables},
    {"VTD-NEST-CUT-10", "3.7", "Large pages beside what leaves stay whole.",
     large_pages_stay_whole},
    {"VTD-NEST-CUT-11", "3.7", "Memory of which half an area is leaves it; the rest stays.",
     half_of_an_area_leaves},
    {"VTD-NEST-CUT-12", "3.14", "Pages beside the interrupt range change like others.",
     cuts_beside_the_interrupt_range},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
