/* SPDX-License-Identifier: MIT */
/* Interrupts of a VFIO device: from the host's eventfds to the guest. */
#include "pci_internal.h"
#include "routes.h"
#include "vfio.h"
#include "vmm.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct vmm_vfio *vfio_of_irqs(struct vmm_vfio_irqs *irqs)
{
    return vmm_container_of(irqs, struct vmm_vfio, irqs);
}

/* ---- One vector: to the loop, or to KVM */

static void vector_ready(void *opaque)
{
    struct vmm_vfio_vector *vector = opaque;

    if (vmm_vfio_event_take(vector->event))
        vmm_pci_notify(&vector->vfio->fn, vector->number);
}

static void take_from_kvm(struct vmm_vfio_vector *vector)
{
    struct vmm *vm = vector->vfio->fn.vm;

    if (vector->gsi < 0)
        return;
    vector->vfio->kernel->irqfd(vm->vm_fd, vector->event, vector->gsi, false);
    vmm_routes_release(vm, vector->gsi);
    vector->gsi = -1;
}

static void to_loop(struct vmm_vfio_vector *vector)
{
    struct vmm *vm = vector->vfio->fn.vm;
    int ret = 0;

    take_from_kvm(vector);
    if (!vector->watch)
        ret = vmm_loop_add(vm->loop, vector->event, vector_ready, vector, &vector->watch, NULL);
    if (ret)
        vmm_vfio_complain(vector->vfio, VMM_VFIO_NO_WATCH, ret);
}

/* A GSI with the vector's route; false, and nothing done, when there is none to be had. */
static bool set_new_route(struct vmm_vfio_vector *vector, uint64_t address, uint32_t data)
{
    struct vmm *vm = vector->vfio->fn.vm;
    int gsi = vmm_routes_take(vm);

    if (gsi < 0)
        return false;
    vmm_routes_set(vm, gsi, address, data);
    if (vmm_routes_commit(vm) &&
        !vector->vfio->kernel->irqfd(vm->vm_fd, vector->event, gsi, true)) {
        vector->gsi = gsi;
        return true;
    }
    vmm_routes_release(vm, gsi);
    return false;
}

/* Where KVM cannot, the loop does it. */
static void to_kvm(struct vmm_vfio_vector *vector, uint64_t address, uint32_t data)
{
    struct vmm *vm = vector->vfio->fn.vm;

    if (vector->gsi >= 0 && vector->address == address && vector->data == data)
        return;
    if (vector->gsi >= 0) {
        vmm_routes_set(vm, vector->gsi, address, data);
        if (!vmm_routes_commit(vm)) {
            to_loop(vector);
            return;
        }
    } else {
        vmm_loop_remove(vm->loop, vector->watch);
        vector->watch = NULL;
        if (!set_new_route(vector, address, data)) {
            to_loop(vector);
            return;
        }
    }
    vector->address = address;
    vector->data = data;
}

static void direct_vector(struct vmm_vfio_vector *vector)
{
    struct vmm_pci_function *fn = &vector->vfio->fn;
    struct vmm_pci_message message = vmm_pci_message(fn, vector->number);

    if (message.state == VMM_PCI_MESSAGE_ON &&
        vmm_irq_lookup(fn->viommu, &message.address, &message.data))
        to_kvm(vector, message.address, message.data);
    else
        to_loop(vector);
}

static void drop_vector(struct vmm_vfio_vector *vector)
{
    struct vmm *vm = vector->vfio->fn.vm;

    if (vector->event < 0)
        return;
    take_from_kvm(vector);
    vmm_loop_remove(vm->loop, vector->watch);
    vector->watch = NULL;
    vmm_vfio_event_close(&vector->event);
}

/* ---- What the host has allocated */

static void gather_events(const struct vmm_vfio_irqs *irqs, unsigned int count, int *events)
{
    for (unsigned int i = 0; i < count; i++)
        events[i] = irqs->vectors[i].event;
}

/* Enable the first `count` vectors, of which some may have no eventfd yet. */
static int enable_vectors(struct vmm_vfio *vfio, unsigned int index, unsigned int count)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    int *events = calloc(count ? count : 1, sizeof(*events));
    int ret;

    if (!events)
        return -ENOMEM;
    gather_events(irqs, count, events);
    ret = vmm_vfio_set_irqs(vfio, index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, count, events);
    free(events);
    if (!ret)
        irqs->enabled = count;
    return ret;
}

/*
 * As many of the first `wanted` vectors as are to be had, which are at least one. Their number
 * stays until the mode is left: to get more, interrupts would have to be switched off, and those
 * that come meanwhile be lost.
 */
static int enable_most(struct vmm_vfio *vfio, unsigned int index, unsigned int wanted)
{
    unsigned int count = wanted;
    int ret = enable_vectors(vfio, index, count);

    while (ret && count > 1) {
        count = ret > 0 && (unsigned int)ret < count ? (unsigned int)ret : count / 2;
        ret = enable_vectors(vfio, index, count);
    }
    return ret > 0 ? -ENOSPC : ret;
}

/* A host that can give more later gives one at a time: its own vectors are few. */
static int enable_msix(struct vmm_vfio *vfio)
{
    return enable_most(vfio, VFIO_PCI_MSIX_IRQ_INDEX,
                       vfio->irqs.can_grow ? 1 : vfio->fn.msix.count);
}

static int tell_host(struct vmm_vfio *vfio, unsigned int vector)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    int ret;

    if (!irqs->enabled) {
        ret = enable_msix(vfio);
        if (ret || vector < irqs->enabled)
            return ret;
    }
    if (vector >= irqs->enabled && !irqs->can_grow)
        return -ENOSPC;
    ret = vmm_vfio_set_irqs(vfio, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, vector, 1,
                            &irqs->vectors[vector].event);
    return ret > 0 ? -ENOSPC : ret;
}

/* MSI-X: vectors are had as the guest first uses them. */
static void use_vector(struct vmm_vfio *vfio, unsigned int number)
{
    struct vmm_vfio_vector *vector = &vfio->irqs.vectors[number];
    int ret;

    if (vector->event >= 0 || vmm_pci_message(&vfio->fn, number).state != VMM_PCI_MESSAGE_ON)
        return;
    vector->event = vmm_vfio_event();
    ret = vector->event < 0 ? -errno : tell_host(vfio, number);
    if (!ret)
        return;
    vmm_vfio_complain(vfio, VMM_VFIO_NO_MSIX, ret);
    vmm_vfio_event_close(&vector->event);
}

/* ---- INTx: masked by the host when it comes, until the guest has served it */

static void intx_ready(void *opaque)
{
    struct vmm_vfio *vfio = opaque;

    if (vmm_vfio_event_take(vfio->irqs.intx_event))
        vmm_pci_set_intx(&vfio->fn, true);
}

static int set_intx_events(struct vmm_vfio *vfio)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    int ret;

    ret = vmm_vfio_set_irqs(vfio, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1,
                            &irqs->intx_event);
    if (!ret)
        ret = vmm_vfio_set_irqs(vfio, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1,
                                &irqs->intx_unmask);
    return ret;
}

static void disable_intx(struct vmm_vfio *vfio)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;

    vmm_vfio_disable_irqs(vfio, VFIO_PCI_INTX_IRQ_INDEX);
    vmm_loop_remove(vfio->fn.vm->loop, irqs->intx_watch);
    irqs->intx_watch = NULL;
    vmm_pci_intx_until_served(&vfio->fn, 0);
    vmm_pci_set_intx(&vfio->fn, false);
    vmm_vfio_event_close(&irqs->intx_event);
    vmm_vfio_event_close(&irqs->intx_unmask);
}

static int enable_intx(struct vmm_vfio *vfio)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    int ret;

    irqs->intx_event = vmm_vfio_event();
    irqs->intx_unmask = vmm_vfio_event();
    if (irqs->intx_event < 0 || irqs->intx_unmask < 0)
        return -errno;
    vmm_pci_intx_until_served(&vfio->fn, irqs->intx_unmask);
    ret = vmm_loop_add(vfio->fn.vm->loop, irqs->intx_event, intx_ready, vfio, &irqs->intx_watch,
                       NULL);
    return ret ? ret : set_intx_events(vfio);
}

/* ---- Modes */

static void complain_of_few(struct vmm_vfio *vfio, unsigned int had, unsigned int wanted)
{
    char reason[32];

    snprintf(reason, sizeof(reason), "%u of %u", had, wanted);
    vmm_vfio_complain_of(vfio, VMM_VFIO_FEW_MSI, reason);
}

/* Those that the host has are vectors of the same number; the guest was promised all. */
static int enable_msi(struct vmm_vfio *vfio)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    unsigned int count = 0;
    int ret;

    while (count < irqs->count && vmm_pci_message(&vfio->fn, count).state != VMM_PCI_MESSAGE_OFF) {
        irqs->vectors[count].event = vmm_vfio_event();
        if (irqs->vectors[count].event < 0)
            return -errno;
        count++;
    }
    ret = enable_most(vfio, VFIO_PCI_MSI_IRQ_INDEX, count);
    if (!ret && irqs->enabled < count)
        complain_of_few(vfio, irqs->enabled, count);
    return ret;
}

static void leave_mode(struct vmm_vfio *vfio)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;

    if (irqs->mode == VMM_VFIO_INTX)
        disable_intx(vfio);
    else if (irqs->mode != VMM_VFIO_NONE)
        vmm_vfio_disable_irqs(vfio, irqs->mode == VMM_VFIO_MSI ? VFIO_PCI_MSI_IRQ_INDEX
                                                               : VFIO_PCI_MSIX_IRQ_INDEX);
    for (unsigned int i = 0; i < irqs->count; i++)
        drop_vector(&irqs->vectors[i]);
    irqs->enabled = 0;
    irqs->mode = VMM_VFIO_NONE;
}

static enum vmm_vfio_mode wanted_mode(struct vmm_vfio *vfio)
{
    struct vmm_pci_function *fn = &vfio->fn;

    if (vfio->irqs.closed)
        return VMM_VFIO_NONE;
    if (vmm_pci_msix_enabled(fn))
        return VMM_VFIO_MSIX;
    if (vmm_pci_msi_enabled(fn))
        return VMM_VFIO_MSI;
    return fn->id.interrupt_pin ? VMM_VFIO_INTX : VMM_VFIO_NONE;
}

static void set_mode(struct vmm_vfio *vfio, enum vmm_vfio_mode mode)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    int ret = 0;

    if (irqs->mode == mode)
        return;
    leave_mode(vfio);
    irqs->mode = mode;
    if (mode == VMM_VFIO_INTX)
        ret = enable_intx(vfio);
    else if (mode == VMM_VFIO_MSI)
        ret = enable_msi(vfio);
    else if (mode == VMM_VFIO_MSIX)
        ret = enable_msix(vfio); /* the device is in this mode before a vector is used */
    if (!ret)
        return;
    vmm_vfio_complain(vfio,
                      mode == VMM_VFIO_INTX  ? VMM_VFIO_NO_INTX
                      : mode == VMM_VFIO_MSI ? VMM_VFIO_NO_MSI
                                             : VMM_VFIO_NO_MSIX,
                      ret);
    leave_mode(vfio);
    irqs->mode = mode; /* not tried again until the guest chooses another one */
}

static void refresh(struct vmm_vfio *vfio, unsigned int first, unsigned int count)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;

    for (unsigned int i = first; i < irqs->count && i - first < count; i++) {
        if (irqs->mode == VMM_VFIO_MSIX)
            use_vector(vfio, i);
        if (irqs->vectors[i].event >= 0)
            direct_vector(&irqs->vectors[i]);
    }
}

void vmm_vfio_messages_changed(struct vmm_pci_function *fn, unsigned int first, unsigned int count)
{
    struct vmm_vfio *vfio = vmm_vfio_of(fn);

    pthread_mutex_lock(&vfio->irqs.lock);
    set_mode(vfio, wanted_mode(vfio));
    refresh(vfio, first, count);
    pthread_mutex_unlock(&vfio->irqs.lock);
}

static void remapping_changed(struct vmm_irq_listener *listener)
{
    struct vmm_vfio_irqs *irqs = vmm_container_of(listener, struct vmm_vfio_irqs, listener);

    pthread_mutex_lock(&irqs->lock);
    refresh(vfio_of_irqs(irqs), 0, irqs->count);
    pthread_mutex_unlock(&irqs->lock);
}

void vmm_vfio_irqs_disable(struct vmm_vfio *vfio)
{
    pthread_mutex_lock(&vfio->irqs.lock);
    leave_mode(vfio);
    pthread_mutex_unlock(&vfio->irqs.lock);
}

/* ---- All of it */

static int create_vectors(struct vmm_vfio *vfio, struct viommu_error *err)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    const struct vmm_pci_function *fn = &vfio->fn;

    irqs->count = vmm_pci_message_count(fn);
    irqs->vectors = calloc(irqs->count ? irqs->count : 1, sizeof(*irqs->vectors));
    if (!irqs->vectors) {
        irqs->count = 0;
        return vmm_fail(err, ENOMEM, "out of memory for the interrupts of %s", vfio->name);
    }
    for (unsigned int i = 0; i < irqs->count; i++)
        irqs->vectors[i] =
            (struct vmm_vfio_vector){.vfio = vfio, .number = i, .event = -1, .gsi = -1};
    return 0;
}

int vmm_vfio_irqs_create(struct vmm_vfio *vfio, struct viommu_error *err)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    uint32_t flags = VFIO_IRQ_INFO_NORESIZE;
    int ret;

    ret = create_vectors(vfio, err);
    if (ret)
        return ret;
    if (!vmm_vfio_irq_count(vfio, VFIO_PCI_INTX_IRQ_INDEX, &flags))
        vfio->fn.id.interrupt_pin = vfio->fn.config[PCI_REG_INTERRUPT_PIN] = 0;
    flags = VFIO_IRQ_INFO_NORESIZE;
    vmm_vfio_irq_count(vfio, VFIO_PCI_MSIX_IRQ_INDEX, &flags);
    irqs->can_grow = !(flags & VFIO_IRQ_INFO_NORESIZE);
    irqs->listener.changed = remapping_changed;
    vmm_irq_listener_add(vfio->fn.vm, &irqs->listener);
    return 0;
}

void vmm_vfio_irqs_destroy(struct vmm_vfio *vfio)
{
    struct vmm_vfio_irqs *irqs = &vfio->irqs;
    struct vmm *vm = vfio->fn.vm;

    vmm_irq_listener_remove(vm, &irqs->listener);
    pthread_mutex_lock(&irqs->lock);
    leave_mode(vfio);
    irqs->closed = true;
    irqs->count = 0;
    pthread_mutex_unlock(&irqs->lock);
    free(irqs->vectors);
    irqs->vectors = NULL;
}
