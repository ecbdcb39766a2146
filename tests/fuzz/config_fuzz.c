// Config files. What is read lies within the bounds of its row; what is refused says where; and two
// readings agree.

#include "base/assert.h"
#include "base/option.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
    const char *config, *data;
    bool is_loud;
    int64_t shards, memory, timeout_ns;
    struct option_texts zones;
};

enum { SHARDS_MAX = 256 };

#define AT(member) .offset = offsetof(struct settings, member)

static const struct option_row rows[] = {
    {.name = "config",      .type = OPTION_TEXT, AT(config), .is_flag_only = true},
    {.name = "data",           .type = OPTION_TEXT, AT(data), .fallback = "./data"},
    {.name = "loud",                     .type = OPTION_FLAG, AT(is_loud)},
    {.name = "shards",
     .type = OPTION_INT,
     AT(shards),
     .fallback = "2",
     .min = 1,
     .max = SHARDS_MAX},
    {.name = "memory", .type = OPTION_SIZE, AT(memory), .fallback = "1M"},
    {.name = "timeout",
     .type = OPTION_DURATION,
     AT(timeout_ns),
     .fallback = "1s",
     .min = 1,
     .max = INT64_MAX},
    {.name = "zone",          .type = OPTION_TEXTS, AT(zones)},
    {0     },
};

static const struct option_spec spec = {
    .program = "fuzz", .summary = "none", .usage = "[options]", .rows = rows};

static enum option_result
file_read(const char *path, struct arena *arena, struct settings *out, struct error *error)
{
    char program[] = "fuzz";
    char option[] = "--config";
    char value[64];
    struct option_texts_rest rest;
    (void)snprintf(value, sizeof value, "%s", path);
    char *arguments[] = {program, option, value, NULL};
    return options_read(&spec, 3, arguments, out, arena, &rest, error);
}

static void
settings_compare(const struct settings *a, const struct settings *b)
{
    must(strcmp(a->data, b->data) == 0);
    must(a->is_loud == b->is_loud && a->shards == b->shards);
    must(a->memory == b->memory && a->timeout_ns == b->timeout_ns);
    must(a->zones.count == b->zones.count);
    for (size_t i = 0; i < a->zones.count; i++)
        must(strcmp(a->zones.items[i], b->zones.items[i]) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings first = {0};
    struct settings second = {0};
    struct error error = {0};
    char path[64];
    int fd = memfd_create("config", MFD_CLOEXEC);
    must(fd >= 0);
    ssize_t written = size > 0 ? pwrite(fd, data, size, 0) : 0;
    must(written == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum option_result result = file_read(path, &arena, &first, &error);
    must(result != OPTION_EXIT);
    must((result == OPTION_ERROR) == (error.text[0] != '\0'));
    if (result == OPTION_RUN) {
        must(first.shards >= 1 && first.shards <= SHARDS_MAX && first.timeout_ns >= 1);
        result = file_read(path, &arena, &second, &error);
        must(result == OPTION_RUN);
        settings_compare(&first, &second);
    }
    (void)close(fd);
    return 0;
}
