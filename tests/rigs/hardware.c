/* SPDX-License-Identifier: MIT */
#include "hardware.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "spec.h"

#define DEBUGFS "/sys/kernel/debug/iommu/intel/"

#define ADDRESS UINT64_C(0x000ffffffffff000)

struct hardware_entry hardware_entry(const char *bdf, uint32_t pasid)
{
    FILE *file = fopen(DEBUGFS "dmar_translation_struct", "r");
    struct hardware_entry entry = {.present = false};
    uint64_t high, middle, low;
    char line[512], device[16];
    int number;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%15s 0x%*x:0x%*x 0x%*x:0x%*x %d 0x%" SCNx64 ":0x%" SCNx64 ":0x%" SCNx64,
                   device, &number, &high, &middle, &low) != 5 ||
            strcmp(device, bdf) || (uint32_t)number != pasid)
            continue;
        entry.present = low & 1;
        entry.pgtt = (low >> 6) & 7;
        entry.second_stage = low & ADDRESS;
        entry.domain = (uint16_t)middle;
        entry.first_stage = high & ADDRESS;
    }
    fclose(file);
    return entry;
}

static struct hardware_descriptor decode(uint64_t low, uint64_t high)
{
    return (struct hardware_descriptor){
        .type = low & 0xf,
        .granularity = (low >> 4) & 3,
        .domain = (uint16_t)(low >> 16),
        .pasid = (low >> 32) & 0xfffff,
        .address = high & ~UINT64_C(0xfff),
        .mask = high & 0x3f,
        .leaf = high & 0x40,
    };
}

/* The whole ring, and where its tail is: the next one goes there. */
static unsigned int read_ring(struct hardware_descriptor ring[HARDWARE_DESCRIPTORS])
{
    FILE *file = fopen(DEBUGFS "invalidation_queue", "r");
    unsigned int tail = 0, index;
    uint64_t low, high;
    char line[512];

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, " Base: 0x%*x Head: %*u Tail: %u", &tail) == 1)
            continue;
        if (sscanf(line, "%u %" SCNx64 " %" SCNx64, &index, &low, &high) == 3 &&
            index < HARDWARE_DESCRIPTORS)
            ring[index] = decode(low, high);
    }
    fclose(file);
    return tail;
}

void hardware_descriptors(struct hardware_queue *queue)
{
    static struct hardware_descriptor ring[HARDWARE_DESCRIPTORS];
    static unsigned int seen = UINT32_MAX;
    unsigned int tail = read_ring(ring);

    queue->count = 0;
    for (unsigned int i = seen == UINT32_MAX ? tail : seen; i != tail;
         i = (i + 1) % HARDWARE_DESCRIPTORS)
        queue->list[queue->count++] = ring[i];
    seen = tail;
}

unsigned int hardware_count(const struct hardware_queue *queue, enum hardware_descriptor_type type)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < queue->count; i++)
        count += queue->list[i].type == type;
    return count;
}

bool hardware_covers(const struct hardware_queue *queue, uint16_t domain, uint32_t pasid,
                     uint64_t address)
{
    const struct hardware_descriptor *descriptor = queue->list;
    uint64_t size;

    for (unsigned int i = 0; i < queue->count; i++, descriptor++) {
        if (descriptor->type != HARDWARE_PIOTLB || descriptor->domain != domain ||
            descriptor->pasid != pasid)
            continue;
        size = UINT64_C(4096) << descriptor->mask;
        if (descriptor->granularity == 2 ||
            (address & ~(size - 1)) == (descriptor->address & ~(size - 1)))
            return true;
    }
    return false;
}
