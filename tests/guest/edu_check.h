/* SPDX-License-Identifier: MIT */
#ifndef GUEST_EDU_CHECK_H
#define GUEST_EDU_CHECK_H

#include "vfio.h"

#include <stddef.h>

#define EDU_IOVA 0x0a000000ull
#define BUF_SIZE (64u << 10)

/* A device under test and two buffers to map for it. */
struct edu_bench {
    struct vfio_function fn;
    int container;
    bool emulated;
    uint8_t *a, *b;
};

void check_one_edu(struct edu_bench *bench);

/* Report a failure themselves. */
bool map_buffer(int container, uint64_t iova, void *buf, uint64_t size, int access);
bool unmap_buffer(int container, uint64_t iova, uint64_t size);
bool all_bytes_are(const uint8_t *buf, size_t size, uint8_t value);

#endif
