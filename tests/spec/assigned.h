/* SPDX-License-Identifier: MIT */
/*
 * The machine of guest_tables.h with a simulated host, whose devices are assigned to its functions
 * 00:00.0, 00:01.0, ... Every call on the host can be watched, and made to fail.
 */
#ifndef SPEC_ASSIGNED_H
#define SPEC_ASSIGNED_H

#include "guest_tables.h"

/* Where tests let GUEST_IOVA point. */
#define PAGE_A 0x80000u
#define PAGE_B 0x81000u

/* Fault reasons (VT-d 5.0, table 30). */
#define CONTEXT_INVALID   0x03
#define LEGACY_READ       0x06
#define PASID_NOT_PRESENT 0x59
#define PASID_INVALID     0x5b
#define FS_NOT_PRESENT    0x71

#define ASSIGNED_DEVICES 2
#define ASSIGNED_QUEUE   0x20000u /* the invalidation queue: two pages, 256 descriptors */
#define ASSIGNED_STATUS  0x22000u /* where wait descriptors write */

struct assigned {
    struct guest guest;
    struct viommu_host *host;
    const char *name[ASSIGNED_DEVICES];                /* that the host knows the devices by */
    struct viommu_soft_device *soft[ASSIGNED_DEVICES]; /* of the simulated host */
    struct viommu_assign *assign;
    struct viommu_assigned_device *device[ASSIGNED_DEVICES];
    struct viommu_pci_device *function[ASSIGNED_DEVICES];
    char trace[8192];        /* names of the calls, with spaces between */
    int countdown;           /* calls until one fails; negative: never */
    unsigned int fail_calls; /* bits of enum viommu_host_call that always fail */
    bool failed;
    int fail_with;
};

/* profile NULL: the default. Nothing is attached yet. */
void assigned_create(struct assigned *assigned, const char *profile, const char *properties);
/* The same on another host, which becomes the structure's, with its devices. */
void assigned_create_on(struct assigned *assigned, struct viommu_host *host,
                        const char *const devices[ASSIGNED_DEVICES], const char *properties);
void assigned_destroy(struct assigned *assigned);

/* Give host device i to function i. */
int assigned_try_attach(struct assigned *assigned, unsigned int i, struct viommu_error *error);
void assigned_attach(struct assigned *assigned, unsigned int i);
void assigned_detach(struct assigned *assigned, unsigned int i);

/* Forget what was traced and injected. */
void assigned_calm(struct assigned *assigned);
void assigned_trace(struct assigned *assigned, const char *what);
/* How often a call was made since the last calm. */
unsigned int assigned_calls(const struct assigned *assigned, const char *call);

/* Objects and attachments of the host; counters of DMA are left out (0). */
struct viommu_soft_census assigned_census(struct assigned *assigned);
void assigned_same(struct assigned *assigned, const struct viommu_soft_census *before);
struct viommu_stats assigned_stats(struct assigned *assigned);

/* DMA of 8 bytes by host device i. */
int assigned_dma(struct assigned *assigned, unsigned int i, uint32_t pasid, uint64_t iova,
                 bool write, uint64_t *value);
/* It arrives at the guest's memory at gpa, in both directions or for reading only. */
void assigned_arrives(struct assigned *assigned, unsigned int i, uint64_t iova, uint64_t gpa);
void assigned_arrives_pasid(struct assigned *assigned, unsigned int i, uint32_t pasid,
                            uint64_t iova, uint64_t gpa);
bool assigned_reads(struct assigned *assigned, unsigned int i, uint64_t iova);
/* It is refused, and the guest reads that in the one new fault record, which is then cleared. */
void assigned_faults(struct assigned *assigned, unsigned int i, uint64_t iova, uint8_t reason);
/* The guest has a fault record of this function and reason; it is cleared. */
void assigned_told(struct assigned *assigned, unsigned int i, uint8_t reason);
/* Clear all fault records. */
void assigned_clear_faults(struct assigned *assigned);
bool assigned_fault_pending(struct assigned *assigned);

/* Descriptors, each followed by a wait whose status write is checked, when `wait`. */
void assigned_context(struct assigned *assigned, unsigned int granularity, uint16_t domain,
                      uint16_t requester_id, unsigned int function_mask);
void assigned_pasid_cache(struct assigned *assigned, unsigned int granularity, uint16_t domain,
                          uint32_t pasid);
void assigned_iotlb(struct assigned *assigned, unsigned int granularity, uint16_t domain,
                    uint64_t address, unsigned int mask);
void assigned_piotlb(struct assigned *assigned, unsigned int granularity, uint16_t domain,
                     uint32_t pasid, uint64_t address, unsigned int mask);
void assigned_wait(struct assigned *assigned);
/* A descriptor at the tail that shall be written. */
void assigned_put(struct assigned *assigned, uint64_t *tail, uint64_t qw0, uint64_t qw1);
/* `count` pages from GUEST_IOVA on in PASID 0 of GUEST_DOMAIN and a wait, by one write of the tail.
 */
void assigned_batch(struct assigned *assigned, unsigned int count, uint64_t iova);

#define CONTEXT_GLOBAL 1
#define CONTEXT_DOMAIN 2
#define CONTEXT_DEVICE 3
#define PASID_DOMAIN   0
#define PASID_ONE      1
#define PASID_GLOBAL   3
#define IOTLB_GLOBAL   1
#define IOTLB_DOMAIN   2
#define IOTLB_PAGES    3
#define PIOTLB_PASID   2
#define PIOTLB_PAGES   3

/* A first-stage table with one page; and scalable tables that bind function i to it by PASID. */
uint64_t assigned_first_stage(struct assigned *assigned, uint64_t iova, uint64_t gpa);
void assigned_bind(struct assigned *assigned, unsigned int i, uint32_t pasid, uint64_t root,
                   uint16_t domain);
/* The same for a second-stage table in legacy mode. */
uint64_t assigned_second_stage(struct assigned *assigned, uint64_t iova, uint64_t gpa);

/* Change the entry of GUEST_IOVA. */
void assigned_set_page(struct assigned *assigned, uint64_t root, unsigned int levels,
                       uint64_t value);

/*
 * The machine with device 0 attached to function 0 and translation on, GUEST_IOVA at PAGE_A: by a
 * first-stage table of RID_PASID 0, or by a legacy second-stage table. Returns the table's root.
 */
uint64_t assigned_start_nested(struct assigned *assigned, const char *properties);
/*
 * The guest nests itself: GUEST_IOVA at PAGE_A by its first stage, and there at PAGE_A by its
 * second one, which also maps the guest's tables as they are. `properties` besides those that this
 * needs.
 */
void assigned_start_twice_nested(struct assigned *assigned, const char *properties, uint64_t *first,
                                 uint64_t *second);
/* A second-stage table that maps the guest's first 48 pages of tables and PAGE_B as they are. */
uint64_t assigned_second_stage_of_tables(struct assigned *assigned);
uint64_t assigned_start_shadowed(struct assigned *assigned, const char *properties);

#endif
