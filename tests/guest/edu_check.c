/* SPDX-License-Identifier: MIT */
/*
 * One edu in a VFIO container: its registers, DMA through IOVAs that this program chooses,
 * remapping, faults, interrupts. IOVAs lie below 256 MiB, the reach of QEMU's edu.
 */
#include "edu_check.h"

#include "edu.h"
#include "guest.h"

#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* QEMU reports a fault for each 4 bytes, and the driver's log is rate-limited. */
#define FAULT_SIZE 4

#define HUGE_IOVA 0x0c000000ull
#define HUGE_SIZE (2ull << 20)

bool map_buffer(int container, uint64_t iova, void *buf, uint64_t size, int access)
{
    int err = vfio_map(container, iova, buf, size, access);

    return need(!err, "VFIO maps a buffer", strerror(-err));
}

bool unmap_buffer(int container, uint64_t iova, uint64_t size)
{
    int err = vfio_unmap(container, iova, size);

    return need(!err, "VFIO unmaps a buffer", strerror(-err));
}

/* Fills the device's buffer with a pattern, by way of memory that is mapped at iova. */
static bool load_device(struct vfio_function *fn, uint8_t *memory, uint64_t iova, uint64_t seed)
{
    pattern_fill(memory, EDU_CHUNK, seed, 0);
    return need(edu_from_memory(fn, iova, 0, EDU_CHUNK), "loads the device",
                "the transfer did not end");
}

static void check_registers(struct vfio_function *fn)
{
    uint32_t id = edu_read(fn, EDU_ID), live, factorial;
    bool done;

    expect((id & 0xffff) == 0x00ed, "identifies itself", "the ID register reads 0x%08x", id);
    edu_write(fn, EDU_LIVENESS, 0x12345678);
    live = edu_read(fn, EDU_LIVENESS);
    expect(live == ~0x12345678u, "is alive", "0x12345678 came back as 0x%08x", live);
    edu_write(fn, EDU_FACTORIAL, 10);
    done = edu_wait(fn, EDU_STATUS, EDU_STATUS_COMPUTING);
    factorial = edu_read(fn, EDU_FACTORIAL);
    expect(done && factorial == 3628800, "computes 10! = 3628800", "got %u", factorial);
}

/* Out of one page, into another; then across a page boundary, at odd addresses. */
static void check_copy(struct edu_bench *bench)
{
    struct vfio_function *fn = &bench->fn;
    uint8_t *a = bench->a;

    memset(a, 0, BUF_SIZE);
    if (!map_buffer(bench->container, EDU_IOVA, a, BUF_SIZE, VFIO_READ | VFIO_WRITE))
        return;
    pattern_fill(a, EDU_CHUNK, 10, 0);
    edu_from_memory(fn, EDU_IOVA, 0, EDU_CHUNK);
    edu_to_memory(fn, EDU_IOVA + 0x5000, 0, EDU_CHUNK);
    expect(pattern_matches(a + 0x5000, EDU_CHUNK, 10, 0) && a[0x4fff] == 0 &&
               a[0x5000 + EDU_CHUNK] == 0,
           "copies a pattern both ways through an IOVA of the guest's choice",
           "what came back differs");
    pattern_fill(a + 0x7c35, 1999, 11, 0);
    edu_from_memory(fn, EDU_IOVA + 0x7c35, 1, 1999);
    edu_to_memory(fn, EDU_IOVA + 0x9b03, 1, 1999);
    expect(pattern_matches(a + 0x9b03, 1999, 11, 0) && a[0x9b02] == 0 && a[0x9b03 + 1999] == 0,
           "copies across page boundaries, at odd addresses", "what came back differs");
    unmap_buffer(bench->container, EDU_IOVA, BUF_SIZE);
}

static void check_huge_page(struct edu_bench *bench)
{
    uint64_t offset = HUGE_SIZE - EDU_CHUNK;
    uint8_t *huge;

    write_text("4", "/proc/sys/vm/nr_hugepages");
    huge = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
    if (huge == MAP_FAILED) {
        note("no huge page to be had, not checked");
        return;
    }
    if (map_buffer(bench->container, HUGE_IOVA, huge, HUGE_SIZE, VFIO_READ | VFIO_WRITE)) {
        pattern_fill(huge, EDU_CHUNK, 20, 0);
        edu_from_memory(&bench->fn, HUGE_IOVA, 0, EDU_CHUNK);
        edu_to_memory(&bench->fn, HUGE_IOVA + offset, 0, EDU_CHUNK);
        expect(pattern_matches(huge + offset, EDU_CHUNK, 20, 0),
               "copies within a 2 MiB page, first to last bytes", "what came back differs");
        unmap_buffer(bench->container, HUGE_IOVA, HUGE_SIZE);
    }
    munmap(huge, HUGE_SIZE);
}

/* The same IOVA leads to another buffer: no translation may stay behind. */
static void check_remap(struct edu_bench *bench)
{
    int container = bench->container;

    if (!map_buffer(container, EDU_IOVA, bench->a, BUF_SIZE, VFIO_READ | VFIO_WRITE) ||
        !load_device(&bench->fn, bench->a, EDU_IOVA, 30))
        return;
    memset(bench->a, 0xaa, BUF_SIZE);
    memset(bench->b, 0xbb, BUF_SIZE);
    if (!unmap_buffer(container, EDU_IOVA, BUF_SIZE) ||
        !map_buffer(container, EDU_IOVA, bench->b, BUF_SIZE, VFIO_READ | VFIO_WRITE))
        return;
    edu_to_memory(&bench->fn, EDU_IOVA, 0, EDU_CHUNK);
    expect(pattern_matches(bench->b, EDU_CHUNK, 30, 0) && bench->b[EDU_CHUNK] == 0xbb,
           "follows a remapping to the new buffer", "the new buffer has not got the pattern");
    expect(all_bytes_are(bench->a, BUF_SIZE, 0xaa), "leaves the old buffer alone",
           "the old buffer has changed");
    unmap_buffer(container, EDU_IOVA, BUF_SIZE);
}

/*
 * The guest's driver logs "[DMA Write NO_PASID] Request device [00:05.0] fault addr 0x..."; a newer
 * one has the segment in front of the device. With the word faults= another than the guest is told,
 * as by a Linux host.
 */
static void expect_fault(struct klog *log, const char *addr, const char *access, uint64_t iova)
{
    char device[48], fault[48], what[112], line[256] = "";
    const char *parts[] = {access, "Request device [", device, fault, NULL};

    if (getenv("faults")) {
        note("faults are told %s", getenv("faults"));
        return;
    }
    snprintf(device, sizeof(device), "%s]", addr + strlen("0000:"));
    snprintf(fault, sizeof(fault), "fault addr 0x%llx ", (unsigned long long)iova);
    snprintf(what, sizeof(what), "the log shows the fault: %s, %s at 0x%llx", addr, access + 1,
             (unsigned long long)iova);
    if (expect(klog_wait(log, parts, line, sizeof(line), 5000), what, "no such line in 5 s"))
        note("%s", line);
}

static void check_write_fault(struct edu_bench *bench, struct klog *log)
{
    memset(bench->a, 0xaa, BUF_SIZE);
    memset(bench->b, 0xbb, BUF_SIZE);
    edu_to_memory(&bench->fn, EDU_IOVA + 0x1000, 0, FAULT_SIZE);
    expect(all_bytes_are(bench->a, BUF_SIZE, 0xaa) && all_bytes_are(bench->b, BUF_SIZE, 0xbb),
           "a write to an unmapped IOVA changes nothing", "a buffer has changed");
    expect_fault(log, bench->fn.addr, "[DMA Write", EDU_IOVA + 0x1000);
}

/* What was mapped before must not be read; the device's buffer is looked at through memory. */
static void check_read_fault(struct edu_bench *bench, struct klog *log)
{
    pattern_fill(bench->a, EDU_CHUNK, 41, 0);
    edu_from_memory(&bench->fn, EDU_IOVA, 0, FAULT_SIZE);
    expect_fault(log, bench->fn.addr, "[DMA Read", EDU_IOVA);
    memset(bench->b, 0, BUF_SIZE);
    if (!map_buffer(bench->container, EDU_IOVA, bench->b, BUF_SIZE, VFIO_READ | VFIO_WRITE))
        return;
    edu_to_memory(&bench->fn, EDU_IOVA, 0, EDU_CHUNK);
    expect(!pattern_matches(bench->b, FAULT_SIZE, 41, 0), "a read of an unmapped IOVA gets nothing",
           "the device got the content of a page that is mapped no more");
    unmap_buffer(bench->container, EDU_IOVA, BUF_SIZE);
}

static void check_read_only(struct edu_bench *bench, struct klog *log)
{
    if (!map_buffer(bench->container, EDU_IOVA, bench->a, BUF_SIZE, VFIO_READ))
        return;
    load_device(&bench->fn, bench->a, EDU_IOVA, 50);
    memset(bench->a, 0xaa, BUF_SIZE);
    edu_to_memory(&bench->fn, EDU_IOVA + 0x3000, 0, FAULT_SIZE);
    expect(all_bytes_are(bench->a, BUF_SIZE, 0xaa),
           "a write to a read-only mapping changes nothing", "the buffer has changed");
    expect_fault(log, bench->fn.addr, "[DMA Write", EDU_IOVA + 0x3000);
    unmap_buffer(bench->container, EDU_IOVA, BUF_SIZE);
}

/*
 * The driver logs three faults in five seconds and is silent about the rest (dmar_fault() spends
 * three of its ten tokens on each), so the next three wait until it has forgotten the last.
 */
static void wait_for_the_log(void)
{
    static int64_t window_start;
    int64_t wait = window_start ? window_start + 5500 - now_ms() : 0;

    if (wait > 0)
        sleep_ms((int)wait);
    window_start = now_ms();
}

static void check_faults(struct edu_bench *bench)
{
    struct klog log;

    if (!map_buffer(bench->container, EDU_IOVA, bench->a, BUF_SIZE, VFIO_READ | VFIO_WRITE) ||
        !load_device(&bench->fn, bench->a, EDU_IOVA, 40) ||
        !unmap_buffer(bench->container, EDU_IOVA, BUF_SIZE))
        return;
    wait_for_the_log();
    if (need(klog_open_at_end(&log), "opens the kernel's log", "/dev/kmsg cannot be opened")) {
        check_write_fault(bench, &log);
        check_read_fault(bench, &log);
        check_read_only(bench, &log);
    }
    klog_close(&log);
}

static bool wait_for_interrupt(int eventfd)
{
    struct pollfd pfd = {.fd = eventfd, .events = POLLIN};
    uint64_t count;

    return poll(&pfd, 1, 5000) == 1 && read(eventfd, &count, sizeof(count)) == sizeof(count);
}

static bool raise_and_wait(struct vfio_function *fn, int eventfd, uint32_t bits)
{
    uint32_t status;
    bool came;

    edu_write(fn, EDU_IRQ_RAISE, bits);
    came = wait_for_interrupt(eventfd);
    status = edu_read(fn, EDU_IRQ_STATUS);
    edu_write(fn, EDU_IRQ_ACK, status);
    return came && status == bits && edu_read(fn, EDU_IRQ_STATUS) == 0;
}

static void check_interrupt_kind(struct edu_bench *bench, uint32_t index, const char *name)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int err = vfio_irq_enable(&bench->fn, index, fd);
    char what[64];
    bool came;

    snprintf(what, sizeof(what), "two interrupts arrive by %s", name);
    if (err) {
        expect(false, what, "VFIO cannot enable them: %s", strerror(-err));
    } else {
        came = raise_and_wait(&bench->fn, fd, 0x1);
        if (index == VFIO_PCI_INTX_IRQ_INDEX)
            vfio_irq_unmask(&bench->fn, index); /* a level interrupt is masked when it comes */
        expect(came && raise_and_wait(&bench->fn, fd, 0x40), what, "%s",
               came ? "the second is missing" : "the first is missing");
        vfio_irq_disable(&bench->fn, index);
    }
    close(fd);
}

static void check_dma_interrupt(struct edu_bench *bench)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint32_t status = 0;
    bool came = false;

    if (!vfio_irq_enable(&bench->fn, VFIO_PCI_MSI_IRQ_INDEX, fd) &&
        map_buffer(bench->container, EDU_IOVA, bench->a, BUF_SIZE, VFIO_READ | VFIO_WRITE)) {
        load_device(&bench->fn, bench->a, EDU_IOVA, 60);
        edu_to_memory_irq(&bench->fn, EDU_IOVA + 0x2000, 0, EDU_CHUNK);
        came = wait_for_interrupt(fd);
        status = edu_read(&bench->fn, EDU_IRQ_STATUS);
        edu_write(&bench->fn, EDU_IRQ_ACK, status);
        unmap_buffer(bench->container, EDU_IOVA, BUF_SIZE);
    }
    expect(came && status == EDU_IRQ_DMA && pattern_matches(bench->a + 0x2000, EDU_CHUNK, 60, 0),
           "the interrupt at the end of a transfer comes after its data",
           "interrupt %s, status 0x%x", came ? "came" : "missing", status);
    vfio_irq_disable(&bench->fn, VFIO_PCI_MSI_IRQ_INDEX);
    close(fd);
}

/* An assigned device need not offer interrupts; an emulated one has both kinds. */
static void check_interrupts(struct edu_bench *bench)
{
    if (bench->emulated || vfio_irq_count(&bench->fn, VFIO_PCI_MSI_IRQ_INDEX) > 0) {
        check_interrupt_kind(bench, VFIO_PCI_MSI_IRQ_INDEX, "MSI");
        check_dma_interrupt(bench);
    }
    if (bench->emulated || vfio_irq_count(&bench->fn, VFIO_PCI_INTX_IRQ_INDEX) > 0)
        check_interrupt_kind(bench, VFIO_PCI_INTX_IRQ_INDEX, "INTx");
}

void check_one_edu(struct edu_bench *bench)
{
    check_registers(&bench->fn);
    check_copy(bench);
    check_huge_page(bench);
    check_remap(bench);
    check_faults(bench);
    check_copy(bench); /* a device that has faulted works again */
    check_interrupts(bench);
}
