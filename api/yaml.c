#include "api/yaml.h"

#include "base/json.h"

#include <string.h>
#include <yaml.h>

// Deeper than this is no document of ours.
enum { DEPTH_MAX = 60, DIGITS_MAX = 15 };

struct reading {
    yaml_parser_t parser;
    struct json_out out;
    bool is_map[DEPTH_MAX];  // what is open
    bool is_key[DEPTH_MAX];  // the next scalar of a map is a key
    uint32_t depth;
    struct error *error;
};

static enum status
refuse(const struct reading *reading, const yaml_mark_t *mark, const char *what)
{
    return error_set(reading->error, STATUS_INVALID, "line %zu: %s", mark->line + 1, what);
}

// Before a value that is no key.
static void
value_begin(struct reading *reading)
{
    if (reading->depth > 0)
        reading->is_key[reading->depth - 1] = reading->is_map[reading->depth - 1];
}

// A number of JSON that no reader rounds.
static bool
is_number(const char *text, size_t size)
{
    size_t at = size > 0 && text[0] == '-', digits = 0, points = 0;
    if (at + 1 < size && text[at] == '0' && text[at + 1] != '.')
        return false;
    for (; at < size; at++) {
        bool is_digit = text[at] >= '0' && text[at] <= '9';
        if (!is_digit && (text[at] != '.' || digits == 0 || points > 0 || at + 1 == size))
            return false;
        digits += is_digit;
        points += !is_digit;
    }
    return digits > 0 && digits <= DIGITS_MAX;
}

static bool
is_word(const char *text, size_t size)
{
    static const char *const words[] = {"true", "false", "null", "~", ""};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (size == strlen(words[i]) && memcmp(text, words[i], size) == 0)
            return true;
    return false;
}

static enum status
scalar_write(struct reading *reading, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)
        return refuse(reading, &event->start_mark, "anchors and tags are not known here");
    if (reading->depth == 0)
        return refuse(reading, &event->start_mark, "the document is no map and no list");
    if (reading->is_key[reading->depth - 1]) {
        json_key_bytes(&reading->out, bytes_of(text, size));
        reading->is_key[reading->depth - 1] = false;
        return STATUS_OK;
    }
    value_begin(reading);
    if (is_plain && is_word(text, size))
        json_raw(&reading->out, text[0] == '~' || size == 0 ? "null" : text);
    else if (is_plain && is_number(text, size))
        json_raw(&reading->out, text);
    else
        json_string(&reading->out, bytes_of(text, size));
    return STATUS_OK;
}

static enum status
open_write(struct reading *reading, const yaml_event_t *event, bool is_map)
{
    const yaml_char_t *anchor =
        is_map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    const yaml_char_t *tag =
        is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    if (anchor != NULL || tag != NULL)
        return refuse(reading, &event->start_mark, "anchors and tags are not known here");
    if (reading->depth > 0 && reading->is_key[reading->depth - 1])
        return refuse(reading, &event->start_mark, "a key must be a text");
    if (reading->depth == DEPTH_MAX)
        return refuse(reading, &event->start_mark, "nested too deep");
    value_begin(reading);
    json_begin(&reading->out, is_map ? '{' : '[');
    reading->is_map[reading->depth] = is_map;
    reading->is_key[reading->depth++] = is_map;
    return STATUS_OK;
}

static enum status
event_write(struct reading *reading, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return scalar_write(reading, event);
    case YAML_MAPPING_START_EVENT: return open_write(reading, event, true);
    case YAML_SEQUENCE_START_EVENT: return open_write(reading, event, false);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        json_end(&reading->out, reading->is_map[--reading->depth] ? '}' : ']');
        return STATUS_OK;
    case YAML_ALIAS_EVENT:
        return refuse(reading, &event->start_mark, "anchors and tags are not known here");
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT: return STATUS_OK;
    }
    return STATUS_OK;
}

// One event after the other; of one document.
static enum status
events_write(struct reading *reading)
{
    enum status status = STATUS_OK;
    yaml_event_type_t type = YAML_NO_EVENT;
    uint32_t documents = 0;
    while (status == STATUS_OK && type != YAML_STREAM_END_EVENT) {
        yaml_event_t event;
        if (yaml_parser_parse(&reading->parser, &event) == 0)
            return refuse(
                reading,
                &reading->parser.problem_mark,
                reading->parser.problem != NULL ? reading->parser.problem : "no YAML");
        type = event.type;
        documents += type == YAML_DOCUMENT_START_EVENT;
        if (documents > 1 || (documents == 0 && type == YAML_STREAM_END_EVENT))
            status = refuse(reading, &event.start_mark, "there must be one document");
        else
            status = event_write(reading, &event);
        yaml_event_delete(&event);
    }
    return status;
}

enum status
yaml_read(struct bytes text, struct buffer *out, struct error *error)
{
    struct reading reading = {.out = json_out_to(out), .error = error};
    if (yaml_parser_initialize(&reading.parser) == 0)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a reader of YAML");
    yaml_parser_set_input_string(&reading.parser, text.data, text.size);
    yaml_parser_set_encoding(&reading.parser, YAML_UTF8_ENCODING);
    enum status status = events_write(&reading);
    yaml_parser_delete(&reading.parser);
    if (status == STATUS_OK && buffer_failed(out))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for the document");
    return status;
}
