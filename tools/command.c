#include "tools/command.h"

#include "base/clock.h"

#include <stdio.h>

int
command_usage_error(const char *command, const struct error *error)
{
    fprintf(stderr, "tally %s: %s\n", command, error->text);
    fprintf(stderr, "Try `tally %s --help`.\n", command);
    return EXIT_USAGE;
}

enum status
command_time(const char *text, const char *option, int64_t *out_ns, struct error *error)
{
    if (text == NULL || clock_parse(bytes_text(text), out_ns) == STATUS_OK)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "%s %s is no time: 2026-11-01 or 2026-11-01T12:00:00Z",
        option,
        text);
}

int
command_failed(const char *command, const struct error *error)
{
    fprintf(stderr, "tally %s: %s\n", command, error->text);
    return EXIT_FAILED;
}
