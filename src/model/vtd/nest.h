/* SPDX-License-Identifier: MIT */
/*
 * Guest tables on the host: what these files share. Everything here is under vtd->lock.
 *
 *   nest.c          what an invalidation means for each device
 *   nest_devices.c  devices coming and going, and their faults
 *   nest_memory.c   guest memory coming and going
 *   bind.c          one table entry -> what the device is attached to
 *   shadow.c        a guest's second-stage table, mirrored into an IOAS (shadow.h)
 *
 * A guest that nests itself has both: its second-stage table is mirrored, and its first-stage table
 * nested on the mirror instead of on the table of guest memory.
 */
#ifndef VTD_NEST_H
#define VTD_NEST_H

#include <sys/queue.h>

#include "model/vtd/vtd.h"

struct vtd_shadow;

/* What a function, or a PASID of it, is attached to. */
enum nest_state {
    NEST_BLOCKED,  /* to nothing */
    NEST_PARENT,   /* the table of guest memory: translation off, or pass-through */
    NEST_BOUND,    /* a nested HWPT: the guest's first-stage table */
    NEST_SHADOWED, /* an IOAS that mirrors the guest's second-stage table */
};

struct nest_target {
    enum nest_state state;
    uint32_t hwpt;             /* BOUND */
    struct vtd_shadow *shadow; /* SHADOWED, and BOUND when the guest nests: what it is nested on */
};

/*
 * Invalidations of the IOTLB since the last commit, for one stage. More than fit are one of
 * everything: what they cost the host is bounded, whatever the guest sends.
 */
#define NEST_PENDING_MAX 64

struct nest_pending {
    unsigned int count;
    bool everything;
    struct viommu_host_vtd_s1_invalidate entries[NEST_PENDING_MAX];
};

/* A function, or one PASID of it. */
struct nest_binding {
    struct vtd_assigned *assigned;
    uint32_t pasid; /* VIOMMU_PASID_NONE: requests without */
    struct nest_target target;
    bool dirty;    /* its entry may have changed: the next commit reads it again */
    bool by_entry; /* `entry` made it so; else translation is off, or nothing is attached */
    struct vtd_entry entry;     /* as it was when it was bound: invalidations name its domain */
    struct nest_pending first;  /* for the nested HWPT; of IOVAs */
    struct nest_pending second; /* for the mirror; of addresses that the second stage translates */
    TAILQ_ENTRY(nest_binding) link;
};

/* An object that the host did not destroy when it should have. */
struct nest_leftover {
    uint32_t id;
    bool filled; /* an IOAS that the host did not even empty */
    TAILQ_ENTRY(nest_leftover) link;
};

/*
 * PASIDs of one function that can be bound at a time. A guest that wants more is told by a fault;
 * the memory and host objects that it can make us hold are bounded.
 */
#define NEST_PASIDS_MAX 1024

struct vtd_assigned {
    struct vtd *vtd;
    struct viommu_pci_id id;
    uint16_t requester_id;         /* of the alias: tables are indexed by that */
    struct vtd_function *function; /* of the same; NULL: no memory for it, faults stay untold */
    char name[16];                 /* of id, for the log */
    struct viommu_host_device *device;
    bool lost; /* unbound by force: the host does not know it any more */
    bool scan; /* at the next commit, look for PASIDs that became present */
    unsigned int pasid_count;
    uint64_t *pasid_bits; /* those in `pasids`, by PASID */
    struct nest_binding rid;
    TAILQ_HEAD(nest_bindings, nest_binding) pasids;
    TAILQ_HEAD(, nest_leftover) leftovers;
    struct nest_requests *requests; /* NULL: its page requests do not reach us */
    TAILQ_ENTRY(vtd_assigned) link;
};

struct vtd_nest {
    struct memory_listener listener; /* first: nest_memory.c casts */
    struct vtd *vtd;
    TAILQ_HEAD(, vtd_assigned) devices;
    int descriptor; /* an epoll of the devices' fault queues, or -1 */
    /*
     * Guest memory, ascending by GPA. Not looked up in the memory map: a range that is being
     * removed is still found there after we have unmapped it, and must not be mapped again.
     */
    struct viommu_memory_range *ranges;
    size_t range_count;
    size_t areas; /* of all shadows */
};

/*
 * Pieces that all shadows of a unit together map: what a guest can make us and the host remember,
 * by that, is about 30 MB here and a few times that in the host.
 */
#define NEST_AREAS_MAX (1u << 18)

/* What things cost, in units of VTD_WORK_MAX. */
#define NEST_WORK_LEAF  1    /* of a second-stage table, or each part of one that is cut */
#define NEST_WORK_AREA  8    /* that is compared with the table */
#define NEST_WORK_ENTRY 8    /* context or PASID entry */
#define NEST_WORK_TABLE 64   /* page of a second-stage table */
#define NEST_WORK_CALL  32   /* host call that changes mappings; and 1 for every 64 KiB */
#define NEST_WORK_BIND  1000 /* host objects, attaching */
/* Do work: true while it is within what this call from outside may cost. */
bool nest_work(struct vtd *vtd, uint64_t units);
/* That it is not, as an error. */
int nest_work_exceeded(struct viommu_error *error);

/* What the guest's tables, or their being off, ask for at this moment. */
struct nest_wish {
    enum nest_state state;
    bool by_entry;
    const struct nest_pending *copy; /* the mirror in force with these ranges renewed; or NULL */
    const char *refusal;             /* state is BLOCKED although the entry is valid: why */
    struct vtd_entry entry;
};

/* nest.c */
/* Every binding of a device, the one without PASID first. */
typedef void nest_binding_fn(struct nest_binding *binding, const struct vtd_invalidation *what);
void nest_for_each_binding(struct vtd_assigned *assigned, nest_binding_fn *fn,
                           const struct vtd_invalidation *what);
/* PASIDs that are not attached are not remembered. */
void nest_drop_blocked_pasids(struct vtd_assigned *assigned);
/* What is marked, pending and to be looked for is made true now. */
void nest_commit_device(struct vtd_assigned *assigned);
/* All of it may have changed: for the next commit. */
void nest_replay_device(struct vtd_assigned *assigned);

/* nest_devices.c: blocked, where it was translated, and forgotten. */
void nest_remove_device(struct vtd_assigned *assigned);

/* bind.c */
void nest_binding_init(struct nest_binding *binding, struct vtd_assigned *assigned, uint32_t pasid,
                       enum nest_state state);
void nest_binding_wish(const struct nest_binding *binding, struct nest_wish *wish);
/* Make it so. When the host refuses, the binding is blocked, the guest is told, the log says why.
 */
void nest_binding_apply(struct nest_binding *binding, const struct nest_wish *wish);
void nest_binding_block(struct nest_binding *binding);
/* Something pending in [address, address + length) of a stage that is bound; length 0: everything.
 */
void nest_binding_invalidate_first(struct nest_binding *binding, uint64_t address, uint64_t length,
                                   bool leaf_only);
void nest_binding_invalidate_second(struct nest_binding *binding, uint64_t address,
                                    uint64_t length);
/* Hand over what is pending. */
void nest_binding_flush(struct nest_binding *binding);
/* Destroy a host object, now or at a later collect. */
void nest_destroy_object(struct vtd_assigned *assigned, uint32_t id);
void nest_collect(struct vtd_assigned *assigned);
/* The same for an IOAS, which is emptied first: what is not destroyed maps nothing. */
void nest_destroy_ioas(struct vtd_assigned *assigned, uint32_t id);
/* Memory left the guest. When the host keeps it mapped somewhere, it loses the device. */
void nest_check_leftovers(struct vtd_assigned *assigned);
/* The flag that HWPTs of a device carry when PASIDs of it may be attached too. */
uint32_t nest_hwpt_flags(const struct vtd_assigned *assigned);
/* PASIDs that the unit and the device have. */
uint32_t nest_pasid_count(const struct vtd_assigned *assigned);

/* nest_requests.c: a fault queue for the device, when it can make page requests; its ID, or 0; and
 * what the host has answered as the attachment of this PASID ends. */
int nest_requests_create(struct vtd_nest *nest);
void nest_requests_destroy(struct vtd_nest *nest);
void nest_requests_open(struct vtd_assigned *assigned);
void nest_requests_close(struct vtd_assigned *assigned);
/* Its requests, which nobody takes any more, do not make the descriptor readable. */
void nest_requests_ignore(struct vtd_assigned *assigned);
uint32_t nest_requests_queue(const struct vtd_assigned *assigned);
/* The host takes no table that delivers to it: there is no queue for later ones. Or there is. */
void nest_requests_suspend(struct vtd_assigned *assigned, bool suspended);
void nest_requests_forget(struct vtd_assigned *assigned, uint32_t pasid);

/* shadow.c */
/* The mirror for an entry that nests is a nesting parent. */
int vtd_shadow_create(struct vtd_shadow **out, struct vtd_assigned *assigned,
                      const struct vtd_entry *entry, struct viommu_error *error);
/* A second mirror of the same table, of which only these ranges are read anew. */
int vtd_shadow_copy(struct vtd_shadow **out, const struct vtd_shadow *old,
                    const struct nest_pending *ranges, struct viommu_error *error);
uint32_t vtd_shadow_hwpt(const struct vtd_shadow *shadow);
/*
 * Bring ranges up to the guest's table. -ESTALE: something was not done, as that would unmap for a
 * moment what stays mapped, and may_disturb is false. After another failure the shadow must not be
 * used any more.
 */
int vtd_shadow_sync(struct vtd_shadow *shadow, const struct nest_pending *ranges, bool may_disturb,
                    struct viommu_error *error);
bool vtd_shadow_maps(const struct vtd_shadow *shadow, uint64_t address);
typedef void vtd_shadow_fn(uint64_t iova, uint64_t length, void *opaque);
/* Each piece that is mapped, in ascending order. */
void vtd_shadow_for_each(const struct vtd_shadow *shadow, vtd_shadow_fn *fn, void *opaque);
/* Not attached any more. */
void vtd_shadow_destroy(struct vtd_shadow *shadow);

#endif
