/* SPDX-License-Identifier: MIT */
/* The calls on a host, with a backend that only notes what reaches it. */
#include "host/host.h"
#include "unit.h"

struct backend {
    int ret; /* what every call answers */
    bool says_why;
    int reached[VIOMMU_HOST_CALL_COUNT];
    int destroyed;
    uint32_t next_id;
    struct viommu_host_hwpt_options hwpt;
};

static int reach(struct backend *backend, enum viommu_host_call call, struct viommu_error *error)
{
    backend->reached[call]++;
    assert_non_null(error);
    if (backend->ret && backend->says_why)
        snprintf(error->message, sizeof(error->message), "the backend says so");
    return backend->ret;
}

static void backend_destroy(void *opaque)
{
    ((struct backend *)opaque)->destroyed++;
}

static int backend_bind(void *opaque, const char *device, uint32_t *device_id,
                        struct viommu_error *error)
{
    assert_string_equal(device, "dev");
    *device_id = 1;
    return reach(opaque, VIOMMU_HOST_CALL_BIND, error);
}

static void backend_unbind(void *opaque, uint32_t device_id)
{
    assert_int_equal(device_id, 1);
    ((struct backend *)opaque)->reached[VIOMMU_HOST_CALL_UNBIND]++;
}

static int backend_ioas_alloc(void *opaque, uint32_t *ioas_id, struct viommu_error *error)
{
    *ioas_id = 2;
    return reach(opaque, VIOMMU_HOST_CALL_IOAS_ALLOC, error);
}

static int backend_ioas_map(void *opaque, uint32_t ioas_id, uint64_t iova, void *host,
                            uint64_t length, uint32_t flags, struct viommu_error *error)
{
    (void)ioas_id;
    (void)iova;
    (void)host;
    (void)length;
    (void)flags;
    return reach(opaque, VIOMMU_HOST_CALL_IOAS_MAP, error);
}

static int backend_ioas_unmap(void *opaque, uint32_t ioas_id, uint64_t iova, uint64_t length,
                              uint64_t *unmapped, struct viommu_error *error)
{
    (void)ioas_id;
    (void)iova;
    *unmapped = length; /* never NULL for a backend */
    return reach(opaque, VIOMMU_HOST_CALL_IOAS_UNMAP, error);
}

static int backend_ranges(void *opaque, uint32_t ioas_id, struct viommu_host_iova_range *ranges,
                          size_t *count, struct viommu_error *error)
{
    (void)ioas_id;
    (void)ranges;
    *count = 1;
    return reach(opaque, VIOMMU_HOST_CALL_IOAS_IOVA_RANGES, error);
}

static int backend_hwpt_alloc(void *opaque, const struct viommu_host_hwpt_options *options,
                              uint32_t *hwpt_id, struct viommu_error *error)
{
    struct backend *backend = opaque;

    backend->hwpt = *options;
    *hwpt_id = backend->next_id++;
    return reach(opaque, VIOMMU_HOST_CALL_HWPT_ALLOC, error);
}

static int backend_destroy_object(void *opaque, uint32_t id, struct viommu_error *error)
{
    (void)id;
    return reach(opaque, VIOMMU_HOST_CALL_DESTROY_OBJECT, error);
}

static int backend_attach(void *opaque, uint32_t device_id, uint32_t pasid, uint32_t hwpt_id,
                          struct viommu_error *error)
{
    (void)device_id;
    (void)pasid;
    (void)hwpt_id;
    return reach(opaque, VIOMMU_HOST_CALL_ATTACH, error);
}

static int backend_detach(void *opaque, uint32_t device_id, uint32_t pasid,
                          struct viommu_error *error)
{
    (void)device_id;
    (void)pasid;
    return reach(opaque, VIOMMU_HOST_CALL_DETACH, error);
}

static int backend_invalidate(void *opaque, uint32_t hwpt_id, enum viommu_host_data type,
                              const void *entries, size_t entry_length, uint32_t *count,
                              struct viommu_error *error)
{
    (void)hwpt_id;
    (void)type;
    (void)entries;
    (void)entry_length;
    *count = *count ? *count - 1 : 0;
    return reach(opaque, VIOMMU_HOST_CALL_INVALIDATE, error);
}

static int backend_hw_info(void *opaque, uint32_t device_id, struct viommu_host_hw_info *info,
                           struct viommu_error *error)
{
    (void)device_id;
    info->type = VIOMMU_HOST_IOMMU_VTD;
    info->registers[0] = 0x1234;
    info->max_pasid_log2 = 20;
    return reach(opaque, VIOMMU_HOST_CALL_HW_INFO, error);
}

static int backend_handler(void *opaque, uint32_t device_id, viommu_host_fault_fn *fn,
                           void *fn_opaque, struct viommu_error *error)
{
    (void)device_id;
    (void)fn;
    (void)fn_opaque;
    return reach(opaque, VIOMMU_HOST_CALL_SET_FAULT_HANDLER, error);
}

static int backend_queue_alloc(void *opaque, uint32_t *queue_id, int *descriptor,
                               struct viommu_error *error)
{
    *queue_id = ((struct backend *)opaque)->next_id++;
    *descriptor = 0;
    return reach(opaque, VIOMMU_HOST_CALL_FAULT_QUEUE_ALLOC, error);
}

static int backend_queue_read(void *opaque, uint32_t queue_id,
                              struct viommu_host_page_request *requests, size_t *count,
                              struct viommu_error *error)
{
    (void)queue_id;
    (void)requests;
    (void)count;
    return reach(opaque, VIOMMU_HOST_CALL_FAULT_QUEUE_READ, error);
}

static int backend_queue_respond(void *opaque, uint32_t queue_id,
                                 const struct viommu_host_page_response *response,
                                 struct viommu_error *error)
{
    (void)queue_id;
    (void)response;
    return reach(opaque, VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND, error);
}

static const struct viommu_host_ops ops = {
    .size = sizeof(ops),
    .name = "notes",
    .destroy = backend_destroy,
    .bind = backend_bind,
    .unbind = backend_unbind,
    .ioas_alloc = backend_ioas_alloc,
    .ioas_map = backend_ioas_map,
    .ioas_unmap = backend_ioas_unmap,
    .ioas_iova_ranges = backend_ranges,
    .hwpt_alloc = backend_hwpt_alloc,
    .destroy_object = backend_destroy_object,
    .attach = backend_attach,
    .detach = backend_detach,
    .invalidate = backend_invalidate,
    .hw_info = backend_hw_info,
    .set_fault_handler = backend_handler,
    .fault_queue_alloc = backend_queue_alloc,
    .fault_queue_read = backend_queue_read,
    .fault_queue_respond = backend_queue_respond,
};

static struct viommu_host *host_create(struct backend *backend)
{
    struct viommu_host *host;

    *backend = (struct backend){.next_id = 10};
    assert_int_equal(viommu_host_create(&host, &ops, backend, NULL, NULL), 0);
    return host;
}

/* Make one call of each kind, all of them well formed. */
static int call(struct viommu_host *host, enum viommu_host_call which, struct viommu_error *error)
{
    struct viommu_host_hwpt_options hwpt = {.size = sizeof(hwpt)};
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct viommu_host_device *device;
    static char page[4096] __attribute__((aligned(4096)));
    const struct viommu_host_page_response response = {1, 0};
    struct viommu_host_page_request request;
    uint32_t id, count = 3;
    size_t room = 0, one = 1;
    int ret;

    switch (which) {
    case VIOMMU_HOST_CALL_BIND:
        return viommu_host_bind(host, "dev", &id, error);
    case VIOMMU_HOST_CALL_UNBIND:
        viommu_host_unbind(host, 1);
        return 0;
    case VIOMMU_HOST_CALL_IOAS_ALLOC:
        return viommu_host_ioas_alloc(host, &id, error);
    case VIOMMU_HOST_CALL_IOAS_MAP:
        return viommu_host_ioas_map(host, 2, 0, page, 4096, VIOMMU_HOST_MAP_READ, error);
    case VIOMMU_HOST_CALL_IOAS_UNMAP:
        return viommu_host_ioas_unmap(host, 2, 0, 4096, NULL, error);
    case VIOMMU_HOST_CALL_IOAS_IOVA_RANGES:
        return viommu_host_ioas_iova_ranges(host, 2, NULL, &room, error);
    case VIOMMU_HOST_CALL_HWPT_ALLOC:
        return viommu_host_hwpt_alloc(host, &hwpt, &id, error);
    case VIOMMU_HOST_CALL_DESTROY_OBJECT:
        return viommu_host_destroy_object(host, 3, error);
    case VIOMMU_HOST_CALL_ATTACH:
        return viommu_host_attach(host, 1, VIOMMU_PASID_NONE, 3, error);
    case VIOMMU_HOST_CALL_DETACH:
        return viommu_host_detach(host, 1, 0xfffff, error);
    case VIOMMU_HOST_CALL_INVALIDATE:
        return viommu_host_invalidate(host, 3, VIOMMU_HOST_DATA_VTD_S1, page, 24, &count, error);
    case VIOMMU_HOST_CALL_HW_INFO:
        return viommu_host_hw_info(host, 1, &info, error);
    case VIOMMU_HOST_CALL_FAULT_QUEUE_ALLOC:
        return viommu_host_fault_queue_alloc(host, &id, &ret, error);
    case VIOMMU_HOST_CALL_FAULT_QUEUE_READ:
        ret = viommu_host_fault_queue_read(host, 4, &request, &one, error);
        assert_int_equal(one, ret ? 0 : 1);
        return ret;
    case VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND:
        return viommu_host_fault_queue_respond(host, 4, &response, error);
    default:
        assert_int_equal(host_device_create(&device, host, 1, 2, 3, false, NULL), 0);
        ret = viommu_host_device_set_fault_handler(device, NULL, NULL, error);
        host_device_destroy(device);
        return ret;
    }
}

static void test_create(void **state)
{
    struct viommu_host_ops less = ops;
    struct viommu_host_device *device;
    struct viommu_error error;
    struct backend backend = {0};
    struct viommu_host *host;

    (void)state;
    assert_int_equal(viommu_host_create(NULL, &ops, &backend, NULL, &error), -EINVAL);
    assert_int_equal(viommu_host_create(&host, NULL, &backend, NULL, &error), -EINVAL);
    less.attach = NULL;
    assert_int_equal(viommu_host_create(&host, &less, &backend, NULL, &error), -EINVAL);
    assert_non_null(strstr(error.message, "attach"));
    assert_int_equal(backend.destroyed, 0); /* it stays the caller's */

    /* An embedder compiled before set_fault_handler was there. */
    less = ops;
    less.size = offsetof(struct viommu_host_ops, set_fault_handler);
    assert_int_equal(viommu_host_create(&host, &less, &backend, NULL, &error), 0);
    assert_int_equal(host_device_create(&device, host, 1, 2, 3, true, NULL), 0);
    assert_int_equal(viommu_host_device_set_fault_handler(device, NULL, NULL, &error), -EOPNOTSUPP);
    assert_int_equal(call(host, VIOMMU_HOST_CALL_FAULT_QUEUE_ALLOC, &error), -EOPNOTSUPP);
    assert_int_equal(call(host, VIOMMU_HOST_CALL_FAULT_QUEUE_READ, &error), -EOPNOTSUPP);
    assert_int_equal(call(host, VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND, &error), -EOPNOTSUPP);
    host_device_destroy(device);
    viommu_host_destroy(host);
    assert_int_equal(backend.destroyed, 1);
    viommu_host_destroy(NULL);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(viommu_host_call_name(VIOMMU_HOST_CALL_HWPT_ALLOC), "hwpt_alloc");
    for (int i = 0; i < VIOMMU_HOST_CALL_COUNT; i++)
        assert_non_null(viommu_host_call_name(i));
    assert_non_null(viommu_host_call_name(VIOMMU_HOST_CALL_COUNT));
}

/* Every call is counted, fails as its backend does, and has a sentence in any case. */
static void test_each_call(void **state)
{
    struct viommu_host_stats stats = {.size = sizeof(stats)};
    struct viommu_error error = {0};
    struct backend backend;
    struct viommu_host *host = host_create(&backend);

    (void)state;
    for (int i = 0; i < VIOMMU_HOST_CALL_COUNT; i++) {
        int refused = i == VIOMMU_HOST_CALL_UNBIND ? 0 : -EIO;

        backend.ret = 0;
        assert_int_equal(call(host, i, &error), 0);
        assert_int_equal(call(host, i, NULL), 0);
        assert_string_equal(error.message, ""); /* written only by a failure */
        backend.ret = -EIO;
        backend.says_why = false;
        assert_int_equal(call(host, i, NULL), refused);
        assert_int_equal(call(host, i, &error), refused);
        if (refused) {
            assert_int_equal(error.code, -EIO);
            assert_non_null(strstr(error.message, viommu_host_call_name(i)));
            backend.says_why = true;
            assert_int_equal(call(host, i, &error), -EIO);
            assert_string_equal(error.message, "the backend says so");
            assert_int_equal(error.code, -EIO);
        }
        memset(&error, 0, sizeof(error));
        viommu_host_get_stats(host, &stats);
        assert_int_equal(stats.calls[i], refused ? 5 : 4);
        assert_int_equal(stats.failures[i], refused ? 3 : 0);
        assert_int_equal(backend.reached[i], refused ? 5 : 4);
    }
    assert_int_equal(stats.invalidate_entries, 15);
    viommu_host_destroy(host);
}

struct observer {
    int seen[VIOMMU_HOST_CALL_COUNT];
    int answer;
};

static int observe(void *opaque, enum viommu_host_call which)
{
    struct observer *observer = opaque;

    observer->seen[which]++;
    return observer->answer;
}

static void test_observer(void **state)
{
    struct viommu_host_stats stats = {.size = sizeof(stats)};
    struct observer observer = {0};
    struct viommu_error error;
    struct backend backend;
    struct viommu_host *host = host_create(&backend);

    (void)state;
    viommu_host_set_observer(host, observe, &observer);
    for (int i = 0; i < VIOMMU_HOST_CALL_COUNT; i++) {
        bool cannot_fail = i == VIOMMU_HOST_CALL_UNBIND;

        observer.answer = 1;
        assert_int_equal(call(host, i, &error), 0);
        observer.answer = -ENOSPC;
        assert_int_equal(call(host, i, &error), cannot_fail ? 0 : -ENOSPC);
        if (!cannot_fail)
            assert_non_null(strstr(error.message, viommu_host_call_name(i)));
        assert_int_equal(observer.seen[i], 2);
        assert_int_equal(backend.reached[i], cannot_fail ? 2 : 1);
        viommu_host_get_stats(host, &stats);
        assert_int_equal(stats.failures[i], cannot_fail ? 0 : 1);
    }
    viommu_host_set_observer(host, NULL, NULL);
    assert_int_equal(call(host, VIOMMU_HOST_CALL_BIND, &error), 0);
    assert_int_equal(observer.seen[VIOMMU_HOST_CALL_BIND], 2);
    viommu_host_destroy(host);
}

/* What is wrong whatever the backend does not reach it. */
static void test_arguments(void **state)
{
    struct viommu_host_hwpt_options hwpt = {.size = sizeof(hwpt)};
    struct viommu_error error;
    struct backend backend;
    struct viommu_host *host = host_create(&backend);
    uint64_t unmapped = 5;
    uint32_t id, count = 1;
    size_t room = 1;

    (void)state;
    assert_int_equal(viommu_host_bind(host, NULL, &id, &error), -EINVAL);
    assert_int_equal(viommu_host_bind(host, "", &id, &error), -EINVAL);
    assert_int_equal(viommu_host_ioas_iova_ranges(host, 2, NULL, &room, &error), -EINVAL);
    assert_int_equal(viommu_host_ioas_iova_ranges(host, 2, NULL, NULL, &error), -EINVAL);
    assert_int_equal(viommu_host_ioas_unmap(host, 2, 1, 4096, &unmapped, &error), -EINVAL);
    assert_int_equal(unmapped, 0);
    assert_int_equal(viommu_host_attach(host, 1, 1 << 20, 3, &error), -EINVAL);
    assert_int_equal(viommu_host_detach(host, 1, 1 << 20, &error), -EINVAL);
    assert_int_equal(viommu_host_invalidate(host, 3, 1, NULL, 24, &count, &error), -EINVAL);
    assert_int_equal(count, 0);
    hwpt.data_length = 8;
    assert_int_equal(viommu_host_hwpt_alloc(host, &hwpt, &id, &error), -EINVAL);
    hwpt.data_type = VIOMMU_HOST_DATA_VTD_S1;
    assert_int_equal(viommu_host_hwpt_alloc(host, &hwpt, &id, &error), -EINVAL);
    for (int i = 0; i < VIOMMU_HOST_CALL_COUNT; i++)
        assert_int_equal(backend.reached[i], 0);
    viommu_host_destroy(host);
}

static void test_nested_are_counted(void **state)
{
    struct viommu_host_vtd_s1 data = {0};
    struct viommu_host_hwpt_options hwpt = {.size = sizeof(hwpt)};
    struct viommu_host_stats stats = {.size = sizeof(stats)};
    struct backend backend;
    struct viommu_host *host = host_create(&backend);
    uint32_t paging, nested[3];

    (void)state;
    assert_int_equal(viommu_host_hwpt_alloc(host, &hwpt, &paging, NULL), 0);
    hwpt.data_type = VIOMMU_HOST_DATA_VTD_S1;
    hwpt.data = &data;
    hwpt.data_length = sizeof(data);
    for (int i = 0; i < 3; i++)
        assert_int_equal(viommu_host_hwpt_alloc(host, &hwpt, &nested[i], NULL), 0);
    backend.ret = -EBUSY;
    assert_int_equal(viommu_host_destroy_object(host, nested[0], NULL), -EBUSY);
    backend.ret = 0;
    assert_int_equal(viommu_host_destroy_object(host, nested[1], NULL), 0);
    assert_int_equal(viommu_host_destroy_object(host, paging, NULL), 0);
    viommu_host_get_stats(host, &stats);
    assert_int_equal(stats.nested_allocated, 3);
    assert_int_equal(stats.nested_destroyed, 1);
    viommu_host_destroy(host);
}

/* Structs of an older and of a newer caller. */
static void test_sizes(void **state)
{
    struct {
        struct viommu_host_hw_info known;
        uint64_t more;
    } newer = {.known.size = sizeof(newer), .more = 1};
    struct viommu_host_hw_info older = {.size = offsetof(struct viommu_host_hw_info, registers[1]),
                                        .max_pasid_log2 = 7};
    struct viommu_host_stats stats;
    struct viommu_host_hwpt_options hwpt = {
        .size = offsetof(struct viommu_host_hwpt_options, data_type),
        .flags = 8,
        .data_type = VIOMMU_HOST_DATA_VTD_S1,
    };
    struct backend backend;
    struct viommu_host *host = host_create(&backend);
    uint32_t id;

    (void)state;
    assert_int_equal(viommu_host_hw_info(host, 1, &older, NULL), 0);
    assert_int_equal(older.registers[0], 0x1234);
    assert_int_equal(older.max_pasid_log2, 7);
    assert_int_equal(viommu_host_hw_info(host, 1, &newer.known, NULL), 0);
    assert_int_equal(newer.known.max_pasid_log2, 20);
    assert_int_equal(newer.known.size, sizeof(newer));
    assert_int_equal(newer.more, 0);
    older.size = 4;
    assert_int_equal(viommu_host_hw_info(host, 1, &older, NULL), -EINVAL);

    assert_int_equal(viommu_host_hwpt_alloc(host, &hwpt, &id, NULL), 0);
    assert_int_equal(backend.hwpt.flags, 8);
    assert_int_equal(backend.hwpt.data_type, VIOMMU_HOST_DATA_NONE);

    memset(&stats, 0xff, sizeof(stats));
    stats.size = offsetof(struct viommu_host_stats, failures);
    viommu_host_get_stats(host, &stats);
    assert_int_equal(stats.calls[VIOMMU_HOST_CALL_HWPT_ALLOC], 1);
    assert_int_equal(stats.calls[VIOMMU_HOST_CALL_ROOM - 1], 0);
    assert_int_equal(stats.failures[0], UINT64_MAX);
    /* What a caller may have compiled into it: it must never move. */
    assert_int_equal(offsetof(struct viommu_host_stats, failures), 8 + 32 * 8);
    assert_int_equal(offsetof(struct viommu_host_stats, invalidate_entries), 8 + 64 * 8);
    viommu_host_destroy(host);
}

static void test_host_device(void **state)
{
    struct viommu_host_device *device;
    struct backend backend;
    struct viommu_host *host = host_create(&backend);

    (void)state;
    assert_int_equal(host_device_create(&device, host, 1, 2, 3, true, NULL), 0);
    assert_ptr_equal(viommu_host_device_host(device), host);
    assert_int_equal(viommu_host_device_id(device), 1);
    assert_int_equal(viommu_host_device_ioas(device), 2);
    assert_int_equal(viommu_host_device_parent_hwpt(device), 3);
    assert_true(viommu_host_device_is_nest_parent(device));
    assert_int_equal(viommu_host_device_info(device)->type, VIOMMU_HOST_IOMMU_NONE);
    backend.ret = -EIO;
    assert_int_equal(host_device_realize(device, NULL), -EIO);
    backend.ret = 0;
    assert_int_equal(host_device_realize(device, NULL), 0);
    assert_int_equal(viommu_host_device_info(device)->type, VIOMMU_HOST_IOMMU_VTD);
    assert_int_equal(viommu_host_device_attach(device, 4, 3, NULL), 0);
    assert_int_equal(viommu_host_device_detach(device, 4, NULL), 0);
    assert_int_equal(backend.reached[VIOMMU_HOST_CALL_ATTACH], 1);
    assert_int_equal(backend.reached[VIOMMU_HOST_CALL_DETACH], 1);
    host_device_destroy(device);
    viommu_host_destroy(host);
}

static void note_loss(void *opaque)
{
    ++*(int *)opaque;
}

static void test_loss_is_told_once(void **state)
{
    int first = 0, second = 0, late = 0;
    struct viommu_host_device *device;
    struct backend backend;
    struct viommu_host *host = host_create(&backend);

    (void)state;
    assert_int_equal(host_device_create(&device, host, 1, 2, 3, true, NULL), 0);
    viommu_host_device_set_lost_handler(device, note_loss, &first);
    viommu_host_device_set_lost_handler(device, note_loss, &second);
    host_device_unbind(device);
    host_device_unbind(device);
    viommu_host_device_set_lost_handler(device, note_loss, &late);
    assert_int_equal(first, 0);
    assert_int_equal(second, 1);
    assert_int_equal(late, 0);
    assert_int_equal(backend.reached[VIOMMU_HOST_CALL_UNBIND], 1);
    assert_int_equal(viommu_host_device_detach(device, VIOMMU_PASID_NONE, NULL), -ENODEV);
    host_device_destroy(device);
    viommu_host_destroy(host);
}

/* Between the attachment and the handler, too. */
static void test_loss_waits_for_a_handler(void **state)
{
    struct viommu_host_device *device;
    struct backend backend;
    struct viommu_host *host = host_create(&backend);
    int late = 0, later = 0;

    (void)state;
    assert_int_equal(host_device_create(&device, host, 1, 2, 3, true, NULL), 0);
    host_device_unbind(device);
    viommu_host_device_set_lost_handler(device, NULL, NULL);
    viommu_host_device_set_lost_handler(device, note_loss, &late);
    viommu_host_device_set_lost_handler(device, note_loss, &later);
    assert_int_equal(late, 1);
    assert_int_equal(later, 0);
    host_device_destroy(device);
    viommu_host_destroy(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_each_call),
        cmocka_unit_test(test_observer),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_nested_are_counted),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_host_device),
        cmocka_unit_test(test_loss_is_told_once),
        cmocka_unit_test(test_loss_waits_for_a_handler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
