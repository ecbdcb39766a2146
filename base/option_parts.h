#pragma once
// What the files of base/option share with each other, and nobody else includes.
//
//     option.c        the order of sources, arguments, what must be there
//     option_value.c  text to value: types, suffixes, bounds
//     option_file.c   the config file
//     option_help.c   --help, and the nearest name to one that is unknown
//
// Owner: options_read, for the time of its call. Thread: main.

#include "base/option.h"

// Later sources win.
enum option_source {
    OPTION_SOURCE_NONE,
    OPTION_SOURCE_FALLBACK,
    OPTION_SOURCE_FILE,
    OPTION_SOURCE_ENV,
    OPTION_SOURCE_ARGUMENT,
};

struct option_reader {
    const struct option_spec *spec;
    size_t rows_count;
    enum option_source *sources;  // by row: where its value came from
    void *settings;
    struct arena *arena;
    struct error *error;
};

// NULL when there is none.
const struct option_row *option_find(const struct option_spec *spec, struct bytes name);
// The row whose name is nearest to an unknown one, NULL when none is near.
const struct option_row *option_nearest(const struct option_spec *spec, struct bytes name);

// Reads text as the row's type and stores it. place names the source in messages ("--shards",
// "tally.conf:3: shards"). text must live as long as the settings.
enum status option_store(
    struct option_reader *reader,
    const struct option_row *row,
    enum option_source source,
    const char *place,
    const char *text) CHECKED;

enum status option_file_read(struct option_reader *reader, const char *path) CHECKED;

// The default name of a value in help: "DIR" of "--data DIR". NULL for a flag.
const char *option_value_name(const struct option_row *row);
void option_help_print(const struct option_spec *spec);
