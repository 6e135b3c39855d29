/* SPDX-License-Identifier: MIT */
/*
 * Where a guest's port and memory accesses go.
 *
 * A bus is a set of regions that do not overlap. Both the port space and the memory space of the
 * machine are one bus each (struct vmm: pio, mmio). RAM is not here: KVM never exits for it.
 *
 * Locking: a bus protects its own list of regions. Lookups may come from any vCPU thread while
 * another one moves a region. Callbacks run with NO lock held, possibly in several vCPU threads at
 * once: a device brings its own lock. vmm_bus_remove() does not wait for a callback that is
 * running, so `opaque` must live until all vCPU threads are gone (as PCI functions do).
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* `offset` is relative to the region's base; `size` is 1, 2, 4 or 8 bytes and lies inside it. */
struct vmm_bus_ops {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned int size);
    void (*write)(void *opaque, uint64_t offset, unsigned int size, uint64_t value);
};

struct vmm_bus_region {
    uint64_t base;
    uint64_t size;
    const struct vmm_bus_ops *ops;
    void *opaque;
};

struct vmm_bus {
    pthread_rwlock_t lock;
    struct vmm_bus_region *regions; /* sorted by base */
    size_t count;
    size_t room;
};

int vmm_bus_init(struct vmm_bus *bus);
void vmm_bus_fini(struct vmm_bus *bus);

/*
 * Add a region. Returns 0, -EINVAL when it is empty or wraps around, -EEXIST when it overlaps
 * another region (a guest may well put one BAR on top of another: the later one is then not
 * decoded), or -ENOMEM. Any thread.
 */
int vmm_bus_add(struct vmm_bus *bus, uint64_t base, uint64_t size, const struct vmm_bus_ops *ops,
                void *opaque);

/* Remove the region that starts at `base` and has this `opaque`; no effect without one. */
void vmm_bus_remove(struct vmm_bus *bus, uint64_t base, const void *opaque);

/*
 * Perform a guest's access of 1, 2, 4 or 8 bytes. Where no region is, or when the access crosses
 * a region's end, reads give all ones and writes are ignored, as on a PC.
 */
uint64_t vmm_bus_read(struct vmm_bus *bus, uint64_t address, unsigned int size);
void vmm_bus_write(struct vmm_bus *bus, uint64_t address, unsigned int size, uint64_t value);

#endif
