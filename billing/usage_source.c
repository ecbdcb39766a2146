#include "billing/usage_source.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/pool.h"

#include <pthread.h>
#include <string.h>

enum {
    SOURCE_QUERIES_MAX = 64,       // questions of one subject before a range's totals are read
    SOURCE_BOOKS_MAX = 1024,       // meters and ranges remembered at a time
    SOURCE_ENTRIES_MAX = 1 << 23,  // totals remembered at a time, about 600 MiB
    SOURCE_VALUES_MAX = 32,        // of a dimension, for each of which totals are read
};

// What of a meter's usage is asked for.
struct part {
    const char *key;  // "": all of it; equal parts have equal keys
    const struct usage_filter *filter;
};
static const struct part PART_WHOLE = {.key = ""};

struct entry {
    struct bytes subject;
    struct decimal total;
};

// The totals of one meter, part and range, by subject: open addressing, at most half full.
struct book {
    const char *meter, *part;
    int64_t from_ns, to_ns;
    uint32_t queries;
    bool is_loaded;
    bool is_refused;  // somebody's total does not add up, so everybody is asked for alone
    struct entry *slots;
    size_t slots_count;  // a power of two
    size_t used;
};

struct usage_source {
    struct reader *reader;
    pthread_mutex_t turn;
    struct arena arena;    // of the books
    struct arena scratch;  // of one answer
    struct book books[SOURCE_BOOKS_MAX];
    size_t books_count;
    size_t entries;
};

enum status
usage_source_open(const char *data_dir, struct usage_source **out, struct error *error)
{
    must(data_dir != NULL && out != NULL);
    struct usage_source *source = pool_take(1, sizeof *source);
    if (source == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for usage");
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
usage_source_close(struct usage_source *source)
{
    if (source == NULL)
        return;
    reader_close(source->reader);
    must(pthread_mutex_destroy(&source->turn) == 0);
    arena_done(&source->arena);
    arena_done(&source->scratch);
    pool_give(source);
}

void
usage_source_done(struct usage_source **source)
{
    usage_source_close(*source);
    *source = NULL;
}

struct reader *
usage_source_reader(struct usage_source *source)
{
    return source->reader;
}

static struct entry *
entry_find(struct entry *slots, size_t slots_count, struct bytes subject)
{
    must((slots_count & (slots_count - 1)) == 0);
    size_t at = hash64(subject, 0) & (slots_count - 1);
    while (slots[at].subject.data != NULL && !bytes_equal(slots[at].subject, subject))
        at = (at + 1) & (slots_count - 1);
    return &slots[at];
}

static void
book_grow(struct book *book, struct arena *arena)
{
    size_t count = book->slots_count > 0 ? book->slots_count * 2 : 1024;
    struct entry *slots = arena_array(arena, count, struct entry);
    for (size_t i = 0; i < book->slots_count; i++)
        if (book->slots[i].subject.data != NULL)
            *entry_find(slots, count, book->slots[i].subject) = book->slots[i];
    book->slots = slots;
    book->slots_count = count;
}

struct loading {
    struct usage_source *source;
    struct book *book;
    bool has_overflow;
};

static bool
total_add(void *context, struct bytes subject, const struct usage_row *total)
{
    struct loading *loading = context;
    struct book *book = loading->book;
    if (2 * (book->used + 1) > book->slots_count)
        book_grow(book, &loading->source->arena);
    struct entry *entry = entry_find(book->slots, book->slots_count, subject);
    if (entry->subject.data == NULL) {
        entry->subject = arena_bytes(&loading->source->arena, subject);
        book->used++;
        loading->source->entries++;
    }
    if (!decimal_add(&entry->total, total->value))
        loading->has_overflow = true;
    return !loading->has_overflow;
}

static enum status
book_load(
    struct usage_source *source, struct book *book, const struct part *part, struct error *error)
{
    struct loading loading = {source, book, false};
    const struct usage_query query = {
        .meter = book->meter,
        .from_ns = book->from_ns,
        .to_ns = book->to_ns,
        .filter = part->filter,
    };
    book_grow(book, &source->arena);
    enum status status = usage_stream(source->reader, &query, total_add, &loading, error);
    if (status == STATUS_OK && loading.has_overflow)
        status =
            error_set(error, STATUS_OVERFLOW, "a subject's usage of %s is too large", book->meter);
    if (status) {
        // Half-read totals would be added to by the next attempt.
        source->entries -= book->used;
        book->slots = NULL;
        book->slots_count = book->used = 0;
        return status;
    }
    book->is_loaded = true;
    return STATUS_OK;
}

static void
books_drop(struct usage_source *source)
{
    arena_reset(&source->arena);
    source->books_count = 0;
    source->entries = 0;
}

static struct book *
book_of(struct usage_source *source, const struct usage_question *question, const struct part *part)
{
    for (size_t i = 0; i < source->books_count; i++) {
        struct book *book = &source->books[i];
        if (book->from_ns == question->from_ns && book->to_ns == question->to_ns &&
            strcmp(book->meter, question->meter) == 0 && strcmp(book->part, part->key) == 0)
            return book;
    }
    if (source->books_count == SOURCE_BOOKS_MAX || source->entries > SOURCE_ENTRIES_MAX)
        books_drop(source);
    struct book *book = &source->books[source->books_count++];
    *book = (struct book){
        .meter = arena_text(&source->arena, question->meter),
        .part = arena_text(&source->arena, part->key),
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
    };
    return book;
}

static enum status
subject_query(
    struct usage_source *source,
    const struct usage_question *question,
    const struct part *part,
    struct bytes subject,
    struct decimal *out,
    struct error *error)
{
    struct usage_query query = {
        .meter = question->meter,
        .subject = subject,
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
        .window = USAGE_WINDOW_NONE,
        .filter = part->filter,
    };
    struct usage_result result = {0};
    arena_reset(&source->scratch);
    enum status status = usage_query(source->reader, &query, &source->scratch, &result, error);
    if (status)
        return status;
    must(result.count <= 1);
    *out = result.count == 1 ? result.rows[0].value : DECIMAL_ZERO;
    return STATUS_OK;
}

struct asking {
    struct usage_source *source;
    const struct usage_question *question;
    const struct part *part;
    struct book *book;
};

static enum status
subject_usage(
    const struct asking *asking, struct bytes subject, struct decimal *out, struct error *error)
{
    struct usage_source *source = asking->source;
    struct book *book = asking->book;
    if (!book->is_loaded && !book->is_refused && book->queries++ >= SOURCE_QUERIES_MAX) {
        enum status status = book_load(source, book, asking->part, error);
        book->is_refused = status == STATUS_OVERFLOW;
        if (status && !book->is_refused)
            return status;
    }
    if (!book->is_loaded)
        return subject_query(source, asking->question, asking->part, subject, out, error);
    must(book->slots != NULL);
    *out = entry_find(book->slots, book->slots_count, subject)->total;
    return STATUS_OK;
}

// Whether it is in the range of a quantity, |value| < 10^19: what a recorded document can hold.
static bool
is_quantity(struct decimal value)
{
    const int128 bound = DECIMAL_ONE.units * 1000000000 * 1000000000 * 10;
    return -bound < value.units && value.units < bound;
}

static enum status
sum_locked(
    struct usage_source *source,
    const struct usage_question *question,
    const struct part *part,
    struct decimal *out,
    struct error *error)
{
    const struct asking asking = {source, question, part, book_of(source, question, part)};
    struct decimal sum = DECIMAL_ZERO;
    // Who comes with a part has asked often enough.
    if (part->filter != NULL && asking.book->queries < SOURCE_QUERIES_MAX)
        asking.book->queries = SOURCE_QUERIES_MAX;
    for (size_t i = 0; i < question->subjects_count; i++) {
        struct decimal value = DECIMAL_ZERO;
        enum status status =
            subject_usage(&asking, bytes_text(question->subjects[i]), &value, error);
        if (status)
            return status;
        if (!decimal_add(&sum, value) || !is_quantity(sum))
            return error_set(
                error,
                STATUS_OVERFLOW,
                "the usage of %s by %s and others is too large to add up",
                question->meter,
                question->subjects[i]);
    }
    *out = sum;
    return STATUS_OK;
}

enum status
usage_source_sum(
    struct usage_source *source,
    const struct usage_question *question,
    struct decimal *out,
    struct error *error)
{
    must(question->from_ns < question->to_ns);
    must(pthread_mutex_lock(&source->turn) == 0);
    enum status status = sum_locked(source, question, &PART_WHOLE, out, error);
    must(pthread_mutex_unlock(&source->turn) == 0);
    return status;
}

static enum status
values_locked(
    struct usage_source *source,
    const struct usage_question *question,
    const char *dimension,
    struct usage_result *out,
    struct error *error)
{
    arena_reset(&source->scratch);
    struct bytes *subjects = arena_array(&source->scratch, question->subjects_count, struct bytes);
    for (size_t i = 0; i < question->subjects_count; i++)
        subjects[i] = bytes_text(question->subjects[i]);
    struct usage_query query = {
        .meter = question->meter,
        .subjects = subjects,
        .subjects_count = (uint32_t)question->subjects_count,
        .is_merged = true,
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
        .window = USAGE_WINDOW_NONE,
        .group_by = &dimension,
        .group_by_count = 1,
    };
    return usage_query(source->reader, &query, &source->scratch, out, error);
}

// Where the usage of a row belongs.
static struct decimal *
row_place(
    const struct usage_values *wanted,
    struct bytes value,
    struct decimal *values,
    struct decimal *rest)
{
    for (uint32_t i = 0; i < wanted->count; i++)
        if (bytes_equal(value, bytes_text(wanted->values[i])))
            return &values[i];
    return rest;
}

// The usage of one customer, from a question of its own.
static enum status
values_alone(
    struct usage_source *source,
    const struct usage_question *question,
    const struct usage_values *wanted,
    struct decimal *out_values,
    struct decimal *out_rest,
    struct error *error)
{
    struct usage_result result = {0};
    enum status status = values_locked(source, question, wanted->dimension, &result, error);
    for (size_t i = 0; status == STATUS_OK && i < result.count; i++) {
        const struct usage_row *row = &result.rows[i];
        struct decimal *place = row_place(wanted, row->dimensions[0], out_values, out_rest);
        if (!decimal_add(place, row->value) || !is_quantity(*place))
            status = error_set(
                error,
                STATUS_OVERFLOW,
                "the usage of %s by %s is too large to add up",
                question->meter,
                wanted->dimension);
    }
    return status;
}

// The usage with one value, or, behind the last of them, with none of them: each event is in one
// part, also when it comes between the readings of two.
static struct part
part_of(const struct usage_values *wanted, uint32_t index, struct arena *arena)
{
    struct usage_filter *filter = arena_new(arena, struct usage_filter);
    struct bytes *values = arena_array(arena, wanted->count, struct bytes);
    for (uint32_t i = 0; i < wanted->count; i++)
        values[i] = bytes_text(wanted->values[i]);
    bool is_rest = index == wanted->count;
    *filter = (struct usage_filter){
        .kind = is_rest ? USAGE_NIN : USAGE_EQ,
        .dimension = wanted->dimension,
        .values = is_rest ? values : &values[index],
        .values_count = is_rest ? wanted->count : 1,
    };
    const char *key = arena_format(arena, "%s\x1e%s", wanted->dimension, is_rest ? "not" : "is");
    for (uint32_t i = 0; i < filter->values_count; i++)
        key = arena_format(
            arena,
            "%s\x1f%zu:%s",
            key,
            filter->values[i].size,
            (const char *)filter->values[i].data);
    return (struct part){key, filter};
}

static enum status
values_from_books(
    struct usage_source *source,
    const struct usage_question *question,
    const struct usage_values *wanted,
    struct decimal *out_values,
    struct decimal *out_rest,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i <= wanted->count; i++) {
        const struct part part = part_of(wanted, i, &arena);
        struct decimal *out = i < wanted->count ? &out_values[i] : out_rest;
        status = sum_locked(source, question, &part, out, error);
    }
    return status;
}

// Whether the first questions about the dimension are over.
static bool
values_are_in_books(
    struct usage_source *source,
    const struct usage_question *question,
    const struct usage_values *wanted)
{
    scoped(arena_done) struct arena arena = {0};
    if (wanted->count > SOURCE_VALUES_MAX)
        return false;
    const struct part rest = part_of(wanted, wanted->count, &arena);
    struct book *book = book_of(source, question, &rest);
    return book->is_loaded || book->is_refused || book->queries++ >= SOURCE_QUERIES_MAX;
}

enum status
usage_source_values(
    struct usage_source *source,
    const struct usage_question *question,
    const struct usage_values *wanted,
    struct decimal *out_values,
    struct decimal *out_rest,
    struct error *error)
{
    must(question->from_ns < question->to_ns);
    memset(out_values, 0, wanted->count * sizeof *out_values);
    *out_rest = DECIMAL_ZERO;
    // Without subjects the ledger would answer for all of them.
    if (question->subjects_count == 0)
        return STATUS_OK;
    must(pthread_mutex_lock(&source->turn) == 0);
    bool has_books = values_are_in_books(source, question, wanted);
    enum status status =
        has_books ? values_from_books(source, question, wanted, out_values, out_rest, error)
                  : values_alone(source, question, wanted, out_values, out_rest, error);
    must(pthread_mutex_unlock(&source->turn) == 0);
    return status;
}
