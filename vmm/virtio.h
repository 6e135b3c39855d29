/* SPDX-License-Identifier: MIT */
/*
 * A modern virtio device on PCI (virtio 1.2): what all kinds of it share. virtio.c holds its life
 * (status, features, reset, the worker thread), virtio_common.c the common configuration
 * structure, virtio_pci.c the PCI function.
 *
 * Threads: registers are accessed in vCPU threads, under the device's lock. Queues are served in
 * one worker thread for each device, without it; a reset waits until the worker has let go.
 */
#ifndef VMM_VIRTIO_H
#define VMM_VIRTIO_H

#include "dma.h"
#include "pci.h"
#include "virtqueue.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <viommu/error.h>

struct vmm_virtio;

#define VMM_VIRTIO_QUEUES_MAX 8u

struct vmm_virtio_ops {
    /*
     * Serve queue `index`, in the worker thread. To be fair to other queues, and to a reset that
     * waits, it may return early; true asks for another turn. It calls vmm_virtio_used() for
     * what it pushed and vmm_virtio_break() when the queue makes no sense.
     */
    bool (*process)(struct vmm_virtio *virtio, unsigned int index);
    /* The worker is gone, and soon the machine. Frees the device. */
    void (*destroy)(struct vmm_virtio *virtio);
};

/* What a kind of device is made of; vmm_virtio_init() copies it, but not what it points to. */
struct vmm_virtio_options {
    const struct vmm_pci_identity *identity;
    uint16_t segment; /* instead of the identity's */
    const struct vmm_virtio_ops *ops;
    uint64_t features; /* of the kind itself; those of rings and transport are added */
    unsigned int queue_count;
    const void *config; /* the device-specific configuration, which the driver only reads */
    size_t config_size;
    bool untranslated; /* DMA by guest physical address, past a vIOMMU */
};

struct vmm_virtio {
    struct vmm_pci_function fn;
    struct vmm_virtio_options options;
    struct vmm_function_dma dma;
    uint64_t device_features;
    uint8_t pci_cfg_offset; /* of the PCI configuration access capability */
    pthread_t worker;
    atomic_bool halt; /* a reset or the end waits for the worker */

    pthread_mutex_t lock; /* all below; queues that run belong to the worker */
    pthread_cond_t wake;  /* the worker has something to do */
    pthread_cond_t idle;  /* the worker has let go of the queues */
    bool started;         /* the thread exists */
    bool exit;
    bool busy;        /* the worker is using queues */
    uint32_t pending; /* queues that the driver notified of, as bits */
    uint8_t status;
    uint8_t isr;
    uint32_t device_feature_select;
    uint32_t driver_feature_select;
    uint64_t driver_features;
    uint16_t queue_select;
    uint16_t config_vector;
    uint16_t queue_vectors[VMM_VIRTIO_QUEUES_MAX];
    struct vmm_virtqueue queues[VMM_VIRTIO_QUEUES_MAX];
};

/*
 * Make the function, start its worker, register it. On failure nothing is left and the caller
 * frees `virtio`, which it has filled with zeros; on success the host bridge owns it.
 */
int vmm_virtio_init(struct vmm_virtio *virtio, struct vmm *vm,
                    const struct vmm_virtio_options *options, struct viommu_error *err);

/* For ops->process, in the worker. Buffers of queue `index` were pushed: tell who wants to know. */
int vmm_virtio_used(struct vmm_virtio *virtio, unsigned int index);
/* The driver broke the rules: serve no queue until it has reset the device. */
void vmm_virtio_break(struct vmm_virtio *virtio);
/* Whether the worker shall return soon, its request unfinished if need be. */
bool vmm_virtio_halting(const struct vmm_virtio *virtio);

/* Between the parts of the transport; with the lock held, but for the first three. */
int vmm_virtio_start_worker(struct vmm_virtio *virtio, struct viommu_error *err);
void vmm_virtio_stop_worker(struct vmm_virtio *virtio);
void vmm_virtio_setup(struct vmm_virtio *virtio);
void vmm_virtio_reset(struct vmm_virtio *virtio);
void vmm_virtio_set_status(struct vmm_virtio *virtio, uint8_t status);
void vmm_virtio_kick(struct vmm_virtio *virtio, unsigned int index);
uint64_t vmm_virtio_common_read(struct vmm_virtio *virtio, unsigned int offset, unsigned int size);
void vmm_virtio_common_write(struct vmm_virtio *virtio, unsigned int offset, unsigned int size,
                             uint64_t value);

#endif
