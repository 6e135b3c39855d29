/* SPDX-License-Identifier: MIT */
/* The result of a check as JSON; docs/host-profile.md has the schema. */
#include "check.h"
#include "json.h"
#include "vmm.h"
#include <errno.h>
#include <string.h>

#define SCHEMA         "viommu-check"
#define SCHEMA_VERSION 1

static json_t *mismatch_object(const void *member)
{
    const struct check_mismatch *mismatch = member;

    return json_pack("{s:s, s:s, s:s?}", "promise", mismatch->promise, "ability", mismatch->ability,
                     "remedy", mismatch->remedy[0] ? mismatch->remedy : NULL);
}

static json_t *list_array(const struct check_list *list)
{
    return json_array_of(list->mismatches, list->count, sizeof(*list->mismatches), mismatch_object);
}

/* "dmar0, dmar1" as an array. */
static json_t *names_array(const char *names)
{
    json_t *array = json_array();

    while (array && *names) {
        size_t length = strcspn(names, ",");

        if (json_array_append_new(array, json_stringn(names, length))) {
            json_decref(array);
            return NULL;
        }
        names += length;
        names += strspn(names, ", ");
    }
    return array;
}

static json_t *unit_object(const void *member)
{
    const struct check_unit *unit = member;

    return json_pack("{s:o, s:s, s:b, s:o}", "names", names_array(unit->names), "type",
                     host_kinds[unit->iommu->kind].key, "works", check_unit_works(unit),
                     "mismatches", list_array(&unit->list));
}

static json_t *host_object(const void *member)
{
    const struct check_host *host = member;

    return json_pack(
        "{s:s, s:s?, s:b, s:o, s:o, s:o}", "name", host->host.name, "source",
        host->source[0] ? host->source : NULL, "works", check_host_works(host), "mismatches",
        list_array(&host->list), "notes", list_array(&host->notes), "iommus",
        json_array_of(host->units, host->unit_count, sizeof(*host->units), unit_object));
}

/* The hosts among which a guest can move. */
static json_t *movable(const struct check *check)
{
    json_t *names = json_array();

    for (size_t i = 0; names && i < check->host_count; i++) {
        const struct check_host *host = &check->hosts[i];

        if (check_host_works(host) && json_array_append_new(names, json_string(host->host.name))) {
            json_decref(names);
            names = NULL;
        }
    }
    return names;
}

int check_json_write(const struct check *check, const char *suggested, struct viommu_error *err)
{
    bool works = true;
    json_t *object;

    for (size_t i = 0; i < check->host_count; i++)
        works = works && check_host_works(&check->hosts[i]);
    object = json_pack(
        "{s:s, s:i, s:s, s:b, s:o, s:o, s:s?}", "schema", SCHEMA, "version", SCHEMA_VERSION,
        "viommu", check->configuration.text, "works", works, "hosts",
        json_array_of(check->hosts, check->host_count, sizeof(*check->hosts), host_object),
        "movable", movable(check), "suggested", suggested && *suggested ? suggested : NULL);
    return json_print(object, err);
}
