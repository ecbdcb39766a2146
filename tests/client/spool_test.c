#include "client/spool.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t WALL_NS = 1763809200123456789;

struct place {
    char path[64];
    struct spool spool;
    struct backlog backlog;
};

static struct spool_options
options_of(const struct place *place)
{
    return (struct spool_options){.path = place->path, .size_max = 1 << 20};
}

static void
place_open(struct place *place, const char *backfill)
{
    const struct backlog_limits limits = {
        .size = 1 << 20, .batch_size = 1 << 16, .batch_events = 2, .backfill = backfill};
    struct error error = {0};
    (void)snprintf(place->path, sizeof place->path, "/tmp/tally-spool-XXXXXX");
    cr_assert_not_null(mkdtemp(place->path));
    cr_assert_eq(rmdir(place->path), 0, "spool_open makes it");
    struct spool_options options = options_of(place);
    cr_assert_eq(spool_open(&place->spool, &options, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(backlog_init(&place->backlog, &limits, NULL), STATUS_OK);
}

static void
place_done(struct place *place)
{
    DIR *directory = opendir(place->path);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        (void)unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    cr_assert_eq(rmdir(place->path), 0);
    spool_close(&place->spool);
    backlog_done(&place->backlog);
}

// A sealed batch of two events.
static struct batch *
batch_make(struct place *place)
{
    static const char text[] = "some bytes of an event";
    const struct encoded entry = {bytes_of(text, sizeof text), ENCODE_HAS_ID, 7};
    for (int i = 0; i < 2; i++)
        cr_assert(backlog_append(&place->backlog, &entry, 0, WALL_NS));
    struct batch *batch = backlog_take(&place->backlog);
    cr_assert_not_null(batch);
    return batch;
}

static enum status
read_back(struct place *place, const char *chunk, struct batch *out, struct buffer *scratch)
{
    struct bytes events;
    struct error error = {0};
    enum status status = spool_read(&place->spool, chunk, scratch, out, &events, &error);
    if (status == STATUS_OK)
        cr_assert_eq(events.size, out->events_size);
    else
        cr_assert_neq(error.text[0], '\0');
    return status;
}

static bool
has_file(const struct place *place, const char *chunk, const char *suffix)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%.36s%s", place->path, chunk, suffix);
    return access(path, F_OK) == 0;
}

Test(spool, reads_what_was_written)
{
    static const char *const names[] = {"", "2023-11"};
    for (size_t i = 0; i < 2; i++) {
        struct place place;
        struct batch read;
        struct bytes events;
        scoped(buffer_done) struct buffer scratch = {0};
        place_open(&place, names[i]);
        place.spool.is_sync = i == 1;
        const struct batch *batch = batch_make(&place);
        cr_assert_eq(spool_write(&place.spool, batch, NULL), STATUS_OK);
        cr_assert(has_file(&place, batch->chunk, ".batch"));
        cr_assert_not(has_file(&place, batch->chunk, ".tmp"));
        cr_assert_eq(place.spool.used_size, spool_file_size(batch));
        cr_assert_eq(
            spool_read(&place.spool, batch->chunk, &scratch, &read, &events, NULL), STATUS_OK);
        cr_assert(bytes_equal(events, backlog_events(batch)));
        cr_assert_eq(read.events_count, 2);
        cr_assert_str_eq(read.backfill, names[i]);
        cr_assert_eq(memcmp(read.chunk, batch->chunk, sizeof read.chunk), 0);
        cr_assert_eq(scratch.size, spool_file_size(batch));
        cr_assert_eq(spool_remove(&place.spool, batch->chunk, NULL), STATUS_OK);
        cr_assert_not(has_file(&place, batch->chunk, ".batch"));
        cr_assert_eq(spool_remove(&place.spool, batch->chunk, NULL), STATUS_OK, "gone is gone");
        place_done(&place);
    }
}

static void
file_put(const struct place *place, const char *chunk, struct bytes bytes)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%.36s.batch", place->path, chunk);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    cr_assert_eq(fclose(file), 0);
}

Test(spool, refuses_a_file_with_any_byte_changed_or_any_length_but_its_own)
{
    struct place place;
    struct batch read;
    uint8_t whole[512] = {0};
    scoped(buffer_done) struct buffer scratch = {.limit = 1 << 20};
    place_open(&place, "name");
    const struct batch *batch = batch_make(&place);
    cr_assert_eq(spool_write(&place.spool, batch, NULL), STATUS_OK);
    cr_assert_eq(read_back(&place, batch->chunk, &read, &scratch), STATUS_OK);
    size_t size = scratch.size;
    cr_assert_lt(size, sizeof whole);
    memcpy(whole, scratch.data, size);
    for (size_t i = 0; i < size; i++) {
        whole[i] ^= 0x10;
        file_put(&place, batch->chunk, bytes_of(whole, size));
        cr_assert_eq(read_back(&place, batch->chunk, &read, &scratch), STATUS_CORRUPT, "at %zu", i);
        whole[i] ^= 0x10;
    }
    for (size_t length = 0; length <= size + 1; length++) {
        file_put(&place, batch->chunk, bytes_of(whole, length));
        cr_assert_eq(
            read_back(&place, batch->chunk, &read, &scratch),
            length == size ? STATUS_OK : STATUS_CORRUPT,
            "%zu bytes",
            length);
    }
    place_done(&place);
}

Test(spool, refuses_a_whole_file_under_another_name)
{
    struct place place;
    struct batch read;
    scoped(buffer_done) struct buffer scratch = {0};
    place_open(&place, NULL);
    const struct batch *first = batch_make(&place), *second = batch_make(&place);
    cr_assert_eq(spool_write(&place.spool, first, NULL), STATUS_OK);
    cr_assert_eq(read_back(&place, first->chunk, &read, &scratch), STATUS_OK);
    file_put(&place, second->chunk, buffer_view(&scratch));
    cr_assert_eq(read_back(&place, second->chunk, &read, &scratch), STATUS_CORRUPT);
    cr_assert_eq(spool_set_aside(&place.spool, second->chunk, NULL), STATUS_OK);
    cr_assert(has_file(&place, second->chunk, ".bad"));
    cr_assert_not(has_file(&place, second->chunk, ".batch"));
    cr_assert_eq(read_back(&place, second->chunk, &read, &scratch), STATUS_IO, "it is not there");
    place_done(&place);
}

Test(spool, finds_what_is_there_in_the_order_of_sealing)
{
    struct place place;
    char chunks[5][UUID7_TEXT_SIZE], path[160];
    static const char *const strangers[] = {"lock2", "x.batch", "README"};
    scoped(buffer_done) struct buffer names = {0};
    place_open(&place, NULL);
    uint64_t size = 0;
    for (size_t i = 0; i < 5; i++) {
        const struct batch *batch = batch_make(&place);
        memcpy(chunks[i], batch->chunk, sizeof chunks[i]);
        cr_assert_eq(spool_write(&place.spool, batch, NULL), STATUS_OK);
        size += spool_file_size(batch);
    }
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", place.path, strangers[i]);
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    // One was being written when the process ended, one is damaged.
    (void)snprintf(path, sizeof path, "%s/%.36s.tmp", place.path, chunks[0]);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    cr_assert_eq(spool_set_aside(&place.spool, chunks[3], NULL), STATUS_OK);
    cr_assert_eq(spool_scan(&place.spool, &names, NULL), STATUS_OK);
    cr_assert_eq(names.size, 4 * UUID7_TEXT_SIZE);
    static const size_t expected[] = {0, 1, 2, 4};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(
            memcmp(names.data + i * UUID7_TEXT_SIZE, chunks[expected[i]], UUID7_TEXT_SIZE), 0);
    cr_assert_eq(place.spool.used_size, size / 5 * 4);
    cr_assert_not(has_file(&place, chunks[0], ".tmp"));
    (void)snprintf(path, sizeof path, "%s/README", place.path);
    cr_assert_eq(access(path, F_OK), 0, "strangers stay");
    place_done(&place);
}

Test(spool, belongs_to_one_handle_at_a_time)
{
    struct place place;
    struct spool other;
    struct error error = {0};
    int wait_status;
    place_open(&place, NULL);
    struct spool_options options = options_of(&place);
    cr_assert_eq(spool_open(&other, &options, &error), STATUS_BUSY);
    cr_assert_not_null(strstr(error.text, place.path), "%s", error.text);
    pid_t pid = fork();
    if (pid == 0) {
        struct spool mine;
        enum status status = spool_open(&mine, &options, NULL);
        _exit(status == STATUS_BUSY ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
    cr_assert(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0, "from another process");
    spool_close(&place.spool);
    cr_assert_eq(spool_open(&place.spool, &options, &error), STATUS_OK, "%s", error.text);
    place_done(&place);
}

Test(spool, says_why_it_cannot_be_opened)
{
    static const char *const paths[] = {"/nowhere/at/all", "/dev/null", "/proc/spool"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct spool spool;
        struct error error = {0};
        const struct spool_options options = {.path = paths[i], .size_max = 1 << 20};
        cr_assert_eq(spool_open(&spool, &options, &error), STATUS_IO);
        cr_assert_not_null(strstr(error.text, paths[i]), "%s", error.text);
        cr_assert_not(spool.is_open);
    }
}

Test(spool, counts_its_room_to_the_byte)
{
    struct place place;
    place_open(&place, NULL);
    const struct batch *batch = batch_make(&place);
    place.spool.size_max = 2 * spool_file_size(batch);
    cr_assert(spool_has_room(&place.spool, batch->events_size));
    cr_assert_eq(spool_write(&place.spool, batch, NULL), STATUS_OK);
    cr_assert(spool_has_room(&place.spool, batch->events_size));
    cr_assert_not(spool_has_room(&place.spool, batch->events_size + 1));
    place_done(&place);
}
