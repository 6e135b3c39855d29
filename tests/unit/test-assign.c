/* SPDX-License-Identifier: MIT */
/*
 * Attach and detach on the simulated host, without any vIOMMU model: order, sharing, and the exact
 * undoing when any host call fails.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <viommu.h>

#define RAM_SIZE (4u << 20)
#define ROM_GPA  UINT64_C(0xff000000)
#define DEVICES  3

static const char *const host_names[DEVICES] = {"0000:3a:00.0", "0000:3a:00.1", "0000:5b:00.0"};

struct rig {
    struct viommu_memory *memory;
    uint8_t *ram;
    uint8_t *rom;
    struct viommu_dma_space *plain;
    struct viommu_pci *pci;
    struct viommu_pci_bus *bus;
    struct viommu_pci_device *function[DEVICES];
    struct viommu_host *host;
    struct viommu_soft_device *soft[DEVICES];
    struct viommu_assign *assign;
    struct viommu_assigned_device *assigned[DEVICES];
    /* the vIOMMU that the test plays */
    uint64_t cap;
    int answer; /* to set_iommu_device */
    /* the observer */
    char trace[4096];
    int countdown;           /* calls until one fails; negative: never */
    unsigned int fail_calls; /* bits of enum viommu_host_call: these always fail */
    bool failed;
    unsigned int logged;
};

static void trace(struct rig *rig, const char *what)
{
    size_t used = strlen(rig->trace);

    if (used + strlen(what) + 2 < sizeof(rig->trace))
        sprintf(rig->trace + used, "%s%s", used ? " " : "", what);
}

static int observe(void *opaque, enum viommu_host_call call)
{
    struct rig *rig = opaque;

    trace(rig, viommu_host_call_name(call));
    if (rig->fail_calls & (1u << call))
        return -EIO;
    if (rig->countdown < 0 || rig->countdown--)
        return 0;
    rig->failed = true;
    return -EIO;
}

static struct viommu_dma_space *get_address_space(void *opaque, struct viommu_pci_id alias)
{
    (void)alias;
    return ((struct rig *)opaque)->plain;
}

static uint64_t get_viommu_cap(void *opaque)
{
    struct rig *rig = opaque;

    trace(rig, "get_viommu_cap");
    return rig->cap;
}

static int set_iommu_device(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                            struct viommu_host_device *device, struct viommu_error *error)
{
    struct rig *rig = opaque;

    (void)id;
    (void)alias;
    (void)device;
    trace(rig, "set_iommu_device");
    if (rig->answer)
        snprintf(error->message, sizeof(error->message), "the test refuses");
    return rig->answer;
}

static void unset_iommu_device(void *opaque, struct viommu_pci_id id,
                               struct viommu_host_device *device)
{
    (void)id;
    (void)device;
    trace(opaque, "unset_iommu_device");
}

static const struct viommu_pci_iommu_ops ops = {
    .size = sizeof(ops),
    .get_address_space = get_address_space,
    .get_viommu_cap = get_viommu_cap,
    .set_iommu_device = set_iommu_device,
    .unset_iommu_device = unset_iommu_device,
};

static void count_log(void *opaque, enum viommu_log_level level, const char *message)
{
    (void)level;
    (void)message;
    ((struct rig *)opaque)->logged++;
}

static void *pages(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

static void rig_create(struct rig *rig, const char *profile, uint64_t cap)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_memory_range range = {.size = RAM_SIZE};
    const struct viommu_log log = {count_log, rig, VIOMMU_LOG_DEBUG};

    memset(rig, 0, sizeof(*rig));
    rig->countdown = -1;
    rig->cap = cap;
    range.host = rig->ram = pages(RAM_SIZE);
    assert_int_equal(viommu_memory_create(&rig->memory, NULL), 0);
    assert_int_equal(viommu_memory_add(rig->memory, &range, NULL), 0);
    assert_int_equal(viommu_dma_space_create_plain(&rig->plain, rig->memory, NULL), 0);
    assert_int_equal(viommu_pci_create(&rig->pci, rig->plain, NULL), 0);
    assert_int_equal(viommu_pci_root_bus_add(rig->pci, 0, 0, &rig->bus, NULL), 0);
    assert_int_equal(viommu_pci_bus_set_iommu(rig->bus, &ops, rig, NULL), 0);
    options.profile = profile;
    assert_int_equal(viommu_soft_create(&rig->host, &options, NULL), 0);
    for (unsigned int i = 0; i < DEVICES; i++) {
        assert_int_equal(
            viommu_pci_device_add(rig->bus, VIOMMU_PCI_DEVFN(i, 0), NULL, &rig->function[i], NULL),
            0);
        /* the first two are behind one host IOMMU, the third behind another */
        assert_int_equal(
            viommu_soft_device_add(rig->host, host_names[i], i == 2, &rig->soft[i], NULL), 0);
    }
    assert_int_equal(viommu_assign_create(&rig->assign, rig->host, rig->memory, &log, NULL), 0);
    viommu_host_set_observer(rig->host, observe, rig);
}

static void rig_destroy(struct rig *rig)
{
    viommu_host_set_observer(rig->host, NULL, NULL);
    viommu_assign_destroy(rig->assign);
    viommu_host_destroy(rig->host);
    viommu_pci_destroy(rig->pci);
    viommu_dma_space_destroy(rig->plain);
    viommu_memory_destroy(rig->memory);
    munmap(rig->ram, RAM_SIZE);
    if (rig->rom)
        munmap(rig->rom, 4096);
}

static int attach(struct rig *rig, unsigned int i, struct viommu_error *error)
{
    return viommu_assign_attach(rig->assign, rig->function[i], host_names[i], &rig->assigned[i],
                                error);
}

static struct viommu_soft_census census(struct rig *rig)
{
    struct viommu_soft_census now = {.size = sizeof(now)};

    viommu_soft_get_census(rig->host, &now);
    now.dma_requests = now.dma_faults = 0;
    return now;
}

static void assert_same(struct rig *rig, const struct viommu_soft_census *before)
{
    struct viommu_soft_census now = census(rig);

    assert_int_equal(now.bound_devices, before->bound_devices);
    assert_int_equal(now.attachments, before->attachments);
    assert_int_equal(now.ioas, before->ioas);
    assert_int_equal(now.paging_hwpts, before->paging_hwpts);
    assert_int_equal(now.nested_hwpts, before->nested_hwpts);
    assert_int_equal(now.mapped_bytes, before->mapped_bytes);
    assert_int_equal(now.table_pages, before->table_pages);
}

static int dma(struct rig *rig, unsigned int i, uint64_t address, bool write, uint64_t *value)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct viommu_dma_result result;

    request.address = address;
    request.length = sizeof(*value);
    return write ? viommu_soft_device_write(rig->soft[i], &request, value, &result)
                 : viommu_soft_device_read(rig->soft[i], &request, value, &result);
}

static bool reads(struct rig *rig, unsigned int i, uint64_t address)
{
    uint64_t value;

    return !dma(rig, i, address, false, &value);
}

static void order_is_as_documented(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    assert_int_equal(attach(&rig, 0, NULL), 0);
    assert_string_equal(rig.trace, "bind get_viommu_cap ioas_alloc ioas_map hwpt_alloc attach "
                                   "hw_info set_iommu_device");
    assert_true(
        viommu_host_device_is_nest_parent(viommu_assigned_device_host_device(rig.assigned[0])));
    rig.trace[0] = '\0';
    viommu_assign_detach(rig.assigned[0]);
    assert_string_equal(rig.trace, "unset_iommu_device detach destroy_object ioas_unmap "
                                   "destroy_object unbind");
    rig_destroy(&rig);
}

static void guest_memory_is_at_its_address(void **state)
{
    uint64_t value = 0x1122334455667788;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, 0);
    assert_int_equal(attach(&rig, 0, NULL), 0);
    assert_false(
        viommu_host_device_is_nest_parent(viommu_assigned_device_host_device(rig.assigned[0])));
    assert_int_equal(dma(&rig, 0, 0x5000, true, &value), 0);
    assert_memory_equal(rig.ram + 0x5000, &value, sizeof(value));
    assert_false(reads(&rig, 0, RAM_SIZE));
    viommu_assign_detach(rig.assigned[0]);
    assert_false(reads(&rig, 0, 0x5000));
    rig_destroy(&rig);
}

static void devices_share_what_they_can(void **state)
{
    struct viommu_soft_census before, now;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    before = census(&rig);
    for (unsigned int i = 0; i < DEVICES; i++)
        assert_int_equal(attach(&rig, i, NULL), 0);
    now = census(&rig);
    assert_int_equal(now.ioas, 1);
    assert_int_equal(now.paging_hwpts, 2); /* one for each host IOMMU */
    assert_int_equal(now.attachments, 3);
    viommu_assign_detach(rig.assigned[0]);
    assert_true(reads(&rig, 1, 0));
    viommu_assign_detach(rig.assigned[2]);
    now = census(&rig);
    assert_int_equal(now.ioas, 1);
    assert_int_equal(now.paging_hwpts, 1);
    assert_true(reads(&rig, 1, 0));
    viommu_assign_detach(rig.assigned[1]);
    assert_same(&rig, &before);
    rig_destroy(&rig);
}

/* A device that nests and one that does not cannot share: the tables differ. */
static void kinds_do_not_mix(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    assert_int_equal(attach(&rig, 0, NULL), 0);
    rig.cap = 0;
    assert_int_equal(attach(&rig, 1, NULL), 0);
    assert_int_equal(census(&rig).ioas, 2);
    assert_int_equal(census(&rig).paging_hwpts, 2);
    rig_destroy(&rig);
}

static void no_nesting_host_gets_a_plain_table(void **state)
{
    struct rig rig;

    (void)state;
    rig_create(&rig, "no-nesting", VIOMMU_CAP_HW_NESTED);
    assert_int_equal(attach(&rig, 0, NULL), 0);
    assert_false(
        viommu_host_device_is_nest_parent(viommu_assigned_device_host_device(rig.assigned[0])));
    assert_string_equal(rig.trace,
                        "bind get_viommu_cap ioas_alloc ioas_map hwpt_alloc hwpt_alloc ioas_unmap "
                        "destroy_object ioas_alloc ioas_map hwpt_alloc attach hw_info "
                        "set_iommu_device");
    rig_destroy(&rig);
}

static void refusal_is_undone(void **state)
{
    struct viommu_error error = {0};
    struct viommu_soft_census before;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    before = census(&rig);
    rig.answer = -EPERM;
    assert_int_equal(attach(&rig, 0, &error), -EPERM);
    assert_string_equal(error.message, "the test refuses");
    assert_string_equal(rig.trace, "bind get_viommu_cap ioas_alloc ioas_map hwpt_alloc attach "
                                   "hw_info set_iommu_device detach destroy_object ioas_unmap "
                                   "destroy_object unbind");
    assert_same(&rig, &before);
    rig_destroy(&rig);
}

/* Fail the first, the second, ... host call of an attach, until it succeeds without a failure. */
static void attach_with_failures(const char *profile, uint64_t cap, unsigned int neighbours)
{
    for (int n = 0;; n++) {
        struct viommu_error error = {0};
        struct viommu_soft_census before;
        struct rig rig;
        int ret;

        assert_true(n < 100);
        rig_create(&rig, profile, cap);
        for (unsigned int i = 1; i <= neighbours; i++)
            assert_int_equal(attach(&rig, i, NULL), 0);
        before = census(&rig);
        rig.countdown = n;
        ret = attach(&rig, 0, &error);
        rig.countdown = -1;
        if (!ret) { /* no failure any more, or one of what did not matter */
            assert_true(reads(&rig, 0, 0x1000));
            viommu_assign_detach(rig.assigned[0]);
            assert_same(&rig, &before);
            rig_destroy(&rig);
            if (!rig.failed)
                return;
            continue;
        }
        assert_true(rig.failed);
        assert_int_equal(ret, -EIO);
        assert_int_equal(error.code, -EIO);
        assert_true(error.message[0]);
        assert_same(&rig, &before);
        for (unsigned int i = 1; i <= neighbours; i++)
            assert_true(reads(&rig, i, 0x1000));
        assert_false(reads(&rig, 0, 0x1000));
        /* and it can be tried again */
        assert_int_equal(attach(&rig, 0, NULL), 0);
        assert_true(reads(&rig, 0, 0x1000));
        rig_destroy(&rig);
    }
}

static void every_failure_of_attach_is_undone(void **state)
{
    (void)state;
    attach_with_failures(NULL, VIOMMU_CAP_HW_NESTED, 0);
    attach_with_failures(NULL, VIOMMU_CAP_HW_NESTED, 1);
    attach_with_failures(NULL, VIOMMU_CAP_HW_NESTED, 2);
    attach_with_failures(NULL, 0, 0);
    attach_with_failures("no-nesting", VIOMMU_CAP_HW_NESTED, 0);
}

/* A failure of the undoing, too: from the n-th call on, a kind of call never works. */
static void attach_and_undo_with_failures(void **state)
{
    (void)state;
    for (unsigned int call = 0; call < VIOMMU_HOST_CALL_COUNT; call++) {
        struct viommu_soft_census before;
        struct rig rig;

        rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
        before = census(&rig);
        rig.answer = -EPERM;
        rig.fail_calls = 1u << call;
        assert_int_not_equal(attach(&rig, 0, NULL), 0);
        assert_false(reads(&rig, 0, 0x1000));
        rig.fail_calls = 0;
        rig.answer = 0;
        assert_int_equal(attach(&rig, 0, NULL), 0);
        assert_true(reads(&rig, 0, 0x1000));
        viommu_assign_detach(rig.assigned[0]);
        assert_same(&rig, &before);
        rig_destroy(&rig);
    }
}

/* Detach cannot fail: whatever the host does, the device is blocked and nothing stays for long. */
static void every_failure_of_detach_blocks(void **state)
{
    (void)state;
    for (int n = 0;; n++) {
        struct viommu_soft_census before;
        struct rig rig;
        bool failed;

        assert_true(n < 100);
        rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
        assert_int_equal(attach(&rig, 2, NULL), 0);
        before = census(&rig);
        assert_int_equal(attach(&rig, 0, NULL), 0);
        rig.countdown = n;
        rig.logged = 0;
        viommu_assign_detach(rig.assigned[0]);
        rig.countdown = -1;
        failed = rig.failed;
        assert_false(reads(&rig, 0, 0x1000));
        assert_true(reads(&rig, 2, 0x1000));
        /* what was left is collected by whoever is detached next */
        assert_int_equal(attach(&rig, 1, NULL), 0);
        viommu_assign_detach(rig.assigned[1]);
        assert_same(&rig, &before);
        rig_destroy(&rig);
        if (!failed)
            return;
    }
}

static void hot_plugged_memory_follows(void **state)
{
    struct viommu_memory_range range = {.gpa = 0x10000000, .size = 0x200000};
    struct viommu_soft_census before;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    assert_int_equal(attach(&rig, 0, NULL), 0);
    before = census(&rig);
    range.host = pages(range.size);
    assert_false(reads(&rig, 0, range.gpa));
    assert_int_equal(viommu_memory_add(rig.memory, &range, NULL), 0);
    assert_true(reads(&rig, 0, range.gpa + range.size - 8));
    assert_int_equal(viommu_memory_remove(rig.memory, range.gpa, NULL), 0);
    munmap(range.host, range.size);
    assert_false(reads(&rig, 0, range.gpa));
    assert_same(&rig, &before);
    rig_destroy(&rig);
}

static void memory_that_cannot_be_mapped_is_refused(void **state)
{
    struct viommu_memory_range range = {.gpa = 0xfee00000, .size = 0x1000};
    struct viommu_error error = {0};
    struct viommu_soft_census before;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    assert_int_equal(attach(&rig, 0, NULL), 0);
    before = census(&rig);
    range.host = pages(range.size);
    assert_int_not_equal(viommu_memory_add(rig.memory, &range, &error), 0);
    assert_non_null(strstr(error.message, "0xfee00000"));
    assert_same(&rig, &before);
    munmap(range.host, range.size);
    rig_destroy(&rig);
}

/* Memory that leaves the guest must leave the device: if need be, by taking the device away. */
static void memory_that_cannot_be_unmapped_blocks(void **state)
{
    struct viommu_memory_range range = {.gpa = 0x10000000, .size = 0x200000};
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    assert_int_equal(attach(&rig, 0, NULL), 0);
    range.host = pages(range.size);
    assert_int_equal(viommu_memory_add(rig.memory, &range, NULL), 0);
    rig.countdown = 0; /* once is forgiven */
    assert_int_equal(viommu_memory_remove(rig.memory, range.gpa, NULL), 0);
    assert_true(rig.failed);
    assert_true(reads(&rig, 0, 0x1000));
    assert_int_equal(viommu_memory_add(rig.memory, &range, NULL), 0);
    rig.fail_calls = 1u << VIOMMU_HOST_CALL_IOAS_UNMAP;
    rig.logged = 0;
    assert_int_equal(viommu_memory_remove(rig.memory, range.gpa, NULL), 0);
    munmap(range.host, range.size);
    assert_true(rig.logged >= 2);
    assert_false(reads(&rig, 0, 0x1000));
    assert_false(reads(&rig, 0, range.gpa));
    rig.fail_calls = 0;
    /* the IOAS with the stale mapping is not used again */
    assert_int_equal(attach(&rig, 1, NULL), 0);
    assert_true(reads(&rig, 1, 0x1000));
    assert_false(reads(&rig, 1, range.gpa));
    viommu_assign_detach(rig.assigned[0]);
    viommu_assign_detach(rig.assigned[1]);
    assert_int_equal(census(&rig).ioas, 0);
    assert_int_equal(census(&rig).paging_hwpts, 0);
    assert_int_equal(census(&rig).mapped_bytes, 0);
    rig_destroy(&rig);
}

static void read_only_memory(void **state)
{
    static const uint64_t caps[] = {0, VIOMMU_CAP_HW_NESTED};

    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        struct viommu_memory_range range = {
            .gpa = ROM_GPA, .size = 0x1000, .flags = VIOMMU_MEMORY_READONLY};
        uint64_t value = 1;
        struct rig rig;

        rig_create(&rig, NULL, caps[i]);
        range.host = rig.rom = pages(range.size);
        assert_int_equal(viommu_memory_add(rig.memory, &range, NULL), 0);
        assert_int_equal(attach(&rig, 0, NULL), 0);
        /* a nesting parent leaves it out: read-only mappings do not hold there */
        assert_int_equal(reads(&rig, 0, ROM_GPA), caps[i] == 0);
        assert_int_not_equal(dma(&rig, 0, ROM_GPA, true, &value), 0);
        assert_int_equal(viommu_memory_remove(rig.memory, ROM_GPA, NULL), 0);
        assert_false(reads(&rig, 0, ROM_GPA));
        rig_destroy(&rig);
    }
}

static void unknown_device(void **state)
{
    struct viommu_error error = {0};
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, 0);
    assert_int_equal(
        viommu_assign_attach(rig.assign, rig.function[0], "0000:00:00.7", &rig.assigned[0], &error),
        -ENODEV);
    assert_non_null(strstr(error.message, "0000:00:00.7"));
    assert_int_equal(attach(&rig, 0, NULL), 0);
    assert_int_equal(
        viommu_assign_attach(rig.assign, rig.function[1], host_names[0], &rig.assigned[1], &error),
        -EBUSY);
    rig_destroy(&rig);
}

struct worker {
    struct rig *rig;
    bool stop;
    uint64_t served;
    uint64_t refused;
};

static void *work(void *opaque)
{
    struct worker *worker = opaque;

    while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED)) {
        if (reads(worker->rig, 0, 0x3000))
            __atomic_fetch_add(&worker->served, 1, __ATOMIC_RELAXED);
        else
            __atomic_fetch_add(&worker->refused, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void wait_for(const uint64_t *counter)
{
    uint64_t before = __atomic_load_n(counter, __ATOMIC_RELAXED);

    while (__atomic_load_n(counter, __ATOMIC_RELAXED) == before)
        sched_yield();
}

/* Both the device and the memory it works on go and come while it does DMA. */
static void hot_unplug_while_dma_runs(void **state)
{
    struct worker worker = {0};
    struct rig rig;
    pthread_t thread;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    worker.rig = &rig;
    assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
    for (int i = 0; i < 20; i++) {
        struct viommu_memory_range range = {.size = RAM_SIZE, .host = rig.ram};

        assert_int_equal(attach(&rig, 0, NULL), 0);
        wait_for(&worker.served);
        assert_int_equal(viommu_memory_remove(rig.memory, 0, NULL), 0);
        mprotect(rig.ram, RAM_SIZE, PROT_NONE); /* a late DMA would crash */
        wait_for(&worker.refused);
        mprotect(rig.ram, RAM_SIZE, PROT_READ | PROT_WRITE);
        assert_int_equal(viommu_memory_add(rig.memory, &range, NULL), 0);
        wait_for(&worker.served);
        viommu_assign_detach(rig.assigned[0]);
        mprotect(rig.ram, RAM_SIZE, PROT_NONE);
        wait_for(&worker.refused);
        mprotect(rig.ram, RAM_SIZE, PROT_READ | PROT_WRITE);
    }
    __atomic_store_n(&worker.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(census(&rig).attachments, 0);
    rig_destroy(&rig);
}

/* Destroying the object detaches what is attached. */
static void destroy_detaches(void **state)
{
    struct viommu_soft_census before;
    struct rig rig;

    (void)state;
    rig_create(&rig, NULL, VIOMMU_CAP_HW_NESTED);
    before = census(&rig);
    for (unsigned int i = 0; i < DEVICES; i++)
        assert_int_equal(attach(&rig, i, NULL), 0);
    viommu_assign_destroy(rig.assign);
    rig.assign = NULL;
    assert_same(&rig, &before);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_as_documented),
        cmocka_unit_test(guest_memory_is_at_its_address),
        cmocka_unit_test(devices_share_what_they_can),
        cmocka_unit_test(kinds_do_not_mix),
        cmocka_unit_test(no_nesting_host_gets_a_plain_table),
        cmocka_unit_test(refusal_is_undone),
        cmocka_unit_test(every_failure_of_attach_is_undone),
        cmocka_unit_test(attach_and_undo_with_failures),
        cmocka_unit_test(every_failure_of_detach_blocks),
        cmocka_unit_test(hot_plugged_memory_follows),
        cmocka_unit_test(memory_that_cannot_be_mapped_is_refused),
        cmocka_unit_test(memory_that_cannot_be_unmapped_blocks),
        cmocka_unit_test(read_only_memory),
        cmocka_unit_test(unknown_device),
        cmocka_unit_test(hot_unplug_while_dma_runs),
        cmocka_unit_test(destroy_detaches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
