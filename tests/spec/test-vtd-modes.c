/* SPDX-License-Identifier: MIT */
/* Translation table modes, pass-through, translation off, kinds of requests, the interrupt range.
 */
#include "base/rcu.h"
#include "guest_tables.h"
#include "model/vtd/vtd.h"

#define BIT(n) (UINT64_C(1) << (n))

static const uint64_t all_modes[] = {TTM_LEGACY, TTM_SCALABLE};

static void start(struct guest *guest, const char *properties)
{
    guest_create(guest, properties);
}

/* Pass-through for device 0, in either mode. */
static void pass_through(struct guest *guest, uint64_t ttm, unsigned int aw)
{
    if (ttm == TTM_LEGACY) {
        guest_legacy(guest, 0, 2, aw, 0);
    } else {
        guest_scalable(guest, 0, 8);
        guest_pasid(guest, 0, PASID_PGTT(4), GUEST_DOMAIN, 0);
        guest_pasid(guest, 5, PASID_PGTT(4), GUEST_DOMAIN, 0);
    }
    guest_on(guest, ttm);
}

static void off_is_identity(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_DATA);
    struct guest guest;

    (void)state;
    start(&guest, "pasid-bits=20");
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_writes(&guest, 0x123450, 0x123450);
    dma.pasid = 77;
    guest_arrives(&guest, &dma, GUEST_DATA);
    guest_destroy(&guest);
}

/* What was cached while translation was off must not outlive its being switched on, and back. */
static void on_drops_identity(void **state)
{
    struct guest guest;

    (void)state;
    start(&guest, "");
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    store64(&guest.machine, GUEST_ROOT, 0);
    guest_on(&guest, TTM_LEGACY);
    guest_read_faults(&guest, GUEST_DATA, 0x01);
    machine_enable(&guest.machine, false);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    machine_enable(&guest.machine, true);
    guest_read_faults(&guest, GUEST_DATA, 0x01);
    guest_destroy(&guest);
}

static void new_root_drops_all(void **state)
{
    struct guest guest;

    (void)state;
    start(&guest, "pasid-bits=20");
    pass_through(&guest, TTM_LEGACY, 2);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    machine_set_root(&guest.machine, guest_page(&guest));
    guest_read_faults(&guest, GUEST_DATA, 0x01);
    guest_destroy(&guest);
}

static void abort_mode(void **state)
{
    struct guest guest;

    (void)state;
    start(&guest, "");
    pass_through(&guest, TTM_LEGACY, 2);
    guest_on(&guest, TTM_ABORT);
    guest_read_faults(&guest, GUEST_DATA, 0x33);
    guest_write_faults(&guest, GUEST_DATA, 0x33);
    guest_destroy(&guest);
}

static void modes_not_supported(void **state)
{
    struct guest guest;

    (void)state;
    start(&guest, "");
    guest_on(&guest, TTM_RESERVED);
    guest_read_faults(&guest, GUEST_DATA, 0x30);
    guest_destroy(&guest);
    /* Without scalable mode the field is reserved, and the mode stays legacy. */
    start(&guest, "scalable=off,first-stage=off");
    pass_through(&guest, TTM_LEGACY, 2);
    guest_on(&guest, TTM_SCALABLE);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void pass_through_identity(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        struct guest guest;

        start(&guest, "pasid-bits=20");
        pass_through(&guest, all_modes[i], 2);
        guest_reads(&guest, GUEST_DATA + 0x18, GUEST_DATA + 0x18);
        guest_writes(&guest, 0xfff000, 0xfff000);
        guest_destroy(&guest);
    }
}

static void pass_through_rights(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_DATA);
    struct guest guest;

    (void)state;
    start(&guest, "pasid-bits=20,execute=on,supervisor=on");
    dma.pasid = 5;
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE;
    guest_arrives(&guest, &dma, GUEST_DATA);
    pass_through(&guest, TTM_SCALABLE, 0);
    guest_faults(&guest, &dma, 0x5c);
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_PRIVILEGED;
    guest_faults(&guest, &dma, 0x5d);
    guest_pasid(&guest, 5, PASID_PGTT(4), GUEST_DOMAIN, PASID_ERE | PASID_SRE);
    guest_arrives(&guest, &dma, GUEST_DATA);
    dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE;
    assert_true(guest_arrives(&guest, &dma, GUEST_DATA).permissions & VIOMMU_DMA_EXECUTE);
    guest_destroy(&guest);
}

/* The interrupt range is no page that could be cached, also while translation is off. */
static void interrupt_range_while_off(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct dma_translation translation;
    struct guest guest;

    (void)state;
    start(&guest, "");
    request.address = 0xfee00000;
    request.length = 4;
    request.access = VIOMMU_DMA_READ;
    rcu_enter();
    vtd_translate(vtd_of(guest.machine.viommu), &request, &translation);
    assert_int_equal(translation.status, VIOMMU_DMA_OK);
    assert_true(translation.uncacheable);
    request.address = 0xfed00000;
    vtd_translate(vtd_of(guest.machine.viommu), &request, &translation);
    rcu_exit();
    assert_false(translation.uncacheable);
    assert_int_equal(translation.gpa + (UINT64_C(1) << translation.granule_log2), 0xfee00000);
    guest_destroy(&guest);
}

static void pass_through_width(void **state)
{
    struct guest_dma dma = DMA_AT(BIT(40) - 4096);
    struct viommu_dma_result result;
    struct guest guest;

    (void)state;
    start(&guest, "haw=40,pasid-bits=20");
    pass_through(&guest, TTM_LEGACY, 2);
    guest_read_faults(&guest, BIT(40), 0x04);
    guest_dma(&guest, &dma, &result);
    assert_int_equal(result.status, VIOMMU_DMA_NO_MEMORY);
    pass_through(&guest, TTM_LEGACY, 1);
    guest_read_faults(&guest, BIT(39), 0x04);
    pass_through(&guest, TTM_SCALABLE, 0);
    guest_read_faults(&guest, BIT(40), 0x83);
    guest_read_faults(&guest, BIT(63), 0x83);
    guest_dma(&guest, &dma, &result);
    assert_int_equal(result.status, VIOMMU_DMA_NO_MEMORY);
    guest_destroy(&guest);
}

/* What has no memory behind it is not the IOMMU's business. */
static void no_memory_is_no_fault(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_NOWHERE);
    struct viommu_dma_result result;
    struct guest guest;

    (void)state;
    start(&guest, "pasid-bits=20");
    pass_through(&guest, TTM_SCALABLE, 0);
    guest_dma(&guest, &dma, &result);
    assert_int_equal(result.status, VIOMMU_DMA_NO_MEMORY);
    assert_int_equal(result.fault_code, 0);
    assert_int_equal(read32(&guest.machine, 0x34), 0);
    guest_destroy(&guest);
}

static void translation_requests(void **state)
{
    static const uint8_t reasons[] = {0x0d, 0x44};
    static const uint8_t types[] = {VIOMMU_DMA_TRANSLATION_REQUEST, VIOMMU_DMA_TRANSLATED};

    (void)state;
    for (unsigned int i = 0; i < 4; i++) {
        struct guest_dma dma = DMA_AT(GUEST_DATA);
        struct guest guest;

        start(&guest, "pasid-bits=20");
        pass_through(&guest, all_modes[i & 1], 2);
        dma.type = types[i >> 1];
        guest_faults(&guest, &dma, reasons[i & 1]);
        if (i & 1) {
            dma.pasid = 5;
            guest_faults(&guest, &dma, 0x44);
            /* DTE is looked at before the PASID entry. */
            store64(&guest.machine, GUEST_PASIDS, 0);
            guest_faults(&guest, &dma, 0x44);
        }
        guest_destroy(&guest);
    }
}

static void translation_requests_while_off(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_DATA);
    struct viommu_dma_result result;
    struct guest guest;

    (void)state;
    start(&guest, "");
    dma.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    assert_int_not_equal(guest_dma(&guest, &dma, &result), 0);
    assert_int_equal(result.status, VIOMMU_DMA_UNSUPPORTED);
    assert_int_equal(read32(&guest.machine, 0x34), 0);
    guest_destroy(&guest);
}

static void interrupt_status(struct guest *guest, const struct guest_dma *dma)
{
    struct viommu_dma_result result;

    assert_int_not_equal(guest_dma(guest, dma, &result), 0);
    assert_int_equal(result.status, VIOMMU_DMA_INTERRUPT_RANGE);
    assert_int_equal(result.fault_code, 0);
    assert_int_equal(read32(&guest->machine, 0x34), 0);
}

/* A write of one DWORD is an interrupt in every mode, whatever the tables say. */
static void interrupts_are_not_memory(void **state)
{
    static const uint64_t modes[] = {TTM_LEGACY, TTM_SCALABLE, TTM_ABORT};
    struct guest_dma dma = DMA_AT(0xfee00000);
    struct guest guest;

    (void)state;
    start(&guest, "pasid-bits=20");
    dma.access = VIOMMU_DMA_WRITE;
    dma.length = 4;
    interrupt_status(&guest, &dma);
    for (unsigned int i = 0; i < 3; i++) {
        store64(&guest.machine, GUEST_ROOT, 0);
        guest_on(&guest, modes[i]);
        dma.address = 0xfee00000;
        interrupt_status(&guest, &dma);
        dma.address = 0xfeeffffc;
        interrupt_status(&guest, &dma);
    }
    guest_destroy(&guest);
}

static void illegal_in_interrupt_range(void **state)
{
    static const uint8_t reasons[] = {0x0e, 0x87};

    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        struct guest_dma dma = DMA_AT(0xfee00000);
        struct guest guest;

        start(&guest, "pasid-bits=20");
        pass_through(&guest, all_modes[i], 2);
        guest_faults(&guest, &dma, reasons[i]);
        dma.length = 4;
        guest_faults(&guest, &dma, reasons[i]);
        dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
        guest_faults(&guest, &dma, reasons[i]);
        dma.access = VIOMMU_DMA_WRITE;
        dma.length = 8;
        guest_faults(&guest, &dma, reasons[i]);
        dma.length = 4;
        dma.address = 0xfee00002;
        guest_faults(&guest, &dma, reasons[i]);
        /* That there is no entry comes first. */
        dma.device = 1;
        guest_faults(&guest, &dma, i ? 0x41 : 0x02);
        guest_destroy(&guest);
    }
}

static void interrupt_range_with_pasid(void **state)
{
    struct guest_dma dma = DMA_AT(0xfee00000);
    struct guest guest;
    uint64_t root;

    (void)state;
    start(&guest, "pasid-bits=20");
    pass_through(&guest, TTM_SCALABLE, 0);
    dma.pasid = 5;
    dma.length = 4;
    dma.access = VIOMMU_DMA_WRITE;
    guest_faults(&guest, &dma, 0x87);
    root = guest_page(&guest);
    guest_map(&guest, root, 4, dma.address, 1, GUEST_DATA | FS_ALL, FS_ALL);
    guest_pasid(&guest, 5, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root);
    guest_flush(&guest);
    guest_arrives(&guest, &dma, GUEST_DATA);
    guest_destroy(&guest);
}

/* A cached large page around the range must not make memory of an interrupt. */
static void interrupts_beside_large_pages(void **state)
{
    struct guest_dma dma = DMA_AT(0xfee00000);
    struct guest guest;
    uint64_t root;

    (void)state;
    start(&guest, "pasid-bits=20");
    pass_through(&guest, TTM_SCALABLE, 0);
    root = guest_page(&guest);
    guest_map(&guest, root, 4, 0xc0000000, 3, FS_PS | FS_ALL, FS_ALL);
    guest_pasid(&guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root);
    guest_flush(&guest);
    guest_writes(&guest, 0xc0001000, 0x1000);
    dma.access = VIOMMU_DMA_WRITE;
    dma.length = 4;
    interrupt_status(&guest, &dma);
    guest_destroy(&guest);
}

static void requester_is_the_function(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    struct guest guest;
    uint64_t value;

    (void)state;
    start(&guest, "pasid-bits=20");
    pass_through(&guest, TTM_LEGACY, 2);
    request.address = GUEST_DATA;
    request.length = 8;
    request.access = VIOMMU_DMA_READ;
    request.requester_id = 0; /* device 0's, but it is device 3 that asks */
    assert_int_not_equal(
        viommu_dma_read(viommu_pci_device_get_address_space(guest.machine.device[3]), &request,
                        &value, &result),
        0);
    assert_int_equal(result.fault_code, 0x02);
    guest_destroy(&guest);
}

static void walks_are_counted(void **state)
{
    struct viommu_stats stats = {.size = sizeof(stats)};
    struct guest guest;

    (void)state;
    start(&guest, "pasid-bits=20");
    pass_through(&guest, TTM_LEGACY, 2);
    for (unsigned int i = 0; i < 10; i++)
        guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    viommu_get_stats(guest.machine.viommu, &stats);
    assert_int_equal(stats.walks, 1);
    assert_int_equal(stats.assigned_emulated, 0);
    guest_destroy(&guest);
}

static const struct spec_rule rules[] = {
    {"VTD-3.4-off", "3.4", "While translation is off, addresses are not translated.",
     off_is_identity},
    {"VTD-11.4.4-TE", "11.4.4", "Switching translation on or off takes effect at once.",
     on_drops_identity},
    {"VTD-6.6-1", "6.6", "With ESRTPS a new root table drops what is cached.", new_root_drops_all},
    {"VTD-7.1.3-RTA.4", "3.4.4", "Abort-DMA mode refuses all: fault 33h.", abort_mode},
    {"VTD-7.1.3-RTA.1.2", "11.4.5", "The reserved mode is fault 30h.", modes_not_supported},
    {"VTD-3.9-1", "3.9", "Pass-through gives back the address.", pass_through_identity},
    {"VTD-3.9-2", "3.9", "Pass-through checks no rights but SRE and ERE.", pass_through_rights},
    {"VTD-3.15-off", "3.15", "While translation is off, the interrupt range is kept apart as well.",
     interrupt_range_while_off},
    {"VTD-7.1.3-LGN.1.3,SGN.4", "3.9",
     "Pass-through beyond HAW is fault 83h; in legacy mode 04h, also beyond AW.",
     pass_through_width},
    {"VTD-7.1.3-none", "7.1.3", "A translated address without memory is no translation fault.",
     no_memory_is_no_fault},
    {"VTD-7.1.3-LCT.5,SCT.5", "7.1.3",
     "Translation and translated requests without device TLBs are fault 0Dh, 44h.",
     translation_requests},
    {"VTD-4.1-off", "4.1", "While translation is off they are refused without a fault.",
     translation_requests_while_off},
    {"VTD-3.15-interrupt", "3.15", "A DWORD written to FEEx_xxxx without PASID is an interrupt.",
     interrupts_are_not_memory},
    {"VTD-3.15-illegal", "3.15",
     "Reads, atomics and other writes there are refused: fault 0Eh, 87h.",
     illegal_in_interrupt_range},
    {"VTD-3.15-PASID", "3.15",
     "With PASID the range is translated like any other, but not by pass-through.",
     interrupt_range_with_pasid},
    {"VTD-3.15-cached", "3.15", "A cached large page around the range does not cover it.",
     interrupts_beside_large_pages},
    {"VTD-3.4.1-1", "3.4.1", "A function's requests carry its own requester ID.",
     requester_is_the_function},
    {"VTD-6.2-1", "6.2", "A translation is walked once, then cached.", walks_are_counted},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
