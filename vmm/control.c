/* SPDX-License-Identifier: MIT */
/* The socket, its users, and where their lines end. */
#include "control.h"
#include "loop.h"
#include "vmm.h"
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 8

/* One user; `fd` is -1 when the place is free. */
struct client {
    struct vmm_control *control;
    struct vmm_watch *watch;
    int fd;
    size_t length; /* of the line that has begun */
    char line[VMM_CONTROL_LINE];
};

/* Once it is made, listener and clients are used in the loop's thread alone. */
struct vmm_control {
    struct vmm *vm;
    struct vmm_watch *watch; /* of the listener */
    int fd;
    bool bound; /* the file is ours */
    struct vmm_watch *end_watch;
    int end_fd;  /* eventfd: the loop's thread shall let go of all that */
    sem_t ended; /* and has done so */
    struct client clients[VMM_CONTROL_CLIENTS];
};

static void client_close(struct client *client)
{
    vmm_loop_remove(client->control->vm->loop, client->watch);
    close(client->fd);
    client->watch = NULL;
    client->fd = -1;
}

/* Who does not read answers is not waited for. */
static bool send_all(int fd, const char *text, size_t size)
{
    return send(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

/* False: the connection is of no more use. A request that is NULL was too long. */
static bool answer(struct client *client, const char *request)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    bool sent;

    if (!out)
        return false;
    if (request)
        vmm_control_answer(client->control->vm, request, out);
    else
        vmm_control_refuse("a request has at most 255 bytes", out);
    fputc('\n', out);
    sent = !fclose(out) && send_all(client->fd, text, size);
    free(text);
    return sent && request;
}

static bool take_line(struct client *client)
{
    if (client->length && client->line[client->length - 1] == '\r')
        client->length--;
    client->line[client->length] = '\0';
    client->length = 0;
    return answer(client, client->line);
}

static bool take_byte(struct client *client, char byte)
{
    if (byte == '\n')
        return take_line(client);
    if (client->length == VMM_CONTROL_LINE - 1)
        return answer(client, NULL);
    client->line[client->length++] = byte ? byte : '?'; /* a zero byte is no text */
    return true;
}

static void client_ready(void *opaque)
{
    struct client *client = opaque;
    char bytes[VMM_CONTROL_LINE];
    ssize_t got = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    bool good = got > 0;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    for (ssize_t i = 0; i < got && good; i++)
        good = take_byte(client, bytes[i]);
    if (!good)
        client_close(client);
}

static struct client *free_client(struct vmm_control *control)
{
    for (unsigned int i = 0; i < VMM_CONTROL_CLIENTS; i++)
        if (control->clients[i].fd < 0)
            return &control->clients[i];
    return NULL;
}

static void turn_away(int fd)
{
    static const char sentence[] =
        "{\"ok\":false,\"error\":\"there are 8 users already; close a connection\"}\n";

    send_all(fd, sentence, sizeof(sentence) - 1);
    close(fd);
}

/* Instead of being called for the same user again and again. */
static void stop_listening(struct vmm_control *control, int code)
{
    fprintf(stderr, "viommu: warning: the control socket takes no more users: %s\n",
            strerror(code));
    vmm_loop_remove(control->vm->loop, control->watch);
    control->watch = NULL;
}

static void listener_ready(void *opaque)
{
    struct vmm_control *control = opaque;
    struct client *client = free_client(control);
    int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            stop_listening(control, errno);
        return;
    }
    if (!client) {
        turn_away(fd);
        return;
    }
    client->fd = fd;
    client->length = 0;
    if (vmm_loop_add(control->vm->loop, fd, client_ready, client, &client->watch, NULL))
        client_close(client);
}

static void end_ready(void *opaque)
{
    struct vmm_control *control = opaque;
    uint64_t count;

    if (read(control->end_fd, &count, sizeof(count)) < 0)
        return;
    vmm_loop_remove(control->vm->loop, control->watch);
    for (unsigned int i = 0; i < VMM_CONTROL_CLIENTS; i++)
        if (control->clients[i].fd >= 0)
            client_close(&control->clients[i]);
    sem_post(&control->ended);
}

/* For this user alone from the moment that it exists. */
static int bind_socket(struct vmm_control *control, const char *path, struct viommu_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    mode_t mask;
    int ret;

    if (!length) /* the kernel takes it for a name that any user may connect to */
        return vmm_fail(err, EINVAL, "--control names no path; give it that of a socket to make");
    if (length >= sizeof(address.sun_path))
        return vmm_fail(err, ENAMETOOLONG,
                        "--control %s has %zu characters, a socket's path at most %zu", path,
                        length, sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, length + 1);
    mask = umask(0077);
    ret = bind(control->fd, (const struct sockaddr *)&address, sizeof(address)) ? errno : 0;
    umask(mask);
    control->bound = !ret;
    if (ret == EADDRINUSE)
        return vmm_fail(err, ret,
                        "--control %s exists already; remove it if no machine uses it, or name "
                        "another path",
                        path);
    return ret ? vmm_fail(err, ret, "cannot make the socket --control %s: %s", path, strerror(ret))
               : 0;
}

static int start(struct vmm_control *control, const char *path, struct viommu_error *err)
{
    int ret;

    control->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->fd < 0 || control->end_fd < 0)
        return vmm_fail(err, errno, "cannot create a socket for --control: %s", strerror(errno));
    ret = bind_socket(control, path, err);
    if (!ret)
        ret = vmm_loop_add(control->vm->loop, control->end_fd, end_ready, control,
                           &control->end_watch, err);
    if (ret)
        return ret;
    if (listen(control->fd, BACKLOG))
        return vmm_fail(err, errno, "cannot listen on --control %s: %s", path, strerror(errno));
    return vmm_loop_add(control->vm->loop, control->fd, listener_ready, control, &control->watch,
                        err);
}

int vmm_control_create(struct vmm *vm, struct viommu_error *err)
{
    struct vmm_control *control;
    int ret;

    if (!vm->options->control)
        return 0;
    control = calloc(1, sizeof(*control));
    if (!control)
        return vmm_fail(err, ENOMEM, "out of memory for the control socket");
    control->vm = vm;
    control->fd = -1;
    control->end_fd = -1;
    sem_init(&control->ended, 0, 0);
    for (unsigned int i = 0; i < VMM_CONTROL_CLIENTS; i++) {
        control->clients[i].control = control;
        control->clients[i].fd = -1;
    }
    vm->control = control;
    ret = start(control, vm->options->control, err);
    if (ret)
        vmm_control_destroy(vm);
    return ret;
}

static void let_go(struct vmm_control *control)
{
    uint64_t one = 1;

    while (write(control->end_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    while (sem_wait(&control->ended))
        ;
}

void vmm_control_destroy(struct vmm *vm)
{
    struct vmm_control *control = vm->control;

    if (!control)
        return;
    if (control->end_watch)
        let_go(control);
    vmm_loop_remove(vm->loop, control->end_watch);
    if (control->bound)
        unlink(vm->options->control);
    if (control->fd >= 0)
        close(control->fd);
    if (control->end_fd >= 0)
        close(control->end_fd);
    sem_destroy(&control->ended);
    free(control);
    vm->control = NULL;
}
