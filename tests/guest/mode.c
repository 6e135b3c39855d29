/* SPDX-License-Identifier: MIT */
/* Which mode the guest's driver chose, and how it has grouped the functions. */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_vcpus(const struct job *job)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    char what[48];

    if (!job->vcpus)
        return;
    snprintf(what, sizeof(what), "vCPUs at work: %s", job->vcpus);
    expect(online == strtol(job->vcpus, NULL, 10), what, "the kernel uses %ld", online);
}

/* What a kernel says that was started with a unit that translates (intel_iommu, init_dmars()). */
static void check_found(const struct job *job)
{
    static const struct {
        const char *found, *says;
    } all[] = {
        {"copied", "Copied translation tables from previous kernel"},
        {"refused", "Failed to copy translation tables from previous kernel"},
    };
    const char *says = "(nothing that is known)";
    struct klog log;
    char line[256];

    if (!job->found)
        return;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!strcmp(all[i].found, job->found))
            says = all[i].says;
    expect(klog_open_at_start(&log) &&
               klog_wait(&log, (const char *const[]){says, NULL}, line, sizeof(line), 0),
           "the driver found translation on", "its log does not say \"%s\"", says);
    klog_close(&log);
}

void check_off(void)
{
    struct unit unit;

    if (unit_open_unused(&unit))
        expect(!unit.translating, "the driver turned translation off", "GSTS.TES is 1");
    unit_close(&unit);
}

void check_mode(const struct job *job, struct unit *unit)
{
    static const char *const parts[] = {"DMAR:", "reg_base_addr", NULL};
    struct klog log;
    char line[256];

    if (klog_open_at_start(&log) && klog_wait(&log, parts, line, sizeof(line), 0))
        note("%s", line);
    klog_close(&log);
    check_vcpus(job);
    check_found(job);
    expect(unit->translating, "the driver turned translation on", "GSTS.TES is 0");
    expect(unit->scalable == job->scalable,
           job->scalable ? "the driver chose scalable mode" : "the driver chose legacy mode",
           "RTADDR is 0x%llx, ECAP 0x%llx", (unsigned long long)unit->rtaddr,
           (unsigned long long)unit->ecap);
}

/* How the function is translated while a kernel driver, or nobody, has it. */
void check_group(const struct job *job, struct unit *unit, const char *addr)
{
    char group[32], type[32], what[96];
    int stage, err;

    if (!unit)
        return;
    err = read_link_name(group, sizeof(group), "/sys/bus/pci/devices/%s/iommu_group", addr);
    if (err) {
        expect(false, "has an IOMMU group", "%s", strerror(-err));
        return;
    }
    if (read_text(type, sizeof(type), "/sys/kernel/iommu_groups/%s/type", group))
        snprintf(type, sizeof(type), "unknown");
    snprintf(what, sizeof(what), "IOMMU group %s has type %s", group, type);
    expect(!strcmp(type, job->kernel_type), what, "it should be %s", job->kernel_type);
    stage = unit_stage(unit, addr);
    snprintf(what, sizeof(what), "the kernel's domain is %s", stage_name(job->kernel_stage));
    if (stage < 0 && job->deferred)
        note("is still translated by tables of the kernel before");
    else if (stage < 0)
        expect(false, what, "the tables cannot be read: %s", strerror(-stage));
    else
        expect(stage == (int)job->kernel_stage, what, "it is %s", stage_name(stage));
}
