/* SPDX-License-Identifier: MIT */
#include "vmm.h"
#include <stdarg.h>
#include <stdio.h>

#undef vmm_fail /* what the analyzer sees of it elsewhere */
int vmm_fail(struct viommu_error *err, int code, const char *format, ...)
{
    va_list args;

    if (err) {
        va_start(args, format);
        vsnprintf(err->message, sizeof(err->message), format, args);
        va_end(args);
        err->code = -code;
    }
    return -code;
}
