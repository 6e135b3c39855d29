/* SPDX-License-Identifier: MIT */
/* A remapping unit as a whole: its making, its end, its reset, and its table of operations. */
#include "model/vtd/vtd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/rcu.h"
#include "model/vtd/sanitize.h"

static void free_functions(struct vtd *vtd)
{
    struct vtd_function *function, *next;

    for (function = vtd->all_functions; function; function = next) {
        next = function->next;
        viommu_dma_space_destroy(function->space);
        free(function);
    }
    for (unsigned int bus = 0; bus < 256; bus++)
        free(vtd->functions[bus]);
}

static void free_unit(struct vtd *vtd)
{
    free_functions(vtd);
    pthread_mutex_destroy(&vtd->functions_lock);
    pthread_mutex_destroy(&vtd->fault_lock);
    pthread_mutex_destroy(&vtd->tlb_lock);
    pthread_mutex_destroy(&vtd->prq_lock);
    pthread_mutex_destroy(&vtd->lock);
    free(vtd);
}

static void vtd_destroy(struct viommu *viommu)
{
    struct vtd *vtd = vtd_of(viommu);

    vtd_nest_destroy(vtd);
    vtd_sanitize_destroy(vtd);
    vtd_tlb_destroy(vtd);
    vtd_invalidate_destroy(vtd);
    free_unit(vtd);
}

static void vtd_reset(struct viommu *viommu)
{
    struct vtd *vtd = vtd_of(viommu);

    pthread_mutex_lock(&vtd->lock);
    vtd_work_refill(vtd);
    vtd->root = 0;
    __atomic_store_n(&vtd->translation, 0, __ATOMIC_RELEASE);
    rcu_publish(vtd->protected, NULL);
    pthread_mutex_lock(&vtd->fault_lock);
    vtd_registers_reset(vtd);
    vtd->fault_next = 0;
    pthread_mutex_unlock(&vtd->fault_lock);
    vtd_interrupt_reset(vtd);
    vtd_tlb_reset(vtd);
    vtd_invalidate_everything(vtd);
    vtd_nest_replay(vtd);
    vtd_nest_commit(vtd);
    pthread_mutex_unlock(&vtd->lock);
}

static uint64_t vtd_get_cap(const struct viommu *viommu)
{
    return vtd_options_viommu_cap(&((const struct vtd *)viommu)->options);
}

static uint64_t vtd_mmio_size(const struct viommu *viommu)
{
    return vtd_options_mmio_size(&((const struct vtd *)viommu)->options);
}

static uint64_t count_walks(const struct vtd *vtd)
{
    const struct vtd_function *function;
    uint64_t walks = 0;

    for (function = rcu_read(vtd->all_functions); function; function = function->next)
        walks += __atomic_load_n(&function->walks, __ATOMIC_RELAXED);
    return walks;
}

static void vtd_get_stats(const struct viommu *viommu, struct viommu_stats *stats)
{
    const struct vtd *vtd = (const struct vtd *)viommu;
    size_t size = stats->size < sizeof(*stats) ? stats->size : sizeof(*stats);
    const uint64_t *from = (const uint64_t *)&vtd->stats;
    uint64_t *to = (uint64_t *)stats;

    if (stats->size > size) /* a newer caller's counters, that this library does not count */
        memset((char *)stats + size, 0, stats->size - size);
    for (size_t i = offsetof(struct viommu_stats, walks) / sizeof(*to); i < size / sizeof(*to); i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    if (size >= offsetof(struct viommu_stats, walks) + sizeof(stats->walks))
        stats->walks = count_walks(vtd);
}

static unsigned int vtd_forward_page_requests(struct viommu *viommu, unsigned int limit)
{
    struct vtd *vtd = vtd_of(viommu);
    unsigned int count;

    pthread_mutex_lock(&vtd->lock);
    vtd_work_refill(vtd);
    count = vtd_nest_forward(vtd, limit);
    pthread_mutex_unlock(&vtd->lock);
    return count;
}

static int vtd_page_request_descriptor(const struct viommu *viommu)
{
    return vtd_nest_descriptor((const struct vtd *)viommu);
}

static const struct viommu_model_ops vtd_ops = {
    .name = "vtd",
    .mmio_size = vtd_mmio_size,
    .destroy = vtd_destroy,
    .reset = vtd_reset,
    .mmio_read = vtd_mmio_read,
    .mmio_write = vtd_mmio_write,
    .get_cap = vtd_get_cap,
    .get_stats = vtd_get_stats,
    .interrupt_send = vtd_interrupt_send,
    .interrupt_set_listener = vtd_interrupt_set_listener,
    .page_request_descriptor = vtd_page_request_descriptor,
    .forward_page_requests = vtd_forward_page_requests,
    .pci_ops = &vtd_pci_ops,
};

static struct vtd *new_unit(const struct viommu_vtd_options *options)
{
    struct vtd *vtd = calloc(1, sizeof(*vtd));

    if (!vtd)
        return NULL;
    vtd->base.ops = &vtd_ops;
    vtd->base.segment = options->segment;
    vtd->options = *options;
    vtd->cap = vtd_options_cap(options);
    vtd->ecap = vtd_options_ecap(options);
    vtd->stats.size = sizeof(vtd->stats);
    pthread_mutex_init(&vtd->lock, NULL);
    pthread_mutex_init(&vtd->fault_lock, NULL);
    pthread_mutex_init(&vtd->tlb_lock, NULL);
    pthread_mutex_init(&vtd->prq_lock, NULL);
    pthread_mutex_init(&vtd->functions_lock, NULL);
    vtd_registers_reset(vtd);
    return vtd;
}

int viommu_vtd_create(struct viommu **out, const struct viommu_vtd_options *options,
                      struct viommu_error *error)
{
    struct viommu_vtd_options copy;
    struct vtd *vtd;
    int ret;

    ret = error_copy_options(&copy, sizeof(copy), options, "struct viommu_vtd_options", error);
    if (!ret)
        ret = vtd_options_check(&copy, error);
    if (ret)
        return ret;

    vtd = new_unit(&copy);
    if (!vtd)
        return error_set(error, -ENOMEM, "no memory for a VT-d unit of %zu bytes", sizeof(*vtd));
    ret = vtd_invalidate_create(vtd);
    if (ret)
        goto free_vtd;
    ret = vtd_sanitize_create(vtd);
    if (ret)
        goto free_pending;
    ret = vtd_nest_create(vtd);
    if (ret)
        goto free_sanitizer;
    *out = &vtd->base;
    return 0;

free_sanitizer:
    vtd_sanitize_destroy(vtd);
free_pending:
    vtd_invalidate_destroy(vtd);
free_vtd:
    free_unit(vtd);
    return error_set(error, ret, "no memory for the queues of a VT-d unit");
}
