/* SPDX-License-Identifier: MIT */
/**
 * @file log.h
 * @brief How the library speaks: one callback, with levels.
 */
#ifndef VIOMMU_LOG_H
#define VIOMMU_LOG_H

#include <viommu/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Levels, with the numbers of syslog(3). */
enum viommu_log_level {
    VIOMMU_LOG_NONE = 0, /**< as a threshold: say nothing */
    VIOMMU_LOG_ERROR = 3,
    VIOMMU_LOG_WARNING = 4,
    VIOMMU_LOG_INFO = 6,
    VIOMMU_LOG_DEBUG = 7,
};

/**
 * Receives one message without newline. May be called from any thread that calls the library, also
 * from several at once, and must not call back into the library.
 */
typedef void viommu_log_fn(void *opaque, enum viommu_log_level level, const char *message);

/**
 * Where messages go. It is copied by the calls that take it; fn may be NULL. What a guest can
 * provoke is rate-limited, and says how many messages were held back.
 */
struct viommu_log {
    viommu_log_fn *fn;
    void *opaque;
    enum viommu_log_level level; /**< messages above this number are not formatted at all */
};

#ifdef __cplusplus
}
#endif
#endif
