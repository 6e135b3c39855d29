/* SPDX-License-Identifier: MIT */
/* The guest memory map: lookup, words and structures, listeners, holds, hot-plug under lookup. */
#include "unit.h"

#include <pthread.h>

#include "base/rcu.h"
#include "memory/memory.h"

#define PAGE 4096

struct fixture {
    struct viommu_memory *memory;
    char *low;  /* 4 pages at GPA 0 */
    char *rom;  /* 1 page at 0x4000, read-only, adjoining */
    char *high; /* 2 pages at 4 GiB */
};

#define ROM  0x4000
#define HIGH (UINT64_C(1) << 32)

static void add(struct viommu_memory *memory, uint64_t gpa, void *host, size_t pages,
                uint32_t flags)
{
    struct viommu_memory_range range = {gpa, pages * PAGE, host, flags};

    assert_int_equal(viommu_memory_add(memory, &range, NULL), 0);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_int_equal(viommu_memory_create(&fixture->memory, NULL), 0);
    fixture->low = unit_pages(4);
    fixture->rom = unit_pages(1);
    fixture->high = unit_pages(2);
    add(fixture->memory, HIGH, fixture->high, 2, 0);
    add(fixture->memory, 0, fixture->low, 4, 0);
    add(fixture->memory, ROM, fixture->rom, 1, VIOMMU_MEMORY_READONLY);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    viommu_memory_destroy(fixture->memory);
    free(fixture->low);
    free(fixture->rom);
    free(fixture->high);
    free(fixture);
    return 0;
}

static void destroy_null(void **state)
{
    (void)state;
    viommu_memory_destroy(NULL);
}

static void add_refuses(void **state)
{
    struct fixture *fixture = *state;
    char *page = unit_pages(1);
    const struct {
        struct viommu_memory_range range;
        int code;
        const char *says;
    } cases[] = {
        {{0x100001, PAGE, page, 0}, -EINVAL, "multiples of 4096"},
        {{0x100000, PAGE + 8, page, 0}, -EINVAL, "multiples of 4096"},
        {{0x100000, PAGE, page + 16, 0}, -EINVAL, "multiples of 4096"},
        {{0x100000, 0, page, 0}, -EINVAL, "must not be empty"},
        {{0x100000, PAGE, NULL, 0}, -EINVAL, "host address"},
        {{UINT64_C(1) << 52, PAGE, page, 0}, -EINVAL, "0x10000000000000"},
        {{(UINT64_C(1) << 52) - PAGE, 2 * PAGE, page, 0}, -EINVAL, "0x10000000000000"},
        {{UINT64_MAX - PAGE + 1, PAGE, page, 0}, -EINVAL, "0x10000000000000"},
        {{0x100000, UINT64_C(1) << 50, (void *)~(uintptr_t)0xffff, 0}, -EINVAL, "not fit"},
        {{0x100000, PAGE, page, 2}, -EINVAL, "flags"},
        {{0, PAGE, page, 0}, -EEXIST, "overlaps"},
        {{0x3000, PAGE, page, 0}, -EEXIST, "overlaps"},
        {{ROM, PAGE, page, 0}, -EEXIST, "overlaps"},
        {{HIGH - PAGE, 2 * PAGE, page, 0}, -EEXIST, "overlaps"},
        {{0x10000, HIGH, page, 0}, -EEXIST, "overlaps"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct viommu_error error = {0};

        assert_int_equal(viommu_memory_add(fixture->memory, &cases[i].range, &error),
                         cases[i].code);
        assert_int_equal(error.code, cases[i].code);
        if (!strstr(error.message, cases[i].says))
            fail_msg("case %zu says: %s", i, error.message);
    }
    assert_int_equal(viommu_memory_add(fixture->memory, NULL, NULL), -EINVAL);
    free(page);
}

static void highest_page_is_allowed(void **state)
{
    struct fixture *fixture = *state;
    char *page = unit_pages(1);
    uint64_t gpa = (UINT64_C(1) << 52) - PAGE;

    add(fixture->memory, gpa, page, 1, 0);
    assert_int_equal(viommu_memory_remove(fixture->memory, gpa, NULL), 0);
    free(page);
}

static void remove_refuses(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_error error;

    assert_int_equal(viommu_memory_remove(fixture->memory, 0x1000, &error), -ENOENT);
    assert_int_equal(viommu_memory_remove(fixture->memory, 0x100000, &error), -ENOENT);
    assert_non_null(strstr(error.message, "0x100000"));
    assert_int_equal(viommu_memory_remove(fixture->memory, 0, &error), 0);
    assert_int_equal(viommu_memory_remove(fixture->memory, 0, &error), -ENOENT);
}

static void lookup_finds(void **state)
{
    struct fixture *fixture = *state;
    uint64_t available;
    uint32_t flags;

    rcu_enter();
    assert_ptr_equal(memory_lookup(fixture->memory, 0, &available, &flags), fixture->low);
    assert_int_equal(available, 4 * PAGE);
    assert_int_equal(flags, 0);
    assert_ptr_equal(memory_lookup(fixture->memory, 0x3fff, &available, &flags),
                     fixture->low + 0x3fff);
    assert_int_equal(available, 1);
    assert_ptr_equal(memory_lookup(fixture->memory, ROM + 8, &available, &flags), fixture->rom + 8);
    assert_int_equal(flags, VIOMMU_MEMORY_READONLY);
    assert_ptr_equal(memory_lookup(fixture->memory, HIGH + PAGE, NULL, NULL), fixture->high + PAGE);
    assert_null(memory_lookup(fixture->memory, ROM + PAGE, NULL, NULL));
    assert_null(memory_lookup(fixture->memory, HIGH - 1, NULL, NULL));
    assert_null(memory_lookup(fixture->memory, HIGH + 2 * PAGE, NULL, NULL));
    assert_null(memory_lookup(fixture->memory, UINT64_MAX, NULL, NULL));
    rcu_exit();
}

static void bytes_cross_ranges(void **state)
{
    struct fixture *fixture = *state;
    char out[32], in[16];

    memset(fixture->low + 0x3ff0, 'a', 16);
    memset(fixture->rom, 'b', 16);
    assert_int_equal(viommu_memory_read(fixture->memory, 0x3ff0, out, 32), 0);
    assert_memory_equal(out, "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb", 32);
    assert_int_equal(viommu_memory_read(fixture->memory, ROM + PAGE - 16, out, 32), -EFAULT);
    assert_int_equal(viommu_memory_read(fixture->memory, UINT64_MAX - 3, out, 8), -EFAULT);
    assert_int_equal(viommu_memory_read(fixture->memory, 0x100000, out, 0), 0);
    memset(in, 'c', sizeof(in));
    assert_int_equal(viommu_memory_write(fixture->memory, HIGH + 3, in, 16), 0);
    assert_memory_equal(fixture->high + 3, in, 16);
    assert_int_equal(viommu_memory_write(fixture->memory, ROM, in, 8), -EACCES);
    assert_int_equal(viommu_memory_write(fixture->memory, 0x3ff8, in, 16), -EACCES);
    assert_memory_equal(fixture->low + 0x3ff8, in, 8);
    assert_int_equal(fixture->rom[0], 'b');
}

static void large_copy(void **state)
{
    struct viommu_memory *memory;
    size_t pages = 50;
    char *host = unit_pages(pages), *copy = unit_pages(pages);

    (void)state;
    assert_int_equal(viommu_memory_create(&memory, NULL), 0);
    add(memory, 0, host, pages, 0);
    for (size_t i = 0; i < pages * PAGE; i++)
        copy[i] = (char)(i * 7 + i / PAGE);
    assert_int_equal(viommu_memory_write(memory, 0, copy, pages * PAGE), 0);
    assert_memory_equal(host, copy, pages * PAGE);
    memset(copy, 0, pages * PAGE);
    assert_int_equal(viommu_memory_read(memory, 5, copy, pages * PAGE - 5), 0);
    assert_memory_equal(host + 5, copy, pages * PAGE - 5);
    viommu_memory_destroy(memory);
    free(host);
    free(copy);
}

static void words(void **state)
{
    struct fixture *fixture = *state;
    uint64_t value = 0;

    assert_int_equal(memory_store64(fixture->memory, 0x10, UINT64_C(0x1122334455667788)), 0);
    assert_int_equal(fixture->low[0x10], (char)0x88);
    assert_int_equal(memory_store32(fixture->memory, 0x14, 0xaabbccdd), 0);
    assert_int_equal(memory_load64(fixture->memory, 0x10, &value), 0);
    assert_true(value == UINT64_C(0xaabbccdd55667788));
    assert_int_equal(memory_store32(fixture->memory, ROM, 1), -EACCES);
    assert_int_equal(memory_store64(fixture->memory, ROM, 1), -EACCES);
    assert_int_equal(memory_load64(fixture->memory, ROM, &value), 0);
    assert_int_equal(memory_load64(fixture->memory, 0x100000, &value), -EFAULT);
    assert_int_equal(memory_store32(fixture->memory, 0x100000, 1), -EFAULT);
    assert_int_equal(memory_store64(fixture->memory, 0x100000, 1), -EFAULT);
    assert_int_equal(memory_load64(fixture->memory, 0x14, &value), -EFAULT);
}

static void compare_and_exchange(void **state)
{
    struct fixture *fixture = *state;
    uint64_t expected = 0;

    assert_int_equal(memory_fetch_or64(fixture->memory, ROM, 1, &expected), -EACCES);
    assert_int_equal(memory_fetch_or64(fixture->memory, 0x100000, 1, &expected), -EFAULT);
    assert_int_equal(memory_fetch_or64(fixture->memory, 12, 1, &expected), -EFAULT);
    assert_int_equal(memory_fetch_or64(fixture->memory, 16, 5, &expected), 0);
    assert_int_equal(memory_fetch_or64(fixture->memory, 16, 2, &expected), 0);
    assert_int_equal(expected, 5);
    assert_int_equal(memory_load64(fixture->memory, 16, &expected), 0);
    assert_int_equal(expected, 7);
    expected = 0;
    assert_int_equal(memory_cmpxchg64(fixture->memory, 8, &expected, 5), 0);
    assert_int_equal(expected, 0);
    assert_int_equal(memory_cmpxchg64(fixture->memory, 8, &expected, 6), -EAGAIN);
    assert_int_equal(expected, 5);
    assert_int_equal(memory_cmpxchg64(fixture->memory, ROM, &expected, 6), -EACCES);
    assert_int_equal(memory_cmpxchg64(fixture->memory, 0x100000, &expected, 6), -EFAULT);
    assert_int_equal(memory_cmpxchg64(fixture->memory, 12, &expected, 6), -EFAULT);
}

static void structures_once(void **state)
{
    struct fixture *fixture = *state;
    uint64_t copy[8];

    for (unsigned int i = 0; i < 64; i++)
        fixture->low[0x3fe0 + i % 32] = (char)i;
    memset(fixture->rom, 0x5a, 32);
    assert_int_equal(memory_read_once(fixture->memory, 0x3fe0, copy, 64), 0);
    assert_memory_equal(copy, fixture->low + 0x3fe0, 32);
    assert_memory_equal(copy + 4, fixture->rom, 32);
    assert_int_equal(memory_read_once(fixture->memory, ROM + PAGE - 32, copy, 64), -EFAULT);
    assert_int_equal(memory_read_once(fixture->memory, 0x100000, copy, 64), -EFAULT);
    assert_int_equal(memory_read_once(fixture->memory, 4, copy, 64), -EFAULT);
}

struct recorder {
    struct memory_listener listener;
    const char *name;
    char *journal; /* shared */
    unsigned int accept;
};

static void note(struct recorder *recorder, char what, uint64_t gpa)
{
    size_t used = strlen(recorder->journal);

    snprintf(recorder->journal + used, 256 - used, "%s%c%llx ", recorder->name, what,
             (unsigned long long)gpa);
}

static int record_add(struct memory_listener *listener, const struct viommu_memory_range *range,
                      struct viommu_error *error)
{
    struct recorder *recorder = (struct recorder *)listener;

    (void)error;
    note(recorder, '+', range->gpa);
    if (!recorder->accept)
        return -ENOSPC;
    recorder->accept--;
    return 0;
}

static void record_remove(struct memory_listener *listener, const struct viommu_memory_range *range)
{
    note((struct recorder *)listener, '-', range->gpa);
}

static void listeners(void **state)
{
    struct fixture *fixture = *state;
    char journal[256] = "";
    struct recorder a = {{.add = record_add, .remove = record_remove}, "a", journal, 9};
    struct recorder b = {{.add = record_add, .remove = record_remove}, "b", journal, 2};
    char *page = unit_pages(1);
    struct viommu_memory_range range = {0x8000, PAGE, page, 0};

    assert_int_equal(memory_listener_register(fixture->memory, &a.listener, NULL), 0);
    assert_string_equal(journal, "a+0 a+4000 a+100000000 ");
    journal[0] = '\0';
    assert_int_equal(memory_listener_register(fixture->memory, &b.listener, NULL), -ENOSPC);
    assert_string_equal(journal, "b+0 b+4000 b+100000000 b-4000 b-0 ");
    journal[0] = '\0';
    b.accept = 3;
    assert_int_equal(memory_listener_register(fixture->memory, &b.listener, NULL), 0);
    journal[0] = '\0';
    assert_int_equal(viommu_memory_add(fixture->memory, &range, NULL), -ENOSPC);
    assert_string_equal(journal, "a+8000 b+8000 a-8000 ");
    rcu_enter();
    assert_null(memory_lookup(fixture->memory, 0x8000, NULL, NULL));
    rcu_exit();
    journal[0] = '\0';
    b.accept = 1;
    assert_int_equal(viommu_memory_add(fixture->memory, &range, NULL), 0);
    assert_int_equal(viommu_memory_remove(fixture->memory, 0x8000, NULL), 0);
    assert_string_equal(journal, "a+8000 b+8000 b-8000 a-8000 ");
    journal[0] = '\0';
    memory_listener_unregister(fixture->memory, &b.listener);
    assert_string_equal(journal, "b-100000000 b-4000 b-0 ");
    memory_listener_unregister(fixture->memory, &a.listener);
    free(page);
}

static void *remove_high(void *opaque)
{
    struct fixture *fixture = opaque;

    viommu_memory_remove(fixture->memory, HIGH, NULL);
    return NULL;
}

static struct memory_hold *hold_high(struct fixture *fixture)
{
    struct memory_hold *hold;
    uint64_t available;
    uint32_t flags;
    void *host;

    rcu_enter();
    hold = memory_hold(fixture->memory, HIGH + PAGE, &host, &available, &flags);
    rcu_exit();
    if (hold) {
        assert_ptr_equal(host, fixture->high + PAGE);
        assert_int_equal(available, PAGE);
        assert_int_equal(flags, 0);
    }
    return hold;
}

static bool has_high(struct fixture *fixture)
{
    bool has;

    rcu_enter();
    has = memory_lookup(fixture->memory, HIGH, NULL, NULL);
    rcu_exit();
    return has;
}

static void removal_waits_for_holds(void **state)
{
    struct fixture *fixture = *state;
    struct memory_hold *first = hold_high(fixture), *second = hold_high(fixture);
    pthread_t remover;

    assert_non_null(first);
    assert_non_null(second);
    pthread_create(&remover, NULL, remove_high, fixture);
    while (has_high(fixture))
        sched_yield();
    /* Gone for lookups and for new holds, still there for those who have it. */
    assert_null(hold_high(fixture));
    fixture->high[PAGE] = 1;
    memory_release(first);
    fixture->high[PAGE] = 2;
    assert_int_equal(pthread_tryjoin_np(remover, NULL), EBUSY);
    memory_release(second);
    pthread_join(remover, NULL);
    assert_null(hold_high(fixture));
}

/* While the listeners are told, lookups still find the range, but nobody can begin to hold it. */
struct late {
    struct memory_listener listener;
    struct fixture *fixture;
    bool found, held;
};

static int accept_range(struct memory_listener *listener, const struct viommu_memory_range *range,
                        struct viommu_error *error)
{
    (void)listener;
    (void)range;
    (void)error;
    return 0;
}

static void hold_late(struct memory_listener *listener, const struct viommu_memory_range *range)
{
    struct late *late = (struct late *)listener;
    struct memory_hold *hold = hold_high(late->fixture);

    (void)range;
    late->found = has_high(late->fixture);
    late->held = hold;
    if (hold)
        memory_release(hold);
}

static void nobody_holds_what_is_leaving(void **state)
{
    struct late late = {{.add = accept_range, .remove = hold_late}, *state, false, false};

    assert_int_equal(memory_listener_register(late.fixture->memory, &late.listener, NULL), 0);
    assert_int_equal(viommu_memory_remove(late.fixture->memory, HIGH, NULL), 0);
    assert_true(late.found && !late.held);
    memory_listener_unregister(late.fixture->memory, &late.listener);
}

static void refuses_to_hold_nothing(void **state)
{
    struct fixture *fixture = *state;
    void *host;

    rcu_enter();
    assert_null(memory_hold(fixture->memory, ROM + PAGE, &host, NULL, NULL));
    rcu_exit();
}

/* Hot-plug: readers must find all of a range or nothing of it, and never freed memory. */
struct hotplug {
    struct viommu_memory *memory;
    bool stop;
    uint64_t found, missed, wrong;
};

#define HOT   0x100000
#define TOKEN UINT64_C(0x600dcafe600dcafe)

static void *look_up(void *opaque)
{
    struct hotplug *hotplug = opaque;
    uint64_t seed = SEED_DEFAULT ^ (uintptr_t)&seed;

    while (!__atomic_load_n(&hotplug->stop, __ATOMIC_ACQUIRE)) {
        uint64_t word = 0, gpa = HOT + (unit_random(&seed) % 4) * PAGE;
        int ret = viommu_memory_read(hotplug->memory, gpa, &word, sizeof(word));

        __atomic_fetch_add(ret == -EFAULT         ? &hotplug->missed
                           : ret || word != TOKEN ? &hotplug->wrong
                                                  : &hotplug->found,
                           1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* On a busy machine the readers may come late. */
static bool both_happened(const struct hotplug *hotplug)
{
    return __atomic_load_n(&hotplug->found, __ATOMIC_RELAXED) &&
           __atomic_load_n(&hotplug->missed, __ATOMIC_RELAXED);
}

/* Plug one page, leave it for a moment, unplug it and poison it at once. */
static void plug_once(struct hotplug *hotplug, uint64_t gpa)
{
    uint64_t *page = unit_pages(1);

    *page = TOKEN;
    add(hotplug->memory, gpa, page, 1, 0);
    sched_yield();
    assert_int_equal(viommu_memory_remove(hotplug->memory, gpa, NULL), 0);
    memset(page, 0xee, PAGE);
    free(page);
}

static void hotplug_under_lookup(void **state)
{
    struct hotplug hotplug = {0};
    uint64_t *stays = unit_pages(1);
    pthread_t readers[3];

    (void)state;
    assert_int_equal(viommu_memory_create(&hotplug.memory, NULL), 0);
    *stays = TOKEN;
    add(hotplug.memory, HOT, stays, 1, 0);
    for (size_t i = 0; i < COUNT(readers); i++)
        pthread_create(&readers[i], NULL, look_up, &hotplug);
    for (unsigned int i = 0; i < 100 || (i < 100000 && !both_happened(&hotplug)); i++)
        plug_once(&hotplug, HOT + (1 + i % 3) * PAGE);
    __atomic_store_n(&hotplug.stop, true, __ATOMIC_RELEASE);
    for (size_t i = 0; i < COUNT(readers); i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(hotplug.wrong, 0);
    assert_true(both_happened(&hotplug));
    viommu_memory_destroy(hotplug.memory);
    free(stays);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(destroy_null),
        TEST(add_refuses),
        TEST(highest_page_is_allowed),
        TEST(remove_refuses),
        TEST(lookup_finds),
        TEST(bytes_cross_ranges),
        cmocka_unit_test(large_copy),
        TEST(words),
        TEST(compare_and_exchange),
        TEST(structures_once),
        TEST(listeners),
        TEST(removal_waits_for_holds),
        TEST(nobody_holds_what_is_leaving),
        TEST(refuses_to_hold_nothing),
        cmocka_unit_test(hotplug_under_lookup),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
