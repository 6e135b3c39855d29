/* SPDX-License-Identifier: MIT */
/* The rules between the parts of a DMAR (VT-d 5.0, chapter 8); those of scopes: dmar_scopes.c. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "acpi/dmar.h"
#include "base/error.h"
#include "base/rcu.h"

#define PAGE_SIZE 4096u

size_t dmar_size(size_t fixed, const struct viommu_acpi_scope *scopes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fixed += DMAR_SCOPE_SIZE + 2u * scopes[i].path_length;
    return fixed;
}

static const struct viommu_vtd_options *options_of(const struct viommu_acpi_dmar *dmar, size_t unit)
{
    return &dmar_vtd(&dmar->units[unit])->options;
}

/* A unit on this segment that has these bits of ECAP_REG, or NULL. */
static const struct vtd *unit_on(const struct viommu_acpi_dmar *dmar, uint16_t segment,
                                 uint64_t ecap)
{
    for (size_t i = 0; i < dmar->unit_count; i++) {
        const struct vtd *vtd = dmar_vtd(&dmar->units[i]);

        if (vtd->options.segment == segment && (vtd->ecap & ecap) == ecap)
            return vtd;
    }
    return NULL;
}

static int check_segment(const struct viommu_acpi_dmar *dmar, const char *part, size_t index,
                         uint16_t segment, struct viommu_error *error)
{
    if (unit_on(dmar, segment, 0))
        return 0;
    return error_set(error, -EINVAL,
                     "DMAR %s %zu is on segment %u, which no unit of the table is on; add a unit "
                     "for it",
                     part, index, segment);
}

/* Units */

static bool overlap(uint64_t base, uint64_t size, uint64_t other, uint64_t other_size)
{
    return base < other ? other - base < size : base - other < other_size;
}

static int check_unit(const struct viommu_acpi_dmar_unit *unit, size_t index,
                      struct viommu_error *error)
{
    if (!unit->viommu || strcmp(unit->viommu->ops->name, "vtd") != 0)
        return error_set(error, -EINVAL, "DMAR unit %zu is a %s: it must be a VT-d unit", index,
                         unit->viommu ? unit->viommu->ops->name : "NULL");
    if (!unit->include_pci_all && !unit->scope_count)
        return error_set(error, -EINVAL,
                         "DMAR unit %zu protects nothing: give it scopes, or include_pci_all",
                         index);
    return 0;
}

/* 8.3: at most one INCLUDE_PCI_ALL for a segment, after all others of it. */
static int check_order(const struct viommu_acpi_dmar *dmar, size_t first, size_t second,
                       struct viommu_error *error)
{
    const struct viommu_acpi_dmar_unit *units = dmar->units;
    unsigned int segment = options_of(dmar, second)->segment;

    if (!units[first].include_pci_all || options_of(dmar, first)->segment != segment)
        return 0;
    if (units[second].include_pci_all)
        return error_set(error, -EINVAL,
                         "DMAR units %zu and %zu both have include_pci_all on segment %u: give one "
                         "of them scopes instead",
                         first, second, segment);
    return error_set(error, -EINVAL,
                     "DMAR unit %zu has include_pci_all: it must come after unit %zu, "
                     "which is on segment %u too",
                     first, second, segment);
}

static int check_registers(const struct viommu_acpi_dmar *dmar, size_t first, size_t second,
                           struct viommu_error *error)
{
    const struct viommu_vtd_options *a = options_of(dmar, first), *b = options_of(dmar, second);

    if (!overlap(a->mmio_base, vtd_options_mmio_size(a), b->mmio_base, vtd_options_mmio_size(b)))
        return 0;
    return error_set(error, -EINVAL,
                     "DMAR units %zu and %zu have registers at 0x%" PRIx64 " and 0x%" PRIx64
                     ", which overlap; give each unit an mmio_base of its own",
                     first, second, a->mmio_base, b->mmio_base);
}

/* 8.1: what the header tells for all of them. */
static int check_common(const struct viommu_acpi_dmar *dmar, size_t index,
                        struct viommu_error *error)
{
    const struct vtd *vtd = dmar_vtd(&dmar->units[index]), *first = dmar_vtd(dmar->units);

    if (vtd->options.host_address_width != first->options.host_address_width)
        return error_set(error, -EINVAL,
                         "DMAR unit %zu has haw=%u, unit 0 has %u: the table tells one for all",
                         index, vtd->options.host_address_width, first->options.host_address_width);
    if ((vtd->ecap ^ first->ecap) & VTD_ECAP_IR)
        return error_set(error, -EINVAL,
                         "of the DMAR units 0 and %zu only one remaps interrupts: the table tells "
                         "that for all; switch it on in all units or in none",
                         index);
    return 0;
}

static int check_units(const struct viommu_acpi_dmar *dmar, struct viommu_error *error)
{
    int ret = 0;

    if (!dmar->unit_count)
        return error_set(error, -EINVAL, "a DMAR table needs at least one VT-d unit");
    for (size_t i = 0; i < dmar->unit_count && !ret; i++) {
        ret = check_unit(&dmar->units[i], i, error);
        if (!ret)
            ret = check_common(dmar, i, error);
        for (size_t before = 0; before < i && !ret; before++) {
            ret = check_order(dmar, before, i, error);
            if (!ret)
                ret = check_registers(dmar, before, i, error);
        }
    }
    if (!ret && dmar->x2apic_opt_out && !dmar_remaps_interrupts(dmar))
        return error_set(error, -EINVAL,
                         "x2apic_opt_out of a DMAR needs units that remap interrupts; switch that "
                         "on in them, or the opt-out off");
    return ret;
}

/* 8.4 RMRR */

static bool is_memory(const struct viommu_memory *memory, uint64_t gpa, uint64_t size)
{
    uint64_t available = 0;
    bool there = true;

    rcu_enter();
    while (size && there) {
        there = memory_lookup(memory, gpa, &available, NULL);
        available = available < size ? available : size;
        gpa += available;
        size -= there ? available : 0;
    }
    rcu_exit();
    return there;
}

static int check_rmrr_range(const struct viommu_acpi_rmrr *rmrr, size_t index,
                            const struct vtd *vtd, struct viommu_error *error)
{
    unsigned int width = vtd->options.host_address_width;
    uint64_t end = UINT64_C(1) << width;

    if (!rmrr->size || (rmrr->base | rmrr->size) % PAGE_SIZE)
        return error_set(error, -EINVAL,
                         "DMAR RMRR %zu has base 0x%" PRIx64 " and size 0x%" PRIx64
                         ": both must be multiples of 4096, and the size not 0",
                         index, rmrr->base, rmrr->size);
    if (rmrr->base >= end || rmrr->size > end - rmrr->base)
        return error_set(error, -EINVAL,
                         "DMAR RMRR %zu at 0x%" PRIx64 " (0x%" PRIx64
                         " bytes) reaches beyond the %u address bits of haw",
                         index, rmrr->base, rmrr->size, width);
    if (!is_memory(vtd->options.memory, rmrr->base, rmrr->size))
        return error_set(error, -EINVAL,
                         "DMAR RMRR %zu at 0x%" PRIx64 " (0x%" PRIx64
                         " bytes) is not all guest memory, so that assigned devices would not "
                         "reach it; add it with viommu_memory_add()",
                         index, rmrr->base, rmrr->size);
    return 0;
}

static int check_rmrrs(const struct viommu_acpi_dmar *dmar, struct viommu_error *error)
{
    int ret = 0;

    for (size_t i = 0; i < dmar->rmrr_count && !ret; i++) {
        const struct viommu_acpi_rmrr *rmrr = &dmar->rmrrs[i];

        ret = check_segment(dmar, "RMRR", i, rmrr->segment, error);
        if (!ret)
            ret = check_rmrr_range(rmrr, i, unit_on(dmar, rmrr->segment, 0), error);
        for (size_t before = 0; before < i && !ret; before++)
            if (overlap(dmar->rmrrs[before].base, dmar->rmrrs[before].size, rmrr->base, rmrr->size))
                ret = error_set(error, -EINVAL,
                                "DMAR RMRRs %zu and %zu overlap at 0x%" PRIx64
                                "; make one of them, with the scopes of both",
                                before, i, rmrr->base);
    }
    return ret;
}

/* 8.5 ATSR, 8.8 SATC: they tell of device TLBs, which a unit must serve. */
static int check_device_tlbs(const struct viommu_acpi_dmar *dmar, const char *part, size_t index,
                             uint16_t segment, struct viommu_error *error)
{
    int ret = check_segment(dmar, part, index, segment, error);

    if (ret || unit_on(dmar, segment, VTD_ECAP_DT))
        return ret;
    return error_set(error, -EINVAL,
                     "DMAR %s %zu is on segment %u, where no unit serves device TLBs (ECAP.DT); "
                     "switch that on in a unit, or leave the %s out",
                     part, index, segment, part);
}

static int check_ports(const struct viommu_acpi_dmar *dmar, size_t index,
                       struct viommu_error *error)
{
    const struct viommu_acpi_atsr *atsr = &dmar->atsrs[index];

    if (atsr->all_ports && atsr->scope_count)
        return error_set(error, -EINVAL,
                         "DMAR ATSR %zu has all_ports, and %zu scopes: choose one of the two",
                         index, atsr->scope_count);
    for (size_t i = 0; i < index; i++)
        if (dmar->atsrs[i].segment == atsr->segment &&
            (dmar->atsrs[i].all_ports || atsr->all_ports))
            return error_set(error, -EINVAL,
                             "DMAR ATSRs %zu and %zu are both on segment %u, and one has "
                             "all_ports; leave the other out",
                             i, index, atsr->segment);
    return 0;
}

static int check_caches(const struct viommu_acpi_dmar *dmar, struct viommu_error *error)
{
    int ret = 0;

    for (size_t i = 0; i < dmar->atsr_count && !ret; i++) {
        ret = check_device_tlbs(dmar, "ATSR", i, dmar->atsrs[i].segment, error);
        if (!ret)
            ret = check_ports(dmar, i, error);
    }
    for (size_t i = 0; i < dmar->satc_count && !ret; i++)
        ret = check_device_tlbs(dmar, "SATC", i, dmar->satcs[i].segment, error);
    for (size_t i = 0; i < dmar->sidp_count && !ret; i++)
        ret = check_segment(dmar, "SIDP", i, dmar->sidps[i].segment, error);
    return ret;
}

/* 8.6 RHSA */
static int check_affinities(const struct viommu_acpi_dmar *dmar, struct viommu_error *error)
{
    for (size_t i = 0; i < dmar->rhsa_count; i++) {
        size_t unit = 0;

        while (unit < dmar->unit_count && dmar->units[unit].viommu != dmar->rhsas[i].viommu)
            unit++;
        if (unit == dmar->unit_count)
            return error_set(error, -EINVAL,
                             "DMAR RHSA %zu is of a unit that is not in the table; add that unit",
                             i);
        for (size_t before = 0; before < i; before++)
            if (dmar->rhsas[before].viommu == dmar->rhsas[i].viommu)
                return error_set(error, -EINVAL,
                                 "DMAR RHSAs %zu and %zu are both of unit %zu; leave one out",
                                 before, i, unit);
    }
    return 0;
}

int dmar_check(const struct viommu_acpi_dmar *dmar, struct viommu_error *error)
{
    int ret = check_units(dmar, error);

    if (!ret)
        ret = dmar_check_scopes(dmar, error);
    if (!ret)
        ret = check_rmrrs(dmar, error);
    if (!ret)
        ret = check_caches(dmar, error);
    return ret ? ret : check_affinities(dmar, error);
}
