/* SPDX-License-Identifier: MIT */
#include "device.h"
#include "edu_pci.h"
#include "vfio.h"
#include "virtio_blk.h"
#include "vmm.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct vmm_device_kind vmm_device_kinds[] = {
    {"edu", VMM_EDU_ARGUMENTS, vmm_edu_create, vmm_edu_check},
    {"vfio", VMM_VFIO_ARGUMENTS, vmm_vfio_create, vmm_vfio_check},
    {"virtio-blk", VMM_VIRTIO_BLK_ARGUMENTS, vmm_virtio_blk_create, vmm_virtio_blk_check},
    {NULL, NULL, NULL, NULL},
};

/* Append `name` to a list in `text`, as far as there is room. */
static void list_add(char *text, size_t size, const char *name)
{
    if (*text)
        strncat(text, ", ", size - strlen(text) - 1);
    strncat(text, name, size - strlen(text) - 1);
}

/* The kind that an option names, and what follows it; NULL, with the error filled: none. */
static const struct vmm_device_kind *kind_of(const char *option, const char **arguments,
                                             struct viommu_error *err)
{
    const struct vmm_device_kind *kind;
    size_t length = strcspn(option, ",");
    char known[256] = "";

    for (kind = vmm_device_kinds; kind->name; kind++) {
        if (strlen(kind->name) == length && !memcmp(kind->name, option, length))
            break;
        list_add(known, sizeof(known), kind->name);
    }
    *arguments = option + length + (option[length] == ',');
    if (kind->name)
        return kind;
    vmm_fail(err, EINVAL, "--device does not know '%.*s'; there are: %s", (int)length, option,
             known);
    return NULL;
}

int vmm_device_check(const char *option, struct viommu_error *err)
{
    const char *arguments;
    const struct vmm_device_kind *kind = kind_of(option, &arguments, err);

    return kind ? kind->check(arguments, err) : -EINVAL;
}

int vmm_device_create(struct vmm *vm, const char *option, struct viommu_error *err)
{
    const char *arguments;
    const struct vmm_device_kind *kind = kind_of(option, &arguments, err);

    return kind ? kind->create(vm, arguments, err) : -EINVAL;
}

static struct vmm_key *key_find(struct vmm_key *keys, const char *name, size_t length)
{
    for (; keys->name; keys++) {
        if (strlen(keys->name) == length && !memcmp(keys->name, name, length))
            return keys;
    }
    return NULL;
}

static int key_unknown(const char *what, const char *text, size_t length,
                       const struct vmm_key *keys, struct viommu_error *err)
{
    char known[256] = "";

    for (; keys->name; keys++)
        list_add(known, sizeof(known), keys->name);
    return vmm_fail(err, EINVAL, "%s does not know the key '%.*s'; it takes: %s", what, (int)length,
                    text, *known ? known : "no key at all");
}

int vmm_keys_parse(const char *what, const char *text, struct vmm_key *keys,
                   struct viommu_error *err)
{
    size_t item, name;
    struct vmm_key *key;

    for (; *text; text += item + (text[item] == ',')) {
        item = strcspn(text, ",");
        name = strcspn(text, ",=");
        key = key_find(keys, text, name);
        if (!key)
            return key_unknown(what, text, name, keys, err);
        if (key->value)
            return vmm_fail(err, EINVAL, "%s has the key '%s' twice", what, key->name);
        key->value = name < item ? strndup(text + name + 1, item - name - 1) : strdup("");
        if (!key->value)
            return vmm_fail(err, ENOMEM, "out of memory for the arguments of %s", what);
    }
    return 0;
}

void vmm_keys_free(struct vmm_key *keys)
{
    for (; keys->name; keys++) {
        free(keys->value);
        keys->value = NULL;
    }
}
