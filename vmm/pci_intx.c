/* SPDX-License-Identifier: MIT */
/* The four INTx lines of the root bus, shared by the functions. */
#include "pci_internal.h"

static unsigned int line_of(const struct vmm_pci_function *fn)
{
    return ((fn->devfn >> 3) + fn->id.interrupt_pin - 1u) % VMM_GSI_PCI_COUNT;
}

unsigned int vmm_pci_intx_gsi(const struct vmm_pci_function *fn)
{
    return VMM_GSI_PCI_FIRST + line_of(fn);
}

void vmm_pci_intx_update(struct vmm_pci_function *fn)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    uint16_t command = vmm_pci_get16(fn->config, PCI_REG_COMMAND);
    unsigned int *users = &pci->line_users[line_of(fn)];
    bool drive;

    if (!fn->id.interrupt_pin)
        return;
    fn->config[PCI_REG_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    if (fn->intx_level)
        fn->config[PCI_REG_STATUS] |= PCI_STATUS_INTERRUPT;
    drive = fn->intx_level && !(command & PCI_COMMAND_INTX_DISABLE) && !vmm_pci_message_enabled(fn);
    if (drive == fn->intx_driven)
        return;
    fn->intx_driven = drive;
    *users += drive ? 1u : -1u;
    vmm_irq_set_level(fn->vm, vmm_pci_intx_gsi(fn), *users > 0);
}

void vmm_pci_set_intx(struct vmm_pci_function *fn, bool level)
{
    struct vmm_pci_host *pci = fn->vm->pci;

    pthread_mutex_lock(&pci->lock);
    fn->intx_level = level;
    vmm_pci_intx_update(fn);
    pthread_mutex_unlock(&pci->lock);
}
