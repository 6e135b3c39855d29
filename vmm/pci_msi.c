/* SPDX-License-Identifier: MIT */
/* Message-signalled interrupts: PCI 3.0, 6.8.1 (MSI) and 6.8.2 (MSI-X). */
#include "pci_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MSI_LENGTH          0x18u
#define MSI_CONTROL         0x02u
#define MSI_ADDRESS         0x04u
#define MSI_ADDRESS_HIGH    0x08u
#define MSI_DATA            0x0cu
#define MSI_MASK            0x10u
#define MSI_PENDING         0x14u
#define MSI_ENABLE          0x0001u
#define MSI_CAPABLE_SHIFT   1
#define MSI_ALLOCATED_SHIFT 4
#define MSI_ALLOCATED_MASK  7u
#define MSI_64BIT           0x0080u
#define MSI_MASKING         0x0100u

#define MSIX_LENGTH        0x0cu
#define MSIX_CONTROL       0x02u
#define MSIX_TABLE         0x04u
#define MSIX_PBA           0x08u
#define MSIX_ENABLE        0x8000u
#define MSIX_FUNCTION_MASK 0x4000u
#define MSIX_ENTRY_SIZE    16u
#define MSIX_VECTOR_MASKED 1u

static void send_message(struct vmm_pci_function *fn, uint64_t address, uint32_t data)
{
    if (vmm_pci_bus_master(fn))
        vmm_irq_send(fn->vm, fn->viommu, address, data);
}

/* ---- MSI ---- */

void vmm_pci_add_msi(struct vmm_pci_function *fn, unsigned int count)
{
    uint8_t at = vmm_pci_add_capability(fn, PCI_CAPABILITY_MSI, MSI_LENGTH, false);
    uint16_t capable = 0;

    while ((1u << capable) < count)
        capable++;
    fn->msi.offset = at;
    fn->msi.count = count;
    vmm_pci_put16(fn->config, at + MSI_CONTROL,
                  (uint16_t)(MSI_64BIT | MSI_MASKING | capable << MSI_CAPABLE_SHIFT));
    vmm_pci_put16(fn->write_mask, at + MSI_CONTROL,
                  MSI_ENABLE | MSI_ALLOCATED_MASK << MSI_ALLOCATED_SHIFT);
    vmm_pci_put32(fn->write_mask, at + MSI_ADDRESS, 0xfffffffc);
    vmm_pci_put32(fn->write_mask, at + MSI_ADDRESS_HIGH, 0xffffffff);
    vmm_pci_put16(fn->write_mask, at + MSI_DATA, 0xffff);
    vmm_pci_put32(fn->write_mask, at + MSI_MASK, (uint32_t)((1ull << count) - 1));
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

static void msi_send(struct vmm_pci_function *fn, unsigned int vector)
{
    const uint8_t *msi = fn->config + fn->msi.offset;
    uint64_t address = vmm_pci_get32(msi, MSI_ADDRESS);
    uint32_t data = vmm_pci_get16(msi, MSI_DATA);

    address |= (uint64_t)vmm_pci_get32(msi, MSI_ADDRESS_HIGH) << 32;
    send_message(fn, address, (data & ~(msi_allocated(fn) - 1)) | vector);
}

static void msi_set_pending(struct vmm_pci_function *fn, uint32_t pending)
{
    fn->msi.pending = pending;
    vmm_pci_put32(fn->config, fn->msi.offset + MSI_PENDING, pending);
}

static void msi_notify(struct vmm_pci_function *fn, unsigned int vector)
{
    uint32_t mask = vmm_pci_get32(fn->config, fn->msi.offset + MSI_MASK);

    if (vector >= msi_allocated(fn))
        vector = 0;
    if (mask & (1u << vector))
        msi_set_pending(fn, fn->msi.pending | 1u << vector);
    else
        msi_send(fn, vector);
}

static void msi_send_pending(struct vmm_pci_function *fn)
{
    uint32_t ready = fn->msi.pending & ~vmm_pci_get32(fn->config, fn->msi.offset + MSI_MASK);
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

int vmm_pci_add_msix(struct vmm_pci_function *fn, unsigned int count, unsigned int bar,
                     uint32_t offset)
{
    struct vmm_pci_msix *msix = &fn->msix;
    uint8_t at;
    unsigned int i;

    msix->table = calloc(count, MSIX_ENTRY_SIZE);
    msix->pba = calloc((count + 63) / 64, sizeof(*msix->pba));
    if (!msix->table || !msix->pba)
        return -ENOMEM;
    at = vmm_pci_add_capability(fn, PCI_CAPABILITY_MSIX, MSIX_LENGTH, false);
    msix->offset = at;
    msix->bar = bar;
    msix->count = count;
    msix->table_offset = offset;
    msix->pba_offset = offset + count * MSIX_ENTRY_SIZE;
    for (i = 0; i < count; i++)
        msix->table[4 * i + 3] = MSIX_VECTOR_MASKED;
    vmm_pci_put16(fn->config, at + MSIX_CONTROL, (uint16_t)(count - 1));
    vmm_pci_put16(fn->write_mask, at + MSIX_CONTROL, MSIX_ENABLE | MSIX_FUNCTION_MASK);
    vmm_pci_put32(fn->config, at + MSIX_TABLE, msix->table_offset | bar);
    vmm_pci_put32(fn->config, at + MSIX_PBA, msix->pba_offset | bar);
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
    return (msix_control(fn) & MSIX_FUNCTION_MASK) ||
           (fn->msix.table[4 * vector + 3] & MSIX_VECTOR_MASKED);
}

static void msix_notify(struct vmm_pci_function *fn, unsigned int vector)
{
    const uint32_t *entry = &fn->msix.table[4 * vector];

    if (vector >= fn->msix.count)
        return;
    if (msix_masked(fn, vector))
        fn->msix.pba[vector / 64] |= 1ull << vector % 64;
    else
        send_message(fn, (uint64_t)entry[1] << 32 | entry[0], entry[2]);
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

static uint32_t pba_size(const struct vmm_pci_msix *msix)
{
    return (msix->count + 63) / 64 * 8;
}

bool vmm_pci_msix_decodes(const struct vmm_pci_function *fn, unsigned int bar, uint64_t offset)
{
    const struct vmm_pci_msix *msix = &fn->msix;

    return msix->offset && bar == msix->bar && offset >= msix->table_offset &&
           offset < msix->pba_offset + pba_size(msix);
}

uint64_t vmm_pci_msix_read(struct vmm_pci_function *fn, uint64_t offset, unsigned int size)
{
    const struct vmm_pci_msix *msix = &fn->msix;
    const char *from = (const char *)msix->table;
    uint64_t end = msix->pba_offset;
    uint64_t start = msix->table_offset;
    uint64_t value = 0;

    if (offset >= msix->pba_offset) {
        from = (const char *)msix->pba;
        start = end;
        end += pba_size(msix);
    }
    if (size > end - offset)
        return UINT64_MAX;
    memcpy(&value, from + (offset - start), size);
    return value;
}

void vmm_pci_msix_write(struct vmm_pci_function *fn, uint64_t offset, unsigned int size,
                        uint64_t value)
{
    struct vmm_pci_msix *msix = &fn->msix;

    if (offset >= msix->pba_offset || size > msix->pba_offset - offset)
        return;
    offset -= msix->table_offset;
    memcpy((char *)msix->table + offset, &value, size);
    msix_send_pending(fn, (unsigned int)(offset / MSIX_ENTRY_SIZE));
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

void vmm_pci_msi_reset(struct vmm_pci_function *fn)
{
    unsigned int i;

    fn->msi.pending = 0;
    if (!fn->msix.offset)
        return;
    memset(fn->msix.pba, 0, pba_size(&fn->msix));
    memset(fn->msix.table, 0, (size_t)fn->msix.count * MSIX_ENTRY_SIZE);
    for (i = 0; i < fn->msix.count; i++)
        fn->msix.table[4 * i + 3] = MSIX_VECTOR_MASKED;
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
