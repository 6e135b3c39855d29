/* SPDX-License-Identifier: MIT */
/*
 * A guest in a few functions: memory, VT-d tables of scalable mode, and an invalidation queue, all
 * driven as a driver would, through guest memory and MMIO alone.
 */
#ifndef CLI_SCRIPTED_GUEST_H
#define CLI_SCRIPTED_GUEST_H

#include <viommu.h>

struct scripted_guest {
    uint8_t *ram;
    struct viommu *unit;
    uint32_t queue_tail; /* bytes */
    uint32_t waits;      /* wait descriptors issued: their status data */
};

/* The guest's memory, and where its tables and pages lie in it. */
enum {
    GUEST_MEMORY = 16 << 20,
    GUEST_ROOT = 0x100000,
    GUEST_CONTEXT = 0x101000,
    GUEST_PASID_DIRECTORY = 0x102000,
    GUEST_PASID_TABLE = 0x103000,
    GUEST_LEVEL4 = 0x104000,
    GUEST_LEVEL3 = 0x105000,
    GUEST_LEVEL2 = 0x106000,
    GUEST_LEVEL1 = 0x107000,
    GUEST_QUEUE = 0x108000,
    GUEST_STATUS = 0x109000,
    GUEST_PAGE_A = 0x200000,
    GUEST_PAGE_B = 0x201000,
    GUEST_DOMAIN = 42,
};

/* Fault record 0 as the guest reads it, after clearing it. */
struct scripted_fault {
    bool present;
    uint64_t address;
    uint16_t requester_id;
    uint8_t reason;
    bool write;
};

/* Write the tables down to an empty first stage; switch the queue, scalable mode and translation
 * on. */
void scripted_guest_boot(struct scripted_guest *guest, uint8_t devfn);

/* Let an IOVA below 2 MiB lead to a page of guest memory, or nowhere (gpa 0). The table entry
 * alone. */
void scripted_guest_map(struct scripted_guest *guest, uint64_t iova, uint64_t gpa);

/* Invalidate one page of the PASID-based IOTLB and wait for it. True when the unit said it was
 * done. */
bool scripted_guest_invalidate_page(struct scripted_guest *guest, uint64_t iova);

struct scripted_fault scripted_guest_take_fault(struct scripted_guest *guest);

#endif
