/* SPDX-License-Identifier: MIT */
#include "edu.h"
#include "dma.h"
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define EDU_IDENTIFICATION 0x010000edu
#define EDU_WIDE_REGISTERS 0x80u /* from here on 8-byte accesses are allowed too */

#define EDU_STATUS_FACTORIAL_INTERRUPT 0x80u

#define EDU_INTERRUPT_FACTORIAL 0x001u
#define EDU_INTERRUPT_DMA       0x100u

#define EDU_DMA_START     1ull
#define EDU_DMA_TO_RAM    2ull
#define EDU_DMA_INTERRUPT 4ull
#define EDU_DMA_COMMANDS  (EDU_DMA_START | EDU_DMA_TO_RAM | EDU_DMA_INTERRUPT)

/* A register; without `get` it is write-only, without `set` read-only. */
struct edu_register {
    uint16_t offset;
    uint64_t (*get)(struct vmm_edu *edu);
    void (*set)(struct vmm_edu *edu, uint64_t value);
};

static void raise_interrupt(struct vmm_edu *edu, uint32_t causes)
{
    edu->interrupts |= causes;
    if (edu->interrupts)
        edu->ops->interrupt_raise(edu);
}

static uint64_t get_identification(struct vmm_edu *edu)
{
    (void)edu;
    return EDU_IDENTIFICATION;
}

static uint64_t get_liveness(struct vmm_edu *edu)
{
    return edu->liveness;
}

static void set_liveness(struct vmm_edu *edu, uint64_t value)
{
    edu->liveness = ~(uint32_t)value;
}

static uint64_t get_factorial(struct vmm_edu *edu)
{
    return edu->factorial;
}

/* 34! is the first to be a multiple of 2^32: the loop ends there, whatever the guest wrote. */
static void set_factorial(struct vmm_edu *edu, uint64_t value)
{
    uint32_t product = 1;

    for (uint32_t factor = 2; factor <= (uint32_t)value && product; factor++)
        product *= factor;
    edu->factorial = product;
    if (edu->status & EDU_STATUS_FACTORIAL_INTERRUPT)
        raise_interrupt(edu, EDU_INTERRUPT_FACTORIAL);
}

static uint64_t get_status(struct vmm_edu *edu)
{
    return edu->status;
}

static void set_status(struct vmm_edu *edu, uint64_t value)
{
    edu->status = value & EDU_STATUS_FACTORIAL_INTERRUPT;
}

static uint64_t get_interrupts(struct vmm_edu *edu)
{
    return edu->interrupts;
}

static void set_interrupt_raise(struct vmm_edu *edu, uint64_t value)
{
    raise_interrupt(edu, (uint32_t)value);
}

static void set_interrupt_acknowledge(struct vmm_edu *edu, uint64_t value)
{
    edu->interrupts &= ~(uint32_t)value;
    if (!edu->interrupts)
        edu->ops->interrupt_lower(edu);
}

static uint64_t get_dma_source(struct vmm_edu *edu)
{
    return edu->dma_source;
}

static void set_dma_source(struct vmm_edu *edu, uint64_t value)
{
    edu->dma_source = value;
}

static uint64_t get_dma_destination(struct vmm_edu *edu)
{
    return edu->dma_destination;
}

static void set_dma_destination(struct vmm_edu *edu, uint64_t value)
{
    edu->dma_destination = value;
}

static uint64_t get_dma_count(struct vmm_edu *edu)
{
    return edu->dma_count;
}

static void set_dma_count(struct vmm_edu *edu, uint64_t value)
{
    edu->dma_count = value;
}

/* Where `count` bytes at device address `address` lie in the buffer; NULL: not all of them do. */
static uint8_t *buffer_at(struct vmm_edu *edu, uint64_t address, uint64_t count)
{
    uint64_t offset = address - VMM_EDU_BUFFER_ADDRESS;

    if (offset > VMM_EDU_BUFFER_SIZE || count > VMM_EDU_BUFFER_SIZE - offset)
        return NULL;
    return edu->buffer + offset;
}

static void dma_to_ram(struct vmm_edu *edu)
{
    const uint8_t *from = buffer_at(edu, edu->dma_source, edu->dma_count);

    if (from && edu->dma_count)
        edu->dma->write(edu->dma, edu->dma_destination & edu->dma_mask, from, edu->dma_count);
}

/* A read that is refused half way must not show in the buffer, hence the copy. */
static void dma_from_ram(struct vmm_edu *edu)
{
    uint8_t data[VMM_EDU_BUFFER_SIZE];
    uint8_t *to = buffer_at(edu, edu->dma_destination, edu->dma_count);

    if (!to || !edu->dma_count)
        return;
    if (!edu->dma->read(edu->dma, edu->dma_source & edu->dma_mask, data, edu->dma_count))
        memcpy(to, data, edu->dma_count);
}

static uint64_t get_dma_command(struct vmm_edu *edu)
{
    return edu->dma_command;
}

static void set_dma_command(struct vmm_edu *edu, uint64_t value)
{
    if (!(value & EDU_DMA_START))
        return;
    if (value & EDU_DMA_TO_RAM)
        dma_to_ram(edu);
    else
        dma_from_ram(edu);
    edu->dma_command = value & EDU_DMA_COMMANDS & ~EDU_DMA_START;
    if (value & EDU_DMA_INTERRUPT)
        raise_interrupt(edu, EDU_INTERRUPT_DMA);
}

/* docs/specs/edu, "MMIO area spec" */
static const struct edu_register edu_registers[] = {
    {0x00, get_identification, NULL},
    {0x04, get_liveness, set_liveness},
    {0x08, get_factorial, set_factorial},
    {0x20, get_status, set_status},
    {0x24, get_interrupts, NULL},
    {0x60, NULL, set_interrupt_raise},
    {0x64, NULL, set_interrupt_acknowledge},
    {0x80, get_dma_source, set_dma_source},
    {0x88, get_dma_destination, set_dma_destination},
    {0x90, get_dma_count, set_dma_count},
    {0x98, get_dma_command, set_dma_command},
};

/* 4-byte accesses everywhere, 8-byte ones for the DMA registers; both at the register's start. */
static const struct edu_register *find_register(uint64_t offset, unsigned int size)
{
    if (size != 4 && (size != 8 || offset < EDU_WIDE_REGISTERS))
        return NULL;
    for (size_t i = 0; i < sizeof(edu_registers) / sizeof(edu_registers[0]); i++) {
        if (edu_registers[i].offset == offset)
            return &edu_registers[i];
    }
    return NULL;
}

uint64_t vmm_edu_read(struct vmm_edu *edu, uint64_t offset, unsigned int size)
{
    const struct edu_register *reg = find_register(offset, size);
    uint64_t value;

    if (!reg || !reg->get)
        return UINT64_MAX;
    pthread_mutex_lock(&edu->lock);
    value = reg->get(edu);
    pthread_mutex_unlock(&edu->lock);
    return value;
}

/* A 4-byte write to an 8-byte register clears its upper half, as with the device we are like. */
void vmm_edu_write(struct vmm_edu *edu, uint64_t offset, unsigned int size, uint64_t value)
{
    const struct edu_register *reg = find_register(offset, size);

    if (!reg || !reg->set)
        return;
    pthread_mutex_lock(&edu->lock);
    reg->set(edu, size == 4 ? (uint32_t)value : value);
    pthread_mutex_unlock(&edu->lock);
}

void vmm_edu_reset(struct vmm_edu *edu)
{
    pthread_mutex_lock(&edu->lock);
    edu->liveness = 0;
    edu->factorial = 0;
    edu->status = 0;
    edu->interrupts = 0;
    edu->dma_source = 0;
    edu->dma_destination = 0;
    edu->dma_count = 0;
    edu->dma_command = 0;
    memset(edu->buffer, 0, sizeof(edu->buffer));
    edu->ops->interrupt_lower(edu);
    pthread_mutex_unlock(&edu->lock);
}

void vmm_edu_init(struct vmm_edu *edu, const struct vmm_edu_ops *ops, const struct vmm_dma *dma,
                  uint64_t dma_mask)
{
    memset(edu, 0, sizeof(*edu));
    pthread_mutex_init(&edu->lock, NULL);
    edu->ops = ops;
    edu->dma = dma;
    edu->dma_mask = dma_mask;
}

void vmm_edu_fini(struct vmm_edu *edu)
{
    pthread_mutex_destroy(&edu->lock);
}
