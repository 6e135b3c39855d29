/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk behind the VT-d unit, with a driver as strict as Linux' iommu.strict=1: each request
 * gets IOVAs that others had before, is unmapped and invalidated when it is done, and its pages are
 * spoilt at once. A translation that outlives its invalidation shows as wrong data on the disk or
 * in memory. Two CPUs drive a queue each and share the invalidation queue.
 */
#include "device.h"
#include "machine.h"
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOT     1u
#define CPUS     2u
#define REQUESTS 3000u
#define PAGE     4096u
#define SIZE     16u /* of a queue */

/* Guest physical memory: tables, the invalidation queue, then each CPU's pages. */
#define ROOT_TABLE     0x1000u
#define CONTEXT_TABLE  0x2000u
#define LEVEL_4        0x3000u
#define LEVEL_3        0x4000u
#define LEVEL_2        0x5000u
#define LEVEL_1        0x6000u
#define INVALIDATIONS  0x7000u
#define WAIT_STATUS    0x8000u
#define CPU_MEMORY(n)  (0x100000u + 0x100000u * (n))
#define CPU_PAGES      64u /* for requests; behind them its rings */
#define RINGS(n)       (CPU_MEMORY(n) + CPU_PAGES * PAGE)
#define IOVA_RINGS(n)  ((500u + (n)) * PAGE) /* of 512 pages that level 1 maps */
#define DISK_SECTORS   256u
#define SECTORS_OF_CPU (DISK_SECTORS / CPUS)

/* VT-d 5.0, 11.4: registers, and 6.5.2: descriptors. */
#define GCMD     0x18u
#define GSTS     0x1cu
#define RTADDR   0x20u
#define IQH      0x80u
#define IQT      0x88u
#define IQA      0x90u
#define GCMD_TE  (1u << 31)
#define GCMD_SRT (1u << 30)
#define GCMD_QIE (1u << 26)

struct bench {
    struct machine *machine;
    uint64_t bar;
    pthread_mutex_t lock; /* the invalidation queue */
    unsigned int tail;
    uint32_t waits;
    const char *failure; /* of any CPU; cmocka's asserts are for the main thread */
};

struct cpu {
    struct bench *bench;
    unsigned int index;
    uint32_t random;
    uint16_t avail;
    pthread_t thread;
};

static void *ram(struct bench *bench, uint64_t address)
{
    return machine_ram(bench->machine, address);
}

static void write_register(struct bench *bench, unsigned int offset, unsigned int size,
                           uint64_t value)
{
    machine_write(bench->machine, VMM_VIOMMU_BASE + offset, size, value);
}

static void put64(struct bench *bench, uint64_t address, uint64_t value)
{
    __atomic_store_n((uint64_t *)ram(bench, address), value, __ATOMIC_RELEASE);
}

static void map_page(struct bench *bench, uint64_t iova, uint64_t gpa)
{
    put64(bench, LEVEL_1 + iova / PAGE * 8, gpa | 3);
}

static void queue_descriptor(struct bench *bench, uint64_t low, uint64_t high)
{
    put64(bench, INVALIDATIONS + bench->tail, low);
    put64(bench, INVALIDATIONS + bench->tail + 8, high);
    bench->tail = (bench->tail + 16) % PAGE;
}

/* Page-selective, drained, then a wait descriptor with a status write. */
static void unmap_page(struct bench *bench, uint64_t iova)
{
    uint32_t status;

    put64(bench, LEVEL_1 + iova / PAGE * 8, 0);
    pthread_mutex_lock(&bench->lock);
    queue_descriptor(bench, 2 | 3u << 4 | 3u << 6 | 7u << 16, iova);
    queue_descriptor(bench, 5 | 1u << 5 | (uint64_t)++bench->waits << 32, WAIT_STATUS);
    write_register(bench, IQT, 8, bench->tail);
    status = __atomic_load_n((uint32_t *)ram(bench, WAIT_STATUS), __ATOMIC_ACQUIRE);
    if (status != bench->waits)
        bench->failure = "a wait descriptor did not complete";
    pthread_mutex_unlock(&bench->lock);
}

/* Legacy mode: one domain, 4-level second stage (VT-d 5.0, 9.1, 9.3, 9.8). */
static void turn_translation_on(struct bench *bench)
{
    put64(bench, ROOT_TABLE, CONTEXT_TABLE | 1);
    put64(bench, CONTEXT_TABLE + (SLOT << 3) * 16, LEVEL_4 | 1);
    put64(bench, CONTEXT_TABLE + (SLOT << 3) * 16 + 8, 7u << 8 | 2);
    put64(bench, LEVEL_4, LEVEL_3 | 3);
    put64(bench, LEVEL_3, LEVEL_2 | 3);
    put64(bench, LEVEL_2, LEVEL_1 | 3);
    write_register(bench, IQT, 8, 0);
    write_register(bench, IQA, 8, INVALIDATIONS);
    write_register(bench, GCMD, 4, GCMD_QIE);
    write_register(bench, RTADDR, 8, ROOT_TABLE);
    write_register(bench, GCMD, 4, GCMD_QIE | GCMD_SRT);
    write_register(bench, GCMD, 4, GCMD_QIE | GCMD_TE);
    assert_int_equal(machine_read(bench->machine, VMM_VIOMMU_BASE + GSTS, 4),
                     GCMD_QIE | GCMD_SRT | GCMD_TE);
}

static void set(struct bench *bench, unsigned int offset, unsigned int size, uint64_t value)
{
    machine_write(bench->machine, bench->bar + offset, size, value);
}

/* A queue's three parts lie in one page: 16 descriptors, then the rings. */
static void start_device(struct bench *bench)
{
    set(bench, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    set(bench, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    set(bench, VIRTIO_PCI_COMMON_GF, 4, 3);
    set(bench, VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
    for (unsigned int i = 0; i < CPUS; i++) {
        map_page(bench, IOVA_RINGS(i), RINGS(i));
        set(bench, VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
        set(bench, VIRTIO_PCI_COMMON_Q_SIZE, 2, SIZE);
        set(bench, VIRTIO_PCI_COMMON_Q_DESCLO, 8, IOVA_RINGS(i));
        set(bench, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, IOVA_RINGS(i) + 0x400);
        set(bench, VIRTIO_PCI_COMMON_Q_USEDLO, 8, IOVA_RINGS(i) + 0x800);
        set(bench, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    }
    set(bench, VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
    assert_int_equal(machine_read(bench->machine, bench->bar + VIRTIO_PCI_COMMON_STATUS, 1), 0xf);
}

static uint32_t next_random(struct cpu *cpu)
{
    cpu->random = cpu->random * 1664525u + 1013904223u;
    return cpu->random >> 8;
}

/* The parts of a request: header, two pages of data, status; each at a GPA and an IOVA. */
struct parts {
    uint64_t gpa[4];
    uint64_t iova[4];
};

/* Neighbouring requests share most of their pages and IOVAs, in another combination. */
static void choose_parts(struct cpu *cpu, struct parts *parts)
{
    uint32_t page = next_random(cpu);
    uint32_t slot = next_random(cpu);

    for (unsigned int i = 0; i < 4; i++) {
        parts->gpa[i] = CPU_MEMORY(cpu->index) + (page + i * 5) % 16 * PAGE;
        parts->iova[i] = (cpu->index * 64 + (slot + i * 3) % 8) * PAGE;
        map_page(cpu->bench, parts->iova[i], parts->gpa[i]);
    }
}

static void drop_parts(struct cpu *cpu, const struct parts *parts)
{
    for (unsigned int i = 0; i < 4; i++) {
        unmap_page(cpu->bench, parts->iova[i]);
        memset(ram(cpu->bench, parts->gpa[i]), 0xdd, PAGE);
    }
}

static void set_desc(struct cpu *cpu, unsigned int index, uint64_t iova, uint32_t length,
                     uint16_t flags)
{
    struct vring_desc desc = {iova, length, flags, (uint16_t)(index + 1)};

    memcpy((struct vring_desc *)ram(cpu->bench, RINGS(cpu->index)) + index, &desc, sizeof(desc));
}

/* Returns the status byte, 0xff when the device does not answer within 20 s. */
static uint8_t perform(struct cpu *cpu, const struct parts *parts, uint32_t type, uint64_t sector)
{
    struct bench *bench = cpu->bench;
    struct virtio_blk_outhdr header = {.type = type, .sector = sector};
    uint16_t writes = type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0;
    _Atomic uint16_t *avail = ram(bench, RINGS(cpu->index) + 0x400);
    _Atomic uint16_t *used = ram(bench, RINGS(cpu->index) + 0x800);
    uint8_t *status = ram(bench, parts->gpa[3]);

    memcpy(ram(bench, parts->gpa[0]), &header, sizeof(header));
    *status = 0xee;
    set_desc(cpu, 0, parts->iova[0], sizeof(header), VRING_DESC_F_NEXT);
    set_desc(cpu, 1, parts->iova[1], PAGE, VRING_DESC_F_NEXT | writes);
    set_desc(cpu, 2, parts->iova[2], PAGE, VRING_DESC_F_NEXT | writes);
    set_desc(cpu, 3, parts->iova[3], 1, VRING_DESC_F_WRITE);
    avail[2 + cpu->avail % SIZE] = 0;
    avail[1] = ++cpu->avail;
    set(bench, 0x3000 + 4 * cpu->index, 2, cpu->index);
    for (unsigned int i = 0; i < 200000; i++) {
        if (used[1] == cpu->avail)
            return *status;
        usleep(i < 1000 ? 0 : 100);
    }
    return 0xff;
}

static void fill(void *page, uint32_t seed)
{
    uint32_t *words = page;

    for (unsigned int i = 0; i < PAGE / 4; i++)
        words[i] = seed * 2654435761u + i;
}

/* Write two pages somewhere in this CPU's part of the disk, read them back to other pages. */
static const char *write_and_read(struct cpu *cpu, uint32_t seed)
{
    uint64_t sector = cpu->index * SECTORS_OF_CPU + next_random(cpu) % (SECTORS_OF_CPU / 16) * 16;
    uint8_t expected[2][PAGE];
    const char *failure = NULL;
    struct parts parts;

    for (unsigned int i = 0; i < 2; i++)
        fill(expected[i], seed * 2 + i);
    choose_parts(cpu, &parts);
    memcpy(ram(cpu->bench, parts.gpa[1]), expected[0], PAGE);
    memcpy(ram(cpu->bench, parts.gpa[2]), expected[1], PAGE);
    if (perform(cpu, &parts, VIRTIO_BLK_T_OUT, sector) != VIRTIO_BLK_S_OK)
        failure = "a write failed";
    drop_parts(cpu, &parts);
    choose_parts(cpu, &parts);
    if (!failure && perform(cpu, &parts, VIRTIO_BLK_T_IN, sector) != VIRTIO_BLK_S_OK)
        failure = "a read failed";
    if (!failure && (memcmp(ram(cpu->bench, parts.gpa[1]), expected[0], PAGE) ||
                     memcmp(ram(cpu->bench, parts.gpa[2]), expected[1], PAGE)))
        failure = "what was read is not what was written";
    drop_parts(cpu, &parts);
    return failure;
}

static void *run_cpu(void *opaque)
{
    struct cpu *cpu = opaque;
    const char *failure = NULL;

    for (uint32_t i = 0; i < REQUESTS && !failure; i++)
        failure = write_and_read(cpu, i * CPUS + cpu->index);
    return (void *)failure;
}

static uint64_t common_configuration(struct machine *machine)
{
    return machine_config_read(machine, SLOT, 0x10, 4) & ~0xfu;
}

static void test_strict_driver(void **state)
{
    struct bench bench = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char path[] = "/tmp/test-virtio-blk-iommu-XXXXXX";
    int fd = mkstemp(path);
    struct viommu_error error;
    struct cpu cpus[CPUS];
    char option[128];
    void *failure;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, DISK_SECTORS * 512), 0);
    snprintf(option, sizeof(option), "virtio-blk,path=%s,num-queues=%u", path, CPUS);
    bench.machine = machine_create("vtd,caching-mode=off", NULL);
    if (vmm_device_create(&bench.machine->vm, option, &error))
        fail_msg("%s", error.message);
    bench.bar = common_configuration(bench.machine);
    turn_translation_on(&bench);
    start_device(&bench);
    for (unsigned int i = 0; i < CPUS; i++) {
        cpus[i] = (struct cpu){.bench = &bench, .index = i, .random = i + 1};
        assert_int_equal(pthread_create(&cpus[i].thread, NULL, run_cpu, &cpus[i]), 0);
    }
    for (unsigned int i = 0; i < CPUS; i++) {
        pthread_join(cpus[i].thread, &failure);
        if (failure && !bench.failure)
            bench.failure = failure;
    }
    machine_destroy(bench.machine);
    close(fd);
    unlink(path);
    if (bench.failure)
        fail_msg("%s", bench.failure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strict_driver),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
