/* SPDX-License-Identifier: MIT */
#include "vfio-rig.h"
#include "hosts.h"
#include "irq.h"
#include "pci_host.h"
#include "routes.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <viommu/assign.h>

#include <cmocka.h>

/* ---- KVM, as far as the linker lets us stand in for it */

struct fake_kvm kvm;

int __wrap_vmm_kvm_map(struct vmm *vm, uint64_t address, void *host, uint64_t size);
void __wrap_vmm_kvm_unmap(struct vmm *vm, int slot);
bool __wrap_vmm_routes_commit(struct vmm *vm);
void __wrap_vmm_routes_set(struct vmm *vm, int gsi, uint64_t address, uint32_t data);
bool __wrap_vmm_irq_lookup(const struct viommu_pci_device *from, uint64_t *address, uint32_t *data);
int __wrap_vmm_host_group_descriptor(struct vmm *vm, uint32_t group, struct viommu_error *err);

int __wrap_vmm_kvm_map(struct vmm *vm, uint64_t address, void *host, uint64_t size)
{
    (void)vm;
    assert_non_null(host);
    assert_int_equal((address | size) % 4096, 0);
    if (!kvm.lowest || address < kvm.lowest)
        kvm.lowest = address;
    kvm.slots++;
    return (int)kvm.slots;
}

void __wrap_vmm_kvm_unmap(struct vmm *vm, int slot)
{
    (void)vm;
    if (slot >= 0)
        kvm.slots--;
}

bool __wrap_vmm_routes_commit(struct vmm *vm)
{
    (void)vm;
    kvm.routes++;
    return !kvm.refuses_routes;
}

void __wrap_vmm_routes_set(struct vmm *vm, int gsi, uint64_t address, uint32_t data)
{
    (void)vm;
    assert_true(gsi >= (int)VMM_GSI_COUNT);
    kvm.address = address;
    kvm.data = data;
}

bool __wrap_vmm_irq_lookup(const struct viommu_pci_device *from, uint64_t *address, uint32_t *data)
{
    (void)from, (void)address, (void)data;
    return !kvm.not_steady;
}

int __wrap_vmm_host_group_descriptor(struct vmm *vm, uint32_t group, struct viommu_error *err)
{
    (void)vm, (void)err;
    return group < 32 && fake.bus.our_groups & 1u << group ? FAKE_GROUP + (int)group : -ENOENT;
}

/* ---- The device in a machine */

struct vmm_vfio *vfio;
const char *host_device;
bool hide_rom;
void (*after_attaching)(struct machine *machine);
void (*before_registering)(struct machine *machine);

static int attach(struct machine *machine, struct viommu_error *error)
{
    if (!host_device)
        return 0;
    return viommu_assign_attach(machine->vm.assign, vfio->fn.viommu, host_device, &vfio->attachment,
                                error);
}

int vfio_rig_try_device(struct machine *machine, struct viommu_error *error)
{
    return vfio_rig_try_device_in(machine, SLOT, error);
}

int vfio_rig_try_device_in(struct machine *machine, unsigned int slot, struct viommu_error *error)
{
    static const struct vmm_pci_identity identity = {.name = "vfio test"};
    char address[16];
    int ret;

    vfio = calloc(1, sizeof(*vfio));
    assert_non_null(vfio);
    strcpy(vfio->name, identity.name);
    vfio->kernel = &fake_kernel;
    vfio->rom.hidden = hide_rom;
    ret = vmm_pci_function_init(&vfio->fn, &machine->vm, (int)slot << 3, &identity, &vmm_vfio_ops,
                                error);
    assert_int_equal(ret, 0);
    assert_int_equal(attach(machine, error), 0);
    snprintf(address, sizeof(address), "01:%02x.0", slot - SLOT);
    vmm_vfio_locate(vfio, address, slot);
    if (after_attaching)
        after_attaching(machine);
    ret = vmm_vfio_open(vfio, FAKE_FD, error);
    if (!ret && before_registering)
        before_registering(machine);
    if (!ret)
        ret = vmm_pci_register(&vfio->fn, error);
    if (!ret) {
        vmm_vfio_messages_changed(&vfio->fn, 0, 0);
        vmm_vfio_bus_master(&vfio->fn, true);
        return 0;
    }
    vmm_vfio_close(vfio);
    vmm_pci_function_fini(&vfio->fn);
    free(vfio);
    return ret;
}

struct machine *vfio_rig_bare_machine(void)
{
    struct machine *machine = machine_create(NULL, NULL);

    memset(&kvm, 0, sizeof(kvm));
    assert_int_equal(vmm_routes_create(&machine->vm, NULL), 0);
    return machine;
}

void vfio_rig_bare_machine_destroy(struct machine *machine)
{
    vmm_pci_host_destroy(&machine->vm);
    vmm_routes_destroy(&machine->vm);
    machine_destroy(machine);
    assert_int_equal(kvm.slots, 0);
    assert_int_equal(fake.mapped, 0);
    assert_int_equal(fake.irqfds, 0);
    assert_int_equal(fake.open, 0);
}

int vfio_rig_setup(void **state)
{
    struct machine *machine = vfio_rig_bare_machine();
    struct viommu_error error;

    fake_vfio_reset();
    if (vfio_rig_try_device(machine, &error))
        fail_msg("%s", error.message);
    *state = machine;
    return 0;
}

int vfio_rig_teardown(void **state)
{
    vfio_rig_bare_machine_destroy(*state);
    return 0;
}

uint32_t vfio_rig_config(struct machine *machine, unsigned int offset, unsigned int size)
{
    return machine_config_read(machine, SLOT, offset, size);
}

void vfio_rig_set_config(struct machine *machine, unsigned int offset, unsigned int size,
                         uint32_t value)
{
    machine_config_write(machine, SLOT, offset, size, value);
}

uint64_t vfio_rig_bar0(struct machine *machine)
{
    return (uint64_t)vfio_rig_config(machine, 0x14, 4) << 32 |
           (vfio_rig_config(machine, 0x10, 4) & ~0xfu);
}

void vfio_rig_wait_for_message(struct machine *machine, uint8_t vector, unsigned int count)
{
    for (int i = 0; i < 5000 && machine_messages(machine, vector) < count; i++)
        usleep(1000);
    assert_int_equal(machine_messages(machine, vector), count);
}

void vfio_rig_wait_for_line(struct machine *machine, bool level)
{
    for (int i = 0; i < 5000 && machine_line(machine, SLOT) != level; i++)
        usleep(1000);
    assert_int_equal(machine_line(machine, SLOT), level);
}

void vfio_rig_set_vector(struct machine *machine, unsigned int vector, uint8_t number, bool masked)
{
    uint64_t entry = vfio_rig_bar0(machine) + FAKE_TABLE + 16 * vector;

    machine_write(machine, entry, 4, 0xfee00000);
    machine_write(machine, entry + 4, 4, 0);
    machine_write(machine, entry + 8, 4, number);
    machine_write(machine, entry + 12, 4, masked);
}

void vfio_rig_enable_msix(struct machine *machine)
{
    vfio_rig_set_config(machine, FAKE_MSIX + 2, 2, 0x8000);
}
