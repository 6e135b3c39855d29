/* SPDX-License-Identifier: MIT */
/* Filling struct viommu_error, and taking option structs that may grow. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Write at `from` in the message; one that does not fit ends in "..." instead of in mid-word. */
static void format_message(struct viommu_error *error, size_t from, const char *format,
                           va_list arguments) __attribute__((format(printf, 3, 0)));

static void format_message(struct viommu_error *error, size_t from, const char *format,
                           va_list arguments)
{
    static const char ellipsis[] = "...";
    size_t room = sizeof(error->message) - from;
    int length = vsnprintf(error->message + from, room, format, arguments);

    if (length < 0)
        error->message[from] = '\0';
    else if ((size_t)length >= room)
        memcpy(error->message + sizeof(error->message) - sizeof(ellipsis), ellipsis,
               sizeof(ellipsis));
}

#undef error_set /* what the analyzer sees of it elsewhere */
int error_set(struct viommu_error *error, int code, const char *format, ...)
{
    va_list arguments;

    if (!error)
        return code;
    error->code = code;
    va_start(arguments, format);
    format_message(error, 0, format, arguments);
    va_end(arguments);
    return code;
}

void error_append(struct viommu_error *error, const char *format, ...)
{
    va_list arguments;

    if (!error)
        return;
    va_start(arguments, format);
    format_message(error, strnlen(error->message, sizeof(error->message) - 1), format, arguments);
    va_end(arguments);
}

int error_copy_options(void *to, size_t to_size, const void *from, const char *what,
                       struct viommu_error *error)
{
    size_t size;

    if (!from)
        return error_set(error, -EINVAL, "%s are NULL; pass a struct begun with its _INIT", what);
    memcpy(&size, from, sizeof(size));
    if (size < sizeof(size))
        return error_set(error, -EINVAL,
                         "%s have size %zu, less than the size member itself; begin the struct "
                         "with its _INIT",
                         what, size);
    for (size_t i = to_size; i < size; i++) {
        if (((const unsigned char *)from)[i])
            return error_set(error, -E2BIG,
                             "%s use byte %zu, but this library knows only the first %zu bytes; "
                             "leave what is newer zero, or use a newer libviommu",
                             what, i, to_size);
    }
    memset(to, 0, to_size);
    memcpy(to, from, size < to_size ? size : to_size);
    memcpy(to, &to_size, sizeof(to_size));
    return 0;
}
