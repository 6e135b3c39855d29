/* SPDX-License-Identifier: MIT */
#include "bare.h"

#define DEBUG_EXIT 0xf4

void bare_main(uint32_t magic, uint32_t info);

static uint32_t passed;
static uint32_t failed;

void run_checks(const struct check *checks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool good;

        if (checks[i].wanted && !checks[i].wanted())
            continue;
        good = checks[i].good();
        print(good ? "bare: ok - " : "bare: FAIL - ");
        print(checks[i].what);
        print("\n");
        passed += good;
        failed += !good;
    }
}

uint32_t checks_failed(void)
{
    return failed;
}

bool same(const char *what, uint64_t got, uint64_t wanted)
{
    if (got == wanted)
        return true;
    print("bare:   ");
    print(what);
    print(" is ");
    print_hex(got);
    print(", not ");
    print_hex(wanted);
    print("\n");
    return false;
}

bool holds(const char *what, bool condition)
{
    if (!condition) {
        print("bare:   not so: ");
        print(what);
        print("\n");
    }
    return condition;
}

/* What follows the word in the command line, or NULL. */
static const char *find_word(const char *name)
{
    size_t length = length_of(name);
    const char *at;

    for (at = command_line; *at; at++) {
        if ((at == command_line || at[-1] == ' ') && equal(at, name, length))
            return at + length;
    }
    return NULL;
}

bool option(const char *name)
{
    const char *after = find_word(name);

    return after && (*after == ' ' || !*after);
}

uint32_t option_number(const char *name)
{
    const char *text = find_word(name);
    uint32_t value = 0;

    if (!text || *text++ != '=')
        return 0;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (uint32_t)(*text - '0');
    return value;
}

void bare_main(uint32_t magic, uint32_t info)
{
    boot_checks(magic, info);
    pci_checks();
    reset_checks();
    if (reset_is_due())
        reset_now();
    if (edu_devfn)
        edu_checks();
    vtd_checks();
    if (option("planted"))
        planted_checks();
    else if (option("remapping"))
        remapping_checks();
    else if (option("vtd"))
        legacy_checks();
    print("bare: ");
    print_number(passed);
    print(" passed, ");
    print_number(failed);
    print(" failed\n");
    outl(DEBUG_EXIT, failed ? 1 : 0);
}
