/* SPDX-License-Identifier: MIT */
/* A disk image: a regular file or a block device, in sectors of 512 bytes. */
#ifndef VMM_DISK_H
#define VMM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viommu/error.h>

#define VMM_SECTOR_SIZE 512u

struct vmm_disk {
    int fd;
    uint64_t sectors;
    bool readonly;
};

/* Errors name the path: it is missing, not readable, not a disk, not a multiple of a sector. */
int vmm_disk_open(struct vmm_disk *disk, const char *path, bool readonly, struct viommu_error *err);
void vmm_disk_close(struct vmm_disk *disk);

/*
 * Whole transfers at byte `offset`, which the caller has checked against the size. 0 or a negative
 * errno; short reads of a file that has shrunk are -EIO.
 */
int vmm_disk_read(const struct vmm_disk *disk, uint64_t offset, void *buffer, size_t length);
int vmm_disk_write(const struct vmm_disk *disk, uint64_t offset, const void *buffer, size_t length);

/* What was written is on stable storage when it returns. */
int vmm_disk_flush(const struct vmm_disk *disk);

/* Give the storage back, after which the range reads as zeros; -EOPNOTSUPP when it cannot. */
int vmm_disk_punch(const struct vmm_disk *disk, uint64_t offset, uint64_t length);

/* Make the range read as zeros and keep the storage; -EOPNOTSUPP when only writing does it. */
int vmm_disk_zero(const struct vmm_disk *disk, uint64_t offset, uint64_t length);

#endif
