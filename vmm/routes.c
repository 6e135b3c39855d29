/* SPDX-License-Identifier: MIT */
#include "routes.h"
#include "irq.h"
#include "vmm.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define ROUTES_MAX 4096u /* KVM_MAX_IRQ_ROUTES; GSIs are below it, too */

struct route {
    uint64_t address;
    uint32_t data;
    bool taken;
    bool set;
};

struct vmm_routes {
    pthread_mutex_t lock;
    unsigned int end; /* no GSI from here on is taken */
    struct route routes[ROUTES_MAX];
    struct kvm_irq_routing *table;
};

int vmm_routes_create(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_routes *routes = calloc(1, sizeof(*routes));

    if (!routes)
        return vmm_fail(err, ENOMEM, "out of memory for interrupt routes");
    vm->routes = routes;
    pthread_mutex_init(&routes->lock, NULL);
    routes->end = VMM_GSI_COUNT;
    for (unsigned int i = 0; i < VMM_GSI_COUNT; i++)
        routes->routes[i] = (struct route){.address = VMM_LAPIC_BASE, .taken = true, .set = true};
    routes->table =
        calloc(1, sizeof(*routes->table) + ROUTES_MAX * sizeof(routes->table->entries[0]));
    if (!routes->table)
        return vmm_fail(err, ENOMEM, "out of memory for interrupt routes");
    return 0;
}

void vmm_routes_destroy(struct vmm *vm)
{
    if (!vm->routes)
        return;
    pthread_mutex_destroy(&vm->routes->lock);
    free(vm->routes->table);
    free(vm->routes);
    vm->routes = NULL;
}

static void set_route(struct vmm_routes *routes, unsigned int gsi, uint64_t address, uint32_t data)
{
    pthread_mutex_lock(&routes->lock);
    routes->routes[gsi].address = address;
    routes->routes[gsi].data = data;
    routes->routes[gsi].set = true;
    pthread_mutex_unlock(&routes->lock);
}

void vmm_routes_set_line(struct vmm *vm, unsigned int gsi, uint64_t address, uint32_t data)
{
    set_route(vm->routes, gsi, data ? address : VMM_LAPIC_BASE, data);
}

void vmm_routes_set(struct vmm *vm, int gsi, uint64_t address, uint32_t data)
{
    set_route(vm->routes, (unsigned int)gsi, address, data);
}

int vmm_routes_take(struct vmm *vm)
{
    struct vmm_routes *routes = vm->routes;
    unsigned int gsi = VMM_GSI_COUNT;

    pthread_mutex_lock(&routes->lock);
    while (gsi < routes->end && routes->routes[gsi].taken)
        gsi++;
    if (gsi < ROUTES_MAX) {
        routes->routes[gsi] = (struct route){.taken = true};
        routes->end = gsi == routes->end ? gsi + 1 : routes->end;
    }
    pthread_mutex_unlock(&routes->lock);
    return gsi < ROUTES_MAX ? (int)gsi : -ENOSPC;
}

void vmm_routes_release(struct vmm *vm, int gsi)
{
    struct vmm_routes *routes = vm->routes;

    pthread_mutex_lock(&routes->lock);
    routes->routes[gsi] = (struct route){0};
    while (routes->end > VMM_GSI_COUNT && !routes->routes[routes->end - 1].taken)
        routes->end--;
    pthread_mutex_unlock(&routes->lock);
}

static void fill_entry(struct kvm_irq_routing_entry *entry, uint32_t gsi, const struct route *route)
{
    *entry = (struct kvm_irq_routing_entry){.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI};
    entry->u.msi.address_lo = (uint32_t)route->address;
    entry->u.msi.address_hi = (uint32_t)(route->address >> 32);
    entry->u.msi.data = route->data;
}

bool vmm_routes_commit(struct vmm *vm)
{
    struct vmm_routes *routes = vm->routes;
    struct kvm_irq_routing *table = routes->table;
    bool done;

    pthread_mutex_lock(&routes->lock);
    table->nr = 0;
    for (unsigned int gsi = 0; gsi < routes->end; gsi++)
        if (routes->routes[gsi].set)
            fill_entry(&table->entries[table->nr++], gsi, &routes->routes[gsi]);
    done = ioctl(vm->vm_fd, KVM_SET_GSI_ROUTING, table) == 0;
    pthread_mutex_unlock(&routes->lock);
    return done;
}
