// PostgreSQL, with the settings that its own documentation advises for much writing, and nothing
// that would lose a commit: fsync, synchronous_commit and full_page_writes are on.
#include "base/clock.h"
#include "base/sql.h"
#include "bench/peer.h"

#include <glob.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char USER[] = "postgres";
static const int64_t READY_TIMEOUT_NS = 60 * 1000000000LL;

enum { LOOK_MS = 50, CONNECTIONS = PEER_LANES_MAX + 8 };

static const char SCHEMA[] =
    "CREATE TABLE events (id uuid PRIMARY KEY, time timestamptz NOT NULL, subject text NOT NULL,"
    " type text NOT NULL, value bigint NOT NULL, tokens bigint NOT NULL, region text NOT NULL);"
    "CREATE TABLE hourly (subject text, hour timestamptz, calls bigint NOT NULL,"
    " value bigint NOT NULL, tokens bigint NOT NULL, PRIMARY KEY (subject, hour));";

static const char COPY[] =
    "COPY events (id, time, subject, type, value, tokens, region) FROM STDIN";

static const char AGGREGATE[] =
    "INSERT INTO hourly SELECT subject, date_trunc('hour', time), count(*), sum(value),"
    " sum(tokens) FROM events GROUP BY 1, 2";

// Subjects in order, so that two batches never wait for each other's rows crosswise.
static const char INSERT[] =
    "WITH fresh AS (INSERT INTO events (id, time, subject, type, value, tokens, region)"
    " SELECT id, $1::timestamptz, subject, 'load', value, tokens, region"
    " FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])"
    " AS u (id, subject, value, tokens, region)"
    " ON CONFLICT (id) DO NOTHING RETURNING time, subject, value, tokens)"
    " INSERT INTO hourly AS h SELECT subject, date_trunc('hour', time), count(*), sum(value),"
    " sum(tokens) FROM fresh GROUP BY 1, 2 ORDER BY 1, 2"
    " ON CONFLICT (subject, hour) DO UPDATE SET calls = h.calls + excluded.calls,"
    " value = h.value + excluded.value, tokens = h.tokens + excluded.tokens";

static const char TOTALS[] = "SELECT (SELECT count(*) FROM events), coalesce(sum(calls), 0),"
                             " coalesce(sum(value), 0), coalesce(sum(tokens), 0) FROM hourly";

// --- its server ---

// The newest that is installed.
static enum status
bin_find(char out[PATH_MAX], struct error *error)
{
    static const char root[] = "/usr/lib/postgresql/";
    glob_t found = {0};
    long best = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): no thread yet
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            long version = strtol(found.gl_pathv[i] + sizeof root - 1, NULL, 10);
            best = version > best ? version : best;
        }
    }
    globfree(&found);
    if (best == 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no PostgreSQL in %s", root);
    (void)snprintf(out, PATH_MAX, "%s%ld/bin", root, best);
    return STATUS_OK;
}

static enum status
cluster_make(const struct stand *stand, const char *bin, struct error *error)
{
    char program[PATH_MAX], data[PATH_MAX + 8];
    char names[][24] = {
        "--auth=trust", "--username=bench", "--encoding=UTF8", "--locale=C", "--no-sync"};
    (void)snprintf(program, sizeof program, "%.*s/initdb", PATH_MAX - 16, bin);
    (void)snprintf(data, sizeof data, "%s/data", stand->home);
    char *argv[] = {program, names[0], names[1], names[2], names[3], names[4], data, NULL};
    return program_run(argv, stand->home, USER, error);
}

static enum status
server_begin(struct stand *stand, const char *bin, struct error *error)
{
    char program[PATH_MAX], data[PATH_MAX + 8], sockets[PATH_MAX + 32], connections[32];
    char d[] = "-D", c[] = "-c";
    char settings[][40] = {
        "listen_addresses=",
        "shared_buffers=2GB",
        "max_wal_size=16GB",
        "wal_buffers=64MB",
        "jit=off",
        "checkpoint_timeout=30min",
        "wal_compression=on"};
    (void)snprintf(program, sizeof program, "%.*s/postgres", PATH_MAX - 16, bin);
    (void)snprintf(data, sizeof data, "%s/data", stand->home);
    (void)snprintf(sockets, sizeof sockets, "unix_socket_directories=%s", stand->home);
    (void)snprintf(connections, sizeof connections, "max_connections=%d", CONNECTIONS);
    char *argv[] = {program,     d, data,        c, settings[0], c,   settings[1], c,
                    settings[2], c, settings[3], c, settings[4], c,   settings[5], c,
                    settings[6], c, sockets,     c, connections, NULL};
    (void)snprintf(
        stand->url,
        sizeof stand->url,
        "host=%s dbname=postgres user=bench connect_timeout=20",
        stand->home);
    return program_start(&stand->program, argv, stand->home, USER, error);
}

static enum status
schema_make(struct stand *stand, struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    int64_t deadline_ns = clock_monotonic_ns() + READY_TIMEOUT_NS;
    while (sql_open(stand->url, SQL_TIMEOUT_MS, &sql, error) != STATUS_OK) {
        if (program_has_ended(&stand->program) || clock_monotonic_ns() > deadline_ns)
            return error_set(error, STATUS_TIMEOUT, "PostgreSQL does not become ready");
        (void)poll(NULL, 0, LOOK_MS);
    }
    return sql_script(sql, SCHEMA, error);
}

static enum status
postgres_start(struct stand *stand, struct error *error)
{
    char bin[PATH_MAX];
    enum status status = bin_find(bin, error);
    if (status == STATUS_OK)
        status = cluster_make(stand, bin, error);
    if (status == STATUS_OK)
        status = server_begin(stand, bin, error);
    return status == STATUS_OK ? schema_make(stand, error) : status;
}

// --- lanes ---

static enum status
lane_open(struct lane *lane, struct error *error)
{
    return sql_open(lane->stand->url, SQL_TIMEOUT_MS, &lane->sql, error);
}

static void
lane_close(struct lane *lane)
{
    sql_close(lane->sql);
}

// It was committed when it was sent.
static enum status
lane_settle(struct lane *lane, struct error *error)
{
    (void)lane;
    (void)error;
    return STATUS_OK;
}

static enum status
copy_send(struct lane *lane, struct error *error)
{
    char time[CLOCK_TEXT_MAX];
    struct buffer *out = &lane->lists[0];
    uint32_t count = lane->generator.options.chunk_events;
    // All events of a chunk have one time.
    (void)clock_print(clock_now_ns(), time);
    out->size = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct generated event;
        generator_event(&lane->generator, lane->frame, i, &event);
        buffer_put(out, event.id.data, event.id.size);
        buffer_format(out, "\t%s\t", time);
        buffer_put(out, event.subject.data, event.subject.size);
        buffer_format(out, "\tload\t%" PRIu32 "\t%" PRIu32 "\t", event.value, event.tokens);
        buffer_put(out, event.region.data, event.region.size);
        buffer_u8(out, '\n');
    }
    if (buffer_failed(out))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a chunk");
    return sql_copy_in(lane->sql, COPY, buffer_view(out), NULL, error);
}

// Arrays as text: {a,b,c} and a zero. Nothing of ours needs quotes.
static void
lists_fill(struct lane *lane, uint32_t count)
{
    struct buffer *lists = lane->lists;
    for (size_t k = 0; k < 5; k++) {
        lists[k].size = 0;
        buffer_u8(&lists[k], '{');
    }
    for (uint32_t i = 0; i < count; i++) {
        struct generated event;
        generator_event(&lane->generator, lane->frame, i, &event);
        for (size_t k = 0; k < 5 && i > 0; k++)
            buffer_u8(&lists[k], ',');
        buffer_put(&lists[0], event.id.data, event.id.size);
        buffer_put(&lists[1], event.subject.data, event.subject.size);
        buffer_format(&lists[2], "%" PRIu32, event.value);
        buffer_format(&lists[3], "%" PRIu32, event.tokens);
        buffer_put(&lists[4], event.region.data, event.region.size);
    }
    for (size_t k = 0; k < 5; k++) {
        buffer_u8(&lists[k], '}');
        buffer_u8(&lists[k], 0);
    }
}

static enum status
insert_send(struct lane *lane, struct error *error)
{
    char time[CLOCK_TEXT_MAX];
    const char *texts[5];
    // All events of a chunk have one time.
    (void)clock_print(clock_now_ns(), time);
    lists_fill(lane, lane->generator.options.chunk_events);
    for (size_t k = 0; k < 5; k++) {
        if (buffer_failed(&lane->lists[k]))
            return error_set(error, STATUS_NO_MEMORY, "no memory for a chunk");
        texts[k] = (const char *)lane->lists[k].data;
    }
    const struct sql_query query = {
        INSERT, SQL_PARAMS(time, texts[0], texts[1], texts[2], texts[3], texts[4]), SQL_NO_ROWS, 0};
    return sql_run(lane->sql, &query, NULL, NULL, error);
}

// --- the end ---

// As long as it takes.
static enum status
copy_finish(const struct stand *stand, struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    enum status status = sql_open(stand->url, SQL_TIMEOUT_MS, &sql, error);
    if (status != STATUS_OK)
        return status;
    sql_set_timeout(sql, INT32_MAX);
    return sql_script(sql, AGGREGATE, error);
}

static bool
cell_is(const struct sql_rows *rows, size_t column, uint64_t value)
{
    return strtoull(sql_cell(rows, 0, column), NULL, 10) == value;
}

static enum status
postgres_check(
    const struct stand *stand,
    const struct generate_totals *sent,
    bool *out_matches,
    struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    scoped(arena_done) struct arena arena = {0};
    struct sql_rows rows;
    const struct sql_query query = {TOTALS, SQL_NO_PARAMS, SQL_ONE_ROW, 4};
    enum status status = sql_open(stand->url, SQL_TIMEOUT_MS, &sql, error);
    if (status != STATUS_OK)
        return status;
    sql_set_timeout(sql, INT32_MAX);
    status = sql_run(sql, &query, &arena, &rows, error);
    if (status != STATUS_OK)
        return status;
    *out_matches = cell_is(&rows, 0, sent->events) && cell_is(&rows, 1, sent->events) &&
                   cell_is(&rows, 2, sent->value_sum) && cell_is(&rows, 3, sent->tokens_sum);
    return STATUS_OK;
}

const struct peer PEER_POSTGRES_COPY = {
    .name = "postgres-copy",
    .package = "postgresql",
    .settings = "COPY of a chunk a transaction into a table with a uuid primary key; fsync and "
                "synchronous_commit on; the hourly aggregate by one statement in the end",
    .lacks = "a duplicate refuses its whole chunk, so none were sent; usage is known only after "
             "the end",
    .takes_duplicates = false,
    .drops_duplicates = false,
    .depth = 1,
    .stop_signal = SIGINT,
    .start = postgres_start,
    .lane_open = lane_open,
    .lane_send = copy_send,
    .lane_settle = lane_settle,
    .lane_close = lane_close,
    .finish = copy_finish,
    .check = postgres_check,
};

const struct peer PEER_POSTGRES_INSERT = {
    .name = "postgres-insert",
    .package = "postgresql",
    .settings = "INSERT ... ON CONFLICT DO NOTHING of a chunk's arrays and its hourly aggregate in "
                "one transaction; fsync and synchronous_commit on",
    .lacks = "no check whether a duplicate's content differs; a chunk that fails is the "
             "client's to repeat",
    .takes_duplicates = true,
    .drops_duplicates = true,
    .depth = 1,
    .stop_signal = SIGINT,
    .start = postgres_start,
    .lane_open = lane_open,
    .lane_send = insert_send,
    .lane_settle = lane_settle,
    .lane_close = lane_close,
    .check = postgres_check,
};
