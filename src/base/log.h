/* SPDX-License-Identifier: MIT */
/* Sending messages to the embedder's callback. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <viommu/log.h>

/* Does nothing, and formats nothing, when log has no callback or the level is above its threshold.
 */
void log_message(const struct viommu_log *log, enum viommu_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * For what a guest can provoke. The first LOG_LIMIT_BURST of a kind are said, the last of them with
 * a word that more are held back; then only the 2nd, 4th, 8th, ... times that, each telling how
 * many were: bounded without a clock. One struct for each kind of message.
 */
#define LOG_LIMIT_BURST 16

struct log_limit {
    uint64_t seen; /* accessed atomically */
};

void log_limited(const struct viommu_log *log, struct log_limit *limit, enum viommu_log_level level,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
