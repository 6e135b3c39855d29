/* SPDX-License-Identifier: MIT */
#include "oracle_interrupt.h"

#include <string.h>

#include "oracle_bits.h"

/* One request, with what it finds on its way. */
struct job {
    const struct oracle *oracle;
    const struct oracle_message *message;
    struct oracle_delivery *delivery;
    uint64_t low, high; /* the table entry */
    bool extended;      /* EIME: destinations of 32 bits */
};

/* 9.9: bits that no remapped entry may have, and values that mean nothing. */
static bool remapped_reserved(const struct job *job)
{
    unsigned int mode = bits(job->low, 7, 5);

    if (bits(job->low, 15, 12) || bits(job->low, 31, 24) || bits(job->high, 63, 20))
        return true;
    if (!job->extended && (bits(job->low, 39, 32) || bits(job->low, 63, 48)))
        return true;
    return mode == 3 || mode == 6;
}

/* 9.10 */
static bool posted_reserved(const struct job *job)
{
    return bits(job->low, 7, 2) || bits(job->low, 13, 12) || bits(job->low, 37, 24) ||
           bits(job->high, 31, 20);
}

/* 9.9, SVT and SQ */
static bool source_differs(const struct job *job)
{
    unsigned int svt = bits(job->high, 19, 18), sq = bits(job->high, 17, 16);
    unsigned int sid = bits(job->high, 15, 0), from = job->message->requester;
    unsigned int function = 7;

    if (job->message->ioapic && job->oracle->any_source)
        return false;
    if (svt == 2)
        return from / 256 < sid / 256 || from / 256 > sid % 256;
    if (svt != 1)
        return false;
    if (sq == 1)
        function = 3; /* without bit 2 */
    else if (sq == 2)
        function = 1;
    else if (sq == 3)
        function = 0;
    return from / 8 != sid / 8 || (from & function) != (sid & function);
}

static uint8_t remap(const struct job *job)
{
    struct oracle_delivery *delivery = job->delivery;

    delivery->outcome = ORACLE_REMAPPED;
    delivery->destination = job->extended ? bits(job->low, 63, 32) : bits(job->low, 47, 40);
    delivery->vector = bits(job->low, 23, 16);
    delivery->mode = bits(job->low, 7, 5);
    delivery->level = bit(job->low, 4);
    delivery->hint = bit(job->low, 3);
    delivery->logical = bit(job->low, 2);
    return 0;
}

static void notify(const struct job *job, uint64_t control)
{
    uint64_t destination = bits(control, 63, 32);

    job->delivery->outcome = ORACLE_NOTIFIED;
    job->delivery->vector = bits(control, 23, 16);
    job->delivery->destination = job->extended ? destination : bits(destination, 15, 8);
}

/* 5.2.3: the vector's bit, then ON and a notification where one is due. */
static uint8_t post(const struct job *job)
{
    uint64_t where = bits(job->high, 63, 32) << 32 | bits(job->low, 63, 38) << 6;
    uint64_t words[8];
    unsigned int vector = bits(job->low, 23, 16);
    bool readonly = false, urgent = bit(job->low, 14);
    uint8_t *at = oracle_memory(job->oracle, where, sizeof(words), &readonly);

    if (!at)
        return 0x27;
    memcpy(words, at, sizeof(words));
    if (bits(words[4], 15, 2) || bits(words[4], 31, 24) || words[5] || words[6] || words[7])
        return 0x28;
    job->delivery->outcome = ORACLE_POSTED;
    job->delivery->descriptor = where;
    if (job->message->lookup)
        return 0;
    if (readonly)
        return 0x27;
    words[vector / 64] |= (uint64_t)1 << vector % 64;
    if (!bit(words[4], 0) && (urgent || !bit(words[4], 1))) {
        words[4] |= 1;
        notify(job, words[4]);
    }
    memcpy(at, words, sizeof(words));
    return 0;
}

/* 5.1.3 */
static uint8_t by_entry(struct job *job)
{
    uint64_t table = bits(job->oracle->registers.interrupt_table, 63, 12) << 12;
    bool posted;

    if (!oracle_load(job->oracle, table + job->delivery->index * 16, &job->low) ||
        !oracle_load(job->oracle, table + job->delivery->index * 16 + 8, &job->high))
        return 0x23;
    job->delivery->fault_disable = bit(job->low, 1);
    if (!bit(job->low, 0))
        return 0x22;
    posted = bit(job->oracle->cap, 59) && bit(job->low, 15);
    if (bits(job->high, 19, 18) == 3 || (posted ? posted_reserved(job) : remapped_reserved(job)))
        return 0x24;
    if (source_differs(job))
        return 0x26;
    return posted ? post(job) : remap(job);
}

/* 5.1.2.2 */
static uint8_t remappable(struct job *job)
{
    uint64_t address = job->message->address;
    uint64_t index = bit(address, 2) << 15 | bits(address, 19, 5);
    uint64_t entries = (uint64_t)2 << bits(job->oracle->registers.interrupt_table, 3, 0);

    if (bit(address, 3)) {
        if (bits(job->message->data, 31, 16)) {
            job->delivery->index = (uint16_t)index;
            return 0x20;
        }
        index += bits(job->message->data, 15, 0);
    }
    job->delivery->index = (uint16_t)index;
    return index < entries ? by_entry(job) : 0x21;
}

void oracle_interrupt(const struct oracle *oracle, const struct oracle_message *message,
                      struct oracle_delivery *delivery)
{
    const struct oracle_registers *registers = &oracle->registers;
    struct job job = {oracle, message, delivery, 0, 0, bit(registers->interrupt_table, 11)};

    memset(delivery, 0, sizeof(*delivery));
    if (!registers->remapping || message->address >> 20 != 0xfee)
        return;
    if (bit(message->address, 4))
        delivery->reason = remappable(&job);
    else if (job.extended || !registers->compatibility)
        delivery->reason = 0x25;
    if (delivery->reason)
        delivery->outcome = ORACLE_BLOCKED;
}
