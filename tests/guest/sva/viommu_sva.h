/* SPDX-License-Identifier: MIT */
/*
 * What the module viommu_sva offers to the guest program: /dev/viommu-sva-0000:00:02.0 for the edu
 * at that place, when it has a copy engine. mmap() at offset 0 gives the engine's user page.
 */
#ifndef VIOMMU_SVA_H
#define VIOMMU_SVA_H

#include <linux/ioctl.h>

/*
 * Bind the caller's address space to the device: the engine works on its virtual addresses from
 * here on. Returns the PASID. EBUSY: another process is bound. Closing the file unbinds, too.
 */
#define VIOMMU_SVA_BIND   _IO('v', 1)
#define VIOMMU_SVA_UNBIND _IO('v', 2)

/* The registers, as vmm/copier.h has them. */
#define SVA_ENGINE        0x1000 /* in BAR 0 */
#define SVA_SOURCE        0x00
#define SVA_DESTINATION   0x08
#define SVA_LENGTH        0x10
#define SVA_DONE          0x18
#define SVA_FAULT_ADDRESS 0x20
#define SVA_COMMAND       0x28
#define SVA_STATUS        0x2c
#define SVA_TRANSLATIONS  0x30
#define SVA_HITS          0x34
#define SVA_PAGE_REQUESTS 0x38
#define SVA_RESPONSES     0x3c
#define SVA_INVALIDATIONS 0x40
#define SVA_PASID         0x1000
#define SVA_STOP          0x1004

#define SVA_START       1
#define SVA_REPEAT      2
#define SVA_BUSY        1
#define SVA_PASID_VALID 0x80000000u

/* Results: bits 15:8 of the status. */
#define SVA_RESULT(status) ((status) >> 8 & 0xff)
#define SVA_OK             0
#define SVA_STOPPED        1
#define SVA_REFUSED        2
#define SVA_NOT_GRANTED    3
#define SVA_INVALID        4

#endif
