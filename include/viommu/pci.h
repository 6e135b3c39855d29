/* SPDX-License-Identifier: MIT */
/**
 * @file pci.h
 * @brief Buses, functions, requester IDs, and the IOMMU hooks that a bus or a function carries.
 *
 * The topology mirrors what the VMM shows its guest. It is built and changed by one thread at a
 * time (the VMM's hot-plug path). The const getters, bus numbers, and the giving and taking of
 * IOMMUs and host devices may come from any thread.
 */
#ifndef VIOMMU_PCI_H
#define VIOMMU_PCI_H

#include <viommu/error.h>
#include <viommu/log.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viommu_pci;        /**< the PCI topology of one guest: any number of segments */
struct viommu_pci_bus;    /**< a root bus, or the bus behind a bridge */
struct viommu_pci_device; /**< one function */
struct viommu_dma_space;
struct viommu_host_device;
struct viommu_interrupt;
struct viommu_interrupt_request;
struct viommu_pci_ats;          /* ats.h */
struct viommu_pci_page_request; /* ats.h */

/** Make a devfn out of a device (0..31) and a function (0..7) number. */
#define VIOMMU_PCI_DEVFN(device, function) ((uint8_t)(((device) << 3) | ((function)&7)))

/** A function's name in a request: its segment, and its bus, device and function packed. */
struct viommu_pci_id {
    uint16_t segment;
    uint16_t requester_id; /**< bus << 8 | devfn (PCIe base spec, 2.2.4.2) */
};

/**
 * 64 bits that a vIOMMU answers with before anything is known of the host. They tell what its *user
 * configured*; no ability of a host may flow into them.
 */
#define VIOMMU_CAP_HW_NESTED (UINT64_C(1) << 0) /**< create the GPA table as a nesting parent */
/*
 * The guest may use this PCI capability of functions behind the vIOMMU: emulated functions that
 * have it show it, and for assigned ones whose host device has it the VMM makes one up.
 */
#define VIOMMU_CAP_PASID (UINT64_C(1) << 1)
#define VIOMMU_CAP_ATS   (UINT64_C(1) << 2)
#define VIOMMU_CAP_PRI   (UINT64_C(1) << 3) /**< never without VIOMMU_CAP_ATS */

/**
 * What a vIOMMU offers to the buses it protects. Callbacks are called from the thread that calls
 * the wrapper, and must not call what changes the topology. Optional callbacks may be NULL.
 *
 * Functions behind different bridges may carry the same ID for a while: all secondary bus numbers
 * are 0 before firmware has run, and a guest may program any. So a host device is known by its
 * pointer, and its IDs are what it was last told to have.
 */
struct viommu_pci_iommu_ops {
    size_t size;
    /**
     * Mandatory. The DMA address space of the function that requests as `alias`. Borrowed: it lives
     * as long as the vIOMMU. NULL when, and only when, memory is exhausted.
     */
    struct viommu_dma_space *(*get_address_space)(void *opaque, struct viommu_pci_id alias);
    /** Optional. VIOMMU_CAP_* bits. */
    uint64_t (*get_viommu_cap)(void *opaque);
    /**
     * Optional. A host device was attached behind function `id`, whose requests carry `alias`:
     * compare what was promised with what the host has. On refusal fills error with every mismatch.
     */
    int (*set_iommu_device)(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                            struct viommu_host_device *device, struct viommu_error *error);
    /**
     * Optional. Undo set_iommu_device of this host device, which succeeded; afterwards it is not
     * used any more. `id` is the one that the vIOMMU was told last.
     */
    void (*unset_iommu_device)(void *opaque, struct viommu_pci_id id,
                               struct viommu_host_device *device);
    /**
     * Optional. The guest renumbered a bus: this host device, which is set, is behind function `id`
     * now and its requests carry `alias`. Follow, so that they go by the tables for that.
     */
    void (*requester_changed)(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                              struct viommu_host_device *device);
    /**
     * Optional: without it, interrupts are not remapped. The function whose requests carry `alias`
     * sends the message of `request`: as viommu_interrupt_send(). `out` is never NULL.
     */
    void (*send_interrupt)(void *opaque, struct viommu_pci_id alias,
                           const struct viommu_interrupt_request *request,
                           void (*deliver)(void *opaque, const struct viommu_interrupt *interrupt),
                           void *deliver_opaque, struct viommu_interrupt *out);
    /**
     * Optional, all of these or none (ats.h). Function `id` has a device TLB: invalidations go to
     * ats->ops until it is unset. `ats` is known by its pointer and stays where it is until then.
     */
    int (*set_ats)(void *opaque, struct viommu_pci_id id, const struct viommu_pci_ats *ats,
                   struct viommu_error *error);
    /** Undo it: when this returns, no callback of ats->ops runs nor will. */
    void (*unset_ats)(void *opaque, const struct viommu_pci_ats *ats);
    /** The guest renumbered a bus: it is function `id` now. */
    void (*ats_moved)(void *opaque, struct viommu_pci_id id, const struct viommu_pci_ats *ats);
    /** viommu_pci_device_invalidation_done(), viommu_pci_device_page_request(). */
    int (*ats_invalidation_done)(void *opaque, const struct viommu_pci_ats *ats, uint32_t tag,
                                 int result);
    int (*ats_page_request)(void *opaque, const struct viommu_pci_ats *ats,
                            const struct viommu_pci_page_request *request);
};

/** What lies between a bridge's two sides; it decides the requester ID of DMA from below. */
enum viommu_pci_bridge {
    VIOMMU_PCI_BRIDGE_PCIE_PORT,   /**< root or switch port: requester IDs pass unchanged */
    VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, /**< DMA carries (secondary bus, device 0, function 0) */
    VIOMMU_PCI_BRIDGE_PCI_TO_PCI,  /**< conventional: DMA carries the bridge's own requester ID */
};

/**
 * Create an empty topology.
 * @param plain  the address space of a function that no IOMMU translates, or that bypasses it;
 *               usually viommu_dma_space_create_plain(). Borrowed, must outlive the topology.
 * @return 0, -EINVAL, -ENOMEM
 */
VIOMMU_EXPORT int viommu_pci_create(struct viommu_pci **out, struct viommu_dma_space *plain,
                                    struct viommu_error *error);

/**
 * Destroy the topology with all its buses and functions. A host device that is still set is unset
 * first, so IOMMUs must still be there. NULL is allowed.
 */
VIOMMU_EXPORT void viommu_pci_destroy(struct viommu_pci *pci);

/**
 * Add a root bus.
 * @return 0, -EEXIST (this segment and bus number are taken), -ENOMEM
 */
VIOMMU_EXPORT int viommu_pci_root_bus_add(struct viommu_pci *pci, uint16_t segment, uint8_t number,
                                          struct viommu_pci_bus **out, struct viommu_error *error);

/** Options of a function. Begin with VIOMMU_PCI_DEVICE_OPTIONS_INIT. */
struct viommu_pci_device_options {
    size_t size;
    const char *name; /**< for messages; copied; NULL for a name made of its address */
    bool bypass;      /**< DMA of this function goes untranslated, whatever protects its bus */
};
#define VIOMMU_PCI_DEVICE_OPTIONS_INIT                                                             \
    {                                                                                              \
        sizeof(struct viommu_pci_device_options), 0, 0                                             \
    }

/**
 * Add a function to a bus. options may be NULL.
 * @return 0, -EEXIST (devfn is taken), -EINVAL, -ENOMEM
 */
VIOMMU_EXPORT int viommu_pci_device_add(struct viommu_pci_bus *bus, uint8_t devfn,
                                        const struct viommu_pci_device_options *options,
                                        struct viommu_pci_device **out, struct viommu_error *error);

/**
 * Add a bridge function and the bus behind it, numbered `secondary` for now.
 * @param device  receives the bridge's own function; may be NULL
 * @return 0, -EEXIST, -EINVAL (a PCIe kind below conventional PCI, or a PCI-to-PCI kind on a PCIe
 * bus that is not a root bus), -ENOMEM
 */
VIOMMU_EXPORT int viommu_pci_bridge_add(struct viommu_pci_bus *bus, uint8_t devfn,
                                        enum viommu_pci_bridge kind, uint8_t secondary,
                                        struct viommu_pci_device **device,
                                        struct viommu_pci_bus **out, struct viommu_error *error);

/**
 * The guest programmed a bridge's secondary bus number. Requester IDs below change at once. Address
 * spaces that devices hold must be asked for anew; the vIOMMUs of functions with a host device are
 * told of the new ID and have followed when this returns. A root bus keeps its number. Any thread.
 */
VIOMMU_EXPORT void viommu_pci_bus_set_number(struct viommu_pci_bus *bus, uint8_t number);

/**
 * Remove a function, or a bridge with everything below it. Assigned functions must have been
 * detached: viommu_assign_detach() needs them. A host device that is still set is unset first.
 */
VIOMMU_EXPORT void viommu_pci_device_remove(struct viommu_pci_device *device);

/** The bus that a function sits on. */
VIOMMU_EXPORT struct viommu_pci_bus *viommu_pci_device_bus(const struct viommu_pci_device *device);

/** The function at a place, or NULL. Bridges answer for the bus number that they have now. */
VIOMMU_EXPORT struct viommu_pci_device *viommu_pci_find(const struct viommu_pci *pci,
                                                        struct viommu_pci_id id);

/** The function's name, for messages. Borrowed. */
VIOMMU_EXPORT const char *viommu_pci_device_name(const struct viommu_pci_device *device);

/** The function's own ID: where configuration space finds it. */
VIOMMU_EXPORT struct viommu_pci_id viommu_pci_device_id(const struct viommu_pci_device *device);

/** The ID that its DMA carries when it arrives at the root complex. */
VIOMMU_EXPORT struct viommu_pci_id viommu_pci_device_alias(const struct viommu_pci_device *device);

/**
 * Give a bus, and all below it that do not carry their own, to an IOMMU. ops NULL takes it away.
 * Either is refused while it would change the IOMMU of a function that has a host device.
 * @param ops  copied. Their callbacks and opaque must outlive the bus or be taken away before
 * @return 0, -EINVAL (no get_address_space), -E2BIG (ops of a newer library), -EBUSY (the bus has
 * an IOMMU already, or a function below has a host device: detach that first). Any thread.
 */
VIOMMU_EXPORT int viommu_pci_bus_set_iommu(struct viommu_pci_bus *bus,
                                           const struct viommu_pci_iommu_ops *ops, void *opaque,
                                           struct viommu_error *error);

/**
 * Give one function to an IOMMU, whatever protects its bus; with a bridge's own function, all
 * behind it too that does not carry its own. The nearest goes: the function's own IOMMU, that of
 * its bus, that of the bridge above, and so on. ops NULL takes it away, and so does the function's
 * removal. A function that bypasses IOMMUs still does; what is behind it does not.
 * @param ops  as for viommu_pci_bus_set_iommu()
 * @return as viommu_pci_bus_set_iommu(); -EINVAL also for a function on a conventional bus: it
 * shares its requester ID with its neighbours, and so their IOMMU. Any thread.
 */
VIOMMU_EXPORT int viommu_pci_device_set_iommu(struct viommu_pci_device *device,
                                              const struct viommu_pci_iommu_ops *ops, void *opaque,
                                              struct viommu_error *error);

/**
 * The address space of a function's DMA. A function behind no IOMMU, or one that bypasses it, gets
 * the plain memory. Borrowed. NULL when, and only when, memory is exhausted: an IOMMU makes an
 * address space when it is first asked for.
 */
VIOMMU_EXPORT struct viommu_dma_space *
viommu_pci_device_get_address_space(const struct viommu_pci_device *device);

/**
 * What the user configured for the vIOMMU of this function: VIOMMU_CAP_* bits. 0 when the function
 * is behind no vIOMMU, bypasses it, or the vIOMMU has no such callback.
 */
VIOMMU_EXPORT uint64_t viommu_pci_device_get_viommu_cap(const struct viommu_pci_device *device);

/**
 * Hand the host IOMMU device to the vIOMMU of this function. When there is none, it has no such
 * callback, or the function bypasses it, the host device is only remembered, so that no IOMMU comes
 * or goes above it. Any thread.
 * @param host_device  borrowed until it is unset
 * @return 0, -EBUSY (the function has one already), or the vIOMMU's refusal
 */
VIOMMU_EXPORT int viommu_pci_device_set_iommu_device(struct viommu_pci_device *device,
                                                     struct viommu_host_device *host_device,
                                                     struct viommu_error *error);

/**
 * Take it back from whom it was handed to, whatever the function is numbered now. Without effect
 * when nothing is set. Any thread.
 */
VIOMMU_EXPORT void viommu_pci_device_unset_iommu_device(struct viommu_pci_device *device);

#ifdef __cplusplus
}
#endif
#endif
