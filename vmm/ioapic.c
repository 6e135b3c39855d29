/* SPDX-License-Identifier: MIT */
/* Source for registers: Intel 82093AA data sheet, chapter 3; ICH9 data sheet, 13.5 (EOIR). */
#include "ioapic.h"
#include "irq.h"
#include "pci_host.h"
#include "routes.h"
#include "vmm.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <viommu/interrupt.h>

#define REG_SELECT  0x00u
#define REG_WINDOW  0x10u
#define REG_EOI     0x40u
#define REGION_SIZE 0x1000u

#define INDEX_ID          0x00u
#define INDEX_VERSION     0x01u
#define INDEX_ARBITRATION 0x02u
#define INDEX_REDIRECTION 0x10u

#define VERSION 0x20u /* from 0x20 on there is an EOI register */

#define RTE_VECTOR          0xffull
#define RTE_DELIVERY_MODE   0x700ull
#define RTE_LOGICAL         (1ull << 11)
#define RTE_DELIVERY_STATUS (1ull << 12)
#define RTE_REMOTE_IRR      (1ull << 14)
#define RTE_LEVEL           (1ull << 15)
#define RTE_MASKED          (1ull << 16)
#define RTE_READ_ONLY       (RTE_DELIVERY_STATUS | RTE_REMOTE_IRR)

#define MSI_DATA_LEVEL_ASSERT (1u << 14)
#define MSI_DATA_LEVEL        (1u << 15)

struct ioapic_route {
    uint64_t address;
    uint32_t data; /* 0: none */
};

struct ioapic_pin {
    uint64_t rte;
    bool level;        /* the input line */
    bool edge_pending; /* a rising edge that has not been sent */
    uint8_t sent_vector;
    struct ioapic_route route; /* what KVM was told last; none when it is not level-triggered */
};

struct vmm_ioapic {
    struct vmm *vm;
    pthread_mutex_t lock;
    uint32_t select;
    uint32_t id;
    struct ioapic_pin pins[VMM_GSI_COUNT];
};

/*
 * Bits 63:48 of an entry go to bits 19:4 of the address. That is the destination in compatibility
 * format, and the interrupt index in remappable format (VT-d 5.0, 5.1.5.1).
 */
static uint64_t rte_address(uint64_t rte)
{
    return VMM_LAPIC_BASE | (rte >> 48) << 4 | (rte & RTE_LOGICAL ? 4 : 0);
}

static uint32_t rte_data(uint64_t rte)
{
    return (uint32_t)(rte & (RTE_VECTOR | RTE_DELIVERY_MODE | RTE_LEVEL)) | MSI_DATA_LEVEL_ASSERT;
}

/* What a message of this entry becomes on its way to the local APICs. */
static struct viommu_interrupt ioapic_remap(const struct vmm_ioapic *ioapic, uint64_t rte,
                                            uint32_t flags)
{
    const struct vmm_unit *unit = vmm_units_ioapic(ioapic->vm);
    const struct viommu_interrupt_request request = {
        .address = rte_address(rte),
        .data = rte_data(rte),
        .requester_id = VMM_IOAPIC_REQUESTER_ID,
        .flags = VIOMMU_INTERRUPT_IOAPIC | flags,
    };
    struct viommu_interrupt out = {
        .outcome = VIOMMU_INTERRUPT_PASSED,
        .address = request.address,
        .data = request.data,
    };

    if (unit)
        viommu_interrupt_send(unit->viommu, &request, vmm_irq_deliver, ioapic->vm, &out);
    else if (!(flags & VIOMMU_INTERRUPT_LOOKUP))
        vmm_irq_deliver(ioapic->vm, &out);
    return out;
}

/* The message as the local APICs get it, when it is triggered by level; else none. */
static struct ioapic_route find_route(const struct vmm_ioapic *ioapic, const struct ioapic_pin *pin)
{
    struct ioapic_route none = {0};
    struct viommu_interrupt out;

    if (!(pin->rte & RTE_LEVEL))
        return none;
    out = ioapic_remap(ioapic, pin->rte, VIOMMU_INTERRUPT_LOOKUP);
    if (!viommu_interrupt_delivers(&out) || !(out.data & MSI_DATA_LEVEL))
        return none;
    return (struct ioapic_route){out.address, out.data};
}

/*
 * KVM learns from the routes of the first 24 GSIs which vectors are level-triggered, so that their
 * EOI exits to us. Setting routes is slow, hence only when one for a level-triggered message
 * changed.
 */
static void ioapic_set_routes(struct vmm_ioapic *ioapic)
{
    for (unsigned int i = 0; i < VMM_GSI_COUNT; i++)
        vmm_routes_set_line(ioapic->vm, i, ioapic->pins[i].route.address,
                            ioapic->pins[i].route.data);
    if (!vmm_routes_commit(ioapic->vm))
        vmm_stop_error(ioapic->vm, "KVM_SET_GSI_ROUTING failed: %s", strerror(errno));
}

/* True when the pin has another route now. */
static bool ioapic_update_route(struct vmm_ioapic *ioapic, struct ioapic_pin *pin)
{
    struct ioapic_route route = find_route(ioapic, pin);
    bool changed = route.address != pin->route.address || route.data != pin->route.data;

    pin->route = route;
    return changed;
}

/*
 * A message that a vIOMMU refuses reaches no local APIC: a level stays to be sent, when something
 * changes.
 */
static void ioapic_service(struct vmm_ioapic *ioapic, struct ioapic_pin *pin)
{
    bool level = pin->rte & RTE_LEVEL;
    struct viommu_interrupt out;

    if (pin->rte & RTE_MASKED)
        return;
    if (level ? !pin->level || pin->rte & RTE_REMOTE_IRR : !pin->edge_pending)
        return;
    pin->edge_pending = false;
    out = ioapic_remap(ioapic, pin->rte, 0);
    pin->sent_vector = (uint8_t)out.data;
    if (level && out.outcome != VIOMMU_INTERRUPT_BLOCKED)
        pin->rte |= RTE_REMOTE_IRR;
}

static void ioapic_set_rte(struct vmm_ioapic *ioapic, struct ioapic_pin *pin, uint64_t value)
{
    pin->rte = (value & ~RTE_READ_ONLY) | (pin->rte & RTE_READ_ONLY);
    if (!(pin->rte & RTE_LEVEL))
        pin->rte &= ~RTE_REMOTE_IRR;
    if (ioapic_update_route(ioapic, pin))
        ioapic_set_routes(ioapic);
    ioapic_service(ioapic, pin);
}

static void ioapic_end_pin(struct vmm_ioapic *ioapic, struct ioapic_pin *pin)
{
    pin->rte &= ~RTE_REMOTE_IRR;
    ioapic_service(ioapic, pin);
}

/* The EOI register has the vector of entries, whatever became of their messages. */
static bool ends_entry(const struct ioapic_pin *pin, uint8_t vector)
{
    return (pin->rte & RTE_VECTOR) == vector;
}

/*
 * An IOAPIC compares with its entry's vector; software makes the remapped one the same (VT-d 5.0,
 * 5.1.5.1). The one that was delivered is as good, for software that does not.
 */
static bool ends_message(const struct ioapic_pin *pin, uint8_t vector)
{
    return pin->sent_vector == vector || ends_entry(pin, vector);
}

/*
 * Devices whose line is masked until they are served are told first, without our lock: one that
 * lets go of its line then is not served twice.
 */
static void ioapic_end(struct vmm_ioapic *ioapic, uint8_t vector,
                       bool (*ends)(const struct ioapic_pin *pin, uint8_t vector))
{
    uint32_t lines = 0;
    unsigned int i;

    pthread_mutex_lock(&ioapic->lock);
    for (i = 0; i < VMM_GSI_COUNT; i++)
        if ((ioapic->pins[i].rte & RTE_REMOTE_IRR) && ends(&ioapic->pins[i], vector))
            lines |= 1u << i;
    pthread_mutex_unlock(&ioapic->lock);
    if (!lines)
        return;
    vmm_pci_lines_served(ioapic->vm, lines);
    pthread_mutex_lock(&ioapic->lock);
    for (i = 0; i < VMM_GSI_COUNT; i++)
        if (lines & 1u << i)
            ioapic_end_pin(ioapic, &ioapic->pins[i]);
    pthread_mutex_unlock(&ioapic->lock);
}

static uint32_t ioapic_read_index(struct vmm_ioapic *ioapic)
{
    uint32_t index = ioapic->select;
    uint32_t pin = (index - INDEX_REDIRECTION) / 2;

    if (index == INDEX_ID || index == INDEX_ARBITRATION)
        return ioapic->id;
    if (index == INDEX_VERSION)
        return VERSION | (VMM_GSI_COUNT - 1) << 16;
    if (index < INDEX_REDIRECTION || pin >= VMM_GSI_COUNT)
        return UINT32_MAX;
    return (uint32_t)(ioapic->pins[pin].rte >> (index & 1 ? 32 : 0));
}

static void ioapic_write_index(struct vmm_ioapic *ioapic, uint32_t value)
{
    uint32_t index = ioapic->select;
    uint32_t number = (index - INDEX_REDIRECTION) / 2;
    struct ioapic_pin *pin;
    uint64_t rte;

    if (index == INDEX_ID)
        ioapic->id = value & 0x0f000000;
    if (index < INDEX_REDIRECTION || number >= VMM_GSI_COUNT)
        return;
    pin = &ioapic->pins[number];
    if (index & 1)
        rte = (pin->rte & UINT32_MAX) | (uint64_t)value << 32;
    else
        rte = (pin->rte & ~(uint64_t)UINT32_MAX) | value;
    ioapic_set_rte(ioapic, pin, rte);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned int size)
{
    struct vmm_ioapic *ioapic = opaque;
    uint32_t value = UINT32_MAX;

    (void)size;
    pthread_mutex_lock(&ioapic->lock);
    if (offset == REG_SELECT)
        value = ioapic->select;
    else if (offset == REG_WINDOW)
        value = ioapic_read_index(ioapic);
    pthread_mutex_unlock(&ioapic->lock);
    return value;
}

static void ioapic_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    struct vmm_ioapic *ioapic = opaque;

    (void)size;
    if (offset == REG_EOI)
        ioapic_end(ioapic, (uint8_t)value, ends_entry);
    pthread_mutex_lock(&ioapic->lock);
    if (offset == REG_SELECT)
        ioapic->select = value & 0xff;
    else if (offset == REG_WINDOW)
        ioapic_write_index(ioapic, (uint32_t)value);
    pthread_mutex_unlock(&ioapic->lock);
}

static const struct vmm_bus_ops ioapic_bus_ops = {ioapic_read, ioapic_write};

void vmm_ioapic_eoi(struct vmm_ioapic *ioapic, uint8_t vector)
{
    ioapic_end(ioapic, vector, ends_message);
}

void vmm_ioapic_update(struct vmm *vm)
{
    struct vmm_ioapic *ioapic = vm->ioapic;
    bool changed = false;

    if (!ioapic)
        return;
    pthread_mutex_lock(&ioapic->lock);
    for (unsigned int i = 0; i < VMM_GSI_COUNT; i++)
        changed |= ioapic_update_route(ioapic, &ioapic->pins[i]);
    if (changed)
        ioapic_set_routes(ioapic);
    for (unsigned int i = 0; i < VMM_GSI_COUNT; i++)
        if (ioapic->pins[i].rte & RTE_LEVEL)
            ioapic_service(ioapic, &ioapic->pins[i]);
    pthread_mutex_unlock(&ioapic->lock);
}

void vmm_irq_set_level(struct vmm *vm, unsigned int gsi, bool level)
{
    struct vmm_ioapic *ioapic = vm->ioapic;
    struct ioapic_pin *pin;

    if (gsi >= VMM_GSI_COUNT)
        return;
    pthread_mutex_lock(&ioapic->lock);
    pin = &ioapic->pins[gsi];
    if (level && !pin->level)
        pin->edge_pending = true;
    pin->level = level;
    ioapic_service(ioapic, pin);
    pthread_mutex_unlock(&ioapic->lock);
}

static void power_on(struct vmm_ioapic *ioapic)
{
    unsigned int i;

    ioapic->select = 0;
    ioapic->id = 0;
    for (i = 0; i < VMM_GSI_COUNT; i++) {
        ioapic->pins[i].rte = RTE_MASKED;
        ioapic->pins[i].edge_pending = false;
        ioapic->pins[i].route = (struct ioapic_route){0};
        vmm_routes_set_line(ioapic->vm, i, 0, 0);
    }
}

void vmm_ioapic_reset(struct vmm *vm)
{
    pthread_mutex_lock(&vm->ioapic->lock);
    power_on(vm->ioapic);
    pthread_mutex_unlock(&vm->ioapic->lock);
}

int vmm_ioapic_create(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_ioapic *ioapic = calloc(1, sizeof(*ioapic));

    if (!ioapic)
        return vmm_fail(err, ENOMEM, "out of memory for the IOAPIC");
    vm->ioapic = ioapic;
    ioapic->vm = vm;
    pthread_mutex_init(&ioapic->lock, NULL);
    power_on(ioapic);
    return vmm_bus_add(&vm->mmio, VMM_IOAPIC_BASE, REGION_SIZE, &ioapic_bus_ops, ioapic);
}

void vmm_ioapic_destroy(struct vmm *vm)
{
    if (!vm->ioapic)
        return;
    pthread_mutex_destroy(&vm->ioapic->lock);
    free(vm->ioapic);
    vm->ioapic = NULL;
}
