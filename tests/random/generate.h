/* SPDX-License-Identifier: MIT */
/* Random cases: made while they run, since what is interesting depends on what is in memory. */
#ifndef RANDOM_GENERATE_H
#define RANDOM_GENERATE_H

#include "world.h"

/*
 * Make the case of this seed and run it. False: they disagree; `test` ends with the operation that
 * showed it. Either way the caller frees it.
 */
bool generate_and_run(struct world *world, uint64_t seed, struct test_case *test);

#endif
