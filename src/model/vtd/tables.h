/* SPDX-License-Identifier: MIT */
/* Layouts of the translation structures (VT-d 5.0, chapter 9). Names are the specification's. */
#ifndef VTD_TABLES_H
#define VTD_TABLES_H

#include "base/bits.h"
#include "model/vtd/vtd.h"

/* Bit 0 and 1 of context, PASID directory and PASID table entries; bit 0 of root entries, too. */
#define VTD_ENTRY_P   BIT64(0)
#define VTD_ENTRY_FPD BIT64(1) /* evaluated whether the entry is present or not */

/* Where every pointer to a 4 KiB structure lies; bits from the host address width on are reserved.
 */
#define VTD_ENTRY_POINTER GENMASK64(63, 12)

/* 9.1 Root entry: 16 bytes, by bus. */
#define VTD_ROOT_SIZE   16
#define VTD_ROOT_RSVD_0 GENMASK64(11, 1)
#define VTD_ROOT_RSVD_1 GENMASK64(63, 0)

/* 9.2 Scalable-mode root entry: a lower half for devices 0..15, an upper one for 16..31. */
#define VTD_SM_ROOT_HALF 8
#define VTD_SM_ROOT_RSVD GENMASK64(11, 1)

/* 9.3 Context entry: 16 bytes, by devfn. */
#define VTD_CONTEXT_SIZE   16
#define VTD_CONTEXT_TT     GENMASK64(3, 2)
#define VTD_CONTEXT_RSVD_0 GENMASK64(11, 4)
#define VTD_CONTEXT_AW     GENMASK64(2, 0) /* quadword 1 from here on */
#define VTD_CONTEXT_DID    GENMASK64(23, 8)
#define VTD_CONTEXT_RSVD_1 (BIT64(7) | GENMASK64(63, 24))

#define VTD_TT_MULTI_LEVEL  0
#define VTD_TT_DEVICE_TLB   1
#define VTD_TT_PASS_THROUGH 2

/* Address width of the second stage: AGAW is 30 + 9 * AW, with AW + 2 levels. */
#define VTD_AW_39 1
#define VTD_AW_48 2
#define VTD_AW_57 3

/* 9.4 Scalable-mode context entry: 32 bytes, by the lower 7 bits of devfn. */
#define VTD_SM_CONTEXT_SIZE      32
#define VTD_SM_CONTEXT_DTE       BIT64(2)
#define VTD_SM_CONTEXT_PASIDE    BIT64(3)
#define VTD_SM_CONTEXT_PRE       BIT64(4)
#define VTD_SM_CONTEXT_HPTE      BIT64(5)
#define VTD_SM_CONTEXT_EPTR      BIT64(6)
#define VTD_SM_CONTEXT_RSVD_0    GENMASK64(8, 7)
#define VTD_SM_CONTEXT_PDTS      GENMASK64(11, 9)
#define VTD_SM_CONTEXT_RID_PASID GENMASK64(19, 0) /* quadword 1 */
#define VTD_SM_CONTEXT_RID_PRIV  BIT64(20)
#define VTD_SM_CONTEXT_RSVD_1    GENMASK64(63, 21)

/* 9.5 Scalable-mode PASID directory entry: 8 bytes, by bits 19:6 of the PASID. */
#define VTD_PDE_SIZE 8
#define VTD_PDE_RSVD GENMASK64(11, 2)

/* 9.6 Scalable-mode PASID table entry: 64 bytes, by bits 5:0 of the PASID. */
#define VTD_PASID_SIZE   64
#define VTD_PASID_AW     GENMASK64(4, 2)
#define VTD_PASID_PGTT   GENMASK64(8, 6)
#define VTD_PASID_SSADE  BIT64(9)
#define VTD_PASID_RSVD_0 (BIT64(5) | GENMASK64(11, 10))
#define VTD_PASID_DID    GENMASK64(15, 0) /* quadword 1 */
#define VTD_PASID_PWSNP  BIT64(23)
#define VTD_PASID_PGSNP  BIT64(24)
#define VTD_PASID_RSVD_1 (GENMASK64(22, 16) | GENMASK64(63, 25)) /* without memory types */
#define VTD_PASID_SRE    BIT64(0)                                /* quadword 2 */
#define VTD_PASID_ERE    BIT64(1) /* up to 4.0: execute requests are enabled */
#define VTD_PASID_FSPM   GENMASK64(3, 2)
#define VTD_PASID_WPE    BIT64(4)
#define VTD_PASID_NXE    BIT64(5) /* up to 4.0; ignored where execute requests do not exist */
#define VTD_PASID_SMEP   BIT64(6) /* likewise */
#define VTD_PASID_EAFE   BIT64(7)
#define VTD_PASID_RSVD_2 GENMASK64(11, 8)

#define VTD_FSPM_4_LEVEL 0
#define VTD_FSPM_5_LEVEL 1

/* A page request: goes by the context entry as the address types of viommu_dma_type do. */
#define VTD_TYPE_PAGE_REQUEST 3

/*
 * Find an entry as vtd_entry_find() does, for a request of this address type (viommu_dma_type). Of
 * translated and page requests only the context entry is looked at: there is no translation in
 * `entry`.
 */
void vtd_entry_find_typed(const struct vtd *vtd, uint64_t translation, uint16_t requester_id,
                          uint32_t pasid, uint8_t type, struct vtd_entry *entry);

/* Lowest address bit that a second stage of this many levels cannot translate: AGAW or MGAW. */
unsigned int vtd_second_stage_width(const struct vtd *vtd, unsigned int levels);

#endif
