/* SPDX-License-Identifier: MIT */
#include "edu_pci.h"
#include "assigned.h"
#include "device.h"
#include "edu.h"
#include "edu_copier.h"
#include "key_values.h"
#include "pci.h"
#include "pci_ats.h"
#include "vmm.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PASID_BITS 20u /* of the device itself */

struct edu_function {
    struct vmm_pci_function fn;
    struct vmm_edu edu;
    struct vmm_function_dma emulated; /* one of these two is used */
    struct vmm_assigned assigned;
    struct vmm_edu_copier copier;
};

struct edu_options {
    bool assigned;
    uint64_t dma_mask;
    uint64_t segment;
    uint64_t iommu; /* of the host, when assigned */
    uint64_t rmrr;  /* bytes of memory of its own */
    bool pasid;
    bool ats;
    bool pri;
};

enum {
    KEY_ASSIGN,
    KEY_DMA_MASK,
    KEY_SEGMENT,
    KEY_IOMMU,
    KEY_RMRR,
    KEY_PASID,
    KEY_ATS,
    KEY_PRI,
    KEY_COUNT
};

static struct edu_function *edu_function(struct vmm_pci_function *fn)
{
    return vmm_container_of(fn, struct edu_function, fn);
}

static void edu_interrupt_raise(struct vmm_edu *edu)
{
    struct edu_function *device = vmm_container_of(edu, struct edu_function, edu);

    if (!vmm_pci_notify(&device->fn, 0))
        vmm_pci_set_intx(&device->fn, true);
}

static void edu_interrupt_lower(struct vmm_edu *edu)
{
    vmm_pci_set_intx(&vmm_container_of(edu, struct edu_function, edu)->fn, false);
}

static const struct vmm_edu_ops edu_ops = {
    .interrupt_raise = edu_interrupt_raise,
    .interrupt_lower = edu_interrupt_lower,
};

static uint64_t edu_bar_read(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                             unsigned int size)
{
    struct edu_function *device = edu_function(fn);

    (void)bar;
    if (vmm_edu_copier_decodes(&device->copier, offset))
        return vmm_copier_read(&device->copier.copier, offset - VMM_EDU_COPIER_ADDRESS, size);
    return vmm_edu_read(&device->edu, offset, size);
}

static void edu_bar_write(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                          unsigned int size, uint64_t value)
{
    struct edu_function *device = edu_function(fn);

    (void)bar;
    if (vmm_edu_copier_decodes(&device->copier, offset))
        vmm_copier_write(&device->copier.copier, offset - VMM_EDU_COPIER_ADDRESS, size, value);
    else
        vmm_edu_write(&device->edu, offset, size, value);
}

/* Only the capabilities of the copy engine are watched. */
static void edu_config_write(struct vmm_pci_function *fn, unsigned int offset, unsigned int size)
{
    (void)offset;
    (void)size;
    vmm_edu_copier_config_written(&edu_function(fn)->copier);
}

static void edu_reset(struct vmm_pci_function *fn)
{
    struct edu_function *device = edu_function(fn);

    vmm_edu_copier_reset(&device->copier);
    vmm_edu_reset(&device->edu);
}

static void edu_unplug(struct vmm_pci_function *fn)
{
    struct edu_function *device = edu_function(fn);

    vmm_edu_copier_disconnect(&device->copier);
    vmm_assigned_lose(&device->assigned);
}

static void edu_stop(struct vmm_pci_function *fn)
{
    struct edu_function *device = edu_function(fn);

    if (device->copier.present)
        vmm_copier_stop(&device->copier.copier);
}

static void edu_destroy(struct vmm_pci_function *fn)
{
    struct edu_function *device = edu_function(fn);

    vmm_edu_copier_fini(&device->copier);
    vmm_assigned_detach(&device->assigned);
    vmm_edu_fini(&device->edu);
    free(device);
}

static const struct vmm_pci_ops edu_pci_ops = {
    .bar_read = edu_bar_read,
    .bar_write = edu_bar_write,
    .config_write = edu_config_write,
    .reset = edu_reset,
    .unplug = edu_unplug,
    .stop = edu_stop,
    .destroy = edu_destroy,
};

static const struct vmm_pci_identity edu_identity = {
    .name = "edu",
    .vendor = 0x1234,
    .device = 0x11e8,
    .subsystem_vendor = 0x1af4,
    .subsystem_device = 0x1100,
    .class_code = 0xff0000,
    .revision = 0x10,
    .interrupt_pin = 1,
    .express = true,
};

static int check_services(const struct edu_options *options, struct viommu_error *err)
{
    if (options->pri && !options->ats)
        return vmm_fail(err, EINVAL,
                        "edu: pri=on needs ats=on: page requests are for a device that translates "
                        "its addresses");
    return 0;
}

static int parse_services(const struct vmm_key *keys, struct edu_options *options,
                          struct viommu_error *err)
{
    int ret = vmm_key_switch("edu", &keys[KEY_PASID], &options->pasid, err);

    if (!ret)
        ret = vmm_key_switch("edu", &keys[KEY_ATS], &options->ats, err);
    if (!ret)
        ret = vmm_key_switch("edu", &keys[KEY_PRI], &options->pri, err);
    return ret ? ret : check_services(options, err);
}

static int parse_keys(struct vmm_key *keys, struct edu_options *options, struct viommu_error *err)
{
    const struct vmm_key *assign = &keys[KEY_ASSIGN];
    int ret;

    if (assign->value && strcmp(assign->value, "soft") != 0)
        return vmm_fail(err, EINVAL,
                        "edu: assign=%s is not known; assign=soft takes it from the simulated host",
                        assign->value);
    options->assigned = assign->value != NULL;
    if (keys[KEY_IOMMU].value && !options->assigned)
        return vmm_fail(err, EINVAL,
                        "edu: iommu=%s is of the host that it is assigned from; add assign=soft",
                        keys[KEY_IOMMU].value);
    ret = vmm_key_number("edu", &keys[KEY_DMA_MASK], 0xfff, UINT64_MAX, &options->dma_mask, err);
    if (!ret)
        ret = vmm_key_number("edu", &keys[KEY_SEGMENT], 0, VMM_SEGMENTS_MAX - 1, &options->segment,
                             err);
    if (!ret)
        ret = vmm_key_number("edu", &keys[KEY_IOMMU], 0, UINT16_MAX, &options->iommu, err);
    if (!ret)
        ret = vmm_key_number("edu", &keys[KEY_RMRR], 4096, VMM_RESERVED_SIZE_MAX, &options->rmrr,
                             err);
    return ret ? ret : parse_services(keys, options, err);
}

static int parse_options(const char *arguments, struct edu_options *options,
                         struct viommu_error *err)
{
    struct vmm_key keys[KEY_COUNT + 1] = {
        [KEY_ASSIGN] = {"assign", NULL},   [KEY_DMA_MASK] = {"dma-mask", NULL},
        [KEY_SEGMENT] = {"segment", NULL}, [KEY_IOMMU] = {"iommu", NULL},
        [KEY_RMRR] = {"rmrr", NULL},       [KEY_PASID] = {"pasid", NULL},
        [KEY_ATS] = {"ats", NULL},         [KEY_PRI] = {"pri", NULL},
        [KEY_COUNT] = {NULL, NULL},
    };
    int ret = vmm_keys_parse("edu", arguments, keys, err);

    *options = (struct edu_options){.dma_mask = VMM_EDU_DMA_MASK_DEFAULT};
    if (!ret)
        ret = parse_keys(keys, options, err);
    vmm_keys_free(keys);
    return ret;
}

static int connect_dma(struct edu_function *device, const struct edu_options *options,
                       struct viommu_error *err)
{
    device->assigned.iommu = (unsigned int)options->iommu;
    if (options->assigned)
        return vmm_assigned_attach(&device->assigned, &device->fn, err);
    return vmm_function_dma_init(&device->emulated, &device->fn, err);
}

/* An assigned device shows what of its own the vIOMMU promises and the host has. */
static struct vmm_pci_services shown_services(const struct edu_function *device,
                                              const struct edu_options *options)
{
    struct vmm_pci_services services = {
        .pasid_bits = options->pasid ? PASID_BITS : 0,
        .ats = options->ats,
        .pri = options->pri,
    };

    if (options->assigned)
        vmm_pci_limit_services(&services, &device->fn, device->assigned.attachment);
    return services;
}

/* The unit itself refuses a device TLB that it cannot serve; of this it is not asked. */
static int check_page_requests(const struct edu_function *device, const struct edu_options *options,
                               struct viommu_error *err)
{
    if (!options->pri || options->assigned ||
        (viommu_pci_device_get_viommu_cap(device->fn.viommu) & VIOMMU_CAP_PRI))
        return 0;
    return vmm_fail(err, EINVAL,
                    "edu: pri=on needs a unit that takes page requests (page-requests=on); leave "
                    "it out, or give that to the unit");
}

static int start_copier(struct edu_function *device, const struct edu_options *options,
                        struct viommu_error *err)
{
    struct vmm_pci_services services = shown_services(device, options);
    int ret = vmm_edu_copier_init(&device->copier, &device->fn, device->edu.dma, &services, err);

    return ret ? ret : check_page_requests(device, options, err);
}

static int build_function(struct edu_function *device, struct vmm *vm,
                          const struct edu_options *options, struct viommu_error *err)
{
    struct vmm_pci_identity identity = edu_identity;
    uint64_t base;
    int ret;

    identity.segment = (uint16_t)options->segment;
    ret = vmm_pci_function_init(&device->fn, vm, VMM_PCI_DEVFN_ANY, &identity, &edu_pci_ops, err);
    if (ret)
        return ret;
    vmm_pci_add_bar(&device->fn, 0, VMM_PCI_BAR_MEM32, VMM_EDU_BAR_SIZE);
    vmm_pci_add_msi(&device->fn, 1);
    ret = connect_dma(device, options, err);
    if (!ret && options->rmrr)
        ret = vmm_reserve(&device->fn, options->rmrr, &base, err);
    if (!ret)
        ret = start_copier(device, options, err);
    if (!ret)
        ret = vmm_pci_register(&device->fn, err);
    if (ret) {
        vmm_edu_copier_fini(&device->copier);
        vmm_assigned_detach(&device->assigned);
        vmm_unreserve(&device->fn);
        vmm_pci_function_fini(&device->fn);
    }
    return ret;
}

int vmm_edu_check(const char *arguments, struct viommu_error *err)
{
    struct edu_options options;

    return parse_options(arguments, &options, err);
}

int vmm_edu_create(struct vmm *vm, const char *arguments, struct viommu_error *err)
{
    struct edu_options options;
    struct edu_function *device;
    int ret = parse_options(arguments, &options, err);

    if (ret)
        return ret;
    device = calloc(1, sizeof(*device));
    if (!device)
        return vmm_fail(err, ENOMEM, "edu: there is no memory for the device");
    vmm_edu_init(&device->edu, &edu_ops,
                 options.assigned ? &device->assigned.dma : &device->emulated.dma,
                 options.dma_mask);
    ret = build_function(device, vm, &options, err);
    if (ret) {
        vmm_edu_fini(&device->edu);
        free(device);
    }
    return ret;
}
