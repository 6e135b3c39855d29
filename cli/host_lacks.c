/* SPDX-License-Identifier: MIT */
/* What stands in the way of a guest that nests on a host, each with a way out. */
#include "abilities.h"
#include "host.h"
#include "text.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <viommu/vtd.h>

/* The least that a guest can be promised which nests. What hardware lacks of it, it needs. */
#define WEAKEST "1g=off,coherent=off,snoop-control=off,drain=off,aw=39,haw=39"

/* Guest memory is locked while a device is assigned; so much has a guest of `viommu run`. */
#define GUEST_MEMORY (UINT64_C(512) << 20)

struct judge {
    struct host *host;
    const char *const *devices;
    size_t count;
    int ret;
};

#define NESTING true
#define ANY     false

__attribute__((format(printf, 5, 6))) static struct host_lack *
lack(struct judge *judge, enum host_lack_kind kind, bool nesting, const char *remedy,
     const char *format, ...)
{
    static struct host_lack lost; /* written, never read */
    struct host_lack *added = host_add_lack(judge->host);
    va_list arguments;

    if (!added) {
        judge->ret = -ENOMEM;
        added = &lost;
    }
    added->kind = kind;
    added->nesting = nesting;
    snprintf(added->remedy, sizeof(added->remedy), "%s", remedy);
    va_start(arguments, format);
    vsnprintf(added->text, sizeof(added->text), format, arguments);
    va_end(arguments);
    return added;
}

struct reasons {
    char *text;
    size_t size;
};

static void add_reason(void *opaque, const struct viommu_vtd_mismatch *mismatch)
{
    struct reasons *reasons = opaque;

    text_append(reasons->text, reasons->size, ", ", "%s: %s", mismatch->promise, mismatch->ability);
}

void host_iommu_lacks(const struct host_iommu *iommu, char *text, size_t size)
{
    struct reasons reasons = {text, size};
    struct viommu_vtd_options options;

    text[0] = '\0';
    if (iommu->kind == HOST_VTD && !iommu->has_registers) {
        text_append(text, size, "", "its registers cannot be read");
        return;
    }
    viommu_vtd_options_init(&options);
    viommu_vtd_options_parse(&options, WEAKEST, NULL);
    viommu_vtd_compare(&options, &iommu->info, add_reason, &reasons, NULL);
}

bool host_iommu_can_nest(const struct host_iommu *iommu)
{
    char text[256];

    host_iommu_lacks(iommu, text, sizeof(text));
    return !text[0];
}

/* Whether it is looked at: one that has a device in question behind it. */
static bool concerns(const struct judge *judge, const struct host_iommu *iommu)
{
    for (size_t i = 0; i < judge->count; i++) {
        const struct host_device *device = host_find_device(judge->host, judge->devices[i]);

        if (device && !strcmp(device->iommu, iommu->info.name))
            return true;
    }
    return !judge->count && iommu->devices;
}

/* There is an IOMMU, but the kernel shows none. */
static void judge_unused(struct judge *judge)
{
    const struct host *host = judge->host;

    if (host->firmware_vtd)
        lack(judge, LACK_OPTION, ANY,
             strstr(host->options, "iommu=off") ? "boot without iommu=off or intel_iommu=off"
                                                : "boot with intel_iommu=on,sm_on",
             "the machine has a VT-d IOMMU (ACPI table DMAR), which its kernel does not use");
    else if (host->firmware_amd)
        lack(judge, LACK_OPTION, ANY, "boot without amd_iommu=off or iommu=off",
             "the machine has an AMD IOMMU (ACPI table IVRS), which its kernel does not use");
    else
        lack(judge, LACK_HARDWARE, ANY,
             "switch it on in the firmware's settings, where it is there",
             "this machine has no IOMMU, or its firmware hides it");
}

/* Of all devices, one that can nest is enough; of those that are named, each must. */
static void judge_nesting(struct judge *judge)
{
    const struct host *host = judge->host;
    bool enough = false, any = judge->count || !host->iommu_count;
    char text[256];

    for (size_t i = 0; i < host->iommu_count && !judge->count; i++) {
        any = any || concerns(judge, &host->iommus[i]);
        enough =
            enough || (concerns(judge, &host->iommus[i]) && host_iommu_can_nest(&host->iommus[i]));
    }
    if (!any)
        lack(judge, LACK_HARDWARE, ANY, "plug one in",
             "no device is behind an IOMMU of this machine");
    for (size_t i = 0; i < host->iommu_count && !enough; i++) {
        const struct host_iommu *iommu = &host->iommus[i];

        host_iommu_lacks(iommu, text, sizeof(text));
        if (concerns(judge, iommu) && text[0])
            lack(judge, LACK_HARDWARE, NESTING,
                 "give the guest second-stage tables: --viommu vtd,first-stage=off,second-stage=on",
                 "IOMMU %s (%s) cannot nest: %s", iommu->info.name, host_kinds[iommu->kind].words,
                 text);
    }
}

/* What nests needs scalable mode in the kernel, too. */
static void judge_scalable(struct judge *judge)
{
    const struct host *host = judge->host;
    struct host_lack *added;
    bool any = false;

    for (size_t i = 0; i < host->iommu_count; i++)
        any = any || (concerns(judge, &host->iommus[i]) && host_iommu_can_nest(&host->iommus[i]));
    if (!any || host->scalable == ANSWER_YES)
        return;
    if (host->scalable == ANSWER_NO) {
        lack(judge, LACK_OPTION, NESTING, "boot with intel_iommu=on,sm_on",
             "the kernel leaves the scalable mode of its IOMMUs off");
        return;
    }
    added = lack(judge, LACK_OPTION, NESTING, "boot with intel_iommu=on,sm_on to be sure",
                 "it is not known whether the kernel uses scalable mode: its command line does not "
                 "say, and its configuration is not in /boot");
    added->unsure = true;
}

static void judge_interrupts(struct judge *judge)
{
    const struct host *host = judge->host;
    bool nesting = host->type1 && host->unsafe_type1;

    if (host->unsafe_iommufd)
        return;
    if (strstr(host->options, "intremap=off")) {
        lack(judge, LACK_OPTION, nesting, "boot without intremap=off",
             "interrupt remapping is off, without which the kernel gives no device away");
        return;
    }
    for (size_t i = 0; i < host->iommu_count; i++) {
        const struct host_iommu *iommu = &host->iommus[i];

        if (concerns(judge, iommu) && iommu->has_registers &&
            !abilities_remaps_interrupts(&iommu->info))
            lack(judge, LACK_HARDWARE, nesting,
                 "iommufd.allow_unsafe_interrupts=1, for trusted guests",
                 "IOMMU %s has no interrupt remapping, without which the kernel gives no device "
                 "away",
                 iommu->info.name);
    }
}

/* Without iommufd, type 1 assigns devices too; only nesting it cannot. */
static void judge_kernel(struct judge *judge)
{
    const struct host *host = judge->host;
    unsigned int major, minor;
    bool known = sscanf(host->release, "%u.%u", &major, &minor) == 2;
    unsigned int version = known ? major * 1000 + minor : 0;
    struct host_lack *added;

    if (known && version < 6008 && !host->iommufd) {
        lack(judge, LACK_KERNEL, host->type1, "use Linux 6.8 or later",
             "Linux %u.%u is too old: iommufd takes devices since 6.6, and nests on VT-d since 6.8",
             major, minor);
    } else if (!host->iommufd) {
        lack(judge, LACK_KERNEL, host->type1,
             "modprobe iommufd, or a kernel with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV",
             "there is no /dev/iommu: the kernel has no iommufd, or has not loaded it");
    } else if (known && version < 6008) {
        added = lack(judge, LACK_KERNEL, NESTING, "use Linux 6.8 or later to be sure",
                     "Linux %u.%u is older than 6.8, which brought nesting on VT-d to iommufd; its "
                     "distributor may have brought it back",
                     major, minor);
        added->unsure = true;
    }
}

static void judge_permissions(struct judge *judge)
{
    const struct host *host = judge->host;

    if (host->iommufd && !host->iommufd_usable)
        lack(judge, LACK_PERMISSION, host->type1_usable,
             "run it as root, or let the user read and write the file",
             "this user may not open /dev/iommu");
    if (!host->iommufd && host->type1 && !host->type1_usable)
        lack(judge, LACK_PERMISSION, ANY, "run it as root, or let the user read and write the file",
             "this user may not open /dev/vfio/vfio");
    if (!host->memlock_unlimited && host->memlock < GUEST_MEMORY)
        lack(judge, LACK_PERMISSION, ANY,
             "raise it: 'ulimit -l', LimitMEMLOCK= of systemd, or CAP_IPC_LOCK",
             "this user may lock %llu KiB of memory, and a guest with an assigned device needs all "
             "of its own locked, which is 512 MiB for 'viommu run'",
             (unsigned long long)(host->memlock >> 10));
}

/* Drivers that leave the DMA of their devices to others: such a group may be given away. */
static bool is_harmless(const struct host_device *device)
{
    static const char *const drivers[] = {"", "pci-stub", "pcieport"};

    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        if (!strcmp(device->driver, drivers[i]))
            return true;
    }
    return host_is_vfio(device);
}

static void judge_group(struct judge *judge, const struct host_device *device)
{
    const struct host *host = judge->host;

    for (size_t i = 0; i < host->device_count; i++) {
        const struct host_device *other = &host->devices[i];

        if (other != device && other->has_group && other->group == device->group &&
            !is_harmless(other))
            lack(judge, LACK_DEVICE, ANY,
                 "bind all devices of the group to vfio-pci, or to nothing",
                 "group %u of device %s is not viable: %s belongs to it, and is bound to %s",
                 device->group, device->name, other->name, other->driver);
    }
}

/* Its own node, without which that of its group serves type 1 alone. */
static void judge_node(struct judge *judge, const struct host_device *device)
{
    bool nesting = judge->host->type1_usable && device->group_usable;

    if (!device->node[0])
        lack(judge, LACK_KERNEL, nesting, "use Linux 6.8 or later",
             "%s made no VFIO device of its own for device %s", device->driver, device->name);
    else if (!device->node_there)
        lack(judge, LACK_KERNEL, nesting, "use a kernel with CONFIG_VFIO_DEVICE_CDEV, and udev",
             "there is no /dev/vfio/devices/%s for device %s", device->node, device->name);
    else if (!device->node_usable)
        lack(judge, LACK_PERMISSION, nesting,
             "run it as root, or let the user read and write the file",
             "this user may not open /dev/vfio/devices/%s of device %s", device->node,
             device->name);
}

static void judge_use(struct judge *judge, const struct host_device *device)
{
    if (device->user)
        lack(judge, LACK_DEVICE, ANY, "end that process", "device %s is in use by process %lu",
             device->name, device->user);
    else if (device->probe.asked && !device->probe.told)
        lack(judge, LACK_DEVICE, ANY, "then ask again", "%s", device->probe.refusal);
}

static void judge_driver(struct judge *judge, const struct host_device *device)
{
    const char *driver = device->driver[0] ? device->driver : "no driver";
    char remedy[128];

    snprintf(remedy, sizeof(remedy), "driverctl set-override %s vfio-pci", device->name);
    lack(judge, LACK_DEVICE, ANY, remedy, "device %s is bound to %s, not to vfio-pci", device->name,
         driver);
}

static void judge_device(struct judge *judge, const struct host_device *device)
{
    if (host_is_bridge(device)) {
        lack(judge, LACK_DEVICE, ANY, "name a device that is none",
             "device %s is a bridge, and bridges are not assigned", device->name);
        return;
    }
    if (!device->has_group && judge->host->iommu_count)
        lack(judge, LACK_HARDWARE, ANY, "choose another device", "device %s is behind no IOMMU",
             device->name);
    if (host_is_vfio(device)) {
        judge_node(judge, device);
        judge_use(judge, device);
    } else {
        judge_driver(judge, device);
    }
    if (device->has_group)
        judge_group(judge, device);
}

int host_judge(struct host *host, const char *const *devices, size_t count)
{
    struct judge judge = {host, devices, count, 0};

    if (!host->iommu_count)
        judge_unused(&judge);
    judge_nesting(&judge);
    judge_scalable(&judge);
    judge_interrupts(&judge);
    judge_kernel(&judge);
    judge_permissions(&judge);
    for (size_t i = 0; i < count; i++)
        judge_device(&judge, host_find_device(host, devices[i]));
    return judge.ret;
}

enum host_answer host_can(const struct host *host, bool nest)
{
    enum host_answer answer = ANSWER_YES;

    for (size_t i = 0; i < host->lack_count; i++) {
        if (host->lacks[i].nesting && !nest)
            continue;
        if (!host->lacks[i].unsure)
            return ANSWER_NO;
        answer = ANSWER_UNKNOWN;
    }
    return answer;
}
