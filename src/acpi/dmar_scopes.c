/* SPDX-License-Identifier: MIT */
/* The device scopes of a DMAR, and the namespace devices that some of them name (VT-d 5.0, 8.3.1,
 * 8.7). */
#include <errno.h>
#include <string.h>

#include "acpi/dmar.h"
#include "base/error.h"

#define TYPE(name) (1u << VIOMMU_ACPI_SCOPE_##name)
#define PROPERTIES 0x1fu /* VIOMMU_ACPI_SIDP_*: there are five */

/* A part of the table that has scopes. */
struct part {
    const char *name;
    size_t index;
    size_t size; /* without them */
    const struct viommu_acpi_scope *scopes;
    size_t count;
    unsigned int types;      /* a bit for each that it may have */
    unsigned int properties; /* bits that they may have */
};

/* A scope's own rules */

static int check_path(const struct part *part, size_t index, struct viommu_error *error)
{
    const struct viommu_acpi_scope *scope = &part->scopes[index];

    if (scope->path_length < 1 || scope->path_length > VIOMMU_ACPI_PATH_MAX)
        return error_set(error, -EINVAL, "DMAR %s %zu, scope %zu: path length %u must be 1 to %d",
                         part->name, part->index, index, scope->path_length, VIOMMU_ACPI_PATH_MAX);
    for (unsigned int i = 0; i < scope->path_length; i++)
        if (scope->path[i].device > 31 || scope->path[i].function > 7)
            return error_set(
                error, -EINVAL, "DMAR %s %zu, scope %zu: %u.%u is beyond device 31, function 7",
                part->name, part->index, index, scope->path[i].device, scope->path[i].function);
    return 0;
}

static const struct viommu_acpi_andd *find_andd(const struct viommu_acpi_dmar *dmar, uint8_t number)
{
    for (size_t i = 0; i < dmar->andd_count; i++)
        if (dmar->andds[i].number == number)
            return &dmar->andds[i];
    return NULL;
}

static int check_scope(const struct viommu_acpi_dmar *dmar, const struct part *part, size_t index,
                       struct viommu_error *error)
{
    const struct viommu_acpi_scope *scope = &part->scopes[index];

    if (scope->type < VIOMMU_ACPI_SCOPE_ENDPOINT || scope->type > VIOMMU_ACPI_SCOPE_NAMESPACE)
        return error_set(error, -EINVAL, "DMAR %s %zu, scope %zu: type %d must be 1 to 5",
                         part->name, part->index, index, (int)scope->type);
    if (!(part->types & 1u << scope->type))
        return error_set(error, -EINVAL,
                         "DMAR %s %zu, scope %zu: type %d is not one that this structure has",
                         part->name, part->index, index, (int)scope->type);
    if (scope->properties & ~part->properties)
        return error_set(error, -EINVAL,
                         "DMAR %s %zu, scope %zu: properties 0x%x must be 0 but for the five that "
                         "a SIDP's scope may have",
                         part->name, part->index, index, scope->properties);
    if (scope->type == VIOMMU_ACPI_SCOPE_NAMESPACE && !find_andd(dmar, scope->enumeration_id))
        return error_set(error, -EINVAL,
                         "DMAR %s %zu, scope %zu names namespace device %u, but no ANDD has that "
                         "number; add one",
                         part->name, part->index, index, scope->enumeration_id);
    return check_path(part, index, error);
}

static int check_part(const struct viommu_acpi_dmar *dmar, const struct part *part,
                      bool may_be_empty, struct viommu_error *error)
{
    size_t size;

    if (!part->count && !may_be_empty)
        return error_set(error, -EINVAL, "DMAR %s %zu has no scope; leave it out, or name a device",
                         part->name, part->index);
    for (size_t i = 0; i < part->count; i++) {
        int ret = check_scope(dmar, part, i, error);

        if (ret)
            return ret;
    }
    size = dmar_size(part->size, part->scopes, part->count);
    if (size > UINT16_MAX)
        return error_set(error, -EINVAL, "DMAR %s %zu has %zu scopes: %zu bytes exceed 65535",
                         part->name, part->index, part->count, size);
    return 0;
}

/* Each kind of part. */

static int check_unit(const struct viommu_acpi_dmar *dmar, size_t i, struct viommu_error *error)
{
    const struct viommu_acpi_dmar_unit *unit = &dmar->units[i];
    const struct part part = {
        .name = "unit",
        .index = i,
        .size = DMAR_DRHD_SIZE,
        .scopes = unit->scopes,
        .count = unit->scope_count,
        .types = TYPE(ENDPOINT) | TYPE(BRIDGE) | TYPE(IOAPIC) | TYPE(HPET) | TYPE(NAMESPACE),
    };

    return check_part(dmar, &part, true, error);
}

static int check_rmrr(const struct viommu_acpi_dmar *dmar, size_t i, struct viommu_error *error)
{
    const struct part part = {
        .name = "RMRR",
        .index = i,
        .size = DMAR_RMRR_SIZE,
        .scopes = dmar->rmrrs[i].scopes,
        .count = dmar->rmrrs[i].scope_count,
        .types = TYPE(ENDPOINT) | TYPE(BRIDGE) | TYPE(NAMESPACE),
    };

    return check_part(dmar, &part, false, error);
}

static int check_atsr(const struct viommu_acpi_dmar *dmar, size_t i, struct viommu_error *error)
{
    const struct part part = {
        .name = "ATSR",
        .index = i,
        .size = DMAR_ATSR_SIZE,
        .scopes = dmar->atsrs[i].scopes,
        .count = dmar->atsrs[i].scope_count,
        .types = TYPE(BRIDGE),
    };

    return check_part(dmar, &part, dmar->atsrs[i].all_ports, error);
}

static int check_satc(const struct viommu_acpi_dmar *dmar, size_t i, struct viommu_error *error)
{
    const struct part part = {
        .name = "SATC",
        .index = i,
        .size = DMAR_SATC_SIZE,
        .scopes = dmar->satcs[i].scopes,
        .count = dmar->satcs[i].scope_count,
        .types = TYPE(ENDPOINT),
    };

    return check_part(dmar, &part, false, error);
}

static int check_sidp(const struct viommu_acpi_dmar *dmar, size_t i, struct viommu_error *error)
{
    const struct part part = {
        .name = "SIDP",
        .index = i,
        .size = DMAR_SIDP_SIZE,
        .scopes = dmar->sidps[i].scopes,
        .count = dmar->sidps[i].scope_count,
        .types = TYPE(ENDPOINT),
        .properties = PROPERTIES,
    };

    return check_part(dmar, &part, false, error);
}

/* Between units */

static bool is_pci(const struct viommu_acpi_scope *scope)
{
    return scope->type == VIOMMU_ACPI_SCOPE_ENDPOINT || scope->type == VIOMMU_ACPI_SCOPE_BRIDGE;
}

/* PCI functions are known by their path, everything else by its number. */
static bool same_device(const struct viommu_acpi_scope *a, uint16_t a_segment,
                        const struct viommu_acpi_scope *b, uint16_t b_segment)
{
    if (!is_pci(a))
        return a->type == b->type && a->enumeration_id == b->enumeration_id;
    return is_pci(b) && a_segment == b_segment && a->start_bus == b->start_bus &&
           a->path_length == b->path_length &&
           !memcmp(a->path, b->path, a->path_length * sizeof(a->path[0]));
}

/* The first `before` scopes of a unit, against one of another unit or of itself. */
static int check_claimed(const struct viommu_acpi_dmar *dmar, size_t owner, size_t before,
                         size_t unit, size_t index, struct viommu_error *error)
{
    const struct viommu_acpi_scope *scope = &dmar->units[unit].scopes[index];

    for (size_t i = 0; i < before; i++)
        if (same_device(&dmar->units[owner].scopes[i],
                        dmar_vtd(&dmar->units[owner])->options.segment, scope,
                        dmar_vtd(&dmar->units[unit])->options.segment))
            return error_set(error, -EINVAL,
                             "DMAR unit %zu, scope %zu names what scope %zu of unit %zu names "
                             "already; a device has one unit",
                             unit, index, i, owner);
    return 0;
}

static int check_claims(const struct viommu_acpi_dmar *dmar, size_t unit,
                        struct viommu_error *error)
{
    int ret = 0;

    for (size_t i = 0; i < dmar->units[unit].scope_count && !ret; i++) {
        for (size_t owner = 0; owner < unit && !ret; owner++)
            ret = check_claimed(dmar, owner, dmar->units[owner].scope_count, unit, i, error);
        if (!ret)
            ret = check_claimed(dmar, unit, i, unit, i, error);
    }
    return ret;
}

/* 8.7 ANDD */

static bool is_named(const struct viommu_acpi_dmar *dmar, uint8_t number)
{
    for (size_t unit = 0; unit < dmar->unit_count; unit++)
        for (size_t i = 0; i < dmar->units[unit].scope_count; i++)
            if (dmar->units[unit].scopes[i].type == VIOMMU_ACPI_SCOPE_NAMESPACE &&
                dmar->units[unit].scopes[i].enumeration_id == number)
                return true;
    return false;
}

static int check_andd(const struct viommu_acpi_dmar *dmar, size_t index, struct viommu_error *error)
{
    const struct viommu_acpi_andd *andd = &dmar->andds[index];

    if (!andd->name || andd->name[0] != '\\' || !andd->name[1] ||
        strlen(andd->name) + 1 > UINT16_MAX - DMAR_ANDD_SIZE)
        return error_set(error, -EINVAL,
                         "DMAR ANDD %zu: the name '%.64s' must be one from the root, like "
                         "\\_SB.I2C0, of at most 65526 characters",
                         index, andd->name ? andd->name : "");
    if (find_andd(dmar, andd->number) != andd)
        return error_set(error, -EINVAL,
                         "DMAR ANDD %zu has the number %u, which is another's already; choose "
                         "a free one",
                         index, andd->number);
    if (!is_named(dmar, andd->number))
        return error_set(error, -EINVAL,
                         "DMAR ANDD %zu, %.64s, is behind no unit: add a scope of type 5 with "
                         "enumeration ID %u to one",
                         index, andd->name, andd->number);
    return 0;
}

int dmar_check_scopes(const struct viommu_acpi_dmar *dmar, struct viommu_error *error)
{
    int ret = 0;

    for (size_t i = 0; i < dmar->unit_count && !ret; i++) {
        ret = check_unit(dmar, i, error);
        if (!ret)
            ret = check_claims(dmar, i, error);
    }
    for (size_t i = 0; i < dmar->rmrr_count && !ret; i++)
        ret = check_rmrr(dmar, i, error);
    for (size_t i = 0; i < dmar->atsr_count && !ret; i++)
        ret = check_atsr(dmar, i, error);
    for (size_t i = 0; i < dmar->satc_count && !ret; i++)
        ret = check_satc(dmar, i, error);
    for (size_t i = 0; i < dmar->sidp_count && !ret; i++)
        ret = check_sidp(dmar, i, error);
    for (size_t i = 0; i < dmar->andd_count && !ret; i++)
        ret = check_andd(dmar, i, error);
    return ret;
}
