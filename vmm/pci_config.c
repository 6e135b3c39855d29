/* SPDX-License-Identifier: MIT */
/* Guest accesses to the configuration space of one function. */
#include "pci_internal.h"
#include <string.h>

#define EXPRESS_DEVICE_CONTROL 0x08u
#define EXPRESS_START_FLR      0x80u /* in the high byte */
#define EXPRESS_DEVICE_CAP_FLR 0x07u /* the byte of Device Capabilities with */
#define EXPRESS_HAS_FLR        0x10u

/* What an access caused that must be told to the device without the lock. */
struct config_effects {
    bool watched;
    bool reset;
    bool master_changed;
    bool messages_changed;
};

static bool is_watched(const struct vmm_pci_function *fn, unsigned int offset, unsigned int size)
{
    return memchr(fn->watched + offset, 1, size) != NULL;
}

uint32_t vmm_pci_config_load(struct vmm_pci_function *fn, unsigned int offset, unsigned int size)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    uint32_t value = 0;

    pthread_mutex_lock(&pci->lock);
    memcpy(&value, fn->config + offset, size);
    pthread_mutex_unlock(&pci->lock);
    return value;
}

void vmm_pci_config_store8(struct vmm_pci_function *fn, unsigned int offset, uint8_t value)
{
    struct vmm_pci_host *pci = fn->vm->pci;

    pthread_mutex_lock(&pci->lock);
    fn->config[offset] = value;
    pthread_mutex_unlock(&pci->lock);
}

void vmm_pci_config_store32(struct vmm_pci_function *fn, unsigned int offset, uint32_t value)
{
    struct vmm_pci_host *pci = fn->vm->pci;

    pthread_mutex_lock(&pci->lock);
    vmm_pci_put32(fn->config, offset, value);
    pthread_mutex_unlock(&pci->lock);
}

void vmm_pci_config_change16(struct vmm_pci_function *fn, unsigned int offset, uint16_t clear,
                             uint16_t set)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    uint16_t value;

    pthread_mutex_lock(&pci->lock);
    value = vmm_pci_get16(fn->config, offset);
    vmm_pci_put16(fn->config, offset, (uint16_t)((value & ~clear) | set));
    pthread_mutex_unlock(&pci->lock);
}

uint32_t vmm_pci_config_read(struct vmm_pci_function *fn, unsigned int offset, unsigned int size)
{
    if (vmm_pci_is_unplugged(fn))
        return UINT32_MAX;
    if (fn->ops->config_read && is_watched(fn, offset, size))
        fn->ops->config_read(fn, offset, size);
    return vmm_pci_config_load(fn, offset, size);
}

/* Configuration space goes back to its power-on contents: no address, no decoding, no interrupts.
 */
static void reset_config(struct vmm_pci_function *fn)
{
    uint8_t header_type = fn->config[PCI_REG_HEADER_TYPE];
    uint8_t line = fn->config[PCI_REG_INTERRUPT_LINE];

    /* The command register is read without the lock, by whoever does DMA. */
    for (unsigned int i = 0; i < VMM_PCI_CONFIG_SIZE; i++)
        __atomic_store_n(&fn->config[i], fn->power_on[i], __ATOMIC_RELAXED);
    fn->config[PCI_REG_HEADER_TYPE] = header_type;
    fn->config[PCI_REG_INTERRUPT_LINE] = line;
    fn->intx_level = false;
    vmm_pci_msi_reset(fn);
}

static void store(struct vmm_pci_function *fn, unsigned int offset, unsigned int size,
                  uint32_t value)
{
    uint8_t mask, byte;
    unsigned int i;

    for (i = 0; i < size; i++, value >>= 8) {
        mask = fn->write_mask[offset + i];
        byte = (fn->config[offset + i] & ~mask) | (value & mask);
        byte &= (uint8_t) ~(value & fn->clear_mask[offset + i]);
        __atomic_store_n(&fn->config[offset + i], byte, __ATOMIC_RELAXED);
    }
}

static bool starts_flr(const struct vmm_pci_function *fn, unsigned int offset, unsigned int size,
                       uint32_t value)
{
    unsigned int at = fn->express_offset + EXPRESS_DEVICE_CONTROL + 1;

    return fn->express_offset &&
           (fn->config[fn->express_offset + EXPRESS_DEVICE_CAP_FLR] & EXPRESS_HAS_FLR) &&
           vmm_pci_overlaps(offset, size, at, 1) &&
           ((value >> (8 * (at - offset))) & EXPRESS_START_FLR);
}

static struct config_effects write_locked(struct vmm_pci_function *fn, unsigned int offset,
                                          unsigned int size, uint32_t value)
{
    bool master = vmm_pci_bus_master(fn);
    struct config_effects effects = {
        .watched = is_watched(fn, offset, size),
        .reset = starts_flr(fn, offset, size, value),
    };

    store(fn, offset, size, value);
    if (effects.reset)
        reset_config(fn);
    if (effects.reset || vmm_pci_overlaps(offset, size, PCI_REG_COMMAND, 2) ||
        vmm_pci_overlaps(offset, size, PCI_REG_BAR0, 4 * VMM_PCI_BARS) ||
        vmm_pci_overlaps(offset, size, PCI_REG_ROM, 4))
        vmm_pci_bars_update(fn);
    vmm_pci_msi_config_written(fn);
    vmm_pci_intx_update(fn);
    effects.master_changed = master != vmm_pci_bus_master(fn);
    effects.messages_changed =
        effects.reset || effects.master_changed || vmm_pci_msi_config_overlaps(fn, offset, size);
    return effects;
}

static void tell_messages_changed(struct vmm_pci_function *fn)
{
    if (fn->ops->messages_changed)
        fn->ops->messages_changed(fn, 0, vmm_pci_message_count(fn));
}

void vmm_pci_power_on(struct vmm_pci_function *fn)
{
    struct vmm_pci_host *pci = fn->vm->pci;

    pthread_mutex_lock(&pci->lock);
    reset_config(fn);
    fn->config[PCI_REG_INTERRUPT_LINE] = fn->power_on[PCI_REG_INTERRUPT_LINE];
    vmm_pci_bars_update(fn);
    vmm_pci_intx_update(fn);
    pthread_mutex_unlock(&pci->lock);

    if (fn->ops->bus_master)
        fn->ops->bus_master(fn, false);
    if (fn->ops->reset)
        fn->ops->reset(fn);
    tell_messages_changed(fn);
}

void vmm_pci_config_write(struct vmm_pci_function *fn, unsigned int offset, unsigned int size,
                          uint32_t value)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    struct config_effects effects = {0};

    pthread_mutex_lock(&pci->lock);
    if (!fn->unplugged)
        effects = write_locked(fn, offset, size, value);
    pthread_mutex_unlock(&pci->lock);

    if (effects.master_changed && fn->ops->bus_master)
        fn->ops->bus_master(fn, vmm_pci_bus_master(fn));
    if (effects.reset && fn->ops->reset)
        fn->ops->reset(fn);
    if (effects.messages_changed)
        tell_messages_changed(fn);
    if (effects.watched && fn->ops->config_write)
        fn->ops->config_write(fn, offset, size);
}
