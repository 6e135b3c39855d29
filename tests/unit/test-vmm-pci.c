/* SPDX-License-Identifier: MIT */
/* The PCI framework of the VMM, with a function that has everything. */
#include "irq.h"
#include "machine.h"
#include "pci.h"
#include "pci_host.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLOT      1u
#define SLOT_PEER 5u /* shares the INTx line of SLOT: four slots further */

#define CONFIG_ADDRESS_PORT 0xcf8u
#define CONFIG_DATA_PORT    0xcfcu

#define MSIX_VECTORS 3u
#define MSIX_OFFSET  0x800u

struct toy {
    struct vmm_pci_function fn;
    uint64_t value;
    unsigned int resets;
    bool master;
};

static unsigned int destroyed;

static struct toy *toy_of(struct vmm_pci_function *fn)
{
    return vmm_container_of(fn, struct toy, fn);
}

static uint64_t toy_bar_read(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                             unsigned int size)
{
    (void)fn, (void)size;
    return (uint64_t)bar << 24 | offset;
}

static void toy_bar_write(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                          unsigned int size, uint64_t value)
{
    (void)bar, (void)offset, (void)size;
    toy_of(fn)->value = value;
}

static void toy_reset(struct vmm_pci_function *fn)
{
    toy_of(fn)->resets++;
}

static void toy_bus_master(struct vmm_pci_function *fn, bool enabled)
{
    toy_of(fn)->master = enabled;
}

static void toy_destroy(struct vmm_pci_function *fn)
{
    destroyed++;
    free(toy_of(fn));
}

static const struct vmm_pci_ops toy_ops = {
    .bar_read = toy_bar_read,
    .bar_write = toy_bar_write,
    .reset = toy_reset,
    .bus_master = toy_bus_master,
    .destroy = toy_destroy,
};

static const struct vmm_pci_identity toy_identity = {
    .name = "toy",
    .vendor = 0x1234,
    .device = 0x5678,
    .class_code = 0xff0000,
    .interrupt_pin = 1,
    .express = true,
};

static struct toy *add_toy(struct machine *machine, unsigned int slot)
{
    struct toy *toy = calloc(1, sizeof(*toy));
    struct viommu_error error;

    assert_non_null(toy);
    assert_int_equal(vmm_pci_function_init(&toy->fn, &machine->vm, (int)(slot << 3), &toy_identity,
                                           &toy_ops, &error),
                     0);
    vmm_pci_add_bar(&toy->fn, 0, VMM_PCI_BAR_MEM32, 0x1000);
    vmm_pci_add_bar(&toy->fn, 1, VMM_PCI_BAR_IO, 0x20);
    vmm_pci_add_bar(&toy->fn, 2, VMM_PCI_BAR_MEM64, 0x100000);
    vmm_pci_add_rom(&toy->fn, 0x8000);
    vmm_pci_add_msi(&toy->fn, 4);
    assert_int_equal(vmm_pci_add_msix(&toy->fn, MSIX_VECTORS, 0, MSIX_OFFSET), 0);
    assert_int_equal(vmm_pci_register(&toy->fn, &error), 0);
    return toy;
}

static struct toy *toys[32];

static int setup(void **state)
{
    struct machine *machine = machine_create("vtd", NULL);

    toys[SLOT] = add_toy(machine, SLOT);
    toys[SLOT_PEER] = add_toy(machine, SLOT_PEER);
    *state = machine;
    return 0;
}

static int teardown(void **state)
{
    machine_destroy(*state);
    return 0;
}

static uint32_t config(struct machine *machine, unsigned int offset, unsigned int size)
{
    return machine_config_read(machine, SLOT, offset, size);
}

static void set_config(struct machine *machine, unsigned int offset, unsigned int size,
                       uint32_t value)
{
    machine_config_write(machine, SLOT, offset, size, value);
}

static void both_ways_reach_the_same_space(void **state)
{
    struct machine *machine = *state;
    struct vmm_bus *pio = &machine->vm.pio;

    vmm_bus_write(pio, CONFIG_ADDRESS_PORT, 4, 0x80000000 | SLOT << 11);
    assert_int_equal(vmm_bus_read(pio, CONFIG_DATA_PORT, 4), 0x56781234);
    assert_int_equal(vmm_bus_read(pio, CONFIG_DATA_PORT + 2, 2), 0x5678);
    assert_int_equal(config(machine, 0, 4), 0x56781234);
    vmm_bus_write(pio, CONFIG_ADDRESS_PORT, 4, 0x80000000 | 9u << 11);
    assert_int_equal(vmm_bus_read(pio, CONFIG_DATA_PORT, 4), 0xffffffff);
    vmm_bus_write(pio, CONFIG_ADDRESS_PORT, 4, 0x80000000 | 1u << 16);
    assert_int_equal(vmm_bus_read(pio, CONFIG_DATA_PORT, 4), 0xffffffff);
    vmm_bus_write(pio, CONFIG_ADDRESS_PORT, 4, SLOT << 11);
    assert_int_equal(vmm_bus_read(pio, CONFIG_DATA_PORT, 4), 0xffffffff);
    assert_int_equal(machine_read(machine, VMM_ECAM_BASE + (SLOT << 15), 8) & 0xffffffff,
                     0x56781234);
}

static void read_only_fields_stay(void **state)
{
    struct machine *machine = *state;

    for (unsigned int offset = 0; offset < 0x10; offset += 4)
        set_config(machine, offset, 4, 0xffffffff);
    assert_int_equal(config(machine, 0, 4), 0x56781234);
    assert_int_equal(config(machine, 8, 4), 0xff000000);
    assert_int_equal(config(machine, 4, 2), 0x407);
    set_config(machine, 0xffc, 4, 0xffffffff);
    assert_int_equal(config(machine, 0xffc, 4), 0);
}

static void bars_tell_their_size_and_move(void **state)
{
    struct machine *machine = *state;
    uint64_t first = config(machine, 0x10, 4);

    assert_int_equal(machine_read(machine, first + 0x123, 1), 0x23);
    set_config(machine, 0x10, 4, 0xffffffff);
    assert_int_equal(config(machine, 0x10, 4), 0xfffff000);
    set_config(machine, 0x14, 4, 0xffffffff);
    assert_int_equal(config(machine, 0x14, 4), 0xffffffe1);
    set_config(machine, 0x18, 4, 0xffffffff);
    set_config(machine, 0x1c, 4, 0xffffffff);
    assert_int_equal(config(machine, 0x18, 4), 0xfff00004);
    assert_int_equal(config(machine, 0x1c, 4), 0xffffffff);
    assert_int_equal(machine_read(machine, first, 4), 0xffffffff);
    set_config(machine, 0x10, 4, 0xd0000000);
    assert_int_equal(machine_read(machine, 0xd0000010, 4), 0x10);
    set_config(machine, 0x1c, 4, 0x8);
    set_config(machine, 0x18, 4, 0);
    assert_int_equal(machine_read(machine, 0x8000ffffcull, 4), 0x20ffffc);
    set_config(machine, 4, 2, 0);
    assert_int_equal(machine_read(machine, 0xd0000010, 4), 0xffffffff);
}

static void a_rom_is_decoded_while_it_and_memory_are_enabled(void **state)
{
    struct machine *machine = *state;
    uint32_t first = config(machine, 0x30, 4);

    assert_int_equal(first & 0x7fff, 0);
    assert_int_not_equal(first, 0);
    assert_int_equal(machine_read(machine, first, 4), 0xffffffff);
    set_config(machine, 0x30, 4, 0xfffff800);
    assert_int_equal(config(machine, 0x30, 4), 0xffff8000);
    set_config(machine, 0x30, 4, first | 1);
    assert_int_equal(config(machine, 0x30, 4), first | 1);
    assert_int_equal(machine_read(machine, first + 0x7ffc, 4), 0x6007ffc);
    machine_write(machine, first, 4, 0x1234);
    assert_int_equal(toys[SLOT]->value, 0);
    set_config(machine, 0x30, 4, 0xd0000001);
    assert_int_equal(machine_read(machine, first, 4), 0xffffffff);
    assert_int_equal(machine_read(machine, 0xd0008000, 2), 0xffff);
    assert_int_equal(machine_read(machine, 0xd0000010, 2), 0x10);
    set_config(machine, 0x30, 1, 0);
    assert_int_equal(machine_read(machine, 0xd0000010, 2), 0xffff);
    set_config(machine, 0x30, 1, 1);
    assert_int_equal(machine_read(machine, 0xd0000010, 2), 0x10);
    set_config(machine, 4, 2, 0);
    assert_int_equal(machine_read(machine, 0xd0000010, 2), 0xffff);
}

static void a_rom_waits_for_a_bar(void **state)
{
    struct machine *machine = *state;

    set_config(machine, 0x10, 4, 0xd0000000);
    set_config(machine, 0x30, 4, 0xd0000001);
    assert_int_equal(machine_read(machine, 0xd0000010, 4), 0x10);
    assert_int_equal(machine_read(machine, 0xd0001010, 4), 0xffffffff);
    set_config(machine, 0x10, 4, 0xd8000000);
    assert_int_equal(machine_read(machine, 0xd0000010, 4), 0x6000010);
    set_config(machine, 0x18, 4, 0xd0000000); /* now the BAR waits */
    set_config(machine, 0x1c, 4, 0);
    assert_int_equal(machine_read(machine, 0xd0000010, 4), 0x6000010);
    set_config(machine, 0x30, 4, 0xd0000000);
    assert_int_equal(machine_read(machine, 0xd0000010, 4), 0x2000010);
}

/* It is of no use to most guests, so that it is no reason not to start. */
static void a_rom_without_room_gets_no_address(void **state)
{
    struct machine *machine = *state;
    struct toy *toy = calloc(1, sizeof(*toy));
    struct viommu_error error;

    assert_non_null(toy);
    assert_int_equal(
        vmm_pci_function_init(&toy->fn, &machine->vm, 9 << 3, &toy_identity, &toy_ops, &error), 0);
    vmm_pci_add_rom(&toy->fn, 0x80000000);
    assert_int_equal(vmm_pci_register(&toy->fn, &error), 0);
    assert_int_equal(machine_config_read(machine, 9, 0x30, 4), 0);
}

/* Of two BARs at one place the first stays; the other one is decoded when the first has gone. */
static void one_bar_waits_for_the_other(void **state)
{
    struct machine *machine = *state;

    set_config(machine, 0x10, 4, 0xd0000000);
    set_config(machine, 0x18, 4, 0xd0000000);
    set_config(machine, 0x1c, 4, 0);
    assert_int_equal(machine_read(machine, 0xd0000010, 4), 0x10);
    assert_int_equal(machine_read(machine, 0xd0001010, 4), 0xffffffff);
    set_config(machine, 0x10, 4, 0xd8000000);
    assert_int_equal(machine_read(machine, 0xd0001010, 4), 0x2001010);
    assert_int_equal(machine_read(machine, 0xd8000010, 4), 0x10);
}

static void enable_msi(struct machine *machine, unsigned int vectors_log2)
{
    unsigned int msi = machine_capability(machine, SLOT, 0x05, 0);

    set_config(machine, msi + 4, 4, 0xfee00000);
    set_config(machine, msi + 12, 2, 0x42);
    set_config(machine, msi + 2, 2, 1 | vectors_log2 << 4);
}

static void msi_is_sent_masked_and_sent_later(void **state)
{
    struct machine *machine = *state;
    unsigned int msi = machine_capability(machine, SLOT, 0x05, 0);
    struct vmm_pci_function *fn = &toys[SLOT]->fn;

    assert_false(vmm_pci_notify(fn, 0));
    enable_msi(machine, 2);
    assert_true(vmm_pci_notify(fn, 3));
    assert_int_equal(machine_messages(machine, 0x43), 1);
    assert_true(vmm_pci_notify(fn, 7));
    assert_int_equal(machine_messages(machine, 0x40), 1);
    set_config(machine, msi + 16, 4, 0xf);
    vmm_pci_notify(fn, 1);
    vmm_pci_notify(fn, 1);
    assert_int_equal(machine_messages(machine, 0x41), 0);
    assert_int_equal(config(machine, msi + 20, 4), 2);
    set_config(machine, msi + 16, 4, 0);
    assert_int_equal(machine_messages(machine, 0x41), 1);
    assert_int_equal(config(machine, msi + 20, 4), 0);
    set_config(machine, 4, 2, 0);
    vmm_pci_notify(fn, 1);
    assert_int_equal(machine_messages(machine, 0x41), 1);
}

static void msix_is_sent_masked_and_sent_later(void **state)
{
    struct machine *machine = *state;
    unsigned int msix = machine_capability(machine, SLOT, 0x11, 0);
    uint64_t table = config(machine, 0x10, 4) + MSIX_OFFSET;
    struct vmm_pci_function *fn = &toys[SLOT]->fn;

    assert_int_equal(config(machine, msix + 2, 2), MSIX_VECTORS - 1);
    assert_int_equal(machine_read(machine, table + 16 + 12, 4), 1);
    set_config(machine, msix + 2, 2, 0x8000);
    machine_write(machine, table + 16, 8, 0xfee00000);
    machine_write(machine, table + 16 + 8, 4, 0x55);
    assert_true(vmm_pci_notify(fn, 1));
    assert_int_equal(machine_messages(machine, 0x55), 0);
    assert_int_equal(machine_read(machine, table + 16 * MSIX_VECTORS, 8), 2);
    machine_write(machine, table + 16 + 12, 4, 0);
    assert_int_equal(machine_messages(machine, 0x55), 1);
    assert_int_equal(machine_read(machine, table + 16 * MSIX_VECTORS, 8), 0);
    set_config(machine, msix + 2, 2, 0xc000);
    vmm_pci_notify(fn, 1);
    assert_int_equal(machine_messages(machine, 0x55), 1);
    set_config(machine, msix + 2, 2, 0x8000);
    assert_int_equal(machine_messages(machine, 0x55), 2);
    assert_true(vmm_pci_notify(fn, MSIX_VECTORS));
    machine_write(machine, table + 16 * MSIX_VECTORS, 8, UINT64_MAX);
    assert_int_equal(machine_read(machine, table + 16 * MSIX_VECTORS, 8), 0);
}

static void functions_share_an_interrupt_line(void **state)
{
    struct machine *machine = *state;

    assert_int_equal(config(machine, 0x3c, 1), VMM_GSI_PCI_FIRST + SLOT % VMM_GSI_PCI_COUNT);
    vmm_pci_set_intx(&toys[SLOT]->fn, true);
    vmm_pci_set_intx(&toys[SLOT_PEER]->fn, true);
    assert_true(machine_line(machine, SLOT));
    vmm_pci_set_intx(&toys[SLOT_PEER]->fn, false);
    assert_true(machine_line(machine, SLOT));
    assert_int_equal(config(machine, 6, 2) & 8, 8);
    set_config(machine, 4, 2, 0x407);
    assert_false(machine_line(machine, SLOT));
    assert_int_equal(config(machine, 6, 2) & 8, 8);
    set_config(machine, 4, 2, 0x007);
    assert_true(machine_line(machine, SLOT));
    enable_msi(machine, 0);
    assert_false(machine_line(machine, SLOT));
}

static void function_level_reset_forgets(void **state)
{
    struct machine *machine = *state;
    unsigned int express = machine_capability(machine, SLOT, 0x10, 0);
    unsigned int msi = machine_capability(machine, SLOT, 0x05, 0);
    struct toy *toy = toys[SLOT];
    uint64_t bar = config(machine, 0x10, 4);

    enable_msi(machine, 2);
    vmm_pci_set_intx(&toy->fn, true);
    toy->master = true;
    set_config(machine, express + 8, 2, 0x8000);
    assert_int_equal(toy->resets, 1);
    assert_false(toy->master);
    assert_false(machine_line(machine, SLOT));
    assert_int_equal(config(machine, 4, 2), 0);
    assert_int_equal(config(machine, 0x10, 4), 0);
    assert_int_equal(config(machine, msi + 2, 2) & 1, 0);
    assert_int_equal(config(machine, express + 8, 2) & 0x8000, 0);
    assert_int_equal(machine_read(machine, bar, 4), 0xffffffff);
    assert_int_equal(machine_config_read(machine, SLOT_PEER, 4, 2), 7);
}

static void slots_are_taken_once(void **state)
{
    struct machine *machine = *state;
    struct vmm_pci_function fn;
    struct viommu_error error;

    assert_int_equal(
        vmm_pci_function_init(&fn, &machine->vm, (int)(SLOT << 3), &toy_identity, &toy_ops, &error),
        -EBUSY);
    for (unsigned int i = 0; i < 29; i++) {
        struct toy *toy = calloc(1, sizeof(*toy));

        assert_non_null(toy);
        assert_int_equal(vmm_pci_function_init(&toy->fn, &machine->vm, VMM_PCI_DEVFN_ANY,
                                               &toy_identity, &toy_ops, &error),
                         0);
        assert_int_equal(vmm_pci_register(&toy->fn, &error), 0);
    }
    assert_int_equal(vmm_pci_function_init(&fn, &machine->vm, VMM_PCI_DEVFN_ANY, &toy_identity,
                                           &toy_ops, &error),
                     -ENOSPC);
}

static void full_windows_are_refused(void **state)
{
    struct machine *machine = *state;
    struct vmm_pci_function fn;
    struct viommu_error error;

    assert_int_equal(vmm_pci_function_init(&fn, &machine->vm, VMM_PCI_DEVFN_ANY, &toy_identity,
                                           &toy_ops, &error),
                     0);
    vmm_pci_add_bar(&fn, 0, VMM_PCI_BAR_MEM32, 0x80000000);
    assert_int_equal(vmm_pci_register(&fn, &error), -ENOSPC);
    vmm_pci_function_fini(&fn);
}

/* Nothing that a guest writes into configuration space may do harm. */
static void random_writes_do_no_harm(void **state)
{
    struct machine *machine = *state;
    uint32_t random = 1;

    for (unsigned int i = 0; i < 200000; i++) {
        unsigned int size = 1u << (random >> 30 & 1) << (random >> 29 & 1);
        unsigned int offset = (random >> 8 & 0x1ff) & ~(size - 1);
        unsigned int slot = random >> 20 & 1 ? SLOT : SLOT_PEER;

        random = random * 1664525 + 1013904223;
        machine_config_write(machine, slot, offset, size, random ^ random >> 13);
        machine_write(machine, random & 0xfffffff8, 8, random);
        vmm_pci_notify(&toys[slot]->fn, random & 7);
        vmm_pci_set_intx(&toys[slot]->fn, random & 16);
    }
    assert_int_equal(config(machine, 0, 4), 0x56781234);
}

static void all_functions_are_destroyed(void **state)
{
    struct machine *machine = machine_create(NULL, NULL);

    (void)state;
    destroyed = 0;
    add_toy(machine, SLOT);
    add_toy(machine, SLOT_PEER);
    machine_destroy(machine);
    assert_int_equal(destroyed, 2);
}

static void a_slot_without_function_0_is_refused(void **state)
{
    struct machine *machine = *state;
    struct toy *toy = calloc(1, sizeof(*toy));
    struct viommu_error error;

    assert_non_null(toy);
    assert_int_equal(vmm_pci_host_check(&machine->vm, &error), 0);
    assert_int_equal(
        vmm_pci_function_init(&toy->fn, &machine->vm, 9 << 3 | 1, &toy_identity, &toy_ops, &error),
        0);
    assert_int_equal(vmm_pci_register(&toy->fn, &error), 0);
    assert_int_equal(vmm_pci_host_check(&machine->vm, &error), -EINVAL);
    assert_string_equal(error.message,
                        "toy is function 1 of slot 09, which has no function 0, without which a "
                        "guest does not find it; give that place to a device by addr=09.0");
    add_toy(machine, 9);
    assert_int_equal(vmm_pci_host_check(&machine->vm, &error), 0);
}

#define WITH_TOYS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TOYS(both_ways_reach_the_same_space),
        WITH_TOYS(read_only_fields_stay),
        WITH_TOYS(bars_tell_their_size_and_move),
        WITH_TOYS(one_bar_waits_for_the_other),
        WITH_TOYS(a_rom_is_decoded_while_it_and_memory_are_enabled),
        WITH_TOYS(a_rom_waits_for_a_bar),
        WITH_TOYS(a_rom_without_room_gets_no_address),
        WITH_TOYS(msi_is_sent_masked_and_sent_later),
        WITH_TOYS(msix_is_sent_masked_and_sent_later),
        WITH_TOYS(functions_share_an_interrupt_line),
        WITH_TOYS(function_level_reset_forgets),
        WITH_TOYS(slots_are_taken_once),
        WITH_TOYS(a_slot_without_function_0_is_refused),
        WITH_TOYS(full_windows_are_refused),
        WITH_TOYS(random_writes_do_no_harm),
        cmocka_unit_test(all_functions_are_destroyed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
