/* SPDX-License-Identifier: MIT */
#ifndef GUEST_SVA_CHECK_H
#define GUEST_SVA_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SVA_PAGE 4096u

/* The copy engine of one function, opened by way of the module, and the process's page of it. */
struct engine {
    int fd;
    volatile uint8_t *page;
    char path[64];
};

/* sva.c: what a user of the engine does. */
bool engine_open(struct engine *engine, const char *addr);
void engine_close(struct engine *engine);
int engine_bind(struct engine *engine); /* the PASID, or a negative errno */
int engine_unbind(struct engine *engine);
uint32_t engine_get(const struct engine *engine, unsigned reg);
uint64_t engine_get64(const struct engine *engine, unsigned reg);
void engine_start(const struct engine *engine, const void *from, void *to, size_t size,
                  uint32_t command);
bool engine_wait(const struct engine *engine); /* false: still busy after ten seconds */
/* Start and wait; the result, or -1 when it does not end. */
int engine_copy(const struct engine *engine, const void *from, void *to, size_t size);

/* sva_lifetime.c: what outlives what. */
void check_sva_unbind(struct engine *engine, const char *addr);
void check_sva_exit(const char *addr);

/* Pages that nobody has touched; NULL when there are none. */
uint8_t *fresh_pages(unsigned count);

#endif
