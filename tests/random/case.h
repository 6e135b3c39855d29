/* SPDX-License-Identifier: MIT */
/*
 * A case: what the machine is, and what is done with it, in order. As text it has one line for
 * each, so that a case that failed can be kept, read and cut down.
 *
 *     unit PROPERTIES                 as for viommu_vtd_options_parse(); the first line
 *     host hoard|none|absent          cache of the simulated host; absent: nothing is assigned
 *     store GPA VALUE                 the guest writes 8 bytes
 *     mode off|on RTADDR              set root table pointer, translation on or off
 *     settle HOW                      whatever was stored is announced by the invalidations that
 * are right for it; HOW picks among these invalidate QW0 QW1              any descriptor dma e|a
 * PASID ACCESS TYPE ADDRESS LENGTH by the emulated or the assigned function; PASID - for none
 *
 * Numbers are hexadecimal. What a DMA comes to is compared when nothing is unannounced.
 */
#ifndef RANDOM_CASE_H
#define RANDOM_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum op_kind {
    OP_STORE,      /* gpa, value */
    OP_MODE,       /* on, rtaddr */
    OP_SETTLE,     /* how */
    OP_INVALIDATE, /* quadwords */
    OP_DMA,        /* assigned, pasid, access, type, address, length */
};

#define OP_ARGUMENTS 6

struct op {
    enum op_kind kind;
    uint64_t arg[OP_ARGUMENTS];
};

enum case_host {
    CASE_HOST_HOARD,
    CASE_HOST_NONE,
    CASE_HOST_ABSENT,
};

struct test_case {
    char properties[512];
    enum case_host host;
    struct op *ops;
    size_t count, room;
};

void case_add(struct test_case *test, struct op op);
void case_free(struct test_case *test);
void case_print(const struct test_case *test, FILE *file);
/* False: the line that could not be read is in `line`. */
bool case_parse(struct test_case *test, FILE *file, unsigned int *line);

#endif
