/* SPDX-License-Identifier: MIT */
#include "reserved.h"
#include "pci.h"
#include "units.h"
#include "vmm.h"
#include <errno.h>

uint64_t vmm_low_ram_end(const struct vmm *vm)
{
    return vm->reserved_count ? vm->reserved[vm->reserved_count - 1].base : vm->ram.low_size;
}

void vmm_unreserve(const struct vmm_pci_function *fn)
{
    struct vmm *vm = fn->vm;

    if (vm->reserved_count && vm->reserved[vm->reserved_count - 1].fn == fn)
        vm->reserved_count--;
}

int vmm_reserve(const struct vmm_pci_function *fn, uint64_t size, uint64_t *base,
                struct viommu_error *err)
{
    struct vmm *vm = fn->vm;
    uint64_t end = vmm_low_ram_end(vm);

    if (!size || size % 4096 || size > VMM_RESERVED_SIZE_MAX)
        return vmm_fail(err, EINVAL,
                        "%s: rmrr=%llu is no multiple of 4096 from 4096 to 67108864 (64 MiB)",
                        fn->id.name, (unsigned long long)size);
    if (vm->reserved_count == VMM_RESERVED_MAX)
        return vmm_fail(err, ENOSPC, "%s: only %u devices may have rmrr=SIZE", fn->id.name,
                        VMM_RESERVED_MAX);
    if (end - size < vm->ram.low_size / 2)
        return vmm_fail(err, ENOSPC,
                        "%s: rmrr=%llu would leave less than a half of the RAM to the guest; give "
                        "more with --memory",
                        fn->id.name, (unsigned long long)size);
    if (!vmm_unit_of(fn))
        return vmm_fail(
            err, EINVAL,
            "%s: rmrr=%llu is for a device behind a unit: add --viommu vtd, whose table "
            "tells the guest of it, or leave it out",
            fn->id.name, (unsigned long long)size);
    *base = end - size;
    vm->reserved[vm->reserved_count++] = (struct vmm_reserved){fn, *base, size};
    return 0;
}
