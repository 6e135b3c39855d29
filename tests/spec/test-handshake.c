/* SPDX-License-Identifier: MIT */
/*
 * The capability handshake: what a vIOMMU says before anything is known of the host, the order in
 * which that is asked, and the comparison that follows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assigned.h"
#include "model/model.h"
#include "model/vtd/register_map.h"

/* VT-d's own ops, with each call recorded among those on the host. */

static const struct viommu_pci_iommu_ops *real_ops;
static struct assigned *recorder;

static struct viommu_dma_space *get_address_space(void *opaque, struct viommu_pci_id alias)
{
    return real_ops->get_address_space(opaque, alias);
}

static uint64_t get_viommu_cap(void *opaque)
{
    assigned_trace(recorder, "get_viommu_cap");
    return real_ops->get_viommu_cap(opaque);
}

static int set_iommu_device(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                            struct viommu_host_device *device, struct viommu_error *error)
{
    assigned_trace(recorder, "set_iommu_device");
    return real_ops->set_iommu_device(opaque, id, alias, device, error);
}

static void unset_iommu_device(void *opaque, struct viommu_pci_id id,
                               struct viommu_host_device *device)
{
    assigned_trace(recorder, "unset_iommu_device");
    real_ops->unset_iommu_device(opaque, id, device);
}

static const struct viommu_pci_iommu_ops recording_ops = {
    .size = sizeof(recording_ops),
    .get_address_space = get_address_space,
    .get_viommu_cap = get_viommu_cap,
    .set_iommu_device = set_iommu_device,
    .unset_iommu_device = unset_iommu_device,
};

static void create_recorded(struct assigned *assigned, const char *profile, const char *properties)
{
    struct machine *machine = &assigned->guest.machine;

    assigned_create(assigned, profile, properties);
    recorder = assigned;
    real_ops = machine->viommu->ops->pci_ops;
    assert_int_equal(viommu_pci_bus_set_iommu(machine->bus, NULL, NULL, NULL), 0);
    assert_int_equal(viommu_pci_bus_set_iommu(machine->bus, &recording_ops, machine->viommu, NULL),
                     0);
}

static void order_of_an_attach(void **state)
{
    struct assigned assigned;

    (void)state;
    create_recorded(&assigned, NULL, "");
    assigned_attach(&assigned, 0);
    assert_string_equal(assigned.trace, "bind get_viommu_cap ioas_alloc ioas_map hwpt_alloc attach "
                                        "hw_info set_iommu_device set_fault_handler");
    assigned_calm(&assigned);
    assigned_detach(&assigned, 0);
    assert_string_equal(assigned.trace, "unset_iommu_device set_fault_handler detach "
                                        "destroy_object ioas_unmap destroy_object unbind");
    assigned_destroy(&assigned);
}

static void order_of_an_attach_that_shares(void **state)
{
    struct assigned assigned;

    (void)state;
    create_recorded(&assigned, NULL, "");
    assigned_attach(&assigned, 0);
    assigned_calm(&assigned);
    assigned_attach(&assigned, 1);
    assert_string_equal(assigned.trace,
                        "bind get_viommu_cap attach hw_info set_iommu_device set_fault_handler");
    assigned_calm(&assigned);
    assigned_detach(&assigned, 1);
    assert_string_equal(assigned.trace, "unset_iommu_device set_fault_handler detach unbind");
    assigned_destroy(&assigned);
}

static void order_of_a_refused_attach(void **state)
{
    struct viommu_soft_census before;
    struct assigned assigned;

    (void)state;
    create_recorded(&assigned, "no-1g", "");
    before = assigned_census(&assigned);
    assert_int_equal(assigned_try_attach(&assigned, 0, NULL), -EOPNOTSUPP);
    assert_string_equal(assigned.trace,
                        "bind get_viommu_cap ioas_alloc ioas_map hwpt_alloc attach hw_info "
                        "set_iommu_device detach destroy_object ioas_unmap destroy_object unbind");
    assigned_same(&assigned, &before);
    assigned_destroy(&assigned);
}

/* A translated device is blocked first: its IOVAs must not be taken for guest addresses. */
static void order_of_a_detach_while_translated(void **state)
{
    struct assigned assigned;

    (void)state;
    create_recorded(&assigned, NULL, "");
    assigned_attach(&assigned, 0);
    assigned_bind(&assigned, 0, 0, assigned_first_stage(&assigned, GUEST_IOVA, GUEST_DATA),
                  GUEST_DOMAIN);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assigned_calm(&assigned);
    assigned_detach(&assigned, 0);
    assert_string_equal(assigned.trace,
                        "unset_iommu_device detach destroy_object set_fault_handler detach "
                        "destroy_object ioas_unmap destroy_object unbind");
    assigned_destroy(&assigned);
}

static void order_on_a_host_that_cannot_nest(void **state)
{
    struct viommu_soft_census before;
    struct assigned assigned;

    (void)state;
    create_recorded(&assigned, "no-nesting", "");
    before = assigned_census(&assigned);
    assert_int_equal(assigned_try_attach(&assigned, 0, NULL), -EOPNOTSUPP);
    assert_string_equal(
        assigned.trace,
        "bind get_viommu_cap ioas_alloc ioas_map hwpt_alloc hwpt_alloc ioas_unmap destroy_object "
        "ioas_alloc ioas_map hwpt_alloc attach hw_info set_iommu_device detach destroy_object "
        "ioas_unmap destroy_object unbind");
    assigned_same(&assigned, &before);
    assigned_destroy(&assigned);
}

/* Over all hosts: the same answer, and it is asked when no object of the host exists. */

static struct viommu_soft_census when_asked;

static uint64_t ask_and_look(void *opaque)
{
    when_asked = assigned_census(recorder);
    return get_viommu_cap(opaque);
}

static void same_on_every_host(void **state)
{
    static const struct {
        const char *properties;
        uint64_t cap;
    } configurations[] = {
        {"", VIOMMU_CAP_HW_NESTED},
        {"pasid-bits=20,1g=off,coherent=off", VIOMMU_CAP_HW_NESTED | VIOMMU_CAP_PASID},
        {"device-iotlb=on", VIOMMU_CAP_HW_NESTED | VIOMMU_CAP_ATS},
        {"device-iotlb=on,page-requests=on,pasid-bits=8",
         VIOMMU_CAP_HW_NESTED | VIOMMU_CAP_PASID | VIOMMU_CAP_ATS | VIOMMU_CAP_PRI},
        {"scalable=off,first-stage=off,device-iotlb=on", VIOMMU_CAP_ATS},
        {"hw-nested=off", 0},
        {"scalable=off,first-stage=off", 0},
        {"first-stage=off,second-stage=on", 0},
    };
    static struct viommu_pci_iommu_ops looking_ops;

    (void)state;
    assert_true(viommu_soft_profile_count() > 10);
    for (size_t i = 0; i < viommu_soft_profile_count(); i++) {
        for (size_t j = 0; j < SPEC_COUNT(configurations); j++) {
            struct assigned assigned;
            struct machine *machine = &assigned.guest.machine;

            create_recorded(&assigned, viommu_soft_profile_name(i), configurations[j].properties);
            looking_ops = recording_ops;
            looking_ops.get_viommu_cap = ask_and_look;
            assert_int_equal(viommu_pci_bus_set_iommu(machine->bus, NULL, NULL, NULL), 0);
            assert_int_equal(
                viommu_pci_bus_set_iommu(machine->bus, &looking_ops, machine->viommu, NULL), 0);
            assert_int_equal(viommu_get_cap(machine->viommu), configurations[j].cap);
            if (!assigned_try_attach(&assigned, 0, NULL))
                assert_int_equal(assigned_census(&assigned).attachments, 1);
            assert_int_equal(strncmp(assigned.trace, "bind get_viommu_cap ", 20), 0);
            assert_int_equal(when_asked.ioas, 0);
            assert_int_equal(when_asked.paging_hwpts, 0);
            assert_int_equal(when_asked.attachments, 0);
            assert_int_equal(viommu_pci_device_get_viommu_cap(assigned.function[0]),
                             configurations[j].cap);
            assert_int_equal(viommu_get_cap(machine->viommu), configurations[j].cap);
            assigned_destroy(&assigned);
        }
    }
}

/* The wrappers have an answer for everybody. */
static void no_viommu_no_capability(void **state)
{
    static const struct viommu_pci_device_options bypass = {
        .size = sizeof(bypass), .name = "bypass", .bypass = true};
    struct viommu_pci_device *function;
    struct viommu_pci_bus *bus;
    struct assigned assigned;
    struct machine *machine = &assigned.guest.machine;

    (void)state;
    assigned_create(&assigned, NULL, "");
    assert_int_equal(viommu_pci_root_bus_add(machine->pci, 1, 0, &bus, NULL), 0);
    assert_int_equal(viommu_pci_device_add(bus, 0, NULL, &function, NULL), 0);
    assert_int_equal(viommu_pci_device_get_viommu_cap(function), 0);
    assigned.function[0] = function;
    assigned_attach(&assigned, 0);
    assigned_arrives(&assigned, 0, GUEST_DATA, GUEST_DATA);
    assigned_detach(&assigned, 0);
    assert_int_equal(
        viommu_pci_device_add(machine->bus, VIOMMU_PCI_DEVFN(30, 0), &bypass, &function, NULL), 0);
    assert_int_equal(viommu_pci_device_get_viommu_cap(function), 0);
    assigned.function[0] = function;
    assigned_attach(&assigned, 0);
    guest_on(&assigned.guest, TTM_SCALABLE); /* empty tables: blocks what is not bypassed */
    assigned_arrives(&assigned, 0, GUEST_DATA, GUEST_DATA);
    assigned_destroy(&assigned);
}

/* The comparison */

static void all_mismatches_at_once(void **state)
{
    struct viommu_error error = {0};
    struct assigned assigned;

    (void)state;
    assigned_create(&assigned, "broadwell-ep", "pasid-bits=20,caching-mode=off");
    assert_int_equal(assigned_try_attach(&assigned, 0, &error), -EOPNOTSUPP);
    assert_int_equal(error.code, -EOPNOTSUPP);
    assert_string_equal(error.message,
                        "host broadwell-ep does not keep what the guest is promised: "
                        "a nesting parent: host made none (first-stage=off,second-stage=on); "
                        "nesting: host ECAP.NEST=0 (first-stage=off,second-stage=on); "
                        "second stage: host ECAP.SSTS=0 (first-stage=off,second-stage=on); "
                        "scalable mode: host ECAP.SMTS=0 (first-stage=off,second-stage=on); "
                        "first stage: host ECAP.FSTS=0 (first-stage=off,second-stage=on); "
                        "1 GiB pages: host CAP.FS1GP=0 (1g=off); "
                        "coherent walks: host ECAP.SMPWCS=0 (coherent=off); "
                        "20 bits of PASID: host has 0 (pasid-bits=0); "
                        "caching mode: off, so new mappings would stay unseen (caching-mode=on)");
    assigned_destroy(&assigned);
}

static void no_nesting_says_all_and_how(void **state)
{
    struct viommu_error error = {0};
    struct assigned assigned;

    (void)state;
    assigned_create(&assigned, "no-nesting", "");
    assert_int_equal(assigned_try_attach(&assigned, 0, &error), -EOPNOTSUPP);
    assert_string_equal(error.message,
                        "host no-nesting does not keep what the guest is promised: "
                        "a nesting parent: host made none (first-stage=off,second-stage=on); "
                        "nesting: host ECAP.NEST=0 (first-stage=off,second-stage=on)");
    assigned_destroy(&assigned);
}

/* A host of the test's making: Granite Rapids, with some bits changed. */
static int attach_named(const char *name, const char *properties, uint64_t cap_clear,
                        uint64_t ecap_clear, uint64_t cap_set, struct viommu_error *error)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_host_hw_info info = {.size = sizeof(info),
                                       .type = VIOMMU_HOST_IOMMU_VTD,
                                       .registers = {0xf9ed008cee780c66, 0x3fef9ea6f0efdf},
                                       .max_pasid_log2 = 20};
    struct assigned assigned;
    int ret;

    snprintf(info.name, sizeof(info.name), "%s", name);
    assigned_create(&assigned, NULL, properties);
    viommu_assign_destroy(assigned.assign);
    viommu_host_destroy(assigned.host);
    info.registers[0] = (info.registers[0] & ~cap_clear) | cap_set;
    info.registers[1] &= ~ecap_clear;
    options.custom = &info;
    assert_int_equal(viommu_soft_create(&assigned.host, &options, NULL), 0);
    assert_int_equal(
        viommu_soft_device_add(assigned.host, "0000:3a:00.0", 0, &assigned.soft[0], NULL), 0);
    assert_int_equal(viommu_assign_create(&assigned.assign, assigned.host,
                                          assigned.guest.machine.memory, NULL, NULL),
                     0);
    ret = assigned_try_attach(&assigned, 0, error);
    assigned_destroy(&assigned);
    return ret;
}

static int attach_custom(const char *properties, uint64_t cap_clear, uint64_t ecap_clear,
                         uint64_t cap_set, struct viommu_error *error)
{
    return attach_named("custom", properties, cap_clear, ecap_clear, cap_set, error);
}

static const struct {
    const char *properties; /* that promise it */
    const char *without;    /* the remedy: with it the host is good enough */
    uint64_t cap, ecap;     /* bits that the host does not have */
    uint64_t cap_set;
    const char *says;
} mismatches[] = {
    {"", "first-stage=off,second-stage=on", 0, VTD_ECAP_FSTS, 0,
     "first stage: host ECAP.FSTS=0 (first-stage=off,second-stage=on)"},
    {"", "1g=off", VTD_CAP_FS1GP, 0, 0, "1 GiB pages: host CAP.FS1GP=0 (1g=off)"},
    {"5-level=on", "", VTD_CAP_FS5LP, 0, 0,
     "5-level first stage: host CAP.FS5LP=0 (5-level=off,aw=48)"},
    {"supervisor=on", "", 0, VTD_ECAP_SRS, 0,
     "supervisor requests: host ECAP.SRS=0 (supervisor=off)"},
    {"pasid-bits=8,execute=on", "pasid-bits=8,execute=off", 0, 0, 0,
     "execute requests: hosts are not told ERE and NXE (execute=off)"},
    {"extended-accessed=on", "", 0, VTD_ECAP_EAFS, 0,
     "extended-accessed: host ECAP.EAFS=0 (extended-accessed=off)"},
    {"", "coherent=off", 0, VTD_ECAP_SMPWCS, 0,
     "coherent walks: host ECAP.SMPWCS=0 (coherent=off)"},
    {"", "snoop-control=off", 0, VTD_ECAP_SC, 0,
     "snoop control: host ECAP.SC=0 (snoop-control=off)"},
    {"", "drain=off", VTD_CAP_DRD, 0, 0, "read drain: host CAP.DRD=0 (drain=off)"},
    {"", "drain=off", VTD_CAP_DWD, 0, 0, "write drain: host CAP.DWD=0 (drain=off)"},
    {"pasid-bits=20", "pasid-bits=4", 0, UINT64_C(16) << 35 /* PSS */, 0,
     "20 bits of PASID: host has 4 (pasid-bits=4)"},
    {"pasid-bits=8", "", 0, VTD_ECAP_PASID, 0, "8 bits of PASID: host has 0 (pasid-bits=0)"},
    {"", "haw=39,aw=39", VTD_CAP_MGAW, 0, UINT64_C(41) << 16,
     "46 bits of GPA: host has 42 (haw=39); "
     "48 bits of IOVA: host has 42 (aw=39)"},
    {"", "haw=39,aw=39", VTD_CAP_SAGAW, 0, UINT64_C(2) << 8,
     "46 bits of GPA: host has 39 (haw=39); "
     "48 bits of IOVA: host has 39 (aw=39)"},
    {"5-level=on,aw=57,haw=52", "5-level=on,aw=48,haw=48", VTD_CAP_SAGAW, 0, UINT64_C(4) << 8,
     "52 bits of GPA: host has 48 (haw=48); "
     "57 bits of IOVA: host has 48 (aw=48)"},
    {"caching-mode=off", "", 0, 0, 0, "(caching-mode=on)"},
    {"supervisor=on,rid-priv=on", "supervisor=on,rid-priv=off", 0, 0, 0,
     "RID_PRIV: hosts are not told whose requests these are (rid-priv=off)"},
    {"pmr=on", "pmr=off", 0, 0, 0,
     "protected memory: hosts give all of guest memory to untranslated DMA (pmr=off)"},
    {"second-stage=on,ad=on", "", 0, 0, 0,
     "accessed/dirty bits: hosts set none in guest tables (ad=off)"},
    {"device-iotlb=on", "", 0, VTD_ECAP_DT, 0, "device TLBs: host ECAP.DT=0 (device-iotlb=off)"},
    {"device-iotlb=on,page-requests=on", "device-iotlb=on", 0, VTD_ECAP_PRS, 0,
     "page requests: host ECAP.PRS=0 (page-requests=off)"},
    {"hw-nested=off", "", 0, 0, 0,
     "first stage: not walked by the host without hw-nested (first-stage=off,second-stage=on)"},
};

static void every_promise_is_compared(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(mismatches); i++) {
        struct viommu_error error = {0};
        const char *start = "host custom does not keep what the guest is promised: ";

        assert_int_equal(attach_custom(mismatches[i].properties, mismatches[i].cap,
                                       mismatches[i].ecap, mismatches[i].cap_set, &error),
                         -EOPNOTSUPP);
        assert_int_equal(strncmp(error.message, start, strlen(start)), 0);
        if (!strstr(error.message, mismatches[i].says))
            fail_msg("\"%s\" does not say \"%s\"", error.message, mismatches[i].says);
    }
}

/* What is not promised, or changed as advised, is no mismatch. */
static void the_advice_helps(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(mismatches); i++) {
        struct viommu_error error = {0};

        if (attach_custom(mismatches[i].without, mismatches[i].cap, mismatches[i].ecap,
                          mismatches[i].cap_set, &error))
            fail_msg("%s: %s", mismatches[i].without, error.message);
    }
}

/* Any host will do for shadows, once nothing is promised that it lacks. */
static void shadows_need_little(void **state)
{
    const char *properties = "hw-nested=off,first-stage=off,second-stage=on,snoop-control=off,"
                             "drain=off,coherent=off,aw=39,haw=39";

    (void)state;
    for (size_t i = 0; i < viommu_soft_profile_count(); i++) {
        struct viommu_error error = {0};
        struct assigned assigned;

        assigned_create(&assigned, viommu_soft_profile_name(i), properties);
        if (assigned_try_attach(&assigned, 0, &error))
            fail_msg("%s: %s", viommu_soft_profile_name(i), error.message);
        assigned_destroy(&assigned);
    }
}

static void no_vtd_no_nesting(void **state)
{
    struct viommu_error error = {0};
    struct assigned assigned;

    (void)state;
    assigned_create(&assigned, "amd-zen4", "");
    assert_int_equal(assigned_try_attach(&assigned, 0, &error), -EOPNOTSUPP);
    assert_non_null(
        strstr(error.message, "the host's IOMMU is no VT-d (first-stage=off,second-stage=on)"));
    assigned_destroy(&assigned);
}

/* Before there is a device */

static const char *const promised_much[] = {
    "",
    "pasid-bits=20,device-iotlb=on,page-requests=on",
    "5-level=on,aw=57,haw=52,supervisor=on,extended-accessed=on",
    "second-stage=on,nested=on,ad=on,caching-mode=off,pmr=on,supervisor=on,rid-priv=on",
    "hw-nested=off,pasid-bits=8,execute=on",
    "scalable=off",
};

struct advice {
    struct viommu_vtd_options options;
    unsigned int mismatches;
};

static void take_advice(void *opaque, const struct viommu_vtd_mismatch *mismatch)
{
    struct advice *advice = opaque;

    advice->mismatches++;
    assert_int_equal(mismatch->size, sizeof(*mismatch));
    assert_true(*mismatch->promise && *mismatch->ability);
    if (!mismatch->remedy)
        fail_msg("%s: nothing helps", mismatch->promise);
    assert_int_equal(viommu_vtd_options_parse(&advice->options, mismatch->remedy, NULL), 0);
}

static struct viommu_host_hw_info info_of(struct assigned *assigned)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    uint32_t id;

    assert_int_equal(viommu_host_bind(assigned->host, "0000:3a:00.0", &id, NULL), 0);
    assert_int_equal(viommu_host_hw_info(assigned->host, id, &info, NULL), 0);
    viommu_host_unbind(assigned->host, id);
    return info;
}

/* What viommu_vtd_compare() says is what the attach says, but for the nesting parent. */
static void same_answer(const char *profile, const char *properties)
{
    struct viommu_error error = {0}, attach_error = {0};
    const char *parent = "a nesting parent: host made none (first-stage=off,second-stage=on); ";
    struct viommu_host_hw_info info;
    struct assigned assigned;
    const char *rest;
    struct advice advice = {.mismatches = 0};
    int ret;

    assigned_create(&assigned, profile, properties);
    info = info_of(&assigned);
    viommu_vtd_options_init(&advice.options);
    assert_int_equal(viommu_vtd_options_parse(&advice.options, properties, NULL), 0);
    ret = viommu_vtd_compare(&advice.options, &info, NULL, NULL, &error);
    assert_int_equal(assigned_try_attach(&assigned, 0, &attach_error), ret);
    rest = strstr(attach_error.message, parent);
    if (rest)
        assert_string_equal(rest + strlen(parent), strstr(error.message, ": ") + 2);
    else
        assert_string_equal(attach_error.message, error.message);
    assert_int_equal(viommu_vtd_compare(&advice.options, &info, take_advice, &advice, NULL), ret);
    assert_int_equal(advice.mismatches != 0, ret == -EOPNOTSUPP);
    if (viommu_vtd_compare(&advice.options, &info, NULL, NULL, &error))
        fail_msg("%s on %s, after all the advice: %s", properties, profile, error.message);
    assigned_destroy(&assigned);
}

static void compared_before_a_device(void **state)
{
    (void)state;
    for (size_t i = 0; i < viommu_soft_profile_count(); i++)
        for (size_t j = 0; j < SPEC_COUNT(promised_much); j++)
            same_answer(viommu_soft_profile_name(i), promised_much[j]);
}

static void compared_with_nothing(void **state)
{
    struct viommu_vtd_options options;
    struct viommu_host_hw_info info = {.size = 0};
    struct viommu_error error = {0};

    (void)state;
    viommu_vtd_options_init(&options);
    assert_int_equal(viommu_vtd_compare(&options, NULL, NULL, NULL, &error), -EINVAL);
    assert_non_null(strstr(error.message, "viommu_host_hw_info"));
    assert_int_equal(viommu_vtd_compare(&options, &info, NULL, NULL, NULL), -EINVAL);
    info.size = sizeof(info);
    assert_int_equal(viommu_vtd_compare(NULL, &info, NULL, NULL, &error), -EINVAL);
    assert_non_null(strstr(error.message, "viommu_vtd_options"));
    options.size = 0;
    assert_int_equal(viommu_vtd_compare(&options, &info, NULL, NULL, NULL), -EINVAL);
}

/* Everything promised, of a host that has nothing: the sentence still ends. */
static void the_longest_message(void **state)
{
    static const char longest[] = "a-name-of-63-characters,-which-is-all-that-a-host-may-be-called";
    struct viommu_error error = {0};

    (void)state;
    assert_int_equal(strlen(longest), sizeof(((struct viommu_host_hw_info *)0)->name) - 1);
    assert_int_equal(
        attach_named(longest,
                     "pasid-bits=20,supervisor=on,execute=on,extended-accessed=on,5-level=on,"
                     "second-stage=on,ad=on,caching-mode=off,pmr=on,rid-priv=on,"
                     "device-iotlb=on,page-requests=on",
                     ~UINT64_C(0), ~UINT64_C(0), UINT64_C(2) << 8 | UINT64_C(32) << 16, &error),
        -EOPNOTSUPP);
    assert_non_null(strstr(error.message, longest));
    for (size_t i = 0; i < SPEC_COUNT(mismatches); i++) {
        /* All but numbers, which are other ones here, and what goes without nesting. */
        if (!strstr(mismatches[i].says, "bits of") &&
            !strstr(mismatches[i].properties, "hw-nested=off") &&
            !strstr(error.message, mismatches[i].says))
            fail_msg("\"%s\" does not say \"%s\"", error.message, mismatches[i].says);
    }
    assert_non_null(strstr(error.message, "(ad=off)"));
    assert_true(strlen(error.message) < VIOMMU_ERROR_MESSAGE_SIZE - 1);
    assert_int_equal(error.message[strlen(error.message) - 1], ')');
}

static const struct spec_rule rules[] = {
    {"SHAKE-1", "order", "Attach asks, makes, attaches, realizes and hands over, in that order.",
     order_of_an_attach},
    {"SHAKE-2", "order", "A second device of the same host IOMMU shares the tables.",
     order_of_an_attach_that_shares},
    {"SHAKE-3", "order", "A refused attach is undone in exact reverse.", order_of_a_refused_attach},
    {"SHAKE-4", "order", "A translated device is blocked before anything else is undone.",
     order_of_a_detach_while_translated},
    {"SHAKE-5", "order", "A host that cannot nest is compared before it is refused.",
     order_on_a_host_that_cannot_nest},
    {"SHAKE-6", "capability",
     "The capability is the same on every host, and asked before any object.", same_on_every_host},
    {"SHAKE-7", "capability", "A function behind no vIOMMU, or bypassing it, has no capability.",
     no_viommu_no_capability},
    {"COMPARE-1", "comparison", "All mismatches are told at once, each with its remedy.",
     all_mismatches_at_once},
    {"COMPARE-2", "comparison", "A host without ECAP.NEST is refused by what it lacks.",
     no_nesting_says_all_and_how},
    {"COMPARE-3", "comparison", "Every promise is compared with the host's registers.",
     every_promise_is_compared},
    {"COMPARE-4", "comparison", "What is not promised is not asked for.", the_advice_helps},
    {"COMPARE-5", "comparison", "Mirrored second-stage tables work on every host.",
     shadows_need_little},
    {"COMPARE-6", "comparison", "A host IOMMU that is no VT-d is not nested on.",
     no_vtd_no_nesting},
    {"COMPARE-7", "comparison", "The longest list of mismatches fits.", the_longest_message},
    {"COMPARE-8", "comparison",
     "Registers alone are compared as a device is, and all remedies together help.",
     compared_before_a_device},
    {"COMPARE-9", "comparison", "A comparison without options or host is refused.",
     compared_with_nothing},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "The capability handshake", rules, SPEC_COUNT(rules));
}
