/* SPDX-License-Identifier: MIT */
#include "oracle_devices.h"

#include <string.h>

#include "oracle_bits.h"
#include "oracle_registers.h"

/* S: the ones that the address begins with, and the zero after them, are no address bits. */
static void set_range(uint64_t address, bool s, struct oracle_told *told)
{
    unsigned int n = 12;

    told->length = 4096;
    while (s && n < 64 && bit(address, n++))
        told->length *= 2;
    if (s)
        told->length *= 2; /* 0: all there is */
    told->address = told->length ? address / told->length * told->length : 0;
}

/* 6.5.2.5 */
static bool device_tlb(uint64_t low, uint64_t high, uint16_t *requester, struct oracle_told *told)
{
    if (bits(low, 15, 4) || bits(low, 31, 21) || bits(low, 63, 48) || bits(high, 11, 1))
        return false;
    *requester = bits(low, 47, 32);
    told->pasid = ORACLE_NO_PASID;
    set_range(bits(high, 63, 12) << 12, bit(high, 0), told);
    return true;
}

/* 6.5.2.6 */
static bool pasid_device_tlb(uint64_t low, uint64_t high, uint16_t *requester,
                             struct oracle_told *told)
{
    if (bits(low, 15, 9) || bits(low, 63, 52) || bits(high, 10, 1))
        return false;
    *requester = bits(low, 31, 16);
    told->pasid = bits(low, 51, 32);
    told->global = bit(high, 0);
    set_range(bits(high, 63, 12) << 12, bit(high, 11), told);
    return true;
}

/* 6.5.2.7 */
static bool page_response(uint64_t low, uint64_t high, uint16_t *requester,
                          struct oracle_told *told)
{
    if (bits(low, 11, 5) || bits(low, 63, 52) || bits(high, 1, 0) || bits(high, 63, 12))
        return false;
    *requester = bits(low, 31, 16);
    told->response = true;
    told->pasid = bit(low, 4) ? bits(low, 51, 32) : ORACLE_NO_PASID;
    told->code = bits(low, 15, 12);
    told->group = bits(high, 11, 3);
    return true;
}

/* Whether the queue carries out anything, in this translation table mode (11.4.9). */
static bool queue_goes(const struct oracle *oracle)
{
    unsigned int mode = bits(oracle->rtaddr, 11, 10);

    return mode < 2 || (mode == 3 && bit(oracle->ecap, 52));
}

enum oracle_descriptor oracle_descriptor(const struct oracle *oracle, uint64_t low, uint64_t high,
                                         uint16_t *requester, struct oracle_told *told)
{
    bool legacy = bits(oracle->rtaddr, 11, 10) == 0, tlbs = bit(oracle->ecap, 2), fine;

    memset(told, 0, sizeof(*told));
    switch (bits(low, 3, 0)) {
    case 3:
        fine = tlbs && device_tlb(low, high, requester, told);
        break;
    case 8:
        fine = tlbs && !legacy && pasid_device_tlb(low, high, requester, told);
        break;
    case 9:
        fine = bit(oracle->ecap, 29) && !legacy && page_response(low, high, requester, told);
        break;
    default:
        return ORACLE_OTHER;
    }
    return fine && queue_goes(oracle) ? ORACLE_TELLS : ORACLE_STOPS;
}

/* PCIe base spec, 10.4.1: no rights is a stop marker, last in its group and with a PASID. */
static bool malformed(const struct oracle_page *page)
{
    bool with_pasid = page->pasid != ORACLE_NO_PASID;
    uint8_t memory = page->access & (ORACLE_READ | ORACLE_WRITE);

    return page->group > 511 || (with_pasid && page->pasid >> 20) || page->access >> 4 ||
           (!with_pasid && page->access != memory) ||
           (!memory && (page->access || !page->last || !with_pasid));
}

/* 7.4.1.1 */
static void describe(const struct oracle_page *page, uint64_t words[4])
{
    memset(words, 0, 32);
    words[0] = 1 | (uint64_t)page->requester << 16;
    if (page->pasid != ORACLE_NO_PASID)
        words[0] |= (uint64_t)1 << 8 | (uint64_t)page->pasid << 32;
    if (page->access & ORACLE_EXECUTE)
        words[0] |= (uint64_t)1 << 52;
    if (page->access & ORACLE_PRIVILEGED)
        words[0] |= (uint64_t)1 << 53;
    words[1] = bits(page->address, 63, 12) << 12 | (uint64_t)page->group << 3;
    words[1] |= (page->access & ORACLE_READ ? 1 : 0) | (page->access & ORACLE_WRITE ? 2 : 0);
    words[1] |= page->last ? 4 : 0;
}

/* 7.4, 11.4.10. Returns the response code of one that is not in the queue now, or -1. */
static int enqueue(struct oracle *oracle, const struct oracle_page *page, bool dry,
                   struct oracle_page_answer *answer)
{
    struct oracle_registers *registers = &oracle->registers;
    uint64_t size = (uint64_t)4096 << bits(registers->pqa, 2, 0), words[4];
    uint64_t tail = registers->pqt % size, next = (tail + 32) % size;
    uint64_t where = (bits(registers->pqa, 63, 12) << 12) + tail;
    bool readonly = false;
    uint8_t *at = oracle_memory(oracle, where, 32, &readonly);

    if (bit(registers->prs, 1))
        return 0;
    if (next == registers->pqh % size || !at || readonly) {
        if (!dry)
            oracle_page_status(oracle, 2); /* PRO */
        return next == registers->pqh % size ? 0 : 15;
    }
    answer->written = where;
    if (dry)
        return -1;
    describe(page, words);
    memcpy(at, words, sizeof(words));
    registers->pqt = next;
    oracle_page_status(oracle, 1); /* PPR */
    return -1;
}

/* Reasons for which the request was invalid; for others the interface fails (7.6). */
static uint8_t code_of(uint8_t reason)
{
    static const uint8_t invalid[] = {0x31, 0x32, 0x44, 0x45, 0x47};

    return memchr(invalid, reason, sizeof(invalid)) ? 1 : 15;
}

void oracle_page_request(struct oracle *oracle, const struct oracle_page *page, bool dry,
                         struct oracle_page_answer *answer)
{
    struct oracle_entry entry;
    int code = 1;

    memset(answer, 0, sizeof(*answer));
    answer->refused = !bit(oracle->ecap, 29) || malformed(page);
    if (answer->refused)
        return;
    if (oracle->enabled) {
        oracle_find(oracle, page->requester, page->pasid, ORACLE_PAGE_REQUEST, &entry);
        answer->reason = entry.reason;
        answer->fault_disable = entry.fault_disable;
        code = entry.reason ? code_of(entry.reason) : enqueue(oracle, page, dry, answer);
    }
    answer->answered = code >= 0 && page->last && page->access;
    answer->code = (uint8_t)code;
}
