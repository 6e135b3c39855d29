/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <unistd.h>

#include "host/sys.h"

/* In the kernel's log: what is before it is none of ours. */
#define BEGINNING "a rig begins"

static const char *name, *subject;
static unsigned int checks, failures;

void rig_name(const char *of_rig)
{
    FILE *log = fopen("/dev/kmsg", "w");

    name = of_rig;
    if (log) {
        fputs(BEGINNING, log);
        fclose(log);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
}

void rig_subject(const char *next)
{
    subject = next;
}

const char *rig_get_subject(void)
{
    return subject;
}

void rig_say(const char *format, ...)
{
    va_list arguments;

    printf("rig: %s: ", name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void rig_check(bool good, const char *what, int line, const char *message)
{
    checks++;
    if (good)
        return;
    failures++;
    rig_say("FAIL: %s, line %d: %s%s%s", subject, line, what, *message ? ": " : "", message);
}

int rig_verdict(void)
{
    if (failures)
        rig_say("FAIL (%u of %u checks)", failures, checks);
    else
        rig_say("pass (%u checks)", checks);
    return failures != 0;
}

unsigned int rig_open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned int count = 0;

    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

unsigned long rig_pinned_kib(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    unsigned long pinned = 0;
    char line[128];

    while (file && fgets(line, sizeof(line), file))
        sscanf(line, "VmPin: %lu", &pinned);
    if (file)
        fclose(file);
    return pinned;
}

/* ---- Failures */

static int fail_file = -1;
static bool armed;
static unsigned int fail_after; /* points that may still be passed; 0: none fails any more */

#define DEBUGFS "/sys/kernel/debug"

void rig_widen_failures(void)
{
    static const char *const settings[][2] = {
        {DEBUGFS "/failslab/ignore-gfp-wait", "N"},
        {DEBUGFS "/failslab/verbose", "0"},
        {DEBUGFS "/fail_page_alloc/ignore-gfp-wait", "N"},
        {DEBUGFS "/fail_page_alloc/verbose", "0"},
        {DEBUGFS "/fail_iommufd/verbose", "0"},
    };

    mount("none", DEBUGFS, "debugfs", 0, NULL);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        FILE *file = fopen(settings[i][0], "w");

        if (!file)
            continue;
        fputs(settings[i][1], file);
        fclose(file);
    }
}

bool rig_can_fail(void)
{
    if (fail_file < 0)
        fail_file = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
    return fail_file >= 0;
}

void rig_arm(unsigned int n)
{
    fail_after = n;
    armed = true;
}

bool rig_disarm(void)
{
    armed = false;
    return !fail_after;
}

/* Linux counts the points at which an allocation of the thread can fail, down to the one that does.
 */
static void begin_counting(void)
{
    char text[16];
    int length = snprintf(text, sizeof(text), "%u", fail_after);

    if (pwrite(fail_file, text, (size_t)length, 0) != length)
        abort();
}

static void end_counting(void)
{
    char text[16] = "";

    if (pread(fail_file, text, sizeof(text) - 1, 0) <= 0 || pwrite(fail_file, "0", 1, 0) != 1)
        abort();
    fail_after = (unsigned int)strtoul(text, NULL, 10);
}

int rig_ioctl(void *opaque, int descriptor, unsigned long request, void *argument)
{
    bool counted = armed && fail_after;
    int ret;

    (void)opaque;
    if (counted)
        begin_counting();
    ret = host_sys_real.ioctl(NULL, descriptor, request, argument);
    if (counted)
        end_counting();
    return ret;
}

void rig_check_kernel_log(void)
{
    static char log[1 << 20];
    int length = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1);
    const char *begin, *line;

    rig_subject("kernel log");
    CHECK(length > 0);
    log[length > 0 ? length : 0] = '\0';
    begin = strstr(log, BEGINNING);
    CHECK(begin);
    begin = begin ? begin : log;
    line = strstr(begin, "WARNING:");
    line = line ? line : strstr(begin, "BUG:");
    CHECK(!line);
    if (line)
        printf("%.2000s\n", line);
}
