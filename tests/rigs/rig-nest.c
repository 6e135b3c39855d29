/* SPDX-License-Identifier: MIT */
/*
 * Nesting against an unmodified kernel's own IOMMU driver. This runs in a guest of viommu run,
 * whose vIOMMU is the hardware here: the library in this process, with the iommufd backend, nests
 * the first stage of a guest that this program plays, for an edu that VFIO has. At each step three
 * things are compared: what the guest asked of its vIOMMU, what the library asked of iommufd, and
 * what Linux's driver then told the hardware (hardware.h). And the edu's DMA shows whether the
 * hardware did it.
 *
 * rig-nest BDF: the edu, bound to vfio-pci. The steps build on one another, so the order counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <unistd.h>

#include "assigned.h"
#include "hardware.h"

#include "../guest/edu.h"
#include "../guest/guest.h"

#define PASID   5u
#define RID     0u /* of requests without PASID, in the hardware's table */
#define PAGE_C  0x82000u
#define BEHIND  0x83000u /* free again when a test ends */
#define OUTSIDE (UINT64_C(64) << 20)
#define COMMAND 4u
#define MASTER  0x6u /* memory, bus master */
#define BATCH   16u

static struct assigned assigned;
static struct vfio_function edu;
static const char *bdf; /* "00:01.0" */
static struct hardware_queue queue;
static uint64_t root; /* the guest's first-stage table */

void sleep_ms(int ms)
{
    usleep((useconds_t)ms * 1000);
}

/* ---- The edu */

static void open_edu(void)
{
    const struct viommu_host_device *device =
        viommu_assigned_device_host_device(assigned.device[0]);
    struct vfio_region_info info = {.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX};
    uint16_t command = MASTER;
    int fd;

    fd = viommu_iommufd_device_descriptor(assigned.host, viommu_host_device_id(device), NULL);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
    assert_int_equal(pwrite(fd, &command, 2, (off_t)info.offset + COMMAND), 2);
    info.index = VFIO_PCI_BAR0_REGION_INDEX;
    assert_int_equal(ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
    edu.bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)info.offset);
    assert_ptr_not_equal(edu.bar, MAP_FAILED);
    edu.bar_size = info.size;
}

static uint8_t *ram(uint64_t gpa)
{
    return assigned.guest.machine.ram + gpa;
}

/* The edu writes `value` to all of a page's first bytes: it takes them from `from`, an IOVA that
 * works. */
static void carry(uint64_t from, uint64_t to)
{
    assert_true(edu_from_memory(&edu, from, 0, 64));
    assert_true(edu_to_memory(&edu, to, 0, 64));
}

/* The edu reads and writes at iova, and it is the page at gpa that it reads and writes. */
static void arrives(uint64_t iova, uint64_t gpa)
{
    uint8_t pattern[64];

    for (unsigned int i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(gpa >> 12) ^ (uint8_t)(i * 7);
    memcpy(ram(gpa), pattern, sizeof(pattern));
    memset(ram(gpa) + 0x800, 0, sizeof(pattern));
    carry(iova, iova + 0x800);
    assert_memory_equal(ram(gpa) + 0x800, pattern, sizeof(pattern));
}

/* A write of the edu's changes nothing in the page. */
static void is_refused(uint64_t iova, uint64_t gpa)
{
    uint8_t before[64];

    memset(ram(gpa), 0x5a, sizeof(before));
    memset(before, 0x5a, sizeof(before));
    assert_true(edu_to_memory(&edu, iova, 0, 64));
    assert_memory_equal(ram(gpa), before, sizeof(before));
}

static bool log_has_now(const char *one, const char *other)
{
    static char log[1 << 18];
    int length = klogctl(3, log, sizeof(log) - 1);
    char *line, *rest = log;

    assert_true(length >= 0);
    log[length] = '\0';
    while ((line = strsep(&rest, "\n")))
        if (strstr(line, one) && strstr(line, other))
            return true;
    return false;
}

/* The driver's handler of fault interrupts may come a moment after the DMA. */
static bool log_has(const char *one, const char *other)
{
    bool has = log_has_now(one, other);

    for (int i = 0; i < 100 && !has; i++) {
        sleep_ms(20);
        has = log_has_now(one, other);
    }
    return has;
}

/* ---- The steps */

static void attaching_makes_a_nesting_parent(void **state)
{
    struct hardware_entry entry;

    (void)state;
    hardware_descriptors(&queue);
    assigned_attach(&assigned, 0);
    assert_int_equal(assigned_calls(&assigned, "ioas_map"), 1);
    assert_int_equal(assigned_calls(&assigned, "hwpt_alloc"), 1);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assert_true(
        viommu_host_device_is_nest_parent(viommu_assigned_device_host_device(assigned.device[0])));
    entry = hardware_entry(bdf, RID);
    assert_true(entry.present);
    assert_int_equal(entry.pgtt, HARDWARE_SECOND_STAGE);
    assert_int_not_equal(entry.second_stage, 0);
    hardware_descriptors(&queue);
    assert_true(hardware_count(&queue, HARDWARE_PASID_CACHE) >= 1);
    open_edu();
    arrives(PAGE_A, PAGE_A); /* GPA = IOVA: the guest has its translation off */
}

static void binding_nests_the_guests_table(void **state)
{
    struct hardware_entry parent = hardware_entry(bdf, RID), entry;

    (void)state;
    root = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A);
    assigned_bind(&assigned, 0, 0, root, GUEST_DOMAIN);
    assigned_calm(&assigned);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assert_int_equal(assigned_calls(&assigned, "hwpt_alloc"), 1);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    entry = hardware_entry(bdf, RID);
    assert_int_equal(entry.pgtt, HARDWARE_NESTED);
    assert_int_equal(entry.first_stage, root); /* the guest's own address, on top of */
    assert_int_equal(entry.second_stage, parent.second_stage); /* the VMM's second stage */
    hardware_descriptors(&queue);
    assert_true(hardware_count(&queue, HARDWARE_PASID_CACHE) >= 1);
    arrives(GUEST_IOVA, PAGE_A);
    assert_true(
        load64(&assigned.guest.machine, guest_entry(&assigned.guest, root, 4, GUEST_IOVA, 1)) &
        FS_A);
}

static void one_page_is_invalidated(void **state)
{
    uint16_t domain = hardware_entry(bdf, RID).domain;

    (void)state;
    assigned_set_page(&assigned, root, 4, PAGE_B | FS_ALL);
    assigned_calm(&assigned);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    assert_string_equal(assigned.trace, "invalidate");
    hardware_descriptors(&queue);
    assert_true(hardware_covers(&queue, domain, RID, GUEST_IOVA));
    assert_int_equal(hardware_count(&queue, HARDWARE_PIOTLB), 1);
    assert_int_equal(queue.list[0].mask, 0); /* not more than was asked for */
    assert_int_equal(queue.list[0].address, GUEST_IOVA);
    arrives(GUEST_IOVA, PAGE_B);
}

/* One write of the tail, one call to iommufd; the driver takes a descriptor for each. */
static void a_batch_is_one_call(void **state)
{
    uint16_t domain = hardware_entry(bdf, RID).domain;

    (void)state;
    for (unsigned int i = 0; i < BATCH; i++)
        guest_map(&assigned.guest, root, 4, GUEST_IOVA + i * 0x1000, 1,
                  (PAGE_A + i * 0x1000) | FS_ALL, FS_ALL);
    assigned_calm(&assigned);
    assigned_batch(&assigned, BATCH, GUEST_IOVA);
    assert_string_equal(assigned.trace, "invalidate");
    hardware_descriptors(&queue);
    for (unsigned int i = 0; i < BATCH; i++)
        assert_true(hardware_covers(&queue, domain, RID, GUEST_IOVA + i * 0x1000));
    assert_false(hardware_covers(&queue, domain, RID, GUEST_IOVA + 0x1000 * BATCH * 2));
    arrives(GUEST_IOVA, PAGE_A);
    arrives(GUEST_IOVA + 0x1000, PAGE_B);
    arrives(GUEST_IOVA + 0x2000, PAGE_C);
}

static void a_pasid_is_invalidated(void **state)
{
    uint16_t domain = hardware_entry(bdf, RID).domain;

    (void)state;
    assigned_set_page(&assigned, root, 4, PAGE_C | FS_ALL);
    assigned_calm(&assigned);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    assigned_wait(&assigned);
    assert_int_equal(assigned_calls(&assigned, "invalidate"), 1);
    hardware_descriptors(&queue);
    assert_true(hardware_covers(&queue, domain, RID, GUEST_IOVA));
    assert_true(hardware_covers(&queue, domain, RID, UINT64_C(0x7654321000)));
    arrives(GUEST_IOVA, PAGE_C);
}

/* Linux tells a VFIO user nothing of it, but its log does. */
static void what_the_guest_unmapped_is_refused(void **state)
{
    (void)state;
    assigned_set_page(&assigned, root, 4, 0);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    is_refused(GUEST_IOVA, PAGE_C);
    assert_true(log_has("DMA Write", "fault addr 0x1234567000"));
}

/* The guest's table is its own business; the second stage is what it cannot get past. */
static void the_guest_reaches_its_own_memory_alone(void **state)
{
    (void)state;
    guest_map(&assigned.guest, root, 4, GUEST_IOVA + 0x100000, 1, OUTSIDE | FS_ALL, FS_ALL);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    assigned_wait(&assigned);
    memset(ram(0), 0x77, 64);
    assert_true(edu_to_memory(&edu, GUEST_IOVA + 0x100000, 0, 64));
    assert_true(log_has("DMA Write", "fault addr 0x1234667000"));
}

static void another_table_replaces_the_first(void **state)
{
    uint64_t other = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_B);
    struct hardware_entry entry;

    (void)state;
    assigned_bind(&assigned, 0, 0, other, GUEST_DOMAIN);
    assigned_calm(&assigned);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    assigned_wait(&assigned);
    assert_int_equal(assigned_calls(&assigned, "hwpt_alloc"), 1);
    assert_int_equal(assigned_calls(&assigned, "attach"), 1);
    assert_int_equal(assigned_calls(&assigned, "detach"), 0); /* never a moment without */
    assert_int_equal(assigned_calls(&assigned, "destroy_object"), 1);
    entry = hardware_entry(bdf, RID);
    assert_int_equal(entry.pgtt, HARDWARE_NESTED);
    assert_int_equal(entry.first_stage, other);
    arrives(GUEST_IOVA, PAGE_B);
    root = other;
}

static void a_pasid_is_nested_beside_it(void **state)
{
    uint64_t table = assigned_first_stage(&assigned, GUEST_IOVA, PAGE_C);
    struct hardware_entry entry;

    (void)state;
    if (!viommu_host_device_info(viommu_assigned_device_host_device(assigned.device[0]))
             ->max_pasid_log2)
        skip();
    assigned_bind(&assigned, 0, PASID, table, GUEST_DOMAIN + 1);
    assigned_calm(&assigned);
    assigned_context(&assigned, CONTEXT_DEVICE, GUEST_DOMAIN, 0, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN + 1, PASID);
    assigned_wait(&assigned);
    entry = hardware_entry(bdf, PASID);
    assert_true(entry.present);
    assert_int_equal(entry.pgtt, HARDWARE_NESTED);
    assert_int_equal(entry.first_stage, table);
    assert_int_equal(hardware_entry(bdf, RID).first_stage, root);
    hardware_descriptors(&queue);
    assigned_piotlb(&assigned, PIOTLB_PAGES, GUEST_DOMAIN + 1, PASID, GUEST_IOVA, 0);
    assigned_wait(&assigned);
    hardware_descriptors(&queue);
    assert_true(hardware_covers(&queue, entry.domain, PASID, GUEST_IOVA));
    arrives(GUEST_IOVA, PAGE_B);
    /* And goes when the guest takes its entry away. */
    store64(&assigned.guest.machine, GUEST_PASIDS + PASID * 64, 0);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN + 1, PASID);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN + 1, PASID, 0, 0);
    assigned_wait(&assigned);
    assert_false(hardware_entry(bdf, PASID).present);
    arrives(GUEST_IOVA, PAGE_B);
}

static void an_entry_that_goes_blocks_the_device(void **state)
{
    (void)state;
    store64(&assigned.guest.machine, GUEST_PASIDS, 0);
    assigned_calm(&assigned);
    assigned_pasid_cache(&assigned, PASID_ONE, GUEST_DOMAIN, 0);
    assigned_piotlb(&assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    assigned_wait(&assigned);
    assert_int_equal(hardware_entry(bdf, RID).first_stage, 0);
    assert_int_not_equal(hardware_entry(bdf, RID).pgtt, HARDWARE_NESTED);
    is_refused(GUEST_IOVA, PAGE_B);
    is_refused(PAGE_B, PAGE_B);
}

static void translation_off_is_the_parent_again(void **state)
{
    struct hardware_entry entry;

    (void)state;
    machine_enable(&assigned.guest.machine, false);
    entry = hardware_entry(bdf, RID);
    assert_true(entry.present);
    assert_int_equal(entry.pgtt, HARDWARE_SECOND_STAGE);
    arrives(PAGE_B, PAGE_B);
}

/* The kernel takes the device back, with tables of its own. */
static void detaching_leaves_nothing(void **state)
{
    struct hardware_entry parent = hardware_entry(bdf, RID), entry;

    (void)state;
    munmap((void *)edu.bar, edu.bar_size);
    assigned_detach(&assigned, 0);
    entry = hardware_entry(bdf, RID);
    assert_int_not_equal(entry.pgtt, HARDWARE_NESTED);
    assert_int_not_equal(entry.second_stage, parent.second_stage);
    assert_int_not_equal(entry.first_stage, root);
    assert_false(hardware_entry(bdf, PASID).present);
}

/* ---- */

int main(int argc, char **argv)
{
    const struct CMUnitTest steps[] = {
        cmocka_unit_test(attaching_makes_a_nesting_parent),
        cmocka_unit_test(binding_nests_the_guests_table),
        cmocka_unit_test(one_page_is_invalidated),
        cmocka_unit_test(a_batch_is_one_call),
        cmocka_unit_test(a_pasid_is_invalidated),
        cmocka_unit_test(what_the_guest_unmapped_is_refused),
        cmocka_unit_test(the_guest_reaches_its_own_memory_alone),
        cmocka_unit_test(another_table_replaces_the_first),
        cmocka_unit_test(a_pasid_is_nested_beside_it),
        cmocka_unit_test(an_entry_that_goes_blocks_the_device),
        cmocka_unit_test(translation_off_is_the_parent_again),
        cmocka_unit_test(detaching_leaves_nothing),
    };
    struct viommu_error error;
    struct viommu_host *host;
    int failed;

    if (argc != 2 || strlen(argv[1]) != strlen("0000:00:01.0")) {
        fprintf(stderr, "usage: rig-nest 0000:BB:DD.F\n");
        return 2;
    }
    bdf = argv[1] + strlen("0000:");
    if (viommu_iommufd_create(&host, NULL, &error)) {
        fprintf(stderr, "rig-nest: %s\n", error.message);
        return 1;
    }
    assigned_create_on(&assigned, host, (const char *const[]){argv[1], argv[1]}, "pasid-bits=8");
    failed = cmocka_run_group_tests(steps, NULL, NULL);
    assigned_destroy(&assigned);
    return failed ? 1 : 0;
}
