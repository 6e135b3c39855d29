/* SPDX-License-Identifier: MIT */
#include "device_name.h"
#include "vmm.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool parse_name(const char *text, char *name, size_t size)
{
    unsigned int segment = 0, bus, device, function;
    int end = 0;

    if (text[strspn(text, "0123456789abcdefABCDEF:.")])
        return false;
    if (sscanf(text, "%5x:%2x:%2x.%1x%n", &segment, &bus, &device, &function, &end) != 4 ||
        text[end]) {
        segment = 0;
        end = 0;
        if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3 || text[end])
            return false;
    }
    if (device > 31 || function > 7)
        return false;
    return snprintf(name, size, "%04x:%02x:%02x.%x", segment, bus, device, function) < (int)size;
}

int device_names_add(struct device_names *names, const char *text, struct viommu_error *err)
{
    char *name;

    if (names->count == DEVICE_NAMES_MAX)
        return vmm_fail(err, EINVAL, "more than %u times --device; ask in several calls",
                        DEVICE_NAMES_MAX);
    name = names->names[names->count];
    if (!parse_name(text, name, sizeof(names->names[0])))
        return vmm_fail(err, EINVAL,
                        "--device takes SEGMENT:BUS:DEVICE.FUNCTION as 0000:3a:00.0, not '%s'",
                        text);
    names->list[names->count++] = name;
    return 0;
}
