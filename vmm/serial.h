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

/* As at power-on; what was to be printed is, what was typed and not read is forgotten. */
void vmm_serial_reset(struct vmm *vm);

/*
 * For the main thread, which must never wait for a vCPU that waits for the terminal: both return
 * false when the UART is busy at this moment; try again soon.
 *
 * How many typed bytes the UART would take now.
 */
bool vmm_serial_room(struct vmm_serial *serial, size_t *room);

/* Output is written a line at a time; write the unfinished line. */
bool vmm_serial_flush(struct vmm_serial *serial);

/* Give it typed bytes; what does not fit is lost. */
void vmm_serial_input(struct vmm_serial *serial, const char *bytes, size_t count);

#endif
