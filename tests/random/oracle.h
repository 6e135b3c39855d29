/* SPDX-License-Identifier: MIT */
/*
 * A third implementation of the translation: straight from the specification, slow, as simple as it
 * can be, and sharing no line with the model or the simulated host. It knows of the unit what a
 * driver knows: the capability registers. It walks a copy of guest memory, and sets accessed and
 * dirty bits there, so that what the others did to the real one can be compared.
 */
#ifndef RANDOM_ORACLE_H
#define RANDOM_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORACLE_NO_PASID UINT32_MAX

/* Access bits and address types, with the numbers of viommu/dma.h. */
#define ORACLE_READ       1u
#define ORACLE_WRITE      2u
#define ORACLE_EXECUTE    4u
#define ORACLE_PRIVILEGED 8u

#define ORACLE_TRANSLATION_REQUEST 1
#define ORACLE_TRANSLATED          2
#define ORACLE_PAGE_REQUEST        3 /* of no DMA: for the context entry */

/* Flags of an answer to a translation request, likewise. */
#define ORACLE_UNTRANSLATED_ONLY 2u
#define ORACLE_SNOOPED           4u

struct oracle_memory {
    uint64_t gpa, size;
    uint8_t *bytes;
    bool readonly;
};

/* Registers that software writes (11.4), and what of them is in force. oracle_registers.c */
struct oracle_registers {
    uint64_t pmen, low_base, low_limit, high_base, high_limit;
    uint64_t irta, pqh, pqt, pqa, prs, pectl;
    uint64_t interrupt_table;      /* IRTA_REG as the last SIRTP found it */
    bool remapping, compatibility; /* GSTS.IRES, CFIS */
    bool protecting;
    uint64_t protected[2][2]; /* first, last; as PMEN.EPM found them */
};

struct oracle {
    const struct oracle_memory *memory;
    size_t memory_count;
    uint64_t cap, ecap; /* CAP_REG, ECAP_REG */
    unsigned int haw;   /* host address width: what CPUID would say */
    uint64_t rtaddr;    /* RTADDR_REG as latched */
    bool enabled;       /* GSTS.TES */
    bool any_source;    /* IOAPICs are not verified: a property of the unit */
    struct oracle_registers registers;
    bool dry; /* set no accessed and dirty bits */
    /* Called when it does set some. */
    void (*marked)(void *opaque, uint64_t gpa);
    void *opaque;
    /* Called with each entry of a page table that is met, and its stage, 1 or 2. */
    void (*met)(void *opaque, uint64_t gpa, unsigned int stage);
    void *met_opaque;
};

/* Why there is no translation, when it is not a fault reason of table 30. */
enum oracle_verdict {
    ORACLE_OK,
    ORACLE_FAULT,       /* reason says which */
    ORACLE_UNSUPPORTED, /* refused, and nothing recorded */
    ORACLE_INTERRUPT,   /* an interrupt message, no DMA */
};

struct oracle_request {
    uint64_t address;
    uint64_t length;
    uint32_t pasid;
    uint16_t requester;
    uint8_t access;
    uint8_t type; /* 0 untranslated, ORACLE_TRANSLATION_REQUEST, _TRANSLATED */
};

/* What a table lookup by requester and PASID came to. */
struct oracle_entry {
    uint8_t reason; /* 0: the rest is valid */
    bool legacy;
    bool fault_disable;
    unsigned int pgtt; /* 1 first, 2 second, 3 nested, 4 pass-through; legacy: 2 or 4 */
    uint16_t domain;
    uint32_t pasid;
    uint64_t first_root, second_root;
    unsigned int first_levels, second_levels;
    bool rid_privileged; /* requests without PASID are supervisor ones */
    bool wpe, sre, eafe, ere, nxe, smep, pwsnp, pgsnp, ssade;
    /* Where the entries lie that were read, and how many bytes of each. */
    struct {
        uint64_t gpa;
        unsigned int size;
    } read[4];
    unsigned int reads;
};

/* What became of one address. */
struct oracle_answer {
    enum oracle_verdict verdict;
    uint8_t reason;
    bool fault_disable;
    unsigned int pgtt; /* 0: translation is off, or no entry */
    uint64_t gpa;      /* of the address itself */
    unsigned int granule_log2;
    uint8_t permissions;
    uint8_t flags;    /* of a translation request */
    bool snp_unknown; /* nested, and SNP is set there: whether that counts is not said */
    /* Something on the way that a host does otherwise than the specification says: PWSNP is clear
     * where a bit was to be set; what is nested on is read-only, or in the interrupt range. */
    bool not_for_host;
};

/* Memory of `size` bytes at gpa, in one range; NULL: none. */
uint8_t *oracle_memory(const struct oracle *oracle, uint64_t gpa, uint64_t size, bool *readonly);
bool oracle_load(const struct oracle *oracle, uint64_t gpa, uint64_t *value);

void oracle_find(const struct oracle *oracle, uint16_t requester, uint32_t pasid, uint8_t type,
                 struct oracle_entry *entry);
/* Translates request->address; sets accessed and dirty bits in the copy. */
void oracle_translate(const struct oracle *oracle, const struct oracle_request *request,
                      struct oracle_answer *answer);
/* The second stage alone, without side effects: false when it refuses to be read. */
bool oracle_second(const struct oracle *oracle, const struct oracle_entry *entry, uint64_t address,
                   uint64_t *gpa);
/* Upper quadword of the fault record for a request that was refused (11.4.7.6). */
uint64_t oracle_record(const struct oracle *oracle, const struct oracle_request *request,
                       uint8_t reason);
/* Whether fault-processing-disable suppresses the reason (table 30, "qualified"). */
bool oracle_qualified(uint8_t reason);
/* Bits of an address in a fault record. */
uint64_t oracle_record_address(const struct oracle *oracle, uint64_t address);

#endif
