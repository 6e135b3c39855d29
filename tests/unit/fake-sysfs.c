/* SPDX-License-Identifier: MIT */
/* sysfs of the fake kernel: a directory of real files and links. */
#include "fake-parts.h"

#include <sys/stat.h>
#include <unistd.h>

static void make_directories(char *path)
{
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
}

void fake_link(struct fake_kernel *kernel, const char *path, const char *target)
{
    char full[256];

    snprintf(full, sizeof(full), "%s/%s", kernel->root, path);
    unlink(full);
    if (!target)
        return;
    make_directories(full);
    assert_int_equal(symlink(target, full), 0);
}

void fake_write_file(struct fake_kernel *kernel, const char *path, const void *bytes, size_t size)
{
    char full[256];
    FILE *file;

    snprintf(full, sizeof(full), "%s/%s", kernel->root, path);
    make_directories(full);
    file = fopen(full, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* 0000:0(1+n):00.0, group 7+n, dmar n, vfio n, with PRI in its configuration space. */
void fake_add_device(struct fake_kernel *kernel, unsigned int n)
{
    static const char regions[] = "0x00000000fee00000 0x00000000feefffff msi\n"
                                  "0x000000007b000000 0x000000007f7fffff direct\n";
    unsigned char config[0x200] = {0};
    char path[128], target[128];

    config[0x100] = 0x0f; /* ATS, then PRI at 140h */
    config[0x102] = 0x01;
    config[0x103] = 0x14;
    config[0x140] = 0x13;
    config[0x142] = 0x01;
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/config", n + 1);
    fake_write_file(kernel, path, config, sizeof(config));
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/vfio-dev/vfio%u/dev", n + 1, n);
    fake_write_file(kernel, path, "511:0\n", 6);
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/driver", n + 1);
    fake_link(kernel, path, "../../../../bus/pci/drivers/vfio-pci");
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/iommu", n + 1);
    snprintf(target, sizeof(target), "../../../../devices/virtual/iommu/dmar%u", n);
    fake_link(kernel, path, target);
    snprintf(path, sizeof(path), "kernel/iommu_groups/%u/reserved_regions", 7 + n);
    fake_write_file(kernel, path, regions, sizeof(regions) - 1);
    snprintf(path, sizeof(path), "kernel/iommu_groups/%u/devices/0000:0%u:00.0", 7 + n, n + 1);
    snprintf(target, sizeof(target), "../../../../bus/pci/devices/0000:0%u:00.0", n + 1);
    fake_link(kernel, path, target);
    snprintf(path, sizeof(path), "bus/pci/devices/0000:0%u:00.0/iommu_group", n + 1);
    snprintf(target, sizeof(target), "../../../../kernel/iommu_groups/%u", 7 + n);
    fake_link(kernel, path, target);
    snprintf(path, sizeof(path), "dev/char/511:%u/device", n);
    snprintf(target, sizeof(target), "../../../bus/pci/devices/0000:0%u:00.0", n + 1);
    fake_link(kernel, path, target);
    kernel->devices[n].iommu = n / 2;
    kernel->devices[n].pasid_bits = 20;
}
