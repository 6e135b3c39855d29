/* SPDX-License-Identifier: MIT */
/*
 * Copying between a buffer of this process and guest memory. An access of 1, 2, 4 or 8 bytes that
 * is naturally aligned in guest memory is one load or store there: a device's doorbell or index
 * never tears.
 */
#ifndef MEMORY_COPY_H
#define MEMORY_COPY_H

#include <stdint.h>
#include <string.h>

/* Guest memory has no declared type. */
typedef uint16_t __attribute__((may_alias)) guest_u16;
typedef uint32_t __attribute__((may_alias)) guest_u32;
typedef uint64_t __attribute__((may_alias)) guest_u64;
typedef uint8_t guest_u8;

#define COPY_FROM(type)                                                                            \
    do {                                                                                           \
        type value_ = __atomic_load_n((const type *)guest, __ATOMIC_ACQUIRE);                      \
        memcpy(buffer, &value_, sizeof(value_));                                                   \
    } while (0)

#define COPY_TO(type)                                                                              \
    do {                                                                                           \
        type value_;                                                                               \
        memcpy(&value_, buffer, sizeof(value_));                                                   \
        __atomic_store_n((type *)guest, value_, __ATOMIC_RELEASE);                                 \
    } while (0)

/* The size of the access when it must be a single one, else 0. */
static inline size_t copy_single(const void *guest, size_t size)
{
    if (size > 8 || (size & (size - 1)) || ((uintptr_t)guest & (size - 1)))
        return 0;
    return size;
}

static inline void copy_from_guest(void *buffer, const void *guest, size_t size)
{
    switch (copy_single(guest, size)) {
    case 1:
        COPY_FROM(guest_u8);
        break;
    case 2:
        COPY_FROM(guest_u16);
        break;
    case 4:
        COPY_FROM(guest_u32);
        break;
    case 8:
        COPY_FROM(guest_u64);
        break;
    default:
        memcpy(buffer, guest, size);
    }
}

static inline void copy_to_guest(void *guest, const void *buffer, size_t size)
{
    switch (copy_single(guest, size)) {
    case 1:
        COPY_TO(guest_u8);
        break;
    case 2:
        COPY_TO(guest_u16);
        break;
    case 4:
        COPY_TO(guest_u32);
        break;
    case 8:
        COPY_TO(guest_u64);
        break;
    default:
        memcpy(guest, buffer, size);
    }
}

#undef COPY_FROM
#undef COPY_TO

#endif
