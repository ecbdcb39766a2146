#include "api/customer_book.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { PLACES = 2 * CUSTOMER_BOOK_MAX };

static const int64_t MILLISECOND_NS = 1000000;

struct page {
    const char *id;  // NULL: free
    const char *const *subjects;
    uint32_t count;
    int64_t read_ns;  // monotonic; 0: forgotten
    bool is_wanted;   // asked for since it was read
};

// Open addressing by the id's hash; pages are dropped only all together.
struct customer_book {
    struct database *database;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;  // for what follows
    pthread_cond_t stop;
    bool is_stopping;
    bool is_away;  // the last look of the thread failed
    struct arena arena;
    struct page *pages;
    uint32_t count;
};

// --- pages, with the mutex held ---

static struct page *
page_of(struct customer_book *book, const char *id)
{
    uint64_t place = hash64(bytes_text(id), 0) % PLACES;
    while (book->pages[place].id != NULL && strcmp(book->pages[place].id, id) != 0)
        place = (place + 1) % PLACES;
    return &book->pages[place];
}

static void
pages_drop(struct customer_book *book)
{
    memset(book->pages, 0, PLACES * sizeof *book->pages);
    arena_reset(&book->arena);
    book->count = 0;
}

static bool
page_has(const struct page *page, const char *const *subjects, uint32_t count)
{
    bool is_same = page->id != NULL && page->count == count;
    for (uint32_t i = 0; i < count && is_same; i++)
        is_same = strcmp(page->subjects[i], subjects[i]) == 0;
    return is_same;
}

static void
page_write(struct customer_book *book, const char *id, const char *const *subjects, uint32_t count)
{
    if (book->count == CUSTOMER_BOOK_MAX || book->arena.total_bytes > CUSTOMER_BOOK_BYTES_MAX)
        pages_drop(book);
    struct page *page = page_of(book, id);
    if (!page_has(page, subjects, count)) {
        const char **copies = arena_array(&book->arena, count, const char *);
        for (uint32_t i = 0; i < count; i++)
            copies[i] = arena_text(&book->arena, subjects[i]);
        book->count += page->id == NULL;
        page->id = page->id != NULL ? page->id : arena_text(&book->arena, id);
        page->subjects = copies;
        page->count = count;
    }
    page->read_ns = clock_monotonic_ns();
    page->is_wanted = false;
}

static void
page_copy(
    const struct page *page, struct arena *arena, struct bytes **out_subjects, uint32_t *out_count)
{
    *out_subjects = arena_array(arena, page->count, struct bytes);
    *out_count = page->count;
    for (uint32_t i = 0; i < page->count; i++)
        (*out_subjects)[i] = bytes_text(arena_text(arena, page->subjects[i]));
}

// --- the database ---

// What is asked of it: ids; and what it says, by id.
struct look {
    struct arena arena;
    const char *ids[CUSTOMER_BOOK_LOOK_MAX];
    uint32_t count;
    struct sql_rows rows;
};

static enum status
look_ask(struct customer_book *book, struct look *look, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    scoped(buffer_done) struct buffer list = {0};
    enum status status = database_take(book->database, &loan, error);
    if (status)
        return status;
    sql_array_begin(&list);
    for (uint32_t i = 0; i < look->count; i++)
        sql_array_add(&list, look->ids[i]);
    const char *ids = sql_array_end(&list);
    if (ids == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the ids of customers");
    const struct sql_query query = {
        "SELECT customer_id, subject FROM customer_subjects"
        " WHERE customer_id = ANY ($1::text[]) ORDER BY 1, 2",
        SQL_PARAMS(ids),
        SQL_ANY_ROWS,
        2};
    loan.status = sql_run(loan.sql, &query, &look->arena, &look->rows, error);
    return loan.status;
}

// The first row that is not before the id: they are ordered byte by byte.
static size_t
look_place(const struct look *look, const char *id)
{
    size_t low = 0, high = look->rows.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(sql_cell(&look->rows, middle, 0), id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// With the mutex held.
static void
look_write(struct customer_book *book, struct look *look)
{
    const char **subjects = arena_array(&look->arena, look->rows.count + 1, const char *);
    for (uint32_t i = 0; i < look->count; i++) {
        const char *id = look->ids[i];
        uint32_t count = 0;
        size_t row = look_place(look, id);
        for (; row < look->rows.count && strcmp(sql_cell(&look->rows, row, 0), id) == 0; row++)
            subjects[count++] = sql_cell(&look->rows, row, 1);
        if (count == 0)
            subjects[count++] = id;
        page_write(book, id, subjects, count);
    }
}

static void
look_done(struct look *look)
{
    arena_done(&look->arena);
}

// --- the thread ---

// The next ids that were asked for, from *place on.
static void
look_collect(struct customer_book *book, uint64_t *place, struct look *look)
{
    look->count = 0;
    for (; *place < PLACES && look->count < CUSTOMER_BOOK_LOOK_MAX; ++*place) {
        const struct page *page = &book->pages[*place];
        if (page->id != NULL && page->is_wanted)
            look->ids[look->count++] = arena_text(&look->arena, page->id);
    }
}

// With the mutex held, which it lets go while it waits for the database.
static void
book_renew(struct customer_book *book)
{
    enum status status = STATUS_OK;
    for (uint64_t place = 0; place < PLACES && !status && !book->is_stopping;) {
        scoped(look_done) struct look look = {.count = 0};
        struct error error = {0};
        look_collect(book, &place, &look);
        if (look.count == 0)
            continue;
        pthread_mutex_unlock(&book->mutex);
        status = look_ask(book, &look, &error);
        pthread_mutex_lock(&book->mutex);
        if (!status)
            look_write(book, &look);
        else if (!book->is_away)
            log_warn("customers_unreadable", LOG_TEXT("error", error.text));
    }
    book->is_away = status != STATUS_OK;
}

static void *
book_run(void *argument)
{
    struct customer_book *book = argument;
    pthread_mutex_lock(&book->mutex);
    while (!book->is_stopping) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += CUSTOMER_BOOK_POLL_MS / 1000;
        if (pthread_cond_timedwait(&book->stop, &book->mutex, &until) == ETIMEDOUT)
            book_renew(book);
    }
    pthread_mutex_unlock(&book->mutex);
    return NULL;
}

// --- open and close ---

enum status
customer_book_open(struct database *database, struct customer_book **out, struct error *error)
{
    struct customer_book *book = pool_take(1, sizeof *book);
    struct page *pages = pool_take(PLACES, sizeof *pages);
    if (book == NULL || pages == NULL) {
        pool_give(book);
        pool_give(pages);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the book of customers");
    }
    book->database = database;
    book->pages = pages;
    pthread_mutex_init(&book->mutex, NULL);
    pthread_cond_init(&book->stop, NULL);
    book->has_thread = pthread_create(&book->thread, NULL, book_run, book) == 0;
    if (!book->has_thread) {
        customer_book_close(book);
        return error_set(error, STATUS_NO_MEMORY, "cannot start the thread that reads customers");
    }
    *out = book;
    return STATUS_OK;
}

void
customer_book_close(struct customer_book *book)
{
    if (book == NULL)
        return;
    pthread_mutex_lock(&book->mutex);
    book->is_stopping = true;
    pthread_cond_signal(&book->stop);
    pthread_mutex_unlock(&book->mutex);
    if (book->has_thread)
        pthread_join(book->thread, NULL);
    pthread_mutex_destroy(&book->mutex);
    pthread_cond_destroy(&book->stop);
    arena_done(&book->arena);
    pool_give(book->pages);
    pool_give(book);
}

// --- questions ---

static bool
page_is_known(const struct page *page, int64_t age_max_ns)
{
    return page->id != NULL && page->read_ns != 0 &&
           clock_monotonic_ns() - page->read_ns <= age_max_ns;
}

// Whether the page was there, and not older than that.
static bool
book_read(
    struct customer_book *book,
    const char *id,
    int64_t age_max_ns,
    struct arena *arena,
    struct bytes **out_subjects,
    uint32_t *out_count)
{
    pthread_mutex_lock(&book->mutex);
    struct page *page = page_of(book, id);
    bool is_known = page_is_known(page, age_max_ns);
    if (is_known) {
        page->is_wanted = true;
        page_copy(page, arena, out_subjects, out_count);
    }
    pthread_mutex_unlock(&book->mutex);
    return is_known;
}

enum status
customer_book_find(
    struct customer_book *book,
    const char *id,
    struct arena *arena,
    struct bytes **out_subjects,
    uint32_t *out_count,
    struct error *error)
{
    scoped(look_done) struct look look = {.ids = {id}, .count = 1};
    if (book_read(book, id, CUSTOMER_BOOK_OLD_MS * MILLISECOND_NS, arena, out_subjects, out_count))
        return STATUS_OK;
    enum status status = look_ask(book, &look, error);
    if (status)
        return book_read(book, id, INT64_MAX, arena, out_subjects, out_count) ? STATUS_OK : status;
    pthread_mutex_lock(&book->mutex);
    look_write(book, &look);
    page_copy(page_of(book, id), arena, out_subjects, out_count);
    pthread_mutex_unlock(&book->mutex);
    return STATUS_OK;
}

void
customer_book_prepare(struct customer_book *book, const char *const *ids, uint32_t count)
{
    scoped(look_done) struct look look = {.count = 0};
    struct error ignored = {0};
    must(count <= CUSTOMER_BOOK_LOOK_MAX);
    pthread_mutex_lock(&book->mutex);
    for (uint32_t i = 0; i < count; i++)
        if (!page_is_known(page_of(book, ids[i]), CUSTOMER_BOOK_OLD_MS * MILLISECOND_NS))
            look.ids[look.count++] = ids[i];
    pthread_mutex_unlock(&book->mutex);
    if (look.count == 0 || look_ask(book, &look, &ignored))
        return;
    pthread_mutex_lock(&book->mutex);
    look_write(book, &look);
    pthread_mutex_unlock(&book->mutex);
}

void
customer_book_forget(struct customer_book *book, const char *id)
{
    pthread_mutex_lock(&book->mutex);
    struct page *page = page_of(book, id);
    if (page->id != NULL)
        page->read_ns = 0;
    pthread_mutex_unlock(&book->mutex);
}
