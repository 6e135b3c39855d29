/* SPDX-License-Identifier: MIT */
#include "oracle_registers.h"

#include <stddef.h>
#include <string.h>

#include "oracle_bits.h"

#define PMEN        0x64
#define EVENT_MASK  ((uint64_t)1 << 31) /* IM */
#define EVENT_WAITS ((uint64_t)1 << 30) /* IP */

/* What a register must be there for. */
enum needs {
    PROTECTION,
    REMAPPING,
    PAGE_REQUESTS
};

static const struct writable {
    unsigned int offset, size;
    enum needs needs;
    bool address; /* no wider than the host's */
    uint64_t bits;
    size_t place; /* in struct oracle_registers */
} writables[] = {
#define PLACE(name) offsetof(struct oracle_registers, name)
    {PMEN, 4, PROTECTION, false, 0x80000000, PLACE(pmen)},
    {0x68, 4, PROTECTION, false, 0xffe00000, PLACE(low_base)},
    {0x6c, 4, PROTECTION, false, 0xffe00000, PLACE(low_limit)},
    {0x70, 8, PROTECTION, true, ~(uint64_t)0x1fffff, PLACE(high_base)},
    {0x78, 8, PROTECTION, true, ~(uint64_t)0x1fffff, PLACE(high_limit)},
    {0xb8, 8, REMAPPING, true, ~(uint64_t)0x7f0, PLACE(irta)},
    {0xc0, 8, PAGE_REQUESTS, false, 0x7ffe0, PLACE(pqh)},
    {0xc8, 8, PAGE_REQUESTS, false, 0x7ffe0, PLACE(pqt)},
    {0xd0, 8, PAGE_REQUESTS, true, ~(uint64_t)0xff8, PLACE(pqa)},
    {ORACLE_PRS, 4, PAGE_REQUESTS, false, 0, PLACE(prs)},
    {ORACLE_PECTL, 4, PAGE_REQUESTS, false, EVENT_MASK, PLACE(pectl)},
};

static bool is_there(const struct oracle *oracle, enum needs needs)
{
    if (needs == PROTECTION)
        return bit(oracle->cap, 5);
    return needs == REMAPPING ? bit(oracle->ecap, 3) : bit(oracle->ecap, 29);
}

static const struct writable *find(unsigned int offset)
{
    for (size_t i = 0; i < sizeof(writables) / sizeof(writables[0]); i++) {
        if (writables[i].offset == offset)
            return &writables[i];
    }
    return NULL;
}

unsigned int oracle_register_size(unsigned int offset)
{
    const struct writable *writable = find(offset);

    if (offset == ORACLE_GCMD)
        return 4;
    return writable ? writable->size : 0;
}

void oracle_reset(struct oracle *oracle)
{
    memset(&oracle->registers, 0, sizeof(oracle->registers));
    oracle->rtaddr = 0;
    oracle->enabled = false;
    if (is_there(oracle, PAGE_REQUESTS))
        oracle->registers.pectl = EVENT_MASK;
}

/* 11.4.8: the regions are those of the moment at which they are enabled; limits reach to the end of
 * their 2 MiB. */
static void protect(struct oracle_registers *registers)
{
    bool on = registers->pmen >> 31;

    if (on && !registers->protecting) {
        registers->protected[0][0] = registers->low_base;
        registers->protected[0][1] = registers->low_limit + 0x1fffff;
        registers->protected[1][0] = registers->high_base;
        registers->protected[1][1] = registers->high_limit + 0x1fffff;
    }
    registers->protecting = on;
    registers->pmen = on ? 0x80000001 : 0; /* PRS */
}

/* 7.3: an event whose status was served is not sent any more; one that is not masked is sent. */
static void serve_event(struct oracle_registers *registers)
{
    if (!bits(registers->prs, 1, 0) || !(registers->pectl & EVENT_MASK))
        registers->pectl &= ~EVENT_WAITS;
}

void oracle_page_status(struct oracle *oracle, uint64_t bits_to_set)
{
    if (!bits(oracle->registers.prs, 1, 0))
        oracle->registers.pectl |= EVENT_WAITS;
    oracle->registers.prs |= bits_to_set;
    serve_event(&oracle->registers);
}

static void command(struct oracle *oracle, uint64_t value)
{
    if (!is_there(oracle, REMAPPING))
        return;
    if (bit(value, 24))
        oracle->registers.interrupt_table = oracle->registers.irta;
    oracle->registers.remapping = bit(value, 25);
    oracle->registers.compatibility = bit(value, 23);
}

void oracle_write(struct oracle *oracle, unsigned int offset, uint64_t value)
{
    const struct writable *writable = find(offset);
    uint64_t *at, mask;

    if (offset == ORACLE_GCMD)
        command(oracle, value);
    if (!writable || !is_there(oracle, writable->needs))
        return;
    at = (uint64_t *)((char *)&oracle->registers + writable->place);
    mask = writable->bits;
    if (writable->address)
        mask = bits(mask, oracle->haw - 1, 0);
    if (offset == 0xb8 && !bit(oracle->ecap, 4))
        mask &= ~((uint64_t)1 << 11); /* EIME */
    *at = (*at & ~mask) | (value & mask);
    if (offset == ORACLE_PRS)
        oracle->registers.prs &= ~value;
    if (offset == ORACLE_PRS || offset == ORACLE_PECTL)
        serve_event(&oracle->registers);
    if (offset == PMEN)
        protect(&oracle->registers);
}

uint64_t oracle_read(const struct oracle *oracle, unsigned int offset)
{
    const struct writable *writable = find(offset);

    return writable ? *(const uint64_t *)((const char *)&oracle->registers + writable->place) : 0;
}
