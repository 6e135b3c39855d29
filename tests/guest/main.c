/* SPDX-License-Identifier: MIT */
/*
 * As process 1: checks and powers off. On the host: "pattern SEED SIZE" writes a file's content,
 * "checksum" reads one.
 */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *type, *path;
} mounts[] = {
    {"devtmpfs", "/dev"},
    {"proc", "/proc"},
    {"sysfs", "/sys"},
};

static void mount_all(void)
{
    for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
        mkdir(mounts[i].path, 0755);
        mount("none", mounts[i].path, mounts[i].type, 0, NULL);
    }
}

static double uptime(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A boot that is not the last one checks less, and ends here. */
static void go_on_if_due(const struct job *job)
{
    struct step step;

    if (again_due(&step) && all_passed())
        again_go(job, &step);
    subject("%s", "");
}

static void check_without_unit(const struct job *job)
{
    if (job->off)
        check_off();
    check_disk(job, NULL);
    go_on_if_due(job);
}

static void check_with_unit(const struct job *job)
{
    struct unit unit;

    if (unit_open(&unit)) {
        check_mode(job, &unit);
        check_disk(job, &unit);
        go_on_if_due(job);
        check_suspend(job, &unit);
        if (job->sva)
            check_sva(job);
        else
            check_edus(job, &unit);
        check_units(job, &unit);
        check_big_bar();
        check_rom(job);
        check_remapping(job, &unit);
        check_unplug(job, &unit);
        subject("%s", "");
    }
    unit_close(&unit);
}

static void run_checks(void)
{
    struct job job;

    if (!job_read(&job))
        return;
    load_modules();
    if (job.plain)
        check_without_unit(&job);
    else
        check_with_unit(&job);
}

static void power_off(void)
{
    fflush(stdout);
    sync();
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}

static int init_main(void)
{
    const char *check = getenv("check");
    struct utsname name;

    mount_all();
    uname(&name);
    printf("check: note - Linux %s, init after %.1f s\n", name.release, uptime());
    if (check && !strcmp(check, "hello")) {
        printf("check: hello\n");
        power_off();
    }
    run_checks();
    printf("check: note - ends after %.1f s\n", uptime());
    printf("check: %s\n", all_passed() ? "pass" : "FAIL");
    power_off();
    return 1;
}

static int write_pattern(uint64_t seed, uint64_t size)
{
    static char buf[65536];

    for (uint64_t done = 0; done < size; done += sizeof(buf)) {
        size_t n = size - done < sizeof(buf) ? (size_t)(size - done) : sizeof(buf);

        pattern_fill(buf, n, seed, done);
        if (fwrite(buf, 1, n, stdout) != n)
            return 1;
    }
    return fflush(stdout) ? 1 : 0;
}

static int print_checksum(void)
{
    static char buf[65536];
    uint64_t sum = CHECKSUM_INIT;
    size_t n, size = 0;

    while ((n = fread(buf, 1, sizeof(buf), stdin)) > 0) {
        sum = checksum(sum, buf, n);
        size += n;
    }
    printf("%zu bytes, checksum %016llx\n", size, (unsigned long long)sum);
    return ferror(stdin) ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (getpid() == 1)
        return init_main();
    if (argc == 4 && !strcmp(argv[1], "pattern"))
        return write_pattern(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
    if (argc == 2 && !strcmp(argv[1], "checksum"))
        return print_checksum();
    fprintf(
        stderr,
        "usage: guest-check pattern SEED SIZE, or checksum (or run it as process 1 of a guest)\n");
    return 2;
}
