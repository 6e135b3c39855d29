/* SPDX-License-Identifier: MIT */
/* In place of the other two where jansson was not there at build time. */
#include "host_json.h"
#include "vmm.h"
#include <errno.h>

int host_json_write(const struct host *host, struct viommu_error *err)
{
    (void)host;
    return vmm_fail(err, ENOTSUP,
                    "this viommu was built without jansson, and writes no JSON; leave out --json");
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
