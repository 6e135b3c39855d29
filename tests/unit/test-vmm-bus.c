/* SPDX-License-Identifier: MIT */
/* The VMM's bus: lookups, holes, regions that move while others look. */
#include "bus.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

struct region {
    uint64_t offset;
    unsigned int size;
    uint64_t value;
    atomic_uint accesses;
};

static uint64_t region_read(void *opaque, uint64_t offset, unsigned int size)
{
    struct region *region = opaque;

    region->offset = offset;
    region->size = size;
    return region->value;
}

static void region_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    region_read(opaque, offset, size);
    ((struct region *)opaque)->value = value;
}

static const struct vmm_bus_ops region_ops = {region_read, region_write};

static void finds_the_region(void **state)
{
    struct region low = {.value = 0x1122334455667788}, high = {.value = 0xaa};
    struct vmm_bus bus;

    (void)state;
    assert_int_equal(vmm_bus_init(&bus), 0);
    assert_int_equal(vmm_bus_add(&bus, 0x2000, 0x10, &region_ops, &high), 0);
    assert_int_equal(vmm_bus_add(&bus, 0x1000, 0x1000, &region_ops, &low), 0);
    assert_int_equal(vmm_bus_read(&bus, 0x1ffc, 4), 0x55667788);
    assert_int_equal(low.offset, 0xffc);
    assert_int_equal(vmm_bus_read(&bus, 0x200f, 1), 0xaa);
    assert_int_equal(high.offset, 0xf);
    vmm_bus_write(&bus, 0x1008, 2, 0x12345678);
    assert_int_equal(low.value, 0x5678);
    vmm_bus_fini(&bus);
}

static void holes_read_all_ones(void **state)
{
    struct region region = {0};
    struct vmm_bus bus;

    (void)state;
    vmm_bus_init(&bus);
    assert_int_equal(vmm_bus_read(&bus, 0, 1), 0xff);
    vmm_bus_add(&bus, 0x1000, 6, &region_ops, &region);
    assert_int_equal(vmm_bus_read(&bus, 0xfff, 1), 0xff);
    assert_int_equal(vmm_bus_read(&bus, 0x1006, 2), 0xffff);
    assert_int_equal(vmm_bus_read(&bus, 0x1004, 4), 0xffffffff);
    assert_true(vmm_bus_read(&bus, 0x1000, 8) == UINT64_MAX);
    assert_int_equal(vmm_bus_read(&bus, 0x1002, 4), 0);
    vmm_bus_write(&bus, 0x1004, 4, 1);
    assert_int_equal(region.value, 0);
    vmm_bus_fini(&bus);
}

static void refuses_overlaps(void **state)
{
    struct region region = {0};
    struct vmm_bus bus;

    (void)state;
    vmm_bus_init(&bus);
    assert_int_equal(vmm_bus_add(&bus, 0x1000, 0x1000, &region_ops, &region), 0);
    assert_int_equal(vmm_bus_add(&bus, 0x1fff, 1, &region_ops, &region), -EEXIST);
    assert_int_equal(vmm_bus_add(&bus, 0xfff, 2, &region_ops, &region), -EEXIST);
    assert_int_equal(vmm_bus_add(&bus, 0, UINT64_MAX, &region_ops, &region), -EEXIST);
    assert_int_equal(vmm_bus_add(&bus, 0x3000, 0, &region_ops, &region), -EINVAL);
    assert_int_equal(vmm_bus_add(&bus, UINT64_MAX, 2, &region_ops, &region), -EINVAL);
    assert_int_equal(vmm_bus_add(&bus, UINT64_MAX - 7, 8, &region_ops, &region), 0);
    assert_int_equal(vmm_bus_read(&bus, UINT64_MAX - 7, 8), 0);
    assert_int_equal(vmm_bus_read(&bus, UINT64_MAX, 4), 0xffffffff);
    vmm_bus_fini(&bus);
}

static void forgets_what_was_removed(void **state)
{
    struct region region = {0}, other = {0};
    struct vmm_bus bus;

    (void)state;
    vmm_bus_init(&bus);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(vmm_bus_add(&bus, i << 12, 0x1000, &region_ops, &region), 0);
    vmm_bus_remove(&bus, 0x5000, &other);
    assert_int_equal(vmm_bus_read(&bus, 0x5000, 4), 0);
    vmm_bus_remove(&bus, 0x5000, &region);
    vmm_bus_remove(&bus, 0x5000, &region);
    assert_int_equal(vmm_bus_read(&bus, 0x5000, 4), 0xffffffff);
    assert_int_equal(vmm_bus_read(&bus, 0x4000, 4), 0);
    assert_int_equal(vmm_bus_read(&bus, 0x6000, 4), 0);
    vmm_bus_fini(&bus);
}

/* ---- A BAR that one vCPU moves while another one uses the regions beside it. ---- */

#define MOVES 20000

static uint64_t count_read(void *opaque, uint64_t offset, unsigned int size)
{
    (void)offset, (void)size;
    return atomic_fetch_add(&((struct region *)opaque)->accesses, 1) & 0x7fffffff;
}

static const struct vmm_bus_ops count_ops = {count_read, region_write};

static void *move_region(void *opaque)
{
    struct vmm_bus *bus = opaque;
    static struct region moving;

    for (unsigned int i = 0; i < MOVES; i++) {
        uint64_t base = i % 2 ? 0x1000 : 0x4000;

        assert_int_equal(vmm_bus_add(bus, base, 0x1000, &count_ops, &moving), 0);
        vmm_bus_remove(bus, base, &moving);
    }
    return NULL;
}

static void others_are_found_while_one_moves(void **state)
{
    struct region fixed = {0};
    struct vmm_bus bus;
    pthread_t thread;

    (void)state;
    vmm_bus_init(&bus);
    vmm_bus_add(&bus, 0x2000, 0x1000, &count_ops, &fixed);
    assert_int_equal(pthread_create(&thread, NULL, move_region, &bus), 0);
    for (unsigned int i = 0; i < MOVES; i++) {
        assert_int_not_equal(vmm_bus_read(&bus, 0x2000, 4), 0xffffffff);
        vmm_bus_read(&bus, 0x1000, 4);
    }
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&fixed.accesses), MOVES);
    vmm_bus_fini(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_region),
        cmocka_unit_test(holes_read_all_ones),
        cmocka_unit_test(refuses_overlaps),
        cmocka_unit_test(forgets_what_was_removed),
        cmocka_unit_test(others_are_found_while_one_moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
