/* SPDX-License-Identifier: MIT */
#include "edu.h"

#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* QEMU: docs/specs/edu.rst */
#define EDU_ID        0x010000ed
#define EDU_DMA_FROM  0x80
#define EDU_DMA_TO    0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_DO    0x98
#define EDU_START     1u
#define EDU_OUT       2u /* from the buffer to memory */
#define EDU_BUFFER    0x40000u

static bool region(int descriptor, uint32_t index, struct vfio_region_info *info)
{
    *info = (struct vfio_region_info){.argsz = sizeof(*info), .index = index};
    return !ioctl(descriptor, VFIO_DEVICE_GET_REGION_INFO, info);
}

static bool put(int descriptor, uint32_t at, uint32_t value)
{
    struct vfio_region_info bar;

    return region(descriptor, VFIO_PCI_BAR0_REGION_INDEX, &bar) &&
           pwrite(descriptor, &value, sizeof(value), (off_t)(bar.offset + at)) == sizeof(value);
}

static bool get(int descriptor, uint32_t at, uint32_t *value)
{
    struct vfio_region_info bar;

    return region(descriptor, VFIO_PCI_BAR0_REGION_INDEX, &bar) &&
           pread(descriptor, value, sizeof(*value), (off_t)(bar.offset + at)) == sizeof(*value);
}

bool edu_start(int descriptor)
{
    const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    struct vfio_region_info config;
    uint32_t id = 0;

    return region(descriptor, VFIO_PCI_CONFIG_REGION_INDEX, &config) &&
           pwrite(descriptor, &command, sizeof(command), (off_t)(config.offset + PCI_COMMAND)) ==
               sizeof(command) &&
           get(descriptor, 0, &id) && id == EDU_ID;
}

/* It takes a tenth of a second. */
static bool copy(int descriptor, uint32_t from, uint32_t to, uint32_t direction)
{
    uint32_t busy = EDU_START;

    if (!put(descriptor, EDU_DMA_FROM, from) || !put(descriptor, EDU_DMA_TO, to) ||
        !put(descriptor, EDU_DMA_COUNT, EDU_SIZE) ||
        !put(descriptor, EDU_DMA_DO, EDU_START | direction))
        return false;
    for (int i = 0; i < 500 && (busy & EDU_START); i++) {
        usleep(10000);
        if (!get(descriptor, EDU_DMA_DO, &busy))
            return false;
    }
    return !(busy & EDU_START);
}

bool edu_read(int descriptor, uint32_t iova)
{
    return copy(descriptor, iova, EDU_BUFFER, 0);
}

bool edu_write(int descriptor, uint32_t iova)
{
    return copy(descriptor, EDU_BUFFER, iova, EDU_OUT);
}

void *edu_map_bar(int descriptor)
{
    struct vfio_region_info bar;
    void *memory;

    if (!region(descriptor, VFIO_PCI_BAR0_REGION_INDEX, &bar))
        return NULL;
    memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, (off_t)bar.offset);
    return memory == MAP_FAILED ? NULL : memory;
}
