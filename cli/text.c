/* SPDX-License-Identifier: MIT */
#include "text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 100u

void text_append(char *text, size_t size, const char *between, const char *format, ...)
{
    size_t length = strlen(text);
    va_list arguments;

    if (length)
        length += (size_t)snprintf(text + length, size - length, "%s", between);
    if (length >= size)
        return;
    va_start(arguments, format);
    vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

bool text_is_printable(char byte)
{
    return (byte >= ' ' && byte <= '~') || byte == '\n' || byte == '\t';
}

void text_make_printable(char *text)
{
    for (; *text; text++) {
        if (!text_is_printable(*text))
            *text = '?';
    }
}

/* How much of the text goes on a line: up to the last blank that fits, or one long word. */
static size_t line_length(const char *text, size_t room)
{
    size_t length = 0, next = 0;

    while (text[next]) {
        next += strspn(text + next, " ");
        next += strcspn(text + next, " ");
        if (next > room && length)
            break;
        length = next;
    }
    return length;
}

void text_print(unsigned int indent, const char *text)
{
    while (*text) {
        size_t length = line_length(text, COLUMNS - indent);

        printf("%*s%.*s\n", (int)indent, "", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
}
