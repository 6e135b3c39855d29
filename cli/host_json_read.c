/* SPDX-License-Identifier: MIT */
#include "abilities.h"
#include "host_json.h"
#include "text.h"
#include "vmm.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file being read, and where in it: "iommus[2]". */
struct reader {
    struct host *host;
    const char *file;
    char where[32];
    struct viommu_error *err;
};

/* A file comes from anywhere: what it says is shown as sysfs would be. */
static void copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
    text_make_printable(to);
    for (; *to; to++)
        if (*to == '\n' || *to == '\t')
            *to = '?'; /* a name has one line, and so has a cell of a table */
}

/* A string of an object; NULL, with the error filled, when it is missing or something else. */
static const char *string_of(const struct reader *reader, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (!text)
        vmm_fail(reader->err, EINVAL, "host profile %s: %s has no string \"%s\"", reader->file,
                 reader->where, key);
    return text;
}

/* The same of what is called by it, so that it says something. */
static const char *name_of(const struct reader *reader, const json_t *object)
{
    const char *name = string_of(reader, object, "name");

    if (!name || *name)
        return name;
    vmm_fail(reader->err, EINVAL, "host profile %s: the \"name\" of %s is empty; give it one",
             reader->file, reader->where);
    return NULL;
}

/* A string or NULL, which may be left out; -EINVAL when it is something else. */
static int optional_string(const struct reader *reader, const json_t *object, const char *key,
                           const char **text)
{
    const json_t *member = json_object_get(object, key);

    *text = json_string_value(member);
    if (!member || json_is_null(member) || *text)
        return 0;
    return vmm_fail(reader->err, EINVAL,
                    "host profile %s: \"%s\" of %s is neither a string nor null", reader->file, key,
                    reader->where);
}

static int read_register(const struct reader *reader, const json_t *registers, const char *key,
                         uint64_t *value)
{
    const char *text = json_string_value(json_object_get(registers, key));
    char *end = NULL;

    errno = 0;
    if (text && !strncmp(text, "0x", 2) && isxdigit((unsigned char)text[2]))
        *value = strtoull(text, &end, 16);
    if (errno || !end || *end)
        return vmm_fail(reader->err, EINVAL,
                        "host profile %s: %s.registers.%s is not a number of 64 bits in a string, "
                        "as \"0x1f\"",
                        reader->file, reader->where, key);
    return 0;
}

/* An unknown type is one that this libviommu cannot nest on, and no error. */
static enum host_kind kind_of(const char *type)
{
    enum host_kind kind = HOST_VTD;

    while (kind < HOST_OTHER && strcmp(host_kinds[kind].key, type) != 0)
        kind++;
    return kind;
}

static int read_registers(const struct reader *reader, struct host_iommu *iommu,
                          const json_t *registers)
{
    const struct host_kind_names *kind = &host_kinds[iommu->kind];
    int ret = 0;

    iommu->has_registers = kind->registers[0] && !json_is_null(registers);
    for (size_t i = 0; i < 2 && iommu->has_registers && !ret; i++)
        ret = read_register(reader, registers, kind->registers[i], &iommu->info.registers[i]);
    iommu->info.max_pasid_log2 = (uint8_t)abilities_pasid_bits(&iommu->info);
    return ret;
}

/* Quirks that are not known are passed over: it is not known what to do about them, either. */
static int read_quirks(const struct reader *reader, const json_t *array, uint32_t *quirks)
{
    if (array && !json_is_array(array))
        return vmm_fail(reader->err, EINVAL, "host profile %s: \"quirks\" of %s is not an array",
                        reader->file, reader->where);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *name = json_string_value(json_array_get(array, i));

        if (name && !strcmp(name, "772415"))
            *quirks |= VIOMMU_HOST_QUIRK_772415;
    }
    return 0;
}

static int read_iommu(struct reader *reader, const json_t *object)
{
    const char *name = name_of(reader, object);
    const char *type = name ? string_of(reader, object, "type") : NULL;
    const char *version = json_string_value(json_object_get(object, "version"));
    struct host_iommu *iommu = type ? host_add_iommu(reader->host) : NULL;

    if (!type)
        return -EINVAL;
    if (!iommu)
        return vmm_fail(reader->err, ENOMEM, "no memory for host profile %s", reader->file);
    copy(iommu->info.name, sizeof(iommu->info.name), name);
    if (host_find_iommu(reader->host, iommu->info.name) != iommu)
        return vmm_fail(reader->err, EINVAL, "host profile %s: two IOMMUs are called %s",
                        reader->file, iommu->info.name);
    copy(iommu->version, sizeof(iommu->version), version);
    iommu->kind = kind_of(type);
    iommu->info.type = host_kinds[iommu->kind].type;
    if (read_quirks(reader, json_object_get(object, "quirks"), &iommu->info.quirks))
        return -EINVAL;
    return read_registers(reader, iommu, json_object_get(object, "registers"));
}

static int read_class(const struct reader *reader, const char *text, unsigned int *class_code)
{
    char *end;
    unsigned long value = strtoul(text, &end, 16);

    if (strncmp(text, "0x", 2) != 0 || !isxdigit((unsigned char)text[2]) || *end ||
        value > 0xffffff)
        return vmm_fail(
            reader->err, EINVAL,
            "host profile %s: \"class\" of %s is not a number of 24 bits in a string, as "
            "\"0x020000\"",
            reader->file, reader->where);
    *class_code = (unsigned int)value;
    return 0;
}

/* Of a device, which IOMMU it is behind, and whether it is a bridge. */
static int read_device(struct reader *reader, const json_t *object)
{
    const char *name = name_of(reader, object);
    const char *class_code = name ? string_of(reader, object, "class") : NULL;
    const char *behind;
    struct host_device *device;
    struct host_iommu *iommu;

    if (!class_code || optional_string(reader, object, "iommu", &behind))
        return -EINVAL;
    device = host_add_device(reader->host);
    if (!device)
        return vmm_fail(reader->err, ENOMEM, "no memory for host profile %s", reader->file);
    copy(device->name, sizeof(device->name), name);
    copy(device->iommu, sizeof(device->iommu), behind);
    if (read_class(reader, class_code, &device->class_code))
        return -EINVAL;
    iommu = host_find_iommu(reader->host, device->iommu);
    if (behind && !iommu)
        return vmm_fail(reader->err, EINVAL,
                        "host profile %s: %s is behind IOMMU %s, which is not among its iommus",
                        reader->file, reader->where, device->iommu);
    if (iommu && !host_is_bridge(device))
        iommu->devices++;
    return 0;
}

/* Which of some words a member is; -EINVAL when it is another. */
static int word_of(const struct reader *reader, const char *key, const char *text,
                   const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(words[i], text))
            return (int)i;
    }
    return vmm_fail(reader->err, EINVAL,
                    "host profile %s: the \"%s\" of %s is none of those that 'viommu host --json' "
                    "writes, as \"%s\"",
                    reader->file, key, reader->where, words[0]);
}

static int read_lack(struct reader *reader, const json_t *object)
{
    static const char *const keys[] = {"kind", "blocks", "text", "remedy"};
    static const char *const blocks[] = {"assignment", "nesting"};
    const char *texts[4];
    struct host_lack *lack;
    int kind, blocked;

    for (size_t i = 0; i < 4; i++) {
        texts[i] = string_of(reader, object, keys[i]);
        if (!texts[i])
            return -EINVAL;
    }
    kind = word_of(reader, keys[0], texts[0], host_lack_names, LACK_KIND_COUNT);
    blocked = kind < 0 ? kind : word_of(reader, keys[1], texts[1], blocks, 2);
    if (blocked < 0)
        return blocked;
    lack = host_add_lack(reader->host);
    if (!lack)
        return vmm_fail(reader->err, ENOMEM, "no memory for host profile %s", reader->file);
    lack->kind = (enum host_lack_kind)kind;
    lack->nesting = blocked;
    lack->unsure = json_is_false(json_object_get(object, "certain"));
    copy(lack->text, sizeof(lack->text), texts[2]);
    copy(lack->remedy, sizeof(lack->remedy), texts[3]);
    return 0;
}

/* All members of an array, which need not be there unless it is needed. */
static int read_array(struct reader *reader, const json_t *object, const char *key, bool needed,
                      int (*read)(struct reader *reader, const json_t *member))
{
    const json_t *array = json_object_get(object, key);
    int ret = 0;

    if (!json_is_array(array) && (needed || array))
        return vmm_fail(reader->err, EINVAL, "host profile %s: \"%s\" is not an array",
                        reader->file, key);
    for (size_t i = 0; i < json_array_size(array) && !ret; i++) {
        snprintf(reader->where, sizeof(reader->where), "%s[%zu]", key, i);
        ret = read(reader, json_array_get(array, i));
    }
    return ret;
}

/* What a host lacks must not be passed over because it was written down in another way. */
static int read_verdict(struct reader *reader, const json_t *verdict)
{
    if (verdict && !json_is_object(verdict) && !json_is_null(verdict))
        return vmm_fail(reader->err, EINVAL, "host profile %s: \"verdict\" is not an object",
                        reader->file);
    return read_array(reader, verdict, "missing", false, read_lack);
}

static int read_members(struct reader *reader, const json_t *object)
{
    const char *name;
    int ret;

    snprintf(reader->where, sizeof(reader->where), "it");
    name = name_of(reader, object);
    if (!name)
        return -EINVAL;
    copy(reader->host->name, sizeof(reader->host->name), name);
    ret = read_array(reader, object, "iommus", true, read_iommu);
    if (!ret)
        ret = read_array(reader, object, "devices", false, read_device);
    if (!ret)
        ret = read_verdict(reader, json_object_get(object, "verdict"));
    return ret;
}

static int check_schema(const struct reader *reader, const json_t *object)
{
    const char *schema = json_string_value(json_object_get(object, "schema"));
    const json_t *version = json_object_get(object, "version");

    if (!schema || strcmp(schema, HOST_SCHEMA) != 0)
        return vmm_fail(reader->err, EINVAL,
                        "%s is no host profile: it has no \"schema\": \"" HOST_SCHEMA
                        "\"; 'viommu host --json' writes one",
                        reader->file);
    if (!json_is_integer(version) || json_integer_value(version) != HOST_SCHEMA_VERSION)
        return vmm_fail(reader->err, EINVAL,
                        "host profile %s is not of version %d, the one that is known here",
                        reader->file, HOST_SCHEMA_VERSION);
    return 0;
}

int host_json_read(struct host *host, const char *file, struct viommu_error *err)
{
    struct reader reader = {.host = host, .file = file, .err = err};
    json_error_t error;
    json_t *object;
    struct stat status;
    int ret;

    if (stat(file, &status))
        return vmm_fail(err, errno, "cannot read host profile %s: %s", file, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return vmm_fail(err, EISDIR, "host profile %s is a directory; name a file", file);
    object = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
    if (!object && json_error_code(&error) == json_error_cannot_open_file)
        return vmm_fail(err, EACCES, "cannot read host profile %s: %s", file, strerror(errno));
    text_make_printable(error.text);
    if (!object)
        return vmm_fail(err, EINVAL, "%s is no host profile: line %d of it is no JSON (%s)", file,
                        error.line, error.text);
    ret = check_schema(&reader, object);
    if (!ret)
        ret = read_members(&reader, object);
    json_decref(object);
    return ret;
}
