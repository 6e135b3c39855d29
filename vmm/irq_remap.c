/* SPDX-License-Identifier: MIT */
/* Messages of functions, on their way through the vIOMMUs. */
#include "ioapic.h"
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

bool vmm_irq_lookup(const struct viommu_pci_device *from, uint64_t *address, uint32_t *data)
{
    struct viommu_interrupt out;

    if ((*address & ~UINT64_C(0xfffff)) != VMM_LAPIC_BASE)
        return false;
    viommu_pci_device_send_interrupt(from, *address, *data, VIOMMU_INTERRUPT_LOOKUP, NULL, NULL,
                                     &out);
    if (out.outcome != VIOMMU_INTERRUPT_PASSED && out.outcome != VIOMMU_INTERRUPT_REMAPPED)
        return false;
    *address = out.address;
    *data = out.data;
    return true;
}

void vmm_irq_listener_add(struct vmm *vm, struct vmm_irq_listener *listener)
{
    pthread_mutex_lock(&vm->irq_listeners_lock);
    listener->next = vm->irq_listeners;
    vm->irq_listeners = listener;
    pthread_mutex_unlock(&vm->irq_listeners_lock);
}

void vmm_irq_listener_remove(struct vmm *vm, struct vmm_irq_listener *listener)
{
    struct vmm_irq_listener **at;

    pthread_mutex_lock(&vm->irq_listeners_lock);
    for (at = &vm->irq_listeners; *at && *at != listener; at = &(*at)->next)
        ;
    if (*at)
        *at = listener->next;
    pthread_mutex_unlock(&vm->irq_listeners_lock);
}

void vmm_irq_remapping_changed(struct vmm *vm)
{
    struct vmm_irq_listener *listener;

    vmm_ioapic_update(vm);
    pthread_mutex_lock(&vm->irq_listeners_lock);
    for (listener = vm->irq_listeners; listener; listener = listener->next)
        listener->changed(listener);
    pthread_mutex_unlock(&vm->irq_listeners_lock);
}
