/* SPDX-License-Identifier: MIT */
#include "kvm_vfio.h"
#include "vfio.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file {
    int descriptor; /* borrowed */
    bool known;     /* to KVM */
};

struct vmm_kvm_vfio {
    const struct vmm_vfio_kernel *kernel;
    const struct vmm *vm;
    pthread_mutex_t lock; /* files go when a function is unplugged, in any thread */
    int device;           /* -1: none yet, or KVM has none */
    struct file *files;
    size_t count;
};

/* To a KVM that knows of no such device all DMA is coherent. */
static const char no_flushes[] =
    "WBINVD does nothing in the guest, whose devices must snoop caches";

static void warn(const char *what, int error, const char *consequence)
{
    fprintf(stderr, "viommu: warning: KVM %s: %s; %s\n", what, strerror(error), consequence);
}

/*
 * A KVM that does not know the kind of device knows nothing either of what it is told by it: DMA is
 * coherent to it whatever we say, and interrupts come by eventfd as before. So that is no loss, and
 * nothing to complain of.
 */
static bool get_device(struct vmm_kvm_vfio *kvm)
{
    struct kvm_create_device create = {.type = KVM_DEV_TYPE_VFIO};

    if (kvm->device >= 0)
        return true;
    if (!kvm->kernel->ioctl(kvm->vm->vm_fd, KVM_CREATE_DEVICE, &create))
        kvm->device = (int)create.fd;
    else if (errno != ENODEV && errno != ENOTTY)
        warn("gives no VFIO device", errno, no_flushes);
    return kvm->device >= 0;
}

/* The attributes are called FILE, too, since Linux 6.5, and take a character device, then. */
static int tell(struct vmm_kvm_vfio *kvm, uint64_t attribute, int descriptor)
{
    int32_t argument = descriptor;
    struct kvm_device_attr attr = {
        .group = KVM_DEV_VFIO_GROUP,
        .attr = attribute,
        .addr = (uintptr_t)&argument,
    };

    return kvm->kernel->ioctl(kvm->device, KVM_SET_DEVICE_ATTR, &attr) ? errno : 0;
}

static void add(struct vmm_kvm_vfio *kvm, struct file *file)
{
    int error;

    if (!get_device(kvm))
        return;
    error = tell(kvm, KVM_DEV_VFIO_GROUP_ADD, file->descriptor);
    file->known = !error;
    if (error)
        warn("takes no VFIO file", error, no_flushes);
}

void vmm_kvm_vfio_opened(void *opaque, int descriptor)
{
    struct vmm_kvm_vfio *kvm = opaque;
    struct file *files;

    pthread_mutex_lock(&kvm->lock);
    files = realloc(kvm->files, (kvm->count + 1) * sizeof(*files));
    if (files) {
        kvm->files = files;
        files[kvm->count] = (struct file){.descriptor = descriptor};
        add(kvm, &files[kvm->count++]);
    } else {
        warn("is told of no VFIO file", ENOMEM, no_flushes);
    }
    pthread_mutex_unlock(&kvm->lock);
}

static void forget(struct vmm_kvm_vfio *kvm, struct file *file)
{
    int error = file->known ? tell(kvm, KVM_DEV_VFIO_GROUP_DEL, file->descriptor) : 0;

    if (error)
        warn("keeps a VFIO file", error, "its device is not free before the machine ends");
    *file = kvm->files[--kvm->count];
}

void vmm_kvm_vfio_closing(void *opaque, int descriptor)
{
    struct vmm_kvm_vfio *kvm = opaque;
    size_t i;

    pthread_mutex_lock(&kvm->lock);
    for (i = 0; i < kvm->count; i++) {
        if (kvm->files[i].descriptor == descriptor) {
            forget(kvm, &kvm->files[i]);
            break;
        }
    }
    pthread_mutex_unlock(&kvm->lock);
}

/* The device holds its virtual machine, which does not end before. */
void vmm_kvm_vfio_leave(struct vmm *vm)
{
    struct vmm_kvm_vfio *kvm = vm->kvm_vfio;
    size_t i;

    if (!kvm)
        return;
    pthread_mutex_lock(&kvm->lock);
    if (kvm->device >= 0)
        kvm->kernel->close(kvm->device);
    kvm->device = -1;
    for (i = 0; i < kvm->count; i++)
        kvm->files[i].known = false;
    pthread_mutex_unlock(&kvm->lock);
}

void vmm_kvm_vfio_join(struct vmm *vm)
{
    struct vmm_kvm_vfio *kvm = vm->kvm_vfio;
    size_t i;

    if (!kvm)
        return;
    pthread_mutex_lock(&kvm->lock);
    for (i = 0; i < kvm->count; i++)
        add(kvm, &kvm->files[i]);
    pthread_mutex_unlock(&kvm->lock);
}

int vmm_kvm_vfio_create(struct vmm *vm, const struct vmm_vfio_kernel *kernel,
                        struct viommu_error *err)
{
    struct vmm_kvm_vfio *kvm = calloc(1, sizeof(*kvm));

    if (!kvm)
        return vmm_fail(err, ENOMEM, "out of memory for KVM's list of VFIO files");
    kvm->kernel = kernel;
    kvm->vm = vm;
    kvm->device = -1;
    pthread_mutex_init(&kvm->lock, NULL);
    vm->kvm_vfio = kvm;
    return 0;
}

void vmm_kvm_vfio_destroy(struct vmm *vm)
{
    struct vmm_kvm_vfio *kvm = vm->kvm_vfio;

    if (!kvm)
        return;
    vmm_kvm_vfio_leave(vm);
    pthread_mutex_destroy(&kvm->lock);
    free(kvm->files);
    free(kvm);
    vm->kvm_vfio = NULL;
}
