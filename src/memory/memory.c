/* SPDX-License-Identifier: MIT */
/*
 * The guest memory map: an immutable sorted array, published by RCU. A change makes a new array
 * under `lock`, publishes it, and frees the old one after a grace period.
 *
 * Locks: `lock` serializes changes and is held while listeners are called; `hold_lock` protects the
 * waiting for holds and is taken alone. Lookups take neither.
 */
#include "memory/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/rcu.h"

#define PAGE_SIZE     4096
#define ADDRESS_LIMIT BIT64(52)
#define KNOWN_FLAGS   VIOMMU_MEMORY_READONLY

/* A range of the map; also what a holder holds. */
struct memory_hold {
    struct viommu_memory *memory;
    struct viommu_memory_range range;
    uint64_t count; /* holders; raised without a lock, lowered under hold_lock */
    bool leaving;   /* memory_remove() is under way: no new holders. Atomic. */
};

/* A copy of what a lookup needs stands in the array, so that it follows one pointer less. */
struct map_entry {
    uint64_t gpa;
    uint64_t size;
    char *host;
    struct memory_hold *region;
    uint32_t flags;
};

struct map {
    size_t count;
    struct map_entry entries[]; /* ascending by gpa */
};

struct viommu_memory {
    struct map *map; /* RCU */
    pthread_mutex_t lock;
    TAILQ_HEAD(memory_listeners, memory_listener) listeners;
    pthread_mutex_t hold_lock;
    pthread_cond_t released;
};

static struct map *map_alloc(size_t count)
{
    struct map *map = malloc(sizeof(*map) + count * sizeof(map->entries[0]));

    if (map)
        map->count = count;
    return map;
}

/* Index of the first entry that begins above gpa. */
static size_t map_upper(const struct map *map, uint64_t gpa)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (map->entries[middle].gpa <= gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The entry that holds gpa, or NULL. */
static const struct map_entry *map_find(const struct map *map, uint64_t gpa)
{
    size_t upper = map_upper(map, gpa);
    const struct map_entry *entry = upper ? &map->entries[upper - 1] : NULL;

    return entry && gpa - entry->gpa < entry->size ? entry : NULL;
}

int viommu_memory_create(struct viommu_memory **out, struct viommu_error *error)
{
    struct viommu_memory *memory = calloc(1, sizeof(*memory));
    struct map *map = map_alloc(0);

    if (!memory || !map) {
        free(memory);
        free(map);
        return error_set(error, -ENOMEM, "no memory for a guest memory map");
    }
    memory->map = map;
    pthread_mutex_init(&memory->lock, NULL);
    pthread_mutex_init(&memory->hold_lock, NULL);
    pthread_cond_init(&memory->released, NULL);
    TAILQ_INIT(&memory->listeners);
    *out = memory;
    return 0;
}

void viommu_memory_destroy(struct viommu_memory *memory)
{
    if (!memory)
        return;
    rcu_wait();
    for (size_t i = 0; i < memory->map->count; i++)
        free(memory->map->entries[i].region);
    free(memory->map);
    pthread_cond_destroy(&memory->released);
    pthread_mutex_destroy(&memory->hold_lock);
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

static int check_range(const struct viommu_memory_range *range, struct viommu_error *error)
{
    if (!range || !range->host)
        return error_set(error, -EINVAL,
                         "a memory range needs a host address; map the memory first");
    if (!is_aligned(range->gpa | range->size | (uintptr_t)range->host, PAGE_SIZE))
        return error_set(error, -EINVAL,
                         "memory range at GPA 0x%" PRIx64 ", 0x%" PRIx64
                         " bytes at host address %p: all three must be multiples of %d",
                         range->gpa, range->size, range->host, PAGE_SIZE);
    if (!range->size || range->size > ADDRESS_LIMIT || range->gpa > ADDRESS_LIMIT - range->size)
        return error_set(error, -EINVAL,
                         "memory range at GPA 0x%" PRIx64 " of 0x%" PRIx64
                         " bytes must not be empty and must end at or below 0x%" PRIx64,
                         range->gpa, range->size, ADDRESS_LIMIT);
    if (range_overflows((uintptr_t)range->host, range->size) || range->size > SIZE_MAX)
        return error_set(error, -EINVAL,
                         "memory range at GPA 0x%" PRIx64 " of 0x%" PRIx64
                         " bytes does not fit into this process at host address %p",
                         range->gpa, range->size, range->host);
    if (range->flags & ~KNOWN_FLAGS)
        return error_set(error, -EINVAL,
                         "memory range at GPA 0x%" PRIx64 " has flags 0x%x, known are 0x%x",
                         range->gpa, range->flags, KNOWN_FLAGS);
    return 0;
}

static int check_overlap(const struct map *map, const struct viommu_memory_range *range,
                         struct viommu_error *error)
{
    size_t upper = map_upper(map, range->gpa + range->size - 1);
    const struct map_entry *below = upper ? &map->entries[upper - 1] : NULL;

    if (!below || below->gpa + below->size <= range->gpa)
        return 0;
    return error_set(error, -EEXIST,
                     "memory range at GPA 0x%" PRIx64 " of 0x%" PRIx64
                     " bytes overlaps the one at 0x%" PRIx64 " of 0x%" PRIx64
                     " bytes; remove that first",
                     range->gpa, range->size, below->gpa, below->size);
}

/* Tell the listeners before `end` (NULL: all), the last one first, that a range goes. */
static void tell_removal(struct viommu_memory *memory, struct memory_listener *end,
                         const struct viommu_memory_range *range)
{
    struct memory_listener *listener = end ? TAILQ_PREV(end, memory_listeners, link)
                                           : TAILQ_LAST(&memory->listeners, memory_listeners);

    for (; listener; listener = TAILQ_PREV(listener, memory_listeners, link))
        listener->remove(listener, range);
}

static int tell_addition(struct viommu_memory *memory, const struct viommu_memory_range *range,
                         struct viommu_error *error)
{
    struct memory_listener *listener;

    TAILQ_FOREACH(listener, &memory->listeners, link)
    {
        int ret = listener->add(listener, range, error);

        if (ret) {
            tell_removal(memory, listener, range);
            return ret;
        }
    }
    return 0;
}

static void tell_publication(struct viommu_memory *memory)
{
    struct memory_listener *listener;

    TAILQ_FOREACH(listener, &memory->listeners, link)
    {
        if (listener->published)
            listener->published(listener);
    }
}

/* The map with one region more. */
static struct map *map_with(const struct map *old, struct memory_hold *region)
{
    const struct viommu_memory_range *range = &region->range;
    size_t at = map_upper(old, range->gpa);
    struct map *map = map_alloc(old->count + 1);

    if (!map)
        return NULL;
    memcpy(map->entries, old->entries, at * sizeof(old->entries[0]));
    map->entries[at] =
        (struct map_entry){range->gpa, range->size, range->host, region, range->flags};
    memcpy(map->entries + at + 1, old->entries + at, (old->count - at) * sizeof(old->entries[0]));
    return map;
}

/* The map without the entry at an index. */
static struct map *map_without(const struct map *old, size_t at)
{
    struct map *map = map_alloc(old->count - 1);

    if (!map)
        return NULL;
    memcpy(map->entries, old->entries, at * sizeof(old->entries[0]));
    memcpy(map->entries + at, old->entries + at + 1,
           (old->count - at - 1) * sizeof(old->entries[0]));
    return map;
}

/* Under lock. *old receives the map that the caller frees after a grace period. */
static int add_locked(struct viommu_memory *memory, struct memory_hold *region, struct map **old,
                      struct viommu_error *error)
{
    struct map *map;
    int ret = check_overlap(memory->map, &region->range, error);

    if (ret)
        return ret;
    map = map_with(memory->map, region);
    if (!map)
        return error_set(error, -ENOMEM, "no memory for a map of %zu ranges",
                         memory->map->count + 1);
    ret = tell_addition(memory, &region->range, error);
    if (ret) {
        free(map);
        return ret;
    }
    *old = memory->map;
    rcu_publish(memory->map, map);
    tell_publication(memory);
    return 0;
}

int viommu_memory_add(struct viommu_memory *memory, const struct viommu_memory_range *range,
                      struct viommu_error *error)
{
    struct memory_hold *region;
    struct map *old = NULL;
    int ret = check_range(range, error);

    if (ret)
        return ret;
    region = calloc(1, sizeof(*region));
    if (!region)
        return error_set(error, -ENOMEM, "no memory for a range");
    region->memory = memory;
    region->range = *range;
    pthread_mutex_lock(&memory->lock);
    ret = add_locked(memory, region, &old, error);
    pthread_mutex_unlock(&memory->lock);
    if (ret) {
        free(region);
        return ret;
    }
    rcu_wait();
    free(old);
    return 0;
}

/* Under lock. Takes the region out of the map; what remains is to wait for its users. */
static int remove_locked(struct viommu_memory *memory, uint64_t gpa, struct memory_hold **region,
                         struct map **old, struct viommu_error *error)
{
    const struct map_entry *entry = map_find(memory->map, gpa);
    struct map *map;

    if (!entry || entry->gpa != gpa)
        return error_set(error, -ENOENT,
                         "no memory range begins at GPA 0x%" PRIx64
                         "; remove a range by the address it was added at",
                         gpa);
    map = map_without(memory->map, (size_t)(entry - memory->map->entries));
    if (!map)
        return error_set(error, -ENOMEM, "no memory for a map of %zu ranges",
                         memory->map->count - 1);
    *region = entry->region;
    *old = memory->map;
    /* Before the listeners hear of it, so that none of them misses a holder that comes late. */
    __atomic_store_n(&(*region)->leaving, true, __ATOMIC_SEQ_CST);
    tell_removal(memory, NULL, &(*region)->range);
    rcu_publish(memory->map, map);
    return 0;
}

int viommu_memory_remove(struct viommu_memory *memory, uint64_t gpa, struct viommu_error *error)
{
    struct memory_hold *region = NULL;
    struct map *old = NULL;
    int ret;

    pthread_mutex_lock(&memory->lock);
    ret = remove_locked(memory, gpa, &region, &old, error);
    pthread_mutex_unlock(&memory->lock);
    if (ret)
        return ret;
    rcu_wait();
    pthread_mutex_lock(&memory->hold_lock);
    while (__atomic_load_n(&region->count, __ATOMIC_ACQUIRE))
        pthread_cond_wait(&memory->released, &memory->hold_lock);
    pthread_mutex_unlock(&memory->hold_lock);
    free(region);
    free(old);
    return 0;
}

static void *entry_describe(const struct map_entry *entry, uint64_t gpa, uint64_t *available,
                            uint32_t *flags)
{
    if (available)
        *available = entry->size - (gpa - entry->gpa);
    if (flags)
        *flags = entry->flags;
    return entry->host + (gpa - entry->gpa);
}

struct memory_hold *memory_hold(const struct viommu_memory *memory, uint64_t gpa, void **host,
                                uint64_t *available, uint32_t *flags)
{
    const struct map_entry *entry = map_find(rcu_read(memory->map), gpa);
    struct memory_hold *region;

    if (!entry)
        return NULL;
    region = entry->region;
    __atomic_fetch_add(&region->count, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&region->leaving, __ATOMIC_SEQ_CST)) {
        *host = entry_describe(entry, gpa, available, flags);
        return region;
    }
    /* Nobody waits for this one: the remover looks at the count after this read-side section. */
    __atomic_fetch_sub(&region->count, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

void memory_release(struct memory_hold *hold)
{
    struct viommu_memory *memory = hold->memory;

    pthread_mutex_lock(&memory->hold_lock);
    /* The last holder's region may be freed as soon as the lock is given up. */
    __atomic_fetch_sub(&hold->count, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&hold->leaving, __ATOMIC_SEQ_CST))
        pthread_cond_broadcast(&memory->released);
    pthread_mutex_unlock(&memory->hold_lock);
}

void *memory_lookup(const struct viommu_memory *memory, uint64_t gpa, uint64_t *available,
                    uint32_t *flags)
{
    const struct map_entry *entry = map_find(rcu_read(memory->map), gpa);

    return entry ? entry_describe(entry, gpa, available, flags) : NULL;
}

uint64_t memory_end(const struct viommu_memory *memory)
{
    const struct map *map;
    uint64_t end = 0;

    rcu_enter();
    map = rcu_read(memory->map);
    if (map->count)
        end = map->entries[map->count - 1].gpa + map->entries[map->count - 1].size;
    rcu_exit();
    return end;
}

/* Tell one listener that the first `count` ranges go, the last one first. */
static void remove_ranges(const struct map *map, size_t count, struct memory_listener *listener)
{
    while (count--)
        listener->remove(listener, &map->entries[count].region->range);
}

int memory_listener_register(struct viommu_memory *memory, struct memory_listener *listener,
                             struct viommu_error *error)
{
    const struct map *map;
    int ret = 0;

    pthread_mutex_lock(&memory->lock);
    map = memory->map;
    for (size_t i = 0; i < map->count && !ret; i++) {
        ret = listener->add(listener, &map->entries[i].region->range, error);
        if (ret)
            remove_ranges(map, i, listener);
    }
    if (!ret)
        TAILQ_INSERT_TAIL(&memory->listeners, listener, link);
    pthread_mutex_unlock(&memory->lock);
    return ret;
}

void memory_listener_unregister(struct viommu_memory *memory, struct memory_listener *listener)
{
    pthread_mutex_lock(&memory->lock);
    TAILQ_REMOVE(&memory->listeners, listener, link);
    remove_ranges(memory->map, memory->map->count, listener);
    pthread_mutex_unlock(&memory->lock);
}
