/* SPDX-License-Identifier: MIT */
/* The four INTx lines of the root bus, shared by the functions. */
#include "pci_host.h"
#include "pci_internal.h"
#include <unistd.h>

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
    fn->intx_level = level && !fn->unplugged;
    vmm_pci_intx_update(fn);
    pthread_mutex_unlock(&pci->lock);
}

void vmm_pci_intx_until_served(struct vmm_pci_function *fn, int served)
{
    struct vmm_pci_host *pci = fn->vm->pci;

    pthread_mutex_lock(&pci->lock);
    fn->intx_served = served;
    pthread_mutex_unlock(&pci->lock);
}

static void line_served(struct vmm_pci_function *fn)
{
    uint64_t one = 1;

    fn->intx_level = false;
    vmm_pci_intx_update(fn);
    /* An eventfd that is full has not been looked at since; nobody misses this one. */
    (void)!write(fn->intx_served, &one, sizeof(one));
}

void vmm_pci_lines_served(struct vmm *vm, uint32_t lines)
{
    struct vmm_pci_host *pci = vm->pci;
    struct vmm_pci_function *fn;
    size_t i;

    if (!pci)
        return;
    pthread_mutex_lock(&pci->lock);
    for (i = 0; i < pci->count; i++) {
        fn = pci->functions[i];
        if (fn->intx_served && fn->intx_level && (lines & 1u << vmm_pci_intx_gsi(fn)))
            line_served(fn);
    }
    pthread_mutex_unlock(&pci->lock);
}
