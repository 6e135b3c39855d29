/* SPDX-License-Identifier: MIT */
/**
 * @file host.h
 * @brief Host IOMMUs: backends, IOAS, HWPT, host IOMMU devices and their capabilities.
 *
 * Shaped like iommufd (linux/iommufd.h): objects are 32-bit IDs of one host. Backends are reached
 * through struct viommu_host_ops, so that an embedder can bring its own.
 *
 * Calls may come from any thread, several at once; a backend serializes what it must. Only
 * viommu_host_destroy() and viommu_host_set_observer() want the host for themselves. What a
 * fault handler may call is said at viommu_host_fault_fn.
 *
 * Calls that fail return what is listed with each, or another negative errno of the backend or of
 * the observer; nothing has changed then, unless it says otherwise.
 */
#ifndef VIOMMU_HOST_H
#define VIOMMU_HOST_H

#include <viommu/dma.h>
#include <viommu/error.h>
#include <viommu/log.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_host;        /**< one host backend: "an open /dev/iommu" */
struct viommu_host_device; /**< a host IOMMU device: one attached device, and what its IOMMU can do
                            */

/** Flags of viommu_host_ioas_map(); at least one. */
#define VIOMMU_HOST_MAP_READ  (1u << 0)
#define VIOMMU_HOST_MAP_WRITE (1u << 1)

/** Flags of viommu_host_hwpt_alloc(), with the numbers of IOMMU_HWPT_ALLOC_*. */
#define VIOMMU_HOST_HWPT_NEST_PARENT    (1u << 0)
#define VIOMMU_HOST_HWPT_DIRTY_TRACKING (1u << 1)
#define VIOMMU_HOST_HWPT_FAULT_QUEUE    (1u << 2) /**< nested: page requests go to fault_queue_id */
#define VIOMMU_HOST_HWPT_PASID          (1u << 3)

/** Format of vendor data of a nested HWPT and of invalidation entries (enum iommu_hwpt_data_type).
 */
enum viommu_host_data {
    VIOMMU_HOST_DATA_NONE = 0,
    VIOMMU_HOST_DATA_VTD_S1 = 1,
};

/** A VT-d first-stage table to nest: struct iommu_hwpt_vtd_s1. */
struct viommu_host_vtd_s1 {
    uint64_t flags;      /**< VIOMMU_HOST_VTD_S1_* */
    uint64_t pgtbl_addr; /**< FSPTPTR: guest physical address of the top table, 4096-aligned */
    uint32_t addr_width; /**< 48 or 57 */
    uint32_t reserved;   /**< 0 */
};
#define VIOMMU_HOST_VTD_S1_SRE  (UINT64_C(1) << 0) /**< supervisor requests allowed */
#define VIOMMU_HOST_VTD_S1_EAFE (UINT64_C(1) << 1) /**< extended-accessed flag enable */
#define VIOMMU_HOST_VTD_S1_WPE  (UINT64_C(1) << 2) /**< write protect for supervisor */

/** Invalidate what a nested HWPT may have cached: struct iommu_hwpt_vtd_s1_invalidate. */
struct viommu_host_vtd_s1_invalidate {
    uint64_t addr;     /**< IOVA, 4096-aligned; 0 with npages = UINT64_MAX: everything */
    uint64_t npages;   /**< number of 4096-byte pages */
    uint32_t flags;    /**< VIOMMU_HOST_VTD_INV_LEAF: only leaf entries changed */
    uint32_t reserved; /**< 0 */
};
#define VIOMMU_HOST_VTD_INV_LEAF (1u << 0)

/** Whose registers viommu_host_hw_info holds (enum iommu_hw_info_type). */
enum viommu_host_iommu {
    VIOMMU_HOST_IOMMU_NONE = 0, /**< unknown or nothing to tell */
    VIOMMU_HOST_IOMMU_VTD = 1,
    VIOMMU_HOST_IOMMU_SMMUV3 = 2,
    VIOMMU_HOST_IOMMU_AMD = 4,
};

/** Quirk: read-only mappings of a nesting parent are not honoured (erratum 772415). */
#define VIOMMU_HOST_QUIRK_772415 (1u << 0)

/** What the IOMMU of a device can do. */
struct viommu_host_hw_info {
    size_t size;
    enum viommu_host_iommu type;
    uint32_t quirks;        /**< VIOMMU_HOST_QUIRK_* */
    uint64_t registers[2];  /**< VT-d: CAP, ECAP; AMD: EFR, EFR2 */
    uint8_t max_pasid_log2; /**< 0: the device has no PASID */
    bool dirty_tracking;
    char name[64];      /**< for messages; a profile's or IOMMU's name */
    bool page_requests; /**< the device can make page requests (PRI), and its IOMMU takes them */
    bool ats;           /**< the device can have a device TLB (ATS), and its IOMMU serves it */
};

/** Flags of a page request. */
#define VIOMMU_HOST_PAGE_PASID (1u << 0) /**< pasid is valid */
#define VIOMMU_HOST_PAGE_LAST  (1u << 1) /**< last of its group: answer it */

/** A page that an assigned device asks for: struct iommu_hwpt_pgfault. */
struct viommu_host_page_request {
    uint32_t flags;     /**< VIOMMU_HOST_PAGE_* */
    uint32_t device_id; /**< of viommu_host_bind() */
    uint32_t pasid;
    uint32_t group;  /**< 0..511: page request group index */
    uint32_t access; /**< VIOMMU_DMA_* */
    uint32_t reserved;
    uint64_t address; /**< IOVA, a multiple of 4096 */
    uint32_t length;  /**< bytes */
    uint32_t cookie;  /**< of the group */
};

/** The answer to a group: struct iommu_hwpt_page_response. */
struct viommu_host_page_response {
    uint32_t cookie;
    uint32_t code; /**< 0: success, the device tries again; 1: invalid */
};

/** A DMA of an assigned device that the host IOMMU refused, or whose source it blocks. */
struct viommu_host_fault {
    uint64_t address; /**< IOVA */
    uint32_t pasid;   /**< or VIOMMU_PASID_NONE */
    uint8_t access;   /**< VIOMMU_DMA_* bits */
    enum viommu_dma_status status;
};

/**
 * Called in the thread that noticed the fault, with no lock of the backend held. Detaching or
 * unbinding the device and changing its handler wait until no handler runs for it any more; so a
 * handler must not make these calls, nor wait for a lock under which somebody makes them.
 */
typedef void viommu_host_fault_fn(void *opaque, const struct viommu_host_fault *fault);

/** What viommu_host_hwpt_alloc() shall make. */
struct viommu_host_hwpt_options {
    size_t size;
    uint32_t device_id; /**< the device that it will first be attached to */
    uint32_t parent_id; /**< an IOAS: a paging HWPT; a nesting parent HWPT: a nested one */
    uint32_t flags;     /**< VIOMMU_HOST_HWPT_* */
    enum viommu_host_data data_type; /**< NONE with an IOAS */
    const void *data;                /**< struct viommu_host_vtd_s1 for VTD_S1 */
    size_t data_length;
    uint32_t fault_queue_id; /**< with VIOMMU_HOST_HWPT_FAULT_QUEUE */
};

/** An inclusive range of IOVAs. */
struct viommu_host_iova_range {
    uint64_t start;
    uint64_t last;
};

/**
 * The calls of a backend. `opaque` is the backend's. Each returns 0 or a negative errno and then
 * has changed nothing; error is never NULL. The functions of the same name below say what each
 * does.
 */
struct viommu_host_ops {
    size_t size;
    const char *name;
    void (*destroy)(void *opaque);
    int (*bind)(void *opaque, const char *device, uint32_t *device_id, struct viommu_error *error);
    void (*unbind)(void *opaque, uint32_t device_id);
    int (*ioas_alloc)(void *opaque, uint32_t *ioas_id, struct viommu_error *error);
    int (*ioas_map)(void *opaque, uint32_t ioas_id, uint64_t iova, void *host, uint64_t length,
                    uint32_t flags, struct viommu_error *error);
    int (*ioas_unmap)(void *opaque, uint32_t ioas_id, uint64_t iova, uint64_t length,
                      uint64_t *unmapped, struct viommu_error *error);
    int (*ioas_iova_ranges)(void *opaque, uint32_t ioas_id, struct viommu_host_iova_range *ranges,
                            size_t *count, struct viommu_error *error);
    int (*hwpt_alloc)(void *opaque, const struct viommu_host_hwpt_options *options,
                      uint32_t *hwpt_id, struct viommu_error *error);
    int (*destroy_object)(void *opaque, uint32_t id, struct viommu_error *error);
    int (*attach)(void *opaque, uint32_t device_id, uint32_t pasid, uint32_t hwpt_id,
                  struct viommu_error *error);
    int (*detach)(void *opaque, uint32_t device_id, uint32_t pasid, struct viommu_error *error);
    int (*invalidate)(void *opaque, uint32_t hwpt_id, enum viommu_host_data type,
                      const void *entries, size_t entry_length, uint32_t *count,
                      struct viommu_error *error);
    int (*hw_info)(void *opaque, uint32_t device_id, struct viommu_host_hw_info *info,
                   struct viommu_error *error);
    /** Optional: a backend that cannot tell unrecoverable faults leaves it NULL. fn NULL: no more.
     */
    int (*set_fault_handler)(void *opaque, uint32_t device_id, viommu_host_fault_fn *fn,
                             void *fn_opaque, struct viommu_error *error);
    /** Optional, all three or none: a backend that cannot deliver page requests leaves them NULL.
     */
    int (*fault_queue_alloc)(void *opaque, uint32_t *queue_id, int *descriptor,
                             struct viommu_error *error);
    int (*fault_queue_read)(void *opaque, uint32_t queue_id,
                            struct viommu_host_page_request *requests, size_t *count,
                            struct viommu_error *error);
    int (*fault_queue_respond)(void *opaque, uint32_t queue_id,
                               const struct viommu_host_page_response *response,
                               struct viommu_error *error);
};

/**
 * Make a host out of a backend's calls.
 * @param ops     copied; ops->name is borrowed until the host is destroyed
 * @param opaque  given to each call of the backend; ops->destroy ends it. When this function fails,
 *                it is still the caller's.
 * @param log     copied; may be NULL
 * @return 0, -EINVAL (out or ops NULL, a mandatory call is missing, no size), -E2BIG (ops has calls
 *         that this library does not know), -ENOMEM
 */
VIOMMU_EXPORT int viommu_host_create(struct viommu_host **out, const struct viommu_host_ops *ops,
                                     void *opaque, const struct viommu_log *log,
                                     struct viommu_error *error);

/**
 * Destroy a host and, through its backend, every object that is left. No other thread may be in a
 * call on it, and what borrowed it (viommu_assign_create()) must be gone. NULL is allowed.
 */
VIOMMU_EXPORT void viommu_host_destroy(struct viommu_host *host);

/** One call to the host, as an observer sees it. */
enum viommu_host_call {
    VIOMMU_HOST_CALL_BIND,
    VIOMMU_HOST_CALL_UNBIND,
    VIOMMU_HOST_CALL_IOAS_ALLOC,
    VIOMMU_HOST_CALL_IOAS_MAP,
    VIOMMU_HOST_CALL_IOAS_UNMAP,
    VIOMMU_HOST_CALL_IOAS_IOVA_RANGES,
    VIOMMU_HOST_CALL_HWPT_ALLOC,
    VIOMMU_HOST_CALL_DESTROY_OBJECT,
    VIOMMU_HOST_CALL_ATTACH,
    VIOMMU_HOST_CALL_DETACH,
    VIOMMU_HOST_CALL_INVALIDATE,
    VIOMMU_HOST_CALL_HW_INFO,
    VIOMMU_HOST_CALL_SET_FAULT_HANDLER,
    VIOMMU_HOST_CALL_FAULT_QUEUE_ALLOC,
    VIOMMU_HOST_CALL_FAULT_QUEUE_READ,
    VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND,
    VIOMMU_HOST_CALL_COUNT /**< known to this header; later ones know more */
};

/** The name of a call ("hwpt_alloc"). Never NULL. */
VIOMMU_EXPORT const char *viommu_host_call_name(enum viommu_host_call call);

/**
 * Sees every call before it is made: to trace, to count, and to test failure paths. A negative
 * errno makes the call fail with it, without reaching the backend; what cannot fail (unbind)
 * ignores the answer.
 */
typedef int viommu_host_observer_fn(void *opaque, enum viommu_host_call call);

/** Set the observer, or none. Not while other threads use the host. */
VIOMMU_EXPORT void viommu_host_set_observer(struct viommu_host *host, viommu_host_observer_fn *fn,
                                            void *opaque);

/** Room for calls in the statistics: more than there are, so that none moves when one is added. */
#define VIOMMU_HOST_CALL_ROOM 32

/** How often each call was made, and how often it failed. The caller sets size. */
struct viommu_host_stats {
    size_t size;
    uint64_t calls[VIOMMU_HOST_CALL_ROOM];    /**< by enum viommu_host_call */
    uint64_t failures[VIOMMU_HOST_CALL_ROOM]; /**< by enum viommu_host_call */
    uint64_t invalidate_entries;              /**< entries handed over in all invalidate calls */
    uint64_t nested_allocated;                /**< nested HWPTs created */
    uint64_t nested_destroyed;                /**< nested HWPTs freed */
};

/**
 * Read the counters. Any thread; each is exact, but they are not of one moment.
 * @param stats  size set by the caller; nothing is written beyond it, and counters that this
 *               library does not have become 0
 */
VIOMMU_EXPORT void viommu_host_get_stats(const struct viommu_host *host,
                                         struct viommu_host_stats *stats);

/**
 * Bind a device, named as the backend names devices, to this host. Until it is attached it can do
 * no DMA.
 * @param device_id  receives its ID; the caller ends it with viommu_host_unbind()
 * @return 0, -EINVAL (no name), -ENODEV (no such device), -EBUSY (bound already), -ENOSPC (no ID is
 *         left), -ENOMEM
 */
VIOMMU_EXPORT int viommu_host_bind(struct viommu_host *host, const char *device,
                                   uint32_t *device_id, struct viommu_error *error);

/**
 * Unbind: afterwards the device can do no DMA. Detaches what is still attached, and waits until no
 * fault handler runs for it. Cannot fail; an unknown ID is ignored.
 */
VIOMMU_EXPORT void viommu_host_unbind(struct viommu_host *host, uint32_t device_id);

/**
 * Allocate an I/O address space (IOAS). The caller ends it with viommu_host_destroy_object().
 * @return 0, -ENOSPC (no ID is left), -ENOMEM
 */
VIOMMU_EXPORT int viommu_host_ioas_alloc(struct viommu_host *host, uint32_t *ioas_id,
                                         struct viommu_error *error);

/**
 * Map [iova, iova + length) to this process's memory at `address`, in every HWPT of the IOAS. All
 * three are multiples of 4096.
 * @param address  borrowed: mapped in this process until the IOVAs were unmapped
 * @param flags    VIOMMU_HOST_MAP_*; at least one
 * @return 0, -EEXIST (overlap), -EINVAL (alignment, length 0, address NULL, reserved range, no or
 *         unknown flags, read-only in a nesting parent with erratum 772415), -EOVERFLOW (beyond 64
 *         bits), -ENOMEM, -ENOENT (no such IOAS)
 */
VIOMMU_EXPORT int viommu_host_ioas_map(struct viommu_host *host, uint32_t ioas_id, uint64_t iova,
                                       void *address, uint64_t length, uint32_t flags,
                                       struct viommu_error *error);

/**
 * Unmap every mapping that lies wholly within [iova, iova + length); one that lies partly inside
 * fails the call. (0, UINT64_MAX) unmaps all. The host's caches are clean when it returns.
 * @param unmapped  receives bytes, 0 on failure; may be NULL
 * @return 0, -ENOENT (nothing there, a mapping would be cut, or no such IOAS), -EINVAL (alignment,
 *         length 0), -EOVERFLOW (beyond 64 bits)
 */
VIOMMU_EXPORT int viommu_host_ioas_unmap(struct viommu_host *host, uint32_t ioas_id, uint64_t iova,
                                         uint64_t length, uint64_t *unmapped,
                                         struct viommu_error *error);

/**
 * The IOVAs that the IOAS can map, in ascending order.
 * @param ranges  may be NULL when there is no room
 * @param count   in: room; out: ranges that there are, also when the room was too small
 * @return 0, -EMSGSIZE (too little room), -EINVAL (room without ranges, count NULL), -ENOENT (no
 *         such IOAS)
 */
VIOMMU_EXPORT int viommu_host_ioas_iova_ranges(struct viommu_host *host, uint32_t ioas_id,
                                               struct viommu_host_iova_range *ranges, size_t *count,
                                               struct viommu_error *error);

/**
 * Allocate a hardware page table. The caller ends it with viommu_host_destroy_object().
 * @param options  copied, with the vendor data
 * @return 0, -EOPNOTSUPP (the hardware cannot: flags, nesting, vendor data), -EINVAL (inconsistent:
 *         parent, flags, alignment, vendor data without its type; no size), -E2BIG (options or
 *         vendor data use what is not known), -ENOENT (no such device), -ENOSPC (no ID is left),
 *         -ENOMEM
 */
VIOMMU_EXPORT int viommu_host_hwpt_alloc(struct viommu_host *host,
                                         const struct viommu_host_hwpt_options *options,
                                         uint32_t *hwpt_id, struct viommu_error *error);

/**
 * Destroy an IOAS or a HWPT.
 * @return 0, -EBUSY (something uses it, or it is a bound device), -ENOENT (no such object)
 */
VIOMMU_EXPORT int viommu_host_destroy_object(struct viommu_host *host, uint32_t id,
                                             struct viommu_error *error);

/**
 * Attach a device, or one PASID of it, to a HWPT; replaces what was attached. On failure the old
 * attachment is still there.
 * @param pasid  0..2^20-1, or VIOMMU_PASID_NONE: requests without PASID
 * @return 0, -EINVAL (this HWPT does not fit the device's IOMMU: another one may; PASID out of
 *         range), -ENOENT (no such device or HWPT), -ENODEV (the device was removed, or makes no
 * page requests and the HWPT wants them), -EADDRINUSE (memory is mapped where the device translates
 * none), -EBUSY (it is being reset), -ENOMEM
 */
VIOMMU_EXPORT int viommu_host_attach(struct viommu_host *host, uint32_t device_id, uint32_t pasid,
                                     uint32_t hwpt_id, struct viommu_error *error);

/**
 * Detach: DMA of the device (or this PASID) is blocked when it returns. Waits until no fault
 * handler runs for the device. What is not attached is no error.
 * @return 0, -EINVAL (PASID out of range), -ENOENT (no such device)
 */
VIOMMU_EXPORT int viommu_host_detach(struct viommu_host *host, uint32_t device_id, uint32_t pasid,
                                     struct viommu_error *error);

/**
 * Invalidate the caches of a nested HWPT: `count` entries of entry_length bytes in one call. When
 * it returns, no DMA uses what was invalidated.
 * @param count  in: entries; out: entries that were handled, also on failure
 * @return 0, -ENOENT (no such HWPT), -EINVAL (not nested, another type, entry length, alignment, no
 *         entries, too many), -EOPNOTSUPP (unknown flags), -E2BIG (entries use what is not known)
 */
VIOMMU_EXPORT int viommu_host_invalidate(struct viommu_host *host, uint32_t hwpt_id,
                                         enum viommu_host_data type, const void *entries,
                                         size_t entry_length, uint32_t *count,
                                         struct viommu_error *error);

/**
 * Read what the IOMMU of a device can do.
 * @param info  size set by the caller; nothing is written beyond it
 * @return 0, -EINVAL (size too small), -ENOENT (no such device)
 */
VIOMMU_EXPORT int viommu_host_hw_info(struct viommu_host *host, uint32_t device_id,
                                      struct viommu_host_hw_info *info, struct viommu_error *error);

/**
 * Allocate a queue for page requests of devices whose nested HWPTs name it. The caller ends it with
 * viommu_host_destroy_object(), after those HWPTs.
 * @param descriptor  receives one that poll() finds readable while there are requests; the queue's
 * @return 0, -EOPNOTSUPP (the backend has none), -ENOSPC (no ID is left), -ENOMEM
 */
VIOMMU_EXPORT int viommu_host_fault_queue_alloc(struct viommu_host *host, uint32_t *queue_id,
                                                int *descriptor, struct viommu_error *error);

/**
 * Take requests out of a queue. Does not wait.
 * @param count  in: room; out: requests, 0 when there are none, or on failure
 * @return 0, -EOPNOTSUPP, -ENOENT (no such queue)
 */
VIOMMU_EXPORT int viommu_host_fault_queue_read(struct viommu_host *host, uint32_t queue_id,
                                               struct viommu_host_page_request *requests,
                                               size_t *count, struct viommu_error *error);

/**
 * Answer a group, of which the last request was read. The host itself answers "invalid" when the
 * device is detached from the HWPT, or attached to another.
 * @return 0, -EOPNOTSUPP, -ENOENT (no such queue), -EINVAL (nothing with this cookie waits; code)
 */
VIOMMU_EXPORT int viommu_host_fault_queue_respond(struct viommu_host *host, uint32_t queue_id,
                                                  const struct viommu_host_page_response *response,
                                                  struct viommu_error *error);

/**
 * The host IOMMU device of a bound, attached device: what assign hands to a vIOMMU, and what a
 * vIOMMU of the embedder's own may use. Created by viommu_assign_attach().
 */
VIOMMU_EXPORT struct viommu_host *viommu_host_device_host(const struct viommu_host_device *device);
VIOMMU_EXPORT uint32_t viommu_host_device_id(const struct viommu_host_device *device);
/** Capabilities, read once when the object was realized. Borrowed. */
VIOMMU_EXPORT const struct viommu_host_hw_info *
viommu_host_device_info(const struct viommu_host_device *device);
/** The HWPT that translates GPA to HPA, and the IOAS below it. */
VIOMMU_EXPORT uint32_t viommu_host_device_parent_hwpt(const struct viommu_host_device *device);
VIOMMU_EXPORT uint32_t viommu_host_device_ioas(const struct viommu_host_device *device);
/** Whether that HWPT was allocated as a nesting parent. */
VIOMMU_EXPORT bool viommu_host_device_is_nest_parent(const struct viommu_host_device *device);
/**
 * Attach the device (or a PASID) to a HWPT, replace, detach (block).
 * @return as the calls on the host; -ENODEV when the device was unbound because the host refused to
 *         detach it: it is blocked, and stays so until it is assigned anew
 */
VIOMMU_EXPORT int viommu_host_device_attach(struct viommu_host_device *device, uint32_t pasid,
                                            uint32_t hwpt_id, struct viommu_error *error);
VIOMMU_EXPORT int viommu_host_device_detach(struct viommu_host_device *device, uint32_t pasid,
                                            struct viommu_error *error);
/**
 * The host refused to detach the device, and the library has given up its own descriptor of it,
 * which ends its DMA for certain only when there is no other: whoever holds one closes it, with
 * what is mapped by it, and detaches the device from the guest. Called at most once, in the thread
 * that found out, inside the library: no call to the library is allowed, only a note to do so soon.
 */
typedef void viommu_host_lost_fn(void *opaque);
/**
 * fn, in place of an earlier one, is told of that; at once when it has happened before. NULL:
 * nobody. Waits until no earlier handler runs. Any thread.
 */
VIOMMU_EXPORT void viommu_host_device_set_lost_handler(struct viommu_host_device *device,
                                                       viommu_host_lost_fn *fn, void *opaque);
/**
 * Faults of this device go to fn, in place of an earlier one; NULL: nowhere. Waits until no earlier
 * handler runs.
 * @return 0, -EOPNOTSUPP (the backend cannot tell them), -ENOENT, -ENODEV (as above)
 */
VIOMMU_EXPORT int viommu_host_device_set_fault_handler(struct viommu_host_device *device,
                                                       viommu_host_fault_fn *fn, void *opaque,
                                                       struct viommu_error *error);

#ifdef __cplusplus
}
#endif
#endif
