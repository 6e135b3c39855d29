/* SPDX-License-Identifier: MIT */
/* Address spaces: requests and their refusals, moving bytes, faults, mappings and their revocation.
 */
#include "unit.h"

#include <pthread.h>
#include <unistd.h>
#include <viommu/memory.h>

#include "dma_table.h"

#define PAGE 4096
#define RW   (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)

#define RAM_PAGES 64
#define ROM       0x100000
#define HOLE      0x200000

/* RAM at 0, one page of ROM; a plain space and one with a table. */
struct fixture {
    struct viommu_memory *memory;
    struct viommu_dma_space *plain, *space;
    struct dma_table table;
    char *ram, *rom;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct viommu_memory_range ram = {0, RAM_PAGES * PAGE, unit_pages(RAM_PAGES), 0};
    struct viommu_memory_range rom = {ROM, PAGE, unit_pages(1), VIOMMU_MEMORY_READONLY};

    fixture->ram = ram.host;
    fixture->rom = rom.host;
    assert_int_equal(viommu_memory_create(&fixture->memory, NULL), 0);
    assert_int_equal(viommu_memory_add(fixture->memory, &ram, NULL), 0);
    assert_int_equal(viommu_memory_add(fixture->memory, &rom, NULL), 0);
    assert_int_equal(viommu_dma_space_create_plain(&fixture->plain, fixture->memory, NULL), 0);
    assert_int_equal(
        dma_space_create(&fixture->space, fixture->memory, &table_ops, &fixture->table), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    bool walked_outside = fixture->table.walked_outside;

    viommu_dma_space_destroy(fixture->space);
    viommu_dma_space_destroy(fixture->plain);
    viommu_memory_destroy(fixture->memory);
    free(fixture->ram);
    free(fixture->rom);
    free(fixture);
    return walked_outside ? -1 : 0;
}

static struct viommu_dma_request request_at(uint64_t address, uint64_t length, uint8_t access)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;

    request.address = address;
    request.length = length;
    request.access = access;
    return request;
}

static void destroy_null(void **state)
{
    (void)state;
    viommu_dma_space_destroy(NULL);
}

static void status_names(void **state)
{
    (void)state;
    for (int status = VIOMMU_DMA_OK; status <= VIOMMU_DMA_READONLY; status++)
        assert_string_not_equal(viommu_dma_status_name((enum viommu_dma_status)status), "unknown");
    assert_string_equal(viommu_dma_status_name(VIOMMU_DMA_NOT_PRESENT), "not-present");
    assert_string_equal(viommu_dma_status_name((enum viommu_dma_status)99), "unknown");
    assert_string_equal(viommu_dma_status_name((enum viommu_dma_status) - 1), "unknown");
}

static void malformed_requests(void **state)
{
    static const struct viommu_dma_request cases[] = {
        {0, 0, VIOMMU_PASID_NONE, 0, RW, 0},
        {0, 1, VIOMMU_PASID_NONE, 0, 0, 0},
        {0, 1, 5, 0, VIOMMU_DMA_EXECUTE | VIOMMU_DMA_PRIVILEGED, 0},
        {0, 1, VIOMMU_PASID_NONE, 0, RW | 0x10, 0},
        {0, 1, VIOMMU_PASID_NONE, 0, RW | VIOMMU_DMA_EXECUTE, 0},
        {0, 1, VIOMMU_PASID_NONE, 0, RW | VIOMMU_DMA_PRIVILEGED, 0},
        {0, 1, 1 << 20, 0, RW, 0},
        {0, 1, UINT32_MAX - 1, 0, RW, 0},
        {0, 1, VIOMMU_PASID_NONE, 0, RW, 3},
        {UINT64_MAX, 2, VIOMMU_PASID_NONE, 0, RW, 0},
        {2, UINT64_MAX, VIOMMU_PASID_NONE, 0, RW, 0},
    };
    struct fixture *fixture = *state;
    struct viommu_dma_mapping mapping = {0};
    struct viommu_dma_result result;
    char buffer[8] = {0};

    table_set(&fixture->table, 0, RW);
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(viommu_dma_translate(fixture->space, &cases[i], &result), -EINVAL);
        assert_int_equal(result.status, VIOMMU_DMA_BAD_REQUEST);
        assert_int_equal(viommu_dma_map(fixture->space, &cases[i], &mapping, &result), -EINVAL);
        assert_null(mapping.host);
        if (!(cases[i].access & RW))
            continue; /* read and write add what is missing */
        assert_int_equal(viommu_dma_read(fixture->space, &cases[i], buffer, &result), -EINVAL);
        assert_int_equal(viommu_dma_write(fixture->space, &cases[i], buffer, &result), -EINVAL);
        assert_int_equal(result.length, 0);
    }
    assert_int_equal(fixture->table.walks, 0);
    assert_int_equal(fixture->table.faults, 0);
}

static void plain_is_identity(void **state)
{
    static const uint64_t addresses[] = {0, 0x1234, HOLE, UINT64_C(1) << 63, UINT64_MAX};
    struct fixture *fixture = *state;
    struct viommu_dma_result result;

    for (size_t i = 0; i < COUNT(addresses); i++) {
        struct viommu_dma_request request = request_at(addresses[i], 1, RW);

        assert_int_equal(viommu_dma_translate(fixture->plain, &request, &result), 0);
        assert_true(result.gpa == addresses[i] && result.length == 1);
        assert_true((result.permissions & RW) == RW);
    }
}

static void plain_moves_bytes(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(PAGE - 3, 8, 0);
    struct viommu_dma_result result;
    char out[8];

    assert_int_equal(viommu_dma_write(fixture->plain, &request, "abcdefgh", &result), 0);
    assert_true(result.length == 8 && result.gpa == PAGE - 3);
    assert_memory_equal(fixture->ram + PAGE - 3, "abcdefgh", 8);
    assert_int_equal(viommu_dma_read(fixture->plain, &request, out, &result), 0);
    assert_memory_equal(out, "abcdefgh", 8);
    request.address = RAM_PAGES * PAGE - 3;
    assert_int_equal(viommu_dma_write(fixture->plain, &request, "ABCDEFGH", &result), -EFAULT);
    assert_int_equal(result.status, VIOMMU_DMA_NO_MEMORY);
    assert_int_equal(result.length, 3);
    assert_memory_equal(fixture->ram + RAM_PAGES * PAGE - 3, "ABC", 3);
    request.address = ROM;
    assert_int_equal(viommu_dma_write(fixture->plain, &request, "abcdefgh", &result), -EFAULT);
    assert_int_equal(result.status, VIOMMU_DMA_READONLY);
    assert_int_equal(result.length, 0);
    assert_int_equal(viommu_dma_read(fixture->plain, &request, out, &result), 0);
}

static void every_size_and_alignment(void **state)
{
    struct fixture *fixture = *state;
    char in[64], out[64];

    for (unsigned int i = 0; i < sizeof(in); i++)
        in[i] = (char)(i + 1);
    for (unsigned int offset = 0; offset < 16; offset++) {
        for (unsigned int length = 1; length < 20; length++) {
            struct viommu_dma_request request = request_at(PAGE - 8 + offset, length, 0);
            struct viommu_dma_result result;

            memset(fixture->ram + PAGE - 16, 0, 64);
            memset(out, 0, sizeof(out));
            assert_int_equal(viommu_dma_write(fixture->plain, &request, in, &result), 0);
            assert_memory_equal(fixture->ram + request.address, in, length);
            assert_int_equal(fixture->ram[request.address - 1], 0);
            assert_int_equal(fixture->ram[request.address + length], 0);
            assert_int_equal(viommu_dma_read(fixture->plain, &request, out, &result), 0);
            assert_memory_equal(out, in, length);
            assert_int_equal(out[length], 0);
        }
    }
}

static void pages_are_gathered(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(0x800, 3 * PAGE, 0);
    struct viommu_dma_result result;
    char *buffer = unit_pages(3);

    table_set(&fixture->table, 0x0000, 9 * PAGE | RW);
    table_set(&fixture->table, 0x1000, 3 * PAGE | RW);
    table_set(&fixture->table, 0x2000, 30 * PAGE | VIOMMU_DMA_READ);
    table_set(&fixture->table, 0x3000, 31 * PAGE | VIOMMU_DMA_READ);
    memset(fixture->ram + 9 * PAGE, 'a', PAGE);
    memset(fixture->ram + 3 * PAGE, 'b', PAGE);
    memset(fixture->ram + 30 * PAGE, 'c', 2 * PAGE);
    assert_int_equal(viommu_dma_read(fixture->space, &request, buffer, &result), 0);
    assert_true(result.length == 3 * PAGE && result.gpa == 9 * PAGE + 0x800);
    assert_true(result.granule_log2 == 12 && result.permissions == RW);
    assert_true(buffer[0] == 'a' && buffer[0x7ff] == 'a' && buffer[0x800] == 'b');
    assert_true(buffer[0x17ff] == 'b' && buffer[0x1800] == 'c' && buffer[3 * PAGE - 1] == 'c');
    assert_int_equal(fixture->table.walks, 4);
    /* Again: by the IOTLB. */
    assert_int_equal(viommu_dma_read(fixture->space, &request, buffer, &result), 0);
    assert_int_equal(fixture->table.walks, 4);
    /* A write stops where it is forbidden. */
    memset(buffer, 'w', 3 * PAGE);
    assert_int_equal(viommu_dma_write(fixture->space, &request, buffer, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_PERMISSION);
    assert_int_equal(result.length, 0x1800);
    assert_int_equal(fixture->ram[3 * PAGE + PAGE - 1], 'w');
    assert_int_equal(fixture->ram[30 * PAGE], 'c');
    assert_int_equal(fixture->table.faults, 1);
    assert_int_equal(fixture->table.fault_address, 0x2000);
    assert_true(fixture->table.fault_access & VIOMMU_DMA_WRITE);
    free(buffer);
}

static void translate_tells_how_far(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(0x1004, 0x10000, VIOMMU_DMA_READ);
    struct viommu_dma_result result;

    table_set(&fixture->table, 0x1000, 9 * PAGE | VIOMMU_DMA_READ);
    for (unsigned int hit = 0; hit < 2; hit++) {
        memset(&result, 0xff, sizeof(result));
        request.length = 0x10000;
        assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), 0);
        assert_true(result.gpa == 9 * PAGE + 4 && result.length == PAGE - 4);
        request.length = PAGE - 4;
        memset(&result, 0xff, sizeof(result));
        assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), 0);
        assert_true(result.status == VIOMMU_DMA_OK && !result.fault_code);
        assert_true(result.gpa == 9 * PAGE + 4 && result.length == PAGE - 4);
        assert_true(result.permissions == VIOMMU_DMA_READ && result.granule_log2 == 12);
    }
    assert_int_equal(fixture->table.walks, 1);
}

/* What each refusal of a walk returns, and whether the guest hears of it. */
static void refusals(void **state)
{
    static const struct {
        enum viommu_dma_status status;
        int code;
        bool fault;
    } cases[] = {
        {VIOMMU_DMA_BLOCKED, -EACCES, true},       {VIOMMU_DMA_UNSUPPORTED, -EACCES, true},
        {VIOMMU_DMA_ADDRESS_WIDTH, -EACCES, true}, {VIOMMU_DMA_NOT_PRESENT, -EACCES, true},
        {VIOMMU_DMA_PERMISSION, -EACCES, true},    {VIOMMU_DMA_RESERVED, -EACCES, true},
        {VIOMMU_DMA_TABLE_ACCESS, -EACCES, true},  {VIOMMU_DMA_INTERRUPT_RANGE, -EACCES, true},
    };
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(0x5008, 8, VIOMMU_DMA_WRITE);
    struct viommu_dma_mapping mapping = {0};
    struct viommu_dma_result result;
    char buffer[8] = {0};

    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture->table.fail = cases[i].status;
        fixture->table.faults = 0;
        assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), cases[i].code);
        assert_int_equal(result.status, cases[i].status);
        assert_int_equal(result.fault_code, 0x71);
        assert_int_equal(fixture->table.faults, 0);
        assert_int_equal(viommu_dma_read(fixture->space, &request, buffer, &result), cases[i].code);
        assert_int_equal(fixture->table.faults, cases[i].fault);
        assert_int_equal(viommu_dma_write(fixture->space, &request, buffer, &result),
                         cases[i].code);
        assert_int_equal(fixture->table.faults, 2 * cases[i].fault);
        assert_int_equal(viommu_dma_map(fixture->space, &request, &mapping, &result),
                         cases[i].code);
        assert_int_equal(fixture->table.faults, 3 * cases[i].fault);
        assert_int_equal(fixture->table.fault_address, 0x5008);
        assert_int_equal(fixture->table.fault_result.fault_code, 0x71);
        assert_int_equal(fixture->table.fault_result.status, cases[i].status);
        assert_false(fixture->table.fault_inside);
    }
}

static void no_fault_for_translated_addresses(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(0x1000, 8, VIOMMU_DMA_WRITE);
    struct viommu_dma_mapping mapping = {0};
    struct viommu_dma_result result;
    char buffer[8] = {0};

    table_set(&fixture->table, 0x1000, HOLE | RW);
    assert_int_equal(viommu_dma_read(fixture->space, &request, buffer, &result), -EFAULT);
    assert_int_equal(result.status, VIOMMU_DMA_NO_MEMORY);
    assert_int_equal(viommu_dma_map(fixture->space, &request, &mapping, &result), -EFAULT);
    table_set(&fixture->table, 0x1000, ROM | RW);
    table_invalidate(fixture->space, 0x1000);
    assert_int_equal(viommu_dma_write(fixture->space, &request, buffer, &result), -EFAULT);
    assert_int_equal(result.status, VIOMMU_DMA_READONLY);
    assert_int_equal(viommu_dma_map(fixture->space, &request, &mapping, &result), -EFAULT);
    assert_int_equal(result.status, VIOMMU_DMA_READONLY);
    assert_null(mapping.host);
    assert_int_equal(fixture->table.faults, 0);
}

static void a_permission_may_be_granted_without_invalidation(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(0x1000, 8, VIOMMU_DMA_READ);
    struct viommu_dma_result result;

    table_set(&fixture->table, 0x1000, 9 * PAGE | VIOMMU_DMA_READ);
    assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), 0);
    request.access = RW;
    assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_PERMISSION);
    assert_int_equal(fixture->table.walks, 2);
    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), 0);
    assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), 0);
    assert_int_equal(fixture->table.walks, 3);
}

static void invalidation_is_seen(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(0x1000, 8, VIOMMU_DMA_READ);
    struct viommu_dma_result result;

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), 0);
    table_set(&fixture->table, 0x1000, 8 * PAGE | RW);
    assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), 0);
    assert_int_equal(result.gpa, 9 * PAGE);
    table_invalidate(fixture->space, 0x1000);
    dma_drain(&fixture->space, 1);
    assert_int_equal(viommu_dma_translate(fixture->space, &request, &result), 0);
    assert_int_equal(result.gpa, 8 * PAGE);
}

static void what_is_not_cached(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(0x1000, 8, VIOMMU_DMA_READ);
    struct viommu_dma_result result;

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    for (uint8_t type = VIOMMU_DMA_TRANSLATION_REQUEST; type <= VIOMMU_DMA_TRANSLATED; type++) {
        request.type = type;
        viommu_dma_translate(fixture->space, &request, &result);
        viommu_dma_translate(fixture->space, &request, &result);
    }
    assert_int_equal(fixture->table.walks, 4);
    request.type = VIOMMU_DMA_UNTRANSLATED;
    fixture->table.uncacheable = true;
    viommu_dma_translate(fixture->space, &request, &result);
    viommu_dma_translate(fixture->space, &request, &result);
    assert_int_equal(fixture->table.walks, 6);
    request.address = 0x2000;
    viommu_dma_translate(fixture->space, &request, &result);
    viommu_dma_translate(fixture->space, &request, &result);
    assert_int_equal(fixture->table.walks, 8);
}

static void large_pages_are_copied_in_sections(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(1, RAM_PAGES * PAGE - 1, 0);
    struct viommu_dma_result result;
    char *buffer = unit_pages(RAM_PAGES);

    for (size_t i = 0; i < RAM_PAGES * PAGE; i++)
        fixture->ram[i] = (char)(i * 13 + i / PAGE);
    assert_int_equal(viommu_dma_read(fixture->plain, &request, buffer, &result), 0);
    assert_int_equal(result.length, RAM_PAGES * PAGE - 1);
    assert_memory_equal(buffer, fixture->ram + 1, RAM_PAGES * PAGE - 1);
    free(buffer);
}

/* Mappings. */

struct revoked {
    struct viommu_dma_space *space;
    unsigned int calls;
    bool unmap;
};

static void on_revoke(struct viommu_dma_mapping *mapping, void *opaque)
{
    struct revoked *revoked = opaque;

    __atomic_fetch_add(&revoked->calls, 1, __ATOMIC_SEQ_CST);
    if (revoked->unmap)
        viommu_dma_unmap(revoked->space, mapping);
}

static void map(struct viommu_dma_space *space, uint64_t iova, struct viommu_dma_mapping *mapping,
                struct revoked *revoked)
{
    struct viommu_dma_request request = request_at(iova, 16, RW);
    struct viommu_dma_result result;

    memset(mapping, 0, sizeof(*mapping));
    mapping->revoke = revoked ? on_revoke : NULL;
    mapping->opaque = revoked;
    if (revoked)
        revoked->space = space;
    assert_int_equal(viommu_dma_map(space, &request, mapping, &result), 0);
}

static void map_answers(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_request request = request_at(0x1800, 0x10000, VIOMMU_DMA_READ);
    struct viommu_dma_mapping mapping = {0};
    struct viommu_dma_result result;

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    assert_int_equal(viommu_dma_map(fixture->space, &request, &mapping, &result), 0);
    assert_ptr_equal(mapping.host, fixture->ram + 9 * PAGE + 0x800);
    assert_true(mapping.length == 0x800 && mapping.gpa == 9 * PAGE + 0x800);
    assert_int_equal(mapping.permissions, VIOMMU_DMA_READ);
    assert_true(result.length == 0x800 && result.gpa == mapping.gpa);
    viommu_dma_unmap(fixture->space, &mapping);
    /* By the end of the range of memory, and of ROM for reading. */
    request.address = RAM_PAGES * PAGE - 8;
    assert_int_equal(viommu_dma_map(fixture->plain, &request, &mapping, &result), 0);
    assert_int_equal(mapping.length, 8);
    viommu_dma_unmap(fixture->plain, &mapping);
    request.address = ROM;
    assert_int_equal(viommu_dma_map(fixture->plain, &request, &mapping, &result), 0);
    assert_ptr_equal(mapping.host, fixture->rom);
    viommu_dma_unmap(fixture->plain, &mapping);
}

/* Which invalidation revokes a mapping of page 0x1000, PASID none, domain 7. */
static void what_revokes(void **state)
{
    static const struct {
        struct dma_invalidation what;
        unsigned int calls;
    } cases[] = {
        {{DMA_INVALIDATE_ALL, 0, 0, 0, 0, false}, 1},
        {{DMA_INVALIDATE_DOMAIN, 7, DMA_PASID_ANY, 0, 0, false}, 1},
        {{DMA_INVALIDATE_DOMAIN, 7, VIOMMU_PASID_NONE, 0, 0, false}, 1},
        {{DMA_INVALIDATE_DOMAIN, 7, 3, 0, 0, false}, 0},
        {{DMA_INVALIDATE_DOMAIN, 8, DMA_PASID_ANY, 0, 0, false}, 0},
        {{DMA_INVALIDATE_PAGES, 7, DMA_PASID_ANY, 0x1000, 0x1000, false}, 1},
        {{DMA_INVALIDATE_PAGES, 7, DMA_PASID_ANY, 0x2000, 0x1000, false}, 0},
        {{DMA_INVALIDATE_PAGES, 7, DMA_PASID_ANY, 0, 0x1000, false}, 0},
        {{DMA_INVALIDATE_PAGES, 7, DMA_PASID_ANY, 0, 0x4000, false}, 1},
        {{DMA_INVALIDATE_PAGES, 7, DMA_PASID_ANY, 0, 0, false}, 1},
        {{DMA_INVALIDATE_PAGES, 7, 3, 0x1000, 0x1000, false}, 0},
        {{DMA_INVALIDATE_PAGES, 8, DMA_PASID_ANY, 0x1000, 0x1000, false}, 0},
        {{DMA_INVALIDATE_PAGES, 7, DMA_PASID_ANY, 0x1000, 0x1000, true}, 1},
        {{DMA_INVALIDATE_PAGES, 7, DMA_PASID_ANY, 0x9000, 0x1000, true}, 0},
    };
    struct fixture *fixture = *state;

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct viommu_dma_mapping mapping;
        struct revoked revoked = {0};

        map(fixture->space, 0x1800, &mapping, &revoked);
        dma_space_invalidate(fixture->space, &cases[i].what);
        if (revoked.calls != cases[i].calls)
            fail_msg("case %zu: %u calls", i, revoked.calls);
        viommu_dma_unmap(fixture->space, &mapping);
        dma_drain(&fixture->space, 1);
        assert_int_equal(revoked.calls, cases[i].calls);
    }
}

static void revoked_once_and_drained(void **state)
{
    struct fixture *fixture = *state;
    struct revoked held = {0}, ended = {.unmap = true};
    struct viommu_dma_mapping mappings[3];

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    map(fixture->space, 0x1000, &mappings[0], &held);
    map(fixture->space, 0x1000, &mappings[1], &ended);
    map(fixture->space, 0x1000, &mappings[2], &ended);
    table_invalidate(fixture->space, 0x1000);
    table_invalidate(fixture->space, 0x1000);
    assert_int_equal(held.calls, 1);
    assert_int_equal(ended.calls, 2);
    viommu_dma_unmap(fixture->space, &mappings[0]);
    dma_drain(&fixture->space, 1);
}

/* A callback may end other mappings than its own; those are not called any more. */
struct pair {
    struct viommu_dma_space *space;
    struct viommu_dma_mapping mappings[2];
    unsigned int calls;
};

static void end_both(struct viommu_dma_mapping *mapping, void *opaque)
{
    struct pair *pair = opaque;

    (void)mapping;
    pair->calls++;
    viommu_dma_unmap(pair->space, &pair->mappings[0]);
    viommu_dma_unmap(pair->space, &pair->mappings[1]);
}

static void a_callback_may_end_others(void **state)
{
    struct fixture *fixture = *state;
    struct pair pair = {.space = fixture->space};
    struct viommu_dma_request request = request_at(0x1000, 16, RW);
    struct viommu_dma_result result;

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    for (unsigned int i = 0; i < 2; i++) {
        pair.mappings[i].revoke = end_both;
        pair.mappings[i].opaque = &pair;
        assert_int_equal(viommu_dma_map(fixture->space, &request, &pair.mappings[i], &result), 0);
    }
    table_invalidate(fixture->space, 0x1000);
    assert_int_equal(pair.calls, 1);
    dma_drain(&fixture->space, 1);
}

static void *drain(void *opaque)
{
    struct fixture *fixture = opaque;

    table_invalidate(fixture->space, 0x1000);
    dma_drain(&fixture->space, 1);
    return NULL;
}

static void drain_waits_without_callback(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_mapping mapping;
    pthread_t drainer;

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    map(fixture->space, 0x1000, &mapping, NULL);
    pthread_create(&drainer, NULL, drain, fixture);
    usleep(20000);
    assert_int_equal(pthread_tryjoin_np(drainer, NULL), EBUSY);
    viommu_dma_unmap(fixture->space, &mapping);
    pthread_join(drainer, NULL);
}

/* While a callback runs, the mapping stays: unmap in another thread waits for its return. */
static void slow_revoke(struct viommu_dma_mapping *mapping, void *opaque)
{
    struct revoked *revoked = opaque;

    __atomic_store_n(&revoked->calls, 1, __ATOMIC_SEQ_CST);
    usleep(20000);
    __atomic_store_n((char *)&mapping->permissions, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&revoked->calls, 2, __ATOMIC_SEQ_CST);
}

static void unmap_waits_for_the_callback(void **state)
{
    struct fixture *fixture = *state;
    struct viommu_dma_mapping *mapping = calloc(1, sizeof(*mapping));
    struct revoked revoked = {0};
    pthread_t drainer;

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    map(fixture->space, 0x1000, mapping, &revoked);
    mapping->revoke = slow_revoke;
    pthread_create(&drainer, NULL, drain, fixture);
    while (!__atomic_load_n(&revoked.calls, __ATOMIC_SEQ_CST))
        sched_yield();
    viommu_dma_unmap(fixture->space, mapping);
    free(mapping);
    assert_int_equal(__atomic_load_n(&revoked.calls, __ATOMIC_SEQ_CST), 2);
    pthread_join(drainer, NULL);
}

static void memory_that_goes_away_revokes(void **state)
{
    struct fixture *fixture = *state;
    struct revoked in_ram = {.unmap = true}, in_rom = {.unmap = true}, plain = {.unmap = true};
    struct viommu_dma_request request = request_at(0x2000, 16, VIOMMU_DMA_READ);
    struct viommu_dma_mapping mappings[3];
    struct viommu_dma_result result;

    table_set(&fixture->table, 0x1000, 9 * PAGE | RW);
    table_set(&fixture->table, 0x2000, ROM | RW);
    map(fixture->space, 0x1000, &mappings[0], &in_ram);
    map(fixture->plain, 0x5000, &mappings[1], &plain);
    mappings[2] = (struct viommu_dma_mapping){.revoke = on_revoke, .opaque = &in_rom};
    in_rom.space = fixture->space;
    assert_int_equal(viommu_dma_map(fixture->space, &request, &mappings[2], &result), 0);
    assert_int_equal(viommu_memory_remove(fixture->memory, ROM, NULL), 0);
    assert_true(in_rom.calls == 1 && !in_ram.calls && !plain.calls);
    assert_int_equal(viommu_dma_map(fixture->space, &request, &mappings[2], &result), -EFAULT);
    assert_int_equal(viommu_memory_remove(fixture->memory, 0, NULL), 0);
    assert_true(in_rom.calls == 1 && in_ram.calls == 1 && plain.calls == 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(destroy_null),
        cmocka_unit_test(status_names),
        TEST(malformed_requests),
        TEST(plain_is_identity),
        TEST(plain_moves_bytes),
        TEST(every_size_and_alignment),
        TEST(pages_are_gathered),
        TEST(translate_tells_how_far),
        TEST(refusals),
        TEST(no_fault_for_translated_addresses),
        TEST(a_permission_may_be_granted_without_invalidation),
        TEST(invalidation_is_seen),
        TEST(what_is_not_cached),
        TEST(large_pages_are_copied_in_sections),
        TEST(map_answers),
        TEST(what_revokes),
        TEST(revoked_once_and_drained),
        TEST(a_callback_may_end_others),
        TEST(drain_waits_without_callback),
        TEST(unmap_waits_for_the_callback),
        TEST(memory_that_goes_away_revokes),
    };

    return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
