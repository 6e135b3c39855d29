/* SPDX-License-Identifier: MIT */
/*
 * Legacy-mode translation (VT-d 5.0, 3.4.2 and 3.7), invalidated by registers while the queue is
 * off (6.5.1), with tables from bare hands. The checks build upon each other, in their order.
 *
 * An edu that is assigned has its DMA translated by the host: it follows the same tables, and its
 * faults are told by the same records.
 */
#include "bare.h"

#define ENTRY_PRESENT 1u
#define CONTEXT_FPD   2u
#define CONTEXT_PASS  (2u << 2) /* TT */

#define PTE_READ  1u
#define PTE_WRITE 2u
#define PTE_BOTH  3u
#define PTE_LARGE (1u << 7)

#define FAULT_ROOT    1u
#define FAULT_CONTEXT 2u
#define FAULT_WIDTH   4u
#define FAULT_WRITE   5u
#define FAULT_READ    6u

/* Granularity (11.4.6.1, 11.4.6.3): of what is asked and of what was done. */
#define GLOBAL 1u
#define DOMAIN 2u
#define FINE   3u

#define DOMAIN_ID 0x42u
#define IOVA      0x123456000ull /* its levels have different indices */
#define IOVA_SINK 0x200000ull    /* always maps `sink`, so that the device's buffer can be seen */

/* The device's buffer: its words are stamps, and the last is where reads go. */
#define STAMPS    1023u
#define READ_SLOT (4u * STAMPS)

struct table {
    uint64_t entries[512];
} __attribute__((aligned(4096)));

static struct table root, context, tables[8], other_tables[8];
static uint32_t page_a[PAGE / 4] __attribute__((aligned(4096)));
static uint32_t page_b[PAGE / 4] __attribute__((aligned(4096)));
static uint32_t sink[PAGE / 4] __attribute__((aligned(4096)));

/* One set of second-stage tables; tables[0] is the top. */
struct stage {
    struct table *tables;
    uint32_t used;
    uint32_t levels;
};

static struct stage first = {tables, 0, 3};
static struct stage second = {other_tables, 0, 3};

/* ---- Tables */

static uint32_t index_at(uint64_t iova, uint32_t level)
{
    return (uint32_t)(iova >> (12 + 9 * (level - 1))) & 511;
}

/* The entry that maps the IOVA at this level: 1 for a page of 4 KiB, 2 for one of 2 MiB. */
static uint64_t *entry_of(struct stage *stage, uint64_t iova, uint32_t leaf)
{
    struct table *table = stage->tables;

    for (uint32_t level = stage->levels; level > leaf; level--) {
        uint64_t *entry = &table->entries[index_at(iova, level)];

        if (!*entry)
            *entry = (uint32_t)&stage->tables[++stage->used] | PTE_BOTH;
        table = (struct table *)(uint32_t)(*entry & ~0xfffull);
    }
    return &table->entries[index_at(iova, leaf)];
}

static void map(struct stage *stage, uint64_t iova, const void *page, uint32_t rights)
{
    *entry_of(stage, iova, 1) = (uint32_t)page | rights;
}

static void make_stage(struct stage *stage, uint32_t levels)
{
    for (uint32_t i = 0; i < 8; i++)
        stage->tables[i] = (struct table){{0}};
    stage->used = 0;
    stage->levels = levels;
    map(stage, IOVA_SINK, sink, PTE_BOTH);
}

/* The context entry is written from its upper half on, present last. */
static void set_context(const struct stage *stage, uint32_t flags)
{
    uint64_t *entry = &context.entries[2 * edu_devfn];

    entry[0] = 0;
    entry[1] = DOMAIN_ID << 8 | (stage->levels - 2);
    entry[0] = (uint32_t)stage->tables | flags | ENTRY_PRESENT;
}

/* ---- Invalidation by registers; each returns the granularity of what was done */

static uint32_t invalidate_context(uint32_t granularity)
{
    vtd_write_halves(VTD_CCMD,
                     1ull << 63 | (uint64_t)granularity << 61 | edu_devfn << 16 | DOMAIN_ID);
    if (read32(VTD + VTD_CCMD + 4) >> 31)
        return ~0u;
    return read32(VTD + VTD_CCMD + 4) >> 27 & 3;
}

static uint32_t invalidate_iotlb(uint32_t granularity)
{
    uint32_t offset = vtd_iotlb();

    vtd_write_halves(offset - 8, IOVA);
    vtd_write_halves(offset, 1ull << 63 | (uint64_t)granularity << 60 | (uint64_t)DOMAIN_ID << 32);
    if (read32(VTD + offset + 4) >> 31)
        return ~0u;
    return read32(VTD + offset + 4) >> 25 & 3;
}

static bool invalidate_all(void)
{
    return same("CCMD.CAIG", invalidate_context(GLOBAL), GLOBAL) &&
           same("IOTLB.IAIG", invalidate_iotlb(GLOBAL), GLOBAL);
}

/* ---- DMA */

/* Every write carries another stamp, so that none is mistaken for one before. */
static uint32_t stamp(void)
{
    static uint32_t next;

    next = next % (STAMPS - 1) + 1;
    return next;
}

static void load_stamps(void)
{
    static uint32_t words[PAGE / 4] __attribute__((aligned(4096)));

    for (uint32_t i = 0; i < PAGE / 4; i++)
        words[i] = 0x57a30000u + i;
    edu_from_memory((uint32_t)words, 0, PAGE);
}

/* The device writes a stamp to the IOVA; it must arrive at `page` (NULL: nowhere). */
static bool write_arrives(uint64_t iova, const volatile uint32_t *page)
{
    uint32_t which = stamp();
    volatile uint32_t *a = page_a, *b = page_b;
    uint32_t value = 0x57a30000u + which;

    *a = *b = 0;
    edu_to_memory(iova, 4 * which, 4);
    return same("the first page", *a, page == a ? value : 0) &&
           same("the second page", *b, page == b ? value : 0);
}

/* The device reads a word from the IOVA into its buffer; what it has there then. */
static uint32_t read_by_device(uint64_t iova)
{
    volatile uint32_t *seen = sink;

    edu_from_memory(iova, READ_SLOT, 4);
    *seen = 0;
    edu_to_memory(IOVA_SINK, READ_SLOT, 4);
    return *seen;
}

static bool read_brings(uint64_t iova, uint32_t value)
{
    page_a[0] = 0xaaaa0001;
    page_b[0] = 0xbbbb0002;
    return same("what was read", read_by_device(iova), value);
}

/* ---- Faults */

/* 11.4.7.6: of the page's address, bits from CAP.MGAW on are not recorded. */
static uint64_t recorded_page(uint64_t iova)
{
    uint32_t width = ((uint32_t)vtd_read_halves(VTD_CAP) >> 16 & 0x3f) + 1;

    return iova & ~0xfffull & ((1ull << width) - 1);
}

/* The one record that is pending; then it is cleared. */
static bool fault_is(uint32_t reason, bool read, uint64_t iova)
{
    struct vtd_fault fault;

    return vtd_take_fault(&fault) && same("the reason", fault.reason, reason) &&
           same("the type", fault.read, read) &&
           same("the requester", fault.requester, edu_devfn) &&
           same("the page", fault.info & ~0xfffull, recorded_page(iova));
}

static bool no_fault(void)
{
    return same("FSTS", read32(VTD + VTD_FSTS) & (VTD_FSTS_PPF | VTD_FSTS_PFO), 0);
}

/* ---- The checks */

static bool empty_root_table_blocks(void)
{
    load_stamps();
    vtd_write_halves(VTD_RTADDR, (uint32_t)&root);
    return holds("GSTS.RTPS", vtd_command(VTD_GCMD_RTP, true)) &&
           holds("GSTS.TES", vtd_command(VTD_GCMD_TE, true)) &&
           write_arrives((uint32_t)page_a, NULL) && fault_is(FAULT_ROOT, false, (uint32_t)page_a);
}

static bool empty_context_table_blocks(void)
{
    root.entries[0] = (uint32_t)&context | ENTRY_PRESENT;
    return invalidate_all() && write_arrives((uint32_t)page_a, NULL) &&
           fault_is(FAULT_CONTEXT, false, (uint32_t)page_a);
}

static bool tables_translate(void)
{
    make_stage(&first, 3);
    map(&first, IOVA, page_a, PTE_BOTH);
    set_context(&first, 0);
    return invalidate_all() && write_arrives(IOVA, page_a) && read_brings(IOVA, 0xaaaa0001) &&
           no_fault();
}

static bool other_pages_are_blocked(void)
{
    return write_arrives(IOVA + PAGE, NULL) && fault_is(FAULT_WRITE, false, IOVA + PAGE) &&
           write_arrives((uint32_t)page_a, NULL) && fault_is(FAULT_WRITE, false, (uint32_t)page_a);
}

/* There and back by each granularity. */
static bool changed_mapping_is_followed(void)
{
    static const uint32_t granularities[] = {GLOBAL, DOMAIN, FINE, FINE, DOMAIN, GLOBAL};

    for (uint32_t i = 0; i < sizeof(granularities) / sizeof(granularities[0]); i++) {
        uint32_t *page = i % 2 ? page_a : page_b;

        map(&first, IOVA, page, PTE_BOTH);
        if (!same("IOTLB.IAIG", invalidate_iotlb(granularities[i]), granularities[i]) ||
            !write_arrives(IOVA, page))
            return false;
    }
    return read_brings(IOVA, 0xaaaa0001) && no_fault();
}

static bool rights_are_kept(void)
{
    bool good;

    map(&first, IOVA, page_a, PTE_READ);
    good = same("IOTLB.IAIG", invalidate_iotlb(FINE), FINE) && read_brings(IOVA, 0xaaaa0001) &&
           no_fault() && write_arrives(IOVA, NULL) && fault_is(FAULT_WRITE, false, IOVA);
    map(&first, IOVA, page_a, PTE_WRITE);
    return good && same("IOTLB.IAIG", invalidate_iotlb(FINE), FINE) &&
           write_arrives(IOVA, page_a) && no_fault();
}

/* A read that faults leaves the device's buffer as it was. */
static bool write_only_page_is_not_read(void)
{
    uint32_t was = read_by_device(IOVA_SINK);

    return read_brings(IOVA, was) && fault_is(FAULT_READ, true, IOVA);
}

static bool unmapped_page_is_blocked(void)
{
    uint32_t was = read_by_device(IOVA_SINK);

    map(&first, IOVA, page_a, 0);
    return same("IOTLB.IAIG", invalidate_iotlb(FINE), FINE) && write_arrives(IOVA, NULL) &&
           fault_is(FAULT_WRITE, false, IOVA) && read_brings(IOVA, was) &&
           fault_is(FAULT_READ, true, IOVA);
}

static bool has_2m(void)
{
    return vtd_read_halves(VTD_CAP) >> 34 & 1;
}

static bool large_page_translates(void)
{
    uint64_t base = 0x40000000ull; /* an IOVA of a 1 GiB region of its own */
    uint32_t target = (uint32_t)page_a;

    *entry_of(&first, base, 2) = (target & ~0x1fffffu) | PTE_BOTH | PTE_LARGE;
    return same("IOTLB.IAIG", invalidate_iotlb(DOMAIN), DOMAIN) &&
           write_arrives(base + (target & 0x1fffff), page_a) &&
           write_arrives(base + ((uint32_t)page_b & 0x1fffff), page_b) && no_fault();
}

/* Through every page of the device's buffer at once: a write across two pages. */
static bool pages_are_joined(void)
{
    volatile uint32_t *last = &page_b[PAGE / 4 - 1], *next = page_a;

    map(&first, IOVA, page_b, PTE_BOTH);
    map(&first, IOVA + PAGE, page_a, PTE_BOTH);
    *last = *next = 0;
    if (!same("IOTLB.IAIG", invalidate_iotlb(DOMAIN), DOMAIN))
        return false;
    edu_to_memory(IOVA + PAGE - 4, 40, 8);
    map(&first, IOVA + PAGE, page_a, 0);
    return same("the end of one page", *last, 0x57a3000a) &&
           same("the beginning of the next", *next, 0x57a3000b) &&
           same("IOTLB.IAIG", invalidate_iotlb(DOMAIN), DOMAIN) && no_fault();
}

/* 3.6: an address beyond the width of the context entry is not translated. */
static bool wide_address_is_blocked(void)
{
    return write_arrives(1ull << 39 | IOVA, NULL) &&
           fault_is(FAULT_WIDTH, false, 1ull << 39 | IOVA);
}

static bool has_48_bits(void)
{
    return vtd_read_halves(VTD_CAP) >> 10 & 1;
}

static bool four_levels_translate(void)
{
    uint64_t high = 0x7f0123456000ull;

    make_stage(&second, 4);
    map(&second, high, page_b, PTE_BOTH);
    set_context(&second, 0);
    return same("CCMD.CAIG", invalidate_context(DOMAIN), DOMAIN) &&
           same("IOTLB.IAIG", invalidate_iotlb(DOMAIN), DOMAIN) && write_arrives(high, page_b) &&
           no_fault() && write_arrives(IOVA, NULL) && fault_is(FAULT_WRITE, false, IOVA);
}

static bool changed_context_is_followed(void)
{
    map(&first, IOVA, page_a, PTE_BOTH);
    set_context(&first, 0);
    return same("CCMD.CAIG", invalidate_context(FINE), FINE) &&
           same("IOTLB.IAIG", invalidate_iotlb(DOMAIN), DOMAIN) && write_arrives(IOVA, page_a) &&
           no_fault();
}

static bool fault_processing_disabled(void)
{
    bool good;

    set_context(&first, CONTEXT_FPD);
    good = invalidate_all() && write_arrives(IOVA + PAGE, NULL) && no_fault() &&
           write_arrives(IOVA, page_a);
    set_context(&first, 0);
    return invalidate_all() && good;
}

static bool has_pass_through(void)
{
    return vtd_read_halves(VTD_ECAP) >> 6 & 1;
}

/* 9.3: AW is then the largest width that the unit has. */
static bool pass_through(void)
{
    struct stage none = {tables, 0, has_48_bits() ? 4 : 3};
    bool good;

    set_context(&none, CONTEXT_PASS);
    good = invalidate_all() && write_arrives((uint32_t)page_b, page_b) && no_fault();
    set_context(&first, 0);
    return invalidate_all() && good && write_arrives((uint32_t)page_b, NULL) &&
           fault_is(FAULT_WRITE, false, (uint32_t)page_b) && write_arrives(IOVA, page_a);
}

/* 7.2.1: as many as there are records, then the overflow; each of another page. */
static bool faults_overflow(void)
{
    uint32_t count = vtd_fault_records();
    bool good = true;

    for (uint32_t i = 0; i < count; i++)
        good &= write_arrives(IOVA + (1 + i) * PAGE, NULL);
    good &= same("FSTS when full", read32(VTD + VTD_FSTS) & 3, VTD_FSTS_PPF);
    good &= write_arrives(IOVA + (1 + count) * PAGE, NULL);
    good &= same("FSTS with one more", read32(VTD + VTD_FSTS) & 3, VTD_FSTS_PPF | VTD_FSTS_PFO);
    good &= write_arrives(IOVA, page_a);
    return vtd_faults_are_clear() && good && write_arrives(IOVA + PAGE, NULL) &&
           fault_is(FAULT_WRITE, false, IOVA + PAGE);
}

/* 11.4.6.1, 11.4.6.3: what is not understood is answered by granularity 0. */
static bool unknown_granularity_is_refused(void)
{
    return same("CCMD.CAIG", invalidate_context(0), 0) &&
           same("IOTLB.IAIG", invalidate_iotlb(0), 0) && write_arrives(IOVA, page_a);
}

/* 6.5.1: registers do not invalidate while the queue is on. */
static bool queue_takes_over(void)
{
    static struct table queue;
    bool good;

    write64(VTD + VTD_IQT, 0);
    vtd_write_halves(VTD_IQA, (uint32_t)&queue);
    good = holds("GSTS.QIES", vtd_command(VTD_GCMD_QIE, true)) &&
           same("CCMD.CAIG", invalidate_context(GLOBAL), 0) &&
           same("IOTLB.IAIG", invalidate_iotlb(GLOBAL), 0);
    return holds("the queue is off", vtd_command(VTD_GCMD_QIE, false)) && good && invalidate_all();
}

/* The second stage of all is given up; translation stays on. */
static bool cleared_context_aborts(void)
{
    context.entries[2 * edu_devfn] = 0;
    return same("CCMD.CAIG", invalidate_context(FINE), FINE) &&
           same("IOTLB.IAIG", invalidate_iotlb(GLOBAL), GLOBAL) && write_arrives(IOVA, NULL) &&
           fault_is(FAULT_CONTEXT, false, IOVA);
}

static bool cleared_root_aborts(void)
{
    root.entries[0] = 0;
    return invalidate_all() && write_arrives(IOVA, NULL) && fault_is(FAULT_ROOT, false, IOVA);
}

static bool another_root_table(void)
{
    static struct table other_root;

    other_root.entries[0] = (uint32_t)&context | ENTRY_PRESENT;
    set_context(&first, 0);
    write64(VTD + VTD_RTADDR, (uint32_t)&other_root);
    if (!write_arrives(IOVA, NULL) || !fault_is(FAULT_ROOT, false, IOVA))
        return false;
    return holds("GSTS.RTPS", vtd_command(VTD_GCMD_RTP, true)) && invalidate_all() &&
           write_arrives(IOVA, page_a) && no_fault();
}

static bool translation_goes_off(void)
{
    return holds("GSTS.TES", vtd_command(VTD_GCMD_TE, false)) &&
           write_arrives((uint32_t)page_b, page_b) && no_fault();
}

static bool translation_comes_back(void)
{
    return holds("GSTS.TES", vtd_command(VTD_GCMD_TE, true)) && write_arrives(IOVA, page_a) &&
           write_arrives((uint32_t)page_b, NULL) &&
           fault_is(FAULT_WRITE, false, (uint32_t)page_b) &&
           holds("off again", vtd_command(VTD_GCMD_TE, false));
}

bool legacy_translation_on(void)
{
    make_stage(&first, 3);
    map(&first, IOVA, page_a, PTE_BOTH);
    root.entries[0] = (uint32_t)&context | ENTRY_PRESENT;
    set_context(&first, 0);
    load_stamps();
    vtd_write_halves(VTD_RTADDR, (uint32_t)&root);
    return holds("GSTS.RTPS", vtd_command(VTD_GCMD_RTP, true)) && invalidate_all() &&
           holds("GSTS.TES", vtd_command(VTD_GCMD_TE, true)) && write_arrives(IOVA, page_a) &&
           no_fault();
}

/* ---- Mistakes of a driver, for a unit that sanitizes: whoever runs this looks at its reports.
 * What the device does is as the unit, which caches less than it may, lets it. */

#define DRAIN 3u /* DR and DW, bits 49 and 48 */

static bool invalidate_page(uint64_t iova, uint32_t drain)
{
    uint32_t offset = vtd_iotlb();

    vtd_write_halves(offset - 8, iova);
    vtd_write_halves(offset, 1ull << 63 | (uint64_t)FINE << 60 | (uint64_t)drain << 48 |
                                 (uint64_t)DOMAIN_ID << 32);
    return same("IOTLB.IAIG", read32(VTD + offset + 4) >> 25 & 3, FINE);
}

static bool remaps_as_it_should(void)
{
    map(&first, IOVA, page_b, PTE_BOTH);
    return invalidate_page(IOVA, DRAIN) && write_arrives(IOVA, page_b);
}

/* Another invalidation is waited for, but not that of the page. */
static bool forgets_the_page(void)
{
    map(&first, IOVA, page_a, PTE_BOTH);
    return same("CCMD.CAIG", invalidate_context(DOMAIN), DOMAIN) && invalidate_page(IOVA, DRAIN) &&
           write_arrives(IOVA, page_a);
}

static bool invalidates_the_next_page(void)
{
    map(&first, IOVA, page_b, PTE_BOTH);
    return invalidate_page(IOVA + PAGE, DRAIN) && invalidate_page(IOVA, DRAIN) &&
           write_arrives(IOVA, page_b);
}

static bool does_not_drain(void)
{
    map(&first, IOVA, page_a, PTE_BOTH);
    return invalidate_page(IOVA, 0) && write_arrives(IOVA, page_a);
}

/* 6.5.1.2: a mask beyond CAP.MAMV is not understood, and nothing is invalidated. */
static bool asks_for_too_many_pages(void)
{
    uint32_t offset = vtd_iotlb(), largest = (uint32_t)(vtd_read_halves(VTD_CAP) >> 48) & 0x3f;

    vtd_write_halves(offset - 8, largest + 1);
    vtd_write_halves(offset, 1ull << 63 | (uint64_t)FINE << 60 | (uint64_t)DRAIN << 48 |
                                 (uint64_t)DOMAIN_ID << 32);
    return same("IOTLB.IAIG", read32(VTD + offset + 4) >> 25 & 3, 0) && write_arrives(IOVA, page_a);
}

/* A table is unlinked, and holds something else before anything was invalidated. */
static bool reuses_a_table(void)
{
    uint64_t *entry = entry_of(&first, IOVA, 2), table = *entry;
    bool good;

    *entry = 0;
    *((uint64_t *)(uint32_t)(table & ~0xfffull) + index_at(IOVA, 1)) = 0x77777777;
    good = same("CCMD.CAIG", invalidate_context(DOMAIN), DOMAIN);
    *entry = table;
    map(&first, IOVA, page_a, PTE_BOTH);
    return invalidate_page(IOVA, DRAIN) && good && write_arrives(IOVA, page_a);
}

/* The page goes first, lest it is reported, too, when the first of the two commands completes. */
static bool rewrites_present_context(void)
{
    bool good = invalidate_page(IOVA, DRAIN);

    make_stage(&second, 3);
    map(&second, IOVA, page_b, PTE_BOTH);
    set_context(&second, 0);
    return good && same("CCMD.CAIG", invalidate_context(DOMAIN), DOMAIN) &&
           invalidate_page(IOVA, DRAIN) && write_arrives(IOVA, page_b);
}

static const struct check planted[] = {
    {"planted: translation is on", legacy_translation_on, NULL},
    {"planted: nothing", remaps_as_it_should, NULL},
    {"planted: a missing invalidation", forgets_the_page, NULL},
    {"planted: an invalidation of the next page", invalidates_the_next_page, NULL},
    {"planted: no drain", does_not_drain, NULL},
    {"planted: a mask beyond CAP.MAMV", asks_for_too_many_pages, NULL},
    {"planted: a table reused", reuses_a_table, NULL},
    {"planted: a present context entry rewritten", rewrites_present_context, NULL},
};

void planted_checks(void)
{
    RUN(planted);
}

static const struct check checks[] = {
    {"legacy: an empty root table blocks DMA", empty_root_table_blocks, NULL},
    {"legacy: an empty context table blocks DMA", empty_context_table_blocks, NULL},
    {"legacy: tables of three levels translate", tables_translate, NULL},
    {"legacy: other pages are blocked", other_pages_are_blocked, NULL},
    {"legacy: a changed mapping is followed", changed_mapping_is_followed, NULL},
    {"legacy: rights of pages are kept", rights_are_kept, NULL},
    {"legacy: a write-only page is not read", write_only_page_is_not_read, NULL},
    {"legacy: an unmapped page is blocked", unmapped_page_is_blocked, NULL},
    {"legacy: a page of 2 MiB translates", large_page_translates, has_2m},
    {"legacy: a transfer over two pages", pages_are_joined, NULL},
    {"legacy: an address beyond the width is blocked", wide_address_is_blocked, NULL},
    {"legacy: tables of four levels translate", four_levels_translate, has_48_bits},
    {"legacy: a changed context entry is followed", changed_context_is_followed, NULL},
    {"legacy: fault processing is disabled by the entry", fault_processing_disabled, NULL},
    {"legacy: pass-through, and back", pass_through, has_pass_through},
    {"legacy: faults overflow their records", faults_overflow, NULL},
    {"legacy: an unknown granularity is refused", unknown_granularity_is_refused, NULL},
    {"legacy: registers do not invalidate beside the queue", queue_takes_over, NULL},
    {"legacy: a cleared context entry blocks DMA", cleared_context_aborts, NULL},
    {"legacy: a cleared root entry blocks DMA", cleared_root_aborts, NULL},
    {"legacy: another root table, only by SRTP", another_root_table, NULL},
    {"legacy: translation goes off", translation_goes_off, NULL},
    {"legacy: translation comes back", translation_comes_back, NULL},
};

void legacy_checks(void)
{
    RUN(checks);
}
