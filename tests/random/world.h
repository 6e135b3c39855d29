/* SPDX-License-Identifier: MIT */
/*
 * The machine on which cases run: a unit with an emulated function (00:01.0) and one that is
 * assigned from a simulated host (00:02.0), both under the same guest tables; and the oracle with
 * its copy of memory. Running an operation tells whether everybody agreed.
 */
#ifndef RANDOM_WORLD_H
#define RANDOM_WORLD_H

#include <viommu.h>

#include "case.h"
#include "oracle.h"
#include "oracle_devices.h"

#define WORLD_RANGES       5
#define WORLD_PAGES        256 /* of one range at most */
#define WORLD_TOLD         4
#define WORLD_TAGS         31 /* fewer than make the queue wait */
#define WORLD_TRANSLATIONS 64

/* How a page is used. */
#define WORLD_STRUCTURE 1 /* root to PASID table */
#define WORLD_TABLE     2

/* Guest memory; queue and status of the guest's driver lie in the first pages. */
#define WORLD_QUEUE   UINT64_C(0x2000)
#define WORLD_STATUS  UINT64_C(0x4000)
#define WORLD_TABLES  UINT64_C(0x10000) /* pages for tables, up to WORLD_DATA */
#define WORLD_DATA    UINT64_C(0x80000) /* DMA writes reach nothing below; up to WORLD_LOW */
#define WORLD_LOW     UINT64_C(0x100000)
#define WORLD_ROM     UINT64_C(0x200000)
#define WORLD_HIGH    UINT64_C(0x40000000)
#define WORLD_NOWHERE UINT64_C(0x700000000)

#define WORLD_EMULATED 8 /* requester IDs */
#define WORLD_ASSIGNED 16

#define WORLD_HOST_DEVICE "0000:3a:00.0"

/* Machines to choose from. */
extern const char *const world_properties[];
extern const size_t world_properties_count;

/* The PASIDs that requests use. */
extern const uint32_t world_pasids[];
extern const size_t world_pasid_count;

struct world_changes; /* settle.c: what was stored and not announced yet */

/* A page that the assigned function was told of. */
struct world_translation {
    uint64_t address, host;
    uint32_t pasid;
    uint8_t access, permissions;
};

struct world {
    struct viommu_memory *memory;
    struct viommu_dma_space *plain;
    struct viommu_pci *pci;
    struct viommu_pci_bus *bus;
    struct viommu_pci_device *emulated, *assigned;
    struct viommu *unit;
    struct viommu_host *host;
    struct viommu_soft_device *hardware;
    struct viommu_assign *assign;
    struct viommu_assigned_device *assignment; /* NULL: none */

    uint8_t *real[WORLD_RANGES]; /* what the guest has */
    struct oracle_memory copy[WORLD_RANGES];
    struct oracle oracle;
    bool scalable; /* ECAP.SMTS */
    uint64_t queue_tail;
    uint32_t waits;

    /* The emulated function's device TLB: what it was told by the operation, and which
     * invalidations it has not answered. */
    struct oracle_told told[WORLD_TOLD];
    unsigned int told_count;
    bool answers_later;
    uint32_t tags[WORLD_TAGS];
    unsigned int tag_count;

    bool host_tlb; /* the assigned function has a device TLB, too; what it keeps: */
    struct world_translation translations[WORLD_TRANSLATIONS];
    unsigned int translation_count;

    struct world_changes *changes;
    /* By range and page: WORLD_STRUCTURE, WORLD_TABLE, when an entry of it may be cached. */
    uint8_t usage[WORLD_RANGES][WORLD_PAGES];
    char log[256];                                 /* the last message of the unit */
    char failure[512];                             /* what they disagreed about; empty: nothing */
    uint64_t requests, compared, arrived, faulted; /* the latter two by DMA */
    uint64_t reasons[256];                         /* how often each was recorded */
};

/* Begin anew with this machine. The world is zeroed before its first start; destroyed in the end.
 */
void world_start(struct world *world, const struct test_case *test);
/* The same for a world that runs already, or is zeroed. */
void world_restart(struct world *world, const struct test_case *test);
/* The machine is gone; its memory is kept for the next one. */
void world_end(struct world *world);
/* The same, and the memory goes, too. */
void world_stop(struct world *world);

/* Run one operation. False: they disagree, world->failure says about what. */
bool world_run(struct world *world, const struct op *op);
/* Whether real memory and the oracle's copy are alike. */
bool world_memory_agrees(struct world *world);
/* Let the copy be what the guest has. */
void world_copy_memory(struct world *world);

bool world_disagree(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Change levels of the global command; the others stay. */
void world_command(struct world *world, uint32_t clear, uint32_t set);
/* Whether the unit has in a register what the oracle says. */
bool world_check_register(struct world *world, unsigned int offset);
/* Whether the unit may write to the page at gpa without changing a table. */
bool world_may_write(struct world *world, uint64_t gpa);

/* dma.c */
bool world_dma(struct world *world, const struct op *op);

/* interrupts.c */
bool world_interrupt(struct world *world, const struct op *op);

/* devices.c */
extern const struct viommu_pci_ats_ops world_ats_ops;
/* Any descriptor; what it does to devices is compared. */
bool world_invalidate(struct world *world, uint64_t low, uint64_t high);
bool world_page_request(struct world *world, const struct op *op);
/* Answer all invalidations that were not. */
void world_answer(struct world *world);

/* told.c */
extern const struct viommu_pci_ats_ops world_host_ats_ops;
/* A translation request of the assigned function. */
bool world_assigned_translation(struct world *world, const struct oracle_request *asked);
/* While all is announced: whether what the assigned function was told is still so. */
bool world_check_translations(struct world *world);

/* faults.c */
void world_clear_faults(struct world *world);
bool world_no_fault(struct world *world);
/* The first fault record is this. */
bool world_check_fault(struct world *world, uint64_t upper, uint64_t lower);
/* The one of this request; reason 0: none. */
bool world_check_record(struct world *world, const struct oracle_request *request, uint64_t address,
                        uint8_t reason);

/* settle.c */
struct world_changes *world_changes_create(void);
void world_changes_destroy(struct world_changes *changes);
void world_changes_clear(struct world *world);
/* Before the guest stores value to gpa. */
void world_changes_note(struct world *world, uint64_t gpa, uint64_t value);
bool world_is_settled(const struct world *world);
/* How the page at gpa is used: a pointer into usage, or NULL. */
uint8_t *world_usage(struct world *world, uint64_t gpa);
/* Look anew which pages are used. */
void world_look_at_tables(struct world *world);
/* From now on nobody can say what is cached, until all is announced. */
void world_unsettle(struct world *world);
/* Announce what was stored; how: see settle.c. False: they disagree. */
bool world_settle(struct world *world, uint64_t how);
/* Descriptors of the invalidation queue. */
void world_submit(struct world *world, uint64_t qw0, uint64_t qw1);
/* A wait; false: it did not complete. */
bool world_wait(struct world *world);
void world_queue_start(struct world *world);

/* The word at gpa of real memory, or NULL. */
uint8_t *world_at(const struct world *world, uint64_t gpa);

#endif
