#include "tools/cmd_change.h"

#include "base/clock.h"
#include "ledger/control.h"
#include "tools/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct settings {
    const char *data;
    const char *at;
};

// clang-format off
static const struct option_row cut_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "at",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, at),
     .value_name = "TIME",
     .help = "seals windows that end at or before it: 2026-11-01, or RFC 3339 (default: now)"},
    {.name = NULL},
};
// clang-format on

const struct option_spec cut_spec = {
    .program = "tally ledger cut",
    .summary = "Appends a cut to every shard, and prints its number.",
    .usage = "[options]",
    .details = "Usage at a cut never changes: what comes later for a window that it sealed is "
               "late usage.\n"
               "Asks the tallyd that writes the directory, as the user that runs it; without a "
               "tallyd it\n"
               "writes the ledger itself.",
    .rows = cut_rows,
};

int
cmd_ledger_cut(int argc, char **argv)
{
    static const char command[] = "ledger cut";
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    switch (options_read(&cut_spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error(command, &error);
    case OPTION_RUN: break;
    }
    struct control_request request = {.kind = CONTROL_CUT, .time_ns = clock_now_ns()};
    struct control_answer answer;
    if (settings.at != NULL && clock_parse(bytes_text(settings.at), &request.time_ns)) {
        (void)error_set(
            &error,
            STATUS_INVALID,
            "--at %s is no time: 2026-11-01 or 2026-11-01T12:00:00Z",
            settings.at);
        return command_usage_error(command, &error);
    }
    if (control_do(settings.data, &request, &answer, &error))
        return command_failed(command, &error);
    printf("%" PRIu32 "\n", answer.number);
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}
