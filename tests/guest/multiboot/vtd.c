/* SPDX-License-Identifier: MIT */
/* The unit's registers, accessed as no Linux driver does. Source: VT-d 5.0, 11.2 and 11.4. */
#include "bare.h"

#define PATIENCE 1000000u

uint64_t vtd_read_halves(uint32_t offset)
{
    uint32_t low = read32(VTD + offset);

    return (uint64_t)read32(VTD + offset + 4) << 32 | low;
}

void vtd_write_halves(uint32_t offset, uint64_t value)
{
    write32(VTD + offset, (uint32_t)value);
    write32(VTD + offset + 4, (uint32_t)(value >> 32));
}

/* ECAP.IRO, in units of 16 bytes, leads to IVA. */
uint32_t vtd_iotlb(void)
{
    return ((uint32_t)vtd_read_halves(VTD_ECAP) >> 8 & 0x3ff) * 16 + 8;
}

/* CAP.FRO, likewise. */
uint32_t vtd_fault_record(uint32_t index)
{
    return ((uint32_t)(vtd_read_halves(VTD_CAP) >> 24) & 0x3ff) * 16 + index * 16;
}

uint32_t vtd_fault_records(void)
{
    return ((uint32_t)(vtd_read_halves(VTD_CAP) >> 40) & 0xff) + 1;
}

bool vtd_faults_are_clear(void)
{
    uint32_t index;

    for (index = 0; index < vtd_fault_records(); index++)
        write32(VTD + vtd_fault_record(index) + 12, 1u << 31);
    write32(VTD + VTD_FSTS, VTD_FSTS_PFO);
    return same("FSTS with records cleared", read32(VTD + VTD_FSTS) & 3, 0);
}

bool vtd_take_fault(struct vtd_fault *fault)
{
    uint32_t status = read32(VTD + VTD_FSTS);
    uint32_t at = vtd_fault_record(status >> 8 & 0xff);
    uint32_t upper = read32(VTD + at + 12);
    bool good = same("FSTS.PPF", status & 3, VTD_FSTS_PPF) && same("F", upper >> 31, 1);

    fault->reason = upper & 0xff;
    fault->read = upper >> 30 & 1;
    fault->requester = read32(VTD + at + 8) & 0xffff;
    fault->info = vtd_read_halves(at);
    return vtd_faults_are_clear() && good;
}

bool vtd_command(uint32_t bit, bool on)
{
    uint32_t levels = VTD_GCMD_TE | VTD_GCMD_QIE | VTD_GCMD_IRE;
    uint32_t stays = read32(VTD + VTD_GSTS) & levels & ~bit;

    write32(VTD + VTD_GCMD, stays | (on ? bit : 0));
    for (uint32_t i = 0; i < PATIENCE; i++) {
        if (!(read32(VTD + VTD_GSTS) & bit) == !on)
            return true;
    }
    return false;
}

static bool version_is_known(void)
{
    uint32_t major = read32(VTD + VTD_VER) >> 4 & 15;

    return holds("it has registers to invalidate by", major >= 1 && major < 6);
}

static bool everything_is_off(void)
{
    return same("GSTS", read32(VTD + VTD_GSTS), 0) && same("FSTS", read32(VTD + VTD_FSTS), 0) &&
           same("FECTL", read32(VTD + VTD_FECTL), 1u << 31);
}

static bool capabilities_are_whole(void)
{
    uint64_t cap = vtd_read_halves(VTD_CAP);

    return same("CAP by 8 bytes", read64(VTD + VTD_CAP), cap) &&
           same("ECAP by 8 bytes", read64(VTD + VTD_ECAP), vtd_read_halves(VTD_ECAP)) &&
           holds("CAP.CM", cap >> 7 & 1) && holds("CAP.SAGAW has 39 bits", cap >> 9 & 1) &&
           holds("fault records lie in the page", vtd_fault_record(vtd_fault_records()) <= PAGE) &&
           holds("so do the IOTLB registers", vtd_iotlb() > 0x100 && vtd_iotlb() <= PAGE - 8);
}

/* RTADDR: one half leaves the other alone; nothing takes effect before SRTP. */
static bool halves_are_their_own(void)
{
    bool good;

    vtd_write_halves(VTD_RTADDR, 0);
    write32(VTD + VTD_RTADDR + 4, 0x12);
    good = same("the upper half alone", read64(VTD + VTD_RTADDR), 0x1200000000ull);
    write32(VTD + VTD_RTADDR, 0x345000);
    good &= same("both halves", read64(VTD + VTD_RTADDR), 0x1200345000ull);
    write32(VTD + VTD_RTADDR + 4, 0);
    good &= same("the lower half alone", read64(VTD + VTD_RTADDR), 0x345000);
    write64(VTD + VTD_RTADDR, 0x2100678000ull);
    good &= same("8 bytes by halves", vtd_read_halves(VTD_RTADDR), 0x2100678000ull);
    vtd_write_halves(VTD_RTADDR, 0);
    return good & same("GSTS", read32(VTD + VTD_GSTS), 0);
}

static bool two_registers_at_once(void)
{
    bool good;

    write64(VTD + VTD_FECTL, 0x1234ull << 32 | 1u << 31);
    good = same("FECTL", read32(VTD + VTD_FECTL), 1u << 31) &&
           same("FEDATA", read32(VTD + VTD_FEDATA), 0x1234);
    write32(VTD + VTD_FEDATA, 0);
    return good;
}

static bool small_accesses_are_ignored(void)
{
    bool good;

    write32(VTD + VTD_FEDATA, 0x1234);
    write8(VTD + VTD_FEDATA, 0xff);
    write8(VTD + VTD_FEDATA + 1, 0xff);
    write16(VTD + VTD_FEDATA, 0xffff);
    good = same("FEDATA", read32(VTD + VTD_FEDATA), 0x1234) &&
           same("a byte of it", read8(VTD + VTD_FEDATA), 0) &&
           same("a word of it", read16(VTD + VTD_FEDATA), 0);
    /* Neither switches anything on nor invalidates. */
    write8(VTD + VTD_GCMD + 3, 0x80);
    write8(VTD + VTD_CCMD + 7, 0xa0);
    good &= same("GSTS", read32(VTD + VTD_GSTS), 0);
    good &= same("CCMD", vtd_read_halves(VTD_CCMD), 0);
    write32(VTD + VTD_FEDATA, 0);
    return good;
}

static bool crooked_accesses_are_ignored(void)
{
    bool good;

    write32(VTD + VTD_FEDATA, 0x1234);
    write32(VTD + VTD_FEDATA + 1, ~0u);
    write32(VTD + VTD_FEDATA + 2, ~0u);
    good = same("FEDATA", read32(VTD + VTD_FEDATA), 0x1234) &&
           same("what lies across registers", read32(VTD + VTD_FEDATA + 2), 0);
    write32(VTD + VTD_FEDATA, 0);
    return good;
}

static bool read_only_registers_stay(void)
{
    static const uint32_t offsets[] = {VTD_VER,  VTD_CAP,      VTD_CAP + 4,
                                       VTD_ECAP, VTD_ECAP + 4, VTD_GSTS};

    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        uint32_t was = read32(VTD + offsets[i]);

        write32(VTD + offsets[i], ~was);
        if (!same("a register", read32(VTD + offsets[i]), was))
            return false;
    }
    return true;
}

/* 11.4.4.1: what the unit cannot do, it does not do. */
static bool unknown_commands_do_nothing(void)
{
    uint32_t known = read32(VTD + VTD_ECAP) & VTD_ECAP_IR ? VTD_GCMD_CFI : 0;

    write32(VTD + VTD_GCMD, 0x00ffffff & ~known);
    return same("GSTS", read32(VTD + VTD_GSTS), 0);
}

static bool nothing_lies_behind(void)
{
    write32(VTD + 0xffc, 0xffffffff);
    return same("the page's last register", read32(VTD + 0xffc), 0) &&
           same("the next page", read32(VTD + PAGE), ~0u);
}

static const struct check checks[] = {
    {"vtd: the version has registers to invalidate by", version_is_known, NULL},
    {"vtd: everything is off", everything_is_off, NULL},
    {"vtd: capabilities by halves and as a whole", capabilities_are_whole, NULL},
    {"vtd: halves of a register are written one by one", halves_are_their_own, NULL},
    {"vtd: two registers are written by one access", two_registers_at_once, NULL},
    {"vtd: accesses of a byte and a word are ignored", small_accesses_are_ignored, NULL},
    {"vtd: unaligned accesses are ignored", crooked_accesses_are_ignored, NULL},
    {"vtd: read-only registers stay as they are", read_only_registers_stay, NULL},
    {"vtd: unknown commands do nothing", unknown_commands_do_nothing, NULL},
    {"vtd: nothing lies behind the registers", nothing_lies_behind, NULL},
};

static bool nothing_answers(void)
{
    write32(VTD + VTD_GCMD, VTD_GCMD_RTP);
    return same("VER", read32(VTD + VTD_VER), ~0u) && same("GSTS", read32(VTD + VTD_GSTS), ~0u);
}

static const struct check checks_without_unit[] = {
    {"vtd: where no unit is, nothing answers", nothing_answers, NULL},
};

void vtd_checks(void)
{
    if (option("vtd"))
        RUN(checks);
    else
        RUN(checks_without_unit);
}
