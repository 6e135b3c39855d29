/* SPDX-License-Identifier: MIT */
#include "generate_devices.h"

#include "oracle_registers.h"

#define IRT         UINT64_C(0x1a000)
#define IRT_ENTRIES 24 /* that are filled in */
#define POSTED      UINT64_C(0x1c000)
#define POSTED_MAX  8
#define REQUESTS    UINT64_C(0x1e000) /* the page request queue */

static bool has(const struct generator *generator, unsigned int ecap_bit)
{
    return generator->world->oracle.ecap >> ecap_bit & 1;
}

static bool chance(struct generator *generator, uint64_t n, uint64_t of)
{
    return random_below(generator, of) < n;
}

static void write_register(struct generator *generator, unsigned int offset, uint64_t value)
{
    emit(generator, (struct op){OP_REGISTER, {offset, value}});
}

static uint16_t random_requester(struct generator *generator)
{
    static const uint16_t requesters[] = {
        WORLD_EMULATED,     WORLD_EMULATED, WORLD_ASSIGNED, WORLD_EMULATED + 1,
        WORLD_EMULATED + 4, 0x1f8,          0x200};

    if (random_one_in(generator, 12))
        return (uint16_t)random_next(generator);
    return requesters[random_below(generator, 7)];
}

/* Interrupts */

/* SID, SQ and SVT of an entry: a requester ID, or from one bus to another. */
static uint64_t random_source(struct generator *generator)
{
    uint64_t svt = random_below(generator, 4);

    if (svt == 2)
        return svt << 18 | random_below(generator, 3) << 8 | random_below(generator, 3);
    return svt << 18 | random_below(generator, 4) << 16 | random_requester(generator);
}

static void put_posted(struct generator *generator, uint64_t entry)
{
    uint64_t where = POSTED + random_below(generator, POSTED_MAX) * 64;
    uint64_t low = random_next(generator) & 0x00ff4f00;

    if (random_one_in(generator, 12))
        where = random_one_in(generator, 2) ? WORLD_ROM : WORLD_NOWHERE;
    low |= 0x8000 | (where & 0xffffffc0) << 32;
    emit_store(generator, entry + 8, (where & ~UINT64_C(0xffffffff)) | random_source(generator));
    emit_store(generator, entry, low | 1);
}

/* P, and mostly nothing that is reserved. */
static void put_remapped(struct generator *generator, uint64_t entry, bool extended)
{
    uint64_t low = random_next(generator) & 0x00ff0f1c, high = random_source(generator);
    uint64_t mode = random_below(generator, 8);

    if ((mode == 3 || mode == 6) && !random_one_in(generator, 4))
        mode = 0;
    low |= mode << 5;
    low |= random_next(generator) &
           (extended ? UINT64_C(0xffffffff00000000) : UINT64_C(0x0000ff0000000000));
    if (random_one_in(generator, 12))
        low ^= UINT64_C(1) << random_below(generator, 64);
    if (random_one_in(generator, 20))
        high |= UINT64_C(1) << random_below(generator, 64);
    emit_store(generator, entry + 8, high);
    emit_store(generator, entry,
               low | (random_one_in(generator, 10) ? 0 : 1) |
                   (random_one_in(generator, 8) ? 2 : 0));
}

static void put_entry(struct generator *generator)
{
    uint64_t entry = IRT + random_below(generator, IRT_ENTRIES) * 16;

    if ((generator->world->oracle.cap >> 59 & 1) && random_one_in(generator, 3))
        put_posted(generator, entry);
    else
        put_remapped(generator, entry,
                     has(generator, 4) && generator->world->oracle.registers.irta >> 11 & 1);
}

/* 9.11: notification vector and destination, and rarely what is reserved. */
static void put_descriptor(struct generator *generator)
{
    uint64_t where = POSTED + random_below(generator, POSTED_MAX) * 64;

    emit_store(generator, where + 32, random_next(generator) & UINT64_C(0xffffffff00ff0003));
    if (random_one_in(generator, 8))
        emit_store(generator, where + 32 + random_below(generator, 4) * 8,
                   UINT64_C(1) << random_below(generator, 64));
    else
        emit_store(generator, where + random_below(generator, 4) * 8, random_next(generator));
}

static void random_interrupt(struct generator *generator)
{
    uint64_t index = random_below(generator, IRT_ENTRIES), data = 0, flags = 0, address;

    if (random_one_in(generator, 10))
        index = random_below(generator, 65536);
    address = 0xfee00010 | (index & 0x7fff) << 5 | (index >> 15) << 2;
    if (random_one_in(generator, 3)) {
        address |= 8;
        data = random_below(generator, 4);
    }
    if (random_one_in(generator, 12))
        data = random_next(generator);
    if (random_one_in(generator, 8))
        address ^= 0x10; /* compatibility format */
    if (random_one_in(generator, 40))
        address ^= UINT64_C(1) << random_below(generator, 34);
    if (random_one_in(generator, 4))
        flags = random_below(generator, 4);
    emit(generator, (struct op){OP_INTERRUPT, {random_requester(generator), address, data, flags}});
}

static void set_interrupts(struct generator *generator)
{
    uint64_t size = random_one_in(generator, 3) ? random_below(generator, 16) : 5;
    uint64_t table = random_one_in(generator, 20) ? WORLD_NOWHERE : IRT;

    write_register(generator, 0xb8, table | size | random_below(generator, 2) << 11);
    write_register(generator, ORACLE_GCMD,
                   UINT64_C(1) << 24 | (uint64_t)!random_one_in(generator, 12) << 25 |
                       random_below(generator, 2) << 23);
}

/* Devices with a TLB */

static void random_device_invalidation(struct generator *generator)
{
    uint64_t address = random_iova(generator) & ~UINT64_C(0xfff), low, high;
    uint64_t requester = random_requester(generator);
    uint64_t pasid = world_pasids[random_below(generator, world_pasid_count)] & 0xfffff;

    if (random_one_in(generator, 2))
        address |= (UINT64_C(1) << (12 + random_below(generator, 52))) - 0x1000;
    switch (random_below(generator, 3)) {
    case 0:
        low = 3 | requester << 32 | random_below(generator, 32) << 16;
        high = address | random_below(generator, 2);
        break;
    case 1:
        low = 8 | requester << 16 | pasid << 32 | random_below(generator, 32) << 4;
        high = address | random_below(generator, 2) << 11 | random_one_in(generator, 4);
        break;
    default:
        low = 9 | random_below(generator, 2) << 4 | random_below(generator, 16) << 12 |
              requester << 16 | pasid << 32;
        high = random_below(generator, 512) << 3 | random_below(generator, 2) << 2;
        break;
    }
    if (random_one_in(generator, 30))
        low ^= UINT64_C(1) << random_below(generator, 64);
    if (random_one_in(generator, 30))
        high ^= UINT64_C(1) << random_below(generator, 64);
    if ((low & 15) == 5)
        low ^= 4; /* a wait would write to memory */
    emit(generator, (struct op){OP_INVALIDATE, {low, high}});
}

static void random_page_request(struct generator *generator)
{
    uint32_t pasid = world_pasids[random_below(generator, world_pasid_count)];
    uint64_t access = 1 + random_below(generator, 3), group = random_below(generator, 512);

    if (random_one_in(generator, 3))
        pasid = world_pasids[2];
    if (pasid != VIOMMU_PASID_NONE)
        access |= random_below(generator, 4) << 2;
    if (random_one_in(generator, 12))
        access = random_below(generator, 32);
    if (random_one_in(generator, 40))
        group = random_below(generator, 1024);
    emit(generator, (struct op){OP_PAGE_REQUEST,
                                {pasid, access, random_iova(generator),
                                 group | random_below(generator, 2) << 15}});
}

/* The guest has taken some requests, or lays its queue anew. */
static void serve_page_requests(struct generator *generator)
{
    uint64_t queue = random_one_in(generator, 8) ? WORLD_ROM : REQUESTS;

    if (random_one_in(generator, 3))
        write_register(generator, 0xd0, queue | random_below(generator, 2));
    if (random_one_in(generator, 3))
        write_register(generator, 0xc8, random_next(generator) & 0x1fe0);
    write_register(generator, 0xc0, random_next(generator) & 0x1fe0);
    write_register(generator, ORACLE_PRS, random_below(generator, 4));
    if (random_one_in(generator, 4))
        write_register(generator, ORACLE_PECTL, random_below(generator, 2) << 31);
}

static void protect(struct generator *generator)
{
    uint64_t base = random_below(generator, 4) * 0x200000, high = WORLD_HIGH;

    write_register(generator, 0x64, 0);
    write_register(generator, 0x68, base);
    write_register(generator, 0x6c, base + random_below(generator, 3) * 0x200000 - 0x200000);
    if (random_one_in(generator, 2))
        high = random_iova(generator);
    write_register(generator, 0x70, high);
    write_register(generator, 0x78, high + random_below(generator, 1000) * 0x200000);
    write_register(generator, 0x64, random_one_in(generator, 3) ? 0 : UINT64_C(1) << 31);
}

/* The whole. */

void devices_build(struct generator *generator)
{
    if (!has(generator, 3))
        return;
    set_interrupts(generator);
    for (unsigned int i = 0; i < IRT_ENTRIES; i++)
        put_entry(generator);
    if (generator->world->oracle.cap >> 59 & 1) {
        for (unsigned int i = 0; i < POSTED_MAX; i++)
            put_descriptor(generator);
    }
}

void devices_begin(struct generator *generator)
{
    if (has(generator, 3) && random_one_in(generator, 3))
        set_interrupts(generator);
    if (has(generator, 29))
        serve_page_requests(generator);
    if ((generator->world->oracle.cap >> 5 & 1) && random_one_in(generator, 3))
        protect(generator);
    if (has(generator, 2))
        emit(generator, (struct op){OP_ANSWERS, {random_below(generator, 2)}});
}

void devices_step(struct generator *generator)
{
    bool posts = generator->world->oracle.cap >> 59 & 1;

    if (has(generator, 3) && chance(generator, 1, 2))
        random_interrupt(generator);
    if (has(generator, 3) && world_is_settled(generator->world) && random_one_in(generator, 10)) {
        posts &= random_one_in(generator, 2);
        (posts ? put_descriptor : put_entry)(generator);
    }
    if (has(generator, 2) && random_one_in(generator, 6))
        random_device_invalidation(generator);
    if (has(generator, 29) && random_one_in(generator, 3))
        random_page_request(generator);
    if (has(generator, 29) && random_one_in(generator, 40))
        serve_page_requests(generator);
}
