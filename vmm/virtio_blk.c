/* SPDX-License-Identifier: MIT */
/* virtio 1.2, 5.2. */
#include "virtio_blk.h"
#include "device.h"
#include "disk.h"
#include "key_values.h"
#include "virtio.h"
#include "vmm.h"
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#define FEATURE(bit) (UINT64_C(1) << (bit))

#define BOUNCE_SIZE       (1u << 20) /* data on its way between disk and guest, at a time */
#define REQUESTS_PER_TURN 64u
#define SEGMENTS_MAX      (VMM_VIRTQUEUE_SIZE_MAX - 2u) /* without header and status */
#define ZERO_SECTORS_MAX  (1u << 22)                    /* discarded or zeroed by one request */

struct blk {
    struct vmm_virtio virtio;
    struct vmm_disk disk;
    struct virtio_blk_config config;
    char serial[VIRTIO_BLK_ID_BYTES + 1];
    uint8_t *bounce;              /* the worker's, as the following */
    struct vmm_virtq_chain chain; /* of the request at hand */
};

/* The request at hand: its header, copied, and the data between header and status. */
struct blk_request {
    struct vmm_virtqueue *queue;
    const struct vmm_virtq_chain *chain;
    struct virtio_blk_outhdr header;
    uint64_t out_length; /* data that the device reads */
    uint64_t in_length;  /* data that it writes, the status byte not counted */
};

/* 0: done; -EOPNOTSUPP: "unsupported"; -ECANCELED: the device is being reset; else I/O error. */
typedef int blk_request_fn(struct blk *blk, const struct blk_request *request);

static bool range_is_good(const struct blk *blk, uint64_t sector, uint64_t sectors)
{
    return sector <= blk->disk.sectors && sectors <= blk->disk.sectors - sector;
}

/* Whether the data of a read or write are whole sectors that the disk has. */
static int check_data(const struct blk *blk, const struct blk_request *request, uint64_t length)
{
    if (length % VMM_SECTOR_SIZE || length >= UINT32_MAX ||
        !range_is_good(blk, request->header.sector, length / VMM_SECTOR_SIZE))
        return -EINVAL;
    return 0;
}

static size_t piece_of(uint64_t length)
{
    return length < BOUNCE_SIZE ? (size_t)length : BOUNCE_SIZE;
}

static int blk_in(struct blk *blk, const struct blk_request *request)
{
    uint64_t length = request->in_length;
    uint64_t start = request->header.sector * VMM_SECTOR_SIZE;
    int ret = check_data(blk, request, length);

    for (uint64_t done = 0; !ret && done < length; done += piece_of(length - done)) {
        size_t piece = piece_of(length - done);

        if (vmm_virtio_halting(&blk->virtio))
            return -ECANCELED;
        ret = vmm_disk_read(&blk->disk, start + done, blk->bounce, piece);
        if (!ret)
            ret = vmm_virtq_chain_write(request->queue, request->chain, done, blk->bounce, piece);
    }
    return ret;
}

static int blk_out(struct blk *blk, const struct blk_request *request)
{
    uint64_t length = request->out_length;
    uint64_t start = request->header.sector * VMM_SECTOR_SIZE;
    int ret = blk->disk.readonly ? -EROFS : check_data(blk, request, length);

    for (uint64_t done = 0; !ret && done < length; done += piece_of(length - done)) {
        size_t piece = piece_of(length - done);

        if (vmm_virtio_halting(&blk->virtio))
            return -ECANCELED;
        ret = vmm_virtq_chain_read(request->queue, request->chain, sizeof(request->header) + done,
                                   blk->bounce, piece);
        if (!ret)
            ret = vmm_disk_write(&blk->disk, start + done, blk->bounce, piece);
    }
    return ret;
}

static int blk_flush(struct blk *blk, const struct blk_request *request)
{
    (void)request;
    return vmm_disk_flush(&blk->disk);
}

static int blk_get_id(struct blk *blk, const struct blk_request *request)
{
    size_t length =
        request->in_length < VIRTIO_BLK_ID_BYTES ? (size_t)request->in_length : VIRTIO_BLK_ID_BYTES;

    return vmm_virtq_chain_write(request->queue, request->chain, 0, blk->serial, length);
}

/* Read and check the one range of a discard or write-zeroes request (virtio 1.2, 5.2.6.2). */
static int read_range(struct blk *blk, const struct blk_request *request, uint32_t known_flags,
                      struct virtio_blk_discard_write_zeroes *range)
{
    int ret;

    if (blk->disk.readonly)
        return -EROFS;
    if (request->out_length != sizeof(*range))
        return -EINVAL;
    ret = vmm_virtq_chain_read(request->queue, request->chain, sizeof(request->header), range,
                               sizeof(*range));
    if (ret)
        return ret;
    if (range->flags & ~known_flags)
        return -EOPNOTSUPP;
    if (!range->num_sectors || range->num_sectors > ZERO_SECTORS_MAX)
        return -EINVAL;
    return range_is_good(blk, range->sector, range->num_sectors) ? 0 : -EINVAL;
}

/* A hint: a file system that cannot give storage back does no harm. */
static int blk_discard(struct blk *blk, const struct blk_request *request)
{
    struct virtio_blk_discard_write_zeroes range;
    int ret = read_range(blk, request, 0, &range);

    if (ret)
        return ret;
    ret = vmm_disk_punch(&blk->disk, range.sector * VMM_SECTOR_SIZE,
                         (uint64_t)range.num_sectors * VMM_SECTOR_SIZE);
    return ret == -EOPNOTSUPP ? 0 : ret;
}

static int write_zeros(struct blk *blk, uint64_t offset, uint64_t length)
{
    int ret = 0;

    memset(blk->bounce, 0, piece_of(length));
    for (uint64_t done = 0; !ret && done < length; done += piece_of(length - done)) {
        if (vmm_virtio_halting(&blk->virtio))
            return -ECANCELED;
        ret = vmm_disk_write(&blk->disk, offset + done, blk->bounce, piece_of(length - done));
    }
    return ret;
}

static int blk_write_zeroes(struct blk *blk, const struct blk_request *request)
{
    struct virtio_blk_discard_write_zeroes range;
    uint64_t offset, length;
    int ret = read_range(blk, request, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, &range);

    if (ret)
        return ret;
    offset = range.sector * VMM_SECTOR_SIZE;
    length = (uint64_t)range.num_sectors * VMM_SECTOR_SIZE;
    ret = -EOPNOTSUPP;
    if (range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
        ret = vmm_disk_punch(&blk->disk, offset, length);
    if (ret == -EOPNOTSUPP)
        ret = vmm_disk_zero(&blk->disk, offset, length);
    return ret == -EOPNOTSUPP ? write_zeros(blk, offset, length) : ret;
}

static const struct {
    uint32_t type;
    blk_request_fn *serve;
} blk_requests[] = {
    {VIRTIO_BLK_T_IN, blk_in},           {VIRTIO_BLK_T_OUT, blk_out},
    {VIRTIO_BLK_T_FLUSH, blk_flush},     {VIRTIO_BLK_T_GET_ID, blk_get_id},
    {VIRTIO_BLK_T_DISCARD, blk_discard}, {VIRTIO_BLK_T_WRITE_ZEROES, blk_write_zeroes},
};

static int serve(struct blk *blk, const struct blk_request *request)
{
    for (size_t i = 0; i < sizeof(blk_requests) / sizeof(blk_requests[0]); i++) {
        if (blk_requests[i].type == request->header.type)
            return blk_requests[i].serve(blk, request);
    }
    return -EOPNOTSUPP;
}

/*
 * Say what became of a request, in its last byte. How much was written before a failure is not
 * known: then nothing is claimed beyond a status that is alone.
 */
static int complete(struct blk *blk, const struct blk_request *request, int result)
{
    uint8_t status = VIRTIO_BLK_S_OK;
    uint32_t written = (uint32_t)request->in_length + 1;
    int ret;

    if (result) {
        status = result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
        written = !request->in_length;
    }
    ret = vmm_virtq_chain_write(request->queue, request->chain, request->in_length, &status,
                                sizeof(status));
    if (!ret)
        ret = vmm_virtqueue_push(request->queue, request->chain->head, written);
    if (!ret)
        ret = vmm_virtio_used(&blk->virtio, (unsigned int)(request->queue - blk->virtio.queues));
    return ret;
}

/* A buffer without room for header and status cannot be answered: the device needs a reset. */
static int handle(struct blk *blk, struct vmm_virtqueue *queue)
{
    struct blk_request request = {.queue = queue, .chain = &blk->chain};
    int ret;

    if (blk->chain.readable_length < sizeof(request.header) || !blk->chain.writable_length)
        return -EINVAL;
    request.out_length = blk->chain.readable_length - sizeof(request.header);
    request.in_length = blk->chain.writable_length - 1;
    ret = vmm_virtq_chain_read(queue, &blk->chain, 0, &request.header, sizeof(request.header));
    if (!ret)
        ret = serve(blk, &request);
    return ret == -ECANCELED ? ret : complete(blk, &request, ret);
}

/* 1: there may be more; 0: nothing to do, the driver will notify; else what ended it. */
static int handle_next(struct blk *blk, struct vmm_virtqueue *queue)
{
    int ret;

    if (vmm_virtio_halting(&blk->virtio))
        return -ECANCELED;
    ret = vmm_virtqueue_pop(queue, &blk->chain);
    if (!ret)
        return vmm_virtqueue_wait(queue);
    if (ret > 0)
        ret = handle(blk, queue);
    return ret ? ret : 1;
}

static bool blk_process(struct vmm_virtio *virtio, unsigned int index)
{
    struct blk *blk = vmm_container_of(virtio, struct blk, virtio);
    int ret = 1;

    for (unsigned int i = 0; ret > 0 && i < REQUESTS_PER_TURN; i++)
        ret = handle_next(blk, &virtio->queues[index]);
    if (ret < 0 && ret != -ECANCELED)
        vmm_virtio_break(virtio);
    return ret > 0;
}

static void blk_free(struct blk *blk)
{
    vmm_disk_close(&blk->disk);
    free(blk->bounce);
    free(blk);
}

static void blk_destroy(struct vmm_virtio *virtio)
{
    blk_free(vmm_container_of(virtio, struct blk, virtio));
}

static const struct vmm_virtio_ops blk_ops = {
    .process = blk_process,
    .destroy = blk_destroy,
};

static const struct vmm_pci_identity blk_identity = {
    .name = "virtio-blk",
    .vendor = 0x1af4,
    .device = 0x1040 + VIRTIO_ID_BLOCK,
    .subsystem_vendor = 0x1af4,
    .subsystem_device = 0x1040 + VIRTIO_ID_BLOCK,
    .class_code = 0x010000,
    .revision = 1,
    .interrupt_pin = 1,
    .express = true,
};

struct blk_options {
    const char *path;
    const char *serial;
    bool readonly;
    bool iommu;
    uint64_t queues;
    uint64_t segment;
};

enum {
    KEY_PATH,
    KEY_READONLY,
    KEY_SERIAL,
    KEY_QUEUES,
    KEY_IOMMU,
    KEY_SEGMENT,
    KEY_COUNT
};

/* The strings stay those of `keys`. */
static int parse_options(const struct vmm_key *keys, struct blk_options *options,
                         struct viommu_error *err)
{
    int ret;

    *options = (struct blk_options){.iommu = true, .queues = 1};
    options->path = keys[KEY_PATH].value;
    options->serial = keys[KEY_SERIAL].value ? keys[KEY_SERIAL].value : "";
    if (!options->path || !*options->path)
        return vmm_fail(err, EINVAL, "virtio-blk needs a disk: --device virtio-blk,path=FILE");
    if (strlen(options->serial) > VIRTIO_BLK_ID_BYTES)
        return vmm_fail(err, EINVAL, "virtio-blk: serial=%s is longer than %d characters",
                        options->serial, VIRTIO_BLK_ID_BYTES);
    ret = vmm_key_switch("virtio-blk", &keys[KEY_READONLY], &options->readonly, err);
    if (!ret)
        ret = vmm_key_switch("virtio-blk", &keys[KEY_IOMMU], &options->iommu, err);
    if (!ret)
        ret = vmm_key_number("virtio-blk", &keys[KEY_QUEUES], 1, VMM_VIRTIO_QUEUES_MAX,
                             &options->queues, err);
    if (!ret)
        ret = vmm_key_number("virtio-blk", &keys[KEY_SEGMENT], 0, VMM_SEGMENTS_MAX - 1,
                             &options->segment, err);
    return ret;
}

static uint64_t blk_features(const struct blk_options *options)
{
    uint64_t features = FEATURE(VIRTIO_BLK_F_SEG_MAX) | FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
                        FEATURE(VIRTIO_BLK_F_FLUSH);

    if (options->queues > 1)
        features |= FEATURE(VIRTIO_BLK_F_MQ);
    if (options->readonly)
        return features | FEATURE(VIRTIO_BLK_F_RO);
    return features | FEATURE(VIRTIO_BLK_F_DISCARD) | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
}

static void fill_config(struct blk *blk, const struct blk_options *options)
{
    blk->config.capacity = blk->disk.sectors;
    blk->config.seg_max = SEGMENTS_MAX;
    blk->config.blk_size = VMM_SECTOR_SIZE;
    blk->config.num_queues = (uint16_t)options->queues;
    blk->config.max_discard_sectors = ZERO_SECTORS_MAX;
    blk->config.max_discard_seg = 1;
    blk->config.discard_sector_alignment = 1;
    blk->config.max_write_zeroes_sectors = ZERO_SECTORS_MAX;
    blk->config.max_write_zeroes_seg = 1;
    blk->config.write_zeroes_may_unmap = 1;
    memcpy(blk->serial, options->serial, strlen(options->serial));
}

static int create(struct vmm *vm, const struct blk_options *options, struct viommu_error *err)
{
    struct vmm_virtio_options virtio = {
        .identity = &blk_identity,
        .segment = (uint16_t)options->segment,
        .ops = &blk_ops,
        .features = blk_features(options),
        .queue_count = (unsigned int)options->queues,
        .config_size = sizeof(struct virtio_blk_config),
        .untranslated = !options->iommu,
    };
    struct blk *blk = calloc(1, sizeof(*blk));
    int ret;

    if (!blk)
        return vmm_fail(err, ENOMEM, "virtio-blk: there is no memory for the device");
    ret = vmm_disk_open(&blk->disk, options->path, options->readonly, err);
    if (ret) {
        free(blk);
        return ret;
    }
    fill_config(blk, options);
    virtio.config = &blk->config;
    blk->bounce = malloc(BOUNCE_SIZE);
    if (!blk->bounce)
        ret = vmm_fail(err, ENOMEM, "virtio-blk: there is no memory for its buffer");
    if (!ret)
        ret = vmm_virtio_init(&blk->virtio, vm, &virtio, err);
    if (ret)
        blk_free(blk);
    return ret;
}

/* The options of `arguments`, used by `make`, or, without it, only looked at. */
static int with_options(struct vmm *vm, const char *arguments,
                        int (*make)(struct vmm *vm, const struct blk_options *options,
                                    struct viommu_error *err),
                        struct viommu_error *err)
{
    struct vmm_key keys[KEY_COUNT + 1] = {
        [KEY_PATH] = {"path", NULL},     [KEY_READONLY] = {"readonly", NULL},
        [KEY_SERIAL] = {"serial", NULL}, [KEY_QUEUES] = {"num-queues", NULL},
        [KEY_IOMMU] = {"iommu", NULL},   [KEY_SEGMENT] = {"segment", NULL},
        [KEY_COUNT] = {NULL, NULL},
    };
    struct blk_options options;
    int ret = vmm_keys_parse("virtio-blk", arguments, keys, err);

    if (!ret)
        ret = parse_options(keys, &options, err);
    if (!ret && make)
        ret = make(vm, &options, err);
    vmm_keys_free(keys);
    return ret;
}

int vmm_virtio_blk_check(const char *arguments, struct viommu_error *err)
{
    return with_options(NULL, arguments, NULL, err);
}

int vmm_virtio_blk_create(struct vmm *vm, const char *arguments, struct viommu_error *err)
{
    return with_options(vm, arguments, create, err);
}
