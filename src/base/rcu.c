/* SPDX-License-Identifier: MIT */
/* What base/rcu.h needs once in the program. */
#include "base/rcu.h"

#ifdef RCU_TSAN
char rcu_tsan_tag;
#else
/* ISO C wants a declaration in every file. */
typedef int rcu_needs_nothing;
#endif
