/* SPDX-License-Identifier: MIT */
/* A small IOMMU driver under the sanitizer: its verbs, and what is reported of it. */
#ifndef SPEC_SANITIZED_H
#define SPEC_SANITIZED_H

#include "descriptors.h"

#define IOVA    GUEST_IOVA
#define OTHER   (GUEST_DATA + 0x1000)
#define DRAINED (UINT64_C(3) << 6) /* DW and DR of an IOTLB invalidation */

#define LAZY   "sanitize=on,sanitize-patience=0"
#define STRICT LAZY ",sanitize-strict=on"

/* What the driver has of one domain. */
struct driver {
    struct guest guest;
    uint64_t root;
    uint64_t context; /* entry of device 0 */
    uint64_t pasid;   /* entry of PASID 0 */
};

struct machine *machine_of(struct driver *driver);

/* Legacy mode; scalable mode with a first stage, with a second stage. */
void legacy_begin(struct driver *driver, const char *properties);
void first_begin(struct driver *driver, const char *properties);
void second_begin(struct driver *driver, const char *properties);
void end(struct driver *driver);

/* The driver's verbs. A mapping is one page; map() is of the second stage. Each returns the leaf.
 */
uint64_t map(struct driver *driver, uint64_t iova, uint64_t page);
uint64_t map_first(struct driver *driver, uint64_t iova, uint64_t page);
void set(struct driver *driver, uint64_t entry, uint64_t value);
void invalidate_pages(struct driver *driver, uint64_t iova, unsigned int mask);
void invalidate_domain(struct driver *driver);
void invalidate_context(struct driver *driver);
void invalidate_pasid_cache(struct driver *driver);
void invalidate_pasid(struct driver *driver);
void wait_done(struct driver *driver);

/*
 * In legacy mode: map and unmap pages while devices 0 and 1 do not stop to make requests of this
 * type (enum viommu_dma_type) for them, so that walks are under way when tables change.
 */
void work_under_traffic(struct driver *driver, uint8_t type,
                        void (*invalidate)(struct driver *driver, uint64_t iova));

/* Nothing was reported. */
void silent(struct driver *driver);

/* What a report must say. */
struct expected {
    enum viommu_sanitize_kind kind;
    enum viommu_sanitize_entry entry;
    uint8_t level;
    uint64_t address, entry_address, before, after;
};

/* Exactly this was reported, and once. */
void reported(struct driver *driver, const struct expected *expected);

#endif
