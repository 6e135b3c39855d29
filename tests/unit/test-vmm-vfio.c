/* SPDX-License-Identifier: MIT */
/*
 * A VFIO device of the VMM, on a kernel that the test plays: what the guest sees, and what the host
 * is asked. Interrupts are in test-vmm-vfio-irq.c.
 */
#include "complaints.h"
#include "pci_host.h"
#include "pci_internal.h"
#include "routes.h"
#include "vfio-rig.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <viommu/soft.h>

#include <cmocka.h>

/* ---- What the guest sees */

static void the_guest_sees_the_device(void **state)
{
    struct machine *machine = *state;

    assert_int_equal(vfio_rig_config(machine, 0x00, 4), 0x56781234);
    assert_int_equal(vfio_rig_config(machine, 0x08, 4), 0x02000007);
    assert_int_equal(vfio_rig_config(machine, 0x2c, 4), 0x9abc4321);
    assert_int_equal(vfio_rig_config(machine, 0x3d, 1), 1);
    assert_int_equal(vfio_rig_config(machine, 0x10, 4) & 0xf, 0xc);
    assert_int_equal(vfio_rig_config(machine, 0x18, 4) & 0x3, 0x1);
    vfio_rig_set_config(machine, 0x10, 4, 0xffffffff);
    assert_int_equal(vfio_rig_config(machine, 0x10, 4), (uint32_t) ~(FAKE_BAR_SIZE - 1) | 0xc);
}

static void capabilities_lie_where_the_device_has_them(void **state)
{
    static const struct {
        uint8_t id;
        unsigned int at;
    } shown[] = {{0x01, FAKE_POWER},   {0x05, FAKE_MSI},  {0x09, FAKE_VENDOR},
                 {0x10, FAKE_EXPRESS}, {0x11, FAKE_MSIX}, {0x13, 0}};
    struct machine *machine = *state;

    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
        assert_int_equal(machine_capability(machine, SLOT, shown[i].id, 0), shown[i].at);
    /* An endpoint without a link, awake, with the reset that it has. */
    assert_int_equal(vfio_rig_config(machine, FAKE_EXPRESS + 2, 2), 0x0092);
    assert_int_equal(vfio_rig_config(machine, FAKE_EXPRESS + 4, 4), 0x10008000);
    assert_int_equal(vfio_rig_config(machine, FAKE_EXPRESS + 0xc, 4), 0);
    assert_int_equal(vfio_rig_config(machine, FAKE_POWER + 4, 2) & 3, 0);
}

static void a_hidden_first_extended_capability_leaves_a_null_one(void **state)
{
    struct machine *machine = *state;

    assert_int_equal(vfio_rig_config(machine, 0x100, 4), FAKE_SERIAL << 20);
    assert_int_equal(vfio_rig_config(machine, FAKE_SERIAL, 4), 0x00010003 | FAKE_SPECIFIC << 20);
    assert_int_equal(vfio_rig_config(machine, FAKE_SERIAL + 4, 4), 0x11223344);
    assert_int_equal(vfio_rig_config(machine, FAKE_SPECIFIC, 4), 0x0001000b);
}

static struct machine *attached_machine(const char *viommu)
{
    struct machine *machine = machine_create(viommu, "soft");
    struct viommu_soft_device *device;
    struct viommu_error error;

    memset(&kvm, 0, sizeof(kvm));
    host_device = "0000:3a:03.0";
    assert_int_equal(vmm_routes_create(&machine->vm, NULL), 0);
    assert_int_equal(viommu_soft_device_add(machine->vm.host, host_device, 0, &device, &error), 0);
    if (vfio_rig_try_device(machine, &error))
        fail_msg("%s", error.message);
    return machine;
}

static void attached_machine_destroy(struct machine *machine)
{
    host_device = NULL;
    vfio_rig_bare_machine_destroy(machine);
}

#define SERVICES 0x170u /* behind what the device has */

/* PASID, ATS and page requests, which VFIO does not show: what is promised and the host has. */
static void services_are_made_up(void **state)
{
    static const struct {
        const char *viommu;
        uint32_t first, second, third; /* headers of capabilities, 8 bytes from each other */
    } rows[] = {
        {"vtd,pasid-bits=20,device-iotlb=on,page-requests=on", 0x1781001b, 0x1801000f, 0x00010013},
        {"vtd,pasid-bits=8,device-iotlb=on", 0x1781001b, 0x0001000f, 0},
        {"vtd,device-iotlb=on,pasid-bits=0", 0x0001000f, 0, 0},
        {"vtd,pasid-bits=0", 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct machine *machine;

        fake_vfio_reset();
        machine = attached_machine(rows[i].viommu);
        assert_int_equal(vfio_rig_config(machine, FAKE_SPECIFIC, 4),
                         0x0001000b | (rows[i].first ? SERVICES << 20 : 0));
        assert_int_equal(vfio_rig_config(machine, SERVICES, 4), rows[i].first);
        assert_int_equal(vfio_rig_config(machine, SERVICES + 8, 4), rows[i].second);
        assert_int_equal(vfio_rig_config(machine, SERVICES + 16, 4), rows[i].third);
        if ((rows[i].first & 0xffff) == 0x1b)
            assert_int_equal(vfio_rig_config(machine, SERVICES + 4, 2), 20 << 8);
        attached_machine_destroy(machine);
    }
}

/* The host enables them in the device; the status register behaves as that of one that obeys. */
static void services_are_the_hosts_to_switch(void **state)
{
    struct machine *machine;

    (void)state;
    fake_vfio_reset();
    machine = attached_machine("vtd,pasid-bits=20,device-iotlb=on,page-requests=on");
    vfio_rig_set_config(machine, SERVICES + 6, 2, 1);
    vfio_rig_set_config(machine, SERVICES + 14, 2, 0x8000);
    vfio_rig_set_config(machine, SERVICES + 20, 2, 1);
    assert_int_equal(vfio_rig_config(machine, SERVICES + 6, 2), 1);
    assert_int_equal(vfio_rig_config(machine, SERVICES + 14, 2), 0x8000);
    assert_int_equal(vfio_rig_config(machine, SERVICES + 20, 4), 0x80000001);
    vfio_rig_set_config(machine, SERVICES + 20, 2, 0);
    assert_int_equal(vfio_rig_config(machine, SERVICES + 20, 4), 0x81000000);
    vfio_rig_set_config(machine, SERVICES + 20, 2, 2);
    assert_int_equal(vfio_rig_config(machine, SERVICES + 20, 4), 0x81000000);
    for (unsigned int i = 0; i < 32; i++)
        assert_int_equal(fake.config[SERVICES + i], 0);
    attached_machine_destroy(machine);
}

/* Behind a capability that reaches to the end there is no room, in conventional PCI no list. */
static void services_need_room(void **state)
{
    static const uint32_t to_the_end = (VMM_PCI_CONFIG_SIZE - FAKE_SPECIFIC) << 20 | 0x55;
    struct machine *machine;

    (void)state;
    for (int conventional = 0; conventional < 2; conventional++) {
        fake_vfio_reset();
        if (conventional)
            fake.config[FAKE_EXPRESS] = 0xff;
        else
            memcpy(fake.config + FAKE_SPECIFIC + 4, &to_the_end, 4);
        machine = attached_machine("vtd,pasid-bits=20,device-iotlb=on,page-requests=on");
        assert_int_equal(vfio_rig_config(machine, FAKE_SPECIFIC, 4), conventional ? 0 : 0x0001000b);
        assert_int_equal(vfio_rig_config(machine, 0x100, 4), conventional ? 0 : FAKE_SERIAL << 20);
        attached_machine_destroy(machine);
    }
}

static void vendor_registers_are_the_devices(void **state)
{
    struct machine *machine = *state;

    vfio_rig_set_config(machine, FAKE_VENDOR + 4, 4, 0x12345678);
    assert_memory_equal(fake.config + FAKE_VENDOR + 4, "\x78\x56\x34\x12", 4);
    memcpy(fake.config + FAKE_VENDOR + 4, "\x01\x02\x03\x04", 4);
    assert_int_equal(vfio_rig_config(machine, FAKE_VENDOR + 4, 4), 0x04030201);
    memcpy(fake.config + FAKE_SPECIFIC + 8, "\x05\x06\x07\x08", 4);
    assert_int_equal(vfio_rig_config(machine, FAKE_SPECIFIC + 8, 4), 0x08070605);
    /* Not the list that they are in. */
    fake.config[FAKE_VENDOR + 1] = 0xee;
    assert_int_equal(vfio_rig_config(machine, FAKE_VENDOR, 2), 0x09 | FAKE_EXPRESS << 8);
    vfio_rig_set_config(machine, FAKE_POWER + 4, 2, 3);
    assert_int_equal(fake.config[FAKE_POWER + 4], 3); /* as it was: the host's business */
}

static void bus_mastering_follows_the_guest_and_decoding_stays(void **state)
{
    struct machine *machine = *state;

    vfio_rig_set_config(machine, COMMAND, 2, 0);
    assert_int_equal(fake.config[COMMAND] & (MEMORY | MASTER), MEMORY);
    vfio_rig_set_config(machine, COMMAND, 2, MASTER);
    assert_int_equal(fake.config[COMMAND] & (MEMORY | MASTER), MEMORY | MASTER);
}

static void pages_without_msix_are_mapped(void **state)
{
    struct machine *machine = *state;

    /* 0..1fff, 3000..3fff, 5000..7fff */
    assert_int_equal(fake.mapped, 3);
    assert_int_equal(kvm.slots, 3);
    assert_int_equal(kvm.lowest, vfio_rig_bar0(machine));
    vfio_rig_set_config(machine, COMMAND, 2, 0);
    assert_int_equal(kvm.slots, 0);
    kvm.lowest = 0;
    vfio_rig_set_config(machine, 0x10, 4, 0xd0000000);
    vfio_rig_set_config(machine, 0x14, 4, 0);
    vfio_rig_set_config(machine, COMMAND, 2, MEMORY);
    assert_int_equal(kvm.slots, 3);
    assert_int_equal(kvm.lowest, 0xd0000000);
}

static void nothing_is_mapped_over_ram(void **state)
{
    static const uint64_t places[] = {0, 0x100000, VMM_LAPIC_BASE, UINT64_C(1) << 40};
    struct machine *machine = *state;
    uint64_t home = vfio_rig_bar0(machine);

    kvm.lowest = 0;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        vfio_rig_set_config(machine, 0x10, 4, (uint32_t)places[i]);
        vfio_rig_set_config(machine, 0x14, 4, (uint32_t)(places[i] >> 32));
        assert_int_equal(kvm.slots, 0);
    }
    vfio_rig_set_config(machine, 0x10, 4, (uint32_t)home);
    vfio_rig_set_config(machine, 0x14, 4, (uint32_t)(home >> 32));
    assert_int_equal(kvm.slots, 3);
    assert_int_equal(machine_read(machine, home + 0x2f00, 4), 0);
}

static void what_is_not_mapped_is_read_and_written(void **state)
{
    struct machine *machine = *state;
    uint64_t base = vfio_rig_bar0(machine);

    memcpy(fake.bar + 0x2f00, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    assert_int_equal(machine_read(machine, base + 0x2f00, 8), 0x8877665544332211);
    machine_write(machine, base + 0x2f10, 2, 0xbeef);
    assert_memory_equal(fake.bar + 0x2f10, "\xef\xbe", 2);
    /* The table is not the device's. */
    machine_write(machine, base + FAKE_TABLE, 4, 0xfee00000);
    assert_int_equal(fake.bar[FAKE_TABLE + 3], 0);
    assert_int_equal(machine_read(machine, base + FAKE_TABLE, 4), 0xfee00000);
    assert_int_equal(machine_read(machine, base + FAKE_PBA, 8), 0);
    fake.sizes[0] = 0x1000; /* it answers no more */
    assert_int_equal(machine_read(machine, base + 0x2f00, 4), 0xffffffff);
}

static void a_list_of_areas_is_kept_to(void **state)
{
    struct machine *machine = vfio_rig_bare_machine();
    struct viommu_error error;

    (void)state;
    fake_vfio_reset();
    fake.sparse = true;
    assert_int_equal(vfio_rig_try_device(machine, &error), 0);
    assert_int_equal(fake.mapped, 1); /* 5000..7fff */
    assert_int_equal(kvm.lowest, vfio_rig_bar0(machine) + 0x5000);
    vfio_rig_bare_machine_destroy(machine);
}

/* ---- Resets and the end */

static void a_function_level_reset_reaches_the_device(void **state)
{
    struct machine *machine = *state;
    unsigned int before = fake.resets;

    vfio_rig_enable_msix(machine);
    vfio_rig_set_vector(machine, 0, 0x49, false);
    fake.config[COMMAND] = 0; /* as a reset leaves it */
    vfio_rig_set_config(machine, FAKE_EXPRESS + 8, 2, 0x8000);
    assert_int_equal(fake.resets, before + 1);
    assert_int_equal(fake.irqfds, 0);
    assert_int_equal(fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX].count, 0);
    assert_int_equal(fake.triggers[VFIO_PCI_INTX_IRQ_INDEX].count, 1);
    assert_int_equal(fake.config[COMMAND] & (MEMORY | MASTER), MEMORY);
    assert_int_equal(vfio_rig_config(machine, FAKE_MSIX + 2, 2) & 0x8000, 0);
    assert_int_equal(kvm.slots, 0);
}

static void the_machines_reset_reaches_the_device(void **state)
{
    struct machine *machine = *state;
    unsigned int before = fake.resets;
    struct viommu_error error;

    vmm_pci_host_reset(&machine->vm);
    assert_int_equal(fake.resets, before + 1);
    assert_int_equal(kvm.slots, 0);
    assert_int_equal(fake.config[COMMAND] & (MEMORY | MASTER), MEMORY);
    assert_int_equal(vmm_pci_host_start(&machine->vm, &error), 0);
    assert_int_equal(kvm.slots, 3);
    assert_int_equal(fake.config[COMMAND] & (MEMORY | MASTER), MEMORY | MASTER);
}

static void is_gone(struct machine *machine)
{
    assert_int_equal(fake.open, 0);
    assert_int_equal(vfio_rig_config(machine, 0, 4), 0xffffffff);
    assert_int_equal(fake.mapped, 0);
    assert_int_equal(kvm.slots, 0);
    assert_int_equal(fake.irqfds, 0);
    for (unsigned int i = VFIO_PCI_INTX_IRQ_INDEX; i <= VFIO_PCI_MSIX_IRQ_INDEX; i++)
        assert_int_equal(fake.triggers[i].count, 0);
    assert_int_equal(atomic_load(&machine->vm.stop), VMM_STOP_NONE);
}

static void wait_until_unplugged(struct machine *machine)
{
    for (int i = 0; i < 5000 && !vmm_pci_is_unplugged(&vfio->fn); i++)
        usleep(1000);
    pthread_mutex_lock(&machine->vm.plug_lock); /* until it is over */
    pthread_mutex_unlock(&machine->vm.plug_lock);
}

static void a_device_that_the_host_wants_back_is_unplugged(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    vfio_rig_set_vector(machine, 0, 0x49, false);
    fake_vfio_signal(VFIO_PCI_REQ_IRQ_INDEX, 0);
    wait_until_unplugged(machine);
    is_gone(machine);
}

static int refuse_unmap(void *opaque, enum viommu_host_call call)
{
    (void)opaque;
    return call == VIOMMU_HOST_CALL_IOAS_UNMAP ? -EIO : 0;
}

static const struct viommu_memory_range *lost_range;

static void lose(struct machine *machine)
{
    assert_int_equal(viommu_memory_add(machine->vm.memory, lost_range, NULL), 0);
    viommu_host_set_observer(machine->vm.host, refuse_unmap, NULL);
    assert_int_equal(viommu_memory_remove(machine->vm.memory, lost_range->gpa, NULL), 0);
}

static void wait_until_taken(int event)
{
    struct pollfd fd = {.fd = event, .events = POLLIN};

    for (int i = 0; i < 5000 && poll(&fd, 1, 0); i++)
        usleep(1000);
    assert_int_equal(poll(&fd, 1, 0), 0);
}

/* The loop finds that it is no function yet before it becomes one. */
static void signal_and_wait(struct machine *machine)
{
    fake_vfio_signal(VFIO_PCI_REQ_IRQ_INDEX, 0);
    wait_until_taken(vfio->signals[VMM_VFIO_REQUEST].event);
    for (int i = 0; i < 5000; i++) {
        const char *lost;

        pthread_mutex_lock(&machine->vm.plug_lock);
        lost = vfio->fn.lost;
        pthread_mutex_unlock(&machine->vm.plug_lock);
        if (lost)
            return;
        usleep(1000);
    }
    fail_msg("nobody noted the loss");
}

/* The library closes its descriptor, which blocks the device when ours is closed, too. */
static void a_device_that_the_host_cannot_detach_is_unplugged(void **state)
{
    struct viommu_memory_range range = {.gpa = 0x80000000, .size = 0x200000};
    struct machine *machine;

    (void)state;
    fake_vfio_reset();
    machine = attached_machine("vtd");
    range.host = mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(range.host != MAP_FAILED);
    lost_range = &range;
    lose(machine);
    wait_until_unplugged(machine);
    viommu_host_set_observer(machine->vm.host, NULL, NULL);
    is_gone(machine);
    munmap(range.host, range.size);
    attached_machine_destroy(machine);
}

/* The host wants it back while another thread is in the middle of unplugging it: none waits for
 * the other for good, and it is unplugged once. */
static void two_may_unplug_a_device(void **state)
{
    struct machine *machine = *state;
    struct vmm_pci_function *fn = &vfio->fn;

    complaints_listen();
    pthread_mutex_lock(&machine->vm.plug_lock);
    fake_vfio_signal(VFIO_PCI_REQ_IRQ_INDEX, 0);
    wait_until_taken(vfio->signals[VMM_VFIO_REQUEST].event);
    pthread_mutex_lock(&machine->vm.pci->lock);
    fn->unplugged = true;
    pthread_mutex_unlock(&machine->vm.pci->lock);
    vmm_pci_power_on(fn);
    fn->ops->unplug(fn);
    pthread_mutex_unlock(&machine->vm.plug_lock);
    vmm_loop_stop(machine->vm.loop); /* not before it has looked */
    assert_string_equal(complaints_heard(), "");
    is_gone(machine);
}

/* Between its attachment, or its first signal, and the moment from which the guest sees it. */
static void a_device_that_is_lost_early_is_unplugged(void **state)
{
    struct machine *machine = vfio_rig_bare_machine();
    struct viommu_error error;

    (void)state;
    fake_vfio_reset();
    complaints_listen();
    before_registering = signal_and_wait;
    if (vfio_rig_try_device(machine, &error))
        fail_msg("%s", error.message);
    before_registering = NULL;
    assert_string_equal(complaints_heard(), "viommu: warning: vfio test is wanted back by the "
                                            "host, and is unplugged\n");
    assert_true(vmm_pci_is_unplugged(&vfio->fn));
    is_gone(machine);
    vfio_rig_bare_machine_destroy(machine);
}

/* Its handler comes later than the loss. */
static void a_device_that_is_lost_before_it_is_open_is_unplugged(void **state)
{
    struct viommu_memory_range range = {.gpa = 0x80000000, .size = 0x200000};
    struct machine *machine;

    (void)state;
    fake_vfio_reset();
    range.host = mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(range.host != MAP_FAILED);
    lost_range = &range;
    after_attaching = lose;
    machine = attached_machine("vtd");
    after_attaching = NULL;
    wait_until_unplugged(machine);
    viommu_host_set_observer(machine->vm.host, NULL, NULL);
    is_gone(machine);
    munmap(range.host, range.size);
    attached_machine_destroy(machine);
}

static void *read_on(void *opaque)
{
    struct machine *machine = opaque;
    uint64_t base = vfio_rig_bar0(machine);

    while (machine_read(machine, base + 0x2f00, 4) != 0xffffffff)
        machine_write(machine, base + 0x2f10, 4, 1);
    return NULL;
}

static void vcpus_may_be_at_a_device_that_is_unplugged(void **state)
{
    struct machine *machine = *state;
    struct viommu_error error;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, read_on, machine), 0);
    usleep(2000);
    assert_int_equal(vmm_pci_unplug(&machine->vm, 0, SLOT << 3, &error), 0);
    pthread_join(thread, NULL);
    is_gone(machine);
    assert_int_equal(vmm_vfio_bar_read(&vfio->fn, 0, 0x2f00, 4), UINT64_MAX);
    assert_int_equal(vmm_pci_unplug(&machine->vm, 0, SLOT << 3, &error), -ENOENT);
}

/* ---- Devices that are none */

static void set_bridge(void)
{
    fake.config[0x0e] = 1;
}

static void set_absent(void)
{
    memset(fake.config, 0xff, sizeof(fake.config));
}

static void set_platform(void)
{
    fake.device_flags = VFIO_DEVICE_FLAGS_RESET;
}

static void set_odd_bar(void)
{
    fake.sizes[0] = 0x7000;
}

static void set_many_ports(void)
{
    fake.sizes[2] = 0x200;
}

static void set_table_outside(void)
{
    fake.config[FAKE_MSIX + 6] = 1;
}

static void set_short_config(void)
{
    fake.sizes[VFIO_PCI_CONFIG_REGION_INDEX] = 64;
}

static void what_is_no_device_is_refused(void **state)
{
    static const struct {
        void (*set)(void);
        const char *sentence;
    } cases[] = {
        {set_bridge, "vfio test is a bridge (header type 1)"},
        {set_absent, "vfio test does not answer"},
        {set_platform, "vfio test is no PCI device"},
        {set_odd_bar, "BAR 0 has 28672 bytes"},
        {set_many_ports, "BAR 2 has 512 I/O ports"},
        {set_table_outside, "its MSI-X table (0x12000)"},
        {set_short_config, "shorter than 256 bytes"},
    };
    struct viommu_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct machine *machine = vfio_rig_bare_machine();

        fake_vfio_reset();
        cases[i].set();
        assert_true(vfio_rig_try_device(machine, &error) < 0);
        if (!strstr(error.message, cases[i].sentence))
            fail_msg("'%s' is not in '%s'", cases[i].sentence, error.message);
        vfio_rig_bare_machine_destroy(machine);
    }
}

/* Whichever call it is, the device comes up with what is optional missing, or leaves nothing
 * behind. */
static void every_call_may_fail(void **state)
{
    struct viommu_error error;
    unsigned int calls, refused = 0;

    (void)state;
    fake_vfio_reset();
    for (unsigned int at = 1;; at++) {
        struct machine *machine = vfio_rig_bare_machine();

        fake_vfio_reset();
        fake.fail_at = at;
        error.message[0] = '\0';
        if (vfio_rig_try_device(machine, &error)) {
            assert_true(error.message[0]);
            refused++;
        }
        calls = fake.calls;
        vfio_rig_bare_machine_destroy(machine);
        if (calls < at)
            break;
    }
    assert_int_equal(refused, 1 + VFIO_PCI_CONFIG_REGION_INDEX + 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, vfio_rig_setup, vfio_rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_guest_sees_the_device),
        TEST(capabilities_lie_where_the_device_has_them),
        TEST(a_hidden_first_extended_capability_leaves_a_null_one),
        cmocka_unit_test(services_are_made_up),
        cmocka_unit_test(services_are_the_hosts_to_switch),
        cmocka_unit_test(services_need_room),
        TEST(vendor_registers_are_the_devices),
        TEST(bus_mastering_follows_the_guest_and_decoding_stays),
        TEST(pages_without_msix_are_mapped),
        TEST(nothing_is_mapped_over_ram),
        TEST(what_is_not_mapped_is_read_and_written),
        cmocka_unit_test(a_list_of_areas_is_kept_to),
        TEST(a_function_level_reset_reaches_the_device),
        TEST(the_machines_reset_reaches_the_device),
        TEST(a_device_that_the_host_wants_back_is_unplugged),
        cmocka_unit_test(a_device_that_the_host_cannot_detach_is_unplugged),
        TEST(two_may_unplug_a_device),
        cmocka_unit_test(a_device_that_is_lost_early_is_unplugged),
        cmocka_unit_test(a_device_that_is_lost_before_it_is_open_is_unplugged),
        TEST(vcpus_may_be_at_a_device_that_is_unplugged),
        cmocka_unit_test(what_is_no_device_is_refused),
        cmocka_unit_test(every_call_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
