/* SPDX-License-Identifier: MIT */
/*
 * Warm resets: "resets=N" on the command line makes this kernel reset the machine N times, by
 * another way each time, in the middle of what Linux would have shut down first. RAM keeps a note
 * of how often; everything else must be as at power-on.
 */
#include "bare.h"

/* Where neither kernel nor loader nor the other checks write. */
#define NOTE       0x3000000u
#define NOTE_MAGIC 0x7e5e77edu

#define PORT_ACPI     0x602
#define PORT_KEYBOARD 0x64
#define PORT_CONTROL  0xcf9

#define IOAPIC          0xfec00000u
#define IOAPIC_WINDOW   0x10u
#define IOAPIC_PIN(n)   (0x10u + 2 * (n))
#define IOAPIC_MASKED   (1u << 16)
#define IOAPIC_LEVEL    (1u << 15)
#define IOAPIC_VECTOR_9 0x39u

#define APIC_ICR_LOW  0xfee00300u
#define APIC_ICR_HIGH 0xfee00310u
#define APIC_INIT     0x4500u

#define EDU_LIVENESS 0x04u
#define EDU_SOURCE   0x80u

#define ELSEWHERE 0xd0000000u /* in the PCI window; no BAR is put there at power-on */

struct note {
    uint32_t magic;
    uint32_t resets;
    uint32_t edu_bar; /* at the first boot */
};

static struct note *note(void)
{
    return (struct note *)NOTE;
}

static uint32_t ioapic_pin(uint32_t pin)
{
    write32(IOAPIC, IOAPIC_PIN(pin));
    return read32(IOAPIC + IOAPIC_WINDOW);
}

/* ---- What must be so after a reset */

static bool ram_is_kept(void)
{
    return same("the note's magic", note()->magic, NOTE_MAGIC) &&
           holds("no more resets than asked for", note()->resets <= option_number("resets"));
}

static bool bars_are_back(void)
{
    return same("BAR 0", config_read(edu_devfn, PCI_BAR0) & ~0xfu, note()->edu_bar) &&
           same("decoding and bus mastering", config_read(edu_devfn, PCI_COMMAND) & 0x407,
                0x1 | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER) &&
           same("what lies where it was moved to", read32(ELSEWHERE), ~0u);
}

static bool edu_is_new(void)
{
    return same("liveness", read32(edu_bar + EDU_LIVENESS), 0) &&
           same("the source of DMA", read64(edu_bar + EDU_SOURCE), 0);
}

static bool ioapic_is_new(void)
{
    for (uint32_t pin = 0; pin < 24; pin++) {
        if (!same("a redirection entry", ioapic_pin(pin), IOAPIC_MASKED))
            return false;
    }
    return true;
}

static bool unit_is_new(void)
{
    return same("RTADDR", vtd_read_halves(VTD_RTADDR), 0) &&
           same("GSTS", read32(VTD + VTD_GSTS), 0) && same("FSTS", read32(VTD + VTD_FSTS), 0) &&
           same("FEDATA", read32(VTD + VTD_FEDATA), 0) &&
           same("IQA", vtd_read_halves(VTD_IQA), 0) && same("IQT", vtd_read_halves(VTD_IQT), 0);
}

static bool with_unit(void)
{
    return option("vtd");
}

static const struct check checks[] = {
    {"reset: RAM keeps what was in it", ram_is_kept, NULL},
    {"reset: BARs are where firmware puts them", bars_are_back, NULL},
    {"reset: the device is new", edu_is_new, NULL},
    {"reset: the IOAPIC is new", ioapic_is_new, NULL},
    {"reset: the unit is new, and translates nothing", unit_is_new, with_unit},
};

void reset_checks(void)
{
    if (!option_number("resets"))
        return;
    if (note()->magic != NOTE_MAGIC)
        *note() = (struct note){NOTE_MAGIC, 0, edu_bar};
    else
        RUN(checks);
}

/* ---- What the reset finds */

static bool unit_is_busy(void)
{
    write32(VTD + VTD_FEDATA, 0x4321);
    vtd_write_halves(VTD_IQA, NOTE + PAGE);
    return legacy_translation_on() && holds("GSTS.QIES", vtd_command(VTD_GCMD_QIE, true));
}

static bool devices_are_busy(void)
{
    write32(edu_bar + EDU_LIVENESS, 0x12345678);
    write64(edu_bar + EDU_SOURCE, 0x9876);
    for (uint32_t pin = 0; pin < 24; pin++) {
        write32(IOAPIC, IOAPIC_PIN(pin));
        write32(IOAPIC + IOAPIC_WINDOW, IOAPIC_MASKED | IOAPIC_LEVEL | IOAPIC_VECTOR_9);
    }
    config_write(edu_devfn, PCI_BAR0, ELSEWHERE);
    return same("the device elsewhere", read32(ELSEWHERE), 0x010000edu) &&
           same("an IOAPIC pin", ioapic_pin(23), IOAPIC_MASKED | IOAPIC_LEVEL | IOAPIC_VECTOR_9);
}

static const struct check mess[] = {
    {"reset: the unit translates before it", unit_is_busy, with_unit},
    {"reset: devices are in use before it", devices_are_busy, NULL},
};

static void by_acpi(void)
{
    outb(PORT_ACPI, 1);
}

static void by_keyboard(void)
{
    outb(PORT_KEYBOARD, 0xfe);
}

static void by_control(void)
{
    outb(PORT_CONTROL, 0x6);
}

/* To itself: the processor begins at its reset vector, memory and devices stay as they are. */
static void by_init(void)
{
    write32(APIC_ICR_HIGH, 0);
    write32(APIC_ICR_LOW, APIC_INIT);
}

static const struct {
    const char *name;
    void (*reset)(void);
} ways[] = {
    {"ACPI's register", by_acpi},     {"the keyboard controller", by_keyboard},
    {"port CF9", by_control},         {"the reset vector in real mode", jump_to_reset_vector},
    {"a triple fault", fault_thrice}, {"INIT", by_init},
};

static void reset_by(uint32_t way)
{
    way %= sizeof(ways) / sizeof(ways[0]);
    print("bare: resets by ");
    print(ways[way].name);
    print("\n");
    ways[way].reset();
    for (;;)
        __asm__ volatile("hlt");
}

bool reset_is_due(void)
{
    return !checks_failed() && option_number("resets") > note()->resets;
}

void reset_now(void)
{
    uint32_t done = note()->resets++;

    RUN(mess);
    if (!checks_failed())
        reset_by(done);
}
