/* SPDX-License-Identifier: MIT */
/* What the loader promises. Source: Multiboot Specification 0.6.96, 3.2 and 3.3. */
#include "bare.h"

#define LOADER_MAGIC 0x2badb002u
#define MIB          (1u << 20)

#define INFO_MEMORY       (1u << 0)
#define INFO_COMMAND_LINE (1u << 2)
#define INFO_MODULES      (1u << 3)
#define INFO_MEMORY_MAP   (1u << 6)
#define INFO_NEEDED       (INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP)

#define MEMORY_RAM 1u

struct boot_info {
    uint32_t flags;
    uint32_t mem_lower; /* KiB */
    uint32_t mem_upper;
    uint32_t boot_device;
    uint32_t command_line;
    uint32_t module_count;
    uint32_t modules;
    uint32_t symbols[4];
    uint32_t map_length;
    uint32_t map;
};

struct module {
    uint32_t start, end, string, reserved;
};

struct map_entry {
    uint32_t size; /* of the rest */
    uint64_t base, length;
    uint32_t type;
} __attribute__((packed));

const char *command_line = "";

extern const char kernel_start[], kernel_end[];

static uint32_t loader_magic;
static const struct boot_info *info;

static bool magic_is_right(void)
{
    return same("EAX", loader_magic, LOADER_MAGIC);
}

static bool information_is_there(void)
{
    return same("flags", info->flags & INFO_NEEDED, INFO_NEEDED);
}

static bool memory_is_told(void)
{
    return holds("some lower memory", info->mem_lower >= 512 && info->mem_lower <= 640) &&
           same("upper memory", info->mem_upper, (option_number("memory") - 1) * 1024);
}

/* The entry of this index, or NULL. */
static const struct map_entry *map_at(uint32_t index)
{
    uint32_t at = info->map;

    while (index-- && at < info->map + info->map_length)
        at += ((const struct map_entry *)at)->size + 4;
    return at < info->map + info->map_length ? (const struct map_entry *)at : NULL;
}

static bool map_is_in_order(void)
{
    const struct map_entry *entry;
    uint64_t end = 0;
    uint32_t i;

    for (i = 0; (entry = map_at(i)); i++) {
        if (!holds("entries ascend", entry->base >= end) ||
            !holds("none is empty", entry->length != 0))
            return false;
        end = entry->base + entry->length;
    }
    return holds("there are entries", i > 1);
}

static uint32_t type_of(uint64_t address)
{
    const struct map_entry *entry;

    for (uint32_t i = 0; (entry = map_at(i)); i++) {
        if (address >= entry->base && address - entry->base < entry->length)
            return entry->type;
    }
    return 0;
}

static bool map_has_the_memory(void)
{
    const struct map_entry *entry;
    uint64_t above = 0;

    for (uint32_t i = 0; (entry = map_at(i)); i++) {
        if (entry->type == MEMORY_RAM && entry->base >= MIB)
            above += entry->length;
    }
    return same("RAM above 1 MiB", above, (uint64_t)(option_number("memory") - 1) * MIB);
}

static bool kernel_is_in_memory(void)
{
    return same("its start", type_of((uint32_t)kernel_start), MEMORY_RAM) &&
           same("its end", type_of((uint32_t)kernel_end - 1), MEMORY_RAM);
}

static bool registers_are_no_memory(void)
{
    return holds("the unit", type_of(VTD) != MEMORY_RAM) &&
           holds("ECAM", type_of(0xb0000000) != MEMORY_RAM);
}

static bool bss_is_cleared(void)
{
    static uint32_t area[PAGE];

    for (uint32_t i = 0; i < PAGE; i++) {
        if (!same("a word", area[i], 0))
            return false;
    }
    return true;
}

/* The script that starts us gives these words, in this order, at the end. */
static bool command_line_is_whole(void)
{
    static const char end[] = " first=1 last=4000000000";
    size_t length = length_of(command_line);

    return holds("it is long enough", length > sizeof(end)) &&
           holds("its end", equal(command_line + length - (sizeof(end) - 1), end, sizeof(end))) &&
           holds("it begins with the kernel's name", command_line[0] != ' ') &&
           same("last=", option_number("last"), 4000000000u);
}

static const struct module *module_at(uint32_t index)
{
    return (const struct module *)info->modules + index;
}

static bool has_modules(void)
{
    return option("modules");
}

static bool has_no_modules(void)
{
    return !option("modules");
}

static bool modules_are_none(void)
{
    return same("their number", info->module_count, 0);
}

static bool modules_have_places(void)
{
    uint32_t end = (uint32_t)kernel_end;

    if (!same("their number", info->module_count, 2))
        return false;
    for (uint32_t i = 0; i < info->module_count; i++) {
        const struct module *module = module_at(i);

        if (!same("the start within its page", module->start % PAGE, 0) ||
            !holds("behind what came before", module->start >= end) ||
            !same("where it is", type_of(module->start), MEMORY_RAM))
            return false;
        end = module->end;
    }
    return true;
}

static bool module_strings_are_whole(void)
{
    static const char end[] = " one two=2";
    const char *text = (const char *)module_at(0)->string;
    size_t length = length_of(text);

    return holds("the arguments", length > sizeof(end) && equal(text + length - (sizeof(end) - 1),
                                                                end, sizeof(end) - 1)) &&
           holds("the other has a name", *(const char *)module_at(1)->string != '\0');
}

static bool small_module_is_right(void)
{
    static const char text[] = "the first module\n";

    return same("its size", module_at(0)->end - module_at(0)->start, sizeof(text) - 1) &&
           holds("its text", equal((const char *)module_at(0)->start, text, sizeof(text) - 1));
}

/* It is larger than a page: 32-bit words that count from 0, little-endian. */
static bool large_module_is_right(void)
{
    const struct module *module = module_at(1);
    const uint32_t *words = (const uint32_t *)module->start;

    if (!same("its size", module->end - module->start, 4 * 3000))
        return false;
    for (uint32_t i = 0; i < 3000; i++) {
        if (!same("a word", words[i], i))
            return false;
    }
    return true;
}

static const struct check checks[] = {
    {"multiboot: the magic number is in EAX", magic_is_right, NULL},
    {"multiboot: all information is there", information_is_there, NULL},
    {"multiboot: .bss is zero", bss_is_cleared, NULL},
    {"multiboot: the command line is whole", command_line_is_whole, NULL},
    {"multiboot: the size of memory is told", memory_is_told, NULL},
    {"multiboot: the memory map is in order", map_is_in_order, NULL},
    {"multiboot: the memory map has all memory", map_has_the_memory, NULL},
    {"multiboot: the kernel is in memory", kernel_is_in_memory, NULL},
    {"multiboot: registers are no memory", registers_are_no_memory, NULL},
    {"multiboot: without --initrd there is no module", modules_are_none, has_no_modules},
    {"multiboot: modules are at pages of their own", modules_have_places, has_modules},
    {"multiboot: modules have their strings", module_strings_are_whole, has_modules},
    {"multiboot: a small module is right", small_module_is_right, has_modules},
    {"multiboot: a module of three pages is right", large_module_is_right, has_modules},
};

void boot_checks(uint32_t magic, uint32_t address)
{
    loader_magic = magic;
    info = (const struct boot_info *)address;
    command_line = (const char *)info->command_line;
    RUN(checks);
}
