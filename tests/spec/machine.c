/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "model/vtd/register_map.h"

/* What GCMD_REG wants to be told of each time. */
#define LEVELS (uint32_t)(VTD_GCMD_TE | VTD_GCMD_QIE | VTD_GCMD_IRE | VTD_GCMD_CFI)

static void record_msi(void *opaque, uint64_t address, uint32_t data)
{
    struct machine *machine = opaque;

    if (machine->msi_count < MACHINE_MSI_MAX)
        machine->msi[machine->msi_count] = (struct machine_msi){address, data};
    machine->msi_count++;
}

/* Several threads may speak at once (viommu/log.h). */
static void record_log(void *opaque, enum viommu_log_level level, const char *message)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct machine *machine = opaque;

    (void)level;
    pthread_mutex_lock(&lock);
    snprintf(machine->log, sizeof(machine->log), "%s", message);
    machine->log_count++;
    pthread_mutex_unlock(&lock);
}

static void record_report(void *opaque, const struct viommu_sanitize_report *report)
{
    struct machine *machine = opaque;

    if (machine->report_count < MACHINE_REPORTS)
        machine->report[machine->report_count] = *report;
    machine->report_count++;
}

static void create_memory(struct machine *machine)
{
    struct viommu_memory_range range = {.size = MACHINE_MEMORY};

    machine->ram =
        mmap(NULL, MACHINE_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(machine->ram, MAP_FAILED);
    assert_int_equal(viommu_memory_create(&machine->memory, NULL), 0);
    range.host = machine->ram;
    assert_int_equal(viommu_memory_add(machine->memory, &range, NULL), 0);
}

static void create_unit(struct machine *machine, const char *properties, uint16_t segment,
                        uint64_t mmio_base)
{
    struct viommu_vtd_options options;
    struct viommu_error error = {0};

    viommu_vtd_options_init(&options);
    options.memory = machine->memory;
    options.segment = segment;
    options.mmio_base = mmio_base;
    options.msi = record_msi;
    options.msi_opaque = machine;
    options.sanitize_report = record_report;
    options.sanitize_opaque = machine;
    options.log = (struct viommu_log){record_log, machine, VIOMMU_LOG_DEBUG};
    if (viommu_vtd_options_parse(&options, properties, &error) ||
        viommu_vtd_create(&machine->viommu, &options, &error))
        fail_msg("%s: %s", properties, error.message);
}

void machine_create(struct machine *machine, const char *properties)
{
    machine_create_at(machine, properties, 0, 0xfed90000);
}

void machine_create_at(struct machine *machine, const char *properties, uint16_t segment,
                       uint64_t mmio_base)
{
    memset(machine, 0, sizeof(*machine));
    create_memory(machine);
    create_unit(machine, properties, segment, mmio_base);
    assert_int_equal(viommu_dma_space_create_plain(&machine->plain, machine->memory, NULL), 0);
    assert_int_equal(viommu_pci_create(&machine->pci, machine->plain, NULL), 0);
    assert_int_equal(viommu_pci_root_bus_add(machine->pci, segment, 0, &machine->bus, NULL), 0);
    assert_int_equal(viommu_protect_bus(machine->viommu, machine->bus, NULL), 0);
    for (unsigned int i = 0; i < MACHINE_DEVICES; i++)
        assert_int_equal(viommu_pci_device_add(machine->bus, VIOMMU_PCI_DEVFN(i, 0), NULL,
                                               &machine->device[i], NULL),
                         0);
}

void machine_destroy(struct machine *machine)
{
    viommu_pci_destroy(machine->pci);
    viommu_destroy(machine->viommu);
    viommu_dma_space_destroy(machine->plain);
    viommu_memory_destroy(machine->memory);
    munmap(machine->ram, MACHINE_MEMORY);
}

uint32_t read32(struct machine *machine, uint64_t offset)
{
    return (uint32_t)viommu_mmio_read(machine->viommu, offset, 4);
}

/* The upper half of a fault record with F set tells a reason. */
static void note_fault(struct machine *machine, uint64_t offset, uint64_t value)
{
    uint64_t cap = viommu_mmio_read(machine->viommu, VTD_CAP, 8);
    uint64_t first = field_get(VTD_CAP_FRO, cap) * 16;
    uint64_t end = first + (field_get(VTD_CAP_NFR, cap) + 1) * VTD_FRCD_SIZE;

    if (offset >= first && offset < end && offset % VTD_FRCD_SIZE == 8 && value & VTD_FRCD_F)
        spec_fault_read((unsigned int)field_get(VTD_FRCD_FR, value));
}

uint64_t read64(struct machine *machine, uint64_t offset)
{
    uint64_t value = viommu_mmio_read(machine->viommu, offset, 8);

    note_fault(machine, offset, value);
    return value;
}

void write32(struct machine *machine, uint64_t offset, uint32_t value)
{
    viommu_mmio_write(machine->viommu, offset, 4, value);
}

void write64(struct machine *machine, uint64_t offset, uint64_t value)
{
    viommu_mmio_write(machine->viommu, offset, 8, value);
}

uint64_t load64(struct machine *machine, uint64_t gpa)
{
    assert_true(gpa <= MACHINE_MEMORY - sizeof(uint64_t));
    return __atomic_load_n((uint64_t *)(machine->ram + gpa), __ATOMIC_RELAXED);
}

uint32_t load32(struct machine *machine, uint64_t gpa)
{
    uint32_t value;

    assert_true(gpa <= MACHINE_MEMORY - sizeof(value));
    memcpy(&value, machine->ram + gpa, sizeof(value));
    return value;
}

void store64(struct machine *machine, uint64_t gpa, uint64_t value)
{
    assert_true(gpa <= MACHINE_MEMORY - sizeof(value));
    /* a device may walk the table at this moment */
    __atomic_store_n((uint64_t *)(machine->ram + gpa), value, __ATOMIC_RELAXED);
}

uint64_t machine_fault_record(struct machine *machine, unsigned int index)
{
    return field_get(VTD_CAP_FRO, read64(machine, VTD_CAP)) * 16 + index * VTD_FRCD_SIZE;
}

uint64_t machine_iotlb(struct machine *machine)
{
    return field_get(VTD_ECAP_IRO, read64(machine, VTD_ECAP)) * 16;
}

unsigned int machine_fault_records(struct machine *machine)
{
    return (unsigned int)field_get(VTD_CAP_NFR, read64(machine, VTD_CAP)) + 1;
}

void machine_set_root(struct machine *machine, uint64_t rtaddr)
{
    uint32_t status = read32(machine, VTD_GSTS) & LEVELS;

    write64(machine, VTD_RTADDR, rtaddr);
    write32(machine, VTD_GCMD, status | (uint32_t)VTD_GCMD_SRTP);
}

void machine_enable(struct machine *machine, bool on)
{
    uint32_t status = read32(machine, VTD_GSTS) & LEVELS;

    write32(machine, VTD_GCMD,
            on ? status | (uint32_t)VTD_GCMD_TE : status & ~(uint32_t)VTD_GCMD_TE);
}

void machine_queue_start(struct machine *machine, uint64_t gpa, bool wide)
{
    uint32_t status = read32(machine, VTD_GSTS) & LEVELS;

    write64(machine, VTD_IQT, 0);
    write64(machine, VTD_IQA, gpa | (wide ? VTD_IQA_DW : 0));
    write32(machine, VTD_GCMD, status | (uint32_t)VTD_GCMD_QIE);
}

void machine_submit(struct machine *machine, uint64_t qw0, uint64_t qw1)
{
    uint64_t queue = read64(machine, VTD_IQA);
    uint64_t tail = read64(machine, VTD_IQT);
    unsigned int bytes = queue & VTD_IQA_DW ? 32 : 16;
    uint64_t size = UINT64_C(4096) << (queue & VTD_IQA_QS);

    store64(machine, (queue & VTD_IQA_IQA) + tail, qw0);
    store64(machine, (queue & VTD_IQA_IQA) + tail + 8, qw1);
    for (unsigned int i = 16; i < bytes; i += 8)
        store64(machine, (queue & VTD_IQA_IQA) + tail + i, 0);
    write64(machine, VTD_IQT, (tail + bytes) % size);
}

static void fill(struct viommu_dma_request *request, struct machine *machine, unsigned int index,
                 uint64_t iova)
{
    *request = (struct viommu_dma_request)VIOMMU_DMA_REQUEST_INIT;
    request->address = iova;
    request->length = 8;
    request->requester_id = viommu_pci_device_alias(machine->device[index]).requester_id;
}

int machine_read(struct machine *machine, unsigned int index, uint64_t iova, uint64_t *value,
                 struct viommu_dma_result *result)
{
    struct viommu_dma_request request;

    fill(&request, machine, index, iova);
    return viommu_dma_read(viommu_pci_device_get_address_space(machine->device[index]), &request,
                           value, result);
}

int machine_write(struct machine *machine, unsigned int index, uint64_t iova, uint64_t value,
                  struct viommu_dma_result *result)
{
    struct viommu_dma_request request;

    fill(&request, machine, index, iova);
    return viommu_dma_write(viommu_pci_device_get_address_space(machine->device[index]), &request,
                            &value, result);
}
