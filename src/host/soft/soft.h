/* SPDX-License-Identifier: MIT */
/*
 * The simulated host from inside.
 *
 * One reader-writer lock for each host: a DMA holds it for reading from its first table read to its
 * last byte, every call on the host holds it for writing. So a call that takes a translation away
 * returns only when no DMA uses it any more, and what only calls change needs no further care. What
 * a DMA itself changes (accessed and dirty bits, the cache, counters) is atomic or has its own
 * lock. Fault handlers run with no lock held; a gate lets a call wait for those under way.
 *
 * What a call takes away from devices with a device TLB, and answers to their page requests, are
 * told when the lock is free again, by soft_unlock(): such a call has `telling` from its beginning
 * to its end, so that it tells what is its own and returns when that was told.
 */
#ifndef HOST_SOFT_SOFT_H
#define HOST_SOFT_SOFT_H

#include <pthread.h>
#include <sys/queue.h>
#include <viommu/soft.h>

#include "base/log.h"

#define SOFT_PAGE_SHIFT 12
#define SOFT_PAGE_SIZE  (UINT64_C(1) << SOFT_PAGE_SHIFT)
#define SOFT_PAGE_MASK  (SOFT_PAGE_SIZE - 1)

/* The interrupt address range (VT-d 5.0, 3.14; AMD IOMMU 3.08, 2.1.4): never memory. */
#define SOFT_MSI_START UINT64_C(0xfee00000)
#define SOFT_MSI_LAST  UINT64_C(0xfeefffff)

/* What the registers say, and what kernels conclude from them. */
struct soft_caps {
    bool nest;           /* a nested HWPT can be made */
    bool nest_parent;    /* a nesting parent can be made */
    bool dirty_tracking; /* accessed and dirty bits in the second stage */
    bool second_2m;      /* page sizes of the second stage */
    bool second_1g;
    bool first_1g; /* 1 GiB pages in the first stage */
    bool first_5level;
    bool supervisor;       /* ECAP.SRS */
    bool execute;          /* ECAP.ERS */
    bool extended_access;  /* ECAP.EAFS */
    bool page_requests;    /* ECAP.PRS */
    bool device_tlb;       /* ECAP.DT */
    uint8_t address_width; /* input bits of the second stage */
    uint8_t levels;        /* of second-stage tables */
    uint8_t pasid_bits;    /* 0: no PASID */
};

/* Waits for calls that began before the wait, not for later ones. */
struct soft_gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned int running[2]; /* by the epoch in which they entered */
    unsigned int epoch;
    bool draining;
};

enum soft_type {
    SOFT_DEVICE,
    SOFT_IOAS,
    SOFT_PAGING,
    SOFT_NESTED,
    SOFT_FAULT_QUEUE,
};

/* Whatever has an ID. */
struct soft_object {
    LIST_ENTRY(soft_object) link;
    uint32_t id;
    enum soft_type type;
};

/* One page's translation, or why there is none. */
struct soft_translation {
    enum viommu_dma_status status;
    uint64_t hpa;             /* of the 4 KiB page */
    uint8_t permissions;      /* VIOMMU_DMA_READ | WRITE | EXECUTE, for the request's privilege */
    uint8_t granule_log2;     /* of the smallest page of any stage that served it */
    uint8_t first_stage_log2; /* of the guest's page: one invalidation in it drops all of it */
    bool write_ready;         /* dirty bits are set: a write may use it without a walk */
};

struct soft_cache_entry;

/* What the IOMMU remembers of one HWPT: 4 KiB pages, for each privilege its own. */
struct soft_cache {
    pthread_mutex_t lock;
    struct soft_cache_entry **buckets;
    size_t bucket_count;
    size_t count;
    size_t large; /* entries whose first-stage page is larger than 4 KiB */
    struct soft_host *host;
};

struct soft_host {
    struct viommu_host_hw_info info;
    struct soft_caps caps;
    enum viommu_soft_cache cache_mode;
    struct viommu_log log;
    pthread_mutex_t telling; /* before the lock; see soft_lock() */
    pthread_rwlock_t lock;
    uint32_t last_id;
    uint32_t last_cookie; /* of a page request group */
    LIST_HEAD(, soft_object) objects;
    LIST_HEAD(, viommu_soft_device) devices; /* plugged in; changed with `telling` held */
    uint64_t mapped_bytes;
    uint64_t table_pages;
    uint64_t cache_limit;
    uint64_t cache_entries; /* of all caches; from here on accessed atomically */
    uint64_t cache_clears;
    bool cache_clearing; /* somebody is */
    uint64_t dma_requests;
    uint64_t dma_faults;
    uint64_t translation_requests;
    uint64_t device_tlb_invalidations;
};

struct soft_hwpt;
struct soft_group; /* faults.c: page requests of one group */

struct soft_fault_queue {
    struct soft_object object;
    int descriptor;     /* an eventfd: 1 while unread is not 0 */
    uint64_t unread;    /* requests */
    unsigned int users; /* HWPTs */
};

/* Groups of page requests of one device that are not answered; answers that it keeps until they are
 * asked for. */
#define SOFT_GROUPS 512

/* What a device TLB is to forget when the lock is free; when it is too much, everything. */
#define SOFT_PENDING 16
struct soft_pending {
    unsigned int count;
    struct viommu_pci_tlb_invalidation ranges[SOFT_PENDING];
};

struct soft_ioas {
    struct soft_object object;
    void *areas; /* tsearch() tree of struct host_area, which never overlap */
    LIST_HEAD(, soft_hwpt) hwpts;
};

struct soft_hwpt {
    struct soft_object object;
    struct soft_host *host;
    unsigned int iommu;       /* that of the device it was allocated for */
    uint32_t flags;           /* VIOMMU_HOST_HWPT_* */
    unsigned int attachments; /* of devices and PASIDs */
    struct soft_cache cache;
    LIST_ENTRY(soft_hwpt) sibling; /* in the IOAS, or in the parent */
    /* paging */
    struct soft_ioas *ioas;
    uint64_t *root;
    LIST_HEAD(, soft_hwpt) nested;
    /* nested */
    struct soft_hwpt *parent;
    struct viommu_host_vtd_s1 first_stage;
    struct soft_fault_queue *faults; /* or NULL */
};

struct viommu_soft_device {
    struct soft_object object; /* id 0: not bound */
    LIST_ENTRY(viommu_soft_device) plugged_link;
    struct soft_host *host;
    char *name;
    unsigned int iommu;
    bool plugged;                   /* false after a surprise removal: lives on until unbound */
    unsigned int references;        /* being plugged in and being bound count one each */
    struct soft_hwpt *hwpt;         /* of requests without PASID; NULL: blocked */
    void *pasid_tree;               /* tsearch() tree of struct soft_pasid, for requests */
    LIST_HEAD(, soft_pasid) pasids; /* the same, to go through */
    viommu_host_fault_fn *fault_fn;
    void *fault_opaque;
    struct soft_gate handlers; /* fault handlers under way */
    struct soft_gate requests; /* DMA calls under way, handlers included */
    TAILQ_HEAD(, soft_group) groups;
    unsigned int group_count;
    struct viommu_pci_page_response answers[SOFT_GROUPS];
    unsigned int answer_count;
    bool has_ats; /* this and the next two: changed with `telling` and the lock held */
    struct viommu_pci_ats ats;
    struct soft_pending pending;
    struct log_limit tlb_limit;
};

struct soft_pasid {
    LIST_ENTRY(soft_pasid) link;
    uint32_t pasid;
    struct soft_hwpt *hwpt;
};

/* Where the steps of a walk are shown; NULL members and a NULL trace show nothing. */
struct soft_trace {
    struct viommu_soft_step *steps;
    size_t room;
    size_t count;
};

/* profiles.c: registers and what they mean. */
int soft_profile_find(const char *name, struct viommu_host_hw_info *info,
                      struct viommu_error *error);
int soft_caps_check(const struct viommu_host_hw_info *info, struct viommu_error *error);
void soft_caps_derive(struct soft_caps *caps, const struct viommu_host_hw_info *info);

/* gate.c */
void soft_gate_init(struct soft_gate *gate);
void soft_gate_destroy(struct soft_gate *gate);
unsigned int soft_gate_enter(struct soft_gate *gate); /* returns what exit wants */
void soft_gate_exit(struct soft_gate *gate, unsigned int epoch);
void soft_gate_drain(struct soft_gate *gate);

/* soft.c */
struct soft_host *soft_host_of(const struct viommu_host *host); /* NULL: another backend */
struct viommu_soft_device *soft_find_plugged(struct soft_host *host, const char *name);

/* ats.c: the lock for writing, in calls that may take something away from a device. */
void soft_lock(struct soft_host *host);
void soft_unlock(struct soft_host *host);
/* What a device TLB may have learnt by this PASID, or without, or by way of a HWPT. Within those.
 */
void soft_tlb_forget(struct viommu_soft_device *device, uint32_t pasid, uint64_t start,
                     uint64_t last);
void soft_tlb_forget_hwpt(const struct soft_hwpt *hwpt, uint64_t start, uint64_t last);

/* dma.c */
void soft_trace_step(struct soft_trace *trace, uint8_t stage, uint8_t level, uint64_t input,
                     uint64_t entry_address, uint64_t entry);

/* objects.c: IDs; the end of objects. Lock held for writing. */
int soft_object_add(struct soft_host *host, struct soft_object *object, enum soft_type type,
                    struct viommu_error *error);
void soft_object_remove(struct soft_object *object);
struct viommu_soft_device *soft_find_device(struct soft_host *host, uint32_t id);
struct soft_ioas *soft_find_ioas(struct soft_host *host, uint32_t id);
struct soft_hwpt *soft_find_hwpt(struct soft_host *host, uint32_t id);
int soft_hwpt_alloc(void *opaque, const struct viommu_host_hwpt_options *options, uint32_t *hwpt_id,
                    struct viommu_error *error);
int soft_destroy_object(void *opaque, uint32_t id, struct viommu_error *error);
void soft_destroy_all_objects(struct soft_host *host);

/* ioas.c */
int soft_ioas_alloc(void *opaque, uint32_t *ioas_id, struct viommu_error *error);
int soft_ioas_map(void *opaque, uint32_t ioas_id, uint64_t iova, void *address, uint64_t length,
                  uint32_t flags, struct viommu_error *error);
int soft_ioas_unmap(void *opaque, uint32_t ioas_id, uint64_t iova, uint64_t length,
                    uint64_t *unmapped, struct viommu_error *error);
int soft_ioas_iova_ranges(void *opaque, uint32_t ioas_id, struct viommu_host_iova_range *ranges,
                          size_t *count, struct viommu_error *error);
int soft_ioas_fill(struct soft_ioas *ioas, struct soft_hwpt *hwpt, struct viommu_error *error);
void soft_ioas_free(struct soft_host *host, struct soft_ioas *ioas);

/* Whether [hpa, hpa + length) is mapped somewhere in the IOAS, and for this access. Linear. */
enum viommu_dma_status soft_ioas_holds(const struct soft_ioas *ioas, uint64_t hpa, uint64_t length,
                                       uint8_t access);

/* attach.c */
int soft_bind(void *opaque, const char *name, uint32_t *device_id, struct viommu_error *error);
void soft_unbind(void *opaque, uint32_t device_id);
int soft_attach(void *opaque, uint32_t device_id, uint32_t pasid, uint32_t hwpt_id,
                struct viommu_error *error);
int soft_detach(void *opaque, uint32_t device_id, uint32_t pasid, struct viommu_error *error);
int soft_set_fault_handler(void *opaque, uint32_t device_id, viommu_host_fault_fn *fn,
                           void *fn_opaque, struct viommu_error *error);
void soft_device_block(struct viommu_soft_device *device); /* detach all; lock held for writing */
struct soft_hwpt *soft_device_hwpt(const struct viommu_soft_device *device, uint32_t pasid);
void soft_device_put(struct viommu_soft_device *device); /* frees with the last reference */

/* faults.c. Within soft_lock() and soft_unlock(), but for the three calls of the backend. */
struct soft_fault_queue *soft_find_fault_queue(struct soft_host *host, uint32_t id);
void soft_fault_queue_free(struct soft_fault_queue *queue);
/* What the device has asked for by this PASID, or without, is answered: it is attached elsewhere.
 */
void soft_faults_end(struct viommu_soft_device *device, uint32_t pasid);
int soft_fault_queue_alloc(void *opaque, uint32_t *queue_id, int *descriptor,
                           struct viommu_error *error);
int soft_fault_queue_read(void *opaque, uint32_t queue_id,
                          struct viommu_host_page_request *requests, size_t *count,
                          struct viommu_error *error);
int soft_fault_queue_respond(void *opaque, uint32_t queue_id,
                             const struct viommu_host_page_response *response,
                             struct viommu_error *error);

/* second.c: second-stage tables of a paging HWPT. Map and unmap: lock held for writing. */
int soft_second_create(struct soft_hwpt *hwpt);
void soft_second_destroy(struct soft_hwpt *hwpt);
int soft_second_map(struct soft_hwpt *hwpt, uint64_t iova, uint64_t hpa, uint64_t length,
                    uint32_t flags);
void soft_second_unmap(struct soft_hwpt *hwpt, uint64_t iova, uint64_t length);
/* access: VIOMMU_DMA_READ and _WRITE. quiet: leave accessed and dirty bits alone. */
void soft_second_walk(const struct soft_hwpt *hwpt, uint64_t input, uint8_t access, bool quiet,
                      struct soft_trace *trace, struct soft_translation *translation);

/* first.c: a guest's first-stage table, each of its addresses translated by the parent. */
void soft_nested_walk(const struct soft_hwpt *hwpt, const struct viommu_dma_request *request,
                      uint64_t iova, bool quiet, struct soft_trace *trace,
                      struct soft_translation *translation);

/* cache.c */
void soft_cache_init(struct soft_cache *cache, struct soft_host *host);
void soft_cache_destroy(struct soft_cache *cache);
bool soft_cache_find(struct soft_cache *cache, uint64_t iova, bool privileged,
                     struct soft_translation *translation);
void soft_cache_insert(struct soft_cache *cache, uint64_t iova, bool privileged,
                       const struct soft_translation *translation);
void soft_cache_clear(struct soft_cache *cache);
void soft_cache_drop(struct soft_cache *cache, uint64_t start, uint64_t last);
int soft_invalidate(void *opaque, uint32_t hwpt_id, enum viommu_host_data type, const void *entries,
                    size_t entry_length, uint32_t *count, struct viommu_error *error);

#endif
