/* SPDX-License-Identifier: MIT */
/* Unbinding and exiting while the engine is at work. */
#include "guest.h"
#include "sva/viommu_sva.h"
#include "sva_check.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENOUGH 40 /* page requests */

static bool works_after(const char *addr, const char *what)
{
    struct engine engine;
    uint8_t *from = fresh_pages(2), *to = fresh_pages(2);
    int result = -2, pasid = -1;

    if (!from || !to || !engine_open(&engine, addr))
        return false;
    pasid = engine_bind(&engine);
    pattern_fill(from, 2 * SVA_PAGE, 96, 0);
    if (pasid > 0)
        result = engine_copy(&engine, from, to, 2 * SVA_PAGE);
    engine_close(&engine);
    expect(result == SVA_OK && pattern_matches(to, 2 * SVA_PAGE, 96, 0), what,
           "PASID %d, the engine's result is %d", pasid, result);
    munmap(from, 2 * SVA_PAGE);
    munmap(to, 2 * SVA_PAGE);
    return result == SVA_OK;
}

/* The pages go while the engine writes them again and again; then it is unbound without warning. */
void check_sva_unbind(struct engine *engine, const char *addr)
{
    uint8_t *from = fresh_pages(4), *to = fresh_pages(4);
    uint32_t status, requests = engine_get(engine, SVA_PAGE_REQUESTS);
    int err;

    if (!from || !to)
        return;
    pattern_fill(from, 4 * SVA_PAGE, 97, 0);
    engine_start(engine, from, to, 4 * SVA_PAGE, SVA_REPEAT);
    for (int64_t begin = now_ms();
         engine_get(engine, SVA_PAGE_REQUESTS) - requests < ENOUGH && now_ms() - begin < 10000;) {
        madvise(to, 4 * SVA_PAGE, MADV_DONTNEED);
        sleep_ms(5);
    }
    requests = engine_get(engine, SVA_PAGE_REQUESTS) - requests;
    status = engine_get(engine, SVA_STATUS);
    expect((status & SVA_BUSY) && requests >= ENOUGH, "goes on while its pages are dropped",
           "status %#x, page requests %u", status, requests);
    err = engine_unbind(engine);
    status = engine_get(engine, SVA_STATUS);
    expect(!err && !(status & SVA_BUSY) && SVA_RESULT(status) == SVA_STOPPED,
           "is unbound while it is at work", "%s, status %#x", strerror(-err), status);
    memset(to, 0x55, 4 * SVA_PAGE);
    engine_start(engine, from, to, SVA_PAGE, 0);
    expect(engine_wait(engine) && SVA_RESULT(engine_get(engine, SVA_STATUS)) != SVA_OK &&
               to[0] == 0x55,
           "reaches nothing when it is unbound", "status %#x", engine_get(engine, SVA_STATUS));
    munmap(from, 4 * SVA_PAGE);
    munmap(to, 4 * SVA_PAGE);
    works_after(addr, "works once more after it was unbound");
}

/* The child: leaves without a word while the engine is at work. */
static void start_and_exit(const char *addr)
{
    uint8_t *from = fresh_pages(16), *to = fresh_pages(16);
    struct engine engine;
    uint32_t hits;

    if (!from || !to || !engine_open(&engine, addr) || engine_bind(&engine) <= 0)
        _exit(1);
    hits = engine_get(&engine, SVA_HITS);
    engine_start(&engine, from, to, 16 * SVA_PAGE, SVA_REPEAT);
    while (engine_get(&engine, SVA_HITS) - hits < 100 && engine_get(&engine, SVA_STATUS) & SVA_BUSY)
        sleep_ms(1);
    _exit(engine_get(&engine, SVA_STATUS) & SVA_BUSY ? 0 : 2);
}

void check_sva_exit(const char *addr)
{
    struct engine engine;
    int status = -1;
    pid_t child = fork();

    if (!child)
        start_and_exit(addr);
    if (!expect(waitpid(child, &status, 0) == child && status == 0,
                "a process exits while its engine is at work", "status %#x", (unsigned)status) ||
        !engine_open(&engine, addr))
        return;
    expect(!(engine_get(&engine, SVA_STATUS) & SVA_BUSY) &&
               SVA_RESULT(engine_get(&engine, SVA_STATUS)) != SVA_OK,
           "the engine stops with the process", "status %#x", engine_get(&engine, SVA_STATUS));
    engine_close(&engine);
    works_after(addr, "works for the next process");
}
