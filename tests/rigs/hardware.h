/* SPDX-License-Identifier: MIT */
/*
 * What Linux's intel-iommu driver told its hardware, by the driver's own debugfs: PASID table
 * entries of a function, and the descriptors that it put into the invalidation queue.
 */
#ifndef RIG_HARDWARE_H
#define RIG_HARDWARE_H

#include <stdbool.h>
#include <stdint.h>

#define HARDWARE_DESCRIPTORS 256

/* Fields of a PASID table entry, and values of PGTT (VT-d 5.0, 9.6). */
enum hardware_pgtt {
    HARDWARE_FIRST_STAGE = 1,
    HARDWARE_SECOND_STAGE = 2,
    HARDWARE_NESTED = 3,
    HARDWARE_PASS_THROUGH = 4,
};

struct hardware_entry {
    bool present;
    enum hardware_pgtt pgtt;
    uint64_t second_stage; /* SSPTPTR */
    uint64_t first_stage;  /* FSPTPTR */
    uint16_t domain;
};

/* `bdf` as in "00:01.0". An entry that is not present is zeros. */
struct hardware_entry hardware_entry(const char *bdf, uint32_t pasid);

/* One descriptor; only what the checks want to know (VT-d 5.0, 6.5.2). */
enum hardware_descriptor_type {
    HARDWARE_CONTEXT = 1,
    HARDWARE_IOTLB = 2,
    HARDWARE_WAIT = 5,
    HARDWARE_PIOTLB = 6,
    HARDWARE_PASID_CACHE = 7,
};

struct hardware_descriptor {
    enum hardware_descriptor_type type;
    unsigned int granularity;
    uint16_t domain;
    uint32_t pasid;
    uint64_t address;  /* of IOTLB and PIOTLB */
    unsigned int mask; /* 2^mask pages */
    bool leaf;         /* the invalidation hint */
};

struct hardware_queue {
    struct hardware_descriptor list[HARDWARE_DESCRIPTORS];
    unsigned int count;
};

/* Those that were put into the queue since the last call; the first call gives none. */
void hardware_descriptors(struct hardware_queue *queue);

/* How many of a type there are. */
unsigned int hardware_count(const struct hardware_queue *queue, enum hardware_descriptor_type type);

/* Whether PASID-based descriptors of this domain and PASID cover the page. */
bool hardware_covers(const struct hardware_queue *queue, uint16_t domain, uint32_t pasid,
                     uint64_t address);

#endif
