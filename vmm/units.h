/* SPDX-License-Identifier: MIT */
/*
 * The vIOMMUs of the machine, one for each --viommu: where each is and which functions are behind
 * it. On a segment, one unit may have all functions that no other unit's scope names.
 */
#ifndef VMM_UNITS_H
#define VMM_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viommu/error.h>

struct viommu;
struct vmm;
struct vmm_watch;
struct vmm_pci_function;

#define VMM_UNIT_SCOPES_MAX 32u

/* A function of the root bus that a unit's scope names. */
struct vmm_unit_scope {
    uint8_t devfn;
    bool found; /* a device came to be there */
};

struct vmm_unit {
    struct viommu *viommu;
    struct vmm_watch *page_requests; /* of assigned devices; NULL: the unit takes none */
    uint64_t base;                   /* of its registers */
    uint16_t segment;
    bool all; /* of the segment, but for what other units name */
    bool has_node;
    uint32_t node; /* NUMA node that it is near to */
    struct vmm_unit_scope scopes[VMM_UNIT_SCOPES_MAX];
    size_t scope_count;
};

/*
 * Take the keys that place a unit out of "key=value,..." (segment, scope, all, node) and check them
 * against the units that are there; *properties receives the others, for the model: free() it. The
 * unit is the machine's next, without its vIOMMU.
 */
int vmm_unit_parse(struct vmm *vm, const char *text, char **properties, struct viommu_error *err);

/*
 * The next unit has its vIOMMU: protect its segment's bus, decode its registers, forward the page
 * requests of assigned devices from the machine's loop, count it.
 */
int vmm_unit_add(struct vmm *vm, struct viommu_error *err);

/* Destroy all. PCI functions and buses are gone, or released. */
void vmm_units_release_buses(struct vmm *vm);
void vmm_units_destroy(struct vmm *vm);

/* A function comes to its place: put it behind the unit whose scope names it. */
int vmm_units_place(struct vmm_pci_function *fn, struct viommu_error *err);

/* All devices are there: no scope may name nothing, and no unit be without a device. */
int vmm_units_check(const struct vmm *vm, struct viommu_error *err);

/* The unit that remaps the IOAPIC's messages, and has it in its scope; NULL: there is no unit. */
const struct vmm_unit *vmm_units_ioapic(const struct vmm *vm);

/* The unit that this function is behind, or NULL. */
const struct vmm_unit *vmm_unit_of(const struct vmm_pci_function *fn);

#endif
