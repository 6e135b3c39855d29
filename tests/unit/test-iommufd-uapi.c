/* SPDX-License-Identifier: MIT */
/*
 * Our declarations of the kernel's interfaces: sizes and offsets as measured on Linux 7.3, and the
 * same as in <linux/iommufd.h> and <linux/vfio.h> where these are installed.
 */
#include "host/iommufd/uapi.h"

#include <viommu/host.h>

#include "unit.h"

#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif
#include <linux/vfio.h>

#define SAME(ours, our_member, theirs, their_member)                                               \
    assert_int_equal(offsetof(struct ours, our_member), offsetof(struct theirs, their_member));    \
    assert_int_equal(sizeof(((struct ours *)0)->our_member),                                       \
                     sizeof(((struct theirs *)0)->their_member))

static void test_measured_sizes(void **state)
{
    static const size_t sizes[][2] = {
        {sizeof(struct uapi_destroy), 8},
        {sizeof(struct uapi_ioas_alloc), 12},
        {sizeof(struct uapi_iova_range), 16},
        {sizeof(struct uapi_ioas_iova_ranges), 32},
        {sizeof(struct uapi_ioas_map), 40},
        {sizeof(struct uapi_ioas_map_file), 40},
        {sizeof(struct uapi_ioas_unmap), 24},
        {sizeof(struct uapi_option), 24},
        {sizeof(struct uapi_hwpt_alloc), 48},
        {sizeof(struct uapi_hw_info_vtd), 24},
        {sizeof(struct uapi_hw_info_amd), 16},
        {sizeof(struct uapi_hw_info), 40},
        {sizeof(struct uapi_hwpt_set_dirty_tracking), 16},
        {sizeof(struct uapi_hwpt_get_dirty_bitmap), 48},
        {sizeof(struct uapi_hwpt_invalidate), 32},
        {sizeof(struct uapi_fault_alloc), 16},
        {sizeof(struct uapi_fault), 40},
        {sizeof(struct uapi_fault_response), 8},
        {sizeof(struct uapi_vfio_bind), 16},
        {sizeof(struct uapi_vfio_attach), 16},
        {sizeof(struct uapi_vfio_detach), 12},
        {sizeof(struct viommu_host_vtd_s1), 24},
        {sizeof(struct viommu_host_vtd_s1_invalidate), 24},
        {sizeof(struct viommu_host_page_request), 40},
        {sizeof(struct viommu_host_page_response), 8},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++)
        assert_int_equal(sizes[i][0], sizes[i][1]);
    assert_int_equal(offsetof(struct uapi_hwpt_alloc, data_type), 24);
    assert_int_equal(offsetof(struct uapi_hwpt_alloc, fault_id), 40);
    assert_int_equal(offsetof(struct uapi_hw_info, out_max_pasid_log2), 28);
    assert_int_equal(offsetof(struct uapi_hw_info, out_capabilities), 32);
}

#ifdef IOMMU_IOAS_ALLOC
static void test_iommufd_header(void **state)
{
    (void)state;
    assert_int_equal(UAPI_DESTROY, IOMMU_DESTROY);
    assert_int_equal(UAPI_IOAS_ALLOC, IOMMU_IOAS_ALLOC);
    assert_int_equal(UAPI_IOAS_IOVA_RANGES, IOMMU_IOAS_IOVA_RANGES);
    assert_int_equal(UAPI_IOAS_MAP, IOMMU_IOAS_MAP);
    assert_int_equal(UAPI_IOAS_UNMAP, IOMMU_IOAS_UNMAP);
    assert_int_equal(UAPI_OPTION, IOMMU_OPTION);
    assert_int_equal(UAPI_OPTION_GET, IOMMU_OPTION_OP_GET);
    assert_int_equal(UAPI_OPTION_RLIMIT_MODE, IOMMU_OPTION_RLIMIT_MODE);
    assert_int_equal(UAPI_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_FIXED_IOVA);
    assert_int_equal(UAPI_MAP_WRITEABLE, IOMMU_IOAS_MAP_WRITEABLE);
    assert_int_equal(UAPI_MAP_READABLE, IOMMU_IOAS_MAP_READABLE);
    SAME(uapi_destroy, id, iommu_destroy, id);
    SAME(uapi_ioas_alloc, out_ioas_id, iommu_ioas_alloc, out_ioas_id);
    SAME(uapi_ioas_iova_ranges, num_iovas, iommu_ioas_iova_ranges, num_iovas);
    SAME(uapi_ioas_iova_ranges, allowed_iovas, iommu_ioas_iova_ranges, allowed_iovas);
    SAME(uapi_ioas_map, user_va, iommu_ioas_map, user_va);
    SAME(uapi_ioas_map, length, iommu_ioas_map, length);
    SAME(uapi_ioas_map, iova, iommu_ioas_map, iova);
    SAME(uapi_ioas_unmap, iova, iommu_ioas_unmap, iova);
    SAME(uapi_ioas_unmap, length, iommu_ioas_unmap, length);
    SAME(uapi_option, op, iommu_option, op);
    SAME(uapi_option, val64, iommu_option, val64);
}
#endif

#ifdef IOMMU_IOAS_MAP_FILE
static void test_map_file_header(void **state)
{
    (void)state;
    assert_int_equal(UAPI_IOAS_MAP_FILE, IOMMU_IOAS_MAP_FILE);
    SAME(uapi_ioas_map_file, fd, iommu_ioas_map_file, fd);
    SAME(uapi_ioas_map_file, start, iommu_ioas_map_file, start);
    SAME(uapi_ioas_map_file, length, iommu_ioas_map_file, length);
    SAME(uapi_ioas_map_file, iova, iommu_ioas_map_file, iova);
}
#endif

#ifdef IOMMU_HWPT_INVALIDATE
static void test_nesting_header(void **state)
{
    (void)state;
    assert_int_equal(UAPI_HWPT_ALLOC, IOMMU_HWPT_ALLOC);
    assert_int_equal(UAPI_GET_HW_INFO, IOMMU_GET_HW_INFO);
    assert_int_equal(UAPI_HWPT_INVALIDATE, IOMMU_HWPT_INVALIDATE);
    assert_int_equal(UAPI_HWPT_SET_DIRTY_TRACKING, IOMMU_HWPT_SET_DIRTY_TRACKING);
    assert_int_equal(UAPI_HWPT_GET_DIRTY_BITMAP, IOMMU_HWPT_GET_DIRTY_BITMAP);
    assert_int_equal(UAPI_HWPT_NEST_PARENT, IOMMU_HWPT_ALLOC_NEST_PARENT);
    assert_int_equal(UAPI_HWPT_DIRTY_TRACKING, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
    assert_int_equal(UAPI_HWPT_DATA_VTD_S1, IOMMU_HWPT_DATA_VTD_S1);
    assert_int_equal(UAPI_HW_INFO_VTD, IOMMU_HW_INFO_TYPE_INTEL_VTD);
    assert_int_equal(UAPI_HW_INFO_VTD_772415, IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17);
    assert_int_equal(UAPI_HW_CAP_DIRTY_TRACKING, IOMMU_HW_CAP_DIRTY_TRACKING);
    assert_int_equal(UAPI_INVALIDATE_VTD_S1, IOMMU_HWPT_INVALIDATE_DATA_VTD_S1);
    assert_int_equal(UAPI_DIRTY_NO_CLEAR, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR);
    assert_int_equal(UAPI_DIRTY_TRACKING_ENABLE, IOMMU_HWPT_DIRTY_TRACKING_ENABLE);
    SAME(uapi_hwpt_alloc, flags, iommu_hwpt_alloc, flags);
    SAME(uapi_hwpt_alloc, dev_id, iommu_hwpt_alloc, dev_id);
    SAME(uapi_hwpt_alloc, pt_id, iommu_hwpt_alloc, pt_id);
    SAME(uapi_hwpt_alloc, out_hwpt_id, iommu_hwpt_alloc, out_hwpt_id);
    SAME(uapi_hwpt_alloc, data_type, iommu_hwpt_alloc, data_type);
    SAME(uapi_hwpt_alloc, data_len, iommu_hwpt_alloc, data_len);
    SAME(uapi_hwpt_alloc, data_uptr, iommu_hwpt_alloc, data_uptr);
    SAME(uapi_hw_info, data_len, iommu_hw_info, data_len);
    SAME(uapi_hw_info, out_data_type, iommu_hw_info, out_data_type);
    SAME(uapi_hw_info, out_capabilities, iommu_hw_info, out_capabilities);
    SAME(uapi_hw_info_vtd, cap_reg, iommu_hw_info_vtd, cap_reg);
    SAME(uapi_hw_info_vtd, ecap_reg, iommu_hw_info_vtd, ecap_reg);
    SAME(uapi_hwpt_invalidate, data_uptr, iommu_hwpt_invalidate, data_uptr);
    SAME(uapi_hwpt_invalidate, data_type, iommu_hwpt_invalidate, data_type);
    SAME(uapi_hwpt_invalidate, entry_len, iommu_hwpt_invalidate, entry_len);
    SAME(uapi_hwpt_invalidate, entry_num, iommu_hwpt_invalidate, entry_num);
    SAME(uapi_hwpt_set_dirty_tracking, hwpt_id, iommu_hwpt_set_dirty_tracking, hwpt_id);
    SAME(uapi_hwpt_get_dirty_bitmap, flags, iommu_hwpt_get_dirty_bitmap, flags);
    SAME(uapi_hwpt_get_dirty_bitmap, iova, iommu_hwpt_get_dirty_bitmap, iova);
    SAME(uapi_hwpt_get_dirty_bitmap, length, iommu_hwpt_get_dirty_bitmap, length);
    SAME(uapi_hwpt_get_dirty_bitmap, page_size, iommu_hwpt_get_dirty_bitmap, page_size);
    SAME(uapi_hwpt_get_dirty_bitmap, data, iommu_hwpt_get_dirty_bitmap, data);
    SAME(viommu_host_vtd_s1, pgtbl_addr, iommu_hwpt_vtd_s1, pgtbl_addr);
    SAME(viommu_host_vtd_s1, addr_width, iommu_hwpt_vtd_s1, addr_width);
    SAME(viommu_host_vtd_s1_invalidate, npages, iommu_hwpt_vtd_s1_invalidate, npages);
    SAME(viommu_host_vtd_s1_invalidate, flags, iommu_hwpt_vtd_s1_invalidate, flags);
}
#endif

#ifdef IOMMU_FAULT_QUEUE_ALLOC
static void test_fault_header(void **state)
{
    (void)state;
    assert_int_equal(UAPI_FAULT_QUEUE_ALLOC, IOMMU_FAULT_QUEUE_ALLOC);
    assert_int_equal(UAPI_HWPT_FAULT_ID_VALID, IOMMU_HWPT_FAULT_ID_VALID);
    SAME(uapi_hwpt_alloc, fault_id, iommu_hwpt_alloc, fault_id);
    SAME(uapi_fault_alloc, out_fault_id, iommu_fault_alloc, out_fault_id);
    SAME(uapi_fault_alloc, out_fault_fd, iommu_fault_alloc, out_fault_fd);
    SAME(viommu_host_page_request, group, iommu_hwpt_pgfault, grpid);
    SAME(viommu_host_page_request, access, iommu_hwpt_pgfault, perm);
    SAME(viommu_host_page_request, address, iommu_hwpt_pgfault, addr);
    SAME(viommu_host_page_request, cookie, iommu_hwpt_pgfault, cookie);
    SAME(viommu_host_page_response, code, iommu_hwpt_page_response, code);
    assert_int_equal(UAPI_FAULT_PASID, IOMMU_PGFAULT_FLAGS_PASID_VALID);
    assert_int_equal(UAPI_FAULT_LAST, IOMMU_PGFAULT_FLAGS_LAST_PAGE);
    assert_int_equal(UAPI_FAULT_READ, IOMMU_PGFAULT_PERM_READ);
    assert_int_equal(UAPI_FAULT_WRITE, IOMMU_PGFAULT_PERM_WRITE);
    assert_int_equal(UAPI_FAULT_EXEC, IOMMU_PGFAULT_PERM_EXEC);
    assert_int_equal(UAPI_FAULT_PRIV, IOMMU_PGFAULT_PERM_PRIV);
}
#endif

#ifdef VFIO_DEVICE_BIND_IOMMUFD
static void test_vfio_header(void **state)
{
    (void)state;
    assert_int_equal(UAPI_VFIO_BIND_IOMMUFD, VFIO_DEVICE_BIND_IOMMUFD);
    assert_int_equal(UAPI_VFIO_ATTACH, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
    assert_int_equal(UAPI_VFIO_DETACH, VFIO_DEVICE_DETACH_IOMMUFD_PT);
    SAME(uapi_vfio_bind, iommufd, vfio_device_bind_iommufd, iommufd);
    SAME(uapi_vfio_bind, out_devid, vfio_device_bind_iommufd, out_devid);
    SAME(uapi_vfio_attach, flags, vfio_device_attach_iommufd_pt, flags);
    SAME(uapi_vfio_attach, pt_id, vfio_device_attach_iommufd_pt, pt_id);
#ifdef VFIO_DEVICE_ATTACH_PASID
    assert_int_equal(UAPI_VFIO_PASID, VFIO_DEVICE_ATTACH_PASID);
    SAME(uapi_vfio_attach, pasid, vfio_device_attach_iommufd_pt, pasid);
    SAME(uapi_vfio_detach, pasid, vfio_device_detach_iommufd_pt, pasid);
#endif
}
#endif

/* Enumerators and members are seen by no #ifdef: scripts/check-uapi says how old the headers are.
 */
#if HEADERS_OF_LINUX >= 703
#if !defined(IOMMU_IOAS_MAP_FILE) || !defined(IOMMU_HWPT_INVALIDATE) ||                            \
    !defined(IOMMU_FAULT_QUEUE_ALLOC) || !defined(VFIO_DEVICE_ATTACH_PASID)
#error "something of what we use is compared with nothing"
#endif
static void test_newest_header(void **state)
{
    (void)state;
    assert_int_equal(UAPI_HWPT_PASID, IOMMU_HWPT_ALLOC_PASID);
    assert_int_equal(UAPI_HW_INFO_SMMUV3, IOMMU_HW_INFO_TYPE_ARM_SMMUV3);
    assert_int_equal(UAPI_HW_INFO_AMD, IOMMU_HW_INFO_TYPE_AMD);
    assert_int_equal(UAPI_HW_CAP_ATS_NOT_SUPPORTED, IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);
    SAME(uapi_hw_info, out_max_pasid_log2, iommu_hw_info, out_max_pasid_log2);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_sizes),
#ifdef IOMMU_IOAS_ALLOC
        cmocka_unit_test(test_iommufd_header),
#endif
#ifdef IOMMU_IOAS_MAP_FILE
        cmocka_unit_test(test_map_file_header),
#endif
#ifdef IOMMU_HWPT_INVALIDATE
        cmocka_unit_test(test_nesting_header),
#endif
#ifdef IOMMU_FAULT_QUEUE_ALLOC
        cmocka_unit_test(test_fault_header),
#endif
#if HEADERS_OF_LINUX >= 703
        cmocka_unit_test(test_newest_header),
#endif
#ifdef VFIO_DEVICE_BIND_IOMMUFD
        cmocka_unit_test(test_vfio_header),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
