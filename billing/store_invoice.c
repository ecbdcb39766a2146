// Invoices and their lines. A chunk's invoices go in by one statement: arrays of columns, unnested
// on the server.

#include "base/assert.h"
#include "billing/store.h"

#include <inttypes.h>
#include <string.h>

// ---- writing

enum { INVOICE_ARRAYS = 16, LINE_ARRAYS = 11, REMAINDER_ARRAYS = 5 };
enum { ARRAYS = INVOICE_ARRAYS + LINE_ARRAYS + REMAINDER_ARRAYS };

struct arrays {
    struct buffer *items;
    size_t count;
};

static void
arrays_begin(const struct arrays *arrays)
{
    for (size_t i = 0; i < arrays->count; i++)
        sql_array_begin(&arrays->items[i]);
}

static void
arrays_done(const struct arrays *arrays)
{
    for (size_t i = 0; i < arrays->count; i++)
        buffer_done(&arrays->items[i]);
}

static void
time_add(struct buffer *out, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    clock_print(time_ns, text);
    sql_array_add(out, time_ns == INT64_MIN ? NULL : text);
}

static void
invoice_add(struct buffer *out, const struct invoice *invoice)
{
    must(invoice->input != NULL && invoice->currency != NULL);
    sql_array_add(&out[0], invoice->id);
    sql_array_add(&out[1], invoice->customer);
    sql_array_add(&out[2], invoice->subscription);
    sql_array_add(&out[3], invoice_kind_name(invoice->kind));
    time_add(&out[4], invoice->from_ns);
    time_add(&out[5], invoice->to_ns);
    sql_array_add_int(&out[6], invoice->generation);
    sql_array_add(&out[7], invoice->plan);
    sql_array_add_int(&out[8], invoice->catalogue_version);
    sql_array_add(&out[9], invoice->currency->code);
    sql_array_add_int(&out[10], invoice->total_minor);
    sql_array_add_int(&out[11], (int64_t)invoice->lines_count);
    sql_array_add(&out[12], invoice->status);
    sql_array_add(&out[13], invoice->input);
    time_add(&out[14], invoice->created_ns);
    time_add(&out[15], invoice->finalized_ns);
}

static void
line_add(struct buffer *out, const char *id, size_t position, const struct invoice_line *line)
{
    sql_array_add(&out[0], id);
    sql_array_add_int(&out[1], (int64_t)position);
    sql_array_add(&out[2], invoice_line_kind_name(line->kind));
    sql_array_add(&out[3], line->charge);
    sql_array_add(&out[4], line->meter);
    sql_array_add(&out[5], line->description);
    sql_array_add(&out[6], line->quantity);
    sql_array_add(&out[7], line->clamped);
    sql_array_add(&out[8], line->free_units);
    sql_array_add(&out[9], line->exact_amount);
    sql_array_add_int(&out[10], line->amount_minor);
}

// Of a line that is paid in advance: its link of the charge's chain.
static void
remainder_add(struct buffer *out, const struct invoice *invoice, const struct invoice_line *line)
{
    if (line->remainder == NULL)
        return;
    sql_array_add(&out[0], invoice->id);
    sql_array_add(&out[1], line->charge);
    sql_array_add_int(&out[2], line->sequence);
    sql_array_add(&out[3], line->carried);
    sql_array_add(&out[4], line->remainder);
}

static const char insert_text[] =
    "WITH made AS (INSERT INTO invoices (id, customer_id, subscription_id, kind, period_start,"
    " period_end, generation, plan, catalogue_version, currency, total_minor, lines_count, status,"
    " input, created_at, finalized_at)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],"
    " $6::timestamptz[], $7::integer[], $8::text[], $9::integer[], $10::text[], $11::bigint[],"
    " $12::integer[], $13::text[], $14::json[], $15::timestamptz[], $16::timestamptz[])"
    " ON CONFLICT DO NOTHING RETURNING id, subscription_id),"
    " lines AS (INSERT INTO invoice_lines (invoice_id, position, kind, charge, meter, description,"
    " quantity, clamped_quantity, free_units, exact_amount, amount_minor)"
    " SELECT line.* FROM unnest($17::text[], $18::integer[], $19::text[], $20::text[], $21::text[],"
    " $22::text[], $23::numeric[], $24::numeric[], $25::numeric[], $26::numeric[], $27::bigint[])"
    " AS line (id, position, kind, charge, meter, description, quantity, clamped, free_units, "
    "exact,"
    " amount) JOIN made ON made.id = line.id),"
    " remainders AS (INSERT INTO charge_remainders (invoice_id, subscription_id, charge, sequence,"
    " carried, remainder) SELECT id, made.subscription_id, link.charge, link.sequence, "
    "link.carried,"
    " link.remainder FROM unnest($28::text[], $29::text[], $30::bigint[], $31::numeric[],"
    " $32::numeric[]) AS link (id, charge, sequence, carried, remainder) JOIN made USING (id))"
    " SELECT id FROM made ORDER BY id";

static enum status
insert_run(
    struct sql *sql,
    const struct arrays *arrays,
    struct arena *arena,
    struct sql_rows *out,
    struct error *error)
{
    const char *params[ARRAYS];
    must(arrays->count == ARRAYS);
    for (size_t i = 0; i < arrays->count; i++) {
        params[i] = sql_array_end(&arrays->items[i]);
        if (params[i] == NULL)
            return error_set(error, STATUS_NO_MEMORY, "no memory for a chunk of invoices");
    }
    struct sql_query insert = {
        insert_text, {params, arrays->count},
         SQL_ANY_ROWS, 1
    };
    enum status status = sql_run(sql, &insert, arena, out, error);
    // Invoices that exist are left alone: what is left to conflict is a chain of remainders.
    static const char chain[] = "charge_remainders";
    bool is_refused = status == STATUS_EXISTS || status == STATUS_INVALID;
    bool is_carried = is_refused && strncmp(sql_constraint(sql), chain, sizeof chain - 1) == 0;
    return is_carried ? STATUS_BUSY : status;
}

// The rows are ids in order.
static bool
is_among(const struct sql_rows *rows, const char *id)
{
    size_t low = 0, high = rows->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(id, sql_cell(rows, middle, 0));
        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

enum status
store_invoices_insert(
    struct sql *sql,
    const struct invoice *invoices,
    size_t count,
    bool *out_made,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct buffer buffers[ARRAYS] = {0};
    const struct arrays arrays = {buffers, ARRAYS};
    arrays_begin(&arrays);
    for (size_t i = 0; i < count; i++) {
        invoice_add(buffers, &invoices[i]);
        for (size_t j = 0; j < invoices[i].lines_count; j++) {
            const struct invoice_line *line = &invoices[i].lines[j];
            line_add(buffers + INVOICE_ARRAYS, invoices[i].id, j, line);
            remainder_add(buffers + INVOICE_ARRAYS + LINE_ARRAYS, &invoices[i], line);
        }
    }
    struct sql_rows made = {0};
    enum status status = insert_run(sql, &arrays, &arena, &made, error);
    arrays_done(&arrays);
    if (status)
        return status;
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        out_made[i] = is_among(&made, invoices[i].id);
        found += out_made[i];
    }
    must(found == made.count);
    return STATUS_OK;
}

static enum status
numbers_give(struct sql *sql, int64_t now_ns, int64_t *out_count, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    char now[CLOCK_TEXT_MAX];
    clock_print(now_ns, now);
    struct sql_query lock = {
        "SELECT next_number FROM invoice_numbers FOR UPDATE", SQL_NO_PARAMS, SQL_ONE_ROW, 1};
    struct sql_query give = {
        "WITH ordered AS (SELECT id, row_number() OVER (ORDER BY period_end, customer_id,"
        " subscription_id, kind, period_start, generation) - 1 + $1::bigint AS n"
        " FROM invoices WHERE status = 'draft')"
        " UPDATE invoices SET status = 'finalized', finalized_at = $2,"
        " number = 'INV-' || lpad(n::text, greatest(6, length(n::text)), '0')"
        " FROM ordered WHERE ordered.id = invoices.id",
        SQL_NO_PARAMS,
        SQL_NO_ROWS,
        0};
    struct sql_rows next = {0}, given = {0};
    enum status status = sql_run(sql, &lock, &arena, &next, error);
    if (status)
        return status;
    give.params = (struct sql_params)SQL_PARAMS(sql_cell(&next, 0, 0), now);
    status = sql_run(sql, &give, &arena, &given, error);
    if (status)
        return status;
    *out_count = given.changed;
    struct sql_query advance = {
        "UPDATE invoice_numbers SET next_number = next_number + $1::bigint",
        SQL_PARAMS(arena_format(&arena, "%" PRId64, given.changed)),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &advance, NULL, NULL, error);
}

enum status
store_invoices_finalize(struct sql *sql, int64_t now_ns, int64_t *out_count, struct error *error)
{
    int64_t count = 0;
    enum status status = sql_begin(sql, error);
    if (status)
        return status;
    status = numbers_give(sql, now_ns, &count, error);
    if (status) {
        sql_rollback(sql);
        return status;
    }
    status = sql_commit(sql, error);
    if (status == STATUS_OK)
        *out_count = count;
    return status;
}

// ---- reading

// clang-format off
#define INVOICE_COLUMNS                                                                            \
    "id, number, customer_id, subscription_id, kind, "                                             \
    SQL_EPOCH_US("period_start") ", " SQL_EPOCH_US("period_end") ", generation::bigint, plan,"     \
    " catalogue_version::bigint, currency, status, total_minor, "                                  \
    SQL_EPOCH_US("created_at") ", " SQL_EPOCH_US("finalized_at")
// clang-format on
enum { INVOICE_COLUMNS_COUNT = 15 };

static enum status
invoice_row(const struct sql_rows *rows, size_t i, struct invoice *out, struct error *error)
{
    struct invoice invoice = {
        .number = sql_cell(rows, i, 1),
        .customer = sql_cell(rows, i, 2),
        .subscription = sql_cell(rows, i, 3),
        .from_ns = sql_time_ns(rows, i, 5, 0),
        .to_ns = sql_time_ns(rows, i, 6, 0),
        .generation = sql_int64(rows, i, 7),
        .plan = sql_cell(rows, i, 8),
        .catalogue_version = sql_int64(rows, i, 9),
        .currency = currency_find(bytes_text(sql_cell(rows, i, 10))),
        .status = sql_cell(rows, i, 11),
        .total_minor = sql_int64(rows, i, 12),
        .created_ns = sql_time_ns(rows, i, 13, 0),
        .finalized_ns = sql_time_ns(rows, i, 14, INT64_MIN),
    };
    const char *id = sql_cell(rows, i, 0);
    must(invoice_kind_parse(bytes_text(sql_cell(rows, i, 4)), &invoice.kind));
    if (invoice.currency == NULL || strlen(id) >= sizeof invoice.id)
        return error_set(
            error, STATUS_INVALID, "invoice %s has a currency or an id unknown here", id);
    memcpy(invoice.id, id, strlen(id) + 1);
    *out = invoice;
    return STATUS_OK;
}

static struct invoice_line
line_row(const struct sql_rows *rows, size_t i)
{
    struct invoice_line line = {
        .charge = sql_cell(rows, i, 2),
        .meter = sql_cell(rows, i, 3),
        .description = sql_cell(rows, i, 4),
        .quantity = sql_cell(rows, i, 5),
        .clamped = sql_cell(rows, i, 6),
        .free_units = sql_cell(rows, i, 7),
        .exact_amount = sql_cell(rows, i, 8),
        .amount_minor = sql_int64(rows, i, 9),
        .carried = sql_cell(rows, i, 10),
        .remainder = sql_cell(rows, i, 11),
    };
    if (line.remainder != NULL)
        line.sequence = sql_int64(rows, i, 12);
    must(invoice_line_kind_parse(bytes_text(sql_cell(rows, i, 1)), &line.kind));
    return line;
}

// Fills in the lines of invoices that are ordered by id.
static enum status
lines_load(
    struct sql *sql,
    struct invoice *invoices,
    size_t count,
    struct arena *arena,
    struct error *error)
{
    scoped(buffer_done) struct buffer ids = {0};
    sql_array_begin(&ids);
    for (size_t i = 0; i < count; i++)
        sql_array_add(&ids, invoices[i].id);
    struct sql_query query = {
        "SELECT l.invoice_id, l.kind, l.charge, l.meter, l.description, l.quantity,"
        " l.clamped_quantity, l.free_units, l.exact_amount, l.amount_minor, r.carried, r.remainder,"
        " r.sequence FROM invoice_lines l LEFT JOIN charge_remainders r"
        " ON r.invoice_id = l.invoice_id AND r.charge = l.charge"
        " WHERE l.invoice_id = ANY ($1::text[]) ORDER BY l.invoice_id, l.position",
        SQL_PARAMS(sql_array_end(&ids)),
        SQL_ANY_ROWS,
        13};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    struct invoice_line *lines = arena_array(arena, rows.count, struct invoice_line);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        invoices[i].lines = lines + at;
        for (; at < rows.count && strcmp(sql_cell(&rows, at, 0), invoices[i].id) == 0; at++) {
            lines[at] = line_row(&rows, at);
            invoices[i].lines_count++;
        }
    }
    must(at == rows.count);
    return STATUS_OK;
}

static enum status
invoices_run(
    struct sql *sql,
    const struct sql_query *query,
    struct arena *arena,
    struct invoice **out,
    size_t *out_count,
    struct error *error)
{
    struct sql_rows rows;
    enum status status = sql_run(sql, query, arena, &rows, error);
    if (status)
        return status;
    struct invoice *items = arena_array(arena, rows.count, struct invoice);
    for (size_t i = 0; i < rows.count; i++) {
        status = invoice_row(&rows, i, &items[i], error);
        if (status)
            return status;
    }
    *out = items;
    *out_count = rows.count;
    return STATUS_OK;
}

static enum status
input_load(struct sql *sql, struct invoice *invoice, struct arena *arena, struct error *error)
{
    struct sql_query query = {
        "SELECT input FROM invoices WHERE id = $1", SQL_PARAMS(invoice->id), SQL_ONE_ROW, 1};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status == STATUS_OK)
        invoice->input = sql_cell(&rows, 0, 0);
    return status;
}

enum status
store_invoice_find(
    struct sql *sql,
    const char *id_or_number,
    struct arena *arena,
    struct invoice *out,
    struct error *error)
{
    struct sql_query query = {
        "SELECT " INVOICE_COLUMNS " FROM invoices WHERE id = $1 OR number = $1 ORDER BY id",
        SQL_PARAMS(id_or_number),
        SQL_ANY_ROWS,
        INVOICE_COLUMNS_COUNT};
    struct invoice *found = NULL;
    size_t count = 0;
    enum status status = invoices_run(sql, &query, arena, &found, &count, error);
    if (status)
        return status;
    if (count != 1)
        return error_set(
            error,
            STATUS_NOT_FOUND,
            "there is no invoice %s: see `tally-billing invoice list`",
            id_or_number);
    status = lines_load(sql, found, count, arena, error);
    if (status == STATUS_OK)
        status = input_load(sql, found, arena, error);
    if (status)
        return status;
    *out = *found;
    return STATUS_OK;
}

enum status
store_invoices_find(
    struct sql *sql,
    const char *const *ids,
    size_t count,
    struct arena *arena,
    struct invoice **out,
    struct error *error)
{
    scoped(buffer_done) struct buffer list = {0};
    sql_array_begin(&list);
    for (size_t i = 0; i < count; i++)
        sql_array_add(&list, ids[i]);
    struct sql_query query = {
        "SELECT " INVOICE_COLUMNS " FROM invoices WHERE id = ANY ($1::text[]) ORDER BY id",
        SQL_PARAMS(sql_array_end(&list)),
        SQL_ANY_ROWS,
        INVOICE_COLUMNS_COUNT};
    size_t found = 0;
    enum status status = invoices_run(sql, &query, arena, out, &found, error);
    if (status)
        return status;
    if (found != count)
        return error_set(error, STATUS_NOT_FOUND, "an invoice that was just made is not there");
    return lines_load(sql, *out, found, arena, error);
}

enum status
store_invoices(
    struct sql *sql,
    const struct invoice_filter *filter,
    struct arena *arena,
    struct invoice **out,
    size_t *out_count,
    struct error *error)
{
    struct sql_query query = {
        "SELECT " INVOICE_COLUMNS " FROM invoices WHERE ($1::text IS NULL OR customer_id = $1)"
        " AND ($3::boolean OR lines_count > 0)"
        " ORDER BY period_end DESC, length(number) DESC NULLS LAST, number DESC NULLS LAST, id"
        " LIMIT $2::bigint",
        SQL_PARAMS(
            filter->customer,
            arena_format(arena, "%" PRId64, filter->limit),
            filter->with_empty ? "true" : "false"),
        SQL_ANY_ROWS,
        INVOICE_COLUMNS_COUNT};
    return invoices_run(sql, &query, arena, out, out_count, error);
}
