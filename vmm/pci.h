/* SPDX-License-Identifier: MIT */
/*
 * The PCI host bridge and what all PCI functions share: configuration space (ECAM and ports
 * CF8/CFC), BARs, capabilities, MSI, MSI-X and INTx. Each segment has one root bus, number 0;
 * segments other than 0 have neither ports CF8/CFC nor I/O BARs.
 *
 * A device model embeds struct vmm_pci_function in its own structure and finds itself again with
 * vmm_container_of(). In order: vmm_pci_function_init(), the vmm_pci_add_*() calls, then
 * vmm_pci_register(), which gives the BARs their addresses and enables decoding and bus mastering
 * as firmware would. From then on the host bridge owns the function and calls ops->destroy at the
 * end of the machine.
 *
 * Locking: the host bridge has one lock, taken for configuration accesses, INTx, MSI and MSI-X
 * state; it is a leaf (only the bus's and the IOAPIC's locks are taken inside), so vmm_pci_*()
 * calls may be made with a device's own lock held. ops are called WITHOUT the host bridge's lock;
 * bar_read and bar_write may run in several vCPU threads at once.
 */
#ifndef VMM_PCI_H
#define VMM_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viommu/error.h>
#include <viommu/pci.h>

struct vmm;
struct vmm_pci_function;
struct vmm_pci_segment;

#define vmm_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define VMM_PCI_BARS        6
#define VMM_PCI_ROM         6u /* behind the BARs: that of the expansion ROM */
#define VMM_PCI_ROM_MIN     2048u
#define VMM_PCI_CONFIG_SIZE 4096
#define VMM_PCI_DEVFN_ANY   (-1)
#define VMM_PCI_DIRECT_MAX  8u

struct vmm_pci_ops {
    /*
     * Accesses to BAR `bar`; size 1, 2, 4 or 8. The MSI-X table and PBA are not seen here. Of
     * VMM_PCI_ROM there are reads alone.
     */
    uint64_t (*bar_read)(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                         unsigned int size);
    void (*bar_write)(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                      unsigned int size, uint64_t value);
    /*
     * Optional. A guest accessed configuration space that a capability of the device's own lies
     * in (vmm_pci_add_capability(..., watched)): config_read before the bytes are taken from
     * fn->config, config_write after they were stored under the write mask.
     */
    void (*config_read)(struct vmm_pci_function *fn, unsigned int offset, unsigned int size);
    void (*config_write)(struct vmm_pci_function *fn, unsigned int offset, unsigned int size);
    /*
     * Function-level reset, or that of the machine: DMA has ended when this returns, device state
     * is as at power-on. Config space is done by us.
     */
    void (*reset)(struct vmm_pci_function *fn);
    /* Optional. The guest switched bus mastering on or off. */
    void (*bus_master)(struct vmm_pci_function *fn, bool enabled);
    /*
     * Optional. Something changed of what vmm_pci_message() says: of vectors [first, first +
     * count).
     */
    void (*messages_changed)(struct vmm_pci_function *fn, unsigned int first, unsigned int count);
    /*
     * Optional; without it the function cannot be unplugged. It is gone for the guest and was
     * reset: end threads and release what is the host's. A vCPU that is on its way to the device
     * may still call bar_read and bar_write, and finds it reset and no bus master.
     */
    void (*unplug)(struct vmm_pci_function *fn);
    /* Optional. Before `destroy`: end the device's own threads, which may still use `fn`. */
    void (*stop)(struct vmm_pci_function *fn);
    /*
     * The machine is going away; all vCPU threads are gone. Frees the device with its `fn`, whose
     * contents we release.
     */
    void (*destroy)(struct vmm_pci_function *fn);
};

/* What a function is; vmm_pci_function_init() copies it. */
struct vmm_pci_identity {
    const char *name; /* for messages: "edu"; a string that outlives the function */
    uint16_t vendor;
    uint16_t device;
    uint16_t subsystem_vendor;
    uint16_t subsystem_device;
    uint32_t class_code; /* 24 bits: base class, subclass, programming interface */
    uint8_t revision;
    uint8_t interrupt_pin; /* 0 none, 1 INTA# */
    bool express;          /* a PCIe root-complex integrated endpoint, with function-level reset */
    uint16_t segment;      /* where it shall be, below VMM_SEGMENTS_MAX */
};

enum vmm_pci_bar_type {
    VMM_PCI_BAR_NONE = 0,
    VMM_PCI_BAR_IO,
    VMM_PCI_BAR_MEM32,
    VMM_PCI_BAR_MEM64, /* takes two slots; lies above 4 GiB when there is no room below */
    VMM_PCI_BAR_ROM,   /* that of VMM_PCI_ROM; decoded while the guest enables it, too */
};

/* A part of a memory BAR that vCPUs reach without an exit, while the BAR is mapped. */
struct vmm_pci_direct {
    uint64_t offset; /* multiples of 4096, as is the size */
    uint64_t size;
    void *host;
    int slot; /* of KVM's; -1: not there */
};

struct vmm_pci_bar {
    enum vmm_pci_bar_type type;
    uint64_t size;
    uint64_t address; /* as programmed */
    bool mapped;      /* in the bus, at `address` */
    bool prefetchable;
    struct vmm_pci_function *fn;
    struct vmm_pci_direct direct[VMM_PCI_DIRECT_MAX];
    unsigned int direct_count;
};

struct vmm_pci_msi {
    uint8_t offset; /* of the capability; 0 without one */
    uint8_t
        data; /* offsets of the registers that not every MSI capability has at the same place, */
    uint8_t mask; /* 0 when messages cannot be masked */
    unsigned int count;
    uint32_t pending;
};

struct vmm_pci_msix {
    uint8_t offset;
    unsigned int bar;
    unsigned int count;
    uint32_t table_offset;
    unsigned int pba_bar;
    uint32_t pba_offset;
    uint32_t *table; /* 4 words for each vector */
    uint64_t *pba;
};

struct vmm_pci_function {
    struct vmm *vm;
    struct vmm_pci_identity id;
    const struct vmm_pci_ops *ops;
    struct vmm_pci_segment *segment;
    uint8_t devfn;
    /*
     * The library's view of this function, for DMA. NULL until vmm_pci_function_init() has
     * succeeded; destroyed by us after ops->destroy.
     */
    struct viommu_pci_device *viommu;
    uint8_t *config;     /* VMM_PCI_CONFIG_SIZE bytes */
    uint8_t *write_mask; /* bits that a guest may change */
    uint8_t *clear_mask; /* bits that a guest clears by writing 1 */
    uint8_t *watched;    /* bytes whose accesses go to ops->config_read/config_write */
    uint8_t last_capability;
    uint8_t next_free; /* where the next capability goes */
    uint8_t express_offset;
    uint16_t last_extended; /* extended capabilities: the same; 0 without any */
    uint16_t next_extended;
    uint16_t pasid_offset; /* of the extended capabilities of pci_ats.h; 0 without */
    uint16_t ats_offset;
    uint16_t pri_offset;
    struct vmm_pci_bar bars[VMM_PCI_BARS + 1];
    struct vmm_pci_msi msi;
    struct vmm_pci_msix msix;
    uint8_t *power_on; /* configuration space as a function-level reset leaves it */
    bool intx_level;   /* what the device asserts, before Interrupt Disable */
    int intx_served;   /* an eventfd, see vmm_pci_intx_until_served(); 0: none */
    bool intx_driven;
    bool registered;
    bool unplugged;   /* for good: reads as all ones, and is no bus master */
    const char *lost; /* why it cannot be used any more; NULL: it can. Under vm->plug_lock */
};

/*
 * Begin a function on the root bus of id->segment at `devfn`, or at the first free slot with
 * VMM_PCI_DEVFN_ANY. Creates the segment with its first function, and fn->viommu, which is behind
 * its vIOMMU from now on. Errors: -EBUSY the slot is taken, -ENOSPC no slot is free, -ENOMEM.
 */
int vmm_pci_function_init(struct vmm_pci_function *fn, struct vmm *vm, int devfn,
                          const struct vmm_pci_identity *id, const struct vmm_pci_ops *ops,
                          struct viommu_error *err);

/* Before it is registered: it is another one than was said at first. The name and segment stay. */
void vmm_pci_function_identify(struct vmm_pci_function *fn, const struct vmm_pci_identity *id);

/* Undo vmm_pci_function_init() when the device fails before vmm_pci_register(). Any state. */
void vmm_pci_function_fini(struct vmm_pci_function *fn);

/* `size` is a power of two, at least 16 (memory) or 4 (I/O ports, at most 256). */
void vmm_pci_add_bar(struct vmm_pci_function *fn, unsigned int bar, enum vmm_pci_bar_type type,
                     uint64_t size);

/* A memory BAR that was added is prefetchable: one of 64 bits lies above 4 GiB when there is room.
 */
void vmm_pci_bar_set_prefetchable(struct vmm_pci_function *fn, unsigned int index);

/*
 * Let vCPUs reach [offset, offset + size) of memory BAR `bar` without an exit: both multiples of
 * 4096, `host` is borrowed and stays mapped in this process. Where KVM takes no more of them, or
 * the guest moves the BAR to a place that is not a multiple of 4096, accesses go to ops->bar_read
 * and bar_write as others do. -ENOSPC: the BAR has VMM_PCI_DIRECT_MAX of them.
 */
int vmm_pci_bar_add_direct(struct vmm_pci_function *fn, unsigned int bar, uint64_t offset,
                           uint64_t size, void *host);

/*
 * The next capability shall lie at `offset` (a multiple of 4), as on the device that the function
 * is. Capabilities must not overlap.
 */
void vmm_pci_place_capability(struct vmm_pci_function *fn, uint8_t offset);
void vmm_pci_place_extended_capability(struct vmm_pci_function *fn, uint16_t offset);

/*
 * Reserve `length` bytes (with the two bytes of ID and link) for a capability; returns its
 * offset in fn->config. The caller fills fn->config and fn->write_mask from offset + 2 on.
 * `watched` sends accesses to it to ops->config_read and ops->config_write.
 */
uint8_t vmm_pci_add_capability(struct vmm_pci_function *fn, uint8_t id, uint8_t length,
                               bool watched);

/*
 * The same for an extended capability (PCI Express 6.0, 7.6.3), whose header takes 4 bytes. The
 * function must be a PCIe one.
 */
uint16_t vmm_pci_add_extended_capability(struct vmm_pci_function *fn, uint16_t id, uint8_t version,
                                         uint16_t length, bool watched);

/* An expansion ROM of `size` bytes, a power of two from VMM_PCI_ROM_MIN on. */
void vmm_pci_add_rom(struct vmm_pci_function *fn, uint64_t size);

/* MSI with 64-bit addresses and per-vector masking; `count` is 1, 2, 4, 8, 16 or 32. */
void vmm_pci_add_msi(struct vmm_pci_function *fn, unsigned int count);

/* The same with or without them: VMM_PCI_MSI_64BIT and VMM_PCI_MSI_MASKING decide the length. */
#define VMM_PCI_MSI_64BIT   0x0080u
#define VMM_PCI_MSI_MASKING 0x0100u
void vmm_pci_add_msi_with(struct vmm_pci_function *fn, unsigned int count, uint16_t features);

/*
 * MSI-X with `count` (1..2048) vectors, table and pending bits in BAR `bar` at `offset` (the
 * table, then at the next multiple of 8 the pending bits). Returns 0 or -ENOMEM.
 */
int vmm_pci_add_msix(struct vmm_pci_function *fn, unsigned int count, unsigned int bar,
                     uint32_t offset);

/* The same with the pending bits elsewhere; offsets are multiples of 8. */
int vmm_pci_add_msix_at(struct vmm_pci_function *fn, unsigned int count, unsigned int table_bar,
                        uint32_t table_offset, unsigned int pba_bar, uint32_t pba_offset);

/* Give BARs addresses, enable decoding, make the function visible. -ENOSPC: the window is full. */
int vmm_pci_register(struct vmm_pci_function *fn, struct viommu_error *err);

/*
 * Interrupts. vmm_pci_notify() sends vector `vector` by MSI-X or MSI, whichever the guest has
 * enabled (masked: it becomes pending), and returns false when neither is enabled: the device
 * then uses vmm_pci_set_intx(). Vectors beyond what the guest allocated go to vector 0 for MSI
 * (PCI 6.8.1.6: low bits are modified) and nowhere for MSI-X.
 */
bool vmm_pci_notify(struct vmm_pci_function *fn, unsigned int vector);
bool vmm_pci_msi_enabled(struct vmm_pci_function *fn);
bool vmm_pci_msix_enabled(struct vmm_pci_function *fn);
void vmm_pci_set_intx(struct vmm_pci_function *fn, bool level);

/*
 * The device asserts its line by vmm_pci_set_intx(fn, true) and cannot tell when it stops: the line
 * falls when the guest has served the interrupt, and `served` (an eventfd, borrowed; 0: as at
 * first) is then signalled, so that the device asserts it anew if it must.
 */
void vmm_pci_intx_until_served(struct vmm_pci_function *fn, int served);

/* How the guest lets vector `vector` be sent now. */
enum vmm_pci_message_state {
    VMM_PCI_MESSAGE_OFF,    /* neither MSI nor MSI-X is enabled, or it has no such vector */
    VMM_PCI_MESSAGE_MASKED, /* vmm_pci_notify() makes it pending */
    VMM_PCI_MESSAGE_ON,     /* is sent as `address` and `data` */
};

struct vmm_pci_message {
    enum vmm_pci_message_state state;
    uint64_t address;
    uint32_t data;
};

/* Takes the host bridge's lock. A function that is no bus master sends nothing: it counts as
 * masked. */
struct vmm_pci_message vmm_pci_message(struct vmm_pci_function *fn, unsigned int vector);

/*
 * The contents of configuration space once the guest runs, without effects; size is 1, 2 or 4. Take
 * the host bridge's lock.
 */
uint32_t vmm_pci_config_load(struct vmm_pci_function *fn, unsigned int offset, unsigned int size);
void vmm_pci_config_store8(struct vmm_pci_function *fn, unsigned int offset, uint8_t value);
void vmm_pci_config_store32(struct vmm_pci_function *fn, unsigned int offset, uint32_t value);

/* Clear and set bits of 16 in configuration space, without effects and in one step. */
void vmm_pci_config_change16(struct vmm_pci_function *fn, unsigned int offset, uint16_t clear,
                             uint16_t set);

/* Whether the guest lets the function be a bus master; without it, DMA and MSI do not happen. */
bool vmm_pci_bus_master(const struct vmm_pci_function *fn);

/* bus << 8 | devfn, before aliasing. */
uint16_t vmm_pci_requester_id(const struct vmm_pci_function *fn);

/* Little-endian access to fn->config and fn->write_mask while a function is being built. */
void vmm_pci_put16(uint8_t *space, unsigned int offset, uint16_t value);
void vmm_pci_put32(uint8_t *space, unsigned int offset, uint32_t value);
uint16_t vmm_pci_get16(const uint8_t *space, unsigned int offset);
uint32_t vmm_pci_get32(const uint8_t *space, unsigned int offset);

#endif
