/* SPDX-License-Identifier: MIT */
/* The IOASes that hold guest memory, and the HWPTs made of them. */
#include <errno.h>
#include <stdlib.h>

#include "assign/assign.h"
#include "base/error.h"
#include "base/log.h"

/*
 * Read-only ranges stay out of a nesting parent on every host, not only on one with erratum 772415:
 * Linux refuses them there on all hosts, and whether this host has the erratum is known only after
 * the table is attached. DMA to guest ROM then faults.
 */
static bool leaves_out(const struct assign_ioas *ioas, const struct viommu_memory_range *range)
{
    return ioas->nest_parent && (range->flags & VIOMMU_MEMORY_READONLY);
}

static int map_range(struct memory_listener *listener, const struct viommu_memory_range *range,
                     struct viommu_error *error)
{
    struct assign_ioas *ioas = (struct assign_ioas *)listener;
    uint32_t flags = VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE;
    struct viommu_error cause;
    int ret;

    if (leaves_out(ioas, range))
        return 0;
    if (range->flags & VIOMMU_MEMORY_READONLY)
        flags = VIOMMU_HOST_MAP_READ;
    ret = viommu_host_ioas_map(ioas->assign->host, ioas->id, range->gpa, range->host, range->size,
                               flags, &cause);
    if (ret)
        return error_set(error, ret,
                         "guest memory at GPA 0x%llx (0x%llx bytes) cannot be mapped for assigned "
                         "devices: %s",
                         (unsigned long long)range->gpa, (unsigned long long)range->size,
                         cause.message);
    return 0;
}

/* Unbinding blocks for certain. Under lock. */
static void unbind(struct viommu_assigned_device *device)
{
    if (device->host_device)
        host_device_unbind(device->host_device);
    else if (!device->unbound)
        viommu_host_unbind(device->assign->host, device->device_id);
    device->unbound = true;
}

/* The last resort when memory that goes away cannot be unmapped: its users lose the host. */
static void unbind_users(struct assign_ioas *ioas)
{
    struct viommu_assign *assign = ioas->assign;
    struct viommu_assigned_device *device;

    pthread_mutex_lock(&assign->lock);
    ioas->stale = true;
    TAILQ_FOREACH(device, &assign->devices, link)
    {
        if (device->hwpt->ioas != ioas || device->unbound)
            continue;
        unbind(device);
        log_message(&assign->log, VIOMMU_LOG_ERROR,
                    "%s is blocked until it is detached: the host could not unmap memory that is "
                    "being removed from the guest",
                    viommu_pci_device_name(device->function));
    }
    pthread_mutex_unlock(&assign->lock);
}

static void unmap_range(struct memory_listener *listener, const struct viommu_memory_range *range)
{
    struct assign_ioas *ioas = (struct assign_ioas *)listener;
    struct viommu_error error = {0};
    int ret = -1;

    if (leaves_out(ioas, range))
        return;
    for (int attempt = 0; ret && attempt < 2; attempt++)
        ret = viommu_host_ioas_unmap(ioas->assign->host, ioas->id, range->gpa, range->size, NULL,
                                     &error);
    if (!ret)
        return;
    log_message(&ioas->assign->log, VIOMMU_LOG_ERROR,
                "guest memory at GPA 0x%llx cannot be unmapped from IOAS %u: %s",
                (unsigned long long)range->gpa, ioas->id, error.message);
    unbind_users(ioas);
}

/* 0, and then the IOAS is gone; else it stays and collecting tries again. */
static int destroy_object(struct viommu_assign *assign, uint32_t id, const char *kind)
{
    struct viommu_error error;
    int ret = viommu_host_destroy_object(assign->host, id, &error);

    if (ret)
        log_message(&assign->log, VIOMMU_LOG_WARNING,
                    "the host did not destroy %s %u, it will be tried again: %s", kind, id,
                    error.message);
    return ret;
}

static void ioas_release(struct assign_ioas *ioas)
{
    struct viommu_assign *assign = ioas->assign;

    if (ioas->users || destroy_object(assign, ioas->id, "IOAS"))
        return;
    TAILQ_REMOVE(&assign->ioases, ioas, link);
    free(ioas);
}

/*
 * An IOAS that nobody uses is emptied before it is destroyed, so that one which the host refuses to
 * destroy maps nothing; for the same reason it is never used again.
 */
static void ioas_put(struct assign_ioas *ioas)
{
    if (--ioas->users)
        return;
    memory_listener_unregister(ioas->assign->memory, &ioas->listener);
    ioas->stale = true;
    ioas_release(ioas);
}

static struct assign_ioas *ioas_find(struct viommu_assign *assign, bool nest_parent)
{
    struct assign_ioas *ioas;

    pthread_mutex_lock(&assign->lock);
    TAILQ_FOREACH(ioas, &assign->ioases, link)
    {
        if (ioas->nest_parent == nest_parent && !ioas->stale)
            break;
    }
    pthread_mutex_unlock(&assign->lock);
    return ioas;
}

static int ioas_new(struct viommu_assign *assign, bool nest_parent, struct assign_ioas **out,
                    struct viommu_error *error)
{
    struct assign_ioas *ioas = calloc(1, sizeof(*ioas));
    int ret;

    if (!ioas)
        return error_set(error, -ENOMEM, "no memory for an IOAS");
    ioas->assign = assign;
    ioas->nest_parent = nest_parent;
    ioas->listener.add = map_range;
    ioas->listener.remove = unmap_range;
    ret = viommu_host_ioas_alloc(assign->host, &ioas->id, error);
    if (ret) {
        free(ioas);
        return ret;
    }
    TAILQ_INSERT_TAIL(&assign->ioases, ioas, link);
    ret = memory_listener_register(assign->memory, &ioas->listener, error);
    if (ret) {
        ioas->stale = true;
        ioas_release(ioas);
        return ret;
    }
    *out = ioas;
    return 0;
}

/* The IOAS of this kind, with one more user. HWPTs of different host IOMMUs share it. */
static int ioas_get(struct viommu_assign *assign, bool nest_parent, struct assign_ioas **out,
                    struct viommu_error *error)
{
    int ret = 0;

    *out = ioas_find(assign, nest_parent);
    if (!*out)
        ret = ioas_new(assign, nest_parent, out, error);
    if (!ret)
        (*out)->users++;
    return ret;
}

static void hwpt_release(struct viommu_assign *assign, struct assign_hwpt *hwpt)
{
    if (hwpt->users || destroy_object(assign, hwpt->id, "HWPT"))
        return;
    TAILQ_REMOVE(&assign->hwpts, hwpt, link);
    ioas_put(hwpt->ioas);
    free(hwpt);
}

/*
 * A device may use PASIDs only when its own HWPT can carry them too, and whether the device has any
 * is not known yet. So PASID is asked for, and done without on a host that cannot.
 */
static int hwpt_alloc(const struct assign_ioas *ioas, uint32_t device_id, uint32_t *id,
                      struct viommu_error *error)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = device_id,
        .parent_id = ioas->id,
        .flags = VIOMMU_HOST_HWPT_PASID | (ioas->nest_parent ? VIOMMU_HOST_HWPT_NEST_PARENT : 0),
    };
    int ret = viommu_host_hwpt_alloc(ioas->assign->host, &options, id, error);

    if (ret != -EOPNOTSUPP)
        return ret;
    options.flags &= ~VIOMMU_HOST_HWPT_PASID;
    return viommu_host_hwpt_alloc(ioas->assign->host, &options, id, error);
}

static int hwpt_new(struct viommu_assign *assign, uint32_t device_id, bool nest_parent,
                    struct assign_hwpt **out, struct viommu_error *error)
{
    struct assign_hwpt *hwpt = calloc(1, sizeof(*hwpt));
    int ret;

    if (!hwpt)
        return error_set(error, -ENOMEM, "no memory for a HWPT");
    ret = ioas_get(assign, nest_parent, &hwpt->ioas, error);
    if (ret)
        goto free_hwpt;
    ret = hwpt_alloc(hwpt->ioas, device_id, &hwpt->id, error);
    if (ret)
        goto put_ioas;
    TAILQ_INSERT_TAIL(&assign->hwpts, hwpt, link);
    *out = hwpt;
    return 0;

put_ioas:
    ioas_put(hwpt->ioas);
free_hwpt:
    free(hwpt);
    return ret;
}

/* Attach, and let a hot-unplug know of it, in one step. */
static int attach_to(struct viommu_assigned_device *device, struct assign_hwpt *hwpt,
                     struct viommu_error *error)
{
    struct viommu_assign *assign = device->assign;
    int ret;

    pthread_mutex_lock(&assign->lock);
    if (hwpt->ioas->stale)
        ret = error_set(error, -EINVAL, "HWPT %u maps memory that the guest does not have any more",
                        hwpt->id);
    else
        ret =
            viommu_host_attach(assign->host, device->device_id, VIOMMU_PASID_NONE, hwpt->id, error);
    if (!ret) {
        device->hwpt = hwpt;
        hwpt->users++;
        TAILQ_INSERT_TAIL(&assign->devices, device, link);
    }
    pthread_mutex_unlock(&assign->lock);
    return ret;
}

/* -EINVAL: no HWPT that is there fits. */
static int attach_existing(struct viommu_assigned_device *device, bool nest_parent,
                           struct viommu_error *error)
{
    struct assign_hwpt *hwpt;
    int ret = -EINVAL;

    TAILQ_FOREACH(hwpt, &device->assign->hwpts, link)
    {
        if (hwpt->ioas->nest_parent != nest_parent)
            continue;
        ret = attach_to(device, hwpt, error);
        if (ret != -EINVAL)
            break;
    }
    return ret;
}

static int attach_kind(struct viommu_assigned_device *device, bool nest_parent,
                       struct viommu_error *error)
{
    struct assign_hwpt *hwpt = NULL;
    int ret = attach_existing(device, nest_parent, error);

    if (ret != -EINVAL)
        return ret;
    ret = hwpt_new(device->assign, device->device_id, nest_parent, &hwpt, error);
    if (ret)
        return ret;
    ret = attach_to(device, hwpt, error);
    if (ret)
        hwpt_release(device->assign, hwpt);
    return ret;
}

/*
 * A host that cannot make a nesting parent is not refused here: it gets a plain HWPT, so that the
 * device can be realized and the vIOMMU can tell this and every other mismatch at once.
 */
int assign_tables_attach(struct viommu_assigned_device *device, bool nest_parent,
                         struct viommu_error *error)
{
    int ret = attach_kind(device, nest_parent, error);

    if (ret != -EOPNOTSUPP || !nest_parent)
        return ret;
    log_message(&device->assign->log, VIOMMU_LOG_INFO,
                "%s: the host makes no nesting parent, its IOMMU is compared with a plain HWPT",
                viommu_pci_device_name(device->function));
    return attach_kind(device, false, error);
}

static void block(struct viommu_assigned_device *device)
{
    struct viommu_assign *assign = device->assign;
    struct viommu_error error;

    if (device->unbound ||
        !viommu_host_detach(assign->host, device->device_id, VIOMMU_PASID_NONE, &error))
        return;
    log_message(&assign->log, VIOMMU_LOG_WARNING,
                "%s cannot be detached, it is unbound instead: %s",
                viommu_pci_device_name(device->function), error.message);
    unbind(device);
}

/* Destroy what has no user, also what the host did not want to destroy before. */
static void collect(struct viommu_assign *assign)
{
    struct assign_hwpt *hwpt, *next_hwpt;
    struct assign_ioas *ioas, *next_ioas;

    for (hwpt = TAILQ_FIRST(&assign->hwpts); hwpt; hwpt = next_hwpt) {
        next_hwpt = TAILQ_NEXT(hwpt, link);
        hwpt_release(assign, hwpt);
    }
    for (ioas = TAILQ_FIRST(&assign->ioases); ioas; ioas = next_ioas) {
        next_ioas = TAILQ_NEXT(ioas, link);
        ioas_release(ioas);
    }
}

void assign_tables_detach(struct viommu_assigned_device *device)
{
    struct viommu_assign *assign = device->assign;
    struct assign_hwpt *hwpt = device->hwpt;

    pthread_mutex_lock(&assign->lock);
    block(device);
    TAILQ_REMOVE(&assign->devices, device, link);
    pthread_mutex_unlock(&assign->lock);
    hwpt->users--;
    collect(assign);
}

void assign_tables_abandon(struct viommu_assign *assign)
{
    struct assign_hwpt *hwpt;
    struct assign_ioas *ioas;

    collect(assign);
    while ((hwpt = TAILQ_FIRST(&assign->hwpts))) {
        TAILQ_REMOVE(&assign->hwpts, hwpt, link);
        ioas_put(hwpt->ioas);
        free(hwpt);
    }
    while ((ioas = TAILQ_FIRST(&assign->ioases))) {
        TAILQ_REMOVE(&assign->ioases, ioas, link);
        free(ioas);
    }
}
