/* SPDX-License-Identifier: MIT */
/**
 * @file vtd.h
 * @brief The configuration of an Intel VT-d remapping unit (VT-d 4.1/5.0), and nothing else.
 */
#ifndef VIOMMU_VTD_H
#define VIOMMU_VTD_H

#include <viommu/host.h>
#include <viommu/memory.h>
#include <viommu/sanitize.h>
#include <viommu/viommu.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Sends an MSI of the unit itself (faults, completed waits). Any thread; must not access the unit.
 */
typedef void viommu_vtd_msi_fn(void *opaque, uint64_t address, uint32_t data);

/** What the user configures. Begin with viommu_vtd_options_init(). */
struct viommu_vtd_options {
    size_t size;
    struct viommu_memory *memory; /**< borrowed; tables and queues lie there */
    struct viommu_log log;
    viommu_vtd_msi_fn *msi; /**< may be NULL: no interrupts */
    void *msi_opaque;
    uint64_t mmio_base; /**< guest physical address of the registers, a multiple of their size:
                           4096, 8192 with more than 160 fault records */
    uint16_t segment;   /**< PCI segment that the unit is on */
    /* Properties; in brackets their names for viommu_vtd_options_parse(), and their defaults. */
    uint8_t address_width;      /**< [aw=48] second stage and MGAW: 39, 48 or 57 */
    uint8_t host_address_width; /**< [haw=46] guest physical address bits: 32..52, at most aw, and
                                     all of the memory that is there already */
    uint8_t pasid_bits;         /**< [pasid-bits=0] 0: no PASID; else 1..20 */
    uint16_t fault_records;     /**< [fault-records=8] 1..256 */
    uint16_t domain_bits;       /**< [domain-bits=16] domain-ID width: 4, 6, .. 16 */
    bool scalable;              /**< [scalable=on] scalable mode (ECAP.SMTS) */
    bool first_stage;           /**< [first-stage=on] needs scalable */
    bool second_stage;          /**< [second-stage=off] needs scalable; legacy mode always has it */
    bool nested;       /**< [nested=off] ECAP.NEST: the guest itself may nest; needs both stages */
    bool hw_nested;    /**< [hw-nested=on] nest assigned devices in the host's hardware; needs
                            first_stage */
    bool pass_through; /**< [pt=on] */
    bool caching_mode; /**< [caching-mode=on] CAP.CM: not-present entries may be cached */
    bool coherent;     /**< [coherent=on] page walks snoop (ECAP.C, ECAP.SMPWCS) */
    bool large_2m;     /**< [2m=on] 2 MiB pages, second stage */
    bool large_1g;     /**< [1g=on] 1 GiB pages, both stages; needs large_2m */
    bool dirty_tracking; /**< [ad=off] accessed/dirty bits in the second stage (ECAP.SSADS); needs
                              second_stage and coherent */
    bool supervisor;     /**< [supervisor=off] ECAP.SRS; needs first_stage */
    bool execute;        /**< [execute=off] ECAP.ERS; needs PASID */
    bool extended_accessed; /**< [extended-accessed=off] ECAP.EAFS; as ad, with first_stage */
    bool drain;             /**< [drain=on] CAP.DRD/DWD */
    bool snoop_control;     /**< [snoop-control=on] ECAP.SC */
    bool five_level; /**< [5-level=off] CAP.FS5LP: first-stage tables of 5 levels, 57 bits; needs
                          first_stage, and aw=57 with a first stage needs it */
    bool protected_memory; /**< [pmr=off] protected memory regions (CAP.PLMR, CAP.PHMR); not for
                                assigned devices */
    bool abort_dma;        /**< [abort-dma=on] the mode that refuses all DMA (ECAP.ADMS); needs
                                scalable */
    bool rid_privilege;   /**< [rid-priv=off] ECAP.RPRIVS: a context entry may make requests without
                               PASID supervisor ones; needs supervisor, not for assigned devices */
    bool sanitize;        /**< [sanitize=off] report mistakes of the guest's driver
                               (viommu/sanitize.h); misses and invalidations take longer */
    bool sanitize_strict; /**< [sanitize-strict=off] also what was unmapped and not invalidated, and
                               not used again; a guest that batches invalidations does that on
                               purpose. Needs sanitize */
    uint16_t sanitize_patience; /**< [sanitize-patience=32] waits that may complete between a change
                                     and its invalidation, 0..65535: those of other vCPUs. 0 for
                                     guests that use the unit from one thread. Needs
                                     sanitize */
    viommu_sanitize_fn *sanitize_report; /**< receives the reports; may be NULL: log and counter */
    void *sanitize_opaque;
    bool interrupt_remapping; /**< [intremap=off] ECAP.IR; interrupt.h says what the VMM then does:
                                   off, because a guest loses what is not sent by way of the unit */
    bool extended_interrupts; /**< [eim=off] ECAP.EIM: 32-bit destinations, for x2APIC; needs
                                   interrupt_remapping */
    bool ioapic_any_source;   /**< [ioapic-any-source=off] the requester ID of an IOAPIC is not
                                   verified, as test kernels expect that let an IOAPIC's entry
                                   name some other function; needs interrupt_remapping */
    bool posted; /**< [posted=off] CAP.PI: interrupts may be posted to descriptors in memory; needs
                      interrupt_remapping */

    bool device_iotlb;  /**< [device-iotlb=off] device TLBs (ATS; ECAP.DT) */
    bool page_requests; /**< [page-requests=off] page requests (PRI; ECAP.PRS, ECAP.PDS); needs
                             scalable and device_iotlb */
};

/**
 * What viommu_vtd_options_init() calls, and what other languages do: write the defaults into the
 * first `size` bytes and not beyond. Less than sizeof(size_t) writes nothing, which
 * viommu_vtd_create() refuses. Any thread.
 * @param size  sizeof the struct that the caller was compiled with; becomes options->size
 */
VIOMMU_EXPORT void viommu_vtd_options_init_sized(struct viommu_vtd_options *options, size_t size);

/** Fill in the defaults above. memory stays NULL, mmio_base becomes 0xfed90000. */
static inline void viommu_vtd_options_init(struct viommu_vtd_options *options)
{
    viommu_vtd_options_init_sized(options, sizeof(*options));
}

/**
 * Change properties by a string "key=value,key=value"; the names are those in brackets above,
 * values are on, off or numbers. An empty string changes nothing. A property that needs another
 * which the string switches off goes off with it, unless the string names it too; likewise haw
 * becomes no wider than aw. On failure nothing is changed. Any thread.
 * @param options  begun with viommu_vtd_options_init(); nothing beyond options->size is read or
 *                 written, and a property that lies there is refused
 * @return 0, -EINVAL (unknown key, lists the known ones; bad value, says the range; a property that
 *         is newer than the caller's struct; no size), -E2BIG (options use what this library does
 *         not know)
 */
VIOMMU_EXPORT int viommu_vtd_options_parse(struct viommu_vtd_options *options, const char *string,
                                           struct viommu_error *error);

/**
 * Create a unit. The properties are checked together; a contradiction names the rule that it
 * breaks. Any thread.
 * @param out      receives the unit; the caller ends it with viommu_destroy()
 * @param options  copied; what they point to is borrowed until the unit is destroyed
 * @return 0, -EINVAL (a contradiction, a value out of range, no size), -E2BIG (options use what
 *         this library does not know), -ENOMEM
 */
VIOMMU_EXPORT int viommu_vtd_create(struct viommu **out, const struct viommu_vtd_options *options,
                                    struct viommu_error *error);

/** One promise to the guest that a host does not keep. Borrowed: gone when the callback returns. */
struct viommu_vtd_mismatch {
    size_t size;
    const char *promise; /**< "nesting" */
    const char *ability; /**< what there is instead: "host ECAP.NEST=0" */
    const char *remedy;  /**< properties for viommu_vtd_options_parse() that take the promise back:
                              "first-stage=off,second-stage=on". NULL: no setting helps */
};

/** Receives a mismatch, in the thread that compares. */
typedef void viommu_vtd_mismatch_fn(void *opaque, const struct viommu_vtd_mismatch *mismatch);

/**
 * Compare what a guest is promised with what a host's IOMMU has, as a unit does when a device is
 * assigned, but before there is a unit or a device: so for a host whose registers were written down
 * elsewhere. The host's kernel is taken to do all that the hardware can. Whether the properties go
 * together is not looked at: viommu_vtd_create() does that. When the remedies of all mismatches are
 * applied, one after the other, none is left. Any thread.
 * @param options  only properties are read; memory may be NULL
 * @param info     registers and name
 * @param report   called for each mismatch; may be NULL
 * @param error    receives all of them in one sentence
 * @return 0, -EOPNOTSUPP (there are mismatches), -EINVAL (no size), -E2BIG (export.h)
 */
VIOMMU_EXPORT int viommu_vtd_compare(const struct viommu_vtd_options *options,
                                     const struct viommu_host_hw_info *info,
                                     viommu_vtd_mismatch_fn *report, void *opaque,
                                     struct viommu_error *error);

#ifdef __cplusplus
}
#endif
#endif
