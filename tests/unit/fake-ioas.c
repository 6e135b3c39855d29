/* SPDX-License-Identifier: MIT */
/* The IOAS of the fake kernel: what may be mapped, and what is. */
#include "fake-parts.h"

int fake_ioas_alloc(struct fake_kernel *kernel, void *argument)
{
    struct uapi_ioas_alloc *cmd = argument;

    if (cmd->flags)
        return -EOPNOTSUPP;
    cmd->out_ioas_id = fake_object_new(kernel, FAKE_IOAS);
    return 0;
}

static const struct uapi_iova_range allowed[] = {
    {0, 0xfedfffff},
    {0xfef00000, (UINT64_C(1) << 48) - 1},
};

int fake_iova_ranges(struct fake_kernel *kernel, void *argument)
{
    struct uapi_ioas_iova_ranges *cmd = argument;
    uint32_t room = cmd->num_iovas;

    if (cmd->reserved)
        return -EOPNOTSUPP;
    if (!fake_object_of(kernel, cmd->ioas_id, FAKE_IOAS))
        return -ENOENT;
    cmd->num_iovas = COUNT(allowed);
    cmd->out_iova_alignment = 4096;
    if (room < COUNT(allowed))
        return -EMSGSIZE;
    memcpy((void *)(uintptr_t)cmd->allowed_iovas, allowed, sizeof(allowed));
    return 0;
}

/* Of the HWPTs of an IOAS, is one a nesting parent? */
static bool is_nest_parent(const struct fake_kernel *kernel, uint32_t ioas)
{
    for (int i = 1; i < FAKE_OBJECTS; i++) {
        const struct fake_object *object = &kernel->objects[i];

        if (object->type == FAKE_PAGING && object->parent == ioas &&
            (object->flags & UAPI_HWPT_NEST_PARENT))
            return true;
    }
    return false;
}

static int map_area(struct fake_kernel *kernel, uint32_t ioas_id, const struct fake_area *area)
{
    struct fake_object *ioas = fake_object_of(kernel, ioas_id, FAKE_IOAS);
    uint64_t last = area->start + area->length - 1;
    bool inside = false;

    if (area->flags & ~(UAPI_MAP_FIXED_IOVA | UAPI_MAP_READABLE | UAPI_MAP_WRITEABLE))
        return -EOPNOTSUPP;
    if (!ioas)
        return -ENOENT;
    if (!(area->flags & UAPI_MAP_FIXED_IOVA) || (area->start | area->length) % 4096 ||
        !(area->flags & (UAPI_MAP_READABLE | UAPI_MAP_WRITEABLE)))
        return -EINVAL;
    for (size_t i = 0; i < COUNT(allowed); i++)
        inside = inside || (area->start >= allowed[i].start && last <= allowed[i].last);
    if (!inside || (!(area->flags & UAPI_MAP_WRITEABLE) && is_nest_parent(kernel, ioas_id)))
        return -EINVAL;
    for (size_t i = 0; i < ioas->area_count; i++) {
        if (area->start < ioas->areas[i].start + ioas->areas[i].length &&
            ioas->areas[i].start <= last)
            return -EEXIST;
    }
    if (kernel->pinned + area->length > kernel->memlock || ioas->area_count == FAKE_AREAS)
        return -ENOMEM;
    kernel->pinned += area->length;
    ioas->areas[ioas->area_count++] = *area;
    return 0;
}

int fake_ioas_map(struct fake_kernel *kernel, void *argument)
{
    const struct uapi_ioas_map *cmd = argument;
    struct fake_area area = {cmd->iova, cmd->length, cmd->flags, false};

    if (cmd->reserved)
        return -EOPNOTSUPP;
    if (cmd->user_va == 0xba5000) /* a device's BAR */
        return -EFAULT;
    return map_area(kernel, cmd->ioas_id, &area);
}

/* As Linux does: what file it is matters only to a device that is attached later. */
int fake_ioas_map_file(struct fake_kernel *kernel, void *argument)
{
    const struct uapi_ioas_map_file *cmd = argument;
    struct fake_area area = {cmd->iova, cmd->length, cmd->flags, true};

    if (cmd->start % 4096)
        return -EINVAL;
    return map_area(kernel, cmd->ioas_id, &area);
}

int fake_ioas_unmap(struct fake_kernel *kernel, void *argument)
{
    struct uapi_ioas_unmap *cmd = argument;
    struct fake_object *ioas = fake_object_of(kernel, cmd->ioas_id, FAKE_IOAS);
    bool all = !cmd->iova && cmd->length == UINT64_MAX;
    uint64_t last = all ? UINT64_MAX : cmd->iova + cmd->length - 1, done = 0;
    size_t kept = 0;

    if (!ioas)
        return -ENOENT;
    for (size_t i = 0; i < ioas->area_count; i++) {
        const struct fake_area *area = &ioas->areas[i];
        uint64_t end = area->start + area->length - 1;

        if ((area->start < cmd->iova && end >= cmd->iova) || (area->start <= last && end > last))
            return -ENOENT;
    }
    for (size_t i = 0; i < ioas->area_count; i++) {
        if (ioas->areas[i].start >= cmd->iova && ioas->areas[i].start <= last)
            done += ioas->areas[i].length;
        else
            ioas->areas[kept++] = ioas->areas[i];
    }
    ioas->area_count = kept;
    kernel->pinned -= done;
    cmd->length = done;
    return done || all ? 0 : -ENOENT;
}
