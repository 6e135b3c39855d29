/* SPDX-License-Identifier: MIT */
/* Interrupt posting (VT-d 5.0, 5.2; 7.1, 9.10, 9.11). */
#include <pthread.h>
#include <stdlib.h>

#include "interrupts.h"

#define PID UINT64_C(0x3001c0) /* a posted-interrupt descriptor */

#define PID_ON       (UINT64_C(1) << 0)
#define PID_SN       (UINT64_C(1) << 1)
#define PID_NV(n)    ((uint64_t)(n) << 16)
#define PID_NDST(n)  ((uint64_t)(n) << 32)
#define PID_RESERVED UINT64_C(0xff00fffc)

#define PROPERTIES "intremap=on,eim=on,posted=on"

static void write_posted(struct machine *machine, uint64_t index, uint64_t bits, uint64_t pda)
{
    write_entry(machine, index, IRTE_P | IRTE_IM | bits | (pda & 0xffffffc0) << 32,
                pda & ~UINT64_C(0xffffffff));
}

static uint64_t control(struct machine *machine)
{
    return load64(machine, PID + 32);
}

/* The request bits that are set: the one of this vector, and no other. */
static void requested(struct machine *machine, unsigned int vector)
{
    for (unsigned int i = 0; i < 4; i++)
        assert_int_equal(load64(machine, PID + i * 8),
                         i == vector / 64 ? UINT64_C(1) << vector % 64 : 0);
}

static void posted(struct machine *machine, enum viommu_interrupt_outcome outcome)
{
    assert_int_equal(interrupt(machine, remappable(1), 0, 0).outcome, outcome);
}

/* Each vector has its bit; the notification is fixed, physical, by edge, to NDST and NV. */
WITH_INTERRUPTS(each_vector, PROPERTIES)
{
    struct viommu_interrupt out;

    interrupts_on(machine, IRTA_EIME);
    for (unsigned int vector = 0; vector < 256; vector++) {
        for (unsigned int i = 0; i < 4; i++)
            store64(machine, PID + i * 8, 0);
        store64(machine, PID + 32, PID_NV(0xe7) | PID_NDST(0x12345678));
        write_posted(machine, 1, IRTE_V(vector), PID);
        out = interrupt(machine, remappable(1), 0, 0);
        assert_int_equal(out.outcome, VIOMMU_INTERRUPT_NOTIFIED);
        assert_true(viommu_interrupt_delivers(&out));
        assert_int_equal(out.address, UINT64_C(0x12345600fee78000));
        assert_int_equal(out.data, 0x40e7);
        assert_int_equal(out.vector, 0xe7);
        assert_int_equal(out.destination, 0x12345678);
        assert_false(out.logical || out.level || out.redirection_hint);
        requested(machine, vector);
        assert_int_equal(control(machine), PID_ON | PID_NV(0xe7) | PID_NDST(0x12345678));
    }
    assert_int_equal(stats_of(machine).interrupts_posted, 256);
    assert_int_equal(stats_of(machine).interrupts_remapped, 0);
}

WITH_INTERRUPTS(xapic_destination, PROPERTIES)
{
    store64(machine, PID + 32, PID_NV(0xe7) | PID_NDST(0x2100));
    write_posted(machine, 1, IRTE_V(5), PID);
    assert_int_equal(interrupt(machine, remappable(1), 0, 0).address, 0xfee21000);
}

/* ON: somebody was told already. Bits of earlier requests stay. */
WITH_INTERRUPTS(coalesced, PROPERTIES)
{
    store64(machine, PID, 1);
    write_posted(machine, 1, IRTE_V(5), PID);
    posted(machine, VIOMMU_INTERRUPT_NOTIFIED);
    posted(machine, VIOMMU_INTERRUPT_POSTED);
    write_posted(machine, 1, IRTE_V(6) | IRTE_URG, PID);
    posted(machine, VIOMMU_INTERRUPT_POSTED);
    assert_int_equal(load64(machine, PID), 1 << 6 | 1 << 5 | 1);
    assert_int_equal(control(machine), PID_ON);
    store64(machine, PID + 32, 0);
    posted(machine, VIOMMU_INTERRUPT_NOTIFIED);
}

/* SN: nobody wants to be told, but of what is urgent. */
WITH_INTERRUPTS(suppressed, PROPERTIES)
{
    store64(machine, PID + 32, PID_SN);
    write_posted(machine, 1, IRTE_V(5), PID);
    posted(machine, VIOMMU_INTERRUPT_POSTED);
    requested(machine, 5);
    assert_int_equal(control(machine), PID_SN);
    write_posted(machine, 1, IRTE_V(5) | IRTE_URG, PID);
    posted(machine, VIOMMU_INTERRUPT_NOTIFIED);
    assert_int_equal(control(machine), PID_SN | PID_ON);
    posted(machine, VIOMMU_INTERRUPT_POSTED);
}

WITH_INTERRUPTS(source, PROPERTIES)
{
    write_posted(machine, 1, IRTE_V(5), PID);
    store64(machine, TABLE + 24, 0x0018 | IRTE_SVT(1));
    interrupt_faults(machine, remappable(1), 0, 0x20, 0x26, 1);
    assert_int_equal(load64(machine, PID) | control(machine), 0);
    assert_int_equal(interrupt(machine, remappable(1), 0, 0x18).outcome, VIOMMU_INTERRUPT_NOTIFIED);
}

/* Each reserved bit of a posted entry, one by one. */
WITH_INTERRUPTS(entry_reserved, PROPERTIES)
{
    const uint64_t low = UINT64_C(0x0000003fff0030fc), high = UINT64_C(0x00000000fff00000);

    for (unsigned int bit = 0; bit < 128; bit++) {
        uint64_t first = bit < 64 ? BIT64(bit) : 0, second = bit < 64 ? 0 : BIT64(bit - 64);

        if (!(first & low) && !(second & high))
            continue;
        write_entry(machine, 1, IRTE_P | IRTE_IM | (PID & 0xffffffc0) << 32 | first, second);
        interrupt_faults(machine, remappable(1), 0, 0, 0x24, 1);
    }
    assert_int_equal(load64(machine, PID) | control(machine), 0);
}

/* Without the property, the bit that says posted is reserved. */
WITH_INTERRUPTS(not_offered, "intremap=on,eim=on")
{
    assert_int_equal(read64(machine, VTD_CAP) & VTD_CAP_PI, 0);
    write_posted(machine, 1, IRTE_V(5), PID);
    interrupt_faults(machine, remappable(1), 0, 0, 0x24, 1);
    assert_int_equal(load64(machine, PID) | control(machine), 0);
}

/* Nowhere, far beyond, or where nothing can be written. */
WITH_INTERRUPTS(no_memory, PROPERTIES)
{
    struct viommu_memory_range rom = {
        .gpa = MACHINE_MEMORY, .size = 4096, .flags = VIOMMU_MEMORY_READONLY};
    void *page = aligned_alloc(4096, 4096);

    assert_true(read64(machine, VTD_CAP) & VTD_CAP_PI);
    write_posted(machine, 1, IRTE_V(5), GUEST_NOWHERE);
    interrupt_faults(machine, remappable(1), 0, 0, 0x27, 1);
    write_posted(machine, 1, IRTE_V(5), ~UINT64_C(63));
    interrupt_faults(machine, remappable(1), 0, 0, 0x27, 1);
    assert_non_null(page);
    memset(page, 0, 4096);
    rom.host = page;
    assert_int_equal(viommu_memory_add(machine->memory, &rom, NULL), 0);
    write_posted(machine, 1, IRTE_V(5), MACHINE_MEMORY);
    interrupt_faults(machine, remappable(1), 0, 0, 0x27, 1);
    assert_int_equal(*(uint64_t *)page, 0);
    assert_int_equal(viommu_memory_remove(machine->memory, MACHINE_MEMORY, NULL), 0);
    free(page);
    write_posted(machine, 1, IRTE_V(5) | IRTE_FPD, GUEST_NOWHERE);
    assert_int_equal(interrupt(machine, remappable(1), 0, 0).reason, 0x27);
    assert_int_equal(read32(machine, VTD_FSTS) & VTD_FSTS_PPF, 0);
}

/* Each reserved bit of a descriptor, one by one; nothing is changed then. */
WITH_INTERRUPTS(descriptor_reserved, PROPERTIES)
{
    write_posted(machine, 1, IRTE_V(5), PID);
    for (unsigned int bit = 0; bit < 256; bit++) {
        uint64_t gpa = PID + 32 + bit / 64 * 8, value = BIT64(bit % 64);

        if (bit < 64 && !(value & PID_RESERVED))
            continue;
        store64(machine, gpa, value);
        interrupt_faults(machine, remappable(1), 0, 0, 0x28, 1);
        assert_int_equal(load64(machine, gpa), value);
        store64(machine, gpa, 0);
    }
    assert_int_equal(load64(machine, PID), 0);
    store64(machine, PID + 32, PID_RESERVED);
    write_posted(machine, 1, IRTE_V(5) | IRTE_FPD, PID);
    assert_int_equal(interrupt(machine, remappable(1), 0, 0).reason, 0x28);
    assert_int_equal(read32(machine, VTD_FSTS) & VTD_FSTS_PPF, 0);
}

WITH_INTERRUPTS(lookup, PROPERTIES)
{
    const struct viommu_interrupt_request request = {.address = remappable(1),
                                                     .flags = VIOMMU_INTERRUPT_LOOKUP};
    struct viommu_interrupt out;

    write_posted(machine, 1, IRTE_V(5), PID);
    viommu_interrupt_remap(machine->viommu, &request, &out);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_POSTED);
    assert_false(viommu_interrupt_delivers(&out));
    assert_int_equal(load64(machine, PID) | control(machine), 0);
}

static void contradiction(void **state)
{
    struct viommu_vtd_options options;
    struct viommu_error error = {0};
    struct viommu *viommu;

    (void)state;
    viommu_vtd_options_init(&options);
    assert_int_equal(viommu_memory_create(&options.memory, NULL), 0);
    options.posted = true;
    assert_true(viommu_vtd_create(&viommu, &options, &error) < 0);
    assert_non_null(strstr(error.message, "posted needs intremap=on"));
    viommu_memory_destroy(options.memory);
}

#define POSTS 40000

/* One of two functions that post as fast as they can. */
struct poster {
    struct machine *machine;
    unsigned int index;
    uint64_t *notifications; /* of both; atomic */
};

static void *post_often(void *opaque)
{
    const struct poster *poster = opaque;

    for (unsigned int i = 0; i < POSTS; i++) {
        struct viommu_interrupt out = interrupt(poster->machine, remappable(poster->index), 0, 0);

        if (out.outcome == VIOMMU_INTERRUPT_NOTIFIED)
            __atomic_fetch_add(poster->notifications, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* As software does: clear ON, then take the bits. */
static uint64_t take(struct machine *machine)
{
    __atomic_fetch_and((uint64_t *)(machine->ram + PID + 32), ~PID_ON, __ATOMIC_SEQ_CST);
    return __atomic_exchange_n((uint64_t *)(machine->ram + PID), 0, __ATOMIC_SEQ_CST);
}

/*
 * Software takes what is posted only when it is notified: a request that was posted without a
 * notification, and after the bits were taken, would be lost.
 */
WITH_INTERRUPTS(nothing_lost, PROPERTIES)
{
    uint64_t notifications = 0, seen = 0;
    struct poster posters[] = {{machine, 1, &notifications}, {machine, 2, &notifications}};
    pthread_t threads[2];

    write_posted(machine, 1, IRTE_V(5), PID);
    write_posted(machine, 2, IRTE_V(6), PID);
    for (unsigned int round = 0; round < 8; round++) {
        for (unsigned int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, post_often, &posters[i]), 0);
        for (unsigned int i = 0; i < POSTS; i++) {
            uint64_t now = __atomic_load_n(&notifications, __ATOMIC_ACQUIRE);

            if (now != seen)
                take(machine);
            seen = now;
        }
        for (unsigned int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        if (__atomic_load_n(&notifications, __ATOMIC_ACQUIRE) != seen)
            take(machine);
        seen = notifications;
        assert_int_equal(load64(machine, PID), 0);
        assert_int_equal(control(machine) & PID_ON, 0);
    }
    assert_true(seen > 0);
}

struct scrambler {
    struct machine *machine;
    bool end;
};

/* The control word changes all the time, in every bit that is not reserved. */
static void *scramble(void *opaque)
{
    struct scrambler *scrambler = opaque;
    uint64_t bits = 1;

    while (!__atomic_load_n(&scrambler->end, __ATOMIC_RELAXED)) {
        bits = bits * UINT64_C(6364136223846793005) + 1442695040888963407u;
        store64(scrambler->machine, PID + 32, bits & ~PID_RESERVED & ~PID_ON);
    }
    return NULL;
}

WITH_INTERRUPTS(hostile, PROPERTIES)
{
    struct scrambler scrambler = {.machine = machine};
    pthread_t thread;

    write_posted(machine, 1, IRTE_V(5) | IRTE_URG, PID);
    assert_int_equal(pthread_create(&thread, NULL, scramble, &scrambler), 0);
    for (unsigned int i = 0; i < POSTS; i++) {
        enum viommu_interrupt_outcome outcome = interrupt(machine, remappable(1), 0, 0).outcome;

        assert_true(outcome == VIOMMU_INTERRUPT_POSTED || outcome == VIOMMU_INTERRUPT_NOTIFIED);
    }
    __atomic_store_n(&scrambler.end, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    requested(machine, 5);
}

static const struct spec_rule rules[] = {
    {"VTD-5.2.3-1", "5.2.3",
     "A posted interrupt sets its vector's bit, and ON, and notifies NDST with NV.", each_vector},
    {"VTD-5.2.3-2", "5.2.3", "Without EIME the notification goes to NDST 15:8.", xapic_destination},
    {"VTD-5.2.3-3", "5.2.3", "With ON set, the bit is set and nobody is notified, urgent or not.",
     coalesced},
    {"VTD-5.2.3-4", "5.2.3", "SN suppresses the notification, and ON, but of urgent interrupts.",
     suppressed},
    {"VTD-9.10-1", "9.10",
     "The source of a posted interrupt is verified before anything is posted.", source},
    {"VTD-5.2-IR-24-posted", "7.1", "Each reserved bit of a posted entry is fault 24h.",
     entry_reserved},
    {"VTD-9.10-2", "9.10", "Without CAP.PI, an entry in posted format is fault 24h.", not_offered},
    {"VTD-5.2-IR-27", "7.1", "A descriptor that is no memory, or read-only, is fault 27h.",
     no_memory},
    {"VTD-5.2-IR-28", "7.1", "Each reserved bit of a descriptor is fault 28h.",
     descriptor_reserved},
    {"VTD-5.2-1", "5.2", "A look-up posts nothing.", lookup},
    {"VTD-11.4.2-PI-needs", "11.4.2", "posted needs intremap.", contradiction},
    {"VTD-5.2.3-5", "5.2.3", "Software that takes requests when it is notified loses none.",
     nothing_lost},
    {"VTD-9.11-1", "9.11", "A descriptor that changes all the time is posted to nevertheless.",
     hostile},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
