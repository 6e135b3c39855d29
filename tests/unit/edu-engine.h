/* SPDX-License-Identifier: MIT */
/*
 * The copy engine of the edu in slot 1 of a machine, and what a guest does to it and to the unit in
 * front of it. Descriptors of the queue are 32 bytes once there is a table of PASIDs.
 */
#ifndef TEST_EDU_ENGINE_H
#define TEST_EDU_ENGINE_H

#include "edu_copier.h"
#include "machine.h"

#define SLOT 1u
#define PAGE 4096u

#define ID_ATS   0x0fu
#define ID_PRI   0x13u
#define ID_PASID 0x1bu

/* Where the guest keeps what. */
#define ROOT     0x10000u
#define CONTEXT  0x11000u
#define TABLES   0x12000u /* levels 4 to 1 */
#define QUEUE    0x16000u
#define DATA     0x20000u
#define IOVA     0x40000000ull
#define PASIDS   0x17000u
#define REQUESTS 0x18000u
#define TABLES_1 0x19000u /* first stage, levels 4 to 1 */
#define PASID    1u

#define GCMD_SRTP (1u << 30)
#define GCMD_TE   (1u << 31)
#define GCMD_QIE  (1u << 26)

/* A machine with this device; the arguments are those of the command line. */
struct machine *engine_plug(const char *viommu, const char *host, const char *device);

/* Offset of an extended capability; 0 without it. */
unsigned int engine_extended(struct machine *machine, uint16_t id);

/* Words of its configuration space; registers of the engine. */
uint16_t engine_config(struct machine *machine, unsigned int offset);
void engine_configure(struct machine *machine, unsigned int offset, uint16_t value);
uint64_t engine_address(struct machine *machine);
uint32_t engine_get(struct machine *machine, unsigned int offset);

/* A copy: its end is waited for, and gives its result. */
void engine_begin(struct machine *machine, uint64_t from, uint64_t to, uint64_t length);
void engine_begin_with(struct machine *machine, uint64_t from, uint64_t to, uint64_t length,
                       uint32_t flags);
unsigned int engine_end(struct machine *machine);
unsigned int engine_copy(struct machine *machine, uint64_t from, uint64_t to, uint64_t length);

/* Registers of the unit. */
void engine_unit_write(struct machine *machine, unsigned int offset, unsigned int size,
                       uint64_t value);

/* Scalable mode: PASID 1 has an empty first-stage table, whose last level is at TABLES_1 + 3
 * pages. */
void engine_program_pasid(struct machine *machine, bool device_tlb);

/* ATS alone; or ATS, PASIDs and page requests, and the engine is to use PASID 1. */
void engine_enable_ats(struct machine *machine);
void engine_enable_all(struct machine *machine);

/* One descriptor of 32 bytes. */
void engine_submit(struct machine *machine, uint64_t low, uint64_t high);

/* What a guest does that has changed the PASID's entry or a mapping of it. */
void engine_invalidate_pasid(struct machine *machine);

/* The guest waits for `count` page requests, and has handled them; returns the last. */
const uint64_t *engine_await_requests(struct machine *machine, unsigned int count);

/* A page group response to the request, with this code (VT-d 5.0, 7.7). */
void engine_respond(struct machine *machine, const uint64_t *request, uint64_t code);

#endif
