/* SPDX-License-Identifier: MIT */
/* Functions that leave a running machine. */
#include "pci_host.h"
#include "pci_internal.h"
#include <errno.h>
#include <stdio.h>

static struct vmm_pci_function *find(const struct vmm *vm, unsigned int segment, unsigned int devfn)
{
    struct vmm_pci_function *fn = NULL;

    while ((fn = vmm_pci_next(vm, fn)))
        if (fn->id.segment == segment && fn->devfn == devfn && !fn->unplugged)
            return fn;
    return NULL;
}

bool vmm_pci_is_unplugged(struct vmm_pci_function *fn)
{
    return __atomic_load_n(&fn->unplugged, __ATOMIC_ACQUIRE);
}

/* From now on no configuration access changes it, and so none makes it a bus master again. */
static void disappear(struct vmm_pci_function *fn)
{
    struct vmm_pci_host *pci = fn->vm->pci;

    pthread_mutex_lock(&pci->lock);
    __atomic_store_n(&fn->unplugged, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&pci->lock);
}

/* Under vm->plug_lock. */
static void take_out(struct vmm_pci_function *fn)
{
    disappear(fn);
    vmm_pci_power_on(fn); /* no address, no interrupts, and its DMA has ended */
    fn->ops->unplug(fn);
    viommu_pci_device_remove(fn->viommu);
    fn->viommu = NULL;
}

static int unplug(struct vmm *vm, unsigned int segment, unsigned int devfn,
                  struct viommu_error *err)
{
    struct vmm_pci_function *fn = find(vm, segment, devfn);

    if (!fn)
        return vmm_fail(err, ENOENT, "there is no function %04x:00:%02x.%u", segment, devfn >> 3,
                        devfn & 7);
    if (!fn->ops->unplug)
        return vmm_fail(err, EBUSY,
                        "the function %04x:00:%02x.%u (%s) cannot be unplugged; edu and vfio can",
                        segment, devfn >> 3, devfn & 7, fn->id.name);
    take_out(fn);
    return 0;
}

int vmm_pci_unplug(struct vmm *vm, unsigned int segment, unsigned int devfn,
                   struct viommu_error *err)
{
    int ret;

    pthread_mutex_lock(&vm->plug_lock);
    ret = unplug(vm, segment, devfn, err);
    pthread_mutex_unlock(&vm->plug_lock);
    return ret;
}

/* Of registering and this, the one that has the lock later sees what the other did. */
void vmm_pci_lose(struct vmm_pci_function *fn, const char *why)
{
    struct vmm *vm = fn->vm;

    pthread_mutex_lock(&vm->plug_lock);
    fn->lost = why;
    if (fn->registered && !fn->unplugged) {
        fprintf(stderr, "viommu: warning: %s %s, and is unplugged\n", fn->id.name, why);
        take_out(fn);
    }
    pthread_mutex_unlock(&vm->plug_lock);
}
