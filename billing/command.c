#include "billing/command.h"

#include <stdio.h>

int
command_usage_error(const char *command, const struct error *error)
{
    fprintf(stderr, "tally-billing %s: %s\n", command, error->text);
    fprintf(stderr, "Try `tally-billing %s --help`.\n", command);
    return EXIT_USAGE;
}

int
command_failed(const char *command, const struct error *error)
{
    fprintf(stderr, "tally-billing %s: %s\n", command, error->text);
    return EXIT_FAILED;
}

enum status
command_sql(const char *data_dir, struct arena *arena, struct sql **out, struct error *error)
{
    const char *url = NULL;
    enum status status = sql_url(data_dir, arena, &url, error);
    if (status)
        return status;
    return sql_open(url, SQL_TIMEOUT_MS, out, error);
}
