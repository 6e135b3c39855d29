/* SPDX-License-Identifier: MIT */
/* Root, context, PASID directory and PASID table entries: what is found, and each way to fail. */
#include "guest_tables.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Legacy mode, device 0 with an identity page at GUEST_DATA; returns the context entry. */
static uint64_t legacy_start(struct guest *guest, const char *properties)
{
    uint64_t root, context;

    guest_create(guest, properties);
    root = guest_page(guest);
    guest_map(guest, root, 4, GUEST_DATA, 1, GUEST_DATA | SS_RW, SS_RW);
    context = guest_legacy(guest, 0, 0, 2, root);
    guest_on(guest, TTM_LEGACY);
    return context;
}

/* The same in scalable mode, by pass-through, RID_PASID 0. */
static uint64_t scalable_start(struct guest *guest, const char *properties)
{
    uint64_t context;

    guest_create(guest, properties);
    context = guest_scalable(guest, 0, 0);
    guest_pasid(guest, 0, PASID_PGTT(4), GUEST_DOMAIN, 0);
    guest_on(guest, TTM_SCALABLE);
    return context;
}

/* Each bit of the mask in turn makes the DMA fault with this reason. */
static void each_bit_faults(struct guest *guest, const struct guest_dma *dma, uint64_t where,
                            uint64_t mask, uint8_t reason)
{
    for (unsigned int bit = 0; bit < 64; bit++) {
        if (!(mask & BIT(bit)))
            continue;
        guest_change(guest, where, 0, BIT(bit));
        guest_faults(guest, dma, reason);
        guest_change(guest, where, BIT(bit), 0);
    }
}

static uint64_t bits(unsigned int high, unsigned int low)
{
    return (~UINT64_C(0) >> (63 - high)) & (~UINT64_C(0) << low);
}

static const struct guest_dma data = DMA_AT(GUEST_DATA);

static void root_without_memory(void **state)
{
    struct guest guest;

    (void)state;
    legacy_start(&guest, "");
    machine_set_root(&guest.machine, GUEST_NOWHERE | TTM_LEGACY);
    guest_read_faults(&guest, GUEST_DATA, 0x08);
    machine_set_root(&guest.machine, GUEST_NOWHERE | TTM_SCALABLE);
    guest_read_faults(&guest, GUEST_DATA, 0x38);
    guest_destroy(&guest);
}

static void root_not_present(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = legacy_start(&guest, "");
    guest_change(&guest, context, 0, 2); /* FPD does not count: the entry is not reached */
    store64(&guest.machine, GUEST_ROOT, ~UINT64_C(1));
    guest_read_faults(&guest, GUEST_DATA, 0x01);
    guest_write_faults(&guest, GUEST_DATA, 0x01);
    guest_destroy(&guest);
}

static void root_reserved(void **state)
{
    struct guest guest;

    (void)state;
    legacy_start(&guest, "");
    each_bit_faults(&guest, &data, GUEST_ROOT, bits(11, 1) | bits(63, 46), 0x0a);
    each_bit_faults(&guest, &data, GUEST_ROOT + 8, ~UINT64_C(0), 0x0a);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void context_without_memory(void **state)
{
    struct guest guest;

    (void)state;
    legacy_start(&guest, "");
    store64(&guest.machine, GUEST_ROOT, GUEST_NOWHERE | 1);
    guest_read_faults(&guest, GUEST_DATA, 0x09);
    guest_destroy(&guest);
}

static void context_not_present(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = legacy_start(&guest, "");
    guest_change(&guest, context, 1, 0);
    guest_read_faults(&guest, GUEST_DATA, 0x02);
    guest_write_faults(&guest, GUEST_DATA, 0x02);
    guest_change(&guest, context, 0, 2);
    guest_faults_silently(&guest, &data, 0x02);
    guest_destroy(&guest);
}

static void context_reserved(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = legacy_start(&guest, "");
    each_bit_faults(&guest, &data, context, bits(11, 4) | bits(63, 46), 0x0b);
    each_bit_faults(&guest, &data, context + 8, BIT(7) | bits(63, 24), 0x0b);
    guest_change(&guest, context + 8, 0, bits(6, 3)); /* ignored */
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void domain_beyond_width(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = legacy_start(&guest, "domain-bits=8");
    each_bit_faults(&guest, &data, context + 8, bits(23, 16), 0x0b);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    context = guest_scalable(&guest, 0, 0);
    guest_pasid(&guest, 0, PASID_PGTT(4), GUEST_DOMAIN, 0);
    guest_on(&guest, TTM_SCALABLE);
    each_bit_faults(&guest, &data, GUEST_PASIDS + 8, bits(15, 8), 0x5a);
    guest_destroy(&guest);
}

static void context_width(void **state)
{
    static const unsigned int unsupported[] = {0, 3, 4, 5, 6, 7};
    struct guest guest;
    uint64_t context;

    (void)state;
    context = legacy_start(&guest, "");
    for (size_t i = 0; i < SPEC_COUNT(unsupported); i++) {
        guest_change(&guest, context + 8, 7, unsupported[i]);
        guest_read_faults(&guest, GUEST_DATA, 0x03);
    }
    guest_destroy(&guest);
    context = legacy_start(&guest, "scalable=off,aw=39,haw=36");
    guest_read_faults(&guest, GUEST_DATA, 0x03);
    guest_destroy(&guest);
}

static void context_type(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = legacy_start(&guest, "pt=off");
    for (unsigned int tt = 1; tt <= 3; tt++) {
        guest_change(&guest, context, 3 << 2, tt << 2);
        guest_read_faults(&guest, GUEST_DATA, 0x03);
    }
    guest_destroy(&guest);
}

static void pass_through_ignores_pointer(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = legacy_start(&guest, "");
    guest_change(&guest, context, 3 << 2, 2 << 2 | bits(63, 12));
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void second_root_without_memory(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = legacy_start(&guest, "");
    guest_change(&guest, context, bits(63, 12), GUEST_NOWHERE);
    guest_read_faults(&guest, GUEST_DATA, 0x03);
    guest_change(&guest, context, 0, 2);
    guest_faults_silently(&guest, &data, 0x03);
    guest_destroy(&guest);
}

static void legacy_with_pasid(void **state)
{
    struct guest_dma dma = data;
    struct guest guest;

    (void)state;
    legacy_start(&guest, "pasid-bits=20");
    dma.pasid = 5;
    guest_faults(&guest, &dma, 0x31);
    guest_destroy(&guest);
}

static void each_function_has_its_own(void **state)
{
    struct guest_dma dma = data;
    struct guest guest;

    (void)state;
    legacy_start(&guest, "");
    dma.device = 3;
    guest_faults(&guest, &dma, 0x02);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void sm_root_not_present(void **state)
{
    struct guest guest;

    (void)state;
    scalable_start(&guest, "");
    store64(&guest.machine, GUEST_ROOT, ~UINT64_C(1));
    guest_read_faults(&guest, GUEST_DATA, 0x39);
    guest_destroy(&guest);
}

static void sm_root_reserved(void **state)
{
    struct guest guest;

    (void)state;
    scalable_start(&guest, "");
    each_bit_faults(&guest, &data, GUEST_ROOT, bits(11, 1) | bits(63, 46), 0x3a);
    /* The other half is of other devices. */
    store64(&guest.machine, GUEST_ROOT + 8, ~UINT64_C(0));
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void sm_root_upper_half(void **state)
{
    struct viommu_pci_device *device;
    struct guest_dma dma = data;
    struct guest guest;

    (void)state;
    scalable_start(&guest, "");
    assert_int_equal(
        viommu_pci_device_add(guest.machine.bus, VIOMMU_PCI_DEVFN(17, 2), NULL, &device, NULL), 0);
    guest.machine.device[1] = device;
    dma.device = 1;
    guest_faults(&guest, &dma, 0x41);
    store64(&guest.machine, GUEST_CONTEXT_U + (1 << 3 | 2) * 32, GUEST_DIRECTORY | 1);
    guest_arrives(&guest, &dma, GUEST_DATA);
    guest_flush(&guest);
    store64(&guest.machine, GUEST_ROOT + 8, 0);
    guest_faults(&guest, &dma, 0x39);
    guest_destroy(&guest);
}

static void sm_context_without_memory(void **state)
{
    struct guest guest;

    (void)state;
    scalable_start(&guest, "");
    store64(&guest.machine, GUEST_ROOT, GUEST_NOWHERE | 1);
    guest_read_faults(&guest, GUEST_DATA, 0x40);
    guest_destroy(&guest);
}

static void sm_context_not_present(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "");
    guest_change(&guest, context, 1, 0);
    guest_read_faults(&guest, GUEST_DATA, 0x41);
    guest_change(&guest, context, 0, 2);
    guest_faults_silently(&guest, &data, 0x41);
    guest_destroy(&guest);
}

/* Without PASID, device TLBs, page requests and host permission tables their fields are reserved.
 */
static void sm_context_reserved(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "");
    each_bit_faults(&guest, &data, context, bits(8, 2) | bits(63, 46), 0x42);
    each_bit_faults(&guest, &data, context + 8, bits(63, 20), 0x42);
    each_bit_faults(&guest, &data, context + 16, ~UINT64_C(0), 0x42);
    each_bit_faults(&guest, &data, context + 24, ~UINT64_C(0), 0x42);
    guest_destroy(&guest);
    context = scalable_start(&guest, "pasid-bits=6");
    guest_change(&guest, context, 0, 8);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void rid_pasid_too_large(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "");
    store64(&guest.machine, context + 8, 1 << 13);
    guest_read_faults(&guest, GUEST_DATA, 0x43);
    store64(&guest.machine, context + 8, (1 << 13) - 1);
    guest_read_faults(&guest, GUEST_DATA, 0x51);
    /* PDTS 1: twice as many */
    guest_change(&guest, context, 7 << 9, 1 << 9);
    store64(&guest.machine, context + 8, 1 << 14);
    guest_read_faults(&guest, GUEST_DATA, 0x43);
    guest_destroy(&guest);
}

static void rid_pasid_chooses(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "");
    store64(&guest.machine, context + 8, 9);
    guest_read_faults(&guest, GUEST_DATA, 0x59);
    guest_pasid(&guest, 9, PASID_PGTT(4), GUEST_DOMAIN, 0);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void pasid_not_enabled(void **state)
{
    struct guest_dma dma = data;
    struct guest guest;

    (void)state;
    scalable_start(&guest, "pasid-bits=20");
    dma.pasid = 5;
    guest_faults(&guest, &dma, 0x45);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
    scalable_start(&guest, "");
    guest_faults(&guest, &dma, 0x45);
    guest_destroy(&guest);
}

static void pasid_too_large(void **state)
{
    struct guest_dma dma = data;
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "pasid-bits=20");
    guest_change(&guest, context, 0, 8);
    dma.pasid = 1 << 13;
    guest_faults(&guest, &dma, 0x46);
    dma.pasid = 0xfffff;
    guest_faults(&guest, &dma, 0x46);
    guest_change(&guest, context, 0, 7 << 9);
    guest_faults(&guest, &dma, 0x51);
    guest_destroy(&guest);
}

static void pasid_beyond_unit(void **state)
{
    struct guest_dma dma = data;
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "pasid-bits=4");
    guest_change(&guest, context, 0, 8);
    guest_pasid(&guest, 15, PASID_PGTT(4), GUEST_DOMAIN, 0);
    guest_pasid(&guest, 16, PASID_PGTT(4), GUEST_DOMAIN, 0);
    dma.pasid = 15;
    guest_arrives(&guest, &dma, GUEST_DATA);
    dma.pasid = 16;
    guest_faults(&guest, &dma, 0x89);
    guest_destroy(&guest);
}

static void pasid_is_rid_pasid(void **state)
{
    struct guest_dma dma = data;
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "pasid-bits=20");
    guest_change(&guest, context, 0, 8);
    dma.pasid = 0;
    guest_faults(&guest, &dma, 0x48);
    guest_destroy(&guest);
}

static void directory_entry(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "");
    each_bit_faults(&guest, &data, GUEST_DIRECTORY, bits(11, 2) | bits(63, 46), 0x52);
    store64(&guest.machine, GUEST_DIRECTORY, ~UINT64_C(3));
    guest_read_faults(&guest, GUEST_DATA, 0x51);
    store64(&guest.machine, GUEST_DIRECTORY, 2);
    guest_faults_silently(&guest, &data, 0x51);
    guest_change(&guest, context, bits(63, 12), GUEST_NOWHERE);
    guest_read_faults(&guest, GUEST_DATA, 0x50);
    guest_destroy(&guest);
}

static void pasid_entry_presence(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "");
    store64(&guest.machine, GUEST_PASIDS, ~UINT64_C(3));
    guest_read_faults(&guest, GUEST_DATA, 0x59);
    store64(&guest.machine, GUEST_PASIDS, 2);
    guest_faults_silently(&guest, &data, 0x59);
    store64(&guest.machine, GUEST_DIRECTORY, GUEST_NOWHERE | 1);
    guest_read_faults(&guest, GUEST_DATA, 0x58);
    /* SPT.1 is not qualified: the context entry's FPD does not hide it. */
    guest_change(&guest, context, 0, 2);
    guest_read_faults(&guest, GUEST_DATA, 0x58);
    guest_destroy(&guest);
}

static void pasid_entry_reserved(void **state)
{
    struct guest guest;

    (void)state;
    scalable_start(&guest, "coherent=off,snoop-control=off");
    each_bit_faults(&guest, &data, GUEST_PASIDS, BIT(5) | bits(63, 9), 0x5a);
    each_bit_faults(&guest, &data, GUEST_PASIDS + 8, bits(63, 16), 0x5a);
    each_bit_faults(&guest, &data, GUEST_PASIDS + 16, BIT(0) | BIT(1) | bits(11, 7) | bits(63, 46),
                    0x5a);
    for (unsigned int i = 24; i < 64; i += 8)
        each_bit_faults(&guest, &data, GUEST_PASIDS + i, ~UINT64_C(0), 0x5a);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

/* Linux writes AW into first-stage and pass-through entries whether there is a second stage or not.
 */
static void pasid_entry_width_ignored(void **state)
{
    struct guest guest;

    (void)state;
    scalable_start(&guest, "");
    guest_pasid(&guest, 0, PASID_PGTT(4) | PASID_AW(7), GUEST_DOMAIN, 0);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void pasid_entry_features(void **state)
{
    struct guest guest;

    (void)state;
    scalable_start(&guest, "second-stage=on,nested=on,ad=on,supervisor=on,pasid-bits=20,execute=on,"
                           "extended-accessed=on");
    guest_pasid(&guest, 0, PASID_PGTT(4) | PASID_SSADE | bits(45, 12),
                GUEST_DOMAIN | PASID_PWSNP | BIT(24),
                PASID_SRE | PASID_ERE | PASID_WPE | PASID_EAFE | bits(45, 12));
    each_bit_faults(&guest, &data, GUEST_PASIDS, bits(63, 46), 0x5a);
    each_bit_faults(&guest, &data, GUEST_PASIDS + 16, bits(63, 46), 0x5a);
    guest_reads(&guest, GUEST_DATA, GUEST_DATA);
    guest_destroy(&guest);
}

static void pasid_entry_type(void **state)
{
    static const unsigned int never[] = {0, 5, 6, 7};
    struct guest guest;

    (void)state;
    scalable_start(&guest, "second-stage=on,nested=on");
    for (size_t i = 0; i < SPEC_COUNT(never); i++) {
        guest_pasid(&guest, 0, PASID_PGTT(never[i]) | PASID_AW(2), GUEST_DOMAIN, 0);
        guest_read_faults(&guest, GUEST_DATA, 0x5b);
    }
    guest_destroy(&guest);
    scalable_start(&guest, "first-stage=off,pt=off,second-stage=on");
    guest_read_faults(&guest, GUEST_DATA, 0x5b);
    guest_pasid(&guest, 0, PASID_PGTT(1), GUEST_DOMAIN, 0);
    guest_read_faults(&guest, GUEST_DATA, 0x5b);
    guest_pasid(&guest, 0, PASID_PGTT(3) | PASID_AW(2), GUEST_DOMAIN, 0);
    guest_read_faults(&guest, GUEST_DATA, 0x5b);
    guest_destroy(&guest);
    scalable_start(&guest, "");
    guest_pasid(&guest, 0, PASID_PGTT(2) | PASID_AW(2), GUEST_DOMAIN, 0);
    guest_read_faults(&guest, GUEST_DATA, 0x5b);
    guest_destroy(&guest);
}

static void pasid_entry_values(void **state)
{
    struct guest guest;

    (void)state;
    scalable_start(&guest, "second-stage=on,nested=on");
    guest_pasid(&guest, 0, PASID_PGTT(2) | PASID_AW(3), GUEST_DOMAIN, 0);
    guest_read_faults(&guest, GUEST_DATA, 0x5b);
    guest_pasid(&guest, 0, PASID_PGTT(3) | PASID_AW(0), GUEST_DOMAIN, 0);
    guest_read_faults(&guest, GUEST_DATA, 0x5b);
    for (unsigned int mode = 1; mode < 4; mode++) {
        guest_pasid(&guest, 0, PASID_PGTT(1), GUEST_DOMAIN, mode << 2);
        guest_read_faults(&guest, GUEST_DATA, 0x5b);
    }
    guest_pasid(&guest, 0, PASID_PGTT(3) | PASID_AW(1), GUEST_DOMAIN, BIT(39));
    guest_read_faults(&guest, GUEST_DATA, 0x5b);
    guest_change(&guest, GUEST_PASIDS, 0, 2);
    guest_faults_silently(&guest, &data, 0x5b);
    guest_destroy(&guest);
}

/* FPD of any entry on the way hides a qualified fault, also one of a page table. */
static void fault_disable_on_the_way(void **state)
{
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "");
    guest_pasid(&guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, guest_page(&guest));
    guest_read_faults(&guest, GUEST_DATA, 0x71);
    guest_change(&guest, context, 0, 2);
    guest_faults_silently(&guest, &data, 0x71);
    guest_change(&guest, context, 2, 0);
    guest_change(&guest, GUEST_DIRECTORY, 0, 2);
    guest_faults_silently(&guest, &data, 0x71);
    guest_change(&guest, GUEST_DIRECTORY, 2, 0);
    guest_change(&guest, GUEST_PASIDS, 0, 2);
    guest_faults_silently(&guest, &data, 0x71);
    guest_destroy(&guest);
}

static void pasids_are_apart(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);
    uint64_t root[2], page[2];
    struct guest guest;
    uint64_t context;

    (void)state;
    context = scalable_start(&guest, "pasid-bits=20");
    guest_change(&guest, context, 0, 8);
    for (unsigned int i = 0; i < 2; i++) {
        root[i] = guest_page(&guest);
        page[i] = guest_page(&guest);
        guest_map(&guest, root[i], 4, GUEST_IOVA, 1, page[i] | FS_ALL, FS_ALL);
        guest_pasid(&guest, 10 + i, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root[i]);
    }
    for (unsigned int i = 0; i < 4; i++) {
        dma.pasid = 10 + (i & 1);
        guest_arrives(&guest, &dma, page[i & 1]);
    }
    dma.pasid = 12;
    guest_faults(&guest, &dma, 0x59);
    guest_destroy(&guest);
}

static const struct spec_rule rules[] = {
    {"VTD-7.1.3-LRT.1,SRT.1", "7.1.3", "A root table where there is no memory is fault 08h, 38h.",
     root_without_memory},
    {"VTD-7.1.3-LRT.2", "9.1", "A root entry that is not present is fault 01h.", root_not_present},
    {"VTD-7.1.3-LRT.3", "9.1", "Each reserved bit of a present root entry is fault 0Ah.",
     root_reserved},
    {"VTD-7.1.3-LCT.1", "7.1.3", "A context table where there is no memory is fault 09h.",
     context_without_memory},
    {"VTD-7.1.3-LCT.2", "9.3", "A context entry that is not present is fault 02h; FPD hides it.",
     context_not_present},
    {"VTD-7.1.3-LCT.3", "9.3", "Each reserved bit of a present context entry is fault 0Bh.",
     context_reserved},
    {"VTD-9.3-DID", "9.3", "Domain-ID bits that the unit does not implement are reserved.",
     domain_beyond_width},
    {"VTD-7.1.3-LCT.4.1", "9.3", "An address width that SAGAW does not list is fault 03h.",
     context_width},
    {"VTD-7.1.3-LCT.4.2", "9.3", "A translation type that the unit does not have is fault 03h.",
     context_type},
    {"VTD-7.1.3-LCT.4.3", "9.3", "A second stage that begins where no memory is, is fault 03h.",
     second_root_without_memory},
    {"VTD-9.3-TT", "9.3", "Pass-through ignores SSPTPTR.", pass_through_ignores_pointer},
    {"VTD-7.1.3-RTA.2", "7.1.3", "A request with PASID in legacy mode is fault 31h.",
     legacy_with_pasid},
    {"VTD-3.4.2-1", "3.4.2", "Each function is translated by its own context entry.",
     each_function_has_its_own},
    {"VTD-7.1.3-SRT.2", "9.2", "A half root entry that is not present is fault 39h.",
     sm_root_not_present},
    {"VTD-7.1.3-SRT.3", "9.2", "Reserved bits count in the half that is used, and only there.",
     sm_root_reserved},
    {"VTD-9.2-UCTP", "9.2", "Devices 16 to 31 are found by the upper half.", sm_root_upper_half},
    {"VTD-7.1.3-SCT.1", "7.1.3", "A scalable context table without memory is fault 40h.",
     sm_context_without_memory},
    {"VTD-7.1.3-SCT.2", "9.4", "A scalable context entry not present is fault 41h; FPD hides it.",
     sm_context_not_present},
    {"VTD-7.1.3-SCT.3", "9.4",
     "Each reserved bit of a scalable context entry is fault 42h; so are fields of absent features.",
     sm_context_reserved},
    {"VTD-7.1.3-SCT.4.2", "9.4", "RID_PASID beyond the directory of PDTS is fault 43h.",
     rid_pasid_too_large},
    {"VTD-9.4-RID_PASID", "9.4", "Requests without PASID use the entry of RID_PASID.",
     rid_pasid_chooses},
    {"VTD-7.1.3-SCT.6", "9.4", "A request with PASID while PASIDE is clear is fault 45h.",
     pasid_not_enabled},
    {"VTD-7.1.3-SCT.7", "9.4", "A PASID beyond the directory of PDTS is fault 46h.",
     pasid_too_large},
    {"VTD-7.1.3-SGN.10", "7.1.3", "A PASID wider than ECAP.PSS is fault 89h.", pasid_beyond_unit},
    {"VTD-7.1.3-SCT.9", "7.1.3", "A request whose PASID is RID_PASID is fault 48h.",
     pasid_is_rid_pasid},
    {"VTD-7.1.3-SPD.1,SPD.2,SPD.3", "9.5",
     "PASID directory entry: no memory 50h, not present 51h, reserved 52h.", directory_entry},
    {"VTD-7.1.3-SPT.1,SPT.2", "9.6",
     "PASID entry: no memory 58h, not present 59h; FPD hides the latter.", pasid_entry_presence},
    {"VTD-7.1.3-SPT.3", "9.6", "Each reserved bit of a PASID entry is fault 5Ah.",
     pasid_entry_reserved},
    {"VTD-9.6-AW", "9.6", "AW means nothing without a second stage.", pasid_entry_width_ignored},
    {"VTD-9.6-features", "9.6", "Fields of features that the unit has are not reserved.",
     pasid_entry_features},
    {"VTD-7.1.3-SPT.4.2", "9.6", "A PGTT that the unit does not have is fault 5Bh.",
     pasid_entry_type},
    {"VTD-7.1.3-SPT.4.1,SPT.4.4", "9.6", "Unsupported AW, FSPM or FSPTPTR is fault 5Bh.",
     pasid_entry_values},
    {"VTD-7.1.1-FPD", "7.1.1", "FPD of any entry on the way hides a qualified fault.",
     fault_disable_on_the_way},
    {"VTD-3.4.3-1", "3.4.3", "Each PASID is translated by its own entry.", pasids_are_apart},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
