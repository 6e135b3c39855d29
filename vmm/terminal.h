/* SPDX-License-Identifier: MIT */
/*
 * Standard input and output as the guest's console.
 */
#ifndef VMM_TERMINAL_H
#define VMM_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Put a terminal on standard input into raw mode (it keeps the interrupt key, so that Ctrl-C ends
 * the machine). No effect when it is not a terminal or we are in the background. It is put back by
 * vmm_terminal_restore() and also when the process exits.
 */
void vmm_terminal_raw(void);
void vmm_terminal_restore(void);

/*
 * Read what was typed: Ctrl-A x asks for the end (*quit becomes true), Ctrl-A c gives the guest a
 * Ctrl-C, Ctrl-A Ctrl-A a Ctrl-A. Returns bytes for the guest, 0 when there are none, -1 at the
 * end of the input.
 */
long vmm_terminal_read(char *buffer, size_t size, bool *quit);

/* Write all of it to standard output, at most 4096 bytes; errors (a closed pipe) lose it. */
void vmm_terminal_write(const char *buffer, size_t size);

/*
 * From now on output that standard output does not take at once is lost: the machine ends, and
 * nobody may be reading. Any thread; a thread that waits in a write needs a signal too.
 */
void vmm_terminal_do_not_wait(bool enable);

#endif
