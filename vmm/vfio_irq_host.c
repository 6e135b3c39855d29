/* SPDX-License-Identifier: MIT */
/* VFIO_DEVICE_SET_IRQS, and the kernel itself. */
#include "vfio.h"
#include "vmm.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int linux_ioctl(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument);
}

static void *linux_map(int fd, size_t length, int protection, off_t offset)
{
    return mmap(NULL, length, protection, MAP_SHARED, fd, offset);
}

static int linux_duplicate(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int linux_irqfd(int vm_fd, int event, int gsi, bool assign)
{
    struct kvm_irqfd irqfd = {
        .fd = (uint32_t)event,
        .gsi = (uint32_t)gsi,
        .flags = assign ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
    };

    return ioctl(vm_fd, KVM_IRQFD, &irqfd);
}

const struct vmm_vfio_kernel vmm_vfio_linux = {
    .ioctl = linux_ioctl,
    .read = pread,
    .write = pwrite,
    .map = linux_map,
    .unmap = munmap,
    .duplicate = linux_duplicate,
    .close = close,
    .irqfd = linux_irqfd,
};

void vmm_vfio_complain_of(struct vmm_vfio *vfio, enum vmm_vfio_complaint complaint,
                          const char *reason)
{
    static const char *const sentences[] = {
        [VMM_VFIO_NO_RESET] = "cannot be reset, and goes on as it was",
        [VMM_VFIO_NO_INTX] = "gets no INTx line from the host, and its line stays silent",
        [VMM_VFIO_NO_MSI] = "gets no MSI vectors from the host, and they stay silent",
        [VMM_VFIO_FEW_MSI] =
            "gets fewer MSI vectors than the guest wants, and the last stay silent",
        [VMM_VFIO_NO_MSIX] = "lacks an MSI-X vector that the guest wants, which stays silent",
        [VMM_VFIO_NO_ROM] = "has an expansion ROM that the guest cannot read",
        [VMM_VFIO_NO_WATCH] = "has an interrupt that cannot be waited for, and stays silent",
    };

    if (!(atomic_fetch_or(&vfio->complaints, 1u << complaint) & 1u << complaint))
        fprintf(stderr, "viommu: warning: %s %s: %s\n", vfio->name, sentences[complaint], reason);
}

void vmm_vfio_complain(struct vmm_vfio *vfio, enum vmm_vfio_complaint complaint, int error)
{
    vmm_vfio_complain_of(vfio, complaint, strerror(-error));
}

int vmm_vfio_event(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

bool vmm_vfio_event_take(int event)
{
    uint64_t count;

    return read(event, &count, sizeof(count)) == sizeof(count);
}

void vmm_vfio_event_close(int *event)
{
    if (*event >= 0)
        close(*event);
    *event = -1;
}

int vmm_vfio_set_irqs(struct vmm_vfio *vfio, unsigned int index, uint32_t action,
                      unsigned int first, unsigned int count, const int *events)
{
    size_t size = sizeof(struct vfio_irq_set) + count * sizeof(*events);
    struct vfio_irq_set *set = malloc(size);
    int ret;

    if (!set)
        return -ENOMEM;
    set->argsz = (uint32_t)size;
    set->flags = action | (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
    set->index = index;
    set->start = first;
    set->count = count;
    if (count)
        memcpy(set->data, events, count * sizeof(*events));
    ret = vfio->kernel->ioctl(vfio->fd, VFIO_DEVICE_SET_IRQS, set);
    if (ret < 0)
        ret = -errno;
    free(set);
    return ret;
}

int vmm_vfio_disable_irqs(struct vmm_vfio *vfio, unsigned int index)
{
    return vmm_vfio_set_irqs(vfio, index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, NULL);
}

unsigned int vmm_vfio_irq_count(struct vmm_vfio *vfio, unsigned int index, uint32_t *flags)
{
    struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};

    if (vfio->kernel->ioctl(vfio->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0)
        return 0;
    *flags = info.flags;
    return info.count;
}
