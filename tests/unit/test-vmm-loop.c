/* SPDX-License-Identifier: MIT */
/* The VMM's thread that waits for descriptors: calls, removal from within and from outside. */
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHES 8
#define ROUNDS  2000

struct source {
    struct vmm_loop *loop;
    struct vmm_watch *watch;
    int fd;
    atomic_uint seen;
    atomic_bool inside;
    bool removes_itself;
    bool slow;
};

static struct vmm_loop *started_loop(void)
{
    struct vmm_loop *loop;

    assert_int_equal(vmm_loop_create(&loop, NULL), 0);
    assert_int_equal(vmm_loop_start(loop, NULL), 0);
    return loop;
}

static void take(void *opaque)
{
    struct source *source = opaque;
    uint64_t count;

    atomic_store(&source->inside, true);
    if (read(source->fd, &count, sizeof(count)) == sizeof(count))
        atomic_fetch_add(&source->seen, (unsigned int)count);
    if (source->slow)
        usleep(20000);
    if (source->removes_itself)
        vmm_loop_remove(source->loop, source->watch);
    atomic_store(&source->inside, false);
}

static void add(struct vmm_loop *loop, struct source *source)
{
    source->loop = loop;
    source->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(source->fd >= 0);
    assert_int_equal(vmm_loop_add(loop, source->fd, take, source, &source->watch, NULL), 0);
}

static void kick(const struct source *source)
{
    uint64_t one = 1;

    assert_int_equal(write(source->fd, &one, sizeof(one)), sizeof(one));
}

static void wait_for(const struct source *source, unsigned int seen)
{
    for (int i = 0; i < 10000 && atomic_load(&source->seen) < seen; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&source->seen), seen);
}

static void each_event_is_seen_by_its_own(void **state)
{
    struct source sources[WATCHES] = {{0}};
    struct vmm_loop *loop;

    (void)state;
    loop = started_loop();
    for (int i = 0; i < WATCHES; i++)
        add(loop, &sources[i]);
    for (int i = 0; i < WATCHES; i++)
        for (int k = 0; k <= i; k++)
            kick(&sources[i]);
    for (int i = 0; i < WATCHES; i++)
        wait_for(&sources[i], (unsigned int)i + 1);
    vmm_loop_destroy(loop); /* with all watches left */
    for (int i = 0; i < WATCHES; i++)
        close(sources[i].fd);
}

static void a_callback_may_remove_itself(void **state)
{
    struct source once = {.removes_itself = true};
    struct source other = {0};
    struct vmm_loop *loop;

    (void)state;
    loop = started_loop();
    add(loop, &once);
    add(loop, &other);
    kick(&once);
    wait_for(&once, 1);
    kick(&other);
    wait_for(&other, 1);
    kick(&once);
    kick(&other);
    wait_for(&other, 2);
    assert_int_equal(atomic_load(&once.seen), 1);
    vmm_loop_destroy(loop);
    close(once.fd);
    close(other.fd);
}

static void removal_waits_for_the_callback(void **state)
{
    struct source source = {.slow = true};
    struct vmm_loop *loop;

    (void)state;
    loop = started_loop();
    add(loop, &source);
    kick(&source);
    while (!atomic_load(&source.seen)) /* stays set, however late we look */
        ;
    vmm_loop_remove(loop, source.watch);
    assert_false(atomic_load(&source.inside));
    vmm_loop_destroy(loop);
    close(source.fd);
}

/* What is freed here must not be used by the thread: for the sanitizers to see. */
static void watches_come_and_go_while_events_arrive(void **state)
{
    struct source source = {0};
    struct vmm_loop *loop;

    (void)state;
    loop = started_loop();
    for (int i = 0; i < ROUNDS; i++) {
        add(loop, &source);
        kick(&source);
        vmm_loop_remove(loop, source.watch);
        assert_false(atomic_load(&source.inside));
        close(source.fd);
    }
    vmm_loop_destroy(loop);
}

static void nothing_is_called_before_the_start_or_after_the_stop(void **state)
{
    struct source source = {0};
    struct vmm_loop *loop;

    (void)state;
    assert_int_equal(vmm_loop_create(&loop, NULL), 0);
    add(loop, &source);
    kick(&source);
    usleep(2000);
    assert_int_equal(atomic_load(&source.seen), 0);
    assert_int_equal(vmm_loop_start(loop, NULL), 0);
    wait_for(&source, 1);
    vmm_loop_stop(loop);
    kick(&source);
    usleep(2000);
    assert_int_equal(atomic_load(&source.seen), 1);
    vmm_loop_remove(loop, source.watch);
    vmm_loop_stop(loop);
    vmm_loop_destroy(loop);
    close(source.fd);
}

static void a_descriptor_that_cannot_be_waited_for_is_refused(void **state)
{
    struct viommu_error err;
    struct vmm_watch *watch = (void *)&err;
    struct vmm_loop *loop;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)state;
    loop = started_loop();
    assert_int_equal(vmm_loop_add(loop, -1, take, NULL, &watch, &err), -EBADF);
    assert_non_null(strstr(err.message, "file descriptor -1"));
    assert_null(watch);
    assert_int_equal(vmm_loop_add(loop, fd, take, NULL, &watch, &err), -EPERM);
    vmm_loop_remove(loop, NULL);
    vmm_loop_destroy(loop);
    vmm_loop_destroy(NULL);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_is_seen_by_its_own),
        cmocka_unit_test(a_callback_may_remove_itself),
        cmocka_unit_test(removal_waits_for_the_callback),
        cmocka_unit_test(watches_come_and_go_while_events_arrive),
        cmocka_unit_test(nothing_is_called_before_the_start_or_after_the_stop),
        cmocka_unit_test(a_descriptor_that_cannot_be_waited_for_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
