// Power cuts, one after another, at every point of recorded lives of a ledger.
//
//     torture.crash --seed 1 --lives 10 --points 500 [--without "dsync PATTERN"] [--verbose]
//     torture.crash --seed 7 --recording FILE --at RECORD --variant N     // one again
//
// A life (life.h) is lived by this program in a process of its own, under the recorder, and then
// once more beside the recording by the model alone. Between any two records the power may go: a
// disk is built as it may look then (disk.h), and a child of this process opens the ledger on it,
// asks again for what was not answered, and holds all of it against the model. In one of ten a
// start on that disk is recorded first, and the power goes again somewhere along it. What the
// recording says must be what the files are, byte by byte; else something writes past the recorder.
//
// A finding keeps the recording and says how to see it again; threads make every recording of a
// seed another one. Exits 1 with findings.

#include "base/assert.h"
#include "tests/torture/disk.h"
#include "tests/torture/life.h"
#include "tests/torture/place.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SURVIVOR_SECONDS = 300, NOWHERE = -1 };
#define SEED_VARIABLE "TALLY_CRASH_SEED"

struct options {
    uint64_t seed, lives, points;
    uint64_t again;  // percent of the points at which the start after it is cut, too
    const char *without, *without_start;  // the latter of the starts that are cut, too
    const char *recording;
    int64_t at, variant;
    bool is_live, is_verbose, is_expected;
};

struct cutter {
    const struct options *options;
    struct recording recording;
    struct disk disk;
    uint64_t position;    // of the record that comes next
    uint64_t changes;     // records of the whole recording behind which the power may go
    uint64_t cut, found;  // points tried; findings
    uint64_t again;       // of these, along the start after another one
    char root[PLACE_SIZE];
    char file[PLACE_SIZE];
};

// The program again, under the recorder.
static void
run_recorded(const char *root, const char *file, const char *option, const char *argument)
{
    int status = place_run_recorded(root, file, (const char *[]){option, argument, NULL});
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)fprintf(stderr, "%s %s failed, status %d\n", option, argument, status);
        exit(1);
    }
}

// --- one power cut ---

static void
survivor_dir(const struct cutter *cutter, char out[PLACE_SIZE + 16])
{
    (void)snprintf(out, PLACE_SIZE + 16, "%s/cut", cutter->root);
}

static uint64_t
seed_of(const struct cutter *cutter, uint64_t variant)
{
    return place_mix(place_mix(cutter->options->seed, cutter->position), variant);
}

static bool
is_cut_again(const struct cutter *cutter, const struct life *life, uint64_t seed)
{
    return life_can_start(life) && place_mix(seed, 4) % 100 < cutter->options->again;
}

// A start on this disk, recorded, and the power cut once more somewhere along it: the disk of that
// takes the first one's place.
static void
cut_again(struct cutter *cutter, const struct life *life, uint64_t seed, char dir[PLACE_SIZE + 16])
{
    struct disk disk = {.without = cutter->options->without_start};
    struct recording recording;
    struct step step;
    char ledger[PLACE_SIZE + 32];
    char saved[PLACE_SIZE + 32];
    char file[PLACE_SIZE + 32];
    (void)snprintf(ledger, sizeof ledger, "%s/ledger", dir);
    (void)snprintf(saved, sizeof saved, "%s/start", cutter->root);
    (void)snprintf(file, sizeof file, "%s/start.rec", cutter->root);
    disk_init(&disk);
    disk_load(&disk, dir);
    life_start_save(life, ledger, saved);
    (void)unlink(file);
    run_recorded(dir, file, "--start", saved);
    recording_load(&recording, file);
    uint64_t changes = recording_changes(recording);
    uint64_t left = place_mix(seed, 2) % (changes + 1);
    while (recording_next(&recording, &step)) {
        bool is_change = disk_apply(&disk, &step);
        if (is_change && left-- == 0)
            break;
    }
    (void)snprintf(dir, PLACE_SIZE + 16, "%s/cut2", cutter->root);
    if (access(dir, F_OK) == 0)
        place_remove(dir);
    disk_build(&disk, place_mix(seed, 3), dir);
    disk_done(&disk);
    recording_done(&recording);
    (void)unlink(file);
}

static void
survive(struct cutter *cutter, struct life *life, uint64_t variant)
{
    struct workload *workload = &life->workload;
    char dir[PLACE_SIZE + 16];
    uint64_t seed = seed_of(cutter, variant);
    survivor_dir(cutter, dir);
    (void)alarm(SURVIVOR_SECONDS);
    disk_build(&cutter->disk, seed, dir);
    if (is_cut_again(cutter, life, seed))
        cut_again(cutter, life, seed, dir);
    int size = snprintf(workload->dir, sizeof workload->dir, "%s/ledger", dir);
    must(size > 0 && (size_t)size < sizeof workload->dir);
    if (seed % 2 == 0)
        place_leave_socket(workload->dir);
    workload->random = place_mix(seed, 1);
    life_survive(life);
}

static void
say_finding(const struct cutter *cutter, const struct life *life, uint64_t variant, int status)
{
    if (WIFSIGNALED(status))
        (void)fprintf(stderr, "the survivor died of signal %d\n", WTERMSIG(status));
    (void)fprintf(
        stderr,
        "power cut after record %" PRIu64 ", deed %u of kind %d%s; again: torture.crash --seed"
        " %" PRIu64 " --recording %s --at %" PRIu64 " --variant %" PRIu64 "\n",
        cutter->position,
        life->deed,
        (int)life->kind,
        life->has_begun ? "" : " (not begun)",
        cutter->options->seed,
        cutter->file,
        cutter->position,
        variant);
}

// True: this is the child, on the disk of the power cut.
static bool
cut(struct cutter *cutter, struct life *life, uint64_t variant)
{
    char dir[PLACE_SIZE + 16];
    int status = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        if (cutter->options->is_expected)
            must(freopen("/dev/null", "w", stderr) != NULL);
        survive(cutter, life, variant);
        return true;
    }
    must(waitpid(child, &status, 0) == child);
    cutter->cut++;
    survivor_dir(cutter, dir);
    cutter->again += is_cut_again(cutter, life, seed_of(cutter, variant));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        cutter->found++;
        if (!cutter->options->is_expected)
            say_finding(cutter, life, variant, status);
    }
    if (access(dir, F_OK) == 0)
        place_remove(dir);
    (void)snprintf(dir, sizeof dir, "%s/cut2", cutter->root);
    if (access(dir, F_OK) == 0)
        place_remove(dir);
    return false;
}

// How often behind this record: the points are spread evenly, what is left over by chance.
static uint64_t
cuts_here(const struct cutter *cutter)
{
    const struct options *options = cutter->options;
    uint64_t whole = options->points / cutter->changes;
    uint64_t rest = options->points % cutter->changes;
    return whole + (place_mix(options->seed, cutter->position) % cutter->changes < rest);
}

static bool
cut_all(struct cutter *cutter, struct life *life)
{
    const struct options *options = cutter->options;
    if (options->at != NOWHERE)
        return (uint64_t)options->at == cutter->position &&
               cut(cutter, life, (uint64_t)options->variant);
    uint64_t count = cuts_here(cutter);
    for (uint64_t i = 0; i < count; i++) {
        if (cutter->found > 0)
            return false;
        if (cut(cutter, life, i))
            return true;
    }
    return false;
}

// --- the recording, beside the life ---

static void
read_fates(struct life *life, const char *text)
{
    char *at;
    (void)strtoul(text, &at, 10);
    while (*at != '\0') {
        unsigned long index = strtoul(at, &at, 10);
        unsigned long fate = strtoul(at, &at, 10);
        must(index < WORKLOAD_BATCH_MAX && fate < FATE_COUNT);
        life->acked[index] = (uint8_t)fate;
    }
}

static void
read_shown(struct life *life, const char *text)
{
    char *at;
    (void)strtoul(text, &at, 10);
    unsigned long shard = strtoul(at, &at, 10);
    must(shard < LIFE_SHARDS_MAX);
    life->shown[shard] = strtoull(at, &at, 10);
}

// True: the deed has ended.
static bool
read_mark(struct life *life, const struct step *step)
{
    char text[32 + WORKLOAD_BATCH_MAX * 8];
    must(step->record.size < sizeof text);
    memcpy(text, step->bytes, step->record.size);
    text[step->record.size] = '\0';
    must(strtoul(text + 1, NULL, 10) == life->deed);
    if (text[0] == 'F')
        read_fates(life, text + 1);
    if (text[0] == 'T')
        read_shown(life, text + 1);
    if (text[0] == 'B')
        life->has_begun = true;
    return text[0] == 'E';
}

// Everything that was recorded up to the end of this deed.
static void
on_deed(struct life *life)
{
    struct cutter *cutter = life->context;
    struct step step;
    life->has_begun = false;
    while (recording_next(&cutter->recording, &step)) {
        cutter->position++;
        if (step.record.kind == RECORD_MARK) {
            if (read_mark(life, &step))
                return;
            continue;
        }
        if (!disk_head_is_fresh(&cutter->disk, &step)) {
            cutter->found++;
            if (!cutter->options->is_expected)
                (void)fprintf(
                    stderr, "record %" PRIu64 ": a head is not synced\n", cutter->position);
        }
        if (disk_apply(&cutter->disk, &step) && cut_all(cutter, life))
            return;
    }
    must(false);
}

// --- the life that is recorded ---

static void
live(uint64_t seed, const char *root)
{
    static struct life life;
    life = (struct life){
        .workload = {.seed = seed, .is_real = true}
    };
    // A function from an object pointer, as POSIX has it.
    *(void **)&life.mark = dlsym(RTLD_DEFAULT, "recorder_mark");
    *(void **)&life.die = dlsym(RTLD_DEFAULT, "recorder_die");
    *(void **)&life.arm = dlsym(RTLD_DEFAULT, "recorder_arm");
    must(life.mark != NULL && life.die != NULL && life.arm != NULL);
    (void)snprintf(life.workload.dir, sizeof life.workload.dir, "%s/ledger", root);
    life_run(&life);
    life_done(&life);
}

static void
record(const struct cutter *cutter)
{
    char disk[PLACE_SIZE + 16];
    (void)snprintf(disk, sizeof disk, "%s/disk", cutter->root);
    must(mkdir(disk, 0770) == 0);
    char seed[32];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, cutter->options->seed);
    must(setenv(SEED_VARIABLE, seed, 1) == 0);
    run_recorded(disk, cutter->file, "--live", disk);
}

static void
compare(struct cutter *cutter)
{
    char disk[PLACE_SIZE + 16];
    char text[512];
    struct step step;
    must(!recording_next(&cutter->recording, &step));
    (void)snprintf(disk, sizeof disk, "%s/disk", cutter->root);
    if (cutter->options->recording == NULL && !disk_compare(&cutter->disk, disk, text)) {
        (void)fprintf(stderr, "seed %" PRIu64 ": %s\n", cutter->options->seed, text);
        cutter->found++;
    }
}

struct sums {
    uint64_t cut, again, found;
};

static void
run_life(const struct options *options, struct sums *sums)
{
    static struct life life;
    struct cutter cutter = {.options = options, .disk = {.without = options->without}};
    place_make(cutter.root);
    (void)snprintf(cutter.file, sizeof cutter.file, "%.*s.rec", PLACE_SIZE - 8, cutter.root);
    if (options->recording == NULL)
        record(&cutter);
    recording_load(
        &cutter.recording, options->recording != NULL ? options->recording : cutter.file);
    cutter.changes = recording_changes(cutter.recording);
    disk_init(&cutter.disk);
    life = (struct life){.workload = {.seed = options->seed}, .on_deed = on_deed};
    life.context = &cutter;
    life_run(&life);
    compare(&cutter);
    if (options->is_verbose)
        (void)printf(
            "seed %" PRIu64 ": %" PRIu64 " points, %" PRIu64 " records, %" PRIu64
            " writes, %" PRIu64 " syncs, %" PRIu64 " left out, %u deeds, %u events stored, %u cuts,"
            " %u shards\n",
            options->seed,
            cutter.cut,
            cutter.position,
            cutter.disk.writes,
            cutter.disk.syncs_done,
            cutter.disk.left_out,
            life.deed,
            life.workload.model.count,
            life.workload.model.cuts_count,
            life.workload.shards);
    place_remove(cutter.root);
    if (options->without != NULL && cutter.disk.left_out == 0) {
        (void)fprintf(stderr, "no sync is \"%s\"\n", options->without);
        exit(2);
    }
    if (cutter.found == 0 || options->is_expected)
        (void)unlink(cutter.file);
    life_done(&life);
    disk_done(&cutter.disk);
    recording_done(&cutter.recording);
    sums->cut += cutter.cut;
    sums->again += cutter.again;
    sums->found += cutter.found;
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
            "usage: torture.crash [--seed N] [--lives N] [--points N] [--again PERCENT]\n"
            "                     [--verbose] [--expected]\n"
            "                     [--without \"fsync|fdatasync|dsync|dir PATTERN\"]\n"
            "                     [--without-start \"likewise\"]\n"
            "                     [--recording FILE --at N --variant N]\n");
        exit(2);
    }
    return number;
}

static struct options
options_read(char **argv, const char **out_root, const char **out_start)
{
    struct options options = {.seed = 1, .lives = 1, .points = 100, .again = 10, .at = NOWHERE};
    for (char **at = argv + 1; *at != NULL; at++) {
        if (strcmp(*at, "--verbose") == 0)
            options.is_verbose = true;
        else if (strcmp(*at, "--expected") == 0)
            options.is_expected = true;
        else if (at[1] == NULL)
            (void)number_of(NULL);
        else if (strcmp(*at, "--seed") == 0)
            options.seed = number_of(*++at);
        else if (strcmp(*at, "--lives") == 0)
            options.lives = number_of(*++at);
        else if (strcmp(*at, "--points") == 0)
            options.points = number_of(*++at);
        else if (strcmp(*at, "--at") == 0)
            options.at = (int64_t)number_of(*++at);
        else if (strcmp(*at, "--variant") == 0)
            options.variant = (int64_t)number_of(*++at);
        else if (strcmp(*at, "--without") == 0)
            options.without = *++at;
        else if (strcmp(*at, "--without-start") == 0)
            options.without_start = *++at;
        else if (strcmp(*at, "--recording") == 0)
            options.recording = *++at;
        else if (strcmp(*at, "--live") == 0)
            *out_root = *++at;
        else if (strcmp(*at, "--start") == 0)
            *out_start = *++at;
        else if (strcmp(*at, "--again") == 0)
            options.again = number_of(*++at);
        else
            (void)number_of(NULL);
    }
    return options;
}

int
main(int argc, char **argv)
{
    const char *root = NULL;
    const char *start = NULL;
    struct sums sums = {0};
    must(argc > 0);
    struct options options = options_read(argv, &root, &start);
    uint64_t first = options.seed;
    // Else most of the time goes into clearing huge pages of which little is used.
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (start != NULL) {
        life_start(start);
        return 0;
    }
    if (root != NULL) {
        live(number_of(getenv(SEED_VARIABLE)), root);
        return 0;
    }
    for (uint64_t i = 0; i < options.lives && sums.found == 0; i++) {
        options.seed = first + i;
        run_life(&options, &sums);
    }
    (void)printf(
        "crash points tried %" PRIu64 ", findings %" PRIu64 ", starts after them cut again %" PRIu64
        "\n",
        sums.cut,
        sums.found,
        sums.again);
    return sums.found > 0;
}
