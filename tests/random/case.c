/* SPDX-License-Identifier: MIT */
#include "case.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const hosts[] = {"hoard", "none", "absent"};

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

static void print_dma(const struct op *op, FILE *file)
{
    fprintf(file, "dma %c ", op->arg[0] ? 'a' : 'e');
    if (op->arg[1] == UINT32_MAX)
        fprintf(file, "-");
    else
        fprintf(file, "%" PRIx64, op->arg[1]);
    fprintf(file, " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", op->arg[2], op->arg[3],
            op->arg[4], op->arg[5]);
}

static void print_op(const struct op *op, FILE *file)
{
    switch (op->kind) {
    case OP_STORE:
        fprintf(file, "store %" PRIx64 " %" PRIx64 "\n", op->arg[0], op->arg[1]);
        break;
    case OP_MODE:
        fprintf(file, "mode %s %" PRIx64 "\n", op->arg[0] ? "on" : "off", op->arg[1]);
        break;
    case OP_SETTLE:
        fprintf(file, "settle %" PRIx64 "\n", op->arg[0]);
        break;
    case OP_INVALIDATE:
        fprintf(file, "invalidate %" PRIx64 " %" PRIx64 "\n", op->arg[0], op->arg[1]);
        break;
    case OP_DMA:
        print_dma(op, file);
        break;
    }
}

void case_print(const struct test_case *test, FILE *file)
{
    fprintf(file, "unit %s\nhost %s\n", test->properties, hosts[test->host]);
    for (size_t i = 0; i < test->count; i++)
        print_op(&test->ops[i], file);
}

static bool parse_dma(const char *text, struct op *op)
{
    char who, pasid[16];

    op->kind = OP_DMA;
    if (sscanf(text, "dma %c %15s %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64, &who, pasid,
               &op->arg[2], &op->arg[3], &op->arg[4], &op->arg[5]) != 6 ||
        (who != 'a' && who != 'e'))
        return false;
    op->arg[0] = who == 'a';
    op->arg[1] = pasid[0] == '-' ? UINT32_MAX : strtoull(pasid, NULL, 16);
    return true;
}

static bool parse_op(const char *text, struct op *op)
{
    char word[8];

    memset(op, 0, sizeof(*op));
    if (sscanf(text, "store %" SCNx64 " %" SCNx64, &op->arg[0], &op->arg[1]) == 2) {
        op->kind = OP_STORE;
    } else if (sscanf(text, "mode %7s %" SCNx64, word, &op->arg[1]) == 2) {
        op->kind = OP_MODE;
        op->arg[0] = !strcmp(word, "on");
    } else if (sscanf(text, "settle %" SCNx64, &op->arg[0]) == 1) {
        op->kind = OP_SETTLE;
    } else if (sscanf(text, "invalidate %" SCNx64 " %" SCNx64, &op->arg[0], &op->arg[1]) == 2) {
        op->kind = OP_INVALIDATE;
    } else {
        return parse_dma(text, op);
    }
    return true;
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
