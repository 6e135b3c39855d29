/* SPDX-License-Identifier: MIT */
/* The host as a whole: /dev/iommu opened, checked, closed. */
#include "host/iommufd/iommufd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "host/host.h"

int iommufd_call(struct iommufd_host *host, unsigned long request, void *argument)
{
    return host->sys.ioctl(host->sys.opaque, host->descriptor, request, argument);
}

/* Leaf first, so that a descriptor that somebody else holds too is left as it was. */
static void iommufd_end(void *opaque)
{
    struct iommufd_host *host = opaque;

    iommufd_devices_close(host);
    iommufd_objects_destroy(host);
    iommufd_files_forget(host);
    host->sys.close(host->sys.opaque, host->descriptor);
    pthread_mutex_destroy(&host->lock);
    free(host);
}

static const struct viommu_host_ops iommufd_ops = {
    .size = sizeof(iommufd_ops),
    .name = "iommufd",
    .destroy = iommufd_end,
    .bind = iommufd_bind,
    .unbind = iommufd_unbind,
    .ioas_alloc = iommufd_ioas_alloc,
    .ioas_map = iommufd_ioas_map,
    .ioas_unmap = iommufd_ioas_unmap,
    .ioas_iova_ranges = iommufd_ioas_iova_ranges,
    .hwpt_alloc = iommufd_hwpt_alloc,
    .destroy_object = iommufd_destroy_object,
    .attach = iommufd_attach,
    .detach = iommufd_detach,
    .invalidate = iommufd_invalidate,
    .hw_info = iommufd_hw_info,
    .fault_queue_alloc = iommufd_fault_queue_alloc,
    .fault_queue_read = iommufd_fault_queue_read,
    .fault_queue_respond = iommufd_fault_queue_respond,
};

struct iommufd_host *iommufd_host_of(const struct viommu_host *host)
{
    return host && host->ops->destroy == iommufd_end ? host->opaque : NULL;
}

static int open_failed(const char *path, int ret, struct viommu_error *error)
{
    if (ret == -ENOENT || ret == -ENODEV || ret == -ENXIO)
        return error_set(error, ret,
                         "There is no %s: this kernel has no iommufd (CONFIG_IOMMUFD, Linux 6.2; "
                         "Debian's kernels are built without), or the module iommufd is not "
                         "loaded; use the host type1, or another kernel",
                         path);
    if (ret == -EACCES || ret == -EPERM)
        return error_set(error, ret,
                         "You may not open %s: run as root, or give yourself read and write access "
                         "to it",
                         path);
    return error_set(error, ret, "%s cannot be opened: %s", path, strerror(-ret));
}

/* Whatever else it answers: a call that only iommufd knows is known. */
static int check_is_iommufd(const struct host_sys *sys, int descriptor, const char *what,
                            struct viommu_error *error)
{
    struct uapi_option option = {
        .size = sizeof(option),
        .option_id = UAPI_OPTION_RLIMIT_MODE,
        .op = UAPI_OPTION_GET,
    };
    int ret = sys->ioctl(sys->opaque, descriptor, UAPI_OPTION, &option);

    if (ret >= 0 || ret == -EPERM || ret == -EOPNOTSUPP)
        return 0;
    if (ret == -ENOTTY || ret == -EINVAL)
        return error_set(error, -EINVAL, "%s is not /dev/iommu; open that one", what);
    if (ret == -EBADF)
        return error_set(error, -EINVAL, "%s is no open descriptor", what);
    return error_set(error, ret, "%s does not answer as iommufd: %s", what, strerror(-ret));
}

static int open_iommufd(const struct host_sys *sys, const struct viommu_iommufd_options *options,
                        struct viommu_error *error)
{
    const char *path = options->path ? options->path : "/dev/iommu";
    int descriptor, ret;

    if (options->descriptor >= 0) {
        ret =
            check_is_iommufd(sys, options->descriptor, "The descriptor passed for iommufd", error);
        return ret ? ret : options->descriptor;
    }
    descriptor = sys->open(sys->opaque, path, O_RDWR);
    if (descriptor < 0)
        return open_failed(path, descriptor, error);
    ret = check_is_iommufd(sys, descriptor, path, error);
    if (!ret)
        return descriptor;
    sys->close(sys->opaque, descriptor);
    return ret;
}

int iommufd_create(struct viommu_host **out, const struct host_sys *sys, const char *sysfs,
                   const struct viommu_iommufd_options *options, struct viommu_error *error)
{
    struct viommu_iommufd_options copy = VIOMMU_IOMMUFD_OPTIONS_INIT;
    struct iommufd_host *host;
    int ret = 0;

    if (options)
        ret = error_copy_options(&copy, sizeof(copy), options, "viommu_iommufd_options", error);
    if (ret)
        return ret;
    host = calloc(1, sizeof(*host));
    if (!host)
        return error_set(error, -ENOMEM, "No memory for a host on iommufd");
    host->sys = *sys;
    host->sysfs = sysfs;
    host->log = copy.log;
    host->vfio_files = copy.files;
    LIST_INIT(&host->objects);
    LIST_INIT(&host->devices);
    LIST_INIT(&host->files);
    host->descriptor = open_iommufd(sys, &copy, error);
    if (host->descriptor < 0) {
        ret = host->descriptor;
        goto free_host;
    }
    ret = viommu_host_create(out, &iommufd_ops, host, &copy.log, error);
    if (ret)
        goto close_descriptor;
    pthread_mutex_init(&host->lock, NULL);
    return 0;

close_descriptor:
    if (copy.descriptor < 0)
        sys->close(sys->opaque, host->descriptor);
free_host:
    free(host);
    return ret;
}

int viommu_iommufd_create(struct viommu_host **out, const struct viommu_iommufd_options *options,
                          struct viommu_error *error)
{
    return iommufd_create(out, &host_sys_real, HOST_SYSFS, options, error);
}
