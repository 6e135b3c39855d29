/* SPDX-License-Identifier: MIT */
/* The fake kernel: its system calls, one of which fails if so told, and its descriptors. */
#include "fake-parts.h"

#include <fcntl.h>
#include <unistd.h>

#define VFIO_MAJOR 511

/* ---- Failing calls, descriptors */

/* Each call that can fail begins here. */
static int begin(struct fake_kernel *kernel)
{
    kernel->calls++;
    if (kernel->calls != kernel->fail_call)
        return 0;
    kernel->failed = true;
    return -kernel->fail_errno;
}

int fake_file_new(struct fake_kernel *kernel, enum fake_file_type type, uint32_t index)
{
    for (int i = 0; i < FAKE_OBJECTS; i++) {
        if (kernel->files[i].type != FAKE_CLOSED)
            continue;
        kernel->files[i] = (struct fake_file){.type = type, .index = index, .container = -1};
        return FAKE_FIRST + i;
    }
    return -EMFILE;
}

struct fake_file *fake_file_of(struct fake_kernel *kernel, int descriptor)
{
    if (descriptor < FAKE_FIRST || descriptor >= FAKE_FIRST + FAKE_OBJECTS)
        return NULL;
    if (kernel->files[descriptor - FAKE_FIRST].type == FAKE_CLOSED)
        return NULL;
    return &kernel->files[descriptor - FAKE_FIRST];
}

int fake_open_iommufd(struct fake_kernel *kernel)
{
    return fake_file_new(kernel, FAKE_FILE_IOMMUFD, 0);
}

int fake_open_vfio(struct fake_kernel *kernel, unsigned int device)
{
    return fake_file_new(kernel, FAKE_FILE_VFIO, device);
}

int fake_open_other(struct fake_kernel *kernel)
{
    return fake_file_new(kernel, FAKE_FILE_OTHER, 0);
}

/* ---- System calls */

static int fake_open(void *opaque, const char *path, int flags)
{
    struct fake_kernel *kernel = opaque;
    int ret = begin(kernel);
    unsigned int index;

    if (ret)
        return ret;
    if (!strncmp(path, kernel->root, strlen(kernel->root))) {
        ret = open(path, flags | O_CLOEXEC);
        return ret < 0 ? -errno : ret;
    }
    if (kernel->open_errno)
        return -kernel->open_errno;
    if (!strcmp(path, "/dev/iommu"))
        return kernel->has_iommu ? fake_open_iommufd(kernel) : -ENOENT;
    if (sscanf(path, "/dev/vfio/devices/vfio%u", &index) == 1 && index < FAKE_DEVICES)
        return fake_open_vfio(kernel, index);
    if (!strcmp(path, "/dev/vfio/vfio"))
        return fake_file_new(kernel, FAKE_FILE_CONTAINER, 0);
    if (sscanf(path, "/dev/vfio/%u", &index) == 1 && index >= 7 && index < 7 + FAKE_DEVICES)
        return fake_file_new(kernel, FAKE_FILE_GROUP, index);
    return strcmp(path, "/dev/null") ? -ENOENT : fake_open_other(kernel);
}

static void fake_close(void *opaque, int descriptor)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);

    if (descriptor < FAKE_FIRST) {
        close(descriptor);
        return;
    }
    assert_non_null(file); /* nothing is closed twice */
    if (file->type == FAKE_FILE_VFIO && file->bound)
        fake_device_close(kernel, &kernel->devices[file->index]);
    if (file->type == FAKE_FILE_QUEUE)
        kernel->objects[file->index].queue_open = false;
    fake_type1_close(kernel, file);
    file->type = FAKE_CLOSED;
}

static int fake_ioctl(void *opaque, int descriptor, unsigned long request, void *argument)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    if (!file)
        return -EBADF;
    if (request == kernel->fail_request)
        return -kernel->fail_errno;
    if (file->type == FAKE_FILE_IOMMUFD)
        return fake_iommufd_ioctl(kernel, request, argument);
    if (file->type == FAKE_FILE_VFIO)
        return fake_device_ioctl(kernel, file, request, argument);
    return fake_type1_ioctl(kernel, file, request, argument);
}

static ssize_t fake_read(void *opaque, int descriptor, void *buffer, size_t size)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    if (descriptor < FAKE_FIRST) {
        ssize_t got = read(descriptor, buffer, size);

        return got < 0 ? -errno : got;
    }
    if (!file)
        return -EBADF;
    if (file->type == FAKE_FILE_QUEUE)
        return fake_faults_read(kernel, file->index, buffer, size);
    if (file->type != FAKE_FILE_EVENT || !file->event)
        return -EAGAIN;
    memcpy(buffer, &file->event, 8);
    file->event = 0;
    return 8;
}

static ssize_t fake_write(void *opaque, int descriptor, const void *buffer, size_t size)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    if (!file)
        return -EBADF;
    if (file->type == FAKE_FILE_QUEUE)
        return size == 8 ? fake_faults_answer(kernel, buffer) : -ESPIPE;
    assert_int_equal(file->type, FAKE_FILE_EVENT);
    assert_int_equal(size, 8);
    file->event += *(const uint64_t *)buffer;
    return 8;
}

static int fake_readable(void *opaque, int descriptor)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    if (!file)
        return -EBADF;
    return fake_faults_wait(kernel, file->index);
}

static int fake_eventfd(void *opaque)
{
    int ret = begin(opaque);

    return ret ? ret : fake_file_new(opaque, FAKE_FILE_EVENT, 0);
}

static int fake_epoll(void *opaque, const int *descriptors, size_t count)
{
    int ret = begin(opaque);

    for (size_t i = 0; i < count; i++)
        assert_non_null(fake_file_of(opaque, descriptors[i]));
    return ret ? ret : fake_file_new(opaque, FAKE_FILE_EPOLL, (uint32_t)descriptors[1]);
}

static int fake_readlink(void *opaque, const char *path, char *target, size_t size)
{
    int ret = begin(opaque);

    return ret ? ret : host_sys_real.readlink(NULL, path, target, size);
}

static int fake_list(void *opaque, const char *path, host_sys_visit_fn *visit, void *visit_opaque)
{
    int ret = begin(opaque);

    return ret ? ret : host_sys_real.list(NULL, path, visit, visit_opaque);
}

static int fake_device_number(void *opaque, int descriptor, unsigned int *major_number,
                              unsigned int *minor_number)
{
    struct fake_kernel *kernel = opaque;
    struct fake_file *file = fake_file_of(kernel, descriptor);
    int ret = begin(kernel);

    if (ret)
        return ret;
    *major_number = file && file->type == FAKE_FILE_VFIO ? VFIO_MAJOR : 1;
    *minor_number = file ? file->index : 0;
    return 0;
}

/* Descriptor 7 is the only one there is. */
static bool fake_is_memory_file(void *opaque, int descriptor)
{
    (void)opaque;
    return descriptor == 7;
}

static uint64_t fake_memlock_limit(void *opaque)
{
    return ((struct fake_kernel *)opaque)->memlock;
}

/* ---- What is there */

struct fake_census fake_census(const struct fake_kernel *kernel)
{
    struct fake_census census;

    memset(&census, 0, sizeof(census));
    census.pinned = kernel->pinned;
    for (int i = 1; i < FAKE_OBJECTS; i++)
        census.objects[kernel->objects[i].type]++;
    for (int i = 0; i < FAKE_OBJECTS; i++)
        census.files += kernel->files[i].type != FAKE_CLOSED;
    for (int i = 0; i < FAKE_DEVICES; i++)
        census.attachments +=
            (kernel->devices[i].hwpt != 0) + (unsigned int)kernel->devices[i].pasid_count;
    return census;
}

void assert_census(const struct fake_kernel *kernel, const struct fake_census *expected)
{
    struct fake_census now = fake_census(kernel);

    for (int i = FAKE_DEVICE; i <= FAKE_QUEUE; i++)
        assert_int_equal(now.objects[i], expected->objects[i]);
    assert_int_equal(now.files, expected->files);
    assert_int_equal(now.attachments, expected->attachments);
    assert_int_equal(now.pinned, expected->pinned);
}

/* ---- All of it */

void fake_boot(struct fake_kernel *kernel, enum fake_age age)
{
    *kernel = (struct fake_kernel){
        .age = age,
        .has_iommu = true,
        .hw_info_type = UAPI_HW_INFO_VTD,
        .ecap = 0x3fef9ea6f0efdf,
        .memlock = UINT64_MAX,
        .entry_limit = FAKE_AREAS,
        .fail_errno = ENOMEM,
        .root = "/tmp/fake-sysfs.XXXXXX",
        .sys =
            {
                .opaque = kernel,
                .open = fake_open,
                .close = fake_close,
                .ioctl = fake_ioctl,
                .read = fake_read,
                .write = fake_write,
                .readable = fake_readable,
                .eventfd = fake_eventfd,
                .epoll = fake_epoll,
                .readlink = fake_readlink,
                .list = fake_list,
                .device_number = fake_device_number,
                .is_memory_file = fake_is_memory_file,
                .memlock_limit = fake_memlock_limit,
            },
    };
    assert_non_null(mkdtemp(kernel->root));
    for (unsigned int i = 0; i < FAKE_DEVICES; i++)
        fake_add_device(kernel, i);
}

void fake_shutdown(struct fake_kernel *kernel)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r '%s'", kernel->root);
    assert_int_equal(system(command), 0);
}
