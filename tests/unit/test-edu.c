/* SPDX-License-Identifier: MIT */
/* The registers, the buffer and the DMA engine of edu, with a memory of the test's own. */
#include "dma.h"
#include "edu.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define RAM_SIZE 0x4000u /* what lies beyond is refused */

struct bench {
    struct vmm_edu edu;
    struct vmm_dma dma;
    uint8_t ram[RAM_SIZE];
    unsigned int raised;
    bool line;
    unsigned int requests;
};

static struct bench *bench_of_edu(struct vmm_edu *edu)
{
    return (struct bench *)((char *)edu - offsetof(struct bench, edu));
}

static struct bench *bench_of_dma(const struct vmm_dma *dma)
{
    return (struct bench *)((char *)dma - offsetof(struct bench, dma));
}

static void raise_line(struct vmm_edu *edu)
{
    bench_of_edu(edu)->raised++;
    bench_of_edu(edu)->line = true;
}

static void lower_line(struct vmm_edu *edu)
{
    bench_of_edu(edu)->line = false;
}

static const struct vmm_edu_ops ops = {raise_line, lower_line};

/* As the library does: what lies before the refused page is moved. */
static uint64_t allowed(uint64_t address, uint64_t length)
{
    if (address >= RAM_SIZE)
        return 0;
    return length < RAM_SIZE - address ? length : RAM_SIZE - address;
}

static int ram_read(const struct vmm_dma *dma, uint64_t address, void *buffer, uint64_t length)
{
    struct bench *bench = bench_of_dma(dma);

    bench->requests++;
    if (allowed(address, length))
        memcpy(buffer, bench->ram + address, allowed(address, length));
    return allowed(address, length) == length ? 0 : -EACCES;
}

static int ram_write(const struct vmm_dma *dma, uint64_t address, const void *buffer,
                     uint64_t length)
{
    struct bench *bench = bench_of_dma(dma);

    bench->requests++;
    if (allowed(address, length))
        memcpy(bench->ram + address, buffer, allowed(address, length));
    return allowed(address, length) == length ? 0 : -EACCES;
}

static int setup(void **state)
{
    static struct bench bench;

    memset(&bench, 0, sizeof(bench));
    bench.dma.read = ram_read;
    bench.dma.write = ram_write;
    vmm_edu_init(&bench.edu, &ops, &bench.dma, VMM_EDU_DMA_MASK_DEFAULT);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    vmm_edu_fini(&bench->edu);
    return 0;
}

static uint32_t read32(struct bench *bench, uint64_t offset)
{
    return (uint32_t)vmm_edu_read(&bench->edu, offset, 4);
}

static void write32(struct bench *bench, uint64_t offset, uint32_t value)
{
    vmm_edu_write(&bench->edu, offset, 4, value);
}

static void transfer(struct bench *bench, uint64_t from, uint64_t to, uint64_t count,
                     uint64_t command)
{
    vmm_edu_write(&bench->edu, 0x80, 8, from);
    vmm_edu_write(&bench->edu, 0x88, 8, to);
    vmm_edu_write(&bench->edu, 0x90, 8, count);
    vmm_edu_write(&bench->edu, 0x98, 8, command);
}

static void test_identification_and_liveness(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(read32(bench, 0x00), 0x010000ed);
    write32(bench, 0x00, 0);
    assert_int_equal(read32(bench, 0x00), 0x010000ed);
    write32(bench, 0x04, 0x12345678);
    assert_int_equal(read32(bench, 0x04), 0xedcba987);
}

static void test_access_sizes(void **state)
{
    static const struct {
        uint64_t offset;
        unsigned int size;
    } refused[] = {{0x04, 1}, {0x04, 2}, {0x04, 8}, {0x05, 4}, {0x80, 1},   {0x80, 2},
                   {0x84, 4}, {0x0c, 4}, {0xa0, 8}, {0x60, 4}, {0x40000, 4}};
    struct bench *bench = *state;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_true(vmm_edu_read(&bench->edu, refused[i].offset, refused[i].size) == UINT64_MAX);
    vmm_edu_write(&bench->edu, 0x04, 8, 0);
    assert_int_equal(read32(bench, 0x04), 0);
    vmm_edu_write(&bench->edu, 0x80, 8, 0x123456789abcdef0);
    assert_true(vmm_edu_read(&bench->edu, 0x80, 8) == 0x123456789abcdef0);
    write32(bench, 0x80, 7);
    assert_true(vmm_edu_read(&bench->edu, 0x80, 8) == 7);
}

static void test_factorial(void **state)
{
    static const struct {
        uint32_t value, result;
    } rows[] = {{0, 1}, {1, 1}, {5, 120}, {12, 479001600}, {13, 1932053504}, {34, 0}, {~0u, 0}};
    struct bench *bench = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        write32(bench, 0x08, rows[i].value);
        assert_int_equal(read32(bench, 0x08), rows[i].result);
        assert_int_equal(read32(bench, 0x20) & 1, 0);
    }
    assert_int_equal(bench->raised, 0);
    write32(bench, 0x20, 0xffffffff);
    assert_int_equal(read32(bench, 0x20), 0x80);
    write32(bench, 0x08, 3);
    assert_int_equal(bench->raised, 1);
    assert_int_equal(read32(bench, 0x24), 1);
}

static void test_interrupts(void **state)
{
    struct bench *bench = *state;

    write32(bench, 0x60, 0);
    assert_int_equal(bench->raised, 0);
    write32(bench, 0x60, 0x30);
    write32(bench, 0x60, 0x05);
    assert_int_equal(bench->raised, 2);
    assert_int_equal(read32(bench, 0x24), 0x35);
    write32(bench, 0x64, 0x15);
    assert_int_equal(read32(bench, 0x24), 0x20);
    assert_true(bench->line);
    write32(bench, 0x64, 0x20);
    assert_false(bench->line);
}

static void test_dma_both_ways(void **state)
{
    struct bench *bench = *state;

    for (unsigned int i = 0; i < 4096; i++)
        bench->ram[i] = (uint8_t)(i * 7);
    transfer(bench, 0, 0x40000, 4096, 1);
    transfer(bench, 0x40000, 0x2000, 4096, 3);
    assert_memory_equal(bench->ram, bench->ram + 0x2000, 4096);
    assert_int_equal(vmm_edu_read(&bench->edu, 0x98, 8), 2);
    assert_int_equal(bench->raised, 0);
    transfer(bench, 0x40ff0, 0x1800, 16, 7);
    assert_memory_equal(bench->ram + 0xff0, bench->ram + 0x1800, 16);
    assert_int_equal(read32(bench, 0x24), 0x100);
    assert_int_equal(bench->raised, 1);
}

/* Device addresses that are not wholly in the buffer: no request, no effect, but an end. */
static void test_dma_outside_of_the_buffer(void **state)
{
    static const struct {
        uint64_t address, count;
    } rows[] = {{0x3ffff, 1},    {0x41000, 1},          {0x40001, 4096},       {0x40000, 4097},
                {0, 16},         {0x40000, 1ull << 32}, {0x40800, UINT64_MAX}, {UINT64_MAX, 1},
                {UINT64_MAX, 2}, {0x41001, 0}};
    struct bench *bench = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        transfer(bench, 0, rows[i].address, rows[i].count, 1);
        transfer(bench, rows[i].address, 0, rows[i].count, 3);
        assert_int_equal(vmm_edu_read(&bench->edu, 0x98, 4) & 1, 0);
    }
    transfer(bench, 0, 0x40000, 0, 5);
    assert_int_equal(bench->requests, 0);
    assert_int_equal(read32(bench, 0x24), 0x100);
}

static void test_refused_dma_leaves_the_buffer(void **state)
{
    struct bench *bench = *state;
    uint8_t before[VMM_EDU_BUFFER_SIZE];

    memset(bench->ram, 0x5a, RAM_SIZE);
    transfer(bench, 0, 0x40000, 4096, 1);
    memcpy(before, bench->edu.buffer, sizeof(before));
    memset(bench->ram, 0xa5, RAM_SIZE);
    transfer(bench, RAM_SIZE, 0x40000, 64, 1);
    transfer(bench, RAM_SIZE - 32, 0x40000, 64, 5);
    assert_int_equal(bench->requests, 3);
    assert_memory_equal(before, bench->edu.buffer, sizeof(before));
    assert_int_equal(vmm_edu_read(&bench->edu, 0x98, 8) & 1, 0);
    assert_int_equal(read32(bench, 0x24), 0x100);
}

static void test_dma_mask(void **state)
{
    struct bench *bench = *state;

    bench->ram[0x123] = 0x77;
    transfer(bench, 0xf8000123, 0x40000, 1, 1);
    assert_int_equal(bench->edu.buffer[0], 0);
    transfer(bench, 0xf0000123, 0x40000, 1, 1);
    assert_int_equal(bench->edu.buffer[0], 0x77);
}

static void test_reset(void **state)
{
    static const uint64_t offsets[] = {0x04, 0x08, 0x20, 0x24, 0x80, 0x88, 0x90, 0x98};
    struct bench *bench = *state;

    memset(bench->ram, 1, RAM_SIZE);
    write32(bench, 0x04, 1);
    write32(bench, 0x20, 0x80);
    write32(bench, 0x08, 3);
    transfer(bench, 0, 0x40000, 4096, 1);
    transfer(bench, 0x40000, 0x1000, 1, 7);
    vmm_edu_reset(&bench->edu);
    assert_false(bench->line);
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
        assert_int_equal(read32(bench, offsets[i]), 0);
    for (unsigned int i = 0; i < VMM_EDU_BUFFER_SIZE; i++)
        assert_int_equal(bench->edu.buffer[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identification_and_liveness, setup, teardown),
        cmocka_unit_test_setup_teardown(test_access_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_factorial, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma_outside_of_the_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_dma_leaves_the_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma_mask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
