/* SPDX-License-Identifier: MIT */
/*
 * CPUID leaves: what KVM supports, with this vCPU's place in the topology (one socket, one
 * thread for each core) filled in. Sources: Intel SDM vol. 2A "CPUID"; AMD APM vol. 3, E.4.
 */
#include "kvm.h"
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define CPUID_ENTRIES 256u

#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT          (1u << 28)

struct cpuid_context {
    const struct vmm_vcpu *vcpu;
    unsigned int cpus;
    unsigned int id_bits; /* of the APIC ID, that number the cores */
    bool tsc_deadline;
};

static void leaf_1(struct kvm_cpuid_entry2 *entry, const struct cpuid_context *context)
{
    entry->ebx = (entry->ebx & 0xffff) | context->cpus << 16 | context->vcpu->index << 24;
    entry->ecx |= LEAF1_ECX_HYPERVISOR;
    entry->ecx &= ~LEAF1_ECX_TSC_DEADLINE;
    if (context->tsc_deadline)
        entry->ecx |= LEAF1_ECX_TSC_DEADLINE;
    entry->edx &= ~LEAF1_EDX_HTT;
    if (context->cpus > 1)
        entry->edx |= LEAF1_EDX_HTT;
}

/* Deterministic cache parameters: no cache is shared between cores; maximum core IDs. */
static void leaf_4(struct kvm_cpuid_entry2 *entry, const struct cpuid_context *context)
{
    if (entry->eax & 0x1f)
        entry->eax = (entry->eax & 0x3fff) | ((1u << context->id_bits) - 1) << 26;
}

/* Extended topology: level 0 threads, level 1 cores. */
static void leaf_topology(struct kvm_cpuid_entry2 *entry, const struct cpuid_context *context)
{
    entry->eax = entry->index == 1 ? context->id_bits : 0;
    entry->ebx = entry->index == 0 ? 1 : entry->index == 1 ? context->cpus : 0;
    entry->ecx = entry->index < 2 ? entry->index | (entry->index + 1) << 8 : entry->index;
    entry->edx = context->vcpu->index;
}

static void leaf_amd_sizes(struct kvm_cpuid_entry2 *entry, const struct cpuid_context *context)
{
    entry->ecx = (entry->ecx & ~0xf0ffu) | (context->cpus - 1) | context->id_bits << 12;
}

static void leaf_amd_topology(struct kvm_cpuid_entry2 *entry, const struct cpuid_context *context)
{
    entry->eax = context->vcpu->index;
    entry->ebx = context->vcpu->index & 0xff;
    entry->ecx = 0;
}

static const struct {
    uint32_t function;
    void (*adjust)(struct kvm_cpuid_entry2 *entry, const struct cpuid_context *context);
} cpuid_leaves[] = {
    {0x1, leaf_1},
    {0x4, leaf_4},
    {0xb, leaf_topology},
    {0x1f, leaf_topology},
    {0x80000008, leaf_amd_sizes},
    {0x8000001e, leaf_amd_topology},
};

/* Below QEMU's TCG the nested deadline timer stalls; the APIC's own timer does not. */
static bool host_is_tcg(void)
{
    uint32_t eax, ebx, ecx, edx;
    uint32_t signature[3];

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & LEAF1_ECX_HYPERVISOR))
        return false;
    __cpuid(0x40000000, eax, ebx, ecx, edx);
    signature[0] = ebx;
    signature[1] = ecx;
    signature[2] = edx;
    return !memcmp(signature, "TCGTCGTCGTCG", sizeof(signature));
}

static unsigned int bits_for(unsigned int count)
{
    unsigned int bits = 0;

    while ((1u << bits) < count)
        bits++;
    return bits;
}

static void cpuid_adjust(struct kvm_cpuid2 *cpuid, const struct cpuid_context *context)
{
    size_t i, leaf;

    for (i = 0; i < cpuid->nent; i++) {
        for (leaf = 0; leaf < sizeof(cpuid_leaves) / sizeof(cpuid_leaves[0]); leaf++) {
            if (cpuid->entries[i].function == cpuid_leaves[leaf].function)
                cpuid_leaves[leaf].adjust(&cpuid->entries[i], context);
        }
    }
}

int vmm_cpuid_set(struct vmm_vcpu *vcpu, struct viommu_error *err)
{
    struct vmm *vm = vcpu->vm;
    struct cpuid_context context = {
        .vcpu = vcpu,
        .cpus = vm->options->cpus,
        .id_bits = bits_for(vm->options->cpus),
    };
    struct kvm_cpuid2 *cpuid;
    int ret = 0;

    context.tsc_deadline =
        !host_is_tcg() && ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
    if (!cpuid)
        return vmm_fail(err, ENOMEM, "out of memory for the CPUID table");
    cpuid->nent = CPUID_ENTRIES;
    if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0) {
        ret = vmm_fail(err, errno, "KVM_GET_SUPPORTED_CPUID failed: %s", strerror(errno));
    } else {
        cpuid_adjust(cpuid, &context);
        if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
            ret = vmm_fail(err, errno, "KVM_SET_CPUID2 failed for vCPU %u: %s", vcpu->index,
                           strerror(errno));
    }
    free(cpuid);
    return ret;
}
