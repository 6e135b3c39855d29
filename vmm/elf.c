/* SPDX-License-Identifier: MIT */
/*
 * ELF files: their segments, and the PVH entry. Sources: System V ABI, chapter 5;
 * Xen docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
 */
#include "boot.h"
#include <elf.h>
#include <errno.h>
#include <string.h>

#define NOTE_PHYS32_ENTRY 18u
#define START_INFO_MAGIC  0x336ec578u

struct pvh_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;
    uint64_t command_line;
    uint64_t rsdp;
    uint64_t memory_map;
    uint32_t memory_map_count;
    uint32_t reserved;
};

struct pvh_module {
    uint64_t address;
    uint64_t size;
    uint64_t command_line;
    uint64_t reserved;
};

struct pvh_memory_entry {
    uint64_t base;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};

/* A program header of either class. */
struct elf_segment {
    uint32_t type;
    uint64_t offset;
    uint64_t address;
    uint64_t file_size;
    uint64_t memory_size;
    uint64_t align;
};

bool vmm_elf_recognize(const struct vmm_file *kernel)
{
    const uint8_t *ident = kernel->data;

    return kernel->size >= sizeof(Elf64_Ehdr) && !memcmp(ident, ELFMAG, SELFMAG) &&
           ident[EI_DATA] == ELFDATA2LSB &&
           (ident[EI_CLASS] == ELFCLASS32 || ident[EI_CLASS] == ELFCLASS64);
}

static bool elf_is_64(const struct vmm_file *kernel)
{
    return kernel->data[EI_CLASS] == ELFCLASS64;
}

static unsigned int elf_segment_count(const struct vmm_file *kernel)
{
    Elf64_Ehdr wide;
    Elf32_Ehdr narrow;

    memcpy(&wide, kernel->data, sizeof(wide));
    memcpy(&narrow, kernel->data, sizeof(narrow));
    return elf_is_64(kernel) ? wide.e_phnum : narrow.e_phnum;
}

static bool elf_read(const struct vmm_file *kernel, uint64_t offset, void *to, uint64_t size)
{
    if (offset > kernel->size || size > kernel->size - offset)
        return false;
    memcpy(to, kernel->data + offset, size);
    return true;
}

static bool elf_segment_64(const struct vmm_file *kernel, unsigned int index,
                           struct elf_segment *segment)
{
    Elf64_Ehdr header;
    Elf64_Phdr raw;

    memcpy(&header, kernel->data, sizeof(header));
    if (header.e_phentsize != sizeof(raw) || header.e_phoff > kernel->size ||
        !elf_read(kernel, header.e_phoff + index * sizeof(raw), &raw, sizeof(raw)))
        return false;
    *segment = (struct elf_segment){raw.p_type,   raw.p_offset, raw.p_paddr,
                                    raw.p_filesz, raw.p_memsz,  raw.p_align};
    return true;
}

static bool elf_segment_32(const struct vmm_file *kernel, unsigned int index,
                           struct elf_segment *segment)
{
    Elf32_Ehdr header;
    Elf32_Phdr raw;

    memcpy(&header, kernel->data, sizeof(header));
    if (header.e_phentsize != sizeof(raw) ||
        !elf_read(kernel, header.e_phoff + (uint64_t)index * sizeof(raw), &raw, sizeof(raw)))
        return false;
    *segment = (struct elf_segment){raw.p_type,   raw.p_offset, raw.p_paddr,
                                    raw.p_filesz, raw.p_memsz,  raw.p_align};
    return true;
}

/* Get segment `index` and see that the file holds all of it. */
static int elf_segment(const struct vmm_file *kernel, unsigned int index,
                       struct elf_segment *segment, struct viommu_error *err)
{
    bool ok = elf_is_64(kernel) ? elf_segment_64(kernel, index, segment)
                                : elf_segment_32(kernel, index, segment);

    if (ok && segment->offset <= kernel->size &&
        segment->file_size <= kernel->size - segment->offset)
        return 0;
    return vmm_fail(err, ENOEXEC,
                    "the kernel '%s' is truncated or damaged: program header %u lies outside of "
                    "its %llu bytes",
                    kernel->path, index, (unsigned long long)kernel->size);
}

static int elf_load_segment(struct vmm_boot *boot, const struct elf_segment *segment,
                            struct viommu_error *err)
{
    uint8_t *at = vmm_ram_at(boot->vm, segment->address, segment->memory_size);

    if (segment->file_size > segment->memory_size)
        return vmm_fail(err, ENOEXEC, "the kernel '%s' has a segment larger in file than in memory",
                        boot->kernel.path);
    if (!at || segment->address < VMM_HIGH_LOAD)
        return vmm_fail(err, ENOSPC,
                        "the kernel '%s' wants %llu KiB at 0x%llx, which is not in the RAM above 1 "
                        "MiB (%llu MiB in all); give more with --memory",
                        boot->kernel.path, (unsigned long long)(segment->memory_size >> 10),
                        (unsigned long long)segment->address,
                        (unsigned long long)(boot->vm->ram.size >> 20));
    memcpy(at, boot->kernel.data + segment->offset, segment->file_size);
    /* After a reset RAM holds what the guest left there. */
    memset(at + segment->file_size, 0, segment->memory_size - segment->file_size);
    return 0;
}

int vmm_elf_load_segments(struct vmm_boot *boot, uint64_t *end, struct viommu_error *err)
{
    unsigned int count = elf_segment_count(&boot->kernel);
    struct elf_segment segment = {0};
    unsigned int i;
    int ret;

    *end = 0;
    for (i = 0; i < count; i++) {
        ret = elf_segment(&boot->kernel, i, &segment, err);
        if (ret)
            return ret;
        if (segment.type != PT_LOAD || !segment.memory_size)
            continue;
        ret = elf_load_segment(boot, &segment, err);
        if (ret)
            return ret;
        if (segment.address + segment.memory_size > *end)
            *end = segment.address + segment.memory_size;
    }
    if (!*end)
        return vmm_fail(err, ENOEXEC, "the kernel '%s' has no segment to load", boot->kernel.path);
    return 0;
}

static uint64_t align_up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

/* The notes of one PT_NOTE segment; true when the entry was found. */
static bool find_entry_note(const uint8_t *data, uint64_t size, uint64_t align, uint32_t *entry)
{
    uint64_t offset = 0;
    uint64_t name, contents;
    Elf64_Nhdr note;

    align = align == 8 ? 8 : 4;
    while (size - offset >= sizeof(note)) {
        memcpy(&note, data + offset, sizeof(note));
        name = offset + sizeof(note);
        contents = align_up(name + note.n_namesz, align);
        offset = align_up(contents + note.n_descsz, align);
        if (contents + note.n_descsz > size)
            return false;
        if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == 4 &&
            !memcmp(data + name, "Xen", 4) && note.n_descsz >= 4) {
            memcpy(entry, data + contents, sizeof(*entry));
            return true;
        }
        if (offset > size)
            return false;
    }
    return false;
}

static int pvh_find_entry(const struct vmm_file *kernel, uint32_t *entry, struct viommu_error *err)
{
    unsigned int count = elf_segment_count(kernel);
    struct elf_segment segment = {0};
    unsigned int i;
    int ret;

    for (i = 0; i < count; i++) {
        ret = elf_segment(kernel, i, &segment, err);
        if (ret)
            return ret;
        if (segment.type == PT_NOTE &&
            find_entry_note(kernel->data + segment.offset, segment.file_size, segment.align, entry))
            return 0;
    }
    return vmm_fail(err, ENOEXEC,
                    "the kernel '%s' is an ELF file with neither a PVH entry note nor a multiboot "
                    "header; build Linux with CONFIG_PVH, or give its bzImage",
                    kernel->path);
}

static int pvh_memory_map(struct vmm *vm, struct pvh_start_info *info, struct viommu_error *err)
{
    struct vmm_memory_entry entries[VMM_MEMORY_ENTRIES];
    struct pvh_memory_entry map[VMM_MEMORY_ENTRIES] = {0};
    size_t count = vmm_memory_map(vm, entries);
    size_t i;

    for (i = 0; i < count; i++)
        map[i] = (struct pvh_memory_entry){
            .base = entries[i].base, .size = entries[i].size, .type = entries[i].type};
    info->memory_map = VMM_BOOT_MEMORY_MAP;
    info->memory_map_count = (uint32_t)count;
    return vmm_boot_copy(vm, VMM_BOOT_MEMORY_MAP, map, count * sizeof(map[0]), "memory map", err);
}

static int pvh_start_info(struct vmm_boot *boot, uint64_t kernel_end, struct viommu_error *err)
{
    struct pvh_start_info info = {
        .magic = START_INFO_MAGIC,
        .version = 1,
        .modules = VMM_BOOT_MODULES,
        .command_line = VMM_BOOT_COMMAND_LINE,
        .rsdp = boot->rsdp,
    };
    struct pvh_module module = {0};
    int ret;

    ret =
        vmm_boot_initrd(boot->vm, kernel_end, VMM_LOW_RAM_END, &module.address, &module.size, err);
    if (ret)
        return ret;
    info.module_count = module.size ? 1 : 0;
    ret = vmm_boot_copy(boot->vm, VMM_BOOT_MODULES, &module, sizeof(module), "module list", err);
    if (!ret)
        ret = vmm_boot_command_line(boot->vm, "", UINT64_MAX, err);
    if (!ret)
        ret = pvh_memory_map(boot->vm, &info, err);
    if (ret)
        return ret;
    return vmm_boot_copy(boot->vm, VMM_BOOT_INFO, &info, sizeof(info), "start info", err);
}

int vmm_pvh_load(struct vmm_boot *boot, struct viommu_error *err)
{
    uint32_t entry = 0;
    uint64_t end;
    int ret;

    ret = pvh_find_entry(&boot->kernel, &entry, err);
    if (!ret)
        ret = vmm_elf_load_segments(boot, &end, err);
    if (!ret)
        ret = pvh_start_info(boot, end, err);
    boot->state = (struct vmm_boot_state){.entry = entry, .ebx = VMM_BOOT_INFO};
    return ret;
}
