/* SPDX-License-Identifier: MIT */
/**
 * @file version.h
 * @brief Which libviommu this is: when compiling, and when running.
 */
#ifndef VIOMMU_VERSION_H
#define VIOMMU_VERSION_H

#include <viommu/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The version of these headers. */
#define VIOMMU_VERSION_MAJOR 0
#define VIOMMU_VERSION_MINOR 1
#define VIOMMU_VERSION_PATCH 0

/** To compare: #if VIOMMU_VERSION >= VIOMMU_VERSION_OF(0, 2, 0) */
#define VIOMMU_VERSION_OF(major, minor, patch) ((major)*1000000 + (minor)*1000 + (patch))
#define VIOMMU_VERSION                                                                             \
    VIOMMU_VERSION_OF(VIOMMU_VERSION_MAJOR, VIOMMU_VERSION_MINOR, VIOMMU_VERSION_PATCH)

/** The version of the library that runs, "0.1.0". Static, never NULL. Any thread. */
VIOMMU_EXPORT const char *viommu_version(void);

#ifdef __cplusplus
}
#endif
#endif
