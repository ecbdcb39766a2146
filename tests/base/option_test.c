#include "base/option.h"

#include "base/buffer.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    const char *data;
    const char *config;
    bool color;
    int64_t shards;
    int64_t memory;
    int64_t grace_ns;
    struct option_texts tags;
};

#define AT(field) offsetof(struct settings, field)

static const struct option_row rows[] = {
    {"data",
     OPTION_TEXT, AT(data),
     .env = "TALLY_TEST_DATA",
     .fallback = "./data",
     .value_name = "DIR",
     .help = "data directory"},
    {"config",
     OPTION_TEXT, AT(config),
     .env = "TALLY_TEST_CONFIG",
     .value_name = "FILE",
     .help = "config file, lines of key = value"},
    {"color",
     OPTION_FLAG, AT(color),
     .env = "TALLY_TEST_COLOR",
     .help = "colours, on a terminal only"},
    {"shards",
     OPTION_INT, AT(shards),
     .env = "TALLY_TEST_SHARDS",
     .fallback = "2",
     .min = 1,
     .max = 256,
     .help = "number of shards; fixed at creation, and a longer text to see how it wraps"},
    {"memory",
     OPTION_SIZE, AT(memory),
     .fallback = "64M",
     .min = 1 << 20,
     .max = (int64_t)1 << 40,
     .help = "memory"},
    {"grace",
     OPTION_DURATION, AT(grace_ns),
     .fallback = "5m",
     .is_flag_only = true,
     .help = "grace"},
    {"tag",     OPTION_TEXTS, AT(tags), .env = "TALLY_TEST_TAG", .help = "a tag"},
    {0                       },
};

static const struct option_spec spec = {
    .program = "tally-test",
    .summary = "Tests options.",
    .usage = "[options] FILE...",
    .details = "Exit codes: 0 fine, 2 usage.",
    .rows = rows,
    .positional_min = 0,
    .positional_max = 2,
};

struct result {
    struct settings settings;
    struct option_texts_rest rest;
    struct arena arena;
    struct error error;
    enum option_result result;
};

static void
result_done(struct result *result)
{
    arena_done(&result->arena);
}

// Arguments separated by spaces; "~" stands for an empty one.
static struct result
read_options(const char *line)
{
    struct result result = {0};
    char *argv[32] = {(char *)(uintptr_t) "tally-test"};
    int argc = 1;
    char *copy = arena_text(&result.arena, line);
    for (char *word = strsep(&copy, " "); word != NULL; word = strsep(&copy, " ")) {
        if (*word == '\0')
            continue;
        if (strcmp(word, "~") == 0)
            *word = '\0';
        argv[argc++] = word;
    }
    result.result = options_read(
        &spec, argc, argv, &result.settings, &result.arena, &result.rest, &result.error);
    return result;
}

static void
env_clear(void)
{
    for (const struct option_row *row = rows; row->name != NULL; row++)
        if (row->env != NULL)
            unsetenv(row->env);
}

TestSuite(option, .init = env_clear);

Test(option, defaults_stand_when_nothing_is_given)
{
    scoped(result_done) struct result result = read_options("");
    cr_assert_eq(result.result, OPTION_RUN);
    cr_assert_str_eq(result.settings.data, "./data");
    cr_assert_null(result.settings.config);
    cr_assert_not(result.settings.color);
    cr_assert_eq(result.settings.shards, 2);
    cr_assert_eq(result.settings.memory, 64 << 20);
    cr_assert_eq(result.settings.grace_ns, 300 * 1000000000LL);
    cr_assert_eq(result.settings.tags.count, 0);
    cr_assert_eq(result.rest.count, 0);
}

Test(option, reads_both_spellings_flags_lists_and_the_rest)
{
    scoped(result_done) struct result result = read_options(
        "one --data=/x=y --shards 16 --color --memory 2G --grace=90s --tag a --tag=b --tag c - --");
    cr_assert_eq(result.result, OPTION_RUN, "%s", result.error.text);
    cr_assert_str_eq(result.settings.data, "/x=y");
    cr_assert_eq(result.settings.shards, 16);
    cr_assert(result.settings.color);
    cr_assert_eq(result.settings.memory, (int64_t)2 << 30);
    cr_assert_eq(result.settings.grace_ns, 90000000000);
    cr_assert_eq(result.settings.tags.count, 3);
    cr_assert_str_eq(result.settings.tags.items[0], "a");
    cr_assert_str_eq(result.settings.tags.items[2], "c");
    cr_assert_eq(result.rest.count, 2);
    cr_assert_str_eq(result.rest.items[0], "one");
    cr_assert_str_eq(result.rest.items[1], "-");
}

Test(option, the_last_one_counts)
{
    scoped(result_done) struct result result =
        read_options("--color --no-color --shards 3 --shards 4 --data= ");
    cr_assert_eq(result.result, OPTION_RUN, "%s", result.error.text);
    cr_assert_not(result.settings.color);
    cr_assert_eq(result.settings.shards, 4);
    cr_assert_str_eq(result.settings.data, "");
}

Test(option, two_dashes_end_the_options)
{
    scoped(result_done) struct result result = read_options("-- --shards --help");
    cr_assert_eq(result.result, OPTION_RUN);
    cr_assert_eq(result.rest.count, 2);
    cr_assert_str_eq(result.rest.items[0], "--shards");
    cr_assert_str_eq(result.rest.items[1], "--help");
}

struct refuse_row {
    const char *line;
    const char *message;
};

static const struct refuse_row refused[] = {
    {"--shard 3",                    "unknown option --shard; did you mean --shards?"   },
    {"--colour",                     "unknown option --colour; did you mean --color?"   },
    {"--shrads=3",                   "unknown option --shrads=3; did you mean --shards?"},
    {"--no-data",                    "unknown option --no-data"                         },
    {"--zzzzzzzz",                   "unknown option --zzzzzzzz"                        },
    {"-x",                           "unknown option -x"                                },
    {"-shards",                      "unknown option -shards; did you mean --shards?"   },
    {"--shards",                     "--shards needs a value: --shards N"               },
    {"--data --color",               "--data needs a value: --data DIR"                 },
    {"--color=true",                 "--color takes no value"                           },
    {"--no-color=1",                 "--no-color takes no value"                        },
    {"--shards 0",                   "--shards: 0 is outside 1 to 256"                  },
    {"--shards 257",                 "--shards: 257 is outside 1 to 256"                },
    {"--shards -1",                  "--shards: -1 is outside 1 to 256"                 },
    {"--shards 3x",                  "--shards: \"3x\" is not a whole number"           },
    {"--shards ~",                   "--shards: \"\" is not a whole number"             },
    {"--shards 1.5",                 "is not a whole number"                            },
    {"--shards +1",                  "is not a whole number"                            },
    {"--shards 9223372036854775808", "is not a whole number"                            },
    {"--memory 64X",                 "--memory: \"64X\" is not a size such as"          },
    {"--memory 64m",                 "is not a size such as"                            },
    {"--memory 1K",                  "--memory: 1K is outside 1M to 1T"                 },
    {"--memory 9999999T",            "is not a size"                                    },
    {"--grace 5",                    "--grace: \"5\" is not a duration such as"         },
    {"--grace 5min",                 "is not a duration"                                },
    {"--grace 9999999d",             "is not a duration"                                },
    {"a b c",                        "unexpected argument \"c\""                        },
};

Test(option, refuses_and_says_why)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        scoped(result_done) struct result result = read_options(refused[i].line);
        cr_assert_eq(result.result, OPTION_ERROR, "%s", refused[i].line);
        cr_assert_eq(result.error.status, STATUS_INVALID);
        cr_assert_not_null(
            strstr(result.error.text, refused[i].message),
            "%s: %s",
            refused[i].line,
            result.error.text);
    }
    scoped(result_done) struct result far = read_options("--zzzzzzzz");
    cr_assert_null(strstr(far.error.text, "did you mean"));
}

Test(option, reads_units)
{
    static const struct {
        const char *line;
        int64_t memory;
        int64_t grace_ns;
    } table[] = {
        {"--memory 1048576 --grace 0", 1 << 20,          0               },
        {"--memory 1024K --grace 7ns", 1 << 20,          7               },
        {"--memory 3M --grace 7us",    3 << 20,          7000            },
        {"--memory 5G --grace 250ms",  (int64_t)5 << 30, 250000000       },
        {"--memory 1T --grace 2h",     (int64_t)1 << 40, 7200000000000   },
        {"--memory 1T --grace 36d",    (int64_t)1 << 40, 3110400000000000},
        {"--memory 1T --grace -5s",    (int64_t)1 << 40, -5000000000     },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        scoped(result_done) struct result result = read_options(table[i].line);
        cr_assert_eq(result.result, OPTION_RUN, "%s", result.error.text);
        cr_assert_eq(result.settings.memory, table[i].memory, "row %zu", i);
        cr_assert_eq(result.settings.grace_ns, table[i].grace_ns, "row %zu", i);
    }
}

// Writes a config file and returns its path, which lives in the arena.
static const char *
config_write(struct arena *arena, const char *text)
{
    char *path = arena_text(arena, "/tmp/tally-option-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

Test(option, flags_go_over_environment_over_file_over_default)
{
    scoped(arena_done) struct arena arena = {0};
    const char *path = config_write(
        &arena,
        "# a comment\n\n  data = from file  \nshards=7\r\ncolor = yes\ntag = f1\ntag = f2\n"
        "memory = 2M");
    const char *line = arena_format(&arena, "--config %s", path);
    {
        scoped(result_done) struct result result = read_options(line);
        cr_assert_eq(result.result, OPTION_RUN, "%s", result.error.text);
        cr_assert_str_eq(result.settings.config, path);
        cr_assert_str_eq(result.settings.data, "from file");
        cr_assert_eq(result.settings.shards, 7);
        cr_assert_eq(result.settings.memory, 2 << 20);
        cr_assert(result.settings.color);
        cr_assert_eq(result.settings.tags.count, 2);
        cr_assert_str_eq(result.settings.tags.items[1], "f2");
    }
    setenv("TALLY_TEST_SHARDS", "8", 1);
    setenv("TALLY_TEST_COLOR", "off", 1);
    setenv("TALLY_TEST_TAG", "e1", 1);
    setenv("TALLY_TEST_DATA", "", 1);
    {
        scoped(result_done) struct result result = read_options(line);
        cr_assert_eq(result.result, OPTION_RUN, "%s", result.error.text);
        cr_assert_eq(result.settings.shards, 8);
        cr_assert_not(result.settings.color);
        cr_assert_eq(result.settings.tags.count, 1);
        cr_assert_str_eq(result.settings.tags.items[0], "e1");
        // An empty variable is none.
        cr_assert_str_eq(result.settings.data, "from file");
    }
    line = arena_format(&arena, "--config %s --shards 9 --tag a1 --tag a2 --color", path);
    {
        scoped(result_done) struct result result = read_options(line);
        cr_assert_eq(result.result, OPTION_RUN, "%s", result.error.text);
        cr_assert_eq(result.settings.shards, 9);
        cr_assert(result.settings.color);
        cr_assert_eq(result.settings.tags.count, 2);
        cr_assert_str_eq(result.settings.tags.items[0], "a1");
    }
    setenv("TALLY_TEST_CONFIG", path, 1);
    {
        scoped(result_done) struct result result = read_options("");
        cr_assert_eq(result.settings.memory, 2 << 20);
    }
    unlink(path);
}

Test(option, a_config_file_that_is_wrong_names_file_and_line)
{
    static const struct {
        const char *text;
        const char *message;
    } table[] = {
        {"\n# x\nshard = 3\n",   ":3: unknown setting \"shard\"; did you mean shards?"},
        {"shards 3\n",           ":1: a line must read \"key = value\""               },
        {"= 3\n",                ":1: unknown setting \"\""                           },
        {"shards = 0\n",         ":1: shards: 0 is outside 1 to 256"                  },
        {"color = maybe\n",      ":1: color: \"maybe\" is neither true nor false"     },
        {"grace = 5s\n",         ":1: \"grace\" can be given as --grace only"         },
        {"config = other\n",     ":1: \"config\" can be given as --config only"       },
        {"data = a\nshards = x", ":2: shards: \"x\" is not a whole number"            },
    };
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *path = config_write(&arena, table[i].text);
        scoped(result_done) struct result result =
            read_options(arena_format(&arena, "--config=%s", path));
        unlink(path);
        cr_assert_eq(result.result, OPTION_ERROR, "row %zu", i);
        cr_assert_not_null(strstr(result.error.text, table[i].message), "%s", result.error.text);
        cr_assert_not_null(strstr(result.error.text, path), "%s", result.error.text);
    }
    scoped(result_done) struct result missing = read_options("--config /nonexistent/tally.conf");
    cr_assert_eq(missing.result, OPTION_ERROR);
    cr_assert_not_null(strstr(missing.error.text, "No such file"));
    scoped(result_done) struct result folder = read_options("--config /");
    cr_assert_eq(folder.result, OPTION_ERROR);
    cr_assert_not_null(strstr(folder.error.text, "Is a directory"));
    scoped(result_done) struct result endless = read_options("--config /dev/zero");
    cr_assert_eq(endless.result, OPTION_ERROR);
    cr_assert_not_null(strstr(endless.error.text, "larger than"));
}

Test(option, a_wrong_environment_names_its_variable)
{
    setenv("TALLY_TEST_SHARDS", "many", 1);
    scoped(result_done) struct result result = read_options("");
    cr_assert_eq(result.result, OPTION_ERROR);
    cr_assert_str_eq(result.error.text, "TALLY_TEST_SHARDS: \"many\" is not a whole number");
}

Test(option, asks_for_what_is_required_and_for_arguments)
{
    static const struct option_row required_rows[] = {
        {"data",
         OPTION_TEXT, 0,
         .env = "TALLY_TEST_DATA",
         .is_required = true,
         .help = "directory"},
        {0    },
    };
    struct option_spec required = {
        .program = "p",
        .usage = "--data DIR FILE",
        .rows = required_rows,
        .positional_min = 1,
        .positional_max = -1};
    struct arena arena = {0};
    struct error error = {0};
    const char *data = NULL;
    struct option_texts_rest rest = {0};
    char *argv[] = {
        (char *)(uintptr_t) "p", (char *)(uintptr_t) "file", (char *)(uintptr_t) "more"};
    cr_assert_eq(options_read(&required, 2, argv, &data, &arena, &rest, &error), OPTION_ERROR);
    cr_assert_str_eq(error.text, "--data is required (or $TALLY_TEST_DATA)");
    setenv("TALLY_TEST_DATA", "d", 1);
    cr_assert_eq(options_read(&required, 1, argv, &data, &arena, &rest, &error), OPTION_ERROR);
    cr_assert_str_eq(error.text, "p: an argument is missing; usage: p --data DIR FILE");
    cr_assert_eq(options_read(&required, 3, argv, &data, &arena, &rest, &error), OPTION_RUN);
    cr_assert_str_eq(data, "d");
    cr_assert_eq(rest.count, 2);
    arena_done(&arena);
}

Test(option, help_comes_from_the_rows)
{
    cr_redirect_stdout();
    scoped(result_done) struct result result = read_options("--unknown --help");
    cr_assert_eq(result.result, OPTION_EXIT);
    fflush(stdout);
    cr_assert_stdout_eq_str(
        "Usage: tally-test [options] FILE...\n"
        "\n"
        "Tests options.\n"
        "\n"
        "Options:\n"
        "  --data DIR     data directory [default ./data, $TALLY_TEST_DATA]\n"
        "  --config FILE  config file, lines of key = value [$TALLY_TEST_CONFIG]\n"
        "  --color        colours, on a terminal only [$TALLY_TEST_COLOR]\n"
        "  --shards N     number of shards; fixed at creation, and a longer text to see\n"
        "                 how it wraps [default 2, $TALLY_TEST_SHARDS]\n"
        "  --memory SIZE  memory [default 64M]\n"
        "  --grace TIME   grace [default 5m]\n"
        "  --tag TEXT     a tag [$TALLY_TEST_TAG, may be repeated]\n"
        "  --help         show this help and exit\n"
        "  --version      show the version and exit\n"
        "\n"
        "Exit codes: 0 fine, 2 usage.\n");
}

Test(option, tells_its_version)
{
    cr_redirect_stdout();
    scoped(result_done) struct result result = read_options("--version");
    cr_assert_eq(result.result, OPTION_EXIT);
    fflush(stdout);
    cr_assert_stdout_eq_str("tally-test 0.1.0\n");
}
