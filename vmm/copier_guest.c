/* SPDX-License-Identifier: MIT */
/* What the guest does to the copy engine: registers, invalidations, page responses, resets. */
#include "copier.h"
#include "vmm.h"
#include <string.h>
#include <viommu/dma.h>

#define PASID_MASK 0xfffffu

/* A register; without `get` it is write-only, without `set` read-only. Under the lock. */
struct copier_register {
    uint16_t offset;
    uint8_t size;
    uint64_t (*get)(const struct vmm_copier *copier);
    void (*set)(struct vmm_copier *copier, uint64_t value);
};

static uint64_t get_source(const struct vmm_copier *copier)
{
    return copier->job.source;
}

static void set_source(struct vmm_copier *copier, uint64_t value)
{
    copier->job.source = value;
}

static uint64_t get_destination(const struct vmm_copier *copier)
{
    return copier->job.destination;
}

static void set_destination(struct vmm_copier *copier, uint64_t value)
{
    copier->job.destination = value;
}

static uint64_t get_length(const struct vmm_copier *copier)
{
    return copier->job.length;
}

static void set_length(struct vmm_copier *copier, uint64_t value)
{
    copier->job.length = value;
}

static uint64_t get_done(const struct vmm_copier *copier)
{
    return copier->done;
}

static uint64_t get_fault_address(const struct vmm_copier *copier)
{
    return copier->fault_address;
}

static void set_command(struct vmm_copier *copier, uint64_t value)
{
    if (copier->busy || !(value & VMM_COPIER_START))
        return;
    copier->job.command = (uint32_t)value;
    copier->job.pasid =
        copier->pasid & VMM_COPIER_PASID_VALID ? copier->pasid & PASID_MASK : VIOMMU_PASID_NONE;
    copier->done = 0;
    copier->fault_address = 0;
    copier->result = VMM_COPIER_OK;
    copier->busy = true;
    pthread_cond_broadcast(&copier->changed);
}

static uint64_t get_status(const struct vmm_copier *copier)
{
    uint32_t status = copier->busy ? VMM_COPIER_BUSY : 0;

    if (copier->group.outstanding)
        status |= VMM_COPIER_WAITING;
    return status | (uint32_t)copier->result << VMM_COPIER_RESULT_SHIFT;
}

static uint64_t get_translations(const struct vmm_copier *copier)
{
    return copier->translations;
}

static uint64_t get_hits(const struct vmm_copier *copier)
{
    return copier->hits;
}

static uint64_t get_page_requests(const struct vmm_copier *copier)
{
    return __atomic_load_n(&copier->page_requests, __ATOMIC_RELAXED);
}

static uint64_t get_responses(const struct vmm_copier *copier)
{
    return copier->responses;
}

static uint64_t get_invalidations(const struct vmm_copier *copier)
{
    return copier->invalidations;
}

static uint64_t get_pasid(const struct vmm_copier *copier)
{
    return copier->pasid;
}

static void set_pasid(struct vmm_copier *copier, uint64_t value)
{
    copier->pasid = (uint32_t)value & (VMM_COPIER_PASID_VALID | PASID_MASK);
}

static void set_stop(struct vmm_copier *copier, uint64_t value)
{
    (void)value;
    copier->stopping = copier->busy;
    pthread_cond_broadcast(&copier->changed);
}

static const struct copier_register copier_registers[] = {
    {VMM_COPIER_SOURCE, 8, get_source, set_source},
    {VMM_COPIER_DESTINATION, 8, get_destination, set_destination},
    {VMM_COPIER_LENGTH, 8, get_length, set_length},
    {VMM_COPIER_DONE, 8, get_done, NULL},
    {VMM_COPIER_FAULT_ADDRESS, 8, get_fault_address, NULL},
    {VMM_COPIER_COMMAND, 4, NULL, set_command},
    {VMM_COPIER_STATUS, 4, get_status, NULL},
    {VMM_COPIER_TRANSLATIONS, 4, get_translations, NULL},
    {VMM_COPIER_HITS, 4, get_hits, NULL},
    {VMM_COPIER_PAGE_REQUESTS, 4, get_page_requests, NULL},
    {VMM_COPIER_RESPONSES, 4, get_responses, NULL},
    {VMM_COPIER_INVALIDATIONS, 4, get_invalidations, NULL},
    {VMM_COPIER_PASID, 4, get_pasid, set_pasid},
    {VMM_COPIER_STOP, 4, NULL, set_stop},
};

static const struct copier_register *find_register(uint64_t offset, unsigned int size)
{
    for (size_t i = 0; i < sizeof(copier_registers) / sizeof(copier_registers[0]); i++) {
        if (copier_registers[i].offset == offset && copier_registers[i].size == size)
            return &copier_registers[i];
    }
    return NULL;
}

uint64_t vmm_copier_read(struct vmm_copier *copier, uint64_t offset, unsigned int size)
{
    const struct copier_register *reg = find_register(offset, size);
    uint64_t value;

    if (!reg || !reg->get)
        return UINT64_MAX;
    pthread_mutex_lock(&copier->lock);
    value = reg->get(copier);
    pthread_mutex_unlock(&copier->lock);
    return value;
}

void vmm_copier_write(struct vmm_copier *copier, uint64_t offset, unsigned int size, uint64_t value)
{
    const struct copier_register *reg = find_register(offset, size);

    if (!reg || !reg->set)
        return;
    pthread_mutex_lock(&copier->lock);
    reg->set(copier, value);
    pthread_mutex_unlock(&copier->lock);
}

static bool access_is_in(const struct vmm_copier *copier, const struct vmm_atc_range *range)
{
    return copier->access.active &&
           vmm_atc_range_has(range, copier->access.pasid, copier->access.page);
}

void vmm_copier_invalidate(struct vmm_copier *copier, const struct vmm_atc_range *range)
{
    pthread_mutex_lock(&copier->lock);
    copier->invalidations++;
    vmm_atc_invalidate(&copier->atc, range);
    while (access_is_in(copier, range))
        pthread_cond_wait(&copier->changed, &copier->lock);
    pthread_mutex_unlock(&copier->lock);
}

void vmm_copier_forget_translations(struct vmm_copier *copier)
{
    pthread_mutex_lock(&copier->lock);
    vmm_atc_clear(&copier->atc);
    while (copier->access.active)
        pthread_cond_wait(&copier->changed, &copier->lock);
    pthread_mutex_unlock(&copier->lock);
}

void vmm_copier_forget_page_requests(struct vmm_copier *copier)
{
    pthread_mutex_lock(&copier->lock);
    copier->group.abandoned = true;
    pthread_cond_broadcast(&copier->changed);
    pthread_mutex_unlock(&copier->lock);
}

bool vmm_copier_is_quiet(struct vmm_copier *copier)
{
    bool quiet;

    pthread_mutex_lock(&copier->lock);
    quiet = !copier->group.outstanding;
    pthread_mutex_unlock(&copier->lock);
    return quiet;
}

void vmm_copier_page_response(struct vmm_copier *copier, uint32_t pasid, uint16_t group,
                              uint8_t code)
{
    pthread_mutex_lock(&copier->lock);
    if (!copier->group.outstanding || copier->group.answered || copier->group.index != group ||
        copier->job.pasid != pasid) {
        copier->ops->response_unexpected(copier);
    } else {
        copier->responses++;
        copier->group.answered = true;
        copier->group.code = code;
        if (code != VMM_COPIER_RESPONSE_SUCCESS && code != VMM_COPIER_RESPONSE_INVALID)
            copier->ops->response_failed(copier);
        pthread_cond_broadcast(&copier->changed);
    }
    pthread_mutex_unlock(&copier->lock);
}

void vmm_copier_reset(struct vmm_copier *copier)
{
    pthread_mutex_lock(&copier->lock);
    while (copier->busy) {
        copier->stopping = true;
        copier->group.abandoned = true;
        pthread_cond_broadcast(&copier->changed);
        pthread_cond_wait(&copier->changed, &copier->lock);
    }
    vmm_atc_clear(&copier->atc);
    memset(&copier->job, 0, sizeof(copier->job));
    copier->pasid = 0;
    copier->done = 0;
    copier->fault_address = 0;
    copier->result = VMM_COPIER_OK;
    copier->translations = 0;
    copier->hits = 0;
    copier->page_requests = 0;
    copier->responses = 0;
    copier->invalidations = 0;
    pthread_mutex_unlock(&copier->lock);
}
