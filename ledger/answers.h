#pragma once
// Questions about what a shard has in memory, answered while its writer is at work or asleep.
//
//     answers_init(&answers, shard, &writer_waker, &error);
//     answers_ask(answers, question);            // the serve thread: answered when it returns, or
//                                                //     the writer answers as soon as it can
//     answers_give(answers);                     // the writer, between two steps
//     answers_lend(answers); ... answers_reclaim(answers);    // the writer, around what waits
//
// The writer lends the cells, the totals of thresholds and what it knows of meters whenever it goes
// to sleep or to do something that touches none of them: to look identities up, to code and commit
// a block, to sync, to free memory. Then the serve thread looks at them itself, so that no answer
// waits for a disk. Each of these is a moment between two blocks, and what was committed meanwhile
// is acked when the writer has its own back: so what was acked is in the next answer. Amid the fold
// of a large block the writer folds what it has left of the subject, and answers. A question about
// all subjects may take long, and is the writer's between two blocks. Threads: as each function
// says.

#include "ledger/memory.h"

struct fold_place;
struct group;
struct shard;

struct answers {
    struct lease lease;
    struct slot questions;  // serve thread -> writer
    struct waker *writer;   // woken for a question
    struct waker returned;  // likewise, for what was lent
    const struct shard *shard;
    // Written by the writer while it lends nothing:
    uint64_t head;  // the last block that is folded
    // The writer's alone:
    uint32_t depth;                   // lent so many times
    struct memory_question *waiting;  // taken, and to be answered behind the block; or NULL
};

enum status answers_init(
    struct answers *answers,
    const struct shard *shard,
    struct waker *writer,
    struct error *error) CHECKED;
void answers_done(struct answers *answers);
// The serve thread. The writer is woken when it is its turn.
void answers_ask(struct answers *answers, struct memory_question *question);
// The writer: answers the question that waits. False: there is none.
bool answers_give(struct answers *answers);
// The writer amid a fold: the stored events of the group before this one are folded, and place is
// that of the next. What is folded ahead for an answer says so. False: nothing is.
bool answers_give_amid(
    struct shard *shard, const struct group *group, uint32_t at, const struct fold_place *place);
// The writer; may be nested, and answers may be NULL: then nobody asks. What waited is answered.
void answers_lend(struct answers *answers);
void answers_reclaim(struct answers *answers);
