/* SPDX-License-Identifier: MIT */
/*
 * What the machine needs of the PCI host bridge; devices use pci.h.
 */
#ifndef VMM_PCI_HOST_H
#define VMM_PCI_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <viommu/error.h>

struct vmm;
struct vmm_pci_function;

/* Create the host bridge and function 0000:00:00.0, with ECAM and ports CF8/CFC; sets vm->pci. */
int vmm_pci_host_create(struct vmm *vm, struct viommu_error *err);

/*
 * Reset every function: its configuration space goes back to what it was at power-on, its DMA has
 * ended. No function decodes an address until vmm_pci_host_start().
 */
void vmm_pci_host_reset(struct vmm *vm);

/* All devices are there: whether a guest finds each of them. -EINVAL. */
int vmm_pci_host_check(const struct vmm *vm, struct viommu_error *err);

/* Give all BARs addresses and enable decoding and bus mastering, as firmware does and we at first.
 */
int vmm_pci_host_start(struct vmm *vm, struct viommu_error *err);

/* Addresses for BARs: what is left of them. */
struct vmm_pci_window {
    uint64_t next;
    uint64_t end; /* exclusive */
};

/* Of a segment, above 4 GiB; next == end: the processor addresses nothing behind the RAM. */
struct vmm_pci_window vmm_pci_high_window(const struct vmm *vm, unsigned int segment);

/* Whether there are functions on this segment. Segment 0 always has the host bridge. */
bool vmm_pci_has_segment(const struct vmm *vm, unsigned int number);

/* The next function behind `fn` in the order of creation, NULL at the end; NULL begins. */
struct vmm_pci_function *vmm_pci_next(const struct vmm *vm, const struct vmm_pci_function *fn);

/*
 * The guest has served what the input lines of the IOAPIC in `lines` asked for, a bit for each GSI.
 * Not with the IOAPIC's lock.
 */
void vmm_pci_lines_served(struct vmm *vm, uint32_t lines);

/* Destroy all functions, the last one first, and the host bridge. All vCPU threads are gone. */
void vmm_pci_host_destroy(struct vmm *vm);

/*
 * Take a function out of the machine by surprise, while the guest may be using it: configuration
 * space and BARs read as all ones from now on, also after a reset, DMA and interrupts have ended
 * when this returns, and an assigned device is the host's again. Errors, after which nothing has
 * changed: -ENOENT there is no such function, -EBUSY it is none that can be unplugged. Any thread,
 * without locks.
 */
int vmm_pci_unplug(struct vmm *vm, unsigned int segment, unsigned int devfn,
                   struct viommu_error *err);

/*
 * The same for one that can be unplugged, with a warning: it cannot be used any more, for the
 * reason that follows its name in a sentence, a string that outlives it. One that is not registered
 * yet is unplugged as soon as it is.
 */
void vmm_pci_lose(struct vmm_pci_function *fn, const char *why);

#endif
