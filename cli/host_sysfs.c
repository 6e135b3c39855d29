/* SPDX-License-Identifier: MIT */
/* The IOMMUs, IOMMU groups and PCI devices of a host, from sysfs; any user may read all of it. */
#include "abilities.h"
#include "host.h"
#include "tree.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    struct host *host;
    struct tree *tree;
};

/* A file with one hexadecimal number, with or without 0x. */
static bool read_hex(const char *path, uint64_t *value)
{
    char text[32], *end;

    *value = 0;
    if (tree_text(path, text, sizeof(text)) <= 0)
        return false;
    errno = 0;
    *value = strtoull(text, &end, 16);
    return !errno && !*end;
}

static unsigned int read_small(const char *path, int base)
{
    char text[32];

    return tree_text(path, text, sizeof(text)) > 0 ? (unsigned int)strtoul(text, NULL, base) : 0;
}

/* Attributes that the drivers of IOMMUs give them: "intel-iommu/cap", "amd-iommu/features". */
static const char *attribute(struct tree *tree, const struct host_iommu *iommu, const char *name)
{
    return tree_path(tree, "sys/class/iommu/%s/%s", iommu->info.name, name);
}

static void read_vtd(struct host_iommu *iommu, struct tree *tree)
{
    uint64_t *registers = iommu->info.registers;
    char *colon;

    iommu->has_registers = read_hex(attribute(tree, iommu, "intel-iommu/cap"), &registers[0]) &&
                           read_hex(attribute(tree, iommu, "intel-iommu/ecap"), &registers[1]);
    read_hex(attribute(tree, iommu, "intel-iommu/address"), &iommu->address);
    iommu->domains = read_small(attribute(tree, iommu, "intel-iommu/domains_supported"), 10);
    iommu->used = read_small(attribute(tree, iommu, "intel-iommu/domains_used"), 10);
    tree_text(attribute(tree, iommu, "intel-iommu/version"), iommu->version,
              sizeof(iommu->version));
    colon = strchr(iommu->version, ':');
    if (colon)
        *colon = '.';
}

/* "efr:efr2", of older kernels "efr". */
static void read_amd(struct host_iommu *iommu, struct tree *tree)
{
    uint64_t *registers = iommu->info.registers;
    char text[48];

    tree_text(attribute(tree, iommu, "amd-iommu/features"), text, sizeof(text));
    iommu->has_registers = sscanf(text, "%" SCNx64 ":%" SCNx64, &registers[0], &registers[1]) >= 1;
}

static enum host_kind kind_of(const struct host_iommu *iommu, struct tree *tree)
{
    const char *name = iommu->info.name;
    char driver[32];

    if (tree_exists(attribute(tree, iommu, "intel-iommu")))
        return HOST_VTD;
    if (tree_exists(attribute(tree, iommu, "amd-iommu")))
        return HOST_AMD;
    if (!strncmp(name, "smmu3.", 6))
        return HOST_SMMUV3;
    if (!strncmp(name, "smmu.", 5))
        return HOST_SMMU;
    tree_link(attribute(tree, iommu, "device/driver"), driver, sizeof(driver));
    return strcmp(driver, "virtio_iommu") ? HOST_OTHER : HOST_VIRTIO;
}

static int read_iommu(void *opaque, const char *name)
{
    struct reading *reading = opaque;
    struct host_iommu *iommu = host_add_iommu(reading->host);

    if (!iommu)
        return -ENOMEM;
    snprintf(iommu->info.name, sizeof(iommu->info.name), "%s", name);
    iommu->kind = kind_of(iommu, reading->tree);
    iommu->info.type = host_kinds[iommu->kind].type;
    if (iommu->kind == HOST_VTD)
        read_vtd(iommu, reading->tree);
    else if (iommu->kind == HOST_AMD)
        read_amd(iommu, reading->tree);
    iommu->info.max_pasid_log2 = (uint8_t)abilities_pasid_bits(&iommu->info);
    return 0;
}

/* Lines "0x00000000fee00000 0x00000000feefffff msi". */
static int read_regions(struct host_group *group, const char *text)
{
    struct host_region *region, found;

    for (; text; text = strchr(text, '\n')) {
        text += *text == '\n';
        if (sscanf(text, "%" SCNx64 " %" SCNx64 " %23s", &found.start, &found.last, found.kind) !=
            3)
            continue;
        region = host_add_region(group);
        if (!region)
            return -ENOMEM;
        *region = found;
    }
    return 0;
}

static int read_group(void *opaque, const char *name)
{
    struct reading *reading = opaque;
    struct host_group *group = host_add_group(reading->host);
    char text[4096];

    if (!group)
        return -ENOMEM;
    group->number = (unsigned int)strtoul(name, NULL, 10);
    tree_text(tree_path(reading->tree, "sys/kernel/iommu_groups/%s/type", name), group->type,
              sizeof(group->type));
    tree_text(tree_path(reading->tree, "sys/kernel/iommu_groups/%s/reserved_regions", name), text,
              sizeof(text));
    return read_regions(group, text);
}

/* The device that VFIO made for it: the one entry of vfio-dev/. */
static int take_node(void *opaque, const char *name)
{
    struct host_device *device = opaque;

    snprintf(device->node, sizeof(device->node), "%s", name);
    return 0;
}

static void read_node(struct host_device *device, struct tree *tree)
{
    const char *path;

    tree_list(tree_path(tree, "sys/bus/pci/devices/%s/vfio-dev", device->name), take_node, device);
    if (!device->node[0])
        return;
    path = tree_path(tree, "dev/vfio/devices/%s", device->node);
    device->node_there = tree_exists(path);
    device->node_usable = tree_usable(path);
}

static const char *device_file(struct tree *tree, const struct host_device *device,
                               const char *name)
{
    return tree_path(tree, "sys/bus/pci/devices/%s/%s", device->name, name);
}

static void read_links(struct host_device *device, struct host *host, struct tree *tree)
{
    char group[16];
    struct host_iommu *iommu;

    tree_link(device_file(tree, device, "driver"), device->driver, sizeof(device->driver));
    tree_link(device_file(tree, device, "iommu"), device->iommu, sizeof(device->iommu));
    device->has_group = !tree_link(device_file(tree, device, "iommu_group"), group, sizeof(group));
    device->group = (unsigned int)strtoul(group, NULL, 10);
    device->group_usable = device->has_group && tree_usable(tree_path(tree, "dev/vfio/%s", group));
    iommu = host_find_iommu(host, device->iommu);
    if (iommu && !host_is_bridge(device))
        iommu->devices++;
}

static int read_device(void *opaque, const char *name)
{
    struct reading *reading = opaque;
    struct tree *tree = reading->tree;
    struct host_device *device = host_add_device(reading->host);

    if (!device)
        return -ENOMEM;
    snprintf(device->name, sizeof(device->name), "%s", name);
    device->vendor = read_small(device_file(tree, device, "vendor"), 16);
    device->device = read_small(device_file(tree, device, "device"), 16);
    device->class_code = read_small(device_file(tree, device, "class"), 16);
    tree_text(device_file(tree, device, "reset_method"), device->reset, sizeof(device->reset));
    read_links(device, reading->host, tree);
    read_node(device, tree);
    return 0;
}

int host_read_hardware(struct host *host, struct tree *tree)
{
    struct reading reading = {host, tree};
    int ret = tree_list(tree_path(tree, "sys/class/iommu"), read_iommu, &reading);

    if (!ret)
        ret = tree_list(tree_path(tree, "sys/kernel/iommu_groups"), read_group, &reading);
    if (!ret)
        ret = tree_list(tree_path(tree, "sys/bus/pci/devices"), read_device, &reading);
    return ret;
}
