/* SPDX-License-Identifier: MIT */
/*
 * COM1: a 16550A at port 3f8h, interrupt 4.
 *
 * Locking: one lock of its own; vmm_irq_set_level() and the write to the terminal happen under
 * it, so that output keeps its order.
 */
#ifndef VMM_SERIAL_H
#define VMM_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <viommu/error.h>

struct vmm;
struct vmm_serial;

/* Create it and put it on vm->pio; sets vm->serial. */
int vmm_serial_create(struct vmm *vm, struct viommu_error *err);
void vmm_serial_destroy(struct vmm *vm);

/* How many typed bytes the UART would take now. */
size_t vmm_serial_room(struct vmm_serial *serial);
void vmm_serial_input(struct vmm_serial *serial, const char *bytes, size_t count);

/*
 * Output is written a line at a time. vmm_serial_flush() writes the unfinished line; it returns
 * whether there was one.
 */
bool vmm_serial_flush(struct vmm_serial *serial);

#endif
