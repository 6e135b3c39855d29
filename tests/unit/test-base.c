/* SPDX-License-Identifier: MIT */
/* Errors, options that may grow, bounded logging, bit fields. */
#include "unit.h"

#include "base/bits.h"
#include "base/error.h"
#include "base/log.h"

static void error_is_filled(void **state)
{
    struct viommu_error error;

    (void)state;
    assert_int_equal(error_set(&error, -EINVAL, "value %d is above %d", 7, 5), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_string_equal(error.message, "value 7 is above 5");
    assert_int_equal(error_set(NULL, -ENOMEM, "nobody listens"), -ENOMEM);
}

static void error_is_appended(void **state)
{
    struct viommu_error error;

    (void)state;
    error_set(&error, -EINVAL, "first");
    error_append(&error, "; %s", "second");
    assert_string_equal(error.message, "first; second");
    assert_int_equal(error.code, -EINVAL);
    error_append(NULL, "nobody listens");
}

static void error_is_truncated_cleanly(void **state)
{
    struct viommu_error error;
    char exact[VIOMMU_ERROR_MESSAGE_SIZE];

    (void)state;
    memset(exact, 'x', sizeof(exact));
    exact[sizeof(exact) - 1] = '\0';
    error_set(&error, -EINVAL, "%s", exact);
    assert_string_equal(error.message, exact);
    error_append(&error, "y");
    assert_int_equal(strlen(error.message), sizeof(exact) - 1);
    assert_string_equal(error.message + sizeof(exact) - 5, "x...");
    error_set(&error, -EINVAL, "%sy", exact);
    assert_string_equal(error.message + sizeof(exact) - 5, "x...");
}

struct options {
    size_t size;
    uint32_t first;
    uint32_t second;
};

static void options_of_the_same_size(void **state)
{
    struct options from = {sizeof(from), 1, 2}, to;

    (void)state;
    assert_int_equal(error_copy_options(&to, sizeof(to), &from, "options", NULL), 0);
    assert_memory_equal(&to, &from, sizeof(to));
}

static void options_shorter(void **state)
{
    struct options from = {offsetof(struct options, second), 1, 2}, to;

    (void)state;
    assert_int_equal(error_copy_options(&to, sizeof(to), &from, "options", NULL), 0);
    assert_int_equal(to.size, sizeof(to));
    assert_int_equal(to.first, 1);
    assert_int_equal(to.second, 0);
}

static void options_longer(void **state)
{
    struct {
        struct options known;
        uint64_t newer;
    } from = {{sizeof(from), 1, 2}, 0};
    struct options to;
    struct viommu_error error;

    (void)state;
    assert_int_equal(error_copy_options(&to, sizeof(to), &from, "options", &error), 0);
    assert_int_equal(to.size, sizeof(to));
    assert_int_equal(to.second, 2);
    from.newer = 1;
    assert_int_equal(error_copy_options(&to, sizeof(to), &from, "options", &error), -E2BIG);
    assert_non_null(strstr(error.message, "newer libviommu"));
}

static void options_malformed(void **state)
{
    struct options from = {sizeof(size_t) - 1, 1, 2}, to;
    struct viommu_error error;

    (void)state;
    assert_int_equal(error_copy_options(&to, sizeof(to), &from, "options", &error), -EINVAL);
    assert_int_equal(error_copy_options(&to, sizeof(to), NULL, "options", &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
}

struct heard {
    unsigned int count;
    enum viommu_log_level level;
    char last[4096];
};

static void hear(void *opaque, enum viommu_log_level level, const char *message)
{
    struct heard *heard = opaque;

    heard->count++;
    heard->level = level;
    snprintf(heard->last, sizeof(heard->last), "%s", message);
}

static void log_has_a_threshold(void **state)
{
    struct heard heard = {0};
    struct viommu_log log = {hear, &heard, VIOMMU_LOG_WARNING};

    (void)state;
    log_message(&log, VIOMMU_LOG_INFO, "too quiet");
    assert_int_equal(heard.count, 0);
    log_message(&log, VIOMMU_LOG_WARNING, "number %d", 3);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.level, VIOMMU_LOG_WARNING);
    assert_string_equal(heard.last, "number 3");
    log.fn = NULL;
    log_message(&log, VIOMMU_LOG_ERROR, "nobody listens");
    log_message(NULL, VIOMMU_LOG_ERROR, "nobody listens");
    assert_int_equal(heard.count, 1);
}

static void log_is_bounded(void **state)
{
    struct heard heard = {0};
    struct viommu_log log = {hear, &heard, VIOMMU_LOG_WARNING};
    struct log_limit limit = {0};

    (void)state;
    log_limited(&log, &limit, VIOMMU_LOG_DEBUG, "not counted");
    for (unsigned int i = 0; i < LOG_LIMIT_BURST; i++)
        log_limited(&log, &limit, VIOMMU_LOG_WARNING, "fault %u", i);
    assert_int_equal(heard.count, LOG_LIMIT_BURST);
    assert_string_equal(heard.last, "fault 15 (more like it are held back, and counted)");
    for (unsigned int i = LOG_LIMIT_BURST + 1; i <= 1000000; i++) {
        log_limited(&log, &limit, VIOMMU_LOG_WARNING, "fault");
        if (i == 2 * LOG_LIMIT_BURST)
            assert_string_equal(heard.last, "fault (15 like it were held back)");
        if (i == 4 * LOG_LIMIT_BURST)
            assert_string_equal(heard.last, "fault (31 like it were held back)");
    }
    /* 2^15 * 16 is the last one below a million. */
    assert_int_equal(heard.count, LOG_LIMIT_BURST + 15);
}

/* An error's sentence fits, with something around it; what is longer is cut. */
static void long_message_fits(void **state)
{
    struct heard heard = {0};
    struct viommu_log log = {hear, &heard, VIOMMU_LOG_DEBUG};
    struct log_limit limit = {2 * LOG_LIMIT_BURST - 1};
    char text[4000];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    log_message(&log, VIOMMU_LOG_ERROR, "%s", text);
    assert_in_range(strlen(heard.last), VIOMMU_ERROR_MESSAGE_SIZE, sizeof(text) - 2);
    log_limited(&log, &limit, VIOMMU_LOG_ERROR, "%s", text);
    assert_in_range(strlen(heard.last), VIOMMU_ERROR_MESSAGE_SIZE, sizeof(text) - 2);
}

static void bits(void **state)
{
    (void)state;
    assert_true(GENMASK64(63, 0) == UINT64_MAX);
    assert_true(GENMASK64(51, 12) == UINT64_C(0x000ffffffffff000));
    assert_true(field_get(GENMASK64(11, 8), 0xabc) == 0xa);
    assert_true(field_prep(GENMASK64(11, 8), 0x1c) == 0xc00);
    assert_true(low_bits(0) == 0 && low_bits(64) == UINT64_MAX && low_bits(12) == 0xfff);
    assert_true(is_aligned(0x2000, 4096) && !is_aligned(0x2001, 4096));
    assert_false(range_overflows(UINT64_MAX, 1));
    assert_false(range_overflows(UINT64_MAX, 0));
    assert_true(range_overflows(UINT64_MAX, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_is_filled),
        cmocka_unit_test(error_is_appended),
        cmocka_unit_test(error_is_truncated_cleanly),
        cmocka_unit_test(options_of_the_same_size),
        cmocka_unit_test(options_shorter),
        cmocka_unit_test(options_longer),
        cmocka_unit_test(options_malformed),
        cmocka_unit_test(log_has_a_threshold),
        cmocka_unit_test(log_is_bounded),
        cmocka_unit_test(long_message_fits),
        cmocka_unit_test(bits),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
