/* SPDX-License-Identifier: MIT */
/*
 * What drivers do to a unit that is in use: suspend and resume, register by register as Linux does
 * (iommu_suspend(), iommu_resume()), and taking a unit over from a kernel that left it translating
 * (kexec, kdump).
 */
#include <string.h>

#include "descriptors.h"
#include "traffic.h"

#define OTHER_ROOT  0x24000u
#define OTHER_TABLE 0x25000u
#define OTHER_QUEUE 0x28000u /* a page */
#define MSI_ADDRESS 0xfee01000u
#define MSI_DATA    0x4031u

/* FECTL, FEDATA, FEADDR, FEUADDR, in the order in which Linux saves and restores them. */
static const unsigned int saved_registers[] = {VTD_FECTL, VTD_FEDATA, VTD_FEADDR, VTD_FEUADDR};

struct saved {
    uint32_t values[SPEC_COUNT(saved_registers)];
};

static void order(struct machine *machine, uint32_t command, uint32_t status)
{
    write32(machine, VTD_GCMD, command);
    assert_int_equal(read32(machine, VTD_GSTS) & status, status);
}

static void invalidate_globally(struct traffic *traffic)
{
    struct assigned *assigned = &traffic->assigned;

    assigned_context(assigned, CONTEXT_GLOBAL, 0, 0, 0);
    assigned_wait(assigned);
    if (traffic->ttm == TTM_SCALABLE) {
        assigned_pasid_cache(assigned, PASID_GLOBAL, 0, 0);
        assigned_wait(assigned);
    }
    assigned_iotlb(assigned, IOTLB_GLOBAL, 0, 0, 0);
    assigned_wait(assigned);
}

static void suspend_unit(struct traffic *traffic, struct saved *saved)
{
    struct machine *machine = &traffic->assigned.guest.machine;

    invalidate_globally(traffic);
    write32(machine, VTD_GCMD, (uint32_t)VTD_GCMD_QIE);
    assert_int_equal(read32(machine, VTD_GSTS) & VTD_GSTS_TES, 0);
    for (unsigned int i = 0; i < SPEC_COUNT(saved_registers); i++)
        saved->values[i] = read32(machine, saved_registers[i]);
}

/* dmar_disable_qi() and __dmar_enable_qi(): a driver that finds the queue on switches it off first.
 */
static void enable_queue_anew(struct machine *machine, uint64_t iqa, uint32_t stays)
{
    assert_int_equal(read64(machine, VTD_IQH), read64(machine, VTD_IQT));
    if (read32(machine, VTD_GSTS) & VTD_GSTS_QIES) {
        write32(machine, VTD_GCMD, stays);
        assert_int_equal(read32(machine, VTD_GSTS) & VTD_GSTS_QIES, 0);
    }
    write32(machine, VTD_IQT, 0);
    write64(machine, VTD_IQA, iqa);
    order(machine, stays | (uint32_t)VTD_GCMD_QIE, (uint32_t)VTD_GSTS_QIES);
}

static void resume_unit(struct traffic *traffic, const struct saved *saved)
{
    struct machine *machine = &traffic->assigned.guest.machine;

    enable_queue_anew(machine, ASSIGNED_QUEUE | VTD_IQA_DW | 1, 0);
    write64(machine, VTD_RTADDR, GUEST_ROOT | traffic->ttm);
    order(machine, (uint32_t)(VTD_GCMD_QIE | VTD_GCMD_SRTP), (uint32_t)VTD_GSTS_RTPS);
    invalidate_globally(traffic);
    order(machine, (uint32_t)(VTD_GCMD_QIE | VTD_GCMD_TE), (uint32_t)VTD_GSTS_TES);
    for (unsigned int i = 0; i < SPEC_COUNT(saved_registers); i++)
        write32(machine, saved_registers[i], saved->values[i]);
}

/* A fault of an emulated function is told by the MSI that the driver had set up. */
static void faults_are_told(struct traffic *traffic)
{
    struct machine *machine = &traffic->assigned.guest.machine;
    unsigned int before = machine->msi_count;
    struct viommu_dma_result result;
    uint64_t value;

    assert_int_not_equal(machine_read(machine, 2, GUEST_IOVA + 0x5000, &value, &result), 0);
    assert_int_equal(machine->msi_count, before + 1);
    assert_int_equal(machine->msi[before % MACHINE_MSI_MAX].address, MSI_ADDRESS);
    assert_int_equal(machine->msi[before % MACHINE_MSI_MAX].data, MSI_DATA);
    assigned_clear_faults(&traffic->assigned);
}

static void stop_all(struct traffic *traffic)
{
    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++)
        traffic_stop(traffic, i);
}

static void all_arrive(struct traffic *traffic, uint64_t page)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);

    for (unsigned int i = 0; i < ASSIGNED_DEVICES; i++)
        assigned_arrives_pasid(&traffic->assigned, i, traffic->device[i].pasid, GUEST_IOVA, page);
    for (dma.device = ASSIGNED_DEVICES; dma.device < TRAFFIC_DEVICES; dma.device++)
        guest_arrives(&traffic->assigned.guest, &dma, page);
}

static uint64_t translation_enables(struct machine *machine)
{
    struct viommu_stats stats = {.size = sizeof(stats)};

    viommu_get_stats(machine->viommu, &stats);
    return stats.translation_enables;
}

/* Suspend-to-idle keeps the unit's power; in S3 it is lost, and all registers with it. */
static void suspend_and_resume(enum traffic_mode mode, bool power_is_lost)
{
    struct traffic traffic;
    struct machine *machine = &traffic.assigned.guest.machine;
    uint64_t enables;
    struct saved saved;

    traffic_create(&traffic, mode);
    enables = translation_enables(machine);
    stop_all(&traffic);
    write32(machine, VTD_FEDATA, MSI_DATA);
    write32(machine, VTD_FEADDR, MSI_ADDRESS);
    write32(machine, VTD_FECTL, 0);
    faults_are_told(&traffic);
    for (unsigned int i = 0; i < 3; i++) {
        suspend_unit(&traffic, &saved);
        assert_false(assigned_reads(&traffic.assigned, 0, GUEST_IOVA));
        if (power_is_lost)
            viommu_reset(machine->viommu);
        resume_unit(&traffic, &saved);
        all_arrive(&traffic, PAGE_A);
        traffic_move(&traffic, PAGE_B);
        all_arrive(&traffic, PAGE_B);
        traffic_move(&traffic, PAGE_A);
        faults_are_told(&traffic);
    }
    assert_int_equal(translation_enables(machine), enables + 3);
    traffic_destroy(&traffic);
}

static void resume_with_power(void **state)
{
    (void)state;
    for (enum traffic_mode mode = 0; mode < TRAFFIC_MODES; mode++)
        suspend_and_resume(mode, false);
}

static void resume_without_power(void **state)
{
    (void)state;
    for (enum traffic_mode mode = 0; mode < TRAFFIC_MODES; mode++)
        suspend_and_resume(mode, true);
}

/* ---- Another kernel takes over */

/* copy_translation_tables(): root and context tables anew, all else is still the old kernel's. */
static void copy_tables(struct machine *machine)
{
    memset(machine->ram + OTHER_ROOT, 0, 4096);
    memcpy(machine->ram + OTHER_TABLE, machine->ram + GUEST_CONTEXT, 4096);
    store64(machine, OTHER_ROOT, OTHER_TABLE | 1);
    store64(machine, OTHER_ROOT + 8, load64(machine, GUEST_ROOT + 8));
}

static void take_over(struct traffic *traffic)
{
    struct machine *machine = &traffic->assigned.guest.machine;
    uint32_t on = (uint32_t)VTD_GCMD_TE;

    enable_queue_anew(machine, OTHER_QUEUE | (traffic->ttm == TTM_SCALABLE ? VTD_IQA_DW : 0), on);
    copy_tables(machine);
    write64(machine, VTD_RTADDR, OTHER_ROOT | traffic->ttm);
    order(machine, on | (uint32_t)(VTD_GCMD_QIE | VTD_GCMD_SRTP), (uint32_t)VTD_GSTS_RTPS);
    invalidate_globally(traffic);
    memset(machine->ram + GUEST_ROOT, 0xff, 4096);
    memset(machine->ram + GUEST_CONTEXT, 0xff, 4096);
}

/* The devices of the old kernel work on, and no write of theirs is lost or misled meanwhile. */
static void take_over_while_dma_runs(enum traffic_mode mode)
{
    struct traffic traffic;
    struct assigned *assigned = &traffic.assigned;

    traffic_create(&traffic, mode);
    traffic_await_arrivals(&traffic, 2);
    take_over(&traffic);
    traffic_await_arrivals(&traffic, 2);
    stop_all(&traffic);
    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++)
        if (traffic.device[i].tries != traffic.device[i].arrived)
            fail_msg("device %u of mode %u lost DMA; the log: %s", i, mode,
                     assigned->guest.machine.log);
    traffic_move(&traffic, PAGE_B);
    all_arrive(&traffic, PAGE_B);
    traffic_destroy(&traffic);
}

static void translation_is_taken_over(void **state)
{
    (void)state;
    for (enum traffic_mode mode = 0; mode < TRAFFIC_MODES; mode++)
        take_over_while_dma_runs(mode);
}

static void bind_all(struct traffic *traffic, enum traffic_mode mode, uint64_t page)
{
    struct assigned *assigned = &traffic->assigned;

    memset(assigned->guest.machine.ram + GUEST_CONTEXT, 0, 4096);
    traffic->mode = mode;
    traffic->ttm = mode == TRAFFIC_LEGACY ? TTM_LEGACY : TTM_SCALABLE;
    traffic->root = mode == TRAFFIC_LEGACY ? assigned_second_stage(assigned, GUEST_IOVA, page)
                                           : assigned_first_stage(assigned, GUEST_IOVA, page);
    for (unsigned int i = 0; i < TRAFFIC_DEVICES; i++) {
        if (mode == TRAFFIC_LEGACY)
            guest_legacy(&assigned->guest, i, 0, 2, traffic->root);
        else
            assigned_bind(assigned, i, 0, traffic->root, GUEST_DOMAIN);
    }
}

/*
 * A kernel of the other mode finds translation on, cannot copy the tables, and switches it off and
 * on. The one after it, booted with intel_iommu=off, leaves it off.
 */
static void mode_changes(void **state)
{
    static const enum traffic_mode modes[] = {TRAFFIC_LEGACY, TRAFFIC_NESTED, TRAFFIC_LEGACY};
    struct traffic traffic;
    struct assigned *assigned = &traffic.assigned;
    struct machine *machine = &assigned->guest.machine;

    (void)state;
    traffic_create(&traffic, TRAFFIC_NESTED);
    stop_all(&traffic);
    for (unsigned int i = 0; i < SPEC_COUNT(modes); i++) {
        uint64_t page = i % 2 ? PAGE_A : PAGE_B;

        enable_queue_anew(machine, ASSIGNED_QUEUE | VTD_IQA_DW | 1, (uint32_t)VTD_GCMD_TE);
        write32(machine, VTD_GCMD, (uint32_t)VTD_GCMD_QIE);
        assert_int_equal(read32(machine, VTD_GSTS) & VTD_GSTS_TES, 0);
        assert_false(assigned_reads(assigned, 0, GUEST_IOVA));
        bind_all(&traffic, modes[i], page);
        write64(machine, VTD_RTADDR, GUEST_ROOT | traffic.ttm);
        order(machine, (uint32_t)(VTD_GCMD_QIE | VTD_GCMD_SRTP), (uint32_t)VTD_GSTS_RTPS);
        invalidate_globally(&traffic);
        order(machine, (uint32_t)(VTD_GCMD_QIE | VTD_GCMD_TE), (uint32_t)VTD_GSTS_TES);
        all_arrive(&traffic, page);
    }
    write32(machine, VTD_GCMD, 0);
    assert_int_equal(read32(machine, VTD_GSTS) & (VTD_GSTS_TES | VTD_GSTS_QIES), 0);
    assigned_arrives(assigned, 0, PAGE_A, PAGE_A);
    traffic_destroy(&traffic);
}

/*
 * 11.4.5: a driver must not change the mode with translation on. The new mode holds from SRTP on,
 * and nothing else happens.
 */
static void mode_changes_with_translation_on(void **state)
{
    struct traffic traffic;
    struct assigned *assigned = &traffic.assigned;
    struct machine *machine = &assigned->guest.machine;

    (void)state;
    traffic_create(&traffic, TRAFFIC_NESTED);
    stop_all(&traffic);
    for (unsigned int i = 0; i < 4; i++) {
        enum traffic_mode mode = i % 2 ? TRAFFIC_NESTED : TRAFFIC_LEGACY;

        bind_all(&traffic, mode, PAGE_B);
        machine_set_root(machine, GUEST_ROOT | traffic.ttm);
        assert_int_equal(read32(machine, VTD_GSTS) & VTD_GSTS_TES, VTD_GSTS_TES);
        all_arrive(&traffic, PAGE_B);
    }
    traffic_destroy(&traffic);
}

static const struct spec_rule rules[] = {
    {"VTD-LIFE-SUSPEND-1", "11.4.4",
     "Suspend and resume as drivers do it, the unit keeping its power: DMA, invalidations and fault "
     "events are as before.",
     resume_with_power},
    {"VTD-LIFE-SUSPEND-2", "11.4.4", "The same when the unit has lost all its registers.",
     resume_without_power},
    {"VTD-LIFE-KEXEC-1", "11.4.5",
     "A root table pointer changed to equal tables, with translation on, loses no DMA.",
     translation_is_taken_over},
    {"VTD-LIFE-KEXEC-2", "11.4.5",
     "A unit goes from legacy to scalable mode, back, and off, with the queue taken over each time.",
     mode_changes},
    {"VTD-LIFE-KEXEC-3", "11.4.5",
     "A mode changed with translation on holds from the root table pointer on.",
     mode_changes_with_translation_on},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
