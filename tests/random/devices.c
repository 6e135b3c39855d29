/* SPDX-License-Identifier: MIT */
/* The emulated function's device TLB: what it is told, and the pages that it asks for. */
#include <errno.h>
#include <string.h>

#include "oracle_registers.h"
#include "world.h"

#define FSTS         0x34
#define FSTS_STOPPED 0x50u /* IQE, ITE */

static void tell(struct world *world, const struct oracle_told *told)
{
    if (world->told_count < WORLD_TOLD)
        world->told[world->told_count] = *told;
    world->told_count++;
}

static int invalidate(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    struct world *world = opaque;
    struct oracle_told told;

    memset(&told, 0, sizeof(told)); /* compared as bytes */
    told.address = what->address;
    told.length = what->length;
    told.pasid = what->pasid;
    told.global = what->global;
    tell(world, &told);
    if (!world->answers_later || world->tag_count == WORLD_TAGS)
        return 0;
    world->tags[world->tag_count++] = what->tag;
    return -EINPROGRESS;
}

static void page_response(void *opaque, const struct viommu_pci_page_response *response)
{
    struct world *world = opaque;
    struct oracle_told told;

    memset(&told, 0, sizeof(told));
    told.response = true;
    told.pasid = response->pasid;
    told.group = response->group;
    told.code = response->code;
    tell(world, &told);
}

const struct viommu_pci_ats_ops world_ats_ops = {
    .size = sizeof(world_ats_ops),
    .invalidate = invalidate,
    .page_response = page_response,
};

/* The last one first. */
void world_answer(struct world *world)
{
    while (world->tag_count)
        viommu_pci_device_invalidation_done(world->emulated, world->tags[--world->tag_count], 0);
}

static bool same_told(struct world *world, const struct oracle_told *expected)
{
    const struct oracle_told *told = &world->told[0];

    if (world->told_count != (expected ? 1 : 0))
        return world_disagree(world, "the device is told %u things, the oracle says %u",
                              world->told_count, expected ? 1 : 0);
    if (!expected || !memcmp(told, expected, sizeof(*told)))
        return true;
    return world_disagree(
        world,
        "the device is told %s 0x%llx+0x%llx PASID 0x%x global %d group %u code %u, the oracle "
        "says %s 0x%llx+0x%llx PASID 0x%x global %d group %u code %u",
        told->response ? "response" : "invalidation", (unsigned long long)told->address,
        (unsigned long long)told->length, told->pasid, told->global, told->group, told->code,
        expected->response ? "response" : "invalidation", (unsigned long long)expected->address,
        (unsigned long long)expected->length, expected->pasid, expected->global, expected->group,
        expected->code);
}

static bool is_stopped(const struct world *world)
{
    return viommu_mmio_read(world->unit, FSTS, 4) & FSTS_STOPPED;
}

/* A descriptor for devices: who is told what, or whether it is an error. */
bool world_invalidate(struct world *world, uint64_t low, uint64_t high)
{
    bool stopped = is_stopped(world), told;
    enum oracle_descriptor kind;
    struct oracle_told expected;
    uint16_t requester = 0;

    world->told_count = 0;
    world_submit(world, low, high);
    kind = oracle_descriptor(&world->oracle, low, high, &requester, &expected);
    if (kind == ORACLE_OTHER)
        return true;
    world->requests++;
    world->compared++;
    if (is_stopped(world) != (stopped || kind == ORACLE_STOPS))
        return world_disagree(world, "the queue %s, the oracle says otherwise",
                              is_stopped(world) ? "stops" : "goes on");
    told = !stopped && kind == ORACLE_TELLS && requester == WORLD_EMULATED;
    return same_told(world, told ? &expected : NULL);
}

static bool check_registers(struct world *world)
{
    static const unsigned int offsets[] = {0xc0, 0xc8, 0xd0, ORACLE_PRS, ORACLE_PECTL};

    for (unsigned int i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        if (!world_check_register(world, offsets[i]))
            return false;
    }
    return true;
}

static bool check_descriptor(struct world *world, uint64_t gpa)
{
    if (!gpa || !memcmp(world_at(world, gpa), oracle_memory(&world->oracle, gpa, 32, NULL), 32))
        return true;
    return world_disagree(world, "the page request at 0x%llx is not what the oracle writes",
                          (unsigned long long)gpa);
}

static bool check_page_request(struct world *world, const struct oracle_page *page,
                               const struct oracle_page_answer *answer)
{
    const struct oracle_request request = {.address = page->address,
                                           .pasid = page->pasid,
                                           .requester = page->requester,
                                           .access = page->access,
                                           .type = ORACLE_PAGE_REQUEST};
    bool recorded = answer->reason && !(oracle_qualified(answer->reason) && answer->fault_disable);
    struct oracle_told told;

    memset(&told, 0, sizeof(told));
    told.response = true;
    told.pasid = page->pasid;
    told.group = page->group;
    told.code = answer->code;
    return same_told(world, answer->answered ? &told : NULL) && check_registers(world) &&
           check_descriptor(world, answer->written) &&
           world_check_record(world, &request, page->address, recorded ? answer->reason : 0);
}

/* Not where its descriptor would change tables, nor while it is unknown what is cached of them. */
bool world_page_request(struct world *world, const struct op *op)
{
    const struct oracle_page page = {.pasid = (uint32_t)op->arg[0],
                                     .requester = WORLD_EMULATED,
                                     .access = (uint8_t)op->arg[1],
                                     .address = op->arg[2],
                                     .group = op->arg[3] & 0x7fff,
                                     .last = op->arg[3] >> 15 & 1};
    const struct viommu_pci_page_request request = {.address = page.address,
                                                    .pasid = page.pasid,
                                                    .group = page.group,
                                                    .access = page.access,
                                                    .last = page.last};
    struct oracle_page_answer answer;
    int ret;

    if (!world_is_settled(world))
        return true;
    oracle_page_request(&world->oracle, &page, true, &answer);
    if (answer.written && !world_may_write(world, answer.written))
        return true;
    world_clear_faults(world);
    world->told_count = 0;
    ret = viommu_pci_device_page_request(world->emulated, &request);
    oracle_page_request(&world->oracle, &page, false, &answer);
    world->requests++;
    world->compared++;
    if (answer.refused != (ret != 0))
        return world_disagree(world, "the page request returns %d, the oracle says otherwise", ret);
    return check_page_request(world, &page, &answer);
}
