/* SPDX-License-Identifier: MIT */
/*
 * The host bridge: how configuration accesses find their function.
 * Sources: PCI 3.0, 3.2.2.3.2 (CF8/CFC); PCI Express 6.0, 7.2.2 (ECAM).
 */
#include "pci_host.h"
#include "pci_internal.h"
#include "platform.h"
#include <errno.h>
#include <stdlib.h>

#define PORT_ADDRESS            0xcf8u
#define PORT_COUNT              8u
#define DATA_OFFSET             4u
#define RESET_CONTROL_OFFSET    (VMM_PORT_RESET_CONTROL - PORT_ADDRESS)
#define RESET_CONTROL_RESET_CPU 0x04u

#define ADDRESS_ENABLE   (1u << 31)
#define ADDRESS_WRITABLE 0x80fffffcu

static struct vmm_pci_function *find_function(const struct vmm_pci_segment *segment,
                                              unsigned int bus, unsigned int devfn)
{
    return bus == 0 ? segment->functions[devfn] : NULL;
}

static uint64_t config_read(const struct vmm_pci_segment *segment, unsigned int bus,
                            unsigned int devfn, unsigned int offset, unsigned int size)
{
    struct vmm_pci_function *fn = find_function(segment, bus, devfn);
    uint64_t value;

    if (!fn || offset + size > VMM_PCI_CONFIG_SIZE)
        return UINT64_MAX;
    value = vmm_pci_config_read(fn, offset, size > 4 ? 4 : size);
    if (size > 4)
        value |= (uint64_t)vmm_pci_config_read(fn, offset + 4, size - 4) << 32;
    return value;
}

static void config_write(const struct vmm_pci_segment *segment, unsigned int bus,
                         unsigned int devfn, unsigned int offset, unsigned int size, uint64_t value)
{
    struct vmm_pci_function *fn = find_function(segment, bus, devfn);

    if (!fn || offset + size > VMM_PCI_CONFIG_SIZE)
        return;
    vmm_pci_config_write(fn, offset, size > 4 ? 4 : size, (uint32_t)value);
    if (size > 4)
        vmm_pci_config_write(fn, offset + 4, size - 4, (uint32_t)(value >> 32));
}

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned int size)
{
    return config_read(opaque, (unsigned int)(offset >> 20), (offset >> 12) & 0xff, offset & 0xfff,
                       size);
}

static void ecam_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    config_write(opaque, (unsigned int)(offset >> 20), (offset >> 12) & 0xff, offset & 0xfff, size,
                 value);
}

static const struct vmm_bus_ops ecam_ops = {ecam_read, ecam_write};

static uint32_t get_address(struct vmm_pci_host *pci)
{
    uint32_t address;

    pthread_mutex_lock(&pci->lock);
    address = pci->config_address;
    pthread_mutex_unlock(&pci->lock);
    return address;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned int size)
{
    struct vmm_pci_host *pci = opaque;
    uint32_t address = get_address(pci);

    if (offset == 0 && size == 4)
        return address;
    if (offset < DATA_OFFSET || !(address & ADDRESS_ENABLE))
        return UINT64_MAX;
    return config_read(pci->segments[0], (address >> 16) & 0xff, (address >> 8) & 0xff,
                       (address & 0xfc) + (unsigned int)(offset - DATA_OFFSET), size);
}

static void port_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    struct vmm_pci_host *pci = opaque;
    uint32_t address;

    if (offset == 0 && size == 4) {
        pthread_mutex_lock(&pci->lock);
        pci->config_address = (uint32_t)value & ADDRESS_WRITABLE;
        pthread_mutex_unlock(&pci->lock);
    } else if (offset == RESET_CONTROL_OFFSET && size == 1) {
        if (value & RESET_CONTROL_RESET_CPU)
            vmm_stop(pci->vm, VMM_STOP_RESET, 0);
    } else if (offset >= DATA_OFFSET) {
        address = get_address(pci);
        if (address & ADDRESS_ENABLE)
            config_write(pci->segments[0], (address >> 16) & 0xff, (address >> 8) & 0xff,
                         (address & 0xfc) + (unsigned int)(offset - DATA_OFFSET), size, value);
    }
}

static const struct vmm_bus_ops port_ops = {port_read, port_write};

static const struct vmm_pci_ops bridge_ops = {NULL};

/* QEMU's generic host bridge: no driver binds to it. */
static const struct vmm_pci_identity bridge_identity = {
    .name = "host bridge",
    .vendor = 0x1b36,
    .device = 0x0008,
    .class_code = 0x060000,
};

static int fill_segment(struct vmm_pci_segment *segment, struct viommu_error *err)
{
    struct vmm_pci_identity identity = bridge_identity;
    struct vmm *vm = segment->host->vm;
    int ret;

    identity.segment = segment->number;
    ret = vmm_pci_function_init(&segment->bridge, vm, 0, &identity, &bridge_ops, err);
    if (ret)
        return ret;
    ret = vmm_pci_register(&segment->bridge, err);
    if (ret) {
        vmm_pci_function_fini(&segment->bridge);
        return ret;
    }
    ret = vmm_bus_add(&vm->mmio, VMM_ECAM_BASE + segment->number * VMM_ECAM_SIZE, VMM_ECAM_SIZE,
                      &ecam_ops, segment);
    return ret ? vmm_fail(err, -ret, "cannot put PCI segment %u on the bus", segment->number) : 0;
}

struct vmm_pci_segment *vmm_pci_segment_get(struct vmm *vm, unsigned int number,
                                            struct viommu_error *err)
{
    struct vmm_pci_host *pci = vm->pci;
    struct vmm_pci_segment *segment = pci->segments[number];

    if (segment)
        return segment;
    segment = calloc(1, sizeof(*segment));
    if (!segment) {
        vmm_fail(err, ENOMEM, "out of memory for PCI segment %u", number);
        return NULL;
    }
    segment->host = pci;
    segment->number = (uint16_t)number;
    vmm_pci_windows_reset(segment);
    pci->segments[number] = segment; /* and stays, whatever follows: its bridge may be registered */
    return fill_segment(segment, err) ? NULL : segment;
}

bool vmm_pci_has_segment(const struct vmm *vm, unsigned int number)
{
    return vm->pci->segments[number];
}

struct vmm_pci_function *vmm_pci_next(const struct vmm *vm, const struct vmm_pci_function *fn)
{
    const struct vmm_pci_host *pci = vm->pci;
    size_t i = 0;

    while (fn && i < pci->count && pci->functions[i++] != fn)
        ;
    return i < pci->count ? pci->functions[i] : NULL;
}

int vmm_pci_host_create(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_pci_host *pci = calloc(1, sizeof(*pci));
    int ret;

    if (!pci)
        return vmm_fail(err, ENOMEM, "out of memory for the PCI host bridge");
    vm->pci = pci;
    pci->vm = vm;
    pci->ports = (struct vmm_pci_window){VMM_PCI_IO_BASE, VMM_PCI_IO_END};
    pthread_mutex_init(&pci->lock, NULL);
    if (!vmm_pci_segment_get(vm, 0, err))
        return -ENOMEM;
    ret = vmm_bus_add(&vm->pio, PORT_ADDRESS, PORT_COUNT, &port_ops, pci);
    return ret ? vmm_fail(err, -ret, "cannot put the PCI host bridge on the buses") : 0;
}

/* Who finds no function 0 in a slot does not look for others (PCI 3.0, 3.2.2.3.4). */
int vmm_pci_host_check(const struct vmm *vm, struct viommu_error *err)
{
    const struct vmm_pci_function *fn = NULL;

    while ((fn = vmm_pci_next(vm, fn)))
        if (!fn->segment->functions[fn->devfn & ~7u])
            return vmm_fail(
                err, EINVAL,
                "%s is function %u of slot %02x, which has no function 0, without which "
                "a guest does not find it; give that place to a device by addr=%02x.0",
                fn->id.name, fn->devfn & 7u, fn->devfn >> 3u, fn->devfn >> 3u);
    return 0;
}

void vmm_pci_host_reset(struct vmm *vm)
{
    struct vmm_pci_host *pci = vm->pci;
    size_t i;

    for (i = 0; i < pci->count; i++)
        vmm_pci_power_on(pci->functions[i]);
    pthread_mutex_lock(&pci->lock);
    pci->config_address = 0;
    pthread_mutex_unlock(&pci->lock);
    for (i = 0; i < VMM_SEGMENTS_MAX; i++)
        if (pci->segments[i])
            vmm_pci_windows_reset(pci->segments[i]);
    pci->ports = (struct vmm_pci_window){VMM_PCI_IO_BASE, VMM_PCI_IO_END};
}

int vmm_pci_host_start(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_pci_host *pci = vm->pci;
    int ret = 0;
    size_t i;

    for (i = 0; i < pci->count && !ret; i++)
        if (!pci->functions[i]->unplugged)
            ret = vmm_pci_start(pci->functions[i], err);
    return ret;
}

void vmm_pci_host_destroy(struct vmm *vm)
{
    struct vmm_pci_host *pci = vm->pci;
    struct vmm_pci_function *fn, contents;

    if (!pci)
        return;
    while (pci->count) {
        fn = pci->functions[--pci->count];
        if (fn->ops->stop)
            fn->ops->stop(fn);
        vmm_pci_bars_remove(fn);
        contents = *fn;
        if (fn->ops->destroy)
            fn->ops->destroy(fn);
        vmm_pci_function_fini(&contents);
    }
    for (unsigned int i = 0; i < VMM_SEGMENTS_MAX; i++)
        free(pci->segments[i]);
    pthread_mutex_destroy(&pci->lock);
    free(pci);
    vm->pci = NULL;
}
