/* SPDX-License-Identifier: MIT */
/*
 * Rules of a specification, one check each. A test program is a table of rules:
 *
 *     static const struct spec_rule rules[] = {
 *         {"VTD-11.4.4-1", "11.4.4", "A reserved bit of GCMD_REG has no effect.",
 * reserved_command},
 *     };
 *     int main(int argc, char **argv)
 *     {
 *         return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
 *     }
 *
 * Run, it checks all, with --only PREFIX those whose ID begins so; with --list it prints the rules
 * instead, from which scripts/vtd-coverage makes docs/vtd-coverage.md.
 *
 * A rule about faults is named by the condition codes that it raises, all of them:
 * "VTD-7.1.3-SPT.4.1,SPT.4.4" (and then perhaps "-what is special"). tests/house/fault-reasons
 * holds it to that.
 */
#ifndef SPEC_H
#define SPEC_H

/* cmocka.h needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct spec_rule {
    const char *id;      /* "VTD-<section>-<n>", unique over all programs */
    const char *section; /* of the specification: "11.4.4" */
    const char *rule;    /* in own words, one sentence, no tab */
    void (*check)(void **state);
    const void *row; /* what *state is for the check: of a table that it is written for; or NULL */
};

#define SPEC_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Exit code 0 when all checks pass. --list: one line "section, rule, id" for each, between tabs. */
int spec_main(int argc, char **argv, const char *specification, const struct spec_rule *rules,
              size_t count);

/*
 * The guest has read this fault reason. When SPEC_FAULTS is in the environment, a line "ID, reason"
 * is added to that file, with a tab between. machine.c calls it for every fault record that a check
 * reads by read64().
 */
void spec_fault_read(unsigned int reason);

#endif
