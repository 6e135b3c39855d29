/* SPDX-License-Identifier: MIT */
/*
 * A Linux kernel as the backends iommufd and type1 see it: /dev/iommu, VFIO's devices, groups and
 * containers, and sysfs in a directory of files. Strict: sizes, reserved fields, flags and the
 * order of errors are those of the uAPI; what a kernel of this age does not have is refused as it
 * refuses it.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include "host/iommufd/iommufd.h"
#include "unit.h"

#define FAKE_DEVICES 3
#define FAKE_OBJECTS 64
#define FAKE_AREAS   32
#define FAKE_PASIDS  8
#define FAKE_FAULTS  64
#define FAKE_FIRST   1000 /* descriptors from here on are the fake's */

/* Kernels, by what they brought. */
enum fake_age {
    LINUX_6_6 = 606,
    LINUX_6_7 = 607,
    LINUX_6_8 = 608,
    LINUX_6_11 = 611,
    LINUX_6_13 = 613,
    LINUX_6_15 = 615,
    LINUX_7_3 = 703,
};

enum fake_type {
    FAKE_FREE,
    FAKE_DEVICE,
    FAKE_IOAS,
    FAKE_PAGING,
    FAKE_NESTED,
    FAKE_QUEUE,
};

struct fake_area {
    uint64_t start;
    uint64_t length;
    uint32_t flags;
    bool by_file;
};

struct fake_object {
    enum fake_type type;
    uint32_t flags;
    uint32_t parent; /* IOAS of a paging, paging of a nested HWPT */
    uint32_t queue;
    unsigned int users;
    unsigned int iommu;
    bool tracking;
    bool queue_open;
    struct fake_area areas[FAKE_AREAS]; /* of an IOAS */
    size_t area_count;
    uint64_t dirty; /* pages from IOVA 0 */
    struct uapi_hwpt_invalidate last_invalidation;
};

#define FAKE_DEVICE_RESET 0x3b6f /* VFIO_DEVICE_RESET */

/* What one BDF is. */
struct fake_device {
    unsigned int iommu;
    uint8_t pasid_bits;
    int bind_errno;   /* the kernel refuses */
    int attach_errno; /* likewise */
    bool bound;       /* to an iommufd; by whom does not matter */
    uint32_t id;
    uint32_t hwpt; /* 0: blocked */
    uint32_t pasids[FAKE_PASIDS], pasid_hwpts[FAKE_PASIDS];
    size_t pasid_count;
    unsigned int resets;
};

enum fake_file_type {
    FAKE_CLOSED,
    FAKE_FILE_IOMMUFD,
    FAKE_FILE_VFIO,
    FAKE_FILE_QUEUE,
    FAKE_FILE_EVENT,
    FAKE_FILE_EPOLL,
    FAKE_FILE_CONTAINER,
    FAKE_FILE_GROUP,
    FAKE_FILE_GROUP_DEVICE,
    FAKE_FILE_OTHER, /* anything else; ENOTTY */
};

struct fake_file {
    enum fake_file_type type;
    uint32_t index; /* device, or ID of a queue */
    uint64_t event;
    bool bound;    /* by this descriptor of a VFIO device */
    int container; /* of a group: its file, or -1 */
};

/* What a VFIO container maps. */
struct fake_container {
    struct fake_area areas[FAKE_AREAS];
    size_t area_count;
    bool has_iommu;
    unsigned int groups;
};

struct fake_kernel {
    enum fake_age age;
    struct host_sys sys;
    char root[64]; /* sysfs */
    bool has_iommu;
    bool no_nesting;
    uint32_t hw_info_type;
    uint64_t ecap;
    uint64_t capabilities; /* UAPI_HW_CAP_* besides */
    uint64_t memlock;      /* UINT64_MAX: no limit */
    uint64_t pinned;
    int open_errno;
    struct fake_device devices[FAKE_DEVICES];
    struct fake_object objects[FAKE_OBJECTS]; /* by ID; 0 is none */
    struct fake_file files[FAKE_OBJECTS];
    struct uapi_fault faults[FAKE_FAULTS]; /* of all queues, in order */
    uint32_t fault_queues[FAKE_FAULTS];
    size_t fault_count;
    uint32_t waiting[FAKE_FAULTS]; /* cookies that were read and not answered */
    size_t waiting_count;
    uint32_t answers[FAKE_FAULTS][2];
    size_t answer_count;
    unsigned long calls;     /* that can fail, so far */
    unsigned long fail_call; /* this one fails; 0: none */
    int fail_errno;
    bool failed;
    unsigned long fail_request;                     /* this ioctl fails always; 0: none */
    struct fake_container containers[FAKE_OBJECTS]; /* by file */
    uint64_t entry_limit;                           /* mappings of a container */
    bool no_type1, not_viable, no_intremap;
    bool strict_containers; /* to unmap what is not mapped is ENOENT */
};

/* What is there: for tests that everything was given back. */
struct fake_census {
    unsigned int objects[FAKE_QUEUE + 1];
    unsigned int files;
    unsigned int attachments;
    uint64_t pinned;
};

void fake_boot(struct fake_kernel *kernel, enum fake_age age);
void fake_shutdown(struct fake_kernel *kernel); /* removes the directory */
struct fake_census fake_census(const struct fake_kernel *kernel);
void assert_census(const struct fake_kernel *kernel, const struct fake_census *expected);

/* An open descriptor, as somebody else would pass it in. */
int fake_open_vfio(struct fake_kernel *kernel, unsigned int device);
int fake_open_iommufd(struct fake_kernel *kernel);
int fake_open_other(struct fake_kernel *kernel);

/* The device asks for pages: a group of `count`. */
void fake_page_request(struct fake_kernel *kernel, uint32_t queue, uint32_t cookie, size_t count);

/* Change sysfs: the link of a device, or a directory. target NULL: remove. */
void fake_link(struct fake_kernel *kernel, const char *path, const char *target);
void fake_write_file(struct fake_kernel *kernel, const char *path, const void *bytes, size_t size);

#endif
