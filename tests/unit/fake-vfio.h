/* SPDX-License-Identifier: MIT */
/*
 * A VFIO device that a test makes up: its configuration space and regions are here, and what the
 * VMM asks of the kernel, VFIO and KVM, is written down.
 */
#ifndef TEST_FAKE_VFIO_H
#define TEST_FAKE_VFIO_H

#include "vfio.h"

#define FAKE_FD       77
#define FAKE_BAR_SIZE 0x8000u
#define FAKE_VECTORS  40u
#define FAKE_ROM_SIZE 0x3000u /* at most; without a region unless a test gives it a size */

/* Where the capabilities of its configuration space lie. */
#define FAKE_POWER    0x40u
#define FAKE_MSI      0x50u
#define FAKE_ADVANCED 0x6cu /* is not shown */
#define FAKE_VENDOR   0x74u
#define FAKE_EXPRESS  0x80u
#define FAKE_MSIX     0xc0u
#define FAKE_ERRORS   0x100u /* is not shown */
#define FAKE_SERIAL   0x148u
#define FAKE_SPECIFIC 0x160u

#define FAKE_TABLE 0x2000u /* MSI-X, in BAR 0 */
#define FAKE_PBA   0x4000u

struct fake_trigger {
    int events[FAKE_VECTORS];
    unsigned int count; /* enabled; 0: disabled */
};

#define FAKE_AFFECTED 12u
#define FAKE_GROUP    200 /* descriptor of IOMMU group 0; then the next one's */

/* What a reset of its bus resets, as VFIO tells it, and the last one that was asked for. */
struct fake_bus {
    struct vfio_pci_dependent_device devices[FAKE_AFFECTED];
    uint32_t count;
    uint32_t flags;
    uint32_t our_groups; /* bits: bound to the machine's host */
    bool grows;          /* each time that it is asked */
    bool overflows;      /* tells more than there was room for */
    uint32_t asked;
    int groups[FAKE_AFFECTED];
    uint32_t group_count;
};

struct fake_vfio {
    uint8_t config[VMM_PCI_CONFIG_SIZE];
    uint8_t bar[FAKE_BAR_SIZE];
    uint8_t rom[FAKE_ROM_SIZE];
    size_t rom_readable;    /* bytes; then there is an error */
    unsigned int rom_reads; /* that began at its start */
    uint64_t sizes[VFIO_PCI_NUM_REGIONS];
    uint32_t device_flags;
    uint32_t msix_flags;
    bool sparse; /* BAR 0 may be mapped from FAKE_BAR_SIZE / 2 on */
    struct fake_trigger triggers[VFIO_PCI_NUM_IRQS];
    int unmask;           /* eventfd of INTx */
    unsigned int vectors; /* of MSI and MSI-X that the host has; 0: enough */
    bool no_number; /* where there are not enough, the kernel does not say how many there are */
    unsigned int enables; /* of MSI-X from nothing */
    unsigned int disables;
    unsigned int resets;
    unsigned int hot_resets;
    void (*in_hot_reset)(void); /* unless NULL */
    struct fake_bus bus;
    unsigned int open;          /* descriptors, now */
    unsigned int mapped;        /* areas, now */
    unsigned int calls;         /* of ioctl */
    unsigned int fail_at;       /* that one fails; 0: none */
    unsigned long fail_request; /* all of these fail */
    unsigned int irqfds;        /* assigned, now */
    bool no_irqfd;
};

extern struct fake_vfio fake;
extern const struct vmm_vfio_kernel fake_kernel;

/* A network card of sorts: BAR 0 with everything, BAR 2 with I/O ports, BAR 4 that nobody may map.
 */
void fake_vfio_reset(void);

/* The device signals what the VMM gave it for this interrupt. */
void fake_vfio_signal(unsigned int index, unsigned int vector);

#endif
