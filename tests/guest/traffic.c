/* SPDX-License-Identifier: MIT */
/* DMA by the edus that goes on, in processes of their own, while something happens. */
#include "edu.h"
#include "edu_check.h"
#include "guest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define EDUS     2
#define PATIENCE 10000 /* ms */
#define SEED     110

static struct worker {
    const char *addr;
    pid_t pid;
    volatile uint64_t *rounds; /* through the device and back, so far; the process writes it */
} workers[EDUS];
static unsigned worker_count;

/* A round with another pattern each time; false when it does not arrive. */
static bool goes_round(const struct vfio_function *fn, uint8_t *memory, uint64_t round)
{
    pattern_fill(memory, EDU_CHUNK, SEED + round, 0);
    return edu_from_memory(fn, EDU_IOVA, 0, EDU_CHUNK) &&
           edu_to_memory(fn, EDU_IOVA + BUF_SIZE / 2, 0, EDU_CHUNK) &&
           pattern_matches(memory + BUF_SIZE / 2, EDU_CHUNK, SEED + round, 0);
}

static void work(const struct worker *worker)
{
    struct vfio_function fn = {.group = -1};
    int container = -1;
    uint8_t *memory = mmap(NULL, BUF_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED || vfio_open(&fn, worker->addr, &container) ||
        vfio_map(container, EDU_IOVA, memory, BUF_SIZE, VFIO_READ | VFIO_WRITE))
        return;
    while (goes_round(&fn, memory, *worker->rounds))
        ++*worker->rounds;
}

static bool worker_advances(const struct worker *worker)
{
    uint64_t before = *worker->rounds;

    for (int waited = 0; waited < PATIENCE && *worker->rounds < before + 2; waited += 10)
        sleep_ms(10);
    return *worker->rounds >= before + 2;
}

static void start(const char *addr)
{
    struct worker *worker = &workers[worker_count];
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int err = vfio_bind(addr);
    char what[64];

    if (!need(page != MAP_FAILED, "gets memory", strerror(errno)) ||
        !need(!err, "vfio-pci takes the function", strerror(-err)))
        return;
    *worker = (struct worker){.addr = addr, .rounds = page};
    fflush(stdout);
    worker->pid = fork();
    if (worker->pid == 0) {
        work(worker);
        _exit(0);
    }
    worker_count++;
    snprintf(what, sizeof(what), "the edu %s is at DMA, without end", addr);
    expect(worker_advances(worker), what, "no data arrived");
}

void edu_traffic_start(const struct job *job)
{
    if (job->emulated_edu)
        start(job->emulated_edu);
    if (job->assigned_edu)
        start(job->assigned_edu);
}

/* Those that are at work must be. */
static void check_others(const char *lost)
{
    char what[64];

    for (unsigned i = 0; i < worker_count; i++) {
        if (!workers[i].pid || !strcmp(workers[i].addr, lost))
            continue;
        snprintf(what, sizeof(what), "the edu %s is still at DMA", workers[i].addr);
        expect(worker_advances(&workers[i]), what, "no more data arrives");
    }
}

void edu_traffic_lost(const char *addr)
{
    check_others(addr);
    for (unsigned i = 0; i < worker_count; i++) {
        if (!workers[i].pid || strcmp(workers[i].addr, addr) != 0)
            continue;
        expect(waitpid(workers[i].pid, NULL, 0) == workers[i].pid,
               "the process that drives it comes to an end", "%s", strerror(errno));
        workers[i].pid = 0;
    }
}

void edu_traffic_stop(void)
{
    char what[64];

    for (; worker_count; worker_count--) {
        struct worker *worker = &workers[worker_count - 1];
        int err;

        snprintf(what, sizeof(what), "the edu %s is still at DMA", worker->addr);
        expect(worker_advances(worker), what, "no more data arrives after %llu rounds",
               (unsigned long long)*worker->rounds);
        kill(worker->pid, SIGKILL);
        waitpid(worker->pid, NULL, 0);
        err = vfio_unbind(worker->addr);
        need(!err, "vfio-pci gives the function back", strerror(-err));
        munmap((void *)worker->rounds, 4096);
    }
}
