/* SPDX-License-Identifier: MIT */
/*
 * Interrupts on their way to the local APICs, which are in the kernel.
 *
 * Both calls may be made from any thread and with device locks held: they take only the IOAPIC's
 * lock and never call a device. That rule has one consequence: nothing reached from vmm_irq_msi()
 * may call back into a device model.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct vmm;

/* GSIs of the machine: ISA numbers below 16, and the four INTx lines of the PCI root bus. */
#define VMM_GSI_COM1      4
#define VMM_GSI_PCI_FIRST 16
#define VMM_GSI_PCI_COUNT 4
#define VMM_GSI_COUNT     24

#define VMM_IOAPIC_ID 0u

/* Who the IOAPIC and the vIOMMU are as senders of messages; the guest has no bus 255. */
#define VMM_IOAPIC_REQUESTER_ID 0xff00u
#define VMM_VIOMMU_REQUESTER_ID 0xff08u

/*
 * Drive the input line `gsi` of the IOAPIC (0..23, others are ignored). The line has one level;
 * whoever shares it must do the OR, as vmm_pci_set_intx() does for PCI functions.
 */
void vmm_irq_set_level(struct vmm *vm, unsigned int gsi, bool level);

/*
 * Deliver a message-signalled interrupt: a 32-bit write of `data` to `address` by the function
 * with this requester ID (bus << 8 | devfn). Interrupt remapping will be done here. Addresses
 * outside 0xfee00000..0xfeefffff deliver nothing.
 */
void vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data, uint16_t requester_id);

#endif
