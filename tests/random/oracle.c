/* SPDX-License-Identifier: MIT */
/* Root to PASID entry (VT-d 5.0, chapter 9). */
#include "oracle.h"

#include <string.h>

#include "oracle_bits.h"
#include "oracle_walk.h"

uint8_t *oracle_memory(const struct oracle *oracle, uint64_t gpa, uint64_t size, bool *readonly)
{
    for (size_t i = 0; i < oracle->memory_count; i++) {
        const struct oracle_memory *range = &oracle->memory[i];

        if (gpa >= range->gpa && gpa - range->gpa < range->size &&
            size <= range->size - (gpa - range->gpa)) {
            if (readonly)
                *readonly = range->readonly;
            return range->bytes + (gpa - range->gpa);
        }
    }
    return NULL;
}

bool oracle_load(const struct oracle *oracle, uint64_t gpa, uint64_t *value)
{
    const uint8_t *at = oracle_memory(oracle, gpa, 8, NULL);

    if (!at)
        return false;
    memcpy(value, at, 8);
    return true;
}

static bool load(const struct oracle *oracle, struct oracle_entry *entry, uint64_t gpa,
                 uint64_t *words, unsigned int count)
{
    entry->read[entry->reads].gpa = gpa;
    entry->read[entry->reads++].size = count * 8;
    for (unsigned int i = 0; i < count; i++) {
        if (!oracle_load(oracle, gpa + i * 8, &words[i]))
            return false;
    }
    return true;
}

static uint64_t beyond_haw(const struct oracle *oracle)
{
    return ~(uint64_t)0 << oracle->haw;
}

static bool width_exists(const struct oracle *oracle, unsigned int aw)
{
    return aw <= 4 && bit(bits(oracle->cap, 12, 8), aw);
}

/* Bits of the domain-ID field beyond CAP.ND. */
static bool domain_too_wide(const struct oracle *oracle, uint64_t domain)
{
    return domain >> (4 + 2 * bits(oracle->cap, 2, 0)) != 0;
}

/* 9.1, 9.3 */
static uint8_t find_legacy(const struct oracle *oracle, uint16_t requester, uint32_t pasid,
                           uint8_t type, struct oracle_entry *entry)
{
    uint64_t root[2], context[2], table = bits(oracle->rtaddr, oracle->haw - 1, 12) << 12;
    unsigned int tt;

    entry->legacy = true;
    if (type == ORACLE_PAGE_REQUEST)
        return 0x32;
    if (pasid != ORACLE_NO_PASID)
        return 0x31;
    if (!load(oracle, entry, table + (requester >> 8) * 16, root, 2))
        return 0x08;
    if (!bit(root[0], 0))
        return 0x01;
    if (bits(root[0], 11, 1) || (root[0] & beyond_haw(oracle)) || root[1])
        return 0x0a;
    if (!load(oracle, entry, (bits(root[0], 63, 12) << 12) + (requester & 0xff) * 16, context, 2))
        return 0x09;
    entry->fault_disable = bit(context[0], 1);
    if (!bit(context[0], 0))
        return 0x02;
    tt = bits(context[0], 3, 2);
    if (bits(context[0], 11, 4) || bit(context[1], 7) || bits(context[1], 63, 24) ||
        domain_too_wide(oracle, bits(context[1], 23, 8)) ||
        (tt != 2 && (context[0] & beyond_haw(oracle))))
        return 0x0b;
    if (!width_exists(oracle, bits(context[1], 2, 0)) || tt == 3 ||
        (tt == 1 && !bit(oracle->ecap, 2)) || (tt == 2 && !bit(oracle->ecap, 6)))
        return 0x03;
    if (tt != 1 && type != 0)
        return 0x0d;
    entry->pgtt = tt == 2 ? 4 : 2;
    entry->domain = bits(context[1], 23, 8);
    entry->second_root = bits(context[0], 63, 12) << 12;
    entry->second_levels = bits(context[1], 2, 0) + 2;
    return 0;
}

/* 9.4: what a context entry may not hold. */
static bool context_reserved(const struct oracle *oracle, const uint64_t *context)
{
    uint64_t ecap = oracle->ecap;

    return (context[0] & beyond_haw(oracle)) || bits(context[0], 8, 5) ||
           (bit(context[0], 2) && !bit(ecap, 2)) || (bit(context[0], 3) && !bit(ecap, 40)) ||
           (bit(context[0], 4) && !bit(ecap, 29)) || bits(context[1], 63, 21) ||
           (bits(context[1], 19, 0) && !bit(ecap, 49)) || (bit(context[1], 20) && !bit(ecap, 53)) ||
           context[2] || context[3];
}

/* SCT.4 to SCT.9, SGN.10: whether this request may use the context entry, and as which PASID. */
static uint8_t admit(const struct oracle *oracle, const uint64_t *context, uint32_t pasid,
                     uint8_t type, struct oracle_entry *entry)
{
    uint64_t directory = (uint64_t)1 << (7 + bits(context[0], 11, 9)); /* entries of 64 PASIDs */
    uint32_t rid_pasid = bits(context[1], 19, 0);

    if ((bit(context[0], 4) && !bit(context[0], 2)) || rid_pasid / 64 >= directory)
        return 0x43;
    if (!bit(context[0], 4) && type == ORACLE_PAGE_REQUEST)
        return 0x47;
    if (!bit(context[0], 2) && type != 0)
        return 0x44;
    entry->pasid = rid_pasid;
    entry->rid_privileged = bit(context[1], 20);
    if (pasid == ORACLE_NO_PASID)
        return 0;
    if (!bit(context[0], 3))
        return 0x45;
    if (pasid / 64 >= directory)
        return 0x46;
    if (pasid == rid_pasid)
        return 0x48;
    if (pasid >> (bits(oracle->ecap, 39, 35) + 1))
        return 0x89;
    entry->pasid = pasid;
    return 0;
}

/* 9.6: reserved bits, and fields of what the unit does not have. */
static bool pasid_reserved(const struct oracle *oracle, const uint64_t *word)
{
    uint64_t ecap = oracle->ecap;

    if (bit(word[0], 5) || bits(word[0], 11, 10) || (word[0] & beyond_haw(oracle)) ||
        bits(word[1], 22, 16) || bits(word[1], 63, 25) || bits(word[2], 11, 8) ||
        (word[2] & beyond_haw(oracle)) || domain_too_wide(oracle, bits(word[1], 15, 0)))
        return true;
    if (word[3] || word[4] || word[5] || word[6] || word[7])
        return true;
    return (bits(word[0], 63, 12) && !bit(ecap, 46)) || (bit(word[0], 9) && !bit(ecap, 45)) ||
           (bit(word[1], 23) && !bit(ecap, 48)) || (bit(word[1], 24) && !bit(ecap, 7)) ||
           (bit(word[2], 0) && !bit(ecap, 31)) || (bit(word[2], 1) && !bit(ecap, 30)) ||
           ((bit(word[2], 4) || bits(word[2], 63, 12)) && !bit(ecap, 47)) ||
           (bit(word[2], 7) && !bit(ecap, 34));
}

/* SPT.4: what the translation type needs. */
static uint8_t pasid_fields(const struct oracle *oracle, const uint64_t *word,
                            struct oracle_entry *entry)
{
    unsigned int pgtt = bits(word[0], 8, 6), aw = bits(word[0], 4, 2), fspm = bits(word[2], 3, 2);
    bool first = pgtt == 1 || pgtt == 3, second = pgtt == 2 || pgtt == 3;

    if (pgtt == 0 || pgtt > 4 || (pgtt == 1 && !bit(oracle->ecap, 47)) ||
        (pgtt == 2 && !bit(oracle->ecap, 46)) || (pgtt == 3 && !bit(oracle->ecap, 26)) ||
        (pgtt == 4 && !bit(oracle->ecap, 6)))
        return 0x5b;
    if (second && !width_exists(oracle, aw))
        return 0x5b;
    if (first && fspm != 0 && !(fspm == 1 && bit(oracle->cap, 60)))
        return 0x5b;
    entry->pgtt = pgtt;
    entry->domain = bits(word[1], 15, 0);
    entry->first_root = bits(word[2], 63, 12) << 12;
    entry->first_levels = 4 + fspm;
    entry->second_root = bits(word[0], 63, 12) << 12;
    entry->second_levels = aw + 2;
    entry->ssade = second && bit(word[0], 9);
    entry->pwsnp = bit(word[1], 23);
    entry->pgsnp = bit(word[1], 24);
    entry->sre = bit(word[2], 0);
    entry->ere = bit(word[2], 1);
    entry->wpe = bit(word[2], 4);
    entry->nxe = bit(word[2], 5);
    entry->smep = bit(word[2], 6);
    entry->eafe = bit(word[2], 7);
    if (pgtt == 3 && entry->first_root >> oracle_second_width(oracle, entry->second_levels))
        return 0x5b;
    return 0;
}

/* 9.2, 9.4, 9.5, 9.6 */
static uint8_t find_scalable(const struct oracle *oracle, uint16_t requester, uint32_t pasid,
                             uint8_t type, struct oracle_entry *entry)
{
    uint64_t root, context[4], directory, word[8];
    uint64_t table = bits(oracle->rtaddr, oracle->haw - 1, 12) << 12;
    uint8_t devfn = requester & 0xff, reason;

    if (!load(oracle, entry, table + (requester >> 8) * 16 + (devfn >= 128 ? 8 : 0), &root, 1))
        return 0x38;
    if (!bit(root, 0))
        return 0x39;
    if (bits(root, 11, 1) || (root & beyond_haw(oracle)))
        return 0x3a;
    if (!load(oracle, entry, (bits(root, 63, 12) << 12) + devfn % 128 * 32, context, 4))
        return 0x40;
    entry->fault_disable = bit(context[0], 1);
    if (!bit(context[0], 0))
        return 0x41;
    if (context_reserved(oracle, context))
        return 0x42;
    reason = admit(oracle, context, pasid, type, entry);
    /* What was translated already, and what asks for pages, goes by the context entry alone. */
    if (reason || type == ORACLE_TRANSLATED || type == ORACLE_PAGE_REQUEST)
        return reason;
    if (!load(oracle, entry, (bits(context[0], 63, 12) << 12) + entry->pasid / 64 * 8, &directory,
              1))
        return 0x50;
    entry->fault_disable |= bit(directory, 1);
    if (!bit(directory, 0))
        return 0x51;
    if (bits(directory, 11, 2) || (directory & beyond_haw(oracle)))
        return 0x52;
    if (!load(oracle, entry, (bits(directory, 63, 12) << 12) + entry->pasid % 64 * 64, word, 8))
        return 0x58;
    entry->fault_disable |= bit(word[0], 1);
    if (!bit(word[0], 0))
        return 0x59;
    if (pasid_reserved(oracle, word))
        return 0x5a;
    return pasid_fields(oracle, word, entry);
}

void oracle_find(const struct oracle *oracle, uint16_t requester, uint32_t pasid, uint8_t type,
                 struct oracle_entry *entry)
{
    unsigned int ttm = bits(oracle->rtaddr, 11, 10);

    memset(entry, 0, sizeof(*entry));
    if (ttm == 0)
        entry->reason = find_legacy(oracle, requester, pasid, type, entry);
    else if (ttm == 1 && bit(oracle->ecap, 43))
        entry->reason = find_scalable(oracle, requester, pasid, type, entry);
    else
        entry->reason = ttm == 3 && bit(oracle->ecap, 52) ? 0x33 : 0x30;
}
