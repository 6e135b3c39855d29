/* SPDX-License-Identifier: MIT */
/* QEMU's edu device, driven through VFIO: it copies up to 2 KiB between memory and a buffer of its
 * own.
 */
#ifndef RIGS_EDU_H
#define RIGS_EDU_H

#include <stdbool.h>
#include <stdint.h>

#define EDU_SIZE 2048

/* The descriptor is that of the VFIO device. Each returns false when the device does not answer. */
bool edu_start(int descriptor); /* its memory and its DMA on */
bool edu_read(int descriptor, uint32_t iova);
bool edu_write(int descriptor, uint32_t iova);
void *edu_map_bar(int descriptor); /* 4 KiB of its BAR, in this process; NULL: cannot */

#endif
