/* SPDX-License-Identifier: MIT */
/* One interrupt request, by the model and by the oracle. */
#include <string.h>

#include "oracle_interrupt.h"
#include "world.h"

/* As viommu/interrupt.h describes the message: DST 31:8 in bits 63:40 of the address. */
static void compose(const struct oracle_message *message, const struct oracle_delivery *delivery,
                    struct viommu_interrupt *out)
{
    memset(out, 0, sizeof(*out));
    out->outcome = (enum viommu_interrupt_outcome)delivery->outcome;
    out->reason = delivery->reason;
    out->index = delivery->index;
    if (delivery->outcome == ORACLE_PASSED) {
        out->address = message->address;
        out->data = message->data;
    }
    if (delivery->outcome != ORACLE_REMAPPED && delivery->outcome != ORACLE_NOTIFIED)
        return;
    out->destination = delivery->destination;
    out->vector = delivery->vector;
    out->delivery_mode = delivery->mode;
    out->logical = delivery->logical;
    out->redirection_hint = delivery->hint;
    out->level = delivery->level;
    out->address = 0xfee00000 + (delivery->destination % 256) * 0x1000 +
                   (uint64_t)(delivery->destination / 256) * (UINT64_C(1) << 40) +
                   (delivery->hint ? 8 : 0) + (delivery->logical ? 4 : 0);
    out->data =
        delivery->vector + delivery->mode * 0x100u + 0x4000 + (delivery->level ? 0x8000 : 0);
}

static bool same(const struct viommu_interrupt *a, const struct viommu_interrupt *b)
{
    return a->outcome == b->outcome && a->address == b->address && a->data == b->data &&
           a->destination == b->destination && a->vector == b->vector &&
           a->delivery_mode == b->delivery_mode && a->logical == b->logical &&
           a->redirection_hint == b->redirection_hint && a->level == b->level &&
           a->index == b->index && a->reason == b->reason;
}

static bool check_delivery(struct world *world, const struct viommu_interrupt *out,
                           const struct viommu_interrupt *expected)
{
    if (same(out, expected))
        return true;
    return world_disagree(
        world,
        "interrupt: outcome %d reason 0x%02x index %u, %llx %x; the oracle says outcome %d reason "
        "0x%02x index %u, %llx %x",
        out->outcome, out->reason, out->index, (unsigned long long)out->address, out->data,
        expected->outcome, expected->reason, expected->index, (unsigned long long)expected->address,
        expected->data);
}

/* 64 bytes of the posted-interrupt descriptor. */
static bool check_posted(struct world *world, uint64_t gpa)
{
    if (!gpa || !memcmp(world_at(world, gpa), oracle_memory(&world->oracle, gpa, 64, NULL), 64))
        return true;
    return world_disagree(world, "the descriptor at 0x%llx is not what the oracle makes of it",
                          (unsigned long long)gpa);
}

static bool check_fault(struct world *world, const struct oracle_message *message,
                        const struct oracle_delivery *delivery)
{
    const struct oracle_request request = {.requester = message->requester,
                                           .pasid = ORACLE_NO_PASID};

    if (!delivery->reason || message->lookup ||
        (delivery->fault_disable && oracle_qualified(delivery->reason)))
        return world_no_fault(world);
    return world_check_fault(world, oracle_record(&world->oracle, &request, delivery->reason),
                             (uint64_t)delivery->index << 48);
}

/* A descriptor that lies in a table is only looked up: posting would change the table. */
bool world_interrupt(struct world *world, const struct op *op)
{
    struct oracle_message message = {.requester = (uint16_t)op->arg[0],
                                     .address = op->arg[1],
                                     .data = (uint32_t)op->arg[2],
                                     .ioapic = op->arg[3] & VIOMMU_INTERRUPT_IOAPIC,
                                     .lookup = true};
    struct viommu_interrupt_request request = {.address = message.address,
                                               .data = message.data,
                                               .requester_id = message.requester,
                                               .flags = op->arg[3] & VIOMMU_INTERRUPT_IOAPIC};
    struct viommu_interrupt out, expected;
    struct oracle_delivery delivery;

    oracle_interrupt(&world->oracle, &message, &delivery);
    message.lookup = op->arg[3] & VIOMMU_INTERRUPT_LOOKUP || !world_is_settled(world) ||
                     (delivery.descriptor && !world_may_write(world, delivery.descriptor));
    if (message.lookup)
        request.flags |= VIOMMU_INTERRUPT_LOOKUP;
    world->requests++;
    world_clear_faults(world);
    viommu_interrupt_remap(world->unit, &request, &out);
    if (!world_is_settled(world))
        return true;
    oracle_interrupt(&world->oracle, &message, &delivery);
    compose(&message, &delivery, &expected);
    world->compared++;
    return check_delivery(world, &out, &expected) && check_posted(world, delivery.descriptor) &&
           check_fault(world, &message, &delivery);
}
