#include "ledger/dump.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/pack.h"
#include "tests/ledger/reading.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>

// One entry through the block format and out as JSON.
static void
dump_one(const struct event *event, struct buffer *out)
{
    uint8_t bytes[4096];
    struct entry entry;
    const struct dump_place place = {
        .shard = 3, .block = 12345678901, .index = 7, .arrival_ns = 1794268800123456789};
    cr_assert_leq(entry_size(event), sizeof bytes);
    entry_write(event, place.arrival_ns, bytes);
    struct cursor in = cursor_over(bytes_of(bytes, entry_size(event)));
    cr_assert(entry_read(&in, &entry));
    buffer_reset(out);
    dump_entry(&place, &entry, out);
    buffer_u8(out, 0);
    cr_assert_not(buffer_failed(out));
}

static struct event
plain_event(void)
{
    return (struct event){
        .subject = bytes_text("azure-conv"),
        .type = bytes_text("llm"),
        .id = bytes_text("id-1"),
        .time_ns = 1700158546680590000,
        .value = DECIMAL_ONE,
    };
}

Test(dump, an_entry_is_one_line)
{
    scoped(buffer_done) struct buffer out = {0};
    scoped(buffer_done) struct buffer properties = {0};
    struct event event = plain_event();
    pack_text(&properties, "tokens");
    pack_uint(&properties, 374);
    event.properties[0] = buffer_view(&properties);
    event.properties_runs = 1;
    event.properties_count = 1;
    dump_one(&event, &out);
    cr_assert_str_eq(
        (const char *)out.data,
        "{\"shard\":3,\"block\":12345678901,\"index\":7,\"subject\":\"azure-conv\",\"type\":"
        "\"llm\","
        "\"id\":\"id-1\",\"source\":\"\",\"time\":\"2023-11-16T18:15:46.68059Z\",\"value\":\"1\","
        "\"properties\":{\"tokens\":374},\"arrival\":\"2026-11-10T00:00:00.123456789Z\"}\n");
}

Test(dump, says_what_is_unusual_about_an_entry)
{
    scoped(buffer_done) struct buffer out = {0};
    struct event event = plain_event();
    event.time_ns = 0;
    event.id = bytes_text("");
    event.chunk = bytes_text("chunk-a");
    event.chunk_position = 9;
    event.source = bytes_text("fluent \"bit\"");
    event.batch = bytes_text("jan");
    dump_one(&event, &out);
    const char *text = (const char *)out.data;
    cr_assert_not_null(strstr(text, "\"id\":\"chunk-a\",\"source\":\"fluent \\\"bit\\\"\""));
    cr_assert_not_null(strstr(text, "\"id_is_chunk\":true,\"chunk_position\":9"));
    cr_assert_not_null(strstr(text, "\"time\":\"2026-11-10T00:00:00.123456789Z\","));
    cr_assert_not_null(strstr(text, "\"time_is_arrival\":true"));
    cr_assert_not_null(strstr(text, "\"batch\":\"jan\""));
}

Test(dump, bytes_that_are_no_text_are_lossless)
{
    scoped(buffer_done) struct buffer out = {0};
    struct event event = plain_event();
    event.subject = bytes_of("a\xff", 2);
    event.id = bytes_of("\x80\x81\x82\x83", 4);
    dump_one(&event, &out);
    const char *text = (const char *)out.data;
    cr_assert_not_null(strstr(text, "\"subject\":\"a\xef\xbf\xbd\",\"subject_base64\":\"Yf8=\""));
    cr_assert_not_null(strstr(text, "\"id_base64\":\"gIGCgw==\""));
    cr_assert_null(strstr(text, "type_base64"));
}

struct value_row {
    const char *msgpack;  // of one value
    size_t size;
    const char *json;
};

#define VALUE(bytes, text)                                                                         \
    {                                                                                              \
        bytes, sizeof bytes - 1, text                                                              \
    }

static const struct value_row values[] = {
    VALUE("\xc0", "null"),
    VALUE("\xc2", "false"),
    VALUE("\xc3", "true"),
    VALUE("\x05", "5"),
    VALUE("\xff", "-1"),
    VALUE("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
    VALUE("\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
    VALUE("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
    VALUE("\xca\x3d\xcc\xcc\xcd", "0.1"),
    VALUE("\xcb\x3f\xd5\x55\x55\x55\x55\x55\x55", "0.3333333333333333"),
    VALUE("\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "-0"),
    VALUE("\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c", "1e+300"),
    VALUE("\xcb\x00\x00\x00\x00\x00\x00\x00\x01", "5e-324"),
    VALUE("\xca\x7f\x7f\xff\xff", "3.4028235e+38"),
    VALUE("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "{\"float\":\"inf\"}"),
    VALUE("\xca\xff\x80\x00\x00", "{\"float\":\"-inf\"}"),
    VALUE("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "{\"float\":\"nan\"}"),
    VALUE("\xa2hi", "\"hi\""),
    VALUE("\xa1\xff", "{\"text_base64\":\"/w==\"}"),
    VALUE("\xc4\x03\x00\x01\x02", "{\"binary_base64\":\"AAEC\"}"),
    VALUE("\xc4\x00", "{\"binary_base64\":\"\"}"),
    VALUE(
        "\xa4"
        "AAEC",
        "\"AAEC\""),
    VALUE("\xd4\x05\x41", "{\"ext\":5,\"data\":\"QQ==\"}"),
    VALUE("\x93\x01\xc0\xa1x", "[1,null,\"x\"]"),
    VALUE("\x90", "[]"),
    VALUE("\x80", "{}"),
    VALUE("\x82\xa1x\x81\xa1y\x01\xa1z\x02", "{\"x\":{\"y\":1},\"z\":2}"),
    VALUE("\x81\x05\x06", "{\"5\":6}"),
    VALUE("\x81\x92\x01\x02\x06", "{\"[1,2]\":6}"),
};

Test(dump, every_msgpack_value_is_json)
{
    scoped(buffer_done) struct buffer out = {0};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        scoped(buffer_done) struct buffer properties = {0};
        scoped(arena_done) struct arena arena = {0};
        char wanted[128];
        struct event event = plain_event();
        pack_text(&properties, "v");
        buffer_put(&properties, values[i].msgpack, values[i].size);
        event.properties[0] = buffer_view(&properties);
        event.properties_runs = 1;
        event.properties_count = 1;
        dump_one(&event, &out);
        snprintf(wanted, sizeof wanted, "\"properties\":{\"v\":%s},", values[i].json);
        cr_assert_not_null(
            strstr((const char *)out.data, wanted), "row %zu: %s", i, (const char *)out.data);
        struct json *root;
        struct error error = {0};
        struct bytes line = bytes_of(out.data, out.size - 2);
        enum status status = json_parse(line, &(struct json_limits){0}, &arena, &root, &error);
        cr_assert_eq(status, STATUS_OK, "row %zu: %s", i, error.text);
    }
}

Test(dump, properties_that_make_no_sense_are_shown_as_bytes)
{
    scoped(buffer_done) struct buffer out = {0};
    struct event event = plain_event();
    event.properties[0] = bytes_of("\xa1x", 2);  // a key without its value
    event.properties_runs = 1;
    event.properties_count = 1;
    dump_one(&event, &out);
    cr_assert_not_null(strstr((const char *)out.data, "\"properties_base64\":\"oXg=\""));
}

// Pairs without a NUL, and what comes behind "properties": in the line.
static void
check_keys(const char *pairs, uint32_t count, const char *json)
{
    scoped(buffer_done) struct buffer out = {0};
    struct event event = plain_event();
    event.properties[0] = bytes_text(pairs);
    event.properties_runs = 1;
    event.properties_count = count;
    dump_one(&event, &out);
    const char *properties = strstr((const char *)out.data, "\"properties\":");
    cr_assert_not_null(properties);
    properties += strlen("\"properties\":");
    cr_assert_eq(strncmp(properties, json, strlen(json)), 0, "%s, not %s", properties, json);
}

Test(dump, keys_that_json_cannot_have_are_shown_as_bytes_too)
{
    check_keys("\xa1n\x05\xa1m\x06", 2, "{\"n\":5,\"m\":6},\"arrival\"");
    // Twice, also in a map within.
    check_keys("\xa1n\x05\xa1n\x06", 2, "{\"n\":5},\"properties_base64\":\"oW4FoW4G\"");
    check_keys(
        "\xa1m\x82\xa1n\x05\xa1n\x06",
        1,
        "{\"m\":{\"n\":5}},\"properties_base64\":\"oW2CoW4FoW4G\"");
    // No text, and the text that it looks like.
    check_keys(
        "\xa1m\x91\x82\x01\x05\xa1\x31\x06",
        1,
        "{\"m\":[{\"1\":5}]},\"properties_base64\":\"oW2RggEFoTEG\"");
    check_keys(
        "\xa1\xff\x05",
        1,
        "{\"{\\\"text_base64\\\":\\\"/w==\\\"}\":5},\"properties_base64\":\"of8F\"");
}

// A map that reads like a value which JSON does not have shows its bytes, too.
Test(dump, what_looks_like_bytes_and_is_none_is_told_apart)
{
    check_keys(
        "\xa1m\x81\xa3"
        "ext\x05",
        1,
        "{\"m\":{\"ext\":5}},\"properties_base64\":\"oW2Bo2V4dAU=\"");
    check_keys(
        "\xa1m\x82\xa1n\x06\xa3"
        "ext\x05",
        1,
        "{\"m\":{\"n\":6,\"ext\":5}},\"arrival\"");
    check_keys(
        "\xa3"
        "ext\x05",
        1,
        "{\"ext\":5},\"arrival\"");
    check_keys(
        "\xa1m\x91\x81\xad"
        "binary_base64\xa0",
        1,
        "{\"m\":[{\"binary_base64\":\"\"}]},\"properties_base64\":");
}

struct lines {
    struct buffer text;
    size_t stop_after;  // calls; 0: never
    size_t calls;
};

static bool
keep_lines(void *context, struct bytes text)
{
    struct lines *lines = context;
    buffer_bytes(&lines->text, text);
    return ++lines->calls != lines->stop_after;
}

static size_t
count_lines(const struct lines *lines)
{
    size_t count = 0;
    for (size_t i = 0; i < lines->text.size; i++)
        count += lines->text.data[i] == '\n';
    return count;
}

static size_t
dump_count(const struct reading *reading, const struct dump_options *options)
{
    struct lines lines = {0};
    struct error error = {0};
    enum status status = dump_run(reading->dir, options, keep_lines, &lines, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    size_t count = count_lines(&lines);
    buffer_done(&lines.text);
    return count;
}

Test(dump, filters_by_shard_subject_type_and_time)
{
    struct reading reading;
    const struct dump_options all = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    reading_begin(&reading, 2);
    cr_assert_eq(dump_count(&reading, &all), 0);
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 200);
    cr_assert_eq(dump_count(&reading, &all), 200, "beside the writer");
    reading_write_end(&reading);
    cr_assert_eq(dump_count(&reading, &all), 200);

    size_t sums[4] = {0};
    for (int32_t shard = 0; shard < 2; shard++) {
        struct dump_options one = all;
        one.shard = shard;
        sums[0] += dump_count(&reading, &one);
    }
    for (int i = 0; i < 8; i++) {
        char subject[24];
        struct dump_options one = all;
        snprintf(subject, sizeof subject, "subject-%d", i);
        one.subject = bytes_text(subject);
        sums[1] += dump_count(&reading, &one);
    }
    struct dump_options typed = all;
    typed.type = bytes_text("llm");
    sums[2] += dump_count(&reading, &typed);
    typed.type = bytes_text("job");
    sums[2] += dump_count(&reading, &typed);
    struct dump_options timed = all;
    timed.to_ns = READING_NOW_NS - 5 * DAY_NS;
    sums[3] += dump_count(&reading, &timed);
    timed.from_ns = timed.to_ns;
    timed.to_ns = INT64_MAX;
    sums[3] += dump_count(&reading, &timed);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(sums[i], 200, "filter %d", i);
    reading_end(&reading);
}

Test(dump, stops_when_nobody_reads_on)
{
    struct reading reading;
    struct lines lines = {.stop_after = 1};
    struct error error = {0};
    const struct dump_options all = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 200);
    reading_write_end(&reading);
    cr_assert_eq(dump_run(reading.dir, &all, keep_lines, &lines, &error), STATUS_OK);
    cr_assert_eq(lines.calls, 1);
    cr_assert_lt(count_lines(&lines), 200);
    buffer_done(&lines.text);
    reading_end(&reading);
}

Test(dump, refuses_a_shard_that_is_not_there)
{
    struct reading reading;
    struct error error = {0};
    const struct dump_options options = {.shard = 2, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    reading_begin(&reading, 2);
    cr_assert_eq(
        dump_run(reading.dir, &options, keep_lines, &(struct lines){0}, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "it has 2"), "%s", error.text);
    reading_end(&reading);
}
