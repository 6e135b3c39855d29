/* SPDX-License-Identifier: MIT */
#include "no-memory.h"

#include <stddef.h>

static int fail_after = -1;
static bool failed;

void no_memory_after(int allocations)
{
    fail_after = allocations;
    failed = false;
}

bool no_memory_failed(void)
{
    fail_after = -1;
    return failed;
}

static bool fails(void)
{
    if (fail_after < 0 || fail_after-- > 0)
        return false;
    failed = true;
    return true;
}

/* The linker sends the library's allocations here. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__wrap_strdup(const char *text);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}
