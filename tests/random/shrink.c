/* SPDX-License-Identifier: MIT */
#include "shrink.h"

#include <stdlib.h>
#include <string.h>

bool replay(struct world *world, const struct test_case *test, size_t *at)
{
    world_restart(world, test);
    for (size_t i = 0; i < test->count; i++) {
        if (!world_run(world, &test->ops[i])) {
            *at = i;
            return false;
        }
    }
    *at = test->count;
    return !world_is_settled(world) || world_memory_agrees(world);
}

/* Whether it still fails; what comes after the failure is cut off. */
static bool still_fails(struct world *world, struct test_case *test)
{
    size_t at;

    if (replay(world, test, &at))
        return false;
    if (at < test->count)
        test->count = at + 1;
    return true;
}

/* Without `length` operations from `begin` on. */
static bool leave_out(struct world *world, struct test_case *test, size_t begin, size_t length)
{
    struct test_case shorter = *test;

    shorter.ops = malloc(test->count * sizeof(*test->ops));
    if (!shorter.ops)
        abort();
    memcpy(shorter.ops, test->ops, begin * sizeof(*test->ops));
    memcpy(shorter.ops + begin, test->ops + begin + length,
           (test->count - begin - length) * sizeof(*test->ops));
    shorter.count -= length;
    if (!still_fails(world, &shorter)) {
        free(shorter.ops);
        return false;
    }
    free(test->ops);
    *test = shorter;
    test->room = test->count;
    return true;
}

/* Pieces of half the length, a quarter, ... one: each is left out if it can be. */
static bool shorten(struct world *world, struct test_case *test)
{
    size_t before = test->count;

    for (size_t length = (test->count + 1) / 2; length; length /= 2) {
        for (size_t begin = 0; begin < test->count;) {
            size_t now = begin + length < test->count ? length : test->count - begin;

            if (!leave_out(world, test, begin, now))
                begin += now;
        }
    }
    return test->count < before;
}

static void try_argument(struct world *world, struct test_case *test, size_t at, unsigned int i,
                         uint64_t value)
{
    uint64_t old = test->ops[at].arg[i];

    if (old == value)
        return;
    test->ops[at].arg[i] = value;
    if (!still_fails(world, test))
        test->ops[at].arg[i] = old;
}

/* Bits of what is stored, one after the other; short requests; the simplest invalidations. */
static void simplify(struct world *world, struct test_case *test)
{
    for (size_t at = 0; at < test->count; at++) {
        if (test->ops[at].kind == OP_SETTLE)
            try_argument(world, test, at, 0, 0);
        if (test->ops[at].kind == OP_DMA)
            try_argument(world, test, at, 5, 1);
        for (unsigned int n = 0; n < 64 && at < test->count && test->ops[at].kind == OP_STORE; n++)
            try_argument(world, test, at, 1, test->ops[at].arg[1] & ~(UINT64_C(1) << n));
    }
}

static void try_host(struct world *world, struct test_case *test, enum case_host host)
{
    enum case_host old = test->host;

    test->host = host;
    if (!still_fails(world, test))
        test->host = old;
}

void shrink(struct world *world, struct test_case *test)
{
    size_t at;

    if (!still_fails(world, test))
        return;
    try_host(world, test, CASE_HOST_NONE);
    try_host(world, test, CASE_HOST_ABSENT);
    while (shorten(world, test))
        ;
    simplify(world, test);
    while (shorten(world, test))
        ;
    replay(world, test, &at); /* for the message */
}
