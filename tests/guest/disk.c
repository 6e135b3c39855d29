/* SPDX-License-Identifier: MIT */
/*
 * A disk behind the IOMMU: virtio-blk, or NVMe. The image, made by scripts/make-disk: an ext4
 * filesystem in the first 48 MiB that holds the file "from-host", and 16 MiB behind it for raw
 * transfers. The host looks at what is left there afterwards.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_DEFAULT "vda"
#define PATIENCE                                                                                   \
    90000 /* ms, until a disk is found: a machine that is emulated has slow moments                \
           */
#define MOUNT_POINT   "/disk"
#define RAW_START     (48ull << 20)
#define RAW_SEED      100
#define RAW_WORKERS   4
#define RAW_SHARE     (2u << 20) /* bytes of each worker */
#define HOST_FILE     "from-host"
#define HOST_SEED     1
#define HOST_SIZE     (1u << 20)
#define FIRST_SEED    2 /* of file-2, file-3, ... */
#define BUFFER_SIZE   (64u << 10)
#define RAW_CHUNK_MAX (512u << 10)

/* The word block= names another one: nvme0n1. */
static const char *disk_name(void)
{
    const char *name = getenv("block");

    return name ? name : DISK_DEFAULT;
}

static const char *disk_path(void)
{
    static char path[64];

    snprintf(path, sizeof(path), "/dev/%s", disk_name());
    return path;
}

static const size_t file_sizes[] = {1, 4095, 4096, 65537, 1 << 20, (3 << 20) + 17};
#define N_FILES (sizeof(file_sizes) / sizeof(file_sizes[0]))

static int write_file(const char *path, size_t size, uint64_t seed, uint64_t *sum)
{
    static uint8_t buf[BUFFER_SIZE];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int err = 0;

    if (fd < 0)
        return -errno;
    *sum = CHECKSUM_INIT;
    for (size_t done = 0; done < size && !err; done += BUFFER_SIZE) {
        size_t n = size - done < BUFFER_SIZE ? size - done : BUFFER_SIZE;

        pattern_fill(buf, n, seed, done);
        *sum = checksum(*sum, buf, n);
        if (write(fd, buf, n) != (ssize_t)n)
            err = -EIO;
    }
    close(fd);
    return err;
}

static int sum_file(const char *path, size_t *size, uint64_t *sum)
{
    static uint8_t buf[BUFFER_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    *size = 0;
    *sum = CHECKSUM_INIT;
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        *size += (size_t)n;
        *sum = checksum(*sum, buf, (size_t)n);
    }
    close(fd);
    return n < 0 ? -EIO : 0;
}

static bool mount_disk(void)
{
    mkdir(MOUNT_POINT, 0755);
    if (!mount(disk_path(), MOUNT_POINT, "ext4", 0, NULL))
        return true;
    return expect(false, "mounts the filesystem", "%s", strerror(errno));
}

/* Unmounts, and makes the kernel forget what it has cached of the disk. */
static bool unmount_disk(void)
{
    sync();
    if (umount(MOUNT_POINT))
        return expect(false, "unmounts the filesystem", "%s", strerror(errno));
    write_text("3", "/proc/sys/vm/drop_caches");
    return true;
}

static void verify_file(const char *name, size_t want_size, uint64_t want_sum)
{
    char path[64], what[96];
    uint64_t sum = 0;
    size_t size = 0;
    int err;

    snprintf(path, sizeof(path), MOUNT_POINT "/%s", name);
    snprintf(what, sizeof(what), "%s reads back, %zu bytes, checksum %016" PRIx64, name, want_size,
             want_sum);
    err = sum_file(path, &size, &sum);
    if (err)
        expect(false, what, "%s", strerror(-err));
    else
        expect(size == want_size && sum == want_sum, what, "got %zu bytes, checksum %016" PRIx64,
               size, sum);
}

static uint64_t host_file_sum(void)
{
    static uint8_t content[HOST_SIZE];

    pattern_fill(content, sizeof(content), HOST_SEED, 0);
    return checksum(CHECKSUM_INIT, content, sizeof(content));
}

static void write_files(uint64_t sums[N_FILES])
{
    char path[64];

    for (size_t i = 0; i < N_FILES; i++) {
        int err;

        snprintf(path, sizeof(path), MOUNT_POINT "/file-%zu", i + FIRST_SEED);
        err = write_file(path, file_sizes[i], i + FIRST_SEED, &sums[i]);
        if (err)
            expect(false, "writes the files", "%s: %s", path, strerror(-err));
    }
}

static void check_filesystem(void)
{
    uint64_t sums[N_FILES];
    char name[16];

    if (!mount_disk())
        return;
    verify_file(HOST_FILE, HOST_SIZE, host_file_sum());
    write_files(sums);
    if (!unmount_disk() || !mount_disk())
        return;
    for (size_t i = 0; i < N_FILES; i++) {
        snprintf(name, sizeof(name), "file-%zu", i + FIRST_SEED);
        verify_file(name, file_sizes[i], sums[i]);
    }
    unmount_disk();
}

static size_t chunk_size(unsigned i)
{
    static const size_t sizes[] = {512, 4096, 1536, RAW_CHUNK_MAX, 65536, 12288};

    return sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];
}

/* Goes over one worker's share in chunks of many sizes; writes it, or reads and compares it. */
static int raw_pass(int fd, uint8_t *buf, uint64_t start, bool writing)
{
    uint64_t done = 0;

    for (unsigned i = 0; done < RAW_SHARE; i++) {
        size_t n = chunk_size(i) < RAW_SHARE - done ? chunk_size(i) : RAW_SHARE - done;
        off_t at = (off_t)(RAW_START + start + done);
        ssize_t moved;

        if (writing)
            pattern_fill(buf, n, RAW_SEED, start + done);
        else
            memset(buf, 0, n);
        moved = writing ? pwrite(fd, buf, n, at) : pread(fd, buf, n, at);
        if (moved != (ssize_t)n)
            return 1;
        if (!writing && !pattern_matches(buf, n, RAW_SEED, start + done))
            return 2;
        done += n;
    }
    return 0;
}

/* Exit code: 0 good, 1 an input or output error, 2 content differs, 3 no memory or no disk. */
static int raw_worker(unsigned worker)
{
    uint64_t start = (uint64_t)worker * RAW_SHARE;
    void *buf;
    int fd = open(disk_path(), O_RDWR | O_DIRECT | O_CLOEXEC);
    int result;

    if (fd < 0 || posix_memalign(&buf, 4096, RAW_CHUNK_MAX))
        return 3;
    result = raw_pass(fd, buf, start, true);
    return result ? result : raw_pass(fd, buf, start, false);
}

static void check_raw(void)
{
    int worst = 0;

    fflush(stdout);
    for (unsigned i = 0; i < RAW_WORKERS; i++) {
        if (fork() == 0)
            _exit(raw_worker(i));
    }
    for (unsigned i = 0; i < RAW_WORKERS; i++) {
        int status = -1;

        wait(&status);
        status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
        worst = status > worst ? status : worst;
    }
    sync();
    expect(worst == 0, "four workers write and read 8 MiB past the page cache",
           "a worker ended with %d (1: input/output error, 2: content differs)", worst);
}

static void write_for_ever(unsigned worker)
{
    uint64_t start = (uint64_t)worker * RAW_SHARE;
    void *buf;
    int fd = open(disk_path(), O_RDWR | O_DIRECT | O_CLOEXEC);

    if (fd < 0 || posix_memalign(&buf, 4096, RAW_CHUNK_MAX))
        return;
    while (!raw_pass(fd, buf, start, true))
        continue;
}

int disk_traffic_start(void)
{
    fflush(stdout);
    for (unsigned i = 0; i < RAW_WORKERS; i++) {
        if (fork() == 0) {
            write_for_ever(i);
            _exit(0);
        }
    }
    return RAW_WORKERS;
}

/* The PCI function that carries the disk: the nearest of the devices above it that has a vendor. */
bool disk_function(char *addr, size_t size)
{
    char path[PATH_MAX], *slash;
    unsigned slot;

    snprintf(addr, size, "/sys/block/%s/device", disk_name());
    if (!realpath(addr, path))
        return false;
    while ((slash = strrchr(path, '/'))) {
        snprintf(addr, size, "%s", slash + 1);
        if (sscanf(addr, "%*4x:%*2x:%2x.%*1x", &slot) == 1)
            return true;
        *slash = '\0';
    }
    return false;
}

/* The NVMe driver finds the completion that no interrupt told of, 30 or 60 s later, and says so. */
static void check_interrupts(void)
{
    static const char *const parts[] = {"nvme", "QID", "timeout", NULL};
    char line[512] = "/dev/kmsg cannot be opened";
    struct klog log;
    bool missed;

    missed = !klog_open_at_start(&log) || klog_wait(&log, parts, line, sizeof(line), 0);
    klog_close(&log);
    expect(!missed, "no interrupt of the disk is lost", "%s", line);
}

void check_disk(const struct job *job, struct unit *unit)
{
    int64_t begin = now_ms();
    char addr[32];

    subject("disk %s", disk_name());
    if (job->disk && !strcmp(job->disk, "none")) {
        note("no disk, not checked");
        return;
    }
    if (!wait_for_path(disk_path(), PATIENCE) || !disk_function(addr, sizeof(addr))) {
        expect(false, "the disk is found", "there is no %s after %d s", disk_path(),
               PATIENCE / 1000);
        return;
    }
    subject("%s %s", disk_name(), addr);
    note("found after %d ms", (int)(now_ms() - begin));
    check_group(job, unit, addr);
    check_filesystem();
    check_raw();
    check_interrupts();
}
