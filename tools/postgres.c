#include "tools/postgres.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/sql.h"
#include "tools/file.h"

#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LOOK_MS = 20, LOG_TAIL_SIZE = 2000, PID_LINE = 0, STATUS_LINE = 7 };

static const int64_t INITDB_TIMEOUT_NS = 120 * 1000000000LL;
static const int64_t START_TIMEOUT_NS = 60 * 1000000000LL;
static const int64_t ORPHANS_TIMEOUT_NS = 30 * 1000000000LL;
static const int64_t STOP_TIMEOUT_NS = 60 * 1000000000LL;

// --- finding -------------------------------------------------------------------------------------

// The major version of the cluster, 0 when there is none.
static long
cluster_version(const char *dir, struct arena *arena)
{
    struct bytes text;
    struct error error;
    if (file_read(arena_format(arena, "%s/PG_VERSION", dir), arena, &text, &error))
        return 0;
    return strtol(arena_text_of(arena, text), NULL, 10);
}

// The folder of the newest programs, or of those of one version (wanted > 0).
static enum status
bin_find(long wanted, struct arena *arena, const char **out, struct error *error)
{
    static const char root[] = "/usr/lib/postgresql/";
    glob_t found = {0};
    long best = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): no thread yet
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            long version = strtol(found.gl_pathv[i] + sizeof root - 1, NULL, 10);
            if (version > best && (wanted == 0 || version == wanted))
                best = version;
        }
    }
    globfree(&found);
    if (best == 0 && wanted > 0)
        return error_set(
            error, STATUS_NOT_FOUND, "the cluster needs PostgreSQL %ld: install it", wanted);
    if (best == 0)
        return error_set(
            error,
            STATUS_NOT_FOUND,
            "no PostgreSQL in %s: install the package postgresql, or set DATABASE_URL",
            root);
    *out = arena_format(arena, "%s%ld/bin", root, best);
    return STATUS_OK;
}

// libpq and the server both split lists of hosts and folders at commas.
static enum status
socket_check(const char *dir, struct error *error)
{
    size_t size = strlen(dir) + strlen("/.s.PGSQL.5432");
    size_t size_max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    if (size > size_max)
        return error_set(
            error,
            STATUS_INVALID,
            "the path of PostgreSQL's socket in %s would have %zu bytes, and the system allows "
            "%zu: "
            "name a shorter folder with --pg-dir",
            dir,
            size,
            size_max);
    if (strpbrk(dir, ",\""))
        return error_set(
            error,
            STATUS_INVALID,
            "PostgreSQL's folder %s has a comma or a quote in its path: name another with --pg-dir",
            dir);
    return STATUS_OK;
}

// The folder above the cluster, which must be there.
static const char *
folder_above(const char *dir, struct arena *arena)
{
    const char *slash = strrchr(dir, '/');
    must(slash != NULL);
    return slash == dir ? "/" : arena_text_of(arena, bytes_of(dir, (size_t)(slash - dir)));
}

static enum status
user_check(struct postgres *postgres, struct arena *arena, struct error *error)
{
    if (geteuid() != 0)
        return STATUS_OK;
    enum status status = process_user_find("postgres", &postgres->user, error);
    if (status)
        return error_prefix(error, "PostgreSQL does not run as root");
    postgres->has_user = true;
    const char *above = folder_above(postgres->dir, arena);
    if (!process_user_can_enter(&postgres->user, above))
        return error_set(
            error,
            STATUS_INVALID,
            "PostgreSQL runs as the user `postgres`, who cannot go into %s: make it accessible "
            "(chmod o+x on it and the folders above), or name another folder with --pg-dir",
            above);
    return STATUS_OK;
}

enum status
postgres_find(
    const char *dir,
    const char *log_path,
    struct arena *arena,
    struct postgres *out,
    struct error *error)
{
    must(dir[0] == '/');
    long version = cluster_version(dir, arena);
    *out = (struct postgres){.dir = dir, .log_path = log_path, .has_cluster = version > 0};
    enum status status = socket_check(dir, error);
    if (!status)
        status = user_check(out, arena, error);
    if (!status)
        status = bin_find(version, arena, &out->bin, error);
    return status;
}

// --- starting ------------------------------------------------------------------------------------

static struct process_spec
program_spec(const struct postgres *postgres, char *const *argv)
{
    return (struct process_spec){
        .argv = argv,
        .log_path = postgres->log_path,
        .user = postgres->has_user ? &postgres->user : NULL,
    };
}

static enum status
dir_make(const struct postgres *postgres, const char *dir, struct error *error)
{
    enum status status = folder_make(dir, 0700, error);
    if (status || !postgres->has_user)
        return status;
    if (chown(dir, postgres->user.uid, postgres->user.gid) < 0)
        return error_set_errno(error, "cannot give %s to the user postgres", dir);
    return STATUS_OK;
}

// Beside its place, and renamed when it is whole: after a crash in between, nobody takes half a
// cluster for one.
static enum status
cluster_make(const struct postgres *postgres, struct arena *arena, struct error *error)
{
    const char *fresh = arena_format(arena, "%s.new", postgres->dir);
    folder_remove(fresh);
    enum status status = dir_make(postgres, fresh, error);
    if (status)
        return status;
    char *argv[] = {
        arena_format(arena, "%s/initdb", postgres->bin),
        arena_format(arena, "--pgdata=%s", fresh),
        arena_text(arena, "--username=tally"),
        arena_text(arena, "--auth=trust"),
        arena_text(arena, "--encoding=UTF8"),
        arena_text(arena, "--locale=C.UTF-8"),
        arena_text(arena, "--data-checksums"),
        arena_text(arena, "--no-instructions"),
        NULL,
    };
    struct process_spec spec = program_spec(postgres, argv);
    status = process_run(&spec, INITDB_TIMEOUT_NS, error);
    if (!status && rename(fresh, postgres->dir) < 0)
        status = error_set_errno(error, "cannot put the cluster into %s", postgres->dir);
    if (status)
        folder_remove(fresh);
    return status;
}

// After a kill -9 the server's two lock files stay, and the server refuses to start while anything
// has the process id in them, be it a stranger or a zombie that nobody reaped. What they protect
// from is a second server beside processes of the first one; all of those run in the cluster's
// folder, so once nobody does, the files protect nothing.
static enum status
locks_clear(const struct postgres *postgres, struct arena *arena, struct error *error)
{
    static const char *const names[] = {"postmaster.pid", ".s.PGSQL.5432.lock"};
    int64_t deadline_ns = clock_monotonic_ns() + ORPHANS_TIMEOUT_NS;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = arena_format(arena, "%s/%s", postgres->dir, names[i]);
        if (file_size(path) == 0)
            continue;
        while (process_any_in(postgres->dir))
            if (clock_monotonic_ns() >= deadline_ns || !process_pause(LOOK_MS))
                return error_set(
                    error,
                    STATUS_BUSY,
                    "processes of a PostgreSQL that was killed still run in %s: end them first",
                    postgres->dir);
        if (unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(error, "cannot remove the stale %s", path);
    }
    return STATUS_OK;
}

static enum status
server_start(const struct postgres *postgres, struct arena *arena, pid_t *out, struct error *error)
{
    char *argv[] = {
        arena_format(arena, "%s/postgres", postgres->bin),
        arena_text(arena, "-D"),
        arena_text(arena, postgres->dir),
        arena_text(arena, "-c"),
        arena_text(arena, "listen_addresses="),
        arena_text(arena, "-c"),
        arena_format(arena, "unix_socket_directories=%s", postgres->dir),
        arena_text(arena, "-c"),
        arena_text(arena, "unix_socket_permissions=0700"),
        arena_text(arena, "-c"),
        arena_text(arena, "port=5432"),
        arena_text(arena, "-c"),
        arena_text(arena, "timezone=UTC"),
        arena_text(arena, "-c"),
        arena_text(arena, "log_timezone=UTC"),
        NULL,
    };
    struct process_spec spec = program_spec(postgres, argv);
    return process_start(&spec, out, error);
}

// A line of postmaster.pid, from 0: the process id, the folder, the start, the port, the socket's
// folder, the address, shared memory, and last "ready" once it takes connections.
static const char *
pid_file_line(const char *dir, int line, struct arena *arena)
{
    struct bytes text;
    struct error error;
    if (file_read(arena_format(arena, "%s/postmaster.pid", dir), arena, &text, &error))
        return "";
    const char *at = arena_text_of(arena, text);
    for (int i = 0; i < line && at; i++) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    return at ? at : "";
}

static enum status
server_wait(const struct postgres *postgres, pid_t pid, int64_t log_from, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    int64_t deadline_ns = clock_monotonic_ns() + START_TIMEOUT_NS;
    while (clock_monotonic_ns() < deadline_ns) {
        arena_reset(&arena);
        if (process_has_ended(pid))
            return error_set(
                error,
                STATUS_CLOSED,
                "PostgreSQL ended at once; its log %s says: %s",
                postgres->log_path,
                file_tail(postgres->log_path, log_from, LOG_TAIL_SIZE / 4, &arena));
        if (strncmp(pid_file_line(postgres->dir, STATUS_LINE, &arena), "ready", 5) == 0 &&
            postgres_pid(postgres->dir) == pid)
            return STATUS_OK;
        if (!process_pause(LOOK_MS))
            return error_set(error, STATUS_CLOSED, "interrupted");
    }
    return error_set(error, STATUS_TIMEOUT, "PostgreSQL is not ready; see %s", postgres->log_path);
}

static enum status
database_make(const struct postgres *postgres, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = NULL;
    enum status status =
        sql_open(postgres_url(postgres->dir, "postgres", &arena), SQL_TIMEOUT_MS, &sql, error);
    if (status)
        return status;
    const struct sql_query find = {
        "SELECT datname FROM pg_database WHERE datname = 'tally'", SQL_NO_PARAMS, SQL_MAYBE_ROW, 1};
    struct sql_rows rows;
    status = sql_run(sql, &find, &arena, &rows, error);
    if (status || rows.count > 0)
        return status;
    return sql_script(sql, "CREATE DATABASE tally", error);
}

enum status
postgres_start(const struct postgres *postgres, pid_t *out_pid, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    int64_t log_from = file_size(postgres->log_path);
    enum status status = postgres->has_cluster ? STATUS_OK : cluster_make(postgres, &arena, error);
    pid_t pid = 0;
    if (!status)
        status = locks_clear(postgres, &arena, error);
    if (!status)
        status = server_start(postgres, &arena, &pid, error);
    if (status)
        return status;
    status = server_wait(postgres, pid, log_from, error);
    if (!status)
        status = database_make(postgres, error);
    if (status) {
        struct error ignored;
        // What failed above is what the user must know.
        if (process_stop(pid, "postgres", SIGINT, STOP_TIMEOUT_NS, &ignored))
            return error_prefix(error, "%s; before that", ignored.text);
        return status;
    }
    *out_pid = pid;
    return STATUS_OK;
}

// --- running -------------------------------------------------------------------------------------

pid_t
postgres_pid(const char *dir)
{
    scoped(arena_done) struct arena arena = {0};
    long pid = strtol(pid_file_line(dir, PID_LINE, &arena), NULL, 10);
    if (pid <= 0 || pid > INT32_MAX)
        return 0;
    bool is_ours = process_is((pid_t)pid, "postgres") && process_is_in((pid_t)pid, dir);
    return is_ours ? (pid_t)pid : 0;
}

enum status
postgres_stop(const char *dir, struct error *error)
{
    pid_t pid = postgres_pid(dir);
    return pid > 0 ? process_stop(pid, "postgres", SIGINT, STOP_TIMEOUT_NS, error) : STATUS_OK;
}

// The folder as the host, which is how libpq is told of a socket; every byte that could mean
// something in a URL is written as %XX.
const char *
postgres_url(const char *dir, const char *database, struct arena *arena)
{
    scoped(buffer_done) struct buffer host = {0};
    for (const char *at = dir; *at; at++) {
        bool is_plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                        (*at >= '0' && *at <= '9') || strchr("/-._~", *at);
        if (is_plain)
            buffer_u8(&host, (uint8_t)*at);
        else
            buffer_format(&host, "%%%02X", (unsigned)(uint8_t)*at);
    }
    must(!buffer_failed(&host));
    const char *text = arena_text_of(arena, buffer_view(&host));
    return arena_format(arena, "postgresql:///%s?host=%s&user=tally", database, text);
}
