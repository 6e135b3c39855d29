/* SPDX-License-Identifier: MIT */
/*
 * The single ports of the machine: power-off, reset and debug exit.
 */
#ifndef VMM_PLATFORM_H
#define VMM_PLATFORM_H

struct vmm;

/* ACPI's sleep control and status registers, and its reset register (ACPI 6.5, 4.8.3.7). */
#define VMM_PORT_SLEEP_CONTROL 0x600u
#define VMM_PORT_SLEEP_STATUS  0x601u
#define VMM_PORT_RESET         0x602u
#define VMM_RESET_VALUE        0x01u
#define VMM_SLEEP_TYPE_S5      5u

#define VMM_PORT_DEBUG_EXIT       0xf4u
#define VMM_PORT_KEYBOARD_CONTROL 0x64u
#define VMM_PORT_RESET_CONTROL    0xcf9u

int vmm_platform_create(struct vmm *vm);

#endif
