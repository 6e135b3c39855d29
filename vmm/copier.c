/* SPDX-License-Identifier: MIT */
/* The copy engine's thread: translations, page requests, accesses. */
#include "copier.h"
#include "vmm.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include <viommu/dma.h>

#define GROUP_PAGES 4u      /* asked for at once */
#define TRIES       500u    /* for one page */
#define PAUSE_NS    1000000 /* before asking anew for what was granted and is not there */

/* One access of the job: at most a page, and what may follow it in the same direction. */
struct step {
    uint64_t address;
    uint64_t ahead; /* bytes that the job accesses from `address` on */
    size_t length;
    uint32_t pasid;
    uint8_t access; /* VIOMMU_DMA_READ or _WRITE */
};

static uint64_t page_of(uint64_t address)
{
    return address & ~(uint64_t)(VMM_ATC_PAGE_SIZE - 1);
}

static uint64_t to_page_end(uint64_t address)
{
    return VMM_ATC_PAGE_SIZE - address % VMM_ATC_PAGE_SIZE;
}

static int transfer(struct vmm_copier *copier, const struct step *step, bool translated,
                    uint64_t address)
{
    if (step->access == VIOMMU_DMA_WRITE)
        return copier->ops->write(copier, step->pasid, translated, address, copier->buffer,
                                  step->length);
    return copier->ops->read(copier, step->pasid, translated, address, copier->buffer,
                             step->length);
}

/* Whether the device TLB had the page; if so, the access is done, and *refused tells how it went.
 */
static bool access_cached(struct vmm_copier *copier, const struct step *step, bool *refused)
{
    const struct vmm_atc_entry *found;
    struct vmm_atc_entry entry;

    pthread_mutex_lock(&copier->lock);
    found = vmm_atc_find(&copier->atc, step->pasid, step->address);
    if (!found || !(found->permissions & step->access)) {
        pthread_mutex_unlock(&copier->lock);
        return false;
    }
    entry = *found;
    copier->hits++;
    copier->access.pasid = step->pasid;
    copier->access.page = entry.page;
    copier->access.active = true;
    pthread_mutex_unlock(&copier->lock);
    *refused = transfer(copier, step, !entry.untranslated,
                        entry.untranslated ? step->address
                                           : entry.translated + (step->address - entry.page));
    pthread_mutex_lock(&copier->lock);
    copier->access.active = false;
    pthread_cond_broadcast(&copier->changed);
    pthread_mutex_unlock(&copier->lock);
    return true;
}

/* 0 with what is granted, also nothing; kept when it is still good. */
static int ask_translation(struct vmm_copier *copier, const struct step *step, uint8_t *granted)
{
    struct vmm_atc_entry entry = {0};
    uint64_t generation;
    int ret;

    pthread_mutex_lock(&copier->lock);
    copier->translations++;
    generation = copier->atc.generation;
    pthread_mutex_unlock(&copier->lock);
    ret = copier->ops->translate(copier, step->pasid, step->address, step->access, &entry);
    if (ret)
        return ret;
    *granted = entry.permissions;
    entry.page = page_of(step->address);
    entry.pasid = step->pasid;
    pthread_mutex_lock(&copier->lock);
    if (entry.permissions)
        vmm_atc_insert(&copier->atc, generation, &entry);
    pthread_mutex_unlock(&copier->lock);
    return 0;
}

/* The pages that the job is about to need, as one group. Returns whether a response will come. */
static bool send_group(struct vmm_copier *copier, const struct step *step, uint32_t allowed,
                       uint16_t index)
{
    uint64_t first = page_of(step->address);
    uint64_t pages = (page_of(step->address + step->ahead - 1) - first) / VMM_ATC_PAGE_SIZE + 1;
    uint64_t count = pages < GROUP_PAGES ? pages : GROUP_PAGES;

    if (count > allowed)
        count = allowed;
    for (uint64_t i = 0; i < count; i++) {
        __atomic_fetch_add(&copier->page_requests, 1, __ATOMIC_RELAXED);
        if (copier->ops->page_request(copier, step->pasid, first + i * VMM_ATC_PAGE_SIZE,
                                      step->access, index, i + 1 == count))
            return false;
    }
    return true;
}

static enum vmm_copier_result take_response(struct vmm_copier *copier)
{
    if (!copier->group.answered)
        return VMM_COPIER_STOPPED;
    switch (copier->group.code) {
    case VMM_COPIER_RESPONSE_SUCCESS:
        return VMM_COPIER_OK;
    case VMM_COPIER_RESPONSE_INVALID:
        return VMM_COPIER_INVALID;
    default:
        return VMM_COPIER_FAILURE;
    }
}

/* Waits, since a request that was sent stays outstanding until it is answered or forgotten. */
static enum vmm_copier_result await_response(struct vmm_copier *copier, bool sent)
{
    enum vmm_copier_result result = VMM_COPIER_REFUSED;

    pthread_mutex_lock(&copier->lock);
    while (sent && !copier->group.answered && !copier->group.abandoned && !copier->ending)
        pthread_cond_wait(&copier->changed, &copier->lock);
    if (sent)
        result = take_response(copier);
    copier->group.outstanding = false;
    copier->ops->quiet(copier);
    pthread_mutex_unlock(&copier->lock);
    return result;
}

static enum vmm_copier_result request_pages(struct vmm_copier *copier, const struct step *step)
{
    uint32_t allowed = copier->ops->page_requests_allowed(copier);
    uint16_t index;

    if (!allowed)
        return VMM_COPIER_NOT_GRANTED;
    pthread_mutex_lock(&copier->lock);
    index = copier->group.index = (copier->group.index + 1) & 0x1ff;
    copier->group.outstanding = true;
    copier->group.answered = false;
    copier->group.abandoned = false;
    pthread_mutex_unlock(&copier->lock);
    return await_response(copier, send_group(copier, step, allowed, index));
}

/*
 * A page that was granted may be gone again; and a unit whose queue has overflowed tells the device
 * to try again. Neither is a reason to hurry.
 */
static void pause_before_retry(struct vmm_copier *copier)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += PAUSE_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&copier->lock);
    if (!copier->stopping && !copier->ending)
        pthread_cond_timedwait(&copier->changed, &copier->lock, &until);
    pthread_mutex_unlock(&copier->lock);
}

static bool is_stopping(struct vmm_copier *copier)
{
    bool stopping;

    pthread_mutex_lock(&copier->lock);
    stopping = copier->stopping || copier->ending;
    pthread_mutex_unlock(&copier->lock);
    return stopping;
}

static enum vmm_copier_result access_untranslated(struct vmm_copier *copier,
                                                  const struct step *step)
{
    return transfer(copier, step, false, step->address) ? VMM_COPIER_REFUSED : VMM_COPIER_OK;
}

static enum vmm_copier_result access_page(struct vmm_copier *copier, const struct step *step)
{
    enum vmm_copier_result result = VMM_COPIER_OK;
    unsigned int requests = 0;
    uint8_t granted = 0;
    bool refused;

    for (unsigned int i = 0; i < TRIES && !result; i++) {
        if (is_stopping(copier))
            return VMM_COPIER_STOPPED;
        if (!copier->ops->ats_enabled(copier))
            return access_untranslated(copier, step);
        if (access_cached(copier, step, &refused))
            return refused ? VMM_COPIER_REFUSED : VMM_COPIER_OK;
        if (ask_translation(copier, step, &granted))
            return VMM_COPIER_REFUSED;
        if (granted & step->access)
            continue;
        if (requests++)
            pause_before_retry(copier);
        result = request_pages(copier, step);
    }
    return result ? result : VMM_COPIER_GAVE_UP;
}

static void set_fault_address(struct vmm_copier *copier, uint64_t address)
{
    pthread_mutex_lock(&copier->lock);
    copier->fault_address = address;
    pthread_mutex_unlock(&copier->lock);
}

static enum vmm_copier_result access_step(struct vmm_copier *copier,
                                          const struct vmm_copier_job *job, uint64_t done,
                                          size_t length, uint8_t access)
{
    const struct step step = {
        .address = (access == VIOMMU_DMA_WRITE ? job->destination : job->source) + done,
        .ahead = job->length - done,
        .length = length,
        .pasid = job->pasid,
        .access = access,
    };
    enum vmm_copier_result result = access_page(copier, &step);

    if (result)
        set_fault_address(copier, step.address);
    return result;
}

/* Copies what lies in one page on both sides; returns its length. */
static size_t copy_piece(struct vmm_copier *copier, const struct vmm_copier_job *job, uint64_t done,
                         enum vmm_copier_result *result)
{
    uint64_t length = job->length - done;

    if (length > to_page_end(job->source + done))
        length = to_page_end(job->source + done);
    if (length > to_page_end(job->destination + done))
        length = to_page_end(job->destination + done);
    *result = access_step(copier, job, done, (size_t)length, VIOMMU_DMA_READ);
    if (!*result)
        *result = access_step(copier, job, done, (size_t)length, VIOMMU_DMA_WRITE);
    return (size_t)length;
}

static enum vmm_copier_result run_round(struct vmm_copier *copier, const struct vmm_copier_job *job)
{
    enum vmm_copier_result result = is_stopping(copier) ? VMM_COPIER_STOPPED : VMM_COPIER_OK;
    size_t piece;

    for (uint64_t done = 0; done < job->length && !result;) {
        piece = copy_piece(copier, job, done, &result);
        if (result)
            break;
        done += piece;
        pthread_mutex_lock(&copier->lock);
        copier->done = done;
        pthread_mutex_unlock(&copier->lock);
    }
    return result;
}

/* Neither side may wrap around the end of the address space. */
static bool job_is_good(const struct vmm_copier_job *job)
{
    return job->length <= UINT64_MAX - job->source && job->length <= UINT64_MAX - job->destination;
}

static enum vmm_copier_result run_job(struct vmm_copier *copier, const struct vmm_copier_job *job)
{
    enum vmm_copier_result result;

    if (job->pasid != VIOMMU_PASID_NONE && !copier->ops->pasid_enabled(copier))
        return VMM_COPIER_NO_PASID;
    if (!job_is_good(job))
        return VMM_COPIER_REFUSED;
    do {
        result = run_round(copier, job);
    } while (!result && (job->command & VMM_COPIER_REPEAT));
    return result;
}

static void *worker(void *opaque)
{
    struct vmm_copier *copier = opaque;
    enum vmm_copier_result result;
    struct vmm_copier_job job;

    pthread_mutex_lock(&copier->lock);
    while (!copier->ending) {
        if (!copier->busy) {
            pthread_cond_wait(&copier->changed, &copier->lock);
            continue;
        }
        job = copier->job;
        pthread_mutex_unlock(&copier->lock);
        result = run_job(copier, &job);
        pthread_mutex_lock(&copier->lock);
        copier->result = result;
        copier->busy = false;
        copier->stopping = false;
        pthread_cond_broadcast(&copier->changed);
        pthread_mutex_unlock(&copier->lock);
        if (job.command & VMM_COPIER_INTERRUPT)
            copier->ops->interrupt(copier);
        pthread_mutex_lock(&copier->lock);
    }
    pthread_mutex_unlock(&copier->lock);
    return NULL;
}

int vmm_copier_init(struct vmm_copier *copier, const struct vmm_copier_ops *ops,
                    struct viommu_error *err)
{
    int ret;

    memset(copier, 0, sizeof(*copier));
    copier->ops = ops;
    pthread_mutex_init(&copier->lock, NULL);
    pthread_cond_init(&copier->changed, NULL);
    ret = pthread_create(&copier->thread, NULL, worker, copier);
    copier->started = !ret;
    if (ret) {
        vmm_copier_fini(copier);
        return vmm_fail(err, ret, "cannot start the thread of a copy engine: %s", strerror(ret));
    }
    return 0;
}

void vmm_copier_stop(struct vmm_copier *copier)
{
    if (!copier->started)
        return;
    pthread_mutex_lock(&copier->lock);
    copier->ending = true;
    pthread_cond_broadcast(&copier->changed);
    pthread_mutex_unlock(&copier->lock);
    pthread_join(copier->thread, NULL);
    copier->started = false;
}

void vmm_copier_fini(struct vmm_copier *copier)
{
    vmm_copier_stop(copier);
    pthread_cond_destroy(&copier->changed);
    pthread_mutex_destroy(&copier->lock);
}
