/* SPDX-License-Identifier: MIT */
/* The invalidation queue and its descriptors (VT-d 5.0, 6.5.2). */
#include "descriptors.h"

/* IQERCD_REG.IQEI */
enum {
    TAIL = 1,
    FETCH,
    TYPE,
    RESERVED,
    WIDTH,
    TAIL_ALIGNMENT,
    MODE
};

#define WITH_QUEUE(name, properties, wide)                                                         \
    WITH_MACHINE(name, properties, machine_queue_start(&machine, QUEUE, wide))

static struct viommu_stats stats_of(struct machine *machine)
{
    struct viommu_stats stats = {.size = sizeof(stats)};

    viommu_get_stats(machine->viommu, &stats);
    return stats;
}

/* The queue stopped at `head` for this reason. Clears it. */
static void expect_error(struct machine *machine, uint64_t head, unsigned int reason)
{
    assert_true(queue_stopped(machine));
    assert_int_equal(read64(machine, VTD_IQERCD) & 15, reason);
    assert_int_equal(read64(machine, VTD_IQH), head);
}

/* Off and on again: an error is forgotten, the queue is empty. */
static void restart(struct machine *machine, bool wide)
{
    write32(machine, VTD_GCMD,
            read32(machine, VTD_GSTS) & ~(uint32_t)VTD_GCMD_QIE & ~(uint32_t)VTD_GCMD_SRTP);
    write32(machine, VTD_FSTS, VTD_FSTS_IQE);
    machine_queue_start(machine, QUEUE, wide);
}

/* One descriptor in an empty queue; the queue takes it, or stops for this reason. */
static void submit_expecting(struct machine *machine, bool wide, uint64_t qw0, uint64_t qw1,
                             unsigned int reason)
{
    restart(machine, wide);
    machine_submit(machine, qw0, qw1);
    if (reason) {
        expect_error(machine, 0, reason);
    } else if (queue_stopped(machine) || read64(machine, VTD_IQH) != read64(machine, VTD_IQT)) {
        fail_msg("descriptor %llx %llx is not taken", (unsigned long long)qw0,
                 (unsigned long long)qw1);
    }
}

WITH_QUEUE(wait_status, "", false)
{
    store64(machine, STATUS, UINT64_MAX);
    wait_for(machine, 0x12345678);
    assert_int_equal(load64(machine, STATUS), 0xffffffff12345678);
    machine_submit(machine, WAIT | WAIT_SW | WAIT_FN | WAIT_DATA(7), STATUS + 4);
    assert_int_equal(load64(machine, STATUS), 0x0000000712345678);
    machine_submit(machine, WAIT | WAIT_DATA(8), STATUS);
    assert_int_equal(load64(machine, STATUS), 0x0000000712345678);
    assert_int_equal(stats_of(machine).waits, 3);
    assert_int_equal(stats_of(machine).descriptors, 3);
}

static void unmask(struct machine *machine)
{
    write64(machine, VTD_IEADDR, 0x1fee00000);
    write32(machine, VTD_IEDATA, 0x55);
    write32(machine, VTD_IECTL, 0);
}

WITH_QUEUE(wait_interrupt, "", false)
{
    unmask(machine);
    machine_submit(machine, WAIT | WAIT_IF, 0);
    assert_int_equal(read32(machine, VTD_ICS), 1);
    assert_int_equal(machine->msi_count, 1);
    assert_int_equal(machine->msi[0].address, 0x1fee00000);
    assert_int_equal(machine->msi[0].data, 0x55);
    machine_submit(machine, WAIT | WAIT_IF, 0);
    assert_int_equal(machine->msi_count, 1);
    write32(machine, VTD_ICS, 1);
    assert_int_equal(read32(machine, VTD_ICS), 0);
    machine_submit(machine, WAIT | WAIT_IF, 0);
    assert_int_equal(machine->msi_count, 2);
}

WITH_QUEUE(wait_interrupt_masked, "", false)
{
    unmask(machine);
    write32(machine, VTD_IECTL, VTD_ECTL_IM);
    machine_submit(machine, WAIT | WAIT_IF, 0);
    assert_int_equal(machine->msi_count, 0);
    assert_int_equal(read32(machine, VTD_IECTL), VTD_ECTL_IM | VTD_ECTL_IP);
    write32(machine, VTD_IECTL, 0);
    assert_int_equal(machine->msi_count, 1);
    write32(machine, VTD_ICS, 1);

    write32(machine, VTD_IECTL, VTD_ECTL_IM);
    machine_submit(machine, WAIT | WAIT_IF, 0);
    write32(machine, VTD_ICS, 1);
    assert_int_equal(read32(machine, VTD_IECTL), VTD_ECTL_IM);
    write32(machine, VTD_IECTL, 0);
    assert_int_equal(machine->msi_count, 1);
}

/* Head and tail are byte offsets; the queue goes round. */
static void goes_round(struct machine *machine, bool wide, unsigned int pages_log2)
{
    uint64_t granule = wide ? 32 : 16;
    uint64_t size = UINT64_C(4096) << pages_log2;

    write32(machine, VTD_GCMD, 0);
    write64(machine, VTD_IQT, 0);
    write64(machine, VTD_IQA, QUEUE | (wide ? VTD_IQA_DW : 0) | pages_log2);
    write32(machine, VTD_GCMD, VTD_GCMD_QIE);
    for (uint64_t i = 1; i <= size / granule + 3; i++) {
        wait_for(machine, (uint32_t)i);
        assert_int_equal(load32(machine, STATUS), i);
        assert_int_equal(read64(machine, VTD_IQH), i * granule % size);
    }
}

WITH_QUEUE(sizes, "", false)
{
    for (unsigned int pages_log2 = 0; pages_log2 < 8; pages_log2++) {
        goes_round(machine, false, pages_log2 < 7 ? pages_log2 : 6);
        goes_round(machine, true, pages_log2 < 7 ? pages_log2 : 6);
    }
}

/* All but one place of the largest queue in one write of the tail. */
WITH_QUEUE(full_queue, "", false)
{
    uint64_t base = 0x800000, size = UINT64_C(4096) << 7;

    write32(machine, VTD_GCMD, 0);
    write64(machine, VTD_IQT, 0);
    write64(machine, VTD_IQA, base | 7);
    write32(machine, VTD_GCMD, VTD_GCMD_QIE);
    for (uint64_t i = 0; i < size - 16; i += 16) {
        store64(machine, base + i, i + 32 < size ? 0x2 | G(1) : WAIT | WAIT_SW | WAIT_DATA(1));
        store64(machine, base + i + 8, i + 32 < size ? 0 : STATUS);
    }
    write64(machine, VTD_IQT, size - 16);
    assert_int_equal(load32(machine, STATUS), 1);
    assert_int_equal(stats_of(machine).descriptors, size / 16 - 1);
}

WITH_QUEUE(tail_as_dword, "", true)
{
    store64(machine, QUEUE, WAIT | WAIT_SW | WAIT_DATA(3));
    store64(machine, QUEUE + 8, STATUS);
    write32(machine, VTD_IQT + 4, 0);
    assert_int_equal(load32(machine, STATUS), 0);
    write32(machine, VTD_IQT, 32);
    assert_int_equal(load32(machine, STATUS), 3);
}

WITH_QUEUE(enable, "", false)
{
    wait_for(machine, 1);
    assert_int_equal(read64(machine, VTD_IQH), 16);
    write32(machine, VTD_GCMD, 0);
    assert_int_equal(read32(machine, VTD_GSTS), 0);
    assert_int_equal(read64(machine, VTD_IQH), 0);
    write64(machine, VTD_IQT, 0);
    wait_for(machine, 2);
    assert_int_equal(load32(machine, STATUS), 1);
    write32(machine, VTD_GCMD, VTD_GCMD_QIE);
    assert_int_equal(load32(machine, STATUS), 2);
    assert_int_equal(read64(machine, VTD_IQH), 16);
}

WITH_QUEUE(bad_tail, "", false)
{
    write64(machine, VTD_IQT, 4096);
    expect_error(machine, 0, TAIL);
    restart(machine, false);
    write64(machine, VTD_IQT, 0x7fff0);
    expect_error(machine, 0, TAIL);
    restart(machine, true);
    write64(machine, VTD_IQT, 48);
    expect_error(machine, 0, TAIL_ALIGNMENT);
}

/* The registers of the queue change under it. */
WITH_QUEUE(registers_change, "", false)
{
    write64(machine, VTD_IQA, QUEUE | 3);
    for (unsigned int i = 0; i < 300; i++)
        wait_for(machine, i);
    write64(machine, VTD_IQA, QUEUE);
    write64(machine, VTD_IQT, 0);
    expect_error(machine, 4800, TAIL);
    restart(machine, false);
    wait_for(machine, 9);
    write64(machine, VTD_IQA, QUEUE | VTD_IQA_DW);
    write64(machine, VTD_IQT, 64);
    expect_error(machine, 16, TAIL);
}

WITH_QUEUE(bad_fetch, "", false)
{
    write32(machine, VTD_GCMD, 0);
    write64(machine, VTD_IQT, 0);
    write64(machine, VTD_IQA, GUEST_NOWHERE);
    write32(machine, VTD_GCMD, VTD_GCMD_QIE);
    assert_false(queue_stopped(machine));
    write64(machine, VTD_IQT, 16);
    expect_error(machine, 0, FETCH);
}

static void expect_unknown(struct machine *machine, bool wide)
{
    static const uint8_t unknown[] = {0, 3, 8, 9, 10, 11, 12, 13, 14, 15};

    for (unsigned int i = 0; i < SPEC_COUNT(unknown); i++)
        submit_expecting(machine, wide, unknown[i], 0, TYPE);
    for (unsigned int bit = 9; bit < 12; bit++)
        submit_expecting(machine, wide, WAIT | UINT64_C(1) << bit, 0, TYPE);
}

WITH_QUEUE(unknown_types, "", false)
{
    expect_unknown(machine, false);
    expect_unknown(machine, true);
    machine_set_root(machine, GUEST_ROOT | TTM_SCALABLE);
    expect_unknown(machine, true);
}

WITH_QUEUE(types_of_mode, "", false)
{
    for (unsigned int wide = 0; wide < 2; wide++) {
        submit_expecting(machine, wide, 6 | G(2), 0, TYPE);
        submit_expecting(machine, wide, 7 | G(3), 0, TYPE);
    }
    machine_set_root(machine, GUEST_ROOT | TTM_SCALABLE);
    submit_expecting(machine, true, 6 | G(2), 0, 0);
    submit_expecting(machine, true, 7 | G(3), 0, 0);
    machine_set_root(machine, GUEST_ROOT | TTM_ABORT);
    submit_expecting(machine, true, 6 | G(2), 0, 0);
}

/* Written anew from the specification's figures: what is reserved, not what is defined. */
static const struct reserved {
    const char *name;
    uint64_t qw0; /* a good descriptor */
    uint64_t reserved0, reserved1;
} descriptors[] = {
    {"context", 0x1 | G(1), 0xfffc00000000f1c0, UINT64_MAX},
    {"IOTLB", 0x2 | G(1), 0xffffffff0000f100, 0x0000000000000f80},
    {"interrupt", 0x4, 0xffff000007fff1e0, UINT64_MAX},
    {"wait", 0x5, 0x00000000fffff180, 0x0000000000000003},
    {"PIOTLB", 0x6 | G(2), 0xfff000000000f1c0, 0x0000000000000f80},
    {"PASID cache", 0x7 | G(3), 0xfff000000000f1c0, UINT64_MAX},
};

static void check_reserved(struct machine *machine, const struct reserved *row, unsigned int bit)
{
    uint64_t mask = UINT64_C(1) << bit;

    if (row->reserved0 & mask)
        submit_expecting(machine, true, row->qw0 | mask, 0, RESERVED);
    if (row->reserved1 & mask)
        submit_expecting(machine, true, row->qw0, mask, RESERVED);
}

WITH_QUEUE(reserved_bits, "", true)
{
    machine_set_root(machine, GUEST_ROOT | TTM_SCALABLE);
    for (unsigned int i = 0; i < SPEC_COUNT(descriptors); i++) {
        submit_expecting(machine, true, descriptors[i].qw0, 0, 0);
        for (unsigned int bit = 0; bit < 64; bit++)
            check_reserved(machine, &descriptors[i], bit);
        /* What is not reserved is taken; AM, and the wait's status address, have their own rules.
         */
        submit_expecting(machine, true,
                         descriptors[i].qw0 |
                             (~descriptors[i].reserved0 & ~UINT64_C(0xe3f) & ~WAIT_SW),
                         ~descriptors[i].reserved1 & ~UINT64_C(0x3f), 0);
    }
}

/* The upper half of a 256-bit descriptor. */
WITH_QUEUE(reserved_half, "", true)
{
    machine_set_root(machine, GUEST_ROOT | TTM_SCALABLE);
    for (unsigned int i = 0; i < SPEC_COUNT(descriptors); i++) {
        for (unsigned int bit = 0; bit < 128; bit += 21) {
            restart(machine, true);
            store64(machine, QUEUE, descriptors[i].qw0);
            store64(machine, QUEUE + 8, 0);
            store64(machine, QUEUE + 16, 0);
            store64(machine, QUEUE + 24, 0);
            store64(machine, QUEUE + 16 + bit / 64 * 8, UINT64_C(1) << bit % 64);
            write64(machine, VTD_IQT, 32);
            expect_error(machine, 0, RESERVED);
        }
    }
}

WITH_QUEUE(reserved_granularity, "", true)
{
    machine_set_root(machine, GUEST_ROOT | TTM_SCALABLE);
    submit_expecting(machine, true, 0x1 | G(0), 0, RESERVED);
    submit_expecting(machine, true, 0x2 | G(0), 0, RESERVED);
    submit_expecting(machine, true, 0x6 | G(0), 0, RESERVED);
    submit_expecting(machine, true, 0x6 | G(1), 0, RESERVED);
    submit_expecting(machine, true, 0x7 | G(2), 0, RESERVED);
    for (unsigned int g = 1; g <= 3; g++) {
        submit_expecting(machine, true, 0x1 | G(g), 0, 0);
        submit_expecting(machine, true, 0x2 | G(g), 0, 0);
    }
    submit_expecting(machine, true, 0x7 | G(0), 0, 0);
    submit_expecting(machine, true, 0x7 | G(1), 0, 0);
    submit_expecting(machine, true, 0x6 | G(3), 0, 0);
}

/* The mask is six bits wide; what it may be differs. */
WITH_QUEUE(address_masks, "", true)
{
    uint64_t most = field_get(VTD_CAP_MAMV, read64(machine, VTD_CAP));

    machine_set_root(machine, GUEST_ROOT | TTM_SCALABLE);
    for (uint64_t mask = 0; mask < 64; mask++) {
        submit_expecting(machine, true, 0x2 | G(3), UINT64_C(0xffffffff00000000) | mask,
                         mask <= most ? 0 : RESERVED);
        submit_expecting(machine, true, 0x6 | G(3), UINT64_C(0xffffffff00000000) | mask, 0);
    }
}

/* The head stays at the offender; what follows waits until software clears IQE. */
WITH_QUEUE(stops_and_goes_on, "", false)
{
    write32(machine, VTD_FECTL, 0);
    wait_for(machine, 1);
    machine_submit(machine, 0xf, 0);
    wait_for(machine, 2);
    expect_error(machine, 16, TYPE);
    assert_int_equal(load32(machine, STATUS), 1);
    assert_int_equal(machine->msi_count, 1);
    wait_for(machine, 3);
    assert_int_equal(load32(machine, STATUS), 1);
    assert_int_equal(stats_of(machine).queue_errors, 1);

    store64(machine, QUEUE + 16, 0x2 | G(1));
    write32(machine, VTD_FSTS, VTD_FSTS_IQE);
    assert_false(queue_stopped(machine));
    assert_int_equal(load32(machine, STATUS), 3);
    assert_int_equal(read64(machine, VTD_IQH), read64(machine, VTD_IQT));
}

WITH_QUEUE(bad_status_address, "haw=46", false)
{
    static const uint64_t nowhere[] = {GUEST_NOWHERE, UINT64_MAX << 2, MACHINE_MEMORY, 0xfee00000};
    struct viommu_memory_range rom = {
        .gpa = 0x8000000, .size = 4096, .flags = VIOMMU_MEMORY_READONLY};

    for (unsigned int i = 0; i < SPEC_COUNT(nowhere); i++) {
        restart(machine, false);
        machine_submit(machine, WAIT | WAIT_SW, nowhere[i]);
        expect_error(machine, 0, 0);
    }
    rom.host = machine->ram;
    assert_int_equal(viommu_memory_add(machine->memory, &rom, NULL), 0);
    restart(machine, false);
    machine_submit(machine, WAIT | WAIT_SW | WAIT_DATA(5), rom.gpa);
    assert_true(queue_stopped(machine));
    assert_int_equal(load32(machine, 0), 0);
}

/* Address bits beyond the host address width are ignored. */
WITH_QUEUE(wide_status_address, "haw=46", false)
{
    machine_submit(machine, WAIT | WAIT_SW | WAIT_DATA(6), STATUS | UINT64_C(1) << 63);
    assert_int_equal(load32(machine, STATUS), 6);
}

WITH_QUEUE(width_of_abort, "", false)
{
    machine_set_root(machine, GUEST_ROOT | TTM_ABORT);
    machine_submit(machine, WAIT, 0);
    expect_error(machine, 0, WIDTH);
    restart(machine, true);
    wait_for(machine, 1);
    assert_int_equal(load32(machine, STATUS), 1);
}

WITH_QUEUE(width_without_scalable, "scalable=off", true)
{
    machine_submit(machine, WAIT, 0);
    expect_error(machine, 0, WIDTH);
}

WITH_QUEUE(width_of_mode, "", false)
{
    machine_set_root(machine, GUEST_ROOT | TTM_SCALABLE);
    machine_submit(machine, WAIT, 0);
    expect_error(machine, 0, WIDTH);
    restart(machine, true);
    wait_for(machine, 1);
    assert_int_equal(load32(machine, STATUS), 1);
    machine_set_root(machine, GUEST_ROOT | TTM_LEGACY);
    wait_for(machine, 2);
    assert_int_equal(load32(machine, STATUS), 2);
    machine_set_root(machine, GUEST_ROOT | TTM_RESERVED);
    machine_submit(machine, WAIT, 0);
    expect_error(machine, 64, MODE);
}

WITH_QUEUE(interrupt_entries, "", true)
{
    submit_expecting(machine, true, 0x4, 0, 0);
    submit_expecting(machine, true, 0x4 | G(1) | 0x1234f8000000, 0, 0);
}

static const struct spec_rule rules[] = {
    {"VTD-6.5.2.9-1", "6.5.2.9",
     "A wait with SW writes its status data, 32 bits, to the status address.", wait_status},
    {"VTD-6.5.2.9-2", "6.5.2.9",
     "A wait with IF sets IWC and sends the invalidation event, once until IWC is cleared.",
     wait_interrupt},
    {"VTD-6.5.2.9-3", "6.5.2.9",
     "A masked invalidation event is pending in IP, and dropped when IWC is cleared.",
     wait_interrupt_masked},
    {"VTD-6.5.2.9-5", "6.5.2.9", "A status address that cannot be written stops the queue.",
     bad_status_address},
    {"VTD-6.5.2-1", "6.5.2",
     "Head and tail are byte offsets into 2^QS pages of 16- or 32-byte descriptors, and go round.",
     sizes},
    {"VTD-6.5.2-2", "6.5.2",
     "A queue filled to the last place is worked off by one write of the tail.", full_queue},
    {"VTD-6.5.2-3", "6.5.2", "The tail may be written as 32 bits.", tail_as_dword},
    {"VTD-6.5.2-4", "6.5.2", "Switched on, the queue begins at 0; switched off, it does not work.",
     enable},
    {"VTD-6.5.2.9-6", "6.5.2.9", "Status address bits beyond the host address width are ignored.",
     wide_status_address},
    {"VTD-6.5.2-6", "6.5.2", "Abort-DMA mode needs 256-bit descriptors.", width_of_abort},
    {"VTD-6.5.2-7", "6.5.2",
     "Without scalable and abort-DMA mode there are no 256-bit descriptors.",
     width_without_scalable},
    {"VTD-6.5.2-5", "6.5.2", "Scalable mode needs 256-bit descriptors; a reserved mode has none.",
     width_of_mode},
    {"VTD-6.5.2.11-1", "6.5.2.11",
     "On an error the head stays, IQE is set, and nothing is fetched until software clears it.",
     stops_and_goes_on},
    {"VTD-6.5.2.11-2", "6.5.2.11",
     "A tail outside of the queue, or within a descriptor, is an error.", bad_tail},
    {"VTD-6.5.2.11-3", "6.5.2.11",
     "A queue whose registers change under it errs or works, but stays inside.", registers_change},
    {"VTD-6.5.2.11-4", "6.5.2.11", "A descriptor that cannot be read is an error.", bad_fetch},
    {"VTD-6.5.2.11-5", "6.5.2.11",
     "Unknown descriptor types are errors; so are device-TLB types without ECAP.DT, page responses without ECAP.PRS.",
     unknown_types},
    {"VTD-6.5.2.11-6", "6.5.2.11", "PASID descriptors do not exist in legacy mode.", types_of_mode},
    {"VTD-6.5.2.11-7", "6.5.2.11",
     "Each reserved bit of each descriptor is an error; no other bit is.", reserved_bits},
    {"VTD-6.5.2.11-8", "6.5.2.11",
     "Reserved bits of the upper half of a 256-bit descriptor are errors.", reserved_half},
    {"VTD-6.5.2.11-9", "6.5.2.11", "Reserved granularities are errors.", reserved_granularity},
    {"VTD-6.5.2.3-1", "6.5.2.3",
     "An address mask beyond CAP.MAMV is an error for the second stage, for PASIDs any mask is good.",
     address_masks},
    {"VTD-6.5.2.8-1", "6.5.2.8", "Interrupt-entry invalidations are taken, and have nothing to do.",
     interrupt_entries},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
