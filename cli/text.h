/* SPDX-License-Identifier: MIT */
/* Building lines for people. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Append to a text that may be empty; else `between` comes first. Cut to what fits. */
__attribute__((format(printf, 4, 5))) void text_append(char *text, size_t size, const char *between,
                                                       const char *format, ...);

/* What a terminal obeys, and what is no ASCII, becomes '?'. Blanks, tabs and new lines stay. */
bool text_is_printable(char byte);
void text_make_printable(char *text);

/*
 * Print to standard output, broken at blanks into lines of 100 columns, each begun with `indent`
 * blanks.
 */
void text_print(unsigned int indent, const char *text);

#endif
