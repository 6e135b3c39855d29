/* SPDX-License-Identifier: MIT */
/* The attach sequence, and its exact reverse. */
#include "assign/assign.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

int viommu_assign_create(struct viommu_assign **out, struct viommu_host *host,
                         struct viommu_memory *memory, const struct viommu_log *log,
                         struct viommu_error *error)
{
    struct viommu_assign *assign;

    if (!host || !memory)
        return error_set(error, -EINVAL,
                         "assigning devices needs a host and a guest memory, %s is "
                         "missing; create it first",
                         host ? "the memory" : "the host");
    assign = calloc(1, sizeof(*assign));
    if (!assign)
        return error_set(error, -ENOMEM, "no memory to assign devices of a host");
    assign->host = host;
    assign->memory = memory;
    if (log)
        assign->log = *log;
    pthread_mutex_init(&assign->lock, NULL);
    TAILQ_INIT(&assign->devices);
    TAILQ_INIT(&assign->ioases);
    TAILQ_INIT(&assign->hwpts);
    *out = assign;
    return 0;
}

void viommu_assign_destroy(struct viommu_assign *assign)
{
    struct viommu_assigned_device *device;

    if (!assign)
        return;
    while ((device = TAILQ_LAST(&assign->devices, assigned_devices)))
        viommu_assign_detach(device); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
    assign_tables_abandon(assign);
    pthread_mutex_destroy(&assign->lock);
    free(assign);
}

static int create_host_device(struct viommu_assigned_device *device, struct viommu_error *error)
{
    const struct assign_hwpt *hwpt = device->hwpt;
    int ret;

    pthread_mutex_lock(&device->assign->lock);
    if (device->unbound)
        ret = error_set(error, -ENODEV,
                        "memory was removed from the guest meanwhile and the host "
                        "could not unmap it; attach the device again");
    else
        ret = host_device_create(&device->host_device, device->assign->host, device->device_id,
                                 hwpt->ioas->id, hwpt->id, hwpt->ioas->nest_parent, error);
    pthread_mutex_unlock(&device->assign->lock);
    return ret;
}

static void destroy_host_device(struct viommu_assigned_device *device)
{
    pthread_mutex_lock(&device->assign->lock);
    if (host_device_is_unbound(device->host_device))
        device->unbound = true;
    host_device_destroy(device->host_device);
    device->host_device = NULL;
    pthread_mutex_unlock(&device->assign->lock);
}

/* What follows the attachment: the host IOMMU device, and the vIOMMU's answer to it. */
static int present(struct viommu_assigned_device *device, struct viommu_error *error)
{
    int ret = create_host_device(device, error);

    if (ret)
        return ret;
    ret = host_device_realize(device->host_device, error);
    if (!ret)
        ret = viommu_pci_device_set_iommu_device(device->function, device->host_device, error);
    if (ret)
        destroy_host_device(device);
    return ret;
}

static int attach(struct viommu_assigned_device *device, const char *name,
                  struct viommu_error *error)
{
    struct viommu_assign *assign = device->assign;
    uint64_t viommu_cap;
    int ret;

    ret = viommu_host_bind(assign->host, name, &device->device_id, error);
    if (ret)
        return ret;
    viommu_cap = viommu_pci_device_get_viommu_cap(device->function);
    ret = assign_tables_attach(device, viommu_cap & VIOMMU_CAP_HW_NESTED, error);
    if (ret)
        goto unbind;
    ret = present(device, error);
    if (ret)
        goto detach;
    return 0;

detach:
    assign_tables_detach(device);
unbind:
    if (!device->unbound)
        viommu_host_unbind(assign->host, device->device_id);
    return ret;
}

int viommu_assign_attach(struct viommu_assign *assign, struct viommu_pci_device *device,
                         const char *name, struct viommu_assigned_device **out,
                         struct viommu_error *error)
{
    struct viommu_assigned_device *assigned = calloc(1, sizeof(*assigned));
    struct viommu_error cause = {
        0}; /* tried and failed steps of an attach that succeeds write it too */
    int ret;

    if (!assigned)
        return error_set(error, -ENOMEM, "no memory to assign host device %s", name);
    assigned->assign = assign;
    assigned->function = device;
    ret = attach(assigned, name, &cause);
    if (!ret) {
        *out = assigned;
        return 0;
    }
    free(assigned);
    if (error)
        *error = cause;
    return ret;
}

void viommu_assign_detach(struct viommu_assigned_device *device)
{
    struct viommu_assign *assign = device->assign;

    viommu_pci_device_unset_iommu_device(device->function);
    destroy_host_device(device);
    assign_tables_detach(device);
    if (!device->unbound)
        viommu_host_unbind(assign->host, device->device_id);
    free(device);
}

struct viommu_host_device *
viommu_assigned_device_host_device(const struct viommu_assigned_device *device)
{
    return device->host_device;
}
