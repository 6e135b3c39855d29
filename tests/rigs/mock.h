/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own mock of an IOMMU (CONFIG_IOMMUFD_TEST) seen as VFIO devices: a table of system
 * calls in which /dev/vfio/devices/vfioN are mock devices, and all else is the real kernel. So the
 * whole backend runs against the real iommufd without any hardware.
 */
#ifndef RIGS_MOCK_H
#define RIGS_MOCK_H

#include "host/iommufd/iommufd.h"
#include "host/sys.h"

#define MOCK_DEVICES    4
#define MOCK_PASID_BITS 20
#define MOCK_PASIDS     16

/* What the mock translates, and its names for vendor data. */
#define MOCK_FIRST_IOVA      UINT64_C(0x1000000)
#define MOCK_LAST_IOVA       UINT64_C(0x7fffffff)
#define MOCK_HW_INFO         0xfeedbeefu
#define MOCK_HWPT_DATA       0xdeadu
#define MOCK_INVALIDATE_DATA 0xdeadbeefu
#define MOCK_IOTLBS          4
#define MOCK_INVALIDATE_ALL  (1u << 0)

struct mock_hwpt_data {
    uint32_t iotlb; /* what each of its 4 translation caches holds at first */
    uint32_t pagetable_type;
};

struct mock_invalidate {
    uint32_t flags;
    uint32_t iotlb;
};

struct mock_device {
    int descriptor; /* 0: not open; stands for a VFIO device */
    bool bound;
    uint32_t stdev;
    uint32_t id;
    uint32_t empty_ioas; /* attached to that is blocked */
    uint32_t empty_hwpt;
    uint32_t pasids[MOCK_PASIDS];
    unsigned int pasid_count;
};

struct mock {
    struct host_sys sys; /* for iommufd_create() */
    int iommufd;
    struct mock_device devices[MOCK_DEVICES];
    bool has_pasids;         /* Linux 6.15 */
    bool has_files;          /* Linux 6.13 */
    unsigned long map_files; /* IOAS_MAP_FILE calls that succeeded */
};

/* False: this kernel has no mock. What it has otherwise is seen by asking the mock itself. */
bool mock_open(struct mock *mock);
void mock_close(struct mock *mock);

/* What the mock's side shows. 0, or a negative errno: it is not so. */
int mock_check_map(struct mock *mock, uint32_t hwpt, uint64_t iova, const void *memory,
                   uint64_t length);
int mock_check_iotlb(struct mock *mock, uint32_t hwpt, uint32_t index, uint32_t value);
int mock_check_pasid(struct mock *mock, uint32_t device, uint32_t pasid, uint32_t hwpt);
int mock_dirty(struct mock *mock, uint32_t hwpt, uint64_t iova, uint64_t length, uint64_t bitmap);
int mock_page_request(struct mock *mock, uint32_t device, uint32_t pasid, uint32_t group,
                      uint64_t address);
int mock_reserve(struct mock *mock, uint32_t ioas, uint64_t start, uint64_t length);

/* The ID that the kernel's next object gets: the lowest that is free, so it tells of leaks. */
uint32_t mock_next_id(struct mock *mock);

#endif
