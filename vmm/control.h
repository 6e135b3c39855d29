/* SPDX-License-Identifier: MIT */
/*
 * The control socket: a Unix stream socket on which a user asks for something while the machine
 * runs. A request is a line of text, its answer a line of JSON: {"ok":true,...}, or
 * {"ok":false,"error":"a sentence"}. Answers come in the order of the requests.
 * Where this process has no descriptor for another user, it takes no more, and warns.
 *
 * Served by vm->loop; what it says to slow or silent users never blocks the machine.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include <stdio.h>
#include <viommu/error.h>

struct vmm;

#define VMM_CONTROL_CLIENTS 8u
#define VMM_CONTROL_LINE    256u /* bytes of a request, its end included */

/*
 * Make the socket that vm->options->control names, for this user alone, and listen; nothing when it
 * names none. Sets vm->control. What is there already is not replaced: -EADDRINUSE; an empty name
 * is refused: -EINVAL.
 */
int vmm_control_create(struct vmm *vm, struct viommu_error *err);

/* Removes the socket, too. Before the functions of the machine are gone. */
void vmm_control_destroy(struct vmm *vm);

/* Carry out one request, without its end of line, and print the answer, without one. */
void vmm_control_answer(struct vmm *vm, const char *request, FILE *answer);

/* Print a refusal. */
void vmm_control_refuse(const char *sentence, FILE *answer);

#endif
