#include "billing/event_source.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/pool.h"
#include "ledger/usage_events.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVENTS_KEPT_MAX = 1 << 22,  // of all books, about 500 MiB
    BOOKS_MAX = 256,
};

struct held {
    struct bytes subject;
    int64_t time_ns, arrival_ns;
    uint32_t shard, index;
    uint64_t block;
    struct decimal units, price;
    const char *key;
    bool has_price;
};

// The events of one meter and range, by subject, then by time.
struct book {
    const char *meter, *dimension, *price_at;
    int64_t from_ns, to_ns;
    bool is_asked;  // once: the next question reads them all
    bool is_loaded;
    bool is_refused;  // they are too many: everybody is asked for alone
    const struct held *items;
    size_t count;
};

struct event_source {
    struct reader *reader;
    pthread_mutex_t turn;
    struct arena arena;  // of the books
    struct book books[BOOKS_MAX];
    size_t books_count;
    size_t kept;
};

enum status
event_source_open(const char *data_dir, struct event_source **out, struct error *error)
{
    must(data_dir != NULL && out != NULL);
    struct event_source *source = pool_take(1, sizeof *source);
    if (source == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for events");
    enum status status = reader_open(data_dir, &source->reader, error);
    if (status) {
        pool_give(source);
        return status;
    }
    must(pthread_mutex_init(&source->turn, NULL) == 0);
    *out = source;
    return STATUS_OK;
}

void
event_source_close(struct event_source *source)
{
    if (source == NULL)
        return;
    reader_close(source->reader);
    must(pthread_mutex_destroy(&source->turn) == 0);
    arena_done(&source->arena);
    pool_give(source);
}

void
event_source_done(struct event_source **source)
{
    event_source_close(*source);
    *source = NULL;
}

// ---- from the ledger

static int
place_order(const struct held *a, const struct held *b)
{
    int order = (a->time_ns > b->time_ns) - (a->time_ns < b->time_ns);
    if (order == 0)
        order = (a->arrival_ns > b->arrival_ns) - (a->arrival_ns < b->arrival_ns);
    if (order == 0)
        order = (a->shard > b->shard) - (a->shard < b->shard);
    if (order == 0)
        order = (a->block > b->block) - (a->block < b->block);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

static int
held_order(const void *a, const void *b)
{
    const struct held *left = a, *right = b;
    int order = bytes_compare(left->subject, right->subject);
    return order != 0 ? order : place_order(left, right);
}

static int
found_order(const void *a, const void *b)
{
    const struct held *const *left = a, *const *right = b;
    return place_order(*left, *right);
}

struct reading {
    struct arena *arena;
    struct buffer *out;  // struct held
    size_t count, count_max;
    bool is_full;
};

// What no price can be for, since keys of prices are short texts, is one text that has none.
static const char *
key_text(struct bytes key, struct arena *arena)
{
    bool is_text = key.size <= CATALOG_VALUE_MAX && bytes_is_utf8(key) &&
                   (key.size == 0 || memchr(key.data, '\0', key.size) == NULL);
    return is_text ? arena_text_of(arena, key) : "\xef\xbf\xbd";
}

static bool
event_add(void *context, const struct usage_event *event)
{
    struct reading *reading = context;
    if (reading->count == reading->count_max) {
        reading->is_full = true;
        return false;
    }
    const struct held held = {
        .subject = arena_bytes(reading->arena, event->subject),
        .time_ns = event->time_ns,
        .arrival_ns = event->arrival_ns,
        .shard = event->shard,
        .block = event->block,
        .index = event->index,
        .units = event->value,
        .price = event->number,
        .has_price = event->has_number,
        .key = key_text(event->dimension, reading->arena),
    };
    buffer_put(reading->out, &held, sizeof held);
    reading->count++;
    return true;
}

static enum status
ledger_read(
    struct event_source *source,
    const struct book *book,
    const struct usage_question *question,  // NULL: everybody
    struct reading *reading,
    struct error *error)
{
    scoped(arena_done) struct arena scratch = {0};
    size_t count = question != NULL ? question->subjects_count : 0;
    struct bytes *subjects = arena_array(&scratch, count + 1, struct bytes);
    for (size_t i = 0; i < count; i++)
        subjects[i] = bytes_text(question->subjects[i]);
    const struct usage_events_query query = {
        .meter = book->meter,
        .subjects = subjects,
        .subjects_count = (uint32_t)count,
        .from_ns = book->from_ns,
        .to_ns = book->to_ns,
        .dimension = book->dimension,
        .number_at = book->price_at,
    };
    enum status status = usage_events(source->reader, &query, event_add, reading, error);
    if (status == STATUS_OK && buffer_failed(reading->out))
        return error_set(error, STATUS_NO_MEMORY, "no memory for events of %s", book->meter);
    // A log that is kept for less long than a period waits for its invoice.
    return status == STATUS_NOT_FOUND ? STATUS_OVERFLOW : status;
}

// ---- the books

static bool
text_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static const char *
text_keep(struct arena *arena, const char *text)
{
    return text != NULL ? arena_text(arena, text) : NULL;
}

// NULL: there are too many books.
static struct book *
book_of(
    struct event_source *source,
    const struct usage_question *question,
    const struct event_wanted *wanted)
{
    for (size_t i = 0; i < source->books_count; i++) {
        struct book *book = &source->books[i];
        if (book->from_ns == question->from_ns && book->to_ns == question->to_ns &&
            text_equal(book->meter, question->meter) &&
            text_equal(book->dimension, wanted->dimension) &&
            text_equal(book->price_at, wanted->price_at))
            return book;
    }
    if (source->books_count == BOOKS_MAX)
        return NULL;
    struct book *book = &source->books[source->books_count++];
    *book = (struct book){
        .meter = arena_text(&source->arena, question->meter),
        .dimension = text_keep(&source->arena, wanted->dimension),
        .price_at = text_keep(&source->arena, wanted->price_at),
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
    };
    return book;
}

static enum status
book_load(struct event_source *source, struct book *book, struct error *error)
{
    scoped(buffer_done) struct buffer found = {0};
    struct reading reading = {
        .arena = &source->arena,
        .out = &found,
        .count_max = EVENTS_KEPT_MAX - source->kept,
    };
    enum status status = ledger_read(source, book, NULL, &reading, error);
    if (status)
        return status;
    book->is_refused = reading.is_full;
    if (reading.is_full)
        return STATUS_OK;
    struct held *items = arena_array(&source->arena, reading.count + 1, struct held);
    if (reading.count > 0)
        memcpy(items, found.data, found.size);
    qsort(items, reading.count, sizeof *items, held_order);
    book->items = items;
    book->count = reading.count;
    book->is_loaded = true;
    source->kept += reading.count;
    return STATUS_OK;
}

// Where the subject's events begin in a book.
static size_t
subject_first(const struct book *book, struct bytes subject)
{
    size_t low = 0, high = book->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(book->items[middle].subject, subject) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void
book_find(const struct book *book, const struct usage_question *question, struct buffer *out)
{
    for (size_t i = 0; i < question->subjects_count; i++) {
        struct bytes subject = bytes_text(question->subjects[i]);
        size_t at = subject_first(book, subject);
        for (; at < book->count && bytes_equal(book->items[at].subject, subject); at++) {
            const struct held *held = &book->items[at];
            buffer_put(out, &held, sizeof held);
        }
    }
}

// ---- the answer

static bool
is_quantity(struct decimal value)
{
    const int128 bound = DECIMAL_ONE.units * 1000000000 * 1000000000 * 10;
    return -bound < value.units && value.units < bound;
}

static enum status
answer_make(
    const struct usage_question *question,
    const struct event_wanted *wanted,
    struct buffer *found,
    struct arena *arena,
    struct event_list *out,
    struct error *error)
{
    const struct held **items = (const struct held **)(void *)found->data;
    size_t count = found->size / sizeof *items;
    if (count > CHARGE_EVENTS_MAX)
        return error_set(
            error,
            STATUS_OVERFLOW,
            "%zu events of %s in one period: a charge of single events takes at most %d",
            count,
            question->meter,
            CHARGE_EVENTS_MAX);
    if (count > 1)
        qsort(items, count, sizeof *items, found_order);
    struct charge_event *events = arena_array(arena, count + 1, struct charge_event);
    out->sum = DECIMAL_ZERO;
    for (size_t i = 0; i < count; i++) {
        char time[CLOCK_TEXT_MAX];
        clock_print(items[i]->time_ns, time);
        events[i] = (struct charge_event){
            items[i]->time_ns, items[i]->units, items[i]->price, arena_text(arena, items[i]->key)};
        if (wanted->price_at != NULL && !items[i]->has_price)
            return error_set(
                error,
                STATUS_OVERFLOW,
                "an event of %s at %s has no price at %s",
                question->meter,
                time,
                wanted->price_at);
        if (!decimal_add(&out->sum, items[i]->units) || !is_quantity(out->sum))
            return error_set(
                error, STATUS_OVERFLOW, "the usage of %s is too large to add up", question->meter);
    }
    out->items = events;
    out->count = (uint32_t)count;
    return STATUS_OK;
}

// Those of one customer, without keeping anything.
static enum status
alone_find(
    struct event_source *source,
    const struct book *book,
    const struct usage_question *question,
    struct arena *arena,
    struct buffer *out,
    struct error *error)
{
    scoped(buffer_done) struct buffer found = {0};
    struct reading reading = {
        .arena = arena, .out = &found, .count_max = (size_t)CHARGE_EVENTS_MAX + 1};
    enum status status = ledger_read(source, book, question, &reading, error);
    if (status)
        return status;
    struct held *items = arena_array(arena, reading.count + 1, struct held);
    if (reading.count > 0)
        memcpy(items, found.data, found.size);
    for (size_t i = 0; i < reading.count; i++) {
        const struct held *held = &items[i];
        buffer_put(out, &held, sizeof held);
    }
    return STATUS_OK;
}

static enum status
list_locked(
    struct event_source *source,
    const struct usage_question *question,
    const struct event_wanted *wanted,
    struct arena *arena,
    struct buffer *found,
    struct error *error)
{
    struct book *book = book_of(source, question, wanted);
    struct book nobody = {
        .meter = question->meter,
        .dimension = wanted->dimension,
        .price_at = wanted->price_at,
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
        .is_refused = true,
    };
    enum status status = STATUS_OK;
    if (book == NULL)
        book = &nobody;
    if (book->is_asked && !book->is_loaded && !book->is_refused)
        status = book_load(source, book, error);
    book->is_asked = true;
    if (status == STATUS_OK && book->is_loaded)
        book_find(book, question, found);
    else if (status == STATUS_OK)
        status = alone_find(source, book, question, arena, found, error);
    if (status == STATUS_OK && buffer_failed(found))
        return error_set(error, STATUS_NO_MEMORY, "no memory for events of %s", question->meter);
    return status;
}

enum status
event_source_list(
    struct event_source *source,
    const struct usage_question *question,
    const struct event_wanted *wanted,
    struct arena *arena,
    struct event_list *out,
    struct error *error)
{
    must(question->from_ns < question->to_ns);
    scoped(buffer_done) struct buffer found = {0};
    scoped(arena_done) struct arena scratch = {0};
    *out = (struct event_list){0};
    // Without subjects the ledger would answer for all of them.
    if (question->subjects_count == 0)
        return STATUS_OK;
    must(pthread_mutex_lock(&source->turn) == 0);
    enum status status = list_locked(source, question, wanted, &scratch, &found, error);
    must(pthread_mutex_unlock(&source->turn) == 0);
    return status ? status : answer_make(question, wanted, &found, arena, out, error);
}
