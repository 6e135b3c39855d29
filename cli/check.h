/* SPDX-License-Identifier: MIT */
/*
 * `viommu check`: a configuration of a vIOMMU against hosts. The comparison is the library's; what
 * a host's kernel lacks comes from its profile.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "host.h"
#include <viommu/error.h>
#include <viommu/vtd.h>

struct check_mismatch {
    char promise[64];
    char ability[320];
    char remedy[192]; /* "": no setting helps */
};

struct check_list {
    struct check_mismatch *mismatches;
    size_t count;
};

/* IOMMUs of a host that can do the same. */
struct check_unit {
    const struct host_iommu *iommu; /* the first of them */
    size_t count;
    char names[1024]; /* "dmar0, dmar1" */
    struct check_list list;
};

struct check_host {
    const char *source; /* file, built-in profile; "": this machine */
    struct host host;
    struct check_unit *units; /* those that are looked at */
    size_t unit_count;
    struct check_list list;  /* what the host as a whole does not keep */
    struct check_list notes; /* what it may not keep */
};

/* A configuration that goes together. */
struct check_configuration {
    char *text; /* as given: "vtd,pasid-bits=20" */
    char *properties;
    struct viommu_vtd_options options;
    bool nests;
};

struct check {
    struct check_configuration configuration;
    struct check_host *hosts;
    size_t host_count;
};

/* check_compare.c. Parse and prove a configuration. -EINVAL, -ENOMEM; free it in either case. */
int check_configure(struct check_configuration *configuration, const char *text,
                    struct viommu_error *err);
void check_configuration_free(struct check_configuration *configuration);

/*
 * Find the IOMMUs of a host that are looked at: those of these devices, or with no devices those
 * that have any behind them, or all. -ENODEV, -ENOMEM.
 */
int check_find_units(struct check_host *host, const char *const *devices, size_t count,
                     struct viommu_error *err);

/* Compare: fills the lists anew. -ENOMEM. */
int check_compare(struct check_host *host, const struct check_configuration *configuration);
bool check_unit_works(const struct check_unit *unit);
bool check_host_works(const struct check_host *host);
void check_host_free(struct check_host *host);

/*
 * check_suggest.c. The strongest configuration that all hosts carry, with the other properties of
 * the one that was given: *suggested is free()d by the caller, or NULL when there is none. -ENOMEM.
 */
int check_suggest(struct check *check, char **suggested);

/* Tell, with what is suggested (NULL: it was not asked for, "": there is none). -ENOTSUP, -ENOMEM,
 * -EIO. */
void check_print(const struct check *check, const char *suggested);
int check_json_write(const struct check *check, const char *suggested, struct viommu_error *err);

#endif
