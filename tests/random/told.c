/* SPDX-License-Identifier: MIT */
/*
 * The device TLB of the assigned function: what the simulated host answers to its translation
 * requests, and that it has forgotten what is not true any more when the guest's wait is done.
 */
#include <string.h>

#include "world.h"

static int forget(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    struct world *world = opaque;
    unsigned int kept = 0;

    for (unsigned int i = 0; i < world->translation_count; i++) {
        const struct world_translation *translation = &world->translations[i];
        bool of_pasid = what->global || what->pasid == translation->pasid;

        if (of_pasid && (!what->length || translation->address - what->address < what->length))
            continue;
        world->translations[kept++] = *translation;
    }
    world->translation_count = kept;
    return 0;
}

const struct viommu_pci_ats_ops world_host_ats_ops = {.size = sizeof(world_host_ats_ops),
                                                      .invalidate = forget};

/*
 * Where the host answers otherwise, and may: the guest's DTE is not its own, and what is a fault
 * may be no more than a page that is not there; of PASID 0, PWSNP and read-only memory see dma.c;
 * privileged requests it takes only for a first stage, and execute requests not at all.
 */
static bool can_tell(struct world *world, const struct oracle_request *asked,
                     const struct oracle_answer *answer)
{
    bool readonly = false, second = answer->pgtt == 2 || answer->pgtt == 4;
    const uint8_t *memory;

    if (!world->oracle.enabled || !asked->pasid || answer->not_for_host ||
        (asked->access & ORACLE_EXECUTE) || ((asked->access & ORACLE_PRIVILEGED) && second) ||
        (asked->address >= 0xfee00000 && asked->address <= 0xfeefffff))
        return false;
    if (answer->verdict != ORACLE_OK)
        return false;
    if (!(answer->permissions & (ORACLE_READ | ORACLE_WRITE)))
        return true;
    memory = oracle_memory(&world->oracle, answer->gpa, 1, &readonly);
    return memory && !readonly;
}

static bool well_formed(const struct oracle_request *asked)
{
    bool with_pasid = asked->pasid != ORACLE_NO_PASID;

    return (asked->access & 3) && (with_pasid || !(asked->access & 12)) &&
           (!with_pasid || !(asked->pasid >> 20));
}

static void keep(struct world *world, const struct oracle_request *asked,
                 const struct viommu_dma_result *result)
{
    if (world->translation_count == WORLD_TRANSLATIONS)
        return;
    world->translations[world->translation_count++] = (struct world_translation){
        .address = asked->address & ~UINT64_C(0xfff),
        .pasid = asked->pasid,
        .access = asked->access & ORACLE_PRIVILEGED,
        .permissions = result->permissions & (ORACLE_READ | ORACLE_WRITE),
        .host = result->gpa & ~UINT64_C(0xfff),
    };
}

static bool check(struct world *world, const struct viommu_dma_result *result,
                  const struct oracle_answer *answer)
{
    const uint8_t memory = ORACLE_READ | ORACLE_WRITE;
    uint8_t granted = result->status == VIOMMU_DMA_OK ? result->permissions & memory : 0;
    uint8_t expected = answer->permissions & memory;

    if (granted != expected)
        return world_disagree(world, "the host grants %x (%s), the oracle %x", granted,
                              viommu_dma_status_name(result->status), expected);
    if (!granted || result->gpa == (uintptr_t)world_at(world, answer->gpa))
        return true;
    return world_disagree(world, "the host says %llx, which is not GPA 0x%llx",
                          (unsigned long long)result->gpa, (unsigned long long)answer->gpa);
}

bool world_assigned_translation(struct world *world, const struct oracle_request *asked)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    struct oracle_answer answer;

    if (!world->host_tlb || !well_formed(asked))
        return true;
    world->oracle.dry = true;
    oracle_translate(&world->oracle, asked, &answer);
    if (!can_tell(world, asked, &answer))
        return true;
    request.address = asked->address;
    request.length = 1;
    request.pasid = asked->pasid;
    request.access = asked->access;
    request.type = asked->type;
    viommu_soft_device_translate(world->hardware, &request, &result);
    /* A walk that ends at an entry which is not there leaves no accessed bits on the host. */
    world->oracle.dry = !(answer.permissions & (ORACLE_READ | ORACLE_WRITE));
    oracle_translate(&world->oracle, asked, &answer);
    world->compared++;
    if (!check(world, &result, &answer))
        return false;
    if (result.status == VIOMMU_DMA_OK && result.permissions & (ORACLE_READ | ORACLE_WRITE))
        keep(world, asked, &result);
    return true;
}

/* What is kept is still so, or permits more by now. */
bool world_check_translations(struct world *world)
{
    for (unsigned int i = 0; i < world->translation_count; i++) {
        const struct world_translation *kept = &world->translations[i];
        const struct oracle_request request = {.address = kept->address,
                                               .length = 1,
                                               .pasid = kept->pasid,
                                               .requester = WORLD_ASSIGNED,
                                               .access = kept->access | kept->permissions,
                                               .type = ORACLE_TRANSLATION_REQUEST};
        struct oracle_answer answer;

        world->oracle.dry = true;
        oracle_translate(&world->oracle, &request, &answer);
        if (answer.verdict == ORACLE_OK && !(kept->permissions & ~answer.permissions) &&
            kept->host == (uintptr_t)world_at(world, answer.gpa))
            continue;
        return world_disagree(
            world,
            "the assigned device still has 0x%llx of PASID 0x%x at %llx (%x); the "
            "oracle says GPA 0x%llx (%x, reason 0x%02x)",
            (unsigned long long)kept->address, kept->pasid, (unsigned long long)kept->host,
            kept->permissions, (unsigned long long)answer.gpa, answer.permissions, answer.reason);
    }
    return true;
}
