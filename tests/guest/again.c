/* SPDX-License-Identifier: MIT */
/*
 * Guests that boot more than once. "then=STEP/STEP/..." on the command line says what comes after a
 * boot; a step is HOW:CHECK:INTEL_IOMMU[:FOUND]:
 *
 *   reboot  reboot(2); what the VMM loads again has the first command line
 *   reset   the same without a shutdown: the unit translates and devices work when it comes
 *   kexec   another kernel, with this check= and intel_iommu=, after a shutdown
 *   crash   the same after a panic: the kernel of kdump finds the unit translating
 *
 * FOUND is what that kernel must say of the unit that it found; see check_mode(). Every boot but
 * the last checks mode and disk alone, and leaves while the disk is written and, unless another
 * kernel inherits them, the edus are at DMA. How many boots there were is kept on the disk, behind
 * what the host looks at.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DISK             "/dev/vda"
#define BOOT_DISK        "/dev/vdb" /* vmlinuz and initrd, of scripts/build-guest */
#define BOOT             "/boot"
#define NOTE_START       (60ull << 20)
#define NOTE_MAGIC       0xb007b007b007b007ull
#define SECTOR           512
#define COMMAND_LINE_MAX 4096 /* twice COMMAND_LINE_SIZE of x86, so that what is added fits */

struct note {
    uint64_t magic, boots;
    uint8_t rest[SECTOR - 16];
};

static struct note *open_note(int *fd)
{
    void *note;

    *fd = open(DISK, O_RDWR | O_DIRECT | O_SYNC | O_CLOEXEC);
    if (*fd < 0 || posix_memalign(&note, SECTOR, sizeof(struct note)))
        return NULL;
    if (pread(*fd, note, sizeof(struct note), NOTE_START) != sizeof(struct note)) {
        free(note);
        return NULL;
    }
    return note;
}

/* How many boots there were before this one; counts this one, too, when told so. -1: no disk. */
static int boots_before(bool count)
{
    int fd, boots = -1;
    struct note *note = open_note(&fd);

    if (note) {
        boots = note->magic == NOTE_MAGIC ? (int)note->boots : 0;
        note->magic = NOTE_MAGIC;
        note->boots = (uint64_t)boots + 1;
        if (count && pwrite(fd, note, sizeof(*note), NOTE_START) != sizeof(*note))
            boots = -1;
        free(note);
    }
    if (fd >= 0)
        close(fd);
    return boots;
}

static void take_word(char *to, size_t size, const char **from)
{
    size_t length = strcspn(*from, ":/");

    snprintf(to, size, "%.*s", (int)length, *from);
    *from += length;
    *from += **from == ':';
}

bool again_due(struct step *step)
{
    const char *at = getenv("then");
    int before;

    if (!at)
        return false;
    before = boots_before(false);
    if (before < 0) {
        expect(false, "knows how often it has booted", "the disk cannot be read");
        return false;
    }
    for (; before && *at; before--)
        at += strcspn(at, "/") + (at[strcspn(at, "/")] == '/');
    if (!*at)
        return false;
    take_word(step->how, sizeof(step->how), &at);
    take_word(step->check, sizeof(step->check), &at);
    take_word(step->iommu, sizeof(step->iommu), &at);
    take_word(step->found, sizeof(step->found), &at);
    return true;
}

static bool begins(const char *word, const char *key)
{
    return !strncmp(word, key, strlen(key));
}

/* Words that the next kernel gets anew, and words that only a kernel after a crash does. */
static bool is_replaced(const char *word, bool crash)
{
    static const char *const always[] = {
        "check=", "intel_iommu=", "found=", "vcpus=", "elfcorehdr="};
    static const char *const by_crash[] = {"crashkernel=", "nr_cpus="};

    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        if (begins(word, always[i]))
            return true;
    for (size_t i = 0; crash && i < sizeof(by_crash) / sizeof(by_crash[0]); i++)
        if (begins(word, by_crash[i]))
            return true;
    return false;
}

/* The command line of this kernel, with what the step changes. */
static bool next_command_line(const struct step *step, char line[COMMAND_LINE_MAX])
{
    bool crash = !strcmp(step->how, "crash");
    char now[COMMAND_LINE_MAX], *rest = now, *word;
    const char *vcpus = getenv("vcpus");
    int length = 0;

    if (read_text(now, sizeof(now), "/proc/cmdline"))
        return false;
    while ((word = strsep(&rest, " ")) != NULL)
        if (!is_replaced(word, crash))
            length += snprintf(line + length, (size_t)(COMMAND_LINE_MAX - length), "%s ", word);
    length += snprintf(line + length, (size_t)(COMMAND_LINE_MAX - length),
                       "check=%s intel_iommu=%s vcpus=%s%s", step->check, step->iommu,
                       crash || !vcpus ? "1" : vcpus, crash ? " nr_cpus=1" : "");
    if (length < COMMAND_LINE_MAX && *step->found)
        length +=
            snprintf(line + length, (size_t)(COMMAND_LINE_MAX - length), " found=%s", step->found);
    return length < COMMAND_LINE_MAX;
}

static int load_kernel(const char *line, unsigned long flags)
{
    int kernel, initrd, err = 0;

    mkdir(BOOT, 0755);
    if (!wait_for_path(BOOT_DISK, 10000) || mount(BOOT_DISK, BOOT, "ext4", MS_RDONLY, NULL))
        return -errno;
    kernel = open(BOOT "/vmlinuz", O_RDONLY | O_CLOEXEC);
    initrd = open(BOOT "/initrd", O_RDONLY | O_CLOEXEC);
    if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, flags))
        err = -errno;
    close(initrd);
    close(kernel);
    umount(BOOT);
    return err;
}

/* For reset and crash the unit must still translate, for the others the kernel switches it off. */
static void leave(const char *how)
{
    if (!strcmp(how, "kexec"))
        reboot((int)RB_KEXEC);
    else if (!strcmp(how, "reboot"))
        reboot(RB_AUTOBOOT);
    else
        write_text(!strcmp(how, "crash") ? "c" : "b", "/proc/sysrq-trigger");
}

/* The kernel that comes by kexec or after a crash; the VMM's own is there already. */
static bool load_next(const struct step *step)
{
    bool crash = !strcmp(step->how, "crash");
    char line[COMMAND_LINE_MAX] = "";
    int err;

    if (!expect(next_command_line(step, line), "makes the next command line", "it cannot"))
        return false;
    err = load_kernel(line, crash ? KEXEC_FILE_ON_CRASH : 0);
    return expect(!err, "loads the next kernel", "%s", strerror(-err));
}

/* Comes back only when it failed. */
void again_go(const struct job *job, const struct step *step)
{
    subject("%s", step->how);
    if (!strcmp(step->how, "crash") || !strcmp(step->how, "kexec")) {
        if (!load_next(step))
            return;
    } else {
        edu_traffic_start(job);
    }
    if (!expect(boots_before(true) >= 0, "counts its boots", "the disk cannot be written"))
        return;
    note("leaves while the disk is written");
    disk_traffic_start();
    sleep_ms(200);
    leave(step->how);
    sleep_ms(20000);
    expect(false, "leaves", "it is still here after 20 s");
}
