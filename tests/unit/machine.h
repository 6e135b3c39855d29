/* SPDX-License-Identifier: MIT */
/*
 * A machine of the reference VMM without KVM: memory, buses, PCI, the library's objects and
 * devices. The test is its CPU; interrupts are counted here instead of reaching a local APIC.
 */
#ifndef TEST_MACHINE_H
#define TEST_MACHINE_H

#include "vmm.h"

#define MACHINE_RAM   (8u << 20)
#define MACHINE_LINES 4u

struct machine {
    struct vmm vm;
    struct vmm_options options;
    pthread_mutex_t lock;       /* the rest */
    unsigned int messages[256]; /* MSIs by the low byte of their data */
    bool lines[MACHINE_LINES];  /* INTx */
};

/* `viommu` and `host` as on the command line, or NULL. Ends the test when it fails. */
struct machine *machine_create(const char *viommu, const char *host);
struct machine *machine_create_units(const char *const *viommus, size_t count, const char *host);
void machine_destroy(struct machine *machine);

/* Configuration space of 00:SLOT.0. */
uint32_t machine_config_read(struct machine *machine, unsigned int slot, unsigned int offset,
                             unsigned int size);
void machine_config_write(struct machine *machine, unsigned int slot, unsigned int offset,
                          unsigned int size, uint32_t value);

/* Offset of the first capability with this ID after `previous` (0: of all); 0 without one. */
unsigned int machine_capability(struct machine *machine, unsigned int slot, uint8_t id,
                                unsigned int previous);

/* Memory accesses of the CPU outside of RAM, and RAM itself. */
uint64_t machine_read(struct machine *machine, uint64_t address, unsigned int size);
void machine_write(struct machine *machine, uint64_t address, unsigned int size, uint64_t value);
void *machine_ram(struct machine *machine, uint64_t address);

/* Interrupts that came so far. */
unsigned int machine_messages(struct machine *machine, uint8_t vector);
bool machine_line(struct machine *machine, unsigned int slot);

#endif
