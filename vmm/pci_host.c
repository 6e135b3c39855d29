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

static struct vmm_pci_function *find_function(struct vmm_pci_host *pci, unsigned int bus,
                                              unsigned int devfn)
{
    return bus == 0 ? pci->functions[devfn] : NULL;
}

static uint64_t config_read(struct vmm_pci_host *pci, unsigned int bus, unsigned int devfn,
                            unsigned int offset, unsigned int size)
{
    struct vmm_pci_function *fn = find_function(pci, bus, devfn);
    uint64_t value;

    if (!fn || offset + size > VMM_PCI_CONFIG_SIZE)
        return UINT64_MAX;
    value = vmm_pci_config_read(fn, offset, size > 4 ? 4 : size);
    if (size > 4)
        value |= (uint64_t)vmm_pci_config_read(fn, offset + 4, size - 4) << 32;
    return value;
}

static void config_write(struct vmm_pci_host *pci, unsigned int bus, unsigned int devfn,
                         unsigned int offset, unsigned int size, uint64_t value)
{
    struct vmm_pci_function *fn = find_function(pci, bus, devfn);

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
    return config_read(pci, (address >> 16) & 0xff, (address >> 8) & 0xff,
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
            config_write(pci, (address >> 16) & 0xff, (address >> 8) & 0xff,
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

int vmm_pci_host_create(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_pci_host *pci = calloc(1, sizeof(*pci));
    int ret;

    if (!pci)
        return vmm_fail(err, ENOMEM, "out of memory for the PCI host bridge");
    vm->pci = pci;
    pci->vm = vm;
    pci->next_memory = VMM_PCI_WINDOW_BASE;
    pci->next_port = VMM_PCI_IO_BASE;
    pthread_mutex_init(&pci->lock, NULL);
    ret = vmm_pci_function_init(&pci->bridge, vm, 0, &bridge_identity, &bridge_ops, err);
    if (!ret)
        ret = vmm_pci_register(&pci->bridge, err);
    if (ret)
        return ret;
    ret = vmm_bus_add(&vm->mmio, VMM_ECAM_BASE, (uint64_t)VMM_ECAM_BUSES << 20, &ecam_ops, pci);
    if (!ret)
        ret = vmm_bus_add(&vm->pio, PORT_ADDRESS, PORT_COUNT, &port_ops, pci);
    return ret ? vmm_fail(err, -ret, "cannot put the PCI host bridge on the buses") : 0;
}

void vmm_pci_host_reset(struct vmm *vm)
{
    struct vmm_pci_host *pci = vm->pci;
    size_t i;

    for (i = 0; i < pci->count; i++)
        vmm_pci_power_on(pci->functions[pci->order[i]]);
    pthread_mutex_lock(&pci->lock);
    pci->config_address = 0;
    pthread_mutex_unlock(&pci->lock);
    pci->next_memory = VMM_PCI_WINDOW_BASE;
    pci->next_port = VMM_PCI_IO_BASE;
}

int vmm_pci_host_start(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_pci_host *pci = vm->pci;
    int ret = 0;
    size_t i;

    for (i = 0; i < pci->count && !ret; i++)
        ret = vmm_pci_start(pci->functions[pci->order[i]], err);
    return ret;
}

void vmm_pci_host_destroy(struct vmm *vm)
{
    struct vmm_pci_host *pci = vm->pci;
    struct vmm_pci_function *fn, contents;

    if (!pci)
        return;
    while (pci->count) {
        fn = pci->functions[pci->order[--pci->count]];
        if (fn->ops->stop)
            fn->ops->stop(fn);
        contents = *fn;
        if (fn->ops->destroy)
            fn->ops->destroy(fn);
        vmm_pci_function_fini(&contents);
    }
    pthread_mutex_destroy(&pci->lock);
    free(pci);
    vm->pci = NULL;
}
