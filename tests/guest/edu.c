/* SPDX-License-Identifier: MIT */
#include "edu.h"

#include "guest.h"

#define DMA_SOURCE      0x80
#define DMA_DESTINATION 0x88
#define DMA_COUNT       0x90
#define DMA_COMMAND     0x98
#define DMA_START       0x01
#define DMA_TO_MEMORY   0x02
#define DMA_IRQ         0x04
#define DMA_BUFFER      0x40000

uint32_t edu_read(const struct vfio_function *fn, unsigned reg)
{
    return *(volatile uint32_t *)(fn->bar + reg);
}

void edu_write(const struct vfio_function *fn, unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(fn->bar + reg) = value;
}

static void write64(const struct vfio_function *fn, unsigned reg, uint64_t value)
{
    *(volatile uint64_t *)(fn->bar + reg) = value;
}

/* Waits until the bits of mask are clear; each look is an exit to the VMM, so it looks seldom. */
bool edu_wait(const struct vfio_function *fn, unsigned reg, uint32_t mask)
{
    for (int waited = 0; waited <= 5000; waited += 2) {
        if (!(edu_read(fn, reg) & mask))
            return true;
        sleep_ms(2);
    }
    return false;
}

static void start(const struct vfio_function *fn, uint64_t from, uint64_t to, unsigned size,
                  uint32_t command)
{
    write64(fn, DMA_SOURCE, from);
    write64(fn, DMA_DESTINATION, to);
    write64(fn, DMA_COUNT, size);
    write64(fn, DMA_COMMAND, command | DMA_START);
}

bool edu_from_memory(const struct vfio_function *fn, uint64_t iova, unsigned at, unsigned size)
{
    start(fn, iova, DMA_BUFFER + at, size, 0);
    return edu_wait(fn, DMA_COMMAND, DMA_START);
}

bool edu_to_memory(const struct vfio_function *fn, uint64_t iova, unsigned at, unsigned size)
{
    start(fn, DMA_BUFFER + at, iova, size, DMA_TO_MEMORY);
    return edu_wait(fn, DMA_COMMAND, DMA_START);
}

void edu_to_memory_irq(const struct vfio_function *fn, uint64_t iova, unsigned at, unsigned size)
{
    start(fn, DMA_BUFFER + at, iova, size, DMA_TO_MEMORY | DMA_IRQ);
}
