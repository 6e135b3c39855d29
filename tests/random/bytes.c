/* SPDX-License-Identifier: MIT */
#include "bytes.h"

#include <string.h>

#include "generate.h"
#include "input.h"
#include "tables.h"

/* What an operation begins with; the number modulo BYTES_KINDS. */
enum {
    BYTES_STORE,      /* word of the tables: 2 bytes, value: 8 bytes */
    BYTES_ENTRY,      /* word: 2, page: 1, flags: 2 (bits 11:0; 12: bit 63) */
    BYTES_MODE,       /* 1: on, TTM << 1 */
    BYTES_SETTLE,     /* 1 */
    BYTES_INVALIDATE, /* quadwords: 16 */
    BYTES_ANNOUNCE,   /* a descriptor that means something: 6 */
    BYTES_DMA,        /* shape: 2, address: 8, length: 2 */
    BYTES_DMA_NEAR,   /* shape: 2, border: 1, offset: 2, length: 1 */
    BYTES_REGISTER,   /* offset / 4: 1, value: 8 */
    BYTES_INTERRUPT,  /* requester: 2, address: 4, data: 4, flags: 1 */
    BYTES_PAGE,       /* access: 1, PASID of 16: 1, address: 8, group: 2 */
    BYTES_ANSWERS,    /* bit 0: later; bit 7: a reset instead */
    BYTES_KINDS,
};

/* Words of the ROM come after those of the low memory's tables. */
static uint64_t word_address(uint64_t word)
{
    uint64_t gpa = WORLD_TABLES + word * 8;

    return gpa < WORLD_DATA ? gpa : WORLD_ROM + (gpa - WORLD_DATA) % 0x4000;
}

static uint64_t page_address(uint64_t page)
{
    static const uint64_t odd[] = {WORLD_ROM,  WORLD_HIGH, WORLD_NOWHERE, 0xfedff000,
                                   0xfee00000, 0xfef00000, 0x200000,      UINT64_C(1) << 45};

    if (page >= 0xf8)
        return odd[page - 0xf8];
    return page << 12;
}

static struct op take_entry(struct input *input)
{
    uint64_t gpa = word_address(input_take(input, 2)), page = input_take(input, 1),
             flags = input_take(input, 2);

    return (struct op){OP_STORE,
                       {gpa, page_address(page) | (flags & 0xfff) | (flags >> 12 & 1) << 63}};
}

/* Where a descriptor of 6.5.2 has its fields. A wait is none of them: it would write to memory. */
static struct op take_announcement(struct input *input)
{
    uint64_t type = input_take(input, 1), domain = input_take(input, 1) % 16;
    uint64_t who = input_take(input, 1), border = input_take(input, 1);
    uint64_t offset = input_take(input, 1), mask = input_take(input, 1);
    uint64_t function = who & 1 ? WORLD_EMULATED : WORLD_ASSIGNED;
    uint64_t pasid = world_pasids[who % world_pasid_count] & 0xfffff;
    uint64_t address = tables_border(border) + (offset << 12);
    uint64_t granularity = (type >> 3 & 3) << 4;

    switch (type & 7) {
    case 1: /* context cache */
        return (struct op){OP_INVALIDATE, {1 | granularity | domain << 16 | function << 32, 0}};
    case 3: /* device TLB */
        return (struct op){OP_INVALIDATE, {3 | function << 32, address | (mask & 1)}};
    case 0: /* device TLB by PASID */
        return (struct op){
            OP_INVALIDATE,
            {8 | function << 16 | pasid << 32, address | (mask & 1) | (mask >> 1 & 1) << 11}};
    case 5: /* page group response */
        return (struct op){
            OP_INVALIDATE,
            {9 | (mask & 1) << 4 | (mask >> 1 & 15) << 12 | function << 16 | pasid << 32,
             (border & 0x1ff) << 3}};
    default:
        return (struct op){
            OP_INVALIDATE,
            {(type & 7) | granularity | domain << 16 | pasid << 32, address | (mask & 0x7f)}};
    }
}

/* Shape: who 1 bit, how 2, type 2, access 4, PASID 4 of 16 bits. */
static struct op take_dma(struct input *input, bool near)
{
    uint64_t shape = input_take(input, 2), address, length;

    if (near) {
        address = tables_border(input_take(input, 1));
        address += input_take(input, 2);
        length = input_take(input, 1);
    } else {
        address = input_take(input, 8);
        length = input_take(input, 2) & 0x3fff;
    }
    return (struct op){OP_DMA,
                       {shape & 1, world_pasids[(shape >> 9 & 15) % world_pasid_count],
                        shape >> 5 & 15, (shape >> 3 & 3) | (shape >> 1 & 3) << 4, address,
                        length}};
}

static struct op take_of_devices(struct input *input, uint64_t kind)
{
    uint64_t first = input_take(input, kind == BYTES_INTERRUPT ? 2 : 1), second, third;

    switch (kind) {
    case BYTES_REGISTER:
        return (struct op){OP_REGISTER, {first * 4, input_take(input, 8)}};
    case BYTES_INTERRUPT:
        second = input_take(input, 4);
        third = input_take(input, 4);
        return (struct op){OP_INTERRUPT, {first, second, third, input_take(input, 1) & 3}};
    case BYTES_PAGE:
        second = world_pasids[input_take(input, 1) % world_pasid_count];
        third = input_take(input, 8);
        return (struct op){OP_PAGE_REQUEST, {second, first, third, input_take(input, 2)}};
    default:
        return first >> 7 ? (struct op){OP_RESET, {0}} : (struct op){OP_ANSWERS, {first & 1}};
    }
}

static struct op take_op(struct input *input)
{
    uint64_t kind = input_take(input, 1) % BYTES_KINDS, value;

    switch (kind) {
    case BYTES_STORE:
        value = word_address(input_take(input, 2));
        return (struct op){OP_STORE, {value, input_take(input, 8)}};
    case BYTES_ENTRY:
        return take_entry(input);
    case BYTES_MODE:
        value = input_take(input, 1);
        return (struct op){OP_MODE, {value & 1, WORLD_TABLES | (value >> 1 & 3) << 10}};
    case BYTES_SETTLE:
        return (struct op){OP_SETTLE, {input_take(input, 1) % 6}};
    case BYTES_INVALIDATE:
        value = input_take(input, 8);
        return (struct op){OP_INVALIDATE, {(value & 15) == 5 ? 0 : value, input_take(input, 8)}};
    case BYTES_ANNOUNCE:
        return take_announcement(input);
    case BYTES_DMA:
        return take_dma(input, false);
    case BYTES_DMA_NEAR:
        return take_dma(input, true);
    default:
        return take_of_devices(input, kind);
    }
}

void case_from_bytes(struct test_case *test, const uint8_t *bytes, size_t length)
{
    struct input input = {bytes, length};
    uint64_t choice = input_take(&input, 1);

    memset(test, 0, sizeof(*test));
    snprintf(test->properties, sizeof(test->properties), "%s",
             world_properties[(choice >> 2) % world_properties_count]);
    test->host = (enum case_host)((choice & 3) % 3);
    for (unsigned int i = 0; i < BYTES_OPS_MAX && input.length; i++)
        case_add(test, take_op(&input));
}

/* Writing */

static void put(FILE *file, uint64_t value, size_t n)
{
    fwrite(&value, 1, n, file);
}

static uint64_t pasid_index(uint64_t pasid)
{
    for (uint64_t i = 0; i < world_pasid_count; i++) {
        if (world_pasids[i] == pasid)
            return i;
    }
    return 0;
}

static void put_dma(const struct op *op, FILE *file)
{
    put(file, BYTES_DMA, 1);
    put(file,
        op->arg[0] | (op->arg[3] >> 4 & 3) << 1 | (op->arg[3] & 3) << 3 | (op->arg[2] & 15) << 5 |
            pasid_index(op->arg[1]) << 9,
        2);
    put(file, op->arg[4], 8);
    put(file, op->arg[5], 2);
}

static void put_of_devices(const struct op *op, FILE *file)
{
    if (op->kind == OP_REGISTER) {
        put(file, BYTES_REGISTER, 1);
        put(file, op->arg[0] / 4, 1);
        put(file, op->arg[1], 8);
    } else if (op->kind == OP_INTERRUPT) {
        put(file, BYTES_INTERRUPT, 1);
        put(file, op->arg[0], 2);
        put(file, op->arg[1], 4);
        put(file, op->arg[2], 4);
        put(file, op->arg[3], 1);
    } else if (op->kind == OP_PAGE_REQUEST) {
        put(file, BYTES_PAGE, 1);
        put(file, op->arg[1], 1);
        put(file, pasid_index(op->arg[0]), 1);
        put(file, op->arg[2], 8);
        put(file, op->arg[3], 2);
    } else {
        put(file, BYTES_ANSWERS, 1);
        put(file, op->kind == OP_RESET ? 0x80 : op->arg[0] & 1, 1);
    }
}

static void put_op(const struct op *op, FILE *file)
{
    switch (op->kind) {
    case OP_STORE:
        if (op->arg[0] < WORLD_TABLES || op->arg[0] >= WORLD_DATA)
            break;
        put(file, BYTES_STORE, 1);
        put(file, (op->arg[0] - WORLD_TABLES) / 8, 2);
        put(file, op->arg[1], 8);
        break;
    case OP_MODE:
        put(file, BYTES_MODE, 1);
        put(file, op->arg[0] | (op->arg[1] >> 10 & 3) << 1, 1);
        break;
    case OP_SETTLE:
        put(file, BYTES_SETTLE, 1);
        put(file, op->arg[0], 1);
        break;
    case OP_INVALIDATE:
        put(file, BYTES_INVALIDATE, 1);
        put(file, op->arg[0], 8);
        put(file, op->arg[1], 8);
        break;
    case OP_DMA:
        put_dma(op, file);
        break;
    default:
        put_of_devices(op, file);
    }
}

void case_to_bytes(const struct test_case *test, FILE *file)
{
    uint64_t properties = 0;

    while (properties + 1 < world_properties_count &&
           strcmp(world_properties[properties], test->properties))
        properties++;
    put(file, properties << 2 | test->host, 1);
    for (size_t i = 0; i < test->count; i++)
        put_op(&test->ops[i], file);
}
