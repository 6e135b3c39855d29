/* SPDX-License-Identifier: MIT */
/**
 * @file interrupt.h
 * @brief Interrupt remapping: what becomes of a message-signalled interrupt on its way to the CPUs.
 *
 * A function's MSI, and what an IOAPIC makes of its input lines, is a 32-bit write to the interrupt
 * address range (0xfee00000..0xfeefffff). Hand each such message to the vIOMMU that protects its
 * sender, and deliver what comes back. Messages of the vIOMMU itself are never remapped.
 *
 * All calls here take no lock, but to record a fault, and may be made from any thread, with locks
 * of the caller held: they call nobody but `deliver`, and, after a fault, the vIOMMU's own MSI
 * callback and its log.
 */
#ifndef VIOMMU_INTERRUPT_H
#define VIOMMU_INTERRUPT_H

#include <viommu/pci.h>
#include <viommu/viommu.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The sender is an IOAPIC: a vIOMMU may be told not to verify its requester ID. */
#define VIOMMU_INTERRUPT_IOAPIC (1u << 0)
/**
 * Only tell what would become of it: no fault is recorded, no descriptor is posted to, nothing is
 * delivered. For routes that are cached until the listener is called.
 */
#define VIOMMU_INTERRUPT_LOOKUP (1u << 1)

/** A message as its sender wrote it. */
struct viommu_interrupt_request {
    uint64_t address;
    uint32_t data;
    uint16_t requester_id; /**< bus << 8 | devfn, as it arrives at the root complex */
    uint32_t flags;        /**< VIOMMU_INTERRUPT_* */
};

/** What becomes of a message. */
enum viommu_interrupt_outcome {
    VIOMMU_INTERRUPT_PASSED,   /**< is not remapped: deliver it as it is */
    VIOMMU_INTERRUPT_REMAPPED, /**< deliver what the vIOMMU made of it */
    VIOMMU_INTERRUPT_NOTIFIED, /**< was posted to a descriptor in memory: deliver the notification
                                */
    VIOMMU_INTERRUPT_POSTED,   /**< was posted, and needs no notification: deliver nothing */
    VIOMMU_INTERRUPT_BLOCKED,  /**< is refused: deliver nothing */
};

/** Delivery modes, as in the data of a message (Intel SDM vol. 3, "Message Data Register"). */
enum viommu_interrupt_delivery_mode {
    VIOMMU_INTERRUPT_FIXED = 0,
    VIOMMU_INTERRUPT_LOWEST_PRIORITY = 1,
    VIOMMU_INTERRUPT_SMI = 2,
    VIOMMU_INTERRUPT_NMI = 4,
    VIOMMU_INTERRUPT_INIT = 5,
    VIOMMU_INTERRUPT_EXTINT = 7,
};

/**
 * The answer. address and data are a message as KVM takes it (KVM_SIGNAL_MSI, KVM_SET_GSI_ROUTING):
 * bits 31:8 of a 32-bit destination are in bits 63:40 of the address, which needs
 * KVM_X2APIC_API_USE_32BIT_IDS. The decoded fields say the same to those who have no use for that;
 * of a message that passed they are not filled in.
 */
struct viommu_interrupt {
    enum viommu_interrupt_outcome outcome;
    uint64_t address;
    uint32_t data;
    uint32_t
        destination; /**< APIC ID, or logical destination; 8 bits unless the guest uses x2APIC */
    uint8_t vector;  /**< 0..255 */
    uint8_t delivery_mode; /**< enum viommu_interrupt_delivery_mode */
    bool logical;          /**< destination mode */
    bool redirection_hint;
    bool level;      /**< triggered by level: an end of interrupt is awaited */
    uint16_t index;  /**< of the entry that remapped it */
    uint32_t reason; /**< BLOCKED: the model's fault reason, else 0 */
};

/** Whether there is something to deliver: address and data. */
static inline bool viommu_interrupt_delivers(const struct viommu_interrupt *interrupt)
{
    return interrupt->outcome <= VIOMMU_INTERRUPT_NOTIFIED;
}

/** Delivers address and data of an interrupt. Must not wait for a thread that is in the library. */
typedef void viommu_interrupt_deliver_fn(void *opaque, const struct viommu_interrupt *interrupt);

/**
 * Remap a message, and deliver the result. While `deliver` runs, the guest's invalidation of the
 * entry does not complete: afterwards nothing arrives by the entry of before.
 * @param deliver  called at most once, before the call returns; may be NULL: the caller delivers
 *                 what `out` says, and an invalidation may complete in between
 * @param out      receives what became of it; may be NULL when deliver is not
 */
VIOMMU_EXPORT void viommu_interrupt_send(struct viommu *viommu,
                                         const struct viommu_interrupt_request *request,
                                         viommu_interrupt_deliver_fn *deliver, void *opaque,
                                         struct viommu_interrupt *out);

/** The same without delivery: viommu_interrupt_send() with deliver NULL. */
VIOMMU_EXPORT void viommu_interrupt_remap(struct viommu *viommu,
                                          const struct viommu_interrupt_request *request,
                                          struct viommu_interrupt *out);

/**
 * A function sends a message: it goes to the vIOMMU that protects the function, from the requester
 * ID that its requests carry there. Without one, or when the function bypasses it, it passes.
 * Takes the topology's lock for a moment, besides what is said above.
 * @param flags           VIOMMU_INTERRUPT_LOOKUP or 0
 * @param deliver, out    as for viommu_interrupt_send()
 */
VIOMMU_EXPORT void viommu_pci_device_send_interrupt(const struct viommu_pci_device *device,
                                                    uint64_t address, uint32_t data, uint32_t flags,
                                                    viommu_interrupt_deliver_fn *deliver,
                                                    void *opaque, struct viommu_interrupt *out);

/**
 * The guest changed how interrupts are remapped: what was learnt by VIOMMU_INTERRUPT_LOOKUP of the
 * entries [first, first + count) is out of date, and must not be used any more when this returns.
 * Called from the thread whose register write caused it, or that of viommu_reset(); it may make the
 * calls of this header, and no others on the vIOMMU.
 */
typedef void viommu_interrupt_changed_fn(void *opaque, uint32_t first, uint32_t count);

/**
 * Who is told; NULL: nobody. Replaces the one before, who is not called any more when this returns.
 * Messages pass unremapped at first. Any thread, but not from within a callback of this library.
 */
VIOMMU_EXPORT void viommu_interrupt_set_listener(struct viommu *viommu,
                                                 viommu_interrupt_changed_fn *changed,
                                                 void *opaque);

#ifdef __cplusplus
}
#endif
#endif
