#include "tools/mapping.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/pack.h"
#include "tools/field.h"
#include "tools/nearest.h"

#include <stdlib.h>
#include <string.h>

enum { SUBJECT_MAX = 255, TYPE_MAX = 100, ID_MAX = 128, SOURCE_MAX = 255 };

static const char *const reserved[] = {"subject", "type", "id", "source", "value", "time"};
enum { RESERVED_COUNT = sizeof reserved / sizeof reserved[0] };

// --- making it from options ----------------------------------------------------------------------

static bool
is_reserved(const char *name)
{
    for (size_t i = 0; i < RESERVED_COUNT; i++)
        if (strcmp(name, reserved[i]) == 0)
            return true;
    return false;
}

// fixed: a text for every row, which leaves no use for a column.
static struct column
column_make(const char *asked, const char *fixed, const char *usual)
{
    if (asked)
        return (struct column){.name = asked[0] ? asked : NULL, .is_required = true};
    return (struct column){.name = fixed ? NULL : usual};
}

static enum status
property_make(
    const char *text, struct arena *arena, struct mapping_property *out, struct error *error)
{
    const char *equals = strchr(text, '=');
    size_t name_size = equals ? (size_t)(equals - text) : strlen(text);
    const char *name = arena_text_of(arena, bytes_of(text, name_size));
    const char *column = equals ? equals + 1 : name;
    if (name_size == 0 || !column[0])
        return error_set(
            error, STATUS_INVALID, "--property wants NAME=COLUMN or NAME, not `%s`", text);
    if (is_reserved(name))
        return error_set(
            error,
            STATUS_INVALID,
            "--property %s: the name is reserved; use --%s-column",
            text,
            name);
    *out = (struct mapping_property){
        name, {.name = column, .is_required = true}
    };
    return STATUS_OK;
}

static int
property_compare(const void *left, const void *right)
{
    const struct mapping_property *a = left;
    const struct mapping_property *b = right;
    return strcmp(a->name, b->name);
}

static enum status
properties_make(
    const struct option_texts *texts, struct arena *arena, struct mapping *out, struct error *error)
{
    out->properties = arena_array(arena, texts->count ? texts->count : 1, struct mapping_property);
    for (size_t i = 0; i < texts->count; i++) {
        enum status status = property_make(texts->items[i], arena, &out->properties[i], error);
        if (status)
            return status;
    }
    out->properties_count = (uint32_t)texts->count;
    qsort(out->properties, texts->count, sizeof *out->properties, property_compare);
    for (size_t i = 1; i < texts->count; i++)
        if (property_compare(&out->properties[i - 1], &out->properties[i]) == 0)
            return error_set(
                error, STATUS_INVALID, "--property %s is given twice", out->properties[i].name);
    return STATUS_OK;
}

static enum status
fixed_check(
    const char *option, const char *fixed, const char *column, size_t size_max, struct error *error)
{
    if (fixed && column)
        return error_set(
            error, STATUS_INVALID, "--%s and --%s-column exclude each other", option, option);
    if (fixed && (!fixed[0] || strlen(fixed) > size_max))
        return error_set(error, STATUS_INVALID, "--%s wants 1 to %zu bytes", option, size_max);
    return STATUS_OK;
}

enum status
mapping_make(
    const struct mapping_options *options,
    struct arena *arena,
    struct mapping *out,
    struct error *error)
{
    const struct mapping_options *o = options;
    enum status status = fixed_check("subject", o->subject, o->subject_column, SUBJECT_MAX, error);
    if (!status)
        status = fixed_check("type", o->type, o->type_column, TYPE_MAX, error);
    if (!status)
        status = fixed_check("source", o->source, o->source_column, SOURCE_MAX, error);
    if (status)
        return status;
    *out = (struct mapping){
        .subject = o->subject,
        .type = o->type,
        .source = o->source,
        .subject_column = column_make(o->subject_column, o->subject, "subject"),
        .type_column = column_make(o->type_column, o->type, "type"),
        .source_column = column_make(o->source_column, o->source, "source"),
        .value_column = column_make(o->value_column, NULL, "value"),
        .time_column = column_make(o->time_column, NULL, "time"),
        .id_column = column_make(o->id_column, NULL, "id"),
        .has_all_properties = o->has_all_properties,
    };
    return properties_make(&o->properties, arena, out, error);
}

// --- holding it against a header -----------------------------------------------------------------

static bool
header_has(const struct bytes *header, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (bytes_equal(header[i], bytes_text(name)))
            return true;
    return false;
}

static enum status
column_missing(
    const char *name,
    const struct bytes *header,
    uint32_t count,
    const char *file,
    struct error *error)
{
    scoped(buffer_done) struct buffer list = {.limit = 600};
    for (uint32_t i = 0; i < count; i++) {
        buffer_text(&list, i > 0 ? ", " : "");
        buffer_bytes(&list, header[i]);
    }
    return error_set(
        error,
        STATUS_INVALID,
        "%s has no column `%s`; it has %.*s",
        file,
        name,
        (int)list.size,
        (const char *)list.data);
}

// A fixed text or a column of the file has to give the subject and the type.
static enum status
given_check(
    const char *what, const char *fixed, bool is_found, const char *file, struct error *error)
{
    if (fixed || is_found)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "%s has no column `%s`: say --%s TEXT, or --%s-column COLUMN",
        file,
        what,
        what,
        what);
}

enum status
mapping_check(
    const struct mapping *mapping,
    const struct bytes *header,
    uint32_t count,
    const char *file,
    struct error *error)
{
    const struct column *columns[] = {
        &mapping->subject_column,
        &mapping->type_column,
        &mapping->source_column,
        &mapping->value_column,
        &mapping->time_column,
        &mapping->id_column,
    };
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        const char *name = columns[i]->name;
        if (name && columns[i]->is_required && !header_has(header, count, name))
            return column_missing(name, header, count, file, error);
    }
    for (uint32_t i = 0; i < mapping->properties_count; i++) {
        const char *name = mapping->properties[i].column.name;
        if (!header_has(header, count, name))
            return column_missing(name, header, count, file, error);
    }
    const char *subject = mapping->subject_column.name;
    const char *type = mapping->type_column.name;
    bool has_subject = subject && header_has(header, count, subject);
    enum status status = given_check("subject", mapping->subject, has_subject, file, error);
    if (status)
        return status;
    return given_check("type", mapping->type, type && header_has(header, count, type), file, error);
}

// --- one row -------------------------------------------------------------------------------------

static const struct field *
column_find(struct column *column, const struct row *row)
{
    if (!column->name)
        return NULL;
    struct bytes name = bytes_text(column->name);
    if (column->hint < row->fields_count && bytes_equal(row->fields[column->hint].name, name))
        return &row->fields[column->hint];
    for (uint32_t i = 0; i < row->fields_count; i++) {
        if (bytes_equal(row->fields[i].name, name)) {
            column->hint = i;
            return &row->fields[i];
        }
    }
    return NULL;
}

// One required or optional text of the envelope.
struct text_rule {
    struct column *column;
    const char *fixed;
    size_t size_max;
    bool is_needed;
    const char *missing, *wrong;  // reasons
};

static bool
text_take(
    const struct text_rule *rule,
    const struct row *row,
    struct arena *arena,
    const char **out,
    struct refusal *refusal)
{
    *out = rule->fixed;
    if (rule->fixed)
        return true;
    const struct field *field = column_find(rule->column, row);
    struct bytes text = field ? field_text(field) : (struct bytes){0};
    if (text.size == 0) {
        refusal->reason = rule->missing;
        return !rule->is_needed;
    }
    bool is_scalar = field->kind == FIELD_TEXT || field->kind == FIELD_NUMBER;
    if (!is_scalar || text.size > rule->size_max || memchr(text.data, 0, text.size)) {
        refusal->reason = rule->wrong;
        return false;
    }
    *out = arena_text_of(arena, text);
    return true;
}

static bool
envelope_take(
    struct mapping *mapping,
    const struct row *row,
    struct arena *arena,
    struct tally_event *event,
    struct refusal *refusal)
{
    const struct text_rule subject = {
        &mapping->subject_column,
        mapping->subject,
        SUBJECT_MAX,
        true,
        "no subject",
        "the subject is not a text of 1 to 255 bytes"};
    const struct text_rule type = {
        &mapping->type_column,
        mapping->type,
        TYPE_MAX,
        true,
        "no type",
        "the type is not a text of 1 to 100 bytes"};
    const struct text_rule source = {
        &mapping->source_column,
        mapping->source,
        SOURCE_MAX,
        false,
        "no source",
        "the source is not a text of up to 255 bytes"};
    const struct text_rule id = {
        &mapping->id_column,
        NULL,
        ID_MAX,
        mapping->id_column.is_required && mapping->id_column.name,
        "no id",
        "the id is not a text of 1 to 128 bytes"};
    return text_take(&subject, row, arena, &event->subject, refusal) &&
           text_take(&type, row, arena, &event->type, refusal) &&
           text_take(&source, row, arena, &event->source, refusal) &&
           text_take(&id, row, arena, &event->id, refusal);
}

static bool
value_take(
    struct mapping *mapping,
    const struct row *row,
    struct arena *arena,
    struct tally_event *event,
    struct refusal *refusal)
{
    const struct field *field = column_find(&mapping->value_column, row);
    if (!field) {
        refusal->reason = "no value";
        return !mapping->value_column.name || !mapping->value_column.is_required;
    }
    struct decimal value;
    bool is_rounded = false;
    enum status status = decimal_parse(field_text(field), &value, &is_rounded);
    if (status) {
        refusal->reason =
            status == STATUS_OVERFLOW ? "the value is out of range" : "the value is not a number";
        refusal->detail = field_excerpt(field, arena);
        return false;
    }
    event->value = arena_text_of(arena, field_text(field));
    return true;
}

static bool
time_take(
    struct mapping *mapping,
    const struct row *row,
    struct arena *arena,
    struct tally_event *event,
    struct refusal *refusal)
{
    const struct field *field = column_find(&mapping->time_column, row);
    if (!field) {
        refusal->reason = "no time";
        return !mapping->time_column.name || !mapping->time_column.is_required;
    }
    refusal->reason = field_time(field, &event->time_ns);
    if (refusal->reason)
        refusal->detail = field_excerpt(field, arena);
    return !refusal->reason;
}

// A row's properties while they are gathered; the list has room for all of them.
struct gathered {
    struct tally_property *list;
    size_t count;
};

static bool
property_add(
    const char *name,
    const struct field *field,
    struct arena *arena,
    struct gathered *gathered,
    struct refusal *refusal)
{
    struct tally_property *property = &gathered->list[gathered->count++];
    refusal->reason = field_property(field, arena, property);
    refusal->detail = refusal->reason ? name : NULL;
    property->key = name;
    return !refusal->reason;
}

// An empty cell of a CSV file says that there is no such property.
static bool
is_absent(const struct field *field)
{
    return !field || (field->kind == FIELD_TEXT && !field->json && field->text.size == 0);
}

static bool
is_mapped(const struct mapping *mapping, const char *name)
{
    const char *const names[] = {
        mapping->subject_column.name,
        mapping->type_column.name,
        mapping->source_column.name,
        mapping->value_column.name,
        mapping->time_column.name,
        mapping->id_column.name,
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i] && strcmp(names[i], name) == 0)
            return true;
    for (uint32_t i = 0; i < mapping->properties_count; i++)
        if (strcmp(mapping->properties[i].name, name) == 0 ||
            strcmp(mapping->properties[i].column.name, name) == 0)
            return true;
    return is_reserved(name);
}

static bool
rest_take(
    const struct mapping *mapping,
    const struct row *row,
    struct arena *arena,
    struct gathered *gathered,
    struct refusal *refusal)
{
    for (uint32_t i = 0; i < row->fields_count; i++) {
        const struct field *field = &row->fields[i];
        if (is_absent(field))
            continue;
        if (field->name.size == 0 || memchr(field->name.data, 0, field->name.size)) {
            refusal->reason = "a property without a usable name";
            return false;
        }
        const char *name = arena_text_of(arena, field->name);
        if (!is_mapped(mapping, name) && !property_add(name, field, arena, gathered, refusal))
            return false;
    }
    return true;
}

static int
sent_compare(const void *left, const void *right)
{
    const struct tally_property *a = left;
    const struct tally_property *b = right;
    return strcmp(a->key, b->key);
}

static bool
properties_take(
    struct mapping *mapping,
    const struct row *row,
    struct arena *arena,
    struct tally_event *event,
    struct refusal *refusal)
{
    size_t room = (size_t)mapping->properties_count + row->fields_count + 1;
    struct gathered gathered = {.list = arena_array(arena, room, struct tally_property)};
    for (uint32_t i = 0; i < mapping->properties_count; i++) {
        struct mapping_property *wanted = &mapping->properties[i];
        const struct field *field = column_find(&wanted->column, row);
        if (!is_absent(field) && !property_add(wanted->name, field, arena, &gathered, refusal))
            return false;
    }
    if (mapping->has_all_properties && !rest_take(mapping, row, arena, &gathered, refusal))
        return false;
    qsort(gathered.list, gathered.count, sizeof *gathered.list, sent_compare);
    for (size_t i = 1; i < gathered.count; i++) {
        if (sent_compare(&gathered.list[i - 1], &gathered.list[i]) == 0) {
            refusal->reason = "a column name twice";
            refusal->detail = gathered.list[i].key;
            return false;
        }
    }
    event->properties = gathered.list;
    event->properties_count = gathered.count;
    return true;
}

bool
mapping_apply(
    struct mapping *mapping,
    const struct row *row,
    struct arena *arena,
    struct tally_event *out_event,
    struct refusal *out_refusal)
{
    must(row->line > 0);
    *out_event = (struct tally_event){0};
    *out_refusal = (struct refusal){row->flaw, row->detail};
    if (row->flaw)
        return false;
    return envelope_take(mapping, row, arena, out_event, out_refusal) &&
           value_take(mapping, row, arena, out_event, out_refusal) &&
           time_take(mapping, row, arena, out_event, out_refusal) &&
           properties_take(mapping, row, arena, out_event, out_refusal);
}

// --- its identity --------------------------------------------------------------------------------

// Each part with its length, so that no two rows run together.
static void
part_put(struct buffer *out, const char *text)
{
    size_t size = text ? strlen(text) : 0;
    buffer_u32le(out, (uint32_t)size + (text != NULL));
    buffer_put(out, text, size);
}

static void
property_put(struct buffer *out, const struct tally_property *property)
{
    part_put(out, property->key);
    buffer_u8(out, (uint8_t)property->kind);
    switch (property->kind) {
    case TALLY_TEXT: part_put(out, property->text); break;
    case TALLY_INT: buffer_u64le(out, (uint64_t)property->integer); break;
    case TALLY_DOUBLE: buffer_put(out, &property->real, sizeof property->real); break;
    case TALLY_BOOL: buffer_u8(out, property->boolean); break;
    case TALLY_NULL: break;
    case TALLY_PROPERTIES:
    case TALLY_MSGPACK:
        buffer_u64le(out, property->msgpack.size);
        buffer_put(out, property->msgpack.data, property->msgpack.size);
        break;
    }
}

struct hash128
mapping_hash(const struct tally_event *event, struct buffer *scratch)
{
    struct decimal value = DECIMAL_ONE;
    bool is_rounded = false;
    if (event->value && decimal_parse(bytes_text(event->value), &value, &is_rounded))
        must(false);
    char value_text[DECIMAL_TEXT_MAX];
    decimal_print(value, value_text);

    buffer_reset(scratch);
    part_put(scratch, event->subject);
    part_put(scratch, event->type);
    part_put(scratch, event->source);
    part_put(scratch, value_text);
    buffer_u64le(scratch, (uint64_t)event->time_ns);
    for (size_t i = 0; i < event->properties_count; i++)
        property_put(scratch, &event->properties[i]);
    must(!buffer_failed(scratch));
    return hash128(buffer_view(scratch), 0);
}
