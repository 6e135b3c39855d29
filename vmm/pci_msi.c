/* SPDX-License-Identifier: MIT */
/* Message-signalled interrupts: PCI 3.0, 6.8.1 (MSI) and 6.8.2 (MSI-X). */
#include "pci_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MSI_CONTROL         0x02u
#define MSI_ADDRESS         0x04u
#define MSI_ADDRESS_HIGH    0x08u
#define MSI_PENDING         0x04u /* behind the mask */
#define MSI_ENABLE          0x0001u
#define MSI_CAPABLE_SHIFT   1
#define MSI_ALLOCATED_SHIFT 4
#define MSI_ALLOCATED_MASK  7u

#define MSIX_LENGTH        0x0cu
#define MSIX_CONTROL       0x02u
#define MSIX_TABLE         0x04u
#define MSIX_PBA           0x08u
#define MSIX_ENABLE        0x8000u
#define MSIX_FUNCTION_MASK 0x4000u
#define MSIX_ENTRY_SIZE    16u
#define MSIX_VECTOR_MASKED 1u

/* ---- MSI ---- */

void vmm_pci_add_msi(struct vmm_pci_function *fn, unsigned int count)
{
    vmm_pci_add_msi_with(fn, count, VMM_PCI_MSI_64BIT | VMM_PCI_MSI_MASKING);
}

void vmm_pci_add_msi_with(struct vmm_pci_function *fn, unsigned int count, uint16_t features)
{
    struct vmm_pci_msi *msi = &fn->msi;
    uint16_t capable = 0;
    uint8_t at;

    msi->data = features & VMM_PCI_MSI_64BIT ? 0x0c : 0x08;
    msi->mask = features & VMM_PCI_MSI_MASKING ? msi->data + 4 : 0;
    at = vmm_pci_add_capability(fn, PCI_CAPABILITY_MSI, (msi->mask ? msi->mask + 8 : msi->data + 2),
                                false);
    while ((1u << capable) < count)
        capable++;
    msi->offset = at;
    msi->count = count;
    vmm_pci_put16(fn->config, at + MSI_CONTROL,
                  (uint16_t)(features | capable << MSI_CAPABLE_SHIFT));
    vmm_pci_put16(fn->write_mask, at + MSI_CONTROL,
                  MSI_ENABLE | MSI_ALLOCATED_MASK << MSI_ALLOCATED_SHIFT);
    vmm_pci_put32(fn->write_mask, at + MSI_ADDRESS, 0xfffffffc);
    if (features & VMM_PCI_MSI_64BIT)
        vmm_pci_put32(fn->write_mask, at + MSI_ADDRESS_HIGH, 0xffffffff);
    vmm_pci_put16(fn->write_mask, at + msi->data, 0xffff);
    if (msi->mask)
        vmm_pci_put32(fn->write_mask, at + msi->mask, (uint32_t)((1ull << count) - 1));
}

static bool msi_enabled(const struct vmm_pci_function *fn)
{
    return fn->msi.offset && (vmm_pci_get16(fn->config, fn->msi.offset + MSI_CONTROL) & MSI_ENABLE);
}

static unsigned int msi_allocated(const struct vmm_pci_function *fn)
{
    uint16_t control = vmm_pci_get16(fn->config, fn->msi.offset + MSI_CONTROL);
    unsigned int allocated = 1u << ((control >> MSI_ALLOCATED_SHIFT) & MSI_ALLOCATED_MASK);

    return allocated > fn->msi.count ? fn->msi.count : allocated;
}

static struct vmm_pci_message msi_message(const struct vmm_pci_function *fn, unsigned int vector)
{
    const uint8_t *msi = fn->config + fn->msi.offset;
    struct vmm_pci_message message = {VMM_PCI_MESSAGE_ON, vmm_pci_get32(msi, MSI_ADDRESS), 0};

    if (vmm_pci_get16(msi, MSI_CONTROL) & VMM_PCI_MSI_64BIT)
        message.address |= (uint64_t)vmm_pci_get32(msi, MSI_ADDRESS_HIGH) << 32;
    message.data = (vmm_pci_get16(msi, fn->msi.data) & ~(msi_allocated(fn) - 1)) | vector;
    return message;
}

static void msi_send(struct vmm_pci_function *fn, unsigned int vector)
{
    struct vmm_pci_message message = msi_message(fn, vector);

    vmm_irq_send(fn->vm, fn->viommu, message.address, message.data);
}

/* Those that must wait. A function that is no bus master writes no message. */
static uint32_t msi_masked(const struct vmm_pci_function *fn)
{
    if (!vmm_pci_bus_master(fn))
        return UINT32_MAX;
    return fn->msi.mask ? vmm_pci_get32(fn->config, fn->msi.offset + fn->msi.mask) : 0;
}

static void msi_set_pending(struct vmm_pci_function *fn, uint32_t pending)
{
    fn->msi.pending = pending;
    if (fn->msi.mask)
        vmm_pci_put32(fn->config, fn->msi.offset + fn->msi.mask + MSI_PENDING, pending);
}

static void msi_notify(struct vmm_pci_function *fn, unsigned int vector)
{
    if (vector >= msi_allocated(fn))
        vector = 0;
    if (msi_masked(fn) & (1u << vector))
        msi_set_pending(fn, fn->msi.pending | 1u << vector);
    else
        msi_send(fn, vector);
}

static void msi_send_pending(struct vmm_pci_function *fn)
{
    uint32_t ready = fn->msi.pending & ~msi_masked(fn);
    unsigned int vector;

    if (!ready)
        return;
    msi_set_pending(fn, fn->msi.pending & ~ready);
    for (vector = 0; vector < fn->msi.count; vector++) {
        if (ready & (1u << vector))
            msi_send(fn, vector);
    }
}

/* ---- MSI-X ---- */

static uint32_t pba_size(unsigned int count)
{
    return (count + 63) / 64 * 8;
}

int vmm_pci_add_msix(struct vmm_pci_function *fn, unsigned int count, unsigned int bar,
                     uint32_t offset)
{
    return vmm_pci_add_msix_at(fn, count, bar, offset, bar, offset + count * MSIX_ENTRY_SIZE);
}

int vmm_pci_add_msix_at(struct vmm_pci_function *fn, unsigned int count, unsigned int table_bar,
                        uint32_t table_offset, unsigned int pba_bar, uint32_t pba_offset)
{
    struct vmm_pci_msix *msix = &fn->msix;
    uint8_t at;
    unsigned int i;

    msix->table = calloc(count, MSIX_ENTRY_SIZE);
    msix->pba = calloc(1, pba_size(count));
    if (!msix->table || !msix->pba)
        return -ENOMEM;
    at = vmm_pci_add_capability(fn, PCI_CAPABILITY_MSIX, MSIX_LENGTH, false);
    msix->offset = at;
    msix->bar = table_bar;
    msix->count = count;
    msix->table_offset = table_offset;
    msix->pba_bar = pba_bar;
    msix->pba_offset = pba_offset;
    for (i = 0; i < count; i++)
        msix->table[4 * i + 3] = MSIX_VECTOR_MASKED;
    vmm_pci_put16(fn->config, at + MSIX_CONTROL, (uint16_t)(count - 1));
    vmm_pci_put16(fn->write_mask, at + MSIX_CONTROL, MSIX_ENABLE | MSIX_FUNCTION_MASK);
    vmm_pci_put32(fn->config, at + MSIX_TABLE, table_offset | table_bar);
    vmm_pci_put32(fn->config, at + MSIX_PBA, pba_offset | pba_bar);
    return 0;
}

static uint16_t msix_control(const struct vmm_pci_function *fn)
{
    return fn->msix.offset ? vmm_pci_get16(fn->config, fn->msix.offset + MSIX_CONTROL) : 0;
}

static bool msix_enabled(const struct vmm_pci_function *fn)
{
    return msix_control(fn) & MSIX_ENABLE;
}

static bool msix_masked(const struct vmm_pci_function *fn, unsigned int vector)
{
    return !vmm_pci_bus_master(fn) || (msix_control(fn) & MSIX_FUNCTION_MASK) ||
           (fn->msix.table[4 * vector + 3] & MSIX_VECTOR_MASKED);
}

static struct vmm_pci_message msix_message(const struct vmm_pci_function *fn, unsigned int vector)
{
    const uint32_t *entry = &fn->msix.table[4 * vector];

    return (struct vmm_pci_message){VMM_PCI_MESSAGE_ON, (uint64_t)entry[1] << 32 | entry[0],
                                    entry[2]};
}

static void msix_notify(struct vmm_pci_function *fn, unsigned int vector)
{
    struct vmm_pci_message message;

    if (vector >= fn->msix.count)
        return;
    message = msix_message(fn, vector);
    if (msix_masked(fn, vector))
        fn->msix.pba[vector / 64] |= 1ull << vector % 64;
    else
        vmm_irq_send(fn->vm, fn->viommu, message.address, message.data);
}

static void msix_send_pending(struct vmm_pci_function *fn, unsigned int vector)
{
    uint64_t *word = &fn->msix.pba[vector / 64];
    uint64_t bit = 1ull << vector % 64;

    if (!(*word & bit) || !msix_enabled(fn) || msix_masked(fn, vector))
        return;
    *word &= ~bit;
    msix_notify(fn, vector);
}

static bool in_table(const struct vmm_pci_msix *msix, unsigned int bar, uint64_t offset)
{
    return bar == msix->bar && offset >= msix->table_offset &&
           offset - msix->table_offset < msix->count * MSIX_ENTRY_SIZE;
}

static bool in_pba(const struct vmm_pci_msix *msix, unsigned int bar, uint64_t offset)
{
    return bar == msix->pba_bar && offset >= msix->pba_offset &&
           offset - msix->pba_offset < pba_size(msix->count);
}

bool vmm_pci_msix_decodes(const struct vmm_pci_function *fn, unsigned int bar, uint64_t offset)
{
    const struct vmm_pci_msix *msix = &fn->msix;

    return msix->offset && (in_table(msix, bar, offset) || in_pba(msix, bar, offset));
}

uint64_t vmm_pci_msix_read(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                           unsigned int size)
{
    const struct vmm_pci_msix *msix = &fn->msix;
    const char *from = (const char *)msix->table;
    uint64_t end = msix->count * MSIX_ENTRY_SIZE;
    uint64_t start = msix->table_offset;
    uint64_t value = 0;

    if (!in_table(msix, bar, offset)) {
        from = (const char *)msix->pba;
        start = msix->pba_offset;
        end = pba_size(msix->count);
    }
    offset -= start;
    if (size > end - offset)
        return UINT64_MAX;
    memcpy(&value, from + offset, size);
    return value;
}

bool vmm_pci_msix_write(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                        unsigned int size, uint64_t value, unsigned int *vector)
{
    struct vmm_pci_msix *msix = &fn->msix;

    if (!in_table(msix, bar, offset) || offset % size)
        return false;
    offset -= msix->table_offset;
    if (size > msix->count * MSIX_ENTRY_SIZE - offset)
        return false;
    memcpy((char *)msix->table + offset, &value, size);
    *vector = (unsigned int)(offset / MSIX_ENTRY_SIZE);
    msix_send_pending(fn, *vector);
    return true;
}

/* ---- both ---- */

bool vmm_pci_message_enabled(const struct vmm_pci_function *fn)
{
    return msi_enabled(fn) || msix_enabled(fn);
}

void vmm_pci_msi_config_written(struct vmm_pci_function *fn)
{
    unsigned int vector;

    if (msi_enabled(fn))
        msi_send_pending(fn);
    for (vector = 0; msix_enabled(fn) && vector < fn->msix.count; vector++)
        msix_send_pending(fn, vector);
}

/* The MSI capability is at most 24 bytes long, and a shorter one's neighbour does no harm. */
bool vmm_pci_msi_config_overlaps(const struct vmm_pci_function *fn, unsigned int offset,
                                 unsigned int size)
{
    return (fn->msi.offset && vmm_pci_overlaps(offset, size, fn->msi.offset, 24)) ||
           (fn->msix.offset && vmm_pci_overlaps(offset, size, fn->msix.offset, MSIX_LENGTH));
}

void vmm_pci_msi_reset(struct vmm_pci_function *fn)
{
    unsigned int i;

    fn->msi.pending = 0;
    if (!fn->msix.offset)
        return;
    memset(fn->msix.pba, 0, pba_size(fn->msix.count));
    memset(fn->msix.table, 0, (size_t)fn->msix.count * MSIX_ENTRY_SIZE);
    for (i = 0; i < fn->msix.count; i++)
        fn->msix.table[4 * i + 3] = MSIX_VECTOR_MASKED;
}

static struct vmm_pci_message find_message(const struct vmm_pci_function *fn, unsigned int vector)
{
    struct vmm_pci_message message = {VMM_PCI_MESSAGE_OFF, 0, 0};
    bool masked;

    if (msix_enabled(fn) && vector < fn->msix.count) {
        message = msix_message(fn, vector);
        masked = msix_masked(fn, vector);
    } else if (!msix_enabled(fn) && msi_enabled(fn) && vector < msi_allocated(fn)) {
        message = msi_message(fn, vector);
        masked = msi_masked(fn) & (1u << vector);
    } else {
        return message;
    }
    if (masked)
        message.state = VMM_PCI_MESSAGE_MASKED;
    return message;
}

struct vmm_pci_message vmm_pci_message(struct vmm_pci_function *fn, unsigned int vector)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    struct vmm_pci_message message;

    pthread_mutex_lock(&pci->lock);
    message = find_message(fn, vector);
    pthread_mutex_unlock(&pci->lock);
    return message;
}

unsigned int vmm_pci_message_count(const struct vmm_pci_function *fn)
{
    return fn->msix.count > fn->msi.count ? fn->msix.count : fn->msi.count;
}

bool vmm_pci_notify(struct vmm_pci_function *fn, unsigned int vector)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    bool sent = true;

    pthread_mutex_lock(&pci->lock);
    if (msix_enabled(fn))
        msix_notify(fn, vector);
    else if (msi_enabled(fn))
        msi_notify(fn, vector);
    else
        sent = false;
    pthread_mutex_unlock(&pci->lock);
    return sent;
}

bool vmm_pci_msi_enabled(struct vmm_pci_function *fn)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    bool enabled;

    pthread_mutex_lock(&pci->lock);
    enabled = msi_enabled(fn);
    pthread_mutex_unlock(&pci->lock);
    return enabled;
}

bool vmm_pci_msix_enabled(struct vmm_pci_function *fn)
{
    struct vmm_pci_host *pci = fn->vm->pci;
    bool enabled;

    pthread_mutex_lock(&pci->lock);
    enabled = msix_enabled(fn);
    pthread_mutex_unlock(&pci->lock);
    return enabled;
}
