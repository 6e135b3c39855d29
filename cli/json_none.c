/* SPDX-License-Identifier: MIT */
/* In place of all that reads and writes JSON, where jansson was not there at build time. */
#include "check.h"
#include "host_json.h"
#include "vmm.h"
#include <errno.h>

static int refuse_to_write(struct viommu_error *err)
{
    return vmm_fail(err, ENOTSUP,
                    "this viommu was built without jansson, and writes no JSON; leave out --json");
}

int host_json_write(const struct host *host, struct viommu_error *err)
{
    (void)host;
    return refuse_to_write(err);
}

int check_json_write(const struct check *check, const char *suggested, struct viommu_error *err)
{
    (void)check;
    (void)suggested;
    return refuse_to_write(err);
}

int host_json_read(struct host *host, const char *file, struct viommu_error *err)
{
    (void)host;
    return vmm_fail(
        err, ENOTSUP,
        "this viommu was built without jansson, and cannot read host profile %s; name a "
        "built-in one",
        file);
}
