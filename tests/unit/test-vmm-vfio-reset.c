/* SPDX-License-Identifier: MIT */
/* Resets of a VFIO device that has none of its own: those of its bus, and why there is none. */
#include "complaints.h"
#include "pci_host.h"
#include "pci_internal.h"
#include "unit.h"
#include "vfio-rig.h"
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

static struct machine *begin(void)
{
    struct machine *machine = vfio_rig_bare_machine();

    fake_vfio_reset();
    fake.device_flags = VFIO_DEVICE_FLAGS_PCI;
    return machine;
}

static void add_device(struct machine *machine, unsigned int slot)
{
    struct viommu_error error;

    if (vfio_rig_try_device_in(machine, slot, &error))
        fail_msg("%s", error.message);
}

static void affect(unsigned int slot, uint32_t group)
{
    fake.bus.devices[fake.bus.count++] = (struct vfio_pci_dependent_device){
        .group_id = group, .bus = 1, .devfn = (uint8_t)((slot - SLOT) << 3)};
}

static void heard(const char *words)
{
    const char *said = complaints_heard();

    if (!strstr(said, words) || (!*words && *said))
        fail_msg("'%s' is not what was said: '%s'", words, said);
}

static void flr(struct machine *machine)
{
    vfio_rig_set_config(machine, FAKE_EXPRESS + 8, 2, 0x8000);
}

static void a_device_without_reset_goes_through_one_of_its_bus(void **state)
{
    struct machine *machine = begin();

    (void)state;
    complaints_listen();
    add_device(machine, SLOT);
    assert_int_equal(fake.hot_resets, 1);
    flr(machine);
    assert_int_equal(fake.hot_resets, 2);
    assert_int_equal(fake.resets, 0);
    heard("");
    vfio_rig_bare_machine_destroy(machine);
}

/* Each once, however many devices of it are on the bus, and however many those are. */
static void the_groups_of_all_that_is_affected_are_shown(void **state)
{
    struct machine *machine = begin();

    (void)state;
    for (unsigned int slot = SLOT + 1; slot < SLOT + FAKE_AFFECTED; slot++)
        affect(slot, slot % 2 ? 8 : 7);
    fake.bus.our_groups |= 1u << 8;
    add_device(machine, SLOT);
    assert_int_equal(fake.bus.asked, 2);
    assert_int_equal(fake.hot_resets, 1);
    assert_int_equal(fake.bus.group_count, 2);
    assert_int_equal(fake.bus.groups[0], FAKE_GROUP + 7);
    assert_int_equal(fake.bus.groups[1], FAKE_GROUP + 8);
    vfio_rig_bare_machine_destroy(machine);
}

/* iommufd: whoever is bound to it is known to the kernel; 0 is another device of a bound one's
 * group. */
static void devices_of_iommufd_need_no_groups(void **state)
{
    struct machine *machine = begin();

    (void)state;
    fake.bus.flags = 3;
    fake.bus.our_groups = 0;
    fake.bus.devices[0].group_id = SLOT;
    affect(SLOT + 1, 0);
    add_device(machine, SLOT);
    assert_int_equal(fake.hot_resets, 1);
    assert_int_equal(fake.bus.group_count, 0);
    fake.bus.devices[1].group_id = UINT32_MAX;
    complaints_listen();
    flr(machine);
    heard("would reset 0000:01:01.0, which is not of this machine");
    assert_int_equal(fake.hot_resets, 1);
    vfio_rig_bare_machine_destroy(machine);
}

static void info_fails(void)
{
    fake.fail_request = VFIO_DEVICE_GET_PCI_HOT_RESET_INFO;
}

static void info_grows(void)
{
    fake.bus.grows = true;
}

static void info_overflows(void)
{
    fake.bus.overflows = true;
}

static void a_group_is_not_ours(void)
{
    affect(SLOT + 2, 9);
}

static void reset_is_refused(void)
{
    fake.fail_request = VFIO_DEVICE_PCI_HOT_RESET;
}

static void it_has_one_that_fails(void)
{
    vfio->can_reset = true;
    fake.fail_request = VFIO_DEVICE_RESET;
}

static void a_reset_that_fails_is_told_once_and_leaves_the_device(void **state)
{
    static const struct {
        void (*set)(void);
        const char *sentence;
    } cases[] = {
        {info_fails, "cannot be reset, and goes on as it was: VFIO does not tell what a reset of "
                     "its bus would reset: Operation not permitted\n"},
        {info_grows, "as it was: VFIO tells of more devices on its bus each time it is asked\n"},
        {info_overflows, "as it was: VFIO does not tell what a reset of its bus would reset: "
                         "Protocol error\n"},
        {a_group_is_not_ours, "as it was: a reset of its bus would reset 0000:01:02.0, which is "
                              "not of this machine"},
        {reset_is_refused, "as it was: VFIO refuses a reset of its bus: Operation not permitted\n"},
        {it_has_one_that_fails, "as it was: Operation not permitted\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct machine *machine = begin();
        const char *said;

        add_device(machine, SLOT);
        cases[i].set();
        complaints_listen();
        flr(machine);
        flr(machine);
        said = complaints_heard();
        if (!strstr(said, cases[i].sentence))
            fail_msg("'%s' is not in '%s'", cases[i].sentence, said);
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
        assert_int_equal(fake.hot_resets, 1);
        assert_int_equal(fake.resets, 0);
        assert_int_equal(vfio_rig_config(machine, 0, 4), 0x56781234);
        assert_int_equal(fake.triggers[VFIO_PCI_INTX_IRQ_INDEX].count, 1);
        assert_int_equal(fake.config[COMMAND] & (MEMORY | MASTER), MEMORY);
        vfio_rig_bare_machine_destroy(machine);
    }
}

/* Two devices on one bus: the first cannot be reset before the second is the machine's, too. */
static void what_comes_later_makes_up_for_the_first_reset(void **state)
{
    struct machine *machine = begin();

    (void)state;
    affect(SLOT + 1, 8);
    complaints_listen();
    add_device(machine, SLOT);
    assert_int_equal(fake.hot_resets, 0);
    fake.bus.our_groups |= 1u << 8;
    add_device(machine, SLOT + 1);
    assert_int_equal(fake.hot_resets, 1);
    vmm_vfio_later_resets(&machine->vm);
    assert_int_equal(fake.hot_resets, 2); /* of the first alone */
    heard("");
    vfio_rig_bare_machine_destroy(machine);
}

static void what_never_comes_is_told_when_all_are_there(void **state)
{
    struct machine *machine = begin();

    (void)state;
    affect(SLOT + 1, 8);
    complaints_listen();
    add_device(machine, SLOT);
    heard("");
    complaints_listen();
    vmm_vfio_later_resets(&machine->vm);
    heard("would reset 0000:01:01.0, which is not of this machine");
    assert_int_equal(fake.hot_resets, 0);
    vfio_rig_bare_machine_destroy(machine);
}

/* The guest has one reset, or loses it, and is at work with the other; until it gives that up. */
static void another_device_at_work_is_not_reset(void **state)
{
    static const uint32_t flags[] = {0, 3}; /* by address, by ID */

    (void)state;
    for (size_t i = 0; i < COUNT(flags); i++) {
        struct machine *machine = begin();

        fake.bus.flags = flags[i];
        fake.bus.devices[0].group_id = flags[i] ? SLOT : 7;
        affect(SLOT + 1, flags[i] ? SLOT + 1 : 7);
        add_device(machine, SLOT);
        add_device(machine, SLOT + 1);
        assert_int_equal(fake.hot_resets, 2);
        complaints_listen();
        flr(machine);
        heard("vfio test, which the guest uses, is on the same bus");
        assert_int_equal(fake.hot_resets, 2);
        machine_config_write(machine, SLOT + 1, COMMAND, 2, MEMORY);
        flr(machine);
        assert_int_equal(fake.hot_resets, 3);
        vfio_rig_bare_machine_destroy(machine);
    }
}

/* ---- Both at once */

static struct {
    struct machine *machine;
    pthread_t vcpu;
    bool began_too_early;
} race;

static void *begin_work(void *opaque)
{
    machine_config_write(opaque, SLOT + 1, COMMAND, 2, MEMORY | MASTER);
    return NULL;
}

/* The guest sees its bit, and the device does not get it while the reset goes on. */
static void begin_work_meanwhile(void)
{
    fake.in_hot_reset = NULL;
    assert_int_equal(pthread_create(&race.vcpu, NULL, begin_work, race.machine), 0);
    while (!(machine_config_read(race.machine, SLOT + 1, COMMAND, 2) & MASTER))
        sched_yield();
    for (int i = 0; i < 50 && !race.began_too_early; i++) {
        usleep(1000);
        race.began_too_early = __atomic_load_n(&fake.config[COMMAND], __ATOMIC_RELAXED) & MASTER;
    }
}

static void work_begins_after_the_reset(void **state)
{
    struct machine *machine = begin();

    (void)state;
    affect(SLOT + 1, 7);
    add_device(machine, SLOT);
    add_device(machine, SLOT + 1);
    machine_config_write(machine, SLOT + 1, COMMAND, 2, MEMORY);
    machine_config_write(machine, SLOT, COMMAND, 2, MEMORY);
    race.machine = machine;
    fake.in_hot_reset = begin_work_meanwhile;
    flr(machine);
    pthread_join(race.vcpu, NULL);
    assert_false(race.began_too_early);
    assert_int_equal(fake.hot_resets, 3);
    machine_config_write(machine, SLOT + 1, COMMAND, 2, MEMORY | MASTER);
    vfio_rig_bare_machine_destroy(machine);
}

static void the_machines_reset_resets_the_bus(void **state)
{
    struct machine *machine = begin();

    (void)state;
    affect(SLOT + 1, 7);
    add_device(machine, SLOT);
    add_device(machine, SLOT + 1);
    complaints_listen();
    atomic_store(&machine->vm.stop, VMM_STOP_RESET);
    vmm_pci_host_reset(&machine->vm);
    assert_int_equal(fake.hot_resets, 4);
    heard("");
    vfio_rig_bare_machine_destroy(machine);
}

static void what_is_gone_is_not_reset(void **state)
{
    struct machine *machine = begin();
    struct viommu_error error;

    (void)state;
    add_device(machine, SLOT);
    complaints_listen();
    assert_int_equal(vmm_pci_unplug(&machine->vm, 0, SLOT << 3, &error), 0);
    assert_int_equal(fake.hot_resets, 2);
    vmm_pci_power_on(&vfio->fn);
    assert_int_equal(fake.hot_resets, 2);
    heard("");
    vfio_rig_bare_machine_destroy(machine);
}

static void addresses_are_taken_as_the_host_takes_them(void **state)
{
    static const struct {
        const char *device;
        uint64_t address;
    } rows[] = {
        {"0000:01:00.0", 0x100},   {"1:0.7", 0x107},
        {"000a:3f:1f.7", 0xa3fff}, {"/dev/vfio/devices/vfio0", UINT64_MAX},
        {"fd=5", UINT64_MAX},      {"", UINT64_MAX},
    };
    struct vmm_vfio device = {.fd = -1};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        vmm_vfio_locate(&device, rows[i].device, (uint32_t)i);
        assert_int_equal(device.host_address, rows[i].address);
        assert_int_equal(device.host_id, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_without_reset_goes_through_one_of_its_bus),
        cmocka_unit_test(the_groups_of_all_that_is_affected_are_shown),
        cmocka_unit_test(devices_of_iommufd_need_no_groups),
        cmocka_unit_test(a_reset_that_fails_is_told_once_and_leaves_the_device),
        cmocka_unit_test(what_comes_later_makes_up_for_the_first_reset),
        cmocka_unit_test(what_never_comes_is_told_when_all_are_there),
        cmocka_unit_test(another_device_at_work_is_not_reset),
        cmocka_unit_test(work_begins_after_the_reset),
        cmocka_unit_test(the_machines_reset_resets_the_bus),
        cmocka_unit_test(what_is_gone_is_not_reset),
        cmocka_unit_test(addresses_are_taken_as_the_host_takes_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
