/* SPDX-License-Identifier: MIT */
/* What a request meets around the walks (VT-d 5.0, 3.x, 4.2, 11.4.8), and how it is recorded. */
#include <string.h>

#include "oracle.h"
#include "oracle_bits.h"
#include "oracle_walk.h"

/* 3.15 */
static bool interrupt_range(uint64_t address)
{
    return address >= 0xfee00000 && address <= 0xfeefffff;
}

/* The largest aligned block around an address without an address from `low` to `high`. */
static unsigned int block_apart(uint64_t address, unsigned int most, uint64_t low, uint64_t high)
{
    while (most > 0) {
        uint64_t first = address & ~(((uint64_t)1 << most) - 1);
        uint64_t last = address | (((uint64_t)1 << most) - 1);

        if (last < low || first > high)
            return most;
        most--;
    }
    return 0;
}

static unsigned int apart_from_interrupts(uint64_t address, unsigned int most)
{
    return block_apart(address, most, 0xfee00000, 0xfeefffff);
}

static bool is_message(const struct oracle_request *request)
{
    return request->pasid == ORACLE_NO_PASID && request->type == 0 &&
           (request->access & 3) == ORACLE_WRITE && interrupt_range(request->address) &&
           request->length <= 4 && request->address % 4 + request->length <= 4;
}

static void fault(struct oracle_answer *answer, uint8_t reason)
{
    answer->verdict = ORACLE_FAULT;
    answer->reason = reason;
}

static void identity(struct oracle_answer *answer, uint64_t address, unsigned int granule)
{
    answer->verdict = ORACLE_OK;
    answer->gpa = address;
    answer->granule_log2 = granule;
    answer->permissions = ORACLE_READ | ORACLE_WRITE | ORACLE_EXECUTE;
}

/* 11.4.8: what no table translates is refused in a protected region, and cut to what lies outside.
 */
static void mind_protection(const struct oracle *oracle, uint64_t address,
                            struct oracle_answer *answer)
{
    for (unsigned int i = 0; i < 2 && oracle->registers.protecting; i++) {
        uint64_t first = oracle->registers.protected[i][0],
                 last = oracle->registers.protected[i][1];

        if (first > last)
            continue;
        if (address >= first && address <= last) {
            memset(answer, 0, sizeof(*answer));
            answer->verdict = ORACLE_UNSUPPORTED;
            return;
        }
        answer->granule_log2 = block_apart(address, answer->granule_log2, first, last);
    }
}

static void translation_off(const struct oracle *oracle, const struct oracle_request *request,
                            struct oracle_answer *answer)
{
    if (request->type != 0) {
        answer->verdict = ORACLE_UNSUPPORTED;
        return;
    }
    if (is_message(request)) {
        answer->verdict = ORACLE_INTERRUPT;
        return;
    }
    if (interrupt_range(request->address))
        identity(answer, request->address, 12);
    else
        identity(answer, request->address, apart_from_interrupts(request->address, 63));
    mind_protection(oracle, request->address, answer);
}

/* 3.9, and 9.3 for legacy mode; 4.2.4 for what was translated already. */
static void untouched(const struct oracle *oracle, const struct oracle_entry *entry,
                      const struct oracle_request *request, struct oracle_answer *answer)
{
    unsigned int width = oracle->haw;

    if (entry->legacy && request->type == 0 && 12 + 9 * entry->second_levels < width)
        width = 12 + 9 * entry->second_levels;
    if (request->address >> width) {
        fault(answer, entry->legacy ? 0x04 : 0x83);
        return;
    }
    identity(answer, request->address, width);
    if (entry->pgsnp)
        answer->flags = ORACLE_SNOOPED;
}

/* What is left of a page beside the interrupt range, in output and, without PASID, input. */
static void mind_interrupts(const struct oracle_entry *entry, const struct oracle_request *request,
                            struct oracle_answer *answer)
{
    unsigned int granule = answer->granule_log2;

    if (interrupt_range(answer->gpa)) {
        fault(answer, entry->legacy ? 0x0e : 0x87);
        return;
    }
    granule = apart_from_interrupts(answer->gpa, granule);
    if (request->pasid == ORACLE_NO_PASID)
        granule = apart_from_interrupts(request->address, granule);
    answer->granule_log2 = granule;
}

/* 4.2.3, U: what a device sends there it is to send untranslated, and it can only write. */
static void interrupts_untranslated(const struct oracle_request *request,
                                    struct oracle_answer *answer)
{
    identity(answer, request->address, 20);
    answer->permissions = ORACLE_WRITE;
    answer->flags = ORACLE_UNTRANSLATED_ONLY;
}

static void by_entry(const struct oracle *oracle, const struct oracle_entry *entry,
                     const struct oracle_request *request, struct oracle_answer *answer)
{
    bool untabled = entry->pgtt == 4 || request->type == ORACLE_TRANSLATED;

    if (request->pasid == ORACLE_NO_PASID && interrupt_range(request->address)) {
        if (request->type == ORACLE_TRANSLATION_REQUEST)
            interrupts_untranslated(request, answer);
        else
            fault(answer, entry->legacy ? 0x0e : 0x87);
        return;
    }
    if (untabled)
        untouched(oracle, entry, request, answer);
    else
        oracle_walk(oracle, entry, request, answer);
    if (answer->verdict != ORACLE_OK)
        return;
    if (!entry->ere && request->type != ORACLE_TRANSLATED)
        answer->permissions &= ~ORACLE_EXECUTE;
    mind_interrupts(entry, request, answer);
    if (untabled && answer->verdict == ORACLE_OK)
        mind_protection(oracle, request->address, answer);
}

static void translate(const struct oracle *oracle, const struct oracle_request *asked,
                      struct oracle_answer *answer)
{
    struct oracle_request own = *asked;
    const struct oracle_request *request = &own;
    struct oracle_entry entry;

    /* A zero-length read is content with any right (3.14, CAP.ZLR). */
    if (!own.length)
        own.access &= ~ORACLE_READ;
    memset(answer, 0, sizeof(*answer));
    if (!oracle->enabled) {
        translation_off(oracle, request, answer);
        return;
    }
    if (is_message(request)) {
        answer->verdict = ORACLE_INTERRUPT;
        return;
    }
    oracle_find(oracle, request->requester, request->pasid, request->type, &entry);
    answer->fault_disable = entry.fault_disable;
    if (entry.reason) {
        fault(answer, entry.reason);
        return;
    }
    answer->pgtt = entry.pgtt;
    if (own.pasid == ORACLE_NO_PASID && entry.rid_privileged)
        own.access |= ORACLE_PRIVILEGED;
    if (own.type != ORACLE_TRANSLATED && (request->access & ORACLE_EXECUTE) && !entry.ere)
        fault(answer, 0x5c);
    else if (own.type != ORACLE_TRANSLATED && (request->access & ORACLE_PRIVILEGED) && !entry.sre)
        fault(answer, 0x5d);
    else
        by_entry(oracle, &entry, request, answer);
}

/* 7.1.2: what a device is told as "not now" instead of as an error. */
static bool recoverable(uint8_t reason)
{
    static const uint8_t reasons[] = {0x05, 0x06, 0x71, 0x75, 0x76, 0x77,
                                      0x79, 0x81, 0x82, 0x85, 0x86};

    return reason && memchr(reasons, reason, sizeof(reasons));
}

/* What is asked for without the right that is missing; 0: nothing is left. */
static uint8_t ask_for_less(uint8_t access, uint8_t reason)
{
    uint8_t less = access;

    if (reason == 0x05 || reason == 0x85)
        less &= ~ORACLE_WRITE;
    else if (reason == 0x06 || reason == 0x86)
        less &= ~ORACLE_READ;
    else if (reason == 0x82)
        less &= ~ORACLE_EXECUTE;
    return less != access && (less & (ORACLE_READ | ORACLE_WRITE)) ? less : 0;
}

/* 4.2.2, 4.2.3: a page for as much as the tables permit of what is asked, perhaps nothing. */
static void translation_request(const struct oracle *oracle, const struct oracle_request *asked,
                                struct oracle_answer *answer)
{
    struct oracle_request request = *asked;
    uint8_t echoed = asked->access & (ORACLE_EXECUTE | ORACLE_PRIVILEGED);

    request.length = 4096;
    while (request.access) {
        translate(oracle, &request, answer);
        request.access =
            answer->verdict == ORACLE_FAULT ? ask_for_less(request.access, answer->reason) : 0;
    }
    if (answer->verdict == ORACLE_FAULT && recoverable(answer->reason)) {
        memset(answer, 0, sizeof(*answer));
        answer->verdict = ORACLE_OK;
        answer->gpa = asked->address;
        answer->granule_log2 = 12;
    }
    answer->permissions |= ORACLE_PRIVILEGED;
    answer->permissions &= ORACLE_READ | ORACLE_WRITE | echoed;
}

void oracle_translate(const struct oracle *oracle, const struct oracle_request *request,
                      struct oracle_answer *answer)
{
    if (request->type == ORACLE_TRANSLATION_REQUEST) {
        translation_request(oracle, request, answer);
        return;
    }
    translate(oracle, request, answer);
    answer->flags = 0;
}

bool oracle_qualified(uint8_t reason)
{
    static const uint8_t never[] = {0x01, 0x08, 0x09, 0x0a, 0x30, 0x31, 0x32, 0x33, 0x38,
                                    0x39, 0x3a, 0x40, 0x50, 0x58, 0x20, 0x21, 0x23, 0x25};

    return !memchr(never, reason, sizeof(never));
}

uint64_t oracle_record(const struct oracle *oracle, const struct oracle_request *request,
                       uint8_t reason)
{
    uint64_t record = (uint64_t)1 << 63 | (uint64_t)reason << 32 | request->requester;
    bool read = request->access & ORACLE_READ, write = request->access & ORACLE_WRITE;
    uint64_t t1 = read, t2 = read && write, at = request->type;

    if (request->type == ORACLE_PAGE_REQUEST) {
        t1 = at = 0;
        t2 = 1;
    } else if (!bit(oracle->ecap, 2)) {
        at = 0;
    } else if (request->type == ORACLE_TRANSLATION_REQUEST) {
        t1 = !write;
        t2 = 0;
    }
    record |= t1 << 62 | at << 60 | t2 << 28;
    if (request->pasid == ORACLE_NO_PASID || !bit(oracle->ecap, 40))
        return record;
    record |= (uint64_t)1 << 31 | (uint64_t)request->pasid << 40;
    if ((request->access & ORACLE_EXECUTE) && !write)
        record |= (uint64_t)1 << 30;
    if (request->access & ORACLE_PRIVILEGED)
        record |= (uint64_t)1 << 29;
    return record;
}

uint64_t oracle_record_address(const struct oracle *oracle, uint64_t address)
{
    unsigned int width = bits(oracle->cap, 21, 16) + 1;

    if (bit(oracle->ecap, 47))
        width = bit(oracle->cap, 60) ? 57 : 48;
    return bits(address, width - 1, 12) << 12;
}
