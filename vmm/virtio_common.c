/* SPDX-License-Identifier: MIT */
/* The common configuration structure: virtio 1.2, 4.1.4.3. */
#include "virtio.h"
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

struct common_field {
    uint8_t offset;
    uint8_t size; /* the only access size that is answered (virtio 1.2, 4.1.3.1) */
    uint32_t (*get)(struct vmm_virtio *virtio);
    void (*set)(struct vmm_virtio *virtio, uint32_t value); /* NULL: read-only */
};

static struct vmm_virtqueue *selected(struct vmm_virtio *virtio)
{
    if (virtio->queue_select >= virtio->options.queue_count)
        return NULL;
    return &virtio->queues[virtio->queue_select];
}

/* The selected queue while the driver may still set it up. */
static struct vmm_virtqueue *changeable(struct vmm_virtio *virtio)
{
    struct vmm_virtqueue *queue = selected(virtio);

    return queue && !queue->enabled ? queue : NULL;
}

static uint16_t valid_vector(const struct vmm_virtio *virtio, uint32_t vector)
{
    return vector <= virtio->options.queue_count ? vector : VIRTIO_MSI_NO_VECTOR;
}

static uint32_t get_device_feature_select(struct vmm_virtio *virtio)
{
    return virtio->device_feature_select;
}

static void set_device_feature_select(struct vmm_virtio *virtio, uint32_t value)
{
    virtio->device_feature_select = value;
}

static uint32_t get_device_feature(struct vmm_virtio *virtio)
{
    if (virtio->device_feature_select > 1)
        return 0;
    return (uint32_t)(virtio->device_features >> 32 * virtio->device_feature_select);
}

static uint32_t get_driver_feature_select(struct vmm_virtio *virtio)
{
    return virtio->driver_feature_select;
}

static void set_driver_feature_select(struct vmm_virtio *virtio, uint32_t value)
{
    virtio->driver_feature_select = value;
}

static uint32_t get_driver_feature(struct vmm_virtio *virtio)
{
    if (virtio->driver_feature_select > 1)
        return 0;
    return (uint32_t)(virtio->driver_features >> 32 * virtio->driver_feature_select);
}

static void set_driver_feature(struct vmm_virtio *virtio, uint32_t value)
{
    unsigned int shift = 32 * (virtio->driver_feature_select & 1);

    if (virtio->driver_feature_select > 1 || virtio->status & VIRTIO_CONFIG_S_FEATURES_OK)
        return;
    virtio->driver_features &= ~(UINT64_C(0xffffffff) << shift);
    virtio->driver_features |= (uint64_t)value << shift;
}

static uint32_t get_config_vector(struct vmm_virtio *virtio)
{
    return virtio->config_vector;
}

static void set_config_vector(struct vmm_virtio *virtio, uint32_t value)
{
    virtio->config_vector = valid_vector(virtio, value);
}

static uint32_t get_num_queues(struct vmm_virtio *virtio)
{
    return virtio->options.queue_count;
}

static uint32_t get_status(struct vmm_virtio *virtio)
{
    return virtio->status;
}

static void set_status(struct vmm_virtio *virtio, uint32_t value)
{
    vmm_virtio_set_status(virtio, (uint8_t)value);
}

/* The device-specific configuration never changes. */
static uint32_t get_config_generation(struct vmm_virtio *virtio)
{
    (void)virtio;
    return 0;
}

static uint32_t get_queue_select(struct vmm_virtio *virtio)
{
    return virtio->queue_select;
}

static void set_queue_select(struct vmm_virtio *virtio, uint32_t value)
{
    virtio->queue_select = (uint16_t)value;
}

/* 0: there is no such queue. */
static uint32_t get_queue_size(struct vmm_virtio *virtio)
{
    const struct vmm_virtqueue *queue = selected(virtio);

    return queue ? queue->size : 0;
}

static void set_queue_size(struct vmm_virtio *virtio, uint32_t value)
{
    struct vmm_virtqueue *queue = changeable(virtio);

    if (queue && value && value <= VMM_VIRTQUEUE_SIZE_MAX && !(value & (value - 1)))
        queue->size = (uint16_t)value;
}

static uint32_t get_queue_vector(struct vmm_virtio *virtio)
{
    return selected(virtio) ? virtio->queue_vectors[virtio->queue_select] : VIRTIO_MSI_NO_VECTOR;
}

static void set_queue_vector(struct vmm_virtio *virtio, uint32_t value)
{
    if (selected(virtio))
        virtio->queue_vectors[virtio->queue_select] = valid_vector(virtio, value);
}

static uint32_t get_queue_enable(struct vmm_virtio *virtio)
{
    const struct vmm_virtqueue *queue = selected(virtio);

    return queue && queue->enabled;
}

/* Writing 0 is forbidden to drivers and has no effect. */
static void set_queue_enable(struct vmm_virtio *virtio, uint32_t value)
{
    struct vmm_virtqueue *queue = changeable(virtio);

    if (queue && value == 1)
        queue->enabled = true;
}

static uint32_t get_queue_notify_off(struct vmm_virtio *virtio)
{
    return virtio->queue_select;
}

static const struct common_field common_fields[] = {
    {VIRTIO_PCI_COMMON_DFSELECT, 4, get_device_feature_select, set_device_feature_select},
    {VIRTIO_PCI_COMMON_DF, 4, get_device_feature, NULL},
    {VIRTIO_PCI_COMMON_GFSELECT, 4, get_driver_feature_select, set_driver_feature_select},
    {VIRTIO_PCI_COMMON_GF, 4, get_driver_feature, set_driver_feature},
    {VIRTIO_PCI_COMMON_MSIX, 2, get_config_vector, set_config_vector},
    {VIRTIO_PCI_COMMON_NUMQ, 2, get_num_queues, NULL},
    {VIRTIO_PCI_COMMON_STATUS, 1, get_status, set_status},
    {VIRTIO_PCI_COMMON_CFGGENERATION, 1, get_config_generation, NULL},
    {VIRTIO_PCI_COMMON_Q_SELECT, 2, get_queue_select, set_queue_select},
    {VIRTIO_PCI_COMMON_Q_SIZE, 2, get_queue_size, set_queue_size},
    {VIRTIO_PCI_COMMON_Q_MSIX, 2, get_queue_vector, set_queue_vector},
    {VIRTIO_PCI_COMMON_Q_ENABLE, 2, get_queue_enable, set_queue_enable},
    {VIRTIO_PCI_COMMON_Q_NOFF, 2, get_queue_notify_off, NULL},
};

static const struct common_field *find_field(unsigned int offset, unsigned int size)
{
    for (size_t i = 0; i < sizeof(common_fields) / sizeof(common_fields[0]); i++) {
        if (common_fields[i].offset == offset && common_fields[i].size == size)
            return &common_fields[i];
    }
    return NULL;
}

/* The three 64-bit addresses of a queue may be accessed whole or by halves, aligned. */
static bool is_address(unsigned int offset, unsigned int size)
{
    return offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset < VIRTIO_PCI_COMMON_Q_NDATA &&
           (size == 4 || size == 8) && offset % size == 0;
}

static uint64_t *queue_address(struct vmm_virtqueue *queue, unsigned int offset)
{
    uint64_t *const addresses[] = {&queue->descriptors, &queue->driver, &queue->device};

    return addresses[(offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 8];
}

static uint64_t read_address(struct vmm_virtio *virtio, unsigned int offset, unsigned int size)
{
    struct vmm_virtqueue *queue = selected(virtio);
    uint64_t value;

    if (!queue)
        return 0;
    value = *queue_address(queue, offset);
    return size == 8 ? value : (uint32_t)(value >> offset % 8 * 8);
}

static void write_address(struct vmm_virtio *virtio, unsigned int offset, unsigned int size,
                          uint64_t value)
{
    struct vmm_virtqueue *queue = changeable(virtio);
    uint64_t *address;

    if (!queue)
        return;
    address = queue_address(queue, offset);
    if (size == 8)
        *address = value;
    else if (offset % 8)
        *address = (uint32_t)*address | value << 32;
    else
        *address = (*address & ~UINT64_C(0xffffffff)) | (uint32_t)value;
}

uint64_t vmm_virtio_common_read(struct vmm_virtio *virtio, unsigned int offset, unsigned int size)
{
    const struct common_field *field = find_field(offset, size);

    if (is_address(offset, size))
        return read_address(virtio, offset, size);
    return field ? field->get(virtio) : 0;
}

void vmm_virtio_common_write(struct vmm_virtio *virtio, unsigned int offset, unsigned int size,
                             uint64_t value)
{
    const struct common_field *field = find_field(offset, size);

    if (is_address(offset, size))
        write_address(virtio, offset, size, value);
    else if (field && field->set)
        field->set(virtio, (uint32_t)value);
}
