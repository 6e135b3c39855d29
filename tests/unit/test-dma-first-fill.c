/* SPDX-License-Identifier: MIT */
/* The IOTLB of an address space is made by its first fill; nothing stale may slip in with it. */
#include "unit.h"

#include <pthread.h>
#include <viommu/memory.h>

#include "dma/internal.h"
#include "dma_table.h"

#define RW      (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)
#define WORKERS 2

static uint64_t translate(struct viommu_dma_space *space, uint64_t iova)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;

    request.address = iova;
    request.length = 8;
    request.access = VIOMMU_DMA_READ;
    viommu_dma_translate(space, &request, &result);
    return result.status == VIOMMU_DMA_OK ? result.gpa : UINT64_MAX;
}

static struct viommu_memory *make_memory(void)
{
    struct viommu_memory *memory;

    assert_int_equal(viommu_memory_create(&memory, NULL), 0);
    return memory;
}

static void made_by_the_first_fill(void **state)
{
    struct viommu_memory *memory = make_memory();
    struct viommu_dma_space *space, *plain;
    struct dma_table table = {0};

    (void)state;
    assert_int_equal(dma_space_create(&space, memory, &table_ops, &table), 0);
    assert_int_equal(viommu_dma_space_create_plain(&plain, memory, NULL), 0);
    assert_int_equal(translate(plain, 0x1000), 0x1000);
    assert_null(dma_iotlb(plain));
    assert_int_equal(translate(space, 0x1000), UINT64_MAX);
    table_invalidate(space, 0x1000);
    table_set(&table, 0x1000, 0x5000 | RW);
    table.uncacheable = true;
    assert_int_equal(translate(space, 0x1000), 0x5000);
    assert_null(dma_iotlb(space));
    table.uncacheable = false;
    table.walks = 0;
    assert_int_equal(translate(space, 0x1000), 0x5000);
    assert_non_null(dma_iotlb(space));
    assert_int_equal(translate(space, 0x1008), 0x5008);
    assert_int_equal(table.walks, 1);
    viommu_dma_space_destroy(space);
    viommu_dma_space_destroy(plain);
    viommu_memory_destroy(memory);
}

/* The guest changes an entry and invalidates it after the walk has read it. */
static void walk_then_invalidate(struct viommu_dma_space *space,
                                 const struct viommu_dma_request *request,
                                 struct dma_translation *translation)
{
    struct dma_table *table = dma_space_owner(space);

    table_walk(space, request, translation);
    if (table->walks == 1) {
        table_set(table, request->address, 0x6000 | RW);
        table_invalidate(space, request->address);
    }
}

static const struct dma_space_ops invalidating_ops = {.walk = walk_then_invalidate};

static void invalidated_during_the_first_walk(void **state)
{
    struct viommu_memory *memory = make_memory();
    struct viommu_dma_space *space;
    struct dma_table table = {0};

    (void)state;
    table_set(&table, 0x1000, 0x5000 | RW);
    assert_int_equal(dma_space_create(&space, memory, &invalidating_ops, &table), 0);
    assert_int_equal(translate(space, 0x1000), 0x5000);
    assert_int_equal(translate(space, 0x1000), 0x6000);
    assert_int_equal(translate(space, 0x1000), 0x6000);
    assert_int_equal(table.walks, 2);
    viommu_dma_space_destroy(space);
    viommu_memory_destroy(memory);
}

struct race {
    struct viommu_dma_space *space;
    pthread_barrier_t begin;
    uint64_t current; /* what may be read from now on; atomic */
    uint64_t stale;   /* atomic */
};

static void *read_often(void *opaque)
{
    struct race *race = opaque;

    pthread_barrier_wait(&race->begin);
    for (unsigned int i = 0; i < 20; i++) {
        uint64_t oldest = __atomic_load_n(&race->current, __ATOMIC_SEQ_CST);

        if (translate(race->space, 0x1000) < oldest)
            __atomic_fetch_add(&race->stale, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* First fills of several threads while the entry, which only grows, is changed and invalidated. */
static void first_fills_race(void **state)
{
    struct viommu_memory *memory = make_memory();

    (void)state;
    for (unsigned int round = 0; round < 300; round++) {
        struct race race = {.current = 0x5000};
        struct dma_table table = {0};
        pthread_t workers[WORKERS];

        table_set(&table, 0x1000, 0x5000 | RW);
        assert_int_equal(dma_space_create(&race.space, memory, &table_ops, &table), 0);
        pthread_barrier_init(&race.begin, NULL, WORKERS + 1);
        for (unsigned int i = 0; i < WORKERS; i++)
            assert_int_equal(pthread_create(&workers[i], NULL, read_often, &race), 0);
        pthread_barrier_wait(&race.begin);
        for (uint64_t gpa = 0x6000; gpa < 0x9000; gpa += 0x1000) {
            table_set(&table, 0x1000, gpa | RW);
            table_invalidate(race.space, 0x1000);
            __atomic_store_n(&race.current, gpa, __ATOMIC_SEQ_CST);
        }
        for (unsigned int i = 0; i < WORKERS; i++)
            pthread_join(workers[i], NULL);
        assert_int_equal(translate(race.space, 0x1000), 0x8000);
        assert_int_equal(race.stale, 0);
        pthread_barrier_destroy(&race.begin);
        viommu_dma_space_destroy(race.space);
    }
    viommu_memory_destroy(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_by_the_first_fill),
        cmocka_unit_test(invalidated_during_the_first_walk),
        cmocka_unit_test(first_fills_race),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
