/* SPDX-License-Identifier: MIT */
/*
 * The whole map of registers (VT-d 5.0, 11.4), as one table: each is there with its reset value and
 * its writable bits, or is absent, and then a capability bit says so.
 *
 * A register of a new feature is one more row, or a row that becomes true: with the properties that
 * switch the feature on added to `units`.
 */
#include "base/bits.h"
#include "machine.h"
#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

/* Configurations that the table is checked against. */
static const char *const units[] = {
    "",
    "scalable=off",
    "haw=39,aw=39,fault-records=1",
    "pmr=on,haw=40",
    "pmr=on,5-level=on,aw=57,haw=52,fault-records=256",
    "intremap=on,haw=40",
    "intremap=on,eim=on",
    "device-iotlb=on,page-requests=on",
    "second-stage=on,nested=on,ad=on,pasid-bits=20,supervisor=on,execute=on,rid-priv=on,extended-accessed=on",
};

/* Capability bits that this unit never has. */
#define CAP_AFL  BIT64(3)
#define ECAP_MTS BIT64(25)
#define ECAP_VCS BIT64(44)

struct row {
    const char *name;
    uint16_t offset;
    uint8_t size;
    uint16_t count;     /* of registers that follow one another; 0: one */
    uint64_t cap, ecap; /* bits without which it is absent */
    uint64_t reset;     /* value after reset; ANY: whatever it is, it stays */
    uint64_t ones;      /* what is read after ones were written to all bits */
    uint64_t zeros;     /* and then zeros */
    uint64_t clear;     /* bits that ones clear and zeros leave */
    uint64_t more;      /* bits of `ones` that are reserved without this bit of ECAP: */
    uint64_t more_ecap;
    bool haw;   /* an address: bits from the host address width on are reserved */
    bool never; /* absent in every configuration */
};

#define ANY     UINT64_MAX
#define MASKED  .reset = VTD_ECTL_IM, .ones = VTD_ECTL_IM
#define DATA    .ones = 0xffffffff, .more = 0xffff0000, .more_ecap = VTD_ECAP_EIM
#define ADDRESS .ones = 0xfffffffc
#define UPPER   .ones = 0xffffffff
#define PAGED   .ecap = VTD_ECAP_PRS

static const struct row map[] = {
    {"VER_REG", 0x00, 4, .reset = ANY},
    {"CAP_REG", 0x08, 8, .reset = ANY},
    {"ECAP_REG", 0x10, 8, .reset = ANY},
    {"GCMD_REG", 0x18, 4}, /* commands; reads as 0 */
    {"GSTS_REG", 0x1c, 4},
    {"RTADDR_REG", 0x20, 8, .ones = 0xfffffffffffffc00, .more = VTD_RTADDR_TTM,
     .more_ecap = VTD_ECAP_SMTS, .haw = true},
    /* Ones are a command, too: carried out, answered in CAIG, which stays; likewise IOTLB_REG. */
    {"CCMD_REG", 0x28, 8, .ones = 0x78000003ffffffff, .zeros = 0x1800000000000000},
    {"FSTS_REG", 0x34, 4, .clear = 0x71},
    {"FECTL_REG", 0x38, 4, MASKED},
    {"FEDATA_REG", 0x3c, 4, DATA},
    {"FEADDR_REG", 0x40, 4, ADDRESS},
    {"FEUADDR_REG", 0x44, 4, UPPER},
    {"AFLOG_REG", 0x58, 8, .cap = CAP_AFL, .never = true},
    {"PMEN_REG", 0x64, 4, .cap = VTD_CAP_PLMR, .ones = VTD_PMEN_EPM | VTD_PMEN_PRS},
    {"PLMBASE_REG", 0x68, 4, .cap = VTD_CAP_PLMR, .ones = 0xffe00000},
    {"PLMLIMIT_REG", 0x6c, 4, .cap = VTD_CAP_PLMR, .ones = 0xffe00000},
    {"PHMBASE_REG", 0x70, 8, .cap = VTD_CAP_PHMR, .ones = ~UINT64_C(0x1fffff), .haw = true},
    {"PHMLIMIT_REG", 0x78, 8, .cap = VTD_CAP_PHMR, .ones = ~UINT64_C(0x1fffff), .haw = true},
    {"IQH_REG", 0x80, 8},
    {"IQT_REG", 0x88, 8, .ones = 0x7fff0},
    {"IQA_REG", 0x90, 8, .ones = 0xfffffffffffff807, .haw = true},
    {"ICS_REG", 0x9c, 4, .clear = 1},
    {"IECTL_REG", 0xa0, 4, MASKED},
    {"IEDATA_REG", 0xa4, 4, DATA},
    {"IEADDR_REG", 0xa8, 4, ADDRESS},
    {"IEUADDR_REG", 0xac, 4, UPPER},
    {"IQERCD_REG", 0xb0, 8},
    {"IRTA_REG", 0xb8, 8, .ecap = VTD_ECAP_IR, .ones = 0xfffffffffffff80f, .more = BIT64(11),
     .more_ecap = VTD_ECAP_EIM, .haw = true},
    {"PQH_REG", 0xc0, 8, PAGED, .ones = 0x7ffe0},
    {"PQT_REG", 0xc8, 8, PAGED, .ones = 0x7ffe0},
    {"PQA_REG", 0xd0, 8, PAGED, .ones = 0xfffffffffffff007, .haw = true},
    {"PRS_REG", 0xdc, 4, PAGED, .clear = 3},
    {"PECTL_REG", 0xe0, 4, PAGED, MASKED},
    {"PEDATA_REG", 0xe4, 4, PAGED, DATA},
    {"PEADDR_REG", 0xe8, 4, PAGED, ADDRESS},
    {"PEUADDR_REG", 0xec, 4, PAGED, UPPER},
    {"MTRRCAP_REG", 0x100, 8, .ecap = ECAP_MTS, .never = true},
    {"MTRRDEF_REG", 0x108, 8, .ecap = ECAP_MTS, .never = true},
    {"MTRR_FIX*_REG", 0x120, 8, 11, .ecap = ECAP_MTS, .never = true},
    {"MTRR_PHYS*_REG", 0x180, 8, 20, .ecap = ECAP_MTS, .never = true},
    {"PERFCAP_REG", 0x300, 8, .ecap = VTD_ECAP_PMS, .never = true},
    {"PERF*OFF_REG", 0x310, 4, 4, .ecap = VTD_ECAP_PMS, .never = true},
    {"PERFINTRSTS_REG", 0x324, 4, .ecap = VTD_ECAP_PMS, .never = true},
    {"PERFINTRCTL_REG", 0x328, 4, 4, .ecap = VTD_ECAP_PMS, .never = true},
    {"PERFEVNTCAP*_REG", 0x380, 8, 16, .ecap = VTD_ECAP_PMS, .never = true},
    {"ECMD_REG", 0x400, 8, .cap = VTD_CAP_ECMDS, .never = true},
    {"ECEO_REG", 0x408, 8, .cap = VTD_CAP_ECMDS, .never = true},
    {"ECRSP_REG", 0x410, 8, .cap = VTD_CAP_ECMDS, .never = true},
    {"ECSTS_REG", 0x420, 8, .cap = VTD_CAP_ECMDS, .never = true},
    {"ECCAP*_REG", 0x430, 8, 4, .cap = VTD_CAP_ECMDS, .never = true},
    {"IVA_REG", 0x500, 8, .ones = 0xfffffffffffff07f},
    {"IOTLB_REG", 0x508, 8, .ones = 0x3603ffff00000000, .zeros = 0x0600000000000000},
    {"VCMD_REG", 0xe00, 8, .ecap = ECAP_VCS, .never = true},
    {"VCMD_EO_REG", 0xe08, 8, .ecap = ECAP_VCS, .never = true},
    {"VCRSP_REG", 0xe10, 8, .ecap = ECAP_VCS, .never = true},
    {"VCCAP_REG", 0xe30, 8, .ecap = ECAP_VCS, .never = true},
};

static uint64_t read_register(struct machine *machine, unsigned int offset, uint8_t size)
{
    return viommu_mmio_read(machine->viommu, offset, size);
}

static void write_register(struct machine *machine, unsigned int offset, uint8_t size,
                           uint64_t value)
{
    viommu_mmio_write(machine->viommu, offset, size, value & low_bits(size * 8));
}

static unsigned int end_of(const struct row *row)
{
    return row->offset + row->size * (row->count ? row->count : 1u);
}

static bool present(struct machine *machine, const struct row *row)
{
    return !(row->cap & ~read64(machine, VTD_CAP)) && !(row->ecap & ~read64(machine, VTD_ECAP));
}

static bool is_fault_record(struct machine *machine, unsigned int offset)
{
    return offset >= machine_fault_record(machine, 0) &&
           offset < machine_fault_record(machine, machine_fault_records(machine));
}

/* Where a row's registers would be, fault records may be: those are where CAP.FRO says. */
static bool free_for(struct machine *machine, const struct row *row)
{
    return !is_fault_record(machine, row->offset);
}

typedef void row_fn(struct machine *machine, const struct row *row, unsigned int offset);

/* Each row of each unit, in a fresh machine; one of those that are there, or that are not. */
static void for_each(bool there, row_fn *fn)
{
    for (size_t i = 0; i < SPEC_COUNT(units); i++) {
        for (const struct row *row = map; row < map + SPEC_COUNT(map); row++) {
            struct machine machine;

            machine_create(&machine, units[i]);
            if (present(&machine, row) == there && free_for(&machine, row))
                for (unsigned int at = row->offset; at < end_of(row); at += row->size)
                    fn(&machine, row, at);
            machine_destroy(&machine);
        }
    }
}

static void same(const struct row *row, const char *when, uint64_t is, uint64_t should)
{
    if (is != should)
        fail_msg("%s %s: 0x%llx, not 0x%llx", row->name, when, (unsigned long long)is,
                 (unsigned long long)should);
}

static void check_reset(struct machine *machine, const struct row *row, unsigned int offset)
{
    uint64_t value = read_register(machine, offset, row->size);

    if (row->reset == ANY)
        assert_int_not_equal(value, 0);
    else
        same(row, "when made", value, row->reset);
    write_register(machine, offset, row->size, UINT64_MAX);
    viommu_reset(machine->viommu);
    same(row, "after reset", read_register(machine, offset, row->size), value);
}

static void reset_values(void **state)
{
    (void)state;
    for_each(true, check_reset);
}

static uint64_t expected_ones(struct machine *machine, const struct row *row)
{
    const struct viommu_vtd_options *options = &vtd_of(machine->viommu)->options;
    uint64_t ones = row->ones;

    if (row->more_ecap & ~read64(machine, VTD_ECAP))
        ones &= ~row->more;
    return row->haw ? ones & low_bits(options->host_address_width) : ones;
}

static void check_writable(struct machine *machine, const struct row *row, unsigned int offset)
{
    uint64_t before = read_register(machine, offset, row->size);

    write_register(machine, offset, row->size, UINT64_MAX);
    same(row, "after ones", read_register(machine, offset, row->size),
         row->reset == ANY ? before : expected_ones(machine, row));
    write_register(machine, offset, row->size, 0);
    same(row, "after zeros", read_register(machine, offset, row->size),
         row->reset == ANY ? before : row->zeros);
}

static void writable_bits(void **state)
{
    (void)state;
    for_each(true, check_writable);
}

/* Bits that the unit sets; here by hand. */
static void set_inside(struct machine *machine, unsigned int offset, uint8_t size, uint64_t bits)
{
    struct vtd *vtd = vtd_of(machine->viommu);

    if (size == 8)
        vtd_set64(vtd, offset, bits);
    else
        vtd_change32(vtd, offset, 0, (uint32_t)bits);
}

static void check_clear(struct machine *machine, const struct row *row, unsigned int offset)
{
    for (unsigned int bit = 0; bit < row->size * 8u; bit++) {
        if (!(row->clear & BIT64(bit)))
            continue;
        set_inside(machine, offset, row->size, row->clear);
        write_register(machine, offset, row->size, 0);
        same(row, "after zeros", read_register(machine, offset, row->size), row->clear);
        write_register(machine, offset, row->size, BIT64(bit));
        same(row, "after a one", read_register(machine, offset, row->size),
             row->clear & ~BIT64(bit));
    }
}

static void write_one_to_clear(void **state)
{
    (void)state;
    for_each(true, check_clear);
}

static void check_absent(struct machine *machine, const struct row *row, unsigned int offset)
{
    same(row, "being absent", read_register(machine, offset, row->size), 0);
    write_register(machine, offset, row->size, UINT64_MAX);
    same(row, "being absent, after ones", read_register(machine, offset, row->size), 0);
    for (unsigned int half = 0; half < row->size; half += 4) {
        write_register(machine, offset + half, 4, UINT32_MAX);
        same(row, "being absent, half", read_register(machine, offset, row->size), 0);
    }
}

static void absent_registers(void **state)
{
    (void)state;
    for_each(false, check_absent);
}

static void capability_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(units); i++) {
        struct machine machine;

        machine_create(&machine, units[i]);
        for (const struct row *row = map; row < map + SPEC_COUNT(map); row++)
            if (row->never && present(&machine, row))
                fail_msg("%s is not there, but CAP or ECAP says so", row->name);
        machine_destroy(&machine);
    }
}

/* All fault records: F is cleared by a one, nothing else is written. */
static void fault_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(units); i++) {
        static const struct row low = {"FRCD_REG (low)", 0, 8, .ones = 0};
        static const struct row high = {"FRCD_REG (high)", 0, 8, .clear = VTD_FRCD_F};
        struct machine machine;

        machine_create(&machine, units[i]);
        for (unsigned int n = 0; n < machine_fault_records(&machine); n++) {
            unsigned int at = (unsigned int)machine_fault_record(&machine, n);

            check_reset(&machine, &low, at);
            check_reset(&machine, &high, at + 8);
            check_writable(&machine, &low, at);
            check_clear(&machine, &high, at + 8);
        }
        machine_destroy(&machine);
    }
}

static bool in_map(struct machine *machine, unsigned int offset)
{
    for (const struct row *row = map; row < map + SPEC_COUNT(map); row++)
        if (offset >= row->offset && offset < end_of(row) && present(machine, row))
            return true;
    return is_fault_record(machine, offset);
}

static void everything_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(units); i++) {
        struct machine machine;

        machine_create(&machine, units[i]);
        for (unsigned int at = 0; at < viommu_mmio_size(machine.viommu); at += 4) {
            if (in_map(&machine, at))
                continue;
            write32(&machine, at, UINT32_MAX);
            if (read32(&machine, at))
                fail_msg("%s: something is at 0x%x, in no row", units[i], at);
        }
        machine_destroy(&machine);
    }
}

/* Rows are in order and do not overlap; IVA and IOTLB are where ECAP.IRO says. */
static void the_table(void **state)
{
    struct machine machine;

    (void)state;
    for (size_t i = 1; i < SPEC_COUNT(map); i++)
        assert_true(map[i].offset >= end_of(&map[i - 1]));
    machine_create(&machine, "");
    assert_int_equal(machine_iotlb(&machine), VTD_IVA);
    machine_destroy(&machine);
}

static const struct spec_rule rules[] = {
    {"VTD-11.4-map-reset", "11.4", "Each register of the map has its reset value, also by reset.",
     reset_values},
    {"VTD-11.4-map-write", "11.4",
     "Each takes exactly its writable bits; reserved and read-only ones keep their value.",
     writable_bits},
    {"VTD-11.4-map-clear", "11.4", "Status bits are cleared by ones, one by one, and not by zeros.",
     write_one_to_clear},
    {"VTD-11.4-map-absent", "11.4",
     "Registers of features that are absent (advanced fault log, memory types, performance "
     "monitoring, enhanced and virtual commands, ...) read as 0 and ignore writes.",
     absent_registers},
    {"VTD-11.4-map-capability", "11.4",
     "A capability bit says that a register is absent: AFL, MTS, PMS, ECMDS, VCS are 0.",
     capability_bits},
    {"VTD-11.4.7.6-map", "11.4.7.6", "Every fault record can be read and its F cleared.",
     fault_records},
    {"VTD-11.4-map-rest", "11.4", "What no register occupies reads as 0 and ignores writes.",
     everything_else},
    {"VTD-11.4-map-order", "11.4", "No two registers overlap; IRO says where IVA_REG is.",
     the_table},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
