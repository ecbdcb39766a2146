// Power cuts along backups and restores, and damage of what a backup holds.
//
//     torture.backup --seed 1 --lives 10 --points 300 --rots 100 [--without "fsync PATTERN"]
//
// A ledger lives (life.h), and between its deeds, with its writer at work or not, it is backed up
// into one directory by a process of its own, under the recorder; some of these are killed at any
// call. Then the last backup is restored, to its end and to a block of each shard. Between any two
// records of either the power may go (disk.h):
//
// - What is left of the backups is the last one that ended, or one that was begun later: as a
//   whole, so that it can be restored, is what it was, and verifies. Before the first one ended it
//   may be none. The next backup goes on in it.
// - A restore that ended is there. One that did not is not, under its name; and it can be had
//   again, by itself or as its refusal says.
// - With bits and sectors of its files damaged, what is restored is what was backed up, or nothing.
//
// What a backup is worth is known by the log that was restored undisturbed from it at once, which
// is the ledger's own. Below the place are `ledger`, `disk/to` (recorded), `expected` (a line
// "NUMBER DIGEST" for each backup). A finding keeps the place. Exits 1 with findings.

#include "base/assert.h"
#include "base/hash.h"
#include "ledger/backup.h"
#include "ledger/dump.h"
#include "ledger/files.h"
#include "ledger/manifest.h"
#include "ledger/verify.h"
#include "tests/torture/disk.h"
#include "tests/torture/life.h"
#include "tests/torture/place.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SURVIVOR_SECONDS = 300,
    NUMBERS_MAX = 512,
    FILES_MAX = 512,
    ENDED_CUTS = 6,  // points where a backup or a restore has just ended
    EXIT_WRONG = 1,
    EXIT_DONE = 3,  // 0: the recorder ended it, as it was armed
    EXIT_OVERTAKEN = 4,
    EXIT_REFUSED = 5,
};

struct options {
    const char *without;
    uint64_t seed, lives, points, rots;
    bool is_verbose, is_expected;
};

struct counts {
    uint64_t backups, killed, cuts, restore_cuts, rots, refused, findings;
};

// A life, what was kept of it, and the recording that is walked along.
struct keeping {
    const struct options *options;
    struct life life;
    struct counts counts;
    uint64_t digests[NUMBERS_MAX];  // by number of a backup; 0: there is none
    uint64_t last;                  // the digest of the ledger in the end
    struct recording recording;
    struct disk disk;
    uint64_t position, changes;
    uint64_t begun, ended;                // backups begun; the number of the last that ended
    uint64_t blocks[RESTORE_SHARDS_MAX];  // how far the restore goes that is walked along
    uint64_t restored;                    // its digest
    char root[PLACE_SIZE];
};

static struct keeping *keeping_now;

_Noreturn static void
wrong(const char *what, const char *text)
{
    (void)fprintf(stderr, "%s: %s\n", what, text);
    _exit(EXIT_WRONG);
}

static void
expect(enum status status, const struct error *error, const char *what)
{
    if (status)
        wrong(what, error->text);
}

static void
below(const char *name, char out[2 * PLACE_SIZE])
{
    (void)snprintf(out, 2 * PLACE_SIZE, "%s/%s", keeping_now->root, name);
}

static void
remove_if_there(const char *path)
{
    if (access(path, F_OK) == 0)
        place_remove(path);
}

// --- what a ledger holds ---

struct digest {
    const uint64_t *blocks;  // up to these; NULL: all
    uint64_t value;
};

static bool
on_lines(void *context, struct bytes lines)
{
    struct digest *digest = context;
    for (const uint8_t *at = lines.data, *end = at + lines.size; at < end;) {
        unsigned shard;
        uint64_t block;
        const uint8_t *next = (const uint8_t *)memchr(at, '\n', (size_t)(end - at)) + 1;
        must(sscanf((const char *)at, "{\"shard\":%u,\"block\":%" SCNu64, &shard, &block) == 2);
        must(shard < RESTORE_SHARDS_MAX);
        if (digest->blocks == NULL || block <= digest->blocks[shard])
            digest->value = hash64(bytes_of(at, (size_t)(next - at)), digest->value);
        at = next;
    }
    return true;
}

static uint64_t
digest_of(const char *dir, const uint64_t *blocks)
{
    struct digest digest = {.blocks = blocks, .value = 1};
    struct error error = {0};
    const struct dump_options all = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    expect(dump_run(dir, &all, on_lines, &digest, &error), &error, "dump");
    return digest.value;
}

static void
on_finding(void *context, const struct verify_finding *finding)
{
    char text[512];
    (void)context;
    (void)snprintf(text, sizeof text, "%s: %s", finding->key, finding->what);
    wrong("verify of what was restored", text);
}

static void
check_whole(const char *dir)
{
    struct verify_summary summary;
    struct error error = {0};
    const struct verify_options options = {.on_finding = on_finding};
    expect(verify_run(dir, &options, &summary, &error), &error, "verify");
}

// The restored ledger holds that much, verifies, and starts.
static void
check_ledger(const char *dir, uint64_t digest, bool is_thorough)
{
    struct error error = {0};
    struct ledger *ledger;
    struct ledger_options options = keeping_now->life.options;
    if (digest_of(dir, NULL) != digest)
        wrong("what was restored", "is not what was backed up");
    if (!is_thorough)
        return;
    check_whole(dir);
    expect(ledger_open(dir, &options, &ledger, &error), &error, "start");
    expect(ledger_close(ledger, &error), &error, "end");
    check_whole(dir);
}

static enum status
restore(const char *from, const char *dir, const uint64_t *blocks, struct error *error)
{
    const struct restore_options options = {.blocks_max = blocks, .until_ns = INT64_MAX};
    struct restore_summary summary;
    return restore_run(from, dir, &options, &summary, error);
}

// --- the processes that are recorded ---

typedef void (*mark_fn)(const char *text);
typedef void (*arm_fn)(uint64_t count);

static mark_fn
mark_begin(void)
{
    mark_fn mark;
    // A function from an object pointer, as POSIX has it.
    *(void **)&mark = dlsym(RTLD_DEFAULT, "recorder_mark");
    must(mark != NULL);
    mark("B 0");
    return mark;
}

// argv: the ledger, where to, after how many records it is killed (0: never).
static int
recorded_backup(char **argv)
{
    struct backup_summary summary;
    struct error error = {0};
    char text[32];
    const struct backup_options options = {0};
    uint64_t killed_at = strtoull(argv[2], NULL, 10);
    mark_fn mark = mark_begin();
    arm_fn arm;
    *(void **)&arm = dlsym(RTLD_DEFAULT, "recorder_arm");
    if (killed_at > 0)
        arm(killed_at);
    enum status status = backup_run(argv[0], argv[1], &options, &summary, &error);
    // Retention does not wait for backups: then another directory is asked for.
    if (status == STATUS_BUSY || status == STATUS_EXISTS)
        return EXIT_OVERTAKEN;
    expect(status, &error, "backup");
    (void)snprintf(text, sizeof text, "E %" PRIu32, summary.number);
    mark(text);
    return EXIT_DONE;
}

// argv: the backup, where to, blocks by shard.
static int
recorded_restore(char **argv)
{
    struct error error = {0};
    uint64_t blocks[RESTORE_SHARDS_MAX];
    char *at = argv[2];
    for (uint32_t i = 0; i < RESTORE_SHARDS_MAX; i++)
        blocks[i] = i < LIFE_SHARDS_MAX ? strtoull(at, &at, 10) : RESTORE_TO_END;
    mark_fn mark = mark_begin();
    expect(restore(argv[0], argv[1], blocks, &error), &error, "restore");
    mark("E 1");
    return 0;
}

// --- a life with backups ---

// Restores what the newest manifest says at once, undisturbed, and writes down what that is.
static void
backup_expect(const struct life *life, bool is_quiet)
{
    struct manifest manifest = {0};
    struct error error = {0};
    char to[2 * PLACE_SIZE];
    char whole[2 * PLACE_SIZE];
    char file[2 * PLACE_SIZE];
    below("disk/to", to);
    below("whole", whole);
    below("expected", file);
    enum status status = manifest_read(to, &manifest, &error);
    if (status == STATUS_NOT_FOUND)
        return;
    expect(status, &error, "manifest");
    expect(restore(to, whole, NULL, &error), &error, "restore");
    uint64_t digest = digest_of(whole, NULL);
    place_remove(whole);
    if (is_quiet && life->workload.keep_log_ns == 0 &&
        digest != digest_of(life->workload.dir, NULL))
        wrong("a backup", "does not hold what the ledger does");
    FILE *out = fopen(file, "a");
    must(out != NULL);
    (void)fprintf(out, "%" PRIu32 " %" PRIu64 "\n", manifest.number, digest);
    must(fclose(out) == 0);
    manifest_done(&manifest);
}

// Returns how it ended.
static int
backup_now(const char *ledger, uint64_t killed_at)
{
    char disk[2 * PLACE_SIZE];
    char to[2 * PLACE_SIZE];
    char file[2 * PLACE_SIZE];
    char count[32];
    below("disk", disk);
    below("disk/to", to);
    below("backups.rec", file);
    (void)snprintf(count, sizeof count, "%" PRIu64, killed_at);
    int status = place_run_recorded(
        disk, file, (const char *[]){"--record-backup", ledger, to, count, NULL});
    if (!WIFEXITED(status) || WEXITSTATUS(status) == EXIT_WRONG)
        wrong("a backup", "failed");
    return WEXITSTATUS(status);
}

// Between two deeds: what was answered is in the log, and nothing else comes in.
static void
on_deed(struct life *life)
{
    uint64_t drawn = place_mix(life->workload.seed, life->deed);
    // Where the log's beginning is deleted the first one comes late, mostly after that.
    uint32_t first = life->workload.keep_log_ns > 0 ? 25 : 2;
    if (!life->workload.is_real || life->deed < first || drawn % 3 != 0)
        return;
    bool is_killed = drawn / 3 % 2 == 0;
    int code = backup_now(life->workload.dir, is_killed ? 1 + drawn / 6 % 60 : 0);
    if (code == EXIT_OVERTAKEN && life->workload.keep_log_ns == 0)
        wrong("a backup", "was overtaken, and nothing is deleted");
    backup_expect(life, code == EXIT_DONE);
}

_Noreturn static void
on_die(const char *text)
{
    (void)text;
    _exit(0);
}

static void
expected_read(struct keeping *keeping)
{
    char path[2 * PLACE_SIZE];
    uint64_t number;
    uint64_t digest;
    below("expected", path);
    FILE *file = fopen(path, "r");
    must(file != NULL);
    while (fscanf(file, "%" SCNu64 " %" SCNu64, &number, &digest) == 2) {
        must(number < NUMBERS_MAX);
        // One that was killed behind its manifest is the next one's former; it stays what it was.
        if (keeping->digests[number] != 0 && keeping->digests[number] != digest)
            wrong("a backup", "is another one than when it was made");
        keeping->digests[number] = digest;
    }
    (void)fclose(file);
}

static void
live(struct keeping *keeping)
{
    char path[2 * PLACE_SIZE];
    struct life *life = &keeping->life;
    struct workload *workload = &life->workload;
    below("disk", path);
    must(mkdir(path, 0770) == 0);
    *life = (struct life){
        .workload = {.seed = keeping->options->seed, .is_real = true},
        .die = on_die,
        .on_deed = on_deed,
    };
    (void)snprintf(workload->dir, sizeof workload->dir, "%s/ledger", keeping->root);
    life_run(life);
    bool is_done = backup_now(workload->dir, 0) == EXIT_DONE;
    if (!is_done && workload->keep_log_ns == 0)
        wrong("the last backup", "was refused");
    backup_expect(life, is_done);
    expected_read(keeping);
    keeping->last = digest_of(workload->dir, NULL);
}

// --- one power cut ---

// Runs check in a child on a disk of this moment; its failure is a finding.
static void
cut(struct keeping *keeping, uint64_t variant, void (*check)(const char *dir, uint64_t seed))
{
    char dir[2 * PLACE_SIZE];
    int status = 0;
    uint64_t seed = place_mix(place_mix(keeping->options->seed, keeping->position), variant);
    below("cut", dir);
    (void)fflush(NULL);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        if (keeping->options->is_expected)
            must(freopen("/dev/null", "w", stderr) != NULL);
        (void)alarm(SURVIVOR_SECONDS);
        disk_build(&keeping->disk, seed, dir);
        check(dir, seed);
        _exit(0);
    }
    must(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        place_remove(dir);
        return;
    }
    keeping->counts.findings++;
    if (!keeping->options->is_expected)
        (void)fprintf(
            stderr,
            "seed %" PRIu64 ": power cut after record %" PRIu64 ", variant %" PRIu64
            ", status %d; the disk is in %s\n",
            keeping->options->seed,
            keeping->position,
            variant,
            status,
            dir);
}

static void
cut_often(
    struct keeping *keeping, uint64_t count, void (*check)(const char *, uint64_t), uint64_t *sum)
{
    for (uint64_t i = 0; i < count && keeping->counts.findings == 0; i++) {
        cut(keeping, i, check);
        ++*sum;
    }
}

// As many points behind each record as come to its share.
static void
cut_some(
    struct keeping *keeping, uint64_t points, void (*check)(const char *, uint64_t), uint64_t *sum)
{
    uint64_t rest = points % keeping->changes;
    bool is_more = place_mix(keeping->options->seed, keeping->position) % keeping->changes < rest;
    cut_often(keeping, points / keeping->changes + is_more, check, sum);
}

// True: something has ended, and is there from here on.
static bool
on_mark(struct keeping *keeping, const struct step *step)
{
    char text[32];
    must(step->record.size < sizeof text);
    memcpy(text, step->bytes, step->record.size);
    text[step->record.size] = '\0';
    if (text[0] == 'B')
        keeping->begun++;
    else
        keeping->ended = strtoull(text + 1, NULL, 10);
    return text[0] == 'E';
}

static void
walk(
    struct keeping *keeping,
    const char *name,
    uint64_t points,
    void (*check)(const char *, uint64_t),
    uint64_t *sum)
{
    char file[2 * PLACE_SIZE];
    struct step step;
    below(name, file);
    keeping->disk = (struct disk){.without = keeping->options->without};
    keeping->position = keeping->begun = keeping->ended = 0;
    recording_load(&keeping->recording, file);
    keeping->changes = recording_changes(keeping->recording);
    disk_init(&keeping->disk);
    while (keeping->counts.findings == 0 && recording_next(&keeping->recording, &step)) {
        keeping->position++;
        if (step.record.kind == RECORD_MARK && on_mark(keeping, &step))
            cut_often(keeping, ENDED_CUTS, check, sum);
        else if (step.record.kind == RECORD_MARK)
            continue;
        else if (disk_apply(&keeping->disk, &step))
            cut_some(keeping, points, check, sum);
    }
}

// What the files are is what was recorded.
static void
walk_end(struct keeping *keeping, const char *disk)
{
    char dir[2 * PLACE_SIZE];
    char text[512];
    below(disk, dir);
    if (keeping->counts.findings == 0 && !disk_compare(&keeping->disk, dir, text)) {
        keeping->counts.findings++;
        (void)fprintf(stderr, "seed %" PRIu64 ": %s\n", keeping->options->seed, text);
    }
    disk_done(&keeping->disk);
    recording_done(&keeping->recording);
}

// --- backups after the cut ---

// The ledger, which has gone on since, is backed up into what is left.
static void
check_goes_on(const char *to, const char *new, uint64_t former)
{
    const struct keeping *keeping = keeping_now;
    const struct backup_options plain = {0};
    struct backup_summary summary;
    struct error error = {0};
    enum status status = backup_run(keeping->life.workload.dir, to, &plain, &summary, &error);
    if (status == STATUS_EXISTS && keeping->life.workload.keep_log_ns > 0)
        return;
    expect(status, &error, "the next backup");
    if (summary.number != former + 1)
        wrong("the next backup", "has another number");
    expect(restore(to, new, NULL, &error), &error, "restore of the next backup");
    if (keeping->life.workload.keep_log_ns == 0)
        check_ledger(new, keeping->last, false);
}

static void
check_backup(const char *dir, uint64_t seed)
{
    const struct keeping *keeping = keeping_now;
    struct manifest manifest = {0};
    struct error error = {0};
    char to[2 * PLACE_SIZE + 8];
    char new[2 * PLACE_SIZE + 8];
    (void)snprintf(to, sizeof to, "%s/to", dir);
    (void)snprintf(new, sizeof new, "%s/new", dir);
    enum status status = manifest_read(to, &manifest, &error);
    uint64_t number = manifest.number;
    if (status == STATUS_NOT_FOUND) {
        if (keeping->ended > 0)
            wrong("a backup that ended", "is gone");
        if (restore(to, new, NULL, &error) != STATUS_NOT_FOUND)
            wrong("what is no backup", "was restored");
    } else {
        expect(status, &error, "manifest");
        if (number < keeping->ended || number > keeping->begun || keeping->digests[number] == 0)
            wrong("the manifest", "is of another backup");
        expect(restore(to, new, NULL, &error), &error, "restore");
        check_ledger(new, keeping->digests[number], seed % 8 == 0);
        place_remove(new);
    }
    if (seed % 4 == 0)
        check_goes_on(to, new, number);
}

// --- restores after the cut ---

static void
check_restore(const char *dir, uint64_t seed)
{
    const struct keeping *keeping = keeping_now;
    struct error error = {0};
    char from[2 * PLACE_SIZE];
    char new[2 * PLACE_SIZE + 8];
    char half[2 * PLACE_SIZE + 32];
    below("disk/to", from);
    (void)snprintf(new, sizeof new, "%s/new", dir);
    (void)snprintf(half, sizeof half, "%s.restoring", new);
    bool is_there = access(new, F_OK) == 0;
    if (is_there)
        check_ledger(new, keeping->restored, true);
    else if (keeping->ended > 0)
        wrong("a restore that ended", "is gone");
    if (is_there || seed % 4 != 0)
        return;
    enum status status = restore(from, new, keeping->blocks, &error);
    if (status == STATUS_EXISTS && strstr(error.text, half) != NULL) {
        place_remove(half);
        status = restore(from, new, keeping->blocks, &error);
    }
    expect(status, &error, "restore again");
    check_ledger(new, keeping->restored, true);
}

// To the end, or to a block of each shard.
static void
restore_record(struct keeping *keeping, bool is_whole)
{
    char disk[2 * PLACE_SIZE];
    char from[2 * PLACE_SIZE];
    char new[2 * PLACE_SIZE];
    char file[2 * PLACE_SIZE];
    char blocks[128] = "";
    struct manifest manifest = {0};
    struct error error = {0};
    below("restored", disk);
    below("disk/to", from);
    below("restored/new", new);
    below("restore.rec", file);
    remove_if_there(disk);
    (void)unlink(file);
    must(mkdir(disk, 0770) == 0);
    expect(manifest_read(from, &manifest, &error), &error, "manifest");
    for (uint32_t i = 0; i < RESTORE_SHARDS_MAX; i++)
        keeping->blocks[i] = RESTORE_TO_END;
    for (uint32_t i = 0; i < LIFE_SHARDS_MAX; i++) {
        size_t size = strlen(blocks);
        uint64_t head = i < manifest.shards_count ? manifest.shards[i].head : 0;
        if (!is_whole && head > 0)
            keeping->blocks[i] = place_mix(keeping->options->seed, i) % (head + 1);
        (void)snprintf(blocks + size, sizeof blocks - size, " %" PRIu64, keeping->blocks[i]);
    }
    manifest_done(&manifest);
    int status = place_run_recorded(
        disk, file, (const char *[]){"--record-restore", from, new, blocks, NULL});
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        wrong("a restore", "failed");
    keeping->restored = digest_of(new, NULL);
    // The restored log is the ledger's own up to there.
    if (keeping->life.workload.keep_log_ns == 0 &&
        keeping->restored != digest_of(keeping->life.workload.dir, keeping->blocks))
        wrong("a restore to a block", "is not what the ledger had up to it");
}

// --- damage of a backup ---

static char rot_files[FILES_MAX][PLACE_SIZE];
static uint32_t rot_files_count;

static int
rot_file(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)place;
    if (kind != FTW_F || stat->st_size == 0)
        return 0;
    must(rot_files_count < FILES_MAX);
    (void)snprintf(rot_files[rot_files_count++], PLACE_SIZE, "%s", path);
    return 0;
}

// A bit, or a sector that is zeros. Returns false when nothing changed.
static bool
rot_draw(uint8_t *bytes, uint64_t size, uint64_t drawn)
{
    enum { SECTOR = 512 };
    uint64_t at = place_mix(drawn, 1) % size;
    if (drawn % 4 != 0) {
        bytes[at] ^= (uint8_t)(1 << place_mix(drawn, 2) % 8);
        return true;
    }
    uint8_t zeros[SECTOR] = {0};
    at -= at % SECTOR;
    size_t count = size - at < SECTOR ? size - at : SECTOR;
    bool is_change = memcmp(bytes + at, zeros, count) != 0;
    memset(bytes + at, 0, count);
    return is_change;
}

// Of a damaged backup nothing is restored, or what it was: the file was of no use.
static void
check_rot(const char *name, const char *from)
{
    char new[2 * PLACE_SIZE];
    struct error error = {0};
    below("rotten", new);
    enum status status = restore(from, new, NULL, &error);
    if (access(new, F_OK) == 0 && status)
        wrong("of a damaged backup", "half was restored");
    if (status && error.text[0] == '\0')
        wrong(name, "refused without a word");
    if (status)
        _exit(EXIT_REFUSED);
    check_ledger(new, keeping_now->digests[keeping_now->ended], true);
    _exit(0);
}

static void
rot_write(const char *path, struct bytes bytes)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && pwrite(fd, bytes.data, bytes.size, 0) == (ssize_t)bytes.size);
    (void)close(fd);
}

static void
rot(struct keeping *keeping, uint64_t number)
{
    char from[2 * PLACE_SIZE];
    char path[2 * PLACE_SIZE];
    struct error error = {0};
    int status = 0;
    scoped(buffer_done) struct buffer whole = {0};
    scoped(buffer_done) struct buffer damaged = {0};
    uint64_t drawn = place_mix(place_mix(keeping->options->seed, 77), number);
    const char *name = rot_files[place_mix(drawn, 3) % rot_files_count];
    expect(files_load(name, &whole, &error), &error, "damage");
    buffer_bytes(&damaged, buffer_view(&whole));
    if (!rot_draw(damaged.data, damaged.size, drawn))
        return;
    rot_write(name, buffer_view(&damaged));
    below("disk/to", from);
    (void)fflush(NULL);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        (void)alarm(SURVIVOR_SECONDS);
        check_rot(name, from);
    }
    must(waitpid(child, &status, 0) == child);
    rot_write(name, buffer_view(&whole));
    keeping->counts.rots++;
    keeping->counts.refused += WIFEXITED(status) && WEXITSTATUS(status) == EXIT_REFUSED;
    if (!WIFEXITED(status) || WEXITSTATUS(status) == EXIT_WRONG) {
        keeping->counts.findings++;
        (void)fprintf(
            stderr,
            "seed %" PRIu64 ": damage %" PRIu64 " of %s, status %d\n",
            keeping->options->seed,
            number,
            name,
            status);
    }
    below("rotten", path);
    remove_if_there(path);
    below("rotten.restoring", path);
    remove_if_there(path);
}

// --- all of a life ---

static void
run_restores(struct keeping *keeping)
{
    bool has_beginning = keeping->life.workload.keep_log_ns == 0;
    for (int i = 0; i < 1 + has_beginning && keeping->counts.findings == 0; i++) {
        restore_record(keeping, i == 0);
        walk(
            keeping,
            "restore.rec",
            keeping->options->points / 4,
            check_restore,
            &keeping->counts.restore_cuts);
        walk_end(keeping, "restored");
    }
}

static void
run_rots(struct keeping *keeping)
{
    char to[2 * PLACE_SIZE];
    struct manifest manifest = {0};
    struct error error = {0};
    below("disk/to", to);
    expect(manifest_read(to, &manifest, &error), &error, "manifest");
    keeping->ended = manifest.number;
    manifest_done(&manifest);
    rot_files_count = 0;
    must(nftw(to, rot_file, 16, FTW_PHYS) == 0);
    for (uint64_t i = 0; i < keeping->options->rots && keeping->counts.findings == 0; i++)
        rot(keeping, i);
}

static void
run_life(const struct options *options, struct counts *sum)
{
    static struct keeping keeping;
    keeping = (struct keeping){.options = options};
    keeping_now = &keeping;
    place_make(keeping.root);
    live(&keeping);
    walk(&keeping, "backups.rec", options->points / 2, check_backup, &keeping.counts.cuts);
    keeping.counts.backups = keeping.ended;
    keeping.counts.killed = keeping.begun - keeping.ended;
    walk_end(&keeping, "disk");
    run_restores(&keeping);
    run_rots(&keeping);
    if (options->is_verbose)
        (void)printf(
            "seed %" PRIu64 ": %" PRIu64 " backups, %u events stored\n",
            options->seed,
            keeping.counts.backups,
            keeping.life.workload.model.count);
    if (keeping.counts.findings == 0 || options->is_expected)
        place_remove(keeping.root);
    life_done(&keeping.life);
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)&keeping.counts;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
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
            "usage: torture.backup [--seed N] [--lives N] [--points N] [--rots N]\n"
            "                      [--without \"fsync|fdatasync|dsync|dir PATTERN\"]"
            " [--verbose] [--expected]\n");
        exit(2);
    }
    return number;
}

static struct options
options_read(char **argv)
{
    struct options options = {.seed = 1, .lives = 1, .points = 200, .rots = 50};
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
        else if (strcmp(*at, "--rots") == 0)
            options.rots = number_of(*++at);
        else if (strcmp(*at, "--without") == 0)
            options.without = *++at;
        else
            (void)number_of(NULL);
    }
    return options;
}

int
main(int argc, char **argv)
{
    struct counts sum = {0};
    must(argc > 0);
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (argc == 5 && strcmp(argv[1], "--record-backup") == 0)
        return recorded_backup(argv + 2);
    if (argc == 5 && strcmp(argv[1], "--record-restore") == 0)
        return recorded_restore(argv + 2);
    struct options options = options_read(argv);
    uint64_t first = options.seed;
    for (uint64_t i = 0; i < options.lives && sum.findings == 0; i++) {
        options.seed = first + i;
        run_life(&options, &sum);
    }
    (void)printf(
        "crash points tried %" PRIu64 ": along backups %" PRIu64 " and restores %" PRIu64
        "; backups %" PRIu64 ", killed %" PRIu64 ", damages %" PRIu64 ", refused %" PRIu64
        ", findings %" PRIu64 "\n",
        sum.cuts + sum.restore_cuts,
        sum.cuts,
        sum.restore_cuts,
        sum.backups,
        sum.killed,
        sum.rots,
        sum.refused,
        sum.findings);
    return sum.findings > 0;
}
