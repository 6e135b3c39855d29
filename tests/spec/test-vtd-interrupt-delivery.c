/* SPDX-License-Identifier: MIT */
/* Interrupts on their way: invalidations, delivery, and both at once (VT-d 5.0, 5.1.4, 6.5). */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "descriptors.h"
#include "interrupts.h"

struct changes {
    unsigned int count;
    uint32_t first, entries;
    struct machine *machine;
    uint8_t vector; /* of entry 3, seen from within */
};

static void count_changes(void *opaque, uint32_t first, uint32_t count)
{
    const struct viommu_interrupt_request look = {.address = remappable(3),
                                                  .flags = VIOMMU_INTERRUPT_LOOKUP};
    struct changes *changes = opaque;
    struct viommu_interrupt out;

    changes->count++;
    changes->first = first;
    changes->entries = count;
    viommu_interrupt_remap(changes->machine->viommu, &look, &out);
    changes->vector = out.vector;
}

static void changed(const struct changes *changes, unsigned int count, uint32_t first,
                    uint32_t entries)
{
    assert_int_equal(changes->count, count);
    assert_int_equal(changes->first, first);
    assert_int_equal(changes->entries, entries);
}

/* Who caches routes hears of each invalidation before its wait completes, with its entries. */
static void entries_invalidated(struct machine *machine, bool wide)
{
    struct changes changes = {.machine = machine};

    viommu_interrupt_set_listener(machine->viommu, count_changes, &changes);
    machine_queue_start(machine, QUEUE, wide);
    write_entry(machine, 3, IRTE_P | IRTE_V(0x35), 0);
    machine_submit(machine, IEC, 0);
    changed(&changes, 1, 0, 65536);
    assert_int_equal(changes.vector, 0x35);
    machine_submit(machine, IEC | IEC_INDEX(0x123, 0), 0);
    changed(&changes, 2, 0x123, 1);
    machine_submit(machine, IEC | IEC_INDEX(0x123, 4), 0);
    changed(&changes, 3, 0x120, 16);
    machine_submit(machine, IEC | IEC_INDEX(0xffff, 15), 0);
    changed(&changes, 4, 0x8000, 0x8000);
    /* Nobody is told any more. */
    viommu_interrupt_set_listener(machine->viommu, NULL, NULL);
    machine_submit(machine, IEC, 0);
    assert_int_equal(changes.count, 4);
}

WITH_INTERRUPTS(invalidations_128, "intremap=on,scalable=off")
{
    entries_invalidated(machine, false);
}

WITH_INTERRUPTS(invalidations_256, "intremap=on")
{
    machine_set_root(machine, TTM_SCALABLE | GUEST_ROOT);
    entries_invalidated(machine, true);
}

WITH_INTERRUPTS(invalidation_mask, "intremap=on")
{
    machine_queue_start(machine, QUEUE, false);
    machine_submit(machine, IEC | IEC_INDEX(0, 16), 0);
    assert_true(queue_stopped(machine));
    assert_int_equal(field_get(VTD_IQERCD_IQEI, read64(machine, VTD_IQERCD)), 4);
}

WITH_INTERRUPTS(invalidations_gathered, "intremap=on")
{
    struct changes changes = {.machine = machine};

    viommu_interrupt_set_listener(machine->viommu, count_changes, &changes);
    machine_queue_start(machine, QUEUE, false);
    store64(machine, QUEUE, IEC | IEC_INDEX(8, 1));
    store64(machine, QUEUE + 16, IEC | IEC_INDEX(32, 0));
    store64(machine, QUEUE + 32, WAIT | WAIT_SW | WAIT_DATA(1));
    store64(machine, QUEUE + 40, STATUS);
    write64(machine, VTD_IQT, 48);
    assert_int_equal(load32(machine, STATUS), 1);
    changed(&changes, 1, 8, 25);
}

WITH_INTERRUPTS(commands_tell, "intremap=on")
{
    struct changes changes = {.machine = machine};

    viommu_interrupt_set_listener(machine->viommu, count_changes, &changes);
    write32(machine, VTD_GCMD, VTD_GCMD_IRE);
    assert_int_equal(changes.count, 0);
    write32(machine, VTD_GCMD, VTD_GCMD_IRE | VTD_GCMD_SIRTP);
    changed(&changes, 1, 0, 65536);
    write32(machine, VTD_GCMD, VTD_GCMD_IRE | VTD_GCMD_CFI);
    changed(&changes, 2, 0, 65536);
    write32(machine, VTD_GCMD, 0);
    changed(&changes, 3, 0, 65536);
    viommu_reset(machine->viommu);
    changed(&changes, 4, 0, 65536);
}

static void deliver(void *opaque, const struct viommu_interrupt *out)
{
    *(struct viommu_interrupt *)opaque = *out;
}

/* By the bus: the unit that protects the function, and the ID that its requests carry there. */
WITH_INTERRUPTS(by_function, "intremap=on")
{
    struct viommu_pci_device *bridge, *below, *outside;
    struct viommu_interrupt out, delivered = {.vector = 0};
    struct viommu_pci_bus *bus, *other;

    assert_int_equal(viommu_pci_bridge_add(machine->bus, VIOMMU_PCI_DEVFN(20, 0),
                                           VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, 5, &bridge, &bus, NULL),
                     0);
    assert_int_equal(viommu_pci_device_add(bus, VIOMMU_PCI_DEVFN(3, 0), NULL, &below, NULL), 0);
    write_entry(machine, 3, IRTE_P | IRTE_V(0x35), IRTE_SVT(1) | 0x0500);
    viommu_pci_device_send_interrupt(below, remappable(3), 0, 0, deliver, &delivered, &out);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_REMAPPED);
    assert_int_equal(delivered.vector, 0x35);
    viommu_pci_device_send_interrupt(machine->device[2], remappable(3), 0, 0, deliver, NULL, &out);
    assert_int_equal(out.reason, 0x26);
    assert_int_equal(viommu_pci_root_bus_add(machine->pci, 0, 0x80, &other, NULL), 0);
    assert_int_equal(viommu_pci_device_add(other, 0, NULL, &outside, NULL), 0);
    viommu_pci_device_send_interrupt(outside, remappable(3), 0x77, 0, deliver, &delivered, NULL);
    assert_int_equal(delivered.outcome, VIOMMU_INTERRUPT_PASSED);
    assert_int_equal(delivered.address, remappable(3));
    assert_int_equal(delivered.data, 0x77);
}

WITH_INTERRUPTS(delivery, "intremap=on")
{
    struct viommu_interrupt_request request = {.address = remappable(3)};
    struct viommu_interrupt delivered = {.vector = 0};

    viommu_interrupt_send(machine->viommu, &request, deliver, &delivered, NULL);
    assert_int_equal(delivered.vector, 0);
    write_entry(machine, 3, IRTE_P | IRTE_V(0x35), 0);
    viommu_interrupt_send(machine->viommu, &request, deliver, &delivered, NULL);
    assert_int_equal(delivered.vector, 0x35);
    delivered.vector = 0;
    request.flags = VIOMMU_INTERRUPT_LOOKUP;
    viommu_interrupt_send(machine->viommu, &request, deliver, &delivered, NULL);
    assert_int_equal(delivered.vector, 0);
    assert_int_equal(stats_of(machine).interrupts_remapped, 1);
}

#define DELIVERIES 4000
#define VECTORS    128u

/* One function sends all the time; what is delivered after an invalidation is of the new entry. */
struct sender {
    struct machine *machine;
    bool end;
    unsigned int entry; /* atomic: number of the entry whose invalidation is over */
    unsigned int delivered, late;
};

static void note_vector(void *opaque, const struct viommu_interrupt *out)
{
    struct sender *sender = opaque;
    unsigned int age;

    /* Now and then the delivery is slow, so that an invalidation falls into it. */
    if (__atomic_fetch_add(&sender->delivered, 1, __ATOMIC_RELAXED) % 16 == 0)
        usleep(50);
    /* That entry, or the next one, which is written already; all before are late. */
    age = (out->vector - __atomic_load_n(&sender->entry, __ATOMIC_ACQUIRE)) % VECTORS;
    sender->late += age > 1;
}

static void *send_often(void *opaque)
{
    struct viommu_interrupt_request request = {.address = remappable(3)};
    struct sender *sender = opaque;

    while (!__atomic_load_n(&sender->end, __ATOMIC_RELAXED))
        viommu_interrupt_send(sender->machine->viommu, &request, note_vector, sender, NULL);
    return NULL;
}

WITH_INTERRUPTS(drained, "intremap=on")
{
    struct sender sender = {.machine = machine};
    pthread_t thread;

    machine_queue_start(machine, QUEUE, false);
    write_entry(machine, 3, IRTE_P | IRTE_V(0), 0);
    assert_int_equal(pthread_create(&thread, NULL, send_often, &sender), 0);
    for (unsigned int i = 1;
         __atomic_load_n(&sender.delivered, __ATOMIC_RELAXED) < DELIVERIES || i < DELIVERIES / 8;
         i++) {
        write_entry(machine, 3, IRTE_P | IRTE_V(i % VECTORS), 0);
        machine_submit(machine, IEC | IEC_INDEX(3, 0), 0);
        __atomic_store_n(&sender.entry, i, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&sender.end, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(sender.late, 0);
}

#define FLIPS 20000

/* Two entries take turns: 0x41, for all buses from 0 on, and 0x42, for none that sends. */
static void flip(struct machine *machine, unsigned int i)
{
    if (i % 2) {
        store64(machine, TABLE + 3 * 16 + 8, IRTE_SVT(2) | 0x01ff);
        store64(machine, TABLE + 3 * 16, IRTE_P | IRTE_FPD | IRTE_V(0x42));
    } else {
        store64(machine, TABLE + 3 * 16, IRTE_P | IRTE_FPD | IRTE_V(0x41));
        store64(machine, TABLE + 3 * 16 + 8, IRTE_SVT(2) | (i / 2 & 0xff));
    }
}

struct torn {
    struct machine *machine;
    bool end;
    unsigned int sent, mixed; /* the vector of one, let through by the other */
};

static void *send_and_look(void *opaque)
{
    struct torn *torn = opaque;

    while (!__atomic_load_n(&torn->end, __ATOMIC_RELAXED)) {
        torn->mixed += interrupt(torn->machine, remappable(3), 0, 0).vector == 0x42;
        __atomic_fetch_add(&torn->sent, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* No interrupt sees more than one change, as hardware would not. */
WITH_INTERRUPTS(never_torn, "intremap=on")
{
    struct torn torn = {.machine = machine};
    unsigned int before;
    pthread_t thread;

    flip(machine, 0);
    assert_int_equal(pthread_create(&thread, NULL, send_and_look, &torn), 0);
    for (unsigned int i = 1; i <= FLIPS; i++) {
        before = __atomic_load_n(&torn.sent, __ATOMIC_ACQUIRE);
        while (__atomic_load_n(&torn.sent, __ATOMIC_ACQUIRE) - before < 2)
            sched_yield();
        flip(machine, i);
    }
    __atomic_store_n(&torn.end, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(torn.mixed, 0);
}

/* A guest that scrambles its table while interrupts use it: each is remapped or blocked. */
static void *scramble(void *opaque)
{
    struct sender *sender = opaque;
    uint64_t bits = 1;

    while (!__atomic_load_n(&sender->end, __ATOMIC_RELAXED)) {
        bits = bits * UINT64_C(6364136223846793005) + 1442695040888963407u;
        write_entry(sender->machine, bits >> 60, bits & ~BIT64(15), bits >> 40 & 0xfffff);
    }
    return NULL;
}

WITH_INTERRUPTS(hostile, "intremap=on,eim=on,fault-records=1")
{
    struct sender sender = {.machine = machine};
    unsigned int outcomes[VIOMMU_INTERRUPT_BLOCKED + 1] = {0};
    pthread_t thread;

    interrupts_on(machine, IRTA_EIME);
    assert_int_equal(pthread_create(&thread, NULL, scramble, &sender), 0);
    for (unsigned int i = 0; i < 200000; i++)
        outcomes[interrupt(machine, remappable(i % 16), i, (uint16_t)i).outcome]++;
    __atomic_store_n(&sender.end, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(outcomes[VIOMMU_INTERRUPT_REMAPPED] + outcomes[VIOMMU_INTERRUPT_BLOCKED],
                     200000);
    write_entry(machine, 3, IRTE_P | IRTE_V(0x35), 0);
    assert_int_equal(interrupt(machine, remappable(3), 0, 0).vector, 0x35);
}

static const struct spec_rule rules[] = {
    {"VTD-6.5.2.8-2", "6.5.2.8", "Invalidations of 128 bits tell the entries that they mean.",
     invalidations_128},
    {"VTD-6.5.2.8-3", "6.5.2.8", "Invalidations of 256 bits do the same.", invalidations_256},
    {"VTD-6.5.2.8-4", "6.5.2.8", "An index mask beyond ECAP.MHMV stops the queue.",
     invalidation_mask},
    {"VTD-6.5.2.8-5", "6.5.2.8", "What a wait completes was told before it, together.",
     invalidations_gathered},
    {"VTD-11.4.2-ESIRTPS", "11.4.2", "SIRTP, and changes of IRE and CFI, invalidate all entries.",
     commands_tell},
    {"VTD-5.1.4-1", "5.1.4",
     "A function's message goes to its unit with its alias; without a unit it passes.",
     by_function},
    {"VTD-5.1.4-2", "5.1.4", "What is blocked is not delivered, what is remapped is, once.",
     delivery},
    {"VTD-6.5.4-IR", "6.5.4", "After a wait nothing is delivered by the entry of before.", drained},
    {"VTD-5.1.3-4", "5.1.3",
     "An entry is one of 128 bits: the source check of one does not go with "
     "the vector of another.",
     never_torn},
    {"VTD-5.1.3-3", "5.1.3", "Entries that change while they are used are remapped or blocked.",
     hostile},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
