/* SPDX-License-Identifier: MIT */
#include "guest_tables.h"

#include <string.h>

#include "model/vtd/register_map.h"

#define ADDRESS GENMASK64(51, 12)

void guest_create(struct guest *guest, const char *properties)
{
    memset(guest, 0, sizeof(*guest));
    machine_create(&guest->machine, properties);
    guest->pool = GUEST_POOL;
}

void guest_destroy(struct guest *guest)
{
    machine_destroy(&guest->machine);
}

uint64_t guest_page(struct guest *guest)
{
    uint64_t page = guest->pool;

    guest->pool += 4096;
    assert_true(guest->pool <= MACHINE_MEMORY);
    memset(guest->machine.ram + page, 0, 4096);
    return page;
}

static uint64_t index_of(uint64_t iova, unsigned int level)
{
    return (iova >> (12 + 9 * (level - 1)) & 511) * 8;
}

uint64_t guest_entry(struct guest *guest, uint64_t root, unsigned int levels, uint64_t iova,
                     unsigned int level)
{
    uint64_t table = root;

    for (; levels > level; levels--)
        table = load64(&guest->machine, table + index_of(iova, levels)) & ADDRESS;
    return table + index_of(iova, level);
}

uint64_t guest_map(struct guest *guest, uint64_t root, unsigned int levels, uint64_t iova,
                   unsigned int level, uint64_t value, uint64_t table_bits)
{
    uint64_t entry;

    for (unsigned int above = levels; above > level; above--) {
        entry = guest_entry(guest, root, levels, iova, above);
        if (!load64(&guest->machine, entry))
            store64(&guest->machine, entry, guest_page(guest) | table_bits);
    }
    entry = guest_entry(guest, root, levels, iova, level);
    store64(&guest->machine, entry, value);
    return entry;
}

void guest_change(struct guest *guest, uint64_t entry, uint64_t clear, uint64_t set)
{
    store64(&guest->machine, entry, (load64(&guest->machine, entry) & ~clear) | set);
}

uint64_t guest_legacy(struct guest *guest, unsigned int index, unsigned int tt, unsigned int aw,
                      uint64_t second_root)
{
    uint64_t context = GUEST_CONTEXT + VIOMMU_PCI_DEVFN(index, 0) * 16;

    store64(&guest->machine, GUEST_ROOT, GUEST_CONTEXT | 1);
    store64(&guest->machine, GUEST_ROOT + 8, 0);
    store64(&guest->machine, context, second_root | tt << 2 | 1);
    store64(&guest->machine, context + 8, aw | GUEST_DOMAIN << 8);
    return context;
}

uint64_t guest_scalable(struct guest *guest, unsigned int index, uint64_t bits)
{
    uint64_t context = GUEST_CONTEXT + VIOMMU_PCI_DEVFN(index, 0) * 32;

    store64(&guest->machine, GUEST_ROOT, GUEST_CONTEXT | 1);
    store64(&guest->machine, GUEST_ROOT + 8, GUEST_CONTEXT_U | 1);
    store64(&guest->machine, context, GUEST_DIRECTORY | bits | 1);
    for (unsigned int i = 8; i < 32; i += 8)
        store64(&guest->machine, context + i, 0);
    store64(&guest->machine, GUEST_DIRECTORY, GUEST_PASIDS | 1);
    return context;
}

uint64_t guest_pasid(struct guest *guest, uint32_t pasid, uint64_t qw0, uint64_t qw1, uint64_t qw2)
{
    uint64_t entry = GUEST_PASIDS + pasid * 64;

    assert_true(pasid < 64);
    store64(&guest->machine, entry, qw0 | PASID_P);
    store64(&guest->machine, entry + 8, qw1);
    store64(&guest->machine, entry + 16, qw2);
    for (unsigned int i = 24; i < 64; i += 8)
        store64(&guest->machine, entry + i, 0);
    return entry;
}

void guest_on(struct guest *guest, uint64_t ttm)
{
    guest->ttm = ttm;
    machine_set_root(&guest->machine, GUEST_ROOT | ttm);
    machine_enable(&guest->machine, true);
}

void guest_flush(struct guest *guest)
{
    machine_set_root(&guest->machine, GUEST_ROOT | guest->ttm);
}

static uint16_t requester(struct guest *guest, const struct guest_dma *dma)
{
    return viommu_pci_device_alias(guest->machine.device[dma->device]).requester_id;
}

int guest_dma(struct guest *guest, const struct guest_dma *dma, struct viommu_dma_result *result)
{
    struct viommu_dma_space *space =
        viommu_pci_device_get_address_space(guest->machine.device[dma->device]);
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    uint8_t buffer[64] = {0};

    assert_true(dma->length <= sizeof(buffer));
    request.address = dma->address;
    request.length = dma->length;
    request.pasid = dma->pasid;
    request.requester_id = requester(guest, dma);
    request.access = dma->access;
    request.type = dma->type;
    if (dma->type == VIOMMU_DMA_TRANSLATION_REQUEST)
        return viommu_dma_translate(space, &request, result);
    if (dma->access & VIOMMU_DMA_WRITE)
        return viommu_dma_write(space, &request, buffer, result);
    return viommu_dma_read(space, &request, buffer, result);
}

static bool fault_pending(struct guest *guest)
{
    return read32(&guest->machine, VTD_FSTS) & VTD_FSTS_PPF;
}

struct viommu_dma_result guest_arrives(struct guest *guest, const struct guest_dma *dma,
                                       uint64_t gpa)
{
    struct viommu_dma_result result;
    int ret = guest_dma(guest, dma, &result);

    if (ret)
        fail_msg("DMA at 0x%llx: %s, fault reason 0x%02x", (unsigned long long)dma->address,
                 viommu_dma_status_name(result.status), result.fault_code);
    assert_int_equal(result.status, VIOMMU_DMA_OK);
    assert_int_equal(result.fault_code, 0);
    assert_int_equal(result.gpa, gpa);
    assert_false(fault_pending(guest));
    return result;
}

static void refused(struct guest *guest, const struct guest_dma *dma, uint8_t reason)
{
    struct viommu_dma_result result;
    int ret = guest_dma(guest, dma, &result);

    if (!ret)
        fail_msg("DMA at 0x%llx arrived at 0x%llx instead of fault reason 0x%02x",
                 (unsigned long long)dma->address, (unsigned long long)result.gpa, reason);
    assert_int_equal(result.fault_code, reason);
    assert_int_not_equal(result.status, VIOMMU_DMA_OK);
    assert_int_equal(result.length, 0);
}

/* The upper quadword of the record that a fault of this DMA leaves (11.4.7.6). */
static uint64_t record_of(struct guest *guest, const struct guest_dma *dma, uint8_t reason)
{
    uint64_t record = BIT64(63) | (uint64_t)reason << 32;

    record |= requester(guest, dma);
    if (read64(&guest->machine, VTD_ECAP) & VTD_ECAP_DT)
        record |= (uint64_t)dma->type << 60;
    if (dma->access & VIOMMU_DMA_READ)
        record |= BIT64(62);
    if ((dma->access & 3) == (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE))
        record |= BIT64(28);
    if (dma->pasid == VIOMMU_PASID_NONE || !(read64(&guest->machine, VTD_ECAP) & VTD_ECAP_PASID))
        return record;
    record |= BIT64(31) | (uint64_t)dma->pasid << 40;
    if ((dma->access & 7) == (VIOMMU_DMA_EXECUTE | VIOMMU_DMA_READ))
        record |= BIT64(30);
    if (dma->access & VIOMMU_DMA_PRIVILEGED)
        record |= BIT64(29);
    return record;
}

/* Bits of FI: as many as the widest table translates (11.4.7.6). */
static unsigned int fault_width(struct guest *guest)
{
    uint64_t cap = read64(&guest->machine, VTD_CAP), ecap = read64(&guest->machine, VTD_ECAP);

    if (cap & VTD_CAP_FS5LP)
        return 57;
    return ecap & VTD_ECAP_FSTS ? 48 : (unsigned int)field_get(VTD_CAP_MGAW, cap) + 1;
}

void guest_faults(struct guest *guest, const struct guest_dma *dma, uint8_t reason)
{
    struct machine *machine = &guest->machine;
    uint64_t record;

    refused(guest, dma, reason);
    assert_true(fault_pending(guest));
    record = machine_fault_record(machine,
                                  (unsigned int)field_get(VTD_FSTS_FRI, read32(machine, VTD_FSTS)));
    assert_int_equal(read64(machine, record), dma->address & GENMASK64(fault_width(guest) - 1, 12));
    assert_int_equal(read64(machine, record + 8), record_of(guest, dma, reason));
    write64(machine, record + 8, VTD_FRCD_F);
    assert_false(fault_pending(guest));
    guest->faults++;
}

void guest_faults_silently(struct guest *guest, const struct guest_dma *dma, uint8_t reason)
{
    refused(guest, dma, reason);
    assert_false(fault_pending(guest));
}

struct viommu_dma_result guest_reads(struct guest *guest, uint64_t iova, uint64_t gpa)
{
    const struct guest_dma dma = DMA_AT(iova);

    return guest_arrives(guest, &dma, gpa);
}

struct viommu_dma_result guest_writes(struct guest *guest, uint64_t iova, uint64_t gpa)
{
    struct guest_dma dma = DMA_AT(iova);

    dma.access = VIOMMU_DMA_WRITE;
    return guest_arrives(guest, &dma, gpa);
}

void guest_read_faults(struct guest *guest, uint64_t iova, uint8_t reason)
{
    const struct guest_dma dma = DMA_AT(iova);

    guest_faults(guest, &dma, reason);
}

void guest_write_faults(struct guest *guest, uint64_t iova, uint8_t reason)
{
    struct guest_dma dma = DMA_AT(iova);

    dma.access = VIOMMU_DMA_WRITE;
    guest_faults(guest, &dma, reason);
}
