/* SPDX-License-Identifier: MIT */
#include "key_values.h"
#include "device.h"
#include "vmm.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char *text, uint64_t *value)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    *value = strtoull(text, &end, text[1] == 'x' ? 16 : 10);
    return !errno && !*end;
}

int vmm_key_number(const char *what, const struct vmm_key *key, uint64_t min, uint64_t max,
                   uint64_t *value, struct viommu_error *err)
{
    uint64_t number;

    if (!key->value)
        return 0;
    if (!parse_number(key->value, &number) || number < min || number > max)
        return vmm_fail(err, EINVAL,
                        "%s: %s=%s is not a number between %" PRIu64 " and %" PRIu64 " (0x%" PRIx64
                        ")",
                        what, key->name, key->value, min, max, max);
    *value = number;
    return 0;
}

int vmm_key_switch(const char *what, const struct vmm_key *key, bool *value,
                   struct viommu_error *err)
{
    if (!key->value)
        return 0;
    *value = !strcmp(key->value, "") || !strcmp(key->value, "on");
    if (!*value && strcmp(key->value, "off") != 0)
        return vmm_fail(err, EINVAL, "%s: %s=%s is neither on nor off", what, key->name,
                        key->value);
    return 0;
}
