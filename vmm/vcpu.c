/* SPDX-License-Identifier: MIT */
#include "ioapic.h"
#include "kvm.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KICK_SIGNAL      SIGUSR1
#define KICK_INTERVAL_NS 20000000l
#define NS_PER_SECOND    1000000000l

#define MSR_MTRR_DEF_TYPE      0x2ffu
#define MTRR_ENABLE_WRITE_BACK ((1u << 11) | 6u)

static uint64_t load_le(const uint8_t *bytes, unsigned int size)
{
    uint64_t value = 0;

    memcpy(&value, bytes, size);
    return value;
}

static void handle_io(struct vmm_vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned int size = run->io.size;
    uint64_t value;
    uint32_t i;

    for (i = 0; i < run->io.count; i++, data += size) {
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            vmm_bus_write(&vcpu->vm->pio, run->io.port, size, load_le(data, size));
        } else {
            value = vmm_bus_read(&vcpu->vm->pio, run->io.port, size);
            memcpy(data, &value, size);
        }
    }
}

static void mmio_access(struct vmm_vcpu *vcpu, uint64_t address, uint8_t *data, unsigned int size)
{
    uint64_t value;

    if (vcpu->run->mmio.is_write) {
        vmm_bus_write(&vcpu->vm->mmio, address, size, load_le(data, size));
    } else {
        value = vmm_bus_read(&vcpu->vm->mmio, address, size);
        memcpy(data, &value, size);
    }
}

/* KVM may hand over any length up to 8, so odd ones are cut into powers of two. */
static void handle_mmio(struct vmm_vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    unsigned int done = 0;
    unsigned int size;

    while (done < run->mmio.len && done < sizeof(run->mmio.data)) {
        size = 8;
        while (size > run->mmio.len - done)
            size /= 2;
        mmio_access(vcpu, run->mmio.phys_addr + done, run->mmio.data + done, size);
        done += size;
    }
}

#define DELIVERY_ERRORS_MAX 1000u /* in a row at one instruction */

static void handle_eoi(struct vmm_vcpu *vcpu)
{
    vmm_ioapic_eoi(vcpu->vm->ioapic, vcpu->run->eoi.vector);
}

static unsigned long long vcpu_rip(struct vmm_vcpu *vcpu)
{
    struct kvm_regs regs;

    return ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ? 0 : regs.rip;
}

/* Said once: a guest may do it as often as it likes. */
static void reset_by_fault(struct vmm_vcpu *vcpu)
{
    if (!atomic_exchange(&vcpu->vm->reset_by_fault, true))
        fprintf(stderr,
                "viommu: note: the machine is reset by a triple fault of vCPU %u at rip 0x%llx\n",
                vcpu->index, vcpu_rip(vcpu));
    vmm_stop(vcpu->vm, VMM_STOP_RESET, 0);
}

static void handle_shutdown(struct vmm_vcpu *vcpu)
{
    if (vcpu->vm->options->no_reboot)
        vmm_stop_error(vcpu->vm, "the guest ended by a triple fault of vCPU %u at rip 0x%llx",
                       vcpu->index, vcpu_rip(vcpu));
    else
        reset_by_fault(vcpu);
}

static void handle_system_event(struct vmm_vcpu *vcpu)
{
    bool reset = vcpu->run->system_event.type == KVM_SYSTEM_EVENT_RESET;

    vmm_stop(vcpu->vm, reset ? VMM_STOP_RESET : VMM_STOP_POWER_OFF, 0);
}

static void handle_fail_entry(struct vmm_vcpu *vcpu)
{
    vmm_stop_error(vcpu->vm,
                   "the processor refused to enter vCPU %u at rip 0x%llx (hardware reason 0x%llx)",
                   vcpu->index, vcpu_rip(vcpu),
                   (unsigned long long)vcpu->run->fail_entry.hardware_entry_failure_reason);
}

/*
 * KVM (since Linux 6.14) takes a fault's type for an event whose delivery was cut short, even when
 * it is not marked valid; QEMU's SVM leaves one there after each fault that it delivers. There is
 * nothing to deliver then, and going on is right; where there is, it does not get further.
 */
static bool may_go_on(struct vmm_vcpu *vcpu)
{
    unsigned long long rip = vcpu_rip(vcpu);

    if (vcpu->run->internal.suberror != KVM_INTERNAL_ERROR_DELIVERY_EV)
        return false;
    vcpu->delivery_errors = rip == vcpu->delivery_rip ? vcpu->delivery_errors + 1 : 1;
    vcpu->delivery_rip = rip;
    return vcpu->delivery_errors < DELIVERY_ERRORS_MAX;
}

static void handle_internal_error(struct vmm_vcpu *vcpu)
{
    uint32_t suberror = vcpu->run->internal.suberror;

    if (may_go_on(vcpu))
        return;
    if (suberror == KVM_INTERNAL_ERROR_EMULATION)
        vmm_stop_error(vcpu->vm,
                       "this machine's KVM cannot emulate the instruction at rip 0x%llx of vCPU "
                       "%u; a KVM on real hardware (or nested in QEMU) is needed for this kernel",
                       vcpu_rip(vcpu), vcpu->index);
    else
        vmm_stop_error(vcpu->vm, "KVM reports internal error %u for vCPU %u at rip 0x%llx",
                       suberror, vcpu->index, vcpu_rip(vcpu));
}

static void (*const exit_handlers[])(struct vmm_vcpu *vcpu) = {
    [KVM_EXIT_IO] = handle_io,
    [KVM_EXIT_MMIO] = handle_mmio,
    [KVM_EXIT_IOAPIC_EOI] = handle_eoi,
    [KVM_EXIT_SHUTDOWN] = handle_shutdown,
    [KVM_EXIT_SYSTEM_EVENT] = handle_system_event,
    [KVM_EXIT_FAIL_ENTRY] = handle_fail_entry,
    [KVM_EXIT_INTERNAL_ERROR] = handle_internal_error,
};

static void handle_exit(struct vmm_vcpu *vcpu)
{
    uint32_t reason = vcpu->run->exit_reason;

    if (reason == KVM_EXIT_INTR)
        return;
    if (reason < sizeof(exit_handlers) / sizeof(exit_handlers[0]) && exit_handlers[reason])
        exit_handlers[reason](vcpu);
    else
        vmm_stop_error(vcpu->vm, "vCPU %u left KVM for a reason this VMM does not know (%u)",
                       vcpu->index, reason);
}

static void *vcpu_thread(void *opaque)
{
    struct vmm_vcpu *vcpu = opaque;
    struct vmm *vm = vcpu->vm;

    while (atomic_load(&vm->stop) == VMM_STOP_NONE) {
        if (!ioctl(vcpu->fd, KVM_RUN, 0)) {
            handle_exit(vcpu);
        } else if (errno != EINTR && errno != EAGAIN) {
            /* Some KVMs report an emulation failure by errno alone. */
            vmm_stop_error(vm, "KVM_RUN failed for vCPU %u at rip 0x%llx: %s", vcpu->index,
                           vcpu_rip(vcpu), strerror(errno));
        }
    }
    return NULL;
}

/* As firmware leaves it: memory without a range register of its own is write-back. */
static int vcpu_set_msrs(struct vmm_vcpu *vcpu, struct viommu_error *err)
{
    union {
        struct kvm_msrs list;
        uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
    } msrs = {.list = {.nmsrs = 1}};

    msrs.list.entries[0].index = MSR_MTRR_DEF_TYPE;
    msrs.list.entries[0].data = MTRR_ENABLE_WRITE_BACK;
    if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) < 0)
        return vmm_fail(err, errno, "KVM_SET_MSRS failed for vCPU %u: %s", vcpu->index,
                        strerror(errno));
    return 0;
}

static int vcpu_create(struct vmm *vm, struct vmm_vcpu *vcpu, struct viommu_error *err)
{
    int size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    void *run;
    int ret;

    vcpu->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, (unsigned long)vcpu->index);
    if (vcpu->fd < 0 || size < 0)
        return vmm_fail(err, errno, "KVM cannot create vCPU %u of %u: %s", vcpu->index,
                        vm->options->cpus, strerror(errno));
    run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED)
        return vmm_fail(err, errno, "cannot map the run page of vCPU %u: %s", vcpu->index,
                        strerror(errno));
    vcpu->run = run;
    vcpu->run_size = (size_t)size;
    ret = vmm_cpuid_set(vcpu, err);
    return ret ? ret : vcpu_set_msrs(vcpu, err);
}

int vmm_vcpus_create(struct vmm *vm, struct viommu_error *err)
{
    unsigned int i;
    int ret = 0;

    vm->vcpus = calloc(vm->options->cpus, sizeof(*vm->vcpus));
    if (!vm->vcpus)
        return vmm_fail(err, ENOMEM, "out of memory for %u vCPUs", vm->options->cpus);
    for (i = 0; i < vm->options->cpus; i++) {
        vm->vcpus[i].vm = vm;
        vm->vcpus[i].index = i;
        vm->vcpus[i].fd = -1;
    }
    for (i = 0; i < vm->options->cpus && !ret; i++)
        ret = vcpu_create(vm, &vm->vcpus[i], err);
    return ret;
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
    return (struct kvm_segment){
        .limit = 0xffffffff,
        .selector = selector,
        .type = type,
        .present = 1,
        .db = 1,
        .s = 1,
        .g = 1,
    };
}

int vmm_vcpu_set_boot_state(struct vmm *vm, const struct vmm_boot_state *boot,
                            struct viommu_error *err)
{
    struct kvm_regs regs = {
        .rip = boot->entry,
        .rax = boot->eax,
        .rbx = boot->ebx,
        .rsi = boot->esi,
        .rflags = 2,
    };
    struct kvm_sregs sregs;
    int fd = vm->vcpus[0].fd;

    if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
        return vmm_fail(err, errno, "KVM_GET_SREGS failed: %s", strerror(errno));
    sregs.cs = flat_segment(0x10, 0xb);
    sregs.ds = flat_segment(0x18, 0x3);
    sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
    sregs.tr = (struct kvm_segment){.limit = 0x67, .type = 0xb, .present = 1};
    sregs.gdt = (struct kvm_dtable){0};
    sregs.idt = (struct kvm_dtable){0};
    sregs.cr0 = 0x11; /* PE, ET */
    sregs.cr4 = 0;
    sregs.efer = 0;
    if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0)
        return vmm_fail(err, errno, "KVM refuses the boot processor's registers: %s",
                        strerror(errno));
    return 0;
}

static void ignore_kick(int signal_number)
{
    (void)signal_number;
}

int vmm_vcpus_start(struct vmm *vm, struct viommu_error *err)
{
    struct sigaction action = {.sa_handler = ignore_kick};
    unsigned int i;
    int ret;

    sigaction(KICK_SIGNAL, &action, NULL);
    for (i = 0; i < vm->options->cpus; i++) {
        ret = pthread_create(&vm->vcpus[i].thread, NULL, vcpu_thread, &vm->vcpus[i]);
        if (ret)
            return vmm_fail(err, ret, "cannot start a thread for vCPU %u: %s", i, strerror(ret));
        vm->vcpus[i].started = true;
    }
    return 0;
}

static void vcpu_kick(struct vmm_vcpu *vcpu)
{
    /* immediate_exit closes the gap between the check of vm->stop and KVM_RUN. */
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_kill(vcpu->thread, KICK_SIGNAL);
}

/* Kicks again and again: the thread may have been about to wait for something else than KVM. */
static void vcpu_join(struct vmm_vcpu *vcpu)
{
    struct timespec until;

    do {
        vcpu_kick(vcpu);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += KICK_INTERVAL_NS;
        if (until.tv_nsec >= NS_PER_SECOND) {
            until.tv_nsec -= NS_PER_SECOND;
            until.tv_sec++;
        }
    } while (pthread_timedjoin_np(vcpu->thread, NULL, &until));
    vcpu->started = false;
}

void vmm_vcpus_join(struct vmm *vm)
{
    unsigned int i;

    for (i = 0; i < vm->options->cpus; i++) {
        if (vm->vcpus[i].started)
            vcpu_join(&vm->vcpus[i]);
    }
}

void vmm_vcpus_destroy(struct vmm *vm)
{
    unsigned int i;

    if (!vm->vcpus)
        return;
    vmm_vcpus_join(vm);
    for (i = 0; i < vm->options->cpus; i++) {
        if (vm->vcpus[i].run)
            munmap(vm->vcpus[i].run, vm->vcpus[i].run_size);
        if (vm->vcpus[i].fd >= 0)
            close(vm->vcpus[i].fd);
    }
    free(vm->vcpus);
    vm->vcpus = NULL;
}
