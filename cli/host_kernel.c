/* SPDX-License-Identifier: MIT */
/* What the kernel of a host offers, and what this user may do there. */
#include "host.h"
#include "text.h"
#include "tree.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CAP_IPC_LOCK 14 /* linux/capability.h; with it iommufd accounts nothing */
#define LINE         4096

/* Call fn for each line of a file that may be long; a file that is not there: false. */
static bool for_each_line(const char *path, void (*fn)(struct host *host, const char *line),
                          struct host *host)
{
    FILE *file = fopen(path, "re");
    char line[LINE];

    if (!file)
        return false;
    while (fgets(line, sizeof(line), file))
        fn(host, line);
    fclose(file);
    return true;
}

/* Options of the command line that say something of IOMMUs, or of interrupt remapping. */
static bool is_about_iommus(const char *option)
{
    static const char *const beginnings[] = {"intel_iommu=", "amd_iommu=", "iommu=", "iommu.",
                                             "intremap=",    "iommufd.",   "vfio"};

    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        if (!strncmp(option, beginnings[i], strlen(beginnings[i])))
            return true;
    }
    return false;
}

static void read_options(struct host *host, struct tree *tree)
{
    char line[LINE], *rest = line, *option;

    tree_text(tree_path(tree, "proc/cmdline"), line, sizeof(line));
    while ((option = strsep(&rest, " \t\n"))) {
        if (is_about_iommus(option))
            text_append(host->options, sizeof(host->options), " ", "%s", option);
    }
}

static void take_default(struct host *host, const char *line)
{
    if (!strcmp(line, "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON=y\n"))
        host->scalable = ANSWER_YES;
}

/* What the kernel was built with, where distributions leave it. */
static void read_default(struct host *host, struct tree *tree)
{
    bool found =
        for_each_line(tree_path(tree, "boot/config-%s", host->release), take_default, host) ||
        for_each_line(tree_path(tree, "lib/modules/%s/config", host->release), take_default, host);

    if (found && host->scalable == ANSWER_UNKNOWN)
        host->scalable = ANSWER_NO;
}

/* intel_iommu=WORD,WORD,... of which the last word about scalable mode counts. */
static void read_scalable(struct host *host, struct tree *tree)
{
    const char *at = host->options;

    read_default(host, tree);
    for (at = strstr(at, "intel_iommu="); at; at = strpbrk(at, ", =")) {
        at += strspn(at, ", =");
        if (!strncmp(at, "sm_on", 5))
            host->scalable = ANSWER_YES;
        if (!strncmp(at, "sm_off", 6))
            host->scalable = ANSWER_NO;
    }
}

static void take_limit(struct host *host, const char *line)
{
    char soft[32];

    if (sscanf(line, "Max locked memory %31s", soft) != 1)
        return;
    host->memlock_unlimited = !strcmp(soft, "unlimited");
    host->memlock = strtoull(soft, NULL, 10);
}

static void take_capabilities(struct host *host, const char *line)
{
    unsigned long long effective;

    if (sscanf(line, "CapEff: %llx", &effective) == 1 && effective >> CAP_IPC_LOCK & 1)
        host->memlock_unlimited = true;
}

static void read_name(struct host *host, struct tree *tree)
{
    struct utsname names;

    tree_text(tree_path(tree, "proc/sys/kernel/hostname"), host->name, sizeof(host->name));
    tree_text(tree_path(tree, "proc/sys/kernel/osrelease"), host->release, sizeof(host->release));
    tree_text(tree_path(tree, "proc/sys/kernel/arch"), host->machine, sizeof(host->machine));
    if (!host->machine[0] && !*tree->root && !uname(&names))
        snprintf(host->machine, sizeof(host->machine), "%.64s", names.machine);
    if (!host->name[0])
        strcpy(host->name, "host");
}

static bool allows_unsafe_interrupts(struct tree *tree, const char *module)
{
    char text[8];

    tree_text(tree_path(tree, "sys/module/%s/parameters/allow_unsafe_interrupts", module), text,
              sizeof(text));
    return text[0] == 'Y';
}

void host_read_kernel(struct host *host, struct tree *tree)
{
    read_name(host, tree);
    read_options(host, tree);
    read_scalable(host, tree);
    host->firmware_vtd = tree_exists(tree_path(tree, "sys/firmware/acpi/tables/DMAR"));
    host->firmware_amd = tree_exists(tree_path(tree, "sys/firmware/acpi/tables/IVRS"));
    host->iommufd = tree_exists(tree_path(tree, "dev/iommu"));
    host->iommufd_usable = tree_usable(tree_path(tree, "dev/iommu"));
    host->type1 = tree_exists(tree_path(tree, "dev/vfio/vfio"));
    host->type1_usable = tree_usable(tree_path(tree, "dev/vfio/vfio"));
    host->unsafe_iommufd = allows_unsafe_interrupts(tree, "iommufd");
    host->unsafe_type1 = allows_unsafe_interrupts(tree, "vfio_iommu_type1");
    /* Of a copy that leaves /proc/self out, nothing can be said. */
    host->memlock_unlimited = true;
    for_each_line(tree_path(tree, "proc/self/limits"), take_limit, host);
    for_each_line(tree_path(tree, "proc/self/status"), take_capabilities, host);
}

/* Who has a device open */

struct search {
    struct host *host;
    struct tree *tree;
    unsigned long process;
};

/* By its own node, or by that of its group. */
static bool is_node_of(const struct host_device *device, const char *target)
{
    char group[32], node[64];

    snprintf(node, sizeof(node), "/dev/vfio/devices/%s", device->node);
    snprintf(group, sizeof(group), "/dev/vfio/%u", device->group);
    return (device->node[0] && !strcmp(target, node)) ||
           (device->has_group && !strcmp(target, group));
}

static int look_at_file(void *opaque, const char *name)
{
    struct search *search = opaque;
    struct host *host = search->host;
    char target[64];

    tree_target(tree_path(search->tree, "proc/%lu/fd/%s", search->process, name), target,
                sizeof(target));
    if (strncmp(target, "/dev/vfio/", strlen("/dev/vfio/")) != 0)
        return 0;
    for (size_t i = 0; i < host->device_count; i++) {
        if (host_is_vfio(&host->devices[i]) && is_node_of(&host->devices[i], target))
            host->devices[i].user = search->process;
    }
    return 0;
}

static int look_at_process(void *opaque, const char *name)
{
    struct search *search = opaque;
    char *end;

    search->process = strtoul(name, &end, 10);
    /* What this process holds it was given: somebody else holds it, too. */
    if (*end || (!*search->tree->root && search->process == (unsigned long)getpid()))
        return 0;
    return tree_list(tree_path(search->tree, "proc/%lu/fd", search->process), look_at_file, search);
}

int host_read_users(struct host *host, struct tree *tree)
{
    struct search search = {host, tree, 0};
    bool any = false;

    for (size_t i = 0; i < host->device_count; i++)
        any = any || host_is_vfio(&host->devices[i]);
    return any ? tree_list(tree_path(tree, "proc"), look_at_process, &search) : 0;
}
