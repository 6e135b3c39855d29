/* SPDX-License-Identifier: MIT */
/*
 * Page requests of assigned devices: from the host's fault queue into the guest's page request
 * queue, and the guest's answers back.
 *
 * Each device has a fault queue of its own, which its nested HWPTs deliver to. The host answers
 * itself what is outstanding when an attachment ends; what we remember of it is forgotten then.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "model/vtd/nest.h"

/* Groups that the guest has not answered yet: as many as there are group indices. */
#define GROUPS_MAX 512
/* Requests that are read from the host at a time. */
#define BATCH 32

struct outstanding {
    uint32_t pasid;
    uint16_t group;
    uint32_t cookie;
};

struct nest_requests {
    uint32_t queue_id;
    int descriptor; /* of the queue's */
    bool suspended;
    unsigned int count;
    struct outstanding groups[GROUPS_MAX];
};

static void say(const struct vtd_assigned *assigned, enum viommu_log_level level, const char *what,
                const char *why)
{
    log_limited(&assigned->vtd->options.log, &assigned->vtd->nest_limit, level, "%s: %s: %s",
                assigned->name, what, why);
}

int nest_requests_create(struct vtd_nest *nest)
{
    bool wanted = nest->vtd->options.page_requests;

    nest->descriptor = wanted ? epoll_create1(EPOLL_CLOEXEC) : -1;
    return wanted && nest->descriptor < 0 ? -errno : 0;
}

void nest_requests_destroy(struct vtd_nest *nest)
{
    if (nest->descriptor >= 0)
        close(nest->descriptor);
}

int vtd_nest_descriptor(const struct vtd *vtd)
{
    return vtd->nest->descriptor;
}

/* Without it the device works, but for pages that are not present. */
void nest_requests_open(struct vtd_assigned *assigned)
{
    struct viommu_host *host = viommu_host_device_host(assigned->device);
    struct epoll_event event = {.events = EPOLLIN};
    struct nest_requests *requests;
    struct viommu_error error;
    int descriptor;

    if (!assigned->vtd->options.page_requests ||
        !viommu_host_device_info(assigned->device)->page_requests)
        return;
    requests = calloc(1, sizeof(*requests));
    if (!requests ||
        viommu_host_fault_queue_alloc(host, &requests->queue_id, &descriptor, &error)) {
        say(assigned, VIOMMU_LOG_WARNING, "its page requests do not reach the guest",
            requests ? error.message : "no memory");
        free(requests);
        return;
    }
    if (epoll_ctl(assigned->vtd->nest->descriptor, EPOLL_CTL_ADD, descriptor, &event))
        say(assigned, VIOMMU_LOG_WARNING, "its page requests are not polled for",
            "epoll_ctl() refused the descriptor of its fault queue");
    requests->descriptor = descriptor;
    assigned->requests = requests;
}

void nest_requests_ignore(struct vtd_assigned *assigned)
{
    if (assigned->requests)
        epoll_ctl(assigned->vtd->nest->descriptor, EPOLL_CTL_DEL, assigned->requests->descriptor,
                  NULL);
}

/* Nothing is attached any more that delivers to it. The descriptor ends with the queue. */
void nest_requests_close(struct vtd_assigned *assigned)
{
    struct viommu_error error;

    if (!assigned->requests)
        return;
    if (viommu_host_destroy_object(viommu_host_device_host(assigned->device),
                                   assigned->requests->queue_id, &error)) {
        nest_requests_ignore(assigned);
        say(assigned, VIOMMU_LOG_WARNING, "its fault queue stays", error.message);
    }
    free(assigned->requests);
    assigned->requests = NULL;
}

uint32_t nest_requests_queue(const struct vtd_assigned *assigned)
{
    return assigned->requests && !assigned->requests->suspended ? assigned->requests->queue_id : 0;
}

void nest_requests_suspend(struct vtd_assigned *assigned, bool suspended)
{
    assigned->requests->suspended = suspended;
}

void nest_requests_forget(struct vtd_assigned *assigned, uint32_t pasid)
{
    struct nest_requests *requests = assigned->requests;

    for (unsigned int i = 0; requests && i < requests->count;) {
        if (requests->groups[i].pasid == pasid)
            requests->groups[i] = requests->groups[--requests->count];
        else
            i++;
    }
}

static void answer(struct vtd_assigned *assigned, uint32_t cookie, uint8_t code)
{
    const struct viommu_host_page_response response = {cookie, code != VIOMMU_PCI_PAGE_SUCCESS};
    struct viommu_error error;

    if (viommu_host_fault_queue_respond(viommu_host_device_host(assigned->device),
                                        assigned->requests->queue_id, &response, &error))
        say(assigned, VIOMMU_LOG_DEBUG, "an answer to a page request is too late", error.message);
}

/* Takes it out. False: there is no such group. */
static bool take(struct nest_requests *requests, uint32_t pasid, uint16_t group, uint32_t *cookie)
{
    unsigned int i = 0;

    while (i < requests->count &&
           (requests->groups[i].pasid != pasid || requests->groups[i].group != group))
        i++;
    if (i == requests->count)
        return false;
    *cookie = requests->groups[i].cookie;
    requests->groups[i] = requests->groups[--requests->count];
    return true;
}

/* A device that uses an index again before it was answered has given up the earlier group. */
static bool remember(struct vtd_assigned *assigned, const struct viommu_pci_page_request *request,
                     uint32_t cookie)
{
    struct nest_requests *requests = assigned->requests;
    uint32_t earlier;

    if (take(requests, request->pasid, request->group, &earlier))
        answer(assigned, earlier, VIOMMU_PCI_PAGE_INVALID);
    if (requests->count == GROUPS_MAX)
        return false;
    requests->groups[requests->count++] =
        (struct outstanding){request->pasid, request->group, cookie};
    return true;
}

static void forward(struct vtd_assigned *assigned, const struct viommu_host_page_request *from)
{
    const struct viommu_pci_page_request request = {
        .address = from->address,
        .pasid = from->flags & VIOMMU_HOST_PAGE_PASID ? from->pasid : VIOMMU_PASID_NONE,
        .group = from->group & (GROUPS_MAX - 1),
        .access = (uint8_t)from->access,
        .last = from->flags & VIOMMU_HOST_PAGE_LAST,
    };
    enum vtd_page_outcome outcome = vtd_prq_put(assigned->vtd, assigned->requester_id, &request);

    if (!request.last)
        return;
    if (outcome != VTD_PAGE_QUEUED)
        answer(assigned, from->cookie, vtd_prq_code(outcome));
    else if (!remember(assigned, &request, from->cookie))
        answer(assigned, from->cookie, VIOMMU_PCI_PAGE_INVALID);
}

static unsigned int forward_device(struct vtd_assigned *assigned, unsigned int limit)
{
    struct viommu_host *host = viommu_host_device_host(assigned->device);
    struct viommu_host_page_request batch[BATCH];
    struct viommu_error error;
    unsigned int done = 0;
    size_t count = 1;

    while (count && done < limit && nest_work(assigned->vtd, NEST_WORK_CALL + BATCH)) {
        count = limit - done < BATCH ? limit - done : BATCH;
        if (viommu_host_fault_queue_read(host, assigned->requests->queue_id, batch, &count,
                                         &error)) {
            say(assigned, VIOMMU_LOG_WARNING, "its page requests cannot be read", error.message);
            break;
        }
        for (size_t i = 0; i < count; i++)
            forward(assigned, &batch[i]);
        done += count;
    }
    return done;
}

unsigned int vtd_nest_forward(struct vtd *vtd, unsigned int limit)
{
    struct vtd_assigned *assigned;
    unsigned int done = 0;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    {
        if (assigned->requests && !assigned->lost)
            done += forward_device(assigned, limit - done);
    }
    return done;
}

void vtd_nest_respond(struct vtd *vtd, uint16_t requester_id,
                      const struct viommu_pci_page_response *response)
{
    struct vtd_assigned *assigned;
    uint32_t cookie;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    {
        if (assigned->requester_id == requester_id && assigned->requests && !assigned->lost &&
            take(assigned->requests, response->pasid, response->group, &cookie))
            answer(assigned, cookie, response->code);
    }
}
