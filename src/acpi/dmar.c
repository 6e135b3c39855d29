/* SPDX-License-Identifier: MIT */
/* The DMAR table: where the remapping units are, and what each protects (VT-d 5.0, chapter 8). */
#include <errno.h>
#include <string.h>
#include <viommu/acpi.h>

#include "base/error.h"
#include "model/model.h"
#include "model/vtd/vtd.h"

#define HEADER_SIZE     48 /* 8.1, with the standard ACPI header of 36 bytes */
#define UNIT_SIZE       16 /* 8.3, without scopes */
#define SCOPE_SIZE      6  /* 8.3.1, without its path */
#define TYPE_DRHD       0
#define INCLUDE_PCI_ALL 1
#define CHECKSUM_OFFSET 9

/* Bytes written one after the other; there is room for all of them. */
struct output {
    uint8_t *bytes;
    size_t length;
};

static void put(struct output *output, uint64_t value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++, value >>= 8)
        output->bytes[output->length++] = (uint8_t)value;
}

static void put_text(struct output *output, const char *text, unsigned int size)
{
    size_t length = strnlen(text, size);

    for (unsigned int i = 0; i < size; i++)
        put(output, i < length ? (uint8_t)text[i] : ' ', 1);
}

static size_t scope_size(const struct viommu_acpi_scope *scope)
{
    return SCOPE_SIZE + 2u * scope->path_length;
}

static size_t unit_size(const struct viommu_acpi_dmar_unit *unit)
{
    size_t size = UNIT_SIZE;

    for (size_t i = 0; i < unit->scope_count; i++)
        size += scope_size(&unit->scopes[i]);
    return size;
}

static const struct viommu_vtd_options *options_of(const struct viommu_acpi_dmar_unit *unit)
{
    return &((const struct vtd *)unit->viommu)->options;
}

static int check_scope(const struct viommu_acpi_scope *scope, size_t unit, size_t index,
                       struct viommu_error *error)
{
    if (scope->type < VIOMMU_ACPI_SCOPE_ENDPOINT || scope->type > VIOMMU_ACPI_SCOPE_HPET)
        return error_set(error, -EINVAL, "DMAR unit %zu, scope %zu: type %d must be 1 to 4", unit,
                         index, (int)scope->type);
    if (scope->path_length < 1 || scope->path_length > 4)
        return error_set(error, -EINVAL, "DMAR unit %zu, scope %zu: path length %u must be 1 to 4",
                         unit, index, scope->path_length);
    for (unsigned int i = 0; i < scope->path_length; i++)
        if (scope->path[i].device > 31 || scope->path[i].function > 7)
            return error_set(error, -EINVAL,
                             "DMAR unit %zu, scope %zu: %u.%u is beyond device 31, function 7",
                             unit, index, scope->path[i].device, scope->path[i].function);
    return 0;
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
    for (size_t i = 0; i < unit->scope_count; i++) {
        int ret = check_scope(&unit->scopes[i], index, i, error);

        if (ret)
            return ret;
    }
    if (unit_size(unit) > UINT16_MAX)
        return error_set(error, -EINVAL, "DMAR unit %zu has %zu scopes: %zu bytes exceed 65535",
                         index, unit->scope_count, unit_size(unit));
    return 0;
}

/* 8.3: a unit with INCLUDE_PCI_ALL comes after all others of its segment. */
static int check_order(const struct viommu_acpi_dmar_unit *units, size_t index,
                       struct viommu_error *error)
{
    for (size_t i = 0; i < index; i++)
        if (units[i].include_pci_all &&
            options_of(&units[i])->segment == options_of(&units[index])->segment)
            return error_set(error, -EINVAL,
                             "DMAR unit %zu has include_pci_all: it must come after unit %zu, "
                             "which is on segment %u too",
                             i, index, options_of(&units[i])->segment);
    if (options_of(&units[index])->host_address_width != options_of(units)->host_address_width)
        return error_set(error, -EINVAL,
                         "DMAR unit %zu has haw=%u, unit 0 has %u: the table tells one for all",
                         index, options_of(&units[index])->host_address_width,
                         options_of(units)->host_address_width);
    return 0;
}

static int check(const struct viommu_acpi_dmar_unit *units, size_t count,
                 struct viommu_error *error)
{
    if (!count)
        return error_set(error, -EINVAL, "a DMAR table needs at least one VT-d unit");
    for (size_t i = 0; i < count; i++) {
        int ret = check_unit(&units[i], i, error);

        if (!ret)
            ret = check_order(units, i, error);
        if (ret)
            return ret;
    }
    return 0;
}

/* 8.1. Flags are 0: no interrupt remapping. */
static void put_header(struct output *output, const char *oem_id, const char *oem_table_id,
                       size_t length, unsigned int width)
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
    put(output, width - 1, 1);
    put(output, 0, 1);
    put(output, 0, 8);
    put(output, 0, 2);
}

static void put_scope(struct output *output, const struct viommu_acpi_scope *scope)
{
    put(output, scope->type, 1);
    put(output, scope_size(scope), 1);
    put(output, 0, 2);
    put(output, scope->enumeration_id, 1);
    put(output, scope->start_bus, 1);
    for (unsigned int i = 0; i < scope->path_length; i++) {
        put(output, scope->path[i].device, 1);
        put(output, scope->path[i].function, 1);
    }
}

/* 8.3. Size tells the register space as 2^size pages. */
static void put_unit(struct output *output, const struct viommu_acpi_dmar_unit *unit)
{
    const struct viommu_vtd_options *options = options_of(unit);

    put(output, TYPE_DRHD, 2);
    put(output, unit_size(unit), 2);
    put(output, unit->include_pci_all ? INCLUDE_PCI_ALL : 0, 1);
    put(output, (unsigned int)__builtin_ctzll(vtd_options_mmio_size(options) / 4096), 1);
    put(output, options->segment, 2);
    put(output, options->mmio_base, 8);
    for (size_t i = 0; i < unit->scope_count; i++)
        put_scope(output, &unit->scopes[i]);
}

static void put_checksum(struct output *output)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < output->length; i++)
        sum += output->bytes[i];
    output->bytes[CHECKSUM_OFFSET] = (uint8_t)-sum;
}

VIOMMU_EXPORT int viommu_acpi_build_dmar(const struct viommu_acpi_dmar_unit *units, size_t count,
                                         const char *oem_id, const char *oem_table_id, void *table,
                                         size_t *length, struct viommu_error *error)
{
    struct output output = {.bytes = table};
    size_t room = *length, total = HEADER_SIZE;
    int ret = check(units, count, error);

    if (ret)
        return ret;
    for (size_t i = 0; i < count; i++)
        total += unit_size(&units[i]);
    *length = total;
    if (total > room)
        return error_set(error, -EMSGSIZE, "the DMAR table needs %zu bytes, there is room for %zu",
                         total, room);
    put_header(&output, oem_id, oem_table_id, total, options_of(units)->host_address_width);
    for (size_t i = 0; i < count; i++)
        put_unit(&output, &units[i]);
    put_checksum(&output);
    return 0;
}
