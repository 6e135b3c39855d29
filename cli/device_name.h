/* SPDX-License-Identifier: MIT */
/* The devices that --device options name. */
#ifndef CLI_DEVICE_NAME_H
#define CLI_DEVICE_NAME_H

#include <stddef.h>
#include <viommu/error.h>

#define DEVICE_NAMES_MAX 64u

struct device_names {
    char names[DEVICE_NAMES_MAX][16]; /* as sysfs has them */
    const char *list[DEVICE_NAMES_MAX];
    size_t count;
};

/* "0000:3a:00.0", or without the segment. -EINVAL. */
int device_names_add(struct device_names *names, const char *text, struct viommu_error *err);

#endif
