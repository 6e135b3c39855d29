/* SPDX-License-Identifier: MIT */
#include "mock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rig.h"

/* The test command of the mock, as in Linux 7.3; it is no stable interface. */
#define TEST_CMD UAPI_CALL(0xa0)

enum test_op {
    TEST_ADD_RESERVED = 1,
    TEST_CHECK_MAP = 3,
    TEST_REPLACE = 10,
    TEST_DEVICE = 12, /* MOCK_DOMAIN_FLAGS */
    TEST_DIRTY = 13,
    TEST_CHECK_IOTLB = 14,
    TEST_PAGE_REQUEST = 15,
    TEST_PASID_ATTACH = 18,
    TEST_PASID_REPLACE = 19,
    TEST_PASID_DETACH = 20,
    TEST_PASID_CHECK = 21,
};

#define TEST_DEVICE_HAS_PASID (1u << 2)

struct test_cmd {
    uint32_t size;
    uint32_t op;
    uint32_t id;
    uint32_t reserved;
    union {
        struct {
            uint32_t stdev;
            uint32_t hwpt;
            uint32_t device;
            uint32_t flags;
        } device;
        struct {
            uint32_t pt;
        } replace;
        struct {
            uint64_t start;
            uint64_t length;
        } reserve;
        struct {
            uint64_t iova;
            uint64_t length;
            uint64_t address;
        } map;
        struct {
            uint32_t flags;
            uint64_t iova;
            uint64_t length;
            uint64_t page_size;
            uint64_t bitmap;
            uint64_t count;
        } dirty;
        struct {
            uint32_t index;
            uint32_t value;
        } iotlb;
        struct {
            uint32_t device;
            uint32_t pasid;
            uint32_t group;
            uint32_t access;
            uint64_t address;
        } page_request;
        struct {
            uint32_t pasid;
            uint32_t pt;
        } pasid;
    };
    uint32_t last;
};

static int test(struct mock *mock, struct test_cmd *cmd)
{
    cmd->size = sizeof(*cmd);
    return rig_ioctl(NULL, mock->iommufd, TEST_CMD, cmd);
}

/* What must not fail while something is undone. */
static int quietly(struct mock *mock, unsigned long request, void *argument)
{
    return host_sys_real.ioctl(NULL, mock->iommufd, request, argument);
}

/* ---- Mock devices as VFIO devices */

static struct mock_device *device_of(struct mock *mock, int descriptor)
{
    for (int i = 0; i < MOCK_DEVICES; i++) {
        if (mock->devices[i].descriptor == descriptor && descriptor > 0)
            return &mock->devices[i];
    }
    return NULL;
}

static void destroy(struct mock *mock, uint32_t id)
{
    struct uapi_destroy cmd = {.size = sizeof(cmd), .id = id};

    if (id && quietly(mock, UAPI_DESTROY, &cmd)) {
        rig_say("object %u cannot be destroyed", id);
        exit(1);
    }
}

static int replace(struct mock *mock, const struct mock_device *device, uint32_t pt)
{
    struct test_cmd cmd = {.op = TEST_REPLACE, .id = device->stdev, .replace.pt = pt};

    return test(mock, &cmd);
}

static void unbind(struct mock *mock, struct mock_device *device)
{
    for (unsigned int i = 0; i < device->pasid_count; i++) {
        struct test_cmd cmd = {.size = sizeof(cmd),
                               .op = TEST_PASID_DETACH,
                               .id = device->stdev,
                               .pasid.pasid = device->pasids[i]};

        quietly(mock, TEST_CMD, &cmd);
    }
    destroy(mock, device->stdev);
    destroy(mock, device->empty_hwpt);
    destroy(mock, device->empty_ioas);
    *device = (struct mock_device){.descriptor = device->descriptor};
}

/* Blocked is: attached to an empty table, of the kind that goes with PASIDs. */
static int make_device(struct mock *mock, struct mock_device *device)
{
    struct uapi_ioas_alloc ioas = {.size = sizeof(ioas)};
    struct test_cmd cmd = {.op = TEST_DEVICE,
                           .device.flags = mock->has_pasids ? TEST_DEVICE_HAS_PASID : 0};
    struct uapi_hwpt_alloc hwpt = {.size = sizeof(hwpt),
                                   .flags = mock->has_pasids ? UAPI_HWPT_PASID : 0};
    int ret = rig_ioctl(NULL, mock->iommufd, UAPI_IOAS_ALLOC, &ioas);

    if (ret)
        return ret;
    cmd.id = hwpt.pt_id = device->empty_ioas = ioas.out_ioas_id;
    ret = test(mock, &cmd);
    if (ret)
        return ret;
    device->stdev = cmd.device.stdev;
    device->id = hwpt.dev_id = cmd.device.device;
    ret = rig_ioctl(NULL, mock->iommufd, UAPI_HWPT_ALLOC, &hwpt);
    if (ret)
        return ret;
    device->empty_hwpt = hwpt.out_hwpt_id;
    return replace(mock, device, device->empty_hwpt);
}

static int vfio_bind(struct mock *mock, struct mock_device *device, struct uapi_vfio_bind *cmd)
{
    int ret;

    if (device->bound)
        return -EINVAL;
    ret = make_device(mock, device);
    if (ret) {
        unbind(mock, device);
        return ret;
    }
    device->bound = true;
    cmd->out_devid = device->id;
    return 0;
}

static unsigned int find_pasid(const struct mock_device *device, uint32_t pasid)
{
    unsigned int i = 0;

    while (i < device->pasid_count && device->pasids[i] != pasid)
        i++;
    return i;
}

static int vfio_attach(struct mock *mock, struct mock_device *device,
                       const struct uapi_vfio_attach *attach)
{
    struct test_cmd cmd = {
        .op = TEST_PASID_ATTACH,
        .id = device->stdev,
        .pasid = {.pasid = attach->pasid, .pt = attach->pt_id},
    };
    int ret;

    if (!(attach->flags & UAPI_VFIO_PASID))
        return replace(mock, device, attach->pt_id);
    if (find_pasid(device, attach->pasid) < device->pasid_count) {
        cmd.op = TEST_PASID_REPLACE;
        return test(mock, &cmd);
    }
    if (device->pasid_count == MOCK_PASIDS)
        return -ENOSPC;
    ret = test(mock, &cmd);
    if (!ret)
        device->pasids[device->pasid_count++] = attach->pasid;
    return ret;
}

static int vfio_detach(struct mock *mock, struct mock_device *device,
                       const struct uapi_vfio_detach *detach)
{
    struct test_cmd cmd = {
        .op = TEST_PASID_DETACH, .id = device->stdev, .pasid.pasid = detach->pasid};
    unsigned int at;
    int ret;

    if (!(detach->flags & UAPI_VFIO_PASID))
        return replace(mock, device, device->empty_hwpt);
    at = find_pasid(device, detach->pasid);
    if (at == device->pasid_count)
        return 0;
    ret = test(mock, &cmd);
    if (!ret)
        device->pasids[at] = device->pasids[--device->pasid_count];
    return ret;
}

/* ---- The table of system calls */

static int mock_sys_open(void *opaque, const char *path, int flags)
{
    struct mock *mock = opaque;
    unsigned int n;

    if (sscanf(path, "/dev/vfio/devices/vfio%u", &n) == 1 && n < MOCK_DEVICES) {
        if (mock->devices[n].descriptor)
            return -EBUSY;
        mock->devices[n].descriptor = eventfd(0, EFD_CLOEXEC);
        return mock->devices[n].descriptor;
    }
    if (!strcmp(path, "/dev/iommu"))
        return fcntl(mock->iommufd, F_DUPFD_CLOEXEC, 3);
    return host_sys_real.open(NULL, path, flags);
}

static void mock_sys_close(void *opaque, int descriptor)
{
    struct mock_device *device = device_of(opaque, descriptor);

    if (device) {
        unbind(opaque, device);
        device->descriptor = 0;
    }
    close(descriptor);
}

static int mock_sys_ioctl(void *opaque, int descriptor, unsigned long request, void *argument)
{
    struct mock_device *device = device_of(opaque, descriptor);
    struct mock *mock = opaque;
    int ret;

    if (device && request == UAPI_VFIO_BIND_IOMMUFD)
        return vfio_bind(mock, device, argument);
    if (device && request == UAPI_VFIO_ATTACH)
        return vfio_attach(mock, device, argument);
    if (device && request == UAPI_VFIO_DETACH)
        return vfio_detach(mock, device, argument);
    ret = rig_ioctl(NULL, descriptor, request, argument);
    mock->map_files += request == UAPI_IOAS_MAP_FILE && !ret;
    return ret;
}

/* Calls that cannot succeed: what is not there is refused in another way. */
static void look_around(struct mock *mock)
{
    struct test_cmd check = {.op = TEST_PASID_CHECK};
    struct uapi_ioas_map_file map = {.size = 0};

    mock->has_pasids = test(mock, &check) != -EOPNOTSUPP;
    mock->has_files = rig_ioctl(NULL, mock->iommufd, UAPI_IOAS_MAP_FILE, &map) != -ENOTTY;
}

bool mock_open(struct mock *mock)
{
    struct test_cmd cmd = {.op = 0};

    *mock = (struct mock){.sys = host_sys_real};
    mock->sys.opaque = mock;
    mock->sys.open = mock_sys_open;
    mock->sys.close = mock_sys_close;
    mock->sys.ioctl = mock_sys_ioctl;
    mock->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    if (mock->iommufd < 0 || test(mock, &cmd) == -ENOTTY)
        return false;
    look_around(mock);
    return true;
}

void mock_close(struct mock *mock)
{
    if (mock->iommufd >= 0)
        close(mock->iommufd);
}

/* ---- What the mock's side shows */

int mock_check_map(struct mock *mock, uint32_t hwpt, uint64_t iova, const void *memory,
                   uint64_t length)
{
    struct test_cmd cmd = {
        .op = TEST_CHECK_MAP,
        .id = hwpt,
        .map = {.iova = iova, .length = length, .address = (uintptr_t)memory},
    };

    return test(mock, &cmd);
}

int mock_check_iotlb(struct mock *mock, uint32_t hwpt, uint32_t index, uint32_t value)
{
    struct test_cmd cmd = {
        .op = TEST_CHECK_IOTLB, .id = hwpt, .iotlb = {.index = index, .value = value}};

    return test(mock, &cmd);
}

int mock_check_pasid(struct mock *mock, uint32_t device, uint32_t pasid, uint32_t hwpt)
{
    struct test_cmd cmd = {.op = TEST_PASID_CHECK, .pasid = {.pasid = pasid, .pt = hwpt}};

    for (int i = 0; i < MOCK_DEVICES; i++) {
        if (mock->devices[i].bound && mock->devices[i].id == device)
            cmd.id = mock->devices[i].stdev;
    }
    return test(mock, &cmd);
}

/* The mock's own pages are of 2 KiB: the first half of each of ours is written. */
int mock_dirty(struct mock *mock, uint32_t hwpt, uint64_t iova, uint64_t length, uint64_t bitmap)
{
    uint64_t halves[2] = {0};
    struct test_cmd cmd = {
        .op = TEST_DIRTY,
        .id = hwpt,
        .dirty = {.iova = iova, .length = length, .page_size = 2048, .bitmap = (uintptr_t)halves},
    };

    for (unsigned int i = 0; i < 64; i++)
        halves[i / 32] |= (bitmap >> i & 1) << (i % 32 * 2);
    return test(mock, &cmd);
}

int mock_page_request(struct mock *mock, uint32_t device, uint32_t pasid, uint32_t group,
                      uint64_t address)
{
    struct test_cmd cmd = {
        .op = TEST_PAGE_REQUEST,
        .page_request = {.device = device,
                         .pasid = pasid,
                         .group = group,
                         .access = UAPI_FAULT_READ,
                         .address = address},
    };

    return test(mock, &cmd);
}

int mock_reserve(struct mock *mock, uint32_t ioas, uint64_t start, uint64_t length)
{
    struct test_cmd cmd = {
        .op = TEST_ADD_RESERVED, .id = ioas, .reserve = {.start = start, .length = length}};

    return test(mock, &cmd);
}

uint32_t mock_next_id(struct mock *mock)
{
    struct uapi_ioas_alloc ioas = {.size = sizeof(ioas)};

    if (quietly(mock, UAPI_IOAS_ALLOC, &ioas))
        return 0;
    destroy(mock, ioas.out_ioas_id);
    return ioas.out_ioas_id;
}
