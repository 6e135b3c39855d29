/* SPDX-License-Identifier: MIT */
/*
 * The guest's door under a fuzzer: registers, tables in memory, queues, interrupts, and DMA of an
 * emulated function with a device TLB and of an assigned one, in any order, with any values. The
 * input is a program of small operations (below) for the machine of tests/random. Nothing may
 * crash, leak, loop, or let a DMA leave guest memory.
 *
 * Built with clang and -Dfuzz=true as a libFuzzer program; otherwise as a program that runs the
 * files that it is given.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "random/input.h"
#include "random/world.h"

#define MOST_STEPS 256
#define LONGEST    0x3000

static void start(struct world *world, uint64_t choice)
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
        "device-iotlb=on,page-requests=on,second-stage=on,nested=on,pasid-bits=8,intremap=on,eim=on",
        "device-iotlb=on,page-requests=on,pasid-bits=20,pmr=on,intremap=on,posted=on",
        "device-iotlb=on,page-requests=on,second-stage=on,nested=on,pasid-bits=8,sanitize=on",
        "scalable=off,device-iotlb=on,intremap=on,ioapic-any-source=on,pmr=on",
        "second-stage=on,first-stage=off,device-iotlb=on,page-requests=on,sanitize=on",
    };
    struct test_case test = {.host = choice & 0x80 ? CASE_HOST_NONE : CASE_HOST_HOARD};
    size_t count = sizeof(properties) / sizeof(properties[0]);

    snprintf(test.properties, sizeof(test.properties), "%s", properties[(choice & 0x7f) % count]);
    world_start(world, &test);
}

/* Registers */

static void step_mmio_write(struct world *world, struct input *input)
{
    uint64_t offset = input_take(input, 2);
    unsigned int size = 1u << (input_take(input, 1) & 3);

    viommu_mmio_write(world->unit, offset, size, input_take(input, 8));
}

static void step_mmio_read(struct world *world, struct input *input)
{
    uint64_t offset = input_take(input, 2);

    viommu_mmio_read(world->unit, offset, 1u << (input_take(input, 1) & 3));
}

/* A register that exists; a value with few bits, or any. */
static void step_register(struct world *world, struct input *input)
{
    static const uint16_t offsets[] = {
        0x18, 0x20, 0x28, 0x34, 0x38, 0x3c,  0x40,  0x44,  0x64,  0x68,  0x6c,  0x70,  0x78,
        0x80, 0x88, 0x90, 0x9c, 0xa0, 0xa4,  0xa8,  0xac,  0xb0,  0xb8,  0xc0,  0xc8,  0xd0,
        0xdc, 0xe0, 0xe4, 0xe8, 0xec, 0x500, 0x508, 0x600, 0x608, 0x60c, 0x618, 0x100, 0x108,
    };
    uint64_t which = input_take(input, 1), shape = input_take(input, 1), value;
    uint64_t offset = offsets[which % (sizeof(offsets) / sizeof(offsets[0]))];

    if (shape & 1)
        value = UINT64_C(1) << (shape >> 2) | UINT64_C(1) << (input_take(input, 1) & 63);
    else
        value = input_take(input, 4) | (shape >> 2) << 32;
    viommu_mmio_write(world->unit, offset, shape & 2 ? 8 : 4, value);
    viommu_mmio_read(world->unit, offset, shape & 2 ? 8 : 4);
}

static void step_reset(struct world *world, struct input *input)
{
    (void)input;
    viommu_reset(world->unit);
    world->tag_count = 0;
}

/* Memory */

static void store(struct world *world, uint64_t gpa, const void *bytes, size_t size)
{
    uint8_t *at = world_at(world, gpa);

    if (at && world_at(world, gpa + size - 1) == at + size - 1)
        memcpy(at, bytes, size);
}

/* One quadword anywhere in memory: a table entry or a descriptor. */
static void step_store(struct world *world, struct input *input)
{
    uint64_t gpa = input_take(input, 2) * 8, value = input_take(input, 8);

    store(world, gpa, &value, sizeof(value));
}

/* The same, with an entry that is likely to mean something: a page of memory and low flag bits. */
static void step_entry(struct world *world, struct input *input)
{
    uint64_t gpa = input_take(input, 2) * 8 % 0x40000, page = input_take(input, 1) % 64;
    uint64_t value = page << 12 | (input_take(input, 2) & 0xfff);

    store(world, gpa, &value, sizeof(value));
}

/* Descriptors that mean something, where the queue's tail is; the tail moves behind them. */
static void step_descriptors(struct world *world, struct input *input)
{
    uint64_t queue = viommu_mmio_read(world->unit, 0x90, 8);
    uint64_t tail = viommu_mmio_read(world->unit, 0x88, 8);
    uint64_t size = UINT64_C(4096) << (queue & 7), width = queue >> 11 & 1 ? 32 : 16;

    for (uint64_t count = 1 + (input_take(input, 1) & 3); count; count--) {
        uint64_t type = input_take(input, 1);
        uint64_t words[4] = {(type & 15) | (type >> 4 & 3) << 4 | (type >> 6) << 9};

        words[0] |= input_take(input, 1) << 16 | input_take(input, 4) << 32;
        words[1] = input_take(input, 3) << 12 | input_take(input, 1);
        store(world, (queue & ~UINT64_C(0xfff)) + tail, words, width);
        tail = (tail + width) % size;
    }
    viommu_mmio_write(world->unit, 0x88, 8, tail);
}

/* DMA */

static struct viommu_dma_request take_request(struct input *input)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    uint64_t shape = input_take(input, 1);

    request.address = shape & 1 ? input_take(input, 8) : input_take(input, 3);
    request.length = input_take(input, 2) % LONGEST;
    request.pasid = shape & 2 ? (uint32_t)input_take(input, 3) : VIOMMU_PASID_NONE;
    request.requester_id = WORLD_EMULATED;
    request.access = shape >> 2 & 15;
    request.type = shape >> 6 & 3;
    return request;
}

static void step_dma(struct world *world, struct input *input)
{
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(world->emulated);
    struct viommu_dma_request request = take_request(input);
    struct viommu_dma_result result;
    uint8_t buffer[LONGEST] = {0x5a};

    viommu_dma_translate(space, &request, &result);
    if (request.access & VIOMMU_DMA_WRITE)
        viommu_dma_write(space, &request, buffer, &result);
    else
        viommu_dma_read(space, &request, buffer, &result);
}

static void step_map(struct world *world, struct input *input)
{
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(world->emulated);
    struct viommu_dma_request request = take_request(input);
    struct viommu_dma_mapping mapping = {0};
    struct viommu_dma_result result;
    const uint8_t *first;

    if (viommu_dma_map(space, &request, &mapping, &result))
        return;
    first = world_at(world, mapping.gpa);
    if (!first || mapping.host != first ||
        world_at(world, mapping.gpa + mapping.length - 1) != first + mapping.length - 1)
        abort();
    viommu_dma_unmap(space, &mapping);
}

static void step_hardware_dma(struct world *world, struct input *input)
{
    struct viommu_dma_request request = take_request(input);
    struct viommu_dma_result result;
    uint8_t buffer[LONGEST] = {0xa5};

    if (request.access & VIOMMU_DMA_WRITE)
        viommu_soft_device_write(world->hardware, &request, buffer, &result);
    else
        viommu_soft_device_read(world->hardware, &request, buffer, &result);
}

static void step_replug(struct world *world, struct input *input)
{
    (void)input;
    if (world->assignment)
        viommu_assign_detach(world->assignment);
    world->assignment = NULL;
    viommu_assign_attach(world->assign, world->assigned, WORLD_HOST_DEVICE, &world->assignment,
                         NULL);
}

/* Device TLB and interrupts */

static void step_page_request(struct world *world, struct input *input)
{
    struct viommu_pci_page_request request = VIOMMU_PCI_PAGE_REQUEST_INIT;
    uint64_t shape = input_take(input, 1);

    request.address = input_take(input, shape & 1 ? 8 : 3);
    request.group = (uint16_t)input_take(input, 2);
    request.access = shape >> 2 & 15;
    request.last = shape >> 6 & 1;
    if (shape & 2)
        request.pasid = (uint32_t)input_take(input, 3);
    viommu_pci_device_page_request(world->emulated, &request);
}

/* How invalidations are answered; now, those that were not. Or the device TLB goes or comes. */
static void step_device_tlb(struct world *world, struct input *input)
{
    static const int results[] = {0, -ETIMEDOUT, -EIO, 0};
    uint64_t shape = input_take(input, 1);

    world->answers_later = shape & 1;
    if (shape & 2 && world->tag_count)
        viommu_pci_device_invalidation_done(world->emulated, world->tags[--world->tag_count],
                                            results[shape >> 2 & 3]);
    if (shape >> 5)
        return;
    world->tag_count = 0;
    viommu_pci_device_unset_ats(world->emulated);
    viommu_pci_device_set_ats(world->emulated, &world_ats_ops, world, NULL);
}

static void deliver(void *opaque, const struct viommu_interrupt *interrupt)
{
    (void)opaque;
    if (!viommu_interrupt_delivers(interrupt))
        abort();
}

/* Mostly in the interrupt range. */
static void step_interrupt(struct world *world, struct input *input)
{
    uint64_t shape = input_take(input, 1), address = input_take(input, 3);
    struct viommu_interrupt_request request = {.address = 0xfee00000 | (address & 0xfffff),
                                               .data = (uint32_t)input_take(input, 4),
                                               .flags = shape & 3};

    if (shape & 4)
        request.address ^= address << 12;
    request.requester_id = shape & 8 ? (uint16_t)input_take(input, 2) : WORLD_EMULATED;
    viommu_interrupt_send(world->unit, &request, deliver, NULL, &(struct viommu_interrupt){0});
}

typedef void step_fn(struct world *world, struct input *input);

/* In the order of tests/fuzz/make-seeds; what is there often is tried often. */
static step_fn *const steps[] = {
    step_mmio_write,  step_mmio_read,    step_store,       step_entry,        step_dma,
    step_map,         step_hardware_dma, step_reset,       step_replug,       step_register,
    step_descriptors, step_page_request, step_device_tlb,  step_interrupt,    step_mmio_write,
    step_mmio_write,  step_entry,        step_dma,         step_hardware_dma, step_register,
    step_register,    step_descriptors,  step_descriptors, step_interrupt,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct input input = {bytes, length};
    static struct world world;

    start(&world, input_take(&input, 1));
    for (int i = 0; i < MOST_STEPS && input.length; i++)
        steps[input_take(&input, 1) % (sizeof(steps) / sizeof(steps[0]))](&world, &input);
    world_end(&world);
    return 0;
}
