#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"
#include "ledger/dump.h"
#include "tests/ledger/workload.h"

#include <stdio.h>
#include <string.h>

// The log as `dump` prints it is the list of stored events: of each subject the same ones, in the
// same order. Properties are left to the questions, which read them.

struct dumped {
    const struct workload *workload;
    struct arena arena;
    bool *is_seen;
};

static bool
text_is(const struct json *line, const char *name, const char *wanted)
{
    char member[32];
    (void)snprintf(member, sizeof member, "%s_base64", name);
    if (json_member(line, member) != NULL)
        return true;  // no UTF-8
    const struct json *value = json_member(line, name);
    return value == NULL ? *wanted == '\0' : json_is_text(value, wanted);
}

static bool
line_is(const struct json *line, const struct model_event *event, struct arena *arena)
{
    int64_t time_ns = 0;
    int64_t position = 0;
    bool is_chunk = event->id[0] == '\0' && event->chunk[0] != '\0';
    const struct json *value = json_member(line, "value");
    if (clock_parse(json_member(line, "time")->text, &time_ns) || time_ns != event->time_ns)
        return false;
    if (is_chunk && json_int64(json_member(line, "chunk_position"), &position))
        return false;
    return text_is(line, "subject", event->subject) && text_is(line, "type", event->type) &&
           text_is(line, "id", is_chunk ? event->chunk : event->id) &&
           text_is(line, "source", event->source) && text_is(line, "batch", event->batch) &&
           (!is_chunk || position == event->chunk_position) &&
           model_units(arena_text_of(arena, value->text)) == event->value;
}

// The first event of the line's subject that was not seen yet must be the line's; before the first
// one of all some may be gone.
static bool
line_find(struct dumped *dumped, const struct json *line)
{
    const struct model *model = &dumped->workload->model;
    bool has_base64 = json_member(line, "subject_base64") != NULL;
    bool may_be_gone = dumped->workload->keep_log_ns > 0;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct model_event *event = &model->events[i];
        bool is_binary = strchr(event->subject, '\xff') != NULL;
        if (event->is_amend || is_binary != has_base64 || !text_is(line, "subject", event->subject))
            continue;
        may_be_gone = may_be_gone && !dumped->is_seen[i];
        if (dumped->is_seen[i])
            continue;
        dumped->is_seen[i] = line_is(line, event, &dumped->arena);
        if (dumped->is_seen[i] || !may_be_gone)
            return dumped->is_seen[i];
    }
    return false;
}

// What is gone is old enough.
static void
check_gone(const struct dumped *dumped)
{
    const struct workload *workload = dumped->workload;
    for (uint32_t i = 0; i < workload->model.count; i++) {
        const struct model_event *event = &workload->model.events[i];
        bool is_old =
            workload->keep_log_ns > 0 && event->time_ns < workload_now_ns - workload->keep_log_ns;
        if (!event->is_amend && !dumped->is_seen[i] && !is_old)
            fail(workload, "dump: event %u (id %s) of the model is not there", i, event->id);
    }
}

// Up to the properties: they may hold a key twice, which JSON does not take.
static struct json *
line_parse(struct dumped *dumped, struct bytes text)
{
    static const char properties[] = ",\"properties";
    const struct json_limits limits = {0};
    struct json *line;
    struct error error = {0};
    const uint8_t *cut = memmem(text.data, text.size, properties, strlen(properties));
    must(cut != NULL);
    const char *head =
        arena_format(&dumped->arena, "%.*s}", (int)(cut - text.data), (const char *)text.data);
    succeed(
        dumped->workload,
        json_parse(bytes_text(head), &limits, &dumped->arena, &line, &error),
        &error);
    return line;
}

static bool
on_lines(void *context, struct bytes lines)
{
    struct dumped *dumped = context;
    const uint8_t *end = lines.data + lines.size;
    static const char kind[] = "\"kind\":";  // of what is no event
    for (const uint8_t *at = lines.data; at < end;) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        must(newline != NULL);
        struct bytes text = bytes_of(at, (size_t)(newline - at));
        bool is_event = memmem(text.data, text.size, kind, strlen(kind)) == NULL;
        if (is_event && !line_find(dumped, line_parse(dumped, text)))
            fail(
                dumped->workload,
                "dump: not the next of its subject: %.*s",
                (int)text.size,
                (const char *)text.data);
        at = newline + 1;
    }
    return true;
}

void
check_dump(const struct workload *workload)
{
    struct error error = {0};
    struct dumped dumped = {.workload = workload};
    const struct dump_options options = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    dumped.is_seen = arena_array(&dumped.arena, workload->model.count, bool);
    succeed(workload, dump_run(workload->dir, &options, on_lines, &dumped, &error), &error);
    check_gone(&dumped);
    arena_done(&dumped.arena);
}
