/* SPDX-License-Identifier: MIT */
/*
 * The iommufd backend from inside.
 *
 *   iommufd.c   the host as a whole: /dev/iommu opened, checked, closed
 *   devices.c   VFIO character devices: found, opened, bound
 *   describe.c  what the IOMMU of a device can do
 *   attach.c    devices and PASIDs attached to page tables
 *   ioas.c      address spaces, and memory mapped into them
 *   hwpt.c      page tables, invalidations, dirty pages
 *   objects.c   what the kernel made for us, and the end of each
 *   faults.c    page requests
 *
 * IDs are the kernel's own. The kernel keeps its objects in order by itself; `lock` is for our
 * lists of them, and is held from a device's look-up to the end of a call on its descriptor, so
 * that nobody closes that meanwhile. To map and unmap takes no lock.
 */
#ifndef HOST_IOMMUFD_IOMMUFD_H
#define HOST_IOMMUFD_IOMMUFD_H

#include <pthread.h>
#include <sys/queue.h>
#include <viommu/iommufd.h>

#include "host/iommufd/uapi.h"
#include "host/pci_device.h"
#include "host/sys.h"

enum iommufd_type {
    IOMMUFD_IOAS,
    IOMMUFD_HWPT,
    IOMMUFD_FAULT_QUEUE,
};

/* Groups have as many requests as a device may have outstanding. */
#define IOMMUFD_FAULTS_KEPT 512

struct iommufd_fault_queue {
    int kernel;         /* its descriptor; -1: closed, to be destroyed */
    int kept_event;     /* an eventfd: 1 while something is kept */
    int poll_for;       /* readable when one of the two is */
    unsigned int users; /* HWPTs */
    size_t kept_next;
    size_t kept_count;
    struct viommu_host_page_request kept[IOMMUFD_FAULTS_KEPT];
};

/* What has an ID and is ours to destroy. */
struct iommufd_object {
    LIST_ENTRY(iommufd_object) link;
    uint32_t id;
    enum iommufd_type type;
    struct iommufd_fault_queue
        *faults; /* of a queue; or where the requests of a HWPT go, or NULL */
};

struct iommufd_pasid {
    LIST_ENTRY(iommufd_pasid) link;
    uint32_t pasid;
};

struct iommufd_device {
    LIST_ENTRY(iommufd_device) link;
    char *name;                          /* as its user names it */
    char address[HOST_PCI_ADDRESS_SIZE]; /* "": not known */
    char iommu[32];                      /* "": not known */
    int descriptor;
    bool told;         /* struct viommu_vfio_files was told of the descriptor */
    bool bound;        /* false: passed in, and waits for a bind */
    bool kernel_bound; /* by BIND_IOMMUFD; until it is closed */
    uint32_t id;
    struct viommu_host_hw_info info;
    LIST_HEAD(, iommufd_pasid) pasids; /* attached */
};

/* Memory of this process that is a mapping of a file. */
struct iommufd_file {
    LIST_ENTRY(iommufd_file) link;
    uintptr_t address;
    uint64_t length;
    int descriptor;
    uint64_t offset;
    bool pinnable; /* by file; asked once: a kernel may find out only when a device is attached */
};

struct iommufd_host {
    struct host_sys sys;
    const char *sysfs;
    struct viommu_log log;
    struct viommu_vfio_files vfio_files;
    int descriptor;
    bool maps_no_files; /* the kernel has no IOAS_MAP_FILE; atomic */
    pthread_mutex_t lock;
    LIST_HEAD(, iommufd_object) objects; /* the newest first: nothing uses an older one's user */
    LIST_HEAD(, iommufd_device) devices;
    LIST_HEAD(, iommufd_file) files;
};

/* iommufd.c */
int iommufd_create(struct viommu_host **out, const struct host_sys *sys, const char *sysfs,
                   const struct viommu_iommufd_options *options, struct viommu_error *error);
struct iommufd_host *iommufd_host_of(const struct viommu_host *host); /* NULL: another backend */
int iommufd_call(struct iommufd_host *host, unsigned long request, void *argument);

/* devices.c */
int iommufd_bind(void *opaque, const char *name, uint32_t *device_id, struct viommu_error *error);
void iommufd_unbind(void *opaque, uint32_t device_id);
struct iommufd_device *iommufd_device_find(struct iommufd_host *host, uint32_t id); /* under lock */
void iommufd_devices_close(struct iommufd_host *host);

/* describe.c: fills in device->info, of a bound device. */
int iommufd_describe(struct iommufd_host *host, struct iommufd_device *device,
                     struct viommu_error *error);
int iommufd_hw_info(void *opaque, uint32_t device_id, struct viommu_host_hw_info *info,
                    struct viommu_error *error);

/* attach.c */
int iommufd_attach(void *opaque, uint32_t device_id, uint32_t pasid, uint32_t hwpt_id,
                   struct viommu_error *error);
int iommufd_detach(void *opaque, uint32_t device_id, uint32_t pasid, struct viommu_error *error);
/* Everything of a device; false: the kernel did not do all of it. Under lock. */
bool iommufd_detach_all(struct iommufd_host *host, struct iommufd_device *device);

/* ioas.c */
int iommufd_ioas_alloc(void *opaque, uint32_t *ioas_id, struct viommu_error *error);
int iommufd_ioas_map(void *opaque, uint32_t ioas_id, uint64_t iova, void *address, uint64_t length,
                     uint32_t flags, struct viommu_error *error);
int iommufd_ioas_unmap(void *opaque, uint32_t ioas_id, uint64_t iova, uint64_t length,
                       uint64_t *unmapped, struct viommu_error *error);
int iommufd_ioas_iova_ranges(void *opaque, uint32_t ioas_id, struct viommu_host_iova_range *ranges,
                             size_t *count, struct viommu_error *error);
void iommufd_files_forget(struct iommufd_host *host);

/* hwpt.c */
int iommufd_hwpt_alloc(void *opaque, const struct viommu_host_hwpt_options *options,
                       uint32_t *hwpt_id, struct viommu_error *error);
int iommufd_invalidate(void *opaque, uint32_t hwpt_id, enum viommu_host_data type,
                       const void *entries, size_t entry_length, uint32_t *count,
                       struct viommu_error *error);
/* The same with the kernel's number of the type of entries. */
int iommufd_invalidate_entries(struct iommufd_host *host, uint32_t hwpt_id, uint32_t type,
                               const void *entries, size_t entry_length, uint32_t *count,
                               struct viommu_error *error);

/* objects.c: our list of what the kernel made for us. */
struct iommufd_object *iommufd_object_new(enum iommufd_type type, struct viommu_error *error);
void iommufd_object_add(struct iommufd_host *host, struct iommufd_object *object, uint32_t id);
struct iommufd_object *iommufd_object_find(struct iommufd_host *host, uint32_t id); /* under lock */
int iommufd_destroy_object(void *opaque, uint32_t id, struct viommu_error *error);
void iommufd_objects_destroy(struct iommufd_host *host);

/* faults.c */
int iommufd_fault_queue_alloc(void *opaque, uint32_t *queue_id, int *descriptor,
                              struct viommu_error *error);
int iommufd_fault_queue_read(void *opaque, uint32_t queue_id,
                             struct viommu_host_page_request *requests, size_t *count,
                             struct viommu_error *error);
int iommufd_fault_queue_respond(void *opaque, uint32_t queue_id,
                                const struct viommu_host_page_response *response,
                                struct viommu_error *error);
/* What is kept of an attachment that ended or changed is nobody's any more. Under lock. */
void iommufd_fault_requests_drop(struct iommufd_host *host, uint32_t device_id, uint32_t pasid);
void iommufd_fault_queue_close(struct iommufd_host *host, struct iommufd_fault_queue *queue);
/* 0, -EOPNOTSUPP (this kernel has no fault queues), or why it cannot be told. */
int iommufd_fault_queues_probe(struct iommufd_host *host);

#endif
