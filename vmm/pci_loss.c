/* SPDX-License-Identifier: MIT */
#include "pci_loss.h"
#include "loop.h"
#include "pci.h"
#include "pci_host.h"
#include "vmm.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <viommu/assign.h>
#include <viommu/host.h>

static void ready(void *opaque)
{
    const struct vmm_pci_loss *loss = opaque;
    uint64_t count;

    if (read(loss->event, &count, sizeof(count)) == sizeof(count))
        vmm_pci_lose(loss->fn, loss->why);
}

int vmm_pci_loss_create(struct vmm_pci_loss *loss, struct vmm_pci_function *fn, const char *why)
{
    int ret;

    loss->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loss->event < 0)
        return -errno;
    loss->fn = fn;
    loss->why = why;
    ret = vmm_loop_add(fn->vm->loop, loss->event, ready, loss, &loss->watch, NULL);
    if (ret)
        vmm_pci_loss_destroy(loss);
    return ret;
}

void vmm_pci_loss_destroy(struct vmm_pci_loss *loss)
{
    if (!loss->fn)
        return;
    vmm_loop_remove(loss->fn->vm->loop, loss->watch);
    close(loss->event);
    *loss = (struct vmm_pci_loss){0};
}

/* Inside the library, in any thread. */
static void note(void *opaque)
{
    const struct vmm_pci_loss *loss = opaque;
    uint64_t one = 1;

    while (write(loss->event, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void vmm_pci_loss_listen(struct vmm_pci_loss *loss, struct viommu_assigned_device *attachment)
{
    viommu_host_device_set_lost_handler(viommu_assigned_device_host_device(attachment), note, loss);
}

void vmm_pci_loss_ignore(struct viommu_assigned_device *attachment)
{
    viommu_host_device_set_lost_handler(viommu_assigned_device_host_device(attachment), NULL, NULL);
}
