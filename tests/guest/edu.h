/* SPDX-License-Identifier: MIT */
/* The edu device as its users see it; register layout as QEMU documents it (docs/specs/edu). */
#ifndef GUEST_EDU_H
#define GUEST_EDU_H

#include "vfio.h"

#define EDU_BUFFER_SIZE 4096
#define EDU_CHUNK       2048 /* QEMU 7.2 aborts on transfers of the whole buffer */
#define EDU_IRQ_DMA     0x100

uint32_t edu_read(const struct vfio_function *fn, unsigned reg);
void edu_write(const struct vfio_function *fn, unsigned reg, uint32_t value);

#define EDU_ID         0x00
#define EDU_LIVENESS   0x04
#define EDU_FACTORIAL  0x08
#define EDU_STATUS     0x20
#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_RAISE  0x60
#define EDU_IRQ_ACK    0x64

#define EDU_STATUS_COMPUTING 0x01

/* Both return false when the transfer has not ended after five seconds. */
bool edu_from_memory(const struct vfio_function *fn, uint64_t iova, unsigned at, unsigned size);
bool edu_to_memory(const struct vfio_function *fn, uint64_t iova, unsigned at, unsigned size);
/* As edu_to_memory, and raises an interrupt at the end; does not wait. */
void edu_to_memory_irq(const struct vfio_function *fn, uint64_t iova, unsigned at, unsigned size);
bool edu_wait(const struct vfio_function *fn, unsigned reg, uint32_t mask);

#endif
