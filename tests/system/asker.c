// Another process that reads a ledger while tallyd writes it.
//
//     asker DIR ask METER SUBJECT   questions of each form, until standard input ends: a line each,
//                                   "FORM BEGAN ENDED COUNT", the moments by the monotonic clock
//     asker DIR hold                begins to read every environment, says "holding", stays so
//
// What is asked: all subjects together, one subject, the stream of all subjects, and minutes, which
// only the log can answer.

#include "base/arena.h"
#include "base/clock.h"
#include "ledger/ledger.h"
#include "ledger/shard_view.h"
#include "ledger/usage.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAUSE_MS = 5 };

enum form { FORM_MERGED, FORM_SUBJECT, FORM_STREAM, FORM_MINUTES, FORMS };

static const char *const form_names[FORMS] = {
    [FORM_MERGED] = "merged",
    [FORM_SUBJECT] = "subject",
    [FORM_STREAM] = "stream",
    [FORM_MINUTES] = "minutes",
};

static int
fail(const struct error *error)
{
    (void)fprintf(stderr, "asker: %s\n", error->text);
    return 1;
}

static bool
add_total(void *context, struct bytes subject, const struct usage_row *total)
{
    (void)subject;
    *(uint64_t *)context += total->count;
    return true;
}

static enum status
ask_rows(struct reader *reader, const struct usage_query *query, uint64_t *out, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct usage_result result = {0};
    enum status status = usage_query(reader, query, &arena, &result, error);
    for (size_t i = 0; i < result.count; i++)
        *out += result.rows[i].count;
    return status;
}

static enum status
ask(struct reader *reader,
    enum form form,
    const char *meter,
    const char *subject,
    uint64_t *out,
    struct error *error)
{
    struct usage_query query = {.meter = meter, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    switch (form) {
    case FORM_MERGED: query.is_merged = true; return ask_rows(reader, &query, out, error);
    case FORM_SUBJECT: query.subject = bytes_text(subject); break;
    case FORM_STREAM: return usage_stream(reader, &query, add_total, out, error);
    case FORM_MINUTES:
        query.is_merged = true;
        query.window = USAGE_WINDOW_MINUTE;
        break;
    case FORMS: break;
    }
    return ask_rows(reader, &query, out, error);
}

static bool
is_told_to_end(void)
{
    char byte;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, PAUSE_MS) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static int
run_ask(const char *dir, const char *meter, const char *subject)
{
    struct error error = {0};
    struct reader *reader = NULL;
    if (reader_open(dir, &reader, &error))
        return fail(&error);
    enum status status = STATUS_OK;
    for (int i = 0; !status && !is_told_to_end(); i++) {
        enum form form = (enum form)(i % FORMS);
        uint64_t count = 0;
        int64_t began_ns = clock_monotonic_ns();
        status = ask(reader, form, meter, subject, &count, &error);
        int64_t ended_ns = clock_monotonic_ns();
        if (!status)
            (void)printf(
                "%s %" PRId64 " %" PRId64 " %" PRIu64 "\n",
                form_names[form],
                began_ns,
                ended_ns,
                count);
        (void)fflush(stdout);
    }
    reader_close(reader);
    return status ? fail(&error) : 0;
}

static int
run_hold(const char *dir)
{
    struct error error = {0};
    struct ledger_conf conf;
    if (ledger_shape_read(dir, &conf, &error))
        return fail(&error);
    for (uint32_t i = 0; i < conf.shards; i++) {
        struct shard_view view = {0};
        if (shard_view_open(dir, i, &view, &error))
            return fail(&error);
        struct tx log = tx_read(view.log);
        struct tx state = tx_read(view.state);
        if (tx_check(&log, &error) || tx_check(&state, &error))
            return fail(&error);
    }
    (void)printf("holding\n");
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}

int
main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[2], "ask") == 0)
        return run_ask(argv[1], argv[3], argv[4]);
    if (argc == 3 && strcmp(argv[2], "hold") == 0)
        return run_hold(argv[1]);
    (void)fprintf(stderr, "usage: asker DIR ask METER SUBJECT | asker DIR hold\n");
    return 2;
}
