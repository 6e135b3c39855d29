/* SPDX-License-Identifier: MIT */
/*
 * The subcommands of `viommu`, one file each. Each returns the exit code of the process.
 */
#ifndef CLI_H
#define CLI_H

#define CLI_EXIT_USAGE 2

int cli_run(int argc, char **argv);
int cli_demo(int argc, char **argv);
int cli_host(int argc, char **argv);
int cli_check(int argc, char **argv);

#endif
