/* SPDX-License-Identifier: MIT */
/*
 * Requester IDs and their address spaces: found by many threads, made once, there until the end.
 * And the statistics of a unit, as callers of other ages ask for them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "model/vtd/vtd.h"

#define THREADS    4
#define REQUESTERS 512

struct unit {
    struct viommu_memory *memory;
    struct viommu *viommu;
};

static void create(struct unit *unit, const char *properties)
{
    struct viommu_vtd_options options;

    assert_int_equal(viommu_memory_create(&unit->memory, NULL), 0);
    viommu_vtd_options_init(&options);
    options.memory = unit->memory;
    assert_int_equal(viommu_vtd_options_parse(&options, properties, NULL), 0);
    assert_int_equal(viommu_vtd_create(&unit->viommu, &options, NULL), 0);
}

static void destroy(struct unit *unit)
{
    viommu_destroy(unit->viommu);
    viommu_memory_destroy(unit->memory);
}

static void made_once(void **state)
{
    struct vtd_function *function;
    struct unit unit;
    struct vtd *vtd;

    (void)state;
    create(&unit, "");
    vtd = vtd_of(unit.viommu);
    assert_null(vtd_function_find(vtd, 0x1234));
    function = vtd_function_get(vtd, 0x1234);
    assert_non_null(function);
    assert_int_equal(function->requester_id, 0x1234);
    assert_ptr_equal(function->vtd, vtd);
    assert_null(function->assigned);
    assert_ptr_equal(vtd_function_get(vtd, 0x1234), function);
    assert_ptr_equal(vtd_function_find(vtd, 0x1234), function);
    assert_ptr_equal(dma_space_owner(function->space), function);
    assert_null(vtd_function_find(vtd, 0x1235));
    assert_null(vtd_function_find(vtd, 0x3412));
    destroy(&unit);
}

static void space_of_the_alias(void **state)
{
    const struct viommu_pci_id id = {0, 0xffff};
    struct unit unit;

    (void)state;
    create(&unit, "");
    assert_ptr_equal(vtd_pci_ops.get_address_space(unit.viommu, id),
                     vtd_function_get(vtd_of(unit.viommu), 0xffff)->space);
    destroy(&unit);
}

static void capability_is_configuration(void **state)
{
    static const struct {
        const char *properties;
        uint64_t cap;
    } cases[] = {
        {"", VIOMMU_CAP_HW_NESTED},
        {"hw-nested=off", 0},
        {"first-stage=off,second-stage=on", 0},
        {"scalable=off,first-stage=off", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct unit unit;

        create(&unit, cases[i].properties);
        assert_int_equal(vtd_pci_ops.get_viommu_cap(unit.viommu), cases[i].cap);
        assert_int_equal(viommu_get_cap(unit.viommu), cases[i].cap);
        destroy(&unit);
    }
}

static void count_function(struct vtd_function *function, void *opaque)
{
    uint8_t *seen = opaque;

    seen[function->requester_id]++;
}

static void each_is_visited_once(void **state)
{
    static const uint16_t ids[] = {0, 1, 0xff, 0x100, 0x8000, 0xffff};
    static uint8_t seen[65536];
    struct unit unit;

    (void)state;
    create(&unit, "");
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        vtd_function_get(vtd_of(unit.viommu), ids[i]);
    vtd_for_each_function(vtd_of(unit.viommu), count_function, seen);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        assert_int_equal(seen[ids[i]], 1);
        seen[ids[i]] = 0;
    }
    for (size_t i = 0; i < sizeof(seen); i++)
        assert_int_equal(seen[i], 0);
    destroy(&unit);
}

struct getter {
    pthread_t thread;
    struct vtd *vtd;
    struct vtd_function *functions[REQUESTERS];
};

/* Spread over buses, so that the tables of buses are raced for, too. */
static uint16_t requester(unsigned int i)
{
    return (uint16_t)(i * 129);
}

static void *get_all(void *opaque)
{
    struct getter *getter = opaque;

    for (unsigned int i = 0; i < REQUESTERS; i++)
        getter->functions[i] = vtd_function_get(getter->vtd, requester(i));
    return NULL;
}

static void *find_all(void *opaque)
{
    struct getter *getter = opaque;

    for (unsigned int i = 0; i < REQUESTERS; i++) {
        struct vtd_function *function;

        do
            function = vtd_function_find(getter->vtd, requester(i));
        while (!function);
        if (function->requester_id == requester(i))
            getter->functions[i] = function;
    }
    return NULL;
}

static void threads_agree(void **state)
{
    static struct getter getters[THREADS];
    struct unit unit;

    (void)state;
    create(&unit, "");
    memset(getters, 0, sizeof(getters));
    for (unsigned int i = 0; i < THREADS; i++) {
        getters[i].vtd = vtd_of(unit.viommu);
        assert_int_equal(
            pthread_create(&getters[i].thread, NULL, i ? get_all : find_all, &getters[i]), 0);
    }
    for (unsigned int i = 0; i < THREADS; i++)
        pthread_join(getters[i].thread, NULL);
    for (unsigned int i = 0; i < REQUESTERS; i++) {
        assert_non_null(getters[0].functions[i]);
        for (unsigned int j = 1; j < THREADS; j++)
            assert_ptr_equal(getters[j].functions[i], getters[0].functions[i]);
    }
    destroy(&unit);
}

static void statistics_of_any_size(void **state)
{
    struct {
        struct viommu_stats known;
        uint64_t newer[2];
    } stats;
    struct unit unit;

    (void)state;
    create(&unit, "");
    memset(&stats, 0xff, sizeof(stats));
    stats.known.size = sizeof(stats) - sizeof(stats.newer[1]);
    viommu_get_stats(unit.viommu, &stats.known);
    assert_int_equal(stats.known.size, sizeof(stats) - sizeof(stats.newer[1]));
    assert_int_equal(stats.known.walks, 0);
    assert_int_equal(stats.newer[0], 0);
    assert_int_equal(stats.newer[1], UINT64_MAX);

    memset(&stats, 0xff, sizeof(stats));
    stats.known.size = offsetof(struct viommu_stats, faults_lost);
    viommu_get_stats(unit.viommu, &stats.known);
    assert_int_equal(stats.known.faults_recorded, 0);
    assert_int_equal(stats.known.faults_lost, UINT64_MAX);
    destroy(&unit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_once),
        cmocka_unit_test(space_of_the_alias),
        cmocka_unit_test(capability_is_configuration),
        cmocka_unit_test(each_is_visited_once),
        cmocka_unit_test(threads_agree),
        cmocka_unit_test(statistics_of_any_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
