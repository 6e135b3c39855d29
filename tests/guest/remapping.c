/* SPDX-License-Identifier: MIT */
/* How the guest's interrupts came: remapped or not, after the devices were at work. */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often lines of /proc/interrupts that name this chip came, on all vCPUs together. */
static unsigned long count_of(const char *chip)
{
    FILE *file = fopen("/proc/interrupts", "re");
    unsigned long sum = 0;
    char line[512];

    while (file && fgets(line, sizeof(line), file)) {
        char *at = strchr(line, ':'), *end;
        const char *name = strstr(line, chip);

        /* " 24:  3  0  IR-PCI-MSIX-0000:00:01.0  0-edge  virtio0-config": "PCI-MSI" is not it. */
        if (!at || !name || (name > line && name[-1] != ' '))
            continue;
        for (at++;; at = end) {
            unsigned long count = strtoul(at, &end, 10);

            if (end == at || *end != ' ')
                break;
            sum += count;
        }
    }
    if (file)
        fclose(file);
    return sum;
}

static void check_chip(const char *chip, bool used)
{
    unsigned long count = count_of(chip);
    char what[64];

    snprintf(what, sizeof(what), used ? "%s brings interrupts" : "%s brings none", chip);
    expect((count > 0) == used, what, "/proc/interrupts has %lu of it", count);
}

static void check_log(const char *mode)
{
    const char *parts[] = {"Enabled IRQ remapping in", mode, NULL};
    struct klog log;
    char line[256], what[64];

    snprintf(what, sizeof(what), "the kernel remaps interrupts in %s mode", mode);
    expect(klog_open_at_start(&log) && klog_wait(&log, parts, line, sizeof(line), 0), what,
           "its log does not say so");
    klog_close(&log);
}

void check_remapping(const struct job *job, const struct unit *unit)
{
    bool remapped;

    if (!job->interrupts)
        return;
    subject("%s", "");
    remapped = strcmp(job->interrupts, "plain") != 0;
    if (remapped)
        check_log(job->interrupts);
    expect(unit->remapping == remapped,
           remapped ? "the unit remaps interrupts" : "the unit does not remap interrupts",
           "GSTS.IRES is %d", unit->remapping);
    check_chip("IR-IO-APIC", remapped);
    check_chip("IR-PCI-MSI", remapped);
    check_chip("IO-APIC", !remapped);
    check_chip("PCI-MSI", !remapped);
}
