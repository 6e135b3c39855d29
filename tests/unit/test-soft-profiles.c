/* SPDX-License-Identifier: MIT */
/*
 * The profiles against tests/data/host-iommus.csv: registers as they were read off real machines,
 * and abilities as their bits say (nest 26, scalable mode 43, first stage 47, PASID 40).
 */
#include "soft-rig.h"

struct machine {
    char vendor[16];
    char name[64];
    char version[8];
    uint64_t registers[2];
};

/* One row, split at its commas; the version may be empty. */
static bool parse(char *line, struct machine *machine)
{
    char *fields[5];

    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] == '#' || !strncmp(line, "vendor,", 7))
        return false;
    for (int i = 0; i < 5; i++) {
        fields[i] = strsep(&line, ",");
        assert_non_null(fields[i]);
    }
    snprintf(machine->vendor, sizeof(machine->vendor), "%s", fields[0]);
    snprintf(machine->name, sizeof(machine->name), "%s", fields[1]);
    snprintf(machine->version, sizeof(machine->version), "%s", fields[2]);
    machine->registers[0] = strtoull(fields[3], NULL, 16);
    machine->registers[1] = strtoull(fields[4], NULL, 16);
    return true;
}

static bool bit(uint64_t value, int number)
{
    return value >> number & 1;
}

static int alloc(struct rig *rig, uint32_t flags)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = rig->device_id,
        .parent_id = rig->ioas,
        .flags = flags,
    };
    int ret = viommu_host_hwpt_alloc(rig->host, &options, &rig->parent, &rig->error);

    if (ret)
        rig->parent = 0;
    else
        assert_int_equal(viommu_host_destroy_object(rig->host, rig->parent, NULL), 0);
    rig->parent = 0;
    return ret;
}

static void check_intel(struct rig *rig, const struct machine *machine,
                        const struct viommu_host_hw_info *info, const char *description)
{
    uint64_t ecap = machine->registers[1];
    bool scalable = bit(ecap, 43), nests = scalable && bit(ecap, 26) && bit(ecap, 46);
    unsigned int pasid = bit(ecap, 40) ? (ecap >> 35 & 31) + 1 : 0;
    char version[32];

    assert_int_equal(info->type, VIOMMU_HOST_IOMMU_VTD);
    assert_int_equal(info->max_pasid_log2, pasid);
    assert_int_equal(info->dirty_tracking, scalable && bit(ecap, 45) && bit(ecap, 46));
    assert_int_equal(alloc(rig, VIOMMU_HOST_HWPT_NEST_PARENT), nests ? 0 : -EOPNOTSUPP);
    assert_int_equal(!strstr(description, "does not nest"), nests);
    snprintf(version, sizeof(version), "VT-d %c.%c,", machine->version[0], machine->version[2]);
    assert_non_null(strstr(description, version));
}

static void check_amd(struct rig *rig, const struct machine *machine,
                      const struct viommu_host_hw_info *info, const char *description)
{
    uint64_t efr = machine->registers[0];

    assert_int_equal(info->type, VIOMMU_HOST_IOMMU_AMD);
    assert_int_equal(info->max_pasid_log2, bit(efr, 4) ? (efr >> 32 & 31) + 1 : 0);
    assert_int_equal(info->dirty_tracking, bit(efr, 52));
    assert_int_equal(alloc(rig, 0), 0);
    assert_non_null(strstr(description, "AMD"));
    assert_non_null(strstr(description, "does not nest"));
}

static void check_machine(const struct machine *machine, const char *profile)
{
    const char *description = viommu_soft_profile_description(profile);
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct rig rig;

    print_message("%-22s %s (%s)\n", profile, description, machine->name);
    rig_create(&rig, profile, VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device_id, &info, NULL), 0);
    assert_int_equal(info.registers[0], machine->registers[0]);
    assert_int_equal(info.registers[1], machine->registers[1]);
    assert_string_equal(info.name, profile);
    if (!strcmp(machine->vendor, "intel"))
        check_intel(&rig, machine, &info, description);
    else
        check_amd(&rig, machine, &info, description);
    rig_destroy(&rig);
}

static void test_machines(void **state)
{
    FILE *file = fopen(HOST_IOMMUS_CSV, "r");
    struct machine machine;
    char line[512];
    size_t row = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (parse(line, &machine))
            check_machine(&machine, viommu_soft_profile_name(row++));
    }
    fclose(file);
    assert_int_equal(row, 15);
}

static void registers_of(const char *profile, uint64_t registers[2], uint32_t *quirks)
{
    struct viommu_host_hw_info info = {.size = sizeof(info)};
    struct rig rig;

    rig_create(&rig, profile, VIOMMU_SOFT_CACHE_NONE);
    assert_int_equal(viommu_host_hw_info(rig.host, rig.device_id, &info, NULL), 0);
    memcpy(registers, info.registers, sizeof(info.registers));
    *quirks = info.quirks;
    rig_destroy(&rig);
}

/* The profiles made for tests lack what their names say, and nothing else. */
static void test_lacking(void **state)
{
    const struct {
        const char *profile;
        uint64_t cap;
        uint64_t ecap;
    } cases[] = {
        {"no-nesting", 0, 1 << 26},
        {"no-first-stage", 0, 1 << 26 | UINT64_C(1) << 47},
        {"no-scalable", 0, 1 << 26 | UINT64_C(0xc9) << 40},
        {"no-1g", UINT64_C(1) << 56 | UINT64_C(1) << 35, 0},
        {"no-5-level", UINT64_C(1) << 60, 0},
        {"no-pasid", 0, UINT64_C(1) << 40},
        {"narrow-pasid", 0, UINT64_C(20) << 35}, /* PSS 19 becomes 7: both other bits */
    };
    uint64_t full[2], less[2];
    uint32_t quirks;

    (void)state;
    registers_of("granite-rapids", full, &quirks);
    assert_int_equal(quirks, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        registers_of(cases[i].profile, less, &quirks);
        assert_int_equal(full[0] ^ less[0], cases[i].cap);
        assert_int_equal(full[1] ^ less[1], cases[i].ecap);
    }
    registers_of("sapphire-rapids", less, &quirks);
    assert_int_equal(quirks, VIOMMU_HOST_QUIRK_772415);
}

static void test_names(void **state)
{
    size_t count = viommu_soft_profile_count();

    (void)state;
    assert_null(viommu_soft_profile_name(count));
    assert_null(viommu_soft_profile_description("pentium"));
    assert_null(viommu_soft_profile_description(NULL));
    for (size_t i = 0; i < count; i++) {
        assert_non_null(viommu_soft_profile_description(viommu_soft_profile_name(i)));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(viommu_soft_profile_name(i), viommu_soft_profile_name(j));
    }
    assert_non_null(strstr(viommu_soft_profile_description("narrow-pasid"), "PASID 8 bits"));
    assert_non_null(strstr(viommu_soft_profile_description("sapphire-rapids"), "772415"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machines),
        cmocka_unit_test(test_lacking),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
