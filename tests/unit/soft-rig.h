/* SPDX-License-Identifier: MIT */
/* A simulated host with a device, guest memory and a guest first-stage table, for tests of soft. */
#ifndef SOFT_RIG_H
#define SOFT_RIG_H

#include "unit.h"
#include <viommu/soft.h>

#define PAGE      UINT64_C(4096)
#define RIG_PAGES 1024 /* of guest memory, from GPA 0 */

/* First-stage entry bits (VT-d 5.0, 9.7). */
#define P   UINT64_C(1)
#define RW  UINT64_C(2)
#define US  UINT64_C(4)
#define ACC UINT64_C(0x20)
#define DRT UINT64_C(0x40)
#define PS  UINT64_C(0x80)
#define EA  UINT64_C(0x400)
#define XD  (UINT64_C(1) << 63)
#define ALL (P | RW | US)

/* Where the guest's tables lie, and an IOVA with a different index at each level. */
#define PML5 UINT64_C(0x1f000)
#define PML4 UINT64_C(0x10000)
#define PDPT UINT64_C(0x11000)
#define PD   UINT64_C(0x12000)
#define PT   UINT64_C(0x13000)
#define DATA UINT64_C(0x55000)
#define IOVA UINT64_C(0x8080604567) /* 1, 2, 3, 4, 0x567 */

struct rig {
    struct viommu_host *host;
    struct viommu_soft_device *device;
    struct viommu_error error;
    uint32_t device_id;
    uint32_t ioas;
    uint32_t parent;
    uint32_t nested;
    char *memory;
};

void rig_create(struct rig *rig, const char *profile, enum viommu_soft_cache cache);
void rig_create_with(struct rig *rig, const struct viommu_soft_options *options);
void rig_destroy(struct rig *rig); /* gives everything back and looks at the census */

/* Guest memory: each page mapped for itself, at a host address far from its neighbours'. */
void rig_map(struct rig *rig, uint32_t flags);
void rig_parent(struct rig *rig, uint32_t flags); /* HWPT on the IOAS, the device attached */
char *rig_at(struct rig *rig, uint64_t gpa);

/* The guest's table: IOVA -> DATA, 4 KiB, all rights; and a nested HWPT on it, attached. */
void rig_table(struct rig *rig);
int rig_nest(struct rig *rig, uint64_t flags, uint64_t top, uint32_t width);
int rig_nested_alloc(struct rig *rig, const struct viommu_host_vtd_s1 *data, uint32_t flags,
                     uint32_t *id);
void rig_entry(struct rig *rig, uint64_t table, unsigned int index, uint64_t value);
uint64_t rig_entry_read(struct rig *rig, uint64_t table, unsigned int index);

/* One DMA of 8 bytes, without PASID and with; the status. */
enum viommu_dma_status rig_read(struct rig *rig, uint64_t iova, uint64_t *value);
enum viommu_dma_status rig_write(struct rig *rig, uint64_t iova, uint64_t value);
enum viommu_dma_status rig_access(struct rig *rig, uint64_t iova, uint32_t pasid, uint8_t access,
                                  struct viommu_dma_result *result);

int rig_invalidate(struct rig *rig, uint64_t addr, uint64_t npages, uint32_t flags);
struct viommu_soft_census rig_census(struct rig *rig);

#endif
