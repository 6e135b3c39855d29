/* SPDX-License-Identifier: MIT */
/* The guest sanitizer, from inside: what sanitize*.c share. */
#ifndef VTD_SANITIZER_H
#define VTD_SANITIZER_H

#include <sys/queue.h>
#include <viommu/sanitize.h>

#include "model/vtd/sanitize.h"

/* Which word of which structure: decides what of it matters. */
enum sanitize_word {
    WORD_ROOT,
    WORD_CONTEXT_0,
    WORD_CONTEXT_1,
    WORD_SM_CONTEXT_0,
    WORD_SM_CONTEXT_1,
    WORD_PDE,
    WORD_PASID_0,
    WORD_PASID_1,
    WORD_PASID_2,
    WORD_FIRST,
    WORD_SECOND,
    WORDS
};

/* One word on the way from the root table to the page. */
struct sanitize_link {
    uint64_t address; /* GPA */
    uint64_t value;   /* as read */
    uint8_t word;     /* enum sanitize_word */
    uint8_t level;    /* of FIRST and SECOND */
};

/* 7 words of structures; nested: 5 first-stage entries and the page, each behind 5 of the second.
 */
#define SANITIZE_LINKS_MAX 44

/* sanitize_chain.c: the way of one request, read anew. */
struct sanitize_chain {
    unsigned int count;
    unsigned int context_count; /* of them, words up to the context entry, when it is present */
    unsigned int entry_count;   /* and words up to the entry that says how to translate */
    bool complete;              /* it leads to a page */
    bool overflow;              /* it does not fit */
    uint8_t page_log2;          /* of the page in the first table that is walked */
    uint8_t permissions;        /* VIOMMU_DMA_READ, WRITE: what the paging entries grant */
    uint64_t gpa;               /* where the address lies */
    struct vtd_entry entry;
    struct sanitize_link links[SANITIZE_LINKS_MAX];
};
/* Within a read-side section. False: translation is off, or no entry stands for the requester. */
bool sanitize_chain_read(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid,
                         uint64_t address, struct sanitize_chain *chain);

/* What a cache may hold (VT-d 5.0, 6.2). */
enum sanitize_cache {
    CACHE_CONTEXT,     /* 6.2.2: root and context entry of a function */
    CACHE_PASID,       /* 6.2.3: PASID directory and PASID table entry */
    CACHE_TRANSLATION, /* 6.2.4, 6.2.5: a page, and the tables on the way to it */
    CACHE_TABLES,      /* only the tables: the page was invalidated with the hint "leaf only" */
    CACHE_ABSENT,      /* 6.1, CAP.CM: that there is no page, as an assigned device was told */
    CACHE_DEVICE_TLB,  /* 4.1: a page, as a device was told that asked for its translation */
};

/* Why an invalidation that looks meant for a record did not take it. */
enum sanitize_miss {
    MISS_NONE,
    MISS_PAGES,   /* other pages of the same 2 MiB */
    MISS_HINT,    /* leaf only, but a table changed */
    MISS_ALIGNED, /* its pages, if the low bits of the address counted */
    MISS_KIND,    /* PASID-based, for second-stage pages */
    MISS_EARLY,   /* before the cache that the entry can be filled from again */
};

struct sanitize_record {
    TAILQ_ENTRY(sanitize_record) age; /* oldest first; or in the list of free ones */
    LIST_ENTRY(sanitize_record) bucket;
    enum sanitize_cache cache;
    enum sanitize_miss miss;
    enum vtd_pgtt pgtt;
    bool legacy;
    uint16_t requester_id;
    uint16_t domain;
    uint32_t request_pasid; /* or VIOMMU_PASID_NONE */
    uint32_t pasid;         /* that caches are tagged with */
    uint64_t address;       /* first byte of what requests name */
    uint64_t gpa;
    uint64_t suspect_since; /* number of the wait that first saw it differ; 0: it does not */
    uint8_t address_log2;   /* size of that */
    uint8_t page_log2;      /* of the page in the table, which may be larger */
    uint8_t permissions;
    uint8_t tables_kept; /* BIT(n): tables that entries of level n point to may be cached */
    unsigned int count;
    struct sanitize_link links[SANITIZE_LINKS_MAX];
};

/* sanitize_judge.c: a record against memory. */
enum sanitize_verdict {
    VERDICT_AGREES,
    VERDICT_HARMLESS, /* another way to the same page */
    VERDICT_TAKEN,    /* the mapping, or a permission, is not there any more */
    VERDICT_MOVED,    /* requests go elsewhere now, or by other rules */
    VERDICT_REUSED,   /* a table that caches may lead to holds something else now */
};
struct sanitize_judgement {
    enum sanitize_verdict verdict;
    unsigned int link; /* the first that differs; REUSED: the one in the table */
    uint64_t now;
};
/* Within a read-side section. */
void sanitize_judge(const struct vtd *vtd, const struct sanitize_record *record,
                    struct sanitize_judgement *judgement);
/* Do two values of a word mean the same to a translation? */
bool sanitize_same(const struct sanitize_link *link, uint64_t value);
/*
 * 6.5.3.3: a present entry became another present one, in fields for which it must not be present
 * in between. *judgement tells which. Within a read-side section.
 */
bool sanitize_rewritten(const struct vtd *vtd, const struct sanitize_record *record,
                        struct sanitize_judgement *judgement);

/* sanitize_cover.c: what an invalidation takes (6.5). */
enum sanitize_coverage {
    COVERS_NOTHING,
    COVERS_LEAF,   /* the page, but not the tables on the way */
    COVERS_TABLES, /* not the page, but tables on the way */
    COVERS_ALL,
};
/* *miss: why nothing, when it was near; *tables: BIT(n) for COVERS_TABLES. */
enum sanitize_coverage sanitize_cover(const struct vtd_invalidation *what,
                                      const struct sanitize_record *record,
                                      enum sanitize_miss *miss, uint8_t *tables);

/* Invalidations that began since the last drain: a walk that is under way may be older. */
#define SANITIZE_PENDING_MAX 64

struct sanitize_pending {
    uint64_t sequence;
    struct vtd_invalidation what;
};

/* Remembered at a time. What is beyond makes us forget the oldest. */
#define SANITIZE_RECORDS_MAX 1024
#define SANITIZE_BUCKETS     1024

TAILQ_HEAD(sanitize_list, sanitize_record);

/* Reports that are made under the sanitizer's lock, and sent without it. */
#define SANITIZE_OUTBOX 32

struct vtd_sanitizer {
    uint64_t sequence;    /* counts invalidations; atomic */
    pthread_mutex_t lock; /* innermost; never held while draining. What follows, as far as: */
    struct sanitize_list used, unused;
    LIST_HEAD(, sanitize_record) buckets[SANITIZE_BUCKETS];
    struct sanitize_pending pending[SANITIZE_PENDING_MAX];
    unsigned int pending_count;
    uint64_t pending_lost; /* sequence of the last that did not fit */
    uint64_t forgotten;
    struct sanitize_record records[SANITIZE_RECORDS_MAX];
    /* Under vtd->lock. */
    uint64_t waits;           /* completed */
    unsigned int misses_left; /* that this invalidation may look into */
    uint64_t forgotten_said;
    /* Taken from a cache without drain, after it had changed: the next wait is wrong. */
    bool undrained;
    struct viommu_sanitize_report undrained_report;
    struct viommu_sanitize_report outbox[SANITIZE_OUTBOX];
    unsigned int outbox_count;
    struct log_limit limits[VIOMMU_SANITIZE_KINDS];
    struct log_limit forgotten_limit;
};

/* sanitize.c: the records. Under the sanitizer's lock. */
struct sanitize_record *sanitize_find(const struct vtd_sanitizer *sanitizer,
                                      const struct sanitize_record *key);
void sanitize_drop(struct vtd_sanitizer *sanitizer, struct sanitize_record *record);
/* Everything of a record but its places in lists. */
void sanitize_copy(struct sanitize_record *to, const struct sanitize_record *from);
void sanitize_keep(struct vtd_sanitizer *sanitizer, const struct sanitize_record *made);

/* Keep what a walk that began when `sequence` was sampled has seen, unless it is older than an
 * invalidation, or the record that is there differs from memory. Within a read-side section. */
void sanitize_remember(const struct vtd *vtd, const struct sanitize_record *made,
                       uint64_t sequence);
/* What all records of one way have in common. */
void sanitize_begin(const struct sanitize_chain *chain, uint16_t requester_id,
                    struct sanitize_record *made);
void sanitize_remember_structures(const struct vtd *vtd, const struct sanitize_chain *chain,
                                  uint64_t sequence, struct sanitize_record *made);
void sanitize_take_links(struct sanitize_record *made, const struct sanitize_chain *chain,
                         unsigned int first, unsigned int end);

/* sanitize_report.c */
/* A record that differs from memory, as it is to be reported. */
void sanitize_describe(const struct sanitize_record *record,
                       const struct sanitize_judgement *judgement,
                       struct viommu_sanitize_report *report);
/* Say it. Under vtd->lock alone. */
void sanitize_send(struct vtd *vtd, const struct viommu_sanitize_report *report);

#endif
