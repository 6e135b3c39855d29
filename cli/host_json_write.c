/* SPDX-License-Identifier: MIT */
#include "abilities.h"
#include "host_json.h"
#include "json.h"
#include <inttypes.h>

/* What fails for want of memory is NULL, and json_pack() with it, up to the whole. */

static json_t *hex(uint64_t value)
{
    return json_sprintf("0x%" PRIx64, value);
}

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *answer(enum host_answer value)
{
    return value == ANSWER_UNKNOWN ? json_null() : json_boolean(value == ANSWER_YES);
}

static json_t *registers_of(const struct host_iommu *iommu)
{
    const struct host_kind_names *kind = &host_kinds[iommu->kind];

    if (!iommu->has_registers)
        return json_null();
    return json_pack("{s:o, s:o}", kind->registers[0], hex(iommu->info.registers[0]),
                     kind->registers[1], hex(iommu->info.registers[1]));
}

static json_t *abilities(const struct host_iommu *iommu)
{
    json_t *object = json_pack("{s:i, s:i}", "address_bits", abilities_address_bits(&iommu->info),
                               "pasid_bits", abilities_pasid_bits(&iommu->info));
    const struct ability *list;
    size_t count;

    if (!iommu->has_registers) {
        json_decref(object);
        return json_null();
    }
    list = abilities_of(iommu->info.type, &count);
    for (size_t i = 0; i < count; i++) {
        if (json_object_set_new(object, list[i].key,
                                json_boolean(ability_has(&list[i], &iommu->info)))) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *quirks(const struct viommu_host_hw_info *info)
{
    return info->quirks & VIOMMU_HOST_QUIRK_772415 ? json_pack("[s]", "772415") : json_array();
}

static json_t *iommu_object(const void *member)
{
    const struct host_iommu *iommu = member;
    char lacks[256];

    host_iommu_lacks(iommu, lacks, sizeof(lacks));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:b, s:o}", "name",
                     iommu->info.name, "type", host_kinds[iommu->kind].key, "version",
                     text_or_null(iommu->version), "address",
                     iommu->address ? hex(iommu->address) : json_null(), "registers",
                     registers_of(iommu), "quirks", quirks(&iommu->info), "domains_supported",
                     iommu->domains, "domains_used", iommu->used, "devices", iommu->devices,
                     "can_nest", !lacks[0], "abilities", abilities(iommu));
}

static json_t *region_object(const void *member)
{
    const struct host_region *region = member;
    return json_pack("{s:o, s:o, s:s}", "start", hex(region->start), "last", hex(region->last),
                     "type", region->kind);
}

static json_t *group_object(const void *member)
{
    const struct host_group *group = member;

    return json_pack(
        "{s:i, s:o, s:o}", "number", group->number, "type", text_or_null(group->type),
        "reserved_regions",
        json_array_of(group->regions, group->region_count, sizeof(*group->regions), region_object));
}

/* What was told of a device; null when it was not asked, or did not answer. */
static json_t *hw_info_object(const struct host_probe *probe)
{
    const struct viommu_host_hw_info *info = &probe->info;

    if (!probe->told)
        return json_null();
    return json_pack("{s:b, s:i, s:b, s:b, s:b}", "type_known",
                     info->type != VIOMMU_HOST_IOMMU_NONE, "max_pasid_bits", info->max_pasid_log2,
                     "page_requests", info->page_requests, "dirty_tracking", info->dirty_tracking,
                     "nesting_parent", probe->nest_parent);
}

static json_t *device_object(const void *member)
{
    const struct host_device *device = member;
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "name", device->name,
        "vendor", json_sprintf("0x%04x", device->vendor), "device",
        json_sprintf("0x%04x", device->device), "class", json_sprintf("0x%06x", device->class_code),
        "group", device->has_group ? json_integer(device->group) : json_null(), "iommu",
        text_or_null(device->iommu), "driver", text_or_null(device->driver), "reset_methods",
        text_or_null(device->reset), "vfio_device", text_or_null(device->node), "vfio_usable",
        device->node_usable, "used_by_process",
        device->user ? json_integer((json_int_t)device->user) : json_null(), "hw_info",
        hw_info_object(&device->probe), "hw_info_refusal", text_or_null(device->probe.refusal));
}

static json_t *lack_object(const void *member)
{
    const struct host_lack *lack = member;
    return json_pack("{s:s, s:s, s:b, s:s, s:s}", "kind", host_lack_names[lack->kind], "blocks",
                     lack->nesting ? "nesting" : "assignment", "certain", !lack->unsure, "text",
                     lack->text, "remedy", lack->remedy);
}

static json_t *kernel_object(const struct host *host)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:b, s:b, s:b, s:b, s:o}", "release", host->release,
                     "machine", host->machine, "options", host->options, "scalable_mode",
                     answer(host->scalable), "iommufd", host->iommufd, "iommufd_usable",
                     host->iommufd_usable, "type1", host->type1, "type1_usable", host->type1_usable,
                     "hw_info", text_or_null(host->probed));
}

static json_t *verdict_object(const struct host *host)
{
    return json_pack(
        "{s:o, s:o, s:o}", "nesting", answer(host_can(host, true)), "assignment",
        answer(host_can(host, false)), "missing",
        json_array_of(host->lacks, host->lack_count, sizeof(*host->lacks), lack_object));
}

static json_t *host_object(const struct host *host)
{
    return json_pack(
        "{s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "schema", HOST_SCHEMA, "version",
        HOST_SCHEMA_VERSION, "name", host->name, "kernel", kernel_object(host), "memory_lock_limit",
        host->memlock_unlimited ? json_null() : json_integer((json_int_t)host->memlock), "iommus",
        json_array_of(host->iommus, host->iommu_count, sizeof(*host->iommus), iommu_object),
        "groups",
        json_array_of(host->groups, host->group_count, sizeof(*host->groups), group_object),
        "devices",
        json_array_of(host->devices, host->device_count, sizeof(*host->devices), device_object),
        "verdict", verdict_object(host));
}

int host_json_write(const struct host *host, struct viommu_error *err)
{
    return json_print(host_object(host), err);
}
