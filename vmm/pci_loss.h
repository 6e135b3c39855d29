/* SPDX-License-Identifier: MIT */
/*
 * What ends a function's time with the guest from outside: an eventfd that vm->loop waits for, and
 * by which the function is unplugged.
 */
#ifndef VMM_PCI_LOSS_H
#define VMM_PCI_LOSS_H

struct viommu_assigned_device;
struct vmm_pci_function;
struct vmm_watch;

#define VMM_PCI_LOSS_BY_HOST "could not be detached by the host"

/* All zero: there is none. */
struct vmm_pci_loss {
    struct vmm_pci_function *fn; /* NULL: none */
    const char *why;             /* follows its name in a sentence; outlives the function */
    int event;                   /* whoever knows of the loss writes to it */
    struct vmm_watch *watch;
};

/* `fn` is initialized. 0, -ENOMEM, or the system's errno; then there is none. */
int vmm_pci_loss_create(struct vmm_pci_loss *loss, struct vmm_pci_function *fn, const char *why);

/*
 * Waits for the function's unplugging where that is on its way: not within one, nor with
 * vm->plug_lock.
 */
void vmm_pci_loss_destroy(struct vmm_pci_loss *loss);

/*
 * It is lost when the host could not detach it, now or before; from vmm_pci_loss_ignore() on that
 * is nothing to it, and the attachment may go.
 */
void vmm_pci_loss_listen(struct vmm_pci_loss *loss, struct viommu_assigned_device *attachment);
void vmm_pci_loss_ignore(struct viommu_assigned_device *attachment);

#endif
