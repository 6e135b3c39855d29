/* SPDX-License-Identifier: MIT */
/*
 * The guest's door under a fuzzer: registers, tables in memory, queues and DMA of an emulated and
 * an assigned device, in any order, with any values. The input is a program of small operations
 * (below). Nothing may crash, leak, loop, or let a DMA leave guest memory.
 *
 * Built with clang and -Dfuzz=true as a libFuzzer program; otherwise as a program that runs the
 * files that it is given.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <viommu.h>

#define RAM_SIZE       (64u * 4096)
#define MOST_STEPS     256
#define DEVICE         "0000:01:00.0"
#define EMULATED_DEVFN VIOMMU_PCI_DEVFN(1, 0)
#define ASSIGNED_DEVFN VIOMMU_PCI_DEVFN(2, 0)

struct input {
    const uint8_t *bytes;
    size_t length;
};

struct machine {
    uint8_t *ram;
    struct viommu_memory *memory;
    struct viommu_dma_space *plain;
    struct viommu_pci *pci;
    struct viommu_pci_bus *bus;
    struct viommu_pci_device *emulated, *assigned;
    struct viommu *unit;
    struct viommu_host *host;
    struct viommu_soft_device *hardware;
    struct viommu_assign *assign;
    struct viommu_assigned_device *assignment;
};

/* The next n (1..8) bytes as a number; zeros beyond the end. */
static uint64_t take(struct input *input, size_t n)
{
    uint64_t value = 0;

    if (n > input->length)
        n = input->length;
    memcpy(&value, input->bytes, n);
    input->bytes += n;
    input->length -= n;
    return value;
}

static void create_unit(struct machine *machine, uint8_t choice)
{
    static const char *const properties[] = {
        "",
        "second-stage=on,nested=on,pasid-bits=8",
        "scalable=off,aw=39",
        "second-stage=on,nested=on,ad=on,supervisor=on,pasid-bits=20,execute=on,extended-accessed=on",
        "fault-records=1,caching-mode=on,pasid-bits=20,1g=off,2m=off,haw=39",
        "second-stage=on,nested=on,pasid-bits=8,sanitize=on,sanitize-strict=on",
        "scalable=off,pmr=on,caching-mode=off,domain-bits=4",
        "5-level=on,aw=57,haw=52,second-stage=on,nested=on,pasid-bits=20,supervisor=on,rid-priv=on",
    };
    struct viommu_vtd_options options;

    viommu_vtd_options_init(&options);
    options.memory = machine->memory;
    if (viommu_vtd_options_parse(
            &options, properties[choice % (sizeof(properties) / sizeof(properties[0]))], NULL) ||
        viommu_vtd_create(&machine->unit, &options, NULL) ||
        viommu_protect_bus(machine->unit, machine->bus, NULL))
        abort();
}

static void create_host(struct machine *machine)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;

    if (viommu_soft_create(&machine->host, &options, NULL) ||
        viommu_soft_device_add(machine->host, DEVICE, 0, &machine->hardware, NULL) ||
        viommu_assign_create(&machine->assign, machine->host, machine->memory, NULL, NULL))
        abort();
    viommu_assign_attach(machine->assign, machine->assigned, DEVICE, &machine->assignment, NULL);
}

static void create(struct machine *machine, uint8_t choice)
{
    struct viommu_memory_range range = {.size = RAM_SIZE};

    memset(machine, 0, sizeof(*machine));
    machine->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    range.host = machine->ram;
    if (machine->ram == MAP_FAILED || viommu_memory_create(&machine->memory, NULL) ||
        viommu_memory_add(machine->memory, &range, NULL) ||
        viommu_dma_space_create_plain(&machine->plain, machine->memory, NULL) ||
        viommu_pci_create(&machine->pci, machine->plain, NULL) ||
        viommu_pci_root_bus_add(machine->pci, 0, 0, &machine->bus, NULL) ||
        viommu_pci_device_add(machine->bus, EMULATED_DEVFN, NULL, &machine->emulated, NULL) ||
        viommu_pci_device_add(machine->bus, ASSIGNED_DEVFN, NULL, &machine->assigned, NULL))
        abort();
    create_unit(machine, choice);
    create_host(machine);
}

static void destroy(struct machine *machine)
{
    if (machine->assignment)
        viommu_assign_detach(machine->assignment);
    viommu_assign_destroy(machine->assign);
    viommu_soft_device_remove(machine->hardware);
    viommu_host_destroy(machine->host);
    viommu_pci_destroy(machine->pci);
    viommu_destroy(machine->unit);
    viommu_dma_space_destroy(machine->plain);
    viommu_memory_destroy(machine->memory);
    munmap(machine->ram, RAM_SIZE);
}

static void step_mmio_write(struct machine *machine, struct input *input)
{
    uint64_t offset = take(input, 2);
    unsigned int size = 1u << (take(input, 1) & 3);

    viommu_mmio_write(machine->unit, offset, size, take(input, 8));
}

static void step_mmio_read(struct machine *machine, struct input *input)
{
    uint64_t offset = take(input, 2);

    viommu_mmio_read(machine->unit, offset, 1u << (take(input, 1) & 3));
}

/* One quadword anywhere in memory: a table entry or a descriptor. */
static void step_store(struct machine *machine, struct input *input)
{
    size_t at = take(input, 2) * 8 % RAM_SIZE;
    uint64_t value = take(input, 8);

    memcpy(machine->ram + at, &value, sizeof(value));
}

/* The same, with an entry that is likely to mean something: a page of memory and low flag bits. */
static void step_entry(struct machine *machine, struct input *input)
{
    size_t at = take(input, 2) * 8 % RAM_SIZE;
    uint64_t value = (take(input, 1) % 64) << 12 | (take(input, 2) & 0xfff);

    memcpy(machine->ram + at, &value, sizeof(value));
}

static struct viommu_dma_request take_request(struct input *input)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    uint8_t shape = (uint8_t)take(input, 1);

    request.address = shape & 1 ? take(input, 8) : take(input, 3);
    request.length = take(input, 2) % 0x3000;
    request.pasid = shape & 2 ? (uint32_t)take(input, 3) : VIOMMU_PASID_NONE;
    request.access = (shape >> 2) & 15;
    request.type = (shape >> 6) & 3;
    return request;
}

static void step_dma(struct machine *machine, struct input *input)
{
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(machine->emulated);
    struct viommu_dma_request request = take_request(input);
    struct viommu_dma_result result;
    uint8_t buffer[0x3000] = {0x5a};

    request.requester_id = EMULATED_DEVFN;
    viommu_dma_translate(space, &request, &result);
    if (request.access & VIOMMU_DMA_WRITE)
        viommu_dma_write(space, &request, buffer, &result);
    else
        viommu_dma_read(space, &request, buffer, &result);
}

static void step_map(struct machine *machine, struct input *input)
{
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(machine->emulated);
    struct viommu_dma_request request = take_request(input);
    struct viommu_dma_mapping mapping = {0};
    struct viommu_dma_result result;

    request.requester_id = EMULATED_DEVFN;
    if (viommu_dma_map(space, &request, &mapping, &result))
        return;
    if ((uint8_t *)mapping.host < machine->ram ||
        (uint8_t *)mapping.host + mapping.length > machine->ram + RAM_SIZE)
        abort();
    viommu_dma_unmap(space, &mapping);
}

static void step_hardware_dma(struct machine *machine, struct input *input)
{
    struct viommu_dma_request request = take_request(input);
    struct viommu_dma_result result;
    uint8_t buffer[0x3000] = {0xa5};

    if (request.access & VIOMMU_DMA_WRITE)
        viommu_soft_device_write(machine->hardware, &request, buffer, &result);
    else
        viommu_soft_device_read(machine->hardware, &request, buffer, &result);
}

static void step_reset(struct machine *machine, struct input *input)
{
    (void)input;
    viommu_reset(machine->unit);
}

static void step_replug(struct machine *machine, struct input *input)
{
    (void)input;
    if (machine->assignment)
        viommu_assign_detach(machine->assignment);
    machine->assignment = NULL;
    viommu_assign_attach(machine->assign, machine->assigned, DEVICE, &machine->assignment, NULL);
}

/* A register that exists; a value with few bits, or any. */
static void step_register(struct machine *machine, struct input *input)
{
    static const uint16_t offsets[] = {
        0x18, 0x20, 0x28, 0x34, 0x38, 0x3c,  0x40,  0x44,  0x64,  0x68,  0x6c,  0x70,  0x78,
        0x80, 0x88, 0x90, 0x9c, 0xa0, 0xa4,  0xa8,  0xac,  0xb0,  0xb8,  0xc0,  0xc8,  0xd0,
        0xdc, 0xe0, 0xe4, 0xe8, 0xec, 0x500, 0x508, 0x600, 0x608, 0x60c, 0x618, 0x100, 0x108,
    };
    uint8_t which = (uint8_t)take(input, 1), shape = (uint8_t)take(input, 1);
    uint64_t offset = offsets[which % (sizeof(offsets) / sizeof(offsets[0]))], value;

    if (shape & 1)
        value = UINT64_C(1) << (shape >> 2) | UINT64_C(1) << (take(input, 1) & 63);
    else
        value = take(input, 4) | (uint64_t)(shape >> 2) << 32;
    viommu_mmio_write(machine->unit, offset, shape & 2 ? 8 : 4, value);
    viommu_mmio_read(machine->unit, offset, shape & 2 ? 8 : 4);
}

/* Descriptors that mean something, where the queue's tail is; the tail moves behind them. */
static void step_descriptors(struct machine *machine, struct input *input)
{
    uint64_t queue = viommu_mmio_read(machine->unit, 0x90, 8);
    uint64_t tail = viommu_mmio_read(machine->unit, 0x88, 8);
    uint64_t size = UINT64_C(4096) << (queue & 7), width = queue >> 11 & 1 ? 32 : 16;

    for (unsigned int count = 1 + (take(input, 1) & 3); count; count--) {
        uint64_t at = (queue & ~UINT64_C(0xfff)) + tail, type = take(input, 1);
        uint64_t words[4] = {(type & 15) | (type >> 4 & 3) << 4 | (type >> 6) << 9};

        words[0] |= take(input, 1) << 16 | take(input, 4) << 32;
        words[1] = take(input, 3) << 12 | take(input, 1);
        if (at < RAM_SIZE && at + width <= RAM_SIZE)
            memcpy(machine->ram + at, words, width);
        tail = (tail + width) % size;
    }
    viommu_mmio_write(machine->unit, 0x88, 8, tail);
}

typedef void step_fn(struct machine *machine, struct input *input);

static step_fn *const steps[] = {
    step_mmio_write,   step_mmio_write,   step_mmio_write,  step_mmio_read,   step_store,
    step_entry,        step_entry,        step_dma,         step_dma,         step_map,
    step_hardware_dma, step_hardware_dma, step_reset,       step_replug,      step_register,
    step_register,     step_register,     step_descriptors, step_descriptors, step_descriptors,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct input input = {bytes, length};
    struct machine machine;

    create(&machine, (uint8_t)take(&input, 1));
    for (int i = 0; i < MOST_STEPS && input.length; i++)
        steps[take(&input, 1) % (sizeof(steps) / sizeof(steps[0]))](&machine, &input);
    destroy(&machine);
    return 0;
}
