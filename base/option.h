#pragma once
// Program options as a table: flags over environment over config file over default (DESIGN 9).
//
//     static const struct option_row rows[] = {
//         {"data", OPTION_TEXT, .offset = offsetof(struct settings, data), .env = "TALLY_DATA",
//          .fallback = "./data", .value_name = "DIR", .help = "data directory"},
//         {"shards", OPTION_INT, .offset = ..., .fallback = "2", .min = 1, .max = 256, ...},
//     };
//     enum option_result r = options_read(&spec, argc, argv, &settings, &rest, &error);
//
// --help and --version are handled here (printed to standard output). "--name value" and
// "--name=value"; a flag (OPTION_FLAG) takes no value, "--no-name" sets it false. Unknown options
// are errors that name the nearest known one. "--" ends options; what is no option is positional
// and returned in order. A row named "config" of type OPTION_TEXT names the config file: "key =
// value" lines, '#' comments, unknown keys are errors with file and line. Sizes take K, M, G, T
// (binary) suffixes; durations ns, us, ms, s, m, h, d. Texts point into argv, the environment or
// the arena. Thread: main, at start.

#include "base/arena.h"
#include "base/status.h"

#include <stdint.h>

enum option_type {
    OPTION_TEXT,      // const char *
    OPTION_FLAG,      // bool
    OPTION_INT,       // int64_t
    OPTION_SIZE,      // int64_t bytes
    OPTION_DURATION,  // int64_t nanoseconds
    OPTION_TEXTS,     // struct option_texts, the option may be repeated
};

struct option_texts {
    const char **items;
    size_t count;
};

struct option_row {
    const char *name;  // without dashes; NULL ends the table
    enum option_type type;
    size_t offset;         // into the settings struct
    const char *env;       // environment variable, or NULL
    const char *fallback;  // default as text, or NULL (NULL, false, 0)
    int64_t min, max;      // inclusive, for numbers; both 0: no bound
    const char *value_name;
    const char *help;
    bool is_required;
    bool is_flag_only;  // not readable from the config file
};

struct option_spec {
    const char *program;  // "tallyd", or "tally ledger verify"
    const char *summary;  // one line
    const char *usage;    // what follows the program's name, e.g. "[options] FILE"
    const char *details;  // text after the table of options (examples, exit codes), or NULL
    const struct option_row *rows;
    int positional_min, positional_max;
};

enum option_result {
    OPTION_RUN,    // go on
    OPTION_EXIT,   // help or version was printed: exit 0
    OPTION_ERROR,  // error is filled: print it with "try --help", exit 2
};

struct option_texts_rest {
    const char **items;  // positional arguments
    size_t count;
};

enum option_result options_read(
    const struct option_spec *spec,
    int argc,
    char **argv,
    void *settings,
    struct arena *arena,
    struct option_texts_rest *out_rest,
    struct error *error) CHECKED;

// The version printed by every --version: "PROGRAM 0.1.0".
extern const char TALLY_VERSION[];
