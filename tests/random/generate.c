/* SPDX-License-Identifier: MIT */
#include "generate.h"

#include <string.h>

#include "generate_devices.h"
#include "tables.h"

#define ROUNDS         8
#define REQUESTS       44 /* of a round, that are compared */
#define MUTATIONS      3
#define MOST_UNSETTLED 6

/* splitmix64: small, and the same everywhere. */
uint64_t random_next(struct generator *generator)
{
    uint64_t z = generator->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t random_below(struct generator *generator, uint64_t n)
{
    return random_next(generator) % n;
}

bool random_one_in(struct generator *generator, uint64_t n)
{
    return random_next(generator) % n == 0;
}

void emit(struct generator *generator, struct op op)
{
    if (generator->failed)
        return;
    case_add(generator->test, op);
    generator->failed = !world_run(generator->world, &op);
}

void emit_store(struct generator *generator, uint64_t gpa, uint64_t value)
{
    emit(generator, (struct op){OP_STORE, {gpa, value}});
}

/* Requests */

static uint64_t random_address(struct generator *generator)
{
    uint64_t base = random_iova(generator);

    switch (random_below(generator, 8)) {
    case 0:
        return base + 0x1000 - random_below(generator, 16);
    case 1:
        return base + random_below(generator, 0x200000);
    case 2:
        return base ^ UINT64_C(1) << random_below(generator, 64);
    default:
        return base + random_below(generator, 0x1000);
    }
}

static uint64_t random_length(struct generator *generator)
{
    switch (random_below(generator, 16)) {
    case 0:
        return random_below(generator, 0x2800);
    case 1:
        return random_one_in(generator, 2) ? 0x1000 : 0;
    default:
        return 1 + random_below(generator, 16);
    }
}

static uint64_t random_access(struct generator *generator, bool with_pasid)
{
    uint64_t access = 1 + random_below(generator, 3);

    if (random_one_in(generator, 200))
        return random_below(generator, 16);
    if (with_pasid && random_one_in(generator, 6))
        access |= VIOMMU_DMA_PRIVILEGED;
    /* Only reads are execute requests. */
    if (with_pasid && random_one_in(generator, 6))
        access = (access & VIOMMU_DMA_PRIVILEGED) | VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE;
    return access;
}

/* Mostly with the first few PASIDs; without any where the unit has none. */
static uint32_t random_pasid(struct generator *generator)
{
    bool any = generator->pasids && !generator->legacy;

    if (random_one_in(generator, 3) || (!any && !random_one_in(generator, 20)))
        return VIOMMU_PASID_NONE;
    if (random_one_in(generator, 2))
        return world_pasids[2 + random_below(generator, 3)];
    return world_pasids[random_below(generator, world_pasid_count)];
}

static void random_dma(struct generator *generator)
{
    uint32_t pasid = random_pasid(generator);
    uint64_t how = random_one_in(generator, 4) ? 1 + random_below(generator, 2) : 0;
    bool tlbs = generator->world->oracle.ecap >> 2 & 1;
    uint64_t type = random_one_in(generator, tlbs ? 3 : 30) ? random_below(generator, 3) : 0;

    emit(generator,
         (struct op){OP_DMA,
                     {random_one_in(generator, 3), pasid,
                      random_access(generator, pasid != VIOMMU_PASID_NONE), type | how << 4,
                      random_address(generator), random_length(generator)}});
}

/* Any of the invalidations; a wait would write to memory. */
static void random_invalidation(struct generator *generator)
{
    static const uint8_t types[] = {1, 2, 2, 6, 6, 7, 7, 4};
    uint64_t type = types[random_below(generator, sizeof(types))];
    uint64_t domain = random_domain(generator);
    uint64_t qw0 = type | random_below(generator, 4) << 4 | domain << 16, qw1 = 0;

    if (type == 6 || type == 7)
        qw0 |= (uint64_t)(world_pasids[random_below(generator, world_pasid_count)] & 0xfffff) << 32;
    if (type == 1)
        qw0 |= (uint64_t)(random_one_in(generator, 2) ? WORLD_EMULATED : WORLD_ASSIGNED) << 32;
    if ((type == 2 || type == 6) && random_one_in(generator, 2))
        qw1 = (random_iova(generator) & ~UINT64_C(0xfff)) | random_below(generator, 19) |
              random_below(generator, 2) << 6;
    emit(generator, (struct op){OP_INVALIDATE, {qw0, qw1}});
}

static void round_of(struct generator *generator)
{
    unsigned int mutations = 1 + random_below(generator, MUTATIONS);

    devices_begin(generator);
    for (unsigned int i = 0; i < REQUESTS; i++) {
        random_dma(generator);
        devices_step(generator);
    }
    for (unsigned int i = 0; i < mutations; i++) {
        tables_mutate(generator);
        while (random_one_in(generator, 2))
            random_dma(generator);
    }
    while (random_one_in(generator, 2))
        random_invalidation(generator);
    if (random_one_in(generator, 12))
        tables_switch_on(generator);
    else
        emit(generator, (struct op){OP_SETTLE, {random_below(generator, 6)}});
}

bool generate_and_run(struct world *world, uint64_t seed, struct test_case *test)
{
    struct generator generator = {.state = seed * UINT64_C(0x9e3779b97f4a7c15), .test = test};
    const char *chosen = world_properties[random_below(&generator, world_properties_count)];

    memset(test, 0, sizeof(*test));
    snprintf(test->properties, sizeof(test->properties), "%s", chosen);
    test->host = random_one_in(&generator, 4) ? CASE_HOST_NONE : CASE_HOST_HOARD;
    generator.world = world;
    world_restart(world, test);
    generator.pasids = world->oracle.ecap >> 40 & 1;
    tables_build(&generator);
    devices_build(&generator);
    tables_switch_on(&generator);
    for (unsigned int i = 0; i < ROUNDS && !generator.failed; i++)
        round_of(&generator);
    emit(&generator, (struct op){OP_SETTLE, {0}});
    return !generator.failed;
}
