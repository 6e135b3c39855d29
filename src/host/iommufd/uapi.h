/* SPDX-License-Identifier: MIT */
/*
 * What Linux understands on /dev/iommu and on VFIO character devices, declared here so that the
 * headers of the machine that builds the library decide nothing. tests/unit/test-iommufd-uapi.c
 * compares it with <linux/iommufd.h> and <linux/vfio.h> where these are installed.
 *
 * Every structure of /dev/iommu begins with its size: an older kernel accepts a longer one when
 * what it does not know is 0 (else E2BIG), a newer one a shorter.
 */
#ifndef HOST_IOMMUFD_UAPI_H
#define HOST_IOMMUFD_UAPI_H

#include <linux/ioctl.h>
#include <stdint.h>

/* On /dev/iommu. The kernel that brought each is noted; before, it is ENOTTY. */
#define UAPI_CALL(nr)                _IO(';', nr)
#define UAPI_DESTROY                 UAPI_CALL(0x80) /* 6.2 */
#define UAPI_IOAS_ALLOC              UAPI_CALL(0x81) /* 6.2 */
#define UAPI_IOAS_IOVA_RANGES        UAPI_CALL(0x84) /* 6.2 */
#define UAPI_IOAS_MAP                UAPI_CALL(0x85) /* 6.2 */
#define UAPI_IOAS_UNMAP              UAPI_CALL(0x86) /* 6.2 */
#define UAPI_OPTION                  UAPI_CALL(0x87) /* 6.2 */
#define UAPI_HWPT_ALLOC              UAPI_CALL(0x89) /* 6.6 */
#define UAPI_GET_HW_INFO             UAPI_CALL(0x8a) /* 6.6 */
#define UAPI_HWPT_SET_DIRTY_TRACKING UAPI_CALL(0x8b) /* 6.7 */
#define UAPI_HWPT_GET_DIRTY_BITMAP   UAPI_CALL(0x8c) /* 6.7 */
#define UAPI_HWPT_INVALIDATE         UAPI_CALL(0x8d) /* 6.8 */
#define UAPI_FAULT_QUEUE_ALLOC       UAPI_CALL(0x8e) /* 6.11 */
#define UAPI_IOAS_MAP_FILE           UAPI_CALL(0x8f) /* 6.13 */

/* On a VFIO character device (6.6). */
#define UAPI_VFIO_BIND_IOMMUFD UAPI_CALL(0x76)
#define UAPI_VFIO_ATTACH       UAPI_CALL(0x77)
#define UAPI_VFIO_DETACH       UAPI_CALL(0x78)

struct uapi_destroy {
    uint32_t size;
    uint32_t id;
};

struct uapi_ioas_alloc {
    uint32_t size;
    uint32_t flags;
    uint32_t out_ioas_id;
};

struct uapi_iova_range {
    uint64_t start;
    uint64_t last;
};

struct uapi_ioas_iova_ranges {
    uint32_t size;
    uint32_t ioas_id;
    uint32_t num_iovas; /* in: room, out: ranges that there are */
    uint32_t reserved;
    uint64_t allowed_iovas; /* struct uapi_iova_range * */
    uint64_t out_iova_alignment;
};

#define UAPI_MAP_FIXED_IOVA (1u << 0)
#define UAPI_MAP_WRITEABLE  (1u << 1)
#define UAPI_MAP_READABLE   (1u << 2)

struct uapi_ioas_map {
    uint32_t size;
    uint32_t flags;
    uint32_t ioas_id;
    uint32_t reserved;
    uint64_t user_va;
    uint64_t length;
    uint64_t iova;
};

struct uapi_ioas_map_file {
    uint32_t size;
    uint32_t flags;
    uint32_t ioas_id;
    int32_t fd;
    uint64_t start;
    uint64_t length;
    uint64_t iova;
};

struct uapi_ioas_unmap {
    uint32_t size;
    uint32_t ioas_id;
    uint64_t iova;
    uint64_t length; /* out: bytes that were unmapped */
};

#define UAPI_OPTION_RLIMIT_MODE 0
#define UAPI_OPTION_GET         1

struct uapi_option {
    uint32_t size;
    uint32_t option_id;
    uint16_t op;
    uint16_t reserved;
    uint32_t object_id;
    uint64_t val64;
};

/* Flags: those of viommu/host.h have the same numbers. */
#define UAPI_HWPT_NEST_PARENT    (1u << 0)
#define UAPI_HWPT_DIRTY_TRACKING (1u << 1)
#define UAPI_HWPT_FAULT_ID_VALID (1u << 2)
#define UAPI_HWPT_PASID          (1u << 3)

#define UAPI_HWPT_DATA_NONE   0
#define UAPI_HWPT_DATA_VTD_S1 1

struct uapi_hwpt_alloc {
    uint32_t size;
    uint32_t flags;
    uint32_t dev_id;
    uint32_t pt_id; /* an IOAS, or a nesting parent */
    uint32_t out_hwpt_id;
    uint32_t reserved;
    uint32_t data_type; /* from here on 6.7 */
    uint32_t data_len;
    uint64_t data_uptr;
    uint32_t fault_id; /* 6.11 */
    uint32_t reserved2;
};

#define UAPI_HW_INFO_NONE   0
#define UAPI_HW_INFO_VTD    1
#define UAPI_HW_INFO_SMMUV3 2
#define UAPI_HW_INFO_AMD    4

#define UAPI_HW_INFO_VTD_772415 (1u << 0)

struct uapi_hw_info_vtd {
    uint32_t flags;
    uint32_t reserved;
    uint64_t cap_reg;
    uint64_t ecap_reg;
};

struct uapi_hw_info_amd {
    uint64_t efr;
    uint64_t efr2;
};

#define UAPI_HW_CAP_DIRTY_TRACKING    (UINT64_C(1) << 0)
#define UAPI_HW_CAP_ATS_NOT_SUPPORTED (UINT64_C(1) << 3) /* by 7.3 */

struct uapi_hw_info {
    uint32_t size;
    uint32_t flags;
    uint32_t dev_id;
    uint32_t data_len;
    uint64_t data_uptr;
    uint32_t out_data_type;
    uint8_t out_max_pasid_log2; /* 6.15; 0 before */
    uint8_t reserved[3];
    uint64_t out_capabilities; /* 6.7 */
};

#define UAPI_DIRTY_TRACKING_ENABLE (1u << 0)

struct uapi_hwpt_set_dirty_tracking {
    uint32_t size;
    uint32_t flags;
    uint32_t hwpt_id;
    uint32_t reserved;
};

#define UAPI_DIRTY_NO_CLEAR (1u << 0)

struct uapi_hwpt_get_dirty_bitmap {
    uint32_t size;
    uint32_t hwpt_id;
    uint32_t flags;
    uint32_t reserved;
    uint64_t iova;
    uint64_t length;
    uint64_t page_size;
    uint64_t data; /* bits are only set, never cleared */
};

#define UAPI_INVALIDATE_VTD_S1 0 /* the numbers of HWPT data are others */

struct uapi_hwpt_invalidate {
    uint32_t size;
    uint32_t hwpt_id;
    uint64_t data_uptr;
    uint32_t data_type;
    uint32_t entry_len;
    uint32_t entry_num; /* out: entries that were handled, also when the call fails */
    uint32_t reserved;
};

struct uapi_fault_alloc {
    uint32_t size;
    uint32_t flags;
    uint32_t out_fault_id;
    uint32_t out_fault_fd;
};

#define UAPI_FAULT_PASID (1u << 0)
#define UAPI_FAULT_LAST  (1u << 1)
#define UAPI_FAULT_READ  (1u << 0)
#define UAPI_FAULT_WRITE (1u << 1)
#define UAPI_FAULT_EXEC  (1u << 2)
#define UAPI_FAULT_PRIV  (1u << 3)

struct uapi_fault {
    uint32_t flags;
    uint32_t dev_id;
    uint32_t pasid;
    uint32_t grpid;
    uint32_t perm;
    uint32_t reserved;
    uint64_t addr;
    uint32_t length;
    uint32_t cookie; /* of the group: one answer for all of it */
};

struct uapi_fault_response {
    uint32_t cookie;
    uint32_t code; /* 0: success, 1: invalid */
};

struct uapi_vfio_bind {
    uint32_t argsz;
    uint32_t flags;
    int32_t iommufd;
    uint32_t out_devid; /* the end until 6.17 */
};

#define UAPI_VFIO_PASID (1u << 0) /* 6.15; EINVAL before */

struct uapi_vfio_attach {
    uint32_t argsz;
    uint32_t flags;
    uint32_t pt_id;
    uint32_t pasid; /* 6.15 */
};

struct uapi_vfio_detach {
    uint32_t argsz;
    uint32_t flags;
    uint32_t pasid; /* 6.15 */
};

#endif
