/* SPDX-License-Identifier: MIT */
/* The expansion ROM of a VFIO device: a copy, made anew whenever the guest has enabled it. */
#include "pci_internal.h"
#include "vfio.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* PCI 3.0, 6.2.5.2. */
#define ROM_MAX (16u << 20)

#define PAST_THE_END 0xff

static uint64_t round_up(uint64_t size)
{
    uint64_t power = VMM_PCI_ROM_MIN;

    while (power < size)
        power <<= 1;
    return power;
}

int vmm_vfio_rom_create(struct vmm_vfio *vfio, struct viommu_error *err)
{
    uint64_t size = vfio->regions[VFIO_PCI_ROM_REGION_INDEX].size;
    struct vmm_vfio_rom *rom = &vfio->rom;
    char reason[80];

    if (!size || rom->hidden)
        return 0;
    if (size > ROM_MAX) {
        snprintf(reason, sizeof(reason), "it has %llu bytes, more than 16 MiB; hide it by rom=off",
                 (unsigned long long)size);
        vmm_vfio_complain_of(vfio, VMM_VFIO_NO_ROM, reason);
        return 0;
    }
    rom->bytes = malloc(size);
    if (!rom->bytes)
        return vmm_fail(err, ENOMEM, "out of memory for the expansion ROM of %s", vfio->name);
    rom->size = size;
    vmm_pci_add_rom(&vfio->fn, round_up(size));
    memset(vfio->fn.watched + PCI_REG_ROM, 1, 4);
    return 0;
}

/* A vCPU may be in it until all are gone. */
void vmm_vfio_rom_destroy(struct vmm_vfio *vfio)
{
    free(vfio->rom.bytes);
    vfio->rom.bytes = NULL;
}

/* Bytes at `at`, of which some may come; 0: the device is gone. */
static ssize_t read_some(struct vmm_vfio *vfio, uint64_t at)
{
    const struct vfio_region_info *region = &vfio->regions[VFIO_PCI_ROM_REGION_INDEX];
    ssize_t got = 0;

    pthread_rwlock_rdlock(&vfio->access);
    if (vfio->fd >= 0)
        got = vfio->kernel->read(vfio->fd, vfio->rom.bytes + at, vfio->rom.size - at,
                                 (off_t)(region->offset + at));
    if (got < 0)
        got = -errno;
    pthread_rwlock_unlock(&vfio->access);
    return got;
}

/* What cannot be read is ones, as where no ROM answers. */
static void load(struct vmm_vfio *vfio)
{
    struct vmm_vfio_rom *rom = &vfio->rom;
    uint64_t at = 0;
    ssize_t got = 1;

    memset(rom->bytes, PAST_THE_END, rom->size);
    while (at < rom->size && got > 0) {
        got = read_some(vfio, at);
        at += got > 0 ? (uint64_t)got : 0;
    }
    if (got < 0)
        vmm_vfio_complain(vfio, VMM_VFIO_NO_ROM, (int)got);
    rom->loaded = true;
}

uint64_t vmm_vfio_rom_read(struct vmm_vfio *vfio, uint64_t offset, unsigned int size)
{
    struct vmm_vfio_rom *rom = &vfio->rom;
    uint64_t value = UINT64_MAX;

    pthread_mutex_lock(&rom->lock);
    if (!rom->loaded)
        load(vfio);
    if (offset < rom->size)
        memcpy(&value, rom->bytes + offset, size < rom->size - offset ? size : rom->size - offset);
    pthread_mutex_unlock(&rom->lock);
    return value;
}

void vmm_vfio_rom_configured(struct vmm_vfio *vfio, unsigned int offset, unsigned int size)
{
    struct vmm_vfio_rom *rom = &vfio->rom;

    if (!vmm_pci_overlaps(offset, size, PCI_REG_ROM, 1))
        return;
    pthread_mutex_lock(&rom->lock);
    rom->loaded = false;
    pthread_mutex_unlock(&rom->lock);
}
