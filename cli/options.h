/* SPDX-License-Identifier: MIT */
/* The options of a subcommand: a table of them, and how an argument vector is taken by it. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <viommu/error.h>

#define CLI_OPTIONS_MAX 31u

/* One option: where its text goes, or the function that takes it. */
struct cli_option {
    const char *name;     /* "help" ends the parsing */
    const char *argument; /* NULL: it is a flag */
    const char *help;
    size_t offset; /* in the caller's arguments: of a const char *, for a flag of a bool */
    /* Takes the text instead; 0, or a negative errno with err filled. */
    int (*take)(void *arguments, const char *text, struct viommu_error *err);
    bool repeats;
};

struct cli_command {
    const char *name; /* "run" */
    const struct cli_option *options;
    size_t count; /* at most CLI_OPTIONS_MAX */
    /* Takes what is no option; NULL: such is refused. */
    int (*operand)(void *arguments, const char *text, struct viommu_error *err);
};

/* `argv[0]` is the command's name. -EINVAL, or what a function that takes texts returned. */
int cli_parse(const struct cli_command *command, int argc, char **argv, void *arguments,
              struct viommu_error *err);

/* One line for each option. */
void cli_print_options(const struct cli_command *command);

/* To standard error, with the command's name before it. */
void cli_complain(const struct cli_command *command, const struct viommu_error *err);

#endif
