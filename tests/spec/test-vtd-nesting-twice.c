/* SPDX-License-Identifier: MIT */
/*
 * A guest that nests itself, on an assigned device: three tables, of which the host is given the
 * guest's first one, nested on a mirror of the guest's second one.
 */
#include "assigned.h"
#include "model/vtd/register_map.h"

#define NEIGHBOUR_IOVA    (GUEST_IOVA + 0x1000)
#define SS_NOT_PRESENT    0x79
#define FS_TABLE_READ     0x76
#define OTHER_PASID       5
#define SECOND_STAGE_PAGE (PAGE_A + 0x4000)

static uint64_t first, second;

static void start(struct assigned *assigned)
{
    assigned_start_twice_nested(assigned, "pasid-bits=8", &first, &second);
}

static void map_second(struct assigned *assigned, uint64_t address, uint64_t value)
{
    guest_map(&assigned->guest, second, 4, address, 1, value, SS_RW);
}

static void both_stages(void **state)
{
    struct assigned assigned;

    (void)state;
    start(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1);
    assert_int_equal(assigned_census(&assigned).paging_hwpts, 2);
    assert_int_equal(assigned_census(&assigned).ioas, 2);
    assert_int_equal(assigned_stats(&assigned).nested_binds, 1);
    assert_int_equal(assigned_stats(&assigned).assigned_emulated, 0);
    /* an emulated function with the same entry agrees */
    assigned_detach(&assigned, 0);
    assert_int_equal(assigned_census(&assigned).ioas, 0);
    guest_flush(&assigned.guest);
    guest_reads(&assigned.guest, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

static void first_stage_changes(void **state)
{
    struct assigned assigned;

    (void)state;
    start(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_calm(&assigned);
    assigned_set_page(&assigned, first, 4, PAGE_B | FS_ALL);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "invalidate");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assigned_set_page(&assigned, first, 4, 0);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    assigned_wait(&assigned);
    assigned_faults(&assigned, 0, GUEST_IOVA, FS_NOT_PRESENT);
    assigned_destroy(&assigned);
}

static void second_stage_changes(void **state)
{
    struct assigned assigned;

    (void)state;
    start(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_calm(&assigned);
    map_second(&assigned, PAGE_A, SECOND_STAGE_PAGE | SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, PAGE_A, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, SECOND_STAGE_PAGE);
    assigned_calm(&assigned);
    map_second(&assigned, PAGE_A, 0);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "ioas_unmap invalidate");
    assigned_faults(&assigned, 0, GUEST_IOVA, SS_NOT_PRESENT);
    map_second(&assigned, PAGE_A, PAGE_A | SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, PAGE_A, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
    assigned_destroy(&assigned);
}

/* Pages that adjoin are one piece of the mirror, which is cut when one of them changes. */
static void a_neighbour_stays(void **state)
{
    struct assigned assigned;

    (void)state;
    start(&assigned);
    guest_map(&assigned.guest, first, 4, NEIGHBOUR_IOVA, 1, (PAGE_B) | FS_ALL, FS_ALL);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, NEIGHBOUR_IOVA, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, NEIGHBOUR_IOVA, PAGE_B);
    assigned_calm(&assigned);
    map_second(&assigned, PAGE_A, SECOND_STAGE_PAGE | SS_RW);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, PAGE_A, 0);
    assigned_wait(&assigned);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assert_int_equal(assigned_calls(&assigned, "detach"), 0);
    assigned_arrives(&assigned, 0, NEIGHBOUR_IOVA, PAGE_B);
    assigned_arrives(&assigned, 0, GUEST_IOVA, SECOND_STAGE_PAGE);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 1);
    assert_int_equal(assigned_census(&assigned).paging_hwpts, 2);
    assigned_destroy(&assigned);
}

/* The tables of the first stage are reached through the second one, too. */
static void tables_are_translated(void **state)
{
    struct assigned assigned;
    uint64_t level3;

    (void)state;
    start(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    level3 =
        load64(&assigned.guest.machine, guest_entry(&assigned.guest, first, 4, GUEST_IOVA, 4)) &
        ~UINT64_C(0xfff);
    map_second(&assigned, level3, 0);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assigned_faults(&assigned, 0, GUEST_IOVA, SS_NOT_PRESENT);
    assigned_destroy(&assigned);
}

static void another_second_stage(void **state)
{
    struct assigned assigned;
    uint64_t other;

    (void)state;
    start(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    other = assigned_second_stage_of_tables(&assigned);
    guest_map(&assigned.guest, other, 4, PAGE_A, 1, PAGE_B | SS_RW, SS_RW);
    guest_pasid(&assigned.guest, 0, PASID_PGTT(3) | PASID_AW(2) | other, GUEST_DOMAIN | PASID_PWSNP,
                first);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    /* to a first stage alone, and back */
    assigned_bind(&assigned, 0, 0, first, GUEST_DOMAIN);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assert_int_equal(assigned_census(&assigned).ioas, 1);
    guest_pasid(&assigned.guest, 0, PASID_PGTT(3) | PASID_AW(2) | other, GUEST_DOMAIN | PASID_PWSNP,
                first);
    assigned_pasid_cache(&assigned, PASID_GLOBAL, 0, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assigned_destroy(&assigned);
}

static void pasids(void **state)
{
    struct assigned assigned;
    uint64_t other;

    (void)state;
    start(&assigned);
    other = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    guest_pasid(&assigned.guest, OTHER_PASID, PASID_PGTT(3) | PASID_AW(2) | second,
                GUEST_DOMAIN | PASID_PWSNP, other);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, OTHER_PASID);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_arrives_pasid(&assigned, 0, OTHER_PASID, GUEST_IOVA, PAGE_B);
    /* one invalidation of the second stage counts for both */
    map_second(&assigned, PAGE_A, SECOND_STAGE_PAGE | SS_RW);
    map_second(&assigned, PAGE_B, (SECOND_STAGE_PAGE + 0x1000) | SS_RW);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, SECOND_STAGE_PAGE);
    assigned_arrives_pasid(&assigned, 0, OTHER_PASID, GUEST_IOVA, SECOND_STAGE_PAGE + 0x1000);
    assigned_destroy(&assigned);
}

/* A nesting parent has no read-only pages: what the guest's second stage gives for reading alone
 * cannot be reached, and the guest is told. */
static void read_only_pages(void **state)
{
    struct assigned assigned;

    (void)state;
    start(&assigned);
    map_second(&assigned, PAGE_A, PAGE_A | SS_R);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, PAGE_A, 0);
    assigned_wait(&assigned);
    assigned_faults(&assigned, 0, GUEST_IOVA, PASID_INVALID);
    assert_int_equal(assigned_stats(&assigned).nested_bind_failures, 0);
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-NEST-TWICE-1", "3.8", "A guest's own nesting works for an assigned device.", both_stages},
    {"VTD-NEST-TWICE-2", "6.5.2.4",
     "Pages of a first stage that the guest nests are invalidated on the host.",
     first_stage_changes},
    {"VTD-NEST-TWICE-3", "6.5.2.3", "Pages of the second stage under it follow the guest's table.",
     second_stage_changes},
    {"VTD-NEST-TWICE-4", "6.5.2.3",
     "Pages beside one that changes in the second stage under it stay reachable.",
     a_neighbour_stays},
    {"VTD-NEST-TWICE-5", "3.8",
     "First-stage tables of an assigned device are read through the guest's second stage.",
     tables_are_translated},
    {"VTD-NEST-TWICE-6", "6.5.2.2",
     "A PASID entry that changes one of its stages is bound anew, with nothing left behind.",
     another_second_stage},
    {"VTD-NEST-TWICE-7", "3.4.3", "Each PASID of an assigned device may nest.", pasids},
    {"VTD-NEST-TWICE-8", "3.8.1",
     "What the guest's second stage gives for reading alone is refused to an assigned device.",
     read_only_pages},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
