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

#define CPUID_ENTRIES 256u /* KVM offers fewer, and we add three */

#define LEAF_TOPOLOGY    0xbu
#define LEAF_TOPOLOGY_V2 0x1fu
#define LEAF_SIZES       0x80000008u

#define PHYSICAL_BITS_AT_LEAST 36u /* of each processor with 64 bits */
#define PHYSICAL_BITS_AT_MOST  52u

#define LEAF1_ECX_X2APIC       (1u << 21)
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_NEED_XSAVE   (7u << 26 | 1u << 29 | 1u << 12) /* XSAVE, AVX, F16C, FMA */
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT          (1u << 28)

struct cpuid_context {
    const struct vmm_vcpu *vcpu;
    unsigned int cpus;
    unsigned int id_bits; /* of the APIC ID, that number the cores */
    bool tsc_deadline;
    bool tcg; /* KVM itself runs in QEMU's emulated processor */
};

/*
 * In QEMU 7.2's emulated processor a nested guest's deadline timer stalls now and then, and its
 * use of XSAVE ends it; the APIC's own timer and FXSAVE work.
 */
static void leaf_1(struct kvm_cpuid_entry2 *entry, const struct cpuid_context *context)
{
    entry->ebx = (entry->ebx & 0xffff) | context->cpus << 16 | context->vcpu->index << 24;
    entry->ecx |= LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC; /* KVM has it on every host */
    entry->ecx &= ~LEAF1_ECX_TSC_DEADLINE;
    if (context->tsc_deadline && !context->tcg)
        entry->ecx |= LEAF1_ECX_TSC_DEADLINE;
    if (context->tcg)
        entry->ecx &= ~LEAF1_ECX_NEED_XSAVE;
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
    {LEAF_SIZES, leaf_amd_sizes},
    {0x8000001e, leaf_amd_topology},
};

bool vmm_host_is_tcg(void)
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

static bool is_topology(uint32_t function)
{
    return function == LEAF_TOPOLOGY || function == LEAF_TOPOLOGY_V2;
}

/* KVM leaves the subleaves of the extended topology to us: threads, cores, and the end. */
static void cpuid_replace_topology(struct kvm_cpuid2 *cpuid, const struct cpuid_context *context)
{
    const struct {
        uint32_t shift, count, type;
    } levels[] = {{0, 1, 1}, {context->id_bits, context->cpus, 2}, {0, 0, 0}};
    struct kvm_cpuid_entry2 *entries = cpuid->entries;
    uint32_t kept = 0;
    uint32_t i;

    for (i = 0; i < cpuid->nent; i++) {
        if (!is_topology(entries[i].function))
            entries[kept++] = entries[i];
    }
    for (i = 0; i < 3; i++)
        entries[kept++] = (struct kvm_cpuid_entry2){
            .function = LEAF_TOPOLOGY,
            .index = i,
            .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            .eax = levels[i].shift,
            .ebx = levels[i].count,
            .ecx = levels[i].type << 8 | i,
            .edx = context->vcpu->index,
        };
    cpuid->nent = kept;
}

/* Room for what we add is left. NULL: see `err`. */
static struct kvm_cpuid2 *cpuid_supported(const struct vmm *vm, struct viommu_error *err)
{
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));

    if (!cpuid) {
        vmm_fail(err, ENOMEM, "out of memory for the CPUID table");
        return NULL;
    }
    cpuid->nent = CPUID_ENTRIES - 3;
    if (!ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid))
        return cpuid;
    vmm_fail(err, errno, "KVM_GET_SUPPORTED_CPUID failed: %s", strerror(errno));
    free(cpuid);
    return NULL;
}

/* KVM tells a width of guest-physical addresses where it reaches less than the processor. */
int vmm_cpuid_find_physical_bits(struct vmm *vm, struct viommu_error *err)
{
    struct kvm_cpuid2 *cpuid = cpuid_supported(vm, err);
    unsigned int width, guest_width;

    if (!cpuid)
        return -EINVAL;
    vm->physical_bits = PHYSICAL_BITS_AT_LEAST;
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function != LEAF_SIZES)
            continue;
        width = cpuid->entries[i].eax & 0xff;
        guest_width = cpuid->entries[i].eax >> 16 & 0xff;
        if (guest_width && guest_width < width)
            width = guest_width;
        if (width > PHYSICAL_BITS_AT_LEAST)
            vm->physical_bits = width < PHYSICAL_BITS_AT_MOST ? width : PHYSICAL_BITS_AT_MOST;
    }
    free(cpuid);
    return 0;
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

    context.tcg = vmm_host_is_tcg();
    context.tsc_deadline = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    cpuid = cpuid_supported(vm, err);
    if (!cpuid)
        return -EINVAL;
    cpuid_adjust(cpuid, &context);
    cpuid_replace_topology(cpuid, &context);
    if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
        ret = vmm_fail(err, errno, "KVM_SET_CPUID2 failed for vCPU %u: %s", vcpu->index,
                       strerror(errno));
    free(cpuid);
    return ret;
}
