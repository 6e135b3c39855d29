/* SPDX-License-Identifier: MIT */
/*
 * A DMAR as ACPICA's disassembler reads it (iasl -d): somebody else's opinion of the layout. What
 * an older iasl does not know stands at the end of the table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <viommu/acpi.h>

#include "machine.h"

struct text {
    char content[65536];
    const char *at;
};

/* The next line with this label has this value ("label : value"). */
static void line_is(struct text *text, const char *label, const char *value)
{
    char want[128];
    const char *line;

    snprintf(want, sizeof(want), "%s : %s", label, value);
    line = strstr(text->at, label);
    if (!line || strncmp(line, want, strlen(want)) != 0)
        fail_msg("iasl should say '%s', and says '%.80s'", want, line ? line : "nothing");
    text->at = line + strlen(want);
}

static void read_text(struct text *text, const char *path)
{
    FILE *file = fopen(path, "r");
    size_t length;

    assert_non_null(file);
    length = fread(text->content, 1, sizeof(text->content) - 1, file);
    fclose(file);
    text->content[length] = '\0';
    text->at = text->content;
}

static void disassemble(const void *table, size_t length, struct text *text)
{
    char directory[] = "/tmp/viommu-dmar-XXXXXX", path[128], command[1024];
    FILE *file;

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/dmar.dat", directory);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(table, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    snprintf(command, sizeof(command), "cd %s && %s -d dmar.dat >/dev/null 2>&1; test -f dmar.dsl",
             directory, IASL);
    if (system(command)) /* NOLINT(cert-env33-c): a test's own words */
        fail_msg("'%s' made no dmar.dsl", command);
    snprintf(path, sizeof(path), "%s/dmar.dsl", directory);
    read_text(text, path);
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

static const struct viommu_acpi_scope scopes[] = {
    {VIOMMU_ACPI_SCOPE_ENDPOINT, 0, 0x12, 1, {{5, 2}}, 0},
    {VIOMMU_ACPI_SCOPE_BRIDGE, 0, 0, 2, {{0x1c, 0}, {1, 3}}, 0},
    {VIOMMU_ACPI_SCOPE_IOAPIC, 9, 0xf0, 1, {{0x1f, 7}}, 0},
    {VIOMMU_ACPI_SCOPE_HPET, 4, 0xf0, 1, {{0xf, 0}}, 0},
    {VIOMMU_ACPI_SCOPE_NAMESPACE, 3, 0, 1, {{0x15, 0}}, 0},
};
static const struct viommu_acpi_rmrr rmrr = {0x400000, 0x2000, 0, &scopes[0], 1};
static const struct viommu_acpi_atsr atsrs[] = {{0, false, &scopes[1], 1}, {7, true, NULL, 0}};
static const struct viommu_acpi_andd andd = {3, "\\_SB.I2C0"};
static const struct viommu_acpi_satc satc = {7, true, &scopes[0], 1};

static void check_units(struct text *text)
{
    line_is(text, "Host Address Width", "2D");
    line_is(text, "Flags", "05");
    line_is(text, "Subtable Type", "0000 [Hardware Unit Definition]");
    line_is(text, "Length", "003A");
    line_is(text, "Flags", "00");
    line_is(text, "PCI Segment Number", "0000");
    line_is(text, "Register Base Address", "00000000FED90000");
    line_is(text, "Device Scope Type", "01 [PCI Endpoint Device]");
    line_is(text, "Entry Length", "08");
    line_is(text, "Enumeration ID", "00");
    line_is(text, "PCI Bus Number", "12");
    line_is(text, "PCI Path", "05,02");
    line_is(text, "Device Scope Type", "02 [PCI Bridge Device]");
    line_is(text, "PCI Path", "1C,00");
    line_is(text, "PCI Path", "01,03");
    line_is(text, "Device Scope Type", "03 [IOAPIC Device]");
    line_is(text, "Enumeration ID", "09");
    line_is(text, "PCI Bus Number", "F0");
    line_is(text, "Device Scope Type", "04 [Message-capable HPET Device]");
    line_is(text, "Enumeration ID", "04");
    line_is(text, "Device Scope Type", "05 [Namespace Device]");
    line_is(text, "Enumeration ID", "03");
    line_is(text, "Subtable Type", "0000 [Hardware Unit Definition]");
    line_is(text, "Flags", "01");
    line_is(text, "PCI Segment Number", "0007");
    line_is(text, "Register Base Address", "00000000FED91000");
}

static void check_parts(struct text *text)
{
    line_is(text, "Subtable Type", "0001 [Reserved Memory Region]");
    line_is(text, "PCI Segment Number", "0000");
    line_is(text, "Base Address", "0000000000400000");
    line_is(text, "End Address (limit)", "0000000000401FFF");
    line_is(text, "Device Scope Type", "01");
    line_is(text, "Subtable Type", "0002 [Root Port ATS Capability]");
    line_is(text, "Flags", "00");
    line_is(text, "PCI Segment Number", "0000");
    line_is(text, "Device Scope Type", "02");
    line_is(text, "Subtable Type", "0002 [Root Port ATS Capability]");
    line_is(text, "Flags", "01");
    line_is(text, "PCI Segment Number", "0007");
    line_is(text, "Subtable Type", "0003 [Remapping Hardware Static Affinity]");
    line_is(text, "Base Address", "00000000FED91000");
    line_is(text, "Proximity Domain", "12345678");
    line_is(text, "Subtable Type", "0004 [ACPI Namespace Device Declaration]");
    line_is(text, "Device Number", "03");
    line_is(text, "Device Name", "\"\\_SB.I2C0\"");
}

/* iasl knows this since 2021. */
static void check_cache(struct text *text)
{
    if (strstr(text->at, "Unknown DMAR subtable type 0x5")) {
        print_message("this iasl does not know SATC\n");
        return;
    }
    line_is(text, "Subtable Type", "0005 [");
    line_is(text, "Flags", "01");
    line_is(text, "PCI Segment Number", "0007");
    line_is(text, "Device Scope Type", "01");
    line_is(text, "PCI Bus Number", "12");
    line_is(text, "PCI Path", "05,02");
}

static void read_by_iasl(void **state)
{
    struct viommu_acpi_dmar_unit units[2] = {{.scopes = scopes, .scope_count = SPEC_COUNT(scopes)},
                                             {.include_pci_all = true}};
    struct viommu_acpi_dmar dmar = VIOMMU_ACPI_DMAR_INIT;
    static struct text text;
    struct machine machines[2];
    struct viommu_acpi_rhsa rhsa;
    struct viommu_error error;
    uint8_t bytes[1024];
    size_t length = sizeof(bytes);

    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        machine_create_at(&machines[i], "intremap=on,device-iotlb=on", i ? 7 : 0,
                          0xfed90000 + i * 0x1000);
        units[i].viommu = machines[i].viommu;
    }
    rhsa = (struct viommu_acpi_rhsa){machines[1].viommu, 0x12345678};
    dmar.units = units;
    dmar.rmrrs = &rmrr;
    dmar.atsrs = atsrs;
    dmar.rhsas = &rhsa;
    dmar.andds = &andd;
    dmar.satcs = &satc;
    dmar.unit_count = dmar.atsr_count = 2;
    dmar.rmrr_count = dmar.rhsa_count = dmar.andd_count = dmar.satc_count = 1;
    dmar.dma_opt_in = true;
    if (viommu_acpi_build_dmar(&dmar, "VIOMMU", "TESTONLY", bytes, &length, &error))
        fail_msg("%s", error.message);
    disassemble(bytes, length, &text);
    check_units(&text);
    check_parts(&text);
    check_cache(&text);
    for (unsigned int i = 0; i < 2; i++)
        machine_destroy(&machines[i]);
}

static const struct spec_rule rules[] = {
    {"VTD-8-IASL-1", "8.1", "ACPICA's disassembler reads every structure as it was meant.",
     read_by_iasl},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
