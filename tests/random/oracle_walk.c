/* SPDX-License-Identifier: MIT */
/* Page tables (VT-d 5.0, 3.6 first stage, 3.7 second stage, 3.8 nested; 9.7, 9.8 their entries). */
#include "oracle_walk.h"

#include <string.h>

#include "oracle_bits.h"

static unsigned int shift_of(unsigned int level)
{
    return 12 + 9 * (level - 1);
}

static uint64_t below(unsigned int n)
{
    return ((uint64_t)1 << n) - 1;
}

unsigned int oracle_second_width(const struct oracle *oracle, unsigned int levels)
{
    unsigned int agaw = 12 + 9 * levels, mgaw = bits(oracle->cap, 21, 16) + 1;

    return agaw < mgaw ? agaw : mgaw;
}

/* What a walk of one stage came to. */
struct page {
    uint8_t reason; /* 0: the rest is valid */
    /* Of a second stage that is walked for a first: */
    bool no_read, no_write;
    uint64_t gpa; /* of the address itself */
    unsigned int shift;
    uint8_t permissions;
    bool snooped; /* SNP of a second stage's leaf */
};

struct walk {
    const struct oracle *oracle;
    const struct oracle_entry *entry;
    uint8_t access; /* of the request */
    bool dry;       /* set no bits */
    struct oracle_answer *answer;
};

static void meet(const struct walk *walk, uint64_t where, unsigned int stage)
{
    if (walk->oracle->met)
        walk->oracle->met(walk->oracle->met_opaque, where, stage);
}

/* Set bits in an entry of the copy. Returns a fault reason, chosen by the stage. */
static uint8_t set_bits(struct walk *walk, uint64_t where, uint64_t wanted, bool writable,
                        const uint8_t reasons[3])
{
    uint64_t value;
    bool readonly = false;
    uint8_t *at = oracle_memory(walk->oracle, where, 8, &readonly);

    memcpy(&value, at, 8);
    if ((value & wanted) == wanted)
        return 0;
    if (!walk->entry->pwsnp) {
        walk->answer->not_for_host = true;
        return reasons[0];
    }
    if (!writable)
        return reasons[1];
    if (readonly)
        return reasons[2];
    value |= wanted;
    if (walk->dry)
        return 0;
    memcpy(at, &value, 8);
    if (walk->oracle->marked)
        walk->oracle->marked(walk->oracle->opaque, where);
    return 0;
}

/* Reserved in a second-stage entry: address bits, IW, SNP where it means nothing, page sizes. */
static bool second_reserved(const struct oracle *oracle, uint64_t value, unsigned int level)
{
    bool large = level > 1 && bit(value, 7), leaf = level == 1 || large;

    if (bits(value, 51, 12) >> (oracle->haw - 12) || bit(value, 62))
        return true;
    if (large && !((level == 2 && bit(oracle->cap, 34)) || (level == 3 && bit(oracle->cap, 35))))
        return true;
    if (large && bits(value, shift_of(level) - 1, 12))
        return true;
    return bit(value, 11) && !(leaf && bit(oracle->ecap, 7));
}

/* Legacy mode names by the direction what is not there; scalable mode has reasons of its own. */
static uint8_t second_absent(const struct walk *walk)
{
    if (!walk->entry->legacy)
        return 0x79;
    return walk->access & ORACLE_WRITE ? 0x05 : 0x06;
}

static uint8_t second_permit(const struct walk *walk, uint8_t access, uint64_t all,
                             struct page *page)
{
    bool legacy = walk->entry->legacy;

    page->permissions =
        (bit(all, 0) ? ORACLE_READ | ORACLE_EXECUTE : 0) | (bit(all, 1) ? ORACLE_WRITE : 0);
    if (!bit(all, 0) && !bit(all, 1))
        return second_absent(walk);
    if ((access & ORACLE_WRITE) && !bit(all, 1)) {
        page->no_write = true;
        return legacy ? 0x05 : 0x85;
    }
    if ((access & ORACLE_READ) && !bit(all, 0)) {
        page->no_read = true;
        return legacy ? 0x06 : 0x86;
    }
    if ((access & ORACLE_EXECUTE) && !bit(all, 0))
        return legacy ? 0x06 : 0x82;
    return 0;
}

/* One entry of the second stage: read and judged. */
static uint8_t second_entry(struct walk *walk, uint64_t where, unsigned int level, uint64_t *value)
{
    const struct oracle_entry *entry = walk->entry;

    meet(walk, where, 2);
    if (!oracle_load(walk->oracle, where, value)) {
        if (level == entry->second_levels)
            return entry->legacy ? 0x03 : 0x7b;
        return entry->legacy ? 0x07 : 0x78;
    }
    if (!bit(*value, 0) && !bit(*value, 1))
        return second_absent(walk);
    if (second_reserved(walk->oracle, *value, level))
        return entry->legacy ? 0x0c : 0x7a;
    return 0;
}

static void second_walk(struct walk *walk, uint64_t address, uint8_t access, struct page *page)
{
    static const uint8_t reasons[] = {0x7c, 0x7d, 0x7d};
    uint64_t table = walk->entry->second_root, all = ~(uint64_t)0, value, where, wanted;
    unsigned int level = walk->entry->second_levels;
    bool leaf;

    memset(page, 0, sizeof(*page));
    for (;; level--) {
        where = table + bits(address, shift_of(level) + 8, shift_of(level)) * 8;
        page->reason = second_entry(walk, where, level, &value);
        if (page->reason)
            return;
        all &= value;
        leaf = level == 1 || bit(value, 7);
        if (leaf)
            page->reason = second_permit(walk, access, all, page);
        if (page->reason)
            return;
        wanted = leaf && (access & ORACLE_WRITE) ? 0x300 : 0x100; /* A is bit 8, D bit 9 */
        if (walk->entry->ssade)
            page->reason = set_bits(walk, where, wanted, true, reasons);
        if (page->reason)
            return;
        if (leaf)
            break;
        table = bits(value, 51, 12) << 12;
    }
    walk->answer->not_for_host |=
        walk->entry->pgtt == 3 && (!bit(all, 1) || address >> 20 == 0xfee);
    page->snooped = bit(value, 11);
    page->shift = shift_of(level);
    page->gpa = (bits(value, 51, page->shift) << page->shift) | (address & below(page->shift));
    /* A write must find the dirty bit set, or set it. */
    if (walk->entry->ssade && !(access & ORACLE_WRITE) && !bit(value, 9))
        page->permissions &= ~ORACLE_WRITE;
}

bool oracle_second(const struct oracle *oracle, const struct oracle_entry *entry, uint64_t address,
                   uint64_t *gpa)
{
    struct oracle_answer answer = {.verdict = ORACLE_FAULT};
    struct walk walk = {oracle, entry, ORACLE_READ, true, &answer};
    struct page page;

    if (address >> oracle_second_width(oracle, entry->second_levels))
        return false;
    second_walk(&walk, address, ORACLE_READ, &page);
    *gpa = page.gpa;
    return !page.reason;
}

/* Find the memory of a first-stage entry; nested: through the second stage. */
static uint8_t first_fetch(struct walk *walk, uint64_t address, unsigned int level, uint64_t *where,
                           bool *writable, uint64_t *value)
{
    bool root = level == walk->entry->first_levels, readonly = false;
    struct page page = {.gpa = address, .permissions = ORACLE_READ | ORACLE_WRITE};

    if (walk->entry->pgtt == 3)
        second_walk(walk, address, ORACLE_READ | (walk->entry->ssade ? ORACLE_WRITE : 0), &page);
    if (page.no_read)
        return root ? 0x75 : 0x76;
    if (page.no_write)
        return 0x77;
    if (page.reason)
        return page.reason;
    *where = page.gpa;
    *writable = page.permissions & ORACLE_WRITE;
    meet(walk, *where, 1);
    if (!oracle_load(walk->oracle, *where, value))
        return root ? 0x73 : 0x70;
    oracle_memory(walk->oracle, *where, 8, &readonly);
    walk->answer->not_for_host |= readonly;
    return 0;
}

/* One entry by itself. */
static uint8_t first_judge(const struct walk *walk, uint64_t value, unsigned int level)
{
    const struct oracle *oracle = walk->oracle;
    bool large = level > 1 && bit(value, 7);

    if (!bit(value, 0))
        return 0x71;
    if (bits(value, 51, 12) >> (oracle->haw - 12))
        return 0x72;
    if (large && (level > 3 || (level == 3 && !bit(oracle->cap, 56)) ||
                  bits(value, shift_of(level) - 1, 13)))
        return 0x72;
    if (!(walk->access & ORACLE_PRIVILEGED) && !bit(value, 2))
        return 0x81;
    if (walk->entry->pgtt == 3 &&
        bits(value, 51, 12) << 12 >> oracle_second_width(oracle, walk->entry->second_levels))
        return 0x74;
    return 0;
}

static uint8_t first_permit(const struct walk *walk, uint64_t all, uint64_t any, uint8_t *permitted)
{
    bool privileged = walk->access & ORACLE_PRIVILEGED;
    bool execute =
        !(walk->entry->nxe && bit(any, 63)) && !(walk->entry->smep && privileged && bit(all, 2));
    bool write = bit(all, 1) || (privileged && !walk->entry->wpe);

    *permitted = ORACLE_READ | (write ? ORACLE_WRITE : 0) | (execute ? ORACLE_EXECUTE : 0);
    if ((walk->access & ORACLE_WRITE) && !write)
        return 0x85;
    if ((walk->access & ORACLE_EXECUTE) && !execute)
        return 0x82;
    return 0;
}

/* The page that the leaf names; nested: where the second stage puts it. */
static uint8_t first_final(struct walk *walk, uint64_t address, uint64_t value, unsigned int level,
                           struct page *page)
{
    unsigned int shift = shift_of(level);
    struct page second;

    page->shift = shift;
    page->gpa = (bits(value, 51, shift) << shift) | (address & below(shift));
    if (walk->entry->pgtt != 3)
        return 0;
    second_walk(walk, page->gpa, walk->access & (ORACLE_READ | ORACLE_WRITE), &second);
    if (second.reason)
        return second.reason;
    page->gpa = second.gpa;
    page->permissions &= second.permissions;
    page->snooped = second.snooped;
    if (second.shift < shift)
        page->shift = second.shift;
    return 0;
}

static void first_walk(struct walk *walk, uint64_t address, struct page *page)
{
    static const uint8_t reasons[] = {0x90, 0x77, 0x91};
    uint64_t table = walk->entry->first_root, all = ~(uint64_t)0, any = 0, value, where, wanted;
    unsigned int level = walk->entry->first_levels;
    bool leaf, writable;

    memset(page, 0, sizeof(*page));
    for (;; level--) {
        page->reason =
            first_fetch(walk, table + bits(address, shift_of(level) + 8, shift_of(level)) * 8,
                        level, &where, &writable, &value);
        if (!page->reason)
            page->reason = first_judge(walk, value, level);
        if (page->reason)
            return;
        all &= value;
        any |= value;
        leaf = level == 1 || bit(value, 7);
        if (leaf)
            page->reason = first_permit(walk, all, any, &page->permissions);
        if (leaf && !page->reason)
            page->reason = first_final(walk, address, value, level, page);
        if (page->reason)
            return;
        wanted = 0x20 | (walk->entry->eafe ? 0x400 : 0);
        if (leaf && (walk->access & ORACLE_WRITE))
            wanted |= 0x40;
        page->reason = set_bits(walk, where, wanted, writable, reasons);
        if (page->reason || leaf)
            break;
        table = bits(value, 51, 12) << 12;
    }
    if (!(walk->access & ORACLE_WRITE) && !bit(value, 6))
        page->permissions &= ~ORACLE_WRITE;
}

/* 3.6: the bits above the width repeat its highest one. */
static bool canonical(uint64_t address, unsigned int levels)
{
    uint64_t high = bits(address, 63, 11 + 9 * levels);

    return high == 0 || high == bits(~(uint64_t)0, 63, 11 + 9 * levels);
}

void oracle_walk(const struct oracle *oracle, const struct oracle_entry *entry,
                 const struct oracle_request *request, struct oracle_answer *answer)
{
    struct walk walk = {oracle, entry, request->access, oracle->dry, answer};
    struct page page = {0};

    if (entry->pgtt == 2) {
        if (request->address >> oracle_second_width(oracle, entry->second_levels))
            page.reason = entry->legacy ? 0x04 : 0x84;
        else
            second_walk(&walk, request->address, request->access, &page);
    } else if (!canonical(request->address, entry->first_levels)) {
        page.reason = 0x80;
    } else {
        first_walk(&walk, request->address, &page);
    }
    answer->verdict = page.reason ? ORACLE_FAULT : ORACLE_OK;
    answer->reason = page.reason;
    answer->gpa = page.gpa;
    answer->granule_log2 = page.shift;
    answer->permissions = page.permissions;
    if (entry->pgsnp || (page.snooped && entry->pgtt == 2))
        answer->flags = ORACLE_SNOOPED;
    answer->snp_unknown = page.snooped && entry->pgtt == 3;
}
