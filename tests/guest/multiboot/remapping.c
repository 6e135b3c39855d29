/* SPDX-License-Identifier: MIT */
/*
 * Interrupt remapping and posting (VT-d 5.0, chapter 5; 9.9 to 9.11), with an edu that raises its
 * MSI. No Linux of Debian posts interrupts in a guest. The checks build upon each other.
 */
#include "bare.h"

#define MESSAGE           0xfee00000u
#define MESSAGE_OF(index) (MESSAGE | (index) << 5 | 1u << 4) /* remappable format */

#define VECTOR_PLAIN  0x41u
#define VECTOR_FIRST  0x51u
#define VECTOR_SECOND 0x52u

#define ENTRY_PRESENT   1ull
#define ENTRY_POSTED    (1ull << 15)
#define ENTRY_URGENT    (1ull << 14)
#define ENTRY_VECTOR(n) ((uint64_t)(n) << 16)
#define ENTRY_VERIFY    (1ull << 18) /* second half: SVT, the whole requester ID */
#define TABLE_SIZE      7u           /* 2^(7+1) entries */

#define FAULT_NOT_PRESENT   0x22u
#define FAULT_COMPATIBILITY 0x25u
#define FAULT_SOURCE        0x26u
#define FAULT_DESCRIPTOR    0x28u

#define INVALIDATE_ENTRIES 4ull
#define INVALIDATE_ONE     (1ull << 4)

static struct {
    uint64_t low, high;
} entries[256] __attribute__((aligned(4096))), queue[256] __attribute__((aligned(4096)));

/* Posted-interrupt descriptor: a bit for each vector, and what the unit does when it sets one. */
static struct {
    uint32_t requests[8];
    uint32_t control;
    uint32_t destination;
    uint32_t reserved[6];
} descriptor __attribute__((aligned(64)));

#define CONTROL_ON    1u /* notified, and nobody has looked yet */
#define CONTROL_SN    2u /* only what is urgent is notified */
#define NOTIFICATION  0x61u
#define NOTHING       256u
#define CONTROL_PLAIN (NOTIFICATION << 16)

/* The edu raises its interrupt: this vector comes, so often, and no other. */
static bool brings(uint32_t vector, uint32_t times)
{
    uint32_t others, count;

    edu_interrupt();
    count = apic_taken(vector, &others);
    return same("how often the vector came", count, times) && same("other vectors", others, 0);
}

static bool no_fault(void)
{
    return same("FSTS", read32(VTD + VTD_FSTS) & 3, 0);
}

/* Nothing comes, and a record says why; of which entry is in the upper bits. */
static bool is_blocked(uint32_t reason, uint32_t index)
{
    struct vtd_fault fault;

    return brings(0, 0) && vtd_take_fault(&fault) && same("the reason", fault.reason, reason) &&
           same("the requester", fault.requester, edu_devfn) &&
           same("the index", fault.info >> 48, index);
}

/* One descriptor by the queue; false when the unit does not get to its end. */
static bool submit(uint64_t low)
{
    uint32_t tail = read32(VTD + VTD_IQT);

    queue[tail / 16].low = low;
    queue[tail / 16].high = 0;
    tail = (tail + 16) % sizeof(queue);
    write32(VTD + VTD_IQT, tail);
    return same("IQH", read32(VTD + VTD_IQH), tail) && no_fault();
}

static bool entry_is(uint32_t index, uint64_t low, uint64_t high)
{
    entries[index].low = 0;
    entries[index].high = high;
    entries[index].low = low;
    return submit(INVALIDATE_ENTRIES | INVALIDATE_ONE | (uint64_t)index << 32);
}

static bool remaps_to(uint32_t index, uint32_t vector)
{
    return entry_is(index, ENTRY_PRESENT | ENTRY_VECTOR(vector), 0);
}

static bool posts_to(uint32_t index, uint32_t vector, uint64_t flags)
{
    return entry_is(index,
                    (uint64_t)(uint32_t)&descriptor << 32 | ENTRY_PRESENT | ENTRY_POSTED |
                        ENTRY_VECTOR(vector) | flags,
                    ENTRY_VERIFY | edu_devfn);
}

/* ---- Remapping */

static bool plain_message_arrives(void)
{
    apic_on();
    edu_msi(MESSAGE, VECTOR_PLAIN);
    return brings(VECTOR_PLAIN, 1) && brings(VECTOR_PLAIN, 1);
}

static bool goes_on(void)
{
    vtd_write_halves(VTD_IQA, (uint32_t)queue);
    vtd_write_halves(VTD_IRTA, (uint32_t)entries | TABLE_SIZE);
    return holds("GSTS.QIES", vtd_command(VTD_GCMD_QIE, true)) &&
           holds("GSTS.IRTPS", vtd_command(VTD_GCMD_IRP, true)) &&
           holds("GSTS.IRES", vtd_command(VTD_GCMD_IRE, true));
}

static bool plain_message_is_blocked(void)
{
    return is_blocked(FAULT_COMPATIBILITY, 0);
}

/* CFI is a level: GSTS follows, and so do messages. */
static bool plain_message_passes_with_cfi(void)
{
    return holds("GSTS.CFIS", vtd_command(VTD_GCMD_CFI, true)) && brings(VECTOR_PLAIN, 1) &&
           no_fault() && holds("GSTS.CFIS", vtd_command(VTD_GCMD_CFI, false)) &&
           is_blocked(FAULT_COMPATIBILITY, 0);
}

static bool absent_entry_blocks(void)
{
    edu_msi(MESSAGE_OF(3), 0);
    return is_blocked(FAULT_NOT_PRESENT, 3);
}

static bool entry_gives_the_vector(void)
{
    return remaps_to(3, VECTOR_FIRST) && brings(VECTOR_FIRST, 1) && no_fault();
}

static bool changed_entry_is_followed(void)
{
    return remaps_to(3, VECTOR_SECOND) && brings(VECTOR_SECOND, 1) && no_fault();
}

static bool another_source_is_blocked(void)
{
    return entry_is(3, ENTRY_PRESENT | ENTRY_VECTOR(VECTOR_FIRST),
                    ENTRY_VERIFY | (edu_devfn + 8)) &&
           is_blocked(FAULT_SOURCE, 3) &&
           entry_is(3, ENTRY_PRESENT | ENTRY_VECTOR(VECTOR_FIRST), ENTRY_VERIFY | edu_devfn) &&
           brings(VECTOR_FIRST, 1) && no_fault();
}

/* ---- Posting */

/* These bits are set, no others, and the control word is so; then the bits are cleared. */
static bool posted(uint32_t vector, uint32_t other, uint32_t control)
{
    bool good = same("the control word", descriptor.control, control);

    for (uint32_t i = 0; i < 8; i++) {
        uint32_t wanted = 0;

        wanted |= vector / 32 == i ? 1u << vector % 32 : 0;
        wanted |= other / 32 == i ? 1u << other % 32 : 0;
        good &= same("requests", descriptor.requests[i], wanted);
        descriptor.requests[i] = 0;
    }
    return good && no_fault();
}

static bool notification_comes(void)
{
    descriptor.control = CONTROL_PLAIN;
    return posts_to(3, 0x33, 0) && brings(NOTIFICATION, 1) &&
           posted(0x33, 0x33, CONTROL_PLAIN | CONTROL_ON);
}

/* Of two entries with one descriptor, while ON is set: bits only. */
static bool requests_coalesce(void)
{
    bool good = brings(NOTIFICATION, 0);

    edu_msi(MESSAGE_OF(4), 0);
    return good && posts_to(4, 0xe7, 0) && brings(NOTIFICATION, 0) &&
           posted(0x33, 0xe7, CONTROL_PLAIN | CONTROL_ON);
}

static bool cleared_descriptor_notifies_again(void)
{
    descriptor.control = CONTROL_PLAIN;
    return brings(NOTIFICATION, 1) && posted(0xe7, 0xe7, CONTROL_PLAIN | CONTROL_ON);
}

static bool suppressed_only_posts(void)
{
    descriptor.control = CONTROL_PLAIN | CONTROL_SN;
    return brings(NOTIFICATION, 0) && posted(0xe7, 0xe7, CONTROL_PLAIN | CONTROL_SN);
}

static bool urgent_notifies_all_the_same(void)
{
    descriptor.control = CONTROL_PLAIN | CONTROL_SN;
    return posts_to(4, 0xe7, ENTRY_URGENT) && brings(NOTIFICATION, 1) &&
           posted(0xe7, 0xe7, CONTROL_PLAIN | CONTROL_SN | CONTROL_ON);
}

static bool reserved_bits_block(void)
{
    bool good;

    descriptor.control = CONTROL_PLAIN;
    descriptor.reserved[5] = 1;
    good = is_blocked(FAULT_DESCRIPTOR, 4) && posted(NOTHING, NOTHING, CONTROL_PLAIN);
    descriptor.reserved[5] = 0;
    return good && brings(NOTIFICATION, 1);
}

static bool remapped_again(void)
{
    return remaps_to(4, VECTOR_SECOND) && brings(VECTOR_SECOND, 1) && no_fault();
}

static bool goes_off(void)
{
    edu_msi(MESSAGE, VECTOR_PLAIN);
    return holds("GSTS.IRES", vtd_command(VTD_GCMD_IRE, false)) && brings(VECTOR_PLAIN, 1) &&
           holds("GSTS.QIES", vtd_command(VTD_GCMD_QIE, false));
}

static bool can_post(void)
{
    return same("CAP.PI", vtd_read_halves(VTD_CAP) >> 59 & 1, 1);
}

static bool wants_posting(void)
{
    return option("posting");
}

static const struct check checks[] = {
    {"remapping: off, messages arrive as they are", plain_message_arrives, NULL},
    {"remapping: it goes on", goes_on, NULL},
    {"remapping: the compatibility format is blocked", plain_message_is_blocked, NULL},
    {"remapping: CFI lets it pass", plain_message_passes_with_cfi, NULL},
    {"remapping: an absent entry blocks", absent_entry_blocks, NULL},
    {"remapping: the entry gives the vector", entry_gives_the_vector, NULL},
    {"remapping: a changed entry is followed", changed_entry_is_followed, NULL},
    {"remapping: another source is blocked", another_source_is_blocked, NULL},
    {"posting: the unit has it", can_post, wants_posting},
    {"posting: a request sets its bit and notifies", notification_comes, wants_posting},
    {"posting: requests coalesce while nobody has looked", requests_coalesce, wants_posting},
    {"posting: cleared, it notifies again", cleared_descriptor_notifies_again, wants_posting},
    {"posting: suppressed, it sets bits alone", suppressed_only_posts, wants_posting},
    {"posting: what is urgent notifies all the same", urgent_notifies_all_the_same, wants_posting},
    {"posting: reserved bits of the descriptor block", reserved_bits_block, wants_posting},
    {"posting: the entry remaps again", remapped_again, wants_posting},
    {"remapping: it goes off", goes_off, NULL},
};

void remapping_checks(void)
{
    RUN(checks);
}
