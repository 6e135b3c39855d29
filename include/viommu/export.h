/* SPDX-License-Identifier: MIT */
/**
 * @file export.h
 * @brief Visibility of public symbols, and the rule for structs that may grow.
 *
 * An options or result struct of this library begins with a member `size`, set by the caller to
 * sizeof the struct it was compiled with (the _INIT macros do it). A shorter struct of an older
 * caller is accepted, missing members count as zero; a longer one is accepted when the part that
 * this library does not know is all zero, and refused with -E2BIG otherwise.
 */
#ifndef VIOMMU_EXPORT_H
#define VIOMMU_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIOMMU_EXPORT __attribute__((visibility("default")))

#endif
