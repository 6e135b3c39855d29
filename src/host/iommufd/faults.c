/* SPDX-License-Identifier: MIT */
/*
 * Page requests. The kernel gives out whole groups, and none that is larger than the buffer; our
 * callers take as many requests as they have room for. So a group that is too large for the caller
 * is kept here, and handed out piece by piece. The descriptor to poll is readable while the kernel
 * has something or while we do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "host/iommufd/iommufd.h"

/* NOLINTBEGIN(misc-redundant-expression) */
_Static_assert(sizeof(struct viommu_host_page_request) == sizeof(struct uapi_fault) &&
                   sizeof(struct viommu_host_page_response) == sizeof(struct uapi_fault_response),
               "requests are read, answers written, as they are");
_Static_assert(VIOMMU_DMA_READ == UAPI_FAULT_READ && VIOMMU_DMA_WRITE == UAPI_FAULT_WRITE &&
                   VIOMMU_DMA_EXECUTE == UAPI_FAULT_EXEC &&
                   VIOMMU_DMA_PRIVILEGED == UAPI_FAULT_PRIV &&
                   VIOMMU_HOST_PAGE_PASID == UAPI_FAULT_PASID &&
                   VIOMMU_HOST_PAGE_LAST == UAPI_FAULT_LAST,
               "flags and rights have the kernel's numbers");
/* NOLINTEND(misc-redundant-expression) */

static void close_one(struct iommufd_host *host, int *descriptor)
{
    if (*descriptor >= 0)
        host->sys.close(host->sys.opaque, *descriptor);
    *descriptor = -1;
}

void iommufd_fault_queue_close(struct iommufd_host *host, struct iommufd_fault_queue *queue)
{
    close_one(host, &queue->poll_for);
    close_one(host, &queue->kept_event);
    close_one(host, &queue->kernel);
}

static int kernel_alloc(struct iommufd_host *host, struct uapi_fault_alloc *alloc)
{
    *alloc = (struct uapi_fault_alloc){.size = sizeof(*alloc)};
    return iommufd_call(host, UAPI_FAULT_QUEUE_ALLOC, alloc);
}

/* Of a queue that nobody has seen. When the kernel refuses twice it stays until the host ends. */
static void kernel_free(struct iommufd_host *host, uint32_t id)
{
    struct uapi_destroy destroy = {.size = sizeof(destroy), .id = id};

    if (iommufd_call(host, UAPI_DESTROY, &destroy) < 0)
        iommufd_call(host, UAPI_DESTROY, &destroy);
}

int iommufd_fault_queues_probe(struct iommufd_host *host)
{
    struct uapi_fault_alloc alloc;
    int ret = kernel_alloc(host, &alloc);

    if (ret < 0)
        return ret == -ENOTTY ? -EOPNOTSUPP : ret;
    host->sys.close(host->sys.opaque, (int)alloc.out_fault_fd);
    kernel_free(host, alloc.out_fault_id);
    return 0;
}

/* What our side of a queue needs besides the kernel's. */
static int open_events(struct iommufd_host *host, struct iommufd_fault_queue *queue)
{
    int watched[2];

    queue->kept_event = host->sys.eventfd(host->sys.opaque);
    if (queue->kept_event < 0)
        return queue->kept_event;
    watched[0] = queue->kernel;
    watched[1] = queue->kept_event;
    queue->poll_for = host->sys.epoll(host->sys.opaque, watched, 2);
    return queue->poll_for < 0 ? queue->poll_for : 0;
}

static struct iommufd_object *queue_new(struct viommu_error *error)
{
    struct iommufd_object *object = iommufd_object_new(IOMMUFD_FAULT_QUEUE, error);

    if (!object)
        return NULL;
    object->faults = calloc(1, sizeof(*object->faults));
    if (!object->faults) {
        free(object);
        error_set(error, -ENOMEM, "No memory for a fault queue");
        return NULL;
    }
    object->faults->kernel = object->faults->kept_event = object->faults->poll_for = -1;
    return object;
}

static int queue_open(struct iommufd_host *host, struct iommufd_fault_queue *queue, uint32_t *id,
                      struct viommu_error *error)
{
    struct uapi_fault_alloc alloc;
    int ret = kernel_alloc(host, &alloc);

    if (ret == -ENOTTY)
        return error_set(error, -EOPNOTSUPP,
                         "This kernel delivers no page requests: that needs Linux 6.11");
    if (ret < 0)
        return error_set(error, ret, "The kernel allocates no fault queue: %s", strerror(-ret));
    queue->kernel = (int)alloc.out_fault_fd;
    ret = open_events(host, queue);
    if (ret) {
        iommufd_fault_queue_close(host, queue);
        kernel_free(host, alloc.out_fault_id);
        return error_set(error, ret, "A fault queue needs two descriptors more: %s",
                         strerror(-ret));
    }
    *id = alloc.out_fault_id;
    return 0;
}

int iommufd_fault_queue_alloc(void *opaque, uint32_t *queue_id, int *descriptor,
                              struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct iommufd_object *object = queue_new(error);
    uint32_t id = 0;
    int ret;

    if (!object)
        return -ENOMEM;
    ret = queue_open(host, object->faults, &id, error);
    if (ret) {
        free(object->faults);
        free(object);
        return ret;
    }
    *queue_id = id;
    *descriptor = object->faults->poll_for;
    iommufd_object_add(host, object, id);
    return 0;
}

/* An open queue, with the lock held; NULL: neither. */
static struct iommufd_fault_queue *lock_queue(struct iommufd_host *host, uint32_t id,
                                              struct viommu_error *error)
{
    struct iommufd_object *object;

    pthread_mutex_lock(&host->lock);
    object = iommufd_object_find(host, id);
    if (object && object->type == IOMMUFD_FAULT_QUEUE && object->faults->kernel >= 0)
        return object->faults;
    pthread_mutex_unlock(&host->lock);
    error_set(error, -ENOENT, "There is no fault queue %u", id);
    return NULL;
}

/* Nothing is polled for any more when nothing is kept. */
static void kept_fewer(struct iommufd_host *host, struct iommufd_fault_queue *queue)
{
    uint64_t value;

    if (queue->kept_next == queue->kept_count)
        host->sys.read(host->sys.opaque, queue->kept_event, &value, sizeof(value));
}

/* Hand out what is kept; the poll descriptor follows. */
static size_t hand_out(struct iommufd_host *host, struct iommufd_fault_queue *queue,
                       struct viommu_host_page_request *requests, size_t room)
{
    size_t count = queue->kept_count - queue->kept_next;

    count = count < room ? count : room;
    memcpy(requests, queue->kept + queue->kept_next, count * sizeof(*requests));
    queue->kept_next += count;
    if (count)
        kept_fewer(host, queue);
    return count;
}

/* The first group is larger than what the caller has room for. */
static int keep_groups(struct iommufd_host *host, struct iommufd_fault_queue *queue)
{
    const uint64_t one = 1;
    ssize_t got = host->sys.read(host->sys.opaque, queue->kernel, queue->kept, sizeof(queue->kept));

    if (got <= 0)
        return (int)got;
    queue->kept_next = 0;
    queue->kept_count = (size_t)got / sizeof(queue->kept[0]);
    if (host->sys.write(host->sys.opaque, queue->kept_event, &one, sizeof(one)) < 0)
        log_message(&host->log, VIOMMU_LOG_WARNING,
                    "Page requests that wait are not polled for until the next comes");
    return 0;
}

/* Straight to the caller what the kernel has; the number of requests. */
static ssize_t read_kernel(struct iommufd_host *host, struct iommufd_fault_queue *queue,
                           struct viommu_host_page_request *requests, size_t room)
{
    int ready = host->sys.readable(host->sys.opaque, queue->kernel);
    ssize_t got;
    int ret;

    if (ready <= 0 || !room)
        return ready < 0 ? ready : 0;
    got = host->sys.read(host->sys.opaque, queue->kernel, requests, room * sizeof(*requests));
    if (got != -EINVAL)
        return got < 0 ? got : got / (ssize_t)sizeof(*requests);
    ret = keep_groups(host, queue);
    return ret ? ret : (ssize_t)hand_out(host, queue, requests, room);
}

int iommufd_fault_queue_read(void *opaque, uint32_t queue_id,
                             struct viommu_host_page_request *requests, size_t *count,
                             struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct iommufd_fault_queue *queue = lock_queue(host, queue_id, error);
    size_t room = *count, done;
    ssize_t more;

    *count = 0;
    if (!queue)
        return -ENOENT;
    done = hand_out(host, queue, requests, room);
    more = read_kernel(host, queue, requests + done, room - done);
    pthread_mutex_unlock(&host->lock);
    if (more < 0 && !done)
        return error_set(error, (int)more, "Fault queue %u cannot be read: %s", queue_id,
                         strerror((int)-more));
    *count = done + (more > 0 ? (size_t)more : 0);
    return 0;
}

/* Of an attachment: a device's requests without PASID are those of its attachment without one. */
static bool is_of(const struct viommu_host_page_request *request, uint32_t device_id,
                  uint32_t pasid)
{
    uint32_t own = request->flags & VIOMMU_HOST_PAGE_PASID ? request->pasid : VIOMMU_PASID_NONE;

    return request->device_id == device_id && own == pasid;
}

/*
 * The kernel answers what waits when an attachment ends or changes, and refuses ours then. When
 * it did not, as nothing changed, the device must not wait for ever.
 */
static void drop_kept(struct iommufd_host *host, struct iommufd_fault_queue *queue,
                      uint32_t device_id, uint32_t pasid)
{
    struct viommu_host_page_response response = {.code = 1};
    size_t left = queue->kept_next;

    if (queue->kept_next == queue->kept_count)
        return;
    for (size_t i = queue->kept_next; i < queue->kept_count; i++) {
        const struct viommu_host_page_request *request = &queue->kept[i];

        if (!is_of(request, device_id, pasid)) {
            queue->kept[left++] = *request;
        } else if (request->flags & VIOMMU_HOST_PAGE_LAST) {
            response.cookie = request->cookie;
            host->sys.write(host->sys.opaque, queue->kernel, &response, sizeof(response));
        }
    }
    queue->kept_count = left;
    kept_fewer(host, queue);
}

void iommufd_fault_requests_drop(struct iommufd_host *host, uint32_t device_id, uint32_t pasid)
{
    struct iommufd_object *object;

    LIST_FOREACH(object, &host->objects, link)
    {
        if (object->type == IOMMUFD_FAULT_QUEUE)
            drop_kept(host, object->faults, device_id, pasid);
    }
}

int iommufd_fault_queue_respond(void *opaque, uint32_t queue_id,
                                const struct viommu_host_page_response *response,
                                struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct iommufd_fault_queue *queue = lock_queue(host, queue_id, error);
    ssize_t ret;

    if (!queue)
        return -ENOENT;
    ret = host->sys.write(host->sys.opaque, queue->kernel, response, sizeof(*response));
    pthread_mutex_unlock(&host->lock);
    if (ret == -EINVAL)
        return error_set(error, -EINVAL, "Fault queue %u: cookie %u, code %u answers nothing",
                         queue_id, response->cookie, response->code);
    if (ret < 0)
        return error_set(error, (int)ret, "Fault queue %u takes no answer: %s", queue_id,
                         strerror((int)-ret));
    return 0;
}
