/* SPDX-License-Identifier: MIT */
/* What the sanitizer says: a report to the embedder, a sentence to the log, a count. */
#include <stdio.h>
#include <viommu/dma.h>

#include "model/vtd/sanitizer.h"

const char *viommu_sanitize_kind_name(enum viommu_sanitize_kind kind)
{
    static const char *const names[VIOMMU_SANITIZE_KINDS] = {
        [VIOMMU_SANITIZE_MISSING] = "missing invalidation",
        [VIOMMU_SANITIZE_NARROW] = "too narrow invalidation",
        [VIOMMU_SANITIZE_MASK] = "bad address mask",
        [VIOMMU_SANITIZE_DRAIN] = "wait without drain",
        [VIOMMU_SANITIZE_ORDER] = "forbidden order",
        [VIOMMU_SANITIZE_TABLE] = "table page reused",
    };

    return (unsigned int)kind < VIOMMU_SANITIZE_KINDS ? names[kind] : "unknown";
}

const char *viommu_sanitize_entry_name(enum viommu_sanitize_entry entry)
{
    static const char *const names[] = {
        [VIOMMU_SANITIZE_ENTRY_NONE] = "no entry",
        [VIOMMU_SANITIZE_ENTRY_ROOT] = "root entry",
        [VIOMMU_SANITIZE_ENTRY_CONTEXT] = "context entry",
        [VIOMMU_SANITIZE_ENTRY_PASID_DIRECTORY] = "PASID directory entry",
        [VIOMMU_SANITIZE_ENTRY_PASID] = "PASID table entry",
        [VIOMMU_SANITIZE_ENTRY_FIRST_STAGE] = "first-stage entry",
        [VIOMMU_SANITIZE_ENTRY_SECOND_STAGE] = "second-stage entry",
    };

    return (unsigned int)entry < sizeof(names) / sizeof(names[0]) ? names[entry] : "unknown entry";
}

static const uint8_t entries[WORDS] = {
    [WORD_ROOT] = VIOMMU_SANITIZE_ENTRY_ROOT,
    [WORD_CONTEXT_0] = VIOMMU_SANITIZE_ENTRY_CONTEXT,
    [WORD_CONTEXT_1] = VIOMMU_SANITIZE_ENTRY_CONTEXT,
    [WORD_SM_CONTEXT_0] = VIOMMU_SANITIZE_ENTRY_CONTEXT,
    [WORD_SM_CONTEXT_1] = VIOMMU_SANITIZE_ENTRY_CONTEXT,
    [WORD_PDE] = VIOMMU_SANITIZE_ENTRY_PASID_DIRECTORY,
    [WORD_PASID_0] = VIOMMU_SANITIZE_ENTRY_PASID,
    [WORD_PASID_1] = VIOMMU_SANITIZE_ENTRY_PASID,
    [WORD_PASID_2] = VIOMMU_SANITIZE_ENTRY_PASID,
    [WORD_FIRST] = VIOMMU_SANITIZE_ENTRY_FIRST_STAGE,
    [WORD_SECOND] = VIOMMU_SANITIZE_ENTRY_SECOND_STAGE,
};

/* What would have taken a record from its cache. */
static const char *needed_of(const struct sanitize_record *record)
{
    if (record->cache == CACHE_CONTEXT)
        return "a context-cache invalidation of this function, then a PASID-cache and an IOTLB "
               "invalidation of its domain";
    if (record->cache == CACHE_PASID)
        return "a PASID-cache invalidation of this domain and PASID, then one of the IOTLB";
    if (record->cache == CACHE_ABSENT)
        return "an IOTLB invalidation of this domain and page after the entry became present, as "
               "CAP_REG has CM";
    if (record->cache == CACHE_DEVICE_TLB)
        return "a device-TLB invalidation of this function, PASID and page, after that of the "
               "IOTLB";
    if (record->pgtt == VTD_PGTT_SECOND)
        return record->cache == CACHE_TABLES
                   ? "an IOTLB invalidation of this domain and page without the hint IH"
                   : "an IOTLB invalidation of this domain and page";
    return record->cache == CACHE_TABLES
               ? "a PASID-based IOTLB invalidation of this domain, PASID and page without the hint "
                 "IH"
               : "a PASID-based IOTLB invalidation of this domain, PASID and page";
}

static const struct {
    enum viommu_sanitize_kind kind;
    const char *needed; /* NULL: the same as without any */
} misses[] = {
    [MISS_NONE] = {VIOMMU_SANITIZE_MISSING, NULL},
    [MISS_PAGES] = {VIOMMU_SANITIZE_NARROW, NULL},
    [MISS_HINT] = {VIOMMU_SANITIZE_NARROW,
                   "an invalidation without the hint IH, as more than the lowest entry changed"},
    [MISS_ALIGNED] = {VIOMMU_SANITIZE_MASK,
                      "an invalidation whose address is a multiple of what its mask covers, as the "
                      "low bits are ignored"},
    [MISS_KIND] = {VIOMMU_SANITIZE_NARROW,
                   "an IOTLB invalidation, as a PASID-based one does not take second-stage pages"},
    [MISS_EARLY] = {VIOMMU_SANITIZE_ORDER,
                    "the IOTLB invalidation after, not before, that of the context or PASID cache, "
                    "from which the IOTLB was filled again"},
};

void sanitize_describe(const struct sanitize_record *record,
                       const struct sanitize_judgement *judgement,
                       struct viommu_sanitize_report *report)
{
    const struct sanitize_link *link = &record->links[judgement->link];
    const char *needed = record->cache == CACHE_DEVICE_TLB ? NULL : misses[record->miss].needed;

    *report = (struct viommu_sanitize_report){
        .size = sizeof(*report),
        .kind = misses[record->miss].kind,
        .entry = (enum viommu_sanitize_entry)entries[link->word],
        .pasid = record->request_pasid,
        .requester_id = record->requester_id,
        .domain = record->domain,
        .address = record->address,
        .address_log2 = record->address_log2,
        .level = link->level,
        .entry_address = link->address,
        .before = link->value,
        .after = judgement->now,
        .needed = needed ? needed : needed_of(record),
    };
    if (judgement->verdict != VERDICT_REUSED)
        return;
    report->kind = VIOMMU_SANITIZE_TABLE;
    report->needed = "an invalidation without the hint IH, and a wait, before the page is used for "
                     "anything else";
}

static void describe_place(const struct viommu_sanitize_report *report, char *text, size_t size)
{
    char pasid[32] = "without PASID", level[24] = "";

    if (report->pasid != VIOMMU_PASID_NONE)
        snprintf(pasid, sizeof(pasid), "PASID 0x%x", report->pasid);
    if (report->level)
        snprintf(level, sizeof(level), " of level %u", report->level);
    if (report->entry == VIOMMU_SANITIZE_ENTRY_NONE)
        snprintf(text, size, "domain %u, address 0x%llx", report->domain,
                 (unsigned long long)report->address);
    else
        snprintf(text, size,
                 "%02x:%02x.%u, %s, domain %u, address 0x%llx (2^%u bytes): the %s%s at 0x%llx was "
                 "0x%llx and is 0x%llx",
                 report->requester_id >> 8, report->requester_id >> 3 & 31,
                 report->requester_id & 7, pasid, report->domain,
                 (unsigned long long)report->address, report->address_log2,
                 viommu_sanitize_entry_name(report->entry), level,
                 (unsigned long long)report->entry_address, (unsigned long long)report->before,
                 (unsigned long long)report->after);
}

void sanitize_send(struct vtd *vtd, const struct viommu_sanitize_report *report)
{
    char place[320];

    vtd_count(vtd, sanitizer_reports);
    describe_place(report, place, sizeof(place));
    log_limited(&vtd->options.log, &vtd->sanitizer->limits[report->kind], VIOMMU_LOG_WARNING,
                "vtd: the guest's IOMMU driver: %s: %s; needed is %s",
                viommu_sanitize_kind_name(report->kind), place, report->needed);
    if (vtd->options.sanitize_report)
        vtd->options.sanitize_report(vtd->options.sanitize_opaque, report);
}
