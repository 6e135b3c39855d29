/* SPDX-License-Identifier: MIT */
/*
 * Reading small files and links of /sys, /proc and /dev, of this machine or of a copy of them below
 * some directory.
 */
#ifndef CLI_TREE_H
#define CLI_TREE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct tree {
    const char *root; /* "" for this machine, or the directory of a copy */
    char path[PATH_MAX];
};

/*
 * The path of what is called by the format, without the slash at the start: "sys/class/iommu". It
 * stands until the next call. What is too long becomes "", which is no file.
 */
__attribute__((format(printf, 2, 3))) const char *tree_path(struct tree *tree, const char *format,
                                                            ...);

/*
 * A file's text without the white space at its end, cut to what fits; its length, or a negative
 * errno with an empty text.
 */
int tree_text(const char *path, char *text, size_t size);

/*
 * What a link points to, and the last component of that; 0, or a negative errno with an empty
 * text.
 */
int tree_target(const char *path, char *target, size_t size);
int tree_link(const char *path, char *name, size_t size);

/* Whether it is there, and whether this user may both read and write it. */
bool tree_exists(const char *path);
bool tree_usable(const char *path);

/*
 * Call fn for each entry of a directory, in the order in which people count ("dmar9", "dmar10");
 * those that begin with a dot are left out. Ends when fn returns other than 0, with that. 0 for a
 * directory that is not there.
 */
typedef int tree_entry_fn(void *opaque, const char *name);
int tree_list(const char *path, tree_entry_fn *fn, void *opaque);

#endif
