/* SPDX-License-Identifier: MIT */
/* The DMAR table (VT-d 5.0, chapter 8). */
#include <errno.h>
#include <string.h>
#include <viommu/acpi.h>

#include "machine.h"

struct table {
    uint8_t bytes[4096];
    size_t length;
    struct viommu_error error;
};

static int build(struct table *table, const struct viommu_acpi_dmar_unit *units, size_t count)
{
    struct viommu_acpi_dmar dmar = VIOMMU_ACPI_DMAR_INIT;

    dmar.units = units;
    dmar.unit_count = count;
    table->length = sizeof(table->bytes);
    memset(table->bytes, 0xa5, sizeof(table->bytes));
    return viommu_acpi_build_dmar(&dmar, "VIOMMU", "TESTONLY", table->bytes, &table->length,
                                  &table->error);
}

static uint64_t field(const struct table *table, size_t offset, unsigned int size)
{
    uint64_t value = 0;

    memcpy(&value, table->bytes + offset, size);
    return value;
}

static void header(void **state)
{
    struct viommu_acpi_dmar_unit unit = {.include_pci_all = true};
    struct machine machine;
    struct table table;
    uint8_t sum = 0;

    (void)state;
    machine_create(&machine, "haw=40");
    unit.viommu = machine.viommu;
    assert_int_equal(build(&table, &unit, 1), 0);
    assert_int_equal(table.length, 48 + 16);
    assert_memory_equal(table.bytes, "DMAR", 4);
    assert_int_equal(field(&table, 4, 4), table.length);
    assert_memory_equal(table.bytes + 10, "VIOMMUTESTONLY", 14);
    assert_int_equal(field(&table, 36, 1), 39);
    assert_int_equal(field(&table, 37, 1), 0);
    assert_int_equal(field(&table, 38, 8) | field(&table, 46, 2), 0);
    for (size_t i = 0; i < table.length; i++)
        sum += table.bytes[i];
    assert_int_equal(sum, 0);
    assert_int_equal(table.bytes[table.length], 0xa5);
    machine_destroy(&machine);
}

static void unit_fields(void **state)
{
    struct viommu_acpi_dmar_unit unit = {.include_pci_all = true};
    struct machine machine;
    struct table table;

    (void)state;
    machine_create(&machine, "");
    unit.viommu = machine.viommu;
    assert_int_equal(build(&table, &unit, 1), 0);
    assert_int_equal(field(&table, 48, 2), 0);
    assert_int_equal(field(&table, 50, 2), 16);
    assert_int_equal(field(&table, 52, 1), 1);
    assert_int_equal(field(&table, 53, 1), 0);
    assert_int_equal(field(&table, 54, 2), 0);
    assert_int_equal(field(&table, 56, 8), 0xfed90000);
    machine_destroy(&machine);
}

/* Register space of two pages is told. */
static void unit_size(void **state)
{
    struct viommu_acpi_dmar_unit unit = {.include_pci_all = true};
    struct machine machine;
    struct table table;

    (void)state;
    machine_create(&machine, "fault-records=256");
    unit.viommu = machine.viommu;
    assert_int_equal(build(&table, &unit, 1), 0);
    assert_int_equal(4096u << field(&table, 53, 1), viommu_mmio_size(machine.viommu));
    machine_destroy(&machine);
}

static const struct viommu_acpi_scope scopes[] = {
    {VIOMMU_ACPI_SCOPE_ENDPOINT, 0, 3, 1, {{5, 2}}},
    {VIOMMU_ACPI_SCOPE_BRIDGE, 0, 0, 2, {{28, 0}, {1, 0}}},
    {VIOMMU_ACPI_SCOPE_IOAPIC, 9, 0xf0, 1, {{31, 7}}},
};

static void unit_scopes(void **state)
{
    static const uint8_t expected[] = {1, 8,  0, 0, 0, 3, 5, 2, 2, 10, 0,    0,  0,
                                       0, 28, 0, 1, 0, 3, 8, 0, 0, 9,  0xf0, 31, 7};
    struct viommu_acpi_dmar_unit unit = {.scopes = scopes, .scope_count = 3};
    struct machine machine;
    struct table table;

    (void)state;
    machine_create(&machine, "");
    unit.viommu = machine.viommu;
    assert_int_equal(build(&table, &unit, 1), 0);
    assert_int_equal(field(&table, 50, 2), 16 + sizeof(expected));
    assert_int_equal(field(&table, 52, 1), 0);
    assert_memory_equal(table.bytes + 64, expected, sizeof(expected));
    machine_destroy(&machine);
}

static void include_all_last(void **state)
{
    struct viommu_acpi_dmar_unit units[2] = {{.scopes = scopes, .scope_count = 3},
                                             {.include_pci_all = true}};
    struct viommu_acpi_dmar_unit swapped[2];
    struct machine machine, other;
    struct table table;

    (void)state;
    machine_create(&machine, "");
    machine_create_at(&other, "", 0, 0xfed91000);
    units[0].viommu = machine.viommu;
    units[1].viommu = other.viommu;
    assert_int_equal(build(&table, units, 2), 0);
    swapped[0] = units[1];
    swapped[1] = units[0];
    assert_int_equal(build(&table, swapped, 2), -EINVAL);
    assert_non_null(strstr(table.error.message, "after unit 1"));
    machine_destroy(&other);
    machine_destroy(&machine);
}

static void bad_units(void **state)
{
    struct viommu_acpi_scope scope = scopes[0];
    struct viommu_acpi_dmar_unit unit = {0};
    struct machine machine;
    struct table table;

    (void)state;
    machine_create(&machine, "");
    assert_int_equal(build(&table, &unit, 0), -EINVAL);
    unit.include_pci_all = true;
    assert_int_equal(build(&table, &unit, 1), -EINVAL);
    unit.viommu = machine.viommu;
    unit.include_pci_all = false;
    assert_int_equal(build(&table, &unit, 1), -EINVAL);
    assert_non_null(strstr(table.error.message, "protects nothing"));
    unit.scopes = &scope;
    unit.scope_count = 1;
    assert_int_equal(build(&table, &unit, 1), 0);
    scope.path_length = 0;
    assert_int_equal(build(&table, &unit, 1), -EINVAL);
    scope.path_length = 9;
    assert_int_equal(build(&table, &unit, 1), -EINVAL);
    assert_non_null(strstr(table.error.message, "path length 9 must be 1 to 8"));
    scope.path_length = 1;
    scope.path[0].device = 32;
    assert_int_equal(build(&table, &unit, 1), -EINVAL);
    scope.path[0].device = 1;
    scope.type = 0;
    assert_int_equal(build(&table, &unit, 1), -EINVAL);
    machine_destroy(&machine);
}

static void room(void **state)
{
    struct viommu_acpi_dmar_unit unit = {.include_pci_all = true};
    struct viommu_acpi_dmar dmar = VIOMMU_ACPI_DMAR_INIT;
    uint8_t bytes[64];
    struct machine machine;
    size_t length = 63;

    (void)state;
    machine_create(&machine, "");
    unit.viommu = machine.viommu;
    dmar.units = &unit;
    dmar.unit_count = 1;
    assert_int_equal(viommu_acpi_build_dmar(&dmar, "A", "B", bytes, &length, NULL), -EMSGSIZE);
    assert_int_equal(length, 64);
    assert_int_equal(viommu_acpi_build_dmar(&dmar, "A", "B", bytes, &length, NULL), 0);
    assert_memory_equal(bytes + 10, "A     B       ", 14);
    machine_destroy(&machine);
}

static const struct spec_rule rules[] = {
    {"VTD-8.1-1", "8.1",
     "The header tells length, host address width and no interrupt remapping; the bytes sum to 0.",
     header},
    {"VTD-8.3-1", "8.3", "A unit tells its segment and register base as they were configured.",
     unit_fields},
    {"VTD-8.3-2", "8.3", "Size tells how many pages the registers occupy.", unit_size},
    {"VTD-8.3.1-1", "8.3.1", "Device scopes tell type, enumeration ID, start bus and path.",
     unit_scopes},
    {"VTD-8.3-3", "8.3", "The unit that includes all PCI functions comes last of its segment.",
     include_all_last},
    {"VTD-8.3-4", "8.3", "Units and scopes that the table cannot express are refused.", bad_units},
    {"VTD-8.1-2", "8.1", "A table that does not fit is not written; its length is told.", room},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
