#include "api/description_page.h"

#include <ctype.h>
#include <string.h>

enum { DEPTH_MAX = 8 };

static const char STYLE[] =
    "body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60em;padding:1em;color:#222}"
    "h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ccc}"
    "h3{font:bold 1em ui-monospace,monospace;margin:1.5em 0 .2em}"
    "code,.type{font-family:ui-monospace,monospace;font-size:.92em}"
    ".method{display:inline-block;min-width:4.5em;color:#06c}.type{color:#666}"
    ".scopes{color:#666;font-size:.9em}table{border-collapse:collapse;margin:.5em 0}"
    "td{padding:.1em 1em .1em 0;vertical-align:top}a{color:#06c;text-decoration:none}"
    "nav a{display:block;font-family:ui-monospace,monospace;font-size:.9em}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}"
    "a,.method{color:#7bf}.type,.scopes{color:#999}}";

// --- texts ---

static void
escaped(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        switch (text.data[i]) {
        case '<': buffer_text(out, "&lt;"); break;
        case '>': buffer_text(out, "&gt;"); break;
        case '&': buffer_text(out, "&amp;"); break;
        case '"': buffer_text(out, "&quot;"); break;
        default: buffer_u8(out, text.data[i]); break;
        }
    }
}

static struct bytes
text_of(const struct json *object, const char *name)
{
    const struct json *member = json_member(object, name);
    return member != NULL && member->type == JSON_STRING ? member->text : bytes_of(NULL, 0);
}

static void
element(struct buffer *out, const char *open, struct bytes text, const char *close)
{
    if (text.size == 0)
        return;
    buffer_text(out, open);
    escaped(out, text);
    buffer_text(out, close);
}

static void
upper(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        buffer_u8(out, (uint8_t)toupper(text.data[i]));
}

// The name of an anchor: what a link may have.
static void
anchor(struct buffer *out, struct bytes first, struct bytes second)
{
    struct bytes both[] = {first, second};
    for (size_t part = 0; part < 2; part++)
        for (size_t i = 0; i < both[part].size; i++)
            buffer_u8(out, isalnum(both[part].data[i]) ? both[part].data[i] : '-');
}

// --- types ---

// What "#/components/schemas/Meter" names last.
static struct bytes
reference_name(struct bytes reference)
{
    const uint8_t *slash = memrchr(reference.data, '/', reference.size);
    size_t from = slash != NULL ? (size_t)(slash - reference.data) + 1 : 0;
    return bytes_of(reference.data + from, reference.size - from);
}

static void type_write(struct buffer *out, const struct json *schema, uint32_t depth);

static void
choices_write(struct buffer *out, const struct json *list, uint32_t depth)
{
    for (const struct json *item = list->first; item != NULL; item = item->next) {
        if (item != list->first)
            buffer_text(out, " or ");
        type_write(out, item, depth + 1);
    }
}

static void
enum_write(struct buffer *out, const struct json *values)
{
    for (const struct json *value = values->first; value != NULL; value = value->next) {
        if (value != values->first)
            buffer_text(out, " | ");
        escaped(out, value->type == JSON_NULL ? bytes_text("null") : value->text);
    }
}

static void
type_write(struct buffer *out, const struct json *schema, uint32_t depth)
{
    struct bytes reference = text_of(schema, "$ref"), type = text_of(schema, "type");
    const struct json *one_of = json_member(schema, "oneOf");
    const struct json *any_of = json_member(schema, "anyOf");
    const struct json *values = json_member(schema, "enum");
    if (schema == NULL || depth > DEPTH_MAX)
        return;
    if (reference.size > 0) {
        buffer_text(out, "<a href=\"#");
        anchor(out, bytes_text("schema-"), reference_name(reference));
        element(out, "\">", reference_name(reference), "</a>");
    } else if (one_of != NULL || any_of != NULL) {
        choices_write(out, one_of != NULL ? one_of : any_of, depth);
    } else if (values != NULL) {
        enum_write(out, values);
    } else if (bytes_equal(type, bytes_text("array"))) {
        buffer_text(out, "list of ");
        type_write(out, json_member(schema, "items"), depth + 1);
    } else {
        escaped(out, type);
        element(out, " (", text_of(schema, "format"), ")");
    }
}

static void
row_write(
    struct buffer *out,
    struct bytes name,
    const struct json *schema,
    const char *more,
    bool is_must)
{
    element(out, "<tr><td><code>", name, "</code></td><td class=type>");
    type_write(out, schema, 0);
    buffer_text(out, more);
    buffer_text(out, is_must ? ", required" : "");
    buffer_text(out, "</td><td>");
    escaped(out, text_of(schema, "description"));
    buffer_text(out, "</td></tr>\n");
}

// --- operations ---

// A parameter or answer itself, or what it refers to among the components.
static const struct json *
resolved(const struct json *document, const char *kind, const struct json *item)
{
    struct bytes reference = text_of(item, "$ref");
    if (reference.size == 0)
        return item;
    const struct json *components = json_member(json_member(document, "components"), kind);
    struct bytes name = reference_name(reference);
    if (components == NULL)
        return item;
    for (const struct json *one = components->first; one != NULL; one = one->next)
        if (bytes_equal(one->key, name))
            return one;
    return item;
}

static void
parameters_write(struct buffer *out, const struct json *document, const struct json *list)
{
    if (list == NULL || list->count == 0)
        return;
    buffer_text(out, "<table>\n");
    for (const struct json *item = list->first; item != NULL; item = item->next) {
        const struct json *parameter = resolved(document, "parameters", item);
        const struct json *required = json_member(parameter, "required");
        bool is_header = bytes_equal(text_of(parameter, "in"), bytes_text("header"));
        bool is_path = bytes_equal(text_of(parameter, "in"), bytes_text("path"));
        row_write(
            out,
            text_of(parameter, "name"),
            json_member(parameter, "schema"),
            is_header ? ", header"
            : is_path ? ", path"
                      : "",
            !is_path && required != NULL && required->boolean);
    }
    buffer_text(out, "</table>\n");
}

static void
content_write(struct buffer *out, const struct json *content)
{
    for (const struct json *kind = content != NULL ? content->first : NULL; kind != NULL;
         kind = kind->next) {
        element(out, "<br><code>", kind->key, "</code> <span class=type>");
        type_write(out, json_member(kind, "schema"), 0);
        buffer_text(out, "</span>");
    }
}

static void
responses_write(struct buffer *out, const struct json *document, const struct json *responses)
{
    for (const struct json *item = responses != NULL ? responses->first : NULL; item != NULL;
         item = item->next) {
        const struct json *response = resolved(document, "responses", item);
        element(out, "<p><code>", item->key, "</code> ");
        escaped(out, text_of(response, "description"));
        content_write(out, json_member(response, "content"));
        buffer_text(out, "</p>\n");
    }
}

static void
scopes_write(struct buffer *out, const struct json *scopes)
{
    if (scopes == NULL || scopes->count == 0) {
        buffer_text(out, "<p class=scopes>No key is needed.</p>\n");
        return;
    }
    buffer_text(out, "<p class=scopes>Scope: ");
    enum_write(out, scopes);
    buffer_text(out, "</p>\n");
}

static bool
is_method(const struct json *member)
{
    static const char *const names[] = {"get", "post", "put", "patch", "delete"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (bytes_equal(member->key, bytes_text(names[i])))
            return true;
    return false;
}

static void
operation_write(
    struct buffer *out,
    const struct json *document,
    const struct json *path,
    const struct json *operation)
{
    buffer_text(out, "<h3 id=\"");
    anchor(out, operation->key, path->key);
    buffer_text(out, "\"><span class=method>");
    upper(out, operation->key);
    element(out, "</span> ", path->key, "</h3>\n");
    element(out, "<p>", text_of(operation, "summary"), "</p>\n");
    element(out, "<p>", text_of(operation, "description"), "</p>\n");
    scopes_write(out, json_member(operation, "x-scopes"));
    parameters_write(out, document, json_member(operation, "parameters"));
    const struct json *body = json_member(operation, "requestBody");
    if (body != NULL) {
        buffer_text(out, "<p>Body:");
        content_write(out, json_member(body, "content"));
        buffer_text(out, "</p>\n");
    }
    responses_write(out, document, json_member(operation, "responses"));
}

static void
link_write(struct buffer *out, const struct json *path, const struct json *operation)
{
    buffer_text(out, "<a href=\"#");
    anchor(out, operation->key, path->key);
    buffer_text(out, "\"><span class=method>");
    upper(out, operation->key);
    element(out, "</span> ", path->key, "</a>\n");
}

static void
paths_write(struct buffer *out, const struct json *document, bool are_links)
{
    const struct json *paths = json_member(document, "paths");
    for (const struct json *path = paths != NULL ? paths->first : NULL; path != NULL;
         path = path->next)
        for (const struct json *member = path->first; member != NULL; member = member->next) {
            if (!is_method(member))
                continue;
            if (are_links)
                link_write(out, path, member);
            else
                operation_write(out, document, path, member);
        }
}

// --- schemas ---

static bool
is_named(const struct json *names, struct bytes name)
{
    for (const struct json *item = names != NULL ? names->first : NULL; item != NULL;
         item = item->next)
        if (bytes_equal(item->text, name))
            return true;
    return false;
}

static void
schema_write(struct buffer *out, const struct json *schema)
{
    buffer_text(out, "<h3 id=\"");
    anchor(out, bytes_text("schema-"), schema->key);
    element(out, "\">", schema->key, "</h3>\n");
    element(out, "<p>", text_of(schema, "description"), "</p>\n");
    const struct json *properties = json_member(schema, "properties");
    if (properties == NULL) {
        buffer_text(out, "<p class=type>");
        type_write(out, schema, 0);
        buffer_text(out, "</p>\n");
        return;
    }
    buffer_text(out, "<table>\n");
    for (const struct json *member = properties->first; member != NULL; member = member->next) {
        const struct json *nullable = json_member(member, "nullable");
        row_write(
            out,
            member->key,
            member,
            nullable != NULL && nullable->boolean ? " or null" : "",
            is_named(json_member(schema, "required"), member->key));
    }
    buffer_text(out, "</table>\n");
}

void
description_page(const struct json *document, struct buffer *out)
{
    const struct json *info = json_member(document, "info");
    const struct json *schemas = json_member(json_member(document, "components"), "schemas");
    buffer_text(out, "<!doctype html>\n<html lang=en><meta charset=utf-8>\n");
    buffer_text(out, "<meta name=viewport content=\"width=device-width\">\n");
    element(out, "<title>", text_of(info, "title"), " API</title>\n");
    buffer_format(out, "<style>%s</style>\n", STYLE);
    element(out, "<h1>", text_of(info, "title"), " ");
    escaped(out, text_of(info, "version"));
    element(out, "</h1>\n<p>", text_of(info, "description"), "</p>\n");
    buffer_text(
        out,
        "<p>This page is made of <a href=\"openapi.yaml\">openapi.yaml</a> "
        "(<a href=\"openapi.json\">JSON</a>).</p>\n<nav>\n");
    paths_write(out, document, true);
    buffer_text(out, "</nav>\n<h2>Operations</h2>\n");
    paths_write(out, document, false);
    buffer_text(out, "<h2>Schemas</h2>\n");
    for (const struct json *schema = schemas != NULL ? schemas->first : NULL; schema != NULL;
         schema = schema->next)
        schema_write(out, schema);
    buffer_text(out, "</html>\n");
}
