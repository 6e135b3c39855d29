/* SPDX-License-Identifier: MIT */
#include "boot.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_SIZE_4K 4096ull

static int file_map(struct vmm_file *file, int fd, const char *what, struct viommu_error *err)
{
    struct stat status;
    void *data;

    if (fstat(fd, &status))
        return vmm_fail(err, errno, "cannot look at the %s '%s': %s", what, file->path,
                        strerror(errno));
    if (!S_ISREG(status.st_mode))
        return vmm_fail(err, EINVAL, "the %s '%s' is not a regular file", what, file->path);
    if (!status.st_size)
        return vmm_fail(err, EINVAL, "the %s '%s' is empty", what, file->path);
    /* A private copy, not a mapping: a file that shrinks meanwhile must not kill us. */
    file->size = (uint64_t)status.st_size;
    data = malloc(file->size);
    if (!data)
        return vmm_fail(err, ENOMEM, "out of memory for the %s '%s'", what, file->path);
    file->data = data;
    return 0;
}

static int file_fill(struct vmm_file *file, int fd, const char *what, struct viommu_error *err)
{
    uint64_t done = 0;
    ssize_t got;

    while (done < file->size) {
        got = read(fd, file->data + done, file->size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return vmm_fail(err, errno, "cannot read the %s '%s': %s", what, file->path,
                            strerror(errno));
        if (!got)
            return vmm_fail(err, EIO, "the %s '%s' became shorter while it was read", what,
                            file->path);
        done += (uint64_t)got;
    }
    return 0;
}

int vmm_file_read(struct vmm_file *file, const char *what, const char *path,
                  struct viommu_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int ret;

    *file = (struct vmm_file){.path = path};
    if (fd < 0)
        return vmm_fail(err, errno, "cannot open the %s '%s': %s", what, path, strerror(errno));
    ret = file_map(file, fd, what, err);
    if (!ret)
        ret = file_fill(file, fd, what, err);
    close(fd);
    if (ret)
        vmm_file_free(file);
    return ret;
}

void vmm_file_free(struct vmm_file *file)
{
    free(file->data);
    file->data = NULL;
}

size_t vmm_memory_map(const struct vmm *vm, struct vmm_memory_entry entries[VMM_MEMORY_ENTRIES])
{
    const struct vmm_memory_entry map[] = {
        {0, VMM_BIOS_RAM_END, VMM_MEMORY_RAM},
        {VMM_BIOS_RAM_END, 0xa0000 - VMM_BIOS_RAM_END, VMM_MEMORY_RESERVED},
        {VMM_ACPI_BASE, VMM_ACPI_SIZE + VMM_ROM_SIZE, VMM_MEMORY_RESERVED},
        {VMM_HIGH_LOAD, vmm_low_ram_end(vm) - VMM_HIGH_LOAD, VMM_MEMORY_RAM},
        {vmm_low_ram_end(vm), vm->ram.low_size - vmm_low_ram_end(vm), VMM_MEMORY_RESERVED},
        {VMM_ECAM_BASE, VMM_SEGMENTS_MAX * VMM_ECAM_SIZE, VMM_MEMORY_RESERVED},
        {VMM_VIOMMU_BASE, VMM_UNITS_MAX * VMM_VIOMMU_STRIDE, VMM_MEMORY_RESERVED},
        {VMM_HIGH_RAM_BASE, vm->ram.size - vm->ram.low_size, VMM_MEMORY_RAM},
    };
    size_t count = 0;
    size_t i;

    for (i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        if (map[i].size)
            entries[count++] = map[i];
    }
    return count;
}

int vmm_boot_copy(struct vmm *vm, uint64_t address, const void *data, uint64_t size,
                  const char *what, struct viommu_error *err)
{
    void *at = vmm_ram_at(vm, address, size);

    if (!at)
        return vmm_fail(err, ENOSPC,
                        "the kernel's %s (%llu KiB at 0x%llx) does not fit into %llu MiB of RAM; "
                        "give more with --memory",
                        what, (unsigned long long)(size >> 10), (unsigned long long)address,
                        (unsigned long long)(vm->ram.size >> 20));
    memcpy(at, data, size);
    return 0;
}

int vmm_boot_initrd(struct vmm *vm, uint64_t floor, uint64_t limit, uint64_t *address,
                    uint64_t *size, struct viommu_error *err)
{
    struct vmm_file file;
    int ret;

    *address = 0;
    *size = 0;
    if (!vm->options->initrd)
        return 0;
    ret = vmm_file_read(&file, "initrd", vm->options->initrd, err);
    if (ret)
        return ret;
    if (limit > vmm_low_ram_end(vm))
        limit = vmm_low_ram_end(vm);
    if (file.size > limit || ((limit - file.size) & ~(PAGE_SIZE_4K - 1)) < floor) {
        ret = vmm_fail(err, ENOSPC,
                       "the initrd '%s' (%llu KiB) does not fit behind the kernel in %llu MiB of "
                       "RAM; give more with --memory",
                       file.path, (unsigned long long)(file.size >> 10),
                       (unsigned long long)(vm->ram.size >> 20));
    } else {
        *size = file.size;
        *address = (limit - file.size) & ~(PAGE_SIZE_4K - 1);
        ret = vmm_boot_copy(vm, *address, file.data, file.size, "initrd", err);
    }
    vmm_file_free(&file);
    return ret;
}

int vmm_boot_command_line(struct vmm *vm, const char *prefix, uint64_t limit,
                          struct viommu_error *err)
{
    char *at = vmm_ram_at(vm, VMM_BOOT_COMMAND_LINE, VMM_BOOT_COMMAND_LINE_SIZE);
    uint64_t length = strlen(prefix) + strlen(vm->options->append);

    if (limit > VMM_BOOT_COMMAND_LINE_SIZE - 1)
        limit = VMM_BOOT_COMMAND_LINE_SIZE - 1;
    if (length > limit)
        return vmm_fail(err, E2BIG,
                        "the command line has %llu characters, but this kernel takes %llu at most",
                        (unsigned long long)length, (unsigned long long)limit);
    stpcpy(stpcpy(at, prefix), vm->options->append);
    return 0;
}

/* In this order: a multiboot kernel is an ELF file too. */
static const struct {
    bool (*recognize)(const struct vmm_file *kernel);
    int (*load)(struct vmm_boot *boot, struct viommu_error *err);
} loaders[] = {
    {vmm_bzimage_recognize, vmm_bzimage_load},
    {vmm_multiboot_recognize, vmm_multiboot_load},
    {vmm_elf_recognize, vmm_pvh_load},
};

static int boot_dispatch(struct vmm_boot *boot, struct viommu_error *err)
{
    size_t i;

    for (i = 0; i < sizeof(loaders) / sizeof(loaders[0]); i++) {
        if (loaders[i].recognize(&boot->kernel))
            return loaders[i].load(boot, err);
    }
    return vmm_fail(err, ENOEXEC,
                    "the kernel '%s' is none of what can be booted: a Linux bzImage, an ELF file "
                    "with a PVH entry, or a multiboot-1 ELF32 file",
                    boot->kernel.path);
}

int vmm_boot_load(struct vmm *vm, uint64_t rsdp, struct viommu_error *err)
{
    struct vmm_boot boot = {.vm = vm, .rsdp = rsdp};
    int ret;

    vmm_rom_put(vm);
    ret = vmm_file_read(&boot.kernel, "kernel", vm->options->kernel, err);
    if (ret)
        return ret;
    ret = boot_dispatch(&boot, err);
    vmm_file_free(&boot.kernel);
    return ret ? ret : vmm_vcpu_set_boot_state(vm, &boot.state, err);
}
