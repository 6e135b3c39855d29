/* SPDX-License-Identifier: MIT */
/* Register access, commands and register-based invalidation (VT-d 5.0, 6.5.1 and chapter 11). */
#include <string.h>

#include "guest_tables.h"
#include "model/vtd/register_map.h"

#define ROOT UINT64_C(0x5000)

static uint32_t gsts(struct machine *machine)
{
    return read32(machine, VTD_GSTS);
}

WITH_MACHINE(dword_and_qword, "")
{
    uint64_t value = 0x123456789000;

    write64(machine, VTD_RTADDR, value);
    assert_int_equal(read64(machine, VTD_RTADDR), value);
    assert_int_equal(read32(machine, VTD_RTADDR), (uint32_t)value);
    assert_int_equal(read32(machine, VTD_RTADDR + 4), value >> 32);
    write32(machine, VTD_RTADDR + 4, 0x1a);
    assert_int_equal(read64(machine, VTD_RTADDR), 0x1a56789000);
    write32(machine, VTD_RTADDR, 0x7000);
    assert_int_equal(read64(machine, VTD_RTADDR), 0x1a00007000);
}

WITH_MACHINE(qword_of_two_dwords, "")
{
    write64(machine, VTD_FEADDR, 0x00000012fee00abc);
    assert_int_equal(read32(machine, VTD_FEADDR), 0xfee00abc);
    assert_int_equal(read32(machine, VTD_FEUADDR), 0x12);
    assert_int_equal(read64(machine, VTD_FEADDR), 0x00000012fee00abc);
}

/* Sizes and alignments that are not allowed neither change anything nor reach an assertion. */
WITH_MACHINE(other_accesses, "")
{
    static const struct {
        uint64_t offset;
        unsigned int size;
    } bad[] = {{VTD_RTADDR, 1},     {VTD_RTADDR, 2},     {VTD_RTADDR + 1, 4}, {VTD_RTADDR + 2, 4},
               {VTD_RTADDR + 4, 8}, {VTD_RTADDR + 7, 1}, {VTD_RTADDR, 0},     {VTD_RTADDR, 3},
               {VTD_RTADDR, 16},    {UINT64_MAX, 1},     {UINT64_MAX - 3, 4}, {UINT64_MAX - 7, 8},
               {4096, 4},           {4092, 8},           {8192, 8},           {1u << 31, 8}};

    write64(machine, VTD_RTADDR, ROOT);
    for (size_t i = 0; i < SPEC_COUNT(bad); i++) {
        viommu_mmio_write(machine->viommu, bad[i].offset, bad[i].size, UINT64_MAX);
        assert_int_equal(viommu_mmio_read(machine->viommu, bad[i].offset, bad[i].size), 0);
    }
    assert_int_equal(read64(machine, VTD_RTADDR), ROOT);
}

/* What software cannot write, over the whole space: written with ones, it stays as it was. */
WITH_MACHINE(reserved_stays, "haw=46")
{
    static const uint16_t writable[] = {VTD_GCMD,     VTD_RTADDR,  VTD_RTADDR + 4, VTD_CCMD,
                                        VTD_CCMD + 4, VTD_FECTL,   VTD_FEDATA,     VTD_FEADDR,
                                        VTD_FEUADDR,  VTD_IQT,     VTD_IQA,        VTD_IQA + 4,
                                        VTD_IECTL,    VTD_IEDATA,  VTD_IEADDR,     VTD_IEUADDR,
                                        VTD_IVA,      VTD_IVA + 4, VTD_IOTLB,      VTD_IOTLB + 4};

    for (unsigned int offset = 0; offset < 4096; offset += 4) {
        uint32_t before = read32(machine, offset);
        bool skip = false;

        for (size_t i = 0; i < SPEC_COUNT(writable); i++)
            skip |= writable[i] == offset;
        if (skip)
            continue;
        write32(machine, offset, UINT32_MAX);
        assert_int_equal(read32(machine, offset), before);
    }
}

WITH_MACHINE(reserved_bits, "haw=40")
{
    write64(machine, VTD_RTADDR, UINT64_MAX);
    assert_int_equal(read64(machine, VTD_RTADDR), 0xfffffffc00);
    write64(machine, VTD_IQA, UINT64_MAX);
    assert_int_equal(read64(machine, VTD_IQA), 0xfffffff807);
    write64(machine, VTD_IQT, UINT64_MAX);
    assert_int_equal(read64(machine, VTD_IQT), 0x7fff0);
    write32(machine, VTD_FEDATA, UINT32_MAX);
    assert_int_equal(read32(machine, VTD_FEDATA), 0xffff);
    write32(machine, VTD_FEADDR, UINT32_MAX);
    assert_int_equal(read32(machine, VTD_FEADDR), 0xfffffffc);
}

WITH_MACHINE(reserved_bits_legacy, "scalable=off,first-stage=off")
{
    write64(machine, VTD_RTADDR, ROOT | VTD_RTADDR_TTM);
    assert_int_equal(read64(machine, VTD_RTADDR), ROOT);
}

WITH_MACHINE(reset_values, "")
{
    write64(machine, VTD_RTADDR, ROOT);
    machine_enable(machine, true);
    viommu_reset(machine->viommu);
    assert_int_equal(gsts(machine), 0);
    assert_int_equal(read64(machine, VTD_RTADDR), 0);
    assert_int_equal(read32(machine, VTD_FECTL), 0x80000000);
    assert_int_equal(read32(machine, VTD_IECTL), 0x80000000);
    assert_int_equal(read32(machine, VTD_FSTS), 0);
    assert_int_not_equal(read32(machine, VTD_VER), 0);
    assert_int_not_equal(read64(machine, VTD_CAP), 0);
}

/* Invalidation by registers exists up to major version 5. */
WITH_MACHINE(version, "")
{
    assert_in_range(read32(machine, VTD_VER) >> 4, 2, 5);
}

WITH_MACHINE(command_reads_zero, "")
{
    write32(machine, VTD_GCMD, VTD_GCMD_QIE);
    assert_int_equal(read32(machine, VTD_GCMD), 0);
    assert_int_equal(gsts(machine), VTD_GSTS_QIES);
}

WITH_MACHINE(command_levels, "")
{
    write32(machine, VTD_GCMD, VTD_GCMD_TE);
    assert_int_equal(gsts(machine), VTD_GSTS_TES);
    write32(machine, VTD_GCMD, VTD_GCMD_TE | VTD_GCMD_QIE);
    assert_int_equal(gsts(machine), VTD_GSTS_TES | VTD_GSTS_QIES);
    write32(machine, VTD_GCMD, VTD_GCMD_QIE);
    assert_int_equal(gsts(machine), VTD_GSTS_QIES);
    write32(machine, VTD_GCMD, 0);
    assert_int_equal(gsts(machine), 0);
}

WITH_MACHINE(root_pointer_status, "")
{
    write64(machine, VTD_RTADDR, ROOT);
    assert_int_equal(gsts(machine), 0);
    write32(machine, VTD_GCMD, VTD_GCMD_SRTP);
    assert_int_equal(gsts(machine), VTD_GSTS_RTPS);
    write32(machine, VTD_GCMD, VTD_GCMD_TE);
    assert_int_equal(gsts(machine), VTD_GSTS_RTPS | VTD_GSTS_TES);
}

/* Interrupt remapping, advanced fault log, write buffer: not offered, and so without effect. */
WITH_MACHINE(absent_commands, "")
{
    write32(machine, VTD_GCMD,
            0xffffffffu & ~(uint32_t)(VTD_GCMD_TE | VTD_GCMD_SRTP | VTD_GCMD_QIE));
    assert_int_equal(gsts(machine), 0);
}

WITH_MACHINE(protected_memory_absent, "")
{
    assert_int_equal(read64(machine, VTD_CAP) & (BIT64(5) | BIT64(6)), 0);
    write32(machine, VTD_PMEN, BIT64(31));
    assert_int_equal(read32(machine, VTD_PMEN), 0);
}

/* A pair of tables for one function: the root that is latched decides, not the register. */
static void root_latched(void **state)
{
    struct guest guest;
    struct machine *machine = &guest.machine;
    uint64_t root;

    (void)state;
    guest_create(&guest, "");
    root = guest_page(&guest);
    guest_map(&guest, root, 4, GUEST_IOVA, 1, GUEST_DATA | SS_RW, SS_RW);
    guest_legacy(&guest, 0, 0, 2, root);
    guest_on(&guest, TTM_LEGACY);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);

    write64(machine, VTD_RTADDR, guest_page(&guest));
    machine_queue_start(machine, 0x20000, false);
    machine_submit(machine, 0x1 | 1 << 4, 0);
    machine_submit(machine, 0x2 | 1 << 4, 0);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    write32(machine, VTD_GCMD, VTD_GCMD_TE | VTD_GCMD_QIE | VTD_GCMD_SRTP);
    guest_read_faults(&guest, GUEST_IOVA, 0x01);
    guest_destroy(&guest);
}

/* CAP.ESRTPS: setting the root pointer leaves nothing of before in any cache. */
static void root_pointer_drops(void **state)
{
    struct guest guest;
    struct machine *machine = &guest.machine;
    uint64_t root, entry;

    (void)state;
    guest_create(&guest, "");
    assert_true(read64(machine, VTD_CAP) & VTD_CAP_ESRTPS);
    root = guest_page(&guest);
    entry = guest_map(&guest, root, 4, GUEST_IOVA, 1, GUEST_DATA | SS_RW, SS_RW);
    guest_legacy(&guest, 0, 0, 2, root);
    guest_on(&guest, TTM_LEGACY);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    store64(machine, entry, (GUEST_DATA + 0x1000) | SS_RW);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    write32(machine, VTD_GCMD, VTD_GCMD_TE | VTD_GCMD_SRTP);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA + 0x1000);
    guest_destroy(&guest);
}

WITH_MACHINE(context_command_answers, "")
{
    for (uint64_t granularity = 1; granularity <= 3; granularity++) {
        write64(machine, VTD_CCMD, VTD_CCMD_ICC | field_prep(VTD_CCMD_CIRG, granularity));
        assert_int_equal(read64(machine, VTD_CCMD) & VTD_CCMD_ICC, 0);
        assert_int_equal(field_get(VTD_CCMD_CAIG, read64(machine, VTD_CCMD)), granularity);
    }
    write64(machine, VTD_CCMD, VTD_CCMD_ICC);
    assert_int_equal(read64(machine, VTD_CCMD) & (VTD_CCMD_ICC | VTD_CCMD_CAIG), 0);
}

static void iotlb_command(struct machine *machine, uint64_t granularity, uint64_t domain)
{
    write64(machine, machine_iotlb(machine) + 8,
            VTD_IOTLB_IVT | field_prep(VTD_IOTLB_IIRG, granularity) |
                field_prep(VTD_IOTLB_DID, domain));
}

static unsigned int iotlb_answer(struct machine *machine)
{
    uint64_t value = read64(machine, machine_iotlb(machine) + 8);

    assert_false(value & VTD_IOTLB_IVT);
    return (unsigned int)field_get(VTD_IOTLB_IAIG, value);
}

WITH_MACHINE(iotlb_command_answers, "")
{
    for (uint64_t granularity = 1; granularity <= 3; granularity++) {
        iotlb_command(machine, granularity, 1);
        assert_int_equal(iotlb_answer(machine), granularity);
    }
    iotlb_command(machine, 0, 1);
    assert_int_equal(iotlb_answer(machine), 0);
}

/* An address mask beyond CAP.MAMV is refused, however wide it is. */
WITH_MACHINE(iotlb_command_mask, "")
{
    uint64_t most = field_get(VTD_CAP_MAMV, read64(machine, VTD_CAP));

    for (uint64_t mask = 0; mask < 64; mask++) {
        write64(machine, machine_iotlb(machine), UINT64_C(0xfffffffffffff000) | mask);
        iotlb_command(machine, 3, 1);
        assert_int_equal(iotlb_answer(machine), mask <= most ? 3 : 0);
    }
}

/* The command bit is in the upper half: only its write starts the command. */
WITH_MACHINE(command_in_halves, "")
{
    uint64_t iotlb = machine_iotlb(machine) + 8;

    write32(machine, VTD_CCMD, 7);
    assert_int_equal(read64(machine, VTD_CCMD), 7);
    write32(machine, VTD_CCMD + 4, (VTD_CCMD_ICC | field_prep(VTD_CCMD_CIRG, 2)) >> 32);
    assert_int_equal(field_get(VTD_CCMD_CAIG, read64(machine, VTD_CCMD)), 2);
    assert_int_equal(read64(machine, VTD_CCMD) & VTD_CCMD_ICC, 0);
    write32(machine, iotlb, 0);
    assert_int_equal(iotlb_answer(machine), 0);
    write32(machine, iotlb + 4, (VTD_IOTLB_IVT | field_prep(VTD_IOTLB_IIRG, 1)) >> 32);
    assert_int_equal(iotlb_answer(machine), 1);
}

WITH_MACHINE(registers_refuse_with_queue, "")
{
    machine_queue_start(machine, 0x20000, false);
    write64(machine, VTD_CCMD, VTD_CCMD_ICC | field_prep(VTD_CCMD_CIRG, 1));
    assert_int_equal(read64(machine, VTD_CCMD) & (VTD_CCMD_ICC | VTD_CCMD_CAIG), 0);
    iotlb_command(machine, 1, 0);
    assert_int_equal(iotlb_answer(machine), 0);
}

WITH_MACHINE(registers_refuse_scalable, "")
{
    machine_set_root(machine, ROOT | TTM_SCALABLE);
    write64(machine, VTD_CCMD, VTD_CCMD_ICC | field_prep(VTD_CCMD_CIRG, 1));
    assert_int_equal(read64(machine, VTD_CCMD) & (VTD_CCMD_ICC | VTD_CCMD_CAIG), 0);
    iotlb_command(machine, 1, 0);
    assert_int_equal(iotlb_answer(machine), 0);
}

/* What is cached stays until it is invalidated, and each granularity reaches it. */
static void registers_invalidate(void **state)
{
    struct guest guest;
    struct machine *machine = &guest.machine;
    uint64_t root, entry;

    (void)state;
    guest_create(&guest, "");
    root = guest_page(&guest);
    entry = guest_map(&guest, root, 4, GUEST_IOVA, 1, GUEST_DATA | SS_RW, SS_RW);
    guest_legacy(&guest, 0, 0, 2, root);
    guest_on(&guest, TTM_LEGACY);
    write64(machine, machine_iotlb(machine), GUEST_IOVA);
    for (uint64_t granularity = 1; granularity <= 3; granularity++) {
        uint64_t page = GUEST_DATA + (granularity & 1) * 0x1000;

        guest_reads(&guest, GUEST_IOVA, granularity == 1 ? GUEST_DATA : page ^ 0x1000);
        store64(machine, entry, page | SS_RW);
        guest_reads(&guest, GUEST_IOVA, granularity == 1 ? GUEST_DATA : page ^ 0x1000);
        iotlb_command(machine, granularity, GUEST_DOMAIN);
        guest_reads(&guest, GUEST_IOVA, page);
    }
    guest_destroy(&guest);
}

/* Another domain's invalidation is none of ours. */
static void registers_other_domain(void **state)
{
    struct guest guest;
    struct machine *machine = &guest.machine;
    uint64_t root, entry;

    (void)state;
    guest_create(&guest, "domain-bits=4");
    root = guest_page(&guest);
    entry = guest_map(&guest, root, 4, GUEST_IOVA, 1, GUEST_DATA | SS_RW, SS_RW);
    guest_legacy(&guest, 0, 0, 2, root);
    guest_on(&guest, TTM_LEGACY);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    store64(machine, entry, (GUEST_DATA + 0x1000) | SS_RW);
    iotlb_command(machine, 2, GUEST_DOMAIN + 1);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    /* Bits beyond CAP.ND are ignored. */
    iotlb_command(machine, 2, GUEST_DOMAIN | 0xfff0);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA + 0x1000);
    guest_destroy(&guest);
}

static const struct spec_rule rules[] = {
    {"VTD-11.2-1", "11.2", "A 64-bit register is read and written whole, or by either half.",
     dword_and_qword},
    {"VTD-11.2-2", "11.2", "An aligned access of 8 bytes reaches two adjoining 32-bit registers.",
     qword_of_two_dwords},
    {"VTD-11.2-3", "11.2", "Accesses of other sizes and alignments, or outside, have no effect.",
     other_accesses},
    {"VTD-11.4-1", "11.4", "Registers that are read-only or not there keep their value.",
     reserved_stays},
    {"VTD-11.4-2", "11.4",
     "Reserved bits of writable registers read as 0, as do address bits beyond the host address width.",
     reserved_bits},
    {"VTD-11.4-3", "11.4", "Without scalable and abort-DMA mode, TTM of RTADDR_REG is reserved.",
     reserved_bits_legacy},
    {"VTD-11.4-4", "11.4",
     "Reset puts every register to its reset value; event interrupts are masked.", reset_values},
    {"VTD-6.5-1", "6.5", "The version offers invalidation by registers: it is below 6.", version},
    {"VTD-11.4.4.1-1", "11.4.4.1", "GCMD_REG reads as 0; GSTS_REG tells what is on.",
     command_reads_zero},
    {"VTD-11.4.4.1-2", "11.4.4.1",
     "TE and QIE are levels: each write gives the wanted state of both.", command_levels},
    {"VTD-11.4.4.1-3", "11.4.4.1",
     "SRTP is an order: RTPS is set when it was carried out, and stays.", root_pointer_status},
    {"VTD-11.4.4.1-4", "11.4.4.1", "Commands of features that are not offered have no effect.",
     absent_commands},
    {"VTD-11.4.8-1", "11.4.8", "Protected memory regions are not offered, PMEN_REG reads as 0.",
     protected_memory_absent},
    {"VTD-11.4.5-1", "11.4.5",
     "The root table takes effect with SRTP, not with the write of RTADDR_REG.", root_latched},
    {"VTD-11.4.5-2", "11.4.5", "With CAP.ESRTPS, SRTP invalidates what is cached.",
     root_pointer_drops},
    {"VTD-11.4.6.1-1", "11.4.6.1",
     "CCMD_REG carries out each granularity and tells it in CAIG; 0 is refused.",
     context_command_answers},
    {"VTD-11.4.6.3-1", "11.4.6.3",
     "IOTLB_REG carries out each granularity and tells it in IAIG; 0 is refused.",
     iotlb_command_answers},
    {"VTD-11.4.6.3-2", "11.4.6.3",
     "A page-selective request with a mask beyond CAP.MAMV is ignored, IAIG is 0.",
     iotlb_command_mask},
    {"VTD-11.4.6-1", "11.4.6",
     "Written as two halves, a command starts with the half that has its bit.", command_in_halves},
    {"VTD-6.5.1-1", "6.5.1", "While the queue is on, invalidation by registers is refused.",
     registers_refuse_with_queue},
    {"VTD-6.5.1-2", "6.5.1", "In scalable mode, invalidation by registers is refused.",
     registers_refuse_scalable},
    {"VTD-6.5.1-3", "6.5.1", "Global, domain and page requests of IOTLB_REG drop what is cached.",
     registers_invalidate},
    {"VTD-6.5.1-4", "6.5.1",
     "A domain request leaves other domains; domain-ID bits beyond CAP.ND are ignored.",
     registers_other_domain},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
