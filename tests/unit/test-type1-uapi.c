/* SPDX-License-Identifier: MIT */
/* Our declarations of VFIO containers and groups against <linux/vfio.h>, which is as old as Linux.
 */
#include "host/type1/uapi.h"

#include <linux/vfio.h>

#include "unit.h"

static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(UAPI_GET_API_VERSION, VFIO_GET_API_VERSION);
    assert_int_equal(UAPI_API_VERSION, VFIO_API_VERSION);
    assert_int_equal(UAPI_CHECK_EXTENSION, VFIO_CHECK_EXTENSION);
    assert_int_equal(UAPI_SET_IOMMU, VFIO_SET_IOMMU);
    assert_int_equal(UAPI_TYPE1V2, VFIO_TYPE1v2_IOMMU);
    assert_int_equal(UAPI_IOMMU_GET_INFO, VFIO_IOMMU_GET_INFO);
    assert_int_equal(UAPI_MAP_DMA, VFIO_IOMMU_MAP_DMA);
    assert_int_equal(UAPI_UNMAP_DMA, VFIO_IOMMU_UNMAP_DMA);
    assert_int_equal(UAPI_GROUP_GET_STATUS, VFIO_GROUP_GET_STATUS);
    assert_int_equal(UAPI_GROUP_SET_CONTAINER, VFIO_GROUP_SET_CONTAINER);
    assert_int_equal(UAPI_GROUP_GET_DEVICE, VFIO_GROUP_GET_DEVICE_FD);
    assert_int_equal(UAPI_GROUP_VIABLE, VFIO_GROUP_FLAGS_VIABLE);
    assert_int_equal(UAPI_INFO_CAPS, VFIO_IOMMU_INFO_CAPS);
    assert_int_equal(UAPI_INFO_CAP_RANGES, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
    assert_int_equal(UAPI_DMA_READ, VFIO_DMA_MAP_FLAG_READ);
    assert_int_equal(UAPI_DMA_WRITE, VFIO_DMA_MAP_FLAG_WRITE);
}

#define SAME(ours, our_member, theirs, their_member)                                               \
    assert_int_equal(offsetof(struct ours, our_member), offsetof(struct theirs, their_member))

static void test_structures(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct uapi_group_status), sizeof(struct vfio_group_status));
    assert_int_equal(sizeof(struct uapi_dma_map), sizeof(struct vfio_iommu_type1_dma_map));
    assert_int_equal(sizeof(struct uapi_dma_unmap), sizeof(struct vfio_iommu_type1_dma_unmap));
    assert_int_equal(sizeof(struct uapi_info_cap), sizeof(struct vfio_info_cap_header));
    SAME(uapi_dma_map, vaddr, vfio_iommu_type1_dma_map, vaddr);
    SAME(uapi_dma_map, iova, vfio_iommu_type1_dma_map, iova);
    SAME(uapi_dma_map, size, vfio_iommu_type1_dma_map, size);
    SAME(uapi_dma_unmap, iova, vfio_iommu_type1_dma_unmap, iova);
    SAME(uapi_dma_unmap, size, vfio_iommu_type1_dma_unmap, size);
    SAME(uapi_type1_info, flags, vfio_iommu_type1_info, flags);
    SAME(uapi_type1_info, pgsizes, vfio_iommu_type1_info, iova_pgsizes);
    SAME(uapi_type1_info, cap_offset, vfio_iommu_type1_info, cap_offset);
    SAME(uapi_info_cap, next, vfio_info_cap_header, next);
    SAME(uapi_info_cap_ranges, count, vfio_iommu_type1_info_cap_iova_range, nr_iovas);
    assert_int_equal(sizeof(struct uapi_info_cap_ranges),
                     offsetof(struct vfio_iommu_type1_info_cap_iova_range, iova_ranges));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_structures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
