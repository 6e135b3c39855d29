/* SPDX-License-Identifier: MIT */
#include "host/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int sys_open(void *opaque, const char *path, int flags)
{
    int descriptor = open(path, flags | O_CLOEXEC);

    (void)opaque;
    return descriptor < 0 ? -errno : descriptor;
}

static void sys_close(void *opaque, int descriptor)
{
    (void)opaque;
    close(descriptor);
}

static int sys_ioctl(void *opaque, int descriptor, unsigned long request, void *argument)
{
    int ret;

    (void)opaque;
    do {
        ret = ioctl(descriptor, request, argument);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

static ssize_t sys_read(void *opaque, int descriptor, void *buffer, size_t size)
{
    ssize_t ret = read(descriptor, buffer, size);

    (void)opaque;
    return ret < 0 ? -errno : ret;
}

static ssize_t sys_write(void *opaque, int descriptor, const void *buffer, size_t size)
{
    ssize_t ret = write(descriptor, buffer, size);

    (void)opaque;
    return ret < 0 ? -errno : ret;
}

static int sys_readable(void *opaque, int descriptor)
{
    struct pollfd poll_for = {.fd = descriptor, .events = POLLIN};
    int ret = poll(&poll_for, 1, 0);

    (void)opaque;
    if (ret < 0)
        return -errno;
    return ret && (poll_for.revents & POLLIN);
}

static int sys_eventfd(void *opaque)
{
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    (void)opaque;
    return descriptor < 0 ? -errno : descriptor;
}

static int sys_epoll(void *opaque, const int *descriptors, size_t count)
{
    struct epoll_event event = {.events = EPOLLIN};
    int set = epoll_create1(EPOLL_CLOEXEC), ret;

    (void)opaque;
    if (set < 0)
        return -errno;
    for (size_t i = 0; i < count; i++) {
        if (!epoll_ctl(set, EPOLL_CTL_ADD, descriptors[i], &event))
            continue;
        ret = -errno;
        close(set);
        return ret;
    }
    return set;
}

static int sys_readlink(void *opaque, const char *path, char *target, size_t size)
{
    ssize_t length = readlink(path, target, size);

    (void)opaque;
    if (length < 0)
        return -errno;
    if ((size_t)length == size)
        return -ENAMETOOLONG;
    target[length] = '\0';
    return 0;
}

static int sys_list(void *opaque, const char *path, host_sys_visit_fn *visit, void *visit_opaque)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    bool more = true;

    (void)opaque;
    if (!directory)
        return -errno;
    while (more && (entry = readdir(directory))) {
        if (entry->d_name[0] != '.')
            more = visit(visit_opaque, entry->d_name);
    }
    closedir(directory);
    return 0;
}

static int sys_device_number(void *opaque, int descriptor, unsigned int *major_number,
                             unsigned int *minor_number)
{
    struct stat status;

    (void)opaque;
    if (fstat(descriptor, &status))
        return -errno;
    *major_number = major(status.st_rdev);
    *minor_number = minor(status.st_rdev);
    return 0;
}

/* Files of memory alone have seals, whether some are set or not. */
static bool sys_is_memory_file(void *opaque, int descriptor)
{
    (void)opaque;
    return fcntl(descriptor, F_GET_SEALS) >= 0;
}

static uint64_t sys_memlock_limit(void *opaque)
{
    struct rlimit limit;

    (void)opaque;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

const struct host_sys host_sys_real = {
    .open = sys_open,
    .close = sys_close,
    .ioctl = sys_ioctl,
    .read = sys_read,
    .write = sys_write,
    .readable = sys_readable,
    .eventfd = sys_eventfd,
    .epoll = sys_epoll,
    .readlink = sys_readlink,
    .list = sys_list,
    .device_number = sys_device_number,
    .is_memory_file = sys_is_memory_file,
    .memlock_limit = sys_memlock_limit,
};
