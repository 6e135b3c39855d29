/* SPDX-License-Identifier: MIT */
/*
 * Host profiles: a host written down as JSON, and read again. docs/host-profile.md has the schema.
 * Built without jansson, both are -ENOTSUP.
 */
#ifndef CLI_HOST_JSON_H
#define CLI_HOST_JSON_H

#include "host.h"
#include <viommu/error.h>

#define HOST_SCHEMA         "viommu-host-profile"
#define HOST_SCHEMA_VERSION 1

/* To standard output. -ENOMEM, -ENOTSUP. */
int host_json_write(const struct host *host, struct viommu_error *err);

/*
 * Fill a zeroed host with what `viommu check` and the simulated host need of a profile: its name,
 * IOMMUs, and what it lacks. -EINVAL and the errno of reading name the file, and what is wrong with
 * it.
 */
int host_json_read(struct host *host, const char *file, struct viommu_error *err);

#endif
