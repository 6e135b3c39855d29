/* SPDX-License-Identifier: MIT */
/*
 * Several units in one machine: one for all of segment 0, one for single functions of it, one on
 * segment 1. Each has tables, domains and PASIDs of its own, and leaves the others' devices alone,
 * whichever host IOMMU they are behind.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <viommu/assign.h>
#include <viommu/soft.h>

#include "guest_tables.h"
#include "model/vtd/register_map.h"

#define ALL    0u /* segment 0, whatever no other unit names */
#define SCOPED 1u /* segment 0, single functions */
#define FAR    2u /* segment 1 */
#define UNITS  3u

#define FUNCTIONS 4u

#define NOT_PRESENT 0x71 /* fault reasons (VT-d 5.0, table 30) */
#define PAGE(i)     (UINT64_C(0x80000) + (i)*0x1000)

/* The functions: where they are, and behind which IOMMU of the host when they are assigned. */
static const struct {
    unsigned int unit, segment, device, host_iommu;
    const char *name; /* on the host */
} places[FUNCTIONS] = {
    {ALL, 0, 0, 0, "0000:3a:00.0"},
    {SCOPED, 0, 1, 1, "0000:3b:00.0"},
    {FAR, 1, 0, 0, "0000:3a:00.1"}, /* the requester ID of the first */
    {ALL, 0, 2, 1, "0000:3b:00.1"},
};

struct rig {
    char log[512];              /* the last message of SCOPED or FAR */
    struct machine machine;     /* its unit is ALL */
    struct guest unit[UNITS];   /* the same machine, as a driver of that unit sees it */
    uint64_t root[UNITS];       /* root table */
    uint64_t context[UNITS];    /* of bus 0, devices 0 to 15 */
    uint64_t queue[UNITS];      /* two pages: descriptors, and what waits write */
    uint64_t pasids[FUNCTIONS]; /* PASIDs 0 to 63 */
    uint64_t table[FUNCTIONS];  /* first stage */
    struct viommu_pci_device *function[FUNCTIONS];
    struct viommu_host *host;
    struct viommu_assign *assign;
    struct viommu_soft_device *soft[FUNCTIONS];
    struct viommu_assigned_device *assigned[FUNCTIONS];
    unsigned int invalidations; /* calls on the host */
    unsigned int other;         /* while the host invalidates: what this unit does meanwhile */
    bool meanwhile;
};

static void record_log(void *opaque, enum viommu_log_level level, const char *message)
{
    struct rig *rig = opaque;

    (void)level;
    snprintf(rig->log, sizeof(rig->log), "%s", message);
}

static struct viommu *unit_create(struct rig *rig, const char *properties, uint16_t segment,
                                  uint64_t mmio_base)
{
    struct viommu_vtd_options options;
    struct viommu_error error;
    struct viommu *viommu = NULL;

    viommu_vtd_options_init(&options);
    options.memory = rig->machine.memory;
    options.log = (struct viommu_log){record_log, rig, VIOMMU_LOG_WARNING};
    options.segment = segment;
    options.mmio_base = mmio_base;
    if (viommu_vtd_options_parse(&options, properties, &error) ||
        viommu_vtd_create(&viommu, &options, &error))
        fail_msg("%s", error.message);
    return viommu;
}

/* Tables and queue of a unit; translation is on, and nothing is present. */
static void unit_start(struct rig *rig, unsigned int u, struct viommu *viommu)
{
    struct guest *unit = &rig->unit[u];

    unit->machine = rig->machine;
    unit->machine.viommu = viommu;
    unit->pool = GUEST_POOL + u * 0x400000;
    rig->root[u] = guest_page(unit);
    rig->context[u] = guest_page(unit);
    rig->queue[u] = guest_page(unit);
    guest_page(unit);
    store64(&unit->machine, rig->root[u], rig->context[u] | 1);
    machine_queue_start(&unit->machine, rig->queue[u], true);
    machine_set_root(&unit->machine, rig->root[u] | TTM_SCALABLE);
    machine_enable(&unit->machine, true);
}

static void rig_create(struct rig *rig, const char *properties)
{
    struct viommu_pci_bus *far_bus;
    struct viommu *scoped, *far;

    memset(rig, 0, sizeof(*rig));
    machine_create(&rig->machine, properties);
    scoped = unit_create(rig, properties, 0, 0xfed92000);
    far = unit_create(rig, properties, 1, 0xfed94000);
    assert_int_equal(viommu_pci_root_bus_add(rig->machine.pci, 1, 0, &far_bus, NULL), 0);
    assert_int_equal(viommu_protect_bus(far, far_bus, NULL), 0);
    for (unsigned int i = 0; i < FUNCTIONS; i++)
        rig->function[i] = rig->machine.device[places[i].device];
    assert_int_equal(viommu_pci_device_add(far_bus, 0, NULL, &rig->function[2], NULL), 0);
    assert_int_equal(viommu_protect_device(scoped, rig->function[1], NULL), 0);
    unit_start(rig, ALL, rig->machine.viommu);
    unit_start(rig, SCOPED, scoped);
    unit_start(rig, FAR, far);
}

static void rig_destroy(struct rig *rig)
{
    if (rig->host)
        viommu_host_set_observer(rig->host, NULL, NULL);
    viommu_assign_destroy(rig->assign);
    viommu_host_destroy(rig->host);
    assert_int_equal(viommu_pci_device_set_iommu(rig->function[1], NULL, NULL, NULL), 0);
    assert_int_equal(
        viommu_pci_bus_set_iommu(viommu_pci_device_bus(rig->function[2]), NULL, NULL, NULL), 0);
    viommu_destroy(rig->unit[SCOPED].machine.viommu);
    viommu_destroy(rig->unit[FAR].machine.viommu);
    machine_destroy(&rig->machine);
}

/* What a driver writes for function i of unit u: GUEST_IOVA is at gpa, in this domain and PASID. */
static void bind(struct rig *rig, unsigned int u, unsigned int i, uint16_t domain, uint32_t pasid,
                 uint64_t gpa)
{
    struct guest *unit = &rig->unit[u];
    struct machine *machine = &unit->machine;
    uint64_t context = rig->context[u] + VIOMMU_PCI_DEVFN(places[i].device, 0) * 32;
    uint64_t directory = guest_page(unit);

    rig->pasids[i] = guest_page(unit);
    rig->table[i] = guest_page(unit);
    guest_map(unit, rig->table[i], 4, GUEST_IOVA, 1, gpa | FS_ALL, FS_ALL);
    store64(machine, rig->pasids[i] + pasid * 64 + 16, rig->table[i]);
    store64(machine, rig->pasids[i] + pasid * 64 + 8, domain | PASID_PWSNP);
    store64(machine, rig->pasids[i] + pasid * 64, PASID_P | PASID_PGTT(1));
    store64(machine, directory, rig->pasids[i] | 1);
    store64(machine, context + 8, pasid); /* RID_PASID */
    store64(machine, context, directory | 1);
}

/* Descriptor and wait, as a driver does it. */
static void submit(struct rig *rig, unsigned int u, uint64_t qw0, uint64_t qw1)
{
    static uint32_t status;
    struct machine *machine = &rig->unit[u].machine;
    uint32_t mine = __atomic_add_fetch(&status, 1, __ATOMIC_RELAXED);

    machine_submit(machine, qw0, qw1);
    machine_submit(machine, 5 | 1 << 5 | (uint64_t)mine << 32, rig->queue[u] + 0x1000);
    assert_int_equal(load32(machine, rig->queue[u] + 0x1000), mine);
}

static void invalidate_tables(struct rig *rig, unsigned int u)
{
    submit(rig, u, 1 | 1 << 4, 0); /* context cache, global */
    submit(rig, u, 7 | 3 << 4, 0); /* PASID cache, global */
}

/* All of one PASID in a domain. */
static void invalidate_pasid(struct rig *rig, unsigned int u, uint16_t domain, uint32_t pasid)
{
    submit(rig, u, 6 | 2 << 4 | (uint64_t)domain << 16 | (uint64_t)pasid << 32, 0);
}

static void bind_all(struct rig *rig, uint16_t domain, uint32_t pasid)
{
    for (unsigned int i = 0; i < FUNCTIONS; i++)
        bind(rig, places[i].unit, i, domain, pasid, PAGE(i));
    for (unsigned int u = 0; u < UNITS; u++)
        invalidate_tables(rig, u);
}

static int observe(void *opaque, enum viommu_host_call call)
{
    struct rig *rig = opaque;

    rig->invalidations += call == VIOMMU_HOST_CALL_INVALIDATE;
    return 0;
}

static void attach(struct rig *rig, unsigned int i)
{
    struct viommu_error error;

    if (viommu_assign_attach(rig->assign, rig->function[i], places[i].name, &rig->assigned[i],
                             &error))
        fail_msg("%s: %s", places[i].name, error.message);
}

static void attach_all(struct rig *rig)
{
    assert_int_equal(viommu_soft_create(&rig->host, NULL, NULL), 0);
    assert_int_equal(viommu_assign_create(&rig->assign, rig->host, rig->machine.memory, NULL, NULL),
                     0);
    for (unsigned int i = 0; i < FUNCTIONS; i++) {
        assert_int_equal(viommu_soft_device_add(rig->host, places[i].name, places[i].host_iommu,
                                                &rig->soft[i], NULL),
                         0);
        attach(rig, i);
    }
    viommu_host_set_observer(rig->host, observe, rig);
}

/* One DMA of function i, through the host when it is assigned. */
static int dma(struct rig *rig, unsigned int i, bool write, uint64_t *value)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_space *space;
    struct viommu_dma_result result;

    request.address = GUEST_IOVA;
    request.length = sizeof(*value);
    if (rig->assigned[i])
        return write ? viommu_soft_device_write(rig->soft[i], &request, value, &result)
                     : viommu_soft_device_read(rig->soft[i], &request, value, &result);
    space = viommu_pci_device_get_address_space(rig->function[i]);
    request.requester_id = viommu_pci_device_alias(rig->function[i]).requester_id;
    return write ? viommu_dma_write(space, &request, value, &result)
                 : viommu_dma_read(space, &request, value, &result);
}

static void arrives(struct rig *rig, unsigned int i, uint64_t gpa)
{
    static uint64_t mark = 0x7a7a000000000000;
    uint64_t value = ++mark;

    if (dma(rig, i, true, &value))
        fail_msg("DMA of function %u is refused", i);
    if (load64(&rig->machine, gpa) != mark)
        fail_msg("DMA of function %u did not arrive at 0x%llx", i, (unsigned long long)gpa);
}

static bool fault_pending(struct rig *rig, unsigned int u)
{
    return read32(&rig->unit[u].machine, VTD_FSTS) & VTD_FSTS_PPF;
}

/* It is refused; the unit that the function is behind says so, and no other. */
static void faults(struct rig *rig, unsigned int i)
{
    struct machine *machine = &rig->unit[places[i].unit].machine;
    uint64_t value, record, high;

    assert_int_not_equal(dma(rig, i, false, &value), 0);
    for (unsigned int u = 0; u < UNITS; u++)
        assert_int_equal(fault_pending(rig, u), u == places[i].unit);
    record = machine_fault_record(machine,
                                  (unsigned int)field_get(VTD_FSTS_FRI, read32(machine, VTD_FSTS)));
    high = read64(machine, record + 8);
    assert_int_equal(field_get(VTD_FRCD_FR, high), NOT_PRESENT);
    assert_int_equal(field_get(VTD_FRCD_SID, high), VIOMMU_PCI_DEVFN(places[i].device, 0));
    write64(machine, record + 8, VTD_FRCD_F);
}

static void unmap(struct rig *rig, unsigned int i)
{
    struct guest *unit = &rig->unit[places[i].unit];

    store64(&unit->machine, guest_entry(unit, rig->table[i], 4, GUEST_IOVA, 1), 0);
}

/* Rules */

static void each_by_its_tables(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, "");
    bind_all(&rig, GUEST_DOMAIN, 0);
    for (unsigned int i = 0; i < FUNCTIONS; i++)
        arrives(&rig, i, PAGE(i));
    /* what the scoped unit's tables say of another's function, and the other way round, is nothing
     */
    bind(&rig, SCOPED, 0, GUEST_DOMAIN, 0, PAGE(9));
    bind(&rig, ALL, 1, GUEST_DOMAIN, 0, PAGE(9));
    invalidate_tables(&rig, SCOPED);
    invalidate_tables(&rig, ALL);
    arrives(&rig, 0, PAGE(0));
    arrives(&rig, 1, PAGE(1));
    rig_destroy(&rig);
}

static void segments_do_not_mix(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, "");
    bind_all(&rig, GUEST_DOMAIN, 0);
    assert_int_equal(viommu_pci_device_alias(rig.function[0]).requester_id,
                     viommu_pci_device_alias(rig.function[2]).requester_id);
    arrives(&rig, 0, PAGE(0));
    arrives(&rig, 2, PAGE(2));
    unmap(&rig, 2);
    invalidate_pasid(&rig, FAR, GUEST_DOMAIN, 0);
    faults(&rig, 2);
    assert_non_null(strstr(rig.log, "DMA read of 0001:00:00.0 at "));
    arrives(&rig, 0, PAGE(0));
    rig_destroy(&rig);
}

/* Domain-IDs and PASIDs belong to a unit: the same in all, and one unit's invalidation is its own.
 */
static void check_invalidations(struct rig *rig)
{
    for (unsigned int i = 0; i < 3; i++) {
        arrives(rig, i, PAGE(i));
        unmap(rig, i);
    }
    invalidate_pasid(rig, SCOPED, GUEST_DOMAIN, 5);
    faults(rig, 1);
    arrives(rig, 0, PAGE(0)); /* still cached */
    arrives(rig, 2, PAGE(2));
    invalidate_pasid(rig, FAR, GUEST_DOMAIN, 5);
    faults(rig, 2);
    arrives(rig, 0, PAGE(0));
    invalidate_pasid(rig, ALL, GUEST_DOMAIN, 5);
    faults(rig, 0);
    arrives(rig, 3, PAGE(3));
}

static void invalidations_stay_within(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, "pasid-bits=8");
    bind_all(&rig, GUEST_DOMAIN, 5);
    check_invalidations(&rig);
    rig_destroy(&rig);
}

static void assigned_invalidations_stay_within(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, "pasid-bits=8");
    bind_all(&rig, GUEST_DOMAIN, 5);
    attach_all(&rig);
    check_invalidations(&rig);
    rig_destroy(&rig);
}

static struct viommu_soft_census census_of(struct rig *rig)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    viommu_soft_get_census(rig->host, &census);
    return census;
}

/* One IOAS for the guest; page tables for each IOMMU of the host, also under one unit. */
static void several_host_iommus(void **state)
{
    struct viommu_soft_census census;
    struct rig rig;

    (void)state;
    rig_create(&rig, "");
    attach_all(&rig);
    bind_all(&rig, GUEST_DOMAIN, 0);
    census = census_of(&rig);
    assert_int_equal(census.ioas, 1);
    assert_int_equal(census.paging_hwpts, 2);
    assert_int_equal(census.nested_hwpts, FUNCTIONS);
    for (unsigned int i = 0; i < FUNCTIONS; i++)
        arrives(&rig, i, PAGE(i));
    /* those under one unit, in one domain: its invalidation reaches both IOMMUs */
    unmap(&rig, 0);
    unmap(&rig, 3);
    rig.invalidations = 0;
    invalidate_pasid(&rig, ALL, GUEST_DOMAIN, 0);
    assert_int_equal(rig.invalidations, 2);
    faults(&rig, 0);
    faults(&rig, 3);
    arrives(&rig, 1, PAGE(1));
    arrives(&rig, 2, PAGE(2));
    rig_destroy(&rig);
}

static void one_unit_goes_off(void **state)
{
    uint64_t value = 0x1234;
    struct rig rig;

    (void)state;
    rig_create(&rig, "");
    attach_all(&rig);
    bind_all(&rig, GUEST_DOMAIN, 0);
    machine_enable(&rig.unit[FAR].machine, false);
    viommu_reset(rig.unit[SCOPED].machine.viommu);
    assert_int_equal(census_of(&rig).nested_hwpts, 2);
    arrives(&rig, 0, PAGE(0));
    arrives(&rig, 3, PAGE(3));
    assert_int_not_equal(dma(&rig, 1, true, &value), 0); /* GUEST_IOVA is no memory */
    assert_int_not_equal(dma(&rig, 2, true, &value), 0);
    for (unsigned int u = 0; u < UNITS; u++)
        assert_false(fault_pending(&rig, u));
    rig_destroy(&rig);
}

/* A function leaves a unit for that of its bus, with its host device taken away meanwhile. */
static void moved_between_units(void **state)
{
    struct viommu_error error;
    struct rig rig;

    (void)state;
    rig_create(&rig, "");
    attach_all(&rig);
    bind_all(&rig, GUEST_DOMAIN, 0);
    bind(&rig, ALL, 1, GUEST_DOMAIN, 0, PAGE(9));
    assert_int_equal(viommu_pci_device_set_iommu(rig.function[1], NULL, NULL, &error), -EBUSY);
    viommu_assign_detach(rig.assigned[1]);
    assert_int_equal(viommu_pci_device_set_iommu(rig.function[1], NULL, NULL, &error), 0);
    attach(&rig, 1);
    arrives(&rig, 1, PAGE(9));
    arrives(&rig, 0, PAGE(0));
    rig_destroy(&rig);
}

/* While the host works for one unit, another's queue runs: they share no lock. */
static void *invalidate_other(void *opaque)
{
    struct rig *rig = opaque;

    invalidate_pasid(rig, rig->other, GUEST_DOMAIN, 0);
    return NULL;
}

static int observe_and_wait(void *opaque, enum viommu_host_call call)
{
    struct rig *rig = opaque;
    pthread_t thread;

    if (call != VIOMMU_HOST_CALL_INVALIDATE ||
        __atomic_exchange_n(&rig->meanwhile, true, __ATOMIC_SEQ_CST))
        return 0;
    if (pthread_create(&thread, NULL, invalidate_other, rig) || pthread_join(thread, NULL))
        return -EIO;
    return 0;
}

static void units_do_not_wait_for_each_other(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, "");
    attach_all(&rig);
    bind_all(&rig, GUEST_DOMAIN, 0);
    rig.other = SCOPED;
    for (unsigned int i = 0; i < FUNCTIONS; i++) {
        arrives(&rig, i, PAGE(i));
        unmap(&rig, i);
    }
    viommu_host_set_observer(rig.host, observe_and_wait, &rig);
    invalidate_pasid(&rig, ALL, GUEST_DOMAIN, 0);
    assert_true(rig.meanwhile);
    faults(&rig, 0);
    faults(&rig, 1);
    faults(&rig, 3);
    arrives(&rig, 2, PAGE(2));
    rig_destroy(&rig);
}

static void a_scope_is_on_the_segment(void **state)
{
    struct viommu_error error;
    struct rig rig;

    (void)state;
    rig_create(&rig, "");
    assert_int_equal(
        viommu_protect_device(rig.unit[SCOPED].machine.viommu, rig.function[2], &error), -EINVAL);
    assert_string_equal(error.message, "function 0001:00:00.0 is not on the IOMMU's segment, which "
                                       "is 0000; make one IOMMU for each segment");
    rig_destroy(&rig);
}

static const struct spec_rule rules[] = {
    {"VTD-UNITS-1", "3.4.1",
     "A function that a unit's scope names goes by that unit's tables, the others of its bus by "
     "those of the unit that includes all.",
     each_by_its_tables},
    {"VTD-UNITS-2", "3.4.1", "Equal requester IDs on two segments go by different units.",
     segments_do_not_mix},
    {"VTD-UNITS-3", "6.5.2.4",
     "Units that use the same domain-ID and PASID invalidate their own translations alone.",
     invalidations_stay_within},
    {"VTD-UNITS-4", "6.5.2.4",
     "An invalidation in one unit does not touch another's assigned devices.",
     assigned_invalidations_stay_within},
    {"VTD-UNITS-5", "6.5.2.4",
     "Devices of different host IOMMUs work under one unit and under different ones; an "
     "invalidation reaches all that it names.",
     several_host_iommus},
    {"VTD-UNITS-6", "11.4.4.1",
     "Switching one unit's translation off, or resetting it, leaves the other units' devices.",
     one_unit_goes_off},
    {"VTD-UNITS-7", "3.4.1", "A function that leaves a unit goes by its bus's from then on.",
     moved_between_units},
    {"VTD-UNITS-8", "6.5.2", "One unit's queue runs while another's waits for the host.",
     units_do_not_wait_for_each_other},
    {"VTD-UNITS-9", "3.4.1", "A unit protects functions of its own segment alone.",
     a_scope_is_on_the_segment},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
