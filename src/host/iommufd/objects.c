/* SPDX-License-Identifier: MIT */
/* Our list of what the kernel made for us, and the end of each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "host/iommufd/iommufd.h"

static const char *const type_names[] = {
    [IOMMUFD_IOAS] = "IOAS",
    [IOMMUFD_HWPT] = "HWPT",
    [IOMMUFD_FAULT_QUEUE] = "fault queue",
};

/* Before the kernel is asked, so that what it made is never lost for lack of memory. */
struct iommufd_object *iommufd_object_new(enum iommufd_type type, struct viommu_error *error)
{
    struct iommufd_object *object = calloc(1, sizeof(*object));

    if (object)
        object->type = type;
    else
        error_set(error, -ENOMEM, "No memory for a %s", type_names[type]);
    return object;
}

void iommufd_object_add(struct iommufd_host *host, struct iommufd_object *object, uint32_t id)
{
    object->id = id;
    pthread_mutex_lock(&host->lock);
    LIST_INSERT_HEAD(&host->objects, object, link);
    pthread_mutex_unlock(&host->lock);
}

struct iommufd_object *iommufd_object_find(struct iommufd_host *host, uint32_t id)
{
    struct iommufd_object *object;

    LIST_FOREACH(object, &host->objects, link)
    {
        if (object->id == id)
            break;
    }
    return object;
}

static int kernel_destroy(struct iommufd_host *host, uint32_t id)
{
    struct uapi_destroy destroy = {.size = sizeof(destroy), .id = id};

    return iommufd_call(host, UAPI_DESTROY, &destroy);
}

static void object_free(struct iommufd_object *object)
{
    LIST_REMOVE(object, link);
    if (object->type == IOMMUFD_FAULT_QUEUE)
        free(object->faults);
    else if (object->faults)
        object->faults->users--;
    free(object);
}

static int busy(const struct iommufd_object *object, struct viommu_error *error)
{
    static const char *const users[] = {
        [IOMMUFD_IOAS] = "destroy the HWPTs on it, and detach the devices",
        [IOMMUFD_HWPT] = "detach its devices and PASIDs, and destroy what is nested on it",
        [IOMMUFD_FAULT_QUEUE] = "destroy the HWPTs that deliver to it",
    };

    return error_set(error, -EBUSY, "%s %u is in use; %s first", type_names[object->type],
                     object->id, users[object->type]);
}

/*
 * The kernel destroys a fault queue only when its descriptor is closed; after that there is no way
 * back but to try again.
 */
static int destroy(struct iommufd_host *host, struct iommufd_object *object,
                   struct viommu_error *error)
{
    int ret;

    if (object->type == IOMMUFD_FAULT_QUEUE) {
        if (object->faults->users)
            return busy(object, error);
        iommufd_fault_queue_close(host, object->faults);
    }
    ret = kernel_destroy(host, object->id);
    if (ret == -EBUSY)
        return busy(object, error);
    if (ret < 0)
        return error_set(error, ret, "%s %u cannot be destroyed: %s", type_names[object->type],
                         object->id, strerror(-ret));
    object_free(object);
    return 0;
}

int iommufd_destroy_object(void *opaque, uint32_t id, struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct iommufd_object *object;
    int ret;

    pthread_mutex_lock(&host->lock);
    object = iommufd_object_find(host, id);
    if (object)
        ret = destroy(host, object, error);
    else if (iommufd_device_find(host, id))
        ret = error_set(error, -EBUSY, "Object %u is a bound device; unbind it", id);
    else
        ret = error_set(error, -ENOENT, "There is no object %u", id);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

void iommufd_objects_destroy(struct iommufd_host *host)
{
    struct iommufd_object *object, *next;

    for (object = LIST_FIRST(&host->objects); object; object = next) {
        next = LIST_NEXT(object, link);
        if (object->type == IOMMUFD_FAULT_QUEUE)
            iommufd_fault_queue_close(host, object->faults);
        kernel_destroy(host, object->id);
        object_free(object);
    }
}
