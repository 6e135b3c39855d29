/* SPDX-License-Identifier: MIT */
/*
 * Interrupts on their way to the local APICs, which are in the kernel.
 *
 * All calls may be made from any thread and with device locks held: they take only the IOAPIC's
 * lock and never call a device. That rule has one consequence: nothing reached from vmm_irq_msi()
 * may call back into a device model. vIOMMUs keep to it: they remap without a lock of their own.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct viommu_interrupt;
struct viommu_pci_device;
struct vmm;

/* GSIs of the machine: ISA numbers below 16, and the four INTx lines of the PCI root bus. */
#define VMM_GSI_COM1      4
#define VMM_GSI_PCI_FIRST 16
#define VMM_GSI_PCI_COUNT 4
#define VMM_GSI_COUNT     24

#define VMM_IOAPIC_ID 0u

/* Who the IOAPIC is as a sender of messages, and what its device scope says; the guest has no bus
 * 255. */
#define VMM_IOAPIC_BUS          0xffu
#define VMM_IOAPIC_DEVICE       0u
#define VMM_IOAPIC_REQUESTER_ID (VMM_IOAPIC_BUS << 8 | VMM_IOAPIC_DEVICE << 3)

/*
 * Drive the input line `gsi` of the IOAPIC (0..23, others are ignored). The line has one level;
 * whoever shares it must do the OR, as vmm_pci_set_intx() does for PCI functions.
 */
void vmm_irq_set_level(struct vmm *vm, unsigned int gsi, bool level);

/*
 * A function writes `data` to `address`: its message goes by the vIOMMU that protects it. Addresses
 * outside 0xfee00000..0xfeefffff deliver nothing.
 */
void vmm_irq_send(struct vmm *vm, const struct viommu_pci_device *from, uint64_t address,
                  uint32_t data);

/*
 * Deliver a message to the local APICs as it is: it was remapped, or comes from a vIOMMU. Bits
 * 63:40 of the address are bits 31:8 of the destination.
 */
void vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data);

/*
 * Who keeps what became of messages: `changed` is called when a vIOMMU remaps them in another way,
 * and the old way must not be used any more when it returns. It may look up messages and set
 * routes. Not called any more when vmm_irq_listener_remove() returns; locks that it takes must not
 * be held then.
 */
struct vmm_irq_listener {
    void (*changed)(struct vmm_irq_listener *listener);
    struct vmm_irq_listener *next;
};
void vmm_irq_listener_add(struct vmm *vm, struct vmm_irq_listener *listener);
void vmm_irq_listener_remove(struct vmm *vm, struct vmm_irq_listener *listener);
void vmm_irq_remapping_changed(struct vmm *vm);

/*
 * What a message of the function becomes now, without sending it. False: that is no message which
 * stays the same until a listener is called, and each one must be sent by vmm_irq_send().
 */
bool vmm_irq_lookup(const struct viommu_pci_device *from, uint64_t *address, uint32_t *data);

/* The same for what a vIOMMU made of a message: a viommu_interrupt_deliver_fn; opaque is the vmm.
 */
void vmm_irq_deliver(void *opaque, const struct viommu_interrupt *interrupt);

#endif
