/* SPDX-License-Identifier: MIT */
/* virtio-blk as a guest's driver meets it: PCI function, negotiation, requests, errors, reset. */
#include "device.h"
#include "machine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOT         1u
#define SIZE         16u
#define DESC         0x10000u
#define AVAIL        0x11000u
#define USED         0x12000u
#define HEADER       0x13000u
#define STATUS       0x13800u
#define DATA         0x100000u
#define NOWHERE      0x40000000u
#define DISK_SECTORS 8192u
#define VECTOR       0x41u

#define FEATURE(bit) (UINT64_C(1) << (bit))
#define VERSION_1    FEATURE(VIRTIO_F_VERSION_1)

struct driver {
    struct machine *machine;
    char path[64];
    uint64_t common, notify, isr, config;
    uint16_t used; /* of the used ring, seen */
    uint16_t avail;
};

static unsigned int vendor_capability(struct driver *driver, uint8_t type)
{
    unsigned int offset = 0;

    while ((offset = machine_capability(driver->machine, SLOT, 9, offset)) != 0) {
        if (machine_config_read(driver->machine, SLOT, offset + VIRTIO_PCI_CAP_CFG_TYPE, 1) == type)
            return offset;
    }
    fail_msg("no capability of type %u", type);
    return 0;
}

static uint64_t bar_address(struct driver *driver)
{
    return machine_config_read(driver->machine, SLOT, 0x10, 4) & ~0xfu;
}

static uint64_t structure(struct driver *driver, uint8_t type)
{
    unsigned int cap = vendor_capability(driver, type);

    assert_int_equal(machine_config_read(driver->machine, SLOT, cap + VIRTIO_PCI_CAP_BAR, 1), 0);
    return bar_address(driver) +
           machine_config_read(driver->machine, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4);
}

static uint64_t get(struct driver *driver, unsigned int offset, unsigned int size)
{
    return machine_read(driver->machine, driver->common + offset, size);
}

static void set(struct driver *driver, unsigned int offset, unsigned int size, uint64_t value)
{
    machine_write(driver->machine, driver->common + offset, size, value);
}

static void make_disk(char *path)
{
    uint8_t sector[512];
    int fd;

    strcpy(path, "/tmp/test-virtio-blk-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    for (unsigned int i = 0; i < DISK_SECTORS; i++) {
        memset(sector, (int)(i * 31 + 7), sizeof(sector));
        assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
    }
    close(fd);
}

static struct driver *plug(const char *viommu, const char *arguments)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    struct viommu_error error;
    char option[256];

    assert_non_null(driver);
    make_disk(driver->path);
    driver->machine = machine_create(viommu, NULL);
    snprintf(option, sizeof(option), "virtio-blk,path=%s%s", driver->path, arguments);
    if (vmm_device_create(&driver->machine->vm, option, &error))
        fail_msg("%s", error.message);
    driver->common = structure(driver, VIRTIO_PCI_CAP_COMMON_CFG);
    driver->notify = structure(driver, VIRTIO_PCI_CAP_NOTIFY_CFG);
    driver->isr = structure(driver, VIRTIO_PCI_CAP_ISR_CFG);
    driver->config = structure(driver, VIRTIO_PCI_CAP_DEVICE_CFG);
    return driver;
}

static void unplug(struct driver *driver)
{
    machine_destroy(driver->machine);
    unlink(driver->path);
    free(driver);
}

static uint64_t device_features(struct driver *driver)
{
    uint64_t low;

    set(driver, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
    low = get(driver, VIRTIO_PCI_COMMON_DF, 4);
    set(driver, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    return low | get(driver, VIRTIO_PCI_COMMON_DF, 4) << 32;
}

/* Returns whether the device accepted the features. */
static bool negotiate(struct driver *driver, uint64_t features)
{
    set(driver, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_STATUS, 1), 0);
    set(driver, VIRTIO_PCI_COMMON_STATUS, 1, 1);
    set(driver, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    set(driver, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    set(driver, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)features);
    set(driver, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    set(driver, VIRTIO_PCI_COMMON_GF, 4, features >> 32);
    set(driver, VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
    return get(driver, VIRTIO_PCI_COMMON_STATUS, 1) == 0xb;
}

static void clear_rings(struct driver *driver)
{
    memset(machine_ram(driver->machine, DESC), 0, 0x4000);
    driver->used = 0;
    driver->avail = 0;
}

static void start(struct driver *driver, uint64_t features)
{
    set(driver, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    clear_rings(driver);
    assert_true(negotiate(driver, features));
    set(driver, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
    set(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2, SIZE);
    set(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    set(driver, VIRTIO_PCI_COMMON_Q_DESCLO, 8, DESC);
    set(driver, VIRTIO_PCI_COMMON_Q_AVAILHI, 4, 0);
    set(driver, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, AVAIL);
    set(driver, VIRTIO_PCI_COMMON_Q_USEDLO, 4, USED);
    set(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    set(driver, VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_STATUS, 1), 0xf);
}

static void set_desc(struct driver *driver, unsigned int index, uint64_t address, uint32_t length,
                     uint16_t flags)
{
    struct vring_desc desc = {address, length, flags, (uint16_t)(index + 1)};

    memcpy((uint8_t *)machine_ram(driver->machine, DESC) + index * sizeof(desc), &desc,
           sizeof(desc));
}

static void set_header(struct driver *driver, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr header = {.type = type, .sector = sector};

    memcpy(machine_ram(driver->machine, HEADER), &header, sizeof(header));
    *(uint8_t *)machine_ram(driver->machine, STATUS) = 0xee;
}

static void submit(struct driver *driver)
{
    _Atomic uint16_t *ring = machine_ram(driver->machine, AVAIL);

    ring[2 + driver->avail % SIZE] = 0;
    ring[1] = ++driver->avail;
    machine_write(driver->machine, driver->notify, 2, 0);
}

/* Wait, up to 10 s, for `done` of the driver. */
static bool wait_for(bool (*done)(struct driver *driver), struct driver *driver)
{
    for (unsigned int i = 0; i < 100000; i++) {
        if (done(driver))
            return true;
        usleep(100);
    }
    return false;
}

static bool request_used(struct driver *driver)
{
    _Atomic uint16_t *ring = machine_ram(driver->machine, USED);

    return ring[1] == driver->avail;
}

static bool needs_reset(struct driver *driver)
{
    return get(driver, VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* One request with its data in one piece; returns the status byte. */
static uint8_t request(struct driver *driver, uint32_t type, uint64_t sector, uint64_t data,
                       uint32_t length, bool writes)
{
    unsigned int count = 0;

    set_header(driver, type, sector);
    set_desc(driver, count++, HEADER, 16, VRING_DESC_F_NEXT);
    if (length)
        set_desc(driver, count++, data, length,
                 VRING_DESC_F_NEXT | (writes ? VRING_DESC_F_WRITE : 0));
    set_desc(driver, count, STATUS, 1, VRING_DESC_F_WRITE);
    submit(driver);
    assert_true(wait_for(request_used, driver));
    return *(uint8_t *)machine_ram(driver->machine, STATUS);
}

static void assert_disk(struct driver *driver, uint64_t sector, const void *data, size_t length)
{
    uint8_t *content = malloc(length);
    int fd = open(driver->path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, content, length, (off_t)sector * 512), length);
    assert_memory_equal(content, data, length);
    close(fd);
    free(content);
}

static void test_function(void **state)
{
    struct driver *driver = plug(NULL, ",serial=abc");
    struct virtio_blk_config config;

    (void)state;
    assert_int_equal(machine_config_read(driver->machine, SLOT, 0, 4), 0x10421af4);
    assert_int_equal(machine_config_read(driver->machine, SLOT, 8, 4), 0x01000001);
    assert_true(vendor_capability(driver, VIRTIO_PCI_CAP_PCI_CFG));
    assert_true(machine_capability(driver->machine, SLOT, 0x11, 0));
    for (unsigned int i = 0; i < sizeof(config); i++)
        ((uint8_t *)&config)[i] = (uint8_t)machine_read(driver->machine, driver->config + i, 1);
    assert_int_equal(config.capacity, DISK_SECTORS);
    assert_int_equal(machine_read(driver->machine, driver->config, 8), DISK_SECTORS);
    assert_int_equal(config.seg_max, 254);
    assert_int_equal(config.blk_size, 512);
    assert_int_equal(machine_read(driver->machine, driver->config + 0x3ff, 8), 0);
    unplug(driver);
}

static void test_features(void **state)
{
    struct driver *driver = plug(NULL, "");
    uint64_t features = device_features(driver);

    (void)state;
    assert_true(features & VERSION_1);
    assert_true(features & FEATURE(VIRTIO_BLK_F_FLUSH));
    assert_false(features & FEATURE(VIRTIO_BLK_F_RO));
    assert_false(features & FEATURE(VIRTIO_F_ACCESS_PLATFORM));
    assert_true(negotiate(driver, features));
    assert_true(negotiate(driver, VERSION_1));
    assert_false(negotiate(driver, 0));
    assert_false(negotiate(driver, VERSION_1 | FEATURE(63)));
    set(driver, VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_STATUS, 1) & 0xc, 0);
    unplug(driver);
}

/* Behind a vIOMMU a driver cannot choose physical addresses; iommu=off is the user's choice. */
static void test_access_platform(void **state)
{
    uint64_t platform = FEATURE(VIRTIO_F_ACCESS_PLATFORM);
    struct driver *driver = plug("vtd", "");

    (void)state;
    assert_true(device_features(driver) & platform);
    assert_false(negotiate(driver, VERSION_1));
    assert_true(negotiate(driver, VERSION_1 | platform));
    unplug(driver);
    driver = plug("vtd", ",iommu=off");
    assert_false(device_features(driver) & platform);
    assert_true(negotiate(driver, VERSION_1));
    unplug(driver);
}

static void test_common_configuration(void **state)
{
    struct driver *driver = plug(NULL, ",num-queues=3");

    (void)state;
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_NUMQ, 2), 3);
    set(driver, VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_NOFF, 2), 2);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
    set(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2, 4);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
    set(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2, 3);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2), 3);
    set(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2, 3);
    set(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2, 512);
    set(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2, 0);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
    set(driver, VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0x1122334455667788);
    set(driver, VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x99aabbcc);
    assert_true(get(driver, VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0x99aabbcc55667788);
    set(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    set(driver, VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0);
    set(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0x55667788);
    set(driver, VIRTIO_PCI_COMMON_Q_SELECT, 2, 3);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
    set(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    set(driver, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 1);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
    /* Accesses that the specification does not allow. */
    set(driver, VIRTIO_PCI_COMMON_Q_SELECT, 4, 1);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_Q_SELECT, 2), 3);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_NUMQ, 8), 0);
    unplug(driver);
}

static void test_requests(void **state)
{
    struct driver *driver = plug(NULL, ",serial=disk-number-1");
    uint8_t *data;

    (void)state;
    start(driver, VERSION_1);
    data = machine_ram(driver->machine, DATA);
    assert_int_equal(request(driver, VIRTIO_BLK_T_IN, 5, DATA, 1024, true), VIRTIO_BLK_S_OK);
    assert_int_equal(data[0], (5 * 31 + 7) & 0xff);
    assert_int_equal(data[1023], (6 * 31 + 7) & 0xff);
    /* Three bounce buffers and a bit, up to the last sector. */
    for (unsigned int i = 0; i < 6291 * 512; i++)
        data[i] = (uint8_t)(i >> 9 ^ i);
    assert_int_equal(
        request(driver, VIRTIO_BLK_T_OUT, DISK_SECTORS - 6291, DATA, 6291 * 512, false),
        VIRTIO_BLK_S_OK);
    assert_disk(driver, DISK_SECTORS - 6291, data, 6291 * 512);
    assert_int_equal(request(driver, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
    assert_int_equal(request(driver, VIRTIO_BLK_T_GET_ID, 0, DATA, 20, true), VIRTIO_BLK_S_OK);
    assert_memory_equal(data, "disk-number-1\0\0\0\0\0\0\0", 20);
    assert_int_equal(request(driver, 99, 0, DATA, 512, true), VIRTIO_BLK_S_UNSUPP);
    unplug(driver);
}

/* Header, data and status split as no driver would (virtio 1.2, 2.7.4: no framing is assumed). */
static void test_framing(void **state)
{
    struct driver *driver = plug(NULL, "");
    uint8_t *data;

    (void)state;
    start(driver, VERSION_1);
    data = machine_ram(driver->machine, DATA);
    set_header(driver, VIRTIO_BLK_T_IN, 1);
    set_desc(driver, 0, HEADER, 3, VRING_DESC_F_NEXT);
    set_desc(driver, 1, HEADER + 3, 13, VRING_DESC_F_NEXT);
    set_desc(driver, 2, DATA, 500, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
    set_desc(driver, 3, DATA + 600, 13, VRING_DESC_F_WRITE);
    data[612] = 0xee;
    submit(driver);
    assert_true(wait_for(request_used, driver));
    assert_int_equal(data[499], (1 * 31 + 7) & 0xff);
    assert_int_equal(data[611], (1 * 31 + 7) & 0xff);
    assert_int_equal(data[612], VIRTIO_BLK_S_OK);
    unplug(driver);
}

static uint8_t zero_request(struct driver *driver, uint32_t type, uint64_t sector, uint32_t count,
                            uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes range = {sector, count, flags};

    memcpy(machine_ram(driver->machine, DATA), &range, sizeof(range));
    return request(driver, type, 0, DATA, sizeof(range), false);
}

static void test_zeroes_and_discard(void **state)
{
    static const struct {
        uint32_t type;
        uint64_t sector;
        uint32_t count, flags;
        uint8_t status;
    } rows[] = {
        {VIRTIO_BLK_T_WRITE_ZEROES, 1, 1000, 0, VIRTIO_BLK_S_OK},
        {VIRTIO_BLK_T_WRITE_ZEROES, 2000, 10, 1, VIRTIO_BLK_S_OK},
        {VIRTIO_BLK_T_DISCARD, 3000, 8, 0, VIRTIO_BLK_S_OK},
        {VIRTIO_BLK_T_DISCARD, 3000, 8, 1, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, DISK_SECTORS, 1, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX, 2, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR},
    };
    struct driver *driver = plug(NULL, "");
    uint8_t *zeros = calloc(1001, 512);

    (void)state;
    start(driver, VERSION_1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(
            zero_request(driver, rows[i].type, rows[i].sector, rows[i].count, rows[i].flags),
            rows[i].status);
    assert_disk(driver, 1, zeros, 1000 * 512);
    assert_disk(driver, 2000, zeros, 10 * 512);
    memset(zeros, 7, 512);
    assert_disk(driver, 0, zeros, 512);
    memset(zeros, (1001 * 31 + 7) & 0xff, 512);
    assert_disk(driver, 1001, zeros, 512);
    free(zeros);
    unplug(driver);
}

static void test_request_errors(void **state)
{
    static const struct {
        uint32_t type;
        uint64_t sector, data;
        uint32_t length;
        bool writes;
    } rows[] = {
        {VIRTIO_BLK_T_IN, DISK_SECTORS, DATA, 512, true},
        {VIRTIO_BLK_T_IN, DISK_SECTORS - 1, DATA, 1024, true},
        {VIRTIO_BLK_T_IN, UINT64_MAX, DATA, 512, true},
        {VIRTIO_BLK_T_IN, UINT64_MAX / 512, DATA, 512, true},
        {VIRTIO_BLK_T_IN, 0, DATA, 511, true},
        {VIRTIO_BLK_T_OUT, 0, DATA, 513, false},
        {VIRTIO_BLK_T_OUT, DISK_SECTORS, DATA, 512, false},
        {VIRTIO_BLK_T_IN, 0, NOWHERE, 512, true},
        {VIRTIO_BLK_T_OUT, 0, NOWHERE, 512, false},
        {VIRTIO_BLK_T_IN, 0, UINT64_MAX - 5, 512, true},
        {VIRTIO_BLK_T_IN, 0, DATA, 0xfffffe00, true},
        {VIRTIO_BLK_T_DISCARD, 0, DATA, 15, false},
        {VIRTIO_BLK_T_GET_ID, 0, NOWHERE, 20, true},
    };
    struct driver *driver = plug(NULL, "");
    uint8_t sector[512];

    (void)state;
    start(driver, VERSION_1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(request(driver, rows[i].type, rows[i].sector, rows[i].data, rows[i].length,
                                 rows[i].writes),
                         VIRTIO_BLK_S_IOERR);
    memset(sector, 7, sizeof(sector));
    assert_disk(driver, 0, sector, sizeof(sector));
    assert_false(needs_reset(driver));
    unplug(driver);
}

static void test_readonly(void **state)
{
    struct driver *driver = plug(NULL, ",readonly=on");
    uint8_t sector[512];

    (void)state;
    assert_true(device_features(driver) & FEATURE(VIRTIO_BLK_F_RO));
    start(driver, VERSION_1);
    assert_int_equal(request(driver, VIRTIO_BLK_T_OUT, 0, DATA, 512, false), VIRTIO_BLK_S_IOERR);
    assert_int_equal(zero_request(driver, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(driver, VIRTIO_BLK_T_IN, 0, DATA, 512, true), VIRTIO_BLK_S_OK);
    memset(sector, 7, sizeof(sector));
    assert_disk(driver, 0, sector, sizeof(sector));
    unplug(driver);
}

/* Buffers that cannot be answered; the driver finds out, resets, and goes on. */
static void test_needs_reset(void **state)
{
    static const struct vring_desc rows[] = {
        {HEADER, 16, 0, 0},                  /* no room for the status */
        {HEADER, 16, VRING_DESC_F_WRITE, 0}, /* no header */
        {NOWHERE, 16, VRING_DESC_F_NEXT, 1}, /* the header is out of reach */
        {HEADER, 16, VRING_DESC_F_NEXT, 0},  /* a loop */
        {NOWHERE, 16, VRING_DESC_F_INDIRECT, 0},
    };
    struct driver *driver = plug(NULL, "");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start(driver, VERSION_1);
        set_header(driver, VIRTIO_BLK_T_FLUSH, 0);
        memcpy(machine_ram(driver->machine, DESC), &rows[i], sizeof(rows[i]));
        set_desc(driver, 1, NOWHERE, 1, VRING_DESC_F_WRITE);
        submit(driver);
        assert_true(wait_for(needs_reset, driver));
        assert_true(machine_line(driver->machine, SLOT));
        assert_int_equal(machine_read(driver->machine, driver->isr, 1), VIRTIO_PCI_ISR_CONFIG);
        assert_false(machine_line(driver->machine, SLOT));
        submit(driver);
    }
    start(driver, VERSION_1);
    assert_int_equal(request(driver, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
    unplug(driver);
}

static bool line_is_up(struct driver *driver)
{
    return machine_line(driver->machine, SLOT);
}

static bool message_came(struct driver *driver)
{
    return machine_messages(driver->machine, VECTOR) > 0;
}

static void test_interrupts(void **state)
{
    struct driver *driver = plug(NULL, "");
    unsigned int msix = machine_capability(driver->machine, SLOT, 0x11, 0);
    uint64_t table =
        bar_address(driver) + 16 + (machine_config_read(driver->machine, SLOT, msix + 4, 4) & ~7u);

    (void)state;
    start(driver, VERSION_1);
    request(driver, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false);
    assert_true(wait_for(line_is_up, driver));
    assert_int_equal(machine_read(driver->machine, driver->isr, 1), 1);
    assert_false(line_is_up(driver));
    assert_int_equal(machine_read(driver->machine, driver->isr, 1), 0);

    machine_write(driver->machine, table, 4, VMM_LAPIC_BASE);
    machine_write(driver->machine, table + 4, 4, 0);
    machine_write(driver->machine, table + 8, 4, VECTOR);
    machine_write(driver->machine, table + 12, 4, 0);
    machine_config_write(driver->machine, SLOT, msix + 2, 2, 0x8000);
    assert_int_equal(machine_messages(driver->machine, VECTOR), 0);
    request(driver, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false);
    assert_true(wait_for(message_came, driver));
    assert_false(line_is_up(driver));
    unplug(driver);
}

/* virtio 1.2, 4.1.4.9 */
static void test_window_in_configuration_space(void **state)
{
    struct driver *driver = plug(NULL, "");
    struct machine *machine = driver->machine;
    unsigned int cap = vendor_capability(driver, VIRTIO_PCI_CAP_PCI_CFG);

    (void)state;
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_BAR, 1, 0);
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4, 1);
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_STATUS);
    machine_config_write(machine, SLOT, cap + 16, 1, 3);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_STATUS, 1), 3);
    assert_int_equal(machine_config_read(machine, SLOT, cap + 16, 1), 3);
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4, 0x2000);
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4, 4);
    assert_int_equal(machine_config_read(machine, SLOT, cap + 16, 4), DISK_SECTORS);
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_BAR, 1, 1);
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_STATUS);
    machine_config_write(machine, SLOT, cap + 16, 4, 0);
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_BAR, 1, 0);
    machine_config_write(machine, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4, 0xfffffffc);
    machine_config_write(machine, SLOT, cap + 16, 4, 0);
    assert_int_equal(get(driver, VIRTIO_PCI_COMMON_STATUS, 1), 3);
    unplug(driver);
}

/* A reset while requests are under way, and the end of the machine while they are. */
static void test_reset_under_load(void **state)
{
    struct driver *driver = plug(NULL, "");

    (void)state;
    for (unsigned int i = 0; i < 50; i++) {
        start(driver, VERSION_1 | FEATURE(VIRTIO_RING_F_EVENT_IDX));
        set_header(driver, VIRTIO_BLK_T_IN, 0);
        set_desc(driver, 0, HEADER, 16, VRING_DESC_F_NEXT);
        set_desc(driver, 1, DATA, DISK_SECTORS * 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
        set_desc(driver, 2, STATUS, 1, VRING_DESC_F_WRITE);
        for (unsigned int j = 0; j < SIZE; j++)
            submit(driver);
        usleep(i * 20);
    }
    unplug(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_function),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_access_platform),
        cmocka_unit_test(test_common_configuration),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_zeroes_and_discard),
        cmocka_unit_test(test_request_errors),
        cmocka_unit_test(test_readonly),
        cmocka_unit_test(test_needs_reset),
        cmocka_unit_test(test_interrupts),
        cmocka_unit_test(test_window_in_configuration_space),
        cmocka_unit_test(test_reset_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
