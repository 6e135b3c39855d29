/* SPDX-License-Identifier: MIT */
/*
 * What a guest writes into memory to have its DMA translated, and the checks of what became of a
 * request: where it went, or the fault that the guest reads about it.
 */
#ifndef SPEC_GUEST_TABLES_H
#define SPEC_GUEST_TABLES_H

#include "machine.h"

/* Bits of first-stage and second-stage entries. */
#define FS_P   (UINT64_C(1) << 0)
#define FS_W   (UINT64_C(1) << 1)
#define FS_U   (UINT64_C(1) << 2)
#define FS_A   (UINT64_C(1) << 5)
#define FS_D   (UINT64_C(1) << 6)
#define FS_PS  (UINT64_C(1) << 7)
#define FS_EA  (UINT64_C(1) << 10)
#define FS_XD  (UINT64_C(1) << 63)
#define FS_ALL (FS_P | FS_W | FS_U)
#define SS_R   (UINT64_C(1) << 0)
#define SS_W   (UINT64_C(1) << 1)
#define SS_PS  (UINT64_C(1) << 7)
#define SS_A   (UINT64_C(1) << 8)
#define SS_D   (UINT64_C(1) << 9)
#define SS_SNP (UINT64_C(1) << 11)
#define SS_RW  (SS_R | SS_W)

/* Fields of a PASID table entry, quadword by quadword. */
#define PASID_P       (UINT64_C(1) << 0)
#define PASID_FPD     (UINT64_C(1) << 1)
#define PASID_AW(aw)  ((uint64_t)(aw) << 2)
#define PASID_PGTT(n) ((uint64_t)(n) << 6)
#define PASID_SSADE   (UINT64_C(1) << 9)
#define PASID_PWSNP   (UINT64_C(1) << 23)
#define PASID_SRE     (UINT64_C(1) << 0)
#define PASID_ERE     (UINT64_C(1) << 1)
#define PASID_WPE     (UINT64_C(1) << 4)
#define PASID_NXE     (UINT64_C(1) << 5)
#define PASID_EAFE    (UINT64_C(1) << 7)

/* RTADDR_REG.TTM. */
#define TTM_LEGACY   (UINT64_C(0) << 10)
#define TTM_SCALABLE (UINT64_C(1) << 10)
#define TTM_RESERVED (UINT64_C(2) << 10)
#define TTM_ABORT    (UINT64_C(3) << 10)

/* Where the guest keeps what; bus 0 only. Page tables come from guest_page(). */
#define GUEST_ROOT      0x10000u
#define GUEST_CONTEXT   0x11000u /* legacy: all functions; scalable: devices 0..15 */
#define GUEST_CONTEXT_U 0x12000u /* scalable: devices 16..31 */
#define GUEST_DIRECTORY 0x13000u /* 4 KiB: 512 entries */
#define GUEST_PASIDS    0x14000u /* PASIDs 0..63 */
#define GUEST_DATA      0x80000u /* a page to read and write */
#define GUEST_POOL      0x100000u
#define GUEST_NOWHERE   (UINT64_C(1) << 36) /* no memory there */

/* The usual addresses of a test, and what the tables below use for a domain. */
#define GUEST_IOVA   UINT64_C(0x1234567000)
#define GUEST_DOMAIN 7

struct guest {
    struct machine machine;
    uint64_t pool;   /* next free page */
    uint64_t ttm;    /* as last switched on */
    uint64_t faults; /* that were recorded and checked */
};

void guest_create(struct guest *guest, const char *properties);
void guest_destroy(struct guest *guest);

/* A fresh page of zeros. */
uint64_t guest_page(struct guest *guest);

/*
 * Write `value` as the entry of `level` for iova, making the tables above it with table_bits.
 * Returns where the entry lies.
 */
uint64_t guest_map(struct guest *guest, uint64_t root, unsigned int levels, uint64_t iova,
                   unsigned int level, uint64_t value, uint64_t table_bits);
/* Where the entry of `level` for iova lies; the tables above it must exist. */
uint64_t guest_entry(struct guest *guest, uint64_t root, unsigned int levels, uint64_t iova,
                     unsigned int level);
/* Change bits of an entry. */
void guest_change(struct guest *guest, uint64_t entry, uint64_t clear, uint64_t set);

/* Root entry and a context entry for device[index] in legacy mode: 48 bits wide unless aw says. */
uint64_t guest_legacy(struct guest *guest, unsigned int index, unsigned int tt, unsigned int aw,
                      uint64_t second_root);

/* Root, context (with `bits` besides P) and directory for device[index]; returns the context entry.
 */
uint64_t guest_scalable(struct guest *guest, unsigned int index, uint64_t bits);
/* The PASID table entry; quadword 0 gets P. Returns where it lies. */
uint64_t guest_pasid(struct guest *guest, uint32_t pasid, uint64_t qw0, uint64_t qw1, uint64_t qw2);

/* Latch the root table with this mode, and switch translation on. Also drops all that is cached. */
void guest_on(struct guest *guest, uint64_t ttm);
/* Drop all that is cached. */
void guest_flush(struct guest *guest);

/* One DMA. Begin with DMA_AT(address). */
struct guest_dma {
    uint64_t address;
    uint64_t length;
    uint32_t pasid;
    unsigned int device; /* index */
    uint8_t access;      /* READ: read; WRITE: write; both: as an atomic */
    uint8_t type;
};
#define DMA_AT(where)                                                                              \
    {                                                                                              \
        .address = (where), .length = 8, .pasid = VIOMMU_PASID_NONE, .access = VIOMMU_DMA_READ     \
    }

int guest_dma(struct guest *guest, const struct guest_dma *dma, struct viommu_dma_result *result);

/* The DMA succeeds, arrives at gpa and records no fault. Returns the result for more checks. */
struct viommu_dma_result guest_arrives(struct guest *guest, const struct guest_dma *dma,
                                       uint64_t gpa);
/* The DMA is refused for this reason, and that is what the guest reads in a fault record. */
void guest_faults(struct guest *guest, const struct guest_dma *dma, uint8_t reason);
/* The DMA is refused for this reason, but the guest is not told. */
void guest_faults_silently(struct guest *guest, const struct guest_dma *dma, uint8_t reason);

/* The same for a read or a write of 8 bytes without PASID by device 0. */
struct viommu_dma_result guest_reads(struct guest *guest, uint64_t iova, uint64_t gpa);
struct viommu_dma_result guest_writes(struct guest *guest, uint64_t iova, uint64_t gpa);
void guest_read_faults(struct guest *guest, uint64_t iova, uint8_t reason);
void guest_write_faults(struct guest *guest, uint64_t iova, uint8_t reason);

#endif
