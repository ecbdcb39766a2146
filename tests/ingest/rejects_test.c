#include "ingest/rejects.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct metric unlisted = METRIC_COUNTER("unlisted", "test");

static bool
reject_one(struct rejects *rejects, uint32_t index, const char *subject)
{
    struct reject *reject = rejects_take(rejects);
    if (reject == NULL)
        return false;
    *reject = (struct reject){.time_ns = SECOND_NS, .reason = "subject missing", .index = index};
    (void)snprintf(reject->peer, sizeof reject->peer, "127.0.0.1:%u", index);
    reject->subject_size = reject_text_set(reject->subject, bytes_text(subject));
    rejects_give(rejects, reject);
    return true;
}

static uint32_t
lines_count(struct bytes text)
{
    uint32_t count = 0;
    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == '\n';
    return count;
}

static struct rejects *
rejects_make(const char *dir)
{
    struct rejects *rejects = NULL;
    struct error error = {0};
    cr_assert_eq(rejects_open(dir, &unlisted, &rejects, &error), STATUS_OK, "%s", error.text);
    return rejects;
}

Test(rejects, prints_a_line_of_json_each)
{
    struct rejects *rejects = rejects_make(NULL);
    scoped(buffer_done) struct buffer out = {0};
    cr_assert(reject_one(rejects, 7, "a \"quoted\"\nname"));
    cr_assert(reject_one(rejects, 8, ""));
    rejects_print(rejects, &out);
    cr_assert_eq(out.size, 0, "nothing is listed before it is collected");
    rejects_collect(rejects);
    rejects_print(rejects, &out);
    cr_assert(bytes_equal(
        buffer_view(&out),
        bytes_text("{\"time\":\"1970-01-01T00:00:01Z\",\"peer\":\"127.0.0.1:7\",\"reason\":"
                   "\"subject missing\","
                   "\"subject\":\"a \\\"quoted\\\"\\nname\",\"index\":7}\n"
                   "{\"time\":\"1970-01-01T00:00:01Z\",\"peer\":\"127.0.0.1:8\",\"reason\":"
                   "\"subject missing\","
                   "\"index\":8}\n")));
    rejects_close(rejects);
}

Test(rejects, cuts_long_texts)
{
    char text[200];
    uint8_t kept[REJECT_TEXT_MAX];
    memset(text, 'x', sizeof text);
    cr_assert_eq(reject_text_set(kept, bytes_of(text, REJECT_TEXT_MAX - 1)), REJECT_TEXT_MAX - 1);
    cr_assert_eq(reject_text_set(kept, bytes_of(text, REJECT_TEXT_MAX)), REJECT_TEXT_MAX);
    cr_assert_eq(reject_text_set(kept, bytes_of(text, REJECT_TEXT_MAX + 1)), REJECT_TEXT_MAX);
    cr_assert_eq(reject_text_set(kept, bytes_of(NULL, 0)), 0);
}

Test(rejects, keeps_the_last_ones)
{
    struct rejects *rejects = rejects_make(NULL);
    scoped(buffer_done) struct buffer out = {0};
    for (uint32_t i = 0; i < REJECTS_LISTED + 250; i++) {
        cr_assert(reject_one(rejects, i, "s"));
        if (i % 100 == 0)
            rejects_collect(rejects);
    }
    rejects_collect(rejects);
    rejects_print(rejects, &out);
    cr_assert_eq(lines_count(buffer_view(&out)), REJECTS_LISTED);
    buffer_u8(&out, 0);
    char *first_end = strchr((char *)out.data, '\n');
    *first_end = '\0';
    cr_assert_not_null(strstr((char *)out.data, "\"index\":250}"), "%s", (char *)out.data);
    cr_assert_not_null(strstr(first_end + 1, "\"index\":1249}"));
    rejects_close(rejects);
}

// A flood between two collects is counted, and the front never waits for it.
Test(rejects, counts_what_finds_no_slot)
{
    struct rejects *rejects = rejects_make(NULL);
    uint32_t listed = 0;
    for (uint32_t i = 0; i < 5000; i++)
        listed += reject_one(rejects, i, "s");
    cr_assert_eq(metric_get(&unlisted), 5000 - listed);
    cr_assert_gt(listed, 0);
    cr_assert_lt(listed, 5000);
    rejects_collect(rejects);
    cr_assert(reject_one(rejects, 0, "s"));
    rejects_close(rejects);
}

static off_t
file_size(const char *dir, const char *name)
{
    char path[256];
    struct stat state;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return stat(path, &state) == 0 ? state.st_size : -1;
}

Test(rejects, writes_a_bounded_number_of_lines_to_the_file)
{
    char dir[] = "/tmp/tally-rejects-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    struct rejects *rejects = rejects_make(dir);
    int64_t start_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert(reject_one(rejects, i, "s"));
    rejects_collect(rejects);
    off_t line = sizeof "{\"time\":\"1970-01-01T00:00:01Z\",\"peer\":\"127.0.0.1:0\",\"reason\":"
                        "\"subject missing\",\"subject\":\"s\",\"index\":0}";
    off_t size = file_size(dir, "rejects.ndjson");
    int64_t seconds = (clock_monotonic_ns() - start_ns) / SECOND_NS + 1;
    cr_assert_geq(size, REJECTS_WRITTEN * line);
    cr_assert_leq(size, seconds * REJECTS_WRITTEN * (line + 8));
    rejects_close(rejects);
    char path[256];
    (void)snprintf(path, sizeof path, "%s/rejects.ndjson", dir);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}

Test(rejects, rotates_a_full_file_once)
{
    char dir[] = "/tmp/tally-rejects-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    char path[256], old[256];
    (void)snprintf(path, sizeof path, "%s/rejects.ndjson", dir);
    (void)snprintf(old, sizeof old, "%s/rejects.ndjson.1", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(ftruncate(fd, REJECTS_FILE_MAX), 0);
    close(fd);
    struct rejects *rejects = rejects_make(dir);
    cr_assert(reject_one(rejects, 1, "s"));
    rejects_collect(rejects);
    cr_assert_eq(file_size(dir, "rejects.ndjson.1"), REJECTS_FILE_MAX);
    cr_assert_lt(file_size(dir, "rejects.ndjson"), 1000);
    rejects_close(rejects);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(unlink(old), 0);
    cr_assert_eq(rmdir(dir), 0);
}
