/* SPDX-License-Identifier: MIT */
/* The edu function in a machine: emulated, and assigned from the simulated host. */
#include "device.h"
#include "machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <viommu/soft.h>

#include <cmocka.h>

#define SLOT    1u
#define VECTOR  0x51u
#define BUFFER  0x40000u
#define COMMAND 4u
#define MASTER  4u

/* The same device by two ways; each test runs on both, with translation off. */
static const struct way {
    const char *viommu, *host, *device;
} ways[] = {
    {NULL, NULL, "edu"},
    {"vtd", "soft", "edu,assign=soft"},
    {NULL, "soft,cache=none", "edu,assign=soft,dma-mask=0xffffffff"},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static struct machine *plug(const struct way *way)
{
    struct machine *machine = machine_create(way->viommu, way->host);
    struct viommu_error error;

    if (vmm_device_create(&machine->vm, way->device, &error))
        fail_msg("%s: %s", way->device, error.message);
    return machine;
}

static uint64_t bar(struct machine *machine)
{
    return machine_config_read(machine, SLOT, 0x10, 4) & ~0xfu;
}

static uint32_t get(struct machine *machine, unsigned int offset)
{
    return (uint32_t)machine_read(machine, bar(machine) + offset, 4);
}

static void set(struct machine *machine, unsigned int offset, uint64_t value)
{
    machine_write(machine, bar(machine) + offset, offset < 0x80 ? 4 : 8, value);
}

static void transfer(struct machine *machine, uint64_t from, uint64_t to, uint64_t command)
{
    set(machine, 0x80, from);
    set(machine, 0x88, to);
    set(machine, 0x90, 4096);
    set(machine, 0x98, command);
}

static void test_identity(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct machine *machine = plug(&ways[i]);

        assert_int_equal(machine_config_read(machine, SLOT, 0, 4), 0x11e81234);
        assert_int_equal(get(machine, 0), 0x010000ed);
        assert_int_equal(machine_read(machine, bar(machine) + 0xffffc, 4), UINT32_MAX);
        machine_destroy(machine);
    }
}

static void test_dma(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct machine *machine = plug(&ways[i]);
        uint8_t *memory = machine_ram(machine, 0x3000);

        for (unsigned int j = 0; j < 4096; j++)
            memory[j] = (uint8_t)(j * 13 + i);
        transfer(machine, 0x3000, BUFFER, 1);
        transfer(machine, BUFFER, 0x5800, 3);
        assert_memory_equal(memory, machine_ram(machine, 0x5800), 4096);
        machine_destroy(machine);
    }
}

/* No memory there; or the guest does not let the function be a bus master. */
static void test_refused_dma(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct machine *machine = plug(&ways[i]);
        uint32_t command = machine_config_read(machine, SLOT, COMMAND, 2);

        memset(machine_ram(machine, 0x3000), 0x11, 4096);
        transfer(machine, 0x3000, BUFFER, 1);
        transfer(machine, MACHINE_RAM, BUFFER, 1);
        transfer(machine, BUFFER, 0x5000, 3);
        assert_memory_equal(machine_ram(machine, 0x3000), machine_ram(machine, 0x5000), 4096);
        machine_config_write(machine, SLOT, COMMAND, 2, command & ~MASTER);
        transfer(machine, BUFFER, 0x7000, 3);
        assert_int_equal(*(uint32_t *)machine_ram(machine, 0x7000), 0);
        machine_config_write(machine, SLOT, COMMAND, 2, command | MASTER);
        transfer(machine, BUFFER, 0x7000, 3);
        assert_int_equal(*(uint32_t *)machine_ram(machine, 0x7000), 0x11111111);
        machine_destroy(machine);
    }
}

static void test_interrupts(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct machine *machine = plug(&ways[i]);
        unsigned int msi = machine_capability(machine, SLOT, 5, 0);

        set(machine, 0x60, 6);
        assert_true(machine_line(machine, SLOT));
        set(machine, 0x64, 2);
        assert_true(machine_line(machine, SLOT));
        set(machine, 0x64, 4);
        assert_false(machine_line(machine, SLOT));

        machine_config_write(machine, SLOT, msi + 4, 4, VMM_LAPIC_BASE);
        machine_config_write(machine, SLOT, msi + 12, 2, VECTOR);
        machine_config_write(machine, SLOT, msi + 2, 2, 1);
        set(machine, 0x60, 8);
        transfer(machine, 0x3000, BUFFER, 5);
        assert_int_equal(get(machine, 0x24), 0x108);
        assert_int_equal(machine_messages(machine, VECTOR), 2);
        assert_false(machine_line(machine, SLOT));
        machine_destroy(machine);
    }
}

#define REMAP_TABLE 0x10000u

/* Emulated and assigned, behind a unit that remaps interrupts (VT-d 5.0, 5.1, 9.9). */
static void test_remapped_interrupts(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct way way = {"vtd,intremap=on", "soft", ways[i].device};
        struct machine *machine = plug(&way);
        unsigned int msi = machine_capability(machine, SLOT, 5, 0);
        uint64_t *table;

        table = machine_ram(machine, REMAP_TABLE);
        table[6] = 1 | (VECTOR + 1) << 16;
        table[7] = UINT64_C(1) << 18 | SLOT << 3;
        machine_write(machine, VMM_VIOMMU_BASE + 0xb8, 8, REMAP_TABLE | 7);
        machine_write(machine, VMM_VIOMMU_BASE + 0x18, 4, 1u << 24);
        machine_write(machine, VMM_VIOMMU_BASE + 0x18, 4, 1u << 25);
        machine_config_write(machine, SLOT, msi + 4, 4, VMM_LAPIC_BASE | 3 << 5 | 1 << 4);
        machine_config_write(machine, SLOT, msi + 12, 2, VECTOR);
        machine_config_write(machine, SLOT, msi + 2, 2, 1);
        set(machine, 0x60, 8);
        assert_int_equal(machine_messages(machine, VECTOR + 1), 1);
        table[7]++; /* another function's */
        set(machine, 0x60, 8);
        machine_config_write(machine, SLOT, msi + 4, 4, VMM_LAPIC_BASE);
        set(machine, 0x60, 8);
        assert_int_equal(machine_messages(machine, VECTOR + 1), 1);
        assert_int_equal(machine_messages(machine, VECTOR), 0);
        machine_destroy(machine);
    }
}

/* Function-level reset, as vfio-pci does it: PCIe capability, device control, bit 15. */
static void test_function_level_reset(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct machine *machine = plug(&ways[i]);
        unsigned int express = machine_capability(machine, SLOT, 0x10, 0);
        uint64_t address = bar(machine);

        assert_true(machine_config_read(machine, SLOT, express + 4, 4) & 1u << 28);
        set(machine, 0x04, 5);
        set(machine, 0x60, 1);
        machine_config_write(machine, SLOT, express + 8, 2, 0x8000);
        assert_false(machine_line(machine, SLOT));
        machine_config_write(machine, SLOT, 0x10, 4, (uint32_t)address);
        machine_config_write(machine, SLOT, COMMAND, 2, 6);
        assert_int_equal(get(machine, 0x04), 0);
        assert_int_equal(get(machine, 0x24), 0);
        machine_destroy(machine);
    }
}

static uint64_t bound_devices(struct machine *machine)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    viommu_soft_get_census(machine->vm.host, &census);
    assert_int_equal(census.attachments, census.bound_devices);
    assert_int_equal(census.ioas > 0, census.bound_devices > 0);
    return census.bound_devices;
}

/* A host that cannot nest: refused with the reason, and the host is as before. */
static void test_refused_attach(void **state)
{
    struct machine *machine;
    struct viommu_error error;
    const char *device = "edu,assign=soft";
    char host[128];
    unsigned int refused = 0;

    (void)state;
    for (size_t i = 0; i < viommu_soft_profile_count(); i++) {
        snprintf(host, sizeof(host), "soft,profile=%s", viommu_soft_profile_name(i));
        machine = machine_create("vtd", host);
        error.message[0] = 0;
        if (vmm_device_create(&machine->vm, device, &error)) {
            refused++;
            assert_true(strlen(error.message) > 20);
            assert_int_equal(bound_devices(machine), 0);
            assert_int_equal(machine_config_read(machine, SLOT, 0, 4), UINT32_MAX);
        } else {
            assert_int_equal(bound_devices(machine), 1);
        }
        machine_destroy(machine);
    }
    assert_true(refused > 0);
    assert_true(refused < viommu_soft_profile_count());
}

static void test_two_assigned(void **state)
{
    struct machine *machine = plug(&ways[1]);
    struct viommu_error error;

    (void)state;
    assert_int_equal(vmm_device_create(&machine->vm, "edu,assign=soft", &error), 0);
    assert_int_equal(bound_devices(machine), 2);
    machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_dma),
        cmocka_unit_test(test_refused_dma),
        cmocka_unit_test(test_interrupts),
        cmocka_unit_test(test_remapped_interrupts),
        cmocka_unit_test(test_function_level_reset),
        cmocka_unit_test(test_refused_attach),
        cmocka_unit_test(test_two_assigned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
