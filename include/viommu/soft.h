/* SPDX-License-Identifier: MIT */
/**
 * @file soft.h
 * @brief The simulated host: a backend with IOMMUs, page tables, a translation cache and PCI
 * devices of its own.
 *
 * It behaves as the hardware and kernel of a real machine would, without needing one; what it can
 * do comes from a profile. Its walk shares no code with the vIOMMU models.
 */
#ifndef VIOMMU_SOFT_H
#define VIOMMU_SOFT_H

#include <viommu/ats.h>
#include <viommu/host.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Number of built-in profiles, and the name of one ("sapphire-rapids"); NULL beyond the end. */
VIOMMU_EXPORT size_t viommu_soft_profile_count(void);
VIOMMU_EXPORT const char *viommu_soft_profile_name(size_t index);

/** One line about a profile for people ("Intel, VT-d 6.0, nests, PASID 20 bits"). NULL: unknown
 * name. */
VIOMMU_EXPORT const char *viommu_soft_profile_description(const char *name);

/** How long the translation cache keeps what it has learnt. */
enum viommu_soft_cache {
    VIOMMU_SOFT_CACHE_HOARD, /**< until told otherwise: a missing invalidation is seen. At
                                  cache_limit it says so once by the log and forgets everything. */
    VIOMMU_SOFT_CACHE_NONE,  /**< caches nothing */
};

/** Entries that a hoarding cache holds unless told otherwise; each takes about 80 bytes. */
#define VIOMMU_SOFT_CACHE_LIMIT (UINT64_C(1) << 20)

/** Options. Begin with VIOMMU_SOFT_OPTIONS_INIT. */
struct viommu_soft_options {
    size_t size;
    const char *profile; /**< NULL: "granite-rapids" */
    enum viommu_soft_cache cache;
    struct viommu_log log;
    /** Used instead of `profile` when not NULL: registers, quirks and PASID width of the tests'
     * making. */
    const struct viommu_host_hw_info *custom;
    /** Entries (of 4096 bytes of IOVA each) that the caches of all HWPTs together may hold: a guest
     * decides how many it uses. 0: VIOMMU_SOFT_CACHE_LIMIT. Threads that insert at the same moment
     * may each exceed it by one. */
    uint64_t cache_limit;
};
#define VIOMMU_SOFT_OPTIONS_INIT                                                                   \
    {                                                                                              \
        sizeof(struct viommu_soft_options), 0, VIOMMU_SOFT_CACHE_HOARD, {0, 0, VIOMMU_LOG_NONE},   \
            0, 0                                                                                   \
    }

/**
 * Create a simulated host. End it with viommu_host_destroy().
 * @param options  NULL: the defaults; copied, with what they point to
 * @return 0, -ENOENT (unknown profile; the message lists the known ones), -EINVAL (cache mode,
 *         registers of `custom` that no IOMMU has, no size), -E2BIG (export.h), -ENOMEM
 */
VIOMMU_EXPORT int viommu_soft_create(struct viommu_host **out,
                                     const struct viommu_soft_options *options,
                                     struct viommu_error *error);

/** A PCI device of the simulated host. */
struct viommu_soft_device;

/**
 * Plug a device into the simulated host; afterwards viommu_host_bind() finds it by name.
 * @param name   unique ("0000:3a:00.0"); copied
 * @param iommu  which of the host's IOMMUs it is behind, from 0: page tables are not shared between
 * two
 * @return 0, -EEXIST, -EINVAL (host is not a simulated one), -ENOMEM
 */
VIOMMU_EXPORT int viommu_soft_device_add(struct viommu_host *host, const char *name,
                                         unsigned int iommu, struct viommu_soft_device **out,
                                         struct viommu_error *error);

/**
 * Unplug it, waiting for DMA and fault handlers under way; the pointer must not be used any more,
 * and not from within its fault handler. Unbind it first for an orderly removal. One that is bound
 * is removed by surprise: its DMA is blocked, its ID stays until viommu_host_unbind(), and to
 * attach it is -ENODEV. NULL is allowed. Any thread.
 */
VIOMMU_EXPORT void viommu_soft_device_remove(struct viommu_soft_device *device);

/**
 * The device does DMA through the host's IOMMU. Any thread, several at once. While the device is
 * not attached it is blocked. A refused DMA also reaches the fault handler of the device, before
 * the call returns. access may leave READ or WRITE out: the call adds it.
 * @param request  requester_id is ignored. Type TRANSLATED: the address is one that
 *                 viommu_soft_device_translate() gave.
 * @return 0, -EACCES, -EFAULT, -EINVAL; result->gpa is the HPA (an address of this process)
 */
VIOMMU_EXPORT int viommu_soft_device_read(struct viommu_soft_device *device,
                                          const struct viommu_dma_request *request, void *buffer,
                                          struct viommu_dma_result *result);
VIOMMU_EXPORT int viommu_soft_device_write(struct viommu_soft_device *device,
                                           const struct viommu_dma_request *request,
                                           const void *buffer, struct viommu_dma_result *result);

/**
 * The device has a device TLB (ats.h) from here on: it may make translation requests and translated
 * ones. The host tells it what to forget before a call returns that takes a translation away:
 * invalidations, attachments and their ends, IOASes that are unmapped. ops->page_response, when it
 * is there, takes the answers to page requests as they come.
 *
 * The callbacks run in the thread of that call, one at a time. They may call what is DMA of a
 * device (viommu_soft_device_read(), _write(), _translate(), _page_request()), and nothing else of
 * this host; nor wait for a thread that does. An invalidation is done when its callback returns: of
 * one that returns something else than 0 the log says so, as of a device that does not answer.
 * Since it may wait for DMA under way, the device's fault handler must make no call on the host.
 * Any thread.
 * @param ops  copied
 * @return 0, -EINVAL (no invalidate, no size), -E2BIG (ops of a newer library), -EBUSY (it is set
 *         already), -EOPNOTSUPP (its IOMMU serves no device TLBs: viommu_host_hw_info.ats)
 */
VIOMMU_EXPORT int viommu_soft_device_set_ats(struct viommu_soft_device *device,
                                             const struct viommu_pci_ats_ops *ops, void *opaque,
                                             struct viommu_error *error);

/**
 * The device TLB is gone. When it returns, no callback runs nor will. Without effect when nothing
 * is set. Any thread, but not from within a callback.
 */
VIOMMU_EXPORT void viommu_soft_device_unset_ats(struct viommu_soft_device *device);

/**
 * The device asks for a translation: request->type is VIOMMU_DMA_TRANSLATION_REQUEST. The answer
 * for the page at request->address is as ats.h says; what is refused also reaches the fault
 * handler, before the call returns. Any thread.
 * @return 0 when result->status is OK, also when nothing is granted; result->gpa is the HPA (an
 *         address of this process). -EACCES (refused; UNSUPPORTED: no ATS is set), -EINVAL
 */
VIOMMU_EXPORT int viommu_soft_device_translate(struct viommu_soft_device *device,
                                               const struct viommu_dma_request *request,
                                               struct viommu_dma_result *result);

/**
 * The device asks for a page: the request goes to the fault queue of the nested HWPT to which it,
 * or this PASID of it, is attached, when the last one of its group is made. Any thread.
 * @return 0, -EOPNOTSUPP (it is attached to nothing that has a fault queue), -ENOSPC (32 requests
 * in a group, 512 groups that are not answered)
 */
VIOMMU_EXPORT int viommu_soft_device_page_request(struct viommu_soft_device *device,
                                                  const struct viommu_pci_page_request *request);

/** The next answer that the device got; false: none. It keeps 512 that are not asked for. Any
 * thread. */
VIOMMU_EXPORT bool viommu_soft_device_page_response(struct viommu_soft_device *device,
                                                    struct viommu_pci_page_response *response);

/**
 * The device is reset, as by a function-level reset: what it has asked for by page requests is
 * forgotten, and so are answers. What is attached stays. Any thread, but not from within a
 * callback.
 */
VIOMMU_EXPORT void viommu_soft_device_reset(struct viommu_soft_device *device);

/** One step of a walk: which entry was read where, and what it said. */
struct viommu_soft_step {
    uint8_t stage;  /**< 1: the guest's table, 2: the host's */
    uint8_t level;  /**< 5..1; 0: the final address of this stage */
    uint64_t input; /**< the address that this stage translates: IOVA in stage 1, GPA in stage 2 */
    uint64_t entry_address; /**< where the entry lies: GPA in stage 1, HPA in stage 2 */
    uint64_t entry;         /**< its value; for level 0 the resulting GPA or HPA */
};

/**
 * Show how an address would be translated, step by step, without using or filling the cache, and
 * without setting accessed or dirty bits. Any thread.
 * @param count  room for steps in, number of steps of the walk out (may exceed the room)
 * @return 0, or -EACCES with the steps up to the one that refused
 */
VIOMMU_EXPORT int viommu_soft_device_explain(struct viommu_soft_device *device,
                                             const struct viommu_dma_request *request,
                                             struct viommu_soft_step *steps, size_t *count,
                                             struct viommu_dma_result *result);

/** What the simulated host holds: for tests that everything was given back, and for people. */
struct viommu_soft_census {
    size_t size;
    uint64_t bound_devices;
    uint64_t attachments; /**< of devices and PASIDs */
    uint64_t ioas;
    uint64_t paging_hwpts;
    uint64_t nested_hwpts;
    uint64_t mapped_bytes; /**< of all IOASes */
    uint64_t table_pages;  /**< second-stage page-table pages */
    uint64_t cache_entries;
    uint64_t dma_requests; /**< served since creation */
    uint64_t dma_faults;
    uint64_t cache_clears; /**< how often the cache reached cache_limit and was emptied */
    uint64_t fault_queues;
    uint64_t translation_requests;     /**< of device TLBs, that were not refused */
    uint64_t device_tlb_invalidations; /**< told to device TLBs */
};
/** Any thread. size is set by the caller (export.h); all zero for a host that is not simulated. */
VIOMMU_EXPORT void viommu_soft_get_census(struct viommu_host *host,
                                          struct viommu_soft_census *census);

#ifdef __cplusplus
}
#endif
#endif
