/* SPDX-License-Identifier: MIT */
/* What the parts of the fake kernel know of one another. */
#ifndef FAKE_PARTS_H
#define FAKE_PARTS_H

#include "fake-kernel.h"

/* Descriptors (fake-kernel.c). A new one, or -EMFILE; NULL: there is no such. */
int fake_file_new(struct fake_kernel *kernel, enum fake_file_type type, uint32_t index);
struct fake_file *fake_file_of(struct fake_kernel *kernel, int descriptor);

/* Objects of /dev/iommu by ID, and its ioctls (fake-iommufd.c). NULL: there is no such. */
struct fake_object *fake_object_of(struct fake_kernel *kernel, uint32_t id, enum fake_type type);
struct fake_object *fake_hwpt_of(struct fake_kernel *kernel, uint32_t id);
struct fake_device *fake_device_of(struct fake_kernel *kernel, uint32_t id);
uint32_t fake_object_new(struct fake_kernel *kernel, enum fake_type type);
int fake_iommufd_ioctl(struct fake_kernel *kernel, unsigned long number, void *argument);

/* One ioctl of /dev/iommu each; `argument` is a copy of its structure, as long as is known. */
int fake_ioas_alloc(struct fake_kernel *kernel, void *argument);
int fake_iova_ranges(struct fake_kernel *kernel, void *argument);
int fake_ioas_map(struct fake_kernel *kernel, void *argument);
int fake_ioas_map_file(struct fake_kernel *kernel, void *argument);
int fake_ioas_unmap(struct fake_kernel *kernel, void *argument);
int fake_hwpt_alloc(struct fake_kernel *kernel, void *argument);
int fake_invalidate(struct fake_kernel *kernel, void *argument);
int fake_set_dirty(struct fake_kernel *kernel, void *argument);
int fake_get_dirty(struct fake_kernel *kernel, void *argument);
int fake_fault_alloc(struct fake_kernel *kernel, void *argument);

/* The descriptor of a fault queue, by the ID of the queue (fake-faults.c). */
bool fake_faults_wait(const struct fake_kernel *kernel, uint32_t queue);
ssize_t fake_faults_read(struct fake_kernel *kernel, uint32_t queue, struct uapi_fault *to,
                         size_t size);
ssize_t fake_faults_answer(struct fake_kernel *kernel, const struct uapi_fault_response *response);

/* VFIO character devices (fake-devices.c), containers and groups (fake-type1.c). */
int fake_device_ioctl(struct fake_kernel *kernel, struct fake_file *file, unsigned long number,
                      void *argument);
void fake_device_close(struct fake_kernel *kernel, struct fake_device *device);
int fake_type1_ioctl(struct fake_kernel *kernel, struct fake_file *file, unsigned long request,
                     void *argument);
void fake_type1_close(struct fake_kernel *kernel, struct fake_file *file);

/* Device n is 0000:0(n + 1):00.0, in group 7 + n (fake-sysfs.c). */
void fake_add_device(struct fake_kernel *kernel, unsigned int n);

#endif
