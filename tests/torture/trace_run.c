// Power cuts at every point of a recording of tallyd itself (tallyd_test.py makes it):
//
//     torture.trace FILE ROOT --seed 1 --points 200       // ROOT: what was recorded, as it is now
//     torture.trace FILE ROOT --build DIR --at N --variant V     // one such disk; prints what was
//                                                         // sent and acked by then, for tallyd
//
// Marks in it: "S n" chunk n was sent, "A n" it was acked. Chunk n has 1 + n % 7 events with the
// ids n-0, n-1 and so on. After each cut the ledger is opened, closed, dumped and verified: of a
// chunk that was acked each event is there once, of one that was sent at most once, of others none.
// Exits 1 with findings, or when the recording is not what the files are.

#include "base/assert.h"
#include "base/json.h"
#include "ledger/dump.h"
#include "ledger/ledger.h"
#include "ledger/verify.h"
#include "tests/torture/disk.h"
#include "tests/torture/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNKS_MAX = 4096, EVENTS_MAX = 7, SURVIVOR_SECONDS = 300, NOWHERE = -1 };

struct chunk {
    bool is_sent, is_acked;
    uint32_t counts[EVENTS_MAX];  // in the dump
};

struct options {
    const char *file, *root, *build, *without;
    uint64_t seed, points;
    int64_t at, variant;
};

struct tracer {
    struct options options;
    struct recording recording;
    struct disk disk;
    struct chunk chunks[CHUNKS_MAX];
    uint64_t position, changes, acked, cut, found;
    char place[PLACE_SIZE];
};

_Noreturn static void
fail(const char *what, const char *text)
{
    (void)fprintf(stderr, "%s: %s\n", what, text);
    _exit(1);
}

static void
succeed(enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        fail("after the power cut", error->text);
}

// --- the ledger after the cut ---

static void
count_line(struct tracer *tracer, struct bytes text)
{
    const struct json_limits limits = {0};
    scoped(arena_done) struct arena arena = {0};
    struct json *line;
    struct error error = {0};
    char *end;
    succeed(json_parse(text, &limits, &arena, &line, &error), &error);
    const char *id = arena_text_of(&arena, json_member(line, "id")->text);
    uint64_t number = strtoull(id, &end, 10);
    must(number < CHUNKS_MAX && *end == '-');
    uint64_t index = strtoull(end + 1, &end, 10);
    must(index <= number % EVENTS_MAX && *end == '\0');
    tracer->chunks[number].counts[index]++;
}

static bool
on_lines(void *context, struct bytes lines)
{
    const uint8_t *end = lines.data + lines.size;
    for (const uint8_t *at = lines.data; at < end;) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        must(newline != NULL);
        count_line(context, bytes_of(at, (size_t)(newline - at)));
        at = newline + 1;
    }
    return true;
}

static void
check_dump(struct tracer *tracer, const char *dir)
{
    const struct dump_options all = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct error error = {0};
    succeed(dump_run(dir, &all, on_lines, tracer, &error), &error);
    for (uint64_t i = 0; i < CHUNKS_MAX; i++) {
        const struct chunk *chunk = &tracer->chunks[i];
        for (uint64_t j = 0; j <= i % EVENTS_MAX; j++) {
            char text[96];
            if (chunk->counts[j] <= chunk->is_sent && chunk->counts[j] >= chunk->is_acked)
                continue;
            (void)snprintf(
                text,
                sizeof text,
                "%" PRIu64 "-%" PRIu64 " is there %u times%s",
                i,
                j,
                chunk->counts[j],
                chunk->is_acked ? ", but was acked" : "");
            fail("event", text);
        }
    }
}

static void
on_finding(void *context, const struct verify_finding *finding)
{
    char text[512];
    (void)context;
    (void)snprintf(text, sizeof text, "%s: %s", finding->key, finding->what);
    fail("verify", text);
}

static void
check_verify(const char *dir)
{
    struct verify_summary summary;
    struct error error = {0};
    const struct verify_options options = {.on_finding = on_finding};
    succeed(verify_run(dir, &options, &summary, &error), &error);
}

static void
check_ledger(struct tracer *tracer, const char *dir, uint64_t seed)
{
    const struct ledger_options options = {.idle_flush_ns = INT64_MAX / 2, .dedup_hot_max = 5000};
    struct ledger_conf conf;
    struct ledger *ledger;
    struct error error = {0};
    // Not even made yet.
    if (ledger_conf_read(dir, &conf, &error) == STATUS_NOT_FOUND) {
        if (tracer->acked > 0)
            fail("the ledger", "is gone, but acked");
        return;
    }
    if (seed % 4 == 0)
        check_verify(dir);
    succeed(ledger_open(dir, &options, &ledger, &error), &error);
    succeed(ledger_close(ledger, &error), &error);
    check_dump(tracer, dir);
    check_verify(dir);
}

// --- the recording ---

static void
build(const struct tracer *tracer, uint64_t variant, const char *dir)
{
    uint64_t seed = place_mix(place_mix(tracer->options.seed, tracer->position), variant);
    char data[PLACE_SIZE + 32];
    disk_build(&tracer->disk, seed, dir);
    (void)snprintf(data, sizeof data, "%s/data", dir);
    if (seed % 2 == 0)
        place_leave_socket(data);
}

static void
cut(struct tracer *tracer, uint64_t variant)
{
    char dir[PLACE_SIZE + 16];
    int status = 0;
    (void)snprintf(dir, sizeof dir, "%s/cut", tracer->place);
    (void)fflush(NULL);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        char data[PLACE_SIZE + 32];
        (void)alarm(SURVIVOR_SECONDS);
        build(tracer, variant, dir);
        (void)snprintf(data, sizeof data, "%s/data", dir);
        check_ledger(tracer, data, place_mix(tracer->position, variant));
        _exit(0);
    }
    must(waitpid(child, &status, 0) == child);
    tracer->cut++;
    place_remove(dir);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    tracer->found++;
    (void)fprintf(
        stderr,
        "power cut after record %" PRIu64 ", variant %" PRIu64 ", status %d\n",
        tracer->position,
        variant,
        status);
}

static void
cut_some(struct tracer *tracer)
{
    const struct options *options = &tracer->options;
    uint64_t count = options->points / tracer->changes;
    uint64_t rest = options->points % tracer->changes;
    count += place_mix(options->seed, tracer->position) % tracer->changes < rest;
    for (uint64_t i = 0; i < count && tracer->found == 0; i++)
        cut(tracer, i);
}

static void
read_mark(struct tracer *tracer, const struct step *step)
{
    char text[64];
    must(step->record.size < sizeof text);
    memcpy(text, step->bytes, step->record.size);
    text[step->record.size] = '\0';
    uint64_t number = strtoull(text + 1, NULL, 10);
    must(number < CHUNKS_MAX && (text[0] == 'S' || text[0] == 'A'));
    if (text[0] == 'S')
        tracer->chunks[number].is_sent = true;
    else
        tracer->chunks[number].is_acked = true;
    tracer->acked += text[0] == 'A';
}

static void
print_chunks(const struct tracer *tracer)
{
    for (uint32_t i = 0; i < CHUNKS_MAX; i++) {
        if (tracer->chunks[i].is_sent)
            (void)printf("%c %u\n", tracer->chunks[i].is_acked ? 'A' : 'S', i);
    }
}

// Up to where it is to be built, or to its end.
static void
walk(struct tracer *tracer)
{
    struct step step;
    const struct options *options = &tracer->options;
    while (recording_next(&tracer->recording, &step) && tracer->found == 0) {
        tracer->position++;
        if (step.record.kind == RECORD_MARK)
            read_mark(tracer, &step);
        else if (disk_apply(&tracer->disk, &step) && options->build == NULL)
            cut_some(tracer);
        if (options->build != NULL && (uint64_t)options->at == tracer->position) {
            build(tracer, (uint64_t)options->variant, options->build);
            print_chunks(tracer);
            return;
        }
    }
}

static void
compare(struct tracer *tracer)
{
    char text[512];
    if (disk_compare(&tracer->disk, tracer->options.root, text))
        return;
    tracer->found++;
    (void)fprintf(stderr, "%s\n", text);
}

// --- the command ---

static uint64_t
number_of(const char *text)
{
    char *end;
    uint64_t number = text == NULL ? 0 : strtoull(text, &end, 10);
    if (text == NULL || *text == '\0' || *end != '\0') {
        (void)fprintf(
            stderr,
            "usage: torture.trace FILE ROOT [--seed N] [--points N] [--without \"KIND PATTERN\"]\n"
            "                     [--build DIR --at N --variant N]\n");
        exit(2);
    }
    return number;
}

static struct options
options_read(char **argv)
{
    struct options options = {.seed = 1, .points = 100, .at = NOWHERE};
    if (argv[1] == NULL || argv[2] == NULL)
        (void)number_of(NULL);
    options.file = argv[1];
    options.root = argv[2];
    for (char **at = argv + 3; *at != NULL; at++) {
        const char *name = *at++;
        if (strcmp(name, "--build") == 0 && *at != NULL)
            options.build = *at;
        else if (strcmp(name, "--without") == 0 && *at != NULL)
            options.without = *at;
        else if (strcmp(name, "--seed") == 0)
            options.seed = number_of(*at);
        else if (strcmp(name, "--points") == 0)
            options.points = number_of(*at);
        else if (strcmp(name, "--at") == 0)
            options.at = (int64_t)number_of(*at);
        else if (strcmp(name, "--variant") == 0)
            options.variant = (int64_t)number_of(*at);
        else
            (void)number_of(NULL);
    }
    return options;
}

int
main(int argc, char **argv)
{
    static struct tracer tracer;
    must(argc > 0);
    tracer.options = options_read(argv);
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    recording_load(&tracer.recording, tracer.options.file);
    tracer.changes = recording_changes(tracer.recording);
    disk_init(&tracer.disk);
    tracer.disk.without = tracer.options.without;
    if (tracer.options.build != NULL) {
        walk(&tracer);
    } else {
        place_make(tracer.place);
        walk(&tracer);
        if (tracer.found == 0)
            compare(&tracer);
        place_remove(tracer.place);
        (void)printf(
            "crash points tried %" PRIu64 ", findings %" PRIu64 ", records %" PRIu64
            ", chunks acked %" PRIu64 "\n",
            tracer.cut,
            tracer.found,
            tracer.position,
            tracer.acked);
    }
    disk_done(&tracer.disk);
    recording_done(&tracer.recording);
    return tracer.found > 0;
}
