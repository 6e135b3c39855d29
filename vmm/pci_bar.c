/* SPDX-License-Identifier: MIT */
/* Base address registers: PCI 3.0, 6.2.5. */
#include "kvm.h"
#include "pci_internal.h"
#include <errno.h>
#include <stdio.h>

#define BAR_IO           0x1u
#define BAR_MEM64        0x4u
#define BAR_PREFETCHABLE 0x8u
#define BAR_FLAGS_IO     0x3u
#define BAR_FLAGS_MEMORY 0xfu
#define BAR_FLAGS_ROM    0x7ffu
#define BARS             (VMM_PCI_BARS + 1u) /* with the ROM's */
#define PAGE_SIZE_4K     4096ull

static unsigned int bar_register(const struct vmm_pci_bar *bar)
{
    if (bar->type == VMM_PCI_BAR_ROM)
        return PCI_REG_ROM;
    return PCI_REG_BAR0 + 4 * (unsigned int)(bar - bar->fn->bars);
}

void vmm_pci_add_bar(struct vmm_pci_function *fn, unsigned int index, enum vmm_pci_bar_type type,
                     uint64_t size)
{
    struct vmm_pci_bar *bar = &fn->bars[index];
    uint32_t flags = type == VMM_PCI_BAR_IO ? BAR_IO : type == VMM_PCI_BAR_MEM64 ? BAR_MEM64 : 0;
    unsigned int at;

    *bar = (struct vmm_pci_bar){.type = type, .size = size, .fn = fn};
    at = bar_register(bar);
    vmm_pci_put32(fn->config, at, flags);
    vmm_pci_put32(fn->write_mask, at, (uint32_t) ~(size - 1));
    if (type == VMM_PCI_BAR_MEM64)
        vmm_pci_put32(fn->write_mask, at + 4, (uint32_t)(~(size - 1) >> 32));
}

void vmm_pci_add_rom(struct vmm_pci_function *fn, uint64_t size)
{
    fn->bars[VMM_PCI_ROM] = (struct vmm_pci_bar){.type = VMM_PCI_BAR_ROM, .size = size, .fn = fn};
    vmm_pci_put32(fn->write_mask, PCI_REG_ROM, (uint32_t) ~(size - 1) | PCI_ROM_ENABLE);
}

void vmm_pci_bar_set_prefetchable(struct vmm_pci_function *fn, unsigned int index)
{
    struct vmm_pci_bar *bar = &fn->bars[index];

    bar->prefetchable = true;
    fn->config[bar_register(bar)] |= BAR_PREFETCHABLE;
}

static uint64_t bar_address(const struct vmm_pci_bar *bar)
{
    const uint8_t *config = bar->fn->config;
    unsigned int at = bar_register(bar);
    uint64_t address = vmm_pci_get32(config, at);

    if (bar->type == VMM_PCI_BAR_IO)
        return address & ~(uint64_t)BAR_FLAGS_IO;
    if (bar->type == VMM_PCI_BAR_ROM)
        return address & ~(uint64_t)BAR_FLAGS_ROM;
    if (bar->type == VMM_PCI_BAR_MEM64)
        address |= (uint64_t)vmm_pci_get32(config, at + 4) << 32;
    return address & ~(uint64_t)BAR_FLAGS_MEMORY;
}

/*
 * Those that may lie anywhere and do not mind are out of the way of those that must lie below 4
 * GiB. The rest is there too, where 32-bit software reaches it, as long as there is room.
 */
static uint64_t take_memory(const struct vmm_pci_bar *bar)
{
    struct vmm_pci_segment *segment = bar->fn->segment;
    /* A page of its own, so that a guest can give the BAR to a process. */
    uint64_t size = bar->size < PAGE_SIZE_4K ? PAGE_SIZE_4K : bar->size;
    uint64_t address = 0;

    if (bar->type == VMM_PCI_BAR_MEM64 && bar->prefetchable)
        address = vmm_pci_window_take(&segment->high, size);
    if (!address)
        address = vmm_pci_window_take(&segment->low, size);
    if (!address && bar->type == VMM_PCI_BAR_MEM64)
        address = vmm_pci_window_take(&segment->high, size);
    return address;
}

static int no_ports(const struct vmm_pci_bar *bar, struct viommu_error *err)
{
    const struct vmm_pci_window *ports = &bar->fn->vm->pci->ports;

    return vmm_fail(
        err, ENOSPC,
        "no room for BAR %u of %s: 0x%llx I/O ports, and 0x%llx are left; give the guest "
        "fewer devices that have some",
        (unsigned int)(bar - bar->fn->bars), bar->fn->id.name, (unsigned long long)bar->size,
        (unsigned long long)(ports->end - ports->next));
}

static int no_memory(const struct vmm_pci_bar *bar, struct viommu_error *err)
{
    const struct vmm_pci_segment *segment = bar->fn->segment;
    char above[96] = "";

    if (bar->type == VMM_PCI_BAR_MEM64)
        snprintf(above, sizeof(above),
                 " and 0x%llx above the RAM, from which alignment takes its part",
                 (unsigned long long)(segment->high.end - segment->high.next));
    return vmm_fail(
        err, ENOSPC,
        "no room for BAR %u of %s: 0x%llx bytes, and segment %u has 0x%llx left below 4 "
        "GiB%s; give the device another segment with segment=N, or the guest fewer "
        "devices",
        (unsigned int)(bar - bar->fn->bars), bar->fn->id.name, (unsigned long long)bar->size,
        segment->number, (unsigned long long)(segment->low.end - segment->low.next), above);
}

static int assign_bar(struct vmm_pci_host *pci, struct vmm_pci_bar *bar, struct viommu_error *err)
{
    uint8_t *config = bar->fn->config;
    unsigned int at = bar_register(bar);
    uint64_t address;

    if (bar->type == VMM_PCI_BAR_IO)
        address = vmm_pci_window_take(&pci->ports, bar->size);
    else
        address = take_memory(bar);
    if (!address && bar->type == VMM_PCI_BAR_ROM)
        return 0; /* the guest finds a place for it, or does without */
    if (!address)
        return bar->type == VMM_PCI_BAR_IO ? no_ports(bar, err) : no_memory(bar, err);
    vmm_pci_put32(config, at, (uint32_t)address | vmm_pci_get32(config, at));
    if (bar->type == VMM_PCI_BAR_MEM64)
        vmm_pci_put32(config, at + 4, (uint32_t)(address >> 32));
    return 0;
}

int vmm_pci_bars_assign(struct vmm_pci_function *fn, struct viommu_error *err)
{
    unsigned int i;
    int ret = 0;

    for (i = 0; i < BARS && !ret; i++) {
        if (fn->bars[i].type != VMM_PCI_BAR_NONE)
            ret = assign_bar(fn->vm->pci, &fn->bars[i], err);
    }
    return ret;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned int size)
{
    struct vmm_pci_bar *bar = opaque;
    struct vmm_pci_function *fn = bar->fn;
    unsigned int index = (unsigned int)(bar - fn->bars);
    struct vmm_pci_host *pci = fn->vm->pci;
    uint64_t value;

    if (!vmm_pci_msix_decodes(fn, index, offset))
        return fn->ops->bar_read(fn, index, offset, size);
    pthread_mutex_lock(&pci->lock);
    value = vmm_pci_msix_read(fn, index, offset, size);
    pthread_mutex_unlock(&pci->lock);
    return value;
}

static void bar_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    struct vmm_pci_bar *bar = opaque;
    struct vmm_pci_function *fn = bar->fn;
    unsigned int index = (unsigned int)(bar - fn->bars);
    struct vmm_pci_host *pci = fn->vm->pci;
    unsigned int vector;
    bool changed;

    if (index == VMM_PCI_ROM)
        return;
    if (!vmm_pci_msix_decodes(fn, index, offset)) {
        fn->ops->bar_write(fn, index, offset, size, value);
        return;
    }
    pthread_mutex_lock(&pci->lock);
    changed = vmm_pci_msix_write(fn, index, offset, size, value, &vector);
    pthread_mutex_unlock(&pci->lock);
    if (changed && fn->ops->messages_changed)
        fn->ops->messages_changed(fn, vector, 1);
}

static const struct vmm_bus_ops bar_ops = {bar_read, bar_write};

int vmm_pci_bar_add_direct(struct vmm_pci_function *fn, unsigned int index, uint64_t offset,
                           uint64_t size, void *host)
{
    struct vmm_pci_bar *bar = &fn->bars[index];

    if (bar->direct_count == VMM_PCI_DIRECT_MAX)
        return -ENOSPC;
    bar->direct[bar->direct_count++] =
        (struct vmm_pci_direct){.offset = offset, .size = size, .host = host, .slot = -1};
    return 0;
}

static void direct_map(struct vmm_pci_bar *bar)
{
    struct vmm_pci_direct *direct;
    unsigned int i;

    if (bar->address % PAGE_SIZE_4K)
        return;
    for (i = 0; i < bar->direct_count; i++) {
        direct = &bar->direct[i];
        direct->slot =
            vmm_kvm_map(bar->fn->vm, bar->address + direct->offset, direct->host, direct->size);
    }
}

static void direct_unmap(struct vmm_pci_bar *bar)
{
    unsigned int i;

    for (i = 0; i < bar->direct_count; i++) {
        vmm_kvm_unmap(bar->fn->vm, bar->direct[i].slot);
        bar->direct[i].slot = -1;
    }
}

static struct vmm_bus *bar_bus(const struct vmm_pci_bar *bar)
{
    return bar->type == VMM_PCI_BAR_IO ? &bar->fn->vm->pio : &bar->fn->vm->mmio;
}

static bool bar_enabled(const struct vmm_pci_bar *bar)
{
    uint16_t command = vmm_pci_get16(bar->fn->config, PCI_REG_COMMAND);

    if (bar->type == VMM_PCI_BAR_ROM && !(bar->fn->config[PCI_REG_ROM] & PCI_ROM_ENABLE))
        return false;
    return command & (bar->type == VMM_PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
}

static bool bar_moved(const struct vmm_pci_bar *bar)
{
    return bar->mapped && (!bar_enabled(bar) || bar_address(bar) != bar->address);
}

static void bar_unmap(struct vmm_pci_bar *bar)
{
    if (!bar->mapped)
        return;
    direct_unmap(bar);
    vmm_bus_remove(bar_bus(bar), bar->address, bar);
    bar->mapped = false;
}

void vmm_pci_bars_remove(struct vmm_pci_function *fn)
{
    unsigned int i;

    for (i = 0; i < BARS; i++)
        bar_unmap(&fn->bars[i]);
}

/*
 * Whether a BAR there can be seen by vCPUs at all, and by nothing else: RAM and the ROM win, so do
 * local APICs, of which messages go there, too, and a processor has so many address lines.
 */
static bool bar_fits(const struct vmm_pci_bar *bar)
{
    const struct vmm *vm = bar->fn->vm;
    uint64_t end = bar->address + bar->size;

    if (bar->type == VMM_PCI_BAR_IO)
        return end <= VMM_PCI_IO_END;
    if (bar->address < VMM_HIGH_RAM_BASE)
        return bar->address >= vm->ram.low_size && end <= VMM_IOAPIC_BASE;
    return bar->address >= VMM_HIGH_RAM_BASE + (vm->ram.size - vm->ram.low_size) &&
           end > bar->address && end <= UINT64_C(1) << vm->physical_bits;
}

/*
 * Fails silently where something else is, or where none can be: of two BARs at one place the first
 * one is decoded.
 */
static void bar_map(struct vmm_pci_bar *bar)
{
    if (bar->mapped || bar->type == VMM_PCI_BAR_NONE || !bar_enabled(bar))
        return;
    bar->address = bar_address(bar);
    if (!bar_fits(bar))
        return;
    bar->mapped = !vmm_bus_add(bar_bus(bar), bar->address, bar->size, &bar_ops, bar);
    if (bar->mapped)
        direct_map(bar);
}

/* A place that one BAR leaves may be what another one waits for, so all are looked at. */
void vmm_pci_bars_update(struct vmm_pci_function *fn)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    unsigned int i;
    size_t k;

    for (i = 0; i < BARS; i++)
        if (bar_moved(&fn->bars[i]))
            bar_unmap(&fn->bars[i]);
    for (k = 0; k < pci->count; k++) {
        for (i = 0; i < BARS; i++)
            bar_map(&pci->functions[k]->bars[i]);
    }
}
