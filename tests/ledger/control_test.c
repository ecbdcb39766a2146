#include "ledger/control.h"

#include "ledger/control_wire.h"
#include "ledger/cut_record.h"
#include "ledger/horizon.h"
#include "ledger/intake.h"
#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "ledger/verify.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// Cuts through a real ledger: numbers, epochs, restarts, a death between two shards, and those who
// ask from another process.

enum { SHARDS = 3, EPOCHS_MAX = 16 };

static void
tell_finding(void *context, const struct verify_finding *finding)
{
    (void)context;
    cr_log_error("shard %d, %s: %s", finding->shard, finding->key, finding->what);
}

static void
check_clean(const struct writing *writing)
{
    struct verify_summary summary;
    struct error error = {0};
    const struct verify_options options = {.on_finding = tell_finding};
    succeed(verify_run(writing->dir, &options, &summary, &error), &error);
    cr_assert_eq(summary.findings, 0);
}

static void
put(struct writing *writing, const char *subject, const char *id, int64_t n, int64_t time_ns)
{
    struct event_bytes event;
    event_make(&event, subject, id, n);
    event.event.time_ns = time_ns;
    cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
}

// An event for a subject of each shard.
static void
put_everywhere(struct writing *writing, const char *id, int64_t time_ns)
{
    for (int i = 0; i < 3 * SHARDS; i++) {
        char subject[32];
        (void)snprintf(subject, sizeof subject, "subject-%d", i);
        put(writing, subject, id, 1, time_ns);
    }
}

static uint32_t
cut(struct writing *writing, int64_t time_ns)
{
    uint32_t number = 0;
    struct error error = {0};
    succeed(ledger_cut(writing->ledger, time_ns, &number, &error), &error);
    return number;
}

// Events in cells on disk of this width, by epoch.
static void
count_epochs(const struct writing *writing, enum cell_width width, int64_t out[EPOCHS_MAX])
{
    struct error error = {0};
    memset(out, 0, EPOCHS_MAX * sizeof out[0]);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard_view view = {0};
        succeed(shard_view_open(writing->dir, i, &view, &error), &error);
        struct tx tx = tx_read(view.state);
        struct walk walk = walk_open(&tx, STATE_DB_CELLS);
        for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
            struct cell_key key;
            struct cell_state state;
            struct cell_group group;
            cr_assert(cell_key_read(walk.key, &key));
            cr_assert_eq(
                cell_value_read(walk.key, walk.value, AGGREGATION_COUNT, &state, &group),
                STATUS_OK);
            cr_assert_lt(key.epoch, EPOCHS_MAX);
            if (key.width == width)
                out[key.epoch] += state.count;
        }
        walk_done(&walk);
        tx_done(&tx);
        shard_view_done(&view);
    }
}

static uint32_t
cuts_on_disk(const struct writing *writing, uint32_t shard, struct cut *out_last)
{
    struct error error = {0};
    struct arena arena = {0};
    struct cuts cuts = {0};
    struct shard_view view = {0};
    succeed(shard_view_open(writing->dir, shard, &view, &error), &error);
    struct tx tx = tx_read(view.state);
    succeed(cuts_read(&tx, &cuts, &arena, &error), &error);
    if (cuts.count > 0)
        *out_last = cuts.list[cuts.count - 1];
    tx_done(&tx);
    shard_view_done(&view);
    arena_done(&arena);
    return cuts.count;
}

static void
begin(struct writing *writing)
{
    writing_begin(writing, SHARDS);
    writing_meter(writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(writing, NULL);
}

Test(control, a_cut_seals_what_ends_before_it_in_every_shard)
{
    struct writing writing;
    int64_t counts[EPOCHS_MAX];
    struct cut last = {0};
    begin(&writing);
    const int64_t old_ns = writing_now_ns - DAY_NS;
    put_everywhere(&writing, "a", old_ns);
    cr_assert_eq(cut(&writing, writing_now_ns - HOUR_NS), 1);
    put_everywhere(&writing, "late", old_ns);
    put_everywhere(&writing, "open", writing_now_ns);
    cr_assert_eq(cut(&writing, writing_now_ns - 2 * HOUR_NS), 2);
    put_everywhere(&writing, "later", old_ns);
    put_everywhere(&writing, "between", writing_now_ns - 90 * MINUTE_NS);
    writing_close(&writing);
    count_epochs(&writing, CELL_QUARTER_HOUR, counts);
    cr_assert_eq(counts[0], 2 * 3 * SHARDS, "a, open");
    cr_assert_eq(counts[1], 2 * 3 * SHARDS, "late, between");
    cr_assert_eq(counts[2], 3 * SHARDS, "later");
    for (uint32_t i = 0; i < SHARDS; i++) {
        cr_assert_eq(cuts_on_disk(&writing, i, &last), 2);
        cr_assert_eq(last.time_s, writing_now_ns / SECOND_NS - 7200);
    }
    check_clean(&writing);
    writing_end(&writing);
}

Test(control, derived_windows_have_epochs_of_their_own_ends)
{
    struct writing writing;
    int64_t counts[EPOCHS_MAX];
    begin(&writing);
    // The clock stands at midnight: yesterday's hours are sealed, the day before's day is.
    const int64_t noon_ns = writing_now_ns - 12 * HOUR_NS;
    put_everywhere(&writing, "a", noon_ns);
    cr_assert_eq(cut(&writing, writing_now_ns - HOUR_NS), 1);
    put_everywhere(&writing, "late", noon_ns);
    writing_close(&writing);
    writing_now_ns += 2 * DAY_NS;
    writing_open(&writing, NULL);
    put_everywhere(&writing, "later", noon_ns);
    writing_close(&writing);
    count_epochs(&writing, CELL_HOUR, counts);
    cr_assert_eq(counts[0], 3 * SHARDS);
    cr_assert_eq(counts[1], 6 * SHARDS);
    count_epochs(&writing, CELL_DAY, counts);
    cr_assert_eq(counts[0], 9 * SHARDS, "the day ended after the cut's time");
    cr_assert_eq(counts[1], 0);
    check_clean(&writing);
    writing_end(&writing);
}

Test(control, cuts_outlive_restarts_flushed_or_not)
{
    struct writing writing;
    int64_t counts[EPOCHS_MAX];
    begin(&writing);
    const int64_t old_ns = writing_now_ns - DAY_NS;
    put_everywhere(&writing, "a", old_ns);
    cr_assert_eq(cut(&writing, writing_now_ns), 1);
    writing_close(&writing);
    writing_open(&writing, NULL);
    put_everywhere(&writing, "b", old_ns);
    cr_assert_eq(cut(&writing, writing_now_ns), 2);
    writing_close(&writing);
    check_clean(&writing);
    // A process that dies with both in the log, and nothing of the second run flushed.
    pid_t child = fork();
    if (child == 0) {
        writing_open(&writing, NULL);
        put_everywhere(&writing, "c", old_ns);
        uint32_t number = cut(&writing, writing_now_ns);
        put_everywhere(&writing, "d", old_ns);
        _exit(number == 3 ? 0 : 1);
    }
    int result = 0;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    check_clean(&writing);
    writing_open(&writing, NULL);
    cr_assert_eq(cut(&writing, writing_now_ns), 4);
    put_everywhere(&writing, "e", old_ns);
    writing_close(&writing);
    count_epochs(&writing, CELL_QUARTER_HOUR, counts);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(counts[i], 3 * SHARDS, "epoch %d: %ld", i, (long)counts[i]);
    check_clean(&writing);
    writing_end(&writing);
}

// The order that ledger_cut gives, to one shard only.
static void
cut_one_shard(struct ledger *ledger, uint32_t shard, uint32_t number, int64_t time_ns)
{
    struct waker waker;
    struct error error = {0};
    succeed(waker_init(&waker, &error), &error);
    struct order order = {.kind = ORDER_CUT, .number = number, .time_ns = time_ns, .asker = &waker};
    // The control thread asks for what is unfinished when a ledger is opened.
    control_begin(ledger);
    slot_offer(&ledger->writers[shard].orders, &order);
    waker_wake(&ledger->writers[shard].waker);
    while (!flag_get(&order.is_done))
        waker_wait(&waker, 10);
    control_end(ledger);
    cr_assert_eq(order.error.status, STATUS_OK, "%s", order.error.text);
    waker_done(&waker);
}

static enum status
ask_at_cut(const struct writing *writing, int subject, uint32_t number)
{
    struct error error = {0};
    struct arena arena = {0};
    struct reader *reader = NULL;
    struct usage_result result;
    char name[32];
    (void)snprintf(name, sizeof name, "subject-%d", subject);
    const struct usage_query query = {
        .meter = "calls",
        .subject = bytes_text(name),
        .from_ns = INT64_MIN,
        .to_ns = writing_now_ns,
        .at_cut = number,
    };
    succeed(reader_open(writing->dir, &reader, &error), &error);
    enum status status = usage_query(reader, &query, &arena, &result, &error);
    reader_close(reader);
    arena_done(&arena);
    return status;
}

Test(control, a_death_between_shards_leaves_a_number_to_nobody)
{
    struct writing writing;
    struct cut last = {0};
    begin(&writing);
    put_everywhere(&writing, "a", writing_now_ns - DAY_NS);
    writing_close(&writing);
    pid_t child = fork();
    if (child == 0) {
        writing_open(&writing, NULL);
        cut_one_shard(writing.ledger, 1, 1, writing_now_ns);
        _exit(0);
    }
    int result = 0;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    writing_open(&writing, NULL);
    put_everywhere(&writing, "b", writing_now_ns - DAY_NS);
    cr_assert_eq(cut(&writing, writing_now_ns), 2, "1 is taken in one shard");
    // Also to who asks for a subject of the shard that has it.
    for (int i = 0; i < 3 * SHARDS; i++) {
        cr_assert_eq(ask_at_cut(&writing, i, 1), STATUS_NOT_FOUND);
        cr_assert_eq(ask_at_cut(&writing, i, 2), STATUS_OK);
    }
    writing_close(&writing);
    for (uint32_t i = 0; i < SHARDS; i++) {
        cr_assert_eq(cuts_on_disk(&writing, i, &last), i == 1 ? 2 : 1);
        cr_assert_eq(last.number, 2);
    }
    check_clean(&writing);
    writing_end(&writing);
}

Test(control, a_cut_of_no_sensible_time_is_refused)
{
    struct writing writing;
    struct error error = {0};
    uint32_t number = 0;
    begin(&writing);
    cr_assert_eq(ledger_cut(writing.ledger, -1, &number, &error), STATUS_INVALID);
    cr_assert_eq(
        ledger_cut(writing.ledger, writing_now_ns + HOUR_NS, &number, &error), STATUS_INVALID);
    cr_assert_eq(number, 0);
    cr_assert_eq(cut(&writing, 0), 1);
    writing_close(&writing);
    check_clean(&writing);
    writing_end(&writing);
}

struct found {
    uint64_t count;
    char text[1024];
};

static void
keep_finding(void *context, const struct verify_finding *finding)
{
    struct found *found = context;
    found->count++;
    (void)snprintf(found->text, sizeof found->text, "%s: %s", finding->key, finding->what);
}

// What verify finds when the record of cut 1 in shard 0 is changed: a flipped bit, or gone.
static struct found
find_damage(const struct writing *writing, bool is_deleted)
{
    static const uint8_t key[CUT_KEY_SIZE] = {'c', 'u', 't', 0, 0, 0, 1};
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    struct error error = {0};
    struct env *env = NULL;
    struct bytes value;
    uint8_t copy[64];
    char path[128];
    (void)snprintf(path, sizeof path, "%s/shards/0000/state", writing->dir);
    succeed(env_open(path, &options, &env, &error), &error);
    struct tx tx = tx_write(env);
    cr_assert(tx_get(&tx, STATE_DB_META, bytes_of(key, sizeof key), &value));
    memcpy(copy, value.data, value.size);
    copy[3] ^= 1;
    if (is_deleted)
        cr_assert(tx_delete(&tx, STATE_DB_META, bytes_of(key, sizeof key)));
    else
        tx_put(&tx, STATE_DB_META, bytes_of(key, sizeof key), bytes_of(copy, value.size));
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
    struct found found = {0};
    struct verify_summary summary;
    const struct verify_options verify = {.on_finding = keep_finding, .context = &found};
    succeed(verify_run(writing->dir, &verify, &summary, &error), &error);
    return found;
}

Test(control, verify_holds_the_records_of_cuts_against_the_log)
{
    struct writing writing;
    begin(&writing);
    put_everywhere(&writing, "a", writing_now_ns - DAY_NS);
    cr_assert_eq(cut(&writing, writing_now_ns), 1);
    writing_close(&writing);
    struct found found = find_damage(&writing, false);
    cr_assert_eq(found.count, 1);
    cr_assert_not_null(strstr(found.text, "its checksum does not match"), "%s", found.text);
    found = find_damage(&writing, true);
    cr_assert_eq(found.count, 1);
    cr_assert_str_eq(found.text, "state cuts: they are not those of the log");
    writing_end(&writing);
}

// What a child process says that asked for a cut: its number, or 100 + the status.
static int
ask_in_child(const char *dir, int64_t time_ns, uid_t uid)
{
    pid_t child = fork();
    if (child == 0) {
        const struct control_request request = {.kind = CONTROL_CUT, .time_ns = time_ns};
        struct control_answer answer = {0};
        struct error error = {0};
        if (uid != geteuid() && setresuid(uid, uid, uid) != 0)
            _exit(99);
        enum status status = control_do(dir, &request, &answer, &error);
        _exit(status ? 100 + (int)status : (int)answer.number);
    }
    int result = 0;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result));
    return WEXITSTATUS(result);
}

Test(control, other_processes_ask_on_the_read_socket_or_write_themselves)
{
    struct writing writing;
    struct cut last = {0};
    begin(&writing);
    put_everywhere(&writing, "a", writing_now_ns - DAY_NS);
    cr_assert_eq(ask_in_child(writing.dir, writing_now_ns, geteuid()), 1);
    cr_assert_eq(ask_in_child(writing.dir, -5, geteuid()), 100 + STATUS_INVALID);
    cr_assert_eq(ask_in_child(writing.dir, writing_now_ns, geteuid()), 2);
    writing_close(&writing);
    // Nobody listens: the process opens the ledger, with the real clock.
    cr_assert_eq(ask_in_child(writing.dir, HOUR_NS, geteuid()), 3);
    cr_assert_eq(ask_at_cut(&writing, 0, 3), STATUS_INVALID, "it is in the log, and of 01:00");
    writing_open(&writing, NULL);
    writing_close(&writing);
    cr_assert_eq(cuts_on_disk(&writing, 0, &last), 3);
    cr_assert_eq(last.time_s, 3600);
    check_clean(&writing);
    writing_end(&writing);
}

static int64_t
berlin_days_made(const struct writing *writing)
{
    struct shard_view view = {0};
    struct horizons horizons;
    struct error error = {0};
    succeed(shard_view_open(writing->dir, 0, &view, &error), &error);
    struct tx tx = tx_read(view.state);
    succeed(horizons_read(&tx, &horizons, &error), &error);
    const struct horizon *days = horizons_find(&horizons, CELL_ZONE_DAY, 1);
    int64_t made_s = days != NULL ? days->made_s : 0;
    tx_done(&tx);
    shard_view_done(&view);
    return made_s;
}

// Who has no tallyd to ask does not know how long identities are kept, and which zones are listed.
Test(control, a_change_without_tallyd_forgets_nothing_and_undoes_no_window)
{
    static const char *const zones[] = {"Europe/Berlin"};
    const struct ledger_options options = {
        .dedup_window_ns = 40000 * DAY_NS,
        .dedup_hot_max = 16,
        .group_events_max = 8,
        .idle_flush_ns = INT64_MAX / 2,
        .zones = zones,
        .zones_count = 1,
    };
    struct writing writing;
    writing_begin(&writing, 1);
    writing_meter(&writing, "calls", "llm", AGGREGATION_COUNT);
    // 2001: older than any window but this one.
    writing_now_ns = 1000000000 * SECOND_NS;
    writing_open(&writing, &options);
    for (int i = 0; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        put(&writing, "s", id, 1, writing_now_ns - 3 * DAY_NS);
    }
    writing_close(&writing);
    const int64_t made_s = berlin_days_made(&writing);
    cr_assert_gt(made_s, 0);
    cr_assert_eq(ask_in_child(writing.dir, HOUR_NS, geteuid()), 1);
    cr_assert_eq(berlin_days_made(&writing), made_s);
    writing_open(&writing, &options);
    struct event_bytes event;
    event_make(&event, "s", "0", 1);
    event.event.time_ns = writing_now_ns - 3 * DAY_NS;
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_DUPLICATE);
    writing_close(&writing);
    cr_assert_eq(berlin_days_made(&writing), made_s);
    check_clean(&writing);
    writing_end(&writing);
}

Test(control, only_the_user_that_runs_the_ledger_may_change_it)
{
    struct writing writing;
    if (geteuid() != 0)
        cr_skip_test("another user can be had by root only");
    begin(&writing);
    cr_assert_eq(chmod(writing.dir, 02770), 0);
    cr_assert_eq(ask_in_child(writing.dir, writing_now_ns, 65534), 100 + STATUS_BUSY);
    cr_assert_eq(ask_in_child(writing.dir, writing_now_ns, 0), 1);
    writing_close(&writing);
    writing_end(&writing);
}

// Something listens, reads the request, and dies.
static void
listen_and_die(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t bytes[64];
    int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/read.sock", dir);
    cr_assert(size > 0 && (size_t)size < sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)unlink(address.sun_path);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 1), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        int peer = accept(fd, NULL, NULL);
        _exit(read(peer, bytes, sizeof bytes) > 0 ? 0 : 1);
    }
    (void)close(fd);
}

Test(control, who_gets_no_answer_is_told_to_ask_again)
{
    struct writing writing;
    struct error error = {0};
    struct control_answer answer;
    const struct control_request request = {.kind = CONTROL_CUT, .time_ns = HOUR_NS};
    int ended = 1;
    begin(&writing);
    writing_close(&writing);
    listen_and_die(writing.dir);
    cr_assert_eq(control_do(writing.dir, &request, &answer, &error), STATUS_CLOSED);
    cr_assert_not_null(strstr(error.text, "ask again"), "%s", error.text);
    cr_assert_gt(wait(&ended), 0);
    cr_assert_eq(ended, 0);
    writing_end(&writing);
}

Test(control, requests_and_answers_are_refused_at_every_wrong_length)
{
    struct buffer frame = {0};
    const struct control_request request = {.kind = CONTROL_CUT, .time_ns = 1234567890123};
    struct control_request read;
    control_request_write(&request, &frame);
    struct bytes body = bytes_of(frame.data + MEMORY_FRAME_HEAD, frame.size - MEMORY_FRAME_HEAD);
    cr_assert(control_is_request(body));
    cr_assert(control_request_read(body, &read));
    cr_assert_eq(read.time_ns, request.time_ns);
    for (size_t size = 0; size < body.size; size++)
        cr_assert_not(control_request_read(bytes_of(body.data, size), &read), "%zu", size);
    frame.data[MEMORY_FRAME_HEAD + 1] = 99;
    cr_assert_not(control_request_read(body, &read), "another kind");
    frame.data[MEMORY_FRAME_HEAD + 1] = CONTROL_CUT;
    frame.data[MEMORY_FRAME_HEAD]++;
    cr_assert_not(control_request_read(body, &read), "another version");

    const struct control_answer answer = {.number = 7};
    struct control_answer answer_read;
    struct error error = {.status = STATUS_FULL, .text = "it is full"};
    struct error error_read = {0};
    buffer_reset(&frame);
    control_answer_write(&answer, &error, &frame);
    body = bytes_of(frame.data + MEMORY_FRAME_HEAD, frame.size - MEMORY_FRAME_HEAD);
    cr_assert(control_answer_read(body, &answer_read, &error_read));
    cr_assert_eq(answer_read.number, 7);
    cr_assert_eq(error_read.status, STATUS_FULL);
    cr_assert_str_eq(error_read.text, "it is full");
    for (size_t size = 0; size < body.size; size++)
        cr_assert_not(control_answer_read(bytes_of(body.data, size), &answer_read, &error_read));
    buffer_done(&frame);
}
