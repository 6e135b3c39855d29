/* SPDX-License-Identifier: MIT */
/* What checking and writing a DMAR share. */
#ifndef ACPI_DMAR_H
#define ACPI_DMAR_H

#include <viommu/acpi.h>

#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

/* Bytes of each structure without its scopes, which are DMAR_SCOPE_SIZE and two for each step. */
#define DMAR_HEADER_SIZE 48 /* 8.1, with the standard ACPI header of 36 bytes */
#define DMAR_DRHD_SIZE   16
#define DMAR_RMRR_SIZE   24
#define DMAR_ATSR_SIZE   8
#define DMAR_RHSA_SIZE   20
#define DMAR_ANDD_SIZE   8 /* without the name */
#define DMAR_SATC_SIZE   8
#define DMAR_SIDP_SIZE   8
#define DMAR_SCOPE_SIZE  6

static inline const struct vtd *dmar_vtd(const struct viommu_acpi_dmar_unit *unit)
{
    return (const struct vtd *)unit->viommu;
}

/* All units remap interrupts, or none does. */
static inline bool dmar_remaps_interrupts(const struct viommu_acpi_dmar *dmar)
{
    return dmar_vtd(dmar->units)->ecap & VTD_ECAP_IR;
}

/* A structure of `fixed` bytes and its scopes. */
size_t dmar_size(size_t fixed, const struct viommu_acpi_scope *scopes, size_t count);

/* dmar_check.c: everything that viommu_acpi_build_dmar() refuses but for the room. */
int dmar_check(const struct viommu_acpi_dmar *dmar, struct viommu_error *error);
/* dmar_scopes.c: the scopes of all parts, and that no two units claim the same. */
int dmar_check_scopes(const struct viommu_acpi_dmar *dmar, struct viommu_error *error);

#endif
