/* SPDX-License-Identifier: MIT */
/* A PCI function driven through VFIO's type 1 interface, as user-space drivers and QEMU do. */
#ifndef GUEST_VFIO_H
#define GUEST_VFIO_H

#include <stdbool.h>
#include <stdint.h>

struct vfio_function {
    char addr[16];
    int group, device;
    uint64_t config_offset;
    volatile uint8_t *bar;
    uint64_t bar_size;
};

/* Calls return 0 or a negative errno. */
int vfio_bind(const char *addr); /* takes the function from its driver, gives it to vfio-pci */
int vfio_unbind(const char *addr);
/*
 * Before it is opened: VFIO does not reset it when it is closed. For a device that is gone by then
 * the kernel would wait a minute, as no hot-plug controller has told it.
 */
int vfio_forbid_reset(const char *addr);

/* Opens the function in a container; *container < 0 means make one with this first group. */
int vfio_open(struct vfio_function *fn, const char *addr, int *container);
void vfio_close(struct vfio_function *fn);

enum {
    VFIO_READ = 1,
    VFIO_WRITE = 2
};
int vfio_map(int container, uint64_t iova, void *buf, uint64_t size, int access);
int vfio_unmap(int container, uint64_t iova, uint64_t size);

/* index: VFIO_PCI_INTX_IRQ_INDEX or VFIO_PCI_MSI_IRQ_INDEX. */
int vfio_irq_count(const struct vfio_function *fn, uint32_t index);
int vfio_irq_enable(const struct vfio_function *fn, uint32_t index, int eventfd);
int vfio_irq_unmask(const struct vfio_function *fn, uint32_t index);
int vfio_irq_disable(const struct vfio_function *fn, uint32_t index);

#endif
