/* SPDX-License-Identifier: MIT */
/* Host profiles, in a file or built into the library, as hosts. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include "host.h"
#include <viommu/error.h>

/*
 * Fill a zeroed host from a file, or from the built-in profile of that name. -ENOENT (neither; the
 * message lists the names), or as host_json_read().
 */
int profile_load(struct host *host, const char *name, struct viommu_error *err);

/* What an IOMMU of it can do, as the simulated host takes it: a vmm_profile_fn. */
int profile_read_info(const char *file, const char *iommu, struct viommu_host_hw_info *info,
                      struct viommu_error *err);

#endif
