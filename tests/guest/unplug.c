/* SPDX-License-Identifier: MIT */
/*
 * "unplug=all" on the command line: both edus leave by surprise while they are at DMA. The guest
 * asks for it by a line on the console, which scripts/guest-run answers by way of the control
 * socket. Nothing tells the kernel; who touches the device reads all ones. "unplug=all+disk": and
 * then the disk, while it is written.
 */
#include "guest.h"
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE 30000 /* ms; the host starts a program */

static bool reads_ones(const char *addr)
{
    uint32_t id = 0;
    char path[64];
    ssize_t got;
    int fd;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", addr);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    got = read(fd, &id, sizeof(id));
    close(fd);
    return got == sizeof(id) && id == UINT32_MAX;
}

static bool is_gone(const char *addr)
{
    for (int waited = 0; waited < PATIENCE; waited += 50) {
        if (reads_ones(addr))
            return true;
        sleep_ms(50);
    }
    return false;
}

/* The kernel frees everything that it had for the function, and finds it no more. */
static void remove_function(const char *addr)
{
    char path[64];
    int err = write_text("1", "/sys/bus/pci/devices/%s/remove", addr);

    expect(!err, "the kernel removes what is no more", "%s", strerror(-err));
    write_text("1", "/sys/bus/pci/rescan");
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", addr);
    expect(access(path, F_OK) != 0, "a rescan does not find it", "%s is there", path);
}

static void forbid_reset(const char *addr)
{
    int err = addr ? vfio_forbid_reset(addr) : 0;

    need(!err, "forbids resets", strerror(-err));
}

static void unplug(const char *addr)
{
    subject("unplug");
    note("please unplug %s", addr);
    subject("unplugged edu %s", addr);
    if (!expect(is_gone(addr), "reads as all ones", "it is still there after %d s",
                PATIENCE / 1000))
        return;
    edu_traffic_lost(addr);
    remove_function(addr);
}

/* How many of the workers have not ended; they are all the children that there are. */
static int workers_left(int workers)
{
    for (int waited = 0; workers && waited < PATIENCE; waited += 50) {
        while (workers && waitpid(-1, NULL, WNOHANG) > 0)
            workers--;
        sleep_ms(50);
    }
    return workers;
}

static void unplug_disk(void)
{
    char addr[32];
    int workers;

    if (!expect(disk_function(addr, sizeof(addr)), "finds the disk", "there is none"))
        return;
    workers = disk_traffic_start();
    sleep_ms(500);
    note("please unplug %s", addr);
    subject("unplugged disk %s", addr);
    if (!expect(is_gone(addr), "reads as all ones", "it is still there after %d s",
                PATIENCE / 1000))
        return;
    remove_function(addr);
    workers = workers_left(workers);
    expect(!workers, "who writes to it gets an error, and comes to an end", "%d are left", workers);
}

void check_unplug(const struct job *job, struct unit *unit)
{
    if (!getenv("unplug"))
        return;
    subject("unplug");
    forbid_reset(job->emulated_edu);
    forbid_reset(job->assigned_edu);
    edu_traffic_start(job);
    if (job->emulated_edu)
        unplug(job->emulated_edu);
    if (job->assigned_edu)
        unplug(job->assigned_edu);
    check_disk(job, unit);
    if (strstr(getenv("unplug"), "disk"))
        unplug_disk();
}
