/* SPDX-License-Identifier: MIT */
#include "loop.h"
#include "vmm.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct vmm_watch {
    struct vmm_watch *next;
    int fd;
    vmm_watch_fn *ready;
    void *opaque;
};

struct vmm_loop {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* `running` has become another one */
    struct vmm_watch *watches;
    struct vmm_watch *running; /* whose callback runs; under the lock */
    int epoll_fd;
    int end_fd; /* readable: the thread shall end */
};

/* Whether it is still there; marks it as running when it is. */
static bool begin(struct vmm_loop *loop, const struct vmm_watch *watch, struct vmm_watch *copy)
{
    struct vmm_watch *known;

    pthread_mutex_lock(&loop->lock);
    for (known = loop->watches; known && known != watch; known = known->next)
        ;
    loop->running = known;
    if (known)
        *copy = *known;
    pthread_mutex_unlock(&loop->lock);
    return known;
}

static void end(struct vmm_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->running = NULL;
    pthread_cond_broadcast(&loop->idle);
    pthread_mutex_unlock(&loop->lock);
}

/* One event at a time: a callback may remove the watch that a second one would be for. */
static void *loop_main(void *opaque)
{
    struct vmm_loop *loop = opaque;
    struct vmm_watch watch;
    struct epoll_event event;

    for (;;) {
        if (epoll_wait(loop->epoll_fd, &event, 1, -1) < 1)
            continue;
        if (!event.data.ptr)
            return NULL;
        if (begin(loop, event.data.ptr, &watch)) {
            watch.ready(watch.opaque);
            end(loop);
        }
    }
}

static int watch_fd(const struct vmm_loop *loop, int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};

    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int make_descriptors(struct vmm_loop *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->end_fd = eventfd(0, EFD_CLOEXEC);
    if (loop->epoll_fd < 0 || loop->end_fd < 0)
        return -errno;
    return watch_fd(loop, loop->end_fd, NULL);
}

static void release(struct vmm_loop *loop)
{
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->end_fd >= 0)
        close(loop->end_fd);
    pthread_cond_destroy(&loop->idle);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

int vmm_loop_create(struct vmm_loop **out, struct viommu_error *err)
{
    struct vmm_loop *loop = calloc(1, sizeof(*loop));
    int ret;

    if (!loop)
        return vmm_fail(err, ENOMEM, "out of memory for the thread that waits for descriptors");
    loop->epoll_fd = -1;
    loop->end_fd = -1;
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->idle, NULL);
    ret = make_descriptors(loop);
    if (ret) {
        release(loop);
        return vmm_fail(err, -ret, "cannot wait for descriptors: %s", strerror(-ret));
    }
    *out = loop;
    return 0;
}

int vmm_loop_start(struct vmm_loop *loop, struct viommu_error *err)
{
    sigset_t all, old;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    ret = pthread_create(&loop->thread, NULL, loop_main, loop);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    loop->started = !ret;
    return ret ? vmm_fail(err, ret, "cannot start the thread that waits for descriptors: %s",
                          strerror(ret))
               : 0;
}

void vmm_loop_stop(struct vmm_loop *loop)
{
    uint64_t one = 1;

    if (!loop || !loop->started)
        return;
    while (write(loop->end_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    pthread_join(loop->thread, NULL);
    loop->started = false;
}

void vmm_loop_destroy(struct vmm_loop *loop)
{
    if (!loop)
        return;
    vmm_loop_stop(loop);
    while (loop->watches)
        vmm_loop_remove(loop, loop->watches);
    release(loop);
}

int vmm_loop_add(struct vmm_loop *loop, int fd, vmm_watch_fn *ready, void *opaque,
                 struct vmm_watch **out, struct viommu_error *err)
{
    struct vmm_watch *watch = calloc(1, sizeof(*watch));
    int ret;

    if (!watch)
        return vmm_fail(err, ENOMEM, "out of memory for a descriptor to wait for");
    watch->fd = fd;
    watch->ready = ready;
    watch->opaque = opaque;
    pthread_mutex_lock(&loop->lock);
    watch->next = loop->watches;
    loop->watches = watch;
    *out = watch;
    pthread_mutex_unlock(&loop->lock);
    ret = watch_fd(loop, fd, watch);
    if (!ret)
        return 0;
    vmm_loop_remove(loop, watch);
    *out = NULL;
    return vmm_fail(err, -ret, "cannot wait for file descriptor %d: %s", fd, strerror(-ret));
}

static void unlink_watch(struct vmm_loop *loop, const struct vmm_watch *watch)
{
    struct vmm_watch **at = &loop->watches;

    while (*at && *at != watch)
        at = &(*at)->next;
    if (*at)
        *at = watch->next;
}

void vmm_loop_remove(struct vmm_loop *loop, struct vmm_watch *watch)
{
    if (!watch)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    pthread_mutex_lock(&loop->lock);
    unlink_watch(loop, watch);
    while (loop->running == watch && !pthread_equal(pthread_self(), loop->thread))
        pthread_cond_wait(&loop->idle, &loop->lock);
    pthread_mutex_unlock(&loop->lock);
    free(watch);
}
