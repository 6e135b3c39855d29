/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine as KVM sees it: its file descriptors, RAM and vCPUs.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include "vmm.h"

/* Open /dev/kvm and make a VM with local APICs in the kernel and RAM as the options say. */
int vmm_kvm_create(struct vmm *vm, struct viommu_error *err);
void vmm_kvm_destroy(struct vmm *vm);

/*
 * A new VM with the same RAM, contents and all: as after a reset there is nothing left of what KVM
 * kept for processors, local APICs and interrupt routes. The vCPUs were destroyed; make them again.
 */
int vmm_kvm_renew(struct vmm *vm, struct viommu_error *err);

/*
 * Let the guest reach `size` bytes at `host`, memory of this process, at guest address `address`:
 * all multiples of 4096. Returns the slot, or -1: accesses exit as before. Undone by
 * vmm_kvm_unmap(), for which -1 is nothing to do. Any thread; KVM uses the memory no more when that
 * returns.
 */
int vmm_kvm_map(struct vmm *vm, uint64_t address, void *host, uint64_t size);
void vmm_kvm_unmap(struct vmm *vm, int slot);

/* Make the vCPUs, all in their reset state; the first one is the boot processor. */
int vmm_vcpus_create(struct vmm *vm, struct viommu_error *err);

/* vm->stop is set: make every thread leave KVM_RUN and look at it, and wait for their ends. */
void vmm_vcpus_join(struct vmm *vm);

/* Join and release the vCPUs. */
void vmm_vcpus_destroy(struct vmm *vm);

int vmm_vcpus_start(struct vmm *vm, struct viommu_error *err);

/* What the boot processor has in its registers when a loaded kernel is entered. */
struct vmm_boot_state {
    uint32_t entry;
    uint32_t eax;
    uint32_t ebx;
    uint32_t esi;
};

/*
 * Put the boot processor into 32-bit protected mode, flat segments, no paging, interrupts off:
 * what the Linux 32-bit boot protocol, PVH and multiboot all ask for.
 */
int vmm_vcpu_set_boot_state(struct vmm *vm, const struct vmm_boot_state *boot,
                            struct viommu_error *err);

/* vm->physical_bits, of what KVM supports; KVM is open. */
int vmm_cpuid_find_physical_bits(struct vmm *vm, struct viommu_error *err);

/* KVM runs in a processor that QEMU emulates (TCG), and whose faults are to be stepped around. */
bool vmm_host_is_tcg(void);

/* Give the vCPU its CPUID leaves. */
int vmm_cpuid_set(struct vmm_vcpu *vcpu, struct viommu_error *err);

#endif
