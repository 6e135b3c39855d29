/* SPDX-License-Identifier: MIT */
/* The copy engine's registers; see vmm/copier.h. */
#include "guest.h"
#include "sva/viommu_sva.h"
#include "sva_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

uint8_t *fresh_pages(unsigned count)
{
    void *pages = mmap(NULL, (size_t)count * SVA_PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    /* A huge page would be there at the first touch of any of its pages. */
    if (pages != MAP_FAILED)
        madvise(pages, (size_t)count * SVA_PAGE, MADV_NOHUGEPAGE);
    return need(pages != MAP_FAILED, "gets memory", "mmap failed") ? pages : NULL;
}

bool engine_open(struct engine *engine, const char *addr)
{
    void *page;

    snprintf(engine->path, sizeof(engine->path), "/dev/viommu-sva-%s", addr);
    engine->page = NULL;
    engine->fd = open(engine->path, O_RDWR | O_CLOEXEC);
    if (!need(engine->fd >= 0, "the module offers the engine", "its file cannot be opened"))
        return false;
    page = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, engine->fd, 0);
    if (!need(page != MAP_FAILED, "the engine's page can be mapped", "mmap failed")) {
        engine_close(engine);
        return false;
    }
    engine->page = page;
    return true;
}

void engine_close(struct engine *engine)
{
    if (engine->page)
        munmap((void *)engine->page, SVA_PAGE);
    if (engine->fd >= 0)
        close(engine->fd);
    engine->page = NULL;
    engine->fd = -1;
}

int engine_bind(struct engine *engine)
{
    int pasid = ioctl(engine->fd, VIOMMU_SVA_BIND);

    return pasid < 0 ? -errno : pasid;
}

int engine_unbind(struct engine *engine)
{
    return ioctl(engine->fd, VIOMMU_SVA_UNBIND) ? -errno : 0;
}

uint32_t engine_get(const struct engine *engine, unsigned reg)
{
    return *(volatile uint32_t *)(engine->page + reg);
}

uint64_t engine_get64(const struct engine *engine, unsigned reg)
{
    return *(volatile uint64_t *)(engine->page + reg);
}

static void put64(const struct engine *engine, unsigned reg, uint64_t value)
{
    *(volatile uint64_t *)(engine->page + reg) = value;
}

void engine_start(const struct engine *engine, const void *from, void *to, size_t size,
                  uint32_t command)
{
    put64(engine, SVA_SOURCE, (uintptr_t)from);
    put64(engine, SVA_DESTINATION, (uintptr_t)to);
    put64(engine, SVA_LENGTH, size);
    *(volatile uint32_t *)(engine->page + SVA_COMMAND) = command | SVA_START;
}

bool engine_wait(const struct engine *engine)
{
    for (int64_t begin = now_ms(); now_ms() - begin < 10000; sleep_ms(1)) {
        if (!(engine_get(engine, SVA_STATUS) & SVA_BUSY))
            return true;
    }
    return false;
}

int engine_copy(const struct engine *engine, const void *from, void *to, size_t size)
{
    engine_start(engine, from, to, size, 0);
    return engine_wait(engine) ? (int)SVA_RESULT(engine_get(engine, SVA_STATUS)) : -1;
}
