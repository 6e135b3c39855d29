/* SPDX-License-Identifier: MIT */
/* Two functions that ask for pages, and the guest's queue for that. */
#ifndef SPEC_PAGE_REQUESTS_H
#define SPEC_PAGE_REQUESTS_H

#include "ats_device.h"
#include "descriptors.h"
#include "model/vtd/queue_descriptors.h"

#define R VIOMMU_DMA_READ
#define W VIOMMU_DMA_WRITE
#define X VIOMMU_DMA_EXECUTE
#define P VIOMMU_DMA_PRIVILEGED

#define DTE    (UINT64_C(1) << 2)
#define PASIDE (UINT64_C(1) << 3)
#define PRE    (UINT64_C(1) << 4)
#define PDTS   (UINT64_C(7) << 9) /* PASIDs of 20 bits */
#define ENABLE (DTE | PASIDE | PRE | PDTS)

#define PRQ      UINT64_C(0x30000) /* one page: 128 descriptors, of which 127 fit */
#define PRQ_FITS 127
#define UNIT     "device-iotlb=on,page-requests=on,pasid-bits=20,supervisor=on,execute=on"

#define RESPONSE       UINT64_C(9)
#define RESPONSE_PP    (UINT64_C(1) << 4)
#define RESPONSE_RC(n) ((uint64_t)(n) << 12)
#define RID(n)         ((uint64_t)(n) << 16)
#define PRGI(n)        ((uint64_t)(n) << 3)
#define WAIT_PD        (UINT64_C(1) << 7)
#define PLAIN          VIOMMU_PASID_NONE

struct fixture {
    struct guest guest;
    struct ats_device device[2];
};

void start(struct fixture *fixture);
void stop(struct fixture *fixture);
int ask(struct fixture *fixture, unsigned int device, uint64_t address, uint32_t pasid,
        uint16_t group, uint8_t access, bool last);
/* A last request that is sent. */
void asks(struct fixture *fixture, uint16_t group);
uint32_t prs(struct fixture *fixture);
uint64_t tail(struct fixture *fixture);
/* The device has one new response, and it is this. */
void answered(struct fixture *fixture, unsigned int device, uint32_t pasid, uint16_t group,
              uint8_t code);

#endif
