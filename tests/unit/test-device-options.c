/* SPDX-License-Identifier: MIT */
/* What --device refuses: one sentence that names the way out, and nothing left behind. */
#include "device.h"
#include "hosts.h"
#include "machine.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOT 1u

static void test_refused_options(void **state)
{
    static const struct {
        const char *option, *part;
    } rows[] = {
        {"virtio-blk", "path=FILE"},
        {"virtio-blk,path=", "path=FILE"},
        {"virtio-blk,path=/nonexistent/disk", "/nonexistent/disk"},
        {"virtio-blk,path=/tmp", "directory"},
        {"virtio-blk,path=/tmp,readonly=on", "directory"},
        {"virtio-blk,path=/dev/null", "regular"},
        {"virtio-blk,path=x,readonly=maybe", "on nor off"},
        {"virtio-blk,path=x,num-queues=9", "between 1 and 8"},
        {"virtio-blk,path=x,num-queues=", "between 1 and 8"},
        {"virtio-blk,path=x,serial=123456789012345678901", "20"},
        {"virtio-blk,path=x,colour=red", "path, readonly, serial, num-queues, iommu"},
        {"edu,assign=vfio", "assign=soft"},
        {"edu,assign=soft", "--host soft"},
        {"edu,dma-mask=28", "dma-mask"},
        {"edu,color=red", "assign, dma-mask, segment, iommu, rmrr, pasid, ats, pri"},
        {"edu,pri=on", "needs ats=on"},
        {"edu,pasid=20", "on nor off"},
        {"edu,ats=on", "IOMMU"},
    };
    struct machine *machine = machine_create(NULL, NULL);
    struct viommu_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        error.message[0] = 0;
        assert_true(vmm_device_create(&machine->vm, rows[i].option, &error) < 0);
        if (!strstr(error.message, rows[i].part))
            fail_msg("%s: '%s' does not say '%s'", rows[i].option, error.message, rows[i].part);
        assert_int_equal(machine_config_read(machine, SLOT, 0, 4), UINT32_MAX);
    }
    machine_destroy(machine);
}

/* A disk that ends within a sector, and one that is empty. */
static void test_odd_disk(void **state)
{
    struct machine *machine = machine_create(NULL, NULL);
    char path[] = "/tmp/test-device-options-XXXXXX";
    struct viommu_error error;
    char option[128];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    snprintf(option, sizeof(option), "virtio-blk,path=%s", path);
    for (off_t size = 0; size <= 513; size += 513) {
        assert_int_equal(ftruncate(fd, size), 0);
        assert_int_equal(vmm_device_create(&machine->vm, option, &error), -EINVAL);
        assert_non_null(strstr(error.message, "multiple of 512"));
    }
    close(fd);
    unlink(path);
    machine_destroy(machine);
}

static void test_host_without_vfio(void **state)
{
    struct machine *machine = machine_create(NULL, "soft");
    struct viommu_error error;

    (void)state;
    assert_int_equal(vmm_host_group_descriptor(&machine->vm, 7, &error), -EINVAL);
    assert_string_equal(error.message, "--host soft has no IOMMU groups");
    assert_int_equal(vmm_host_device_descriptor(&machine->vm, 1, &error), -EINVAL);
    assert_non_null(strstr(error.message, "use --host iommufd"));
    machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_options),
        cmocka_unit_test(test_odd_disk),
        cmocka_unit_test(test_host_without_vfio),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
