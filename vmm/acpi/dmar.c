/* SPDX-License-Identifier: MIT */
/*
 * Who is behind which unit is known from the command line; RMRR and SATC come from the devices
 * themselves: memory that one asked for (vmm_reserve()), and an ATS capability behind a unit that
 * serves device TLBs.
 */
#include "dmar.h"
#include "../irq.h"
#include "../pci.h"
#include "../pci_host.h"
#include "../reserved.h"
#include "../vmm.h"
#include <viommu/acpi.h>

#define ECAP_REG              0x10
#define ECAP_DT               (1u << 2)
#define ECAP_IR               (1u << 3)
#define EXTENDED_CAPABILITIES 0x100u
#define EXTENDED_ATS          0x0fu

#define SATC_SCOPES_MAX 32u

struct builder {
    struct vmm *vm;
    struct viommu_acpi_dmar dmar;
    struct viommu_acpi_dmar_unit units[VMM_UNITS_MAX];
    struct viommu_acpi_scope scopes[VMM_UNITS_MAX][VMM_UNIT_SCOPES_MAX + 1]; /* and the IOAPIC */
    struct viommu_acpi_rhsa rhsas[VMM_UNITS_MAX];
    struct viommu_acpi_rmrr rmrrs[VMM_RESERVED_MAX];
    struct viommu_acpi_scope rmrr_scopes[VMM_RESERVED_MAX];
    struct viommu_acpi_satc satcs[VMM_SEGMENTS_MAX];
    struct viommu_acpi_scope satc_scopes[VMM_SEGMENTS_MAX][SATC_SCOPES_MAX];
};

/* A function of a root bus, which is number 0. */
static struct viommu_acpi_scope scope_of(uint8_t devfn)
{
    return (struct viommu_acpi_scope){
        .type = VIOMMU_ACPI_SCOPE_ENDPOINT,
        .path_length = 1,
        .path = {{(uint8_t)(devfn >> 3), (uint8_t)(devfn & 7)}},
    };
}

static bool remaps_interrupts(const struct vmm_unit *unit)
{
    return viommu_mmio_read(unit->viommu, ECAP_REG, 8) & ECAP_IR;
}

static const struct viommu_acpi_scope ioapic_scope = {
    .type = VIOMMU_ACPI_SCOPE_IOAPIC,
    .enumeration_id = VMM_IOAPIC_ID,
    .start_bus = VMM_IOAPIC_BUS,
    .path_length = 1,
    .path = {{VMM_IOAPIC_DEVICE, 0}},
};

static void add_unit(struct builder *builder, const struct vmm_unit *unit)
{
    struct viommu_acpi_scope *scopes = builder->scopes[builder->dmar.unit_count];
    size_t count = unit->scope_count;

    for (size_t i = 0; i < count; i++)
        scopes[i] = scope_of(unit->scopes[i].devfn);
    if (unit == vmm_units_ioapic(builder->vm) && remaps_interrupts(unit))
        scopes[count++] = ioapic_scope;
    builder->units[builder->dmar.unit_count++] = (struct viommu_acpi_dmar_unit){
        .viommu = unit->viommu,
        .include_pci_all = unit->all,
        .scopes = scopes,
        .scope_count = count,
    };
    if (unit->has_node)
        builder->rhsas[builder->dmar.rhsa_count++] =
            (struct viommu_acpi_rhsa){unit->viommu, unit->node};
}

/* Those for all of a segment come last of it. */
static void add_units(struct builder *builder)
{
    for (unsigned int all = 0; all < 2; all++)
        for (size_t i = 0; i < builder->vm->unit_count; i++)
            if (builder->vm->units[i].all == all)
                add_unit(builder, &builder->vm->units[i]);
}

static void add_reserved(struct builder *builder)
{
    for (size_t i = 0; i < builder->vm->reserved_count; i++) {
        const struct vmm_reserved *reserved = &builder->vm->reserved[i];

        if (!vmm_unit_of(reserved->fn))
            continue; /* its addresses are physical */
        builder->rmrr_scopes[i] = scope_of(reserved->fn->devfn);
        builder->rmrrs[builder->dmar.rmrr_count++] = (struct viommu_acpi_rmrr){
            .base = reserved->base,
            .size = reserved->size,
            .segment = reserved->fn->id.segment,
            .scopes = &builder->rmrr_scopes[i],
            .scope_count = 1,
        };
    }
}

static bool has_ats(const struct vmm_pci_function *fn)
{
    unsigned int at = EXTENDED_CAPABILITIES;
    uint32_t header;

    for (; at; at = header >> 20) {
        header = vmm_pci_get32(fn->config, at);
        if ((header & 0xffff) == EXTENDED_ATS)
            return true;
    }
    return false;
}

static bool serves_device_tlbs(const struct vmm_unit *unit)
{
    return unit && viommu_mmio_read(unit->viommu, ECAP_REG, 8) & ECAP_DT;
}

/* Our devices with ATS are integrated into the root complex: a SATC names them, not an ATSR. */
static void add_caches(struct builder *builder)
{
    const struct vmm_pci_function *fn = NULL;
    struct viommu_acpi_satc *satc;

    for (unsigned int i = 0; i < VMM_SEGMENTS_MAX; i++) {
        satc = &builder->satcs[builder->dmar.satc_count];
        satc->segment = (uint16_t)i;
        satc->scopes = builder->satc_scopes[i];
        while ((fn = vmm_pci_next(builder->vm, fn)))
            if (fn->id.segment == i && has_ats(fn) && serves_device_tlbs(vmm_unit_of(fn)) &&
                satc->scope_count < SATC_SCOPES_MAX)
                builder->satc_scopes[i][satc->scope_count++] = scope_of(fn->devfn);
        builder->dmar.satc_count += satc->scope_count > 0;
    }
}

int vmm_acpi_dmar(struct vmm *vm, const char *oem_id, const char *oem_table_id, void *table,
                  size_t *length, struct viommu_error *err)
{
    struct builder builder = {.vm = vm, .dmar = VIOMMU_ACPI_DMAR_INIT};

    builder.dmar.units = builder.units;
    builder.dmar.rhsas = builder.rhsas;
    builder.dmar.rmrrs = builder.rmrrs;
    builder.dmar.satcs = builder.satcs;
    add_units(&builder);
    add_reserved(&builder);
    add_caches(&builder);
    return viommu_acpi_build_dmar(&builder.dmar, oem_id, oem_table_id, table, length, err);
}
