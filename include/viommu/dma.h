/* SPDX-License-Identifier: MIT */
/**
 * @file dma.h
 * @brief What a device may do with guest memory: translate, read, write, map for a while.
 *
 * All calls may run in any number of threads at once. A call that hits the IOTLB takes no lock and
 * stores to no shared memory. An invalidation that completes has waited for every call that might
 * still be using the old translation.
 */
#ifndef VIOMMU_DMA_H
#define VIOMMU_DMA_H

#include <viommu/error.h>
#include <viommu/log.h>
#include <viommu/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The DMA address spaces of one function: one for requests without PASID, one for each PASID. */
struct viommu_dma_space;

/** A request carries no PASID. */
#define VIOMMU_PASID_NONE UINT32_MAX

/** What a request wants, and what a translation permits. */
#define VIOMMU_DMA_READ       (1u << 0)
#define VIOMMU_DMA_WRITE      (1u << 1)
#define VIOMMU_DMA_EXECUTE    (1u << 2) /**< only with a PASID */
#define VIOMMU_DMA_PRIVILEGED (1u << 3) /**< supervisor; only with a PASID */

/** The address type of a request (PCIe base spec, 10.2.1, "AT"). */
enum viommu_dma_type {
    VIOMMU_DMA_UNTRANSLATED = 0,
    VIOMMU_DMA_TRANSLATION_REQUEST = 1,
    VIOMMU_DMA_TRANSLATED = 2,
};

/**
 * One DMA request. Members that are not set stay 0; begin with VIOMMU_DMA_REQUEST_INIT. It has no
 * size, being on the path of each DMA: it never changes (export.h).
 */
struct viommu_dma_request {
    uint64_t address; /**< IOVA, bytes */
    uint64_t length;  /**< bytes; 0 only to translate or read, with READ alone and untranslated:
                         a zero-length read, which any right to the page permits */
    uint32_t pasid;   /**< 0..2^20-1, or VIOMMU_PASID_NONE */
    uint16_t requester_id; /**< as it arrives: viommu_pci_device_alias() */
    uint8_t access;        /**< VIOMMU_DMA_* bits; READ, WRITE or both at least */
    uint8_t type;          /**< enum viommu_dma_type */
};
#define VIOMMU_DMA_REQUEST_INIT                                                                    \
    {                                                                                              \
        0, 0, UINT32_MAX, 0, 0, 0                                                                  \
    }

/** Why a request was not served. */
enum viommu_dma_status {
    VIOMMU_DMA_OK = 0,
    VIOMMU_DMA_BAD_REQUEST,   /**< length 0, address + length overflows, no access bits, PASID range
                               */
    VIOMMU_DMA_BLOCKED,       /**< the IOMMU blocks this requester: no (valid) table entry for it */
    VIOMMU_DMA_UNSUPPORTED,   /**< request type that this configuration does not allow */
    VIOMMU_DMA_ADDRESS_WIDTH, /**< beyond the width that the tables translate */
    VIOMMU_DMA_NOT_PRESENT,   /**< a paging entry is not present */
    VIOMMU_DMA_PERMISSION,    /**< a paging entry forbids this access */
    VIOMMU_DMA_RESERVED,      /**< a paging or table entry has a reserved bit set, or is invalid */
    VIOMMU_DMA_TABLE_ACCESS,  /**< a table lies where there is no memory */
    VIOMMU_DMA_INTERRUPT_RANGE, /**< in the interrupt address range: not memory, send it as an MSI
                                 */
    VIOMMU_DMA_NO_MEMORY,       /**< translated, but no guest memory there */
    VIOMMU_DMA_READONLY,        /**< translated, but the guest memory is read-only */
};

/** What became of a request. Written by every call; needs no initialisation. */
struct viommu_dma_result {
    enum viommu_dma_status status;
    uint32_t fault_code;  /**< the model's own code (VT-d: fault reason), 0 when there is none */
    uint64_t gpa;         /**< where `address` lies, when status is OK */
    uint64_t length;      /**< translate: bytes from `address` on, at most the request's, that are
                               contiguous; read and write: bytes that were moved before the failure */
    uint8_t permissions;  /**< VIOMMU_DMA_READ and _WRITE, _EXECUTE that the translation gives */
    uint8_t granule_log2; /**< size of the page that served the translation, as log2 of bytes */
    uint8_t flags;        /**< VIOMMU_DMA_FLAG_*, of a translation request that is OK; else 0 */
};

/** What the completion of a translation request says besides (PCIe base spec, 10.2.3). */
#define VIOMMU_DMA_FLAG_GLOBAL            (1u << 0) /**< the same for every PASID of the function */
#define VIOMMU_DMA_FLAG_UNTRANSLATED_ONLY (1u << 1) /**< U: send untranslated requests there */
#define VIOMMU_DMA_FLAG_SNOOPED           (1u << 2) /**< N: translated requests must be snooped */

/** A short name of a status, for messages ("not-present"). Never NULL. */
VIOMMU_EXPORT const char *viommu_dma_status_name(enum viommu_dma_status status);

/**
 * An address space in which IOVA is GPA: devices behind no IOMMU. Borrow it to viommu_pci_create().
 * @param memory  borrowed; must outlive the space
 * @return 0, -ENOMEM
 */
VIOMMU_EXPORT int viommu_dma_space_create_plain(struct viommu_dma_space **out,
                                                struct viommu_memory *memory,
                                                struct viommu_error *error);

/**
 * Destroy a space that viommu_dma_space_create_plain() made, when nothing uses it and no mapping is
 * left. Those that a vIOMMU gave are the vIOMMU's. NULL is allowed.
 */
VIOMMU_EXPORT void viommu_dma_space_destroy(struct viommu_dma_space *space);

/**
 * Translate without moving bytes. As any request it may fill the IOTLB, and its walk sets accessed
 * and dirty bits in the guest's tables as the request would: leave WRITE out of access to leave
 * dirty bits alone. It does not say whether there is memory where the address lies. An answer may
 * be out of date as soon as it is given. For inspection: no fault is reported to the guest,
 * whatever the outcome. For a device TLB: type VIOMMU_DMA_TRANSLATION_REQUEST, answered as ats.h
 * says; what the tables do not allow is a fault that the guest hears of. Any thread.
 * @return 0 when result->status is OK, else -EACCES (refused by the IOMMU) or -EINVAL (malformed)
 */
VIOMMU_EXPORT int viommu_dma_translate(struct viommu_dma_space *space,
                                       const struct viommu_dma_request *request,
                                       struct viommu_dma_result *result);

/**
 * Move request->length bytes from guest memory to buffer, or from buffer to guest memory. access
 * may leave READ or WRITE out: the call adds it. Page borders are crossed; a failure in the middle
 * leaves the bytes before it moved, result->length counts them. What the IOMMU refuses is a fault
 * that the guest hears of. Any thread.
 * @return 0, -EACCES (refused by the IOMMU), -EFAULT (no memory), -EINVAL (malformed, or a
 *         translation request, which moves nothing)
 */
VIOMMU_EXPORT int viommu_dma_read(struct viommu_dma_space *space,
                                  const struct viommu_dma_request *request, void *buffer,
                                  struct viommu_dma_result *result);
VIOMMU_EXPORT int viommu_dma_write(struct viommu_dma_space *space,
                                   const struct viommu_dma_request *request, const void *buffer,
                                   struct viommu_dma_result *result);

/**
 * A piece of guest memory that a device may touch directly for a while. The first five members are
 * the library's answer; fill `revoke` and `opaque` before the call. The caller owns it; it may be
 * freed or used anew once viommu_dma_unmap() has returned. It has no size: it never changes.
 */
struct viommu_dma_mapping {
    void *host;          /**< first byte in this process */
    uint64_t length;     /**< bytes that are usable; may be less than asked: map the rest again */
    uint64_t gpa;        /**< guest physical address of the first byte */
    uint8_t permissions; /**< VIOMMU_DMA_READ, _WRITE */
    uint64_t priv[8];    /**< the library's; do not touch */
    /**
     * The guest invalidates the translation, or the memory goes away: stop using it and call
     * viommu_dma_unmap() soon, from here or any other thread; the invalidation waits for that.
     * Called at most once for a mapping, from the invalidating thread, not under a lock that
     * viommu_dma_* needs. NULL: nothing to tell, the invalidation just waits.
     *
     * To have another thread let go, tell it so and RETURN; do not wait here until it has unmapped.
     * Its viommu_dma_unmap() returns only after this callback has, so that the mapping and what
     * `opaque` points to can be freed then: each would wait for the other for ever. For the same
     * reason take no lock here that is held somewhere around viommu_dma_unmap(). The thread that
     * is to unmap must be free to do so: the invalidation holds the unit meanwhile, so attach,
     * detach, reset, register accesses and changes of guest memory wait for it in their turn.
     */
    void (*revoke)(struct viommu_dma_mapping *mapping, void *opaque);
    void *opaque;
};

/**
 * Map for a while. The mapping object must stay where it is until viommu_dma_unmap(). A thread must
 * not cause an invalidation (a write to the vIOMMU's registers, a reset) nor remove the memory
 * while it holds a mapping without revoke. Any thread.
 * @param request  access must say READ, WRITE or both: unlike viommu_dma_read(), nothing is added
 * @return 0, -EACCES (refused by the IOMMU; the guest hears of it), -EFAULT (no memory there, or
 *         read-only), -EINVAL (malformed); mapping->host is NULL then, and there is nothing to end
 */
VIOMMU_EXPORT int viommu_dma_map(struct viommu_dma_space *space,
                                 const struct viommu_dma_request *request,
                                 struct viommu_dma_mapping *mapping,
                                 struct viommu_dma_result *result);

/**
 * End it. Exactly once for each successful viommu_dma_map(). Any thread. When the callback of this
 * mapping is being called in another thread, waits until it has returned; within the callback
 * itself it does not wait.
 */
VIOMMU_EXPORT void viommu_dma_unmap(struct viommu_dma_space *space,
                                    struct viommu_dma_mapping *mapping);

#ifdef __cplusplus
}
#endif
#endif
