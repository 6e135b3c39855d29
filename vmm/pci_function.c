/* SPDX-License-Identifier: MIT */
/* Building a function: header, capabilities, registration. */
#include "pci_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* PCI Express capability of a root-complex integrated endpoint (PCI Express 6.0, 7.5.3). */
#define EXPRESS_LENGTH            0x3cu
#define EXPRESS_FLAGS             0x0092u /* version 2, device type 9 */
#define EXPRESS_DEVICE_CAP        0x04u
#define EXPRESS_DEVICE_CONTROL    0x08u
#define EXPRESS_FLR               (1u << 28)
#define EXPRESS_ROLE_BASED_ERRORS (1u << 15)
#define EXPRESS_CONTROL_WRITABLE  0x78ffu
#define EXPRESS_DEVICE_CAP_2      0x24u
#define EXPRESS_END_END_PREFIX    (1u << 21) /* TLPs with a PASID come from here */
#define EXPRESS_ONE_PREFIX        (1u << 22)

#define FIRST_EXTENDED 0x100u

void vmm_pci_put16(uint8_t *space, unsigned int offset, uint16_t value)
{
    space[offset] = value & 0xff;
    space[offset + 1] = value >> 8;
}

void vmm_pci_put32(uint8_t *space, unsigned int offset, uint32_t value)
{
    vmm_pci_put16(space, offset, value & 0xffff);
    vmm_pci_put16(space, offset + 2, value >> 16);
}

uint16_t vmm_pci_get16(const uint8_t *space, unsigned int offset)
{
    return (uint16_t)(space[offset] | space[offset + 1] << 8);
}

uint32_t vmm_pci_get32(const uint8_t *space, unsigned int offset)
{
    return vmm_pci_get16(space, offset) | (uint32_t)vmm_pci_get16(space, offset + 2) << 16;
}

static int choose_devfn(const struct vmm_pci_segment *segment, int wanted, const char *name,
                        struct viommu_error *err)
{
    int devfn;

    if (wanted >= 0) {
        if (wanted >= (int)PCI_DEVFNS || segment->functions[wanted])
            return vmm_fail(err, EBUSY, "the place %04x:00:%02x.%d for %s is taken",
                            segment->number, wanted >> 3, wanted & 7, name);
        return wanted;
    }
    for (devfn = 0; devfn < (int)PCI_DEVFNS; devfn += 8) {
        if (!segment->functions[devfn])
            return devfn;
    }
    return vmm_fail(err, ENOSPC, "no free slot on the root bus of segment %u for %s; it has 32",
                    segment->number, name);
}

static int allocate_spaces(struct vmm_pci_function *fn, struct viommu_error *err)
{
    fn->config = calloc(5, VMM_PCI_CONFIG_SIZE);
    if (!fn->config)
        return vmm_fail(err, ENOMEM, "out of memory for the configuration space of %s",
                        fn->id.name);
    fn->write_mask = fn->config + VMM_PCI_CONFIG_SIZE;
    fn->clear_mask = fn->write_mask + VMM_PCI_CONFIG_SIZE;
    fn->watched = fn->clear_mask + VMM_PCI_CONFIG_SIZE;
    fn->power_on = fn->watched + VMM_PCI_CONFIG_SIZE;
    return 0;
}

static void fill_header(struct vmm_pci_function *fn)
{
    const struct vmm_pci_identity *id = &fn->id;

    vmm_pci_put16(fn->config, PCI_REG_VENDOR, id->vendor);
    vmm_pci_put16(fn->config, PCI_REG_DEVICE, id->device);
    vmm_pci_put32(fn->config, PCI_REG_REVISION, id->class_code << 8 | id->revision);
    vmm_pci_put16(fn->config, PCI_REG_SUBSYSTEM_VENDOR, id->subsystem_vendor);
    vmm_pci_put16(fn->config, PCI_REG_SUBSYSTEM, id->subsystem_device);
    fn->config[PCI_REG_INTERRUPT_PIN] = id->interrupt_pin;
    if (id->interrupt_pin)
        fn->config[PCI_REG_INTERRUPT_LINE] = (uint8_t)vmm_pci_intx_gsi(fn);
    vmm_pci_put16(fn->write_mask, PCI_REG_COMMAND,
                  PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                      PCI_COMMAND_INTX_DISABLE);
    fn->write_mask[PCI_REG_CACHE_LINE] = 0xff;
    fn->write_mask[PCI_REG_INTERRUPT_LINE] = 0xff;
}

void vmm_pci_function_identify(struct vmm_pci_function *fn, const struct vmm_pci_identity *id)
{
    fn->id = *id;
    fill_header(fn);
}

static void add_express(struct vmm_pci_function *fn)
{
    uint8_t at = vmm_pci_add_capability(fn, PCI_CAPABILITY_EXPRESS, EXPRESS_LENGTH, false);

    fn->express_offset = at;
    vmm_pci_put16(fn->config, at + 2, EXPRESS_FLAGS);
    vmm_pci_put32(fn->config, at + EXPRESS_DEVICE_CAP, EXPRESS_FLR | EXPRESS_ROLE_BASED_ERRORS);
    vmm_pci_put16(fn->write_mask, at + EXPRESS_DEVICE_CONTROL, EXPRESS_CONTROL_WRITABLE);
    vmm_pci_put32(fn->config, at + EXPRESS_DEVICE_CAP_2,
                  EXPRESS_END_END_PREFIX | EXPRESS_ONE_PREFIX);
}

static int add_to_topology(struct vmm_pci_function *fn, struct viommu_error *err)
{
    struct viommu_pci_device_options options = VIOMMU_PCI_DEVICE_OPTIONS_INIT;
    int ret;

    options.name = fn->id.name;
    ret = viommu_pci_device_add(fn->vm->viommu_buses[fn->id.segment], fn->devfn, &options,
                                &fn->viommu, err);
    return ret ? ret : vmm_units_place(fn, err);
}

int vmm_pci_function_init(struct vmm_pci_function *fn, struct vmm *vm, int devfn,
                          const struct vmm_pci_identity *id, const struct vmm_pci_ops *ops,
                          struct viommu_error *err)
{
    int ret;

    memset(fn, 0, sizeof(*fn));
    fn->vm = vm;
    fn->id = *id;
    fn->ops = ops;
    fn->segment = vmm_pci_segment_get(vm, id->segment, err);
    if (!fn->segment)
        return -ENOMEM;
    ret = choose_devfn(fn->segment, devfn, id->name, err);
    if (ret < 0)
        return ret;
    fn->devfn = (uint8_t)ret;
    ret = allocate_spaces(fn, err);
    if (ret)
        return ret;
    fill_header(fn);
    fn->next_free = PCI_FIRST_CAPABILITY;
    fn->next_extended = FIRST_EXTENDED;
    if (id->express)
        add_express(fn);
    ret = add_to_topology(fn, err);
    if (ret)
        vmm_pci_function_fini(fn);
    return ret;
}

void vmm_pci_function_fini(struct vmm_pci_function *fn)
{
    if (fn->viommu)
        viommu_pci_device_remove(fn->viommu);
    free(fn->config);
    free(fn->msix.table);
    free(fn->msix.pba);
    memset(fn, 0, sizeof(*fn));
}

uint8_t vmm_pci_add_capability(struct vmm_pci_function *fn, uint8_t id, uint8_t length,
                               bool watched)
{
    uint8_t at = fn->next_free;

    fn->config[at] = id;
    fn->config[at + 1] = 0;
    if (fn->last_capability)
        fn->config[fn->last_capability + 1] = at;
    else
        fn->config[PCI_REG_CAPABILITIES] = at;
    vmm_pci_put16(fn->config, PCI_REG_STATUS, PCI_STATUS_CAPABILITIES);
    if (watched)
        memset(fn->watched + at, 1, length);
    fn->last_capability = at;
    fn->next_free = (uint8_t)((at + length + 3) & ~3);
    return at;
}

uint16_t vmm_pci_add_extended_capability(struct vmm_pci_function *fn, uint16_t id, uint8_t version,
                                         uint16_t length, bool watched)
{
    uint16_t at = fn->next_extended;

    vmm_pci_put32(fn->config, at, id | (uint32_t)version << 16);
    if (fn->last_extended)
        vmm_pci_put16(fn->config, fn->last_extended + 2u,
                      (uint16_t)(vmm_pci_get16(fn->config, fn->last_extended + 2u) | at << 4));
    if (watched)
        memset(fn->watched + at, 1, length);
    fn->last_extended = at;
    fn->next_extended = (uint16_t)((at + length + 3) & ~3);
    return at;
}

void vmm_pci_place_capability(struct vmm_pci_function *fn, uint8_t offset)
{
    fn->next_free = offset;
}

void vmm_pci_place_extended_capability(struct vmm_pci_function *fn, uint16_t offset)
{
    fn->next_extended = offset;
}

/* Function 0 tells whether there are others (PCI 3.0, 6.2.1). */
static void mark_multifunction(struct vmm_pci_segment *segment, unsigned int slot)
{
    struct vmm_pci_function **functions = &segment->functions[slot << 3];
    unsigned int i;

    for (i = 1; i < 8; i++) {
        if (functions[i] && functions[0])
            functions[0]->config[PCI_REG_HEADER_TYPE] |= PCI_HEADER_MULTIFUNCTION;
    }
}

static void enable_function(struct vmm_pci_function *fn)
{
    vmm_pci_put16(fn->config, PCI_REG_COMMAND,
                  PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    vmm_pci_bars_update(fn);
}

/* Under vm->plug_lock. */
static int add_to_machine(struct vmm_pci_function *fn, struct viommu_error *err)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    int ret;

    memcpy(fn->power_on, fn->config, VMM_PCI_CONFIG_SIZE);
    ret = vmm_pci_bars_assign(fn, err);
    if (ret)
        return ret;
    pthread_mutex_lock(&pci->lock);
    fn->segment->functions[fn->devfn] = fn;
    pci->functions[pci->count++] = fn;
    mark_multifunction(fn->segment, fn->devfn >> 3);
    fn->registered = true;
    enable_function(fn);
    pthread_mutex_unlock(&pci->lock);
    return 0;
}

int vmm_pci_register(struct vmm_pci_function *fn, struct viommu_error *err)
{
    struct vmm *vm = fn->vm;
    const char *lost;
    int ret;

    pthread_mutex_lock(&vm->plug_lock);
    ret = add_to_machine(fn, err);
    lost = fn->lost;
    pthread_mutex_unlock(&vm->plug_lock);
    if (!ret && lost)
        vmm_pci_lose(fn, lost);
    return ret;
}

int vmm_pci_start(struct vmm_pci_function *fn, struct viommu_error *err)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    int ret = vmm_pci_bars_assign(fn, err);

    if (ret)
        return ret;
    pthread_mutex_lock(&pci->lock);
    enable_function(fn);
    pthread_mutex_unlock(&pci->lock);
    if (fn->ops->bus_master)
        fn->ops->bus_master(fn, true);
    return 0;
}

bool vmm_pci_bus_master(const struct vmm_pci_function *fn)
{
    return __atomic_load_n(&fn->config[PCI_REG_COMMAND], __ATOMIC_RELAXED) & PCI_COMMAND_MASTER;
}

uint16_t vmm_pci_requester_id(const struct vmm_pci_function *fn)
{
    return fn->devfn; /* on bus 0 */
}
