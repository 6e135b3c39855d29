/* SPDX-License-Identifier: MIT */
/**
 * @file host.h
 * @brief Host IOMMUs: backends, IOAS, HWPT, host IOMMU devices and their capabilities.
 *
 * Shaped like iommufd (linux/iommufd.h): objects are 32-bit IDs of one host. Backends are reached
 * through struct viommu_host_ops, so that an embedder can bring its own. Calls may come from any
 * thread; a backend serializes what it must.
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
    char name[64]; /**< for messages; a profile's or IOMMU's name */
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
};

/**
 * Make a host out of a backend's calls.
 * @param ops  borrowed, must outlive the host
 * @return 0, -EINVAL (a mandatory call is missing), -ENOMEM
 */
VIOMMU_EXPORT int viommu_host_create(struct viommu_host **out, const struct viommu_host_ops *ops,
                                     void *opaque, const struct viommu_log *log,
                                     struct viommu_error *error);

/** Destroy a host and, through its backend, every object that is left. NULL is allowed. */
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

VIOMMU_EXPORT void viommu_host_get_stats(const struct viommu_host *host,
                                         struct viommu_host_stats *stats);

/** Bind a device, named as the backend names devices, to this host. -ENODEV, -EBUSY, ... */
VIOMMU_EXPORT int viommu_host_bind(struct viommu_host *host, const char *device,
                                   uint32_t *device_id, struct viommu_error *error);

/** Unbind: afterwards the device can do no DMA. Detaches what is still attached. */
VIOMMU_EXPORT void viommu_host_unbind(struct viommu_host *host, uint32_t device_id);

/** Allocate an I/O address space (IOAS). */
VIOMMU_EXPORT int viommu_host_ioas_alloc(struct viommu_host *host, uint32_t *ioas_id,
                                         struct viommu_error *error);

/**
 * Map [iova, iova + length) to this process's memory at host, in every HWPT of the IOAS. All
 * 4096-aligned.
 * @return 0, -EEXIST (overlap), -EINVAL (alignment, reserved range, no access, read-only in a
 * nesting parent with erratum 772415), -EOVERFLOW, -ENOMEM, -ENOENT
 */
VIOMMU_EXPORT int viommu_host_ioas_map(struct viommu_host *host, uint32_t ioas_id, uint64_t iova,
                                       void *address, uint64_t length, uint32_t flags,
                                       struct viommu_error *error);

/**
 * Unmap every mapping that lies wholly within [iova, iova + length); one that lies partly inside
 * fails the call. (0, UINT64_MAX) unmaps all. The host's caches are clean when it returns.
 * @param unmapped  receives bytes; may be NULL
 * @return 0, -ENOENT (nothing there, or a mapping would be cut)
 */
VIOMMU_EXPORT int viommu_host_ioas_unmap(struct viommu_host *host, uint32_t ioas_id, uint64_t iova,
                                         uint64_t length, uint64_t *unmapped,
                                         struct viommu_error *error);

/** The IOVAs that the IOAS can map. count: room in, needed out. -EMSGSIZE when too small. */
VIOMMU_EXPORT int viommu_host_ioas_iova_ranges(struct viommu_host *host, uint32_t ioas_id,
                                               struct viommu_host_iova_range *ranges, size_t *count,
                                               struct viommu_error *error);

/** Allocate a hardware page table. -EOPNOTSUPP: the hardware cannot; -EINVAL: inconsistent. */
VIOMMU_EXPORT int viommu_host_hwpt_alloc(struct viommu_host *host,
                                         const struct viommu_host_hwpt_options *options,
                                         uint32_t *hwpt_id, struct viommu_error *error);

/** Destroy an IOAS or a HWPT. -EBUSY while something uses it. */
VIOMMU_EXPORT int viommu_host_destroy_object(struct viommu_host *host, uint32_t id,
                                             struct viommu_error *error);

/**
 * Attach a device, or one PASID of it, to a HWPT; replaces what was attached. On failure the old
 * attachment is still there. -EINVAL: this HWPT does not fit the device's IOMMU: another one may.
 */
VIOMMU_EXPORT int viommu_host_attach(struct viommu_host *host, uint32_t device_id, uint32_t pasid,
                                     uint32_t hwpt_id, struct viommu_error *error);

/** Detach: DMA of the device (or this PASID) is blocked from now on. */
VIOMMU_EXPORT int viommu_host_detach(struct viommu_host *host, uint32_t device_id, uint32_t pasid,
                                     struct viommu_error *error);

/**
 * Invalidate the caches of a nested HWPT: `count` entries of entry_length bytes in one call.
 * @param count  in: entries; out: entries that were handled, also on failure
 */
VIOMMU_EXPORT int viommu_host_invalidate(struct viommu_host *host, uint32_t hwpt_id,
                                         enum viommu_host_data type, const void *entries,
                                         size_t entry_length, uint32_t *count,
                                         struct viommu_error *error);

/** Read what the IOMMU of a device can do. info->size is set by the caller. */
VIOMMU_EXPORT int viommu_host_hw_info(struct viommu_host *host, uint32_t device_id,
                                      struct viommu_host_hw_info *info, struct viommu_error *error);

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
/** Attach the device (or a PASID) to a HWPT, replace, detach (block). As the calls on the host. */
VIOMMU_EXPORT int viommu_host_device_attach(struct viommu_host_device *device, uint32_t pasid,
                                            uint32_t hwpt_id, struct viommu_error *error);
VIOMMU_EXPORT int viommu_host_device_detach(struct viommu_host_device *device, uint32_t pasid,
                                            struct viommu_error *error);
/** Faults of this device go to fn; -EOPNOTSUPP when the backend cannot tell them. */
VIOMMU_EXPORT int viommu_host_device_set_fault_handler(struct viommu_host_device *device,
                                                       viommu_host_fault_fn *fn, void *opaque,
                                                       struct viommu_error *error);

#ifdef __cplusplus
}
#endif
#endif
