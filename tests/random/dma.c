/* SPDX-License-Identifier: MIT */
/* One request, by the model or by the simulated host, against what the oracle says of it. */
#include <string.h>

#include "world.h"

#define LONGEST       0x3000
#define HOW_MOVE      0
#define HOW_TRANSLATE 1
#define HOW_MAP       2

/* What the oracle expects. */
struct expected {
    enum viommu_dma_status status; /* OK, BAD_REQUEST, NO_MEMORY, READONLY, or as below */
    bool refused;                  /* by the unit: which status that makes is not compared */
    uint8_t reason;                /* 0: no fault reason */
    bool recorded;
    uint64_t moved;             /* bytes */
    struct oracle_answer first; /* of the first byte */
    struct oracle_answer last;  /* of the piece that decided */
    bool writes_tables;         /* a write would reach what is not data */
    bool not_for_host;          /* see oracle.h; or read-only memory is reached */
};

static bool malformed(const struct oracle_request *request)
{
    bool with_pasid = request->pasid != ORACLE_NO_PASID;

    if (!request->length && (request->access != ORACLE_READ || request->type))
        return true;
    return (request->length && request->address + request->length - 1 < request->address) ||
           !(request->access & 3) || (!with_pasid && (request->access & 12)) ||
           (with_pasid && request->pasid >> 20) || request->type > 2;
}

/* A device that writes into tables changes them unannounced. */
static bool is_data(struct world *world, uint64_t gpa)
{
    const uint8_t *usage = world_usage(world, gpa);

    return gpa >= WORLD_DATA && usage && !*usage;
}

/* What the answer for one piece means. True: the bytes move. */
static bool judge(struct world *world, const struct oracle_request *request,
                  const struct oracle_answer *answer, struct expected *expected)
{
    bool readonly = false;

    expected->last = *answer;
    expected->refused = answer->verdict == ORACLE_FAULT || answer->verdict == ORACLE_UNSUPPORTED;
    expected->reason = answer->reason;
    expected->recorded =
        answer->reason && !(oracle_qualified(answer->reason) && answer->fault_disable);
    expected->not_for_host |= answer->not_for_host;
    if (answer->verdict == ORACLE_INTERRUPT)
        expected->status = VIOMMU_DMA_INTERRUPT_RANGE;
    if (answer->verdict != ORACLE_OK)
        return false;
    if (!oracle_memory(&world->oracle, answer->gpa, 1, &readonly))
        expected->status = VIOMMU_DMA_NO_MEMORY;
    else if (readonly && (request->access & ORACLE_WRITE))
        expected->status = VIOMMU_DMA_READONLY;
    else if ((request->access & ORACLE_WRITE) && !is_data(world, answer->gpa))
        expected->writes_tables = true;
    expected->not_for_host |= readonly;
    return expected->status == VIOMMU_DMA_OK;
}

/* Bytes that one piece moves: to the end of the page and of the memory. */
static uint64_t piece_length(const struct world *world, const struct oracle_answer *answer,
                             uint64_t left)
{
    uint64_t granule = UINT64_C(1) << answer->granule_log2;
    uint64_t room = granule - (answer->gpa & (granule - 1));

    for (size_t i = 0; i < world->oracle.memory_count; i++) {
        const struct oracle_memory *range = &world->copy[i];

        if (answer->gpa >= range->gpa && answer->gpa - range->gpa < range->size &&
            range->size - (answer->gpa - range->gpa) < room)
            room = range->size - (answer->gpa - range->gpa);
    }
    return left < room ? left : room;
}

typedef void piece_fn(struct world *world, uint64_t gpa, uint64_t offset, uint64_t length,
                      void *opaque);

/* Go through the pieces; dry: change nothing in the copy. */
static void expect(struct world *world, const struct oracle_request *asked, bool dry,
                   struct expected *expected, piece_fn *fn, void *opaque)
{
    struct oracle_request request = *asked;
    struct oracle_answer answer;

    memset(expected, 0, sizeof(*expected));
    if (malformed(asked)) {
        expected->status = VIOMMU_DMA_BAD_REQUEST;
        expected->first.verdict = ORACLE_UNSUPPORTED;
        return;
    }
    world->oracle.dry = dry;
    for (bool more = true; more; more = request.length) {
        uint64_t bytes;

        oracle_translate(&world->oracle, &request, &answer);
        if (!expected->moved)
            expected->first = answer;
        if (!judge(world, &request, &answer, expected))
            return;
        bytes = piece_length(world, &answer, request.length);
        if (fn)
            fn(world, answer.gpa, expected->moved, bytes, opaque);
        expected->moved += bytes;
        request.address += bytes;
        request.length -= bytes;
    }
}

/* Results */

static bool check_status(struct world *world, const struct viommu_dma_result *result,
                         const struct expected *expected)
{
    bool same = expected->refused
                    ? result->status != VIOMMU_DMA_OK && result->status != VIOMMU_DMA_BAD_REQUEST
                    : result->status == expected->status;

    if (same && result->length == expected->moved)
        return true;
    return world_disagree(
        world,
        "%s (reason 0x%02x) after 0x%llx bytes, the oracle says %s (reason 0x%02x) after "
        "0x%llx",
        viommu_dma_status_name(result->status), result->fault_code,
        (unsigned long long)result->length,
        expected->refused ? "refused" : viommu_dma_status_name(expected->status), expected->reason,
        (unsigned long long)expected->moved);
}

static bool check_reason(struct world *world, const struct viommu_dma_result *result,
                         const struct expected *expected)
{
    if (result->fault_code == expected->reason)
        return true;
    return world_disagree(world, "fault reason 0x%02x, the oracle has 0x%02x", result->fault_code,
                          expected->reason);
}

/*
 * An entry of the IOTLB may permit less than the tables do: another request may have set the dirty
 * bit since. It may never permit more.
 */
static bool check_page(struct world *world, const struct oracle_request *asked,
                       const struct viommu_dma_result *result, const struct oracle_answer *answer)
{
    /* What was asked for is granted; what a device TLB is told is not cached. */
    const uint8_t late =
        asked->type == ORACLE_TRANSLATION_REQUEST ? 0 : VIOMMU_DMA_WRITE & ~asked->access;
    const uint8_t unknown = answer->snp_unknown ? VIOMMU_DMA_FLAG_SNOOPED : 0;

    if ((result->flags | unknown) != (answer->flags | unknown))
        return world_disagree(world, "the translation has flags %x, the oracle says %x",
                              result->flags, answer->flags);
    if (result->gpa == answer->gpa && result->granule_log2 == answer->granule_log2 &&
        !(result->permissions & ~answer->permissions) &&
        (result->permissions | late) == (answer->permissions | late))
        return true;
    return world_disagree(
        world,
        "translated to 0x%llx (page 2^%u, permissions %x), the oracle says 0x%llx (2^%u, %x)",
        (unsigned long long)result->gpa, result->granule_log2, result->permissions,
        (unsigned long long)answer->gpa, answer->granule_log2, answer->permissions);
}

/* Bytes */

static uint8_t pattern(const struct world *world, uint64_t offset)
{
    return (uint8_t)(world->requests * 31 + offset);
}

static void copy_write(struct world *world, uint64_t gpa, uint64_t offset, uint64_t length,
                       void *opaque)
{
    uint8_t *at = oracle_memory(&world->oracle, gpa, length, NULL);

    (void)opaque;
    for (uint64_t i = 0; i < length; i++)
        at[i] = pattern(world, offset + i);
}

/* Compare what was read with the copy. opaque: the buffer, or NULL once a byte differed. */
static void compare_read(struct world *world, uint64_t gpa, uint64_t offset, uint64_t length,
                         void *opaque)
{
    const uint8_t **buffer = opaque, *at = oracle_memory(&world->oracle, gpa, length, NULL);

    if (*buffer && memcmp(*buffer + offset, at, length))
        *buffer = NULL;
}

static bool check_written(struct world *world, const struct expected *expected,
                          const struct oracle_answer *answer)
{
    const uint8_t *at;

    if (!expected->moved)
        return true;
    at = world_at(world, answer->gpa);
    if (at[0] == oracle_memory(&world->oracle, answer->gpa, 1, NULL)[0])
        return true;
    return world_disagree(world, "the write did not arrive at 0x%llx",
                          (unsigned long long)answer->gpa);
}

/* The emulated function */

static struct viommu_dma_request request_of(const struct oracle_request *asked)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;

    request.address = asked->address;
    request.length = asked->length;
    request.pasid = asked->pasid;
    request.requester_id = asked->requester;
    request.access = asked->access;
    request.type = asked->type;
    return request;
}

/* What is expected of the first byte alone. */
static void expect_first(struct world *world, const struct oracle_request *asked,
                         struct expected *expected)
{
    struct oracle_answer answer;

    memset(expected, 0, sizeof(*expected));
    if (malformed(asked)) {
        expected->status = VIOMMU_DMA_BAD_REQUEST;
        return;
    }
    world->oracle.dry = false;
    oracle_translate(&world->oracle, asked, &answer);
    expected->moved = judge(world, asked, &answer, expected);
    expected->first = answer;
}

/* No memory is touched, and nothing recorded, but for a translation request. */
static bool translate_only(struct world *world, const struct oracle_request *asked)
{
    bool request_of_tlb = asked->type == VIOMMU_DMA_TRANSLATION_REQUEST;
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(world->emulated);
    struct viommu_dma_request request = request_of(asked);
    struct expected expected;
    struct viommu_dma_result result;

    viommu_dma_translate(space, &request, &result);
    expect_first(world, asked, &expected);
    if (expected.status == VIOMMU_DMA_NO_MEMORY || expected.status == VIOMMU_DMA_READONLY)
        expected.status = VIOMMU_DMA_OK;
    expected.moved = result.status == VIOMMU_DMA_OK ? result.length : 0;
    if (!check_status(world, &result, &expected) || !check_reason(world, &result, &expected) ||
        !world_check_record(world, asked, asked->address,
                            request_of_tlb && expected.recorded ? expected.reason : 0))
        return false;
    return result.status != VIOMMU_DMA_OK || check_page(world, asked, &result, &expected.first);
}

static void do_move(struct world *world, const struct oracle_request *asked, uint8_t *buffer,
                    struct viommu_dma_result *result)
{
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(world->emulated);
    struct viommu_dma_request request = request_of(asked);

    if (asked->access & ORACLE_WRITE)
        viommu_dma_write(space, &request, buffer, result);
    else
        viommu_dma_read(space, &request, buffer, result);
}

static void fill(const struct world *world, uint8_t *buffer, uint64_t length)
{
    for (uint64_t i = 0; i < length && i < LONGEST; i++)
        buffer[i] = pattern(world, i);
}

/* What is expected, with the bytes moved in the copy. False: others were read than it has. */
static bool move_copy(struct world *world, const struct oracle_request *asked,
                      const uint8_t *buffer, struct expected *expected)
{
    const uint8_t *read = buffer;
    bool write = asked->access & ORACLE_WRITE;

    expect(world, asked, false, expected, write ? copy_write : compare_read, &read);
    return read;
}

static bool check_bytes(struct world *world, const struct oracle_request *asked, bool read_same,
                        const struct expected *expected)
{
    if (!read_same)
        return world_disagree(world, "other bytes were read than the oracle reads");
    return !(asked->access & ORACLE_WRITE) || check_written(world, expected, &expected->first);
}

static bool emulated(struct world *world, const struct oracle_request *asked)
{
    uint8_t buffer[LONGEST] = {0};
    struct viommu_dma_result result;
    struct expected expected;
    bool same;

    fill(world, buffer, asked->length);
    do_move(world, asked, buffer, &result);
    same = move_copy(world, asked, buffer, &expected);
    if (!check_status(world, &result, &expected) || !check_bytes(world, asked, same, &expected) ||
        !check_reason(world, &result, &expected) ||
        !world_check_record(world, asked, asked->address + expected.moved,
                            expected.recorded ? expected.reason : 0))
        return false;
    world->arrived += result.status == VIOMMU_DMA_OK;
    world->faulted += expected.recorded;
    return !expected.moved || check_page(world, asked, &result, &expected.first);
}

static bool mapped(struct world *world, const struct oracle_request *asked)
{
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(world->emulated);
    struct viommu_dma_request request = request_of(asked);
    struct viommu_dma_mapping mapping = {0};
    struct viommu_dma_result result;
    struct expected expected;
    bool same;

    if (viommu_dma_map(space, &request, &mapping, &result))
        mapping.host = NULL;
    if (asked->length)
        expect_first(world, asked, &expected);
    else
        expected = (struct expected){.status = VIOMMU_DMA_BAD_REQUEST};
    same = mapping.host == (expected.moved ? world_at(world, expected.first.gpa) : NULL);
    if (mapping.host)
        viommu_dma_unmap(space, &mapping);
    if (!same)
        return world_disagree(
            world, "mapped %s (reason 0x%02x), the oracle says otherwise (0x%02x)",
            viommu_dma_status_name(result.status), result.fault_code, expected.reason);
    return world_check_record(world, asked, asked->address,
                              expected.recorded ? expected.reason : 0);
}

/* The assigned function */

/*
 * Where the host does not do as the specification says, and is not to: it knows nothing of PWSNP;
 * its PASID 0 is what requests without PASID use; while translation is off PASIDs are not attached;
 * all that goes to the interrupt range is an interrupt, to it, but through a first stage; and a
 * nesting parent has no read-only memory.
 */
static bool host_can_tell(const struct world *world, const struct oracle_request *asked,
                          const struct expected *dry)
{
    bool with_pasid = asked->pasid != ORACLE_NO_PASID;

    if (!asked->length || asked->type || asked->pasid == 0 || dry->writes_tables ||
        dry->not_for_host)
        return false;
    if (with_pasid && (!world->oracle.enabled || dry->first.pgtt % 2))
        return world->oracle.enabled;
    return asked->address + asked->length <= 0xfee00000 || asked->address > 0xfeefffff;
}

/* Privileged requests the host takes only for a first stage: it blocks, and the guest is told. */
static bool host_blocks(const struct oracle_request *asked, const struct oracle_answer *answer)
{
    return answer->verdict == ORACLE_OK && (asked->access & ORACLE_PRIVILEGED) &&
           (answer->pgtt == 2 || answer->pgtt == 4);
}

static void expect_blocked(struct world *world, const struct oracle_request *asked,
                           struct expected *expected)
{
    struct oracle_request first = *asked;
    bool recorded;

    first.length = 1; /* of which the model finds out why it was refused */
    expect_first(world, &first, expected);
    recorded = expected->status == VIOMMU_DMA_OK && !expected->first.fault_disable;
    memset(expected, 0, sizeof(*expected));
    expected->refused = true;
    expected->reason = 0x5b;
    expected->recorded = recorded;
}

static bool assigned(struct world *world, const struct oracle_request *asked,
                     const struct expected *dry)
{
    struct viommu_dma_request request = request_of(asked);
    uint8_t buffer[LONGEST] = {0};
    struct viommu_dma_result result;
    struct expected expected;
    bool same = true;

    fill(world, buffer, asked->length);
    if (asked->access & ORACLE_WRITE)
        viommu_soft_device_write(world->hardware, &request, buffer, &result);
    else
        viommu_soft_device_read(world->hardware, &request, buffer, &result);
    if (host_blocks(asked, &dry->first))
        expect_blocked(world, asked, &expected);
    else
        same = move_copy(world, asked, buffer, &expected);
    /* Seen from the host these are entries that are not there, or not writable. */
    if (expected.status == VIOMMU_DMA_NO_MEMORY || expected.status == VIOMMU_DMA_READONLY)
        expected.refused = true;
    if (!check_status(world, &result, &expected) || !check_bytes(world, asked, same, &expected) ||
        !world_check_record(world, asked, asked->address + expected.moved,
                            expected.recorded ? expected.reason : 0))
        return false;
    if (expected.moved && result.gpa != (uintptr_t)world_at(world, expected.first.gpa))
        return world_disagree(world, "the host reaches %llx, which is not GPA 0x%llx",
                              (unsigned long long)result.gpa,
                              (unsigned long long)expected.first.gpa);
    world->arrived += result.status == VIOMMU_DMA_OK;
    world->faulted += expected.recorded;
    return true;
}

static unsigned int how_of(const struct op *op)
{
    unsigned int how = op->arg[3] >> 4 & 3;

    return how <= HOW_MAP ? how : HOW_MOVE;
}

/* Something is not announced yet: what is cached, nobody knows. Nothing is written. */
static void unsettled(struct world *world, const struct op *op, const struct oracle_request *asked)
{
    struct viommu_dma_space *space = viommu_pci_device_get_address_space(world->emulated);
    struct viommu_dma_request request = request_of(asked);
    struct viommu_dma_result result;
    uint8_t buffer[LONGEST];

    if (request.access & ORACLE_WRITE) {
        if (!op->arg[0])
            viommu_dma_translate(space, &request, &result);
    } else if (!op->arg[0]) {
        viommu_dma_read(space, &request, buffer, &result);
    } else {
        viommu_soft_device_read(world->hardware, &request, buffer, &result);
    }
}

static bool compare(struct world *world, const struct op *op, const struct oracle_request *asked)
{
    unsigned int how = how_of(op);
    struct expected dry;
    bool same;

    world_clear_faults(
        world); /* a table that the host did not take was told of when it was bound */
    expect(world, asked, true, &dry, NULL, NULL);
    if (op->arg[0] && asked->type == ORACLE_TRANSLATION_REQUEST)
        return world_assigned_translation(world, asked);
    if (op->arg[0] && !host_can_tell(world, asked, &dry))
        return true;
    if (op->arg[0])
        same = assigned(world, asked, &dry);
    else if (how == HOW_TRANSLATE || dry.writes_tables ||
             asked->type == VIOMMU_DMA_TRANSLATION_REQUEST)
        same = translate_only(world, asked);
    else if (how == HOW_MAP)
        same = mapped(world, asked);
    else
        same = emulated(world, asked);
    if (!same && !world_is_settled(world)) {
        world->failure[0] = '\0'; /* it changed a structure while it ran */
        return true;
    }
    world->compared++;
    return same;
}

bool world_dma(struct world *world, const struct op *op)
{
    struct oracle_request asked = {
        .address = op->arg[4],
        .length = op->arg[5] <= LONGEST ? op->arg[5] : LONGEST,
        .pasid = (uint32_t)op->arg[1],
        .requester = op->arg[0] ? WORLD_ASSIGNED : WORLD_EMULATED,
        .access = op->arg[2] & 15,
        .type = op->arg[3] & 15,
    };

    if (op->arg[0] && !world->assignment)
        return true;
    /* viommu_dma_read() and its like add what the caller left out; the others refuse. */
    if (!(asked.access & (ORACLE_READ | ORACLE_WRITE)) && (op->arg[0] || how_of(op) == HOW_MOVE))
        asked.access |= ORACLE_READ;
    world->requests++;
    if (world_is_settled(world))
        return compare(world, op, &asked);
    unsettled(world, op, &asked);
    return true;
}
