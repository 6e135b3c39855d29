/* SPDX-License-Identifier: MIT */
/*
 * A host as `viommu host` finds it, writes it down and reads it again: its IOMMUs, its devices, and
 * what it lacks for a guest to nest.
 */
#ifndef CLI_HOST_H
#define CLI_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viommu/error.h>
#include <viommu/host.h>

struct tree;

/* Which IOMMU it is; more than the library distinguishes. */
enum host_kind {
    HOST_VTD,
    HOST_AMD,
    HOST_SMMUV3,
    HOST_SMMU,
    HOST_VIRTIO,
    HOST_OTHER,
    HOST_KIND_COUNT
};

struct host_kind_names {
    const char *key;   /* in JSON */
    const char *words; /* for people */
    enum viommu_host_iommu type;
    const char *registers[2]; /* in JSON; NULL: sysfs has none */
};

extern const struct host_kind_names host_kinds[HOST_KIND_COUNT];

struct host_iommu {
    enum host_kind kind;
    char version[16];                /* of its specification: "6.0"; "": not told */
    uint64_t address;                /* of its registers; 0: not told */
    unsigned int domains, used;      /* domain-IDs, and those in use; 0: not told */
    bool has_registers;              /* info holds them; else only type and name */
    unsigned int devices;            /* behind it, bridges not counted */
    struct viommu_host_hw_info info; /* name: "dmar0" */
};

struct host_region {
    uint64_t start, last;
    char kind[24]; /* "msi", "direct", "direct-relaxable", "reserved" */
};

struct host_group {
    unsigned int number;
    char type[16]; /* of its default domain: "DMA", "DMA-FQ", "identity" */
    struct host_region *regions;
    size_t region_count;
};

/* What the kernel told of a device that was bound for a moment. */
struct host_probe {
    bool asked, told;
    bool nest_parent; /* it makes nesting parents for it */
    struct viommu_host_hw_info info;
    char refusal[320]; /* why nothing was told */
};

struct host_device {
    char name[16]; /* "0000:3a:00.0" */
    unsigned int vendor, device, class_code;
    char driver[32], iommu[32], reset[48]; /* "": none */
    char node[32];                         /* of VFIO: "vfio0"; "": none */
    bool has_group;
    unsigned int group;
    bool node_there, node_usable; /* /dev/vfio/devices/NODE; may be opened by this user */
    bool group_usable;            /* so may /dev/vfio/GROUP */
    unsigned long user;           /* process that has it open, as far as can be seen; 0: none */
    struct host_probe probe;
};

/* Something that stands in the way. */
enum host_lack_kind {
    LACK_HARDWARE,
    LACK_KERNEL,
    LACK_OPTION,
    LACK_PERMISSION,
    LACK_DEVICE, /* how a device stands at the moment */
    LACK_KIND_COUNT
};

extern const char *const host_lack_names[LACK_KIND_COUNT];

struct host_lack {
    enum host_lack_kind kind;
    bool nesting; /* in the way of nesting alone; else of assigning a device at all */
    bool unsure;  /* it may be that it is not in the way */
    char text[320];
    char remedy[192];
};

enum host_answer {
    ANSWER_UNKNOWN,
    ANSWER_NO,
    ANSWER_YES
};

struct host {
    char name[65], release[65], machine[65]; /* as uname -n, -r and -m */
    char options[256];                       /* of the kernel's command line, about IOMMUs */
    bool firmware_vtd, firmware_amd;         /* ACPI tables DMAR and IVRS are there */
    enum host_answer scalable;               /* the kernel uses scalable mode */
    bool iommufd, iommufd_usable;            /* /dev/iommu; may be opened by this user */
    bool type1, type1_usable;                /* /dev/vfio/vfio, by which devices are mirrored */
    bool unsafe_iommufd, unsafe_type1;       /* allow_unsafe_interrupts of these modules is on */
    bool memlock_unlimited;
    uint64_t memlock; /* bytes that this user may lock */
    char probed[256]; /* what came of asking the kernel; "": it was not asked */
    struct host_iommu *iommus;
    size_t iommu_count;
    struct host_group *groups;
    size_t group_count;
    struct host_device *devices;
    size_t device_count;
    struct host_lack *lacks;
    size_t lack_count;
};

/* host_model.c. A new, zeroed member; NULL: no memory. */
struct host_iommu *host_add_iommu(struct host *host);
struct host_group *host_add_group(struct host *host);
struct host_region *host_add_region(struct host_group *group);
struct host_device *host_add_device(struct host *host);
struct host_lack *host_add_lack(struct host *host);
void host_free(struct host *host); /* what is in it */

/* NULL: there is none. */
struct host_iommu *host_find_iommu(const struct host *host, const char *name);
struct host_device *host_find_device(const struct host *host, const char *name);
const struct host_group *host_find_group(const struct host *host, unsigned int number);

/* Whether they are of one kind, with the same registers. */
bool host_same_abilities(const struct host_iommu *one, const struct host_iommu *other);

/* Whether VFIO has it, by vfio-pci or a driver like it. */
bool host_is_vfio(const struct host_device *device);

/* Bridges are not assigned, and do not count among what an IOMMU has to serve. */
bool host_is_bridge(const struct host_device *device);

/* host.c: fill a zeroed host from this machine, root "", or a copy. -ENOENT, -ENOMEM. */
int host_read(struct host *host, const char *root, struct viommu_error *err);

/* Its parts, host_sysfs.c and host_kernel.c. -ENOMEM. */
int host_read_hardware(struct host *host, struct tree *tree);
void host_read_kernel(struct host *host, struct tree *tree);
int host_read_users(struct host *host, struct tree *tree);

/* host_probe.c. Ask the kernel of these devices, or of all, as far as VFIO has them free. */
void host_probe(struct host *host, const char *const *devices, size_t count);

/* host_lacks.c. What stands in the way of nesting for these devices, or for any; -ENOMEM. */
int host_judge(struct host *host, const char *const *devices, size_t count);
/* For all devices, or for assigning one at all. */
enum host_answer host_can(const struct host *host, bool nest);
/* Why this IOMMU cannot nest whatever the kernel does; "": it can. */
void host_iommu_lacks(const struct host_iommu *iommu, char *text, size_t size);
bool host_iommu_can_nest(const struct host_iommu *iommu);

/* host_print.c, for people; of these devices alone, or of all when there are none. */
void host_print(const struct host *host, const char *const *devices, size_t count);

#endif
