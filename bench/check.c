#include "bench/check.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "bench/program.h"
#include "ledger/ledger.h"
#include "ledger/usage.h"

#include <stdio.h>

const char *const CHECK_METER_KEYS[CHECK_METERS] = {"bench_calls", "bench_value", "bench_tokens"};

// --- before ---

static enum status
meters_put(struct registry *registry, struct error *error)
{
    struct meter meters[CHECK_METERS] = {0};
    for (size_t i = 0; i < CHECK_METERS; i++) {
        meters[i].key = CHECK_METER_KEYS[i];
        meters[i].event_type = GENERATE_TYPE;
        meters[i].aggregation = i == 0 ? AGGREGATION_COUNT : AGGREGATION_SUM;
    }
    meters[2].value_property = "$.tokens";
    for (size_t i = 0; i < CHECK_METERS; i++) {
        enum status status = registry_put(registry, &meters[i], clock_now_ns(), NULL, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status
check_prepare(const char *data, uint32_t shards, uint64_t map_size, struct error *error)
{
    const struct ledger_create_options options = {.shards = shards, .map_size = map_size};
    struct registry *registry = NULL;
    enum status status = ledger_create(data, &options, error);
    if (status == STATUS_OK)
        status = registry_open(data, &registry, error);
    if (status != STATUS_OK)
        return status;
    status = meters_put(registry, error);
    registry_close(registry);
    return status;
}

// --- afterwards, by asking `tally usage` ---

// Runs `tally usage` and keeps what it prints.
static enum status
usage_run(
    char *program, const char *data, const char *meter, struct buffer *out, struct error *error)
{
    char data_option[PATH_MAX + 8], meter_option[128];
    char command[] = "usage", format[] = "--format=tsv";
    (void)snprintf(data_option, sizeof data_option, "--data=%s", data);
    (void)snprintf(meter_option, sizeof meter_option, "--meter=%s", meter);
    char *argv[] = {program, command, data_option, meter_option, format, NULL};
    int exit_status = 0;
    enum status status = program_output(argv, out, &exit_status, error);
    if (status == STATUS_OK && exit_status != 0)
        status = error_set(error, STATUS_IO, "`tally usage` ended with %d", exit_status);
    return status;
}

// Takes the text up to a separator (or the end) off the front.
static struct bytes
part_take(struct bytes *rest, char separator)
{
    const uint8_t *end = rest->size > 0 ? memchr(rest->data, separator, rest->size) : NULL;
    size_t size = end != NULL ? (size_t)(end - rest->data) : rest->size;
    struct bytes part = {rest->data, size};
    if (end != NULL)
        size++;
    *rest = bytes_of(size > 0 ? rest->data + size : rest->data, rest->size - size);
    return part;
}

// The column of that title in the header line, or -1.
static int
column_find(struct bytes header, const char *title)
{
    for (int i = 0; header.size > 0; i++)
        if (bytes_equal(part_take(&header, '\t'), bytes_text(title)))
            return i;
    return -1;
}

static struct bytes
column_take(struct bytes line, int column)
{
    struct bytes cell = part_take(&line, '\t');
    for (int i = 0; i < column; i++)
        cell = part_take(&line, '\t');
    return cell;
}

// Adds up a column, a row for each subject: tab-separated, for a million subjects are a lot of
// JSON.
static enum status
rows_add(struct bytes text, const char *meter, struct decimal *out, struct error *error)
{
    struct decimal total = DECIMAL_ZERO;
    int column = column_find(part_take(&text, '\n'), meter);
    if (column < 0)
        return error_set(error, STATUS_INVALID, "`tally usage` printed no column %s", meter);
    while (text.size > 0) {
        struct decimal one;
        bool is_rounded = false;
        struct bytes cell = column_take(part_take(&text, '\n'), column);
        if (decimal_parse(cell, &one, &is_rounded) != STATUS_OK || is_rounded)
            return error_set(
                error,
                STATUS_INVALID,
                "`tally usage` printed \"%.*s\" for a quantity",
                (int)cell.size,
                (const char *)cell.data);
        if (!decimal_add(&total, one))
            return error_set(error, STATUS_OVERFLOW, "the usage adds up to too much");
    }
    *out = total;
    return STATUS_OK;
}

static enum status
total_by_program(
    char *program, const char *data, const char *meter, struct decimal *out, struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    enum status status = usage_run(program, data, meter, &text, error);
    if (status != STATUS_OK)
        return status;
    return rows_add(buffer_view(&text), meter, out, error);
}

// --- afterwards, by asking the ledger ourselves: where `tally` was not built ---

static bool
total_add(void *context, struct bytes subject, const struct usage_row *total)
{
    struct decimal *sum = context;
    (void)subject;
    bool is_added = decimal_add(sum, total->value);
    must(is_added);
    return true;
}

static enum status
total_by_reader(struct reader *reader, const char *meter, struct decimal *out, struct error *error)
{
    *out = DECIMAL_ZERO;
    return usage_totals(reader, meter, INT64_MIN, INT64_MAX, total_add, out, error);
}

static enum status
totals_find(const char *data, struct check_usage *usage, struct error *error)
{
    char program[PATH_MAX];
    struct reader *reader = NULL;
    enum status status = STATUS_OK;
    bool has_program = program_beside("tally", program, error) == STATUS_OK;
    if (!has_program)
        status = reader_open(data, &reader, error);
    for (size_t i = 0; status == STATUS_OK && i < CHECK_METERS; i++) {
        const char *meter = CHECK_METER_KEYS[i];
        status = has_program ? total_by_program(program, data, meter, &usage->found[i], error)
                             : total_by_reader(reader, meter, &usage->found[i], error);
    }
    if (reader != NULL)
        reader_close(reader);
    return status;
}

enum status
check_usage(
    const char *data,
    const struct generate_totals *expected,
    struct check_usage *out,
    struct error *error)
{
    struct check_usage usage = {.matches = true};
    const uint64_t amounts[CHECK_METERS] = {
        expected->events, expected->value_sum, expected->tokens_sum};
    enum status status = totals_find(data, &usage, error);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < CHECK_METERS; i++) {
        must(amounts[i] <= INT64_MAX);
        usage.expected[i] = decimal_from_int((int64_t)amounts[i]);
        if (decimal_compare(usage.expected[i], usage.found[i]) != 0)
            usage.matches = false;
    }
    *out = usage;
    return STATUS_OK;
}
