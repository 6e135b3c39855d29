/* SPDX-License-Identifier: MIT */
#include "options.h"
#include "vmm.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define OPERAND      1   /* what getopt_long() returns for an operand, when asked by '-' */
#define FIRST_OPTION 256 /* what it returns for options: from here on */

/* Of two, one would be lost without a word. */
static int take_once(const struct cli_option *option, bool *given, struct viommu_error *err)
{
    if (*given && !option->repeats)
        return vmm_fail(err, EINVAL, "--%s is given twice; give it once", option->name);
    *given = true;
    return 0;
}

static int take_option(const struct cli_option *option, const char *text, bool *given,
                       void *arguments, struct viommu_error *err)
{
    int ret = take_once(option, given, err);

    if (ret)
        return ret;
    if (option->take)
        return option->take(arguments, text, err);
    if (option->argument)
        memcpy((char *)arguments + option->offset, &text, sizeof(text));
    else
        *((bool *)((char *)arguments + option->offset)) = true;
    return 0;
}

static void fill_long_options(const struct cli_command *command, struct option *list)
{
    for (size_t i = 0; i < command->count; i++) {
        list[i].name = command->options[i].name;
        list[i].has_arg = command->options[i].argument ? required_argument : no_argument;
        list[i].val = FIRST_OPTION + (int)i;
    }
}

/* `at` is what getopt_long() looked at: optind as it was before the call. */
static int wrong_option(const struct cli_command *command, const char *at, struct viommu_error *err)
{
    return vmm_fail(err, EINVAL,
                    "'%s' is no option, or lacks its argument; 'viommu %s --help' lists them", at,
                    command->name);
}

static int take_operand(const struct cli_command *command, const char *text, void *arguments,
                        struct viommu_error *err)
{
    if (command->operand)
        return command->operand(arguments, text, err);
    return vmm_fail(err, EINVAL, "'%s' is not an option; 'viommu %s --help' lists them", text,
                    command->name);
}

int cli_parse(const struct cli_command *command, int argc, char **argv, void *arguments,
              struct viommu_error *err)
{
    struct option list[CLI_OPTIONS_MAX + 1] = {0};
    bool given[CLI_OPTIONS_MAX] = {0};
    int index, at, ret = 0;

    fill_long_options(command, list);
    opterr = 0;
    while (!ret) {
        at = optind;
        /* '-': no reordering, so that argv[at] is what the call looks at. */
        index = getopt_long(argc, argv, "-", list, NULL);
        if (index < 0)
            break;
        if (index == OPERAND) {
            ret = take_operand(command, optarg, arguments, err);
            continue;
        }
        index -= FIRST_OPTION;
        if (index < 0 || (size_t)index >= command->count)
            return wrong_option(command, argv[at], err);
        ret = take_option(&command->options[index], optarg, &given[index], arguments, err);
        if (!ret && !strcmp(command->options[index].name, "help"))
            return 0;
    }
    while (!ret && optind < argc)
        ret = take_operand(command, argv[optind++], arguments, err);
    return ret;
}

void cli_print_options(const struct cli_command *command)
{
    char left[64];

    for (size_t i = 0; i < command->count; i++) {
        const struct cli_option *option = &command->options[i];

        snprintf(left, sizeof(left), "--%s %s", option->name,
                 option->argument ? option->argument : "");
        printf("  %-30s %s\n", left, option->help);
    }
}

void cli_complain(const struct cli_command *command, const struct viommu_error *err)
{
    fprintf(stderr, "viommu %s: %s\n", command->name, err->message);
}
