#include "api/answer_write.h"

#include "api/member.h"
#include "base/clock.h"

#include <string.h>

enum { DECIMALS = 6 };

// --- JSON ---

static void
dimensions_write(
    const struct question *question, const struct answer_row *row, struct json_out *out)
{
    for (size_t i = 0; i < question->group_by.count; i++)
        member_bytes(out, question->group_by.items[i], row->usage->dimensions[i]);
    json_end(out, '}');
}

static void
row_write_v1(const struct question *question, const struct answer_row *row, struct json_out *out)
{
    char value[WIDE_TEXT_MAX];
    (void)usage_row_print(row->usage, value);
    json_begin(out, '{');
    json_key(out, "value");
    json_raw(out, value);
    member_time(out, "windowStart", row->from_ns);
    member_time(out, "windowEnd", row->to_ns);
    if (question->is_by_subject)
        member_bytes(out, "subject", row->usage->subject);
    else
        member_text(out, "subject", NULL);
    if (row->customer != NULL)
        member_text(out, "customerId", row->customer);
    json_key(out, "groupBy");
    json_begin(out, '{');
    dimensions_write(question, row, out);
    json_end(out, '}');
}

static void
row_write_v3(const struct question *question, const struct answer_row *row, struct json_out *out)
{
    char value[WIDE_TEXT_MAX];
    (void)usage_row_print(row->usage, value);
    json_begin(out, '{');
    member_text(out, "value", value);
    member_time(out, "from", row->from_ns);
    member_time(out, "to", row->to_ns);
    json_key(out, "dimensions");
    json_begin(out, '{');
    if (question->is_by_subject)
        member_bytes(out, "subject", row->usage->subject);
    if (row->customer != NULL)
        member_text(out, "customer_id", row->customer);
    dimensions_write(question, row, out);
    json_end(out, '}');
}

void
answer_write_json(
    const struct question *question,
    const struct answer *answer,
    enum answer_form form,
    struct json_out *out)
{
    json_begin(out, '{');
    if (question->has_from)
        member_time(out, "from", question->from_ns);
    if (question->has_to)
        member_time(out, "to", question->to_ns);
    if (question->window_text != NULL && form == ANSWER_V1)
        member_text(out, "windowSize", question->window_text);
    json_key(out, "data");
    json_begin(out, '[');
    for (size_t i = 0; i < answer->count; i++)
        if (form == ANSWER_V1)
            row_write_v1(question, &answer->rows[i], out);
        else
            row_write_v3(question, &answer->rows[i], out);
    json_end(out, ']');
    json_end(out, '}');
}

// --- six decimals ---

// Adds one to the last digit of "-12.345". True: a digit more is needed in front.
static bool
digits_raise(char *digits, size_t size)
{
    for (size_t i = size; i-- > 0;) {
        if (digits[i] == '.')
            continue;
        if (digits[i] != '9') {
            digits[i] = (char)(digits[i] + 1);
            return false;
        }
        digits[i] = '0';
    }
    return true;
}

// Whether digits behind the kept ones, which end with `last`, round it up: half to even.
static bool
is_rounded_up(char last, const char *rest)
{
    bool is_odd = (last - '0') & 1;
    bool is_half = rest[0] == '5' && rest[1 + strspn(rest + 1, "0")] == '\0';
    return is_half ? is_odd : rest[0] >= '5';
}

// Of a number without its sign, with a place in front for a carry.
static void
six_put(const char *digits, char *out)
{
    const char *point = strchrnul(digits, '.');
    const char *after = *point == '.' ? point + 1 : point;
    size_t whole = (size_t)(point - digits), have = strlen(after);
    size_t size = 2 + whole + DECIMALS;
    out[0] = '0';
    memcpy(out + 1, digits, whole);
    out[1 + whole] = '.';
    memset(out + 2 + whole, '0', DECIMALS);
    memcpy(out + 2 + whole, after, have < DECIMALS ? have : DECIMALS);
    out[size] = '\0';
    if (have > DECIMALS && is_rounded_up(out[size - 1], after + DECIMALS))
        (void)digits_raise(out, size);
    if (out[0] == '0')
        memmove(out, out + 1, size);
}

void
six_decimals(const char *text, char *room)
{
    bool is_negative = text[0] == '-';
    char *out = room + is_negative;
    six_put(text + is_negative, out);
    bool is_zero = strspn(out, "0.") == strlen(out);
    if (is_negative && !is_zero)
        room[0] = '-';
    else if (is_negative)
        memmove(room, room + 1, strlen(out) + 1);
}

// --- CSV ---

// Quoted where RFC 4180 wants it.
static void
cell_quote(struct buffer *out, struct bytes text)
{
    bool is_quoted = false;
    for (size_t i = 0; i < text.size; i++)
        is_quoted = is_quoted || strchr(",\"\r\n", text.data[i]) != NULL;
    if (!is_quoted) {
        buffer_bytes(out, text);
        return;
    }
    buffer_u8(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"')
            buffer_u8(out, '"');
        buffer_u8(out, text.data[i]);
    }
    buffer_u8(out, '"');
}

static void
cell_put(struct buffer *out, struct bytes text)
{
    cell_quote(out, text);
    buffer_u8(out, ',');
}

static void
text_put(struct buffer *out, const char *text)
{
    cell_put(out, bytes_text(text != NULL ? text : ""));
}

static void
value_put(const struct usage_row *usage, enum answer_form form, struct buffer *out)
{
    char value[WIDE_TEXT_MAX], six[WIDE_TEXT_MAX + 8];
    (void)usage_row_print(usage, value);
    six_decimals(value, six);
    buffer_format(out, "%s\n", form == ANSWER_V1 ? six : value);
}

static void
line_write(
    const struct question *question,
    const struct answer *answer,
    enum answer_form form,
    const struct answer_row *row,
    struct buffer *out)
{
    char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX];
    (void)clock_print(row->from_ns, from);
    (void)clock_print(row->to_ns, to);
    buffer_format(out, "%s,%s,", from, to);
    if (question->is_by_subject)
        cell_put(out, row->usage->subject);
    if (answer->has_display_names)
        text_put(out, row->display_name);
    if (question->is_by_customer)
        text_put(out, row->customer);
    if (question->is_by_customer && form == ANSWER_V3) {
        text_put(out, row->customer);
        text_put(out, row->customer_name);
    }
    for (size_t i = 0; i < question->group_by.count; i++)
        cell_put(out, row->usage->dimensions[i]);
    value_put(row->usage, form, out);
}

void
answer_write_csv(
    const struct question *question,
    const struct answer *answer,
    enum answer_form form,
    struct buffer *out)
{
    buffer_text(out, form == ANSWER_V1 ? "window_start,window_end," : "from,to,");
    if (question->is_by_subject)
        buffer_text(out, "subject,");
    if (answer->has_display_names)
        buffer_text(out, "subject_display_name,");
    if (question->is_by_customer)
        buffer_text(out, "customer_id,");
    if (question->is_by_customer && form == ANSWER_V3)
        buffer_text(out, "customer_key,customer_name,");
    for (size_t i = 0; i < question->group_by.count; i++)
        text_put(out, question->group_by.items[i]);
    buffer_text(out, "value\n");
    for (size_t i = 0; i < answer->count; i++)
        line_write(question, answer, form, &answer->rows[i], out);
}
