/* SPDX-License-Identifier: MIT */
/*
 * `viommu demo`: the nested story on the simulated host, told step by step. It runs the library for
 * real and fails when a step does not do what the text says.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <viommu.h>

#include "cli.h"
#include "scripted_guest.h"

#define DEMO_IOVA   UINT64_C(0x5000)
#define DEMO_DEVFN  VIOMMU_PCI_DEVFN(5, 0)
#define DEMO_DEVICE "0000:3a:00.0"
#define DEMO_STEPS  64

struct demo {
    const char *profile;
    uint8_t *ram;
    struct viommu_host *host;
    struct viommu_soft_device *hardware; /* the device on the host that does DMA */
    struct viommu_memory *memory;
    struct viommu_dma_space *plain;
    struct viommu_pci *pci;
    struct viommu_pci_bus *bus;
    struct viommu_pci_device *function; /* the same device as the guest sees it */
    struct viommu *unit;
    struct viommu_assign *assign;
    struct viommu_assigned_device *assigned;
    struct scripted_guest guest;
    struct viommu_error error;
};

static int tell_call(void *opaque, enum viommu_host_call call)
{
    (void)opaque;
    printf("    host <- %s\n", viommu_host_call_name(call));
    return 0;
}

static void tell_log(void *opaque, enum viommu_log_level level, const char *message)
{
    (void)opaque;
    (void)level;
    printf("    log: %s\n", message);
}

static int create_guest(struct demo *demo)
{
    struct viommu_memory_range range = {.size = GUEST_MEMORY};
    int result;

    demo->ram =
        mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (demo->ram == MAP_FAILED) {
        snprintf(demo->error.message, sizeof(demo->error.message), "no memory for the guest: %s",
                 strerror(errno));
        demo->ram = NULL;
        return -ENOMEM;
    }
    range.host = demo->ram;
    result = viommu_memory_create(&demo->memory, &demo->error);
    if (!result)
        result = viommu_memory_add(demo->memory, &range, &demo->error);
    if (!result)
        result = viommu_dma_space_create_plain(&demo->plain, demo->memory, &demo->error);
    if (!result)
        result = viommu_pci_create(&demo->pci, demo->plain, &demo->error);
    if (!result)
        result = viommu_pci_root_bus_add(demo->pci, 0, 0, &demo->bus, &demo->error);
    if (!result)
        result = viommu_pci_device_add(demo->bus, DEMO_DEVFN, NULL, &demo->function, &demo->error);
    return result;
}

static int create_unit(struct demo *demo)
{
    struct viommu_vtd_options options;
    int result;

    viommu_vtd_options_init(&options);
    options.memory = demo->memory;
    options.log = (struct viommu_log){.fn = tell_log, .level = VIOMMU_LOG_WARNING};
    result = viommu_vtd_create(&demo->unit, &options, &demo->error);
    if (!result)
        result = viommu_protect_bus(demo->unit, demo->bus, &demo->error);
    demo->guest = (struct scripted_guest){.ram = demo->ram, .unit = demo->unit};
    return result;
}

static int create_host(struct demo *demo)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    int result;

    options.profile = demo->profile;
    result = viommu_soft_create(&demo->host, &options, &demo->error);
    if (!result)
        result = viommu_soft_device_add(demo->host, DEMO_DEVICE, 0, &demo->hardware, &demo->error);
    if (!result)
        result = viommu_assign_create(&demo->assign, demo->host, demo->memory, NULL, &demo->error);
    return result;
}

static int create(struct demo *demo)
{
    int result = create_guest(demo);

    if (!result)
        result = create_unit(demo);
    if (!result)
        result = create_host(demo);
    return result;
}

static void destroy(struct demo *demo)
{
    if (demo->host)
        viommu_host_set_observer(demo->host, NULL, NULL);
    if (demo->assigned)
        viommu_assign_detach(demo->assigned);
    viommu_assign_destroy(demo->assign);
    if (demo->hardware)
        viommu_soft_device_remove(demo->hardware);
    viommu_host_destroy(demo->host);
    viommu_pci_destroy(demo->pci);
    viommu_destroy(demo->unit);
    viommu_dma_space_destroy(demo->plain);
    viommu_memory_destroy(demo->memory);
    if (demo->ram)
        munmap(demo->ram, GUEST_MEMORY);
}

static int attach(struct demo *demo)
{
    uint64_t cap = viommu_pci_device_get_viommu_cap(demo->function);
    int result;

    printf("\n1. What the user configured, asked before any host object exists\n"
           "    get_viommu_cap(%s) = 0x%" PRIx64 "%s\n",
           viommu_pci_device_name(demo->function), cap,
           cap & VIOMMU_CAP_HW_NESTED ? " (HW_NESTED: make the GPA table a nesting parent)" : "");
    printf("\n2. Attach %s of host \"%s\" (%s)\n", DEMO_DEVICE, demo->profile,
           viommu_soft_profile_description(demo->profile));
    viommu_host_set_observer(demo->host, tell_call, NULL);
    result = viommu_assign_attach(demo->assign, demo->function, DEMO_DEVICE, &demo->assigned,
                                  &demo->error);
    if (!result)
        printf("    nesting parent: %s; the unit compared its promises with the host: accepted\n",
               viommu_host_device_is_nest_parent(viommu_assigned_device_host_device(demo->assigned))
                   ? "yes"
                   : "no");
    return result;
}

/* The last steps of a walk: the leaf of the first stage, and where it ends. */
static void tell_walk(struct demo *demo, uint64_t iova)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_soft_step steps[DEMO_STEPS];
    struct viommu_dma_result result;
    size_t count = DEMO_STEPS, i;

    request.address = iova;
    request.length = 1;
    request.access = VIOMMU_DMA_WRITE;
    viommu_soft_device_explain(demo->hardware, &request, steps, &count, &result);
    for (i = 0; i < count && i < DEMO_STEPS; i++) {
        const struct viommu_soft_step *step = &steps[i];
        bool first = step->stage == 1;

        if (step->level)
            printf("    %sstage %u level %u: %s 0x%" PRIx64 ", entry at %s 0x%" PRIx64
                   " = 0x%" PRIx64 "\n",
                   first ? "" : "    ", step->stage, step->level, first ? "IOVA" : "GPA",
                   step->input, first ? "GPA" : "HPA", step->entry_address, step->entry);
        else
            printf("    %sstage %u: %s 0x%" PRIx64 " -> %s 0x%" PRIx64 "\n", first ? "" : "    ",
                   step->stage, first ? "IOVA" : "GPA", step->input, first ? "GPA" : "HPA",
                   step->entry);
    }
}

/* The device writes `text`; tell, and return true when it arrived (or not) as `expected`. */
static bool device_writes(struct demo *demo, const char *text, uint64_t expected_gpa)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    bool arrived;

    request.address = DEMO_IOVA;
    request.length = strlen(text) + 1;
    printf("    device writes \"%s\" to IOVA 0x%" PRIx64 ": ", text, DEMO_IOVA);
    if (viommu_soft_device_write(demo->hardware, &request, text, &result)) {
        printf("refused (%s)\n", viommu_dma_status_name(result.status));
        return !expected_gpa;
    }
    arrived = expected_gpa && !strcmp((char *)demo->ram + expected_gpa, text);
    printf("done; guest memory at 0x%" PRIx64 " %s\n", expected_gpa,
           arrived ? "has it" : "DOES NOT HAVE IT");
    return arrived;
}

static bool bind_and_walk(struct demo *demo)
{
    printf("\n3. The guest switches scalable mode on and gives the device a first-stage table\n");
    scripted_guest_map(&demo->guest, DEMO_IOVA, GUEST_PAGE_A);
    scripted_guest_boot(&demo->guest, DEMO_DEVFN);
    printf("\n4. A DMA, walked by the host's hardware through both stages\n");
    tell_walk(demo, DEMO_IOVA);
    return device_writes(demo, "first", GUEST_PAGE_A);
}

static bool remap_and_unmap(struct demo *demo)
{
    struct scripted_fault fault;
    bool ok;

    printf("\n5. The guest leads the IOVA to another page, and invalidates it\n");
    scripted_guest_map(&demo->guest, DEMO_IOVA, GUEST_PAGE_B);
    ok = scripted_guest_invalidate_page(&demo->guest, DEMO_IOVA);
    ok = device_writes(demo, "second", GUEST_PAGE_B) && ok;
    ok = !strcmp((char *)demo->ram + GUEST_PAGE_A, "first") && ok;

    printf("\n6. The guest unmaps it: the next DMA faults\n");
    scripted_guest_map(&demo->guest, DEMO_IOVA, 0);
    ok = scripted_guest_invalidate_page(&demo->guest, DEMO_IOVA) && ok;
    ok = device_writes(demo, "third", 0) && ok;
    fault = scripted_guest_take_fault(&demo->guest);
    printf("    guest reads fault record: requester %02x:%02x.%x, %s, address 0x%" PRIx64
           ", reason 0x%x\n",
           fault.requester_id >> 8, (fault.requester_id >> 3) & 31, fault.requester_id & 7,
           fault.write ? "write" : "read", fault.address, fault.reason);
    return ok && fault.present && fault.requester_id == DEMO_DEVFN && fault.address == DEMO_IOVA &&
           fault.write;
}

static int run_nested(const char *profile)
{
    struct demo demo = {.profile = profile};
    int result = create(&demo);
    bool ok = false;

    if (!result)
        result = attach(&demo);
    if (result)
        fprintf(stderr, "viommu demo: %s\n", demo.error.message);
    else
        ok = bind_and_walk(&demo) && remap_and_unmap(&demo);
    if (ok)
        printf("\n7. Detach: the exact reverse\n");
    if (ok) {
        viommu_assign_detach(demo.assigned);
        demo.assigned = NULL;
    }
    destroy(&demo);
    return ok ? 0 : 1;
}

/* The same configuration on a host that cannot keep it: refused, every mismatch said. */
static int run_refused(const char *profile)
{
    struct demo demo = {.profile = profile};
    int result = create(&demo);

    printf("\n8. The same configuration on a host that cannot nest\n");
    if (!result) {
        result = viommu_assign_attach(demo.assign, demo.function, DEMO_DEVICE, &demo.assigned,
                                      &demo.error);
        if (result)
            printf("    \"%s\" (%s) is refused:\n    %s\n", profile,
                   viommu_soft_profile_description(profile), demo.error.message);
        else
            fprintf(stderr, "viommu demo: host %s was accepted though it cannot nest\n", profile);
    } else {
        fprintf(stderr, "viommu demo: %s\n", demo.error.message);
        destroy(&demo);
        return 1;
    }
    destroy(&demo);
    return result ? 0 : 1;
}

int cli_demo(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "viommu demo: takes no arguments, but got '%s'\n", argv[1]);
        return 2;
    }
    printf("A guest with a VT-d unit of libviommu, and a device assigned to it from a simulated "
           "host.\n");
    if (run_nested("granite-rapids"))
        return 1;
    return run_refused("alder-lake-system");
}
