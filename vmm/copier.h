/* SPDX-License-Identifier: MIT */
/*
 * A copy engine that works in the address spaces of processes: its source and destination are
 * virtual addresses of the PASID that a driver gave to it. It translates them itself, as a device
 * with Address Translation Services does, keeps the answers in a device TLB, and asks the guest by
 * page requests for what is not there.
 *
 * Its registers are two pages, so that a driver can map one of them into the process whose PASID it
 * has put into the other. Neither PCI nor a place for requests is known here.
 */
#ifndef VMM_COPIER_H
#define VMM_COPIER_H

#include "atc.h"
#include <pthread.h>
#include <viommu/error.h>

/* The process's page. Registers of 8 bytes, then of 4; all at multiples of their size. */
#define VMM_COPIER_SOURCE        0x00u /* 8: virtual address */
#define VMM_COPIER_DESTINATION   0x08u /* 8 */
#define VMM_COPIER_LENGTH        0x10u /* 8: bytes */
#define VMM_COPIER_DONE          0x18u /* 8: bytes copied by this command, or by its last round */
#define VMM_COPIER_FAULT_ADDRESS 0x20u /* 8: what a command that failed was about to access */
#define VMM_COPIER_COMMAND       0x28u /* 4: VMM_COPIER_START...; ignored while busy */
#define VMM_COPIER_STATUS        0x2cu /* 4: VMM_COPIER_BUSY, and the result */
#define VMM_COPIER_TRANSLATIONS  0x30u /* 4: translation requests since the reset */
#define VMM_COPIER_HITS          0x34u /* 4: accesses that the device TLB served */
#define VMM_COPIER_PAGE_REQUESTS 0x38u /* 4 */
#define VMM_COPIER_RESPONSES     0x3cu /* 4: to groups of page requests */
#define VMM_COPIER_INVALIDATIONS 0x40u /* 4: of the device TLB */
/* The driver's page. */
#define VMM_COPIER_CONTROL 0x1000u
#define VMM_COPIER_PASID   0x1000u /* 4: bits 19:0, and bit 31: requests carry it */
#define VMM_COPIER_STOP    0x1004u /* 4: end the command at hand; done when not busy */
#define VMM_COPIER_SIZE    0x2000u

#define VMM_COPIER_START     1u
#define VMM_COPIER_REPEAT    2u /* begin anew at the end, until it fails or is stopped */
#define VMM_COPIER_INTERRUPT 4u /* at the end */

#define VMM_COPIER_BUSY         1u
#define VMM_COPIER_WAITING      2u /* for the response to a page request */
#define VMM_COPIER_RESULT_SHIFT 8

#define VMM_COPIER_PASID_VALID 0x80000000u

/* How a command ended. */
enum vmm_copier_result {
    VMM_COPIER_OK = 0,
    VMM_COPIER_STOPPED = 1,
    VMM_COPIER_REFUSED = 2,     /* the IOMMU refused an access or a translation request */
    VMM_COPIER_NOT_GRANTED = 3, /* no translation, and page requests are switched off */
    VMM_COPIER_INVALID = 4,     /* page response: invalid request */
    VMM_COPIER_FAILURE = 5,     /* page response: failure; page requests are off until a reset */
    VMM_COPIER_NO_PASID = 6,    /* the driver gave a PASID and did not enable them */
    VMM_COPIER_GAVE_UP = 7,     /* granted again and again, but never there */
};

/* The codes of page responses (PCI Express 6.0, 10.4.2.1). */
#define VMM_COPIER_RESPONSE_SUCCESS 0x0u
#define VMM_COPIER_RESPONSE_INVALID 0x1u

struct vmm_copier;

/* What the engine asks its function and the way to memory for; from its own thread, unlocked. */
struct vmm_copier_ops {
    bool (*pasid_enabled)(struct vmm_copier *copier);
    bool (*ats_enabled)(struct vmm_copier *copier);
    uint32_t (*page_requests_allowed)(struct vmm_copier *copier); /* 0: switched off */
    /*
     * A translation request. 0: `out` has what is granted, permissions 0 when nothing is; negative
     * errno: it was refused.
     */
    int (*translate)(struct vmm_copier *copier, uint32_t pasid, uint64_t address, uint8_t access,
                     struct vmm_atc_entry *out);
    /* Within one page. `translated`: the address is one that a translation request gave. */
    int (*read)(struct vmm_copier *copier, uint32_t pasid, bool translated, uint64_t address,
                void *buffer, size_t length);
    int (*write)(struct vmm_copier *copier, uint32_t pasid, bool translated, uint64_t address,
                 const void *buffer, size_t length);
    /* 0: there will be a response to the group; it may come before the last request returns. */
    int (*page_request)(struct vmm_copier *copier, uint32_t pasid, uint64_t page, uint8_t access,
                        uint16_t group, bool last);
    /* A response was a failure, or for no request. Any thread, with the engine's lock held. */
    void (*response_failed)(struct vmm_copier *copier);
    void (*response_unexpected)(struct vmm_copier *copier);
    /* The last outstanding request was answered. The same. */
    void (*quiet)(struct vmm_copier *copier);
    void (*interrupt)(struct vmm_copier *copier);
};

/* The command at hand; the worker's copy. */
struct vmm_copier_job {
    uint64_t source;
    uint64_t destination;
    uint64_t length;
    uint32_t pasid; /* or VIOMMU_PASID_NONE */
    uint32_t command;
};

struct vmm_copier {
    const struct vmm_copier_ops *ops;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    struct vmm_copier_job job;
    uint32_t pasid; /* as the driver wrote it */
    uint64_t done;
    uint64_t fault_address;
    enum vmm_copier_result result;
    bool busy;
    bool stopping;
    bool ending; /* the machine's end */
    /* The group of page requests that is outstanding; a device of our kind has one at a time. */
    struct {
        bool outstanding;
        bool answered;
        bool abandoned; /* reset: nothing will be heard of it */
        uint16_t index;
        uint8_t code;
    } group;
    /* The access under way by an entry of the device TLB. */
    struct {
        bool active;
        uint32_t pasid;
        uint64_t page;
    } access;
    uint32_t translations, hits, page_requests, responses, invalidations;
    struct vmm_atc atc;
    uint8_t buffer[VMM_ATC_PAGE_SIZE]; /* the worker's */
};

/* The engine and its thread. -EAGAIN: no thread is to be had. */
int vmm_copier_init(struct vmm_copier *copier, const struct vmm_copier_ops *ops,
                    struct viommu_error *err);

/* End the thread: from here on ops are not called. Then free what there is. */
void vmm_copier_stop(struct vmm_copier *copier);
void vmm_copier_fini(struct vmm_copier *copier);

/* As at power-on: the command ends, requests are forgotten. Waits for an access under way. */
void vmm_copier_reset(struct vmm_copier *copier);

/* The guest accesses the two pages. Any thread; never waits for a request. */
uint64_t vmm_copier_read(struct vmm_copier *copier, uint64_t offset, unsigned int size);
void vmm_copier_write(struct vmm_copier *copier, uint64_t offset, unsigned int size,
                      uint64_t value);

/*
 * The guest invalidates the device TLB. When it returns, no access uses what was invalidated. Any
 * thread but the engine's own.
 */
void vmm_copier_invalidate(struct vmm_copier *copier, const struct vmm_atc_range *range);

/* The guest switched translation or page requests off, or reset the latter. Any thread. */
void vmm_copier_forget_translations(struct vmm_copier *copier);
void vmm_copier_forget_page_requests(struct vmm_copier *copier);
bool vmm_copier_is_quiet(struct vmm_copier *copier);

/* The guest's answer to a group of page requests. Any thread, also within ops->page_request. */
void vmm_copier_page_response(struct vmm_copier *copier, uint32_t pasid, uint16_t group,
                              uint8_t code);

#endif
