/* SPDX-License-Identifier: MIT */
/**
 * @file stats.h
 * @brief What a vIOMMU has done. Counted off the fast path: IOTLB hits are not counted.
 */
#ifndef VIOMMU_STATS_H
#define VIOMMU_STATS_H

#include <viommu/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Counters since creation; they survive a reset. size is set by the caller. */
struct viommu_stats {
    size_t size;
    uint64_t walks;                /**< IOTLB misses of emulated devices that walked tables */
    uint64_t faults_recorded;      /**< fault records written */
    uint64_t faults_lost;          /**< not recorded: overflow, or merged with a pending one */
    uint64_t faults_disabled;      /**< suppressed by fault-processing-disable */
    uint64_t descriptors;          /**< invalidation descriptors done */
    uint64_t waits;                /**< of these, wait descriptors */
    uint64_t queue_errors;         /**< invalidation queue errors */
    uint64_t interrupts;           /**< MSIs sent to the guest */
    uint64_t nested_binds;         /**< first-stage tables bound to a host nested HWPT */
    uint64_t nested_bind_failures; /**< refused by the host: the device was blocked */
    uint64_t nested_unbinds;       /**< nested HWPTs freed */
    uint64_t nested_invalidations; /**< invalidation entries handed to the host */
    uint64_t parent_attaches;      /**< pass-through: the GPA table itself was attached */
    uint64_t shadow_maps;          /**< map calls to the host for shadowed tables */
    uint64_t shadow_unmaps;        /**< unmap calls */
    uint64_t blocks;               /**< devices that were blocked, for whatever reason */
    uint64_t assigned_emulated;    /**< translations by emulation for a function that is assigned */
    uint64_t sanitizer_reports;    /**< mistakes of the guest's driver (viommu/sanitize.h) */
    uint64_t interrupts_remapped;  /**< messages of others that were given a new destination */
    uint64_t interrupts_posted;    /**< posted to a descriptor, with or without notification */
    uint64_t interrupts_blocked;   /**< refused */

    uint64_t device_tlb_invalidations; /**< sent to device TLBs */
    uint64_t page_requests;            /**< put into the guest's page request queue */
    uint64_t page_requests_refused;    /**< not put there: blocked, or no room */
    uint64_t page_responses;           /**< from the guest to devices */

    uint64_t translation_enables; /**< the guest switched translation on, which was off */
    uint64_t remapping_enables;   /**< the same of interrupt remapping */
};

#ifdef __cplusplus
}
#endif
#endif
