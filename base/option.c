#include "base/option.h"

#include "base/assert.h"
#include "base/option_parts.h"

#include <stdio.h>
#include <stdlib.h>

const char TALLY_VERSION[] = "0.1.0";

// An option as it was given, kept until the weaker sources are read.
struct given {
    const struct option_row *row;
    const char *place;  // as written: "--no-color"
    const char *text;
};

struct arguments {
    struct given *given;
    size_t given_count;
    struct option_texts_rest rest;
};

const struct option_row *
option_find(const struct option_spec *spec, struct bytes name)
{
    for (const struct option_row *row = spec->rows; row->name != NULL; row++)
        if (bytes_equal(bytes_text(row->name), name))
            return row;
    return NULL;
}

// --help and --version count wherever they stand, so that they help when the rest is wrong.
static bool
print_wanted(const struct option_spec *spec, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            option_help_print(spec);
            return true;
        }
        if (strcmp(argv[i], "--version") == 0) {
            (void)printf("%s %s\n", spec->program, TALLY_VERSION);
            (void)fflush(stdout);
            return true;
        }
    }
    return false;
}

static enum status
refuse_unknown(struct option_reader *reader, const char *argument)
{
    struct bytes name = bytes_text(argument);
    while (name.size > 0 && name.data[0] == '-') {
        name.data++;
        name.size--;
    }
    const uint8_t *equals = memchr(name.data, '=', name.size);
    if (equals != NULL)
        name.size = (size_t)(equals - name.data);
    const struct option_row *near = option_nearest(reader->spec, name);
    const char *hint = near ? arena_format(reader->arena, "; did you mean --%s?", near->name) : "";
    return error_set(reader->error, STATUS_INVALID, "unknown option %s%s", argument, hint);
}

// The flag that "--no-name" switches off, or NULL.
static const struct option_row *
find_negated(const struct option_spec *spec, struct bytes name)
{
    if (name.size <= 3 || memcmp(name.data, "no-", 3) != 0)
        return NULL;
    const struct option_row *row = option_find(spec, bytes_of(name.data + 3, name.size - 3));
    return row != NULL && row->type == OPTION_FLAG ? row : NULL;
}

// Reads the option at argv[*index], and the argument after it when that is its value.
static enum status
option_argument_read(
    struct option_reader *reader, int argc, char **argv, int *index, struct given *out)
{
    const char *argument = argv[*index];
    const char *equals = strchr(argument, '=');
    size_t end = equals ? (size_t)(equals - argument) : strlen(argument);
    struct bytes name =
        argument[1] == '-' ? bytes_of(argument + 2, end - 2) : bytes_of(argument, 0);
    const struct option_row *row = option_find(reader->spec, name);
    bool is_negated = row == NULL;
    if (is_negated)
        row = find_negated(reader->spec, name);
    if (row == NULL)
        return refuse_unknown(reader, argument);

    out->place = arena_text_of(reader->arena, bytes_of(argument, end));
    out->row = row;
    if (row->type == OPTION_FLAG) {
        if (equals != NULL)
            return error_set(reader->error, STATUS_INVALID, "%s takes no value", out->place);
        out->text = is_negated ? "false" : "true";
        return STATUS_OK;
    }
    if (equals != NULL) {
        out->text = equals + 1;
        return STATUS_OK;
    }
    // What begins with two dashes is the next option; such a value can be given with "=".
    if (*index + 1 >= argc || strncmp(argv[*index + 1], "--", 2) == 0)
        return error_set(
            reader->error,
            STATUS_INVALID,
            "%s needs a value: %s %s",
            out->place,
            out->place,
            option_value_name(row));
    *index += 1;
    out->text = argv[*index];
    return STATUS_OK;
}

// Sorts argv into options and the rest. A lone "-" is no option.
static enum status
arguments_read(struct option_reader *reader, int argc, char **argv, struct arguments *out)
{
    size_t count = argc > 0 ? (size_t)argc : 1;
    out->given = arena_array(reader->arena, count, struct given);
    out->rest.items = arena_array(reader->arena, count, const char *);
    bool is_ended = false;
    for (int i = 1; i < argc; i++) {
        if (!is_ended && strcmp(argv[i], "--") == 0) {
            is_ended = true;
        } else if (is_ended || argv[i][0] != '-' || argv[i][1] == '\0') {
            out->rest.items[out->rest.count++] = argv[i];
        } else {
            enum status status =
                option_argument_read(reader, argc, argv, &i, &out->given[out->given_count]);
            if (status)
                return status;
            out->given_count++;
        }
    }
    return STATUS_OK;
}

static void
fallbacks_store(struct option_reader *reader)
{
    for (const struct option_row *row = reader->spec->rows; row->name != NULL; row++) {
        if (row->fallback == NULL)
            continue;
        enum status status =
            option_store(reader, row, OPTION_SOURCE_FALLBACK, row->name, row->fallback);
        // A default that its own row refuses is a mistake in the table.
        must(status == STATUS_OK);
    }
}

// An empty variable counts as none: that is how shells and unit files switch one off.
static const char *
env_text(const struct option_row *row)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): main, at start
    const char *text = row->env ? getenv(row->env) : NULL;
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static enum status
env_store(struct option_reader *reader)
{
    for (const struct option_row *row = reader->spec->rows; row->name != NULL; row++) {
        const char *text = env_text(row);
        if (text == NULL)
            continue;
        enum status status = option_store(reader, row, OPTION_SOURCE_ENV, row->env, text);
        if (status)
            return status;
    }
    return STATUS_OK;
}

static enum status
given_store(struct option_reader *reader, const struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->given_count; i++) {
        const struct given *given = &arguments->given[i];
        enum status status =
            option_store(reader, given->row, OPTION_SOURCE_ARGUMENT, given->place, given->text);
        if (status)
            return status;
    }
    return STATUS_OK;
}

// The config file has to be known before the sources that are stronger than it are stored.
static enum status
file_store(struct option_reader *reader, const struct arguments *arguments)
{
    const struct option_row *row = option_find(reader->spec, bytes_text("config"));
    if (row == NULL || row->type != OPTION_TEXT)
        return STATUS_OK;
    const char *path = env_text(row);
    for (size_t i = 0; i < arguments->given_count; i++)
        if (arguments->given[i].row == row)
            path = arguments->given[i].text;
    if (path == NULL)
        path = row->fallback;
    return path != NULL ? option_file_read(reader, path) : STATUS_OK;
}

static enum status
required_check(const struct option_reader *reader)
{
    for (size_t i = 0; i < reader->rows_count; i++) {
        const struct option_row *row = &reader->spec->rows[i];
        if (!row->is_required || reader->sources[i] != OPTION_SOURCE_NONE)
            continue;
        const char *or_env = row->env ? arena_format(reader->arena, " (or $%s)", row->env) : "";
        return error_set(reader->error, STATUS_INVALID, "--%s is required%s", row->name, or_env);
    }
    return STATUS_OK;
}

static enum status
rest_check(const struct option_reader *reader, const struct option_texts_rest *rest)
{
    const struct option_spec *spec = reader->spec;
    must(spec->positional_min >= 0);
    if (rest->count < (size_t)spec->positional_min)
        return error_set(
            reader->error,
            STATUS_INVALID,
            "%s: an argument is missing; usage: %s %s",
            spec->program,
            spec->program,
            spec->usage ? spec->usage : "[options]");
    // A negative maximum is none.
    if (spec->positional_max >= 0 && rest->count > (size_t)spec->positional_max)
        return error_set(
            reader->error,
            STATUS_INVALID,
            "unexpected argument \"%s\"",
            rest->items[spec->positional_max]);
    return STATUS_OK;
}

// The sources, the weakest first.
static enum status
sources_store(struct option_reader *reader, const struct arguments *arguments)
{
    fallbacks_store(reader);
    enum status status = file_store(reader, arguments);
    if (!status)
        status = env_store(reader);
    if (!status)
        status = given_store(reader, arguments);
    return status;
}

enum option_result
options_read(  // NOLINT(readability-function-size): what main has to say, once a program
    const struct option_spec *spec,
    int argc,
    char **argv,
    void *settings,
    struct arena *arena,
    struct option_texts_rest *out_rest,
    struct error *error)
{
    if (print_wanted(spec, argc, argv))
        return OPTION_EXIT;
    struct option_reader reader = {
        .spec = spec, .settings = settings, .arena = arena, .error = error};
    while (spec->rows[reader.rows_count].name != NULL)
        reader.rows_count++;
    reader.sources = arena_array(arena, reader.rows_count, enum option_source);

    struct arguments arguments = {0};
    enum status status = arguments_read(&reader, argc, argv, &arguments);
    if (!status)
        status = sources_store(&reader, &arguments);
    if (!status)
        status = required_check(&reader);
    if (!status)
        status = rest_check(&reader, &arguments.rest);
    if (status)
        return OPTION_ERROR;
    if (out_rest != NULL)
        *out_rest = arguments.rest;
    return OPTION_RUN;
}
