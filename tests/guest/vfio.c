/* SPDX-License-Identifier: MIT */
#include "vfio.h"

#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int vfio_bind(const char *addr)
{
    int err = write_text("vfio-pci", "/sys/bus/pci/devices/%s/driver_override", addr);

    if (err)
        return err;
    write_text(addr, "/sys/bus/pci/devices/%s/driver/unbind", addr);
    return write_text(addr, "/sys/bus/pci/drivers_probe");
}

int vfio_unbind(const char *addr)
{
    int err = write_text(addr, "/sys/bus/pci/drivers/vfio-pci/unbind");

    return err ? err : write_text("\n", "/sys/bus/pci/devices/%s/driver_override", addr);
}

int vfio_forbid_reset(const char *addr)
{
    int err = write_text("\n", "/sys/bus/pci/devices/%s/reset_method", addr);

    return err == -ENOENT ? 0 : err; /* it knows none */
}

static int open_group(const char *addr)
{
    struct vfio_group_status status = {.argsz = sizeof(status)};
    char name[32], path[64];
    int fd, err;

    err = read_link_name(name, sizeof(name), "/sys/bus/pci/devices/%s/iommu_group", addr);
    if (err)
        return err;
    snprintf(path, sizeof(path), "/dev/vfio/%s", name);
    fd = wait_for_path(path, 2000) ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return -errno;
    if (!ioctl(fd, VFIO_GROUP_GET_STATUS, &status) && (status.flags & VFIO_GROUP_FLAGS_VIABLE))
        return fd;
    close(fd);
    return -EBUSY;
}

static int join_container(int group, int *container)
{
    bool fresh = *container < 0;

    if (fresh)
        *container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (*container < 0)
        return -errno;
    if (ioctl(group, VFIO_GROUP_SET_CONTAINER, container))
        return -errno;
    if (fresh && ioctl(*container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
        return -errno;
    return 0;
}

static int region_info(const struct vfio_function *fn, uint32_t index,
                       struct vfio_region_info *info)
{
    *info = (struct vfio_region_info){.argsz = sizeof(*info), .index = index};
    return ioctl(fn->device, VFIO_DEVICE_GET_REGION_INFO, info) ? -errno : 0;
}

static int map_bar(struct vfio_function *fn)
{
    struct vfio_region_info info;
    void *bar;
    int err = region_info(fn, VFIO_PCI_BAR0_REGION_INDEX, &info);

    if (err)
        return err;
    if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
        return -ENXIO;
    bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, fn->device, (off_t)info.offset);
    if (bar == MAP_FAILED)
        return -errno;
    fn->bar = bar;
    fn->bar_size = info.size;
    return 0;
}

static int enable_bus_master(struct vfio_function *fn)
{
    struct vfio_region_info info;
    uint16_t command;
    int err = region_info(fn, VFIO_PCI_CONFIG_REGION_INDEX, &info);

    if (err)
        return err;
    fn->config_offset = info.offset;
    if (pread(fn->device, &command, 2, (off_t)info.offset + PCI_COMMAND) != 2)
        return -EIO;
    command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    return pwrite(fn->device, &command, 2, (off_t)info.offset + PCI_COMMAND) == 2 ? 0 : -EIO;
}

int vfio_open(struct vfio_function *fn, const char *addr, int *container)
{
    int err;

    *fn = (struct vfio_function){.device = -1};
    snprintf(fn->addr, sizeof(fn->addr), "%s", addr);
    fn->group = open_group(addr);
    if (fn->group < 0)
        return fn->group;
    err = join_container(fn->group, container);
    if (!err) {
        fn->device = ioctl(fn->group, VFIO_GROUP_GET_DEVICE_FD, addr);
        err = fn->device < 0 ? -errno : 0;
    }
    if (!err)
        err = map_bar(fn);
    if (!err)
        err = enable_bus_master(fn);
    if (err)
        vfio_close(fn);
    return err;
}

void vfio_close(struct vfio_function *fn)
{
    if (fn->bar)
        munmap((void *)fn->bar, fn->bar_size);
    if (fn->device >= 0)
        close(fn->device);
    if (fn->group >= 0)
        close(fn->group);
    fn->bar = NULL;
    fn->device = fn->group = -1;
}

int vfio_map(int container, uint64_t iova, void *buf, uint64_t size, int access)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = (access & VFIO_READ ? VFIO_DMA_MAP_FLAG_READ : 0) |
                 (access & VFIO_WRITE ? VFIO_DMA_MAP_FLAG_WRITE : 0),
        .vaddr = (uintptr_t)buf,
        .iova = iova,
        .size = size,
    };

    return ioctl(container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

int vfio_unmap(int container, uint64_t iova, uint64_t size)
{
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = iova,
        .size = size,
    };

    if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
        return -errno;
    return unmap.size == size ? 0 : -ENOENT;
}

int vfio_irq_count(const struct vfio_function *fn, uint32_t index)
{
    struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};

    return ioctl(fn->device, VFIO_DEVICE_GET_IRQ_INFO, &info) ? -errno : (int)info.count;
}

int vfio_irq_enable(const struct vfio_function *fn, uint32_t index, int eventfd)
{
    /* The structure ends in a flexible array, here of one int32_t. */
    union {
        struct vfio_irq_set set;
        uint8_t bytes[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
    } request = {
        .set = {.argsz = sizeof(request.bytes),
                .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                .index = index,
                .count = 1},
    };
    int32_t fd = eventfd;

    memcpy(request.bytes + sizeof(struct vfio_irq_set), &fd, sizeof(fd));
    return ioctl(fn->device, VFIO_DEVICE_SET_IRQS, &request) ? -errno : 0;
}

static int set_irqs(const struct vfio_function *fn, uint32_t index, uint32_t action, uint32_t count)
{
    struct vfio_irq_set set = {
        .argsz = sizeof(set),
        .flags = VFIO_IRQ_SET_DATA_NONE | action,
        .index = index,
        .count = count,
    };

    return ioctl(fn->device, VFIO_DEVICE_SET_IRQS, &set) ? -errno : 0;
}

int vfio_irq_unmask(const struct vfio_function *fn, uint32_t index)
{
    return set_irqs(fn, index, VFIO_IRQ_SET_ACTION_UNMASK, 1);
}

int vfio_irq_disable(const struct vfio_function *fn, uint32_t index)
{
    return set_irqs(fn, index, VFIO_IRQ_SET_ACTION_TRIGGER, 0);
}
