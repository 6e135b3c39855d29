/* SPDX-License-Identifier: MIT */
/*
 * Resets, removals and many vCPUs while four devices do DMA in threads of their own. Made for the
 * thread sanitizer, too.
 */
#include <errno.h>
#include <string.h>

#include "descriptors.h"
#include "traffic.h"

#define ROUNDS 12

/* ---- Reset */

static void unit_is_new(struct machine *machine)
{
    assert_int_equal(read32(machine, VTD_GSTS), 0);
    assert_int_equal(read64(machine, VTD_RTADDR), 0);
    assert_int_equal(read32(machine, VTD_FSTS), 0);
    for (unsigned int i = 0; i < machine_fault_records(machine); i++)
        assert_int_equal(read64(machine, machine_fault_record(machine, i) + 8), 0);
}

/* GUEST_IOVA is no address of memory: without translation nothing that the devices write arrives.
 */
static void reset_often(enum traffic_mode mode)
{
    struct traffic traffic;
    struct machine *machine = &traffic.assigned.guest.machine;

    traffic_create(&traffic, mode);
    for (unsigned int i = 0; i < ROUNDS; i++) {
        traffic_await_arrivals(&traffic, 2);
        viommu_reset(machine->viommu);
        traffic_wipe(&traffic, PAGE_A);
        unit_is_new(machine);
        traffic_await_tries(&traffic, 3);
        assert_false(traffic_touched(&traffic, PAGE_A));
        unit_is_new(machine);
        traffic_start_unit(&traffic);
    }
    traffic_await_arrivals(&traffic, 2);
    assert_int_equal(assigned_stats(&traffic.assigned).nested_bind_failures, 0);
    traffic_destroy(&traffic);
}

static void reset_while_dma_runs(void **state)
{
    (void)state;
    for (enum traffic_mode mode = 0; mode < TRAFFIC_MODES; mode++)
        reset_often(mode);
}

struct faulting {
    struct guest *guest;
    bool stop;
    uint64_t faults;
};

static void *fault_for_ever(void *opaque)
{
    struct faulting *faulting = opaque;
    const struct guest_dma dma = DMA_AT(GUEST_IOVA + 0x5000);
    struct viommu_dma_result result;

    while (!__atomic_load_n(&faulting->stop, __ATOMIC_ACQUIRE))
        if (guest_dma(faulting->guest, &dma, &result) && result.fault_code)
            __atomic_fetch_add(&faulting->faults, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* A refused DMA tells of its fault a while later; a reset may come between. */
static void reset_while_dma_faults(void **state)
{
    struct guest guest;
    struct faulting faulting = {.guest = &guest};
    pthread_t threads[2];
    uint64_t seen;

    (void)state;
    guest_create(&guest, "");
    guest_legacy(&guest, 0, 0, 2, guest_page(&guest));
    for (unsigned int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fault_for_ever, &faulting), 0);
    for (unsigned int i = 0; i < 20 * ROUNDS; i++) {
        guest_on(&guest, TTM_LEGACY);
        seen = __atomic_load_n(&faulting.faults, __ATOMIC_ACQUIRE);
        while (__atomic_load_n(&faulting.faults, __ATOMIC_ACQUIRE) < seen + 3)
            continue;
        viommu_reset(guest.machine.viommu);
        unit_is_new(&guest.machine);
    }
    __atomic_store_n(&faulting.stop, true, __ATOMIC_RELEASE);
    for (unsigned int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    unit_is_new(&guest.machine);
    guest_destroy(&guest);
}

/* ---- Removal */

/* Whatever a driver does about a device that is gone: all of it completes, and others go on. */
static void invalidate_all_kinds(struct traffic *traffic)
{
    struct assigned *assigned = &traffic->assigned;

    assigned_context(assigned, CONTEXT_DEVICE, GUEST_DOMAIN, VIOMMU_PCI_DEVFN(0, 0), 0);
    assigned_context(assigned, CONTEXT_GLOBAL, 0, 0, 0);
    if (traffic->ttm == TTM_SCALABLE) {
        assigned_pasid_cache(assigned, PASID_ONE, GUEST_DOMAIN, 5);
        assigned_pasid_cache(assigned, PASID_GLOBAL, 0, 0);
        assigned_piotlb(assigned, PIOTLB_PASID, GUEST_DOMAIN, 0, 0, 0);
    }
    assigned_iotlb(assigned, IOTLB_GLOBAL, 0, 0, 0);
    assigned_wait(assigned);
}

static void go_on_without(struct traffic *traffic)
{
    for (unsigned int i = 0; i < 6; i++) {
        uint64_t page = i % 2 ? PAGE_A : PAGE_B, old = page ^ PAGE_A ^ PAGE_B;

        traffic_move(traffic, page);
        traffic_wipe(traffic, old);
        invalidate_all_kinds(traffic);
        traffic_await_arrivals(traffic, 2);
        assert_false(traffic_touched(traffic, old));
    }
}

/* Device 0 leaves with a fault pending, its tables bound and its neighbours at work. */
static void remove_by_surprise(enum traffic_mode mode)
{
    struct viommu_soft_census census;
    struct traffic traffic;
    struct assigned *assigned = &traffic.assigned;
    uint64_t value;

    traffic_create(&traffic, mode);
    traffic_await_arrivals(&traffic, 2);
    traffic_stop(&traffic, 0);
    assert_int_equal(
        assigned_dma(assigned, 0, traffic.device[0].pasid, GUEST_IOVA + 0x5000, false, &value),
        -EACCES);
    viommu_soft_device_remove(assigned->soft[0]);
    go_on_without(&traffic);
    assigned_told(assigned, 0, mode == TRAFFIC_LEGACY ? LEGACY_READ : FS_NOT_PRESENT);
    assigned_clear_faults(assigned);
    viommu_reset(assigned->guest.machine.viommu);
    traffic_start_unit(&traffic);
    go_on_without(&traffic);
    assigned_detach(assigned, 0);
    assigned->device[0] = NULL;
    census = assigned_census(assigned);
    assert_int_equal(census.bound_devices, 1);
    go_on_without(&traffic);
    traffic_destroy(&traffic);
}

static void surprise_removal_while_dma_runs(void **state)
{
    (void)state;
    for (enum traffic_mode mode = 0; mode < TRAFFIC_MODES; mode++)
        remove_by_surprise(mode);
}

/* What DMA holds of the function is its address space, which is the unit's and stays. */
static void emulated_function_leaves_while_dma_runs(void **state)
{
    struct traffic traffic;
    struct machine *machine = &traffic.assigned.guest.machine;

    (void)state;
    traffic_create(&traffic, TRAFFIC_NESTED);
    for (unsigned int i = 0; i < ROUNDS; i++) {
        traffic_await_arrivals(&traffic, 1);
        viommu_pci_device_remove(machine->device[2]);
        traffic_move(&traffic, i % 2 ? PAGE_A : PAGE_B);
        traffic_wipe(&traffic, i % 2 ? PAGE_B : PAGE_A);
        traffic_await_arrivals(&traffic, 2);
        assert_false(traffic_touched(&traffic, i % 2 ? PAGE_B : PAGE_A));
        assert_int_equal(viommu_pci_device_add(machine->bus, VIOMMU_PCI_DEVFN(2, 0), NULL,
                                               &machine->device[2], NULL),
                         0);
        assert_ptr_equal(viommu_pci_device_get_address_space(machine->device[2]),
                         traffic.device[2].space);
    }
    traffic_destroy(&traffic);
}

/* ---- Many vCPUs */

struct vcpus {
    struct traffic traffic;
    pthread_mutex_t queue_lock; /* a guest's own, as drivers have */
    bool stop;
    uint32_t waits;
    bool lost;
};

/* A driver's submission: descriptors and the tail under a lock, then a look at the status. */
static void *submit_waits(void *opaque)
{
    struct vcpus *vcpus = opaque;
    struct machine *machine = &vcpus->traffic.assigned.guest.machine;

    for (uint32_t i = 1; !__atomic_load_n(&vcpus->stop, __ATOMIC_ACQUIRE); i++) {
        pthread_mutex_lock(&vcpus->queue_lock);
        machine_submit(machine, 6 | G(3) | DOMAIN(GUEST_DOMAIN), GUEST_IOVA);
        machine_submit(machine, WAIT | WAIT_SW | WAIT_IF | WAIT_DATA(i), ASSIGNED_STATUS);
        if ((uint32_t)load64(machine, ASSIGNED_STATUS) != i)
            __atomic_store_n(&vcpus->lost, true, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&vcpus->queue_lock);
        __atomic_fetch_add(&vcpus->waits, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* Interrupt handlers and whoever looks at registers, without any lock. */
static void *use_registers(void *opaque)
{
    struct vcpus *vcpus = opaque;
    struct machine *machine = &vcpus->traffic.assigned.guest.machine;

    for (uint32_t i = 0; !__atomic_load_n(&vcpus->stop, __ATOMIC_ACQUIRE); i++) {
        write32(machine, VTD_IECTL, i % 2 ? (uint32_t)VTD_ECTL_IM : 0);
        write32(machine, VTD_FECTL, i % 3 ? (uint32_t)VTD_ECTL_IM : 0);
        write32(machine, VTD_ICS, VTD_ICS_IWC);
        write64(machine, machine_fault_record(machine, i % 8) + 8, VTD_FRCD_F);
        write32(machine, VTD_FSTS, VTD_FSTS_PFO);
        if (read64(machine, VTD_IQH) >= 8192 || read64(machine, VTD_IQT) >= 8192)
            __atomic_store_n(&vcpus->lost, true, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* The root table pointer again and again: the tables are the same, so no DMA may miss. */
static void *set_root(void *opaque)
{
    struct vcpus *vcpus = opaque;
    struct machine *machine = &vcpus->traffic.assigned.guest.machine;

    while (!__atomic_load_n(&vcpus->stop, __ATOMIC_ACQUIRE))
        machine_set_root(machine, GUEST_ROOT | vcpus->traffic.ttm);
    return NULL;
}

static void vcpus_at_once(void **state)
{
    static void *(*const work_of[])(void *) = {submit_waits, submit_waits, use_registers, set_root};
    static struct vcpus vcpus;
    struct machine *machine = &vcpus.traffic.assigned.guest.machine;
    pthread_t threads[SPEC_COUNT(work_of)];

    (void)state;
    traffic_create(&vcpus.traffic, TRAFFIC_NESTED);
    pthread_mutex_init(&vcpus.queue_lock, NULL);
    for (unsigned int i = 0; i < SPEC_COUNT(work_of); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work_of[i], &vcpus), 0);
    while (__atomic_load_n(&vcpus.waits, __ATOMIC_ACQUIRE) < 200)
        traffic_await_tries(&vcpus.traffic, 1);
    __atomic_store_n(&vcpus.stop, true, __ATOMIC_RELEASE);
    for (unsigned int i = 0; i < SPEC_COUNT(work_of); i++)
        pthread_join(threads[i], NULL);
    assert_false(vcpus.lost);
    assert_int_equal(read32(machine, VTD_FSTS) & VTD_FSTS_IQE, 0);
    assert_int_equal(read64(machine, VTD_IQH), read64(machine, VTD_IQT));
    for (unsigned int i = ASSIGNED_DEVICES; i < TRAFFIC_DEVICES; i++) {
        traffic_stop(&vcpus.traffic, i);
        assert_int_equal(vcpus.traffic.device[i].tries, vcpus.traffic.device[i].arrived);
    }
    traffic_destroy(&vcpus.traffic);
    pthread_mutex_destroy(&vcpus.queue_lock);
}

static const struct spec_rule rules[] = {
    {"VTD-LIFE-RESET-1", "11.4",
     "Reset while devices do DMA: afterwards nothing is translated as before.",
     reset_while_dma_runs},
    {"VTD-LIFE-RESET-2", "7.2", "No fault of before a reset is recorded after it.",
     reset_while_dma_faults},
    {"VTD-LIFE-REMOVE-1", "3.4",
     "A host device that is gone by surprise: invalidations complete, its faults can be read, and "
     "others' DMA goes on.",
     surprise_removal_while_dma_runs},
    {"VTD-LIFE-REMOVE-2", "3.4",
     "An emulated function that leaves in the middle of its DMA stays translated by its tables.",
     emulated_function_leaves_while_dma_runs},
    {"VTD-LIFE-VCPUS-1", "6.5.2",
     "Several vCPUs at the queue and the registers at once lose no wait, and no DMA.",
     vcpus_at_once},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
