/* SPDX-License-Identifier: MIT */
/* The iommufd backend on a fake kernel: what each call does, on kernels of different age. */
#include <fcntl.h>

#include "host/host.h"
#include "iommufd-rig.h"

static void test_create(void **state)
{
    struct viommu_iommufd_options options = VIOMMU_IOMMUFD_OPTIONS_INIT;
    struct iommufd_rig rig = {.host = NULL};
    struct fake_kernel *kernel = &rig.kernel;

    (void)state;
    fake_boot(kernel, LINUX_7_3);
    options.descriptor = fake_open_iommufd(kernel);
    assert_int_equal(iommufd_create(&rig.host, &kernel->sys, kernel->root, &options, &rig.error),
                     0);
    assert_int_equal(fake_census(kernel).files, 1);
    viommu_host_destroy(rig.host);
    assert_int_equal(fake_census(kernel).files, 0);

    options.descriptor = fake_open_other(kernel);
    assert_int_equal(iommufd_create(&rig.host, &kernel->sys, kernel->root, &options, &rig.error),
                     -EINVAL);
    assert_says(&rig, "is not /dev/iommu");
    assert_int_equal(fake_census(kernel).files, 1); /* still the caller's */
    options.descriptor = 999;
    assert_int_equal(iommufd_create(&rig.host, &kernel->sys, kernel->root, &options, &rig.error),
                     -EINVAL);
    assert_says(&rig, "no open descriptor");
    options.descriptor = -1;
    options.path = "/dev/null";
    assert_int_equal(iommufd_create(&rig.host, &kernel->sys, kernel->root, &options, &rig.error),
                     -EINVAL);
    assert_says(&rig, "/dev/null is not /dev/iommu");
    assert_int_equal(fake_census(kernel).files, 1);
    fake_shutdown(kernel);
}

static void test_create_refused(void **state)
{
    struct iommufd_rig rig = {.host = NULL};
    struct fake_kernel *kernel = &rig.kernel;
    struct viommu_iommufd_options options = {.size = 1};

    (void)state;
    fake_boot(kernel, LINUX_7_3);
    kernel->has_iommu = false;
    assert_int_equal(iommufd_create(&rig.host, &kernel->sys, kernel->root, NULL, &rig.error),
                     -ENOENT);
    assert_says(&rig, "use the host type1");
    kernel->open_errno = EACCES;
    assert_int_equal(iommufd_create(&rig.host, &kernel->sys, kernel->root, NULL, &rig.error),
                     -EACCES);
    assert_says(&rig, "You may not open /dev/iommu");
    kernel->open_errno = EMFILE;
    assert_int_equal(iommufd_create(&rig.host, &kernel->sys, kernel->root, NULL, &rig.error),
                     -EMFILE);
    assert_int_equal(iommufd_create(&rig.host, &kernel->sys, kernel->root, &options, &rig.error),
                     -EINVAL);
    assert_int_equal(fake_census(kernel).files, 0);
    fake_shutdown(kernel);
    /* The real machine: one way or the other, with a sentence. */
    if (viommu_iommufd_create(&rig.host, NULL, &rig.error))
        assert_true(rig.error.message[0]);
    else
        viommu_host_destroy(rig.host);
}

static void test_map(void **state)
{
    struct iommufd_rig rig;
    char *memory = unit_pages(4);
    uint64_t unmapped;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 0, memory, 2 * PAGE, RWMAP, &rig.error), 0);
    assert_int_equal(rig.kernel.objects[rig.ioas].areas[0].flags,
                     UAPI_MAP_FIXED_IOVA | UAPI_MAP_READABLE | UAPI_MAP_WRITEABLE);
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, 0x10000, memory, PAGE,
                                          VIOMMU_HOST_MAP_READ, &rig.error),
                     0);
    assert_int_equal(rig.kernel.objects[rig.ioas].areas[1].flags,
                     UAPI_MAP_FIXED_IOVA | UAPI_MAP_READABLE);
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, PAGE, memory, PAGE, RWMAP, &rig.error), -EEXIST);
    assert_says(&rig, "0x1000-0x1fff overlap");
    assert_int_equal(viommu_host_ioas_map(rig.host, 99, 0, memory, PAGE, RWMAP, &rig.error),
                     -ENOENT);
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, PAGE, PAGE, NULL, &rig.error),
                     -ENOENT);
    assert_says(&rig, "would be cut");
    assert_int_equal(viommu_host_ioas_unmap(rig.host, rig.ioas, 0, 2 * PAGE, &unmapped, &rig.error),
                     0);
    assert_int_equal(unmapped, 2 * PAGE);
    assert_int_equal(
        viommu_host_ioas_unmap(rig.host, rig.ioas, 0, UINT64_MAX, &unmapped, &rig.error), 0);
    assert_int_equal(unmapped, PAGE);
    assert_int_equal(
        viommu_host_ioas_unmap(rig.host, rig.ioas, 0, UINT64_MAX, &unmapped, &rig.error), 0);
    assert_int_equal(unmapped, 0);
    rig_end(&rig);
    free(memory);
}

/* Each limit names itself and a way out. */
static void test_map_limits(void **state)
{
    struct iommufd_rig rig;
    char *memory = unit_pages(4);

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 0xfedff000, memory, 2 * PAGE, RWMAP, &rig.error),
        -EINVAL);
    assert_says(&rig, "into 0x0-0xfedfffff, 0xfef00000-0xffffffffffff");
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, UINT64_C(1) << 48, memory, PAGE,
                                          RWMAP, &rig.error),
                     -EINVAL);
    rig.kernel.memlock = PAGE;
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 0, memory, 2 * PAGE, RWMAP, &rig.error), -ENOMEM);
    assert_says(&rig, "limit on locked memory is 4 KiB");
    assert_says(&rig, "ulimit -l");
    rig.kernel.memlock = UINT64_MAX;
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, 0, (void *)(uintptr_t)0xba5000, PAGE,
                                          RWMAP, &rig.error),
                     -EFAULT);
    assert_says(&rig, "BARs cannot be given to other devices");
    rig_parent(&rig);
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 0, memory, PAGE, VIOMMU_HOST_MAP_READ, &rig.error),
        -EINVAL);
    assert_says(&rig, "erratum 772415");
    rig.kernel.fail_call = rig.kernel.calls + 1;
    rig.kernel.fail_errno = ENOMEM;
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, 0, memory, PAGE, RWMAP, &rig.error),
                     -ENOMEM);
    assert_says(&rig, "out of memory");
    rig_end(&rig);
    free(memory);
}

static void test_iova_ranges(void **state)
{
    struct viommu_host_iova_range ranges[4];
    struct iommufd_rig rig;
    size_t count = 0;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    assert_int_equal(viommu_host_ioas_iova_ranges(rig.host, rig.ioas, NULL, &count, &rig.error),
                     -EMSGSIZE);
    assert_int_equal(count, 2);
    count = 4;
    assert_int_equal(viommu_host_ioas_iova_ranges(rig.host, rig.ioas, ranges, &count, &rig.error),
                     0);
    assert_int_equal(count, 2);
    assert_int_equal(ranges[0].last, 0xfedfffff);
    assert_int_equal(ranges[1].start, 0xfef00000);
    assert_int_equal(viommu_host_ioas_iova_ranges(rig.host, 99, ranges, &count, &rig.error),
                     -ENOENT);
    rig_end(&rig);
}

/* Descriptor 7 is a memfd to the fake kernel, 8 is none. */
static void test_files(void **state)
{
    struct iommufd_rig rig;
    char *memory = unit_pages(8);
    struct fake_object *ioas;

    (void)state;
    rig_host(&rig, LINUX_6_13);
    rig_bind(&rig);
    ioas = &rig.kernel.objects[rig.ioas];
    assert_int_equal(viommu_iommufd_add_file(rig.host, memory, 4 * PAGE, 7, 0, &rig.error), 0);
    assert_int_equal(viommu_iommufd_add_file(rig.host, memory + PAGE, PAGE, 7, 0, &rig.error),
                     -EEXIST);
    assert_int_equal(viommu_iommufd_add_file(rig.host, memory + 4 * PAGE, 1, 7, 0, &rig.error),
                     -EINVAL);
    assert_int_equal(
        viommu_iommufd_add_file(rig.host, memory + 4 * PAGE, 4 * PAGE, 8, 0, &rig.error), 0);
    /* within, across the end, in no memfd */
    for (int i = 0; i < 3; i++)
        assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, 0x10000 * (uint64_t)i,
                                              memory + PAGE * (uint64_t)(1 + 2 * i), 2 * PAGE,
                                              RWMAP, &rig.error),
                         0);
    assert_true(ioas->areas[0].by_file);
    assert_false(ioas->areas[1].by_file);
    assert_false(ioas->areas[2].by_file);
    viommu_iommufd_remove_file(rig.host, memory);
    viommu_iommufd_remove_file(rig.host, memory);
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 0x50000, memory, PAGE, RWMAP, &rig.error), 0);
    assert_false(ioas->areas[3].by_file);
    rig_end(&rig);

    /* An older kernel has no such call, and is asked once. */
    rig_host(&rig, LINUX_6_11);
    rig_bind(&rig);
    ioas = &rig.kernel.objects[rig.ioas];
    assert_int_equal(viommu_iommufd_add_file(rig.host, memory, 4 * PAGE, 7, 0, &rig.error), 0);
    assert_int_equal(viommu_host_ioas_map(rig.host, rig.ioas, 0, memory, PAGE, RWMAP, &rig.error),
                     0);
    rig.kernel.calls = 0;
    assert_int_equal(
        viommu_host_ioas_map(rig.host, rig.ioas, 0x10000, memory, PAGE, RWMAP, &rig.error), 0);
    assert_int_equal(rig.kernel.calls, 1);
    assert_false(ioas->areas[1].by_file);
    rig_end(&rig);
    free(memory);
}

static void test_hw_info(void **state)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct iommufd_rig rig;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device, &info, &rig.error), 0);
    assert_int_equal(info.type, VIOMMU_HOST_IOMMU_VTD);
    assert_int_equal(info.quirks, VIOMMU_HOST_QUIRK_772415);
    assert_int_equal(info.registers[0], 0x9ed008c40780466);
    assert_int_equal(info.registers[1], 0x3fef9ea6f0efdf);
    assert_int_equal(info.max_pasid_log2, 20);
    assert_true(info.dirty_tracking);
    assert_true(info.page_requests); /* ECAP.PRS, and PRI in the configuration space */
    assert_true(info.ats);
    assert_string_equal(info.name, "dmar0");
    assert_int_equal(fake_census(&rig.kernel).objects[FAKE_QUEUE], 0); /* of the probe */
    assert_int_equal(viommu_host_hw_info(rig.host, 99, &info, &rig.error), -ENOENT);
    rig_end(&rig);
}

/* What is not there is not claimed. */
static void test_hw_info_of_others(void **state)
{
    static const struct {
        enum fake_age age;
        uint32_t type;
        uint64_t ecap;
        enum viommu_host_iommu expected;
        unsigned int pasid_bits;
        bool page_requests, ats;
        uint64_t capabilities;
        const char *name;
    } rows[] = {
        {LINUX_6_6, 1, 0x3fef9ea6f0efdf, VIOMMU_HOST_IOMMU_VTD, 0, false, true, 0, "dmar2"},
        {LINUX_6_11, 1, 0x3fef9ea6f0efdf, VIOMMU_HOST_IOMMU_VTD, 0, true, true, 0, "dmar2"},
        {LINUX_7_3, 1, 0x3fef9ea6f0efdf & ~(1ull << 29), VIOMMU_HOST_IOMMU_VTD, 20, false, true, 0,
         "dmar2"},
        {LINUX_7_3, 1, 0x3fef9ea6f0efdb, VIOMMU_HOST_IOMMU_VTD, 20, true, false, 0, "dmar2"},
        {LINUX_7_3, 1, 0x3fef9ea6f0efdf, VIOMMU_HOST_IOMMU_VTD, 20, true, false, 8, "dmar2"},
        {LINUX_7_3, 0, 0, VIOMMU_HOST_IOMMU_NONE, 20, false, false, 0, "dmar2"},
        {LINUX_7_3, 2, 0, VIOMMU_HOST_IOMMU_SMMUV3, 20, false, false, 0, "SMMUv3"},
        {LINUX_7_3, 4, 0, VIOMMU_HOST_IOMMU_AMD, 20, false, false, 0, "AMD-Vi"},
        {LINUX_7_3, 77, 0, VIOMMU_HOST_IOMMU_NONE, 20, false, false, 0,
         "IOMMU of unknown type 0x4d"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct viommu_host_hw_info info = {.size = sizeof(info)};
        struct iommufd_rig rig;

        rig_host(&rig, rows[i].age);
        rig.kernel.hw_info_type = rows[i].type;
        rig.kernel.ecap = rows[i].ecap;
        rig.kernel.capabilities = rows[i].capabilities;
        if (rows[i].type > 1)
            fake_link(&rig.kernel, "bus/pci/devices/0000:03:00.0/iommu", NULL);
        assert_int_equal(viommu_host_bind(rig.host, "03:00.0", &rig.device, &rig.error), 0);
        assert_int_equal(viommu_host_hw_info(rig.host, rig.device, &info, &rig.error), 0);
        assert_int_equal(info.type, rows[i].expected);
        assert_int_equal(info.max_pasid_log2, rows[i].pasid_bits);
        assert_int_equal(info.page_requests, rows[i].page_requests);
        assert_int_equal(info.ats, rows[i].ats);
        assert_string_equal(info.name, rows[i].name);
        if (rows[i].type == 4)
            assert_int_equal(info.registers[0], 0xe);
        if (info.type != VIOMMU_HOST_IOMMU_VTD && info.type != VIOMMU_HOST_IOMMU_AMD)
            assert_int_equal(info.registers[0], 0);
        rig_end(&rig);
    }
}

static void test_nesting(void **state)
{
    struct viommu_host_vtd_s1_invalidate entries[6] = {{.npages = 1}};
    struct iommufd_rig rig;
    uint32_t count = 6;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    rig_parent(&rig);
    assert_int_equal(rig_nest(&rig, VIOMMU_HOST_HWPT_PASID, 0, &rig.nested), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 5, rig.nested, &rig.error), 0);
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_VTD_S1, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     0);
    assert_int_equal(count, 6);
    assert_int_equal(rig.kernel.objects[rig.nested].last_invalidation.entry_num, 6);

    /* A partly handled array says how far it went. */
    entries[4].flags = 0x80;
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_VTD_S1, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     -EOPNOTSUPP);
    assert_int_equal(count, 4);
    assert_says(&rig, "handled 4 of 6");
    count = 1;
    assert_int_equal(viommu_host_invalidate(rig.host, rig.parent, VIOMMU_HOST_DATA_VTD_S1, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     -EINVAL);
    assert_int_equal(count, 0);
    count = 1;
    assert_int_equal(viommu_host_invalidate(rig.host, 99, VIOMMU_HOST_DATA_VTD_S1, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     -ENOENT);
    count = 1;
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_NONE, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     -EINVAL);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.parent, &rig.error), -EBUSY);
    assert_says(&rig, "destroy what is nested on it");
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.nested, &rig.error), -EBUSY);
    assert_int_equal(viommu_host_detach(rig.host, rig.device, 5, &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.nested, &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.nested, &rig.error), -ENOENT);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.device, &rig.error), -EBUSY);
    rig_end(&rig);
}

/* More entries than a call takes go in several; what is not known of is none of ours. */
static void test_many_invalidations(void **state)
{
    const uint32_t many = (1u << 16) + 3;
    struct viommu_host_vtd_s1_invalidate *entries = calloc(many, sizeof(*entries));
    struct iommufd_rig rig;
    uint32_t count = many;

    (void)state;
    assert_non_null(entries);
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    rig_parent(&rig);
    assert_int_equal(rig_nest(&rig, 0, 0, &rig.nested), 0);
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_VTD_S1, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     0);
    assert_int_equal(count, many);
    assert_int_equal(rig.kernel.objects[rig.nested].last_invalidation.entry_num, 3);
    entries[many - 2].flags = 2;
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_VTD_S1, entries,
                                            sizeof(entries[0]), &count, &rig.error),
                     -EOPNOTSUPP);
    assert_int_equal(count, many - 2);
    rig_end(&rig);
    free(entries);
}

/* Each ability that a kernel lacks is -EOPNOTSUPP with the kernel that has it. */
static void test_old_kernels(void **state)
{
    struct viommu_host_vtd_s1_invalidate entry = {.npages = 1};
    struct iommufd_rig rig;
    uint32_t id, count = 1;
    int descriptor;

    (void)state;
    rig_host(&rig, LINUX_6_6);
    rig_bind(&rig);
    assert_int_equal(rig_hwpt(&rig, rig.ioas, VIOMMU_HOST_HWPT_NEST_PARENT, &id), -EOPNOTSUPP);
    assert_says(&rig, "Linux 6.7");
    assert_int_equal(rig_hwpt(&rig, rig.ioas, VIOMMU_HOST_HWPT_DIRTY_TRACKING, &id), -EOPNOTSUPP);
    assert_int_equal(rig_hwpt(&rig, rig.ioas, 0, &rig.parent), 0);
    assert_int_equal(rig_nest(&rig, 0, 0, &id), -EOPNOTSUPP); /* E2BIG there */
    assert_says(&rig, "6.7");
    assert_int_equal(
        viommu_host_attach(rig.host, rig.device, VIOMMU_PASID_NONE, rig.parent, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 1, rig.parent, &rig.error), -EINVAL);
    assert_says(&rig, "Linux 6.15");
    assert_int_equal(viommu_iommufd_set_dirty_tracking(rig.host, rig.parent, true, &rig.error),
                     -EOPNOTSUPP);
    rig_end(&rig);

    rig_host(&rig, LINUX_6_7);
    rig_bind(&rig);
    assert_int_equal(rig_hwpt(&rig, rig.ioas, VIOMMU_HOST_HWPT_PASID, &id), -EOPNOTSUPP);
    assert_says(&rig, "6.15");
    assert_int_equal(rig_hwpt(&rig, rig.ioas, VIOMMU_HOST_HWPT_NEST_PARENT, &rig.parent), 0);
    assert_int_equal(rig_nest(&rig, 0, 0, &rig.nested), 0);
    assert_int_equal(viommu_host_invalidate(rig.host, rig.nested, VIOMMU_HOST_DATA_VTD_S1, &entry,
                                            sizeof(entry), &count, &rig.error),
                     -EOPNOTSUPP);
    assert_says(&rig, "Linux 6.8");
    assert_int_equal(count, 0);
    assert_int_equal(viommu_host_fault_queue_alloc(rig.host, &id, &descriptor, &rig.error),
                     -EOPNOTSUPP);
    assert_says(&rig, "Linux 6.11");
    rig_end(&rig);
}

static void test_pasids(void **state)
{
    struct iommufd_rig rig;
    uint32_t plain, device = 0;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig.kernel.devices[1].pasid_bits = 0;
    rig_bind(&rig);
    rig_parent(&rig);
    assert_int_equal(rig_hwpt(&rig, rig.ioas, 0, &plain), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 3, rig.parent, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 3, rig.parent, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 4, plain, &rig.error), -EINVAL);
    assert_says(&rig, "PASID kind");
    assert_says(&rig, "attach all devices of a group to the same");
    assert_int_equal(fake_census(&rig.kernel).attachments, 2);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 0, rig.parent, &rig.error), -EINVAL);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, VIOMMU_PASID_NONE, plain, &rig.error),
                     -EINVAL);
    assert_int_equal(viommu_host_detach(rig.host, rig.device, 9, &rig.error), 0); /* never was */
    assert_int_equal(viommu_host_detach(rig.host, rig.device, 3, &rig.error), 0);
    assert_int_equal(fake_census(&rig.kernel).attachments, 1);

    /* Linux says 0 and does nothing for a device without PASIDs; we do not. */
    assert_int_equal(viommu_host_bind(rig.host, "0000:02:00.0", &device, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, device, 3, rig.parent, &rig.error), -EINVAL);
    assert_says(&rig, "0 bits of PASID");
    assert_int_equal(viommu_host_attach(rig.host, device, 3, rig.parent, &rig.error), -EINVAL);

    /* Unbinding detaches all, and what others hold cannot be reached. */
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 7, rig.parent, &rig.error), 0);
    viommu_host_unbind(rig.host, rig.device);
    viommu_host_unbind(rig.host, rig.device);
    assert_int_equal(fake_census(&rig.kernel).attachments, 0);
    assert_int_equal(viommu_host_attach(rig.host, rig.device, 7, rig.parent, &rig.error), -ENOENT);
    assert_int_equal(viommu_host_detach(rig.host, rig.device, 7, &rig.error), -ENOENT);
    rig_end(&rig);
}

/* Two IOMMUs: devices of one share a HWPT, another gets its own on the same IOAS. */
static void test_sharing(void **state)
{
    struct iommufd_rig rig;
    uint32_t second, third, own, first;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    rig_parent(&rig);
    first = rig.device;
    assert_int_equal(viommu_host_bind(rig.host, "/dev/vfio/devices/vfio1", &second, &rig.error), 0);
    assert_int_equal(viommu_host_bind(rig.host, "0:3:0.0", &third, &rig.error), 0);
    assert_int_equal(
        viommu_host_attach(rig.host, second, VIOMMU_PASID_NONE, rig.parent, &rig.error), 0);
    assert_int_equal(viommu_host_attach(rig.host, third, VIOMMU_PASID_NONE, rig.parent, &rig.error),
                     -EINVAL);
    assert_says(&rig, "allocate one for this device");
    rig.device = third;
    assert_int_equal(rig_hwpt(&rig, rig.ioas, VIOMMU_HOST_HWPT_NEST_PARENT, &own), 0);
    assert_int_equal(viommu_host_attach(rig.host, third, VIOMMU_PASID_NONE, own, &rig.error), 0);
    assert_int_equal(viommu_host_destroy_object(rig.host, rig.ioas, &rig.error), -EBUSY);
    rig.device = first;
    rig_end(&rig);
}

static void test_dirty_pages(void **state)
{
    struct iommufd_rig rig;
    uint64_t bitmap = 0;
    uint32_t plain;

    (void)state;
    rig_host(&rig, LINUX_7_3);
    rig_bind(&rig);
    assert_int_equal(rig_hwpt(&rig, rig.ioas, 0, &plain), 0);
    assert_int_equal(rig_hwpt(&rig, rig.ioas, VIOMMU_HOST_HWPT_DIRTY_TRACKING, &rig.parent), 0);
    assert_int_equal(viommu_iommufd_set_dirty_tracking(rig.host, plain, true, &rig.error),
                     -EOPNOTSUPP);
    assert_int_equal(viommu_iommufd_set_dirty_tracking(rig.host, 99, true, &rig.error), -ENOENT);
    assert_int_equal(
        viommu_iommufd_get_dirty(rig.host, rig.parent, 0, PAGE, PAGE, &bitmap, true, &rig.error),
        -EINVAL);
    assert_says(&rig, "tracking was not begun");
    assert_int_equal(viommu_iommufd_set_dirty_tracking(rig.host, rig.parent, true, &rig.error), 0);
    rig.kernel.objects[rig.parent].dirty = 0xa;
    assert_int_equal(viommu_iommufd_get_dirty(rig.host, rig.parent, PAGE, 8 * PAGE, PAGE, &bitmap,
                                              false, &rig.error),
                     0);
    assert_int_equal(bitmap, 5);
    assert_int_equal(viommu_iommufd_get_dirty(rig.host, rig.parent, 0, 8 * PAGE, PAGE, &bitmap,
                                              true, &rig.error),
                     0);
    assert_int_equal(bitmap, 0xf);
    assert_int_equal(rig.kernel.objects[rig.parent].dirty, 0);
    assert_int_equal(
        viommu_iommufd_get_dirty(rig.host, rig.parent, 1, PAGE, PAGE, &bitmap, true, &rig.error),
        -EINVAL);
    assert_int_equal(
        viommu_iommufd_get_dirty(rig.host, rig.parent, 0, PAGE, 1000, &bitmap, true, &rig.error),
        -EINVAL);
    assert_int_equal(viommu_iommufd_get_dirty(rig.host, rig.parent, -PAGE, 2 * PAGE, PAGE, &bitmap,
                                              true, &rig.error),
                     -EOVERFLOW);
    rig_end(&rig);
}

/* Calls of this backend on a host of another. */
static void test_other_host(void **state)
{
    const struct viommu_host_ops none = {.size = sizeof(none)};
    struct viommu_host other = {.ops = &none};
    struct viommu_error error;
    uint64_t word;

    (void)state;
    assert_int_equal(viommu_iommufd_add_device(&other, "d", 3, &error), -EINVAL);
    assert_int_equal(viommu_iommufd_device_descriptor(&other, 1, &error), -EINVAL);
    assert_int_equal(viommu_iommufd_add_file(&other, &word, PAGE, 3, 0, &error), -EINVAL);
    assert_int_equal(viommu_iommufd_set_dirty_tracking(&other, 1, true, &error), -EINVAL);
    assert_int_equal(viommu_iommufd_get_dirty(&other, 1, 0, PAGE, PAGE, &word, true, &error),
                     -EINVAL);
    viommu_iommufd_remove_file(&other, &word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),      cmocka_unit_test(test_create_refused),
        cmocka_unit_test(test_map),         cmocka_unit_test(test_map_limits),
        cmocka_unit_test(test_iova_ranges), cmocka_unit_test(test_files),
        cmocka_unit_test(test_hw_info),     cmocka_unit_test(test_hw_info_of_others),
        cmocka_unit_test(test_nesting),     cmocka_unit_test(test_many_invalidations),
        cmocka_unit_test(test_old_kernels), cmocka_unit_test(test_pasids),
        cmocka_unit_test(test_sharing),     cmocka_unit_test(test_dirty_pages),
        cmocka_unit_test(test_other_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
