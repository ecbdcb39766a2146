// tally-bench: measures tally on this machine. A command each, in a file of its own.
#include "base/clock.h"
#include "base/option.h"
#include "bench/http.h"
#include "bench/load.h"
#include "bench/micro.h"
#include "bench/peers.h"
#include "bench/plan.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} COMMANDS[] = {
    {"load",  load_main,  "events a second, acked, at which latency and cost"           },
    {"http",  http_main,  "events and usage queries over HTTP"                          },
    {"peers", peers_main, "the same events to tally and to what one would run instead"  },
    {"plan",  plan_main,  "cores, memory, disk and nodes for a load, from measured runs"},
    {"micro", micro_main, "single parts by themselves: usage questions"                 },
};

static void
usage_print(FILE *out)
{
    fputs("usage: tally-bench COMMAND [options]\n\nMeasures tally on this machine.\n\n", out);
    for (size_t i = 0; i < sizeof COMMANDS / sizeof COMMANDS[0]; i++)
        fprintf(out, "  %-8s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    fputs("\ntally-bench COMMAND --help says more.\n", out);
}

int
main(int argc, char **argv)
{
    struct error error;
    const char *name = argc > 1 ? argv[1] : "";
    if (clock_init(&error) != STATUS_OK) {
        fprintf(stderr, "tally-bench: %s\n", error.text);
        return 1;
    }
    for (size_t i = 0; i < sizeof COMMANDS / sizeof COMMANDS[0]; i++)
        if (strcmp(name, COMMANDS[i].name) == 0)
            return COMMANDS[i].run(argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0) {
        usage_print(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("tally-bench %s\n", TALLY_VERSION);
        return 0;
    }
    if (name[0] != '\0')
        fprintf(stderr, "tally-bench: there is no command %s\n", name);
    usage_print(stderr);
    return 2;
}
