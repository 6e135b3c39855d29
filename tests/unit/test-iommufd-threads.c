/* SPDX-License-Identifier: MIT */
/* The backends of real hardware with several threads in them at once; the fake kernel takes turns.
 */
#include <pthread.h>

#include "host/type1/type1.h"
#include "iommufd-rig.h"

#define ROUNDS 300

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static struct host_sys fake; /* the calls of the fake kernel, which knows no threads */
static unsigned int wrong;   /* calls that failed and should not have; atomic */

#define IN_TURN(type, call)                                                                        \
    type ret;                                                                                      \
    pthread_mutex_lock(&turn);                                                                     \
    ret = call;                                                                                    \
    pthread_mutex_unlock(&turn);                                                                   \
    return ret

static int turn_open(void *opaque, const char *path, int flags)
{
    IN_TURN(int, fake.open(opaque, path, flags));
}

static void turn_close(void *opaque, int descriptor)
{
    pthread_mutex_lock(&turn);
    fake.close(opaque, descriptor);
    pthread_mutex_unlock(&turn);
}

static int turn_ioctl(void *opaque, int descriptor, unsigned long request, void *argument)
{
    IN_TURN(int, fake.ioctl(opaque, descriptor, request, argument));
}

static ssize_t turn_read(void *opaque, int descriptor, void *buffer, size_t size)
{
    IN_TURN(ssize_t, fake.read(opaque, descriptor, buffer, size));
}

static ssize_t turn_write(void *opaque, int descriptor, const void *buffer, size_t size)
{
    IN_TURN(ssize_t, fake.write(opaque, descriptor, buffer, size));
}

static int turn_readable(void *opaque, int descriptor)
{
    IN_TURN(int, fake.readable(opaque, descriptor));
}

static int turn_eventfd(void *opaque)
{
    IN_TURN(int, fake.eventfd(opaque));
}

static int turn_epoll(void *opaque, const int *descriptors, size_t count)
{
    IN_TURN(int, fake.epoll(opaque, descriptors, count));
}

static int turn_readlink(void *opaque, const char *path, char *target, size_t size)
{
    IN_TURN(int, fake.readlink(opaque, path, target, size));
}

static int turn_list(void *opaque, const char *path, host_sys_visit_fn *visit, void *visit_opaque)
{
    IN_TURN(int, fake.list(opaque, path, visit, visit_opaque));
}

static int turn_device_number(void *opaque, int descriptor, unsigned int *major,
                              unsigned int *minor)
{
    IN_TURN(int, fake.device_number(opaque, descriptor, major, minor));
}

static void take_turns(struct fake_kernel *kernel)
{
    fake = kernel->sys;
    kernel->sys.open = turn_open;
    kernel->sys.close = turn_close;
    kernel->sys.ioctl = turn_ioctl;
    kernel->sys.read = turn_read;
    kernel->sys.write = turn_write;
    kernel->sys.readable = turn_readable;
    kernel->sys.eventfd = turn_eventfd;
    kernel->sys.epoll = turn_epoll;
    kernel->sys.readlink = turn_readlink;
    kernel->sys.list = turn_list;
    kernel->sys.device_number = turn_device_number;
}

/* assert_*() of cmocka are for the test's own thread alone. */
static void expect(bool good)
{
    if (!good)
        __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
}

static void *map_and_unmap(void *opaque)
{
    struct iommufd_rig *rig = opaque;
    char *memory = unit_pages(1);
    struct viommu_error error;

    for (int i = 0; i < ROUNDS; i++) {
        expect(!viommu_host_ioas_map(rig->host, rig->ioas, 0x10000, memory, PAGE, RWMAP, &error));
        expect(!viommu_host_ioas_unmap(rig->host, rig->ioas, 0x10000, PAGE, NULL, &error));
    }
    free(memory);
    return NULL;
}

static void *nest_and_destroy(void *opaque)
{
    const struct iommufd_rig *rig = opaque;
    struct iommufd_rig own = {.host = rig->host, .device = rig->device, .parent = rig->parent};
    struct viommu_host_vtd_s1_invalidate entry = {.npages = 1};

    for (int i = 0; i < ROUNDS; i++) {
        uint32_t id = 0, count = 1;

        expect(!rig_nest(&own, VIOMMU_HOST_HWPT_PASID, 0, &id));
        expect(!viommu_host_attach(own.host, own.device, 5, id, &own.error));
        expect(!viommu_host_invalidate(own.host, id, VIOMMU_HOST_DATA_VTD_S1, &entry, sizeof(entry),
                                       &count, &own.error));
        expect(!viommu_host_detach(own.host, own.device, 5, &own.error));
        expect(!viommu_host_destroy_object(own.host, id, &own.error));
    }
    return NULL;
}

static void *bind_and_unbind(void *opaque)
{
    struct iommufd_rig *rig = opaque;
    struct viommu_error error;
    uint32_t id;

    for (int i = 0; i < ROUNDS; i++) {
        expect(!viommu_host_bind(rig->host, "0000:02:00.0", &id, &error));
        expect(!viommu_host_attach(rig->host, id, VIOMMU_PASID_NONE, rig->parent, &error));
        viommu_host_unbind(rig->host, id);
    }
    return NULL;
}

static void *ask_for_pages(void *opaque)
{
    struct iommufd_rig *rig = opaque;
    struct viommu_host_page_request request;
    struct viommu_error error;
    uint32_t queue;
    int descriptor;

    for (int i = 0; i < ROUNDS; i++) {
        size_t count = 1;

        expect(!viommu_host_fault_queue_alloc(rig->host, &queue, &descriptor, &error));
        expect(!viommu_host_fault_queue_read(rig->host, queue, &request, &count, &error));
        expect(!viommu_host_destroy_object(rig->host, queue, &error));
    }
    return NULL;
}

static void *add_files(void *opaque)
{
    struct iommufd_rig *rig = opaque;
    char *memory = unit_pages(1);
    struct viommu_error error;

    for (int i = 0; i < ROUNDS; i++) {
        expect(!viommu_iommufd_add_file(rig->host, memory, PAGE, 7, 0, &error));
        viommu_iommufd_remove_file(rig->host, memory);
    }
    free(memory);
    return NULL;
}

static void run(void *(*const bodies[])(void *), size_t count, void *opaque)
{
    pthread_t threads[8];

    wrong = 0;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], opaque), 0);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(wrong, 0);
}

static void test_iommufd(void **state)
{
    static void *(*const bodies[])(void *) = {map_and_unmap, nest_and_destroy, bind_and_unbind,
                                              ask_for_pages, add_files};
    struct iommufd_rig rig = {.device = 0};

    (void)state;
    fake_boot(&rig.kernel, LINUX_7_3);
    take_turns(&rig.kernel);
    assert_int_equal(iommufd_create(&rig.host, &rig.kernel.sys, rig.kernel.root, NULL, &rig.error),
                     0);
    rig_bind(&rig);
    rig_parent(&rig);
    run(bodies, COUNT(bodies), &rig);
    rig_end(&rig);
}

static void *attach_and_detach(void *opaque)
{
    struct iommufd_rig *rig = opaque;
    struct viommu_error error;

    for (int i = 0; i < ROUNDS; i++) {
        expect(!viommu_host_attach(rig->host, rig->device, VIOMMU_PASID_NONE, rig->parent, &error));
        expect(!viommu_host_detach(rig->host, rig->device, VIOMMU_PASID_NONE, &error));
    }
    return NULL;
}

static void test_type1(void **state)
{
    static void *(*const bodies[])(void *) = {map_and_unmap, attach_and_detach, bind_and_unbind};
    struct iommufd_rig rig = {.device = 0};

    (void)state;
    fake_boot(&rig.kernel, LINUX_7_3);
    take_turns(&rig.kernel);
    assert_int_equal(type1_create(&rig.host, &rig.kernel.sys, rig.kernel.root, NULL, &rig.error),
                     0);
    rig_bind(&rig);
    assert_int_equal(rig_hwpt(&rig, rig.ioas, 0, &rig.parent), 0);
    run(bodies, COUNT(bodies), &rig);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iommufd),
        cmocka_unit_test(test_type1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
