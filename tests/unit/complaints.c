/* SPDX-License-Identifier: MIT */
#include "complaints.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int standard_error = -1;
static int file = -1;

void complaints_listen(void)
{
    fflush(stderr);
    standard_error = dup(STDERR_FILENO);
    file = memfd_create("complaints", MFD_CLOEXEC);
    assert_true(standard_error >= 0 && file >= 0);
    assert_int_equal(dup2(file, STDERR_FILENO), STDERR_FILENO);
}

const char *complaints_heard(void)
{
    static char text[2048];
    ssize_t got;

    fflush(stderr);
    assert_int_equal(dup2(standard_error, STDERR_FILENO), STDERR_FILENO);
    got = pread(file, text, sizeof(text) - 1, 0);
    assert_true(got >= 0);
    text[got] = '\0';
    close(standard_error);
    close(file);
    return text;
}
