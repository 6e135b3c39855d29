/* SPDX-License-Identifier: MIT */
/* What is written as JSON. What fails for want of memory is NULL, and json_pack() with it. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <viommu/error.h>

/* An array of `count` members of `size` bytes, each made into an object. */
json_t *json_array_of(const void *members, size_t count, size_t size,
                      json_t *(*object)(const void *member));

/* Print to standard output, and release. -ENOMEM (object is NULL), -EIO. */
int json_print(json_t *object, struct viommu_error *err);

#endif
