/* SPDX-License-Identifier: MIT */
/* What ends a VFIO device's time with the guest: each is an eventfd that vm->loop waits for. */
#include "vfio.h"
#include "vmm.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <viommu/assign.h>

static const struct {
    const char *why;
    bool of_device; /* VFIO signals it, for devices that have it, by this index */
    unsigned int index;
} kinds[VMM_VFIO_SIGNALS] = {
    [VMM_VFIO_ERROR] = {"had an uncorrectable error", true, VFIO_PCI_ERR_IRQ_INDEX},
    [VMM_VFIO_REQUEST] = {"is wanted back by the host", true, VFIO_PCI_REQ_IRQ_INDEX},
    [VMM_VFIO_LOSS] = {"could not be detached by the host", false, 0},
};

static void ready(void *opaque)
{
    const struct vmm_vfio_signal *signal = opaque;

    if (vmm_vfio_event_take(signal->event))
        vmm_vfio_lost(signal->vfio, kinds[signal->kind].why);
}

static int watch(struct vmm_vfio *vfio, enum vmm_vfio_signal_kind kind)
{
    struct vmm_vfio_signal *signal = &vfio->signals[kind];

    signal->vfio = vfio;
    signal->kind = kind;
    signal->event = vmm_vfio_event();
    if (signal->event < 0)
        return -errno;
    return vmm_loop_add(vfio->fn.vm->loop, signal->event, ready, signal, &signal->watch, NULL);
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

/* Inside the library, in any thread. */
static void note_loss(void *opaque)
{
    const struct vmm_vfio *vfio = opaque;
    uint64_t one = 1;

    while (write(vfio->signals[VMM_VFIO_LOSS].event, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void tell_of_loss(struct vmm_vfio *vfio, viommu_host_lost_fn *fn)
{
    if (vfio->attachment)
        viommu_host_device_set_lost_handler(viommu_assigned_device_host_device(vfio->attachment),
                                            fn, vfio);
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
    tell_of_loss(vfio, note_loss);
    return 0;
}

void vmm_vfio_signals_destroy(struct vmm_vfio *vfio)
{
    tell_of_loss(vfio, NULL);
    for (unsigned int i = 0; i < VMM_VFIO_SIGNALS; i++) {
        vmm_loop_remove(vfio->fn.vm->loop, vfio->signals[i].watch);
        vfio->signals[i].watch = NULL;
        vmm_vfio_event_close(&vfio->signals[i].event);
    }
}
