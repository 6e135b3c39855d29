/* SPDX-License-Identifier: MIT */
/* Registers of protected memory, interrupt remapping and page requests (VT-d 5.0, 11.4). */
#ifndef RANDOM_ORACLE_REGISTERS_H
#define RANDOM_ORACLE_REGISTERS_H

#include "oracle.h"

#define ORACLE_GCMD  0x18
#define ORACLE_PRS   0xdc
#define ORACLE_PECTL 0xe0

/* Of GCMD_REG: IRE, SIRTP, CFI. */
#define ORACLE_INTERRUPT_COMMANDS (UINT64_C(7) << 23)

/* As after a reset of the unit. */
void oracle_reset(struct oracle *oracle);
/* Bytes of a register that oracle_write() knows; 0: none. */
unsigned int oracle_register_size(unsigned int offset);
/* Of GCMD_REG only the interrupt's bits are looked at. */
void oracle_write(struct oracle *oracle, unsigned int offset, uint64_t value);
uint64_t oracle_read(const struct oracle *oracle, unsigned int offset);
/* Set status bits of PRS_REG, with the event that announces the first of them. */
void oracle_page_status(struct oracle *oracle, uint64_t bits_to_set);

#endif
