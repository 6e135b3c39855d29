/* SPDX-License-Identifier: MIT */
#include "vmm.h"
#include "acpi/tables.h"
#include "boot.h"
#include "control.h"
#include "device.h"
#include "ioapic.h"
#include "kvm.h"
#include "library.h"
#include "loop.h"
#include "pci_host.h"
#include "platform.h"
#include "routes.h"
#include "serial.h"
#include "terminal.h"
#include "vfio.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* How long an unfinished line of output waits for its rest. */
#define OUTPUT_DELAY_MS 10

void vmm_wake(struct vmm *vm)
{
    uint64_t one = 1;

    /* It fails only when the counter is full, and then the main loop is awake anyway. */
    if (write(vm->wake_fd, &one, sizeof(one)) < 0)
        return;
}

static void stop_with(struct vmm *vm, enum vmm_stop why, int value, const char *message)
{
    pthread_mutex_lock(&vm->stop_lock);
    if (atomic_load(&vm->stop) == VMM_STOP_NONE) {
        vm->stop_value = value;
        if (message)
            vmm_fail(&vm->stop_error, EIO, "%s", message);
        atomic_store(&vm->stop, why);
    }
    pthread_mutex_unlock(&vm->stop_lock);
    vmm_wake(vm);
}

void vmm_stop(struct vmm *vm, enum vmm_stop why, int value)
{
    stop_with(vm, why, value, NULL);
}

void vmm_stop_error(struct vmm *vm, const char *format, ...)
{
    char message[VIOMMU_ERROR_MESSAGE_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    stop_with(vm, VMM_STOP_ERROR, 0, message);
}

static int create_events(struct vmm *vm, struct viommu_error *err)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    /* Blocked here and so in all threads that follow; the main loop reads them. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    vm->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    vm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (vm->signal_fd < 0 || vm->wake_fd < 0)
        return vmm_fail(err, errno, "cannot create event descriptors: %s", strerror(errno));
    return 0;
}

/* What is written wrong is told on a machine that lacks what the rest needs, too. */
static int check_devices(const struct vmm_options *options, struct viommu_error *err)
{
    int ret = 0;

    for (size_t i = 0; i < options->device_count && !ret; i++)
        ret = vmm_device_check(options->devices[i], err);
    return ret;
}

static int create_devices(struct vmm *vm, struct viommu_error *err)
{
    size_t i;
    int ret = 0;

    for (i = 0; i < vm->options->device_count && !ret; i++)
        ret = vmm_device_create(vm, vm->options->devices[i], err);
    if (!ret)
        ret = vmm_pci_host_check(vm, err);
    if (!ret)
        vmm_vfio_later_resets(vm);
    return ret ? ret : vmm_units_check(vm, err);
}

static int create_boards(struct vmm *vm, struct viommu_error *err)
{
    int ret;

    ret = vmm_loop_create(&vm->loop, err);
    if (!ret)
        ret = vmm_routes_create(vm, err);
    if (!ret)
        ret = vmm_ioapic_create(vm, err);
    if (!ret)
        ret = vmm_serial_create(vm, err);
    if (!ret)
        ret = vmm_platform_create(vm);
    if (!ret)
        ret = vmm_library_create(vm, err);
    if (!ret)
        ret = vmm_pci_host_create(vm, err);
    return ret ? ret : create_devices(vm, err);
}

static void vmm_init(struct vmm *vm, const struct vmm_options *options)
{
    *vm = (struct vmm){
        .options = options,
        .kvm_fd = -1,
        .vm_fd = -1,
        .wake_fd = -1,
        .signal_fd = -1,
    };
    pthread_mutex_init(&vm->stop_lock, NULL);
    pthread_mutex_init(&vm->irq_listeners_lock, NULL);
    pthread_mutex_init(&vm->plug_lock, NULL);
    pthread_mutex_init(&vm->bus_reset_lock, NULL);
    vmm_bus_init(&vm->pio);
    vmm_bus_init(&vm->mmio);
}

/* What firmware and boot loader leave in RAM and in the boot processor. */
static int load_guest(struct vmm *vm, struct viommu_error *err)
{
    uint64_t rsdp;
    int ret = vmm_acpi_build(vm, &rsdp, err);

    return ret ? ret : vmm_boot_load(vm, rsdp, err);
}

static int vmm_create(struct vmm *vm, struct viommu_error *err)
{
    int ret;

    ret = check_devices(vm->options, err);
    if (!ret)
        ret = create_events(vm, err);
    if (!ret)
        ret = vmm_kvm_create(vm, err);
    if (!ret)
        ret = vmm_vcpus_create(vm, err);
    if (!ret)
        ret = create_boards(vm, err);
    if (!ret)
        ret = load_guest(vm, err);
    if (!ret)
        ret = vmm_loop_start(vm->loop, err);
    return ret ? ret : vmm_control_create(vm, err);
}

/*
 * A warm reset, after vmm_halt(). What a reset does to a board, in an order in which nothing is
 * written to memory by way of translations that are gone: first the devices are quiet, then the
 * vIOMMU is off, and then there are new processors.
 */
static int vmm_reset(struct vmm *vm, struct viommu_error *err)
{
    int ret;

    pthread_mutex_lock(&vm->plug_lock);
    vmm_pci_host_reset(vm);
    vmm_library_reset(vm);
    vmm_serial_reset(vm);
    vmm_ioapic_reset(vm);
    vmm_vcpus_destroy(vm);
    ret = vmm_kvm_renew(vm, err);
    if (!ret)
        ret = vmm_vcpus_create(vm, err);
    if (!ret)
        ret = vmm_pci_host_start(vm, err);
    if (!ret)
        ret = load_guest(vm, err);
    pthread_mutex_unlock(&vm->plug_lock);
    atomic_store(&vm->stop, VMM_STOP_NONE);
    return ret;
}

static void vmm_destroy(struct vmm *vm)
{
    vmm_control_destroy(vm);
    vmm_loop_stop(vm->loop); /* nothing is unplugged any more */
    vmm_vcpus_destroy(vm);
    vmm_pci_host_destroy(vm);
    vmm_library_destroy(vm);
    vmm_loop_destroy(vm->loop);
    vmm_serial_destroy(vm);
    vmm_ioapic_destroy(vm);
    vmm_routes_destroy(vm);
    vmm_kvm_destroy(vm);
    vmm_bus_fini(&vm->mmio);
    vmm_bus_fini(&vm->pio);
    if (vm->wake_fd >= 0)
        close(vm->wake_fd);
    if (vm->signal_fd >= 0)
        close(vm->signal_fd);
    pthread_mutex_destroy(&vm->bus_reset_lock);
    pthread_mutex_destroy(&vm->plug_lock);
    pthread_mutex_destroy(&vm->irq_listeners_lock);
    pthread_mutex_destroy(&vm->stop_lock);
}

static void take_signal(struct vmm *vm)
{
    struct signalfd_siginfo info;

    if (read(vm->signal_fd, &info, sizeof(info)) == sizeof(info))
        vmm_stop(vm, VMM_STOP_SIGNAL, (int)info.ssi_signo);
}

/* Returns false when there is no more input. */
static bool take_input(struct vmm *vm, size_t room)
{
    char buffer[256];
    bool quit = false;
    long got;

    got = vmm_terminal_read(buffer, room < sizeof(buffer) ? room : sizeof(buffer), &quit);
    if (got > 0)
        vmm_serial_input(vm->serial, buffer, (size_t)got);
    if (quit)
        vmm_stop(vm, VMM_STOP_SIGNAL, SIGINT);
    return got >= 0;
}

/* After a wake-up an unfinished line of output gets some time to be completed. */
static int drain_output(struct vmm *vm, bool woken)
{
    uint64_t count;

    if (woken && read(vm->wake_fd, &count, sizeof(count)) > 0)
        return OUTPUT_DELAY_MS;
    return vmm_serial_flush(vm->serial) ? -1 : OUTPUT_DELAY_MS;
}

static void main_loop(struct vmm *vm)
{
    enum {
        WAKE,
        SIGNAL,
        INPUT,
        COUNT
    };
    struct pollfd fds[COUNT] = {
        [WAKE] = {.fd = vm->wake_fd, .events = POLLIN},
        [SIGNAL] = {.fd = vm->signal_fd, .events = POLLIN},
        [INPUT] = {.events = POLLIN},
    };
    bool has_input = true;
    int timeout = -1;
    size_t room;

    while (atomic_load(&vm->stop) == VMM_STOP_NONE) {
        room = 0;
        if (has_input && !vmm_serial_room(vm->serial, &room))
            timeout = OUTPUT_DELAY_MS;
        fds[INPUT].fd = room ? STDIN_FILENO : -1;
        if (poll(fds, COUNT, timeout) < 0)
            continue;
        timeout = drain_output(vm, fds[WAKE].revents);
        if (fds[SIGNAL].revents)
            take_signal(vm);
        if (fds[INPUT].revents)
            has_input = take_input(vm, room);
    }
}

/* Stop every thread, so that nothing changes any more. */
static void vmm_halt(struct vmm *vm)
{
    if (atomic_load(&vm->stop) == VMM_STOP_SIGNAL)
        vmm_terminal_do_not_wait(true);
    vmm_vcpus_join(vm);
    vmm_serial_flush(vm->serial);
}

static int exit_code(struct vmm *vm, struct viommu_error *err)
{
    switch (atomic_load(&vm->stop)) {
    case VMM_STOP_DEBUG_EXIT:
        return vm->stop_value << 1 | 1;
    case VMM_STOP_SIGNAL:
        return 128 + vm->stop_value;
    case VMM_STOP_ERROR:
        *err = vm->stop_error;
        return 1;
    default:
        return 0;
    }
}

/* From entering the loaded guest to the moment when all is still; true when it asked for a reset.
 */
static bool run_once(struct vmm *vm)
{
    if (vmm_vcpus_start(vm, &vm->stop_error))
        vmm_stop(vm, VMM_STOP_ERROR, 0);
    main_loop(vm);
    vmm_halt(vm);
    return atomic_load(&vm->stop) == VMM_STOP_RESET && !vm->options->no_reboot;
}

/* Returns the exit code. */
static int run_to_the_end(struct vmm *vm, struct viommu_error *err)
{
    while (run_once(vm)) {
        if (vmm_reset(vm, err))
            return 1;
    }
    return exit_code(vm, err);
}

int vmm_run(const struct vmm_options *options, struct viommu_error *err)
{
    struct vmm vm;
    int code = 1;

    err->message[0] = '\0';
    vmm_init(&vm, options);
    if (!vmm_create(&vm, err)) {
        vmm_terminal_raw();
        code = run_to_the_end(&vm, err);
        vmm_terminal_restore();
        if (options->stats)
            vmm_library_print_stats(&vm);
    }
    vmm_destroy(&vm);
    return code;
}
