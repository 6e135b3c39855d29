/* SPDX-License-Identifier: MIT */
/* Properties, their contradictions, and the capability registers that follow from them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viommu/acpi.h>

#include "machine.h"
#include "model/vtd/register_map.h"

static uint64_t capability(const char *properties, unsigned int offset)
{
    struct machine machine;
    uint64_t value;

    machine_create(&machine, properties);
    value = read64(&machine, offset);
    machine_destroy(&machine);
    return value;
}

static uint64_t cap(const char *properties, uint64_t field)
{
    return field_get(field, capability(properties, VTD_CAP));
}

static uint64_t ecap(const char *properties, uint64_t field)
{
    return field_get(field, capability(properties, VTD_ECAP));
}

/* The properties are refused, and the message holds each of the words. */
static void refused(const char *properties, const char *word, const char *another)
{
    struct viommu_error error = {0};
    struct viommu_vtd_options options;
    struct viommu *viommu;
    int ret;

    viommu_vtd_options_init(&options);
    assert_int_equal(viommu_memory_create(&options.memory, NULL), 0);
    ret = viommu_vtd_options_parse(&options, properties, &error);
    if (!ret)
        ret = viommu_vtd_create(&viommu, &options, &error);
    viommu_memory_destroy(options.memory);
    assert_int_equal(ret, -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    if (!strstr(error.message, word) || (another && !strstr(error.message, another)))
        fail_msg("%s: '%s' lacks '%s' or '%s'", properties, error.message, word, another);
    assert_null(strchr(error.message, '\n'));
}

static void cap_widths(void **state)
{
    (void)state;
    assert_int_equal(cap("", VTD_CAP_MGAW), 47);
    assert_int_equal(cap("", VTD_CAP_SAGAW), 6);
    assert_int_equal(cap("aw=39,haw=39", VTD_CAP_MGAW), 38);
    assert_int_equal(cap("scalable=off,aw=57", VTD_CAP_MGAW), 56);
    assert_int_equal(cap("scalable=off,aw=57", VTD_CAP_SAGAW), 14);
    /* A first stage has 4 levels, also where MGAW is 39. */
    assert_int_equal(cap("aw=39,haw=39", VTD_CAP_SAGAW), 6);
    assert_int_equal(cap("aw=39,haw=39,scalable=off", VTD_CAP_SAGAW), 2);
}

static void cap_domains(void **state)
{
    (void)state;
    assert_int_equal(cap("", VTD_CAP_ND), 6);
    assert_int_equal(cap("domain-bits=4", VTD_CAP_ND), 0);
    assert_int_equal(cap("domain-bits=8", VTD_CAP_ND), 2);
}

static void cap_pages(void **state)
{
    (void)state;
    assert_int_equal(cap("", VTD_CAP_SSLPS), 3);
    assert_int_equal(cap("1g=off", VTD_CAP_SSLPS), 1);
    assert_int_equal(cap("1g=off,2m=off", VTD_CAP_SSLPS), 0);
    assert_int_equal(cap("", VTD_CAP_FS1GP), 1);
    assert_int_equal(cap("1g=off", VTD_CAP_FS1GP), 0);
    assert_int_equal(cap("first-stage=off", VTD_CAP_FS1GP), 0);
}

/* Page-selective invalidations can cover the largest page. */
static void cap_mask(void **state)
{
    (void)state;
    assert_int_equal(cap("", VTD_CAP_PSI), 1);
    assert_true(cap("", VTD_CAP_MAMV) >= 18);
}

static void cap_flags(void **state)
{
    (void)state;
    assert_int_equal(cap("", VTD_CAP_CM), 1);
    assert_int_equal(cap("caching-mode=off", VTD_CAP_CM), 0);
    assert_int_equal(cap("", VTD_CAP_DRD | VTD_CAP_DWD), 3);
    assert_int_equal(cap("drain=off", VTD_CAP_DRD | VTD_CAP_DWD), 0);
    assert_int_equal(cap("", VTD_CAP_ESRTPS), 1);
}

/* What this unit does not have: RWBF, AFL, posted interrupts, enhanced commands; 5-level unasked.
 */
static void cap_absent(void **state)
{
    (void)state;
    assert_int_equal(capability("", VTD_CAP) & (BIT64(3) | BIT64(4) | VTD_CAP_PI | VTD_CAP_FS5LP |
                                                VTD_CAP_ECMDS | VTD_CAP_ESIRTPS),
                     0);
    assert_int_equal(capability("", VTD_ECAP) &
                         (VTD_ECAP_DT | VTD_ECAP_IR | VTD_ECAP_EIM | VTD_ECAP_PRS | VTD_ECAP_DIT |
                          VTD_ECAP_PDS | VTD_ECAP_PMS | VTD_ECAP_RPRIVS),
                     0);
}

/* All fault records and the IOTLB registers lie within the registers, and overlap nothing. */
static void cap_offsets(void **state)
{
    static const char *const properties[] = {"fault-records=1", "fault-records=8",
                                             "fault-records=160", "fault-records=161",
                                             "fault-records=256"};

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(properties); i++) {
        struct machine machine;
        uint64_t size, records, end, iotlb;

        machine_create(&machine, properties[i]);
        size = viommu_mmio_size(machine.viommu);
        records = machine_fault_record(&machine, 0);
        end = machine_fault_record(&machine, machine_fault_records(&machine));
        iotlb = machine_iotlb(&machine);
        assert_true(end <= size && iotlb + 16 <= size);
        assert_true(iotlb + 16 <= records || iotlb >= end);
        assert_true(records >= 0x100 && iotlb >= 0xf0);
        assert_int_equal(size, end <= 4096 ? 4096 : 8192);
        machine_destroy(&machine);
    }
}

static void ecap_legacy(void **state)
{
    uint64_t value = capability("scalable=off,first-stage=off", VTD_ECAP);

    (void)state;
    assert_int_equal(value & GENMASK64(63, 24), 0);
    assert_true(value & VTD_ECAP_QI);
}

static void ecap_stages(void **state)
{
    (void)state;
    assert_int_equal(ecap("", VTD_ECAP_SMTS), 1);
    assert_int_equal(ecap("", VTD_ECAP_FSTS), 1);
    assert_int_equal(ecap("", VTD_ECAP_SSTS), 0);
    assert_int_equal(ecap("", VTD_ECAP_NEST), 0);
    assert_int_equal(ecap("second-stage=on,first-stage=off", VTD_ECAP_FSTS), 0);
    assert_int_equal(ecap("second-stage=on,first-stage=off", VTD_ECAP_SSTS), 1);
    assert_int_equal(ecap("second-stage=on,nested=on", VTD_ECAP_NEST), 1);
    assert_int_equal(ecap("second-stage=on,ad=on", VTD_ECAP_SSADS), 1);
    assert_int_equal(ecap("pt=off", VTD_ECAP_PT), 0);
    assert_int_equal(ecap("", VTD_ECAP_PT), 1);
}

static void ecap_pasid(void **state)
{
    (void)state;
    assert_int_equal(ecap("", VTD_ECAP_PASID), 0);
    assert_int_equal(ecap("pasid-bits=20", VTD_ECAP_PASID), 1);
    assert_int_equal(ecap("pasid-bits=20", VTD_ECAP_PSS), 19);
    assert_int_equal(ecap("pasid-bits=1", VTD_ECAP_PSS), 0);
    assert_int_equal(ecap("pasid-bits=8,execute=on", VTD_ECAP_ERS), 1);
    assert_int_equal(ecap("supervisor=on", VTD_ECAP_SRS), 1);
    assert_int_equal(ecap("extended-accessed=on", VTD_ECAP_EAFS), 1);
}

static void ecap_coherent(void **state)
{
    (void)state;
    assert_int_equal(ecap("", VTD_ECAP_C), 1);
    assert_int_equal(ecap("", VTD_ECAP_SMPWCS), 1);
    assert_int_equal(ecap("coherent=off", VTD_ECAP_C), 0);
    assert_int_equal(ecap("coherent=off", VTD_ECAP_SMPWCS), 0);
    assert_int_equal(ecap("snoop-control=off", VTD_ECAP_SC), 0);
}

/*
 * Each property changes its own bits and no others: a bit of one that is or-ed into another would
 * go unseen.
 */
static void properties_apart(void **state)
{
    static const struct {
        const char *without, *with;
        uint64_t cap, ecap;
    } rows[] = {
        {"", "caching-mode=off", VTD_CAP_CM, 0},
        {"", "drain=off", VTD_CAP_DRD | VTD_CAP_DWD, 0},
        {"", "1g=off", BIT64(35) | VTD_CAP_FS1GP, 0},
        {"1g=off", "1g=off,2m=off", BIT64(34), 0},
        {"", "domain-bits=8", BIT64(2) /* 6 -> 2 */, 0},
        {"", "fault-records=16", BIT64(43) /* 7 -> 15 */, 0},
        {"", "haw=40", 0, 0},
        {"haw=39", "haw=39,aw=39", BIT64(19) | BIT64(16), 0},
        {"scalable=off,haw=39", "scalable=off,haw=39,aw=39", BIT64(10) | BIT64(19) | BIT64(16), 0},
        {"", "pt=off", 0, VTD_ECAP_PT},
        {"", "snoop-control=off", 0, VTD_ECAP_SC},
        {"", "coherent=off", 0, VTD_ECAP_C | VTD_ECAP_SMPWCS},
        {"", "pasid-bits=1", 0, VTD_ECAP_PASID},
        {"pasid-bits=1", "pasid-bits=17", 0, BIT64(39)},
        {"pasid-bits=1", "pasid-bits=1,execute=on", 0, VTD_ECAP_ERS},
        {"", "supervisor=on", 0, VTD_ECAP_SRS},
        {"", "extended-accessed=on", 0, VTD_ECAP_EAFS},
        {"", "second-stage=on", 0, VTD_ECAP_SSTS},
        {"second-stage=on", "second-stage=on,ad=on", 0, VTD_ECAP_SSADS},
        {"second-stage=on", "second-stage=on,nested=on", 0, VTD_ECAP_NEST},
        {"second-stage=on", "second-stage=on,first-stage=off", VTD_CAP_FS1GP, VTD_ECAP_FSTS},
        {"", "hw-nested=off", 0, 0},
        {"", "5-level=on", VTD_CAP_FS5LP, 0},
        {"", "pmr=on", BIT64(5) | BIT64(6), 0},
        {"supervisor=on", "supervisor=on,rid-priv=on", 0, BIT64(53)},
        {"", "abort-dma=off", 0, BIT64(52)},
        {"5-level=on", "5-level=on,aw=57", BIT64(11) | BIT64(20) | UINT64_C(7) << 16, 0},
    };

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(rows); i++) {
        uint64_t caps = capability(rows[i].without, VTD_CAP) ^ capability(rows[i].with, VTD_CAP);
        uint64_t ecaps = capability(rows[i].without, VTD_ECAP) ^ capability(rows[i].with, VTD_ECAP);

        if (caps != rows[i].cap || ecaps != rows[i].ecap)
            fail_msg("%s: CAP differs by %llx, ECAP by %llx", rows[i].with,
                     (unsigned long long)caps, (unsigned long long)ecaps);
    }
}

static void contradictions(void **state)
{
    (void)state;
    refused("scalable=off,first-stage=on", "first-stage needs scalable=on", "first-stage=off");
    refused("scalable=off,first-stage=off,second-stage=on", "second-stage needs scalable", NULL);
    refused("scalable=off,first-stage=off,pasid-bits=4", "pasid-bits needs scalable", NULL);
    refused("nested=on", "nested needs second-stage", NULL);
    refused("first-stage=off,second-stage=on,nested=on", "nested needs first-stage", NULL);
    refused("first-stage=off,hw-nested=on", "hw-nested needs first-stage", "hw-nested=off");
    refused("scalable=off,hw-nested=on", "hw-nested needs first-stage", NULL);
    refused("first-stage=off,supervisor=on", "supervisor needs first-stage", NULL);
    refused("first-stage=off,extended-accessed=on", "extended-accessed needs first-stage", NULL);
    refused("execute=on", "execute needs pasid-bits above 0", NULL);
    refused("ad=on", "ad needs second-stage", NULL);
    refused("2m=off,1g=on", "1g needs 2m", NULL);
    refused("first-stage=off,pt=off", "nothing to translate by", NULL);
    refused("aw=40", "aw=40 must be 39, 48 or 57", NULL);
    refused("domain-bits=7", "domain-bits=7 must be even", NULL);
    refused("sanitize-strict=on", "sanitize-strict needs sanitize", NULL);
    refused("sanitize-patience=3", "sanitize-patience=3 needs sanitize=on", "patience=32");
    refused("page-requests=on", "page-requests needs device-iotlb", NULL);
    refused("scalable=off,device-iotlb=on,page-requests=on", "page-requests needs scalable", NULL);
    refused("eim=on", "eim needs intremap", NULL);
    refused("ioapic-any-source=on", "ioapic-any-source needs intremap", NULL);
    refused("rid-priv=on", "rid-priv needs supervisor", NULL);
    refused("second-stage=on,ad=on,coherent=off", "ad needs coherent", NULL);
    refused("extended-accessed=on,coherent=off", "extended-accessed needs coherent", NULL);
    refused("scalable=off,abort-dma=on", "abort-dma needs scalable", NULL);
    refused("aw=57", "aw=57 with a first stage needs 5-level=on", "first-stage=off");
    refused("first-stage=off,second-stage=on,5-level=on", "5-level needs first-stage", NULL);
    refused("aw=57,haw=53", "haw=53 must be a number from 32 to 52", NULL);
    refused("aw=48,haw=52", "haw=52 is wider than aw=48", "aw=57");
    refused("aw=39,haw=46", "haw=46 is wider than aw=39", "haw=39");
}

/* A program that was compiled with the first header that there was still makes a unit. */
static void oldest_size(void **state)
{
    volatile const size_t oldest = offsetof(struct viommu_vtd_options, five_level);
    struct viommu_vtd_options *options = malloc(oldest);
    struct viommu_error error;
    struct viommu *viommu;

    (void)state;
    assert_non_null(options);
    viommu_vtd_options_init_sized(options, oldest);
    assert_int_equal(viommu_memory_create(&options->memory, NULL), 0);
    if (viommu_vtd_create(&viommu, options, &error))
        fail_msg("%s", error.message);
    viommu_destroy(viommu);
    viommu_memory_destroy(options->memory);
    free(options);
}

/* Of the last page, and one beyond. */
static void memory_within_haw(void **state)
{
    static uint8_t page[2 * 4096] __attribute__((aligned(4096)));
    struct viommu_memory_range range = {UINT64_C(0xfffff000), 4096, page, 0};
    struct viommu_vtd_options options;
    struct viommu_error error;
    struct viommu *viommu;

    (void)state;
    viommu_vtd_options_init(&options);
    options.host_address_width = 32;
    assert_int_equal(viommu_memory_create(&options.memory, NULL), 0);
    assert_int_equal(viommu_memory_add(options.memory, &range, NULL), 0);
    assert_int_equal(viommu_vtd_create(&viommu, &options, NULL), 0);
    viommu_destroy(viommu);
    range = (struct viommu_memory_range){UINT64_C(0x100000000), 4096, page + 4096, 0};
    assert_int_equal(viommu_memory_add(options.memory, &range, NULL), 0);
    assert_int_equal(viommu_vtd_create(&viommu, &options, &error), -EINVAL);
    assert_non_null(strstr(error.message, "up to 0x100000fff"));
    assert_non_null(strstr(error.message, "haw=33"));
    viommu_memory_destroy(options.memory);
}

/* What the string does not name gives way to what it does. */
static void properties_follow(void **state)
{
    (void)state;
    assert_int_equal(capability("scalable=off", VTD_CAP),
                     capability("scalable=off,first-stage=off", VTD_CAP));
    assert_int_equal(capability("scalable=off", VTD_ECAP),
                     capability("scalable=off,first-stage=off", VTD_ECAP));
    assert_int_equal(cap("2m=off", VTD_CAP_SSLPS), 0);
    assert_int_equal(cap("aw=39", VTD_CAP_MGAW), 38);
}

/* One answer tells everything that is wrong. */
static void all_contradictions(void **state)
{
    (void)state;
    refused("scalable=off,execute=on,aw=41", "aw=41", "execute needs pasid-bits");
    refused("scalable=off,first-stage=on,2m=off,1g=on", "first-stage needs scalable",
            "1g needs 2m");
}

static void bad_strings(void **state)
{
    (void)state;
    refused("colour=red", "no property 'colour'", "snoop-control");
    refused("pt", "pt has no value", "pt=on or off");
    refused("pt=yes", "pt=yes must be on or off", NULL);
    refused("pasid-bits=21", "pasid-bits=21 must be a number from 0 to 20", NULL);
    refused("pasid-bits=-1", "pasid-bits=-1", "0 to 20");
    refused("pasid-bits=", "pasid-bits=", "0 to 20");
    refused("fault-records=4294967297", "fault-records=4294967297", "1 to 256");
    refused("haw=0x20", "haw=0x20", "32 to 52");
    refused("pt=on,", "end with a comma", NULL);
    refused("pt=on,,aw=39", "no property ''", NULL);
    refused("aw=48,pt=on,aw=39", "aw is given twice", "leave one out");
    refused(",", "no property ''", NULL);
    refused("=on", "no property ''", NULL);
}

/* A string that is refused leaves the options as they were. */
static void parse_all_or_nothing(void **state)
{
    struct viommu_vtd_options before, after;

    (void)state;
    viommu_vtd_options_init(&before);
    after = before;
    assert_int_equal(viommu_vtd_options_parse(&after, "pt=off,aw=39,2m=maybe", NULL), -EINVAL);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(viommu_vtd_options_parse(&after, "", NULL), 0);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(viommu_vtd_options_parse(&after, "pt=off,haw=40", NULL), 0);
    assert_false(after.pass_through);
    assert_int_equal(after.host_address_width, 40);
}

/* A program that was compiled when the struct ended before `snoop_control`, or later than ours. */
static void other_sizes(void **state)
{
    /* volatile, so that the compiler does not see how little room there is, and warn */
    volatile const size_t older = offsetof(struct viommu_vtd_options, snoop_control);
    volatile const size_t newer = sizeof(struct viommu_vtd_options) + 16;
    struct viommu_vtd_options *options = malloc(older);
    struct viommu_error error;
    char *bytes;

    (void)state;
    assert_non_null(options);
    viommu_vtd_options_init_sized(options, older);
    assert_int_equal(options->size, older);
    assert_true(options->drain);
    assert_int_equal(viommu_vtd_options_parse(options, "pt=off,drain=off", &error), 0);
    assert_int_equal(options->size, older);
    assert_false(options->pass_through || options->drain);
    assert_int_equal(viommu_vtd_options_parse(options, "pt=on,snoop-control=on", &error), -EINVAL);
    assert_non_null(strstr(error.message, "snoop-control is newer than the"));
    assert_false(options->pass_through);
    free(options);

    options = malloc(newer);
    assert_non_null(options);
    bytes = memset(options, 0xff, newer);
    viommu_vtd_options_init_sized(options, newer);
    assert_int_equal(options->size, newer);
    assert_int_equal(viommu_vtd_options_parse(options, "snoop-control=off", &error), 0);
    assert_int_equal(options->size, newer);
    assert_int_equal(bytes[newer - 1], 0);
    bytes[newer - 1] = 1;
    assert_int_equal(viommu_vtd_options_parse(options, "pt=off", &error), -E2BIG);
    assert_int_equal(bytes[newer - 1], 1);

    options->size = 0;
    viommu_vtd_options_init_sized(options, sizeof(options->size) - 1);
    assert_int_equal(options->size, 0);
    assert_int_equal(viommu_vtd_options_parse(options, "pt=off", &error), -EINVAL);
    free(options);
}

static void place(void **state)
{
    struct viommu_error error;
    struct viommu_vtd_options options;
    struct viommu *viommu;

    (void)state;
    viommu_vtd_options_init(&options);
    assert_int_equal(options.mmio_base, 0xfed90000);
    assert_int_equal(viommu_vtd_create(&viommu, &options, &error), -EINVAL);
    assert_non_null(strstr(error.message, "memory is NULL"));
    assert_int_equal(viommu_memory_create(&options.memory, NULL), 0);
    options.mmio_base = 0xfed90800;
    assert_int_equal(viommu_vtd_create(&viommu, &options, &error), -EINVAL);
    assert_non_null(strstr(error.message, "0xfed90800 must be a multiple of"));
    options.mmio_base = UINT64_C(1) << 46;
    assert_int_equal(viommu_vtd_create(&viommu, &options, &error), -EINVAL);
    assert_non_null(strstr(error.message, "beyond the 46 address bits"));
    viommu_memory_destroy(options.memory);
}

/* The promise of nesting in hardware needs a first stage to nest; without one nothing is refused.
 */
static void promise(void **state)
{
    static const struct {
        const char *properties;
        uint64_t expected;
    } rows[] = {
        {"", VIOMMU_CAP_HW_NESTED},
        {"hw-nested=off", 0},
        {"scalable=off,first-stage=off", 0},
        {"first-stage=off,second-stage=on", 0},
        {"second-stage=on,nested=on", VIOMMU_CAP_HW_NESTED},
    };

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(rows); i++) {
        struct machine machine;

        machine_create(&machine, rows[i].properties);
        assert_int_equal(viommu_get_cap(machine.viommu), rows[i].expected);
        machine_destroy(&machine);
    }
}

static const struct spec_rule rules[] = {
    {"VTD-11.4.2-1", "11.4.2",
     "MGAW tells the width, SAGAW the levels: 3, 4 with 48 bits or a first stage, 5 with 57.",
     cap_widths},
    {"VTD-11.4.2-2", "11.4.2", "ND tells the domain-ID width in steps of two bits from four.",
     cap_domains},
    {"VTD-11.4.2-3", "11.4.2", "SSLPS and FS1GP tell the large pages of each stage.", cap_pages},
    {"VTD-11.4.2-4", "11.4.2", "Page-selective invalidation is offered, up to the largest page.",
     cap_mask},
    {"VTD-11.4.2-5", "11.4.2", "CM, DRD, DWD and ESRTPS follow the properties.", cap_flags},
    {"VTD-11.4.2-6", "11.4.2", "Features that are not there are not offered.", cap_absent},
    {"VTD-11.4.2-7", "11.4.2",
     "FRO, NFR and IRO keep all registers within the register space, apart from each other.",
     cap_offsets},
    {"VTD-11.4.3-1", "11.4.3", "Without scalable mode, none of its capabilities is offered.",
     ecap_legacy},
    {"VTD-11.4.3-2", "11.4.3", "SMTS, FSTS, SSTS, NEST, SSADS and PT follow the properties.",
     ecap_stages},
    {"VTD-11.4.3-3", "11.4.3", "PASID, PSS, ERS, SRS and EAFS follow the properties.", ecap_pasid},
    {"VTD-11.4.3-4", "11.4.3", "C, SMPWCS and SC follow the properties.", ecap_coherent},
    {"VTD-11.4.3-5", "11.4.3", "A property changes its own capability bits and no others.",
     properties_apart},
    {"VTD-11.4.3-6", "11.4.3",
     "Properties that contradict each other are refused, naming the rule.", contradictions},
    {"VTD-OPTIONS-6", "11.4.3", "An older caller's struct makes a unit without what is newer.",
     oldest_size},
    {"VTD-OPTIONS-HAW", "8.1", "Guest memory beyond the host address width is refused.",
     memory_within_haw},
    {"VTD-11.4.3-7", "11.4.3", "All contradictions are told at once.", all_contradictions},
    {"VTD-OPTIONS-1", "11.4.3",
     "A property string with unknown keys or values is refused with the range.", bad_strings},
    {"VTD-OPTIONS-2", "11.4.3", "A property string is taken whole or not at all.",
     parse_all_or_nothing},
    {"VTD-OPTIONS-4", "11.4.3",
     "What a property string does not name gives way to what it switches off.", properties_follow},
    {"VTD-OPTIONS-5", "11.4.3",
     "Nothing beyond the caller's struct is read, written or set by a property.", other_sizes},
    {"VTD-11.1-1", "11.1",
     "The register base is aligned to the register space and within the address width.", place},
    {"VTD-OPTIONS-3", "11.4.3",
     "Hardware nesting is promised exactly when configured and possible for the guest.", promise},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
