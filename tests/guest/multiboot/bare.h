/* SPDX-License-Identifier: MIT */
/*
 * A kernel without an operating system: it checks what `viommu run` gives to a multiboot kernel,
 * and uses the VT-d unit in ways that Linux does not. Flat 32-bit mode, no paging, no interrupts.
 *
 * It prints "bare: ok - WHAT" or "bare: FAIL - WHAT" for each check on COM1.
 */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096u

/* ---- main.c: checks and what they say */

struct check {
    const char *what;
    bool (*good)(void);
    bool (*wanted)(void); /* NULL: always */
};

void run_checks(const struct check *checks, size_t count);
uint32_t checks_failed(void); /* so far */
#define RUN(checks) run_checks(checks, sizeof(checks) / sizeof((checks)[0]))

/* Both print what differs, for the log of a check that fails. */
bool same(const char *what, uint64_t got, uint64_t wanted);
bool holds(const char *what, bool condition);

/* The command line has the word `name`; the number after "name=", or 0. */
bool option(const char *name);
uint32_t option_number(const char *name);

/* ---- io.c: ports, memory-mapped registers, the console */

void outb(uint16_t port, uint8_t value);
void outl(uint16_t port, uint32_t value);
uint8_t inb(uint16_t port);
uint32_t inl(uint16_t port);

uint8_t read8(uint32_t address);
uint16_t read16(uint32_t address);
uint32_t read32(uint32_t address);
void write8(uint32_t address, uint8_t value);
void write16(uint32_t address, uint16_t value);
void write32(uint32_t address, uint32_t value);
/* One access of 8 bytes, which a 32-bit processor makes by an MMX register. */
uint64_t read64(uint32_t address);
void write64(uint32_t address, uint64_t value);

void print(const char *text);
void print_hex(uint64_t value);
void print_number(uint32_t value);
bool equal(const char *a, const char *b, size_t length);
size_t length_of(const char *text);

/* ---- boot.c */

extern const char *command_line;
void boot_checks(uint32_t magic, uint32_t info);

/* ---- pci.c */

#define PCI_COMMAND        0x04
#define PCI_COMMAND_MEMORY 0x2u
#define PCI_COMMAND_MASTER 0x4u
#define PCI_BAR0           0x10

uint32_t config_read(uint32_t devfn, uint32_t offset);
void config_write(uint32_t devfn, uint32_t offset, uint32_t value);
void pci_checks(void);

extern uint32_t edu_devfn; /* 0: there is none */
extern uint32_t edu_bar;

/* The MSI capability of the edu: where its messages go. */
void edu_msi(uint32_t address, uint32_t data);

/* ---- edu.c: see docs/specs/edu of QEMU */

/* Raise an interrupt, and take the cause back. */
void edu_interrupt(void);

/* `address` is what the device puts on the bus; `offset` is in its buffer of 4096 bytes. */
void edu_to_memory(uint64_t address, uint32_t offset, uint32_t count);
void edu_from_memory(uint64_t address, uint32_t offset, uint32_t count);
void edu_checks(void);

/* ---- vtd.c, legacy.c: the unit's registers; legacy-mode translation by them */

#define VTD 0xfed90000u

#define VTD_VER      0x00u
#define VTD_CAP      0x08u
#define VTD_ECAP     0x10u
#define VTD_GCMD     0x18u
#define VTD_GSTS     0x1cu
#define VTD_RTADDR   0x20u
#define VTD_CCMD     0x28u
#define VTD_FSTS     0x34u
#define VTD_FECTL    0x38u
#define VTD_FEDATA   0x3cu
#define VTD_IQH      0x80u
#define VTD_IQT      0x88u
#define VTD_IQA      0x90u
#define VTD_IRTA     0xb8u
#define VTD_GCMD_TE  (1u << 31)
#define VTD_GCMD_RTP (1u << 30)
#define VTD_GCMD_QIE (1u << 26)
#define VTD_GCMD_IRE (1u << 25)
#define VTD_GCMD_IRP (1u << 24)
#define VTD_GCMD_CFI (1u << 23)
#define VTD_ECAP_IR  (1u << 3)
#define VTD_FSTS_PFO 0x1u
#define VTD_FSTS_PPF 0x2u

/* 64-bit registers by their halves. */
uint64_t vtd_read_halves(uint32_t offset);
void vtd_write_halves(uint32_t offset, uint64_t value);
uint32_t vtd_iotlb(void);                  /* where the IOTLB register is; IVA is 8 bytes before */
uint32_t vtd_fault_record(uint32_t index); /* where it is */
uint32_t vtd_fault_records(void);
bool vtd_faults_are_clear(void);
/* The one record that is pending; then it is cleared. */
struct vtd_fault {
    uint32_t reason;
    bool read;
    uint32_t requester;
    uint64_t info;
};
bool vtd_take_fault(struct vtd_fault *fault);
/* An order to GCMD together with what stays on; waits for GSTS to follow, false when it does not.
 */
bool vtd_command(uint32_t bit, bool on);

void vtd_checks(void);
void legacy_checks(void);
void planted_checks(void); /* mistakes, for a unit that sanitizes */
/* Translates by fresh tables of three levels; a transfer through them arrives. */
bool legacy_translation_on(void);

/* ---- apic.c: interrupts of the local APIC, which come only when asked for */

void apic_on(void);
/* Takes what has come; how often this vector was among it, and how many others were. */
uint32_t apic_taken(uint32_t vector, uint32_t *others);
void interrupt_came(uint32_t vector); /* for start.S */

/* ---- remapping.c */

void remapping_checks(void);

/* ---- start.S */

void load_segments(void);                     /* a flat code segment at 10h, which gates name */
extern const uint8_t interrupt_entries[][16]; /* where gates lead, from vector 32 on */
/* Neither returns. */
void jump_to_reset_vector(void);
void fault_thrice(void);

/* ---- reset.c */

void reset_checks(void);
bool reset_is_due(void);
void reset_now(void); /* returns when a check failed */

#endif
