#!/usr/bin/env python3
"""Proves that the model test (ledger.model) sees what it is there to see: builds the ledger with
one deliberate defect at a time and counts the workloads until the test fails.

    tests/ledger/mutants.py [--workloads N] [--seed N] [NAME...]
    tests/ledger/mutants.py --check

By hand: some minutes, but for --check, which builds nothing and only says which mutants do not fit
their files; ctest runs it. Works on a copy of the committed and uncommitted sources in
build/mutants. A mutant is a piece of text that must occur exactly once in its file, and what stands
there instead; one that does not fit any more is an error, so that the list stays true. Prints one
line per mutant, as in tests/ledger/README.md, and of each variant: a sound build with a small
limit, in which no workload may fail. Exits 1 when a mutant is not caught or a variant fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PLACE = os.path.join(ROOT, "build", "mutants")

# name, what breaks, then for each edit: file, text, instead
MUTANTS = [
    ("dedup-forgets", "each identity counts once, whenever the process dies", "ledger/recover.c",
     "        if (result == DEDUP_NEW)\n            dedup_add(",
     "        if (dedup == NULL)\n            dedup_add("),
    ("dedup-new-only", "a resend is a duplicate", "ledger/shard_judge.c",
     "    bool is_welcome = *out_fate == FATE_STORED;",
     "    bool is_welcome = *out_fate == FATE_STORED && (item->identity.low & 15) != 0;"),
    ("refused-remembered", "an event that the clock refuses is not remembered",
     "ledger/shard_judge.c",
     "    bool is_welcome = *out_fate == FATE_STORED;",
     "    bool is_welcome = true;"),
    ("clock-first", "the lookup comes before the clock", "ledger/shard_judge.c",
     "    if (!item->has_identity)\n",
     "    if (!item->has_identity || judge_time(item, policy, now_ns) != FATE_STORED)\n"),
    ("clock-edge", "the clock's bounds belong to what is accepted", "ledger/shard_judge.c",
     "item->time_ns < now_ns - policy->past_max_ns",
     "item->time_ns <= now_ns - policy->past_max_ns"),
    ("conflict-unseen", "another payload under a known identity is a conflict", "ledger/dedup.c",
     "known == fingerprint.payload ? DEDUP_SAME : DEDUP_DIFFERENT", "DEDUP_SAME"),
    ("payload-order", "the order of keys does not make a conflict", "ledger/payload.c",
     "        sum += hash_pair(seeds, key, value);",
     "        sum = sum * 3 + hash_pair(seeds, key, value);"),
    ("source-ignored", "the source belongs to the identity", "ledger/payload.c",
     "    at = put(at, entry->source);\n", ""),
    ("chunk-place-ignored", "the place in the chunk belongs to the identity", "ledger/payload.c",
     "    memcpy(at, &position, sizeof position);\n", "    memset(at, 0, sizeof position);\n"),
    ("event-cancelled", "an event that was cancelled is priced by nobody",
     "ledger/usage_events.c",
     "!corrections_have(&run->corrections, place.block, place.index)", "place.block > 0"),
    ("identity-unmade", "the last event of a group is known by its identity too",
     "ledger/group.c", "    identity_finish(lane->open);\n", ""),
    ("ack-before-commit", "an acked event is in the log", "ledger/writer.c",
     "        if (shard_judge(shard, group, policy, now_ns, &survivors, &writer->error) ||\n"
     "            shard_store(shard, group, &survivors, now_ns, &writer->error))\n"
     "            writer_fail(writer);\n"
     "        answers_reclaim(&writer->answers);\n"
     "    }\n"
     "    group->is_lost = writer_has_failed(writer);\n"
     "    bool is_lost = group->is_lost;\n"
     "    lane_answer(lane, group);\n",
     "        if (shard_judge(shard, group, policy, now_ns, &survivors, &writer->error))\n"
     "            writer_fail(writer);\n"
     "        group->is_lost = false;\n"
     "        lane_answer(lane, group);\n"
     "        if (shard_store(shard, group, &survivors, now_ns, &writer->error))\n"
     "            writer_fail(writer);\n"
     "        answers_reclaim(&writer->answers);\n"
     "    }\n"
     "    bool is_lost = false;\n"),
    ("bounds-narrow", "a block's time bounds cover its events", "ledger/block_writer.c",
     "    if (entry->time_ns > header->time_max_ns)",
     "    if (header->time_max_ns == INT64_MIN)"),
    ("position-late", "the position is that of the cells", "ledger/flush.c",
     "bytes_text(\"position\"), options->position)",
     "bytes_text(\"position\"), options->position - 1)"),
    ("position-absent", "the position is written with the cells", "ledger/flush.c",
     "        state_number_put(&flush->tx, bytes_text(\"position\"), options->position);\n", ""),
    ("position-apart", "cells and position are one transaction", "ledger/flush.c",
     "    if (!flush->status)\n        cells_each_sorted(options->cells, flush_cell, flush);\n",
     "    state_number_put(&flush->tx, bytes_text(\"position\"), options->position);\n"
     "    flush->status = tx_commit(&flush->tx, error);\n"
     "    flush->tx = tx_write(options->state);\n"
     "    if (!flush->status)\n        cells_each_sorted(options->cells, flush_cell, flush);\n"),
    ("flush-overwrites", "a flush adds to the cells on disk", "ledger/flush.c",
     "    if (!is_there)\n        return flush->status == STATUS_OK;\n",
     "    if (!is_there || key.size > 0)\n        return flush->status == STATUS_OK;\n"),
    ("flush-bound-there", "what is stored at the bound is added to", "ledger/flush.c",
     "bytes_compare(key, bytes_of(flush->bound, flush->bound_size)) < 0",
     "bytes_compare(key, bytes_of(flush->bound, flush->bound_size)) <= 0"),
    ("flush-keeps", "what is flushed is memory's no more", "ledger/shard_state.c",
     "    cells_clear(shard->spare);\n", ""),
    ("recovery-folds-twice", "the start folds what the cells do not cover", "ledger/recover.c",
     "        if (sequence > shard->flushed)\n            status = recover_entry",
     "        if (sequence >= shard->flushed)\n            status = recover_entry"),
    ("live-from-late", "a new meter's cells begin with the next block", "ledger/shard.c",
     ".from = shard->head + 1}", ".from = shard->head + 2}"),
    ("live-from-early", "likewise", "ledger/shard.c",
     ".from = shard->head + 1}", ".from = shard->head + (shard->head == 0)}"),
    ("slice-skips", "a slice folds every older block", "ledger/meter_rebuild.c",
     "            shard->live[i].from--;",
     "            shard->live[i].from -= 1 + (shard->live[i].from > 2);"),
    ("slice-twice", "and each of them once", "ledger/meter_rebuild.c",
     "        shard_fold_any(shard, &rules, &entry, &place);",
     "        for (uint64_t k = 0; k < 1 + (sequence % 3 == 0); k++)\n"
     "            shard_fold_any(shard, &rules, &entry, &place);"),
    ("slice-for-all", "a slice is for the meters that lack it", "ledger/meter_rebuild.c",
     "        if (from == rebuild->top)\n", "        if (from > 0)\n"),
    ("purge-takes-all", "cells of meters that are there stay", "ledger/purge.c",
     "    return tx_get(tx, STATE_DB_META,",
     "    return meter_id % 2 == 0 && tx_get(tx, STATE_DB_META,"),
    ("live-from-unnoticed", "cells and memory are of one first block", "ledger/usage_answer.c",
     "(reply.flushed != position || reply.flushed_from != live_from)",
     "reply.flushed != position"),
    ("version-ignored", "a meter that counts otherwise is another one", "ledger/registry.c",
     "    if (old != NULL && meter_counts_same(old, meter)) {", "    if (old != NULL) {"),
    ("window-of-arrival", "a late event belongs to its own window", "ledger/fold.c",
     "    out->start_s = fold_start_s(entry->time_ns);",
     "    out->start_s = fold_start_s(place->arrival_ns);"),
    ("window-of-arrival-plain", "likewise, of a meter without filters and dimensions",
     "ledger/shard_fold.c", "start_s = fold_start_s(entry->time_ns);",
     "start_s = fold_start_s(place->arrival_ns);",
     "ledger/shard_fold.c", "fold_start_s(look->item->time_ns);",
     "fold_start_s(run->place.arrival_ns);"),
    ("plain-with-groups", "a meter with dimensions is not folded without them", "ledger/fold.c",
     "meter->filters_count == 0 && meter->dimensions_count == 0 &&",
     "meter->filters_count == 0 && meter->dimensions_count <= 1 &&"),
    ("plain-from-the-start", "a meter does not count what was before its beginning",
     "ledger/fold.c", "                     meter->events_from_ns == 0 && ",
     "                     "),
    ("events-from-edge", "an event of the very moment counts", "ledger/fold.c",
     "    if (entry->time_ns < rule->meter->events_from_ns)",
     "    if (rule->meter->events_from_ns > 0 && entry->time_ns <= rule->meter->events_from_ns)"),
    ("plain-epoch", "an event for a sealed window counts in the next epoch", "ledger/shard_fold.c",
     "    const uint32_t epoch = "
     "cuts_epoch(&shard->cuts, start_s + QUARTER_HOUR_S, event->after);\n",
     "    const uint32_t epoch = 0;\n",
     "ledger/shard_fold.c",
     "    const uint32_t epoch = cuts_epoch(&shard->cuts, start_s + QUARTER_HOUR_S, UINT32_MAX);\n",
     "    const uint32_t epoch = 0;\n"),
    ("guess-unlooked", "a subject is known by its text, whatever was guessed", "ledger/cells.c",
     "    if (guess != NULL && bytes_equal(cells_subject_text(guess), subject))",
     "    if (guess != NULL)",
     "ledger/shard_fold.c", "cells_guess(shard->cells, hints[i].subject_hash)",
     "cells_guess(shard->cells, hints[i & ~1U].subject_hash)"),
    ("watch-plain", "a threshold sees the events of plain meters too", "ledger/shard_fold.c",
     "entry->time_ns < 0 || is_watching(shard)", "entry->time_ns < 0",
     "ledger/shard_fold.c", "run->is_plain = !is_watching(shard);", "run->is_plain = true;"),
    ("fold-words-chapter", "a word means what it does in its chapter", "ledger/block.h",
     "BLOCK_CHAPTER_MAX = 512,", "BLOCK_CHAPTER_MAX = 3,",
     "ledger/fold_words.c", "old->chapter == state->chapter && ", ""),
    ("fold-words-cells", "a word's subject is in the cells that are filled",
     "ledger/fold_words.c", "old->cells == state->cells &&\n"
     "        old->cells_age == state->cells_age && ", ""),
    ("fold-type-run", "an event is folded by the meters of its type", "ledger/shard_fold.c",
     " && trace->has_type_before", ""),
    ("fold-quarter-run", "an event is folded into its own quarter hour", "ledger/shard_fold.c",
     " && trace->has_quarter_before", ""),
    ("missing-is-nil", "UNIQUE_COUNT counts a missing value as the empty text", "ledger/fold.c",
     "        *out = distinct_hash(bytes_of(NULL, 0), DISTINCT_TEXT);\n        return true;",
     "        *out = distinct_hash(bytes_of(NULL, 0), DISTINCT_TEXT);\n        return false;"),
    ("latest-tie", "of equal times the later in the log is the latest", "ledger/cell_state.c",
     "    return a->index > b->index;", "    return a->index < b->index;"),
    ("latest-tie-block", "likewise, across blocks", "ledger/cell_state.c",
     "        return a->block > b->block;", "        return a->block < b->block;"),
    ("merge-drops-flag", "a merge keeps that there is an extreme", "ledger/cell_state.c",
     "            take_extreme(aggregation, into, from->extreme);\n        return;",
     "            take_extreme(aggregation, into, from->extreme);\n"
     "        into->flags &= (uint8_t)~CELL_HAS_VALUE;\n        return;"),
    ("moment-not-shifted", "moments are merged about one beginning", "ledger/cell_state.c",
     "        wide_add(&into->sum.moment, &shifted);\n", ""),
    ("overflow-wraps", "a sum beyond its range is refused", "ledger/usage_rows.c",
     "    if (row.denominator == 1 && !wide_to_int128(&row.numerator, &row.value.units))\n"
     "        return refuse_overflow(rows, sum, error);",
     "    if (row.denominator == 1 && !wide_to_int128(&row.numerator, &row.value.units))\n"
     "        row.value.units = (int128)row.numerator.limbs[0];"),
    ("spill-loses-one", "every distinct value is kept", "ledger/uniques.c",
     "    for (size_t at = 0; at < sorted.size && tx->status",
     "    for (size_t at = HASH_SIZE; at < sorted.size && tx->status"),
    ("spill-forgotten", "spilled values are read back", "ledger/usage_scan.c",
     "    if (sum == NULL || !(cell->state.flags & CELL_SPILLED))\n",
     "    if (sum == NULL || cell->state.count > 0)\n"),
    ("memory-unmerged", "an answer holds what is in memory", "ledger/usage_answer.c",
     "        if (usage_plan_wants(plan, key.subject))\n", "        if (plan == NULL)\n"),
    ("flush-unnoticed", "cells and memory are of one position", "ledger/usage_answer.c",
     "    if (has_reply && (reply.flushed != position || reply.flushed_from != live_from))",
     "    if (has_reply && (reply.flushed < position || reply.flushed_from != live_from))"),
    ("seek-too-far", "no subject's cell is jumped over", "ledger/usage_scan.c",
     "    if (!usage_plan_subject_from(plan, at->subject, &wanted.subject)) {\n",
     "    if (plan->subjects_count > 0) {\n"),
    ("range-end", "ranges are half-open", "ledger/usage_scan.c",
     "(entry->time_ns >= plan->to_ns && plan->to_ns != INT64_MAX)",
     "(entry->time_ns > plan->to_ns && plan->to_ns != INT64_MAX)"),
    ("filters-all", "the values of a filter are alternatives", "ledger/usage_filter.c",
     "    return bound->values_count > 0 &&\n", "    return bound->values_count == 1 &&\n"),
    ("head-unwritten", "the head file is written after each commit", "ledger/shard.c",
     "status = head_write(&shard->head_file, sequence, shard->writer.header.checksum, error);",
     "status = STATUS_OK;"),
    ("head-uncompared", "a log that ends before its head is refused", "ledger/recover.c",
     "    if (place->state == HEAD_EMPTY || place->sequence < shard->kept.first)\n",
     "    if (head < UINT64_MAX)\n"),
    ("words-mixed", "a word is what its number was given for", "ledger/words.c",
     "list->rows.data + (size_t)number * sizeof row",
     "list->rows.data + (size_t)(number ^ (number == 5 && list->count > 6)) * sizeof row"),
    ("words-outlive-chapter", "a chapter knows its own words only", "ledger/words.c",
     "    words->stamp++;\n", "",
     "ledger/block.h", "BLOCK_CHAPTER_MAX = 512,", "BLOCK_CHAPTER_MAX = 3,"),
    ("late-unadded", "late events are added to the windows that are made", "ledger/flush.c",
     "    if (end_s > horizon->made_s || key.start_s < horizon->kept_s)", "    if (end_s > 0)"),
    ("roll-unshifted", "a window's moments are about its own beginning", "ledger/roll.c",
     "part->window.start_s - making->key.start_s;", "0;"),
    ("unlisted-stays-made", "a zone that is listed again is made anew", "ledger/flush.c",
     "        horizon->made_s = 0;\n", ""),
    ("entries-unchecked", "the checksum of a block's entries is checked", "ledger/block.c",
     "    if (header->entries_checksum != hash64_wide(entries, header->sequence))",
     "    if (header->entries_checksum == 0)"),
    ("words-unchecked", "the checksum of a block's words is checked", "ledger/block.c",
     "    if (header->words_checksum != hash64_wide(defined, header->sequence))",
     "    if (header->words_checksum == 0)"),
    ("cell-unchecked", "a cell's checksum is checked", "ledger/cell_state.c",
     "           checksum == value_checksum(key, bytes_of(in.at, cursor_left(&in)));",
     "           checksum != 0;"),
    ("meta-unchecked", "the position's checksum is checked", "ledger/cell.c",
     "    if (value.size != STATE_META_SIZE || checksum != meta_checksum(key, stored))",
     "    if (value.size != STATE_META_SIZE || checksum == 0)"),
    ("dirty-unlisted", "a dirty cell is listed", "ledger/flush.c",
     "    if (cell->state->flags & CELL_DIRTY)\n", "    if (cell->state->count > 1 << 20)\n"),
    ("mend-without-replaces", "a cell made anew stands for the earlier epochs", "ledger/mend.c",
     "state.flags |= CELL_REPLACES | (", "state.flags |= ("),
    ("replaced-counted", "what a cell made anew stands for is not added", "ledger/cell_place.c",
     "            *only = *cell;\n            place->cells.size = 0;\n",
     "            (void)only;\n"),
    ("epoch-unended", "a cell made anew ends at the cut that ends its epoch", "ledger/remake.c",
     " && block < item->limit;", ";"),
    ("late-cancel-early", "what a later epoch takes out counts until then", "ledger/remake.c",
     "(by > 0 && by < item->limit)", "by > 0"),
    ("roll-adds-replaced", "a window with a part made anew stands for the earlier epochs",
     "ledger/sources.c", "= sources_replace(sources, target);",
     "= sources_replace(sources, target) && false;"),
    ("crowd-loose", "a window has at most so many groups", "ledger/roll.c",
     "making->groups > groups_max;", "making->groups > groups_max + 1;"),
    ("crowd-late-unseen", "likewise with those that come late", "ledger/flush.c",
     "if (flush->is_new && cell->group->count > 0) {",
     "if (flush->is_new && cell->group->count > 99) {"),
    ("crowd-forgets-dirty", "a total is made anew of all groups", "ledger/mend.c",
     "item.has_all_groups = (state.flags & CELL_CAPPED) != 0;", "item.has_all_groups = false;"),
    ("crowd-replaces-others", "a group made anew stands for itself alone", "ledger/sources.c",
     "if (later->place != source->place)", "if (later->place > source->place + 99)"),
    ("crowd-keeps-values", "a total counts each distinct value once", "ledger/crowd.c",
     "    if ((state->flags & CELL_SPILLED) &&", "    if (state->count < 0 &&"),
    ("touched-twice", "what the log answers is not asked of the cells", "ledger/usage_rows.c",
     " ||\n        usage_is_touched(rows->touched, key->subject, key->start_s, end_s)", ""),
    ("tail-cancel-unseen", "a cancel in the tail touches what is on disk", "ledger/usage_scan.c",
     "else if (entry->note.block < log->blocks->first)", "else if (entry->note.block < 1)"),
    ("old-cancel-unseen", "of blocks before a meter all corrections count", "ledger/usage_scan.c",
     "            blocks->head,\n", "            blocks->last,\n"),
    ("zone-days-of-utc", "cells of an answer lie within its windows", "ledger/usage_scan.c",
     ".width = has_zone ? CELL_ZONE_DAY : CELL_DAY, .zone = plan->zone}",
     ".width = CELL_DAY}"),
    ("batch-never-closes", "a closed backfill takes nothing", "ledger/shard_judge.c",
     "batch != NULL && batch->state == BATCH_OPEN ?", "batch != NULL ?"),
    ("batch-judged-first", "a known event is a duplicate, whatever its backfill",
     "ledger/shard_judge.c",
     "    if (!item->has_identity)\n",
     "    if (!item->has_identity || (is_backfill && *out_fate != FATE_STORED))\n"),
    ("batch-record-unwritten", "a start knows the batches", "ledger/flush.c",
     "options->batches, options->batches_count);", "options->batches, 0);"),
    ("batch-uncounted", "a start counts what the records do not", "ledger/recover.c",
     "    batches_count(&shard->batches, entry, place->block);\n", ""),
    ("revert-unfolded", "a reverted event counts no more", "ledger/order.c",
     "    fold_correction(shard, entry, place);\n    return batches_learn",
     "    if ((entry->flags & ENTRY_IS_REVERT) == 0)\n"
     "        fold_correction(shard, entry, place);\n    return batches_learn"),
    ("revert-keeps-identity", "a reverted identity is free", "ledger/order.c",
     "        dedup_free(shard->dedup, identity);", "        dedup_rest(shard->dedup);"),
    ("revert-keeps-at-start", "likewise after a start", "ledger/recover.c",
     "            dedup_free(dedup, known->identity);\n", ""),
    ("revert-skips-one", "a block of a revert begins where the one before ended",
     "ledger/revert.c",
     "            slice->index = index;", "            slice->index = index + 1;"),
    ("revert-skips-block", "likewise, across blocks", "ledger/revert.c",
     "    slice->block++;\n    slice->index = 0;", "    slice->block += 2;\n    slice->index = 0;"),
    ("revert-of-all", "a revert takes out its own batch only", "ledger/revert.c",
     "           bytes_equal(entry->batch, slice->revert->batch->id) &&\n", ""),
    ("revert-takes-amended", "a revert takes out an event as it was amended", "ledger/revert.c",
     "    struct entry cancel = parts[count - 1].event;",
     "    struct entry cancel = parts[0].event;"),
    ("revert-again", "what was cancelled by itself is not taken out twice", "ledger/revert.c",
     "           !corrections_have(&slice->corrections, block, index);",
     "           slice->count_max > 0;"),
    ("revert-of-cut", "a revert is later than the cuts before it", "ledger/order.c",
     "        (void)shard_fold_by(shard, rules, &parts[i].event, &part);\n",
     "        const struct cuts cuts = shard->cuts;\n"
     "        if ((entry->flags & ENTRY_IS_REVERT) != 0)\n"
     "            shard->cuts.count = 0;\n"
     "        (void)shard_fold_by(shard, rules, &parts[i].event, &part);\n"
     "        shard->cuts = cuts;\n"),
    ("late-added", "what came since is less what was there", "ledger/usage_late.c",
     "wide_negate(row.before.numerator);", "row.before.numerator;"),
    ("taken-weighed", "what was taken out of a weighted sum is not weighed",
     "ledger/usage_rows.c",
     "        if (has_row)\n            status = row_weighted",
     "        if (row.denominator > 0)\n            status = row_weighted"),
    ("watch-edge", "a threshold fires at its limit", "ledger/watch.c",
     "           wide_compare(out_value, &limit) >= 0;",
     "           wide_compare(out_value, &limit) > 0;"),
    ("watch-mark-unread", "what has a mark does not fire again", "ledger/watch.c",
     "entry->has_fired || fired_is(fired, watched->threshold->id, entry->from_s, entry->subject);",
     "entry->has_fired || fired == NULL;",
     "ledger/watch.c",
     "        if (fired_is(&tx, mark->threshold_id, mark->from_s, mark->subject))",
     "        if (mark->subject.size == 0)"),
    ("watch-memory-unread", "a total has what is in memory", "ledger/watch_total.c",
     "    cells_each(source->cells, &range, reading_memory, &reading);",
     "    if (source == NULL)\n"
     "        cells_each(source->cells, &range, reading_memory, &reading);"),
    ("watch-frozen-unread", "likewise what is being flushed", "ledger/watch_total.c",
     "    if (source->frozen != NULL && needs_frozen(&reading) &&",
     "    if (source == NULL && needs_frozen(&reading) &&"),
    ("watch-disk-unread", "likewise what is on disk", "ledger/watch_total.c",
     "    if (!reading.status)\n        reading_disk(&reading);",
     "    if (reading.status)\n        reading_disk(&reading);"),
    ("watch-next-window", "likewise of every window", "ledger/watch_total.c",
     "    return at.start_s > start_s ? at.start_s : window_end(kind, start_s);",
     "    return at.start_s > start_s ? window_end(kind, at.start_s) : window_end(kind, start_s);"),
    ("watch-not-added", "an event adds to a total that is known", "ledger/watch.c",
     "    cell_add(aggregation, &entry->total, input, step->start_s, &watch->arena);\n",
     ""),
    ("watch-cancel-unseen", "what is taken out is used no more", "ledger/watch.c",
     "    if (input->is_cancel) {\n        watch_queue(watch, entry);\n        return;",
     "    if (input->is_cancel) {\n        return;"),
    ("watch-late-period", "a late event belongs to its own period", "ledger/shard_fold.c",
     "        watch_add(&shard->watch, step->meter->id, entry->subject, step);",
     "        step->start_s = event->place->arrival_ns / SECOND_NS;\n"
     "        watch_add(&shard->watch, step->meter->id, entry->subject, step);"),
    ("time-unheeded", "a correction that names a time is of that time", "ledger/correct.c",
     "(!correction->has_time || entry->time_ns == correction->time_ns);", "true;"),
    ("page-twice", "no event is on two pages", "ledger/events.c",
     "(!listing->has_after || place_order(place, &listing->after) < 0) &&",
     "(!listing->has_after || place_order(place, &listing->after) <= 0) &&"),
    ("page-early", "a page is of the newest events", "ledger/events.c",
     "header->time_max_ns < listing->heap[0]->place.time_ns);",
     "header->time_max_ns < listing->heap[listing->count - 1]->place.time_ns);"),
    ("amend-unfollowed", "what is corrected once more is the amend", "ledger/events_status.c",
     "    row->last_block = block;\n", ""),
    ("backfill-untold", "a list of backfills counts all shards", "ledger/backfill_list.c",
     "    row->taken += batch->taken;\n", "    row->taken = batch->taken;\n"),
]

# What must stay right whatever the number: builds in which a few events reach the limit.
VARIANTS = [
    ("small-chapters", "three blocks to a chapter of the log", "ledger/block.h",
     "BLOCK_CHAPTER_MAX = 512,", "BLOCK_CHAPTER_MAX = 3,"),
    ("few-words", "twenty words to a chapter", "ledger/words.h",
     "WORDS_MAX = 65536,", "WORDS_MAX = 20,"),
    ("small-sets", "three distinct values in a cell, the others spilled", "ledger/cell_state.h",
     "CELL_SET_INLINE_MAX = 256,", "CELL_SET_INLINE_MAX = 3,"),
]

# Of what the model does not live through: name, what breaks, the module whose test is to see it
# (tests/ledger.MODULE), then the edits.
MODULE_MUTANTS = [
    ("fold-newest-meter", "a cell is of one meter", "fold_words",
     "ledger/cells_parts.h", "cell->meter_id != rule->meter_id ||\n", "\n"),
    ("fold-words-type", "what a map is worth is so for the meters of one type", "fold_words",
     "ledger/fold_words.h", "words->maps[number].first == first",
     "words->maps[number].first != NULL"),
    ("fold-own-value", "a map does not say what an event's own value is", "fold_words",
     "ledger/fold_words.h", "(map->own >> rule->place & 1) != 0 ? own : &map", "&map"),
    ("fold-words-meters", "likewise, as long as they are what they were", "fold_words",
     "ledger/fold_words.c", "old->meters == state->meters", "old->meters > 0"),
    ("retain-younger", "what is as young as the limit stays in the log", "retain",
     "ledger/retain.c", "header->arrival_ns >= options->before_ns",
     "header->arrival_ns > options->before_ns",
     "ledger/retain.c", "header->time_max_ns >= options->before_ns",
     "header->time_max_ns > options->before_ns"),
    ("retain-unsealed", "a block goes after its identities are on disk", "retain",
     "ledger/retain.c", "} else if (next.first - 1 > options->sealed) {",
     "} else if (next.first == options->sealed && next.first == 0) {"),
    ("retain-until-lost", "it is known until when events were deleted", "retain",
     "ledger/retain.c", "            out->until_ns = header->time_max_ns;\n", "            ;\n"),
    ("retain-silent", "a question about what was deleted is refused", "retain",
     "ledger/log_kept.c", "    if (from_ns > lacks.until_ns) {", "    if (from_ns != 1) {"),
    ("retain-needed", "what a younger meter needs stays in the log", "retain_hold",
     "ledger/retain_hold.c", "(from == 0 || from > kept->first);", "from > UINT64_MAX - 1;"),
    ("retain-batch", "an open backfill batch keeps its events", "retain_hold",
     "ledger/retain_hold.c", "batch->opened < next->first);", "batch->opened == 0);"),
    ("retain-tail", "a correction in memory keeps what its cells are made of", "retain_hold",
     "ledger/retain_hold.c", "(header->flags & BLOCK_HAS_CORRECTIONS) != 0 &&",
     "(header->flags & BLOCK_HAS_CORRECTIONS) == UINT16_MAX &&"),
    ("retain-dirty", "a cell to be made anew keeps what it is made of", "retain_hold",
     "ledger/retain_hold.c", "    *out = !status && live_from > 0 &&",
     "    *out = !status && live_from == UINT64_MAX &&"),
    ("retain-correct", "what cannot be made anew is not corrected", "retain_hold",
     "ledger/order.c", "    if (meter == NULL)\n", "    if (meter == NULL || meter->id > 0)\n"),
    ("retain-forgets", "what a meter's cells lack does not grow", "retain_hold",
     "ledger/retain.c", "        log_kept_remember(&tx, kept);", "        ;"),
    ("retain-revert", "a batch whose events are gone is not reverted", "retain_hold",
     "ledger/backfill.c", "    if (!status)\n        status = change_may_revert",
     "    if (!status && change == NULL)\n        status = change_may_revert"),
    ("retain-reverting", "a revert that was interrupted finds what it takes out", "retain_hold",
     "ledger/writer.c", "    if (flag_get(writer->options.is_reverting)) {",
     "    if (flag_get(writer->options.is_reverting) && monotonic_ns < 0) {"),
    ("retain-backfill", "a backfill into what was deleted is refused", "retain",
     "ledger/shard_judge.c",
     "            group->fates[i] = FATE_TOO_OLD;\n            continue;\n", ""),
    ("verify-overtaken", "what retention takes while the log is checked is no finding",
     "verify_retain", "ledger/verify_log.c",
     "    if (status == STATUS_NOT_FOUND)\n        return false;", ""),
    ("verify-remade", "nor what it takes before cells are made anew of it", "verify_retain",
     "ledger/verify_state.c", "    verify_kept_renew(shard);\n", ""),
    ("verify-freed", "nor that what it took is taken out", "retain_hold",
     "ledger/verify_counted.c", "!before->is_freed : shard->kept.first > 1;",
     "!before->is_freed : false;"),
    ("verify-payload", "nor what runs know of it, when a later one says otherwise", "retain_hold",
     "ledger/verify_dedup.c", "identity->is_other && check->shard->kept.first == 1;",
     "identity->is_other;"),
    ("retain-lack", "what cells lack is in a backup, too", "retain_hold",
     "ledger/restore.c", "        if (lack.shard == filling->shard)\n",
     "        if (lack.shard != filling->shard)\n"),
    ("retain-corrections", "corrections are read from where the log begins", "retain",
     "ledger/correction.c", "    if (!status && *sequence < kept.first)\n",
     "    if (!status && *sequence > kept.first)\n"),
    ("clock-unnoticed", "windows of another clock are made anew", "roll", "ledger/horizon.c",
     "zone_rules(zone, one->made_s) == one->rules)", "zone_rules(zone, 0) != 0)"),
    ("clock-unwritten", "and a flush says so on disk", "roll", "ledger/flush.c",
     "        if (!horizon->is_other && (is_listed || horizon->made_s == 0))\n",
     "        if (is_listed || horizon->made_s == 0)\n"),
    ("mend-early", "cells of a meter that lacks blocks are not made anew", "mend", "ledger/mend.c",
     "    if (item.live_from > gathering->kept.first)\n        return STATUS_OK;\n", ""),
    ("crowd-keeps-stale", "totals of a zone that comes again are made anew", "crowd",
     "ledger/roll.c",
     "    if (kind->zone_number > 0 && begin_s == 0)\n", "    if (begin_s < 0)\n"),
    ("retain-leftovers", "what a crash left of a chapter goes", "retain",
     "ledger/retain.c", "    *out_has_left = oldest < kept->first;",
     "    *out_has_left = oldest == 0;"),
    ("retain-stateless", "a backup has the cells of what was deleted", "retain",
     "ledger/restore.c", "        status = files_copy(from.text, to.text,",
     "        status = files_copy(from.text, NULL,"),
    ("roll-ahead-of-parts", "a window is made of parts that are there", "roll",
     "ledger/roll.c", "    while (begin_s < parts_from(roll,",
     "    while (begin_s < 0 && begin_s < parts_from(roll,"),
    ("drain-waits", "a close amid a rebuild comes back", "meter_rebuild", "ledger/writer.c",
     "        if (!leaves_cells && !has_failed && shard_is_unflushed(shard))\n"
     "            (void)writer_freeze(writer);",
     "        if (!leaves_cells && !has_failed && shard_is_unflushed(shard))\n"
     "            writer_flush(writer);"),
    ("watch-flush-first", "marks are on disk before the cells they are of", "watch_crash",
     "ledger/writer.c",
     "shard_is_frozen(&writer->shard) || watch_has_unbased(watch) || watch_has_pending(watch))",
     "shard_is_frozen(&writer->shard))"),
    ("watch-start-flushes", "likewise when a start flushes", "watch_shard", "ledger/recover.c",
     "    enum status status = shard_watch_settle(shard, error);\n    if (status)\n"
     "        return status;\n    shard->head = sequence;\n    status = shard_flush(",
     "    enum status status;\n    shard->head = sequence;\n    status = shard_flush("),
    ("watch-mend-unseen", "a total that a cell made anew brings to light fires", "watch_crash",
     "ledger/writer.c",
     "    if (mended != writer->mended)\n        watch_renew(",
     "    if (mended == UINT64_MAX)\n        watch_renew("),
    ("mend-forgets", "a start finds what a cell made anew brought to light", "mend",
     "ledger/mend.c", "    if (!(stored.flags & CELL_DIRTY))\n",
     "    dirty_delete(tx, key);\n    if (!(stored.flags & CELL_DIRTY))\n"),
    ("watch-dirty-tested", "a dirty cell fires nothing", "watch_crash", "ledger/watch.c",
     "(entry->is_partial && !entry->is_reached)", "false"),
    ("watch-adopt-forgets", "new definitions lose no event", "watch_shard",
     "ledger/watch_table.c",
     "    queue_keep(watch, watch->unbased_first);", "    queue_clear(watch);"),
    ("watch-mark-twice", "a mark on its way is not made again", "watch_shard", "ledger/watch.c",
     "        if (fired_is(&tx, mark->threshold_id, mark->from_s, mark->subject))",
     "        if (mark->subject.size == 0)"),
    ("watch-some-blocks", "a sum of some blocks fires nothing", "watch_shard", "ledger/watch.c",
     "    return aggregation == AGGREGATION_SUM || aggregation == AGGREGATION_LATEST;",
     "    return aggregation == AGGREGATION_LATEST;"),
    ("watch-trim-forgets", "what fired and has no mark is not dropped", "watch_shard",
     "ledger/watch_table.c",
     "                                      (from->has_fired && !entry_is_marked(watch, from)));",
     "                                      watch->count > UINT32_MAX / 2);"),
    ("watch-start-forgets", "a start knows who waits for a cell made anew", "watch_shard",
     "ledger/recover.c",
     "    return status ? status : recover_touched(shard, &tx, error);",
     "    return status;"),
    ("drain-mends-not", "a close waits a while for cells that are made anew", "mend",
     "ledger/writer.c",
     "(keeper_is_mended(&writer->keeper) || clock_monotonic_ns() > deadline_ns)",
     "deadline_ns > 0"),
    ("chunk-believed", "a backup's blocks are what was written", "backup", "ledger/chunk.c",
     "    return cursor_left(&in) == 0 && checksum == row->checksum;",
     "    return cursor_left(&in) == 0 && checksum != 0;",
     "ledger/restore.c", "        status = log_open(&filling->reader, &tx, sequence, error);",
     "        status = log_look(&filling->reader, &tx, sequence, error);"),
    ("manifest-believed", "a backup's manifest is what was written", "backup",
     "ledger/manifest.c",
     "    return memcmp(text.data + before.size, expected, MANIFEST_CHECKSUM_LINE) == 0;",
     "    return expected[0] != 0;"),
    ("meters-believed", "a backup's meters are what was written", "backup", "ledger/restore.c",
     "        hash64(buffer_view(&bytes), 0) != restore->manifest.registry_checksum) {",
     "        bytes.data == NULL) {"),
    ("restore-named-first", "what is not wholly restored has no name", "backup",
     "ledger/restore.c", "    static const char suffix[] = \".restoring\";",
     "    static const char suffix[] = \"\";"),
    ("restore-goes-over", "a restore does not go over what another one left", "backup",
     "ledger/restore.c", "    if (lstat(restore->dir, &there) == 0 || errno != ENOENT) {",
     "    if (restore->dir == NULL) {"),
    ("registry-made-again", "a registry that is gone is damage", "verify", "ledger/registry.c",
     "    if (data.st_size > 0)\n        return STATUS_OK;",
     "    if (data.st_size >= 0)\n        return STATUS_OK;"),
    ("flush-few-late", "few cells do not wait for a whole tail", "keeper",
     "ledger/shard_state.c",
     "TAIL_EARLY = 2,", "TAIL_EARLY = 1,"),
    ("flush-many-early", "and many do", "keeper", "ledger/shard_state.c",
     "cells_bytes(shard->cells) <= shard->tail_bytes / TAIL_TO_CELLS;",
     "cells_bytes(shard->cells) > 0;"),
    ("held-unseen", "to wait for a keeper that hangs is no progress", "keeper",
     "ledger/writer.c",
     "    if (!writer_is_held(writer) || has_taken || has_obeyed || has_collected)",
     "    if (writer_is_held(writer) || now_ns > 0)"),
    ("held-asleep", "likewise, while the writer sleeps", "keeper", "ledger/writer.c",
     "        if (!writer->is_held)\n            published_set(&writer->busy_since_ns, 0);",
     "        published_set(&writer->busy_since_ns, 0);"),
    ("watch-far", "a question about the end of time is refused", "watch_crash", "ledger/watch.c",
     " && time_s < INT64_MAX / SECOND_NS &&", " &&"),
    ("watch-spilled", "distinct values that are spilled count", "watch_crash",
     "ledger/watch_total.c",
     "    if ((state.flags & CELL_SPILLED) &&", "    if (one == NULL &&"),
    ("roll-begin-late", "what a horizon says is made is there, after any commit", "killed",
     "ledger/roll.c",
     "    status = horizon_commit(roll, horizon);\n"
     "    return status ? status : delete_before(roll, horizon, begin_s);",
     "    return delete_before(roll, horizon, begin_s);"),
    ("name-unsettled", "a start syncs the names that it relies on", "killed",
     "ledger/ledger.c", "    enum status status = dir_sync(dir, error);\n"
     "    return status ? status : parent_sync(dir, error);",
     "    return dir_sync(dir, error);"),
    ("env-unsettled", "likewise, of an environment", "killed",
     "ledger/lmdb_env.c", "    return status ? status : dir_sync(path, error);",
     "    return status;"),
    ("fired-unsettled", "likewise, of the marks' directory", "killed",
     "ledger/fired.c", "        status = parent_sync(path.text, error);",
     "        status = dir_sync(path.text, error);"),
    ("env-in-place", "a new environment is made beside its place", "lmdb_env",
     "ledger/lmdb_env.c", "\"%s/data.mdb.new\", path);", "\"%s/data.mdb\", path);"),
    ("view-beyond", "no view reaches beyond the map", "lmdb_damage", "ledger/lmdb_map.c",
     "        return view.mv_size <= tx->used - at;", "        return view.mv_size <= UINT32_MAX;"),
    ("count-unread", "entries that a page lost are missed", "lmdb_damage", "ledger/lmdb_tx.c",
     "!more && left == 0;", "!more;"),
    ("entries-twice", "an entry that comes twice stands for none", "lmdb_damage",
     "ledger/lmdb_tx.c",
     "        if (bytes_compare(before, walk.key) >= 0 || !entry_is_whole(",
     "        if (!entry_is_whole("),
    ("fired-again-numbered", "a number that damage hides is not given again", "fired",
     "ledger/fired.c", "    if (tx_count(tx, FIRED_DB) / 2 > last)\n",
     "    if (tx_count(tx, FIRED_DB) / 2 > last && last > MARK_KEY_MAX)\n"),
    ("bounds-unread", "verify looks at where a page's entries begin", "lmdb_damage",
     "ledger/lmdb_page.c", "    return room == page_size - u16_at(page + PAGE_UPPER);\n",
     "    return room <= page_size;\n"),
    ("ahead-unread", "what a large commit wrote ahead is no damage", "lmdb_env",
     "ledger/lmdb_map.c", "           at + size <= (uint64_t)file.st_size;\n",
     "           at + size < (uint64_t)0;\n"),
    ("map-size-unread", "a map size that cannot be is damage", "lmdb_damage",
     "ledger/lmdb_file.c", "    if (meta->map_size >= MAP_SIZE_MAX)\n",
     "    if (meta->map_size == 0)\n"),
    ("names-unread", "who opens a damaged list of databases does not crash", "lmdb_damage",
     "ledger/lmdb_file.c", "    if (!names_fit(fd, newest))\n",
     "    if (!names_fit(fd, newest) && fd < 0)\n"),
    ("page-unpacked", "a page that lost entries is damaged", "flip", "ledger/lmdb_page.c",
     "    return room == page_size - u16_at(page + PAGE_UPPER);", "    return room <= page_size;"),
    ("page-entry-twice", "so is one that has an entry twice", "flip", "ledger/lmdb_page.c",
     " || (seen[at / 2 / 64] & bit) != 0)", ")"),
    ("walk-ends-early", "a walk that failed is not taken for one that ended", "flip",
     "ledger/usage_windows.c",
     "        enum status status = tx_check(windows->state, windows->error);\n",
     "        enum status status = STATUS_OK;\n"),
    ("page-overwritten", "nothing is written over a damaged page", "lmdb_damage",
     "ledger/lmdb_tx.c",
     "    tx_check_path(tx, db, key);\n    if (tx->status == STATUS_OK) {\n",
     "    if (tx->status == STATUS_OK) {\n"),
    ("absence-believed", "a record that is hidden is not taken for none", "state_meta",
     "ledger/state_meta.c", "    if (!status && !is_whole)\n",
     "    if (!status && !is_whole && error == NULL)\n"),
    ("cut-absence-believed", "nor is a cut", "state_meta", "ledger/usage_cut.c",
     "        return state_meta_check(&state, error);\n",
     "        return tx_check(&state, error);\n"),
    ("log-short", "a log that lost its last blocks is damaged", "state_meta",
     "ledger/shard_view.c", "    if (!status && count != head - first + 1)\n",
     "    if (!status && count > UINT32_MAX)\n"),
    ("head-left-torn", "a head that a crash left is made again", "head",
     "ledger/head.c",
     "    if ((!is_there &&",
     "    if ((lseek(fd, 0, SEEK_END) == 0 && !is_there &&"),
    ("walk-round", "what ran over round the end of a table is at its end", "id_table",
     "ledger/id_table.c", "        if (home >= first && home < end)\n",
     "        if (home < end)\n"),
    ("merge-oldest", "of an identity in several runs the newest entry holds", "dedup",
     "ledger/merge.c", "options->inputs[options->inputs_count - 1 - i];",
     "options->inputs[i];"),
    ("growing-small", "a filter seldom sends a new identity through many runs", "dedup",
     "ledger/generations.c", "    GROWING_BITS = 16, ", "    GROWING_BITS = 12, "),
    ("index-trusted", "a page that an index names is one that covers what is looked for", "runs",
     "ledger/runs.c", "value, out) && page_covers(out, fingerprint);", "value, out);"),
    ("runs-no-room", "a generation never has so many runs that none can be added", "dedup",
     "ledger/generations_step.c", "return !has_room || youngest", "return youngest"),
    ("recovery-arrival-late", "a start forgets no identity of the block that it reads", "dedup",
     "ledger/recover.c", "    if (header->arrival_ns > shard->newest_arrival_ns)",
     "    if (sequence > 1 && header->arrival_ns > shard->newest_arrival_ns)"),
    ("mend-forgets-zone", "a dirty cell of a zone stays listed while its windows count", "killed",
     "ledger/mend.c", "(horizon->is_other || horizon->made_s != 0)", "horizon->is_other"),
    ("batch-beyond", "a batch that nobody could know is not opened", "backfill_rare",
     "ledger/backfill.c", "    if (!change_has_room(change))\n",
     "    if (!change_has_room(change) && change->ledger == NULL)\n"),
    ("revert-unclosed", "a revert goes on where a shard is older", "backfill_rare",
     "ledger/backfill.c",
     "    if (!status)\n        status = change_close(change, error);\n    if (!status)\n",
     "    if (!status)\n"),
    ("end-of-time", "the last window of all is made anew", "backfill_rare",
     "ledger/remake.c", "window_ns(last->to_s)", "(last->to_s - last->to_s % 86400) * SECOND_NS"),
    ("audit-reverts", "what a revert takes out is no correction by itself", "audit",
     "ledger/audit.c", "(entry->flags & ENTRY_IS_REVERT) == 0;", "entry->kind > 0;"),
    ("audit-twice", "no correction is on two pages", "audit", "ledger/audit.c",
     "place_order(place, &query->after) < 0);", "place_order(place, &query->after) <= 0);"),
    ("audit-early", "a page is of the newest corrections", "audit", "ledger/audit.c",
     "(is_full && made_ns < finding->", "(is_full && made_ns > finding->"),
    ("cut-tail", "a cut is listed before it is in the cells", "audit", "ledger/log_walk.c",
     "uint64_t sequence = position + 1; !status", "uint64_t sequence = position + 2; !status"),
    ("chunk-is-id", "a chunk is no id", "events", "ledger/events.c",
     "    if (id.size == 0 || (entry->flags & ENTRY_ID_IS_CHUNK) != 0)\n",
     "    if (id.size == 0)\n"),
    ("events-unasked", "a page has only what its asker accepts", "events", "ledger/events.c",
     "(query->accepts == NULL || query->accepts(query->context, entry, arrival_ns));",
     "(query->accepts == NULL || arrival_ns != 0);"),
    ("events-overtaken", "what retention takes while events are listed is no error", "retain_read",
     "ledger/events_status.c", "    if (!status && *sequence < first)\n",
     "    if (!status && *sequence > first)\n"),
    ("retain-beside", "a batch is reverted whatever came beside it", "retain_hold",
     "ledger/backfill.c", "bytes_equal(entry.batch, change->backfill->id);",
     "entry.batch.size > 0;"),
    ("dump-skips-silently", "a dump that is overtaken says so", "retain",
     "ledger/dump.c", "    return !status && is_short ? STATUS_BUSY : status;",
     "    return !status && is_short ? STATUS_OK : status;"),
    ("dump-breaks-off", "and shows what is left", "retain",
     "ledger/dump.c", "        if (status == STATUS_NOT_FOUND)\n", "        if (first == 0)\n"),
    ("backup-not-found", "a backup that is overtaken may be started again", "retain",
     "ledger/backup.c", "        if (status == STATUS_NOT_FOUND)\n"
     "            status = overtaken(sequence, error);\n", ""),
    ("fired-unchecked", "a mark that is damaged is none", "watch_crash",
     "ledger/fired.c", " && !state_meta_read(mark, value, &sequence);",
     " && (sequence = value.size) > 0;"),
    ("roll-leftovers", "what is left of a window that was being made is deleted", "roll",
     "ledger/roll.c",
     "    enum status status = delete_leftovers(roll, &horizon->kind, start_s);\n",
     "    enum status status = STATUS_OK;\n    (void)delete_leftovers;\n"),
    ("roll-retires-early", "cells stay until wider ones are made of them", "roll",
     "ledger/roll.c", " && made->made_s < before_s)", " && made->made_s < 0)"),
    ("mend-unsettled", "records of cells made anew stay until thresholds know", "mend",
     "ledger/keeper.c", "(is_settled || !mend_forgets_next(keeper->mend))",
     "(is_settled || keeper->looked_ns > 0)"),
    ("answers-kept", "no answer waits for a commit", "answers",
     "ledger/shard.c", "    answers_lend(shard->answers);\n    status = tx_commit(&tx, error);\n"
     "    answers_reclaim(shard->answers);\n", "    status = tx_commit(&tx, error);\n"),
    ("answers-kept-for-head", "nor for a sync of where the log ends", "answers",
     "ledger/writer.c", "    answers_lend(&writer->answers);\n"
     "    enum status status = shard_sync_head(&writer->shard, monotonic_ns, &writer->error);\n"
     "    answers_reclaim(&writer->answers);\n",
     "    enum status status = shard_sync_head(&writer->shard, monotonic_ns, &writer->error);\n"),
    ("answers-early", "what was acked is in the next answer", "watch_shard",
     "ledger/answers.c", "    fold_ahead(shard, group, at, place, question->request.subject);\n",
     "    (void)fold_ahead, (void)group, (void)at, (void)place;\n"),
    ("answers-twice", "what was folded for an answer is folded once", "watch_shard",
     "ledger/shard_fold.c", "!run->has_folded || !item->is_folded",
     "!run->has_folded || !item->is_folded || item->offset > 0"),
    ("answers-lent-on", "likewise: what is folded is lent to nobody", "answers",
     "ledger/writer.c", "        answers_reclaim(&writer->answers);\n    }\n"
     "    group->is_lost = writer_has_failed(writer);\n"
     "    bool is_lost = group->is_lost;\n"
     "    lane_answer(lane, group);\n"
     "    if (!is_lost)\n        shard_fold(shard, group, now_ns);\n",
     "    }\n"
     "    group->is_lost = writer_has_failed(writer);\n"
     "    bool is_lost = group->is_lost;\n"
     "    lane_answer(lane, group);\n"
     "    if (!is_lost)\n        shard_fold(shard, group, now_ns);\n"
     "    answers_reclaim(&writer->answers);\n"),
    ("watch-partial-unlisted", "what waits for a cell made anew comes again", "watch_crash",
     "ledger/watch.c", "    if (entry->is_partial)\n        watch_list_partial(watch, entry);\n",
     ""),
    ("watch-partial-adopt", "likewise behind a change of definitions", "watch_shard",
     "ledger/watch_table.c", "    partials_keep(watch);\n", "    (void)partials_keep;\n"
     "    (void)partials_take(watch);\n"),
    ("answers-mark-stays", "a group that comes again is folded whole", "watch_shard",
     "ledger/group.c", "    item->is_folded = false;\n", ""),
    ("memo-uncompared", "properties have the hash of their own bytes", "payload_memo",
     "ledger/payload_memo.c", " || !slot_has(slot, properties)", ""),
    ("memo-miscounted", "and of their own count of pairs", "payload_memo",
     "ledger/payload_memo.c", "    return (uint64_t)properties.size << 8 | count;",
     "    return (uint64_t)properties.size << 8 | (count > 0);"),
    ("memo-number-again", "a map's number is never another's", "block_hint",
     "ledger/payload_memo.c", "    slot->name = ++memo->keeps << MEMO_NUMBER_SHIFT | ",
     "    slot->name = 1ULL << MEMO_NUMBER_SHIFT | "),
    ("hint-map-stale", "a number means the word of its own map", "block_hint",
     "ledger/block_writer.c", "        if (map->number == number)\n",
     "        if (map->number > 0)\n"),
    ("hint-map-chapter", "and of its own chapter", "block_hint",
     "ledger/block_hint.c", "    if (maps->chapter == chapter)\n",
     "    if (maps->chapter > 0 || chapter == 0)\n"),
    ("hint-uuid-chunk", "an id is never taken for the chunk", "block_hint",
     "ledger/group.c", "hint_write(&group->hints[group->count], event->id,",
     "hint_write(&group->hints[group->count], event->id.size > 0 ? event->id : event->chunk,"),
    ("answers-behind", "a large block's fold is not waited for", "watch_shard",
     "ledger/shard_fold.c", "if (at % FOLD_LOOK_EACH == 0 &&",
     "if (at > group->count &&"),
    ("freed-late", "an identity is not freed for who came later", "backfill_rare",
     "ledger/order.c", "entry->note.block > dedup_expired(shard->dedup);",
     "entry->note.block > 0;"),
    ("verify-again", "verify lets an identity come again after the window", "backfill_rare",
     "ledger/verify_counted.c", "        may_come_again(shard, before, identity))\n",
     "        false)\n"),
    ("verify-twice", "verify sees what is corrected twice", "verify_correct",
     "ledger/verify_counted.c", "        if (all[i].target == all[i - 1].target)\n",
     "        if (all[i].place == all[i - 1].place)\n"),
    ("verify-uncounted", "verify sees a correction of what is not there", "verify_correct",
     "ledger/verify_counted.c", "    return found != NULL && !found->is_cancel &&",
     "    return found != NULL &&"),
    ("amend-deeper", "an amend brings nothing that an event could not", "correct",
     "ledger/correct.c", "!unpack_skip(&in, EVENT_DEPTH_MAX)",
     "!unpack_skip(&in, UNPACK_DEPTH_MAX)"),
    ("change-unsure", "who got no answer is told to ask again", "control",
     "ledger/control_client.c", "    if (status == STATUS_TIMEOUT || status == STATUS_CLOSED)\n",
     "    if (status == STATUS_TIMEOUT)\n"),
]


def fail(message):
    print(f"mutants.py: {message}", file=sys.stderr)
    sys.exit(2)


def copy_sources(source):
    """Only what changed is written, so that little is built again."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
        capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, names):
        origin, copy = os.path.join(ROOT, name), os.path.join(source, name)
        if not os.path.isfile(origin):
            continue
        with open(origin, "rb") as file:
            wanted = file.read()
        if os.path.exists(copy):
            with open(copy, "rb") as file:
                if file.read() == wanted:
                    continue
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        with open(copy, "wb") as file:
            file.write(wanted)
        shutil.copymode(origin, copy)


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace")
    return done.returncode, done.stdout


def build(binaries, target="test_ledger_model"):
    code, text = run(["ninja", "-C", binaries, target])
    if code != 0:
        fail(f"the build failed:\n{text[-3000:]}")


def test(binaries, seed, workloads):
    """None: all workloads agree. Else (how many it took, what the first failure said)."""
    code, text = run([os.path.join(binaries, "tests", "ledger.model"), "--seed", str(seed),
                      "--workloads", str(workloads)])
    if code == 0:
        return None
    lines = [line for line in text.split("\n") if line.strip()]
    which = re.search(r"the (\d+)\. of this run", text)
    if which is None:
        fail(f"cannot read what the test said:\n{text[-1000:]}")
    return int(which.group(1)), lines[0] if lines else ""


def test_module(binaries, module):
    """None: it passes. Else what failed first."""
    code, text = run([os.path.join(binaries, "tests", f"ledger.{module}")])
    failed = re.search(r"(?:FAIL|CRASH)\S*\] \S*?(\w+::\w+)", text)
    return None if code == 0 else failed.group(1) if failed else f"ledger.{module}"


def edited(source, mutant):
    """The files of the mutant, each with its sound text and its other one, and why it does not fit
    any more (None: it does)."""
    name, edits = mutant[0], mutant[2:]
    files = {}
    for name_in_tree, old, new in zip(edits[0::3], edits[1::3], edits[2::3]):
        path = os.path.join(source, name_in_tree)
        if not os.path.exists(path):
            return files, f"{name} does not fit any more: there is no {name_in_tree}"
        if path not in files:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            files[path] = [text, text]
        count = files[path][1].count(old)
        if count != 1:
            return files, (f"{name} does not fit any more: "
                           f"its text occurs {count} times in {name_in_tree}")
        files[path][1] = files[path][1].replace(old, new)
    return files, None


def check(source):
    """Exits 1 when a mutant does not fit, or none would be tried under its name."""
    mutants = MUTANTS + VARIANTS + [mutant[:2] + mutant[3:] for mutant in MODULE_MUTANTS]
    names = [mutant[0] for mutant in mutants]
    findings = [f"{name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
    for mutant in mutants:
        files, why = edited(source, mutant)
        if why is None and all(sound == other for sound, other in files.values()):
            why = f"{mutant[0]} changes nothing"
        findings += [why] if why else []
    for finding in findings:
        print(f"mutants.py: {finding}", file=sys.stderr)
    print(f"{len(names)} mutants and variants, {len(findings)} of them do not fit")
    sys.exit(1 if findings else 0)


def write_all(files, which):
    for path, texts in files.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(texts[which])


def try_mutant(mutant, source, binaries, options):
    name, breaks = mutant[:2]
    files, why = edited(source, mutant)
    if why is not None:
        fail(why)
    try:
        write_all(files, 1)
        build(binaries)
        caught = test(binaries, options.seed, options.workloads)
    finally:
        write_all(files, 0)
    said = f"{caught[0]}" if caught else f"not in {options.workloads}"
    print(f"| {name} | {breaks} | {said} |", flush=True)
    if caught and options.verbose:
        print(f"    {caught[1]}", flush=True)
    return caught is not None


def try_module_mutant(mutant, source, binaries):
    name, breaks, module = mutant[:3]
    target = f"test_ledger_{module}"
    build(binaries, target)
    if test_module(binaries, module):
        fail(f"the sound ledger.{module} fails")
    files, why = edited(source, mutant[:2] + mutant[3:])
    if why:
        fail(why)
    try:
        write_all(files, 1)
        build(binaries, target)
        caught = test_module(binaries, module)
    finally:
        write_all(files, 0)
    print(f"| {name} | {breaks} | {caught or 'no test'} |", flush=True)
    return caught is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workloads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="also what the test said")
    parser.add_argument("--check", action="store_true", help="only whether each one fits")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.check:
        check(ROOT)
    unknown = set(options.names) - {mutant[0] for mutant in MUTANTS + VARIANTS + MODULE_MUTANTS}
    if unknown:
        fail(f"there is no mutant {', '.join(sorted(unknown))}")
    source, binaries = os.path.join(PLACE, "source"), os.path.join(PLACE, "build")
    copy_sources(source)
    # A mutant's unused variables are not what is tested.
    code, text = run(["cmake", "-S", source, "-B", binaries, "-G", "Ninja",
                      "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=-w"])
    if code != 0:
        fail(text[-3000:])
    build(binaries)
    sound = test(binaries, options.seed, options.workloads) if not options.names else None
    if sound:
        fail(f"the sound build fails in workload {sound[0]}: {sound[1]}")
    chosen = [[one for one in table if not options.names or one[0] in options.names]
              for table in (MUTANTS, VARIANTS, MODULE_MUTANTS)]
    caught = [try_mutant(mutant, source, binaries, options) for mutant in chosen[0]]
    caught += [try_module_mutant(mutant, source, binaries) for mutant in chosen[2]]
    failed = [try_mutant(variant, source, binaries, options) for variant in chosen[1]]
    print(f"{sum(caught)} of {len(caught)} mutants caught, "
          f"{len(failed) - sum(failed)} of {len(failed)} variants right")
    sys.exit(0 if all(caught) and not any(failed) else 1)


if __name__ == "__main__":
    main()
