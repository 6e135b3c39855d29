/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool klog_open(struct klog *log, int whence)
{
    log->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    return log->fd >= 0 && lseek(log->fd, 0, whence) >= 0;
}

bool klog_open_at_end(struct klog *log)
{
    return klog_open(log, SEEK_END);
}

bool klog_open_at_start(struct klog *log)
{
    return klog_open(log, SEEK_SET);
}

void klog_close(struct klog *log)
{
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
}

static bool contains_all(const char *text, const char *const parts[])
{
    for (; *parts; parts++) {
        if (!strstr(text, *parts))
            return false;
    }
    return true;
}

/* One read gives one record, "priority,sequence,time,flags;text\n"; EPIPE means some were lost. */
static ssize_t next_record(struct klog *log, char *record, size_t size, int64_t deadline)
{
    struct pollfd pfd = {.fd = log->fd, .events = POLLIN};
    ssize_t n;

    for (;;) {
        int64_t left = deadline - now_ms();

        n = read(log->fd, record, size - 1);
        if (n >= 0)
            return n;
        if (errno == EPIPE)
            continue;
        if (errno != EAGAIN || left <= 0)
            return -1;
        poll(&pfd, 1, (int)left);
    }
}

bool klog_wait(struct klog *log, const char *const parts[], char *line, size_t size, int timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;
    char record[2048], *text;
    ssize_t n;

    while ((n = next_record(log, record, sizeof(record), deadline)) >= 0) {
        record[n] = '\0';
        text = strchr(record, ';');
        text = text ? text + 1 : record;
        text[strcspn(text, "\n")] = '\0';
        if (contains_all(text, parts)) {
            snprintf(line, size, "%s", text);
            return true;
        }
    }
    return false;
}
