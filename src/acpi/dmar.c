/* SPDX-License-Identifier: MIT */
/* Writing the DMAR table: where the remapping units are, what each protects, and what else software
 * must know of devices and memory (VT-d 5.0, chapter 8). */
#include "acpi/dmar.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

#define INTR_REMAP      1 /* flags of the table, 8.1 */
#define X2APIC_OPT_OUT  2
#define DMA_OPT_IN      4
#define INCLUDE_PCI_ALL 1 /* of the parts */
#define ALL_PORTS       1
#define ATC_REQUIRED    1
#define CHECKSUM_OFFSET 9

/* 8.2: the types, in the order in which they stand in the table. */
enum {
    TYPE_DRHD,
    TYPE_RMRR,
    TYPE_ATSR,
    TYPE_RHSA,
    TYPE_ANDD,
    TYPE_SATC,
    TYPE_SIDP
};

/* Bytes written one after the other; they are counted only where there is no room. */
struct output {
    uint8_t *bytes;
    size_t length;
    size_t room;
};

static void put(struct output *output, uint64_t value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++, value >>= 8, output->length++)
        if (output->length < output->room)
            output->bytes[output->length] = (uint8_t)value;
}

static void put_text(struct output *output, const char *text, unsigned int size)
{
    size_t length = strnlen(text, size);

    for (unsigned int i = 0; i < size; i++)
        put(output, i < length ? (uint8_t)text[i] : ' ', 1);
}

static void put_header(struct output *output, const struct viommu_acpi_dmar *dmar,
                       const char *oem_id, const char *oem_table_id, size_t length)
{
    put_text(output, "DMAR", 4);
    put(output, length, 4);
    put(output, 1, 1); /* revision */
    put(output, 0, 1); /* checksum, filled in at the end */
    put_text(output, oem_id, 6);
    put_text(output, oem_table_id, 8);
    put(output, 1, 4); /* OEM revision */
    put_text(output, "VIOM", 4);
    put(output, 1, 4); /* creator revision */
    put(output, dmar_vtd(dmar->units)->options.host_address_width - 1u, 1);
    put(output,
        (dmar_remaps_interrupts(dmar) ? INTR_REMAP : 0) |
            (dmar->x2apic_opt_out ? X2APIC_OPT_OUT : 0) | (dmar->dma_opt_in ? DMA_OPT_IN : 0),
        1);
    put(output, 0, 8);
    put(output, 0, 2);
}

/* 8.3.1 */
static void put_scopes(struct output *output, const struct viommu_acpi_scope *scopes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct viommu_acpi_scope *scope = &scopes[i];

        put(output, scope->type, 1);
        put(output, dmar_size(0, scope, 1), 1);
        put(output, scope->properties, 1);
        put(output, 0, 1);
        put(output, scope->enumeration_id, 1);
        put(output, scope->start_bus, 1);
        for (unsigned int step = 0; step < scope->path_length; step++) {
            put(output, scope->path[step].device, 1);
            put(output, scope->path[step].function, 1);
        }
    }
}

/* 8.3. Size tells the register space as 2^size pages. */
static void put_unit(struct output *output, const struct viommu_acpi_dmar_unit *unit)
{
    const struct viommu_vtd_options *options = &dmar_vtd(unit)->options;

    put(output, TYPE_DRHD, 2);
    put(output, dmar_size(DMAR_DRHD_SIZE, unit->scopes, unit->scope_count), 2);
    put(output, unit->include_pci_all ? INCLUDE_PCI_ALL : 0, 1);
    put(output, (unsigned int)__builtin_ctzll(vtd_options_mmio_size(options) / 4096), 1);
    put(output, options->segment, 2);
    put(output, options->mmio_base, 8);
    put_scopes(output, unit->scopes, unit->scope_count);
}

/* 8.4. The limit is the last byte. */
static void put_rmrr(struct output *output, const struct viommu_acpi_rmrr *rmrr)
{
    put(output, TYPE_RMRR, 2);
    put(output, dmar_size(DMAR_RMRR_SIZE, rmrr->scopes, rmrr->scope_count), 2);
    put(output, 0, 2);
    put(output, rmrr->segment, 2);
    put(output, rmrr->base, 8);
    put(output, rmrr->base + (rmrr->size - 1), 8);
    put_scopes(output, rmrr->scopes, rmrr->scope_count);
}

/* 8.5, 8.8, 8.10: these differ in their type, and in what their flags mean. */
static void put_devices(struct output *output, unsigned int type, unsigned int flags,
                        uint16_t segment, const struct viommu_acpi_scope *scopes, size_t count)
{
    put(output, type, 2);
    put(output, dmar_size(DMAR_ATSR_SIZE, scopes, count), 2);
    put(output, flags, 1);
    put(output, 0, 1);
    put(output, segment, 2);
    put_scopes(output, scopes, count);
}

/* 8.6 */
static void put_rhsa(struct output *output, const struct viommu_acpi_rhsa *rhsa)
{
    put(output, TYPE_RHSA, 2);
    put(output, DMAR_RHSA_SIZE, 2);
    put(output, 0, 4);
    put(output, ((const struct vtd *)rhsa->viommu)->options.mmio_base, 8);
    put(output, rhsa->proximity_domain, 4);
}

/* 8.7. The name ends with a zero. */
static void put_andd(struct output *output, const struct viommu_acpi_andd *andd)
{
    size_t length = strlen(andd->name) + 1;

    put(output, TYPE_ANDD, 2);
    put(output, DMAR_ANDD_SIZE + length, 2);
    put(output, 0, 3);
    put(output, andd->number, 1);
    for (size_t i = 0; i < length; i++)
        put(output, (uint8_t)andd->name[i], 1);
}

static void put_parts(struct output *output, const struct viommu_acpi_dmar *dmar)
{
    for (size_t i = 0; i < dmar->unit_count; i++)
        put_unit(output, &dmar->units[i]);
    for (size_t i = 0; i < dmar->rmrr_count; i++)
        put_rmrr(output, &dmar->rmrrs[i]);
    for (size_t i = 0; i < dmar->atsr_count; i++)
        put_devices(output, TYPE_ATSR, dmar->atsrs[i].all_ports ? ALL_PORTS : 0,
                    dmar->atsrs[i].segment, dmar->atsrs[i].scopes, dmar->atsrs[i].scope_count);
    for (size_t i = 0; i < dmar->rhsa_count; i++)
        put_rhsa(output, &dmar->rhsas[i]);
    for (size_t i = 0; i < dmar->andd_count; i++)
        put_andd(output, &dmar->andds[i]);
    for (size_t i = 0; i < dmar->satc_count; i++)
        put_devices(output, TYPE_SATC, dmar->satcs[i].atc_required ? ATC_REQUIRED : 0,
                    dmar->satcs[i].segment, dmar->satcs[i].scopes, dmar->satcs[i].scope_count);
    for (size_t i = 0; i < dmar->sidp_count; i++)
        put_devices(output, TYPE_SIDP, 0, dmar->sidps[i].segment, dmar->sidps[i].scopes,
                    dmar->sidps[i].scope_count);
}

static void put_checksum(struct output *output)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < output->length; i++)
        sum += output->bytes[i];
    output->bytes[CHECKSUM_OFFSET] = (uint8_t)-sum;
}

VIOMMU_EXPORT int viommu_acpi_build_dmar(const struct viommu_acpi_dmar *dmar, const char *oem_id,
                                         const char *oem_table_id, void *table, size_t *length,
                                         struct viommu_error *error)
{
    struct output counted = {.length = DMAR_HEADER_SIZE}, output = {.bytes = table};
    struct viommu_acpi_dmar copy;
    int ret = error_copy_options(&copy, sizeof(copy), dmar, "DMAR descriptions", error);

    if (!ret)
        ret = dmar_check(&copy, error);
    if (ret)
        return ret;
    put_parts(&counted, &copy);
    output.room = *length;
    *length = counted.length;
    if (*length > output.room)
        return error_set(error, -EMSGSIZE, "the DMAR table needs %zu bytes, there is room for %zu",
                         *length, output.room);
    put_header(&output, &copy, oem_id, oem_table_id, *length);
    put_parts(&output, &copy);
    put_checksum(&output);
    return 0;
}
