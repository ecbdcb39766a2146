#include "api/event_read.h"

#include "api/json_pack.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "client/encode.h"

#include <string.h>

enum {
    PLACE_MAX = 200,
    DATE_TIME_MIN = sizeof "2026-11-22T00:00:00Z" - 1,
    DATE_SIZE = sizeof "2026-11-22" - 1,
    // What an entry has besides texts and data: headers, the names of its members, the time.
    ENTRY_FRAME_SIZE = 96,
};

static const char DATA_BASE64[] = "data_base64";

struct reading {
    struct arena *arena;
    const struct json *object;
    struct event_item *item;
    bool is_strict;
};

// The first fault of an event stays.
static void
fault_set(struct reading *reading, const struct json *at, const char *member, const char *fault)
{
    char place[PLACE_MAX];
    if (reading->item->fault != NULL)
        return;
    json_place(at, place, sizeof place);
    bool is_root = strcmp(place, "(root)") == 0;
    reading->item->fault = fault;
    reading->item->place = arena_format(
        reading->arena,
        "%s%s%s",
        is_root ? "" : place,
        is_root || member[0] == '\0' ? "" : ".",
        member);
}

// NULL: absent or null.
static const struct json *
member_of(const struct reading *reading, const char *name)
{
    const struct json *member = json_member(reading->object, name);
    return member != NULL && member->type != JSON_NULL ? member : NULL;
}

static const char *
text_read(struct reading *reading, const char *name, size_t size_max, const char *too_long)
{
    const struct json *member = json_member(reading->object, name);
    const char *fault = NULL;
    if (member == NULL)
        fault = "is required";
    else if (member->type != JSON_STRING)
        fault = "must be a string";
    else if (member->text.size == 0)
        fault = "must not be empty";
    else if (memchr(member->text.data, '\0', member->text.size) != NULL)
        fault = "must not hold U+0000";
    else if (member->text.size > size_max)
        fault = too_long;
    if (fault == NULL)
        return arena_text_of(reading->arena, member->text);
    fault_set(reading, reading->object, name, fault);
    return NULL;
}

static bool
is_digit16(char letter)
{
    return strchr("0123456789abcdefABCDEF", letter) != NULL && letter != '\0';
}

// RFC 3986 in its characters; letters beyond ASCII pass (RFC 3987).
static bool
is_uri_reference(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char letter = (unsigned char)*at;
        if (letter <= ' ' || letter == 0x7f || strchr("\"<>\\^`{|}", letter) != NULL)
            return false;
        if (letter == '%' && (!is_digit16(at[1]) || !is_digit16(at[2])))
            return false;
    }
    return true;
}

static void
source_read(struct reading *reading)
{
    const char *source =
        text_read(reading, "source", ENCODE_SOURCE_MAX, "must have at most 255 bytes");
    if (source != NULL && !is_uri_reference(source))
        fault_set(reading, reading->object, "source", "must be a URI reference");
    reading->item->source = source;
}

static void
version_read(struct reading *reading)
{
    if (reading->is_strict && json_member(reading->object, "specversion") == NULL)
        return;
    const char *version = text_read(reading, "specversion", 3, "must be \"1.0\"");
    if (version != NULL && strcmp(version, "1.0") != 0)
        fault_set(reading, reading->object, "specversion", "must be \"1.0\"");
}

static void
time_read(struct reading *reading)
{
    const struct json *time = member_of(reading, "time");
    if (time == NULL)
        return;
    const uint8_t *text = time->text.data;
    bool is_date_time = time->type == JSON_STRING && time->text.size >= DATE_TIME_MIN &&
                        (text[DATE_SIZE] == 'T' || text[DATE_SIZE] == 't');
    if (!is_date_time || clock_parse(time->text, &reading->item->time_ns) != STATUS_OK)
        fault_set(
            reading,
            reading->object,
            "time",
            "must be a date-time of RFC 3339, such as 2026-11-22T10:00:00Z");
    else if (reading->item->time_ns <= 0 || reading->item->time_ns / SECOND_NS > UINT32_MAX)
        fault_set(reading, reading->object, "time", "must be between 1970 and 2106");
}

static void
kinds_read(struct reading *reading)
{
    const struct json *type = member_of(reading, "datacontenttype");
    const struct json *schema = member_of(reading, "dataschema");
    if (type != NULL && !json_is_text(type, "application/json"))
        fault_set(reading, reading->object, "datacontenttype", "must be \"application/json\"");
    if (schema == NULL)
        return;
    bool is_uri = schema->type == JSON_STRING && schema->text.size > 0 &&
                  memchr(schema->text.data, '\0', schema->text.size) == NULL &&
                  is_uri_reference(arena_text_of(reading->arena, schema->text));
    if (!is_uri)
        fault_set(reading, reading->object, "dataschema", "must be a URI");
}

// What data_base64 holds; NULL: nothing, or a fault. CloudEvents have it for data that an SDK was
// given as bytes: Go's makes it of JSON text too, and OpenMeter reads that.
static const struct json *
base64_read(struct reading *reading, const struct json *member)
{
    struct json *root = NULL;
    struct bytes text = {0};
    struct error error = {0};
    const char *fault = NULL;
    if (member_of(reading, "data") != NULL)
        fault = "must not stand beside data";
    else if (member->type != JSON_STRING || !base64_decode(member->text, reading->arena, &text))
        fault = "must be base64";
    else if (text.size > 0 && json_parse(text, NULL, reading->arena, &root, &error))
        fault = "must be JSON in base64";
    if (fault != NULL)
        fault_set(reading, reading->object, DATA_BASE64, fault);
    return fault != NULL || (root != NULL && root->type == JSON_NULL) ? NULL : root;
}

static void
data_read(struct reading *reading)
{
    scoped(buffer_done) struct buffer packed = {0};
    const struct json *base64 = reading->is_strict ? NULL : member_of(reading, DATA_BASE64);
    const char *name = base64 != NULL ? DATA_BASE64 : "data";
    const struct json *data =
        base64 != NULL ? base64_read(reading, base64) : member_of(reading, "data");
    if (data == NULL)
        return;
    if (data->type != JSON_OBJECT) {
        fault_set(reading, reading->object, name, "must be an object");
        return;
    }
    if (!json_pack(data, ENCODE_DEPTH_MAX, &packed))
        fault_set(reading, reading->object, name, "must not be nested deeper than 8");
    else if (buffer_failed(&packed))
        fault_set(reading, reading->object, name, "does not fit into memory");
    else if (data->count > 0)
        reading->item->data = arena_bytes(reading->arena, buffer_view(&packed));
}

// A member that CloudEvents do not have.
static void
strangers_find(struct reading *reading)
{
    static const char *const known[] = {
        "id",
        "source",
        "specversion",
        "type",
        "subject",
        "time",
        "data",
        "datacontenttype",
        "dataschema",
        NULL};
    for (const struct json *member = reading->object->first; member != NULL;
         member = member->next) {
        bool is_known = false;
        for (size_t i = 0; known[i] != NULL && !is_known; i++)
            is_known = bytes_equal(member->key, bytes_text(known[i]));
        if (!is_known)
            fault_set(
                reading,
                reading->object,
                arena_text_of(reading->arena, member->key),
                "is no member of a CloudEvent");
    }
}

static size_t
size_of(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

static void
item_read(struct reading *reading)
{
    struct event_item *item = reading->item;
    if (reading->object->type != JSON_OBJECT) {
        fault_set(reading, reading->object, "", "must be an object");
        return;
    }
    item->id = text_read(reading, "id", ENCODE_ID_MAX, "must have at most 128 bytes");
    source_read(reading);
    version_read(reading);
    item->type = text_read(reading, "type", ENCODE_TYPE_MAX, "must have at most 100 bytes");
    item->subject =
        text_read(reading, "subject", ENCODE_SUBJECT_MAX, "must have at most 255 bytes");
    time_read(reading);
    kinds_read(reading);
    data_read(reading);
    if (reading->is_strict)
        strangers_find(reading);
    size_t size = size_of(item->id) + size_of(item->source) + size_of(item->type) +
                  size_of(item->subject) + item->data.size + ENTRY_FRAME_SIZE;
    if (size > ENCODE_SIZE_MAX)
        fault_set(reading, reading->object, "", "must not be larger than 64 KiB");
}

static void
list_add(struct event_list *list, const struct json *object, bool is_strict, struct arena *arena)
{
    struct event_item *item = &list->items[list->count++];
    struct reading reading = {arena, object, item, is_strict};
    item_read(&reading);
    list->faults_count += item->fault != NULL;
}

// One event a line. Lines of nothing but blanks are passed over. What is no JSON is the fault of
// its line, whose number is the place.
static void
line_add(
    struct event_list *list,
    struct bytes line,
    uint32_t number,
    bool is_strict,
    struct arena *arena)
{
    struct json_limits limits = {.size_max = line.size + 1};
    struct json *root;
    struct error error = {0};
    struct event_item *item = &list->items[list->count];
    if (json_parse(line, &limits, arena, &root, &error)) {
        *item = (struct event_item){
            .fault = arena_format(arena, "cannot be read: %s", error.text), .place = ""};
        list->count++;
        list->faults_count++;
    } else {
        list_add(list, root, is_strict, arena);
    }
    item->line = number;
    if (item->fault != NULL)
        item->place = arena_format(
            arena, "line %u%s%s", number, item->place[0] != '\0' ? ", " : "", item->place);
}

static bool
is_blank(struct bytes line)
{
    size_t at = 0;
    while (at < line.size && strchr(" \t\r", line.data[at]) != NULL && line.data[at] != '\0')
        at++;
    return at == line.size;
}

static enum status
lines_read(
    struct bytes body,
    bool is_strict,
    struct arena *arena,
    struct event_list *out,
    struct error *error)
{
    uint32_t lines = 1, number = 0;
    for (size_t i = 0; i < body.size; i++)
        lines += body.data[i] == '\n';
    if (lines > EVENT_LINES_MAX)
        return error_set(error, STATUS_INVALID, "a body has at most %d lines", EVENT_LINES_MAX);
    *out = (struct event_list){.items = arena_array(arena, lines, struct event_item)};
    while (body.size > 0) {
        const uint8_t *end = memchr(body.data, '\n', body.size);
        size_t size = end != NULL ? (size_t)(end - body.data) : body.size;
        struct bytes line = bytes_of(body.data, size);
        number++;
        if (!is_blank(line))
            line_add(out, line, number, is_strict, arena);
        size += end != NULL;
        body = bytes_of(body.data + size, body.size - size);
    }
    return STATUS_OK;
}

static enum status
list_read(
    struct bytes body,
    enum event_form form,
    bool is_strict,
    struct arena *arena,
    struct event_list *out,
    struct error *error)
{
    struct json_limits limits = {.size_max = body.size + 1};
    struct json *root;
    if (form == EVENT_FORM_LINES)
        return lines_read(body, is_strict, arena, out, error);
    enum status status = json_parse(body, &limits, arena, &root, error);
    if (status)
        return status;
    bool is_many = root->type == JSON_ARRAY;
    if (is_many && form == EVENT_FORM_ONE)
        return error_set(
            error, STATUS_INVALID, "application/cloudevents+json is one event, not a list");
    if (!is_many && form == EVENT_FORM_MANY)
        return error_set(
            error, STATUS_INVALID, "application/cloudevents-batch+json is a list of events");
    uint32_t count = is_many ? root->count : 1;
    *out = (struct event_list){
        .items = arena_array(arena, (size_t)count + 1, struct event_item),
        .is_one = !is_many,
    };
    const struct json *object = is_many ? root->first : root;
    for (uint32_t i = 0; i < count; i++, object = object->next)
        list_add(out, object, is_strict, arena);
    return STATUS_OK;
}

enum status
event_list_read(
    struct bytes body,
    enum event_form form,
    struct arena *arena,
    struct event_list *out,
    struct error *error)
{
    return list_read(body, form, false, arena, out, error);
}

enum status
event_list_read_strict(
    struct bytes body,
    enum event_form form,
    struct arena *arena,
    struct event_list *out,
    struct error *error)
{
    return list_read(body, form, true, arena, out, error);
}
