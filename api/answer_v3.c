#include "api/answer_v3.h"

#include "api/answer_write.h"
#include "base/clock.h"

#include <string.h>

static void
member_time(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    json_key(out, key);
    json_text(out, text);
}

static void
row_write(const struct question *question, const struct answer_row *row, struct json_out *out)
{
    char value[WIDE_TEXT_MAX];
    (void)usage_row_print(row->usage, value);
    json_begin(out, '{');
    json_key(out, "value");
    json_text(out, value);
    member_time(out, "from", row->from_ns);
    member_time(out, "to", row->to_ns);
    json_key(out, "dimensions");
    json_begin(out, '{');
    if (question->is_by_subject) {
        json_key(out, "subject");
        json_string(out, row->usage->subject);
    }
    if (row->customer != NULL) {
        json_key(out, "customer_id");
        json_text(out, row->customer);
    }
    for (size_t i = 0; i < question->group_by.count; i++) {
        json_key(out, question->group_by.items[i]);
        json_string(out, row->usage->dimensions[i]);
    }
    json_end(out, '}');
    json_end(out, '}');
}

void
answer_v3_write_json(
    const struct question *question, const struct answer *answer, struct json_out *out)
{
    json_begin(out, '{');
    if (question->has_from)
        member_time(out, "from", question->from_ns);
    if (question->has_to)
        member_time(out, "to", question->to_ns);
    json_key(out, "data");
    json_begin(out, '[');
    for (size_t i = 0; i < answer->count; i++)
        row_write(question, &answer->rows[i], out);
    json_end(out, ']');
    json_end(out, '}');
}

static void
customer_put(
    const struct question *question,
    const char *customer,
    const char *const *names,
    struct buffer *out)
{
    const char *name = "";
    for (size_t i = 0; i < question->customers.count; i++)
        if (strcmp(question->customers.items[i], customer) == 0)
            name = names[i];
    answer_cell_put(out, bytes_text(customer));
    buffer_u8(out, ',');
    answer_cell_put(out, bytes_text(customer));
    buffer_u8(out, ',');
    answer_cell_put(out, bytes_text(name));
    buffer_u8(out, ',');
}

static void
line_write(
    const struct question *question,
    const struct answer_row *row,
    const char *const *names,
    struct buffer *out)
{
    char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX], value[WIDE_TEXT_MAX];
    (void)clock_print(row->from_ns, from);
    (void)clock_print(row->to_ns, to);
    (void)usage_row_print(row->usage, value);
    buffer_format(out, "%s,%s,", from, to);
    if (question->is_by_subject) {
        answer_cell_put(out, row->usage->subject);
        buffer_u8(out, ',');
    }
    if (row->customer != NULL)
        customer_put(question, row->customer, names, out);
    for (size_t i = 0; i < question->group_by.count; i++) {
        answer_cell_put(out, row->usage->dimensions[i]);
        buffer_u8(out, ',');
    }
    buffer_format(out, "%s\n", value);
}

void
answer_v3_write_csv(
    const struct question *question,
    const struct answer *answer,
    const char *const *names,
    struct buffer *out)
{
    buffer_text(out, "from,to,");
    if (question->is_by_subject)
        buffer_text(out, "subject,");
    if (question->is_by_customer)
        buffer_text(out, "customer_id,customer_key,customer_name,");
    for (size_t i = 0; i < question->group_by.count; i++) {
        answer_cell_put(out, bytes_text(question->group_by.items[i]));
        buffer_u8(out, ',');
    }
    buffer_text(out, "value\n");
    for (size_t i = 0; i < answer->count; i++)
        line_write(question, &answer->rows[i], names, out);
}
