/* SPDX-License-Identifier: MIT */
/*
 * A mirrored second-stage table under random changes: after each batch of invalidations the device
 * sees what the table maps, and nothing else; what stays mapped is never missed; and a host whose
 * calls fail leads to nothing worse than a device that is blocked until the guest repairs it.
 */
#include <string.h>
#include <sys/mman.h>

#include "assigned.h"
#include "model/vtd/register_map.h"

#define AREA   UINT64_C(0x40000000)
#define PAGES  1024u
#define SLOT   512u /* pages of a table of the last level */
#define SLOTS  (PAGES / SLOT)
#define ROUNDS 60

/* Two places where a page may be, of which neighbours adjoin; in two ranges of memory each. */
static const uint64_t places[] = {0x200000, 0x800000};

struct page {
    uint64_t gpa; /* 0: none */
    bool writable;
};

struct mirror {
    struct assigned assigned;
    uint64_t slots[SLOTS];  /* where their entries are */
    uint64_t tables[SLOTS]; /* that they can point to */
    bool large[SLOTS];
    struct page pages[PAGES], before[PAGES]; /* as written; as of the last wait */
    bool changed[PAGES];
    bool missed;
    uint64_t seed;
};

static uint64_t draw(struct mirror *mirror, uint64_t count)
{
    mirror->seed ^= mirror->seed << 13;
    mirror->seed ^= mirror->seed >> 7;
    mirror->seed ^= mirror->seed << 17;
    return (mirror->seed >> 11) % count;
}

static uint64_t iova_of(unsigned int page)
{
    return AREA + page * UINT64_C(0x1000);
}

/* Changing the table */

static uint64_t entry_of(const struct page *page)
{
    return page->gpa ? page->gpa | (page->writable ? SS_RW : SS_R) : 0;
}

static void write_table(struct mirror *mirror, unsigned int slot)
{
    struct machine *machine = &mirror->assigned.guest.machine;

    for (unsigned int i = 0; i < SLOT; i++)
        store64(machine, mirror->tables[slot] + i * 8, entry_of(&mirror->pages[slot * SLOT + i]));
    store64(machine, mirror->slots[slot], mirror->tables[slot] | SS_RW);
    mirror->large[slot] = false;
}

/* The pages of a large one that becomes a table are as they were, but all are announced. */
static void write_page(struct mirror *mirror, unsigned int at, struct page page)
{
    unsigned int slot = at / SLOT;

    if (mirror->large[slot]) {
        write_table(mirror, slot);
        memset(mirror->changed + slot * SLOT, true, SLOT);
    }
    mirror->pages[at] = page;
    mirror->changed[at] = true;
    store64(&mirror->assigned.guest.machine, mirror->tables[slot] + at % SLOT * 8, entry_of(&page));
}

static void write_run(struct mirror *mirror)
{
    unsigned int first = (unsigned int)draw(mirror, PAGES);
    unsigned int count = 1 + (unsigned int)draw(mirror, UINT64_C(1) << draw(mirror, 9));
    uint64_t place = draw(mirror, 5) ? places[0] : places[1];
    bool none = draw(mirror, 2), writable = draw(mirror, 6);

    for (unsigned int i = first; i < first + count && i < PAGES; i++)
        write_page(mirror, i, (struct page){none ? 0 : place + i * UINT64_C(0x1000), writable});
}

static void write_large(struct mirror *mirror)
{
    unsigned int slot = (unsigned int)draw(mirror, SLOTS);
    uint64_t gpa = places[draw(mirror, 2)] + slot * UINT64_C(0x200000);

    store64(&mirror->assigned.guest.machine, mirror->slots[slot], gpa | SS_RW | SS_PS);
    for (unsigned int i = 0; i < SLOT; i++) {
        mirror->pages[slot * SLOT + i] = (struct page){gpa + i * UINT64_C(0x1000), true};
        mirror->changed[slot * SLOT + i] = true;
    }
    mirror->large[slot] = true;
}

/* Announcing it */

static void announce_page(struct mirror *mirror, uint64_t *tail, unsigned int page,
                          unsigned int mask)
{
    assigned_put(&mirror->assigned, tail, 2 | IOTLB_PAGES << 4 | GUEST_DOMAIN << 16,
                 iova_of(page) | mask);
}

/* Of 16 pages each, or one by one; the queue has room for 256. */
static void announce_pages(struct mirror *mirror, uint64_t *tail)
{
    unsigned int step = draw(mirror, 2) ? 16 : 1, named = 0;

    for (unsigned int i = 0; i < PAGES; i += step) {
        if (!memchr(mirror->changed + i, true, step))
            continue;
        if (++named > 200) {
            assigned_put(&mirror->assigned, tail, 2 | IOTLB_DOMAIN << 4 | GUEST_DOMAIN << 16, 0);
            return;
        }
        announce_page(mirror, tail, i, step == 16 ? 4 : 0);
    }
}

static void announce(struct mirror *mirror)
{
    struct machine *machine = &mirror->assigned.guest.machine;
    uint64_t tail = read64(machine, VTD_IQT);

    if (draw(mirror, 3))
        announce_pages(mirror, &tail);
    else
        assigned_put(&mirror->assigned, &tail, 2 | IOTLB_DOMAIN << 4 | GUEST_DOMAIN << 16, 0);
    assigned_put(&mirror->assigned, &tail, 5 | 2 << 4 | UINT64_C(1) << 32, ASSIGNED_STATUS);
    write64(machine, VTD_IQT, tail);
    assert_int_equal(read64(machine, VTD_IQH), tail);
}

/* What the device sees */

static void check_page(struct mirror *mirror, unsigned int at)
{
    const struct page *page = &mirror->pages[at];
    uint64_t value = 0;
    bool reads = !assigned_dma(&mirror->assigned, 0, VIOMMU_PASID_NONE, iova_of(at), false, &value);
    bool writes =
        reads && !assigned_dma(&mirror->assigned, 0, VIOMMU_PASID_NONE, iova_of(at), true, &value);

    if (reads != (page->gpa != 0) || writes != (page->gpa && page->writable) || value != page->gpa)
        fail_msg("page %u is at 0x%llx%s, the device sees 0x%llx%s", at,
                 (unsigned long long)page->gpa, page->writable ? "" : ", read-only",
                 (unsigned long long)value, writes ? "" : ", read-only");
}

/* Whatever failed, there is no way to where the table does not lead. */
static void check_nothing_else(struct mirror *mirror)
{
    for (unsigned int i = 0; i < PAGES; i++) {
        uint64_t value = 0;

        if (!assigned_dma(&mirror->assigned, 0, VIOMMU_PASID_NONE, iova_of(i), false, &value))
            assert_int_equal(value, mirror->pages[i].gpa);
    }
}

static void check(struct mirror *mirror)
{
    for (unsigned int i = 0; i < PAGES; i++)
        check_page(mirror, i);
    assigned_clear_faults(&mirror->assigned);
    memcpy(mirror->before, mirror->pages, sizeof(mirror->before));
    memset(mirror->changed, false, sizeof(mirror->changed));
}

/* At each host call, DMA to some of what is mapped before and after. */
static int touch(void *opaque, enum viommu_host_call call)
{
    struct mirror *mirror = opaque;

    (void)call;
    for (unsigned int i = 0; i < 4; i++) {
        unsigned int at = (unsigned int)draw(mirror, PAGES);

        if (mirror->before[at].gpa && mirror->pages[at].gpa)
            mirror->missed |= !assigned_reads(&mirror->assigned, 0, iova_of(at));
    }
    return 0;
}

static void start(struct mirror *mirror, uint64_t seed)
{
    struct guest *guest = &mirror->assigned.guest;
    uint64_t root;

    memset(mirror, 0, sizeof(*mirror));
    root = assigned_start_shadowed(&mirror->assigned, "");
    mirror->seed = seed;
    for (unsigned int i = 0; i < SLOTS; i++) {
        guest_map(guest, root, 4, iova_of(i * SLOT), 1, 0, SS_RW);
        mirror->slots[i] = guest_entry(guest, root, 4, iova_of(i * SLOT), 2);
        mirror->tables[i] = load64(&guest->machine, mirror->slots[i]) & ~UINT64_C(0xfff);
    }
    for (unsigned int i = 0; i < SPEC_COUNT(places); i++) {
        for (uint64_t gpa = places[i]; gpa < places[i] + PAGES * 0x1000; gpa += 0x1000)
            store64(&guest->machine, gpa, gpa);
    }
}

static void change(struct mirror *mirror)
{
    for (uint64_t i = 1 + draw(mirror, 4); i; i--) {
        if (draw(mirror, 12))
            write_run(mirror);
        else
            write_large(mirror);
    }
}

static void the_device_sees_the_table(void **state)
{
    struct mirror mirror;

    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        start(&mirror, seed * UINT64_C(0x9e3779b97f4a7c15));
        viommu_host_set_observer(mirror.assigned.host, touch, &mirror);
        for (unsigned int round = 0; round < ROUNDS; round++) {
            change(&mirror);
            announce(&mirror);
            check(&mirror);
            assert_false(mirror.missed);
        }
        assert_int_equal(assigned_stats(&mirror.assigned).nested_bind_failures, 0);
        assigned_destroy(&mirror.assigned);
    }
}

/* What the failing host keeps may be there still; that the device is back is for the guest to do.
 */
static void whatever_the_host_refuses(void **state)
{
    struct mirror mirror;

    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        unsigned int failed = 0;

        start(&mirror, seed * UINT64_C(0x2545f4914f6cdd1d));
        for (unsigned int round = 0; round < ROUNDS; round++) {
            change(&mirror);
            mirror.assigned.countdown = (int)draw(&mirror, 16);
            announce(&mirror);
            failed += mirror.assigned.failed;
            assigned_calm(&mirror.assigned);
            check_nothing_else(&mirror);
            guest_flush(&mirror.assigned.guest);
            check(&mirror);
        }
        assert_true(failed > ROUNDS / 4);
        assigned_detach(&mirror.assigned, 0);
        assert_int_equal(assigned_census(&mirror.assigned).mapped_bytes, 0);
        assigned_destroy(&mirror.assigned);
    }
}

static const struct spec_rule rules[] = {
    {"VTD-NEST-RANDOM-1", "6.5.2.3",
     "A mirror is what the guest's table is after each wait, and misses nothing until then.",
     the_device_sees_the_table},
    {"VTD-NEST-RANDOM-2", "6.5.2.3",
     "So it is again after the host failed, when the guest flushes.", whatever_the_host_refuses},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
