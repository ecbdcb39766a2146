#include "base/clock.h"
#include "base/sql.h"
#include "billing/migrate.h"
#include "tools/command.h"

#include <stdio.h>

struct settings {
    const char *data;
};

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {0},
};

static const struct option_spec spec = {
    .program = "tally migrate",
    .summary = "Brings the database's tables up to date.",
    .usage = "[options]",
    .details = "The database is DATABASE_URL, or the one that `tally up` started.",
    .rows = rows,
};

static enum status
migrate(const char *data, struct arena *arena, struct migrations_applied *out, struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    const char *url = NULL;
    enum status status = sql_url(data, arena, &url, error);
    if (status == STATUS_OK)
        status = sql_open(url, SQL_TIMEOUT_MS, &sql, error);
    if (status)
        return status;
    return migrate_apply(sql, MIGRATIONS, MIGRATIONS_COUNT, clock_now_ns(), arena, out, error);
}

int
cmd_migrate(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest = {0};
    struct migrations_applied applied = {0};
    struct error error;
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("migrate", &error);
    case OPTION_RUN: break;
    }
    enum status status = migrate(settings.data, &arena, &applied, &error);
    for (size_t i = 0; i < applied.count; i++)
        printf("applied %s\n", applied.names[i]);
    if (status)
        return command_failed("migrate", &error);
    if (applied.count == 0)
        printf("up to date\n");
    return EXIT_OK;
}
