/* SPDX-License-Identifier: MIT */
#include "atc.h"
#include <string.h>

static uint64_t page_of(uint64_t address)
{
    return address & ~(uint64_t)(VMM_ATC_PAGE_SIZE - 1);
}

/* Neighbouring pages go to neighbouring sets; PASIDs begin at different ones. */
static size_t set_of(uint32_t pasid, uint64_t page)
{
    return (page / VMM_ATC_PAGE_SIZE + pasid * 37u) % VMM_ATC_SETS;
}

static struct vmm_atc_entry *find(struct vmm_atc_entry *set, uint32_t pasid, uint64_t page)
{
    for (size_t way = 0; way < VMM_ATC_WAYS; way++) {
        if (set[way].permissions && set[way].pasid == pasid && set[way].page == page)
            return &set[way];
    }
    return NULL;
}

void vmm_atc_clear(struct vmm_atc *atc)
{
    memset(atc->entries, 0, sizeof(atc->entries));
    atc->generation++;
}

const struct vmm_atc_entry *vmm_atc_find(const struct vmm_atc *atc, uint32_t pasid,
                                         uint64_t address)
{
    uint64_t page = page_of(address);
    const struct vmm_atc_entry *set = atc->entries[set_of(pasid, page)];

    return find((struct vmm_atc_entry *)set, pasid, page);
}

bool vmm_atc_insert(struct vmm_atc *atc, uint64_t generation, const struct vmm_atc_entry *entry)
{
    size_t index = set_of(entry->pasid, entry->page);
    struct vmm_atc_entry *place = find(atc->entries[index], entry->pasid, entry->page);

    if (generation != atc->generation)
        return false;
    for (size_t way = 0; way < VMM_ATC_WAYS && !place; way++) {
        if (!atc->entries[index][way].permissions)
            place = &atc->entries[index][way];
    }
    if (!place)
        place = &atc->entries[index][atc->next[index]++ % VMM_ATC_WAYS];
    *place = *entry;
    return true;
}

bool vmm_atc_range_has(const struct vmm_atc_range *range, uint32_t pasid, uint64_t page)
{
    return (range->global || range->pasid == pasid) && page >= page_of(range->address) &&
           page <= range->last;
}

void vmm_atc_invalidate(struct vmm_atc *atc, const struct vmm_atc_range *range)
{
    struct vmm_atc_entry *entry;

    atc->generation++;
    for (size_t i = 0; i < (size_t)VMM_ATC_SETS * VMM_ATC_WAYS; i++) {
        entry = &atc->entries[i / VMM_ATC_WAYS][i % VMM_ATC_WAYS];
        if (vmm_atc_range_has(range, entry->pasid, entry->page))
            entry->permissions = 0;
    }
}
