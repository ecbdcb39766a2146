// tally down: stops what `tally up` started.

#include "tools/command.h"
#include "tools/stack.h"

#include <errno.h>
#include <sys/stat.h>

struct settings {
    const char *data;
};

static const struct option_row rows[] = {COMMAND_DATA_ROW(struct settings), {0}};

static const struct option_spec spec = {
    .program = "tally down",
    .summary = "Stops what `tally up` started for a data directory.",
    .usage = "[options]",
    .details = "tally-api answers what it has and ends; tallyd takes no more events, commits and "
               "acks what\n"
               "it has, and ends; then PostgreSQL is shut down. Nothing running is fine.\n"
               "Exit codes: 0 nothing runs any more; 1 something did not stop; 2 usage.",
    .rows = rows,
};

int
cmd_down(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("down", &error);
    case OPTION_RUN: break;
    }
    struct stat info;
    if (stat(settings.data, &info) < 0 && errno == ENOENT) {
        printf("nothing runs: there is no %s\n", settings.data);
        return EXIT_OK;
    }
    struct stack stack;
    enum status status = stack_open(settings.data, NULL, &arena, &stack, &error);
    if (!status)
        status = stack_down(&stack, stdout, &error);
    return status ? command_failed("down", &error) : EXIT_OK;
}
