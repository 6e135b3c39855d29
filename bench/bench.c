/* SPDX-License-Identifier: MIT */
/*
 * viommu-bench: what the performance page claims, measured. Each number is the median of several
 * runs; compare numbers of one invocation only. Prints a table, or JSON with --json.
 */
#include <argp.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine.h"

#define RUNS        7
#define HIT_PAGES   64
#define BATCH       64
#define MOST_ROWS   32
#define ATTACH_NAME "0000:01:00.0"

struct row {
    const char *name;
    unsigned int threads;
    double ns;      /* of one operation in one thread, median */
    double scaling; /* total operations per second against one thread; 0: not measured */
};

static struct row rows[MOST_ROWS];
static size_t row_count;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One benchmark: `operations` of them in one thread. `index` is the thread's. */
typedef void work_fn(struct bench_machine *machine, unsigned int index, uint64_t operations);

/*
 * What never waits is measured in CPU time of its thread, which other programs on the machine
 * falsify least; threads that slow each other down, by locks or by shared cache lines, still show.
 * What may wait is measured by the clock.
 */
struct benchmark {
    const char *name;
    work_fn *work;
    clockid_t clock;
    unsigned int most_threads;
    uint64_t operations;
};

struct worker {
    struct bench_machine *machine;
    const struct benchmark *benchmark;
    unsigned int index;
    uint64_t operations;
    pthread_barrier_t *barrier;
    uint64_t elapsed;
};

static void *run_worker(void *opaque)
{
    struct worker *worker = opaque;
    uint64_t start;

    pthread_barrier_wait(worker->barrier);
    start = now_ns(worker->benchmark->clock);
    worker->benchmark->work(worker->machine, worker->index, worker->operations);
    worker->elapsed = now_ns(worker->benchmark->clock) - start;
    return NULL;
}

/* ns for one operation, with `threads` running at once. */
static double run_once(struct bench_machine *machine, const struct benchmark *benchmark,
                       unsigned int threads, uint64_t operations)
{
    struct worker workers[BENCH_THREADS];
    pthread_t ids[BENCH_THREADS];
    pthread_barrier_t barrier;
    double sum = 0;

    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned int i = 0; i < threads; i++) {
        workers[i] = (struct worker){machine, benchmark, i, operations, &barrier, 0};
        if (pthread_create(&ids[i], NULL, run_worker, &workers[i])) {
            fprintf(stderr, "viommu-bench: cannot create a thread\n");
            exit(1);
        }
    }
    for (unsigned int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        sum += (double)workers[i].elapsed;
    }
    pthread_barrier_destroy(&barrier);
    return sum / threads / (double)operations;
}

static double median_run(struct bench_machine *machine, const struct benchmark *benchmark,
                         unsigned int threads)
{
    double ns[RUNS];

    run_once(machine, benchmark, threads, benchmark->operations / 10 + 1);
    for (int i = 0; i < RUNS; i++)
        ns[i] = run_once(machine, benchmark, threads, benchmark->operations);
    qsort(ns, RUNS, sizeof(ns[0]), compare_doubles);
    return ns[RUNS / 2];
}

static void measure(struct bench_machine *machine, const struct benchmark *benchmark)
{
    double one = 0;

    for (unsigned int threads = 1; threads <= benchmark->most_threads; threads++) {
        double ns = median_run(machine, benchmark, threads);

        if (threads == 1)
            one = ns;
        rows[row_count++] = (struct row){benchmark->name, threads, ns, threads * one / ns};
    }
}

static void translate_pages(struct bench_machine *machine, unsigned int index, uint64_t operations,
                            unsigned int pages, unsigned int stride)
{
    const struct viommu_pci_device *device = machine->functions[index];
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(device);
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;

    request.requester_id = viommu_pci_device_alias(device).requester_id;
    request.length = 64;
    request.access = VIOMMU_DMA_READ;
    for (uint64_t i = 0; i < operations; i++) {
        request.address = (i * stride % pages) << 12;
        if (viommu_dma_translate(space, &request, &result)) {
            fprintf(stderr, "viommu-bench: IOVA 0x%" PRIx64 " is refused: %s (0x%x)\n",
                    request.address, viommu_dma_status_name(result.status), result.fault_code);
            exit(1);
        }
    }
}

static void work_hit(struct bench_machine *machine, unsigned int index, uint64_t operations)
{
    translate_pages(machine, index, operations, HIT_PAGES, 1);
}

/* The stride is odd, so that every page comes before one comes again: always a miss. */
static void work_walk(struct bench_machine *machine, unsigned int index, uint64_t operations)
{
    translate_pages(machine, index, operations, BENCH_PAGES, 1031);
}

/* What a device model does: 64 bytes from guest memory, on a hit. */
static void work_read(struct bench_machine *machine, unsigned int index, uint64_t operations)
{
    const struct viommu_pci_device *device = machine->functions[index];
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(device);
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    uint8_t buffer[64];

    request.requester_id = viommu_pci_device_alias(device).requester_id;
    request.length = sizeof(buffer);
    for (uint64_t i = 0; i < operations; i++) {
        request.address = (i % HIT_PAGES) << 12;
        if (viommu_dma_read(space, &request, buffer, &result)) {
            fprintf(stderr, "viommu-bench: read of IOVA 0x%" PRIx64 " failed: %s\n",
                    request.address, viommu_dma_status_name(result.status));
            exit(1);
        }
    }
}

static void work_chase(struct bench_machine *machine, unsigned int index, uint64_t operations)
{
    uint64_t sum = 0;

    (void)index;
    for (uint64_t i = 0; i < operations; i++)
        sum += bench_machine_chase(machine, (unsigned int)(i * 1031 % BENCH_PAGES));
    __asm__ volatile("" : : "r"(sum)); /* keep the reads */
}

/* A unit has one queue, so each thread has a unit of its own. */
static void work_invalidate(struct bench_machine *machines, unsigned int index, uint64_t operations)
{
    struct bench_machine *machine = &machines[index];

    for (uint64_t i = 0; i < operations; i += BATCH)
        bench_machine_invalidate(machine, BENCH_PAGES + (unsigned int)(i % 4096), BATCH);
}

/* As a guest has one host, each thread has a guest and a host of its own. */
static void work_attach(struct bench_machine *machines, unsigned int index, uint64_t operations)
{
    struct bench_machine *machine = &machines[index];
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_assigned_device *assigned;
    struct viommu_soft_device *device;
    struct viommu_assign *assign;
    struct viommu_host *host;
    struct viommu_error error;

    bench_check(viommu_soft_create(&host, &options, &error), &error);
    bench_check(viommu_soft_device_add(host, ATTACH_NAME, 0, &device, &error), &error);
    bench_check(viommu_assign_create(&assign, host, machine->memory, NULL, &error), &error);
    for (uint64_t i = 0; i < operations; i++) {
        bench_check(
            viommu_assign_attach(assign, machine->functions[0], ATTACH_NAME, &assigned, &error),
            &error);
        viommu_assign_detach(assigned);
    }
    viommu_assign_destroy(assign);
    viommu_soft_device_remove(device);
    viommu_host_destroy(host);
}

static void measure_mode(enum bench_mode mode, const struct benchmark *benchmarks, size_t count)
{
    struct bench_machine machine;

    bench_machine_create(&machine, mode);
    for (size_t i = 0; i < count; i++)
        measure(&machine, &benchmarks[i]);
    bench_machine_destroy(&machine);
}

#define CPU          CLOCK_THREAD_CPUTIME_ID
#define CLOCK        CLOCK_MONOTONIC
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct benchmark first_stage[] = {
    {"IOTLB hit", work_hit, CPU, BENCH_THREADS, 10000000},
    {"64-byte read, IOTLB hit", work_read, CPU, BENCH_THREADS, 5000000},
    {"reads of 4 entries (no walk)", work_chase, CPU, 1, 2000000},
    {"4-level walk, first stage", work_walk, CPU, BENCH_THREADS, 500000},
};
static const struct benchmark second_stage[] = {
    {"4-level walk, second stage (legacy)", work_walk, CPU, BENCH_THREADS, 500000},
};
static const struct benchmark nested[] = {
    {"nested walk, 4 + 4 levels", work_walk, CPU, BENCH_THREADS, 500000},
};
static const struct benchmark few_cached = {"invalidation descriptor, 1 page cached",
                                            work_invalidate, CLOCK, BENCH_THREADS, 64000};
static const struct benchmark all_cached = {"invalidation descriptor, IOTLB full", work_invalidate,
                                            CLOCK, BENCH_THREADS, 64000};
static const struct benchmark attach = {"attach and detach (simulated host)", work_attach, CLOCK,
                                        BENCH_THREADS, 2000};

static const struct benchmark sanitized_walk = {"4-level walk, first stage, sanitizing", work_walk,
                                                CPU, BENCH_THREADS, 200000};
static const struct benchmark sanitized_few = {"invalidation, sanitizing, 1 page known",
                                               work_invalidate, CLOCK, 1, 64000};
static const struct benchmark sanitized_many = {"invalidation, sanitizing, 1024 known",
                                                work_invalidate, CLOCK, 1, 6400};

/* What the sanitizer costs grows with what it remembers. */
static void measure_sanitizer(void)
{
    struct bench_machine machine;

    bench_machine_create(&machine, BENCH_SANITIZED);
    translate_pages(&machine, 0, 1, 1, 1);
    measure(&machine, &sanitized_few);
    measure(&machine, &sanitized_walk);
    measure(&machine, &sanitized_many);
    bench_machine_destroy(&machine);
}

/* The cost of a page-selective invalidation must not grow with what is cached. */
static void measure_control(void)
{
    struct bench_machine machines[BENCH_THREADS];

    for (unsigned int i = 0; i < BENCH_THREADS; i++) {
        bench_machine_create(&machines[i], BENCH_FIRST_STAGE);
        translate_pages(&machines[i], 0, 1, 1, 1);
    }
    measure(machines, &few_cached);
    for (unsigned int i = 0; i < BENCH_THREADS; i++)
        work_walk(&machines[i], 0, BENCH_PAGES);
    measure(machines, &all_cached);
    measure(machines, &attach);
    for (unsigned int i = 0; i < BENCH_THREADS; i++)
        bench_machine_destroy(&machines[i]);
}

static void print_table(void)
{
    printf("%-42s %7s %12s %8s\n", "operation", "threads", "ns", "scaling");
    for (size_t i = 0; i < row_count; i++)
        printf("%-42s %7u %12.1f %7.2fx\n", rows[i].name, rows[i].threads, rows[i].ns,
               rows[i].scaling);
}

static void print_json(void)
{
    json_t *array = json_array();

    for (size_t i = 0; i < row_count; i++)
        json_array_append_new(array, json_pack("{s:s, s:i, s:f, s:f}", "operation", rows[i].name,
                                               "threads", (int)rows[i].threads, "ns", rows[i].ns,
                                               "scaling", rows[i].scaling));
    json_dumpf(array, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(array);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    switch (key) {
    case 'j':
        *(bool *)state->input = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
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
        .doc = "Measure IOTLB hits, walks, invalidations and attaches of libviommu.",
    };
    bool json = false;

    argp_parse(&argp, argc, argv, 0, NULL, &json);
    measure_mode(BENCH_FIRST_STAGE, first_stage, COUNT(first_stage));
    measure_mode(BENCH_SECOND_STAGE, second_stage, COUNT(second_stage));
    measure_mode(BENCH_NESTED, nested, COUNT(nested));
    measure_sanitizer();
    measure_control();
    if (json)
        print_json();
    else
        print_table();
    return 0;
}
