// Customers and subjects as the API shows and changes them, in a database of their own.

#include "billing/customer.h"

#include "base/clock.h"
#include "billing/migrate.h"
#include "billing/store.h"
#include "billing/subject.h"
#include "tests/support/postgres.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>

#include <stdio.h>
#include <string.h>

static struct postgres server;

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
    (void)set;
    postgres_before_all(&server);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    (void)stats;
    postgres_after_all(&server);
}

#define succeed(call)                                                                              \
    do {                                                                                           \
        struct error error = {0};                                                                  \
        cr_assert_eq((call), STATUS_OK, "%s", error.text);                                         \
    } while (0)

// NULL: no PostgreSQL here.
static struct sql *
opened(struct arena *arena)
{
    char url[POSTGRES_URL_MAX];
    struct sql *sql = NULL;
    struct migrations_applied applied;
    if (!postgres_database(url))
        return NULL;
    succeed(sql_open(url, SQL_TIMEOUT_MS, &sql, &error));
    succeed(migrate_apply(sql, MIGRATIONS, MIGRATIONS_COUNT, SECOND_NS, arena, &applied, &error));
    return sql;
}

static struct customer_profile
found(struct sql *sql, const char *id, struct arena *arena)
{
    struct customer_profile profile = {0};
    succeed(customer_profile_find(sql, id, arena, &profile, &error));
    return profile;
}

static bool
has_subject(struct sql *sql, const char *id, const char *subject, struct arena *arena)
{
    const char *const *subjects = NULL;
    size_t count = 0;
    succeed(customer_subjects(sql, id, arena, &subjects, &count, &error));
    for (size_t i = 0; i < count; i++)
        if (strcmp(subjects[i], subject) == 0)
            return true;
    return false;
}

Test(customer, keeps_what_is_said_and_forgets_what_is_not)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = opened(&arena);
    if (sql == NULL)
        return;
    static const char *const subjects[] = {"b", "a", "b"};
    struct customer_profile whole = {
        .id = "acme",
        .name = "Acme",
        .email = "pay@acme.example",
        .description = "d",
        .currency = "EUR",
        .billing_address = "{\"city\":\"X\"}",
        .metadata = "{\"n\":1.50}",
        .subjects = subjects,
        .subjects_count = 3,
    };
    succeed(customer_profile_add(sql, &whole, SECOND_NS, &error));
    struct customer_profile read = found(sql, "acme", &arena);
    cr_assert_str_eq(read.name, "Acme");
    cr_assert_str_eq(read.email, whole.email);
    cr_assert_str_eq(read.metadata, whole.metadata);
    cr_assert_str_eq(read.subjects_json, "[\"b\", \"a\"]");
    cr_assert_eq(read.created_ns, SECOND_NS);
    cr_assert(has_subject(sql, "acme", "acme", &arena), "its id is a subject unsaid");
    static const char *const others[] = {"c", "a", "b"};
    whole.subjects = others;
    succeed(customer_profile_change(sql, &whole, SECOND_NS, &error));
    cr_assert_str_eq(found(sql, "acme", &arena).subjects_json, "[\"c\", \"a\", \"b\"]");
    struct customer_profile bare = {.id = "acme", .name = "Less"};
    succeed(customer_profile_change(sql, &bare, 2 * SECOND_NS, &error));
    read = found(sql, "acme", &arena);
    cr_assert_null(read.email);
    cr_assert_null(read.metadata);
    cr_assert_str_eq(read.subjects_json, "[]");
    cr_assert_eq(read.updated_ns, 2 * SECOND_NS);
    cr_assert(has_subject(sql, "acme", "acme", &arena) && !has_subject(sql, "acme", "a", &arena));
    // Listed it is shown, and stays a subject when it no longer is.
    static const char *const own[] = {"acme"};
    bare.subjects = own;
    bare.subjects_count = 1;
    succeed(customer_profile_change(sql, &bare, 3 * SECOND_NS, &error));
    cr_assert_str_eq(found(sql, "acme", &arena).subjects_json, "[\"acme\"]");
}

Test(customer, refuses_a_second_payer_and_leaves_everything_as_it_was)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = opened(&arena);
    if (sql == NULL)
        return;
    static const char *const shared[] = {"shared", "mine"};
    struct error error = {0};
    struct customer_profile first = {
        .id = "first", .name = "1", .subjects = shared, .subjects_count = 1};
    struct customer_profile second = {
        .id = "second", .name = "2", .subjects = shared, .subjects_count = 2};
    struct customer_profile third = {.id = "shared", .name = "3"};
    succeed(customer_profile_add(sql, &first, SECOND_NS, &error));
    cr_assert_eq(customer_profile_add(sql, &second, SECOND_NS, &error), STATUS_EXISTS);
    cr_assert(strstr(error.text, "first") != NULL, "%s", error.text);
    cr_assert_eq(customer_profile_find(sql, "second", &arena, &second, &error), STATUS_NOT_FOUND);
    cr_assert_eq(customer_profile_add(sql, &third, SECOND_NS, &error), STATUS_EXISTS);
    second = (struct customer_profile){.id = "second", .name = "2"};
    succeed(customer_profile_add(sql, &second, SECOND_NS, &error));
    second.name = "changed";
    second.subjects = shared;
    second.subjects_count = 2;
    cr_assert_eq(customer_profile_change(sql, &second, SECOND_NS, &error), STATUS_EXISTS);
    cr_assert_str_eq(found(sql, "second", &arena).name, "2");
    cr_assert(!has_subject(sql, "second", "mine", &arena));
    succeed(customer_remove(sql, "first", &error));
    cr_assert_eq(customer_remove(sql, "first", &error), STATUS_NOT_FOUND);
    succeed(customer_profile_change(sql, &second, SECOND_NS, &error));
    cr_assert(has_subject(sql, "second", "shared", &arena));
}

Test(subject, facts_are_those_of_each_subject_whatever_its_bytes)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = opened(&arena);
    if (sql == NULL)
        return;
    static const char *const listed[] = {"{\"quoted\", \\}"};
    struct customer_profile acme = {
        .id = "acme", .name = "A", .subjects = listed, .subjects_count = 1};
    struct subject named = {.key = "named", .display_name = "Name"};
    struct subject_facts *facts = NULL;
    const struct bytes asked[] = {
        bytes_text("nobody"),
        bytes_text(listed[0]),
        bytes_of("\xff\xfe", 2),
        bytes_of("a\0b", 3),
        bytes_text("named"),
        bytes_text("acme"),
        bytes_text("named"),
        bytes_of(NULL, 0),
    };
    succeed(customer_profile_add(sql, &acme, SECOND_NS, &error));
    succeed(subject_put(sql, &named, SUBJECT_NAME, SECOND_NS, &error));
    succeed(subject_facts(sql, asked, 8, &arena, &facts, &error));
    static const char *const payers[] = {NULL, "acme", NULL, NULL, NULL, "acme", NULL, NULL};
    for (size_t i = 0; i < 8; i++) {
        bool is_named = i == 4 || i == 6;
        cr_assert_eq(facts[i].customer == NULL, payers[i] == NULL, "%zu", i);
        if (payers[i] != NULL)
            cr_assert_str_eq(facts[i].customer, payers[i]);
        cr_assert_eq(facts[i].display_name != NULL, is_named, "%zu", i);
    }
    succeed(subject_facts(sql, asked, 0, &arena, &facts, &error));
}

Test(subject, what_is_not_said_stays)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = opened(&arena);
    if (sql == NULL)
        return;
    struct error error = {0};
    struct subject_list list;
    struct subject subject = {
        .key = "s", .display_name = "N", .stripe_customer_id = "cus_1", .metadata = "{\"a\":1}"};
    struct subject nothing = {.key = "s"}, read;
    unsigned all = SUBJECT_NAME | SUBJECT_STRIPE | SUBJECT_METADATA;
    succeed(subject_put(sql, &subject, all, SECOND_NS, &error));
    succeed(subject_put(sql, &nothing, 0, 2 * SECOND_NS, &error));
    succeed(subject_find(sql, "s", &arena, &read, &error));
    cr_assert_str_eq(read.display_name, "N");
    cr_assert_str_eq(read.metadata, "{\"a\":1}");
    cr_assert_eq(read.updated_ns, 2 * SECOND_NS);
    succeed(subject_put(sql, &nothing, SUBJECT_NAME, 3 * SECOND_NS, &error));
    succeed(subject_find(sql, "s", &arena, &read, &error));
    cr_assert_null(read.display_name);
    cr_assert_str_eq(read.stripe_customer_id, "cus_1");
    succeed(subjects_read(sql, &arena, &list, &error));
    cr_assert_eq(list.count, 1);
    succeed(subject_remove(sql, "s", &error));
    cr_assert_eq(subject_remove(sql, "s", &error), STATUS_NOT_FOUND);
    cr_assert_eq(subject_find(sql, "s", &arena, &read, &error), STATUS_NOT_FOUND);
}
