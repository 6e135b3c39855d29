/* SPDX-License-Identifier: MIT */
/*
 * viommu-bench-shadow: what a guest in legacy mode costs the host. Its second-stage table is
 * mirrored for an assigned device of the simulated host; the calls that this takes are counted.
 * Prints a table, or JSON with --json.
 */
#include <argp.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "machine.h"

#define NAME         "0000:01:00.0"
#define PAGES        BENCH_SHADOWED_PAGES
#define MIDDLE       (PAGES / 2 + 1000)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A guest whose function 0 is a device of a host, and what it did. */
struct run {
    struct bench_machine machine;
    struct viommu_host *host;
    struct viommu_soft_device *device;
    struct viommu_assign *assign;
    struct viommu_assigned_device *assigned;
    uint64_t entries;
    uint64_t invalidations;
};

struct row {
    uint64_t entries, invalidations;
    uint64_t maps, unmaps, attaches;
    double ms;
};

static void run_create(struct run *run)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_error error;

    *run = (struct run){0};
    bench_machine_create(&run->machine, BENCH_SHADOWED);
    bench_check(viommu_soft_create(&run->host, &options, &error), &error);
    bench_check(viommu_soft_device_add(run->host, NAME, 0, &run->device, &error), &error);
    bench_check(viommu_assign_create(&run->assign, run->host, run->machine.memory, NULL, &error),
                &error);
    bench_check(
        viommu_assign_attach(run->assign, run->machine.functions[0], NAME, &run->assigned, &error),
        &error);
}

static void run_destroy(struct run *run)
{
    viommu_assign_detach(run->assigned);
    viommu_assign_destroy(run->assign);
    viommu_soft_device_remove(run->device);
    viommu_host_destroy(run->host);
    bench_machine_destroy(&run->machine);
}

/* What guests do */

static void map(struct run *run, uint64_t page, uint64_t to)
{
    bench_machine_map(&run->machine, page, to);
    run->entries++;
}

static void unmap(struct run *run, uint64_t page)
{
    bench_machine_unmap(&run->machine, page);
    run->entries++;
}

static void flush_domain(struct run *run)
{
    bench_machine_queue_domain(&run->machine);
    bench_machine_run(&run->machine);
    run->invalidations++;
}

static void flush_pages(struct run *run, uint64_t page, unsigned int pages_log2)
{
    bench_machine_queue_pages(&run->machine, page, pages_log2);
    bench_machine_run(&run->machine);
    run->invalidations++;
}

static void map_all_entries(struct run *run)
{
    for (uint64_t i = 0; i < PAGES; i++)
        map(run, i, i);
}

static void map_all(struct run *run)
{
    map_all_entries(run);
    flush_domain(run);
}

static void map_all_in_one_batch(struct run *run)
{
    map_all_entries(run);
    for (uint64_t i = 0; i < PAGES; i += 512) {
        bench_machine_queue_pages(&run->machine, i, 9);
        run->invalidations++;
    }
    bench_machine_run(&run->machine);
}

static void map_all_piecewise(struct run *run)
{
    map_all_entries(run);
    for (uint64_t i = 0; i < PAGES; i += 512)
        flush_pages(run, i, 9);
}

/* An odd stride: every page once, and no two that adjoin. */
static void map_scattered(struct run *run)
{
    for (uint64_t i = 0; i < PAGES; i++)
        map(run, i, i * 12345 % PAGES);
    flush_domain(run);
}

static void unmap_all(struct run *run)
{
    for (uint64_t i = 0; i < PAGES; i++)
        unmap(run, i);
    flush_domain(run);
}

static void change_one(struct run *run)
{
    map(run, MIDDLE, 0);
    flush_pages(run, MIDDLE, 0);
}

static void unmap_some(struct run *run, uint64_t first, uint64_t stride, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        unmap(run, first + i * stride);
        flush_pages(run, first + i * stride, 0);
    }
}

static void unmap_one(struct run *run)
{
    unmap_some(run, MIDDLE, 0, 1);
}

static void unmap_64_neighbours(struct run *run)
{
    unmap_some(run, MIDDLE, 1, 64);
}

static void unmap_64_apart(struct run *run)
{
    unmap_some(run, 2000, 4001, 64);
}

static void unmap_64_apart_at_once(struct run *run)
{
    for (unsigned int i = 0; i < 64; i++)
        unmap(run, 2000 + i * 4001);
    flush_domain(run);
}

static void unmap_each(struct run *run)
{
    unmap_some(run, 0, 1, PAGES);
}

static void map_all_and_unmap_64_apart(struct run *run)
{
    map_all(run);
    unmap_64_apart(run);
}

/* 64 KiB each, at one of 256 places beyond what is mapped: mapped, used, unmapped. */
static void buffers(struct run *run)
{
    for (unsigned int i = 0; i < 10000; i++) {
        uint64_t first = PAGES + i % 256 * 16;

        for (unsigned int j = 0; j < 16; j++)
            map(run, first + j, i * UINT64_C(16) % PAGES + j);
        flush_pages(run, first, 4);
        for (unsigned int j = 0; j < 16; j++)
            unmap(run, first + j);
        flush_pages(run, first, 4);
    }
}

struct scenario {
    const char *name;
    void (*before)(struct run *run); /* not counted; NULL: nothing */
    void (*work)(struct run *run);
};

static const struct scenario scenarios[] = {
    {"map 1 GiB, invalidate the domain", NULL, map_all},
    {"map 1 GiB, invalidate 512 times 2 MiB in a batch", NULL, map_all_in_one_batch},
    {"map 1 GiB, invalidate 512 times 2 MiB, wait each time", NULL, map_all_piecewise},
    {"map 1 GiB of scattered pages", NULL, map_scattered},
    {"unmap 1 GiB", map_all, unmap_all},
    {"unmap 1 GiB of scattered pages", map_scattered, unmap_all},
    {"change 1 page in the middle of 1 GiB", map_all, change_one},
    {"unmap 1 page in the middle of 1 GiB", map_all, unmap_one},
    {"unmap 64 pages in the middle, one after the other", map_all, unmap_64_neighbours},
    {"unmap 64 pages far apart, one after the other", map_all, unmap_64_apart},
    {"unmap 64 pages far apart, invalidate the domain", map_all, unmap_64_apart_at_once},
    {"unmap 1 GiB page by page", map_all, unmap_each},
    {"map and unmap 64 KiB, 10,000 times", NULL, buffers},
    {"the same after 64 pages were unmapped far apart", map_all_and_unmap_64_apart, buffers},
};

static double now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static struct row measure(const struct scenario *scenario)
{
    struct viommu_host_stats before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
    struct run run;
    struct row row;
    double start;

    run_create(&run);
    if (scenario->before)
        scenario->before(&run);
    run.entries = run.invalidations = 0;
    viommu_host_get_stats(run.host, &before);
    start = now_ms();
    scenario->work(&run);
    row.ms = now_ms() - start;
    viommu_host_get_stats(run.host, &after);
    row.entries = run.entries;
    row.invalidations = run.invalidations;
    row.maps = after.calls[VIOMMU_HOST_CALL_IOAS_MAP] - before.calls[VIOMMU_HOST_CALL_IOAS_MAP];
    row.unmaps =
        after.calls[VIOMMU_HOST_CALL_IOAS_UNMAP] - before.calls[VIOMMU_HOST_CALL_IOAS_UNMAP];
    row.attaches = after.calls[VIOMMU_HOST_CALL_ATTACH] - before.calls[VIOMMU_HOST_CALL_ATTACH];
    run_destroy(&run);
    return row;
}

static void print_table(void)
{
    printf("%-54s %8s %8s %8s %8s %8s %8s\n", "what the guest did", "entries", "inval.", "maps",
           "unmaps", "attaches", "ms");
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        struct row row = measure(&scenarios[i]);

        printf("%-54s %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8.1f\n",
               scenarios[i].name, row.entries, row.invalidations, row.maps, row.unmaps,
               row.attaches, row.ms);
        fflush(stdout);
    }
}

static void print_json(void)
{
    json_t *array = json_array();

    for (size_t i = 0; i < COUNT(scenarios); i++) {
        struct row row = measure(&scenarios[i]);

        json_array_append_new(array,
                              json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "scenario",
                                        scenarios[i].name, "entries", (json_int_t)row.entries,
                                        "invalidations", (json_int_t)row.invalidations, "map_calls",
                                        (json_int_t)row.maps, "unmap_calls", (json_int_t)row.unmaps,
                                        "attaches", (json_int_t)row.attaches, "ms", row.ms));
    }
    json_dumpf(array, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(array);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key != 'j')
        return ARGP_ERR_UNKNOWN;
    *(bool *)state->input = true;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"json", 'j', NULL, 0, "print JSON instead of a table", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc = "Count the host calls by which a guest's second-stage table is mirrored.",
    };
    bool json = false;

    argp_parse(&argp, argc, argv, 0, NULL, &json);
    if (json)
        print_json();
    else
        print_table();
    return 0;
}
