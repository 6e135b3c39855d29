/* SPDX-License-Identifier: MIT */
/*
 * Cases as bytes, for a fuzzer: each string of bytes is a case, and short strings are interesting
 * ones. What a case of the text form says can be said in bytes, too.
 */
#ifndef RANDOM_BYTES_H
#define RANDOM_BYTES_H

#include "case.h"

#define BYTES_OPS_MAX 400

/* The caller frees the case. */
void case_from_bytes(struct test_case *test, const uint8_t *bytes, size_t length);
/* Operations that bytes cannot say are left out. */
void case_to_bytes(const struct test_case *test, FILE *file);

#endif
