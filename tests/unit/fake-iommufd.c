/* SPDX-License-Identifier: MIT */
#include "fake-iommufd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define VFIO_MAJOR 511

/* ---- Failing calls, descriptors */

/* Each call that can fail begins here. */
static int begin(struct fake_kernel *kernel)
{
    kernel->calls++;
    if (kernel->calls != kernel->fail_call)
        return 0;
    kernel->failed = true;
    return -kernel->fail_errno;
}

int fake_file_new(struct fake_kernel *kernel, enum fake_file_type type, uint32_t index)
{
    for (int i = 0; i < FAKE_OBJECTS; i++) {
        if (kernel->files[i].type != FAKE_CLOSED)
            continue;
        kernel->files[i] = (struct fake_file){.type = type, .index = index, .container = -1};
        return FAKE_FIRST + i;
    }
    return -EMFILE;
}

struct fake_file *fake_file_of(struct fake_kernel *kernel, int descriptor)
{
    if (descriptor < FAKE_FIRST || descriptor >= FAKE_FIRST + FAKE_OBJECTS)
        return NULL;
    if (kernel->files[descriptor - FAKE_FIRST].type == FAKE_CLOSED)
        return NULL;
    return &kernel->files[descriptor - FAKE_FIRST];
}

static struct fake_object *object_of(struct fake_kernel *kernel, uint32_t id, enum fake_type type)
{
    if (!id || id >= FAKE_OBJECTS || kernel->objects[id].type != type)
        return NULL;
    return &kernel->objects[id];
}

static struct fake_object *hwpt_of(struct fake_kernel *kernel, uint32_t id)
{
    struct fake_object *hwpt = object_of(kernel, id, FAKE_PAGING);

    return hwpt ? hwpt : object_of(kernel, id, FAKE_NESTED);
}

static uint32_t object_new(struct fake_kernel *kernel, enum fake_type type)
{
    uint32_t id = 1;

    while (id < FAKE_OBJECTS && kernel->objects[id].type != FAKE_FREE)
        id++;
    assert_true(id < FAKE_OBJECTS);
    kernel->objects[id] = (struct fake_object){.type = type};
    return id;
}

static struct fake_device *device_of(struct fake_kernel *kernel, uint32_t id)
{
    for (int i = 0; i < FAKE_DEVICES; i++) {
        if (kernel->devices[i].bound && kernel->devices[i].id == id)
            return &kernel->devices[i];
    }
    return NULL;
}

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

/* ---- Memory */

static int ioas_alloc(struct fake_kernel *kernel, struct uapi_ioas_alloc *cmd)
{
    if (cmd->flags)
        return -EOPNOTSUPP;
    cmd->out_ioas_id = object_new(kernel, FAKE_IOAS);
    return 0;
}

static const struct uapi_iova_range allowed[] = {
    {0, 0xfedfffff},
    {0xfef00000, (UINT64_C(1) << 48) - 1},
};

static int iova_ranges(struct fake_kernel *kernel, struct uapi_ioas_iova_ranges *cmd)
{
    uint32_t room = cmd->num_iovas;

    if (cmd->reserved)
        return -EOPNOTSUPP;
    if (!object_of(kernel, cmd->ioas_id, FAKE_IOAS))
        return -ENOENT;
    cmd->num_iovas = COUNT(allowed);
    cmd->out_iova_alignment = 4096;
    if (room < COUNT(allowed))
        return -EMSGSIZE;
    memcpy((void *)(uintptr_t)cmd->allowed_iovas, allowed, sizeof(allowed));
    return 0;
}

/* Of the HWPTs of an IOAS, is one a nesting parent? */
static bool is_nest_parent(const struct fake_kernel *kernel, uint32_t ioas)
{
    for (int i = 1; i < FAKE_OBJECTS; i++) {
        const struct fake_object *object = &kernel->objects[i];

        if (object->type == FAKE_PAGING && object->parent == ioas &&
            (object->flags & UAPI_HWPT_NEST_PARENT))
            return true;
    }
    return false;
}

static int map_area(struct fake_kernel *kernel, uint32_t ioas_id, const struct fake_area *area)
{
    struct fake_object *ioas = object_of(kernel, ioas_id, FAKE_IOAS);
    uint64_t last = area->start + area->length - 1;
    bool inside = false;

    if (area->flags & ~(UAPI_MAP_FIXED_IOVA | UAPI_MAP_READABLE | UAPI_MAP_WRITEABLE))
        return -EOPNOTSUPP;
    if (!ioas)
        return -ENOENT;
    if (!(area->flags & UAPI_MAP_FIXED_IOVA) || (area->start | area->length) % 4096 ||
        !(area->flags & (UAPI_MAP_READABLE | UAPI_MAP_WRITEABLE)))
        return -EINVAL;
    for (size_t i = 0; i < COUNT(allowed); i++)
        inside = inside || (area->start >= allowed[i].start && last <= allowed[i].last);
    if (!inside || (!(area->flags & UAPI_MAP_WRITEABLE) && is_nest_parent(kernel, ioas_id)))
        return -EINVAL;
    for (size_t i = 0; i < ioas->area_count; i++) {
        if (area->start < ioas->areas[i].start + ioas->areas[i].length &&
            ioas->areas[i].start <= last)
            return -EEXIST;
    }
    if (kernel->pinned + area->length > kernel->memlock || ioas->area_count == FAKE_AREAS)
        return -ENOMEM;
    kernel->pinned += area->length;
    ioas->areas[ioas->area_count++] = *area;
    return 0;
}

static int ioas_map(struct fake_kernel *kernel, const struct uapi_ioas_map *cmd)
{
    struct fake_area area = {cmd->iova, cmd->length, cmd->flags, false};

    if (cmd->reserved)
        return -EOPNOTSUPP;
    if (cmd->user_va == 0xba5000) /* a device's BAR */
        return -EFAULT;
    return map_area(kernel, cmd->ioas_id, &area);
}

/* Descriptor 7 is the only memfd there is. */
static int ioas_map_file(struct fake_kernel *kernel, const struct uapi_ioas_map_file *cmd)
{
    struct fake_area area = {cmd->iova, cmd->length, cmd->flags, true};

    if (cmd->fd != 7)
        return -EINVAL;
    if (cmd->start % 4096)
        return -EINVAL;
    return map_area(kernel, cmd->ioas_id, &area);
}

static int ioas_unmap(struct fake_kernel *kernel, struct uapi_ioas_unmap *cmd)
{
    struct fake_object *ioas = object_of(kernel, cmd->ioas_id, FAKE_IOAS);
    bool all = !cmd->iova && cmd->length == UINT64_MAX;
    uint64_t last = all ? UINT64_MAX : cmd->iova + cmd->length - 1, done = 0;
    size_t kept = 0;

    if (!ioas)
        return -ENOENT;
    for (size_t i = 0; i < ioas->area_count; i++) {
        const struct fake_area *area = &ioas->areas[i];
        uint64_t end = area->start + area->length - 1;

        if ((area->start < cmd->iova && end >= cmd->iova) || (area->start <= last && end > last))
            return -ENOENT;
    }
    for (size_t i = 0; i < ioas->area_count; i++) {
        if (ioas->areas[i].start >= cmd->iova && ioas->areas[i].start <= last)
            done += ioas->areas[i].length;
        else
            ioas->areas[kept++] = ioas->areas[i];
    }
    ioas->area_count = kept;
    kernel->pinned -= done;
    cmd->length = done;
    return done || all ? 0 : -ENOENT;
}

/* ---- Page tables */

static int alloc_paging(struct fake_kernel *kernel, const struct uapi_hwpt_alloc *cmd,
                        const struct fake_device *device, uint32_t *id)
{
    uint32_t known = kernel->age >= LINUX_6_15 ? 15 : kernel->age >= LINUX_6_7 ? 3 : 0;
    struct fake_object *ioas = object_of(kernel, cmd->pt_id, FAKE_IOAS);

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
    *id = object_new(kernel, FAKE_PAGING);
    kernel->objects[*id].iommu = device->iommu;
    return 0;
}

static int alloc_nested(struct fake_kernel *kernel, const struct uapi_hwpt_alloc *cmd,
                        const struct fake_device *device, uint32_t *id)
{
    struct fake_object *parent = object_of(kernel, cmd->pt_id, FAKE_PAGING), *queue = NULL;
    uint32_t known = UAPI_HWPT_PASID | (kernel->age >= LINUX_6_11 ? UAPI_HWPT_FAULT_ID_VALID : 0);

    if ((cmd->flags & ~known) || !cmd->data_len || cmd->data_type != UAPI_HWPT_DATA_VTD_S1)
        return -EOPNOTSUPP;
    if (!(parent->flags & UAPI_HWPT_NEST_PARENT) || parent->iommu != device->iommu ||
        cmd->data_len != sizeof(struct viommu_host_vtd_s1))
        return -EINVAL;
    if (cmd->flags & UAPI_HWPT_FAULT_ID_VALID) {
        queue = object_of(kernel, cmd->fault_id, FAKE_QUEUE);
        if (!queue)
            return -ENOENT;
        queue->users++;
    }
    parent->users++;
    *id = object_new(kernel, FAKE_NESTED);
    kernel->objects[*id].iommu = device->iommu;
    kernel->objects[*id].queue = cmd->fault_id;
    return 0;
}

static int hwpt_alloc(struct fake_kernel *kernel, struct uapi_hwpt_alloc *cmd)
{
    const struct fake_device *device = device_of(kernel, cmd->dev_id);
    uint32_t id = 0;
    int ret = -EINVAL;

    if (cmd->reserved || cmd->reserved2)
        return -EOPNOTSUPP;
    if (!device)
        return -ENOENT;
    if (object_of(kernel, cmd->pt_id, FAKE_IOAS))
        ret = alloc_paging(kernel, cmd, device, &id);
    else if (object_of(kernel, cmd->pt_id, FAKE_PAGING))
        ret = alloc_nested(kernel, cmd, device, &id);
    if (ret)
        return ret;
    kernel->objects[id].flags = cmd->flags;
    kernel->objects[id].parent = cmd->pt_id;
    cmd->out_hwpt_id = id;
    return 0;
}

static int destroy_object(struct fake_kernel *kernel, const struct uapi_destroy *cmd)
{
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

static int invalidate(struct fake_kernel *kernel, struct uapi_hwpt_invalidate *cmd)
{
    const struct viommu_host_vtd_s1_invalidate *entries = (const void *)(uintptr_t)cmd->data_uptr;
    struct fake_object *hwpt = object_of(kernel, cmd->hwpt_id, FAKE_NESTED);
    uint32_t asked = cmd->entry_num;

    if (!hwpt)
        return hwpt_of(kernel, cmd->hwpt_id) ? -EINVAL : -ENOENT;
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

static int set_dirty(struct fake_kernel *kernel, const struct uapi_hwpt_set_dirty_tracking *cmd)
{
    struct fake_object *hwpt = object_of(kernel, cmd->hwpt_id, FAKE_PAGING);

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

static int get_dirty(struct fake_kernel *kernel, const struct uapi_hwpt_get_dirty_bitmap *cmd)
{
    struct fake_object *hwpt = object_of(kernel, cmd->hwpt_id, FAKE_PAGING);

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

static int hw_info(struct fake_kernel *kernel, struct uapi_hw_info *cmd)
{
    struct uapi_hw_info_vtd vtd = {
        .flags = UAPI_HW_INFO_VTD_772415,
        .cap_reg = 0x9ed008c40780466,
        .ecap_reg = kernel->ecap,
    };
    struct uapi_hw_info_amd amd = {.efr = 0xe, .efr2 = 0x2};
    const struct fake_device *device = device_of(kernel, cmd->dev_id);
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

static int fault_alloc(struct fake_kernel *kernel, struct uapi_fault_alloc *cmd)
{
    int descriptor;

    if (cmd->flags)
        return -EOPNOTSUPP;
    cmd->out_fault_id = object_new(kernel, FAKE_QUEUE);
    descriptor = fake_file_new(kernel, FAKE_FILE_QUEUE, cmd->out_fault_id);
    assert_true(descriptor > 0);
    kernel->objects[cmd->out_fault_id].queue_open = true;
    cmd->out_fault_fd = (uint32_t)descriptor;
    return 0;
}

static int option(struct uapi_option *cmd)
{
    if (cmd->option_id > 1 || cmd->reserved)
        return -EOPNOTSUPP;
    cmd->val64 = 0;
    return 0;
}

/* ---- /dev/iommu */

static int option_call(struct fake_kernel *kernel, void *cmd)
{
    (void)kernel;
    return option(cmd);
}

#define WRAP(name, structure)                                                                      \
    static int name##_call(struct fake_kernel *kernel, void *cmd)                                  \
    {                                                                                              \
        return name(kernel, (struct structure *)cmd);                                              \
    }

WRAP(destroy_object, uapi_destroy)
WRAP(ioas_alloc, uapi_ioas_alloc)
WRAP(iova_ranges, uapi_ioas_iova_ranges)
WRAP(ioas_map, uapi_ioas_map)
WRAP(ioas_map_file, uapi_ioas_map_file)
WRAP(ioas_unmap, uapi_ioas_unmap)
WRAP(hwpt_alloc, uapi_hwpt_alloc)
WRAP(hw_info, uapi_hw_info)
WRAP(set_dirty, uapi_hwpt_set_dirty_tracking)
WRAP(get_dirty, uapi_hwpt_get_dirty_bitmap)
WRAP(invalidate, uapi_hwpt_invalidate)
WRAP(fault_alloc, uapi_fault_alloc)

static const struct call {
    unsigned long number;
    enum fake_age since;
    size_t known;
    size_t least;
    int (*call)(struct fake_kernel *kernel, void *cmd);
} calls[] = {
    {UAPI_DESTROY, 0, sizeof(struct uapi_destroy), 8, destroy_object_call},
    {UAPI_IOAS_ALLOC, 0, sizeof(struct uapi_ioas_alloc), 12, ioas_alloc_call},
    {UAPI_IOAS_IOVA_RANGES, 0, sizeof(struct uapi_ioas_iova_ranges), 32, iova_ranges_call},
    {UAPI_IOAS_MAP, 0, sizeof(struct uapi_ioas_map), 40, ioas_map_call},
    {UAPI_IOAS_MAP_FILE, LINUX_6_13, sizeof(struct uapi_ioas_map_file), 40, ioas_map_file_call},
    {UAPI_IOAS_UNMAP, 0, sizeof(struct uapi_ioas_unmap), 24, ioas_unmap_call},
    {UAPI_OPTION, 0, sizeof(struct uapi_option), 24, option_call},
    {UAPI_HWPT_ALLOC, LINUX_6_6, sizeof(struct uapi_hwpt_alloc), 24, hwpt_alloc_call},
    {UAPI_GET_HW_INFO, LINUX_6_6, sizeof(struct uapi_hw_info), 32, hw_info_call},
    {UAPI_HWPT_SET_DIRTY_TRACKING, LINUX_6_7, sizeof(struct uapi_hwpt_set_dirty_tracking), 16,
     set_dirty_call},
    {UAPI_HWPT_GET_DIRTY_BITMAP, LINUX_6_7, sizeof(struct uapi_hwpt_get_dirty_bitmap), 48,
     get_dirty_call},
    {UAPI_HWPT_INVALIDATE, LINUX_6_8, sizeof(struct uapi_hwpt_invalidate), 32, invalidate_call},
    {UAPI_FAULT_QUEUE_ALLOC, LINUX_6_11, sizeof(struct uapi_fault_alloc), 16, fault_alloc_call},
};

static int iommufd_ioctl(struct fake_kernel *kernel, unsigned long number, void *argument)
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

/* ---- VFIO devices */

static int vfio_bind(struct fake_kernel *kernel, struct fake_device *device,
                     struct uapi_vfio_bind *cmd)
{
    struct fake_file *iommufd = fake_file_of(kernel, cmd->iommufd);

    if (cmd->argsz < 16 || cmd->flags || device->bound)
        return -EINVAL;
    if (!iommufd || iommufd->type != FAKE_FILE_IOMMUFD)
        return -EBADF;
    if (device->bind_errno)
        return -device->bind_errno;
    device->bound = true;
    device->id = cmd->out_devid = object_new(kernel, FAKE_DEVICE);
    return 0;
}

/* With a PASID attached, all HWPTs of the device are of the PASID kind. */
static int check_pasid_kind(struct fake_kernel *kernel, const struct fake_device *device,
                            bool has_pasid, const struct fake_object *hwpt)
{
    struct fake_object *of_rid = hwpt_of(kernel, device->hwpt);

    if (!has_pasid && !device->pasid_count)
        return 0;
    if (!(hwpt->flags & UAPI_HWPT_PASID) ||
        (has_pasid && of_rid && !(of_rid->flags & UAPI_HWPT_PASID)))
        return -EINVAL;
    return 0;
}

static uint32_t *pasid_place(struct fake_device *device, uint32_t pasid, bool add)
{
    size_t i = 0;

    while (i < device->pasid_count && device->pasids[i] != pasid)
        i++;
    if (i == device->pasid_count) {
        if (!add)
            return NULL;
        assert_true(device->pasid_count < FAKE_PASIDS);
        device->pasids[i] = pasid;
        device->pasid_hwpts[i] = 0;
        device->pasid_count++;
    }
    return &device->pasid_hwpts[i];
}

static void replace(struct fake_kernel *kernel, uint32_t *place, uint32_t hwpt)
{
    if (*place)
        kernel->objects[*place].users--;
    *place = hwpt;
    if (hwpt)
        kernel->objects[hwpt].users++;
}

static int vfio_attach(struct fake_kernel *kernel, struct fake_device *device,
                       const struct uapi_vfio_attach *cmd)
{
    struct fake_object *hwpt = hwpt_of(kernel, cmd->pt_id);
    bool has_pasid = cmd->flags & UAPI_VFIO_PASID;
    int ret;

    if (cmd->argsz < 12 || (cmd->flags & ~UAPI_VFIO_PASID) ||
        (has_pasid && (cmd->argsz < 16 || kernel->age < LINUX_6_15)))
        return -EINVAL;
    if (!device->bound)
        return -EINVAL;
    if (!hwpt)
        return -ENOENT;
    if (device->attach_errno)
        return -device->attach_errno;
    if (hwpt->iommu != device->iommu)
        return -EINVAL;
    if (has_pasid && !device->pasid_bits)
        return 0; /* so does Linux */
    ret = check_pasid_kind(kernel, device, has_pasid, hwpt);
    if (!ret)
        replace(kernel, has_pasid ? pasid_place(device, cmd->pasid, true) : &device->hwpt,
                cmd->pt_id);
    return ret;
}

static void pasid_leave(struct fake_kernel *kernel, struct fake_device *device, uint32_t pasid)
{
    uint32_t *place = pasid_place(device, pasid, false);
    size_t i;

    if (!place)
        return;
    replace(kernel, place, 0);
    i = (size_t)(place - device->pasid_hwpts);
    device->pasid_count--;
    device->pasids[i] = device->pasids[device->pasid_count];
    device->pasid_hwpts[i] = device->pasid_hwpts[device->pasid_count];
}

static int vfio_detach(struct fake_kernel *kernel, struct fake_device *device,
                       const struct uapi_vfio_detach *cmd)
{
    bool has_pasid = cmd->flags & UAPI_VFIO_PASID;

    if (cmd->argsz < 8 || (cmd->flags & ~UAPI_VFIO_PASID) ||
        (has_pasid && (cmd->argsz < 12 || kernel->age < LINUX_6_15)) || !device->bound)
        return -EINVAL;
    if (has_pasid)
        pasid_leave(kernel, device, cmd->pasid);
    else
        replace(kernel, &device->hwpt, 0);
    return 0;
}

static int vfio_ioctl(struct fake_kernel *kernel, struct fake_file *file, unsigned long number,
                      void *argument)
{
    struct fake_device *device = &kernel->devices[file->index];
    int ret;

    switch (number) {
    case UAPI_VFIO_BIND_IOMMUFD:
        ret = vfio_bind(kernel, device, argument);
        file->bound = file->bound || !ret;
        return ret;
    case UAPI_VFIO_ATTACH:
        return vfio_attach(kernel, device, argument);
    case UAPI_VFIO_DETACH:
        return vfio_detach(kernel, device, argument);
    case FAKE_DEVICE_RESET:
        device->resets++;
        return 0;
    default:
        return -ENOTTY;
    }
}

static void vfio_close(struct fake_kernel *kernel, struct fake_device *device)
{
    while (device->pasid_count)
        pasid_leave(kernel, device, device->pasids[0]);
    replace(kernel, &device->hwpt, 0);
    kernel->objects[device->id] = (struct fake_object){.type = FAKE_FREE};
    device->bound = false;
}

/* ---- System calls */

static int fake_open(void *opaque, const char *path, int flags)
{
    struct fake_kernel *kernel = opaque;
    int ret = begin(kernel);
    unsigned int index;

    if (ret)
        return ret;
    if (!strncmp(path, kernel->root, strlen(kernel->root))) {
        ret = open(path, flags | O_CLOEXEC);
        return ret < 0 ? -errno : ret;
    }
    if (kernel->open_errno)
        return -kernel->open_errno;
    if (!strcmp(path, "/dev/iommu"))
        return kernel->has_iommu ? fake_open_iommufd(kernel) : -ENOENT;
    if (sscanf(path, "/dev/vfio/devices/vfio%u", &index) == 1 && index < FAKE_DEVICES)
        return fake_open_vfio(kernel, index);
    if (!strcmp(path, "/dev/vfio/vfio"))
        return fake_file_new(kernel, FAKE_FILE_CONTAINER, 0);
    if (sscanf(path, "/dev/vfio/%u", &index) == 1 && index >= 7 && index < 7 + FAKE_DEVICES)
        return fake_file_new(kernel, FAKE_FILE_GROUP, index);
    return strcmp(path, "/dev/null") ? -ENOENT : fake_open_other(kernel);
}

static void fake_close(void *opaque, int descriptor)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);

    if (descriptor < FAKE_FIRST) {
        close(descriptor);
        return;
    }
    assert_non_null(file); /* nothing is closed twice */
    if (file->type == FAKE_FILE_VFIO && file->bound)
        vfio_close(kernel, &kernel->devices[file->index]);
    if (file->type == FAKE_FILE_QUEUE)
        kernel->objects[file->index].queue_open = false;
    fake_type1_close(kernel, file);
    file->type = FAKE_CLOSED;
}

static int fake_ioctl(void *opaque, int descriptor, unsigned long request, void *argument)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    if (!file)
        return -EBADF;
    if (request == kernel->fail_request)
        return -kernel->fail_errno;
    if (file->type == FAKE_FILE_IOMMUFD)
        return iommufd_ioctl(kernel, request, argument);
    if (file->type == FAKE_FILE_VFIO)
        return vfio_ioctl(kernel, file, request, argument);
    return fake_type1_ioctl(kernel, file, request, argument);
}

/* Requests of the first group of a queue, and where it begins. */
static size_t first_group(const struct fake_kernel *kernel, uint32_t queue, size_t *at)
{
    size_t count = 0;

    for (size_t i = 0; i < kernel->fault_count; i++) {
        if (kernel->fault_queues[i] != queue)
            continue;
        if (!count)
            *at = i;
        if (kernel->faults[i].cookie != kernel->faults[*at].cookie)
            break;
        count++;
    }
    return count;
}

static void take_faults(struct fake_kernel *kernel, size_t at, size_t count)
{
    size_t after = kernel->fault_count - at - count;

    kernel->waiting[kernel->waiting_count++] = kernel->faults[at].cookie;
    memmove(kernel->faults + at, kernel->faults + at + count, after * sizeof(kernel->faults[0]));
    memmove(kernel->fault_queues + at, kernel->fault_queues + at + count,
            after * sizeof(kernel->fault_queues[0]));
    kernel->fault_count -= count;
}

static ssize_t queue_read(struct fake_kernel *kernel, uint32_t queue, struct uapi_fault *to,
                          size_t size)
{
    size_t room = size / sizeof(*to), done = 0, count, at = 0;

    if (size % sizeof(*to))
        return -ESPIPE;
    while ((count = first_group(kernel, queue, &at))) {
        if (count > room - done)
            return done ? (ssize_t)(done * sizeof(*to)) : -EINVAL;
        memcpy(to + done, kernel->faults + at, count * sizeof(*to));
        take_faults(kernel, at, count);
        done += count;
    }
    return (ssize_t)(done * sizeof(*to));
}

static ssize_t fake_read(void *opaque, int descriptor, void *buffer, size_t size)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    if (descriptor < FAKE_FIRST) {
        ssize_t got = read(descriptor, buffer, size);

        return got < 0 ? -errno : got;
    }
    if (!file)
        return -EBADF;
    if (file->type == FAKE_FILE_QUEUE)
        return queue_read(kernel, file->index, buffer, size);
    if (file->type != FAKE_FILE_EVENT || !file->event)
        return -EAGAIN;
    memcpy(buffer, &file->event, 8);
    file->event = 0;
    return 8;
}

static ssize_t queue_write(struct fake_kernel *kernel, const struct uapi_fault_response *response)
{
    size_t i = 0;

    while (i < kernel->waiting_count && kernel->waiting[i] != response->cookie)
        i++;
    if (i == kernel->waiting_count || response->code > 1)
        return -EINVAL;
    kernel->waiting[i] = kernel->waiting[--kernel->waiting_count];
    kernel->answers[kernel->answer_count][0] = response->cookie;
    kernel->answers[kernel->answer_count++][1] = response->code;
    return sizeof(*response);
}

static ssize_t fake_write(void *opaque, int descriptor, const void *buffer, size_t size)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    if (!file)
        return -EBADF;
    if (file->type == FAKE_FILE_QUEUE)
        return size == 8 ? queue_write(kernel, buffer) : -ESPIPE;
    assert_int_equal(file->type, FAKE_FILE_EVENT);
    assert_int_equal(size, 8);
    file->event += *(const uint64_t *)buffer;
    return 8;
}

static int fake_readable(void *opaque, int descriptor)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);
    size_t at;

    if (ret)
        return ret;
    if (!file)
        return -EBADF;
    return first_group(kernel, file->index, &at) > 0;
}

static int fake_eventfd(void *opaque)
{
    int ret = begin(opaque);

    return ret ? ret : fake_file_new(opaque, FAKE_FILE_EVENT, 0);
}

static int fake_epoll(void *opaque, const int *descriptors, size_t count)
{
    int ret = begin(opaque);

    for (size_t i = 0; i < count; i++)
        assert_non_null(fake_file_of(opaque, descriptors[i]));
    return ret ? ret : fake_file_new(opaque, FAKE_FILE_EPOLL, (uint32_t)descriptors[1]);
}

static int fake_readlink(void *opaque, const char *path, char *target, size_t size)
{
    int ret = begin(opaque);

    return ret ? ret : host_sys_real.readlink(NULL, path, target, size);
}

static int fake_list(void *opaque, const char *path, host_sys_visit_fn *visit, void *visit_opaque)
{
    int ret = begin(opaque);

    return ret ? ret : host_sys_real.list(NULL, path, visit, visit_opaque);
}

static int fake_device_number(void *opaque, int descriptor, unsigned int *major_number,
                              unsigned int *minor_number)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    *major_number = file && file->type == FAKE_FILE_VFIO ? VFIO_MAJOR : 1;
    *minor_number = file ? file->index : 0;
    return 0;
}

static uint64_t fake_memlock_limit(void *opaque)
{
    return ((struct fake_kernel *)opaque)->memlock;
}

/* ---- What others do */

int fake_open_iommufd(struct fake_kernel *kernel)
{
    return fake_file_new(kernel, FAKE_FILE_IOMMUFD, 0);
}

int fake_open_vfio(struct fake_kernel *kernel, unsigned int device)
{
    return fake_file_new(kernel, FAKE_FILE_VFIO, device);
}

int fake_open_other(struct fake_kernel *kernel)
{
    return fake_file_new(kernel, FAKE_FILE_OTHER, 0);
}

void fake_page_request(struct fake_kernel *kernel, uint32_t queue, uint32_t cookie, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kernel->faults[kernel->fault_count] = (struct uapi_fault){
            .flags = i + 1 == count ? UAPI_FAULT_LAST : 0,
            .grpid = cookie,
            .addr = i * 4096,
            .cookie = cookie,
        };
        kernel->fault_queues[kernel->fault_count++] = queue;
    }
}

struct fake_census fake_census(const struct fake_kernel *kernel)
{
    struct fake_census census;

    memset(&census, 0, sizeof(census));
    census.pinned = kernel->pinned;
    for (int i = 1; i < FAKE_OBJECTS; i++)
        census.objects[kernel->objects[i].type]++;
    for (int i = 0; i < FAKE_OBJECTS; i++)
        census.files += kernel->files[i].type != FAKE_CLOSED;
    for (int i = 0; i < FAKE_DEVICES; i++)
        census.attachments +=
            (kernel->devices[i].hwpt != 0) + (unsigned int)kernel->devices[i].pasid_count;
    return census;
}

void assert_census(const struct fake_kernel *kernel, const struct fake_census *expected)
{
    struct fake_census now = fake_census(kernel);

    for (int i = FAKE_DEVICE; i <= FAKE_QUEUE; i++)
        assert_int_equal(now.objects[i], expected->objects[i]);
    assert_int_equal(now.files, expected->files);
    assert_int_equal(now.attachments, expected->attachments);
    assert_int_equal(now.pinned, expected->pinned);
}

/* ---- sysfs */

static void make_directories(char *path)
{
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
}

void fake_link(struct fake_kernel *kernel, const char *path, const char *target)
{
    char full[256];

    snprintf(full, sizeof(full), "%s/%s", kernel->root, path);
    unlink(full);
    if (!target)
        return;
    make_directories(full);
    assert_int_equal(symlink(target, full), 0);
}

void fake_write_file(struct fake_kernel *kernel, const char *path, const void *bytes, size_t size)
{
    char full[256];
    FILE *file;

    snprintf(full, sizeof(full), "%s/%s", kernel->root, path);
    make_directories(full);
    file = fopen(full, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* 0000:0(1+n):00.0, group 7+n, dmar n, vfio n, with PRI in its configuration space. */
static void add_device(struct fake_kernel *kernel, unsigned int n)
{
    static const char regions[] = "0x00000000fee00000 0x00000000feefffff msi\n"
                                  "0x000000007b000000 0x000000007f7fffff direct\n";
    unsigned char config[0x200] = {0};
    char path[128], target[128];

    config[0x100] = 0x0f; /* ATS, then PRI at 140h */
    config[0x102] = 0x01;
    config[0x103] = 0x14;
    config[0x140] = 0x13;
    config[0x142] = 0x01;
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/config", n + 1);
    fake_write_file(kernel, path, config, sizeof(config));
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/vfio-dev/vfio%u/dev", n + 1, n);
    fake_write_file(kernel, path, "511:0\n", 6);
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/driver", n + 1);
    fake_link(kernel, path, "../../../../bus/pci/drivers/vfio-pci");
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/iommu", n + 1);
    snprintf(target, sizeof(target), "../../../../devices/virtual/iommu/dmar%u", n);
    fake_link(kernel, path, target);
    snprintf(path, sizeof(path), "kernel/iommu_groups/%u/reserved_regions", 7 + n);
    fake_write_file(kernel, path, regions, sizeof(regions) - 1);
    snprintf(path, sizeof(path), "kernel/iommu_groups/%u/devices/0000:0%u:00.0", 7 + n, n + 1);
    snprintf(target, sizeof(target), "../../../../bus/pci/devices/0000:0%u:00.0", n + 1);
    fake_link(kernel, path, target);
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/iommu_group", n + 1);
    snprintf(target, sizeof(target), "../../../../kernel/iommu_groups/%u", 7 + n);
    fake_link(kernel, path, target);
    snprintf(path, sizeof(path), "dev/char/511:%u/device", n);
    snprintf(target, sizeof(target), "../../../bus/pci/devices/0000:0%u:00.0", n + 1);
    fake_link(kernel, path, target);
    kernel->devices[n].iommu = n / 2;
    kernel->devices[n].pasid_bits = 20;
}

void fake_boot(struct fake_kernel *kernel, enum fake_age age)
{
    *kernel = (struct fake_kernel){
        .age = age,
        .has_iommu = true,
        .hw_info_type = UAPI_HW_INFO_VTD,
        .ecap = 0x3fef9ea6f0efdf,
        .memlock = UINT64_MAX,
        .entry_limit = FAKE_AREAS,
        .fail_errno = ENOMEM,
        .root = "/tmp/fake-sysfs.XXXXXX",
        .sys =
            {
                .opaque = kernel,
                .open = fake_open,
                .close = fake_close,
                .ioctl = fake_ioctl,
                .read = fake_read,
                .write = fake_write,
                .readable = fake_readable,
                .eventfd = fake_eventfd,
                .epoll = fake_epoll,
                .readlink = fake_readlink,
                .list = fake_list,
                .device_number = fake_device_number,
                .memlock_limit = fake_memlock_limit,
            },
    };
    assert_non_null(mkdtemp(kernel->root));
    for (unsigned int i = 0; i < FAKE_DEVICES; i++)
        add_device(kernel, i);
}

void fake_shutdown(struct fake_kernel *kernel)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r '%s'", kernel->root);
    assert_int_equal(system(command), 0);
}
