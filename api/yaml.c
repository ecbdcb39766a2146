#include "api/yaml.h"

#include "base/json.h"

#include <string.h>

enum { LINES_STEP = 64, DEPTH_MAX = 60 };

// One line with something on it, its indentation taken off.
struct line {
    size_t indent;
    size_t number;
    struct bytes text;
};

struct yaml {
    struct arena *arena;
    struct line *lines;
    size_t count;
    size_t at;
    struct json_out out;
    struct error *error;
    bool has_failed;
    uint32_t depth;
};

static void block_read(struct yaml *yaml, size_t indent);

static void
fail(struct yaml *yaml, const char *what)
{
    if (yaml->has_failed)
        return;
    yaml->has_failed = true;
    size_t number = yaml->at < yaml->count ? yaml->lines[yaml->at].number : 0;
    (void)error_set(yaml->error, STATUS_INVALID, "line %zu: %s", number, what);
}

// After a failure nothing more is written.
static void
end_write(struct yaml *yaml, char bracket)
{
    if (!yaml->has_failed)
        json_end(&yaml->out, bracket);
}

static struct bytes
trimmed(struct bytes text)
{
    size_t begin = 0, end = text.size;
    while (begin < end && text.data[begin] == ' ')
        begin++;
    while (end > begin && (text.data[end - 1] == ' ' || text.data[end - 1] == '\r'))
        end--;
    return bytes_of(text.data + begin, end - begin);
}

static struct bytes
behind(struct bytes text, size_t size)
{
    return bytes_of(text.data + size, text.size - size);
}

static bool
begins(struct bytes text, const char *with)
{
    size_t size = strlen(with);
    return text.size >= size && memcmp(text.data, with, size) == 0;
}

// --- scalars ---

// Digits, with a sign and a fraction at most: what JSON takes for a number and we write.
static bool
is_number(struct bytes text)
{
    size_t i = text.size > 0 && text.data[0] == '-';
    size_t digits = 0, points = 0;
    for (; i < text.size; i++) {
        bool is_digit = text.data[i] >= '0' && text.data[i] <= '9';
        if (!is_digit && (text.data[i] != '.' || digits == 0))
            return false;
        digits += is_digit;
        points += !is_digit;
    }
    return digits > 0 && points <= 1 && text.data[text.size - 1] != '.';
}

static void
scalar_write(struct yaml *yaml, struct bytes text)
{
    if (begins(text, "\"")) {
        if (text.size < 2 || text.data[text.size - 1] != '"')
            fail(yaml, "a text that does not end");
        else
            json_raw(&yaml->out, arena_text_of(yaml->arena, text));
    } else if (
        is_number(text) || bytes_equal(text, bytes_text("true")) ||
        bytes_equal(text, bytes_text("false")) || bytes_equal(text, bytes_text("null"))) {
        json_raw(&yaml->out, arena_text_of(yaml->arena, text));
    } else if (begins(text, "- ") || (text.size > 0 && strchr("'&*!|>%@`", text.data[0]) != NULL)) {
        fail(yaml, "a form of YAML that is not known here");
    } else {
        json_string(&yaml->out, text);
    }
}

// Where a part of a bracket ends: at a comma or the bracket, outside of quotes and other brackets.
static size_t
part_size(struct bytes text)
{
    uint32_t depth = 0;
    bool is_quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        char letter = (char)text.data[i];
        if (letter == '"' && (i == 0 || text.data[i - 1] != '\\'))
            is_quoted = !is_quoted;
        if (is_quoted)
            continue;
        if (depth == 0 && (letter == ',' || letter == ']' || letter == '}'))
            return i;
        depth += letter == '[' || letter == '{';
        depth -= letter == ']' || letter == '}';
    }
    return text.size;
}

// Behind the key's colon; text.size: there is none. A colon ends a key before a space or the end.
static size_t
key_size(struct bytes text)
{
    bool is_quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"')
            is_quoted = !is_quoted;
        if (text.data[i] == ':' && !is_quoted && (i + 1 == text.size || text.data[i + 1] == ' '))
            return i + 1;
    }
    return text.size;
}

static bool
has_key(struct bytes text)
{
    size_t size = key_size(text);
    return size > 0 && (size < text.size || text.data[size - 1] == ':');
}

static void
key_write(struct yaml *yaml, struct bytes key)
{
    key = trimmed(key);
    if (key.size >= 2 && key.data[0] == '"')
        key = bytes_of(key.data + 1, key.size - 2);
    json_key_bytes(&yaml->out, key);
}

static void flow_write(struct yaml *yaml, struct bytes text);

// What stands in brackets, from behind the first to before the last.
static void
parts_write(struct yaml *yaml, struct bytes text, bool is_map)
{
    while (!yaml->has_failed && trimmed(text).size > 0) {
        size_t size = part_size(text);
        struct bytes part = trimmed(bytes_of(text.data, size));
        if (is_map && !has_key(part)) {
            fail(yaml, "a map in braces has key: value");
            return;
        }
        if (is_map) {
            size_t key = key_size(part);
            key_write(yaml, bytes_of(part.data, key - 1));
            part = trimmed(behind(part, key));
        }
        flow_write(yaml, part);
        text = behind(text, size < text.size ? size + 1 : size);
    }
}

static void
flow_write(struct yaml *yaml, struct bytes text)
{
    bool is_list = begins(text, "["), is_map = begins(text, "{");
    if (!is_list && !is_map) {
        scalar_write(yaml, text);
        return;
    }
    bool is_whole = text.size >= 2 && text.data[text.size - 1] == (is_list ? ']' : '}');
    if (!is_whole || ++yaml->depth > DEPTH_MAX) {
        fail(yaml, "a bracket that does not end on its line");
        return;
    }
    json_begin(&yaml->out, is_list ? '[' : '{');
    parts_write(yaml, bytes_of(text.data + 1, text.size - 2), is_map);
    end_write(yaml, is_list ? ']' : '}');
    yaml->depth--;
}

// --- blocks ---

// The lines of a folded text: deeper than its key, joined by spaces.
static void
folded_write(struct yaml *yaml, size_t indent)
{
    scoped(buffer_done) struct buffer text = {0};
    while (yaml->at < yaml->count && yaml->lines[yaml->at].indent > indent) {
        if (text.size > 0)
            buffer_text(&text, " ");
        buffer_bytes(&text, yaml->lines[yaml->at++].text);
    }
    json_string(&yaml->out, buffer_view(&text));
}

// What stands behind "key:" or "-" on its line, or below it.
static void
value_read(struct yaml *yaml, struct bytes rest, size_t indent)
{
    yaml->at++;
    if (bytes_equal(rest, bytes_text(">-")) || bytes_equal(rest, bytes_text(">")))
        folded_write(yaml, indent);
    else if (rest.size > 0)
        flow_write(yaml, rest);
    else if (yaml->at < yaml->count && yaml->lines[yaml->at].indent > indent)
        block_read(yaml, yaml->lines[yaml->at].indent);
    else
        json_null(&yaml->out);
}

static void
map_read(struct yaml *yaml, size_t indent)
{
    json_begin(&yaml->out, '{');
    while (!yaml->has_failed && yaml->at < yaml->count && yaml->lines[yaml->at].indent == indent) {
        struct bytes text = yaml->lines[yaml->at].text;
        if (!has_key(text)) {
            fail(yaml, "key: value is wanted here");
            return;
        }
        size_t size = key_size(text);
        key_write(yaml, bytes_of(text.data, size - 1));
        value_read(yaml, trimmed(behind(text, size)), indent);
    }
    end_write(yaml, '}');
}

// A map that begins behind the dash goes on below it, two deeper.
static void
list_read(struct yaml *yaml, size_t indent)
{
    json_begin(&yaml->out, '[');
    while (!yaml->has_failed && yaml->at < yaml->count && yaml->lines[yaml->at].indent == indent &&
           begins(yaml->lines[yaml->at].text, "-")) {
        struct line *line = &yaml->lines[yaml->at];
        struct bytes rest = trimmed(behind(line->text, 1));
        bool is_map = has_key(rest) && !begins(rest, "\"") && !begins(rest, "{");
        if (!is_map) {
            value_read(yaml, rest, indent);
            continue;
        }
        line->indent += line->text.size - rest.size;
        line->text = rest;
        block_read(yaml, line->indent);
    }
    end_write(yaml, ']');
}

static void
block_read(struct yaml *yaml, size_t indent)
{
    struct bytes text = yaml->lines[yaml->at].text;
    if (++yaml->depth > DEPTH_MAX)
        fail(yaml, "nested too deep");
    else if (begins(text, "- ") || bytes_equal(text, bytes_text("-")))
        list_read(yaml, indent);
    else
        map_read(yaml, indent);
    yaml->depth--;
    if (!yaml->has_failed && yaml->at < yaml->count && yaml->lines[yaml->at].indent > indent)
        fail(yaml, "an indentation that fits nowhere");
}

static void
lines_read(struct yaml *yaml, struct bytes text)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n';
    yaml->lines = arena_array(yaml->arena, lines, struct line);
    for (size_t number = 1; text.size > 0; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end != NULL ? (size_t)(end - text.data) : text.size;
        struct bytes whole = bytes_of(text.data, size), inner = trimmed(whole);
        if (inner.size > 0 && inner.data[0] != '#')
            yaml->lines[yaml->count++] = (struct line){
                .indent = (size_t)(inner.data - whole.data), .number = number, .text = inner};
        text = behind(text, end != NULL ? size + 1 : size);
    }
}

enum status
yaml_read(struct bytes text, struct arena *arena, struct buffer *out, struct error *error)
{
    struct yaml yaml = {.arena = arena, .out = json_out_to(out), .error = error};
    lines_read(&yaml, text);
    if (yaml.count == 0)
        fail(&yaml, "there is nothing");
    else
        block_read(&yaml, yaml.lines[0].indent);
    if (!yaml.has_failed && yaml.at < yaml.count)
        fail(&yaml, "an indentation that fits nowhere");
    return yaml.has_failed ? STATUS_INVALID : STATUS_OK;
}
