#include "client/settings.h"

#include <criterion/criterion.h>

#include <string.h>

Test(settings, fills_in_what_is_not_said)
{
    struct client_settings settings;
    cr_assert_eq(client_settings_read(&(struct tally_options){0}, &settings, NULL), STATUS_OK);
    cr_assert_str_eq(settings.servers.items[0].host, "127.0.0.1");
    cr_assert_str_eq(settings.servers.items[0].port, "24224");
    cr_assert_eq(settings.limits.size, 64 << 20);
    cr_assert_eq(settings.limits.batch_size, 256 << 10);
    cr_assert_eq(settings.limits.batch_events, 1000);
    cr_assert_eq(settings.batch_age_ns, 50000000);
    cr_assert_eq(settings.in_flight_batches, 8);
    cr_assert_eq(settings.ack_timeout_ns, 30000000000);
    cr_assert_eq(settings.connect_timeout_ns, 5000000000);
    cr_assert_eq(settings.retry_min_ns, 100000000);
    cr_assert_eq(settings.retry_max_ns, 10000000000);
    cr_assert_str_eq(settings.backfill, "");
}

Test(settings, keeps_what_is_said)
{
    struct client_settings settings;
    struct tally_options options = {
        .server = "unix:/run/t",
        .buffer_bytes = 1 << 20,
        .batch_bytes = 1,
        .batch_events = 2,
        .batch_age_ms = 3,
        .in_flight_batches = 4,
        .ack_timeout_ms = 5,
        .connect_timeout_ms = 6,
        .retry_min_ms = 20000,
        .backfill = "2023-11",
    };
    cr_assert_eq(client_settings_read(&options, &settings, NULL), STATUS_OK);
    cr_assert(settings.servers.items[0].is_unix);
    cr_assert_eq(settings.limits.size, 1 << 20);
    cr_assert_eq(settings.limits.batch_size, 1);
    cr_assert_eq(settings.limits.batch_events, 2);
    cr_assert_eq(settings.batch_age_ns, 3000000);
    cr_assert_eq(settings.in_flight_batches, 4);
    cr_assert_eq(settings.ack_timeout_ns, 5000000);
    cr_assert_eq(settings.connect_timeout_ns, 6000000);
    cr_assert_eq(settings.retry_max_ns, 20000000000, "never below the smallest pause");
    cr_assert_str_eq(settings.backfill, "2023-11");
}

Test(settings, keeps_secrets_of_the_largest_size)
{
    struct client_settings settings;
    char key[LOGIN_KEY_MAX + 1], user[LOGIN_USER_MAX + 1];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    memset(user, 'u', sizeof user - 1);
    user[sizeof user - 1] = '\0';
    const struct tally_options options = {.shared_key = key, .username = user, .password = key};
    cr_assert_eq(client_settings_read(&options, &settings, NULL), STATUS_OK);
    cr_assert_str_eq(settings.secrets.shared_key, key);
    cr_assert_str_eq(settings.secrets.username, user);
    cr_assert_str_eq(settings.secrets.password, key);
}

Test(settings, refuses_and_names_what_is_out_of_range)
{
    char long_name[BACKLOG_BACKFILL_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    char long_key[LOGIN_KEY_MAX + 2];
    memset(long_key, 'x', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    const struct {
        const char *named;
        struct tally_options options;
    } rows[] = {
        {"server",            {.server = "nowhere"}                                     },
        {"buffer_bytes",      {.buffer_bytes = 65536}                                   },
        {"buffer_bytes",      {.buffer_bytes = (size_t)1 << 41}                         },
        {"batch_bytes",       {.batch_bytes = SETTINGS_BATCH_MAX + 1}                   },
        {"batch_events",      {.batch_events = SETTINGS_EVENTS_MAX + 1}                 },
        {"in_flight_batches", {.in_flight_batches = SETTINGS_FLIGHTS_MAX + 1}           },
        {"retry_min_ms",      {.retry_min_ms = 200, .retry_max_ms = 100}                },
        {"spool_dir",         {.spool_bytes = 1 << 20}                                  },
        {"spool_dir",         {.spool_sync = true}                                      },
        {"spool_dir",         {.spool_dir = ""}                                         },
        {"spool_bytes",       {.spool_dir = "d", .spool_bytes = 65536}                  },
        {"backfill",          {.backfill = ""}                                          },
        {"backfill",          {.backfill = long_name}                                   },
        {"shared_key",        {.shared_key = ""}                                        },
        {"shared_key",        {.username = "u", .password = "p"}                        },
        {"password",          {.shared_key = "k", .username = "u"}                      },
        {"username",          {.shared_key = "k", .password = "p"}                      },
        {"username",          {.shared_key = "k", .username = "", .password = "p"}      },
        {"shared_key",        {.shared_key = long_key}                                  },
        {"tls",               {.tls_ca_file = "f"}                                      },
        {"tls",               {.tls_skip_verify = true}                                 },
        {"tls",               {.tls_server_name = "n"}                                  },
        {"unix",              {.tls = true, .server = "127.0.0.1:1,unix:/run/t"}        },
        {"tls_key_file",      {.tls = true, .tls_cert_file = "f"}                       },
        {"tls_cert_file",     {.tls = true, .tls_key_file = "f"}                        },
        {"tls_skip_verify",   {.tls = true, .tls_skip_verify = true, .tls_ca_file = "f"}},
        {"tls_server_name",   {.tls = true, .tls_server_name = ""}                      },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client_settings settings;
        struct error error = {0};
        cr_assert_eq(
            client_settings_read(&rows[i].options, &settings, &error),
            STATUS_INVALID,
            "row %zu",
            i);
        cr_assert_not_null(strstr(error.text, rows[i].named), "row %zu: %s", i, error.text);
    }
}
