/* SPDX-License-Identifier: MIT */
/*
 * Linux without EFI has no other way to reboot a machine with hardware-reduced ACPI: it uses
 * neither the reset register nor the keyboard controller (arch/x86/kernel/reboot.c,
 * reboot_init()), it jumps to the reset vector in real mode.
 */
#include "boot.h"
#include "platform.h"
#include <string.h>

#define RESET_VECTOR 0xffff0u /* f000:fff0 */

/* mov $VMM_RESET_VALUE, %al; mov $VMM_PORT_RESET, %dx; out %al, %dx; hlt; jmp to the hlt */
static const uint8_t reset_code[] = {
    0xb0, VMM_RESET_VALUE, 0xba, VMM_PORT_RESET & 0xff, VMM_PORT_RESET >> 8, 0xee, 0xf4, 0xeb, 0xfd,
};

void vmm_rom_put(struct vmm *vm)
{
    memcpy(vmm_ram_at(vm, RESET_VECTOR, sizeof(reset_code)), reset_code, sizeof(reset_code));
}
