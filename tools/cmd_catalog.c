#include "base/clock.h"
#include "base/sql.h"
#include "base/table.h"
#include "billing/catalog_apply.h"
#include "tools/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CATALOG_FILE_MAX = 16 * 1024 * 1024 };

struct settings {
    const char *data;
    bool is_dry;
    bool is_verbose;
};

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "dry-run",
                       .type = OPTION_FLAG,
                       .offset = offsetof(struct settings, is_dry),
                       .help = "show what would change, change nothing"},
    {.name = "verbose",
                       .type = OPTION_FLAG,
                       .offset = offsetof(struct settings, is_verbose),
                       .help = "also list what stays as it is"},
    {0},
};

static const struct option_spec spec = {
    .program = "tally catalog",
    .summary = "Applies a catalogue file: meters, plans and their charges.",
    .usage = "[options] apply FILE",
    .details =
        "Applying the same file again changes nothing. A file with an error changes nothing\n"
        "and names the place. Plans that the file does not name are left alone.\n"
        "The format: docs/catalog.md; an example: billing/catalog/aura.json.",
    .rows = rows,
    .positional_min = 2,
    .positional_max = 2,
};

static enum status
file_read(const char *path, struct buffer *out, struct error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set_errno(error, "open %s", path);
    size_t size = 1;
    while (size > 0 && out->size <= CATALOG_FILE_MAX) {
        char piece[16384];
        size = fread(piece, 1, sizeof piece, file);
        buffer_put(out, piece, size);
    }
    bool is_broken = ferror(file) != 0;
    fclose(file);
    if (is_broken)
        return error_set_errno(error, "read %s", path);
    if (out->size > CATALOG_FILE_MAX)
        return error_set(error, STATUS_FULL, "%s is larger than 16 MiB", path);
    return STATUS_OK;
}

// What errors call the file: its last name.
static const char *
file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void
changes_print(
    const struct catalog_changes *changes, const struct settings *settings, struct arena *arena)
{
    static const struct table_column columns[] = {
        {"change", TABLE_LEFT},
        {"what",   TABLE_LEFT},
        {"name",   TABLE_LEFT},
        {"",       TABLE_LEFT},
    };
    scoped(buffer_done) struct buffer out = {0};
    struct table table = table_over(arena, columns, 4);
    size_t shown = 0;
    for (size_t i = 0; i < changes->count; i++) {
        const struct catalog_change *change = &changes->items[i];
        if (change->kind == CATALOG_UNCHANGED && !settings->is_verbose)
            continue;
        table_row(
            &table,
            (const char *const[]){
                catalog_change_name(change->kind), change->what, change->name, change->note});
        shown++;
    }
    if (shown > 0)
        table_print(&table, TABLE_TEXT, &out);
    if (!changes->is_new_version)
        buffer_format(&out, "unchanged: catalogue version %" PRId64 "\n", changes->version);
    else
        buffer_format(
            &out,
            "%s catalogue version %" PRId64 "\n",
            settings->is_dry ? "would make" : "made",
            changes->version);
    fwrite(out.data, 1, out.size, stdout);
}

static enum status
apply(
    const struct settings *settings,
    const struct catalog *catalog,
    struct arena *arena,
    struct catalog_changes *out,
    struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    struct registry *registry = NULL;
    const char *url = NULL;
    enum status status = sql_url(settings->data, arena, &url, error);
    if (status == STATUS_OK)
        status = sql_open(url, SQL_TIMEOUT_MS, &sql, error);
    if (status == STATUS_OK)
        status = registry_open(settings->data, &registry, error);
    if (status == STATUS_NOT_FOUND && sql != NULL)
        return error_set(
            error, status, "there is no ledger in %s: run `tally up` first", settings->data);
    if (status)
        return status;
    const struct catalog_apply_options options = {clock_now_ns(), settings->is_dry};
    const struct catalog_target target = {sql, registry};
    status = catalog_apply(&target, catalog, &options, arena, out, error);
    registry_close(registry);
    return status;
}

static int
catalog_run(const struct settings *settings, const char *path, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    struct catalog catalog;
    struct catalog_changes changes = {0};
    struct error error;
    enum status status = file_read(path, &text, &error);
    if (status == STATUS_OK)
        status = catalog_read(buffer_view(&text), file_name(path), arena, &catalog, &error);
    if (status == STATUS_OK)
        status = apply(settings, &catalog, arena, &changes, &error);
    if (status)
        return command_failed("catalog", &error);
    changes_print(&changes, settings, arena);
    return EXIT_OK;
}

int
cmd_catalog(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest = {0};
    struct error error;
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("catalog", &error);
    case OPTION_RUN: break;
    }
    if (strcmp(rest.items[0], "apply") != 0) {
        error_set(&error, STATUS_INVALID, "expected `apply FILE`, not `%s`", rest.items[0]);
        return command_usage_error("catalog", &error);
    }
    return catalog_run(&settings, rest.items[1], &arena);
}
