/* SPDX-License-Identifier: MIT */
/*
 * Interrupt requests, interrupt remapping table entries and posted-interrupt descriptors
 * (VT-d 5.0, 5.1.2, 9.9 to 9.11): fields of their quadwords.
 */
#ifndef VTD_IRTE_H
#define VTD_IRTE_H

#include "base/bits.h"

/* 5.1.2: the address of a request; bits 1:0 mean nothing. */
#define VTD_IRQ_RANGE      UINT64_C(0xfee00000) /* bits 63:20 */
#define VTD_IRQ_RANGE_MASK (~GENMASK64(19, 0))
#define VTD_IRQ_HANDLE     GENMASK64(19, 5)
#define VTD_IRQ_FORMAT     BIT64(4) /* 1: remappable */
#define VTD_IRQ_SHV        BIT64(3)
#define VTD_IRQ_HANDLE_15  BIT64(2)
/* 5.1.2.2: its data; looked at when SHV is set. */
#define VTD_IRQ_SUBHANDLE     GENMASK64(15, 0)
#define VTD_IRQ_DATA_RESERVED GENMASK64(31, 16)

#define VTD_IRTE_SIZE 16

/* 9.9, 9.10, first quadword: in both formats. */
#define VTD_IRTE_P     BIT64(0)
#define VTD_IRTE_FPD   BIT64(1)
#define VTD_IRTE_AVAIL GENMASK64(11, 8)
#define VTD_IRTE_IM    BIT64(15) /* 1: posted; reserved without CAP.PI */
#define VTD_IRTE_V     GENMASK64(23, 16)
/* Second quadword. */
#define VTD_IRTE_SID GENMASK64(15, 0)
#define VTD_IRTE_SQ  GENMASK64(17, 16)
#define VTD_IRTE_SVT GENMASK64(19, 18)

/* 9.9 remapped, first quadword. */
#define VTD_IRTE_DM        BIT64(2)
#define VTD_IRTE_RH        BIT64(3)
#define VTD_IRTE_TM        BIT64(4)
#define VTD_IRTE_DLM       GENMASK64(7, 5)
#define VTD_IRTE_DST       GENMASK64(63, 32)
#define VTD_IRTE_DST_XAPIC GENMASK64(47, 40) /* without EIM; the rest of DST is reserved then */

/* 9.10 posted. */
#define VTD_IRTE_URG      BIT64(14)
#define VTD_IRTE_PDA_LOW  GENMASK64(63, 38) /* bits 31:6 of the address */
#define VTD_IRTE_PDA_HIGH GENMASK64(63, 32) /* second quadword: bits 63:32 */

/* 9.11 Posted-interrupt descriptor: 256 request bits, then the control quadword. */
#define VTD_PID_SIZE       64
#define VTD_PID_SHIFT      6
#define VTD_PID_CONTROL    32 /* bytes from its start; fields: */
#define VTD_PID_ON         BIT64(0)
#define VTD_PID_SN         BIT64(1)
#define VTD_PID_NV         GENMASK64(23, 16)
#define VTD_PID_NDST       GENMASK64(63, 32)
#define VTD_PID_RESERVED   (GENMASK64(15, 2) | GENMASK64(31, 24))
#define VTD_PID_NDST_XAPIC GENMASK64(15, 8) /* of NDST, without EIME */

/* 9.9, SVT: how the source is verified. */
enum vtd_irte_svt {
    VTD_SVT_NONE = 0,
    VTD_SVT_ID = 1,  /* SID, but for bits that SQ leaves out */
    VTD_SVT_BUS = 2, /* the bus is from SID 15:8 to SID 7:0 */
    VTD_SVT_RESERVED = 3,
};

#endif
