/* SPDX-License-Identifier: MIT */
/* Source for registers: Intel 82093AA data sheet, chapter 3; ICH9 data sheet, 13.5 (EOIR). */
#include "ioapic.h"
#include "irq.h"
#include "vmm.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

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

struct ioapic_pin {
    uint64_t rte;
    bool level;          /* the input line */
    bool edge_pending;   /* a rising edge that has not been sent */
    uint64_t routed_rte; /* what KVM was told last, 0 when the pin was not level-triggered */
};

struct vmm_ioapic {
    struct vmm *vm;
    pthread_mutex_t lock;
    uint32_t select;
    uint32_t id;
    struct ioapic_pin pins[VMM_GSI_COUNT];
    struct kvm_irq_routing *routing;
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

/*
 * KVM learns from the routes of the first 24 GSIs which vectors are level-triggered, so that their
 * EOI exits to us. Setting routes is slow, hence only when a level-triggered entry changed.
 */
static void ioapic_update_routes(struct vmm_ioapic *ioapic, struct ioapic_pin *changed)
{
    const uint64_t relevant = ~(RTE_READ_ONLY | RTE_MASKED);
    uint64_t route = changed->rte & RTE_LEVEL ? changed->rte & relevant : 0;
    struct kvm_irq_routing_entry *entry;
    unsigned int i;

    if (route == changed->routed_rte)
        return;
    changed->routed_rte = route;
    ioapic->routing->nr = VMM_GSI_COUNT;
    for (i = 0; i < VMM_GSI_COUNT; i++) {
        entry = &ioapic->routing->entries[i];
        *entry = (struct kvm_irq_routing_entry){.gsi = i, .type = KVM_IRQ_ROUTING_MSI};
        route = ioapic->pins[i].routed_rte;
        entry->u.msi.address_lo = (uint32_t)rte_address(route);
        entry->u.msi.data = rte_data(route);
    }
    if (ioctl(ioapic->vm->vm_fd, KVM_SET_GSI_ROUTING, ioapic->routing) < 0)
        vmm_stop_error(ioapic->vm, "KVM_SET_GSI_ROUTING failed: %s", strerror(errno));
}

static void ioapic_service(struct vmm_ioapic *ioapic, struct ioapic_pin *pin)
{
    if (pin->rte & RTE_MASKED)
        return;
    if (pin->rte & RTE_LEVEL) {
        if (!pin->level || (pin->rte & RTE_REMOTE_IRR))
            return;
        pin->rte |= RTE_REMOTE_IRR;
    } else if (!pin->edge_pending) {
        return;
    }
    pin->edge_pending = false;
    vmm_irq_msi(ioapic->vm, rte_address(pin->rte), rte_data(pin->rte), VMM_IOAPIC_REQUESTER_ID);
}

static void ioapic_set_rte(struct vmm_ioapic *ioapic, struct ioapic_pin *pin, uint64_t value)
{
    pin->rte = (value & ~RTE_READ_ONLY) | (pin->rte & RTE_READ_ONLY);
    if (!(pin->rte & RTE_LEVEL))
        pin->rte &= ~RTE_REMOTE_IRR;
    ioapic_update_routes(ioapic, pin);
    ioapic_service(ioapic, pin);
}

static void ioapic_end_of_interrupt(struct vmm_ioapic *ioapic, uint8_t vector)
{
    struct ioapic_pin *pin;
    unsigned int i;

    for (i = 0; i < VMM_GSI_COUNT; i++) {
        pin = &ioapic->pins[i];
        if ((pin->rte & RTE_VECTOR) != vector || !(pin->rte & RTE_REMOTE_IRR))
            continue;
        pin->rte &= ~RTE_REMOTE_IRR;
        ioapic_service(ioapic, pin);
    }
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
    pthread_mutex_lock(&ioapic->lock);
    if (offset == REG_SELECT)
        ioapic->select = value & 0xff;
    else if (offset == REG_WINDOW)
        ioapic_write_index(ioapic, (uint32_t)value);
    else if (offset == REG_EOI)
        ioapic_end_of_interrupt(ioapic, (uint8_t)value);
    pthread_mutex_unlock(&ioapic->lock);
}

static const struct vmm_bus_ops ioapic_bus_ops = {ioapic_read, ioapic_write};

void vmm_ioapic_eoi(struct vmm_ioapic *ioapic, uint8_t vector)
{
    pthread_mutex_lock(&ioapic->lock);
    ioapic_end_of_interrupt(ioapic, vector);
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
        ioapic->pins[i].routed_rte = 0;
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
    ioapic->routing =
        calloc(1, sizeof(*ioapic->routing) + VMM_GSI_COUNT * sizeof(ioapic->routing->entries[0]));
    if (!ioapic->routing)
        return vmm_fail(err, ENOMEM, "out of memory for the IOAPIC's routes");
    return vmm_bus_add(&vm->mmio, VMM_IOAPIC_BASE, REGION_SIZE, &ioapic_bus_ops, ioapic);
}

void vmm_ioapic_destroy(struct vmm *vm)
{
    if (!vm->ioapic)
        return;
    pthread_mutex_destroy(&vm->ioapic->lock);
    free(vm->ioapic->routing);
    free(vm->ioapic);
    vm->ioapic = NULL;
}
