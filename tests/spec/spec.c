/* SPDX-License-Identifier: MIT */
#include "spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct spec_rule *running;

static int list(const char *specification, const struct spec_rule *rules, size_t count)
{
    printf("# %s\n", specification);
    for (size_t i = 0; i < count; i++)
        printf("%s\t%s\t%s\n", rules[i].section, rules[i].rule, rules[i].id);
    return 0;
}

void spec_fault_read(unsigned int reason)
{
    static struct {
        const struct spec_rule *rule;
        unsigned int reason;
    } last;
    const char *path = getenv("SPEC_FAULTS");
    FILE *file;

    if (!path || !running || (last.rule == running && last.reason == reason))
        return;
    last.rule = running;
    last.reason = reason;
    file = fopen(path, "a");
    if (!file)
        fail_msg("cannot write %s", path);
    fprintf(file, "%s\t0x%02x\n", running->id, reason);
    fclose(file);
}

static void run(void **state)
{
    running = *state;
    *state = (void *)running->row;
    running->check(state);
}

/* Those whose ID begins so; all when NULL. Returns how many. */
static size_t choose(struct CMUnitTest *tests, const struct spec_rule *rules, size_t count,
                     const char *prefix)
{
    size_t chosen = 0;

    for (size_t i = 0; i < count; i++)
        if (!prefix || !strncmp(rules[i].id, prefix, strlen(prefix)))
            tests[chosen++] = (struct CMUnitTest){
                .name = rules[i].id, .test_func = run, .initial_state = (void *)&rules[i]};
    return chosen;
}

int spec_main(int argc, char **argv, const char *specification, const struct spec_rule *rules,
              size_t count)
{
    struct CMUnitTest *tests;
    int failed;

    if (argc > 1 && !strcmp(argv[1], "--list"))
        return list(specification, rules, count);
    tests = calloc(count, sizeof(*tests));
    if (!tests)
        return 1;
    count = choose(tests, rules, count, argc > 2 && !strcmp(argv[1], "--only") ? argv[2] : NULL);
    failed = _cmocka_run_group_tests(specification, tests, count, NULL, NULL);
    free(tests);
    return failed ? 1 : 0;
}
