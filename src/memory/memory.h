/* SPDX-License-Identifier: MIT */
/* Guest memory as the library's other rooms use it: lookup, single reads of guest structures,
 * listeners. */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include <sys/queue.h>
#include <viommu/memory.h>

/*
 * Where gpa lies in this process; NULL when there is no memory. Only within a read-side section
 * (base/rcu.h); the pointer is good until its end. available: receives how many bytes follow in the
 * same range. flags: receives VIOMMU_MEMORY_*. Both may be NULL.
 */
void *memory_lookup(const struct viommu_memory *memory, uint64_t gpa, uint64_t *available,
                    uint32_t *flags);

/* Where the highest range ends; 0 when there is none. */
uint64_t memory_end(const struct viommu_memory *memory);

/*
 * Copy a guest structure exactly once, in 8-byte loads each of which is single, in ascending order
 * with acquire (what a guest writes last, it writes to the first quadword). gpa and size are
 * multiples of 8. 0 or -EFAULT.
 */
int memory_read_once(const struct viommu_memory *memory, uint64_t gpa, void *copy, size_t size);

/* One aligned load or store, little endian on both sides. 0, -EFAULT, -EACCES (read-only). */
int memory_load64(const struct viommu_memory *memory, uint64_t gpa, uint64_t *value);
int memory_store32(const struct viommu_memory *memory, uint64_t gpa, uint32_t value);
int memory_store64(const struct viommu_memory *memory, uint64_t gpa, uint64_t value);

/*
 * Atomic compare-and-exchange, for accessed and dirty bits. *expected receives what was there.
 * 0: exchanged; -EAGAIN: something else was there; -EFAULT, -EACCES.
 */
int memory_cmpxchg64(const struct viommu_memory *memory, uint64_t gpa, uint64_t *expected,
                     uint64_t desired);

/* Atomically set bits. *old receives what was there. 0, -EFAULT, -EACCES. */
int memory_fetch_or64(const struct viommu_memory *memory, uint64_t gpa, uint64_t bits,
                      uint64_t *old);

/*
 * Told of ranges that come and go, in the thread that changes the map, serialized. add may refuse
 * with a negative errno. remove is called while lookups may still find the range; afterwards the
 * map waits for them.
 */
struct memory_listener {
    int (*add)(struct memory_listener *listener, const struct viommu_memory_range *range,
               struct viommu_error *error);
    void (*remove)(struct memory_listener *listener, const struct viommu_memory_range *range);
    /* May be NULL. A range that all have accepted is found by lookups from now on. */
    void (*published)(struct memory_listener *listener);
    TAILQ_ENTRY(memory_listener) link;
};

/*
 * Register, calling add for each range that is there; when it refuses one, the earlier ones are
 * removed again and the listener is not registered. Unregister calls remove for each range, in
 * reverse.
 */
int memory_listener_register(struct viommu_memory *memory, struct memory_listener *listener,
                             struct viommu_error *error);
void memory_listener_unregister(struct viommu_memory *memory, struct memory_listener *listener);

/*
 * Hold the range at gpa for longer than a read-side section: memory_remove() waits until it was
 * released. Call hold within a read-side section. NULL: no memory. What is held is told as by
 * memory_lookup(), of which another call might find another range. A dma mapping registers a
 * memory_listener to be told (remove) that it must let go.
 */
struct memory_hold;
struct memory_hold *memory_hold(const struct viommu_memory *memory, uint64_t gpa, void **host,
                                uint64_t *available, uint32_t *flags);
void memory_release(struct memory_hold *hold);

#endif
