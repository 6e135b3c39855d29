/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int load_module(const char *name, const char *params)
{
    char path[300];
    int fd, err;

    snprintf(path, sizeof(path), "/modules/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    err = (int)syscall(SYS_finit_module, fd, params, 0);
    if (err)
        err = errno == EEXIST ? 0 : -errno;
    close(fd);
    return err;
}

/* /modules/order names a file on each line, dependencies first, and the module's parameters. */
void load_modules(void)
{
    char line[256];
    FILE *order = fopen("/modules/order", "re");

    if (!order)
        return; /* a kernel with everything built in */
    while (fgets(line, sizeof(line), order)) {
        char *params;
        int err;

        line[strcspn(line, "\n")] = '\0';
        params = strchr(line, ' ');
        if (params)
            *params++ = '\0';
        err = load_module(line, params ? params : "");
        if (err)
            expect(false, "loads the modules", "%s: %s", line, strerror(-err));
    }
    fclose(order);
}
