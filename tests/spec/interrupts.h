/* SPDX-License-Identifier: MIT */
/* Interrupt requests, and the table that remaps them, as a guest writes it. */
#ifndef SPEC_INTERRUPTS_H
#define SPEC_INTERRUPTS_H

#include <string.h>

#include "guest_tables.h"
#include "model/vtd/register_map.h"

#define TABLE      UINT64_C(0x400000) /* room for 65536 entries */
#define TABLE_SIZE UINT64_C(7)        /* S: 256 entries, unless a test says otherwise */

#define IRTA_EIME   (UINT64_C(1) << 11 | TABLE_SIZE)
#define IRTA_XAPIC  TABLE_SIZE
#define IRTA_S(n)   (uint64_t)(n)
#define IRTE_P      (UINT64_C(1) << 0)
#define IRTE_FPD    (UINT64_C(1) << 1)
#define IRTE_DM     (UINT64_C(1) << 2)
#define IRTE_RH     (UINT64_C(1) << 3)
#define IRTE_TM     (UINT64_C(1) << 4)
#define IRTE_DLM(n) ((uint64_t)(n) << 5)
#define IRTE_AVAIL  (UINT64_C(15) << 8)
#define IRTE_URG    (UINT64_C(1) << 14)
#define IRTE_IM     (UINT64_C(1) << 15)
#define IRTE_V(n)   ((uint64_t)(n) << 16)
#define IRTE_DST(n) ((uint64_t)(n) << 32)
/* Second quadword, beside SID. */
#define IRTE_SQ(n)  ((uint64_t)(n) << 16)
#define IRTE_SVT(n) ((uint64_t)(n) << 18)

#define SHV (UINT64_C(1) << 3)

/* Interrupt-entry-cache invalidation: global, or `mask` entries around an index. */
#define IEC                UINT64_C(4)
#define IEC_INDEX(i, mask) (UINT64_C(1) << 4 | (uint64_t)(mask) << 27 | (uint64_t)(i) << 32)

/* The address of a request in remappable format. */
static inline uint64_t remappable(unsigned int handle)
{
    return UINT64_C(0xfee00010) | (handle & 0x7fff) << 5 | (handle >> 15 & 1) << 2;
}

/* As software does: an entry becomes present last. */
static inline void write_entry(struct machine *machine, uint64_t index, uint64_t low, uint64_t high)
{
    store64(machine, TABLE + index * 16 + 8, high);
    store64(machine, TABLE + index * 16, low);
}

/* Latch the table and switch on. irta: EIME and S. */
static inline void interrupts_on(struct machine *machine, uint64_t irta)
{
    write64(machine, VTD_IRTA, TABLE | irta);
    write32(machine, VTD_GCMD, VTD_GCMD_SIRTP);
    write32(machine, VTD_GCMD, VTD_GCMD_IRE);
}

static inline struct viommu_interrupt interrupt(struct machine *machine, uint64_t address,
                                                uint32_t data, uint16_t requester_id)
{
    const struct viommu_interrupt_request request = {
        .address = address, .data = data, .requester_id = requester_id};
    struct viommu_interrupt out;

    memset(&out, 0xa5, sizeof(out));
    viommu_interrupt_remap(machine->viommu, &request, &out);
    return out;
}

/* The request is blocked, and the guest reads why; the record is cleared. */
static inline void interrupt_faults(struct machine *machine, uint64_t address, uint32_t data,
                                    uint16_t requester_id, uint32_t reason, unsigned int index)
{
    struct viommu_interrupt out = interrupt(machine, address, data, requester_id);
    uint32_t first = (uint32_t)field_get(VTD_FSTS_FRI, read32(machine, VTD_FSTS));
    uint64_t record = machine_fault_record(machine, first);

    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_BLOCKED);
    assert_false(viommu_interrupt_delivers(&out));
    assert_int_equal(out.reason, reason);
    assert_int_equal(read32(machine, VTD_FSTS) & VTD_FSTS_PPF, VTD_FSTS_PPF);
    assert_int_equal(read64(machine, record + 8),
                     VTD_FRCD_F | field_prep(VTD_FRCD_FR, reason) | requester_id);
    assert_int_equal(read64(machine, record), (uint64_t)(index & 0xffff) << 48);
    write32(machine, record + 12, BIT64(31));
    assert_int_equal(read32(machine, VTD_FSTS) & VTD_FSTS_PPF, 0);
}

static inline struct viommu_stats stats_of(struct machine *machine)
{
    struct viommu_stats stats = {.size = sizeof(stats)};

    viommu_get_stats(machine->viommu, &stats);
    return stats;
}

/* A machine with a table of 256 entries, none present, in force. */
#define WITH_INTERRUPTS(name, properties)                                                          \
    WITH_MACHINE(name, properties, interrupts_on(&machine, IRTA_S(TABLE_SIZE)))

#endif
