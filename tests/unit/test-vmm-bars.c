/* SPDX-License-Identifier: MIT */
/* Where BARs lie: where firmware puts them, and where a guest moves them to. */
#include "machine.h"
#include "pci_host.h"
#include "pci_internal.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB  (UINT64_C(1) << 20)
#define GIB  (UINT64_C(1) << 30)
#define BASE VMM_HIGH_RAM_BASE /* of what is above 4 GiB, as all RAM of the test is below */

/* A physical address has 40 bits here: segment n has the n-th quarter. */
#define QUARTER ((1024 * GIB - BASE) / 4 & ~(GIB - 1))

#define COMMAND 0x04u
#define MEMORY  0x02u
#define BAR2    0x18u

static uint64_t bar_read(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                         unsigned int size)
{
    (void)fn, (void)size;
    return (uint64_t)bar << 24 | offset;
}

static void bar_write(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                      unsigned int size, uint64_t value)
{
    (void)fn, (void)bar, (void)offset, (void)size, (void)value;
}

static void reset(struct vmm_pci_function *fn)
{
    (void)fn;
}

static void destroy(struct vmm_pci_function *fn)
{
    free(fn);
}

static const struct vmm_pci_ops ops = {
    .bar_read = bar_read,
    .bar_write = bar_write,
    .reset = reset,
    .destroy = destroy,
};

/* A function whose one BAR is number 2. What registering it says is the answer. */
static int add(struct machine *machine, unsigned int segment, enum vmm_pci_bar_type type,
               bool prefetchable, uint64_t size, struct viommu_error *error)
{
    const struct vmm_pci_identity identity = {.name = "toy", .segment = (uint16_t)segment};
    struct vmm_pci_function *fn = calloc(1, sizeof(*fn));
    struct vmm_pci_function contents;
    int ret;

    assert_non_null(fn);
    ret = vmm_pci_function_init(fn, &machine->vm, VMM_PCI_DEVFN_ANY, &identity, &ops, error);
    assert_int_equal(ret, 0);
    vmm_pci_add_bar(fn, 2, type, size);
    if (prefetchable)
        vmm_pci_bar_set_prefetchable(fn, 2);
    ret = vmm_pci_register(fn, error);
    if (!ret)
        return fn->devfn;
    contents = *fn;
    vmm_pci_function_fini(&contents);
    free(fn);
    return ret;
}

static const struct vmm_pci_bar *bar_of(struct machine *machine, unsigned int segment, int devfn)
{
    assert_true(devfn > 0);
    return &machine->vm.pci->segments[segment]->functions[devfn]->bars[2];
}

/* Where a new one is decoded. */
static uint64_t place(struct machine *machine, unsigned int segment, enum vmm_pci_bar_type type,
                      bool prefetchable, uint64_t size)
{
    struct viommu_error error;
    const struct vmm_pci_bar *bar =
        bar_of(machine, segment, add(machine, segment, type, prefetchable, size, &error));

    assert_true(bar->mapped);
    return bar->address;
}

static int setup(void **state)
{
    *state = machine_create(NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    machine_destroy(*state);
    return 0;
}

/* ---- Firmware */

static void prefetchable_ones_lie_above_4_gib(void **state)
{
    struct machine *machine = *state;

    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, true, MIB), BASE);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, true, 32 * GIB), 32 * GIB);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, true, 0x10), 64 * GIB);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, true, 0x10), 64 * GIB + 0x1000);
    /* These are told from it by one property each. */
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM32, true, MIB), VMM_PCI_WINDOW_BASE);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, false, MIB), VMM_PCI_WINDOW_BASE + MIB);
}

static void what_has_no_room_below_lies_above(void **state)
{
    struct machine *machine = *state;

    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, false, 512 * MIB), VMM_PCI_WINDOW_BASE);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, false, 512 * MIB), BASE);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, false, 2 * GIB), BASE + 2 * GIB);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM32, false, 256 * MIB), 0xe0000000);
}

static void what_has_no_room_above_lies_below(void **state)
{
    struct machine *machine = *state;

    machine->vm.physical_bits = 32;
    vmm_pci_windows_reset(machine->vm.pci->segments[0]);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, true, MIB), VMM_PCI_WINDOW_BASE);
}

static void ram_is_not_in_the_way(void **state)
{
    struct machine *machine = *state;

    machine->vm.ram.size += 5 * GIB + MIB;
    vmm_pci_windows_reset(machine->vm.pci->segments[0]);
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, true, MIB), BASE + 6 * GIB);
    machine->vm.ram.size = machine->vm.ram.low_size;
}

static void segments_have_a_quarter_each(void **state)
{
    struct machine *machine = *state;

    for (unsigned int i = 0; i < VMM_SEGMENTS_MAX; i++) {
        struct vmm_pci_window high = vmm_pci_high_window(&machine->vm, i);

        assert_int_equal(high.next, BASE + i * QUARTER);
        assert_int_equal(high.end, BASE + (i + 1) * QUARTER);
        assert_int_equal(place(machine, i, VMM_PCI_BAR_MEM64, true, MIB), high.next);
    }
    assert_int_equal(place(machine, 2, VMM_PCI_BAR_MEM64, false, 64 * MIB),
                     BASE + 2 * QUARTER + 64 * MIB);
}

static void what_fits_nowhere_is_refused(void **state)
{
    struct machine *machine = *state;
    struct viommu_error error;

    assert_int_equal(add(machine, 0, VMM_PCI_BAR_MEM64, true, 256 * GIB, &error), -ENOSPC);
    assert_string_equal(error.message,
                        "no room for BAR 2 of toy: 0x4000000000 bytes, and segment 0 has "
                        "0x3ec00000 left below 4 GiB and 0x3fc0000000 above the RAM, from which "
                        "alignment takes its part; give the device another segment with "
                        "segment=N, or the guest fewer devices");
    assert_int_equal(add(machine, 0, VMM_PCI_BAR_MEM32, false, GIB, &error), -ENOSPC);
    assert_string_equal(error.message,
                        "no room for BAR 2 of toy: 0x40000000 bytes, and segment 0 has 0x3ec00000 "
                        "left below 4 GiB; give the device another segment with segment=N, or the "
                        "guest fewer devices");
    assert_int_equal(add(machine, 0, VMM_PCI_BAR_IO, false, 0x8000, &error), -ENOSPC);
    assert_string_equal(error.message,
                        "no room for BAR 2 of toy: 0x8000 I/O ports, and 0x4000 are left; give the "
                        "guest fewer devices that have some");
    assert_int_equal(place(machine, 0, VMM_PCI_BAR_MEM64, true, 128 * GIB), 128 * GIB);
}

static void a_reset_gives_the_same_places(void **state)
{
    struct machine *machine = *state;
    struct viommu_error error;
    int high = add(machine, 0, VMM_PCI_BAR_MEM64, true, 8 * GIB, &error);
    int low = add(machine, 0, VMM_PCI_BAR_MEM64, false, MIB, &error);

    for (unsigned int i = 0; i < 3; i++) {
        assert_int_equal(bar_of(machine, 0, high)->address, 8 * GIB);
        assert_int_equal(bar_of(machine, 0, low)->address, VMM_PCI_WINDOW_BASE);
        vmm_pci_host_reset(&machine->vm);
        assert_false(bar_of(machine, 0, high)->mapped);
        assert_int_equal(vmm_pci_host_start(&machine->vm, &error), 0);
        assert_true(bar_of(machine, 0, high)->mapped);
    }
}

/* ---- Guests */

static void set(struct machine *machine, int devfn, unsigned int offset, uint32_t value)
{
    machine_write(machine, VMM_ECAM_BASE + ((uint64_t)devfn << 12) + offset, 4, value);
}

static uint32_t get(struct machine *machine, int devfn, unsigned int offset)
{
    return (uint32_t)machine_read(machine, VMM_ECAM_BASE + ((uint64_t)devfn << 12) + offset, 4);
}

static bool is_at(struct machine *machine, uint64_t address)
{
    return machine_read(machine, address + 0x10, 4) == 0x2000010;
}

/* As Linux does it: without decoding meanwhile. */
static void move(struct machine *machine, int devfn, uint64_t address)
{
    set(machine, devfn, COMMAND, 0);
    set(machine, devfn, BAR2, (uint32_t)address);
    set(machine, devfn, BAR2 + 4, (uint32_t)(address >> 32));
    set(machine, devfn, COMMAND, MEMORY);
}

static void a_size_has_two_halves(void **state)
{
    struct machine *machine = *state;
    struct viommu_error error;
    int devfn = add(machine, 0, VMM_PCI_BAR_MEM64, true, 8 * GIB, &error);

    assert_int_equal(get(machine, devfn, BAR2), 0x0000000c);
    assert_int_equal(get(machine, devfn, BAR2 + 4), 2);
    set(machine, devfn, BAR2, 0xffffffff);
    set(machine, devfn, BAR2 + 4, 0xffffffff);
    assert_int_equal(get(machine, devfn, BAR2), 0x0000000c);
    assert_int_equal(get(machine, devfn, BAR2 + 4), 0xfffffffe);
    assert_false(is_at(machine, 8 * GIB));
    set(machine, devfn, BAR2 + 4, 2);
    assert_true(is_at(machine, 8 * GIB));
}

static void halves_are_written_in_any_order(void **state)
{
    struct machine *machine = *state;
    struct viommu_error error;
    int devfn = add(machine, 0, VMM_PCI_BAR_MEM64, true, MIB, &error);

    set(machine, devfn, BAR2 + 4, 5);
    assert_true(is_at(machine, 20 * GIB));
    set(machine, devfn, BAR2, 0xd0000000);
    assert_false(is_at(machine, 20 * GIB));
    assert_true(is_at(machine, 20 * GIB + 0xd0000000));
    set(machine, devfn, BAR2, 0xc0000000);
    set(machine, devfn, BAR2 + 4, 0);
    assert_true(is_at(machine, 0xc0000000));
}

/* Where something else is, or nothing can be, it is not decoded, and the rest goes on. */
static void a_place_that_is_taken_is_not_decoded(void **state)
{
    static const uint64_t places[] = {
        VMM_ECAM_BASE,      /* which begins in it */
        VMM_IOAPIC_BASE,    /* not aligned for it: a part below */
        0xfff0000000000000, /* its end is that of all addresses */
    };
    struct machine *machine = *state;
    struct viommu_error error;
    int first = add(machine, 0, VMM_PCI_BAR_MEM64, true, MIB, &error);
    int second = add(machine, 0, VMM_PCI_BAR_MEM64, true, 256 * MIB, &error);
    uint64_t at = bar_of(machine, 0, second)->address;

    set(machine, second, BAR2 + 4, (uint32_t)(BASE >> 32));
    set(machine, second, BAR2, 0);
    assert_false(bar_of(machine, 0, second)->mapped);
    assert_true(is_at(machine, BASE));
    for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        set(machine, second, BAR2 + 4, (uint32_t)(places[i] >> 32));
        set(machine, second, BAR2, (uint32_t)places[i]);
        assert_int_equal(get(machine, first, 0), 0); /* ECAM is what it was */
    }
    set(machine, second, BAR2 + 4, (uint32_t)(at >> 32));
    set(machine, second, BAR2, (uint32_t)at);
    assert_true(is_at(machine, at));
    set(machine, first, BAR2 + 4, 0x7fffffff); /* the place that it leaves is free for the other */
    set(machine, second, BAR2 + 4, (uint32_t)(BASE >> 32));
    set(machine, second, BAR2, 0);
    assert_true(is_at(machine, BASE));
}

/* Of each the last page before it, or the first one behind it, can be had. */
static void nothing_lies_over_ram_or_apics_or_beyond_the_processor(void **state)
{
    static const struct {
        uint64_t address;
        bool decoded;
    } places[] = {
        {0, false}, /* RAM: all of it, the end, behind that */
        {0xa0000, false},
        {MACHINE_RAM - 0x1000, false},
        {MACHINE_RAM, true},
        {VMM_IOAPIC_BASE - 0x1000, true},
        {VMM_IOAPIC_BASE + 0x100000, false},
        {0xfed00000, false}, /* where HPETs are */
        {VMM_LAPIC_BASE, false},
        {VMM_LAPIC_BASE + 0xff000, false},
        {0xfffbd000, false},
        {VMM_HIGH_RAM_BASE - 0x1000, false},
        {VMM_HIGH_RAM_BASE, false}, /* the same above 4 GiB */
        {VMM_HIGH_RAM_BASE + GIB - 0x1000, false},
        {VMM_HIGH_RAM_BASE + GIB, true},
        {1024 * GIB - 0x1000, true}, /* 40 bits */
        {1024 * GIB, false},
        {UINT64_MAX - 0xfff, false},
    };
    struct machine *machine = *state;
    struct viommu_error error;
    int devfn = add(machine, 0, VMM_PCI_BAR_MEM64, true, 0x1000, &error);
    uint64_t home = bar_of(machine, 0, devfn)->address;

    machine->vm.ram.size += GIB;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        move(machine, devfn, places[i].address);
        assert_int_equal(is_at(machine, places[i].address), places[i].decoded);
        assert_int_equal(bar_of(machine, 0, devfn)->mapped, places[i].decoded);
        move(machine, devfn, home + GIB);
        assert_true(is_at(machine, home + GIB));
    }
    machine->vm.ram.size -= GIB;
}

/* One that begins in RAM and ends behind it, and one that reaches into the IOAPIC. */
static void a_part_over_something_is_enough(void **state)
{
    struct machine *machine = *state;
    struct viommu_error error;
    int devfn = add(machine, 0, VMM_PCI_BAR_MEM64, true, 2 * MACHINE_RAM, &error);
    uint64_t home = bar_of(machine, 0, devfn)->address;

    move(machine, devfn, 0);
    assert_false(is_at(machine, MACHINE_RAM));
    move(machine, devfn, 0xfe000000);
    assert_false(is_at(machine, 0xfe000000));
    move(machine, devfn, home);
    assert_true(is_at(machine, home));
}

/* Of two devices, in part: who was there first has all of it, and the other has its own when that
 * leaves. */
static void the_first_of_two_is_decoded(void **state)
{
    struct machine *machine = *state;
    struct viommu_error error;
    int small = add(machine, 0, VMM_PCI_BAR_MEM64, true, MIB, &error);
    int large = add(machine, 0, VMM_PCI_BAR_MEM64, true, 4 * MIB, &error);

    move(machine, small, 32 * GIB + 2 * MIB);
    move(machine, large, 32 * GIB);
    assert_false(is_at(machine, 32 * GIB));
    assert_true(is_at(machine, 32 * GIB + 2 * MIB));
    set(machine, small, COMMAND, 0);
    assert_true(is_at(machine, 32 * GIB));
    assert_false(is_at(machine, 32 * GIB + 2 * MIB));
    set(machine, small, COMMAND, MEMORY);
    assert_false(bar_of(machine, 0, small)->mapped);
    move(machine, small, 32 * GIB + 4 * MIB);
    assert_true(is_at(machine, 32 * GIB + 4 * MIB));
    assert_true(is_at(machine, 32 * GIB));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(prefetchable_ones_lie_above_4_gib),
        TEST(what_has_no_room_below_lies_above),
        TEST(what_has_no_room_above_lies_below),
        TEST(ram_is_not_in_the_way),
        TEST(segments_have_a_quarter_each),
        TEST(what_fits_nowhere_is_refused),
        TEST(a_reset_gives_the_same_places),
        TEST(a_size_has_two_halves),
        TEST(halves_are_written_in_any_order),
        TEST(a_place_that_is_taken_is_not_decoded),
        TEST(nothing_lies_over_ram_or_apics_or_beyond_the_processor),
        TEST(a_part_over_something_is_enough),
        TEST(the_first_of_two_is_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
