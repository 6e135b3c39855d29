/* SPDX-License-Identifier: MIT */
/* What the values of option keys mean: numbers and switches. */
#ifndef VMM_KEY_VALUES_H
#define VMM_KEY_VALUES_H

#include <stdbool.h>
#include <stdint.h>
#include <viommu/error.h>

struct vmm_key;

/*
 * A number, decimal or hexadecimal with 0x, in min..max. `value` stays as it is when the key was
 * not given. -EINVAL: the sentence names `what`, the key, the value and the range.
 */
int vmm_key_number(const char *what, const struct vmm_key *key, uint64_t min, uint64_t max,
                   uint64_t *value, struct viommu_error *err);

/* "on" or "off"; the key alone means on. */
int vmm_key_switch(const char *what, const struct vmm_key *key, bool *value,
                   struct viommu_error *err);

#endif
