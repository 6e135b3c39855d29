/* SPDX-License-Identifier: MIT */
#include "library.h"
#include "device.h"
#include "ioapic.h"
#include "irq.h"
#include "key_values.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viommu.h>

static void print_log(void *opaque, enum viommu_log_level level, const char *message)
{
    const char *name = level <= VIOMMU_LOG_ERROR     ? "error"
                       : level <= VIOMMU_LOG_WARNING ? "warning"
                                                     : "note";

    (void)opaque;
    fprintf(stderr, "viommu: %s: %s\n", name, message);
}

#define HOST_IOMMUS_MAX 64u

static const struct viommu_log log_to_stderr = {.fn = print_log, .level = VIOMMU_LOG_WARNING};

static int create_memory(struct vmm *vm, struct viommu_error *err)
{
    const struct vmm_ram *ram = &vm->ram;
    const struct viommu_memory_range low = {.size = ram->low_size, .host = ram->host};
    const struct viommu_memory_range high = {
        .gpa = VMM_HIGH_RAM_BASE,
        .size = ram->size - ram->low_size,
        .host = ram->host + ram->low_size,
    };
    int ret;

    ret = viommu_memory_create(&vm->memory, err);
    if (!ret)
        ret = viommu_memory_add(vm->memory, &low, err);
    if (!ret && high.size)
        ret = viommu_memory_add(vm->memory, &high, err);
    return ret;
}

static int create_topology(struct vmm *vm, struct viommu_error *err)
{
    int ret;

    ret = viommu_dma_space_create_plain(&vm->plain, vm->memory, err);
    if (!ret)
        ret = viommu_pci_create(&vm->viommu_pci, vm->plain, err);
    for (uint16_t i = 0; i < VMM_SEGMENTS_MAX && !ret; i++)
        ret = viommu_pci_root_bus_add(vm->viommu_pci, i, 0, &vm->viommu_buses[i], err);
    return ret;
}

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
    vmm_irq_msi(opaque, address, data);
}

static void remapping_changed(void *opaque, uint32_t first, uint32_t count)
{
    (void)first;
    (void)count;
    vmm_ioapic_update(opaque);
}

static int parse_properties(const struct vmm *vm, const char *properties,
                            struct viommu_vtd_options *options, struct viommu_error *err)
{
    int ret = viommu_vtd_options_parse(options, properties, err);

    if (!ret && options->extended_interrupts && !vm->x2apic)
        return vmm_fail(err, ENOTSUP,
                        "--viommu vtd: eim=on needs KVM_CAP_X2APIC_API, which this KVM lacks; "
                        "write eim=off");
    return ret;
}

static int create_unit(struct vmm *vm, const char *properties, struct viommu_error *err)
{
    struct vmm_unit *unit = &vm->units[vm->unit_count];
    struct viommu_vtd_options options;
    int ret;

    viommu_vtd_options_init(&options);
    ret = parse_properties(vm, properties, &options, err);
    if (ret)
        return ret;
    options.memory = vm->memory;
    options.log = log_to_stderr;
    options.msi = send_msi;
    options.msi_opaque = vm;
    options.mmio_base = unit->base;
    options.segment = unit->segment;
    ret = viommu_vtd_create(&unit->viommu, &options, err);
    if (ret)
        return ret;
    viommu_interrupt_set_listener(unit->viommu, remapping_changed, vm);
    return vmm_unit_add(vm, err);
}

static int create_vtd(struct vmm *vm, const char *text, struct viommu_error *err)
{
    char *properties;
    int ret = vmm_unit_parse(vm, text, &properties, err);

    if (!ret)
        ret = create_unit(vm, properties, err);
    free(properties);
    return ret;
}

static int parse_cache(const char *text, enum viommu_soft_cache *cache, struct viommu_error *err)
{
    if (!text || !strcmp(text, "hoard"))
        *cache = VIOMMU_SOFT_CACHE_HOARD;
    else if (!strcmp(text, "none"))
        *cache = VIOMMU_SOFT_CACHE_NONE;
    else
        return vmm_fail(err, EINVAL, "--host soft: cache=%s is neither hoard nor none", text);
    return 0;
}

static int create_soft(struct vmm *vm, const char *text, struct viommu_error *err)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct vmm_key keys[] = {{"profile", NULL}, {"cache", NULL}, {"iommus", NULL}, {NULL, NULL}};
    uint64_t iommus = 1;
    int ret;

    ret = vmm_keys_parse("--host soft", text, keys, err);
    if (!ret)
        ret = parse_cache(keys[1].value, &options.cache, err);
    if (!ret)
        ret = vmm_key_number("--host soft", &keys[2], 1, HOST_IOMMUS_MAX, &iommus, err);
    vm->host_iommus = (unsigned int)iommus;
    if (!ret) {
        options.profile = keys[0].value;
        options.log = log_to_stderr;
        ret = viommu_soft_create(&vm->host, &options, err);
    }
    if (!ret)
        ret = viommu_assign_create(&vm->assign, vm->host, vm->memory, &log_to_stderr, err);
    vmm_keys_free(keys);
    return ret;
}

struct kind {
    const char *name;
    int (*create)(struct vmm *vm, const char *text, struct viommu_error *err);
};

static const struct kind models[] = {{"vtd", create_vtd}, {NULL, NULL}};
static const struct kind hosts[] = {{"soft", create_soft}, {NULL, NULL}};

/* `text` is "kind" or "kind,key=value,..."; NULL asks for nothing. */
static int create_kind(struct vmm *vm, const char *option, const struct kind *kinds,
                       const char *text, struct viommu_error *err)
{
    const struct kind *kind;
    size_t length;

    if (!text)
        return 0;
    length = strcspn(text, ",");
    for (kind = kinds; kind->name; kind++) {
        if (strlen(kind->name) == length && !memcmp(kind->name, text, length))
            return kind->create(vm, text + length + (text[length] == ','), err);
    }
    return vmm_fail(err, EINVAL, "%s does not know '%.*s'; there is: %s", option, (int)length, text,
                    kinds[0].name);
}

int vmm_library_create(struct vmm *vm, struct viommu_error *err)
{
    int ret;

    ret = create_memory(vm, err);
    if (!ret)
        ret = create_topology(vm, err);
    for (size_t i = 0; i < vm->options->viommu_count && !ret; i++)
        ret = create_kind(vm, "--viommu", models, vm->options->viommus[i], err);
    if (!ret)
        ret = create_kind(vm, "--host", hosts, vm->options->host, err);
    return ret;
}

void vmm_library_reset(struct vmm *vm)
{
    for (size_t i = 0; i < vm->unit_count; i++)
        viommu_reset(vm->units[i].viommu);
}

void vmm_library_destroy(struct vmm *vm)
{
    viommu_assign_destroy(vm->assign);
    viommu_host_destroy(vm->host);
    vmm_units_release_buses(vm);
    viommu_pci_destroy(vm->viommu_pci);
    vmm_units_destroy(vm);
    viommu_dma_space_destroy(vm->plain);
    viommu_memory_destroy(vm->memory);
    vm->assign = NULL;
    vm->host = NULL;
    vm->viommu_pci = NULL;
    vm->plain = NULL;
    vm->memory = NULL;
}

#define COUNTER(type, member)                                                                      \
    {                                                                                              \
#member, offsetof(type, member)                                                            \
    }

struct counter {
    const char *name;
    size_t offset;
};

static const struct counter viommu_counters[] = {
    COUNTER(struct viommu_stats, walks),
    COUNTER(struct viommu_stats, faults_recorded),
    COUNTER(struct viommu_stats, faults_lost),
    COUNTER(struct viommu_stats, faults_disabled),
    COUNTER(struct viommu_stats, descriptors),
    COUNTER(struct viommu_stats, waits),
    COUNTER(struct viommu_stats, queue_errors),
    COUNTER(struct viommu_stats, interrupts),
    COUNTER(struct viommu_stats, nested_binds),
    COUNTER(struct viommu_stats, nested_bind_failures),
    COUNTER(struct viommu_stats, nested_unbinds),
    COUNTER(struct viommu_stats, nested_invalidations),
    COUNTER(struct viommu_stats, parent_attaches),
    COUNTER(struct viommu_stats, shadow_maps),
    COUNTER(struct viommu_stats, shadow_unmaps),
    COUNTER(struct viommu_stats, blocks),
    COUNTER(struct viommu_stats, assigned_emulated),
    COUNTER(struct viommu_stats, sanitizer_reports),
    COUNTER(struct viommu_stats, device_tlb_invalidations),
    COUNTER(struct viommu_stats, page_requests),
    COUNTER(struct viommu_stats, page_requests_refused),
    COUNTER(struct viommu_stats, page_responses),
    COUNTER(struct viommu_stats, interrupts_remapped),
    COUNTER(struct viommu_stats, interrupts_posted),
    COUNTER(struct viommu_stats, interrupts_blocked),
};

static const struct counter host_counters[] = {
    COUNTER(struct viommu_soft_census, bound_devices),
    COUNTER(struct viommu_soft_census, attachments),
    COUNTER(struct viommu_soft_census, ioas),
    COUNTER(struct viommu_soft_census, paging_hwpts),
    COUNTER(struct viommu_soft_census, nested_hwpts),
    COUNTER(struct viommu_soft_census, mapped_bytes),
    COUNTER(struct viommu_soft_census, table_pages),
    COUNTER(struct viommu_soft_census, cache_entries),
    COUNTER(struct viommu_soft_census, dma_requests),
    COUNTER(struct viommu_soft_census, dma_faults),
    COUNTER(struct viommu_soft_census, translation_requests),
    COUNTER(struct viommu_soft_census, device_tlb_invalidations),
};

static void print_counters(const char *prefix, const struct counter *counters, size_t count,
                           const void *values)
{
    uint64_t value;
    size_t i;

    for (i = 0; i < count; i++) {
        memcpy(&value, (const char *)values + counters[i].offset, sizeof(value));
        fprintf(stderr, "stats: %s.%s %llu\n", prefix, counters[i].name, (unsigned long long)value);
    }
}

#define VIOMMU_COUNTERS (sizeof(viommu_counters) / sizeof(viommu_counters[0]))

static void add_counters(struct viommu_stats *sum, const struct viommu_stats *stats)
{
    for (size_t i = 0; i < VIOMMU_COUNTERS; i++) {
        uint64_t *total = (uint64_t *)((char *)sum + viommu_counters[i].offset);

        *total += *(const uint64_t *)((const char *)stats + viommu_counters[i].offset);
    }
}

/* Of each unit, when there are several, and of all together. */
static void print_units(struct vmm *vm)
{
    struct viommu_stats sum = {.size = sizeof(sum)}, stats = {.size = sizeof(stats)};
    char prefix[32];

    for (size_t i = 0; i < vm->unit_count; i++) {
        viommu_get_stats(vm->units[i].viommu, &stats);
        add_counters(&sum, &stats);
        snprintf(prefix, sizeof(prefix), "viommu%zu", i);
        if (vm->unit_count > 1)
            print_counters(prefix, viommu_counters, VIOMMU_COUNTERS, &stats);
    }
    if (vm->unit_count)
        print_counters("viommu", viommu_counters, VIOMMU_COUNTERS, &sum);
}

void vmm_library_print_stats(struct vmm *vm)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    print_units(vm);
    if (vm->host) {
        viommu_soft_get_census(vm->host, &census);
        print_counters("host", host_counters, sizeof(host_counters) / sizeof(host_counters[0]),
                       &census);
    }
}
