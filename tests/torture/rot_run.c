// Damage, one at a time, anywhere in the files of a ledger that has lived, and what is seen of it.
//
//     torture.rot --seed 1 --lives 2 --damages 200 [--verbose] [--expected]
//     torture.rot --seed 7 --only 113             // one again
//
// A life (life.h) is lived by this program. Then, for each damage: a bit, a sector or a page of a
// file is changed; a child asks questions, and each answer has to be the model's or a refusal; one
// verifies, and has to name the shard and a place when a byte that means something is another one
// now (live.h says which do); of some a child starts the ledger as tallyd does, on a copy. A child
// that crashes gave no answer, but has to say what it read; it is counted. Then the bytes are put
// back.
//
// Exits 1 with findings.

#include "base/assert.h"
#include "ledger/files.h"
#include "ledger/lmdb_crash.h"
#include "ledger/repair.h"
#include "ledger/verify.h"
#include "tests/torture/life.h"
#include "tests/torture/live.h"
#include "tests/torture/place.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILES_MAX = 64, CHILD_SECONDS = 120, PAGE_MAX = 4096, EXIT_SEEN = 10, NOWHERE = -1 };
// Of a page of LMDB: its kind, how many entries it has, and where the first of them are.
enum { HEAD_FROM = 10, HEAD_TO = 40 };

enum damage_kind { DAMAGE_BIT, DAMAGE_ZERO, DAMAGE_NOISE, DAMAGE_ELSEWHERE, DAMAGE_OLDER };
static const char *const kind_names[] = {"bit", "zeros", "noise", "another place's", "older"};

struct file {
    char name[PLACE_SIZE];  // below the ledger
    uint8_t *bytes;
    uint8_t *live;  // NULL: nothing in it means anything
    size_t size;
};

struct damage {
    enum damage_kind kind;
    const struct file *file;
    size_t at, size, live;  // live: how many bytes that mean something changed
    uint8_t bytes[PAGE_MAX];
};

struct counts {
    uint64_t damages, live, reported, unread, crashed, astray, starts, refused, repairs, mended,
        findings;
};

struct options {
    uint64_t seed, lives, damages;
    int64_t only;
    bool is_verbose, is_expected;
};

struct rot {
    const struct options *options;
    struct life life;
    char root[PLACE_SIZE];
    struct file files[FILES_MAX];
    size_t files_count;
    uint64_t random;
    struct counts counts;
};

static struct rot *rot_now;

static uint64_t
draw_of(struct rot *rot, uint64_t below)
{
    rot->random = place_mix(rot->random, 1);
    return rot->random % below;
}

// --- files ---

static void
copy_tree(const char *from, const char *to)
{
    char command[4 * PLACE_SIZE];
    (void)snprintf(command, sizeof command, "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
    must(system(command) == 0);
}

static void
file_load(const char *path, uint8_t **out, size_t *out_size)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *out_size = 0;
    *out = NULL;
    if (fd < 0)
        return;
    must(fstat(fd, &stat) == 0);
    *out_size = (size_t)stat.st_size;
    *out = malloc(*out_size + 1);
    must(*out != NULL && read(fd, *out, *out_size) == stat.st_size);
    (void)close(fd);
}

static bool
ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

static int
visit(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    struct rot *rot = rot_now;
    (void)place;
    if (kind != FTW_F || !S_ISREG(stat->st_mode) || stat->st_size == 0)
        return 0;
    must(rot->files_count < FILES_MAX);
    struct file *file = &rot->files[rot->files_count++];
    (void)snprintf(file->name, sizeof file->name, "%s", path + strlen(rot->life.workload.dir) + 1);
    file_load(path, &file->bytes, &file->size);
    if (ends_with(file->name, "/data.mdb")) {
        file->live = live_map(file->bytes, file->size);
    } else if (
        ends_with(file->name, "/head") || strcmp(file->name, "ledger.conf") == 0 ||
        strcmp(file->name, "ledger.shape") == 0) {
        file->live = malloc(file->size);
        must(file->live != NULL);
        memset(file->live, 1, file->size);
    }
    return 0;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void
files_load_all(struct rot *rot)
{
    rot_now = rot;
    must(nftw(rot->life.workload.dir, visit, 16, FTW_PHYS) == 0);
    qsort(rot->files, rot->files_count, sizeof rot->files[0], by_name);
}

static void
file_write(const char *dir, const struct damage *damage, const uint8_t *bytes)
{
    char path[2 * PLACE_SIZE];
    (void)snprintf(path, sizeof path, "%s/%s", dir, damage->file->name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd >= 0);
    must(pwrite(fd, bytes, damage->size, (off_t)damage->at) == (ssize_t)damage->size);
    (void)close(fd);
}

static bool
file_is_same(const struct rot *rot, const struct file *file)
{
    char path[2 * PLACE_SIZE];
    uint8_t *bytes;
    size_t size;
    (void)snprintf(path, sizeof path, "%s/%s", rot->life.workload.dir, file->name);
    file_load(path, &bytes, &size);
    bool is_same = size == file->size && memcmp(bytes, file->bytes, size) == 0;
    free(bytes);
    return is_same;
}

// --- damages ---

// Half of them where something is alive: most of a file is not.
static size_t
damage_place(struct rot *rot, const struct file *file)
{
    size_t at = draw_of(rot, file->size);
    if (file->live == NULL || draw_of(rot, 4) == 0)
        return at;
    for (size_t i = 0; i < file->size; i++)
        if (file->live[(at + i) % file->size] != 0)
            return (at + i) % file->size;
    return at;
}

// A bit of a page's head is one of thousands, and says more than they do: which entries it has. At
// most one in four.
static size_t
damage_head(struct rot *rot, const struct file *file, size_t at)
{
    const size_t page = at - at % PAGE_MAX;
    if (!ends_with(file->name, "/data.mdb") || draw_of(rot, 4) > 0)
        return at;
    return page + HEAD_FROM + draw_of(rot, HEAD_TO - HEAD_FROM);
}

static void
damage_fill(struct rot *rot, struct damage *damage)
{
    const struct file *file = damage->file;
    char path[2 * PLACE_SIZE];
    uint8_t *older;
    size_t older_size;
    switch (damage->kind) {
    case DAMAGE_BIT: damage->bytes[0] ^= (uint8_t)(1U << draw_of(rot, 8)); break;
    case DAMAGE_ZERO: memset(damage->bytes, 0, damage->size); break;
    case DAMAGE_NOISE:
        for (size_t i = 0; i < damage->size; i++)
            damage->bytes[i] = (uint8_t)draw_of(rot, 256);
        break;
    case DAMAGE_ELSEWHERE: {
        size_t sectors = (file->size - damage->size) / damage->size + 1;
        memcpy(damage->bytes, file->bytes + draw_of(rot, sectors) * damage->size, damage->size);
        break;
    }
    case DAMAGE_OLDER:
        (void)snprintf(path, sizeof path, "%s/older/%s", rot->root, file->name);
        file_load(path, &older, &older_size);
        if (older_size >= damage->at + damage->size)
            memcpy(damage->bytes, older + damage->at, damage->size);
        free(older);
        break;
    }
}

static void
damage_draw(struct rot *rot, struct damage *damage)
{
    const struct file *file = &rot->files[draw_of(rot, rot->files_count)];
    // Lock files and the like: any of them stands for all.
    if (file->live == NULL)
        file = &rot->files[draw_of(rot, rot->files_count)];
    *damage = (struct damage){.file = file, .at = damage_place(rot, file), .size = 1};
    if (draw_of(rot, 2) == 0) {
        damage->kind = (enum damage_kind)(1 + draw_of(rot, 4));
        damage->size = draw_of(rot, 2) == 0 ? 512 : PAGE_MAX;
        damage->at -= damage->at % damage->size;
        if (damage->size > file->size - damage->at)
            damage->size = file->size - damage->at;
    } else {
        damage->at = damage_head(rot, file, damage->at);
    }
    // An older head is what a crash leaves, and an older text is a text.
    if (damage->kind == DAMAGE_OLDER && !ends_with(file->name, "/data.mdb"))
        damage->kind = DAMAGE_ZERO;
    memcpy(damage->bytes, file->bytes + damage->at, damage->size);
    damage_fill(rot, damage);
    // An older page of registry or marks is whole by itself, and nothing else says what they have.
    const bool may_be_older =
        damage->kind == DAMAGE_OLDER &&
        (strstr(file->name, "meters/") != NULL || strstr(file->name, "/fired/") != NULL);
    // A meta page of state/ that is older is the commit before it, whole: the log says the rest.
    const bool is_commit_before = damage->kind == DAMAGE_OLDER && damage->at < 2 * PAGE_MAX &&
                                  strstr(file->name, "/state/") != NULL;
    // Old blocks that the log has done with go a little at a time: nobody reads them.
    bool may_be_done_with =
        rot->life.workload.keep_log_ns > 0 && strstr(file->name, "/log/") != NULL;
    for (size_t i = 0; file->live != NULL && !may_be_done_with && !may_be_older &&
                       !is_commit_before && i < damage->size;
         i++)
        damage->live +=
            file->live[damage->at + i] != 0 && damage->bytes[i] != file->bytes[damage->at + i];
}

// --- children ---

static void
said_path(const struct rot *rot, char out[2 * PLACE_SIZE])
{
    (void)snprintf(out, 2 * PLACE_SIZE, "%s/said", rot->root);
}

static void
child_begin(const struct rot *rot)
{
    const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    const struct rlimit none = {0};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        (void)signal(crashes[i], SIG_DFL);
    crash_guard();
    (void)setrlimit(RLIMIT_CORE, &none);
    char said[2 * PLACE_SIZE];
    said_path(rot, said);
    must(freopen(said, "w", stderr) != NULL);
    (void)setvbuf(stderr, NULL, _IONBF, 0);
    (void)alarm(CHILD_SECONDS);
}

static int
child_wait(pid_t child)
{
    int status = 0;
    must(child > 0 && waitpid(child, &status, 0) == child);
    return status;
}

// What the last child wrote to stderr.
static uint8_t *
said(const struct rot *rot)
{
    char path[2 * PLACE_SIZE];
    uint8_t *text;
    size_t size;
    said_path(rot, path);
    file_load(path, &text, &size);
    must(text != NULL);
    text[size] = '\0';
    return text;
}

// It died of what it read, and said which directory that was, and what to do.
static bool
has_crashed(const struct rot *rot, int status)
{
    if (!WIFSIGNALED(status) || WTERMSIG(status) == SIGALRM)
        return false;
    uint8_t *text = said(rot);
    bool is_told = strstr((const char *)text, rot->root) != NULL &&
                   strstr((const char *)text, "`tally ledger verify`") != NULL;
    free(text);
    return is_told;
}

static void
ask_and_end(struct rot *rot, uint32_t questions)
{
    struct workload *workload = &rot->life.workload;
    struct error error = {0};
    workload->is_damaged = true;
    workload->random = rot->random;
    if (reader_open(workload->dir, &workload->reader, &error)) {
        must(error.text[0] != '\0');
        _exit(EXIT_SEEN);
    }
    check_answers(workload, questions);
    _exit(0);
}

struct seen {
    int32_t shard;   // that has to be named
    uint64_t right;  // findings that name it and a place
};

static void
on_finding(void *context, const struct verify_finding *finding)
{
    struct seen *seen = context;
    if (rot_now->options->is_verbose && rot_now->options->only != NOWHERE)
        (void)fprintf(stderr, "  %d %s: %s\n", finding->shard, finding->key, finding->what);
    seen->right += finding->shard == seen->shard && finding->key[0] != '\0';
}

static void
verify_and_end(const struct rot *rot, const struct damage *damage)
{
    struct seen seen = {.shard = NOWHERE};
    const struct verify_options options = {.on_finding = on_finding, .context = &seen};
    struct verify_summary summary = {0};
    struct error error = {0};
    (void)sscanf(damage->file->name, "shards/%d/", &seen.shard);
    succeed(
        &rot->life.workload,
        verify_run(rot->life.workload.dir, &options, &summary, &error),
        &error);
    _exit(seen.right > 0 ? EXIT_SEEN : summary.findings > 0 ? 2 : 0);
}

// As tallyd starts, asks, ends, and starts again.
static void
start_and_end(struct rot *rot, const struct damage *damage)
{
    struct workload *workload = &rot->life.workload;
    struct error error = {0};
    char copy[2 * PLACE_SIZE];
    (void)snprintf(copy, sizeof copy, "%s/copy", rot->root);
    copy_tree(workload->dir, copy);
    (void)snprintf(workload->dir, sizeof workload->dir, "%s", copy);
    file_write(copy, damage, damage->bytes);
    for (uint32_t i = 0; i < 2; i++) {
        enum status status =
            ledger_open(workload->dir, &rot->life.options, &workload->ledger, &error);
        if (status) {
            must(error.text[0] != '\0');
            _exit(EXIT_SEEN);
        }
        const char *text = "";
        workload->is_damaged = true;
        if (reader_open(workload->dir, &workload->reader, &error))
            _exit(EXIT_SEEN);
        check_answers(workload, 8);
        reader_close(workload->reader);
        if (ledger_failure(workload->ledger, &text) != STATUS_OK ||
            ledger_close(workload->ledger, &error))
            _exit(EXIT_SEEN);
    }
    _exit(0);
}

static void
on_step(void *context, const struct repair_step *step)
{
    uint64_t *lost = context;
    *lost += !step->is_mended;
    (void)fprintf(stderr, "  repair %d %d: %s\n", step->shard, step->is_mended, step->text);
}

// On a copy: all is well afterwards, and as the model says, or it was said what is not. *mended:
// nothing is left.
static void
repair_and_end(struct rot *rot, const struct damage *damage)
{
    struct workload *workload = &rot->life.workload;
    struct repair_options options = {.on_step = on_step, .ledger = rot->life.options};
    struct repair_summary summary = {0};
    struct error error = {0};
    uint64_t told = 0;
    char copy[2 * PLACE_SIZE];
    options.context = &told;
    (void)snprintf(copy, sizeof copy, "%s/copy", rot->root);
    copy_tree(workload->dir, copy);
    (void)snprintf(workload->dir, sizeof workload->dir, "%s", copy);
    file_write(copy, damage, damage->bytes);
    succeed(workload, repair_run(workload->dir, &options, &summary, &error), &error);
    if (summary.left > 0) {
        if (told == 0)
            fail(workload, "repair left %" PRIu64 " findings and does not say why", summary.left);
        _exit(EXIT_SEEN);
    }
    check_verify(workload);
    succeed(
        workload,
        ledger_open(workload->dir, &rot->life.options, &workload->ledger, &error),
        &error);
    succeed(workload, reader_open(workload->dir, &workload->reader, &error), &error);
    check_answers(workload, 20);
    reader_close(workload->reader);
    succeed(workload, ledger_close(workload->ledger, &error), &error);
    check_dump(workload);
    _exit(0);
}

// --- one damage ---

static void
say(struct rot *rot, const struct damage *damage, uint64_t number, const char *what, int status)
{
    rot->counts.findings++;
    if (rot->options->is_expected)
        return;
    (void)fprintf(
        stderr,
        "seed %" PRIu64 " damage %" PRIu64 ": %s of %zu bytes at %zu of %s, %zu of them live: %s"
        " (status %x)\n",
        rot->options->seed,
        number,
        kind_names[damage->kind],
        damage->size,
        damage->at,
        damage->file->name,
        damage->live,
        what,
        (unsigned)status);
    uint8_t *text = said(rot);
    (void)fprintf(stderr, "%.2000s\n", (const char *)text);
    free(text);
}

// What is put in a place may be whole and right by itself, only older, or another place's: a disk
// that lost a write, or made it elsewhere. Verify sees that; who reads a part need not.
static bool
may_look_right(const struct damage *damage)
{
    return damage->kind == DAMAGE_ELSEWHERE || damage->kind == DAMAGE_OLDER;
}

// Of an answer that was wrong, or none.
static void
say_wrong(
    struct rot *rot, const struct damage *damage, uint64_t number, const char *what, int status)
{
    if (may_look_right(damage) && WIFEXITED(status) && WEXITSTATUS(status) == 1)
        rot->counts.astray++;
    else
        say(rot, damage, number, what, status);
}

static void
try_answers(struct rot *rot, const struct damage *damage, uint64_t number)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        child_begin(rot);
        ask_and_end(rot, 20);
    }
    int status = child_wait(child);
    if (has_crashed(rot, status))
        rot->counts.crashed++;
    else if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != EXIT_SEEN))
        say_wrong(rot, damage, number, "an answer is wrong, or none came", status);
    else
        rot->counts.unread += WEXITSTATUS(status) == EXIT_SEEN;
}

static void
try_verify(struct rot *rot, const struct damage *damage, uint64_t number)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        child_begin(rot);
        verify_and_end(rot, damage);
    }
    int status = child_wait(child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 1)
        say(rot, damage, number, "verify itself failed", status);
    else if (damage->live > 0 && WEXITSTATUS(status) != EXIT_SEEN)
        say(rot, damage, number, "verify does not report it by shard and place", status);
    rot->counts.live += damage->live > 0;
    rot->counts.reported += WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SEEN;
}

static void
try_start(struct rot *rot, const struct damage *damage, uint64_t number)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        child_begin(rot);
        start_and_end(rot, damage);
    }
    int status = child_wait(child);
    rot->counts.starts++;
    if (has_crashed(rot, status))
        rot->counts.crashed++;
    else if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != EXIT_SEEN))
        say_wrong(rot, damage, number, "after a start an answer is wrong, or none came", status);
    else
        rot->counts.refused += WEXITSTATUS(status) == EXIT_SEEN;
}

// What is made of a log that is whole has to be mended.
static bool
has_to_mend(const struct rot *rot, const struct damage *damage)
{
    const char *name = damage->file->name;
    bool is_derived = strstr(name, "/state/") != NULL || strstr(name, "/fired/") != NULL ||
                      strcmp(name, "ledger.shape") == 0 || ends_with(name, "/head");
    return is_derived && rot->life.workload.keep_log_ns == 0;
}

static void
try_repair(struct rot *rot, const struct damage *damage, uint64_t number)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        child_begin(rot);
        repair_and_end(rot, damage);
    }
    int status = child_wait(child);
    bool is_mended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    rot->counts.repairs++;
    rot->counts.mended += is_mended;
    if (!is_mended && (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SEEN))
        say(rot, damage, number, "repair failed, or the ledger is another one after it", status);
    else if (!is_mended && has_to_mend(rot, damage))
        say(rot, damage, number, "repair did not mend what it can", status);
}

static void
damage_try(struct rot *rot, uint64_t number)
{
    struct damage damage;
    rot->random = place_mix(rot->options->seed, number);
    damage_draw(rot, &damage);
    bool is_started = draw_of(rot, 4) == 0;
    rot->counts.damages++;
    if (is_started)
        try_start(rot, &damage, number);
    else if (damage.live > 0 && draw_of(rot, 3) == 0)
        try_repair(rot, &damage, number);
    file_write(rot->life.workload.dir, &damage, damage.bytes);
    try_answers(rot, &damage, number);
    try_verify(rot, &damage, number);
    file_write(rot->life.workload.dir, &damage, damage.file->bytes + damage.at);
    // Who reads and verifies changes nothing.
    if (damage.file->live != NULL && !file_is_same(rot, damage.file))
        say(rot, &damage, number, "the file is another one now", 0);
}

// --- a life ---

_Noreturn static void
on_die(const char *text)
{
    (void)text;
    _exit(0);
}

// What the disk may still have: the ledger as it was before a session.
static void
on_deed(struct life *life)
{
    char older[2 * PLACE_SIZE];
    if (life->kind != LIFE_OPEN || !life->workload.is_real || life->workload.ledger != NULL)
        return;
    (void)snprintf(older, sizeof older, "%s/older", rot_now->root);
    copy_tree(life->workload.dir, older);
}

static void
run_life(const struct options *options, struct counts *sum)
{
    static struct rot rot;
    rot = (struct rot){.options = options};
    struct workload *workload = &rot.life.workload;
    rot_now = &rot;
    place_make(rot.root);
    rot.life = (struct life){
        .workload = {.seed = options->seed, .is_real = true},
          .die = on_die, .on_deed = on_deed
    };
    (void)snprintf(workload->dir, sizeof workload->dir, "%s/ledger", rot.root);
    life_run(&rot.life);
    check_verify(workload);
    files_load_all(&rot);
    uint64_t enough = options->is_expected ? 1 : options->damages;
    for (uint64_t i = 0; i < options->damages && rot.counts.findings < enough; i++)
        if (options->only == NOWHERE || (uint64_t)options->only == i)
            damage_try(&rot, i);
    check_verify(workload);
    if (options->is_verbose)
        (void)printf(
            "seed %" PRIu64 ": %u events stored, %zu files, %" PRIu64 " damages\n",
            options->seed,
            workload->model.count,
            rot.files_count,
            rot.counts.damages);
    for (size_t i = 0; i < rot.files_count; i++) {
        free(rot.files[i].bytes);
        free(rot.files[i].live);
    }
    if (options->only == NOWHERE || rot.counts.findings == 0)
        place_remove(rot.root);
    else
        (void)fprintf(stderr, "the ledger is in %s\n", rot.root);
    life_done(&rot.life);
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)&rot.counts;
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
            "usage: torture.rot [--seed N] [--lives N] [--damages N] [--only N] [--verbose]"
            " [--expected]\n");
        exit(2);
    }
    return number;
}

static struct options
options_read(char **argv)
{
    struct options options = {.seed = 1, .lives = 1, .damages = 100, .only = NOWHERE};
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
        else if (strcmp(*at, "--damages") == 0)
            options.damages = number_of(*++at);
        else if (strcmp(*at, "--only") == 0)
            options.only = (int64_t)number_of(*++at);
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
    struct options options = options_read(argv);
    uint64_t first = options.seed;
    // Else most of the time goes into clearing huge pages of which little is used.
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    for (uint64_t i = 0; i < options.lives; i++) {
        options.seed = first + i;
        run_life(&options, &sum);
    }
    (void)printf(
        "damages %" PRIu64 ", of live bytes %" PRIu64 ", reported %" PRIu64
        ", readers refused %" PRIu64 ", crashed %" PRIu64 ", astray %" PRIu64 ", starts %" PRIu64
        ", refused %" PRIu64 ", repairs %" PRIu64 ", mended %" PRIu64 ", findings %" PRIu64 "\n",
        sum.damages,
        sum.live,
        sum.reported,
        sum.unread,
        sum.crashed,
        sum.astray,
        sum.starts,
        sum.refused,
        sum.repairs,
        sum.mended,
        sum.findings);
    return sum.findings > 0;
}
