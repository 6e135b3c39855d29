/* SPDX-License-Identifier: MIT */
/*
 * A whole unit with threads: four do DMA, two are vCPUs that remap pages and invalidate, as guests
 * do: under a lock of the guest's, with a wait for the end. A page that was unmapped belongs to the
 * guest again once the wait is over: it is poisoned then, and nobody may read the poison or write
 * into it.
 *
 * Each device works on pages of its own: what ThreadSanitizer says is then about the unit, not
 * about two devices. The words in the first half of a page carry the number of its mapping.
 *
 * Tried: without the grace period of dma_drain() each of the three fails, every time.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "guest_tables.h"
#include "model/vtd/register_map.h"

#define DEVICES     4
#define VCPUS       2
#define SLOTS       8 /* IOVA pages of one vCPU */
#define FRAMES      (2 * SLOTS)
#define REMAPS      1200 /* of one vCPU */
#define PAGE        4096u
#define WORDS       (PAGE / 8)
#define POISON      UINT64_C(0x7069736f6e7a7a7a)
#define DATA        UINT64_C(0x800000) /* frames of vCPU 0, then of vCPU 1 */
#define QUEUE       0x20000u
#define STATUS      0x21000u
#define OTHER_PASID 5

/* One IOVA page. sequence is odd while the guest changes it. */
struct slot {
    uint64_t entry; /* of the page table */
    uint64_t iova;
    uint64_t sequence; /* atomic, as the next two */
    uint64_t frame;    /* GPA; 0: nothing is mapped */
    uint64_t number;   /* of the mapping */
};

struct test;

struct vcpu {
    struct test *test;
    struct slot slots[SLOTS];
    uint64_t free[FRAMES]; /* a ring of frames that are poisoned */
    unsigned int free_head, free_tail;
};

/* How the guest tells the unit of a page that it changed; variety chooses the granularity. */
typedef void tell_fn(struct test *test, uint64_t iova, unsigned int variety);

struct test {
    struct guest guest;
    struct vcpu vcpus[VCPUS];
    pthread_mutex_t queue_lock; /* of the guest's driver */
    uint32_t waits;             /* under it */
    tell_fn *tell;
    bool pasids; /* scalable mode; every second device requests with OTHER_PASID */
    bool stop;   /* atomic, as what follows */
    uint64_t arrived, refused, mapped;
    uint64_t poison_read, stale_read, wrong_place, touched, waits_lost;
};

static void count(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static uint64_t get(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_SEQ_CST);
}

static void set(uint64_t *value, uint64_t to)
{
    __atomic_store_n(value, to, __ATOMIC_SEQ_CST);
}

/* Devices */

struct device {
    struct test *test;
    unsigned int index;
    uint32_t random;
};

static uint32_t next_random(struct device *device)
{
    device->random = device->random * 1664525 + 1013904223;
    return device->random >> 8;
}

/* What a device knew of a slot before its request. */
struct before {
    uint64_t sequence, frame, number;
};

static struct before look(const struct slot *slot)
{
    struct before before = {.sequence = get(&slot->sequence)};

    before.frame = get(&slot->frame);
    before.number = get(&slot->number);
    return before;
}

/* Whether nothing was changed since: then everything is known. */
static bool steady(const struct slot *slot, const struct before *before)
{
    return !(before->sequence & 1) && get(&slot->sequence) == before->sequence;
}

/*
 * A request that began after a mapping was complete must not see an older one. The second half of a
 * page is where the device writes.
 */
static void check_words(struct test *test, const uint64_t *words, const struct before *before)
{
    for (unsigned int i = 0; i < WORDS; i++) {
        if (words[i] == POISON) {
            count(&test->poison_read);
            return;
        }
        if (i < WORDS / 2 && words[i] < before->number) {
            count(&test->stale_read);
            return;
        }
    }
}

static void check_outcome(struct test *test, const struct slot *slot, const struct before *before,
                          int ret, const struct viommu_dma_result *result, uint64_t offset)
{
    if (!ret)
        count(&test->arrived);
    else
        count(&test->refused);
    if (!steady(slot, before))
        return;
    if (!!ret != !before->frame || (!ret && result->gpa != before->frame + offset))
        count(&test->wrong_place);
}

static void by_mapping(struct viommu_dma_space *space, struct viommu_dma_request *request,
                       uint64_t *words, int *ret, struct viommu_dma_result *result)
{
    struct viommu_dma_mapping mapping = {0};

    request->access = VIOMMU_DMA_READ;
    *ret = viommu_dma_map(space, request, &mapping, result);
    if (*ret)
        return;
    memcpy(words, mapping.host, PAGE);
    viommu_dma_unmap(space, &mapping);
}

static void one_request(struct device *device, struct viommu_dma_space *space,
                        const struct slot *slot, uint32_t pasid)
{
    struct test *test = device->test;
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct before before = look(slot);
    uint64_t words[WORDS], offset = 0;
    struct viommu_dma_result result;
    unsigned int kind = next_random(device) % 8;
    int ret;

    request.address = slot->iova;
    request.length = PAGE;
    request.pasid = pasid;
    memset(words, 'w', sizeof(words));
    if (kind == 0) {
        request.access = VIOMMU_DMA_READ;
        ret = viommu_dma_translate(space, &request, &result);
    } else if (kind == 1) {
        by_mapping(space, &request, words, &ret, &result);
        count(&test->mapped);
    } else if (kind < 5) {
        request.address += PAGE / 2;
        request.length = PAGE / 2;
        offset = PAGE / 2;
        ret = viommu_dma_write(space, &request, words, &result);
    } else {
        ret = viommu_dma_read(space, &request, words, &result);
    }
    if (!ret && (kind == 1 || kind >= 5))
        check_words(test, words, &before);
    check_outcome(test, slot, &before, ret, &result, offset);
}

static void *do_dma(void *opaque)
{
    struct device *device = opaque;
    struct test *test = device->test;
    /* Two on each function: with PASIDs, one of them with and one without. */
    struct viommu_dma_space *space =
        viommu_pci_device_get_address_space(test->guest.machine.device[device->index / 2]);
    uint32_t pasid = test->pasids && device->index % 2 ? OTHER_PASID : VIOMMU_PASID_NONE;

    while (!__atomic_load_n(&test->stop, __ATOMIC_RELAXED)) {
        struct vcpu *vcpu = &test->vcpus[next_random(device) % VCPUS];
        unsigned int own = next_random(device) % (SLOTS / DEVICES) * DEVICES + device->index;

        one_request(device, space, &vcpu->slots[own], pasid);
    }
    return NULL;
}

/* The guest */

static void fill(struct test *test, uint64_t frame, uint64_t value)
{
    uint64_t *words = (uint64_t *)(test->guest.machine.ram + frame);

    for (unsigned int i = 0; i < WORDS; i++)
        words[i] = value;
}

static bool is_poisoned(struct test *test, uint64_t frame)
{
    const volatile uint64_t *words = (uint64_t *)(test->guest.machine.ram + frame);

    for (unsigned int i = 0; i < WORDS; i++) {
        if (words[i] != POISON)
            return false;
    }
    return true;
}

/* The frame is the guest's again. Others run then: a late access is one that was interrupted. */
static void give_back(struct vcpu *vcpu, uint64_t frame)
{
    fill(vcpu->test, frame, POISON);
    sched_yield();
    vcpu->free[vcpu->free_tail++ % FRAMES] = frame;
}

/* The one that was given back longest ago; nobody has written to it since. */
static uint64_t take_frame(struct vcpu *vcpu)
{
    uint64_t frame = vcpu->free[vcpu->free_head++ % FRAMES];

    if (!is_poisoned(vcpu->test, frame))
        count(&vcpu->test->touched);
    return frame;
}

static void map_slot(struct vcpu *vcpu, struct slot *slot, uint64_t frame, uint64_t number)
{
    struct test *test = vcpu->test;

    if (frame)
        fill(test, frame, number);
    set(&slot->sequence, slot->sequence + 1);
    /* The page's words are there before its entry is. */
    __atomic_store_n((uint64_t *)(test->guest.machine.ram + slot->entry),
                     frame ? frame | (test->pasids ? FS_ALL : SS_RW) : 0, __ATOMIC_RELEASE);
    test->tell(test, slot->iova, (unsigned int)number);
    set(&slot->frame, frame);
    if (frame)
        set(&slot->number, number);
    set(&slot->sequence, slot->sequence + 1);
}

/* Enough rounds, and more when no device happened to look while nothing was mapped. */
static bool goes_on(const struct test *test, unsigned int round)
{
    return round < REMAPS || (round < 50 * REMAPS && !get(&test->refused));
}

static void *run_vcpu(void *opaque)
{
    struct vcpu *vcpu = opaque;

    for (unsigned int round = 0; goes_on(vcpu->test, round); round++) {
        struct slot *slot = &vcpu->slots[round % SLOTS];
        uint64_t old = slot->frame;
        /* Every third time there is nothing for a while. */
        uint64_t frame = old && round % 3 == 2 ? 0 : take_frame(vcpu);

        map_slot(vcpu, slot, frame, round + 2);
        if (old)
            give_back(vcpu, old);
    }
    return NULL;
}

/* Telling the unit */

static void submit(struct test *test, uint64_t qw0, uint64_t qw1)
{
    struct machine *machine = &test->guest.machine;
    uint64_t tail = read64(machine, VTD_IQT);
    unsigned int size = test->pasids ? 32 : 16;
    uint64_t *at = (uint64_t *)(machine->ram + QUEUE + tail);

    memset(at, 0, size);
    at[0] = qw0;
    at[1] = qw1;
    write64(machine, VTD_IQT, (tail + size) % 4096);
}

/* SW; in this unit it is over when the tail was written. */
static void wait_for_all(struct test *test)
{
    submit(test, 5 | 1 << 5 | (uint64_t)++test->waits << 32, STATUS);
    if (load32(&test->guest.machine, STATUS) != test->waits)
        count(&test->waits_lost);
}

static void tell_scalable(struct test *test, uint64_t iova, unsigned int variety)
{
    static const uint64_t pasids[] = {0, OTHER_PASID};
    uint64_t by_pasid = 6 | (variety % 4 ? 3 : 2) << 4 | GUEST_DOMAIN << 16;

    pthread_mutex_lock(&test->queue_lock);
    if (variety % 32 == 0) {
        submit(test, 7 | 3 << 4, 0); /* PASID cache and IOTLB, of all */
        submit(test, 2 | 1 << 4, 0);
    } else {
        for (unsigned int i = 0; i < 2; i++)
            submit(test, by_pasid | pasids[i] << 32, variety % 4 ? iova : 0);
    }
    wait_for_all(test);
    pthread_mutex_unlock(&test->queue_lock);
}

static void tell_legacy(struct test *test, uint64_t iova, unsigned int variety)
{
    pthread_mutex_lock(&test->queue_lock);
    if (variety % 32 == 0)
        submit(test, 1 | 1 << 4, 0); /* context cache */
    if (variety % 4 == 0)
        submit(test, 2 | (variety % 8 ? 1 : 2) << 4 | GUEST_DOMAIN << 16, 0);
    else
        submit(test, 2 | 3 << 4 | GUEST_DOMAIN << 16, iova);
    wait_for_all(test);
    pthread_mutex_unlock(&test->queue_lock);
}

/* An invalidation by register is over when IVT reads as clear. */
static void tell_registers(struct test *test, uint64_t iova, unsigned int variety)
{
    struct machine *machine = &test->guest.machine;
    uint64_t granularity = variety % 4 ? 3 : 1 + variety / 4 % 2;
    uint64_t iotlb = machine_iotlb(machine);

    pthread_mutex_lock(&test->queue_lock);
    if (variety % 32 == 0)
        write64(machine, VTD_CCMD, VTD_CCMD_ICC | field_prep(VTD_CCMD_CIRG, 1));
    write64(machine, iotlb, iova);
    write64(machine, iotlb + 8,
            VTD_IOTLB_IVT | field_prep(VTD_IOTLB_IIRG, granularity) |
                field_prep(VTD_IOTLB_DID, GUEST_DOMAIN));
    if (read64(machine, iotlb + 8) & VTD_IOTLB_IVT)
        count(&test->waits_lost);
    pthread_mutex_unlock(&test->queue_lock);
}

/* Making it */

static void make_slots(struct test *test, uint64_t root)
{
    uint64_t bits = test->pasids ? FS_ALL : SS_RW;

    for (unsigned int v = 0; v < VCPUS; v++) {
        struct vcpu *vcpu = &test->vcpus[v];

        vcpu->test = test;
        for (unsigned int i = 0; i < FRAMES; i++) {
            uint64_t frame = DATA + (v * FRAMES + i) * PAGE;

            if (i >= SLOTS) {
                give_back(vcpu, frame);
                continue;
            }
            vcpu->slots[i].iova = GUEST_IOVA + (v * SLOTS + i) * PAGE;
            vcpu->slots[i].entry =
                guest_map(&test->guest, root, 4, vcpu->slots[i].iova, 1, frame | bits, bits);
            vcpu->slots[i].frame = frame;
            vcpu->slots[i].number = 1;
            fill(test, frame, 1);
        }
    }
}

static void make(struct test *test, const char *properties, bool scalable)
{
    uint64_t root;

    memset(test, 0, sizeof(*test));
    pthread_mutex_init(&test->queue_lock, NULL);
    test->pasids = scalable;
    guest_create(&test->guest, properties);
    root = guest_page(&test->guest);
    make_slots(test, root);
    for (unsigned int i = 0; i < 2; i++) {
        if (scalable)
            guest_scalable(&test->guest, i, 8);
        else
            guest_legacy(&test->guest, i, 0, 2, root);
    }
    if (scalable) {
        guest_pasid(&test->guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root);
        guest_pasid(&test->guest, OTHER_PASID, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root);
    }
}

static void check_all(struct test *test)
{
    print_message("%llu requests arrived, %llu were refused, %llu mapped\n",
                  (unsigned long long)test->arrived, (unsigned long long)test->refused,
                  (unsigned long long)test->mapped);
    assert_int_equal(test->waits_lost, 0);
    assert_int_equal(test->poison_read, 0);
    assert_int_equal(test->stale_read, 0);
    assert_int_equal(test->wrong_place, 0);
    assert_int_equal(test->touched, 0);
    assert_true(test->arrived);
    assert_true(test->refused);
}

static void run(struct test *test, tell_fn *tell)
{
    pthread_t devices[DEVICES], vcpus[VCPUS];
    struct device device[DEVICES];

    test->tell = tell;
    for (unsigned int i = 0; i < DEVICES; i++) {
        device[i] = (struct device){test, i, i + 1};
        assert_int_equal(pthread_create(&devices[i], NULL, do_dma, &device[i]), 0);
    }
    while (get(&test->arrived) < DEVICES)
        sched_yield();
    for (unsigned int i = 0; i < VCPUS; i++)
        assert_int_equal(pthread_create(&vcpus[i], NULL, run_vcpu, &test->vcpus[i]), 0);
    for (unsigned int i = 0; i < VCPUS; i++)
        pthread_join(vcpus[i], NULL);
    __atomic_store_n(&test->stop, true, __ATOMIC_RELAXED);
    for (unsigned int i = 0; i < DEVICES; i++)
        pthread_join(devices[i], NULL);
    check_all(test);
    pthread_mutex_destroy(&test->queue_lock);
    guest_destroy(&test->guest);
}

static void scalable_queue(void **state)
{
    static struct test test;

    (void)state;
    make(&test, "pasid-bits=8", true);
    machine_queue_start(&test.guest.machine, QUEUE, true);
    guest_on(&test.guest, TTM_SCALABLE);
    run(&test, tell_scalable);
}

static void legacy_queue(void **state)
{
    static struct test test;

    (void)state;
    make(&test, "scalable=off", false);
    machine_queue_start(&test.guest.machine, QUEUE, false);
    guest_on(&test.guest, TTM_LEGACY);
    run(&test, tell_legacy);
}

static void legacy_registers(void **state)
{
    static struct test test;

    (void)state;
    make(&test, "scalable=off", false);
    guest_on(&test.guest, TTM_LEGACY);
    run(&test, tell_registers);
}

static const struct spec_rule rules[] = {
    {"VTD-THREADS-1", "6.5.2.8",
     "Scalable mode: after a wait descriptor completed no access uses a page that was unmapped.",
     scalable_queue},
    {"VTD-THREADS-2", "6.5.2.8",
     "Legacy mode: after a wait descriptor completed no access uses a page that was unmapped.",
     legacy_queue},
    {"VTD-THREADS-3", "6.5.1.2",
     "After an invalidation by register completed no access uses a page that was unmapped.",
     legacy_registers},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
