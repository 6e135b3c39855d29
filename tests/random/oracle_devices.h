/* SPDX-License-Identifier: MIT */
/* What goes to a device with a TLB, and what it asks for (VT-d 5.0, 6.5.2.5 to 6.5.2.7, 7.4). */
#ifndef RANDOM_ORACLE_DEVICES_H
#define RANDOM_ORACLE_DEVICES_H

#include "oracle.h"

/* What a device is told. */
struct oracle_told {
    bool response; /* to a page request; otherwise an invalidation */
    uint64_t address, length;
    uint32_t pasid;
    bool global;
    uint16_t group;
    uint8_t code;
};

enum oracle_descriptor {
    ORACLE_OTHER, /* not one for devices */
    ORACLE_TELLS, /* requester and told are filled in */
    ORACLE_STOPS, /* an error of the queue */
};

enum oracle_descriptor oracle_descriptor(const struct oracle *oracle, uint64_t low, uint64_t high,
                                         uint16_t *requester, struct oracle_told *told);

struct oracle_page {
    uint64_t address;
    uint32_t pasid;
    uint16_t requester, group;
    uint8_t access;
    bool last;
};

struct oracle_page_answer {
    bool refused;  /* by the bus: nothing is sent */
    bool answered; /* at once, by the unit, with this code */
    uint8_t code;
    uint8_t reason; /* of a fault; 0: none */
    bool fault_disable;
    uint64_t written; /* GPA of the descriptor; 0: none */
};

/* What becomes of it; dry: nothing changes. Otherwise registers and copy do. */
void oracle_page_request(struct oracle *oracle, const struct oracle_page *page, bool dry,
                         struct oracle_page_answer *answer);

#endif
