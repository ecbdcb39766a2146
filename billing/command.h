#pragma once
// The subcommands of `tally-billing`: argv[0] is the command's name, the result is the exit code (0
// done, 1 failed, 2 usage).
//
//     {"run", command_run, "bill every period that is over"},
//
// Thread: main.

#include "base/option.h"
#include "base/sql.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define COMMAND_DATA_ROW(settings_type)                                                            \
    {                                                                                              \
        .name = "data", .type = OPTION_TEXT, .offset = offsetof(settings_type, data),              \
        .env = "TALLY_DATA", .fallback = "./tally-data", .value_name = "DIR",                      \
        .help = "data directory"                                                                   \
    }
#define COMMAND_FORMAT_ROW(settings_type)                                                          \
    {                                                                                              \
        .name = "format", .type = OPTION_TEXT, .offset = offsetof(settings_type, format),          \
        .fallback = "table", .value_name = "table|json", .help = "how to print"                    \
    }

int command_run(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_invoice(int argc, char **argv);
int command_price(int argc, char **argv);

// "tally-billing: COMMAND: text" to standard error; returns the exit code.
int command_usage_error(const char *command, const struct error *error);
int command_failed(const char *command, const struct error *error);
// Opens the database of a data directory.
enum status command_sql(
    const char *data_dir, struct arena *arena, struct sql **out, struct error *error) CHECKED;
