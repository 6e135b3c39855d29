/* SPDX-License-Identifier: MIT */
/* Interrupt requests and what the table makes of them (VT-d 5.0, chapter 5; 7.1, 9.9, 11.4.10). */
#include <errno.h>
#include <string.h>

#include "interrupts.h"

WITH_INTERRUPTS(registers, "intremap=on,eim=on,haw=40")
{
    assert_int_equal(read64(machine, VTD_ECAP) & (VTD_ECAP_IR | VTD_ECAP_EIM),
                     VTD_ECAP_IR | VTD_ECAP_EIM);
    assert_int_equal(field_get(VTD_ECAP_MHMV, read64(machine, VTD_ECAP)), 15);
    assert_true(read64(machine, VTD_ECAP) & VTD_ECAP_QI);
    assert_true(read64(machine, VTD_CAP) & VTD_CAP_ESIRTPS);
    write64(machine, VTD_IRTA, UINT64_MAX);
    assert_int_equal(read64(machine, VTD_IRTA), 0xfffffff80f);
    write32(machine, VTD_FEDATA, UINT32_MAX);
    assert_int_equal(read32(machine, VTD_FEDATA), UINT32_MAX);
    write32(machine, VTD_IEDATA, UINT32_MAX);
    assert_int_equal(read32(machine, VTD_IEDATA), UINT32_MAX);
}

WITH_INTERRUPTS(registers_without_eim, "intremap=on,haw=40")
{
    assert_int_equal(read64(machine, VTD_ECAP) & (VTD_ECAP_IR | VTD_ECAP_EIM), VTD_ECAP_IR);
    write64(machine, VTD_IRTA, UINT64_MAX);
    assert_int_equal(read64(machine, VTD_IRTA), 0xfffffff00f);
    write32(machine, VTD_FEDATA, UINT32_MAX);
    assert_int_equal(read32(machine, VTD_FEDATA), 0xffff);
}

/* What is not offered has no registers, and leaves messages alone. */
static void absent(void **state)
{
    struct viommu_interrupt out;
    struct machine machine;

    (void)state;
    machine_create(&machine, "");
    assert_int_equal(read64(&machine, VTD_ECAP) & (VTD_ECAP_IR | VTD_ECAP_EIM | VTD_ECAP_MHMV), 0);
    assert_int_equal(read64(&machine, VTD_CAP) & VTD_CAP_ESIRTPS, 0);
    write64(&machine, VTD_IRTA, UINT64_MAX);
    assert_int_equal(read64(&machine, VTD_IRTA), 0);
    write32(&machine, VTD_GCMD, VTD_GCMD_SIRTP | VTD_GCMD_IRE | VTD_GCMD_CFI);
    assert_int_equal(read32(&machine, VTD_GSTS), 0);
    out = interrupt(&machine, remappable(3), 0x31, 0x18);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_PASSED);
    assert_int_equal(out.address, remappable(3));
    machine_destroy(&machine);
}

WITH_INTERRUPTS(status, "intremap=on")
{
    assert_int_equal(read32(machine, VTD_GSTS), VTD_GSTS_IRES | VTD_GSTS_IRTPS);
    write32(machine, VTD_GCMD, VTD_GCMD_IRE | VTD_GCMD_CFI);
    assert_int_equal(read32(machine, VTD_GSTS), VTD_GSTS_IRES | VTD_GSTS_IRTPS | VTD_GSTS_CFIS);
    assert_int_equal(stats_of(machine).remapping_enables, 1);
    write32(machine, VTD_GCMD, 0);
    assert_int_equal(read32(machine, VTD_GSTS), VTD_GSTS_IRTPS);
    write32(machine, VTD_GCMD, VTD_GCMD_IRE);
    assert_int_equal(stats_of(machine).remapping_enables, 2);
    viommu_reset(machine->viommu);
    assert_int_equal(read32(machine, VTD_GSTS), 0);
    assert_int_equal(read64(machine, VTD_IRTA), 0);
}

/* The table is the one of the last SIRTP, not of the register; and it is in force at once. */
WITH_INTERRUPTS(table_latched, "intremap=on")
{
    write_entry(machine, 3, IRTE_P | IRTE_V(0x41), 0);
    store64(machine, TABLE + 0x10000 + 3 * 16, IRTE_P | IRTE_V(0x42));
    write64(machine, VTD_IRTA, (TABLE + 0x10000) | TABLE_SIZE);
    assert_int_equal(interrupt(machine, remappable(3), 0, 0).vector, 0x41);
    write32(machine, VTD_GCMD, VTD_GCMD_SIRTP | VTD_GCMD_IRE);
    assert_int_equal(interrupt(machine, remappable(3), 0, 0).vector, 0x42);
    viommu_reset(machine->viommu);
    assert_int_equal(interrupt(machine, remappable(3), 0, 0).outcome, VIOMMU_INTERRUPT_PASSED);
}

WITH_INTERRUPTS(switched_off, "intremap=on")
{
    struct viommu_interrupt out;

    write32(machine, VTD_GCMD, 0);
    out = interrupt(machine, remappable(3), 0x31, 0);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_PASSED);
    assert_int_equal(out.address, remappable(3));
    assert_int_equal(out.data, 0x31);
    out = interrupt(machine, 0xfee03000, 0x31, 0);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_PASSED);
    assert_int_equal(read32(machine, VTD_FSTS), 0);
}

/* A write beside the range is no interrupt. */
WITH_INTERRUPTS(outside, "intremap=on")
{
    static const uint64_t addresses[] = {0xfedffffc, 0xfef00000, 0x1fee00010, 0};

    for (size_t i = 0; i < SPEC_COUNT(addresses); i++)
        assert_int_equal(interrupt(machine, addresses[i], 0, 0).outcome, VIOMMU_INTERRUPT_PASSED);
    assert_int_equal(read32(machine, VTD_FSTS), 0);
}

WITH_INTERRUPTS(compatibility_passes, "intremap=on")
{
    struct viommu_interrupt out;

    write32(machine, VTD_GCMD, VTD_GCMD_IRE | VTD_GCMD_CFI);
    out = interrupt(machine, 0xfee0500c, 0x4131, 0x18);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_PASSED);
    assert_int_equal(out.address, 0xfee0500c);
    assert_int_equal(out.data, 0x4131);
    assert_int_equal(read32(machine, VTD_FSTS), 0);
}

WITH_INTERRUPTS(compatibility_blocked, "intremap=on")
{
    interrupt_faults(machine, 0xfee05000, 0x31, 0x18, 0x25, 0);
}

WITH_INTERRUPTS(compatibility_blocked_by_eime, "intremap=on,eim=on")
{
    interrupts_on(machine, IRTA_EIME);
    write32(machine, VTD_GCMD, VTD_GCMD_IRE | VTD_GCMD_CFI);
    interrupt_faults(machine, 0xfee05000, 0x31, 0x18, 0x25, 0);
}

/* Every field of an entry arrives, decoded and as a message. */
WITH_INTERRUPTS(fields, "intremap=on")
{
    struct viommu_interrupt out;

    write_entry(machine, 7, IRTE_P | IRTE_V(0x5a) | IRTE_DST(0x2100), 0);
    out = interrupt(machine, remappable(7), 0, 0);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_REMAPPED);
    assert_true(viommu_interrupt_delivers(&out));
    assert_int_equal(out.address, 0xfee21000);
    assert_int_equal(out.data, 0x405a);
    assert_int_equal(out.vector, 0x5a);
    assert_int_equal(out.destination, 0x21);
    assert_int_equal(out.delivery_mode, VIOMMU_INTERRUPT_FIXED);
    assert_false(out.logical || out.redirection_hint || out.level);
    assert_int_equal(out.index, 7);
    assert_int_equal(out.reason, 0);
    write_entry(machine, 7,
                IRTE_P | IRTE_V(0x11) | IRTE_DST(0xff00) | IRTE_DM | IRTE_RH | IRTE_TM |
                    IRTE_DLM(1) | IRTE_AVAIL,
                0);
    out = interrupt(machine, remappable(7), 0, 0);
    assert_int_equal(out.address, 0xfeeff00c);
    assert_int_equal(out.data, 0xc111);
    assert_true(out.logical && out.redirection_hint && out.level);
    assert_int_equal(out.delivery_mode, VIOMMU_INTERRUPT_LOWEST_PRIORITY);
}

WITH_INTERRUPTS(wide_destination, "intremap=on,eim=on")
{
    struct viommu_interrupt out;

    interrupts_on(machine, IRTA_EIME);
    write_entry(machine, 7, IRTE_P | IRTE_V(0x5a) | IRTE_DST(0x12345678), 0);
    out = interrupt(machine, remappable(7), 0, 0);
    assert_int_equal(out.destination, 0x12345678);
    assert_int_equal(out.address, UINT64_C(0x12345600fee78000));
    assert_int_equal(out.data, 0x405a);
    /* Without EIME the same unit has 8 bits, in the place that xAPIC entries have them. */
    interrupts_on(machine, IRTA_XAPIC);
    write_entry(machine, 7, IRTE_P | IRTE_DST(0x5600), 0);
    assert_int_equal(interrupt(machine, remappable(7), 0, 0).destination, 0x56);
}

WITH_INTERRUPTS(delivery_modes, "intremap=on")
{
    for (unsigned int mode = 0; mode < 8; mode++) {
        write_entry(machine, 1, IRTE_P | IRTE_DLM(mode), 0);
        if (mode == 3 || mode == 6) {
            interrupt_faults(machine, remappable(1), 0, 0, 0x24, 1);
            continue;
        }
        assert_int_equal(interrupt(machine, remappable(1), 0, 0).delivery_mode, mode);
        assert_int_equal(interrupt(machine, remappable(1), 0, 0).data, 0x4000 | mode << 8);
    }
}

/* The data means nothing without SHV; bits 1:0 of the address never do. */
WITH_INTERRUPTS(handle, "intremap=on")
{
    interrupts_on(machine, IRTA_S(15));
    write_entry(machine, 0x8123, IRTE_P | IRTE_V(0x33), 0);
    assert_int_equal(remappable(0x8123), 0xfee02474);
    assert_int_equal(interrupt(machine, remappable(0x8123), 0xdeadbeef, 0).vector, 0x33);
    assert_int_equal(interrupt(machine, remappable(0x8123) | 3, 0, 0).vector, 0x33);
}

WITH_INTERRUPTS(subhandle, "intremap=on")
{
    write_entry(machine, 0x25, IRTE_P | IRTE_V(0x33), 0);
    write_entry(machine, 0x20, IRTE_P | IRTE_V(0x44), 0);
    assert_int_equal(interrupt(machine, remappable(0x20) | SHV, 5, 0).vector, 0x33);
    assert_int_equal(interrupt(machine, remappable(0x20) | SHV, 5, 0).index, 0x25);
    assert_int_equal(interrupt(machine, remappable(0x20), 5, 0).vector, 0x44);
}

WITH_INTERRUPTS(request_reserved, "intremap=on")
{
    write_entry(machine, 4, IRTE_P | IRTE_FPD | IRTE_V(0x33), 0);
    for (unsigned int bit = 16; bit < 32; bit++)
        interrupt_faults(machine, remappable(4) | SHV, 1u << bit, 0, 0x20, 4);
}

WITH_INTERRUPTS(index_beyond, "intremap=on")
{
    for (unsigned int size = 0; size < 15; size++) {
        unsigned int entries = 2u << size;

        interrupts_on(machine, IRTA_S(size));
        write_entry(machine, entries - 1, IRTE_P | IRTE_V(0x33), 0);
        assert_int_equal(interrupt(machine, remappable(entries - 1), 0, 0).vector, 0x33);
        interrupt_faults(machine, remappable(entries), 0, 0, 0x21, entries);
        interrupt_faults(machine, remappable(entries - 1) | SHV, 1, 0, 0x21, entries);
    }
    /* A sum of 17 bits does not begin at the front again. */
    interrupts_on(machine, IRTA_S(15));
    write_entry(machine, 0, IRTE_P, 0);
    interrupt_faults(machine, remappable(0xffff) | SHV, 1, 0, 0x21, 0);
}

WITH_INTERRUPTS(not_present, "intremap=on")
{
    write_entry(machine, 9, UINT64_MAX & ~(IRTE_P | IRTE_FPD), UINT64_MAX);
    interrupt_faults(machine, remappable(9), 0, 0x28, 0x22, 9);
}

/* The table lies, or goes on, where there is no memory. */
WITH_INTERRUPTS(no_memory, "intremap=on")
{
    write64(machine, VTD_IRTA, (MACHINE_MEMORY - 4096) | IRTA_S(8));
    write32(machine, VTD_GCMD, VTD_GCMD_SIRTP | VTD_GCMD_IRE);
    store64(machine, MACHINE_MEMORY - 16, IRTE_P | IRTE_V(0x33));
    assert_int_equal(interrupt(machine, remappable(255), 0, 0).vector, 0x33);
    interrupt_faults(machine, remappable(256), 0, 0, 0x23, 256);
    write64(machine, VTD_IRTA, GUEST_NOWHERE);
    write32(machine, VTD_GCMD, VTD_GCMD_SIRTP | VTD_GCMD_IRE);
    interrupt_faults(machine, remappable(0), 0, 0, 0x23, 0);
}

/* Each reserved bit of a remapped entry, one by one; posting is not offered. */
WITH_INTERRUPTS(entry_reserved, "intremap=on")
{
    const uint64_t low = UINT64_C(0x00000000ff00f000), high = UINT64_C(0xfffffffffff00000);

    for (unsigned int bit = 0; bit < 128; bit++) {
        uint64_t first = bit < 64 ? BIT64(bit) : 0, second = bit < 64 ? 0 : BIT64(bit - 64);

        if (!(first & low) && !(second & high))
            continue;
        write_entry(machine, 2, IRTE_P | first, second);
        interrupt_faults(machine, remappable(2), 0, 0, 0x24, 2);
    }
    write_entry(machine, 2, IRTE_P, IRTE_SVT(3));
    interrupt_faults(machine, remappable(2), 0, 0, 0x24, 2);
    /* Whoever sent it: the entry is looked at before the source. */
    write_entry(machine, 2, IRTE_P | IRTE_DLM(3), IRTE_SVT(1) | 1);
    interrupt_faults(machine, remappable(2), 0, 0, 0x24, 2);
    write_entry(machine, 2, IRTE_P | IRTE_DST(1), IRTE_SVT(1) | 1);
    interrupt_faults(machine, remappable(2), 0, 0, 0x24, 2);
}

/* Without EIME only 8 bits of the destination exist. */
WITH_INTERRUPTS(destination_reserved, "intremap=on,eim=on")
{
    for (unsigned int bit = 0; bit < 32; bit++) {
        interrupts_on(machine, IRTA_XAPIC);
        write_entry(machine, 2, IRTE_P | IRTE_DST(1u << bit), 0);
        if (bit < 8 || bit > 15)
            interrupt_faults(machine, remappable(2), 0, 0, 0x24, 2);
        else
            assert_int_equal(interrupt(machine, remappable(2), 0, 0).destination, 1u << (bit - 8));
        interrupts_on(machine, IRTA_EIME);
        assert_int_equal(interrupt(machine, remappable(2), 0, 0).destination, 1u << bit);
    }
}

WITH_INTERRUPTS(source_not_verified, "intremap=on")
{
    write_entry(machine, 2, IRTE_P, 0x1234 | IRTE_SQ(3));
    assert_int_equal(interrupt(machine, remappable(2), 0, 0xfedc).outcome,
                     VIOMMU_INTERRUPT_REMAPPED);
}

/* All SQ, and for each all requester IDs that differ in one bit. */
WITH_INTERRUPTS(source_id, "intremap=on")
{
    static const uint16_t ignored[] = {0, 4, 6, 7};

    for (unsigned int sq = 0; sq < 4; sq++) {
        write_entry(machine, 2, IRTE_P, 0x5ada | IRTE_SVT(1) | IRTE_SQ(sq));
        assert_int_equal(interrupt(machine, remappable(2), 0, 0x5ada).outcome,
                         VIOMMU_INTERRUPT_REMAPPED);
        for (unsigned int bit = 0; bit < 16; bit++) {
            uint16_t from = (uint16_t)(0x5ada ^ 1u << bit);

            if (ignored[sq] >> bit & 1)
                assert_int_equal(interrupt(machine, remappable(2), 0, from).outcome,
                                 VIOMMU_INTERRUPT_REMAPPED);
            else
                interrupt_faults(machine, remappable(2), 0, from, 0x26, 2);
        }
    }
}

/* SID holds the first and the last bus; function and SQ mean nothing. */
WITH_INTERRUPTS(source_bus, "intremap=on")
{
    write_entry(machine, 2, IRTE_P, 0x0509 | IRTE_SVT(2) | IRTE_SQ(2));
    for (unsigned int bus = 0; bus < 256; bus += bus < 16 ? 1 : 80) {
        uint16_t from = (uint16_t)(bus << 8 | 0xa5);

        if (bus >= 5 && bus <= 9)
            assert_int_equal(interrupt(machine, remappable(2), 0, from).outcome,
                             VIOMMU_INTERRUPT_REMAPPED);
        else
            interrupt_faults(machine, remappable(2), 0, from, 0x26, 2);
    }
    write_entry(machine, 2, IRTE_P, 0x0905 | IRTE_SVT(2)); /* ends before it begins */
    interrupt_faults(machine, remappable(2), 0, 0x0700, 0x26, 2);
}

/* FPD is of the entry: it hides what is wrong with that, not what is wrong with the request. */
WITH_INTERRUPTS(processing_disabled, "intremap=on")
{
    static const struct {
        uint64_t low, high;
        uint32_t reason;
    } entries[] = {{0, 0, 0x22}, {IRTE_P | BIT64(31), 0, 0x24}, {IRTE_P, IRTE_SVT(1) | 1, 0x26}};

    for (size_t i = 0; i < SPEC_COUNT(entries); i++) {
        struct viommu_interrupt out;

        write_entry(machine, 6, entries[i].low | IRTE_FPD, entries[i].high);
        out = interrupt(machine, remappable(6), 0, 0);
        assert_int_equal(out.outcome, VIOMMU_INTERRUPT_BLOCKED);
        assert_int_equal(out.reason, entries[i].reason);
        assert_int_equal(read32(machine, VTD_FSTS), 0);
    }
    assert_int_equal(stats_of(machine).faults_disabled, 3);
    assert_int_equal(stats_of(machine).interrupts_blocked, 3);
}

/* The record: index, source and reason, and nothing of what only DMA has. */
WITH_INTERRUPTS(record, "intremap=on,pasid-bits=20,fault-records=4")
{
    interrupts_on(machine, IRTA_S(15));
    assert_int_equal(interrupt(machine, remappable(0xbeef), 0, 0x1234).outcome,
                     VIOMMU_INTERRUPT_BLOCKED);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0)), UINT64_C(0xbeef) << 48);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0) + 8),
                     VTD_FRCD_F | UINT64_C(0x22) << 32 | 0x1234);
    assert_int_equal(read32(machine, VTD_FSTS), VTD_FSTS_PPF);
    assert_non_null(strstr(machine->log, "12:06.4"));
    assert_non_null(strstr(machine->log, "48879"));
    assert_non_null(strstr(machine->log, "0x22"));
}

/* The event of the unit goes out as it is, though messages are remapped. */
WITH_INTERRUPTS(own_message, "intremap=on,eim=on")
{
    interrupts_on(machine, IRTA_EIME);
    write64(machine, VTD_FEADDR, UINT64_C(0x00000100fee01000));
    write32(machine, VTD_FEDATA, 0x12340041);
    write32(machine, VTD_FECTL, 0);
    assert_int_equal(interrupt(machine, remappable(1), 0, 0).outcome, VIOMMU_INTERRUPT_BLOCKED);
    assert_int_equal(machine->msi_count, 1);
    assert_int_equal(machine->msi[0].address, UINT64_C(0x00000100fee01000));
    assert_int_equal(machine->msi[0].data, 0x12340041);
}

/* A look leaves nothing behind. */
WITH_INTERRUPTS(lookup, "intremap=on")
{
    struct viommu_interrupt_request request = {.address = remappable(3),
                                               .flags = VIOMMU_INTERRUPT_LOOKUP};
    struct viommu_interrupt out;

    viommu_interrupt_remap(machine->viommu, &request, &out);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_BLOCKED);
    assert_int_equal(out.reason, 0x22);
    assert_int_equal(read32(machine, VTD_FSTS), 0);
    assert_int_equal(stats_of(machine).interrupts_blocked, 0);
    write_entry(machine, 3, IRTE_P | IRTE_V(0x35), 0);
    viommu_interrupt_remap(machine->viommu, &request, &out);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_REMAPPED);
    assert_int_equal(out.vector, 0x35);
    assert_int_equal(stats_of(machine).interrupts_remapped, 0);
}

/* An IOAPIC whose entry names another function, as test kernels have it. */
WITH_INTERRUPTS(ioapic_any_source, "intremap=on,ioapic-any-source=on")
{
    struct viommu_interrupt_request request = {
        .address = remappable(3), .requester_id = 0xff00, .flags = VIOMMU_INTERRUPT_IOAPIC};
    struct viommu_interrupt out;

    write_entry(machine, 3, IRTE_P | IRTE_V(0x35), IRTE_SVT(1) | 0x0018);
    viommu_interrupt_remap(machine->viommu, &request, &out);
    assert_int_equal(out.outcome, VIOMMU_INTERRUPT_REMAPPED);
    interrupt_faults(machine, remappable(3), 0, 0xff00, 0x26, 3); /* not an IOAPIC */
}

WITH_INTERRUPTS(ioapic_source, "intremap=on")
{
    struct viommu_interrupt_request request = {
        .address = remappable(3), .requester_id = 0xff00, .flags = VIOMMU_INTERRUPT_IOAPIC};
    struct viommu_interrupt out;

    write_entry(machine, 3, IRTE_P, IRTE_SVT(1) | 0x0018);
    viommu_interrupt_remap(machine->viommu, &request, &out);
    assert_int_equal(out.reason, 0x26);
}

static void contradictions(void **state)
{
    static const char *const bad[] = {"intremap=off,eim=on", "eim=on",
                                      "intremap=off,ioapic-any-source=on"};

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(bad); i++) {
        struct viommu_vtd_options options;
        struct viommu_error error = {0};
        struct viommu *viommu;

        viommu_vtd_options_init(&options);
        assert_int_equal(viommu_memory_create(&options.memory, NULL), 0);
        assert_int_equal(viommu_vtd_options_parse(&options, bad[i], &error), 0);
        assert_int_equal(viommu_vtd_create(&viommu, &options, &error), -EINVAL);
        assert_non_null(strstr(error.message, "needs intremap"));
        /* What the string does not name follows. */
        assert_int_equal(
            viommu_vtd_options_parse(&options, "intremap=on,eim=on,ioapic-any-source=on", NULL), 0);
        assert_int_equal(viommu_vtd_options_parse(&options, "intremap=off", NULL), 0);
        assert_false(options.extended_interrupts || options.ioapic_any_source);
        viommu_memory_destroy(options.memory);
    }
}

static const struct spec_rule rules[] = {
    {"VTD-11.4.3-IR", "11.4.3",
     "With intremap, ECAP has IR, EIM as eim says, the largest handle mask, and QI.", registers},
    {"VTD-11.4.10-1", "11.4.10", "Without EIM, EIME of IRTA_REG and event data 31:16 are reserved.",
     registers_without_eim},
    {"VTD-11.4.10-2", "11.4.10",
     "Without intremap there is no IRTA_REG, and IRE, SIRTP and CFI have no effect.", absent},
    {"VTD-11.4.4.1-5", "11.4.4.1",
     "IRE and CFI are levels, SIRTP is an order; GSTS_REG tells each when it is carried out.",
     status},
    {"VTD-11.4.10-3", "11.4.10",
     "The table takes effect with SIRTP, not with the write of IRTA_REG.", table_latched},
    {"VTD-5.1.1-1", "5.1.1", "While interrupt remapping is off, requests pass in either format.",
     switched_off},
    {"VTD-5.1.2-1", "5.1.2", "Only writes to the interrupt address range are interrupt requests.",
     outside},
    {"VTD-5.1.2.1-1", "5.1.2.1", "With CFIS set, requests in compatibility format pass unchanged.",
     compatibility_passes},
    {"VTD-5.1-IR-25", "5.1.2.1", "With CFIS clear, compatibility format is fault 25h.",
     compatibility_blocked},
    {"VTD-5.1.2.1-2", "5.1.2.1", "EIME blocks the compatibility format whatever CFI says.",
     compatibility_blocked_by_eime},
    {"VTD-9.9-1", "9.9", "DST, DM, RH, TM, DLM and the vector of an entry make the interrupt.",
     fields},
    {"VTD-9.9-2", "9.9", "With EIME the destination has 32 bits, otherwise 8, in bits 47:40.",
     wide_destination},
    {"VTD-9.9-3", "9.9", "All delivery modes arrive; the two that are reserved are fault 24h.",
     delivery_modes},
    {"VTD-5.1.3-1", "5.1.3", "Without SHV the index is the handle of 16 bits; the data is ignored.",
     handle},
    {"VTD-5.1.3-2", "5.1.3", "With SHV the subhandle of the data is added to the handle.",
     subhandle},
    {"VTD-5.1-IR-20", "7.1", "With SHV, data bits 31:16 set are fault 20h.", request_reserved},
    {"VTD-5.1-IR-21", "7.1", "An index beyond the table, for each of its sizes, is fault 21h.",
     index_beyond},
    {"VTD-5.1-IR-22", "7.1", "An entry that is not present is fault 22h, whatever else it says.",
     not_present},
    {"VTD-5.1-IR-23", "7.1", "An entry where there is no memory is fault 23h.", no_memory},
    {"VTD-5.1-IR-24", "7.1", "Each reserved bit and value of a remapped entry is fault 24h.",
     entry_reserved},
    {"VTD-9.9-4", "9.9", "Without EIME, the destination's other 24 bits are reserved.",
     destination_reserved},
    {"VTD-9.9-SVT-0", "9.9", "SVT 0: the source is not verified.", source_not_verified},
    {"VTD-9.9-SVT-1", "9.9", "SVT 1: the requester ID is SID, but for the bits that SQ leaves out.",
     source_id},
    {"VTD-9.9-SVT-2", "9.9", "SVT 2: the bus is from SID 15:8 to SID 7:0; else fault 26h.",
     source_bus},
    {"VTD-5.1-IR-FPD", "7.1", "FPD of the entry suppresses the record of faults 22h, 24h and 26h.",
     processing_disabled},
    {"VTD-11.4.7.6-IR", "11.4.7.6",
     "The record of an interrupt has its index in FI 63:48, and T, PP and EXE clear.", record},
    {"VTD-5.1.6-1", "5.1.6",
     "The unit's own messages are not remapped; with EIM all their bits go.", own_message},
    {"VTD-5.1-1", "5.1", "A look-up tells the outcome and records nothing.", lookup},
    {"VTD-5.1-2", "5.1", "ioapic-any-source takes IOAPICs, and no one else, from verification.",
     ioapic_any_source},
    {"VTD-5.1-3", "5.1", "An IOAPIC's source is verified like every other.", ioapic_source},
    {"VTD-11.4.3-IR-needs", "11.4.3", "eim and ioapic-any-source need intremap, and follow it.",
     contradictions},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
