/* SPDX-License-Identifier: MIT */
/* Cutting a case that fails down to the few operations that it takes. */
#ifndef RANDOM_SHRINK_H
#define RANDOM_SHRINK_H

#include "world.h"

/* Run a case. False: it fails, world->failure says how; *at is the operation that showed it. */
bool replay(struct world *world, const struct test_case *test, size_t *at);

/* Leave out what it fails without. */
void shrink(struct world *world, struct test_case *test);

#endif
