/* SPDX-License-Identifier: MIT */
/* VFIO character devices of the fake kernel: binding to an iommufd, and attaching HWPTs. */
#include "fake-parts.h"

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
    device->id = cmd->out_devid = fake_object_new(kernel, FAKE_DEVICE);
    return 0;
}

/* With a PASID attached, all HWPTs of the device are of the PASID kind. */
static int check_pasid_kind(struct fake_kernel *kernel, const struct fake_device *device,
                            bool has_pasid, const struct fake_object *hwpt)
{
    struct fake_object *of_rid = fake_hwpt_of(kernel, device->hwpt);

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
    struct fake_object *hwpt = fake_hwpt_of(kernel, cmd->pt_id);
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

int fake_device_ioctl(struct fake_kernel *kernel, struct fake_file *file, unsigned long number,
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

void fake_device_close(struct fake_kernel *kernel, struct fake_device *device)
{
    while (device->pasid_count)
        pasid_leave(kernel, device, device->pasids[0]);
    replace(kernel, &device->hwpt, 0);
    kernel->objects[device->id] = (struct fake_object){.type = FAKE_FREE};
    device->bound = false;
}
