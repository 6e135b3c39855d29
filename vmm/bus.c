/* SPDX-License-Identifier: MIT */
#include "bus.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int vmm_bus_init(struct vmm_bus *bus)
{
    memset(bus, 0, sizeof(*bus));
    return -pthread_rwlock_init(&bus->lock, NULL);
}

void vmm_bus_fini(struct vmm_bus *bus)
{
    free(bus->regions);
    bus->regions = NULL;
    pthread_rwlock_destroy(&bus->lock);
}

/* Index of the first region whose base is above `address`. */
static size_t bus_upper_bound(const struct vmm_bus *bus, uint64_t address)
{
    size_t low = 0;
    size_t high = bus->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (bus->regions[middle].base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool bus_overlaps(const struct vmm_bus *bus, size_t at, uint64_t base, uint64_t last)
{
    const struct vmm_bus_region *regions = bus->regions;

    if (at < bus->count && regions[at].base <= last)
        return true;
    return at > 0 && regions[at - 1].base + (regions[at - 1].size - 1) >= base;
}

static int bus_make_room(struct vmm_bus *bus)
{
    size_t room = bus->room ? 2 * bus->room : 16;
    struct vmm_bus_region *regions;

    if (bus->count < bus->room)
        return 0;
    regions = realloc(bus->regions, room * sizeof(*regions));
    if (!regions)
        return -ENOMEM;
    bus->regions = regions;
    bus->room = room;
    return 0;
}

static int bus_insert(struct vmm_bus *bus, const struct vmm_bus_region *region)
{
    size_t at = bus_upper_bound(bus, region->base);
    int ret;

    if (bus_overlaps(bus, at, region->base, region->base + (region->size - 1)))
        return -EEXIST;
    ret = bus_make_room(bus);
    if (ret)
        return ret;
    memmove(&bus->regions[at + 1], &bus->regions[at], (bus->count - at) * sizeof(*region));
    bus->regions[at] = *region;
    bus->count++;
    return 0;
}

int vmm_bus_add(struct vmm_bus *bus, uint64_t base, uint64_t size, const struct vmm_bus_ops *ops,
                void *opaque)
{
    struct vmm_bus_region region = {base, size, ops, opaque};
    int ret;

    if (!size || base + (size - 1) < base)
        return -EINVAL;
    pthread_rwlock_wrlock(&bus->lock);
    ret = bus_insert(bus, &region);
    pthread_rwlock_unlock(&bus->lock);
    return ret;
}

void vmm_bus_remove(struct vmm_bus *bus, uint64_t base, const void *opaque)
{
    size_t at;

    pthread_rwlock_wrlock(&bus->lock);
    at = bus_upper_bound(bus, base);
    if (at > 0 && bus->regions[at - 1].base == base && bus->regions[at - 1].opaque == opaque) {
        memmove(&bus->regions[at - 1], &bus->regions[at],
                (bus->count - at) * sizeof(bus->regions[0]));
        bus->count--;
    }
    pthread_rwlock_unlock(&bus->lock);
}

/* Copies the region, so that the callback runs without the lock and may itself move regions. */
static bool bus_find(struct vmm_bus *bus, uint64_t address, unsigned int size,
                     struct vmm_bus_region *region)
{
    bool found = false;
    size_t at;

    pthread_rwlock_rdlock(&bus->lock);
    at = bus_upper_bound(bus, address);
    if (at > 0) {
        *region = bus->regions[at - 1];
        found = address - region->base < region->size &&
                region->size - (address - region->base) >= size;
    }
    pthread_rwlock_unlock(&bus->lock);
    return found;
}

static uint64_t all_ones(unsigned int size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

uint64_t vmm_bus_read(struct vmm_bus *bus, uint64_t address, unsigned int size)
{
    struct vmm_bus_region region;

    if (!bus_find(bus, address, size, &region))
        return all_ones(size);
    return region.ops->read(region.opaque, address - region.base, size) & all_ones(size);
}

void vmm_bus_write(struct vmm_bus *bus, uint64_t address, unsigned int size, uint64_t value)
{
    struct vmm_bus_region region;

    if (bus_find(bus, address, size, &region))
        region.ops->write(region.opaque, address - region.base, size, value & all_ones(size));
}
