/* SPDX-License-Identifier: MIT */
/* Random guest tables: mostly sensible ones, of which a part is then spoiled. */
#ifndef RANDOM_TABLES_H
#define RANDOM_TABLES_H

#include "world.h"

#define TABLES_ROOTS   3
#define TABLES_ENTRIES 512
#define TABLES_IOVAS   8

enum entry_stage {
    ENTRY_STRUCTURE, /* root, context, PASID directory and table */
    ENTRY_FIRST,
    ENTRY_SECOND,
};

struct generator {
    uint64_t state;
    struct test_case *test;
    struct world *world;
    bool failed, pasids;
    bool legacy;           /* what the tables were made for */
    uint64_t next_page;    /* of page tables */
    uint64_t table_offset; /* where the second stage of nested entries shows the tables */
    uint64_t first[TABLES_ROOTS], second[TABLES_ROOTS];
    unsigned int first_levels, second_levels;
    struct {
        uint64_t gpa;
        enum entry_stage stage;
    } entries[TABLES_ENTRIES]; /* that were made, for mutations */
    unsigned int entry_count;
    uint64_t iovas[TABLES_IOVAS]; /* that were mapped */
    unsigned int iova_count;
};

uint64_t random_next(struct generator *generator);
uint64_t random_below(struct generator *generator, uint64_t n);
bool random_one_in(struct generator *generator, uint64_t n);
void emit(struct generator *generator, struct op op);
void emit_store(struct generator *generator, uint64_t gpa, uint64_t value);

/* An address at a border, by any number. */
uint64_t tables_border(uint64_t n);
/* One that was mapped, or at a border. */
uint64_t random_iova(struct generator *generator);
uint16_t random_domain(struct generator *generator);

void tables_build(struct generator *generator);
/* Latch the root table and switch translation on; now and then something else. */
void tables_switch_on(struct generator *generator);
/* Change something. */
void tables_mutate(struct generator *generator);

#endif
