/* SPDX-License-Identifier: MIT */
/*
 * Loading a kernel: Linux bzImage (32-bit boot protocol), ELF with a PVH entry, multiboot-1 ELF32.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include "kvm.h"

/* Below 1 MiB: what the loader hands to the kernel, ACPI's tables, and the ROM. */
#define VMM_BOOT_INFO              0x10000u
#define VMM_BOOT_MODULES           0x11000u
#define VMM_BOOT_MEMORY_MAP        0x12000u
#define VMM_BOOT_COMMAND_LINE      0x20000u
#define VMM_BOOT_COMMAND_LINE_SIZE 0x10000u
#define VMM_BIOS_RAM_END           0x9fc00u
#define VMM_ACPI_BASE              0xe0000u
#define VMM_ACPI_SIZE              0x1f000u
#define VMM_ROM_BASE               0xff000u /* up to 1 MiB; the vCPUs see it below 4 GiB, too */
#define VMM_ROM_SIZE               0x1000u
#define VMM_HIGH_LOAD              0x100000u

/* A file in this process's memory, read-only. */
struct vmm_file {
    const char *path;
    uint8_t *data;
    uint64_t size;
};

/* `what` ("kernel", "initrd") is for messages. An empty file is an error. */
int vmm_file_read(struct vmm_file *file, const char *what, const char *path,
                  struct viommu_error *err);
void vmm_file_free(struct vmm_file *file);

enum vmm_memory_type {
    VMM_MEMORY_RAM = 1, /* the numbers of e820, which PVH and multiboot share */
    VMM_MEMORY_RESERVED = 2,
};

struct vmm_memory_entry {
    uint64_t base;
    uint64_t size;
    enum vmm_memory_type type;
};
#define VMM_MEMORY_ENTRIES 9

/* The guest's memory map, in ascending order; returns the number of entries. */
size_t vmm_memory_map(const struct vmm *vm, struct vmm_memory_entry entries[VMM_MEMORY_ENTRIES]);

/* What a loader gets. `rsdp` is the guest address of ACPI's root pointer. */
struct vmm_boot {
    struct vmm *vm;
    struct vmm_file kernel;
    uint64_t rsdp;
    struct vmm_boot_state state; /* the answer */
};

/* Load options->kernel and so on, and set the boot processor's registers. */
int vmm_boot_load(struct vmm *vm, uint64_t rsdp, struct viommu_error *err);

/* Put into RAM what there is of a ROM: the code at the reset vector resets the machine. */
void vmm_rom_put(struct vmm *vm);

/* The loaders. `recognize` looks at the first bytes of the file only. */
bool vmm_bzimage_recognize(const struct vmm_file *kernel);
int vmm_bzimage_load(struct vmm_boot *boot, struct viommu_error *err);
bool vmm_multiboot_recognize(const struct vmm_file *kernel);
int vmm_multiboot_load(struct vmm_boot *boot, struct viommu_error *err);
bool vmm_elf_recognize(const struct vmm_file *kernel);
int vmm_pvh_load(struct vmm_boot *boot, struct viommu_error *err);

/* Copy into RAM, or say that `what` of the kernel does not fit into --memory. */
int vmm_boot_copy(struct vmm *vm, uint64_t address, const void *data, uint64_t size,
                  const char *what, struct viommu_error *err);

/*
 * Put the initrd as high as possible below `limit` (exclusive), not below `floor`. Without an
 * initrd *size becomes 0.
 */
int vmm_boot_initrd(struct vmm *vm, uint64_t floor, uint64_t limit, uint64_t *address,
                    uint64_t *size, struct viommu_error *err);

/* Put `prefix` and --append to VMM_BOOT_COMMAND_LINE; at most `limit` bytes without the zero. */
int vmm_boot_command_line(struct vmm *vm, const char *prefix, uint64_t limit,
                          struct viommu_error *err);

/* Copy the loadable segments of an ELF32 or ELF64 file; *end is the first address behind them. */
int vmm_elf_load_segments(struct vmm_boot *boot, uint64_t *end, struct viommu_error *err);

#endif
