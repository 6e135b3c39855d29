/* SPDX-License-Identifier: MIT */
/* What ends a VFIO device's time with the guest. */
#include "pci_loss.h"
#include "vfio.h"
#include "vmm.h"
#include <errno.h>
#include <string.h>

static const struct {
    const char *why;
    bool of_device; /* VFIO signals it, for devices that have it, by this index */
    unsigned int index;
} kinds[VMM_VFIO_SIGNALS] = {
    [VMM_VFIO_ERROR] = {"had an uncorrectable error", true, VFIO_PCI_ERR_IRQ_INDEX},
    [VMM_VFIO_REQUEST] = {"is wanted back by the host", true, VFIO_PCI_REQ_IRQ_INDEX},
    [VMM_VFIO_LOSS] = {VMM_PCI_LOSS_BY_HOST, false, 0},
};

static int watch(struct vmm_vfio *vfio, enum vmm_vfio_signal_kind kind)
{
    return vmm_pci_loss_create(&vfio->signals[kind], &vfio->fn, kinds[kind].why);
}

/* A device that does not have it, or whose kernel cannot tell, goes without. */
static void watch_device(struct vmm_vfio *vfio, enum vmm_vfio_signal_kind kind)
{
    unsigned int index = kinds[kind].index;
    uint32_t flags;

    if (vmm_vfio_irq_count(vfio, index, &flags) && !watch(vfio, kind))
        vmm_vfio_set_irqs(vfio, index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1,
                          &vfio->signals[kind].event);
}

int vmm_vfio_signals_create(struct vmm_vfio *vfio, struct viommu_error *err)
{
    int ret;

    for (unsigned int i = 0; i < VMM_VFIO_SIGNALS; i++)
        if (kinds[i].of_device)
            watch_device(vfio, i);
    ret = watch(vfio, VMM_VFIO_LOSS);
    if (ret)
        return vmm_fail(err, -ret, "%s: nothing can wait for its loss: %s", vfio->name,
                        strerror(-ret));
    if (vfio->attachment)
        vmm_pci_loss_listen(&vfio->signals[VMM_VFIO_LOSS], vfio->attachment);
    return 0;
}

void vmm_vfio_signals_destroy(struct vmm_vfio *vfio)
{
    if (vfio->attachment)
        vmm_pci_loss_ignore(vfio->attachment);
    for (unsigned int i = 0; i < VMM_VFIO_SIGNALS; i++)
        vmm_pci_loss_destroy(&vfio->signals[i]);
}
