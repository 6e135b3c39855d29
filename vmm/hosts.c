/* SPDX-License-Identifier: MIT */
#include "hosts.h"
#include "counters.h"
#include "device.h"
#include "key_values.h"
#include "kvm_vfio.h"
#include "vfio.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <viommu.h>

#define HOST_IOMMUS_MAX 64u

/* ---- The simulated host */

static int parse_cache(const char *text, enum viommu_soft_cache *cache, struct viommu_error *err)
{
    if (!text || !strcmp(text, "hoard"))
        *cache = VIOMMU_SOFT_CACHE_HOARD;
    else if (!strcmp(text, "none"))
        *cache = VIOMMU_SOFT_CACHE_NONE;
    else
        return vmm_fail(err, EINVAL, "--host soft: cache=%s is neither hoard nor none", text);
    return 0;
}

/* A name has neither; what has one of them is a file. */
static bool is_file(const char *profile)
{
    size_t length = strlen(profile);

    return strchr(profile, '/') || (length > 5 && !strcmp(profile + length - 5, ".json"));
}

/* profile=NAME of a built-in one, or profile=FILE[,profile-iommu=NAME]. */
static int take_profile(const struct vmm *vm, const char *profile, const char *iommu,
                        struct viommu_soft_options *options, struct viommu_host_hw_info *info,
                        struct viommu_error *err)
{
    if (!profile || !is_file(profile)) {
        options->profile = profile;
        return iommu ? vmm_fail(err, EINVAL,
                                "--host soft: profile-iommu=%s is of a profile in a file; add "
                                "profile=FILE",
                                iommu)
                     : 0;
    }
    if (!vm->options->read_profile)
        return vmm_fail(err, ENOTSUP,
                        "--host soft: profile=%s is a file, which cannot be read here", profile);
    options->custom = info;
    return vm->options->read_profile(profile, iommu, info, err);
}

static int create_soft(struct vmm *vm, const char *text, const struct viommu_log *log,
                       struct viommu_error *err)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct vmm_key keys[] = {{"profile", NULL},
                             {"profile-iommu", NULL},
                             {"cache", NULL},
                             {"iommus", NULL},
                             {NULL, NULL}};
    uint64_t iommus = 1;
    int ret;

    ret = vmm_keys_parse("--host soft", text, keys, err);
    if (!ret)
        ret = parse_cache(keys[2].value, &options.cache, err);
    if (!ret)
        ret = vmm_key_number("--host soft", &keys[3], 1, HOST_IOMMUS_MAX, &iommus, err);
    if (!ret)
        ret = take_profile(vm, keys[0].value, keys[1].value, &options, &info, err);
    vm->host_iommus = (unsigned int)iommus;
    options.log = *log;
    if (!ret)
        ret = viommu_soft_create(&vm->host, &options, err);
    vmm_keys_free(keys);
    return ret;
}

static const struct vmm_counter soft_counters[] = {
    VMM_COUNTER(struct viommu_soft_census, bound_devices),
    VMM_COUNTER(struct viommu_soft_census, attachments),
    VMM_COUNTER(struct viommu_soft_census, ioas),
    VMM_COUNTER(struct viommu_soft_census, paging_hwpts),
    VMM_COUNTER(struct viommu_soft_census, nested_hwpts),
    VMM_COUNTER(struct viommu_soft_census, mapped_bytes),
    VMM_COUNTER(struct viommu_soft_census, table_pages),
    VMM_COUNTER(struct viommu_soft_census, cache_entries),
    VMM_COUNTER(struct viommu_soft_census, dma_requests),
    VMM_COUNTER(struct viommu_soft_census, dma_faults),
    VMM_COUNTER(struct viommu_soft_census, translation_requests),
    VMM_COUNTER(struct viommu_soft_census, device_tlb_invalidations),
};

static void print_soft(struct vmm *vm)
{
    struct viommu_soft_census census = {.size = sizeof(census)};

    viommu_soft_get_census(vm->host, &census);
    vmm_counters_print("host", soft_counters, sizeof(soft_counters) / sizeof(soft_counters[0]),
                       &census);
}

/* ---- Both of Linux's */

static int tell_kvm(struct vmm *vm, struct viommu_vfio_files *files, struct viommu_error *err)
{
    int ret = vmm_kvm_vfio_create(vm, &vmm_vfio_linux, err);

    *files = (struct viommu_vfio_files){vm->kvm_vfio, vmm_kvm_vfio_opened, vmm_kvm_vfio_closing};
    return ret;
}

/* ---- Linux's iommufd */

static int create_iommufd(struct vmm *vm, const char *text, const struct viommu_log *log,
                          struct viommu_error *err)
{
    struct viommu_iommufd_options options = VIOMMU_IOMMUFD_OPTIONS_INIT;
    struct vmm_key keys[] = {{"path", NULL}, {"fd", NULL}, {NULL, NULL}};
    uint64_t fd = 0;
    int ret;

    ret = vmm_keys_parse("--host iommufd", text, keys, err);
    if (!ret)
        ret = vmm_key_number("--host iommufd", &keys[1], 0, INT32_MAX, &fd, err);
    if (!ret && keys[0].value && keys[1].value)
        ret = vmm_fail(err, EINVAL, "--host iommufd takes path= or fd=, not both");
    if (!ret)
        ret = tell_kvm(vm, &options.files, err);
    if (!ret) {
        options.path = keys[0].value;
        options.descriptor = keys[1].value ? (int)fd : -1;
        options.log = *log;
        ret = viommu_iommufd_create(&vm->host, &options, err);
    }
    if (!ret && vm->ram.file > 0)
        ret = viommu_iommufd_add_file(vm->host, vm->ram.host, vm->ram.size, vm->ram.file, 0, err);
    vmm_keys_free(keys);
    return ret;
}

/* ---- Linux's VFIO containers */

static int create_type1(struct vmm *vm, const char *text, const struct viommu_log *log,
                        struct viommu_error *err)
{
    struct viommu_type1_options options = VIOMMU_TYPE1_OPTIONS_INIT;
    struct vmm_key keys[] = {{NULL, NULL}};
    int ret = vmm_keys_parse("--host type1", text, keys, err);

    options.log = *log;
    if (!ret)
        ret = tell_kvm(vm, &options.files, err);
    return ret ? ret : viommu_type1_create(&vm->host, &options, err);
}

/* ---- Kinds */

static const struct vmm_host_kind {
    const char *name;
    int (*create)(struct vmm *vm, const char *text, const struct viommu_log *log,
                  struct viommu_error *err);
    /* Of hosts with VFIO devices; the others leave them NULL, and the first when none is passed in.
     */
    int (*pass_device)(struct viommu_host *host, const char *name, int fd,
                       struct viommu_error *err);
    int (*descriptor)(struct viommu_host *host, uint32_t device_id, struct viommu_error *err);
    /* Of those with IOMMU groups. */
    int (*group_descriptor)(struct viommu_host *host, uint32_t group, struct viommu_error *err);
    void (*print_stats)(struct vmm *vm);
} host_kinds[] = {
    {"soft", create_soft, NULL, NULL, NULL, print_soft},
    {"iommufd", create_iommufd, viommu_iommufd_add_device, viommu_iommufd_device_descriptor, NULL,
     NULL},
    {"type1", create_type1, NULL, viommu_type1_device_descriptor, viommu_type1_group_descriptor,
     NULL},
};
#define HOST_KINDS (sizeof(host_kinds) / sizeof(host_kinds[0]))

static const struct vmm_host_kind *find_kind(const char *name, size_t length)
{
    for (size_t i = 0; i < HOST_KINDS; i++)
        if (strlen(host_kinds[i].name) == length && !memcmp(host_kinds[i].name, name, length))
            return &host_kinds[i];
    return NULL;
}

int vmm_host_create(struct vmm *vm, const char *text, const struct viommu_log *log,
                    struct viommu_error *err)
{
    const struct vmm_host_kind *kind;
    size_t length;
    int ret;

    if (!text)
        return 0;
    length = strcspn(text, ",");
    kind = find_kind(text, length);
    if (!kind)
        return vmm_fail(err, EINVAL, "--host does not know '%.*s'; there are: soft, iommufd, type1",
                        (int)length, text);
    ret = kind->create(vm, text + length + (text[length] == ','), log, err);
    vm->host_kind = kind;
    return ret ? ret : viommu_assign_create(&vm->assign, vm->host, vm->memory, log, err);
}

void vmm_host_destroy(struct vmm *vm)
{
    viommu_assign_destroy(vm->assign);
    viommu_host_destroy(vm->host);
    vmm_kvm_vfio_destroy(vm);
    vm->assign = NULL;
    vm->host = NULL;
}

static int without_vfio(const struct vmm *vm, const char *what, struct viommu_error *err)
{
    return vmm_fail(err, EINVAL,
                    "%s is a VFIO device, which --host %s does not have; use --host "
                    "iommufd",
                    what, vm->host_kind->name);
}

int vmm_host_pass_device(struct vmm *vm, const char *name, int fd, struct viommu_error *err)
{
    if (!vm->host_kind->pass_device && vm->host_kind->descriptor)
        return vmm_fail(err, EINVAL,
                        "--host %s opens its devices itself: give %s as host=BDF, or use --host "
                        "iommufd",
                        vm->host_kind->name, name);
    if (!vm->host_kind->pass_device)
        return without_vfio(vm, name, err);
    return vm->host_kind->pass_device(vm->host, name, fd, err);
}

int vmm_host_device_descriptor(struct vmm *vm, uint32_t device_id, struct viommu_error *err)
{
    if (!vm->host_kind->descriptor)
        return without_vfio(vm, "what is asked for", err);
    return vm->host_kind->descriptor(vm->host, device_id, err);
}

int vmm_host_group_descriptor(struct vmm *vm, uint32_t group, struct viommu_error *err)
{
    if (!vm->host_kind->group_descriptor)
        return vmm_fail(err, EINVAL, "--host %s has no IOMMU groups", vm->host_kind->name);
    return vm->host_kind->group_descriptor(vm->host, group, err);
}

void vmm_host_print_stats(struct vmm *vm)
{
    if (vm->host && vm->host_kind->print_stats)
        vm->host_kind->print_stats(vm);
}
