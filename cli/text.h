/* SPDX-License-Identifier: MIT */
/* Building lines for people. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stddef.h>

/* Append to a text that may be empty; else `between` comes first. Cut to what fits. */
__attribute__((format(printf, 4, 5))) void text_append(char *text, size_t size, const char *between,
                                                       const char *format, ...);

/*
 * Print to standard output, broken at blanks into lines of 100 columns, each begun with `indent`
 * blanks.
 */
void text_print(unsigned int indent, const char *text);

#endif
