/* SPDX-License-Identifier: MIT */
/* Requests of all sizes, and what the unit remembers between them (VT-d 5.0, chapters 3 and 6). */
#include <errno.h>
#include <string.h>

#include "guest_tables.h"
#include "model/vtd/register_map.h"

#define NEXT_DATA (GUEST_DATA + 0x5000)

/* A legacy second-stage table for device 0 with GUEST_IOVA at GUEST_DATA; returns its root. */
static uint64_t start(struct guest *guest, uint64_t bits)
{
    uint64_t root;

    guest_create(guest, "");
    root = guest_page(guest);
    guest_map(guest, root, 4, GUEST_IOVA, 1, GUEST_DATA | bits, SS_RW);
    guest_legacy(guest, 0, 0, 2, root);
    guest_on(guest, TTM_LEGACY);
    return root;
}

static struct viommu_dma_space *space_of(struct guest *guest)
{
    return viommu_pci_device_get_address_space(guest->machine.device[0]);
}

static struct viommu_dma_request request_of(uint64_t address, uint64_t length)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;

    request.address = address;
    request.length = length;
    return request;
}

static void pages_are_crossed(void **state)
{
    struct viommu_dma_request request = request_of(GUEST_IOVA + 0xffc, 8);
    struct viommu_dma_result result;
    struct guest guest;
    uint64_t root, value = UINT64_C(0x1122334455667788);

    (void)state;
    root = start(&guest, SS_RW);
    guest_map(&guest, root, 4, GUEST_IOVA + 0x1000, 1, NEXT_DATA | SS_RW, SS_RW);
    assert_int_equal(viommu_dma_write(space_of(&guest), &request, &value, &result), 0);
    assert_int_equal(result.length, 8);
    assert_int_equal(load32(&guest.machine, GUEST_DATA + 0xffc), 0x55667788);
    assert_int_equal(load32(&guest.machine, NEXT_DATA), 0x11223344);
    guest_destroy(&guest);
}

static void crossing_into_a_fault(void **state)
{
    struct viommu_dma_request request = request_of(GUEST_IOVA + 0xffc, 8);
    struct viommu_dma_result result;
    struct guest guest;
    uint64_t value = UINT64_C(0x1122334455667788);

    (void)state;
    start(&guest, SS_RW);
    assert_int_equal(viommu_dma_write(space_of(&guest), &request, &value, &result), -EACCES);
    assert_int_equal(result.length, 4);
    assert_int_equal(load32(&guest.machine, GUEST_DATA + 0xffc), 0x55667788);
    assert_int_equal(read64(&guest.machine, machine_fault_record(&guest.machine, 0)),
                     GUEST_IOVA + 0x1000);
    guest_destroy(&guest);
}

/* Of no bytes: returns what viommu_dma_read() does. */
static int zero_length_read(struct guest *guest, uint64_t iova)
{
    struct viommu_dma_request request = request_of(iova, 0);
    struct viommu_dma_result result;

    request.access = VIOMMU_DMA_READ;
    return viommu_dma_read(space_of(guest), &request, NULL, &result);
}

static void zero_length_reads(void **state)
{
    struct guest guest;

    (void)state;
    start(&guest, SS_W);
    assert_int_equal(zero_length_read(&guest, GUEST_IOVA), 0);
    assert_int_equal(zero_length_read(&guest, GUEST_IOVA), 0); /* from the IOTLB */
    guest_read_faults(&guest, GUEST_IOVA, 0x06);
    guest_writes(&guest, GUEST_IOVA, GUEST_DATA);
    guest_destroy(&guest);
}

static void zero_length_reads_fault(void **state)
{
    struct guest guest;
    uint64_t record;

    (void)state;
    start(&guest, SS_RW);
    assert_int_equal(zero_length_read(&guest, GUEST_IOVA), 0);
    assert_int_equal(zero_length_read(&guest, GUEST_IOVA + 0x1000), -EACCES);
    record = read64(&guest.machine, machine_fault_record(&guest.machine, 0) + 8);
    assert_int_equal(field_get(VTD_FRCD_FR, record), 0x06);
    assert_true(record & VTD_FRCD_T1);
    guest_destroy(&guest);
}

/* Only a read by an untranslated request is one; elsewhere a length of 0 is malformed. */
static void zero_length_others(void **state)
{
    struct viommu_dma_request request = request_of(GUEST_IOVA, 0);
    struct viommu_dma_mapping mapping = {0};
    struct viommu_dma_result result;
    struct guest guest;

    (void)state;
    start(&guest, SS_RW);
    assert_int_equal(viommu_dma_write(space_of(&guest), &request, NULL, &result), -EINVAL);
    request.access = VIOMMU_DMA_READ;
    assert_int_equal(viommu_dma_map(space_of(&guest), &request, &mapping, &result), -EINVAL);
    request.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    assert_int_equal(viommu_dma_translate(space_of(&guest), &request, &result), -EINVAL);
    assert_int_equal(read32(&guest.machine, VTD_FSTS), 0);
    guest_destroy(&guest);
}

static void absence_is_not_cached(void **state)
{
    struct guest guest;
    uint64_t root;

    (void)state;
    root = start(&guest, SS_RW);
    guest_read_faults(&guest, GUEST_IOVA + 0x1000, 0x06);
    guest_map(&guest, root, 4, GUEST_IOVA + 0x1000, 1, NEXT_DATA | SS_RW, SS_RW);
    guest_reads(&guest, GUEST_IOVA + 0x1000, NEXT_DATA);
    guest_destroy(&guest);
}

/* What is not in the IOTLB is found by the entries of now. */
static void entries_are_not_cached(void **state)
{
    struct guest guest;
    uint64_t root, other;

    (void)state;
    root = start(&guest, SS_RW);
    guest_map(&guest, root, 4, GUEST_IOVA + 0x1000, 1, GUEST_DATA | SS_RW, SS_RW);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    other = guest_page(&guest);
    guest_map(&guest, other, 4, GUEST_IOVA + 0x1000, 1, NEXT_DATA | SS_RW, SS_RW);
    guest_legacy(&guest, 0, 0, 2, other);
    guest_reads(&guest, GUEST_IOVA + 0x1000, NEXT_DATA);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA); /* cached before */
    guest_destroy(&guest);
}

static void tables_are_not_cached(void **state)
{
    struct guest guest;
    uint64_t root, entry, other;

    (void)state;
    root = start(&guest, SS_RW);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    entry = guest_entry(&guest, root, 4, GUEST_IOVA, 2);
    other = guest_page(&guest);
    store64(&guest.machine, other + (GUEST_IOVA >> 12 & 511) * 8, NEXT_DATA | SS_RW);
    store64(&guest.machine, entry, other | SS_RW);
    machine_queue_start(&guest.machine, 0x20000, false);
    /* IOTLB, pages, IH: a hint that only leaves changed; there is nothing that it could spare */
    machine_submit(&guest.machine, 2 | 3 << 4 | GUEST_DOMAIN << 16, GUEST_IOVA | BIT64(6));
    guest_reads(&guest, GUEST_IOVA, NEXT_DATA);
    guest_destroy(&guest);
}

static void write_buffers(void **state)
{
    struct guest guest;

    (void)state;
    start(&guest, SS_RW);
    assert_int_equal(read64(&guest.machine, VTD_CAP) & BIT64(4), 0);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    write32(&guest.machine, VTD_GCMD, (uint32_t)(read32(&guest.machine, VTD_GSTS) | VTD_GCMD_WBF));
    assert_int_equal(read32(&guest.machine, VTD_GSTS) & (uint32_t)VTD_GCMD_WBF, 0);
    guest_reads(&guest, GUEST_IOVA, GUEST_DATA);
    guest_destroy(&guest);
}

/* One DMA write of 8 bytes with the requester ID of a function. */
static int write_as(struct viommu_pci_device *device, uint64_t iova, uint64_t value)
{
    struct viommu_dma_request request = request_of(iova, sizeof(value));
    struct viommu_dma_result result;

    return viommu_dma_write(viommu_pci_device_get_address_space(device), &request, &value, &result);
}

/*
 * 00:00.0 also requests as 00:00.5, which has no configuration space: to the topology it is one
 * more number. A driver makes both context entries alike, and drops both by leaving the function
 * number out of the comparison (FM).
 */
static void phantom_functions(void **state)
{
    const uint8_t devfn = VIOMMU_PCI_DEVFN(0, 5);
    const uint64_t entry = GUEST_CONTEXT + devfn * UINT64_C(16);
    struct viommu_pci_device *phantom;
    struct machine *machine;
    struct guest guest;
    uint64_t record;

    (void)state;
    start(&guest, SS_RW);
    machine = &guest.machine;
    machine_queue_start(machine, 0x20000, false);
    assert_int_equal(viommu_pci_device_add(machine->bus, devfn, NULL, &phantom, NULL), 0);
    assert_int_equal(write_as(phantom, GUEST_IOVA, 1), -EACCES); /* by its own entry, not 0's */
    record = read64(machine, machine_fault_record(machine, 0) + 8);
    assert_int_equal(field_get(VTD_FRCD_FR, record), 0x02);
    assert_int_equal(field_get(VTD_FRCD_SID, record), devfn);
    store64(machine, entry + 8, load64(machine, GUEST_CONTEXT + 8));
    store64(machine, entry, load64(machine, GUEST_CONTEXT));
    assert_int_equal(write_as(phantom, GUEST_IOVA, 0x5005), 0);
    assert_int_equal(load64(machine, GUEST_DATA), 0x5005);
    assert_int_equal(write_as(machine->device[0], GUEST_IOVA, 0x5000), 0);
    store64(machine, entry, 0);
    store64(machine, GUEST_CONTEXT, 0);
    machine_submit(machine, 1 | 3 << 4 | GUEST_DOMAIN << 16 | UINT64_C(3) << 48, 0);
    assert_int_equal(write_as(phantom, GUEST_IOVA, 1), -EACCES);
    assert_int_equal(write_as(machine->device[0], GUEST_IOVA, 1), -EACCES);
    guest_destroy(&guest);
}

/* The page at `bar` is a register page of another device, which the VMM gave to the guest. */
static void peers_are_found_by_what_was_translated(void **state)
{
    static _Alignas(4096) uint8_t page[4096];
    const uint64_t bar = UINT64_C(0xc0000000);
    const struct viommu_memory_range range = {.gpa = bar, .size = sizeof(page), .host = page};
    struct viommu_pci_device *device;
    struct guest guest;
    uint64_t root;

    (void)state;
    memset(page, 0, sizeof(page));
    root = start(&guest, SS_RW);
    device = guest.machine.device[0];
    assert_int_equal(viommu_memory_add(guest.machine.memory, &range, NULL), 0);
    assert_int_equal(write_as(device, bar + 8, 1), -EACCES); /* an IOVA like any other */
    guest_map(&guest, root, 4, bar, 1, GUEST_DATA | SS_RW, SS_RW);
    assert_int_equal(write_as(device, bar + 8, 2), 0);
    assert_int_equal(load64(&guest.machine, GUEST_DATA + 8), 2);
    assert_int_equal(page[8], 0);
    guest_map(&guest, root, 4, GUEST_IOVA + 0x1000, 1, bar | SS_RW, SS_RW);
    assert_int_equal(write_as(device, GUEST_IOVA + 0x1008, 3), 0);
    assert_int_equal(page[8], 3);
    guest_destroy(&guest);
}

static const struct spec_rule rules[] = {
    {"VTD-3.12-phantom", "3.12",
     "A request with the number of a phantom function goes by that number's context entry, and so "
     "do its fault and its invalidation.",
     phantom_functions},
    {"VTD-3.13-1", "3.13", "A request that crosses a page is translated page by page.",
     pages_are_crossed},
    {"VTD-3.13-2", "3.13",
     "Of a request that crosses into a page which faults, what lies before is done; the fault names "
     "that page.",
     crossing_into_a_fault},
    {"VTD-3.14-1", "3.14", "A zero-length read passes where reads do not but writes do.",
     zero_length_reads},
    {"VTD-3.14-2", "3.14", "Where nothing is permitted a zero-length read faults as a read.",
     zero_length_reads_fault},
    {"VTD-3.14-3", "3.14", "No other request has a length of zero.", zero_length_others},
    {"VTD-3.17-1", "3.17",
     "Peer-to-peer: a BAR that is memory of the guest is reached by the translated address, never by "
     "the untranslated one.",
     peers_are_found_by_what_was_translated},
    {"VTD-6.1-1", "6.1", "That a page is not present is not cached for emulated devices.",
     absence_is_not_cached},
    {"VTD-6.2.2-1", "6.2.2",
     "Context entries are not cached apart: what the IOTLB does not hold goes by the entry of now.",
     entries_are_not_cached},
    {"VTD-6.2.5-1", "6.2.5",
     "Tables are not cached: any invalidation of a page suffices for the tables above it.",
     tables_are_not_cached},
    {"VTD-6.8-1", "6.8", "No write buffer needs flushing: CAP.RWBF is clear, WBF does nothing.",
     write_buffers},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
