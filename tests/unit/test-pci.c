/* SPDX-License-Identifier: MIT */
/* Topology, requester IDs and aliases, and the wrappers over the IOMMU hooks. */
#include "pci_tree.h"

/* The wrappers hand these through and never look inside. */
static struct viommu_dma_space *const translated = (struct viommu_dma_space *)0x2000;

struct calls {
    unsigned int space, cap, set, unset, changed;
    struct viommu_pci_id id, alias;
    struct viommu_host_device *device;
    int refuse;
};

static struct viommu_dma_space *get_space(void *opaque, struct viommu_pci_id alias)
{
    struct calls *calls = opaque;

    calls->space++;
    calls->alias = alias;
    return translated;
}

static uint64_t get_cap(void *opaque)
{
    ((struct calls *)opaque)->cap++;
    return VIOMMU_CAP_HW_NESTED;
}

static int set_device(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                      struct viommu_host_device *device, struct viommu_error *error)
{
    struct calls *calls = opaque;

    calls->set++;
    calls->id = id;
    calls->alias = alias;
    calls->device = device;
    if (calls->refuse && error) {
        error->code = calls->refuse;
        strcpy(error->message, "refused");
    }
    return calls->refuse;
}

static void unset_device(void *opaque, struct viommu_pci_id id, struct viommu_host_device *device)
{
    struct calls *calls = opaque;

    calls->unset++;
    calls->id = id;
    calls->device = device;
}

static void change_requester(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                             struct viommu_host_device *device)
{
    struct calls *calls = opaque;

    calls->changed++;
    calls->id = id;
    calls->alias = alias;
    calls->device = device;
}

static const struct viommu_pci_iommu_ops all_ops = {
    sizeof(all_ops), get_space, get_cap, set_device, unset_device, change_requester};
static const struct viommu_pci_iommu_ops least_ops = {.size = sizeof(least_ops),
                                                      .get_address_space = get_space};

struct fixture {
    struct viommu_pci *pci;
    struct viommu_pci_bus *root;
    struct calls calls;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    tree_create(&fixture->pci, &fixture->root);
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

static struct viommu_pci_device *add_bypassing(struct viommu_pci_bus *bus, uint8_t devfn)
{
    struct viommu_pci_device_options options = VIOMMU_PCI_DEVICE_OPTIONS_INIT;
    struct viommu_pci_device *device;

    options.bypass = true;
    assert_int_equal(viommu_pci_device_add(bus, devfn, &options, &device, NULL), 0);
    return device;
}

static void create_refuses(void **state)
{
    struct viommu_error error;
    struct viommu_pci *pci;

    (void)state;
    assert_int_equal(viommu_pci_create(&pci, NULL, &error), -EINVAL);
    assert_non_null(strstr(error.message, "create_plain"));
    viommu_pci_destroy(NULL);
}

static void root_buses(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_bus *bus;
    struct viommu_error error;

    assert_int_equal(viommu_pci_root_bus_add(fixture->pci, 0, 0, &bus, &error), -EEXIST);
    assert_non_null(strstr(error.message, "0000:00"));
    assert_int_equal(viommu_pci_root_bus_add(fixture->pci, 0, 0x80, &bus, NULL), 0);
    assert_int_equal(viommu_pci_root_bus_add(fixture->pci, 1, 0, &bus, NULL), 0);
    assert_int_equal(viommu_pci_device_id(add(bus, 8)).segment, 1);
    viommu_pci_bus_set_number(bus, 9);
    assert_int_equal(viommu_pci_device_id(add(bus, 16)).requester_id, 16);
}

static void functions(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device_options options = VIOMMU_PCI_DEVICE_OPTIONS_INIT;
    uint8_t devfn = VIOMMU_PCI_DEVFN(3, 1);
    struct viommu_pci_device *device = add(fixture->root, devfn), *other;
    struct viommu_error error;
    char name[] = "my-nic";

    assert_string_equal(viommu_pci_device_name(device), "0000:00:03.1");
    assert_ptr_equal(viommu_pci_device_bus(device), fixture->root);
    assert_int_equal(viommu_pci_device_add(fixture->root, devfn, NULL, &other, &error), -EEXIST);
    assert_non_null(strstr(error.message, "03.1"));
    options.size = 1;
    assert_int_equal(viommu_pci_device_add(fixture->root, 8, &options, &other, NULL), -EINVAL);
    options.size = sizeof(options);
    options.name = name;
    assert_int_equal(viommu_pci_device_add(fixture->root, 8, &options, &other, NULL), 0);
    name[0] = 'x';
    assert_string_equal(viommu_pci_device_name(other), "my-nic");
    viommu_pci_device_remove(device);
    assert_int_equal(viommu_pci_device_add(fixture->root, devfn, NULL, NULL, NULL), 0);
}

static void names_stay_right(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_bus *first, *second;

    first = bridge(fixture->root, 0xe0, VIOMMU_PCI_BRIDGE_PCIE_PORT, 1, NULL);
    second = bridge(first, 0, VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, 2, NULL);
    assert_string_equal(viommu_pci_device_name(add(second, 0x1a)), "0000:00:1c.0/00.0/03.2");
}

static void bridges_refuse(void **state)
{
    static const struct {
        enum viommu_pci_bridge above, below;
        bool allowed;
    } cases[] = {
        {VIOMMU_PCI_BRIDGE_PCIE_PORT, VIOMMU_PCI_BRIDGE_PCIE_PORT, true},
        {VIOMMU_PCI_BRIDGE_PCIE_PORT, VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, true},
        {VIOMMU_PCI_BRIDGE_PCIE_PORT, VIOMMU_PCI_BRIDGE_PCI_TO_PCI, false},
        {VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, VIOMMU_PCI_BRIDGE_PCIE_PORT, false},
        {VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, false},
        {VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, VIOMMU_PCI_BRIDGE_PCI_TO_PCI, true},
        {VIOMMU_PCI_BRIDGE_PCI_TO_PCI, VIOMMU_PCI_BRIDGE_PCIE_PORT, false},
        {VIOMMU_PCI_BRIDGE_PCI_TO_PCI, VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, false},
        {VIOMMU_PCI_BRIDGE_PCI_TO_PCI, VIOMMU_PCI_BRIDGE_PCI_TO_PCI, true},
    };
    struct fixture *fixture = *state;
    struct viommu_pci_bus *bus, *below;
    struct viommu_error error;

    for (uint8_t i = 0; i < COUNT(cases); i++) {
        bus = bridge(fixture->root, i, cases[i].above, (uint8_t)(i + 1), NULL);
        assert_int_equal(viommu_pci_bridge_add(bus, 0, cases[i].below, 99, NULL, &below, &error),
                         cases[i].allowed ? 0 : -EINVAL);
    }
    assert_int_equal(viommu_pci_bridge_add(fixture->root, 0, VIOMMU_PCI_BRIDGE_PCIE_PORT, 99, NULL,
                                           &below, &error),
                     -EEXIST);
    assert_int_equal(viommu_pci_bridge_add(fixture->root, 99, (enum viommu_pci_bridge)3, 99, NULL,
                                           &below, &error),
                     -EINVAL);
    assert_non_null(strstr(error.message, "unknown kind"));
}

#define PORT   VIOMMU_PCI_BRIDGE_PCIE_PORT
#define TO_PCI VIOMMU_PCI_BRIDGE_PCIE_TO_PCI
#define CONV   VIOMMU_PCI_BRIDGE_PCI_TO_PCI

/*
 * A chain of bridges from the root down; the n-th sits at device n of its bus and has secondary bus
 * n. The function at the end is at 05.0.
 */
static void aliases(void **state)
{
    static const struct {
        enum viommu_pci_bridge kinds[4];
        unsigned int count;
        uint16_t alias;
    } cases[] = {
        {{0}, 0, 0x0028},
        {{PORT}, 1, 0x0128},
        {{PORT, PORT, PORT}, 3, 0x0328},
        {{TO_PCI}, 1, 0x0100},
        {{PORT, TO_PCI}, 2, 0x0200},
        {{PORT, PORT, TO_PCI}, 3, 0x0300},
        {{CONV}, 1, 0x0008},
        {{CONV, CONV}, 2, 0x0008},
        {{CONV, CONV, CONV}, 3, 0x0008},
        {{TO_PCI, CONV}, 2, 0x0100},
        {{PORT, TO_PCI, CONV}, 3, 0x0200},
        {{PORT, TO_PCI, CONV, CONV}, 4, 0x0200},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct viommu_pci_device *device;
        struct viommu_pci_bus *bus;
        struct viommu_pci *pci;

        assert_int_equal(viommu_pci_create(&pci, plain, NULL), 0);
        assert_int_equal(viommu_pci_root_bus_add(pci, 7, 0, &bus, NULL), 0);
        for (uint8_t n = 1; n <= cases[i].count; n++)
            bus = bridge(bus, VIOMMU_PCI_DEVFN(n, 0), cases[i].kinds[n - 1], n, NULL);
        device = add(bus, VIOMMU_PCI_DEVFN(5, 0));
        assert_int_equal(viommu_pci_device_id(device).requester_id, cases[i].count << 8 | 0x28);
        if (viommu_pci_device_alias(device).requester_id != cases[i].alias)
            fail_msg("case %zu has alias 0x%x", i, viommu_pci_device_alias(device).requester_id);
        assert_int_equal(viommu_pci_device_alias(device).segment, 7);
        viommu_pci_destroy(pci);
    }
}

/* The bridge's own requests: it is a function of the bus above. */
static void a_bridge_is_a_function(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *device;
    struct viommu_pci_bus *bus;

    assert_int_equal(viommu_pci_bridge_add(fixture->root, 8, TO_PCI, 1, &device, &bus, NULL), 0);
    assert_int_equal(viommu_pci_device_alias(device).requester_id, 8);
    assert_ptr_equal(viommu_pci_device_bus(device), fixture->root);
}

static void numbers_follow_the_guest(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_bus *port = bridge(fixture->root, 8, PORT, 0, NULL);
    struct viommu_pci_bus *pci_bus = bridge(port, 0, TO_PCI, 0, NULL);
    struct viommu_pci_device *device = add(pci_bus, 0x18);

    /* Nobody has programmed the bridges: bus 0 is the root bus alone. */
    assert_null(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 0x18}));
    viommu_pci_bus_set_number(port, 4);
    viommu_pci_bus_set_number(pci_bus, 5);
    assert_int_equal(viommu_pci_device_id(device).requester_id, 0x518);
    assert_int_equal(viommu_pci_device_alias(device).requester_id, 0x500);
    assert_ptr_equal(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 0x518}), device);
    viommu_pci_bus_set_number(pci_bus, 6);
    assert_null(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 0x518}));
    assert_ptr_equal(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 0x618}), device);
    assert_null(viommu_pci_find(fixture->pci, (struct viommu_pci_id){1, 0x618}));
    /* A guest's nonsense: the root bus keeps its number. */
    viommu_pci_bus_set_number(port, 0);
    assert_non_null(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 8}));
    assert_null(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 0x618}));
}

static void removal_takes_what_is_below(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *device;
    struct viommu_pci_bus *bus;

    assert_int_equal(viommu_pci_bridge_add(fixture->root, 8, PORT, 1, &device, &bus, NULL), 0);
    add(bridge(bus, 0, TO_PCI, 2, NULL), 0);
    assert_non_null(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 0x200}));
    viommu_pci_device_remove(device);
    assert_null(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 0x200}));
    assert_null(viommu_pci_find(fixture->pci, (struct viommu_pci_id){0, 8}));
}

static void set_iommu_refuses(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_iommu_ops ops = all_ops;
    struct viommu_error error;

    ops.get_address_space = NULL;
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &ops, NULL, &error), -EINVAL);
    assert_non_null(strstr(error.message, "get_address_space"));
    ops = all_ops;
    ops.size = sizeof(size_t);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &ops, NULL, &error), -EINVAL);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &all_ops, NULL, &error), 0);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &all_ops, NULL, &error), -EBUSY);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, NULL, NULL, &error), 0);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, NULL, NULL, &error), 0);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &all_ops, NULL, &error), 0);
}

/* Every wrapper once; the calls that reach the IOMMU are counted. */
static void use_all(struct viommu_pci_device *device, struct viommu_dma_space *space, uint64_t cap)
{
    assert_ptr_equal(viommu_pci_device_get_address_space(device), space);
    assert_true(viommu_pci_device_get_viommu_cap(device) == cap);
    assert_int_equal(viommu_pci_device_set_iommu_device(device, host_device, NULL), 0);
    viommu_pci_device_unset_iommu_device(device);
}

static void assert_calls(const struct calls *calls, unsigned int space, unsigned int others)
{
    assert_int_equal(calls->space, space);
    assert_int_equal(calls->cap, others);
    assert_int_equal(calls->set, others);
    assert_int_equal(calls->unset, others);
}

static void wrappers_without_iommu(void **state)
{
    struct fixture *fixture = *state;

    use_all(add(fixture->root, 8), plain, 0);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &all_ops, &fixture->calls, NULL), 0);
    use_all(add_bypassing(fixture->root, 16), plain, 0);
    assert_calls(&fixture->calls, 0, 0);
    viommu_pci_bus_set_iommu(fixture->root, NULL, NULL, NULL);
    use_all(add(fixture->root, 24), plain, 0);
    assert_calls(&fixture->calls, 0, 0);
}

static void wrappers_with_every_callback(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *device = add(bridge(fixture->root, 8, TO_PCI, 3, NULL), 0x28);

    viommu_pci_bus_set_iommu(fixture->root, &all_ops, &fixture->calls, NULL);
    use_all(device, translated, VIOMMU_CAP_HW_NESTED);
    assert_calls(&fixture->calls, 1, 1);
    assert_int_equal(fixture->calls.id.requester_id, 0x328);
    assert_int_equal(fixture->calls.alias.requester_id, 0x300);
    assert_ptr_equal(fixture->calls.device, host_device);
}

static void wrappers_with_the_least(void **state)
{
    struct fixture *fixture = *state;

    viommu_pci_bus_set_iommu(fixture->root, &least_ops, &fixture->calls, NULL);
    use_all(add(fixture->root, 8), translated, 0);
    assert_calls(&fixture->calls, 1, 0);
}

static void short_ops_lack_the_newer_callbacks(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_iommu_ops ops = all_ops;

    ops.size = offsetof(struct viommu_pci_iommu_ops, get_viommu_cap);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &ops, &fixture->calls, NULL), 0);
    use_all(add(fixture->root, 8), translated, 0);
    assert_calls(&fixture->calls, 1, 0);
}

static void refusal_is_handed_on(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_error error;

    viommu_pci_bus_set_iommu(fixture->root, &all_ops, &fixture->calls, NULL);
    fixture->calls.refuse = -EOPNOTSUPP;
    assert_int_equal(viommu_pci_device_set_iommu_device(add(fixture->root, 8), host_device, &error),
                     -EOPNOTSUPP);
    assert_string_equal(error.message, "refused");
}

static void nearest_iommu_wins(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_bus *port = bridge(fixture->root, 8, PORT, 1, NULL);
    struct viommu_pci_bus *below = bridge(port, 0, PORT, 2, NULL);
    struct viommu_pci_device *device = add(below, 0);
    struct calls nearer = {0};

    viommu_pci_bus_set_iommu(fixture->root, &all_ops, &fixture->calls, NULL);
    viommu_pci_bus_set_iommu(port, &least_ops, &nearer, NULL);
    use_all(device, translated, 0);
    assert_calls(&nearer, 1, 0);
    assert_calls(&fixture->calls, 0, 0);
    viommu_pci_bus_set_iommu(port, NULL, NULL, NULL);
    use_all(device, translated, VIOMMU_CAP_HW_NESTED);
    assert_calls(&nearer, 1, 0);
    assert_calls(&fixture->calls, 1, 1);
}

/* Host devices that are set */

static void set(struct viommu_pci_device *device)
{
    assert_int_equal(viommu_pci_device_set_iommu_device(device, host_device, NULL), 0);
}

static void unset_goes_where_set_went(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_iommu_ops ops = all_ops;
    struct viommu_pci_bus *port = bridge(fixture->root, 8, PORT, 1, NULL);
    struct viommu_pci_device *device = add(port, 0x28);
    struct viommu_error error;

    ops.requester_changed = NULL; /* such a vIOMMU knows it by the old ID */
    viommu_pci_bus_set_iommu(fixture->root, &ops, &fixture->calls, NULL);
    set(device);
    assert_int_equal(viommu_pci_device_set_iommu_device(device, host_device, &error), -EBUSY);
    assert_string_equal(error.message,
                        "function 0000:00:01.0/05.0 has a host device already; detach it first");
    viommu_pci_bus_set_number(port, 7);
    fixture->calls.device = NULL;
    viommu_pci_device_unset_iommu_device(device);
    viommu_pci_device_unset_iommu_device(device);
    assert_int_equal(fixture->calls.unset, 1);
    assert_int_equal(fixture->calls.id.requester_id, 0x128);
    assert_ptr_equal(fixture->calls.device, host_device);
}

/* The bridge kinds differ in what a new number changes: the function's ID, its alias, or both. */
static void renumbering_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct calls *calls = &fixture->calls;
    struct viommu_pci_bus *port = bridge(fixture->root, 8, PORT, 0, NULL);
    struct viommu_pci_bus *pci_bus = bridge(port, 0, TO_PCI, 0, NULL);
    struct viommu_pci_bus *inner = bridge(pci_bus, 0x10, CONV, 0, NULL);
    struct viommu_pci_device *device = add(inner, 0x20);

    viommu_pci_bus_set_iommu(fixture->root, &all_ops, calls, NULL);
    set(device);
    assert_int_equal(calls->alias.requester_id, 0);
    viommu_pci_bus_set_number(port, 4); /* neither */
    viommu_pci_bus_set_number(inner, 0);
    assert_int_equal(calls->changed, 0);
    calls->device = NULL;
    viommu_pci_bus_set_number(inner, 6);
    assert_int_equal(calls->changed, 1);
    assert_int_equal(calls->id.requester_id, 0x620);
    assert_int_equal(calls->alias.requester_id, 0);
    assert_ptr_equal(calls->device, host_device);
    viommu_pci_bus_set_number(pci_bus, 5);
    assert_int_equal(calls->changed, 2);
    assert_int_equal(calls->id.requester_id, 0x620);
    assert_int_equal(calls->alias.requester_id, 0x500);
    viommu_pci_bus_set_number(pci_bus, 5);
    assert_int_equal(calls->changed, 2);
    viommu_pci_device_unset_iommu_device(device);
    assert_int_equal(calls->id.requester_id, 0x620);
    viommu_pci_bus_set_number(inner, 9);
    assert_int_equal(calls->changed, 2);
}

static void refused_devices_are_not_told(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_bus *port = bridge(fixture->root, 8, PORT, 1, NULL);
    struct viommu_pci_device *device = add(port, 0);

    viommu_pci_bus_set_iommu(fixture->root, &all_ops, &fixture->calls, NULL);
    fixture->calls.refuse = -EOPNOTSUPP;
    assert_int_equal(viommu_pci_device_set_iommu_device(device, host_device, NULL), -EOPNOTSUPP);
    viommu_pci_bus_set_number(port, 2);
    viommu_pci_device_unset_iommu_device(device);
    assert_int_equal(fixture->calls.changed, 0);
    assert_int_equal(fixture->calls.unset, 0);
}

/* An IOMMU neither goes nor comes over a function with a host device, unless it does not count. */
static void iommus_stay_over_host_devices(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_bus *port = bridge(fixture->root, 8, PORT, 1, NULL);
    struct viommu_pci_bus *below = bridge(port, 0, PORT, 2, NULL);
    struct viommu_pci_device *device = add(below, 0), *bypassing = add_bypassing(below, 8);
    struct viommu_error error;

    set(bypassing);
    set(device);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &all_ops, NULL, &error), -EBUSY);
    assert_string_equal(error.message, "the IOMMU of PCI bus 0000:00 cannot be set while function "
                                       "0000:00:01.0/00.0/00.0 has a host device; detach that "
                                       "first");
    viommu_pci_device_unset_iommu_device(device);
    assert_int_equal(viommu_pci_bus_set_iommu(port, &all_ops, &fixture->calls, &error), 0);
    set(device);
    assert_int_equal(viommu_pci_bus_set_iommu(port, NULL, NULL, &error), -EBUSY);
    assert_non_null(strstr(error.message, "cannot be taken away"));
    assert_int_equal(viommu_pci_bus_set_iommu(below, &least_ops, NULL, &error), -EBUSY);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, &all_ops, NULL, &error), 0);
    assert_int_equal(viommu_pci_bus_set_iommu(fixture->root, NULL, NULL, &error), 0);
    viommu_pci_device_unset_iommu_device(device);
    assert_int_equal(viommu_pci_bus_set_iommu(port, NULL, NULL, &error), 0);
    assert_int_equal(fixture->calls.set, 1);
    assert_int_equal(fixture->calls.unset, 1);
}

static void removal_unsets(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_pci_device *device;
    struct viommu_pci_bus *bus;
    struct viommu_pci *pci;

    viommu_pci_bus_set_iommu(fixture->root, &all_ops, &fixture->calls, NULL);
    assert_int_equal(viommu_pci_bridge_add(fixture->root, 8, PORT, 1, &device, &bus, NULL), 0);
    set(add(bridge(bus, 0, TO_PCI, 2, NULL), 0));
    viommu_pci_device_remove(device);
    assert_int_equal(fixture->calls.unset, 1);
    assert_int_equal(fixture->calls.id.requester_id, 0x200);
    assert_int_equal(viommu_pci_create(&pci, plain, NULL), 0);
    assert_int_equal(viommu_pci_root_bus_add(pci, 0, 0, &bus, NULL), 0);
    viommu_pci_bus_set_iommu(bus, &all_ops, &fixture->calls, NULL);
    set(add(bridge(bus, 0, PORT, 3, NULL), 0));
    viommu_pci_destroy(pci);
    assert_int_equal(fixture->calls.unset, 2);
    assert_int_equal(fixture->calls.id.requester_id, 0x300);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_refuses),
        TEST(root_buses),
        TEST(functions),
        TEST(names_stay_right),
        TEST(bridges_refuse),
        cmocka_unit_test(aliases),
        TEST(a_bridge_is_a_function),
        TEST(numbers_follow_the_guest),
        TEST(removal_takes_what_is_below),
        TEST(set_iommu_refuses),
        TEST(wrappers_without_iommu),
        TEST(wrappers_with_every_callback),
        TEST(wrappers_with_the_least),
        TEST(short_ops_lack_the_newer_callbacks),
        TEST(refusal_is_handed_on),
        TEST(nearest_iommu_wins),
        TEST(unset_goes_where_set_went),
        TEST(renumbering_is_told),
        TEST(refused_devices_are_not_told),
        TEST(iommus_stay_over_host_devices),
        TEST(removal_unsets),
    };

    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
