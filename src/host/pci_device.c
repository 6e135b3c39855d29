/* SPDX-License-Identifier: MIT */
#include "host/pci_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"

#define PATH_SIZE 256

/* The last part of where a link leads; "" when there is no link, or the part is too long. */
static void link_name(const struct host_sys *sys, const char *path, char *name, size_t size)
{
    char target[PATH_SIZE];
    const char *last;

    name[0] = '\0';
    if (sys->readlink(sys->opaque, path, target, sizeof(target)))
        return;
    last = strrchr(target, '/');
    last = last ? last + 1 : target;
    if (strlen(last) < size)
        memcpy(name, last, strlen(last) + 1);
}

static void device_link(const struct host_sys *sys, const char *sysfs, const char *address,
                        const char *link, char *name, size_t size)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", sysfs, address, link);
    link_name(sys, path, name, size);
}

static int parse_address(const char *name, char address[HOST_PCI_ADDRESS_SIZE])
{
    unsigned int segment = 0, bus, device, function;
    int end = 0;

    if (name[strspn(name, "0123456789abcdefABCDEF:.")]) /* scanf takes signs and 0x, too */
        return -EINVAL;
    if (sscanf(name, "%x:%x:%x.%x%n", &segment, &bus, &device, &function, &end) != 4) {
        segment = 0;
        end = 0;
        if (sscanf(name, "%x:%x.%x%n", &bus, &device, &function, &end) != 3)
            return -EINVAL;
    }
    if (name[end] || segment > 0xffffff || bus > 0xff || device > 31 || function > 7)
        return -EINVAL;
    snprintf(address, HOST_PCI_ADDRESS_SIZE, "%04x:%02x:%02x.%x", segment, bus, device, function);
    return 0;
}

static bool take_vfio(void *opaque, const char *name)
{
    struct host_pci_device *device = opaque;

    if (strncmp(name, "vfio", 4) != 0 || strlen(name) >= sizeof(device->vfio))
        return true;
    memcpy(device->vfio, name, strlen(name) + 1);
    return false;
}

static void read_device(const struct host_sys *sys, const char *sysfs,
                        struct host_pci_device *device)
{
    const char *address = device->address;
    char path[PATH_SIZE];

    device_link(sys, sysfs, address, "driver", device->driver, sizeof(device->driver));
    device_link(sys, sysfs, address, "iommu_group", device->group, sizeof(device->group));
    device_link(sys, sysfs, address, "iommu", device->iommu, sizeof(device->iommu));
    device->vfio[0] = '\0';
    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/vfio-dev", sysfs, address);
    sys->list(sys->opaque, path, take_vfio, device);
}

static bool nothing(void *opaque, const char *name)
{
    (void)opaque;
    (void)name;
    return false;
}

int host_pci_find(const struct host_sys *sys, const char *sysfs, const char *name,
                  struct host_pci_device *device, struct viommu_error *error)
{
    char path[PATH_SIZE];

    if (parse_address(name, device->address))
        return error_set(error, -EINVAL,
                         "'%s' is no host device: give the PCI address (0000:01:00.0), or the path "
                         "of its VFIO device (/dev/vfio/devices/vfio0)",
                         name);
    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", sysfs, device->address);
    if (sys->list(sys->opaque, path, nothing, NULL))
        return error_set(error, -ENODEV,
                         "This machine has no PCI device %s; 'lspci -D' lists those that it has",
                         device->address);
    read_device(sys, sysfs, device);
    return 0;
}

static bool is_vfio_driver(const struct host_pci_device *device)
{
    return device->vfio[0] || strstr(device->driver, "vfio");
}

int host_pci_check_usable(const struct host_pci_device *device, struct viommu_error *error)
{
    if (!device->group[0])
        return error_set(error, -ENODEV,
                         "Device %s is in no IOMMU group: this machine has no IOMMU, or it is off; "
                         "switch VT-d or AMD-Vi on in the firmware, and boot with intel_iommu=on",
                         device->address);
    if (is_vfio_driver(device))
        return 0;
    return error_set(error, -EBUSY,
                     "Device %s is bound to %s%s, not to VFIO: unbind it, write vfio-pci to "
                     "/sys/bus/pci/devices/%s/driver_override, and %s to "
                     "/sys/bus/pci/drivers_probe",
                     device->address, device->driver[0] ? "driver " : "no driver", device->driver,
                     device->address, device->address);
}

/* Looking through a group. */
struct group {
    const struct host_sys *sys;
    const char *sysfs;
    const struct host_pci_device *own;
    struct host_pci_device *rival;
};

/* Drivers that do no DMA of their own do not stand in the way (as Linux has it). */
static bool is_harmless(const char *driver)
{
    return !driver[0] || !strcmp(driver, "pci-stub") || !strcmp(driver, "pcieport");
}

static bool look_for_rival(void *opaque, const char *name)
{
    struct group *group = opaque;
    struct host_pci_device *rival = group->rival;

    if (!strcmp(name, group->own->address) || strlen(name) >= sizeof(rival->address))
        return true;
    memcpy(rival->address, name, strlen(name) + 1);
    read_device(group->sys, group->sysfs, rival);
    if (!is_vfio_driver(rival) && !is_harmless(rival->driver))
        return false;
    rival->address[0] = '\0';
    return true;
}

void host_pci_find_rival(const struct host_sys *sys, const char *sysfs,
                         const struct host_pci_device *device, struct host_pci_device *rival)
{
    struct group group = {sys, sysfs, device, rival};
    char path[PATH_SIZE];

    rival->address[0] = '\0';
    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/iommu_group/devices", sysfs,
             device->address);
    sys->list(sys->opaque, path, look_for_rival, &group);
}

void host_pci_address_of(const struct host_sys *sys, const char *sysfs, int descriptor,
                         char address[HOST_PCI_ADDRESS_SIZE])
{
    unsigned int major_number, minor_number;
    char path[PATH_SIZE], name[PATH_SIZE];

    address[0] = '\0';
    if (sys->device_number(sys->opaque, descriptor, &major_number, &minor_number))
        return;
    snprintf(path, sizeof(path), "%s/dev/char/%u:%u/device", sysfs, major_number, minor_number);
    link_name(sys, path, name, sizeof(name));
    if (parse_address(name, address))
        address[0] = '\0';
}

/* Read a file of sysfs; the number of bytes, 0 when it cannot be read. */
static size_t read_file(const struct host_sys *sys, const char *path, void *buffer, size_t size)
{
    int descriptor = sys->open(sys->opaque, path, O_RDONLY);
    size_t length = 0;
    ssize_t got = 1;

    if (descriptor < 0)
        return 0;
    while (length < size && got > 0) {
        got = sys->read(sys->opaque, descriptor, (char *)buffer + length, size - length);
        length += got > 0 ? (size_t)got : 0;
    }
    sys->close(sys->opaque, descriptor);
    return length;
}

/* PCIe base specification, 7.6.3: ID in bits 15:0, offset of the next in 31:20; from 100h on. */
bool host_pci_has_extended_capability(const struct host_sys *sys, const char *sysfs,
                                      const char *address, unsigned int id)
{
    unsigned char config[4096];
    char path[PATH_SIZE];
    size_t length, offset = 0x100;

    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/config", sysfs, address);
    length = read_file(sys, path, config, sizeof(config));
    for (unsigned int i = 0; i < 1024 && offset >= 0x100 && offset + 4 <= length; i++) {
        const unsigned char *header = config + offset;

        if (header[0] + header[1] * 256u == id)
            return true;
        offset = (header[2] >> 4 | header[3] << 4) & ~3u;
    }
    return false;
}

bool host_pci_iommu_register(const struct host_sys *sys, const char *sysfs, const char *address,
                             const char *name, uint64_t *value)
{
    char path[PATH_SIZE], text[32], *end;

    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/iommu/%s", sysfs, address, name);
    text[read_file(sys, path, text, sizeof(text) - 1)] = '\0';
    *value = strtoull(text, &end, 16);
    return end != text && (*end == '\n' || !*end);
}

void host_pci_reserved_regions(const struct host_sys *sys, const char *sysfs, const char *address,
                               char *text, size_t size)
{
    char path[PATH_SIZE], regions[1024], kind[32], *line, *rest = NULL;
    unsigned long long start, last;
    size_t used = 0;

    text[0] = '\0';
    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/iommu_group/reserved_regions", sysfs,
             address);
    regions[read_file(sys, path, regions, sizeof(regions) - 1)] = '\0';
    for (line = strtok_r(regions, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (sscanf(line, "%llx %llx %31s", &start, &last, kind) != 3 || used >= size)
            continue;
        used += snprintf(text + used, size - used, "%s0x%llx-0x%llx (%s)", used ? ", " : "", start,
                         last, kind);
    }
}

#define UAPI_VFIO_DEVICE_RESET _IO(';', 111) /* linux/vfio.h */

void host_pci_reset(const struct host_sys *sys, int descriptor)
{
    sys->ioctl(sys->opaque, descriptor, UAPI_VFIO_DEVICE_RESET, NULL);
}
