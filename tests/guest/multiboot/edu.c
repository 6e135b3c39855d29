/* SPDX-License-Identifier: MIT */
/* The educational device without translation. Source: QEMU, docs/specs/edu. */
#include "bare.h"

#define EDU_IDENTITY    0x00u
#define EDU_LIVENESS    0x04u
#define EDU_FACTORIAL   0x08u
#define EDU_STATUS      0x20u
#define EDU_IRQ_RAISE   0x60u
#define EDU_IRQ_ACK     0x64u
#define EDU_SOURCE      0x80u
#define EDU_DESTINATION 0x88u
#define EDU_COUNT       0x90u
#define EDU_COMMAND     0x98u

#define EDU_START     1u
#define EDU_TO_MEMORY 2u

#define BUFFER      0x40000u
#define BUFFER_SIZE 4096u

static uint8_t page_from[PAGE] __attribute__((aligned(4096)));
static uint8_t page_to[PAGE] __attribute__((aligned(4096)));

static uint32_t edu_read(uint32_t offset)
{
    return read32(edu_bar + offset);
}

static void edu_write(uint32_t offset, uint32_t value)
{
    write32(edu_bar + offset, value);
}

static void transfer(uint64_t source, uint64_t destination, uint32_t count, uint32_t command)
{
    write64(edu_bar + EDU_SOURCE, source);
    write64(edu_bar + EDU_DESTINATION, destination);
    edu_write(EDU_COUNT, count);
    edu_write(EDU_COMMAND, command);
    while (edu_read(EDU_COMMAND) & EDU_START)
        continue;
}

void edu_to_memory(uint64_t address, uint32_t offset, uint32_t count)
{
    transfer(BUFFER + offset, address, count, EDU_START | EDU_TO_MEMORY);
}

void edu_from_memory(uint64_t address, uint32_t offset, uint32_t count)
{
    transfer(address, BUFFER + offset, count, EDU_START);
}

void edu_interrupt(void)
{
    edu_write(EDU_IRQ_RAISE, 1);
    edu_write(EDU_IRQ_ACK, 1);
}

static bool identity(void)
{
    return same("the identification", edu_read(EDU_IDENTITY), 0x010000edu);
}

static bool liveness(void)
{
    static const uint32_t values[] = {0, 1, 0x12345678, 0xffffffff};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        edu_write(EDU_LIVENESS, values[i]);
        if (!same("the answer", edu_read(EDU_LIVENESS), (uint32_t)~values[i]))
            return false;
    }
    return true;
}

/* The product is kept modulo 2^32. */
static bool factorial(void)
{
    static const uint32_t values[][2] = {
        {0, 1}, {1, 1}, {5, 120}, {12, 479001600}, {13, 1932053504}, {34, 0}, {0xffffffff, 0},
    };

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        edu_write(EDU_FACTORIAL, values[i][0]);
        while (edu_read(EDU_STATUS) & 1)
            continue;
        if (!same("a factorial", edu_read(EDU_FACTORIAL), values[i][1]))
            return false;
    }
    return true;
}

static bool width(void)
{
    edu_write(EDU_LIVENESS, 0);
    write8(edu_bar + EDU_LIVENESS, 1);
    write16(edu_bar + EDU_LIVENESS, 1);
    return same("the register", edu_read(EDU_LIVENESS), ~0u) &&
           same("a byte of it", read8(edu_bar + EDU_IDENTITY), 0xff);
}

static void fill(uint32_t seed)
{
    for (uint32_t i = 0; i < PAGE; i++) {
        page_from[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
        page_to[i] = 0xee;
    }
}

/* The first count bytes came over, and no more. */
static bool arrived(uint32_t count)
{
    for (uint32_t i = 0; i < PAGE; i++) {
        if (!same("a byte", page_to[i], i < count ? page_from[i] : 0xee))
            return false;
    }
    return true;
}

static bool dma_goes_round(void)
{
    static const uint32_t counts[] = {1, 3, 8, 511, 4095, 4096};

    for (uint32_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        fill(i);
        edu_from_memory((uint32_t)page_from, 0, counts[i]);
        edu_to_memory((uint32_t)page_to, 0, counts[i]);
        if (!arrived(counts[i]))
            return false;
    }
    return true;
}

/* What does not lie in the buffer altogether is not moved at all. */
static bool dma_stays_in_the_buffer(void)
{
    static const uint32_t wrong[][2] = {{0, 4097}, {4095, 2}, {0xfffc0000, 16}, {0, 0xffffffff}};

    fill(9);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        edu_from_memory((uint32_t)page_from, wrong[i][0], wrong[i][1]);
        edu_to_memory((uint32_t)page_to, wrong[i][0], wrong[i][1]);
    }
    return arrived(0);
}

static bool dma_needs_a_bus_master(void)
{
    uint32_t was = config_read(edu_devfn, PCI_COMMAND) & 0xffff;

    fill(3);
    config_write(edu_devfn, PCI_COMMAND, was & ~PCI_COMMAND_MASTER);
    edu_to_memory((uint32_t)page_to, 0, 64);
    config_write(edu_devfn, PCI_COMMAND, was | PCI_COMMAND_MASTER);
    if (!arrived(0))
        return false;
    edu_from_memory((uint32_t)page_from, 0, 64);
    edu_to_memory((uint32_t)page_to, 0, 64);
    return arrived(64);
}

/* To registers, and behind the end of memory. The machine goes on. */
static bool dma_to_no_memory(void)
{
    uint32_t end = option_number("memory") << 20;

    fill(4);
    edu_from_memory((uint32_t)page_from, 0, PAGE);
    edu_to_memory(end, 0, PAGE);
    edu_to_memory(end - 8, 0, PAGE);
    if (option("wide")) /* else its address lines do not reach there */
        edu_to_memory(edu_bar, 0, PAGE);
    edu_from_memory(end, 0, PAGE);
    edu_to_memory((uint32_t)page_to, 0, PAGE);
    return arrived(PAGE);
}

static const struct check checks[] = {
    {"edu: identification", identity, NULL},
    {"edu: liveness", liveness, NULL},
    {"edu: factorial", factorial, NULL},
    {"edu: accesses of a byte and a word are ignored", width, NULL},
    {"edu: DMA there and back, translation off", dma_goes_round, NULL},
    {"edu: DMA does not leave the buffer", dma_stays_in_the_buffer, NULL},
    {"edu: DMA needs a bus master", dma_needs_a_bus_master, NULL},
    {"edu: DMA to where no memory is", dma_to_no_memory, NULL},
};

void edu_checks(void)
{
    config_write(edu_devfn, PCI_COMMAND,
                 (config_read(edu_devfn, PCI_COMMAND) & 0xffff) | PCI_COMMAND_MEMORY |
                     PCI_COMMAND_MASTER);
    RUN(checks);
}
