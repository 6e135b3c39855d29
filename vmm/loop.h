/* SPDX-License-Identifier: MIT */
/*
 * A thread that waits for file descriptors: eventfds of assigned devices, fault queues, sockets.
 *
 * Callbacks run one at a time, in that thread, with no lock held. They may add and remove watches,
 * their own, too, and should not block.
 */
#ifndef VMM_LOOP_H
#define VMM_LOOP_H

#include <viommu/error.h>

struct vmm_loop;
struct vmm_watch;

typedef void vmm_watch_fn(void *opaque);

/* Without the thread yet: nothing is called until vmm_loop_start(). -ENOMEM, or the system's error.
 */
int vmm_loop_create(struct vmm_loop **out, struct viommu_error *err);
int vmm_loop_start(struct vmm_loop *loop, struct viommu_error *err);

/* Ends the thread: nothing is called any more, and what a callback does is done. NULL is allowed.
 */
void vmm_loop_stop(struct vmm_loop *loop);

/* Stops, and removes the watches that are left. NULL is allowed. */
void vmm_loop_destroy(struct vmm_loop *loop);

/*
 * Call `ready` each time when `fd` is readable, or is at its end. `fd` is borrowed until the watch
 * is removed, and non-blocking: `ready` must read from it, else it is called again at once, and may
 * now and then find nothing. Any thread.
 */
int vmm_loop_add(struct vmm_loop *loop, int fd, vmm_watch_fn *ready, void *opaque,
                 struct vmm_watch **out, struct viommu_error *err);

/*
 * No more calls: waits for one that is running, unless it is the caller's. Locks that the callback
 * takes must not be held. Any thread; NULL is allowed.
 */
void vmm_loop_remove(struct vmm_loop *loop, struct vmm_watch *watch);

#endif
