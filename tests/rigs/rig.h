/* SPDX-License-Identifier: MIT */
/* What programs in rigs share: checks, points of failure in the kernel, what a process holds. */
#ifndef RIGS_RIG_H
#define RIGS_RIG_H

#include <stdbool.h>
#include <stdint.h>

/* The rig's name, for "rig: NAME: pass (N checks)"; and what is being looked at. */
void rig_name(const char *name);
void rig_subject(const char *subject);
const char *rig_get_subject(void);
void rig_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void rig_check(bool good, const char *what, int line, const char *message);
int rig_verdict(void); /* prints it; the exit code */

#define CHECK(condition) rig_check(condition, #condition, __LINE__, "")
/* For calls of the library: shows the sentence. */
#define WORKS(rig, call) rig_check(!(call), #call, __LINE__, (rig)->error.message)
#define FAILS(rig, expected, call)                                                                 \
    rig_check((call) == (expected), #call " is " #expected, __LINE__, (rig)->error.message)
#define SAYS(rig, words)                                                                           \
    rig_check(strstr((rig)->error.message, words), "says " words, __LINE__, (rig)->error.message)

/* Descriptors that are open, memory that is pinned for devices. */
unsigned int rig_open_files(void);
unsigned long rig_pinned_kib(void);

/*
 * From arming on, the n-th point of the kernel's that can fail within rig_ioctl() does
 * (/proc/thread-self/fail-nth). Disarming tells whether there were so many.
 */
#define RIG_POINTS_MAX 2000 /* more than any call has */
bool rig_can_fail(void);
void rig_arm(unsigned int n);
bool rig_disarm(void);
int rig_ioctl(void *opaque, int descriptor, unsigned long request, void *argument);

/*
 * Where the kernel can (CONFIG_FAILSLAB), allocations that may wait fail as well. Not with devices
 * of PCI: Linux's ACPI interpreter does not survive it when their interrupts are set up.
 */
void rig_widen_failures(void);

/* The kernel has nothing to say of itself. */
void rig_check_kernel_log(void);

#endif
