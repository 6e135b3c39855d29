/* SPDX-License-Identifier: MIT */
#include "bare.h"

#define COM1 0x3f8

void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

void outl(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

uint8_t inb(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

uint32_t inl(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* Each is one instruction: the compiler might otherwise merge or widen accesses. */
uint8_t read8(uint32_t address)
{
    uint8_t value;

    __asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
    return value;
}

uint16_t read16(uint32_t address)
{
    uint16_t value;

    __asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

uint32_t read32(uint32_t address)
{
    uint32_t value;

    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

void write8(uint32_t address, uint8_t value)
{
    __asm__ volatile("movb %0, (%1)" : : "q"(value), "r"(address) : "memory");
}

void write16(uint32_t address, uint16_t value)
{
    __asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

void write32(uint32_t address, uint32_t value)
{
    __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

uint64_t read64(uint32_t address)
{
    uint64_t value;

    __asm__ volatile("movq (%1), %%mm0; movq %%mm0, %0" : "=m"(value) : "r"(address) : "memory");
    return value;
}

void write64(uint32_t address, uint64_t value)
{
    __asm__ volatile("movq %0, %%mm0; movq %%mm0, (%1)" : : "m"(value), "r"(address) : "memory");
}

void print(const char *text)
{
    while (*text)
        outb(COM1, (uint8_t)*text++);
}

void print_hex(uint64_t value)
{
    int shift = 60;

    print("0x");
    while (shift && !(value >> shift))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        outb(COM1, (uint8_t) "0123456789abcdef"[(value >> shift) & 15]);
}

void print_number(uint32_t value)
{
    if (value >= 10)
        print_number(value / 10);
    outb(COM1, (uint8_t)('0' + value % 10));
}

bool equal(const char *a, const char *b, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (a[i] != b[i])
            return false;
    }
    return true;
}

size_t length_of(const char *text)
{
    size_t length = 0;

    while (text[length])
        length++;
    return length;
}

/* A compiler may call these, also without a library. */
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

void *memcpy(void *to, const void *from, size_t size)
{
    void *end = to;

    __asm__ volatile("rep movsb" : "+D"(end), "+S"(from), "+c"(size) : : "memory");
    return to;
}

void *memset(void *to, int value, size_t size)
{
    void *end = to;

    __asm__ volatile("rep stosb" : "+D"(end), "+c"(size) : "a"(value) : "memory");
    return to;
}
