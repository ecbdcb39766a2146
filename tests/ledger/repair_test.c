// What `tally ledger repair` says of what cannot be made again. What can be is torture.rot's.

#include "ledger/repair.h"

#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS = 5, EVENTS = 3 };

static const struct ledger_options opening = {.past_max_ns = 1, .future_max_ns = 1};

struct said {
    char text[4096];
};

static void
on_step(void *context, const struct repair_step *step)
{
    struct said *said = context;
    size_t size = strlen(said->text);
    (void)snprintf(
        said->text + size,
        sizeof said->text - size,
        "%d %d %s\n",
        step->shard,
        step->is_mended,
        step->text);
}

static struct repair_summary
repair(const struct writing *writing, bool is_dry, struct said *said)
{
    const struct repair_options options = {
        .is_dry = is_dry, .on_step = on_step, .context = said, .ledger = opening};
    struct repair_summary summary;
    struct error error = {0};
    said->text[0] = '\0';
    succeed(repair_run(writing->dir, &options, &summary, &error), &error);
    return summary;
}

// A shard of five blocks, the second of which carries the word "victim".
static void
fill(struct writing *writing)
{
    writing_begin(writing, 1);
    writing_meter(writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(writing, NULL);
    for (int i = 0; i < BLOCKS * EVENTS; i++) {
        struct event_bytes event;
        char id[32];
        (void)snprintf(id, sizeof id, i / EVENTS == 1 ? "victim-%d" : "other-%d", i);
        event_make(&event, "subject", id, 1);
        (void)writing_put(writing, &event.event);
        if (i % EVENTS == EVENTS - 1)
            writing_wait(writing);
    }
    cr_assert_eq(writing_count(writing, FATE_STORED), BLOCKS * EVENTS);
    writing_close(writing);
}

// Changes a byte at this distance from each place that has the text.
static void
log_damage(const struct writing *writing, const char *text, long distance)
{
    char path[256];
    struct stat stat;
    int places = 0;
    (void)snprintf(path, sizeof path, "%s/shards/0000/log/data.mdb", writing->dir);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &stat), 0);
    const size_t size = (size_t)stat.st_size;
    uint8_t *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(bytes, MAP_FAILED);
    for (uint8_t *at = bytes;
         (at = memmem(at, size - (size_t)(at - bytes), text, strlen(text))) != NULL;
         at++) {
        at[distance] ^= 1;
        places++;
    }
    cr_assert_gt(places, 0);
    (void)munmap(bytes, size);
    (void)close(fd);
}

Test(repair, tells_which_blocks_are_lost_and_how_many_events)
{
    struct writing writing;
    struct said said;
    fill(&writing);
    log_damage(&writing, "victim-3", 0);
    struct repair_summary summary = repair(&writing, false, &said);
    cr_assert_gt(summary.left, 0);
    cr_assert_eq(summary.mended, 0, "%s", said.text);
    cr_assert_not_null(
        strstr(
            said.text,
            "0 0 log: blocks 2 to 2 are lost: 3 entries by their headers, and those "
            "of 0 blocks without one\n"),
        "%s",
        said.text);
    cr_assert_not_null(strstr(said.text, "log: 4 of its blocks are whole"), "%s", said.text);
    writing_end(&writing);
}

Test(repair, tells_of_blocks_that_nothing_is_known_of)
{
    struct writing writing;
    struct said said;
    fill(&writing);
    // Of every block the version: what begins with it is no header any more.
    log_damage(&writing, "TBLK", 4);
    struct repair_summary summary = repair(&writing, true, &said);
    cr_assert_gt(summary.left, 0);
    cr_assert_not_null(strstr(said.text, "log: 0 of its blocks are whole"), "%s", said.text);
    writing_end(&writing);
}

Test(repair, makes_state_again_and_changes_nothing_when_it_is_dry)
{
    struct writing writing;
    struct said said;
    char path[256];
    struct stat stat_before;
    struct stat stat_after;
    fill(&writing);
    (void)snprintf(path, sizeof path, "%s/shards/0000/state/data.mdb", writing.dir);
    cr_assert_eq(truncate(path, 4096), 0);
    cr_assert_eq(stat(path, &stat_before), 0);
    struct repair_summary summary = repair(&writing, true, &said);
    cr_assert_eq(summary.left, 0, "%s", said.text);
    cr_assert_not_null(strstr(said.text, "0 1 state: made again"), "%s", said.text);
    cr_assert_eq(stat(path, &stat_after), 0);
    cr_assert_eq(stat_before.st_size, stat_after.st_size);
    summary = repair(&writing, false, &said);
    cr_assert_gt(summary.findings, 0);
    cr_assert_eq(summary.left, 0, "%s", said.text);
    cr_assert_not_null(strstr(said.text, "0 1 state: made again of 5 blocks\n"), "%s", said.text);
    summary = repair(&writing, false, &said);
    cr_assert_eq(summary.findings, 0, "%s", said.text);
    writing_end(&writing);
}

Test(repair, of_a_log_needs_a_head_for_its_end_only_where_blocks_were_cut_off)
{
    struct writing writing;
    struct said said;
    char command[512];
    fill(&writing);
    // Both meta pages, and the head as if the machine had died before it was written.
    (void)snprintf(
        command,
        sizeof command,
        "cd %s/shards/0000 && dd if=/dev/zero of=log/data.mdb bs=4096 count=2 conv=notrunc 2>&1 && "
        ": > head",
        writing.dir);
    cr_assert_eq(system(command), 0);
    struct repair_summary summary = repair(&writing, false, &said);
    cr_assert_eq(summary.left, 0, "%s", said.text);
    cr_assert_not_null(
        strstr(said.text, "0 1 log: made again of its 5 blocks, all of them whole\n"),
        "%s",
        said.text);
    writing_open(&writing, NULL);
    struct event_bytes event;
    event_make(&event, "subject", "victim-3", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_DUPLICATE);
    writing_close(&writing);
    writing_end(&writing);
}
