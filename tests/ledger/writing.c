#include "tests/ledger/writing.h"

#include "base/pack.h"
#include "ledger/cell_state.h"
#include "ledger/intake.h"
#include "ledger/log_reader.h"
#include "ledger/shard_view.h"

#include <criterion/criterion.h>

#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

int64_t writing_now_ns = 1794268800LL * 1000000000LL;

static const int64_t WAIT_MAX_NS = 60 * 1000000000LL;

static int64_t
now_ns(void)
{
    return writing_now_ns;
}

void
succeed(enum status status, const struct error *error)
{
    cr_assert_eq(status, STATUS_OK, "%s", error->text);
}

void
temp_dir_make(char dir[64])
{
    (void)snprintf(dir, 64, "/tmp/tally-ledger-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

void
temp_dir_remove(const char *dir)
{
    cr_assert_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

// What is folded is looked for in quarter hours, however old its events are.
static void
keep_all_cells(const char *dir)
{
    struct ledger_conf conf;
    struct error error = {0};
    succeed(ledger_conf_read(dir, &conf, &error), &error);
    conf.terms.keep_quarter_hours_s = 0;
    conf.terms.keep_hours_s = 0;
    succeed(ledger_conf_write(dir, &conf, &error), &error);
}

void
writing_begin(struct writing *writing, uint32_t shards)
{
    struct error error = {0};
    *writing = (struct writing){.seed = 1};
    temp_dir_make(writing->dir);
    const struct ledger_create_options options = {.shards = shards, .map_size = 64 << 20};
    succeed(ledger_create(writing->dir, &options, &error), &error);
    keep_all_cells(writing->dir);
    writing->fates = malloc(WRITING_EVENTS_MAX);
    cr_assert_not_null(writing->fates);
}

void
writing_end(struct writing *writing)
{
    cr_assert_null(writing->ledger);
    free(writing->fates);
    temp_dir_remove(writing->dir);
}

static void
on_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct writing *writing = context;
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(receipts[i].ticket, (void *)writing);
        cr_assert_lt(receipts[i].index, writing->count);
        cr_assert_eq(writing->fates[receipts[i].index], FATE_UNKNOWN, "a fate came twice");
        writing->fates[receipts[i].index] = fates[i];
    }
}

void
writing_open(struct writing *writing, const struct ledger_options *options)
{
    struct error error = {0};
    struct ledger_options used = {.idle_flush_ns = INT64_MAX / 2};
    if (options != NULL)
        used = *options;
    used.now_ns = now_ns;
    succeed(ledger_open(writing->dir, &used, &writing->ledger, &error), &error);
    succeed(intake_open(writing->ledger, on_fates, writing, &writing->intake, &error), &error);
    writing->count = 0;
    memset(writing->fates, FATE_UNKNOWN, WRITING_EVENTS_MAX);
}

void
writing_close(struct writing *writing)
{
    struct error error = {0};
    intake_close(writing->intake);
    succeed(ledger_close(writing->ledger, &error), &error);
    writing->ledger = NULL;
    writing->intake = NULL;
}

static void
wait_once(struct writing *writing, int64_t deadline_ns)
{
    const char *text = "";
    cr_assert_eq(ledger_failure(writing->ledger, &text), STATUS_OK, "%s", text);
    cr_assert_lt(clock_monotonic_ns(), deadline_ns, "no fates came");
    if (intake_prepare_sleep(writing->intake)) {
        struct pollfd fd = {.fd = intake_fd(writing->intake), .events = POLLIN};
        cr_assert_geq(poll(&fd, 1, 1000), 0);
    }
    intake_collect(writing->intake);
}

uint32_t
writing_put(struct writing *writing, const struct event *event)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    uint32_t index = writing->count;
    cr_assert_lt(index, WRITING_EVENTS_MAX);
    while (!intake_put(writing->intake, event, (struct receipt){writing, index})) {
        intake_offer(writing->intake);
        wait_once(writing, deadline_ns);
    }
    writing->count++;
    return index;
}

void
writing_wait(struct writing *writing)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    intake_offer(writing->intake);
    intake_collect(writing->intake);
    while (intake_pending(writing->intake) > 0)
        wait_once(writing, deadline_ns);
}

enum fate
writing_fate(struct writing *writing, const struct event *event)
{
    uint32_t index = writing_put(writing, event);
    writing_wait(writing);
    return (enum fate)writing->fates[index];
}

enum status
writing_backfill(
    struct writing *writing, enum backfill_act act, const char *id, uint64_t *out_count)
{
    struct error error = {0};
    uint64_t count = 0;
    const struct backfill backfill = {
        .act = act,
        .id = bytes_text(id),
        .who = bytes_text("ann"),
        .why = bytes_text("a test"),
    };
    enum status status = ledger_backfill(writing->ledger, &backfill, &count, &error);
    cr_assert_eq(status, error.status, "%s", error.text);
    if (out_count != NULL)
        *out_count = count;
    return status;
}

void
writing_order(struct writing *writing, uint32_t shard, struct order *order)
{
    struct error error = {0};
    control_begin(writing->ledger);
    enum status status = order_run(writing->ledger, shard, order, &error);
    control_end(writing->ledger);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
}

uint64_t
writing_count(const struct writing *writing, enum fate fate)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < writing->count; i++)
        count += writing->fates[i] == fate;
    return count;
}

// SplitMix64.
uint64_t
writing_random(struct writing *writing, uint64_t below)
{
    uint64_t z = writing->seed += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % below;
}

int64_t
writing_metric(struct writing *writing, const char *name)
{
    const struct metric *const *metrics;
    size_t count = ledger_metrics(writing->ledger, &metrics);
    int64_t sum = 0;
    bool is_found = false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(metrics[i]->name, name) == 0) {
            sum += metric_get(metrics[i]);
            is_found = true;
        }
    }
    cr_assert(is_found, "no metric %s", name);
    return sum;
}

void
writing_meter(
    struct writing *writing, const char *key, const char *type, enum aggregation aggregation)
{
    struct error error = {0};
    struct registry *registry;
    const struct meter meter = {
        .key = key,
        .event_type = type,
        .aggregation = aggregation,
        .value_property = aggregation == AGGREGATION_COUNT ? NULL : "$.n",
        .dimensions = {{"region", "$.region"}},
        .dimensions_count = 1,
    };
    succeed(registry_open(writing->dir, &registry, &error), &error);
    succeed(registry_put(registry, &meter, writing_now_ns, NULL, &error), &error);
    registry_close(registry);
}

static void
add_cells(struct tx *tx, uint32_t meter_id, struct cell_total *total)
{
    struct walk walk = walk_open(tx, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_key key;
        struct cell_state state;
        struct cell_group group;
        enum aggregation aggregation;
        int128 units = 0;
        cr_assert(cell_key_read(walk.key, &key));
        cr_assert(cell_value_aggregation(walk.value, &aggregation));
        cr_assert_eq(cell_value_read(walk.key, walk.value, aggregation, &state, &group), STATUS_OK);
        if (key.meter_id != meter_id || key.width != CELL_QUARTER_HOUR)
            continue;
        total->cells++;
        total->count += (uint64_t)state.count;
        if (aggregation == AGGREGATION_SUM)
            cr_assert(wide_to_int128(&state.sum.sum, &units));
        cr_assert(decimal_add(&total->sum, (struct decimal){units}));
    }
    walk_done(&walk);
}

struct cell_total
writing_cells(const struct writing *writing, uint32_t meter_id)
{
    struct error error = {0};
    struct ledger_conf conf;
    struct cell_total total = {0};
    succeed(ledger_conf_read(writing->dir, &conf, &error), &error);
    for (uint32_t i = 0; i < conf.shards; i++) {
        struct shard_view view = {0};
        succeed(shard_view_open(writing->dir, i, &view, &error), &error);
        struct tx tx = tx_read(view.state);
        add_cells(&tx, meter_id, &total);
        succeed(tx_check(&tx, &error), &error);
        tx_done(&tx);
        shard_view_done(&view);
    }
    return total;
}

static void
add_log(struct tx *tx, struct log_total *total)
{
    struct error error = {0};
    uint64_t first = 0;
    uint64_t head = 0;
    struct log_reader reader = {0};
    succeed(log_first(tx, &first, &error), &error);
    succeed(log_head(tx, &head, &error), &error);
    for (uint64_t sequence = first; sequence <= head; sequence++) {
        struct entry entry;
        succeed(log_open(&reader, tx, sequence, &error), &error);
        total->blocks++;
        while (log_next(&reader, &entry))
            total->events++;
        succeed(log_end(&reader, &error), &error);
    }
    log_reader_done(&reader);
}

struct log_total
writing_log(const struct writing *writing)
{
    struct error error = {0};
    struct ledger_conf conf;
    struct log_total total = {0};
    succeed(ledger_conf_read(writing->dir, &conf, &error), &error);
    for (uint32_t i = 0; i < conf.shards; i++) {
        struct shard_view view = {0};
        succeed(shard_view_open(writing->dir, i, &view, &error), &error);
        struct tx tx = tx_read(view.log);
        add_log(&tx, &total);
        tx_done(&tx);
        shard_view_done(&view);
    }
    return total;
}

void
event_make(struct event_bytes *out, const char *subject, const char *id, int64_t n)
{
    struct buffer properties = {0};
    (void)snprintf(out->subject, sizeof out->subject, "%s", subject);
    (void)snprintf(out->id, sizeof out->id, "%s", id);
    pack_text(&properties, "n");
    pack_int(&properties, n);
    pack_text(&properties, "region");
    pack_text(&properties, n % 2 == 0 ? "eu" : "us");
    cr_assert_leq(properties.size, sizeof out->properties);
    memcpy(out->properties, properties.data, properties.size);
    out->event = (struct event){
        .subject = bytes_text(out->subject),
        .type = bytes_text("llm"),
        .id = bytes_text(out->id),
        .time_ns = writing_now_ns,
        .value = DECIMAL_ONE,
        .properties_count = 2,
        .properties_runs = 1,
        .properties = {bytes_of(out->properties, properties.size)},
    };
    buffer_done(&properties);
}
