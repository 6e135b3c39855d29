/* SPDX-License-Identifier: MIT */
/*
 * A case: what the machine is, and what is done with it, in order. As text it has one line for
 * each, so that a case that failed can be kept, read and cut down.
 *
 *     unit PROPERTIES          as for viommu_vtd_options_parse(); the first line
 *     host hoard|none|absent   cache of the simulated host; absent: nothing is assigned
 *
 * and of operations:
 *
 *     store GPA VALUE          the guest writes 8 bytes
 *     mode ON RTADDR           set root table pointer, translation on (1) or off (0)
 *     settle HOW               whatever was stored is announced by the invalidations that are right
 *                              for it; HOW picks among these
 *     invalidate QW0 QW1       any descriptor
 *     dma WHO PASID ACCESS TYPE ADDRESS LENGTH      by the emulated (0) or the assigned function
 * (1) register OFFSET VALUE    of those that oracle_registers.h knows reset 0                  of
 * the unit interrupt REQUESTER ADDRESS DATA FLAGS        VIOMMU_INTERRUPT_* page PASID ACCESS
 * ADDRESS GROUP               of the emulated function; GROUP bit 15: the last answers LATER
 * whether its device TLB answers invalidations at once (0), or when a wait is in the queue
 *
 * Numbers are hexadecimal; no PASID is ffffffff. What a DMA comes to is compared when nothing is
 * unannounced.
 */
#ifndef RANDOM_CASE_H
#define RANDOM_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum op_kind {
    OP_STORE,
    OP_MODE,
    OP_SETTLE,
    OP_INVALIDATE,
    OP_DMA, /* bits 5:4 of the type: how, see dma.c */
    OP_REGISTER,
    OP_RESET,
    OP_INTERRUPT,
    OP_PAGE_REQUEST,
    OP_ANSWERS,
    OP_KINDS,
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
