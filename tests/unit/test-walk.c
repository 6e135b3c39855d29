/* SPDX-License-Identifier: MIT */
/* The page-table walker, with two formats of its own: one of x86 kind, one with read bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/rcu.h"
#include "dma/walk.h"

static const struct walk_format one = {
    .index_bits = 9,
    .present = BIT64(0),
    .address = GENMASK64(51, 12),
    .leaf = BIT64(7),
    .write = BIT64(1),
    .user = BIT64(2),
    .no_execute = BIT64(63),
    .accessed = BIT64(5),
    .extended_accessed = BIT64(10),
    .dirty = BIT64(6),
    .large_ignored = BIT64(12),
};

static const struct walk_format two = {
    .index_bits = 9,
    .present = BIT64(0) | BIT64(1),
    .address = GENMASK64(51, 12),
    .leaf = BIT64(7),
    .read = BIT64(0),
    .write = BIT64(1),
    .accessed = BIT64(8),
    .dirty = BIT64(9),
};

#define P   BIT64(0)
#define W   BIT64(1)
#define U   BIT64(2)
#define A   BIT64(5)
#define D   BIT64(6)
#define PS  BIT64(7)
#define EA  BIT64(10)
#define XD  BIT64(63)
#define PWU (P | W | U)

#define MEMORY (4u << 20)
#define ROOT   0x1000
#define IOVA   (UINT64_C(1) << 39 | UINT64_C(2) << 30 | UINT64_C(3) << 21 | UINT64_C(4) << 12 | 0x567)

static struct viommu_memory *memory;
static uint64_t *ram;

static uint64_t *at(uint64_t address)
{
    return &ram[address / 8];
}

static int setup(void **state)
{
    struct viommu_memory_range range = {.size = MEMORY};

    (void)state;
    ram = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(ram, MAP_FAILED);
    range.host = ram;
    assert_int_equal(viommu_memory_create(&memory, NULL), 0);
    assert_int_equal(viommu_memory_add(memory, &range, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    viommu_memory_destroy(memory);
    return munmap(ram, MEMORY);
}

/* Tables at 0x1000, 0x2000, 0x3000, 0x4000 that map IOVA to the page 0x9000. */
static void map_four_levels(uint64_t bits)
{
    memset(ram, 0, 0x10000);
    *at(0x1000 + 1 * 8) = 0x2000 | bits;
    *at(0x2000 + 2 * 8) = 0x3000 | bits;
    *at(0x3000 + 3 * 8) = 0x4000 | bits;
    *at(0x4000 + 4 * 8) = 0x9000 | bits;
}

static struct walk_table table_of(unsigned int levels)
{
    return (struct walk_table){
        .root = ROOT,
        .levels = levels,
        .leaf_levels = BIT64(2) | BIT64(3),
        .reserved = GENMASK64(51, 46),
    };
}

static struct walk_result walk(const struct walk_table *table, uint64_t iova, uint8_t access)
{
    struct walk_result result;

    rcu_enter();
    walk_page(memory, &one, table, NULL, iova, access, &result);
    rcu_exit();
    return result;
}

static void maps_a_page(void **state)
{
    struct walk_table table = table_of(4);
    struct walk_result result;

    (void)state;
    map_four_levels(PWU);
    result = walk(&table, IOVA, VIOMMU_DMA_READ | VIOMMU_DMA_WRITE);
    assert_int_equal(result.status, WALK_OK);
    assert_int_equal(result.address, 0x9000);
    assert_int_equal(result.granule_log2, 12);
    assert_int_equal(result.level, 1);
    assert_int_equal(result.entry_address, 0x4000 + 4 * 8);
    assert_int_equal(result.permissions, VIOMMU_DMA_READ | VIOMMU_DMA_WRITE | VIOMMU_DMA_EXECUTE);
    assert_false(result.fractured);
}

static void maps_large_pages(void **state)
{
    struct walk_table table = table_of(4);
    struct walk_result result;

    (void)state;
    map_four_levels(PWU);
    *at(0x3000 + 3 * 8) = 0x40200000 | PWU | PS | BIT64(12);
    result = walk(&table, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_OK);
    assert_int_equal(result.address, 0x40200000);
    assert_int_equal(result.granule_log2, 21);
    *at(0x2000 + 2 * 8) = 0x80000000 | PWU | PS;
    result = walk(&table, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.address, 0x80000000);
    assert_int_equal(result.granule_log2, 30);
    assert_int_equal(result.level, 3);
}

static void refuses_large_pages(void **state)
{
    struct walk_table table = table_of(4);

    (void)state;
    map_four_levels(PWU);
    *at(0x1000 + 1 * 8) |= PS;
    assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ).status, WALK_RESERVED);
    map_four_levels(PWU);
    *at(0x3000 + 3 * 8) = 0x40200000 | BIT64(13) | PWU | PS;
    assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ).status, WALK_RESERVED);
    *at(0x3000 + 3 * 8) = 0x40200000 | PWU | PS;
    table.leaf_levels = 0;
    assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ).status, WALK_RESERVED);
}

/* At each level in turn: the status, the level, and where the entry is. */
static void names_the_entry(void **state)
{
    static const uint64_t entries[] = {0x4020, 0x3018, 0x2010, 0x1008};
    struct walk_table table = table_of(4);

    (void)state;
    for (unsigned int level = 1; level <= 4; level++) {
        struct walk_result result;

        map_four_levels(PWU);
        *at(entries[level - 1]) &= ~P;
        result = walk(&table, IOVA, VIOMMU_DMA_READ);
        assert_int_equal(result.status, WALK_NOT_PRESENT);
        assert_int_equal(result.level, level);
        assert_int_equal(result.entry_address, entries[level - 1]);
        map_four_levels(PWU);
        *at(entries[level - 1]) |= BIT64(46);
        assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ).status, WALK_RESERVED);
        map_four_levels(PWU);
        *at(entries[level - 1]) &= ~W;
        assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_WRITE).status, WALK_NO_WRITE);
        assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ).status, WALK_OK);
        map_four_levels(PWU);
        *at(entries[level - 1]) &= ~U;
        assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ).status, WALK_PRIVILEGE);
        assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ | VIOMMU_DMA_PRIVILEGED).status,
                         WALK_OK);
        if (level > 1) {
            *at(entries[level - 1]) = UINT64_C(1) << 40 | PWU;
            result = walk(&table, IOVA, VIOMMU_DMA_READ);
            assert_int_equal(result.status, WALK_TABLE_ACCESS);
            assert_int_equal(result.level, level - 1);
        }
    }
}

static void obeys_privilege(void **state)
{
    struct walk_table table = table_of(4);
    const uint8_t supervisor = VIOMMU_DMA_PRIVILEGED | VIOMMU_DMA_READ;

    (void)state;
    map_four_levels(P | U);
    assert_int_equal(walk(&table, IOVA, supervisor | VIOMMU_DMA_WRITE).status, WALK_OK);
    table.write_protect = true;
    assert_int_equal(walk(&table, IOVA, supervisor | VIOMMU_DMA_WRITE).status, WALK_NO_WRITE);
    table.supervisor_no_user = true;
    assert_int_equal(walk(&table, IOVA, supervisor | VIOMMU_DMA_EXECUTE).status, WALK_NO_EXECUTE);
    *at(0x4020) &= ~U;
    assert_int_equal(walk(&table, IOVA, supervisor | VIOMMU_DMA_EXECUTE).status, WALK_OK);
    *at(0x2010) |= XD;
    assert_int_equal(walk(&table, IOVA, supervisor | VIOMMU_DMA_EXECUTE).status, WALK_OK);
    table.execute_disable = true;
    assert_int_equal(walk(&table, IOVA, supervisor | VIOMMU_DMA_EXECUTE).status, WALK_NO_EXECUTE);
}

static void marks_entries(void **state)
{
    struct walk_table table = table_of(4);
    struct walk_result result;

    (void)state;
    map_four_levels(PWU);
    table.update_accessed = true;
    result = walk(&table, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_OK);
    /* A later write must come back here to set the dirty bit. */
    assert_int_equal(result.permissions, VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE);
    assert_int_equal(*at(0x1008), 0x2000 | PWU | A);
    assert_int_equal(*at(0x4020), 0x9000 | PWU | A);
    table.update_extended = true;
    result = walk(&table, IOVA, VIOMMU_DMA_WRITE);
    assert_int_equal(result.permissions & VIOMMU_DMA_WRITE, VIOMMU_DMA_WRITE);
    assert_int_equal(*at(0x3018), 0x4000 | PWU | A | EA);
    assert_int_equal(*at(0x4020), 0x9000 | PWU | A | EA | D);
}

static void marks_nothing_refused(void **state)
{
    struct walk_table table = table_of(4);

    (void)state;
    map_four_levels(PWU);
    table.update_accessed = true;
    *at(0x4020) &= ~W;
    assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_WRITE).status, WALK_NO_WRITE);
    assert_int_equal(*at(0x4020), 0x9000 | P | U);
    table.update_forbidden = true;
    map_four_levels(PWU);
    assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ).status, WALK_UPDATE_FORBIDDEN);
    map_four_levels(PWU | A);
    assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_READ).status, WALK_OK);
    assert_int_equal(walk(&table, IOVA, VIOMMU_DMA_WRITE).status, WALK_UPDATE_FORBIDDEN);
}

static void marks_eagerly(void **state)
{
    struct walk_table table = table_of(4);
    struct walk_result result;

    (void)state;
    map_four_levels(PWU);
    table.update_accessed = true;
    table.eager_dirty = true;
    result = walk(&table, IOVA, 0);
    assert_int_equal(result.status, WALK_OK);
    assert_int_equal(result.permissions & VIOMMU_DMA_WRITE, VIOMMU_DMA_WRITE);
    assert_int_equal(*at(0x4020), 0x9000 | PWU | A | D);
}

static void read_only_memory(void **state)
{
    struct walk_table table = table_of(1);
    struct viommu_memory_range range = {
        .gpa = UINT64_C(1) << 32, .size = 4096, .flags = VIOMMU_MEMORY_READONLY};

    (void)state;
    memset(ram, 0, 0x2000);
    *at(0x1020) = 0x9000 | PWU;
    range.host = at(0x1000);
    assert_int_equal(viommu_memory_add(memory, &range, NULL), 0);
    table.root = range.gpa;
    table.update_accessed = true;
    assert_int_equal(walk(&table, 0x4000, VIOMMU_DMA_READ).status, WALK_UPDATE_FAILED);
    assert_int_equal(viommu_memory_remove(memory, range.gpa, NULL), 0);
}

#define SHIFT 0x200000

/* The second table of a nested walk: identity for all but what a test changes. */
struct second {
    struct walk_table table;
    uint8_t table_access;
    unsigned int calls;
    unsigned int changes; /* how often the leaf of the first table changes during a walk */
};

static void second_translate(const void *context, uint64_t address, uint8_t access, bool of_table,
                             struct walk_result *result)
{
    struct second *second = (struct second *)context;

    second->calls++;
    if (of_table)
        access |= second->table_access;
    else if (second->changes && second->changes--)
        *at(SHIFT + 0x4020) = (second->changes & 1 ? 0x8000 : 0x7000) | PWU;
    walk_page(memory, &two, &second->table, NULL, address, access, result);
}

static struct walk_result walk_nested(const struct walk_table *table, struct second *second,
                                      uint64_t iova, uint8_t access)
{
    const struct walk_nested nested = {second_translate, second};
    struct walk_result result;

    second->calls = 0;
    rcu_enter();
    walk_page(memory, &one, table, &nested, iova, access, &result);
    rcu_exit();
    return result;
}

/* A second table at 0x20000: [0, 2 MiB) as 4 KiB pages, shifted up by 2 MiB. */
static struct second second_create(void)
{
    struct second second = {.table = {.root = 0x20000, .levels = 3, .leaf_levels = BIT64(2)}};

    memset(at(0x20000), 0, 0x3000);
    memset(at(SHIFT), 0, 0x10000);
    *at(0x20000) = 0x21000 | 3;
    *at(0x21000) = 0x22000 | 3;
    for (uint64_t i = 0; i < 512; i++)
        *at(0x22000 + i * 8) = SHIFT | i << 12 | 3;
    return second;
}

static void map_shifted(uint64_t bits)
{
    *at(SHIFT + 0x1000 + 1 * 8) = 0x2000 | bits;
    *at(SHIFT + 0x2000 + 2 * 8) = 0x3000 | bits;
    *at(SHIFT + 0x3000 + 3 * 8) = 0x4000 | bits;
    *at(SHIFT + 0x4000 + 4 * 8) = 0x9000 | bits;
}

static void nests(void **state)
{
    struct walk_table table = table_of(4);
    struct second second = second_create();
    struct walk_result result;

    (void)state;
    map_shifted(PWU);
    table.update_accessed = true;
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_WRITE);
    assert_int_equal(result.status, WALK_OK);
    assert_int_equal(result.address, SHIFT + 0x9000);
    assert_int_equal(result.granule_log2, 12);
    assert_false(result.fractured);
    assert_int_equal(second.calls, 5);
    assert_int_equal(*at(SHIFT + 0x4020), 0x9000 | PWU | A | D);
}

static void nests_with_smaller_pages(void **state)
{
    struct walk_table table = table_of(4);
    struct second second = second_create();
    struct walk_result result;

    (void)state;
    map_shifted(PWU);
    *at(SHIFT + 0x3018) = 0x0 | PWU | PS;
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_OK);
    assert_true(result.fractured);
    assert_int_equal(result.granule_log2, 12);
    assert_int_equal(result.address, SHIFT + 0x4000);
    /* And the other way round: 4 KiB pages of the first, 2 MiB of the second. */
    *at(0x21000) = SHIFT | 3 | PS;
    map_shifted(PWU);
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_false(result.fractured);
    assert_int_equal(result.granule_log2, 12);
    assert_int_equal(result.address, SHIFT + 0x9000);
}

static void nested_permissions(void **state)
{
    struct walk_table table = table_of(4);
    struct second second = second_create();
    struct walk_result result;

    (void)state;
    map_shifted(PWU);
    *at(0x22000 + 9 * 8) &= ~UINT64_C(2);
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.permissions, VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE);
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_WRITE);
    assert_int_equal(result.status, WALK_FINAL_NESTED);
    assert_int_equal(result.nested_status, WALK_NO_WRITE);
    *at(0x22000 + 3 * 8) = 0;
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_TABLE_NESTED);
    assert_int_equal(result.nested_status, WALK_NOT_PRESENT);
    assert_int_equal(result.level, 2);
    assert_int_equal(result.nested_level, 1);
}

static void nested_updates(void **state)
{
    struct walk_table table = table_of(4);
    struct second second = second_create();
    struct walk_result result;

    (void)state;
    map_shifted(PWU);
    table.update_accessed = true;
    *at(0x22000 + 2 * 8) &= ~UINT64_C(2);
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_UPDATE_NO_WRITE);
    assert_int_equal(result.level, 3);
    map_shifted(PWU | A);
    assert_int_equal(walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ).status, WALK_OK);
    second.table_access = VIOMMU_DMA_WRITE;
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_TABLE_NESTED);
    assert_int_equal(result.nested_status, WALK_NO_WRITE);
    table.address_too_big = ~low_bits(13);
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_ADDRESS_WIDTH);
    assert_int_equal(result.level, 4);
}

static void no_permission_together(void **state)
{
    struct second second = second_create();
    struct walk_result result;

    (void)state;
    rcu_enter();
    *at(0x20000) = 0x21000 | 1;
    *at(0x22000) = SHIFT | 2;
    second_translate(&second, 0, VIOMMU_DMA_READ, false, &result);
    assert_int_equal(result.status, WALK_NO_PERMISSION);
    *at(0x22000) = SHIFT | 1;
    second_translate(&second, 0, VIOMMU_DMA_READ | VIOMMU_DMA_WRITE, false, &result);
    assert_int_equal(result.status, WALK_NO_WRITE);
    *at(0x20000) = 0x21000 | 2;
    *at(0x22000) = SHIFT | 2;
    second_translate(&second, 0, VIOMMU_DMA_READ, false, &result);
    assert_int_equal(result.status, WALK_NO_READ);
    rcu_exit();
}

/* The guest changes the leaf after it was read and before its accessed bit is set. */
static void judges_again(void **state)
{
    struct walk_table table = table_of(4);
    struct second second = second_create();
    struct walk_result result;

    (void)state;
    map_shifted(PWU | A);
    *at(SHIFT + 0x4020) = 0x9000 | PWU;
    table.update_accessed = true;
    second.changes = 1;
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_OK);
    assert_int_equal(result.address, SHIFT + 0x7000);
    assert_int_equal(result.entry, 0x7000 | PWU | A);
    assert_int_equal(*at(SHIFT + 0x4020), 0x7000 | PWU | A);
    assert_int_equal(second.calls, 4 + 2);
    *at(SHIFT + 0x4020) = 0x9000 | PWU;
    second.changes = WALK_UPDATE_TRIES - 1;
    assert_int_equal(walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ).status, WALK_OK);
    *at(SHIFT + 0x4020) = 0x9000 | PWU;
    second.changes = 1000;
    result = walk_nested(&table, &second, IOVA, VIOMMU_DMA_READ);
    assert_int_equal(result.status, WALK_UPDATE_FAILED);
    assert_int_equal(second.calls, 4 + WALK_UPDATE_TRIES);
}

static bool stop;

/* A guest that keeps taking the accessed bit away again, and switches between two pages. */
static void *fiddle(void *opaque)
{
    uint64_t *entry = opaque;

    for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++)
        __atomic_store_n(entry, (i & 1 ? 0x9000 : 0x9000 | BIT64(16)) | PWU, __ATOMIC_RELAXED);
    return NULL;
}

static void survives_a_changing_entry(void **state)
{
    struct walk_table table = table_of(4);
    pthread_t thread;

    (void)state;
    map_four_levels(PWU | A);
    table.update_accessed = true;
    assert_int_equal(pthread_create(&thread, NULL, fiddle, at(0x4020)), 0);
    for (unsigned int i = 0; i < 20000; i++) {
        struct walk_result result = walk(&table, IOVA, VIOMMU_DMA_WRITE);

        if (result.status == WALK_OK) {
            assert_true(result.address == 0x9000 || result.address == 0x19000);
            assert_int_equal(result.entry & one.address, result.address);
        } else {
            assert_int_equal(result.status, WALK_UPDATE_FAILED);
        }
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(walk_status_name(WALK_OK), "ok");
    assert_string_equal(walk_status_name(WALK_FINAL_NESTED), "final-nested");
    assert_string_equal(walk_status_name((enum walk_status)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_a_page),
        cmocka_unit_test(maps_large_pages),
        cmocka_unit_test(refuses_large_pages),
        cmocka_unit_test(names_the_entry),
        cmocka_unit_test(obeys_privilege),
        cmocka_unit_test(marks_entries),
        cmocka_unit_test(marks_nothing_refused),
        cmocka_unit_test(marks_eagerly),
        cmocka_unit_test(read_only_memory),
        cmocka_unit_test(nests),
        cmocka_unit_test(nests_with_smaller_pages),
        cmocka_unit_test(nested_permissions),
        cmocka_unit_test(nested_updates),
        cmocka_unit_test(no_permission_together),
        cmocka_unit_test(judges_again),
        cmocka_unit_test(survives_a_changing_entry),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
