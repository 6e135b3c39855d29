/* SPDX-License-Identifier: MIT */
/* The guest addresses in which memory BARs lie: which a segment has, and what is taken of them. */
#include "pci_internal.h"

#define GIB (UINT64_C(1) << 30)

/* The rest of what a processor can address behind RAM, in equal parts: no segment's part moves when
 * another has a device. */
struct vmm_pci_window vmm_pci_high_window(const struct vmm *vm, unsigned int segment)
{
    uint64_t high_ram = vm->ram.size - vm->ram.low_size;
    uint64_t base = (VMM_HIGH_RAM_BASE + high_ram + GIB - 1) & ~(GIB - 1);
    uint64_t limit = UINT64_C(1) << vm->physical_bits;
    uint64_t part = limit > base ? ((limit - base) / VMM_SEGMENTS_MAX) & ~(GIB - 1) : 0;

    return (struct vmm_pci_window){base + segment * part, base + (segment + 1) * part};
}

static struct vmm_pci_window low_window(unsigned int segment)
{
    uint64_t far = VMM_FAR_WINDOW_BASE + (segment - 1) * VMM_FAR_WINDOW_SIZE;

    if (!segment)
        return (struct vmm_pci_window){VMM_PCI_WINDOW_BASE, VMM_PCI_WINDOW_END + 1};
    return (struct vmm_pci_window){far, far + VMM_FAR_WINDOW_SIZE};
}

void vmm_pci_windows_reset(struct vmm_pci_segment *segment)
{
    segment->low = low_window(segment->number);
    segment->high = vmm_pci_high_window(segment->host->vm, segment->number);
}

uint64_t vmm_pci_window_take(struct vmm_pci_window *window, uint64_t size)
{
    uint64_t address = (window->next + size - 1) & ~(size - 1);

    if (address < window->next || address >= window->end || window->end - address < size)
        return 0;
    window->next = address + size;
    return address;
}
