/* SPDX-License-Identifier: MIT */
/*
 * Random tables, requests and invalidations: the model, the simulated host and an oracle must agree
 * on every address, permission and fault; on what device TLBs and page requests come to, and
 * interrupts.
 *
 *     random [--seed N] [--requests N] [--keep FOLDER]   random cases, seed upon seed
 *     random CASE...                                     cases of files, as --keep wrote them
 *     random ... --bytes FOLDER                          and write them as inputs of fuzz-tables
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "generate.h"
#include "shrink.h"

struct arguments {
    uint64_t seed, requests;
    const char *keep, *bytes;
};

static void keep(const struct arguments *arguments, const struct test_case *test, uint64_t seed,
                 const char *failure)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/seed-%" PRIu64 ".txt", arguments->keep, seed);
    file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "cannot write %s\n", path);
        return;
    }
    fprintf(file, "# Seed %" PRIu64 ": %s\n", seed, failure);
    case_print(test, file);
    fclose(file);
    printf("kept as %s\n", path);
}

static void write_bytes(const char *folder, const struct test_case *test, uint64_t seed)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/seed-%" PRIu64, folder, seed);
    file = fopen(path, "wb");
    if (!file) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(2);
    }
    case_to_bytes(test, file);
    fclose(file);
}

static void failed(struct world *world, const struct arguments *arguments, struct test_case *test,
                   uint64_t seed)
{
    size_t before = test->count;

    printf("seed %" PRIu64 ": %s\n", seed, world->failure);
    fflush(stdout);
    shrink(world, test);
    printf("shrunk from %zu to %zu operations: %s\n", before, test->count, world->failure);
    case_print(test, stdout);
    if (arguments->keep)
        keep(arguments, test, seed, world->failure);
}

/* Which were met, and how often: what is missing was not tested. */
static void print_reasons(const struct world *world)
{
    printf("fault reasons:");
    for (unsigned int i = 0; i < 256; i++) {
        if (world->reasons[i])
            printf(" %02xh %" PRIu64, i, world->reasons[i]);
    }
    printf("\n");
}

static int run_random(const struct arguments *arguments)
{
    struct world world = {0};
    struct test_case test;
    uint64_t seed = arguments->seed;
    bool agreed = true;

    printf("seed %" PRIu64 ", %" PRIu64 " requests\n", seed, arguments->requests);
    for (; world.compared < arguments->requests && agreed; seed++) {
        agreed = generate_and_run(&world, seed, &test);
        if (!agreed)
            failed(&world, arguments, &test, seed);
        if (arguments->bytes)
            write_bytes(arguments->bytes, &test, seed);
        case_free(&test);
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " requests compared (%" PRIu64 " more while tables were "
           "changing), %" PRIu64 " arrived, %" PRIu64 " faulted\n",
           seed - arguments->seed, world.compared, world.requests - world.compared, world.arrived,
           world.faulted);
    print_reasons(&world);
    world_stop(&world);
    return agreed ? 0 : 1;
}

static bool run_file(struct world *world, const char *path)
{
    FILE *file = fopen(path, "r");
    struct test_case test;
    unsigned int line;
    size_t at;
    bool agreed;

    if (!file) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    if (!case_parse(&test, file, &line)) {
        fprintf(stderr, "%s:%u: no such operation\n", path, line);
        exit(2);
    }
    fclose(file);
    agreed = replay(world, &test, &at);
    if (!agreed)
        printf("%s: operation %zu of %zu: %s\n", path, at + 1, test.count, world->failure);
    case_free(&test);
    return agreed;
}

static int run_files(char **paths, int count)
{
    struct world world = {0};
    int failures = 0;

    for (int i = 0; i < count; i++)
        failures += !run_file(&world, paths[i]);
    printf("%d cases, %d failed, %" PRIu64 " requests compared\n", count, failures, world.compared);
    world_stop(&world);
    return failures ? 1 : 0;
}

/* A few seconds' worth; sanitizers take their time. */
static uint64_t default_requests(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 15000;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return 15000;
#endif
#endif
    return 120000;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.seed = 1, .requests = default_requests()};
    int i = 1;

    for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
        if (!strcmp(argv[i], "--seed"))
            arguments.seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--requests"))
            arguments.requests = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--keep"))
            arguments.keep = argv[i + 1];
        else if (!strcmp(argv[i], "--bytes"))
            arguments.bytes = argv[i + 1];
        else
            break;
    }
    if (i < argc && argv[i][0] == '-') {
        fprintf(stderr,
                "usage: %s [--seed N] [--requests N] [--keep FOLDER] [--bytes FOLDER] | CASE...\n",
                argv[0]);
        return 2;
    }
    return i < argc ? run_files(argv + i, argc - i) : run_random(&arguments);
}
