/* SPDX-License-Identifier: MIT */
/* What the sanitizer knows of assigned devices, whose requests the host translates. */
#include <string.h>

#include "base/bits.h"
#include "base/rcu.h"
#include "model/vtd/sanitizer.h"

static uint64_t sample(const struct vtd *vtd)
{
    return __atomic_load_n(&vtd->sanitizer->sequence, __ATOMIC_SEQ_CST);
}

/* The guest may have changed the entry since the host was told: then nothing is known. */
static bool is_entry(const struct sanitize_chain *chain, const struct vtd_entry *entry)
{
    return !chain->entry.reason && !memcmp(chain->entry.raw, entry->raw, sizeof(entry->raw));
}

void vtd_sanitizer_bound(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid,
                         const struct vtd_entry *entry)
{
    uint64_t sequence = sample(vtd);
    struct sanitize_record made;
    struct sanitize_chain chain;

    pthread_mutex_lock(&vtd->sanitizer->lock);
    rcu_enter();
    if (sanitize_chain_read(vtd, requester_id, pasid, 0, &chain) && is_entry(&chain, entry)) {
        sanitize_begin(&chain, requester_id, &made);
        sanitize_remember_structures(vtd, &chain, sequence, &made);
    }
    rcu_exit();
    pthread_mutex_unlock(&vtd->sanitizer->lock);
}

/* Remember what `chain` leads to, for requests of the page around address. */
static void remember_page(const struct vtd *vtd, const struct sanitize_chain *chain,
                          uint16_t requester_id, uint32_t pasid, uint64_t address,
                          enum sanitize_cache cache, uint64_t sequence)
{
    struct sanitize_record made;

    sanitize_begin(chain, requester_id, &made);
    made.cache = cache;
    made.request_pasid = pasid;
    made.address_log2 = made.page_log2 = cache == CACHE_ABSENT ? 12 : chain->page_log2;
    made.address = address & ~low_bits(made.address_log2);
    made.gpa = chain->gpa & ~low_bits(made.address_log2);
    made.permissions = chain->permissions;
    made.tables_kept = UINT8_MAX;
    sanitize_take_links(&made, chain, 0, chain->count);
    if (cache == CACHE_ABSENT)
        made.links[made.count - 1].value = 0;
    sanitize_remember(vtd, &made, sequence);
}

void vtd_sanitizer_shadowed(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid,
                            uint64_t address, uint64_t length, unsigned int *budget)
{
    uint64_t sequence = sample(vtd), step;
    struct sanitize_chain chain;

    pthread_mutex_lock(&vtd->sanitizer->lock);
    rcu_enter();
    for (uint64_t done = 0; done < length && *budget; done += step, --*budget) {
        step = BIT64(12);
        if (!sanitize_chain_read(vtd, requester_id, pasid, address + done, &chain) ||
            chain.entry.reason || chain.entry.pgtt != VTD_PGTT_SECOND)
            break;
        if (!chain.complete)
            continue;
        remember_page(vtd, &chain, requester_id, pasid, address + done, CACHE_TRANSLATION,
                      sequence);
        step = BIT64(chain.page_log2) - ((address + done) & low_bits(chain.page_log2));
    }
    rcu_exit();
    pthread_mutex_unlock(&vtd->sanitizer->lock);
}

void vtd_sanitizer_refused(const struct vtd *vtd, const struct viommu_dma_request *request)
{
    uint64_t sequence = sample(vtd);
    struct sanitize_chain chain;

    if (!vtd->options.caching_mode)
        return;
    pthread_mutex_lock(&vtd->sanitizer->lock);
    rcu_enter();
    if (sanitize_chain_read(vtd, request->requester_id, request->pasid, request->address, &chain) &&
        chain.complete && chain.entry.pgtt == VTD_PGTT_SECOND)
        remember_page(vtd, &chain, request->requester_id, request->pasid, request->address,
                      CACHE_ABSENT, sequence);
    rcu_exit();
    pthread_mutex_unlock(&vtd->sanitizer->lock);
}
