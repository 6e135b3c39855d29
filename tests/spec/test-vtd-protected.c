/* SPDX-License-Identifier: MIT */
/*
 * What blocks DMA as a whole: protected memory regions (for DMA that no table translates), and
 * abort-DMA mode.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "assigned.h"
#include "model/vtd/register_map.h"

#define MIB(n) ((uint64_t)(n) << 20)
/* Protected in most tests: 2 MiB units 2 and 3. */
#define LOW_BASE  MIB(4)
#define LOW_LIMIT MIB(6)
#define LOW_LAST  (MIB(8) - 1)

static void protect(struct machine *machine, uint64_t base, uint64_t limit)
{
    write32(machine, VTD_PLMBASE, (uint32_t)base);
    write32(machine, VTD_PLMLIMIT, (uint32_t)limit);
    write64(machine, VTD_PHMBASE, MIB(2));
    write64(machine, VTD_PHMLIMIT, 0);
    write32(machine, VTD_PMEN, (uint32_t)VTD_PMEN_EPM);
}

static void start(struct guest *guest, const char *properties)
{
    guest_create(guest, properties);
    protect(&guest->machine, LOW_BASE, LOW_LIMIT);
}

/* Refused in both directions, and the guest reads nothing of it. */
static void blocked(struct guest *guest, uint64_t address)
{
    struct guest_dma dma = DMA_AT(address);

    guest_faults_silently(guest, &dma, 0);
    dma.access = VIOMMU_DMA_WRITE;
    guest_faults_silently(guest, &dma, 0);
}

static void open(struct guest *guest, uint64_t address)
{
    guest_reads(guest, address, address);
    guest_writes(guest, address, address);
}

/* The edges, from outside first: what is cached of them does not reach in. */
static void low_region_is_closed(struct guest *guest)
{
    open(guest, LOW_BASE - 8);
    open(guest, LOW_LAST + 1);
    blocked(guest, LOW_BASE);
    blocked(guest, LOW_LIMIT);
    blocked(guest, LOW_LAST - 7);
    open(guest, LOW_BASE - 4096);
}

static void discovery(void **state)
{
    struct machine machine;

    (void)state;
    machine_create(&machine, "pmr=on,haw=40");
    for (unsigned int i = 0; i < 2; i++) {
        write32(&machine, VTD_PLMBASE + i * 4, UINT32_MAX);
        assert_int_equal(read32(&machine, VTD_PLMBASE + i * 4), 0xffe00000);
        write64(&machine, VTD_PHMBASE + i * 8, UINT64_MAX);
        assert_int_equal(read64(&machine, VTD_PHMBASE + i * 8), 0xffffe00000);
    }
    machine_destroy(&machine);
}

static void status(void **state)
{
    struct machine machine;

    (void)state;
    machine_create(&machine, "pmr=on");
    write32(&machine, VTD_PMEN, (uint32_t)~VTD_PMEN_EPM);
    assert_int_equal(read32(&machine, VTD_PMEN), 0);
    write32(&machine, VTD_PMEN, UINT32_MAX);
    assert_int_equal(read32(&machine, VTD_PMEN), VTD_PMEN_EPM | VTD_PMEN_PRS);
    write32(&machine, VTD_PMEN, (uint32_t)VTD_PMEN_PRS);
    assert_int_equal(read32(&machine, VTD_PMEN), 0);
    write32(&machine, VTD_PMEN, UINT32_MAX);
    viommu_reset(machine.viommu);
    assert_int_equal(read32(&machine, VTD_PMEN), 0);
    machine_destroy(&machine);
}

static void translation_off(void **state)
{
    struct guest guest;

    (void)state;
    guest_create(&guest, "pmr=on");
    open(&guest, LOW_BASE); /* cached */
    protect(&guest.machine, LOW_BASE, LOW_LIMIT);
    low_region_is_closed(&guest);
    write32(&guest.machine, VTD_PMEN, 0);
    open(&guest, LOW_BASE);
    protect(&guest.machine, LOW_BASE, LOW_LIMIT);
    blocked(&guest, LOW_BASE);
    viommu_reset(guest.machine.viommu);
    open(&guest, LOW_BASE);
    guest_destroy(&guest);
}

static void pass_through(void **state)
{
    (void)state;
    for (unsigned int scalable = 0; scalable < 2; scalable++) {
        struct guest guest;

        start(&guest, "pmr=on,pasid-bits=20");
        if (scalable) {
            guest_scalable(&guest, 0, 0);
            guest_pasid(&guest, 0, PASID_PGTT(4), GUEST_DOMAIN, 0);
        } else {
            guest_legacy(&guest, 0, 2, 2, 0);
        }
        guest_on(&guest, scalable ? TTM_SCALABLE : TTM_LEGACY);
        low_region_is_closed(&guest);
        guest_destroy(&guest);
    }
}

/* Tables may lead there, and may lie there. */
static void translated(void **state)
{
    struct guest guest;
    uint64_t root;

    (void)state;
    guest_create(&guest, "pmr=on");
    guest.pool = LOW_BASE;
    root = guest_page(&guest);
    guest_map(&guest, root, 4, GUEST_IOVA, 1, LOW_LIMIT | SS_RW, SS_RW);
    guest_legacy(&guest, 0, 0, 2, root);
    guest_on(&guest, TTM_LEGACY);
    protect(&guest.machine, LOW_BASE, LOW_LIMIT);
    guest_reads(&guest, GUEST_IOVA, LOW_LIMIT);
    guest_writes(&guest, GUEST_IOVA, LOW_LIMIT);
    guest_destroy(&guest);
}

static void limits(void **state)
{
    struct guest guest;

    (void)state;
    guest_create(&guest, "pmr=on");
    protect(&guest.machine, LOW_BASE, LOW_BASE);
    blocked(&guest, LOW_BASE);
    blocked(&guest, LOW_BASE + MIB(2) - 8);
    open(&guest, LOW_BASE + MIB(2));
    write32(&guest.machine, VTD_PMEN, 0);
    protect(&guest.machine, LOW_BASE, LOW_BASE - MIB(2));
    open(&guest, LOW_BASE);
    open(&guest, LOW_BASE - MIB(2));
    guest_destroy(&guest);
}

/* Both regions at once; the high one may lie anywhere. */
static void high_region(void **state)
{
    const uint64_t high = UINT64_C(1) << 33;
    struct viommu_memory_range range = {.gpa = high, .size = MIB(4)};
    struct guest guest;

    (void)state;
    guest_create(&guest, "pmr=on");
    range.host = mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(range.host, MAP_FAILED);
    assert_int_equal(viommu_memory_add(guest.machine.memory, &range, NULL), 0);
    write32(&guest.machine, VTD_PLMBASE, (uint32_t)LOW_BASE);
    write32(&guest.machine, VTD_PLMLIMIT, (uint32_t)LOW_LIMIT);
    write64(&guest.machine, VTD_PHMBASE, high + MIB(2));
    write64(&guest.machine, VTD_PHMLIMIT, high + MIB(2));
    write32(&guest.machine, VTD_PMEN, (uint32_t)VTD_PMEN_EPM);
    open(&guest, high);
    blocked(&guest, high + MIB(2));
    open(&guest, high + MIB(2) - 8);
    low_region_is_closed(&guest);
    assert_int_equal(viommu_memory_remove(guest.machine.memory, high, NULL), 0);
    guest_destroy(&guest);
    munmap(range.host, range.size);
}

static void changed_while_enabled(void **state)
{
    struct guest guest;

    (void)state;
    start(&guest, "pmr=on");
    protect(&guest.machine, MIB(10), MIB(10));
    low_region_is_closed(&guest);
    open(&guest, MIB(10));
    write32(&guest.machine, VTD_PMEN, 0);
    write32(&guest.machine, VTD_PMEN, (uint32_t)VTD_PMEN_EPM);
    blocked(&guest, MIB(10));
    open(&guest, LOW_BASE);
    guest_destroy(&guest);
}

/* One request over the edge arrives up to it. */
static void over_the_edge(void **state)
{
    struct guest_dma dma = DMA_AT(LOW_BASE - 16);
    struct viommu_dma_result result;
    struct guest guest;

    (void)state;
    start(&guest, "pmr=on");
    dma.length = 32;
    assert_int_equal(guest_dma(&guest, &dma, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_BLOCKED);
    assert_int_equal(result.length, 16);
    assert_int_equal(result.fault_code, 0);
    assert_int_equal(read32(&guest.machine, VTD_FSTS), 0);
    guest_destroy(&guest);
}

/* Interrupts are no DMA to memory; what else is sent there is refused as always. */
static void interrupts(void **state)
{
    struct guest_dma dma = DMA_AT(0xfee00000);
    struct viommu_dma_result result;
    struct guest guest;

    (void)state;
    guest_create(&guest, "pmr=on,pasid-bits=20");
    protect(&guest.machine, 0xfee00000, 0xfee00000);
    dma.access = VIOMMU_DMA_WRITE;
    dma.length = 4;
    guest_dma(&guest, &dma, &result);
    assert_int_equal(result.status, VIOMMU_DMA_INTERRUPT_RANGE);
    guest_scalable(&guest, 0, UINT64_C(1) << 3);
    guest_pasid(&guest, 5, PASID_PGTT(4), GUEST_DOMAIN, 0);
    guest_on(&guest, TTM_SCALABLE);
    dma.pasid = 5;
    guest_faults(&guest, &dma, 0x87);
    guest_destroy(&guest);
}

/* Abort-DMA mode */

static void abort_without(void **state)
{
    struct guest guest;

    (void)state;
    guest_create(&guest, "abort-dma=off");
    guest_legacy(&guest, 0, 2, 2, 0);
    guest_on(&guest, TTM_ABORT);
    guest_read_faults(&guest, GUEST_DATA, 0x30);
    /* Nor does the queue work in a mode that does not exist. */
    machine_queue_start(&guest.machine, 0x20000, true);
    machine_submit(&guest.machine, 5, 0);
    assert_true(read32(&guest.machine, VTD_FSTS) & VTD_FSTS_IQE);
    assert_int_equal(read64(&guest.machine, VTD_IQERCD) & VTD_IQERCD_IQEI, VTD_QUEUE_TTM);
    guest_destroy(&guest);
}

/* With PASID, without, and whatever was cached; wide descriptors go on. */
static void abort_all(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_DATA);
    struct guest guest;

    (void)state;
    guest_create(&guest, "pasid-bits=20");
    guest_scalable(&guest, 0, UINT64_C(1) << 3);
    guest_pasid(&guest, 0, PASID_PGTT(4), GUEST_DOMAIN, 0);
    guest_pasid(&guest, 5, PASID_PGTT(4), GUEST_DOMAIN, 0);
    guest_on(&guest, TTM_SCALABLE);
    open(&guest, GUEST_DATA);
    guest_on(&guest, TTM_ABORT);
    guest_read_faults(&guest, GUEST_DATA, 0x33);
    dma.pasid = 5;
    guest_faults(&guest, &dma, 0x33);
    dma.device = 3;
    guest_faults(&guest, &dma, 0x33);
    machine_queue_start(&guest.machine, 0x20000, true);
    machine_submit(&guest.machine, 5 | UINT64_C(1) << 5 | UINT64_C(0x77) << 32, GUEST_DATA);
    assert_int_equal(load32(&guest.machine, GUEST_DATA), 0x77);
    guest_on(&guest, TTM_SCALABLE);
    open(&guest, GUEST_DATA);
    guest_destroy(&guest);
}

static void abort_on_host(void **state)
{
    struct assigned assigned;

    (void)state;
    assigned_start_nested(&assigned, "");
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    machine_set_root(&assigned.guest.machine, GUEST_ROOT | TTM_ABORT);
    assert_int_equal(assigned_census(&assigned).attachments, 0);
    assert_int_equal(assigned_census(&assigned).nested_hwpts, 0);
    assigned_faults(&assigned, 0, GUEST_IOVA, 0x33);
    assigned_faults(&assigned, 0, PAGE_A, 0x33);
    machine_set_root(&assigned.guest.machine, GUEST_ROOT | TTM_SCALABLE);
    assigned_arrives(&assigned, 0, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

static void assigned_refused(void **state)
{
    struct viommu_error error = {0};
    struct assigned assigned;

    (void)state;
    assigned_create(&assigned, NULL, "pmr=on");
    assert_int_equal(assigned_try_attach(&assigned, 0, &error), -EOPNOTSUPP);
    assert_non_null(strstr(error.message, "(pmr=off)"));
    assigned_destroy(&assigned);
}

static const struct spec_rule rules[] = {
    {"VTD-11.4.8-2", "11.4.8.2",
     "Bases and limits have units of 2 MiB: written with ones, the bits below read as 0.",
     discovery},
    {"VTD-11.4.8-3", "11.4.8.1", "PRS follows EPM, and is not written; reset disables.", status},
    {"VTD-11.4.8-4", "11.4.8.1",
     "While translation is off, DMA to an enabled region is blocked and not recorded, cached or not.",
     translation_off},
    {"VTD-11.4.8-5", "11.4.8.1", "So is pass-through, in both modes.", pass_through},
    {"VTD-11.4.8-6", "11.4.8.1", "DMA that tables translate is not, nor are the tables themselves.",
     translated},
    {"VTD-11.4.8-7", "11.4.8.3",
     "Equal base and limit are one unit; a limit below the base is no region.", limits},
    {"VTD-11.4.8-8", "11.4.8.4", "The high region is a second one, below the host address width.",
     high_region},
    {"VTD-11.4.8-9", "11.4.8.2", "Regions that are changed while enabled stay as they were.",
     changed_while_enabled},
    {"VTD-11.4.8-10", "11.4.8.1", "Of a request over the edge, the part outside arrives.",
     over_the_edge},
    {"VTD-11.4.8-11", "3.15", "Interrupts are not blocked by a region around their addresses.",
     interrupts},
    {"VTD-11.4.8-12", "11.4.8", "Assigned devices and protected memory exclude each other.",
     assigned_refused},
    {"VTD-7.1.3-RTA.1.1", "11.4.5", "Without ECAP.ADMS, mode 3 does not exist: fault 30h, IQEI 7.",
     abort_without},
    {"VTD-3.4.4-1", "3.4.4",
     "Abort-DMA mode refuses requests of all functions and PASIDs; the queue works.", abort_all},
    {"VTD-3.4.4-2", "3.4.4", "Abort-DMA mode detaches assigned devices; leaving it binds them.",
     abort_on_host},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
