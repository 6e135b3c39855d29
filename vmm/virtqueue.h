/* SPDX-License-Identifier: MIT */
/*
 * The device's side of one split virtqueue (virtio 1.2, 2.7).
 *
 * The driver is hostile: what it wrote is read once, bounded, and then checked. A queue whose
 * rings make no sense, or lie where the IOMMU lets the device not go, gives a negative errno: the
 * device then needs a reset.
 *
 * A queue is used by one thread at a time: by the transport until it is enabled and started, then
 * by the device's worker.
 */
#ifndef VMM_VIRTQUEUE_H
#define VMM_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmm_dma;

#define VMM_VIRTQUEUE_SIZE_MAX 256u /* descriptors, and the longest chain that is accepted */

struct vmm_virtqueue {
    const struct vmm_dma *dma; /* borrowed */
    uint16_t size;             /* descriptors; a power of two */
    bool enabled;
    bool event_idx;       /* VIRTIO_F_EVENT_IDX was negotiated */
    uint64_t descriptors; /* where the driver put the three parts: "Queue Desc" */
    uint64_t driver;      /* the available ring */
    uint64_t device;      /* the used ring */
    uint16_t next_avail;
    uint16_t next_used;
    uint16_t notified; /* next_used when the driver was last notified */
};

struct vmm_virtq_segment {
    uint64_t address;
    uint32_t length;
};

/* A buffer of the driver: segments that the device reads, then segments that it writes. */
struct vmm_virtq_chain {
    uint16_t head;
    unsigned int readable; /* count of the first, readable segments */
    unsigned int count;    /* of all segments */
    uint64_t readable_length;
    uint64_t writable_length;
    struct vmm_virtq_segment segments[VMM_VIRTQUEUE_SIZE_MAX];
};

/* As after a reset: disabled, of the greatest size. */
void vmm_virtqueue_reset(struct vmm_virtqueue *queue);

/*
 * Take the next buffer that the driver made available. 1: `chain` describes it; 0: there is none;
 * -EINVAL: the rings or the chain are malformed; or the errno of the DMA.
 */
int vmm_virtqueue_pop(struct vmm_virtqueue *queue, struct vmm_virtq_chain *chain);

/* Give the buffer back, with `written` bytes written to its writable part. */
int vmm_virtqueue_push(struct vmm_virtqueue *queue, uint16_t head, uint32_t written);

/* 1: the driver wants a notification for what was pushed since this was last asked; 0: not. */
int vmm_virtqueue_must_notify(struct vmm_virtqueue *queue);

/*
 * Ask the driver to notify the device of the next buffer. 1: there is one already, that it may not
 * have notified of; 0: none.
 */
int vmm_virtqueue_wait(struct vmm_virtqueue *queue);

/*
 * Copy out of the readable part of a chain, or into its writable part, from byte `offset` of that
 * part on. -EINVAL: the part is too short; or the errno of the DMA.
 */
int vmm_virtq_chain_read(const struct vmm_virtqueue *queue, const struct vmm_virtq_chain *chain,
                         uint64_t offset, void *buffer, size_t length);
int vmm_virtq_chain_write(const struct vmm_virtqueue *queue, const struct vmm_virtq_chain *chain,
                          uint64_t offset, const void *buffer, size_t length);

#endif
