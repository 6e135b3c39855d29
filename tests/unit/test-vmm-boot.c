/* SPDX-License-Identifier: MIT */
/* Loading kernels: good ones land where they must, damaged ones are refused without harm. */
#include "boot.h"
#include "machine.h"
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_SIZE   8192u
#define LOAD        0x200000u
#define CODE_OFFSET 4096u
#define CODE_SIZE   512u
#define NOTE_OFFSET 512u
#define ENTRY       0x200040u

struct fixture {
    struct machine *machine;
    struct vmm_boot boot;
    struct viommu_error error;
    uint8_t data[FILE_SIZE];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->machine = machine_create(NULL, NULL);
    fixture->boot.vm = &fixture->machine->vm;
    fixture->boot.rsdp = 0xe0000;
    fixture->boot.kernel =
        (struct vmm_file){.path = "test", .data = fixture->data, .size = FILE_SIZE};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    machine_destroy(fixture->machine);
    free(fixture);
    return 0;
}

static const void *ram(struct fixture *fixture, uint64_t address)
{
    return machine_ram(fixture->machine, address);
}

/* ---- bzImage ---- */

static void make_bzimage(struct fixture *fixture)
{
    struct setup_header header = {
        .setup_sects = 1,
        .syssize = (FILE_SIZE - 1024) / 16,
        .jump = 0x66eb,
        .header = 0x53726448,
        .version = 0x20f,
        .loadflags = LOADED_HIGH,
        .initrd_addr_max = 0x7fffffff,
        .kernel_alignment = 0x100000,
        .cmdline_size = 2047,
        .init_size = 0x100000,
    };

    memset(fixture->data, 0x5a, FILE_SIZE);
    memcpy(fixture->data + 0x1f1, &header, sizeof(header));
}

static void a_bzimage_is_loaded(void **state)
{
    struct fixture *fixture = *state;
    const struct boot_params *params = ram(fixture, VMM_BOOT_INFO);

    make_bzimage(fixture);
    fixture->machine->options.append = "a=b";
    assert_true(vmm_bzimage_recognize(&fixture->boot.kernel));
    assert_int_equal(vmm_bzimage_load(&fixture->boot, &fixture->error), 0);
    assert_int_equal(fixture->boot.state.entry, 0x100000);
    assert_int_equal(fixture->boot.state.esi, VMM_BOOT_INFO);
    assert_memory_equal(ram(fixture, 0x100000), fixture->data + 1024, FILE_SIZE - 1024);
    assert_int_equal(params->acpi_rsdp_addr, 0xe0000);
    assert_int_equal(params->hdr.header, 0x53726448);
    assert_int_equal(params->hdr.type_of_loader, 0xff);
    assert_string_equal(ram(fixture, params->hdr.cmd_line_ptr), "a=b");
    assert_true(params->e820_entries >= 4);
    assert_int_equal(params->e820_table[3].addr, 0x100000);
    assert_int_equal(params->e820_table[3].size, MACHINE_RAM - 0x100000);
}

static void a_bad_bzimage_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct setup_header *header = (struct setup_header *)(fixture->data + 0x1f1);
    static char long_line[4096];

    make_bzimage(fixture);
    fixture->boot.kernel.size = FILE_SIZE - 100;
    assert_int_equal(vmm_bzimage_load(&fixture->boot, &fixture->error), -ENOEXEC);
    assert_non_null(strstr(fixture->error.message, "truncated"));
    header->syssize = 0; /* promises no more than the setup part, of which 10 bytes are missing */
    fixture->boot.kernel.size = 1024 - 10;
    assert_int_equal(vmm_bzimage_load(&fixture->boot, &fixture->error), -ENOEXEC);
    assert_non_null(strstr(fixture->error.message, "truncated"));
    make_bzimage(fixture);
    fixture->boot.kernel.size = FILE_SIZE;
    header->version = 0x204;
    assert_int_equal(vmm_bzimage_load(&fixture->boot, &fixture->error), -ENOEXEC);
    make_bzimage(fixture);
    header->init_size = MACHINE_RAM;
    assert_int_equal(vmm_bzimage_load(&fixture->boot, &fixture->error), -ENOSPC);
    make_bzimage(fixture);
    memset(long_line, 'x', sizeof(long_line) - 1);
    fixture->machine->options.append = long_line;
    assert_int_equal(vmm_bzimage_load(&fixture->boot, &fixture->error), -E2BIG);
}

/* ---- ELF with the PVH entry, and multiboot ---- */

static void make_note(uint8_t *at)
{
    const struct {
        Elf64_Nhdr header;
        char name[4];
        uint32_t entry;
    } note = {{4, 4, 18}, "Xen", ENTRY};

    memcpy(at, &note, sizeof(note));
}

static void make_pvh(struct fixture *fixture)
{
    Elf64_Ehdr header = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_phoff = sizeof(header),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    const Elf64_Phdr segments[2] = {
        {PT_LOAD, 0, CODE_OFFSET, 0, LOAD, CODE_SIZE, 2 * CODE_SIZE, 0},
        {PT_NOTE, 0, NOTE_OFFSET, 0, 0, 20, 20, 4},
    };

    memset(fixture->data, 0x5a, FILE_SIZE);
    memcpy(fixture->data, &header, sizeof(header));
    memcpy(fixture->data + sizeof(header), segments, sizeof(segments));
    make_note(fixture->data + NOTE_OFFSET);
}

static void a_pvh_kernel_is_loaded(void **state)
{
    struct fixture *fixture = *state;
    const uint32_t *info = ram(fixture, VMM_BOOT_INFO);

    make_pvh(fixture);
    assert_true(vmm_elf_recognize(&fixture->boot.kernel));
    assert_false(vmm_multiboot_recognize(&fixture->boot.kernel));
    assert_int_equal(vmm_pvh_load(&fixture->boot, &fixture->error), 0);
    assert_int_equal(fixture->boot.state.entry, ENTRY);
    assert_int_equal(fixture->boot.state.ebx, VMM_BOOT_INFO);
    assert_memory_equal(ram(fixture, LOAD), fixture->data + CODE_OFFSET, CODE_SIZE);
    assert_int_equal(info[0], 0x336ec578);
    assert_int_equal(info[3], 0);
}

static void make_multiboot(struct fixture *fixture)
{
    const uint32_t magic[3] = {0x1badb002, 3, -(0x1badb002u + 3)};
    Elf32_Ehdr header = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
        .e_entry = ENTRY,
        .e_phoff = sizeof(header),
        .e_phentsize = sizeof(Elf32_Phdr),
        .e_phnum = 1,
    };
    const Elf32_Phdr segment = {PT_LOAD, CODE_OFFSET, 0, LOAD, CODE_SIZE, CODE_SIZE, 0, 0};

    memset(fixture->data, 0x5a, FILE_SIZE);
    memcpy(fixture->data, &header, sizeof(header));
    memcpy(fixture->data + sizeof(header), &segment, sizeof(segment));
    memcpy(fixture->data + CODE_OFFSET, magic, sizeof(magic));
}

static void a_multiboot_kernel_is_loaded(void **state)
{
    struct fixture *fixture = *state;
    const uint32_t *info = ram(fixture, VMM_BOOT_INFO);

    make_multiboot(fixture);
    fixture->machine->options.append = "one two";
    assert_true(vmm_multiboot_recognize(&fixture->boot.kernel));
    assert_int_equal(vmm_multiboot_load(&fixture->boot, &fixture->error), 0);
    assert_int_equal(fixture->boot.state.entry, ENTRY);
    assert_int_equal(fixture->boot.state.eax, 0x2badb002);
    assert_string_equal(ram(fixture, info[4]), "test one two");
    assert_int_equal(info[2], (MACHINE_RAM - 0x100000) / 1024);
    ((uint32_t *)(fixture->data + CODE_OFFSET))[1] = 4;
    ((uint32_t *)(fixture->data + CODE_OFFSET))[2] = -(0x1badb002u + 4);
    assert_int_equal(vmm_multiboot_load(&fixture->boot, &fixture->error), -ENOTSUP);
}

/* Each byte of the headers in turn becomes something else: refused or loaded, but no harm. */
static void damaged_headers_do_no_harm(void **state)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    struct fixture *fixture = *state;

    for (unsigned int at = 4; at < 2 * FILE_SIZE / 8; at++) {
        for (unsigned int i = 0; i < sizeof(values); i++) {
            make_pvh(fixture);
            fixture->data[at % 1024] = values[i];
            if (vmm_elf_recognize(&fixture->boot.kernel))
                vmm_pvh_load(&fixture->boot, &fixture->error);
            make_multiboot(fixture);
            fixture->data[at % 1024] = values[i];
            if (vmm_multiboot_recognize(&fixture->boot.kernel))
                vmm_multiboot_load(&fixture->boot, &fixture->error);
            make_bzimage(fixture);
            fixture->data[at % 1024] = values[i];
            if (vmm_bzimage_recognize(&fixture->boot.kernel))
                vmm_bzimage_load(&fixture->boot, &fixture->error);
        }
    }
}

/* A copy of exactly the length, so that a sanitizer sees a read behind its end. */
static void every_truncation_is_harmless(void **state)
{
    struct fixture *fixture = *state;
    struct vmm_file *kernel = &fixture->boot.kernel;
    uint8_t whole[FILE_SIZE];

    make_pvh(fixture);
    memcpy(whole, fixture->data, FILE_SIZE);
    for (uint64_t size = 1; size < CODE_OFFSET + CODE_SIZE; size += size < 1024 ? 1 : 61) {
        kernel->data = malloc(size);
        assert_non_null(kernel->data);
        memcpy(kernel->data, whole, size);
        kernel->size = size;
        assert_false(vmm_bzimage_recognize(kernel));
        assert_false(vmm_multiboot_recognize(kernel));
        if (vmm_elf_recognize(kernel))
            assert_int_equal(vmm_pvh_load(&fixture->boot, &fixture->error), -ENOEXEC);
        free(kernel->data);
    }
}

/* What is at the reset vector writes the reset value to the reset port, and is no guest's RAM. */
static void the_reset_vector_resets(void **state)
{
    static const uint8_t code[] = {0xb0, 1, 0xba, 0x02, 0x06, 0xee};
    struct vmm_memory_entry entries[VMM_MEMORY_ENTRIES];
    struct fixture *fixture = *state;
    size_t count = vmm_memory_map(&fixture->machine->vm, entries), i;

    vmm_rom_put(&fixture->machine->vm);
    assert_memory_equal(ram(fixture, 0xffff0), code, sizeof(code));
    for (i = 0; i < count && entries[i].base + entries[i].size <= 0xffff0; i++)
        ;
    assert_true(i < count && entries[i].base <= 0xffff0);
    assert_int_equal(entries[i].base + entries[i].size, 0x100000);
    assert_int_equal(entries[i].type, VMM_MEMORY_RESERVED);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(a_bzimage_is_loaded),        WITH_FIXTURE(a_bad_bzimage_is_refused),
        WITH_FIXTURE(a_pvh_kernel_is_loaded),     WITH_FIXTURE(a_multiboot_kernel_is_loaded),
        WITH_FIXTURE(damaged_headers_do_no_harm), WITH_FIXTURE(every_truncation_is_harmless),
        WITH_FIXTURE(the_reset_vector_resets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
