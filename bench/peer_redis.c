// Redis: a stream in an append-only file that is synced before every answer, with snapshots off.
// Its protocol is written here, which is less than a library would need: arrays of texts go out,
// and answers are integers, texts and errors.
#include "base/clock.h"
#include "bench/peer.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t READY_TIMEOUT_NS = 60 * 1000000000LL;

enum { LOOK_MS = 20, SCRIPT_EVENTS = 100, SCRIPT_ARGUMENTS = 5 };

// One call counts SCRIPT_EVENTS events, each once: what is new is remembered for the window, put
// into the stream, and added to its subject's hour.
static const char SCRIPT[] = "local new = 0 "
                             "for i = 2, #ARGV, 5 do "
                             "if redis.call('SET', 'i:' .. ARGV[i], 1, 'NX', 'EX', 3110400) then "
                             "redis.call('XADD', 'events', '*', 'e', ARGV[i + 4]) "
                             "local key = 'h:' .. ARGV[i + 1] .. ':' .. ARGV[1] "
                             "redis.call('HINCRBY', key, 'calls', 1) "
                             "redis.call('HINCRBY', key, 'value', ARGV[i + 2]) "
                             "redis.call('HINCRBY', key, 'tokens', ARGV[i + 3]) "
                             "new = new + 1 end end return new";

static const char SUMS[] =
    "local sums = {0, 0, 0} local cursor = '0' "
    "repeat local page = redis.call('SCAN', cursor, 'MATCH', 'h:*', 'COUNT', 10000) "
    "cursor = page[1] "
    "for _, key in ipairs(page[2]) do "
    "local row = redis.call('HMGET', key, 'calls', 'value', 'tokens') "
    "for k = 1, 3 do sums[k] = sums[k] + row[k] end end "
    "until cursor == '0' "
    "return string.format('%.0f %.0f %.0f', sums[1], sums[2], sums[3])";

// --- the protocol ---

static void
array_put(struct buffer *out, uint32_t count)
{
    buffer_format(out, "*%" PRIu32 "\r\n", count);
}

static void
bytes_put(struct buffer *out, struct bytes bytes)
{
    buffer_format(out, "$%zu\r\n", bytes.size);
    buffer_put(out, bytes.data, bytes.size);
    buffer_text(out, "\r\n");
}

static void
text_put(struct buffer *out, const char *text)
{
    bytes_put(out, bytes_of(text, strlen(text)));
}

static void
number_put(struct buffer *out, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    text_put(out, text);
}

static int64_t
number_of(struct bytes text)
{
    char copy[32];
    (void)bytes_to_text(text, copy, sizeof copy);
    return strtoll(copy, NULL, 10);
}

// The answer's text, of an integer its digits. An error of Redis is ours.
static enum status
answer_read(struct talk *talk, struct bytes *out, struct error *error)
{
    struct bytes line;
    enum status status = talk_line(talk, &line, error);
    if (status != STATUS_OK)
        return status;
    uint8_t kind = line.size > 0 ? line.data[0] : 0;
    *out = bytes_of(line.data + (line.size > 0), line.size - (line.size > 0));
    if (kind == '+' || kind == ':')
        return STATUS_OK;
    if (kind != '$' || number_of(*out) < 0)
        return error_set(
            error, STATUS_INVALID, "redis answers %.*s", (int)line.size, (const char *)line.data);
    size_t size = (size_t)number_of(*out);
    status = talk_bytes(talk, size + 2, out, error);
    out->size -= status == STATUS_OK ? 2 : 0;
    return status;
}

static enum status
ask(struct talk *talk, struct bytes *out, struct error *error)
{
    enum status status = talk_flush(talk, error);
    return status == STATUS_OK ? answer_read(talk, out, error) : status;
}

static void
script_put(struct buffer *out, const char *command, const char *script)
{
    array_put(out, 3);
    text_put(out, command);
    text_put(out, strcmp(command, "SCRIPT") == 0 ? "LOAD" : script);
    text_put(out, strcmp(command, "SCRIPT") == 0 ? script : "0");
}

// --- its server ---

static enum status
ready_wait(struct stand *stand, struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + READY_TIMEOUT_NS;
    for (;;) {
        struct talk talk = {.fd = -1};
        struct bytes answer = {0};
        enum status status = talk_open(&stand->endpoint, &talk, error);
        if (status == STATUS_OK) {
            script_put(&talk.out, "SCRIPT", SCRIPT);
            status = ask(&talk, &answer, error);
        }
        // By its digest it is called.
        if (status == STATUS_OK)
            (void)bytes_to_text(answer, stand->text, sizeof stand->text);
        talk_close(&talk);
        if (status == STATUS_OK)
            return STATUS_OK;
        if (program_has_ended(&stand->program) || clock_monotonic_ns() > deadline_ns)
            return error_set(error, STATUS_TIMEOUT, "redis-server does not become ready");
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static enum status
redis_start(struct stand *stand, struct error *error)
{
    char program[PATH_MAX], place[PATH_MAX + 16];
    // No rewrite of the file during the run, which would only slow it.
    char words[][32] = {
        "--port",
        "0",
        "--unixsocket",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--save",
        "",
        "--auto-aof-rewrite-percentage",
        "0",
        "--dir"};
    enum status status = program_find("redis-server", program, error);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(place, sizeof place, "%s/redis.sock", stand->home);
    status = endpoint_resolve(TRANSPORT_UNIX, place, &stand->endpoint, error);
    char *argv[] = {
        program,
        words[0],
        words[1],
        words[2],
        place,
        words[3],
        words[4],
        words[5],
        words[6],
        words[7],
        words[8],
        words[9],
        words[10],
        words[11],
        stand->home,
        NULL};
    if (status == STATUS_OK)
        status = program_start(&stand->program, argv, stand->home, NULL, error);
    return status == STATUS_OK ? ready_wait(stand, error) : status;
}

// --- lanes ---

static enum status
lane_open(struct lane *lane, struct error *error)
{
    return talk_open(&lane->stand->endpoint, &lane->talk, error);
}

static void
lane_close(struct lane *lane)
{
    talk_close(&lane->talk);
}

static enum status
stream_send(struct lane *lane, struct error *error)
{
    struct buffer *out = &lane->talk.out;
    for (uint32_t i = 0; i < lane->generator.options.chunk_events; i++) {
        struct generated event;
        generator_event(&lane->generator, lane->frame, i, &event);
        array_put(out, 5);
        buffer_text(out, "$4\r\nXADD\r\n$6\r\nevents\r\n$1\r\n*\r\n$1\r\ne\r\n");
        bytes_put(out, event.entry);
    }
    return talk_flush(&lane->talk, error);
}

static enum status
answers_take(struct lane *lane, uint32_t count, struct error *error)
{
    enum status status = STATUS_OK;
    struct bytes answer = {0};
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        status = answer_read(&lane->talk, &answer, error);
    return status;
}

static enum status
stream_settle(struct lane *lane, struct error *error)
{
    return answers_take(lane, lane->generator.options.chunk_events, error);
}

static uint32_t
calls_of(uint32_t events)
{
    return (events + SCRIPT_EVENTS - 1) / SCRIPT_EVENTS;
}

static void
event_put(struct buffer *out, const struct generated *event)
{
    bytes_put(out, event->id);
    bytes_put(out, event->subject);
    number_put(out, event->value);
    number_put(out, event->tokens);
    bytes_put(out, event->entry);
}

static enum status
counted_send(struct lane *lane, struct error *error)
{
    struct buffer *out = &lane->talk.out;
    uint32_t count = lane->generator.options.chunk_events;
    uint64_t hour = (uint64_t)(clock_now_ns() / SECOND_NS / 3600);
    for (uint32_t first = 0; first < count; first += SCRIPT_EVENTS) {
        uint32_t end = first + SCRIPT_EVENTS < count ? first + SCRIPT_EVENTS : count;
        array_put(out, 4 + SCRIPT_ARGUMENTS * (end - first));
        text_put(out, "EVALSHA");
        text_put(out, lane->stand->text);
        text_put(out, "0");
        number_put(out, hour);
        for (uint32_t i = first; i < end; i++) {
            struct generated event;
            generator_event(&lane->generator, lane->frame, i, &event);
            event_put(out, &event);
        }
    }
    return talk_flush(&lane->talk, error);
}

static enum status
counted_settle(struct lane *lane, struct error *error)
{
    return answers_take(lane, calls_of(lane->generator.options.chunk_events), error);
}

// --- the end ---

static enum status
length_check(struct talk *talk, uint64_t expected, bool *out_matches, struct error *error)
{
    struct bytes answer = {0};
    array_put(&talk->out, 2);
    text_put(&talk->out, "XLEN");
    text_put(&talk->out, "events");
    enum status status = ask(talk, &answer, error);
    if (status == STATUS_OK)
        *out_matches = (uint64_t)number_of(answer) == expected;
    return status;
}

static enum status
stream_check(
    const struct stand *stand,
    const struct generate_totals *sent,
    bool *out_matches,
    struct error *error)
{
    struct talk talk;
    enum status status = talk_open(&stand->endpoint, &talk, error);
    if (status == STATUS_OK)
        status = length_check(&talk, sent->events + sent->duplicates, out_matches, error);
    talk_close(&talk);
    return status;
}

static enum status
counted_check(
    const struct stand *stand,
    const struct generate_totals *sent,
    bool *out_matches,
    struct error *error)
{
    struct talk talk;
    struct bytes answer = {0};
    char found[96], expected[96];
    bool is_stored = false;
    enum status status = talk_open(&stand->endpoint, &talk, error);
    if (status == STATUS_OK)
        status = length_check(&talk, sent->events, &is_stored, error);
    if (status == STATUS_OK) {
        script_put(&talk.out, "EVAL", SUMS);
        status = ask(&talk, &answer, error);
    }
    if (status == STATUS_OK) {
        (void)bytes_to_text(answer, found, sizeof found);
        (void)snprintf(
            expected,
            sizeof expected,
            "%" PRIu64 " %" PRIu64 " %" PRIu64,
            sent->events,
            sent->value_sum,
            sent->tokens_sum);
        *out_matches = is_stored && strcmp(found, expected) == 0;
    }
    talk_close(&talk);
    return status;
}

const struct peer PEER_REDIS_STREAM = {
    .name = "redis-stream",
    .package = "redis-server",
    .settings = "XADD, pipelined; appendonly with appendfsync always, no snapshots; unix socket",
    .lacks = "no dedup and no usage: a duplicate is stored twice; all of it is in memory",
    .takes_duplicates = true,
    .drops_duplicates = false,
    .depth = 2,
    .stop_signal = SIGTERM,
    .start = redis_start,
    .lane_open = lane_open,
    .lane_send = stream_send,
    .lane_settle = stream_settle,
    .lane_close = lane_close,
    .check = stream_check,
};

const struct peer PEER_REDIS_COUNTED = {
    .name = "redis-counted",
    .package = "redis-server",
    .settings = "a script of 100 events a call: SET NX with 36 days for the id, XADD, three "
                "HINCRBY; appendfsync always, no snapshots; unix socket",
    .lacks = "every id, event and counter is in memory; no check whether a duplicate's content "
             "differs",
    .takes_duplicates = true,
    .drops_duplicates = true,
    .depth = 2,
    .stop_signal = SIGTERM,
    .start = redis_start,
    .lane_open = lane_open,
    .lane_send = counted_send,
    .lane_settle = counted_settle,
    .lane_close = lane_close,
    .check = counted_check,
};
