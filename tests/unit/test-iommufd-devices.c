/* SPDX-License-Identifier: MIT */
/* Devices of the iommufd backend: how they are named, and why they are refused. */
#include "iommufd-rig.h"

/* Refused with this, and nothing is left open or bound. */
static void refused(struct iommufd_rig *rig, const char *name, int expected, const char *words)
{
    struct fake_census before = fake_census(&rig->kernel);
    uint32_t id;

    rig->error.message[0] = '\0';
    assert_int_equal(viommu_host_bind(rig->host, name, &id, &rig->error), expected);
    assert_says(rig, words);
    assert_census(&rig->kernel, &before);
}

static void test_names(void **state)
{
    static const char *const good[] = {"0000:01:00.0", "01:00.0", "1:0.0",
                                       "/dev/vfio/devices/vfio0"};
    static const char *const bad[] = {"eth0",          "0000:01:00",   "01:00.8", "01:20.0",
                                      "0000:01:00.0x", "0000:100:0.0", "..",      "01:00.0/.."};
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(viommu_host_bind(rig.host, good[i], &rig.device, &rig.error), 0);
        assert_true(rig.kernel.devices[0].bound);
        assert_true(viommu_iommufd_device_descriptor(rig.host, rig.device, &rig.error) >=
                    FAKE_FIRST);
        viommu_host_unbind(rig.host, rig.device);
        assert_false(rig.kernel.devices[0].bound);
        assert_int_equal(viommu_iommufd_device_descriptor(rig.host, rig.device, &rig.error),
                         -ENOENT);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        refused(&rig, bad[i], -EINVAL, "give the PCI address (0000:01:00.0)");
    refused(&rig, "0000:05:00.0", -ENODEV, "has no PCI device 0000:05:00.0");
    refused(&rig, "/dev/vfio/devices/vfio9", -ENOENT, "CONFIG_VFIO_DEVICE_CDEV");
    refused(&rig, "/dev/null", -EINVAL, "no VFIO character device");
    rig_end(&rig);
}

static void test_twice(void **state)
{
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    refused(&rig, "0000:01:00.0", -EBUSY, "bound already, as device");
    refused(&rig, "/dev/vfio/devices/vfio0", -EBUSY, "is in use");
    rig_end(&rig);
}

static void test_sysfs(void **state)
{
    static const char *const device = "bus/pci/devices/0000:01:00.0";
    struct iommufd_rig rig;
    char path[128];

    (void)state;
    rig_host(&rig, LINUX_7_3);
    snprintf(path, sizeof(path), "%s/driver", device);
    fake_link(&rig.kernel, path, "../../../../bus/pci/drivers/nvme");
    snprintf(path, sizeof(path), "%s/%s/vfio-dev", rig.kernel.root, device);
    assert_int_equal(rename(path, "/tmp/fake-sysfs.moved"), 0);
    refused(&rig, "01:00.0", -EBUSY, "bound to driver nvme");
    snprintf(path, sizeof(path), "%s/driver", device);
    fake_link(&rig.kernel, path, NULL);
    refused(&rig, "01:00.0", -EBUSY, "bound to no driver");
    fake_link(&rig.kernel, path, "../../../../bus/pci/drivers/vfio-pci");
    refused(&rig, "01:00.0", -ENODEV, "Linux 6.6");
    snprintf(path, sizeof(path), "%s/%s/vfio-dev", rig.kernel.root, device);
    assert_int_equal(rename("/tmp/fake-sysfs.moved", path), 0);
    snprintf(path, sizeof(path), "%s/iommu_group", device);
    fake_link(&rig.kernel, path, NULL);
    refused(&rig, "01:00.0", -ENODEV, "intel_iommu=on");
    rig_end(&rig);
}

static void test_kernel_refuses(void **state)
{
    static const struct {
        int kernel;
        int expected;
        const char *words;
    } rows[] = {
        {EPERM, -EPERM, "interrupt remapping"}, {EINVAL, -EBUSY, "another program"},
        {EACCES, -EACCES, "VF token"},          {EBUSY, -EBUSY, "is in use"},
        {ENOMEM, -ENOMEM, "cannot be bound"},
    };
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    for (size_t i = 0; i < COUNT(rows); i++) {
        rig.kernel.devices[0].bind_errno = rows[i].kernel;
        refused(&rig, "0000:01:00.0", rows[i].expected, rows[i].words);
    }
    rig.kernel.open_errno = EACCES;
    refused(&rig, "0000:01:00.0", -EACCES, "You may not open /dev/vfio/devices/vfio0");
    rig.kernel.open_errno = EMFILE;
    refused(&rig, "0000:01:00.0", -EMFILE, "cannot be opened");
    rig_end(&rig);
}

static void test_group_not_viable(void **state)
{
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig.kernel.devices[0].bind_errno = EBUSY;
    fake_link(&rig.kernel, "kernel/iommu_groups/7/devices/0000:01:00.1",
              "../../../../bus/pci/devices/0000:01:00.1");
    fake_link(&rig.kernel, "bus/pci/devices/0000:01:00.1/driver", "../../drivers/pcieport");
    refused(&rig, "0000:01:00.0", -EBUSY, "is in use");
    fake_link(&rig.kernel, "bus/pci/devices/0000:01:00.1/driver", "../../drivers/snd_hda_intel");
    refused(&rig, "0000:01:00.0", -EBUSY, "0000:01:00.1 of it is bound to driver snd_hda_intel");
    rig_end(&rig);
}

static void test_attach_refused(void **state)
{
    static const struct {
        int kernel;
        const char *words;
    } rows[] = {
        {EINVAL, "allocate one for this device"},
        {ENODEV, "makes no page requests"},
        {EBUSY, "being reset"},
        {EADDRINUSE, "0x7b000000-0x7f7fffff (direct)"},
        {EIO, "cannot be attached to HWPT"},
    };
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    rig_parent(&rig);
    for (size_t i = 0; i < COUNT(rows); i++) {
        rig.kernel.devices[0].attach_errno = rows[i].kernel;
        assert_int_equal(viommu_host_attach(rig.host, rig.device, 5, rig.parent, &rig.error),
                         -rows[i].kernel);
        assert_says(&rig, rows[i].words);
        assert_int_equal(fake_census(&rig.kernel).attachments, 1);
    }
    rig.kernel.devices[0].attach_errno = 0;
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 5, 60, &rig.error), -ENOENT);
    assert_int_equal(viommu_host_attach(rig.host, 99, 5, rig.parent, &rig.error), -ENOENT);
    rig_end(&rig);
}

/* Somebody may have the device's memory mapped, so closing it does not end its DMA. */
static void test_unbind_that_cannot_detach(void **state)
{
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    rig_parent(&rig);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, VIOMMU_PASID_NONE, rig.parent, NULL),
                     0);
    rig.kernel.fail_request = UAPI_VFIO_DETACH;
    rig.kernel.fail_errno = EIO;
    viommu_host_unbind(rig.host, rig.device);
    assert_int_equal(rig.kernel.devices[0].resets, 1);
    rig.kernel.fail_request = 0;
    rig_bind(&rig);
    viommu_host_unbind(rig.host, rig.device);
    assert_int_equal(rig.kernel.devices[0].resets, 1); /* and else it is not */
    rig_end(&rig);
}

/* A descriptor that was passed in, which its owner may have duplicated. */
static void test_passed_in(void **state)
{
    struct iommufd_rig rig;
    int descriptor;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    descriptor = fake_open_vfio(&rig.kernel, 1);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "nic", descriptor, &rig.error), 0);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "nic", 5, &rig.error), -EEXIST);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "", 5, &rig.error), -EINVAL);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "x", -1, &rig.error), -EINVAL);
    assert_int_equal(viommu_host_bind(rig.host, "nic", &rig.device, &rig.error), 0);
    assert_int_equal(viommu_iommufd_device_descriptor(rig.host, rig.device, &rig.error),
                     descriptor);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "nic", 5, &rig.error), -EEXIST);
    viommu_host_unbind(rig.host, rig.device);
    assert_int_equal(fake_census(&rig.kernel).files, 1);
    refused(&rig, "nic", -EINVAL, "no host device");

    /* Refused, it can be tried again; never bound, it ends with the host. */
    descriptor = fake_open_vfio(&rig.kernel, 1);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "nic", descriptor, &rig.error), 0);
    rig.kernel.devices[1].bind_errno = EBUSY;
    refused(&rig, "nic", -EBUSY, "is in use");
    rig.kernel.devices[1].bind_errno = 0;
    assert_int_equal(viommu_host_bind(rig.host, "nic", &rig.device, &rig.error), 0);
    descriptor = fake_open_vfio(&rig.kernel, 2);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "other", descriptor, &rig.error), 0);
    rig_end(&rig);
}

/* Where sysfs tells nothing of a descriptor, it is bound all the same; it claims no page requests.
 */
static void test_unknown_address(void **state)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    fake_link(&rig.kernel, "dev/char/511:0/device", NULL);
    assert_int_equal(viommu_host_bind(rig.host, "/dev/vfio/devices/vfio0", &rig.device, &rig.error),
                     0);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device, &info, &rig.error), 0);
    assert_false(info.page_requests);
    assert_false(info.ats);
    assert_string_equal(info.name, "VT-d");
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
    assert_false(listener->kernel->devices[0].bound);
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
    struct viommu_iommufd_options options = VIOMMU_IOMMUFD_OPTIONS_INIT;
    struct iommufd_rig rig;
    struct listener listener = {.kernel = &rig.kernel, .descriptor = -1};
    int descriptor;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    viommu_host_destroy(rig.host);
    options.files = (struct viommu_vfio_files){&listener, hear_opened, hear_closing};
    assert_int_equal(
        iommufd_create(&rig.host, &rig.kernel.sys, rig.kernel.root, &options, &rig.error), 0);
    rig_bind(&rig);
    assert_int_equal(listener.descriptor,
                     viommu_iommufd_device_descriptor(rig.host, rig.device, &rig.error));
    viommu_host_unbind(rig.host, rig.device);
    assert_int_equal(listener.descriptor, -1);
    rig.kernel.devices[0].bind_errno = EBUSY;
    assert_true(viommu_host_bind(rig.host, "01:00.0", &rig.device, &rig.error) < 0);
    assert_int_equal(listener.opened, 2);
    assert_int_equal(listener.descriptor, -1);
    descriptor = fake_open_vfio(&rig.kernel, 0);
    assert_int_equal(viommu_iommufd_add_device(rig.host, "mine", descriptor, &rig.error), 0);
    assert_int_equal(listener.opened, 2);
    assert_true(viommu_host_bind(rig.host, "mine", &rig.device, &rig.error) < 0);
    rig.kernel.devices[0].bind_errno = 0;
    assert_int_equal(viommu_host_bind(rig.host, "mine", &rig.device, &rig.error), 0);
    assert_int_equal(listener.opened, 3);
    assert_int_equal(listener.descriptor, descriptor);
    rig_end(&rig);
    assert_int_equal(listener.descriptor, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_sysfs),
        cmocka_unit_test(test_kernel_refuses),
        cmocka_unit_test(test_group_not_viable),
        cmocka_unit_test(test_attach_refused),
        cmocka_unit_test(test_unbind_that_cannot_detach),
        cmocka_unit_test(test_passed_in),
        cmocka_unit_test(test_unknown_address),
        cmocka_unit_test(test_files_are_told_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
