#include "tests/torture/life.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/files.h"
#include "ledger/fired.h"
#include "ledger/rebuild.h"
#include "ledger/threshold.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t START_NS = 1794268800LL * 1000000000LL;  // 2026-11-10T00:00:00Z
static const int64_t WAIT_MAX_NS = 60 * 1000000000LL;

int64_t workload_now_ns;

static int64_t
now_ns(void)
{
    return workload_now_ns;
}

void
fail(const struct workload *workload, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "seed %" PRIu64 ": ", workload->seed);
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    _exit(1);
}

void
succeed(const struct workload *workload, enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        fail(workload, "%s", error->text);
}

// --- the ledger ---

static void
on_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct life *life = context;
    char text[32 + WORKLOAD_BATCH_MAX * 8];
    int size = snprintf(text, sizeof text, "F %u", life->deed);
    for (size_t i = 0; i < count; i++) {
        must(receipts[i].index < life->workload.batch_count);
        if (life->workload.shared->fates[receipts[i].index] != WORKLOAD_UNKNOWN)
            fail(&life->workload, "a fate came twice");
        life->workload.shared->fates[receipts[i].index] = fates[i];
        size += snprintf(
            text + size, sizeof text - (size_t)size, " %u %u", receipts[i].index, fates[i]);
    }
    if (life->mark != NULL)
        life->mark(text);
}

static void
session_open(struct life *life)
{
    struct workload *workload = &life->workload;
    struct error error = {0};
    succeed(
        workload, ledger_open(workload->dir, &life->options, &workload->ledger, &error), &error);
    succeed(
        workload, intake_open(workload->ledger, on_fates, life, &workload->intake, &error), &error);
    succeed(workload, reader_open(workload->dir, &workload->reader, &error), &error);
}

static void
session_close(struct workload *workload)
{
    struct error error = {0};
    reader_close(workload->reader);
    intake_close(workload->intake);
    succeed(workload, ledger_close(workload->ledger, &error), &error);
    workload->reader = NULL;
    workload->intake = NULL;
    workload->ledger = NULL;
}

// Limits so small that a few hundred events flush cells, seal and merge identities.
static void
options_draw(struct life *life)
{
    static const uint64_t tails[] = {1, 3000, 20000, 1 << 30};
    static const uint32_t groups[] = {4, 50, 0};
    static const uint32_t hots[] = {16, 64, 200, 5000};
    struct workload *workload = &life->workload;
    workload->zones_first = (uint32_t)draw(workload, WORKLOAD_ZONES);
    workload->zones_count = (uint32_t)draw(workload, 3);
    const uint32_t zones_left = WORKLOAD_ZONES - workload->zones_first;
    life->options = (struct ledger_options){
        .zones = workload_zones + workload->zones_first,
        .zones_count = workload->zones_count < zones_left ? workload->zones_count : zones_left,
        .past_max_ns = workload->model.past_max_ns,
        .future_max_ns = workload->model.future_max_ns,
        .group_size_bytes = 1 << 20,
        .group_events_max = groups[draw(workload, 3)],
        .tail_max_bytes = tails[draw(workload, 4)],
        .idle_flush_ns = INT64_MAX / 2,
        .dedup_hot_max = hots[draw(workload, 4)],
        .dedup_on_disk = chance(workload, 20),
        .dedup_window_ns = 1000 * DAY_NS,
        .keep_quarter_hours_ns = keeps_quarter_hours(workload) ? LEDGER_FOR_GOOD : 3 * DAY_NS,
        .keep_hours_ns = LEDGER_FOR_GOOD,
        .keep_log_ns = workload->keep_log_ns,
        .groups_max = groups_max_of(workload),
        .now_ns = now_ns,
    };
}

// --- marks of thresholds ---

// The last number; those of all numbers up to it are there, each once.
static uint64_t
marks_count(const struct workload *workload, uint32_t shard)
{
    scoped(arena_done) struct arena arena = {0};
    struct env *env = NULL;
    struct error error = {0};
    struct fired *list = NULL;
    uint32_t count = 0;
    succeed(workload, fired_open_view(workload->dir, shard, &env, &error), &error);
    if (env == NULL)
        return 0;
    struct tx tx = tx_read(env);
    succeed(workload, fired_list(&tx, 0, UINT32_MAX, &arena, &list, &count, &error), &error);
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].sequence != i + 1)
            fail(workload, "shard %u: mark %u has another number", shard, i + 1);
        for (uint32_t j = 0; j < i; j++) {
            if (list[i].threshold_id == list[j].threshold_id && list[i].from_s == list[j].from_s &&
                bytes_equal(list[i].subject, list[j].subject))
                fail(workload, "shard %u: marks %u and %u are the same", shard, j + 1, i + 1);
        }
    }
    tx_done(&tx);
    env_close(env);
    return count;
}

// A session is open: what anybody may have seen by now.
static void
marks_show(struct life *life)
{
    for (uint32_t i = 0; i < life->workload.shards; i++) {
        char text[64];
        uint64_t count = marks_count(&life->workload, i);
        if (count == life->shown[i])
            continue;
        life->shown[i] = count;
        (void)snprintf(text, sizeof text, "T %u %u %" PRIu64, life->deed, i, count);
        life->mark(text);
    }
}

static void
check_marks(const struct life *life)
{
    for (uint32_t i = 0; i < life->workload.shards; i++) {
        uint64_t count = marks_count(&life->workload, i);
        if (count < life->shown[i])
            fail(
                &life->workload,
                "shard %u: %" PRIu64 " marks of thresholds were shown, %" PRIu64 " are there",
                i,
                life->shown[i],
                count);
    }
}

// --- a start by itself ---

struct life_saved {
    char dir[WORKLOAD_DIR_MAX];
    struct ledger_options options;
    uint32_t zones_first;
    int64_t now_ns;
};

bool
life_can_start(const struct life *life)
{
    return life->is_open || life->kind == LIFE_OPEN;
}

void
life_start_save(const struct life *life, const char *dir, const char *file)
{
    struct life_saved saved = {
        .options = life->options,
        .zones_first = life->workload.zones_first,
        .now_ns = workload_now_ns,
    };
    int size = snprintf(saved.dir, sizeof saved.dir, "%s", dir);
    must(size > 0 && (size_t)size < sizeof saved.dir);
    FILE *out = fopen(file, "wb");
    must(out != NULL && fwrite(&saved, sizeof saved, 1, out) == 1 && fclose(out) == 0);
}

void
life_start(const char *file)
{
    struct life_saved saved;
    struct ledger *ledger = NULL;
    struct error error = {0};
    FILE *in = fopen(file, "rb");
    must(in != NULL && fread(&saved, sizeof saved, 1, in) == 1 && fclose(in) == 0);
    const struct workload workload = {0};
    workload_now_ns = saved.now_ns;
    saved.options.zones = workload_zones + saved.zones_first;
    saved.options.now_ns = now_ns;
    succeed(&workload, ledger_open(saved.dir, &saved.options, &ledger, &error), &error);
    succeed(&workload, ledger_close(ledger, &error), &error);
}

// --- after the power cut ---

static void
check_offline(struct workload *workload)
{
    struct error error = {0};
    succeed(workload, reader_open(workload->dir, &workload->reader, &error), &error);
    check_answers(workload, 10);
    reader_close(workload->reader);
    workload->reader = NULL;
}

static struct life *survivor;

static void
reopen(struct workload *workload)
{
    must(workload == &survivor->workload);
    survivor->options.dedup_hot_max = 5000;
    survivor->options.dedup_on_disk = false;
    session_open(survivor);
    session_close(workload);
}

// The ledger is what the model says, in memory, on disk, and made once more of the log.
_Noreturn static void
life_end(struct life *life)
{
    struct workload *workload = &life->workload;
    workload->is_retry = false;
    if (workload->ledger == NULL)
        session_open(life);
    check_marks(life);
    check_answers(workload, 20);
    session_close(workload);
    check_dump(workload);
    check_verify(workload);
    survivor = life;
    if (chance(workload, 5) && workload->keep_log_ns == 0) {
        workload->is_ending = true;
        check_rebuild(workload, reopen);
        check_offline(workload);
    }
    _exit(0);
}

static const char *
text_load(const struct workload *workload, const char *name, struct buffer *out)
{
    char path[256];
    struct error error = {0};
    (void)snprintf(path, sizeof path, "%s/%s", workload->dir, name);
    succeed(workload, files_load(path, out, &error), &error);
    buffer_u8(out, 0);
    must(!buffer_failed(out));
    return (const char *)out->data;
}

// Those who may not read ledger.conf read ledger.shape: it has every line of it but the secret's,
// perhaps with the value of an opening that did not come to an end.
static void
check_shape(const struct workload *workload)
{
    scoped(buffer_done) struct buffer conf = {.limit = 1 << 20};
    scoped(buffer_done) struct buffer shape = {.limit = 1 << 20};
    const char *line = text_load(workload, "ledger.conf", &conf);
    const char *text = text_load(workload, "ledger.shape", &shape);
    for (; *line != '\0'; line += strcspn(line, "\n") + 1) {
        char key[64];
        if (*line == '#' || strncmp(line, "secret", strlen("secret")) == 0)
            continue;
        (void)snprintf(key, sizeof key, "\n%.*s=", (int)strcspn(line, "="), line);
        if (strstr(text, key) == NULL)
            fail(workload, "ledger.shape has no line %s", key + 1);
    }
}

void
life_survive(struct life *life)
{
    struct workload *workload = &life->workload;
    bool is_whole = life->kind != LIFE_CREATE && life->kind != LIFE_REBUILD;
    if (is_whole)
        check_shape(workload);
    if (is_whole && chance(workload, 25))
        check_marks(life);
    life->is_survivor = true;
    workload->is_real = true;
    workload->is_retry = life->has_begun;
    if (is_whole && chance(workload, 25))
        check_verify(workload);
    if (is_whole && !life->has_begun && !workload->is_in_flight && chance(workload, 25))
        check_offline(workload);
    if (life->is_open)
        session_open(life);
}

// --- deeds ---

static void
deed_mark(const struct life *life, char letter)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%c %u", letter, life->deed);
    if (life->mark != NULL && life->workload.is_real)
        life->mark(text);
}

static void
deed_begin(struct life *life, enum life_deed kind)
{
    life->deed++;
    life->kind = kind;
    deed_mark(life, 'B');
    // What was drawn for a check before has no part in what is drawn now.
    uint64_t random = life->workload.random;
    if (life->on_deed != NULL && !life->is_survivor)
        life->on_deed(life);
    life->workload.random = random;
}

static void
deed_end(struct life *life)
{
    bool is_open = life->workload.ledger != NULL;
    if (life->mark != NULL && life->workload.is_real && is_open)
        marks_show(life);
    deed_mark(life, 'E');
    if (!life->is_survivor)
        return;
    life->workload.is_retry = false;
    if (!life->workload.is_in_flight)
        life_end(life);
}

// Half of these deeds are first begun in a process that is killed at any call of its, and then done
// again, like by an operator who saw it die.
static void
killed_first(struct life *life, void (*deed)(struct life *life))
{
    struct workload *workload = &life->workload;
    bool is_killed = chance(workload, 50);
    uint64_t calls = 1 + draw(workload, chance(workload, 50) ? 30 : 200);
    int status = 0;
    if (!workload->is_real)
        return;
    if (is_killed && life->arm != NULL) {
        (void)fflush(NULL);
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            life->arm(calls);
            deed(life);
            _exit(0);
        }
        must(waitpid(child, &status, 0) == child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail(workload, "a process that was to be killed ended with status %d", status);
        workload->is_retry = true;
    }
    deed(life);
    // A survivor's stays until its deed has ended.
    if (!life->is_survivor)
        workload->is_retry = false;
}

// --- batches ---

// Until no more than this many fates are to come.
static void
wait_for_fates(struct workload *workload, uint64_t pending)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    const char *text = "";
    intake_offer(workload->intake);
    intake_collect(workload->intake);
    while (intake_pending(workload->intake) > pending) {
        if (ledger_failure(workload->ledger, &text) != STATUS_OK)
            fail(workload, "the ledger failed: %s", text);
        if (clock_monotonic_ns() > deadline_ns)
            fail(workload, "no fates came");
        if (intake_prepare_sleep(workload->intake)) {
            struct pollfd fd = {.fd = intake_fd(workload->intake), .events = POLLIN};
            must(poll(&fd, 1, 1000) >= 0);
        }
        intake_collect(workload->intake);
    }
}

static void
batch_hand_over(struct workload *workload)
{
    scoped(buffer_done) struct buffer buffer = {0};
    memset(workload->shared->fates, WORKLOAD_UNKNOWN, WORKLOAD_BATCH_MAX);
    for (uint32_t i = 0; i < workload->batch_count; i++) {
        struct event event;
        event_encode(&workload->batch[i], &buffer, &event);
        while (!intake_put(workload->intake, &event, (struct receipt){workload, i}))
            wait_for_fates(workload, 0);
    }
}

// Of a batch that was under way when the power went, or its process died, any part may be known.
// What was acked as stored or as a duplicate is known now. An event that the clock refuses may have
// an identity that a later one of the batch brought.
static bool
fate_is_right(uint8_t fate, enum fate expected, bool may_be_known, uint8_t acked)
{
    bool is_acked = acked == FATE_STORED || acked == FATE_DUPLICATE;
    bool is_refused = expected == FATE_TOO_OLD || expected == FATE_TOO_FAR_AHEAD ||
                      expected == FATE_BATCH_NOT_OPEN;
    if (!may_be_known)
        return fate == expected;
    if (expected == FATE_STORED && is_acked)
        return fate == FATE_DUPLICATE;
    if (expected == FATE_STORED)
        return fate == FATE_STORED || fate == FATE_DUPLICATE;
    return fate == expected || (is_refused && (fate == FATE_DUPLICATE || fate == FATE_CONFLICT));
}

static const char *
fate_text(uint8_t fate)
{
    return fate < FATE_COUNT ? fate_name((enum fate)fate) : "no fate";
}

static void
batch_compare(const struct life *life, uint32_t index, enum fate expected)
{
    const struct workload *workload = &life->workload;
    const struct model_event *event = &workload->batch[index];
    uint8_t fate = workload->shared->fates[index];
    bool may_be_known = workload->is_in_flight || workload->is_retry;
    if (fate_is_right(fate, expected, may_be_known, life->acked[index]))
        return;
    fail(
        workload,
        "event %u (subject %s, id %s, chunk %s, time %" PRId64
        "): acked before as %s, now %s, the model says %s",
        index,
        event->subject,
        event->id,
        event->chunk,
        event->time_ns,
        fate_text(life->acked[index]),
        fate_text(fate),
        fate_text(expected));
}

// Puts the batch in hand and compares every fate.
static void
batch_put(struct life *life)
{
    struct workload *workload = &life->workload;
    if (workload->is_real) {
        batch_hand_over(workload);
        wait_for_fates(workload, 0);
    }
    for (uint32_t i = 0; i < workload->batch_count; i++) {
        enum fate expected = model_put(&workload->model, &workload->batch[i], workload_now_ns);
        if (workload->is_real)
            batch_compare(life, i, expected);
    }
    workload->is_in_flight = false;
}

static void
put(struct life *life)
{
    if (!life->workload.is_in_flight)
        memset(life->acked, WORKLOAD_UNKNOWN, sizeof life->acked);
    deed_begin(life, LIFE_PUT);
    batch_put(life);
    deed_end(life);
}

// What is sent again has to have an identity.
static void
make_batch(struct workload *workload, uint32_t most)
{
    workload->batch_count = 1 + (uint32_t)draw(workload, most);
    for (uint32_t i = 0; i < workload->batch_count; i++) {
        struct model_event *event = &workload->batch[i];
        make_event(workload, event);
        if (event->id[0] == '\0' && event->chunk[0] == '\0')
            (void)snprintf(event->id, sizeof event->id, "f%u", ++workload->serial);
    }
}

// --- changes ---

static void
change_meter(struct life *life)
{
    struct workload *workload = &life->workload;
    struct error error = {0};
    uint32_t index = (uint32_t)draw(workload, WORKLOAD_METERS);
    struct meter *meter = &workload->meters[index];
    const char *removed = meter->key != NULL && chance(workload, 30) ? meter->key : NULL;
    bool is_polled = chance(workload, 80);
    if (removed != NULL)
        *meter = (struct meter){0};
    else
        make_meter(workload, index);
    if (!workload->is_real)
        return;
    struct registry *registry = reader_registry(workload->reader);
    enum status status = removed != NULL
                             ? registry_remove(registry, removed, &error)
                             : registry_put(registry, meter, workload_now_ns, NULL, &error);
    if (status == STATUS_NOT_FOUND && workload->is_retry)
        status = STATUS_OK;
    succeed(workload, status, &error);
    if (is_polled)
        succeed(workload, ledger_poll_meters(workload->ledger, &error), &error);
}

static void
change(struct life *life, uint64_t kind)
{
    struct workload *workload = &life->workload;
    deed_begin(life, LIFE_CHANGE);
    if (kind < 25)
        change_event(workload);
    else if (kind < 32)
        change_cut(workload);
    else if (kind < 75)
        change_meter(life);
    else
        change_backfill(workload);
    deed_end(life);
}

static void
step(struct life *life)
{
    struct workload *workload = &life->workload;
    uint64_t kind = draw(workload, 100);
    workload->step++;
    if (kind < 8) {
        make_burst(workload);
        put(life);
    } else if (workload->keep_log_ns > 0 && (kind < 25 || kind >= 66)) {
        make_time_pass(workload);
    } else if (kind < 25) {
        uint64_t count = 1 + draw(workload, 3);
        for (uint64_t i = 0; i < count; i++)
            change(life, 0);
    } else if (kind >= 32 && kind < 66) {
        make_batch(workload, chance(workload, 20) ? 100 : 20);
        put(life);
    } else if (kind < 88) {
        change(life, kind);
    } else {
        make_time_pass(workload);
    }
    if (chance(workload, 20))
        check_answers(workload, 10);
}

// --- sessions ---

// A meter with a threshold that subjects reach, beside those that the model knows.
static void
begin_threshold(const struct workload *workload, struct registry *registry)
{
    const struct meter meter = {
        .key = "watched", .event_type = "llm", .aggregation = AGGREGATION_COUNT};
    const struct threshold threshold = {
        .key = "soon",
        .meter = meter.key,
        .period = THRESHOLD_DAY,
        .limit = {3 * DECIMAL_ONE.units},
    };
    enum meter_change change;
    struct error error = {0};
    succeed(workload, registry_put(registry, &meter, workload_now_ns, NULL, &error), &error);
    succeed(
        workload, threshold_put(registry, &threshold, workload_now_ns, &change, &error), &error);
}

static void
begin_meters(struct life *life)
{
    struct workload *workload = &life->workload;
    struct registry *registry = NULL;
    struct error error = {0};
    if (workload->is_real)
        succeed(workload, registry_open(workload->dir, &registry, &error), &error);
    for (uint32_t i = 0; i < WORKLOAD_METERS; i++) {
        if (chance(workload, 30))
            continue;
        make_meter(workload, i);
        if (!workload->is_real)
            continue;
        enum status status =
            registry_put(registry, &workload->meters[i], workload_now_ns, NULL, &error);
        succeed(workload, status, &error);
    }
    if (workload->is_real)
        begin_threshold(workload, registry);
    registry_close(registry);
}

static void
create_now(struct life *life)
{
    struct workload *workload = &life->workload;
    const struct ledger_create_options options = {
        .shards = workload->shards, .map_size = 256 << 20};
    struct error error = {0};
    enum status status = ledger_create(workload->dir, &options, &error);
    if (status == STATUS_EXISTS && workload->is_retry)
        status = STATUS_OK;
    succeed(workload, status, &error);
}

static void
create(struct life *life)
{
    deed_begin(life, LIFE_CREATE);
    killed_first(life, create_now);
    begin_meters(life);
    deed_end(life);
}

static void
die(struct life *life)
{
    struct workload *workload = &life->workload;
    char text[32];
    make_batch(workload, 50);
    uint64_t left = draw(workload, workload->batch_count + 1);
    memset(life->acked, WORKLOAD_UNKNOWN, sizeof life->acked);
    deed_begin(life, LIFE_DIE);
    if (life->is_survivor) {
        batch_put(life);
        deed_end(life);
    }
    workload->is_in_flight = true;
    if (!workload->is_real)
        return;
    batch_hand_over(workload);
    wait_for_fates(workload, left);
    (void)snprintf(text, sizeof text, "E %u", life->deed);
    life->die(text);
}

static void
session(struct life *life, bool is_to_die)
{
    struct workload *workload = &life->workload;
    uint32_t steps = 2 + (uint32_t)draw(workload, 9);
    options_draw(life);
    deed_begin(life, LIFE_OPEN);
    killed_first(life, session_open);
    deed_end(life);
    life->is_open = true;
    if (workload->model.backfills_count == 0 && workload->keep_log_ns == 0) {
        deed_begin(life, LIFE_CHANGE);
        open_backfill(workload);
        deed_end(life);
    }
    if (workload->is_in_flight)
        put(life);
    for (uint32_t i = 0; i < steps; i++)
        step(life);
    if (is_to_die) {
        die(life);
    } else {
        deed_begin(life, LIFE_CLOSE);
        if (workload->is_real)
            session_close(workload);
        deed_end(life);
    }
    life->is_open = false;
}

// A session that dies is lived in a process of its own, and after it by the model.
static void
session_to_death(struct life *life)
{
    struct workload *workload = &life->workload;
    bool was_real = workload->is_real;
    int status = 0;
    if (was_real) {
        (void)fflush(NULL);
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            session(life, true);
            _exit(1);
        }
        must(waitpid(child, &status, 0) == child);
        if (WIFSIGNALED(status))
            fail(workload, "a session died of signal %d", WTERMSIG(status));
        if (WEXITSTATUS(status) != 0)
            _exit(1);
    }
    workload->is_real = false;
    session(life, true);
    workload->is_real = was_real;
}

static void
rebuild_now(struct life *life)
{
    struct workload *workload = &life->workload;
    struct rebuild_options options = {.shard = life->rebuilt, .ledger = life->options};
    struct rebuild_summary summary;
    struct error error = {0};
    succeed(workload, rebuild_run(workload->dir, &options, &summary, &error), &error);
}

static void
rebuild(struct life *life)
{
    struct workload *workload = &life->workload;
    life->rebuilt = (int32_t)draw(workload, workload->shards);
    if (chance(workload, 50))
        life->rebuilt = REBUILD_ALL_SHARDS;
    deed_begin(life, LIFE_REBUILD);
    killed_first(life, rebuild_now);
    deed_end(life);
}

static void
life_begin(struct workload *workload)
{
    static const uint32_t backfill_percents[] = {5, 20, 50};
    workload->random = workload->seed;
    workload->shards = 1 + (uint32_t)draw(workload, LIFE_SHARDS_MAX);
    workload->backfill_percent = backfill_percents[draw(workload, 3)];
    workload->model.past_max_ns = chance(workload, 50) ? 35 * DAY_NS : 2 * DAY_NS;
    workload->model.future_max_ns = 5 * MINUTE_NS;
    // In one of four old chapters of the log are deleted; then nothing changes what is in them.
    if (workload->seed % 4 == 3) {
        workload->keep_log_ns = DAY_NS;
        workload->backfill_percent = 0;
        workload->model.past_max_ns = 2 * DAY_NS;
    }
    workload->shared = mmap(
        NULL, sizeof *workload->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(workload->shared != MAP_FAILED);
    workload_now_ns =
        START_NS + (int64_t)draw(workload, 40) * DAY_NS + (int64_t)draw(workload, (uint64_t)DAY_NS);
}

void
life_run(struct life *life)
{
    struct workload *workload = &life->workload;
    life_begin(workload);
    create(life);
    uint32_t sessions = 2 + (uint32_t)draw(workload, 3) + (workload->keep_log_ns > 0 ? 2 : 0);
    for (uint32_t i = 0; i < sessions || workload->is_in_flight; i++) {
        if (chance(workload, 50) && i + 1 < sessions)
            session_to_death(life);
        else
            session(life, false);
        // What is under way is sent again at the same time of the clock, which may refuse it later.
        int64_t pause_ns = 2 * DAY_NS + (int64_t)draw(workload, (uint64_t)DAY_NS);
        if (workload->keep_log_ns > 0)
            workload_now_ns += workload->is_in_flight ? 0 : pause_ns;
        else if (chance(workload, 15))
            rebuild(life);
    }
    deed_begin(life, LIFE_NOTHING);
    deed_end(life);
}

void
life_done(struct life *life)
{
    (void)munmap(life->workload.shared, sizeof *life->workload.shared);
    free(life->workload.history);
    model_done(&life->workload.model);
}
