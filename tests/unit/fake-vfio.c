/* SPDX-License-Identifier: MIT */
#include "fake-vfio.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

struct fake_vfio fake;

#define REGION_SHIFT 40

static void put(unsigned int offset, unsigned int size, uint32_t value)
{
    memcpy(fake.config + offset, &value, size);
}

static void fill_header(void)
{
    put(0x00, 4, 0x56781234);
    put(0x06, 2, 0x0010);
    put(0x08, 4, 0x02000007);
    put(0x10, 4, 0x0000000c); /* 64 bits, prefetchable */
    put(0x18, 4, 0x00000001); /* I/O */
    put(0x20, 4, 0x00000000);
    put(0x2c, 4, 0x9abc4321);
    put(0x34, 1, FAKE_POWER);
    put(0x3d, 1, 1);
}

static void fill_capabilities(void)
{
    put(FAKE_POWER, 4, 0x00030001 | FAKE_MSI << 8);
    put(FAKE_POWER + 4, 4, 0x00000003);
    put(FAKE_MSI, 4, 0x00840005 | FAKE_ADVANCED << 8); /* 4 vectors, 64 bits, no masks */
    put(FAKE_ADVANCED, 4, 0x03060013 | FAKE_VENDOR << 8);
    put(FAKE_VENDOR, 4, 0x000c0009 | FAKE_EXPRESS << 8);
    put(FAKE_VENDOR + 4, 4, 0xcafe0001);
    put(FAKE_EXPRESS, 4, 0x00020010 | FAKE_MSIX << 8); /* version 2, endpoint */
    put(FAKE_EXPRESS + 4, 4, 0x10008000);              /* FLR */
    put(FAKE_EXPRESS + 0x0c, 4, 0x00000412);           /* a link */
    put(FAKE_MSIX, 4, 0x00000011 | (FAKE_VECTORS - 1) << 16);
    put(FAKE_MSIX + 4, 4, FAKE_TABLE);
    put(FAKE_MSIX + 8, 4, FAKE_PBA);
    put(FAKE_ERRORS, 4, 0x00010001 | FAKE_SERIAL << 20);
    put(FAKE_SERIAL, 4, 0x00010003 | FAKE_SPECIFIC << 20);
    put(FAKE_SERIAL + 4, 4, 0x11223344);
    put(FAKE_SPECIFIC, 4, 0x0001000b);
    put(FAKE_SPECIFIC + 4, 4, 0x01000055);
    put(FAKE_SPECIFIC + 8, 4, 0x0badf00d);
}

void fake_vfio_reset(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.device_flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
    fake.msix_flags = VFIO_IRQ_INFO_NORESIZE;
    fake.sizes[0] = FAKE_BAR_SIZE;
    fake.sizes[2] = 0x20;
    fake.sizes[4] = 0x100;
    fake.sizes[VFIO_PCI_CONFIG_REGION_INDEX] = VMM_PCI_CONFIG_SIZE;
    fake.unmask = -1;
    fake.bus.devices[0] = (struct vfio_pci_dependent_device){.group_id = 7, .bus = 1};
    fake.bus.count = 1;
    fake.bus.our_groups = 1u << 7;
    fake.rom_readable = FAKE_ROM_SIZE;
    for (unsigned int i = 0; i < FAKE_ROM_SIZE; i++)
        fake.rom[i] = (uint8_t)(i ^ i >> 8);
    memcpy(fake.rom, "\x55\xaa", 2);
    fill_header();
    fill_capabilities();
}

static int region_info(struct vfio_region_info *info)
{
    struct vfio_region_info_cap_sparse_mmap *sparse = (void *)(info + 1);
    size_t needed = sizeof(*info) + sizeof(*sparse) + sizeof(sparse->areas[0]);
    unsigned int room = info->argsz;
    unsigned int index = info->index;

    *info = (struct vfio_region_info){.argsz = sizeof(*info), .index = index};
    info->size = fake.sizes[index];
    info->offset = (uint64_t)index << REGION_SHIFT;
    info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    if (index)
        return 0;
    info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
    if (!fake.sparse)
        return 0;
    info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
    info->argsz = (uint32_t)needed;
    if (room < needed)
        return 0;
    info->cap_offset = sizeof(*info);
    memset(sparse, 0, needed - sizeof(*info));
    sparse->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
    sparse->nr_areas = 1;
    sparse->areas[0].offset = FAKE_BAR_SIZE / 2;
    sparse->areas[0].size = FAKE_BAR_SIZE / 2;
    return 0;
}

static int irq_info(struct vfio_irq_info *info)
{
    static const unsigned int counts[VFIO_PCI_NUM_IRQS] = {1, 4, FAKE_VECTORS, 1, 1};

    info->count = counts[info->index];
    info->flags = info->index == VFIO_PCI_MSIX_IRQ_INDEX ? fake.msix_flags : 0;
    return 0;
}

static bool is_message(unsigned int index)
{
    return index == VFIO_PCI_MSI_IRQ_INDEX || index == VFIO_PCI_MSIX_IRQ_INDEX;
}

static int set_irqs(const struct vfio_irq_set *set)
{
    struct fake_trigger *trigger = &fake.triggers[set->index];
    const int *events = (const int *)(const void *)set->data;

    if ((set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) == VFIO_IRQ_SET_ACTION_UNMASK) {
        fake.unmask = events[0];
        return 0;
    }
    if (!set->count) {
        fake.disables += set->index == VFIO_PCI_MSIX_IRQ_INDEX;
        trigger->count = 0;
        return 0;
    }
    if (!trigger->count && set->start) {
        errno = EINVAL;
        return -1;
    }
    if (is_message(set->index) && fake.vectors && set->start + set->count > fake.vectors) {
        errno = ENOSPC;
        return fake.no_number ? -1 : (int)fake.vectors;
    }
    if (!trigger->count && set->index == VFIO_PCI_MSIX_IRQ_INDEX)
        fake.enables++;
    memcpy(trigger->events + set->start, events, set->count * sizeof(*events));
    if (set->start + set->count > trigger->count)
        trigger->count = set->start + set->count;
    return 0;
}

static int device_info(struct vfio_device_info *info)
{
    info->flags = fake.device_flags;
    info->num_regions = VFIO_PCI_NUM_REGIONS;
    info->num_irqs = VFIO_PCI_NUM_IRQS;
    return 0;
}

static int hot_reset_info(struct vfio_pci_hot_reset_info *info)
{
    struct fake_bus *bus = &fake.bus;
    uint32_t room = (uint32_t)((info->argsz - sizeof(*info)) / sizeof(info->devices[0]));

    bus->asked++;
    if (bus->grows)
        bus->count = room + 1;
    info->flags = bus->flags;
    info->count = bus->count;
    if (bus->overflows)
        info->count = room + 1;
    if (bus->count > room) {
        errno = ENOSPC;
        return -1;
    }
    memcpy(info->devices, bus->devices, bus->count * sizeof(info->devices[0]));
    return 0;
}

static int hot_reset(const struct vfio_pci_hot_reset *reset)
{
    assert_int_equal(reset->flags, 0);
    assert_true(reset->argsz >= sizeof(*reset) + reset->count * sizeof(reset->group_fds[0]));
    assert_in_range(reset->count, 0, FAKE_AFFECTED);
    memcpy(fake.bus.groups, reset->group_fds, reset->count * sizeof(reset->group_fds[0]));
    fake.bus.group_count = reset->count;
    fake.hot_resets++;
    if (fake.in_hot_reset)
        fake.in_hot_reset();
    return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    assert_int_equal(fd, FAKE_FD);
    if (++fake.calls == fake.fail_at || request == fake.fail_request) {
        errno = EPERM;
        return -1;
    }
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        return device_info(argument);
    case VFIO_DEVICE_GET_REGION_INFO:
        return region_info(argument);
    case VFIO_DEVICE_GET_IRQ_INFO:
        return irq_info(argument);
    case VFIO_DEVICE_SET_IRQS:
        return set_irqs(argument);
    case VFIO_DEVICE_RESET:
        fake.resets++;
        return 0;
    case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        return hot_reset_info(argument);
    case VFIO_DEVICE_PCI_HOT_RESET:
        return hot_reset(argument);
    default:
        errno = ENOTTY;
        return -1;
    }
}

static uint8_t *bytes_at(off_t offset, size_t *room)
{
    unsigned int index = (unsigned int)(offset >> REGION_SHIFT);
    uint64_t within = (uint64_t)offset & ((UINT64_C(1) << REGION_SHIFT) - 1);

    if (within >= fake.sizes[index])
        return NULL;
    *room = fake.sizes[index] - within;
    return (index == VFIO_PCI_CONFIG_REGION_INDEX ? fake.config : fake.bar) + within;
}

/* Not more than half of what is asked for at once, as a read may. */
static ssize_t read_rom(void *buffer, size_t length, off_t offset)
{
    size_t at = (size_t)offset;
    size_t room = at < fake.rom_readable ? fake.rom_readable - at : 0;

    assert_true(at + length <= fake.sizes[VFIO_PCI_ROM_REGION_INDEX]);
    fake.rom_reads += at == 0;
    if (!room) {
        errno = EIO;
        return -1;
    }
    length = length > 1 ? length / 2 : length;
    length = length > room ? room : length;
    memcpy(buffer, fake.rom + at, length);
    return (ssize_t)length;
}

static ssize_t fake_read(int fd, void *buffer, size_t length, off_t offset)
{
    const off_t rom = (off_t)VFIO_PCI_ROM_REGION_INDEX << REGION_SHIFT;
    size_t room;
    const uint8_t *bytes = bytes_at(offset, &room);

    assert_int_equal(fd, FAKE_FD);
    if (offset >= rom && offset < rom + (off_t)fake.sizes[VFIO_PCI_ROM_REGION_INDEX])
        return read_rom(buffer, length, offset - rom);
    if (!bytes || length > room) {
        errno = EINVAL;
        return -1;
    }
    memcpy(buffer, bytes, length);
    return (ssize_t)length;
}

static ssize_t fake_write(int fd, const void *buffer, size_t length, off_t offset)
{
    size_t room;
    uint8_t *bytes = bytes_at(offset, &room);

    assert_int_equal(fd, FAKE_FD);
    if (!bytes || length > room) {
        errno = EINVAL;
        return -1;
    }
    memcpy(bytes, buffer, length);
    return (ssize_t)length;
}

static void *fake_map(int fd, size_t length, int protection, off_t offset)
{
    assert_int_equal(fd, FAKE_FD);
    assert_int_equal(offset >> REGION_SHIFT, 0);
    fake.mapped++;
    return mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int fake_unmap(void *address, size_t length)
{
    fake.mapped--;
    return munmap(address, length);
}

static int fake_duplicate(int fd)
{
    assert_int_equal(fd, FAKE_FD);
    fake.open++;
    return FAKE_FD;
}

static int fake_close(int fd)
{
    assert_int_equal(fd, FAKE_FD);
    fake.open--;
    return 0;
}

static int fake_irqfd(int vm_fd, int event, int gsi, bool assign)
{
    (void)vm_fd, (void)gsi;
    if (fake.no_irqfd) {
        errno = EINVAL;
        return -1;
    }
    fake.irqfds += assign ? 1 : -1u;
    (void)event;
    return 0;
}

const struct vmm_vfio_kernel fake_kernel = {
    .ioctl = fake_ioctl,
    .read = fake_read,
    .write = fake_write,
    .map = fake_map,
    .unmap = fake_unmap,
    .duplicate = fake_duplicate,
    .close = fake_close,
    .irqfd = fake_irqfd,
};

void fake_vfio_signal(unsigned int index, unsigned int vector)
{
    uint64_t one = 1;

    assert_true(vector < fake.triggers[index].count);
    assert_true(fake.triggers[index].events[vector] >= 0);
    assert_int_equal(write(fake.triggers[index].events[vector], &one, sizeof(one)), sizeof(one));
}
