/* SPDX-License-Identifier: MIT */
#include "spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int list(const char *specification, const struct spec_rule *rules, size_t count)
{
    printf("# %s\n", specification);
    for (size_t i = 0; i < count; i++)
        printf("%s\t%s\t%s\n", rules[i].section, rules[i].rule, rules[i].id);
    return 0;
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
    for (size_t i = 0; i < count; i++) {
        tests[i].name = rules[i].id;
        tests[i].test_func = rules[i].check;
    }
    failed = _cmocka_run_group_tests(specification, tests, count, NULL, NULL);
    free(tests);
    return failed ? 1 : 0;
}
