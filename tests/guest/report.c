/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <stdarg.h>
#include <stdio.h>

static char current_subject[96];
static unsigned failures;

void subject(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(current_subject, sizeof(current_subject), fmt, args);
    va_end(args);
}

static void print_line(const char *verdict, const char *fmt, va_list args)
{
    printf("check: %s%s%s", verdict, current_subject, current_subject[0] ? ": " : "");
    vprintf(fmt, args);
    printf("\n");
    fflush(stdout);
}

void ok(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    print_line("ok - ", fmt, args);
    va_end(args);
}

void note(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    print_line("note - ", fmt, args);
    va_end(args);
}

bool expect(bool good, const char *what, const char *why, ...)
{
    char reason[512];
    va_list args;

    if (good) {
        ok("%s", what);
        return true;
    }
    va_start(args, why);
    vsnprintf(reason, sizeof(reason), why, args);
    va_end(args);
    failures++;
    printf("check: FAIL - %s%s%s: %s\n", current_subject, current_subject[0] ? ": " : "", what,
           reason);
    fflush(stdout);
    return false;
}

bool need(bool good, const char *what, const char *why)
{
    return good || expect(false, what, "%s", why);
}

bool all_passed(void)
{
    return failures == 0;
}
