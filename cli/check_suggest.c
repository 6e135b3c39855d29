/* SPDX-License-Identifier: MIT */
/* The strongest configuration that a set of hosts carries. */
#include "check.h"
#include "text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALTERNATIVES_MAX 22u
#define TEXT_MAX         1024u

struct choice {
    size_t elsewhere; /* where to begin when an IOMMU is no VT-d, of which less is compared */
    const char *alternatives[ALTERNATIVES_MAX]; /* strongest first */
};

/*
 * The choices are made in the order of the table, each as strong as the hosts allow while those
 * below it are at their weakest: so what comes first is never given up for what comes later.
 * Promises that no host keeps for assigned devices are not made at all.
 */
static const struct choice choices[] = {
    {0, {"caching-mode=on,nested=off,ad=off,execute=off,rid-priv=off,pmr=off"}},
    {0,
     {"scalable=on,first-stage=on,second-stage=off,hw-nested=on",
      "scalable=on,first-stage=off,second-stage=on,hw-nested=off"}},
    {2,
     {"aw=57,5-level=on", "aw=57,5-level=off", "aw=48,5-level=on", "aw=48,5-level=off",
      "aw=39,5-level=off"}},
    /* Wider guest addresses than those of the default are of no use that is known. */
    {0, {"haw=46", "haw=39"}},
    {20, {"pasid-bits=20", "pasid-bits=19", "pasid-bits=18", "pasid-bits=17", "pasid-bits=16",
          "pasid-bits=15", "pasid-bits=14", "pasid-bits=13", "pasid-bits=12", "pasid-bits=11",
          "pasid-bits=10", "pasid-bits=9",  "pasid-bits=8",  "pasid-bits=7",  "pasid-bits=6",
          "pasid-bits=5",  "pasid-bits=4",  "pasid-bits=3",  "pasid-bits=2",  "pasid-bits=1",
          "pasid-bits=0"}},
    {2,
     {"device-iotlb=on,page-requests=on", "device-iotlb=on,page-requests=off",
      "device-iotlb=off,page-requests=off"}},
    {0, {"1g=on", "1g=off"}},
    {0, {"coherent=on", "coherent=off"}},
    {0, {"snoop-control=on", "snoop-control=off"}},
    {0, {"drain=on", "drain=off"}},
    {0, {"extended-accessed=on", "extended-accessed=off"}},
    {0, {"supervisor=on", "supervisor=off"}},
};
#define CHOICES (sizeof(choices) / sizeof(choices[0]))

static size_t weakest(size_t choice)
{
    size_t last = 0;

    while (last + 1 < ALTERNATIVES_MAX && choices[choice].alternatives[last + 1])
        last++;
    return last;
}

/* Whether the property "key=value" is one that the choices decide. */
static bool is_chosen(const char *property, size_t length)
{
    size_t key = strcspn(property, "=,");

    if (key > length)
        key = length;
    for (size_t i = 0; i < CHOICES; i++) {
        const char *at = choices[i].alternatives[0];

        while (at) {
            if (!strncmp(at, property, key) && at[key] == '=')
                return true;
            at = strchr(at, ',');
            if (at)
                at++;
        }
    }
    return false;
}

/* The properties that are not decided here, "vtd" before them. */
static void begin(char *text, const char *properties)
{
    snprintf(text, TEXT_MAX, "vtd");
    while (*properties) {
        size_t length = strcspn(properties, ",");

        if (!is_chosen(properties, length))
            text_append(text, TEXT_MAX, ",", "%.*s", (int)length, properties);
        properties += length + (properties[length] == ',');
    }
}

static void compose(char *text, const char *properties, const size_t *made)
{
    begin(text, properties);
    for (size_t i = 0; i < CHOICES; i++)
        text_append(text, TEXT_MAX, ",", "%s", choices[i].alternatives[made[i]]);
}

/* Whether it goes together, and all hosts carry it: 1, 0, or -ENOMEM. */
static int carried(struct check *check, const char *text)
{
    struct check_configuration configuration;
    int ret = check_configure(&configuration, text, NULL);
    bool works = !ret;

    if (ret != -ENOMEM)
        ret = 0;
    for (size_t i = 0; i < check->host_count && works && !ret; i++) {
        ret = check_compare(&check->hosts[i], &configuration);
        works = check_host_works(&check->hosts[i]);
    }
    check_configuration_free(&configuration);
    return ret ? ret : works;
}

static bool all_are_vtd(const struct check *check)
{
    for (size_t i = 0; i < check->host_count; i++) {
        for (size_t j = 0; j < check->hosts[i].unit_count; j++) {
            if (check->hosts[i].units[j].iommu->kind != HOST_VTD)
                return false;
        }
    }
    return true;
}

static int choose(struct check *check, const char *properties, size_t *made, size_t choice)
{
    size_t last = weakest(choice);
    char text[TEXT_MAX];
    int ret = 0;

    made[choice] = all_are_vtd(check) ? 0 : choices[choice].elsewhere;
    for (; made[choice] < last; made[choice]++) {
        compose(text, properties, made);
        ret = carried(check, text);
        if (ret)
            break;
    }
    return ret < 0 ? ret : 0;
}

/* Both were all zeros at first. Should padding differ, a property that says nothing new stays in.
 */
static bool same_bytes(const void *one, const void *other, size_t size)
{
    return !memcmp(one, other, size);
}

/* Whether both say the same, a unit of either being the same. */
static bool same(const char *one, const char *other)
{
    struct check_configuration first, second;
    int ret = check_configure(&first, one, NULL);
    int other_ret = check_configure(&second, other, NULL);
    bool equal =
        !ret && !other_ret && same_bytes(&first.options, &second.options, sizeof(first.options));

    check_configuration_free(&first);
    check_configuration_free(&second);
    return equal;
}

/* Leave out each property that says nothing new: the default, or what follows from the others. */
static void shorten(char *text)
{
    char shorter[TEXT_MAX];
    char *at = strchr(text, ',');

    while (at) {
        size_t length = 1 + strcspn(at + 1, ",");

        snprintf(shorter, sizeof(shorter), "%.*s%s", (int)(at - text), text, at + length);
        if (same(text, shorter))
            memmove(at, at + length, strlen(at + length) + 1);
        else
            at += length;
        at = strchr(at, ',');
    }
}

int check_suggest(struct check *check, char **suggested)
{
    const char *properties = check->configuration.properties;
    size_t made[CHOICES];
    char text[TEXT_MAX];
    int ret = 0;

    *suggested = NULL;
    for (size_t i = 0; i < CHOICES; i++)
        made[i] = weakest(i);
    for (size_t i = 0; i < CHOICES && !ret; i++)
        ret = choose(check, properties, made, i);
    if (ret)
        return ret;
    compose(text, properties, made);
    shorten(text);
    /* What is told is what was compared. */
    ret = carried(check, text);
    if (ret <= 0)
        return ret;
    *suggested = strdup(text);
    return *suggested ? 0 : -ENOMEM;
}
