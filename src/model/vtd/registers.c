/* SPDX-License-Identifier: MIT */
/*
 * The register table, and MMIO on it. Software uses aligned accesses of 4 bytes, or of 8 bytes to
 * 64-bit registers or two adjoining 32-bit ones (VT-d 5.0, 11.2); others are ignored and read as 0,
 * as is what no register occupies.
 */
#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

struct vtd_register {
    uint16_t offset;
    uint8_t size;      /* 4 or 8 */
    bool haw;          /* an address: bits beyond the host address width are reserved */
    uint64_t writable; /* bits that software sets and clears */
    uint64_t clear;    /* bits that software clears by writing 1 */
    uint64_t scalable; /* of these: reserved without scalable mode */
    uint64_t eim;      /* of these: reserved without extended interrupt mode */
    uint64_t cap;      /* not there when CAP_REG lacks one of these */
    uint64_t ecap;     /* not there when ECAP_REG lacks one of these */
    /* Called when the bits of `trigger` were written (0: any), after the store. value is the
     * register; for a register without writable bits, what was written. */
    uint64_t trigger;
    void (*written)(struct vtd *vtd, uint64_t value);
};

static void fault_status_written(struct vtd *vtd, uint64_t value)
{
    (void)value;
    vtd_fault_update(vtd);
    /* VT-d 5.0, 6.5.2.11: with the error cleared, fetching goes on. */
    vtd_queue_run(vtd);
}

static void fault_record_written(struct vtd *vtd, uint64_t value)
{
    (void)value;
    vtd_fault_update(vtd);
}

static void fault_control_written(struct vtd *vtd, uint64_t value)
{
    (void)value;
    vtd_event_update(vtd, VTD_EVENT_FAULT);
}

static void invalidation_event_written(struct vtd *vtd, uint64_t value)
{
    (void)value;
    vtd_event_update(vtd, VTD_EVENT_INVALIDATION);
}

static void page_event_written(struct vtd *vtd, uint64_t value)
{
    (void)value;
    vtd_event_update(vtd, VTD_EVENT_PAGE_REQUEST);
}

static void tail_written(struct vtd *vtd, uint64_t value)
{
    (void)value;
    vtd_queue_run(vtd);
}

#define EVENT_DATA    GENMASK64(31, 0)
#define EVENT_WIDE    GENMASK64(31, 16)
#define EVENT_ADDRESS GENMASK64(31, 2)
#define EVENT_UPPER   GENMASK64(31, 0)

/* Registers that software can write; all others only hold what reset and the unit put there. */
static const struct vtd_register registers[] = {
    {VTD_GCMD, 4, .written = vtd_command_global},
    {VTD_RTADDR, 8, .haw = true, .writable = VTD_RTADDR_RTA | VTD_RTADDR_TTM,
     .scalable = VTD_RTADDR_TTM},
    {VTD_CCMD, 8,
     .writable = VTD_CCMD_ICC | VTD_CCMD_CIRG | VTD_CCMD_FM | VTD_CCMD_SID | VTD_CCMD_DID,
     .trigger = VTD_CCMD_ICC, .written = vtd_command_context},
    {VTD_FSTS, 4, .clear = VTD_FSTS_PFO | VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE,
     .written = fault_status_written},
    {VTD_FECTL, 4, .writable = VTD_ECTL_IM, .written = fault_control_written},
    {VTD_FEDATA, 4, .writable = EVENT_DATA, .eim = EVENT_WIDE},
    {VTD_FEADDR, 4, .writable = EVENT_ADDRESS},
    {VTD_FEUADDR, 4, .writable = EVENT_UPPER},
    {VTD_PMEN, 4, .writable = VTD_PMEN_EPM, .cap = VTD_CAP_PLMR, .written = vtd_protect_written},
    {VTD_PLMBASE, 4, .writable = VTD_PROTECTED_LOW, .cap = VTD_CAP_PLMR},
    {VTD_PLMLIMIT, 4, .writable = VTD_PROTECTED_LOW, .cap = VTD_CAP_PLMR},
    {VTD_PHMBASE, 8, .haw = true, .writable = VTD_PROTECTED_HIGH, .cap = VTD_CAP_PHMR},
    {VTD_PHMLIMIT, 8, .haw = true, .writable = VTD_PROTECTED_HIGH, .cap = VTD_CAP_PHMR},
    {VTD_IQT, 8, .writable = VTD_IQT_QT, .trigger = VTD_IQT_QT, .written = tail_written},
    {VTD_IQA, 8, .haw = true, .writable = VTD_IQA_IQA | VTD_IQA_DW | VTD_IQA_QS},
    {VTD_ICS, 4, .clear = VTD_ICS_IWC, .written = invalidation_event_written},
    {VTD_IECTL, 4, .writable = VTD_ECTL_IM, .written = invalidation_event_written},
    {VTD_IEDATA, 4, .writable = EVENT_DATA, .eim = EVENT_WIDE},
    {VTD_IEADDR, 4, .writable = EVENT_ADDRESS},
    {VTD_IEUADDR, 4, .writable = EVENT_UPPER},
    {VTD_IRTA, 8, .haw = true, .writable = VTD_IRTA_IRTA | VTD_IRTA_EIME | VTD_IRTA_S,
     .eim = VTD_IRTA_EIME, .ecap = VTD_ECAP_IR},
    {VTD_PQH, 8, .writable = VTD_PQH_PQH, .ecap = VTD_ECAP_PRS},
    {VTD_PQT, 8, .writable = VTD_PQH_PQH, .ecap = VTD_ECAP_PRS},
    {VTD_PQA, 8, .haw = true, .writable = VTD_PQA_PQA | VTD_PQA_PQS, .ecap = VTD_ECAP_PRS},
    {VTD_PRS, 4, .clear = VTD_PRS_EVENTS, .written = page_event_written, .ecap = VTD_ECAP_PRS},
    {VTD_PECTL, 4, .writable = VTD_ECTL_IM, .written = page_event_written, .ecap = VTD_ECAP_PRS},
    {VTD_PEDATA, 4, .writable = EVENT_DATA, .eim = EVENT_WIDE, .ecap = VTD_ECAP_PRS},
    {VTD_PEADDR, 4, .writable = EVENT_ADDRESS, .ecap = VTD_ECAP_PRS},
    {VTD_PEUADDR, 4, .writable = EVENT_UPPER, .ecap = VTD_ECAP_PRS},
    {VTD_IVA, 8, .writable = VTD_IVA_ADDR | VTD_IVA_IH | VTD_IVA_AM},
    {VTD_IOTLB, 8,
     .writable = VTD_IOTLB_IVT | VTD_IOTLB_IIRG | VTD_IOTLB_DR | VTD_IOTLB_DW | VTD_IOTLB_DID,
     .trigger = VTD_IOTLB_IVT, .written = vtd_command_iotlb},
};

/* The upper half of a fault record; software only clears its F. */
static const struct vtd_register fault_record = {
    .size = 8, .clear = VTD_FRCD_F, .trigger = VTD_FRCD_F, .written = fault_record_written};

static uint64_t load(const struct vtd *vtd, unsigned int offset)
{
    return __atomic_load_n(&vtd->registers[offset / 8], __ATOMIC_ACQUIRE);
}

/* Bits that a 32-bit register is shifted by within its 64-bit word. */
static unsigned int lane(unsigned int offset)
{
    return offset & 4 ? 32 : 0;
}

/* Returns the word as it was. */
static uint64_t change(struct vtd *vtd, unsigned int offset, uint64_t clear, uint64_t set)
{
    uint64_t *word = &vtd->registers[offset / 8];
    uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(word, &old, (old & ~clear) | set, true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
        continue;
    return old;
}

uint32_t vtd_get32(const struct vtd *vtd, unsigned int offset)
{
    return (uint32_t)(load(vtd, offset) >> lane(offset));
}

uint64_t vtd_get64(const struct vtd *vtd, unsigned int offset)
{
    return load(vtd, offset);
}

uint32_t vtd_change32(struct vtd *vtd, unsigned int offset, uint32_t clear, uint32_t set)
{
    unsigned int shift = lane(offset);

    return (uint32_t)(change(vtd, offset, (uint64_t)clear << shift, (uint64_t)set << shift) >>
                      shift);
}

void vtd_set32(struct vtd *vtd, unsigned int offset, uint32_t value)
{
    vtd_change32(vtd, offset, UINT32_MAX, value);
}

void vtd_set64(struct vtd *vtd, unsigned int offset, uint64_t value)
{
    __atomic_store_n(&vtd->registers[offset / 8], value, __ATOMIC_RELEASE);
}

void vtd_registers_reset(struct vtd *vtd)
{
    for (unsigned int offset = 0; offset < VTD_MMIO_SIZE_MAX; offset += 8)
        vtd_set64(vtd, offset, 0);
    vtd_set32(vtd, VTD_VER, VTD_VER_VALUE);
    vtd_set64(vtd, VTD_CAP, vtd->cap);
    vtd_set64(vtd, VTD_ECAP, vtd->ecap);
    vtd_set32(vtd, VTD_FECTL, VTD_ECTL_IM);
    vtd_set32(vtd, VTD_IECTL, VTD_ECTL_IM);
    if (vtd->ecap & VTD_ECAP_PRS)
        vtd_set32(vtd, VTD_PECTL, VTD_ECTL_IM);
}

static bool allowed(const struct vtd *vtd, uint64_t offset, unsigned int size)
{
    return (size == 4 || size == 8) && is_aligned(offset, size) &&
           offset < vtd_options_mmio_size(&vtd->options);
}

uint64_t vtd_mmio_read(struct viommu *viommu, uint64_t offset, unsigned int size)
{
    const struct vtd *vtd = vtd_of(viommu);

    if (!allowed(vtd, offset, size))
        return 0;
    return size == 8 ? vtd_get64(vtd, (unsigned int)offset) : vtd_get32(vtd, (unsigned int)offset);
}

/* The register that the bytes at offset belong to, or NULL. */
static const struct vtd_register *find(const struct vtd *vtd, unsigned int offset)
{
    for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
        if (offset - registers[i].offset < registers[i].size && !(registers[i].cap & ~vtd->cap) &&
            !(registers[i].ecap & ~vtd->ecap))
            return &registers[i];
    if (offset - VTD_FRCD < vtd->options.fault_records * (unsigned int)VTD_FRCD_SIZE &&
        offset % VTD_FRCD_SIZE >= 8)
        return &fault_record;
    return NULL;
}

static uint64_t writable_bits(const struct vtd *vtd, const struct vtd_register *reg)
{
    uint64_t bits = reg->writable;

    if (!vtd->options.scalable)
        bits &= ~reg->scalable;
    if (!vtd->options.extended_interrupts)
        bits &= ~reg->eim;
    if (reg->haw)
        bits &= low_bits(vtd->options.host_address_width);
    return bits;
}

/* offset and size lie within reg; value holds the written bytes in its low bits. */
static void store(struct vtd *vtd, const struct vtd_register *reg, unsigned int offset,
                  unsigned int size, uint64_t value)
{
    /* Where the access lies within the word, and where it lies within the register. */
    unsigned int word_shift = lane(offset);
    unsigned int shift = reg->size == 8 ? word_shift : 0;
    uint64_t touched = low_bits(size * 8) << shift;
    uint64_t written = value << shift;
    uint64_t writable = writable_bits(vtd, reg) & touched;
    uint64_t cleared = reg->clear & touched & written;
    unsigned int up = word_shift - shift;

    if (writable | cleared)
        change(vtd, offset, (writable | cleared) << up, (written & writable) << up);
    if (!reg->written || (reg->trigger && !(reg->trigger & touched)))
        return;
    reg->written(vtd,
                 reg->writable ? (load(vtd, offset) >> up) & low_bits(reg->size * 8) : written);
}

static void write(struct vtd *vtd, unsigned int offset, unsigned int size, uint64_t value)
{
    const struct vtd_register *reg = find(vtd, offset);

    if (size == 8 && (!reg || reg->size == 4)) {
        write(vtd, offset, 4, value & UINT32_MAX);
        write(vtd, offset + 4, 4, value >> 32);
    } else if (reg) {
        store(vtd, reg, offset, size, value & low_bits(size * 8));
    }
}

void vtd_mmio_write(struct viommu *viommu, uint64_t offset, unsigned int size, uint64_t value)
{
    struct vtd *vtd = vtd_of(viommu);

    if (!allowed(vtd, offset, size))
        return;
    pthread_mutex_lock(&vtd->lock);
    vtd_work_refill(vtd);
    write(vtd, (unsigned int)offset, size, value);
    pthread_mutex_unlock(&vtd->lock);
}
