/* SPDX-License-Identifier: MIT */
/*
 * VFIO containers and groups as Linux understands them; declared here for the same reason as
 * iommufd/uapi.h, and compared with <linux/vfio.h> by tests/unit/test-type1-uapi.c.
 */
#ifndef HOST_TYPE1_UAPI_H
#define HOST_TYPE1_UAPI_H

#include <linux/ioctl.h>
#include <stdint.h>

#define UAPI_VFIO_CALL(nr) _IO(';', 100 + (nr))

/* On a container, /dev/vfio/vfio. */
#define UAPI_GET_API_VERSION UAPI_VFIO_CALL(0)
#define UAPI_CHECK_EXTENSION UAPI_VFIO_CALL(1) /* argument: the extension itself */
#define UAPI_SET_IOMMU       UAPI_VFIO_CALL(2) /* likewise */
#define UAPI_IOMMU_GET_INFO  UAPI_VFIO_CALL(12)
#define UAPI_MAP_DMA         UAPI_VFIO_CALL(13)
#define UAPI_UNMAP_DMA       UAPI_VFIO_CALL(14)

/* On a group, /dev/vfio/N. */
#define UAPI_GROUP_GET_STATUS    UAPI_VFIO_CALL(3)
#define UAPI_GROUP_SET_CONTAINER UAPI_VFIO_CALL(4) /* argument: int * */
#define UAPI_GROUP_GET_DEVICE    UAPI_VFIO_CALL(6) /* argument: the PCI address */

#define UAPI_API_VERSION 0
#define UAPI_TYPE1V2     3

#define UAPI_GROUP_VIABLE (1u << 0)

struct uapi_group_status {
    uint32_t argsz;
    uint32_t flags;
};

#define UAPI_INFO_CAPS       (1u << 1)
#define UAPI_INFO_CAP_RANGES 1

struct uapi_type1_info {
    uint32_t argsz; /* out: what all of it needs */
    uint32_t flags;
    uint64_t pgsizes;
    uint32_t cap_offset; /* of the first struct uapi_info_cap */
    uint32_t pad;
};

struct uapi_info_cap {
    uint16_t id;
    uint16_t version;
    uint32_t next; /* offset; 0: the last */
};

struct uapi_info_cap_ranges {
    struct uapi_info_cap header;
    uint32_t count;
    uint32_t reserved;
    /* then pairs of 64-bit numbers, both inclusive */
};

#define UAPI_DMA_READ  (1u << 0)
#define UAPI_DMA_WRITE (1u << 1)

struct uapi_dma_map {
    uint32_t argsz;
    uint32_t flags;
    uint64_t vaddr;
    uint64_t iova;
    uint64_t size;
};

struct uapi_dma_unmap {
    uint32_t argsz;
    uint32_t flags;
    uint64_t iova;
    uint64_t size; /* out: bytes that were unmapped */
};

#endif
