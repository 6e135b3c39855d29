/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int read_path(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read(fd, buf, size - 1);
    close(fd);
    if (n < 0)
        return -errno;
    buf[n] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    return 0;
}

int read_text(char *buf, size_t size, const char *path_fmt, ...)
{
    char path[PATH_MAX];
    va_list args;

    va_start(args, path_fmt);
    vsnprintf(path, sizeof(path), path_fmt, args);
    va_end(args);
    return read_path(path, buf, size);
}

int read_hex(uint64_t *value, const char *path_fmt, ...)
{
    char path[PATH_MAX], text[64], *end;
    va_list args;
    int err;

    va_start(args, path_fmt);
    vsnprintf(path, sizeof(path), path_fmt, args);
    va_end(args);
    err = read_path(path, text, sizeof(text));
    if (err)
        return err;
    *value = strtoull(text, &end, 16);
    return end == text || *end ? -EINVAL : 0;
}

int write_text(const char *text, const char *path_fmt, ...)
{
    char path[PATH_MAX];
    va_list args;
    ssize_t n;
    int fd;

    va_start(args, path_fmt);
    vsnprintf(path, sizeof(path), path_fmt, args);
    va_end(args);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = write(fd, text, strlen(text));
    n = n < 0 ? -errno : 0;
    close(fd);
    return (int)n;
}

int read_link_name(char *buf, size_t size, const char *path_fmt, ...)
{
    char path[PATH_MAX], target[PATH_MAX], *slash;
    va_list args;
    ssize_t n;

    va_start(args, path_fmt);
    vsnprintf(path, sizeof(path), path_fmt, args);
    va_end(args);
    n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    slash = strrchr(target, '/');
    snprintf(buf, size, "%s", slash ? slash + 1 : target);
    return 0;
}

static bool has_ids(const char *addr, uint64_t vendor, uint64_t device)
{
    uint64_t v, d;

    return !read_hex(&v, "/sys/bus/pci/devices/%s/vendor", addr) && v == vendor &&
           !read_hex(&d, "/sys/bus/pci/devices/%s/device", addr) && d == device;
}

bool find_pci_function(char *addr, size_t size, uint64_t vendor, uint64_t device)
{
    DIR *dir = opendir("/sys/bus/pci/devices");
    const struct dirent *entry;
    bool found = false;

    if (!dir)
        return false;
    while (!found && (entry = readdir(dir)) != NULL) {
        found = entry->d_name[0] != '.' && has_ids(entry->d_name, vendor, device);
        if (found)
            snprintf(addr, size, "%s", entry->d_name);
    }
    closedir(dir);
    return found;
}

int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void sleep_ms(int ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000l};

    nanosleep(&ts, NULL);
}

bool wait_for_path(const char *path, int timeout_ms)
{
    while (access(path, F_OK)) {
        if (timeout_ms <= 0)
            return false;
        sleep_ms(10);
        timeout_ms -= 10;
    }
    return true;
}
