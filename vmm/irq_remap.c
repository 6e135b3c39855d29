/* SPDX-License-Identifier: MIT */
/* Messages of functions, on their way through the vIOMMUs. */
#include "irq.h"
#include "vmm.h"
#include <viommu/interrupt.h>

/* What is not remapped has 8 bits of destination; with more above it, it would be DMA. */
void vmm_irq_deliver(void *opaque, const struct viommu_interrupt *interrupt)
{
    if (interrupt->outcome != VIOMMU_INTERRUPT_PASSED || interrupt->address <= UINT32_MAX)
        vmm_irq_msi(opaque, interrupt->address, interrupt->data);
}

void vmm_irq_send(struct vmm *vm, const struct viommu_pci_device *from, uint64_t address,
                  uint32_t data)
{
    viommu_pci_device_send_interrupt(from, address, data, 0, vmm_irq_deliver, vm, NULL);
}
