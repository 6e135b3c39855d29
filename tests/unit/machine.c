/* SPDX-License-Identifier: MIT */
#include "machine.h"
#include "irq.h"
#include "library.h"
#include "loop.h"
#include "pci_host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static struct machine *machine_of(struct vmm *vm)
{
    return (struct machine *)((char *)vm - offsetof(struct machine, vm));
}

/* The linker takes these two for the machine's own: they stand for IOAPIC and local APICs. */
void __wrap_vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data);
void __wrap_vmm_irq_set_level(struct vmm *vm, unsigned int gsi, bool level);

void __wrap_vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data)
{
    struct machine *machine = machine_of(vm);

    if ((address & ~0xfffffull) != VMM_LAPIC_BASE)
        return;
    pthread_mutex_lock(&machine->lock);
    machine->messages[data & 0xff]++;
    pthread_mutex_unlock(&machine->lock);
}

void __wrap_vmm_irq_set_level(struct vmm *vm, unsigned int gsi, bool level)
{
    struct machine *machine = machine_of(vm);

    if (gsi < VMM_GSI_PCI_FIRST || gsi >= VMM_GSI_PCI_FIRST + MACHINE_LINES)
        return;
    pthread_mutex_lock(&machine->lock);
    machine->lines[gsi - VMM_GSI_PCI_FIRST] = level;
    pthread_mutex_unlock(&machine->lock);
}

struct machine *machine_create(const char *viommu, const char *host)
{
    return machine_create_units(&viommu, viommu != NULL, host);
}

struct machine *machine_create_units(const char *const *viommus, size_t count, const char *host)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    struct viommu_error error;

    assert_non_null(machine);
    pthread_mutex_init(&machine->lock, NULL);
    machine->options.viommus = viommus;
    machine->options.viommu_count = count;
    machine->options.host = host;
    machine->options.append = "";
    machine->options.memory = MACHINE_RAM;
    machine->vm.options = &machine->options;
    machine->vm.vm_fd = -1;
    machine->vm.x2apic = true;
    machine->vm.physical_bits = 40;
    machine->vm.ram.size = MACHINE_RAM;
    machine->vm.ram.low_size = MACHINE_RAM;
    machine->vm.ram.host =
        mmap(NULL, MACHINE_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(machine->vm.ram.host, MAP_FAILED);
    assert_int_equal(vmm_bus_init(&machine->vm.pio), 0);
    assert_int_equal(vmm_bus_init(&machine->vm.mmio), 0);
    if (vmm_loop_create(&machine->vm.loop, &error) || vmm_loop_start(machine->vm.loop, &error) ||
        vmm_library_create(&machine->vm, &error) || vmm_pci_host_create(&machine->vm, &error))
        fail_msg("%s", error.message);
    machine->options.viommus = NULL; /* the caller's */
    machine->options.viommu_count = 0;
    return machine;
}

void machine_destroy(struct machine *machine)
{
    vmm_loop_stop(machine->vm.loop);
    vmm_pci_host_destroy(&machine->vm);
    vmm_library_destroy(&machine->vm);
    vmm_loop_destroy(machine->vm.loop);
    vmm_bus_fini(&machine->vm.mmio);
    vmm_bus_fini(&machine->vm.pio);
    munmap(machine->vm.ram.host, MACHINE_RAM);
    pthread_mutex_destroy(&machine->lock);
    free(machine);
}

static uint64_t config_address(unsigned int slot, unsigned int offset)
{
    return VMM_ECAM_BASE + (slot << 15) + offset;
}

uint32_t machine_config_read(struct machine *machine, unsigned int slot, unsigned int offset,
                             unsigned int size)
{
    return (uint32_t)machine_read(machine, config_address(slot, offset), size);
}

void machine_config_write(struct machine *machine, unsigned int slot, unsigned int offset,
                          unsigned int size, uint32_t value)
{
    machine_write(machine, config_address(slot, offset), size, value);
}

unsigned int machine_capability(struct machine *machine, unsigned int slot, uint8_t id,
                                unsigned int previous)
{
    unsigned int link = previous ? previous + 1 : 0x34;
    unsigned int offset;

    for (unsigned int i = 0; i < 64; i++) {
        offset = machine_config_read(machine, slot, link, 1);
        if (!offset || machine_config_read(machine, slot, offset, 1) == id)
            return offset;
        link = offset + 1;
    }
    return 0;
}

uint64_t machine_read(struct machine *machine, uint64_t address, unsigned int size)
{
    return vmm_bus_read(&machine->vm.mmio, address, size);
}

void machine_write(struct machine *machine, uint64_t address, unsigned int size, uint64_t value)
{
    vmm_bus_write(&machine->vm.mmio, address, size, value);
}

void *machine_ram(struct machine *machine, uint64_t address)
{
    return machine->vm.ram.host + address;
}

unsigned int machine_messages(struct machine *machine, uint8_t vector)
{
    unsigned int count;

    pthread_mutex_lock(&machine->lock);
    count = machine->messages[vector];
    pthread_mutex_unlock(&machine->lock);
    return count;
}

bool machine_line(struct machine *machine, unsigned int slot)
{
    bool level;

    pthread_mutex_lock(&machine->lock);
    level = machine->lines[slot % MACHINE_LINES];
    pthread_mutex_unlock(&machine->lock);
    return level;
}
