/* SPDX-License-Identifier: MIT */
#include "scripted_guest.h"

#include <string.h>

/* Registers and bits of VT-d 5.0, chapter 11. */
enum {
    REG_CAP = 0x08,
    REG_GCMD = 0x18,
    REG_RTADDR = 0x20,
    REG_IQT = 0x88,
    REG_IQA = 0x90,
    REG_FSTS = 0x34,
};
#define GCMD_TE      (UINT32_C(1) << 31)
#define GCMD_SRTP    (UINT32_C(1) << 30)
#define GCMD_QIE     (UINT32_C(1) << 26)
#define RTADDR_SMT   (UINT64_C(1) << 10)
#define IQA_DW       (UINT64_C(1) << 11) /* 256-bit descriptors, as scalable mode demands */
#define FAULT_RECORD (UINT64_C(1) << 63)

/* Page walks snoop, so accessed bits may be set (VT-d 5.0, 9.6). */
#define PASID_PWSNP UINT64_C(0x800000)

/* Paging entries of the first stage (VT-d 5.0, 9.8). */
#define FS_PRESENT_WRITE_USER UINT64_C(7)

static uint64_t *quad(struct scripted_guest *guest, uint64_t gpa)
{
    return (uint64_t *)(guest->ram + gpa);
}

static void submit(struct scripted_guest *guest, uint64_t low, uint64_t high)
{
    uint64_t *descriptor = quad(guest, GUEST_QUEUE + guest->queue_tail);

    descriptor[0] = low;
    descriptor[1] = high;
    guest->queue_tail = (guest->queue_tail + 32) % 4096;
    viommu_mmio_write(guest->unit, REG_IQT, 8, guest->queue_tail);
}

/* A wait descriptor with status write (VT-d 5.0, 6.5.2.8): work before it is done when its data
 * arrives. */
static bool submit_wait(struct scripted_guest *guest)
{
    uint32_t number = ++guest->waits;

    submit(guest, 5 | 1 << 5 | (uint64_t)number << 32, GUEST_STATUS);
    return *(volatile uint32_t *)quad(guest, GUEST_STATUS) == number;
}

static void write_tables(struct scripted_guest *guest, uint8_t devfn)
{
    quad(guest, GUEST_ROOT)[0] = GUEST_CONTEXT | 1;
    quad(guest, GUEST_CONTEXT)[4 * devfn] = GUEST_PASID_DIRECTORY | 1;
    quad(guest, GUEST_PASID_DIRECTORY)[0] = GUEST_PASID_TABLE | 1;
    quad(guest, GUEST_PASID_TABLE)[1] = GUEST_DOMAIN | PASID_PWSNP;
    quad(guest, GUEST_PASID_TABLE)[2] = GUEST_LEVEL4;
    quad(guest, GUEST_PASID_TABLE)[0] = 1 << 6 | 1; /* first stage, present */
    quad(guest, GUEST_LEVEL4)[0] = GUEST_LEVEL3 | FS_PRESENT_WRITE_USER;
    quad(guest, GUEST_LEVEL3)[0] = GUEST_LEVEL2 | FS_PRESENT_WRITE_USER;
    quad(guest, GUEST_LEVEL2)[0] = GUEST_LEVEL1 | FS_PRESENT_WRITE_USER;
}

void scripted_guest_boot(struct scripted_guest *guest, uint8_t devfn)
{
    write_tables(guest, devfn);
    viommu_mmio_write(guest->unit, REG_IQA, 8, GUEST_QUEUE | IQA_DW);
    viommu_mmio_write(guest->unit, REG_GCMD, 4, GCMD_QIE);
    viommu_mmio_write(guest->unit, REG_RTADDR, 8, GUEST_ROOT | RTADDR_SMT);
    viommu_mmio_write(guest->unit, REG_GCMD, 4, GCMD_QIE | GCMD_SRTP);
    viommu_mmio_write(guest->unit, REG_GCMD, 4, GCMD_QIE | GCMD_TE);
}

void scripted_guest_map(struct scripted_guest *guest, uint64_t iova, uint64_t gpa)
{
    quad(guest, GUEST_LEVEL1)[iova >> 12] = gpa ? gpa | FS_PRESENT_WRITE_USER : 0;
}

bool scripted_guest_invalidate_page(struct scripted_guest *guest, uint64_t iova)
{
    submit(guest, 6 | 3 << 4 | (uint64_t)GUEST_DOMAIN << 16, iova);
    return submit_wait(guest);
}

struct scripted_fault scripted_guest_take_fault(struct scripted_guest *guest)
{
    uint64_t cap = viommu_mmio_read(guest->unit, REG_CAP, 8);
    uint64_t record = ((cap >> 24) & 0x3ff) * 16; /* CAP.FRO */
    uint64_t low = viommu_mmio_read(guest->unit, record, 8);
    uint64_t high = viommu_mmio_read(guest->unit, record + 8, 8);
    struct scripted_fault fault = {
        .present = high & FAULT_RECORD,
        .address = low & ~UINT64_C(0xfff),
        .requester_id = (uint16_t)high,
        .reason = (uint8_t)(high >> 32),
        .write = !(high & UINT64_C(1) << 62),
    };

    viommu_mmio_write(guest->unit, record + 8, 8, high & FAULT_RECORD);
    return fault;
}
