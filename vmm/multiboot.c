/* SPDX-License-Identifier: MIT */
/* Source: Multiboot Specification 0.6.96. Modules: --initrd "FILE [ARGS],FILE [ARGS]". */
#include "boot.h"
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAGIC  0x1badb002u
#define HEADER_SEARCH 8192u
#define LOADER_MAGIC  0x2badb002u

#define HEADER_ALIGN_MODULES (1u << 0)
#define HEADER_MEMORY_INFO   (1u << 1)
#define HEADER_REQUIRED      0xffffu

#define INFO_MEMORY       (1u << 0)
#define INFO_COMMAND_LINE (1u << 2)
#define INFO_MODULES      (1u << 3)
#define INFO_MEMORY_MAP   (1u << 6)
#define INFO_LOADER_NAME  (1u << 9)

#define MODULES_MAX        16u
#define MODULE_STRING_SIZE 512u
#define MODULE_STRINGS     (VMM_BOOT_MODULES + 0x400u)
#define LOADER_NAME        (VMM_BOOT_INFO + 0x100u)

struct multiboot_header {
    uint32_t magic;
    uint32_t flags;
    uint32_t checksum;
};

struct multiboot_info {
    uint32_t flags;
    uint32_t mem_lower; /* KiB */
    uint32_t mem_upper;
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count;
    uint32_t mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length;
    uint32_t mmap_addr;
    uint32_t drives_length;
    uint32_t drives_addr;
    uint32_t config_table;
    uint32_t boot_loader_name;
    uint32_t apm_table;
    uint32_t rest[11];
};

struct multiboot_module {
    uint32_t start;
    uint32_t end;
    uint32_t string;
    uint32_t reserved;
};

struct multiboot_memory_entry {
    uint32_t size; /* of the rest */
    uint64_t base;
    uint64_t length;
    uint32_t type;
} __attribute__((packed));

static bool find_header(const struct vmm_file *kernel, struct multiboot_header *header)
{
    uint64_t limit = kernel->size < HEADER_SEARCH ? kernel->size : HEADER_SEARCH;
    uint64_t offset;

    for (offset = 0; offset + sizeof(*header) <= limit; offset += 4) {
        memcpy(header, kernel->data + offset, sizeof(*header));
        if (header->magic == HEADER_MAGIC && header->magic + header->flags + header->checksum == 0)
            return true;
    }
    return false;
}

bool vmm_multiboot_recognize(const struct vmm_file *kernel)
{
    struct multiboot_header header;

    return find_header(kernel, &header);
}

static int check_header(const struct vmm_file *kernel, struct viommu_error *err)
{
    struct multiboot_header header;

    if (!find_header(kernel, &header))
        return vmm_fail(err, ENOEXEC, "the kernel '%s' has no multiboot header", kernel->path);
    if (header.flags & HEADER_REQUIRED & ~(HEADER_ALIGN_MODULES | HEADER_MEMORY_INFO))
        return vmm_fail(err, ENOTSUP,
                        "the multiboot kernel '%s' requires features 0x%x; this VMM has page-"
                        "aligned modules (1) and memory information (2)",
                        kernel->path, header.flags & HEADER_REQUIRED);
    if (!vmm_elf_recognize(kernel) || kernel->data[EI_CLASS] != ELFCLASS32)
        return vmm_fail(err, ENOEXEC, "the multiboot kernel '%s' is not a 32-bit ELF file",
                        kernel->path);
    return 0;
}

static int load_module(struct vmm *vm, char *text, uint32_t index, uint64_t *next,
                       struct viommu_error *err)
{
    uint32_t string = MODULE_STRINGS + index * MODULE_STRING_SIZE;
    struct multiboot_module module = {.string = string};
    char full[MODULE_STRING_SIZE];
    struct vmm_file file;
    int ret;

    if ((size_t)snprintf(full, sizeof(full), "%s", text) >= sizeof(full))
        return vmm_fail(err, E2BIG, "the string of module %u is longer than %u characters", index,
                        MODULE_STRING_SIZE - 1);
    text[strcspn(text, " ")] = '\0';
    ret = vmm_file_read(&file, "module", text, err);
    if (ret)
        return ret;
    ret = vmm_boot_copy(vm, *next, file.data, file.size, "module", err);
    module.start = (uint32_t)*next;
    module.end = (uint32_t)(*next + file.size);
    *next = (*next + file.size + 4095) & ~4095ull;
    vmm_file_free(&file);
    if (!ret)
        ret = vmm_boot_copy(vm, string, full, strlen(full) + 1, "module string", err);
    if (!ret)
        ret = vmm_boot_copy(vm, VMM_BOOT_MODULES + index * sizeof(module), &module, sizeof(module),
                            "module list", err);
    return ret;
}

static int load_modules(struct vmm *vm, uint64_t next, uint32_t *count, struct viommu_error *err)
{
    char *list, *rest, *text;
    int ret = 0;

    *count = 0;
    if (!vm->options->initrd)
        return 0;
    list = rest = strdup(vm->options->initrd);
    if (!list)
        return vmm_fail(err, ENOMEM, "out of memory for the list of modules");
    while (!ret && (text = strsep(&rest, ","))) {
        if (*count == MODULES_MAX)
            ret = vmm_fail(err, E2BIG, "more than %u modules in --initrd", MODULES_MAX);
        else
            ret = load_module(vm, text, (*count)++, &next, err);
    }
    free(list);
    return ret;
}

static int write_memory_map(struct vmm *vm, struct multiboot_info *info, struct viommu_error *err)
{
    struct vmm_memory_entry entries[VMM_MEMORY_ENTRIES];
    struct multiboot_memory_entry map[VMM_MEMORY_ENTRIES];
    size_t count = vmm_memory_map(vm, entries);
    size_t i;

    for (i = 0; i < count; i++)
        map[i] = (struct multiboot_memory_entry){sizeof(map[i]) - sizeof(map[i].size),
                                                 entries[i].base, entries[i].size, entries[i].type};
    info->mmap_addr = VMM_BOOT_MEMORY_MAP;
    info->mmap_length = (uint32_t)(count * sizeof(map[0]));
    return vmm_boot_copy(vm, VMM_BOOT_MEMORY_MAP, map, info->mmap_length, "memory map", err);
}

static int write_info(struct vmm_boot *boot, uint32_t modules, struct viommu_error *err)
{
    static const char loader[] = "viommu run";
    struct vmm *vm = boot->vm;
    struct multiboot_info info = {
        .flags =
            INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME,
        .mem_lower = VMM_BIOS_RAM_END / 1024,
        .mem_upper = (uint32_t)((vmm_low_ram_end(vm) - VMM_HIGH_LOAD) / 1024),
        .cmdline = VMM_BOOT_COMMAND_LINE,
        .mods_count = modules,
        .mods_addr = VMM_BOOT_MODULES,
        .boot_loader_name = LOADER_NAME,
    };
    int ret;

    ret = write_memory_map(vm, &info, err);
    if (!ret)
        ret = vmm_boot_copy(vm, LOADER_NAME, loader, sizeof(loader), "loader name", err);
    if (!ret)
        ret = vmm_boot_copy(vm, VMM_BOOT_INFO, &info, sizeof(info), "boot information", err);
    return ret;
}

/* By convention the command line begins with the kernel's own name. */
static int write_command_line(struct vmm_boot *boot, struct viommu_error *err)
{
    char *prefix;
    int ret;

    if (asprintf(&prefix, "%s ", boot->kernel.path) < 0)
        return vmm_fail(err, ENOMEM, "out of memory for the command line");
    ret = vmm_boot_command_line(boot->vm, prefix, UINT64_MAX, err);
    free(prefix);
    return ret;
}

int vmm_multiboot_load(struct vmm_boot *boot, struct viommu_error *err)
{
    uint32_t modules;
    Elf32_Ehdr header;
    uint64_t end;
    int ret;

    ret = check_header(&boot->kernel, err);
    if (ret)
        return ret;
    memcpy(&header, boot->kernel.data, sizeof(header));
    ret = vmm_elf_load_segments(boot, &end, err);
    if (!ret)
        ret = load_modules(boot->vm, (end + 4095) & ~4095ull, &modules, err);
    if (!ret)
        ret = write_command_line(boot, err);
    if (!ret)
        ret = write_info(boot, modules, err);
    boot->state =
        (struct vmm_boot_state){.entry = header.e_entry, .eax = LOADER_MAGIC, .ebx = VMM_BOOT_INFO};
    return ret;
}
