/* SPDX-License-Identifier: MIT */
/* Sending messages to the embedder's callback. */
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <viommu/error.h>

/* An error's sentence, and what is said around it. */
#define MESSAGE_SIZE (VIOMMU_ERROR_MESSAGE_SIZE + 512)

static bool is_wanted(const struct viommu_log *log, enum viommu_log_level level)
{
    return log && log->fn && level <= log->level;
}

static void emit(const struct viommu_log *log, enum viommu_log_level level, const char *note,
                 const char *format, va_list arguments) __attribute__((format(printf, 4, 0)));

static void emit(const struct viommu_log *log, enum viommu_log_level level, const char *note,
                 const char *format, va_list arguments)
{
    char message[MESSAGE_SIZE];
    size_t length;

    if (vsnprintf(message, sizeof(message), format, arguments) < 0)
        return;
    length = strlen(message);
    snprintf(message + length, sizeof(message) - length, "%s", note);
    log->fn(log->opaque, level, message);
}

void log_message(const struct viommu_log *log, enum viommu_log_level level, const char *format, ...)
{
    va_list arguments;

    if (!is_wanted(log, level))
        return;
    va_start(arguments, format);
    emit(log, level, "", format, arguments);
    va_end(arguments);
}

void log_limited(const struct viommu_log *log, struct log_limit *limit, enum viommu_log_level level,
                 const char *format, ...)
{
    char note[64] = "";
    va_list arguments;
    uint64_t seen;

    if (!is_wanted(log, level))
        return;
    seen = __atomic_add_fetch(&limit->seen, 1, __ATOMIC_RELAXED);
    if (seen > LOG_LIMIT_BURST) {
        uint64_t bursts = seen / LOG_LIMIT_BURST;

        if (seen % LOG_LIMIT_BURST || (bursts & (bursts - 1)))
            return;
        snprintf(note, sizeof(note), " (%" PRIu64 " like it were held back)", seen / 2 - 1);
    } else if (seen == LOG_LIMIT_BURST) {
        snprintf(note, sizeof(note), " (more like it are held back, and counted)");
    }
    va_start(arguments, format);
    emit(log, level, note, format, arguments);
    va_end(arguments);
}
