/* SPDX-License-Identifier: MIT */
/* The parts of a DMAR beside the units, and what holds between parts (VT-d 5.0, chapter 8). */
#include <errno.h>
#include <string.h>
#include <viommu/acpi.h>

#include "machine.h"

#define FIRST_PART (48 + 16) /* behind the header and one unit without scopes */

/* A unit for all of segment 0, and one for single devices of segment 1. */
struct table {
    struct machine machine, other;
    struct viommu_acpi_dmar_unit units[2];
    struct viommu_acpi_dmar dmar;
    uint8_t bytes[4096];
    size_t length;
    struct viommu_error error;
};

static const struct viommu_acpi_scope endpoint = {VIOMMU_ACPI_SCOPE_ENDPOINT, 0, 0, 1, {{2, 0}}, 0};
static const struct viommu_acpi_scope bridge = {VIOMMU_ACPI_SCOPE_BRIDGE, 0, 0, 1, {{28, 0}}, 0};
static const struct viommu_acpi_scope i2c = {VIOMMU_ACPI_SCOPE_NAMESPACE, 3, 0, 1, {{21, 0}}, 0};

static void table_create_with(struct table *table, const char *properties)
{
    memset(table, 0, sizeof(*table));
    machine_create(&table->machine, properties);
    machine_create_at(&table->other, properties, 1, 0xfed91000);
    table->units[0].viommu = table->machine.viommu;
    table->units[0].include_pci_all = true;
    table->units[1].viommu = table->other.viommu;
    table->units[1].scopes = &endpoint;
    table->units[1].scope_count = 1;
    table->dmar = (struct viommu_acpi_dmar)VIOMMU_ACPI_DMAR_INIT;
    table->dmar.units = table->units;
    table->dmar.unit_count = 1;
}

static void table_create(struct table *table)
{
    table_create_with(table, "");
}

static void table_destroy(struct table *table)
{
    machine_destroy(&table->other);
    machine_destroy(&table->machine);
}

static int build(struct table *table)
{
    table->length = sizeof(table->bytes);
    memset(table->bytes, 0xa5, sizeof(table->bytes));
    return viommu_acpi_build_dmar(&table->dmar, "VIOMMU", "TESTONLY", table->bytes, &table->length,
                                  &table->error);
}

static void builds(struct table *table)
{
    uint8_t sum = 0;

    if (build(table))
        fail_msg("%s", table->error.message);
    for (size_t i = 0; i < table->length; i++)
        sum += table->bytes[i];
    assert_int_equal(sum, 0);
}

/* Refused with a sentence that says this. */
static void refuses(struct table *table, const char *words)
{
    if (!build(table))
        fail_msg("built, but should be refused with '%s'", words);
    assert_int_equal(table->error.code, -EINVAL);
    assert_int_equal(table->bytes[0], 0xa5);
    if (!strstr(table->error.message, words))
        fail_msg("'%s' does not say '%s'", table->error.message, words);
}

static void part_is(const struct table *table, size_t offset, const uint8_t *bytes, size_t size)
{
    assert_true(table->length >= offset + size);
    assert_memory_equal(table->bytes + offset, bytes, size);
}

/* Several units */

static void several_units(void **state)
{
    static const uint8_t second[] = {0, 0, 24, 0, 0, 0, 1, 0, 0, 0x10, 0xd9, 0xfe,
                                     0, 0, 0,  0, 1, 8, 0, 0, 0, 0,    2,    0};
    struct table table;

    (void)state;
    table_create(&table);
    table.dmar.unit_count = 2;
    builds(&table);
    assert_int_equal(table.length, FIRST_PART + sizeof(second));
    part_is(&table, FIRST_PART, second, sizeof(second));
    table_destroy(&table);
}

static void units_contradict(void **state)
{
    struct viommu_acpi_scope scopes[] = {endpoint, bridge, endpoint};
    struct machine same, narrow, remapping;
    struct table table;

    (void)state;
    table_create(&table);
    table.dmar.unit_count = 2;
    machine_create_at(&same, "", 0, 0xfed92000);
    machine_create_at(&narrow, "haw=40", 1, 0xfed93000);
    table.units[1].viommu = narrow.viommu;
    refuses(&table, "DMAR unit 1 has haw=40, unit 0 has 46");
    table.units[1].viommu = same.viommu;
    table.units[1].include_pci_all = true;
    refuses(&table, "units 0 and 1 both have include_pci_all on segment 0");
    table.units[1].viommu = table.other.viommu;
    builds(&table);
    machine_create_at(&remapping, "intremap=on", 1, 0xfed94000);
    table.units[1].viommu = remapping.viommu;
    table.units[1].include_pci_all = true;
    refuses(&table, "units 0 and 1 only one remaps interrupts");
    table.units[1].viommu = table.other.viommu;
    table.units[1].include_pci_all = false;
    /* a device has one unit, also within a unit, and whether named as endpoint or as bridge */
    table.units[1].scopes = scopes;
    table.units[1].scope_count = 2;
    builds(&table);
    table.units[1].scope_count = 3;
    refuses(&table, "DMAR unit 1, scope 2 names what scope 0 of unit 1 names already");
    scopes[2] = bridge;
    scopes[2].type = VIOMMU_ACPI_SCOPE_ENDPOINT;
    refuses(&table, "scope 2 names what scope 1 of unit 1");
    machine_destroy(&remapping);
    machine_destroy(&narrow);
    machine_destroy(&same);
    table_destroy(&table);
}

static void one_unit_for_a_device(void **state)
{
    struct viommu_acpi_scope ioapics[] = {{VIOMMU_ACPI_SCOPE_IOAPIC, 2, 0xf0, 1, {{31, 7}}, 0}};
    struct table table;

    (void)state;
    table_create(&table);
    table.dmar.unit_count = 2;
    table.units[0].scopes = &endpoint;
    table.units[0].scope_count = 1;
    builds(&table); /* the same path on another segment is another device */
    table.units[0].scopes = table.units[1].scopes = ioapics;
    refuses(&table, "DMAR unit 1, scope 0 names what scope 0 of unit 0 names already");
    table_destroy(&table);
}

static void registers_overlap(void **state)
{
    struct machine wide, near;
    struct table table;

    (void)state;
    table_create(&table);
    table.dmar.unit_count = 2;
    machine_create_at(&wide, "fault-records=256", 0, 0xfeda0000); /* two pages */
    machine_create_at(&near, "", 1, 0xfeda1000);
    table.units[0].viommu = wide.viommu;
    table.units[1].viommu = near.viommu;
    refuses(&table, "registers at 0xfeda0000 and 0xfeda1000, which overlap");
    machine_destroy(&near);
    machine_destroy(&wide);
    table_destroy(&table);
}

/* Flags */

static void flags(void **state)
{
    struct table table;

    (void)state;
    table_create(&table);
    builds(&table);
    assert_int_equal(table.bytes[37], 0);
    table.dmar.dma_opt_in = true;
    builds(&table);
    assert_int_equal(table.bytes[37], 4);
    table.dmar.x2apic_opt_out = true;
    refuses(&table, "x2apic_opt_out of a DMAR needs units that remap interrupts");
    table_destroy(&table);
    table_create_with(&table, "intremap=on");
    table.dmar.unit_count = 2;
    table.dmar.x2apic_opt_out = table.dmar.dma_opt_in = true;
    builds(&table);
    assert_int_equal(table.bytes[37], 7);
    table.dmar.x2apic_opt_out = table.dmar.dma_opt_in = false;
    builds(&table);
    assert_int_equal(table.bytes[37], 1);
    table_destroy(&table);
}

/* RMRR */

static void reserved_memory(void **state)
{
    static const uint8_t expected[] = {1,    0,    32, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0,
                                       0xff, 0x5f, 0,  0, 0, 0, 0, 0, 1, 8,    0, 0, 0, 0, 2, 0};
    struct viommu_acpi_rmrr rmrr = {.base = 0x4000, .size = 0x2000};
    struct table table;

    (void)state;
    table_create(&table);
    rmrr.scopes = &endpoint;
    rmrr.scope_count = 1;
    table.dmar.rmrrs = &rmrr;
    table.dmar.rmrr_count = 1;
    builds(&table);
    assert_int_equal(table.length, FIRST_PART + sizeof(expected));
    part_is(&table, FIRST_PART, expected, sizeof(expected));
    rmrr.segment = 1;
    table.dmar.unit_count = 2;
    builds(&table);
    assert_int_equal(table.bytes[FIRST_PART + 24], 1);
    assert_int_equal(table.bytes[FIRST_PART + 24 + 6], 1);
    table_destroy(&table);
}

static void bad_reserved_memory(void **state)
{
    struct viommu_acpi_rmrr rmrrs[2] = {{0x4000, 0x2000, 0, &endpoint, 1},
                                        {0x6000, 0x1000, 0, &bridge, 1}};
    struct viommu_acpi_scope ioapic = {VIOMMU_ACPI_SCOPE_IOAPIC, 2, 0xf0, 1, {{31, 7}}, 0};
    static const struct {
        uint64_t base, size;
        const char *words;
    } ranges[] = {
        {0x4001, 0x1000, "base 0x4001 and size 0x1000: both must be multiples of 4096"},
        {0x4000, 0x1800, "base 0x4000 and size 0x1800: both must be multiples of 4096"},
        {0x4000, 0, "the size not 0"},
        {UINT64_C(1) << 46, 0x1000, "beyond the 46 address bits of haw"},
        {0x4000, UINT64_MAX - 0xfff, "beyond the 46 address bits of haw"},
        {MACHINE_MEMORY - 0x1000, 0x2000, "is not all guest memory"},
        {UINT64_C(1) << 40, 0x1000, "is not all guest memory"},
        {0x5000, 0x4000, "RMRRs 0 and 1 overlap"},
        {0x0, 0x5000, "RMRRs 0 and 1 overlap"},
    };
    struct table table;

    (void)state;
    table_create(&table);
    table.dmar.rmrrs = rmrrs;
    table.dmar.rmrr_count = 2;
    builds(&table);
    for (size_t i = 0; i < SPEC_COUNT(ranges); i++) {
        rmrrs[1].base = ranges[i].base;
        rmrrs[1].size = ranges[i].size;
        refuses(&table, ranges[i].words);
    }
    rmrrs[1].base = 0x8000;
    rmrrs[1].size = 0x1000;
    rmrrs[1].segment = 1;
    refuses(&table, "DMAR RMRR 1 is on segment 1, which no unit of the table is on");
    rmrrs[1].segment = 0;
    rmrrs[1].scope_count = 0;
    refuses(&table, "DMAR RMRR 1 has no scope");
    rmrrs[1].scope_count = 1;
    rmrrs[1].scopes = &ioapic;
    refuses(&table, "DMAR RMRR 1, scope 0: type 3 is not one that this structure has");
    table_destroy(&table);
}

/* ATSR */

static void root_ports(void **state)
{
    static const uint8_t expected[] = {2, 0, 16, 0, 0, 0, 0, 0, 2, 8, 0, 0,
                                       0, 0, 28, 0, 2, 0, 8, 0, 1, 0, 1, 0};
    struct viommu_acpi_atsr atsrs[2] = {{0, false, &bridge, 1}, {1, true, NULL, 0}};
    struct machine without;
    struct table table;

    (void)state;
    table_create_with(&table, "device-iotlb=on");
    machine_create_at(&without, "", 1, 0xfed94000);
    table.units[1].include_pci_all = true;
    table.units[1].scope_count = 0;
    table.dmar.unit_count = 2;
    table.dmar.atsrs = atsrs;
    table.dmar.atsr_count = 2;
    table.units[1].viommu = without.viommu;
    refuses(&table, "DMAR ATSR 1 is on segment 1, where no unit serves device TLBs (ECAP.DT)");
    table.units[1].viommu = table.other.viommu;
    builds(&table);
    assert_int_equal(table.length, FIRST_PART + 16 + sizeof(expected));
    part_is(&table, FIRST_PART + 16, expected, sizeof(expected));
    atsrs[1].segment = 0;
    refuses(&table, "DMAR ATSRs 0 and 1 are both on segment 0, and one has all_ports");
    table.dmar.atsr_count = 1;
    atsrs[0].all_ports = true;
    refuses(&table, "DMAR ATSR 0 has all_ports, and 1 scopes");
    atsrs[0].all_ports = false;
    atsrs[0].scopes = &endpoint;
    refuses(&table, "DMAR ATSR 0, scope 0: type 1 is not one");
    atsrs[0].scope_count = 0;
    refuses(&table, "DMAR ATSR 0 has no scope");
    machine_destroy(&without);
    table_destroy(&table);
}

/* RHSA */

static void affinities(void **state)
{
    static const uint8_t expected[] = {3,    0,    20, 0, 0, 0, 0,    0,    0,    0x10,
                                       0xd9, 0xfe, 0,  0, 0, 0, 0x78, 0x56, 0x34, 0x12};
    struct viommu_acpi_rhsa rhsas[2];
    struct table table;

    (void)state;
    table_create(&table);
    rhsas[0] = (struct viommu_acpi_rhsa){table.other.viommu, 0x12345678};
    rhsas[1] = rhsas[0];
    table.dmar.rhsas = rhsas;
    table.dmar.rhsa_count = 1;
    refuses(&table, "DMAR RHSA 0 is of a unit that is not in the table");
    table.dmar.unit_count = 2;
    builds(&table);
    part_is(&table, FIRST_PART + 24, expected, sizeof(expected));
    table.dmar.rhsa_count = 2;
    refuses(&table, "DMAR RHSAs 0 and 1 are both of unit 1");
    table_destroy(&table);
}

/* ANDD */

static void namespace_devices(void **state)
{
    static const uint8_t scope[] = {5, 8, 0, 0, 3, 0, 21, 0};
    static const uint8_t expected[] = {4,   0,   18,  0,   0,   0,   0,   3,   '\\',
                                       '_', 'S', 'B', '.', 'I', '2', 'C', '0', 0};
    struct viommu_acpi_andd andds[2] = {{3, "\\_SB.I2C0"}, {3, "\\_SB.I2C1"}};
    struct table table;

    (void)state;
    table_create(&table);
    table.dmar.andds = andds;
    table.dmar.andd_count = 1;
    refuses(&table, "DMAR ANDD 0, \\_SB.I2C0, is behind no unit");
    table.units[0].scopes = &i2c;
    table.units[0].scope_count = 1;
    builds(&table);
    part_is(&table, FIRST_PART, scope, sizeof(scope));
    part_is(&table, FIRST_PART + sizeof(scope), expected, sizeof(expected));
    assert_int_equal(table.length, FIRST_PART + sizeof(scope) + sizeof(expected));
    table.dmar.andd_count = 2;
    refuses(&table, "DMAR ANDD 1 has the number 3, which is another's already");
    andds[1].number = 4;
    refuses(&table, "\\_SB.I2C1, is behind no unit: add a scope of type 5 with enumeration ID 4");
    table.dmar.andd_count = 1;
    andds[0].name = "_SB.I2C0";
    refuses(&table, "the name '_SB.I2C0' must be one from the root");
    andds[0].name = NULL;
    refuses(&table, "must be one from the root");
    table.dmar.andd_count = 0;
    refuses(&table, "DMAR unit 0, scope 0 names namespace device 3, but no ANDD has that number");
    table_destroy(&table);
}

/* SATC, SIDP */

static void integrated_caches(void **state)
{
    static const uint8_t expected[] = {5, 0, 16, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 2, 0};
    struct viommu_acpi_satc satc = {0, true, &endpoint, 1};
    struct table table;

    (void)state;
    table_create(&table);
    table.dmar.satcs = &satc;
    table.dmar.satc_count = 1;
    refuses(&table, "DMAR SATC 0 is on segment 0, where no unit serves device TLBs");
    table_destroy(&table);
    table_create_with(&table, "device-iotlb=on");
    table.dmar.satcs = &satc;
    table.dmar.satc_count = 1;
    builds(&table);
    part_is(&table, FIRST_PART, expected, sizeof(expected));
    satc.atc_required = false;
    builds(&table);
    assert_int_equal(table.bytes[FIRST_PART + 4], 0);
    satc.segment = 1;
    refuses(&table, "DMAR SATC 0 is on segment 1");
    table.dmar.unit_count = 2;
    builds(&table);
    assert_int_equal(table.bytes[FIRST_PART + 24], 5);
    assert_int_equal(table.bytes[FIRST_PART + 24 + 6], 1);
    satc.scopes = &bridge;
    refuses(&table, "DMAR SATC 0, scope 0: type 2 is not one");
    satc.scope_count = 0;
    refuses(&table, "DMAR SATC 0 has no scope");
    table_destroy(&table);
}

static void device_properties(void **state)
{
    static const uint8_t expected[] = {6, 0, 16, 0, 0, 0, 1, 0, 1, 8, 0x19, 0, 0, 0, 2, 0};
    struct viommu_acpi_scope scope = endpoint;
    struct viommu_acpi_sidp sidp = {1, &scope, 1};
    struct table table;

    (void)state;
    table_create(&table);
    scope.properties =
        VIOMMU_ACPI_SIDP_NO_NESTED | VIOMMU_ACPI_SIDP_ATC_HARDENED | VIOMMU_ACPI_SIDP_ATC_REQUIRED;
    table.dmar.sidps = &sidp;
    table.dmar.sidp_count = 1;
    refuses(&table, "DMAR SIDP 0 is on segment 1, which no unit");
    table.dmar.unit_count = 2;
    builds(&table);
    part_is(&table, FIRST_PART + 24, expected, sizeof(expected));
    scope.properties = 0x20;
    refuses(&table, "DMAR SIDP 0, scope 0: properties 0x20 must be 0");
    scope.properties = VIOMMU_ACPI_SIDP_NO_PWSNP | VIOMMU_ACPI_SIDP_NO_PGSNP;
    builds(&table);
    assert_int_equal(table.bytes[FIRST_PART + 24 + 10], 6);
    table.units[1].scopes = &scope;
    refuses(&table, "DMAR unit 1, scope 0: properties 0x6 must be 0");
    table_destroy(&table);
}

/* All at once, given in no order: what software finds is in the order of the types. */
static void order_of_types(void **state)
{
    struct viommu_acpi_rmrr rmrr = {0x4000, 0x1000, 0, &endpoint, 1};
    struct viommu_acpi_atsr atsr = {0, true, NULL, 0};
    struct viommu_acpi_andd andd = {3, "\\_SB.I2C0"};
    struct viommu_acpi_satc satc = {0, false, &endpoint, 1};
    struct viommu_acpi_sidp sidp = {0, &endpoint, 1};
    struct viommu_acpi_rhsa rhsa;
    unsigned int type = 0;
    struct table table;
    size_t at = 48;

    (void)state;
    table_create_with(&table, "device-iotlb=on");
    table.units[0].scopes = &i2c;
    table.units[0].scope_count = 1;
    rhsa = (struct viommu_acpi_rhsa){table.machine.viommu, 0};
    table.dmar.rmrrs = &rmrr;
    table.dmar.atsrs = &atsr;
    table.dmar.rhsas = &rhsa;
    table.dmar.andds = &andd;
    table.dmar.satcs = &satc;
    table.dmar.sidps = &sidp;
    table.dmar.rmrr_count = table.dmar.atsr_count = table.dmar.rhsa_count = 1;
    table.dmar.andd_count = table.dmar.satc_count = table.dmar.sidp_count = 1;
    builds(&table);
    for (; at < table.length; at += table.bytes[at + 2])
        assert_int_equal(table.bytes[at], type++);
    assert_int_equal(at, table.length);
    assert_int_equal(type, 7);
    table_destroy(&table);
}

/* An older caller's description ends earlier; a newer one's rest must be empty. */
static void description_may_grow(void **state)
{
    struct {
        struct viommu_acpi_dmar known;
        uint64_t newer;
    } longer = {0};
    struct viommu_acpi_rmrr nonsense = {0};
    struct table table;
    size_t length;

    (void)state;
    table_create(&table);
    table.dmar.rmrrs = &nonsense;
    table.dmar.rmrr_count = 1;
    table.dmar.size = offsetof(struct viommu_acpi_dmar, rmrrs);
    builds(&table);
    assert_int_equal(table.length, FIRST_PART);
    longer.known = table.dmar;
    longer.known.rmrr_count = 0;
    longer.known.size = sizeof(longer);
    length = sizeof(table.bytes);
    assert_int_equal(
        viommu_acpi_build_dmar(&longer.known, "A", "B", table.bytes, &length, &table.error), 0);
    longer.newer = 1;
    assert_int_equal(
        viommu_acpi_build_dmar(&longer.known, "A", "B", table.bytes, &length, &table.error),
        -E2BIG);
    table_destroy(&table);
}

static const struct spec_rule rules[] = {
    {"VTD-8.3-5", "8.3", "Each unit is told with its registers, segment and scopes.",
     several_units},
    {"VTD-8.3-6", "8.3",
     "Units that contradict each other are refused: haw, two that include all of a segment, "
     "interrupt remapping, a scope named twice.",
     units_contradict},
    {"VTD-8.3-7", "8.3.1", "A device is in one unit's scope alone; segments are told apart.",
     one_unit_for_a_device},
    {"VTD-8.3-8", "8.3", "Units whose registers overlap are refused.", registers_overlap},
    {"VTD-8.1-3", "8.1",
     "The flags tell interrupt remapping, the x2APIC opt-out, which needs it, and the DMA opt-in.",
     flags},
    {"VTD-8.2-1", "8.2", "The structures stand in the order of their types.", order_of_types},
    {"VTD-8.2-2", "8.2", "A description of an older or newer caller is read as far as it is known.",
     description_may_grow},
    {"VTD-8.4-1", "8.4", "An RMRR tells base, last byte, segment and scopes.", reserved_memory},
    {"VTD-8.4-2", "8.4",
     "An RMRR is whole pages of guest memory within haw, overlaps no other and names devices.",
     bad_reserved_memory},
    {"VTD-8.5-1", "8.5",
     "An ATSR tells all ports of a segment or names them, where a unit serves device TLBs.",
     root_ports},
    {"VTD-8.6-1", "8.6", "An RHSA tells the proximity domain of a unit of the table, once.",
     affinities},
    {"VTD-8.7-1", "8.7",
     "An ANDD gives a namespace device a number, which a scope of a unit names.",
     namespace_devices},
    {"VTD-8.8-1", "8.8", "A SATC tells integrated devices with a cache, and whether they need it.",
     integrated_caches},
    {"VTD-8.10-1", "8.10", "A SIDP tells integrated devices with their properties.",
     device_properties},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
