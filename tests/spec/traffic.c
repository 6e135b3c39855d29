/* SPDX-License-Identifier: MIT */
#include "traffic.h"

#include <sched.h>
#include <string.h>

#include "descriptors.h"

#define TRAFFIC_PASID_NUMBER 5

static uint64_t word_of(unsigned int index)
{
    return (uint64_t)index * 8;
}

static int write_once(struct traffic_device *device, uint64_t value)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;

    request.address = GUEST_IOVA + word_of(device->index);
    request.length = sizeof(value);
    request.pasid = device->pasid;
    request.access = VIOMMU_DMA_WRITE;
    request.requester_id = (uint16_t)VIOMMU_PCI_DEVFN(device->index, 0);
    if (device->space)
        return viommu_dma_write(device->space, &request, &value, &result);
    return viommu_soft_device_write(device->traffic->assigned.soft[device->index], &request, &value,
                                    &result);
}

static void *work(void *opaque)
{
    struct traffic_device *device = opaque;

    for (uint64_t i = 1; !__atomic_load_n(&device->stop, __ATOMIC_ACQUIRE); i++) {
        if (!write_once(device, i))
            __atomic_fetch_add(&device->arrived, 1, __ATOMIC_RELEASE);
        __atomic_fetch_add(&device->tries, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void make_tables(struct traffic *traffic)
{
    struct assigned *assigned = &traffic->assigned;

    if (traffic->mode == TRAFFIC_LEGACY) {
        traffic->ttm = TTM_LEGACY;
        traffic->root = assigned_second_stage(assigned, GUEST_IOVA, PAGE_A);
        for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++)
            guest_legacy(&assigned->guest, i, 0, 2, traffic->root);
        return;
    }
    traffic->ttm = TTM_SCALABLE;
    traffic->root = assigned_first_stage(assigned, GUEST_IOVA, PAGE_A);
    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++) {
        assigned_bind(assigned, i, 0, traffic->root, GUEST_DOMAIN);
        if (traffic->mode == TRAFFIC_PASID)
            assigned_bind(assigned, i, TRAFFIC_PASID_NUMBER, traffic->root, GUEST_DOMAIN);
    }
}

static void start_device(struct traffic *traffic, unsigned int index)
{
    struct traffic_device *device = &traffic->device[index];
    bool assigned = index < ASSIGNED_DEVICES;

    device->traffic = traffic;
    device->index = index;
    device->pasid =
        assigned && traffic->mode == TRAFFIC_PASID ? TRAFFIC_PASID_NUMBER : VIOMMU_PASID_NONE;
    if (!assigned)
        device->space =
            viommu_pci_device_get_address_space(traffic->assigned.guest.machine.device[index]);
    assert_int_equal(pthread_create(&device->thread, NULL, work, device), 0);
    device->running = true;
}

void traffic_create(struct traffic *traffic, enum traffic_mode mode)
{
    static const char *const properties[TRAFFIC_MODES] = {
        [TRAFFIC_NESTED] = "", [TRAFFIC_PASID] = "pasid-bits=8", [TRAFFIC_LEGACY] = ""};

    memset(traffic, 0, sizeof(*traffic));
    traffic->mode = mode;
    assigned_create(&traffic->assigned, NULL, properties[mode]);
    viommu_host_set_observer(traffic->assigned.host, NULL, NULL);
    for (unsigned int i = 0; i < ASSIGNED_DEVICES; i++)
        assigned_attach(&traffic->assigned, i);
    make_tables(traffic);
    guest_on(&traffic->assigned.guest, traffic->ttm);
    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++)
        start_device(traffic, i);
}

void traffic_stop(struct traffic *traffic, unsigned int index)
{
    struct traffic_device *device = &traffic->device[index];

    __atomic_store_n(&device->stop, true, __ATOMIC_RELEASE);
    if (device->running)
        pthread_join(device->thread, NULL);
    device->running = false;
}

void traffic_destroy(struct traffic *traffic)
{
    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++)
        traffic_stop(traffic, i);
    for (unsigned int i = 0; i < ASSIGNED_DEVICES; i++)
        if (traffic->assigned.device[i])
            assigned_detach(&traffic->assigned, i);
    assigned_destroy(&traffic->assigned);
}

void traffic_start_unit(struct traffic *traffic)
{
    machine_queue_start(&traffic->assigned.guest.machine, ASSIGNED_QUEUE | 1, true);
    guest_on(&traffic->assigned.guest, traffic->ttm);
}

void traffic_move(struct traffic *traffic, uint64_t page)
{
    struct assigned *assigned = &traffic->assigned;

    if (traffic->mode == TRAFFIC_LEGACY) {
        assigned_set_page(assigned, traffic->root, 4, page | SS_RW);
        assigned_iotlb(assigned, IOTLB_PAGES, GUEST_DOMAIN, GUEST_IOVA, 0);
    } else {
        assigned_set_page(assigned, traffic->root, 4, page | FS_ALL);
        assigned_piotlb(assigned, PIOTLB_PAGES, GUEST_DOMAIN, 0, GUEST_IOVA, 0);
        if (traffic->mode == TRAFFIC_PASID)
            assigned_piotlb(assigned, PIOTLB_PAGES, GUEST_DOMAIN, TRAFFIC_PASID_NUMBER, GUEST_IOVA,
                            0);
    }
    assigned_wait(assigned);
}

static void await(struct traffic *traffic, bool arrivals, uint64_t count)
{
    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++) {
        struct traffic_device *device = &traffic->device[i];
        uint64_t *counter = arrivals ? &device->arrived : &device->tries;
        uint64_t before = __atomic_load_n(counter, __ATOMIC_ACQUIRE);

        while (device->running && __atomic_load_n(counter, __ATOMIC_ACQUIRE) < before + count)
            sched_yield();
    }
}

void traffic_await_tries(struct traffic *traffic, uint64_t count)
{
    await(traffic, false, count);
}

void traffic_await_arrivals(struct traffic *traffic, uint64_t count)
{
    await(traffic, true, count);
}

void traffic_wipe(struct traffic *traffic, uint64_t page)
{
    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++)
        store64(&traffic->assigned.guest.machine, page + word_of(i), 0);
}

bool traffic_touched(struct traffic *traffic, uint64_t page)
{
    bool touched = false;

    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++)
        touched |= load64(&traffic->assigned.guest.machine, page + word_of(i)) != 0;
    return touched;
}
