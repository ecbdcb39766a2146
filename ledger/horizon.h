#pragma once
// How far the derived windows of a shard are made, and how far back each width is kept.
//
//     struct horizons horizons;
//     horizons_read(&tx, &horizons, &error);
//     horizons_zone(&horizons, zone, true);            // for each listed zone
//     for (i = 0; i < horizons.count; i++) ... horizons.list[i].made_s ...
//     horizon_write(&tx, &horizons.list[i]);
//
// made_s: windows of this kind that end at or before it have cells, which late events are added to.
// kept_s: windows that start before it have none any more. Quarter hours are always made.
// rules: of the zone's clock up to made_s (zone_rules). When another version of the tzdata says
// otherwise, the cells are of windows that are none: nobody uses them, and all are made anew.
//
//   meta  key "made" u8 width u16be zone -> made_s   key "kept" u8 width u16be zone -> kept_s
//         key "rule" u8 width u16be zone -> rules    key "zone:" name -> the zone's number
//
// Owner: values; the zones are borrowed. Thread: one at a time.

#include "ledger/lmdb_env.h"
#include "ledger/window.h"

struct horizon {
    struct window_kind kind;
    int64_t made_s;
    int64_t kept_s;
    uint64_t rules;
    bool is_other;  // they are not those of the zone that was given: made_s and kept_s are 0
};

struct horizons {
    uint32_t count;  // quarter hour, hour, day, month, then a day and a month for each zone
    struct horizon list[WINDOW_KINDS_MAX];
    uint32_t zones_count;
    char zones[BILLING_ZONES_MAX][ZONE_NAME_MAX + 1];  // by number, from 1
};

// Reads all; kinds of zones have no zone until horizons_zone gives it. STATUS_CORRUPT: a record is
// damaged, or may be missing.
enum status horizons_read(struct tx *state, struct horizons *out, struct error *error) CHECKED;
// Likewise, but takes what is not there for never written: for who looks through all records.
enum status horizons_look(struct tx *state, struct horizons *out, struct error *error) CHECKED;
// Gives the zone to its kinds. With is_new a zone without a number gets one. False: it has none, or
// there is no room for another.
bool horizons_zone(struct horizons *horizons, const struct zone *zone, bool is_new);
// As horizons_zone of a zone that has a number, which is returned; 0: it has none.
uint16_t horizons_use(struct horizons *horizons, const struct zone *zone);
// NULL: there is no such kind.
const struct horizon *
horizons_find(const struct horizons *horizons, enum cell_width width, uint16_t zone_number);
// Whether a key of STATE_DB_META is one of these records.
bool horizon_key_is(struct bytes key);
void horizon_write(struct tx *state, const struct horizons *horizons, const struct horizon *one);
