// A datagram from its bytes to its answer.

#include "base/assert.h"
#include "base/pool.h"
#include "ingest/frame_gzip.h"
#include "ingest/udp_parts.h"

#include <stdio.h>

// An answer's buffer that grew larger gives its memory back; a plain ack is smaller.
enum { ANSWER_KEPT_MAX = 512 };

// --- life ---

struct letter *
letter_take(struct udp *udp, const struct loop_event *event)
{
    const struct loop_datagram *datagram = event->datagram;
    struct letter *letter = udp->free;
    if (letter == NULL || datagram->from_size > sizeof letter->from)
        return NULL;
    udp->free = letter->next;
    udp->free_count--;
    letter->next = NULL;
    letter->request_size = event->data.size;
    letter->from = (struct sockaddr_storage){0};
    memcpy(&letter->from, datagram->from, datagram->from_size);
    letter->from_size = datagram->from_size;
    letter->control = datagram->control;
    return letter;
}

static void
buffer_trim(struct buffer *buffer)
{
    buffer_reset(buffer);
    if (buffer->capacity > ANSWER_KEPT_MAX)
        buffer_done(buffer);
}

void
letter_free(struct letter *letter)
{
    struct udp *udp = letter->udp;
    must(letter->ticket == NULL && !loop_op_is_active(&letter->sending));
    must(udp->answers_size >= letter->answer_charged);
    udp->answers_size -= letter->answer_charged;
    letter->answer_charged = 0;
    buffer_trim(&letter->answer);
    buffer_done(&letter->held);
    letter->next = udp->free;
    udp->free = letter;
    udp->free_count++;
}

void
peer_print(const struct sockaddr_storage *from, char out[CONN_PEER_MAX])
{
    int size = snprintf(out, CONN_PEER_MAX, "udp:");
    address_print(from, out + size, CONN_PEER_MAX - (size_t)size);
}

void
broken_note(struct udp *udp, const struct sockaddr_storage *from, enum frame_fault fault)
{
    char text[CONN_PEER_MAX];
    peer_print(from, text);
    udp->counts.dropped[UDP_DROP_BROKEN]++;
    udp->desk->on_broken(udp->desk, text, fault);
}

// --- answers ---

static void
on_sent(void *context, const struct loop_event *event)
{
    // Whether it went out or not: who gets no answer asks again.
    (void)event;
    letter_free(context);
}

void
letter_answer(struct letter *letter)
{
    letter->part = (struct iovec){letter->answer.data, letter->answer.size};
    letter->message = (struct msghdr){
        .msg_name = &letter->from,
        .msg_namelen = letter->from_size,
        .msg_iov = &letter->part,
        .msg_iovlen = 1,
        .msg_control = letter->control.source,
        .msg_controllen = letter->control.source_size,
    };
    const struct udp *udp = letter->udp;
    loop_send_message(udp->desk->loop, &letter->sending, udp->listener->fd, &letter->message);
}

// True: an ack lies in the answer, and it is no larger than the request.
static bool
ack_pack(struct letter *letter)
{
    struct udp *udp = letter->udp;
    struct ticket *ticket = letter->ticket;
    letter->answer.limit = letter->request_size;
    if (ticket->wants_results && udp->answers_size + letter->request_size <= UDP_ANSWERS_MAX)
        ticket_pack_ack(ticket, &letter->answer);
    if (letter->answer.size == 0 || buffer_failed(&letter->answer)) {
        buffer_reset(&letter->answer);
        ticket->wants_results = false;
        ticket_pack_ack(ticket, &letter->answer);
    }
    bool is_packed = letter->answer.size > 0 && !buffer_failed(&letter->answer);
    if (is_packed && ticket->wants_results) {
        letter->answer_charged = letter->answer.size;
        udp->answers_size += letter->answer_charged;
    }
    must(!is_packed || letter->answer.size <= letter->request_size);
    return is_packed;
}

static void
letter_settle(struct letter *letter)
{
    struct udp *udp = letter->udp;
    if (!ticket_is_settled(letter->ticket))
        return;
    bool has_answer = letter->ticket->has_chunk && ack_pack(letter);
    ticket_give(&udp->tickets, letter->ticket);
    letter->ticket = NULL;
    if (!has_answer) {
        letter_free(letter);
        return;
    }
    udp->desk->counts.acks++;
    letter_answer(letter);
}

// --- rejects and fates ---

static void
letter_list(
    struct letter *letter, uint32_t index, const char *reason, const struct event_name *name)
{
    struct desk *desk = letter->udp->desk;
    struct reject *reject = rejects_take(desk->rejects);
    if (reject == NULL)
        return;
    reject->time_ns = desk->now_ns;
    reject->reason = reason;
    peer_print(&letter->from, reject->peer);
    reject->index = index;
    reject->subject_size = reject_text_set(reject->subject, name->subject);
    reject->type_size = reject_text_set(reject->type, name->type);
    reject->id_size = reject_text_set(reject->id, name->id);
    rejects_give(desk->rejects, reject);
}

static void
letter_reject(
    struct letter *letter, uint32_t index, enum refusal refusal, const struct event_name *name)
{
    letter->udp->desk->counts.rejected[refusal]++;
    ticket_reject(letter->ticket, index, refusal);
    letter_list(letter, index, refusal_name(refusal), name);
}

static void
letter_conflict(struct letter *letter, uint32_t index, const struct event_name *name)
{
    struct desk *desk = letter->udp->desk;
    char peer[CONN_PEER_MAX];
    peer_print(&letter->from, peer);
    desk->counts.conflicts++;
    desk->on_conflict(desk, peer, name);
    ticket_conflict(letter->ticket, index);
    letter_list(letter, index, fate_name(FATE_CONFLICT), name);
}

// A fate that is not just "stored", at a position of the ledger's delivery.
static void
fate_apply(struct udp *udp, const struct receipt *receipt, size_t position, enum fate fate)
{
    struct letter *letter = receipt->ticket;
    struct event_name name;
    if (fate == FATE_DUPLICATE) {
        udp->desk->counts.duplicates++;
        letter->ticket->duplicates++;
        return;
    }
    intake_recall(udp->intake, position, &name);
    switch (fate) {
    case FATE_STORED:
    case FATE_DUPLICATE: break;
    case FATE_CONFLICT: letter_conflict(letter, receipt->index, &name); break;
    case FATE_TOO_OLD: letter_reject(letter, receipt->index, REFUSAL_TOO_OLD, &name); break;
    case FATE_TOO_FAR_AHEAD:
        letter_reject(letter, receipt->index, REFUSAL_TOO_FAR_AHEAD, &name);
        break;
    case FATE_BATCH_NOT_OPEN:
        letter_reject(letter, receipt->index, REFUSAL_BATCH_NOT_OPEN, &name);
        break;
    case FATE_COUNT: must(fate != FATE_COUNT); break;
    }
}

void
letters_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct udp *udp = context;
    for (size_t i = 0; i < count; i++) {
        struct letter *letter = receipts[i].ticket;
        must(letter->ticket != NULL && letter->ticket->pending > 0 && fates[i] < FATE_COUNT);
        if (fates[i] != FATE_STORED)
            fate_apply(udp, &receipts[i], i, (enum fate)fates[i]);
        letter->ticket->pending--;
        if (letter->ticket->pending == 0)
            letter_settle(letter);
    }
}

// --- putting ---

static enum refusal
entry_decode(
    struct letter *letter, struct cursor *at, struct event *out, struct decode_stats *stats)
{
    size_t before = cursor_left(at);
    struct decode_layout *layout = &letter->udp->layout;
    enum refusal refusal =
        decode_entry_alike(layout, &letter->frame, at, letter->index, out, stats);
    if (refusal == REFUSAL_NONE && before - cursor_left(at) > UDP_EVENT_MAX)
        return REFUSAL_SIZE_UDP;
    if (refusal == REFUSAL_NONE && out->batch.size > 0)
        return REFUSAL_BACKFILL;
    return refusal;
}

// False: the ledger has no room, the same entry comes again later.
static bool
entry_put(struct letter *letter)
{
    struct udp *udp = letter->udp;
    // Decoding sets what is read of it.
    __attribute__((uninitialized)) struct event event;
    struct cursor at = letter->entries;
    struct decode_stats stats = {0};
    enum refusal refusal = entry_decode(letter, &at, &event, &stats);
    if (refusal != REFUSAL_NONE) {
        const struct event_name name = {event.subject, event.type, event.id};
        letter_reject(letter, letter->index, refusal, &name);
    } else {
        struct receipt receipt = {.ticket = letter, .index = letter->index};
        if (!intake_put(udp->intake, &event, receipt))
            return false;
        letter->ticket->pending++;
        udp->desk->counts.events++;
    }
    // Not before: what comes again later is to count once.
    udp->desk->counts.decode.values_rounded += stats.values_rounded;
    letter->entries = at;
    letter->index++;
    return true;
}

// The datagram's bytes, and what they inflated to, are needed no more.
static void
letter_bytes_drop(struct letter *letter)
{
    if (letter->frame.is_inflated)
        buffer_reset(&letter->udp->inflated);
    buffer_done(&letter->held);
}

// Gives up what cannot be put: its ticket waits for fates that are under way, nobody is answered.
static void
letter_drop(struct letter *letter)
{
    letter_bytes_drop(letter);
    letter->ticket->is_open = false;
    letter->ticket->has_chunk = false;
    letter_settle(letter);
}

// False: it was broken, or there is no memory, and the letter is gone.
static bool
letter_inflate(struct letter *letter)
{
    struct udp *udp = letter->udp;
    struct gzip_limits limits = udp->desk->options.inflated;
    if (limits.size_max > UDP_INFLATED_MAX)
        limits.size_max = UDP_INFLATED_MAX;
    size_t tried = gzip_size_max(letter->frame.entries.size, &limits);
    enum frame_fault fault = FRAME_FINE;
    enum status status = frame_unzip(&letter->frame, udp->gzip, &limits, &udp->inflated, &fault);
    if (status == STATUS_OK) {
        udp->inflated_turn += udp->inflated.size;
        udp->desk->counts.frames++;
        letter->entries = cursor_over(letter->frame.entries);
        return true;
    }
    udp->inflated_turn += tried;
    if (status == STATUS_INVALID)
        broken_note(udp, &letter->from, fault);
    else
        udp->counts.dropped[UDP_DROP_LEDGER]++;
    letter_drop(letter);
    return false;
}

bool
letter_put(struct letter *letter)
{
    if (letter->frame.is_gzip && !letter->frame.is_inflated) {
        if (letter->udp->inflated_turn >= UDP_INFLATED_TURN)
            return false;
        if (!letter_inflate(letter))
            return true;
    }
    while (letter->index < letter->frame.entries_count)
        if (!entry_put(letter))
            return false;
    // The ledger has copies.
    letter_bytes_drop(letter);
    letter->ticket->is_open = false;
    letter_settle(letter);
    return true;
}

static void
letter_move(struct letter *letter, const uint8_t *from, const uint8_t *to)
{
    size_t at = letter->frame.entries.size - cursor_left(&letter->entries);
    frame_rebase(&letter->frame, from, to);
    if (letter->frame.is_inflated)
        return;
    letter->entries = cursor_over(letter->frame.entries);
    (void)cursor_take(&letter->entries, at);
    must(!cursor_failed(&letter->entries));
}

void
letter_hold(struct letter *letter, struct bytes message)
{
    struct udp *udp = letter->udp;
    must(udp->held_count < udp->options.held_max);
    buffer_bytes(&letter->held, message);
    if (buffer_failed(&letter->held)) {
        udp->counts.dropped[UDP_DROP_LEDGER]++;
        letter_drop(letter);
        return;
    }
    letter_move(letter, message.data, letter->held.data);
    if (udp->held_last != NULL)
        udp->held_last->next = letter;
    else
        udp->held_first = letter;
    udp->held_last = letter;
    udp->held_count++;
}

void
held_resume(struct udp *udp)
{
    while (udp->held_first != NULL) {
        struct letter *letter = udp->held_first;
        struct letter *next = letter->next;
        // Once it is put it may be answered and free.
        if (!letter_put(letter))
            return;
        udp->held_first = next;
        udp->held_count--;
    }
    udp->held_last = NULL;
    must(udp->held_count == 0);
}

enum status
letters_open(struct udp *udp, struct error *error)
{
    uint32_t count = udp->options.letters;
    udp->letters = pool_take(count, sizeof *udp->letters);
    if (udp->letters == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u datagrams", count);
    for (uint32_t i = count; i > 0; i--) {
        struct letter *letter = &udp->letters[i - 1];
        letter->udp = udp;
        letter->sending = (struct loop_op){.run = on_sent, .context = letter};
        letter->next = udp->free;
        udp->free = letter;
    }
    udp->free_count = count;
    return tickets_init(&udp->tickets, count, error);
}
