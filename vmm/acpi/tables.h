/* SPDX-License-Identifier: MIT */
/*
 * ACPI: a hardware-reduced machine (no PIC, PIT, PM timer or SCI), with its tables below 1 MiB.
 */
#ifndef VMM_ACPI_TABLES_H
#define VMM_ACPI_TABLES_H

#include <stdint.h>
#include <viommu/error.h>

struct vmm;

/* Write all tables into RAM; *rsdp is the address of the root pointer. */
int vmm_acpi_build(struct vmm *vm, uint64_t *rsdp, struct viommu_error *err);

#endif
