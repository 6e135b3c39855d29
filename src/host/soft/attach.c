/* SPDX-License-Identifier: MIT */
/* Devices on the host's side: bound, attached to page tables, listened to. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/soft/soft.h"

void soft_device_put(struct viommu_soft_device *device)
{
    struct soft_host *host = device->host;
    bool last;

    pthread_rwlock_wrlock(&host->lock);
    last = --device->references == 0;
    pthread_rwlock_unlock(&host->lock);
    if (!last)
        return;
    soft_gate_destroy(&device->handlers);
    soft_gate_destroy(&device->requests);
    free(device->name);
    free(device);
}

static int bind_locked(struct soft_host *host, const char *name, uint32_t *device_id,
                       struct viommu_error *error)
{
    struct viommu_soft_device *device = soft_find_plugged(host, name);
    int ret;

    if (!device)
        return error_set(error, -ENODEV,
                         "The simulated host has no device %s; plug it in with "
                         "viommu_soft_device_add(), or take host iommufd or type1 for a "
                         "device of this machine",
                         name);
    if (device->object.id)
        return error_set(error, -EBUSY, "Device %s is bound already, as device %u", name,
                         device->object.id);
    ret = soft_object_add(host, &device->object, SOFT_DEVICE, error);
    if (ret)
        return ret;
    device->references++;
    *device_id = device->object.id;
    return 0;
}

int soft_bind(void *opaque, const char *name, uint32_t *device_id, struct viommu_error *error)
{
    struct soft_host *host = opaque;
    int ret;

    pthread_rwlock_wrlock(&host->lock);
    ret = bind_locked(host, name, device_id, error);
    pthread_rwlock_unlock(&host->lock);
    return ret;
}

static int compare_pasids(const void *a, const void *b)
{
    const struct soft_pasid *left = a, *right = b;

    return left->pasid < right->pasid ? -1 : left->pasid > right->pasid;
}

static struct soft_pasid *find_pasid(const struct viommu_soft_device *device, uint32_t pasid)
{
    struct soft_pasid key = {.pasid = pasid}, **node;

    node = tfind(&key, &device->pasid_tree, compare_pasids);
    return node ? *node : NULL;
}

/* PASID 0 is that of requests without PASID (RID_PASID), as Linux sets it up. */
struct soft_hwpt *soft_device_hwpt(const struct viommu_soft_device *device, uint32_t pasid)
{
    const struct soft_pasid *found;

    if (pasid == VIOMMU_PASID_NONE)
        return device->hwpt;
    if (pasid == 0)
        return device->host->caps.pasid_bits ? device->hwpt : NULL;
    found = find_pasid(device, pasid);
    return found ? found->hwpt : NULL;
}

/* As a kernel does when it takes a PASID entry down: whatever was cached through it goes, in the
 * device, too. */
static void hwpt_leave(struct viommu_soft_device *device, uint32_t pasid, struct soft_hwpt *hwpt)
{
    if (!hwpt)
        return;
    hwpt->attachments--;
    soft_cache_clear(&hwpt->cache);
    soft_tlb_forget(device, pasid, 0, UINT64_MAX);
}

static void replace_hwpt(struct viommu_soft_device *device, uint32_t pasid,
                         struct soft_hwpt **place, struct soft_hwpt *hwpt)
{
    if (*place == hwpt)
        return;
    soft_faults_end(device, pasid);
    hwpt_leave(device, pasid, *place);
    *place = hwpt;
    if (hwpt)
        hwpt->attachments++;
}

static void pasid_remove(struct viommu_soft_device *device, struct soft_pasid *pasid)
{
    replace_hwpt(device, pasid->pasid, &pasid->hwpt, NULL);
    tdelete(pasid, &device->pasid_tree, compare_pasids);
    LIST_REMOVE(pasid, link);
    free(pasid);
}

static struct soft_pasid *pasid_add(struct viommu_soft_device *device, uint32_t number)
{
    struct soft_pasid *pasid = calloc(1, sizeof(*pasid));

    if (!pasid)
        return NULL;
    pasid->pasid = number;
    if (!tsearch(pasid, &device->pasid_tree, compare_pasids)) {
        free(pasid);
        return NULL;
    }
    LIST_INSERT_HEAD(&device->pasids, pasid, link);
    return pasid;
}

void soft_device_block(struct viommu_soft_device *device)
{
    while (!LIST_EMPTY(&device->pasids))
        pasid_remove(device, LIST_FIRST(&device->pasids));
    replace_hwpt(device, VIOMMU_PASID_NONE, &device->hwpt, NULL);
}

void soft_unbind(void *opaque, uint32_t device_id)
{
    struct soft_host *host = opaque;
    struct viommu_soft_device *device;

    soft_lock(host);
    device = soft_find_device(host, device_id);
    if (device) {
        soft_device_block(device);
        soft_object_remove(&device->object);
        device->fault_fn = NULL;
    }
    soft_unlock(host);
    if (!device)
        return;
    soft_gate_drain(&device->handlers);
    soft_device_put(device);
}

/* What Linux checks when a nested table is attached, not before. */
static int check_first_stage(const struct soft_hwpt *hwpt, struct viommu_error *error)
{
    const struct viommu_host_vtd_s1 *first_stage = &hwpt->first_stage;
    const struct soft_caps *caps = &hwpt->host->caps;
    const char *name = hwpt->host->info.name;

    if (first_stage->addr_width != 48 && first_stage->addr_width != 57)
        return error_set(error, -EINVAL, "First-stage address width %u of HWPT %u: it is 48 or 57",
                         first_stage->addr_width, hwpt->object.id);
    if (first_stage->addr_width == 57 && !caps->first_5level)
        return error_set(error, -EINVAL,
                         "First-stage address width 57 of HWPT %u: %s has no 5-level first stage "
                         "(CAP.FS5LP); use 48",
                         hwpt->object.id, name);
    if ((first_stage->flags & VIOMMU_HOST_VTD_S1_SRE) && !caps->supervisor)
        return error_set(error, -EINVAL,
                         "HWPT %u allows supervisor requests, %s has none (ECAP.SRS)",
                         hwpt->object.id, name);
    if ((first_stage->flags & VIOMMU_HOST_VTD_S1_EAFE) && !caps->extended_access)
        return error_set(error, -EINVAL,
                         "HWPT %u wants extended-accessed flags, %s has none (ECAP.EAFS)",
                         hwpt->object.id, name);
    if (!is_aligned(first_stage->pgtbl_addr, SOFT_PAGE_SIZE) || first_stage->pgtbl_addr >> 52)
        return error_set(error, -EINVAL,
                         "First-stage table address 0x%llx of HWPT %u: a multiple of 4096 below "
                         "2^52 is wanted",
                         (unsigned long long)first_stage->pgtbl_addr, hwpt->object.id);
    return 0;
}

/* With PASIDs, all page tables of a device are of the PASID kind, also that of its other requests.
 */
static int check_pasid(const struct viommu_soft_device *device, uint32_t pasid,
                       const struct soft_hwpt *hwpt, struct viommu_error *error)
{
    unsigned int bits = device->host->caps.pasid_bits;
    bool fits = hwpt->flags & VIOMMU_HOST_HWPT_PASID;

    if (pasid == VIOMMU_PASID_NONE) {
        if (LIST_EMPTY(&device->pasids) || fits)
            return 0;
        return error_set(error, -EINVAL,
                         "HWPT %u was allocated without the flag PASID, device %s has PASIDs "
                         "attached",
                         hwpt->object.id, device->name);
    }
    if (pasid == 0 || pasid > low_bits(bits))
        return error_set(error, -EINVAL,
                         "PASID %u cannot be attached: device %s has %u bits of PASID, and 0 "
                         "stands for requests without PASID",
                         pasid, device->name, bits);
    if (!fits)
        return error_set(error, -EINVAL,
                         "PASID %u cannot be attached to HWPT %u, which was allocated without the "
                         "flag PASID",
                         pasid, hwpt->object.id);
    if (device->hwpt && !(device->hwpt->flags & VIOMMU_HOST_HWPT_PASID))
        return error_set(error, -EINVAL,
                         "PASID %u cannot be attached: HWPT %u, to which device %s is attached, "
                         "was allocated without the flag PASID",
                         pasid, device->hwpt->object.id, device->name);
    return 0;
}

static int check_attach(const struct viommu_soft_device *device, uint32_t pasid,
                        const struct soft_hwpt *hwpt, struct viommu_error *error)
{
    int ret;

    if (!device->plugged)
        return error_set(error, -ENODEV, "Device %s was removed", device->name);
    if (device->iommu != hwpt->iommu)
        return error_set(error, -EINVAL,
                         "Device %s is behind IOMMU %u, HWPT %u belongs to IOMMU %u; allocate one "
                         "for this device",
                         device->name, device->iommu, hwpt->object.id, hwpt->iommu);
    if (hwpt->faults && !device->host->caps.page_requests)
        return error_set(error, -ENODEV,
                         "HWPT %u wants page requests, device %s of %s makes none (ECAP.PRS)",
                         hwpt->object.id, device->name, device->host->info.name);
    ret = check_pasid(device, pasid, hwpt, error);
    if (!ret && hwpt->object.type == SOFT_NESTED)
        ret = check_first_stage(hwpt, error);
    return ret;
}

static int attach_locked(struct soft_host *host, uint32_t device_id, uint32_t pasid,
                         uint32_t hwpt_id, struct viommu_error *error)
{
    struct viommu_soft_device *device = soft_find_device(host, device_id);
    struct soft_hwpt *hwpt = soft_find_hwpt(host, hwpt_id);
    struct soft_pasid *entry;
    int ret;

    if (!device)
        return error_set(error, -ENOENT, "There is no bound device %u to attach", device_id);
    if (!hwpt)
        return error_set(error, -ENOENT, "There is no HWPT %u to attach device %s to", hwpt_id,
                         device->name);
    ret = check_attach(device, pasid, hwpt, error);
    if (ret)
        return ret;
    if (pasid == VIOMMU_PASID_NONE) {
        replace_hwpt(device, VIOMMU_PASID_NONE, &device->hwpt, hwpt);
        return 0;
    }
    entry = find_pasid(device, pasid);
    if (!entry)
        entry = pasid_add(device, pasid);
    if (!entry)
        return error_set(error, -ENOMEM, "No memory to attach PASID %u of device %s", pasid,
                         device->name);
    replace_hwpt(device, pasid, &entry->hwpt, hwpt);
    return 0;
}

int soft_attach(void *opaque, uint32_t device_id, uint32_t pasid, uint32_t hwpt_id,
                struct viommu_error *error)
{
    struct soft_host *host = opaque;
    int ret;

    soft_lock(host);
    ret = attach_locked(host, device_id, pasid, hwpt_id, error);
    soft_unlock(host);
    return ret;
}

/* Detaching what is not attached succeeds: it is blocked, as was asked. */
static void detach_locked(struct viommu_soft_device *device, uint32_t pasid)
{
    struct soft_pasid *entry;

    if (pasid == VIOMMU_PASID_NONE) {
        replace_hwpt(device, VIOMMU_PASID_NONE, &device->hwpt, NULL);
        return;
    }
    entry = find_pasid(device, pasid);
    if (entry)
        pasid_remove(device, entry);
}

/* The device by its ID, within soft_lock() and with a reference; NULL: neither. */
static struct viommu_soft_device *lock_device(struct soft_host *host, uint32_t device_id,
                                              struct viommu_error *error)
{
    struct viommu_soft_device *device;

    soft_lock(host);
    device = soft_find_device(host, device_id);
    if (device) {
        device->references++;
        return device;
    }
    soft_unlock(host);
    error_set(error, -ENOENT, "There is no bound device %u", device_id);
    return NULL;
}

/* The end of lock_device(), after which no fault handler of before is under way. */
static void unlock_device_and_drain(struct viommu_soft_device *device)
{
    soft_unlock(device->host);
    soft_gate_drain(&device->handlers);
    soft_device_put(device);
}

int soft_detach(void *opaque, uint32_t device_id, uint32_t pasid, struct viommu_error *error)
{
    struct viommu_soft_device *device = lock_device(opaque, device_id, error);

    if (!device)
        return -ENOENT;
    detach_locked(device, pasid);
    unlock_device_and_drain(device);
    return 0;
}

int soft_set_fault_handler(void *opaque, uint32_t device_id, viommu_host_fault_fn *fn,
                           void *fn_opaque, struct viommu_error *error)
{
    struct viommu_soft_device *device = lock_device(opaque, device_id, error);

    if (!device)
        return -ENOENT;
    device->fault_fn = fn;
    device->fault_opaque = fn_opaque;
    unlock_device_and_drain(device);
    return 0;
}
