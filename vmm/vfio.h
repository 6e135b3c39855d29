/* SPDX-License-Identifier: MIT */
/*
 * A PCI device of the host that VFIO gives to the guest. Its memory is reached by the hardware;
 * what is here is the rest: configuration space, BARs, expansion ROM, interrupts and resets.
 *
 * Configuration space is emulated from a copy that is made at first. The guest's accesses go to the
 * device in vendor-specific capabilities and vital product data alone; bus mastering follows the
 * guest, memory decoding stays on, because BARs are mapped into this process.
 *
 * Source: linux/vfio.h; PCI Express 6.0, chapter 7.
 */
#ifndef VMM_VFIO_H
#define VMM_VFIO_H

#include "irq.h"
#include "loop.h"
#include "pci.h"
#include "pci_loss.h"
#include <linux/vfio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

struct viommu_assigned_device;

#define VMM_VFIO_ARGUMENTS                                                                         \
    "host=BDF|path=/dev/vfio/devices/vfioN|fd=N[,addr=SLOT[.FUNCTION]][,segment=N][,rom=on|off]"

int vmm_vfio_create(struct vmm *vm, const char *arguments, struct viommu_error *err);
int vmm_vfio_check(const char *arguments, struct viommu_error *err);

/* The kernel, as the calls below reach it; a test brings one of its own. As in their man pages. */
struct vmm_vfio_kernel {
    int (*ioctl)(int fd, unsigned long request, void *argument);
    ssize_t (*read)(int fd, void *buffer, size_t length, off_t offset);
    ssize_t (*write)(int fd, const void *buffer, size_t length, off_t offset);
    void *(*map)(int fd, size_t length, int protection, off_t offset);
    int (*unmap)(void *address, size_t length);
    int (*duplicate)(int fd); /* close-on-exec */
    int (*close)(int fd);
    int (*irqfd)(int vm_fd, int event, int gsi, bool assign); /* KVM_IRQFD */
};
extern const struct vmm_vfio_kernel vmm_vfio_linux;

/* How the device's interrupts reach this process now. */
enum vmm_vfio_mode {
    VMM_VFIO_NONE,
    VMM_VFIO_INTX,
    VMM_VFIO_MSI,
    VMM_VFIO_MSIX,
};

/* What the user is told of, once for each device: a guest could cause it again and again. */
enum vmm_vfio_complaint {
    VMM_VFIO_NO_RESET,
    VMM_VFIO_NO_INTX,
    VMM_VFIO_NO_MSI,
    VMM_VFIO_FEW_MSI,
    VMM_VFIO_NO_MSIX,
    VMM_VFIO_NO_WATCH,
    VMM_VFIO_NO_ROM,
};

/*
 * One message. Its eventfd is read by KVM, which sends `address` and `data` itself, while the guest
 * lets it be sent and a vIOMMU need not see each one; else by vm->loop, which goes the way that
 * messages of emulated devices go.
 */
struct vmm_vfio_vector {
    struct vmm_vfio *vfio;
    unsigned int number;
    int event; /* -1: the guest has not used it yet */
    struct vmm_watch *watch;
    int gsi; /* in KVM's hands; -1: in those of the loop */
    uint64_t address;
    uint32_t data;
};

struct vmm_vfio_irqs {
    pthread_mutex_t lock; /* outside the host bridge's and the routes'; callbacks do not take it */
    bool closed;          /* for good */
    enum vmm_vfio_mode mode;
    struct vmm_vfio_vector *vectors; /* for each that MSI or MSI-X has */
    unsigned int count;
    unsigned int enabled; /* vectors that the host has allocated */
    bool can_grow;        /* one more can be had while MSI-X is enabled */
    int intx_event;       /* eventfds, -1: none */
    int intx_unmask;
    struct vmm_watch *intx_watch;
    struct vmm_irq_listener listener;
};

enum vmm_vfio_signal_kind {
    VMM_VFIO_ERROR,   /* the device had an uncorrectable error */
    VMM_VFIO_REQUEST, /* the host wants it back */
    VMM_VFIO_LOSS,    /* the host could not detach it */
    VMM_VFIO_SIGNALS
};

struct vmm_vfio_area {
    void *host;
    uint64_t size;
};

struct vmm_vfio_rom {
    bool hidden;          /* by the user */
    pthread_mutex_t lock; /* the rest, once the guest runs; `access` is taken inside */
    uint64_t size;        /* 0: the guest sees none */
    uint8_t *bytes;
    bool loaded; /* since the guest enabled it last */
};

struct vmm_vfio {
    struct vmm_pci_function fn;
    const struct vmm_vfio_kernel *kernel;
    struct viommu_assigned_device *attachment;
    pthread_rwlock_t access; /* `fd` is not -1 while this is held for reading */
    int fd;                  /* our own; -1: the device is gone */
    char name[80];           /* as the user named it, for messages */
    bool can_reset;
    bool reset_later;       /* the first reset has not been */
    uint32_t host_id;       /* of the device at its host */
    uint64_t host_address;  /* segment << 16 | bus << 8 | devfn; UINT64_MAX: not known */
    atomic_uint complaints; /* bits of enum vmm_vfio_complaint that were made */
    uint8_t through[VMM_PCI_CONFIG_SIZE]; /* bytes of configuration space that are the device's */
    struct vfio_region_info regions[VFIO_PCI_CONFIG_REGION_INDEX + 1];
    struct vmm_vfio_area areas[VMM_PCI_BARS * VMM_PCI_DIRECT_MAX];
    unsigned int area_count;
    struct vmm_vfio_rom rom;
    struct vmm_vfio_irqs irqs;
    struct vmm_pci_loss signals[VMM_VFIO_SIGNALS];
};

static inline struct vmm_vfio *vmm_vfio_of(struct vmm_pci_function *fn)
{
    return vmm_container_of(fn, struct vmm_vfio, fn);
}

/*
 * Make the function `fn`, which was initialized, what the open device `fd` is: everything but the
 * attachment, and the registration. The descriptor is duplicated, for the library may close its own
 * when the host refuses to do as it should. On failure vmm_vfio_close() is the caller's, as at the
 * end.
 */
int vmm_vfio_open(struct vmm_vfio *vfio, int fd, struct viommu_error *err);
void vmm_vfio_close(struct vmm_vfio *vfio);
extern const struct vmm_pci_ops vmm_vfio_ops;

/* A warning; `error` is a negative errno. Any thread. */
void vmm_vfio_complain(struct vmm_vfio *vfio, enum vmm_vfio_complaint complaint, int error);
void vmm_vfio_complain_of(struct vmm_vfio *vfio, enum vmm_vfio_complaint complaint,
                          const char *reason);

/* Bytes of a region; false when not all of them were moved, or the device is gone. Any thread. */
bool vmm_vfio_region_read(struct vmm_vfio *vfio, unsigned int region, uint64_t offset, void *buffer,
                          size_t size);
bool vmm_vfio_region_write(struct vmm_vfio *vfio, unsigned int region, uint64_t offset,
                           const void *buffer, size_t size);

/* vfio_config.c: identity, header and capabilities. Regions are known. */
int vmm_vfio_config_create(struct vmm_vfio *vfio, struct viommu_error *err);
void vmm_vfio_config_read(struct vmm_pci_function *fn, unsigned int offset, unsigned int size);
void vmm_vfio_config_write(struct vmm_pci_function *fn, unsigned int offset, unsigned int size);
/* The command register of the device. 0 or a negative errno. */
int vmm_vfio_set_command(struct vmm_vfio *vfio, bool bus_master);

/* vfio_bars.c. MSI-X is known when the BARs are made. */
int vmm_vfio_regions_find(struct vmm_vfio *vfio, struct viommu_error *err);
int vmm_vfio_bars_create(struct vmm_vfio *vfio, struct viommu_error *err);
void vmm_vfio_bars_destroy(struct vmm_vfio *vfio);
uint64_t vmm_vfio_bar_read(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                           unsigned int size);
void vmm_vfio_bar_write(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                        unsigned int size, uint64_t value);

/* vfio_rom.c. Regions are known. */
int vmm_vfio_rom_create(struct vmm_vfio *vfio, struct viommu_error *err);
void vmm_vfio_rom_destroy(struct vmm_vfio *vfio);
uint64_t vmm_vfio_rom_read(struct vmm_vfio *vfio, uint64_t offset, unsigned int size);
/* The guest wrote [offset, offset + size) of configuration space. */
void vmm_vfio_rom_configured(struct vmm_vfio *vfio, unsigned int offset, unsigned int size);

/* vfio_reset.c. Who it is at the host, for resets of its bus: before the first reset. */
void vmm_vfio_locate(struct vmm_vfio *vfio, const char *device, uint32_t id);
/*
 * Its own reset, or one of its bus when all on that is this machine's; else there is a warning, and
 * nothing is reset. When all devices have been made the later ones make up for the first.
 */
void vmm_vfio_first_reset(struct vmm_vfio *vfio);
void vmm_vfio_later_resets(struct vmm *vm);
void vmm_vfio_reset(struct vmm_pci_function *fn);
/* The device follows what the guest's command register says by now. Takes vm->bus_reset_lock. */
void vmm_vfio_bus_master(struct vmm_pci_function *fn, bool enabled);

/* vfio_irq.c. */
int vmm_vfio_irqs_create(struct vmm_vfio *vfio, struct viommu_error *err);
void vmm_vfio_irqs_destroy(struct vmm_vfio *vfio);
/* The device raises no interrupt any more, until the guest's configuration is looked at again. */
void vmm_vfio_irqs_disable(struct vmm_vfio *vfio);
void vmm_vfio_messages_changed(struct vmm_pci_function *fn, unsigned int first, unsigned int count);

/* vfio_signals.c: from now on, and no more: see vmm_pci_loss_destroy(). */
int vmm_vfio_signals_create(struct vmm_vfio *vfio, struct viommu_error *err);
void vmm_vfio_signals_destroy(struct vmm_vfio *vfio);

/* vfio_irq_host.c: an eventfd, or -1; whether it was signalled; its end, and -1 in its place. */
int vmm_vfio_event(void);
bool vmm_vfio_event_take(int event);
void vmm_vfio_event_close(int *event);

/*
 * The eventfds that the host signals. Vectors [first, first + count). 0, a
 * negative errno, or a number above 0: so many vectors there are, and none was given.
 */
int vmm_vfio_set_irqs(struct vmm_vfio *vfio, unsigned int index, uint32_t action,
                      unsigned int first, unsigned int count, const int *events);
int vmm_vfio_disable_irqs(struct vmm_vfio *vfio, unsigned int index);
/* How many there are of this index; 0: none, or it is not known. */
unsigned int vmm_vfio_irq_count(struct vmm_vfio *vfio, unsigned int index, uint32_t *flags);

#endif
