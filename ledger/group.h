#pragma once
// A group: events of one front for one shard, on their way to one commit; and the lane on which
// groups travel.
//
//     front:   group = lane_group(lane, owner);  // what it may add to; NULL: wait for fates
//              group_put(group, &event, arrival_ns, receipt, secret);
//              lane_offer(lane);  // the writer may take it, or the front takes it back
//              while ((group = lane_collect(lane))) { deliver its fates; lane_give_back(group); }
//     writer:  group = lane_take(lane);
//              ... fates decided, block committed ...
//              lane_answer(lane, group);                     // the front sees the fates
//              ... folded ...
//              group_release(group);                         // the front may fill it again
//
// This is how group commit times itself: no timers, the writer takes what is there the moment it is
// free.
//
//   free -> open -> offered -> taken -> answered -> collected and released, in any order -> free
//             ^--------'  (taken back)
//
// A lane has four groups: one being filled, one with the writer, one whose fates wait, one whose
// block is still being folded. All memory is taken when the lane is made: 4 x (group_size_bytes +
// group_events_max x 89 bytes), which is 54 MiB with the defaults, and 288 KiB of hashes, of which
// only what is ever filled is touched. Threads: fields say whose they are; an item's fields are
// handed over with the group.

#include "base/ring.h"
#include "ledger/block_hint.h"
#include "ledger/entry.h"
#include "ledger/ledger.h"
#include "ledger/payload_memo.h"

enum { LANE_GROUPS = 4 };

struct group_item {
    struct hash128 identity;
    int64_t time_ns;
    uint32_t offset;  // of the entry in bytes
    uint32_t size;
    uint32_t payload;
    uint8_t flags;  // enum entry_flag
    bool has_identity;
    bool is_folded;  // writer: ahead of the others
};

// In lines of the cache of its own: the front writes into one group while the writer reads the next
// one, and each event would take the other's line away.
struct group {
    _Alignas(RING_CACHE_LINE) uint8_t *bytes;  // entries, one after another
    struct group_item *items;
    struct block_hint *hints;  // what coding needs to know of each
    struct receipt *receipts;
    uint8_t *fates;  // enum fate, written by the writer
    uint32_t size;
    uint32_t size_max;
    uint32_t count;
    uint32_t count_max;
    uint64_t owner;             // front: which opening of the intake filled it
    struct payload_memo *memo;  // front: the lane's
    struct block_maps *maps;    // writer: the lane's, of the memo's numbers
    // Front: bytes of the last item's entry that its identity's hash is still to be made of.
    const struct hash_secret *secret;
    uint32_t identity_size;  // 0: all hashes are made
    bool is_away;            // front: offered, not yet collected
    bool is_lost;            // writer, before it answers: the commit failed, the fates mean nothing
    struct flag is_free;     // writer: it does not look at the group any more
};

struct lane {
    struct slot offered;  // front -> writer
    struct ring done;     // writer -> front
    struct waker *front;  // who waits for fates
    struct waker *writer;
    struct group *open;         // front: being filled or offered
    struct payload_memo *memo;  // front
    struct block_maps *maps;    // writer
    bool is_offered;            // front
    struct group groups[LANE_GROUPS];
};

enum status
lane_init(struct lane *lane, uint32_t size_max, uint32_t count_max, struct error *error) CHECKED;
void lane_done(struct lane *lane);

// The front's.
struct group *lane_group(struct lane *lane, uint64_t owner);
// False: it does not fit any more. subject_hash: hash64(subject, 0). The item's identity is there
// when the next one is put, or the group is offered.
bool group_put(
    struct group *group,
    const struct event *event,
    uint64_t subject_hash,
    int64_t arrival_ns,
    struct receipt receipt,
    const struct hash_secret *secret) CHECKED;
void lane_offer(struct lane *lane);
struct group *lane_collect(struct lane *lane);
void lane_give_back(struct group *group);
// Forgets what is open and was not offered. Returns how many events that were.
uint32_t lane_drop_open(struct lane *lane);

// The writer's.
struct group *lane_take(struct lane *lane);
// A group waits for it.
bool lane_is_offered(const struct lane *lane);
void lane_answer(struct lane *lane, struct group *group);
void group_release(struct group *group);
