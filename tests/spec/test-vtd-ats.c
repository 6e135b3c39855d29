/* SPDX-License-Identifier: MIT */
/* Translation requests and translated requests of device TLBs (VT-d 5.0, chapter 4). */
#include <errno.h>
#include <string.h>

#include "ats_device.h"
#include "model/vtd/register_map.h"

#define R  VIOMMU_DMA_READ
#define W  VIOMMU_DMA_WRITE
#define X  VIOMMU_DMA_EXECUTE
#define P  VIOMMU_DMA_PRIVILEGED
#define RW (R | W)

#define TT_DEVICE_TLB 1
#define DTE           (UINT64_C(1) << 2)
#define PASIDE        (UINT64_C(1) << 3)
#define PGSNP         (UINT64_C(1) << 24)
#define ALL_FEATURES                                                                               \
    "device-iotlb=on,pasid-bits=8,second-stage=on,supervisor=on,execute=on,nested=on"
#define LEGACY_UNIT "device-iotlb=on,scalable=off,first-stage=off"

struct fixture {
    struct guest guest;
    struct ats_device device;
    uint64_t root; /* of the table below */
};

/* Device 0 by a legacy second-stage table with GUEST_IOVA as `leaf`. */
static void start_legacy(struct fixture *fixture, uint64_t leaf)
{
    guest_create(&fixture->guest, LEGACY_UNIT);
    ats_device_create(&fixture->device, &fixture->guest, 0);
    fixture->root = guest_page(&fixture->guest);
    guest_map(&fixture->guest, fixture->root, 4, GUEST_IOVA, 1, leaf, SS_RW);
    guest_legacy(&fixture->guest, 0, TT_DEVICE_TLB, 2, fixture->root);
    guest_on(&fixture->guest, TTM_LEGACY);
}

/* By a first-stage table, of PASIDs 0 (RID_PASID) and 5. */
static void start_first(struct fixture *fixture, uint64_t leaf, uint64_t qw1, uint64_t qw2)
{
    guest_create(&fixture->guest, ALL_FEATURES);
    ats_device_create(&fixture->device, &fixture->guest, 0);
    fixture->root = guest_page(&fixture->guest);
    guest_map(&fixture->guest, fixture->root, 4, GUEST_IOVA, 1, leaf, FS_ALL);
    guest_scalable(&fixture->guest, 0, DTE | PASIDE);
    for (unsigned int pasid = 0; pasid < 6; pasid += 5)
        guest_pasid(&fixture->guest, pasid, PASID_PGTT(1), GUEST_DOMAIN | PASID_PWSNP | qw1,
                    fixture->root | qw2);
    guest_on(&fixture->guest, TTM_SCALABLE);
}

static void stop(struct fixture *fixture)
{
    ats_device_destroy(&fixture->device);
    guest_destroy(&fixture->guest);
}

static struct guest_dma request_for(uint32_t pasid, uint8_t access)
{
    struct guest_dma dma = DMA_AT(GUEST_IOVA);

    dma.pasid = pasid;
    dma.access = access;
    return dma;
}

static void expect(struct fixture *fixture, uint32_t pasid, uint8_t access, uint8_t permissions)
{
    struct guest_dma dma = request_for(pasid, access);
    struct viommu_dma_result result = ats_translates(&fixture->guest, &dma, permissions);

    if (permissions & RW)
        assert_int_equal(result.gpa, GUEST_DATA);
}

static void legacy_permissions(void **state)
{
    static const struct {
        uint64_t leaf;
        uint8_t wanted, granted;
    } cases[] = {
        {SS_RW, RW, RW}, {SS_RW, R, RW}, {SS_RW, W, RW}, {SS_R, RW, R}, {SS_R, R, R},
        {SS_R, W, 0},    {SS_W, RW, W},  {SS_W, R, 0},   {0, RW, 0},    {0, R, 0},
    };

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(cases); i++) {
        struct fixture fixture;

        start_legacy(&fixture, cases[i].leaf ? GUEST_DATA | cases[i].leaf : 0);
        expect(&fixture, VIOMMU_PASID_NONE, cases[i].wanted, cases[i].granted);
        stop(&fixture);
    }
}

static void first_stage_permissions(void **state)
{
    static const struct {
        uint64_t leaf;
        uint8_t wanted, granted;
    } cases[] = {
        {FS_ALL, RW, RW},
        {FS_P | FS_U, RW, R},
        {FS_P | FS_U, W, 0},
        {FS_ALL, R | X, R | X},
        {FS_ALL | FS_XD, R | X, R},
        {FS_P | FS_U | FS_XD, RW | X, R},
        {FS_P | FS_W, RW, 0},          /* a supervisor's page */
        {FS_P | FS_W, RW | P, RW | P}, /* and for a supervisor */
        {0, RW | X, 0},
    };

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(cases); i++) {
        struct fixture fixture;

        start_first(&fixture, cases[i].leaf ? GUEST_DATA | cases[i].leaf : 0, 0,
                    PASID_SRE | PASID_ERE | PASID_NXE | PASID_WPE);
        expect(&fixture, 5, cases[i].wanted, cases[i].granted);
        stop(&fixture);
    }
}

/* NW: without asking for W, the dirty bit stays clear, and W is not granted. */
static void no_write(void **state)
{
    struct fixture fixture;
    uint64_t entry;

    (void)state;
    start_first(&fixture, GUEST_DATA | FS_ALL, 0, 0);
    entry = guest_entry(&fixture.guest, fixture.root, 4, GUEST_IOVA, 1);
    expect(&fixture, VIOMMU_PASID_NONE, R, R);
    assert_int_equal(load64(&fixture.guest.machine, entry), GUEST_DATA | FS_ALL | FS_A);
    expect(&fixture, VIOMMU_PASID_NONE, RW, RW);
    assert_int_equal(load64(&fixture.guest.machine, entry), GUEST_DATA | FS_ALL | FS_A | FS_D);
    expect(&fixture, VIOMMU_PASID_NONE, R, RW);
    stop(&fixture);
}

/* A page that is read-only is answered, and not marked as written. */
static void read_only_stays_clean(void **state)
{
    struct fixture fixture;
    uint64_t entry;

    (void)state;
    start_first(&fixture, GUEST_DATA | FS_P | FS_U, 0, 0);
    entry = guest_entry(&fixture.guest, fixture.root, 4, GUEST_IOVA, 1);
    expect(&fixture, 5, RW, R);
    assert_int_equal(load64(&fixture.guest.machine, entry), GUEST_DATA | FS_P | FS_U | FS_A);
    stop(&fixture);
}

static void nested_permissions(void **state)
{
    struct fixture fixture;
    struct guest *guest = &fixture.guest;
    uint64_t second;

    (void)state;
    start_first(&fixture, GUEST_DATA | FS_ALL, 0, 0);
    second = guest_page(guest);
    for (uint64_t gpa = 0; gpa < MACHINE_MEMORY; gpa += 0x200000)
        guest_map(guest, second, 4, gpa, 2, gpa | SS_PS | SS_RW, SS_RW);
    guest_pasid(guest, 5, PASID_PGTT(3) | PASID_AW(2) | second, GUEST_DOMAIN | PASID_PWSNP,
                fixture.root);
    guest_flush(guest);
    expect(&fixture, 5, RW, RW);
    guest_map(guest, second, 4, 0, 2, 0, SS_RW);
    for (uint64_t gpa = 0; gpa < 0x200000; gpa += 4096)
        guest_map(guest, second, 4, gpa, 1, gpa | (gpa == GUEST_DATA ? SS_R : SS_RW), SS_RW);
    guest_flush(guest);
    expect(&fixture, 5, RW, R);
    guest_map(guest, second, 4, GUEST_DATA, 1, 0, SS_RW);
    guest_flush(guest);
    expect(&fixture, 5, RW, 0);
    guest_map(guest, second, 4, GUEST_DATA, 1, GUEST_DATA | SS_RW, SS_RW);
    guest_flush(guest);
    expect(&fixture, 5, RW, RW);
    guest_map(guest, second, 4, fixture.root, 1, 0, SS_RW);
    guest_flush(guest);
    expect(&fixture, 5, RW, 0);
    stop(&fixture);
}

static void sizes(void **state)
{
    struct guest_dma dma = request_for(VIOMMU_PASID_NONE, R);
    struct viommu_dma_result result;
    struct fixture fixture;

    (void)state;
    start_legacy(&fixture, GUEST_DATA | SS_RW);
    dma.address = GUEST_IOVA + 0x123;
    result = ats_translates(&fixture.guest, &dma, RW);
    assert_int_equal(result.granule_log2, 12);
    assert_int_equal(result.gpa, GUEST_DATA + 0x123);
    guest_map(&fixture.guest, fixture.root, 4, 0x40000000, 3, SS_RW | SS_PS, SS_RW);
    guest_map(&fixture.guest, fixture.root, 4, 0x80200000, 2, 0x200000 | SS_RW | SS_PS, SS_RW);
    guest_flush(&fixture.guest);
    dma.address = 0x40000000;
    assert_int_equal(ats_translates(&fixture.guest, &dma, RW).granule_log2, 30);
    dma.address = 0x803ff000;
    result = ats_translates(&fixture.guest, &dma, RW);
    assert_int_equal(result.granule_log2, 21);
    assert_int_equal(result.gpa, 0x3ff000);
    stop(&fixture);
}

static void snooped(void **state)
{
    struct guest_dma dma = request_for(VIOMMU_PASID_NONE, R);
    struct fixture fixture;

    (void)state;
    start_legacy(&fixture, GUEST_DATA | SS_RW);
    assert_int_equal(ats_translates(&fixture.guest, &dma, RW).flags, 0);
    guest_map(&fixture.guest, fixture.root, 4, GUEST_IOVA, 1, GUEST_DATA | SS_RW | SS_SNP, SS_RW);
    guest_flush(&fixture.guest);
    assert_int_equal(ats_translates(&fixture.guest, &dma, RW).flags, VIOMMU_DMA_FLAG_SNOOPED);
    stop(&fixture);
    start_first(&fixture, GUEST_DATA | FS_ALL, PGSNP, 0);
    assert_int_equal(ats_translates(&fixture.guest, &dma, R).flags, VIOMMU_DMA_FLAG_SNOOPED);
    stop(&fixture);
}

/* The flags are of translation requests alone: neither a walk nor a hit of others has them. */
static void untranslated_has_no_flags(void **state)
{
    struct viommu_dma_result result;
    struct fixture fixture;

    (void)state;
    start_legacy(&fixture, GUEST_DATA | SS_RW | SS_SNP);
    for (unsigned int i = 0; i < 2; i++) {
        memset(&result, 0xff, sizeof(result));
        result = guest_reads(&fixture.guest, GUEST_IOVA, GUEST_DATA);
        assert_int_equal(result.flags, 0);
    }
    stop(&fixture);
}

static void interrupt_range(void **state)
{
    struct guest_dma dma = request_for(VIOMMU_PASID_NONE, RW);
    struct viommu_dma_result result;
    struct fixture fixture;

    (void)state;
    dma.address = 0xfee01000;
    start_legacy(&fixture, GUEST_DATA | SS_RW);
    result = ats_translates(&fixture.guest, &dma, W);
    assert_int_equal(result.flags, VIOMMU_DMA_FLAG_UNTRANSLATED_ONLY);
    assert_int_equal(result.gpa, 0xfee01000);
    assert_int_equal(result.granule_log2, 20);
    stop(&fixture);
    /* With a PASID it is an address like any other. */
    start_first(&fixture, GUEST_DATA | FS_ALL, 0, 0);
    assert_int_equal(ats_translates(&fixture.guest, &dma, W).flags,
                     VIOMMU_DMA_FLAG_UNTRANSLATED_ONLY);
    guest_map(&fixture.guest, fixture.root, 4, 0xfee01000, 1, GUEST_DATA | FS_ALL, FS_ALL);
    guest_flush(&fixture.guest);
    dma.pasid = 5;
    result = ats_translates(&fixture.guest, &dma, RW);
    assert_int_equal(result.flags, 0);
    assert_int_equal(result.gpa, GUEST_DATA);
    stop(&fixture);
}

/* What the tables do not allow is a fault, with the address type in the record. */
static void bad_tables(void **state)
{
    struct guest_dma dma = request_for(VIOMMU_PASID_NONE, R);
    struct viommu_dma_result result;
    struct fixture fixture;
    struct guest *guest = &fixture.guest;

    (void)state;
    dma.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    start_legacy(&fixture, GUEST_DATA | SS_RW | UINT64_C(1) << 51);
    guest_faults(guest, &dma, 0x0c);
    assert_int_equal(guest_dma(guest, &dma, &result), -EACCES);
    assert_int_equal(result.status, VIOMMU_DMA_RESERVED);
    stop(&fixture);

    start_first(&fixture, GUEST_DATA | FS_ALL, 0, 0);
    dma.pasid = 5;
    guest_map(guest, fixture.root, 4, GUEST_IOVA, 3, GUEST_NOWHERE | FS_ALL, FS_ALL);
    guest_flush(guest);
    guest_faults(guest, &dma, 0x72 - 2);
    store64(&guest->machine, GUEST_PASIDS + 5 * 64, 0);
    guest_flush(guest);
    guest_faults(guest, &dma, 0x59);
    store64(&guest->machine, GUEST_PASIDS + 5 * 64, PASID_FPD);
    guest_flush(guest);
    guest_faults_silently(guest, &dma, 0x59);
    dma.pasid = VIOMMU_PASID_NONE;
    dma.address = UINT64_C(1) << 47;
    guest_faults(guest, &dma, 0x80);
    stop(&fixture);
}

/* A write is told from a read in the record. */
static void record_tells_write(void **state)
{
    struct guest_dma dma = request_for(VIOMMU_PASID_NONE, RW);
    struct viommu_dma_result result;
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    dma.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    start_legacy(&fixture, GUEST_DATA | SS_RW | UINT64_C(1) << 51);
    assert_int_equal(guest_dma(&fixture.guest, &dma, &result), -EACCES);
    assert_int_equal(read64(machine, machine_fault_record(machine, 0) + 8),
                     VTD_FRCD_F | UINT64_C(1) << 60 | UINT64_C(0x0c) << 32);
    stop(&fixture);
}

static void needs_dte(void **state)
{
    static const uint8_t types[] = {VIOMMU_DMA_TRANSLATION_REQUEST, VIOMMU_DMA_TRANSLATED};

    (void)state;
    for (unsigned int i = 0; i < SPEC_COUNT(types); i++) {
        struct guest_dma dma = request_for(VIOMMU_PASID_NONE, R);
        struct fixture fixture;
        struct guest *guest = &fixture.guest;

        start_legacy(&fixture, GUEST_DATA | SS_RW);
        guest_reads(guest, GUEST_IOVA, GUEST_DATA); /* it is in the IOTLB now */
        dma.type = types[i];
        guest_legacy(guest, 0, 0, 2, fixture.root);
        guest_faults(guest, &dma, 0x0d);
        guest_legacy(guest, 0, 2, 2, fixture.root);
        guest_faults(guest, &dma, 0x0d);
        stop(&fixture);

        start_first(&fixture, GUEST_DATA | FS_ALL, 0, 0);
        guest_reads(guest, GUEST_IOVA, GUEST_DATA);
        guest_scalable(guest, 0, PASIDE);
        guest_faults(guest, &dma, 0x44);
        dma.pasid = 5;
        guest_faults(guest, &dma, 0x44);
        stop(&fixture);
    }
}

/* DTE allows what the device has; a function that is not registered has nothing. */
static void needs_a_device_tlb(void **state)
{
    struct guest_dma dma = request_for(VIOMMU_PASID_NONE, R);
    struct fixture fixture;
    struct guest *guest = &fixture.guest;

    (void)state;
    start_legacy(&fixture, GUEST_DATA | SS_RW);
    ats_device_destroy(&fixture.device);
    for (uint8_t type = VIOMMU_DMA_TRANSLATION_REQUEST; type <= VIOMMU_DMA_TRANSLATED; type++) {
        dma.type = type;
        dma.address = type == VIOMMU_DMA_TRANSLATED ? GUEST_DATA : GUEST_IOVA;
        guest_faults(guest, &dma, 0x0d);
    }
    stop(&fixture);
    start_first(&fixture, GUEST_DATA | FS_ALL, 0, 0);
    ats_device_destroy(&fixture.device);
    guest_faults(guest, &dma, 0x44);
    stop(&fixture);
}

/* Translated addresses are memory's, whatever the tables say of them. */
static void translated(void **state)
{
    struct guest_dma dma = DMA_AT(GUEST_DATA + 8);
    struct fixture fixture;

    (void)state;
    dma.type = VIOMMU_DMA_TRANSLATED;
    start_legacy(&fixture, GUEST_DATA | SS_R);
    dma.access = W;
    guest_arrives(&fixture.guest, &dma, GUEST_DATA + 8);
    dma.access = R;
    guest_arrives(&fixture.guest, &dma, GUEST_DATA + 8);
    stop(&fixture);
    start_first(&fixture, 0, 0, 0);
    guest_arrives(&fixture.guest, &dma, GUEST_DATA + 8);
    dma.pasid = 5;
    guest_arrives(&fixture.guest, &dma, GUEST_DATA + 8);
    /* The PASID entry is not looked at, the context entry is. */
    store64(&fixture.guest.machine, GUEST_PASIDS + 5 * 64, 0);
    guest_arrives(&fixture.guest, &dma, GUEST_DATA + 8);
    guest_scalable(&fixture.guest, 0, DTE);
    guest_faults(&fixture.guest, &dma, 0x45);
    stop(&fixture);
}

static void translated_bounds(void **state)
{
    struct guest_dma dma = DMA_AT(UINT64_C(1) << 46);
    struct fixture fixture;

    (void)state;
    dma.type = VIOMMU_DMA_TRANSLATED;
    start_legacy(&fixture, GUEST_DATA | SS_R);
    guest_faults(&fixture.guest, &dma, 0x04);
    dma.address = 0xfee00000;
    guest_faults(&fixture.guest, &dma, 0x0e);
    stop(&fixture);
    start_first(&fixture, GUEST_DATA | FS_ALL, 0, 0);
    guest_faults(&fixture.guest, &dma, 0x87);
    dma.address = UINT64_C(1) << 46;
    guest_faults(&fixture.guest, &dma, 0x83);
    stop(&fixture);
}

static void while_off(void **state)
{
    struct guest_dma dma = request_for(VIOMMU_PASID_NONE, R);
    struct viommu_dma_result result;
    struct fixture fixture;

    (void)state;
    start_legacy(&fixture, GUEST_DATA | SS_RW);
    machine_enable(&fixture.guest.machine, false);
    for (uint8_t type = VIOMMU_DMA_TRANSLATION_REQUEST; type <= VIOMMU_DMA_TRANSLATED; type++) {
        dma.type = type;
        assert_int_equal(guest_dma(&fixture.guest, &dma, &result), -EACCES);
        assert_int_equal(result.status, VIOMMU_DMA_UNSUPPORTED);
        assert_int_equal(read32(&fixture.guest.machine, VTD_FSTS), 0);
    }
    stop(&fixture);
}

/* A translation request moves nothing, and maps nothing. */
static void moves_nothing(void **state)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_mapping mapping = {.host = &request};
    struct viommu_dma_space *space;
    struct viommu_dma_result result;
    struct fixture fixture;
    uint64_t value = 0;

    (void)state;
    start_legacy(&fixture, GUEST_DATA | SS_RW);
    space = viommu_pci_device_get_address_space(fixture.device.function);
    request.address = GUEST_IOVA;
    request.length = 8;
    request.access = RW;
    request.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    assert_int_equal(viommu_dma_read(space, &request, &value, &result), -EINVAL);
    assert_int_equal(viommu_dma_write(space, &request, &value, &result), -EINVAL);
    assert_int_equal(viommu_dma_map(space, &request, &mapping, &result), -EINVAL);
    assert_null(mapping.host);
    stop(&fixture);
}

/* A page that became present is seen by the next request, without an invalidation. */
static void asks_again(void **state)
{
    struct fixture fixture;

    (void)state;
    start_first(&fixture, 0, 0, 0);
    expect(&fixture, 5, RW, 0);
    guest_map(&fixture.guest, fixture.root, 4, GUEST_IOVA, 1, GUEST_DATA | FS_P | FS_U, FS_ALL);
    expect(&fixture, 5, RW, R);
    guest_map(&fixture.guest, fixture.root, 4, GUEST_IOVA, 1, GUEST_DATA | FS_ALL, FS_ALL);
    expect(&fixture, 5, RW, RW);
    guest_map(&fixture.guest, fixture.root, 4, GUEST_IOVA, 1, 0, FS_ALL);
    expect(&fixture, 5, RW, 0);
    stop(&fixture);
}

static int ignore(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    (void)opaque;
    (void)what;
    return 0;
}

static const struct viommu_pci_ats_ops none = {.size = sizeof(none)};
static const struct viommu_pci_ats_ops ops = {.size = sizeof(ops), .invalidate = ignore};

static void who_may_register(void **state)
{
    static const struct viommu_pci_device_options bypass = {.size = sizeof(bypass), .bypass = true};
    struct viommu_pci_device *function;
    struct viommu_error error = {0};
    struct viommu_pci_bus *bus;
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    start_legacy(&fixture, GUEST_DATA | SS_RW);
    assert_int_equal(viommu_pci_device_set_ats(machine->device[1], &none, NULL, &error), -EINVAL);
    assert_int_equal(viommu_pci_device_page_request(machine->device[1], NULL), -EOPNOTSUPP);
    assert_int_equal(viommu_pci_device_invalidation_done(machine->device[1], 0, 0), -ENOENT);
    assert_int_equal(viommu_pci_device_set_ats(fixture.device.function, &ops, NULL, &error),
                     -EBUSY);
    assert_int_equal(
        viommu_pci_device_add(machine->bus, VIOMMU_PCI_DEVFN(20, 0), &bypass, &function, NULL), 0);
    assert_int_equal(viommu_pci_device_set_ats(function, &ops, NULL, &error), -EOPNOTSUPP);
    assert_non_null(strstr(error.message, "bypass"));
    assert_int_equal(viommu_pci_root_bus_add(machine->pci, 1, 0, &bus, NULL), 0);
    assert_int_equal(viommu_pci_device_add(bus, 0, NULL, &function, NULL), 0);
    assert_int_equal(viommu_pci_device_set_ats(function, &ops, NULL, &error), -EOPNOTSUPP);
    assert_int_equal(viommu_pci_bridge_add(machine->bus, VIOMMU_PCI_DEVFN(21, 0),
                                           VIOMMU_PCI_BRIDGE_PCIE_TO_PCI, 5, NULL, &bus, NULL),
                     0);
    assert_int_equal(viommu_pci_device_add(bus, 8, NULL, &function, NULL), 0);
    assert_int_equal(viommu_pci_device_set_ats(function, &ops, NULL, &error), -EOPNOTSUPP);
    assert_non_null(strstr(error.message, "bridge"));
    /* Its IOMMU stays as long as it is registered. */
    assert_int_equal(viommu_pci_bus_set_iommu(machine->bus, NULL, NULL, &error), -EBUSY);
    assert_non_null(strstr(error.message, "ATS"));
    ats_device_destroy(&fixture.device);
    assert_int_equal(viommu_pci_bus_set_iommu(machine->bus, NULL, NULL, &error), 0);
    guest_destroy(&fixture.guest);
    guest_create(&fixture.guest, "");
    assert_int_equal(viommu_pci_device_set_ats(machine->device[0], &ops, NULL, &error),
                     -EOPNOTSUPP);
    assert_non_null(strstr(error.message, "device-iotlb=on"));
    guest_destroy(&fixture.guest);
}

/* The registration follows the bus number, and ends with the function. */
static void follows_the_bus(void **state)
{
    struct guest_dma dma = request_for(VIOMMU_PASID_NONE, R);
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;
    struct viommu_pci_bus *bus;
    struct fixture fixture;
    struct guest *guest = &fixture.guest;
    struct ats_device second;

    (void)state;
    start_legacy(&fixture, GUEST_DATA | SS_RW);
    ats_device_destroy(&fixture.device);
    assert_int_equal(viommu_pci_bridge_add(guest->machine.bus, VIOMMU_PCI_DEVFN(22, 0),
                                           VIOMMU_PCI_BRIDGE_PCIE_PORT, 9, NULL, &bus, NULL),
                     0);
    assert_int_equal(viommu_pci_device_add(bus, 0, NULL, &guest->machine.device[7], NULL), 0);
    ats_device_create(&second, guest, 7);
    dma.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    guest_faults(guest, &dma, 0x0d); /* 00:00.0 is not it */
    /* Bus 0, where it is 00:00.0, too. */
    viommu_pci_bus_set_number(bus, 0);
    ats_translates(guest, &dma, RW);
    viommu_pci_bus_set_number(bus, 9);
    guest_faults(guest, &dma, 0x0d);
    viommu_pci_bus_set_number(bus, 0);
    viommu_pci_device_remove(second.function);
    request.address = GUEST_IOVA;
    request.length = 8;
    request.access = R;
    request.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    assert_int_equal(
        viommu_dma_translate(viommu_pci_device_get_address_space(guest->machine.device[0]),
                             &request, &result),
        -EACCES);
    guest_destroy(guest);
}

static void registers(void **state)
{
    const uint64_t bits = VTD_ECAP_DT | VTD_ECAP_PRS | VTD_ECAP_PDS | VTD_ECAP_NWFS | VTD_ECAP_DIT;
    static const struct {
        const char *properties;
        uint64_t ecap;
    } cases[] = {
        {"", 0},
        {"device-iotlb=on", VTD_ECAP_DT | VTD_ECAP_NWFS},
        {"device-iotlb=on,page-requests=on",
         VTD_ECAP_DT | VTD_ECAP_NWFS | VTD_ECAP_PRS | VTD_ECAP_PDS},
    };

    (void)state;
    for (size_t i = 0; i < SPEC_COUNT(cases); i++) {
        struct guest guest;

        guest_create(&guest, cases[i].properties);
        assert_int_equal(read64(&guest.machine, VTD_ECAP) & bits, cases[i].ecap);
        guest_destroy(&guest);
    }
}

/* On behalf of whatever table the address comes from (11.4.8.1). */
static void protected_memory(void **state)
{
    struct guest_dma dma = DMA_AT(0x400000 - 8);
    struct fixture fixture;
    struct machine *machine = &fixture.guest.machine;

    (void)state;
    guest_create(&fixture.guest, "pmr=on,device-iotlb=on");
    ats_device_create(&fixture.device, &fixture.guest, 0);
    guest_scalable(&fixture.guest, 0, DTE);
    guest_on(&fixture.guest, TTM_SCALABLE);
    write32(machine, VTD_PLMBASE, 0x400000);
    write32(machine, VTD_PLMLIMIT, 0x400000);
    write64(machine, VTD_PHMBASE, 0x200000);
    write32(machine, VTD_PMEN, (uint32_t)VTD_PMEN_EPM);
    dma.type = VIOMMU_DMA_TRANSLATED;
    guest_arrives(&fixture.guest, &dma, dma.address);
    dma.address = 0x400000;
    guest_faults_silently(&fixture.guest, &dma, 0);
    dma.address = 0x5ffff8;
    guest_faults_silently(&fixture.guest, &dma, 0);
    dma.address = 0x600000;
    guest_arrives(&fixture.guest, &dma, dma.address);
    write32(machine, VTD_PMEN, 0);
    dma.address = 0x400000;
    guest_arrives(&fixture.guest, &dma, dma.address);
    stop(&fixture);
}

static const struct spec_rule rules[] = {
    {"VTD-11.4.8-13", "11.4.8.1",
     "Requests with a translated address do not reach a protected region, and are not recorded.",
     protected_memory},
    {"VTD-4.2-91", "4.2.3",
     "In legacy mode a translation request is answered with R and W as the second stage has them; "
     "a page that is not present, or permits nothing of what is asked, is a success without both.",
     legacy_permissions},
    {"VTD-4.2-92", "4.2.3",
     "By a first stage it is answered with R, W, Exe and Priv, each as asked for and permitted.",
     first_stage_permissions},
    {"VTD-4.2-93", "4.2.3",
     "A request without write does not set the dirty bit, and gets W only where that is set.",
     no_write},
    {"VTD-4.2-94", "4.2.3",
     "A read-only page asked for writing is answered with R, and stays clean.",
     read_only_stays_clean},
    {"VTD-4.2-95", "4.2.3",
     "Nested, the answer is what both stages permit, and nothing where the second has no page for "
     "the first one's tables.",
     nested_permissions},
    {"VTD-4.2-96", "4.2.3", "The size is that of the page.", sizes},
    {"VTD-4.2-97", "4.2.3", "N is set by SNP of a second-stage leaf, and by PGSNP.", snooped},
    {"VTD-4.2-98", "4.2.3", "Other requests' results have no flags of completions.",
     untranslated_has_no_flags},
    {"VTD-4.2-99", "4.2.3",
     "Without PASID the interrupt address range is answered with U and W; with one it is translated.",
     interrupt_range},
    {"VTD-7.1-920", "7.1.3",
     "A translation request that meets a bad table entry, or none, is a fault with its address "
     "type, unless FPD suppresses it.",
     bad_tables},
    {"VTD-7.1-921", "11.4.7.6",
     "The record of a translation request tells whether W was asked for.", record_tells_write},
    {"VTD-4.2-910", "9.3",
     "Without TT=01b, or DTE, translation and translated requests are LCT.5 and SCT.5, also when the "
     "IOTLB holds the page.",
     needs_dte},
    {"VTD-4.2-911", "4.1", "So are those of a function that has no device TLB, whatever DTE says.",
     needs_a_device_tlb},
    {"VTD-4.2-912", "4.2.4",
     "A translated request goes to memory at its address; of the tables only the context entry is "
     "looked at.",
     translated},
    {"VTD-4.2-913", "3.15",
     "A translated request beyond the host address width, or into the interrupt address range, is "
     "a fault.",
     translated_bounds},
    {"VTD-4.2-914", "4.2.1",
     "While translation is off, translation and translated requests are unsupported, and no fault.",
     while_off},
    {"VTD-4.2-915", "4.2.2", "A translation request moves no data.", moves_nothing},
    {"VTD-4.2-916", "4.2.3", "Translation requests are answered by the tables of the moment.",
     asks_again},
    {"VTD-4.1-91", "4.1",
     "A function can register a device TLB when a unit with them protects it and its requester ID "
     "arrives there.",
     who_may_register},
    {"VTD-4.1-92", "4.1", "A device TLB keeps its function through renumbering, and ends with it.",
     follows_the_bus},
    {"VTD-11.4.3-920", "11.4.3", "DT and NWFS, PRS and PDS are there when they are configured.",
     registers},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
