/* SPDX-License-Identifier: MIT */
/* The properties of a unit, the rules between them, and the capability registers that follow. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "memory/memory.h"
#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

enum kind {
    ON_OFF,
    NUMBER8,
    NUMBER16,
};

struct property {
    const char *key;
    enum kind kind;
    size_t offset;
    uint16_t min, max, initial;
};

#define MEMBER(name) offsetof(struct viommu_vtd_options, name)
#define SWITCH(key, member, on)                                                                    \
    {                                                                                              \
        key, ON_OFF, MEMBER(member), 0, 1, on                                                      \
    }
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Keys, ranges and defaults are those in the comments of viommu/vtd.h. */
static const struct property properties[] = {
    {"aw", NUMBER8, MEMBER(address_width), 39, 57, 48},
    {"haw", NUMBER8, MEMBER(host_address_width), 32, 52, 46},
    {"pasid-bits", NUMBER8, MEMBER(pasid_bits), 0, 20, 0},
    {"fault-records", NUMBER16, MEMBER(fault_records), 1, 256, 8},
    {"domain-bits", NUMBER16, MEMBER(domain_bits), 4, 16, 16},
    SWITCH("scalable", scalable, true),
    SWITCH("first-stage", first_stage, true),
    SWITCH("second-stage", second_stage, false),
    SWITCH("nested", nested, false),
    SWITCH("hw-nested", hw_nested, true),
    SWITCH("pt", pass_through, true),
    SWITCH("caching-mode", caching_mode, true),
    SWITCH("coherent", coherent, true),
    SWITCH("2m", large_2m, true),
    SWITCH("1g", large_1g, true),
    SWITCH("ad", dirty_tracking, false),
    SWITCH("supervisor", supervisor, false),
    SWITCH("execute", execute, false),
    SWITCH("extended-accessed", extended_accessed, false),
    SWITCH("intremap", interrupt_remapping, false),
    SWITCH("eim", extended_interrupts, false),
    SWITCH("ioapic-any-source", ioapic_any_source, false),
    SWITCH("posted", posted, false),
    SWITCH("drain", drain, true),
    SWITCH("snoop-control", snoop_control, true),
    SWITCH("5-level", five_level, false),
    SWITCH("pmr", protected_memory, false),
    SWITCH("abort-dma", abort_dma, true),
    SWITCH("rid-priv", rid_privilege, false),
    SWITCH("sanitize", sanitize, false),
    SWITCH("sanitize-strict", sanitize_strict, false),
    {"sanitize-patience", NUMBER16, MEMBER(sanitize_patience), 0, UINT16_MAX, 32},
    SWITCH("device-iotlb", device_iotlb, false),
    SWITCH("page-requests", page_requests, false),
};

/*
 * A property that is on, or not 0, makes no sense without another. In an order in which what is
 * needed comes before what needs it.
 */
static const struct need {
    const char *key;
    const char *needs;
} needs[] = {
    /* VT-d 5.0, 11.4.3: EIM is clear when IR is. */
    {"eim", "intremap"},
    {"ioapic-any-source", "intremap"},
    {"posted", "intremap"},
    {"first-stage", "scalable"},
    {"second-stage", "scalable"},
    {"nested", "first-stage"},
    {"nested", "second-stage"},
    {"hw-nested", "first-stage"},
    {"pasid-bits", "scalable"},
    {"ad", "second-stage"},
    {"supervisor", "first-stage"},
    {"execute", "pasid-bits"},
    {"extended-accessed", "first-stage"},
    {"5-level", "first-stage"},
    {"abort-dma", "scalable"},
    {"rid-priv", "supervisor"},
    {"sanitize-strict", "sanitize"},
    /* VT-d 5.0, 11.4.3: SSADS and EAFS are clear when SMPWCS is. */
    {"ad", "coherent"},
    {"extended-accessed", "coherent"},
    /* VT-d 5.0, 11.4.2, SSLPS: a page size is not supported without the smaller ones. */
    {"1g", "2m"},
    /* VT-d 5.0, 11.4.3: PRS is clear when DT is, and legacy mode has no page requests. */
    {"page-requests", "scalable"},
    {"page-requests", "device-iotlb"},
};

static unsigned int get(const struct viommu_vtd_options *options, const struct property *property)
{
    const char *member = (const char *)options + property->offset;

    switch (property->kind) {
    case ON_OFF:
        return *(const bool *)member;
    case NUMBER8:
        return *(const uint8_t *)member;
    case NUMBER16:
        return *(const uint16_t *)member;
    }
    return 0;
}

static void set(struct viommu_vtd_options *options, const struct property *property,
                unsigned int value)
{
    char *member = (char *)options + property->offset;

    switch (property->kind) {
    case ON_OFF:
        *(bool *)member = value;
        break;
    case NUMBER8:
        *(uint8_t *)member = (uint8_t)value;
        break;
    case NUMBER16:
        *(uint16_t *)member = (uint16_t)value;
        break;
    }
}

static const struct property *find(const char *key, size_t length)
{
    for (size_t i = 0; i < COUNT(properties); i++)
        if (strlen(properties[i].key) == length && !memcmp(properties[i].key, key, length))
            return &properties[i];
    return NULL;
}

/* Of a struct of this library, as much as fits into the caller's. */
static void hand_back(struct viommu_vtd_options *options, size_t size,
                      struct viommu_vtd_options *ours)
{
    ours->size = size;
    memcpy(options, ours, size < sizeof(*ours) ? size : sizeof(*ours));
}

void viommu_vtd_options_init_sized(struct viommu_vtd_options *options, size_t size)
{
    struct viommu_vtd_options defaults = {.mmio_base = 0xfed90000};

    if (size < sizeof(options->size))
        return;
    for (size_t i = 0; i < COUNT(properties); i++)
        set(&defaults, &properties[i], properties[i].initial);
    memset(options, 0, size);
    hand_back(options, size, &defaults);
}

static int unknown_key(const char *key, size_t length, struct viommu_error *error)
{
    error_set(error, -EINVAL, "vtd has no property '%.*s'; it has", (int)length, key);
    for (size_t i = 0; i < COUNT(properties); i++)
        error_append(error, "%s %s", i ? "," : "", properties[i].key);
    return -EINVAL;
}

static bool parse_switch(const char *text, size_t length, unsigned int *value)
{
    *value = length == 2 && !memcmp(text, "on", 2);
    return *value || (length == 3 && !memcmp(text, "off", 3));
}

static bool parse_number(const char *text, size_t length, unsigned int *value)
{
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || *value > UINT16_MAX)
            return false;
        *value = *value * 10 + (unsigned int)(text[i] - '0');
    }
    return length > 0;
}

static int parse_value(struct viommu_vtd_options *options, const struct property *property,
                       const char *text, size_t length, struct viommu_error *error)
{
    unsigned int value;

    if (property->kind == ON_OFF) {
        if (!parse_switch(text, length, &value))
            return error_set(error, -EINVAL, "vtd property %s=%.*s must be on or off",
                             property->key, (int)length, text);
    } else if (!parse_number(text, length, &value) || value < property->min ||
               value > property->max) {
        return error_set(error, -EINVAL, "vtd property %s=%.*s must be a number from %u to %u",
                         property->key, (int)length, text, property->min, property->max);
    }
    set(options, property, value);
    return 0;
}

/* Whether the caller's struct, of the header that it was compiled with, has the property. */
static int check_known(const struct property *property, size_t size, struct viommu_error *error)
{
    static const size_t lengths[] = {
        [ON_OFF] = sizeof(bool), [NUMBER8] = sizeof(uint8_t), [NUMBER16] = sizeof(uint16_t)};

    if (property->offset + lengths[property->kind] <= size)
        return 0;
    return error_set(
        error, -EINVAL,
        "vtd property %s is newer than the %zu bytes of struct viommu_vtd_options that "
        "this program was compiled with; rebuild it with this libviommu's headers",
        property->key, size);
}

/*
 * What the string did not name follows what it did: a property that needs one which was switched
 * off goes off with it, and guest addresses are no wider than the second stage.
 */
static void follow(struct viommu_vtd_options *options, uint64_t named)
{
    for (size_t pass = 0; pass < COUNT(needs); pass++) {
        const struct property *property = find(needs[pass].key, strlen(needs[pass].key));
        const struct property *needed = find(needs[pass].needs, strlen(needs[pass].needs));

        if (!get(options, needed) && !(named & BIT64(property - properties)))
            set(options, property, 0);
    }
    if (!(named & BIT64(find("haw", 3) - properties)) &&
        options->host_address_width > options->address_width)
        options->host_address_width = options->address_width;
}

static int parse_properties(struct viommu_vtd_options *parsed, size_t size, const char *string,
                            struct viommu_error *error)
{
    uint64_t named = 0;

    while (*string) {
        size_t length = strcspn(string, ",");
        size_t key_length = strcspn(string, "=,");
        const struct property *property = find(string, key_length);
        int ret;

        if (!property)
            return unknown_key(string, key_length, error);
        if (key_length == length)
            return error_set(error, -EINVAL, "vtd property %s has no value; write %s=%s",
                             property->key, property->key,
                             property->kind == ON_OFF ? "on or off" : "a number");
        if (named & BIT64(property - properties))
            return error_set(error, -EINVAL, "vtd property %s is given twice; leave one out",
                             property->key);
        ret = check_known(property, size, error);
        if (!ret)
            ret = parse_value(parsed, property, string + key_length + 1, length - key_length - 1,
                              error);
        if (ret)
            return ret;
        named |= BIT64(property - properties);
        string += length;
        if (*string == ',' && !*++string)
            return error_set(error, -EINVAL, "vtd properties end with a comma; remove it");
    }
    if (named)
        follow(parsed, named);
    return 0;
}

int viommu_vtd_options_parse(struct viommu_vtd_options *options, const char *string,
                             struct viommu_error *error)
{
    struct viommu_vtd_options parsed;
    int ret =
        error_copy_options(&parsed, sizeof(parsed), options, "struct viommu_vtd_options", error);

    if (!ret)
        ret = parse_properties(&parsed, options->size, string, error);
    if (!ret)
        hand_back(options, options->size, &parsed);
    return ret;
}

struct check {
    const struct viommu_vtd_options *options;
    struct viommu_error *error;
    unsigned int broken; /* rules so far */
};

/* One more rule is broken: the first begins the sentence, the others follow. */
__attribute__((format(printf, 2, 3))) static void broken(struct check *check, const char *format,
                                                         ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (check->broken++)
        error_append(check->error, "; %s", text);
    else
        error_set(check->error, -EINVAL, "vtd: %s", text);
}

static void check_ranges(struct check *check)
{
    const struct viommu_vtd_options *options = check->options;

    for (size_t i = 0; i < COUNT(properties); i++) {
        const struct property *property = &properties[i];
        unsigned int value = get(options, property);

        if (value < property->min || value > property->max)
            broken(check, "%s=%u must be from %u to %u", property->key, value, property->min,
                   property->max);
    }
    if (options->address_width != 39 && options->address_width != 48 &&
        options->address_width != 57)
        broken(check, "aw=%u must be 39, 48 or 57", options->address_width);
    if (options->domain_bits % 2)
        broken(check, "domain-bits=%u must be even", options->domain_bits);
}

static void check_needs(struct check *check)
{
    for (size_t i = 0; i < COUNT(needs); i++) {
        const struct property *property = find(needs[i].key, strlen(needs[i].key));
        const struct property *needed = find(needs[i].needs, strlen(needs[i].needs));

        if (get(check->options, property) && !get(check->options, needed))
            broken(check, "%s needs %s%s (or %s%s)", property->key, needed->key,
                   needed->kind == ON_OFF ? "=on" : " above 0", property->key,
                   property->kind == ON_OFF ? "=off" : "=0");
    }
}

static void check_together(struct check *check)
{
    const struct viommu_vtd_options *options = check->options;
    unsigned int patience = find("sanitize-patience", 17)->initial;

    if (options->scalable && !options->first_stage && !options->second_stage &&
        !options->pass_through)
        broken(check,
               "scalable=on has nothing to translate by: first-stage, second-stage or pt on");
    /* 0 is also what a caller has whose header does not know of it. */
    if (options->sanitize_patience && options->sanitize_patience != patience && !options->sanitize)
        broken(check, "sanitize-patience=%u needs sanitize=on (or sanitize-patience=%u)",
               options->sanitize_patience, patience);
    /* VT-d 5.0, 11.4.2, MGAW: at least the width of the platform. */
    if (options->host_address_width > options->address_width)
        broken(check, "haw=%u is wider than aw=%u: haw=%u or less, or aw=%u",
               options->host_address_width, options->address_width, options->address_width,
               options->host_address_width <= 48 ? 48 : 57);
    /* Drivers up to Linux 6.5 take the widest of SAGAW for the first stage, too. */
    if (options->address_width > 48 && options->first_stage && !options->five_level)
        broken(check, "aw=57 with a first stage needs 5-level=on (or first-stage=off, or aw=48)");
}

static void check_place(struct check *check)
{
    const struct viommu_vtd_options *options = check->options;
    unsigned long long base = options->mmio_base;
    uint64_t size = vtd_options_mmio_size(options);

    if (!is_aligned(base, size))
        broken(check, "mmio_base 0x%llx must be a multiple of the 0x%llx bytes of registers", base,
               (unsigned long long)size);
    if (options->host_address_width < 64 && base >> options->host_address_width)
        broken(check, "mmio_base 0x%llx is beyond the %u address bits of haw", base,
               options->host_address_width);
}

/* DMA to what is beyond would fault, and the DMAR tells guests that nothing is there. */
static void check_memory(struct check *check)
{
    const struct viommu_vtd_options *options = check->options;
    uint64_t end = options->memory ? memory_end(options->memory) : 0;

    if (!options->memory)
        broken(check, "memory is NULL: give the unit the guest's memory map");
    else if (end && options->host_address_width < 64 && (end - 1) >> options->host_address_width)
        broken(check,
               "guest memory up to 0x%llx is beyond the %u address bits of haw: haw=%u, or less "
               "memory",
               (unsigned long long)(end - 1), options->host_address_width,
               64u - (unsigned int)__builtin_clzll(end - 1));
}

int vtd_options_check(const struct viommu_vtd_options *options, struct viommu_error *error)
{
    struct check check = {options, error, 0};

    check_ranges(&check);
    check_needs(&check);
    check_together(&check);
    check_place(&check);
    check_memory(&check);
    return check.broken ? -EINVAL : 0;
}

/* A flag of the capability registers, or nothing. */
static uint64_t flag(bool condition, uint64_t bit)
{
    return condition ? bit : 0;
}

/*
 * A first stage has 4 levels or 5 whatever MGAW is, and Linux makes one only when SAGAW has 4
 * levels: so do client machines, with MGAW 39 and SAGAW 48.
 */
static uint64_t interrupt_cap(const struct viommu_vtd_options *options)
{
    return flag(options->interrupt_remapping, VTD_CAP_ESIRTPS) | flag(options->posted, VTD_CAP_PI);
}

uint64_t vtd_options_cap(const struct viommu_vtd_options *options)
{
    bool wide = options->address_width >= 48 || options->first_stage;
    uint64_t pages = (options->large_2m ? 1 : 0) | (options->large_1g ? 2 : 0);

    return field_prep(VTD_CAP_ND, (options->domain_bits - 4u) / 2) | interrupt_cap(options) |
           flag(options->caching_mode, VTD_CAP_CM) |
           field_prep(VTD_CAP_SAGAW, VTD_SAGAW_39 | flag(wide, VTD_SAGAW_48) |
                                         flag(options->address_width >= 57, VTD_SAGAW_57)) |
           field_prep(VTD_CAP_MGAW, options->address_width - 1u) | VTD_CAP_ZLR |
           field_prep(VTD_CAP_FRO, VTD_FRCD / 16) | field_prep(VTD_CAP_SSLPS, pages) | VTD_CAP_PSI |
           field_prep(VTD_CAP_NFR, options->fault_records - 1u) |
           field_prep(VTD_CAP_MAMV, VTD_MAMV) | flag(options->drain, VTD_CAP_DRD | VTD_CAP_DWD) |
           flag(options->first_stage && options->large_1g, VTD_CAP_FS1GP) |
           flag(options->protected_memory, VTD_CAP_PLMR | VTD_CAP_PHMR) |
           flag(options->five_level, VTD_CAP_FS5LP) | VTD_CAP_ESRTPS;
}

static uint64_t scalable_ecap(const struct viommu_vtd_options *options)
{
    bool pasid = options->pasid_bits > 0;

    return VTD_ECAP_SMTS | VTD_ECAP_RPS | flag(options->abort_dma, VTD_ECAP_ADMS) |
           flag(options->rid_privilege, VTD_ECAP_RPRIVS) | flag(options->nested, VTD_ECAP_NEST) |
           flag(options->execute, VTD_ECAP_ERS) | flag(options->supervisor, VTD_ECAP_SRS) |
           flag(options->extended_accessed, VTD_ECAP_EAFS) | flag(pasid, VTD_ECAP_PASID) |
           field_prep(VTD_ECAP_PSS, pasid ? options->pasid_bits - 1u : 0) |
           flag(options->dirty_tracking, VTD_ECAP_SSADS) |
           flag(options->second_stage, VTD_ECAP_SSTS) | flag(options->first_stage, VTD_ECAP_FSTS) |
           flag(options->coherent, VTD_ECAP_SMPWCS) |
           flag(options->page_requests, VTD_ECAP_PRS | VTD_ECAP_PDS);
}

static uint64_t interrupt_ecap(const struct viommu_vtd_options *options)
{
    if (!options->interrupt_remapping)
        return 0;
    return VTD_ECAP_IR | flag(options->extended_interrupts, VTD_ECAP_EIM) |
           field_prep(VTD_ECAP_MHMV, VTD_MHMV);
}

uint64_t vtd_options_ecap(const struct viommu_vtd_options *options)
{
    return flag(options->coherent, VTD_ECAP_C) | VTD_ECAP_QI |
           flag(options->pass_through, VTD_ECAP_PT) | flag(options->snoop_control, VTD_ECAP_SC) |
           field_prep(VTD_ECAP_IRO, VTD_IVA / 16) | interrupt_ecap(options) |
           flag(options->device_iotlb, VTD_ECAP_DT | VTD_ECAP_NWFS) |
           (options->scalable ? scalable_ecap(options) : 0);
}

uint64_t vtd_options_mmio_size(const struct viommu_vtd_options *options)
{
    uint64_t end = VTD_FRCD + (uint64_t)options->fault_records * VTD_FRCD_SIZE;

    return end <= VTD_MMIO_SIZE_MAX / 2 ? VTD_MMIO_SIZE_MAX / 2 : VTD_MMIO_SIZE_MAX;
}

uint64_t vtd_options_viommu_cap(const struct viommu_vtd_options *options)
{
    return flag(options->hw_nested, VIOMMU_CAP_HW_NESTED) |
           flag(options->pasid_bits, VIOMMU_CAP_PASID) |
           flag(options->device_iotlb, VIOMMU_CAP_ATS) |
           flag(options->page_requests, VIOMMU_CAP_PRI);
}
