/* SPDX-License-Identifier: MIT */
/* Sources: PCI 3.0, 3.2.2.3.2 (CF8/CFC), 6.2.5.1 (BARs); PCI Express 6.0, 7.2.2 (ECAM). */
#include "bare.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  (1u << 31)

#define PCI_CAPABILITIES 0x34
#define CAPABILITY_MSI   0x05
#define MSI_ENABLE       (1u << 16) /* in the dword of the capability's ID */

#define ECAM     0xb0000000u
#define EDU_ID   0x11e81234u
#define EDU_SIZE 0x100000u

#define WINDOW_BASE 0xc0000000u
#define WINDOW_END  0xfec00000u

uint32_t edu_devfn;
uint32_t edu_bar;

static void select(uint32_t bus, uint32_t devfn, uint32_t offset)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | bus << 16 | devfn << 8 | (offset & 0xfc));
}

uint32_t config_read(uint32_t devfn, uint32_t offset)
{
    select(0, devfn, offset);
    return inl(CONFIG_DATA);
}

void config_write(uint32_t devfn, uint32_t offset, uint32_t value)
{
    select(0, devfn, offset);
    outl(CONFIG_DATA, value);
}

static uint32_t ecam(uint32_t devfn, uint32_t offset)
{
    return ECAM + (devfn << 12) + offset;
}

void edu_msi(uint32_t address, uint32_t data)
{
    uint32_t at = config_read(edu_devfn, PCI_CAPABILITIES) & 0xfc;

    while (at && (config_read(edu_devfn, at) & 0xff) != CAPABILITY_MSI)
        at = config_read(edu_devfn, at) >> 8 & 0xfc;
    if (!at)
        return;
    config_write(edu_devfn, at, config_read(edu_devfn, at) & ~MSI_ENABLE);
    config_write(edu_devfn, at + 4, address);
    config_write(edu_devfn, at + 8, 0);
    config_write(edu_devfn, at + 12, data);
    config_write(edu_devfn, at, config_read(edu_devfn, at) | MSI_ENABLE);
}

static bool address_reads_back(void)
{
    select(0, 0x18, 0x44);
    return same("port CF8", inl(CONFIG_ADDRESS), 0x80001844u);
}

static bool disabled_reads_as_ones(void)
{
    outl(CONFIG_ADDRESS, 0);
    return same("port CFC", inl(CONFIG_DATA), ~0u);
}

static bool bridge_is_first(void)
{
    return same("class of 00:00.0", config_read(0, 8) >> 16, 0x0600);
}

static bool others_are_absent(void)
{
    select(1, 0, 0);
    return same("01:00.0", inl(CONFIG_DATA), ~0u) && same("00:1f.7", config_read(0xff, 0), ~0u) &&
           same("00:1f.7 by ECAM", read32(ecam(0xff, 0)), ~0u);
}

static bool edu_is_found(void)
{
    for (uint32_t devfn = 0; devfn < 256; devfn++) {
        if (config_read(devfn, 0) == EDU_ID)
            edu_devfn = devfn;
    }
    edu_bar = edu_devfn ? config_read(edu_devfn, PCI_BAR0) & ~0xfu : 0;
    return holds("there is 1234:11e8", edu_devfn != 0);
}

static bool wants_edu(void)
{
    return option("edu");
}

static bool bar_is_assigned(void)
{
    return same("its alignment", edu_bar % EDU_SIZE, 0) &&
           holds("it is in the window", edu_bar >= WINDOW_BASE && edu_bar <= WINDOW_END - EDU_SIZE);
}

static bool ports_equal_ecam(void)
{
    for (uint32_t devfn = 0; devfn < 256; devfn++) {
        for (uint32_t offset = 0; offset < 256; offset += 4) {
            if (!same("a word by ECAM", read32(ecam(devfn, offset)), config_read(devfn, offset)))
                return false;
            if (!offset && config_read(devfn, 0) == ~0u)
                break;
        }
    }
    return true;
}

static bool parts_of_words(void)
{
    select(0, edu_devfn, 0);
    return same("byte 1 by port", inb(CONFIG_DATA + 1), 0x12) &&
           same("byte 2 by port", inb(CONFIG_DATA + 2), 0xe8) &&
           same("byte 3 by ECAM", read8(ecam(edu_devfn, 3)), 0x11) &&
           same("word 2 by ECAM", read16(ecam(edu_devfn, 2)), 0x11e8);
}

static bool identity_is_read_only(void)
{
    config_write(edu_devfn, 0, 0);
    write32(ecam(edu_devfn, 0), 0);
    return same("the identity", config_read(edu_devfn, 0), EDU_ID);
}

static uint32_t command(void)
{
    return config_read(edu_devfn, PCI_COMMAND) & 0xffff;
}

static bool bar_tells_its_size(void)
{
    uint32_t was = command();
    uint32_t answer;

    config_write(edu_devfn, PCI_COMMAND, was & ~PCI_COMMAND_MEMORY);
    config_write(edu_devfn, PCI_BAR0, ~0u);
    answer = config_read(edu_devfn, PCI_BAR0);
    config_write(edu_devfn, PCI_BAR0, edu_bar);
    config_write(edu_devfn, PCI_COMMAND, was | PCI_COMMAND_MEMORY);
    return same("the mask", answer, ~(EDU_SIZE - 1));
}

static bool bar_moves(void)
{
    uint32_t other = edu_bar == 0xd0000000u ? 0xe0000000u : 0xd0000000u;
    uint32_t here = read32(edu_bar);
    uint32_t there, behind;

    write32(ecam(edu_devfn, PCI_BAR0), other);
    there = read32(other);
    behind = read32(edu_bar);
    config_write(edu_devfn, PCI_BAR0, edu_bar);
    return same("the register at the new place", there, here) &&
           same("what is left behind", behind, ~0u) &&
           same("the register when moved back", read32(edu_bar), here);
}

static bool decoding_switches(void)
{
    uint32_t was = command() | PCI_COMMAND_MEMORY;
    uint32_t off;

    config_write(edu_devfn, PCI_COMMAND, was & ~PCI_COMMAND_MEMORY);
    off = read32(edu_bar);
    config_write(edu_devfn, PCI_COMMAND, was);
    return same("a register while off", off, ~0u) &&
           holds("it is there again", read32(edu_bar) != ~0u);
}

static const struct check checks[] = {
    {"pci: the address port reads back", address_reads_back, NULL},
    {"pci: without the enable bit nothing answers", disabled_reads_as_ones, NULL},
    {"pci: 00:00.0 is the host bridge", bridge_is_first, NULL},
    {"pci: absent functions read as ones", others_are_absent, NULL},
    {"pci: every function's header is the same by ports and ECAM", ports_equal_ecam, NULL},
    {"pci: edu is found", edu_is_found, wants_edu},
    {"pci: edu's BAR has an address", bar_is_assigned, wants_edu},
    {"pci: bytes and words of the header", parts_of_words, wants_edu},
    {"pci: the identity is read-only", identity_is_read_only, wants_edu},
    {"pci: the BAR tells its size", bar_tells_its_size, wants_edu},
    {"pci: the BAR moves", bar_moves, wants_edu},
    {"pci: memory decoding goes off and on", decoding_switches, wants_edu},
};

void pci_checks(void)
{
    RUN(checks);
}
