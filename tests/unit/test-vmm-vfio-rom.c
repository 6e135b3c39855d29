/* SPDX-License-Identifier: MIT */
/* The expansion ROM of a VFIO device, as the guest sees it. */
#include "complaints.h"
#include "device.h"
#include "pci_host.h"
#include "unit.h"
#include "vfio-rig.h"

#define ROM    0x30u
#define ENABLE 0x1u

static struct machine *machine_with_rom(uint64_t size)
{
    struct machine *machine = vfio_rig_bare_machine();
    struct viommu_error error;

    fake_vfio_reset();
    fake.sizes[VFIO_PCI_ROM_REGION_INDEX] = size;
    if (vfio_rig_try_device(machine, &error))
        fail_msg("%s", error.message);
    return machine;
}

/* Returns the address, of an enabled one. */
static uint64_t enable(struct machine *machine)
{
    uint32_t address = vfio_rig_config(machine, ROM, 4) & ~0x7ffu;

    vfio_rig_set_config(machine, ROM, 4, address | ENABLE);
    return address;
}

static void disable(struct machine *machine)
{
    vfio_rig_set_config(machine, ROM, 1, 0);
}

static void heard(const char *words)
{
    const char *said = complaints_heard();

    if (!strstr(said, words) || (!*words && *said))
        fail_msg("'%s' is not what was said: '%s'", words, said);
}

static void the_guest_reads_what_the_device_has(void **state)
{
    struct machine *machine = machine_with_rom(0x2000);
    uint64_t address;

    (void)state;
    complaints_listen();
    address = enable(machine);
    for (unsigned int at = 0; at < 0x2000; at += 8) {
        uint64_t expected;

        memcpy(&expected, fake.rom + at, 8);
        assert_int_equal(machine_read(machine, address + at, 8), expected);
    }
    assert_int_equal(machine_read(machine, address, 2), 0xaa55);
    assert_int_equal(machine_read(machine, address + 0x1fff, 1), fake.rom[0x1fff]);
    assert_int_equal(fake.rom_reads, 1);
    heard("");
    vfio_rig_bare_machine_destroy(machine);
}

static void it_is_read_when_it_is_enabled(void **state)
{
    struct machine *machine = machine_with_rom(0x800);
    uint64_t address;

    (void)state;
    assert_int_equal(fake.rom_reads, 0);
    address = enable(machine);
    assert_int_equal(machine_read(machine, address + 4, 1), 4);
    fake.rom[4] = 0x77;
    assert_int_equal(machine_read(machine, address + 4, 1), 4);
    disable(machine);
    assert_int_equal(machine_read(machine, address + 4, 1), 0xff);
    enable(machine);
    assert_int_equal(machine_read(machine, address + 4, 1), 0x77);
    assert_int_equal(fake.rom_reads, 2);
    vfio_rig_bare_machine_destroy(machine);
}

static void sizes_are_powers_of_two(void **state)
{
    static const struct {
        uint64_t size;
        uint32_t mask;
    } rows[] = {{0x800, 0xfffff800}, {0x1000, 0xfffff000}, {0x200, 0xfffff800},
                {1, 0xfffff800},     {0xa00, 0xfffff000},  {0x2e00, 0xffffc000}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct machine *machine = machine_with_rom(rows[i].size);
        uint64_t address = enable(machine);
        uint64_t last = rows[i].size - 1, end = ~rows[i].mask;

        assert_int_equal(machine_read(machine, address + last, 1), fake.rom[last]);
        if (last < end) {
            assert_int_equal(machine_read(machine, address + last + 1, 1), 0xff);
            assert_int_equal(machine_read(machine, address + end, 1), 0xff);
        }
        if (last >= 4 && last < end) /* across the end of what there is */
            assert_int_equal(machine_read(machine, address + last - 1, 4),
                             0xffff0000 | fake.rom[last] << 8 | fake.rom[last - 1]);
        vfio_rig_set_config(machine, ROM, 4, 0xfffff800);
        assert_int_equal(vfio_rig_config(machine, ROM, 4), rows[i].mask);
        vfio_rig_set_config(machine, ROM, 4, 0xffffffff);
        assert_int_equal(vfio_rig_config(machine, ROM, 4), rows[i].mask | ENABLE);
        vfio_rig_bare_machine_destroy(machine);
    }
}

static void the_guest_moves_it_and_does_not_write_it(void **state)
{
    struct machine *machine = machine_with_rom(0x1000);
    uint64_t address = enable(machine);

    (void)state;
    vfio_rig_set_config(machine, ROM, 4, 0xd0000000 | ENABLE);
    assert_int_equal(machine_read(machine, address, 2), 0xffff);
    assert_int_equal(machine_read(machine, 0xd0000000, 2), 0xaa55);
    machine_write(machine, 0xd0000000, 4, 0);
    disable(machine);
    vfio_rig_set_config(machine, ROM, 4, 0xd0000000 | ENABLE);
    assert_int_equal(machine_read(machine, 0xd0000000, 2), 0xaa55);
    /* Under a BAR it waits. */
    vfio_rig_set_config(machine, 0x14, 4, 0);
    vfio_rig_set_config(machine, 0x10, 4, 0xd8000000);
    vfio_rig_set_config(machine, ROM, 4, 0xd8002000 | ENABLE);
    memcpy(fake.bar + 0x2000, "\x12\x34", 2);
    assert_int_not_equal(machine_read(machine, 0xd8002000, 2), 0xaa55);
    vfio_rig_set_config(machine, 0x10, 4, 0xd0000000);
    assert_int_equal(machine_read(machine, 0xd8002000, 2), 0xaa55);
    /* Without memory decoding it is not there. */
    vfio_rig_set_config(machine, COMMAND, 2, MASTER);
    assert_int_equal(machine_read(machine, 0xd8002000, 2), 0xffff);
    vfio_rig_bare_machine_destroy(machine);
}

static void a_reset_forgets_where_it_was(void **state)
{
    struct machine *machine = machine_with_rom(0x1000);
    uint64_t address = enable(machine);
    struct viommu_error error;

    (void)state;
    vfio_rig_set_config(machine, FAKE_EXPRESS + 8, 2, 0x8000);
    assert_int_equal(vfio_rig_config(machine, ROM, 4), 0);
    vfio_rig_set_config(machine, COMMAND, 2, MEMORY);
    assert_int_equal(machine_read(machine, address, 2), 0xffff);
    vmm_pci_host_reset(&machine->vm);
    assert_int_equal(vmm_pci_host_start(&machine->vm, &error), 0);
    assert_int_equal(vfio_rig_config(machine, ROM, 4), address);
    assert_int_equal(machine_read(machine, enable(machine), 2), 0xaa55);
    vfio_rig_bare_machine_destroy(machine);
}

static void there_is_none(struct machine *machine)
{
    assert_int_equal(vfio_rig_config(machine, ROM, 4), 0);
    vfio_rig_set_config(machine, ROM, 4, 0xffffffff);
    assert_int_equal(vfio_rig_config(machine, ROM, 4), 0);
    vfio_rig_bare_machine_destroy(machine);
}

static void without_a_region_there_is_none(void **state)
{
    (void)state;
    complaints_listen();
    there_is_none(machine_with_rom(0));
    heard("");
}

static void a_rom_beyond_the_limit_is_told_of_and_not_shown(void **state)
{
    (void)state;
    complaints_listen();
    there_is_none(machine_with_rom((16u << 20) + 1));
    heard("has an expansion ROM that the guest cannot read: it has 16777217 bytes, more than 16 "
          "MiB; hide it by rom=off\n");
}

static void what_cannot_be_read_is_ones_and_told_of_once(void **state)
{
    static const size_t readable[] = {0, 0x600};

    (void)state;
    for (size_t i = 0; i < COUNT(readable); i++) {
        struct machine *machine = machine_with_rom(0x1000);
        const char *said;

        fake.rom_readable = readable[i];
        complaints_listen();
        for (int again = 0; again < 2; again++) {
            uint64_t address = enable(machine);

            assert_int_equal(machine_read(machine, address, 2), readable[i] ? 0xaa55 : 0xffff);
            assert_int_equal(machine_read(machine, address + 0x600, 8), UINT64_MAX);
            disable(machine);
        }
        said = complaints_heard();
        assert_string_equal(said, "viommu: warning: vfio test has an expansion ROM that the guest "
                                  "cannot read: Input/output error\n");
        fake.rom_readable = FAKE_ROM_SIZE; /* and the next time it can */
        assert_int_equal(machine_read(machine, enable(machine) + 0x600, 1), fake.rom[0x600]);
        vfio_rig_bare_machine_destroy(machine);
    }
}

static void a_device_that_is_gone_reads_as_ones(void **state)
{
    struct machine *machine = machine_with_rom(0x1000);
    struct viommu_error error;

    (void)state;
    complaints_listen();
    enable(machine);
    assert_int_equal(vmm_pci_unplug(&machine->vm, 0, SLOT << 3, &error), 0);
    assert_int_equal(vmm_vfio_bar_read(&vfio->fn, VMM_PCI_ROM, 0, 2) & 0xffff, 0xffff);
    heard("");
    vfio_rig_bare_machine_destroy(machine);
}

static void the_option_is_on_or_off(void **state)
{
    struct machine *machine = machine_create(NULL, "soft");
    struct viommu_error error;

    (void)state;
    assert_int_equal(vmm_device_create(&machine->vm, "vfio,host=3a:00.0,rom=maybe", &error),
                     -EINVAL);
    assert_string_equal(error.message, "vfio: rom=maybe is neither on nor off");
    assert_true(vmm_device_create(&machine->vm, "vfio,host=3a:00.0,rom=off", &error) < 0);
    assert_null(strstr(error.message, "rom"));
    machine_destroy(machine);
}

static void what_is_hidden_is_not_shown(void **state)
{
    struct machine *machine = vfio_rig_bare_machine();
    struct viommu_error error;

    (void)state;
    fake_vfio_reset();
    fake.sizes[VFIO_PCI_ROM_REGION_INDEX] = 0x1000;
    hide_rom = true;
    assert_int_equal(vfio_rig_try_device(machine, &error), 0);
    hide_rom = false;
    there_is_none(machine);
    assert_int_equal(fake.rom_reads, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_guest_reads_what_the_device_has),
        cmocka_unit_test(it_is_read_when_it_is_enabled),
        cmocka_unit_test(sizes_are_powers_of_two),
        cmocka_unit_test(the_guest_moves_it_and_does_not_write_it),
        cmocka_unit_test(a_reset_forgets_where_it_was),
        cmocka_unit_test(without_a_region_there_is_none),
        cmocka_unit_test(a_rom_beyond_the_limit_is_told_of_and_not_shown),
        cmocka_unit_test(what_cannot_be_read_is_ones_and_told_of_once),
        cmocka_unit_test(a_device_that_is_gone_reads_as_ones),
        cmocka_unit_test(the_option_is_on_or_off),
        cmocka_unit_test(what_is_hidden_is_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
