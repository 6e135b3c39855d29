/* SPDX-License-Identifier: MIT */
/* A host on the mock with a device, in the state that most subjects of rig-mock want. */
#ifndef RIGS_MOCK_HOST_H
#define RIGS_MOCK_HOST_H

#include <errno.h>
#include <string.h>
#include <viommu.h>

#include "guest.h"
#include "mock.h"
#include "rig.h"

#define PAGE   UINT64_C(4096)
#define PAGES  64 /* of rig->memory */
#define SHARED (8 * PAGE)
#define IOVA   MOCK_FIRST_IOVA
#define RW     (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)
#define NONE   VIOMMU_PASID_NONE

struct rig {
    struct mock mock;
    struct viommu_host *host;
    struct viommu_error error;
    struct guest guest;
    char *memory;
    int memfd;
    uint32_t device;
    uint32_t ioas;
    uint32_t parent; /* a nesting parent; attached */
    uint32_t nested; /* below it; not attached */
};

void rig_begin(struct rig *rig);
void rig_end(struct rig *rig);

/* What there is: for checks that everything was given back. */
struct census {
    uint32_t next_id;
    unsigned int files;
    unsigned long pinned;
};

struct census rig_census(struct rig *rig);
bool rig_same_census(struct rig *rig, const struct census *before); /* says what is not the same */

/* The host's calls, with the rig's device, IOAS and memory. 0, or a negative errno. */
int rig_hwpt(struct rig *rig, uint32_t parent, uint32_t flags, uint32_t *id);
int rig_nest(struct rig *rig, uint32_t flags, uint32_t queue, uint32_t *id);
int rig_map(struct rig *rig, uint64_t iova, uint64_t pages, uint32_t flags);
int rig_unmap(struct rig *rig, uint64_t iova, uint64_t pages);
int rig_attach(struct rig *rig, uint32_t pasid, uint32_t id);
int rig_invalidate(struct rig *rig, uint32_t type, const struct mock_invalidate *entries,
                   uint32_t *count);
uint32_t rig_pasid_flag(const struct rig *rig); /* 0 where the kernel has no PASIDs */

/* SHARED bytes of the memfd, which the host is told of. */
char *rig_map_shared(struct rig *rig);

/* The guest that rig_assign() gives a device of its own. */
void rig_begin_guest(struct rig *rig);
int rig_assign(struct rig *rig);
void rig_unassign(struct rig *rig);

/* A subject (mock-failures.c). */
void test_failures(struct rig *rig);

#endif
