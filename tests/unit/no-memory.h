/* SPDX-License-Identifier: MIT */
/* Allocations that fail. Link with -Wl,--wrap= for malloc, calloc and strdup. */
#ifndef NO_MEMORY_H
#define NO_MEMORY_H

#include <stdbool.h>

void no_memory_after(int allocations); /* so many succeed, then one fails; -1: none fails */
bool no_memory_failed(void);           /* whether it did; none fails from here on */

#endif
