/* SPDX-License-Identifier: MIT */
/* Resets of a VFIO device: its own, or that of its bus where it has none. */
#include "hosts.h"
#include "pci_host.h"
#include "vfio.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES_AT_FIRST 8u
#define TRIES            3u

/*
 * Since Linux 6.5, of devices that iommufd has: they are told by its IDs in place of groups, and
 * whether they are ours is known to the kernel.
 */
#define INFO_BY_ID 0x1u
#define ID_OF_NONE UINT32_MAX

#define NOWHERE UINT64_MAX

/* An errno that VFIO has no use for. */
#define NOT_OURS EXDEV

typedef struct vfio_pci_dependent_device affected_t;

/* ---- What is on the bus */

static uint64_t pack_address(unsigned int segment, unsigned int bus, unsigned int devfn)
{
    return (uint64_t)segment << 16 | bus << 8 | devfn;
}

void vmm_vfio_locate(struct vmm_vfio *vfio, const char *device, uint32_t id)
{
    unsigned int segment = 0, bus, slot, function;

    vfio->host_id = id;
    vfio->host_address = NOWHERE;
    if (sscanf(device, "%x:%x:%x.%x", &segment, &bus, &slot, &function) == 4 ||
        (segment = 0, sscanf(device, "%x:%x.%x", &bus, &slot, &function) == 3))
        vfio->host_address = pack_address(segment, bus, slot << 3 | function);
}

/* Freed by the caller. */
static int find_affected(struct vmm_vfio *vfio, struct vfio_pci_hot_reset_info **out,
                         struct viommu_error *why)
{
    struct vfio_pci_hot_reset_info *info;
    uint32_t count = DEVICES_AT_FIRST;
    unsigned int i;
    size_t size;
    int error;

    for (i = 0; i < TRIES; i++) {
        size = sizeof(*info) + count * sizeof(affected_t);
        info = calloc(1, size);
        if (!info)
            return vmm_fail(why, ENOMEM, "out of memory for what is on its bus");
        info->argsz = (uint32_t)size;
        error = 0;
        if (vfio->kernel->ioctl(vfio->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info) < 0)
            error = errno;
        *out = info;
        if (!error && info->count <= count)
            return 0;
        count = info->count;
        free(info);
        if (error != ENOSPC)
            return vmm_fail(why, error ? error : EPROTO,
                            "VFIO does not tell what a reset of its bus would reset: %s",
                            strerror(error ? error : EPROTO));
    }
    return vmm_fail(why, ENOSPC, "VFIO tells of more devices on its bus each time it is asked");
}

static int is_not_ours(const affected_t *affected, struct viommu_error *why)
{
    return vmm_fail(why, NOT_OURS,
                    "a reset of its bus would reset %04x:%02x:%02x.%x, which is not of this "
                    "machine; give that to the guest, too, or to nobody and plug it elsewhere",
                    affected->segment, affected->bus, affected->devfn >> 3, affected->devfn & 7u);
}

/* ---- What of it is at work for this guest */

static bool is_affected(const struct vmm_vfio *vfio, const struct vfio_pci_hot_reset_info *info)
{
    const affected_t *affected;
    unsigned int i;

    for (i = 0; i < info->count; i++) {
        affected = &info->devices[i];
        if (info->flags & INFO_BY_ID ? affected->group_id == vfio->host_id
                                     : pack_address(affected->segment, affected->bus,
                                                    affected->devfn) == vfio->host_address)
            return true;
    }
    return false;
}

/*
 * A guest that has one of its devices reset, or loses it, goes on with the others. One that it
 * switches bus mastering on for meanwhile waits in vmm_vfio_bus_master(), and begins afterwards;
 * who it is does not change, and one that leaves is no bus master any more.
 */
static int check_idle(const struct vmm_vfio *vfio, const struct vfio_pci_hot_reset_info *info,
                      struct viommu_error *why)
{
    struct vmm_pci_function *fn = NULL;
    const struct vmm_vfio *other;

    while ((fn = vmm_pci_next(vfio->fn.vm, fn))) {
        other = vmm_vfio_of(fn);
        if (fn->ops == &vmm_vfio_ops && other != vfio && vmm_pci_bus_master(fn) &&
            is_affected(other, info))
            return vmm_fail(why, EBUSY, "%s, which the guest uses, is on the same bus",
                            other->name);
    }
    return 0;
}

/* ---- The reset */

static void add_once(struct vfio_pci_hot_reset *reset, int group)
{
    uint32_t i;

    for (i = 0; i < reset->count; i++)
        if (reset->group_fds[i] == group)
            return;
    reset->group_fds[reset->count++] = group;
}

/* What proves to VFIO that the devices are ours: each group. For those of iommufd it needs none. */
static int prove(const struct vmm_vfio *vfio, const struct vfio_pci_hot_reset_info *info,
                 struct vfio_pci_hot_reset *reset, struct viommu_error *why)
{
    bool by_id = info->flags & INFO_BY_ID;
    const affected_t *affected;
    unsigned int i;
    int group;

    for (i = 0; i < info->count; i++) {
        affected = &info->devices[i];
        group = by_id ? -1 : vmm_host_group_descriptor(vfio->fn.vm, affected->group_id, NULL);
        if (by_id ? affected->group_id == ID_OF_NONE : group < 0)
            return is_not_ours(affected, why);
        if (!by_id)
            add_once(reset, group);
    }
    return 0;
}

static int reset_bus_of(struct vmm_vfio *vfio, const struct vfio_pci_hot_reset_info *info,
                        struct viommu_error *why)
{
    size_t size = sizeof(struct vfio_pci_hot_reset) + info->count * sizeof(int32_t);
    struct vfio_pci_hot_reset *reset = calloc(1, size);
    int ret;

    if (!reset)
        return vmm_fail(why, ENOMEM, "out of memory for the reset of its bus");
    reset->argsz = (uint32_t)size;
    ret = prove(vfio, info, reset, why);
    if (!ret && vfio->kernel->ioctl(vfio->fd, VFIO_DEVICE_PCI_HOT_RESET, reset) < 0)
        ret = vmm_fail(why, errno, "VFIO refuses a reset of its bus: %s", strerror(errno));
    free(reset);
    return ret;
}

static int hot_reset(struct vmm_vfio *vfio, bool at_work, struct viommu_error *why)
{
    struct vfio_pci_hot_reset_info *info = NULL;
    int ret = find_affected(vfio, &info, why);

    if (ret)
        return ret;
    ret = at_work ? check_idle(vfio, info, why) : 0;
    if (!ret)
        ret = reset_bus_of(vfio, info, why);
    free(info);
    return ret;
}

void vmm_vfio_bus_master(struct vmm_pci_function *fn, bool enabled)
{
    struct vmm *vm = fn->vm;

    (void)enabled; /* another vCPU may have been faster */
    pthread_mutex_lock(&vm->bus_reset_lock);
    vmm_vfio_set_command(vmm_vfio_of(fn), vmm_pci_bus_master(fn));
    pthread_mutex_unlock(&vm->bus_reset_lock);
}

static int own_reset(struct vmm_vfio *vfio, struct viommu_error *why)
{
    if (!vfio->kernel->ioctl(vfio->fd, VFIO_DEVICE_RESET, NULL))
        return 0;
    return vmm_fail(why, errno, "%s", strerror(errno));
}

/* What is gone needs none. `at_work`: the guest is, with its other devices. */
static int reset_device(struct vmm_vfio *vfio, bool at_work, struct viommu_error *why)
{
    pthread_mutex_t *bus = vfio->can_reset ? NULL : &vfio->fn.vm->bus_reset_lock;
    int ret = 0;

    if (bus)
        pthread_mutex_lock(bus);
    pthread_rwlock_rdlock(&vfio->access);
    if (vfio->fd >= 0)
        ret = bus ? hot_reset(vfio, at_work, why) : own_reset(vfio, why);
    pthread_rwlock_unlock(&vfio->access);
    if (bus)
        pthread_mutex_unlock(bus);
    return ret;
}

/* What is not of this machine may be by the time that all devices are there. */
void vmm_vfio_first_reset(struct vmm_vfio *vfio)
{
    struct viommu_error why;
    int ret = reset_device(vfio, false, &why);

    vfio->reset_later = ret == -NOT_OURS;
    if (ret && !vfio->reset_later)
        vmm_vfio_complain_of(vfio, VMM_VFIO_NO_RESET, why.message);
}

void vmm_vfio_later_resets(struct vmm *vm)
{
    struct vmm_pci_function *fn = NULL;
    struct viommu_error why;
    struct vmm_vfio *vfio;

    while ((fn = vmm_pci_next(vm, fn))) {
        vfio = vmm_vfio_of(fn);
        if (fn->ops == &vmm_vfio_ops && vfio->reset_later && reset_device(vfio, false, &why))
            vmm_vfio_complain_of(vfio, VMM_VFIO_NO_RESET, why.message);
    }
}

/*
 * The framework calls for the interrupts of before, or of after, when this is done. When all of the
 * machine is reset its processors have stopped.
 */
void vmm_vfio_reset(struct vmm_pci_function *fn)
{
    struct vmm_vfio *vfio = vmm_vfio_of(fn);
    bool at_work = atomic_load(&fn->vm->stop) == VMM_STOP_NONE;
    struct viommu_error why;

    vmm_vfio_irqs_disable(vfio);
    if (reset_device(vfio, at_work, &why))
        vmm_vfio_complain_of(vfio, VMM_VFIO_NO_RESET, why.message);
    vmm_vfio_bus_master(fn, false);
}
