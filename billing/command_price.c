#include "base/assert.h"
#include "billing/command.h"
#include "billing/price_line.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct settings {
    const char *currency;
    bool wants_steps;
};

static const struct option_row rows[] = {
    {.name = "currency",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, currency),
     .fallback = "USD",
     .value_name = "CODE",
     .help = "whose minor unit amounts are rounded to (ISO 4217)"},
    {.name = "explain",
     .type = OPTION_FLAG,
     .offset = offsetof(struct settings, wants_steps),
     .help = "say how each amount came about (\"steps\")"},
    {0                 },
};

static const struct option_spec spec = {
    .program = "tally-billing price",
    .summary = "Prices cases: a JSON object a line on standard input, an answer a line on standard "
               "output.",
    .usage = "[options]",
    .details =
        "  {\"model\": \"standard\", \"params\": {\"amount\": \"5.12345\"}, \"units\": \"10\"}\n"
        "  {\"exact\":\"51.2345\",\"rounded\":\"51.23\"}\n"
        "The same functions price invoices. Models that work in minor units answer in them; "
        "models\n"
        "with several results answer with a list or an object of such. What cannot be priced is\n"
        "answered with {\"error\": \"...\"}. docs/pricing.md has all models and parameters.\n"
        "Exit: 0 every line was answered, errors included; 1 failed to read or write; 2 usage.",
    .rows = rows,
};

// Reads standard input in large pieces and hands out whole lines.
struct lines {
    struct buffer text;
    size_t at;
    bool is_ended;
    bool is_skipping;  // the rest of a line that was too long
};

static bool
lines_fill(struct lines *lines, struct error *error)
{
    enum { PIECE = 1 << 16 };
    size_t rest = lines->text.size - lines->at;
    if (lines->at > 0) {
        memmove(lines->text.data, lines->text.data + lines->at, rest);
        lines->text.size = rest;
        lines->at = 0;
    }
    uint8_t *room = buffer_reserve(&lines->text, PIECE);
    if (room == NULL) {
        error_set(error, STATUS_NO_MEMORY, "no memory for a line");
        return false;
    }
    ssize_t size = read(STDIN_FILENO, room, PIECE);
    if (size < 0) {
        error_set_errno(error, "cannot read standard input");
        return false;
    }
    buffer_commit(&lines->text, (size_t)size);
    lines->is_ended = size == 0;
    return true;
}

// Drops what is left of a line that was too long.
static bool
lines_skip(struct lines *lines, struct error *error)
{
    while (lines->is_skipping) {
        size_t rest = lines->text.size - lines->at;
        const uint8_t *from = lines->text.data + lines->at;
        const uint8_t *end = rest > 0 ? memchr(from, '\n', rest) : NULL;
        lines->is_skipping = end == NULL && !lines->is_ended;
        lines->at += end != NULL ? (size_t)(end - from) + 1 : rest;
        if (lines->is_skipping && !lines_fill(lines, error))
            return false;
    }
    return true;
}

// The next line without its newline, and of one that is too long its beginning; false at the end,
// or with error->status set.
static bool
lines_next(struct lines *lines, struct bytes *out, struct error *error)
{
    size_t seen = 0;
    if (!lines_skip(lines, error))
        return false;
    for (;;) {
        size_t rest = lines->text.size - lines->at;
        const uint8_t *from = rest > 0 ? lines->text.data + lines->at : NULL;
        const uint8_t *end = rest > seen ? memchr(from + seen, '\n', rest - seen) : NULL;
        lines->is_skipping = end == NULL && rest > PRICE_LINE_MAX;
        if (end != NULL || lines->is_skipping || (lines->is_ended && rest > 0)) {
            size_t size = end != NULL ? (size_t)(end - from) : rest;
            if (lines->is_skipping)
                size = PRICE_LINE_MAX + 1;
            *out = bytes_of(from, size);
            lines->at += size + (end != NULL);
            return true;
        }
        if (lines->is_ended)
            return false;
        seen = rest;
        if (!lines_fill(lines, error))
            return false;
    }
}

static bool
is_blank(struct bytes line)
{
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    return true;
}

static enum status
flush(struct buffer *out, struct error *error)
{
    bool is_written = !buffer_failed(out);
    if (out->size > 0)
        is_written = is_written && fwrite(out->data, 1, out->size, stdout) == out->size;
    is_written = is_written && fflush(stdout) == 0;
    buffer_reset(out);
    return is_written ? STATUS_OK : error_set_errno(error, "cannot write");
}

// An answer goes out when no further line is at hand, so that a program can ask line by line.
static enum status
lines_price(struct lines *lines, const struct price_options *options, struct error *error)
{
    enum { FLUSH_SIZE = 1 << 16 };
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer out = {0};
    struct bytes line;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && lines_next(lines, &line, error)) {
        if (!is_blank(line))
            (void)price_line(line, options, &arena, &out);
        arena_reset(&arena);
        if (out.size > FLUSH_SIZE || lines->at == lines->text.size)
            status = flush(&out, error);
    }
    if (status == STATUS_OK)
        status = flush(&out, error);
    return status != STATUS_OK ? status : error->status;
}

int
command_price(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct lines lines = {0};
    struct settings settings = {0};
    struct option_texts_rest rest = {0};
    struct error error = {0};
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_DONE;
    case OPTION_ERROR: return command_usage_error("price", &error);
    case OPTION_RUN: break;
    }
    struct price_options options = {
        currency_find(bytes_text(settings.currency)), settings.wants_steps};
    if (options.currency == NULL) {
        error_set(
            &error,
            STATUS_INVALID,
            "--currency %s: not the code of an active currency (ISO 4217)",
            settings.currency);
        return command_usage_error("price", &error);
    }
    error = (struct error){0};
    enum status status = lines_price(&lines, &options, &error);
    buffer_done(&lines.text);
    return status ? command_failed("price", &error) : EXIT_DONE;
}
