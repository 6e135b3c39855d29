/* SPDX-License-Identifier: MIT */
/* The DMAR of the machine: its units, and what devices need beside them. */
#ifndef VMM_ACPI_DMAR_H
#define VMM_ACPI_DMAR_H

#include <stddef.h>
#include <viommu/error.h>

struct vmm;

/* Write the table as viommu_acpi_build_dmar() does; the machine has a unit. */
int vmm_acpi_dmar(struct vmm *vm, const char *oem_id, const char *oem_table_id, void *table,
                  size_t *length, struct viommu_error *err);

#endif
