/* SPDX-License-Identifier: MIT */
/**
 * @file ats.h
 * @brief Functions with a translation cache of their own (ATS), and page requests (PRI).
 *
 * A device that has PCI Express address translation services shows the capability when
 * VIOMMU_CAP_ATS is in viommu_pci_device_get_viommu_cap(), and calls viommu_pci_device_set_ats().
 * From then on it may
 *  - ask for translations: viommu_dma_translate() with type VIOMMU_DMA_TRANSLATION_REQUEST, and
 * keep the answer until it is told to forget it (PCIe base spec, 10.2);
 *  - send requests with an address that it got so: type VIOMMU_DMA_TRANSLATED;
 *  - with VIOMMU_CAP_PRI, ask for pages to be made present: viommu_pci_device_page_request() (PCIe
 *    base spec, 10.4). The answer comes by the callback page_response.
 * The IOMMU refuses all three to a function that did not register, and to one whose table entries
 * do not allow them.
 *
 * What becomes of a translation request is in struct viommu_dma_result:
 *  - status OK is a successful completion. permissions holds READ, WRITE, EXECUTE and PRIVILEGED as
 *    the bits R, W, Exe and Priv. Without READ and WRITE there is no translation: the page is not
 *    present, or permits nothing of what was asked. No fault is recorded; ask for the page.
 *    gpa is the translated address of `address`, granule_log2 the size (the S field), flags the
 *    rest.
 *  - RESERVED, TABLE_ACCESS: completer abort (CA). Any other status: unsupported request (UR).
 *    The guest has a fault record of it.
 */
#ifndef VIOMMU_ATS_H
#define VIOMMU_ATS_H

#include <viommu/dma.h>
#include <viommu/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Translations that a device shall forget. The library makes it; later ones may have more members,
 * at the end.
 */
struct viommu_pci_tlb_invalidation {
    uint64_t address; /**< first byte, a multiple of length */
    uint64_t length;  /**< bytes, a power of two, at least 4096; 0: all addresses */
    uint32_t pasid;   /**< whose; VIOMMU_PASID_NONE: those of requests without PASID */
    bool global;      /**< those of every PASID, not only this one */
    uint32_t tag;     /**< names this invalidation to viommu_pci_device_invalidation_done() */
};

/** What becomes of a page request group (PCIe base spec, 10.4.2.1, "Response Code"). */
enum viommu_pci_page_response_code {
    VIOMMU_PCI_PAGE_SUCCESS = 0x0, /**< ask for the translation again */
    VIOMMU_PCI_PAGE_INVALID =
        0x1, /**< a page of the group does not exist, or must not be used so */
    VIOMMU_PCI_PAGE_FAILURE = 0xf, /**< the page request interface is to be stopped */
};

/**
 * The answer to a page request group. The library makes it; later ones may have more members, at
 * the end. A guest can answer what was never asked: check.
 */
struct viommu_pci_page_response {
    uint32_t pasid; /**< or VIOMMU_PASID_NONE */
    uint16_t group; /**< 0..511: page request group index */
    uint8_t code;   /**< enum viommu_pci_page_response_code; 0x2 to 0xe count as FAILURE */
};

/**
 * What the IOMMU tells a device. Each is called with the IOMMU locked: it may call
 * viommu_dma_translate(), _read(), _write(), _unmap() and viommu_pci_device_page_request(), but
 * nothing else of this library (no registers, no other viommu_pci_*), and must not wait for a
 * thread that does. Begin with size.
 */
struct viommu_pci_ats_ops {
    size_t size;
    /**
     * Mandatory. Forget these translations. Done means that no DMA uses them any more: also
     * requests under way and mappings (viommu_dma_map()) of translated addresses. The guest's wait
     * descriptors wait for that.
     * @return 0: done. -EINPROGRESS: viommu_pci_device_invalidation_done() will be called.
     * -ETIMEDOUT and other errors: as described there. In the thread that wrote the unit's
     * registers.
     */
    int (*invalidate)(void *opaque, const struct viommu_pci_tlb_invalidation *what);
    /**
     * Optional, but for a device that makes page requests. Also called in the thread of
     * viommu_pci_device_page_request() and before that returns, not locked then, when the IOMMU
     * itself answers.
     */
    void (*page_response)(void *opaque, const struct viommu_pci_page_response *response);
};

/** A function's registration, as IOMMUs see it. Made by viommu_pci_device_set_ats(). */
struct viommu_pci_ats {
    struct viommu_pci_ats_ops ops;
    void *opaque;
};

/**
 * The function has a translation cache, and may make page requests. Before its first such request;
 * end it with viommu_pci_device_unset_ats(). Any thread.
 * @param ops  copied
 * @return 0, -EINVAL (no invalidate, no size), -E2BIG (ops of a newer library), -EBUSY (it is set
 *         already), -EOPNOTSUPP (the function is behind no IOMMU that knows of device TLBs, or it
 *         bypasses it, or its requests arrive with another requester ID than its own), -ENOMEM
 */
VIOMMU_EXPORT int viommu_pci_device_set_ats(struct viommu_pci_device *device,
                                            const struct viommu_pci_ats_ops *ops, void *opaque,
                                            struct viommu_error *error);

/**
 * The cache is gone (its function is reset, ATS is disabled for good, or it is removed): it holds
 * no translation and makes no request any more. Invalidations that it had not answered count as
 * done. When it returns, no callback runs nor will. Without effect when nothing is set. Any thread,
 * but not from within a callback.
 */
VIOMMU_EXPORT void viommu_pci_device_unset_ats(struct viommu_pci_device *device);

/**
 * Answer an invalidation for which the callback said -EINPROGRESS. When it was the last one that
 * the guest's queue waited for, the queue goes on here, in this thread: hold no lock that a
 * callback takes. Any thread, but not from within a callback. While one is set only.
 * @param tag     of the invalidation
 * @param result  0: done. -ETIMEDOUT: the device does not answer; the guest's queue stops with an
 *                invalidation time-out error. Another negative errno: it answered nonsense; the
 *                guest reads an invalidation completion error, and the queue goes on.
 * @return 0, -ENOENT (no such invalidation is waited for: it was answered, or the unit was reset)
 */
VIOMMU_EXPORT int viommu_pci_device_invalidation_done(struct viommu_pci_device *device,
                                                      uint32_t tag, int result);

/** One page that a device asks for. It never changes. Begin with VIOMMU_PCI_PAGE_REQUEST_INIT. */
struct viommu_pci_page_request {
    uint64_t address; /**< bits 11:0 are ignored */
    uint32_t pasid;   /**< 0..2^20-1, or VIOMMU_PASID_NONE */
    uint16_t group;   /**< 0..511 */
    uint8_t access; /**< VIOMMU_DMA_*; with a PASID and `last`, 0 is a stop marker: the device does
                         not use this PASID any more, and gets no answer */
    bool last;      /**< last page of its group: the group is answered once */
};
#define VIOMMU_PCI_PAGE_REQUEST_INIT                                                               \
    {                                                                                              \
        0, UINT32_MAX, 0, 0, false                                                                 \
    }

/**
 * Ask for a page. Exactly one response follows for each group whose last request was made, sooner
 * or later, unless the unit is reset. Any thread, also from within page_response; it takes no lock
 * that is held while one of the callbacks runs.
 * @return 0: the request was sent; whatever becomes of it, page_response tells. -EINVAL: no such
 *         request (group, PASID, access). -EOPNOTSUPP: no ATS is set, it has no page_response, or
 *         the IOMMU takes no page requests
 */
VIOMMU_EXPORT int viommu_pci_device_page_request(struct viommu_pci_device *device,
                                                 const struct viommu_pci_page_request *request);

#ifdef __cplusplus
}
#endif
#endif
