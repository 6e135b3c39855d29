/* SPDX-License-Identifier: MIT */
/*
 * PASIDs of one function: all 20 bits, a directory that grows, every kind of table side by side,
 * requests with and without, and what an invalidation of one leaves of the others.
 */
#include <stdio.h>

#include "assigned.h"
#include "descriptors.h"
#include "model/vtd/register_map.h"

#define PASIDE        (UINT64_C(1) << 3)
#define PDTS(n)       ((uint64_t)(n) << 9)
#define RID_PRIV      (UINT64_C(1) << 20)
#define SMEP          (UINT64_C(1) << 6)
#define BIG_DIRECTORY 0x400000u /* 16384 entries: 128 KiB */

struct pasids {
    struct guest guest;
    uint64_t context;
};

static void start(struct pasids *pasids, const char *properties, uint64_t bits)
{
    guest_create(&pasids->guest, properties);
    pasids->context = guest_scalable(&pasids->guest, 0, PASIDE | bits);
    guest_on(&pasids->guest, TTM_SCALABLE);
}

static void end(struct pasids *pasids)
{
    guest_destroy(&pasids->guest);
}

/* A first-stage table with one page at GUEST_IOVA; returns its root. */
static uint64_t table(struct guest *guest, uint64_t gpa, uint64_t bits)
{
    uint64_t root = guest_page(guest);

    guest_map(guest, root, 4, GUEST_IOVA, 1, gpa | bits, FS_ALL);
    return root;
}

/* The entry of any PASID, by a directory anywhere; makes the table of 64 that it is in. */
static uint64_t entry_of(struct guest *guest, uint64_t directory, uint32_t pasid)
{
    uint64_t pde = directory + (pasid >> 6) * 8;

    if (!load64(&guest->machine, pde))
        store64(&guest->machine, pde, guest_page(guest) | 1);
    return (load64(&guest->machine, pde) & ~UINT64_C(0xfff)) + (pasid & 63) * 64;
}

static void first_stage(struct guest *guest, uint64_t entry, uint64_t root)
{
    store64(&guest->machine, entry, PASID_P | PASID_PGTT(1));
    store64(&guest->machine, entry + 8, GUEST_DOMAIN | PASID_PWSNP);
    store64(&guest->machine, entry + 16, root);
}

static void arrives(struct guest *guest, uint32_t pasid, uint64_t gpa)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);

    dma.pasid = pasid;
    guest_arrives(guest, &dma, gpa);
}

static void faults(struct guest *guest, uint32_t pasid, uint8_t reason)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);

    dma.pasid = pasid;
    guest_faults(guest, &dma, reason);
}

static void all_bits(void **state)
{
    static const uint32_t last[] = {1, 63, 64, 0x8421, 0x7ffff, 0x80000, 0xfffff};
    struct pasids pasids;

    (void)state;
    start(&pasids, "pasid-bits=20", PDTS(7));
    guest_change(&pasids.guest, pasids.context, GENMASK64(63, 12), BIG_DIRECTORY);
    guest_flush(&pasids.guest);
    for (size_t i = 0; i < SPEC_COUNT(last); i++)
        first_stage(&pasids.guest, entry_of(&pasids.guest, BIG_DIRECTORY, last[i]),
                    table(&pasids.guest, GUEST_DATA + i * 0x1000, FS_ALL));
    for (size_t i = 0; i < SPEC_COUNT(last); i++)
        arrives(&pasids.guest, last[i], GUEST_DATA + i * 0x1000);
    faults(&pasids.guest, 0xffffe, 0x59);
    faults(&pasids.guest, 0xfffbf, 0x51);
    end(&pasids);
}

/*
 * The guest makes a larger directory, copies the old one, and changes the context entry's pointer
 * and PDTS: what was there goes on, and more is there. So is what enters the directory afterwards.
 */
static void grow(struct guest *guest, uint64_t context)
{
    for (unsigned int i = 0; i < 4096; i += 8)
        store64(&guest->machine, BIG_DIRECTORY + i, load64(&guest->machine, GUEST_DIRECTORY + i));
    guest_change(guest, context, GENMASK64(63, 9), BIG_DIRECTORY | PDTS(7));
}

static void directory_grows(void **state)
{
    const uint32_t large = 0x12345;
    struct pasids pasids;
    struct guest *guest = &pasids.guest;

    (void)state;
    start(&pasids, "pasid-bits=20", PDTS(0));
    machine_queue_start(&guest->machine, QUEUE, true);
    guest_pasid(guest, 5, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP,
                table(guest, GUEST_DATA, FS_ALL));
    arrives(guest, 5, GUEST_DATA);
    faults(guest, large, 0x46);
    grow(guest, pasids.context);
    machine_submit(&guest->machine, 0x1 | G(1), 0);
    faults(guest, large, 0x51);
    first_stage(guest, entry_of(guest, BIG_DIRECTORY, large),
                table(guest, GUEST_DATA + 0x1000, FS_ALL));
    arrives(guest, large, GUEST_DATA + 0x1000);
    arrives(guest, 5, GUEST_DATA);
    /* The old one may be used for something else now. */
    store64(&guest->machine, GUEST_DIRECTORY, ~UINT64_C(0));
    guest_flush(guest);
    arrives(guest, 5, GUEST_DATA);
    end(&pasids);
}

/* The same for an assigned device, whose PASIDs the host is told of by the invalidations. */
static void directory_grows_on_host(void **state)
{
    const uint32_t large = 0x2345;
    struct assigned assigned;
    struct guest *guest = &assigned.guest;
    uint64_t context;

    (void)state;
    assigned_create(&assigned, NULL, "pasid-bits=20");
    assigned_attach(&assigned, 0);
    assigned_bind(&assigned, 0, 5, table(guest, PAGE_A, FS_ALL), GUEST_DOMAIN);
    context = guest_scalable(guest, 0, PASIDE);
    guest_on(guest, TTM_SCALABLE);
    assigned_arrives_pasid(&assigned, 0, 5, GUEST_IOVA, PAGE_A);
    grow(guest, context);
    first_stage(guest, entry_of(guest, BIG_DIRECTORY, large), table(guest, PAGE_B, FS_ALL));
    assigned_context(&assigned, CONTEXT_DEVICE, 0, 0, 0);
    assigned_wait(&assigned);
    assigned_arrives_pasid(&assigned, 0, large, GUEST_IOVA, PAGE_B);
    assigned_arrives_pasid(&assigned, 0, 5, GUEST_IOVA, PAGE_A);
    assigned_destroy(&assigned);
}

/* First stage, second stage, nested and pass-through, and requests without PASID. */
static void kinds_side_by_side(void **state)
{
    struct pasids pasids;
    struct guest *guest = &pasids.guest;
    uint64_t second, self;

    (void)state;
    start(&pasids, "pasid-bits=20,second-stage=on,nested=on", 0);
    second = guest_page(guest);
    guest_map(guest, second, 4, GUEST_IOVA, 1, 0x81000 | SS_RW, SS_RW);
    self = guest_page(guest);
    for (uint64_t gpa = 0; gpa < MACHINE_MEMORY; gpa += 1u << 21)
        guest_map(guest, self, 4, gpa, 2, gpa | SS_PS | SS_RW, SS_RW);
    guest_pasid(guest, 0, PASID_PGTT(1), 10 | PASID_PWSNP, table(guest, 0x80000, FS_ALL));
    guest_pasid(guest, 1, PASID_PGTT(2) | PASID_AW(2) | second, 11, 0);
    guest_pasid(guest, 2, PASID_PGTT(3) | PASID_AW(2) | self, 12 | PASID_PWSNP,
                table(guest, 0x82000, FS_ALL));
    guest_pasid(guest, 3, PASID_PGTT(4), 13, 0);
    for (unsigned int i = 0; i < 2; i++) { /* walked, then cached */
        struct guest_dma dma = DMA_AT(0x83000);

        guest_reads(guest, GUEST_IOVA, 0x80000);
        arrives(guest, 1, 0x81000);
        arrives(guest, 2, 0x82000);
        dma.pasid = 3;
        guest_arrives(guest, &dma, 0x83000);
    }
    /* Identity for the one is nothing for the others. */
    guest_read_faults(guest, 0x83000, 0x71);
    end(&pasids);
}

/* PASID 0 is a PASID like another where RID_PASID is not 0. */
static void pasid_zero(void **state)
{
    struct pasids pasids;
    struct guest *guest = &pasids.guest;

    (void)state;
    start(&pasids, "pasid-bits=20", 0);
    guest_pasid(guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, table(guest, 0x80000, FS_ALL));
    guest_pasid(guest, 9, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, table(guest, 0x81000, FS_ALL));
    guest_reads(guest, GUEST_IOVA, 0x80000);
    faults(guest, 0, 0x48);
    arrives(guest, 9, 0x81000);
    store64(&guest->machine, pasids.context + 8, 9);
    guest_flush(guest);
    guest_reads(guest, GUEST_IOVA, 0x81000);
    arrives(guest, 0, 0x80000);
    faults(guest, 9, 0x48);
    end(&pasids);
}

/* PASIDs of two domains: what a descriptor names goes, another domain stays. */
static void invalidations_apart(void **state)
{
    static const struct {
        uint64_t descriptor;
        bool drops[2]; /* the page of PASID 5 in domain 20, and of PASID 6 in domain 21 */
    } rows[] = {
        {0x6 | G(2) | DOMAIN(20) | PASID(5), {true, false}},
        {0x6 | G(2) | DOMAIN(22) | PASID(5), {false, false}},
        {0x7 | G(1) | DOMAIN(22) | PASID(6), {false, false}},
        {0x6 | G(2) | DOMAIN(21) | PASID(6), {false, true}},
        {0x7 | G(1) | DOMAIN(20) | PASID(5), {true, false}},
        {0x7 | G(0) | DOMAIN(21), {false, true}},
        {0x7 | G(3), {true, true}},
        {0x2 | G(2) | DOMAIN(20), {true, false}},
        {0x2 | G(1), {true, true}},
    };

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(rows); i++) {
        struct pasids pasids;
        struct guest *guest = &pasids.guest;
        uint64_t root[2];

        start(&pasids, "pasid-bits=20", 0);
        machine_queue_start(&guest->machine, QUEUE, true);
        for (unsigned int n = 0; n < 2; n++) {
            root[n] = table(guest, 0x80000 + n * 0x1000, FS_ALL);
            guest_pasid(guest, 5 + n, PASID_PGTT(1), (20 + n) | PASID_PWSNP, root[n]);
            arrives(guest, 5 + n, 0x80000 + n * 0x1000);
            store64(&guest->machine, guest_entry(guest, root[n], 4, GUEST_IOVA, 1),
                    0x90000 | FS_ALL);
        }
        machine_submit(&guest->machine, rows[i].descriptor, 0);
        for (unsigned int n = 0; n < 2; n++)
            arrives(guest, 5 + n, rows[i].drops[n] ? 0x90000 : 0x80000 + n * 0x1000);
        end(&pasids);
    }
}

/* PSS bounds what a request may carry, whatever the directory holds. */
static void width_of_the_unit(void **state)
{
    struct pasids pasids;

    (void)state;
    for (unsigned int bits = 1; bits <= 6; bits++) {
        char properties[32];

        snprintf(properties, sizeof(properties), "pasid-bits=%u", bits);
        start(&pasids, properties, 0);
        for (unsigned int pasid = 1; pasid < 64; pasid++)
            guest_pasid(&pasids.guest, pasid, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP,
                        table(&pasids.guest, GUEST_DATA, FS_ALL));
        arrives(&pasids.guest, (1u << bits) - 1, GUEST_DATA);
        if (bits < 6)
            faults(&pasids.guest, 1u << bits, 0x89);
        end(&pasids);
    }
}

/* Requests without PASID as the supervisor's. */
static void rid_priv(void **state)
{
    struct pasids pasids;
    struct guest *guest = &pasids.guest;
    uint64_t root;

    (void)state;
    start(&pasids, "supervisor=on,rid-priv=on,pasid-bits=20", 0);
    root = table(guest, GUEST_DATA, FS_P); /* read-only, not for users */
    guest_pasid(guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root | PASID_SRE);
    guest_pasid(guest, 5, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root | PASID_SRE);
    guest_read_faults(guest, GUEST_IOVA, 0x81);
    store64(&guest->machine, pasids.context + 8, RID_PRIV);
    guest_flush(guest);
    guest_reads(guest, GUEST_IOVA, GUEST_DATA);
    guest_writes(guest, GUEST_IOVA, GUEST_DATA);
    faults(guest, 5, 0x81); /* which says itself what it is */
    guest_pasid(guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root | PASID_SRE | PASID_WPE);
    guest_flush(guest);
    guest_reads(guest, GUEST_IOVA, GUEST_DATA);
    guest_write_faults(guest, GUEST_IOVA, 0x85);
    guest_pasid(guest, 0, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP, root);
    guest_flush(guest);
    guest_read_faults(guest, GUEST_IOVA, 0x5d);
    end(&pasids);
    start(&pasids, "supervisor=on", 0);
    store64(&pasids.guest.machine, pasids.context, GUEST_DIRECTORY | 1);
    store64(&pasids.guest.machine, pasids.context + 8, RID_PRIV);
    guest_read_faults(&pasids.guest, GUEST_IOVA, 0x42);
    end(&pasids);
}

/* What privileged and execute requests may do: by U/S, XD, NXE, SMEP, WPE. */
static void rights(void **state)
{
    enum {
        R = VIOMMU_DMA_READ,
        W = VIOMMU_DMA_WRITE,
        X = VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE,
        S = VIOMMU_DMA_PRIVILEGED,
    };
    static const struct {
        uint64_t entry, leaf;
        uint8_t access, reason;
    } rows[] = {
        {0, FS_P | FS_U, R, 0},
        {0, FS_P | FS_U, W, 0x85},
        {0, FS_P | FS_U, X, 0},
        {0, FS_P | FS_U | FS_XD, X, 0}, /* XD is ignored without NXE */
        {PASID_NXE, FS_P | FS_U | FS_XD, X, 0x82},
        {PASID_NXE, FS_P | FS_U | FS_XD, R, 0},
        {0, FS_P, R, 0x81},
        {0, FS_P, X, 0x81},
        {0, FS_P, R | S, 0},
        {0, FS_P, W | S, 0},
        {PASID_WPE, FS_P, W | S, 0x85},
        {PASID_WPE, FS_P | FS_W, W | S, 0},
        {0, FS_P, X | S, 0},
        {PASID_NXE, FS_P | FS_XD, X | S, 0x82},
        {0, FS_P | FS_U, X | S, 0},
        {SMEP, FS_P | FS_U, X | S, 0x82},
        {SMEP, FS_P | FS_U, R | S, 0},
        {SMEP, FS_P | FS_U, X, 0},
        {SMEP, FS_P, X | S, 0},
    };

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(rows); i++) {
        struct guest_dma dma = DMA_AT(GUEST_IOVA);
        struct pasids pasids;

        start(&pasids, "supervisor=on,execute=on,pasid-bits=20", 0);
        guest_pasid(&pasids.guest, 5, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP,
                    table(&pasids.guest, GUEST_DATA, rows[i].leaf) | PASID_SRE | PASID_ERE |
                        rows[i].entry);
        dma.pasid = 5;
        dma.access = rows[i].access;
        if (rows[i].reason)
            guest_faults(&pasids.guest, &dma, rows[i].reason);
        else
            guest_arrives(&pasids.guest, &dma, GUEST_DATA);
        end(&pasids);
    }
}

/* Memory types have no effect on memory that is none's cache: none are offered. */
static void memory_types(void **state)
{
    struct pasids pasids;

    (void)state;
    start(&pasids, "pasid-bits=20", 0);
    assert_int_equal(read64(&pasids.guest.machine, VTD_ECAP) & (UINT64_C(1) << 25), 0);
    for (unsigned int bit = 25; bit < 64; bit++) {
        guest_pasid(&pasids.guest, 5, PASID_PGTT(4), GUEST_DOMAIN | UINT64_C(1) << bit, 0);
        faults(&pasids.guest, 5, 0x5a);
    }
    end(&pasids);
}

static const struct spec_rule rules[] = {
    {"VTD-9.5-bits", "9.5", "All 20 bits of a PASID choose its entry, by a directory of PDTS 7.",
     all_bits},
    {"VTD-9.4-PDTS-grows", "9.4",
     "A directory that grows between invalidations keeps its PASIDs and has more.",
     directory_grows},
    {"VTD-9.4-PDTS-host", "9.4", "So it does for an assigned device.", directory_grows_on_host},
    {"VTD-3.4.3-kinds", "3.4.3",
     "First stage, second stage, nested and pass-through stand side by side on one function.",
     kinds_side_by_side},
    {"VTD-9.4-PASID-0", "9.4", "PASID 0 is one like others where RID_PASID is another.",
     pasid_zero},
    {"VTD-6.5.2-PASID", "6.5.2",
     "Invalidations drop what their domain and PASID name, and leave other domains.",
     invalidations_apart},
    {"VTD-11.4.3-PSS", "11.4.3", "PASIDs are as wide as PSS says, for each width.",
     width_of_the_unit},
    {"VTD-9.4-RID_PRIV", "9.4",
     "With RID_PRIV requests without PASID are the supervisor's; it is reserved without RPRIVS.",
     rid_priv},
    {"VTD-3.6.1-rights", "3.6.1", "U/S, R/W, XD, WPE, NXE and SMEP decide, for each privilege.",
     rights},
    {"VTD-9.6-MTS", "9.6", "Without ECAP.MTS, CD, EMTE, EMT and PAT are reserved.", memory_types},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
