/* SPDX-License-Identifier: MIT */
/* The type1 backend on a fake kernel: what it does, why it refuses, and each system call failing.
 */
#include "host/type1/type1.h"

#include "fake-kernel.h"
#include "host/host.h"
#include "host/type1/uapi.h"
#include "no-memory.h"

#define PAGE  UINT64_C(4096)
#define NONE  VIOMMU_PASID_NONE
#define RWMAP (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)

struct rig {
    struct fake_kernel kernel;
    struct viommu_host *host;
    struct viommu_error error;
    char *memory;
    uint32_t device;
    uint32_t ioas[2];
    uint32_t hwpt[2];
    uint32_t made;
};

#define assert_says(rig, words) assert_non_null(strstr((rig)->error.message, words))

static void rig_host(struct rig *rig)
{
    *rig = (struct rig){.device = 0};
    fake_boot(&rig->kernel, LINUX_7_3);
    rig->kernel.has_iommu = false;
    rig->memory = unit_pages(8);
    assert_int_equal(
        type1_create(&rig->host, &rig->kernel.sys, rig->kernel.root, NULL, &rig->error), 0);
    assert_int_equal(fake_census(&rig->kernel).files, 0);
}

static int hwpt_alloc(struct rig *rig, uint32_t ioas, uint32_t flags, uint32_t *id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options), .device_id = rig->device, .parent_id = ioas, .flags = flags};

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

static int map(struct rig *rig, int n, uint64_t iova, uint64_t pages, uint32_t flags)
{
    return viommu_host_ioas_map(rig->host, rig->ioas[n], iova, rig->memory, pages * PAGE, flags,
                                &rig->error);
}

static int unmap(struct rig *rig, int n, uint64_t iova, uint64_t pages)
{
    return viommu_host_ioas_unmap(rig->host, rig->ioas[n], iova, pages * PAGE, NULL, &rig->error);
}

/* Guest memory of three areas in the first IOAS, one of them and two others in the second. */
static void rig_begin(struct rig *rig)
{
    rig_host(rig);
    assert_int_equal(viommu_host_bind(rig->host, "01:00.0", &rig->device, &rig->error), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(viommu_host_ioas_alloc(rig->host, &rig->ioas[i], &rig->error), 0);
        assert_int_equal(hwpt_alloc(rig, rig->ioas[i], 0, &rig->hwpt[i]), 0);
    }
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(map(rig, 0, i * 0x10000, 2, RWMAP), 0);
    assert_int_equal(map(rig, 1, 0x10000, 1, VIOMMU_HOST_MAP_READ), 0);
    assert_int_equal(map(rig, 1, 0x20000, 2, RWMAP), 0);
    assert_int_equal(map(rig, 1, 0x80000, 1, RWMAP), 0);
}

static void rig_end(struct rig *rig)
{
    static const struct fake_census nothing;

    viommu_host_destroy(rig->host);
    assert_census(&rig->kernel, &nothing);
    fake_shutdown(&rig->kernel);
    free(rig->memory);
}

static int attach(struct rig *rig, int n)
{
    return viommu_host_attach(rig->host, rig->device, NONE, rig->hwpt[n], &rig->error);
}

/* How many areas the containers map. */
static size_t areas(const struct rig *rig)
{
    size_t count = 0;

    for (int i = 0; i < FAKE_OBJECTS; i++)
        count += rig->kernel.containers[i].area_count;
    return count;
}

/* Whether some container maps an IOVA, and how. */
static uint32_t mapped(const struct rig *rig, uint64_t iova)
{
    for (int i = 0; i < FAKE_OBJECTS; i++) {
        const struct fake_container *container = &rig->kernel.containers[i];

        for (size_t j = 0; j < container->area_count; j++) {
            if (iova >= container->areas[j].start &&
                iova - container->areas[j].start < container->areas[j].length)
                return container->areas[j].flags;
        }
    }
    return 0;
}

static void test_create(void **state)
{
    struct viommu_type1_options options = {.size = 1};
    struct rig rig = {.host = NULL};
    struct fake_kernel *kernel = &rig.kernel;

    (void)state;
    fake_boot(kernel, LINUX_7_3);
    kernel->no_type1 = true;
    assert_int_equal(type1_create(&rig.host, &kernel->sys, kernel->root, NULL, &rig.error),
                     -EOPNOTSUPP);
    assert_says(&rig, "vfio_iommu_type1");
    kernel->open_errno = ENOENT;
    assert_int_equal(type1_create(&rig.host, &kernel->sys, kernel->root, NULL, &rig.error),
                     -ENOENT);
    assert_says(&rig, "load the module vfio");
    kernel->open_errno = EACCES;
    assert_int_equal(type1_create(&rig.host, &kernel->sys, kernel->root, NULL, &rig.error),
                     -EACCES);
    assert_says(&rig, "You may not open /dev/vfio/vfio");
    assert_int_equal(type1_create(&rig.host, &kernel->sys, kernel->root, &options, &rig.error),
                     -EINVAL);
    assert_int_equal(fake_census(kernel).files, 0);
    fake_shutdown(kernel);
    /* The real machine: one way or the other, with a sentence. */
    if (viommu_type1_create(&rig.host, NULL, &rig.error))
        assert_true(rig.error.message[0]);
    else
        viommu_host_destroy(rig.host);
}

/* Refused with this, and nothing is left open. */
static void refused(struct rig *rig, const char *name, int expected, const char *words)
{
    struct fake_census before = fake_census(&rig->kernel);
    uint32_t id;

    assert_int_equal(viommu_host_bind(rig->host, name, &id, &rig->error), expected);
    assert_says(rig, words);
    assert_census(&rig->kernel, &before);
}

static void test_bind_refused(void **state)
{
    struct rig rig;

    (void)state;
    rig_host(&rig);
    refused(&rig, "eth0", -EINVAL, "give the PCI address");
    refused(&rig, "0000:05:00.0", -ENODEV, "has no PCI device");
    rig.kernel.not_viable = true;
    refused(&rig, "01:00.0", -EBUSY, "group 7 of device 0000:01:00.0 is not viable");
    fake_link(&rig.kernel, "kernel/iommu_groups/7/devices/0000:01:00.1",
              "../../../../bus/pci/devices/0000:01:00.1");
    fake_link(&rig.kernel, "bus/pci/devices/0000:01:00.1/driver", "../../drivers/snd_hda_intel");
    refused(&rig, "01:00.0", -EBUSY, "0000:01:00.1 of it is bound to driver snd_hda_intel");
    rig.kernel.not_viable = false;
    rig.kernel.no_intremap = true;
    refused(&rig, "01:00.0", -EPERM, "allow_unsafe_interrupts=1");
    rig.kernel.no_intremap = false;
    rig.kernel.devices[0].bind_errno = EBUSY;
    refused(&rig, "01:00.0", -EBUSY, "used by nobody else?");
    rig.kernel.open_errno = EBUSY;
    refused(&rig, "01:00.0", -EBUSY, "/dev/vfio/7 is in use by another program");
    rig.kernel.open_errno = ENOENT;
    refused(&rig, "01:00.0", -ENOENT, "bind the device to vfio-pci");
    rig.kernel.open_errno = 0;
    rig.kernel.devices[0].bind_errno = 0;
    assert_int_equal(viommu_host_bind(rig.host, "01:00.0", &rig.device, &rig.error), 0);
    refused(&rig, "0000:01:00.0", -EBUSY, "bound already, as device");
    assert_true(viommu_type1_device_descriptor(rig.host, rig.device, &rig.error) >= FAKE_FIRST);
    viommu_host_unbind(rig.host, rig.device);
    viommu_host_unbind(rig.host, rig.device);
    assert_int_equal(viommu_type1_device_descriptor(rig.host, rig.device, &rig.error), -ENOENT);
    rig_end(&rig);
}

static void test_hw_info(void **state)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct rig rig;

    (void)state;
    rig_host(&rig);
    fake_write_file(&rig.kernel, "devices/virtual/iommu/dmar0/intel-iommu/cap", "d2008c40660462\n",
                    15);
    fake_write_file(&rig.kernel, "devices/virtual/iommu/dmar0/intel-iommu/ecap", "f050da\n", 7);
    fake_write_file(&rig.kernel, "devices/virtual/iommu/dmar1/amd-iommu/features", "58f77ef\n", 8);
    fake_write_file(&rig.kernel, "devices/virtual/iommu/dmar2/intel-iommu/cap", "nonsense\n", 9);
    assert_int_equal(viommu_host_bind(rig.host, "01:00.0", &rig.device, &rig.error), 0);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device, &info, &rig.error), 0);
    assert_int_equal(info.type, VIOMMU_HOST_IOMMU_VTD);
    assert_int_equal(info.registers[0], 0xd2008c40660462);
    assert_int_equal(info.registers[1], 0xf050da);
    assert_string_equal(info.name, "dmar0");
    assert_int_equal(info.max_pasid_log2, 0);
    assert_false(info.page_requests || info.dirty_tracking);
    assert_int_equal(viommu_host_bind(rig.host, "02:00.0", &rig.device, &rig.error), 0);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device, &info, &rig.error), 0);
    assert_int_equal(info.type, VIOMMU_HOST_IOMMU_AMD);
    assert_int_equal(info.registers[0], 0x58f77ef);
    assert_int_equal(viommu_host_bind(rig.host, "03:00.0", &rig.device, &rig.error), 0);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device, &info, &rig.error), 0);
    assert_int_equal(info.type, VIOMMU_HOST_IOMMU_NONE);
    assert_int_equal(info.registers[0], 0);
    assert_int_equal(viommu_host_hw_info(rig.host, 99, &info, &rig.error), -ENOENT);
    rig_end(&rig);
}

static void test_attach(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig);
    assert_int_equal(areas(&rig), 0); /* blocked */
    assert_int_equal(attach(&rig, 0), 0);
    assert_int_equal(areas(&rig), 3);
    assert_int_equal(mapped(&rig, 0x10000), UAPI_DMA_READ | UAPI_DMA_WRITE);
    /* While it is attached its container follows. */
    assert_int_equal(map(&rig, 0, 0x40000, 1, RWMAP), 0);
    assert_int_equal(unmap(&rig, 0, 0x20000, 2), 0);
    assert_true(mapped(&rig, 0x40000));
    assert_false(mapped(&rig, 0x20000));
    assert_int_equal(map(&rig, 0, 0x41000 - PAGE, 1, RWMAP), -EEXIST);
    assert_int_equal(unmap(&rig, 0, 0x10000, 1), -ENOENT);
    assert_says(&rig, "would cut");
    /* Another table; then none. */
    assert_int_equal(attach(&rig, 1), 0);
    assert_int_equal(areas(&rig), 3);
    assert_int_equal(mapped(&rig, 0x10000), UAPI_DMA_READ);
    assert_int_equal(map(&rig, 0, 0x60000, 1, RWMAP), 0); /* nobody is attached to it */
    assert_false(mapped(&rig, 0x60000));
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.hwpt[1], &rig.error), -EBUSY);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.ioas[1], &rig.error), -EBUSY);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.device, &rig.error), -EBUSY);
    assert_int_equal(viommu_host_detach(rig.host, rig.device, NONE, &rig.error), 0);
    assert_int_equal(viommu_host_detach(rig.host, rig.device, NONE, &rig.error), 0);
    assert_int_equal(areas(&rig), 0);
    assert_int_equal(rig.kernel.pinned, 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.hwpt[1], &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.ioas[1], &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.ioas[1], &rig.error), -ENOENT);
    assert_int_equal(attach(&rig, 1), -ENOENT);
    assert_int_equal(viommu_host_attach(rig.host, 99, NONE, rig.hwpt[0], &rig.error), -ENOENT);
    assert_int_equal(viommu_host_detach(rig.host, 99, NONE, &rig.error), -ENOENT);
    rig_end(&rig);
}

/* What both tables map stays as it is: the kernel is not called for it. */
static void test_attach_keeps(void **state)
{
    unsigned long calls;
    struct rig rig;

    (void)state;
    rig_begin(&rig);
    assert_int_equal(attach(&rig, 0), 0);
    for (int i = 1; i >= 0; i--) {
        calls = rig.kernel.calls;
        assert_int_equal(attach(&rig, i), 0);
        assert_int_equal(rig.kernel.calls - calls, 2 + 2);
        assert_int_equal(areas(&rig), 3);
        assert_int_equal(mapped(&rig, 0x20000), UAPI_DMA_READ | UAPI_DMA_WRITE);
        assert_int_equal(!mapped(&rig, 0x80000), !i);
    }
    /* other memory, and a longer area, are not the same */
    assert_int_equal(unmap(&rig, 1, 0x20000, 2), 0);
    assert_int_equal(map(&rig, 1, 0x20000, 3, RWMAP), 0);
    calls = rig.kernel.calls;
    assert_int_equal(attach(&rig, 1), 0);
    assert_int_equal(rig.kernel.calls - calls, 3 + 3);
    assert_true(mapped(&rig, 0x22000));
    rig_end(&rig);
}

/* What containers cannot do. */
static void test_unsupported(void **state)
{
    struct viommu_host_vtd_s1_invalidate entry = {.npages = 1};
    uint32_t id, count = 1;
    struct rig rig;
    int descriptor;

    (void)state;
    rig_begin(&rig);
    for (uint32_t flag = 1; flag < 16; flag <<= 1)
        assert_int_equal(hwpt_alloc(&rig, rig.ioas[0], flag, &id), -EOPNOTSUPP);
    assert_says(&rig, "use hw-nested=off");
    assert_int_equal(hwpt_alloc(&rig, rig.hwpt[0], 0, &id), -EINVAL);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 1, rig.hwpt[0], &rig.error), -EINVAL);
    assert_int_equal(viommu_host_detach(rig.host, rig.device, 1, &rig.error), 0);
    assert_int_equal(viommu_host_invalidate(rig.host, rig.hwpt[0], VIOMMU_HOST_DATA_VTD_S1, &entry,
                                            sizeof(entry), &count, &rig.error),
                     -EINVAL);
    assert_int_equal(count, 0);
    assert_int_equal(viommu_host_fault_queue_alloc(rig.host, &id, &descriptor, &rig.error),
                     -EOPNOTSUPP);
    rig.device = 99;
    assert_int_equal(hwpt_alloc(&rig, rig.ioas[0], 0, &id), -ENOENT);
    rig_end(&rig);
}

static void test_limits(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig);
    assert_int_equal(attach(&rig, 0), 0);
    assert_int_equal(map(&rig, 0, 0xfedff000, 2, RWMAP), -EINVAL);
    assert_says(&rig, "into 0x0-0xfedfffff, 0xfef00000-0x7fffffffff");
    rig.kernel.entry_limit = 3;
    assert_int_equal(map(&rig, 0, 0x50000, 1, RWMAP), -ENOSPC);
    assert_says(&rig, "dma_entry_limit");
    rig.kernel.entry_limit = FAKE_AREAS;
    rig.kernel.memlock = rig.kernel.pinned;
    assert_int_equal(map(&rig, 0, 0x50000, 1, RWMAP), -ENOMEM);
    assert_says(&rig, "ulimit -l");
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas[0], 0x50000,
                                          (void *)(uintptr_t)0xba5000, PAGE, RWMAP, &rig.error),
                     -EFAULT);
    assert_int_equal(areas(&rig), 3);
    assert_int_equal(viommu_host_ioas_map(rig.host, 99, 0, rig.memory, PAGE, RWMAP, &rig.error),
                     -ENOENT);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, 99, 0, PAGE, NULL, &rig.error), -ENOENT);
    assert_int_equal(unmap(&rig, 0, 0x70000, 1), -ENOENT);
    rig.kernel.memlock = UINT64_MAX;

    /* An IOAS that does not fit is refused as a whole, and the old one is back. */
    assert_int_equal(map(&rig, 1, 0xfee00000, 1, RWMAP), 0);
    assert_int_equal(attach(&rig, 1), -EINVAL);
    assert_says(&rig, "0xfee00000-0xfee00fff are not all among");
    assert_int_equal(areas(&rig), 3);
    assert_true(mapped(&rig, 0x20000));
    rig_end(&rig);
}

static void test_ranges(void **state)
{
    struct viommu_host_iova_range ranges[4];
    struct rig rig;
    size_t count = 4;

    (void)state;
    rig_begin(&rig);
    assert_int_equal(
        viommu_host_ioas_iova_ranges(rig.host, rig.ioas[0], ranges, &count, &rig.error), 0);
    assert_int_equal(count, 1);
    assert_int_equal(ranges[0].last, UINT64_MAX);
    assert_int_equal(attach(&rig, 0), 0);
    count = 1;
    assert_int_equal(
        viommu_host_ioas_iova_ranges(rig.host, rig.ioas[0], ranges, &count, &rig.error), -EMSGSIZE);
    assert_int_equal(count, 2);
    assert_int_equal(
        viommu_host_ioas_iova_ranges(rig.host, rig.ioas[0], ranges, &count, &rig.error), 0);
    assert_int_equal(ranges[0].last, 0xfedfffff);
    assert_int_equal(ranges[1].last, (UINT64_C(1) << 39) - 1);
    assert_int_equal(viommu_host_ioas_iova_ranges(rig.host, 99, ranges, &count, &rig.error),
                     -ENOENT);
    rig_end(&rig);
}

/* Two devices of one group share its container: they go together, and the last empties it. */
static void test_group_of_two(void **state)
{
    uint32_t second;
    struct rig rig;

    (void)state;
    rig_begin(&rig);
    fake_link(&rig.kernel, "bus/pci/devices/0000:02:00.0/iommu_group",
              "../../../../kernel/iommu_groups/7");
    assert_int_equal(viommu_host_bind(rig.host, "02:00.0", &second, &rig.error), 0);
    assert_int_equal(fake_census(&rig.kernel).files, 4); /* container, group, two devices */
    assert_int_equal(attach(&rig, 0), 0);
    assert_int_equal(viommu_host_attach(rig.host, second, NONE, rig.hwpt[0], &rig.error), 0);
    assert_int_equal(areas(&rig), 3);
    assert_int_equal(attach(&rig, 1), 0);
    assert_int_equal(areas(&rig), 3);
    assert_int_equal(viommu_host_detach(rig.host, second, NONE, &rig.error), 0);
    assert_int_equal(areas(&rig), 3);
    viommu_host_unbind(rig.host, rig.device);
    assert_int_equal(areas(&rig), 0);
    assert_int_equal(fake_census(&rig.kernel).files, 3);
    rig_end(&rig);
}

/* Who is told of VFIO's files: which one is open, and whether that was before its devices were. */
struct listener {
    const struct fake_kernel *kernel;
    int descriptor; /* -1: none */
    unsigned int opened;
};

static void hear_opened(void *opaque, int descriptor)
{
    struct listener *listener = opaque;

    assert_int_equal(listener->descriptor, -1);
    assert_int_equal(fake_census(listener->kernel).files, 2); /* container and group */
    listener->descriptor = descriptor;
    listener->opened++;
}

static void hear_closing(void *opaque, int descriptor)
{
    struct listener *listener = opaque;

    assert_int_equal(listener->descriptor, descriptor);
    assert_int_not_equal(listener->kernel->files[descriptor - FAKE_FIRST].type, FAKE_CLOSED);
    listener->descriptor = -1;
}

static void test_files_are_told_of(void **state)
{
    struct viommu_type1_options options = VIOMMU_TYPE1_OPTIONS_INIT;
    struct rig rig;
    struct listener listener = {.kernel = &rig.kernel, .descriptor = -1};
    uint32_t second;

    (void)state;
    rig_host(&rig);
    viommu_host_destroy(rig.host);
    options.files = (struct viommu_vfio_files){&listener, hear_opened, hear_closing};
    assert_int_equal(
        type1_create(&rig.host, &rig.kernel.sys, rig.kernel.root, &options, &rig.error), 0);
    fake_link(&rig.kernel, "bus/pci/devices/0000:02:00.0/iommu_group",
              "../../../../kernel/iommu_groups/7");
    assert_int_equal(viommu_host_bind(rig.host, "01:00.0", &rig.device, &rig.error), 0);
    assert_int_equal(viommu_host_bind(rig.host, "02:00.0", &second, &rig.error), 0);
    assert_int_equal(listener.opened, 1);
    viommu_host_unbind(rig.host, rig.device);
    assert_true(listener.descriptor >= FAKE_FIRST);
    viommu_host_unbind(rig.host, second);
    assert_int_equal(listener.descriptor, -1);
    rig.kernel.devices[0].bind_errno = EBUSY; /* it is opened, and gives no device */
    assert_int_equal(viommu_host_bind(rig.host, "01:00.0", &rig.device, &rig.error), -EBUSY);
    assert_int_equal(listener.opened, 2);
    assert_int_equal(listener.descriptor, -1);
    rig.kernel.not_viable = true;
    assert_int_equal(viommu_host_bind(rig.host, "01:00.0", &rig.device, &rig.error), -EBUSY);
    assert_int_equal(listener.opened, 2);
    rig_end(&rig);
}

static void test_group_descriptor(void **state)
{
    uint32_t second;
    struct rig rig;
    int descriptor;

    (void)state;
    rig_begin(&rig);
    assert_int_equal(viommu_host_bind(rig.host, "02:00.0", &second, &rig.error), 0);
    descriptor = viommu_type1_group_descriptor(rig.host, 7, &rig.error);
    assert_true(descriptor >= FAKE_FIRST);
    assert_int_equal(rig.kernel.files[descriptor - FAKE_FIRST].type, FAKE_FILE_GROUP);
    assert_int_not_equal(viommu_type1_group_descriptor(rig.host, 8, &rig.error), descriptor);
    viommu_host_unbind(rig.host, rig.device);
    assert_int_equal(viommu_type1_group_descriptor(rig.host, 7, &rig.error), -ENOENT);
    assert_says(&rig, "IOMMU group 7");
    assert_true(viommu_type1_group_descriptor(rig.host, 8, &rig.error) >= FAKE_FIRST);
    rig_end(&rig);
}

/* Two groups on one IOAS: both follow, or neither. */
static void test_two_groups(void **state)
{
    uint32_t second;
    struct rig rig;

    (void)state;
    rig_begin(&rig);
    assert_int_equal(viommu_host_bind(rig.host, "02:00.0", &second, &rig.error), 0);
    assert_int_equal(attach(&rig, 0), 0);
    assert_int_equal(viommu_host_attach(rig.host, second, NONE, rig.hwpt[0], &rig.error), 0);
    assert_int_equal(areas(&rig), 6);
    rig.kernel.memlock = rig.kernel.pinned + PAGE; /* enough for one */
    assert_int_equal(map(&rig, 0, 0x50000, 1, RWMAP), -ENOMEM);
    assert_int_equal(areas(&rig), 6);
    rig.kernel.memlock = UINT64_MAX;
    assert_int_equal(map(&rig, 0, 0x50000, 1, RWMAP), 0);
    assert_int_equal(areas(&rig), 8);
    rig.kernel.fail_call = rig.kernel.calls + 2;
    rig.kernel.fail_errno = EIO;
    assert_int_equal(unmap(&rig, 0, 0x50000, 1), -EIO);
    assert_int_equal(areas(&rig), 8);
    assert_int_equal(unmap(&rig, 0, 0x50000, 1), 0);
    assert_int_equal(areas(&rig), 6);
    rig_end(&rig);
}

/* A container that cannot be emptied lets nobody believe that it was. */
static void test_stuck(void **state)
{
    uint32_t second;
    struct rig rig;

    (void)state;
    rig_begin(&rig);
    assert_int_equal(attach(&rig, 0), 0);
    rig.kernel.fail_request = UAPI_UNMAP_DMA;
    rig.kernel.fail_errno = EIO;
    assert_int_equal(viommu_host_detach(rig.host, rig.device, NONE, &rig.error), -EIO);
    assert_int_equal(attach(&rig, 1), -EIO);
    assert_int_equal(areas(&rig), 3);
    assert_int_equal(viommu_host_bind(rig.host, "02:00.0", &second, &rig.error), 0);
    rig.kernel.fail_request = 0;
    assert_int_equal(viommu_host_attach(rig.host, second, NONE, rig.hwpt[0], &rig.error), 0);
    /* One of two maps, the other does not, and then the first cannot be undone. */
    rig.kernel.memlock = rig.kernel.pinned + PAGE;
    rig.kernel.fail_request = UAPI_UNMAP_DMA;
    assert_int_equal(map(&rig, 0, 0x50000, 1, RWMAP), -ENOMEM);
    rig.kernel.fail_request = 0;
    assert_int_equal(viommu_host_detach(rig.host, rig.device, NONE, &rig.error), -EIO);
    assert_says(&rig, "unbind its devices");
    viommu_host_unbind(rig.host, rig.device);
    viommu_host_unbind(rig.host, second);
    assert_int_equal(areas(&rig), 0);
    rig_end(&rig);
}

/* ---- Each system call fails in turn */

struct step {
    int (*make)(struct rig *rig);
    void (*undo)(struct rig *rig);
};

static int bind_make(struct rig *rig)
{
    return viommu_host_bind(rig->host, "02:00.0", &rig->made, &rig->error);
}

static void bind_undo(struct rig *rig)
{
    viommu_host_unbind(rig->host, rig->made);
}

static int map_make(struct rig *rig)
{
    return map(rig, 0, 0x50000, 1, RWMAP);
}

static void map_undo(struct rig *rig)
{
    assert_int_equal(unmap(rig, 0, 0x50000, 1), 0);
}

static int unmap_make(struct rig *rig)
{
    return unmap(rig, 0, 0x10000, 2);
}

static void unmap_undo(struct rig *rig)
{
    assert_int_equal(map(rig, 0, 0x10000, 2, RWMAP), 0);
}

static int attach_make(struct rig *rig)
{
    return attach(rig, 1);
}

static void attach_undo(struct rig *rig)
{
    assert_int_equal(attach(rig, 0), 0);
}

static int detach_make(struct rig *rig)
{
    return viommu_host_detach(rig->host, rig->device, NONE, &rig->error);
}

static int ranges_make(struct rig *rig)
{
    struct viommu_host_iova_range ranges[4];
    size_t count = 4;

    return viommu_host_ioas_iova_ranges(rig->host, rig->ioas[0], ranges, &count, &rig->error);
}

static int ioas_make(struct rig *rig)
{
    return viommu_host_ioas_alloc(rig->host, &rig->made, &rig->error);
}

static int hwpt_make(struct rig *rig)
{
    return hwpt_alloc(rig, rig->ioas[0], 0, &rig->made);
}

static void object_undo(struct rig *rig)
{
    assert_int_equal(viommu_host_destroy_object(rig->host, rig->made, &rig->error), 0);
}

static const struct step steps[] = {
    {ioas_make, object_undo},   {hwpt_make, object_undo}, {bind_make, bind_undo},
    {map_make, map_undo},       {unmap_make, unmap_undo}, {attach_make, attach_undo},
    {detach_make, attach_undo}, {ranges_make, NULL},
};

static bool fail_nth(struct rig *rig, const struct step *step, unsigned long n)
{
    struct fake_census before = fake_census(&rig->kernel);
    size_t areas_before = areas(rig);

    rig->kernel.failed = false;
    rig->kernel.fail_call = rig->kernel.calls + n;
    if (step->make(rig)) {
        assert_true(rig->kernel.failed);
        assert_true(rig->error.message[0]);
        assert_census(&rig->kernel, &before);
        assert_int_equal(areas(rig), areas_before);
        assert_int_equal(step->make(rig), 0);
    }
    rig->kernel.fail_call = 0;
    if (step->undo)
        step->undo(rig);
    assert_census(&rig->kernel, &before);
    return rig->kernel.failed;
}

static void test_each_call_fails(void **state)
{
    static const int errnos[] = {ENOMEM, EINVAL, EBUSY, EIO, ENODEV};
    unsigned long tried = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(steps); i++) {
        for (size_t j = 0; j < COUNT(errnos); j++) {
            struct rig rig;

            rig_begin(&rig);
            attach_undo(&rig);
            rig.kernel.strict_containers = j % 2; /* as iommufd's are */
            rig.kernel.fail_errno = errnos[j];
            for (unsigned long n = 1; fail_nth(&rig, &steps[i], n); n++)
                tried++;
            rig_end(&rig);
        }
    }
    print_message("%lu failures\n", tried);
    assert_true(tried > 100);
}

/* False: the step makes less than n allocations. */
static bool starve_nth(struct rig *rig, const struct step *step, int n)
{
    struct fake_census before = fake_census(&rig->kernel);
    bool starved;
    int ret;

    no_memory_after(n);
    ret = step->make(rig);
    starved = no_memory_failed();
    if (ret) {
        assert_true(starved);
        assert_int_equal(ret, -ENOMEM);
        assert_non_null(strstr(rig->error.message, "No memory"));
        assert_census(&rig->kernel, &before);
        assert_int_equal(step->make(rig), 0);
    }
    if (step->undo)
        step->undo(rig);
    assert_census(&rig->kernel, &before);
    return starved;
}

static void test_no_memory(void **state)
{
    struct viommu_host *host;
    struct rig rig;
    int tried = 0, ret = -1;

    (void)state;
    rig_begin(&rig);
    attach_undo(&rig);
    for (size_t i = 0; i < COUNT(steps); i++) {
        for (int n = 0; starve_nth(&rig, &steps[i], n); n++)
            tried++;
    }
    assert_true(tried >= 5);
    for (int n = 0; ret; n++) {
        no_memory_after(n);
        ret = type1_create(&host, &rig.kernel.sys, rig.kernel.root, NULL, &rig.error);
        assert_int_equal(ret, no_memory_failed() ? -ENOMEM : 0);
        if (!ret)
            viommu_host_destroy(host);
    }
    rig_end(&rig);
}

static void test_other_host(void **state)
{
    const struct viommu_host_ops none = {.size = sizeof(none)};
    struct viommu_host other = {.ops = &none};
    struct viommu_error error;

    (void)state;
    assert_int_equal(viommu_type1_device_descriptor(&other, 1, &error), -EINVAL);
    assert_int_equal(viommu_type1_device_descriptor(NULL, 1, &error), -EINVAL);
    assert_int_equal(viommu_type1_group_descriptor(&other, 1, &error), -EINVAL);
    assert_int_equal(viommu_type1_group_descriptor(NULL, 1, &error), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_bind_refused),
        cmocka_unit_test(test_hw_info),
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_attach_keeps),
        cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_group_of_two),
        cmocka_unit_test(test_two_groups),
        cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_each_call_fails),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_other_host),
        cmocka_unit_test(test_files_are_told_of),
        cmocka_unit_test(test_group_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
