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
};

/** One device scope: a start bus and the path of (device, function) from there. */
struct viommu_acpi_scope {
    enum viommu_acpi_scope_type type;
    uint8_t enumeration_id; /**< IOAPIC: its APIC ID in the MADT; HPET: its number */
    uint8_t start_bus;
    uint8_t path_length; /**< 1..4 */
    struct {
        uint8_t device;
        uint8_t function;
    } path[4];
};

/** One remapping unit in the DMAR. It stands in an array, and never changes (export.h). */
struct viommu_acpi_dmar_unit {
    const struct viommu *viommu; /**< a VT-d unit; gives register base and segment */
    bool include_pci_all;        /**< all of its segment that no other unit names; must come last */
    const struct viommu_acpi_scope *scopes;
    size_t scope_count;
};

/**
 * Build a DMAR table, checksum included (VT-d 5.0, chapter 8).
 * @param oem_id, oem_table_id  6 and 8 characters, as in the guest's other tables
 * @param length  in: room at table; out: bytes of the table (also when the room was too small)
 * @param units  borrowed for the call; the units need not be protecting anything yet
 * @return 0, -EMSGSIZE (the table does not fit), -EINVAL (no unit, or not a VT-d one;
 *         include_pci_all not last of its segment; scopes missing, or more than fit into a table;
 *         a scope's type, path length, device or function; units with different haw, of which the
 *         table tells one for all). Any thread.
 */
VIOMMU_EXPORT int viommu_acpi_build_dmar(const struct viommu_acpi_dmar_unit *units, size_t count,
                                         const char *oem_id, const char *oem_table_id, void *table,
                                         size_t *length, struct viommu_error *error);

#ifdef __cplusplus
}
#endif
#endif
