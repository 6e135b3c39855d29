/* SPDX-License-Identifier: MIT */
#include "tree.h"
#include "text.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *tree_path(struct tree *tree, const char *format, ...)
{
    int length = snprintf(tree->path, sizeof(tree->path), "%s/", tree->root);
    va_list arguments;

    va_start(arguments, format);
    if (length >= 0 && (size_t)length < sizeof(tree->path))
        length +=
            vsnprintf(tree->path + length, sizeof(tree->path) - (size_t)length, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof(tree->path))
        tree->path[0] = '\0';
    return tree->path;
}

static int read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t length = 0;
    ssize_t got = 1;

    if (fd < 0)
        return -errno;
    while (length < size - 1 && got > 0) {
        got = read(fd, text + length, size - 1 - length);
        if (got > 0)
            length += (size_t)got;
    }
    close(fd);
    if (got < 0)
        return -errno;
    while (length && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = '\0';
    text_make_printable(text);
    return (int)length;
}

int tree_text(const char *path, char *text, size_t size)
{
    int ret = read_file(path, text, size);

    if (ret < 0)
        text[0] = '\0';
    return ret;
}

int tree_target(const char *path, char *target, size_t size)
{
    ssize_t length = readlink(path, target, size - 1);

    target[length < 0 ? 0 : length] = '\0';
    text_make_printable(target);
    return length < 0 ? -errno : 0;
}

int tree_link(const char *path, char *name, size_t size)
{
    char target[PATH_MAX];
    int ret = tree_target(path, target, sizeof(target));
    const char *last = strrchr(target, '/');

    snprintf(name, size, "%s", last ? last + 1 : target);
    return ret;
}

bool tree_exists(const char *path)
{
    return !access(path, F_OK);
}

bool tree_usable(const char *path)
{
    return !access(path, R_OK | W_OK);
}

static int visible(const struct dirent *entry)
{
    for (const char *at = entry->d_name; *at; at++) {
        if (!text_is_printable(*at))
            return 0;
    }
    return entry->d_name[0] != '.';
}

int tree_list(const char *path, tree_entry_fn *fn, void *opaque)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, visible, versionsort);
    int ret = 0;

    if (count < 0)
        return errno == ENOMEM ? -ENOMEM : 0;
    for (int i = 0; i < count; i++) {
        if (!ret)
            ret = fn(opaque, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return ret;
}
