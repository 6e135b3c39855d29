/* SPDX-License-Identifier: MIT */
/* The result of a check, for people. */
#include "check.h"
#include "text.h"
#include <stdio.h>
#include <string.h>

static void describe_kind(const struct host_iommu *iommu, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s", host_kinds[iommu->kind].words, iommu->version[0] ? " " : "",
             iommu->version);
}

static void describe_unit(const struct check_unit *unit, char *text, size_t size)
{
    if (unit->count > 2)
        snprintf(text, size, "%s and %zu alike", unit->iommu->info.name, unit->count - 1);
    else
        snprintf(text, size, "%.130s", unit->names);
}

static void describe_result(size_t mismatches, char *text, size_t size)
{
    if (mismatches)
        snprintf(text, size, "no, %zu %s", mismatches, mismatches == 1 ? "mismatch" : "mismatches");
    else
        snprintf(text, size, "yes");
}

/* The width of the column of hosts. */
static int host_width(const struct check *check)
{
    size_t width = strlen("HOST");

    for (size_t i = 0; i < check->host_count; i++) {
        size_t length = strlen(check->hosts[i].host.name);

        width = length > width ? length : width;
    }
    return (int)width;
}

static void print_rows(const struct check_host *host, int width)
{
    char kind[48], result[48], names[160];

    for (size_t i = 0; i < host->unit_count; i++) {
        const struct check_unit *unit = &host->units[i];

        describe_unit(unit, names, sizeof(names));
        describe_kind(unit->iommu, kind, sizeof(kind));
        describe_result(unit->list.count + host->list.count, result, sizeof(result));
        printf("%-*s  %-20s  %-14s  %s\n", width, host->host.name, names, kind, result);
    }
    if (!host->unit_count) {
        describe_result(host->list.count, result, sizeof(result));
        printf("%-*s  %-20s  %-14s  %s\n", width, host->host.name, "-", "-", result);
    }
}

static void print_list(const struct check_list *list)
{
    char text[640];

    for (size_t i = 0; i < list->count; i++) {
        const struct check_mismatch *mismatch = &list->mismatches[i];

        snprintf(text, sizeof(text), "%s: %s (%s)", mismatch->promise, mismatch->ability,
                 mismatch->remedy[0] ? mismatch->remedy : "no setting helps");
        text_print(4, text);
    }
}

static void print_mismatches(const struct check_host *host)
{
    char names[160];

    if (host->list.count)
        printf("\n  %s as a whole\n", host->host.name);
    print_list(&host->list);
    for (size_t i = 0; i < host->unit_count; i++) {
        const struct check_unit *unit = &host->units[i];

        describe_unit(unit, names, sizeof(names));
        if (unit->list.count)
            printf("\n  %s, IOMMU %s\n", host->host.name, names);
        print_list(&unit->list);
    }
    if (host->notes.count)
        printf("\n  %s, to be made sure of\n", host->host.name);
    print_list(&host->notes);
}

static size_t count_working(const struct check *check)
{
    size_t working = 0;

    for (size_t i = 0; i < check->host_count; i++)
        working += check_host_works(&check->hosts[i]);
    return working;
}

/* Where the guest is accepted it sees the same registers, which only follow from its configuration.
 */
static void print_moves(const struct check *check)
{
    size_t working = count_working(check);
    char can[1024] = "", cannot[1024] = "";

    for (size_t i = 0; i < check->host_count; i++) {
        bool works = check_host_works(&check->hosts[i]);

        text_append(works ? can : cannot, sizeof(can), ", ", "%s", check->hosts[i].host.name);
    }
    if (check->host_count < 2)
        return;
    if (working < 2)
        printf("A guest with it can move between no two of them.\n");
    else if (working == check->host_count)
        printf("A guest with it can move among all of them: its registers are the same on each.\n");
    else
        printf("A guest with it can move among %s; not to or from %s.\n", can, cannot);
}

static void print_suggested(const char *suggested)
{
    if (!suggested)
        return;
    if (*suggested)
        printf("\nThe strongest that all carry:\n  --viommu %s\n", suggested);
    else
        printf("\nNo configuration works on all of them: what they lack as a whole comes first.\n");
}

void check_print(const struct check *check, const char *suggested)
{
    int width = host_width(check);

    printf("%-*s  %-20s  %-14s  %s\n", width, "HOST", "IOMMU", "TYPE", "WORKS");
    for (size_t i = 0; i < check->host_count; i++)
        print_rows(&check->hosts[i], width);
    for (size_t i = 0; i < check->host_count; i++)
        print_mismatches(&check->hosts[i]);
    printf("\n%s works on %zu of %zu %s.\n", check->configuration.text, count_working(check),
           check->host_count, check->host_count == 1 ? "host" : "hosts");
    print_moves(check);
    print_suggested(suggested);
}
