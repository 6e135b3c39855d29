/* SPDX-License-Identifier: MIT */
/*
 * What the files of the PCI framework share. "Locked" functions want pci->lock to be held.
 */
#ifndef VMM_PCI_INTERNAL_H
#define VMM_PCI_INTERNAL_H

#include "irq.h"
#include "pci.h"
#include "pci_host.h"
#include "vmm.h"

#define PCI_DEVFNS 256u

/* Configuration space header (PCI 3.0, 6.1 and 6.2). */
#define PCI_REG_VENDOR           0x00u
#define PCI_REG_DEVICE           0x02u
#define PCI_REG_COMMAND          0x04u
#define PCI_REG_STATUS           0x06u
#define PCI_REG_REVISION         0x08u
#define PCI_REG_CACHE_LINE       0x0cu
#define PCI_REG_HEADER_TYPE      0x0eu
#define PCI_REG_BAR0             0x10u
#define PCI_REG_SUBSYSTEM_VENDOR 0x2cu
#define PCI_REG_SUBSYSTEM        0x2eu
#define PCI_REG_ROM              0x30u
#define PCI_REG_CAPABILITIES     0x34u
#define PCI_REG_INTERRUPT_LINE   0x3cu
#define PCI_REG_INTERRUPT_PIN    0x3du
#define PCI_FIRST_CAPABILITY     0x40u

#define PCI_COMMAND_IO           0x001u
#define PCI_COMMAND_MEMORY       0x002u
#define PCI_COMMAND_MASTER       0x004u
#define PCI_COMMAND_INTX_DISABLE 0x400u
#define PCI_ROM_ENABLE           0x1u
#define PCI_STATUS_INTERRUPT     0x08u
#define PCI_STATUS_CAPABILITIES  0x10u
#define PCI_HEADER_MULTIFUNCTION 0x80u

#define PCI_CAPABILITY_MSI     0x05u
#define PCI_CAPABILITY_EXPRESS 0x10u
#define PCI_CAPABILITY_MSIX    0x11u

/* A segment with its root bus. */
struct vmm_pci_segment {
    struct vmm_pci_host *host;
    uint16_t number;
    struct vmm_pci_function *functions[PCI_DEVFNS];
    struct vmm_pci_window low;      /* of memory, below 4 GiB */
    struct vmm_pci_window high;     /* above 4 GiB, and above RAM */
    struct vmm_pci_function bridge; /* 00.0 */
};

struct vmm_pci_host {
    struct vmm *vm;
    pthread_mutex_t lock;
    uint32_t config_address;                                           /* port CF8 */
    struct vmm_pci_segment *segments[VMM_SEGMENTS_MAX];                /* NULL: without a device */
    struct vmm_pci_function *functions[VMM_SEGMENTS_MAX * PCI_DEVFNS]; /* as registered */
    size_t count;
    struct vmm_pci_window ports;
    unsigned int line_users[VMM_GSI_PCI_COUNT]; /* functions that assert this INTx line */
};

/* pci_host.c: the segment, made with its host bridge when it is not there. NULL: see `err`. */
struct vmm_pci_segment *vmm_pci_segment_get(struct vmm *vm, unsigned int number,
                                            struct viommu_error *err);

static inline bool vmm_pci_overlaps(unsigned int offset, unsigned int size, unsigned int start,
                                    unsigned int length)
{
    return offset < start + length && start < offset + size;
}

/* pci_config.c: the bytes of one function. Take the lock themselves. */
uint32_t vmm_pci_config_read(struct vmm_pci_function *fn, unsigned int offset, unsigned int size);
void vmm_pci_config_write(struct vmm_pci_function *fn, unsigned int offset, unsigned int size,
                          uint32_t value);
/* The machine is reset: configuration space as at power-on, and the device, whose DMA ends. */
void vmm_pci_power_on(struct vmm_pci_function *fn);

/* pci_function.c: what firmware does. Takes the lock itself. */
int vmm_pci_start(struct vmm_pci_function *fn, struct viommu_error *err);

/* pci_plug.c */
bool vmm_pci_is_unplugged(struct vmm_pci_function *fn);

/* pci_window.c: all of a segment's windows are free. */
void vmm_pci_windows_reset(struct vmm_pci_segment *segment);
/* `size` bytes, a power of two, aligned to it; 0: there is no room. */
uint64_t vmm_pci_window_take(struct vmm_pci_window *window, uint64_t size);

/* pci_bar.c */
int vmm_pci_bars_assign(struct vmm_pci_function *fn, struct viommu_error *err);
void vmm_pci_bars_update(struct vmm_pci_function *fn); /* locked */
/* No address is the function's any more. Locked, or at the end of the machine. */
void vmm_pci_bars_remove(struct vmm_pci_function *fn);

/* pci_intx.c; locked. */
unsigned int vmm_pci_intx_gsi(const struct vmm_pci_function *fn);
void vmm_pci_intx_update(struct vmm_pci_function *fn);

/* pci_msi.c; locked. */
void vmm_pci_msi_config_written(struct vmm_pci_function *fn);
bool vmm_pci_msi_config_overlaps(const struct vmm_pci_function *fn, unsigned int offset,
                                 unsigned int size);
bool vmm_pci_msix_decodes(const struct vmm_pci_function *fn, unsigned int bar, uint64_t offset);
uint64_t vmm_pci_msix_read(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                           unsigned int size);
/* True when an entry of the table was written: that of `vector`. */
bool vmm_pci_msix_write(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                        unsigned int size, uint64_t value, unsigned int *vector);
/* Of MSI or MSI-X, whichever has more. */
unsigned int vmm_pci_message_count(const struct vmm_pci_function *fn);
void vmm_pci_msi_reset(struct vmm_pci_function *fn);
bool vmm_pci_message_enabled(const struct vmm_pci_function *fn);

#endif
