/* SPDX-License-Identifier: MIT */
/*
 * The inside of a VT-d remapping unit: what its chapters (one file each) share.
 *
 *   options.c      properties, and the rules between them
 *   registers.c    the register table; MMIO of any size
 *   command.c      global command and status, root table pointer, invalidation registers
 *   queue.c        the invalidation queue
 *   queue_devices.c  its descriptors that go to devices
 *   invalidate.c   what an invalidation does to our caches and to the host; in batches
 *   ats.c          translation requests of device TLBs
 *   device_tlb.c   functions that have one; invalidations under way
 *   page_requests.c  the page request queue
 *   fault.c        primary fault logging and its interrupt
 *   tables.c       root, context, PASID directory and PASID entries
 *   translate.c    walking the stages for a request
 *   spaces.c       requester ID -> address space and assigned device; the PCI hooks
 *   protect.c      protected memory regions
 *   compare.c      what was promised against what a host has
 *   interrupt.c    interrupt remapping: table entries, source validation, invalidations
 *   posted.c       interrupt posting
 *   nest.c         guest tables on the host: nested HWPTs, pass-through, blocking
 *   nest_devices.c   assigned devices coming and going
 *   nest_memory.c    guest memory coming and going
 *   nest_requests.c  page requests of assigned devices
 *   shadow*.c      guest second-stage tables mirrored into an IOAS
 *   sanitize*.c    what the guest's driver does wrong
 *
 * Locks. `lock` serializes register writes, the invalidation queue and everything that talks to the
 * host; it is held while draining. `fault_lock` protects the fault registers and records, is taken
 * inside `lock` or alone, and is never held while draining or calling out. DMA takes neither: it
 * reads `translation` and guest memory; so do interrupts with `interrupt`.
 */
#ifndef VTD_VTD_H
#define VTD_VTD_H

#include <pthread.h>
#include <viommu/ats.h>
#include <viommu/host.h>
#include <viommu/interrupt.h>
#include <viommu/vtd.h>

#include "base/log.h"
#include "dma/space.h"
#include "memory/memory.h"
#include "model/model.h"

/* Bytes of register space at most. One page, or two when the fault records need them:
 * vtd_options_mmio_size() (VT-d 5.0, 11.1). */
#define VTD_MMIO_SIZE_MAX 8192

/*
 * How requests are translated at this moment, in one word that DMA reads without a lock: the
 * latched RTADDR_REG (root table address 63:12, translation table mode 11:10), and bit 0:
 * translation enabled (GSTS.TES).
 */
#define VTD_TRANSLATION_ENABLED (UINT64_C(1) << 0)
#define VTD_TTM_MASK            (UINT64_C(3) << 10)
#define VTD_TTM_LEGACY          0
#define VTD_TTM_SCALABLE        1
#define VTD_TTM_RESERVED        2
#define VTD_TTM_ABORT           3

/*
 * How interrupts are remapped at this moment, likewise: the latched IRTA_REG (table address 63:12,
 * EIME 11, size 3:0), and GSTS.IRES and CFIS in bits that are reserved there.
 */
#define VTD_INTERRUPT_ENABLED       (UINT64_C(1) << 4)
#define VTD_INTERRUPT_COMPATIBILITY (UINT64_C(1) << 5)

#define VTD_CACHE_LINE 64

struct vtd;
struct vtd_assigned;

/* One requester ID of the segment: its address space, and the host device behind it when it is
 * assigned. */
struct vtd_function {
    struct vtd *vtd;
    uint16_t requester_id;
    struct viommu_dma_space *space;
    struct vtd_assigned *assigned; /* under vtd->lock, but for its being NULL or not */
    struct vtd_tlb *tlb;           /* the same; its device TLB */
    struct vtd_function *next;     /* in vtd->all_functions */
    /* On a line of its own: threads that miss in different functions share no memory that they
     * write. */
    uint64_t walks __attribute__((aligned(VTD_CACHE_LINE)));
};

/* protect.c: [base, last], nothing when last lies below base; and all there are: low and high. */
struct vtd_region {
    uint64_t base, last;
};
#define VTD_PROTECTED_REGIONS 2
struct vtd_protection {
    struct vtd_region regions[VTD_PROTECTED_REGIONS];
};

struct vtd_nest;      /* nest_memory.c: the host side of this unit */
struct vtd_sanitizer; /* sanitize.c: what the guest's mistakes are seen by */
struct vtd_tlb;       /* device_tlb.c: one device TLB */

/*
 * What one call from outside (a register write, attach, reset; for memory that comes and goes: one
 * device of it) may make us do for assigned devices, whatever the guest's tables and queue say: in
 * units of about 60 ns, so about a second, plus what the host takes for calls that are slower than
 * nest.h reckons. 2^22 leaves, 16 GiB by pages of 4 KiB, fit several times. What does not fit is
 * blocked, with a fault and a log message; the next call has all of it again.
 */
#define VTD_WORK_MAX (UINT64_C(1) << 24)

struct vtd {
    struct viommu base;
    struct viommu_vtd_options options;
    uint64_t cap;  /* CAP_REG */
    uint64_t ecap; /* ECAP_REG */

    pthread_mutex_t lock;
    /* The registers: two of 32 bits or one of 64 bits each, so that no read tears. Atomic. */
    uint64_t registers[VTD_MMIO_SIZE_MAX / 8];
    uint64_t root;        /* RTADDR_REG as latched by the last SRTP */
    uint64_t translation; /* see above; atomic */
    /* NULL: off. Read within a read-side section; changed under lock, as is what it points to,
     * while it is NULL and drained. */
    const struct vtd_protection *protected;
    struct vtd_protection protection;

    uint64_t interrupt_table;        /* IRTA_REG as latched by the last SIRTP */
    uint64_t interrupt;              /* see above; atomic */
    uint32_t stale_first, stale_end; /* entries invalidated since the last commit: [first, end) */
    viommu_interrupt_changed_fn *interrupt_changed;
    void *interrupt_opaque;

    pthread_mutex_t fault_lock;
    unsigned int fault_next; /* index of the next fault record to write */

    struct vtd_function *
        *functions[256]; /* by bus, then devfn; published, never removed before destroy */
    struct vtd_function *all_functions; /* the same, linked */
    pthread_mutex_t functions_lock;     /* adding to them */

    struct vtd_pending *pending; /* invalidate.c: marked, not yet drained */
    struct vtd_nest *nest;
    struct vtd_sanitizer *sanitizer; /* NULL: off */

    struct vtd_tlb *tlbs;         /* linked; read under lock or tlb_lock, changed under both */
    unsigned int tlb_outstanding; /* invalidations that are not answered yet, of all */
    uint32_t tlb_next_tag;
    bool tlb_timed_out; /* one of those that are over; by this function */
    uint16_t tlb_timed_out_by;
    pthread_mutex_t tlb_lock; /* inside lock or alone; never held while calling out */
    pthread_mutex_t prq_lock; /* the page request queue's tail; as tlb_lock */

    uint64_t work;             /* left of VTD_WORK_MAX */
    struct viommu_stats stats; /* relaxed atomics: vtd_count() */

    struct log_limit fault_limit, queue_limit, nest_limit;
};

#define vtd_count(vtd, counter) __atomic_fetch_add(&(vtd)->stats.counter, 1, __ATOMIC_RELAXED)

/* Under vtd->lock, where it is taken. */
static inline void vtd_work_refill(struct vtd *vtd)
{
    vtd->work = VTD_WORK_MAX;
}

static inline struct vtd *vtd_of(struct viommu *viommu)
{
    return (struct vtd *)viommu;
}

/* options.c: check the properties together; derive CAP_REG and ECAP_REG from them and from nothing
 * else. */
int vtd_options_check(const struct viommu_vtd_options *options, struct viommu_error *error);
uint64_t vtd_options_cap(const struct viommu_vtd_options *options);
uint64_t vtd_options_ecap(const struct viommu_vtd_options *options);
/* 4096, or 8192 with many fault records. */
uint64_t vtd_options_mmio_size(const struct viommu_vtd_options *options);
/* The VIOMMU_CAP_* bits. hw_nested promises to nest what the guest puts into a first stage: without
 * scalable mode and first stage there is nothing to promise, and the bit is not reported. */
uint64_t vtd_options_viommu_cap(const struct viommu_vtd_options *options);

/* registers.c */
void vtd_registers_reset(struct vtd *vtd);
uint64_t vtd_mmio_read(struct viommu *viommu, uint64_t offset, unsigned int size);
void vtd_mmio_write(struct viommu *viommu, uint64_t offset, unsigned int size, uint64_t value);
/* Read and change a register from inside, not subject to the write masks. offset is the register's.
 * Each is one atomic access; vtd_change32() clears and then sets bits, and returns what was there.
 */
uint32_t vtd_change32(struct vtd *vtd, unsigned int offset, uint32_t clear, uint32_t set);
uint32_t vtd_get32(const struct vtd *vtd, unsigned int offset);
uint64_t vtd_get64(const struct vtd *vtd, unsigned int offset);
void vtd_set32(struct vtd *vtd, unsigned int offset, uint32_t value);
void vtd_set64(struct vtd *vtd, unsigned int offset, uint64_t value);

/* The three event interrupts share one shape: control, data, address, upper address
 * (VT-d 5.0, 11.4.7). */
enum vtd_event {
    VTD_EVENT_FAULT,
    VTD_EVENT_INVALIDATION,
    VTD_EVENT_PAGE_REQUEST,
    VTD_EVENT_COUNT
};

/* fault.c. An event's status was empty and is not any more: send its MSI, or leave it pending when
 * masked. Callable with or without vtd->lock. */
void vtd_event_raise(struct vtd *vtd, enum vtd_event event);
/* The event's control register was written, or a status bit cleared: send or drop what is pending.
 */
void vtd_event_update(struct vtd *vtd, enum vtd_event event);

/* Fault reasons are in fault_codes.h. type and access as in a fault record (VT-d 5.0, 11.4.7.6). */
struct vtd_fault {
    uint64_t address;
    uint32_t pasid; /* or VIOMMU_PASID_NONE */
    uint16_t requester_id;
    uint8_t reason;
    uint8_t access; /* VIOMMU_DMA_* */
    uint8_t type;   /* enum viommu_dma_type */
    bool qualified; /* may be suppressed by fault-processing-disable of the entry */
    bool disabled;  /* and that is set */
    bool of_dma;    /* not to be told once translation is off, or the unit was reset meanwhile */
    bool interrupt; /* of interrupt remapping: address holds the index in 63:48, access is 0 */
};
/* Record a fault and raise its event. Any thread, not within a read-side section. */
void vtd_fault_record(struct vtd *vtd, const struct vtd_fault *fault);
/* An error of the invalidation queue or of a device: sets FSTS bits (IQE, ITE, ICE, PFO ...) and
 * raises the event. */
void vtd_fault_status(struct vtd *vtd, uint32_t fsts_bits);
/* Translation was switched off: the next fault goes into the first record (VT-d 5.0, 7.2.1). */
void vtd_fault_restart(struct vtd *vtd);
/* The guest cleared fault bits of records, or of FSTS: bring the summary up to date. */
void vtd_fault_update(struct vtd *vtd);

/* command.c: register write handlers, under vtd->lock. The register was stored already; command is
 * what it holds. */
void vtd_command_global(struct vtd *vtd, uint64_t command);
void vtd_command_context(struct vtd *vtd, uint64_t command);
void vtd_command_iotlb(struct vtd *vtd, uint64_t command);

/*
 * interrupt.c. Requests take no lock. Under vtd->lock: IRE, SIRTP and CFI of a command; marking
 * entries [first, end) as changed, and making that true, which vtd_invalidate_commit() calls.
 */
void vtd_interrupt_send(struct viommu *viommu, const struct viommu_interrupt_request *request,
                        viommu_interrupt_deliver_fn *deliver, void *opaque,
                        struct viommu_interrupt *out);
void vtd_interrupt_set_listener(struct viommu *viommu, viommu_interrupt_changed_fn *changed,
                                void *opaque);
void vtd_interrupt_command(struct vtd *vtd, uint64_t command);
void vtd_interrupt_invalidate(struct vtd *vtd, uint32_t first, uint32_t end);
void vtd_interrupt_commit(struct vtd *vtd);
void vtd_interrupt_reset(struct vtd *vtd);
#define VTD_INTERRUPT_ENTRIES 65536u /* of the largest table */

/* queue.c: run descriptors up to the tail, when the queue is enabled and has no error. Under
 * vtd->lock. */
void vtd_queue_run(struct vtd *vtd);
/* Switch it on or off: the head returns to the first descriptor. */
void vtd_queue_enable(struct vtd *vtd, bool on);

/*
 * invalidate.c. A request of the guest, from the queue or the registers, in one form. Under
 * vtd->lock. vtd_invalidate() marks; vtd_invalidate_commit() makes it true everywhere: drains
 * emulated DMA, hands one batch to the host. Nothing the guest is told of as complete may precede
 * the commit.
 */
enum vtd_invalidation_kind {
    VTD_INVALIDATE_CONTEXT, /* context cache: scope GLOBAL, DOMAIN, DEVICE */
    VTD_INVALIDATE_PASID,   /* PASID cache: scope GLOBAL, DOMAIN, PASID (of a domain) */
    VTD_INVALIDATE_IOTLB,   /* untagged or second stage: scope GLOBAL, DOMAIN, PAGES */
    VTD_INVALIDATE_PIOTLB,  /* PASID-based: scope PASID (all of it), PAGES */
    VTD_INVALIDATE_DEVICE,  /* device TLB: scope GLOBAL (the pages of all PASIDs), PAGES */
};
enum vtd_invalidation_scope {
    VTD_SCOPE_GLOBAL,
    VTD_SCOPE_DOMAIN,
    VTD_SCOPE_DEVICE,
    VTD_SCOPE_PASID,
    VTD_SCOPE_PAGES,
};
struct vtd_invalidation {
    enum vtd_invalidation_kind kind;
    enum vtd_invalidation_scope scope;
    uint16_t domain;
    uint16_t requester_id;
    uint8_t function_mask; /* DEVICE: FM field, 0..3 */
    bool leaf_only;        /* IH hint */
    uint32_t pasid;
    uint64_t address; /* PAGES: aligned to length */
    uint64_t length;  /* PAGES: bytes, a power of two, at least 4096; 0: 2^64 */
    /* For the sanitizer alone, as our own invalidations drain always. */
    uint64_t given; /* PAGES: the address before it was aligned */
    bool reads_undrained, writes_undrained;
};
/* Fill in the pages: 2^mask of 4096 bytes, around address. Any mask: 52 and more is everything. */
void vtd_invalidation_pages(struct vtd_invalidation *what, uint64_t address, unsigned int mask);
/* Whether one of scope DEVICE names this function. */
bool vtd_invalidation_names(const struct vtd_invalidation *what, uint16_t requester_id);
void vtd_invalidate(struct vtd *vtd, const struct vtd_invalidation *what);
void vtd_invalidate_commit(struct vtd *vtd);
/* Translation was switched on, off, or to another root: nothing of before may stay. Commits. */
void vtd_invalidate_everything(struct vtd *vtd);
int vtd_invalidate_create(struct vtd *vtd);
void vtd_invalidate_destroy(struct vtd *vtd);

/* tables.c */

/* A function's or PASID's entry, reduced to what it asks for: the same for legacy and scalable
 * mode. */
enum vtd_pgtt {
    VTD_PGTT_FIRST = 1,
    VTD_PGTT_SECOND = 2,
    VTD_PGTT_NESTED = 3,
    VTD_PGTT_PASS_THROUGH = 4,
};
struct vtd_entry {
    enum viommu_dma_status status; /* VIOMMU_DMA_OK: the rest is valid */
    uint32_t reason;               /* fault reason when it is not */
    bool fault_disable;            /* FPD of the lowest entry that was read */
    bool legacy;                   /* came from a legacy context entry */
    bool untranslated_only;        /* translation requests and translated requests are refused */
    enum vtd_pgtt pgtt;
    uint16_t domain;
    uint32_t pasid;        /* the PASID that was looked up: RID_PASID for requests without */
    uint64_t first_root;   /* FSPTPTR */
    uint64_t second_root;  /* SSPTPTR */
    uint8_t first_levels;  /* 4 or 5 */
    uint8_t second_levels; /* 3, 4 or 5 */
    bool first_wpe, first_sre, first_eafe, execute_enable;
    bool first_nxe, first_smep; /* looked at only for execute requests */
    bool rid_privileged;        /* RID_PRIV: requests without PASID are the supervisor's */
    bool walk_snoop;            /* PWSNP: accessed and dirty bits may be written */
    bool second_ad;             /* SSADE */
    bool page_snoop;            /* PGSNP */
    uint64_t raw[8]; /* the PASID (512 bits) or context (128) entry as read: to see a change */
};
/*
 * Find the entry for a requester and PASID (or none), reading each table entry once. Within a
 * read-side section. `translation` is a snapshot of vtd->translation with translation enabled.
 */
void vtd_entry_find(const struct vtd *vtd, uint64_t translation, uint16_t requester_id,
                    uint32_t pasid, struct vtd_entry *entry);

/* translate.c: the walk op of the address spaces; also used to find out why the host refused a DMA.
 */
extern const struct dma_space_ops vtd_space_ops;
void vtd_translate(const struct vtd *vtd, const struct viommu_dma_request *request,
                   struct dma_translation *translation);
/* The same, for a translation request: refused when one of the permissions is missing. */
void vtd_translate_once(const struct vtd *vtd, const struct viommu_dma_request *request,
                        struct dma_translation *translation);
/*
 * Tell the guest of a request that failed at `address` with a fault reason, if the entry that
 * stands for the requester does not disable that. Any thread, not within a read-side section.
 */
void vtd_translate_fault(struct vtd *vtd, const struct viommu_dma_request *request,
                         uint64_t address, uint32_t reason);
/* The second stage alone, for shadowing: the page at `address` of a second-stage table. */
void vtd_translate_second_stage(const struct vtd *vtd, const struct vtd_entry *entry,
                                uint64_t address, struct dma_translation *translation);

/*
 * ats.c. What a device TLB is told for a translation request; and whether the function has a device
 * TLB at all: without, nothing but untranslated requests pass.
 */
void vtd_ats_complete(const struct vtd *vtd, const struct viommu_dma_request *request,
                      struct dma_translation *translation);
void vtd_ats_admit(const struct vtd_function *function, struct dma_translation *translation);

/*
 * device_tlb.c. Functions with a device TLB (viommu/ats.h), known by `ats`. These take vtd->lock;
 * vtd_tlb_done() and vtd_tlb_unset() let the queue go on. vtd_tlb_done() answers 0 or -ENOENT.
 */
int vtd_tlb_set(struct vtd *vtd, struct viommu_pci_id id, const struct viommu_pci_ats *ats,
                struct viommu_error *error);
void vtd_tlb_unset(struct vtd *vtd, const struct viommu_pci_ats *ats);
void vtd_tlb_move(struct vtd *vtd, struct viommu_pci_id id, const struct viommu_pci_ats *ats);
int vtd_tlb_done(struct vtd *vtd, const struct viommu_pci_ats *ats, uint32_t tag, int result);
void vtd_tlb_destroy(struct vtd *vtd);
/* Takes no lock but tlb_lock. False: there is none. */
bool vtd_tlb_requester_id(struct vtd *vtd, const struct viommu_pci_ats *ats,
                          uint16_t *requester_id);
/* Under vtd->lock. False: too many are outstanding; nothing was done. */
bool vtd_tlb_invalidate(struct vtd *vtd, const struct vtd_invalidation *what);
/* What is outstanding is forgotten. */
void vtd_tlb_reset(struct vtd *vtd);
/* How the invalidations since the last wait descriptor ended. */
enum vtd_tlb_outcome {
    VTD_TLB_DONE,
    VTD_TLB_OUTSTANDING,
    VTD_TLB_TIMED_OUT,
};
enum vtd_tlb_outcome vtd_tlb_outcome(const struct vtd *vtd);
/* Tell the guest of the time-out (ITE); it is over then. */
void vtd_tlb_tell_timeout(struct vtd *vtd);
void vtd_tlb_respond(struct vtd *vtd, uint16_t requester_id,
                     const struct viommu_pci_page_response *response);

/*
 * page_requests.c. What became of a page request, and the response code that the device gets when
 * the guest does not answer. Any thread; these take prq_lock and fault_lock only.
 */
enum vtd_page_outcome {
    VTD_PAGE_QUEUED,   /* the guest answers */
    VTD_PAGE_OVERFLOW, /* no room in the queue */
    VTD_PAGE_BLOCKED,  /* not allowed */
    VTD_PAGE_FAILED,   /* tables or queue are broken */
};
enum vtd_page_outcome vtd_prq_put(struct vtd *vtd, uint16_t requester_id,
                                  const struct viommu_pci_page_request *request);
uint8_t vtd_prq_code(enum vtd_page_outcome outcome);
/* Of a function with a device TLB, which is answered here where the guest will not. */
int vtd_prq_request(struct vtd *vtd, const struct viommu_pci_ats *ats,
                    const struct viommu_pci_page_request *request);
/* Every request that was made is in the queue. */
void vtd_prq_drain(struct vtd *vtd);

/* spaces.c. Find, or find or make, what stands for a requester ID. Lookup takes no lock. */
struct vtd_function *vtd_function_find(const struct vtd *vtd, uint16_t requester_id);
struct vtd_function *vtd_function_get(struct vtd *vtd, uint16_t requester_id);
typedef void vtd_function_fn(struct vtd_function *function, void *opaque);
void vtd_for_each_function(struct vtd *vtd, vtd_function_fn *fn, void *opaque);
extern const struct viommu_pci_iommu_ops vtd_pci_ops;

/*
 * protect.c. PMEN_REG was written, under vtd->lock. And for what no table translates: refuse it
 * when it is protected, else cut the page to what is not. Within a read-side section.
 */
void vtd_protect_written(struct vtd *vtd, uint64_t value);
void vtd_protect(const struct vtd *vtd, uint64_t address, struct dma_translation *translation);

/* compare.c: every mismatch, each with promise, host and remedy. */
int vtd_compare_host(const struct viommu_vtd_options *options,
                     const struct viommu_host_device *device, struct viommu_error *error);

/*
 * nest.c, nest_devices.c, nest_memory.c. All under vtd->lock, which is never held while a
 * memory_listener is registered: nest_memory.c has one of its own and takes vtd->lock in it.
 * set_device wants the function of the alias to exist. vtd_nest_commit() reads the entries again
 * that an invalidation of context or PASID cache named since the last one, and binds them anew;
 * what was gathered of the IOTLB it hands over in one host call for each nested HWPT.
 * vtd_nest_replay() names everything (after SRTP, TE, reset).
 */
int vtd_nest_create(struct vtd *vtd);
void vtd_nest_destroy(struct vtd *vtd);
int vtd_nest_set_device(struct vtd *vtd, struct viommu_pci_id id, struct viommu_pci_id alias,
                        struct viommu_host_device *device, struct viommu_error *error);
void vtd_nest_unset_device(struct vtd *vtd, const struct viommu_host_device *device);
/* It has other IDs now. The function of the alias is missing when there was no memory for it. */
void vtd_nest_move_device(struct vtd *vtd, struct viommu_pci_id id, struct viommu_pci_id alias,
                          const struct viommu_host_device *device);
void vtd_nest_invalidate(struct vtd *vtd, const struct vtd_invalidation *what);
void vtd_nest_commit(struct vtd *vtd);
void vtd_nest_replay(struct vtd *vtd);
/* Is an assigned device with this requester ID given a mirror of its second stage that does not map
 * this page? */
bool vtd_nest_lacks(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid, uint64_t address);
/* nest_requests.c: put page requests of assigned devices into the guest's queue, at most `limit` or
 * what the work that is left allows; how many. And the guest's answer to one. */
unsigned int vtd_nest_forward(struct vtd *vtd, unsigned int limit);
void vtd_nest_respond(struct vtd *vtd, uint16_t requester_id,
                      const struct viommu_pci_page_response *response);
/* Readable while there are some; -1: never. Takes no lock. */
int vtd_nest_descriptor(const struct vtd *vtd);

#endif
