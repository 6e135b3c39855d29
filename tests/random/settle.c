/* SPDX-License-Identifier: MIT */
/*
 * What the guest stored since all was announced, and the invalidations that are right for it (VT-d
 * 5.0, 6.5.3): those that name each translation and each table entry which may be cached. They are
 * found by looking, before each store, through which addresses the tables lead to it.
 */
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define FSTS 0x34
#define IQT  0x88
#define IQA  0x90
#define CCMD 0x28
#define QIE  (1u << 26)

#define PAGES_MAX   64
#define ENTRIES_MAX 32
#define VISITS_MAX  2000 /* of table pages, for one store and table */
#define MAMV        18

/* Addresses whose translation went through the entry that was stored to. */
struct page_change {
    bool first; /* of a first stage: named by PASID */
    bool leaf;  /* only the entry that maps the page, before and after */
    uint16_t domain;
    uint32_t pasid;
    uint64_t base;
    unsigned int log2;
};

/* A root, context, PASID directory or PASID table entry. */
struct entry_change {
    uint16_t requester;
    uint32_t request_pasid; /* that leads to it */
    bool context;           /* root or context entry */
    bool valid;             /* what was there before; then: */
    unsigned int pgtt;
    uint16_t domain;
    uint32_t pasid;
};

struct world_changes {
    struct page_change pages[PAGES_MAX];
    struct entry_change entries[ENTRIES_MAX];
    unsigned int page_count, entry_count;
    bool everything; /* more than could be remembered */
};

struct world_changes *world_changes_create(void)
{
    struct world_changes *changes = calloc(1, sizeof(*changes));

    if (!changes)
        abort();
    return changes;
}

void world_changes_destroy(struct world_changes *changes)
{
    free(changes);
}

void world_changes_clear(struct world *world)
{
    memset(world->changes, 0, sizeof(*world->changes));
}

void world_unsettle(struct world *world)
{
    world->changes->everything = true;
}

bool world_is_settled(const struct world *world)
{
    const struct world_changes *changes = world->changes;

    return !changes->everything && !changes->page_count && !changes->entry_count;
}

static void add_page(struct world_changes *changes, const struct page_change *page)
{
    for (unsigned int i = 0; i < changes->page_count; i++) {
        if (!memcmp(&changes->pages[i], page, sizeof(*page)))
            return;
    }
    if (changes->page_count == PAGES_MAX)
        changes->everything = true;
    else
        changes->pages[changes->page_count++] = *page;
}

static void add_entry(struct world_changes *changes, const struct entry_change *entry)
{
    if (changes->entry_count == ENTRIES_MAX)
        changes->everything = true;
    else
        changes->entries[changes->entry_count++] = *entry;
}

/* Looking for a quadword in a page table */

struct search {
    struct world *world;
    const struct oracle_entry *entry;
    uint64_t gpa, value; /* that is going to be stored; gpa 0: nothing */
    bool first;
    unsigned int visits;
};

static unsigned int shift_of(unsigned int level)
{
    return 12 + 9 * (level - 1);
}

static bool points_to_table(uint64_t value, unsigned int level, bool first)
{
    return (value & (first ? 1 : 3)) && level > 1 && !(value >> 7 & 1);
}

static void found(struct search *search, uint64_t base, unsigned int level, uint64_t old)
{
    struct page_change page;

    memset(&page, 0, sizeof(page)); /* compared as bytes */
    page.first = search->first;
    page.leaf = !points_to_table(old, level, search->first) &&
                !points_to_table(search->value, level, search->first);
    page.domain = search->entry->domain;
    page.pasid = search->first ? search->entry->pasid : 0;
    page.log2 = shift_of(level);
    page.base = base;
    if (search->first && (base >> (11 + 9 * search->entry->first_levels) & 1))
        page.base |= ~UINT64_C(0) << (12 + 9 * search->entry->first_levels);
    add_page(search->world->changes, &page);
}

static void visit(struct search *search, uint64_t table, unsigned int level, uint64_t base)
{
    const struct oracle *oracle = &search->world->oracle;
    const uint64_t *words;

    if (search->visits++ == VISITS_MAX) {
        search->world->changes->everything = true;
        return;
    }
    if (search->visits > VISITS_MAX)
        return;
    if (search->first && search->entry->pgtt == 3 &&
        !oracle_second(oracle, search->entry, table, &table))
        return;
    words = (const uint64_t *)oracle_memory(oracle, table, 4096, NULL);
    if (!words)
        return;
    *world_usage(search->world, table) |= WORLD_TABLE;
    if (search->gpa && (search->gpa & ~UINT64_C(0xfff)) == table)
        found(search, base + ((search->gpa & 0xfff) / 8 << shift_of(level)), level,
              words[(search->gpa & 0xfff) / 8]);
    for (uint64_t i = 0; i < 512; i++) {
        if (words[i] && points_to_table(words[i], level, search->first))
            visit(search, words[i] & UINT64_C(0xffffffffff000), level - 1,
                  base + (i << shift_of(level)));
    }
}

static void search_tables(struct world *world, const struct oracle_entry *entry, uint64_t gpa,
                          uint64_t value)
{
    struct search search = {world, entry, gpa, value, true, 0};

    if (entry->pgtt == 1 || entry->pgtt == 3)
        visit(&search, entry->first_root, entry->first_levels, 0);
    search.first = false;
    search.visits = 0;
    if (entry->pgtt == 2 || entry->pgtt == 3)
        visit(&search, entry->second_root, entry->second_levels, 0);
}

/* Is it an entry on the way to a page table? Root and context are the first two that are read. */
static bool search_entries(struct world *world, uint16_t requester, uint32_t pasid,
                           const struct oracle_entry *entry, uint64_t gpa)
{
    struct entry_change change = {.requester = requester, .request_pasid = pasid};

    for (unsigned int i = 0; i < entry->reads; i++) {
        if (gpa < entry->read[i].gpa || gpa >= entry->read[i].gpa + entry->read[i].size)
            continue;
        change.context = i < 2;
        change.valid = !entry->reason;
        change.pgtt = entry->pgtt;
        change.domain = entry->domain;
        change.pasid = entry->pasid;
        add_entry(world->changes, &change);
        return true;
    }
    return false;
}

static const uint16_t requesters[] = {WORLD_EMULATED, WORLD_ASSIGNED};

void world_changes_note(struct world *world, uint64_t gpa, uint64_t value)
{
    struct oracle_entry entry;

    for (size_t i = 0; i < 2 && world->oracle.enabled && !world->changes->everything; i++) {
        for (size_t j = 0; j < world_pasid_count; j++) {
            oracle_find(&world->oracle, requesters[i], world_pasids[j], 0, &entry);
            search_entries(world, requesters[i], world_pasids[j], &entry, gpa);
            if (!entry.reason)
                search_tables(world, &entry, gpa, value);
        }
    }
}

static void mark_entries(struct world *world, const struct oracle_entry *entry)
{
    for (unsigned int i = 0; i < entry->reads; i++) {
        uint8_t *usage = world_usage(world, entry->read[i].gpa);

        if (usage)
            *usage |= WORLD_STRUCTURE;
    }
}

void world_look_at_tables(struct world *world)
{
    struct oracle_entry entry;

    memset(world->usage, 0, sizeof(world->usage));
    for (size_t i = 0; i < 2 && world->oracle.enabled; i++) {
        for (size_t j = 0; j < world_pasid_count; j++) {
            oracle_find(&world->oracle, requesters[i], world_pasids[j], 0, &entry);
            mark_entries(world, &entry);
            if (!entry.reason)
                search_tables(world, &entry, 0, 0);
        }
    }
}

/* The queue */

void world_queue_start(struct world *world)
{
    world_command(world, QIE, 0);
    viommu_mmio_write(world->unit, IQT, 8, 0);
    viommu_mmio_write(world->unit, IQA, 8, WORLD_QUEUE | (world->scalable ? 1 << 11 : 0));
    viommu_mmio_write(world->unit, FSTS, 4, 0x70); /* IQE, ICE, ITE */
    world_command(world, 0, QIE);
    world->queue_tail = 0;
}

/* What lies in the queue's pages is read by requests like all else: the copy has it, too. */
static void copy_too(struct world *world, uint64_t gpa, uint64_t size)
{
    memcpy(oracle_memory(&world->oracle, gpa, size, NULL), world_at(world, gpa), size);
}

void world_submit(struct world *world, uint64_t qw0, uint64_t qw1)
{
    uint64_t *at = (uint64_t *)world_at(world, WORLD_QUEUE + world->queue_tail);
    unsigned int size = world->scalable ? 32 : 16;

    memset(at, 0, size);
    at[0] = qw0;
    at[1] = qw1;
    copy_too(world, WORLD_QUEUE + world->queue_tail, size);
    world->queue_tail = (world->queue_tail + size) % 4096;
    viommu_mmio_write(world->unit, IQT, 8, world->queue_tail);
}

static bool wait_is_done(struct world *world)
{
    uint32_t status;

    memcpy(&status, world_at(world, WORLD_STATUS), sizeof(status));
    copy_too(world, WORLD_STATUS, sizeof(status));
    return status == world->waits;
}

/* 6.5.2.9: it is not done before the devices have answered. */
bool world_wait(struct world *world)
{
    world_submit(world, 5 | 1 << 5 | (uint64_t)++world->waits << 32, WORLD_STATUS);
    if (world->tag_count && wait_is_done(world))
        world_disagree(world, "a wait is done that %u device TLBs have not answered",
                       world->tag_count);
    world_answer(world);
    return wait_is_done(world);
}

/* Invalidations (6.5.2); granularities as in the descriptors. */

static void context(struct world *world, unsigned int granularity, uint16_t domain,
                    uint16_t requester)
{
    world_submit(world, 1 | granularity << 4 | (uint64_t)domain << 16 | (uint64_t)requester << 32,
                 0);
}

static void pasid_cache(struct world *world, unsigned int granularity, uint16_t domain,
                        uint32_t pasid)
{
    world_submit(world, 7 | granularity << 4 | (uint64_t)domain << 16 | (uint64_t)pasid << 32, 0);
}

static void iotlb(struct world *world, unsigned int granularity, uint16_t domain, uint64_t pages)
{
    world_submit(world, 2 | granularity << 4 | (uint64_t)domain << 16, pages);
}

static void piotlb(struct world *world, unsigned int granularity, uint16_t domain, uint32_t pasid,
                   uint64_t pages)
{
    world_submit(world, 6 | granularity << 4 | (uint64_t)domain << 16 | (uint64_t)pasid << 32,
                 pages);
}

static bool is_legacy(const struct world *world)
{
    return (world->oracle.rtaddr >> 10 & 3) == 0;
}

static void settle_everything(struct world *world)
{
    context(world, 1, 0, 0);
    if (!is_legacy(world))
        pasid_cache(world, 3, 0, 0);
    iotlb(world, 1, 0, 0);
}

/* What was cached of it: by the old domain; what was not there before: by the new one, as caching
 * mode wants it. */
static void settle_pasid_entry(struct world *world, const struct entry_change *change)
{
    struct oracle_entry now;

    if (change->valid) {
        pasid_cache(world, 1, change->domain, change->pasid);
        if (change->pgtt == 1)
            piotlb(world, 2, change->domain, change->pasid, 0);
        else
            iotlb(world, 2, change->domain, 0);
    }
    oracle_find(&world->oracle, change->requester, change->request_pasid, 0, &now);
    if (!now.reason)
        pasid_cache(world, 1, now.domain, now.pasid);
}

static void settle_entry(struct world *world, const struct entry_change *change)
{
    if (is_legacy(world)) {
        context(world, 3, change->domain, change->requester);
        if (change->valid)
            iotlb(world, 2, change->domain, 0);
    } else if (change->context) {
        context(world, 3, 0, change->requester);
        pasid_cache(world, 3, 0, 0);
        iotlb(world, 1, 0, 0);
    } else {
        settle_pasid_entry(world, change);
    }
}

/* how 1: by domain, 2: by PASID, where there is one, 3: by pages, 4: with the leaf hint. */
static void settle_page(struct world *world, const struct page_change *page, uint64_t how)
{
    uint64_t pages = page->base | (page->log2 - 12) | (how == 4 && page->leaf ? 1 << 6 : 0);

    if (how == 1)
        iotlb(world, 2, page->domain, 0);
    else if (page->first && (how == 2 || page->log2 > 48))
        piotlb(world, 2, page->domain, page->pasid, 0);
    else if (page->first)
        piotlb(world, 3, page->domain, page->pasid, pages);
    else if (how == 2 || page->log2 > 12 + MAMV)
        iotlb(world, 2, page->domain, 0);
    else
        iotlb(world, 3, page->domain, pages);
}

/* how 5, legacy mode: by the registers (11.4.6), which the queue must be off for. */
static void settle_registers(struct world *world)
{
    uint64_t iotlb_reg = (world->oracle.ecap >> 8 & 0x3ff) * 16 + 8;

    world_command(world, QIE, 0);
    viommu_mmio_write(world->unit, CCMD, 8, UINT64_C(1) << 63 | UINT64_C(1) << 61);
    viommu_mmio_write(world->unit, iotlb_reg, 8, UINT64_C(1) << 63 | UINT64_C(1) << 60);
    world_queue_start(world);
}

static void announce(struct world *world, uint64_t how)
{
    struct world_changes *changes = world->changes;

    if (how == 5 && is_legacy(world)) {
        settle_registers(world);
    } else if (changes->everything || how == 0 || how >= 5) {
        settle_everything(world);
    } else {
        for (unsigned int i = 0; i < changes->entry_count; i++)
            settle_entry(world, &changes->entries[i]);
        for (unsigned int i = 0; i < changes->page_count; i++)
            settle_page(world, &changes->pages[i], how);
    }
}

/* The reserved translation table mode stops the queue; there and in abort mode no table counts. */
bool world_settle(struct world *world, uint64_t how)
{
    unsigned int ttm = world->oracle.rtaddr >> 10 & 3;

    if (world_is_settled(world) && !world_memory_agrees(world))
        return false;
    if (ttm < 2) {
        if (!world_wait(world))
            world_queue_start(world); /* a descriptor of the case stopped it */
        announce(world, how);
        if (!world_wait(world))
            return world_disagree(world, "the queue does not complete the wait: %s", world->log);
    }
    world_changes_clear(world);
    world_copy_memory(world);
    world_look_at_tables(world);
    return !world->failure[0] && world_check_translations(world);
}
