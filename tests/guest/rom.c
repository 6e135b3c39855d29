/* SPDX-License-Identifier: MIT */
/* The expansion ROM of an assigned function: its first bytes here, all of it where it comes from.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Returns the bytes that there are, or a negative errno. */
static ssize_t read_all(int fd, unsigned char *bytes, size_t size)
{
    size_t done = 0;
    ssize_t n = 1;

    if (pwrite(fd, "1", 1, 0) != 1)
        return -errno;
    while (done < size && n > 0) {
        n = pread(fd, bytes + done, size - done, (off_t)done);
        done += n > 0 ? (size_t)n : 0;
    }
    return n < 0 ? -errno : (ssize_t)done;
}

void check_rom(const struct job *job)
{
    static unsigned char bytes[65536];
    char path[96];
    ssize_t size;
    int fd;

    if (!job->rom)
        return;
    subject("function %s", job->rom);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/rom", job->rom);
    fd = open(path, O_RDWR | O_CLOEXEC);
    size = fd < 0 ? -errno : read_all(fd, bytes, sizeof(bytes));
    if (fd >= 0)
        close(fd);
    if (size >= 0)
        note("expansion ROM: %zd bytes, checksum %016llx", size,
             (unsigned long long)checksum(CHECKSUM_INIT, bytes, (size_t)size));
    expect(size > 2 && bytes[0] == 0x55 && bytes[1] == 0xaa, "has an expansion ROM", "%s",
           size < 0 ? strerror((int)-size) : "it does not begin with 55 AA");
    subject("%s", "");
}
