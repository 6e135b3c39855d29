/* SPDX-License-Identifier: MIT */
/* Answers to page requests, their drain, and all that in threads (VT-d 5.0, 7.7 to 7.11). */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "page_requests.h"

static void responses(void **state)
{
    static const uint8_t codes[] = {0, 1, 2, 0xe, 0xf};
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;
    struct viommu_stats stats = {.size = sizeof(stats)};

    (void)state;
    start(&fixture);
    for (size_t i = 0; i < SPEC_COUNT(codes); i++) {
        machine_submit(machine,
                       RESPONSE | RESPONSE_PP | RESPONSE_RC(codes[i]) | RID(8) | PASID(0x12345),
                       PRGI(0x1ab));
        answered(&fixture, 1, 0x12345, 0x1ab, codes[i]);
        assert_int_equal(fixture.device[0].response_count, 0);
    }
    /* Without PP the PASID means nothing; LPIG of older revisions is ignored. */
    machine_submit(machine, RESPONSE | RID(0) | PASID(0x12345), PRGI(1) | 4);
    answered(&fixture, 0, PLAIN, 1, 0);
    /* To a function that is not there. */
    machine_submit(machine, RESPONSE | RID(0x5555), PRGI(1));
    assert_int_equal(fixture.device[0].response_count + fixture.device[1].response_count, 0);
    wait_for(machine, 1);
    assert_int_equal(load32(machine, STATUS), 1);
    viommu_get_stats(machine->viommu, &stats);
    assert_int_equal(stats.page_responses, SPEC_COUNT(codes) + 2);
    stop(&fixture);
}

static void response_reserved(void **state)
{
    const uint64_t defined = VTD_DESC_TYPE | VTD_DESC_TYPE_HIGH | VTD_DESC_RESPONSE_PP |
                             VTD_DESC_RESPONSE_RC | VTD_DESC_RESPONSE_RID | VTD_DESC_PASID_FIELD;

    (void)state;
    for (unsigned int bit = 0; bit < 128; bit++) {
        uint64_t qw0 = bit < 64 ? UINT64_C(1) << bit & ~defined : 0;
        uint64_t qw1 = bit < 64 ? 0
                                : UINT64_C(1) << (bit - 64) &
                                      ~(VTD_DESC_RESPONSE_PRGI | VTD_DESC_RESPONSE_LPIG);
        struct fixture fixture;

        if (!qw0 && !qw1)
            continue;
        start(&fixture);
        machine_submit(&fixture.guest.machine, RESPONSE | qw0, qw1);
        assert_true(queue_stopped(&fixture.guest.machine));
        assert_int_equal(read64(&fixture.guest.machine, VTD_IQERCD), 4);
        stop(&fixture);
    }
}

/* As Linux takes a PASID away from a device. */
static void drain(void **state)
{
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    asks(&fixture, 1);
    machine_submit(machine, WAIT | WAIT_FN | WAIT_DATA(1), 0);
    machine_submit(machine, 6 | G(2) | DOMAIN(GUEST_DOMAIN) | PASID(3), 0);
    machine_submit(machine, 8 | PASID(3), UINT64_C(0x7ffffffffffff000) | UINT64_C(1) << 11);
    machine_submit(machine, WAIT | WAIT_SW | WAIT_FN | WAIT_PD | WAIT_DATA(2), STATUS);
    assert_int_equal(load32(machine, STATUS), 2);
    assert_int_equal(fixture.device[0].told_count, 1);
    assert_int_equal(fixture.device[0].told[0].length, 0);
    assert_int_equal(tail(&fixture), 32);
    assert_int_equal(read32(machine, VTD_FSTS), 0);
    stop(&fixture);
}

/* A device asks again from within the answer. */
static void ask_again(void *opaque, const struct viommu_pci_page_response *response)
{
    struct fixture *fixture = opaque;

    fixture->device[0].responses[fixture->device[0].response_count++] = *response;
    if (fixture->device[0].response_count == 1)
        asks(fixture, 2);
}

static int nothing_cached(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    (void)opaque;
    (void)what;
    return 0;
}

static void within_the_answer(void **state)
{
    static const struct viommu_pci_ats_ops ops = {
        .size = sizeof(ops), .invalidate = nothing_cached, .page_response = ask_again};
    static const struct viommu_pci_ats_ops mute = {.size = sizeof(mute),
                                                   .invalidate = nothing_cached};
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start(&fixture);
    ats_device_destroy(&fixture.device[0]);
    assert_int_equal(viommu_pci_device_set_ats(fixture.device[0].function, &ops, &fixture, NULL),
                     0);
    asks(&fixture, 1);
    machine_submit(machine, RESPONSE | RESPONSE_PP | PASID(3), PRGI(1));
    assert_int_equal(fixture.device[0].response_count, 1);
    assert_int_equal(tail(&fixture), 64);
    /* And when the unit itself answers. */
    fixture.device[0].response_count = 0;
    guest_scalable(&fixture.guest, 0, DTE | PASIDE);
    asks(&fixture, 1);
    assert_int_equal(fixture.device[0].response_count, 2);
    ats_device_destroy(&fixture.device[0]);
    /* One that has no ear cannot ask, and is not told. */
    assert_int_equal(viommu_pci_device_set_ats(fixture.device[0].function, &mute, NULL, NULL), 0);
    assert_int_equal(ask(&fixture, 0, 0x5000, 3, 1, R, true), -EOPNOTSUPP);
    machine_submit(machine, RESPONSE | RESPONSE_PP | PASID(3), PRGI(1));
    stop(&fixture);
}

/* Threads: devices ask while the guest takes requests out, answers, and clears overflows. */

#define ASKS 4000

struct asker {
    struct fixture *fixture;
    unsigned int index;
    unsigned int answers; /* atomic */
};

static void count_answer(void *opaque, const struct viommu_pci_page_response *response)
{
    struct asker *asker = opaque;

    (void)response;
    __atomic_fetch_add(&asker->answers, 1, __ATOMIC_RELAXED);
}

static void *ask_often(void *opaque)
{
    struct asker *asker = opaque;

    for (unsigned int i = 0; i < ASKS; i++)
        if (ask(asker->fixture, asker->index, i << 12, 3, i % 512, R, true))
            return asker;
    return NULL;
}

/* Takes out what is there, and answers it. Returns how many. */
static unsigned int serve(struct machine *machine)
{
    uint64_t from, to;
    unsigned int count = 0;

    write32(machine, VTD_PRS, VTD_PRS_PPR);
    to = read64(machine, VTD_PQT);
    for (from = read64(machine, VTD_PQH); from != to; from = (from + 32) % 4096, count++) {
        uint64_t qw0 = load64(machine, PRQ + from), qw1 = load64(machine, PRQ + from + 8);

        assert_int_equal(qw0 & 0xffff, 0x101);
        machine_submit(machine, RESPONSE | RESPONSE_PP | (qw0 & RID(0xffff)) | PASID(3),
                       qw1 & PRGI(511));
    }
    write64(machine, VTD_PQH, to);
    if (read32(machine, VTD_PRS) & VTD_PRS_PRO)
        write32(machine, VTD_PRS, VTD_PRS_PRO);
    return count;
}

static void in_threads(void **state)
{
    static const struct viommu_pci_ats_ops ops = {
        .size = sizeof(ops), .invalidate = nothing_cached, .page_response = count_answer};
    struct viommu_stats stats = {.size = sizeof(stats)};
    struct asker askers[2];
    struct fixture fixture;
    pthread_t threads[2];
    unsigned int served = 0, answers;
    void *failed;

    (void)state;
    start(&fixture);
    for (unsigned int i = 0; i < 2; i++) {
        askers[i] = (struct asker){&fixture, i, 0};
        ats_device_destroy(&fixture.device[i]);
        assert_int_equal(
            viommu_pci_device_set_ats(fixture.device[i].function, &ops, &askers[i], NULL), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &askers[i]), 0);
    }
    do {
        served += serve(&fixture.guest.machine);
        answers = __atomic_load_n(&askers[0].answers, __ATOMIC_RELAXED) +
                  __atomic_load_n(&askers[1].answers, __ATOMIC_RELAXED);
    } while (answers < 2 * ASKS);
    for (unsigned int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
        assert_int_equal(askers[i].answers, ASKS);
    }
    viommu_get_stats(fixture.guest.machine.viommu, &stats);
    assert_int_equal(stats.page_requests, served);
    assert_int_equal(stats.page_requests + stats.page_requests_refused, 2 * ASKS);
    stop(&fixture);
}

static const struct spec_rule rules[] = {
    {"VTD-6.5.2.7-92", "6.5.2.7",
     "A page group response reaches the device with group, code, and PASID when PP is set.",
     responses},
    {"VTD-6.5.2.7-93", "6.5.2.7", "Reserved fields of a response stop the queue.",
     response_reserved},
    {"VTD-7.10-91", "7.10",
     "A wait with PD behind invalidations drains the page requests of a device.", drain},
    {"VTD-7.6-91", "7.6", "A device may ask again while it is answered.", within_the_answer},
    {"VTD-7.4-96", "7.4.1",
     "Requests of several devices at once are each in the queue once, or answered.", in_threads},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
