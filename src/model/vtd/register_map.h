/* SPDX-License-Identifier: MIT */
/* Register offsets and fields (VT-d 5.0, 11.4). Names are the specification's. */
#ifndef VTD_REGISTER_MAP_H
#define VTD_REGISTER_MAP_H

#include "base/bits.h"

/* 11.4.1 Version: major 7:4, minor 3:0. From 6.0 on, invalidation by registers would not be there
 * (6.5). */
#define VTD_VER       0x00
#define VTD_VER_VALUE 0x50

/* 11.4.2 Capability. */
#define VTD_CAP         0x08
#define VTD_CAP_ND      GENMASK64(2, 0)
#define VTD_CAP_PLMR    BIT64(5)
#define VTD_CAP_PHMR    BIT64(6)
#define VTD_CAP_CM      BIT64(7)
#define VTD_CAP_SAGAW   GENMASK64(12, 8)
#define VTD_CAP_MGAW    GENMASK64(21, 16)
#define VTD_CAP_ZLR     BIT64(22)
#define VTD_CAP_FRO     GENMASK64(33, 24)
#define VTD_CAP_SSLPS   GENMASK64(37, 34)
#define VTD_CAP_PSI     BIT64(39)
#define VTD_CAP_NFR     GENMASK64(47, 40)
#define VTD_CAP_MAMV    GENMASK64(53, 48)
#define VTD_CAP_DWD     BIT64(54)
#define VTD_CAP_DRD     BIT64(55)
#define VTD_CAP_FS1GP   BIT64(56)
#define VTD_CAP_PI      BIT64(59)
#define VTD_CAP_FS5LP   BIT64(60)
#define VTD_CAP_ECMDS   BIT64(61)
#define VTD_CAP_ESIRTPS BIT64(62)
#define VTD_CAP_ESRTPS  BIT64(63)

/* What CAP.MAMV says: page-selective invalidations of the second stage cover up to 1 GiB. */
#define VTD_MAMV 18

#define VTD_SAGAW_39 BIT64(1)
#define VTD_SAGAW_48 BIT64(2)
#define VTD_SAGAW_57 BIT64(3)

/* 11.4.3 Extended capability. */
#define VTD_ECAP        0x10
#define VTD_ECAP_C      BIT64(0)
#define VTD_ECAP_QI     BIT64(1)
#define VTD_ECAP_DT     BIT64(2)
#define VTD_ECAP_IR     BIT64(3)
#define VTD_ECAP_EIM    BIT64(4)
#define VTD_ECAP_PT     BIT64(6)
#define VTD_ECAP_SC     BIT64(7)
#define VTD_ECAP_IRO    GENMASK64(17, 8)
#define VTD_ECAP_MHMV   GENMASK64(23, 20)
#define VTD_ECAP_NEST   BIT64(26)
#define VTD_ECAP_PRS    BIT64(29)
#define VTD_ECAP_ERS    BIT64(30)
#define VTD_ECAP_SRS    BIT64(31)
#define VTD_ECAP_NWFS   BIT64(33)
#define VTD_ECAP_EAFS   BIT64(34)
#define VTD_ECAP_PSS    GENMASK64(39, 35)
#define VTD_ECAP_PASID  BIT64(40)
#define VTD_ECAP_DIT    BIT64(41)
#define VTD_ECAP_PDS    BIT64(42)
#define VTD_ECAP_SMTS   BIT64(43)
#define VTD_ECAP_SSADS  BIT64(45)
#define VTD_ECAP_SSTS   BIT64(46)
#define VTD_ECAP_FSTS   BIT64(47)
#define VTD_ECAP_SMPWCS BIT64(48)
#define VTD_ECAP_RPS    BIT64(49)
#define VTD_ECAP_PMS    BIT64(51)
#define VTD_ECAP_ADMS   BIT64(52)
#define VTD_ECAP_RPRIVS BIT64(53)

/* 11.4.4.1, 11.4.4.2 Global command and status: the same bits. */
#define VTD_GCMD       0x18
#define VTD_GSTS       0x1c
#define VTD_GCMD_TE    BIT64(31)
#define VTD_GCMD_SRTP  BIT64(30)
#define VTD_GCMD_WBF   BIT64(27)
#define VTD_GCMD_QIE   BIT64(26)
#define VTD_GCMD_IRE   BIT64(25)
#define VTD_GCMD_SIRTP BIT64(24)
#define VTD_GCMD_CFI   BIT64(23)
#define VTD_GSTS_TES   VTD_GCMD_TE
#define VTD_GSTS_RTPS  VTD_GCMD_SRTP
#define VTD_GSTS_QIES  VTD_GCMD_QIE
#define VTD_GSTS_IRES  VTD_GCMD_IRE
#define VTD_GSTS_IRTPS VTD_GCMD_SIRTP
#define VTD_GSTS_CFIS  VTD_GCMD_CFI

/* 11.4.5 Root table address. */
#define VTD_RTADDR     0x20
#define VTD_RTADDR_RTA GENMASK64(63, 12)
#define VTD_RTADDR_TTM GENMASK64(11, 10)

/* 11.4.6.1 Context command. */
#define VTD_CCMD      0x28
#define VTD_CCMD_ICC  BIT64(63)
#define VTD_CCMD_CIRG GENMASK64(62, 61)
#define VTD_CCMD_CAIG GENMASK64(60, 59)
#define VTD_CCMD_FM   GENMASK64(33, 32)
#define VTD_CCMD_SID  GENMASK64(31, 16)
#define VTD_CCMD_DID  GENMASK64(15, 0)

/* 11.4.6.3, 11.4.6.4 IOTLB registers: at ECAP.IRO the invalidate address, then the command. */
#define VTD_IVA        0x500
#define VTD_IVA_ADDR   GENMASK64(63, 12)
#define VTD_IVA_IH     BIT64(6)
#define VTD_IVA_AM     GENMASK64(5, 0)
#define VTD_IOTLB      0x508
#define VTD_IOTLB_IVT  BIT64(63)
#define VTD_IOTLB_IIRG GENMASK64(61, 60)
#define VTD_IOTLB_IAIG GENMASK64(58, 57)
#define VTD_IOTLB_DR   BIT64(49)
#define VTD_IOTLB_DW   BIT64(48)
#define VTD_IOTLB_DID  GENMASK64(47, 32)

/* Granularity of CCMD (CIRG, CAIG), IOTLB (IIRG, IAIG), and of their descriptors. */
#define VTD_GRANULARITY_NONE   0 /* as an answer: the request was not understood, and ignored */
#define VTD_GRANULARITY_GLOBAL 1
#define VTD_GRANULARITY_DOMAIN 2
#define VTD_GRANULARITY_FINE   3 /* device or page */

/* 11.4.7 Fault events. */
#define VTD_FSTS     0x34
#define VTD_FSTS_PFO BIT64(0)
#define VTD_FSTS_PPF BIT64(1)
#define VTD_FSTS_IQE BIT64(4)
#define VTD_FSTS_ICE BIT64(5)
#define VTD_FSTS_ITE BIT64(6)
#define VTD_FSTS_FRI GENMASK64(15, 8)
/* The status fields that the fault event announces. */
#define VTD_FSTS_EVENTS (VTD_FSTS_PFO | VTD_FSTS_PPF | VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE)
#define VTD_FECTL       0x38
#define VTD_FEDATA      0x3c
#define VTD_FEADDR      0x40
#define VTD_FEUADDR     0x44

/* The control registers of all events (FECTL, IECTL). */
#define VTD_ECTL_IM BIT64(31)
#define VTD_ECTL_IP BIT64(30)

/* 11.4.7.6 Fault recording registers, 16 bytes each, at CAP.FRO; here the upper quadword. */
#define VTD_FRCD      0x600
#define VTD_FRCD_SIZE 16
#define VTD_FRCD_FI   GENMASK64(63, 12) /* lower quadword */
#define VTD_FRCD_IDX  GENMASK64(63, 48) /* lower quadword, of an interrupt */
#define VTD_FRCD_F    BIT64(63)
#define VTD_FRCD_T1   BIT64(62)
#define VTD_FRCD_AT   GENMASK64(61, 60)
#define VTD_FRCD_PV   GENMASK64(59, 40)
#define VTD_FRCD_FR   GENMASK64(39, 32)
#define VTD_FRCD_PP   BIT64(31)
#define VTD_FRCD_EXE  BIT64(30)
#define VTD_FRCD_PRIV BIT64(29)
#define VTD_FRCD_T2   BIT64(28)
#define VTD_FRCD_SID  GENMASK64(15, 0)

/* 11.4.8 Protected memory. Bases and limits are of units of 2^VTD_PROTECTED_LOG2 bytes. */
#define VTD_PMEN           0x64
#define VTD_PMEN_EPM       BIT64(31)
#define VTD_PMEN_PRS       BIT64(0)
#define VTD_PLMBASE        0x68
#define VTD_PLMLIMIT       0x6c
#define VTD_PHMBASE        0x70
#define VTD_PHMLIMIT       0x78
#define VTD_PROTECTED_LOG2 21
#define VTD_PROTECTED_LOW  GENMASK64(31, VTD_PROTECTED_LOG2)
#define VTD_PROTECTED_HIGH GENMASK64(63, VTD_PROTECTED_LOG2)

/* 11.4.9 Queued invalidation. */
#define VTD_IQH           0x80
#define VTD_IQT           0x88
#define VTD_IQT_QT        GENMASK64(18, 4)
#define VTD_IQA           0x90
#define VTD_IQA_IQA       GENMASK64(63, 12)
#define VTD_IQA_DW        BIT64(11)
#define VTD_IQA_QS        GENMASK64(2, 0)
#define VTD_ICS           0x9c
#define VTD_ICS_IWC       BIT64(0)
#define VTD_IECTL         0xa0
#define VTD_IEDATA        0xa4
#define VTD_IEADDR        0xa8
#define VTD_IEUADDR       0xac
#define VTD_IQERCD        0xb0
#define VTD_IQERCD_IQEI   GENMASK64(3, 0)
#define VTD_IQERCD_ITESID GENMASK64(47, 32)
#define VTD_IQERCD_ICESID GENMASK64(63, 48)

/* 11.4.10 Page requests: not there without ECAP.PRS. */
#define VTD_PQH        0xc0
#define VTD_PQT        0xc8
#define VTD_PQH_PQH    GENMASK64(18, 5) /* the same in both */
#define VTD_PQA        0xd0
#define VTD_PQA_PQA    GENMASK64(63, 12)
#define VTD_PQA_PQS    GENMASK64(2, 0)
#define VTD_PRS        0xdc
#define VTD_PRS_PPR    BIT64(0)
#define VTD_PRS_PRO    BIT64(1)
#define VTD_PRS_EVENTS (VTD_PRS_PPR | VTD_PRS_PRO)
#define VTD_PECTL      0xe0
#define VTD_PEDATA     0xe4
#define VTD_PEADDR     0xe8
#define VTD_PEUADDR    0xec

/* 7.4.1.1 Page request descriptor. */
#define VTD_PRQ_SIZE              32
#define VTD_PRQ_TYPE_PAGE_REQUEST UINT64_C(1) /* bits 7:0 */
#define VTD_PRQ_PP                BIT64(8)
#define VTD_PRQ_RID               GENMASK64(31, 16)
#define VTD_PRQ_PASID             GENMASK64(51, 32)
#define VTD_PRQ_EXE               BIT64(52)
#define VTD_PRQ_PRIV              BIT64(53)
#define VTD_PRQ_RD                BIT64(0) /* second quadword from here on */
#define VTD_PRQ_WR                BIT64(1)
#define VTD_PRQ_LPIG              BIT64(2)
#define VTD_PRQ_PRGI              GENMASK64(11, 3)
#define VTD_PRQ_ADDR              GENMASK64(63, 12)

/* 11.4.10 Interrupt remapping table address. The table has 2^(S + 1) entries. */
#define VTD_IRTA      0xb8
#define VTD_IRTA_IRTA GENMASK64(63, 12)
#define VTD_IRTA_EIME BIT64(11)
#define VTD_IRTA_S    GENMASK64(3, 0)

/* What ECAP.MHMV says: an index mask of an invalidation covers up to the whole table. */
#define VTD_MHMV 15

/* 11.4.9.9 IQERCD.IQEI: why the queue stopped. */
enum vtd_queue_error {
    VTD_QUEUE_OK = 0,
    VTD_QUEUE_TAIL = 1,
    VTD_QUEUE_FETCH = 2,
    VTD_QUEUE_TYPE = 3,
    VTD_QUEUE_RESERVED = 4,
    VTD_QUEUE_WIDTH = 5,
    VTD_QUEUE_TAIL_ALIGNMENT = 6,
    VTD_QUEUE_TTM = 7,
    VTD_QUEUE_UNKNOWN, /* not in the register: reported as 0, "not available" */
    VTD_QUEUE_HOLD,    /* no error: to be tried again when a device has answered */
    VTD_QUEUE_ABORT,   /* no error of the queue: a wait is given up, as a device did not answer */
};

#endif
