/* SPDX-License-Identifier: MIT */
#include "kvm.h"
#include "boot.h"
#include "kvm_vfio.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KVM_DEVICE "/dev/kvm"

/* Three pages that Intel hosts need for real mode, in the gap below 4 GiB (KVM API, 4.36). */
#define KVM_TSS_ADDRESS 0xfffbd000ul

/* Of <linux/kvm.h> and <asm/kvm.h> of Linux 6.12. */
#define CAP_DISABLE_QUIRKS2 213
#define QUIRK_SLOT_ZAP_ALL  (1u << 7)

/* Memory slots of KVM: the parts of RAM, the ROM, and what BARs show directly. */
enum {
    SLOT_LOW_RAM,
    SLOT_HIGH_RAM,
    SLOT_ROM,
    FIRST_DIRECT_SLOT
};

static const struct {
    int capability;
    const char *name;
} needed_capabilities[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

static int kvm_open(struct vmm *vm, struct viommu_error *err)
{
    size_t i;
    int version;

    vm->kvm_fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
    if (vm->kvm_fd < 0)
        return vmm_fail(err, errno,
                        "cannot open " KVM_DEVICE ": %s; this needs a machine with hardware "
                        "virtualization, its kvm module loaded, and permission to use it",
                        strerror(errno));
    version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return vmm_fail(err, ENODEV,
                        KVM_DEVICE " does not speak KVM API version %d (it answers %d)",
                        KVM_API_VERSION, version);
    for (i = 0; i < sizeof(needed_capabilities) / sizeof(needed_capabilities[0]); i++) {
        if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, needed_capabilities[i].capability) <= 0)
            return vmm_fail(err, ENOTSUP, KVM_DEVICE " lacks %s, which this VMM needs",
                            needed_capabilities[i].name);
    }
    return 0;
}

/* APIC IDs of 32 bits, and 255 is one of them where the guest's APICs are in x2APIC mode. */
static bool kvm_enable_x2apic(const struct vmm *vm)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X2APIC_API,
        .args = {KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK},
    };

    return ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) == 0;
}

/*
 * When a slot goes, KVM drops the second-stage tables of all. In QEMU's emulated SVM (seen in 7.2
 * and 10.0) an exception whose delivery meets a missing one counts as a second exception when it is
 * delivered again, and three of them end the guest. Linux 6.12 and later can drop those of the
 * slot.
 */
static void kvm_keep_tables(const struct vmm *vm)
{
    struct kvm_enable_cap cap = {
        .cap = CAP_DISABLE_QUIRKS2,
        .args = {QUIRK_SLOT_ZAP_ALL},
    };
    int quirks = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, CAP_DISABLE_QUIRKS2);

    if (vmm_host_is_tcg() && quirks > 0 && ((unsigned int)quirks & QUIRK_SLOT_ZAP_ALL))
        ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap);
}

static int kvm_create_vm(struct vmm *vm, struct viommu_error *err)
{
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};

    do
        vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
    while (vm->vm_fd < 0 && errno == EINTR);
    if (vm->vm_fd < 0)
        return vmm_fail(err, errno, KVM_DEVICE " cannot create a virtual machine: %s",
                        strerror(errno));
    if (ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_ADDRESS) < 0 && errno != ENOTTY)
        return vmm_fail(err, errno, "KVM_SET_TSS_ADDR failed: %s", strerror(errno));
    if (ioctl(vm->vm_fd, KVM_ENABLE_CAP, &split) < 0)
        return vmm_fail(err, errno, "KVM cannot keep the local APICs in the kernel alone: %s",
                        strerror(errno));
    vm->x2apic = kvm_enable_x2apic(vm);
    kvm_keep_tables(vm);
    return 0;
}

static int set_region(const struct vmm *vm, uint32_t slot, uint64_t address, void *host,
                      uint64_t size)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = address,
        .memory_size = size,
        .userspace_addr = (uintptr_t)host,
    };

    return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static int kvm_set_slot(struct vmm *vm, uint32_t slot, uint64_t address, uint64_t offset,
                        uint64_t size, struct viommu_error *err)
{
    if (size && set_region(vm, slot, address, vm->ram.host + offset, size) < 0)
        return vmm_fail(err, errno, "KVM refuses %llu MiB of RAM at 0x%llx: %s",
                        (unsigned long long)(size >> 20), (unsigned long long)address,
                        strerror(errno));
    return 0;
}

static int kvm_set_slots(struct vmm *vm, struct viommu_error *err)
{
    const struct vmm_ram *ram = &vm->ram;
    int ret = kvm_set_slot(vm, SLOT_LOW_RAM, 0, 0, ram->low_size, err);

    if (!ret)
        ret = kvm_set_slot(vm, SLOT_HIGH_RAM, VMM_HIGH_RAM_BASE, ram->low_size,
                           ram->size - ram->low_size, err);
    /* The boot processor begins there after INIT. */
    if (!ret)
        ret = kvm_set_slot(vm, SLOT_ROM, VMM_HIGH_RAM_BASE - VMM_ROM_SIZE, VMM_ROM_BASE,
                           VMM_ROM_SIZE, err);
    return ret;
}

int vmm_kvm_map(struct vmm *vm, uint64_t address, void *host, uint64_t size)
{
    uint64_t used = atomic_load(&vm->slots);
    uint64_t bit;
    int slot;

    do {
        if (used == UINT64_MAX)
            return -1;
        bit = ~used & (used + 1);
    } while (!atomic_compare_exchange_weak(&vm->slots, &used, used | bit));
    slot = __builtin_ctzll(bit);
    if (!set_region(vm, FIRST_DIRECT_SLOT + (uint32_t)slot, address, host, size))
        return slot;
    atomic_fetch_and(&vm->slots, ~bit);
    return -1;
}

void vmm_kvm_unmap(struct vmm *vm, int slot)
{
    if (slot < 0)
        return;
    set_region(vm, FIRST_DIRECT_SLOT + (uint32_t)slot, 0, NULL, 0);
    atomic_fetch_and(&vm->slots, ~(UINT64_C(1) << slot));
}

/* RAM that devices of the host map is a file, so that it can be mapped for them as one. */
static void *map_ram(struct vmm *vm)
{
    struct vmm_ram *ram = &vm->ram;
    uint64_t size = vm->options->memory;

    if (vm->options->host && !strncmp(vm->options->host, "iommufd", strlen("iommufd")))
        ram->file = memfd_create("guest RAM", MFD_CLOEXEC);
    if (ram->file > 0 && ftruncate(ram->file, (off_t)size)) {
        close(ram->file);
        ram->file = 0;
    }
    if (ram->file > 0)
        return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->file, 0);
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                0);
}

static int kvm_create_ram(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_ram *ram = &vm->ram;
    void *host = map_ram(vm);

    if (host == MAP_FAILED)
        return vmm_fail(err, errno, "cannot reserve %llu MiB for the guest's RAM: %s",
                        (unsigned long long)(vm->options->memory >> 20), strerror(errno));
    ram->host = host;
    ram->size = vm->options->memory;
    ram->low_size = ram->size < VMM_LOW_RAM_END ? ram->size : VMM_LOW_RAM_END;
    return kvm_set_slots(vm, err);
}

int vmm_kvm_create(struct vmm *vm, struct viommu_error *err)
{
    int ret;

    ret = kvm_open(vm, err);
    if (!ret)
        ret = vmm_cpuid_find_physical_bits(vm, err);
    if (!ret)
        ret = kvm_create_vm(vm, err);
    if (!ret)
        ret = kvm_create_ram(vm, err);
    return ret;
}

int vmm_kvm_renew(struct vmm *vm, struct viommu_error *err)
{
    int ret;

    vmm_kvm_vfio_leave(vm);
    close(vm->vm_fd);
    ret = kvm_create_vm(vm, err);
    if (!ret)
        ret = kvm_set_slots(vm, err);
    if (!ret)
        vmm_kvm_vfio_join(vm);
    return ret;
}

void vmm_kvm_destroy(struct vmm *vm)
{
    if (vm->vm_fd >= 0)
        close(vm->vm_fd);
    if (vm->kvm_fd >= 0)
        close(vm->kvm_fd);
    if (vm->ram.host)
        munmap(vm->ram.host, vm->ram.size);
    if (vm->ram.file > 0)
        close(vm->ram.file);
    vm->ram.host = NULL;
    vm->ram.file = 0;
    vm->vm_fd = -1;
    vm->kvm_fd = -1;
}

void *vmm_ram_at(const struct vmm *vm, uint64_t address, uint64_t length)
{
    const struct vmm_ram *ram = &vm->ram;
    uint64_t high_size = ram->size - ram->low_size;

    if (address < ram->low_size && length <= ram->low_size - address)
        return ram->host + address;
    if (address < VMM_HIGH_RAM_BASE)
        return NULL;
    address -= VMM_HIGH_RAM_BASE;
    if (address < high_size && length <= high_size - address)
        return ram->host + ram->low_size + address;
    return NULL;
}
