/* SPDX-License-Identifier: MIT */
/*
 * Read-side sections and grace periods: userspace RCU (liburcu, "bulletproof" flavour: threads of
 * the embedder need no registration). A DMA runs inside a read-side section, so that an IOTLB drain
 * is a grace period.
 */
#ifndef BASE_RCU_H
#define BASE_RCU_H

/*
 * liburcu's inline functions use a misaligned struct of its own, which UBSan would report, and a
 * pointer that is set out of line, which the analyzer takes for NULL.
 */
#if !defined(RCU_OUT_OF_LINE) && !defined(__clang_analyzer__)
#define _LGPL_SOURCE
#endif
#include <urcu/urcu-bp.h>

#if defined(__SANITIZE_THREAD__)
#define RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TSAN 1
#endif
#endif

#ifdef RCU_TSAN
/* ThreadSanitizer does not see liburcu's barriers; these tell it what a grace period orders. */
void __tsan_acquire(void *address);
void __tsan_release(void *address);
extern char rcu_tsan_tag;
#define rcu_tsan_acquire() __tsan_acquire(&rcu_tsan_tag)
#define rcu_tsan_release() __tsan_release(&rcu_tsan_tag)
#else
#define rcu_tsan_acquire() ((void)0)
#define rcu_tsan_release() ((void)0)
#endif

/* Begin and end a read-side section. May nest. Never wait for a lock of the library within it. */
static inline void rcu_enter(void)
{
    urcu_bp_read_lock();
}

static inline void rcu_exit(void)
{
    rcu_tsan_release();
    urcu_bp_read_unlock();
}

/* Wait until every read-side section that is under way has ended. Not from within one. */
static inline void rcu_wait(void)
{
    urcu_bp_synchronize_rcu();
    rcu_tsan_acquire();
}

/* Publish and read a pointer. */
#define rcu_publish(pointer, value) __atomic_store_n(&(pointer), (value), __ATOMIC_RELEASE)
#define rcu_read(pointer)           __atomic_load_n(&(pointer), __ATOMIC_ACQUIRE)

#endif
