/* SPDX-License-Identifier: MIT */
#include "disk.h"
#include "vmm.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* lseek() tells the size of a block device too, which fstat() does not. */
static int measure(struct vmm_disk *disk, const char *path, struct viommu_error *err)
{
    struct stat st;
    off_t size;

    if (fstat(disk->fd, &st))
        return vmm_fail(err, errno, "the disk '%s' cannot be examined: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return vmm_fail(err, EINVAL, "the disk '%s' is %s: give a file or a block device", path,
                        S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
    size = lseek(disk->fd, 0, SEEK_END);
    if (size < 0)
        return vmm_fail(err, errno, "the disk '%s' has no size: %s", path, strerror(errno));
    if (!size || size % VMM_SECTOR_SIZE)
        return vmm_fail(err, EINVAL,
                        "the disk '%s' has %" PRIu64
                        " bytes: give it a size that is a multiple of %u and not 0",
                        path, (uint64_t)size, VMM_SECTOR_SIZE);
    disk->sectors = (uint64_t)size / VMM_SECTOR_SIZE;
    return 0;
}

/* O_NONBLOCK: a FIFO shall be refused, not waited for. */
int vmm_disk_open(struct vmm_disk *disk, const char *path, bool readonly, struct viommu_error *err)
{
    int ret;

    disk->readonly = readonly;
    disk->fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (disk->fd < 0 && errno == EISDIR)
        return vmm_fail(err, EISDIR, "the disk '%s' is a directory: give a file or a block device",
                        path);
    if (disk->fd < 0)
        return vmm_fail(err, errno, "the disk '%s' cannot be opened for %s: %s%s", path,
                        readonly ? "reading" : "writing", strerror(errno),
                        !readonly && (errno == EACCES || errno == EROFS)
                            ? "; readonly=on would only read it"
                            : "");
    ret = measure(disk, path, err);
    if (ret)
        vmm_disk_close(disk);
    return ret;
}

void vmm_disk_close(struct vmm_disk *disk)
{
    close(disk->fd);
    disk->fd = -1;
}

int vmm_disk_read(const struct vmm_disk *disk, uint64_t offset, void *buffer, size_t length)
{
    uint8_t *to = buffer;

    while (length) {
        ssize_t got = pread(disk->fd, to, length, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? -errno : -EIO;
        to += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}

int vmm_disk_write(const struct vmm_disk *disk, uint64_t offset, const void *buffer, size_t length)
{
    const uint8_t *from = buffer;

    while (length) {
        ssize_t put = pwrite(disk->fd, from, length, (off_t)offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put ? -errno : -EIO;
        from += put;
        offset += (uint64_t)put;
        length -= (size_t)put;
    }
    return 0;
}

int vmm_disk_flush(const struct vmm_disk *disk)
{
    return fdatasync(disk->fd) ? -errno : 0;
}

static int allocate(const struct vmm_disk *disk, int mode, uint64_t offset, uint64_t length)
{
    int ret;

    do {
        ret = fallocate(disk->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
    } while (ret && errno == EINTR);
    return ret ? -errno : 0;
}

int vmm_disk_punch(const struct vmm_disk *disk, uint64_t offset, uint64_t length)
{
    return allocate(disk, FALLOC_FL_PUNCH_HOLE, offset, length);
}

int vmm_disk_zero(const struct vmm_disk *disk, uint64_t offset, uint64_t length)
{
    return allocate(disk, FALLOC_FL_ZERO_RANGE, offset, length);
}
