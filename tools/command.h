#pragma once
// The subcommands of `tally`: one function each, found by name in the table of main.c.
//
//     int cmd_usage(int argc, char **argv)      // argv[0] is "usage"; returns the exit code
//     {
//         options_read(&spec, argc, argv, &settings, &arena, &rest, &error) ...
//     }
//
// Exit codes: EXIT_OK, EXIT_FAILED (it could not be done, or what was asked about is not well),
// EXIT_USAGE (the command line is wrong). Every command takes --data DIR, by default
// COMMAND_DATA_DIR, with the environment variable COMMAND_DATA_ENV between them. Thread: main.

#include "base/option.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define COMMAND_DATA_ENV "TALLY_DATA"
#define COMMAND_DATA_DIR "./tally-data"

// The row of --data for a settings struct with a member `const char *data`.
#define COMMAND_DATA_ROW(settings_type)                                                            \
    {                                                                                              \
        .name = "data", .type = OPTION_TEXT, .offset = offsetof(settings_type, data),              \
        .env = COMMAND_DATA_ENV, .fallback = COMMAND_DATA_DIR, .value_name = "DIR",                \
        .help = "data directory"                                                                   \
    }

// The row of --format for a settings struct with a member `const char *format`. forms: those that
// the command knows, such as "table|json|tsv"; first is the one it takes without the option.
#define COMMAND_FORMAT_ROW(settings_type, first, forms)                                            \
    {                                                                                              \
        .name = "format", .type = OPTION_TEXT, .offset = offsetof(settings_type, format),          \
        .fallback = (first), .value_name = (forms), .help = "form of the answer"                   \
    }

int cmd_up(int argc, char **argv);
int cmd_down(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_usage(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_meter(int argc, char **argv);
int cmd_threshold(int argc, char **argv);
int cmd_ledger(int argc, char **argv);
int cmd_catalog(int argc, char **argv);
int cmd_customer(int argc, char **argv);
int cmd_subscribe(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
int cmd_key(int argc, char **argv);

// The moment that an option names; *out_ns stays when text is NULL.
enum status
command_time(const char *text, const char *option, int64_t *out_ns, struct error *error) CHECKED;

// Prints "tally COMMAND: text" to standard error, for OPTION_ERROR with where help is; returns the
// exit code.
int command_usage_error(const char *command, const struct error *error);
int command_failed(const char *command, const struct error *error);
