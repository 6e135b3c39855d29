/* SPDX-License-Identifier: MIT */
/*
 * DMA in several threads while another one changes the table, invalidates and drains: afterwards
 * nobody may use what was there before.
 */
#include "unit.h"

#include <pthread.h>
#include <viommu/memory.h>

#include "dma/space.h"

#define PAGE    4096
#define WORKERS 2

/* The table of the device: one large page, whose GPA changes. Its owner is the struct machine. */
#define GRANULE_LOG2 16
#define FRAME        (1u << GRANULE_LOG2)
#define FRAMES       8
#define DOMAIN       3
#define HOTPLUG      (FRAMES * FRAME)

struct machine {
    struct viommu_memory *memory;
    struct viommu_dma_space *space;
    char *ram;
    uint64_t frame;    /* of the page now; atomic */
    bool dawdle;       /* a walk lets others run between its reading and its answer */
    bool stop;         /* atomic */
    uint64_t oldest;   /* test of stale fills: what may still be read; atomic */
    uint64_t rounds;   /* of all workers; atomic */
    uint64_t joined;   /* workers that have begun; atomic */
    uint64_t failures; /* atomic */
};

static void walk(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                 struct dma_translation *translation)
{
    struct machine *machine = dma_space_owner(space);
    uint64_t frame = __atomic_load_n(&machine->frame, __ATOMIC_ACQUIRE);

    (void)request;
    if (machine->dawdle)
        sched_yield();
    *translation = (struct dma_translation){
        .gpa = frame * FRAME,
        .domain = DOMAIN,
        .granule_log2 = machine->dawdle ? 12 : GRANULE_LOG2,
        .permissions = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE,
    };
}

static const struct dma_space_ops ops = {.walk = walk};

static int setup(void **state)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    struct viommu_memory_range range = {0, FRAMES * FRAME, unit_pages(FRAMES * FRAME / PAGE), 0};

    machine->ram = range.host;
    assert_int_equal(viommu_memory_create(&machine->memory, NULL), 0);
    assert_int_equal(viommu_memory_add(machine->memory, &range, NULL), 0);
    assert_int_equal(dma_space_create(&machine->space, machine->memory, &ops, machine), 0);
    *state = machine;
    return 0;
}

static int teardown(void **state)
{
    struct machine *machine = *state;

    viommu_dma_space_destroy(machine->space);
    viommu_memory_destroy(machine->memory);
    free(machine->ram);
    free(machine);
    return 0;
}

static bool is_stopped(const struct machine *machine)
{
    return __atomic_load_n(&machine->stop, __ATOMIC_ACQUIRE);
}

static void count(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void start(struct machine *machine, pthread_t *workers, void *(*work)(void *))
{
    for (unsigned int i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, work, machine);
    while (!__atomic_load_n(&machine->rounds, __ATOMIC_RELAXED))
        sched_yield();
}

static void finish(struct machine *machine, pthread_t *workers)
{
    __atomic_store_n(&machine->stop, true, __ATOMIC_RELEASE);
    for (unsigned int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    print_message("%llu rounds of DMA\n", (unsigned long long)machine->rounds);
    assert_int_equal(machine->failures, 0);
}

/* What a guest does: change the table, invalidate, wait until that is done. */
static void remap(struct machine *machine, uint64_t frame, enum dma_invalidate_scope scope)
{
    struct dma_invalidation what = {scope, DOMAIN, DMA_PASID_ANY, 0, PAGE, false};

    __atomic_store_n(&machine->frame, frame, __ATOMIC_RELEASE);
    dma_space_invalidate(machine->space, &what);
    dma_drain(&machine->space, 1);
}

#define SHARE (FRAME / WORKERS)

/*
 * Large writes, so that many are under way when the page goes away. Each worker writes its share of
 * it: what ThreadSanitizer says is then about the grace period, not about two devices.
 */
static void *write_frames(void *opaque)
{
    struct machine *machine = opaque;
    uint64_t share = __atomic_fetch_add(&machine->joined, 1, __ATOMIC_RELAXED) * SHARE;
    char *buffer = unit_pages(SHARE / PAGE);

    memset(buffer, 'w', SHARE);
    while (!is_stopped(machine)) {
        struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
        struct viommu_dma_result result;

        request.address = share;
        request.length = PAGE; /* a part of an unusual page, as the IOTLB holds it */
        if (viommu_dma_write(machine->space, &request, buffer, &result))
            count(&machine->failures);
        request.length = SHARE;
        if (viommu_dma_write(machine->space, &request, buffer, &result))
            count(&machine->failures);
        count(&machine->rounds);
    }
    free(buffer);
    return NULL;
}

/* Whether a frame is all of one byte; also lets others run, so that a late write is seen. */
static bool stays(const char *frame, char byte)
{
    sched_yield();
    for (unsigned int pass = 0; pass < 4; pass++) {
        for (size_t i = 0; i < FRAME; i++) {
            if (((const volatile char *)frame)[i] != byte)
                return false;
        }
    }
    return true;
}

static void nobody_writes_after_the_drain(void **state)
{
    struct machine *machine = *state;
    pthread_t workers[WORKERS];
    unsigned int touched = 0;

    start(machine, workers, write_frames);
    for (unsigned int round = 1; round <= 100; round++) {
        uint64_t old = machine->frame;
        char *frame = machine->ram + old * FRAME;

        remap(machine, (old + 1) % FRAMES, (enum dma_invalidate_scope)(round % 3));
        memset(frame, 'p', FRAME);
        touched += !stays(frame, 'p');
    }
    finish(machine, workers);
    assert_int_equal(touched, 0);
}

/*
 * Frame n % FRAMES holds the number n of the remapping. A request that begins after a drain must
 * not read a number from before, whenever the walk that was filled in had begun.
 */
static void *read_numbers(void *opaque)
{
    struct machine *machine = opaque;

    while (!is_stopped(machine)) {
        struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
        struct viommu_dma_result result;
        uint64_t oldest = __atomic_load_n(&machine->oldest, __ATOMIC_SEQ_CST), number = 0;

        request.length = sizeof(number);
        if (viommu_dma_read(machine->space, &request, &number, &result) || number < oldest)
            count(&machine->failures);
        count(&machine->rounds);
    }
    return NULL;
}

/* The first reader after a drain: what was filled in while the invalidation ran is not for it. */
static uint64_t read_number(struct machine *machine)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    uint64_t number = 0;

    request.length = sizeof(number);
    viommu_dma_read(machine->space, &request, &number, &result);
    return number;
}

static void no_stale_fill(void **state)
{
    struct machine *machine = *state;
    pthread_t workers[WORKERS];
    unsigned int stale = 0;

    machine->dawdle = true;
    start(machine, workers, read_numbers);
    for (uint64_t number = 1; number <= 1500; number++) {
        uint64_t frame = number % FRAMES;

        viommu_memory_write(machine->memory, frame * FRAME, &number, sizeof(number));
        /* All scopes; pages without the help of a domain's generation most often. */
        remap(machine, frame,
              number % 8 ? DMA_INVALIDATE_PAGES : (enum dma_invalidate_scope)(number / 8 % 3));
        __atomic_store_n(&machine->oldest, number, __ATOMIC_SEQ_CST);
        stale += read_number(machine) != number;
    }
    finish(machine, workers);
    assert_int_equal(stale, 0);
}

/* A device that works directly in memory until it is told to stop. */
struct direct {
    struct viommu_dma_mapping mapping;
    bool revoked; /* atomic */
};

static void let_go(struct viommu_dma_mapping *mapping, void *opaque)
{
    struct direct *direct = opaque;

    (void)mapping;
    __atomic_store_n(&direct->revoked, true, __ATOMIC_RELEASE);
}

static void *write_directly(void *opaque)
{
    struct machine *machine = opaque;

    while (!is_stopped(machine)) {
        struct direct *direct = calloc(1, sizeof(*direct));
        struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
        struct viommu_dma_result result;

        request.length = FRAME;
        request.access = VIOMMU_DMA_WRITE;
        direct->mapping.revoke = let_go;
        direct->mapping.opaque = direct;
        if (viommu_dma_map(machine->space, &request, &direct->mapping, &result)) {
            count(&machine->failures);
        } else {
            /* Sometimes it ends by itself, and races with being told to. */
            for (unsigned int i = 0; i < 2000; i++) {
                if (__atomic_load_n(&direct->revoked, __ATOMIC_ACQUIRE))
                    break;
                __atomic_store_n((uint32_t *)direct->mapping.host + i % 64, 'w', __ATOMIC_RELAXED);
            }
            viommu_dma_unmap(machine->space, &direct->mapping);
        }
        free(direct); /* a callback that comes too late writes here */
        count(&machine->rounds);
    }
    return NULL;
}

static void nobody_holds_after_the_drain(void **state)
{
    struct machine *machine = *state;
    pthread_t workers[WORKERS];
    unsigned int touched = 0;

    start(machine, workers, write_directly);
    for (unsigned int round = 1; round <= 100; round++) {
        uint64_t old = machine->frame;
        char *frame = machine->ram + old * FRAME;

        remap(machine, (old + 1) % FRAMES, (enum dma_invalidate_scope)(round % 3));
        memset(frame, 'p', FRAME);
        touched += !stays(frame, 'p');
    }
    finish(machine, workers);
    assert_int_equal(touched, 0);
}

/* DMA and mappings to memory that comes and goes. */
static void *use_hotplugged(void *opaque)
{
    struct machine *machine = opaque;

    while (!is_stopped(machine)) {
        struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
        struct direct *direct = calloc(1, sizeof(*direct));
        struct viommu_dma_result result;
        uint64_t word = 'w';
        int ret;

        request.length = sizeof(word);
        ret = viommu_dma_write(machine->space, &request, &word, &result);
        if (ret && result.status != VIOMMU_DMA_NO_MEMORY)
            count(&machine->failures);
        request.access = VIOMMU_DMA_WRITE;
        direct->mapping.revoke = let_go;
        direct->mapping.opaque = direct;
        if (!viommu_dma_map(machine->space, &request, &direct->mapping, &result)) {
            while (!__atomic_load_n(&direct->revoked, __ATOMIC_ACQUIRE) && !is_stopped(machine))
                __atomic_store_n((uint64_t *)direct->mapping.host, word, __ATOMIC_RELAXED);
            viommu_dma_unmap(machine->space, &direct->mapping);
        }
        free(direct);
        count(&machine->rounds);
    }
    return NULL;
}

static void hotplug_under_dma(void **state)
{
    struct machine *machine = *state;
    pthread_t workers[WORKERS];

    machine->frame = FRAMES;
    start(machine, workers, use_hotplugged);
    for (unsigned int round = 0; round < 60; round++) {
        char *host = unit_pages(FRAME / PAGE);
        struct viommu_memory_range range = {HOTPLUG, FRAME, host, 0};

        assert_int_equal(viommu_memory_add(machine->memory, &range, NULL), 0);
        sched_yield();
        assert_int_equal(viommu_memory_remove(machine->memory, HOTPLUG, NULL), 0);
        memset(host, 'p', FRAME);
        if (!stays(host, 'p'))
            count(&machine->failures);
        free(host);
    }
    finish(machine, workers);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_writes_after_the_drain),
        TEST(no_stale_fill),
        TEST(nobody_holds_after_the_drain),
        TEST(hotplug_under_dma),
    };

    return cmocka_run_group_tests_name("dma-concurrent", tests, NULL, NULL);
}
