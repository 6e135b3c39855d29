/* SPDX-License-Identifier: MIT */
/* What the registers of a host's IOMMU say, in words and one by one. */
#ifndef CLI_ABILITIES_H
#define CLI_ABILITIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viommu/host.h>

/* One bit of a capability register. */
struct ability {
    const char *key;    /* in JSON */
    const char *words;  /* for people */
    unsigned int index; /* of the register in struct viommu_host_hw_info */
    unsigned int bit;
};

/* Those that this kind of IOMMU can have; none for a kind whose registers are not known. */
const struct ability *abilities_of(enum viommu_host_iommu type, size_t *count);
bool ability_has(const struct ability *ability, const struct viommu_host_hw_info *info);

/* Bits of an IOVA that the second stage translates, and of a PASID; 0: none, or not known. */
unsigned int abilities_address_bits(const struct viommu_host_hw_info *info);
unsigned int abilities_pasid_bits(const struct viommu_host_hw_info *info);

/* Whether second-stage tables tell what was written, without which nothing is migrated. */
bool abilities_track_dirty(const struct viommu_host_hw_info *info);

/* Whether it remaps interrupts, without which the kernel gives no device away. */
bool abilities_remaps_interrupts(const struct viommu_host_hw_info *info);

/* "48 address bits, PASIDs of 20 bits, scalable mode, ..." */
void abilities_describe(const struct viommu_host_hw_info *info, char *text, size_t size);

#endif
