/* SPDX-License-Identifier: MIT */
/*
 * The reference VMM: one virtual machine, from its options to its exit code.
 *
 * Threads: the main thread builds the machine, starts one thread for each vCPU, and then
 * serves the terminal and signals; vm->loop has one that waits for other descriptors. Devices are
 * emulated in vCPU threads (and in the main thread for the UART's input). Everything built before
 * vmm_vcpus_start() is read-only afterwards unless a comment names
 * the lock.
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include "bus.h"
#include "reserved.h"
#include "units.h"
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viommu/error.h>

struct viommu_assign;
struct viommu_dma_space;
struct viommu_host;
struct viommu_host_hw_info;
struct viommu_memory;
struct viommu_pci;
struct viommu_pci_bus;
struct vmm_host_kind;
struct vmm_control;
struct vmm_ioapic;
struct vmm_irq_listener;
struct vmm_kvm_vfio;
struct vmm_loop;
struct vmm_pci_host;
struct vmm_routes;
struct vmm_serial;

/* The guest's physical addresses. RAM: from 0 up to VMM_LOW_RAM_END, the rest from 4 GiB on. */
#define VMM_LOW_RAM_END     0xb0000000ull
#define VMM_ECAM_BASE       0xb0000000ull /* a segment's is VMM_ECAM_SIZE behind the one before */
#define VMM_ECAM_BUSES      1u
#define VMM_ECAM_SIZE       ((uint64_t)VMM_ECAM_BUSES << 20)
#define VMM_FAR_WINDOW_BASE 0xb8000000ull /* of segment 1; then the next one's */
#define VMM_FAR_WINDOW_SIZE 0x2000000ull
#define VMM_PCI_WINDOW_BASE 0xc0000000ull
#define VMM_PCI_WINDOW_END  0xfebfffffull /* inclusive */
#define VMM_IOAPIC_BASE     0xfec00000ull
#define VMM_VIOMMU_BASE     0xfed90000ull /* of the first unit; then the next one's */
#define VMM_VIOMMU_STRIDE   0x4000ull
#define VMM_LAPIC_BASE      0xfee00000ull
#define VMM_HIGH_RAM_BASE   0x100000000ull
#define VMM_PCI_IO_BASE     0xc000u /* I/O BARs are placed from here on */
#define VMM_PCI_IO_END      0x10000u

#define VMM_CPUS_MAX     64u
#define VMM_SEGMENTS_MAX 4u /* PCI segments, each with one root bus, number 0 */
#define VMM_UNITS_MAX    8u

/*
 * Reads what an IOMMU of a host can do out of a profile in a file. `iommu` is its name, NULL: any,
 * when all are alike. -EINVAL, -ENOTSUP, or the errno of reading.
 */
typedef int vmm_profile_fn(const char *file, const char *iommu, struct viommu_host_hw_info *info,
                           struct viommu_error *err);

/* As given by the user; strings outlive the machine. */
struct vmm_options {
    const char *kernel;
    const char *initrd; /* NULL: none */
    const char *append; /* "" when not given */
    uint64_t memory;    /* bytes, a multiple of 1 MiB */
    unsigned int cpus;
    const char *const *viommus; /* each "vtd,key=value,..." */
    size_t viommu_count;
    const char *host;             /* "soft,profile=NAME", NULL: no host */
    vmm_profile_fn *read_profile; /* for profile=FILE; NULL: there are built-in ones alone */
    const char *const *devices;
    size_t device_count;
    const char *control; /* path of the control socket, NULL: none */
    bool no_reboot;
    bool stats;
};

/* Why the machine stopped; the first request wins. */
enum vmm_stop {
    VMM_STOP_NONE = 0,
    VMM_STOP_POWER_OFF,  /* exit code 0 */
    VMM_STOP_RESET,      /* the machine boots again, or exit code 0 with --no-reboot */
    VMM_STOP_DEBUG_EXIT, /* exit code (value << 1) | 1 */
    VMM_STOP_SIGNAL,     /* SIGINT, SIGTERM, SIGHUP: exit code 128 + signal */
    VMM_STOP_ERROR,      /* vm->stop_error says what happened: exit code 1 */
};

struct vmm_ram {
    uint8_t *host;
    uint64_t size;     /* all of it */
    uint64_t low_size; /* at guest address 0; the rest lies at VMM_HIGH_RAM_BASE */
    int file;          /* > 0: a memfd that all of it is a mapping of */
};

struct vmm_vcpu {
    struct vmm *vm;
    unsigned int index; /* and APIC ID */
    int fd;
    struct kvm_run *run;
    size_t run_size;
    pthread_t thread;
    bool started;
    unsigned long long delivery_rip; /* where KVM last could not deliver an event, */
    unsigned int delivery_errors;    /* and how often since */
};

struct vmm {
    const struct vmm_options *options;
    int kvm_fd;
    int vm_fd;
    bool x2apic;                /* KVM takes destinations of 32 bits */
    unsigned int physical_bits; /* of the addresses that vCPUs reach */
    struct vmm_ram ram;
    atomic_uint_least64_t slots; /* of KVM's, that vmm_kvm_map() uses: a bit for each */
    struct vmm_bus pio;
    struct vmm_bus mmio;
    struct vmm_loop *loop;
    struct vmm_routes *routes;
    /* Held while a function is registered or unplugged, and while all is reset. */
    pthread_mutex_t plug_lock;
    /* Held while a VFIO device's bus mastering is switched, and the bus of one reset. A leaf but
     * for the devices' own `access`. */
    pthread_mutex_t bus_reset_lock;
    pthread_mutex_t irq_listeners_lock; /* held while they are called */
    struct vmm_irq_listener *irq_listeners;
    struct vmm_ioapic *ioapic;
    struct vmm_pci_host *pci;
    struct vmm_serial *serial;
    struct vmm_vcpu *vcpus;

    /* The library's objects; NULL where the user asked for none. */
    struct viommu_memory *memory;
    struct viommu_dma_space *plain;
    struct viommu_pci *viommu_pci;
    struct viommu_pci_bus *viommu_buses[VMM_SEGMENTS_MAX]; /* root buses, also of segments that
                                                              have no device */
    struct vmm_unit units[VMM_UNITS_MAX];
    size_t unit_count;
    struct viommu_host *host;
    const struct vmm_host_kind *host_kind;
    struct vmm_kvm_vfio *kvm_vfio;                  /* of hosts with VFIO devices */
    unsigned int host_iommus;                       /* that the host has */
    struct vmm_reserved reserved[VMM_RESERVED_MAX]; /* each below the one before */
    size_t reserved_count;
    struct viommu_assign *assign; /* of this guest on that host */

    struct vmm_control *control; /* NULL without a control socket */

    atomic_int stop;            /* enum vmm_stop */
    atomic_bool reset_by_fault; /* at least once */
    pthread_mutex_t stop_lock;
    int stop_value; /* debug-exit value or signal number; under stop_lock */
    struct viommu_error stop_error;
    int wake_fd;   /* eventfd: the main loop shall look around */
    int signal_fd; /* SIGINT, SIGTERM, SIGHUP */
};

/*
 * Run a machine to its end, booting it again when the guest resets it: RAM keeps its contents, and
 * devices, vIOMMU and attachments are the same, reset. Returns the exit code of the process; when
 * it is caused by an error, `err` holds the sentence to print (else it is empty). The terminal is
 * as it was.
 */
int vmm_run(const struct vmm_options *options, struct viommu_error *err);

/* Ask the machine to end, from any thread; only the first request counts. */
void vmm_stop(struct vmm *vm, enum vmm_stop why, int value);

/* The same with an error sentence. */
__attribute__((format(printf, 2, 3))) void vmm_stop_error(struct vmm *vm, const char *format, ...);

/* Make the main loop look at vm->stop, the console's output and its room for input. Any thread. */
void vmm_wake(struct vmm *vm);

/* Fill `err` (may be NULL) and return -`code`: `return vmm_fail(err, EINVAL, "...", ...)`. */
__attribute__((format(printf, 3, 4))) int vmm_fail(struct viommu_error *err, int code,
                                                   const char *format, ...);

#ifdef __clang_analyzer__
/* The analyzer sees one source file at a time; this is all that it needs to know of vmm_fail(). */
#define vmm_fail(err, code, ...)                                                                   \
    ({                                                                                             \
        int vmm_code = vmm_fail(err, code, __VA_ARGS__);                                           \
        if (!vmm_code || vmm_code != -(code))                                                      \
            __builtin_unreachable();                                                               \
        vmm_code;                                                                                  \
    })
#endif

/*
 * The VMM's own access to RAM, for loading and for tables: `length` bytes at guest address
 * `address`, NULL when they are not all in one piece of RAM. Devices use viommu_dma_*() instead.
 */
void *vmm_ram_at(const struct vmm *vm, uint64_t address, uint64_t length);

#endif
