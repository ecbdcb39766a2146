#include "base/clock.h"
#include "base/sql.h"
#include "base/table.h"
#include "billing/store.h"
#include "tools/command.h"

#include <stdio.h>
#include <string.h>

enum { CUSTOMER_ID_MAX = 255, CUSTOMER_LIST_MAX = 1000 };

struct settings {
    const char *data;
    const char *email;
    const char *company;
    struct option_texts subjects;
};

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "email",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, email),
                       .value_name = "ADDRESS",
                       .help = "add: its email (default: ID@customers.invalid)"},
    {.name = "company",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, company),
                       .value_name = "NAME",
                       .help = "add: its company"},
    {.name = "subject",
                       .type = OPTION_TEXTS,
                       .offset = offsetof(struct settings, subjects),
                       .value_name = "SUBJECT",
                       .help = "add: a subject it pays for, repeatable (default: its id)"},
    {0                                 },
};

static const struct option_spec spec = {
    .program = "tally customer",
    .summary = "Adds, lists and shows those who pay.",
    .usage = "[options] add ID | list | show ID",
    .details = "Adding a customer again changes nothing, but adds new subjects.",
    .rows = rows,
    .positional_min = 1,
    .positional_max = 2,
};

// Subjects, ids, names and addresses are one line of UTF-8 each.
static enum status
text_check(const char *what, const char *text, struct error *error)
{
    if (text == NULL)
        return STATUS_OK;
    size_t size = strlen(text);
    if (size == 0 || size > CUSTOMER_ID_MAX)
        return error_set(error, STATUS_INVALID, "%s: expected 1 to 255 bytes", what);
    if (!bytes_is_utf8(bytes_text(text)))
        return error_set(error, STATUS_INVALID, "%s: expected UTF-8", what);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return error_set(error, STATUS_INVALID, "%s has a control character", what);
    return STATUS_OK;
}

static enum status
customer_check(const struct settings *settings, const char *id, struct error *error)
{
    enum status status = text_check("the id", id, error);
    if (status == STATUS_OK)
        status = text_check("--email", settings->email, error);
    if (status == STATUS_OK)
        status = text_check("--company", settings->company, error);
    for (size_t i = 0; status == STATUS_OK && i < settings->subjects.count; i++)
        status = text_check("--subject", settings->subjects.items[i], error);
    if (status)
        return status;
    const char *at = settings->email != NULL ? strchr(settings->email, '@') : NULL;
    if (settings->email != NULL && (at == NULL || at == settings->email))
        return error_set(error, STATUS_INVALID, "--email %s: expected an address", settings->email);
    return STATUS_OK;
}

static enum status
add(const struct settings *settings, const char *id, struct sql *sql, struct error *error)
{
    static const char *const words[] = {"unchanged", "added", "changed: new subjects"};
    struct customer customer = {
        .id = id,
        .email = settings->email,
        .company_name = settings->company,
        .subjects = settings->subjects.items,
        .subjects_count = settings->subjects.count,
    };
    enum store_change change = STORE_UNCHANGED;
    enum status status = store_customer_add(sql, &customer, clock_now_ns(), &change, error);
    if (status == STATUS_OK)
        printf("customer %s: %s\n", id, words[change]);
    return status;
}

static void
customers_print(const struct customers *customers, struct arena *arena)
{
    static const struct table_column columns[] = {
        {"id",      TABLE_LEFT},
        {"email",   TABLE_LEFT},
        {"company", TABLE_LEFT},
    };
    scoped(buffer_done) struct buffer out = {0};
    struct table table = table_over(arena, columns, 3);
    for (size_t i = 0; i < customers->count; i++) {
        const struct customer *customer = &customers->items[i];
        table_row(
            &table, (const char *const[]){customer->id, customer->email, customer->company_name});
    }
    table_print(&table, TABLE_TEXT, &out);
    fwrite(out.data, 1, out.size, stdout);
}

static enum status
list(struct sql *sql, struct arena *arena, struct error *error)
{
    const char *after = "";
    struct customers page = {.count = CUSTOMER_LIST_MAX};
    while (page.count == CUSTOMER_LIST_MAX) {
        enum status status = store_customers(sql, after, CUSTOMER_LIST_MAX, arena, &page, error);
        if (status)
            return status;
        if (page.count > 0 || after[0] == '\0')
            customers_print(&page, arena);
        if (page.count > 0)
            after = page.items[page.count - 1].id;
    }
    return STATUS_OK;
}

static void
subscription_print(const struct subscription *subscription)
{
    char starts[CLOCK_TEXT_MAX], ends[CLOCK_TEXT_MAX];
    bool has_end = subscription->terms.ends_ns != PERIOD_NO_END;
    clock_print(subscription->terms.starts_ns, starts);
    clock_print(has_end ? subscription->terms.ends_ns : 0, ends);
    printf(
        "subscription %s  %s  %s  %.10s to %.10s  %s\n",
        subscription->id,
        subscription->plan,
        billing_cycle_name(subscription->cycle),
        starts,
        has_end ? ends : "open end",
        subscription->status);
}

static enum status
show(const char *id, struct sql *sql, struct arena *arena, struct error *error)
{
    struct customer customer;
    struct subscriptions subscriptions;
    const struct customer_range range = {.only = id};
    enum status status = store_customer_find(sql, id, arena, &customer, error);
    if (status == STATUS_OK)
        status = store_subscriptions(sql, &range, arena, &subscriptions, error);
    if (status)
        return status;
    printf("id       %s\nemail    %s\n", customer.id, customer.email);
    if (customer.company_name != NULL)
        printf("company  %s\n", customer.company_name);
    for (size_t i = 0; i < customer.subjects_count; i++)
        printf("subject  %s\n", customer.subjects[i]);
    for (size_t i = 0; i < subscriptions.count; i++)
        subscription_print(&subscriptions.items[i]);
    return STATUS_OK;
}

static enum status
arguments_check(
    const struct settings *settings, const struct option_texts_rest *rest, struct error *error)
{
    const char *verb = rest->items[0];
    bool is_list = strcmp(verb, "list") == 0 && rest->count == 1;
    bool is_one = (strcmp(verb, "add") == 0 || strcmp(verb, "show") == 0) && rest->count == 2;
    if (!is_list && !is_one)
        return error_set(error, STATUS_INVALID, "expected `add ID`, `list` or `show ID`");
    return is_one ? customer_check(settings, rest->items[1], error) : STATUS_OK;
}

static enum status
verb_run(
    const struct settings *settings,
    const struct option_texts_rest *rest,
    struct sql *sql,
    struct arena *arena,
    struct error *error)
{
    if (strcmp(rest->items[0], "add") == 0)
        return add(settings, rest->items[1], sql, error);
    if (strcmp(rest->items[0], "show") == 0)
        return show(rest->items[1], sql, arena, error);
    return list(sql, arena, error);
}

int
cmd_customer(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = NULL;
    struct settings settings = {0};
    struct option_texts_rest rest = {0};
    const char *url = NULL;
    struct error error;
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("customer", &error);
    case OPTION_RUN: break;
    }
    if (arguments_check(&settings, &rest, &error) != STATUS_OK)
        return command_usage_error("customer", &error);
    enum status status = sql_url(settings.data, &arena, &url, &error);
    if (status == STATUS_OK)
        status = sql_open(url, SQL_TIMEOUT_MS, &sql, &error);
    if (status == STATUS_OK)
        status = verb_run(&settings, &rest, sql, &arena, &error);
    return status ? command_failed("customer", &error) : EXIT_OK;
}
