/* SPDX-License-Identifier: MIT */
#include "case.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const hosts[] = {"hoard", "none", "absent"};

static const struct {
    const char *name;
    unsigned int arguments;
} kinds[OP_KINDS] = {
    [OP_STORE] = {"store", 2},       [OP_MODE] = {"mode", 2},
    [OP_SETTLE] = {"settle", 1},     [OP_INVALIDATE] = {"invalidate", 2},
    [OP_DMA] = {"dma", 6},           [OP_REGISTER] = {"register", 2},
    [OP_RESET] = {"reset", 1},       [OP_INTERRUPT] = {"interrupt", 4},
    [OP_PAGE_REQUEST] = {"page", 4}, [OP_ANSWERS] = {"answers", 1},
};

void case_add(struct test_case *test, struct op op)
{
    if (test->count == test->room) {
        test->room = test->room ? test->room * 2 : 256;
        test->ops = realloc(test->ops, test->room * sizeof(*test->ops));
        if (!test->ops)
            abort();
    }
    test->ops[test->count++] = op;
}

void case_free(struct test_case *test)
{
    free(test->ops);
    memset(test, 0, sizeof(*test));
}

static void print_op(const struct op *op, FILE *file)
{
    fprintf(file, "%s", kinds[op->kind].name);
    for (unsigned int i = 0; i < kinds[op->kind].arguments; i++)
        fprintf(file, " %" PRIx64, op->arg[i]);
    fprintf(file, "\n");
}

void case_print(const struct test_case *test, FILE *file)
{
    fprintf(file, "unit %s\nhost %s\n", test->properties, hosts[test->host]);
    for (size_t i = 0; i < test->count; i++)
        print_op(&test->ops[i], file);
}

static bool parse_arguments(const char *text, unsigned int count, struct op *op)
{
    char *end;

    for (unsigned int i = 0; i < count; i++) {
        if (*text != ' ')
            return false;
        op->arg[i] = strtoull(text, &end, 16);
        text = end;
    }
    return !*text;
}

static bool parse_op(const char *text, struct op *op)
{
    size_t length = strcspn(text, " ");

    memset(op, 0, sizeof(*op));
    for (int kind = 0; kind < OP_KINDS; kind++) {
        if (strlen(kinds[kind].name) != length || memcmp(kinds[kind].name, text, length))
            continue;
        op->kind = (enum op_kind)kind;
        return parse_arguments(text + length, kinds[kind].arguments, op);
    }
    return false;
}

static bool parse_line(struct test_case *test, char *text)
{
    struct op op;

    text[strcspn(text, "\n")] = '\0';
    if (!text[0] || text[0] == '#')
        return true;
    if (!strncmp(text, "unit", 4)) {
        snprintf(test->properties, sizeof(test->properties), "%s", text[4] ? text + 5 : "");
        return true;
    }
    if (!strncmp(text, "host ", 5)) {
        for (unsigned int i = 0; i < 3; i++) {
            if (!strcmp(text + 5, hosts[i])) {
                test->host = (enum case_host)i;
                return true;
            }
        }
        return false;
    }
    if (!parse_op(text, &op))
        return false;
    case_add(test, op);
    return true;
}

bool case_parse(struct test_case *test, FILE *file, unsigned int *line)
{
    char text[512];

    memset(test, 0, sizeof(*test));
    for (*line = 1; fgets(text, sizeof(text), file); ++*line) {
        if (!parse_line(test, text))
            return false;
    }
    return true;
}
