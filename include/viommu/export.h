/* SPDX-License-Identifier: MIT */
/**
 * @file export.h
 * @brief Visibility of public symbols, and the rule for structs that may grow.
 *
 * A struct that may grow begins with a member `size`, set by the caller to sizeof the struct that
 * it was compiled with (the _INIT macros and functions do it). New members come at the end.
 *  - Options and tables of calls, which the library reads (viommu_vtd_options, viommu_soft_options,
 *    viommu_pci_device_options, viommu_host_hwpt_options, viommu_host_ops, viommu_pci_iommu_ops,
 *    viommu_acpi_dmar, viommu_pci_ats_ops, viommu_iommufd_options, viommu_type1_options): a shorter
 * struct of an older caller is accepted, missing members count as zero; a longer one is accepted
 * when the part that this library does not know is all zero, and refused with -E2BIG otherwise; one
 * whose size is less than the member itself with -EINVAL.
 *  - Results, which it writes (viommu_stats, viommu_host_stats, viommu_host_hw_info,
 *    viommu_soft_census): nothing is written beyond `size`, and what this library does not know
 *    becomes zero.
 *
 * A struct without `size` is fixed: what it describes is fixed by hardware or another interface, or
 * it is on the path of each DMA, or stands in arrays. It never changes; what it lacks will come by
 * new structs and new calls. These are viommu_error, viommu_log, viommu_memory_range,
 * viommu_pci_id, viommu_pci_page_request, viommu_dma_request, viommu_dma_result,
 * viommu_dma_mapping, viommu_host_vtd_s1, viommu_host_vtd_s1_invalidate, viommu_host_fault,
 * viommu_host_iova_range, viommu_host_page_request, viommu_host_page_response, viommu_soft_step,
 * viommu_acpi_scope, viommu_interrupt_request, viommu_interrupt, and those that stand in the arrays
 * of viommu_acpi_dmar. Enumerations may get new values, at their end.
 */
#ifndef VIOMMU_EXPORT_H
#define VIOMMU_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIOMMU_EXPORT __attribute__((visibility("default")))

#endif
