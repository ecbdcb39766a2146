#include "base/clock.h"
#include "base/sql.h"
#include "billing/subscribe.h"
#include "tools/command.h"

#include <stdio.h>

struct settings {
    const char *data;
    const char *from;
    const char *until;
    const char *cycle;
};

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "from",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, from),
                       .value_name = "DATE",
                       .help = "the first day, and the day of the month on which periods begin",
                       .is_required = true},
    {.name = "until",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, until),
                       .value_name = "DATE",
                       .help = "the first day that is not part of it any more (default: no end)"},
    {.name = "cycle",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, cycle),
                       .fallback = "monthly",
                       .value_name = "monthly|annual",
                       .help = "how often the plan's price is due"},
    {0               },
};

static const struct option_spec spec = {
    .program = "tally subscribe",
    .summary = "Subscribes a customer to a plan.",
    .usage = "[options] CUSTOMER PLAN --from DATE",
    .details =
        "A customer has one tier at a time, the others are add-ons; a meter is charged once.\n"
        "The same subscription again changes nothing.",
    .rows = rows,
    .positional_min = 2,
    .positional_max = 2,
};

static enum status
day_parse(const char *option, const char *text, int64_t *out_ns, struct error *error)
{
    if (clock_parse(bytes_text(text), out_ns) != STATUS_OK || *out_ns % DAY_NS != 0)
        return error_set(
            error, STATUS_INVALID, "--%s %s: expected a day such as 2023-11-01", option, text);
    return STATUS_OK;
}

static enum status
request_read(
    const struct settings *settings,
    const struct option_texts_rest *rest,
    struct subscribe_request *out,
    struct error *error)
{
    *out = (struct subscribe_request){
        .customer = rest->items[0],
        .plan = rest->items[1],
        .terms = {.ends_ns = PERIOD_NO_END},
    };
    if (!billing_cycle_parse(bytes_text(settings->cycle), &out->cycle))
        return error_set(
            error, STATUS_INVALID, "--cycle %s: expected monthly or annual", settings->cycle);
    enum status status = day_parse("from", settings->from, &out->terms.starts_ns, error);
    if (status == STATUS_OK && settings->until != NULL)
        status = day_parse("until", settings->until, &out->terms.ends_ns, error);
    return status;
}

static enum status
subscribe_run(
    const struct settings *settings,
    const struct subscribe_request *request,
    struct arena *arena,
    enum store_change *out_change,
    struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    const char *url = NULL;
    enum status status = sql_url(settings->data, arena, &url, error);
    if (status == STATUS_OK)
        status = sql_open(url, SQL_TIMEOUT_MS, &sql, error);
    if (status)
        return status;
    return subscribe(sql, request, clock_now_ns(), out_change, error);
}

int
cmd_subscribe(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest = {0};
    struct subscribe_request request;
    enum store_change change = STORE_UNCHANGED;
    struct error error;
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("subscribe", &error);
    case OPTION_RUN: break;
    }
    if (request_read(&settings, &rest, &request, &error) != STATUS_OK)
        return command_usage_error("subscribe", &error);
    if (subscribe_run(&settings, &request, &arena, &change, &error) != STATUS_OK)
        return command_failed("subscribe", &error);
    printf(
        "customer %s, plan %s, %s from %s: %s\n",
        request.customer,
        request.plan,
        billing_cycle_name(request.cycle),
        settings.from,
        change == STORE_CREATED ? "subscribed" : "unchanged");
    return EXIT_OK;
}
