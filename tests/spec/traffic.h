/* SPDX-License-Identifier: MIT */
/*
 * Devices that do DMA without end, in threads of their own: two host devices that are assigned, and
 * two emulated functions. Each writes a growing number to a word of its own in the page at
 * GUEST_IOVA.
 */
#ifndef SPEC_TRAFFIC_H
#define SPEC_TRAFFIC_H

#include <pthread.h>

#include "assigned.h"

#define TRAFFIC_DEVICES 4 /* functions 0 and 1 are assigned, 2 and 3 emulated */

/* How the guest translates for them. */
enum traffic_mode {
    TRAFFIC_NESTED, /* first stage by RID_PASID */
    TRAFFIC_PASID,  /* the same, and requests of the assigned ones have PASID 5 */
    TRAFFIC_LEGACY, /* second stage, shadowed for the assigned ones */
    TRAFFIC_MODES,
};

struct traffic_device {
    struct traffic *traffic;
    unsigned int index;
    struct viommu_dma_space *space; /* of an emulated one */
    uint32_t pasid;
    bool stop;
    bool running;
    uint64_t tries, arrived;
    pthread_t thread;
};

struct traffic {
    struct assigned assigned;
    enum traffic_mode mode;
    uint64_t ttm;
    uint64_t root; /* of the page table of all */
    struct traffic_device device[TRAFFIC_DEVICES];
};

/* The machine, GUEST_IOVA at PAGE_A for all; then the threads. */
void traffic_create(struct traffic *traffic, enum traffic_mode mode);
/* Ends what still runs. */
void traffic_destroy(struct traffic *traffic);
/* Ends one device's thread. */
void traffic_stop(struct traffic *traffic, unsigned int index);

/* The guest brings its unit up again after a reset: the queue, the root table, translation. */
void traffic_start_unit(struct traffic *traffic);
/* It points GUEST_IOVA to another page, invalidates, and waits. */
void traffic_move(struct traffic *traffic, uint64_t page);

/* Returns when every running device has had `count` more of its writes tried, or arrive. */
void traffic_await_tries(struct traffic *traffic, uint64_t count);
void traffic_await_arrivals(struct traffic *traffic, uint64_t count);

/* Words of the devices in a page: to make them 0, and whether one is not. */
void traffic_wipe(struct traffic *traffic, uint64_t page);
bool traffic_touched(struct traffic *traffic, uint64_t page);

#endif
