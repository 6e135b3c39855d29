/* SPDX-License-Identifier: MIT */
/* The page tables of the fake kernel: paging and nested HWPTs, and what is asked of them. */
#include "fake-parts.h"

static int alloc_paging(struct fake_kernel *kernel, const struct uapi_hwpt_alloc *cmd,
                        const struct fake_device *device, uint32_t *id)
{
    uint32_t known = kernel->age >= LINUX_6_15 ? 15 : kernel->age >= LINUX_6_7 ? 3 : 0;
    struct fake_object *ioas = fake_object_of(kernel, cmd->pt_id, FAKE_IOAS);

    if ((cmd->flags & ~known) || (cmd->flags & UAPI_HWPT_FAULT_ID_VALID))
        return -EOPNOTSUPP;
    if (cmd->data_type || cmd->data_len)
        return -EINVAL;
    if ((cmd->flags & UAPI_HWPT_NEST_PARENT) && kernel->no_nesting)
        return -EOPNOTSUPP;
    for (size_t i = 0; i < ioas->area_count; i++) {
        if ((cmd->flags & UAPI_HWPT_NEST_PARENT) && !(ioas->areas[i].flags & UAPI_MAP_WRITEABLE))
            return -EINVAL;
    }
    ioas->users++;
    *id = fake_object_new(kernel, FAKE_PAGING);
    kernel->objects[*id].iommu = device->iommu;
    return 0;
}

static int alloc_nested(struct fake_kernel *kernel, const struct uapi_hwpt_alloc *cmd,
                        const struct fake_device *device, uint32_t *id)
{
    struct fake_object *parent = fake_object_of(kernel, cmd->pt_id, FAKE_PAGING), *queue = NULL;
    uint32_t known = UAPI_HWPT_PASID | (kernel->age >= LINUX_6_11 ? UAPI_HWPT_FAULT_ID_VALID : 0);

    if ((cmd->flags & ~known) || !cmd->data_len || cmd->data_type != UAPI_HWPT_DATA_VTD_S1)
        return -EOPNOTSUPP;
    if (!(parent->flags & UAPI_HWPT_NEST_PARENT) || parent->iommu != device->iommu ||
        cmd->data_len != sizeof(struct viommu_host_vtd_s1))
        return -EINVAL;
    if (cmd->flags & UAPI_HWPT_FAULT_ID_VALID) {
        queue = fake_object_of(kernel, cmd->fault_id, FAKE_QUEUE);
        if (!queue)
            return -ENOENT;
        queue->users++;
    }
    parent->users++;
    *id = fake_object_new(kernel, FAKE_NESTED);
    kernel->objects[*id].iommu = device->iommu;
    kernel->objects[*id].queue = cmd->fault_id;
    return 0;
}

int fake_hwpt_alloc(struct fake_kernel *kernel, void *argument)
{
    struct uapi_hwpt_alloc *cmd = argument;
    const struct fake_device *device = fake_device_of(kernel, cmd->dev_id);
    uint32_t id = 0;
    int ret = -EINVAL;

    if (cmd->reserved || cmd->reserved2)
        return -EOPNOTSUPP;
    if (!device)
        return -ENOENT;
    if (fake_object_of(kernel, cmd->pt_id, FAKE_IOAS))
        ret = alloc_paging(kernel, cmd, device, &id);
    else if (fake_object_of(kernel, cmd->pt_id, FAKE_PAGING))
        ret = alloc_nested(kernel, cmd, device, &id);
    if (ret)
        return ret;
    kernel->objects[id].flags = cmd->flags;
    kernel->objects[id].parent = cmd->pt_id;
    cmd->out_hwpt_id = id;
    return 0;
}

/* ---- The caches of nested tables */

int fake_invalidate(struct fake_kernel *kernel, void *argument)
{
    struct uapi_hwpt_invalidate *cmd = argument;
    const struct viommu_host_vtd_s1_invalidate *entries = (const void *)(uintptr_t)cmd->data_uptr;
    struct fake_object *hwpt = fake_object_of(kernel, cmd->hwpt_id, FAKE_NESTED);
    uint32_t asked = cmd->entry_num;

    if (!hwpt)
        return fake_hwpt_of(kernel, cmd->hwpt_id) ? -EINVAL : -ENOENT;
    if (cmd->reserved)
        return -EOPNOTSUPP;
    hwpt->last_invalidation = *cmd;
    cmd->entry_num = 0;
    if (cmd->data_type != UAPI_INVALIDATE_VTD_S1 || cmd->entry_len != sizeof(entries[0]) ||
        asked > 1u << 19)
        return -EINVAL;
    for (; cmd->entry_num < asked; cmd->entry_num++) {
        if (entries[cmd->entry_num].flags & ~1u)
            return -EOPNOTSUPP;
        if (entries[cmd->entry_num].addr % 4096)
            return -EINVAL;
    }
    return 0;
}

/* ---- Dirty pages */

int fake_set_dirty(struct fake_kernel *kernel, void *argument)
{
    const struct uapi_hwpt_set_dirty_tracking *cmd = argument;
    struct fake_object *hwpt = fake_object_of(kernel, cmd->hwpt_id, FAKE_PAGING);

    if ((cmd->flags & ~1u) || cmd->reserved)
        return -EOPNOTSUPP;
    if (!hwpt)
        return -ENOENT;
    if (!(hwpt->flags & UAPI_HWPT_DIRTY_TRACKING))
        return -EOPNOTSUPP;
    hwpt->tracking = cmd->flags;
    hwpt->dirty = 0;
    return 0;
}

int fake_get_dirty(struct fake_kernel *kernel, void *argument)
{
    const struct uapi_hwpt_get_dirty_bitmap *cmd = argument;
    struct fake_object *hwpt = fake_object_of(kernel, cmd->hwpt_id, FAKE_PAGING);

    if ((cmd->flags & ~1u) || cmd->reserved)
        return -EOPNOTSUPP;
    if (!hwpt)
        return -ENOENT;
    if (!hwpt->tracking || cmd->page_size != 4096)
        return -EINVAL;
    *(uint64_t *)(uintptr_t)cmd->data |= hwpt->dirty >> (cmd->iova / 4096);
    if (!(cmd->flags & UAPI_DIRTY_NO_CLEAR))
        hwpt->dirty = 0;
    return 0;
}
