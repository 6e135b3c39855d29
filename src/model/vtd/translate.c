/* SPDX-License-Identifier: MIT */
/*
 * Translating a request: first stage, second stage, both, or neither (VT-d 5.0, chapter 3), and the
 * fault reason when it is refused (table 30).
 */
#include <string.h>

#include "base/rcu.h"
#include "dma/walk.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/register_map.h"
#include "model/vtd/sanitize.h"
#include "model/vtd/tables.h"

/* 3.15: the interrupt address range FEEx_xxxxh, 1 MiB. */
#define INTERRUPT_BASE UINT64_C(0xfee00000)
#define INTERRUPT_LOG2 20

/* 9.7: x86-64 paging; the bit above the page size of a large page is its PAT bit. */
static const struct walk_format first_stage = {
    .index_bits = 9,
    .present = BIT64(0),
    .address = GENMASK64(51, 12),
    .leaf = BIT64(7),
    .write = BIT64(1),
    .user = BIT64(2),
    .no_execute = BIT64(63),
    .accessed = BIT64(5),
    .extended_accessed = BIT64(10),
    .dirty = BIT64(6),
    .large_ignored = BIT64(12),
};

/* 9.8. Present means that something is permitted. */
static const struct walk_format second_stage = {
    .index_bits = 9,
    .present = BIT64(0) | BIT64(1),
    .address = GENMASK64(51, 12),
    .leaf = BIT64(7),
    .read = BIT64(0),
    .write = BIT64(1),
    .accessed = BIT64(8),
    .dirty = BIT64(9),
};

#define SS_SNP BIT64(11) /* in a leaf, with ECAP.SC */
#define SS_IW  BIT64(62) /* reserved while second-stage I/O permissions are not enabled */

/* A request under translation. */
struct job {
    const struct vtd *vtd;
    const struct vtd_entry *entry;
    uint64_t address;
    uint8_t access; /* VIOMMU_DMA_*, as far as they mean something for this request */
    uint8_t type;   /* enum viommu_dma_type */
};

static void refuse(struct dma_translation *translation, uint32_t reason)
{
    translation->fault_code = reason;
    translation->status = vtd_fault_code(reason)->status;
}

/*
 * The largest block around address, as log2, that is apart from the interrupt range; below
 * INTERRUPT_LOG2 when the address is inside.
 */
static unsigned int interrupt_distance(uint64_t address)
{
    uint64_t different = address ^ INTERRUPT_BASE;

    return different ? 63 - __builtin_clzll(different) : 0;
}

static bool in_interrupt_range(uint64_t address)
{
    return interrupt_distance(address) < INTERRUPT_LOG2;
}

/* Identity for what has no second thoughts: translation off, and pass-through. */
static void identity(struct dma_translation *translation, uint64_t address, unsigned int granule)
{
    translation->gpa = address & ~low_bits(granule);
    translation->granule_log2 = granule;
    translation->permissions = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE | VIOMMU_DMA_EXECUTE;
}

static void second_table(const struct vtd *vtd, const struct vtd_entry *entry,
                         struct walk_table *table)
{
    uint64_t width = low_bits(vtd->options.host_address_width);

    *table = (struct walk_table){
        .root = entry->second_root,
        .levels = entry->second_levels,
        /* SSLPS: bit 0 for 2 MiB at level 2, bit 1 for 1 GiB at level 3. */
        .leaf_levels = (field_get(VTD_CAP_SSLPS, vtd->cap) & 3) << 2,
        .update_accessed = entry->second_ad,
        .update_forbidden = !entry->walk_snoop,
        .reserved = (second_stage.address & ~width) | SS_IW,
        .reserved_table = SS_SNP,
        .reserved_leaf = vtd->ecap & VTD_ECAP_SC ? 0 : SS_SNP,
    };
}

static void first_table(const struct vtd *vtd, const struct vtd_entry *entry,
                        struct walk_table *table)
{
    uint64_t width = low_bits(vtd->options.host_address_width);

    *table = (struct walk_table){
        .root = entry->first_root,
        .levels = entry->first_levels,
        .leaf_levels = BIT64(2) | (vtd->cap & VTD_CAP_FS1GP ? BIT64(3) : 0),
        .update_accessed = true,
        .update_extended = entry->first_eafe,
        .update_forbidden = !entry->walk_snoop,
        .write_protect = entry->first_wpe,
        .execute_disable = entry->first_nxe,
        .supervisor_no_user = entry->first_smep,
        .reserved = first_stage.address & ~width,
    };
}

/* Reasons of a second-stage walk, in legacy and in scalable mode. */
static const uint8_t second_reasons[][2] = {
    [WALK_NOT_PRESENT] = {VTD_FAULT_READ, VTD_FAULT_SM_SS_NOT_PRESENT},
    [WALK_NO_PERMISSION] = {VTD_FAULT_READ, VTD_FAULT_SM_SS_NOT_PRESENT},
    [WALK_RESERVED] = {VTD_FAULT_SS_RESERVED, VTD_FAULT_SM_SS_RESERVED},
    [WALK_TABLE_ACCESS] = {VTD_FAULT_SS_ACCESS, VTD_FAULT_SM_SS_ACCESS},
    [WALK_NO_READ] = {VTD_FAULT_READ, VTD_FAULT_SM_READ},
    [WALK_NO_WRITE] = {VTD_FAULT_WRITE, VTD_FAULT_SM_WRITE},
    [WALK_NO_EXECUTE] = {VTD_FAULT_READ, VTD_FAULT_SM_EXECUTE},
    [WALK_UPDATE_FORBIDDEN] = {VTD_FAULT_SS_ACCESS, VTD_FAULT_SM_SS_NOT_SNOOPED},
    [WALK_UPDATE_FAILED] = {VTD_FAULT_SS_ACCESS, VTD_FAULT_SM_SS_UPDATE},
};

static uint32_t second_reason(const struct vtd_entry *entry, enum walk_status status,
                              unsigned int level, uint8_t access)
{
    if (status == WALK_TABLE_ACCESS && level == entry->second_levels)
        return entry->legacy ? VTD_FAULT_CONTEXT_INVALID : VTD_FAULT_SM_SS_ROOT_ACCESS;
    /* Legacy mode has no reason "not present": the entry permits neither read nor write. */
    if (entry->legacy && (status == WALK_NOT_PRESENT || status == WALK_NO_PERMISSION) &&
        (access & VIOMMU_DMA_WRITE))
        return VTD_FAULT_WRITE;
    return second_reasons[status][!entry->legacy];
}

/* Reasons of a first-stage walk. */
static const uint8_t first_reasons[] = {
    [WALK_NOT_PRESENT] = VTD_FAULT_FS_NOT_PRESENT,
    [WALK_RESERVED] = VTD_FAULT_FS_RESERVED,
    [WALK_TABLE_ACCESS] = VTD_FAULT_FS_ACCESS,
    [WALK_ADDRESS_WIDTH] = VTD_FAULT_FS_ADDRESS_WIDTH,
    [WALK_PRIVILEGE] = VTD_FAULT_SM_PRIVILEGE,
    [WALK_NO_PERMISSION] = VTD_FAULT_SM_READ,
    [WALK_NO_READ] = VTD_FAULT_SM_READ,
    [WALK_NO_WRITE] = VTD_FAULT_SM_WRITE,
    [WALK_NO_EXECUTE] = VTD_FAULT_SM_EXECUTE,
    [WALK_UPDATE_FORBIDDEN] = VTD_FAULT_FS_NOT_SNOOPED,
    [WALK_UPDATE_FAILED] = VTD_FAULT_FS_UPDATE,
    [WALK_UPDATE_NO_WRITE] = VTD_FAULT_FS_TABLE_WRITE,
};

static uint32_t first_reason(const struct job *job, const struct walk_result *result)
{
    bool root = result->level == job->entry->first_levels;
    bool table = result->status == WALK_TABLE_NESTED;

    if (table && result->nested_status == WALK_NO_READ)
        return root ? VTD_FAULT_FS_ROOT_READ : VTD_FAULT_FS_TABLE_READ;
    if (table && result->nested_status == WALK_NO_WRITE)
        return VTD_FAULT_FS_TABLE_WRITE;
    if (table || result->status == WALK_FINAL_NESTED)
        return second_reason(job->entry, result->nested_status, result->nested_level, job->access);
    if (result->status == WALK_TABLE_ACCESS && root)
        return VTD_FAULT_FS_ROOT_ACCESS;
    return first_reasons[result->status];
}

static void take(struct dma_translation *translation, const struct walk_result *result)
{
    translation->gpa = result->address;
    translation->granule_log2 = result->granule_log2;
    translation->permissions = result->permissions;
    translation->fractured = result->fractured;
}

static void second_walk(const struct job *job, const struct walk_table *table,
                        struct dma_translation *translation)
{
    struct walk_result result;

    if (job->address >> vtd_second_stage_width(job->vtd, job->entry->second_levels)) {
        refuse(translation,
               job->entry->legacy ? VTD_FAULT_ADDRESS_WIDTH : VTD_FAULT_SM_ADDRESS_WIDTH);
        return;
    }
    walk_page(job->vtd->options.memory, &second_stage, table, NULL, job->address, job->access,
              &result);
    if (result.status == WALK_OK) {
        take(translation, &result);
        if (result.entry & SS_SNP && job->vtd->ecap & VTD_ECAP_SC)
            translation->flags |= VIOMMU_DMA_FLAG_SNOOPED;
        return;
    }
    refuse(translation, second_reason(job->entry, result.status, result.level, job->access));
    if (result.status == WALK_NOT_PRESENT)
        translation->status = VIOMMU_DMA_NOT_PRESENT;
}

static void translate_second(const struct job *job, struct dma_translation *translation)
{
    struct walk_table table;

    second_table(job->vtd, job->entry, &table);
    second_walk(job, &table, translation);
}

/* 3.6: the input address's bits from the highest translated one on must be alike: 63:47, 63:56. */
static bool canonical(const struct job *job)
{
    unsigned int width = 12 + 9 * job->entry->first_levels;
    uint64_t upper = job->address >> (width - 1);

    return upper == 0 || upper == low_bits(65 - width);
}

static void first_done(const struct job *job, const struct walk_result *result,
                       struct dma_translation *translation)
{
    if (result->status == WALK_OK)
        take(translation, result);
    else
        refuse(translation, first_reason(job, result));
}

static void translate_first(const struct job *job, struct dma_translation *translation)
{
    struct walk_result result;
    struct walk_table table;

    /* 6.5.2.3: an invalidation of second-stage pages drops all first-stage entries of the domain.
     */
    translation->nested = true;
    if (!canonical(job)) {
        refuse(translation, VTD_FAULT_SM_NOT_CANONICAL);
        return;
    }
    first_table(job->vtd, job->entry, &table);
    walk_page(job->vtd->options.memory, &first_stage, &table, NULL, job->address, job->access,
              &result);
    first_done(job, &result, translation);
}

struct nested_context {
    const struct viommu_memory *memory;
    struct walk_table second;
};

/* 3.8.1: with second-stage dirty bits, reading a first-stage table counts as writing to it. */
static void nested_translate(const void *opaque, uint64_t address, uint8_t access, bool of_table,
                             struct walk_result *result)
{
    const struct nested_context *context = opaque;

    if (of_table && context->second.update_accessed)
        access |= VIOMMU_DMA_WRITE;
    walk_page(context->memory, &second_stage, &context->second, NULL, address, access, result);
}

static void translate_nested(const struct job *job, struct dma_translation *translation)
{
    unsigned int width = vtd_second_stage_width(job->vtd, job->entry->second_levels);
    struct nested_context context = {.memory = job->vtd->options.memory};
    const struct walk_nested nested = {nested_translate, &context};
    struct walk_result result;
    struct walk_table table;

    translation->nested = true;
    if (!canonical(job)) {
        refuse(translation, VTD_FAULT_SM_NOT_CANONICAL);
        return;
    }
    first_table(job->vtd, job->entry, &table);
    table.address_too_big = ~low_bits(width);
    second_table(job->vtd, job->entry, &context.second);
    walk_page(context.memory, &first_stage, &table, &nested, job->address, job->access, &result);
    first_done(job, &result, translation);
}

/* 3.9; in legacy mode AW bounds pass-through, too (9.3). */
static void translate_pass_through(const struct job *job, struct dma_translation *translation)
{
    unsigned int width = job->vtd->options.host_address_width;
    unsigned int agaw = 12 + 9 * job->entry->second_levels;

    if (job->entry->legacy && agaw < width)
        width = agaw;
    if (job->address >> width)
        refuse(translation, job->entry->legacy ? VTD_FAULT_ADDRESS_WIDTH : VTD_FAULT_SM_HOST_WIDTH);
    else
        identity(translation, job->address, width);
}

static void refuse_interrupt_range(const struct job *job, struct dma_translation *translation)
{
    refuse(translation,
           job->entry->legacy ? VTD_FAULT_INTERRUPT_RANGE : VTD_FAULT_SM_INTERRUPT_RANGE);
}

/*
 * An output address in the interrupt range is refused, and a page that reaches into it is cut to
 * what lies outside (3.15). So is one whose input addresses do, when those are not translated.
 */
static void cut_interrupt_range(const struct job *job, bool input_too,
                                struct dma_translation *translation)
{
    uint64_t output = translation->gpa | (job->address & low_bits(translation->granule_log2));
    unsigned int room = interrupt_distance(output);

    if (room < INTERRUPT_LOG2) {
        refuse_interrupt_range(job, translation);
        return;
    }
    if (input_too && interrupt_distance(job->address) < room)
        room = interrupt_distance(job->address);
    if (room >= translation->granule_log2)
        return;
    translation->granule_log2 = room;
    translation->gpa = output & ~low_bits(room);
    translation->fractured = true;
}

/* 3.15: one DWORD, written without PASID: not memory, whatever the tables say. What else is sent
 * there without PASID is not allowed, whatever they say. */
static bool is_interrupt(const struct viommu_dma_request *request)
{
    return request->type == VIOMMU_DMA_UNTRANSLATED && (request->access & VIOMMU_DMA_WRITE) &&
           !(request->access & VIOMMU_DMA_READ) && request->length <= 4 &&
           (request->address & 3) + request->length <= 4;
}

static void translation_off(const struct viommu_dma_request *request,
                            struct dma_translation *translation)
{
    if (request->type != VIOMMU_DMA_UNTRANSLATED) {
        translation->status = VIOMMU_DMA_UNSUPPORTED;
    } else if (!in_interrupt_range(request->address)) {
        identity(translation, request->address, interrupt_distance(request->address));
    } else if (is_interrupt(request) && request->pasid == VIOMMU_PASID_NONE) {
        translation->status = VIOMMU_DMA_INTERRUPT_RANGE;
    } else {
        identity(translation, request->address, 12);
        translation->uncacheable = true;
    }
}

/* Does the entry let this kind of request through (SPT.5, SPT.6)? */
static uint32_t check_attributes(const struct vtd_entry *entry, uint8_t access)
{
    if ((access & VIOMMU_DMA_EXECUTE) && !entry->execute_enable)
        return VTD_FAULT_SM_ERE_CLEAR;
    if ((access & VIOMMU_DMA_PRIVILEGED) && !entry->first_sre)
        return VTD_FAULT_SM_SRE_CLEAR;
    return VTD_FAULT_NONE;
}

/* 4.2.3, U: interrupts are to be written untranslated. Nothing else can be done there. */
static void complete_interrupt_range(const struct job *job, struct dma_translation *translation)
{
    identity(translation, job->address, INTERRUPT_LOG2);
    translation->permissions = VIOMMU_DMA_WRITE;
    translation->flags = VIOMMU_DMA_FLAG_UNTRANSLATED_ONLY;
}

/* 4.2.4: the address is that of memory already. */
static void pass_translated(const struct job *job, struct dma_translation *translation)
{
    unsigned int width = job->vtd->options.host_address_width;

    if (job->address >> width) {
        refuse(translation, job->entry->legacy ? VTD_FAULT_ADDRESS_WIDTH : VTD_FAULT_SM_HOST_WIDTH);
        return;
    }
    identity(translation, job->address, width);
    cut_interrupt_range(job, true, translation);
    vtd_protect(job->vtd, job->address, translation);
}

static void translate_by_entry(const struct job *job, bool with_pasid,
                               struct dma_translation *translation)
{
    static void (*const translate[])(const struct job *, struct dma_translation *) = {
        [VTD_PGTT_FIRST] = translate_first,
        [VTD_PGTT_SECOND] = translate_second,
        [VTD_PGTT_NESTED] = translate_nested,
        [VTD_PGTT_PASS_THROUGH] = translate_pass_through,
    };

    translation->domain = job->entry->domain;
    if (!with_pasid && in_interrupt_range(job->address) &&
        job->type == VIOMMU_DMA_TRANSLATION_REQUEST) {
        complete_interrupt_range(job, translation);
        return;
    }
    if (!with_pasid && in_interrupt_range(job->address)) {
        refuse_interrupt_range(job, translation);
        translation->status = VIOMMU_DMA_UNSUPPORTED;
        return;
    }
    translate[job->entry->pgtt](job, translation);
    if (translation->status != VIOMMU_DMA_OK)
        return;
    if (!job->entry->execute_enable)
        translation->permissions &= ~VIOMMU_DMA_EXECUTE;
    if (job->entry->page_snoop)
        translation->flags |= VIOMMU_DMA_FLAG_SNOOPED;
    cut_interrupt_range(job, !with_pasid, translation);
    if (job->entry->pgtt == VTD_PGTT_PASS_THROUGH)
        vtd_protect(job->vtd, job->address, translation);
}

void vtd_translate_once(const struct vtd *vtd, const struct viommu_dma_request *request,
                        struct dma_translation *translation)
{
    uint64_t state = __atomic_load_n(&vtd->translation, __ATOMIC_ACQUIRE);
    bool with_pasid = request->pasid != VIOMMU_PASID_NONE;
    struct vtd_entry entry;
    struct job job = {vtd, &entry, request->address, request->access, request->type};
    bool translated = request->type == VIOMMU_DMA_TRANSLATED;
    uint32_t reason;

    memset(translation, 0, sizeof(*translation));
    if (!(state & VTD_TRANSLATION_ENABLED)) {
        translation_off(request, translation);
        vtd_protect(vtd, request->address, translation);
        return;
    }
    if (!with_pasid && in_interrupt_range(request->address) && is_interrupt(request)) {
        translation->status = VIOMMU_DMA_INTERRUPT_RANGE;
        return;
    }
    if (!with_pasid)
        job.access &= VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    /* 3.14, CAP.ZLR: a zero-length read is let through by the right to write as well. */
    if (!request->length)
        job.access &= (uint8_t)~VIOMMU_DMA_READ;
    vtd_entry_find_typed(vtd, state, request->requester_id, request->pasid, request->type, &entry);
    if (!with_pasid && entry.rid_privileged)
        job.access |= VIOMMU_DMA_PRIVILEGED;
    reason = entry.reason || translated ? entry.reason : check_attributes(&entry, job.access);
    if (reason)
        refuse(translation, reason);
    else if (translated)
        pass_translated(&job, translation);
    else
        translate_by_entry(&job, with_pasid, translation);
}

void vtd_translate(const struct vtd *vtd, const struct viommu_dma_request *request,
                   struct dma_translation *translation)
{
    if (request->type == VIOMMU_DMA_TRANSLATION_REQUEST) {
        vtd_ats_complete(vtd, request, translation);
        return;
    }
    vtd_translate_once(vtd, request, translation);
    translation->flags = 0;
}

void vtd_translate_second_stage(const struct vtd *vtd, const struct vtd_entry *entry,
                                uint64_t address, struct dma_translation *translation)
{
    const struct job job = {vtd, entry, address, 0, VIOMMU_DMA_UNTRANSLATED};
    struct walk_table table;

    memset(translation, 0, sizeof(*translation));
    translation->domain = entry->domain;
    second_table(vtd, entry, &table);
    /* The device will write through the shadow without our seeing it. */
    table.eager_dirty = true;
    second_walk(&job, &table, translation);
    if (translation->status == VIOMMU_DMA_OK)
        cut_interrupt_range(&job, false, translation);
}

/* Fault-processing-disable is looked up anew: faults are rare, and hits need not carry it. */
static bool fault_disabled(const struct vtd *vtd, const struct viommu_dma_request *request)
{
    uint64_t state = __atomic_load_n(&vtd->translation, __ATOMIC_ACQUIRE);
    struct vtd_entry entry;

    if (!(state & VTD_TRANSLATION_ENABLED))
        return false;
    rcu_enter();
    vtd_entry_find_typed(vtd, state, request->requester_id, request->pasid, request->type, &entry);
    rcu_exit();
    return entry.fault_disable;
}

void vtd_translate_fault(struct vtd *vtd, const struct viommu_dma_request *request,
                         uint64_t address, uint32_t reason)
{
    const struct vtd_fault fault = {
        .address = address,
        .pasid = request->pasid,
        .requester_id = request->requester_id,
        .reason = reason,
        .access = request->access,
        .type = request->type,
        .qualified = vtd_fault_code(reason)->qualified,
        .disabled = fault_disabled(vtd, request),
        .of_dma = true,
    };

    if (reason)
        vtd_fault_record(vtd, &fault);
}

/* Requests carry the requester ID that the space was made for, whatever the caller filled in. */
static void space_walk(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                       struct dma_translation *translation)
{
    struct vtd_function *function = dma_space_owner(space);
    struct viommu_dma_request own = *request;

    own.requester_id = function->requester_id;
    __atomic_fetch_add(&function->walks, 1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&function->assigned, __ATOMIC_RELAXED))
        vtd_count(function->vtd, assigned_emulated);
    if (function->vtd->sanitizer)
        vtd_sanitize_translate(function->vtd, &own, translation);
    else
        vtd_translate(function->vtd, &own, translation);
    if (request->type != VIOMMU_DMA_UNTRANSLATED)
        vtd_ats_admit(function, translation);
}

static void space_fault(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                        uint64_t address, const struct viommu_dma_result *result)
{
    struct vtd_function *function = dma_space_owner(space);
    struct viommu_dma_request own = *request;

    own.requester_id = function->requester_id;
    vtd_translate_fault(function->vtd, &own, address, result->fault_code);
}

const struct dma_space_ops vtd_space_ops = {
    .walk = space_walk,
    .fault = space_fault,
};
