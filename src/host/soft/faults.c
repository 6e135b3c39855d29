/* SPDX-License-Identifier: MIT */
/*
 * Page requests of simulated devices: fault queues, as iommufd has them.
 *
 * A device's requests wait until the last one of their group is made; then the group stands in the
 * queue of the HWPT that it is attached to, until it was read and answered. When the attachment
 * ends the host answers itself: invalid.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "host/soft/soft.h"

/* Requests of one group. */
#define GROUP_REQUESTS 32

struct soft_group {
    TAILQ_ENTRY(soft_group) link; /* in the device */
    struct viommu_soft_device *device;
    struct soft_fault_queue *queue; /* NULL: the last request is still missing */
    uint32_t pasid;
    uint16_t group;
    uint32_t cookie;
    unsigned int count, read; /* requests; of these, read by the host's owner */
    struct viommu_host_page_request requests[GROUP_REQUESTS];
};

struct soft_fault_queue *soft_find_fault_queue(struct soft_host *host, uint32_t id)
{
    struct soft_object *object;

    LIST_FOREACH(object, &host->objects, link)
    {
        if (object->id == id && object->type == SOFT_FAULT_QUEUE)
            return (struct soft_fault_queue *)object;
    }
    return NULL;
}

int soft_fault_queue_alloc(void *opaque, uint32_t *queue_id, int *descriptor,
                           struct viommu_error *error)
{
    struct soft_fault_queue *queue = calloc(1, sizeof(*queue));
    struct soft_host *host = opaque;
    int ret = -ENOMEM;

    if (queue)
        queue->descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!queue || queue->descriptor < 0) {
        free(queue);
        return error_set(error, -ENOMEM, "No memory, or no descriptor, for a fault queue");
    }
    pthread_rwlock_wrlock(&host->lock);
    ret = soft_object_add(host, &queue->object, SOFT_FAULT_QUEUE, error);
    pthread_rwlock_unlock(&host->lock);
    if (ret) {
        close(queue->descriptor);
        free(queue);
        return ret;
    }
    *queue_id = queue->object.id;
    *descriptor = queue->descriptor;
    return 0;
}

void soft_fault_queue_free(struct soft_fault_queue *queue)
{
    soft_object_remove(&queue->object);
    close(queue->descriptor);
    free(queue);
}

/* The descriptor is readable while there is something to read. */
static void set_readable(struct soft_fault_queue *queue, uint64_t unread)
{
    uint64_t value = 1;

    if (!queue->unread && unread && write(queue->descriptor, &value, sizeof(value)) < 0)
        return; /* it cannot be full: at most 1 is in it */
    if (queue->unread && !unread && read(queue->descriptor, &value, sizeof(value)) < 0)
        return; /* nor empty */
    queue->unread = unread;
}

static void group_end(struct soft_group *group, uint32_t code)
{
    struct viommu_soft_device *device = group->device;

    if (group->queue) {
        set_readable(group->queue, group->queue->unread - (group->count - group->read));
        if (device->answer_count < SOFT_GROUPS)
            device->answers[device->answer_count++] = (struct viommu_pci_page_response){
                group->pasid, group->group,
                code ? VIOMMU_PCI_PAGE_INVALID : VIOMMU_PCI_PAGE_SUCCESS};
    }
    TAILQ_REMOVE(&device->groups, group, link);
    device->group_count--;
    free(group);
}

/* Those of the attachment that ends, and whatever is not complete. */
void soft_faults_end(struct viommu_soft_device *device, uint32_t pasid)
{
    struct soft_group *group, *next;

    for (group = TAILQ_FIRST(&device->groups); group; group = next) {
        next = TAILQ_NEXT(group, link);
        if (group->pasid == pasid || (pasid == VIOMMU_PASID_NONE && group->pasid == 0))
            group_end(group, 1);
    }
}

void viommu_soft_device_reset(struct viommu_soft_device *device)
{
    struct soft_host *host = device->host;

    soft_lock(host);
    while (!TAILQ_EMPTY(&device->groups))
        group_end(TAILQ_FIRST(&device->groups), 1);
    device->answer_count = 0;
    soft_unlock(host);
}

static struct soft_group *find_partial(const struct viommu_soft_device *device,
                                       const struct viommu_pci_page_request *request)
{
    struct soft_group *group;

    TAILQ_FOREACH(group, &device->groups, link)
    {
        if (!group->queue && group->pasid == request->pasid && group->group == request->group)
            break;
    }
    return group;
}

static struct soft_group *new_group(struct viommu_soft_device *device,
                                    const struct viommu_pci_page_request *request)
{
    struct soft_group *group = device->group_count < SOFT_GROUPS ? calloc(1, sizeof(*group)) : NULL;

    if (!group)
        return NULL;
    group->device = device;
    group->pasid = request->pasid;
    group->group = request->group;
    group->cookie = ++device->host->last_cookie;
    TAILQ_INSERT_TAIL(&device->groups, group, link);
    device->group_count++;
    return group;
}

static void add_request(struct soft_group *group, const struct viommu_pci_page_request *request)
{
    bool with_pasid = request->pasid != VIOMMU_PASID_NONE;

    group->requests[group->count++] = (struct viommu_host_page_request){
        .flags =
            (with_pasid ? VIOMMU_HOST_PAGE_PASID : 0) | (request->last ? VIOMMU_HOST_PAGE_LAST : 0),
        .device_id = group->device->object.id,
        .pasid = with_pasid ? request->pasid : 0,
        .group = request->group,
        .access = request->access,
        .address = request->address & ~SOFT_PAGE_MASK,
        .length = SOFT_PAGE_SIZE,
        .cookie = group->cookie,
    };
}

static int request_locked(struct viommu_soft_device *device,
                          const struct viommu_pci_page_request *request)
{
    struct soft_hwpt *hwpt = soft_device_hwpt(device, request->pasid);
    struct soft_group *group = find_partial(device, request);

    if (!hwpt || !hwpt->faults)
        return -EOPNOTSUPP;
    if (!group)
        group = new_group(device, request);
    if (!group || group->count == GROUP_REQUESTS)
        return -ENOSPC;
    add_request(group, request);
    if (request->last) {
        group->queue = hwpt->faults;
        set_readable(group->queue, group->queue->unread + group->count);
    }
    return 0;
}

int viommu_soft_device_page_request(struct viommu_soft_device *device,
                                    const struct viommu_pci_page_request *request)
{
    struct soft_host *host = device->host;
    unsigned int epoch = soft_gate_enter(&device->requests);
    int ret;

    pthread_rwlock_wrlock(&host->lock);
    ret = request_locked(device, request);
    pthread_rwlock_unlock(&host->lock);
    soft_gate_exit(&device->requests, epoch);
    return ret;
}

bool viommu_soft_device_page_response(struct viommu_soft_device *device,
                                      struct viommu_pci_page_response *response)
{
    struct soft_host *host = device->host;
    bool any;

    pthread_rwlock_wrlock(&host->lock);
    any = device->answer_count;
    if (any) {
        *response = device->answers[0];
        device->answer_count--;
        memmove(device->answers, device->answers + 1,
                device->answer_count * sizeof(device->answers[0]));
    }
    pthread_rwlock_unlock(&host->lock);
    return any;
}

/* What is not read yet of this device's groups in the queue. */
static size_t read_device(struct viommu_soft_device *device, const struct soft_fault_queue *queue,
                          struct viommu_host_page_request *requests, size_t room)
{
    struct soft_group *group;
    size_t count = 0;

    TAILQ_FOREACH(group, &device->groups, link)
    {
        while (group->queue == queue && group->read < group->count && count < room)
            requests[count++] = group->requests[group->read++];
    }
    return count;
}

int soft_fault_queue_read(void *opaque, uint32_t queue_id,
                          struct viommu_host_page_request *requests, size_t *count,
                          struct viommu_error *error)
{
    struct soft_host *host = opaque;
    struct soft_fault_queue *queue;
    struct soft_object *object;
    size_t room = *count, done = 0;

    *count = 0;
    pthread_rwlock_wrlock(&host->lock);
    queue = soft_find_fault_queue(host, queue_id);
    if (queue) {
        LIST_FOREACH(object, &host->objects, link)
        {
            if (object->type == SOFT_DEVICE)
                done += read_device((struct viommu_soft_device *)object, queue, requests + done,
                                    room - done);
        }
        set_readable(queue, queue->unread - done);
        *count = done;
    }
    pthread_rwlock_unlock(&host->lock);
    return queue ? 0 : error_set(error, -ENOENT, "There is no fault queue %u", queue_id);
}

static struct soft_group *find_cookie(struct soft_host *host, const struct soft_fault_queue *queue,
                                      uint32_t cookie)
{
    struct soft_object *object;
    struct soft_group *group;

    LIST_FOREACH(object, &host->objects, link)
    {
        if (object->type != SOFT_DEVICE)
            continue;
        TAILQ_FOREACH(group, &((struct viommu_soft_device *)object)->groups, link)
        {
            if (group->queue == queue && group->cookie == cookie && group->read == group->count)
                return group;
        }
    }
    return NULL;
}

int soft_fault_queue_respond(void *opaque, uint32_t queue_id,
                             const struct viommu_host_page_response *response,
                             struct viommu_error *error)
{
    struct soft_host *host = opaque;
    struct soft_fault_queue *queue;
    struct soft_group *group = NULL;
    int ret = 0;

    soft_lock(host);
    queue = soft_find_fault_queue(host, queue_id);
    if (queue)
        group = find_cookie(host, queue, response->cookie);
    if (!queue)
        ret = error_set(error, -ENOENT, "There is no fault queue %u", queue_id);
    else if (!group || response->code > 1)
        ret = error_set(error, -EINVAL, "Fault queue %u: cookie %u, code %u answers nothing",
                        queue_id, response->cookie, response->code);
    else
        group_end(group, response->code);
    soft_unlock(host);
    return ret;
}
