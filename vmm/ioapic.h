/* SPDX-License-Identifier: MIT */
/*
 * The IOAPIC (82093AA with the EOI register of later ones): 24 input lines that become messages
 * to the local APICs.
 *
 * Locking: one lock of its own; only that of the routes is taken inside. KVM and the calls of
 * viommu/interrupt.h are made with it held, devices are never called.
 */
#ifndef VMM_IOAPIC_H
#define VMM_IOAPIC_H

#include <stdint.h>
#include <viommu/error.h>

struct vmm;
struct vmm_ioapic;

/* Create it and put it on vm->mmio; sets vm->ioapic. */
int vmm_ioapic_create(struct vmm *vm, struct viommu_error *err);
void vmm_ioapic_destroy(struct vmm *vm);

/* As at power-on, for a KVM that knows of no route yet; the lines stay as devices drive them. */
void vmm_ioapic_reset(struct vmm *vm);

/* A vIOMMU remaps interrupts in another way: look at everything again. */
void vmm_ioapic_update(struct vmm *vm);

/* A local APIC broadcast the end of the level-triggered interrupt `vector`. */
void vmm_ioapic_eoi(struct vmm_ioapic *ioapic, uint8_t vector);

#endif
