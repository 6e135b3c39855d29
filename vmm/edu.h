/* SPDX-License-Identifier: MIT */
/*
 * The educational device 1234:11e8: its registers, its buffer and its DMA engine, as QEMU
 * documents them (docs/specs/edu). Neither PCI nor a place for the DMA is known here: edu_pci.c
 * makes an emulated function of it, assigned_edu.c a device of the simulated host.
 */
#ifndef VMM_EDU_H
#define VMM_EDU_H

#include <pthread.h>
#include <stdint.h>

struct vmm_dma;
struct vmm_edu;

#define VMM_EDU_BAR_SIZE         0x100000u
#define VMM_EDU_BUFFER_ADDRESS   0x40000u
#define VMM_EDU_BUFFER_SIZE      4096u
#define VMM_EDU_DMA_MASK_DEFAULT 0xfffffffull /* 28 bits */

/* Where interrupts go. Called with the device's lock held. */
struct vmm_edu_ops {
    void (*interrupt_raise)(struct vmm_edu *edu);
    void (*interrupt_lower)(struct vmm_edu *edu);
};

struct vmm_edu {
    const struct vmm_edu_ops *ops;
    const struct vmm_dma *dma; /* borrowed */
    uint64_t dma_mask;         /* address lines that the DMA engine drives */
    pthread_mutex_t lock;      /* all below */
    uint32_t liveness;
    uint32_t factorial;
    uint32_t status;
    uint32_t interrupts;
    uint64_t dma_source;
    uint64_t dma_destination;
    uint64_t dma_count;
    uint64_t dma_command;
    uint8_t buffer[VMM_EDU_BUFFER_SIZE];
};

void vmm_edu_init(struct vmm_edu *edu, const struct vmm_edu_ops *ops, const struct vmm_dma *dma,
                  uint64_t dma_mask);
void vmm_edu_fini(struct vmm_edu *edu);

/* As at power-on, interrupt lowered. */
void vmm_edu_reset(struct vmm_edu *edu);

/*
 * The guest accesses BAR 0. What the device does not decode reads as all ones and is ignored when
 * written. A command is done when the write that starts it returns. Any thread.
 */
uint64_t vmm_edu_read(struct vmm_edu *edu, uint64_t offset, unsigned int size);
void vmm_edu_write(struct vmm_edu *edu, uint64_t offset, unsigned int size, uint64_t value);

#endif
