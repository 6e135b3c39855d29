/* SPDX-License-Identifier: MIT */
/* What KVM is told of VFIO's files: a KVM that the test plays, which is as strict as the real one.
 */
#include "complaints.h"
#include "kvm_vfio.h"
#include "unit.h"
#include "vfio.h"
#include "vmm.h"

#define VM     11
#define DEVICE 12
#define KNOWN  4

static struct {
    bool has_device; /* one for each virtual machine */
    int known[KNOWN];
    unsigned int count;
    unsigned int devices; /* that were made */
    int create_errno;     /* 0: none */
    int add_errno;
    int delete_errno;
    bool no_memory;
} kvm;

static struct vmm vm;

void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_calloc(size_t count, size_t size);

void *__wrap_realloc(void *pointer, size_t size)
{
    return kvm.no_memory ? NULL : __real_realloc(pointer, size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return kvm.no_memory ? NULL : __real_calloc(count, size);
}

static int refuse(int error)
{
    errno = error;
    return -1;
}

static int create_device(int fd, struct kvm_create_device *create)
{
    assert_int_equal(fd, VM);
    assert_int_equal(create->type, KVM_DEV_TYPE_VFIO);
    assert_int_equal(create->flags, 0);
    if (kvm.create_errno)
        return refuse(kvm.create_errno);
    if (kvm.has_device)
        return refuse(EBUSY);
    kvm.has_device = true;
    kvm.devices++;
    create->fd = DEVICE;
    return 0;
}

static bool is_known(int descriptor)
{
    for (unsigned int i = 0; i < kvm.count; i++)
        if (kvm.known[i] == descriptor)
            return true;
    return false;
}

static int add_file(int descriptor)
{
    if (kvm.add_errno)
        return refuse(kvm.add_errno);
    if (is_known(descriptor))
        return refuse(EEXIST);
    assert_true(kvm.count < KNOWN);
    kvm.known[kvm.count++] = descriptor;
    return 0;
}

static int delete_file(int descriptor)
{
    if (kvm.delete_errno)
        return refuse(kvm.delete_errno);
    for (unsigned int i = 0; i < kvm.count; i++) {
        if (kvm.known[i] == descriptor) {
            kvm.known[i] = kvm.known[--kvm.count];
            return 0;
        }
    }
    return refuse(ENOENT);
}

static int set_attribute(int fd, const struct kvm_device_attr *attr)
{
    int32_t descriptor;

    assert_int_equal(fd, DEVICE);
    assert_true(kvm.has_device);
    assert_int_equal(attr->flags, 0);
    assert_int_equal(attr->group, 1);
    memcpy(&descriptor, (const void *)(uintptr_t)attr->addr, sizeof(descriptor));
    assert_in_range(attr->attr, 1, 2);
    return attr->attr == 1 ? add_file(descriptor) : delete_file(descriptor);
}

static int kvm_ioctl(int fd, unsigned long request, void *argument)
{
    if (request == KVM_CREATE_DEVICE)
        return create_device(fd, argument);
    assert_int_equal(request, KVM_SET_DEVICE_ATTR);
    return set_attribute(fd, argument);
}

static int kvm_close(int fd)
{
    assert_int_equal(fd, DEVICE);
    assert_true(kvm.has_device);
    kvm.has_device = false;
    kvm.count = 0;
    return 0;
}

static const struct vmm_vfio_kernel kernel = {.ioctl = kvm_ioctl, .close = kvm_close};

static int setup(void **state)
{
    (void)state;
    memset(&kvm, 0, sizeof(kvm));
    vm = (struct vmm){.vm_fd = VM};
    return vmm_kvm_vfio_create(&vm, &kernel, NULL);
}

static int teardown(void **state)
{
    (void)state;
    vmm_kvm_vfio_destroy(&vm);
    assert_null(vm.kvm_vfio);
    assert_false(kvm.has_device);
    return 0;
}

static void opened(int descriptor)
{
    vmm_kvm_vfio_opened(vm.kvm_vfio, descriptor);
}

static void closing(int descriptor)
{
    vmm_kvm_vfio_closing(vm.kvm_vfio, descriptor);
}

static void heard(const char *words)
{
    const char *said = complaints_heard();

    if (!strstr(said, words) || (!*words && *said))
        fail_msg("'%s' is not what was said: '%s'", words, said);
}

static void kvm_knows_each_file_while_it_is_open(void **state)
{
    (void)state;
    complaints_listen();
    opened(20);
    assert_true(is_known(20));
    opened(21);
    opened(22);
    assert_int_equal(kvm.devices, 1);
    closing(20);
    assert_false(is_known(20));
    assert_true(is_known(21) && is_known(22));
    opened(20); /* another file, of the same number */
    assert_true(is_known(20));
    closing(22);
    closing(21);
    closing(20);
    assert_int_equal(kvm.count, 0);
    heard("");
}

static void a_machine_without_such_files_asks_for_no_device(void **state)
{
    (void)state;
    vmm_kvm_vfio_leave(&vm);
    vmm_kvm_vfio_join(&vm);
    assert_int_equal(kvm.devices, 0);
    vmm_kvm_vfio_destroy(&vm);
    vmm_kvm_vfio_leave(&vm);
    vmm_kvm_vfio_join(&vm);
    vmm_kvm_vfio_destroy(&vm);
}

static void the_next_virtual_machine_is_told_anew(void **state)
{
    (void)state;
    complaints_listen();
    opened(20);
    opened(21);
    vmm_kvm_vfio_leave(&vm);
    assert_false(kvm.has_device); /* it held the virtual machine */
    vmm_kvm_vfio_join(&vm);
    assert_int_equal(kvm.devices, 2);
    assert_true(is_known(20) && is_known(21));
    closing(20);
    assert_int_equal(kvm.count, 1);
    heard("");
}

static void a_kvm_without_the_kind_is_no_reason_to_complain(void **state)
{
    static const int errors[] = {ENODEV, ENOTTY};

    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++) {
        kvm.create_errno = errors[i];
        complaints_listen();
        opened(20);
        vmm_kvm_vfio_leave(&vm);
        vmm_kvm_vfio_join(&vm);
        closing(20);
        heard("");
        assert_int_equal(kvm.devices, 0);
    }
}

static void a_refusal_is_told_and_the_rest_goes_on(void **state)
{
    static const struct {
        int *error;
        const char *sentence;
    } cases[] = {
        {&kvm.create_errno, "KVM gives no VFIO device: Operation not permitted; WBINVD"},
        {&kvm.add_errno, "KVM takes no VFIO file: Operation not permitted; WBINVD"},
        {&kvm.delete_errno, "KVM keeps a VFIO file: Operation not permitted; its device"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        *cases[i].error = EPERM;
        complaints_listen();
        opened(20);
        closing(20);
        heard(cases[i].sentence);
        *cases[i].error = 0;
        vmm_kvm_vfio_leave(&vm);
        opened(21);
        assert_true(is_known(21));
        closing(21);
        assert_int_equal(kvm.count, 0);
    }
}

/* What was refused once is offered to the next virtual machine. */
static void what_kvm_did_not_take_is_not_taken_back(void **state)
{
    (void)state;
    kvm.add_errno = EINVAL;
    complaints_listen();
    opened(20);
    opened(21);
    kvm.add_errno = 0;
    kvm.delete_errno = EBADF; /* would be told */
    closing(20);
    vmm_kvm_vfio_leave(&vm);
    vmm_kvm_vfio_join(&vm);
    assert_true(is_known(21));
    assert_false(is_known(20));
    assert_null(strstr(complaints_heard(), "keeps"));
}

static void no_memory_costs_the_news_alone(void **state)
{
    struct vmm other = {.vm_fd = VM};
    struct viommu_error error;

    (void)state;
    opened(20);
    kvm.no_memory = true;
    complaints_listen();
    opened(21);
    heard("KVM is told of no VFIO file: Cannot allocate memory");
    assert_int_equal(vmm_kvm_vfio_create(&other, &kernel, &error), -ENOMEM);
    assert_non_null(strstr(error.message, "out of memory"));
    assert_null(other.kvm_vfio);
    kvm.no_memory = false;
    closing(21);
    assert_true(is_known(20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kvm_knows_each_file_while_it_is_open, setup, teardown),
        cmocka_unit_test_setup_teardown(a_machine_without_such_files_asks_for_no_device, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_next_virtual_machine_is_told_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kvm_without_the_kind_is_no_reason_to_complain, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_refusal_is_told_and_the_rest_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(what_kvm_did_not_take_is_not_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory_costs_the_news_alone, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
