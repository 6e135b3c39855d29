/* SPDX-License-Identifier: MIT */
#include "units.h"
#include "device.h"
#include "key_values.h"
#include "loop.h"
#include "pci.h"
#include "pci_host.h"
#include "vmm.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <viommu.h>

#define WHAT "--viommu vtd"

/* The keys that say where a unit is; all others are the model's. */
enum {
    KEY_SEGMENT,
    KEY_SCOPE,
    KEY_ALL,
    KEY_NODE,
    KEY_COUNT
};
static const char *const key_names[KEY_COUNT] = {"segment", "scope", "all", "node"};

static bool places(const char *item, size_t length)
{
    size_t name = strcspn(item, ",=");

    for (unsigned int i = 0; i < KEY_COUNT && name <= length; i++)
        if (strlen(key_names[i]) == name && !memcmp(key_names[i], item, name))
            return true;
    return false;
}

static void append(char *list, const char *item, size_t length, bool first)
{
    size_t end = strlen(list);

    if (!first)
        list[end++] = ',';
    memcpy(list + end, item, length);
    list[end + length] = '\0';
}

/* Sort the items of a list into two of at most its length. */
static void split(const char *text, char *placement, char *properties)
{
    bool no_placement = true, no_property = true;
    size_t length;

    for (;; text += length + 1) {
        length = strcspn(text, ",");
        if (places(text, length)) {
            append(placement, text, length, no_placement);
            no_placement = false;
        } else {
            append(properties, text, length, no_property);
            no_property = false;
        }
        if (!text[length])
            return;
    }
}

/* Scopes: "02.0+1f.3" */

static int parse_function(struct vmm_unit *unit, const char **text)
{
    char *end;
    unsigned long device = strtoul(*text, &end, 16);

    if (!isxdigit((unsigned char)**text) || end - *text > 2 || device > 31 || end[0] != '.' ||
        end[1] < '0' || end[1] > '7' || (end[2] && end[2] != '+') ||
        unit->scope_count == VMM_UNIT_SCOPES_MAX)
        return -EINVAL;
    unit->scopes[unit->scope_count++].devfn =
        VIOMMU_PCI_DEVFN((uint8_t)device, (uint8_t)(end[1] - '0'));
    *text = end + 2 + (end[2] == '+' && end[3]);
    return 0;
}

static int parse_scope(struct vmm_unit *unit, const char *value, struct viommu_error *err)
{
    const char *text = value;

    do {
        if (parse_function(unit, &text))
            return vmm_fail(err, EINVAL,
                            WHAT ": scope=%s is no list of up to %u functions DEVICE.FUNCTION in "
                                 "hexadecimal, 00.0 to 1f.7, with + between them",
                            value, VMM_UNIT_SCOPES_MAX);
    } while (*text);
    return 0;
}

static int parse_placement(struct vmm_unit *unit, struct vmm_key *keys, struct viommu_error *err)
{
    uint64_t segment = 0, node = 0;
    int ret = vmm_key_number(WHAT, &keys[KEY_SEGMENT], 0, VMM_SEGMENTS_MAX - 1, &segment, err);

    if (!ret)
        ret = vmm_key_number(WHAT, &keys[KEY_NODE], 0, UINT32_MAX, &node, err);
    if (!ret && keys[KEY_SCOPE].value)
        ret = parse_scope(unit, keys[KEY_SCOPE].value, err);
    unit->all = !unit->scope_count;
    if (!ret)
        ret = vmm_key_switch(WHAT, &keys[KEY_ALL], &unit->all, err);
    unit->segment = (uint16_t)segment;
    unit->has_node = keys[KEY_NODE].value != NULL;
    unit->node = (uint32_t)node;
    if (!ret && !unit->all && !unit->scope_count)
        return vmm_fail(err, EINVAL,
                        WHAT ": a unit with all=off and no scope has no device; add "
                             "scope=DEVICE.FUNCTION");
    return ret;
}

/* Against the units that are there, and the scopes before this one. */

static bool has_scope(const struct vmm_unit *unit, uint8_t devfn, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (unit->scopes[i].devfn == devfn)
            return true;
    return false;
}

static int check_scopes(const struct vmm_unit *unit, const struct vmm_unit *other,
                        struct viommu_error *err)
{
    for (size_t i = 0; i < unit->scope_count; i++) {
        uint8_t devfn = unit->scopes[i].devfn;

        if (has_scope(other, devfn, other == unit ? i : other->scope_count))
            return vmm_fail(err, EINVAL,
                            WHAT ": the function %04x:00:%02x.%d is named by the scope of two "
                                 "units, or twice; a function has one unit",
                            unit->segment, devfn >> 3, devfn & 7);
    }
    return 0;
}

static int check_unit(const struct vmm *vm, const struct vmm_unit *unit, struct viommu_error *err)
{
    int ret = 0;

    for (const struct vmm_unit *other = vm->units; other <= unit && !ret; other++) {
        if (other->segment != unit->segment)
            continue;
        if (other != unit && other->all && unit->all)
            return vmm_fail(err, EINVAL,
                            WHAT ": two units are for all of segment %u; give one of them "
                                 "scope=DEVICE.FUNCTION, or another segment",
                            unit->segment);
        ret = check_scopes(unit, other, err);
    }
    return ret;
}

int vmm_unit_parse(struct vmm *vm, const char *text, char **properties, struct viommu_error *err)
{
    struct vmm_unit *unit = &vm->units[vm->unit_count];
    struct vmm_key keys[KEY_COUNT + 1] = {0};
    size_t size = strlen(text) + 1;
    char *placement;
    int ret;

    *properties = NULL;
    if (vm->unit_count == VMM_UNITS_MAX)
        return vmm_fail(err, EINVAL, "more than %u times --viommu; leave some out", VMM_UNITS_MAX);
    for (unsigned int i = 0; i < KEY_COUNT; i++)
        keys[i].name = key_names[i];
    placement = calloc(2, size);
    *properties = calloc(1, size);
    if (!placement || !*properties) {
        free(placement);
        return vmm_fail(err, ENOMEM, "out of memory for the arguments of " WHAT);
    }
    split(text, placement, *properties);
    *unit = (struct vmm_unit){.base = VMM_VIOMMU_BASE + vm->unit_count * VMM_VIOMMU_STRIDE};
    ret = vmm_keys_parse(WHAT, placement, keys, err);
    if (!ret)
        ret = parse_placement(unit, keys, err);
    vmm_keys_free(keys);
    free(placement);
    return ret ? ret : check_unit(vm, unit, err);
}

/* Registers and functions */

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned int size)
{
    return viommu_mmio_read(opaque, offset, size);
}

static void registers_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    viommu_mmio_write(opaque, offset, size, value);
}

static const struct vmm_bus_ops register_ops = {registers_read, registers_write};

/* At a time: others wait for the loop, too. */
#define FORWARD_LIMIT 64u

static void forward_page_requests(void *opaque)
{
    viommu_forward_page_requests(opaque, FORWARD_LIMIT);
}

static int watch_page_requests(const struct vmm *vm, struct vmm_unit *unit,
                               struct viommu_error *err)
{
    int descriptor = viommu_page_request_descriptor(unit->viommu);

    if (descriptor < 0)
        return 0;
    return vmm_loop_add(vm->loop, descriptor, forward_page_requests, unit->viommu,
                        &unit->page_requests, err);
}

int vmm_unit_add(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_unit *unit = &vm->units[vm->unit_count++];
    int ret = watch_page_requests(vm, unit, err);

    if (!ret && unit->all)
        ret = viommu_protect_bus(unit->viommu, vm->viommu_buses[unit->segment], err);
    if (ret)
        return ret;
    ret = vmm_bus_add(&vm->mmio, unit->base, viommu_mmio_size(unit->viommu), &register_ops,
                      unit->viommu);
    return ret ? vmm_fail(err, -ret, "cannot put the vIOMMU's registers at 0x%llx",
                          (unsigned long long)unit->base)
               : 0;
}

void vmm_units_release_buses(struct vmm *vm)
{
    for (size_t i = 0; i < vm->unit_count; i++)
        if (vm->units[i].all)
            viommu_pci_bus_set_iommu(vm->viommu_buses[vm->units[i].segment], NULL, NULL, NULL);
}

void vmm_units_destroy(struct vmm *vm)
{
    for (size_t i = 0; i < vm->unit_count; i++) {
        vmm_loop_remove(vm->loop, vm->units[i].page_requests);
        viommu_destroy(vm->units[i].viommu);
    }
    vm->unit_count = 0;
}

static struct vmm_unit_scope *find_scope(struct vmm_unit *unit, const struct vmm_pci_function *fn)
{
    if (unit->segment != fn->id.segment)
        return NULL;
    for (size_t i = 0; i < unit->scope_count; i++)
        if (unit->scopes[i].devfn == fn->devfn)
            return &unit->scopes[i];
    return NULL;
}

int vmm_units_place(struct vmm_pci_function *fn, struct viommu_error *err)
{
    struct vmm *vm = fn->vm;

    for (size_t i = 0; i < vm->unit_count; i++) {
        struct vmm_unit_scope *scope = find_scope(&vm->units[i], fn);

        if (!scope)
            continue;
        scope->found = true;
        return viommu_protect_device(vm->units[i].viommu, fn->viommu, err);
    }
    return 0;
}

/* The one for all of segment 0, where there is one. */
const struct vmm_unit *vmm_units_ioapic(const struct vmm *vm)
{
    for (size_t i = 0; i < vm->unit_count; i++)
        if (vm->units[i].all && vm->units[i].segment == 0)
            return &vm->units[i];
    return vm->unit_count ? vm->units : NULL;
}

const struct vmm_unit *vmm_unit_of(const struct vmm_pci_function *fn)
{
    const struct vmm_unit *found = NULL;

    for (size_t i = 0; i < fn->vm->unit_count; i++) {
        struct vmm_unit *unit = &fn->vm->units[i];

        if (find_scope(unit, fn))
            return unit;
        if (unit->all && unit->segment == fn->id.segment)
            found = unit;
    }
    return found;
}

int vmm_units_check(const struct vmm *vm, struct viommu_error *err)
{
    for (size_t i = 0; i < vm->unit_count; i++) {
        const struct vmm_unit *unit = &vm->units[i];

        if (unit->all && !vmm_pci_has_segment(vm, unit->segment))
            return vmm_fail(err, EINVAL,
                            WHAT ": there is no device on segment %u; add one, as with --device "
                                 "edu,segment=%u, or leave the unit out",
                            unit->segment, unit->segment);
        for (size_t k = 0; k < unit->scope_count; k++)
            if (!unit->scopes[k].found)
                return vmm_fail(err, EINVAL,
                                WHAT ": scope=%02x.%d names no device; on segment %u devices get "
                                     "the slots from 01.0 on, in the order of the command line",
                                unit->scopes[k].devfn >> 3, unit->scopes[k].devfn & 7,
                                unit->segment);
    }
    return 0;
}
