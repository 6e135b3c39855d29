/* SPDX-License-Identifier: MIT */
/**
 * @file sanitize.h
 * @brief What the guest sanitizer of a vIOMMU reports: mistakes of the guest's IOMMU driver.
 *
 * A sanitizing unit remembers the translations that it gave out, as a large cache would (the last
 * 1024; the log says how many it has forgotten), and compares them with the guest's tables whenever
 * a wait completes. Switched on by a property of the model (sanitize=on of viommu/vtd.h). Sources:
 * VT-d 5.0, 6.2 (what is cached) and 6.5 (what invalidates it).
 */
#ifndef VIOMMU_SANITIZE_H
#define VIOMMU_SANITIZE_H

#include <viommu/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the guest did wrong. */
enum viommu_sanitize_kind {
    VIOMMU_SANITIZE_MISSING = 0, /**< an entry changed, and nothing like it was invalidated */
    VIOMMU_SANITIZE_NARROW = 1,  /**< an invalidation came, but covers too little */
    VIOMMU_SANITIZE_MASK = 2,    /**< a mask is larger than the unit supports, or hides low address
                                      bits that were meant */
    VIOMMU_SANITIZE_DRAIN = 3,   /**< a wait completed for what was not drained */
    VIOMMU_SANITIZE_ORDER = 4, /**< a present entry was rewritten, or caches were invalidated in an
                                    order that lets one refill from another */
    VIOMMU_SANITIZE_TABLE = 5, /**< a page of tables was written anew while a cache may still lead
                                    to it */
    VIOMMU_SANITIZE_KINDS = 6
};

/** Which structure an entry belongs to. */
enum viommu_sanitize_entry {
    VIOMMU_SANITIZE_ENTRY_NONE = 0, /**< the report is about a command, not about a table */
    VIOMMU_SANITIZE_ENTRY_ROOT = 1,
    VIOMMU_SANITIZE_ENTRY_CONTEXT = 2,
    VIOMMU_SANITIZE_ENTRY_PASID_DIRECTORY = 3,
    VIOMMU_SANITIZE_ENTRY_PASID = 4,
    VIOMMU_SANITIZE_ENTRY_FIRST_STAGE = 5,
    VIOMMU_SANITIZE_ENTRY_SECOND_STAGE = 6
};

/** One report. */
struct viommu_sanitize_report {
    size_t size; /**< of this struct, as the library was compiled */
    enum viommu_sanitize_kind kind;
    enum viommu_sanitize_entry entry;
    uint32_t pasid;         /**< that requests carried, or VIOMMU_PASID_NONE */
    uint16_t requester_id;  /**< 0 when entry is NONE */
    uint16_t domain;        /**< domain-ID that caches hold it under */
    uint64_t address;       /**< first byte of the page that requests name (IOVA); what is about a
                                 context or PASID entry as a whole has 0 */
    uint8_t address_log2;   /**< size of that page; 64: all addresses */
    uint8_t level;          /**< of a first-stage or second-stage entry: 1 is the lowest; else 0 */
    uint64_t entry_address; /**< where the word that changed lies, GPA */
    uint64_t before;        /**< as a cache may hold it */
    uint64_t after;         /**< as it is in memory now */
    const char *needed; /**< the invalidation that was needed, a sentence; valid during the call */
};

/**
 * Receives a report, in the thread whose register write made the unit see it. Not rate-limited. It
 * must not call the library.
 */
typedef void viommu_sanitize_fn(void *opaque, const struct viommu_sanitize_report *report);

/** A short name ("missing-invalidation") for any value of the enum. Never NULL. Any thread. */
VIOMMU_EXPORT const char *viommu_sanitize_kind_name(enum viommu_sanitize_kind kind);

/** A short name ("PASID table entry") for any value of the enum. Never NULL. Any thread. */
VIOMMU_EXPORT const char *viommu_sanitize_entry_name(enum viommu_sanitize_entry entry);

#ifdef __cplusplus
}
#endif
#endif
