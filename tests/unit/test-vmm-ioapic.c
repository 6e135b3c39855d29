/* SPDX-License-Identifier: MIT */
/* The IOAPIC of the VMM; its messages are caught instead of going to KVM. */
#include "ioapic.h"
#include "irq.h"
#include "routes.h"
#include "vmm.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <viommu.h>

#include <cmocka.h>

#define LEVEL  (1ull << 15)
#define MASKED (1ull << 16)
#define IRR    (1ull << 14)

static struct {
    unsigned int count;
    uint64_t address;
    uint32_t data;
} sent;

void __wrap_vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data);

void __wrap_vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data)
{
    (void)vm;
    sent.count++;
    sent.address = address;
    sent.data = data;
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
    assert_int_equal(vmm_routes_create(vm, &error), 0);
    assert_int_equal(vmm_ioapic_create(vm, &error), 0);
    *state = vm;
    return 0;
}

static int teardown(void **state)
{
    struct vmm *vm = *state;

    vmm_ioapic_destroy(vm);
    vmm_routes_destroy(vm);
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

/* Behind a VT-d unit whose table is in force; entries are of 16 bytes (VT-d 5.0, 9.9). */

#define TABLE    0x4000u
#define PRESENT  (UINT64_C(1) << 0)
#define BY_LEVEL (UINT64_C(1) << 4)
#define VERIFIED (UINT64_C(1) << 18)

static _Alignas(4096) uint64_t ram[0x8000 / 8];

/* A redirection entry in remappable format. */
static uint64_t remappable(unsigned int index)
{
    return (uint64_t)index << 49 | UINT64_C(1) << 48;
}

static void remap(unsigned int index, uint64_t low, uint64_t high)
{
    ram[TABLE / 8 + index * 2] = low;
    ram[TABLE / 8 + index * 2 + 1] = high;
}

static void remapping_changed(void *opaque, uint32_t first, uint32_t count)
{
    (void)first;
    (void)count;
    vmm_ioapic_update(opaque);
}

static int setup_unit(void **state)
{
    struct viommu_memory_range range = {.size = sizeof(ram), .host = ram};
    struct viommu_vtd_options options;
    struct vmm *vm;

    setup(state);
    vm = *state;
    memset(ram, 0, sizeof(ram));
    viommu_vtd_options_init(&options);
    assert_int_equal(viommu_memory_create(&vm->memory, NULL), 0);
    assert_int_equal(viommu_memory_add(vm->memory, &range, NULL), 0);
    options.memory = vm->memory;
    assert_int_equal(viommu_vtd_options_parse(&options, "intremap=on", NULL), 0);
    assert_int_equal(viommu_vtd_create(&vm->units[0].viommu, &options, NULL), 0);
    vm->units[0].all = true;
    vm->unit_count = 1;
    viommu_interrupt_set_listener(vm->units[0].viommu, remapping_changed, vm);
    viommu_mmio_write(vm->units[0].viommu, 0xb8, 8, TABLE | 7);
    viommu_mmio_write(vm->units[0].viommu, 0x18, 4, 1u << 24);
    viommu_mmio_write(vm->units[0].viommu, 0x18, 4, 1u << 25);
    return 0;
}

static int teardown_unit(void **state)
{
    struct vmm *vm = *state;

    viommu_destroy(vm->units[0].viommu);
    viommu_memory_destroy(vm->memory);
    return teardown(state);
}

/* As an IEC invalidation does: the guest sets its table anew. */
static void invalidate(struct vmm *vm)
{
    viommu_mmio_write(vm->units[0].viommu, 0x18, 4, 1u << 25 | 1u << 24);
}

static void an_edge_is_remapped(void **state)
{
    struct vmm *vm = *state;

    remap(5, PRESENT | 0x55 << 16 | UINT64_C(0x300) << 32, VERIFIED | VMM_IOAPIC_REQUESTER_ID);
    set_entry(vm, 4, remappable(5) | 0x04);
    vmm_irq_set_level(vm, 4, true);
    assert_int_equal(sent.count, 1);
    assert_int_equal(sent.address, 0xfee03000);
    assert_int_equal(sent.data, 0x4055);
    /* Of another source, or in compatibility format, it is refused. */
    vmm_irq_set_level(vm, 4, false);
    remap(5, PRESENT | 0x55 << 16, VERIFIED | (VMM_IOAPIC_REQUESTER_ID + 1));
    vmm_irq_set_level(vm, 4, true);
    set_entry(vm, 3, 0x0300000000000000ull | 0x31);
    vmm_irq_set_level(vm, 3, true);
    assert_int_equal(sent.count, 1);
}

/* Linux: the entry here is by level, the one that remaps it is not; the EOI register ends it. */
static void a_level_becomes_an_edge(void **state)
{
    struct vmm *vm = *state;

    remap(9, PRESENT | 0x66 << 16, 0);
    set_entry(vm, 16, remappable(9) | LEVEL | 16);
    vmm_irq_set_level(vm, 16, true);
    assert_int_equal(sent.data, 0x4066);
    assert_int_equal(get(vm, 0x10 + 2 * 16) & IRR, IRR);
    vmm_bus_write(&vm->mmio, VMM_IOAPIC_BASE + 0x40, 4, 0x66);
    assert_int_equal(sent.count, 1);
    vmm_bus_write(&vm->mmio, VMM_IOAPIC_BASE + 0x40, 4, 16);
    assert_int_equal(sent.count, 2);
    vmm_irq_set_level(vm, 16, false);
    vmm_bus_write(&vm->mmio, VMM_IOAPIC_BASE + 0x40, 4, 16);
    assert_int_equal(get(vm, 0x10 + 2 * 16) & IRR, 0);
}

/* The local APIC ends what it got: the remapped vector. */
static void a_level_is_ended_by_its_remapped_vector(void **state)
{
    struct vmm *vm = *state;

    remap(9, PRESENT | BY_LEVEL | 0x66 << 16, 0);
    set_entry(vm, 16, remappable(9) | LEVEL | 0x44);
    vmm_irq_set_level(vm, 16, true);
    assert_int_equal(sent.data, 0xc066);
    vmm_ioapic_eoi(vm->ioapic, 0x67);
    assert_int_equal(sent.count, 1);
    vmm_ioapic_eoi(vm->ioapic, 0x66);
    assert_int_equal(sent.count, 2);
    vmm_irq_set_level(vm, 16, false);
    vmm_ioapic_eoi(vm->ioapic, 0x66);
    assert_int_equal(sent.count, 2);
    assert_int_equal(get(vm, 0x10 + 2 * 16) & IRR, 0);
}

static void a_refused_level_comes_when_it_may(void **state)
{
    struct vmm *vm = *state;

    set_entry(vm, 16, remappable(9) | LEVEL | 16);
    vmm_irq_set_level(vm, 16, true);
    assert_int_equal(sent.count, 0);
    assert_int_equal(get(vm, 0x10 + 2 * 16) & IRR, 0);
    remap(9, PRESENT | 0x66 << 16, 0);
    assert_int_equal(sent.count, 0);
    invalidate(vm);
    assert_int_equal(sent.count, 1);
    invalidate(vm);
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
        cmocka_unit_test_setup_teardown(an_edge_is_remapped, setup_unit, teardown_unit),
        cmocka_unit_test_setup_teardown(a_level_becomes_an_edge, setup_unit, teardown_unit),
        cmocka_unit_test_setup_teardown(a_level_is_ended_by_its_remapped_vector, setup_unit,
                                        teardown_unit),
        cmocka_unit_test_setup_teardown(a_refused_level_comes_when_it_may, setup_unit,
                                        teardown_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
