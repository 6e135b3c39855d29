/* SPDX-License-Identifier: MIT */
/*
 * The way from the root table to a page, word by word, as the sanitizer remembers it.
 *
 * This is a second walk, next to the one that translates: it judges nothing and marks nothing, and
 * costs only who sanitizes. The guest may change a table between the two; so the caller compares
 * where they lead, and remembers nothing when they disagree.
 */
#include <string.h>

#include "dma/walk.h"
#include "model/vtd/register_map.h"
#include "model/vtd/sanitizer.h"
#include "model/vtd/tables.h"

#define PAGING_ADDRESS GENMASK64(51, 12)
#define PAGING_LEAF    BIT64(7)
#define LEAF_LEVEL_MAX 3

struct reader {
    const struct vtd *vtd;
    struct sanitize_chain *chain;
};

/* Read so many words in one go, and remember each. */
static bool read_words(const struct reader *reader, uint64_t address, enum sanitize_word first,
                       unsigned int count, uint64_t *words)
{
    struct sanitize_chain *chain = reader->chain;

    if (chain->count + count > SANITIZE_LINKS_MAX) {
        chain->overflow = true;
        return false;
    }
    if (!walk_read(reader->vtd->options.memory, address, words, count))
        return false;
    for (unsigned int i = 0; i < count; i++)
        chain->links[chain->count++] = (struct sanitize_link){
            .address = address + i * sizeof(*words),
            .value = words[i],
            .word = (uint8_t)(first + i),
        };
    return true;
}

static bool read_structure(const struct reader *reader, uint64_t address, enum sanitize_word first,
                           unsigned int count, uint64_t *words)
{
    return read_words(reader, address, first, count, words) && words[0] & VTD_ENTRY_P;
}

static bool read_legacy(const struct reader *reader, uint64_t root, uint16_t requester_id)
{
    uint64_t words[2];

    if (!read_structure(reader, root + (requester_id >> 8) * VTD_ROOT_SIZE, WORD_ROOT, 1, words) ||
        !read_structure(reader,
                        (words[0] & VTD_ENTRY_POINTER) + (requester_id & 0xff) * VTD_CONTEXT_SIZE,
                        WORD_CONTEXT_0, 2, words))
        return false;
    reader->chain->context_count = reader->chain->entry_count = reader->chain->count;
    return true;
}

static bool read_scalable(const struct reader *reader, uint64_t root, uint16_t requester_id,
                          uint32_t pasid)
{
    struct sanitize_chain *chain = reader->chain;
    uint8_t devfn = requester_id & 0xff;
    uint64_t words[3];

    if (!read_structure(
            reader, root + (requester_id >> 8) * VTD_ROOT_SIZE + (devfn >> 7) * VTD_SM_ROOT_HALF,
            WORD_ROOT, 1, words) ||
        !read_structure(reader,
                        (words[0] & VTD_ENTRY_POINTER) + (devfn & 0x7f) * VTD_SM_CONTEXT_SIZE,
                        WORD_SM_CONTEXT_0, 2, words))
        return false;
    chain->context_count = chain->count;
    if (pasid == VIOMMU_PASID_NONE)
        pasid = (uint32_t)field_get(VTD_SM_CONTEXT_RID_PASID, words[1]);
    if (!read_structure(reader, (words[0] & VTD_ENTRY_POINTER) + (pasid >> 6) * VTD_PDE_SIZE,
                        WORD_PDE, 1, words) ||
        !read_structure(reader, (words[0] & VTD_ENTRY_POINTER) + (pasid & 0x3f) * VTD_PASID_SIZE,
                        WORD_PASID_0, 3, words))
        return false;
    chain->entry_count = chain->count;
    return true;
}

/* One entry of a table; its value, or 0. */
static uint64_t read_paging(const struct reader *reader, uint64_t address, enum sanitize_word word,
                            unsigned int level)
{
    uint64_t value;

    if (!read_words(reader, address, word, 1, &value))
        return 0;
    reader->chain->links[reader->chain->count - 1].level = (uint8_t)level;
    return value;
}

static unsigned int shift_of(unsigned int level)
{
    return 12 + 9 * (level - 1);
}

static uint64_t entry_at(uint64_t table, uint64_t input, unsigned int level)
{
    return table + (input >> shift_of(level) & low_bits(9)) * sizeof(uint64_t);
}

static bool is_leaf(uint64_t value, unsigned int level)
{
    return level == 1 || (level <= LEAF_LEVEL_MAX && value & PAGING_LEAF);
}

static uint64_t page_of(uint64_t value, uint64_t input, unsigned int level)
{
    uint64_t within = low_bits(shift_of(level));

    return (value & PAGING_ADDRESS & ~within) | (input & within);
}

/* Through the second stage; *granted loses what it does not permit. The level of the leaf, or 0. */
static unsigned int through_second(const struct reader *reader, uint64_t input, uint64_t *output,
                                   uint8_t *granted)
{
    const struct vtd_entry *entry = &reader->chain->entry;
    uint64_t table = entry->second_root;

    for (unsigned int level = entry->second_levels; level; level--) {
        uint64_t value = read_paging(reader, entry_at(table, input, level), WORD_SECOND, level);

        *granted &= (uint8_t)value; /* R and W are bits 0 and 1 here and there */
        if (!(value & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)))
            return 0;
        if (is_leaf(value, level)) {
            *output = page_of(value, input, level);
            return level;
        }
        table = value & PAGING_ADDRESS;
    }
    return 0;
}

/* Where an entry of the first stage lies in memory. */
static bool locate(const struct reader *reader, uint64_t address, uint64_t *where)
{
    uint8_t granted = VIOMMU_DMA_READ;

    *where = address;
    return reader->chain->entry.pgtt != VTD_PGTT_NESTED ||
           through_second(reader, address, where, &granted);
}

static unsigned int through_first(const struct reader *reader, uint64_t input, uint64_t *output,
                                  uint8_t *granted)
{
    const struct vtd_entry *entry = &reader->chain->entry;
    uint64_t table = entry->first_root, where;

    for (unsigned int level = entry->first_levels; level; level--) {
        uint64_t value = 0;

        if (locate(reader, entry_at(table, input, level), &where))
            value = read_paging(reader, where, WORD_FIRST, level);
        if (!(value & BIT64(0)))
            return 0;
        if (!(value & BIT64(1)))
            *granted &= (uint8_t)~VIOMMU_DMA_WRITE;
        if (is_leaf(value, level)) {
            *output = page_of(value, input, level);
            return level;
        }
        table = value & PAGING_ADDRESS;
    }
    return 0;
}

/* The entry was read a second time to reduce it: is it the same? */
static bool entry_matches(const struct sanitize_chain *chain)
{
    unsigned int words = chain->entry.legacy ? 2 : 3;

    if (chain->entry.reason || chain->entry_count < words)
        return false;
    for (unsigned int i = 0; i < words; i++)
        if (chain->links[chain->entry_count - words + i].value != chain->entry.raw[i])
            return false;
    return true;
}

static void read_pages(const struct reader *reader, uint64_t address)
{
    struct sanitize_chain *chain = reader->chain;
    unsigned int level = 0;

    chain->permissions = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    chain->gpa = address;
    if (chain->entry.pgtt == VTD_PGTT_PASS_THROUGH) {
        chain->page_log2 = 63;
        chain->complete = true;
        return;
    }
    if (chain->entry.pgtt == VTD_PGTT_SECOND)
        level = through_second(reader, address, &chain->gpa, &chain->permissions);
    else
        level = through_first(reader, address, &chain->gpa, &chain->permissions);
    if (!level || (chain->entry.pgtt == VTD_PGTT_NESTED &&
                   !through_second(reader, chain->gpa, &chain->gpa, &chain->permissions)))
        return;
    chain->page_log2 = (uint8_t)shift_of(level);
    chain->complete = !chain->overflow;
}

bool sanitize_chain_read(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid,
                         uint64_t address, struct sanitize_chain *chain)
{
    const struct reader reader = {vtd, chain};
    uint64_t state = __atomic_load_n(&vtd->translation, __ATOMIC_ACQUIRE);
    uint64_t root = state & VTD_ENTRY_POINTER & low_bits(vtd->options.host_address_width);
    bool found = false;

    chain->count = chain->context_count = chain->entry_count = 0;
    chain->complete = chain->overflow = false;
    if (!(state & VTD_TRANSLATION_ENABLED))
        return false;
    if (field_get(VTD_TTM_MASK, state) == VTD_TTM_LEGACY)
        found = pasid == VIOMMU_PASID_NONE && read_legacy(&reader, root, requester_id);
    else if (field_get(VTD_TTM_MASK, state) == VTD_TTM_SCALABLE)
        found = read_scalable(&reader, root, requester_id, pasid);
    vtd_entry_find(vtd, state, requester_id, pasid, &chain->entry);
    if (found && entry_matches(chain))
        read_pages(&reader, address);
    return chain->context_count > 0;
}
