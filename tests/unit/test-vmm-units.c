/* SPDX-License-Identifier: MIT */
/* Several vIOMMUs and several PCI segments in the machine, and what the guest is told of them. */
#include "acpi/tables.h"
#include "boot.h"
#include "device.h"
#include "library.h"
#include "machine.h"
#include "pci.h"
#include "pci_host.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <viommu.h>

#include <cmocka.h>

#define RTADDR 0x20
#define GCMD   0x18
#define ECAP   0x10
#define FSTS   0x34
#define SRTP   (1u << 30)
#define TE     (1u << 31)
#define PPF    2u

static const char *const three_units[] = {"vtd,node=2", "vtd,scope=02.0", "vtd,segment=1"};

static void add_device(struct machine *machine, const char *option)
{
    struct viommu_error error;

    if (vmm_device_create(&machine->vm, option, &error))
        fail_msg("%s: %s", option, error.message);
}

/* Functions, in the order of their creation: host bridge, 01.0, 02.0, bridge of segment 1, 01.0. */
static struct machine *create_three(void)
{
    struct machine *machine = machine_create_units(three_units, 3, "soft,iommus=2");
    struct viommu_error error;

    add_device(machine, "edu,rmrr=0x10000");
    add_device(machine, "edu,rmrr=4096");
    add_device(machine, "edu,segment=1");
    add_device(machine, "edu,segment=1,assign=soft,iommu=1");
    if (vmm_units_check(&machine->vm, &error))
        fail_msg("%s", error.message);
    return machine;
}

static struct vmm_pci_function *function_at(struct machine *machine, unsigned int segment,
                                            unsigned int slot)
{
    struct vmm_pci_function *fn = NULL;

    while ((fn = vmm_pci_next(&machine->vm, fn)))
        if (fn->id.segment == segment && fn->devfn == slot << 3)
            return fn;
    fail_msg("there is no %u:00:%02x.0", segment, slot);
    return NULL;
}

static void test_segments(void **state)
{
    struct machine *machine = create_three();
    uint64_t ecam = VMM_ECAM_BASE + VMM_ECAM_SIZE, bar;

    (void)state;
    assert_int_equal(machine_read(machine, ecam, 4), 0x00081b36);
    assert_int_equal(machine_read(machine, ecam + (1 << 15), 4), 0x11e81234);
    assert_int_equal(machine_read(machine, ecam + (3 << 15), 4), UINT32_MAX);
    assert_int_equal(machine_read(machine, ecam + VMM_ECAM_SIZE, 4), UINT32_MAX);
    bar = machine_read(machine, ecam + (1 << 15) + 0x10, 4) & ~0xfull;
    assert_int_equal(bar, VMM_FAR_WINDOW_BASE);
    assert_int_equal(machine_read(machine, bar, 4), 0x010000ed); /* edu's identification */
    assert_false(vmm_pci_has_segment(&machine->vm, 2));
    machine_destroy(machine);
}

static void test_who_is_behind_whom(void **state)
{
    struct machine *machine = create_three();
    const struct vmm_unit *units = machine->vm.units;

    (void)state;
    assert_ptr_equal(vmm_unit_of(function_at(machine, 0, 0)), &units[0]);
    assert_ptr_equal(vmm_unit_of(function_at(machine, 0, 1)), &units[0]);
    assert_ptr_equal(vmm_unit_of(function_at(machine, 0, 2)), &units[1]);
    assert_ptr_equal(vmm_unit_of(function_at(machine, 1, 1)), &units[2]);
    machine_destroy(machine);
}

/* A device that no unit names, beside one that is: virtio offers ACCESS_PLATFORM to the latter. */
static void test_behind_none(void **state)
{
    static const char *const one[] = {"vtd,scope=01.0"};
    struct machine *machine = machine_create_units(one, 1, NULL);
    struct vmm_pci_function *fn;

    (void)state;
    add_device(machine, "edu");
    add_device(machine, "edu");
    fn = function_at(machine, 0, 2);
    assert_null(vmm_unit_of(fn));
    assert_ptr_equal(viommu_pci_device_get_address_space(fn->viommu), machine->vm.plain);
    fn = function_at(machine, 0, 1);
    assert_ptr_not_equal(viommu_pci_device_get_address_space(fn->viommu), machine->vm.plain);
    machine_destroy(machine);
}

static uint64_t unit_read(struct machine *machine, unsigned int unit, unsigned int offset)
{
    return machine_read(machine, machine->vm.units[unit].base + offset, 4);
}

/* With translation on and no tables, each device's DMA faults in its own unit and in no other. */
static void check_fault(struct machine *machine, struct vmm_pci_function *fn, unsigned int unit)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    uint32_t value;

    for (unsigned int i = 0; i < 3; i++)
        viommu_reset(machine->vm.units[i].viommu);
    for (unsigned int i = 0; i < 3; i++) {
        uint64_t base = machine->vm.units[i].base;

        machine_write(machine, base + RTADDR, 8, 0x10000);
        machine_write(machine, base + GCMD, 4, SRTP);
        machine_write(machine, base + GCMD, 4, TE);
    }
    request.length = sizeof(value);
    request.requester_id = fn->devfn;
    assert_true(viommu_dma_read(viommu_pci_device_get_address_space(fn->viommu), &request, &value,
                                &result));
    for (unsigned int i = 0; i < 3; i++)
        assert_int_equal(unit_read(machine, i, FSTS) & PPF, i == unit ? PPF : 0);
}

static void test_faults_go_to_the_unit(void **state)
{
    struct machine *machine = create_three();

    (void)state;
    check_fault(machine, function_at(machine, 0, 1), 0);
    check_fault(machine, function_at(machine, 0, 2), 1);
    check_fault(machine, function_at(machine, 1, 1), 2);
    machine_destroy(machine);
}

/* ACPI */

struct table {
    const uint8_t *bytes;
    size_t length;
};

/* The n-th table of a kind. */
static struct table find_table(struct machine *machine, const char *signature, unsigned int n)
{
    const uint8_t *area = machine_ram(machine, VMM_ACPI_BASE);
    struct table table = {0};

    for (size_t at = 0; at < VMM_ACPI_SIZE; at += 16) {
        if (memcmp(area + at, signature, 4) || n--)
            continue;
        table.bytes = area + at;
        memcpy(&table.length, area + at + 4, 4);
        break;
    }
    return table;
}

static void build_tables(struct machine *machine)
{
    struct viommu_error error;
    uint64_t rsdp;

    machine->options.cpus = 1;
    if (vmm_acpi_build(&machine->vm, &rsdp, &error))
        fail_msg("%s", error.message);
}

static uint64_t field(const struct table *table, size_t offset, unsigned int size)
{
    uint64_t value = 0;

    assert_true(offset + size <= table->length);
    memcpy(&value, table->bytes + offset, size);
    return value;
}

/* Type, length and the first fields of the structures, one behind the other. */
#define IOAPIC_SCOPE UINT64_C(0x0000ff0000000803) /* by the ID that its messages carry */

static void check_remapping(const char *viommu, bool remaps, bool extended)
{
    struct machine *machine = machine_create(viommu, NULL);
    struct table dmar;

    build_tables(machine);
    dmar = find_table(machine, "DMAR", 0);
    assert_non_null(dmar.bytes);
    assert_int_equal(field(&dmar, 37, 1), remaps);
    assert_int_equal(field(&dmar, 48, 4), remaps ? 24u << 16 : 16u << 16);
    if (remaps)
        assert_int_equal(field(&dmar, 64, 8), IOAPIC_SCOPE);
    assert_int_equal(unit_read(machine, 0, ECAP) >> 3 & 3, remaps | extended << 1);
    machine_destroy(machine);
}

/* A unit remaps interrupts unless told otherwise, and has the IOAPIC in its scope then. */
static void test_remapping(void **state)
{
    (void)state;
    check_remapping("vtd", true, true);
    check_remapping("vtd,eim=off", true, false);
    check_remapping("vtd,intremap=on,eim=on", true, true);
    check_remapping("vtd,intremap=off", false, false);
}

/* The library's part of a machine whose KVM has no x2APIC; returns what making it did. */
static int without_x2apic(const char *viommu, struct viommu_error *error, uint64_t *ecap)
{
    struct machine *machine = machine_create(NULL, NULL);
    struct vmm_options options = {.viommus = &viommu, .viommu_count = 1};
    struct vmm vm = {.options = &options, .ram = machine->vm.ram};
    int ret;

    assert_int_equal(vmm_bus_init(&vm.mmio), 0);
    ret = vmm_library_create(&vm, error);
    if (!ret)
        *ecap = viommu_mmio_read(vm.units[0].viommu, ECAP, 8);
    vmm_library_destroy(&vm);
    vmm_bus_fini(&vm.mmio);
    machine_destroy(machine);
    return ret;
}

static void test_extended_needs_kvm(void **state)
{
    struct viommu_error error;
    uint64_t ecap = 0;

    (void)state;
    assert_int_equal(without_x2apic("vtd", &error, &ecap), 0);
    assert_int_equal(ecap >> 3 & 3, 1);
    assert_int_equal(without_x2apic("vtd,eim=on", &error, &ecap), -ENOTSUP);
    assert_non_null(strstr(error.message, "KVM_CAP_X2APIC_API"));
}

static void test_dmar(void **state)
{
    struct machine *machine = create_three();
    uint64_t low = MACHINE_RAM - 0x10000;
    struct table dmar;

    (void)state;
    build_tables(machine);
    dmar = find_table(machine, "DMAR", 0);
    assert_non_null(dmar.bytes);
    assert_int_equal(field(&dmar, 48, 4), 24u << 16); /* the scoped unit comes first */
    assert_int_equal(field(&dmar, 56, 8), VMM_VIOMMU_BASE + VMM_VIOMMU_STRIDE);
    assert_int_equal(field(&dmar, 64, 8), UINT64_C(0x0002000000000801));
    assert_int_equal(field(&dmar, 72, 4), 24u << 16);
    assert_int_equal(field(&dmar, 76, 1), 1);
    assert_int_equal(field(&dmar, 80, 8), VMM_VIOMMU_BASE);
    assert_int_equal(field(&dmar, 88, 8), IOAPIC_SCOPE);
    assert_int_equal(field(&dmar, 102, 2), 1); /* segment */
    assert_int_equal(field(&dmar, 104, 8), VMM_VIOMMU_BASE + 2 * VMM_VIOMMU_STRIDE);
    assert_int_equal(field(&dmar, 112, 4), 32u << 16 | 1);
    assert_int_equal(field(&dmar, 120, 8), low);
    assert_int_equal(field(&dmar, 128, 8), low + 0xffff);
    assert_int_equal(field(&dmar, 142, 1), 1); /* of 01.0 */
    assert_int_equal(field(&dmar, 144, 4), 32u << 16 | 1);
    assert_int_equal(field(&dmar, 152, 8), low - 0x1000);
    assert_int_equal(field(&dmar, 176, 4), 20u << 16 | 3);
    assert_int_equal(field(&dmar, 184, 8), VMM_VIOMMU_BASE);
    assert_int_equal(field(&dmar, 192, 4), 2);
    assert_int_equal(dmar.length, 196);
    machine_destroy(machine);
}

static void test_segments_are_told(void **state)
{
    struct machine *machine = create_three();
    struct table mcfg;

    (void)state;
    build_tables(machine);
    mcfg = find_table(machine, "MCFG", 0);
    assert_int_equal(mcfg.length, 44 + 2 * 16);
    assert_int_equal(field(&mcfg, 60, 8), VMM_ECAM_BASE + VMM_ECAM_SIZE);
    assert_int_equal(field(&mcfg, 68, 4), 1); /* segment 1, from bus 0 on */
    assert_non_null(find_table(machine, "SSDT", 0).bytes);
    assert_null(find_table(machine, "SSDT", 1).bytes);
    machine_destroy(machine);
}

/* What an RMRR names is not RAM that the guest may use as it likes. */
static void test_reserved_memory(void **state)
{
    struct machine *machine = create_three();
    struct vmm_memory_entry entries[VMM_MEMORY_ENTRIES];
    uint64_t low = MACHINE_RAM - 0x11000, ram = 0, reserved = 0;
    size_t count = vmm_memory_map(&machine->vm, entries);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].base < low && entries[i].base + entries[i].size > low)
            fail_msg("entry %zu goes over the edge", i);
        if (entries[i].base + entries[i].size == low && entries[i].type == VMM_MEMORY_RAM)
            ram++;
        if (entries[i].base == low && entries[i].size == 0x11000 &&
            entries[i].type == VMM_MEMORY_RESERVED)
            reserved++;
    }
    assert_int_equal(ram, 1);
    assert_int_equal(reserved, 1);
    machine_destroy(machine);
}

/* The unit's segment has no device, or its scope names none. */
static void test_units_without_device(void **state)
{
    static const char *const far_unit[] = {"vtd", "vtd,segment=3"};
    static const char *const missing[] = {"vtd", "vtd,scope=00.0+1f.7"};
    struct viommu_error error;
    struct machine *machine = machine_create_units(far_unit, 2, NULL);

    (void)state;
    assert_int_equal(vmm_units_check(&machine->vm, &error), -EINVAL);
    assert_non_null(strstr(error.message, "no device on segment 3"));
    machine_destroy(machine);
    machine = machine_create_units(missing, 2, NULL);
    assert_int_equal(vmm_units_check(&machine->vm, &error), -EINVAL);
    assert_non_null(strstr(error.message, "scope=1f.7 names no device"));
    machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_who_is_behind_whom),
        cmocka_unit_test(test_behind_none),
        cmocka_unit_test(test_faults_go_to_the_unit),
        cmocka_unit_test(test_dmar),
        cmocka_unit_test(test_remapping),
        cmocka_unit_test(test_extended_needs_kvm),
        cmocka_unit_test(test_segments_are_told),
        cmocka_unit_test(test_reserved_memory),
        cmocka_unit_test(test_units_without_device),
    };

    return cmocka_run_group_tests_name("vmm-units", tests, NULL, NULL);
}
