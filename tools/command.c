#include "tools/command.h"

#include <stdio.h>

int
command_usage_error(const char *command, const struct error *error)
{
    fprintf(stderr, "tally %s: %s\n", command, error->text);
    fprintf(stderr, "Try `tally %s --help`.\n", command);
    return EXIT_USAGE;
}

int
command_failed(const char *command, const struct error *error)
{
    fprintf(stderr, "tally %s: %s\n", command, error->text);
    return EXIT_FAILED;
}
