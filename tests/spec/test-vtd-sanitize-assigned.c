/* SPDX-License-Identifier: MIT */
/* The guest sanitizer and assigned devices: what the host was given, and what it was not. */
#include <string.h>

#include "assigned.h"
#include "model/vtd/register_map.h"

/* The descriptors of assigned.c do not ask for a drain. */
#define SANITIZE "sanitize=on,sanitize-patience=0,drain=off"
#define STRICT   SANITIZE ",sanitize-strict=on"

static void silent(struct assigned *assigned)
{
    if (assigned->guest.machine.report_count)
        fail_msg("reported: %s", assigned->guest.machine.log);
    assert_int_equal(assigned_stats(assigned).sanitizer_reports, 0);
}

static void reported(struct assigned *assigned, enum viommu_sanitize_entry entry,
                     uint64_t entry_address, uint64_t before, uint64_t after)
{
    const struct viommu_sanitize_report *report = &assigned->guest.machine.report[0];

    assert_int_equal(assigned->guest.machine.report_count, 1);
    assert_int_equal(report->kind, VIOMMU_SANITIZE_MISSING);
    assert_int_equal(report->entry, entry);
    assert_int_equal(report->entry_address, entry_address);
    assert_int_equal(report->before, before);
    assert_int_equal(report->after, after);
    assert_int_equal(report->domain, GUEST_DOMAIN);
    assert_int_equal(report->requester_id, 0);
    assigned_wait(assigned);
    assert_int_equal(assigned->guest.machine.report_count, 1);
}

static uint64_t leaf_of(struct assigned *assigned, uint64_t root)
{
    return guest_entry(&assigned->guest, root, 4, GUEST_IOVA, 1);
}

static void change_and_invalidate(struct assigned *assigned, uint64_t root, uint64_t value)
{
    assigned_set_page(assigned, root, 4, value);
    assigned_iotlb(assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    assigned_wait(assigned);
}

static void correct_driver(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, STRICT);
    for (unsigned int i = 0; i < 4; i++) {
        change_and_invalidate(&assigned, root, PAGE_B | SS_RW);
        assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
        change_and_invalidate(&assigned, root, 0);
        assigned_faults(&assigned, 0, GUEST_IOVA, LEGACY_READ);
    }
    silent(&assigned);
    assigned_destroy(&assigned);
}

static void mirrored_page_moves(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, SANITIZE);
    change_and_invalidate(&assigned, root, PAGE_A | SS_RW);
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_RW);
    silent(&assigned);
    assigned_wait(&assigned);
    reported(&assigned, VIOMMU_SANITIZE_ENTRY_SECOND_STAGE, leaf_of(&assigned, root),
             PAGE_A | SS_RW, PAGE_B | SS_RW);
    assigned_destroy(&assigned);
}

/* What was mapped before the device came is mirrored as well. */
static void page_of_the_first_bind_moves(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, SANITIZE);
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_RW);
    assigned_wait(&assigned);
    reported(&assigned, VIOMMU_SANITIZE_ENTRY_SECOND_STAGE, leaf_of(&assigned, root),
             PAGE_A | SS_RW, PAGE_B | SS_RW);
    assigned_destroy(&assigned);
}

/* An invalidation of the whole domain reads all of the table anew. */
static void page_moves_after_all_was_invalidated(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, STRICT);
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_RW);
    assigned_iotlb(&assigned, IOTLB_DOMAIN, GUEST_DOMAIN, 0, 0);
    assigned_wait(&assigned);
    silent(&assigned);
    assigned_set_page(&assigned, root, 4, 0);
    assigned_wait(&assigned);
    reported(&assigned, VIOMMU_SANITIZE_ENTRY_SECOND_STAGE, leaf_of(&assigned, root),
             PAGE_B | SS_RW, 0);
    assigned_destroy(&assigned);
}

/* Of a large table the beginning is looked at, so that it does not push all else out. */
static void large_tables_are_known_in_part(void **state)
{
    static const struct {
        unsigned int page;
        unsigned int reports;
    } rows[] = {{511, 1}, {512, 0}};
    struct assigned assigned;

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(rows); i++) {
        struct guest *guest = &assigned.guest;
        uint64_t root, moved = GUEST_IOVA + rows[i].page * UINT64_C(0x1000);

        assigned_create(&assigned, NULL, SANITIZE);
        assigned_attach(&assigned, 0);
        root = assigned_second_stage(&assigned, GUEST_IOVA, PAGE_A);
        for (unsigned int page = 0; page < 600; page++)
            guest_map(guest, root, 4, GUEST_IOVA + page * UINT64_C(0x1000), 1, PAGE_A | SS_RW,
                      SS_RW);
        guest_legacy(guest, 0, 0, 2, root);
        guest_on(guest, TTM_LEGACY);
        assigned_calm(&assigned);
        guest_map(guest, root, 4, moved, 1, PAGE_B | SS_RW, SS_RW);
        assigned_wait(&assigned);
        assert_int_equal(guest->machine.report_count, rows[i].reports);
        if (rows[i].reports)
            assert_int_equal(guest->machine.report[0].address, moved);
        assigned_destroy(&assigned);
    }
}

/* The device is refused although the table has the page: the guest forgot to say so. */
static void page_appears(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, SANITIZE);
    change_and_invalidate(&assigned, root, 0);
    assigned_faults(&assigned, 0, GUEST_IOVA, LEGACY_READ);
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_RW);
    assigned_wait(&assigned);
    silent(&assigned);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_clear_faults(&assigned);
    assigned_wait(&assigned);
    reported(&assigned, VIOMMU_SANITIZE_ENTRY_SECOND_STAGE, leaf_of(&assigned, root), 0,
             PAGE_B | SS_RW);
    assert_non_null(strstr(assigned.guest.machine.report[0].needed, "CM"));
    assigned_destroy(&assigned);
}

/* The device was early, but the guest did what it should. */
static void page_appears_and_is_invalidated(void **state)
{
    struct assigned assigned;
    uint64_t root;

    (void)state;
    root = assigned_start_shadowed(&assigned, SANITIZE);
    change_and_invalidate(&assigned, root, 0);
    assigned_set_page(&assigned, root, 4, PAGE_B | SS_RW);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_clear_faults(&assigned);
    assigned_iotlb(&assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    silent(&assigned);
    assigned_destroy(&assigned);
}

static void bound_pasid_entry_changes(void **state)
{
    struct assigned assigned;
    uint64_t root, other, entry = GUEST_PASIDS + 16;

    (void)state;
    root = assigned_start_nested(&assigned, SANITIZE);
    other = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    store64(&assigned.guest.machine, entry, other);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    assigned_wait(&assigned);
    reported(&assigned, VIOMMU_SANITIZE_ENTRY_PASID, entry, root, other);
    assigned_destroy(&assigned);
}

static void bound_pasid_entry_is_replaced(void **state)
{
    struct assigned assigned;
    uint64_t other;

    (void)state;
    assigned_start_nested(&assigned, STRICT);
    other = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    guest_change(&assigned.guest, GUEST_PASIDS, 1, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    assigned_wait(&assigned);
    store64(&assigned.guest.machine, GUEST_PASIDS + 16, other);
    guest_change(&assigned.guest, GUEST_PASIDS, 0, 1);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    assigned_wait(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    silent(&assigned);
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-6.1-20", "6.1",
     "Sanitizer: a driver that invalidates what it maps and unmaps for an assigned device is not "
     "reported.",
     correct_driver},
    {"VTD-6.1-21", "6.1",
     "Sanitizer: a mirrored page of an assigned device that moves without invalidation is "
     "reported.",
     mirrored_page_moves},
    {"VTD-6.1-24", "6.1", "Sanitizer: so is one that was mapped before the device was attached.",
     page_of_the_first_bind_moves},
    {"VTD-6.1-25", "6.1",
     "Sanitizer: pages are known after an invalidation of all; strict: one that is taken away and "
     "not invalidated is reported.",
     page_moves_after_all_was_invalidated},
    {"VTD-6.1-26", "6.1", "Sanitizer: of a large table the first 512 pages are known.",
     large_tables_are_known_in_part},
    {"VTD-6.1-22", "6.1",
     "Sanitizer: with CAP.CM, a page that becomes present without invalidation is reported when "
     "an assigned device was refused it.",
     page_appears},
    {"VTD-6.1-23", "6.1",
     "Sanitizer: it is not reported when the invalidation came after the device.",
     page_appears_and_is_invalidated},
    {"VTD-6.5.2.2-21", "6.5.2.2",
     "Sanitizer: the PASID entry that an assigned device is bound by is not changed without "
     "PASID-cache invalidation.",
     bound_pasid_entry_changes},
    {"VTD-6.5.3.3-14", "6.5.3.3", "Sanitizer: it may be replaced in the order of the guidance.",
     bound_pasid_entry_is_replaced},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
