/* SPDX-License-Identifier: MIT */
/*
 * What one guest uses of one host.
 *
 *   assign.c   the attach sequence, and its exact reverse
 *   tables.c   the IOASes that hold guest memory, and the HWPTs made of them
 *
 * `lock` orders what attach and detach do to a device with what a memory hot-unplug may have to do
 * to it. It is taken within the memory map's own lock, so nothing registers or unregisters a
 * memory_listener while holding it.
 */
#ifndef ASSIGN_ASSIGN_H
#define ASSIGN_ASSIGN_H

#include <pthread.h>
#include <sys/queue.h>
#include <viommu/assign.h>

#include "host/host.h"
#include "memory/memory.h"

/* Guest memory, mapped at its GPA. */
struct assign_ioas {
    struct memory_listener listener; /* first: tables.c casts */
    struct viommu_assign *assign;
    uint32_t id;
    bool nest_parent; /* holds no read-only ranges, see tables.c */
    bool stale;       /* under assign->lock: maps what it should not, no device may use it */
    unsigned int users;
    TAILQ_ENTRY(assign_ioas) link;
};

/* A page table of such an IOAS. Without users only while the host refuses to destroy it. */
struct assign_hwpt {
    struct assign_ioas *ioas;
    uint32_t id;
    unsigned int users;
    TAILQ_ENTRY(assign_hwpt) link;
};

struct viommu_assigned_device {
    struct viommu_assign *assign;
    struct viommu_pci_device *function;
    struct assign_hwpt *hwpt;
    struct viommu_host_device *host_device; /* set and cleared under assign->lock */
    uint32_t device_id;
    bool unbound; /* under assign->lock: taken away from the host by force, its ID is void */
    TAILQ_ENTRY(viommu_assigned_device) link;
};

struct viommu_assign {
    struct viommu_host *host;
    struct viommu_memory *memory;
    struct viommu_log log;
    pthread_mutex_t lock;
    TAILQ_HEAD(assigned_devices, viommu_assigned_device)
    devices; /* under lock: those attached to a HWPT */
    TAILQ_HEAD(, assign_ioas) ioases;
    TAILQ_HEAD(, assign_hwpt) hwpts;
};

/*
 * Attach device->device_id to a HWPT of the guest's memory: one that is there, or a new one. Sets
 * device->hwpt and puts the device on assign->devices. On failure everything is as it was.
 */
int assign_tables_attach(struct viommu_assigned_device *device, bool nest_parent,
                         struct viommu_error *error);

/* The reverse, with what follows from it: detach, free what has no user. Cannot fail. */
void assign_tables_detach(struct viommu_assigned_device *device);

/*
 * No device is left: free everything. What the host still refuses to destroy stays with the host,
 * empty, until that is destroyed.
 */
void assign_tables_abandon(struct viommu_assign *assign);

#endif
