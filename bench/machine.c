/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Guest physical layout. */
enum {
    ROOT = 0x1000,
    CONTEXT = 0x2000,
    PASID_DIRECTORY = 0x3000,
    PASID_TABLE = 0x4000,
    QUEUE = 0x10000,
    QUEUE_PAGES_LOG2 = 2,
    QUEUE_SIZE = 0x1000 << QUEUE_PAGES_LOG2,
    STATUS = 0x18000,
    FIRST_STAGE = 0x20000,
    SECOND_STAGE = 0x21000,
    TABLES = 0x100000,
    DATA = 0x1000000,
};

/* Registers (VT-d 5.0, chapter 11). */
enum {
    REG_GCMD = 0x18,
    REG_RTADDR = 0x20,
    REG_IQT = 0x88,
    REG_IQA = 0x90
};

#define ENTRY_FLAGS                                                                                \
    UINT64_C(7) /* first stage: present, write, user; second stage: read, write, execute */
#define PASID_PWSNP UINT64_C(0x800000) /* page walks snoop: accessed bits may be set (9.6) */
#define ADDRESS     UINT64_C(0xffffffffff000)

void bench_check(int result, const struct viommu_error *error)
{
    if (!result)
        return;
    fprintf(stderr, "viommu-bench: %s\n", error->message);
    exit(1);
}

static uint64_t *quad(const struct bench_machine *machine, uint64_t gpa)
{
    return (uint64_t *)(machine->ram + gpa);
}

/* Scalable mode demands 256-bit descriptors (IQA_REG.DW). */
static bool is_scalable(const struct bench_machine *machine)
{
    return machine->mode != BENCH_SECOND_STAGE && machine->mode != BENCH_SHADOWED;
}

static uint64_t ram_size(const struct bench_machine *machine)
{
    uint64_t pages = machine->mode == BENCH_SHADOWED ? BENCH_SHADOWED_PAGES : BENCH_PAGES;

    return DATA + (pages << 12);
}

/* The stage that translates requests. */
static uint64_t table_root(const struct bench_machine *machine)
{
    return is_scalable(machine) ? FIRST_STAGE : SECOND_STAGE;
}

static void set_entry(struct bench_machine *machine, uint64_t table, uint64_t address,
                      uint64_t value)
{
    for (int level = 4; level > 1; level--) {
        uint64_t *entry = quad(machine, table) + ((address >> (12 + 9 * (level - 1))) & 511);

        if (!*entry) {
            *entry = machine->next_table | ENTRY_FLAGS;
            machine->next_table += 4096;
        }
        table = *entry & ADDRESS;
    }
    quad(machine, table)[(address >> 12) & 511] = value;
}

static void map_page(struct bench_machine *machine, uint64_t table, uint64_t address, uint64_t to)
{
    set_entry(machine, table, address, to | ENTRY_FLAGS);
}

void bench_machine_map(struct bench_machine *machine, uint64_t page, uint64_t to)
{
    map_page(machine, table_root(machine), page << 12, DATA + (to << 12));
}

void bench_machine_unmap(struct bench_machine *machine, uint64_t page)
{
    set_entry(machine, table_root(machine), page << 12, 0);
}

static void build_tables(struct bench_machine *machine)
{
    machine->next_table = TABLES;
    for (uint64_t i = 0; machine->mode != BENCH_SHADOWED && i < BENCH_PAGES; i++)
        bench_machine_map(machine, i, i);
    for (uint64_t gpa = 0; machine->mode == BENCH_NESTED && gpa < ram_size(machine); gpa += 4096)
        map_page(machine, SECOND_STAGE, gpa, gpa);
}

static void build_entries(struct bench_machine *machine)
{
    uint64_t *pasid_entry = quad(machine, PASID_TABLE);

    quad(machine, ROOT)[0] = CONTEXT | 1;
    for (unsigned int i = 0; i < BENCH_THREADS; i++) {
        unsigned int devfn = VIOMMU_PCI_DEVFN(i + 1, 0);

        if (!is_scalable(machine)) {
            quad(machine, CONTEXT)[2 * devfn] = SECOND_STAGE | 1;
            quad(machine, CONTEXT)[2 * devfn + 1] = BENCH_DOMAIN << 8 | 2;
        } else {
            quad(machine, CONTEXT)[4 * devfn] = PASID_DIRECTORY | 1;
        }
    }
    quad(machine, PASID_DIRECTORY)[0] = PASID_TABLE | 1;
    pasid_entry[1] = BENCH_DOMAIN | PASID_PWSNP;
    pasid_entry[2] = FIRST_STAGE;
    pasid_entry[0] =
        machine->mode == BENCH_NESTED ? SECOND_STAGE | 3 << 6 | 2 << 2 | 1 : 1 << 6 | 1;
}

static void switch_on(struct bench_machine *machine)
{
    uint64_t mode = is_scalable(machine) ? 1 << 10 : 0;

    viommu_mmio_write(machine->unit, REG_IQA, 8,
                      QUEUE | QUEUE_PAGES_LOG2 | (is_scalable(machine) ? 1 << 11 : 0));
    viommu_mmio_write(machine->unit, REG_GCMD, 4, UINT32_C(1) << 26);
    viommu_mmio_write(machine->unit, REG_RTADDR, 8, ROOT | mode);
    viommu_mmio_write(machine->unit, REG_GCMD, 4, UINT32_C(1) << 30 | UINT32_C(1) << 26);
    viommu_mmio_write(machine->unit, REG_GCMD, 4, UINT32_C(1) << 31 | UINT32_C(1) << 26);
}

static void create_memory(struct bench_machine *machine, struct viommu_error *error)
{
    struct viommu_memory_range range = {.size = ram_size(machine)};

    machine->ram = mmap(NULL, range.size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (machine->ram == MAP_FAILED) {
        fprintf(stderr, "viommu-bench: no %llu bytes for the guest\n",
                (unsigned long long)range.size);
        exit(1);
    }
    range.host = machine->ram;
    bench_check(viommu_memory_create(&machine->memory, error), error);
    bench_check(viommu_memory_add(machine->memory, &range, error), error);
    bench_check(viommu_dma_space_create_plain(&machine->plain, machine->memory, error), error);
}

void bench_machine_create(struct bench_machine *machine, enum bench_mode mode)
{
    static const char *const properties[] = {
        [BENCH_FIRST_STAGE] = "",
        [BENCH_SECOND_STAGE] = "scalable=off",
        [BENCH_NESTED] = "second-stage=on,nested=on",
        [BENCH_SANITIZED] = "sanitize=on",
        [BENCH_SHADOWED] = "scalable=off",
    };
    struct viommu_vtd_options options;
    struct viommu_error error;

    memset(machine, 0, sizeof(*machine));
    machine->mode = mode;
    create_memory(machine, &error);
    bench_check(viommu_pci_create(&machine->pci, machine->plain, &error), &error);
    bench_check(viommu_pci_root_bus_add(machine->pci, 0, 0, &machine->bus, &error), &error);
    for (unsigned int i = 0; i < BENCH_THREADS; i++)
        bench_check(viommu_pci_device_add(machine->bus, VIOMMU_PCI_DEVFN(i + 1, 0), NULL,
                                          &machine->functions[i], &error),
                    &error);
    viommu_vtd_options_init(&options);
    options.memory = machine->memory;
    bench_check(viommu_vtd_options_parse(&options, properties[mode], &error), &error);
    bench_check(viommu_vtd_create(&machine->unit, &options, &error), &error);
    bench_check(viommu_protect_bus(machine->unit, machine->bus, &error), &error);
    build_tables(machine);
    build_entries(machine);
    switch_on(machine);
}

void bench_machine_destroy(struct bench_machine *machine)
{
    viommu_pci_destroy(machine->pci);
    viommu_destroy(machine->unit);
    viommu_dma_space_destroy(machine->plain);
    viommu_memory_destroy(machine->memory);
    munmap(machine->ram, ram_size(machine));
}

static void queue(struct bench_machine *machine, uint64_t low, uint64_t high)
{
    uint64_t *descriptor = quad(machine, QUEUE + machine->queue_tail);

    descriptor[0] = low;
    descriptor[1] = high;
    machine->queue_tail = (machine->queue_tail + (is_scalable(machine) ? 32 : 16)) % QUEUE_SIZE;
}

void bench_machine_run(struct bench_machine *machine)
{
    queue(machine, 5 | 1 << 5 | UINT64_C(1) << 32, STATUS);
    viommu_mmio_write(machine->unit, REG_IQT, 8, machine->queue_tail);
}

void bench_machine_queue_pages(struct bench_machine *machine, uint64_t page,
                               unsigned int pages_log2)
{
    queue(machine, 2 | 3 << 4 | BENCH_DOMAIN << 16, page << 12 | pages_log2);
}

void bench_machine_queue_domain(struct bench_machine *machine)
{
    queue(machine, 2 | 2 << 4 | BENCH_DOMAIN << 16, 0);
}

void bench_machine_invalidate(struct bench_machine *machine, unsigned int first, unsigned int count)
{
    uint64_t kind = is_scalable(machine) ? 6 | 3 << 4 : 2 | 3 << 4;

    for (unsigned int i = 0; i < count; i++)
        queue(machine, kind | BENCH_DOMAIN << 16, (uint64_t)(first + i) << 12);
    bench_machine_run(machine);
}

uint64_t bench_machine_chase(const struct bench_machine *machine, unsigned int page)
{
    uint64_t table = table_root(machine);
    uint64_t address = (uint64_t)page << 12;

    for (int level = 4; level >= 1; level--) {
        const volatile uint64_t *entry = quad(machine, table);

        table = entry[(address >> (12 + 9 * (level - 1))) & 511] & ADDRESS;
    }
    return table;
}
