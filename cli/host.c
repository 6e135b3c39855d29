/* SPDX-License-Identifier: MIT */
/* `viommu host`: what this machine has, what it can do, and whether a guest can nest here. */
#include "host.h"
#include "cli.h"
#include "device_name.h"
#include "host_json.h"
#include "options.h"
#include "tree.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct host_arguments {
    const char *root;
    struct device_names devices;
    bool probe, json, help;
};

static int add_device(void *opaque, const char *text, struct viommu_error *err)
{
    struct host_arguments *arguments = opaque;

    return device_names_add(&arguments->devices, text, err);
}

static const struct cli_option host_options[] = {
    {"device", "BDF", "look at this device (0000:3a:00.0) alone; may be repeated", 0, add_device,
     true},
    {"json", NULL, "a host profile, as docs/host-profile.md describes it",
     offsetof(struct host_arguments, json), NULL, false},
    {"probe", NULL, "also ask the kernel: binds devices that vfio-pci has free, for a moment",
     offsetof(struct host_arguments, probe), NULL, false},
    {"sysfs", "DIR", "look at a copy of /sys, /proc and /dev below this directory",
     offsetof(struct host_arguments, root), NULL, false},
    {"help", NULL, "this text", offsetof(struct host_arguments, help), NULL, false},
};

static const struct cli_command host_command = {
    .name = "host",
    .options = host_options,
    .count = sizeof(host_options) / sizeof(host_options[0]),
};

static void print_help(void)
{
    printf(
        "Usage: viommu host [OPTION]...\n\n"
        "Tell what the IOMMUs of this machine can do, which devices are behind them, and whether\n"
        "a guest can nest here; if not, what is missing. Needs no privileges; changes nothing, and\n"
        "binds nothing without --probe.\n\nOptions:\n");
    cli_print_options(&host_command);
    printf("\nExit code: 0, or with --device 1 when one of them cannot be given to a guest that\n"
           "nests; 1 after an error, 2 after a wrong option.\n");
}

int host_read(struct host *host, const char *root, struct viommu_error *err)
{
    struct tree tree = {.root = root};
    int ret;

    if (*root && !tree_exists(tree_path(&tree, "sys")))
        return vmm_fail(err, ENOENT,
                        "--sysfs %s has no directory sys; name one that holds copies of /sys, "
                        "/proc and /dev",
                        root);
    host_read_kernel(host, &tree);
    ret = host_read_hardware(host, &tree);
    if (!ret)
        ret = host_read_users(host, &tree);
    return ret ? vmm_fail(err, -ret, "no memory for the list of devices") : 0;
}

static int check_names(const struct host *host, const struct host_arguments *arguments,
                       struct viommu_error *err)
{
    for (size_t i = 0; i < arguments->devices.count; i++) {
        if (!host_find_device(host, arguments->devices.list[i]))
            return vmm_fail(err, ENODEV,
                            "there is no PCI device %s; 'viommu host' lists those that there are",
                            arguments->devices.list[i]);
    }
    return 0;
}

static int parse(int argc, char **argv, struct host_arguments *arguments, struct viommu_error *err)
{
    int ret = cli_parse(&host_command, argc, argv, arguments, err);

    if (!ret && !arguments->help && arguments->probe && *arguments->root)
        return vmm_fail(err, EINVAL,
                        "--probe asks the kernel of this machine, and --sysfs %s may be a "
                        "copy of another; leave out one of them",
                        arguments->root);
    return ret;
}

static int tell(struct host *host, const struct host_arguments *arguments, struct viommu_error *err)
{
    int ret = host_read(host, arguments->root, err);

    if (!ret)
        ret = check_names(host, arguments, err);
    if (ret)
        return ret;
    if (arguments->probe)
        host_probe(host, arguments->devices.list, arguments->devices.count);
    if (host_judge(host, arguments->devices.list, arguments->devices.count))
        return vmm_fail(err, ENOMEM, "no memory for what the host lacks");
    if (arguments->json)
        return host_json_write(host, err);
    host_print(host, arguments->devices.list, arguments->devices.count);
    return 0;
}

int cli_host(int argc, char **argv)
{
    struct host_arguments arguments = {.root = ""};
    struct host host = {.iommus = NULL};
    struct viommu_error err;
    bool refused;
    int ret;

    if (parse(argc, argv, &arguments, &err)) {
        cli_complain(&host_command, &err);
        return CLI_EXIT_USAGE;
    }
    if (arguments.help) {
        print_help();
        return 0;
    }
    ret = tell(&host, &arguments, &err);
    if (ret)
        cli_complain(&host_command, &err);
    refused = arguments.devices.count && host_can(&host, true) == ANSWER_NO;
    host_free(&host);
    return ret || refused ? 1 : 0;
}
