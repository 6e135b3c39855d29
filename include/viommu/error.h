/* SPDX-License-Identifier: MIT */
/**
 * @file error.h
 * @brief How a call fails.
 *
 * A function that can fail returns 0 or a negative errno. It also fills the caller's
 * struct viommu_error, when one was given, with one sentence that names the thing, the value, the
 * limit and the way out. The library never prints.
 */
#ifndef VIOMMU_ERROR_H
#define VIOMMU_ERROR_H

#include <viommu/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Longest message, with its terminating zero. A comparison of capabilities lists every mismatch.
 * What is longer nevertheless ends in "...". */
#define VIOMMU_ERROR_MESSAGE_SIZE 2048

/**
 * Why a call failed. The caller owns it; it needs no initialisation and no release. It is written
 * only by a call that fails.
 */
struct viommu_error {
    int code;                                /**< the negative errno that the call returned */
    char message[VIOMMU_ERROR_MESSAGE_SIZE]; /**< one sentence, zero-terminated, without newline */
};

#ifdef __cplusplus
}
#endif
#endif
