/* SPDX-License-Identifier: MIT */
/* A host, for people. */
#include "abilities.h"
#include "host.h"
#include "text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct shown {
    const struct host *host;
    const char *const *devices;
    size_t count;
};

static bool is_shown(const struct shown *shown, const struct host_device *device)
{
    for (size_t i = 0; i < shown->count; i++) {
        if (!strcmp(shown->devices[i], device->name))
            return true;
    }
    return !shown->count;
}

/* All, or those that serve a device that is shown. */
static bool iommu_is_shown(const struct shown *shown, const struct host_iommu *iommu)
{
    for (size_t i = 0; i < shown->host->device_count; i++) {
        const struct host_device *device = &shown->host->devices[i];

        if (shown->count && is_shown(shown, device) && !strcmp(device->iommu, iommu->info.name))
            return true;
    }
    return !shown->count;
}

static const char *file_words(bool there, bool usable)
{
    return !there ? "is not there" : usable ? "may be opened" : "may not be opened by this user";
}

static void print_kernel(const struct host *host)
{
    static const char *const scalable[] = {
        [ANSWER_UNKNOWN] = "not known", [ANSWER_NO] = "off", [ANSWER_YES] = "on"};
    char text[288];

    printf("Host %s: Linux %s %s\n", host->name, host->release, host->machine);
    printf("  options          %s\n", host->options[0] ? host->options : "none about IOMMUs");
    printf("  scalable mode    %s\n", scalable[host->scalable]);
    printf("  /dev/iommu       %s\n", file_words(host->iommufd, host->iommufd_usable));
    printf("  /dev/vfio/vfio   %s\n", file_words(host->type1, host->type1_usable));
    snprintf(text, sizeof(text), "hw_info          %s",
             host->probed[0] ? host->probed : "not asked for (--probe asks the kernel)");
    text_print(2, text);
    if (host->memlock_unlimited)
        printf("  memory to lock   no limit\n");
    else
        printf("  memory to lock   %" PRIu64 " KiB\n", host->memlock >> 10);
}

static void print_hardware(const struct host_iommu *iommu)
{
    char text[1024], lacks[512];

    if (iommu->has_registers)
        abilities_describe(&iommu->info, text, sizeof(text));
    else
        snprintf(text, sizeof(text), "sysfs does not tell what it can do");
    text_print(6, text);
    host_iommu_lacks(iommu, lacks, sizeof(lacks));
    snprintf(text, sizeof(text), "Its hardware %s%s", lacks[0] ? "cannot nest: " : "can nest",
             lacks);
    text_print(6, text);
}

/* An earlier IOMMU that is shown, with the same abilities; NULL: none. */
static const struct host_iommu *find_twin(const struct shown *shown, const struct host_iommu *iommu)
{
    for (const struct host_iommu *other = shown->host->iommus; other < iommu; other++) {
        if (iommu_is_shown(shown, other) && host_same_abilities(other, iommu))
            return other;
    }
    return NULL;
}

static void print_iommu(const struct shown *shown, const struct host_iommu *iommu)
{
    const struct host_iommu *twin = find_twin(shown, iommu);

    printf("  %s  %s%s%s", iommu->info.name, host_kinds[iommu->kind].words,
           iommu->version[0] ? " " : "", iommu->version);
    if (iommu->address)
        printf(", registers at 0x%" PRIx64, iommu->address);
    if (iommu->domains)
        printf(", %u of %u domain-IDs in use", iommu->used, iommu->domains);
    printf(", %u %s\n", iommu->devices, iommu->devices == 1 ? "device" : "devices");
    if (twin)
        printf("      Its hardware can do what that of %s can\n", twin->info.name);
    else
        print_hardware(iommu);
}

static void print_iommus(const struct shown *shown)
{
    const struct host *host = shown->host;

    printf("\nIOMMUs\n");
    if (!host->iommu_count)
        printf("  none\n");
    for (size_t i = 0; i < host->iommu_count; i++) {
        if (iommu_is_shown(shown, &host->iommus[i]))
            print_iommu(shown, &host->iommus[i]);
    }
}

/* PCI code and ID assignment: base classes. */
static const char *class_words(unsigned int class_code)
{
    static const char *const words[] = {
        [0x01] = "storage", [0x02] = "network",     [0x03] = "display",  [0x04] = "multimedia",
        [0x05] = "memory",  [0x06] = "bridge",      [0x07] = "serial",   [0x08] = "system",
        [0x09] = "input",   [0x0c] = "serial bus",  [0x0d] = "wireless", [0x10] = "encryption",
        [0x11] = "signal",  [0x12] = "accelerator",
    };
    unsigned int base = class_code >> 16;

    return base < sizeof(words) / sizeof(words[0]) && words[base] ? words[base] : "device";
}

/* What is to be said of a device after its driver. */
static void describe_device(const struct host_device *device, char *text, size_t size)
{
    text[0] = '\0';
    if (device->reset[0])
        text_append(text, size, "", "reset by %s", device->reset);
    if (device->node[0])
        text_append(text, size, ", ", "%s%s", device->node,
                    device->node_usable ? "" : " (not for this user)");
    if (device->user)
        text_append(text, size, ", ", "in use by process %lu", device->user);
}

/* What the kernel told of it, on a line of its own. */
static void print_probe(const struct host_device *device)
{
    const struct host_probe *probe = &device->probe;
    char text[512] = "";

    if (!probe->asked)
        return;
    if (!probe->told)
        text_append(text, sizeof(text), "", "hw_info not told: %s", probe->refusal);
    else if (probe->info.type == VIOMMU_HOST_IOMMU_NONE)
        text_append(text, sizeof(text), "", "hw_info of no type that is known here (%s)",
                    probe->info.name);
    else
        text_append(text, sizeof(text), "",
                    "hw_info: PASIDs of %u bits, %spage requests, %sdirty tracking, %snesting "
                    "parents%s",
                    probe->info.max_pasid_log2, probe->info.page_requests ? "" : "no ",
                    probe->info.dirty_tracking ? "" : "no ", probe->nest_parent ? "" : "no ",
                    probe->info.quirks & VIOMMU_HOST_QUIRK_772415 ? ", erratum 772415" : "");
    text_print(9, text);
}

static void print_device(const struct host_device *device)
{
    char group[16] = "-", text[160];

    if (device->has_group)
        snprintf(group, sizeof(group), "%u", device->group);
    describe_device(device, text, sizeof(text));
    printf("  %5s  %-13s %04x:%04x %-11s %-10s %s%*s%s\n", group, device->name, device->vendor,
           device->device, class_words(device->class_code), device->iommu[0] ? device->iommu : "-",
           device->driver[0] ? device->driver : "-",
           text[0] && strlen(device->driver) < 16 ? 17 - (int)strlen(device->driver) : !!text[0],
           "", text);
    print_probe(device);
}

static void print_devices(const struct shown *shown)
{
    const struct host *host = shown->host;

    printf("\nDevices\n  GROUP  DEVICE        ID        KIND        IOMMU      DRIVER\n");
    for (size_t i = 0; i < host->device_count; i++) {
        if (is_shown(shown, &host->devices[i]))
            print_device(&host->devices[i]);
    }
    if (!host->device_count)
        printf("      none\n");
}

static bool group_is_shown(const struct shown *shown, const struct host_group *group)
{
    for (size_t i = 0; i < shown->host->device_count; i++) {
        const struct host_device *device = &shown->host->devices[i];

        if (device->has_group && device->group == group->number && is_shown(shown, device))
            return true;
    }
    return false;
}

static bool same_regions(const struct host_group *one, const struct host_group *other)
{
    bool same = one->region_count == other->region_count;

    for (size_t i = 0; same && i < one->region_count; i++)
        same = one->regions[i].start == other->regions[i].start &&
               one->regions[i].last == other->regions[i].last &&
               !strcmp(one->regions[i].kind, other->regions[i].kind);
    return same;
}

/* Whether an earlier group that is shown has the same regions, and is printed with all like it. */
static bool is_printed(const struct shown *shown, size_t index)
{
    const struct host_group *groups = shown->host->groups;

    for (size_t i = 0; i < index; i++) {
        if (group_is_shown(shown, &groups[i]) && same_regions(&groups[i], &groups[index]))
            return true;
    }
    return false;
}

/* The groups from `first` on that have its regions, and those regions. */
static void print_regions(const struct shown *shown, size_t first)
{
    const struct host *host = shown->host;
    const struct host_group *group = &host->groups[first];
    char text[2048] = "groups";

    for (size_t i = first; i < host->group_count; i++) {
        if (group_is_shown(shown, &host->groups[i]) && same_regions(&host->groups[i], group))
            text_append(text, sizeof(text), i == first ? " " : ", ", "%u", host->groups[i].number);
    }
    text_print(2, text);
    for (size_t i = 0; i < group->region_count; i++)
        printf("      0x%" PRIx64 " to 0x%" PRIx64 " %s\n", group->regions[i].start,
               group->regions[i].last, group->regions[i].kind);
    if (!group->region_count)
        printf("      none\n");
}

static void print_groups(const struct shown *shown)
{
    const struct host *host = shown->host;

    printf("\nReserved IOVAs\n");
    for (size_t i = 0; i < host->group_count; i++) {
        if (group_is_shown(shown, &host->groups[i]) && !is_printed(shown, i))
            print_regions(shown, i);
    }
    if (!host->group_count)
        printf("  no IOMMU groups\n");
}

static void print_verdict(const struct shown *shown)
{
    static const char *const answers[] = {
        [ANSWER_UNKNOWN] = "perhaps", [ANSWER_NO] = "no", [ANSWER_YES] = "yes"};
    const struct host *host = shown->host;
    char text[640];

    printf("\nCan a guest nest here%s? %s%s\n", shown->count ? " with what was named" : "",
           answers[host_can(host, true)], host->lack_count ? ":" : ".");
    for (size_t i = 0; i < host->lack_count; i++) {
        const struct host_lack *lack = &host->lacks[i];

        snprintf(text, sizeof(text), "%s: %s (%s)", host_lack_names[lack->kind], lack->text,
                 lack->remedy);
        text_print(2, text);
    }
    if (host_can(host, true) == ANSWER_NO && host_can(host, false) == ANSWER_YES)
        printf("Devices can be assigned all the same, to guests whose tables are mirrored.\n");
}

void host_print(const struct host *host, const char *const *devices, size_t count)
{
    const struct shown shown = {host, devices, count};

    print_kernel(host);
    print_iommus(&shown);
    print_devices(&shown);
    print_groups(&shown);
    print_verdict(&shown);
}
