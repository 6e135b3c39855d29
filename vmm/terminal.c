/* SPDX-License-Identifier: MIT */
#include "terminal.h"
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE_KEY 1 /* Ctrl-A */

static struct termios saved;
static bool is_raw;
static bool after_escape;
static atomic_bool do_not_wait;

void vmm_terminal_restore(void)
{
    if (is_raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    is_raw = false;
}

void vmm_terminal_raw(void)
{
    static bool registered;
    struct termios raw;

    if (is_raw || !isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp())
        return;
    if (tcgetattr(STDIN_FILENO, &saved))
        return;
    raw = saved;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    raw.c_lflag |= ISIG;
    raw.c_cc[VQUIT] = _POSIX_VDISABLE;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    if (!registered)
        atexit(vmm_terminal_restore);
    registered = true;
    is_raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/* Returns whether `key` is for the guest; it may be replaced. */
static bool take_key(char *key, bool *quit)
{
    if (!is_raw)
        return true;
    if (!after_escape) {
        after_escape = *key == ESCAPE_KEY;
        return !after_escape;
    }
    after_escape = false;
    if (*key == 'x')
        *quit = true;
    if (*key == 'c')
        *key = 3;
    return *key == 3 || *key == ESCAPE_KEY;
}

long vmm_terminal_read(char *buffer, size_t size, bool *quit)
{
    ssize_t got = read(STDIN_FILENO, buffer, size);
    long kept = 0;
    ssize_t i;

    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -1;
    if (got == 0)
        return -1;
    for (i = 0; i < got; i++) {
        char key = buffer[i];

        if (take_key(&key, quit))
            buffer[kept++] = key;
    }
    return kept;
}

void vmm_terminal_do_not_wait(bool enable)
{
    atomic_store(&do_not_wait, enable);
}

/* Waits until a write is taken; false when it is not to be waited for. */
static bool wait_writable(void)
{
    struct pollfd wait = {.fd = STDOUT_FILENO, .events = POLLOUT};
    int ready;

    do
        ready = poll(&wait, 1, atomic_load(&do_not_wait) ? 0 : -1);
    while (ready < 0 && errno == EINTR && !atomic_load(&do_not_wait));
    return ready > 0;
}

void vmm_terminal_write(const char *buffer, size_t size)
{
    ssize_t done;

    while (size && wait_writable()) {
        done = write(STDOUT_FILENO, buffer, size);
        if (done < 0 && errno != EAGAIN && errno != EINTR)
            return;
        if (done > 0) {
            buffer += done;
            size -= (size_t)done;
        }
    }
}
