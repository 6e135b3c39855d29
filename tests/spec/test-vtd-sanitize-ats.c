/* SPDX-License-Identifier: MIT */
/*
 * The guest sanitizer and device TLBs: what a device was told is to be invalidated there, too,
 * after the IOTLB (VT-d 5.0, 4.1, 6.5.2.5, 6.5.2.6).
 */
#include <string.h>

#include "ats_device.h"
#include "sanitized.h"

#define DTE     (UINT64_C(1) << 2) /* of a context entry; in legacy mode, TT 1 */
#define PASID_5 5
#define FIRST   "device-iotlb=on,pasid-bits=6,"
#define OTHER_1 (OTHER | FS_ALL | FS_A)

struct fixture {
    struct driver driver;
    struct ats_device device[2];
    uint64_t leaf;
};

static void add_devices(struct fixture *fixture)
{
    struct driver *driver = &fixture->driver;

    set(driver, driver->context, load64(machine_of(driver), driver->context) | DTE);
    for (unsigned int i = 0; i < 2; i++)
        ats_device_create(&fixture->device[i], &driver->guest, i);
}

/* PASID 5 of device 0 has IOVA from its device TLB. */
static void start(struct fixture *fixture, const char *properties)
{
    struct driver *driver = &fixture->driver;

    first_begin(driver, properties);
    add_devices(fixture);
    guest_pasid(&driver->guest, PASID_5, PASID_PGTT(1), PASID_PWSNP | GUEST_DOMAIN, driver->root);
    fixture->leaf = map_first(driver, IOVA, GUEST_DATA);
}

static void start_legacy(struct fixture *fixture, const char *properties)
{
    legacy_begin(&fixture->driver, properties);
    add_devices(fixture);
    fixture->leaf = map(&fixture->driver, IOVA, GUEST_DATA);
}

static void stop(struct fixture *fixture)
{
    for (unsigned int i = 0; i < 2; i++)
        ats_device_destroy(&fixture->device[i]);
    end(&fixture->driver);
}

static void asks(struct fixture *fixture, uint32_t pasid, uint64_t page)
{
    /* The first stage keeps W back as long as its dirty bit is clear. */
    uint8_t granted = VIOMMU_DMA_READ | (pasid == VIOMMU_PASID_NONE ? VIOMMU_DMA_WRITE : 0);
    struct guest_dma dma = DMA_AT(IOVA);

    dma.pasid = pasid;
    assert_int_equal(ats_translates(&fixture->driver.guest, &dma, granted).gpa, page);
}

/* What a driver does */

static void submit(struct fixture *fixture, uint64_t qw0, uint64_t qw1)
{
    machine_submit(machine_of(&fixture->driver), qw0, qw1);
}

/* By PASID, of a function; S and G as in the descriptor. */
static void device_tlb(struct fixture *fixture, uint16_t requester, uint32_t pasid, uint64_t qw1)
{
    submit(fixture, 8 | (uint64_t)requester << 16 | (uint64_t)pasid << 32, qw1);
}

static void iotlb(struct fixture *fixture)
{
    submit(fixture, 0x6 | G(3) | DOMAIN(GUEST_DOMAIN) | (uint64_t)PASID_5 << 32, IOVA);
}

static void right_pages(struct fixture *fixture)
{
    device_tlb(fixture, 0, PASID_5, IOVA);
}

static void next_page(struct fixture *fixture)
{
    device_tlb(fixture, 0, PASID_5, IOVA + 0x1000);
}

static void other_pasid(struct fixture *fixture)
{
    device_tlb(fixture, 0, PASID_5 + 1, IOVA);
}

static void other_function(struct fixture *fixture)
{
    device_tlb(fixture, 8, PASID_5, IOVA);
}

/* S, and an address of ones up to bit 62: all there is. */
static void all_pages(struct fixture *fixture)
{
    device_tlb(fixture, 0, PASID_5, UINT64_C(0x7ffffffffffff000) | 1 << 11);
}

static void all_pasids(struct fixture *fixture)
{
    device_tlb(fixture, 0, PASID_5 + 1, IOVA | 1);
}

/* As Linux flushes a whole address space. */
static void without_pasid(struct fixture *fixture)
{
    submit(fixture, 3, UINT64_C(0x7ffffffffffff000) | 1);
}

/* Drivers that do right */

static void pages_and_device(void **state)
{
    static void (*const ways[])(struct fixture *) = {right_pages, all_pages, all_pasids,
                                                     without_pasid};
    struct fixture fixture;

    (void)state;
    start(&fixture, FIRST STRICT);
    for (unsigned int i = 0; i < 16; i++) {
        asks(&fixture, PASID_5, GUEST_DATA);
        set(&fixture.driver, fixture.leaf, 0);
        iotlb(&fixture);
        ways[i % SPEC_COUNT(ways)](&fixture);
        wait_done(&fixture.driver);
        set(&fixture.driver, fixture.leaf, OTHER | FS_ALL);
        asks(&fixture, PASID_5, OTHER);
        set(&fixture.driver, fixture.leaf, GUEST_DATA | FS_ALL);
        iotlb(&fixture);
        ways[i % SPEC_COUNT(ways)](&fixture);
        wait_done(&fixture.driver);
    }
    silent(&fixture.driver);
    stop(&fixture);
}

static void legacy_driver(void **state)
{
    struct fixture fixture;

    (void)state;
    start_legacy(&fixture, "scalable=off,device-iotlb=on," STRICT);
    for (unsigned int i = 0; i < 4; i++) {
        asks(&fixture, VIOMMU_PASID_NONE, i & 1 ? OTHER : GUEST_DATA);
        set(&fixture.driver, fixture.leaf, (i & 1 ? GUEST_DATA : OTHER) | SS_RW);
        invalidate_pages(&fixture.driver, IOVA, 0);
        submit(&fixture, 3, IOVA);
        wait_done(&fixture.driver);
    }
    silent(&fixture.driver);
    stop(&fixture);
}

/* The IOTLB, and the device TLBs of both functions. */
static void invalidate_all(struct driver *driver, uint64_t iova)
{
    invalidate_pages(driver, iova, 0);
    machine_submit(machine_of(driver), 3, iova);
    machine_submit(machine_of(driver), 3 | UINT64_C(8) << 32, iova);
}

static void under_traffic(void **state)
{
    struct fixture fixture;
    uint64_t context;

    (void)state;
    start_legacy(&fixture, "scalable=off,device-iotlb=on," STRICT);
    context = guest_legacy(&fixture.driver.guest, 1, 0, 2, fixture.driver.root);
    guest_change(&fixture.driver.guest, context, 0, DTE);
    work_under_traffic(&fixture.driver, VIOMMU_DMA_TRANSLATION_REQUEST, invalidate_all);
    assert_in_range(fixture.device[1].told_count, 2000, 2000);
    silent(&fixture.driver);
    stop(&fixture);
}

/* A batch ends, with its wait, between the two invalidations. */
static void wait_in_between(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture, FIRST "sanitize=on,sanitize-strict=on,sanitize-patience=1");
    asks(&fixture, PASID_5, GUEST_DATA);
    set(&fixture.driver, fixture.leaf, OTHER_1);
    iotlb(&fixture);
    wait_done(&fixture.driver);
    right_pages(&fixture);
    wait_done(&fixture.driver);
    wait_done(&fixture.driver);
    silent(&fixture.driver);
    stop(&fixture);
}

/* The device TLB ends, and with it all that it holds; so it does for a device without one. */
static void without_device_tlb(void **state)
{
    struct guest_dma dma = DMA_AT(IOVA);
    struct viommu_dma_result result;
    struct fixture fixture;

    (void)state;
    start(&fixture, FIRST STRICT);
    asks(&fixture, PASID_5, GUEST_DATA);
    ats_device_destroy(&fixture.device[0]);
    dma.pasid = PASID_5;
    dma.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    assert_int_not_equal(guest_dma(&fixture.driver.guest, &dma, &result), 0);
    set(&fixture.driver, fixture.leaf, OTHER_1);
    iotlb(&fixture);
    wait_done(&fixture.driver);
    silent(&fixture.driver);
    stop(&fixture);
}

/* As when a device is given back: ATS is off, its context entry goes, and later another comes. */
static void without_context_entry(void **state)
{
    struct driver *driver;
    struct fixture fixture;
    uint64_t entry;

    (void)state;
    start(&fixture, FIRST STRICT);
    driver = &fixture.driver;
    asks(&fixture, PASID_5, GUEST_DATA);
    entry = load64(machine_of(driver), driver->context);
    set(driver, driver->context, 0);
    submit(&fixture, 0x1 | G(3), 0);
    submit(&fixture, 0x7 | G(3), 0);
    submit(&fixture, 0x2 | G(1) | DRAINED, 0);
    wait_done(driver);
    set(driver, fixture.leaf, OTHER_1);
    set(driver, driver->context, entry);
    wait_done(driver);
    asks(&fixture, PASID_5, OTHER);
    silent(driver);
    stop(&fixture);
}

/* Nothing was granted: nothing is kept. */
static void nothing_granted(void **state)
{
    struct guest_dma dma = DMA_AT(IOVA);
    struct fixture fixture;

    (void)state;
    start(&fixture, FIRST STRICT);
    set(&fixture.driver, fixture.leaf, 0);
    dma.pasid = PASID_5;
    ats_translates(&fixture.driver.guest, &dma, 0);
    set(&fixture.driver, fixture.leaf, OTHER_1);
    wait_done(&fixture.driver);
    silent(&fixture.driver);
    stop(&fixture);
}

/* Mistakes */

struct mistake {
    const char *properties;
    uint64_t after;
    void (*then[2])(struct fixture *fixture);
    enum viommu_sanitize_kind kind;
    const char *needed; /* a word of it */
};

static void makes_mistake(void **state)
{
    const struct mistake *mistake = *state;
    struct fixture fixture;
    struct expected expected = {.kind = mistake->kind,
                                .entry = VIOMMU_SANITIZE_ENTRY_FIRST_STAGE,
                                .level = 1,
                                .address = IOVA,
                                .before = GUEST_DATA | FS_ALL | FS_A,
                                .after = mistake->after};

    start(&fixture, mistake->properties);
    asks(&fixture, PASID_5, GUEST_DATA);
    set(&fixture.driver, fixture.leaf, mistake->after);
    for (unsigned int i = 0; i < 2 && mistake->then[i]; i++)
        mistake->then[i](&fixture);
    silent(&fixture.driver);
    wait_done(&fixture.driver);
    expected.entry_address = fixture.leaf;
    reported(&fixture.driver, &expected);
    assert_int_equal(machine_of(&fixture.driver)->report[0].pasid, PASID_5);
    assert_non_null(strstr(machine_of(&fixture.driver)->report[0].needed, mistake->needed));
    stop(&fixture);
}

#define MISTAKE(...)                                                                               \
    makes_mistake, &(const struct mistake)                                                         \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static const struct spec_rule rules[] = {
    {"VTD-4.1-20", "4.1",
     "Sanitizer: a driver that invalidates the IOTLB and then device TLBs, by pages, as a whole or "
     "of all PASIDs, is not reported.",
     pages_and_device},
    {"VTD-4.1-21", "4.1", "Sanitizer: nor is one in legacy mode, without PASIDs.", legacy_driver},
    {"VTD-4.1-26", "4.1",
     "Sanitizer: nor is one for translation requests that are under way while it unmaps.",
     under_traffic},
    {"VTD-4.1-22", "4.1",
     "Sanitizer: a wait may come between the invalidation of the IOTLB and that of the device TLB.",
     wait_in_between},
    {"VTD-4.1-23", "4.1",
     "Sanitizer: a device TLB that ended holds nothing, nor does a function without one.",
     without_device_tlb},
    {"VTD-4.1-25", "4.1",
     "Sanitizer: a device that loses its context entry may have switched ATS off: it holds "
     "nothing.",
     without_context_entry},
    {"VTD-4.1-24", "4.1", "Sanitizer: a translation without rights is nothing to invalidate.",
     nothing_granted},
    {"VTD-6.5.2.6-20", "6.5.2.6",
     "Sanitizer: a page that a device was told, and that moved, is reported without a device-TLB "
     "invalidation.",
     MISTAKE(FIRST LAZY, OTHER_1, {iotlb}, VIOMMU_SANITIZE_MISSING, "device-TLB")},
    {"VTD-6.5.2.6-21", "6.5.2.6", "Sanitizer, strict: so is one that was unmapped.",
     MISTAKE(FIRST STRICT, 0, {iotlb}, VIOMMU_SANITIZE_MISSING, "device-TLB")},
    {"VTD-6.5.2.6-22", "6.5.2.6",
     "Sanitizer: a device-TLB invalidation of too few pages is reported.",
     MISTAKE(FIRST LAZY, OTHER_1, {iotlb, next_page}, VIOMMU_SANITIZE_NARROW, "device-TLB")},
    {"VTD-6.5.2.6-23", "6.5.2.6", "Sanitizer: a device-TLB invalidation of another PASID is none.",
     MISTAKE(FIRST LAZY, OTHER_1, {iotlb, other_pasid}, VIOMMU_SANITIZE_MISSING, "device-TLB")},
    {"VTD-6.5.2.6-24", "6.5.2.6",
     "Sanitizer: a device-TLB invalidation of another function is none.",
     MISTAKE(FIRST LAZY, OTHER_1, {iotlb, other_function}, VIOMMU_SANITIZE_MISSING, "device-TLB")},
    {"VTD-6.5.2.6-25", "6.5.2.6",
     "Sanitizer: a device-TLB invalidation before that of the IOTLB is reported.",
     MISTAKE(FIRST LAZY, OTHER_1, {right_pages, iotlb}, VIOMMU_SANITIZE_ORDER, "after that")},
    {"VTD-6.5.2.6-26", "6.5.2.6",
     "Sanitizer: where neither cache is invalidated, the IOTLB is reported, and it alone.",
     MISTAKE(FIRST LAZY, OTHER_1, {NULL}, VIOMMU_SANITIZE_MISSING, "PASID-based IOTLB")},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
