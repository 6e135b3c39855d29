/* SPDX-License-Identifier: MIT */
/* Invalidations of device TLBs, and how the queue waits for them (VT-d 5.0, 6.5.2). */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "ats_device.h"
#include "descriptors.h"
#include "model/vtd/queue_descriptors.h"

#define SID_3(id)  ((uint64_t)(id) << 32)
#define SID_8(id)  ((uint64_t)(id) << 16)
#define TLB        UINT64_C(3)
#define PTLB       UINT64_C(8)
#define S_3        UINT64_C(1)
#define S_8        (UINT64_C(1) << 11)
#define GLOBAL_8   UINT64_C(1)
#define DEVICE_0   0x00
#define DEVICE_1   0x08
#define DTE        (UINT64_C(1) << 2)
#define TYPE       3
#define RESERVED   4
#define EVERYTHING 0

struct fixture {
    struct guest guest;
    struct ats_device device[2];
};

static void start_with(struct fixture *fixture, const char *properties, uint64_t ttm)
{
    guest_create(&fixture->guest, properties);
    for (unsigned int i = 0; i < 2; i++)
        ats_device_create(&fixture->device[i], &fixture->guest, i);
    guest_scalable(&fixture->guest, 0, DTE);
    guest_on(&fixture->guest, ttm);
    machine_queue_start(&fixture->guest.machine, QUEUE, true);
}

static void start(struct fixture *fixture)
{
    start_with(fixture, "device-iotlb=on,pasid-bits=20", TTM_SCALABLE);
}

static void stop(struct fixture *fixture)
{
    for (unsigned int i = 0; i < 2; i++)
        ats_device_destroy(&fixture->device[i]);
    guest_destroy(&fixture->guest);
}

static void submit(struct fixture *fixture, uint64_t qw0, uint64_t qw1)
{
    machine_submit(&fixture->guest.machine, qw0, qw1);
}

static uint32_t status(struct fixture *fixture)
{
    return load32(&fixture->guest.machine, STATUS);
}

static uint32_t fsts(struct fixture *fixture)
{
    return read32(&fixture->guest.machine, VTD_FSTS);
}

static uint64_t head(struct fixture *fixture)
{
    return read64(&fixture->guest.machine, VTD_IQH);
}

/* Which address and size: one page; or by the lowest address bit that is clear. */
static const struct {
    uint64_t address;
    bool s;
    uint64_t start, length;
} ranges[] = {
    {0x1234000, false, 0x1234000, 0x1000},
    {0x1235000, false, 0x1235000, 0x1000},
    {0x1234000, true, 0x1234000, 0x2000},
    {0x1235000, true, 0x1234000, 0x4000},
    {0x1237000, true, 0x1230000, 0x10000},
    {0x12ff000, true, 0x1200000, 0x200000},
    {0x3ffff000, true, 0x0, 0x80000000},
    {UINT64_C(0x3ffffffffffff000), true, 0, UINT64_C(1) << 63},
    {UINT64_C(0x7ffffffffffff000), true, 0, EVERYTHING},
    {UINT64_C(0xfffffffffffff000), true, 0, EVERYTHING},
    {UINT64_C(0xfffffffffffff000), false, UINT64_C(0xfffffffffffff000), 0x1000},
};

static void sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(ranges); i++) {
        struct fixture fixture;
        const struct viommu_pci_tlb_invalidation *told = fixture.device[0].told;

        start(&fixture);
        submit(&fixture, TLB | SID_3(DEVICE_0), ranges[i].address | (ranges[i].s ? S_3 : 0));
        submit(&fixture, PTLB | SID_8(DEVICE_0) | PASID(9),
               ranges[i].address | (ranges[i].s ? S_8 : 0));
        assert_int_equal(fixture.device[0].told_count, 2);
        for (unsigned int j = 0; j < 2; j++) {
            assert_int_equal(told[j].address, ranges[i].start);
            assert_int_equal(told[j].length, ranges[i].length);
            assert_int_equal(told[j].pasid, j ? 9 : VIOMMU_PASID_NONE);
            assert_false(told[j].global);
        }
        assert_int_equal(head(&fixture), 64);
        stop(&fixture);
    }
}

static void all_pasids(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    submit(&fixture, PTLB | SID_8(DEVICE_0) | PASID(9), 0x5000 | GLOBAL_8);
    assert_int_equal(fixture.device[0].told_count, 1);
    assert_true(fixture.device[0].told[0].global);
    assert_int_equal(fixture.device[0].told[0].address, 0x5000);
    assert_int_equal(fixture.device[0].told[0].length, 0x1000);
    stop(&fixture);
}

static void whose(void **state)
{
    struct viommu_stats stats = {.size = sizeof(stats)};
    struct fixture fixture;

    (void)state;
    start(&fixture);
    submit(&fixture, TLB | SID_3(DEVICE_1) | UINT64_C(31) << 16, 0x1000);
    assert_int_equal(fixture.device[0].told_count, 0);
    assert_int_equal(fixture.device[1].told_count, 1);
    submit(&fixture, PTLB | SID_8(DEVICE_1) | UINT64_C(31) << 4 | PASID(1), 0x1000);
    assert_int_equal(fixture.device[0].told_count, 0);
    assert_int_equal(fixture.device[1].told_count, 2);
    /* No device TLB there: nothing to wait for. */
    submit(&fixture, TLB | SID_3(0x10), 0x1000);
    submit(&fixture, TLB | SID_3(0xffff), 0x1000);
    wait_for(&fixture.guest.machine, 1);
    assert_int_equal(status(&fixture), 1);
    assert_int_equal(fsts(&fixture), 0);
    viommu_get_stats(fixture.guest.machine.viommu, &stats);
    assert_int_equal(stats.device_tlb_invalidations, 2);
    stop(&fixture);
}

/* The queue stops at this descriptor. */
static void refused(const char *properties, uint64_t ttm, uint64_t qw0, uint64_t qw1,
                    unsigned int why)
{
    struct guest guest;

    guest_create(&guest, properties);
    guest_on(&guest, ttm);
    machine_queue_start(&guest.machine, QUEUE, strstr(properties, "scalable=off") == NULL);
    machine_submit(&guest.machine, qw0, qw1);
    assert_true(queue_stopped(&guest.machine));
    assert_int_equal(read64(&guest.machine, VTD_IQERCD), why);
    assert_int_equal(read64(&guest.machine, VTD_IQH), 0);
    guest_destroy(&guest);
}

static void reserved(void **state)
{
    const char *on = "device-iotlb=on";

    (void)state;
    for (unsigned int bit = 4; bit < 64; bit++) {
        if (!((VTD_DESC_TYPE_HIGH | VTD_DESC_DEVICE_MIP | VTD_DESC_DEVICE_SID) >> bit & 1))
            refused(on, TTM_SCALABLE, TLB | UINT64_C(1) << bit, 0, RESERVED);
        if (!((VTD_DESC_TYPE_HIGH | VTD_DESC_PDEVICE_MIP | VTD_DESC_PDEVICE_SID |
               VTD_DESC_PASID_FIELD) >>
                  bit &
              1))
            refused(on, TTM_SCALABLE, PTLB | UINT64_C(1) << bit, 0, RESERVED);
    }
    for (unsigned int bit = 0; bit < 12; bit++) {
        if (bit)
            refused(on, TTM_SCALABLE, TLB, UINT64_C(1) << bit, RESERVED);
        if (bit && bit != 11)
            refused(on, TTM_SCALABLE, PTLB, UINT64_C(1) << bit, RESERVED);
    }
}

static void types(void **state)
{
    struct fixture fixture;

    (void)state;
    refused("", TTM_SCALABLE, TLB, 0, TYPE);
    refused("", TTM_SCALABLE, PTLB, 0, TYPE);
    refused("scalable=off,first-stage=off,device-iotlb=on", TTM_LEGACY, PTLB, 0, TYPE);
    start_with(&fixture, "device-iotlb=on", TTM_LEGACY);
    machine_queue_start(&fixture.guest.machine, QUEUE, false);
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    assert_int_equal(fixture.device[0].told_count, 1);
    stop(&fixture);
}

static int done(struct fixture *fixture, unsigned int device, unsigned int index, int result)
{
    return viommu_pci_device_invalidation_done(fixture->device[device].function,
                                               fixture->device[device].told[index].tag, result);
}

static void wait_holds(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    fixture.device[0].answer = fixture.device[1].answer = -EINPROGRESS;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    submit(&fixture, PTLB | SID_8(DEVICE_1) | PASID(1), 0x1000);
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x2000);
    wait_for(machine, 1);
    wait_for(machine, 2);
    assert_int_equal(head(&fixture), 3 * 32);
    assert_int_equal(done(&fixture, 0, 1, 0), 0);
    assert_int_equal(done(&fixture, 0, 0, 0), 0);
    assert_int_equal(status(&fixture), 0);
    assert_int_equal(head(&fixture), 3 * 32);
    /* Of another device, already answered, never asked. */
    assert_int_equal(done(&fixture, 0, 0, 0), -ENOENT);
    assert_int_equal(viommu_pci_device_invalidation_done(fixture.device[0].function,
                                                         fixture.device[1].told[0].tag, 0),
                     -ENOENT);
    assert_int_equal(viommu_pci_device_invalidation_done(fixture.device[0].function, 12345, 0),
                     -ENOENT);
    assert_int_equal(status(&fixture), 0);
    assert_int_equal(done(&fixture, 1, 0, 0), 0);
    assert_int_equal(status(&fixture), 2);
    assert_int_equal(head(&fixture), 5 * 32);
    assert_int_equal(fsts(&fixture), 0);
    stop(&fixture);
}

/* As many as there are ITags are outstanding at a time; the queue holds at the next. */
static void many_outstanding(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    fixture.device[0].answer = -EINPROGRESS;
    for (unsigned int i = 0; i < 40; i++)
        submit(&fixture, TLB | SID_3(DEVICE_0), i << 12);
    wait_for(&fixture.guest.machine, 1);
    assert_int_equal(fixture.device[0].told_count, 32);
    assert_int_equal(head(&fixture), 32 * 32);
    for (unsigned int i = 0; i < 40; i++) {
        assert_int_equal(status(&fixture), 0);
        assert_int_equal(fixture.device[0].told[i].address, i << 12);
        assert_int_equal(done(&fixture, 0, i, 0), 0);
    }
    assert_int_equal(fixture.device[0].told_count, 40);
    assert_int_equal(status(&fixture), 1);
    stop(&fixture);
}

/* The guest reads the time-out; the wait was aborted, and nothing more is fetched for now. */
static void expect_timeout(struct fixture *fixture, uint16_t requester_id, uint64_t after)
{
    struct machine *machine = &fixture->guest.machine;

    assert_int_equal(fsts(fixture), VTD_FSTS_ITE);
    assert_int_equal(read64(machine, VTD_IQERCD) >> 32 & 0xffff, requester_id);
    assert_int_equal(status(fixture), 0);
    assert_int_equal(head(fixture), after);
    submit(fixture, WAIT | WAIT_SW | WAIT_DATA(7), STATUS);
    assert_int_equal(status(fixture), 0);
    write32(machine, VTD_FSTS, VTD_FSTS_ITE);
    assert_int_equal(fsts(fixture), 0);
    assert_int_equal(status(fixture), 7);
    assert_int_equal(head(fixture), after + 32);
}

static void times_out_at_once(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    fixture.device[1].answer = -ETIMEDOUT;
    /* In one go: the wait is fetched, as it would have been when time had passed. */
    store64(&fixture.guest.machine, QUEUE, TLB | SID_3(DEVICE_1));
    store64(&fixture.guest.machine, QUEUE + 8, 0x1000);
    store64(&fixture.guest.machine, QUEUE + 32, WAIT | WAIT_SW | WAIT_DATA(1));
    store64(&fixture.guest.machine, QUEUE + 40, STATUS);
    write64(&fixture.guest.machine, VTD_IQT, 64);
    expect_timeout(&fixture, DEVICE_1, 64);
    stop(&fixture);
}

static void times_out_later(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    fixture.device[0].answer = fixture.device[1].answer = -EINPROGRESS;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    submit(&fixture, TLB | SID_3(DEVICE_1), 0x1000);
    wait_for(&fixture.guest.machine, 1);
    assert_int_equal(done(&fixture, 1, 0, -ETIMEDOUT), 0);
    assert_int_equal(fsts(&fixture), 0);
    assert_int_equal(done(&fixture, 0, 0, 0), 0);
    expect_timeout(&fixture, DEVICE_1, 96);
    stop(&fixture);
}

/* Of two devices that do not answer, ITESID names the one that was the first to time out. */
static void two_time_out(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    fixture.device[0].answer = fixture.device[1].answer = -EINPROGRESS;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    submit(&fixture, TLB | SID_3(DEVICE_1), 0x1000);
    wait_for(&fixture.guest.machine, 1);
    assert_int_equal(done(&fixture, 1, 0, -ETIMEDOUT), 0);
    assert_int_equal(done(&fixture, 0, 0, -ETIMEDOUT), 0);
    expect_timeout(&fixture, DEVICE_1, 96);
    stop(&fixture);
}

/* Without a wait behind it, it is told all the same. */
static void times_out_without_wait(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    fixture.device[0].answer = -EINPROGRESS;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    assert_int_equal(done(&fixture, 0, 0, -ETIMEDOUT), 0);
    expect_timeout(&fixture, DEVICE_0, 32);
    stop(&fixture);
}

static void timeout_interrupts(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    write64(machine, VTD_FEADDR, 0xfee00000);
    write32(machine, VTD_FEDATA, 0x31);
    write32(machine, VTD_FECTL, 0);
    fixture.device[0].answer = -ETIMEDOUT;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    assert_int_equal(machine->msi_count, 1);
    assert_int_equal(machine->msi[0].data, 0x31);
    stop(&fixture);
}

static void completion_error(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    fixture.device[1].answer = -EIO;
    submit(&fixture, TLB | SID_3(DEVICE_1), 0x1000);
    assert_int_equal(fsts(&fixture), VTD_FSTS_ICE);
    assert_int_equal(read64(machine, VTD_IQERCD) >> 48, DEVICE_1);
    wait_for(machine, 1);
    assert_int_equal(status(&fixture), 1);
    write32(machine, VTD_FSTS, VTD_FSTS_ICE);
    assert_int_equal(fsts(&fixture), 0);
    fixture.device[0].answer = -EINPROGRESS;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    wait_for(machine, 2);
    assert_int_equal(done(&fixture, 0, 0, -EPROTO), 0);
    assert_int_equal(fsts(&fixture), VTD_FSTS_ICE);
    assert_int_equal(read64(machine, VTD_IQERCD) >> 48, DEVICE_0);
    assert_int_equal(status(&fixture), 2);
    stop(&fixture);
}

static void gone_is_done(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    fixture.device[0].answer = -EINPROGRESS;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    wait_for(&fixture.guest.machine, 1);
    assert_int_equal(status(&fixture), 0);
    ats_device_destroy(&fixture.device[0]);
    assert_int_equal(status(&fixture), 1);
    assert_int_equal(done(&fixture, 0, 0, 0), -ENOENT);
    stop(&fixture);
}

static void reset_forgets(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    fixture.device[0].answer = -EINPROGRESS;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x2000);
    wait_for(machine, 1);
    assert_int_equal(done(&fixture, 0, 0, -ETIMEDOUT), 0);
    viommu_reset(machine->viommu);
    assert_int_equal(done(&fixture, 0, 1, 0), -ENOENT);
    assert_int_equal(status(&fixture), 0);
    guest_on(&fixture.guest, TTM_SCALABLE);
    machine_queue_start(machine, QUEUE, true);
    wait_for(machine, 5);
    assert_int_equal(status(&fixture), 5);
    assert_int_equal(fsts(&fixture), 0);
    stop(&fixture);
}

/* Switching the queue off does not make the device forget sooner. */
static void queue_off(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    fixture.device[0].answer = -EINPROGRESS;
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
    wait_for(machine, 1);
    write32(machine, VTD_GCMD, VTD_GCMD_TE);
    write64(machine, VTD_IQT, 0);
    write32(machine, VTD_GCMD, (uint32_t)(VTD_GCMD_TE | VTD_GCMD_QIE));
    wait_for(machine, 2);
    assert_int_equal(status(&fixture), 0);
    assert_int_equal(done(&fixture, 0, 0, 0), 0);
    assert_int_equal(status(&fixture), 2);
    stop(&fixture);
}

/* A device does DMA of its own before it answers: the unit is locked, its address space is not. */
static int translate_and_answer(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    struct ats_device *device = opaque;
    struct guest_dma dma = DMA_AT(GUEST_IOVA);
    struct viommu_dma_result result;

    dma.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    device->told[0] = *what;
    return guest_dma(device->guest, &dma, &result);
}

static void dma_within_the_callback(void **state)
{
    static const struct viommu_pci_ats_ops ops = {.size = sizeof(ops),
                                                  .invalidate = translate_and_answer};
    struct fixture fixture;
    uint64_t root;

    (void)state;
    start(&fixture);
    root = guest_page(&fixture.guest);
    guest_map(&fixture.guest, root, 4, GUEST_IOVA, 1, GUEST_DATA | FS_ALL, FS_ALL);
    guest_pasid(&fixture.guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root);
    guest_flush(&fixture.guest);
    ats_device_destroy(&fixture.device[0]);
    assert_int_equal(
        viommu_pci_device_set_ats(fixture.device[0].function, &ops, &fixture.device[0], NULL), 0);
    submit(&fixture, TLB | SID_3(DEVICE_0), 0x7000);
    wait_for(&fixture.guest.machine, 1);
    assert_int_equal(fixture.device[0].told[0].address, 0x7000);
    assert_int_equal(fsts(&fixture), 0);
    assert_int_equal(status(&fixture), 1);
    stop(&fixture);
}

/* Threads: a vCPU submits, a device answers from a thread of its own. */

#define ROUNDS 2000

struct worker {
    struct viommu_pci_device *function;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t tags[32];
    unsigned int count;
    bool stop;
    unsigned int answered;
};

static int hand_over(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    struct worker *worker = opaque;

    pthread_mutex_lock(&worker->lock);
    worker->tags[worker->count++] = what->tag;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    return -EINPROGRESS;
}

static void *answer(void *opaque)
{
    struct worker *worker = opaque;

    pthread_mutex_lock(&worker->lock);
    while (worker->count || !worker->stop) {
        uint32_t tag;

        if (!worker->count) {
            pthread_cond_wait(&worker->changed, &worker->lock);
            continue;
        }
        tag = worker->tags[--worker->count];
        pthread_mutex_unlock(&worker->lock);
        if (!viommu_pci_device_invalidation_done(worker->function, tag, 0))
            worker->answered++;
        pthread_mutex_lock(&worker->lock);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

static void in_threads(void **state)
{
    static const struct viommu_pci_ats_ops ops = {.size = sizeof(ops), .invalidate = hand_over};
    struct worker worker = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;
    pthread_t thread;

    (void)state;
    start(&fixture);
    ats_device_destroy(&fixture.device[0]);
    worker.function = fixture.device[0].function;
    assert_int_equal(viommu_pci_device_set_ats(worker.function, &ops, &worker, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, answer, &worker), 0);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        submit(&fixture, TLB | SID_3(DEVICE_0), 0x1000);
        submit(&fixture, TLB | SID_3(DEVICE_0), 0x2000);
        wait_for(machine, i);
        while (__atomic_load_n((uint32_t *)(machine->ram + STATUS), __ATOMIC_ACQUIRE) != i)
            assert_int_equal(read32(machine, VTD_FSTS), 0);
    }
    pthread_mutex_lock(&worker.lock);
    worker.stop = true;
    pthread_cond_signal(&worker.changed);
    pthread_mutex_unlock(&worker.lock);
    pthread_join(thread, NULL);
    assert_int_equal(worker.answered, 2 * ROUNDS);
    stop(&fixture);
}

static const struct spec_rule rules[] = {
    {"VTD-6.5.2.5-91", "6.5.2.5",
     "Device-TLB invalidations, with and without PASID, name one page, or with S a range by the "
     "lowest address bit that is clear.",
     sizes},
    {"VTD-6.5.2.6-91", "6.5.2.6", "G means the pages of every PASID.", all_pasids},
    {"VTD-6.5.2.5-92", "6.5.2.5",
     "An invalidation reaches the function that SID names, whatever MIP says; where there is no "
     "device TLB it is done.",
     whose},
    {"VTD-6.5.2.5-93", "6.5.2.5", "Reserved fields stop the queue, PFSID without DIT among them.",
     reserved},
    {"VTD-6.5.2.5-94", "6.5.2.11",
     "The types do not exist without ECAP.DT, the one with PASID not in legacy mode.", types},
    {"VTD-6.5.2.9-910", "6.5.2.9",
     "A wait is done when every device has answered what came before it, in any order.",
     wait_holds},
    {"VTD-4.3-91", "4.3", "32 invalidations of a function are outstanding at most.",
     many_outstanding},
    {"VTD-6.5.2.11-920", "6.5.2.11",
     "A time-out sets ITE and ITESID, aborts the wait, and stops fetching until ITE is cleared.",
     times_out_at_once},
    {"VTD-6.5.2.11-921", "6.5.2.11",
     "So does one that is known later, when all others have answered.", times_out_later},
    {"VTD-6.5.2.11-922", "6.5.2.11", "So does one that no wait follows.", times_out_without_wait},
    {"VTD-6.5.2.11-924", "6.5.2.11", "Of several that time out, ITESID names the first.",
     two_time_out},
    {"VTD-7.3-920", "7.3", "ITE is a fault event.", timeout_interrupts},
    {"VTD-6.5.2.11-923", "6.5.2.11",
     "A wrong completion sets ICE and ICESID, and the queue goes on.", completion_error},
    {"VTD-4.3-92", "4.3", "What a device that is gone has not answered is done.", gone_is_done},
    {"VTD-4.3-93", "4.3", "A reset forgets what is outstanding, and late answers are refused.",
     reset_forgets},
    {"VTD-4.3-94", "4.3", "A queue switched off and on waits for what was outstanding.", queue_off},
    {"VTD-4.3-95", "4.3", "A device may send requests while it is told.", dma_within_the_callback},
    {"VTD-4.3-96", "4.3", "Devices answer from any thread, and the queue goes on there.",
     in_threads},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
