/* SPDX-License-Identifier: MIT */
/* The local APIC in xAPIC mode: Intel SDM vol. 3, "Local APIC Registers". */
#include "bare.h"

#define APIC         0xfee00000u
#define APIC_EOI     0xb0u
#define APIC_SVR     0xf0u
#define APIC_ENABLED 0x100u
#define SPURIOUS     0xffu

#define FIRST_VECTOR 0x20u /* below there are exceptions */
#define VECTORS      256u
#define CODE_SEGMENT 0x10u
#define GATE         0x8e00u /* present, of 32 bits, interrupts off */

static struct gate {
    uint16_t low, selector, flags, high;
} gates[VECTORS] __attribute__((aligned(8)));

static volatile uint32_t taken[VECTORS];

void interrupt_came(uint32_t vector)
{
    taken[vector]++;
    write32(APIC + APIC_EOI, 0);
}

void apic_on(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) table = {sizeof(gates) - 1, (uint32_t)gates};

    load_segments();
    for (uint32_t i = FIRST_VECTOR; i < VECTORS; i++) {
        uint32_t entry = (uint32_t)interrupt_entries[i - FIRST_VECTOR];

        gates[i] = (struct gate){(uint16_t)entry, CODE_SEGMENT, GATE, (uint16_t)(entry >> 16)};
    }
    __asm__ volatile("lidt %0" : : "m"(table));
    write32(APIC + APIC_SVR, APIC_ENABLED | SPURIOUS);
}

uint32_t apic_taken(uint32_t vector, uint32_t *others)
{
    uint32_t count;

    /* A message is with the APIC when the write that made the device send it is done. */
    __asm__ volatile("sti");
    for (uint32_t i = 0; i < 1000; i++)
        __asm__ volatile("pause");
    __asm__ volatile("cli");
    *others = 0;
    for (uint32_t i = 0; i < VECTORS; i++)
        *others += i == vector ? 0 : taken[i];
    count = taken[vector];
    for (uint32_t i = 0; i < VECTORS; i++)
        taken[i] = 0;
    return count;
}
