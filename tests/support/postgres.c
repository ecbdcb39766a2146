#include "tests/support/postgres.h"

#include "base/clock.h"
#include "base/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char URL_ENV[] = "TALLY_TEST_POSTGRES";

enum { ARGS_MAX = 40, PATH_MAX_HERE = 512, READY_TIMEOUT_S = 60 };

static void
fail(const char *what)
{
    fprintf(stderr, "tests/support/postgres: %s: %s\n", what, strerror(errno));
    abort();
}

// The folder of the newest server's programs.
static bool
bin_dir(char out[PATH_MAX_HERE])
{
    glob_t found = {0};
    bool is_found = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0;
    if (is_found) {
        const char *path = found.gl_pathv[found.gl_pathc - 1];
        snprintf(out, PATH_MAX_HERE, "%.*s", (int)(strlen(path) - strlen("/initdb")), path);
    }
    globfree(&found);
    return is_found;
}

// Starts a program, as the user postgres when this is root; it ends with this process. Output goes
// to DIR/log.
static pid_t
program_start(const char *dir, const char *const *args)
{
    const char *argv[ARGS_MAX] = {0};
    size_t count = 0;
    if (geteuid() == 0) {
        const char *const prefix[] = {
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--pdeathsig",
            "TERM"};
        for (; count < sizeof prefix / sizeof prefix[0]; count++)
            argv[count] = prefix[count];
    }
    for (size_t i = 0; args[i] != NULL; i++)
        argv[count++] = args[i];
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid > 0)
        return pid;
    char log[PATH_MAX_HERE];
    snprintf(log, sizeof log, "%s/log", dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd >= 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
    }
    char **argv_exec = (char **)(void *)argv;
    execvp(argv_exec[0], argv_exec);
    _exit(127);
}

static int
remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat, (void)type, (void)walk;
    return remove(path);
}

static void
log_show(const char *dir)
{
    char path[PATH_MAX_HERE], text[4096];
    snprintf(path, sizeof path, "%s/log", dir);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    size_t size = fread(text, 1, sizeof text, file);
    fwrite(text, 1, size, stderr);
    fclose(file);
}

static void
cluster_make(const char *dir, const char *bin)
{
    char initdb[PATH_MAX_HERE + 16], data[PATH_MAX_HERE];
    int status = 0;
    snprintf(initdb, sizeof initdb, "%s/initdb", bin);
    snprintf(data, sizeof data, "%s/data", dir);
    const char *const args[] = {
        initdb,
        "-D",
        data,
        "-A",
        "trust",
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
        NULL};
    pid_t pid = program_start(dir, args);
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        log_show(dir);
        fail("initdb");
    }
}

static void
server_wait(struct postgres *server)
{
    int64_t deadline_ns = clock_monotonic_ns() + READY_TIMEOUT_S * SECOND_NS;
    for (;;) {
        struct error error;
        struct sql *sql = NULL;
        if (sql_open(server->url, 5000, &sql, &error) == STATUS_OK) {
            sql_close(sql);
            return;
        }
        if (clock_monotonic_ns() > deadline_ns || waitpid(server->pid, NULL, WNOHANG) != 0) {
            log_show(server->dir);
            fail(error.text);
        }
        poll(NULL, 0, 20);
    }
}

bool
postgres_start(struct postgres *server)
{
    char bin[PATH_MAX_HERE], program[PATH_MAX_HERE + 16], data[PATH_MAX_HERE];
    if (!bin_dir(bin))
        return false;
    snprintf(server->dir, sizeof server->dir, "/tmp/tally-pg-XXXXXX");
    if (mkdtemp(server->dir) == NULL)
        fail("mkdtemp");
    if (geteuid() == 0) {
        const struct passwd *user = getpwnam("postgres");
        if (user == NULL || chown(server->dir, user->pw_uid, user->pw_gid) != 0)
            fail("chown to the user postgres");
    }
    cluster_make(server->dir, bin);
    snprintf(program, sizeof program, "%s/postgres", bin);
    snprintf(data, sizeof data, "%s/data", server->dir);
    const char *const args[] = {
        program,
        "-D",
        data,
        "-k",
        server->dir,
        "-c",
        "listen_addresses=",
        "-c",
        "fsync=off",
        "-c",
        "synchronous_commit=off",
        "-c",
        "full_page_writes=off",
        "-c",
        "shared_buffers=64MB",
        "-c",
        "max_connections=60",
        NULL};
    server->pid = program_start(server->dir, args);
    snprintf(
        server->url,
        sizeof server->url,
        "postgresql:///postgres?host=%s&user=postgres",
        server->dir);
    server_wait(server);
    return true;
}

void
postgres_stop(struct postgres *server)
{
    if (server->pid > 0) {
        // SIGQUIT: at once, without a checkpoint; the cluster is thrown away.
        kill(server->pid, SIGQUIT);
        waitpid(server->pid, NULL, 0);
        nftw(server->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    *server = (struct postgres){0};
}

void
postgres_before_all(struct postgres *server)
{
    unsetenv(URL_ENV);
    if (postgres_start(server))
        setenv(URL_ENV, server->url, 1);
}

void
postgres_after_all(struct postgres *server)
{
    postgres_stop(server);
}

bool
postgres_database(char url[POSTGRES_URL_MAX])
{
    const char *server = getenv(URL_ENV);
    if (server == NULL) {
        fprintf(stderr, "skipped: there are no PostgreSQL programs in /usr/lib/postgresql\n");
        return false;
    }
    struct error error;
    struct sql *sql = NULL;
    char create[128];
    char name[64];
    snprintf(name, sizeof name, "test_%d_%" PRId64, (int)getpid(), clock_monotonic_ns());
    snprintf(create, sizeof create, "CREATE DATABASE %s", name);
    if (sql_open(server, 60000, &sql, &error) != STATUS_OK ||
        sql_script(sql, create, &error) != STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        abort();
    }
    sql_close(sql);
    const char *query = strchr(server, '?');
    snprintf(url, POSTGRES_URL_MAX, "postgresql:///%s%s", name, query);
    return true;
}
