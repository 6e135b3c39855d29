/* SPDX-License-Identifier: MIT */
/*
 * Structures that change while they are used. One thread scrambles all of the guest's tables,
 * another one switches modes, two do DMA: each DMA ends in the guest's memory or is refused, and
 * nothing else happens. Made for the sanitizers.
 */
#include <pthread.h>
#include <string.h>

#include "guest_tables.h"

#define ROUNDS 100000

struct hostile {
    struct guest guest;
    uint64_t tables_end;
    uint64_t original[MACHINE_MEMORY / 8]; /* the tables as they should be, from GUEST_ROOT on */
    uint64_t arrived;
    bool stop;
};

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Flip a bit of a word, or make it what it was: walks should often come far. */
static void *scramble(void *opaque)
{
    struct hostile *hostile = opaque;
    uint64_t *tables = (uint64_t *)(hostile->guest.machine.ram + GUEST_ROOT);
    uint64_t words = (hostile->tables_end - GUEST_ROOT) / 8;
    uint32_t seed = 1;

    while (!__atomic_load_n(&hostile->stop, __ATOMIC_RELAXED)) {
        uint64_t i = next_random(&seed) % words;
        uint64_t value = hostile->original[i];

        if (value && next_random(&seed) % 32 == 0)
            value ^= UINT64_C(1) << next_random(&seed) % 64;
        __atomic_store_n(&tables[i], value, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void *switch_modes(void *opaque)
{
    static const uint64_t modes[] = {TTM_SCALABLE, TTM_SCALABLE, TTM_LEGACY, TTM_ABORT};
    struct hostile *hostile = opaque;

    for (unsigned int i = 0; !__atomic_load_n(&hostile->stop, __ATOMIC_RELAXED); i++)
        machine_set_root(&hostile->guest.machine, GUEST_ROOT | modes[i % SPEC_COUNT(modes)]);
    return NULL;
}

/* Enough rounds, and more while the unit happens to stay in a mode that lets nothing through. */
static bool goes_on(const struct hostile *hostile, unsigned int round)
{
    return round < ROUNDS ||
           (round < 100 * ROUNDS && !__atomic_load_n(&hostile->arrived, __ATOMIC_RELAXED));
}

static void *do_dma(void *opaque)
{
    struct hostile *hostile = opaque;
    uint32_t seed = 99;

    for (unsigned int i = 0; goes_on(hostile, i); i++) {
        struct guest_dma dma = DMA_AT(GUEST_IOVA + (next_random(&seed) % 0x2000 & ~7u));
        struct viommu_dma_result result;

        dma.access = (uint8_t)(1 + next_random(&seed) % 3);
        if (next_random(&seed) & 1) {
            dma.pasid = 5;
            dma.access |= next_random(&seed) & 0xc;
        }
        if (guest_dma(&hostile->guest, &dma, &result)) {
            assert_int_not_equal(result.status, VIOMMU_DMA_OK);
        } else {
            assert_true(result.gpa < MACHINE_MEMORY);
            __atomic_fetch_add(&hostile->arrived, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void make_tables(struct hostile *hostile)
{
    struct guest *guest = &hostile->guest;
    uint64_t first = guest_page(guest), second = guest_page(guest), page = guest_page(guest);

    for (unsigned int i = 0; i < 2; i++)
        guest_map(guest, first, 4, GUEST_IOVA + i * 4096, 1, (page + i * 4096) | FS_ALL, FS_ALL);
    for (uint64_t gpa = GUEST_POOL; gpa < GUEST_POOL + 0x20000; gpa += 4096)
        guest_map(guest, second, 4, gpa, 1, gpa | SS_RW, SS_RW);
    guest_scalable(guest, 0, 8);
    guest_pasid(guest, 0, PASID_PGTT(3) | PASID_AW(2) | PASID_SSADE | second,
                GUEST_DOMAIN | PASID_PWSNP, first);
    guest_pasid(guest, 5, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP,
                first | PASID_SRE | PASID_ERE | PASID_EAFE);
    hostile->tables_end = guest->pool;
    memcpy(hostile->original, guest->machine.ram + GUEST_ROOT, guest->pool - GUEST_ROOT);
}

static void tables_change_under_walks(void **state)
{
    static struct hostile hostile;
    struct guest_dma dma = DMA_AT(GUEST_IOVA);
    struct viommu_dma_result result;
    pthread_t guest[2], devices[2];

    (void)state;
    guest_create(&hostile.guest, "second-stage=on,nested=on,ad=on,pasid-bits=20,supervisor=on,"
                                 "execute=on,extended-accessed=on,fault-records=1");
    make_tables(&hostile);
    guest_on(&hostile.guest, TTM_SCALABLE);
    assert_int_equal(pthread_create(&guest[0], NULL, scramble, &hostile), 0);
    assert_int_equal(pthread_create(&guest[1], NULL, switch_modes, &hostile), 0);
    for (unsigned int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&devices[i], NULL, do_dma, &hostile), 0);
    for (unsigned int i = 0; i < 2; i++)
        pthread_join(devices[i], NULL);
    __atomic_store_n(&hostile.stop, true, __ATOMIC_RELAXED);
    for (unsigned int i = 0; i < 2; i++)
        pthread_join(guest[i], NULL);
    assert_int_not_equal(hostile.arrived, 0);
    /* and it works as before once the guest behaves */
    memcpy(hostile.guest.machine.ram + GUEST_ROOT, hostile.original,
           hostile.tables_end - GUEST_ROOT);
    machine_set_root(&hostile.guest.machine, GUEST_ROOT | TTM_SCALABLE);
    assert_int_equal(guest_dma(&hostile.guest, &dma, &result), 0);
    guest_destroy(&hostile.guest);
}

static const struct spec_rule rules[] = {
    {"VTD-9-1", "9", "Structures that change while they are used harm nobody but their guest.",
     tables_change_under_walks},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
