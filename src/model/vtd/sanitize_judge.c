/* SPDX-License-Identifier: MIT */
/*
 * A remembered way against memory: which word differs first, and what that means.
 *
 * Not everything that differs does harm. Accessed and dirty bits, bits that hardware ignores, a
 * permission that was added, another way to the same page: a cache that still holds the former
 * value answers as the table does, or faults where software expects it to (VT-d 5.0, 6.5.3.3).
 */
#include "dma/walk.h"
#include "model/vtd/sanitizer.h"
#include "model/vtd/tables.h"

/* The bits of a word that count. */
struct significance {
    uint64_t present;   /* any of these; 0: the first word of the structure says it */
    uint64_t way;       /* for what is cached of a page: where the way goes, what it grants */
    uint64_t structure; /* for a copy of the structure itself */
    uint64_t locked;    /* may change only while the entry is not present (6.5.3.3) */
};

#define CONTEXT_FIELDS (VTD_ENTRY_P | VTD_CONTEXT_TT | VTD_ENTRY_POINTER)
#define SM_CONTEXT_FIELDS                                                                          \
    (VTD_ENTRY_P | VTD_SM_CONTEXT_DTE | VTD_SM_CONTEXT_PASIDE | VTD_SM_CONTEXT_PRE |               \
     VTD_SM_CONTEXT_PDTS | VTD_ENTRY_POINTER)
#define PASID_0_WAY (VTD_ENTRY_P | VTD_PASID_AW | VTD_PASID_PGTT | VTD_ENTRY_POINTER)
#define PASID_2_WAY (VTD_PASID_FSPM | VTD_ENTRY_POINTER)
#define PAGE        GENMASK64(51, 12)
#define FIRST_BITS  (PAGE | BIT64(0) | BIT64(1) | BIT64(2) | BIT64(7) | BIT64(63))
#define SECOND_BITS (PAGE | BIT64(0) | BIT64(1) | BIT64(7))

static const struct significance significances[WORDS] = {
    [WORD_ROOT] = {VTD_ENTRY_P, VTD_ENTRY_P | VTD_ENTRY_POINTER, VTD_ENTRY_P | VTD_ENTRY_POINTER,
                   VTD_ENTRY_POINTER},
    [WORD_CONTEXT_0] = {VTD_ENTRY_P, CONTEXT_FIELDS, CONTEXT_FIELDS,
                        VTD_CONTEXT_TT | VTD_ENTRY_POINTER},
    [WORD_CONTEXT_1] = {0, VTD_CONTEXT_AW | VTD_CONTEXT_DID, VTD_CONTEXT_AW | VTD_CONTEXT_DID,
                        VTD_CONTEXT_AW | VTD_CONTEXT_DID},
    [WORD_SM_CONTEXT_0] = {VTD_ENTRY_P, VTD_ENTRY_P | VTD_ENTRY_POINTER, SM_CONTEXT_FIELDS,
                           VTD_ENTRY_POINTER},
    [WORD_SM_CONTEXT_1] = {0, VTD_SM_CONTEXT_RID_PASID,
                           VTD_SM_CONTEXT_RID_PASID | VTD_SM_CONTEXT_RID_PRIV,
                           VTD_SM_CONTEXT_RID_PASID},
    [WORD_PDE] = {VTD_ENTRY_P, VTD_ENTRY_P | VTD_ENTRY_POINTER, VTD_ENTRY_P | VTD_ENTRY_POINTER,
                  VTD_ENTRY_POINTER},
    [WORD_PASID_0] = {VTD_ENTRY_P, PASID_0_WAY, PASID_0_WAY | VTD_PASID_SSADE,
                      PASID_0_WAY & ~VTD_ENTRY_P},
    [WORD_PASID_1] = {0, VTD_PASID_DID, VTD_PASID_DID | VTD_PASID_PWSNP | VTD_PASID_PGSNP,
                      VTD_PASID_DID},
    [WORD_PASID_2] = {0, PASID_2_WAY,
                      PASID_2_WAY | VTD_PASID_SRE | VTD_PASID_ERE | VTD_PASID_WPE | VTD_PASID_NXE |
                          VTD_PASID_SMEP | VTD_PASID_EAFE,
                      PASID_2_WAY},
    [WORD_FIRST] = {BIT64(0), FIRST_BITS, 0, 0},
    [WORD_SECOND] = {BIT64(0) | BIT64(1), SECOND_BITS, 0, 0},
};

static uint64_t read_now(const struct vtd *vtd, const struct sanitize_link *link)
{
    uint64_t value;

    return walk_read(vtd->options.memory, link->address, &value, 1) ? value : 0;
}

static bool is_present(const struct sanitize_link *link, uint64_t value)
{
    uint64_t present = significances[link->word].present;

    return !present || value & present;
}

static bool is_paging(const struct sanitize_link *link)
{
    return link->word == WORD_FIRST || link->word == WORD_SECOND;
}

bool sanitize_same(const struct sanitize_link *link, uint64_t value)
{
    return !((link->value ^ value) & significances[link->word].way);
}

/* A page can only lose what it granted; what it gained does no harm. */
static bool only_grants(const struct sanitize_link *link, uint64_t now)
{
    uint64_t changed = (link->value ^ now) & significances[link->word].way;

    if (link->word == WORD_SECOND)
        return !(changed & ~(BIT64(0) | BIT64(1))) && !(changed & ~now);
    /* U and W are granted by being set, execution by XD being clear. */
    return !(changed & ~(BIT64(1) | BIT64(2) | BIT64(63))) &&
           !(changed & (BIT64(1) | BIT64(2)) & ~now) && !(changed & BIT64(63) & now);
}

static bool leads_elsewhere(const struct sanitize_link *link, uint64_t now)
{
    return (link->value ^ now) & (PAGE | BIT64(7));
}

/* Follow the tables as they are now. */
static enum sanitize_verdict walk_again(const struct vtd *vtd, const struct sanitize_record *record)
{
    struct sanitize_chain chain;

    if (!sanitize_chain_read(vtd, record->requester_id, record->request_pasid, record->address,
                             &chain) ||
        !chain.complete)
        return VERDICT_TAKEN;
    if (chain.gpa != record->gpa || chain.entry.domain != record->domain)
        return VERDICT_MOVED;
    return record->permissions & ~chain.permissions ? VERDICT_TAKEN : VERDICT_HARMLESS;
}

/*
 * The way does not go through here any more. Entries further down, in tables to which a cache may
 * still lead: do they hold something else, which was not meant for this way?
 */
static bool find_reused(const struct vtd *vtd, const struct sanitize_record *record,
                        struct sanitize_judgement *judgement)
{
    for (unsigned int i = judgement->link + 1; i < record->count; i++) {
        const struct sanitize_link *link = &record->links[i];
        uint64_t now;

        if (!is_paging(link) || !is_paging(&record->links[i - 1]) ||
            !(record->tables_kept >> (link->level + 1) & 1))
            continue;
        now = read_now(vtd, link);
        if (!is_present(link, now) || !leads_elsewhere(link, now))
            continue;
        *judgement = (struct sanitize_judgement){VERDICT_REUSED, i, now};
        return true;
    }
    return false;
}

static enum sanitize_verdict judge_way(const struct vtd *vtd, const struct sanitize_record *record,
                                       unsigned int index, uint64_t now)
{
    const struct sanitize_link *link = &record->links[index];

    if (!is_present(link, now))
        return VERDICT_TAKEN;
    if (is_paging(link) && only_grants(link, now))
        return VERDICT_HARMLESS;
    if (record->cache == CACHE_TABLES)
        return leads_elsewhere(link, now) || !is_paging(link) ? VERDICT_MOVED : VERDICT_TAKEN;
    if (is_paging(link) && !leads_elsewhere(link, now))
        return VERDICT_TAKEN; /* a permission */
    return walk_again(vtd, record);
}

/* Nothing was there. */
static void judge_absent(const struct vtd *vtd, const struct sanitize_record *record,
                         struct sanitize_judgement *judgement)
{
    unsigned int last = record->count - 1;
    struct sanitize_chain chain;

    *judgement = (struct sanitize_judgement){VERDICT_AGREES, last, 0};
    if (!sanitize_chain_read(vtd, record->requester_id, record->request_pasid, record->address,
                             &chain) ||
        !chain.complete || chain.count != record->count ||
        chain.links[last].address != record->links[last].address)
        return;
    judgement->verdict = VERDICT_MOVED;
    judgement->now = chain.links[last].value;
}

void sanitize_judge(const struct vtd *vtd, const struct sanitize_record *record,
                    struct sanitize_judgement *judgement)
{
    bool structure = record->cache == CACHE_CONTEXT || record->cache == CACHE_PASID;

    if (record->cache == CACHE_ABSENT) {
        judge_absent(vtd, record, judgement);
        return;
    }
    for (unsigned int i = 0; i < record->count; i++) {
        const struct sanitize_link *link = &record->links[i];
        const struct significance *counts = &significances[link->word];
        uint64_t now = read_now(vtd, link);

        if (!((link->value ^ now) & (structure ? counts->structure : counts->way)))
            continue;
        *judgement = (struct sanitize_judgement){VERDICT_TAKEN, i, now};
        if (!structure)
            judgement->verdict = judge_way(vtd, record, i, now);
        else if (is_present(link, now))
            judgement->verdict = VERDICT_MOVED;
        if (!structure && judgement->verdict != VERDICT_MOVED)
            find_reused(vtd, record, judgement);
        return;
    }
    *judgement = (struct sanitize_judgement){VERDICT_AGREES, 0, 0};
}

bool sanitize_rewritten(const struct vtd *vtd, const struct sanitize_record *record,
                        struct sanitize_judgement *judgement)
{
    bool found = false;

    for (unsigned int i = 0; i < record->count; i++) {
        const struct sanitize_link *link = &record->links[i];
        uint64_t now = read_now(vtd, link);

        if (!is_present(link, now))
            return false;
        if (found || !((link->value ^ now) & significances[link->word].locked))
            continue;
        *judgement = (struct sanitize_judgement){VERDICT_MOVED, i, now};
        found = true;
    }
    return found;
}
