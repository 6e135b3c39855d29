/* SPDX-License-Identifier: MIT */
#include <viommu/version.h>

#define TEXT(x)        #x
#define TEXT_OF(macro) TEXT(macro)

const char *viommu_version(void)
{
    return TEXT_OF(VIOMMU_VERSION_MAJOR) "." TEXT_OF(VIOMMU_VERSION_MINOR) "." TEXT_OF(
        VIOMMU_VERSION_PATCH);
}
