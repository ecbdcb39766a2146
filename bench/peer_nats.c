// NATS JetStream: a stream in files, an acked message for each event, its id as Nats-Msg-Id. The
// protocol is lines of text; what we need of it is written here.
#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "bench/peer.h"

#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t READY_TIMEOUT_NS = 60 * 1000000000LL;

enum { LOOK_MS = 20, PORTS_SIZE_MAX = 4096 };

static const char STREAM[] =
    "{\"name\":\"EVENTS\",\"subjects\":[\"events\"],\"storage\":\"file\",\"retention\":\"limits\","
    "\"max_msgs\":-1,\"max_bytes\":-1,\"discard\":\"old\",\"num_replicas\":1,"
    "\"duplicate_window\":3600000000000}";

// --- the protocol ---

// The payload of the next message; pings in between are answered.
static enum status
message_read(struct talk *talk, struct bytes *out, struct error *error)
{
    for (;;) {
        struct bytes line;
        char text[256];
        enum status status = talk_line(talk, &line, error);
        if (status != STATUS_OK)
            return status;
        (void)bytes_to_text(line, text, sizeof text);
        if (strncmp(text, "PING", 4) == 0) {
            buffer_text(&talk->out, "PONG\r\n");
            status = talk_flush(talk, error);
            if (status != STATUS_OK)
                return status;
        }
        if (strncmp(text, "-ERR", 4) == 0)
            return error_set(error, STATUS_INVALID, "nats-server answers %s", text);
        const char *size_text = strrchr(text, ' ');
        if (strncmp(text, "MSG ", 4) != 0 || size_text == NULL)
            continue;
        size_t size = strtoull(size_text, NULL, 10);
        status = talk_bytes(talk, size + 2, out, error);
        out->size -= status == STATUS_OK ? 2 : 0;
        return status;
    }
}

// Each connection has an inbox of its own.
static enum status
connect_as(const struct stand *stand, const char *inbox, struct talk *out, struct error *error)
{
    enum status status = talk_open(&stand->endpoint, out, error);
    if (status != STATUS_OK)
        return status;
    buffer_format(
        &out->out,
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nSUB %s 1\r\n",
        inbox);
    return talk_flush(out, error);
}

// Asks the server's own interface.
static enum status
api_ask(
    const struct stand *stand,
    const char *subject,
    const char *body,
    struct arena *arena,
    struct json **out,
    struct error *error)
{
    struct talk talk;
    struct bytes answer = {0};
    enum status status = connect_as(stand, "inbox.api", &talk, error);
    if (status == STATUS_OK) {
        buffer_format(
            &talk.out, "PUB $JS.API.%s inbox.api %zu\r\n%s\r\n", subject, strlen(body), body);
        status = talk_flush(&talk, error);
    }
    if (status == STATUS_OK)
        status = message_read(&talk, &answer, error);
    if (status == STATUS_OK)
        status =
            json_parse(arena_bytes(arena, answer), &(struct json_limits){0}, arena, out, error);
    if (status == STATUS_OK && json_member(*out, "error") != NULL)
        status = error_set(error, STATUS_INVALID, "nats-server refuses %s", subject);
    talk_close(&talk);
    return status;
}

// --- its server ---

// It took a free port, and says in a file of this folder which.
static bool
port_find(const char *dir, char out[PEER_TEXT_MAX])
{
    char path[PATH_MAX + 256], text[PORTS_SIZE_MAX] = "";
    struct dirent *entry = NULL;
    DIR *folder = opendir(dir);
    bool is_found = false;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): a directory stream of our own
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (strstr(entry->d_name, ".ports") == NULL)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        FILE *file = fopen(path, "re");
        size_t size = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
        text[size] = '\0';
        if (file != NULL)
            (void)fclose(file);
        const char *at = strstr(text, "nats://");
        if (at != NULL && at[strcspn(at, "\"")] == '"') {
            at += strlen("nats://");
            (void)snprintf(out, PEER_TEXT_MAX, "%.*s", (int)strcspn(at, "\""), at);
            is_found = true;
        }
    }
    if (folder != NULL)
        (void)closedir(folder);
    return is_found;
}

static enum status
ready_wait(struct stand *stand, struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + READY_TIMEOUT_NS;
    for (;;) {
        struct talk talk = {.fd = -1};
        enum status status = STATUS_NOT_FOUND;
        if (port_find(stand->home, stand->text))
            status = endpoint_resolve(TRANSPORT_TCP, stand->text, &stand->endpoint, error);
        if (status == STATUS_OK)
            status = talk_open(&stand->endpoint, &talk, error);
        talk_close(&talk);
        if (status == STATUS_OK)
            return STATUS_OK;
        if (program_has_ended(&stand->program) || clock_monotonic_ns() > deadline_ns)
            return error_set(error, STATUS_TIMEOUT, "nats-server does not become ready");
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static enum status
nats_start(struct stand *stand, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct json *answer;
    char program[PATH_MAX];
    char words[][24] = {"-a", "127.0.0.1", "-p", "-1", "-js", "-sd", "--ports_file_dir"};
    enum status status = program_find("nats-server", program, error);
    if (status != STATUS_OK)
        return status;
    char *argv[] = {
        program,
        words[0],
        words[1],
        words[2],
        words[3],
        words[4],
        words[5],
        stand->home,
        words[6],
        stand->home,
        NULL};
    status = program_start(&stand->program, argv, stand->home, NULL, error);
    if (status == STATUS_OK)
        status = ready_wait(stand, error);
    if (status == STATUS_OK)
        status = api_ask(stand, "STREAM.CREATE.EVENTS", STREAM, &arena, &answer, error);
    return status;
}

// --- lanes ---

static enum status
lane_open(struct lane *lane, struct error *error)
{
    char inbox[32];
    (void)snprintf(inbox, sizeof inbox, "inbox.%" PRIu32, lane->generator.options.lane);
    return connect_as(lane->stand, inbox, &lane->talk, error);
}

static void
lane_close(struct lane *lane)
{
    talk_close(&lane->talk);
}

static enum status
lane_send(struct lane *lane, struct error *error)
{
    static const char head[] = "NATS/1.0\r\nNats-Msg-Id: ";
    struct buffer *out = &lane->talk.out;
    for (uint32_t i = 0; i < lane->generator.options.chunk_events; i++) {
        struct generated event;
        generator_event(&lane->generator, lane->frame, i, &event);
        size_t head_size = sizeof head - 1 + event.id.size + 4;
        buffer_format(
            out,
            "HPUB events inbox.%" PRIu32 " %zu %zu\r\n%s",
            lane->generator.options.lane,
            head_size,
            head_size + event.entry.size,
            head);
        buffer_put(out, event.id.data, event.id.size);
        buffer_text(out, "\r\n\r\n");
        buffer_put(out, event.entry.data, event.entry.size);
        buffer_text(out, "\r\n");
    }
    return talk_flush(&lane->talk, error);
}

static enum status
lane_settle(struct lane *lane, struct error *error)
{
    static const char stored[] = "{\"stream\":";
    for (uint32_t i = 0; i < lane->generator.options.chunk_events; i++) {
        struct bytes answer = {0};
        enum status status = message_read(&lane->talk, &answer, error);
        if (status != STATUS_OK)
            return status;
        if (answer.size < sizeof stored || memcmp(answer.data, stored, sizeof stored - 1) != 0)
            return error_set(
                error,
                STATUS_INVALID,
                "nats-server answers %.*s",
                (int)answer.size,
                (const char *)answer.data);
    }
    return STATUS_OK;
}

// --- the end ---

static enum status
nats_check(
    const struct stand *stand,
    const struct generate_totals *sent,
    bool *out_matches,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct json *answer;
    int64_t messages = -1;
    enum status status = api_ask(stand, "STREAM.INFO.EVENTS", "", &arena, &answer, error);
    if (status != STATUS_OK)
        return status;
    const struct json *state = json_member(answer, "state");
    const struct json *count = state != NULL ? json_member(state, "messages") : NULL;
    if (count == NULL || json_int64(count, &messages) != STATUS_OK)
        return error_set(error, STATUS_INVALID, "nats-server does not say how many it holds");
    *out_matches = messages >= 0 && (uint64_t)messages == sent->events;
    return STATUS_OK;
}

const struct peer PEER_NATS = {
    .name = "nats-jetstream",
    .package = "nats-server",
    .settings = "a stream in files, a message an event with Nats-Msg-Id, published without "
                "waiting; a window of an hour for duplicates",
    .lacks = "acks come before the disk has the event (this version syncs every two minutes); "
             "ids are in memory; no usage",
    .takes_duplicates = true,
    .drops_duplicates = true,
    .depth = 2,
    .stop_signal = SIGTERM,
    .start = nats_start,
    .lane_open = lane_open,
    .lane_send = lane_send,
    .lane_settle = lane_settle,
    .lane_close = lane_close,
    .check = nats_check,
};
