/* SPDX-License-Identifier: MIT */
/* What every model implements behind the public struct viommu. Embed struct viommu as the first
 * member. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <viommu/interrupt.h>
#include <viommu/viommu.h>

struct viommu_model_ops {
    const char *name; /* "vtd" */
    uint64_t (*mmio_size)(const struct viommu *viommu);
    void (*destroy)(struct viommu *viommu);
    void (*reset)(struct viommu *viommu);
    uint64_t (*mmio_read)(struct viommu *viommu, uint64_t offset, unsigned int size);
    void (*mmio_write)(struct viommu *viommu, uint64_t offset, unsigned int size, uint64_t value);
    uint64_t (*get_cap)(const struct viommu *viommu);
    void (*get_stats)(const struct viommu *viommu, struct viommu_stats *stats);
    /* Both NULL: interrupts are not remapped. */
    void (*interrupt_send)(struct viommu *viommu, const struct viommu_interrupt_request *request,
                           viommu_interrupt_deliver_fn *deliver, void *opaque,
                           struct viommu_interrupt *out);
    void (*interrupt_set_listener)(struct viommu *viommu, viommu_interrupt_changed_fn *changed,
                                   void *opaque);
    /* Page requests of assigned devices; both NULL: the model has none. */
    int (*page_request_descriptor)(const struct viommu *viommu);
    unsigned int (*forward_page_requests)(struct viommu *viommu, unsigned int limit);
    const struct viommu_pci_iommu_ops *pci_ops; /* their opaque is the struct viommu */
};

struct viommu {
    const struct viommu_model_ops *ops;
    uint16_t segment; /* of PCI: requester IDs mean functions of this one */
};

#endif
