/* SPDX-License-Identifier: MIT */
#include "platform.h"
#include "vmm.h"

#define SLEEP_ENABLE     0x20u
#define SLEEP_TYPE_SHIFT 2
#define SLEEP_TYPE_MASK  7u

#define KEYBOARD_PULSE_RESET 0xfeu

static uint64_t read_zero(void *opaque, uint64_t offset, unsigned int size)
{
    (void)opaque, (void)offset, (void)size;
    return 0;
}

static uint64_t read_ones(void *opaque, uint64_t offset, unsigned int size)
{
    (void)opaque, (void)offset, (void)size;
    return UINT64_MAX;
}

static void write_sleep(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    (void)size;
    if (offset == 0 && (value & SLEEP_ENABLE) &&
        ((value >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK) == VMM_SLEEP_TYPE_S5)
        vmm_stop(opaque, VMM_STOP_POWER_OFF, 0);
}

static void write_reset(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    (void)offset, (void)size;
    if (value == VMM_RESET_VALUE)
        vmm_stop(opaque, VMM_STOP_RESET, 0);
}

static void write_keyboard(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    (void)offset, (void)size;
    if (value == KEYBOARD_PULSE_RESET)
        vmm_stop(opaque, VMM_STOP_RESET, 0);
}

static void write_debug_exit(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    (void)size;
    if (offset == 0)
        vmm_stop(opaque, VMM_STOP_DEBUG_EXIT, (int)(value & 0x7fffffff));
}

/* There is no keyboard: a status of all ones is how software finds out. */
static const struct {
    uint16_t port;
    uint16_t size;
    struct vmm_bus_ops ops;
} platform_ports[] = {
    {VMM_PORT_SLEEP_CONTROL, 2, {read_zero, write_sleep}},
    {VMM_PORT_RESET, 1, {read_zero, write_reset}},
    {VMM_PORT_KEYBOARD_CONTROL, 1, {read_ones, write_keyboard}},
    {VMM_PORT_DEBUG_EXIT, 4, {read_zero, write_debug_exit}},
};

int vmm_platform_create(struct vmm *vm)
{
    size_t i;
    int ret = 0;

    for (i = 0; i < sizeof(platform_ports) / sizeof(platform_ports[0]) && !ret; i++)
        ret = vmm_bus_add(&vm->pio, platform_ports[i].port, platform_ports[i].size,
                          &platform_ports[i].ops, vm);
    return ret;
}
