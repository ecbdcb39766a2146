#include "ingest/frame.h"

#include "base/assert.h"
#include "base/unpack.h"
#include "ledger/event.h"

const char *
frame_fault_name(enum frame_fault fault)
{
    switch (fault) {
    case FRAME_FINE: return "fine";
    case FRAME_NOT_MSGPACK: return "not msgpack";
    case FRAME_TOO_LARGE: return "frame too large";
    case FRAME_NOT_FORWARD: return "not a message of the Forward protocol";
    case FRAME_TAG_INVALID: return "tag is not a string";
    case FRAME_ENTRIES_BROKEN: return "packed entries are broken";
    case FRAME_OPTION_INVALID: return "option is not a map of distinct names";
    case FRAME_CHUNK_INVALID: return "chunk is not a string of 1-255 bytes";
    case FRAME_COMPRESSED: return "option compressed is neither gzip nor text";
    case FRAME_GZIP_BROKEN: return "compressed entries are not whole gzip members";
    case FRAME_GZIP_TOO_LARGE: return "inflated entries are too large";
    case FRAME_GZIP_RATIO: return "entries inflate to too many times their size";
    case FRAME_TALLY_INVALID: return "option tally is malformed";
    case FRAME_STALLED: return "stalled while memory was full";
    case FRAME_TLS: return "a TLS handshake, and this listener has no TLS";
    case FRAME_SLOW: return "a message was begun and not finished in time";
    case FRAME_ACKS_UNREAD: return "the client reads no acks";
    case FRAME_NOT_ONE: return "a datagram is not exactly one message";
    case FRAME_FAULT_COUNT: break;
    }
    return "unknown";
}

static bool
item_is_text(const struct unpack_item *item)
{
    return item->type == UNPACK_STR || item->type == UNPACK_BIN;
}

static bool
text_is(struct bytes text, const char *name)
{
    return bytes_equal(text, bytes_text(name));
}

static enum frame_fault
option_chunk(const struct unpack_item *value, struct frame *frame)
{
    if (value->type == UNPACK_NIL)
        return FRAME_FINE;
    bool is_id = item_is_text(value) && value->text.size > 0 && value->text.size <= EVENT_CHUNK_MAX;
    // An empty one would tell no event from another: acked, and counted again when it is resent.
    if (!is_id)
        return FRAME_CHUNK_INVALID;
    frame->chunk = value->text;
    frame->has_chunk = true;
    frame->chunk_is_bin = value->type == UNPACK_BIN;
    return FRAME_FINE;
}

// "text" is what Fluent Bit writes for "no compression".
static enum frame_fault
option_compressed(const struct unpack_item *value, struct frame *frame)
{
    if (value->type == UNPACK_NIL)
        return FRAME_FINE;
    if (!item_is_text(value))
        return FRAME_COMPRESSED;
    frame->is_gzip = text_is(value->text, "gzip");
    return frame->is_gzip || text_is(value->text, "text") ? FRAME_FINE : FRAME_COMPRESSED;
}

static enum frame_fault
tally_member(struct bytes name, const struct unpack_item *value, struct frame *frame)
{
    if (value->type == UNPACK_NIL)
        return FRAME_FINE;
    if (text_is(name, "results")) {
        if (value->type != UNPACK_BOOL)
            return FRAME_TALLY_INVALID;
        frame->wants_results = value->boolean;
    } else if (text_is(name, "backfill")) {
        bool is_id =
            item_is_text(value) && value->text.size > 0 && value->text.size <= EVENT_BATCH_MAX;
        if (!is_id)
            return FRAME_TALLY_INVALID;
        frame->backfill = value->text;
    }
    return FRAME_FINE;
}

// The cursor stands after the value's header; members that nobody knows are stepped over.
static enum frame_fault
option_tally(struct cursor *in, const struct unpack_item *value, struct frame *frame)
{
    if (value->type == UNPACK_NIL)
        return FRAME_FINE;
    if (value->type != UNPACK_MAP)
        return FRAME_TALLY_INVALID;
    for (uint32_t i = 0; i < value->count; i++) {
        struct unpack_item name, member;
        if (!unpack_next(in, &name) || !item_is_text(&name))
            return FRAME_TALLY_INVALID;
        struct cursor start = *in;
        if (!unpack_next(in, &member))
            return FRAME_TALLY_INVALID;
        enum frame_fault fault = tally_member(name.text, &member, frame);
        *in = start;
        if (fault != FRAME_FINE)
            return fault;
        if (!unpack_skip(in, UNPACK_DEPTH_MAX))
            return FRAME_TALLY_INVALID;
    }
    return FRAME_FINE;
}

// The options that mean something here, each a bit of a set, so that a second one is seen.
enum option_name {
    OPTION_NAME_OTHER = 0,
    OPTION_NAME_CHUNK = 1,
    OPTION_NAME_COMPRESSED = 2,
    OPTION_NAME_TALLY = 4,
};

static enum option_name
option_name_of(struct bytes name)
{
    if (text_is(name, "chunk"))
        return OPTION_NAME_CHUNK;
    if (text_is(name, "compressed"))
        return OPTION_NAME_COMPRESSED;
    return text_is(name, "tally") ? OPTION_NAME_TALLY : OPTION_NAME_OTHER;
}

static enum frame_fault
option_value(enum option_name name, struct cursor *in, struct frame *frame)
{
    struct unpack_item value;
    struct cursor after = *in;
    if (!unpack_next(&after, &value) || !unpack_skip(in, UNPACK_DEPTH_MAX))
        return FRAME_OPTION_INVALID;
    if (name == OPTION_NAME_CHUNK)
        return option_chunk(&value, frame);
    if (name == OPTION_NAME_COMPRESSED)
        return option_compressed(&value, frame);
    return name == OPTION_NAME_TALLY ? option_tally(&after, &value, frame) : FRAME_FINE;
}

static enum frame_fault
options_parse(struct cursor *in, struct frame *frame)
{
    struct unpack_item map;
    if (!unpack_next(in, &map))
        return FRAME_OPTION_INVALID;
    if (map.type == UNPACK_NIL)
        return FRAME_FINE;
    if (map.type != UNPACK_MAP)
        return FRAME_OPTION_INVALID;
    unsigned seen = 0;
    for (uint32_t i = 0; i < map.count; i++) {
        struct unpack_item key;
        if (!unpack_next(in, &key) || !item_is_text(&key))
            return FRAME_OPTION_INVALID;
        enum option_name name = option_name_of(key.text);
        if (seen & name)
            return FRAME_OPTION_INVALID;
        seen |= name;
        enum frame_fault fault = option_value(name, in, frame);
        if (fault != FRAME_FINE)
            return fault;
    }
    return FRAME_FINE;
}

// The same as entries_walk for the first entries of a frame, as long as they are of the walk's
// shape: these are not compared again when they are decoded (60 instructions an entry less).
// Returns how many items were walked over.
static size_t
alike_walk(
    struct frame *frame,
    struct cursor *in,
    uint32_t count_max,
    size_t most,
    struct frame_walk *walk)
{
    const struct unpack_shape *shape = walk->shape;
    const uint8_t *at = in->at;
    uint32_t alike = 0;
    size_t done = 0;
    if (walk->count > 0 || shape == NULL || shape->size == 0)
        return 0;
    while ((size_t)(in->end - at) >= shape->size && alike < count_max && done < most &&
           unpack_shape_fits(shape, at)) {
        at += shape->size;
        done += shape->items;
        alike++;
    }
    in->at = at;
    walk->count = alike;
    frame->alike = alike;
    frame->alike_stamp = shape->stamp;
    frame->alike_of = shape;
    return done;
}

// Counts the entries that begin the bytes, count_max of them at most, until some `most` items are
// walked over. No entry is handed out unless all are whole.
static enum frame_fault
entries_walk(
    struct frame *frame,
    struct bytes bytes,
    uint32_t count_max,
    size_t most,
    struct frame_walk *walk)
{
    must(walk->size <= bytes.size);
    if (bytes.size == 0)
        return FRAME_FINE;
    struct cursor in = cursor_over(bytes_of(bytes.data + walk->size, bytes.size - walk->size));
    size_t done = alike_walk(frame, &in, count_max, most, walk);
    __attribute__((uninitialized)) struct unpack_shape shape;
    unpack_shape_begin(&shape);
    while (cursor_left(&in) > 0 && walk->count < count_max && done < most) {
        uint32_t items = unpack_skip_alike(&in, &shape);
        if (items == 0)
            return FRAME_ENTRIES_BROKEN;
        done += items;
        walk->count++;
    }
    walk->size = bytes.size - cursor_left(&in);
    walk->items += done;
    return FRAME_FINE;
}

// Takes `count` whole values as one view.
static bool
values_take(struct cursor *in, uint32_t count, struct bytes *out)
{
    const uint8_t *start = in->at;
    for (uint32_t i = 0; i < count; i++)
        if (!unpack_skip(in, UNPACK_DEPTH_MAX))
            return false;
    *out = bytes_of(start, (size_t)(in->at - start));
    return true;
}

// The second element decides the mode. *out_used: elements of the message that are taken now. A
// Forward message's entries are not: they are still to be looked through.
static enum frame_fault
entries_parse(struct cursor *in, uint32_t elements, struct frame *frame, uint32_t *out_used)
{
    struct unpack_item second;
    struct cursor start = *in;
    if (!unpack_next(in, &second))
        return FRAME_NOT_FORWARD;
    *out_used = 2;
    if (item_is_text(&second)) {
        frame->mode = FRAME_PACKED;
        frame->entries = second.text;
        return FRAME_FINE;
    }
    if (second.type == UNPACK_ARRAY) {
        frame->mode = FRAME_FORWARD;
        frame->entries_count = second.count;
        frame->entries = bytes_of(in->at, cursor_left(in));
        return FRAME_FINE;
    }
    if (second.type == UNPACK_MAP || elements < 3)
        return FRAME_NOT_FORWARD;
    *in = start;
    *out_used = 3;
    frame->mode = FRAME_MESSAGE;
    frame->entries_count = 1;
    frame->is_whole = true;
    return values_take(in, 2, &frame->entries) ? FRAME_FINE : FRAME_NOT_FORWARD;
}

// What follows the entries, up to the message's end.
static enum frame_fault
rest_parse(struct cursor *in, struct frame *frame)
{
    enum frame_fault fault = frame->has_option ? options_parse(in, frame) : FRAME_FINE;
    if (fault != FRAME_FINE)
        return fault;
    // The option speaks of packed entries; where there are none it says nothing.
    frame->is_gzip = frame->is_gzip && frame->mode == FRAME_PACKED;
    return cursor_left(in) > 0 ? FRAME_NOT_FORWARD : FRAME_FINE;
}

static enum frame_fault
elements_parse(struct cursor *in, uint32_t elements, struct frame *frame)
{
    struct unpack_item tag;
    if (elements < 2 || !unpack_next(in, &tag))
        return FRAME_NOT_FORWARD;
    if (!item_is_text(&tag))
        return FRAME_TAG_INVALID;
    frame->tag = tag.text;
    uint32_t used = 0;
    enum frame_fault fault = entries_parse(in, elements, frame, &used);
    if (fault != FRAME_FINE)
        return fault;
    if (elements > used + 1)
        return FRAME_NOT_FORWARD;
    frame->has_option = elements == used + 1;
    return frame->mode == FRAME_FORWARD ? FRAME_FINE : rest_parse(in, frame);
}

enum frame_fault
frame_begin(struct bytes message, struct frame *out)
{
    struct cursor in = cursor_over(message);
    struct frame frame = {.mode = FRAME_HEARTBEAT, .is_whole = true};
    struct unpack_item top;
    if (!unpack_next(&in, &top))
        return FRAME_NOT_MSGPACK;
    enum frame_fault fault = FRAME_FINE;
    if (top.type == UNPACK_ARRAY) {
        frame.is_whole = false;
        fault = elements_parse(&in, top.count, &frame);
    } else if (top.type != UNPACK_NIL || cursor_left(&in) > 0) {
        fault = FRAME_NOT_FORWARD;
    }
    if (fault != FRAME_FINE)
        return fault;
    *out = frame;
    return FRAME_FINE;
}

// The entries of a Forward message end where as many as it declared have been, and behind them it
// goes on.
static enum frame_fault
forward_look(struct frame *frame, size_t most, struct frame_walk *walk)
{
    struct bytes bytes = frame->entries;
    if (entries_walk(frame, bytes, frame->entries_count, most, walk) != FRAME_FINE)
        return FRAME_NOT_FORWARD;
    if (walk->count < frame->entries_count)
        return walk->size < bytes.size ? FRAME_FINE : FRAME_NOT_FORWARD;
    struct cursor in = cursor_over(bytes);
    frame->entries.size = walk->size;
    frame->is_whole = true;
    (void)cursor_take(&in, walk->size);
    return rest_parse(&in, frame);
}

enum frame_fault
frame_look(struct frame *frame, size_t most, struct frame_walk *walk)
{
    must(!frame->is_whole && !frame->is_gzip);
    if (frame->mode == FRAME_FORWARD)
        return forward_look(frame, most, walk);
    must(frame->mode == FRAME_PACKED);
    enum frame_fault fault = entries_walk(frame, frame->entries, UINT32_MAX, most, walk);
    frame->entries_count = walk->count;
    frame->is_whole = walk->size == frame->entries.size;
    return fault;
}

enum frame_fault
frame_parse(struct bytes message, struct frame *out)
{
    struct frame frame;
    struct frame_walk walk = {0};
    enum frame_fault fault = frame_begin(message, &frame);
    if (fault == FRAME_FINE && !frame.is_whole && !frame.is_gzip)
        fault = frame_look(&frame, SIZE_MAX, &walk);
    if (fault == FRAME_FINE)
        *out = frame;
    return fault;
}

enum frame_fault
frame_inflated(struct frame *frame, struct bytes entries, size_t most, struct frame_walk *walk)
{
    must(frame->is_gzip && !frame->is_inflated);
    enum frame_fault fault = entries_walk(frame, entries, UINT32_MAX, most, walk);
    if (fault != FRAME_FINE || walk->size < entries.size)
        return fault;
    frame->entries = entries;
    frame->entries_count = walk->count;
    frame->is_inflated = true;
    return FRAME_FINE;
}

static void
view_rebase(struct bytes *view, const uint8_t *from, const uint8_t *to)
{
    if (view->data != NULL)
        view->data = to + (view->data - from);
}

void
frame_rebase(struct frame *frame, const uint8_t *from, const uint8_t *to)
{
    view_rebase(&frame->tag, from, to);
    if (!frame->is_inflated)
        view_rebase(&frame->entries, from, to);
    view_rebase(&frame->chunk, from, to);
    view_rebase(&frame->backfill, from, to);
}
