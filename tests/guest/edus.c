/* SPDX-License-Identifier: MIT */
/* The emulated and the assigned edu: each by itself, both in containers of their own, both in one.
 */
#include "edu.h"
#include "edu_check.h"
#include "guest.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool all_bytes_are(const uint8_t *buf, size_t size, uint8_t value)
{
    for (size_t i = 0; i < size; i++) {
        if (buf[i] != value)
            return false;
    }
    return true;
}

static bool bench_open(struct edu_bench *bench, const char *addr, int container)
{
    int err;

    bench->container = container;
    err = vfio_open(&bench->fn, addr, &bench->container);
    return need(!err, "VFIO opens the function", strerror(-err));
}

static void bench_close(struct edu_bench *bench, bool with_container)
{
    vfio_close(&bench->fn);
    if (with_container && bench->container >= 0)
        close(bench->container);
}

static bool bench_init(struct edu_bench *bench)
{
    uint8_t *memory = mmap(NULL, 2 * BUF_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    *bench = (struct edu_bench){.a = memory, .b = memory + BUF_SIZE, .container = -1};
    return need(memory != MAP_FAILED, "gets memory", "mmap failed");
}

static void check_user_stage(const struct job *job, struct unit *unit, const char *addr)
{
    int stage = unit_stage(unit, addr);
    char what[64];

    snprintf(what, sizeof(what), "VFIO's domain is %s", stage_name(job->user_stage));
    expect(stage == (int)job->user_stage, what, "it is %s",
           stage < 0 ? "unreadable" : stage_name(stage));
}

/* Before, during and after VFIO has it: the kernel's domain must come back each time. */
static void check_alone(const struct job *job, struct unit *unit, struct edu_bench *bench,
                        const char *addr)
{
    struct job settled = *job;
    int err;

    check_group(job, unit, addr);
    err = vfio_bind(addr);
    if (err) {
        expect(false, "vfio-pci takes the function", "%s", strerror(-err));
        return;
    }
    if (bench_open(bench, addr, -1)) {
        check_user_stage(job, unit, addr);
        check_one_edu(bench);
    }
    bench_close(bench, true);
    err = vfio_unbind(addr);
    expect(!err, "vfio-pci gives the function back", "%s", strerror(-err));
    settled.deferred = false;
    check_group(&settled, unit, addr);
}

/* Whatever the other does, each function reaches its own memory alone. */
static void check_same_iova(struct edu_bench *one, struct edu_bench *two)
{
    if (!map_buffer(one->container, EDU_IOVA, one->a, BUF_SIZE, VFIO_READ | VFIO_WRITE) ||
        !map_buffer(two->container, EDU_IOVA, two->a, BUF_SIZE, VFIO_READ | VFIO_WRITE))
        return;
    pattern_fill(one->a, EDU_CHUNK, 70, 0);
    pattern_fill(two->a, EDU_CHUNK, 71, 0);
    edu_from_memory(&one->fn, EDU_IOVA, 0, EDU_CHUNK);
    edu_from_memory(&two->fn, EDU_IOVA, 0, EDU_CHUNK);
    edu_to_memory(&two->fn, EDU_IOVA + 0x4000, 0, EDU_CHUNK);
    edu_to_memory(&one->fn, EDU_IOVA + 0x4000, 0, EDU_CHUNK);
    expect(pattern_matches(one->a + 0x4000, EDU_CHUNK, 70, 0) &&
               pattern_matches(two->a + 0x4000, EDU_CHUNK, 71, 0),
           "the same IOVA leads each to its own memory", "they were mixed up");
    unmap_buffer(one->container, EDU_IOVA, BUF_SIZE);
    edu_to_memory(&two->fn, EDU_IOVA + 0x6000, 0, EDU_CHUNK);
    expect(pattern_matches(two->a + 0x6000, EDU_CHUNK, 71, 0),
           "unmapping for one leaves the other's mapping", "the other lost its mapping");
    unmap_buffer(two->container, EDU_IOVA, BUF_SIZE);
}

/* One domain with two functions: an invalidation must reach both. */
static void check_shared(struct edu_bench *one, struct edu_bench *two)
{
    int container = one->container;

    if (!map_buffer(container, EDU_IOVA, one->a, BUF_SIZE, VFIO_READ | VFIO_WRITE))
        return;
    pattern_fill(one->a, EDU_CHUNK, 80, 0);
    edu_from_memory(&one->fn, EDU_IOVA, 0, EDU_CHUNK);
    edu_from_memory(&two->fn, EDU_IOVA, 0, EDU_CHUNK);
    memset(one->a, 0xaa, BUF_SIZE);
    if (!unmap_buffer(container, EDU_IOVA, BUF_SIZE) ||
        !map_buffer(container, EDU_IOVA, one->b, BUF_SIZE, VFIO_READ | VFIO_WRITE))
        return;
    edu_to_memory(&one->fn, EDU_IOVA, 0, EDU_CHUNK);
    edu_to_memory(&two->fn, EDU_IOVA + 0x1000, 0, EDU_CHUNK);
    expect(pattern_matches(one->b, EDU_CHUNK, 80, 0) &&
               pattern_matches(one->b + 0x1000, EDU_CHUNK, 80, 0) &&
               all_bytes_are(one->a, BUF_SIZE, 0xaa),
           "in one container both follow a remapping", "one of them did not");
    unmap_buffer(container, EDU_IOVA, BUF_SIZE);
}

static void check_together(const struct job *job)
{
    struct edu_bench one, two;

    subject("both edus");
    if (!bench_init(&one) || !bench_init(&two) || vfio_bind(job->emulated_edu) ||
        vfio_bind(job->assigned_edu))
        return;
    if (bench_open(&one, job->emulated_edu, -1) && bench_open(&two, job->assigned_edu, -1))
        check_same_iova(&one, &two);
    bench_close(&two, true);
    if (bench_open(&two, job->assigned_edu, one.container))
        check_shared(&one, &two);
    bench_close(&two, false);
    bench_close(&one, true);
    vfio_unbind(job->emulated_edu);
    vfio_unbind(job->assigned_edu);
}

void check_edus(const struct job *job, struct unit *unit)
{
    struct edu_bench bench;

    if (job->emulated_edu && bench_init(&bench)) {
        subject("emulated edu %s", job->emulated_edu);
        bench.emulated = true;
        check_alone(job, unit, &bench, job->emulated_edu);
    }
    if (job->assigned_edu && bench_init(&bench)) {
        subject("assigned edu %s", job->assigned_edu);
        check_alone(job, unit, &bench, job->assigned_edu);
    }
    if (job->emulated_edu && job->assigned_edu)
        check_together(job);
}
