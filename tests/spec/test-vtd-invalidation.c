/* SPDX-License-Identifier: MIT */
/* What each invalidation drops, and what a wait waits for (VT-d 5.0, 6.5.2 and 6.5.4). */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "descriptors.h"

/* A legacy guest with two pages mapped for devices 0 and 1, of two domains. */
struct legacy {
    struct guest guest;
    uint64_t root, entry, next; /* of both domains */
    uint64_t page;              /* where entry points */
};

static void legacy_create(struct legacy *legacy)
{
    struct guest *guest = &legacy->guest;

    guest_create(guest, "");
    legacy->root = guest_page(guest);
    legacy->page = GUEST_DATA;
    legacy->entry = guest_map(guest, legacy->root, 4, GUEST_IOVA, 1, GUEST_DATA | SS_RW, SS_RW);
    legacy->next =
        guest_map(guest, legacy->root, 4, GUEST_IOVA + 0x1000, 1, GUEST_DATA | SS_RW, SS_RW);
    guest_legacy(guest, 0, 0, 2, legacy->root);
    guest_on(guest, TTM_LEGACY);
    machine_queue_start(&guest->machine, QUEUE, false);
    guest_reads(guest, GUEST_IOVA, GUEST_DATA);
}

/* Point the entry elsewhere: after the descriptor, is that seen? */
static void legacy_drops(struct legacy *legacy, uint64_t qw0, uint64_t qw1, bool drops)
{
    struct guest *guest = &legacy->guest;
    uint64_t page = legacy->page ^ 0x1000;

    guest_reads(guest, GUEST_IOVA, legacy->page);
    store64(&guest->machine, legacy->entry, page | SS_RW);
    guest_reads(guest, GUEST_IOVA, legacy->page);
    machine_submit(&guest->machine, qw0, qw1);
    guest_reads(guest, GUEST_IOVA, drops ? page : legacy->page);
    if (!drops)
        machine_submit(&guest->machine, 0x2 | G(1), 0);
    legacy->page = page;
}

static void iotlb_scopes(void **state)
{
    struct legacy legacy;

    (void)state;
    legacy_create(&legacy);
    legacy_drops(&legacy, 0x2 | G(1), 0, true);
    legacy_drops(&legacy, 0x2 | G(2) | DOMAIN(GUEST_DOMAIN), 0, true);
    legacy_drops(&legacy, 0x2 | G(2) | DOMAIN(GUEST_DOMAIN + 1), 0, false);
    legacy_drops(&legacy, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), GUEST_IOVA, true);
    legacy_drops(&legacy, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), GUEST_IOVA | 1 << 6, true);
    legacy_drops(&legacy, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), GUEST_IOVA | UINT64_C(1) << 60, true);
    legacy_drops(&legacy, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), GUEST_IOVA + 0x1000, false);
    legacy_drops(&legacy, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN + 1), GUEST_IOVA, false);
    legacy_drops(&legacy, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), GUEST_IOVA ^ 0x10000, false);
    legacy_drops(&legacy, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), (GUEST_IOVA ^ 0x10000) | 5, true);
    legacy_drops(&legacy, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), (GUEST_IOVA ^ 0x8000) | 18, true);
    guest_destroy(&legacy.guest);
}

static void context_scopes(void **state)
{
    struct legacy legacy;

    (void)state;
    legacy_create(&legacy);
    legacy_drops(&legacy, 0x1 | G(1), 0, true);
    legacy_drops(&legacy, 0x1 | G(2) | DOMAIN(GUEST_DOMAIN), 0, true);
    legacy_drops(&legacy, 0x1 | G(2) | DOMAIN(GUEST_DOMAIN + 1), 0, false);
    legacy_drops(&legacy, 0x1 | G(3) | DOMAIN(GUEST_DOMAIN), 0, true);
    legacy_drops(&legacy, 0x1 | G(3) | DOMAIN(GUEST_DOMAIN) | PASID(0x0100), 0, false);
    guest_destroy(&legacy.guest);
}

/* FM leaves out 0, 1, 2 or 3 of the high bits of the function number. */
static void context_function_mask(void **state)
{
    static const struct {
        uint16_t source;
        bool drops[4];
    } rows[] = {{0, {true, true, true, true}},     {4, {false, true, true, true}},
                {2, {false, false, true, true}},   {6, {false, false, true, true}},
                {1, {false, false, false, true}},  {7, {false, false, false, true}},
                {8, {false, false, false, false}}, {0x100, {false, false, false, false}}};
    struct legacy legacy;

    (void)state;
    legacy_create(&legacy);
    for (unsigned int i = 0; i < SPEC_COUNT(rows); i++)
        for (uint64_t mask = 0; mask < 4; mask++)
            legacy_drops(&legacy, 0x1 | G(3) | PASID(rows[i].source) | mask << 48, 0,
                         rows[i].drops[mask]);
    guest_destroy(&legacy.guest);
}

#define PASID_BITS   "pasid-bits=6"
#define DEVICE_PASID 5

/* A scalable guest: requests without PASID (PASID 0) and PASID 5 use one first-stage table. */
struct scalable {
    struct guest guest;
    uint64_t root, entry, page;
};

static void scalable_create(struct scalable *scalable)
{
    struct guest *guest = &scalable->guest;

    guest_create(guest, PASID_BITS);
    scalable->root = guest_page(guest);
    scalable->page = GUEST_DATA;
    scalable->entry = guest_map(guest, scalable->root, 4, GUEST_IOVA, 1,
                                GUEST_DATA | FS_ALL | FS_A | FS_D, FS_ALL | FS_A);
    guest_scalable(guest, 0, 1 << 3);
    guest_pasid(guest, 0, PASID_PGTT(1), GUEST_DOMAIN, scalable->root);
    guest_pasid(guest, DEVICE_PASID, PASID_PGTT(1), GUEST_DOMAIN, scalable->root);
    guest_on(guest, TTM_SCALABLE);
    machine_queue_start(&guest->machine, QUEUE, true);
}

static uint64_t arrives_at(struct scalable *scalable, uint32_t pasid)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);
    struct viommu_dma_result result;

    dma.pasid = pasid;
    assert_int_equal(guest_dma(&scalable->guest, &dma, &result), 0);
    return result.gpa;
}

/* Which of the two sees the new page after the descriptor. */
static void scalable_drops(struct scalable *scalable, uint64_t qw0, uint64_t qw1, bool without,
                           bool with)
{
    struct machine *machine = &scalable->guest.machine;
    uint64_t old = scalable->page, page = old ^ 0x1000;

    machine_submit(machine, 0x2 | G(1), 0);
    assert_int_equal(arrives_at(scalable, VIOMMU_PASID_NONE), old);
    assert_int_equal(arrives_at(scalable, DEVICE_PASID), old);
    store64(machine, scalable->entry, page | FS_ALL | FS_A | FS_D);
    assert_int_equal(arrives_at(scalable, VIOMMU_PASID_NONE), old);
    machine_submit(machine, qw0, qw1);
    assert_false(queue_stopped(machine));
    assert_int_equal(arrives_at(scalable, VIOMMU_PASID_NONE), without ? page : old);
    assert_int_equal(arrives_at(scalable, DEVICE_PASID), with ? page : old);
    scalable->page = page;
}

static void piotlb_scopes(void **state)
{
    const uint64_t domain = DOMAIN(GUEST_DOMAIN), other = DOMAIN(GUEST_DOMAIN + 1);
    struct scalable scalable;

    (void)state;
    scalable_create(&scalable);
    scalable_drops(&scalable, 0x6 | G(3) | domain | PASID(0), GUEST_IOVA, true, false);
    scalable_drops(&scalable, 0x6 | G(3) | other | PASID(0), GUEST_IOVA, false, false);
    scalable_drops(&scalable, 0x6 | G(3) | domain | PASID(0), GUEST_IOVA + 0x1000, false, false);
    scalable_drops(&scalable, 0x6 | G(3) | domain | PASID(0), (GUEST_IOVA ^ 0x8000) | 4, true,
                   false);
    scalable_drops(&scalable, 0x6 | G(2) | other | PASID(DEVICE_PASID), 0, false, false);
    guest_destroy(&scalable.guest);
}

/* Those of the PASID that is named must go; that others go too is allowed. */
static void piotlb_pasid(void **state)
{
    const uint64_t domain = DOMAIN(GUEST_DOMAIN);
    static const uint64_t masks[] = {0, 1, 18, 36, 51, 52, 63};
    struct scalable scalable;

    (void)state;
    scalable_create(&scalable);
    for (unsigned int i = 0; i < SPEC_COUNT(masks); i++) {
        uint64_t old = scalable.page, page = old ^ 0x1000;

        assert_int_equal(arrives_at(&scalable, DEVICE_PASID), old);
        store64(&scalable.guest.machine, scalable.entry, page | FS_ALL | FS_A | FS_D);
        machine_submit(&scalable.guest.machine, 0x6 | G(3) | domain | PASID(DEVICE_PASID),
                       GUEST_IOVA | masks[i]);
        assert_int_equal(arrives_at(&scalable, DEVICE_PASID), page);
        scalable.page = page;
    }
    machine_submit(&scalable.guest.machine, 0x6 | G(2) | domain | PASID(DEVICE_PASID), 0);
    store64(&scalable.guest.machine, scalable.entry, GUEST_DATA | FS_ALL | FS_A | FS_D);
    assert_int_equal(arrives_at(&scalable, DEVICE_PASID), GUEST_DATA);
    guest_destroy(&scalable.guest);
}

/* What was made by a first stage cannot be found by a second-stage address: all of it goes. */
static void iotlb_first_stage(void **state)
{
    const uint64_t domain = DOMAIN(GUEST_DOMAIN), other = DOMAIN(GUEST_DOMAIN + 1);
    struct scalable scalable;

    (void)state;
    scalable_create(&scalable);
    scalable_drops(&scalable, 0x2 | G(3) | domain, GUEST_DATA, true, true);
    scalable_drops(&scalable, 0x2 | G(3) | other, GUEST_IOVA, false, false);
    scalable_drops(&scalable, 0x2 | G(2) | domain, 0, true, true);
    scalable_drops(&scalable, 0x2 | G(2) | other, 0, false, false);
    guest_destroy(&scalable.guest);
}

static void pasid_cache_scopes(void **state)
{
    const uint64_t domain = DOMAIN(GUEST_DOMAIN), other = DOMAIN(GUEST_DOMAIN + 1);
    struct scalable scalable;

    (void)state;
    scalable_create(&scalable);
    scalable_drops(&scalable, 0x7 | G(3), 0, true, true);
    scalable_drops(&scalable, 0x7 | G(0) | domain, 0, true, true);
    scalable_drops(&scalable, 0x7 | G(0) | other, 0, false, false);
    scalable_drops(&scalable, 0x7 | G(1) | other | PASID(DEVICE_PASID), 0, false, false);
    scalable_drops(&scalable, 0x1 | G(1), 0, true, true);
    scalable_drops(&scalable, 0x1 | G(3), 0, true, true);
    scalable_drops(&scalable, 0x1 | G(3) | PASID(0x100), 0, false, false);
    /* Scalable-mode context entries have no domain: any may be meant. */
    scalable_drops(&scalable, 0x1 | G(2) | other, 0, true, true);
    guest_destroy(&scalable.guest);
}

struct holder {
    struct machine *machine;
    struct viommu_dma_space *space;
    struct viommu_dma_mapping mapping;
    unsigned int told;
    uint32_t status; /* just before it lets go */
};

static void take_note(struct viommu_dma_mapping *mapping, void *opaque)
{
    struct holder *holder = opaque;

    (void)mapping;
    __atomic_fetch_add(&holder->told, 1, __ATOMIC_RELEASE);
}

static void *let_go_later(void *opaque)
{
    struct holder *holder = opaque;

    while (!__atomic_load_n(&holder->told, __ATOMIC_ACQUIRE))
        usleep(100);
    usleep(20000);
    viommu_memory_read(holder->machine->memory, STATUS, &holder->status, 4);
    viommu_dma_unmap(holder->space, &holder->mapping);
    return NULL;
}

/* A mapping that is still held when the wait is met: the wait completes when it is given up. */
static void wait_after_drain(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    struct legacy legacy;
    struct machine *machine = &legacy.guest.machine;
    struct holder holder = {.machine = machine, .status = UINT32_MAX};
    pthread_t thread;

    (void)state;
    legacy_create(&legacy);
    holder.space = viommu_pci_device_get_address_space(machine->device[0]);
    holder.mapping = (struct viommu_dma_mapping){.revoke = take_note, .opaque = &holder};
    request.address = GUEST_IOVA;
    request.length = 64;
    request.access = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    assert_int_equal(viommu_dma_map(holder.space, &request, &holder.mapping, &result), 0);
    store64(machine, QUEUE, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN));
    store64(machine, QUEUE + 8, GUEST_IOVA);
    store64(machine, QUEUE + 16, WAIT | WAIT_SW | WAIT_DATA(1));
    store64(machine, QUEUE + 24, STATUS);
    assert_int_equal(pthread_create(&thread, NULL, let_go_later, &holder), 0);
    write64(machine, VTD_IQT, 32);
    assert_int_equal(load32(machine, STATUS), 1);
    pthread_join(thread, NULL);
    assert_int_equal(holder.told, 1);
    assert_int_equal(holder.status, 0);
    guest_destroy(&legacy.guest);
}

/* A read that stands still in the middle: its page cannot be touched until the handler lets it. */
static struct {
    struct machine *machine;
    bool inside;
    uint32_t status; /* just before it goes on */
} still;

static void stand_still(int signal_number, siginfo_t *info, void *context)
{
    const struct timespec while_the_wait_runs = {.tv_nsec = 20000000};
    uint8_t *page = still.machine->ram + GUEST_DATA;

    (void)context;
    if ((uint8_t *)info->si_addr < page || (uint8_t *)info->si_addr >= page + 0x1000) {
        signal(signal_number, SIG_DFL);
        return;
    }
    __atomic_store_n(&still.inside, true, __ATOMIC_RELEASE);
    nanosleep(&while_the_wait_runs, NULL);
    still.status =
        __atomic_load_n((uint32_t *)(void *)(still.machine->ram + STATUS), __ATOMIC_ACQUIRE);
    mprotect(page, 0x1000, PROT_READ | PROT_WRITE);
}

static void *read_slowly(void *opaque)
{
    struct viommu_dma_result result;
    uint64_t value;

    *(int *)opaque = machine_read(still.machine, 0, GUEST_IOVA, &value, &result);
    return NULL;
}

/* The wait completes when that read is over. */
static void wait_after_read(void **state)
{
    struct sigaction action = {.sa_sigaction = stand_still, .sa_flags = SA_SIGINFO}, before;
    struct legacy legacy;
    struct machine *machine = &legacy.guest.machine;
    int result = -1;
    pthread_t thread;

    (void)state;
    legacy_create(&legacy);
    still.machine = machine;
    still.status = UINT32_MAX;
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    assert_int_equal(mprotect(machine->ram + GUEST_DATA, 0x1000, PROT_NONE), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &result), 0);
    while (!__atomic_load_n(&still.inside, __ATOMIC_ACQUIRE))
        usleep(100);
    machine_submit(machine, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), GUEST_IOVA);
    wait_for(machine, 1);
    assert_int_equal(load32(machine, STATUS), 1);
    pthread_join(thread, NULL);
    sigaction(SIGSEGV, &before, NULL);
    assert_int_equal(result, 0);
    assert_int_equal(still.status, 0);
    guest_destroy(&legacy.guest);
}

#define DRAIN_ROUNDS 2000
#define STALE        UINT64_C(0x5ca1ab1e5ca1ab1e)

struct reader {
    struct machine *machine;
    bool end;
    uint64_t reads, stale;
};

/* Pages of equal words: STALE in one that was given away. */
static void *read_often(void *opaque)
{
    struct reader *reader = opaque;
    struct viommu_dma_space *space =
        viommu_pci_device_get_address_space(reader->machine->device[0]);
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    uint64_t page[512];

    request.address = GUEST_IOVA;
    request.length = sizeof(page);
    while (!__atomic_load_n(&reader->end, __ATOMIC_RELAXED)) {
        if (!viommu_dma_read(space, &request, page, &result))
            for (unsigned int i = 0; i < SPEC_COUNT(page); i++)
                reader->stale += page[i] == STALE;
        __atomic_fetch_add(&reader->reads, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void fill_page(struct machine *machine, uint64_t gpa, uint64_t value)
{
    uint64_t page[512];

    for (unsigned int i = 0; i < SPEC_COUNT(page); i++)
        page[i] = value;
    assert_int_equal(viommu_memory_write(machine->memory, gpa, page, sizeof(page)), 0);
}

/* Give away the page that nobody may use any more, and take it back at the next exchange. */
static void exchange_pages(struct legacy *legacy, struct reader *reader)
{
    struct machine *machine = &legacy->guest.machine;

    for (unsigned int i = 1;
         i <= DRAIN_ROUNDS || !__atomic_load_n(&reader->reads, __ATOMIC_RELAXED); i++) {
        uint64_t old = legacy->page, page = old ^ 0x1000, entry = page | SS_RW;

        fill_page(machine, page, i);
        assert_int_equal(viommu_memory_write(machine->memory, legacy->entry, &entry, 8), 0);
        machine_submit(machine, 0x2 | G(3) | DOMAIN(GUEST_DOMAIN), GUEST_IOVA);
        wait_for(machine, i);
        assert_int_equal(load32(machine, STATUS), i);
        fill_page(machine, old, STALE);
        legacy->page = page;
    }
}

/* A DMA that runs while a page is taken away is over before the wait completes. */
static void drained(void **state)
{
    struct legacy legacy;
    struct reader reader = {.machine = &legacy.guest.machine};
    pthread_t thread;

    (void)state;
    legacy_create(&legacy);
    assert_int_equal(pthread_create(&thread, NULL, read_often, &reader), 0);
    exchange_pages(&legacy, &reader);
    __atomic_store_n(&reader.end, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(reader.stale, 0);
    guest_destroy(&legacy.guest);
}

static const struct spec_rule rules[] = {
    {"VTD-6.5.2.9-4", "6.5.2.9",
     "A wait completes after all DMA that uses what was invalidated before it.", wait_after_drain},
    {"VTD-6.5.4-1", "6.5.4",
     "No DMA that began before an invalidation is under way after its wait.", wait_after_read},
    {"VTD-6.5.4-2", "6.5.4",
     "Pages that change hands all the time are not read by the old translation.", drained},
    {"VTD-6.5.2.3-3", "6.5.2.3",
     "IOTLB: pages of the second stage take along all first-stage entries of the domain.",
     iotlb_first_stage},
    {"VTD-6.5.2.3-2", "6.5.2.3",
     "IOTLB: global, domain and pages each drop what they name, and no other domain or page.",
     iotlb_scopes},
    {"VTD-6.5.2.1-1", "6.5.2.1",
     "Context cache: global, domain and device each drop what was made from the entries.",
     context_scopes},
    {"VTD-6.5.2.1-2", "6.5.2.1",
     "FM leaves high bits of the function number out of the comparison.", context_function_mask},
    {"VTD-6.5.2.4-1", "6.5.2.4",
     "PASID-based IOTLB: pages of one PASID, in one domain; PASID 0 covers requests without PASID.",
     piotlb_scopes},
    {"VTD-6.5.2.4-2", "6.5.2.4",
     "PASID-based IOTLB: any size up to everything, and the whole PASID.", piotlb_pasid},
    {"VTD-6.5.2.2-1", "6.5.2.2",
     "PASID cache: global, domain and PASID each drop what was made from the entries.",
     pasid_cache_scopes},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
