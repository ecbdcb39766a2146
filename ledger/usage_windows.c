#include "ledger/usage_windows.h"

#include "base/assert.h"
#include "ledger/cell_walk.h"
#include "ledger/cover.h"
#include "ledger/shard_view.h"

// --- the heap ---

static int
window_order(const struct usage_windows *windows, uint32_t a, uint32_t b)
{
    const struct cell_key *left = &windows->list[a].key;
    const struct cell_key *right = &windows->list[b].key;
    int order = usage_subject_order(left->subject, right->subject);
    return order != 0 ? order : (a > b) - (a < b);
}

// A cursor that went on mostly belongs near the leaves: its place goes down to one of them with one
// comparison a level, then up again as far as it has to (Wegener 1993: bottom-up heapsort).
static void
heap_sink(struct usage_windows *windows, size_t at)
{
    uint32_t *heap = windows->heap, sinking = heap[at];
    size_t place = at, child;
    for (; (child = 2 * place + 1) < windows->heap_count; place = child) {
        bool has_right = child + 1 < windows->heap_count;
        child += has_right && window_order(windows, heap[child + 1], heap[child]) < 0;
        heap[place] = heap[child];
    }
    for (size_t parent; place > at; place = parent) {
        parent = (place - 1) / 2;
        if (window_order(windows, sinking, heap[parent]) > 0)
            break;
        heap[place] = heap[parent];
    }
    heap[place] = sinking;
}

static enum status
refuse_cell(const struct usage_windows *windows, struct bytes key)
{
    char text[CELL_TEXT_MAX];
    cell_key_print(key, text, sizeof text);
    return error_set(
        windows->error,
        STATUS_CORRUPT,
        "shard %u: the cell of %s is damaged",
        windows->shard,
        text);
}

// Reads the cell under the cursor; *out_is_in says whether it is still one of the window.
static enum status
window_read(const struct usage_windows *windows, struct usage_cursor *window, bool *out_is_in)
{
    struct cell_key key;
    struct bytes bytes = window->walk.key;
    if (bytes.size > CELL_KEY_MAX || !cell_key_read(bytes, &key))
        return refuse_cell(windows, bytes);
    *out_is_in = key.width == window->place.width && key.zone == window->place.zone &&
                 key.meter_id == window->place.meter_id && key.start_s == window->place.start_s;
    window->key = key;
    // One that is in is checked when it is taken.
    if (!*out_is_in && !cell_is_whole(&window->walk))
        return refuse_cell(windows, bytes);
    return STATUS_OK;
}

// The window at the heap's top has moved on to its next cell, if there are more, or ends.
enum status
usage_windows_advanced(struct usage_windows *windows, bool more)
{
    struct usage_cursor *window = &windows->list[windows->heap[0]];
    bool is_in = false;
    struct bytes before = window->key.subject;
    if (more) {
        enum status status = window_read(windows, window, &is_in);
        if (status)
            return status;
        // Damaged pages may be out of order, and subjects would come twice.
        if (is_in && usage_subject_order(window->key.subject, before) < 0)
            return refuse_cell(windows, window->walk.key);
    } else {
        // A walk that failed has not ended.
        enum status status = tx_check(windows->state, windows->error);
        if (status)
            return status;
    }
    if (!is_in) {
        walk_done(&window->walk);
        windows->heap[0] = windows->heap[--windows->heap_count];
    }
    if (windows->heap_count > 1)
        heap_sink(windows, 0);
    return STATUS_OK;
}

// Whether the key is of the place's meter and kind of window; its start may be another.
static bool
is_of_kind(const struct cell_key *key, const struct cell_key *place)
{
    return key->width == place->width && key->zone == place->zone &&
           key->meter_id == place->meter_id;
}

// The windows of one piece of the cover that have cells, as keys without a subject.
static enum status
piece_list(struct usage_windows *windows, const struct cover_piece *piece, struct buffer *out)
{
    struct cell_key place = {
        .width = piece->kind.width,
        .zone = piece->kind.zone_number,
        .meter_id = windows->plan->meter->id,
        .start_s = piece->from_s,
    };
    uint8_t bytes[CELL_KEY_MAX];
    scoped(walk_done) struct walk walk = walk_open(windows->state, STATE_DB_CELLS);
    while (place.start_s < piece->to_s) {
        struct cell_key key;
        size_t size =
            cell_seek_window(place.width, place.zone, place.meter_id, place.start_s, bytes);
        bool more = false;
        if (cells_seek(&walk, bytes_of(bytes, size), &more))
            return refuse_cell(windows, walk.key);
        if (!more)
            break;
        bool is_sound = walk.key.size <= CELL_KEY_MAX && cell_key_read(walk.key, &key) &&
                        !(is_of_kind(&key, &place) && key.start_s < place.start_s);
        if (!is_sound)
            return refuse_cell(windows, walk.key);
        if (!is_of_kind(&key, &place) || key.start_s >= piece->to_s)
            break;
        place.start_s = key.start_s;
        buffer_put(out, &place, sizeof place);
        place.start_s++;
    }
    return tx_check(windows->state, windows->error);
}

// STATUS_BUSY: a part of the range has no cells any more, so that the log has to answer.
static enum status
windows_list(struct usage_windows *windows, struct buffer *out)
{
    scoped(arena_done) struct arena scratch = {0};
    struct horizons horizons;
    int64_t to_s = (windows->plan->to_s + QUARTER_HOUR_S - 1) / QUARTER_HOUR_S * QUARTER_HOUR_S;
    struct cover_question question = {.from_s = windows->plan->from_s, .to_s = to_s};
    enum status status = horizons_read(windows->state, &horizons, windows->error);
    if (status)
        return error_prefix(windows->error, "shard %u", windows->shard);
    if (windows->plan->zone != NULL)
        question.zone_number = horizons_use(&horizons, windows->plan->zone);
    struct cover cover = cover_make(&horizons, &question, &scratch);
    for (uint32_t i = 0; i < cover.count && !status; i++) {
        if (!cover.pieces[i].is_log) {
            status = piece_list(windows, &cover.pieces[i], out);
            continue;
        }
        windows->needs_log = true;
        status = error_set(windows->error, STATUS_BUSY, "some cells of the range are gone");
    }
    if (!status && buffer_failed(out))
        status = error_set(windows->error, STATUS_NO_MEMORY, "no memory for the list of windows");
    return status;
}

// Puts a cursor on the window's first cell behind the last subject.
static enum status
window_open(struct usage_windows *windows, struct usage_cursor *window, bool *out_has_cell)
{
    uint8_t bytes[CELL_KEY_MAX];
    struct cell_key place = window->place;
    place.subject = windows->after;
    size_t size =
        windows->after.size > 0
            ? cell_prefix_subject(&place, bytes)
            : cell_seek_window(place.width, place.zone, place.meter_id, place.start_s, bytes);
    enum status status = STATUS_OK;
    window->walk = walk_open(windows->state, STATE_DB_CELLS);
    bool more = false;
    bool is_in = false;
    if (cells_seek(&window->walk, bytes_of(bytes, size), &more))
        status = refuse_cell(windows, window->walk.key);
    while (more && !status) {
        status = window_read(windows, window, &is_in);
        if (!is_in || usage_subject_order(window->key.subject, windows->after) > 0)
            break;
        if (!status && !cell_is_whole(&window->walk))
            status = refuse_cell(windows, window->walk.key);
        more = !status && walk_next(&window->walk);
    }
    *out_has_cell = more && is_in && !status;
    if (!*out_has_cell)
        walk_done(&window->walk);
    return status ? status : tx_check(windows->state, windows->error);
}

enum status
usage_windows_open(struct usage_windows *windows)
{
    scoped(buffer_done) struct buffer places = {0};
    windows->needs_log = false;
    enum status status = windows_list(windows, &places);
    size_t count = status ? 0 : places.size / sizeof(struct cell_key);
    arena_reset(&windows->arena);
    windows->list = arena_array(&windows->arena, count, struct usage_cursor);
    windows->heap = arena_array(&windows->arena, count, uint32_t);
    windows->heap_count = 0;
    for (uint32_t i = 0; i < count && !status; i++) {
        struct usage_cursor *window = &windows->list[i];
        bool has_cell = false;
        memcpy(&window->place, places.data + i * sizeof window->place, sizeof window->place);
        status = window_open(windows, window, &has_cell);
        if (has_cell)
            windows->heap[windows->heap_count++] = i;
    }
    for (size_t i = windows->heap_count / 2; i-- > 0;)
        heap_sink(windows, i);
    return status;
}

void
usage_windows_close(struct usage_windows *windows)
{
    for (size_t i = 0; i < windows->heap_count; i++)
        walk_done(&windows->list[windows->heap[i]].walk);
    windows->heap_count = 0;
}

struct usage_cursor *
usage_windows_top(const struct usage_windows *windows)
{
    return windows->heap_count > 0 ? &windows->list[windows->heap[0]] : NULL;
}
