/* SPDX-License-Identifier: MIT */
/**
 * @file memory.h
 * @brief Guest physical memory: ranges of guest physical addresses (GPA) and where they lie in
 *        this process.
 *
 * Lookups take no lock and may run in any thread while ranges come and go (memory hot-plug).
 */
#ifndef VIOMMU_MEMORY_H
#define VIOMMU_MEMORY_H

#include <viommu/error.h>
#include <viommu/log.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The physical memory of one guest. Opaque. */
struct viommu_memory;

/** A range may be read by devices but not written (ROM). */
#define VIOMMU_MEMORY_READONLY (1u << 0)

/** One range: [gpa, gpa + size) lies at [host, host + size) of this process. */
struct viommu_memory_range {
    uint64_t gpa;   /**< multiple of 4096 */
    uint64_t size;  /**< bytes, multiple of 4096, not 0; gpa + size must not exceed 2^52 */
    void *host;     /**< 4096-aligned; owned by the caller, mapped until the range was removed */
    uint32_t flags; /**< VIOMMU_MEMORY_* */
};

/**
 * Create an empty guest memory map.
 * @param out  receives the object; the caller ends it with viommu_memory_destroy()
 * @return 0, -ENOMEM
 */
VIOMMU_EXPORT int viommu_memory_create(struct viommu_memory **out, struct viommu_error *error);

/**
 * Destroy the map; not the memory, which is the caller's. Every object that was created with it
 * must be gone. NULL is allowed.
 */
VIOMMU_EXPORT void viommu_memory_destroy(struct viommu_memory *memory);

/**
 * Add a range. When a listener refuses it (a host that cannot map it), the listeners that had
 * accepted it are told to forget it, and the map is as before. Any thread; calls that change the
 * map are serialized.
 * @return 0, -EINVAL (alignment, size, NULL), -EEXIST (overlaps a range), -ENOMEM, or the
 *         listener's error
 */
VIOMMU_EXPORT int viommu_memory_add(struct viommu_memory *memory,
                                    const struct viommu_memory_range *range,
                                    struct viommu_error *error);

/**
 * Remove exactly the range that was added at gpa. When it returns, no lookup, DMA or mapping of
 * this library uses the range any more: it waits for those under way (see viommu_dma_map() for
 * mappings that are held longer). Not from within a callback of this library.
 * @return 0, -ENOENT (no range begins at gpa), -ENOMEM (nothing was changed)
 */
VIOMMU_EXPORT int viommu_memory_remove(struct viommu_memory *memory, uint64_t gpa,
                                       struct viommu_error *error);

/**
 * Copy from or to guest memory, by GPA; the range may cross borders of adjoining ranges. On failure
 * the bytes before the offending page may have been copied.
 * @return 0, -EFAULT (no memory there), -EACCES (write to a read-only range)
 */
VIOMMU_EXPORT int viommu_memory_read(struct viommu_memory *memory, uint64_t gpa, void *buffer,
                                     size_t length);
VIOMMU_EXPORT int viommu_memory_write(struct viommu_memory *memory, uint64_t gpa,
                                      const void *buffer, size_t length);

#ifdef __cplusplus
}
#endif
#endif
