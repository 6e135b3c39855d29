/* SPDX-License-Identifier: MIT */
/*
 * Structures (root to PASID table) and page tables mostly keep to pages of their own: where an
 * accessed bit of a walk changes another structure, nobody can say what is cached.
 */
#include "tables.h"

#include <string.h>

#define ROOT      UINT64_C(0x10000)
#define CONTEXT   UINT64_C(0x11000)
#define PASIDS    UINT64_C(0x12000) /* one page for each table of 64 */
#define SMALL_DIR UINT64_C(0x18000)
/* 0x1a000 to 0x1ffff: generate_devices.c */
#define DIRECTORY UINT64_C(0x20000) /* 128 KiB: all of 20 bits */
#define PAGES     UINT64_C(0x40000) /* page tables, up to WORLD_DATA */

static const uint64_t borders[] = {
    0,
    0x1000,
    0x200000,
    0x3ff000,
    0x40000000,
    0xfec00000,
    0xfedff000,
    0xfee00000,
    0xfee01000,
    0xfef00000,
    0xc0000000,
    UINT64_C(0x7ffffff000),
    UINT64_C(1) << 39,
    UINT64_C(0x7ffffffff000),
    UINT64_C(1) << 47,
    UINT64_C(0xfffffffff000),
    UINT64_C(1) << 48,
    ~UINT64_C(0xfff),
    UINT64_C(0xffff800000000000),
    UINT64_C(0xfffffff000),
    UINT64_C(1) << 36,
    UINT64_C(1) << 56,
    UINT64_C(0xff00000000000000),
};

#define BORDERS (sizeof(borders) / sizeof(borders[0]))

uint64_t tables_border(uint64_t n)
{
    return borders[n % BORDERS];
}

uint64_t random_iova(struct generator *generator)
{
    if (generator->iova_count && !random_one_in(generator, 6))
        return generator->iovas[random_below(generator, generator->iova_count)];
    if (random_one_in(generator, 20))
        return random_next(generator);
    return borders[random_below(generator, BORDERS)];
}

uint16_t random_domain(struct generator *generator)
{
    static const uint16_t domains[] = {1, 2, 7, 7, 9};

    if (random_one_in(generator, 30))
        return (uint16_t)random_next(generator);
    return domains[random_below(generator, sizeof(domains) / sizeof(domains[0]))];
}

static void remember(struct generator *generator, uint64_t gpa, enum entry_stage stage)
{
    unsigned int at = generator->entry_count;

    if (at == TABLES_ENTRIES)
        return;
    generator->entries[at].gpa = gpa;
    generator->entries[at].stage = stage;
    generator->entry_count++;
}

static void put(struct generator *generator, uint64_t gpa, uint64_t value, enum entry_stage stage)
{
    emit_store(generator, gpa, value);
    remember(generator, gpa, stage);
}

/* A page for a page table; they are used again when all are taken, which makes loops. */
static uint64_t new_page(struct generator *generator)
{
    uint64_t page = generator->next_page;

    if (random_one_in(generator, 60))
        return WORLD_ROM + random_below(generator, 4) * 4096;
    if (page == WORLD_DATA)
        return PAGES + random_below(generator, (WORLD_DATA - PAGES) >> 12) * 4096;
    generator->next_page += 4096;
    return page;
}

/* Where a page or a table may lie. */
static uint64_t random_target(struct generator *generator, unsigned int level)
{
    static const uint64_t odd[] = {WORLD_ROM,  WORLD_HIGH,        WORLD_NOWHERE,
                                   0xfedff000, 0xfee00000,        0xfef00000,
                                   0xfec00000, UINT64_C(1) << 45, UINT64_C(1) << 50};

    if (random_one_in(generator, 12))
        return odd[random_below(generator, sizeof(odd) / sizeof(odd[0]))];
    if (random_one_in(generator, 24))
        return PAGES + random_below(generator, (WORLD_DATA - PAGES) >> 12) * 4096;
    if (level > 1)
        return random_one_in(generator, 3) ? WORLD_HIGH : 0;
    return WORLD_DATA + random_below(generator, (WORLD_LOW - WORLD_DATA) >> 12) * 4096;
}

/* Permissions and bits that mean little, of a leaf or of a table. */
static uint64_t random_flags(struct generator *generator, enum entry_stage stage, bool leaf)
{
    uint64_t flags = stage == ENTRY_FIRST ? 7 : 3;

    if (random_one_in(generator, leaf ? 5 : 30))
        flags &= random_below(generator, 8);
    if (random_one_in(generator, 8))
        flags |= random_next(generator) & (stage == ENTRY_FIRST ? 0x460 : 0x300);
    if (random_one_in(generator, 20) && stage == ENTRY_FIRST)
        flags |= UINT64_C(1) << 63;
    if (leaf && random_one_in(generator, 20) && stage == ENTRY_SECOND)
        flags |= 1 << 11;
    return flags;
}

static uint64_t peek(const struct generator *generator, uint64_t gpa)
{
    const uint8_t *at = world_at(generator->world, gpa);
    uint64_t value = 0;

    if (at)
        memcpy(&value, at, sizeof(value));
    return value;
}

/* Where page tables are made: PAGES, and the ROM, in which nobody sets bits. */
static bool is_table(uint64_t gpa)
{
    return (gpa >= PAGES && gpa < WORLD_DATA) || (gpa >= WORLD_ROM && gpa < WORLD_ROM + 0x4000);
}

/* Map iova at `level` by a table whose entries hold GPA + offset for tables. */
static void map(struct generator *generator, uint64_t root, unsigned int levels, uint64_t offset,
                uint64_t iova, unsigned int level, uint64_t value, enum entry_stage stage)
{
    uint64_t table = root, entry;

    if (level > levels)
        level = levels;
    for (unsigned int i = levels;; i--) {
        entry = table + (iova >> (12 + 9 * (i - 1)) & 511) * 8;
        if (i == level)
            break;
        if (!peek(generator, entry))
            put(generator, entry,
                (new_page(generator) + offset) | random_flags(generator, stage, false), stage);
        table = (peek(generator, entry) & UINT64_C(0xffffffffff000)) - offset;
        if (!is_table(table) || peek(generator, entry) >> 7 & 1)
            return;
    }
    put(generator, entry, value | (level > 1 ? 0x80 : 0), stage);
}

static unsigned int random_level(struct generator *generator)
{
    return random_one_in(generator, 4) ? 1 + random_below(generator, 4) : 1;
}

/* All tables map the same few addresses, so that a request finds something in each. */
static void choose_iovas(struct generator *generator)
{
    for (unsigned int i = 0; i < TABLES_IOVAS; i++) {
        uint64_t iova = random_next(generator) & UINT64_C(0x3ffffff000);

        if (random_one_in(generator, 3))
            iova = borders[random_below(generator, BORDERS)];
        else if (random_one_in(generator, 2))
            iova &= 0xff000;
        generator->iovas[i] = iova;
    }
    generator->iova_count = TABLES_IOVAS;
}

static void map_some(struct generator *generator, uint64_t root, unsigned int levels,
                     uint64_t offset, enum entry_stage stage)
{
    for (unsigned int i = 0; i < TABLES_IOVAS; i++) {
        unsigned int level = random_level(generator);

        if (!random_one_in(generator, 4))
            map(generator, root, levels, offset, generator->iovas[i], level,
                (random_target(generator, level) + offset) | random_flags(generator, stage, true),
                stage);
    }
}

/* The second stage of a nested entry shows the tables and the data at table_offset. */
static void map_window(struct generator *generator, uint64_t root, unsigned int levels)
{
    uint64_t offset = generator->table_offset;

    if (random_one_in(generator, 2)) {
        map(generator, root, levels, 0, offset, 2, 3, ENTRY_SECOND);
        return;
    }
    for (uint64_t page = 0; page < WORLD_LOW; page += 4096)
        map(generator, root, levels, 0, offset + page, 1,
            page | (random_one_in(generator, 200) ? 2 : 3), ENTRY_SECOND);
}

static void build_page_tables(struct generator *generator)
{
    static const uint64_t offsets[] = {0, 0, 0x200000, 0x40000000};
    choose_iovas(generator);
    generator->table_offset = offsets[random_below(generator, 4)];
    for (unsigned int i = 0; i < TABLES_ROOTS; i++) {
        generator->second[i] = new_page(generator);
        if (i == 0 && (generator->world->oracle.ecap >> 26 & 1))
            map_window(generator, generator->second[i], generator->second_levels);
        map_some(generator, generator->second[i], generator->second_levels, 0, ENTRY_SECOND);
        generator->first[i] = new_page(generator);
        /* The first is for nesting. */
        map_some(generator, generator->first[i], generator->first_levels,
                 i == 0 ? generator->table_offset : 0, ENTRY_FIRST);
    }
}

static uint64_t random_second_root(struct generator *generator)
{
    return generator->second[random_below(generator, TABLES_ROOTS)];
}

static void build_legacy(struct generator *generator)
{
    static const uint16_t functions[] = {WORLD_EMULATED, WORLD_ASSIGNED};
    uint64_t second = random_second_root(generator);

    put(generator, ROOT, CONTEXT | 1, ENTRY_STRUCTURE);
    for (size_t i = 0; i < 2; i++) {
        uint64_t entry = CONTEXT + functions[i] * UINT64_C(16);
        uint64_t tt = random_below(generator, 3) ? generator->world->oracle.ecap >> 2 & 1 : 0;

        if (random_one_in(generator, 5))
            tt = random_below(generator, 4);
        if (random_one_in(generator, 3))
            second = random_second_root(generator);
        put(generator, entry, second | tt << 2 | 1, ENTRY_STRUCTURE);
        put(generator, entry + 8,
            (generator->second_levels - 2) | (uint64_t)random_domain(generator) << 8,
            ENTRY_STRUCTURE);
    }
}

/* Flags of quadword 2 (9.6), mostly such as the unit has. */
static uint64_t random_first_flags(struct generator *generator)
{
    uint64_t ecap = generator->world->oracle.ecap, flags = random_next(generator) & 0x70;

    if (ecap >> 31 & 1)
        flags |= random_below(generator, 2);
    if (ecap >> 30 & 1)
        flags |= random_below(generator, 2) << 1;
    if (ecap >> 34 & 1)
        flags |= random_below(generator, 2) << 7;
    if (!(ecap >> 47 & 1))
        flags &= ~UINT64_C(0x10);
    return flags | (generator->first_levels == 5 ? 1 << 2 : 0);
}

static unsigned int random_pgtt(struct generator *generator)
{
    uint64_t ecap = generator->world->oracle.ecap;
    const uint64_t has[] = {0, ecap >> 47 & 1, ecap >> 46 & 1, ecap >> 26 & 1, ecap >> 6 & 1};
    unsigned int pgtt = random_below(generator, 4) ? 1 + random_below(generator, 3) : 4;

    if (random_one_in(generator, 40))
        return random_below(generator, 8);
    for (unsigned int i = 0; i < 5 && !has[pgtt]; i++)
        pgtt = 1 + pgtt % 4;
    return pgtt;
}

static void put_pasid_entry(struct generator *generator, uint64_t entry)
{
    uint64_t ecap = generator->world->oracle.ecap;
    unsigned int pgtt = random_pgtt(generator);
    uint64_t qw0 = 1 | (uint64_t)pgtt << 6, qw1 = random_domain(generator), qw2 = 0;
    bool first = pgtt == 1 || pgtt == 3, second = pgtt == 2 || pgtt == 3;

    if (second)
        qw0 |= generator->second[pgtt == 3 ? 0 : random_below(generator, TABLES_ROOTS)] |
               (generator->second_levels - 2) << 2;
    if (second && (ecap >> 45 & 1))
        qw0 |= random_below(generator, 2) << 9;
    if ((ecap >> 48 & 1) && !random_one_in(generator, 8))
        qw1 |= 1 << 23;
    if ((ecap >> 7 & 1) && random_one_in(generator, 4))
        qw1 |= 1 << 24;
    if (first)
        qw2 = pgtt == 3 ? generator->first[0] + generator->table_offset
                        : generator->first[1 + random_below(generator, TABLES_ROOTS - 1)];
    put(generator, entry + 16, qw2 | random_first_flags(generator), ENTRY_STRUCTURE);
    put(generator, entry + 8, qw1, ENTRY_STRUCTURE);
    put(generator, entry, qw0 | (random_one_in(generator, 20) ? 2 : 0), ENTRY_STRUCTURE);
}

static uint64_t pasid_table(uint32_t pasid)
{
    static const uint32_t tables[] = {0, 1, 3, 0x1ffff / 64, 0xfffff / 64};

    for (uint64_t i = 0; i < 5; i++) {
        if (pasid / 64 == tables[i])
            return PASIDS + i * 4096;
    }
    return WORLD_NOWHERE;
}

static void build_context(struct generator *generator, uint16_t function, uint64_t directory)
{
    uint64_t entry = CONTEXT + function * UINT64_C(32);
    uint64_t pdts = random_one_in(generator, 3) ? random_below(generator, 8) : 7;
    uint64_t privileged = generator->world->oracle.ecap >> 53 & random_below(generator, 2);
    uint64_t dte = random_one_in(generator, 6) ? 0 : generator->world->oracle.ecap >> 2 & 1;
    uint64_t paside = generator->pasids && !random_one_in(generator, 10);
    uint64_t fpd = random_one_in(generator, 8);
    uint64_t pre = random_one_in(generator, 6) ? 0 : generator->world->oracle.ecap >> 29 & 1;

    put(generator, entry, directory | pdts << 9 | paside << 3 | dte << 2 | pre << 4 | fpd << 1 | 1,
        ENTRY_STRUCTURE);
    put(generator, entry + 8,
        (random_one_in(generator, 6) ? world_pasids[1 + random_below(generator, 4)] : 0) |
            privileged << 20,
        ENTRY_STRUCTURE);
}

static void build_scalable(struct generator *generator)
{
    put(generator, ROOT, CONTEXT | 1, ENTRY_STRUCTURE);
    build_context(generator, WORLD_EMULATED, DIRECTORY);
    build_context(generator, WORLD_ASSIGNED, random_one_in(generator, 3) ? SMALL_DIR : DIRECTORY);
    put(generator, SMALL_DIR, PASIDS | 1, ENTRY_STRUCTURE);
    for (size_t i = 1; i < world_pasid_count; i++) {
        uint32_t pasid = world_pasids[i];
        uint64_t table = random_one_in(generator, 60) ? WORLD_NOWHERE : pasid_table(pasid);

        emit_store(generator, DIRECTORY + pasid / 64 * 8, table | 1);
        if (!random_one_in(generator, 10))
            put_pasid_entry(generator, pasid_table(pasid) + pasid % 64 * 64);
    }
    remember(generator, DIRECTORY, ENTRY_STRUCTURE);
    remember(generator, DIRECTORY + 8, ENTRY_STRUCTURE);
}

void tables_build(struct generator *generator)
{
    uint64_t cap = generator->world->oracle.cap;
    unsigned int widths[4], count = 0;

    for (unsigned int aw = 1; aw <= 3; aw++) {
        if (cap >> (8 + aw) & 1)
            widths[count++] = aw + 2;
    }
    generator->second_levels = widths[random_below(generator, count)];
    generator->first_levels = (cap >> 60 & 1) && random_one_in(generator, 2) ? 5 : 4;
    generator->legacy = !generator->world->scalable || random_one_in(generator, 5);
    generator->next_page = PAGES;
    build_page_tables(generator);
    if (generator->legacy)
        build_legacy(generator);
    else
        build_scalable(generator);
}

void tables_switch_on(struct generator *generator)
{
    uint64_t ttm = generator->legacy ? 0 : 1;
    bool on = !random_one_in(generator, 12);
    uint64_t root = random_one_in(generator, 60) ? WORLD_NOWHERE : ROOT;

    if (random_one_in(generator, 30))
        ttm = random_below(generator, 4);
    emit(generator, (struct op){OP_MODE, {on, root | ttm << 10}});
}

static uint64_t spoil_structure(struct generator *generator, uint64_t value)
{
    static const uint64_t pointers[] = {WORLD_NOWHERE, WORLD_ROM, UINT64_C(1) << 48, ROOT,
                                        PASIDS,        PAGES,     WORLD_DATA};

    switch (random_below(generator, 5)) {
    case 0:
        return (value & 0xfff) |
               pointers[random_below(generator, sizeof(pointers) / sizeof(pointers[0]))];
    case 1:
        return value ^ UINT64_C(1) << random_below(generator, 12);
    case 2:
        return value ^ UINT64_C(1) << (36 + random_below(generator, 28));
    case 3:
        return value & ~UINT64_C(1);
    default:
        return 0;
    }
}

static uint64_t spoil_page(struct generator *generator, uint64_t value, enum entry_stage stage)
{
    switch (random_below(generator, 8)) {
    case 0:
        return value ^ UINT64_C(1) << random_below(generator, 12);
    case 1:
        return value ^ UINT64_C(1) << (30 + random_below(generator, 34));
    case 2:
        return value & UINT64_C(0xffffffff); /* half-written */
    case 3:
        return value & ~UINT64_C(0xffffffff);
    case 4:
        return (value & 0xfff) | random_target(generator, 1);
    case 5:
        return random_target(generator, 1) | random_flags(generator, stage, true);
    case 6:
        return 0;
    default:
        return value & ~UINT64_C(0x760); /* as software that looks for use */
    }
}

static void change_pasid_entry(struct generator *generator)
{
    uint32_t pasid = world_pasids[1 + random_below(generator, world_pasid_count - 1)];

    put_pasid_entry(generator, pasid_table(pasid) + pasid % 64 * 64);
}

static void spoil(struct generator *generator, uint64_t gpa, enum entry_stage stage)
{
    uint64_t value = peek(generator, gpa);

    if (stage == ENTRY_STRUCTURE)
        emit_store(generator, gpa, spoil_structure(generator, value));
    else
        emit_store(generator, gpa, spoil_page(generator, value, stage));
}

static void spoil_any(struct generator *generator)
{
    unsigned int i = random_below(generator, generator->entry_count);

    if (random_one_in(generator, 24)) {
        emit_store(generator, ROOT, random_one_in(generator, 4) ? WORLD_NOWHERE | 1 : CONTEXT | 1);
        return;
    }
    spoil(generator, generator->entries[i].gpa, generator->entries[i].stage);
}

/* The entries that one request meets. */
#define PATH_MAX_ENTRIES 40

struct path {
    uint64_t gpa[PATH_MAX_ENTRIES];
    enum entry_stage stage[PATH_MAX_ENTRIES];
    unsigned int count;
};

static void met(void *opaque, uint64_t gpa, unsigned int stage)
{
    struct path *path = opaque;

    if (path->count == PATH_MAX_ENTRIES)
        return;
    path->gpa[path->count] = gpa;
    path->stage[path->count++] = stage == 1 ? ENTRY_FIRST : ENTRY_SECOND;
}

/* A request that arrives, if one is soon found: what it meets may be cached. */
static void find_path(struct generator *generator, struct path *path)
{
    struct oracle *oracle = &generator->world->oracle;
    struct oracle_request request = {.length = 1, .access = ORACLE_READ};
    struct oracle_answer answer = {.verdict = ORACLE_FAULT};

    oracle->dry = true;
    oracle->met = met;
    oracle->met_opaque = path;
    for (unsigned int i = 0; i < 8 && (answer.verdict || !path->count); i++) {
        path->count = 0;
        request.address = random_iova(generator);
        request.requester = random_one_in(generator, 2) ? WORLD_EMULATED : WORLD_ASSIGNED;
        request.pasid = world_pasids[random_below(generator, world_pasid_count)];
        oracle_translate(oracle, &request, &answer);
    }
    oracle->met = NULL;
}

static void spoil_path(struct generator *generator)
{
    struct path path = {.count = 0};
    unsigned int i;

    find_path(generator, &path);
    if (!path.count)
        return;
    i = random_below(generator, path.count);
    spoil(generator, path.gpa[i], path.stage[i]);
}

/* Map something anew, also where something was. */
static void remap(struct generator *generator)
{
    unsigned int i = random_below(generator, TABLES_ROOTS), level = random_level(generator);
    uint64_t iova = random_iova(generator);

    if (random_one_in(generator, 2))
        map(generator, generator->first[i], generator->first_levels,
            i ? 0 : generator->table_offset, iova, level,
            random_target(generator, level) | random_flags(generator, ENTRY_FIRST, true),
            ENTRY_FIRST);
    else
        map(generator, generator->second[i], generator->second_levels, 0, iova, level,
            random_target(generator, level) | random_flags(generator, ENTRY_SECOND, true),
            ENTRY_SECOND);
}

void tables_mutate(struct generator *generator)
{
    if (!generator->legacy && random_one_in(generator, 6))
        change_pasid_entry(generator);
    else if (random_one_in(generator, 3))
        remap(generator);
    else if (random_one_in(generator, 3))
        spoil_any(generator);
    else
        spoil_path(generator);
}
