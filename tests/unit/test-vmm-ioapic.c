/* SPDX-License-Identifier: MIT */
/* The IOAPIC of the VMM; its messages are caught instead of going to KVM. */
#include "ioapic.h"
#include "irq.h"
#include "vmm.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEVEL  (1ull << 15)
#define MASKED (1ull << 16)
#define IRR    (1ull << 14)

static struct {
    unsigned int count;
    uint64_t address;
    uint32_t data;
    uint16_t requester_id;
} sent;

void __wrap_vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data, uint16_t requester_id);

void __wrap_vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data, uint16_t requester_id)
{
    (void)vm;
    sent.count++;
    sent.address = address;
    sent.data = data;
    sent.requester_id = requester_id;
}

static int setup(void **state)
{
    struct vmm *vm = calloc(1, sizeof(*vm));
    struct viommu_error error;

    assert_non_null(vm);
    vm->vm_fd = -1;
    vm->wake_fd = -1;
    pthread_mutex_init(&vm->stop_lock, NULL);
    vmm_bus_init(&vm->mmio);
    memset(&sent, 0, sizeof(sent));
    assert_int_equal(vmm_ioapic_create(vm, &error), 0);
    *state = vm;
    return 0;
}

static int teardown(void **state)
{
    struct vmm *vm = *state;

    vmm_ioapic_destroy(vm);
    vmm_bus_fini(&vm->mmio);
    free(vm);
    return 0;
}

static uint32_t get(struct vmm *vm, unsigned int index)
{
    vmm_bus_write(&vm->mmio, VMM_IOAPIC_BASE, 4, index);
    return (uint32_t)vmm_bus_read(&vm->mmio, VMM_IOAPIC_BASE + 0x10, 4);
}

static void set(struct vmm *vm, unsigned int index, uint32_t value)
{
    vmm_bus_write(&vm->mmio, VMM_IOAPIC_BASE, 4, index);
    vmm_bus_write(&vm->mmio, VMM_IOAPIC_BASE + 0x10, 4, value);
}

static void set_entry(struct vmm *vm, unsigned int pin, uint64_t entry)
{
    set(vm, 0x11 + 2 * pin, (uint32_t)(entry >> 32));
    set(vm, 0x10 + 2 * pin, (uint32_t)entry);
}

static void registers_are_those_of_an_ioapic(void **state)
{
    struct vmm *vm = *state;

    assert_int_equal(get(vm, 1), 0x00170020);
    set(vm, 0, 0xffffffff);
    assert_int_equal(get(vm, 0), 0x0f000000);
    assert_int_equal(get(vm, 0x10), MASKED);
    set(vm, 0x10, 0xffffffff);
    assert_int_equal(get(vm, 0x10), 0xffffffff & ~(IRR | 1u << 12));
    set(vm, 0x11, 0x12345678);
    assert_int_equal(get(vm, 0x11), 0x12345678);
    assert_int_equal(get(vm, 0x10 + 2 * VMM_GSI_COUNT), 0xffffffff);
    set(vm, 0xff, 0);
    assert_int_equal(vmm_bus_read(&vm->mmio, VMM_IOAPIC_BASE + 4, 4), 0xffffffff);
}

static void an_edge_is_one_message(void **state)
{
    struct vmm *vm = *state;

    set_entry(vm, 4, 0x0300000000000000ull | 0x31);
    vmm_irq_set_level(vm, 4, true);
    vmm_irq_set_level(vm, 4, true);
    assert_int_equal(sent.count, 1);
    assert_int_equal(sent.address, 0xfee03000);
    assert_int_equal(sent.data & 0xff, 0x31);
    assert_int_equal(sent.requester_id, VMM_IOAPIC_REQUESTER_ID);
    vmm_irq_set_level(vm, 4, false);
    vmm_irq_set_level(vm, 4, true);
    assert_int_equal(sent.count, 2);
    vmm_irq_set_level(vm, VMM_GSI_COUNT, true);
    assert_int_equal(sent.count, 2);
}

static void an_edge_while_masked_comes_later(void **state)
{
    struct vmm *vm = *state;

    vmm_irq_set_level(vm, 4, true);
    vmm_irq_set_level(vm, 4, false);
    assert_int_equal(sent.count, 0);
    set_entry(vm, 4, 0x31);
    assert_int_equal(sent.count, 1);
    set_entry(vm, 4, MASKED | 0x31);
    set_entry(vm, 4, 0x31);
    assert_int_equal(sent.count, 1);
}

static void a_level_comes_again_until_it_is_gone(void **state)
{
    struct vmm *vm = *state;

    set_entry(vm, 16, LEVEL | 0x44);
    vmm_irq_set_level(vm, 16, true);
    assert_int_equal(sent.count, 1);
    assert_int_equal(get(vm, 0x10 + 2 * 16), LEVEL | IRR | 0x44);
    vmm_irq_set_level(vm, 16, true);
    assert_int_equal(sent.count, 1);
    vmm_ioapic_eoi(vm->ioapic, 0x43);
    assert_int_equal(sent.count, 1);
    vmm_ioapic_eoi(vm->ioapic, 0x44);
    assert_int_equal(sent.count, 2);
    vmm_irq_set_level(vm, 16, false);
    vmm_bus_write(&vm->mmio, VMM_IOAPIC_BASE + 0x40, 4, 0x44);
    assert_int_equal(sent.count, 2);
    assert_int_equal(get(vm, 0x10 + 2 * 16), LEVEL | 0x44);
}

static void a_level_while_masked_comes_if_it_stays(void **state)
{
    struct vmm *vm = *state;

    set_entry(vm, 16, LEVEL | MASKED | 0x44);
    vmm_irq_set_level(vm, 16, true);
    vmm_irq_set_level(vm, 16, false);
    set_entry(vm, 16, LEVEL | 0x44);
    assert_int_equal(sent.count, 0);
    set_entry(vm, 16, LEVEL | MASKED | 0x44);
    vmm_irq_set_level(vm, 16, true);
    set_entry(vm, 16, LEVEL | 0x44);
    assert_int_equal(sent.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(registers_are_those_of_an_ioapic, setup, teardown),
        cmocka_unit_test_setup_teardown(an_edge_is_one_message, setup, teardown),
        cmocka_unit_test_setup_teardown(an_edge_while_masked_comes_later, setup, teardown),
        cmocka_unit_test_setup_teardown(a_level_comes_again_until_it_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_level_while_masked_comes_if_it_stays, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
