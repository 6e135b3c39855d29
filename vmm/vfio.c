/* SPDX-License-Identifier: MIT */
/* A VFIO device from its option to its end. */
#include "vfio.h"
#include "device.h"
#include "hosts.h"
#include "key_values.h"
#include "pci_host.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viommu/assign.h>

/* ---- From a descriptor to a function, and back */

static int read_info(struct vmm_vfio *vfio, struct viommu_error *err)
{
    struct vfio_device_info info = {.argsz = sizeof(info)};

    if (vfio->kernel->ioctl(vfio->fd, VFIO_DEVICE_GET_INFO, &info) < 0)
        return vmm_fail(err, errno, "%s: VFIO does not describe it: %s", vfio->name,
                        strerror(errno));
    if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) || info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
        return vmm_fail(err, EINVAL, "%s is no PCI device; only those can be given to a guest",
                        vfio->name);
    vfio->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
    return 0;
}

int vmm_vfio_open(struct vmm_vfio *vfio, int fd, struct viommu_error *err)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    int ret;

    vfio->fd = vfio->kernel->duplicate(fd);
    if (vfio->fd < 0)
        return vmm_fail(err, errno, "%s: its descriptor cannot be duplicated: %s", vfio->name,
                        strerror(errno));
    pthread_rwlock_init(&vfio->access, NULL);
    irqs->intx_event = irqs->intx_unmask = -1;
    pthread_mutex_init(&irqs->lock, NULL);
    pthread_mutex_init(&vfio->rom.lock, NULL);
    ret = read_info(vfio, err);
    if (!ret)
        ret = vmm_vfio_regions_find(vfio, err);
    if (!ret)
        ret = vmm_vfio_config_create(vfio, err);
    if (!ret)
        ret = vmm_vfio_bars_create(vfio, err);
    if (!ret)
        ret = vmm_vfio_rom_create(vfio, err);
    if (ret)
        return ret;
    vmm_vfio_first_reset(vfio); /* of what it did before */
    if (vmm_vfio_set_command(vfio, false))
        return vmm_fail(err, EIO, "%s: its command register cannot be written", vfio->name);
    ret = vmm_vfio_irqs_create(vfio, err);
    return ret ? ret : vmm_vfio_signals_create(vfio, err);
}

/* After this no access finds it, and no other file is taken for it. */
static void close_descriptor(struct vmm_vfio *vfio)
{
    int fd;

    pthread_rwlock_wrlock(&vfio->access);
    fd = vfio->fd;
    vfio->fd = -1;
    pthread_rwlock_unlock(&vfio->access);
    if (fd >= 0)
        vfio->kernel->close(fd);
}

void vmm_vfio_close(struct vmm_vfio *vfio)
{
    vmm_vfio_signals_destroy(vfio);
    vmm_vfio_irqs_destroy(vfio);
    vmm_vfio_bars_destroy(vfio);
    close_descriptor(vfio);
    vmm_vfio_rom_destroy(vfio);
    pthread_mutex_destroy(&vfio->rom.lock);
    pthread_mutex_destroy(&vfio->irqs.lock);
    pthread_rwlock_destroy(&vfio->access);
}

/* While the function is known to the library. */
static void detach(struct vmm_vfio *vfio)
{
    if (!vfio->attachment)
        return;
    vmm_pci_loss_ignore(vfio->attachment);
    viommu_assign_detach(vfio->attachment);
    vfio->attachment = NULL;
}

static void vfio_stop(struct vmm_pci_function *fn)
{
    struct vmm_vfio *vfio = vmm_vfio_of(fn);

    vmm_vfio_set_command(vfio, false);
    vmm_vfio_signals_destroy(vfio);
    vmm_vfio_irqs_destroy(vfio);
}

/*
 * A vCPU may be in the middle of an access; the descriptor must not be closed under it. What could
 * tell of a loss stays until the end: vm->loop may be about to unplug it, too, and wait for us.
 */
static void vfio_unplug(struct vmm_pci_function *fn)
{
    struct vmm_vfio *vfio = vmm_vfio_of(fn);

    vmm_vfio_irqs_destroy(vfio);
    close_descriptor(vfio);
    vmm_vfio_bars_destroy(vfio);
    detach(vfio);
}

static void vfio_destroy(struct vmm_pci_function *fn)
{
    struct vmm_vfio *vfio = vmm_vfio_of(fn);

    vmm_vfio_close(vfio);
    detach(vfio);
    free(vfio);
}

const struct vmm_pci_ops vmm_vfio_ops = {
    .bar_read = vmm_vfio_bar_read,
    .bar_write = vmm_vfio_bar_write,
    .config_read = vmm_vfio_config_read,
    .config_write = vmm_vfio_config_write,
    .reset = vmm_vfio_reset,
    .bus_master = vmm_vfio_bus_master,
    .messages_changed = vmm_vfio_messages_changed,
    .unplug = vfio_unplug,
    .stop = vfio_stop,
    .destroy = vfio_destroy,
};

/* ---- The option */

enum {
    KEY_HOST,
    KEY_PATH,
    KEY_FD,
    KEY_ADDR,
    KEY_SEGMENT,
    KEY_ROM,
    KEY_COUNT
};

struct vfio_options {
    char device[64]; /* as the host knows it */
    int devfn;
    uint64_t segment;
    bool rom;
    int fd; /* -1: the device is named */
};

/* SLOT or SLOT.FUNCTION in hexadecimal. */
static int parse_address(const char *text, int *devfn, struct viommu_error *err)
{
    char *end;
    unsigned long slot, function = 0;

    if (!text)
        return 0;
    slot = strtoul(text, &end, 16);
    if (end > text && *end == '.' && end[1] >= '0' && end[1] <= '7') {
        function = (unsigned long)(end[1] - '0');
        end += 2;
    }
    if (end == text || *end || *text == '-' || slot > 31)
        return vmm_fail(err, EINVAL,
                        "vfio: addr=%s is no SLOT or SLOT.FUNCTION in hexadecimal, 00.0 "
                        "to 1f.7",
                        text);
    *devfn = (int)(slot << 3 | function);
    return 0;
}

/* Which of the three ways to name the device was taken; exactly one must be. */
static int parse_device(const struct vmm_key *keys, struct vfio_options *options,
                        struct viommu_error *err)
{
    const char *name = keys[KEY_HOST].value ? keys[KEY_HOST].value : keys[KEY_PATH].value;
    unsigned int given = 0;
    uint64_t fd = 0;
    int ret;

    for (int i = KEY_HOST; i <= KEY_FD; i++)
        given += keys[i].value != NULL;
    if (given != 1)
        return vmm_fail(err, EINVAL,
                        "vfio takes one of host=BDF, path=/dev/vfio/devices/vfioN and "
                        "fd=N, and got %u of them",
                        given);
    ret = vmm_key_number("vfio", &keys[KEY_FD], 0, INT32_MAX, &fd, err);
    if (ret)
        return ret;
    if (name && strlen(name) >= sizeof(options->device))
        return vmm_fail(err, ENAMETOOLONG,
                        "vfio: %s has %zu characters, more than %zu; give a shorter path to it, or "
                        "its descriptor with fd=N",
                        name, strlen(name), sizeof(options->device) - 1);
    if (name)
        snprintf(options->device, sizeof(options->device), "%s", name);
    else
        snprintf(options->device, sizeof(options->device), "fd=%d", (int)fd);
    options->fd = name ? -1 : (int)fd;
    return 0;
}

static int parse_options(const char *arguments, struct vfio_options *options,
                         struct viommu_error *err)
{
    struct vmm_key keys[KEY_COUNT + 1] = {
        [KEY_HOST] = {"host", NULL}, [KEY_PATH] = {"path", NULL},       [KEY_FD] = {"fd", NULL},
        [KEY_ADDR] = {"addr", NULL}, [KEY_SEGMENT] = {"segment", NULL}, [KEY_ROM] = {"rom", NULL},
        [KEY_COUNT] = {NULL, NULL},
    };
    int ret = vmm_keys_parse("vfio", arguments, keys, err);

    *options = (struct vfio_options){.devfn = VMM_PCI_DEVFN_ANY, .rom = true, .fd = -1};
    if (!ret)
        ret = parse_address(keys[KEY_ADDR].value, &options->devfn, err);
    if (!ret)
        ret = vmm_key_number("vfio", &keys[KEY_SEGMENT], 0, VMM_SEGMENTS_MAX - 1, &options->segment,
                             err);
    if (!ret)
        ret = vmm_key_switch("vfio", &keys[KEY_ROM], &options->rom, err);
    if (!ret)
        ret = parse_device(keys, options, err);
    vmm_keys_free(keys);
    return ret;
}

static int attach(struct vmm_vfio *vfio, const struct vfio_options *options,
                  struct viommu_error *err)
{
    struct vmm *vm = vfio->fn.vm;
    const struct viommu_host_device *device;
    int ret;

    ret =
        viommu_assign_attach(vm->assign, vfio->fn.viommu, options->device, &vfio->attachment, err);
    if (ret)
        return ret;
    device = viommu_assigned_device_host_device(vfio->attachment);
    vmm_vfio_locate(vfio, options->device, viommu_host_device_id(device));
    ret = vmm_host_device_descriptor(vm, viommu_host_device_id(device), err);
    return ret < 0 ? ret : vmm_vfio_open(vfio, ret, err);
}

static int build_function(struct vmm_vfio *vfio, struct vmm *vm, const struct vfio_options *options,
                          struct viommu_error *err)
{
    const struct vmm_pci_identity identity = {
        .name = vfio->name,
        .segment = (uint16_t)options->segment,
    };
    int ret;

    ret = vmm_pci_function_init(&vfio->fn, vm, options->devfn, &identity, &vmm_vfio_ops, err);
    if (ret)
        return ret;
    ret = attach(vfio, options, err);
    if (!ret)
        ret = vmm_pci_register(&vfio->fn, err);
    if (!ret) {
        vmm_vfio_messages_changed(&vfio->fn, 0, 0);
        vmm_vfio_bus_master(&vfio->fn, true);
        return 0;
    }
    if (vfio->fd >= 0)
        vmm_vfio_close(vfio);
    detach(vfio);
    vmm_pci_function_fini(&vfio->fn);
    return ret;
}

int vmm_vfio_check(const char *arguments, struct viommu_error *err)
{
    struct vfio_options options;

    return parse_options(arguments, &options, err);
}

int vmm_vfio_create(struct vmm *vm, const char *arguments, struct viommu_error *err)
{
    struct vfio_options options;
    struct vmm_vfio *vfio;
    int ret;

    if (!vm->assign)
        return vmm_fail(err, EINVAL,
                        "vfio: there is no host to assign a device from: add --host "
                        "iommufd, or --host type1 where the kernel has no iommufd");
    ret = parse_options(arguments, &options, err);
    if (!ret && options.fd >= 0)
        ret = vmm_host_pass_device(vm, options.device, options.fd, err);
    if (ret)
        return ret;
    vfio = calloc(1, sizeof(*vfio));
    if (!vfio)
        return vmm_fail(err, ENOMEM, "out of memory for VFIO device %s", options.device);
    snprintf(vfio->name, sizeof(vfio->name), "vfio %s", options.device);
    vfio->kernel = &vmm_vfio_linux;
    vfio->fd = -1;
    vfio->rom.hidden = !options.rom;
    ret = build_function(vfio, vm, &options, err);
    if (ret)
        free(vfio);
    return ret;
}
