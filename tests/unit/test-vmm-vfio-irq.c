/* SPDX-License-Identifier: MIT */
/* Interrupts of a VFIO device of the VMM, on a kernel that the test plays: by KVM, or by the loop.
 */
#include "complaints.h"
#include "irq.h"
#include "pci_host.h"
#include "vfio-rig.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MSI_ENABLE 0x0001u

static void set_msi(struct machine *machine, unsigned int log2_of_vectors)
{
    vfio_rig_set_config(machine, FAKE_MSI + 4, 4, 0xfee00000);
    vfio_rig_set_config(machine, FAKE_MSI + 0xc, 2, 0x60);
    vfio_rig_set_config(machine, FAKE_MSI + 2, 2, MSI_ENABLE | log2_of_vectors << 4);
}

static void vectors_go_to_kvm(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    /* None is used, but the device is in this mode. */
    assert_int_equal(fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX].count, FAKE_VECTORS);
    for (unsigned int i = 0; i < FAKE_VECTORS; i++)
        assert_int_equal(fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX].events[i], -1);
    assert_int_equal(fake.triggers[VFIO_PCI_INTX_IRQ_INDEX].count, 0);
    vfio_rig_set_vector(machine, 1, 0x41, false);
    assert_int_equal(fake.irqfds, 1);
    assert_int_equal(kvm.address, 0xfee00000);
    assert_int_equal(kvm.data, 0x41);
    assert_true(fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX].events[1] >= 0);
    assert_int_equal(fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX].events[0], -1);
    vfio_rig_set_config(machine, FAKE_MSIX + 2, 2, 0);
    assert_int_equal(fake.irqfds, 0);
    assert_int_equal(fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX].count, 0);
    assert_int_equal(fake.triggers[VFIO_PCI_INTX_IRQ_INDEX].count, 1);
}

static void a_masked_vector_becomes_pending(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    vfio_rig_set_vector(machine, 2, 0x42, false);
    vfio_rig_set_vector(machine, 2, 0x42, true);
    assert_int_equal(fake.irqfds, 0);
    fake_vfio_signal(VFIO_PCI_MSIX_IRQ_INDEX, 2);
    for (int i = 0; i < 5000 && !machine_read(machine, vfio_rig_bar0(machine) + FAKE_PBA, 8); i++)
        usleep(1000);
    assert_int_equal(machine_read(machine, vfio_rig_bar0(machine) + FAKE_PBA, 8), 1u << 2);
    assert_int_equal(machine_messages(machine, 0x42), 0);
    vfio_rig_set_vector(machine, 2, 0x42, false);
    assert_int_equal(machine_messages(machine, 0x42), 1);
    assert_int_equal(fake.irqfds, 1);
}

/* The device sent it before; the loop comes to it when the function is no bus master any more. */
static void what_comes_to_no_bus_master_becomes_pending(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    vfio_rig_set_vector(machine, 2, 0x42, false);
    vfio_rig_set_config(machine, COMMAND, 2, MEMORY);
    fake_vfio_signal(VFIO_PCI_MSIX_IRQ_INDEX, 2);
    for (int i = 0; i < 5000 && !machine_read(machine, vfio_rig_bar0(machine) + FAKE_PBA, 8); i++)
        usleep(1000);
    vfio_rig_set_vector(machine, 2, 0x42, true);
    vfio_rig_set_vector(machine, 2, 0x42, false);
    assert_int_equal(machine_read(machine, vfio_rig_bar0(machine) + FAKE_PBA, 8), 1u << 2);
    assert_int_equal(machine_messages(machine, 0x42), 0);
    vfio_rig_set_config(machine, COMMAND, 2, MEMORY | MASTER);
    assert_int_equal(machine_messages(machine, 0x42), 1);
    assert_int_equal(machine_read(machine, vfio_rig_bar0(machine) + FAKE_PBA, 8), 0);
}

/* These have no pending bits that the guest sees. */
static void msi_of_no_bus_master_is_sent_later(void **state)
{
    struct machine *machine = *state;
    uint32_t address;

    set_msi(machine, 1);
    address = vfio_rig_config(machine, FAKE_MSI + 4, 4);
    vfio_rig_set_config(machine, COMMAND, 2, MEMORY);
    assert_true(vmm_pci_notify(&vfio->fn, 1));
    assert_int_equal(machine_messages(machine, 0x61), 0);
    assert_int_equal(vfio_rig_config(machine, FAKE_MSI + 4, 4), address);
    vfio_rig_set_config(machine, COMMAND, 2, MEMORY | MASTER);
    assert_int_equal(machine_messages(machine, 0x61), 1);
}

/* As after a vIOMMU posts, or blocks, what comes: each message must pass by. */
static void a_vector_that_must_be_seen_goes_by_the_loop(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    vfio_rig_set_vector(machine, 0, 0x43, false);
    assert_int_equal(fake.irqfds, 1);
    kvm.not_steady = true;
    vmm_irq_remapping_changed(&machine->vm);
    assert_int_equal(fake.irqfds, 0);
    fake_vfio_signal(VFIO_PCI_MSIX_IRQ_INDEX, 0);
    vfio_rig_wait_for_message(machine, 0x43, 1);
    kvm.not_steady = false;
    vmm_irq_remapping_changed(&machine->vm);
    assert_int_equal(fake.irqfds, 1);
}

static void what_kvm_refuses_goes_by_the_loop(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    kvm.refuses_routes = true;
    vfio_rig_set_vector(machine, 0, 0x44, false);
    assert_int_equal(fake.irqfds, 0);
    fake_vfio_signal(VFIO_PCI_MSIX_IRQ_INDEX, 0);
    vfio_rig_wait_for_message(machine, 0x44, 1);
    kvm.refuses_routes = false;
    fake.no_irqfd = true;
    vfio_rig_set_vector(machine, 0, 0x45, false);
    fake_vfio_signal(VFIO_PCI_MSIX_IRQ_INDEX, 0);
    vfio_rig_wait_for_message(machine, 0x45, 1);
    fake.no_irqfd = false;
}

static void a_route_that_is_refused_later_ends_at_the_loop(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    vfio_rig_set_vector(machine, 0, 0x46, false);
    kvm.refuses_routes = true;
    vfio_rig_set_vector(machine, 0, 0x47, false);
    assert_int_equal(fake.irqfds, 0);
    fake_vfio_signal(VFIO_PCI_MSIX_IRQ_INDEX, 0);
    vfio_rig_wait_for_message(machine, 0x47, 1);
}

/* Once on, MSI-X is not switched off to get more: what came meanwhile would be lost. */
static void all_vectors_are_had_at_once(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    vfio_rig_set_vector(machine, 0, 0x50, false);
    vfio_rig_set_vector(machine, 31, 0x51, false);
    vfio_rig_set_vector(machine, 39, 0x52, false);
    assert_int_equal(fake.enables, 1);
    assert_int_equal(fake.disables, 0);
    assert_int_equal(fake.irqfds, 3);
    assert_true(fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX].events[31] >= 0);
}

/* VFIO answers how many there are when there are fewer than were asked for, and gives none. */
static void a_host_with_few_vectors_gives_what_it_has(void **state)
{
    struct machine *machine = *state;
    const struct fake_trigger *msix = &fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX];

    fake.vectors = 3;
    vfio_rig_enable_msix(machine);
    assert_int_equal(msix->count, 3);
    vfio_rig_set_vector(machine, 1, 0x51, false);
    vfio_rig_set_vector(machine, 5, 0x52, false); /* is not to be had; the other stays */
    assert_int_equal(msix->count, 3);
    assert_true(msix->events[1] >= 0);
    assert_int_equal(fake.irqfds, 1);
    vfio_rig_set_vector(machine, 2, 0x53, false);
    assert_int_equal(fake.irqfds, 2);
    assert_int_equal(fake.enables, 1);
    assert_int_equal(fake.disables, 0);
}

/* A kernel that fails for many, and does not say how many it would give. */
static void a_host_that_says_no_number_is_asked_for_fewer(void **state)
{
    struct machine *machine = *state;
    const struct fake_trigger *msix = &fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX];

    fake.vectors = 12;
    fake.no_number = true;
    vfio_rig_enable_msix(machine);
    assert_int_equal(msix->count, 10);
    vfio_rig_set_config(machine, FAKE_MSIX + 2, 2, 0);
    assert_int_equal(msix->count, 0);
}

static void msi_has_the_vectors_that_the_host_has(void **state)
{
    struct machine *machine = *state;

    fake.vectors = 1;
    vfio_rig_set_config(machine, FAKE_MSI + 4, 4, 0xfee00000);
    vfio_rig_set_config(machine, FAKE_MSI + 0xc, 2, 0x60);
    complaints_listen();
    vfio_rig_set_config(machine, FAKE_MSI + 2, 2, MSI_ENABLE | 1 << 4);
    vfio_rig_set_config(machine, FAKE_MSI + 2, 2, 0);
    vfio_rig_set_config(machine, FAKE_MSI + 2, 2, MSI_ENABLE | 1 << 4);
    assert_string_equal(
        complaints_heard(),
        "viommu: warning: vfio test gets fewer MSI vectors than the guest wants, and the "
        "last stay silent: 1 of 2\n");
    assert_int_equal(fake.triggers[VFIO_PCI_MSI_IRQ_INDEX].count, 1);
    kvm.not_steady = true;
    vmm_irq_remapping_changed(&machine->vm);
    fake_vfio_signal(VFIO_PCI_MSI_IRQ_INDEX, 0);
    vfio_rig_wait_for_message(machine, 0x60, 1);
}

static void a_host_that_can_grow_gives_one_at_a_time(void **state)
{
    struct machine *machine = vfio_rig_bare_machine();
    struct viommu_error error;

    (void)state;
    fake_vfio_reset();
    fake.msix_flags = 0;
    assert_int_equal(vfio_rig_try_device(machine, &error), 0);
    vfio_rig_enable_msix(machine);
    assert_int_equal(fake.triggers[VFIO_PCI_MSIX_IRQ_INDEX].count, 1);
    vfio_rig_set_vector(machine, 0, 0x50, false);
    vfio_rig_set_vector(machine, 39, 0x52, false);
    assert_int_equal(fake.enables, 1);
    assert_int_equal(fake.disables, 0);
    assert_int_equal(fake.irqfds, 2);
    fake.vectors = 20;
    vfio_rig_set_vector(machine, 30, 0x53, false); /* is not to be had now, but later */
    assert_int_equal(fake.irqfds, 2);
    fake.vectors = 0;
    vfio_rig_set_vector(machine, 30, 0x53, false);
    assert_int_equal(fake.irqfds, 3);
    vfio_rig_bare_machine_destroy(machine);
}

static void msi_has_all_its_vectors(void **state)
{
    struct machine *machine = *state;

    vfio_rig_set_config(machine, FAKE_MSI + 4, 4, 0xfee00000);
    vfio_rig_set_config(machine, FAKE_MSI + 0xc, 2, 0x60);
    vfio_rig_set_config(machine, FAKE_MSI + 2, 2, MSI_ENABLE | 1 << 4);
    assert_int_equal(fake.triggers[VFIO_PCI_MSI_IRQ_INDEX].count, 2);
    assert_int_equal(fake.irqfds, 2);
    assert_int_equal(kvm.data, 0x61);
    /* A function that is no bus master sends nothing. */
    vfio_rig_set_config(machine, COMMAND, 2, MEMORY);
    assert_int_equal(fake.irqfds, 0);
    vfio_rig_set_config(machine, COMMAND, 2, MEMORY | MASTER);
    assert_int_equal(fake.irqfds, 2);
    vfio_rig_set_config(machine, FAKE_MSI + 2, 2, 0);
    assert_int_equal(fake.triggers[VFIO_PCI_MSI_IRQ_INDEX].count, 0);
    assert_int_equal(fake.irqfds, 0);
}

static void the_line_stays_until_it_is_served(void **state)
{
    struct machine *machine = *state;
    uint64_t count;

    assert_int_equal(fake.triggers[VFIO_PCI_INTX_IRQ_INDEX].count, 1);
    fake_vfio_signal(VFIO_PCI_INTX_IRQ_INDEX, 0);
    vfio_rig_wait_for_line(machine, true);
    assert_int_equal(read(fake.unmask, &count, sizeof(count)), -1);
    vmm_pci_lines_served(&machine->vm, 1u << (VMM_GSI_PCI_FIRST + (SLOT + 1) % VMM_GSI_PCI_COUNT));
    assert_true(machine_line(machine, SLOT)); /* that was another line */
    vmm_pci_lines_served(&machine->vm, 1u << (VMM_GSI_PCI_FIRST + SLOT % VMM_GSI_PCI_COUNT));
    assert_false(machine_line(machine, SLOT));
    assert_int_equal(read(fake.unmask, &count, sizeof(count)), sizeof(count));
    fake_vfio_signal(VFIO_PCI_INTX_IRQ_INDEX, 0);
    vfio_rig_wait_for_line(machine, true);
}

static void interrupts_that_the_host_refuses_stay_silent(void **state)
{
    struct machine *machine = *state;

    vfio_rig_enable_msix(machine);
    fake.fail_request = VFIO_DEVICE_SET_IRQS;
    vfio_rig_set_vector(machine, 0, 0x48, false);
    assert_int_equal(fake.irqfds, 0);
    fake.fail_request = 0;
    vfio_rig_set_vector(machine, 0, 0x48, false); /* and may be had later */
    assert_int_equal(fake.irqfds, 1);
    fake.fail_request = VFIO_DEVICE_SET_IRQS;
    vfio_rig_set_config(machine, FAKE_MSIX + 2, 2, 0);
    assert_int_equal(fake.irqfds, 0);
    fake.fail_request = 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, vfio_rig_setup, vfio_rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(vectors_go_to_kvm),
        TEST(a_masked_vector_becomes_pending),
        TEST(what_comes_to_no_bus_master_becomes_pending),
        TEST(msi_of_no_bus_master_is_sent_later),
        TEST(a_vector_that_must_be_seen_goes_by_the_loop),
        TEST(what_kvm_refuses_goes_by_the_loop),
        TEST(a_route_that_is_refused_later_ends_at_the_loop),
        TEST(all_vectors_are_had_at_once),
        TEST(a_host_with_few_vectors_gives_what_it_has),
        TEST(a_host_that_says_no_number_is_asked_for_fewer),
        TEST(msi_has_the_vectors_that_the_host_has),
        cmocka_unit_test(a_host_that_can_grow_gives_one_at_a_time),
        TEST(msi_has_all_its_vectors),
        TEST(the_line_stays_until_it_is_served),
        TEST(interrupts_that_the_host_refuses_stay_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
