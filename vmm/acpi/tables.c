/* SPDX-License-Identifier: MIT */
/* Source: ACPI 6.5, chapter 5; PCI Firmware 3.3, 4.1.2 (MCFG). */
#include "tables.h"
#include "../boot.h"
#include "../irq.h"
#include "../pci_host.h"
#include "../platform.h"
#include "../vmm.h"
#include "dmar.h"
#include "dsdt.hex"
#include "ssdt1.hex"
#include "ssdt2.hex"
#include "ssdt3.hex"
#include <errno.h>
#include <string.h>

/* dsdt.asl has these as literals. */
_Static_assert(VMM_ECAM_BASE == 0xb0000000 && VMM_ECAM_BUSES == 1 &&
                   VMM_SEGMENTS_MAX * VMM_ECAM_SIZE == 0x400000,
               "ECAM differs from dsdt.asl");
_Static_assert(VMM_PCI_WINDOW_BASE == 0xc0000000 && VMM_PCI_WINDOW_END == 0xfebfffff,
               "PCI window differs from dsdt.asl");
_Static_assert(VMM_PCI_IO_BASE == 0xc000, "PCI ports differ from dsdt.asl");
_Static_assert(VMM_GSI_PCI_FIRST == 16 && VMM_GSI_PCI_COUNT == 4,
               "PCI interrupt lines differ from dsdt.asl");
_Static_assert(VMM_GSI_COM1 == 4, "COM1's interrupt line differs from dsdt.asl");
_Static_assert(VMM_PORT_SLEEP_CONTROL == 0x600 && VMM_SLEEP_TYPE_S5 == 5,
               "power-off differs from dsdt.asl");

/* meson.build has these for ssdt.asl.in. */
_Static_assert(VMM_FAR_WINDOW_BASE == 0xb8000000 && VMM_FAR_WINDOW_SIZE == 0x2000000,
               "PCI windows differ from ssdt.asl.in");
_Static_assert(VMM_SEGMENTS_MAX == 4, "ssdt.asl.in is compiled for the segments 1 to 3");

#define OEM_ID       "VIOMMU"
#define OEM_TABLE_ID "VIOMMUVM"

struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct acpi_rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} __attribute__((packed));

struct acpi_address {
    uint8_t space; /* 1: I/O ports */
    uint8_t bit_width;
    uint8_t bit_offset;
    uint8_t access_size; /* 1: byte */
    uint64_t address;
} __attribute__((packed));

struct acpi_fadt {
    struct acpi_header header;
    uint8_t before_boot_flags[73];
    uint16_t boot_flags;
    uint8_t reserved;
    uint32_t flags;
    struct acpi_address reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_flags;
    uint8_t minor_version;
    uint64_t x_facs;
    uint64_t x_dsdt;
    uint8_t pm_registers[96]; /* none of them in a hardware-reduced machine */
    struct acpi_address sleep_control;
    struct acpi_address sleep_status;
    uint64_t hypervisor_vendor;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT of ACPI 6.5");

#define FADT_REVISION         6
#define FADT_RESET_REGISTER   (1u << 10)
#define FADT_HARDWARE_REDUCED (1u << 20)
#define FADT_NO_VGA           (1u << 2)
#define FADT_NO_CMOS_CLOCK    (1u << 5)

struct acpi_madt {
    struct acpi_header header;
    uint32_t local_apic;
    uint32_t flags; /* bit 0: there are 8259s */
} __attribute__((packed));

struct madt_local_apic {
    uint8_t type;
    uint8_t length;
    uint8_t processor;
    uint8_t apic_id;
    uint32_t flags; /* bit 0: enabled */
} __attribute__((packed));

struct madt_ioapic {
    uint8_t type;
    uint8_t length;
    uint8_t id;
    uint8_t reserved;
    uint32_t address;
    uint32_t gsi_base;
} __attribute__((packed));

struct acpi_mcfg {
    struct acpi_header header;
    uint64_t reserved;
    struct mcfg_segment {
        uint64_t base;
        uint16_t segment;
        uint8_t first_bus;
        uint8_t last_bus;
        uint32_t reserved;
    } __attribute__((packed)) segments[VMM_SEGMENTS_MAX];
} __attribute__((packed));

#define XSDT_ENTRIES 12

/* Tables are written one behind the other; `next` is a guest address. */
struct acpi_builder {
    struct vmm *vm;
    uint64_t next;
    uint64_t xsdt_entries[XSDT_ENTRIES];
    size_t count;
    struct viommu_error *err;
};

static uint8_t checksum(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint8_t sum = 0;

    while (size--)
        sum += *bytes++;
    return (uint8_t)-sum;
}

static void *acpi_at(struct acpi_builder *builder)
{
    return vmm_ram_at(builder->vm, builder->next, 1);
}

static size_t acpi_room(const struct acpi_builder *builder)
{
    return VMM_ACPI_BASE + VMM_ACPI_SIZE - builder->next;
}

/* Take `size` bytes that were written at acpi_at(); returns their guest address. */
static uint64_t acpi_take(struct acpi_builder *builder, size_t size)
{
    uint64_t address = builder->next;

    builder->next = (address + size + 15) & ~15ull;
    return address;
}

static struct acpi_header acpi_header(const char *signature, uint8_t revision)
{
    struct acpi_header header = {.revision = revision, .oem_revision = 1, .creator_revision = 1};

    memcpy(header.signature, signature, sizeof(header.signature));
    memcpy(header.oem_id, OEM_ID, sizeof(header.oem_id));
    memcpy(header.oem_table_id, OEM_TABLE_ID, sizeof(header.oem_table_id));
    memcpy(header.creator_id, OEM_ID, sizeof(header.creator_id));
    return header;
}

/* Complete the table of `length` bytes at acpi_at() and list it in the XSDT. */
static void acpi_finish(struct acpi_builder *builder, size_t length)
{
    struct acpi_header *header = acpi_at(builder);

    header->length = (uint32_t)length;
    header->checksum = 0;
    header->checksum = checksum(header, length);
    builder->xsdt_entries[builder->count++] = acpi_take(builder, length);
}

static struct acpi_address port_register(uint16_t port)
{
    return (struct acpi_address){.space = 1, .bit_width = 8, .access_size = 1, .address = port};
}

static void build_fadt(struct acpi_builder *builder, uint64_t dsdt)
{
    struct acpi_fadt fadt = {
        .header = acpi_header("FACP", FADT_REVISION),
        .boot_flags = FADT_NO_VGA | FADT_NO_CMOS_CLOCK,
        .flags = FADT_HARDWARE_REDUCED | FADT_RESET_REGISTER,
        .reset_register = port_register(VMM_PORT_RESET),
        .reset_value = VMM_RESET_VALUE,
        .minor_version = 5,
        .x_dsdt = dsdt,
        .sleep_control = port_register(VMM_PORT_SLEEP_CONTROL),
        .sleep_status = port_register(VMM_PORT_SLEEP_STATUS),
    };

    memcpy(acpi_at(builder), &fadt, sizeof(fadt));
    acpi_finish(builder, sizeof(fadt));
}

static void build_madt(struct acpi_builder *builder)
{
    struct acpi_madt madt = {.header = acpi_header("APIC", 5), .local_apic = VMM_LAPIC_BASE};
    unsigned int cpus = builder->vm->options->cpus;
    uint8_t *start = acpi_at(builder);
    uint8_t *at = start;
    unsigned int i;

    at = mempcpy(at, &madt, sizeof(madt));
    for (i = 0; i < cpus; i++) {
        struct madt_local_apic apic = {0, sizeof(apic), (uint8_t)i, (uint8_t)i, 1};

        at = mempcpy(at, &apic, sizeof(apic));
    }
    at = mempcpy(
        at,
        &(struct madt_ioapic){1, sizeof(struct madt_ioapic), VMM_IOAPIC_ID, 0, VMM_IOAPIC_BASE, 0},
        sizeof(struct madt_ioapic));
    acpi_finish(builder, (size_t)(at - start));
}

static void build_mcfg(struct acpi_builder *builder)
{
    struct acpi_mcfg mcfg = {.header = acpi_header("MCFG", 1)};
    size_t count = 0;

    for (uint16_t i = 0; i < VMM_SEGMENTS_MAX; i++)
        if (vmm_pci_has_segment(builder->vm, i))
            mcfg.segments[count++] = (struct mcfg_segment){
                .base = VMM_ECAM_BASE + i * VMM_ECAM_SIZE,
                .segment = i,
                .last_bus = VMM_ECAM_BUSES - 1,
            };
    memcpy(acpi_at(builder), &mcfg, sizeof(mcfg));
    acpi_finish(builder, offsetof(struct acpi_mcfg, segments) + count * sizeof(mcfg.segments[0]));
}

/* ACPI 6.5, 6.4.3.5.1: a QWord address space descriptor. */
struct acpi_window {
    uint8_t tag;
    uint16_t length;
    uint8_t kind; /* 0: memory */
    uint8_t flags;
    uint8_t memory_flags;
    uint64_t granularity;
    uint64_t first;
    uint64_t last;
    uint64_t translation;
    uint64_t size;
} __attribute__((packed));

static const uint8_t window_start[] = {0x8a, 0x2b, 0x00, 0x00};

/*
 * Copy a definition block whose host bridge has one window above 4 GiB, and write there where it
 * is. Its size is 0, which operating systems pass over, where there is none.
 */
static void put_aml(struct acpi_builder *builder, const unsigned char *code, size_t size,
                    unsigned int segment)
{
    struct vmm_pci_window high = vmm_pci_high_window(builder->vm, segment);
    struct acpi_window *window;
    struct acpi_header *header = acpi_at(builder);

    memcpy(header, code, size);
    window = memmem(header, size, window_start, sizeof(window_start));
    window->first = high.next;
    window->last = high.end - (high.end > high.next);
    window->size = high.end - high.next;
    header->checksum = 0;
    header->checksum = checksum(header, size);
}

/* The segments behind the first, in tables of their own: what has no device is not shown. */
static void build_ssdts(struct acpi_builder *builder)
{
    static const struct {
        const unsigned char *code;
        size_t size;
    } ssdts[VMM_SEGMENTS_MAX] = {
        [1] = {ssdt1_aml_code, sizeof(ssdt1_aml_code)},
        [2] = {ssdt2_aml_code, sizeof(ssdt2_aml_code)},
        [3] = {ssdt3_aml_code, sizeof(ssdt3_aml_code)},
    };

    for (unsigned int i = 1; i < VMM_SEGMENTS_MAX; i++) {
        if (!vmm_pci_has_segment(builder->vm, i))
            continue;
        put_aml(builder, ssdts[i].code, ssdts[i].size, i);
        acpi_finish(builder, ssdts[i].size);
    }
}

static int build_dmar(struct acpi_builder *builder)
{
    size_t length = acpi_room(builder);
    int ret;

    if (!builder->vm->unit_count)
        return 0;
    ret = vmm_acpi_dmar(builder->vm, OEM_ID, OEM_TABLE_ID, acpi_at(builder), &length, builder->err);
    if (!ret)
        acpi_finish(builder, length);
    return ret;
}

static uint64_t build_xsdt(struct acpi_builder *builder)
{
    size_t length = sizeof(struct acpi_header) + builder->count * sizeof(uint64_t);
    struct acpi_header header = acpi_header("XSDT", 1);
    uint8_t *at = acpi_at(builder);
    uint64_t address = builder->next;

    memcpy(at, &header, sizeof(header));
    memcpy(at + sizeof(header), builder->xsdt_entries, builder->count * sizeof(uint64_t));
    acpi_finish(builder, length);
    return address;
}

static void build_rsdp(struct acpi_builder *builder, uint64_t xsdt, uint64_t *address)
{
    struct acpi_rsdp rsdp = {.revision = 2, .length = sizeof(rsdp), .xsdt = xsdt};

    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    memcpy(rsdp.oem_id, OEM_ID, sizeof(rsdp.oem_id));
    rsdp.checksum = checksum(&rsdp, 20);
    rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
    memcpy(acpi_at(builder), &rsdp, sizeof(rsdp));
    *address = acpi_take(builder, sizeof(rsdp));
}

int vmm_acpi_build(struct vmm *vm, uint64_t *rsdp, struct viommu_error *err)
{
    struct acpi_builder builder = {.vm = vm, .next = VMM_ACPI_BASE, .err = err};
    uint64_t dsdt;
    int ret;

    if (!vmm_ram_at(vm, VMM_ACPI_BASE, VMM_ACPI_SIZE))
        return vmm_fail(err, ENOSPC, "there is no RAM for the ACPI tables");
    put_aml(&builder, dsdt_aml_code, sizeof(dsdt_aml_code), 0);
    dsdt = acpi_take(&builder, sizeof(dsdt_aml_code));
    build_fadt(&builder, dsdt);
    build_madt(&builder);
    build_mcfg(&builder);
    build_ssdts(&builder);
    ret = build_dmar(&builder);
    if (ret)
        return ret;
    build_rsdp(&builder, build_xsdt(&builder), rsdp);
    return 0;
}
