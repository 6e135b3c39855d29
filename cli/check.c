/* SPDX-License-Identifier: MIT */
/* `viommu check`: does a configuration work on these hosts, on each, on all, and can a guest move?
 */
#include "check.h"
#include "cli.h"
#include "device_name.h"
#include "options.h"
#include "profile.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_MAX 64u

struct check_arguments {
    const char *viommu;
    const char *sources[HOSTS_MAX];
    size_t source_count;
    struct device_names devices;
    bool suggest, json, help;
};

static int add_host(void *opaque, const char *text, struct viommu_error *err)
{
    struct check_arguments *arguments = opaque;

    if (arguments->source_count == HOSTS_MAX)
        return vmm_fail(err, EINVAL, "more than %u hosts; ask in several calls", HOSTS_MAX);
    arguments->sources[arguments->source_count++] = text;
    return 0;
}

/* --host FILE FILE FILE, as a shell makes it of --host *.json. */
static int add_more_hosts(void *opaque, const char *text, struct viommu_error *err)
{
    struct check_arguments *arguments = opaque;

    if (!arguments->source_count)
        return vmm_fail(err, EINVAL, "'%s' is not an option; 'viommu check --help' lists them",
                        text);
    return add_host(arguments, text, err);
}

static int add_device(void *opaque, const char *text, struct viommu_error *err)
{
    struct check_arguments *arguments = opaque;

    return device_names_add(&arguments->devices, text, err);
}

static const struct cli_option check_options[] = {
    {"viommu", "vtd[,KEY=VALUE]...",
     "the configuration, as 'viommu run' takes it; vtd if not given",
     offsetof(struct check_arguments, viommu), NULL, false},
    {"host", "FILE...", "host profiles, or names of built-in ones; this machine if not given", 0,
     add_host, true},
    {"device", "BDF", "look at the IOMMU of this device alone; may be repeated", 0, add_device,
     true},
    {"suggest", NULL, "also tell the strongest configuration that all hosts carry",
     offsetof(struct check_arguments, suggest), NULL, false},
    {"json", NULL, "as JSON, which docs/host-profile.md describes",
     offsetof(struct check_arguments, json), NULL, false},
    {"help", NULL, "this text", offsetof(struct check_arguments, help), NULL, false},
};

static const struct cli_command check_command = {
    .name = "check",
    .options = check_options,
    .count = sizeof(check_options) / sizeof(check_options[0]),
    .operand = add_more_hosts,
};

static void print_help(void)
{
    printf("Usage: viommu check [--viommu vtd[,KEY=VALUE]...] [--host FILE...] [OPTION]...\n\n"
           "Compare a configuration with hosts: on which does it work, what is in the way, how to\n"
           "change it, and can a guest move among them? Files come from 'viommu host --json'.\n\n"
           "Options:\n");
    cli_print_options(&check_command);
    printf("\nExit code: 0 when it works on all hosts (with --suggest and without --viommu: when\n"
           "there is a configuration that does), 1 when not, and after an error; 2 after a wrong\n"
           "option.\n");
}

static int load_host(struct check_host *host, const char *source, struct viommu_error *err)
{
    int ret;

    host->source = source;
    if (*source)
        return profile_load(&host->host, source, err);
    ret = host_read(&host->host, "", err);
    if (!ret && host_judge(&host->host, NULL, 0))
        ret = vmm_fail(err, ENOMEM, "no memory for what the host lacks");
    return ret;
}

static int load_hosts(struct check *check, const struct check_arguments *arguments,
                      struct viommu_error *err)
{
    size_t count = arguments->source_count ? arguments->source_count : 1;
    int ret = 0;

    check->hosts = calloc(count, sizeof(*check->hosts));
    if (!check->hosts)
        return vmm_fail(err, ENOMEM, "no memory for the hosts");
    for (size_t i = 0; i < count && !ret; i++) {
        struct check_host *host = &check->hosts[check->host_count++];

        ret = load_host(host, arguments->source_count ? arguments->sources[i] : "", err);
        if (!ret)
            ret = check_find_units(host, arguments->devices.list, arguments->devices.count, err);
    }
    return ret;
}

/* The hosts' lists are those of the configuration that was given, when it returns. */
static int compare(struct check *check, bool suggest, char **suggested, struct viommu_error *err)
{
    int ret = suggest ? check_suggest(check, suggested) : 0;

    for (size_t i = 0; i < check->host_count && !ret; i++)
        ret = check_compare(&check->hosts[i], &check->configuration);
    return ret ? vmm_fail(err, -ret, "no memory for the comparison") : 0;
}

static int tell(const struct check *check, const struct check_arguments *arguments,
                const char *suggested, struct viommu_error *err)
{
    if (arguments->suggest && !suggested)
        suggested = "";
    if (arguments->json)
        return check_json_write(check, suggested, err);
    check_print(check, suggested);
    return 0;
}

static bool all_work(const struct check *check)
{
    bool works = true;

    for (size_t i = 0; i < check->host_count; i++)
        works = works && check_host_works(&check->hosts[i]);
    return works;
}

static int run(struct check *check, const struct check_arguments *arguments)
{
    struct viommu_error err;
    char *suggested = NULL;
    bool works = false;
    int ret = load_hosts(check, arguments, &err);

    if (!ret)
        ret = compare(check, arguments->suggest, &suggested, &err);
    if (!ret) {
        works = arguments->suggest && !arguments->viommu ? suggested != NULL : all_work(check);
        ret = tell(check, arguments, suggested, &err);
    }
    if (ret)
        cli_complain(&check_command, &err);
    free(suggested);
    return ret || !works ? 1 : 0;
}

int cli_check(int argc, char **argv)
{
    struct check_arguments arguments = {.viommu = NULL};
    struct check check = {.hosts = NULL};
    struct viommu_error err;
    int ret = cli_parse(&check_command, argc, argv, &arguments, &err);

    if (!ret && arguments.help) {
        print_help();
        return 0;
    }
    if (!ret)
        ret = check_configure(&check.configuration, arguments.viommu ? arguments.viommu : "vtd",
                              &err);
    if (ret)
        cli_complain(&check_command, &err);
    ret = ret ? CLI_EXIT_USAGE : run(&check, &arguments);
    for (size_t i = 0; i < check.host_count; i++)
        check_host_free(&check.hosts[i]);
    free(check.hosts);
    check_configuration_free(&check.configuration);
    return ret;
}
