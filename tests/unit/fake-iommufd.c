/* SPDX-License-Identifier: MIT */
/* /dev/iommu of the fake kernel: objects by ID, and calls by their number and size. */
#include "fake-parts.h"

/* ---- Objects */

struct fake_object *fake_object_of(struct fake_kernel *kernel, uint32_t id, enum fake_type type)
{
    if (!id || id >= FAKE_OBJECTS || kernel->objects[id].type != type)
        return NULL;
    return &kernel->objects[id];
}

struct fake_object *fake_hwpt_of(struct fake_kernel *kernel, uint32_t id)
{
    struct fake_object *hwpt = fake_object_of(kernel, id, FAKE_PAGING);

    return hwpt ? hwpt : fake_object_of(kernel, id, FAKE_NESTED);
}

uint32_t fake_object_new(struct fake_kernel *kernel, enum fake_type type)
{
    uint32_t id = 1;

    while (id < FAKE_OBJECTS && kernel->objects[id].type != FAKE_FREE)
        id++;
    assert_true(id < FAKE_OBJECTS);
    kernel->objects[id] = (struct fake_object){.type = type};
    return id;
}

struct fake_device *fake_device_of(struct fake_kernel *kernel, uint32_t id)
{
    for (int i = 0; i < FAKE_DEVICES; i++) {
        if (kernel->devices[i].bound && kernel->devices[i].id == id)
            return &kernel->devices[i];
    }
    return NULL;
}

static int destroy_object(struct fake_kernel *kernel, void *argument)
{
    const struct uapi_destroy *cmd = argument;
    struct fake_object *object = cmd->id < FAKE_OBJECTS ? &kernel->objects[cmd->id] : NULL;

    if (!object || object->type == FAKE_FREE)
        return -ENOENT;
    if (object->users || object->type == FAKE_DEVICE || object->queue_open)
        return -EBUSY;
    if (object->parent)
        kernel->objects[object->parent].users--;
    if (object->queue)
        kernel->objects[object->queue].users--;
    for (size_t i = 0; i < object->area_count; i++)
        kernel->pinned -= object->areas[i].length;
    *object = (struct fake_object){.type = FAKE_FREE};
    return 0;
}

/* ---- What the host has */

static int hw_info(struct fake_kernel *kernel, void *argument)
{
    struct uapi_hw_info *cmd = argument;
    struct uapi_hw_info_vtd vtd = {
        .flags = UAPI_HW_INFO_VTD_772415,
        .cap_reg = 0x9ed008c40780466,
        .ecap_reg = kernel->ecap,
    };
    struct uapi_hw_info_amd amd = {.efr = 0xe, .efr2 = 0x2};
    const struct fake_device *device = fake_device_of(kernel, cmd->dev_id);
    const void *data = kernel->hw_info_type == UAPI_HW_INFO_AMD ? (void *)&amd : (void *)&vtd;
    uint32_t length = kernel->hw_info_type == UAPI_HW_INFO_AMD ? sizeof(amd) : sizeof(vtd);
    char *to = (char *)(uintptr_t)cmd->data_uptr;

    if (cmd->flags || cmd->reserved[0] || cmd->reserved[1] || cmd->reserved[2])
        return -EOPNOTSUPP;
    if (!device)
        return -ENOENT;
    if (!kernel->hw_info_type)
        length = 0;
    memset(to, 0, cmd->data_len);
    memcpy(to, data, length < cmd->data_len ? length : cmd->data_len);
    cmd->data_len = length;
    cmd->out_data_type = kernel->hw_info_type;
    cmd->out_max_pasid_log2 = kernel->age >= LINUX_6_15 ? device->pasid_bits : 0;
    cmd->out_capabilities =
        kernel->age >= LINUX_6_7 ? UAPI_HW_CAP_DIRTY_TRACKING | kernel->capabilities : 0;
    return 0;
}

static int option(struct fake_kernel *kernel, void *argument)
{
    struct uapi_option *cmd = argument;

    (void)kernel;
    if (cmd->option_id > 1 || cmd->reserved)
        return -EOPNOTSUPP;
    cmd->val64 = 0;
    return 0;
}

/* ---- Calls */

/* The size rule: less than the least is EINVAL, more than is known must be zeros. */
static int take(void *to, size_t known, size_t least, const void *from)
{
    uint32_t size;

    memcpy(&size, from, sizeof(size));
    if (size < least)
        return -EINVAL;
    for (size_t i = known; i < size; i++) {
        if (((const char *)from)[i])
            return -E2BIG;
    }
    memset(to, 0, known);
    memcpy(to, from, size < known ? size : known);
    return 0;
}

static void give(void *to, size_t known, const void *from)
{
    uint32_t size;

    memcpy(&size, from, sizeof(size));
    memcpy(to, from, size < known ? size : known);
}

static const struct call {
    unsigned long number;
    enum fake_age since;
    size_t known;
    size_t least;
    int (*call)(struct fake_kernel *kernel, void *argument);
} calls[] = {
    {UAPI_DESTROY, 0, sizeof(struct uapi_destroy), 8, destroy_object},
    {UAPI_IOAS_ALLOC, 0, sizeof(struct uapi_ioas_alloc), 12, fake_ioas_alloc},
    {UAPI_IOAS_IOVA_RANGES, 0, sizeof(struct uapi_ioas_iova_ranges), 32, fake_iova_ranges},
    {UAPI_IOAS_MAP, 0, sizeof(struct uapi_ioas_map), 40, fake_ioas_map},
    {UAPI_IOAS_MAP_FILE, LINUX_6_13, sizeof(struct uapi_ioas_map_file), 40, fake_ioas_map_file},
    {UAPI_IOAS_UNMAP, 0, sizeof(struct uapi_ioas_unmap), 24, fake_ioas_unmap},
    {UAPI_OPTION, 0, sizeof(struct uapi_option), 24, option},
    {UAPI_HWPT_ALLOC, LINUX_6_6, sizeof(struct uapi_hwpt_alloc), 24, fake_hwpt_alloc},
    {UAPI_GET_HW_INFO, LINUX_6_6, sizeof(struct uapi_hw_info), 32, hw_info},
    {UAPI_HWPT_SET_DIRTY_TRACKING, LINUX_6_7, sizeof(struct uapi_hwpt_set_dirty_tracking), 16,
     fake_set_dirty},
    {UAPI_HWPT_GET_DIRTY_BITMAP, LINUX_6_7, sizeof(struct uapi_hwpt_get_dirty_bitmap), 48,
     fake_get_dirty},
    {UAPI_HWPT_INVALIDATE, LINUX_6_8, sizeof(struct uapi_hwpt_invalidate), 32, fake_invalidate},
    {UAPI_FAULT_QUEUE_ALLOC, LINUX_6_11, sizeof(struct uapi_fault_alloc), 16, fake_fault_alloc},
};

int fake_iommufd_ioctl(struct fake_kernel *kernel, unsigned long number, void *argument)
{
    const struct call *call = calls;
    char copy[64];
    size_t known;
    int ret;

    while (call < calls + COUNT(calls) && call->number != number)
        call++;
    if (call == calls + COUNT(calls) || kernel->age < call->since)
        return -ENOTTY;
    known = call->known;
    if (number == UAPI_HWPT_ALLOC && kernel->age < LINUX_6_11)
        known = kernel->age < LINUX_6_7 ? 24 : 40;
    if (number == UAPI_GET_HW_INFO && kernel->age < LINUX_6_7)
        known = 32;
    memset(copy, 0, sizeof(copy));
    ret = take(copy, known, call->least, argument);
    if (ret)
        return ret;
    ret = call->call(kernel, copy);
    /* Only these two say something when they fail. */
    if (!ret || number == UAPI_HWPT_INVALIDATE || number == UAPI_IOAS_IOVA_RANGES)
        give(argument, known, copy);
    return ret;
}
