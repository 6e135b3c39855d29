/* SPDX-License-Identifier: MIT */
/* The page tables of the oracle. */
#ifndef RANDOM_ORACLE_WALK_H
#define RANDOM_ORACLE_WALK_H

#include "oracle.h"

/* Bits of address that a second stage of so many levels translates: AGAW, at most MGAW. */
unsigned int oracle_second_width(const struct oracle *oracle, unsigned int levels);

/* First stage, second stage, or both; entry->pgtt is 1, 2 or 3. */
void oracle_walk(const struct oracle *oracle, const struct oracle_entry *entry,
                 const struct oracle_request *request, struct oracle_answer *answer);

#endif
