/* SPDX-License-Identifier: MIT */
/* The device's side of a split virtqueue against a driver that is correct, and one that is not. */
#include "dma.h"
#include "virtqueue.h"
#include <errno.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define RAM_SIZE 0x10000u
#define DESC     0x1000u
#define AVAIL    0x2000u
#define USED     0x3000u
#define INDIRECT 0x4000u
#define DATA     0x8000u
#define SIZE     8u

struct bench {
    struct vmm_virtqueue queue;
    struct vmm_virtq_chain chain;
    struct vmm_dma dma;
    uint8_t ram[RAM_SIZE] __attribute__((aligned(16)));
    unsigned int requests;
};

static struct bench *bench_of(const struct vmm_dma *dma)
{
    return (struct bench *)((char *)dma - offsetof(struct bench, dma));
}

static int ram_read(const struct vmm_dma *dma, uint64_t address, void *buffer, uint64_t length)
{
    bench_of(dma)->requests++;
    if (address >= RAM_SIZE || length > RAM_SIZE - address)
        return -EFAULT;
    memcpy(buffer, bench_of(dma)->ram + address, length);
    return 0;
}

static int ram_write(const struct vmm_dma *dma, uint64_t address, const void *buffer,
                     uint64_t length)
{
    bench_of(dma)->requests++;
    if (address >= RAM_SIZE || length > RAM_SIZE - address)
        return -EFAULT;
    memcpy(bench_of(dma)->ram + address, buffer, length);
    return 0;
}

static int setup(void **state)
{
    static struct bench bench;

    memset(&bench, 0, sizeof(bench));
    bench.dma.read = ram_read;
    bench.dma.write = ram_write;
    bench.queue.dma = &bench.dma;
    vmm_virtqueue_reset(&bench.queue);
    assert_int_equal(bench.queue.size, VMM_VIRTQUEUE_SIZE_MAX);
    bench.queue.size = SIZE;
    bench.queue.enabled = true;
    bench.queue.descriptors = DESC;
    bench.queue.driver = AVAIL;
    bench.queue.device = USED;
    *state = &bench;
    return 0;
}

static uint16_t *ram16(struct bench *bench, unsigned int address)
{
    return (uint16_t *)(void *)(bench->ram + address);
}

static void set_desc(struct bench *bench, unsigned int table, unsigned int index, uint64_t address,
                     uint32_t length, uint16_t flags, uint16_t next)
{
    struct vring_desc desc = {address, length, flags, next};

    memcpy(bench->ram + table + index * sizeof(desc), &desc, sizeof(desc));
}

static void offer(struct bench *bench, uint16_t head)
{
    uint16_t *index = ram16(bench, AVAIL + 2);

    *ram16(bench, AVAIL + 4 + 2 * (*index % SIZE)) = head;
    (*index)++;
}

static int pop(struct bench *bench)
{
    return vmm_virtqueue_pop(&bench->queue, &bench->chain);
}

static void test_empty(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(pop(bench), 0);
    assert_int_equal(vmm_virtqueue_wait(&bench->queue), 0);
}

static void test_chain(void **state)
{
    struct bench *bench = *state;
    uint8_t out[24], in[10] = "abcdefghi";

    set_desc(bench, DESC, 3, DATA, 16, VRING_DESC_F_NEXT, 0);
    set_desc(bench, DESC, 0, DATA + 0x100, 8, VRING_DESC_F_NEXT, 7);
    set_desc(bench, DESC, 7, DATA + 0x200, 0, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
    set_desc(bench, DESC, 2, DATA + 0x300, 4, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
    set_desc(bench, DESC, 1, DATA + 0x400, 6, VRING_DESC_F_WRITE, 99);
    memset(bench->ram + DATA, 1, 16);
    memset(bench->ram + DATA + 0x100, 2, 8);
    offer(bench, 3);
    assert_int_equal(pop(bench), 1);
    assert_int_equal(bench->chain.head, 3);
    assert_int_equal(bench->chain.readable, 2);
    assert_int_equal(bench->chain.count, 5);
    assert_int_equal(bench->chain.readable_length, 24);
    assert_int_equal(bench->chain.writable_length, 10);

    assert_int_equal(vmm_virtq_chain_read(&bench->queue, &bench->chain, 0, out, 24), 0);
    assert_int_equal(out[15], 1);
    assert_int_equal(out[16], 2);
    assert_int_equal(vmm_virtq_chain_read(&bench->queue, &bench->chain, 23, out, 1), 0);
    assert_int_equal(vmm_virtq_chain_read(&bench->queue, &bench->chain, 23, out, 2), -EINVAL);
    assert_int_equal(vmm_virtq_chain_write(&bench->queue, &bench->chain, 1, in, 9), 0);
    assert_memory_equal(bench->ram + DATA + 0x301, "abc", 3);
    assert_memory_equal(bench->ram + DATA + 0x400, "defghi", 6);
    assert_int_equal(vmm_virtq_chain_write(&bench->queue, &bench->chain, 10, in, 1), -EINVAL);
    assert_int_equal(pop(bench), 0);
}

static void test_indirect(void **state)
{
    struct bench *bench = *state;

    for (unsigned int i = 0; i < VMM_VIRTQUEUE_SIZE_MAX; i++)
        set_desc(bench, INDIRECT, i, DATA + i, 1, VRING_DESC_F_NEXT, (uint16_t)(i + 1));
    set_desc(bench, INDIRECT, VMM_VIRTQUEUE_SIZE_MAX - 1, DATA + 0x200, 1, VRING_DESC_F_WRITE, 0);
    set_desc(bench, DESC, 0, INDIRECT, VMM_VIRTQUEUE_SIZE_MAX * 16, VRING_DESC_F_INDIRECT, 0);
    offer(bench, 0);
    assert_int_equal(pop(bench), 1);
    assert_int_equal(bench->chain.count, VMM_VIRTQUEUE_SIZE_MAX);
    assert_int_equal(bench->chain.readable, VMM_VIRTQUEUE_SIZE_MAX - 1);
    assert_int_equal(bench->chain.writable_length, 1);
}

/* A direct descriptor before the indirect one is allowed (virtio 1.2, 2.7.5.3.2). */
static void test_direct_then_indirect(void **state)
{
    struct bench *bench = *state;

    set_desc(bench, DESC, 0, DATA, 16, VRING_DESC_F_NEXT, 1);
    set_desc(bench, DESC, 1, INDIRECT, 32, VRING_DESC_F_INDIRECT, 0);
    set_desc(bench, INDIRECT, 0, DATA, 5, VRING_DESC_F_NEXT, 1);
    set_desc(bench, INDIRECT, 1, DATA, 7, VRING_DESC_F_WRITE, 0);
    offer(bench, 0);
    assert_int_equal(pop(bench), 1);
    assert_int_equal(bench->chain.readable_length, 21);
    assert_int_equal(bench->chain.writable_length, 7);
}

/* What a hostile driver may put into descriptor 0 and, by it, into the first two of a table. */
static const struct hostile {
    const char *what;
    struct vring_desc direct;
    struct vring_desc indirect[2];
    int result;
} hostile[] = {
    {"loop of one", {DATA, 1, VRING_DESC_F_NEXT, 0}, {{0}}, -EINVAL},
    {"next beyond the table", {DATA, 1, VRING_DESC_F_NEXT, SIZE}, {{0}}, -EINVAL},
    {"indirect loop",
     {INDIRECT, 32, VRING_DESC_F_INDIRECT, 0},
     {{DATA, 1, VRING_DESC_F_NEXT, 1}, {DATA, 1, VRING_DESC_F_NEXT, 0}},
     -EINVAL},
    {"indirect loop of empty segments",
     {INDIRECT, 16, VRING_DESC_F_INDIRECT, 0},
     {{DATA, 0, VRING_DESC_F_NEXT, 0}},
     -EINVAL},
    {"indirect next beyond the table",
     {INDIRECT, 32, VRING_DESC_F_INDIRECT, 0},
     {{DATA, 1, VRING_DESC_F_NEXT, 2}},
     -EINVAL},
    {"indirect in indirect",
     {INDIRECT, 32, VRING_DESC_F_INDIRECT, 0},
     {{INDIRECT, 16, VRING_DESC_F_INDIRECT, 0}},
     -EINVAL},
    {"indirect with next",
     {INDIRECT, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1},
     {{0}},
     -EINVAL},
    {"empty indirect table", {INDIRECT, 0, VRING_DESC_F_INDIRECT, 0}, {{0}}, -EINVAL},
    {"indirect table with a fraction", {INDIRECT, 17, VRING_DESC_F_INDIRECT, 0}, {{0}}, -EINVAL},
    {"indirect table too long", {INDIRECT, 257 * 16, VRING_DESC_F_INDIRECT, 0}, {{0}}, -EINVAL},
    {"indirect table of 4 GiB", {INDIRECT, 0xfffffff0, VRING_DESC_F_INDIRECT, 0}, {{0}}, -EINVAL},
    {"indirect table nowhere", {RAM_SIZE, 16, VRING_DESC_F_INDIRECT, 0}, {{0}}, -EFAULT},
    {"readable after writable",
     {INDIRECT, 32, VRING_DESC_F_INDIRECT, 0},
     {{DATA, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1}, {DATA, 1, 0, 0}},
     -EINVAL},
};

static void test_hostile_chains(void **state)
{
    struct bench *bench = *state;

    offer(bench, 0);
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        memcpy(bench->ram + DESC, &hostile[i].direct, sizeof(hostile[i].direct));
        memcpy(bench->ram + INDIRECT, hostile[i].indirect, sizeof(hostile[i].indirect));
        bench->requests = 0;
        if (pop(bench) != hostile[i].result)
            fail_msg("%s: not refused as it should be", hostile[i].what);
        assert_true(bench->requests <= 2 + VMM_VIRTQUEUE_SIZE_MAX + 1);
    }
}

static void test_hostile_rings(void **state)
{
    struct bench *bench = *state;

    *ram16(bench, AVAIL + 2) = SIZE + 1;
    assert_int_equal(pop(bench), -EINVAL);
    *ram16(bench, AVAIL + 2) = 0xffff;
    assert_int_equal(pop(bench), -EINVAL);
    assert_int_equal(vmm_virtqueue_wait(&bench->queue), -EINVAL);
    *ram16(bench, AVAIL + 2) = 1;
    *ram16(bench, AVAIL + 4) = SIZE;
    assert_int_equal(pop(bench), -EINVAL);
    bench->queue.driver = RAM_SIZE;
    assert_int_equal(pop(bench), -EFAULT);
    bench->queue.driver = AVAIL;
    bench->queue.descriptors = UINT64_MAX - 3;
    *ram16(bench, AVAIL + 4) = 0;
    assert_int_equal(pop(bench), -EFAULT);
    bench->queue.device = RAM_SIZE;
    assert_int_equal(vmm_virtqueue_push(&bench->queue, 0, 0), -EFAULT);
    assert_int_equal(bench->queue.next_used, 0);
}

static void test_push_wraps(void **state)
{
    struct bench *bench = *state;
    struct vring_used_elem element;

    set_desc(bench, DESC, 5, DATA, 1, 0, 0);
    *ram16(bench, AVAIL + 2) = 0xfffe;
    *ram16(bench, USED + 2) = 0xfffe;
    bench->queue.next_avail = 0xfffe;
    bench->queue.next_used = 0xfffe;
    for (unsigned int i = 0; i < 5; i++) {
        offer(bench, 5);
        assert_int_equal(pop(bench), 1);
        assert_int_equal(vmm_virtqueue_push(&bench->queue, bench->chain.head, 40 + i), 0);
        memcpy(&element, bench->ram + USED + 4 + 8 * ((0xfffe + i) % SIZE), sizeof(element));
        assert_int_equal(element.id, 5);
        assert_int_equal(element.len, 40 + i);
    }
    assert_int_equal(*ram16(bench, USED + 2), 3);
    assert_int_equal(pop(bench), 0);
}

static void test_notification_by_flag(void **state)
{
    struct bench *bench = *state;

    vmm_virtqueue_push(&bench->queue, 0, 0);
    assert_int_equal(vmm_virtqueue_must_notify(&bench->queue), 1);
    *ram16(bench, AVAIL) = VRING_AVAIL_F_NO_INTERRUPT;
    vmm_virtqueue_push(&bench->queue, 0, 0);
    assert_int_equal(vmm_virtqueue_must_notify(&bench->queue), 0);
}

static void test_notification_by_event_index(void **state)
{
    struct bench *bench = *state;
    uint16_t *used_event = ram16(bench, AVAIL + 4 + 2 * SIZE);
    unsigned int notified = 0;

    bench->queue.event_idx = true;
    bench->queue.next_used = 0xfffd;
    bench->queue.notified = 0xfffd;
    *used_event = 1;
    for (unsigned int i = 0; i < 10; i++) {
        vmm_virtqueue_push(&bench->queue, 0, 0);
        notified += (unsigned int)vmm_virtqueue_must_notify(&bench->queue);
        if (bench->queue.next_used == 1)
            assert_int_equal(notified, 0);
    }
    assert_int_equal(notified, 1);

    set_desc(bench, DESC, 0, DATA, 1, 0, 0);
    offer(bench, 0);
    assert_int_equal(vmm_virtqueue_wait(&bench->queue), 1);
    assert_int_equal(pop(bench), 1);
    assert_int_equal(vmm_virtqueue_wait(&bench->queue), 0);
    assert_int_equal(*ram16(bench, USED + 4 + 8 * SIZE), 1);
}

/* Data that lie where the IOMMU refuses them: an error for this request alone. */
static void test_refused_data(void **state)
{
    struct bench *bench = *state;
    uint8_t buffer[32] = {0};

    set_desc(bench, DESC, 0, UINT64_MAX - 8, 32, VRING_DESC_F_NEXT, 1);
    set_desc(bench, DESC, 1, RAM_SIZE - 4, 32, VRING_DESC_F_WRITE, 1);
    offer(bench, 0);
    assert_int_equal(pop(bench), 1);
    assert_int_equal(vmm_virtq_chain_read(&bench->queue, &bench->chain, 0, buffer, 32), -EFAULT);
    assert_int_equal(vmm_virtq_chain_write(&bench->queue, &bench->chain, 0, buffer, 32), -EFAULT);
    assert_int_equal(vmm_virtq_chain_write(&bench->queue, &bench->chain, 0, buffer, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, setup),
        cmocka_unit_test_setup(test_chain, setup),
        cmocka_unit_test_setup(test_indirect, setup),
        cmocka_unit_test_setup(test_direct_then_indirect, setup),
        cmocka_unit_test_setup(test_hostile_chains, setup),
        cmocka_unit_test_setup(test_hostile_rings, setup),
        cmocka_unit_test_setup(test_push_wraps, setup),
        cmocka_unit_test_setup(test_notification_by_flag, setup),
        cmocka_unit_test_setup(test_notification_by_event_index, setup),
        cmocka_unit_test_setup(test_refused_data, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
