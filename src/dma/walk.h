/* SPDX-License-Identifier: MIT */
/*
 * The one page-table walker, for all models.
 *
 * A format (struct walk_format) says where the bits of an entry are; it is a constant of the model,
 * and is compiled into the walk. A table (struct walk_table) is one table in that format: its root,
 * its depth, what is reserved in it. Nesting is the same routine with a second table's walk for the
 * address of each entry it reads and for the final address.
 *
 * Each entry is read once; the copy is judged. Only when an accessed or dirty bit must be set, and
 * the guest has changed the entry meanwhile, is the new value judged again; a bounded number of
 * times.
 */
#ifndef DMA_WALK_H
#define DMA_WALK_H

#include <endian.h>
#include <viommu/dma.h>

#include "base/bits.h"
#include "memory/memory.h"

/* Where an entry has its bits. A bit that the format does not have is 0. */
struct walk_format {
    uint8_t index_bits;         /* of the input address, that one level uses */
    uint64_t present;           /* present when any of these is set */
    uint64_t address;           /* of the next table, or of the page */
    uint64_t leaf;              /* above level 1: this entry maps a page */
    uint64_t read, write;       /* permissions, which must be set in every entry; read 0: all may */
    uint64_t user;              /* set in every entry: unprivileged requests may use it */
    uint64_t no_execute;        /* clear in every entry: may be executed */
    uint64_t accessed;          /* set by a walk that uses the entry */
    uint64_t extended_accessed; /* the same, for walks that are not the processor's */
    uint64_t dirty;             /* in a leaf: set by a write */
    uint64_t large_ignored;     /* bits of a large page's address below its size that may be set */
};

/* One table. */
struct walk_table {
    uint64_t root;            /* address of the top-level table, a multiple of 4096 */
    uint8_t levels;           /* 1..6 */
    uint8_t leaf_levels;      /* BIT(n): an entry of level n may map a page; level 1 always does */
    bool update_accessed;     /* maintain accessed and dirty bits */
    bool update_extended;     /* and the extended accessed bits */
    bool update_forbidden;    /* they cannot be written: needing to is an error */
    bool write_protect;       /* privileged writes need the write bit, too */
    bool execute_disable;     /* the no-execute bit means something */
    bool supervisor_no_user;  /* privileged requests may not execute user pages */
    bool eager_dirty;         /* set dirty in each writable leaf: writes will follow unseen */
    uint64_t reserved;        /* bits that must be 0 in every present entry */
    uint64_t reserved_table;  /* and in those that point to a table */
    uint64_t reserved_leaf;   /* and in those that map a page */
    uint64_t address_too_big; /* bits of an address in an entry that the next stage cannot take */
};

enum walk_status {
    WALK_OK,
    WALK_NOT_PRESENT,      /* an entry has none of its present bits */
    WALK_RESERVED,         /* reserved bits are set in an entry */
    WALK_TABLE_ACCESS,     /* no memory where the entry should be */
    WALK_ADDRESS_WIDTH,    /* an address in an entry has address_too_big bits */
    WALK_PRIVILEGE,        /* an unprivileged request met an entry without the user bit */
    WALK_NO_PERMISSION,    /* all entries together permit nothing */
    WALK_NO_READ,          /* read was wanted and is not permitted */
    WALK_NO_WRITE,         /* write was wanted and is not permitted */
    WALK_NO_EXECUTE,       /* execute was wanted and is not permitted */
    WALK_UPDATE_FORBIDDEN, /* an accessed or dirty bit is to be set, but must not */
    WALK_UPDATE_FAILED,   /* it could not be set: read-only memory, or the guest kept changing it */
    WALK_UPDATE_NO_WRITE, /* nested: the second table does not permit it to be set */
    WALK_TABLE_NESTED,    /* nested: the second table refused the address of an entry */
    WALK_FINAL_NESTED,    /* nested: the second table refused the final address */
};

struct walk_result {
    enum walk_status status;
    uint8_t level;          /* of the last entry that was looked at: levels..1 */
    uint8_t granule_log2;   /* of the page that serves the translation */
    uint8_t permissions;    /* VIOMMU_DMA_READ, _WRITE, _EXECUTE; without WRITE also when a write
                               would first have to set a dirty bit */
    bool fractured;         /* nested: the granule is smaller than the page of this table */
    uint64_t address;       /* where the page begins */
    uint64_t entry;         /* value of the last entry */
    uint64_t entry_address; /* and where it lies; nested: before the second translation */
    /* The second table's own result, when status is one of the two _NESTED. */
    enum walk_status nested_status;
    uint8_t nested_level;
};

/*
 * The second table of a nested walk: translate `address` for the access (VIOMMU_DMA_READ, WRITE).
 * `of_table`: it is the address of an entry of the first table.
 */
typedef void walk_nested_fn(const void *context, uint64_t address, uint8_t access, bool of_table,
                            struct walk_result *result);

struct walk_nested {
    walk_nested_fn *translate;
    const void *context;
};

/* How often an entry that changes under a walk is judged again. */
#define WALK_UPDATE_TRIES 8

/*
 * Set bits in the entry at `where`, which held *entry. WALK_OK: done, *entry has them. -EAGAIN
 * becomes a false *settled: *entry is now what was found there, to be judged anew.
 */
enum walk_status walk_update(const struct viommu_memory *memory, uint64_t where, uint64_t *entry,
                             uint64_t bits, bool *settled);

/* A short name for messages ("not-present"). Never NULL. */
const char *walk_status_name(enum walk_status status);

/* What a walk has gathered so far. */
struct walk_state {
    uint64_t all;   /* AND of the entries */
    uint64_t any;   /* OR of the entries */
    uint64_t where; /* of the entry in memory, after the second table */
    bool writable;  /* the second table permits to write there */
};

static inline __attribute__((always_inline)) unsigned int
walk_shift(const struct walk_format *format, unsigned int level)
{
    return 12 + (level - 1) * format->index_bits;
}

/* Is this entry well-formed; and is it a leaf? */
static inline __attribute__((always_inline)) enum walk_status
walk_judge(const struct walk_format *format, const struct walk_table *table, unsigned int level,
           uint64_t entry, bool privileged, bool *leaf)
{
    uint64_t reserved = table->reserved;

    if (!(entry & format->present))
        return WALK_NOT_PRESENT;
    *leaf = level == 1;
    if (level > 1 && (entry & format->leaf)) {
        if (!(table->leaf_levels >> level & 1))
            return WALK_RESERVED;
        *leaf = true;
        reserved |= format->address & low_bits(walk_shift(format, level)) & ~format->large_ignored;
    }
    reserved |= *leaf ? table->reserved_leaf : table->reserved_table;
    if (entry & reserved)
        return WALK_RESERVED;
    if (format->user && !privileged && !(entry & format->user))
        return WALK_PRIVILEGE;
    if (entry & format->address & table->address_too_big)
        return WALK_ADDRESS_WIDTH;
    return WALK_OK;
}

/* What all the entries together permit. */
static inline __attribute__((always_inline)) uint8_t
walk_permissions(const struct walk_format *format, const struct walk_table *table,
                 const struct walk_state *state, bool privileged)
{
    bool read = !format->read || (state->all & format->read);
    bool write =
        (state->all & format->write) || (format->user && privileged && !table->write_protect);
    bool execute = read;

    if (table->execute_disable && (state->any & format->no_execute))
        execute = false;
    if (table->supervisor_no_user && privileged && (state->all & format->user))
        execute = false;
    return (read ? VIOMMU_DMA_READ : 0) | (write ? VIOMMU_DMA_WRITE : 0) |
           (execute ? VIOMMU_DMA_EXECUTE : 0);
}

/* Is what was wanted permitted? Writes are named first: an atomic that lacks both is a write. */
static inline __attribute__((always_inline)) enum walk_status walk_permit(uint8_t permissions,
                                                                          uint8_t access)
{
    if (!(permissions & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)))
        return WALK_NO_PERMISSION;
    if (access & ~permissions & VIOMMU_DMA_WRITE)
        return WALK_NO_WRITE;
    if (access & ~permissions & VIOMMU_DMA_READ)
        return WALK_NO_READ;
    if (access & ~permissions & VIOMMU_DMA_EXECUTE)
        return WALK_NO_EXECUTE;
    return WALK_OK;
}

/* Which accessed and dirty bits the entry lacks. */
static inline __attribute__((always_inline)) uint64_t walk_missing(const struct walk_format *format,
                                                                   const struct walk_table *table,
                                                                   uint64_t entry, bool dirty)
{
    uint64_t wanted = 0;

    if (!table->update_accessed)
        return 0;
    wanted = format->accessed;
    if (table->update_extended)
        wanted |= format->extended_accessed;
    if (dirty)
        wanted |= format->dirty;
    return wanted & ~entry;
}

/*
 * Read an entry of so many words, each once, the first one first. The entry is aligned to its size,
 * so it lies in one range of memory. Not memory_read_once(): the whole walk is within a read-side
 * section, and one more for each entry would cost more than the entry.
 */
static inline __attribute__((always_inline)) bool
walk_read(const struct viommu_memory *memory, uint64_t where, uint64_t *entry, unsigned int words)
{
    typedef uint64_t __attribute__((may_alias)) guest_word;
    const guest_word *from = memory_lookup(memory, where, NULL, NULL);

    if (!from)
        return false;
    for (unsigned int i = 0; i < words; i++)
        entry[i] = le64toh(__atomic_load_n(&from[i], __ATOMIC_ACQUIRE));
    return true;
}

/* Find where the entry lies, and read it. */
static inline __attribute__((always_inline)) enum walk_status
walk_fetch(const struct viommu_memory *memory, const struct walk_nested *nested,
           struct walk_state *state, struct walk_result *result)
{
    struct walk_result inner;

    state->where = result->entry_address;
    state->writable = true;
    if (nested) {
        nested->translate(nested->context, result->entry_address, VIOMMU_DMA_READ, true, &inner);
        if (inner.status != WALK_OK) {
            result->nested_status = inner.status;
            result->nested_level = inner.level;
            return WALK_TABLE_NESTED;
        }
        state->where = inner.address | (result->entry_address & low_bits(inner.granule_log2));
        state->writable = inner.permissions & VIOMMU_DMA_WRITE;
    }
    return walk_read(memory, state->where, &result->entry, 1) ? WALK_OK : WALK_TABLE_ACCESS;
}

/* Put the final address of this table through the second one. */
static inline __attribute__((always_inline)) enum walk_status
walk_final(const struct walk_nested *nested, uint64_t input, uint8_t access,
           struct walk_result *result)
{
    uint64_t final = result->address | (input & low_bits(result->granule_log2));
    struct walk_result inner;

    nested->translate(nested->context, final, access, false, &inner);
    if (inner.status != WALK_OK) {
        result->nested_status = inner.status;
        result->nested_level = inner.level;
        return WALK_FINAL_NESTED;
    }
    result->permissions &= inner.permissions;
    result->fractured = inner.granule_log2 < result->granule_log2;
    if (result->fractured)
        result->granule_log2 = inner.granule_log2;
    result->address =
        (inner.address | (final & low_bits(inner.granule_log2))) & ~low_bits(result->granule_log2);
    return WALK_OK;
}

/* A leaf: check what is wanted, translate further, and only then mark the page as used. */
static inline __attribute__((always_inline)) enum walk_status
walk_leaf(const struct walk_format *format, const struct walk_table *table,
          const struct walk_nested *nested, const struct walk_state *state, uint64_t input,
          uint8_t access, struct walk_result *result, uint64_t *missing)
{
    enum walk_status status;
    bool dirty;

    result->permissions = walk_permissions(format, table, state, access & VIOMMU_DMA_PRIVILEGED);
    status = walk_permit(result->permissions, access);
    if (status != WALK_OK)
        return status;
    result->granule_log2 = walk_shift(format, result->level);
    result->address = result->entry & format->address & ~low_bits(result->granule_log2);
    result->fractured = false;
    dirty = (access & VIOMMU_DMA_WRITE) ||
            (table->eager_dirty && (result->permissions & VIOMMU_DMA_WRITE));
    if (nested) {
        status = walk_final(nested, input, access & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE), result);
        if (status != WALK_OK)
            return status;
    }
    *missing = walk_missing(format, table, result->entry, dirty);
    if (table->update_accessed && !((result->entry | *missing) & format->dirty))
        result->permissions &= ~VIOMMU_DMA_WRITE;
    return WALK_OK;
}

/* Set what is missing, as far as that is allowed. */
static inline __attribute__((always_inline)) enum walk_status
walk_mark(const struct viommu_memory *memory, const struct walk_table *table,
          const struct walk_state *state, uint64_t missing, struct walk_result *result,
          bool *settled)
{
    if (!missing)
        return WALK_OK;
    if (table->update_forbidden)
        return WALK_UPDATE_FORBIDDEN;
    if (!state->writable)
        return WALK_UPDATE_NO_WRITE;
    return walk_update(memory, state->where, &result->entry, missing, settled);
}

/* One level: fetch the entry, judge it, mark it. *leaf tells whether the walk ends here. */
static inline __attribute__((always_inline)) enum walk_status
walk_level(const struct viommu_memory *memory, const struct walk_format *format,
           const struct walk_table *table, const struct walk_nested *nested, uint64_t input,
           uint8_t access, struct walk_state *state, struct walk_result *result, bool *leaf)
{
    struct walk_state before = *state;
    enum walk_status status;
    uint64_t missing;
    bool settled;

    status = walk_fetch(memory, nested, &before, result);
    if (status != WALK_OK)
        return status;
    for (unsigned int tries = 0; tries < WALK_UPDATE_TRIES; tries++) {
        status = walk_judge(format, table, result->level, result->entry,
                            access & VIOMMU_DMA_PRIVILEGED, leaf);
        if (status != WALK_OK)
            return status;
        *state = before;
        state->all &= result->entry;
        state->any |= result->entry;
        if (*leaf)
            status = walk_leaf(format, table, nested, state, input, access, result, &missing);
        else
            missing = walk_missing(format, table, result->entry, false);
        if (status != WALK_OK)
            return status;
        settled = true;
        status = walk_mark(memory, table, state, missing, result, &settled);
        if (status != WALK_OK || settled)
            return status;
    }
    return WALK_UPDATE_FAILED;
}

/*
 * Walk `table` for `input`, whose width the caller has checked against the levels. access is what
 * is wanted (VIOMMU_DMA_*; 0: only the translation). format must be a compile-time constant, nested
 * NULL or the second table. Within a read-side section.
 */
static inline __attribute__((always_inline)) void
walk_page(const struct viommu_memory *memory, const struct walk_format *format,
          const struct walk_table *table, const struct walk_nested *nested, uint64_t input,
          uint8_t access, struct walk_result *result)
{
    struct walk_state state = {.all = ~UINT64_C(0)};
    uint64_t next = table->root;
    bool leaf;

    for (result->level = table->levels;; result->level--) {
        uint64_t index = input >> walk_shift(format, result->level) & low_bits(format->index_bits);

        result->entry_address = next + index * 8;
        result->status =
            walk_level(memory, format, table, nested, input, access, &state, result, &leaf);
        if (result->status != WALK_OK || leaf)
            return;
        next = result->entry & format->address;
    }
}

#endif
