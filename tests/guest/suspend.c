/* SPDX-License-Identifier: MIT */
/*
 * "suspend=disk" on the command line: the guest prepares for hibernation and thinks better of it at
 * the last moment (pm_test, Linux Documentation/power/basic-pm-debugging.rst). All devices are
 * suspended, all processors but one are off, the driver of the unit has switched translation and
 * remapping off; then everything comes back, with the tables that there were.
 */
#include "guest.h"

#include <stdlib.h>
#include <string.h>

static bool suspend_and_resume(const char *state)
{
    static const char *const parts[] = {"debug: Waiting for", NULL};
    char line[256] = "";
    struct klog log;
    int err;

    if (!need(klog_open_at_end(&log), "opens the kernel's log", "/dev/kmsg cannot be opened"))
        return false;
    err = write_text("core", "/sys/power/pm_test");
    if (!err)
        err = write_text(state, "/sys/power/state");
    expect(!err, "devices and the unit are suspended, and come back", "%s", strerror(-err));
    expect(klog_wait(&log, parts, line, sizeof(line), 0), "it got as far as suspending the core",
           "the kernel's log does not say so");
    klog_close(&log);
    return !err;
}

void check_suspend(const struct job *job, struct unit *unit)
{
    const char *state = getenv("suspend");

    if (!state)
        return;
    subject("suspend");
    edu_traffic_start(job);
    if (suspend_and_resume(state))
        edu_traffic_stop();
    check_disk(job, unit);
}
