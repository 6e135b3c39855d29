/* SPDX-License-Identifier: MIT */
#include "virtio.h"
#include "vmm.h"
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <string.h>

#define FEATURE(bit) (UINT64_C(1) << (bit))

/* Lock held. virtio 1.2, 4.1.5.1: with MSI-X by vector, else through the ISR status. */
static void interrupt(struct vmm_virtio *virtio, uint16_t vector, uint8_t isr)
{
    if (vmm_pci_msix_enabled(&virtio->fn)) {
        if (vector != VIRTIO_MSI_NO_VECTOR)
            vmm_pci_notify(&virtio->fn, vector);
        return;
    }
    virtio->isr |= isr;
    vmm_pci_set_intx(&virtio->fn, true);
}

int vmm_virtio_used(struct vmm_virtio *virtio, unsigned int index)
{
    int ret = vmm_virtqueue_must_notify(&virtio->queues[index]);

    if (ret <= 0)
        return ret;
    pthread_mutex_lock(&virtio->lock);
    interrupt(virtio, virtio->queue_vectors[index], 1);
    pthread_mutex_unlock(&virtio->lock);
    return 0;
}

void vmm_virtio_break(struct vmm_virtio *virtio)
{
    pthread_mutex_lock(&virtio->lock);
    virtio->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    interrupt(virtio, virtio->config_vector, VIRTIO_PCI_ISR_CONFIG);
    pthread_mutex_unlock(&virtio->lock);
}

bool vmm_virtio_halting(const struct vmm_virtio *virtio)
{
    return atomic_load_explicit(&virtio->halt, memory_order_relaxed);
}

static bool runnable(const struct vmm_virtio *virtio)
{
    return virtio->pending && virtio->status & VIRTIO_CONFIG_S_DRIVER_OK &&
           !(virtio->status & VIRTIO_CONFIG_S_NEEDS_RESET) && !vmm_virtio_halting(virtio);
}

/* Lock held, but given up while queues are served. */
static void serve(struct vmm_virtio *virtio)
{
    uint32_t todo = virtio->pending;
    uint32_t again = 0;

    virtio->pending = 0;
    virtio->busy = true;
    pthread_mutex_unlock(&virtio->lock);
    for (unsigned int i = 0; i < virtio->options.queue_count; i++) {
        if (todo & 1u << i && virtio->options.ops->process(virtio, i))
            again |= 1u << i;
    }
    pthread_mutex_lock(&virtio->lock);
    virtio->pending |= again;
    virtio->busy = false;
    pthread_cond_broadcast(&virtio->idle);
}

static void *worker_main(void *opaque)
{
    struct vmm_virtio *virtio = opaque;

    pthread_mutex_lock(&virtio->lock);
    while (!virtio->exit) {
        if (runnable(virtio))
            serve(virtio);
        else
            pthread_cond_wait(&virtio->wake, &virtio->lock);
    }
    pthread_mutex_unlock(&virtio->lock);
    return NULL;
}

/* Signals are the main thread's: the worker is born with all of them blocked. */
int vmm_virtio_start_worker(struct vmm_virtio *virtio, struct viommu_error *err)
{
    sigset_t all, old;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&virtio->worker, NULL, worker_main, virtio);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret)
        return vmm_fail(err, ret, "%s: its worker thread cannot be started: %s", virtio->fn.id.name,
                        strerror(ret));
    virtio->started = true;
    return 0;
}

void vmm_virtio_stop_worker(struct vmm_virtio *virtio)
{
    if (!virtio->started)
        return;
    pthread_mutex_lock(&virtio->lock);
    virtio->exit = true;
    atomic_store(&virtio->halt, true);
    pthread_cond_signal(&virtio->wake);
    pthread_mutex_unlock(&virtio->lock);
    pthread_join(virtio->worker, NULL);
    virtio->started = false;
}

/* Also while another thread waits here: a guest may reset from two vCPUs. */
static void wait_until_idle(struct vmm_virtio *virtio)
{
    while (virtio->busy) {
        atomic_store(&virtio->halt, true);
        pthread_cond_wait(&virtio->idle, &virtio->lock);
    }
    atomic_store(&virtio->halt, false);
}

void vmm_virtio_reset(struct vmm_virtio *virtio)
{
    wait_until_idle(virtio);
    virtio->pending = 0;
    virtio->status = 0;
    virtio->isr = 0;
    virtio->device_feature_select = 0;
    virtio->driver_feature_select = 0;
    virtio->driver_features = 0;
    virtio->queue_select = 0;
    virtio->config_vector = VIRTIO_MSI_NO_VECTOR;
    for (unsigned int i = 0; i < virtio->options.queue_count; i++) {
        virtio->queue_vectors[i] = VIRTIO_MSI_NO_VECTOR;
        vmm_virtqueue_reset(&virtio->queues[i]);
    }
    vmm_pci_set_intx(&virtio->fn, false);
}

/*
 * ACCESS_PLATFORM, once offered, is not for the driver to decline (virtio 1.2, 6.2 lets the
 * device refuse): whoever drives the device could otherwise step past the IOMMU.
 */
static bool features_are_good(const struct vmm_virtio *virtio)
{
    uint64_t needed =
        virtio->device_features & (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_F_ACCESS_PLATFORM));

    return !(virtio->driver_features & ~virtio->device_features) &&
           (virtio->driver_features & needed) == needed;
}

static void start_queues(struct vmm_virtio *virtio)
{
    bool event_idx = virtio->driver_features & FEATURE(VIRTIO_RING_F_EVENT_IDX);

    for (unsigned int i = 0; i < virtio->options.queue_count; i++) {
        virtio->queues[i].event_idx = event_idx;
        vmm_virtio_kick(virtio, i);
    }
}

/* virtio 1.2, 2.1: bits are added one after the other, and only a reset takes them away. */
void vmm_virtio_set_status(struct vmm_virtio *virtio, uint8_t status)
{
    uint8_t added = status & ~virtio->status & ~VIRTIO_CONFIG_S_NEEDS_RESET;

    if (!status) {
        vmm_virtio_reset(virtio);
        return;
    }
    if (added & VIRTIO_CONFIG_S_FEATURES_OK && !features_are_good(virtio))
        added &= ~VIRTIO_CONFIG_S_FEATURES_OK;
    if (!((virtio->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
        added &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    virtio->status |= added;
    if (added & VIRTIO_CONFIG_S_DRIVER_OK)
        start_queues(virtio);
}

void vmm_virtio_kick(struct vmm_virtio *virtio, unsigned int index)
{
    if (index >= virtio->options.queue_count || !virtio->queues[index].enabled)
        return;
    virtio->pending |= 1u << index;
    pthread_cond_signal(&virtio->wake);
}

void vmm_virtio_setup(struct vmm_virtio *virtio)
{
    virtio->device_features = virtio->options.features | FEATURE(VIRTIO_F_VERSION_1) |
                              FEATURE(VIRTIO_RING_F_EVENT_IDX) |
                              FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
    if (vmm_unit_of(&virtio->fn) && !virtio->options.untranslated)
        virtio->device_features |= FEATURE(VIRTIO_F_ACCESS_PLATFORM);
    for (unsigned int i = 0; i < virtio->options.queue_count; i++)
        virtio->queues[i].dma = &virtio->dma.dma;
    pthread_mutex_lock(&virtio->lock);
    vmm_virtio_reset(virtio);
    pthread_mutex_unlock(&virtio->lock);
}
