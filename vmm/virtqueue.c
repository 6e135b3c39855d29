/* SPDX-License-Identifier: MIT */
#include "virtqueue.h"
#include "dma.h"
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

/* Offsets in the rings: virtio 1.2, 2.7.6 and 2.7.8. */
#define AVAIL_FLAGS 0u
#define AVAIL_INDEX 2u
#define AVAIL_RING  4u
#define USED_INDEX  2u
#define USED_RING   4u

static int read16(const struct vmm_virtqueue *queue, uint64_t address, uint16_t *value)
{
    return queue->dma->read(queue->dma, address, value, sizeof(*value));
}

static int write16(const struct vmm_virtqueue *queue, uint64_t address, uint16_t value)
{
    return queue->dma->write(queue->dma, address, &value, sizeof(value));
}

void vmm_virtqueue_reset(struct vmm_virtqueue *queue)
{
    *queue = (struct vmm_virtqueue){.dma = queue->dma, .size = VMM_VIRTQUEUE_SIZE_MAX};
}

/*
 * How many buffers wait. The fence keeps the reads of the ring and of the descriptors behind the
 * read of the index that publishes them.
 */
static int count_available(const struct vmm_virtqueue *queue, uint16_t *count)
{
    uint16_t index;
    int ret = read16(queue, queue->driver + AVAIL_INDEX, &index);

    if (ret)
        return ret;
    atomic_thread_fence(memory_order_acquire);
    *count = index - queue->next_avail;
    return *count > queue->size ? -EINVAL : 0;
}

static int add_segment(struct vmm_virtq_chain *chain, const struct vring_desc *desc)
{
    bool writable = desc->flags & VRING_DESC_F_WRITE;

    if (chain->count == VMM_VIRTQUEUE_SIZE_MAX)
        return -EINVAL;
    if (!writable && chain->count > chain->readable)
        return -EINVAL;
    chain->segments[chain->count].address = desc->addr;
    chain->segments[chain->count].length = desc->len;
    chain->count++;
    if (writable) {
        chain->writable_length += desc->len;
    } else {
        chain->readable++;
        chain->readable_length += desc->len;
    }
    return 0;
}

/* An indirect table (virtio 1.2, 2.7.5.3) is copied whole; the copy is then walked. */
static int add_indirect(const struct vmm_virtqueue *queue, struct vmm_virtq_chain *chain,
                        const struct vring_desc *indirect)
{
    struct vring_desc table[VMM_VIRTQUEUE_SIZE_MAX];
    uint32_t count = indirect->len / sizeof(table[0]);
    uint32_t index = 0;
    int ret;

    if (!count || count > VMM_VIRTQUEUE_SIZE_MAX || indirect->len % sizeof(table[0]))
        return -EINVAL;
    if (indirect->flags & VRING_DESC_F_NEXT)
        return -EINVAL;
    ret = queue->dma->read(queue->dma, indirect->addr, table, indirect->len);
    while (!ret) {
        if (index >= count || table[index].flags & VRING_DESC_F_INDIRECT)
            return -EINVAL;
        ret = add_segment(chain, &table[index]);
        if (!(table[index].flags & VRING_DESC_F_NEXT))
            break;
        index = table[index].next;
    }
    return ret;
}

/* The chain that begins at descriptor `head`. A loop ends when the chain is longer than allowed. */
static int collect(const struct vmm_virtqueue *queue, uint16_t head, struct vmm_virtq_chain *chain)
{
    struct vring_desc desc;
    uint16_t index = head;
    int ret;

    chain->head = head;
    chain->readable = 0;
    chain->count = 0;
    chain->readable_length = 0;
    chain->writable_length = 0;
    do {
        if (index >= queue->size)
            return -EINVAL;
        ret = queue->dma->read(queue->dma, queue->descriptors + index * sizeof(desc), &desc,
                               sizeof(desc));
        if (ret)
            return ret;
        if (desc.flags & VRING_DESC_F_INDIRECT)
            return add_indirect(queue, chain, &desc);
        ret = add_segment(chain, &desc);
        index = desc.next;
    } while (!ret && desc.flags & VRING_DESC_F_NEXT);
    return ret;
}

int vmm_virtqueue_pop(struct vmm_virtqueue *queue, struct vmm_virtq_chain *chain)
{
    uint16_t slot = queue->next_avail & (queue->size - 1);
    uint16_t count, head;
    int ret = count_available(queue, &count);

    if (ret || !count)
        return ret;
    ret = read16(queue, queue->driver + AVAIL_RING + slot * sizeof(head), &head);
    if (!ret)
        ret = collect(queue, head, chain);
    if (ret)
        return ret;
    queue->next_avail++;
    return 1;
}

int vmm_virtqueue_push(struct vmm_virtqueue *queue, uint16_t head, uint32_t written)
{
    struct vring_used_elem element = {.id = head, .len = written};
    uint16_t slot = queue->next_used & (queue->size - 1);
    int ret = queue->dma->write(queue->dma, queue->device + USED_RING + slot * sizeof(element),
                                &element, sizeof(element));

    if (ret)
        return ret;
    atomic_thread_fence(memory_order_release);
    ret = write16(queue, queue->device + USED_INDEX, queue->next_used + 1);
    if (!ret)
        queue->next_used++;
    return ret;
}

/* virtio 1.2, 2.7.7.2: by the event index when it was negotiated, else by the flag. */
int vmm_virtqueue_must_notify(struct vmm_virtqueue *queue)
{
    uint64_t used_event = queue->driver + AVAIL_RING + queue->size * sizeof(uint16_t);
    uint16_t old = queue->notified;
    uint16_t value;
    int ret;

    atomic_thread_fence(memory_order_seq_cst);
    queue->notified = queue->next_used;
    ret = read16(queue, queue->event_idx ? used_event : queue->driver + AVAIL_FLAGS, &value);
    if (ret)
        return ret;
    if (queue->event_idx)
        return (uint16_t)(queue->next_used - value - 1) < (uint16_t)(queue->next_used - old);
    return !(value & VRING_AVAIL_F_NO_INTERRUPT);
}

int vmm_virtqueue_wait(struct vmm_virtqueue *queue)
{
    uint64_t avail_event = queue->device + USED_RING + queue->size * sizeof(struct vring_used_elem);
    uint16_t count;
    int ret = 0;

    if (queue->event_idx)
        ret = write16(queue, avail_event, queue->next_avail);
    atomic_thread_fence(memory_order_seq_cst);
    if (!ret)
        ret = count_available(queue, &count);
    return ret ? ret : count != 0;
}

typedef int transfer_fn(const struct vmm_dma *dma, uint64_t address, void *buffer, size_t length);

static int transfer_read(const struct vmm_dma *dma, uint64_t address, void *buffer, size_t length)
{
    return dma->read(dma, address, buffer, length);
}

static int transfer_write(const struct vmm_dma *dma, uint64_t address, void *buffer, size_t length)
{
    return dma->write(dma, address, buffer, length);
}

static int transfer(const struct vmm_dma *dma, const struct vmm_virtq_segment *segment,
                    const struct vmm_virtq_segment *end, uint64_t offset, uint8_t *buffer,
                    size_t length, transfer_fn *move)
{
    for (; length && segment < end; segment++) {
        size_t piece;
        int ret;

        if (offset >= segment->length) {
            offset -= segment->length;
            continue;
        }
        piece = segment->length - offset;
        if (piece > length)
            piece = length;
        ret = move(dma, segment->address + offset, buffer, piece);
        if (ret)
            return ret;
        buffer += piece;
        length -= piece;
        offset = 0;
    }
    return length ? -EINVAL : 0;
}

int vmm_virtq_chain_read(const struct vmm_virtqueue *queue, const struct vmm_virtq_chain *chain,
                         uint64_t offset, void *buffer, size_t length)
{
    return transfer(queue->dma, chain->segments, chain->segments + chain->readable, offset, buffer,
                    length, transfer_read);
}

int vmm_virtq_chain_write(const struct vmm_virtqueue *queue, const struct vmm_virtq_chain *chain,
                          uint64_t offset, const void *buffer, size_t length)
{
    return transfer(queue->dma, chain->segments + chain->readable, chain->segments + chain->count,
                    offset, (void *)buffer, length, transfer_write);
}
