/* SPDX-License-Identifier: MIT */
#include "library.h"
#include "counters.h"
#include "device.h"
#include "hosts.h"
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
    vmm_irq_remapping_changed(opaque);
}

/* Unlike a VMM that embeds the library, this one is known to route interrupts by way of it. */
static int parse_properties(const struct vmm *vm, const char *properties,
                            struct viommu_vtd_options *options, struct viommu_error *err)
{
    int ret;

    viommu_vtd_options_init(options);
    options->interrupt_remapping = true;
    options->extended_interrupts = vm->x2apic;
    ret = viommu_vtd_options_parse(options, properties, err);
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

/* `text` is "vtd" or "vtd,key=value,...". */
static int create_viommu(struct vmm *vm, const char *text, struct viommu_error *err)
{
    size_t length = strcspn(text, ",");

    if (length == 3 && !memcmp(text, "vtd", length))
        return create_vtd(vm, text + length + (text[length] == ','), err);
    return vmm_fail(err, EINVAL, "--viommu does not know '%.*s'; there is: vtd", (int)length, text);
}

int vmm_library_create(struct vmm *vm, struct viommu_error *err)
{
    int ret;

    ret = create_memory(vm, err);
    if (!ret)
        ret = create_topology(vm, err);
    for (size_t i = 0; i < vm->options->viommu_count && !ret; i++)
        ret = create_viommu(vm, vm->options->viommus[i], err);
    if (!ret)
        ret = vmm_host_create(vm, vm->options->host, &log_to_stderr, err);
    return ret;
}

void vmm_library_reset(struct vmm *vm)
{
    for (size_t i = 0; i < vm->unit_count; i++)
        viommu_reset(vm->units[i].viommu);
}

void vmm_library_destroy(struct vmm *vm)
{
    vmm_host_destroy(vm);
    vmm_units_release_buses(vm);
    viommu_pci_destroy(vm->viommu_pci);
    vmm_units_destroy(vm);
    viommu_dma_space_destroy(vm->plain);
    viommu_memory_destroy(vm->memory);
    vm->viommu_pci = NULL;
    vm->plain = NULL;
    vm->memory = NULL;
}

static const struct vmm_counter viommu_counters[] = {
    VMM_COUNTER(struct viommu_stats, walks),
    VMM_COUNTER(struct viommu_stats, faults_recorded),
    VMM_COUNTER(struct viommu_stats, faults_lost),
    VMM_COUNTER(struct viommu_stats, faults_disabled),
    VMM_COUNTER(struct viommu_stats, descriptors),
    VMM_COUNTER(struct viommu_stats, waits),
    VMM_COUNTER(struct viommu_stats, queue_errors),
    VMM_COUNTER(struct viommu_stats, interrupts),
    VMM_COUNTER(struct viommu_stats, nested_binds),
    VMM_COUNTER(struct viommu_stats, nested_bind_failures),
    VMM_COUNTER(struct viommu_stats, nested_unbinds),
    VMM_COUNTER(struct viommu_stats, nested_invalidations),
    VMM_COUNTER(struct viommu_stats, parent_attaches),
    VMM_COUNTER(struct viommu_stats, shadow_maps),
    VMM_COUNTER(struct viommu_stats, shadow_unmaps),
    VMM_COUNTER(struct viommu_stats, blocks),
    VMM_COUNTER(struct viommu_stats, assigned_emulated),
    VMM_COUNTER(struct viommu_stats, sanitizer_reports),
    VMM_COUNTER(struct viommu_stats, device_tlb_invalidations),
    VMM_COUNTER(struct viommu_stats, page_requests),
    VMM_COUNTER(struct viommu_stats, page_requests_refused),
    VMM_COUNTER(struct viommu_stats, page_responses),
    VMM_COUNTER(struct viommu_stats, interrupts_remapped),
    VMM_COUNTER(struct viommu_stats, interrupts_posted),
    VMM_COUNTER(struct viommu_stats, interrupts_blocked),
    VMM_COUNTER(struct viommu_stats, translation_enables),
    VMM_COUNTER(struct viommu_stats, remapping_enables),
};

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
            vmm_counters_print(prefix, viommu_counters, VIOMMU_COUNTERS, &stats);
    }
    if (vm->unit_count)
        vmm_counters_print("viommu", viommu_counters, VIOMMU_COUNTERS, &sum);
}

void vmm_library_print_stats(struct vmm *vm)
{
    print_units(vm);
    vmm_host_print_stats(vm);
}
