/* SPDX-License-Identifier: MIT */
/* Primary fault logging and the fault event (VT-d 5.0, chapter 7). */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "guest_tables.h"
#include "model/vtd/register_map.h"

#define VECTOR_ADDRESS UINT64_C(0x0000000cfee01234)
#define VECTOR_DATA    0x41

static void faults_begin(struct machine *machine)
{
    machine_set_root(machine, 0x10000);
    machine_enable(machine, true);
}

/* Translation is on with an empty root table: every DMA faults, for reason 1. */
#define WITH_FAULTS(name, properties) WITH_MACHINE(name, properties, faults_begin(&machine))

static void fault(struct machine *machine, unsigned int index, uint64_t iova)
{
    struct viommu_dma_result result;
    uint64_t value;

    assert_int_equal(machine_read(machine, index, iova, &value, &result), -EACCES);
}

static uint32_t fsts(struct machine *machine)
{
    return read32(machine, VTD_FSTS);
}

static uint64_t upper(struct machine *machine, unsigned int index)
{
    return read64(machine, machine_fault_record(machine, index) + 8);
}

/* As drivers do: the last dword of the record. */
static void clear(struct machine *machine, unsigned int index)
{
    write32(machine, machine_fault_record(machine, index) + 12, BIT64(31));
}

static void unmask(struct machine *machine)
{
    write64(machine, VTD_FEADDR, VECTOR_ADDRESS);
    write32(machine, VTD_FEDATA, VECTOR_DATA);
    write32(machine, VTD_FECTL, 0);
}

static struct viommu_stats stats_of(struct machine *machine)
{
    struct viommu_stats stats = {.size = sizeof(stats)};

    viommu_get_stats(machine->viommu, &stats);
    return stats;
}

WITH_FAULTS(record_fields, "")
{
    struct viommu_dma_result result;

    fault(machine, 3, 0xfffffabcdef12345);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0)), 0xfabcdef12000);
    assert_int_equal(upper(machine, 0), VTD_FRCD_F | VTD_FRCD_T1 | UINT64_C(1) << 32 | 3 << 3);
    assert_int_equal(machine_write(machine, 1, 0x5000, 0, &result), -EACCES);
    assert_int_equal(upper(machine, 1), VTD_FRCD_F | UINT64_C(1) << 32 | 1 << 3);
    assert_int_equal(stats_of(machine).faults_recorded, 2);
}

WITH_FAULTS(record_pending, "")
{
    assert_int_equal(fsts(machine), 0);
    fault(machine, 0, 0x1000);
    assert_int_equal(fsts(machine), VTD_FSTS_PPF);
    clear(machine, 0);
    assert_int_equal(fsts(machine) & VTD_FSTS_PPF, 0);
    assert_int_equal(upper(machine, 0) & VTD_FRCD_F, 0);
}

/* Only F can be cleared, and only by writing 1 to it. */
WITH_FAULTS(record_read_only, "")
{
    uint64_t record = machine_fault_record(machine, 0), before;

    fault(machine, 0, 0x1000);
    before = upper(machine, 0);
    write64(machine, record, UINT64_MAX);
    write64(machine, record + 8, ~VTD_FRCD_F);
    write32(machine, record + 8, UINT32_MAX);
    write32(machine, record + 12, 0x7fffffff);
    assert_int_equal(read64(machine, record), 0x1000);
    assert_int_equal(upper(machine, 0), before);
    write64(machine, record + 8, UINT64_MAX);
    assert_int_equal(upper(machine, 0), before & ~VTD_FRCD_F);
}

/* Records are used in turn, also around the end; FRI is the one that set PPF. */
WITH_FAULTS(records_in_turn, "fault-records=4")
{
    for (unsigned int i = 0; i < 11; i++) {
        fault(machine, i % MACHINE_DEVICES, 0x1000 * i);
        assert_int_equal(field_get(VTD_FSTS_FRI, fsts(machine)), i % 4);
        assert_int_equal(read64(machine, machine_fault_record(machine, i % 4)), 0x1000 * i);
        clear(machine, i % 4);
    }
}

WITH_FAULTS(index_of_first, "")
{
    fault(machine, 0, 0x1000);
    clear(machine, 0);
    fault(machine, 0, 0x2000);
    fault(machine, 0, 0x3000);
    assert_int_equal(field_get(VTD_FSTS_FRI, fsts(machine)), 1);
    clear(machine, 1);
    assert_int_equal(fsts(machine) & VTD_FSTS_PPF, VTD_FSTS_PPF);
    clear(machine, 2);
    assert_int_equal(fsts(machine) & VTD_FSTS_PPF, 0);
}

WITH_FAULTS(overflow, "fault-records=2")
{
    fault(machine, 0, 0x1000);
    fault(machine, 0, 0x2000);
    assert_int_equal(fsts(machine) & VTD_FSTS_PFO, 0);
    fault(machine, 0, 0x3000);
    assert_int_equal(fsts(machine) & VTD_FSTS_PFO, VTD_FSTS_PFO);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0)), 0x1000);
    assert_int_equal(stats_of(machine).faults_lost, 1);
}

/* While PFO is set nothing is recorded, even with free records. */
WITH_FAULTS(overflow_stops, "fault-records=2")
{
    for (unsigned int i = 1; i <= 3; i++)
        fault(machine, 0, 0x1000 * i);
    clear(machine, 0);
    clear(machine, 1);
    fault(machine, 0, 0x4000);
    assert_int_equal(fsts(machine) & (VTD_FSTS_PFO | VTD_FSTS_PPF), VTD_FSTS_PFO);
    write32(machine, VTD_FSTS, VTD_FSTS_PFO);
    assert_int_equal(fsts(machine) & (VTD_FSTS_PFO | VTD_FSTS_PPF), 0);
    fault(machine, 0, 0x5000);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0)), 0x5000);
}

/* Switching translation off makes the first record the next one. */
WITH_FAULTS(restarts, "")
{
    fault(machine, 0, 0x1000);
    clear(machine, 0);
    machine_enable(machine, false);
    machine_enable(machine, true);
    fault(machine, 0, 0x2000);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0)), 0x2000);
}

/* What the unit does not offer is reserved in its records: PASID, address type. */
WITH_FAULTS(record_reserved, "")
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;

    request.address = 0x1000;
    request.length = 4;
    request.pasid = 3;
    request.access = VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE;
    request.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    assert_int_not_equal(
        viommu_dma_translate(viommu_pci_device_get_address_space(machine->device[0]), &request,
                             &result),
        0);
    request.type = VIOMMU_DMA_UNTRANSLATED;
    assert_int_not_equal(viommu_dma_read(viommu_pci_device_get_address_space(machine->device[0]),
                                         &request, machine->ram, &result),
                         0);
    assert_int_equal(upper(machine, 0) & ~(VTD_FRCD_F | VTD_FRCD_FR | VTD_FRCD_T1), 0);
}

WITH_FAULTS(merged, "")
{
    for (unsigned int i = 0; i < 20; i++)
        fault(machine, 0, 0x1000 + i);
    assert_int_equal(upper(machine, 1), 0);
    assert_int_equal(fsts(machine) & VTD_FSTS_PFO, 0);
    fault(machine, 1, 0x1000);
    fault(machine, 0, 0x2000);
    assert_int_equal(upper(machine, 1) & VTD_FRCD_SID, 1 << 3);
    assert_int_equal(read64(machine, machine_fault_record(machine, 2)), 0x2000);
    clear(machine, 0);
    fault(machine, 0, 0x1000);
    assert_true(upper(machine, 3) & VTD_FRCD_F);
    assert_int_equal(stats_of(machine).faults_recorded, 4);
    assert_int_equal(stats_of(machine).faults_lost, 19);
}

WITH_FAULTS(many_records, "fault-records=256")
{
    assert_int_equal(machine_fault_records(machine), 256);
    for (unsigned int i = 0; i < 256; i++)
        fault(machine, 0, 0x1000 * i);
    assert_int_equal(fsts(machine) & VTD_FSTS_PFO, 0);
    for (unsigned int i = 0; i < 256; i++)
        assert_int_equal(read64(machine, machine_fault_record(machine, i)), 0x1000 * i);
    fault(machine, 0, UINT64_C(1) << 40);
    assert_int_equal(fsts(machine) & VTD_FSTS_PFO, VTD_FSTS_PFO);
}

WITH_FAULTS(event_sent, "")
{
    unmask(machine);
    assert_int_equal(machine->msi_count, 0);
    fault(machine, 0, 0x1000);
    assert_int_equal(machine->msi_count, 1);
    assert_int_equal(machine->msi[0].address, VECTOR_ADDRESS);
    assert_int_equal(machine->msi[0].data, VECTOR_DATA);
    assert_int_equal(read32(machine, VTD_FECTL), 0);
    assert_int_equal(stats_of(machine).interrupts, 1);
}

/* One event until all status is served. */
WITH_FAULTS(event_once, "fault-records=2")
{
    unmask(machine);
    for (unsigned int i = 1; i <= 4; i++)
        fault(machine, 0, 0x1000 * i);
    assert_int_equal(machine->msi_count, 1);
    clear(machine, 0);
    clear(machine, 1);
    write32(machine, VTD_FSTS, VTD_FSTS_PFO);
    fault(machine, 0, 0x5000);
    assert_int_equal(machine->msi_count, 2);
}

WITH_FAULTS(event_masked, "")
{
    unmask(machine);
    write32(machine, VTD_FECTL, VTD_ECTL_IM);
    fault(machine, 0, 0x1000);
    assert_int_equal(machine->msi_count, 0);
    assert_int_equal(read32(machine, VTD_FECTL), VTD_ECTL_IM | VTD_ECTL_IP);
    write32(machine, VTD_FECTL, 0);
    assert_int_equal(machine->msi_count, 1);
    assert_int_equal(read32(machine, VTD_FECTL), 0);
}

WITH_FAULTS(event_dropped, "")
{
    unmask(machine);
    write32(machine, VTD_FECTL, VTD_ECTL_IM);
    fault(machine, 0, 0x1000);
    clear(machine, 0);
    assert_int_equal(read32(machine, VTD_FECTL), VTD_ECTL_IM);
    write32(machine, VTD_FECTL, 0);
    assert_int_equal(machine->msi_count, 0);
}

/* An error of the invalidation queue is announced by the same event. */
WITH_FAULTS(event_shared, "")
{
    unmask(machine);
    machine_queue_start(machine, 0x20000, false);
    machine_submit(machine, 0xf, 0);
    assert_int_equal(fsts(machine), VTD_FSTS_IQE);
    assert_int_equal(machine->msi_count, 1);
    fault(machine, 0, 0x1000);
    assert_int_equal(machine->msi_count, 1);
    write32(machine, VTD_FSTS, VTD_FSTS_IQE);
    assert_int_equal(fsts(machine) & VTD_FSTS_IQE, VTD_FSTS_IQE); /* met again at once */
    write32(machine, VTD_GCMD, VTD_GCMD_TE);
    write32(machine, VTD_FSTS, VTD_FSTS_IQE);
    assert_int_equal(fsts(machine), VTD_FSTS_PPF);
}

/* FPD of the entry that refuses. */
static void processing_disabled(void **state)
{
    struct guest guest;
    struct machine *machine = &guest.machine;

    (void)state;
    guest_create(&guest, "");
    store64(machine, GUEST_ROOT, GUEST_CONTEXT | 1);
    store64(machine, GUEST_CONTEXT, 1 << 1);
    guest_on(&guest, TTM_LEGACY);
    unmask(machine);
    guest_faults_silently(&guest, &(const struct guest_dma)DMA_AT(0x1000), 0x02);
    assert_int_equal(fsts(machine), 0);
    assert_int_equal(machine->msi_count, 0);
    assert_int_equal(stats_of(machine).faults_disabled, 1);
    assert_int_equal(stats_of(machine).faults_recorded, 0);
    store64(machine, GUEST_CONTEXT, 0);
    guest_read_faults(&guest, 0x1000, 0x02);
    guest_destroy(&guest);
}

WITH_FAULTS(said_once, "")
{
    fault(machine, 2, 0xabcd1000);
    assert_non_null(strstr(machine->log, "00:02.0"));
    assert_non_null(strstr(machine->log, "0xabcd1000"));
    assert_non_null(strstr(machine->log, "fault reason 0x01"));
    for (unsigned int i = 0; i < 10000; i++)
        fault(machine, 2, 0x1000 * i);
    assert_true(machine->log_count < 64);
}

WITH_FAULTS(reset_forgets, "")
{
    fault(machine, 0, 0x1000);
    fault(machine, 0, 0x2000);
    viommu_reset(machine->viommu);
    assert_int_equal(fsts(machine), 0);
    assert_int_equal(upper(machine, 0), 0);
    machine_set_root(machine, 0x10000);
    machine_enable(machine, true);
    fault(machine, 0, 0x3000);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0)), 0x3000);
}

#define ROUNDS 2000

struct worker {
    struct machine *machine;
    unsigned int index;
};

static void *fault_often(void *opaque)
{
    struct worker *worker = opaque;

    for (unsigned int i = 0; i < ROUNDS; i++)
        fault(worker->machine, worker->index, 0x1000 * (i % 7));
    return NULL;
}

/* Two devices fault while a driver serves: every fault is recorded or counted as lost. */
WITH_FAULTS(from_many_threads, "fault-records=4")
{
    struct worker workers[2] = {{machine, 0}, {machine, 1}};
    pthread_t threads[2];

    for (unsigned int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fault_often, &workers[i]), 0);
    for (unsigned int i = 0; i < ROUNDS; i++) {
        clear(machine, i % 4);
        write32(machine, VTD_FSTS, VTD_FSTS_PFO);
    }
    for (unsigned int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(stats_of(machine).faults_recorded + stats_of(machine).faults_lost, 2 * ROUNDS);
    for (unsigned int i = 0; i < 4; i++)
        clear(machine, i);
    write32(machine, VTD_FSTS, VTD_FSTS_PFO);
    assert_int_equal(fsts(machine) & VTD_FSTS_EVENTS, 0);
    fault(machine, 2, 0x9000);
    assert_int_equal(fsts(machine) & VTD_FSTS_EVENTS, VTD_FSTS_PPF);
}

static const struct spec_rule rules[] = {
    {"VTD-11.4.7.6-1", "11.4.7.6",
     "A record tells page address, source, reason, and read or write.", record_fields},
    {"VTD-11.4.7.6-2", "11.4.7.6",
     "F is cleared by writing 1; nothing else of a record can be written.", record_read_only},
    {"VTD-11.4.7.1-1", "11.4.7.1", "PPF is set while any record has F set.", record_pending},
    {"VTD-11.4.7.1-2", "11.4.7.1", "FRI tells the record that set PPF, and stays while PPF is set.",
     index_of_first},
    {"VTD-7.2.1-1", "7.2.1", "Records are written in turn, the first after the last.",
     records_in_turn},
    {"VTD-7.2.1-7", "7.2.1", "Switching translation off makes the first record the next one.",
     restarts},
    {"VTD-11.4.7.6-3", "11.4.7.6",
     "PASID fields are reserved without ECAP.PASID, the address type without ECAP.DT.",
     record_reserved},
    {"VTD-7.2.1-2", "7.2.1", "A fault that finds the next record in use sets PFO and is lost.",
     overflow},
    {"VTD-7.2.1-3", "7.2.1", "While PFO is set no fault is recorded.", overflow_stops},
    {"VTD-7.2.1-4", "7.2.1", "A fault that is pending already is not recorded again.", merged},
    {"VTD-7.2.1-5", "7.2.1", "256 records are usable.", many_records},
    {"VTD-7.2.1-6", "7.2.1", "Faults of several devices at once are each recorded or lost.",
     from_many_threads},
    {"VTD-7.2.2-1", "7.2.2", "FPD of an entry suppresses the record of a qualified fault.",
     processing_disabled},
    {"VTD-7.3-1", "7.3", "A fault sends the message of FEADDR, FEUADDR and FEDATA.", event_sent},
    {"VTD-7.3-2", "7.3", "No event is sent while any status of FSTS_REG is set already.",
     event_once},
    {"VTD-7.3-3", "7.3", "A masked event is pending in IP, and sent when unmasked.", event_masked},
    {"VTD-7.3-4", "7.3", "A pending event whose status was served is not sent.", event_dropped},
    {"VTD-7.3-5", "7.3", "Queue errors and faults share one event.", event_shared},
    {"VTD-7.2-1", "7.2", "The log names device, address and reason, and is bounded.", said_once},
    {"VTD-7.2-2", "7.2", "Reset forgets faults and begins with the first record.", reset_forgets},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
