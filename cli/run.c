/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "device.h"
#include "options.h"
#include "profile.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viommu/soft.h>

#define MEMORY_DEFAULT (512ull << 20)
#define MEMORY_MIN     (4ull << 20)
#define MEMORY_MAX     (1ull << 40)
#define DEVICES_MAX    31u

struct run_arguments {
    struct vmm_options options;
    const char *devices[DEVICES_MAX];
    const char *viommus[VMM_UNITS_MAX];
    bool help;
};

static int parse_memory(void *opaque, const char *text, struct viommu_error *err)
{
    struct run_arguments *arguments = opaque;
    static const char suffixes[] = "KMGT";
    unsigned long long value;
    unsigned int shift = 20;
    const char *suffix;
    char *end;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (*end) {
        suffix = strchr(suffixes, *end & ~0x20);
        if (!suffix || !*suffix || end[1])
            end = NULL;
        else
            shift = 10 * (unsigned int)(suffix - suffixes + 1);
    }
    if (errno || !end || *text < '0' || *text > '9')
        return vmm_fail(err, EINVAL,
                        "--memory takes a number with K, M, G or T (512M), or of MiB, not '%s'",
                        text);
    if (value > MEMORY_MAX >> shift || value << shift < MEMORY_MIN || (value << shift) % (1 << 20))
        return vmm_fail(err, EINVAL, "--memory %s is not a whole number of MiB from 4M to 1T",
                        text);
    arguments->options.memory = value << shift;
    return 0;
}

static int parse_cpus(void *opaque, const char *text, struct viommu_error *err)
{
    struct run_arguments *arguments = opaque;
    char *end;
    long value = strtol(text, &end, 10);

    if (*end || end == text || value < 1 || value > (long)VMM_CPUS_MAX)
        return vmm_fail(err, EINVAL, "--cpus takes a number from 1 to %u, not '%s'", VMM_CPUS_MAX,
                        text);
    arguments->options.cpus = (unsigned int)value;
    return 0;
}

static int add_device(void *opaque, const char *text, struct viommu_error *err)
{
    struct run_arguments *arguments = opaque;

    if (arguments->options.device_count == DEVICES_MAX)
        return vmm_fail(err, EINVAL, "more than %u times --device; the root bus has no more slots",
                        DEVICES_MAX);
    arguments->devices[arguments->options.device_count++] = text;
    return 0;
}

static int add_viommu(void *opaque, const char *text, struct viommu_error *err)
{
    struct run_arguments *arguments = opaque;

    if (arguments->options.viommu_count == VMM_UNITS_MAX)
        return vmm_fail(err, EINVAL, "more than %u times --viommu; leave some out", VMM_UNITS_MAX);
    arguments->viommus[arguments->options.viommu_count++] = text;
    return 0;
}

#define TEXT(member)   offsetof(struct run_arguments, options.member), NULL, false
#define FLAG(member)   offsetof(struct run_arguments, member), NULL, false
#define TAKE(function) 0, function, false
#define EACH(function) 0, function, true

static const struct cli_option run_options[] = {
    {"kernel", "FILE", "bzImage, ELF with PVH entry, or multiboot-1 ELF32 (needed)", TEXT(kernel)},
    {"initrd", "FILE", "initial RAM disk; for multiboot 'FILE ARGS,FILE ARGS,...'", TEXT(initrd)},
    {"append", "STRING", "the kernel's command line", TEXT(append)},
    {"memory", "SIZE", "RAM of the guest, 512M if not given", TAKE(parse_memory)},
    {"cpus", "N", "number of processors, 1 if not given", TAKE(parse_cpus)},
    {"viommu", "vtd[,KEY=VALUE]...", "a virtual IOMMU; may be repeated, see below",
     EACH(add_viommu)},
    {"host", "KIND[,KEY=VALUE]...",
     "what devices are assigned from: iommufd, type1, or soft (simulated), see below", TEXT(host)},
    {"device", "KIND[,KEY=VALUE]...", "add a PCI device; may be repeated", EACH(add_device)},
    {"control", "PATH", "a socket to be made, for requests to the running machine, see viommu(1)",
     TEXT(control)},
    {"no-reboot", NULL, "end instead of starting anew when the guest resets",
     FLAG(options.no_reboot)},
    {"stats", NULL, "print counters to standard error at the end", FLAG(options.stats)},
    {"help", NULL, "this text", FLAG(help)},
};

static const struct cli_command run_command = {
    .name = "run",
    .options = run_options,
    .count = sizeof(run_options) / sizeof(run_options[0]),
};

static void print_profiles(void)
{
    size_t i;

    printf("\nProfiles of --host soft:\n");
    for (i = 0; i < viommu_soft_profile_count(); i++)
        printf("  %-24s %s\n", viommu_soft_profile_name(i),
               viommu_soft_profile_description(viommu_soft_profile_name(i)));
}

static void print_help(void)
{
    const struct vmm_device_kind *kind;

    printf("Usage: viommu run --kernel FILE [OPTION]...\n\n"
           "Run a guest on KVM. Its console is the terminal; Ctrl-C ends the machine, Ctrl-A c\n"
           "gives the guest a Ctrl-C, Ctrl-A x ends too.\n\nOptions:\n");
    cli_print_options(&run_command);
    printf("\nKeys that place a vIOMMU (its properties: viommu(1)):\n"
           "  segment=N              PCI segment, 0 if not given\n"
           "  scope=02.0+03.0+...    the functions that are behind it\n"
           "  all=on|off             all functions of the segment that no other unit names; on\n"
           "                         without scope\n"
           "  node=N                 NUMA node that it is near to\n"
           "\nKeys of --host soft:\n"
           "  profile=NAME, cache=hoard|none, iommus=N (1 if not given)\n"
           "  profile=FILE[,profile-iommu=NAME]: what 'viommu host --json' wrote, and which IOMMU\n"
           "                         of it, when they differ\n"
           "\nKeys of --host iommufd (--host type1 has none):\n"
           "  path=FILE, fd=N        in place of /dev/iommu\n");
    printf("\nDevices:\n");
    for (kind = vmm_device_kinds; kind->name; kind++)
        printf("  %s%s%s\n", kind->name, *kind->arguments ? "," : "", kind->arguments);
    print_profiles();
    printf(
        "\nExit code: 0 when the guest powered off, (v << 1) | 1 after it wrote v to port 0xf4,\n"
        "128 + signal after a signal, 1 after an error, 2 after a wrong option.\n");
}

static int parse(int argc, char **argv, struct run_arguments *arguments, struct viommu_error *err)
{
    int ret = cli_parse(&run_command, argc, argv, arguments, err);

    if (ret || arguments->help || arguments->options.kernel)
        return ret;
    return vmm_fail(err, EINVAL, "--kernel FILE is needed; 'viommu run --help' lists all");
}

int cli_run(int argc, char **argv)
{
    struct run_arguments arguments = {
        .options = {.append = "", .memory = MEMORY_DEFAULT, .cpus = 1}};
    struct viommu_error err;
    int code;

    arguments.options.read_profile = profile_read_info;
    arguments.options.devices = arguments.devices;
    arguments.options.viommus = arguments.viommus;
    if (parse(argc, argv, &arguments, &err)) {
        cli_complain(&run_command, &err);
        return CLI_EXIT_USAGE;
    }
    if (arguments.help) {
        print_help();
        return 0;
    }
    code = vmm_run(&arguments.options, &err);
    if (err.message[0])
        cli_complain(&run_command, &err);
    return code;
}
