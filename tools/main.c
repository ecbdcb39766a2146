// The operator's command: finds the subcommand in one table and runs it.
//
//     tally up            the stack of ./tally-data
//     tally help usage    the same as `tally usage --help`

#include "base/clock.h"
#include "base/log.h"
#include "ledger/lmdb_crash.h"
#include "tools/command.h"
#include "tools/nearest.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct command commands[] = {
    {"up",        cmd_up,        "start everything of a data directory"           },
    {"down",      cmd_down,      "stop what `tally up` started"                   },
    {"status",    cmd_status,    "what runs, where, and whether it is well"       },
    {"migrate",   cmd_migrate,   "bring the database's tables up to date"         },
    {"catalog",   cmd_catalog,   "apply meters, plans and charges from a file"    },
    {"customer",  cmd_customer,  "add and list customers"                         },
    {"subscribe", cmd_subscribe, "subscribe a customer to a plan"                 },
    {"key",       cmd_key,       "make, list and revoke keys of the HTTP API"     },
    {"meter",     cmd_meter,     "add, list and remove meters"                    },
    {"threshold", cmd_threshold, "limits that fire, and what is left of them"     },
    {"import",    cmd_import,    "send the rows of CSV and NDJSON files as events"},
    {"usage",     cmd_usage,     "ask how much was used"                          },
    {"events",    cmd_events,    "list events, and why a meter cannot use them"   },
    {"ledger",    cmd_ledger,    "look into a ledger, cut it, correct its events" },
};
enum { COMMANDS_COUNT = sizeof commands / sizeof commands[0] };

static void
help_print(FILE *out)
{
    fputs("usage: tally COMMAND [options]\n\n", out);
    fputs("The operator's command of tally: metered usage, turned into money.\n\n", out);
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\n`tally help COMMAND` or `tally COMMAND --help` says more about one.\n", out);
    fputs("Every command takes --data DIR, else TALLY_DATA, else ./tally-data.\n", out);
    fputs("Bills are made by `tally-billing run`.\n", out);
}

static const struct command *
command_find(const char *name)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int
command_unknown(const char *name)
{
    const char *names[COMMANDS_COUNT];
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        names[i] = commands[i].name;
    const char *nearest = nearest_name(name, names, COMMANDS_COUNT);
    fprintf(stderr, "tally: there is no command `%s`", name);
    if (nearest)
        fprintf(stderr, "; did you mean `%s`?", nearest);
    fputs("\nTry `tally help`.\n", stderr);
    return EXIT_USAGE;
}

static int
command_help(const char *name)
{
    const struct command *command = command_find(name);
    if (!command)
        return command_unknown(name);
    char own_name[32];
    char help[] = "--help";
    snprintf(own_name, sizeof own_name, "%s", command->name);
    char *argv[] = {own_name, help, NULL};
    return command->run(2, argv);
}

static bool
is_any_of(const char *text, const char *a, const char *b, const char *c)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

// What was to be said and could not be is a failure, whatever was done.
static int
command_end(const struct command *command, int code)
{
    struct error error = {0};
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    (void)error_set_errno(&error, "cannot write all of it to standard output");
    return command_failed(command->name, &error);
}

int
main(int argc, char **argv)
{
    crash_guard();
    if (argc < 2) {
        help_print(stderr);
        return EXIT_USAGE;
    }
    if (is_any_of(argv[1], "help", "--help", "-h")) {
        if (argc > 2)
            return command_help(argv[2]);
        help_print(stdout);
        return EXIT_OK;
    }
    if (is_any_of(argv[1], "version", "--version", "-V")) {
        printf("tally %s\n", TALLY_VERSION);
        return EXIT_OK;
    }
    const struct command *command = command_find(argv[1]);
    if (!command)
        return command_unknown(argv[1]);
    log_init("tally", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    struct error error = {0};
    if (clock_init(&error))
        return command_failed(command->name, &error);
    return command_end(command, command->run(argc - 1, argv + 1));
}
