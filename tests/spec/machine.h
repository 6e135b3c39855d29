/* SPDX-License-Identifier: MIT */
/* The smallest machine that has a VT-d unit: memory, one root bus, an MSI recorder. */
#ifndef SPEC_MACHINE_H
#define SPEC_MACHINE_H

#include <viommu.h>

#include "spec.h"

#define MACHINE_MEMORY  (16u << 20) /* bytes of RAM, at GPA 0 */
#define MACHINE_MSI_MAX 64
#define MACHINE_DEVICES 8
#define MACHINE_REPORTS 8

struct machine_msi {
    uint64_t address;
    uint32_t data;
};

struct machine {
    struct viommu_memory *memory;
    uint8_t *ram;
    struct viommu_dma_space *plain;
    struct viommu_pci *pci;
    struct viommu_pci_bus *bus;
    struct viommu_pci_device *device[MACHINE_DEVICES]; /* 00:00.0, 00:01.0, ... */
    struct viommu *viommu;
    struct machine_msi msi[MACHINE_MSI_MAX];
    unsigned int msi_count; /* may exceed MACHINE_MSI_MAX; the first ones are kept */
    unsigned int log_count;
    char log[512];             /* the last message */
    unsigned int report_count; /* of the sanitizer; the first MACHINE_REPORTS are kept */
    struct viommu_sanitize_report report[MACHINE_REPORTS];
};

/* properties: as for viommu_vtd_options_parse(). Fails the test when something cannot be made. */
void machine_create(struct machine *machine, const char *properties);
/* The same with the root bus and the unit on a segment, and the unit's registers there. */
void machine_create_at(struct machine *machine, const char *properties, uint16_t segment,
                       uint64_t mmio_base);
void machine_destroy(struct machine *machine);

/* Registers. */
uint32_t read32(struct machine *machine, uint64_t offset);
uint64_t read64(struct machine *machine, uint64_t offset);
void write32(struct machine *machine, uint64_t offset, uint32_t value);
void write64(struct machine *machine, uint64_t offset, uint64_t value);

/* Guest memory, in the units of the tables; gpa within MACHINE_MEMORY. */
uint64_t load64(struct machine *machine, uint64_t gpa);
uint32_t load32(struct machine *machine, uint64_t gpa);
void store64(struct machine *machine, uint64_t gpa, uint64_t value);

/* Where the fault records and IOTLB registers are, as the capability registers say. */
uint64_t machine_fault_record(struct machine *machine, unsigned int index);
uint64_t machine_iotlb(struct machine *machine);
unsigned int machine_fault_records(struct machine *machine);

/* Latch a root table pointer with its mode bits (SRTP), switch translation. */
void machine_set_root(struct machine *machine, uint64_t rtaddr);
void machine_enable(struct machine *machine, bool on);

/* An invalidation queue of one page at `gpa`, of 256-bit descriptors when `wide`; switched on. */
void machine_queue_start(struct machine *machine, uint64_t gpa, bool wide);
/* Put one descriptor at the tail and move the tail; qw2 and qw3 are zero. */
void machine_submit(struct machine *machine, uint64_t qw0, uint64_t qw1);

/* One DMA of 8 bytes by device[index]. Returns the call's result. */
int machine_read(struct machine *machine, unsigned int index, uint64_t iova, uint64_t *value,
                 struct viommu_dma_result *result);
int machine_write(struct machine *machine, unsigned int index, uint64_t iova, uint64_t value,
                  struct viommu_dma_result *result);

/* A check with a machine of its own. What is done with `&machine` first may follow. */
#define WITH_MACHINE(name, properties, ...)                                                        \
    static void name##_on(struct machine *machine);                                                \
    static void name(void **state)                                                                 \
    {                                                                                              \
        struct machine machine;                                                                    \
                                                                                                   \
        (void)state;                                                                               \
        machine_create(&machine, properties);                                                      \
        __VA_ARGS__;                                                                               \
        name##_on(&machine);                                                                       \
        machine_destroy(&machine);                                                                 \
    }                                                                                              \
    static void name##_on(struct machine *machine)

#endif
