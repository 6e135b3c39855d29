/* SPDX-License-Identifier: MIT */
#include "assigned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model/vtd/register_map.h"

void assigned_trace(struct assigned *assigned, const char *what)
{
    size_t used = strlen(assigned->trace);

    if (used + strlen(what) + 2 < sizeof(assigned->trace))
        sprintf(assigned->trace + used, "%s%s", used ? " " : "", what);
}

static int observe(void *opaque, enum viommu_host_call call)
{
    struct assigned *assigned = opaque;

    assigned_trace(assigned, viommu_host_call_name(call));
    if (assigned->fail_calls & (1u << call))
        return assigned->fail_with;
    if (assigned->countdown < 0 || assigned->countdown--)
        return 0;
    assigned->failed = true;
    return assigned->fail_with;
}

void assigned_calm(struct assigned *assigned)
{
    assigned->trace[0] = '\0';
    assigned->countdown = -1;
    assigned->fail_calls = 0;
    assigned->failed = false;
    assigned->fail_with = -EIO;
}

unsigned int assigned_calls(const struct assigned *assigned, const char *call)
{
    const char *at = assigned->trace;
    size_t length = strlen(call);
    unsigned int count = 0;

    while ((at = strstr(at, call))) {
        count += (at == assigned->trace || at[-1] == ' ') && (!at[length] || at[length] == ' ');
        at += length;
    }
    return count;
}

void assigned_create_on(struct assigned *assigned, struct viommu_host *host,
                        const char *const devices[ASSIGNED_DEVICES], const char *properties)
{
    struct machine *machine = &assigned->guest.machine;

    memset(assigned, 0, sizeof(*assigned));
    guest_create(&assigned->guest, properties);
    assigned->host = host;
    for (unsigned int i = 0; i < ASSIGNED_DEVICES; i++) {
        assigned->name[i] = devices[i];
        assigned->function[i] = machine->device[i];
    }
    assert_int_equal(
        viommu_assign_create(&assigned->assign, assigned->host, machine->memory, NULL, NULL), 0);
    assigned_calm(assigned);
    viommu_host_set_observer(assigned->host, observe, assigned);
    machine_queue_start(machine, ASSIGNED_QUEUE | 1, true); /* QS 1: two pages */
}

void assigned_create(struct assigned *assigned, const char *profile, const char *properties)
{
    static const char *const names[ASSIGNED_DEVICES] = {"0000:3a:00.0", "0000:3a:00.1"};
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_soft_device *devices[ASSIGNED_DEVICES];
    struct viommu_host *host;

    options.profile = profile;
    assert_int_equal(viommu_soft_create(&host, &options, NULL), 0);
    for (unsigned int i = 0; i < ASSIGNED_DEVICES; i++)
        assert_int_equal(viommu_soft_device_add(host, names[i], 0, &devices[i], NULL), 0);
    assigned_create_on(assigned, host, names, properties);
    memcpy(assigned->soft, devices, sizeof(devices));
}

void assigned_destroy(struct assigned *assigned)
{
    viommu_host_set_observer(assigned->host, NULL, NULL);
    viommu_assign_destroy(assigned->assign);
    viommu_host_destroy(assigned->host);
    guest_destroy(&assigned->guest);
}

int assigned_try_attach(struct assigned *assigned, unsigned int i, struct viommu_error *error)
{
    return viommu_assign_attach(assigned->assign, assigned->function[i], assigned->name[i],
                                &assigned->device[i], error);
}

void assigned_attach(struct assigned *assigned, unsigned int i)
{
    struct viommu_error error;

    if (assigned_try_attach(assigned, i, &error))
        fail_msg("%s", error.message);
}

void assigned_detach(struct assigned *assigned, unsigned int i)
{
    viommu_assign_detach(assigned->device[i]);
}

struct viommu_soft_census assigned_census(struct assigned *assigned)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    viommu_soft_get_census(assigned->host, &census);
    census.dma_requests = census.dma_faults = 0;
    return census;
}

void assigned_same(struct assigned *assigned, const struct viommu_soft_census *before)
{
    struct viommu_soft_census now = assigned_census(assigned);

    assert_int_equal(now.bound_devices, before->bound_devices);
    assert_int_equal(now.attachments, before->attachments);
    assert_int_equal(now.ioas, before->ioas);
    assert_int_equal(now.paging_hwpts, before->paging_hwpts);
    assert_int_equal(now.nested_hwpts, before->nested_hwpts);
    assert_int_equal(now.mapped_bytes, before->mapped_bytes);
    assert_int_equal(now.table_pages, before->table_pages);
}

struct viommu_stats assigned_stats(struct assigned *assigned)
{
    struct viommu_stats stats = {.size = sizeof(stats)};

    viommu_get_stats(assigned->guest.machine.viommu, &stats);
    return stats;
}

/* DMA */

int assigned_dma(struct assigned *assigned, unsigned int i, uint32_t pasid, uint64_t iova,
                 bool write, uint64_t *value)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;

    request.address = iova;
    request.length = sizeof(*value);
    request.pasid = pasid;
    return write ? viommu_soft_device_write(assigned->soft[i], &request, value, &result)
                 : viommu_soft_device_read(assigned->soft[i], &request, value, &result);
}

bool assigned_reads(struct assigned *assigned, unsigned int i, uint64_t iova)
{
    uint64_t value;

    return !assigned_dma(assigned, i, VIOMMU_PASID_NONE, iova, false, &value);
}

void assigned_arrives_pasid(struct assigned *assigned, unsigned int i, uint32_t pasid,
                            uint64_t iova, uint64_t gpa)
{
    static uint64_t mark = 0x5a5a000000000000;
    uint64_t value = ++mark;

    if (assigned_dma(assigned, i, pasid, iova, true, &value))
        fail_msg("write to IOVA 0x%llx is refused; the log: %s", (unsigned long long)iova,
                 assigned->guest.machine.log);
    assert_int_equal(load64(&assigned->guest.machine, gpa), mark);
    value = 0;
    assert_int_equal(assigned_dma(assigned, i, pasid, iova, false, &value), 0);
    assert_int_equal(value, mark);
    assert_false(assigned_fault_pending(assigned));
}

void assigned_arrives(struct assigned *assigned, unsigned int i, uint64_t iova, uint64_t gpa)
{
    assigned_arrives_pasid(assigned, i, VIOMMU_PASID_NONE, iova, gpa);
}

bool assigned_fault_pending(struct assigned *assigned)
{
    return read32(&assigned->guest.machine, VTD_FSTS) & VTD_FSTS_PPF;
}

void assigned_clear_faults(struct assigned *assigned)
{
    struct machine *machine = &assigned->guest.machine;

    for (unsigned int i = 0; i < machine_fault_records(machine); i++)
        write64(machine, machine_fault_record(machine, i) + 8, VTD_FRCD_F);
    write32(machine, VTD_FSTS, (uint32_t)VTD_FSTS_PFO);
    assert_false(assigned_fault_pending(assigned));
}

static uint64_t first_record(struct assigned *assigned)
{
    struct machine *machine = &assigned->guest.machine;

    assert_true(assigned_fault_pending(assigned));
    return machine_fault_record(machine,
                                (unsigned int)field_get(VTD_FSTS_FRI, read32(machine, VTD_FSTS)));
}

void assigned_told(struct assigned *assigned, unsigned int i, uint8_t reason)
{
    struct machine *machine = &assigned->guest.machine;
    uint64_t record = first_record(assigned);
    uint64_t high = read64(machine, record + 8);

    assert_int_equal(field_get(VTD_FRCD_FR, high), reason);
    assert_int_equal(field_get(VTD_FRCD_SID, high),
                     viommu_pci_device_alias(assigned->function[i]).requester_id);
    write64(machine, record + 8, VTD_FRCD_F);
}

void assigned_faults(struct assigned *assigned, unsigned int i, uint64_t iova, uint8_t reason)
{
    uint64_t record;

    assert_false(assigned_fault_pending(assigned));
    assert_false(assigned_reads(assigned, i, iova));
    record = first_record(assigned);
    assert_int_equal(read64(&assigned->guest.machine, record), iova & ~UINT64_C(0xfff));
    assert_int_equal(read64(&assigned->guest.machine, record + 8) & VTD_FRCD_T1, VTD_FRCD_T1);
    assigned_told(assigned, i, reason);
    assert_false(assigned_fault_pending(assigned));
}

/* Descriptors (VT-d 5.0, 6.5.2) */

static void submit(struct assigned *assigned, uint64_t type, unsigned int granularity,
                   uint64_t fields, uint64_t pages)
{
    machine_submit(&assigned->guest.machine, type | (uint64_t)granularity << 4 | fields, pages);
    assert_int_equal(read32(&assigned->guest.machine, VTD_FSTS) & (uint32_t)VTD_FSTS_IQE, 0);
}

void assigned_wait(struct assigned *assigned)
{
    static uint32_t status;

    submit(assigned, 5, 2, (uint64_t)++status << 32, ASSIGNED_STATUS); /* SW is bit 5 */
    assert_int_equal(load32(&assigned->guest.machine, ASSIGNED_STATUS), status);
}

void assigned_context(struct assigned *assigned, unsigned int granularity, uint16_t domain,
                      uint16_t requester_id, unsigned int function_mask)
{
    submit(assigned, 1, granularity,
           (uint64_t)domain << 16 | (uint64_t)requester_id << 32 | (uint64_t)function_mask << 48,
           0);
}

void assigned_pasid_cache(struct assigned *assigned, unsigned int granularity, uint16_t domain,
                          uint32_t pasid)
{
    submit(assigned, 7, granularity, (uint64_t)domain << 16 | (uint64_t)pasid << 32, 0);
}

void assigned_iotlb(struct assigned *assigned, unsigned int granularity, uint16_t domain,
                    uint64_t address, unsigned int mask)
{
    submit(assigned, 2, granularity, (uint64_t)domain << 16, address | mask);
}

void assigned_piotlb(struct assigned *assigned, unsigned int granularity, uint16_t domain,
                     uint32_t pasid, uint64_t address, unsigned int mask)
{
    submit(assigned, 6, granularity, (uint64_t)domain << 16 | (uint64_t)pasid << 32,
           granularity == PIOTLB_PAGES ? address | mask : 0);
}

void assigned_put(struct assigned *assigned, uint64_t *tail, uint64_t qw0, uint64_t qw1)
{
    struct machine *machine = &assigned->guest.machine;

    store64(machine, ASSIGNED_QUEUE + *tail, qw0);
    store64(machine, ASSIGNED_QUEUE + *tail + 8, qw1);
    store64(machine, ASSIGNED_QUEUE + *tail + 16, 0);
    store64(machine, ASSIGNED_QUEUE + *tail + 24, 0);
    *tail = (*tail + 32) % 8192;
}

void assigned_batch(struct assigned *assigned, unsigned int count, uint64_t iova)
{
    struct machine *machine = &assigned->guest.machine;
    uint64_t tail = read64(machine, VTD_IQT);

    for (unsigned int i = 0; i < count; i++)
        assigned_put(assigned, &tail, 6 | PIOTLB_PAGES << 4 | GUEST_DOMAIN << 16,
                     iova + i * 0x1000);
    assigned_put(assigned, &tail, 5 | 2 << 4 | UINT64_C(0x77770000) << 32, ASSIGNED_STATUS);
    write64(machine, VTD_IQT, tail);
    assert_int_equal(load32(machine, ASSIGNED_STATUS), 0x77770000);
}

/* Tables */

uint64_t assigned_first_stage(struct assigned *assigned, uint64_t iova, uint64_t gpa)
{
    uint64_t root = guest_page(&assigned->guest);

    guest_map(&assigned->guest, root, 4, iova, 1, gpa | FS_ALL, FS_ALL);
    return root;
}

void assigned_bind(struct assigned *assigned, unsigned int i, uint32_t pasid, uint64_t root,
                   uint16_t domain)
{
    guest_scalable(&assigned->guest, i, pasid ? UINT64_C(1) << 3 : 0); /* PASIDE */
    guest_pasid(&assigned->guest, pasid, PASID_PGTT(1), domain | PASID_PWSNP, root);
}

uint64_t assigned_second_stage(struct assigned *assigned, uint64_t iova, uint64_t gpa)
{
    uint64_t root = guest_page(&assigned->guest);

    guest_map(&assigned->guest, root, 4, iova, 1, gpa | SS_RW, SS_RW);
    return root;
}

void assigned_set_page(struct assigned *assigned, uint64_t root, unsigned int levels,
                       uint64_t value)
{
    store64(&assigned->guest.machine, guest_entry(&assigned->guest, root, levels, GUEST_IOVA, 1),
            value);
}

uint64_t assigned_start_nested(struct assigned *assigned, const char *properties)
{
    uint64_t root;

    assigned_create(assigned, NULL, properties);
    assigned_attach(assigned, 0);
    root = assigned_first_stage(assigned, GUEST_IOVA, PAGE_A);
    assigned_bind(assigned, 0, 0, root, GUEST_DOMAIN);
    guest_on(&assigned->guest, TTM_SCALABLE);
    assigned_calm(assigned);
    return root;
}

uint64_t assigned_second_stage_of_tables(struct assigned *assigned)
{
    uint64_t root = assigned_second_stage(assigned, PAGE_B, PAGE_B);

    for (uint64_t gpa = GUEST_POOL; gpa < GUEST_POOL + 0x30000; gpa += 0x1000)
        guest_map(&assigned->guest, root, 4, gpa, 1, gpa | SS_RW, SS_RW);
    return root;
}

void assigned_start_twice_nested(struct assigned *assigned, const char *properties, uint64_t *first,
                                 uint64_t *second)
{
    char all[128];

    snprintf(all, sizeof(all), "second-stage=on,nested=on,%s", properties);
    assigned_create(assigned, NULL, all);
    assigned_attach(assigned, 0);
    *first = assigned_first_stage(assigned, GUEST_IOVA, PAGE_A);
    *second = assigned_second_stage_of_tables(assigned);
    guest_map(&assigned->guest, *second, 4, PAGE_A, 1, PAGE_A | SS_RW, SS_RW);
    guest_scalable(&assigned->guest, 0, UINT64_C(1) << 3); /* PASIDE */
    guest_pasid(&assigned->guest, 0, PASID_PGTT(3) | PASID_AW(2) | *second,
                GUEST_DOMAIN | PASID_PWSNP, *first);
    guest_on(&assigned->guest, TTM_SCALABLE);
    assigned_calm(assigned);
}

uint64_t assigned_start_shadowed(struct assigned *assigned, const char *properties)
{
    uint64_t root;

    assigned_create(assigned, NULL, properties);
    assigned_attach(assigned, 0);
    root = assigned_second_stage(assigned, GUEST_IOVA, PAGE_A);
    guest_legacy(&assigned->guest, 0, 0, 2, root);
    guest_on(&assigned->guest, TTM_LEGACY);
    assigned_calm(assigned);
    return root;
}
