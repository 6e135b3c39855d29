/* SPDX-License-Identifier: MIT */
/* The IOTLB: what hits, what each invalidation drops and leaves, and all of it against a model. */
#include "unit.h"

#include "base/bits.h"
#include "dma/iotlb.h"

#define RW (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)

static int setup(void **state)
{
    *state = iotlb_create();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    iotlb_destroy(*state);
    return 0;
}

static uint64_t key_of(uint32_t pasid, uint8_t access, uint8_t type)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;

    request.pasid = pasid;
    request.access = access;
    request.type = type;
    return iotlb_key(&request);
}

static struct dma_translation page_of(uint32_t domain, uint64_t gpa, uint8_t granule_log2)
{
    return (struct dma_translation){
        .gpa = gpa, .domain = domain, .granule_log2 = granule_log2, .permissions = RW};
}

static void fill(struct iotlb *iotlb, uint64_t iova, uint32_t pasid,
                 const struct dma_translation *translation)
{
    iotlb_fill(iotlb, iova, key_of(pasid, RW, 0), translation, iotlb_sequence(iotlb));
}

/* Fill a page whose GPA is its IOVA + 2^40. */
static void fill_page(struct iotlb *iotlb, uint64_t iova, uint32_t pasid, uint32_t domain,
                      uint8_t granule_log2)
{
    struct dma_translation translation =
        page_of(domain, (iova & ~low_bits(granule_log2)) + BIT64(40), granule_log2);

    fill(iotlb, iova, pasid, &translation);
}

static bool hits(struct iotlb *iotlb, uint64_t iova, uint32_t pasid)
{
    struct iotlb_hit hit;

    return iotlb_lookup(iotlb, iova, key_of(pasid, RW, 0), &hit);
}

static void drop_pages(struct iotlb *iotlb, uint32_t domain, uint32_t pasid, uint64_t address,
                       uint64_t length)
{
    struct dma_invalidation what = {DMA_INVALIDATE_PAGES, domain, pasid, address, length, false};

    iotlb_invalidate(iotlb, &what);
}

static void drop_second_stage(struct iotlb *iotlb, uint32_t domain, uint64_t address)
{
    struct dma_invalidation what = {
        DMA_INVALIDATE_PAGES, domain, DMA_PASID_ANY, address, 4096, true};

    iotlb_invalidate(iotlb, &what);
}

static void drop_domain(struct iotlb *iotlb, uint32_t domain)
{
    struct dma_invalidation what = {DMA_INVALIDATE_DOMAIN, domain, DMA_PASID_ANY, 0, 0, false};

    iotlb_invalidate(iotlb, &what);
}

static void drop_all(struct iotlb *iotlb)
{
    struct dma_invalidation what = {DMA_INVALIDATE_ALL, 0, DMA_PASID_ANY, 0, 0, false};

    iotlb_invalidate(iotlb, &what);
}

static void empty_misses(void **state)
{
    assert_false(hits(*state, 0, 0));
    assert_false(hits(*state, UINT64_MAX, VIOMMU_PASID_NONE));
    fill_page(*state, 0x1000, 0, 0, 12);
    assert_false(hits(*state, 0, 0));
}

static void a_hit_says_everything(void **state)
{
    struct dma_translation translation = page_of(0xabcdef, 0x7000, 12);
    struct iotlb_hit hit;

    translation.nested = true;
    translation.permissions = VIOMMU_DMA_READ | VIOMMU_DMA_EXECUTE;
    fill(*state, 0x5123, 9, &translation);
    assert_true(iotlb_lookup(*state, 0x5fff, key_of(9, VIOMMU_DMA_READ, 0), &hit));
    assert_true(hit.gpa == 0x7fff && hit.length == 1);
    assert_true(hit.attributes >> IOTLB_DOMAIN_SHIFT == 0xabcdef);
    assert_true((hit.attributes & IOTLB_PERMISSIONS) == translation.permissions);
    assert_true(field_get(IOTLB_GRANULE, hit.attributes) == 12);
    assert_true(hit.attributes & IOTLB_NESTED && !(hit.attributes & IOTLB_FRACTURED));
    assert_false(hits(*state, 0x6000, 9));
}

static void requests_that_differ_miss(void **state)
{
    struct iotlb_hit hit;

    fill_page(*state, 0x1000, 7, 1, 12);
    assert_true(hits(*state, 0x1000, 7));
    assert_false(hits(*state, 0x1000, 8));
    assert_false(hits(*state, 0x1000, VIOMMU_PASID_NONE));
    assert_false(iotlb_lookup(*state, 0x1000, key_of(7, RW | VIOMMU_DMA_PRIVILEGED, 0), &hit));
    assert_false(iotlb_lookup(*state, 0x1000, key_of(7, RW | VIOMMU_DMA_EXECUTE, 0), &hit));
    assert_false(iotlb_lookup(*state, 0x1000, key_of(7, RW | 0x80, 0), &hit));
    assert_false(iotlb_lookup(*state, 0x1000, key_of(7, RW, VIOMMU_DMA_TRANSLATED), &hit));
    /* What differs is read or write: that is what the permissions are for. */
    assert_true(iotlb_lookup(*state, 0x1000, key_of(7, VIOMMU_DMA_READ, 0), &hit));
}

static void every_page_size(void **state)
{
    static const struct {
        uint8_t granule_log2, class_log2;
    } cases[] = {{12, 12}, {13, 12}, {20, 12}, {21, 21}, {29, 21}, {30, 30}, {39, 30}, {63, 30}};

    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t size = BIT64(cases[i].class_log2), iova = BIT64(62) + 0x12345678;
        uint64_t page = iova & ~(size - 1);
        struct dma_translation translation = page_of(1, 0, cases[i].granule_log2);
        struct iotlb_hit hit;

        drop_all(*state);
        fill(*state, iova, 0, &translation);
        assert_true(iotlb_lookup(*state, page, key_of(0, RW, 0), &hit));
        assert_true(hit.gpa == (page & low_bits(cases[i].granule_log2)) && hit.length == size);
        assert_true(iotlb_lookup(*state, page + size - 1, key_of(0, RW, 0), &hit));
        assert_true(hit.length == 1);
        assert_true(field_get(IOTLB_GRANULE, hit.attributes) == cases[i].granule_log2);
        assert_false(hits(*state, page - 1, 0));
        assert_false(hits(*state, page + size, 0));
    }
}

static void ways_hold_pasids(void **state)
{
    unsigned int kept = 0;

    for (uint32_t pasid = 0; pasid < IOTLB_WAYS; pasid++)
        fill_page(*state, 0x3000, pasid, 1, 12);
    for (uint32_t pasid = 0; pasid < IOTLB_WAYS; pasid++)
        assert_true(hits(*state, 0x3000, pasid));
    fill_page(*state, 0x3000, 99, 1, 12);
    assert_true(hits(*state, 0x3000, 99));
    for (uint32_t pasid = 0; pasid < IOTLB_WAYS; pasid++)
        kept += hits(*state, 0x3000, pasid);
    assert_int_equal(kept, IOTLB_WAYS - 1);
}

static void fills_replace(void **state)
{
    struct dma_translation translation = page_of(1, 0x7000, 12);
    struct iotlb_hit hit;

    for (uint32_t pasid = 0; pasid < IOTLB_WAYS; pasid++)
        fill_page(*state, 0x3000, pasid, 1, 12);
    fill(*state, 0x3000, 2, &translation);
    assert_true(iotlb_lookup(*state, 0x3000, key_of(2, RW, 0), &hit));
    assert_true(hit.gpa == 0x7000);
    for (uint32_t pasid = 0; pasid < IOTLB_WAYS; pasid++)
        assert_true(hits(*state, 0x3000, pasid));
}

static void outdated_ways_are_reused(void **state)
{
    for (uint32_t pasid = 0; pasid < IOTLB_WAYS; pasid++)
        fill_page(*state, 0x3000, pasid, pasid == 2 ? 2 : 1, 12);
    drop_domain(*state, 2);
    fill_page(*state, 0x3000, 50, 1, 12);
    for (uint32_t pasid = 0; pasid < IOTLB_WAYS; pasid++)
        assert_true(hits(*state, 0x3000, pasid) == (pasid != 2));
    assert_true(hits(*state, 0x3000, 50));
}

static void all_drops_all(void **state)
{
    fill_page(*state, 0x1000, 0, 1, 12);
    fill_page(*state, BIT64(30), 1, 2, 21);
    drop_all(*state);
    assert_false(hits(*state, 0x1000, 0));
    assert_false(hits(*state, BIT64(30), 1));
}

static void a_domain_is_dropped_alone(void **state)
{
    fill_page(*state, 0x1000, 0, 1, 12);
    fill_page(*state, 0x2000, 0, 2, 12);
    drop_domain(*state, 1);
    assert_false(hits(*state, 0x1000, 0));
    assert_true(hits(*state, 0x2000, 0));
}

static void a_page_is_dropped_alone(void **state)
{
    fill_page(*state, 0x1000, 0, 1, 12);
    fill_page(*state, 0x2000, 0, 1, 12);
    fill_page(*state, 0x2000, 5, 1, 12);
    fill_page(*state, 0x2000, 6, 2, 12);
    fill_page(*state, 0x102000, 0, 1, 12); /* same set */
    drop_pages(*state, 1, 0, 0x2000, 4096);
    assert_false(hits(*state, 0x2000, 0));
    assert_true(hits(*state, 0x1000, 0));
    assert_true(hits(*state, 0x2000, 5));
    assert_true(hits(*state, 0x102000, 0));
    drop_pages(*state, 1, DMA_PASID_ANY, 0x2000, 4096);
    assert_false(hits(*state, 0x2000, 5));
    assert_true(hits(*state, 0x2000, 6));
    assert_true(hits(*state, 0x102000, 0));
}

static void an_address_drops_the_large_page(void **state)
{
    fill_page(*state, BIT64(31), 0, 1, 30);
    fill_page(*state, 0x400000, 0, 1, 21);
    fill_page(*state, 0x600000, 0, 1, 21);
    drop_pages(*state, 1, 0, 0x5ff000, 4096);
    assert_false(hits(*state, 0x400000, 0));
    assert_true(hits(*state, 0x600000, 0));
    assert_true(hits(*state, BIT64(31), 0));
    drop_pages(*state, 1, 0, BIT64(31) + 0x5000, 4096);
    assert_false(hits(*state, BIT64(31), 0));
}

static void a_range_drops_what_it_covers(void **state)
{
    for (uint64_t page = 0; page < 64; page++)
        fill_page(*state, page << 12, 0, 1, 12);
    drop_pages(*state, 1, 0, 16 << 12, 16 << 12);
    for (uint64_t page = 0; page < 64; page++)
        assert_true(hits(*state, page << 12, 0) == (page < 16 || page >= 32));
}

static void a_wide_range_drops_the_domain(void **state)
{
    fill_page(*state, 0x1000, 0, 1, 12);
    fill_page(*state, BIT64(33), 0, 1, 12);
    fill_page(*state, 0x2000, 0, 2, 12);
    drop_pages(*state, 1, 0, BIT64(33), (uint64_t)IOTLB_SETS_4K << 13);
    assert_false(hits(*state, BIT64(33), 0));
    assert_true(hits(*state, 0x2000, 0));
    fill_page(*state, 0x1000, 0, 1, 12);
    drop_pages(*state, 1, 0, 0, 0);
    assert_false(hits(*state, 0x1000, 0));
    assert_true(hits(*state, 0x2000, 0));
}

static void fractured_pages_go_together(void **state)
{
    struct dma_translation translation = page_of(1, 0x7000, 12);

    translation.fractured = true;
    fill(*state, 0x201000, 0, &translation);
    fill_page(*state, 0x9000, 0, 2, 12);
    drop_pages(*state, 2, 0, 0x5000, 4096);
    assert_true(hits(*state, 0x201000, 0));
    assert_true(hits(*state, 0x9000, 0));
    /* Any page of the first-stage page that it is part of, which nobody knows the size of. */
    drop_pages(*state, 1, 0, 0x3f0000, 4096);
    assert_false(hits(*state, 0x201000, 0));
    /* Now that none is left, exact again. */
    fill_page(*state, 0x1000, 0, 1, 12);
    drop_pages(*state, 1, 0, 0x2000, 4096);
    assert_true(hits(*state, 0x1000, 0));
}

static void parts_of_an_unusual_page_go_together(void **state)
{
    struct dma_translation translation = page_of(1, 0x70000, 16);

    fill(*state, 0x10000, 0, &translation);
    fill(*state, 0x13000, 0, &translation);
    drop_pages(*state, 1, 0, 0x1f000, 4096);
    assert_false(hits(*state, 0x10000, 0));
    assert_false(hits(*state, 0x13000, 0));
}

static void the_second_stage_drops_nested_entries(void **state)
{
    struct dma_translation translation = page_of(1, 0x7000, 12);

    fill_page(*state, 0x1000, 0, 1, 12);
    fill_page(*state, 0x2000, 0, 1, 12);
    drop_second_stage(*state, 1, 0x2000);
    assert_true(hits(*state, 0x1000, 0));
    assert_false(hits(*state, 0x2000, 0));
    translation.nested = true;
    fill(*state, 0x5000, 3, &translation);
    drop_second_stage(*state, 2, 0x7000);
    assert_true(hits(*state, 0x5000, 3));
    drop_pages(*state, 1, 3, 0x6000, 4096);
    assert_true(hits(*state, 0x5000, 3));
    drop_second_stage(*state, 1, 0x100000);
    assert_false(hits(*state, 0x5000, 3));
}

static void a_stale_fill_is_dropped(void **state)
{
    struct dma_translation translation = page_of(1, 0x7000, 12);
    uint64_t sequence = iotlb_sequence(*state);

    drop_pages(*state, 2, 0, 0x100000, 4096);
    iotlb_fill(*state, 0x1000, key_of(0, RW, 0), &translation, sequence);
    assert_false(hits(*state, 0x1000, 0));
    sequence = iotlb_sequence(*state);
    iotlb_fill(*state, 0x1000, key_of(0, RW, 0), &translation, sequence);
    assert_true(hits(*state, 0x1000, 0));
}

static void size_is_bounded(void **state)
{
    (void)state;
    assert_true(sizeof(struct iotlb_slot) == IOTLB_LINE);
    assert_true(sizeof(struct iotlb) < 96 * 1024);
}

/*
 * The model: every fill that no invalidation had to drop. A hit must be one of them; that the IOTLB
 * drops more, or forgets, is allowed.
 */
struct live {
    uint64_t iova, key;
    struct dma_translation translation;
};

struct model {
    struct iotlb *iotlb;
    uint64_t seed;
    struct live live[768];
    size_t count;
    unsigned int hit, missed;
};

static uint64_t pick(struct model *model, const uint64_t *values, size_t count)
{
    return values[unit_random(&model->seed) % count];
}

static uint64_t pick_address(struct model *model)
{
    static const uint64_t bases[] = {0, 0x200000, BIT64(30), BIT64(38), BIT64(47) - BIT64(30)};

    return pick(model, bases, COUNT(bases)) + (unit_random(&model->seed) % 48 << 12) +
           (unit_random(&model->seed) % 3 << 21);
}

/* Two of them share a generation counter. */
static uint32_t pick_domain(struct model *model)
{
    static const uint64_t domains[] = {1, 2, 1 + IOTLB_DOMAINS};

    return (uint32_t)pick(model, domains, COUNT(domains));
}

static uint32_t pick_pasid(struct model *model, bool any)
{
    static const uint64_t pasids[] = {VIOMMU_PASID_NONE, 0, 1, DMA_PASID_ANY};

    return (uint32_t)pick(model, pasids, COUNT(pasids) - !any);
}

static uint64_t pick_key(struct model *model)
{
    return key_of(pick_pasid(model, false),
                  RW | (unit_random(&model->seed) % 8 ? 0 : VIOMMU_DMA_PRIVILEGED), 0);
}

static void model_fill(struct model *model)
{
    static const uint64_t granules[] = {12, 12, 12, 16, 21, 25, 30, 39};
    struct live *live = &model->live[model->count++];
    uint8_t granule_log2 = (uint8_t)pick(model, granules, COUNT(granules));
    uint64_t address = pick_address(model), random = unit_random(&model->seed);

    live->iova = address & ~low_bits(granule_log2);
    live->key = pick_key(model);
    live->translation = page_of(pick_domain(model),
                                (random & low_bits(52)) & ~low_bits(granule_log2), granule_log2);
    live->translation.permissions = (uint8_t)(1 + random % 7);
    live->translation.nested = !(random >> 60);
    live->translation.fractured = random >> 56 == 0x33;
    iotlb_fill(model->iotlb, address, live->key, &live->translation, iotlb_sequence(model->iotlb));
}

static bool model_must_drop(const struct live *live, const struct dma_invalidation *what)
{
    uint64_t last = live->iova + low_bits(live->translation.granule_log2);

    if (what->scope == DMA_INVALIDATE_ALL)
        return true;
    if (live->translation.domain != what->domain ||
        (what->pasid != DMA_PASID_ANY && what->pasid != (uint32_t)live->key))
        return false;
    if (what->scope == DMA_INVALIDATE_DOMAIN || live->translation.fractured || !what->length)
        return true;
    return (what->second_stage && live->translation.nested) ||
           (live->iova <= what->address + (what->length - 1) && what->address <= last);
}

static void model_invalidate(struct model *model)
{
    uint64_t random = unit_random(&model->seed) % 64;
    uint8_t order = (uint8_t)(12 + unit_random(&model->seed) % 14);
    struct dma_invalidation what = {
        .scope = model->count == COUNT(model->live) || random == 0 ? DMA_INVALIDATE_ALL
                 : random < 3                                      ? DMA_INVALIDATE_DOMAIN
                                                                   : DMA_INVALIDATE_PAGES,
        .domain = pick_domain(model),
        .pasid = pick_pasid(model, true),
        .address = pick_address(model) & ~low_bits(order),
        .length = random == 3 ? 0 : BIT64(order),
        .second_stage = random > 56,
    };
    size_t kept = 0;

    iotlb_invalidate(model->iotlb, &what);
    for (size_t i = 0; i < model->count; i++) {
        if (!model_must_drop(&model->live[i], &what))
            model->live[kept++] = model->live[i];
    }
    model->count = kept;
}

static bool model_allows(const struct live *live, uint64_t address, uint64_t key,
                         const struct iotlb_hit *hit)
{
    uint64_t offset = address - live->iova;

    return live->key == key && offset <= low_bits(live->translation.granule_log2) &&
           hit->gpa == live->translation.gpa + offset &&
           hit->length - 1 <= low_bits(live->translation.granule_log2) - offset &&
           (uint32_t)(hit->attributes >> IOTLB_DOMAIN_SHIFT) == live->translation.domain &&
           (hit->attributes & IOTLB_PERMISSIONS) == live->translation.permissions &&
           field_get(IOTLB_GRANULE, hit->attributes) == live->translation.granule_log2 &&
           !(hit->attributes & IOTLB_NESTED) == !live->translation.nested;
}

static void model_look_up(struct model *model)
{
    uint64_t address = pick_address(model) + unit_random(&model->seed) % 4096;
    uint64_t key = pick_key(model);
    struct iotlb_hit hit;
    size_t i;

    if (!iotlb_lookup(model->iotlb, address, key, &hit)) {
        model->missed++;
        return;
    }
    model->hit++;
    for (i = 0; i < model->count && !model_allows(&model->live[i], address, key, &hit); i++)
        ;
    if (i == model->count)
        fail_msg("hit at 0x%llx, key 0x%llx, that was never filled or was invalidated",
                 (unsigned long long)address, (unsigned long long)key);
}

static void agrees_with_a_model(void **state)
{
    struct model *model = calloc(1, sizeof(*model));

    model->iotlb = *state;
    model->seed = unit_seed();
    for (unsigned int i = 0; i < 200000; i++) {
        uint64_t random = unit_random(&model->seed) % 16;

        if (model->count == COUNT(model->live) || random == 0)
            model_invalidate(model);
        else if (random < 6)
            model_fill(model);
        else
            model_look_up(model);
    }
    print_message("%u hits, %u misses\n", model->hit, model->missed);
    assert_true(model->hit > 10000 && model->missed > 10000);
    free(model);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty_misses),
        TEST(a_hit_says_everything),
        TEST(requests_that_differ_miss),
        TEST(every_page_size),
        TEST(ways_hold_pasids),
        TEST(fills_replace),
        TEST(outdated_ways_are_reused),
        TEST(all_drops_all),
        TEST(a_domain_is_dropped_alone),
        TEST(a_page_is_dropped_alone),
        TEST(an_address_drops_the_large_page),
        TEST(a_range_drops_what_it_covers),
        TEST(a_wide_range_drops_the_domain),
        TEST(fractured_pages_go_together),
        TEST(parts_of_an_unusual_page_go_together),
        TEST(the_second_stage_drops_nested_entries),
        TEST(a_stale_fill_is_dropped),
        TEST(size_is_bounded),
        TEST(agrees_with_a_model),
    };

    return cmocka_run_group_tests_name("iotlb", tests, NULL, NULL);
}
