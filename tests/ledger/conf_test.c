#include "base/clock.h"
#include "ledger/ledger.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char root[64];
    char dir[128];  // root/data, not made yet
};

static void
place_make(struct place *place)
{
    temp_dir_make(place->root);
    (void)snprintf(place->dir, sizeof place->dir, "%s/data", place->root);
}

static void
path_in(const struct place *place, const char *below, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", place->dir, below);
}

static const struct ledger_create_options small = {.shards = 3, .map_size = 8 << 20};

Test(conf, makes_a_whole_ledger_once)
{
    struct place place;
    struct error error = {0};
    struct ledger_conf conf;
    struct ledger_conf again;
    place_make(&place);
    cr_assert_eq(ledger_conf_read(place.dir, &conf, &error), STATUS_NOT_FOUND);
    succeed(ledger_create(place.dir, &small, &error), &error);
    succeed(ledger_conf_read(place.dir, &conf, &error), &error);
    cr_assert_eq(conf.format, LEDGER_FORMAT);
    cr_assert_eq(conf.shards, 3);
    cr_assert_eq(conf.map_size, 8 << 20);
    cr_assert_eq(ledger_create(place.dir, &small, &error), STATUS_EXISTS);
    const struct ledger_create_options any = {0};
    cr_assert_eq(ledger_create(place.dir, &any, &error), STATUS_EXISTS);
    const struct ledger_create_options other = {.shards = 4};
    cr_assert_eq(ledger_create(place.dir, &other, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "3 shards, not 4"), "%s", error.text);
    succeed(ledger_conf_read(place.dir, &again, &error), &error);
    cr_assert_eq(memcmp(&conf.secret, &again.secret, sizeof conf.secret), 0);
    temp_dir_remove(place.root);
}

Test(conf, gives_each_ledger_its_own_secret)
{
    struct place places[2];
    struct ledger_conf confs[2];
    struct error error = {0};
    for (int i = 0; i < 2; i++) {
        place_make(&places[i]);
        succeed(ledger_create(places[i].dir, &small, &error), &error);
        succeed(ledger_conf_read(places[i].dir, &confs[i], &error), &error);
        temp_dir_remove(places[i].root);
    }
    cr_assert_neq(memcmp(&confs[0].secret, &confs[1].secret, sizeof confs[0].secret), 0);
}

Test(conf, shares_with_the_group_but_keeps_the_secret)
{
    static const struct {
        const char *path;
        mode_t mode;
    } rows[] = {
        {"",                         02770},
        {"meters",                   02770},
        {"shards",                   02770},
        {"shards/0002/log",          02770},
        {"shards/0002/state",        02770},
        {"shards/0000/log/data.mdb", 0660 },
        {"meters/data.mdb",          0660 },
        {"ledger.conf",              0600 },
    };
    struct place place;
    struct error error = {0};
    place_make(&place);
    (void)umask(0077);
    succeed(ledger_create(place.dir, &small, &error), &error);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[256];
        struct stat stat_of;
        path_in(&place, rows[i].path, path);
        cr_assert_eq(stat(path, &stat_of), 0, "%s", path);
        cr_assert_eq(stat_of.st_mode & 07777, rows[i].mode, "%s", path);
    }
    temp_dir_remove(place.root);
}

// What crashes at several moments of the making leave.
Test(conf, completes_what_a_crash_left)
{
    static const char *const left[] = {
        "mkdir -p %s",
        "mkdir -p %s/meters %s/shards/0000/log && : > %s/shards/0000/log/data.mdb",
        "mkdir -p %s/shards/0000/log %s/shards/0000/state && : > %s/ledger.conf.new",
        "mkdir -p %s && : > %s/lock && printf 'format = 1\\nsha' > %s/ledger.conf.new",
    };
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        struct place place;
        struct error error = {0};
        struct ledger *ledger;
        char command[1024];
        place_make(&place);
        (void)snprintf(command, sizeof command, left[i], place.dir, place.dir, place.dir);
        cr_assert_eq(system(command), 0);
        succeed(ledger_create(place.dir, &small, &error), &error);
        const struct ledger_options options = {0};
        succeed(ledger_open(place.dir, &options, &ledger, &error), &error);
        succeed(ledger_close(ledger, &error), &error);
        temp_dir_remove(place.root);
    }
}

Test(conf, completes_a_ledger_that_lacks_only_its_conf)
{
    struct place place;
    struct error error = {0};
    char path[256];
    place_make(&place);
    succeed(ledger_create(place.dir, &small, &error), &error);
    path_in(&place, "ledger.conf", path);
    cr_assert_eq(unlink(path), 0);
    succeed(ledger_create(place.dir, &small, &error), &error);
    temp_dir_remove(place.root);
}

// With another secret the stored identities would mean nothing.
Test(conf, makes_no_new_secret_for_old_events)
{
    struct writing writing;
    struct event_bytes event;
    struct error error = {0};
    char path[128];
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    event_make(&event, "s", "a", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    writing_close(&writing);
    (void)snprintf(path, sizeof path, "%s/ledger.conf", writing.dir);
    cr_assert_eq(unlink(path), 0);
    const struct ledger_create_options options = {.shards = 1, .map_size = 64 << 20};
    cr_assert_eq(ledger_create(writing.dir, &options, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "restore ledger.conf"), "%s", error.text);
    writing_end(&writing);
}

struct conf_row {
    const char *from;
    const char *to;
    const char *complaint;
};

Test(conf, refuses_a_file_that_was_changed)
{
    static const struct conf_row rows[] = {
        {"format = 2",         "format = 1",                    "format 1"         },
        {"format = 2",         "former = 2",                    "format is missing"},
        {"shards = 3",         "shards = 0",                    "shards must be"   },
        {"shards = 3",         "shards = x",                    "shards must be"   },
        {"shards = 3",         "shards = 257",                  "shards must be"   },
        {"shards = 3",         "shards = 99999999999999999999", "shards must be"   },
        {"map_size = 8388608", "map_size = 5",                  "map_size"         },
        {"secret = ",          "secret = 0",                    "secret must be"   },
        {"secret = ",          "secret =",                      "secret must be"   },
        {"hours_s = 2",        "hours_s = -2",                  "keep_quarter_hou" },
        {"hours_s = 3",        "hours_s = x3",                  "keep_hours_s"     },
        {"groups_max = 1",     "groups_max = x1",               "groups_max"       },
        {"window_s = 3",       "window_s = 03d",                "dedup_window_s"   },
        {"window_s = .*",      "window_s = 0",                  "dedup_window_s"   },
        {"billing_zones = ",   "billing_zones = ,",             "1 to 64 bytes"    },
        {"billing_zones = ",   "billing_zones = A,B,A",         "A is listed twice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct place place;
        struct error error = {0};
        struct ledger_conf conf;
        char command[1024];
        place_make(&place);
        succeed(ledger_create(place.dir, &small, &error), &error);
        (void)snprintf(
            command,
            sizeof command,
            "sed -i 's/%s/%s/' %s/ledger.conf",
            rows[i].from,
            rows[i].to,
            place.dir);
        cr_assert_eq(system(command), 0);
        cr_assert_eq(ledger_conf_read(place.dir, &conf, &error), STATUS_INVALID, "row %zu", i);
        cr_assert_not_null(strstr(error.text, rows[i].complaint), "%s", error.text);
        cr_assert_eq(ledger_create(place.dir, &small, &error), STATUS_INVALID);
        temp_dir_remove(place.root);
    }
}

static void
open_and_close(const struct place *place, const struct ledger_options *options)
{
    struct error error = {0};
    struct ledger *ledger;
    succeed(ledger_open(place->dir, options, &ledger, &error), &error);
    succeed(ledger_close(ledger, &error), &error);
}

static void
check_terms(const struct place *place, int64_t quarter_hours_s, int64_t hours_s, int64_t window_s)
{
    struct error error = {0};
    struct ledger_conf conf;
    struct ledger_conf shape;
    char path[256];
    char text[8192] = {0};
    succeed(ledger_conf_read(place->dir, &conf, &error), &error);
    cr_assert_eq(conf.terms.keep_quarter_hours_s, quarter_hours_s);
    cr_assert_eq(conf.terms.keep_hours_s, hours_s);
    cr_assert_eq(conf.terms.dedup_window_s, window_s);
    // Who only reads finds the same in the other file, without the secret.
    path_in(place, "ledger.shape", path);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_gt(fread(text, 1, sizeof text - 1, file), 0);
    (void)fclose(file);
    shape = (struct ledger_conf){
        .terms = {.dedup_window_s = 1, .groups_max = 1}
    };
    succeed(terms_read(path, text, &shape.terms, &error), &error);
    cr_assert(terms_equal(&shape.terms, &conf.terms));
}

// What one start says holds for those that say nothing, and for who only reads.
Test(conf, keeps_the_terms_that_the_writer_was_given)
{
    static const char *const zones[] = {"Europe/Berlin", "Asia/Kathmandu"};
    struct place place;
    struct error error = {0};
    struct ledger_conf conf;
    place_make(&place);
    succeed(ledger_create(place.dir, &small, &error), &error);
    check_terms(&place, 3 * 86400, 400 * 86400, 36 * 86400);
    open_and_close(
        &place,
        &(struct ledger_options){
            .zones = zones,
            .zones_count = 2,
            .keep_quarter_hours_ns = 5 * DAY_NS,
            .keep_hours_ns = LEDGER_FOR_GOOD,
            .groups_max = 50,
            .dedup_window_ns = 10 * DAY_NS + 1,
        });
    check_terms(&place, 5 * 86400, 0, 10 * 86400 + 1);
    // A window of ten days leaves no room for events of 35, and nobody asked for that.
    open_and_close(&place, &(struct ledger_options){0});
    check_terms(&place, 5 * 86400, 0, 10 * 86400 + 1);
    succeed(ledger_conf_read(place.dir, &conf, &error), &error);
    cr_assert_eq(conf.terms.zones_count, 2);
    cr_assert_eq(conf.terms.groups_max, 50);
    cr_assert_str_eq(conf.terms.zones[1], "Asia/Kathmandu");
    open_and_close(&place, &(struct ledger_options){.zones = zones, .keep_hours_ns = 2 * DAY_NS});
    check_terms(&place, 5 * 86400, 2 * 86400, 10 * 86400 + 1);
    succeed(ledger_conf_read(place.dir, &conf, &error), &error);
    cr_assert_eq(conf.terms.zones_count, 0);
    temp_dir_remove(place.root);
}

struct terms_row {
    struct ledger_options options;
    const char *complaint;
};

// Nothing of what is refused is written down.
Test(conf, refuses_terms_that_cannot_be)
{
    static const char *const twice[] = {"Europe/Berlin", "Europe/Berlin"};
    static const char *const nowhere[] = {"Europe/Nowhere"};
    static const char *const good[] = {"Europe/Berlin"};
    // clang-format off
    const struct terms_row rows[] = {
        {{.keep_quarter_hours_ns = 60 * SECOND_NS}, "quarter hours kept for 60 s"},
        {{.keep_hours_ns = DAY_NS - SECOND_NS}, "hours kept for 86399 s"},
        {{.groups_max = TERMS_GROUPS_MAX + 1}, "at most 1000000 groups"},
        {{.zones = twice, .zones_count = 2}, "listed twice"},
        {{.zones = nowhere, .zones_count = 1}, "Europe/Nowhere"},
        {{.zones = good, .zones_count = 1, .dedup_window_ns = DAY_NS, .past_max_ns = DAY_NS},
         "dedup window"},
    };
    // clang-format on
    struct place place;
    struct error error = {0};
    struct ledger *ledger;
    place_make(&place);
    succeed(ledger_create(place.dir, &small, &error), &error);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(
            ledger_open(place.dir, &rows[i].options, &ledger, &error), STATUS_INVALID, "%zu", i);
        cr_assert_not_null(strstr(error.text, rows[i].complaint), "%s", error.text);
        check_terms(&place, 3 * 86400, 400 * 86400, 36 * 86400);
    }
    temp_dir_remove(place.root);
}

Test(conf, refuses_what_it_cannot_make)
{
    static const struct {
        struct ledger_create_options options;
        const char *complaint;
    } rows[] = {
        {{.shards = 257},                "at most 256"},
        {{.shards = 1, .map_size = 100}, "1 MiB"      },
    };
    struct place place;
    struct error error = {0};
    place_make(&place);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(ledger_create(place.dir, &rows[i].options, &error), STATUS_INVALID);
        cr_assert_not_null(strstr(error.text, rows[i].complaint), "%s", error.text);
    }
    cr_assert_eq(ledger_create("/proc/nothing/here", &small, &error), STATUS_IO);
    temp_dir_remove(place.root);
}

Test(conf, waits_for_no_other_maker)
{
    struct place place;
    struct error error = {0};
    char path[256];
    place_make(&place);
    cr_assert_eq(mkdir(place.dir, 0700), 0);
    path_in(&place, "lock", path);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_assert_eq(ledger_create(place.dir, &small, &error), STATUS_BUSY);
    (void)close(fd);
    succeed(ledger_create(place.dir, &small, &error), &error);
    temp_dir_remove(place.root);
}
