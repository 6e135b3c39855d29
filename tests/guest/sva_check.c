/* SPDX-License-Identifier: MIT */
/*
 * Linux SVA, end to end: an engine copies between virtual addresses of this process, whose pages
 * come and go by the kernel's own rules. The module sva/viommu_sva.c binds; everything else is
 * the kernel's page-request queue, fault handling and invalidations.
 */
#include "sva_check.h"

#include "guest.h"
#include "sva/viommu_sva.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 8u
#define SIZE  (PAGES * SVA_PAGE)

static bool expect_copy(const struct engine *engine, const void *from, void *to, size_t size,
                        const char *what)
{
    int result = engine_copy(engine, from, to, size);

    return result == SVA_OK || expect(false, what, "the engine's result is %d, at %#llx", result,
                                      (unsigned long long)engine_get64(engine, SVA_FAULT_ADDRESS));
}

/* The source was written by this program, the destination was never touched. */
static void check_fresh_destination(const struct engine *engine)
{
    uint32_t requests = engine_get(engine, SVA_PAGE_REQUESTS);
    uint8_t *from = fresh_pages(PAGES), *to = fresh_pages(PAGES);

    if (!from || !to)
        return;
    pattern_fill(from, SIZE, 90, 0);
    if (expect_copy(engine, from, to, SIZE, "copies to pages that were never touched")) {
        expect(pattern_matches(to, SIZE, 90, 0), "copies to pages that were never touched",
               "what arrived differs");
        requests = engine_get(engine, SVA_PAGE_REQUESTS) - requests;
        expect(requests >= PAGES, "asked for each of them by a page request", "it made %u",
               requests);
    }
    munmap(from, SIZE);
    munmap(to, SIZE);
}

/* Neither side was touched: what is read are the zeros of fresh memory. */
static void check_fresh_source(const struct engine *engine)
{
    uint32_t requests = engine_get(engine, SVA_PAGE_REQUESTS);
    uint8_t *from = fresh_pages(PAGES), *to = fresh_pages(PAGES);
    uint64_t sum = 0;

    if (!from || !to)
        return;
    memset(to, 0xaa, SIZE);
    if (expect_copy(engine, from, to, SIZE, "reads fresh pages")) {
        for (size_t i = 0; i < SIZE; i++)
            sum += to[i];
        requests = engine_get(engine, SVA_PAGE_REQUESTS) - requests;
        expect(!sum && requests >= PAGES, "reads fresh pages as zeros, by page requests",
               "bytes add up to %llu, page requests %u", (unsigned long long)sum, requests);
    }
    munmap(from, SIZE);
    munmap(to, SIZE);
}

/* Odd addresses, many groups; then all is in the device TLB. */
static void check_device_tlb(const struct engine *engine)
{
    size_t size = 60 * SVA_PAGE + 1234;
    uint8_t *from = fresh_pages(64), *to = fresh_pages(64);
    uint32_t before, after;

    if (!from || !to)
        return;
    pattern_fill(from + 77, size, 91, 0);
    if (expect_copy(engine, from + 77, to + 4001, size, "copies 240 KiB at odd addresses"))
        expect(pattern_matches(to + 4001, size, 91, 0), "copies 240 KiB at odd addresses",
               "what arrived differs");
    before = engine_get(engine, SVA_TRANSLATIONS);
    if (expect_copy(engine, from + 77, to + 4001, size, "copies once more")) {
        after = engine_get(engine, SVA_TRANSLATIONS);
        expect(after == before, "needs no translation for the same pages again", "it asked for %u",
               after - before);
    }
    munmap(from, 64 * SVA_PAGE);
    munmap(to, 64 * SVA_PAGE);
}

/* The kernel takes the page back: the device must not reach it any more. */
static void check_dropped_page(const struct engine *engine)
{
    uint8_t *page = fresh_pages(1), *other = fresh_pages(1);
    uint32_t count = engine_get(engine, SVA_INVALIDATIONS);

    if (!page || !other)
        return;
    pattern_fill(page, SVA_PAGE, 92, 0);
    expect_copy(engine, page, other, SVA_PAGE, "copies a page that will be dropped");
    madvise(page, SVA_PAGE, MADV_DONTNEED);
    count = engine_get(engine, SVA_INVALIDATIONS) - count;
    expect(count >= 1, "hears of a page that the kernel took back", "no invalidation came");
    if (expect_copy(engine, page, other, SVA_PAGE, "copies a dropped page"))
        expect(!other[0] && !memcmp(other, other + 1, SVA_PAGE - 1),
               "finds a fresh page where one was dropped", "it read the old one");
    munmap(page, SVA_PAGE);
    munmap(other, SVA_PAGE);
}

/* After fork() both processes have the page, read-only: the device's write must break it apart. */
static void check_copy_on_write(const struct engine *engine)
{
    uint8_t *page = fresh_pages(1), *other = fresh_pages(1);
    int gate[2], status = -1;
    char byte = 0;
    pid_t child;

    if (!page || !other || !need(!pipe(gate), "makes a pipe", "it failed"))
        return;
    pattern_fill(other, SVA_PAGE, 93, 0);
    expect_copy(engine, other, page, SVA_PAGE, "copies before fork()");
    child = fork();
    if (!child)
        _exit(read(gate[0], &byte, 1) == 1 && pattern_matches(page, SVA_PAGE, 93, 0) ? 0 : 1);
    pattern_fill(other, SVA_PAGE, 94, 0);
    if (expect_copy(engine, other, page, SVA_PAGE, "copies after fork()"))
        expect(pattern_matches(page, SVA_PAGE, 94, 0), "writes a page that is shared since fork()",
               "the parent does not see it");
    if (write(gate[1], &byte, 1) != 1 || waitpid(child, &status, 0) != child)
        status = -1;
    expect(status == 0, "leaves the child's copy of it alone", "the child's status is %d", status);
    close(gate[0]);
    close(gate[1]);
    munmap(page, SVA_PAGE);
    munmap(other, SVA_PAGE);
}

static void expect_invalid(const struct engine *engine, const void *from, void *to,
                           const void *where, const char *what)
{
    int result = engine_copy(engine, from, to, 64);
    uint64_t address = engine_get64(engine, SVA_FAULT_ADDRESS);

    expect(result == SVA_INVALID && address == (uintptr_t)where, what,
           "the engine's result is %d, at %#llx", result, (unsigned long long)address);
}

static void check_read_only(const struct engine *engine)
{
    uint8_t *page = fresh_pages(1), *other = fresh_pages(1);

    if (!page || !other)
        return;
    pattern_fill(page, SVA_PAGE, 95, 0);
    expect_copy(engine, other, page + 2048, 64, "writes a page that is writable");
    mprotect(page, SVA_PAGE, PROT_READ);
    expect_invalid(engine, other, page, page, "may not write a page that is read-only now");
    expect(pattern_matches(page, 2048, 95, 0), "leaves the read-only page as it is",
           "it has changed");
    if (expect_copy(engine, page, other, 64, "reads the read-only page"))
        expect(pattern_matches(other, 64, 95, 0), "reads the read-only page",
               "what arrived differs");
    munmap(page, SVA_PAGE);
    munmap(other, SVA_PAGE);
}

static void check_unmapped(const struct engine *engine)
{
    uint8_t *page = fresh_pages(1), *other = fresh_pages(1);
    void *kernel = (void *)0xffff888000000000ull;

    if (!page || !other)
        return;
    memset(page, 1, SVA_PAGE);
    expect_copy(engine, page, other, 64, "reads a page that will be unmapped");
    expect_copy(engine, other, page, 64, "writes a page that will be unmapped");
    munmap(page, SVA_PAGE);
    expect_invalid(engine, page, other, page, "may not read what is unmapped");
    expect_invalid(engine, other, page, page, "may not write what is unmapped");
    expect_invalid(engine, NULL, other, NULL, "may not read page 0");
    expect_invalid(engine, kernel, other, kernel, "may not read the kernel's memory");
    munmap(other, SVA_PAGE);
}

/* Where the extended capability is in configuration space; 0 without it. */
static unsigned find_capability(const uint8_t *config, uint16_t id)
{
    unsigned at = 0x100;

    for (int i = 0; i < 64 && at >= 0x100; i++) {
        if ((config[at] | config[at + 1] << 8) == id)
            return at;
        at = (unsigned)(config[at + 2] >> 4 | config[at + 3] << 4);
    }
    return 0;
}

/* The kernel must have enabled all three, or nothing else was what it seemed to be. */
static void check_capabilities(const char *addr)
{
    static const struct {
        uint16_t id, control, enable;
        const char *what;
    } rows[] = {{0x1b, 6, 1, "the kernel has enabled PASIDs"},
                {0x0f, 6, 0x8000, "the kernel has enabled ATS"},
                {0x13, 4, 1, "the kernel has enabled page requests"}};
    uint8_t config[4096] = {0};
    char path[96];
    FILE *file;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", addr);
    file = fopen(path, "re");
    if (!need(file && fread(config, 1, sizeof(config), file) == sizeof(config),
              "its configuration space can be read", "it cannot"))
        return;
    fclose(file);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned at = find_capability(config, rows[i].id);
        uint16_t control = 0;

        if (at)
            memcpy(&control, config + at + rows[i].control, sizeof(control));
        expect(control & rows[i].enable, rows[i].what, "the capability at %#x says %#x", at,
               control);
    }
}

static void check_bound(const struct engine *engine)
{
    check_fresh_destination(engine);
    check_fresh_source(engine);
    check_device_tlb(engine);
    check_dropped_page(engine);
    check_copy_on_write(engine);
    check_read_only(engine);
    check_unmapped(engine);
}

static void check_one(const char *addr)
{
    struct engine engine;
    int pasid;

    if (!engine_open(&engine, addr))
        return;
    pasid = engine_bind(&engine);
    if (expect(pasid > 0, "binds this process", "%s", pasid ? strerror(-pasid) : "PASID 0")) {
        check_capabilities(addr);
        check_bound(&engine);
        check_sva_unbind(&engine, addr);
    }
    engine_close(&engine);
    check_sva_exit(addr);
}

/* From the first page to the second by one engine, on to the third by the other. */
static bool relay(const struct engine *one, const struct engine *other, uint8_t *pages,
                  const char *what)
{
    return expect_copy(one, pages, pages + SVA_PAGE, SVA_PAGE, what) &&
           expect_copy(other, pages + SVA_PAGE, pages + 2 * SVA_PAGE, SVA_PAGE, what);
}

/* Both have the same address space: a page that goes is gone for both. */
static void check_both_bound(const struct engine *one, const struct engine *other)
{
    uint8_t *pages = fresh_pages(3);

    if (!pages)
        return;
    pattern_fill(pages, SVA_PAGE, 98, 0);
    if (relay(one, other, pages, "hand a page on"))
        expect(pattern_matches(pages + 2 * SVA_PAGE, SVA_PAGE, 98, 0), "hand a page on",
               "what arrived differs");
    madvise(pages, 2 * SVA_PAGE, MADV_DONTNEED);
    if (relay(one, other, pages, "hand a dropped page on"))
        expect(!pages[2 * SVA_PAGE] &&
                   !memcmp(pages + 2 * SVA_PAGE, pages + 2 * SVA_PAGE + 1, SVA_PAGE - 1),
               "find a fresh page where one was dropped", "one of them used the old one");
    munmap(pages, 3 * SVA_PAGE);
}

static void check_both(const char *one, const char *other)
{
    struct engine engines[2];

    if (!engine_open(&engines[0], one))
        return;
    if (engine_open(&engines[1], other)) {
        int first = engine_bind(&engines[0]), second = engine_bind(&engines[1]);

        if (expect(first > 0 && second > 0, "are bound to one process", "PASIDs %d and %d", first,
                   second))
            check_both_bound(&engines[0], &engines[1]);
        engine_close(&engines[1]);
    }
    engine_close(&engines[0]);
}

/* The module says which way it has bound. */
static void check_way(const struct job *job)
{
    static const char *const parts[] = {"viommu_sva", "bound by", NULL};
    struct klog log;
    char line[256] = "";

    if (klog_open_at_start(&log) && klog_wait(&log, parts, line, sizeof(line), 0))
        note("%s", line);
    klog_close(&log);
    if (job->sva_way)
        expect(strstr(line, job->sva_way), "is bound by the kernel's own function",
               "it is not %s()", job->sva_way);
}

void check_sva(const struct job *job)
{
    int err = load_module("viommu_sva.ko", "");

    subject("SVA");
    if (!expect(!err, "loads the module", "%s", strerror(-err)))
        return;
    if (!expect(job->emulated_edu, "knows where the engine is",
                "the command line has no edu_emulated="))
        return;
    subject("SVA on the emulated edu");
    check_one(job->emulated_edu);
    if (job->assigned_edu) {
        subject("SVA on the assigned edu");
        check_one(job->assigned_edu);
        subject("SVA on both edus");
        check_both(job->emulated_edu, job->assigned_edu);
    }
    subject("SVA");
    check_way(job);
}
