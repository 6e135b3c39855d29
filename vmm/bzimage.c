/* SPDX-License-Identifier: MIT */
/* Source: Linux Documentation/arch/x86/boot.rst and zero-page.rst, the 32-bit boot protocol. */
#include "boot.h"
#include <asm/bootparam.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define HEADER_OFFSET      0x1f1u
#define HEADER_MAGIC       0x53726448u /* "HdrS" */
#define HEADER_JUMP_OFFSET 0x201u
#define OLDEST_VERSION     0x020au /* has init_size */
#define LOADER_UNDEFINED   0xffu
#define SECTOR             512ull

bool vmm_bzimage_recognize(const struct vmm_file *kernel)
{
    uint32_t magic;

    if (kernel->size < HEADER_OFFSET + sizeof(struct setup_header))
        return false;
    memcpy(&magic, kernel->data + HEADER_OFFSET + offsetof(struct setup_header, header), 4);
    return magic == HEADER_MAGIC;
}

static int header_check(const struct vmm_file *kernel, const struct setup_header *header,
                        uint64_t *setup_size, struct viommu_error *err)
{
    uint64_t needed;

    if (header->version < OLDEST_VERSION || !(header->loadflags & LOADED_HIGH))
        return vmm_fail(err, ENOEXEC,
                        "the kernel '%s' speaks boot protocol %u.%02u; a bzImage of 2.10 or later "
                        "is needed",
                        kernel->path, header->version >> 8, header->version & 0xff);
    *setup_size = ((header->setup_sects ? header->setup_sects : 4) + 1) * SECTOR;
    needed = *setup_size + (uint64_t)header->syssize * 16;
    /* The last paragraph need not be whole, but there must be something behind the setup part. */
    if (kernel->size <= *setup_size || (kernel->size < needed && needed - kernel->size >= 16))
        return vmm_fail(err, ENOEXEC,
                        "the kernel '%s' is truncated: its header promises %llu bytes, the file "
                        "has %llu",
                        kernel->path, (unsigned long long)needed, (unsigned long long)kernel->size);
    return 0;
}

static void fill_memory_map(const struct vmm *vm, struct boot_params *params)
{
    struct vmm_memory_entry entries[VMM_MEMORY_ENTRIES];
    size_t count = vmm_memory_map(vm, entries);
    size_t i;

    for (i = 0; i < count; i++) {
        params->e820_table[i].addr = entries[i].base;
        params->e820_table[i].size = entries[i].size;
        params->e820_table[i].type = entries[i].type;
    }
    params->e820_entries = (uint8_t)count;
}

/* The header's length is told by the jump over it (boot.rst, "32-bit boot protocol"). */
static void copy_header(const struct vmm_file *kernel, struct boot_params *params)
{
    size_t end = 0x202u + kernel->data[HEADER_JUMP_OFFSET];
    size_t size = end - HEADER_OFFSET;

    if (size > sizeof(params->hdr))
        size = sizeof(params->hdr);
    memcpy(&params->hdr, kernel->data + HEADER_OFFSET, size);
}

static int place_initrd(struct vmm_boot *boot, struct setup_header *header,
                        struct viommu_error *err)
{
    uint64_t floor = VMM_HIGH_LOAD + (uint64_t)header->init_size + header->kernel_alignment;
    uint64_t address, size;
    int ret;

    if (floor > vmm_low_ram_end(boot->vm))
        return vmm_fail(err, ENOSPC,
                        "the kernel '%s' needs %llu MiB of RAM to start and has %llu; give more "
                        "with --memory",
                        boot->kernel.path, (unsigned long long)(floor >> 20),
                        (unsigned long long)(vmm_low_ram_end(boot->vm) >> 20));
    ret = vmm_boot_initrd(boot->vm, floor, (uint64_t)header->initrd_addr_max + 1, &address, &size,
                          err);
    header->ramdisk_image = (uint32_t)address;
    header->ramdisk_size = (uint32_t)size;
    return ret;
}

int vmm_bzimage_load(struct vmm_boot *boot, struct viommu_error *err)
{
    struct vmm_file *kernel = &boot->kernel;
    struct boot_params params = {0};
    struct setup_header *header = &params.hdr;
    uint64_t setup_size = 0;
    int ret;

    copy_header(kernel, &params);
    ret = header_check(kernel, header, &setup_size, err);
    if (!ret)
        ret = place_initrd(boot, header, err);
    if (!ret)
        ret = vmm_boot_copy(boot->vm, VMM_HIGH_LOAD, kernel->data + setup_size,
                            kernel->size - setup_size, "image", err);
    if (!ret)
        ret = vmm_boot_command_line(boot->vm, "", header->cmdline_size, err);
    if (ret)
        return ret;
    header->type_of_loader = LOADER_UNDEFINED;
    header->cmd_line_ptr = VMM_BOOT_COMMAND_LINE;
    header->code32_start = VMM_HIGH_LOAD;
    params.acpi_rsdp_addr = boot->rsdp;
    fill_memory_map(boot->vm, &params);
    boot->state = (struct vmm_boot_state){.entry = VMM_HIGH_LOAD, .esi = VMM_BOOT_INFO};
    return vmm_boot_copy(boot->vm, VMM_BOOT_INFO, &params, sizeof(params), "parameters", err);
}
