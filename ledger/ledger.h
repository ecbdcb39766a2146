#pragma once
// The ledger's public face for the one process that writes it (tallyd, and tests). Readers:
// ledger/usage.h.
//
//     ledger_create(dir, &(struct ledger_create_options){.shards = 2}, &error);  // once
//     ledger_open(dir, &options, &ledger, &error);    // locks, recovers, starts writers
//     intake_open(ledger, on_fates, context, &intake, &error);
//         while (intake_put(intake, &event, receipt)) // false: full; wait for fates
//         intake_offer(intake);                       // after each batch: it may be taken
//         intake_collect(intake);                     // intake_fd is readable: calls on_fates
//     intake_close(intake);
//     ledger_close(ledger);                           // commits, flushes cells, stops
//
// Between ingest and ledger stands only this: a batch of decoded events goes in, and later each
// one's fate comes back. A fate of FATE_STORED means: in the log and fsynced. If a commit fails, no
// fate of that group is ever delivered, ledger_failure says why, and the process is to stop.
//
// Threads: one writer per shard (started here) and one that answers readers (ledger/serve). An
// intake belongs to one front thread. ledger_open/close: main.

#include "base/clock.h"
#include "base/hash.h"
#include "base/metric.h"
#include "ledger/event.h"
#include "ledger/meter.h"
#include "ledger/terms.h"

enum { LEDGER_FORMAT = 2, SHARDS_MAX = 256 };

// How many shards a new ledger gets: half as many as there are processors, 1 to 8. The front,
// keepers and what sends the events take the others. On two processors one shard stores some 15 %
// more events a second than two, for its groups are larger, and a commit costs what it costs
// (bench/README.md).
uint32_t ledger_shards_default(void);

struct ledger_create_options {
    uint32_t shards;    // 1-256; 0: ledger_shards_default
    uint64_t map_size;  // bytes per environment; 0: 1 TiB (sparse)
};

// Makes the directory (setgid, umask 0007), ledger.conf (0600), meters/ and
// shards/NNNN/{log,state}. Durable when it returns (files and directories fsynced); a crash in
// between leaves a directory that a second call completes. STATUS_EXISTS when it exists already and
// agrees (or options.shards is 0); STATUS_INVALID when the shard counts differ.
enum status ledger_create(
    const char *dir, const struct ledger_create_options *options, struct error *error) CHECKED;

struct ledger_conf {
    uint32_t format;
    uint32_t shards;
    uint64_t map_size;
    struct ledger_terms terms;
    struct hash_secret secret;
};

// Reads DIR/ledger.conf. STATUS_NOT_FOUND: no ledger there; STATUS_INVALID: another format, or
// unreadable.
enum status ledger_conf_read(const char *dir, struct ledger_conf *out, struct error *error) CHECKED;
// For those who only read: the same without the secret, which only the ledger's own user can read.
// The secret is all zero for others.
enum status
ledger_shape_read(const char *dir, struct ledger_conf *out, struct error *error) CHECKED;
// Whether ledger.shape, too, is whole: for who can read both.
enum status ledger_shape_check(const char *dir, struct error *error) CHECKED;
// The two halves of making a ledger, for who fills it in between (ledger/restore): meters/ and
// empty shards; then ledger.shape and ledger.conf, with which the ledger exists.
enum status
ledger_lay_out(const char *dir, const struct ledger_conf *conf, struct error *error) CHECKED;
enum status
ledger_conf_write(const char *dir, const struct ledger_conf *conf, struct error *error) CHECKED;

// What is kept for good, where 0 says something else.
static const int64_t LEDGER_FOR_GOOD = INT64_MAX;

struct ledger_options {
    // Clock policy. 0: 35 days, or what the dedup window leaves of them.
    int64_t past_max_ns;
    int64_t future_max_ns;        // 0: 5 minutes
    uint64_t group_size_bytes;    // of a group's events; 0: 8 MiB
    uint32_t group_events_max;    // 0: 65536
    uint64_t tail_max_bytes;      // log not yet flushed to cells, half when they are few; 0: 1 GiB
    uint64_t cells_max_bytes;     // cells in memory of all shards, not yet flushed; 0: 1 GiB
    int64_t idle_flush_ns;        // flush cells after this long without an event; 0: 2 s
    int64_t busy_flush_ns;        // and after this long with events all the time; 0: 15 minutes
    uint64_t dedup_memory_bytes;  // for the filters of all shards; 0: 2 GiB
    bool dedup_on_disk;           // no filter is held, whatever the memory: slow, for tests
    uint32_t dedup_hot_max;       // identities of a shard in memory; 0: 4 Mi / shards, >= 1 Mi
    // Memory of identities is touched ahead of its use, by the keepers: some 60 MiB of all shards
    // at once, the rest as identities come. For who is in a hurry when events come.
    bool touches_ahead;
    int64_t (*now_ns)(void);  // NULL: clock_now_ns
    // What stands in ledger.conf (ledger/terms.h): ledger_open writes there what is said here; 0
    // and NULL: as it stands there.
    // An identity is known for at least so long; at least past_max + future_max.
    int64_t dedup_window_ns;
    // Zones of the tz database whose days and months have cells of their own, at most
    // BILLING_ZONES_MAX; UTC has them always. Others are answered from hours, quarter hours or the
    // log. The list may change from one opening to the next.
    const char *const *zones;
    uint32_t zones_count;
    int64_t keep_quarter_hours_ns;  // cells of that width, at least an hour; or LEDGER_FOR_GOOD
    int64_t keep_hours_ns;          // likewise, at least a day
    int64_t keep_log_ns;            // events themselves; likewise, at least a day
    uint32_t groups_max;  // dimension groups of a subject and meter in an hour, a day, a month
                          // (ledger/crowd); at most TERMS_GROUPS_MAX
    // For who makes a change and closes again, without knowing the options of the tallyd that is to
    // come: what is done stays in the log, no identity is forgotten, no cell written.
    bool is_visit;
};

struct ledger;

// Recovers each shard: reads the identities and cells that are in the log only. STATUS_BUSY:
// another process writes it. STATUS_INVALID: the window is too short.
enum status ledger_open(
    const char *dir,
    const struct ledger_options *options,
    struct ledger **out,
    struct error *error) CHECKED;
// Commits and flushes all that is in; no intake may be open. Returns the first failure of a writer.
enum status ledger_close(struct ledger *ledger, struct error *error) CHECKED;

uint32_t ledger_shards(const struct ledger *ledger);
// Reads the registry again when its revision changed, and hands the new set to the writers. Call it
// some times a second.
enum status ledger_poll_meters(struct ledger *ledger, struct error *error) CHECKED;
// Has the kernel forget what it caches of the logs' files, but for a tail of 16 MiB: nobody reads
// it back. Call it some times a second, where none waits for an ack: it takes a quarter of a
// millisecond for each MiB. One thread.
void ledger_forget_cached(struct ledger *ledger);
// STATUS_OK, or why a writer stopped (the text stays as long as the ledger).
enum status ledger_failure(const struct ledger *ledger, const char **out_text);
// Nanoseconds since a writer that has work last made progress; 0 when none is behind. For /health.
int64_t ledger_stall_ns(const struct ledger *ledger);
// Metrics of all shards, for metrics_print; owned by the ledger.
size_t ledger_metrics(struct ledger *ledger, const struct metric *const **out_metrics);

// Names the chunk of an event in the caller's terms.
struct receipt {
    void *ticket;
    uint32_t index;
};

// Called by intake_collect on the front's thread, in commit order per shard.
typedef void (*fates_fn)(
    void *context, const struct receipt *receipts, const uint8_t *fates, size_t count);

struct intake;

// Who an event was, for a list of what was not counted. Views into the event's copy.
struct event_name {
    struct bytes subject, type, id;
};

enum status intake_open(
    struct ledger *ledger,
    fates_fn on_fates,
    void *context,
    struct intake **out,
    struct error *error) CHECKED;
// Delivers nothing more; groups handed over are still committed. Wait with intake_pending() == 0
// first to drain.
void intake_close(struct intake *intake);
// Copies the event into its shard's open group. False: that group is full and the writer is busy,
// or the event cannot fit; call intake_offer, wait for fates, try the same event again.
bool intake_put(struct intake *intake, const struct event *event, struct receipt receipt) CHECKED;
void intake_offer(struct intake *intake);
void intake_collect(struct intake *intake);
// Only while on_fates runs: the event at this position of its arrays. The views end when on_fates
// returns.
void intake_recall(const struct intake *intake, size_t position, struct event_name *out);
// Readable when there is something to collect. Owned by the intake.
int intake_fd(const struct intake *intake);
// Before the front sleeps in poll: asks for a wake-up on intake_fd. False: there is something to
// collect already.
bool intake_prepare_sleep(struct intake *intake);
// Events put whose fate was not delivered yet.
uint64_t intake_pending(const struct intake *intake);
