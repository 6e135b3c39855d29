/* SPDX-License-Identifier: MIT */
/* Configuration space of a VFIO device: what the guest is shown of it, and where. */
#include "pci_ats.h"
#include "pci_internal.h"
#include "vfio.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_SIZE         0x40u
#define LEGACY_SIZE         0x100u
#define HEADER_TYPE_MASK    0x7fu
#define CAPABILITIES_MAX    48u
#define EXTENDED_FIRST      0x100u
#define EXTENDED_MAX        480u
#define EXPRESS_TYPE_SHIFT  4
#define EXPRESS_TYPE_MASK   0x00f0u
#define EXPRESS_ENDPOINT    0x0u
#define EXPRESS_LEGACY      0x1u
#define EXPRESS_INTEGRATED  0x9u
#define EXPRESS_LENGTH_1    0x14u
#define EXPRESS_LENGTH_2    0x3cu
#define EXPRESS_CONTROL     0x08u
#define EXPRESS_WRITABLE    0x78ffu
#define EXPRESS_LINK        0x0cu
#define EXPRESS_LINK_LENGTH 0x08u
#define EXPRESS_LINK_2      0x2cu
#define EXPRESS_CONTROL_2   0x28u
#define EXPRESS_WRITABLE_2  0x001fu /* completion timeouts */
#define POWER_LENGTH        0x08u
#define POWER_CONTROL       0x04u
#define POWER_STATE         0x0003u
#define MSI_CONTROL         0x02u
#define MSI_CAPABLE_MASK    0x7u
#define MSIX_CONTROL        0x02u
#define MSIX_SIZE_MASK      0x07ffu
#define MSIX_TABLE          0x04u
#define MSIX_PBA            0x08u
#define MSIX_BAR_MASK       0x7u

struct config_copy {
    uint8_t bytes[VMM_PCI_CONFIG_SIZE];
    unsigned int size; /* that the device has */
};

/* ---- The device's own space */

static off_t config_offset(const struct vmm_vfio *vfio, unsigned int offset)
{
    return (off_t)(vfio->regions[VFIO_PCI_CONFIG_REGION_INDEX].offset + offset);
}

static int read_config(struct vmm_vfio *vfio, struct config_copy *copy, struct viommu_error *err)
{
    uint64_t size = vfio->regions[VFIO_PCI_CONFIG_REGION_INDEX].size;
    ssize_t got;

    size = size > VMM_PCI_CONFIG_SIZE ? VMM_PCI_CONFIG_SIZE : size;
    got = vfio->kernel->read(vfio->fd, copy->bytes, size, config_offset(vfio, 0));
    if (got < (ssize_t)LEGACY_SIZE)
        return vmm_fail(err, EIO, "%s: its configuration space cannot be read: %s", vfio->name,
                        got < 0 ? strerror(errno) : "it is shorter than 256 bytes");
    copy->size = (unsigned int)got;
    if (vmm_pci_get16(copy->bytes, PCI_REG_VENDOR) == 0xffff)
        return vmm_fail(err, ENODEV,
                        "%s does not answer (its vendor ID reads as ffff); reset it, or "
                        "plug it in again",
                        vfio->name);
    if (copy->bytes[PCI_REG_HEADER_TYPE] & HEADER_TYPE_MASK)
        return vmm_fail(err, EINVAL,
                        "%s is a bridge (header type %u), and only devices can be given "
                        "to a guest; name a device behind it",
                        vfio->name, copy->bytes[PCI_REG_HEADER_TYPE] & HEADER_TYPE_MASK);
    return 0;
}

int vmm_vfio_set_command(struct vmm_vfio *vfio, bool bus_master)
{
    uint16_t command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;

    command |= bus_master ? PCI_COMMAND_MASTER : 0;
    return vmm_vfio_region_write(vfio, VFIO_PCI_CONFIG_REGION_INDEX, PCI_REG_COMMAND, &command,
                                 sizeof(command))
               ? 0
               : -EIO;
}

static bool goes_through(const struct vmm_vfio *vfio, unsigned int offset, unsigned int size)
{
    return memchr(vfio->through + offset, 1, size) != NULL;
}

void vmm_vfio_config_read(struct vmm_pci_function *fn, unsigned int offset, unsigned int size)
{
    struct vmm_vfio *vfio = vmm_vfio_of(fn);
    uint8_t bytes[4];

    if (!goes_through(vfio, offset, size) ||
        !vmm_vfio_region_read(vfio, VFIO_PCI_CONFIG_REGION_INDEX, offset, bytes, size))
        return;
    for (unsigned int i = 0; i < size; i++)
        if (vfio->through[offset + i])
            vmm_pci_config_store8(fn, offset + i, bytes[i]);
}

void vmm_vfio_config_write(struct vmm_pci_function *fn, unsigned int offset, unsigned int size)
{
    struct vmm_vfio *vfio = vmm_vfio_of(fn);
    uint32_t value = vmm_pci_config_load(fn, offset, size);

    vmm_pci_pri_follow(fn);
    vmm_vfio_rom_configured(vfio, offset, size);
    if (goes_through(vfio, offset, size))
        vmm_vfio_region_write(vfio, VFIO_PCI_CONFIG_REGION_INDEX, offset, &value, size);
}

static void let_through(struct vmm_vfio *vfio, unsigned int start, unsigned int end)
{
    memset(vfio->through + start, 1, end - start);
    memset(vfio->fn.watched + start, 1, end - start);
    memset(vfio->fn.write_mask + start, 0xff, end - start);
}

/* ---- Capabilities. Those that are in no table are not shown. */

/* Add it at `at`, where the device has it; its length is known to be within the space. */
typedef int add_capability_fn(struct vmm_vfio *vfio, const uint8_t *from, uint8_t at,
                              unsigned int length, struct viommu_error *err);

static void copy_body(struct vmm_vfio *vfio, const uint8_t *from, unsigned int at,
                      unsigned int header, unsigned int length)
{
    memcpy(vfio->fn.config + at + header, from + header, length - header);
}

/* Power states are kept from the device: in D3 its BARs could not be mapped. */
static int add_power(struct vmm_vfio *vfio, const uint8_t *from, uint8_t at, unsigned int length,
                     struct viommu_error *err)
{
    struct vmm_pci_function *fn = &vfio->fn;

    (void)err;
    vmm_pci_add_capability(fn, from[0], (uint8_t)length, false);
    copy_body(vfio, from, at, 2, length);
    fn->config[at + POWER_CONTROL] &= (uint8_t)~POWER_STATE;
    fn->write_mask[at + POWER_CONTROL] = POWER_STATE;
    return 0;
}

/* The device's own: reads and writes go there. */
static int add_through(struct vmm_vfio *vfio, const uint8_t *from, uint8_t at, unsigned int length,
                       struct viommu_error *err)
{
    (void)err;
    vmm_pci_add_capability(&vfio->fn, from[0], (uint8_t)length, false);
    copy_body(vfio, from, at, 2, length);
    let_through(vfio, at + 2u, at + length);
    return 0;
}

static int add_msi(struct vmm_vfio *vfio, const uint8_t *from, uint8_t at, unsigned int length,
                   struct viommu_error *err)
{
    uint16_t control = vmm_pci_get16(from, MSI_CONTROL);
    unsigned int capable = (control >> 1) & MSI_CAPABLE_MASK;

    (void)at, (void)length, (void)err;
    vmm_pci_add_msi_with(&vfio->fn, 1u << (capable > 5 ? 5 : capable),
                         control & (VMM_PCI_MSI_64BIT | VMM_PCI_MSI_MASKING));
    return 0;
}

static bool fits(const struct vmm_vfio *vfio, uint32_t place, uint64_t length)
{
    unsigned int bar = place & MSIX_BAR_MASK;

    return bar < VMM_PCI_BARS && vfio->regions[bar].size >= length &&
           (place & ~MSIX_BAR_MASK) <= vfio->regions[bar].size - length;
}

static int add_msix(struct vmm_vfio *vfio, const uint8_t *from, uint8_t at, unsigned int length,
                    struct viommu_error *err)
{
    unsigned int count = (vmm_pci_get16(from, MSIX_CONTROL) & MSIX_SIZE_MASK) + 1u;
    uint32_t table = vmm_pci_get32(from, MSIX_TABLE);
    uint32_t pba = vmm_pci_get32(from, MSIX_PBA);

    (void)at, (void)length;
    if (!fits(vfio, table, 16ull * count) || !fits(vfio, pba, (count + 63) / 64 * 8ull))
        return vmm_fail(err, EINVAL,
                        "%s: its MSI-X table (0x%x) or pending bits (0x%x) for %u "
                        "vectors lie in no BAR",
                        vfio->name, table, pba, count);
    if (vmm_pci_add_msix_at(&vfio->fn, count, table & MSIX_BAR_MASK, table & ~MSIX_BAR_MASK,
                            pba & MSIX_BAR_MASK, pba & ~MSIX_BAR_MASK))
        return vmm_fail(err, ENOMEM, "out of memory for the MSI-X table of %s", vfio->name);
    return 0;
}

static uint16_t device_type(const uint8_t *express)
{
    return (vmm_pci_get16(express, 2) & EXPRESS_TYPE_MASK) >> EXPRESS_TYPE_SHIFT;
}

/*
 * On a root bus there are no links: an endpoint is shown as an integrated one. Its control register
 * is the host's to set, so what the guest writes stays here.
 */
static int add_express(struct vmm_vfio *vfio, const uint8_t *from, uint8_t at, unsigned int length,
                       struct viommu_error *err)
{
    struct vmm_pci_function *fn = &vfio->fn;
    uint16_t flags = vmm_pci_get16(from, 2);

    (void)err;
    vmm_pci_add_capability(fn, from[0], (uint8_t)length, false);
    copy_body(vfio, from, at, 2, length);
    if (device_type(from) == EXPRESS_ENDPOINT || device_type(from) == EXPRESS_LEGACY) {
        flags = (uint16_t)((flags & ~EXPRESS_TYPE_MASK) | EXPRESS_INTEGRATED << EXPRESS_TYPE_SHIFT);
        memset(fn->config + at + EXPRESS_LINK, 0, EXPRESS_LINK_LENGTH);
        if (length >= EXPRESS_LENGTH_2)
            memset(fn->config + at + EXPRESS_LINK_2, 0, EXPRESS_LINK_LENGTH);
    }
    vmm_pci_put16(fn->config, at + 2u, flags);
    vmm_pci_put16(fn->write_mask, at + EXPRESS_CONTROL, EXPRESS_WRITABLE);
    if (length >= EXPRESS_LENGTH_2)
        vmm_pci_put16(fn->write_mask, at + EXPRESS_CONTROL_2, EXPRESS_WRITABLE_2);
    fn->express_offset = at;
    return 0;
}

static unsigned int length_in_byte_2(const uint8_t *from)
{
    return from[2];
}

static unsigned int length_of_msi(const uint8_t *from)
{
    uint16_t control = vmm_pci_get16(from, MSI_CONTROL);

    return 10u + (control & VMM_PCI_MSI_64BIT ? 4 : 0) + (control & VMM_PCI_MSI_MASKING ? 10 : 0);
}

static unsigned int length_of_express(const uint8_t *from)
{
    return (from[2] & 0xf) >= 2 ? EXPRESS_LENGTH_2 : EXPRESS_LENGTH_1;
}

static const struct shown_capability {
    uint8_t id;
    uint8_t length;                                 /* 0: as told by `length_of` */
    unsigned int (*length_of)(const uint8_t *from); /* reads at most 4 bytes */
    add_capability_fn *add;
} shown_capabilities[] = {
    {0x01, POWER_LENGTH, NULL, add_power},
    {0x03, 8, NULL, add_through}, /* vital product data */
    {PCI_CAPABILITY_MSI, 0, length_of_msi, add_msi},
    {0x09, 0, length_in_byte_2, add_through}, /* vendor-specific */
    {PCI_CAPABILITY_EXPRESS, 0, length_of_express, add_express},
    {PCI_CAPABILITY_MSIX, 12, NULL, add_msix},
};
#define SHOWN_CAPABILITIES (sizeof(shown_capabilities) / sizeof(shown_capabilities[0]))

static int add_capability(struct vmm_vfio *vfio, const struct config_copy *copy, uint8_t at,
                          struct viommu_error *err)
{
    const uint8_t *from = copy->bytes + at;
    const struct shown_capability *shown;
    unsigned int length;

    for (shown = shown_capabilities; shown < shown_capabilities + SHOWN_CAPABILITIES; shown++) {
        if (shown->id != from[0])
            continue;
        length = shown->length_of ? shown->length_of(from) : shown->length;
        if (length < 4 || at + length > LEGACY_SIZE)
            return 0;
        vmm_pci_place_capability(&vfio->fn, at);
        return shown->add(vfio, from, at, length, err);
    }
    return 0;
}

static int add_capabilities(struct vmm_vfio *vfio, const struct config_copy *copy,
                            struct viommu_error *err)
{
    uint16_t status = vmm_pci_get16(copy->bytes, PCI_REG_STATUS);
    uint8_t at = copy->bytes[PCI_REG_CAPABILITIES] & 0xfc;
    unsigned int i;
    int ret = 0;

    if (!(status & PCI_STATUS_CAPABILITIES))
        return 0;
    for (i = 0; i < CAPABILITIES_MAX && at >= HEADER_SIZE && !ret; i++) {
        ret = add_capability(vfio, copy, at, err);
        at = copy->bytes[at + 1] & 0xfc;
    }
    return ret;
}

/* ---- Extended capabilities: the serial number, and what is vendor-specific. */

struct shown_extended {
    uint16_t id;
    uint16_t length; /* 0: in bits 31:20 of the second word */
    bool through;
};

static const struct shown_extended shown_extended[] = {
    {0x0003, 12, false}, /* device serial number */
    {0x000b, 0, true},   /* vendor-specific */
    {0x0023, 0, true},   /* designated vendor-specific */
};
#define SHOWN_EXTENDED (sizeof(shown_extended) / sizeof(shown_extended[0]))

static const struct shown_extended *find_extended(uint16_t id)
{
    for (size_t i = 0; i < SHOWN_EXTENDED; i++)
        if (shown_extended[i].id == id)
            return &shown_extended[i];
    return NULL;
}

/* Returns where the next one that is added may go: behind all others. */
static unsigned int add_extended(struct vmm_vfio *vfio, const struct config_copy *copy,
                                 unsigned int at, unsigned int end)
{
    uint32_t header = vmm_pci_get32(copy->bytes, at);
    const struct shown_extended *shown = find_extended(header & 0xffff);
    unsigned int length;

    if (!shown || at + 8 > copy->size)
        return end;
    length = shown->length ? shown->length : vmm_pci_get32(copy->bytes, at + 4) >> 20;
    if (length < 8 || at + length > copy->size)
        return end;
    /* The list begins there: with a null capability when the device's first one is not shown. */
    if (!vfio->fn.last_extended && at != EXTENDED_FIRST)
        vmm_pci_add_extended_capability(&vfio->fn, 0, 0, 4, false);
    vmm_pci_place_extended_capability(&vfio->fn, (uint16_t)at);
    vmm_pci_add_extended_capability(&vfio->fn, shown->id, (header >> 16) & 0xf, (uint16_t)length,
                                    false);
    copy_body(vfio, copy->bytes + at, at, 4, length);
    if (shown->through)
        let_through(vfio, at + 8, at + length);
    return at + length > end ? at + length : end;
}

static void add_extended_capabilities(struct vmm_vfio *vfio, const struct config_copy *copy)
{
    unsigned int end = EXTENDED_FIRST;
    unsigned int at = EXTENDED_FIRST;
    unsigned int i;

    if (!vfio->fn.express_offset)
        return;
    for (i = 0; i < EXTENDED_MAX && at >= EXTENDED_FIRST && at + 4 <= copy->size; i++) {
        end = add_extended(vfio, copy, at, end);
        at = vmm_pci_get16(copy->bytes, at + 2) >> 4 & 0xffc;
    }
    vmm_pci_place_extended_capability(&vfio->fn, (uint16_t)((end + 3) & ~3u));
}

/*
 * PASIDs, ATS and page requests. VFIO shows none of these capabilities, and the host switches them
 * when it attaches page tables: what the guest writes there stays here. Of what the device has the
 * host speaks.
 */
static void add_services(struct vmm_vfio *vfio)
{
    struct vmm_pci_services services = {.pasid_bits = 20, .ats = true, .pri = true};
    struct vmm_pci_function *fn = &vfio->fn;

    if (!vfio->attachment || !fn->express_offset ||
        fn->next_extended + VMM_PCI_SERVICES_SIZE > VMM_PCI_CONFIG_SIZE)
        return;
    vmm_pci_limit_services(&services, fn, vfio->attachment);
    vmm_pci_add_services(fn, &services);
}

/* ---- All of it */

static void identify(struct vmm_vfio *vfio, const struct config_copy *copy)
{
    struct vmm_pci_identity id = vfio->fn.id;
    const uint8_t *bytes = copy->bytes;

    id.vendor = vmm_pci_get16(bytes, PCI_REG_VENDOR);
    id.device = vmm_pci_get16(bytes, PCI_REG_DEVICE);
    id.subsystem_vendor = vmm_pci_get16(bytes, PCI_REG_SUBSYSTEM_VENDOR);
    id.subsystem_device = vmm_pci_get16(bytes, PCI_REG_SUBSYSTEM);
    id.class_code = vmm_pci_get32(bytes, PCI_REG_REVISION) >> 8;
    id.revision = bytes[PCI_REG_REVISION];
    id.interrupt_pin = bytes[PCI_REG_INTERRUPT_PIN] > 4 ? 0 : bytes[PCI_REG_INTERRUPT_PIN];
    vmm_pci_function_identify(&vfio->fn, &id);
}

int vmm_vfio_config_create(struct vmm_vfio *vfio, struct viommu_error *err)
{
    struct config_copy *copy = calloc(1, sizeof(*copy));
    int ret;

    if (!copy)
        return vmm_fail(err, ENOMEM, "out of memory for the configuration space of %s", vfio->name);
    ret = read_config(vfio, copy, err);
    if (!ret) {
        identify(vfio, copy);
        ret = add_capabilities(vfio, copy, err);
    }
    if (!ret) {
        add_extended_capabilities(vfio, copy);
        add_services(vfio);
    }
    free(copy);
    return ret;
}
