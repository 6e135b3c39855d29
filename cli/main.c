/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include <stdio.h>
#include <string.h>
#include <viommu/version.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", cli_run, "run a guest behind a virtual IOMMU, on KVM"},
    {"host", cli_host, "tell what the IOMMUs of this machine can do, and what they lack"},
    {"check", cli_check, "compare a configuration with hosts"},
    {"demo", cli_demo, "tell the nested story on the simulated host"},
};

static void print_usage(void)
{
    size_t i;

    printf("Usage: viommu COMMAND [OPTION]...\n\nCommands:\n");
    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        printf("  %-8s %s\n", commands[i].name, commands[i].help);
    printf("\n'viommu COMMAND --help' tells more; 'viommu --version' tells the version.\n");
}

static int is_help(const char *argument)
{
    return !strcmp(argument, "--help") || !strcmp(argument, "-h") || !strcmp(argument, "help");
}

int main(int argc, char **argv)
{
    size_t i;

    if (argc >= 2 && is_help(argv[1])) {
        print_usage();
        return 0;
    }
    if (argc >= 2 && !strcmp(argv[1], "--version")) {
        printf("viommu %s\n", viommu_version());
        return 0;
    }
    for (i = 0; argc >= 2 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    }
    if (argc >= 2)
        fprintf(stderr, "viommu: there is no command '%s'; 'viommu --help' lists them\n", argv[1]);
    else
        fprintf(stderr, "viommu: a command is needed; 'viommu --help' lists them\n");
    return CLI_EXIT_USAGE;
}
