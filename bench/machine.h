/* SPDX-License-Identifier: MIT */
/* A guest for the benchmarks: memory, tables of every mode, one function for each thread. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <viommu.h>

#define BENCH_THREADS 2
#define BENCH_DOMAIN  7

/* More pages than any IOTLB keeps, so that walking them in turn always misses. */
#define BENCH_PAGES 16384

#define BENCH_SHADOWED_PAGES 262144 /* 1 GiB */

enum bench_mode {
    BENCH_FIRST_STAGE,  /* scalable mode, 4-level first stage */
    BENCH_SECOND_STAGE, /* legacy mode, 4-level second stage */
    BENCH_NESTED,       /* scalable mode, both, 4 levels each */
    BENCH_SANITIZED,    /* the first, with the guest sanitizer */
    BENCH_SHADOWED,     /* the second, with BENCH_SHADOWED_PAGES of memory and nothing mapped */
};

struct bench_machine {
    enum bench_mode mode;
    uint8_t *ram;
    struct viommu_memory *memory;
    struct viommu_dma_space *plain;
    struct viommu_pci *pci;
    struct viommu_pci_bus *bus;
    struct viommu_pci_device *functions[BENCH_THREADS];
    struct viommu *unit;
    uint32_t queue_tail;
    uint64_t next_table; /* bump allocator of table pages */
};

/*
 * IOVA page i of every function is guest page i of a data area, but for BENCH_SHADOWED. Exits with
 * a sentence on failure.
 */
void bench_machine_create(struct bench_machine *machine, enum bench_mode mode);
void bench_machine_destroy(struct bench_machine *machine);

/* Queue `count` page-selective invalidations of IOVA pages from `first` on, then one wait; run
 * them. */
void bench_machine_invalidate(struct bench_machine *machine, unsigned int first,
                              unsigned int count);

/* Map IOVA page i to page `to` of the data area, or to nothing. */
void bench_machine_map(struct bench_machine *machine, uint64_t page, uint64_t to);
void bench_machine_unmap(struct bench_machine *machine, uint64_t page);

/* In legacy mode: queue an invalidation of 2^pages_log2 pages, or of the domain; a wait; run them.
 */
void bench_machine_queue_pages(struct bench_machine *machine, uint64_t page,
                               unsigned int pages_log2);
void bench_machine_queue_domain(struct bench_machine *machine);
void bench_machine_run(struct bench_machine *machine);

/* Read the four table entries that lead to IOVA page i, each after the other, as a walk must. */
uint64_t bench_machine_chase(const struct bench_machine *machine, unsigned int page);

void bench_check(int result, const struct viommu_error *error);

#endif
