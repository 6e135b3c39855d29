/* SPDX-License-Identifier: MIT */
/* IOMMUs of single functions: which one goes, and when it may come and go. */
#include "pci_tree.h"

/* An IOMMU that is known by its address space. */
struct unit {
    struct viommu_dma_space *space;
    unsigned int set, unset, changed;
    struct viommu_pci_id id;
};

static struct viommu_dma_space *get_space(void *opaque, struct viommu_pci_id alias)
{
    struct unit *unit = opaque;

    unit->id = alias;
    return unit->space;
}

static int set_device(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                      struct viommu_host_device *device, struct viommu_error *error)
{
    struct unit *unit = opaque;

    (void)alias, (void)device, (void)error;
    unit->set++;
    unit->id = id;
    return 0;
}

static void unset_device(void *opaque, struct viommu_pci_id id, struct viommu_host_device *device)
{
    struct unit *unit = opaque;

    (void)device;
    unit->unset++;
    unit->id = id;
}

static void change_requester(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                             struct viommu_host_device *device)
{
    struct unit *unit = opaque;

    (void)alias, (void)device;
    unit->changed++;
    unit->id = id;
}

static const struct viommu_pci_iommu_ops ops = {.size = sizeof(ops),
                                                .get_address_space = get_space,
                                                .set_iommu_device = set_device,
                                                .unset_iommu_device = unset_device,
                                                .requester_changed = change_requester};

struct fixture {
    struct viommu_pci *pci;
    struct viommu_pci_bus *root;
    struct unit all, one, other;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->all.space = (struct viommu_dma_space *)0x4000;
    fixture->one.space = (struct viommu_dma_space *)0x5000;
    fixture->other.space = (struct viommu_dma_space *)0x6000;
    tree_create(&fixture->pci, &fixture->root);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &ops, &fixture->all, NULL), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    viommu_pci_destroy(fixture->pci);
    free(fixture);
    return 0;
}

static int give(struct viommu_pci_device *device, struct unit *unit, struct viommu_error *error)
{
    return viommu_pci_device_set_iommu(device, unit ? &ops : NULL, unit, error);
}

static void assert_behind(const struct viommu_pci_device *device, const struct unit *unit)
{
    assert_ptr_equal(viommu_pci_device_get_address_space(device), unit ? unit->space : plain);
}

static void a_function_of_its_own(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *device = add(fixture->root, 8), *sibling = add(fixture->root, 9);

    assert_int_equal(give(device, &fixture->one, NULL), 0);
    assert_behind(device, &fixture->one);
    assert_int_equal(fixture->one.id.requester_id, 8);
    assert_behind(sibling, &fixture->all);
    assert_int_equal(give(device, NULL, NULL), 0);
    assert_behind(device, &fixture->all);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, NULL, NULL, NULL), 0);
    assert_int_equal(give(device, &fixture->one, NULL), 0);
    assert_behind(device, &fixture->one);
    assert_behind(sibling, NULL);
}

/* A new function at the same place begins without. */
static void goes_with_the_function(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *device = add(fixture->root, 8);

    assert_int_equal(give(device, &fixture->one, NULL), 0);
    viommu_pci_device_remove(device);
    assert_behind(add(fixture->root, 8), &fixture->all);
}

static void a_bridge_with_all_behind(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *port, *inner, *leaf;
    struct viommu_pci_bus *below = bridge(fixture->root, 8, VIOMMU_PCI_BRIDGE_PCIE_PORT, 1, &port);
    struct viommu_pci_bus *deep = bridge(below, 0, VIOMMU_PCI_BRIDGE_PCIE_PORT, 2, &inner);

    leaf = add(deep, 0);
    assert_behind(leaf, &fixture->all);
    assert_int_equal(give(port, &fixture->one, NULL), 0);
    assert_behind(port, &fixture->one);
    assert_behind(inner, &fixture->one);
    assert_behind(leaf, &fixture->one);
    /* the nearest goes: a bus before the bridge above it, a function before its bus */
    assert_int_equal(viommu_pci_bus_set_iommu(deep, &ops, &fixture->other, NULL), 0);
    assert_behind(leaf, &fixture->other);
    assert_behind(inner, &fixture->one);
    assert_int_equal(give(leaf, &fixture->all, NULL), 0);
    assert_behind(leaf, &fixture->all);
    assert_int_equal(give(inner, &fixture->all, NULL), 0);
    assert_behind(inner, &fixture->all);
    assert_int_equal(give(leaf, NULL, NULL), 0);
    assert_behind(leaf, &fixture->other);
    assert_int_equal(viommu_pci_bus_set_iommu(deep, NULL, NULL, NULL), 0);
    assert_behind(leaf, &fixture->all);
    assert_int_equal(give(inner, NULL, NULL), 0);
    assert_behind(leaf, &fixture->one);
}

static void bypass_is_stronger(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device_options options = VIOMMU_PCI_DEVICE_OPTIONS_INIT;
    struct viommu_pci_device *device;

    options.bypass = true;
    assert_int_equal(viommu_pci_device_add(fixture->root, 8, &options, &device, NULL), 0);
    assert_int_equal(give(device, &fixture->one, NULL), 0);
    assert_behind(device, NULL);
}

static void refuses(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_bus *pci_bus =
        bridge(fixture->root, 8, VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, 1, NULL);
    struct viommu_pci_device *device = add(fixture->root, 16), *behind = add(pci_bus, 0), *inner;
    struct viommu_pci_iommu_ops few = {.size = sizeof(few)};
    struct viommu_error error;

    assert_int_equal(viommu_pci_device_set_iommu(device, &few, NULL, &error), -EINVAL);
    assert_string_equal(error.message, "the IOMMU ops for function 0000:00:02.0 have no "
                                       "get_address_space, which is mandatory");
    assert_int_equal(give(device, &fixture->one, NULL), 0);
    assert_int_equal(give(device, &fixture->other, &error), -EBUSY);
    assert_string_equal(error.message, "function 0000:00:02.0 has an IOMMU already; take that away "
                                       "first");
    assert_int_equal(give(behind, &fixture->one, &error), -EINVAL);
    assert_string_equal(error.message, "function 0000:00:01.0/00.0 is on a conventional bus, whose "
                                       "functions share one requester ID: give the IOMMU to the "
                                       "bridge above it or to the whole bus");
    bridge(pci_bus, 8, VIOMMU_PCI_BRIDGE_PCI_TO_PCI, 2, &inner);
    assert_int_equal(give(inner, &fixture->one, &error), -EINVAL);
    assert_int_equal(give(behind, NULL, &error), 0);
}

static void hand(struct viommu_pci_device *device)
{
    assert_int_equal(viommu_pci_device_set_iommu_device(device, host_device, NULL), 0);
}

/* Neither the function's own IOMMU nor the bus's may change what a host device goes through. */
static void stays_over_host_devices(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *device = add(fixture->root, 16), *port;
    struct viommu_pci_bus *below = bridge(fixture->root, 8, VIOMMU_PCI_BRIDGE_PCIE_PORT, 1, &port);
    struct viommu_pci_device *leaf = add(below, 0);
    struct viommu_error error;

    hand(leaf);
    assert_int_equal(give(port, &fixture->one, &error), -EBUSY);
    assert_string_equal(error.message,
                        "the IOMMU of function 0000:00:01.0 cannot be set while function "
                        "0000:00:01.0/00.0 has a host device; detach that first");
    viommu_pci_device_unset_iommu_device(leaf);
    assert_int_equal(give(port, &fixture->one, NULL), 0);
    hand(leaf);
    assert_int_equal(fixture->one.set, 1);
    assert_int_equal(give(port, NULL, &error), -EBUSY);
    assert_non_null(strstr(error.message, "cannot be taken away"));
    assert_int_equal(give(leaf, &fixture->other, &error), -EBUSY);
    /* the bus's does not count for it, in either direction */
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, NULL, NULL, NULL), 0);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &ops, &fixture->all, NULL), 0);
    hand(device);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, NULL, NULL, &error), -EBUSY);
    assert_int_equal(give(device, &fixture->other, &error), -EBUSY);
    viommu_pci_device_unset_iommu_device(device);
    viommu_pci_device_unset_iommu_device(leaf);
    assert_int_equal(give(port, NULL, NULL), 0);
    assert_int_equal(fixture->one.unset, 1);
    assert_int_equal(fixture->all.unset, 2);
}

static void renumbering_is_told_to_the_owner(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *port, *own, *inherits;
    struct viommu_pci_bus *below = bridge(fixture->root, 8, VIOMMU_PCI_BRIDGE_PCIE_PORT, 1, &port);

    own = add(below, 0);
    inherits = add(below, 8);
    assert_int_equal(give(port, &fixture->one, NULL), 0);
    assert_int_equal(give(own, &fixture->other, NULL), 0);
    hand(own);
    hand(inherits);
    viommu_pci_bus_set_number(below, 5);
    assert_int_equal(fixture->other.changed, 1);
    assert_int_equal(fixture->other.id.requester_id, 0x500);
    assert_int_equal(fixture->one.changed, 1);
    assert_int_equal(fixture->one.id.requester_id, 0x508);
    assert_int_equal(fixture->all.changed, 0);
    viommu_pci_device_remove(port);
    assert_int_equal(fixture->other.unset, 1);
    assert_int_equal(fixture->one.unset, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_function_of_its_own),
        TEST(goes_with_the_function),
        TEST(a_bridge_with_all_behind),
        TEST(bypass_is_stronger),
        TEST(refuses),
        TEST(stays_over_host_devices),
        TEST(renumbering_is_told_to_the_owner),
    };

    return cmocka_run_group_tests_name("pci-functions", tests, NULL, NULL);
}
