// Whether the API is well: for load balancers and people, without a key.

#include "api/api.h"
#include "api/call.h"
#include "api/routes.h"
#include "base/clock.h"

void
health_get(struct call *call)
{
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "status");
    json_text(out, "ok");
    json_end(out, '}');
}

static enum status
database_ask(struct database *database, struct arena *arena, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    struct sql_query query = {"SELECT 1", SQL_NO_PARAMS, SQL_ONE_ROW, 1};
    struct sql_rows rows;
    enum status status = database_take(database, &loan, error);
    if (status)
        return status;
    loan.status = sql_run(loan.sql, &query, arena, &rows, error);
    return loan.status;
}

// A connection that broke while it lay idle is no reason to call the database away: the next one
// is made anew.
void
health_database_get(struct call *call)
{
    struct error error = {0};
    struct database_figures figures;
    int64_t began_ns = clock_monotonic_ns();
    enum status status = database_ask(call->api->database, call->arena, &error);
    if (status == STATUS_CLOSED)
        status = database_ask(call->api->database, call->arena, &error);
    if (status) {
        call_away(call, error.text);
        return;
    }
    database_figures(call->api->database, &figures);
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "status");
    json_text(out, "ok");
    json_key(out, "microseconds");
    json_int(out, (clock_monotonic_ns() - began_ns) / 1000);
    json_key(out, "connections");
    json_int(out, figures.connections);
    json_key(out, "connections_max");
    json_int(out, figures.connections_max);
    json_end(out, '}');
}

void
metrics_get(struct call *call)
{
    call_empty(call, 200);
    call->response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    api_metrics_print(call->api, &call->response->body);
}
