/* SPDX-License-Identifier: MIT */
/* Reading and writing guest memory by GPA: structures exactly once, words singly, bytes in bulk. */
#include <endian.h>
#include <errno.h>
#include <sys/types.h>

#include "base/bits.h"
#include "base/rcu.h"
#include "memory/copy.h"
#include "memory/memory.h"

/*
 * Longest copy in one read-side section: some 2 microseconds. A grace period that has to wait for
 * longer goes to sleep for 10 milliseconds (liburcu).
 */
#define SECTION_BYTES 16384

int memory_read_once(const struct viommu_memory *memory, uint64_t gpa, void *copy, size_t size)
{
    uint64_t *to = copy;
    int ret = 0;

    rcu_enter();
    while (size) {
        uint64_t available;
        const guest_u64 *from = memory_lookup(memory, gpa, &available, NULL);

        if (!from || !is_aligned(gpa | size, sizeof(*to))) {
            ret = -EFAULT;
            break;
        }
        if (available > size)
            available = size;
        for (uint64_t i = 0; i < available / sizeof(*to); i++)
            *to++ = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
        gpa += available;
        size -= available;
    }
    rcu_exit();
    return ret;
}

/* Where one aligned word lies. Within a read-side section. */
static int find_word(const struct viommu_memory *memory, uint64_t gpa, unsigned int size,
                     bool write, void **word)
{
    uint32_t flags = 0;

    *word = is_aligned(gpa, size) ? memory_lookup(memory, gpa, NULL, &flags) : NULL;
    if (!*word)
        return -EFAULT;
    return write && flags & VIOMMU_MEMORY_READONLY ? -EACCES : 0;
}

int memory_load64(const struct viommu_memory *memory, uint64_t gpa, uint64_t *value)
{
    void *word;
    int ret;

    rcu_enter();
    ret = find_word(memory, gpa, sizeof(*value), false, &word);
    if (!ret)
        *value = le64toh(__atomic_load_n((guest_u64 *)word, __ATOMIC_ACQUIRE));
    rcu_exit();
    return ret;
}

int memory_store32(const struct viommu_memory *memory, uint64_t gpa, uint32_t value)
{
    void *word;
    int ret;

    rcu_enter();
    ret = find_word(memory, gpa, sizeof(value), true, &word);
    if (!ret)
        __atomic_store_n((guest_u32 *)word, htole32(value), __ATOMIC_RELEASE);
    rcu_exit();
    return ret;
}

int memory_store64(const struct viommu_memory *memory, uint64_t gpa, uint64_t value)
{
    void *word;
    int ret;

    rcu_enter();
    ret = find_word(memory, gpa, sizeof(value), true, &word);
    if (!ret)
        __atomic_store_n((guest_u64 *)word, htole64(value), __ATOMIC_RELEASE);
    rcu_exit();
    return ret;
}

int memory_cmpxchg64(const struct viommu_memory *memory, uint64_t gpa, uint64_t *expected,
                     uint64_t desired)
{
    guest_u64 raw = htole64(*expected);
    void *word;
    int ret;

    rcu_enter();
    ret = find_word(memory, gpa, sizeof(raw), true, &word);
    if (!ret && !__atomic_compare_exchange_n((guest_u64 *)word, &raw, htole64(desired), false,
                                             __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        *expected = le64toh(raw);
        ret = -EAGAIN;
    }
    rcu_exit();
    return ret;
}

int memory_fetch_or64(const struct viommu_memory *memory, uint64_t gpa, uint64_t bits,
                      uint64_t *old)
{
    void *word;
    int ret;

    rcu_enter();
    ret = find_word(memory, gpa, sizeof(bits), true, &word);
    if (!ret)
        *old = le64toh(__atomic_fetch_or((guest_u64 *)word, htole64(bits), __ATOMIC_SEQ_CST));
    rcu_exit();
    return ret;
}

/* Copy the longest piece that one range and one read-side section take. Bytes copied, or an error.
 */
static ssize_t copy_piece(struct viommu_memory *memory, uint64_t gpa, void *into, const void *from,
                          size_t length)
{
    uint64_t available = 0;
    uint32_t flags = 0;
    ssize_t ret = -EFAULT;
    void *guest;

    rcu_enter();
    guest = memory_lookup(memory, gpa, &available, &flags);
    if (length > SECTION_BYTES)
        length = SECTION_BYTES;
    if (length > available)
        length = available;
    if (guest && into) {
        copy_from_guest(into, guest, length);
        ret = (ssize_t)length;
    } else if (guest && flags & VIOMMU_MEMORY_READONLY) {
        ret = -EACCES;
    } else if (guest && from) {
        copy_to_guest(guest, from, length);
        ret = (ssize_t)length;
    }
    rcu_exit();
    return ret;
}

int viommu_memory_read(struct viommu_memory *memory, uint64_t gpa, void *buffer, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t piece = copy_piece(memory, gpa + done, (char *)buffer + done, NULL, length - done);

        if (piece < 0)
            return (int)piece;
        done += (size_t)piece;
    }
    return 0;
}

int viommu_memory_write(struct viommu_memory *memory, uint64_t gpa, const void *buffer,
                        size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t piece =
            copy_piece(memory, gpa + done, NULL, (const char *)buffer + done, length - done);

        if (piece < 0)
            return (int)piece;
        done += (size_t)piece;
    }
    return 0;
}
