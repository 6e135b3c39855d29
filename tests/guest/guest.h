/* SPDX-License-Identifier: MIT */
/*
 * guest-check: runs as /init of an unmodified Linux guest and looks at the IOMMU from inside.
 *
 * Every finding is one line on the console, "check: ok - WHAT" or "check: FAIL - WHAT: WHY"; the
 * last line is "check: pass" or "check: FAIL". scripts/guest-check reads these lines on the host.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/* report.c: what was found */
void subject(const char *fmt, ...) PRINTF(1, 2); /* begins the WHAT of the lines that follow */
void ok(const char *fmt, ...) PRINTF(1, 2);
void note(const char *fmt, ...) PRINTF(1, 2);
/* Reports WHAT as ok when good, else as failed with the reason; returns good. */
bool expect(bool good, const char *what, const char *why, ...) PRINTF(3, 4);
/* The same for what is only a means: silent when good. */
bool need(bool good, const char *what, const char *why);
bool all_passed(void);

/* sysfs.c: one-line files; negative errno when they cannot be read or written */
int read_text(char *buf, size_t size, const char *path_fmt, ...) PRINTF(3, 4);
int read_hex(uint64_t *value, const char *path_fmt, ...) PRINTF(2, 3);
int write_text(const char *text, const char *path_fmt, ...) PRINTF(2, 3);
bool wait_for_path(const char *path, int timeout_ms);
/* Last component of what the symbolic link points to. */
int read_link_name(char *buf, size_t size, const char *path_fmt, ...) PRINTF(3, 4);
/* The first function of this vendor and device ID; false when there is none. */
bool find_pci_function(char *addr, size_t size, uint64_t vendor, uint64_t device);
void sleep_ms(int ms);
int64_t now_ms(void);

/* klog.c: the guest kernel's log, from a moment on */
struct klog {
    int fd;
};
bool klog_open_at_end(struct klog *log);
bool klog_open_at_start(struct klog *log);
/* Waits for a record that contains all parts (NULL-terminated); copies it to line. */
bool klog_wait(struct klog *log, const char *const parts[], char *line, size_t size,
               int timeout_ms);
void klog_close(struct klog *log);

/* pattern.c: pseudo-random content that depends on a seed and an offset alone */
void pattern_fill(void *buf, size_t size, uint64_t seed, uint64_t offset);
bool pattern_matches(const void *buf, size_t size, uint64_t seed, uint64_t offset);
uint64_t checksum(uint64_t sum, const void *buf, size_t size); /* start with CHECKSUM_INIT */
#define CHECKSUM_INIT 0xcbf29ce484222325ull

/* tables.c: the tables that the guest's driver wrote, as the remapping unit sees them */
enum stage {
    STAGE_NONE,
    STAGE_FIRST,
    STAGE_SECOND,
    STAGE_NESTED,
    STAGE_PASSTHROUGH,
};
struct unit {
    int mem, kcore;
    uint64_t base, cap, ecap, rtaddr;
    bool translating, scalable, remapping;
};
const char *stage_name(enum stage stage);
bool unit_open(struct unit *unit);
/* The same of a unit that the kernel does not use: by ACPI's table. */
bool unit_open_unused(struct unit *unit);
void unit_close(struct unit *unit);
/* How requests without PASID of this function ("0000:00:05.0") are translated; < 0 on error. */
int unit_stage(struct unit *unit, const char *addr);

/* job.c: what the kernel command line asks for */
struct job {
    const char *check;
    bool plain; /* there is no remapping unit; only the disk is checked */
    bool off;   /* there is one, which the kernel must have switched off; else the same */
    bool sva;   /* the edus have copy engines for SVA, which are checked instead of DMA by VFIO */
    bool scalable;
    enum stage kernel_stage;  /* of functions that kernel drivers use */
    enum stage user_stage;    /* of functions that VFIO uses */
    const char *kernel_type;  /* group type of the former: DMA is strict, DMA-FQ lazy */
    const char *emulated_edu; /* PCI addresses; NULL when absent */
    const char *assigned_edu;
    const char *disk;  /* "none": no disk to check */
    const char *vcpus; /* how many there are; NULL: not checked */
    const char *found; /* what the kernel made of a unit that it found translating; NULL: nothing */
    bool deferred;     /* functions may have the entries of the kernel before */
    const char *interrupts; /* "x2apic", "xapic": remapped; "plain": not; NULL: not checked */
    const char *rom;        /* the function with an expansion ROM; NULL: not checked */
    const char *sva_way;    /* by which function SVA must bind; NULL: not checked */
};
bool job_read(struct job *job);

/* again.c: guests that boot more than once */
struct step {
    char how[8], check[16], iommu[24], found[12];
};
bool again_due(struct step *step); /* this is not the last boot; wants the disk */
void again_go(const struct job *job, const struct step *step);

/* The parts of the check. */
void load_modules(void);
int load_module(const char *name, const char *params); /* from /modules; 0 or a negative errno */
void check_mode(const struct job *job, struct unit *unit);
void check_off(void);
/* Says nothing where there is no unit (NULL). */
void check_group(const struct job *job, struct unit *unit, const char *addr);
void check_disk(const struct job *job, struct unit *unit);
/* Processes that write without end, where check_disk() writes later; returns how many. */
int disk_traffic_start(void);
bool disk_function(char *addr, size_t size); /* the PCI function that carries the disk */
void check_edus(const struct job *job, struct unit *unit);
/* Both edus copy by way of VFIO, without end; seen to arrive at the start and before the end. */
void edu_traffic_start(const struct job *job);
void edu_traffic_stop(void);
/* This edu has been unplugged: its process comes to an end, the other's goes on. */
void edu_traffic_lost(const char *addr);
/* Prints its size and checksum, for who knows what it is. */
void check_rom(const struct job *job);
void check_unplug(const struct job *job, struct unit *unit);
void check_suspend(const struct job *job, struct unit *unit);
/* Machines with more than one unit: behind= says which function is behind which. */
void check_units(const struct job *job, struct unit *unit);
/* After the others: devices were at work. */
void check_remapping(const struct job *job, const struct unit *unit);
void check_sva(const struct job *job);
void check_big_bar(void);

#endif
