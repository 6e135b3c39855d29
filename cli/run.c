/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "device.h"
#include "vmm.h"
#include <errno.h>
#include <getopt.h>
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
    uint32_t given; /* a bit for each of run_options */
    bool help;
};

static int parse_memory(struct run_arguments *arguments, const char *text, struct viommu_error *err)
{
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

static int parse_cpus(struct run_arguments *arguments, const char *text, struct viommu_error *err)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (*end || end == text || value < 1 || value > (long)VMM_CPUS_MAX)
        return vmm_fail(err, EINVAL, "--cpus takes a number from 1 to %u, not '%s'", VMM_CPUS_MAX,
                        text);
    arguments->options.cpus = (unsigned int)value;
    return 0;
}

static int add_device(struct run_arguments *arguments, const char *text, struct viommu_error *err)
{
    if (arguments->options.device_count == DEVICES_MAX)
        return vmm_fail(err, EINVAL, "more than %u times --device; the root bus has no more slots",
                        DEVICES_MAX);
    arguments->devices[arguments->options.device_count++] = text;
    return 0;
}

static int add_viommu(struct run_arguments *arguments, const char *text, struct viommu_error *err)
{
    if (arguments->options.viommu_count == VMM_UNITS_MAX)
        return vmm_fail(err, EINVAL, "more than %u times --viommu; leave some out", VMM_UNITS_MAX);
    arguments->viommus[arguments->options.viommu_count++] = text;
    return 0;
}

/* One option: where its text goes, or the function that takes it. */
struct run_option {
    const char *name;
    const char *argument;
    const char *help;
    size_t text; /* offset of a const char * in struct vmm_options */
    int (*parse)(struct run_arguments *arguments, const char *text, struct viommu_error *err);
    size_t flag; /* offset of a bool in struct run_arguments */
};

#define TEXT(member)    offsetof(struct vmm_options, member), NULL, 0
#define FLAG(member)    0, NULL, offsetof(struct run_arguments, member)
#define PARSE(function) 0, function, 0

static const struct run_option run_options[] = {
    {"kernel", "FILE", "bzImage, ELF with PVH entry, or multiboot-1 ELF32 (needed)", TEXT(kernel)},
    {"initrd", "FILE", "initial RAM disk; for multiboot 'FILE ARGS,FILE ARGS,...'", TEXT(initrd)},
    {"append", "STRING", "the kernel's command line", TEXT(append)},
    {"memory", "SIZE", "RAM of the guest, 512M if not given", PARSE(parse_memory)},
    {"cpus", "N", "number of processors, 1 if not given", PARSE(parse_cpus)},
    {"viommu", "vtd[,KEY=VALUE]...", "a virtual IOMMU; may be repeated, see below",
     PARSE(add_viommu)},
    {"host", "soft[,KEY=VALUE]...", "a simulated host to assign devices from, see below",
     TEXT(host)},
    {"device", "KIND[,KEY=VALUE]...", "add a PCI device; may be repeated", PARSE(add_device)},
    {"no-reboot", NULL, "end instead of starting anew when the guest resets",
     FLAG(options.no_reboot)},
    {"stats", NULL, "print counters to standard error at the end", FLAG(options.stats)},
    {"help", NULL, "this text", FLAG(help)},
};
#define RUN_OPTIONS (sizeof(run_options) / sizeof(run_options[0]))

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
    char left[64];
    size_t i;

    printf("Usage: viommu run --kernel FILE [OPTION]...\n\n"
           "Run a guest on KVM. Its console is the terminal; Ctrl-C ends the machine, Ctrl-A c\n"
           "gives the guest a Ctrl-C, Ctrl-A x ends too.\n\nOptions:\n");
    for (i = 0; i < RUN_OPTIONS; i++) {
        snprintf(left, sizeof(left), "--%s %s", run_options[i].name,
                 run_options[i].argument ? run_options[i].argument : "");
        printf("  %-30s %s\n", left, run_options[i].help);
    }
    printf("\nKeys that place a vIOMMU (its properties: viommu(1)):\n"
           "  segment=N              PCI segment, 0 if not given\n"
           "  scope=02.0+03.0+...    the functions that are behind it\n"
           "  all=on|off             all functions of the segment that no other unit names; on\n"
           "                         without scope\n"
           "  node=N                 NUMA node that it is near to\n"
           "\nKeys of --host soft:\n"
           "  profile=NAME, cache=hoard|none, iommus=N (1 if not given)\n");
    printf("\nDevices:\n");
    for (kind = vmm_device_kinds; kind->name; kind++)
        printf("  %s%s%s\n", kind->name, *kind->arguments ? "," : "", kind->arguments);
    print_profiles();
    printf(
        "\nExit code: 0 when the guest powered off, (v << 1) | 1 after it wrote v to port 0xf4,\n"
        "128 + signal after a signal, 1 after an error, 2 after a wrong option.\n");
}

/* Of two, one would be lost without a word. */
static int take_once(struct run_arguments *arguments, const struct run_option *option,
                     struct viommu_error *err)
{
    uint32_t bit = 1u << (option - run_options);

    bool repeats = option->parse == add_device || option->parse == add_viommu;

    if (arguments->given & bit && !repeats)
        return vmm_fail(err, EINVAL,
                        "--%s is given twice; only --device and --viommu may be repeated",
                        option->name);
    arguments->given |= bit;
    return 0;
}

static int take_option(struct run_arguments *arguments, const struct run_option *option,
                       const char *text, struct viommu_error *err)
{
    int ret = take_once(arguments, option, err);

    if (ret)
        return ret;
    if (option->parse)
        return option->parse(arguments, text, err);
    if (option->argument)
        memcpy((char *)&arguments->options + option->text, &text, sizeof(text));
    else
        *((bool *)((char *)arguments + option->flag)) = true;
    return 0;
}

static void fill_long_options(struct option *list)
{
    size_t i;

    for (i = 0; i < RUN_OPTIONS; i++) {
        list[i].name = run_options[i].name;
        list[i].has_arg = run_options[i].argument ? required_argument : no_argument;
        list[i].val = (int)i;
    }
}

/* `at` is what getopt_long() looked at: optind as it was before the call. */
static int wrong_option(const char *at, struct viommu_error *err)
{
    return vmm_fail(err, EINVAL,
                    "'%s' is no option, or lacks its argument; 'viommu run --help' lists them", at);
}

static int parse(int argc, char **argv, struct run_arguments *arguments, struct viommu_error *err)
{
    struct option list[RUN_OPTIONS + 1] = {0};
    int index, at, ret;

    fill_long_options(list);
    opterr = 0;
    for (;;) {
        at = optind;
        /* '+': no reordering, so that argv[at] is what the call looks at. */
        index = getopt_long(argc, argv, "+", list, NULL);
        if (index < 0)
            break;
        if ((size_t)index >= RUN_OPTIONS)
            return wrong_option(argv[at], err);
        ret = take_option(arguments, &run_options[index], optarg, err);
        if (ret || arguments->help)
            return ret;
    }
    if (optind < argc)
        return vmm_fail(err, EINVAL, "'%s' is not an option; 'viommu run --help' lists them",
                        argv[optind]);
    if (!arguments->options.kernel)
        return vmm_fail(err, EINVAL, "--kernel FILE is needed; 'viommu run --help' lists all");
    return 0;
}

int cli_run(int argc, char **argv)
{
    struct run_arguments arguments = {
        .options = {.append = "", .memory = MEMORY_DEFAULT, .cpus = 1}};
    struct viommu_error err;
    int code;

    arguments.options.devices = arguments.devices;
    arguments.options.viommus = arguments.viommus;
    if (parse(argc, argv, &arguments, &err)) {
        fprintf(stderr, "viommu run: %s\n", err.message);
        return CLI_EXIT_USAGE;
    }
    if (arguments.help) {
        print_help();
        return 0;
    }
    code = vmm_run(&arguments.options, &err);
    if (err.message[0])
        fprintf(stderr, "viommu run: %s\n", err.message);
    return code;
}
