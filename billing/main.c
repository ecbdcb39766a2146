// tally-billing: the batch and its money. Finds the command in one table and runs it.

#include "base/clock.h"
#include "base/log.h"
#include "billing/command.h"
#include "ledger/lmdb_crash.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct command commands[] = {
    {"run",     command_run,     "bill every period that is over and has no invoice" },
    {"explain", command_explain, "compute an invoice again and say how it came about"},
    {"invoice", command_invoice, "list invoices, or show one"                        },
    {"price",   command_price,   "price cases given as JSON lines"                   },
};
enum { COMMANDS_COUNT = sizeof commands / sizeof commands[0] };

static int
help_print(FILE *out)
{
    fputs("usage: tally-billing COMMAND [options]\n\n", out);
    fputs("Turns metered usage into invoices.\n\n", out);
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].help);
    fputs("\n`tally-billing COMMAND --help` says more about one.\n", out);
    return out == stdout ? EXIT_DONE : EXIT_USAGE;
}

int
main(int argc, char **argv)
{
    struct error error;
    // A closed pipe or connection is an error of the write, not the end of the process.
    signal(SIGPIPE, SIG_IGN);
    crash_guard();
    log_init("tally-billing", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    if (argc < 2)
        return help_print(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return help_print(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        printf("tally-billing %s\n", TALLY_VERSION);
        return EXIT_DONE;
    }
    if (clock_init(&error) != STATUS_OK)
        return command_failed("start", &error);
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "tally-billing: there is no command %s\n", argv[1]);
    return help_print(stderr);
}
