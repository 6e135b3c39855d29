/* SPDX-License-Identifier: MIT */
/*
 * Every system call that a backend of real hardware makes. Tests put a kernel of their own in its
 * place. Calls that fail return a negative errno.
 */
#ifndef HOST_SYS_H
#define HOST_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* False ends the listing. */
typedef bool host_sys_visit_fn(void *opaque, const char *name);

struct host_sys {
    void *opaque; /* first argument of each call */
    int (*open)(void *opaque, const char *path, int flags);
    void (*close)(void *opaque, int descriptor);
    int (*ioctl)(void *opaque, int descriptor, unsigned long request, void *argument);
    ssize_t (*read)(void *opaque, int descriptor, void *buffer, size_t size);
    ssize_t (*write)(void *opaque, int descriptor, const void *buffer, size_t size);
    /* 1: a read would give something, 0: nothing is there; does not wait. */
    int (*readable)(void *opaque, int descriptor);
    int (*eventfd)(void *opaque); /* does not block, counts from 0 */
    int (*epoll)(void *opaque, const int *descriptors, size_t count); /* readable: any of them is */
    int (*readlink)(void *opaque, const char *path, char *target, size_t size); /* with its zero */
    int (*list)(void *opaque, const char *path, host_sys_visit_fn *visit, void *visit_opaque);
    int (*device_number)(void *opaque, int descriptor, unsigned int *major, unsigned int *minor);
    bool (*is_memory_file)(void *opaque, int descriptor); /* memfd, or of tmpfs or hugetlbfs */
    uint64_t (*memlock_limit)(void *opaque);              /* bytes; UINT64_MAX: none */
};

/* The real ones. */
extern const struct host_sys host_sys_real;

/* Where Linux shows its devices, when tests do not show others. */
#define HOST_SYSFS "/sys"

#endif
