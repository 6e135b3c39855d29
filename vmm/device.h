/* SPDX-License-Identifier: MIT */
/*
 * The kinds of --device, and the key=value lists that options carry.
 */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <stddef.h>
#include <viommu/error.h>

struct vmm;

/*
 * A device kind. `create` gets what follows "KIND," on the command line ("" without arguments),
 * makes the device and registers its PCI function; on failure it leaves nothing behind, returns a
 * negative errno and fills `err` with one sentence. Called before the first vCPU thread exists,
 * with vm->memory, vm->viommu_pci, vm->units and vm->host ready.
 */
struct vmm_device_kind {
    const char *name;
    const char *arguments; /* for the help text: "path=FILE[,readonly]" */
    int (*create)(struct vmm *vm, const char *arguments, struct viommu_error *err);
    /* Whether `create` would understand them. Needs no machine. */
    int (*check)(const char *arguments, struct viommu_error *err);
};

/* The table is in device.c; it ends with a NULL name. */
extern const struct vmm_device_kind vmm_device_kinds[];

/* Make the device that a --device option describes. */
int vmm_device_create(struct vmm *vm, const char *option, struct viommu_error *err);

/* Whether what an option says can be understood, before anything is opened for it. */
int vmm_device_check(const char *option, struct viommu_error *err);

/* One key that an option takes; `value` is filled by vmm_keys_parse() and is NULL if not given. */
struct vmm_key {
    const char *name;
    char *value; /* malloc()ed; "" for a key without "=" */
};

/*
 * Split "key=value,key,..." into `keys` (ended by a NULL name). Unknown and repeated keys are
 * errors that name `what` and the keys there are. vmm_keys_free() in either case.
 */
int vmm_keys_parse(const char *what, const char *text, struct vmm_key *keys,
                   struct viommu_error *err);
void vmm_keys_free(struct vmm_key *keys);

#endif
