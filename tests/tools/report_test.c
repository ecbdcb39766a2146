#include "base/arena.h"
#include "tools/file.h"
#include "tools/import_report.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct error error;

static void
refuse(struct report *report, uint64_t line, enum report_kind kind, const char *reason)
{
    report_refuse(report, &(struct report_refusal){"f.csv", line, kind, reason, NULL});
}

Test(report, counts_by_reason_and_kind)
{
    struct report *report;
    cr_assert_eq(report_open(NULL, &report, &error), STATUS_OK);
    refuse(report, 2, REPORT_ROW, "no subject");
    refuse(report, 3, REPORT_SERVER, "time too old");
    refuse(report, 4, REPORT_ROW, "no subject");
    refuse(report, 5, REPORT_CONFLICT, "no subject");
    const struct report_reason *reasons;
    cr_assert_eq(report_reasons(report, &reasons), 3);
    cr_assert_str_eq(reasons[0].text, "no subject");
    cr_assert_eq(reasons[0].count, 2);
    cr_assert_eq(report_count(report, REPORT_ROW), 2);
    cr_assert_eq(report_count(report, REPORT_CONFLICT), 1);
    cr_assert(report_has_reason(report, "too old"));
    cr_assert_not(report_has_reason(report, "too far"));
    cr_assert_eq(report_close(&report, &error), STATUS_OK);
}

Test(report, holds_a_bounded_number_of_reasons)
{
    struct report *report;
    cr_assert_eq(report_open(NULL, &report, &error), STATUS_OK);
    for (uint64_t i = 0; i < REPORT_REASONS_MAX * 2; i++) {
        char reason[32];
        snprintf(reason, sizeof reason, "reason %d", (int)i);
        refuse(report, i, REPORT_SERVER, reason);
    }
    const struct report_reason *reasons;
    cr_assert_eq(report_reasons(report, &reasons), REPORT_REASONS_MAX);
    cr_assert_str_eq(reasons[REPORT_REASONS_MAX - 1].text, "others");
    uint64_t total = 0;
    for (size_t i = 0; i < REPORT_REASONS_MAX; i++)
        total += reasons[i].count;
    cr_assert_eq(total, REPORT_REASONS_MAX * 2);
    cr_assert_eq(report_close(&report, &error), STATUS_OK);
}

Test(report, lists_the_first_and_says_how_many_more)
{
    struct report *report;
    cr_assert_eq(report_open(NULL, &report, &error), STATUS_OK);
    for (uint64_t i = 0; i < REPORT_LISTED_MAX + 3; i++)
        report_refuse(
            report, &(struct report_refusal){"f.csv", i + 2, REPORT_ROW, "no subject", "`x`"});
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    report_list(report, file);
    fclose(file);
    cr_assert_not_null(strstr(text, "f.csv:2: no subject: `x`\n"));
    cr_assert_not_null(strstr(text, "f.csv:21: no subject"));
    cr_assert_null(strstr(text, "f.csv:22:"));
    cr_assert_not_null(strstr(text, "... and 3 more"));
    free(text);
    cr_assert_eq(report_close(&report, &error), STATUS_OK);
}

static void *
refuse_many(void *context)
{
    for (uint64_t i = 0; i < 1000; i++)
        refuse(context, i, REPORT_SERVER, "time too old");
    return NULL;
}

Test(report, writes_every_refusal_of_both_threads_as_ndjson)
{
    char path[] = "/tmp/report_test_XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    struct report *report;
    pthread_t thread;
    cr_assert_eq(report_open(path, &report, &error), STATUS_OK);
    cr_assert_eq(pthread_create(&thread, NULL, refuse_many, report), 0);
    refuse_many(report);
    pthread_join(thread, NULL);
    cr_assert_eq(report_close(&report, &error), STATUS_OK);

    struct arena arena = {0};
    struct bytes text;
    cr_assert_eq(file_read(path, &arena, &text, &error), STATUS_OK);
    static const char first[] =
        "{\"file\":\"f.csv\",\"line\":0,\"kind\":\"server\",\"reason\":\"time "
        "too old\",\"detail\":null}\n";
    cr_assert_geq(text.size, sizeof first - 1);
    cr_assert_eq(memcmp(text.data, first, sizeof first - 1), 0);
    size_t lines = 0;
    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n';
    cr_assert_eq(lines, 2000);
    unlink(path);
    arena_done(&arena);
}

Test(report, says_that_the_file_cannot_be_written)
{
    struct report *report;
    cr_assert_eq(report_open("/nowhere/file", &report, &error), STATUS_IO);
    cr_assert_eq(report_open("/dev/full", &report, &error), STATUS_OK);
    refuse(report, 1, REPORT_ROW, "no subject");
    cr_assert_eq(report_close(&report, &error), STATUS_IO);
}
