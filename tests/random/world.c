/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "oracle_registers.h"

#define RTADDR 0x20
#define GCMD   0x18
#define GSTS   0x1c
#define TE     (1u << 31)
#define SRTP   (1u << 30)
#define QIE    (1u << 26)
#define IRE    (1u << 25)
#define CFI    (1u << 23)

const char *const world_properties[] = {
    "",
    "pasid-bits=20",
    "second-stage=on,nested=on,pasid-bits=8",
    "second-stage=on,nested=on,pasid-bits=20,supervisor=on",
    "second-stage=on,nested=on,ad=on,supervisor=on,pasid-bits=20,execute=on,extended-accessed=on",
    "second-stage=on,nested=on,ad=on,execute=on,pasid-bits=6,aw=39,fault-records=1",
    "scalable=off",
    "scalable=off,aw=39,1g=off",
    "fault-records=1,pasid-bits=20,1g=off,2m=off,haw=39,supervisor=on",
    "second-stage=on,first-stage=off,snoop-control=off,domain-bits=4",
    "5-level=on,aw=57,haw=52,second-stage=on,nested=on,pasid-bits=8,supervisor=on",
    "5-level=on,pasid-bits=20,sanitize=on",
    "pasid-bits=8,supervisor=on,rid-priv=on,second-stage=on",
    "first-stage=off,second-stage=on,aw=57,haw=52",
    "second-stage=on,nested=on,coherent=off,pt=off,haw=36,domain-bits=8",
    "device-iotlb=on,page-requests=on,second-stage=on,nested=on,pasid-bits=8,supervisor=on",
    ("device-iotlb=on,page-requests=on,second-stage=on,nested=on,pasid-bits=20,supervisor=on,"
     "execute=on,rid-priv=on,ad=on"),
    "device-iotlb=on,scalable=off,pmr=on,intremap=on",
    "device-iotlb=on,pmr=on,intremap=on,eim=on,posted=on,second-stage=on,pasid-bits=8",
    "intremap=on,posted=on,ioapic-any-source=on,fault-records=2",
};
const size_t world_properties_count = sizeof(world_properties) / sizeof(world_properties[0]);

const uint32_t world_pasids[] = {VIOMMU_PASID_NONE, 0, 1, 2, 5, 63, 64, 200, 0x1ffff, 0xfffff};
const size_t world_pasid_count = sizeof(world_pasids) / sizeof(world_pasids[0]);

/* Beside the low memory: one that is read-only, one for large pages, and the interrupt range's
 * neighbours. */
static const struct viommu_memory_range ranges[WORLD_RANGES] = {
    {.gpa = 0, .size = WORLD_LOW},
    {.gpa = WORLD_ROM, .size = 0x4000, .flags = VIOMMU_MEMORY_READONLY},
    {.gpa = WORLD_HIGH, .size = 0x10000},
    {.gpa = 0xfedff000, .size = 0x1000},
    {.gpa = 0xfef00000, .size = 0x1000},
};

bool world_disagree(struct world *world, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(world->failure, sizeof(world->failure), format, arguments);
    va_end(arguments);
    return false;
}

static void must(int failed, const char *what, const struct viommu_error *error)
{
    if (!failed)
        return;
    fprintf(stderr, "cannot make the machine: %s: %s\n", what, error->message);
    exit(2);
}

static void record_log(void *opaque, enum viommu_log_level level, const char *message)
{
    struct world *world = opaque;

    (void)level;
    snprintf(world->log, sizeof(world->log), "%s", message);
}

static void create_memory(struct world *world)
{
    struct viommu_error error = {0};

    must(viommu_memory_create(&world->memory, &error), "memory", &error);
    for (size_t i = 0; i < WORLD_RANGES; i++) {
        struct viommu_memory_range range = ranges[i];

        if (!world->real[i]) {
            world->real[i] =
                mmap(NULL, range.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            world->copy[i].bytes = malloc(range.size);
            if (world->real[i] == MAP_FAILED || !world->copy[i].bytes)
                abort();
        }
        memset(world->real[i], 0, range.size);
        world->copy[i].gpa = range.gpa;
        world->copy[i].size = range.size;
        world->copy[i].readonly = range.flags & VIOMMU_MEMORY_READONLY;
        range.host = world->real[i];
        must(viommu_memory_add(world->memory, &range, &error), "memory", &error);
    }
    world_copy_memory(world);
}

uint8_t *world_usage(struct world *world, uint64_t gpa)
{
    for (size_t i = 0; i < WORLD_RANGES; i++) {
        if (gpa >= ranges[i].gpa && gpa - ranges[i].gpa < ranges[i].size)
            return &world->usage[i][(gpa - ranges[i].gpa) >> 12];
    }
    return NULL;
}

/*
 * The oracle sets an accessed or dirty bit in an entry. When that is part of a structure, too, the
 * guest has changed the structure without knowing it.
 */
static void entry_marked(void *opaque, uint64_t gpa)
{
    struct world *world = opaque;
    const uint8_t *usage = world_usage(world, gpa);

    if (usage && (*usage & WORLD_STRUCTURE))
        world_unsettle(world);
}

static void create_unit(struct world *world, const char *properties)
{
    struct viommu_vtd_options options;
    struct viommu_error error = {0};

    viommu_vtd_options_init(&options);
    options.memory = world->memory;
    options.log = (struct viommu_log){record_log, world, VIOMMU_LOG_WARNING};
    must(viommu_vtd_options_parse(&options, properties, &error), properties, &error);
    must(viommu_vtd_create(&world->unit, &options, &error), properties, &error);
    must(viommu_protect_bus(world->unit, world->bus, &error), "bus", &error);
    world->oracle = (struct oracle){
        .memory = world->copy,
        .memory_count = WORLD_RANGES,
        .cap = viommu_mmio_read(world->unit, 0x08, 8),
        .ecap = viommu_mmio_read(world->unit, 0x10, 8),
        .haw = options.host_address_width,
        .any_source = options.ioapic_any_source,
        .marked = entry_marked,
        .opaque = world,
    };
    world->scalable = world->oracle.ecap >> 43 & 1;
    oracle_reset(&world->oracle);
}

static void create_device_tlb(struct world *world)
{
    struct viommu_error error = {0};

    world->answers_later = false;
    world->told_count = world->tag_count = 0;
    if (world->oracle.ecap >> 2 & 1)
        must(viommu_pci_device_set_ats(world->emulated, &world_ats_ops, world, &error),
             "device TLB", &error);
}

/* The host refuses what no host can keep (execute requests, ad=on): then there is nothing to
 * compare with. */
static void create_host(struct world *world, enum case_host kind)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_error error = {0};

    /* A host walks first-stage tables by its own abilities, not by those of the unit. */
    if (!(world->oracle.cap >> 56 & 1))
        options.profile = "no-1g";
    if (kind == CASE_HOST_NONE)
        options.cache = VIOMMU_SOFT_CACHE_NONE;
    must(viommu_soft_create(&world->host, &options, &error), "host", &error);
    must(viommu_soft_device_add(world->host, WORLD_HOST_DEVICE, 0, &world->hardware, &error),
         WORLD_HOST_DEVICE, &error);
    must(viommu_assign_create(&world->assign, world->host, world->memory, NULL, &error), "assign",
         &error);
    if (viommu_assign_attach(world->assign, world->assigned, WORLD_HOST_DEVICE, &world->assignment,
                             &error))
        world->assignment = NULL;
    world->host_tlb =
        world->assignment && (world->oracle.ecap >> 2 & 1) &&
        !viommu_soft_device_set_ats(world->hardware, &world_host_ats_ops, world, &error);
}

void world_start(struct world *world, const struct test_case *test)
{
    struct viommu_error error = {0};

    create_memory(world);
    must(viommu_dma_space_create_plain(&world->plain, world->memory, &error), "plain", &error);
    must(viommu_pci_create(&world->pci, world->plain, &error), "PCI", &error);
    must(viommu_pci_root_bus_add(world->pci, 0, 0, &world->bus, &error), "bus", &error);
    must(viommu_pci_device_add(world->bus, WORLD_EMULATED, NULL, &world->emulated, &error),
         "function", &error);
    must(viommu_pci_device_add(world->bus, WORLD_ASSIGNED, NULL, &world->assigned, &error),
         "function", &error);
    create_unit(world, test->properties);
    create_device_tlb(world);
    if (test->host != CASE_HOST_ABSENT)
        create_host(world, test->host);
    world->log[0] = world->failure[0] = '\0';
    if (!world->changes)
        world->changes = world_changes_create();
    world_changes_clear(world);
    memset(world->usage, 0, sizeof(world->usage));
    world_queue_start(world);
}

void world_end(struct world *world)
{
    if (!world->unit)
        return;
    viommu_pci_device_unset_ats(world->emulated);
    if (world->host_tlb)
        viommu_soft_device_unset_ats(world->hardware);
    world->host_tlb = false;
    world->translation_count = 0;
    if (world->assignment)
        viommu_assign_detach(world->assignment);
    viommu_assign_destroy(world->assign);
    viommu_soft_device_remove(world->hardware);
    viommu_host_destroy(world->host);
    viommu_pci_destroy(world->pci);
    viommu_destroy(world->unit);
    viommu_dma_space_destroy(world->plain);
    viommu_memory_destroy(world->memory);
    world->unit = NULL;
    world->assignment = NULL;
    world->assign = NULL;
    world->hardware = NULL;
    world->host = NULL;
}

void world_stop(struct world *world)
{
    world_end(world);
    for (size_t i = 0; i < WORLD_RANGES; i++) {
        munmap(world->real[i], ranges[i].size);
        free(world->copy[i].bytes);
    }
    world_changes_destroy(world->changes);
    memset(world, 0, sizeof(*world));
}

void world_restart(struct world *world, const struct test_case *test)
{
    world_end(world);
    world_start(world, test);
}

uint8_t *world_at(const struct world *world, uint64_t gpa)
{
    for (size_t i = 0; i < WORLD_RANGES; i++) {
        if (gpa >= ranges[i].gpa && gpa - ranges[i].gpa < ranges[i].size)
            return world->real[i] + (gpa - ranges[i].gpa);
    }
    return NULL;
}

bool world_may_write(struct world *world, uint64_t gpa)
{
    const uint8_t *usage = world_usage(world, gpa);

    return gpa >= WORLD_TABLES && usage && !*usage;
}

void world_copy_memory(struct world *world)
{
    for (size_t i = 0; i < WORLD_RANGES; i++)
        memcpy(world->copy[i].bytes, world->real[i], ranges[i].size);
}

/* The queue and its status page are the driver's, and not compared. */
bool world_memory_agrees(struct world *world)
{
    for (size_t i = 0; i < WORLD_RANGES; i++) {
        uint64_t begin = i ? 0 : WORLD_TABLES;

        if (!memcmp(world->real[i] + begin, world->copy[i].bytes + begin, ranges[i].size - begin))
            continue;
        while (!memcmp(world->real[i] + begin, world->copy[i].bytes + begin, 8))
            begin += 8;
        return world_disagree(world, "memory at 0x%llx: %016llx, the oracle has %016llx",
                              (unsigned long long)(ranges[i].gpa + begin),
                              *(unsigned long long *)(world->real[i] + begin),
                              *(unsigned long long *)(world->copy[i].bytes + begin));
    }
    return true;
}

/* Anywhere but where the queue is. */
static void run_store(struct world *world, uint64_t gpa, uint64_t value)
{
    uint8_t *real = world_at(world, gpa & ~UINT64_C(7));

    gpa &= ~UINT64_C(7);
    if (!real || gpa < WORLD_TABLES)
        return;
    world_changes_note(world, gpa, value);
    __atomic_store_n((uint64_t *)real, value, __ATOMIC_RELAXED);
    memcpy(oracle_memory(&world->oracle, gpa, 8, NULL), &value, sizeof(value));
}

void world_command(struct world *world, uint32_t clear, uint32_t set)
{
    uint32_t status = viommu_mmio_read(world->unit, GSTS, 4) & (TE | QIE | IRE | CFI);

    viommu_mmio_write(world->unit, GCMD, 4, (status & ~clear) | set);
}

/* What SRTP and TE drop by themselves nobody needs to announce (ESRTPS). */
static bool run_mode(struct world *world, bool on, uint64_t rtaddr)
{
    viommu_mmio_write(world->unit, RTADDR, 8, rtaddr);
    world_command(world, 0, SRTP | QIE);
    world->oracle.rtaddr = viommu_mmio_read(world->unit, RTADDR, 8);
    world->oracle.enabled = on;
    world_command(world, TE, QIE | (on ? TE : 0));
    world->translation_count = 0; /* some may stay, as they are the same by other tables */
    world_changes_clear(world);
    world_copy_memory(world);
    world_look_at_tables(world);
    return true;
}

bool world_check_register(struct world *world, unsigned int offset)
{
    uint64_t has = viommu_mmio_read(world->unit, offset, oracle_register_size(offset));
    uint64_t expected = oracle_read(&world->oracle, offset);

    if (has == expected)
        return true;
    return world_disagree(world, "register 0x%x holds 0x%llx, the oracle says 0x%llx", offset,
                          (unsigned long long)has, (unsigned long long)expected);
}

/* Registers that the oracle knows; of GCMD_REG what commands interrupt remapping. */
static bool run_register(struct world *world, unsigned int offset, uint64_t value)
{
    if (!oracle_register_size(offset))
        return true;
    if (offset == ORACLE_GCMD) {
        value &= ORACLE_INTERRUPT_COMMANDS;
        world_command(world, IRE | CFI, value);
        oracle_write(&world->oracle, offset, value);
        return true;
    }
    viommu_mmio_write(world->unit, offset, oracle_register_size(offset), value);
    oracle_write(&world->oracle, offset, value);
    return world_check_register(world, offset);
}

static bool run_reset(struct world *world)
{
    viommu_reset(world->unit);
    world->tag_count = world->translation_count = 0;
    oracle_reset(&world->oracle);
    world_queue_start(world);
    world_changes_clear(world);
    world_copy_memory(world);
    world_look_at_tables(world);
    return true;
}

bool world_run(struct world *world, const struct op *op)
{
    switch (op->kind) {
    case OP_STORE:
        run_store(world, op->arg[0], op->arg[1]);
        return true;
    case OP_MODE:
        return run_mode(world, op->arg[0], op->arg[1]);
    case OP_SETTLE:
        return world_settle(world, op->arg[0]);
    case OP_INVALIDATE:
        return world_invalidate(world, op->arg[0], op->arg[1]);
    case OP_DMA:
        return world_dma(world, op);
    case OP_REGISTER:
        return run_register(world, op->arg[0], op->arg[1]);
    case OP_RESET:
        return run_reset(world);
    case OP_INTERRUPT:
        return world_interrupt(world, op);
    case OP_PAGE_REQUEST:
        return world_page_request(world, op);
    case OP_ANSWERS:
        world->answers_later = op->arg[0];
        return true;
    case OP_KINDS:
        break;
    }
    return true;
}
