/* SPDX-License-Identifier: MIT */
/* Fault records (VT-d 5.0, 11.4.7). */
#include "world.h"

#define FSTS     0x34
#define FSTS_PFO 1u
#define FSTS_PPF 2u

static uint64_t record_offset(const struct world *world, unsigned int index)
{
    return (world->oracle.cap >> 24 & 0x3ff) * 16 + index * 16;
}

void world_clear_faults(struct world *world)
{
    uint32_t status = viommu_mmio_read(world->unit, FSTS, 4);

    if (!(status & (FSTS_PPF | FSTS_PFO)))
        return;
    for (unsigned int i = 0; i <= (world->oracle.cap >> 40 & 0xff); i++)
        viommu_mmio_write(world->unit, record_offset(world, i) + 8, 8, UINT64_C(1) << 63);
    viommu_mmio_write(world->unit, FSTS, 4, FSTS_PFO);
}

bool world_no_fault(struct world *world)
{
    uint32_t status = viommu_mmio_read(world->unit, FSTS, 4);
    uint64_t at = record_offset(world, status >> 8 & 0xff);

    if (!(status & FSTS_PPF))
        return true;
    return world_disagree(world, "a fault is recorded, reason 0x%02x, where the oracle sees none",
                          (unsigned int)(viommu_mmio_read(world->unit, at + 8, 8) >> 32 & 0xff));
}

bool world_check_fault(struct world *world, uint64_t upper, uint64_t lower)
{
    uint32_t status = viommu_mmio_read(world->unit, FSTS, 4);
    uint64_t at = record_offset(world, status >> 8 & 0xff), low, high;

    if (!(status & FSTS_PPF))
        return world_disagree(world, "no fault is recorded, the oracle sees reason 0x%02x",
                              (unsigned int)(upper >> 32 & 0xff));
    low = viommu_mmio_read(world->unit, at, 8);
    high = viommu_mmio_read(world->unit, at + 8, 8);
    world->reasons[upper >> 32 & 0xff]++;
    if (high == upper && low == lower)
        return true;
    return world_disagree(world, "fault record %016llx %016llx, the oracle writes %016llx %016llx",
                          (unsigned long long)high, (unsigned long long)low,
                          (unsigned long long)upper, (unsigned long long)lower);
}

bool world_check_record(struct world *world, const struct oracle_request *request, uint64_t address,
                        uint8_t reason)
{
    if (!reason)
        return world_no_fault(world);
    return world_check_fault(world, oracle_record(&world->oracle, request, reason),
                             oracle_record_address(&world->oracle, address));
}
