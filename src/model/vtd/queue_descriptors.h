/* SPDX-License-Identifier: MIT */
/* Invalidation descriptors (VT-d 5.0, 6.5.2): fields of their first and second quadword. */
#ifndef VTD_QUEUE_DESCRIPTORS_H
#define VTD_QUEUE_DESCRIPTORS_H

#include "base/bits.h"
#include "model/vtd/register_map.h"

struct vtd;

/* The type is split: bits 3:0, and 11:9, which are 0 in all types that there are. */
#define VTD_DESC_TYPE      GENMASK64(3, 0)
#define VTD_DESC_TYPE_HIGH GENMASK64(11, 9)

enum vtd_descriptor_type {
    VTD_DESC_CONTEXT = 0x1,
    VTD_DESC_IOTLB = 0x2,
    VTD_DESC_DEVICE_TLB = 0x3,
    VTD_DESC_INTERRUPT = 0x4,
    VTD_DESC_WAIT = 0x5,
    VTD_DESC_PIOTLB = 0x6,
    VTD_DESC_PASID = 0x7,
    VTD_DESC_PASID_DEVICE_TLB = 0x8,
    VTD_DESC_PAGE_RESPONSE = 0x9,
    VTD_DESC_TYPES = 0x10,
};

/* In all that have them. */
#define VTD_DESC_G           GENMASK64(5, 4)
#define VTD_DESC_DID         GENMASK64(31, 16)
#define VTD_DESC_PASID_FIELD GENMASK64(51, 32)
#define VTD_DESC_ADDR        GENMASK64(63, 12) /* second quadword */
#define VTD_DESC_IH          BIT64(6)          /* second quadword */
#define VTD_DESC_AM          GENMASK64(5, 0)   /* second quadword */

/* 6.5.2.1 Context cache. G as in CCMD_REG. */
#define VTD_DESC_CONTEXT_SID GENMASK64(47, 32)
#define VTD_DESC_CONTEXT_FM  GENMASK64(49, 48)

/* 6.5.2.2 PASID cache. */
#define VTD_DESC_PASID_G_DOMAIN   0
#define VTD_DESC_PASID_G_PASID    1
#define VTD_DESC_PASID_G_RESERVED 2
#define VTD_DESC_PASID_G_GLOBAL   3

/* 6.5.2.3 IOTLB. G as in IOTLB_REG. */
#define VTD_DESC_IOTLB_DW BIT64(6)
#define VTD_DESC_IOTLB_DR BIT64(7)

/* 6.5.2.4 PASID-based IOTLB. */
#define VTD_DESC_PIOTLB_G_PASID 2
#define VTD_DESC_PIOTLB_G_PAGES 3

/* 6.5.2.5 Device TLB. PFSID, in bits 63:52 and 15:12, is reserved without ECAP.DIT; so it is below.
 * MIP says how many the device can queue: they are sent one by one. */
#define VTD_DESC_DEVICE_MIP GENMASK64(20, 16)
#define VTD_DESC_DEVICE_SID GENMASK64(47, 32)
#define VTD_DESC_DEVICE_S   BIT64(0) /* second quadword */

/* 6.5.2.6 PASID-based device TLB. */
#define VTD_DESC_PDEVICE_MIP GENMASK64(8, 4)
#define VTD_DESC_PDEVICE_SID GENMASK64(31, 16)
#define VTD_DESC_PDEVICE_S   BIT64(11) /* second quadword */
#define VTD_DESC_PDEVICE_G   BIT64(0)  /* second quadword */

/* 6.5.2.7 Page group response. LPIG is of before 5.0, and ignored. */
#define VTD_DESC_RESPONSE_PP   BIT64(4)
#define VTD_DESC_RESPONSE_RC   GENMASK64(15, 12)
#define VTD_DESC_RESPONSE_RID  GENMASK64(31, 16)
#define VTD_DESC_RESPONSE_LPIG BIT64(2) /* second quadword */
#define VTD_DESC_RESPONSE_PRGI GENMASK64(11, 3)

/* 6.5.2.8 Interrupt entry cache. */
#define VTD_DESC_INTERRUPT_G    BIT64(4)
#define VTD_DESC_INTERRUPT_IM   GENMASK64(31, 27)
#define VTD_DESC_INTERRUPT_IIDX GENMASK64(47, 32)

/* 6.5.2.9 Wait. PD is reserved without ECAP.PDS. */
#define VTD_DESC_WAIT_IF     BIT64(4)
#define VTD_DESC_WAIT_SW     BIT64(5)
#define VTD_DESC_WAIT_FN     BIT64(6)
#define VTD_DESC_WAIT_PD     BIT64(7)
#define VTD_DESC_WAIT_DATA   GENMASK64(63, 32)
#define VTD_DESC_WAIT_STATUS GENMASK64(63, 2) /* second quadword */

/* queue_devices.c; the last one: page_requests.c */
enum vtd_queue_error vtd_queue_device_tlb(struct vtd *vtd, const uint64_t *quadwords);
enum vtd_queue_error vtd_queue_pasid_device_tlb(struct vtd *vtd, const uint64_t *quadwords);
enum vtd_queue_error vtd_queue_page_response(struct vtd *vtd, const uint64_t *quadwords);

#endif
