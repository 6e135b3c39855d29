/* SPDX-License-Identifier: MIT */
/* The PCI function of a virtio device: virtio 1.2, 4.1. */
#include "virtio.h"
#include "vmm.h"
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>

/* BAR 0: one page for each structure, then the MSI-X table. */
#define BAR_SIZE          0x8000u
#define STRUCTURE_SIZE    0x1000u
#define STRUCTURES_END    0x4000u
#define NOTIFY_MULTIPLIER 4u
#define CONFIG_VECTORS    1u

struct structure {
    uint8_t type;
    uint32_t offset; /* in BAR 0 */
    /* Lock held; `offset` is within the structure's page. */
    uint64_t (*read)(struct vmm_virtio *virtio, unsigned int offset, unsigned int size);
    void (*write)(struct vmm_virtio *virtio, unsigned int offset, unsigned int size,
                  uint64_t value);
    uint32_t (*length)(const struct vmm_virtio *virtio);
};

static struct vmm_virtio *virtio_of(struct vmm_pci_function *fn)
{
    return vmm_container_of(fn, struct vmm_virtio, fn);
}

static uint32_t common_length(const struct vmm_virtio *virtio)
{
    (void)virtio;
    return sizeof(struct virtio_pci_common_cfg);
}

/* Reading acknowledges (virtio 1.2, 4.1.4.5). */
static uint64_t isr_read(struct vmm_virtio *virtio, unsigned int offset, unsigned int size)
{
    uint8_t isr = virtio->isr;

    (void)size;
    if (offset)
        return 0;
    virtio->isr = 0;
    vmm_pci_set_intx(&virtio->fn, false);
    return isr;
}

static uint32_t isr_length(const struct vmm_virtio *virtio)
{
    (void)virtio;
    return 1;
}

static uint64_t device_read(struct vmm_virtio *virtio, unsigned int offset, unsigned int size)
{
    size_t room = virtio->options.config_size;
    uint64_t value = 0;

    if (offset < room) {
        room -= offset;
        memcpy(&value, (const uint8_t *)virtio->options.config + offset, size < room ? size : room);
    }
    return value;
}

static uint32_t device_length(const struct vmm_virtio *virtio)
{
    return (uint32_t)virtio->options.config_size;
}

/* The address tells which queue; the value repeats it. */
static void notify_write(struct vmm_virtio *virtio, unsigned int offset, unsigned int size,
                         uint64_t value)
{
    (void)size;
    (void)value;
    vmm_virtio_kick(virtio, offset / NOTIFY_MULTIPLIER);
}

static uint32_t notify_length(const struct vmm_virtio *virtio)
{
    return virtio->options.queue_count * NOTIFY_MULTIPLIER;
}

static const struct structure structures[] = {
    {VIRTIO_PCI_CAP_COMMON_CFG, 0x0000, vmm_virtio_common_read, vmm_virtio_common_write,
     common_length},
    {VIRTIO_PCI_CAP_ISR_CFG, 0x1000, isr_read, NULL, isr_length},
    {VIRTIO_PCI_CAP_DEVICE_CFG, 0x2000, device_read, NULL, device_length},
    {VIRTIO_PCI_CAP_NOTIFY_CFG, 0x3000, NULL, notify_write, notify_length},
};
#define STRUCTURE_COUNT (sizeof(structures) / sizeof(structures[0]))

static const struct structure *find_structure(uint64_t offset)
{
    return offset < STRUCTURES_END ? &structures[offset / STRUCTURE_SIZE] : NULL;
}

static uint64_t virtio_bar_read(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                                unsigned int size)
{
    const struct structure *structure = find_structure(offset);
    struct vmm_virtio *virtio = virtio_of(fn);
    uint64_t value;

    (void)bar;
    if (!structure || !structure->read)
        return 0;
    pthread_mutex_lock(&virtio->lock);
    value = structure->read(virtio, (unsigned int)(offset - structure->offset), size);
    pthread_mutex_unlock(&virtio->lock);
    return value;
}

static void virtio_bar_write(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                             unsigned int size, uint64_t value)
{
    const struct structure *structure = find_structure(offset);
    struct vmm_virtio *virtio = virtio_of(fn);

    (void)bar;
    if (!structure || !structure->write)
        return;
    pthread_mutex_lock(&virtio->lock);
    structure->write(virtio, (unsigned int)(offset - structure->offset), size, value);
    pthread_mutex_unlock(&virtio->lock);
}

/*
 * The window into BAR 0 that lies in configuration space (virtio 1.2, 4.1.4.9): whether the access
 * touches its data register, and what that register stands for now.
 */
static bool window_target(struct vmm_virtio *virtio, unsigned int offset, unsigned int size,
                          uint32_t *bar_offset, uint32_t *length)
{
    unsigned int cap = virtio->pci_cfg_offset;
    unsigned int data = cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
    struct vmm_pci_function *fn = &virtio->fn;

    if (offset >= data + 4 || offset + size <= data)
        return false;
    *bar_offset = vmm_pci_config_load(fn, cap + VIRTIO_PCI_CAP_OFFSET, 4);
    *length = vmm_pci_config_load(fn, cap + VIRTIO_PCI_CAP_LENGTH, 4);
    return vmm_pci_config_load(fn, cap + VIRTIO_PCI_CAP_BAR, 1) == 0 &&
           (*length == 1 || *length == 2 || *length == 4) && *bar_offset % *length == 0 &&
           *bar_offset < STRUCTURES_END;
}

static void virtio_config_read(struct vmm_pci_function *fn, unsigned int offset, unsigned int size)
{
    struct vmm_virtio *virtio = virtio_of(fn);
    uint32_t bar_offset, length;

    if (window_target(virtio, offset, size, &bar_offset, &length))
        vmm_pci_config_store32(
            fn, virtio->pci_cfg_offset + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data),
            (uint32_t)virtio_bar_read(fn, 0, bar_offset, length));
}

static void virtio_config_write(struct vmm_pci_function *fn, unsigned int offset, unsigned int size)
{
    struct vmm_virtio *virtio = virtio_of(fn);
    uint32_t bar_offset, length, value;

    if (!window_target(virtio, offset, size, &bar_offset, &length))
        return;
    value = vmm_pci_config_load(
        fn, virtio->pci_cfg_offset + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), 4);
    if (length < 4)
        value &= (1u << 8 * length) - 1;
    virtio_bar_write(fn, 0, bar_offset, length, value);
}

static void virtio_function_reset(struct vmm_pci_function *fn)
{
    struct vmm_virtio *virtio = virtio_of(fn);

    pthread_mutex_lock(&virtio->lock);
    vmm_virtio_reset(virtio);
    pthread_mutex_unlock(&virtio->lock);
}

static void release(struct vmm_virtio *virtio)
{
    vmm_virtio_stop_worker(virtio);
    pthread_cond_destroy(&virtio->idle);
    pthread_cond_destroy(&virtio->wake);
    pthread_mutex_destroy(&virtio->lock);
}

static void virtio_stop(struct vmm_pci_function *fn)
{
    vmm_virtio_stop_worker(virtio_of(fn));
}

static void virtio_destroy(struct vmm_pci_function *fn)
{
    struct vmm_virtio *virtio = virtio_of(fn);

    release(virtio);
    virtio->options.ops->destroy(virtio);
}

static const struct vmm_pci_ops virtio_pci_ops = {
    .bar_read = virtio_bar_read,
    .bar_write = virtio_bar_write,
    .config_read = virtio_config_read,
    .config_write = virtio_config_write,
    .reset = virtio_function_reset,
    .stop = virtio_stop,
    .destroy = virtio_destroy,
};

static uint8_t add_capability(struct vmm_virtio *virtio, uint8_t type, uint8_t length,
                              uint32_t structure_offset, uint32_t structure_length)
{
    struct vmm_pci_function *fn = &virtio->fn;
    bool watched = type == VIRTIO_PCI_CAP_PCI_CFG;
    uint8_t at = vmm_pci_add_capability(fn, PCI_CAP_ID_VNDR, length, watched);

    fn->config[at + VIRTIO_PCI_CAP_LEN] = length;
    fn->config[at + VIRTIO_PCI_CAP_CFG_TYPE] = type;
    vmm_pci_put32(fn->config, at + VIRTIO_PCI_CAP_OFFSET, structure_offset);
    vmm_pci_put32(fn->config, at + VIRTIO_PCI_CAP_LENGTH, structure_length);
    return at;
}

static void add_structure(struct vmm_virtio *virtio, const struct structure *structure)
{
    bool notify = structure->type == VIRTIO_PCI_CAP_NOTIFY_CFG;
    uint8_t length = notify ? sizeof(struct virtio_pci_notify_cap) : sizeof(struct virtio_pci_cap);
    uint8_t at = add_capability(virtio, structure->type, length, structure->offset,
                                structure->length(virtio));

    if (notify)
        vmm_pci_put32(virtio->fn.config, at + VIRTIO_PCI_NOTIFY_CAP_MULT, NOTIFY_MULTIPLIER);
}

static void add_window(struct vmm_virtio *virtio)
{
    uint8_t *mask = virtio->fn.write_mask;
    uint8_t at =
        add_capability(virtio, VIRTIO_PCI_CAP_PCI_CFG, sizeof(struct virtio_pci_cfg_cap), 0, 0);

    virtio->pci_cfg_offset = at;
    mask[at + VIRTIO_PCI_CAP_BAR] = 0xff;
    vmm_pci_put32(mask, at + VIRTIO_PCI_CAP_OFFSET, UINT32_MAX);
    vmm_pci_put32(mask, at + VIRTIO_PCI_CAP_LENGTH, UINT32_MAX);
    vmm_pci_put32(mask, at + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), UINT32_MAX);
}

static int build_function(struct vmm_virtio *virtio, struct viommu_error *err)
{
    struct vmm_pci_function *fn = &virtio->fn;
    int ret;

    vmm_pci_add_bar(fn, 0, VMM_PCI_BAR_MEM32, BAR_SIZE);
    for (size_t i = 0; i < STRUCTURE_COUNT; i++)
        add_structure(virtio, &structures[i]);
    add_window(virtio);
    ret = vmm_pci_add_msix(fn, CONFIG_VECTORS + virtio->options.queue_count, 0, STRUCTURES_END);
    if (ret)
        return vmm_fail(err, -ret, "%s: there is no memory for its MSI-X table", fn->id.name);
    if (virtio->options.untranslated)
        vmm_function_dma_init_plain(&virtio->dma, fn);
    else
        ret = vmm_function_dma_init(&virtio->dma, fn, err);
    return ret;
}

int vmm_virtio_init(struct vmm_virtio *virtio, struct vmm *vm,
                    const struct vmm_virtio_options *options, struct viommu_error *err)
{
    struct vmm_pci_identity identity = *options->identity;
    int ret;

    identity.segment = options->segment;
    ret =
        vmm_pci_function_init(&virtio->fn, vm, VMM_PCI_DEVFN_ANY, &identity, &virtio_pci_ops, err);
    if (ret)
        return ret;
    virtio->options = *options;
    pthread_mutex_init(&virtio->lock, NULL);
    pthread_cond_init(&virtio->wake, NULL);
    pthread_cond_init(&virtio->idle, NULL);
    ret = build_function(virtio, err);
    if (!ret) {
        vmm_virtio_setup(virtio);
        ret = vmm_virtio_start_worker(virtio, err);
    }
    if (!ret)
        ret = vmm_pci_register(&virtio->fn, err);
    if (ret) {
        release(virtio);
        vmm_pci_function_fini(&virtio->fn);
    }
    return ret;
}
