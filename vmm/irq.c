/* SPDX-License-Identifier: MIT */
#include "irq.h"
#include "vmm.h"
#include <sys/ioctl.h>

#define INTERRUPT_RANGE_SIZE 0x100000u

void vmm_irq_msi(struct vmm *vm, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = {
        .address_lo = (uint32_t)address,
        .address_hi = (uint32_t)(address >> 32),
        .data = data,
    };

    if (msi.address_lo - VMM_LAPIC_BASE >= INTERRUPT_RANGE_SIZE)
        return;
    /* A message to no APIC is dropped, as the hardware does; KVM reports it as an error or 0. */
    ioctl(vm->vm_fd, KVM_SIGNAL_MSI, &msi);
}
