/* SPDX-License-Identifier: MIT */
#include "json.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>

json_t *json_array_of(const void *members, size_t count, size_t size,
                      json_t *(*object)(const void *member))
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, object((const char *)members + i * size))) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

int json_print(json_t *object, struct viommu_error *err)
{
    int ret;

    if (!object)
        return vmm_fail(err, ENOMEM, "no memory for the JSON");
    ret = json_dumpf(object, stdout, JSON_INDENT(2));
    json_decref(object);
    if (ret || putchar('\n') < 0 || fflush(stdout))
        return vmm_fail(err, EIO, "the JSON could not be written");
    return 0;
}
