/* SPDX-License-Identifier: MIT */
/*
 * Nested translation: both stages, and what of each other's faults they show. The guest's guest has
 * its first-stage tables at GPA that the second stage moves up by SHIFT.
 */
#include <stdio.h>

#include "base/rcu.h"
#include "guest_tables.h"
#include "model/vtd/vtd.h"

#define BIT(n) (UINT64_C(1) << (n))
#define SHIFT  UINT64_C(0x800000)

/* Addresses of the first stage, before the second one. */
enum {
    FS_ROOT = 0x1000,
    FS_PDP = 0x2000,
    FS_PD = 0x3000,
    FS_PT = 0x4000,
    FS_PAGE = 0x5000,
};

struct nested {
    struct guest guest;
    uint64_t second; /* root of the second stage */
};

static uint64_t first_entry(unsigned int level)
{
    static const uint64_t tables[] = {0, FS_PT, FS_PD, FS_PDP, FS_ROOT};

    return SHIFT + tables[level] + (GUEST_IOVA >> (12 + 9 * (level - 1)) & 511) * 8;
}

/* The second stage's leaf entry for a GPA of the first stage. */
static uint64_t second_leaf(struct nested *nested, uint64_t gpa)
{
    return guest_entry(&nested->guest, nested->second, 4, gpa, 1);
}

static void point(struct nested *nested, uint64_t qw0, uint64_t qw1, uint64_t qw2)
{
    guest_pasid(&nested->guest, 0, PASID_PGTT(3) | PASID_AW(2) | nested->second | qw0,
                GUEST_DOMAIN | qw1, FS_ROOT | qw2);
    guest_on(&nested->guest, TTM_SCALABLE);
}

static void start(struct nested *nested, const char *properties)
{
    static const uint64_t next[] = {0, FS_PAGE, FS_PT, FS_PD, FS_PDP};
    char all[128];

    snprintf(all, sizeof(all), "second-stage=on,nested=on%s%s", *properties ? "," : "", properties);
    guest_create(&nested->guest, all);
    nested->second = guest_page(&nested->guest);
    for (uint64_t gpa = 0; gpa < 0x10000; gpa += 4096)
        guest_map(&nested->guest, nested->second, 4, gpa, 1, (SHIFT + gpa) | SS_RW, SS_RW);
    for (unsigned int level = 1; level <= 4; level++)
        store64(&nested->guest.machine, first_entry(level), next[level] | FS_ALL);
    guest_scalable(&nested->guest, 0, 0);
    point(nested, 0, PASID_PWSNP, 0);
}

static void end(struct nested *nested)
{
    guest_destroy(&nested->guest);
}

static void both_stages(void **state)
{
    struct viommu_dma_result result;
    struct nested nested;

    (void)state;
    start(&nested, "");
    result = guest_reads(&nested.guest, GUEST_IOVA + 0x128, SHIFT + FS_PAGE + 0x128);
    assert_int_equal(result.granule_log2, 12);
    guest_writes(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    for (unsigned int level = 1; level <= 4; level++)
        assert_true(load64(&nested.guest.machine, first_entry(level)) & FS_A);
    assert_true(load64(&nested.guest.machine, first_entry(1)) & FS_D);
    end(&nested);
}

static void smaller_page_counts(void **state)
{
    struct viommu_dma_result result;
    struct nested nested;

    (void)state;
    start(&nested, "");
    /* First stage 2 MiB at GPA 0, second stage 4 KiB. */
    store64(&nested.guest.machine, first_entry(2), FS_PS | FS_ALL);
    result =
        guest_reads(&nested.guest, (GUEST_IOVA & ~UINT64_C(0x1fffff)) + 0x6010, SHIFT + 0x6010);
    assert_int_equal(result.granule_log2, 12);
    guest_read_faults(&nested.guest, (GUEST_IOVA & ~UINT64_C(0x1fffff)) + 0x10000, 0x79);
    guest_flush(&nested.guest);
    /* First stage 1 GiB, second stage 2 MiB. */
    store64(&nested.guest.machine, first_entry(3), FS_PS | FS_ALL);
    guest_map(&nested.guest, nested.second, 4, 0x200000, 2, 0xa00000 | SS_PS | SS_RW, SS_RW);
    result =
        guest_reads(&nested.guest, (GUEST_IOVA & ~(BIT(30) - 1)) + 0x212340, 0xa00000 + 0x12340);
    assert_int_equal(result.granule_log2, 21);
    end(&nested);
    start(&nested, "");
    /* First stage 4 KiB, second stage 2 MiB. */
    guest_map(&nested.guest, nested.second, 4, 0x200000, 2, 0xa00000 | SS_PS | SS_RW, SS_RW);
    store64(&nested.guest.machine, first_entry(1), 0x234000 | FS_ALL);
    result = guest_reads(&nested.guest, GUEST_IOVA + 8, 0xa34008);
    assert_int_equal(result.granule_log2, 12);
    end(&nested);
}

static void rights_of_both(void **state)
{
    struct nested nested;
    uint64_t leaf;

    (void)state;
    start(&nested, "");
    leaf = second_leaf(&nested, FS_PAGE);
    guest_change(&nested.guest, leaf, SS_W, 0);
    guest_write_faults(&nested.guest, GUEST_IOVA, 0x85);
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    guest_write_faults(&nested.guest, GUEST_IOVA, 0x85);
    assert_false(load64(&nested.guest.machine, first_entry(1)) & FS_D);
    guest_change(&nested.guest, leaf, SS_R, SS_W);
    guest_flush(&nested.guest);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x86);
    guest_writes(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    guest_change(&nested.guest, leaf, 0, SS_R);
    guest_change(&nested.guest, first_entry(1), FS_W, 0);
    guest_flush(&nested.guest);
    guest_write_faults(&nested.guest, GUEST_IOVA, 0x85);
    guest_change(&nested.guest, first_entry(1), FS_U, 0);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x81);
    end(&nested);
}

static void first_stage_faults(void **state)
{
    struct nested nested;

    (void)state;
    start(&nested, "");
    guest_read_faults(&nested.guest, BIT(47), 0x80);
    for (unsigned int level = 1; level <= 4; level++) {
        uint64_t value = load64(&nested.guest.machine, first_entry(level));

        store64(&nested.guest.machine, first_entry(level), value & ~FS_P);
        guest_read_faults(&nested.guest, GUEST_IOVA, 0x71);
        store64(&nested.guest.machine, first_entry(level), value | BIT(50));
        guest_read_faults(&nested.guest, GUEST_IOVA, 0x72);
        store64(&nested.guest.machine, first_entry(level), value);
    }
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    end(&nested);
}

static void addresses_beyond_second_stage(void **state)
{
    struct nested nested;

    (void)state;
    start(&nested, "");
    guest_pasid(&nested.guest, 0,
                PASID_PGTT(3) | PASID_AW(1) |
                    (load64(&nested.guest.machine, nested.second) & ~UINT64_C(0xfff)),
                GUEST_DOMAIN | PASID_PWSNP, FS_ROOT);
    guest_flush(&nested.guest);
    for (unsigned int level = 1; level <= 4; level++) {
        uint64_t value = load64(&nested.guest.machine, first_entry(level));

        store64(&nested.guest.machine, first_entry(level), value | BIT(39));
        guest_read_faults(&nested.guest, GUEST_IOVA, 0x74);
        store64(&nested.guest.machine, first_entry(level), value);
    }
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    end(&nested);
}

static void tables_not_mapped(void **state)
{
    static const uint64_t tables[] = {FS_PT, FS_PD, FS_PDP, FS_ROOT, FS_PAGE};
    struct nested nested;

    (void)state;
    start(&nested, "");
    for (size_t i = 0; i < SPEC_COUNT(tables); i++) {
        uint64_t leaf = second_leaf(&nested, tables[i]);
        uint64_t value = load64(&nested.guest.machine, leaf);

        store64(&nested.guest.machine, leaf, 0);
        guest_read_faults(&nested.guest, GUEST_IOVA, 0x79);
        store64(&nested.guest.machine, leaf, value | BIT(62));
        guest_read_faults(&nested.guest, GUEST_IOVA, 0x7a);
        store64(&nested.guest.machine, leaf, value);
    }
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    end(&nested);
}

static void tables_not_readable(void **state)
{
    static const uint64_t tables[] = {FS_PT, FS_PD, FS_PDP};
    struct nested nested;

    (void)state;
    start(&nested, "");
    guest_change(&nested.guest, second_leaf(&nested, FS_ROOT), SS_R, 0);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x75);
    guest_change(&nested.guest, second_leaf(&nested, FS_ROOT), 0, SS_R);
    for (size_t i = 0; i < SPEC_COUNT(tables); i++) {
        guest_change(&nested.guest, second_leaf(&nested, tables[i]), SS_R, 0);
        guest_read_faults(&nested.guest, GUEST_IOVA, 0x76);
        guest_change(&nested.guest, second_leaf(&nested, tables[i]), 0, SS_R);
    }
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    end(&nested);
}

static void tables_not_writable(void **state)
{
    static const uint64_t tables[] = {0, FS_PT, FS_PD, FS_PDP, FS_ROOT};
    struct nested nested;

    (void)state;
    start(&nested, "");
    for (unsigned int level = 4; level >= 1; level--) {
        guest_change(&nested.guest, second_leaf(&nested, tables[level]), SS_W, 0);
        guest_read_faults(&nested.guest, GUEST_IOVA, 0x77);
        guest_change(&nested.guest, first_entry(level), 0, FS_A);
    }
    /* With all accessed bits set there is nothing to write, but for the dirty bit. */
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    guest_write_faults(&nested.guest, GUEST_IOVA, 0x77);
    guest_change(&nested.guest, first_entry(1), 0, FS_D);
    guest_writes(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    end(&nested);
}

static void tables_without_memory(void **state)
{
    struct nested nested;
    uint64_t leaf;

    (void)state;
    start(&nested, "");
    leaf = second_leaf(&nested, FS_ROOT);
    store64(&nested.guest.machine, leaf, GUEST_NOWHERE | SS_RW);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x73);
    store64(&nested.guest.machine, leaf, (SHIFT + FS_ROOT) | SS_RW);
    leaf = second_leaf(&nested, FS_PD);
    store64(&nested.guest.machine, leaf, GUEST_NOWHERE | SS_RW);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x70);
    store64(&nested.guest.machine, leaf, (SHIFT + FS_PD) | SS_RW);
    /* And the second stage's own tables. */
    guest_change(&nested.guest, guest_entry(&nested.guest, nested.second, 4, 0, 3), ~SS_RW,
                 GUEST_NOWHERE);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x78);
    nested.second = GUEST_NOWHERE;
    point(&nested, 0, PASID_PWSNP, 0);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x7b);
    end(&nested);
}

static void second_stage_dirty(void **state)
{
    static const uint64_t pages[] = {FS_PT, FS_PD, FS_PDP, FS_ROOT};
    struct nested nested;

    (void)state;
    start(&nested, "ad=on");
    point(&nested, PASID_SSADE, PASID_PWSNP, 0);
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    for (size_t i = 0; i < SPEC_COUNT(pages); i++)
        assert_int_equal(load64(&nested.guest.machine, second_leaf(&nested, pages[i])) &
                             (SS_A | SS_D),
                         SS_A | SS_D);
    assert_int_equal(load64(&nested.guest.machine, second_leaf(&nested, FS_PAGE)) & (SS_A | SS_D),
                     SS_A);
    guest_writes(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    assert_int_equal(load64(&nested.guest.machine, second_leaf(&nested, FS_PAGE)) & (SS_A | SS_D),
                     SS_A | SS_D);
    end(&nested);
}

static void second_stage_dirty_needs_write(void **state)
{
    struct nested nested;

    (void)state;
    start(&nested, "ad=on");
    point(&nested, PASID_SSADE, PASID_PWSNP, 0);
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    guest_change(&nested.guest, second_leaf(&nested, FS_PD), SS_W, 0);
    guest_flush(&nested.guest);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x77);
    end(&nested);
}

static void output_in_interrupt_range(void **state)
{
    struct nested nested;

    (void)state;
    start(&nested, "");
    store64(&nested.guest.machine, second_leaf(&nested, FS_PAGE), 0xfee00000 | SS_RW);
    guest_read_faults(&nested.guest, GUEST_IOVA, 0x87);
    /* In between the stages the range is an address like any other. */
    guest_map(&nested.guest, nested.second, 4, 0xfee00000, 1, (SHIFT + FS_PAGE) | SS_RW, SS_RW);
    store64(&nested.guest.machine, first_entry(1), 0xfee00000 | FS_ALL);
    guest_reads(&nested.guest, GUEST_IOVA, SHIFT + FS_PAGE);
    end(&nested);
}

/* What the IOTLB must know, to drop it when it should. */
static void cache_tags(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct dma_translation translation;
    struct nested nested;

    (void)state;
    start(&nested, "");
    request.address = GUEST_IOVA;
    request.length = 8;
    request.access = VIOMMU_DMA_READ;
    rcu_enter();
    vtd_translate(vtd_of(nested.guest.machine.viommu), &request, &translation);
    rcu_exit();
    assert_int_equal(translation.status, VIOMMU_DMA_OK);
    assert_int_equal(translation.domain, GUEST_DOMAIN);
    assert_true(translation.nested);
    assert_false(translation.fractured);
    assert_false(translation.uncacheable);
    store64(&nested.guest.machine, first_entry(2), FS_PS | FS_ALL);
    request.address = GUEST_IOVA & ~UINT64_C(0x1fffff);
    rcu_enter();
    vtd_translate(vtd_of(nested.guest.machine.viommu), &request, &translation);
    rcu_exit();
    assert_true(translation.fractured);
    end(&nested);
}

/* The address in the record is the device's, not the one at which the second stage failed. */
static void fault_address(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA + 0xabc);
    struct nested nested;

    (void)state;
    start(&nested, "");
    store64(&nested.guest.machine, second_leaf(&nested, FS_PT), 0);
    dma.access = VIOMMU_DMA_WRITE;
    guest_faults(&nested.guest, &dma, 0x79);
    end(&nested);
}

static const struct spec_rule rules[] = {
    {"VTD-3.8-1", "3.8", "Each address of the first stage goes through the second stage.",
     both_stages},
    {"VTD-3.8-2", "3.8", "The smaller of both pages is the translation's.", smaller_page_counts},
    {"VTD-3.8.1-final", "3.8.1", "An access needs the rights of both stages.", rights_of_both},
    {"VTD-3.8-faults", "3.8", "The first stage's faults are as without nesting.",
     first_stage_faults},
    {"VTD-7.1.3-SFS.5", "7.1.3", "A first-stage address beyond the second stage is fault 74h.",
     addresses_beyond_second_stage},
    {"VTD-7.1.3-SSS-nested", "7.1.3",
     "Second-stage faults at first-stage tables are second-stage faults.", tables_not_mapped},
    {"VTD-7.1.3-SFS.6,SFS.7", "7.1.3",
     "A first-stage table that may not be read is fault 75h, 76h.", tables_not_readable},
    {"VTD-7.1.3-SFS.8", "7.1.3",
     "A first-stage table that may not be written, while a bit must be set, is fault 77h.",
     tables_not_writable},
    {"VTD-7.1.3-SFS.4-nested", "7.1.3", "Tables of either stage without memory.",
     tables_without_memory},
    {"VTD-3.8.1-SSADE", "3.8.1", "With SSADE, using a first-stage table dirties its page.",
     second_stage_dirty},
    {"VTD-3.8.1-SSADE-write", "3.8.1",
     "With SSADE, reading a first-stage table needs the right to write.",
     second_stage_dirty_needs_write},
    {"VTD-6.2.1-nested", "6.2.1", "A nested translation is tagged as such, and with its domain.",
     cache_tags},
    {"VTD-3.15-nested", "3.15", "Only the final address is checked for the interrupt range.",
     output_in_interrupt_range},
    {"VTD-11.4.7.6-FI", "11.4.7.6", "A fault record tells the address that the device used.",
     fault_address},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
