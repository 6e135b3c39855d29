/* SPDX-License-Identifier: MIT */
/**
 * @file acpi.h
 * @brief ACPI tables that tell a guest about its vIOMMUs.
 */
#ifndef VIOMMU_ACPI_H
#define VIOMMU_ACPI_H

#include <viommu/viommu.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a device scope names (VT-d 5.0, 8.3.1). */
enum viommu_acpi_scope_type {
    VIOMMU_ACPI_SCOPE_ENDPOINT = 1,
    VIOMMU_ACPI_SCOPE_BRIDGE = 2, /**< the bridge and everything below it */
    VIOMMU_ACPI_SCOPE_IOAPIC = 3,
    VIOMMU_ACPI_SCOPE_HPET = 4,
    VIOMMU_ACPI_SCOPE_NAMESPACE = 5, /**< a device that the ACPI namespace enumerates */
};

#define VIOMMU_ACPI_PATH_MAX 8 /**< devices that a scope's path may go through */

/** One device scope: a start bus and the path of (device, function) from there. */
struct viommu_acpi_scope {
    enum viommu_acpi_scope_type type;
    uint8_t enumeration_id; /**< IOAPIC: its APIC ID in the MADT; HPET: its number; NAMESPACE: the
                                 number that an ANDD gives it; else not looked at */
    uint8_t start_bus;
    uint8_t path_length; /**< 1..VIOMMU_ACPI_PATH_MAX */
    struct {
        uint8_t device;
        uint8_t function;
    } path[VIOMMU_ACPI_PATH_MAX];
    uint8_t properties; /**< VIOMMU_ACPI_SIDP_* bits; 0 but in a SIDP */
};

/** Properties of an integrated device (VT-d 5.0, 8.3.1 and 8.10); the first three are advice. */
#define VIOMMU_ACPI_SIDP_NO_NESTED    (1u << 0) /**< RID_PASID should not be nested */
#define VIOMMU_ACPI_SIDP_NO_PWSNP     (1u << 1) /**< nor its page walks snoop */
#define VIOMMU_ACPI_SIDP_NO_PGSNP     (1u << 2) /**< nor its pages */
#define VIOMMU_ACPI_SIDP_ATC_HARDENED (1u << 3) /**< its translation cache is trustworthy */
#define VIOMMU_ACPI_SIDP_ATC_REQUIRED (1u << 4) /**< it does not work without its cache */

/* What follows stands in arrays, and never changes (export.h). */

/** DRHD: one remapping unit (VT-d 5.0, 8.3). */
struct viommu_acpi_dmar_unit {
    const struct viommu *viommu; /**< a VT-d unit; gives register base and segment */
    bool include_pci_all;        /**< all of its segment that no other unit names; must come last */
    const struct viommu_acpi_scope *scopes;
    size_t scope_count;
};

/**
 * RMRR: memory that devices use without being told by a driver, which the guest keeps mapped one to
 * one for them (VT-d 5.0, 8.4). Nothing in a unit knows of it. It must be guest memory, so that
 * assigned devices reach it as well: their page table holds all of the guest's memory at its own
 * addresses. The VMM must show it reserved in the guest's memory map, not as usable RAM.
 */
struct viommu_acpi_rmrr {
    uint64_t base; /**< a multiple of 4096 */
    uint64_t size; /**< bytes, a multiple of 4096, not 0 */
    uint16_t segment;
    const struct viommu_acpi_scope *scopes; /**< endpoints, bridges and namespace devices */
    size_t scope_count;
};

/** ATSR: the root ports below which devices may have ATS (VT-d 5.0, 8.5). */
struct viommu_acpi_atsr {
    uint16_t segment;
    bool all_ports; /**< all of the segment; there are no scopes and no other ATSR of it then */
    const struct viommu_acpi_scope *scopes; /**< bridges: root ports */
    size_t scope_count;
};

/** RHSA: the NUMA node that a unit is near to (VT-d 5.0, 8.6). */
struct viommu_acpi_rhsa {
    const struct viommu *viommu;
    uint32_t proximity_domain;
};

/** ANDD: a device of the ACPI namespace that does DMA (VT-d 5.0, 8.7). */
struct viommu_acpi_andd {
    uint8_t number;   /**< what a unit's scope of type NAMESPACE has for enumeration_id */
    const char *name; /**< from the root: "\\_SB.PCI0.I2C0" */
};

/** SATC: integrated devices with an address translation cache (VT-d 5.0, 8.8). */
struct viommu_acpi_satc {
    uint16_t segment;
    bool atc_required;                      /**< they do not work without it */
    const struct viommu_acpi_scope *scopes; /**< endpoints */
    size_t scope_count;
};

/** SIDP: properties of integrated devices, one scope each (VT-d 5.0, 8.10). */
struct viommu_acpi_sidp {
    uint16_t segment;
    const struct viommu_acpi_scope *scopes; /**< endpoints, with their properties */
    size_t scope_count;
};

/** All that a DMAR tells. Begin with VIOMMU_ACPI_DMAR_INIT. Arrays of no element may be NULL. */
struct viommu_acpi_dmar {
    size_t size;
    const struct viommu_acpi_dmar_unit *units; /**< at least one */
    size_t unit_count;
    const struct viommu_acpi_rmrr *rmrrs;
    size_t rmrr_count;
    const struct viommu_acpi_atsr *atsrs;
    size_t atsr_count;
    const struct viommu_acpi_rhsa *rhsas;
    size_t rhsa_count;
    const struct viommu_acpi_andd *andds;
    size_t andd_count;
    const struct viommu_acpi_satc *satcs;
    size_t satc_count;
    const struct viommu_acpi_sidp *sidps;
    size_t sidp_count;
    bool x2apic_opt_out; /**< ask the guest not to use x2APIC mode; needs units that remap
                              interrupts, which the table tells when all of them do */
    bool dma_opt_in; /**< DMA_CTRL_PLATFORM_OPT_IN: ask the guest to restrict DMA from boot on */
};
#define VIOMMU_ACPI_DMAR_INIT                                                                      \
    {                                                                                              \
        sizeof(struct viommu_acpi_dmar), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0            \
    }

/**
 * Build a DMAR table, checksum included (VT-d 5.0, chapter 8). It is checked as a whole before
 * anything is written.
 * @param dmar    borrowed for the call with all it points to; the units need not be protecting
 *                anything yet
 * @param oem_id, oem_table_id  6 and 8 characters, as in the guest's other tables
 * @param length  in: room at table; out: bytes of the table (also when the room was too small)
 * @return 0, -EMSGSIZE (the table does not fit), -E2BIG (export.h), -EINVAL, with a sentence that
 *         names the part and what to change:
 *         - no unit, not a VT-d one, or two with overlapping registers; different haw, or interrupt
 *           remapping in some units alone: the table tells one for all
 *         - a unit that protects nothing; include_pci_all twice on a segment, or not last of it; a
 *           scope that two units name
 *         - a scope's type, path length, device, function or properties
 *         - an RMRR that is not of whole pages, beyond haw, not guest memory, or overlaps another
 *         - ATSR or SATC on a segment without a unit that serves device TLBs; ATSR with scopes and
 *           all_ports, or two of all ports
 *         - RHSA of a unit that is not in the table, or two for one
 *         - ANDD whose number is taken or named by no scope, or whose name is not from the root; a
 *           scope that names no ANDD
 *         - a part on a segment without a unit, without scopes, or larger than 65535 bytes
 *         Any thread.
 */
VIOMMU_EXPORT int viommu_acpi_build_dmar(const struct viommu_acpi_dmar *dmar, const char *oem_id,
                                         const char *oem_table_id, void *table, size_t *length,
                                         struct viommu_error *error);

#ifdef __cplusplus
}
#endif
#endif
