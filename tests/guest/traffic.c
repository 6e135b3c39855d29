/* SPDX-License-Identifier: MIT */
/* DMA by the edus that goes on while something happens to the machine. */
#include "edu.h"
#include "edu_check.h"
#include "guest.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEED 110

/* One round through the device and back, to see that it does arrive. */
static bool goes_round(const struct vfio_function *fn, uint8_t *memory)
{
    pattern_fill(memory, EDU_CHUNK, SEED, 0);
    return edu_from_memory(fn, EDU_IOVA, 0, EDU_CHUNK) &&
           edu_to_memory(fn, EDU_IOVA + BUF_SIZE / 2, 0, EDU_CHUNK) &&
           pattern_matches(memory + BUF_SIZE / 2, EDU_CHUNK, SEED, 0);
}

/* Says so in the pipe when data arrives, and goes on while the device answers. */
static void work(const char *addr, int pipe)
{
    struct vfio_function fn = {.group = -1};
    int container = -1;
    uint8_t *memory = mmap(NULL, BUF_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED || vfio_bind(addr) || vfio_open(&fn, addr, &container) ||
        vfio_map(container, EDU_IOVA, memory, BUF_SIZE, VFIO_READ | VFIO_WRITE) ||
        !goes_round(&fn, memory) || write(pipe, "", 1) != 1)
        return;
    while (edu_to_memory(&fn, EDU_IOVA, 0, EDU_CHUNK))
        continue;
}

static void start(const char *addr)
{
    struct pollfd end;
    char byte, what[64];
    int pipes[2];

    fflush(stdout);
    if (!need(!pipe(pipes), "makes a pipe", "it cannot"))
        return;
    if (fork() == 0) {
        close(pipes[0]);
        work(addr, pipes[1]);
        _exit(0);
    }
    close(pipes[1]);
    end = (struct pollfd){.fd = pipes[0], .events = POLLIN};
    snprintf(what, sizeof(what), "the edu %s is at DMA, without end", addr);
    expect(poll(&end, 1, 10000) == 1 && read(pipes[0], &byte, 1) == 1, what,
           "no data arrived in 10 s");
    close(pipes[0]);
}

void edu_traffic_start(const struct job *job)
{
    if (job->emulated_edu)
        start(job->emulated_edu);
    if (job->assigned_edu)
        start(job->assigned_edu);
}
