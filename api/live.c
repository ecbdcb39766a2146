#include "api/live.h"

#include "base/clock.h"
#include "base/http_get.h"
#include "base/json.h"
#include "base/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FACTS_MAX = 16 << 10 };

struct live {
    const char *data_dir;
    struct http *http;
    pthread_t thread;
    pthread_mutex_t mutex;  // for is_stopping
    pthread_cond_t stop;
    bool is_stopping;
    // Of the thread: what was stored when it last asked, to know the rate. 0: it has not, just now.
    int64_t asked_ns;
    int64_t stored;
};

// --- figures ---

// The sum of a metric's rows: "name 5" or "name{...} 5". Comments begin with a # and a space.
static int64_t
metric_sum(const char *text, const char *name)
{
    size_t size = strlen(name);
    int64_t sum = 0;
    for (const char *line = text; *line != '\0';) {
        const char *end = strchrnul(line, '\n');
        if (strncmp(line, name, size) == 0 && (line[size] == ' ' || line[size] == '{')) {
            const char *space = memrchr(line, ' ', (size_t)(end - line));
            sum += space != NULL ? strtoll(space + 1, NULL, 10) : 0;
        }
        line = *end == '\0' ? end : end + 1;
    }
    return sum;
}

void
live_figures_read(const char *metrics, struct live_figures *out)
{
    *out = (struct live_figures){
        .stored = metric_sum(metrics, "tally_events_stored_total"),
        .duplicates = metric_sum(metrics, "tally_ingest_duplicates_total"),
        .conflicts = metric_sum(metrics, "tally_ingest_conflicts_total"),
        .rejected = metric_sum(metrics, "tally_ingest_events_rejected_total"),
        .bytes_received = metric_sum(metrics, "tally_ingest_bytes_received_total"),
        .connections = metric_sum(metrics, "tally_ingest_connections"),
    };
}

// Where tallyd serves /metrics, as it says in its own file. It moves when it is started anew.
static enum status
address_find(const struct live *live, struct arena *arena, const char **out, struct error *error)
{
    struct json *root;
    const char *path = arena_format(arena, "%s/tallyd.json", live->data_dir);
    char *text = arena_take(arena, FACTS_MAX + 1, 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, STATUS_CLOSED, "tallyd does not run");
    ssize_t size = read(fd, text, FACTS_MAX);
    (void)close(fd);
    if (size <= 0 || json_parse(bytes_of(text, (size_t)size), NULL, arena, &root, error))
        return error_set(error, STATUS_CLOSED, "tallyd.json cannot be read");
    const struct json *metrics = json_member(root, "metrics");
    if (metrics == NULL || metrics->type != JSON_STRING)
        return error_set(error, STATUS_CLOSED, "tallyd serves no metrics (--metrics)");
    *out = arena_text_of(arena, metrics->text);
    return STATUS_OK;
}

static enum status
figures_ask(
    const struct live *live, struct arena *arena, struct live_figures *out, struct error *error)
{
    const char *address = NULL;
    struct http_answer answer;
    enum status status = address_find(live, arena, &address, error);
    if (status == STATUS_OK)
        status = http_get(address, "/metrics", LIVE_TIMEOUT_MS, arena, &answer, error);
    if (status)
        return status;
    if (answer.code != 200)
        return error_set(error, STATUS_CLOSED, "tallyd answers %d to /metrics", answer.code);
    live_figures_read(answer.body, out);
    return STATUS_OK;
}

// --- events ---

static void
time_write(struct json_out *out)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(clock_now_ns(), text);
    json_begin(out, '{');
    json_key(out, "time");
    json_text(out, text);
}

static void
member_int(struct json_out *out, const char *name, int64_t value)
{
    json_key(out, name);
    json_int(out, value);
}

// Per second since the last time; null without one, or when tallyd began anew.
static void
rate_write(struct live *live, int64_t stored, struct json_out *out)
{
    int64_t now_ns = clock_monotonic_ns();
    int64_t passed_ms = (now_ns - live->asked_ns) / (SECOND_NS / 1000);
    json_key(out, "storedPerSecond");
    if (live->asked_ns == 0 || stored < live->stored || passed_ms <= 0)
        json_null(out);
    else
        json_int(out, (stored - live->stored) * 1000 / passed_ms);
    live->asked_ns = now_ns;
    live->stored = stored;
}

static void
figures_write(struct live *live, const struct live_figures *figures, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    buffer_text(out, "event: ingest\ndata: ");
    time_write(&json);
    member_int(&json, "stored", figures->stored);
    rate_write(live, figures->stored, &json);
    member_int(&json, "duplicates", figures->duplicates);
    member_int(&json, "conflicts", figures->conflicts);
    member_int(&json, "rejected", figures->rejected);
    member_int(&json, "bytesReceived", figures->bytes_received);
    member_int(&json, "connections", figures->connections);
    json_end(&json, '}');
    buffer_text(out, "\n\n");
}

static void
away_write(struct live *live, const char *why, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    buffer_text(out, "event: away\ndata: ");
    time_write(&json);
    json_key(&json, "detail");
    json_text(&json, why);
    json_end(&json, '}');
    buffer_text(out, "\n\n");
    live->asked_ns = 0;
}

static void
live_tell(struct live *live)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0};
    struct live_figures figures = {0};
    struct error error = {0};
    struct http_figures http;
    http_figures(live->http, &http);
    if (http.streams == 0) {
        live->asked_ns = 0;
        return;
    }
    if (figures_ask(live, &arena, &figures, &error))
        away_write(live, error.text, &text);
    else
        figures_write(live, &figures, &text);
    http_stream_send(live->http, buffer_view(&text));
}

// --- the thread ---

static void *
live_run(void *argument)
{
    struct live *live = argument;
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    pthread_mutex_lock(&live->mutex);
    while (!live->is_stopping) {
        until.tv_sec += LIVE_PERIOD_MS / 1000;
        int rc = 0;
        while (!live->is_stopping && rc == 0)
            rc = pthread_cond_timedwait(&live->stop, &live->mutex, &until);
        if (rc != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&live->mutex);
        live_tell(live);
        (void)clock_gettime(CLOCK_REALTIME, &until);
        pthread_mutex_lock(&live->mutex);
    }
    pthread_mutex_unlock(&live->mutex);
    return NULL;
}

static void
live_free(struct live *live)
{
    pthread_mutex_destroy(&live->mutex);
    pthread_cond_destroy(&live->stop);
    pool_give(live);
}

enum status
live_start(const char *data_dir, struct http *http, struct live **out, struct error *error)
{
    struct live *live = pool_take(1, sizeof *live);
    if (live == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for live figures");
    *live = (struct live){.data_dir = data_dir, .http = http};
    pthread_mutex_init(&live->mutex, NULL);
    pthread_cond_init(&live->stop, NULL);
    if (pthread_create(&live->thread, NULL, live_run, live) != 0) {
        live_free(live);
        return error_set(error, STATUS_NO_MEMORY, "cannot start the thread of live figures");
    }
    *out = live;
    return STATUS_OK;
}

void
live_stop(struct live *live)
{
    if (live == NULL)
        return;
    pthread_mutex_lock(&live->mutex);
    live->is_stopping = true;
    pthread_cond_signal(&live->stop);
    pthread_mutex_unlock(&live->mutex);
    pthread_join(live->thread, NULL);
    live_free(live);
}
