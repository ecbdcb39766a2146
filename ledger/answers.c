#include "ledger/answers.h"

#include "base/assert.h"
#include "ledger/group.h"
#include "ledger/shard.h"

static uint64_t
live_from(const void *context, uint32_t meter_id)
{
    return shard_live_from(context, meter_id);
}

static uint64_t
flushed_from(const void *context, uint32_t meter_id)
{
    return shard_flushed_from(context, meter_id);
}

static enum status
quota_of(
    const void *context,
    const struct memory_request *request,
    struct quota *out,
    struct error *error)
{
    const struct shard *shard = context;
    const struct watch_source source = shard_watch_source(shard);
    return watch_quota(
        &shard->watch, &source, request->meter_id, request->subject, request->from_s, out, error);
}

// The shard's own head is that of the log, and may be one block ahead of the cells.
static void
answer(const struct answers *answers, struct memory_question *question)
{
    const struct shard *shard = answers->shard;
    const struct memory_view view = {
        .flushed = shard->flushed,
        .head = answers->head,
        .cells = shard->cells,
        .frozen = shard->freeze.cells,
        .live_from = live_from,
        .flushed_from = flushed_from,
        .context = shard,
        .quota = quota_of,
        .quota_context = shard,
    };
    memory_answer(question, &view);
}

enum status
answers_init(
    struct answers *answers, const struct shard *shard, struct waker *writer, struct error *error)
{
    answers->shard = shard;
    answers->writer = writer;
    return waker_init(&answers->returned, error);
}

void
answers_done(struct answers *answers)
{
    waker_done(&answers->returned);
}

bool
answers_give(struct answers *answers)
{
    struct memory_question *question = answers->waiting;
    if (question == NULL)
        question = slot_take(&answers->questions);
    if (question == NULL)
        return false;
    answers->waiting = NULL;
    if (answers->depth == 0)
        answers->head = answers->shard->head;
    answer(answers, question);
    return true;
}

// Cells and totals are the same in whatever order events come to them, so what the group has left
// of the subject, or of one that looks like it, comes first.
static void
fold_ahead(
    struct shard *shard,
    const struct group *group,
    uint32_t at,
    const struct fold_place *from,
    struct bytes subject)
{
    const uint64_t hash = cells_hash(subject);
    struct fold_place place = *from;
    struct entry entry;
    for (uint32_t i = at; i < group->count; i++) {
        struct group_item *item = &group->items[i];
        if (group->fates[i] != FATE_STORED)
            continue;
        if (group->hints[i].subject_hash == hash && !item->is_folded) {
            struct cursor in = cursor_over(bytes_of(group->bytes + item->offset, item->size));
            entry_view(&in, &entry);
            if (!shard_fold_entry(shard, &entry, &place))
                metric_add(&shard->metrics[SHARD_UNMETERED], 1);
            if ((entry.flags & ENTRY_IS_BACKFILL) != 0)
                batches_count(&shard->batches, &entry, place.block);
            item->is_folded = true;
        }
        place.index++;
    }
}

bool
answers_give_amid(
    struct shard *shard, const struct group *group, uint32_t at, const struct fold_place *place)
{
    struct answers *answers = shard->answers;
    if (answers == NULL || answers->waiting != NULL)
        return false;
    answers->waiting = slot_take(&answers->questions);
    const struct memory_question *question = answers->waiting;
    if (question == NULL || question->request.subject.size == 0)
        return false;
    fold_ahead(shard, group, at, place, question->request.subject);
    (void)answers_give(answers);
    return true;
}

// Of what is lent both sides may look at the same time.
void
answers_lend(struct answers *answers)
{
    if (answers == NULL || answers->depth++ > 0)
        return;
    answers->head = answers->shard->head;
    lease_lend(&answers->lease);
    (void)answers_give(answers);
}

void
answers_reclaim(struct answers *answers)
{
    if (answers == NULL)
        return;
    must(answers->depth > 0);
    if (--answers->depth == 0)
        lease_reclaim(&answers->lease, &answers->returned);
}

// False: the writer has its own, or the question.
static bool
ask_at_once(struct answers *answers, struct memory_question *question)
{
    if (!lease_borrow(&answers->lease))
        return false;
    answer(answers, question);
    lease_return(&answers->lease, &answers->returned);
    return true;
}

void
answers_ask(struct answers *answers, struct memory_question *question)
{
    if (question->request.subject.size > 0 && ask_at_once(answers, question))
        return;
    slot_offer(&answers->questions, question);
    waker_wake(answers->writer);
    // It may have been lent since, and what the writer does next may take long.
    if (question->request.subject.size == 0 || !lease_borrow(&answers->lease))
        return;
    if (slot_take_back(&answers->questions) != NULL)
        answer(answers, question);
    lease_return(&answers->lease, &answers->returned);
}
