/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "text.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viommu/memory.h>

#define MODEL "vtd"

/* The configuration */

/* Makes a unit of it, which checks that its properties go together. */
static int prove(struct check_configuration *configuration, struct viommu_error *err)
{
    struct viommu_vtd_options options = configuration->options;
    struct viommu *unit = NULL;
    int ret = viommu_memory_create(&options.memory, err);

    if (!ret)
        ret = viommu_vtd_create(&unit, &options, err);
    if (!ret)
        configuration->nests = viommu_get_cap(unit) & VIOMMU_CAP_HW_NESTED;
    viommu_destroy(unit);
    viommu_memory_destroy(options.memory);
    return ret;
}

/* Of the text that `viommu run` takes, the properties, without where the unit is. */
static int parse_place(const char *text, char **properties, struct viommu_error *err)
{
    struct vmm *machine = calloc(1, sizeof(*machine));
    size_t length = strlen(MODEL);
    int ret;

    *properties = NULL;
    if (!machine)
        return vmm_fail(err, ENOMEM, "no memory for a configuration");
    if (strncmp(text, MODEL, length) != 0 || (text[length] && text[length] != ','))
        ret = vmm_fail(err, EINVAL, "--viommu does not know '%.*s'; there is: " MODEL,
                       (int)strcspn(text, ","), text);
    else
        ret = vmm_unit_parse(machine, text + length + (text[length] == ','), properties, err);
    free(machine);
    return ret;
}

int check_configure(struct check_configuration *configuration, const char *text,
                    struct viommu_error *err)
{
    int ret;

    *configuration = (struct check_configuration){.text = strdup(text)};
    if (!configuration->text)
        return vmm_fail(err, ENOMEM, "no memory for a configuration");
    viommu_vtd_options_init(&configuration->options);
    ret = parse_place(text, &configuration->properties, err);
    if (!ret)
        ret = viommu_vtd_options_parse(&configuration->options, configuration->properties, err);
    return ret ? ret : prove(configuration, err);
}

void check_configuration_free(struct check_configuration *configuration)
{
    free(configuration->text);
    free(configuration->properties);
    *configuration = (struct check_configuration){.text = NULL};
}

/* Lists */

static struct check_mismatch *add(struct check_list *list)
{
    struct check_mismatch *grown =
        realloc(list->mismatches, (list->count + 1) * sizeof(*list->mismatches));

    if (!grown)
        return NULL;
    list->mismatches = grown;
    grown = &grown[list->count++];
    *grown = (struct check_mismatch){.promise = ""};
    return grown;
}

static int add_mismatch(struct check_list *list, const char *promise, const char *ability,
                        const char *remedy)
{
    struct check_mismatch *added = add(list);

    if (!added)
        return -ENOMEM;
    snprintf(added->promise, sizeof(added->promise), "%s", promise);
    snprintf(added->ability, sizeof(added->ability), "%s", ability);
    snprintf(added->remedy, sizeof(added->remedy), "%s", remedy ? remedy : "");
    return 0;
}

static void empty(struct check_list *list)
{
    free(list->mismatches);
    *list = (struct check_list){.mismatches = NULL};
}

/* Which IOMMUs are looked at */

static bool is_looked_at(const struct host *host, const struct host_iommu *iommu,
                         const char *const *devices, size_t count)
{
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        const struct host_device *device = host_find_device(host, devices[i]);

        if (device && !strcmp(device->iommu, iommu->info.name))
            return true;
    }
    for (size_t i = 0; i < host->iommu_count; i++)
        any = any || host->iommus[i].devices;
    return !count && (iommu->devices || !any);
}

static int check_devices(const struct check_host *host, const char *const *devices, size_t count,
                         struct viommu_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct host_device *device = host_find_device(&host->host, devices[i]);

        if (!device || !device->iommu[0])
            return vmm_fail(err, ENODEV, "host %s has no device %s behind an IOMMU",
                            host->host.name, devices[i]);
    }
    return 0;
}

static struct check_unit *find_alike(struct check_host *host, const struct host_iommu *iommu)
{
    for (size_t i = 0; i < host->unit_count; i++) {
        if (host_same_abilities(host->units[i].iommu, iommu))
            return &host->units[i];
    }
    return NULL;
}

int check_find_units(struct check_host *host, const char *const *devices, size_t count,
                     struct viommu_error *err)
{
    int ret = check_devices(host, devices, count, err);

    if (ret)
        return ret;
    host->units = calloc(host->host.iommu_count + 1, sizeof(*host->units));
    if (!host->units)
        return vmm_fail(err, ENOMEM, "no memory for the IOMMUs of host %s", host->host.name);
    for (size_t i = 0; i < host->host.iommu_count; i++) {
        const struct host_iommu *iommu = &host->host.iommus[i];
        struct check_unit *unit = find_alike(host, iommu);

        if (!is_looked_at(&host->host, iommu, devices, count))
            continue;
        if (!unit) {
            unit = &host->units[host->unit_count++];
            unit->iommu = iommu;
        }
        unit->count++;
        text_append(unit->names, sizeof(unit->names), ", ", "%s", iommu->info.name);
    }
    return 0;
}

/* The comparison */

struct comparison {
    struct check_list *list;
    int ret;
};

static void take_mismatch(void *opaque, const struct viommu_vtd_mismatch *mismatch)
{
    struct comparison *comparison = opaque;

    if (!comparison->ret)
        comparison->ret =
            add_mismatch(comparison->list, mismatch->promise, mismatch->ability, mismatch->remedy);
}

static int compare_unit(struct check_unit *unit, const struct check_configuration *configuration)
{
    struct comparison comparison = {&unit->list, 0};

    empty(&unit->list);
    if (unit->iommu->kind == HOST_VTD && !unit->iommu->has_registers)
        return add_mismatch(&unit->list, "any", "its registers are not known", NULL);
    viommu_vtd_compare(&configuration->options, &unit->iommu->info, take_mismatch, &comparison,
                       NULL);
    return comparison.ret;
}

/*
 * What stays as it is with a host: its kernel, and how that was booted; and hardware that is in the
 * way of all assignment, of which the comparison knows nothing.
 */
static bool lack_counts(const struct host_lack *lack, bool nests)
{
    if (lack->nesting && (!nests || lack->kind == LACK_HARDWARE))
        return false;
    return lack->kind != LACK_PERMISSION && lack->kind != LACK_DEVICE;
}

static int compare_kernel(struct check_host *host, bool nests)
{
    int ret = 0;

    empty(&host->list);
    empty(&host->notes);
    for (size_t i = 0; i < host->host.lack_count && !ret; i++) {
        const struct host_lack *lack = &host->host.lacks[i];

        if (lack_counts(lack, nests))
            ret = add_mismatch(lack->unsure ? &host->notes : &host->list,
                               lack->nesting ? "nesting" : "assigned devices", lack->text,
                               lack->remedy);
    }
    if (!ret && !host->unit_count && !host->list.count)
        ret = add_mismatch(&host->list, "assigned devices", "there is no IOMMU", NULL);
    return ret;
}

int check_compare(struct check_host *host, const struct check_configuration *configuration)
{
    int ret = compare_kernel(host, configuration->nests);

    for (size_t i = 0; i < host->unit_count && !ret; i++)
        ret = compare_unit(&host->units[i], configuration);
    return ret;
}

bool check_unit_works(const struct check_unit *unit)
{
    return !unit->list.count;
}

bool check_host_works(const struct check_host *host)
{
    bool works = !host->list.count;

    for (size_t i = 0; i < host->unit_count; i++)
        works = works && check_unit_works(&host->units[i]);
    return works;
}

void check_host_free(struct check_host *host)
{
    for (size_t i = 0; i < host->unit_count; i++)
        empty(&host->units[i].list);
    free(host->units);
    empty(&host->list);
    empty(&host->notes);
    host_free(&host->host);
}
