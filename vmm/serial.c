/* SPDX-License-Identifier: MIT */
/* Source for registers: National Semiconductor PC16550D data sheet, chapter 8. */
#include "serial.h"
#include "irq.h"
#include "terminal.h"
#include "vmm.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COM1_PORT 0x3f8u

enum {
    REG_DATA = 0, /* with DLAB: divisor low */
    REG_IER = 1,  /* with DLAB: divisor high */
    REG_IIR_FCR = 2,
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCRATCH = 7,
    REG_COUNT = 8,
};

#define IER_RECEIVED       0x01u
#define IER_TRANSMIT_EMPTY 0x02u
#define IIR_NONE           0x01u
#define IIR_TRANSMIT_EMPTY 0x02u
#define IIR_RECEIVED       0x04u
#define IIR_FIFO           0xc0u
#define FCR_ENABLE         0x01u
#define FCR_CLEAR_RECEIVED 0x02u
#define LCR_DLAB           0x80u
#define MCR_OUT2           0x08u
#define MCR_LOOPBACK       0x10u
#define LSR_DATA_READY     0x01u
#define LSR_TRANSMIT_IDLE  0x60u /* holding and shift register are empty */
#define MSR_LINES_UP       0xb0u /* carrier, data set ready, clear to send */

#define INPUT_SIZE  1024u
#define OUTPUT_SIZE 1024u

struct vmm_serial {
    struct vmm *vm;
    pthread_mutex_t lock;
    uint8_t ier;
    uint8_t lcr;
    uint8_t mcr;
    uint8_t scratch;
    uint16_t divisor;
    bool fifo;
    bool transmit_pending; /* the "transmitter empty" interrupt was not acknowledged */
    bool level;
    char input[INPUT_SIZE];
    size_t input_head;
    size_t input_count;
    char output[OUTPUT_SIZE];
    size_t output_count;
};

static uint8_t serial_iir(const struct vmm_serial *serial)
{
    if ((serial->ier & IER_RECEIVED) && serial->input_count)
        return IIR_RECEIVED;
    if ((serial->ier & IER_TRANSMIT_EMPTY) && serial->transmit_pending)
        return IIR_TRANSMIT_EMPTY;
    return IIR_NONE;
}

static void serial_update(struct vmm_serial *serial)
{
    bool level = serial_iir(serial) != IIR_NONE;

    if (level == serial->level)
        return;
    serial->level = level;
    vmm_irq_set_level(serial->vm, VMM_GSI_COM1, level);
}

static void serial_write_out(struct vmm_serial *serial)
{
    vmm_terminal_write(serial->output, serial->output_count);
    serial->output_count = 0;
}

static void serial_put_input(struct vmm_serial *serial, char byte)
{
    if (serial->input_count == INPUT_SIZE)
        return;
    serial->input[(serial->input_head + serial->input_count) % INPUT_SIZE] = byte;
    serial->input_count++;
}

static uint8_t serial_take_input(struct vmm_serial *serial)
{
    uint8_t byte = 0;

    if (!serial->input_count)
        return 0;
    byte = (uint8_t)serial->input[serial->input_head];
    serial->input_head = (serial->input_head + 1) % INPUT_SIZE;
    if (serial->input_count-- == INPUT_SIZE)
        vmm_wake(serial->vm);
    return byte;
}

static void serial_transmit(struct vmm_serial *serial, uint8_t byte)
{
    serial->transmit_pending = true;
    if (serial->mcr & MCR_LOOPBACK) {
        serial_put_input(serial, (char)byte);
        return;
    }
    serial->output[serial->output_count++] = (char)byte;
    if (byte == '\n' || serial->output_count == OUTPUT_SIZE)
        serial_write_out(serial);
    else if (serial->output_count == 1)
        vmm_wake(serial->vm);
}

/* In loopback the modem control outputs appear as modem status inputs. */
static uint8_t serial_msr(const struct vmm_serial *serial)
{
    uint8_t mcr = serial->mcr;

    if (!(mcr & MCR_LOOPBACK))
        return MSR_LINES_UP;
    return (uint8_t)((mcr & 0x0c) << 4 | (mcr & 0x02) << 3 | (mcr & 0x01) << 5);
}

static uint8_t serial_read_iir(struct vmm_serial *serial)
{
    uint8_t iir = serial_iir(serial);

    if (iir == IIR_TRANSMIT_EMPTY)
        serial->transmit_pending = false;
    return iir | (serial->fifo ? IIR_FIFO : 0);
}

static uint8_t serial_read_register(struct vmm_serial *serial, uint64_t offset)
{
    bool dlab = serial->lcr & LCR_DLAB;

    switch (offset) {
    case REG_DATA:
        return dlab ? serial->divisor & 0xff : serial_take_input(serial);
    case REG_IER:
        return dlab ? serial->divisor >> 8 : serial->ier;
    case REG_IIR_FCR:
        return serial_read_iir(serial);
    case REG_LCR:
        return serial->lcr;
    case REG_MCR:
        return serial->mcr;
    case REG_LSR:
        return LSR_TRANSMIT_IDLE | (serial->input_count ? LSR_DATA_READY : 0);
    case REG_MSR:
        return serial_msr(serial);
    default:
        return serial->scratch;
    }
}

static void serial_write_data(struct vmm_serial *serial, uint8_t value)
{
    if (serial->lcr & LCR_DLAB)
        serial->divisor = (serial->divisor & 0xff00) | value;
    else
        serial_transmit(serial, value);
}

static void serial_write_ier(struct vmm_serial *serial, uint8_t value)
{
    if (serial->lcr & LCR_DLAB) {
        serial->divisor = (uint16_t)((serial->divisor & 0xff) | value << 8);
        return;
    }
    if (value & ~serial->ier & IER_TRANSMIT_EMPTY)
        serial->transmit_pending = true;
    serial->ier = value & 0x0f;
}

static void serial_write_register(struct vmm_serial *serial, uint64_t offset, uint8_t value)
{
    switch (offset) {
    case REG_DATA:
        serial_write_data(serial, value);
        break;
    case REG_IER:
        serial_write_ier(serial, value);
        break;
    case REG_IIR_FCR:
        serial->fifo = value & FCR_ENABLE;
        if (value & FCR_CLEAR_RECEIVED)
            serial->input_count = 0;
        break;
    case REG_LCR:
        serial->lcr = value;
        break;
    case REG_MCR:
        serial->mcr = value & 0x1f;
        break;
    case REG_SCRATCH:
        serial->scratch = value;
        break;
    default: /* line and modem status are read-only */
        break;
    }
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned int size)
{
    struct vmm_serial *serial = opaque;
    uint64_t value;

    if (size != 1)
        return UINT64_MAX;
    pthread_mutex_lock(&serial->lock);
    value = serial_read_register(serial, offset);
    serial_update(serial);
    pthread_mutex_unlock(&serial->lock);
    return value;
}

static void serial_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
    struct vmm_serial *serial = opaque;

    if (size != 1)
        return;
    pthread_mutex_lock(&serial->lock);
    serial_write_register(serial, offset, (uint8_t)value);
    serial_update(serial);
    pthread_mutex_unlock(&serial->lock);
}

static const struct vmm_bus_ops serial_bus_ops = {serial_read, serial_write};

bool vmm_serial_room(struct vmm_serial *serial, size_t *room)
{
    if (pthread_mutex_trylock(&serial->lock))
        return false;
    *room = INPUT_SIZE - serial->input_count;
    pthread_mutex_unlock(&serial->lock);
    return true;
}

void vmm_serial_input(struct vmm_serial *serial, const char *bytes, size_t count)
{
    size_t i;

    pthread_mutex_lock(&serial->lock);
    for (i = 0; i < count; i++)
        serial_put_input(serial, bytes[i]);
    serial_update(serial);
    pthread_mutex_unlock(&serial->lock);
}

bool vmm_serial_flush(struct vmm_serial *serial)
{
    if (pthread_mutex_trylock(&serial->lock))
        return false;
    serial_write_out(serial);
    pthread_mutex_unlock(&serial->lock);
    return true;
}

void vmm_serial_reset(struct vmm *vm)
{
    struct vmm_serial *serial = vm->serial;

    pthread_mutex_lock(&serial->lock);
    serial_write_out(serial);
    serial->ier = 0;
    serial->lcr = 0;
    serial->mcr = 0;
    serial->scratch = 0;
    serial->divisor = 0;
    serial->fifo = false;
    serial->transmit_pending = false;
    serial->input_head = 0;
    serial->input_count = 0;
    serial_update(serial);
    pthread_mutex_unlock(&serial->lock);
}

int vmm_serial_create(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_serial *serial = calloc(1, sizeof(*serial));

    if (!serial)
        return vmm_fail(err, ENOMEM, "out of memory for the serial port");
    serial->vm = vm;
    vm->serial = serial;
    pthread_mutex_init(&serial->lock, NULL);
    return vmm_bus_add(&vm->pio, COM1_PORT, REG_COUNT, &serial_bus_ops, serial);
}

void vmm_serial_destroy(struct vmm *vm)
{
    if (!vm->serial)
        return;
    vmm_serial_flush(vm->serial);
    pthread_mutex_destroy(&vm->serial->lock);
    free(vm->serial);
    vm->serial = NULL;
}
