/* SPDX-License-Identifier: MIT */
/* The control socket, and functions that are unplugged while they are in use. */
#include "control.h"
#include "device.h"
#include "library.h"
#include "machine.h"
#include "pci_host.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <viommu/host.h>
#include <viommu/memory.h>
#include <viommu/soft.h>

#include <cmocka.h>

#define EMULATED 1u /* slots */
#define ASSIGNED 2u

#define EDU_SOURCE      0x80u
#define EDU_DESTINATION 0x88u
#define EDU_COUNT       0x90u
#define EDU_COMMAND     0x98u
#define EDU_TO_MEMORY   3u
#define EDU_BUFFER      0x40000u
#define EDU_LIVENESS    0x04u
#define EDU_RAISE       0x60u

#define TARGET(slot) (0x100000u + 0x1000u * (slot))

static struct machine *create(void)
{
    struct machine *machine = machine_create("vtd", "soft");
    struct viommu_error error;

    if (vmm_device_create(&machine->vm, "edu", &error) ||
        vmm_device_create(&machine->vm, "edu,assign=soft", &error))
        fail_msg("%s", error.message);
    return machine;
}

/* To be freed. */
static char *answer_to(struct machine *machine, const char *request)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    vmm_control_answer(&machine->vm, request, out);
    fclose(out);
    return text;
}

static void answers(struct machine *machine, const char *request, const char *wanted)
{
    char *text = answer_to(machine, request);

    assert_string_equal(text, wanted);
    free(text);
}

static void refuses(struct machine *machine, const char *request, const char *part)
{
    static const char begin[] = "{\"ok\":false,\"error\":\"";
    char *text = answer_to(machine, request);

    assert_memory_equal(text, begin, sizeof(begin) - 1);
    if (!strstr(text, part))
        fail_msg("%s: %s", request, text);
    assert_string_equal(text + strlen(text) - 2, "\"}");
    free(text);
}

static void test_requests(void **state)
{
    struct machine *machine = create();

    (void)state;
    answers(machine, "help",
            "{\"ok\":true,\"requests\":[\"unplug FUNCTION\",\"functions\",\"help\"]}");
    answers(machine, "functions",
            "{\"ok\":true,\"functions\":["
            "{\"function\":\"0000:00:00.0\",\"name\":\"host bridge\"},"
            "{\"function\":\"0000:00:01.0\",\"name\":\"edu\"},"
            "{\"function\":\"0000:00:02.0\",\"name\":\"edu\"}]}");
    answers(machine, "unplug  0000:00:02.0", "{\"ok\":true}");
    answers(machine, "functions",
            "{\"ok\":true,\"functions\":["
            "{\"function\":\"0000:00:00.0\",\"name\":\"host bridge\"},"
            "{\"function\":\"0000:00:01.0\",\"name\":\"edu\"}]}");
    machine_destroy(machine);
}

static void test_refusals(void **state)
{
    static const char *const functions[] = {"3",          "00:03",    "00:20.0",       "00:03.8",
                                            "01:03.0",    "00:03.0x", "0000:01:03.0",  "zz:03.0",
                                            "00:03.0 x",  ":03.0",    "0000:00:03.0.", "\xff",
                                            "-1:00:03.0", "00: 3.0",  "+0:03.0",       "00:03.\t0"};
    struct machine *machine = create();
    char request[64];

    (void)state;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        snprintf(request, sizeof(request), "unplug %s", functions[i]);
        refuses(machine, request, "is no function of a root bus; write it as 00:03.0");
    }
    refuses(machine, "", "'' is no request; there is unplug FUNCTION, functions, and help");
    refuses(machine, "plug 00:03.0", "'plug' is no request");
    refuses(machine, "\"\\\x01", "'\\\"\\\\\\u0001' is no request");
    refuses(machine, "unplug", "unplug lacks its argument");
    refuses(machine, "help me", "help takes no argument; leave 'me' out");
    refuses(machine, "unplug 00:03.0", "there is no function 0000:00:03.0");
    refuses(machine, "unplug 0001:00:01.0", "there is no function 0001:00:01.0");
    refuses(machine, "unplug 00:00.0", "0000:00:00.0 (host bridge) cannot be unplugged");
    answers(machine, "unplug 00:01.0", "{\"ok\":true}");
    refuses(machine, "unplug 00:01.0", "there is no function 0000:00:01.0");
    machine_destroy(machine);
}

/* The linker takes this for the C library's; `open_next` stands in for it once. */
FILE *__real_open_memstream(char **text, size_t *size);
FILE *__wrap_open_memstream(char **text, size_t *size);

static FILE *(*open_next)(char **text, size_t *size);

FILE *__wrap_open_memstream(char **text, size_t *size)
{
    FILE *(*open_it)(char **text, size_t *size) = open_next;

    open_next = NULL;
    return open_it ? open_it(text, size) : __real_open_memstream(text, size);
}

static FILE *open_nothing(char **text, size_t *size)
{
    (void)text, (void)size;
    return NULL;
}

static FILE *open_full(char **text, size_t *size)
{
    (void)text, (void)size;
    return fopen("/dev/full", "w");
}

/* Whether it is missing at first or in the middle: the answer is whole, and is none. */
static void test_no_memory(void **state)
{
    struct machine *machine = create();
    char text[128];
    FILE *out;

    (void)state;
    for (int full = 0; full < 2; full++) {
        memset(text, 0, sizeof(text));
        out = fmemopen(text, sizeof(text), "w");
        assert_non_null(out);
        open_next = full ? open_full : open_nothing;
        vmm_control_answer(&machine->vm, "functions", out);
        fclose(out);
        assert_string_equal(text, "{\"ok\":false,\"error\":\"there is no memory for an answer\"}");
    }
    machine_destroy(machine);
}

/* ---- What a guest sees */

static uint64_t bar_of(struct machine *machine, unsigned int slot)
{
    return machine_config_read(machine, slot, 0x10, 4) & ~0xfu;
}

static void dma(struct machine *machine, uint64_t bar, unsigned int slot)
{
    machine_write(machine, bar + EDU_SOURCE, 8, EDU_BUFFER);
    machine_write(machine, bar + EDU_DESTINATION, 8, TARGET(slot));
    machine_write(machine, bar + EDU_COUNT, 8, 64);
    machine_write(machine, bar + EDU_COMMAND, 8, EDU_TO_MEMORY);
}

/* Whether the device writes to memory; it is at `bar`, or was. */
static bool arrives(struct machine *machine, uint64_t bar, unsigned int slot)
{
    uint8_t *target = machine_ram(machine, TARGET(slot));

    memset(target, 0xee, 64);
    dma(machine, bar, slot);
    return *target == 0;
}

static void is_gone(struct machine *machine, uint64_t bar, unsigned int slot)
{
    assert_int_equal(machine_config_read(machine, slot, 0, 4), UINT32_MAX);
    machine_config_write(machine, slot, 4, 2, 6);
    assert_int_equal(machine_config_read(machine, slot, 4, 2), UINT16_MAX);
    assert_int_equal(machine_read(machine, bar, 4), UINT32_MAX);
    assert_false(arrives(machine, bar, slot));
}

struct vcpu {
    struct machine *machine;
    uint64_t bar;
    unsigned int slot;
    atomic_bool end;
    atomic_uint rounds;
};

static void *drive(void *opaque)
{
    struct vcpu *vcpu = opaque;

    while (!atomic_load(&vcpu->end)) {
        dma(vcpu->machine, vcpu->bar, vcpu->slot);
        machine_write(vcpu->machine, vcpu->bar + EDU_RAISE, 4, 1);
        machine_config_write(vcpu->machine, vcpu->slot, 4, 2, 6);
        machine_config_read(vcpu->machine, vcpu->slot, 0, 4);
        atomic_fetch_add(&vcpu->rounds, 1);
    }
    return NULL;
}

static uint64_t bound_devices(struct machine *machine)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    viommu_soft_get_census(machine->vm.host, &census);
    return census.bound_devices;
}

/* Two vCPUs drive the device when it leaves; the other one is not disturbed. */
static void unplug_in_use(unsigned int slot, unsigned int other)
{
    struct machine *machine = create();
    struct vcpu vcpu = {.machine = machine, .bar = bar_of(machine, slot), .slot = slot};
    uint64_t other_bar = bar_of(machine, other);
    pthread_t threads[2];
    char request[32];

    assert_int_equal(bound_devices(machine), 1);
    assert_true(arrives(machine, vcpu.bar, slot));
    for (unsigned int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, drive, &vcpu), 0);
    while (atomic_load(&vcpu.rounds) < 100)
        sched_yield();
    snprintf(request, sizeof(request), "unplug 00:%02x.0", slot);
    answers(machine, request, "{\"ok\":true}");
    assert_false(machine_line(machine, slot));
    is_gone(machine, vcpu.bar, slot);
    atomic_store(&vcpu.end, true);
    for (unsigned int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_false(machine_line(machine, slot));
    is_gone(machine, vcpu.bar, slot);
    assert_int_equal(bound_devices(machine), slot == ASSIGNED ? 0 : 1);
    assert_true(arrives(machine, other_bar, other));
    machine_destroy(machine);
}

static void test_unplug_emulated(void **state)
{
    (void)state;
    unplug_in_use(EMULATED, ASSIGNED);
}

static void test_unplug_assigned(void **state)
{
    (void)state;
    unplug_in_use(ASSIGNED, EMULATED);
}

/* A reset does not bring it back; the others come. */
static void test_unplug_and_reset(void **state)
{
    struct machine *machine = create();
    uint64_t bar = bar_of(machine, EMULATED), other = bar_of(machine, ASSIGNED);
    struct viommu_error error;

    (void)state;
    answers(machine, "unplug 00:01.0", "{\"ok\":true}");
    vmm_pci_host_reset(&machine->vm);
    vmm_library_reset(&machine->vm);
    assert_int_equal(vmm_pci_host_start(&machine->vm, &error), 0);
    assert_int_equal(machine_config_read(machine, EMULATED, 0, 4), UINT32_MAX);
    assert_int_equal(bar_of(machine, ASSIGNED), bar); /* the first free address */
    assert_true(arrives(machine, bar, ASSIGNED));
    assert_int_equal(machine_read(machine, other, 4), UINT32_MAX);
    machine_destroy(machine);
}

static int refuse_unmap(void *opaque, enum viommu_host_call call)
{
    (void)opaque;
    return call == VIOMMU_HOST_CALL_IOAS_UNMAP ? -EIO : 0;
}

/* The host cannot take back memory that the device reaches, and so the device goes. */
static void test_lost_by_the_host(void **state)
{
    static uint8_t memory[0x200000] __attribute__((aligned(0x200000)));
    struct viommu_memory_range range = {.gpa = 0x80000000, .size = sizeof(memory), .host = memory};
    struct machine *machine = create();
    uint64_t bar = bar_of(machine, ASSIGNED);

    (void)state;
    assert_int_equal(viommu_memory_add(machine->vm.memory, &range, NULL), 0);
    viommu_host_set_observer(machine->vm.host, refuse_unmap, NULL);
    assert_int_equal(viommu_memory_remove(machine->vm.memory, range.gpa, NULL), 0);
    for (int i = 0; i < 5000 && machine_config_read(machine, ASSIGNED, 0, 4) != UINT32_MAX; i++)
        usleep(1000);
    pthread_mutex_lock(&machine->vm.plug_lock); /* until it is over */
    pthread_mutex_unlock(&machine->vm.plug_lock);
    viommu_host_set_observer(machine->vm.host, NULL, NULL);
    is_gone(machine, bar, ASSIGNED);
    assert_int_equal(bound_devices(machine), 0);
    assert_true(arrives(machine, bar_of(machine, EMULATED), EMULATED));
    machine_destroy(machine);
}

/* ---- The socket */

struct socket_fixture {
    struct machine *machine;
    char directory[32];
    char path[48];
};

static int socket_setup(void **state)
{
    struct socket_fixture *fixture = calloc(1, sizeof(*fixture));
    struct viommu_error error;

    assert_non_null(fixture);
    fixture->machine = create();
    strcpy(fixture->directory, "/tmp/viommu.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->path, sizeof(fixture->path), "%s/control", fixture->directory);
    fixture->machine->options.control = fixture->path;
    if (vmm_control_create(&fixture->machine->vm, &error))
        fail_msg("%s", error.message);
    *state = fixture;
    return 0;
}

static int socket_teardown(void **state)
{
    struct socket_fixture *fixture = *state;

    vmm_control_destroy(&fixture->machine->vm);
    assert_int_equal(access(fixture->path, F_OK), -1);
    machine_destroy(fixture->machine);
    rmdir(fixture->directory);
    free(fixture);
    return 0;
}

static int user(const struct socket_fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, fixture->path);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* To one that may have turned us away. */
static void try_to_say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL) > 0 || errno == EPIPE, true);
}

/* Reads exactly this. */
static void hear(int fd, const char *wanted)
{
    char text[256] = "";
    size_t length = 0;

    while (length < strlen(wanted)) {
        ssize_t got = read(fd, text + length, strlen(wanted) - length);

        assert_true(got > 0);
        length += (size_t)got;
    }
    assert_string_equal(text, wanted);
}

static void is_closed(int fd)
{
    char byte;

    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
}

#define OK "{\"ok\":true}\n"

/* Lines in pieces, several in one piece, with both kinds of ends; the next after a refusal. */
static void test_lines(void **state)
{
    struct socket_fixture *fixture = *state;
    int fd = user(fixture), other = user(fixture);
    struct stat status;

    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    say(other, "unplug 00");
    say(fd, "nonsense\nunplug 00:01.0\r\n");
    hear(fd, "{\"ok\":false,\"error\":\"'nonsense' is no request; there is unplug FUNCTION, "
             "functions, and help\"}\n" OK);
    say(other, ":02.0\n");
    hear(other, OK);
    close(fd);
    close(other);
}

static void test_long_line(void **state)
{
    struct socket_fixture *fixture = *state;
    char line[VMM_CONTROL_LINE + 1];
    int fd = user(fixture);

    memset(line, 'x', sizeof(line));
    line[VMM_CONTROL_LINE] = '\0';
    say(fd, line);
    hear(fd, "{\"ok\":false,\"error\":\"a request has at most 255 bytes\"}\n");
    is_closed(fd);
}

/* As another user. All places may be taken until it is seen that those of before are gone. */
static void unplug_in_turn(struct socket_fixture *fixture)
{
    int fd;

    do {
        fd = user(fixture);
        try_to_say(fd, "unplug 00:02.0\n");
        if (read(fd, &(char[12]){0}, 12) == 12 && bound_devices(fixture->machine) == 0)
            break;
        close(fd);
    } while (true);
    close(fd);
}

/* Users who leave before the answer, or in the middle of a request, which is then none. */
static void test_leaving_users(void **state)
{
    struct socket_fixture *fixture = *state;
    int fd;

    for (unsigned int i = 0; i < 50; i++) {
        fd = user(fixture);
        try_to_say(fd, "help\nfunctions\nhelp\nunplug 00:01.0");
        close(fd);
    }
    unplug_in_turn(fixture);
    assert_int_not_equal(machine_config_read(fixture->machine, EMULATED, 0, 4), UINT32_MAX);
}

static void test_many_users(void **state)
{
    struct socket_fixture *fixture = *state;
    int fds[VMM_CONTROL_CLIENTS], fd;

    for (unsigned int i = 0; i < VMM_CONTROL_CLIENTS; i++) {
        fds[i] = user(fixture);
        say(fds[i], "unplug 00:01.0\n");
        hear(fds[i], "{\"ok\":");
    }
    fd = user(fixture);
    hear(fd, "{\"ok\":false,\"error\":\"there are 8 users already; close a connection\"}\n");
    is_closed(fd);
    for (unsigned int i = 0; i + 1 < VMM_CONTROL_CLIENTS; i++)
        close(fds[i]);
    unplug_in_turn(fixture);
    close(fds[VMM_CONTROL_CLIENTS - 1]);
}

/* Answers that nobody reads fill the socket; then the connection ends, and nobody else waits. */
static void test_silent_user(void **state)
{
    struct socket_fixture *fixture = *state;
    int fd = user(fixture), other;
    ssize_t sent = 1;

    for (unsigned int i = 0; i < 200000 && sent > 0; i++)
        sent = send(fd, "help\n", 5, MSG_NOSIGNAL);
    assert_int_equal(sent, -1);
    other = user(fixture);
    say(other, "unplug 00:01.0\n");
    hear(other, OK);
    close(other);
    close(fd);
}

/* No descriptor for another user: those that are there are served all the same, to the end. */
static void test_no_descriptors(void **state)
{
    struct socket_fixture *fixture = *state;
    int fd = user(fixture), late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct rlimit old, none = {0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    say(fd, "help\n");
    hear(fd, "{\"ok\":true,\"requests\":[\"unplug FUNCTION\",\"functions\",\"help\"]}\n");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    strcpy(address.sun_path, fixture->path);
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof(address)), 0);
    say(fd, "unplug 00:01.0\n");
    hear(fd, OK);
    say(fd, "unplug 00:02.0\n"); /* after the listener had its turn */
    hear(fd, OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    say(late, "help\n");
    assert_int_equal(poll(&(struct pollfd){.fd = late, .events = POLLIN}, 1, 100), 0);
    close(late);
    close(fd);
}

/* Ends while users are connected and ask. */
static void test_end(void **state)
{
    struct socket_fixture *fixture = *state;
    int fds[4];

    for (unsigned int i = 0; i < 4; i++) {
        fds[i] = user(fixture);
        say(fds[i], "functions\nfunctions\nfunc");
    }
    vmm_control_destroy(&fixture->machine->vm);
    for (unsigned int i = 0; i < 4; i++)
        close(fds[i]);
}

static void test_bad_paths(void **state)
{
    struct socket_fixture *fixture = *state;
    struct vmm *vm = &fixture->machine->vm;
    struct vmm_control *control = vm->control;
    struct viommu_error error;
    char path[200];

    assert_int_equal(vmm_control_create(vm, &error), -EADDRINUSE);
    assert_non_null(strstr(error.message, "exists already; remove it if no machine uses it"));
    assert_int_equal(access(fixture->path, F_OK), 0); /* it is another's */
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    fixture->machine->options.control = path;
    assert_int_equal(vmm_control_create(vm, &error), -ENAMETOOLONG);
    fixture->machine->options.control = "";
    assert_int_equal(vmm_control_create(vm, &error), -EINVAL);
    fixture->machine->options.control = "/nowhere/at/all";
    assert_int_equal(vmm_control_create(vm, &error), -ENOENT);
    fixture->machine->options.control = NULL;
    assert_int_equal(vmm_control_create(vm, &error), 0);
    fixture->machine->options.control = fixture->path;
    vm->control = control;
}

#define WITH_SOCKET(test) cmocka_unit_test_setup_teardown(test, socket_setup, socket_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_unplug_emulated),
        cmocka_unit_test(test_unplug_assigned),
        cmocka_unit_test(test_unplug_and_reset),
        cmocka_unit_test(test_lost_by_the_host),
        WITH_SOCKET(test_lines),
        WITH_SOCKET(test_long_line),
        WITH_SOCKET(test_leaving_users),
        WITH_SOCKET(test_many_users),
        WITH_SOCKET(test_silent_user),
        WITH_SOCKET(test_no_descriptors),
        WITH_SOCKET(test_end),
        WITH_SOCKET(test_bad_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
