/* SPDX-License-Identifier: MIT */
/*
 * KVM's table of interrupt routes: what message each GSI stands for. The first 24 are the inputs of
 * the IOAPIC, those behind them are taken by devices whose interrupts KVM delivers by itself
 * (irqfd).
 *
 * One lock, a leaf; any thread.
 */
#ifndef VMM_ROUTES_H
#define VMM_ROUTES_H

#include <stdbool.h>
#include <stdint.h>
#include <viommu/error.h>

struct vmm;
struct vmm_routes;

/* Sets vm->routes. -ENOMEM. */
int vmm_routes_create(struct vmm *vm, struct viommu_error *err);
void vmm_routes_destroy(struct vmm *vm);

/* What goes wherever the IOAPIC wants it: no message at all when data is 0. Not told to KVM yet. */
void vmm_routes_set_line(struct vmm *vm, unsigned int gsi, uint64_t address, uint32_t data);

/*
 * A GSI of one's own behind the IOAPIC's, without a route; -ENOSPC when the machine has no more.
 * Given back by vmm_routes_release(), after its irqfd was taken from KVM.
 */
int vmm_routes_take(struct vmm *vm);
void vmm_routes_release(struct vmm *vm, int gsi);

/* The message of a GSI that was taken, as KVM_SIGNAL_MSI has it. Not told to KVM yet. */
void vmm_routes_set(struct vmm *vm, int gsi, uint64_t address, uint32_t data);

/* Tell KVM, which uses no older route when this returns. False: it refused, see errno. */
bool vmm_routes_commit(struct vmm *vm);

#endif
