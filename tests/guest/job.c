/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <stdlib.h>
#include <string.h>

/*
 * What each kind of guest must show. The driver takes first-stage tables for VFIO's domains only
 * where the unit offers no second stage, so "scalable" and "pt" are for units of that kind, and
 * "second" is for scalable-mode units that have only the second stage.
 */
static const struct job jobs[] = {
    {
        .check = "plain",
        .plain = true,
    },
    {
        .check = "off",
        .plain = true,
        .off = true,
    },
    {
        .check = "scalable",
        .scalable = true,
        .kernel_stage = STAGE_FIRST,
        .user_stage = STAGE_FIRST,
        .kernel_type = "DMA",
    },
    {
        .check = "scalable-lazy",
        .scalable = true,
        .kernel_stage = STAGE_FIRST,
        .user_stage = STAGE_FIRST,
        .kernel_type = "DMA-FQ",
    },
    {
        .check = "sva",
        .sva = true,
        .scalable = true,
        .kernel_stage = STAGE_FIRST,
        .kernel_type = "DMA",
    },
    {
        .check = "both",
        .scalable = true,
        .kernel_stage = STAGE_FIRST,
        .user_stage = STAGE_SECOND,
        .kernel_type = "DMA",
    },
    {
        .check = "second",
        .scalable = true,
        .kernel_stage = STAGE_SECOND,
        .user_stage = STAGE_SECOND,
        .kernel_type = "DMA",
    },
    {
        .check = "legacy",
        .kernel_stage = STAGE_SECOND,
        .user_stage = STAGE_SECOND,
        .kernel_type = "DMA",
    },
    {
        .check = "legacy-lazy",
        .kernel_stage = STAGE_SECOND,
        .user_stage = STAGE_SECOND,
        .kernel_type = "DMA-FQ",
    },
    {
        .check = "pt",
        .scalable = true,
        .kernel_stage = STAGE_PASSTHROUGH,
        .user_stage = STAGE_FIRST,
        .kernel_type = "identity",
    },
    {
        .check = "pt-legacy",
        .kernel_stage = STAGE_PASSTHROUGH,
        .user_stage = STAGE_SECOND,
        .kernel_type = "identity",
    },
};

/* The kernel hands the "key=value" words of its command line that it does not know to init. */
bool job_read(struct job *job)
{
    const char *check = getenv("check");

    for (size_t i = 0; check && i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        if (strcmp(jobs[i].check, check))
            continue;
        *job = jobs[i];
        job->emulated_edu = getenv("edu_emulated");
        job->assigned_edu = getenv("edu_assigned");
        job->disk = getenv("disk");
        job->vcpus = getenv("vcpus");
        job->found = getenv("found");
        job->deferred = job->found && !strcmp(job->found, "copied");
        job->interrupts = getenv("irqs");
        job->rom = getenv("rom");
        job->sva_way = getenv("sva");
        return true;
    }
    return expect(
        false, "knows what to check",
        "check=%s is none of those in tests/guest/job.c, nor hello; put one of them on the kernel's "
        "command line",
        check ? check : "(nothing)");
}
