/* SPDX-License-Identifier: MIT */
/*
 * The type1 backend from inside.
 *
 *   type1.c    the host as a whole, devices bound and described
 *   groups.c   IOMMU groups with their containers: opened, filled and emptied
 *   ioas.c     address spaces and page tables, which are lists of ours
 *   attach.c   what a group's container maps
 *
 * The kernel knows containers only. An IOAS is a list of areas, and a HWPT a name for it; the
 * containers of the groups that are attached to a HWPT map what its IOAS holds. To unmap what a
 * container does not map is no error to the kernel, so one can be emptied after a failure
 * half-way. One lock is held during every call.
 */
#ifndef HOST_TYPE1_TYPE1_H
#define HOST_TYPE1_TYPE1_H

#include <pthread.h>
#include <sys/queue.h>
#include <viommu/type1.h>

#include "host/areas.h"
#include "host/map_errors.h"
#include "host/pci_device.h"
#include "host/sys.h"

/* How many ranges of IOVAs a container may have; Linux has two or three. */
#define TYPE1_RANGES_MAX 32

struct type1_ioas {
    LIST_ENTRY(type1_ioas) link;
    uint32_t id;
    void *areas; /* tsearch() tree of struct host_area */
    unsigned int hwpts;
};

struct type1_hwpt {
    LIST_ENTRY(type1_hwpt) link;
    uint32_t id;
    struct type1_ioas *ioas;
    unsigned int groups; /* attached */
};

struct type1_group {
    LIST_ENTRY(type1_group) link;
    char number[16];
    int descriptor;
    int container;
    unsigned int devices;    /* bound */
    struct type1_hwpt *hwpt; /* NULL: the container is empty */
    bool stuck;              /* it maps what it should not: only closing it helps */
};

struct type1_device {
    LIST_ENTRY(type1_device) link;
    uint32_t id;
    char address[HOST_PCI_ADDRESS_SIZE];
    int descriptor;
    bool attached; /* to the group's HWPT */
    struct type1_group *group;
    struct viommu_host_hw_info info;
};

struct type1_host {
    struct host_sys sys;
    const char *sysfs;
    struct viommu_log log;
    struct viommu_vfio_files files;
    pthread_mutex_t lock;
    uint32_t last_id;
    LIST_HEAD(, type1_ioas) ioases;
    LIST_HEAD(, type1_hwpt) hwpts;
    LIST_HEAD(, type1_group) groups;
    LIST_HEAD(, type1_device) devices;
};

/* type1.c */
int type1_create(struct viommu_host **out, const struct host_sys *sys, const char *sysfs,
                 const struct viommu_type1_options *options, struct viommu_error *error);
uint32_t type1_next_id(struct type1_host *host);
struct type1_device *type1_device_find(struct type1_host *host, uint32_t id);

/* groups.c. Lock held. */
int type1_container_open(const struct host_sys *sys, struct viommu_error *error); /* a descriptor */
int type1_group_get(struct type1_host *host, const struct host_pci_device *pci,
                    struct type1_group **out, struct viommu_error *error);
struct type1_group *type1_group_find(struct type1_host *host, uint32_t number); /* or NULL */
void type1_group_put(struct type1_host *host, struct type1_group *group);
int type1_group_map(struct type1_host *host, const struct type1_group *group, uint32_t ioas_id,
                    const struct host_area *area, struct viommu_error *error);
int type1_group_unmap(struct type1_host *host, const struct type1_group *group,
                      const struct host_area *area);
/* After a failure. When this fails too the group is stuck. */
void type1_group_undo_map(struct type1_host *host, struct type1_group *group,
                          const struct host_area *area);
/* At most TYPE1_RANGES_MAX; a negative errno when the kernel does not tell them. */
int type1_group_ranges(struct type1_host *host, const struct type1_group *group,
                       struct viommu_host_iova_range *ranges, size_t *count);

/* ioas.c */
int type1_ioas_alloc(void *opaque, uint32_t *ioas_id, struct viommu_error *error);
int type1_ioas_map(void *opaque, uint32_t ioas_id, uint64_t iova, void *address, uint64_t length,
                   uint32_t flags, struct viommu_error *error);
int type1_ioas_unmap(void *opaque, uint32_t ioas_id, uint64_t iova, uint64_t length,
                     uint64_t *unmapped, struct viommu_error *error);
int type1_ioas_iova_ranges(void *opaque, uint32_t ioas_id, struct viommu_host_iova_range *ranges,
                           size_t *count, struct viommu_error *error);
int type1_hwpt_alloc(void *opaque, const struct viommu_host_hwpt_options *options,
                     uint32_t *hwpt_id, struct viommu_error *error);
int type1_invalidate(void *opaque, uint32_t hwpt_id, enum viommu_host_data type,
                     const void *entries, size_t entry_length, uint32_t *count,
                     struct viommu_error *error);
int type1_destroy_object(void *opaque, uint32_t id, struct viommu_error *error);
struct type1_hwpt *type1_hwpt_find(struct type1_host *host, uint32_t id);
void type1_objects_destroy(struct type1_host *host);

/* attach.c */
int type1_attach(void *opaque, uint32_t device_id, uint32_t pasid, uint32_t hwpt_id,
                 struct viommu_error *error);
int type1_detach(void *opaque, uint32_t device_id, uint32_t pasid, struct viommu_error *error);
/* Lock held. */
int type1_device_detach(struct type1_host *host, struct type1_device *device,
                        struct viommu_error *error);

#endif
