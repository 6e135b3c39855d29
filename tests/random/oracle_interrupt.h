/* SPDX-License-Identifier: MIT */
/* Interrupt requests, remapped and posted (VT-d 5.0, 5.1, 5.2, 9.9 to 9.11). */
#ifndef RANDOM_ORACLE_INTERRUPT_H
#define RANDOM_ORACLE_INTERRUPT_H

#include "oracle.h"

struct oracle_message {
    uint64_t address;
    uint32_t data;
    uint16_t requester;
    bool ioapic;
    bool lookup; /* nothing is posted */
};

/* Numbers of viommu/interrupt.h. */
enum oracle_outcome {
    ORACLE_PASSED,
    ORACLE_REMAPPED,
    ORACLE_NOTIFIED,
    ORACLE_POSTED,
    ORACLE_BLOCKED,
};

struct oracle_delivery {
    enum oracle_outcome outcome;
    uint8_t reason;
    bool fault_disable; /* FPD of the entry */
    uint16_t index;
    uint32_t destination;
    uint8_t vector, mode;
    bool logical, hint, level;
    uint64_t descriptor; /* where it is posted to; 0: nowhere */
};

/* What becomes of it; posts into the copy. */
void oracle_interrupt(const struct oracle *oracle, const struct oracle_message *message,
                      struct oracle_delivery *delivery);

#endif
