/* SPDX-License-Identifier: MIT */
/*
 * The smallest embedding: one guest with 2 MiB of memory, one PCI device, one VT-d unit in front of
 * it.
 *
 *   1. the VMM describes memory and PCI, creates the unit and lets it protect bus 0;
 *   2. the guest (played by this program) writes its tables into memory and programs the unit by
 * MMIO;
 *   3. the device does DMA, and lands where the guest's tables say, or faults.
 *
 * cc smallest.c $(pkg-config --cflags --libs viommu) && ./a.out
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <viommu.h>

#define MEMORY_SIZE (2u << 20)

/* Where the guest puts its tables: root, context, three levels of second stage, and a data page. */
enum {
    ROOT = 0x1000,
    CONTEXT = 0x2000,
    LEVEL3 = 0x3000,
    LEVEL2 = 0x4000,
    LEVEL1 = 0x5000,
    DATA = 0x9000
};

static struct viommu_error error;

static void check(int result, const char *what)
{
    if (result) {
        fprintf(stderr, "%s: %s\n", what, error.message);
        exit(1);
    }
}

/* 1. What a VMM does. */
static struct viommu *build_machine(struct viommu_memory *memory, struct viommu_pci *pci,
                                    struct viommu_pci_device **device)
{
    struct viommu_vtd_options options;
    struct viommu_pci_bus *bus;
    struct viommu *unit;

    viommu_vtd_options_init(&options);
    options.memory = memory;
    check(viommu_vtd_options_parse(&options, "scalable=off,aw=39", &error), "options");
    check(viommu_vtd_create(&unit, &options, &error), "remapping unit");
    check(viommu_pci_root_bus_add(pci, 0, 0, &bus, &error), "root bus");
    check(viommu_pci_device_add(bus, VIOMMU_PCI_DEVFN(3, 0), NULL, device, &error), "device");
    check(viommu_protect_bus(unit, bus, &error), "protect bus 0");
    return unit;
}

/* 2. What a guest does: map IOVA 0x10000 of 00:03.0 to its page DATA, for reading and writing. */
static void program_guest(uint8_t *ram, struct viommu *unit)
{
    uint64_t *root = (uint64_t *)(ram + ROOT), *context = (uint64_t *)(ram + CONTEXT);

    root[0] = CONTEXT | 1;                                /* bus 0, present */
    context[2 * VIOMMU_PCI_DEVFN(3, 0)] = LEVEL3 | 1;     /* second stage, present */
    context[2 * VIOMMU_PCI_DEVFN(3, 0) + 1] = 7 << 8 | 1; /* domain 7, 3 levels (39 bits) */
    ((uint64_t *)(ram + LEVEL3))[0] = LEVEL2 | 3;         /* read and write */
    ((uint64_t *)(ram + LEVEL2))[0] = LEVEL1 | 3;
    ((uint64_t *)(ram + LEVEL1))[0x10] = DATA | 3;       /* IOVA 0x10000 */
    viommu_mmio_write(unit, 0x20, 8, ROOT);              /* RTADDR_REG */
    viommu_mmio_write(unit, 0x18, 4, UINT32_C(1) << 30); /* GCMD_REG.SRTP */
    viommu_mmio_write(unit, 0x18, 4, UINT32_C(1) << 31); /* GCMD_REG.TE */
}

/* 3. What a device model does. */
static void do_dma(const struct viommu_pci_device *device, uint64_t iova)
{
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(device);
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;

    if (!space) {
        fprintf(stderr, "no memory for the device's address space\n");
        exit(1);
    }
    request.address = iova;
    request.length = 6;
    request.requester_id = viommu_pci_device_alias(device).requester_id;
    if (viommu_dma_write(space, &request, "hello", &result))
        printf("write to IOVA 0x%" PRIx64 ": refused (%s, fault reason 0x%" PRIx32 ")\n", iova,
               viommu_dma_status_name(result.status), result.fault_code);
    else
        printf("write to IOVA 0x%" PRIx64 ": done\n", iova);
}

int main(void)
{
    uint8_t *ram =
        mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct viommu_memory_range range = {.gpa = 0, .size = MEMORY_SIZE, .host = ram};
    struct viommu_dma_space *plain;
    struct viommu_pci_device *device;
    struct viommu_memory *memory;
    struct viommu_pci *pci;
    struct viommu *unit;

    if (ram == MAP_FAILED)
        return 1;
    check(viommu_memory_create(&memory, &error), "memory");
    check(viommu_memory_add(memory, &range, &error), "memory");
    check(viommu_dma_space_create_plain(&plain, memory, &error), "plain address space");
    check(viommu_pci_create(&pci, plain, &error), "PCI topology");
    unit = build_machine(memory, pci, &device);
    program_guest(ram, unit);

    do_dma(device, 0x10000);
    printf("guest memory at 0x%x says \"%s\"\n", DATA, (char *)ram + DATA);
    do_dma(device, 0x11000);

    viommu_pci_destroy(pci);
    viommu_destroy(unit);
    viommu_dma_space_destroy(plain);
    viommu_memory_destroy(memory);
    munmap(ram, MEMORY_SIZE);
    return 0;
}
