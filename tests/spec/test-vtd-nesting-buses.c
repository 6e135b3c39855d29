/* SPDX-License-Identifier: MIT */
/*
 * Assigned devices behind bridges whose bus numbers the guest programs: tables and faults go by the
 * requester ID of now, and a detach finds what was attached.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "assigned.h"
#include "model/vtd/vtd.h"

/* In place of the C library's, to run out of memory for functions. */
static bool exhausted;

void *aligned_alloc(size_t alignment, size_t size)
{
    void *memory = NULL;

    if (exhausted && size == sizeof(struct vtd_function))
        return NULL;
    return posix_memalign(&memory, alignment, size) ? NULL : memory;
}

/* The machine with host device i behind a root port of its own, all numbered 0 and attached. */
static void create_behind_ports(struct assigned *assigned, struct viommu_pci_bus **ports,
                                enum viommu_pci_bridge kind)
{
    assigned_create(assigned, NULL, "");
    for (unsigned int i = 0; i < ASSIGNED_DEVICES; i++) {
        assert_int_equal(viommu_pci_bridge_add(assigned->guest.machine.bus,
                                               VIOMMU_PCI_DEVFN(20 + i, 0), kind, 0, NULL,
                                               &ports[i], NULL),
                         0);
        assert_int_equal(viommu_pci_device_add(ports[i], 0, NULL, &assigned->function[i], NULL), 0);
        assigned_attach(assigned, i);
    }
}

/* Legacy tables for function 00.0 of a bus: GUEST_IOVA at gpa. Other buses keep theirs. */
static void map_bus(struct assigned *assigned, uint8_t bus, uint64_t gpa)
{
    struct machine *machine = &assigned->guest.machine;
    uint64_t context = guest_page(&assigned->guest);

    store64(machine, context, assigned_second_stage(assigned, GUEST_IOVA, gpa) | 1);
    store64(machine, context + 8, (uint64_t)(GUEST_DOMAIN + bus) << 8 | 2);
    store64(machine, GUEST_ROOT + bus * UINT64_C(16), context | 1);
}

/* Attached before firmware has numbered anything. */
static void numbered_after_the_attach(void **state)
{
    struct viommu_pci_bus *ports[ASSIGNED_DEVICES];
    struct assigned assigned;

    (void)state;
    create_behind_ports(&assigned, ports, VIOMMU_PCI_BRIDGE_PCIE_PORT);
    viommu_pci_bus_set_number(ports[0], 3);
    viommu_pci_bus_set_number(ports[1], 4);
    map_bus(&assigned, 3, PAGE_A);
    map_bus(&assigned, 4, PAGE_B);
    guest_on(&assigned.guest, TTM_LEGACY);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_arrives(&assigned, 1, GUEST_IOVA, PAGE_B);
    assigned_faults(&assigned, 0, GUEST_IOVA + 0x1000, LEGACY_READ); /* checks the requester ID */
    assigned_faults(&assigned, 1, GUEST_IOVA + 0x1000, LEGACY_READ);
    assigned_destroy(&assigned);
}

/* Scalable mode, first stage, and an invalidation that names the new requester ID. */
static void nested_tables_follow(void **state)
{
    struct viommu_pci_bus *ports[ASSIGNED_DEVICES];
    struct assigned assigned;
    struct machine *machine = &assigned.guest.machine;

    (void)state;
    create_behind_ports(&assigned, ports, VIOMMU_PCI_BRIDGE_PCIE_PORT);
    viommu_pci_bus_set_number(ports[0], 3);
    assigned_bind(&assigned, 0, 0, assigned_first_stage(&assigned, GUEST_IOVA, PAGE_A),
                  GUEST_DOMAIN);
    store64(machine, GUEST_ROOT + 3 * 16, load64(machine, GUEST_ROOT));
    store64(machine, GUEST_ROOT, 0);
    guest_on(&assigned.guest, TTM_SCALABLE);
    assert_int_equal(assigned_stats(&assigned).nested_binds, 1);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_faults(&assigned, 0, GUEST_IOVA + 0x1000, FS_NOT_PRESENT);
    store64(machine, GUEST_PASIDS, 0);
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0x300, 0);
    assigned_faults(&assigned, 0, GUEST_IOVA, PASID_NOT_PRESENT);
    assigned_destroy(&assigned);
}

/* While translation is on: blocked where the new ID has no tables, back where it has. */
static void renumbered_under_translation(void **state)
{
    struct viommu_pci_bus *ports[ASSIGNED_DEVICES];
    struct viommu_soft_census before;
    struct assigned assigned;

    (void)state;
    create_behind_ports(&assigned, ports, VIOMMU_PCI_BRIDGE_PCIE_TO_PCI);
    viommu_pci_bus_set_number(ports[0], 3);
    viommu_pci_bus_set_number(ports[1], 9);
    map_bus(&assigned, 3, PAGE_A);
    map_bus(&assigned, 5, PAGE_B);
    guest_on(&assigned.guest, TTM_LEGACY);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    before = assigned_census(&assigned);
    viommu_pci_bus_set_number(ports[0], 4);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_told(&assigned, 0, 1); /* root entry not present */
    viommu_pci_bus_set_number(ports[0], 5);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assigned_same(&assigned, &before);
    assigned_destroy(&assigned);
}

/* For a moment both have one number; no device takes the other's place. */
static void two_bridges_swap(void **state)
{
    struct viommu_pci_bus *ports[ASSIGNED_DEVICES];
    struct assigned assigned;

    (void)state;
    create_behind_ports(&assigned, ports, VIOMMU_PCI_BRIDGE_PCIE_PORT);
    viommu_pci_bus_set_number(ports[0], 3);
    viommu_pci_bus_set_number(ports[1], 4);
    map_bus(&assigned, 3, PAGE_A);
    map_bus(&assigned, 4, PAGE_B);
    guest_on(&assigned.guest, TTM_LEGACY);
    viommu_pci_bus_set_number(ports[0], 4);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assigned_arrives(&assigned, 1, GUEST_IOVA, PAGE_B);
    viommu_pci_bus_set_number(ports[1], 3);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assigned_arrives(&assigned, 1, GUEST_IOVA, PAGE_A);
    assigned_faults(&assigned, 0, GUEST_IOVA + 0x1000, LEGACY_READ);
    assigned_faults(&assigned, 1, GUEST_IOVA + 0x1000, LEGACY_READ);
    assigned_destroy(&assigned);
}

/* The guest renumbers, then the VMM detaches, then the guest goes on. */
static void detached_after_renumbering(void **state)
{
    struct viommu_pci_bus *ports[ASSIGNED_DEVICES];
    struct assigned assigned;

    (void)state;
    create_behind_ports(&assigned, ports, VIOMMU_PCI_BRIDGE_PCIE_PORT);
    viommu_pci_bus_set_number(ports[0], 5);
    viommu_pci_bus_set_number(ports[1], 5); /* the same: the other must stay */
    assigned_detach(&assigned, 0);
    map_bus(&assigned, 5, PAGE_A);
    guest_on(&assigned.guest, TTM_LEGACY);
    assigned_arrives(&assigned, 1, GUEST_IOVA, PAGE_A);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA));
    assigned_attach(&assigned, 0);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    viommu_pci_bus_set_number(ports[0], 6);
    assigned_detach(&assigned, 1);
    viommu_reset(assigned.guest.machine.viommu);
    assigned_arrives(&assigned, 0, PAGE_A, PAGE_A);
    assigned_destroy(&assigned);
}

static void the_unit_stays_while_devices_are_attached(void **state)
{
    struct viommu_error error;
    struct assigned assigned;
    struct viommu_pci_bus *bus;

    (void)state;
    assigned_create(&assigned, NULL, "");
    bus = assigned.guest.machine.bus;
    assigned_attach(&assigned, 0);
    assert_int_equal(viommu_pci_bus_set_iommu(bus, NULL, NULL, &error), -EBUSY);
    assigned_detach(&assigned, 0);
    assert_int_equal(viommu_pci_bus_set_iommu(bus, NULL, NULL, &error), 0);
    assigned_destroy(&assigned);
}

static void one_unit_one_segment(void **state)
{
    struct viommu_pci_bus *bus;
    struct viommu_error error;
    struct assigned assigned;
    struct machine *machine = &assigned.guest.machine;

    (void)state;
    assigned_create(&assigned, NULL, "");
    assert_int_equal(viommu_pci_root_bus_add(machine->pci, 1, 0, &bus, NULL), 0);
    assert_int_equal(viommu_protect_bus(machine->viommu, bus, &error), -EINVAL);
    assert_string_equal(error.message, "PCI bus 0001:00 is not on the IOMMU's segment, which is "
                                       "0000; make one IOMMU for each segment");
    assigned_destroy(&assigned);
}

/* Without memory for the new ID the tables still count; no fault names the old ID. */
static void no_memory_for_a_requester(void **state)
{
    struct viommu_pci_bus *ports[ASSIGNED_DEVICES];
    struct assigned assigned;

    (void)state;
    create_behind_ports(&assigned, ports, VIOMMU_PCI_BRIDGE_PCIE_PORT);
    map_bus(&assigned, 3, PAGE_A);
    guest_on(&assigned.guest, TTM_LEGACY);
    exhausted = true;
    viommu_pci_bus_set_number(ports[0], 3);
    assert_null(viommu_pci_device_get_address_space(assigned.function[0]));
    exhausted = false;
    assert_non_null(strstr(assigned.guest.machine.log, "no memory for an address space"));
    assigned_clear_faults(&assigned);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA + 0x1000));
    assert_false(assigned_fault_pending(&assigned));
    viommu_pci_bus_set_number(ports[0], 4);
    viommu_pci_bus_set_number(ports[0], 3);
    assigned_clear_faults(&assigned);
    assigned_faults(&assigned, 0, GUEST_IOVA + 0x1000, LEGACY_READ);
    assigned_destroy(&assigned);
}

/* A host that refuses to send faults elsewhere sends none: none may name another requester. */
static void faults_never_name_the_old_requester(void **state)
{
    struct viommu_pci_bus *ports[ASSIGNED_DEVICES];
    struct assigned assigned;

    (void)state;
    create_behind_ports(&assigned, ports, VIOMMU_PCI_BRIDGE_PCIE_PORT);
    map_bus(&assigned, 3, PAGE_A);
    map_bus(&assigned, 4, PAGE_B);
    guest_on(&assigned.guest, TTM_LEGACY);
    assigned_clear_faults(&assigned);
    assigned.countdown = 0;
    viommu_pci_bus_set_number(ports[0], 3);
    assert_true(assigned.failed);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assert_false(assigned_reads(&assigned, 0, GUEST_IOVA + 0x1000));
    assert_false(assigned_fault_pending(&assigned));
    viommu_pci_bus_set_number(ports[0], 4);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_B);
    assigned_faults(&assigned, 0, GUEST_IOVA + 0x1000, LEGACY_READ);
    assigned_destroy(&assigned);
}

/* A vCPU programs bus numbers while the VMM attaches and detaches and a device does DMA. */
struct renumberer {
    struct viommu_pci_bus *const *ports;
    bool stop;
};

static void *renumber(void *opaque)
{
    struct renumberer *renumberer = opaque;
    uint8_t number = 0;

    while (!__atomic_load_n(&renumberer->stop, __ATOMIC_RELAXED)) {
        viommu_pci_bus_set_number(renumberer->ports[number & 1], 3 + number % 3);
        number++;
    }
    return NULL;
}

static void renumbered_while_devices_come_and_go(void **state)
{
    struct viommu_pci_bus *ports[ASSIGNED_DEVICES];
    struct renumberer renumberer = {.ports = ports};
    struct assigned assigned;
    pthread_t thread;

    (void)state;
    create_behind_ports(&assigned, ports, VIOMMU_PCI_BRIDGE_PCIE_PORT);
    for (uint8_t bus = 3; bus < 6; bus++)
        map_bus(&assigned, bus, PAGE_A);
    viommu_pci_bus_set_number(ports[0], 4);
    viommu_pci_bus_set_number(ports[1], 5);
    guest_on(&assigned.guest, TTM_LEGACY);
    viommu_host_set_observer(assigned.host, NULL, NULL); /* its trace is one thread's */
    assert_int_equal(pthread_create(&thread, NULL, renumber, &renumberer), 0);
    for (unsigned int i = 0; i < 300; i++) {
        assigned_detach(&assigned, 0);
        assigned_attach(&assigned, 0);
        assert_true(assigned_reads(&assigned, 1, GUEST_IOVA));
    }
    __atomic_store_n(&renumberer.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_arrives(&assigned, 1, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-NEST-BUS-1", "3.4.1",
     "A device attached before its bus had a number goes by that number.",
     numbered_after_the_attach},
    {"VTD-NEST-BUS-2", "3.4.1", "Nested tables and invalidations go by the bus number of now.",
     nested_tables_follow},
    {"VTD-NEST-BUS-3", "3.4.1", "A device is bound anew when its bus number changes.",
     renumbered_under_translation},
    {"VTD-NEST-BUS-4", "3.4.1", "Bridges that swap their numbers swap the tables below them.",
     two_bridges_swap},
    {"VTD-NEST-BUS-5", "3.4.1", "A detach finds its device after the bus was renumbered.",
     detached_after_renumbering},
    {"VTD-NEST-BUS-6", "3.4", "A bus keeps its unit while a function below has a host device.",
     the_unit_stays_while_devices_are_attached},
    {"VTD-NEST-BUS-7", "3.4.1", "A unit protects buses of its own segment alone.",
     one_unit_one_segment},
    {"VTD-NEST-BUS-8", "7.1", "Without memory for a requester ID its tables count all the same.",
     no_memory_for_a_requester},
    {"VTD-NEST-BUS-9", "7.1", "No fault names the requester ID that a device had before.",
     faults_never_name_the_old_requester},
    {"VTD-NEST-BUS-10", "3.4.1", "Buses are renumbered while devices come and go.",
     renumbered_while_devices_come_and_go},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
