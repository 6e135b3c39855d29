/* SPDX-License-Identifier: MIT */
/*
 * Second-stage translation, from a context entry (legacy mode) and from a PASID entry (scalable
 * mode): the same tables, each with fault reasons of its own.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "base/rcu.h"
#include "guest_tables.h"
#include "model/vtd/vtd.h"

#define BIT(n) (UINT64_C(1) << (n))

struct second {
    struct guest guest;
    uint64_t root, leaf, page;
};

/* The two modes, and what a fault is called in each. */
static const struct mode {
    bool scalable;
    uint8_t table_access, root_access, reserved, no_read, no_write, absent_read, absent_write;
    uint8_t width, interrupts;
} modes[] = {
    {false, 0x07, 0x03, 0x0c, 0x06, 0x05, 0x06, 0x05, 0x04, 0x0e},
    {true, 0x78, 0x7b, 0x7a, 0x86, 0x85, 0x79, 0x79, 0x84, 0x87},
};

#define FOR_EACH_MODE(mode) for (const struct mode *mode = modes; mode < modes + 2; mode++)

static void point(struct second *second, const struct mode *mode, unsigned int aw, uint64_t root)
{
    if (mode->scalable) {
        guest_scalable(&second->guest, 0, 0);
        guest_pasid(&second->guest, 0, PASID_PGTT(2) | PASID_AW(aw) | root, GUEST_DOMAIN, 0);
    } else {
        guest_legacy(&second->guest, 0, 0, aw, root);
    }
    guest_on(&second->guest, mode->scalable ? TTM_SCALABLE : TTM_LEGACY);
}

static void start(struct second *second, const struct mode *mode, const char *properties)
{
    char all[128] = "second-stage=on";

    if (*properties)
        snprintf(all, sizeof(all), "second-stage=on,%s", properties);
    guest_create(&second->guest, all);
    second->root = guest_page(&second->guest);
    second->page = guest_page(&second->guest);
    second->leaf =
        guest_map(&second->guest, second->root, 4, GUEST_IOVA, 1, second->page | SS_RW, SS_RW);
    point(second, mode, 2, second->root);
}

static void end(struct second *second)
{
    guest_destroy(&second->guest);
}

static uint64_t entry_at(struct second *second, unsigned int level)
{
    return guest_entry(&second->guest, second->root, 4, GUEST_IOVA, level);
}

static void page_sizes(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct viommu_dma_result result;
        struct second second;

        start(&second, mode, "");
        result = guest_reads(&second.guest, GUEST_IOVA + 8, second.page + 8);
        assert_int_equal(result.granule_log2, 12);
        guest_writes(&second.guest, GUEST_IOVA, second.page);
        guest_flush(&second.guest);
        store64(&second.guest.machine, entry_at(&second, 2), 0x400000 | SS_PS | SS_RW);
        result = guest_reads(&second.guest, GUEST_IOVA, 0x400000 | (GUEST_IOVA & 0x1fffff));
        assert_int_equal(result.granule_log2, 21);
        guest_flush(&second.guest);
        store64(&second.guest.machine, entry_at(&second, 3), SS_PS | SS_RW);
        result = guest_reads(&second.guest, (GUEST_IOVA & ~(BIT(30) - 1)) + 0x3000, 0x3000);
        assert_int_equal(result.granule_log2, 30);
        end(&second);
    }
}

static void page_size_support(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "1g=off");
        store64(&second.guest.machine, entry_at(&second, 3), SS_PS | SS_RW);
        guest_read_faults(&second.guest, GUEST_IOVA, mode->reserved);
        end(&second);
        start(&second, mode, "1g=off,2m=off");
        store64(&second.guest.machine, entry_at(&second, 2), 0x400000 | SS_PS | SS_RW);
        guest_read_faults(&second.guest, GUEST_IOVA, mode->reserved);
        end(&second);
        start(&second, mode, "");
        guest_change(&second.guest, entry_at(&second, 4), 0, SS_PS);
        guest_read_faults(&second.guest, GUEST_IOVA, mode->reserved);
        guest_change(&second.guest, entry_at(&second, 4), SS_PS, 0);
        guest_change(&second.guest, second.leaf, 0, SS_PS); /* ignored at level 1 */
        guest_reads(&second.guest, GUEST_IOVA, second.page);
        end(&second);
    }
}

static void three_levels(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;
        uint64_t root;

        start(&second, mode, "");
        root = load64(&second.guest.machine, entry_at(&second, 4)) & ~UINT64_C(0xfff);
        point(&second, mode, 1, root);
        guest_read_faults(&second.guest, GUEST_IOVA | BIT(39), mode->width);
        guest_read_faults(&second.guest, BIT(39), mode->width);
        guest_reads(&second.guest, GUEST_IOVA, second.page);
        end(&second);
    }
}

static void width(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "");
        guest_read_faults(&second.guest, BIT(48), mode->width);
        guest_write_faults(&second.guest, BIT(48), mode->width);
        guest_read_faults(&second.guest, BIT(63), mode->width);
        guest_read_faults(&second.guest, BIT(48) - 4096, mode->absent_read);
        end(&second);
        /* Four levels there are, for the first stage; MGAW is less. */
        start(&second, mode, "aw=39");
        guest_read_faults(&second.guest, GUEST_IOVA | BIT(39), mode->width);
        guest_reads(&second.guest, GUEST_IOVA, second.page);
        end(&second);
    }
}

static void absent(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct viommu_dma_result result;
        struct second second;

        start(&second, mode, "");
        for (unsigned int level = 1; level <= 4; level++) {
            const struct guest_dma dma = DMA_AT(GUEST_IOVA);
            uint64_t entry = entry_at(&second, level);
            uint64_t value = load64(&second.guest.machine, entry);

            /* Reserved bits do not count in an entry that permits nothing. */
            store64(&second.guest.machine, entry, ~SS_RW);
            guest_read_faults(&second.guest, GUEST_IOVA, mode->absent_read);
            guest_write_faults(&second.guest, GUEST_IOVA, mode->absent_write);
            guest_dma(&second.guest, &dma, &result);
            assert_int_equal(result.status, VIOMMU_DMA_NOT_PRESENT);
            write64(&second.guest.machine,
                    machine_fault_record(
                        &second.guest.machine,
                        (unsigned int)(read32(&second.guest.machine, 0x34) >> 8 & 0xff)) +
                        8,
                    BIT(63));
            store64(&second.guest.machine, entry, value);
        }
        end(&second);
    }
}

static void rights(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct guest_dma dma = DMA_AT(GUEST_IOVA);
        struct second second;

        start(&second, mode, "");
        dma.access = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
        for (unsigned int level = 1; level <= 4; level++) {
            guest_change(&second.guest, entry_at(&second, level), SS_W, 0);
            guest_write_faults(&second.guest, GUEST_IOVA, mode->no_write);
            guest_faults(&second.guest, &dma, mode->no_write);
            guest_reads(&second.guest, GUEST_IOVA, second.page);
            guest_write_faults(&second.guest, GUEST_IOVA, mode->no_write);
            guest_change(&second.guest, entry_at(&second, level), SS_R, SS_W);
            guest_flush(&second.guest);
            guest_read_faults(&second.guest, GUEST_IOVA, mode->no_read);
            guest_faults(&second.guest, &dma, mode->no_read);
            guest_writes(&second.guest, GUEST_IOVA, second.page);
            guest_read_faults(&second.guest, GUEST_IOVA, mode->no_read);
            guest_change(&second.guest, entry_at(&second, level), 0, SS_R);
            guest_flush(&second.guest);
        }
        end(&second);
    }
}

static void rights_that_cancel(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "");
        guest_change(&second.guest, entry_at(&second, 3), SS_W, 0);
        guest_change(&second.guest, second.leaf, SS_R, 0);
        guest_read_faults(&second.guest, GUEST_IOVA, mode->absent_read);
        guest_write_faults(&second.guest, GUEST_IOVA, mode->absent_write);
        end(&second);
    }
}

static void reserved_bits(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "haw=40");
        for (unsigned int level = 1; level <= 4; level++) {
            for (unsigned int bit = 11; bit < 64; bit++) {
                if ((bit > 11 && bit < 40) || (bit > 51 && bit != 62) || (bit == 11 && level == 1))
                    continue;
                guest_change(&second.guest, entry_at(&second, level), 0, BIT(bit));
                guest_read_faults(&second.guest, GUEST_IOVA, mode->reserved);
                guest_change(&second.guest, entry_at(&second, level), BIT(bit), 0);
            }
        }
        for (unsigned int level = 1; level <= 4; level++)
            guest_change(&second.guest, entry_at(&second, level), 0, 0xbff000000000077c);
        guest_reads(&second.guest, GUEST_IOVA, second.page);
        end(&second);
    }
}

static void snoop_bit(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "snoop-control=off");
        guest_change(&second.guest, second.leaf, 0, SS_SNP);
        guest_read_faults(&second.guest, GUEST_IOVA, mode->reserved);
        end(&second);
        start(&second, mode, "");
        guest_change(&second.guest, second.leaf, 0, SS_SNP);
        guest_reads(&second.guest, GUEST_IOVA, second.page);
        end(&second);
    }
}

static void large_reserved(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "");
        for (unsigned int bit = 12; bit < 30; bit++) {
            store64(&second.guest.machine, entry_at(&second, 3), BIT(bit) | SS_PS | SS_RW);
            guest_read_faults(&second.guest, GUEST_IOVA, mode->reserved);
        }
        end(&second);
        start(&second, mode, "");
        for (unsigned int bit = 12; bit < 21; bit++) {
            store64(&second.guest.machine, entry_at(&second, 2), BIT(bit) | SS_PS | SS_RW);
            guest_read_faults(&second.guest, GUEST_IOVA, mode->reserved);
        }
        end(&second);
    }
}

static void tables_without_memory(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "");
        for (unsigned int level = 2; level <= 4; level++) {
            uint64_t entry = entry_at(&second, level);
            uint64_t value = load64(&second.guest.machine, entry);

            store64(&second.guest.machine, entry, GUEST_NOWHERE | SS_RW);
            guest_read_faults(&second.guest, GUEST_IOVA, mode->table_access);
            store64(&second.guest.machine, entry, value);
        }
        point(&second, mode, 2, GUEST_NOWHERE);
        guest_read_faults(&second.guest, GUEST_IOVA, mode->root_access);
        end(&second);
    }
}

static void output_in_interrupt_range(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "");
        store64(&second.guest.machine, second.leaf, 0xfee01000 | SS_RW);
        guest_read_faults(&second.guest, GUEST_IOVA, mode->interrupts);
        guest_write_faults(&second.guest, GUEST_IOVA, mode->interrupts);
        end(&second);
    }
}

static void accessed_and_dirty(void **state)
{
    const struct mode *mode = &modes[1];
    struct second second;

    (void)state;
    start(&second, mode, "ad=on");
    guest_pasid(&second.guest, 0, PASID_PGTT(2) | PASID_AW(2) | PASID_SSADE | second.root,
                GUEST_DOMAIN | PASID_PWSNP, 0);
    guest_reads(&second.guest, GUEST_IOVA, second.page);
    for (unsigned int level = 1; level <= 4; level++)
        assert_int_equal(load64(&second.guest.machine, entry_at(&second, level)) & (SS_A | SS_D),
                         SS_A);
    guest_writes(&second.guest, GUEST_IOVA, second.page);
    assert_int_equal(load64(&second.guest.machine, second.leaf), second.page | SS_RW | SS_A | SS_D);
    end(&second);
}

static void accessed_and_dirty_off(void **state)
{
    (void)state;
    FOR_EACH_MODE(mode)
    {
        struct second second;

        start(&second, mode, "ad=on");
        guest_writes(&second.guest, GUEST_IOVA, second.page);
        assert_int_equal(load64(&second.guest.machine, second.leaf), second.page | SS_RW);
        end(&second);
    }
}

static void update_without_snoop(void **state)
{
    const struct mode *mode = &modes[1];
    struct second second;

    (void)state;
    start(&second, mode, "ad=on");
    guest_pasid(&second.guest, 0, PASID_PGTT(2) | PASID_AW(2) | PASID_SSADE | second.root,
                GUEST_DOMAIN, 0);
    guest_read_faults(&second.guest, GUEST_IOVA, 0x7c);
    for (unsigned int level = 1; level <= 4; level++)
        guest_change(&second.guest, entry_at(&second, level), 0, SS_A);
    guest_reads(&second.guest, GUEST_IOVA, second.page);
    guest_write_faults(&second.guest, GUEST_IOVA, 0x7c);
    end(&second);
}

static void update_fails(void **state)
{
    struct viommu_memory_range rom = {
        .gpa = BIT(32), .size = 4096, .flags = VIOMMU_MEMORY_READONLY};
    const struct mode *mode = &modes[1];
    struct second second;
    uint64_t *table;

    (void)state;
    start(&second, mode, "ad=on");
    guest_pasid(&second.guest, 0, PASID_PGTT(2) | PASID_AW(2) | PASID_SSADE | second.root,
                GUEST_DOMAIN | PASID_PWSNP, 0);
    rom.host = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(rom.host, MAP_FAILED);
    assert_int_equal(viommu_memory_add(second.guest.machine.memory, &rom, NULL), 0);
    table = rom.host;
    table[GUEST_IOVA >> 12 & 511] = second.page | SS_RW;
    store64(&second.guest.machine, entry_at(&second, 2), rom.gpa | SS_RW);
    guest_read_faults(&second.guest, GUEST_IOVA, 0x7d);
    assert_int_equal(viommu_memory_remove(second.guest.machine.memory, rom.gpa, NULL), 0);
    munmap(rom.host, 4096);
    end(&second);
}

static struct dma_translation shadow(struct second *second, uint64_t address)
{
    struct vtd *vtd = vtd_of(second->guest.machine.viommu);
    struct dma_translation translation;
    struct vtd_entry entry;

    rcu_enter();
    vtd_entry_find(vtd, vtd->translation, 0, VIOMMU_PASID_NONE, &entry);
    assert_int_equal(entry.status, VIOMMU_DMA_OK);
    vtd_translate_second_stage(vtd, &entry, address, &translation);
    rcu_exit();
    return translation;
}

/* For mirroring a table: whatever a page permits, dirty already, since writes will not be seen. */
static void whole_pages(void **state)
{
    struct dma_translation translation;
    struct second second;

    (void)state;
    start(&second, &modes[1], "ad=on");
    guest_pasid(&second.guest, 0, PASID_PGTT(2) | PASID_AW(2) | PASID_SSADE | second.root,
                GUEST_DOMAIN | PASID_PWSNP, 0);
    translation = shadow(&second, GUEST_IOVA + 0x234);
    assert_int_equal(translation.status, VIOMMU_DMA_OK);
    assert_int_equal(translation.gpa, second.page);
    assert_int_equal(translation.domain, GUEST_DOMAIN);
    assert_int_equal(translation.permissions & 3, VIOMMU_DMA_READ | VIOMMU_DMA_WRITE);
    assert_int_equal(load64(&second.guest.machine, second.leaf) & (SS_A | SS_D), SS_A | SS_D);
    guest_change(&second.guest, second.leaf, SS_R, 0);
    assert_int_equal(shadow(&second, GUEST_IOVA).permissions & 3, VIOMMU_DMA_WRITE);
    guest_change(&second.guest, second.leaf, SS_RW, 0);
    assert_int_equal(shadow(&second, GUEST_IOVA).status, VIOMMU_DMA_NOT_PRESENT);
    store64(&second.guest.machine, second.leaf, 0xfee00000 | SS_RW);
    assert_int_equal(shadow(&second, GUEST_IOVA).fault_code, 0x87);
    /* Interrupts of assigned devices do not come here: an input in the range is an address. */
    guest_map(&second.guest, second.root, 4, 0xfee00000, 1, second.page | SS_RW, SS_RW);
    assert_int_equal(shadow(&second, 0xfee00000).gpa, second.page);
    guest_map(&second.guest, second.root, 4, 0xc0000000, 3, 0x80000000 | SS_PS | SS_RW, SS_RW);
    translation = shadow(&second, 0xc0000000);
    assert_int_equal(translation.granule_log2, 30);
    assert_int_equal(translation.gpa, 0x80000000);
    assert_false(translation.fractured);
    end(&second);
}

static void fault_disable(void **state)
{
    const struct guest_dma dma = DMA_AT(GUEST_IOVA + 0x1000);
    struct second second;

    (void)state;
    start(&second, &modes[0], "");
    guest_faults(&second.guest, &dma, 0x06);
    guest_change(&second.guest, GUEST_CONTEXT, 0, 2);
    guest_faults_silently(&second.guest, &dma, 0x06);
    guest_reads(&second.guest, GUEST_IOVA, second.page);
    end(&second);
}

static const struct spec_rule rules[] = {
    {"VTD-3.7-sizes", "3.7", "Pages of 4 KiB, 2 MiB and 1 GiB.", page_sizes},
    {"VTD-3.7-SSLPS", "3.7", "PS is reserved at level 4 and where SSLPS lacks the size.",
     page_size_support},
    {"VTD-3.7-AGAW", "3.7", "AW 1 walks three levels of 39 bits.", three_levels},
    {"VTD-7.1.3-LGN.1.1,SGN.5", "3.7",
     "An address beyond AGAW or MGAW is fault 04h, in scalable mode 84h.", width},
    {"VTD-7.1.3-SSS.2", "7.1.3",
     "An entry with R and W clear: in scalable mode fault 79h, in legacy mode 05h or 06h.", absent},
    {"VTD-7.1.3-LGN.2,LGN.3,SGN.6,SGN.7", "3.7.1",
     "Writes need W in every entry, reads R, atomics both: 05h and 06h, 85h and 86h.", rights},
    {"VTD-7.1.3-SSS.2-and", "7.1.3", "Entries that permit nothing together are as absent ones.",
     rights_that_cancel},
    {"VTD-7.1.3-LSS.2,SSS.3", "9.8",
     "Each reserved bit is fault 0Ch, 7Ah; ignored bits are ignored.", reserved_bits},
    {"VTD-9.8-SNP", "9.8", "SNP of a leaf is reserved without ECAP.SC.", snoop_bit},
    {"VTD-9.8-large", "9.8", "Address bits below a large page's size are reserved.",
     large_reserved},
    {"VTD-7.1.3-LSS.1,LCT.4.3,SSS.1,SSS.4", "7.1.3",
     "A table without memory is fault 07h, 78h; the first 03h, 7Bh.", tables_without_memory},
    {"VTD-7.1.3-LGN.4,SGN.8", "3.15", "An output address in the interrupt range is fault 0Eh, 87h.",
     output_in_interrupt_range},
    {"VTD-3.7.2-AD", "3.7.2", "With SSADE, A in each entry and D in the leaf that is written.",
     accessed_and_dirty},
    {"VTD-3.7.2-off", "3.7.2", "Without SSADE the bits are left alone.", accessed_and_dirty_off},
    {"VTD-7.1.3-SSS.5", "3.10", "Without page-walk snoop a bit that must be set is fault 7Ch.",
     update_without_snoop},
    {"VTD-7.1.3-SSS.6", "7.1.3", "A bit that cannot be set is fault 7Dh.", update_fails},
    {"VTD-3.7.2-mirrored", "3.7.2", "A table that is mirrored to a host has its dirty bits set.",
     whole_pages},
    {"VTD-7.1.1-FPD-legacy", "7.1.1", "FPD of a context entry hides faults of its page tables.",
     fault_disable},
};

int main(int argc, char **argv)
{
    return spec_main(argc, argv, "VT-d 5.0", rules, SPEC_COUNT(rules));
}
