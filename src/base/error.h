/* SPDX-License-Identifier: MIT */
/* Filling struct viommu_error, and taking option structs that may grow. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <viommu/error.h>

/* Fill error (may be NULL) with one sentence; returns code, a negative errno. */
int error_set(struct viommu_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__
/* The analyzer sees one source file at a time; this is all that it needs to know of error_set(). */
#define error_set(error, code, ...)                                                                \
    ({                                                                                             \
        int error_code = error_set(error, code, __VA_ARGS__);                                      \
        if (!error_code || error_code != (code))                                                   \
            __builtin_unreachable();                                                               \
        error_code;                                                                                \
    })
#endif

/* Append to a message that error_set() began ("; next mismatch"). Keeps the code; truncates
 * cleanly. */
void error_append(struct viommu_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Copy an option struct that begins with its size into one of ours (export.h states the rule): a
 * shorter one is padded with zero, a longer one is refused unless the excess is zero. `what` names
 * it.
 */
int error_copy_options(void *to, size_t to_size, const void *from, const char *what,
                       struct viommu_error *error);

#endif
