/* SPDX-License-Identifier: MIT */
/*
 * The backends of real hardware, iommufd and type1, on a kernel with VFIO and an IOMMU, with QEMU's
 * edu as the devices. To be run as root on a machine of scripts/rig-backends, of which it is told
 * the kind:
 *
 *   legacy, scalable  0000:00:04.0 and 05.0 are edus, 06.0 is a device that VFIO does not have
 *   debian        as before, with a kernel that has no iommufd
 *   no-intremap   as before, with an IOMMU that does not remap interrupts
 *   no-iommu      as before, without an IOMMU
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "edu.h"
#include "guest.h"
#include "host/iommufd/iommufd.h"
#include "host/type1/type1.h"
#include "rig.h"

#define EDU1  "0000:00:04.0"
#define EDU2  "0000:00:05.0"
#define OTHER "0000:00:06.0"

#define PAGE  UINT64_C(4096)
#define PAGES 64
#define IOVA  UINT64_C(0x1000000) /* edu has 28 bits of address */
#define RW    (VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE)
#define NONE  VIOMMU_PASID_NONE

struct rig {
    struct viommu_host *host;
    struct viommu_error error;
    struct guest guest;
    char *memory;
    uint32_t device;
    int edu; /* descriptor of the first device */
    uint32_t ioas;
    uint32_t hwpt;
    uint32_t made;
};

/* ---- The two backends */

static struct host_sys rig_sys; /* the real calls, with points of failure */

static int create_iommufd(struct rig *rig)
{
    return iommufd_create(&rig->host, &rig_sys, HOST_SYSFS, NULL, &rig->error);
}

static int create_type1(struct rig *rig)
{
    return type1_create(&rig->host, &rig_sys, HOST_SYSFS, NULL, &rig->error);
}

static const struct backend {
    const char *name;
    int (*create)(struct rig *rig);
    int (*descriptor)(struct viommu_host *host, uint32_t id, struct viommu_error *error);
    bool is_iommufd;
} backends[] = {
    {"iommufd", create_iommufd, viommu_iommufd_device_descriptor, true},
    {"type1", create_type1, viommu_type1_device_descriptor, false},
};

#define BACKENDS (sizeof(backends) / sizeof(backends[0]))

static const struct backend *backend;
static bool has_iommufd;

/* ---- What is held, and what a device can reach */

struct census {
    unsigned int files;
    unsigned long pinned;
};

static struct census take_census(void)
{
    struct census census = {rig_open_files(), rig_pinned_kib()};

    return census;
}

static bool same_census(const struct census *before)
{
    struct census now = take_census();

    if (now.files == before->files && now.pinned == before->pinned)
        return true;
    rig_say("%s, %s: %u descriptors, were %u; %lu KiB pinned, were %lu", backend->name,
            rig_get_subject(), now.files, before->files, now.pinned, before->pinned);
    return false;
}

/* Page `from` of our memory to page `to`, by way of the device. True when it arrived whole. */
static bool copies(struct rig *rig, uint64_t from_iova, uint64_t to_iova, unsigned int from,
                   unsigned int to)
{
    static unsigned char pattern = 1;

    memset(rig->memory + from * PAGE, pattern++, EDU_SIZE);
    memset(rig->memory + to * PAGE, 0, EDU_SIZE);
    CHECK(edu_read(rig->edu, (uint32_t)from_iova));
    CHECK(edu_write(rig->edu, (uint32_t)to_iova));
    return !memcmp(rig->memory + from * PAGE, rig->memory + to * PAGE, EDU_SIZE);
}

static int hwpt(struct rig *rig, uint32_t ioas, uint32_t flags, uint32_t *id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options), .device_id = rig->device, .parent_id = ioas, .flags = flags};

    return viommu_host_hwpt_alloc(rig->host, &options, id, &rig->error);
}

static int map(struct rig *rig, uint32_t ioas, uint64_t iova, unsigned int page, uint64_t pages,
               uint32_t flags)
{
    return viommu_host_ioas_map(rig->host, ioas, iova, rig->memory + page * PAGE, pages * PAGE,
                                flags, &rig->error);
}

static int unmap(struct rig *rig, uint32_t ioas, uint64_t iova, uint64_t pages)
{
    return viommu_host_ioas_unmap(rig->host, ioas, iova, pages * PAGE, NULL, &rig->error);
}

static int attach(struct rig *rig, uint32_t id)
{
    return viommu_host_attach(rig->host, rig->device, NONE, id, &rig->error);
}

static int detach(struct rig *rig)
{
    return viommu_host_detach(rig->host, rig->device, NONE, &rig->error);
}

/* A host with the first edu, an IOAS with 8 pages, and a HWPT; not attached. */
static bool begin(struct rig *rig)
{
    WORKS(rig, backend->create(rig));
    if (!rig->host)
        return false;
    WORKS(rig, viommu_host_bind(rig->host, EDU1, &rig->device, &rig->error));
    rig->edu = backend->descriptor(rig->host, rig->device, &rig->error);
    CHECK(rig->edu >= 0);
    CHECK(edu_start(rig->edu));
    WORKS(rig, viommu_host_ioas_alloc(rig->host, &rig->ioas, &rig->error));
    WORKS(rig, map(rig, rig->ioas, IOVA, 0, 8, RW));
    WORKS(rig, hwpt(rig, rig->ioas, 0, &rig->hwpt));
    return true;
}

static void end(struct rig *rig)
{
    viommu_host_destroy(rig->host);
    rig->host = NULL;
}

/* ---- Subjects */

static uint64_t sysfs_register(const char *name)
{
    unsigned long long value = 0;
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/" EDU1 "/iommu/intel-iommu/%s", name);
    file = fopen(path, "r");
    CHECK(file && fscanf(file, "%llx", &value) == 1);
    if (file)
        fclose(file);
    return value;
}

static void test_hw_info(struct rig *rig)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    uint32_t id;

    WORKS(rig, viommu_host_hw_info(rig->host, rig->device, &info, &rig->error));
    CHECK(info.type == VIOMMU_HOST_IOMMU_VTD);
    CHECK(info.registers[0] == sysfs_register("cap"));
    CHECK(info.registers[1] == sysfs_register("ecap"));
    CHECK(!strcmp(info.name, "dmar0"));
    CHECK(info.max_pasid_log2 == 0 && !info.page_requests);
    FAILS(rig, -EOPNOTSUPP, hwpt(rig, rig->ioas, VIOMMU_HOST_HWPT_NEST_PARENT, &id));
    FAILS(rig, -EINVAL, viommu_host_attach(rig->host, rig->device, 1, rig->hwpt, &rig->error));
}

static void test_ranges(struct rig *rig)
{
    struct viommu_host_iova_range ranges[8];
    size_t count = 8;
    bool interrupts = false;

    WORKS(rig, attach(rig, rig->hwpt));
    WORKS(rig, viommu_host_ioas_iova_ranges(rig->host, rig->ioas, ranges, &count, &rig->error));
    CHECK(count >= 2 && count <= 8);
    for (size_t i = 0; i < count; i++)
        interrupts = interrupts || (ranges[i].start <= 0xfeefffff && ranges[i].last >= 0xfee00000);
    CHECK(!interrupts);
    FAILS(rig, -EINVAL, map(rig, rig->ioas, 0xfedff000, 8, 2, RW));
    SAYS(rig, "into 0x0-0xfedfffff, 0xfef00000-");
    FAILS(rig, -EINVAL, map(rig, rig->ioas, UINT64_C(1) << 60, 8, 1, RW));
}

static void test_dma(struct rig *rig)
{
    WORKS(rig, attach(rig, rig->hwpt));
    CHECK(copies(rig, IOVA, IOVA + PAGE, 0, 1));
    /* What is mapped and unmapped while it is attached. */
    CHECK(!copies(rig, IOVA, IOVA + 0x100000, 0, 8));
    WORKS(rig, map(rig, rig->ioas, IOVA + 0x100000, 8, 1, RW));
    CHECK(copies(rig, IOVA, IOVA + 0x100000, 0, 8));
    WORKS(rig, unmap(rig, rig->ioas, IOVA + 0x100000, 1));
    CHECK(!copies(rig, IOVA, IOVA + 0x100000, 0, 8));
    WORKS(rig, map(rig, rig->ioas, IOVA + 0x100000, 8, 1, VIOMMU_HOST_MAP_READ));
    CHECK(!copies(rig, IOVA, IOVA + 0x100000, 0, 8));
    CHECK(copies(rig, IOVA + 0x100000, IOVA, 8, 0));
    FAILS(rig, -EEXIST, map(rig, rig->ioas, IOVA, 0, 1, RW));
    FAILS(rig, -ENOENT, unmap(rig, rig->ioas, IOVA, 1)); /* a part of 8 pages */
    CHECK(copies(rig, IOVA, IOVA + PAGE, 0, 1));
    FAILS(rig, -EFAULT,
          viommu_host_ioas_map(rig->host, rig->ioas, IOVA + 0x200000, (void *)(uintptr_t)PAGE, PAGE,
                               RW, &rig->error));
    FAILS(rig, -EBUSY, viommu_host_destroy_object(rig->host, rig->hwpt, &rig->error));
}

static void test_block(struct rig *rig)
{
    CHECK(!copies(rig, IOVA, IOVA + PAGE, 0, 1));
    WORKS(rig, attach(rig, rig->hwpt));
    CHECK(copies(rig, IOVA, IOVA + PAGE, 0, 1));
    WORKS(rig, detach(rig));
    WORKS(rig, detach(rig));
    CHECK(!copies(rig, IOVA, IOVA + PAGE, 0, 1));
    WORKS(rig, attach(rig, rig->hwpt));
    CHECK(copies(rig, IOVA, IOVA + PAGE, 0, 1));
}

/* The same IOVA leads elsewhere in another address space. */
static void test_replace(struct rig *rig)
{
    uint32_t ioas, other;

    WORKS(rig, viommu_host_ioas_alloc(rig->host, &ioas, &rig->error));
    WORKS(rig, map(rig, ioas, IOVA, 16, 2, RW));
    WORKS(rig, hwpt(rig, ioas, 0, &other));
    WORKS(rig, attach(rig, rig->hwpt));
    CHECK(copies(rig, IOVA, IOVA + PAGE, 0, 1));
    WORKS(rig, attach(rig, other));
    CHECK(copies(rig, IOVA, IOVA + PAGE, 16, 17));
    FAILS(rig, -ENOENT, attach(rig, 4000));
    CHECK(copies(rig, IOVA, IOVA + PAGE, 16, 17));
    WORKS(rig, attach(rig, rig->hwpt));
    CHECK(copies(rig, IOVA, IOVA + PAGE, 0, 1));
    WORKS(rig, viommu_host_destroy_object(rig->host, other, &rig->error));
    WORKS(rig, viommu_host_destroy_object(rig->host, ioas, &rig->error));
}

static void test_sharing(struct rig *rig)
{
    int first = rig->edu;
    uint32_t second;

    WORKS(rig, attach(rig, rig->hwpt));
    WORKS(rig, viommu_host_bind(rig->host, EDU2, &second, &rig->error));
    WORKS(rig, viommu_host_attach(rig->host, second, NONE, rig->hwpt, &rig->error));
    WORKS(rig, map(rig, rig->ioas, IOVA + 0x100000, 8, 1, RW));
    CHECK(copies(rig, IOVA, IOVA + 0x100000, 0, 8));
    rig->edu = backend->descriptor(rig->host, second, &rig->error);
    CHECK(edu_start(rig->edu));
    CHECK(copies(rig, IOVA, IOVA + 0x100000, 0, 8));
    viommu_host_unbind(rig->host, rig->device);
    CHECK(copies(rig, IOVA, IOVA + 0x100000, 0, 8));
    rig->edu = first;
}

static void test_file(struct rig *rig)
{
    int memfd = memfd_create("rig", MFD_CLOEXEC);
    char *own = rig->memory;

    CHECK(memfd >= 0 && !ftruncate(memfd, (off_t)(4 * PAGE)));
    rig->memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    CHECK(rig->memory != MAP_FAILED);
    WORKS(rig, viommu_iommufd_add_file(rig->host, rig->memory, 4 * PAGE, memfd, 0, &rig->error));
    WORKS(rig, map(rig, rig->ioas, IOVA + 0x100000, 0, 4, RW));
    WORKS(rig, attach(rig, rig->hwpt));
    CHECK(copies(rig, IOVA + 0x100000, IOVA + 0x101000, 0, 1));
    munmap(rig->memory, 4 * PAGE);
    close(memfd);
    rig->memory = own;
}

/* A device's BAR: iommufd does not give it to devices by address, containers do. */
static void test_bar(struct rig *rig)
{
    void *bar = edu_map_bar(rig->edu);
    int ret;

    CHECK(bar);
    if (!bar)
        return;
    ret = viommu_host_ioas_map(rig->host, rig->ioas, IOVA + 0x100000, bar, PAGE, RW, &rig->error);
    ret = ret ? ret : attach(rig, rig->hwpt);
    if (backend->is_iommufd) {
        CHECK(ret == -EFAULT);
        SAYS(rig, "BARs cannot be given to other devices");
    } else {
        rig_check(!ret, "a BAR is mapped", __LINE__, rig->error.message);
    }
    munmap(bar, PAGE);
}

/* In a process of its own, which gives up CAP_IPC_LOCK, so that the limit counts. */
static void limited(struct rig *rig)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    struct rlimit limit = {8192, 8192};

    setrlimit(RLIMIT_MEMLOCK, &limit);
    if (syscall(SYS_capset, &header, data))
        _exit(2);
    if (map(rig, rig->ioas, IOVA + 0x100000, 0, PAGES, RW) != -ENOMEM)
        _exit(3);
    _exit(strstr(rig->error.message, "limit on locked memory is 8 KiB") ? 0 : 4);
}

static void test_memlock(struct rig *rig)
{
    int status = 1;
    pid_t child;

    WORKS(rig, attach(rig, rig->hwpt));
    child = fork();
    if (!child)
        limited(rig);
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A user without rights to the device nodes. The exit code is 0 when it was told so. */
static void without_rights(void)
{
    struct rig other = {.host = NULL};
    uint32_t id;
    int ret;

    if (setresuid(65534, 65534, 65534))
        _exit(2);
    ret = backend->create(&other);
    if (!ret)
        ret = viommu_host_bind(other.host, EDU2, &id, &other.error);
    if (ret != -EACCES)
        _exit(3);
    _exit(strstr(other.error.message, "You may not open /dev/") ? 0 : 4);
}

static void test_permission(struct rig *rig)
{
    int status = 1;
    pid_t child = fork();

    (void)rig;
    if (!child)
        without_rights();
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_refusals(struct rig *rig)
{
    const struct backend *own = backend;
    struct census before;
    struct rig other = {.host = NULL};
    uint32_t id;

    FAILS(rig, -EBUSY, viommu_host_bind(rig->host, OTHER, &id, &rig->error));
    SAYS(rig, "not to VFIO: unbind it");
    FAILS(rig, -ENODEV, viommu_host_bind(rig->host, "0000:00:1e.7", &id, &rig->error));
    FAILS(rig, -EINVAL, viommu_host_bind(rig->host, "eth0", &id, &rig->error));
    FAILS(rig, -EBUSY, viommu_host_bind(rig->host, EDU1, &id, &rig->error));
    /* In use, through either door. */
    before = take_census();
    for (size_t i = 0; i < BACKENDS; i++) {
        backend = &backends[i];
        if (backend->is_iommufd && !has_iommufd)
            continue;
        WORKS(&other, backend->create(&other));
        FAILS(&other, -EBUSY, viommu_host_bind(other.host, EDU1, &id, &other.error));
        viommu_host_destroy(other.host);
    }
    backend = own;
    CHECK(same_census(&before));
}

static void test_assign(struct rig *rig)
{
    struct census before;

    viommu_host_unbind(rig->host, rig->device);
    WORKS(rig, guest_begin(&rig->guest, rig->host, rig->memory, 0, PAGES * PAGE, 0, &rig->error));
    before = take_census();
    WORKS(rig, guest_attach(&rig->guest, EDU1, &rig->error));
    rig->edu = backend->descriptor(
        rig->host, viommu_host_device_id(viommu_assigned_device_host_device(rig->guest.assigned)),
        &rig->error);
    CHECK(edu_start(rig->edu));
    CHECK(copies(rig, 0, 9 * PAGE, 0, 9));
    guest_detach(&rig->guest);
    CHECK(same_census(&before));
    guest_end(&rig->guest);
    /* A host that does not nest, to a guest that wants it: the vIOMMU refuses. */
    WORKS(rig, guest_begin(&rig->guest, rig->host, rig->memory, 0, PAGES * PAGE,
                           VIOMMU_CAP_HW_NESTED, &rig->error));
    FAILS(rig, -EOPNOTSUPP, guest_attach(&rig->guest, EDU1, &rig->error));
    CHECK(same_census(&before));
    guest_end(&rig->guest);
}

/* ---- Each point of the kernel's that can fail */

struct step {
    const char *name;
    int (*make)(struct rig *rig);
    void (*undo)(struct rig *rig);
};

static int bind_make(struct rig *rig)
{
    return viommu_host_bind(rig->host, EDU2, &rig->made, &rig->error);
}

static void bind_undo(struct rig *rig)
{
    viommu_host_unbind(rig->host, rig->made);
}

static int map_make(struct rig *rig)
{
    return map(rig, rig->ioas, IOVA + 0x100000, 8, 32, RW);
}

static void map_undo(struct rig *rig)
{
    WORKS(rig, unmap(rig, rig->ioas, IOVA + 0x100000, 32));
}

static int hwpt_make(struct rig *rig)
{
    return hwpt(rig, rig->ioas, 0, &rig->made);
}

static void hwpt_undo(struct rig *rig)
{
    WORKS(rig, viommu_host_destroy_object(rig->host, rig->made, &rig->error));
}

static int detach_make(struct rig *rig)
{
    return detach(rig);
}

static void detach_undo(struct rig *rig)
{
    WORKS(rig, attach(rig, rig->hwpt));
}

static int attach_make(struct rig *rig)
{
    int ret = detach(rig);

    return ret ? ret : attach(rig, rig->hwpt);
}

static const struct step steps[] = {
    {"failing bind", bind_make, bind_undo},       {"failing map", map_make, map_undo},
    {"failing HWPT", hwpt_make, hwpt_undo},       {"failing detach", detach_make, detach_undo},
    {"failing attach", attach_make, detach_undo},
};

/* False: the step has less than n such points. */
static bool fail_nth(struct rig *rig, const struct step *step, unsigned int n)
{
    struct census before = take_census();
    bool failed;
    int ret;

    rig_arm(n);
    ret = step->make(rig);
    failed = rig_disarm();
    if (ret) {
        CHECK(failed);
        CHECK(rig->error.message[0]);
        WORKS(rig, step->make(rig));
    }
    step->undo(rig);
    CHECK(same_census(&before));
    return failed;
}

static void test_failures(struct rig *rig)
{
    unsigned int tried = 0;

    CHECK(rig_can_fail() || !has_iommufd); /* Debian's kernel has no fault injection */
    if (!rig_can_fail())
        return;
    WORKS(rig, attach(rig, rig->hwpt));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        unsigned int n = 1;

        rig_subject(steps[i].name);
        while (n < RIG_POINTS_MAX && fail_nth(rig, &steps[i], n))
            n++;
        CHECK(n < RIG_POINTS_MAX);
        tried += n - 1;
    }
    CHECK(copies(rig, IOVA, IOVA + PAGE, 0, 1));
    rig_say("%s: %u points of failure", backend->name, tried);
}

/* ---- All of it */

static const struct {
    const char *name;
    void (*test)(struct rig *rig);
    bool iommufd_only;
} subjects[] = {
    {"hw_info", test_hw_info, false},   {"IOVA ranges", test_ranges, false},
    {"DMA", test_dma, false},           {"blocking", test_block, false},
    {"replacing", test_replace, false}, {"sharing", test_sharing, false},
    {"file", test_file, true},          {"BAR", test_bar, false},
    {"memlock", test_memlock, false},   {"permission", test_permission, false},
    {"refusals", test_refusals, false}, {"assign", test_assign, false},
    {"failures", test_failures, false},
};

static void run_subjects(struct rig *rig)
{
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        struct census before = take_census();
        char name[64];

        if (subjects[i].iommufd_only && !backend->is_iommufd)
            continue;
        snprintf(name, sizeof(name), "%s, %s", backend->name, subjects[i].name);
        rig_subject(name);
        if (!begin(rig))
            return;
        subjects[i].test(rig);
        rig_subject(name);
        end(rig);
        CHECK(same_census(&before));
    }
}

/* Machines on which a device cannot be had: it says why, and leaves nothing. */
static void refuse(struct rig *rig, int expected, const char *words)
{
    struct census before = take_census();
    uint32_t id;

    rig_subject(backend->name);
    WORKS(rig, backend->create(rig));
    FAILS(rig, expected, viommu_host_bind(rig->host, EDU1, &id, &rig->error));
    rig_check(strstr(rig->error.message, words), words, __LINE__, rig->error.message);
    end(rig);
    CHECK(same_census(&before));
}

/* A kernel without iommufd says so, and which host there is instead. */
static void no_iommufd(struct rig *rig)
{
    rig_subject("no iommufd");
    FAILS(rig, -ENOENT, backend->create(rig));
    SAYS(rig, "use the host type1");
}

static void run_backend(struct rig *rig, const char *kind)
{
    if (!strcmp(kind, "no-intremap"))
        refuse(rig, -EPERM, "interrupt remapping");
    else if (!strcmp(kind, "no-iommu"))
        refuse(rig, -ENODEV, "no IOMMU, or it is off");
    else if (backend->is_iommufd && !has_iommufd)
        no_iommufd(rig);
    else
        run_subjects(rig);
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    if (!file)
        return;
    fputs(text, file);
    fclose(file);
}

static void give_to_vfio(const char *address)
{
    char path[128];

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", address);
    put(path, "vfio-pci");
    put("/sys/bus/pci/drivers_probe", address);
}

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "legacy";
    struct rig rig = {.host = NULL};

    rig_name("backends");
    rig_sys = host_sys_real;
    rig_sys.ioctl = rig_ioctl;
    rig_can_fail(); /* the descriptor for it stays open */
    rig_subject("memory");
    rig.memory =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(rig.memory != MAP_FAILED);
    give_to_vfio(EDU1);
    give_to_vfio(EDU2);
    has_iommufd = strcmp(kind, "debian");
    for (size_t i = 0; i < BACKENDS; i++) {
        backend = &backends[i];
        run_backend(&rig, kind);
    }
    rig_check_kernel_log();
    return rig_verdict();
}
