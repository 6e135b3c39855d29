/* SPDX-License-Identifier: MIT */
/* The copy engine and its device TLB, before an IOMMU of the test's own. */
#include "copier.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <viommu/dma.h>

#include <cmocka.h>

#define PAGE   4096u
#define PAGES  32u
#define BASE   0x7f0000000000ull /* virtual address of page 0 */
#define FRAMES 0x100000ull       /* its frame's address: frames follow in the same order */
#define PASID  5u
#define RW     (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)

enum answer {
    GRANT,      /* page responses make the page present */
    INVALID,    /* ... say that it never will be */
    FAIL,       /* ... are failures */
    SILENT,     /* there are none: the test gives them */
    LIE,        /* success, but nothing is there */
    TRANSLATED, /* nothing is to be asked for: translation requests are refused */
};

struct request {
    uint64_t page;
    uint8_t access;
    uint16_t group;
    bool last;
};

struct bench {
    struct vmm_copier copier;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t held;
    uint8_t ram[PAGES * PAGE];
    uint8_t permissions[PAGES];
    enum answer answer;
    bool pasid, ats, untranslated_only;
    uint32_t allowed;
    struct request requests[64];
    unsigned int count, translated, untranslated, failures, unexpected, loud;
    _Atomic unsigned int interrupts;
    bool hold, holding; /* an access waits until `hold` is off */
};

static struct bench *bench_of(struct vmm_copier *copier)
{
    return (struct bench *)((char *)copier - offsetof(struct bench, copier));
}

static bool pasid_enabled(struct vmm_copier *copier)
{
    return bench_of(copier)->pasid;
}

static bool ats_enabled(struct vmm_copier *copier)
{
    return bench_of(copier)->ats;
}

static uint32_t allowed(struct vmm_copier *copier)
{
    return bench_of(copier)->allowed;
}

static size_t index_of(uint64_t address)
{
    return address >= BASE && address < BASE + sizeof(((struct bench *)0)->ram)
               ? (address - BASE) / PAGE
               : PAGES;
}

static int translate(struct vmm_copier *copier, uint32_t pasid, uint64_t address, uint8_t access,
                     struct vmm_atc_entry *out)
{
    struct bench *bench = bench_of(copier);
    size_t page = index_of(address);

    (void)access;
    if (pasid != PASID || bench->answer == TRANSLATED)
        return -EACCES;
    pthread_mutex_lock(&bench->lock);
    out->permissions = page < PAGES ? bench->permissions[page] : 0;
    out->translated = FRAMES + page * PAGE;
    out->untranslated = bench->untranslated_only;
    pthread_mutex_unlock(&bench->lock);
    return 0;
}

/* Where the bytes are; NULL: refused. Translated requests carry frames. */
static uint8_t *memory_at(struct bench *bench, bool translated, uint64_t address, size_t length)
{
    uint64_t offset = address - (translated ? FRAMES : BASE);

    pthread_mutex_lock(&bench->lock);
    if (translated)
        bench->translated++;
    else
        bench->untranslated++;
    bench->holding = bench->hold;
    pthread_cond_broadcast(&bench->held);
    while (bench->hold)
        pthread_cond_wait(&bench->held, &bench->lock);
    pthread_mutex_unlock(&bench->lock);
    return offset < sizeof(bench->ram) && length <= sizeof(bench->ram) - offset
               ? bench->ram + offset
               : NULL;
}

static int bench_read(struct vmm_copier *copier, uint32_t pasid, bool translated, uint64_t address,
                      void *buffer, size_t length)
{
    const uint8_t *at = memory_at(bench_of(copier), translated, address, length);

    (void)pasid;
    if (!at)
        return -EACCES;
    memcpy(buffer, at, length);
    return 0;
}

static int bench_write(struct vmm_copier *copier, uint32_t pasid, bool translated, uint64_t address,
                       const void *buffer, size_t length)
{
    uint8_t *at = memory_at(bench_of(copier), translated, address, length);

    (void)pasid;
    if (!at)
        return -EACCES;
    memcpy(at, buffer, length);
    return 0;
}

static void grant_group(struct bench *bench, uint16_t group)
{
    for (unsigned int i = 0; i < bench->count; i++) {
        if (bench->requests[i].group == group && index_of(bench->requests[i].page) < PAGES)
            bench->permissions[index_of(bench->requests[i].page)] =
                bench->requests[i].access | VIOMMU_DMA_READ;
    }
}

static int page_request(struct vmm_copier *copier, uint32_t pasid, uint64_t page, uint8_t access,
                        uint16_t group, bool last)
{
    static const uint8_t codes[] = {[GRANT] = 0, [INVALID] = 1, [FAIL] = 0xf, [LIE] = 0};
    struct bench *bench = bench_of(copier);
    enum answer answer = bench->answer;

    pthread_mutex_lock(&bench->lock);
    if (bench->count < sizeof(bench->requests) / sizeof(bench->requests[0]))
        bench->requests[bench->count++] = (struct request){page, access, group, last};
    if (last && answer == GRANT)
        grant_group(bench, group);
    pthread_mutex_unlock(&bench->lock);
    if (last && answer != SILENT)
        vmm_copier_page_response(copier, pasid, group, codes[answer]);
    return 0;
}

static void response_failed(struct vmm_copier *copier)
{
    bench_of(copier)->failures++;
    bench_of(copier)->allowed = 0;
}

static void response_unexpected(struct vmm_copier *copier)
{
    bench_of(copier)->unexpected++;
}

static void quiet(struct vmm_copier *copier)
{
    bench_of(copier)->loud += copier->group.outstanding;
}

static void interrupt(struct vmm_copier *copier)
{
    bench_of(copier)->interrupts++;
}

static const struct vmm_copier_ops ops = {
    pasid_enabled,   ats_enabled,         allowed, translate, bench_read, bench_write, page_request,
    response_failed, response_unexpected, quiet,   interrupt,
};

static int setup(void **state)
{
    static struct bench bench;
    struct viommu_error error;

    memset(&bench, 0, sizeof(bench));
    pthread_mutex_init(&bench.lock, NULL);
    pthread_cond_init(&bench.held, NULL);
    bench.pasid = true;
    bench.ats = true;
    bench.allowed = 8;
    for (size_t i = 0; i < sizeof(bench.ram); i++)
        bench.ram[i] = (uint8_t)(i * 31 + i / PAGE);
    if (vmm_copier_init(&bench.copier, &ops, &error))
        fail_msg("%s", error.message);
    vmm_copier_write(&bench.copier, VMM_COPIER_PASID, 4, VMM_COPIER_PASID_VALID | PASID);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    vmm_copier_fini(&bench->copier);
    assert_int_equal(bench->loud, 0);
    pthread_cond_destroy(&bench->held);
    pthread_mutex_destroy(&bench->lock);
    return 0;
}

static uint32_t get(struct bench *bench, uint64_t offset)
{
    return (uint32_t)vmm_copier_read(&bench->copier, offset, 4);
}

static void start(struct bench *bench, uint64_t from, uint64_t to, uint64_t length,
                  uint32_t command)
{
    vmm_copier_write(&bench->copier, VMM_COPIER_SOURCE, 8, from);
    vmm_copier_write(&bench->copier, VMM_COPIER_DESTINATION, 8, to);
    vmm_copier_write(&bench->copier, VMM_COPIER_LENGTH, 8, length);
    vmm_copier_write(&bench->copier, VMM_COPIER_COMMAND, 4, command | VMM_COPIER_START);
}

/* Waits until (status & mask) == value; ends the test after ten seconds. */
static void await(struct bench *bench, uint32_t mask, uint32_t value)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (unsigned int i = 0; i < 10000; i++) {
        if ((get(bench, VMM_COPIER_STATUS) & mask) == value)
            return;
        nanosleep(&moment, NULL);
    }
    fail_msg("the status is 0x%x", get(bench, VMM_COPIER_STATUS));
}

static unsigned int finish(struct bench *bench)
{
    await(bench, VMM_COPIER_BUSY, 0);
    return get(bench, VMM_COPIER_STATUS) >> VMM_COPIER_RESULT_SHIFT;
}

/* It comes after the status has changed. */
static void await_interrupt(struct bench *bench)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (unsigned int i = 0; i < 10000 && !bench->interrupts; i++)
        nanosleep(&moment, NULL);
    assert_int_equal(bench->interrupts, 1);
}

static unsigned int copy(struct bench *bench, unsigned int from, unsigned int to, uint64_t length)
{
    start(bench, BASE + from, BASE + to, length, 0);
    return finish(bench);
}

static void allow(struct bench *bench, unsigned int page, unsigned int count, uint8_t permissions)
{
    pthread_mutex_lock(&bench->lock);
    memset(bench->permissions + page, permissions, count);
    pthread_mutex_unlock(&bench->lock);
}

static void invalidate(struct bench *bench, unsigned int page, unsigned int count)
{
    const struct vmm_atc_range range = {
        .address = BASE + page * PAGE,
        .last = BASE + (page + count) * PAGE - 1,
        .pasid = PASID,
    };

    vmm_copier_invalidate(&bench->copier, &range);
}

static void test_copies_what_is_mapped(void **state)
{
    struct bench *bench = *state;

    allow(bench, 0, PAGES, RW);
    assert_int_equal(copy(bench, 100, 16 * PAGE + 3000, 3 * PAGE), VMM_COPIER_OK);
    assert_memory_equal(bench->ram + 100, bench->ram + 16 * PAGE + 3000, 3 * PAGE);
    assert_true(vmm_copier_read(&bench->copier, VMM_COPIER_DONE, 8) == 3 * PAGE);
    assert_int_equal(bench->count, 0);
    assert_int_equal(bench->untranslated, 0);
    assert_int_equal(get(bench, VMM_COPIER_TRANSLATIONS), 8);
    assert_int_equal(bench->interrupts, 0);
    start(bench, BASE, BASE + PAGE, 0, VMM_COPIER_INTERRUPT);
    assert_int_equal(finish(bench), VMM_COPIER_OK);
    await_interrupt(bench);
}

/* Pages of one direction are asked for in groups of four, of which the last says so. */
static void test_asks_for_what_is_not_there(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(copy(bench, 0, 16 * PAGE, 6 * PAGE), VMM_COPIER_OK);
    assert_memory_equal(bench->ram, bench->ram + 16 * PAGE, 6 * PAGE);
    assert_int_equal(bench->count, 12);
    assert_int_equal(get(bench, VMM_COPIER_PAGE_REQUESTS), 12);
    assert_int_equal(get(bench, VMM_COPIER_RESPONSES), 4);
    for (unsigned int i = 0; i < 4; i++) {
        assert_true(bench->requests[i].page == BASE + i * PAGE);
        assert_int_equal(bench->requests[i].access, VIOMMU_DMA_READ);
        assert_int_equal(bench->requests[i].group, 1);
        assert_int_equal(bench->requests[i].last, i == 3);
        assert_true(bench->requests[i + 4].page == BASE + (16 + i) * PAGE);
        assert_int_equal(bench->requests[i + 4].access, VIOMMU_DMA_WRITE);
        assert_int_equal(bench->requests[i + 4].group, 2);
    }
    bench->count = 0;
    assert_int_equal(copy(bench, 0, 16 * PAGE, 6 * PAGE), VMM_COPIER_OK);
    assert_int_equal(bench->count, 0);
}

static void test_no_more_requests_than_allowed(void **state)
{
    struct bench *bench = *state;

    bench->allowed = 2;
    assert_int_equal(copy(bench, 0, 16 * PAGE, 4 * PAGE), VMM_COPIER_OK);
    assert_true(bench->requests[1].last);
    assert_int_equal(bench->requests[2].group, 2);
    bench->allowed = 0;
    assert_int_equal(copy(bench, 8 * PAGE, 16 * PAGE, 1), VMM_COPIER_NOT_GRANTED);
    assert_true(vmm_copier_read(&bench->copier, VMM_COPIER_FAULT_ADDRESS, 8) == BASE + 8 * PAGE);
}

static void test_write_permission_is_asked_for(void **state)
{
    struct bench *bench = *state;

    allow(bench, 0, PAGES, VIOMMU_DMA_READ);
    assert_int_equal(copy(bench, PAGE, 2 * PAGE, 8), VMM_COPIER_OK);
    assert_int_equal(bench->count, 1);
    assert_int_equal(bench->requests[0].access, VIOMMU_DMA_WRITE);
    assert_memory_equal(bench->ram + PAGE, bench->ram + 2 * PAGE, 8);
}

static void test_answers_that_end_the_command(void **state)
{
    static const struct {
        enum answer answer;
        unsigned int result, failures;
    } rows[] = {
        {INVALID, VMM_COPIER_INVALID, 0},
        {FAIL, VMM_COPIER_FAILURE, 1},
        {LIE, VMM_COPIER_GAVE_UP, 0},
        {TRANSLATED, VMM_COPIER_REFUSED, 0},
    };
    struct bench *bench = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bench->allowed = 8;
        bench->failures = 0;
        bench->answer = rows[i].answer;
        assert_int_equal(copy(bench, 0, 16 * PAGE, 16), rows[i].result);
        assert_int_equal(bench->failures, rows[i].failures);
        assert_int_equal(bench->translated, 0);
    }
}

/* What was cached stays in use until an invalidation; then it is asked for anew. */
static void test_device_tlb_holds_until_told(void **state)
{
    struct bench *bench = *state;

    allow(bench, 0, PAGES, RW);
    assert_int_equal(copy(bench, 0, 16 * PAGE, PAGE), VMM_COPIER_OK);
    bench->answer = INVALID;
    allow(bench, 0, PAGES, 0);
    assert_int_equal(copy(bench, 0, 16 * PAGE, PAGE), VMM_COPIER_OK);
    assert_int_equal(get(bench, VMM_COPIER_TRANSLATIONS), 2);
    invalidate(bench, 1, 8);
    assert_int_equal(copy(bench, 0, 16 * PAGE, PAGE), VMM_COPIER_OK);
    invalidate(bench, 16, 1);
    assert_int_equal(copy(bench, 0, 16 * PAGE, PAGE), VMM_COPIER_INVALID);
    assert_true(vmm_copier_read(&bench->copier, VMM_COPIER_FAULT_ADDRESS, 8) == BASE + 16 * PAGE);
    assert_int_equal(get(bench, VMM_COPIER_INVALIDATIONS), 2);
}

static void *invalidate_all(void *opaque)
{
    const struct vmm_atc_range everything = {.last = UINT64_MAX, .global = true};

    vmm_copier_invalidate(opaque, &everything);
    return NULL;
}

/* The guest may free the page when its invalidation is done, and not before. */
static void test_invalidation_waits_for_the_access(void **state)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    struct bench *bench = *state;
    pthread_t thread;

    allow(bench, 0, PAGES, RW);
    bench->hold = true;
    start(bench, BASE, BASE + 16 * PAGE, 8, 0);
    pthread_mutex_lock(&bench->lock);
    while (!bench->holding)
        pthread_cond_wait(&bench->held, &bench->lock);
    pthread_mutex_unlock(&bench->lock);
    invalidate(bench, 4, 4); /* does not concern it */
    assert_int_equal(pthread_create(&thread, NULL, invalidate_all, &bench->copier), 0);
    nanosleep(&moment, NULL);
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    pthread_mutex_lock(&bench->lock);
    bench->hold = false;
    pthread_cond_broadcast(&bench->held);
    pthread_mutex_unlock(&bench->lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(finish(bench), VMM_COPIER_OK);
}

static void test_stale_answers_are_not_kept(void **state)
{
    const struct vmm_atc_range range = {.address = BASE, .last = BASE, .pasid = PASID};
    const struct vmm_atc_entry entry = {BASE, FRAMES, PASID, RW, false};
    static struct vmm_atc atc;
    uint64_t generation = atc.generation;

    (void)state;
    vmm_atc_invalidate(&atc, &range);
    assert_false(vmm_atc_insert(&atc, generation, &entry));
    assert_null(vmm_atc_find(&atc, PASID, BASE));
    assert_true(vmm_atc_insert(&atc, atc.generation, &entry));
    assert_non_null(vmm_atc_find(&atc, PASID, BASE + PAGE - 1));
    assert_null(vmm_atc_find(&atc, PASID + 1, BASE));
    assert_null(vmm_atc_find(&atc, PASID, BASE + PAGE));
}

/* More pages than it has places for: each is found as it was put, or not at all. */
static void test_device_tlb_that_is_full(void **state)
{
    static struct vmm_atc atc;
    const struct vmm_atc_entry *found;
    unsigned int kept = 0, count = 2 * VMM_ATC_SETS * VMM_ATC_WAYS;

    (void)state;
    for (unsigned int i = 0; i < count; i++) {
        const struct vmm_atc_entry entry = {(uint64_t)i * PAGE, ~(uint64_t)i, i % 3, RW, false};

        assert_true(vmm_atc_insert(&atc, atc.generation, &entry));
    }
    for (unsigned int i = 0; i < count; i++) {
        found = vmm_atc_find(&atc, i % 3, (uint64_t)i * PAGE);
        kept += found != NULL;
        assert_true(!found || found->translated == ~(uint64_t)i);
    }
    assert_in_range(kept, count / 4, VMM_ATC_SETS * VMM_ATC_WAYS);
}

static void test_untranslated_accesses(void **state)
{
    struct bench *bench = *state;

    allow(bench, 0, PAGES, RW);
    bench->untranslated_only = true;
    assert_int_equal(copy(bench, 0, PAGE, 16), VMM_COPIER_OK);
    assert_int_equal(bench->untranslated, 2);
    bench->ats = false;
    assert_int_equal(copy(bench, 0, PAGE, 16), VMM_COPIER_OK);
    assert_int_equal(bench->untranslated, 4);
    assert_int_equal(bench->translated, 0);
    start(bench, BASE + PAGES * PAGE - 8, BASE, 16, 0);
    assert_int_equal(finish(bench), VMM_COPIER_REFUSED);
}

static void test_pasid_must_be_enabled(void **state)
{
    struct bench *bench = *state;

    allow(bench, 0, PAGES, RW);
    bench->pasid = false;
    assert_int_equal(copy(bench, 0, PAGE, 16), VMM_COPIER_NO_PASID);
    bench->ats = false;
    vmm_copier_write(&bench->copier, VMM_COPIER_PASID, 4, 0);
    assert_int_equal(copy(bench, 0, PAGE, 16), VMM_COPIER_OK);
}

static void test_wraps_nowhere(void **state)
{
    struct bench *bench = *state;

    start(bench, UINT64_MAX - 4, BASE, 6, 0);
    assert_int_equal(finish(bench), VMM_COPIER_REFUSED);
    start(bench, BASE, UINT64_MAX - 4, 6, 0);
    assert_int_equal(finish(bench), VMM_COPIER_REFUSED);
    assert_int_equal(bench->count, 0);
}

/* Responses that nobody waits for; and one that comes late, after the process said stop. */
static void test_responses(void **state)
{
    struct bench *bench = *state;

    bench->answer = SILENT;
    vmm_copier_page_response(&bench->copier, PASID, 1, 0);
    assert_int_equal(bench->unexpected, 1);
    start(bench, BASE, BASE + 16 * PAGE, 16, 0);
    await(bench, VMM_COPIER_WAITING, VMM_COPIER_WAITING);
    vmm_copier_page_response(&bench->copier, PASID, 2, 0);
    vmm_copier_page_response(&bench->copier, PASID + 1, 1, 0);
    assert_int_equal(bench->unexpected, 3);
    vmm_copier_write(&bench->copier, VMM_COPIER_STOP, 4, 1);
    vmm_copier_write(&bench->copier, VMM_COPIER_COMMAND, 4, VMM_COPIER_START);
    assert_int_equal(get(bench, VMM_COPIER_STATUS), VMM_COPIER_BUSY | VMM_COPIER_WAITING);
    vmm_copier_page_response(&bench->copier, PASID, 1, 0);
    assert_int_equal(finish(bench), VMM_COPIER_STOPPED);
    assert_true(vmm_copier_is_quiet(&bench->copier));
}

static void test_repeat_until_stopped(void **state)
{
    struct bench *bench = *state;

    allow(bench, 0, PAGES, RW);
    start(bench, BASE, BASE + PAGE, 16, VMM_COPIER_REPEAT | VMM_COPIER_INTERRUPT);
    while (get(bench, VMM_COPIER_HITS) < 100)
        assert_true(get(bench, VMM_COPIER_STATUS) & VMM_COPIER_BUSY);
    vmm_copier_write(&bench->copier, VMM_COPIER_STOP, 4, 1);
    assert_int_equal(finish(bench), VMM_COPIER_STOPPED);
    await_interrupt(bench);
}

/* A reset, and the guest's turning the interface off, while a request is outstanding. */
static void test_forgotten_requests(void **state)
{
    struct bench *bench = *state;

    bench->answer = SILENT;
    start(bench, BASE, BASE + 16 * PAGE, 16, 0);
    await(bench, VMM_COPIER_WAITING, VMM_COPIER_WAITING);
    vmm_copier_forget_page_requests(&bench->copier);
    assert_int_equal(finish(bench), VMM_COPIER_STOPPED);
    start(bench, BASE, BASE + 16 * PAGE, 16, VMM_COPIER_REPEAT);
    await(bench, VMM_COPIER_WAITING, VMM_COPIER_WAITING);
    vmm_copier_reset(&bench->copier);
    assert_int_equal(get(bench, VMM_COPIER_STATUS), 0);
    assert_int_equal(get(bench, VMM_COPIER_PAGE_REQUESTS), 0);
    assert_int_equal(get(bench, VMM_COPIER_PASID), 0);
    assert_true(vmm_copier_read(&bench->copier, VMM_COPIER_SOURCE, 8) == 0);
    start(bench, BASE, BASE + 16 * PAGE, 16, 0); /* outstanding when the machine ends */
}

static void test_access_sizes(void **state)
{
    static const struct {
        uint64_t offset;
        unsigned int size;
    } refused[] = {{0x00, 4}, {0x04, 4}, {0x28, 4}, {0x2c, 8}, {0x2c, 1}, {0x44, 4}, {0x1004, 4}};
    struct bench *bench = *state;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_true(vmm_copier_read(&bench->copier, refused[i].offset, refused[i].size) ==
                    UINT64_MAX);
    vmm_copier_write(&bench->copier, VMM_COPIER_PASID, 4, 0x7ff12345);
    assert_int_equal(get(bench, VMM_COPIER_PASID), 0x12345);
    vmm_copier_write(&bench->copier, VMM_COPIER_SOURCE, 4, 1);
    vmm_copier_write(&bench->copier, VMM_COPIER_STATUS, 4, 1);
    assert_true(vmm_copier_read(&bench->copier, VMM_COPIER_SOURCE, 8) == 0);
    assert_int_equal(get(bench, VMM_COPIER_STATUS), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_copies_what_is_mapped),
        TEST(test_asks_for_what_is_not_there),
        TEST(test_no_more_requests_than_allowed),
        TEST(test_write_permission_is_asked_for),
        TEST(test_answers_that_end_the_command),
        TEST(test_device_tlb_holds_until_told),
        TEST(test_invalidation_waits_for_the_access),
        TEST(test_stale_answers_are_not_kept),
        TEST(test_device_tlb_that_is_full),
        TEST(test_untranslated_accesses),
        TEST(test_pasid_must_be_enabled),
        TEST(test_wraps_nowhere),
        TEST(test_responses),
        TEST(test_repeat_until_stopped),
        TEST(test_forgotten_requests),
        TEST(test_access_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
